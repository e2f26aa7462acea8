/* SPDX-License-Identifier: Apache-2.0 */
/* The back end for regions against the interpreter: random promoted functions of many blocks (loops, branches, parameters, side exits,
 * memory, floating point) run both ways from the same state; where they left, what they left behind in the guest's slots and in
 * memory, and the floating-point flags must agree. Some accesses fault; then the state is what Host.settle finds.
 *
 *   region_test SEED COUNT [WITHOUT]    prints the function at the first difference, then "N passed, N failed"; COUNT 1: as small as it gets */
#include "host/x64/x64.h"
#include "ir/interp.h"
#include "isa/riscv/sem.h"
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { MEMORY = 1 << 14, CODE = 4 << 20, VALUES = 4000, SHADOW = 1 << 16 };

static u64 state;
static u32 pick(u32 n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(state >> 33) % n;
}
static u64 pick64(void) { return (u64)pick(1u << 31) << 40 ^ (u64)pick(1u << 31) << 20 ^ pick(1u << 31); }

/* --- random functions ---------------------------------------------------------------------------------- */

static const Guest *guest = &riscv_guest;
static IrFunc func, *f = &func;
static u32 pool[VALUES], pool_len; /* values in scope */
static u32 slot_now[160];          /* value that the frames list for each slot; 0: it is at home */
static bool pinned[160];
static u32 base, budget;           /* the value that is the address of memory; instructions left to make */

static IrType type_of(u32 v) { return (IrType)f->insns.at[v].type; }
static u32 add_value(u32 v) {
    if (pool_len < VALUES) pool[pool_len++] = v;
    return v;
}
static u32 emit(IrOp op, IrType t, unsigned aux, unsigned aux2, u32 a, u32 b, u32 c, u64 imm) {
    return ir_emit(f, op, t, aux, aux2, (Ref){a}, (Ref){b}, (Ref){c}, imm).id;
}

static u64 random_bits(IrType t) {
    static const u64 f64s[] = {0, 1ull << 63, 0x3ff0000000000000, 0xc008000000000000, 0x7ff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0x41e0000000000000, 1};
    static const u64 ints[] = {0, 1, 2, 3, 8, 31, 63, 255, ~0ull, 0x7fffffff, 0x80000000, 1ull << 63, ~0ull >> 1};
    if (t == IR_F64) return pick(2) ? f64s[pick(ARRAY_LEN(f64s))] : 0x3ff0000000000000 + pick64() % (1ull << 56);
    if (t == IR_F32) return pick(2) ? (u32)pick(4) * 0x3f800000u % 0xff000000u : pick(0x7f800001);
    u64 v = pick(3) ? ints[pick(ARRAY_LEN(ints))] : pick64();
    return t == IR_I1 ? v & 1 : t == IR_I32 ? (u32)v : v;
}

/* A value of the type: the latest ones more often than the old. */
static u32 any(IrType t) {
    if (!pick(6)) return emit(IR_const, t, 0, 0, 0, 0, 0, random_bits(t));
    for (u32 tries = 0; tries < 20; tries++) {
        u32 k = pick(2) ? pool_len - 1 - pick(MIN(pool_len, 12u)) : pick(pool_len);
        if (type_of(pool[k]) == t) return pool[k];
    }
    for (u32 k = pool_len; k-- > 0;)
        if (type_of(pool[k]) == t) return pool[k];
    return emit(IR_const, t, 0, 0, 0, 0, 0, random_bits(t));
}

static IrType any_int(void) { return pick(3) ? IR_I64 : IR_I32; }
static IrType any_float(void) { return pick(3) ? IR_F64 : IR_F32; }

/* A frame of the state as it is now. */
static u32 frame(u64 pc, u32 insn) {
    IrFrame r = {.pc = pc, .insn = insn, .state = f->states.len};
    for (u32 s = 0; s < guest->slot_count; s++) {
        if (!slot_now[s]) continue;
        IrState x = {.slot = (u16)s, .value = slot_now[s]};
        if (type_of(x.value) == IR_I32) x.how = IR_STATE_SEXT;
        if (type_of(x.value) == IR_F32) x.how = IR_STATE_BOX;
        vec_push(&f->states, x);
        r.state_count++;
    }
    vec_push(&f->frames, r);
    return f->frames.len;
}

static u64 next_pc = 0x10000;
static void begin_insn(void) {
    for (u32 k = pick(3); k; k--) { /* the state moves on */
        u32 s = pick(64);
        if (s >= 62) continue;
        IrType t = guest->slots[s].type == IR_F64 ? any_float() : any_int();
        if (slot_now[s]) slot_now[s] = any(t); /* once listed, always: the interpreter writes slots early */
    }
    u32 n = frame(next_pc, f->insns.len);
    emit(IR_insn, IR_VOID, 4, 0, 0, 0, n, next_pc);
    next_pc += 4;
}

static u32 binary(void) {
    static const IrOp op[] = {IR_add, IR_sub, IR_mul, IR_mulhs, IR_mulhu, IR_mulhsu, IR_divs, IR_divu, IR_rems, IR_remu, IR_and, IR_or, IR_xor,
        IR_shl, IR_shr, IR_sar, IR_rotl, IR_rotr, IR_add, IR_add, IR_sub, IR_and, IR_shl};
    IrType t = any_int();
    IrOp o = op[pick(ARRAY_LEN(op))];
    if ((o == IR_mulhs || o == IR_mulhu || o == IR_mulhsu) && t == IR_I32) t = IR_I64;
    u32 a = any(t), b = any(t);
    return emit(o, t, 0, 0, a, b, 0, 0);
}

static u32 condition(void) {
    if (!pick(5)) {
        IrType t = any_float();
        u32 a = any(t), b = any(t);
        return emit(IR_feq + pick(3), IR_I1, 0, pick(2) ? IR_QUIET : 0, a, b, 0, 0);
    }
    IrType t = any_int();
    u32 a = any(t), b = any(t);
    if (pick(5)) return emit(IR_eq + pick(6), IR_I1, 0, 0, a, b, 0, 0);
    u32 both = emit(IR_and, t, 0, 0, a, b, 0, 0); /* a test of bits */
    if (pick(2)) add_value(both);
    return emit(IR_eq + pick(2), IR_I1, 0, 0, both, emit(IR_const, t, 0, 0, 0, 0, 0, 0), 0, 0);
}

static u32 crypto(void) {
    unsigned what = pick(CRYPTO_PERM8 + 1), n = what == CRYPTO_AES_KEY ? pick(11) : what == CRYPTO_SM4_SBOX ? pick(4) : 0;
    u32 a = any(IR_I64), b = any(IR_I64);
    return emit(IR_crypto, IR_I64, what | n << 4, 0, a, b, 0, 0);
}

static u32 integer(void) {
    static const u8 bits[] = {8, 16, 32, 32};
    IrType t = any_int();
    switch (pick(9)) {
    case 8: return crypto();
    case 0: return emit(IR_clz + pick(4), t, 0, 0, any(t), 0, 0, 0);
    case 1: return condition();
    case 2: {
        if (!pick(3)) t = any_float();
        u32 c = pick(2) ? condition() : any(IR_I1), x = any(t), y = any(t);
        return emit(IR_select, t, 0, 0, c, x, y, 0);
    }
    case 3: return emit(pick(2) ? IR_sext : IR_zext, IR_I64, bits[pick(4)], 0, any(IR_I64), 0, 0, 0);
    case 4: return emit(pick(2) ? IR_sext : IR_zext, IR_I64, 32, 0, any(IR_I32), 0, 0, 0);
    case 5: return emit(pick(2) ? IR_sext : IR_zext, IR_I64, 1, 0, pick(2) ? condition() : any(IR_I1), 0, 0, 0);
    case 6: return emit(IR_trunc, IR_I32, 0, 0, any(IR_I64), 0, 0, 0);
    default: {
        u32 a = any(IR_I1), b = any(IR_I1);
        return emit(IR_and + pick(3), IR_I1, 0, 0, a, b, 0, 0);
    }
    }
}

static u32 floating(void) {
    IrType t = any_float(), other = t == IR_F64 ? IR_F32 : IR_F64;
    unsigned rm = pick(4) ? 0 : pick(5);
    u32 a = any(t), b = any(t), c = any(t);
    switch (pick(17)) {
    case 0: case 1: case 2: return emit(IR_fadd + pick(4), t, rm, 0, a, b, 0, 0);
    case 3: return emit(IR_fsqrt, t, rm, 0, a, 0, 0, 0);
    case 4: return emit(IR_fma, t, rm, pick(4) * IR_NEG_PRODUCT, a, b, c, 0);
    case 5: return emit(IR_fmin + pick(4), t, 0, 0, a, b, 0, 0);
    case 6: return emit(IR_fcvt, t, rm, 0, any(other), 0, 0, 0);
    case 7: return emit(IR_ftoi, any_int(), rm, pick(2) ? IR_SIGNED : 0, a, 0, 0, 0);
    case 8: return emit(IR_itof, t, rm, pick(2) ? IR_SIGNED : 0, any(any_int()), 0, 0, 0);
    case 9: return emit(IR_fround, t, rm, pick(2) ? IR_INEXACT : 0, a, 0, 0, 0);
    case 10: return t == IR_F64 ? emit(IR_bits, IR_I64, 0, 0, a, 0, 0, 0) : emit(IR_bits, IR_I32, 0, 0, a, 0, 0, 0);
    case 11: return pick(2) ? emit(IR_bits, IR_F64, 0, 0, any(IR_I64), 0, 0, 0) : emit(IR_bits, IR_F32, 0, 0, any(IR_I32), 0, 0, 0);
    case 12: return pick(2) ? emit(IR_box, IR_F64, 0, 0, any(IR_F32), 0, 0, 0) : emit(IR_unbox, IR_F32, 0, 0, any(IR_F64), 0, 0, 0);
    case 13: return emit(IR_fclass, IR_I64, 0, 0, a, 0, 0, 0);
    case 14: return emit(IR_fcopysign, t, 0, 0, a, b, 0, 0);
    case 15: return emit(IR_flow, IR_F32, 0, 0, any(IR_F64), 0, 0, 0);
    default: return emit(IR_fneg + pick(2), t, 0, 0, a, 0, 0, 0);
    }
}

static u32 truth(u32 c) { return emit(IR_zext, IR_I64, 1, 0, c, 0, 0, 0); }
static u32 low(u32 v) { return emit(IR_trunc, IR_I32, 0, 0, v, 0, 0, 0); }

/* What a carry may be added to: mostly something that a sum would take in if it could. */
static u32 addend(void) {
    u32 x = any(IR_I64), v = x;
    switch (pick(6)) {
    case 0: case 1: return x;
    case 2: v = truth(emit(IR_ltu, IR_I1, 0, 0, x, any(IR_I64), 0, 0)); break;
    case 3: v = emit(IR_add, IR_I64, 0, 0, x, any(IR_I64), 0, 0); break;
    default: v = emit(IR_add, IR_I64, 0, 0, x, emit(IR_const, IR_I64, 0, 0, 0, 0, 0, pick(4000)), 0, 0);
    }
    return pick(4) ? v : add_value(v);
}

static u32 take_carry(u32 bit, u32 other) {
    if (!pick(8)) {
        u32 x = low(other), y = low(bit);
        return emit(IR_zext, IR_I64, 32, 0, emit(pick(2) ? IR_add : IR_sub, IR_I32, 0, 0, x, y, 0, 0), 0, 0, 0);
    }
    return pick(2) ? emit(IR_add, IR_I64, 0, 0, other, bit, 0, 0) : emit(pick(3) ? IR_add : IR_sub, IR_I64, 0, 0, bit, other, 0, 0);
}

static u32 less_than(u32 x, u32 y) {
    if (pick(8)) return emit(IR_ltu, IR_I1, 0, 0, x, y, 0, 0);
    u32 a = low(x), b = low(y);
    return emit(IR_ltu, IR_I1, 0, 0, a, b, 0, 0);
}

/* A sum and its carry, or what looks nearly like one, mostly as opt/schedule.c leaves them. */
static u32 carry(u32 x, u32 y) {
    u32 other = addend();
    u32 sum = add_value(emit(IR_add, IR_I64, 0, 0, x, y, 0, 0));
    if (!pick(6)) add_value(binary());
    u32 than = pick(2) ? x : pick(4) ? y : any(IR_I64);
    u32 less = less_than(sum, than);
    if (!pick(6)) add_value(less);
    if (!pick(6)) add_value(integer());
    u32 bit = truth(less);
    if (!pick(3)) add_value(bit);
    if (!pick(6)) add_value(less_than(sum, x));
    if (!pick(6)) other = addend();
    return take_carry(bit, other);
}

/* The sum of two carries, of which the first may be wanted elsewhere, and the second, too. */
static u32 two_carries(void) {
    u32 bit[2];
    for (u32 k = 0; k < 2; k++) {
        u32 x = any(IR_I64), y = any(IR_I64), sum = add_value(emit(IR_add, IR_I64, 0, 0, x, y, 0, 0));
        u32 less = emit(IR_ltu, IR_I1, 0, 0, sum, pick(2) ? x : y, 0, 0);
        bit[k] = emit(IR_zext, IR_I64, 1, 0, less, 0, 0, 0);
        if (!pick(3)) add_value(bit[k]);
    }
    u32 first = pick(2), second = pick(6) ? !first : first;
    return emit(pick(4) ? IR_add : IR_sub, IR_I64, 0, 0, bit[first], bit[second], 0, 0);
}

/* A remainder and the quotient of the same division, or of nearly the same; or a product of the same operands. */
static u32 division(void) {
    IrType t = any_int();
    bool is_signed = pick(2);
    u32 a = any(t), b = any(t), other = pick(12) ? a : any(t);
    add_value(emit(is_signed ? IR_rems : IR_remu, t, 0, 0, a, b, 0, 0));
    if (!pick(6)) add_value(integer());
    IrOp op = pick(8) ? is_signed ? IR_divs : IR_divu : pick(2) ? IR_mul : is_signed ? IR_divu : IR_divs;
    return emit(op, t, 0, 0, other, b, 0, 0);
}

/* Both halves of a product, added to something. */
static u32 wide(void) {
    u32 a = any(IR_I64), b = any(IR_I64), swap = pick(2), more = pick(6) ? 0 : any(IR_I64);
    u32 high = add_value(emit(pick(2) ? IR_mulhu : IR_mulhs, IR_I64, 0, 0, a, b, 0, 0));
    u32 low = add_value(emit(IR_mul, IR_I64, 0, 0, swap ? b : a, more ? more : swap ? a : b, 0, 0));
    u32 first = carry(low, any(IR_I64));
    return pick(2) ? first : carry(first, high);
}

/* A comparison that raises no flags, as RISC-V programs make it. */
static u32 silent(void) {
    IrType t = any_float();
    u32 a = any(t), b = any(t);
    u32 flags = add_value(emit(IR_getflags, IR_I64, 0, 0, 0, 0, 0, 0));
    u32 c = emit(IR_flt + pick(2), IR_I1, 0, 0, a, b, 0, 0);
    emit(IR_setflags, IR_VOID, 0, 0, flags, 0, 0, 0);
    return c;
}

/* base + something within memory; once in a while beyond. */
static u32 address(void) {
    u32 mask = emit(IR_const, IR_I64, 0, 0, 0, 0, 0, pick(25) ? (MEMORY / 2 - 1) & -8 : (2 * MEMORY - 1) & -8);
    u32 off = emit(IR_and, IR_I64, 0, 0, any(IR_I64), mask, 0, 0);
    if (!pick(3)) {
        u32 k = emit(IR_const, IR_I64, 0, 0, 0, 0, 0, (MEMORY / 2 - 1) & -8), three = emit(IR_const, IR_I64, 0, 0, 0, 0, 0, pick(4));
        off = emit(IR_shl, IR_I64, 0, 0, emit(IR_shr, IR_I64, 0, 0, emit(IR_and, IR_I64, 0, 0, off, k, 0, 0), three, 0, 0), three, 0, 0);
    }
    return add_value(emit(IR_add, IR_I64, 0, 0, base, off, 0, 0));
}

/* The smaller or greater of two, as opt/choose.c finds it. */
static u32 extreme(void) {
    IrType t = any_float();
    u32 a = any(t), b = any(t), c = emit(IR_flt + pick(2), IR_I1, 0, pick(2) ? IR_QUIET : 0, a, b, 0, 0);
    return pick(2) ? emit(IR_select, t, 0, 0, c, a, b, 0) : emit(IR_select, t, 0, 0, c, b, a, 0);
}

static u32 memory_access(void) {
    u32 a = pick(10) ? address() : base;
    u64 disp = pick(MEMORY / 4);
    unsigned size = pick(4);
    switch (pick(8)) {
    case 0: case 1: return emit(IR_load, IR_I64, size, pick(2) ? IR_SIGNED : 0, a, 0, 0, disp);
    case 2: return emit(IR_load, IR_F64, 3, 0, a, 0, 0, disp);
    case 3: return emit(IR_load, IR_F32, 2, 0, a, 0, 0, disp);
    case 4: return emit(IR_store, IR_VOID, size, 0, a, any(IR_I64), 0, disp), 0;
    case 5: return pick(2) ? emit(IR_store, IR_VOID, 3, 0, a, any(IR_F64), 0, disp) : emit(IR_store, IR_VOID, 2, 0, a, any(IR_F32), 0, disp), 0;
    case 6:
        if (!pick(3)) return emit(IR_prefetch, IR_VOID, 0, 0, any(IR_I64), 0, 0, disp), 0;
        return emit(IR_align, IR_VOID, 3, 0, a, 0, 0, pick(30) ? disp & -8 : disp), 0;
    default: break;
    }
    u32 v = any(IR_I64), w = any(IR_I64);
    switch (pick(4)) {
    case 0: return emit(IR_cas, IR_I64, size, 0, a, v, w, 0);
    case 1: {
        u32 addr = SLOT_RESV_ADDR, value = SLOT_RESV_VALUE;
        u32 at = pick(4) ? a : any(IR_I64), old = emit(IR_load, IR_I64, size, 0, a, 0, 0, 0);
        begin_insn();
        emit(IR_put, IR_VOID, 0, 0, at, 0, 0, addr);
        emit(IR_put, IR_VOID, 0, 0, old, 0, 0, value);
        begin_insn();
        return emit(IR_sc, IR_I64, size, 0, a, v, a, addr | (u64)value << 16);
    }
    default: return emit(IR_amo, IR_I64, size, pick(9), a, v, 0, disp);
    }
}

static void side_exit(void) {
    u32 c = condition();
    u32 rare = emit(IR_and, IR_I1, 0, 0, c, emit(IR_and, IR_I1, 0, 0, condition(), condition(), 0, 0), 0, 0);
    if (!pick(4)) {
        begin_insn();
        emit(IR_trap_if, IR_VOID, pick(2) ? TRAP_ILLEGAL : TRAP_RETRY, 0, pick(2) ? rare : c, 0, 0, 0);
        return;
    }
    u32 n = frame(next_pc, 0);
    emit(IR_exit_if, IR_VOID, 0, 0, pick(2) ? rare : c, 0, n, 0x50000 + pick(1000) * 4);
}

static void straight(u32 n) {
    for (; n && budget; n--, budget--) {
        u32 k = pick(20);
        if (!pick(3)) begin_insn();
        u32 v = 0;
        if (k < 7) v = pick(4) ? binary() : pick(2) ? wide() : pick(2) ? division() : two_carries();
        else if (k < 12) v = integer();
        else if (k < 15) v = floating();
        else if (k < 18) begin_insn(), v = memory_access();
        else if (k == 18 && !pick(4)) side_exit();
        else if (k == 18) v = extreme();
        else if (k == 19 && !pick(8)) v = emit(IR_getflags, IR_I64, 0, 0, 0, 0, 0, 0);
        else if (k == 19 && !pick(3)) v = silent();
        else if (k == 19 && !pick(8)) emit(IR_setflags, IR_VOID, 0, 0, any(IR_I64), 0, 0, 0);
        if (v && type_of(v) != IR_VOID) add_value(v);
    }
}

static void statements(u32 depth);

/* Jumps from the current block: arguments of the given types. */
static u32 jump(u32 to, const IrType *types, u32 n, const u32 *fixed) {
    u32 args[16];
    for (u32 k = 0; k < n; k++) args[k] = fixed && fixed[k] ? fixed[k] : any(types[k]);
    u32 at = f->args.len;
    for (u32 k = 0; k < n; k++) vec_push(&f->args, args[k]);
    return emit(IR_jmp, IR_VOID, 0, 0, at, n, 0, to);
}

static u32 params(IrType *types, u32 n) {
    u32 first = f->insns.len;
    for (u32 k = 0; k < n; k++) add_value(emit(IR_param, types[k], 0, 0, 0, 0, 0, k));
    return first;
}

static u32 some_types(IrType *types) {
    static const IrType t[] = {IR_I64, IR_I64, IR_I64, IR_F64, IR_I32, IR_F32, IR_I1};
    u32 n = pick(7);
    for (u32 k = 0; k < n; k++) types[k] = t[pick(ARRAY_LEN(t))];
    return n;
}

static void branch(u32 depth) {
    IrType types[16];
    u32 n = some_types(types), saved_slots[160];
    u32 c = pick(4) ? condition() : any(IR_I1);
    u32 br = emit(IR_br, IR_VOID, 0, 0, c, 0, 0, 0), scope = pool_len;
    memcpy(saved_slots, slot_now, sizeof slot_now);
    u32 yes = ir_block(f);
    if (pick(4)) statements(depth + 1);
    u32 jump_yes = jump(0, types, n, NULL);
    pool_len = scope;
    memcpy(slot_now, saved_slots, sizeof slot_now);
    u32 no = ir_block(f);
    if (pick(2)) statements(depth + 1);
    u32 jump_no = jump(0, types, n, NULL);
    pool_len = scope;
    memcpy(slot_now, saved_slots, sizeof slot_now);
    u32 join = ir_block(f);
    params(types, n);
    f->insns.at[br].imm = yes | (u64)no << 32;
    f->insns.at[jump_yes].imm = f->insns.at[jump_no].imm = join;
}

/* A counted loop; the rest of its parameters go round at random. */
static void loop(u32 depth) {
    IrType types[16] = {IR_I64};
    u32 n = 1 + some_types(types + 1), fixed[16] = {0}, saved_slots[160], scope = pool_len;
    fixed[0] = emit(IR_const, IR_I64, 0, 0, 0, 0, 0, 1 + pick(6));
    u32 enter = jump(0, types, n, fixed);
    memcpy(saved_slots, slot_now, sizeof slot_now);
    u32 head = ir_block(f);
    f->insns.at[enter].imm = head;
    u32 counter = params(types, n);
    for (u32 s = 0; s < 62; s++) /* slots live in parameters */
        if (slot_now[s] && !pick(3)) {
            u32 p = counter + pick(n);
            if ((guest->slots[s].type == IR_F64) == (type_of(p) == IR_F64 || type_of(p) == IR_F32) && type_of(p) != IR_I1) slot_now[s] = p;
        }
    statements(depth + 1);
    u32 less = emit(IR_add, IR_I64, 0, 0, counter, emit(IR_const, IR_I64, 0, 0, 0, 0, 0, ~0ull), 0, 0);
    u32 c = emit(IR_ne, IR_I1, 0, 0, less, emit(IR_const, IR_I64, 0, 0, 0, 0, 0, 0), 0, 0);
    u32 br = emit(IR_br, IR_VOID, 0, 0, c, 0, 0, 0);
    u32 again = ir_block(f);
    if (pick(2)) emit(IR_poll, IR_VOID, 0, 0, 0, 0, frame(next_pc, 0), next_pc);
    if (pick(2)) emit(IR_count, IR_VOID, 0, 0, 0, 0, 0, 1 + pick(100));
    fixed[0] = less;
    jump(head, types, n, fixed);
    if (pick(2)) memcpy(slot_now, saved_slots, sizeof slot_now);
    else (void)scope; /* the body dominates what follows: its values stay in scope */
    u32 out = ir_block(f);
    f->insns.at[br].imm = again | (u64)out << 32;
}

static void statements(u32 depth) {
    for (u32 n = 1 + pick(3); n; n--) {
        straight(1 + pick(pick(4) ? 8 : 40));
        u32 k = pick(6);
        if (depth >= 4 || !budget) continue;
        if (k < 2) branch(depth);
        else if (k < 4) loop(depth);
    }
}

static void leave(void) {
    begin_insn();
    u32 n = frame(next_pc, 0);
    switch (pick(6)) {
    case 0: emit(IR_exit, IR_VOID, EXIT_JUMP, 0, 0, 0, n, 0x60000); break;
    case 1: {
        u32 at = f->args.len;
        vec_push(&f->args, next_pc);
        emit(IR_exit, IR_VOID, EXIT_CALL, 0, at, 0, n, 0x70000);
        break;
    }
    case 2: emit(IR_trap, IR_VOID, pick(2) ? TRAP_SYSCALL : TRAP_WAIT, 0, 0, 0, n, 42); break;
    default: emit(IR_exit_ind, IR_VOID, pick(3), 0, any(IR_I64), 0, n, next_pc);
    }
}

static void generate(void) {
    ir_reset(f, guest, 0x10000, pick(4) ? 0 : pick(4));
    f->promoted = true;
    next_pc = 0x10000, pool_len = 0, budget = 20 + pick(pick(3) ? 100 : 600);
    memset(slot_now, 0, sizeof slot_now);
    for (u32 s = 0; s < 62; s++) {
        if (!pinned[s] && pick(3)) continue;
        u32 v = add_value(emit(IR_get, (IrType)guest->slots[s].type, 0, 0, 0, 0, 0, s));
        if (pinned[s] || pick(2)) slot_now[s] = v;
        if (s == 9) base = v; /* a0 */
    }
    u32 enter = jump(0, NULL, 0, NULL);
    f->insns.at[enter].imm = ir_block(f);
    statements(0);
    leave();
}

/* --- running them ------------------------------------------------------------------------------------------ */

static Vcpu *cpu, *before;
static size_t cpu_size;
static u8 *memory, *memory_before, *memory_interp, *code_memory;
static HostStubs stubs;
static HostCode code;
static u8 *region;
static sigjmp_buf interp_fault;
static bool in_interp;
static IrInterp interp;

static void on_fault(int sig, siginfo_t *info, void *uc) {
    (void)info;
    if (in_interp) siglongjmp(interp_fault, sig);
    u64 at = host_x64.context_pc(uc) - (u64)region;
    if (sig == SIGALRM && cpu->phase == PHASE_CODE && at < code.size) host_x64.abandon(&stubs, guest, cpu, uc, TRAP_POLL);
    if (sig == SIGALRM) return;
    if (sig != SIGSEGV || cpu->phase != PHASE_CODE || at >= code.size) abort();
    u32 k = code.points.len;
    while (k && code.points.at[k - 1].at > at) k--;
    if (!k) abort();
    host_x64.settle(guest, cpu, uc, code.maps.at + code.points.at[k - 1].map);
    cpu->pc = code.points.at[k - 1].pc;
    host_x64.abandon(&stubs, guest, cpu, uc, TRAP_FAULT);
}

static void on_fp_trap(int sig, siginfo_t *info, void *uc) {
    (void)sig, (void)info;
    if (!host_x64.fp_trap(cpu, uc)) abort();
}

static void setup(const char *without) {
    host_x64.init(without);
    code_memory = mmap(NULL, CODE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    host_x64.make_stubs(guest, code_memory, code_memory, &stubs);
    region = code_memory + 16384;
    cpu_size = sizeof(Vcpu) + guest->state_size;
    cpu = aligned_alloc(64, align_up(cpu_size, 64));
    before = aligned_alloc(64, align_up(cpu_size, 64));
    /* functions see the address: the same in each run, so that what differs does so again */
    memory = mmap((void *)0x234560000000, 4 * MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mprotect(memory, MEMORY, PROT_READ | PROT_WRITE)) abort();
    memory_before = malloc(MEMORY), memory_interp = malloc(MEMORY);
    memset(before, 0, cpu_size);
    u8 *shadow = mmap(NULL, SHADOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    before->shadow_base = shadow + SHADOW - 4096;
    host_x64.init_vcpu(&stubs, before);
    for (u32 k = 0; k < JUMP_CACHE_LEN; k++) before->jumps[k].key = 2 * (u64)(k + 1);
    static u8 stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    sigaction(SIGALRM, &sa, NULL);
    sa.sa_sigaction = on_fp_trap;
    sigaction(SIGFPE, &sa, NULL);
    for (u32 k = 0; k < X64_PIN_COUNT; k++) pinned[guest->hot_slots[k]] = pinned[guest->hot_fslots[k]] = true;
}

static void random_state(void) {
    u8 *s = (u8 *)before->state;
    for (u32 k = 0; k < guest->slot_count; k++) {
        u64 v = random_bits((IrType)guest->slots[k].type);
        if (k == 9) v = (u64)memory;
        memcpy(s + guest->slots[k].offset, &v, 8);
    }
    before->mode = f->mode;
    before->poll = !pick(20);
    before->fflags = pick(32);
    before->fp_traps = pick(2) * pick(5);
    for (u32 k = 0; k < MEMORY; k += 8) {
        u64 v = random_bits(pick(2) ? IR_F64 : IR_I64);
        memcpy(memory_before + k, &v, 8);
    }
}

enum { HANGS = 1000 }; /* besides TrapCode */

static u32 run_interp(void) {
    memcpy(cpu, before, cpu_size);
    memcpy(memory, memory_before, MEMORY);
    in_interp = true;
    int fault = sigsetjmp(interp_fault, 1);
    u32 trap = fault ? (fault == SIGALRM ? HANGS : TRAP_FAULT) : ir_interp(&interp, f, cpu);
    in_interp = false;
    return trap;
}

static u64 exit_pc(u64 site) {
    for (u32 k = 0; k < code.exits.len; k++)
        if ((u64)region + code.exits.at[k].site == site) return code.exits.at[k].pc;
    return cpu->pc;
}

static u32 run_code(void) {
    memcpy(cpu, before, cpu_size);
    memcpy(memory, memory_before, MEMORY);
    host_x64.reset_shadow(&stubs, cpu);
    cpu->mxcsr = 0;
    host_x64.sync_fp(cpu);
    cpu->exit_site = EXIT_SITE_NONE;
    u32 trap = stubs.enter(cpu, region + code.entries.at[0].at);
    cpu->phase = PHASE_VMM;
    if ((trap == TRAP_NONE || trap == TRAP_POLL) && cpu->exit_site != EXIT_SITE_NONE) cpu->pc = exit_pc(cpu->exit_site);
    host_x64.sync_fp(cpu);
    return trap;
}

/* And the code into region.bin, if this is the only one. */
static void print_function(bool only) {
    enum { SIZE = 1 << 20 };
    char *buf = malloc(SIZE);
    Text t = text_init(buf, SIZE);
    ir_print(f, &t);
    fputs(buf, stdout);
    FILE *bin = only ? fopen("region.bin", "wb") : NULL;
    if (!bin) return;
    fwrite(region, 1, code.size, bin);
    fclose(bin);
}

static bool quiet;

static bool differs(u32 trap_interp, const Vcpu *i, u32 trap) {
    bool bad = false;
#define DIFFERS(what, a, b) \
    if ((a) != (b)) bad = true, quiet ? 0 : printf("%s: interpreter %lx, code %lx\n", what, (u64)(a), (u64)(b));
    DIFFERS("trap", trap_interp, trap)
    u64 align = -(u64)guest->insn_align;
    DIFFERS("pc", i->pc & align, cpu->pc & align)
    DIFFERS("insns", i->insns, cpu->insns)
    DIFFERS("flags", i->fflags, cpu->fflags)
    for (u32 k = 0; k < guest->slot_count; k++) {
        u64 a, b;
        memcpy(&a, (const u8 *)i->state + guest->slots[k].offset, 8);
        memcpy(&b, (const u8 *)cpu->state + guest->slots[k].offset, 8);
        DIFFERS(guest->slots[k].name, a, b)
    }
    for (u32 k = 0; k < MEMORY; k += 8) {
        u64 a, b;
        memcpy(&a, memory_interp + k, 8);
        memcpy(&b, memory + k, 8);
        if (a != b) bad = true, quiet ? 0 : printf("memory + %x: interpreter %lx, code %lx\n", k, a, b);
    }
    return bad;
}

static u32 given_up, faults;

/* --- making them smaller --------------------------------------------------------------------------------------
 *
 * Instructions become constants or nothing, as long as both ways still differ. */

typedef enum CutKind { CUT_NOT, CUT_ZERO, CUT_LAST } CutKind; /* a result becomes 0, or what it was in the end */
typedef struct Cut {
    u8 kind;
    bool tried;
    u64 last;
} Cut;
static Cut *cut; /* by id; NULL: none */

static void cut_insns(void) {
    for (u32 id = 1; id < f->insns.len; id++) {
        IrInsn *i = &f->insns.at[id];
        if (!cut[id].kind) continue;
        if (ir_has_frame((IrOp)i->op) && i->c) f->frames.at[i->c - 1].state_count = 0;
        if (i->type == IR_VOID) *i = (IrInsn){.op = IR_nop};
        else *i = (IrInsn){.op = IR_const, .type = i->type, .imm = cut[id].kind == CUT_LAST ? cut[id].last : 0};
    }
}

static void generate_from(u64 seed) {
    state = seed * 0x9e3779b97f4a7c15ull + 1;
    generate();
    if (cut) cut_insns();
}

typedef enum Outcome { AGREE, DIFFER, INVALID, TOO_HARD } Outcome;

static Outcome run_both(u64 seed) {
    static Vcpu *after;
    if (!after) after = aligned_alloc(64, align_up(cpu_size, 64));
    generate_from(seed);
    char why[200];
    const char *wrong = ir_verify(f, why, sizeof why);
    if (wrong) return quiet ? 0 : printf("generator: %s\n", wrong), INVALID;
    random_state();
    u32 trap_interp = run_interp();
    if (trap_interp == HANGS) return INVALID;
    memcpy(after, cpu, cpu_size);
    memcpy(memory_interp, memory, MEMORY);
    code.rw = region, code.rx = region, code.cap = CODE - 16384;
    if (!host_x64.compile_region(&stubs, f, &code)) {
        if (code.lost && !quiet) puts("code: an operand is nowhere");
        return code.lost ? DIFFER : TOO_HARD;
    }
    faults += trap_interp == TRAP_FAULT;
    return differs(trap_interp, after, run_code()) ? DIFFER : AGREE;
}

/* What is cut may have ended a loop. */
static bool still_differs(u64 seed) {
    alarm(1);
    Outcome o = run_both(seed);
    alarm(0);
    return o == DIFFER;
}

static bool can_cut(const IrInsn *i) { return i->op != IR_nop && i->op != IR_block && i->op != IR_param && !(ir_op_facts[i->op] & F_TERM); }

static bool try_cut(u64 seed, u32 from, u32 to, CutKind kind) {
    bool some = false;
    generate_from(seed);
    for (u32 id = from; id < to; id++)
        if (!cut[id].kind && can_cut(&f->insns.at[id])) cut[id].kind = (u8)kind, cut[id].tried = some = true;
    bool good = some && still_differs(seed);
    for (u32 id = from; id < to; id++) {
        if (cut[id].tried && !good) cut[id].kind = CUT_NOT;
        cut[id].tried = false;
    }
    return good;
}

static bool cut_range(u64 seed, u32 from, u32 to) {
    if (try_cut(seed, from, to, CUT_ZERO)) return true;
    still_differs(seed);
    for (u32 id = from; id < to; id++)
        if (!cut[id].kind) cut[id].last = f->insns.at[id].type == IR_VOID ? 0 : interp.values.at[id];
    return try_cut(seed, from, to, CUT_LAST);
}

static void drop_constants(void) {
    bool *used = calloc(f->insns.len, 1);
    for (u32 n = 0; n < f->frames.len; n++)
        for (u32 k = 0; k < f->frames.at[n].state_count; k++) used[f->states.at[f->frames.at[n].state + k].value] = true;
    for (u32 k = 0; k < f->args.len; k++)
        if (f->args.at[k] < f->insns.len) used[f->args.at[k]] = true;
    for (u32 id = f->insns.len - 1; id; id--) {
        IrInsn *i = &f->insns.at[id];
        if (!used[id] && i->op == IR_const) *i = (IrInsn){.op = IR_nop};
        const u32 operand[] = {i->a, i->b, i->c};
        for (unsigned k = 0; k < ir_op_operands[i->op]; k++) used[operand[k]] = true;
    }
    free(used);
}

static void make_small(u64 seed) {
    u32 n = f->insns.len;
    cut = calloc(n, sizeof *cut);
    quiet = true;
    for (bool more = true; more;) {
        more = false;
        for (u32 step = n; step; step /= 2)
            for (u32 id = 1; id < n; id += step) more |= cut_range(seed, id, MIN(id + step, n));
    }
    quiet = false;
}

static bool one(u64 seed, bool only) {
    Outcome o = run_both(seed);
    if (o == TOO_HARD) given_up++;
    if (o == AGREE || o == TOO_HARD) return true;
    printf("seed %lu\n", seed);
    if (only && o == DIFFER) make_small(seed), run_both(seed);
    generate_from(seed);
    if (cut) drop_constants();
    print_function(only);
    return false;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, n = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000, k = 0;
    setup(argc > 3 ? argv[3] : NULL);
    while (k < n && one(seed + k, n == 1)) k++;
    printf("%lu functions, %u given up, %u faulted\n", k, given_up, faults);
    printf("%lu passed, %d failed\n", k, k < n);
    return k < n || given_up * 20 > n;
}
