/* SPDX-License-Identifier: Apache-2.0 */
/* What every IrFunc must satisfy, whoever built it: operands exist, come first and have the right types; blocks end once; no access
 * that can fault follows a put within one guest instruction (precise state, ir.h). Of several blocks: definitions dominate
 * uses, jumps and parameters agree. Of promoted functions: frames stand where they must and name what exists there. */
#include "ir/cfg.h"
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
    unsigned n = ir_op_operands[i->op]; /* elsewhere a and b are no values */
    IrType t = (IrType)i->type, a = type_at(f, n > 0 ? i->a : 0), b = type_at(f, n > 1 ? i->b : 0);
    switch ((IrOp)i->op) {
    case IR_add: case IR_sub: case IR_mul: case IR_mulhs: case IR_mulhu: case IR_mulhsu: case IR_divs: case IR_divu: case IR_rems: case IR_remu:
    case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
        return (is_int(t) && a == t && b == t) || fail(c, "integer operands of different types");
    case IR_and: case IR_or: case IR_xor: return ((is_int(t) || t == IR_I1) && a == t && b == t) || fail(c, "logical operands of different types");
    case IR_clz: case IR_ctz: case IR_popcnt: case IR_bswap: return (is_int(t) && a == t) || fail(c, "operand type");
    case IR_crypto: return (t == IR_I64 && a == t && b == t && (i->aux & 15) <= CRYPTO_PERM8) || fail(c, "crypto types");
    case IR_eq: case IR_ne: case IR_lts: case IR_les: case IR_ltu: case IR_leu: return (t == IR_I1 && a == b && (is_int(a) || a == IR_I1)) || fail(c, "compared types differ");
    case IR_select: return (a == IR_I1 && b == t && type_at(f, i->c) == t) || fail(c, "select types");
    case IR_sext: case IR_zext: return (t == IR_I64 && (a == IR_I64 || (a == IR_I32 && i->aux == 32) || (a == IR_I1 && i->aux == 1))) || fail(c, "extension types");
    case IR_trunc: return (t == IR_I32 && a == IR_I64) || fail(c, "trunc types");
    case IR_load: return (a == IR_I64 && i->aux <= 3 && (t == IR_I64 || is_float(t))) || fail(c, "load types");
    case IR_store: return (a == IR_I64 && i->aux <= 3 && (b == IR_I64 || is_float(b))) || fail(c, "store types");
    case IR_amo: return (a == IR_I64 && b == IR_I64 && t == IR_I64) || fail(c, "atomic types");
    case IR_tlb: return (a == IR_I64 && t == IR_I64 && f->guest->paged) || fail(c, "tlb");
    case IR_cas: case IR_sc: return (a == IR_I64 && b == IR_I64 && type_at(f, i->c) == IR_I64) || fail(c, "atomic types");
    case IR_prefetch: case IR_align: return a == IR_I64 || fail(c, "address type");
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
    case IR_quiet: return t == IR_I1 || fail(c, "quiet type");
    case IR_stray: return (t == IR_I1 && a == IR_I64 && i->imm && i->imm < VCPU_KNOWN) || fail(c, "stray");
    case IR_getflags: return t == IR_I64 || fail(c, "getflags type");
    case IR_peek: return (t == IR_I64 && i->imm + 8 <= f->guest->state_size) || fail(c, "peek");
    case IR_poke: return (a == IR_I64 && i->imm + 8 <= f->guest->state_size) || fail(c, "poke");
    case IR_vec: return (t == IR_VOID && a == IR_I64 && b == IR_I64 && i->aux < VEC_OP_COUNT && f->guest->vector) || fail(c, "vec");
    case IR_nop: case IR_block: case IR_param: case IR_insn: case IR_const: case IR_fence: case IR_exit: case IR_trap: case IR_jmp:
    case IR_poll: case IR_count: return true;
    case IR_mode: return f->guest->paged || fail(c, "a mode that nobody keeps");
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

/* --- several blocks ------------------------------------------------------------------------------- */

typedef struct Graph {
    IrCfg cfg;
    VEC(u32) block_of; /* by id */
} Graph;

static u32 param_count(const Check *c, const Graph *g, u32 block) {
    u32 id = g->cfg.blocks.at[block].first + 1, n = 0;
    while (c->f->insns.at[id + n].op == IR_param) n++;
    return n;
}

static bool check_defined(Check *c, const Graph *g, u32 ref) {
    return ir_dominates(&g->cfg, g->block_of.at[ref], g->block_of.at[c->id]) || fail(c, "an operand's block does not dominate its use");
}

static bool check_dominance(Check *c, const Graph *g, const IrInsn *i) {
    if (i->op == IR_call || i->op == IR_jmp) {
        for (u32 k = 0; k < i->b; k++)
            if (!check_defined(c, g, (u32)c->f->args.at[i->a + k])) return false;
        return true;
    }
    const u32 ref[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++)
        if (!check_defined(c, g, ref[k])) return false;
    return true;
}

static bool check_jump(Check *c, const Graph *g, const IrInsn *i) {
    const IrBlockInfo *to = &g->cfg.blocks.at[(u32)i->imm];
    if (to->entry) return fail(c, "a jump leads to an entry block");
    if (i->op == IR_br) {
        if (g->cfg.blocks.at[i->imm >> 32].entry) return fail(c, "a jump leads to an entry block");
        return (!param_count(c, g, (u32)i->imm) && !param_count(c, g, i->imm >> 32)) || fail(c, "a branch leads to a block with parameters");
    }
    if (param_count(c, g, (u32)i->imm) != i->b) return fail(c, "a jump has not as many arguments as its block has parameters");
    for (u32 k = 0; k < i->b; k++)
        if (type_at(c->f, (u32)c->f->args.at[i->a + k]) != type_at(c->f, to->first + 1 + k)) return fail(c, "types of argument and parameter differ");
    return true;
}

static bool check_state(Check *c, const Graph *g, const IrState *s) {
    const IrFunc *f = c->f;
    if (s->slot >= f->guest->slot_count) return fail(c, "its frame names no slot");
    if (!check_operand(c, s->value) || !check_defined(c, g, s->value)) return false;
    IrType t = type_at(f, s->value), slot = (IrType)f->guest->slots[s->slot].type;
    bool ok = s->how == IR_STATE_SAME   ? t == slot
              : s->how == IR_STATE_SEXT ? slot == IR_I64 && is_int(t)
              : s->how == IR_STATE_BOX  ? slot == IR_F64 && t == IR_F32
                                        : false;
    return ok || fail(c, "its frame has a value of the wrong type");
}

static bool check_frame(Check *c, const Graph *g, const IrInsn *i) {
    const IrFunc *f = c->f;
    if (!i->c) return i->op == IR_insn || fail(c, "it has no frame");
    if (i->c > f->frames.len) return fail(c, "its frame does not exist");
    const IrFrame *r = &f->frames.at[i->c - 1];
    if ((u64)r->state + r->state_count > f->states.len) return fail(c, "its frame's states are out of range");
    if (r->insn != (i->op == IR_insn ? c->id : 0)) return fail(c, "its frame belongs to another");
    for (u32 k = r->state; k < r->state + r->state_count; k++) {
        if (k > r->state && f->states.at[k - 1].slot >= f->states.at[k].slot) return fail(c, "its frame is not sorted");
        if (!check_state(c, g, &f->states.at[k])) return false;
    }
    return true;
}

/* `insn`: the last one of this block, 0: none yet. */
static bool check_promoted(Check *c, const Graph *g, const IrInsn *i, u32 insn) {
    const IrBlockInfo *b = &g->cfg.blocks.at[g->block_of.at[c->id]];
    if (i->op == IR_get && !b->entry) return fail(c, "a get outside of an entry block");
    if (ir_has_frame((IrOp)i->op)) return check_frame(c, g, i);
    bool faults = (ir_op_facts[i->op] & F_FAULTS) || (i->op == IR_call && (c->f->guest->helpers[i->imm].facts & HELPER_FAULTS));
    return !faults || (insn && c->f->insns.at[insn].c) || fail(c, "it can fault and has no frame");
}

static bool check_targets_exist(Check *c, const IrInsn *i) {
    if ((i->op == IR_exit || (i->op == IR_exit_ind && i->aux == EXIT_CALL)) && i->b) {
        if (i->b >= c->f->block_count) return fail(c, "it goes on at a block that does not exist");
    }
    return true;
}

static void check_blocks(Check *c, Graph *g) {
    const IrFunc *f = c->f;
    u32 block = 0, insn = 0;
    vec_reserve(&g->block_of, f->insns.len);
    for (u32 id = 1; id < f->insns.len; id++) {
        if (f->insns.at[id].op == IR_block) block = (u32)f->insns.at[id].imm;
        g->block_of.at[id] = block;
    }
    for (c->id = 1; c->id < f->insns.len && !c->wrong; c->id++) {
        const IrInsn *i = &f->insns.at[c->id];
        if (i->op == IR_block || i->op == IR_insn) insn = i->op == IR_insn ? c->id : 0;
        if (g->cfg.blocks.at[g->block_of.at[c->id]].rpo == IR_ROOT) continue; /* never reached */
        if (!check_targets_exist(c, i) || !check_dominance(c, g, i)) break;
        if ((i->op == IR_jmp || i->op == IR_br) && !check_jump(c, g, i)) break;
        if (f->promoted && !check_promoted(c, g, i, insn)) break;
    }
}

/* Blocks are numbered in order; parameters stand first, numbered likewise. */
static bool check_order(Check *c, const IrInsn *i, u32 *blocks) {
    const IrInsn *before = &c->f->insns.at[c->id - 1];
    if (i->op == IR_block && i->imm != (*blocks)++) return fail(c, "blocks are not numbered in order");
    if (i->op == IR_param && !(before->op == IR_block ? i->imm == 0 : before->op == IR_param && i->imm == before->imm + 1)) return fail(c, "a parameter out of order");
    return true;
}

static void check_graph(Check *c) {
    Graph g = {0};
    u32 blocks = 0;
    for (c->id = 1; c->id < c->f->insns.len; c->id++)
        if (!check_order(c, &c->f->insns.at[c->id], &blocks)) break;
    if (!c->wrong && blocks != c->f->block_count) fail(c, "the number of blocks is wrong");
    if (!c->wrong) {
        ir_cfg_make(&g.cfg, c->f);
        check_blocks(c, &g);
    }
    ir_cfg_drop(&g.cfg);
    vec_drop(&g.block_of);
}

/* ----------------------------------------------------------------------------------------------------- */

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
            if (written && !f->promoted && (facts & F_FAULTS) && !(facts & F_TERM)) fail(&c, "an access that can fault follows a put");
            if (facts & F_TERM) open = false;
        }
    }
    if (!c.wrong && open) fail(&c, "the last block has no terminator");
    if (!c.wrong && (f->promoted || f->block_count > 1)) check_graph(&c);
    if (!c.wrong) return NULL;
    Text t = text_init(buf, size);
    text_print(&t, "%%%u (%s): %s", c.id - 1, c.id - 1 < f->insns.len && f->insns.at[c.id - 1].op < IR_OP_COUNT ? ir_op_name[f->insns.at[c.id - 1].op] : "?", c.wrong);
    return buf;
}
