/* SPDX-License-Identifier: Apache-2.0 */
/* What every IrFunc must satisfy, whoever built it: operands exist, come first and have the right types; blocks end once; no access
 * that can fault follows a put within one guest instruction (precise state, ir.h). */
#include "ir/guest.h"

typedef struct Check {
    const IrFunc *f;
    u32 id;
    const char *wrong;
} Check;

static IrType type_at(const IrFunc *f, u32 id) { return (IrType)f->insns.at[id].type; }
static bool is_float(IrType t) { return t == IR_F16 || t == IR_F32 || t == IR_F64; }
static bool is_int(IrType t) { return t == IR_I32 || t == IR_I64; }
static bool fail(Check *c, const char *wrong) { return c->wrong = wrong, false; }

static bool check_operand(Check *c, u32 ref) {
    if (!ref || ref >= c->id) return fail(c, "an operand does not come before its use");
    if (type_at(c->f, ref) == IR_VOID) return fail(c, "an operand is no value");
    return true;
}

static bool check_operands(Check *c, const IrInsn *i) {
    if (i->op == IR_call || i->op == IR_jmp) {
        if ((u64)i->a + i->b > c->f->args.len) return fail(c, "arguments are out of range");
        for (u32 k = 0; k < i->b; k++)
            if (!check_operand(c, (u32)c->f->args.at[i->a + k])) return false;
        return true;
    }
    const u32 ref[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++)
        if (!check_operand(c, ref[k])) return false;
    return true;
}

static bool check_types(Check *c, const IrInsn *i) {
    const IrFunc *f = c->f;
    IrType t = (IrType)i->type, a = type_at(f, i->a), b = type_at(f, i->b);
    switch ((IrOp)i->op) {
    case IR_add: case IR_sub: case IR_mul: case IR_mulhs: case IR_mulhu: case IR_mulhsu: case IR_divs: case IR_divu: case IR_rems: case IR_remu:
    case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
        return (is_int(t) && a == t && b == t) || fail(c, "integer operands of different types");
    case IR_and: case IR_or: case IR_xor: return ((is_int(t) || t == IR_I1) && a == t && b == t) || fail(c, "logical operands of different types");
    case IR_clz: case IR_ctz: case IR_popcnt: case IR_bswap: return (is_int(t) && a == t) || fail(c, "operand type");
    case IR_eq: case IR_ne: case IR_lts: case IR_les: case IR_ltu: case IR_leu: return (t == IR_I1 && a == b && (is_int(a) || a == IR_I1)) || fail(c, "compared types differ");
    case IR_select: return (a == IR_I1 && b == t && type_at(f, i->c) == t) || fail(c, "select types");
    case IR_sext: case IR_zext: return (t == IR_I64 && (a == IR_I64 || (a == IR_I32 && i->aux == 32) || (a == IR_I1 && i->aux == 1))) || fail(c, "extension types");
    case IR_trunc: return (t == IR_I32 && a == IR_I64) || fail(c, "trunc types");
    case IR_load: return (a == IR_I64 && i->aux <= 3 && (t == IR_I64 || is_float(t))) || fail(c, "load types");
    case IR_store: return (a == IR_I64 && i->aux <= 3 && (b == IR_I64 || is_float(b))) || fail(c, "store types");
    case IR_amo: case IR_sc: return (a == IR_I64 && b == IR_I64 && t == IR_I64) || fail(c, "atomic types");
    case IR_cas: return (a == IR_I64 && b == IR_I64 && type_at(f, i->c) == IR_I64) || fail(c, "atomic types");
    case IR_align: return a == IR_I64 || fail(c, "address type");
    case IR_fadd: case IR_fsub: case IR_fmul: case IR_fdiv: case IR_fmin: case IR_fmax: case IR_fminm: case IR_fmaxm: case IR_fcopysign:
        return (is_float(t) && a == t && b == t && i->aux <= 4) || fail(c, "floating-point types or rounding mode");
    case IR_fma: return (is_float(t) && a == t && b == t && type_at(f, i->c) == t && i->aux <= 4) || fail(c, "fma types or rounding mode");
    case IR_fsqrt: case IR_fneg: case IR_fabs: case IR_fround: return (is_float(t) && a == t && i->aux <= 4) || fail(c, "floating-point type or rounding mode");
    case IR_feq: case IR_flt: case IR_fle: return (t == IR_I1 && is_float(a) && a == b) || fail(c, "floating-point comparison types");
    case IR_fclass: return (t == IR_I64 && is_float(a)) || fail(c, "fclass types");
    case IR_fcvt: return (is_float(t) && is_float(a) && t != a && i->aux <= 4) || fail(c, "fcvt types");
    case IR_ftoi: return (is_int(t) && is_float(a) && i->aux <= 4) || fail(c, "ftoi types");
    case IR_itof: return (is_float(t) && is_int(a) && i->aux <= 4) || fail(c, "itof types");
    case IR_bits: return (is_float(t) && is_int(a)) || (is_int(t) && is_float(a)) || fail(c, "bits types");
    case IR_box: return (t == IR_F64 && (a == IR_F16 || a == IR_F32)) || fail(c, "box types");
    case IR_unbox: case IR_flow: return (a == IR_F64 && (t == IR_F16 || t == IR_F32)) || fail(c, "unbox types");
    case IR_get: return (i->imm < f->guest->slot_count && t == f->guest->slots[i->imm].type) || fail(c, "slot type");
    case IR_put: return (i->imm < f->guest->slot_count && a == f->guest->slots[i->imm].type) || fail(c, "slot type");
    case IR_exit_if: case IR_trap_if: case IR_br: return a == IR_I1 || fail(c, "condition is no i1");
    case IR_exit_ind: case IR_setflags: return a == IR_I64 || fail(c, "operand is no i64");
    case IR_call: return (i->imm < f->guest->helper_count && t == f->guest->helpers[i->imm].result && i->b <= 4) || fail(c, "helper call");
    case IR_getflags: return t == IR_I64 || fail(c, "getflags type");
    case IR_nop: case IR_block: case IR_param: case IR_insn: case IR_const: case IR_fence: case IR_exit: case IR_trap: case IR_jmp:
    case IR_poll: case IR_count: return true;
    case IR_OP_COUNT: break;
    }
    return fail(c, "no such operation");
}

static bool check_targets(Check *c, const IrInsn *i) {
    u32 n = c->f->block_count;
    if (i->op == IR_jmp && (i->imm == 0 || i->imm >= n)) return fail(c, "jump to a block that does not exist");
    if (i->op == IR_br && ((u32)i->imm == 0 || (u32)i->imm >= n || i->imm >> 32 == 0 || i->imm >> 32 >= n)) return fail(c, "branch to a block that does not exist");
    return true;
}

const char *ir_verify(const IrFunc *f, char *buf, size_t size) {
    Check c = {.f = f};
    bool open = false, written = false;
    for (c.id = 1; c.id < f->insns.len && !c.wrong; c.id++) {
        const IrInsn *i = &f->insns.at[c.id];
        if (i->op >= IR_OP_COUNT) {
            fail(&c, "no such operation");
            break;
        }
        u16 facts = ir_op_facts[i->op];
        if (i->op == IR_block) {
            if (open) fail(&c, "a block starts inside another");
            open = true;
            written = false;
        } else if (!open) {
            fail(&c, "instruction outside of a block");
        } else if (check_operands(&c, i) && check_types(&c, i) && check_targets(&c, i)) {
            if (i->op == IR_insn) written = false;
            if (i->op == IR_put) written = true;
            if (written && (facts & F_FAULTS) && !(facts & F_TERM)) fail(&c, "an access that can fault follows a put");
            if (facts & F_TERM) open = false;
        }
    }
    if (!c.wrong && open) fail(&c, "the last block has no terminator");
    if (!c.wrong) return NULL;
    Text t = text_init(buf, size);
    text_print(&t, "%%%u (%s): %s", c.id - 1, c.id - 1 < f->insns.len && f->insns.at[c.id - 1].op < IR_OP_COUNT ? ir_op_name[f->insns.at[c.id - 1].op] : "?", c.wrong);
    return buf;
}
