/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: the integer operations for which knowing all places in advance gives better code than lower_int.c: operands come straight
 * from memory into the result's register, and forms of three operands (lea, rorx, andn) save moves. */
#include "host/x64/region.h"

static u32 alu_insn(unsigned op) {
    unsigned digit = op == IR_add ? ALU_ADD : op == IR_sub ? ALU_SUB : op == IR_and ? ALU_AND : op == IR_or ? ALU_OR : ALU_XOR;
    return INSN(0, 0, digit << 3 | 3);
}

static Place place_of(const Cg *g, u32 v) { return region_place(g->region, cg_root(g, v), 2 * g->cur); }
static bool in_register(const Cg *g, u32 v) { return place_of(g, v) < PLACE_SPILL; }

/* dst OP= v, from wherever that is. */
static void operate(Cg *g, u32 insn, unsigned dst, u32 v) {
    X64Mem m;
    if (cg_use_mem(g, v, &m)) x64_rm(&g->b, insn, dst, m);
    else x64_rr(&g->b, insn, dst, cg_use(g, v));
}

/* flags: of the result, which lea does not leave. */
static void alu_imm(Cg *g, const IrInsn *i, i32 imm, bool flags) {
    u32 w = cg_w(i->type);
    unsigned dst = cg_target(g, false, 0, NO_REG);
    if (i->op == IR_add && !flags && in_register(g, i->a) && place_of(g, i->a) != dst) {
        x64_rm(&g->b, I_LEA | w, dst, x64_mem(cg_use(g, i->a), imm));
    } else {
        cg_use_in(g, dst, i->a);
        if (i->op == IR_xor && imm == -1) x64_group3(&g->b, 2, w, dst);
        else if (i->op == IR_sub) x64_alu_ri(&g->b, ALU_SUB, w, dst, imm);
        else x64_alu_ri(&g->b, alu_insn(i->op) >> 3 & 7, w, dst, imm);
    }
    cg_set(g, dst);
}

static void and_not(Cg *g, const IrInsn *i, u32 not, u32 other) {
    u32 insn = I_ANDN | cg_w(i->type);
    unsigned x = cg_use(g, cg_insn(g, not)->a);
    X64Mem m;
    bool memory = cg_use_mem(g, other, &m);
    unsigned y = memory ? NO_REG : cg_use(g, other), dst = cg_target(g, false, 0, NO_REG);
    if (memory) x64_vrm(&g->b, insn, dst, x, m);
    else x64_vrr(&g->b, insn, dst, x, y);
    cg_set(g, dst);
}

/* --- carries --------------------------------------------------------------------------------------------- */

/* Is the comparison whether the sum is less than one of what was added? Of all 64 bits: the lower halves have the same roots. */
static bool compares_sum(const Cg *g, const IrInsn *less, u32 sum) {
    const IrInsn *s = cg_insn(g, sum);
    u32 b = cg_root(g, less->b);
    return less->op == IR_ltu && cg_insn(g, less->a)->type == IR_I64 && cg_root(g, less->a) == sum && s->type == IR_I64 && (b == cg_root(g, s->a) || b == cg_root(g, s->b));
}

/* Does somebody want the carry of the current sum, before anything else has flags (opt/schedule.c)? */
static bool carry_is_wanted(const Cg *g) { return compares_sum(g, cg_insn(g, g->cur + 1), g->cur); }

bool region_flags_hold(const Cg *g, u32 compare) { return g->region->flags_of && compares_sum(g, cg_insn(g, compare), g->region->flags_of); }

/* The comparison whose carry the operand `v` of a sum with `other` is; 0: none. If the flags have it, v is in a place as well; not so `other`, if that
 * is a recipe: a carry itself, or part of an address. */
static u32 known_carry(const Cg *g, u32 v, u32 other) {
    const IrInsn *i = cg_insn(g, v);
    bool held = i->op == IR_zext && i->aux == 1 && region_flags_hold(g, i->a) && !region_is_recipe(g->region, other);
    return held ? i->a : region_carry(g->region, v);
}

/* x + (a < b) or x - (a < b). */
static void add_carry(Cg *g, const IrInsn *i, u32 x, u32 compare) {
    unsigned cc = cg_compare(g, compare);
    ASSERT(cc == CC_B);
    unsigned dst = cg_target(g, false, 0, NO_REG);
    cg_use_in(g, dst, x);
    x64_alu_ri(&g->b, i->op == IR_add ? ALU_ADC : ALU_SBB, cg_w(i->type), dst, 0);
    cg_set(g, dst);
}

static bool add_known_carry(Cg *g, const IrInsn *i) {
    if (i->op != IR_add && i->op != IR_sub) return false;
    u32 a = cg_root(g, i->a), b = cg_root(g, i->b), carry = known_carry(g, b, a);
    if (carry) {
        add_carry(g, i, a, carry);
        return true;
    }
    if (i->op == IR_add) carry = known_carry(g, a, b);
    if (carry) add_carry(g, i, b, carry);
    return carry != 0;
}

static void alu_operand(Cg *g, const IrInsn *i, bool flags) {
    u32 w = cg_w(i->type), a = i->a, b = i->b;
    unsigned dst = cg_target(g, false, 0, NO_REG);
    bool commutes = i->op != IR_sub;
    if (commutes && place_of(g, b) == dst && place_of(g, a) != dst) b = i->a, a = i->b;
    if (i->op == IR_add && !flags && in_register(g, a) && in_register(g, b) && place_of(g, a) != dst) {
        unsigned x = cg_use(g, a), y = cg_use(g, b);
        x64_rm(&g->b, I_LEA | w, dst, x64_mem_index(x, y, 0, 0));
    } else if (!commutes && place_of(g, b) == dst && place_of(g, a) != dst) { /* a - b = -b + a */
        x64_group3(&g->b, 3, w, dst);
        operate(g, INSN(0, 0, ALU_ADD << 3 | 3) | w, dst, a);
    } else {
        if (place_of(g, a) != dst) cg_use_in(g, dst, a);
        operate(g, alu_insn(i->op) | w, dst, b);
    }
    cg_set(g, dst);
}

/* The low bits of a, more than an immediate can say. */
static bool mask_low(Cg *g, const IrInsn *i) {
    const IrInsn *mask = cg_insn(g, cg_root(g, i->b));
    if (i->op != IR_and || i->type != IR_I64 || mask->op != IR_const || fits_i32((i64)mask->imm) || (mask->imm & (mask->imm + 1)) || !x64_features.bmi2) return false;
    X64Mem m;
    bool memory = cg_use_mem(g, i->a, &m);
    unsigned a = memory ? NO_REG : cg_use(g, i->a), count = cg_temp(g, false), dst = cg_target(g, false, 0, NO_REG);
    x64_mov_imm(&g->b, count, (u64)__builtin_popcountll(mask->imm));
    if (memory) x64_vrm(&g->b, I_BZHI | W1, dst, count, m);
    else x64_vrr(&g->b, I_BZHI | W1, dst, count, a);
    cg_set(g, dst);
    return true;
}

static void alu(Cg *g, const IrInsn *i) {
    u32 w = cg_w(i->type), a = i->a, b = i->b, root_a = cg_root(g, a), root_b = cg_root(g, b);
    i32 imm;
    if (mask_low(g, i)) return;
    if (add_known_carry(g, i)) return;
    if (i->op == IR_add && region_is_lea(g)) {
        X64Mem m = region_address(g);
        unsigned dst = cg_target(g, false, 0, NO_REG);
        x64_rm(&g->b, I_LEA | w, dst, m);
        cg_set(g, dst);
        return;
    }
    if (region_is_recipe(g->region, root_a)) {
        and_not(g, i, root_a, b);
        return;
    }
    if (region_is_recipe(g->region, root_b)) {
        and_not(g, i, root_b, a);
        return;
    }
    bool flags = i->op == IR_add && i->type == IR_I64 && carry_is_wanted(g);
    if (cg_imm32(g, b, &imm)) alu_imm(g, i, imm, flags);
    else alu_operand(g, i, flags);
    if (flags) g->region->flags_of = g->cur;
}

static void shift(Cg *g, const IrInsn *i) {
    static const u8 digit[] = {SH_SHL, SH_SHR, SH_SAR, SH_ROL, SH_ROR};
    u32 w = cg_w(i->type);
    unsigned bits = w ? 64 : 32, by = (unsigned)cg_insn(g, cg_root(g, i->b))->imm & (bits - 1), dst = cg_target(g, false, 0, NO_REG);
    X64Mem m;
    if (i->op >= IR_rotl && x64_features.bmi2 && place_of(g, i->a) != dst) {
        if (cg_use_mem(g, i->a, &m)) x64_vrm(&g->b, I_RORX | w, dst, 0, m);
        else x64_vrr(&g->b, I_RORX | w, dst, 0, cg_use(g, i->a));
        x64_u8(&g->b, i->op == IR_rotr ? by : (bits - by) & (bits - 1));
    } else if (i->op == IR_shl && by >= 1 && by <= 3 && in_register(g, i->a) && place_of(g, i->a) != dst) {
        unsigned a = cg_use(g, i->a);
        x64_rm(&g->b, I_LEA | w, dst, by == 1 ? x64_mem_index(a, a, 0, 0) : x64_mem_index(NO_REG, a, by, 0));
    } else {
        cg_use_in(g, dst, i->a);
        x64_shift_ri(&g->b, digit[i->op - IR_shl], w, dst, by);
    }
    cg_set(g, dst);
}

static void mul(Cg *g, const IrInsn *i) {
    u32 w = cg_w(i->type), a = i->a, b = i->b;
    unsigned dst = cg_target(g, false, 0, NO_REG);
    i32 imm;
    X64Mem m;
    if (cg_imm32(g, b, &imm)) {
        if (cg_use_mem(g, a, &m)) x64_rm(&g->b, INSN(0, 0, 0x69) | w, dst, m);
        else x64_rr(&g->b, INSN(0, 0, 0x69) | w, dst, cg_use(g, a));
        x64_u32(&g->b, (u32)imm);
    } else {
        if (place_of(g, b) == dst && place_of(g, a) != dst) b = i->a, a = i->b;
        if (place_of(g, a) != dst) cg_use_in(g, dst, a);
        operate(g, I_IMUL | w, dst, b);
    }
    cg_set(g, dst);
}

/* Does rax hold it, because the high half was made just now (opt/schedule.c)? */
static bool mul_done(Cg *g, const IrInsn *i) {
    const IrInsn *high = cg_insn(g, g->cur - 1);
    u32 a = cg_root(g, i->a), b = cg_root(g, i->b), x = cg_root(g, high->a), y = cg_root(g, high->b);
    if (g->region->low_of != g->cur - 1 || (high->op != IR_mulhs && high->op != IR_mulhu) || high->type != i->type || !((a == x && b == y) || (a == y && b == x))) return false;
    cg_set(g, RAX);
    return true;
}

/* Likewise, because the remainder was. */
static bool div_done(Cg *g, const IrInsn *i) {
    const IrInsn *rest = cg_insn(g, g->cur - 1);
    if (g->region->low_of != g->cur - 1 || rest->op != (i->op == IR_divs ? IR_rems : IR_remu) || rest->type != i->type) return false;
    if (cg_root(g, i->a) != cg_root(g, rest->a) || cg_root(g, i->b) != cg_root(g, rest->b)) return false;
    cg_set(g, RAX);
    return true;
}

void region_test(Cg *g, u32 id) {
    const IrInsn *i = cg_insn(g, id);
    u32 w = cg_w(i->type);
    i32 imm;
    X64Mem m;
    if (cg_imm32(g, i->b, &imm)) {
        if (imm >= 0) w = 0; /* the upper half does not matter */
        if (cg_use_mem(g, i->a, &m)) x64_rm(&g->b, INSN(0, 0, 0xf7) | w, 0, m);
        else x64_group3(&g->b, 0, w, cg_use(g, i->a));
        x64_u32(&g->b, (u32)imm);
        return;
    }
    unsigned a = cg_use(g, i->a);
    if (cg_use_mem(g, i->b, &m)) x64_rm(&g->b, I_TEST | w, a, m);
    else x64_rr(&g->b, I_TEST | w, a, cg_use(g, i->b));
}

bool region_lower_int(Cg *g, const IrInsn *i) {
    switch (i->op) {
    case IR_add: case IR_sub: case IR_and: case IR_or: case IR_xor: alu(g, i); return true;
    case IR_mul:
        if (!mul_done(g, i)) mul(g, i);
        return true;
    case IR_divs: case IR_divu: return div_done(g, i);
    case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
        if (!cg_is_const(g, cg_root(g, i->b))) return false;
        shift(g, i);
        return true;
    default: return false;
    }
}
