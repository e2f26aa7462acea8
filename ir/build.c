/* SPDX-License-Identifier: Apache-2.0 */
/* The IR builder: appends instructions, folding what is known on the way. Folding happens here and not in a pass of
 * its own because most translations are made once, by the quick tier, and never see a pass. What
 * constants evaluate to is ir_eval's business (eval.c). */
#include "ir/guest.h"

static const Ref NONE = {0};

void ir_reset(IrFunc *f, const Guest *guest, u64 pc, u32 mode) {
    f->guest = guest;
    f->pc = pc;
    f->mode = mode;
    f->insns.len = f->args.len = f->frames.len = f->states.len = 0;
    f->promoted = f->counted = false;
    f->block_count = 0;
    f->closed = true;
    f->guess = f->length.full = f->known = 0;
    vec_push(&f->insns, ((IrInsn){.op = IR_nop}));
    ir_block(f);
}

void ir_drop(IrFunc *f) {
    vec_drop(&f->insns);
    vec_drop(&f->args);
    vec_drop(&f->frames);
    vec_drop(&f->states);
}

void ir_forget_slots(IrBuilder *b) { memset(b->slot_value, 0, b->guest->slot_count * sizeof b->slot_value[0]); }

/* ir_emit where the operation is known: what it costs is a comparison and four stores. */
static inline __attribute__((always_inline)) Ref emit(IrBuilder *b, IrOp op, IrType type, unsigned aux, unsigned aux2, Ref a, Ref x, Ref c, u64 imm) {
    ASSERT(!b->closed);
    u32 id = b->insns.len;
    if (UNLIKELY(id == b->insns.cap)) vec_reserve(&b->insns, id + 1);
    b->insns.at[id] = (IrInsn){.op = op, .type = type, .aux = aux, .aux2 = aux2, .a = a.id, .b = x.id, .c = c.id, .imm = imm};
    b->insns.len = id + 1;
    return (Ref){id};
}

Ref ir_emit(IrBuilder *b, IrOp op, IrType type, unsigned aux, unsigned aux2, Ref a, Ref x, Ref c, u64 imm) {
    Ref r = emit(b, op, type, aux, aux2, a, x, c, imm);
    if (ir_op_facts[op] & F_TERM) b->closed = true;
    return r;
}

u32 ir_block(IrBuilder *b) {
    ASSERT(b->closed);
    b->closed = false;
    ir_forget_slots(b);
    b->block_start = b->insns.len;
    emit(b, IR_block, IR_VOID, 0, 0, NONE, NONE, NONE, b->block_count);
    return b->block_count++;
}

void ir_begin_insn(IrBuilder *b, u64 pc, unsigned len) {
    Ref r = emit(b, IR_insn, IR_VOID, len, 0, NONE, NONE, NONE, pc);
    vec_push(&b->frames, ((IrFrame){.pc = pc, .insn = r.id}));
}

Ref ir_const(IrBuilder *b, IrType type, u64 bits) {
    if (type == IR_I32 || type == IR_F32) bits = (u32)bits;
    if (type == IR_I1) bits &= 1;
    return emit(b, IR_const, type, 0, 0, NONE, NONE, NONE, bits);
}

Ref ir_get(IrBuilder *b, u32 slot) {
    u32 known = b->slot_value[slot];
    if (known) return (Ref){known};
    Ref r = emit(b, IR_get, b->guest->slots[slot].type, 0, 0, NONE, NONE, NONE, slot);
    b->slot_value[slot] = r.id;
    return r;
}

void ir_put(IrBuilder *b, u32 slot, Ref v) {
    ASSERT(ir_type_of(b, v) == b->guest->slots[slot].type);
    if (b->slot_value[slot] == v.id) return; /* it holds that already */
    emit(b, IR_put, IR_VOID, 0, 0, v, NONE, NONE, slot);
    b->slot_value[slot] = v.id;
}

/* --- integers ----------------------------------------------------------------------------------- */

static unsigned type_bits(IrType t) { return t == IR_I64 || t == IR_F64 ? 64 : t == IR_I1 ? 1 : t == IR_F16 ? 16 : 32; }
static bool is_compare(IrOp op) { return op >= IR_eq && op <= IR_leu; }

/* x OP c where the result is x, or a constant: 1 and *out set. Condition: c is a constant. Bought: immediates
 * of pseudo-instructions (mv, li, sext.w) cost nothing. */
static bool fold_identity(IrBuilder *b, IrOp op, Ref x, u64 c, Ref *out) {
    IrType t = ir_type_of(b, x);
    u64 ones = low_bits(~0ull, type_bits(t));
    switch ((int)op) {
    case IR_add: case IR_sub: case IR_or: case IR_xor: case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
        if (c == 0) return *out = x, true;
        break;
    case IR_and:
        if (c == ones) return *out = x, true;
        if (c == 0) return *out = ir_const(b, t, 0), true;
        break;
    case IR_mul:
        if (c == 1) return *out = x, true;
        if (c == 0) return *out = ir_const(b, t, 0), true;
        break;
    case IR_ltu:
        if (c == 0) return *out = ir_const(b, IR_I1, 0), true;
        break;
    }
    return false;
}

/* A zero- or sign-extension written as two shifts: (x << k) >> k. */
static bool fold_shift_pair(IrBuilder *b, IrOp op, Ref x, u64 k, Ref *out) {
    const IrInsn *in = ir_insn_of(b, x);
    if (in->op != IR_shl || in->type != IR_I64 || (op != IR_shr && op != IR_sar)) return false;
    const IrInsn *by = &b->insns.at[in->b];
    if (by->op != IR_const || by->imm != k || (k != 32 && k != 48 && k != 56)) return false;
    Ref inner = {in->a};
    *out = op == IR_shr ? ir_zext(b, 64 - k, inner) : ir_sext(b, 64 - k, inner);
    return true;
}

static u64 of_type(IrType t, u64 bits) { return t == IR_I64 || t == IR_F64 ? bits : low_bits(bits, type_bits(t)); }

Ref ir_imm(IrBuilder *b, IrOp op, Ref x, u64 imm) {
    IrType t = ir_type_of(b, x);
    u64 c = of_type(t, imm);
    IrType result = is_compare(op) ? IR_I1 : t;
    if (ir_is_const(b, x)) return ir_const(b, result, ir_eval(op, result, t, 0, ir_insn_of(b, x)->imm, c, 0));
    Ref out;
    if (fold_identity(b, op, x, c, &out) || fold_shift_pair(b, op, x, c, &out)) return out;
    if (op == IR_sub) op = IR_add, c = of_type(t, -c);
    if (op == IR_mul && (c & (c - 1)) == 0) op = IR_shl, c = __builtin_ctzll(c);
    Ref y = ir_const(b, t, c);
    return emit(b, op, result, 0, 0, x, y, NONE, 0);
}

Ref ir_binary(IrBuilder *b, IrOp op, Ref x, Ref y) {
    IrType t = ir_type_of(b, x);
    ASSERT(t == ir_type_of(b, y));
    if (ir_is_const(b, y)) {
        Ref out;
        u64 c = ir_insn_of(b, y)->imm;
        if (ir_is_const(b, x) || op == IR_sub || op == IR_mul) return ir_imm(b, op, x, c);
        if (fold_identity(b, op, x, c, &out) || fold_shift_pair(b, op, x, c, &out)) return out;
    } else if (ir_is_const(b, x) && (ir_op_facts[op] & F_COMMUTES)) {
        return ir_binary(b, op, y, x);
    } else if (x.id == y.id && t != IR_I1) {
        if (op == IR_sub || op == IR_xor) return ir_const(b, t, 0);
        if (op == IR_and || op == IR_or) return x;
        if (is_compare(op)) return ir_const(b, IR_I1, op == IR_eq || op == IR_les || op == IR_leu);
    }
    return emit(b, op, is_compare(op) ? IR_I1 : t, 0, 0, x, y, NONE, 0);
}

Ref ir_unary(IrBuilder *b, IrOp op, Ref x) {
    IrType t = ir_type_of(b, x);
    if (ir_is_const(b, x)) return ir_const(b, t, ir_eval(op, t, t, 0, ir_insn_of(b, x)->imm, 0, 0));
    return emit(b, op, t, 0, 0, x, NONE, NONE, 0);
}

Ref ir_crypto(IrBuilder *b, CryptoOp op, unsigned n, Ref x, Ref y) { return ir_emit(b, IR_crypto, IR_I64, op | n << 4, 0, x, y, NONE, 0); }

Ref ir_not(IrBuilder *b, Ref x) { return ir_imm(b, IR_xor, x, ~0ull); }

Ref ir_select(IrBuilder *b, Ref cond, Ref x, Ref y) {
    if (ir_is_const(b, cond)) return ir_insn_of(b, cond)->imm ? x : y;
    if (x.id == y.id) return x;
    return ir_emit(b, IR_select, ir_type_of(b, x), 0, 0, cond, x, y, 0);
}

/* The number of low bits that determine x, if it is an extension: (kind, bits), else 64. */
static unsigned extension_bits(const IrInsn *x, IrOp op) {
    if (x->op == op) return x->aux;
    if (x->op == IR_load && x->type == IR_I64 && ((x->aux2 & IR_SIGNED) != 0) == (op == IR_sext)) return 8u << x->aux;
    return 64;
}

/* An i32 shifted right by a constant: bit 31 is 0. */
static bool high_bit_clear(const IrBuilder *b, const IrInsn *x) {
    if (x->op != IR_shr || x->type != IR_I32) return false;
    const IrInsn *by = &b->insns.at[x->b];
    return by->op == IR_const && (by->imm & 31);
}

/* The low 32 bits of a sum, difference or product depend on those of the operands only, so what extended an operand need not be
 * waited for. Bought: a chain of addw costs one cycle a link, not two. */
static Ref without_extension(const IrBuilder *b, u32 id) {
    const IrInsn *x = &b->insns.at[id];
    bool extension = (x->op == IR_sext || x->op == IR_zext) && x->aux == 32 && b->insns.at[x->a].type == IR_I64;
    return (Ref){extension ? x->a : id};
}

static Ref narrow(IrBuilder *b, Ref x) {
    IrInsn in = *ir_insn_of(b, x);
    if ((in.op != IR_add && in.op != IR_sub && in.op != IR_mul) || in.type != IR_I64) return x;
    Ref p = without_extension(b, in.a), q = without_extension(b, in.b);
    if (p.id == in.a && q.id == in.b) return x;
    return emit(b, (IrOp)in.op, IR_I64, 0, 0, p, q, NONE, 0);
}

static Ref extend(IrBuilder *b, IrOp op, unsigned bits, Ref x) {
    const IrInsn *in = ir_insn_of(b, x);
    if (in->op == IR_const) return ir_i64(b, ir_eval(op, IR_I64, in->type, bits, in->imm, 0, 0));
    if (bits >= 64 || extension_bits(in, op) <= bits) return x;
    if (op == IR_sext && bits == 32 && high_bit_clear(b, in)) op = IR_zext; /* which costs nothing on hosts that zero-extend by themselves */
    /* what is zero-extended from fewer bits is already sign-extended */
    if (op == IR_sext && extension_bits(in, IR_zext) < bits) return x;
    if (op == IR_sext && bits == 32) x = narrow(b, x);
    return emit(b, op, IR_I64, bits, 0, x, NONE, NONE, 0);
}
Ref ir_sext(IrBuilder *b, unsigned bits, Ref x) { return extend(b, IR_sext, bits, x); }
Ref ir_zext(IrBuilder *b, unsigned bits, Ref x) { return extend(b, IR_zext, bits, x); }

Ref ir_trunc(IrBuilder *b, Ref x) {
    const IrInsn *in = ir_insn_of(b, x);
    if (in->op == IR_const) return ir_const(b, IR_I32, in->imm);
    if ((in->op == IR_sext || in->op == IR_zext) && in->aux == 32) {
        Ref inner = {in->a};
        return ir_type_of(b, inner) == IR_I32 ? inner : emit(b, IR_trunc, IR_I32, 0, 0, inner, NONE, NONE, 0);
    }
    return emit(b, IR_trunc, IR_I32, 0, 0, x, NONE, NONE, 0);
}

/* --- memory -------------------------------------------------------------------------------------- */

static Ref tlb(IrBuilder *b, unsigned bytes, unsigned how, Ref base, i64 disp) {
    ASSERT(fits_i32(disp));
    return emit(b, IR_tlb, IR_I64, __builtin_ctz(bytes), how, base, NONE, NONE, (u64)disp);
}

Ref ir_address(IrBuilder *b, unsigned bytes, unsigned how, Ref base, i64 disp) {
    return b->guest->paged ? tlb(b, bytes, how, base, disp) : ir_imm(b, IR_add, base, (u64)disp);
}

static Ref load(IrBuilder *b, IrType type, unsigned bits, unsigned flags, Ref base, i64 disp) {
    ASSERT(fits_i32(disp));
    if (b->guest->paged) base = tlb(b, bits / 8, 0, base, disp), disp = 0;
    return emit(b, IR_load, type, __builtin_ctz(bits / 8), flags, base, NONE, NONE, (u64)disp);
}
Ref ir_loads(IrBuilder *b, unsigned bits, Ref base, i64 disp) { return load(b, IR_I64, bits, IR_SIGNED, base, disp); }
Ref ir_loadu(IrBuilder *b, unsigned bits, Ref base, i64 disp) { return load(b, IR_I64, bits, 0, base, disp); }
Ref ir_loadf(IrBuilder *b, IrType type, Ref base, i64 disp) { return load(b, type, type_bits(type), 0, base, disp); }

void ir_store(IrBuilder *b, unsigned bits, Ref base, i64 disp, Ref v) {
    ASSERT(fits_i32(disp));
    if (b->guest->paged) base = tlb(b, bits / 8, TLB_WRITE, base, disp), disp = 0;
    emit(b, IR_store, IR_VOID, __builtin_ctz(bits / 8), 0, base, v, NONE, (u64)disp);
}

void ir_set_order(IrBuilder *b, unsigned order) { b->insns.at[b->insns.len - 1].aux2 |= order; }

void ir_align(IrBuilder *b, unsigned bytes, Ref addr) {
    if (bytes > 1) ir_emit(b, IR_align, IR_VOID, __builtin_ctz(bytes), 0, addr, NONE, NONE, 0);
}
Ref ir_amo(IrBuilder *b, AmoOp op, unsigned bits, Ref addr, Ref v) {
    addr = ir_address(b, bits / 8, TLB_WRITE | TLB_ATOMIC, addr, 0);
    return ir_emit(b, IR_amo, IR_I64, __builtin_ctz(bits / 8), op, addr, v, NONE, 0);
}
Ref ir_cas(IrBuilder *b, unsigned bits, Ref addr, Ref expected, Ref desired) {
    addr = ir_address(b, bits / 8, TLB_WRITE | TLB_ATOMIC, addr, 0);
    return ir_emit(b, IR_cas, IR_I64, __builtin_ctz(bits / 8), 0, addr, expected, desired, 0);
}
Ref ir_sc(IrBuilder *b, unsigned bits, Ref addr, Ref v, u32 slot_addr, u32 slot_value) {
    Ref at = ir_address(b, bits / 8, TLB_WRITE | TLB_ATOMIC, addr, 0);
    return ir_emit(b, IR_sc, IR_I64, __builtin_ctz(bits / 8), 0, addr, v, at, slot_addr | slot_value << 16);
}
void ir_prefetch(IrBuilder *b, Ref base, i64 disp) { ir_emit(b, IR_prefetch, IR_VOID, 0, 0, base, NONE, NONE, (u64)disp); }
void ir_fence(IrBuilder *b, unsigned pred_succ) { ir_emit(b, IR_fence, IR_VOID, 0, 0, NONE, NONE, NONE, pred_succ); }

/* --- floating point ---------------------------------------------------------------------------- */

Ref ir_fp2(IrBuilder *b, IrOp op, unsigned rm, Ref x, Ref y) {
    if (op == IR_fcopysign && x.id == y.id) return x;
    return ir_emit(b, op, ir_type_of(b, x), rm, 0, x, y, NONE, 0);
}
Ref ir_fp1(IrBuilder *b, IrOp op, unsigned rm, Ref x) { return ir_emit(b, op, ir_type_of(b, x), rm, 0, x, NONE, NONE, 0); }
Ref ir_fma(IrBuilder *b, unsigned rm, unsigned neg, Ref x, Ref y, Ref z) {
    return ir_emit(b, IR_fma, ir_type_of(b, x), rm, neg, x, y, z, 0);
}
Ref ir_fcmp(IrBuilder *b, IrOp op, unsigned quiet, Ref x, Ref y) { return ir_emit(b, op, IR_I1, 0, quiet, x, y, NONE, 0); }
Ref ir_fclass(IrBuilder *b, Ref x) { return ir_emit(b, IR_fclass, IR_I64, 0, 0, x, NONE, NONE, 0); }
Ref ir_fcvt(IrBuilder *b, IrType to, unsigned rm, Ref x) { return ir_emit(b, IR_fcvt, to, rm, 0, x, NONE, NONE, 0); }
Ref ir_ftoi(IrBuilder *b, IrType to, bool is_signed, unsigned rm, Ref x) {
    return ir_emit(b, IR_ftoi, to, rm, is_signed ? IR_SIGNED : 0, x, NONE, NONE, 0);
}
Ref ir_itof(IrBuilder *b, IrType to, bool is_signed, unsigned rm, Ref x) {
    return ir_emit(b, IR_itof, to, rm, is_signed ? IR_SIGNED : 0, x, NONE, NONE, 0);
}
Ref ir_fround(IrBuilder *b, bool inexact, unsigned rm, Ref x) {
    return ir_emit(b, IR_fround, ir_type_of(b, x), rm, inexact ? IR_INEXACT : 0, x, NONE, NONE, 0);
}
Ref ir_bits(IrBuilder *b, Ref x) {
    static const u8 other[IR_TYPE_COUNT] = {[IR_I32] = IR_F32, [IR_I64] = IR_F64, [IR_F32] = IR_I32, [IR_F64] = IR_I64};
    IrType to = other[ir_type_of(b, x)];
    if (ir_is_const(b, x)) return ir_const(b, to, ir_insn_of(b, x)->imm);
    return ir_emit(b, IR_bits, to, 0, 0, x, NONE, NONE, 0);
}
Ref ir_box(IrBuilder *b, Ref x) { return ir_emit(b, IR_box, IR_F64, 0, 0, x, NONE, NONE, 0); }

/* unbox(box(x)) = x, and a slot's value is checked once per block: `c` of a get remembers its unboxed form (c has no
 * other meaning there). */
Ref ir_unbox(IrBuilder *b, IrType to, Ref x) {
    IrInsn *in = ir_insn_of(b, x);
    if (in->op == IR_box && b->insns.at[in->a].type == to) return (Ref){in->a};
    if (in->op == IR_get && in->c && b->insns.at[in->c].type == to) return (Ref){in->c};
    Ref r = ir_emit(b, IR_unbox, to, 0, 0, x, NONE, NONE, 0);
    in = ir_insn_of(b, x);
    if (in->op == IR_get) in->c = r.id;
    return r;
}
Ref ir_flow(IrBuilder *b, IrType to, Ref x) {
    const IrInsn *in = ir_insn_of(b, x);
    if (in->op == IR_box && b->insns.at[in->a].type == to) return (Ref){in->a};
    return ir_emit(b, IR_flow, to, 0, 0, x, NONE, NONE, 0);
}
Ref ir_getflags(IrBuilder *b) { return ir_emit(b, IR_getflags, IR_I64, 0, 0, NONE, NONE, NONE, 0); }
void ir_setflags(IrBuilder *b, Ref x) { ir_emit(b, IR_setflags, IR_VOID, 0, 0, x, NONE, NONE, 0); }

/* --- calls and leaving ---------------------------------------------------------------------------- */

static u32 push_args(IrBuilder *b, unsigned n, const Ref *args) {
    u32 at = b->args.len;
    for (unsigned i = 0; i < n; i++) vec_push(&b->args, args[i].id);
    return at;
}

Ref ir_call(IrBuilder *b, u32 helper, unsigned n, const Ref *args) {
    ASSERT(n <= 4);
    const GuestHelper *h = &b->guest->helpers[helper];
    u32 at = push_args(b, n, args);
    Ref r = ir_emit(b, IR_call, h->result, 0, 0, (Ref){at}, (Ref){n}, NONE, helper);
    if (h->facts & HELPER_WRITES) ir_forget_slots(b);
    return r;
}

Ref ir_peek(IrBuilder *b, u32 offset) { return ir_emit(b, IR_peek, IR_I64, 0, 0, NONE, NONE, NONE, offset); }
void ir_poke(IrBuilder *b, u32 offset, Ref v) { ir_emit(b, IR_poke, IR_VOID, 0, 0, v, NONE, NONE, offset); }
void ir_vec(IrBuilder *b, VecOp op, unsigned form, u32 registers, u32 key, u64 code, Ref x, Ref y) {
    ir_emit(b, IR_vec, IR_VOID, op, form, x, y, (Ref){registers}, code | (u64)key << 48);
}

void ir_mode(IrBuilder *b, u32 mode) { ir_emit(b, IR_mode, IR_VOID, 0, 0, NONE, NONE, NONE, mode); }
void ir_exit_if(IrBuilder *b, Ref cond, u64 pc) {
    if (!ir_is_const(b, cond)) ir_emit(b, IR_exit_if, IR_VOID, 0, 0, cond, NONE, NONE, pc);
    else if (ir_insn_of(b, cond)->imm) ir_exit(b, pc);
}
void ir_exit(IrBuilder *b, u64 pc) { ir_emit(b, IR_exit, IR_VOID, EXIT_JUMP, 0, NONE, NONE, NONE, pc); }
void ir_exit_call(IrBuilder *b, u64 pc, u64 return_pc) {
    u32 at = b->args.len;
    vec_push(&b->args, return_pc);
    ir_emit(b, IR_exit, IR_VOID, EXIT_CALL, 0, (Ref){at}, NONE, NONE, pc);
}
void ir_exit_ind(IrBuilder *b, Ref pc, ExitKind kind, u64 return_pc) {
    ir_emit(b, IR_exit_ind, IR_VOID, kind, 0, pc, NONE, NONE, return_pc);
}
void ir_trap(IrBuilder *b, TrapCode code, u64 arg) { ir_emit(b, IR_trap, IR_VOID, code, 0, NONE, NONE, NONE, arg); }
void ir_trap_if(IrBuilder *b, Ref cond, TrapCode code) {
    if (!ir_is_const(b, cond)) ir_emit(b, IR_trap_if, IR_VOID, code, 0, cond, NONE, NONE, 0);
    else if (ir_insn_of(b, cond)->imm) ir_trap(b, code, 0);
}
void ir_jmp(IrBuilder *b, u32 block, unsigned n, const Ref *args) {
    u32 at = push_args(b, n, args);
    ir_emit(b, IR_jmp, IR_VOID, 0, 0, (Ref){at}, (Ref){n}, NONE, block);
}
void ir_br(IrBuilder *b, Ref cond, u32 then_block, u32 else_block) {
    ir_emit(b, IR_br, IR_VOID, 0, 0, cond, NONE, NONE, then_block | (u64)else_block << 32);
}
