/* SPDX-License-Identifier: Apache-2.0 */
/* Integer operations, comparisons and width changes to x86-64. */
#include "host/x64/region.h"

static u32 bit(unsigned reg) { return 1u << reg; }

/* Digit of the ALU group for an IR operation. */
static unsigned alu_digit(unsigned op) {
    switch (op) {
    case IR_add: return ALU_ADD;
    case IR_sub: return ALU_SUB;
    case IR_and: return ALU_AND;
    case IR_or: return ALU_OR;
    default: return ALU_XOR;
    }
}

static void alu_imm(Cg *g, IrInsn *i, i32 imm) {
    u32 w = cg_w(i->type);
    unsigned a = cg_use(g, i->a);
    unsigned dst = cg_target(g, false, 0, a);
    if (i->op == IR_add && dst != a) {
        x64_rm(&g->b, I_LEA | w, dst, x64_mem(a, imm));
    } else {
        x64_mov(&g->b, dst, a);
        if (i->op == IR_xor && imm == -1) x64_group3(&g->b, 2, w, dst);
        else x64_alu_ri(&g->b, alu_digit(i->op), w, dst, imm);
    }
    cg_set(g, dst);
}

static void alu(Cg *g, IrInsn *i) {
    i32 imm;
    if (cg_imm32(g, i->b, &imm)) {
        alu_imm(g, i, imm);
        return;
    }
    u32 w = cg_w(i->type);
    unsigned digit = alu_digit(i->op);
    bool commutes = i->op != IR_sub;
    X64Mem m;
    if (cg_use_mem(g, i->b, &m)) {
        unsigned a = cg_use(g, i->a);
        unsigned dst = cg_target(g, false, 0, a);
        x64_mov(&g->b, dst, a);
        x64_alu_rm(&g->b, digit, w, dst, m);
        cg_set(g, dst);
        return;
    }
    unsigned a = cg_use(g, i->a), b = cg_use(g, i->b);
    unsigned dst = cg_target(g, false, 0, commutes && !(X64_SCRATCH_GPR >> a & 1) ? b : a);
    if (dst == a) {
        x64_alu_rr(&g->b, digit, w, dst, b);
    } else if (dst == b && commutes) {
        x64_alu_rr(&g->b, digit, w, dst, a);
    } else if (dst == b) { /* a - b = -b + a */
        x64_group3(&g->b, 3, w, dst);
        x64_alu_rr(&g->b, ALU_ADD, w, dst, a);
    } else if (i->op == IR_add) {
        x64_rm(&g->b, I_LEA | w, dst, x64_mem_index(a, b, 0, 0));
    } else {
        x64_mov(&g->b, dst, a);
        x64_alu_rr(&g->b, digit, w, dst, b);
    }
    cg_set(g, dst);
}

static void shift_imm(Cg *g, IrInsn *i, unsigned by) {
    static const u8 digit[] = {[IR_shl - IR_shl] = SH_SHL, [IR_shr - IR_shl] = SH_SHR, [IR_sar - IR_shl] = SH_SAR, [IR_rotl - IR_shl] = SH_ROL, [IR_rotr - IR_shl] = SH_ROR};
    u32 w = cg_w(i->type);
    by &= w ? 63 : 31;
    unsigned a = cg_use(g, i->a);
    unsigned dst = cg_target(g, false, 0, a);
    if (i->op == IR_shl && dst != a && by >= 1 && by <= 3 && a != RBP) {
        x64_rm(&g->b, I_LEA | w, dst, by == 1 ? x64_mem_index(a, a, 0, 0) : x64_mem_index(NO_REG, a, by, 0));
    } else {
        x64_mov(&g->b, dst, a);
        x64_shift_ri(&g->b, digit[i->op - IR_shl], w, dst, by);
    }
    cg_set(g, dst);
}

static void shift_bmi2(Cg *g, IrInsn *i) {
    u32 insn = i->op == IR_shl ? I_SHLX : i->op == IR_shr ? I_SHRX : I_SARX;
    unsigned a = cg_use(g, i->a), by = cg_use(g, i->b);
    unsigned dst = cg_target(g, false, 0, a);
    x64_vrr(&g->b, insn | cg_w(i->type), dst, by, a);
    cg_set(g, dst);
}

static void shift_cl(Cg *g, IrInsn *i) {
    static const u8 digit[] = {SH_SHL, SH_SHR, SH_SAR, SH_ROL, SH_ROR};
    cg_take(g, RCX);
    cg_use_in(g, RCX, i->b);
    unsigned a = cg_use(g, i->a);
    unsigned dst = cg_target(g, false, bit(RCX), a);
    x64_mov(&g->b, dst, a);
    x64_shift_cl(&g->b, digit[i->op - IR_shl], cg_w(i->type), dst);
    cg_set(g, dst);
}

static void shift(Cg *g, IrInsn *i) {
    if (cg_is_const(g, i->b)) shift_imm(g, i, (unsigned)cg_insn(g, i->b)->imm);
    else if (x64_features.bmi2 && i->op <= IR_sar) shift_bmi2(g, i);
    else shift_cl(g, i);
}

static void mul(Cg *g, IrInsn *i) {
    u32 w = cg_w(i->type);
    i32 imm;
    if (cg_imm32(g, i->b, &imm)) {
        unsigned a = cg_use(g, i->a), dst = cg_target(g, false, 0, a);
        x64_rr(&g->b, INSN(0, 0, 0x69) | w, dst, a);
        x64_u32(&g->b, (u32)imm);
        cg_set(g, dst);
        return;
    }
    unsigned a = cg_use(g, i->a), b = cg_use(g, i->b);
    unsigned dst = cg_target(g, false, 0, a);
    if (dst == b) {
        x64_rr(&g->b, I_IMUL | w, dst, a);
    } else {
        x64_mov(&g->b, dst, a);
        x64_rr(&g->b, I_IMUL | w, dst, b);
    }
    cg_set(g, dst);
}

/* The result stands in rax or rdx: hand it to the pin it is put to, if any. */
static void set_from(Cg *g, unsigned reg) {
    unsigned dst = g->region ? reg : cg_target(g, false, 0, reg); /* a region's cg_set moves it by itself */
    x64_mov(&g->b, dst, reg);
    cg_set(g, dst);
}

/* High half of a product: rdx after mul/imul; its low half stays in rax, where mul_done (region_int.c) finds it. mulhsu: unsigned product, less b if a is negative. */
static void mul_high(Cg *g, IrInsn *i) {
    u32 w = cg_w(i->type);
    unsigned digit = i->op == IR_mulhs ? 5 : 4;
    bool mixed = i->op == IR_mulhsu;
    X64Mem m;
    cg_take(g, RAX);
    cg_take(g, RDX);
    cg_use_in(g, RAX, i->a);
    if (!mixed && cg_use_mem(g, i->b, &m)) {
        x64_rm(&g->b, INSN(0, 0, 0xf7) | w, digit, m);
    } else {
        unsigned b = cg_use(g, i->b);
        x64_group3(&g->b, digit, w, b);
        if (mixed) {
            cg_use_in(g, RAX, i->a);
            x64_shift_ri(&g->b, SH_SAR, w, RAX, w ? 63 : 31);
            x64_alu_rr(&g->b, ALU_AND, w, RAX, b);
            x64_alu_rr(&g->b, ALU_SUB, w, RDX, RAX);
        }
    }
    set_from(g, RDX);
    if (g->region && !mixed) g->region->low_of = g->cur;
}

enum { OTHER_FAR = 24 /* IR instructions: bounds the search */ };

/* The other half of the current division, further on in a quick block; 0: none. */
static u32 other_half(const Cg *g, const IrInsn *i) {
    static const u8 other[IR_OP_COUNT] = {[IR_divs] = IR_rems, [IR_rems] = IR_divs, [IR_divu] = IR_remu, [IR_remu] = IR_divu};
    u32 end = MIN(g->cur + OTHER_FAR, g->f->insns.len);
    for (u32 k = g->cur + 1; k < end && !g->region; k++) {
        const IrInsn *o = cg_insn(g, k);
        if (o->op == other[i->op] && o->type == i->type && cg_root(g, o->a) == cg_root(g, i->a) && cg_root(g, o->b) == cg_root(g, i->b)) return k;
    }
    return 0;
}

/* A value of further on is in `reg` already. */
static void set_early(Cg *g, u32 id, unsigned reg) {
    g->reg_val[reg] = id;
    g->val.at[id].reg = (u8)reg;
}

static bool is_there(const Cg *g, u32 id) { return !g->region && (g->val.at[id].reg != NO_REG || g->val.at[id].spill >= 0); }

/* The two cases in which the processor would trap give what ops.def says. Constant divisors need no test. Quotient and remainder of one division are made at once: in a quick block the
 * other half waits in its register; in regions the quotient is left in rax, whatever is wanted, for div_done (region_int.c). */
static void divide(Cg *g, IrInsn *i) {
    u32 w = cg_w(i->type);
    bool is_signed = i->op == IR_divs || i->op == IR_rems, quotient = i->op == IR_divs || i->op == IR_divu;
    if (is_there(g, g->cur)) return;
    u32 other = other_half(g, i);
    bool both = g->region || other;
    bool known = cg_is_const(g, i->b) && cg_insn(g, i->b)->imm != 0 && (i64)cg_insn(g, i->b)->imm != -1 && (u32)cg_insn(g, i->b)->imm != ~0u;
    cg_take(g, RAX);
    cg_take(g, RDX);
    unsigned b = cg_use(g, i->b);
    cg_use_in(g, RAX, i->a);
    u8 *zero = NULL, *minus_one = NULL, *done = NULL, *done2 = NULL;
    if (!known) {
        x64_rr(&g->b, I_TEST | w, b, b);
        zero = x64_jcc_short(&g->b, CC_E);
        if (is_signed) {
            x64_alu_ri(&g->b, ALU_CMP, w, b, -1);
            minus_one = x64_jcc_short(&g->b, CC_E);
        }
    }
    if (is_signed) {
        if (w) x64_u8(&g->b, 0x48);
        x64_op8(&g->b, 0x99); /* cdq, cqo */
    } else {
        x64_rr(&g->b, INSN(0, 0, 0x31), RDX, RDX);
    }
    x64_group3(&g->b, is_signed ? 7 : 6, w, b);
    if (!known) {
        done = x64_jmp_short(&g->b);
        if (minus_one) {
            x64_here_short(&g->b, minus_one);
            if (quotient || both) x64_group3(&g->b, 3, w, RAX);
            if (!quotient || both) x64_rr(&g->b, INSN(0, 0, 0x31), RDX, RDX);
            done2 = x64_jmp_short(&g->b);
        }
        x64_here_short(&g->b, zero);
        if (!quotient || both) x64_rr(&g->b, I_MOV_R_RM | w, RDX, RAX); /* 32 bits: the upper half is to be zero (cg_is_alias) */
        if (quotient || both) x64_alu_ri(&g->b, ALU_OR, w, RAX, -1);
        x64_here_short(&g->b, done);
        if (done2) x64_here_short(&g->b, done2);
    }
    set_from(g, quotient ? RAX : RDX);
    if (g->region && !quotient) g->region->low_of = g->cur;
    if (other) set_early(g, other, quotient ? RDX : RAX);
}

/* lzcnt and tzcnt, or bsr and bsf with the zero case repaired by a move. */
static void count_zeros(Cg *g, IrInsn *i) {
    u32 w = cg_w(i->type);
    bool leading = i->op == IR_clz;
    unsigned a = cg_use(g, i->a);
    if (leading ? x64_features.lzcnt : x64_features.bmi1) {
        unsigned dst = cg_target(g, false, 0, a);
        x64_rr(&g->b, (leading ? I_LZCNT : I_TZCNT) | w, dst, a);
        cg_set(g, dst);
        return;
    }
    unsigned bits = w ? 64 : 32, t = cg_temp(g, false);
    unsigned dst = cg_target(g, false, bit(a), NO_REG);
    x64_mov_imm(&g->b, t, leading ? 2 * bits - 1 : bits);
    x64_rr(&g->b, (leading ? I_BSR : I_BSF) | w, dst, a);
    x64_rr(&g->b, I_CMOV(CC_E) | w, dst, t);
    if (leading) x64_alu_ri(&g->b, ALU_XOR, w, dst, (i32)bits - 1);
    cg_set(g, dst);
}

static void popcnt(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a), dst = cg_target(g, false, 0, a);
    x64_rr(&g->b, I_POPCNT | cg_w(i->type), dst, a);
    cg_set(g, dst);
}

static void byte_swap(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a), dst = cg_target(g, false, 0, a);
    x64_mov(&g->b, dst, a);
    unsigned rex = (i->type == IR_I64 ? 0x48 : 0x40) | dst >> 3;
    if (rex != 0x40) x64_u8(&g->b, rex);
    x64_op8(&g->b, 0x0f);
    x64_u8(&g->b, 0xc8 | (dst & 7));
    cg_set(g, dst);
}

/* --- comparisons --------------------------------------------------------------------------------- */

static unsigned condition(unsigned op) {
    static const u8 cc[] = {[IR_eq - IR_eq] = CC_E, [IR_ne - IR_eq] = CC_NE, [IR_lts - IR_eq] = CC_L, [IR_les - IR_eq] = CC_LE, [IR_ltu - IR_eq] = CC_B, [IR_leu - IR_eq] = CC_BE};
    return cc[op - IR_eq];
}

unsigned cg_compare(Cg *g, u32 id) {
    const IrInsn *i = cg_insn(g, id);
    if (i->op == IR_flt || i->op == IR_fle) return cg_compare_fp(g, i);
    if (i->op == IR_quiet) {
        x64_alu_mi(&g->b, ALU_CMP, 0, CPU_MEM(poll), 0);
        return CC_E;
    }
    if (i->op == IR_stray) {
        x64_alu_rm(&g->b, ALU_CMP, W1, cg_use(g, i->a), CPU_MEM(known[i->imm]));
        return CC_NE;
    }
    if (g->region && region_flags_hold(g, id)) return CC_B;
    if (g->region && region_is_recipe(g->region, cg_root(g, i->a))) {
        region_test(g, cg_root(g, i->a));
        return condition(i->op);
    }
    u32 w = cg_w(cg_insn(g, i->a)->type);
    i32 imm;
    X64Mem m;
    if (cg_imm32(g, i->b, &imm)) {
        if (cg_use_mem(g, i->a, &m)) {
            x64_alu_mi(&g->b, ALU_CMP, w, m, imm);
        } else {
            unsigned a = cg_use(g, i->a);
            if (imm == 0) x64_rr(&g->b, I_TEST | w, a, a);
            else x64_alu_ri(&g->b, ALU_CMP, w, a, imm);
        }
    } else if (cg_use_mem(g, i->b, &m)) {
        x64_alu_rm(&g->b, ALU_CMP, w, cg_use(g, i->a), m);
    } else if (!cg_is_const(g, i->a) && cg_use_mem(g, i->a, &m)) {
        x64_alu_mr(&g->b, ALU_CMP, w, m, cg_use(g, i->b));
    } else {
        unsigned a = cg_use(g, i->a), b = cg_use(g, i->b);
        x64_alu_rr(&g->b, ALU_CMP, w, a, b);
    }
    return condition(i->op);
}

unsigned cg_condition(Cg *g, u32 id) {
    if (g->val.at[id].fused) return cg_compare(g, id);
    unsigned c = cg_use(g, id);
    x64_rr(&g->b, I_TEST, c, c);
    return CC_NE;
}

/* 0 or 1 from the comparison `id` in a register for the current instruction's value. */
static unsigned set_condition(Cg *g, u32 id) {
    unsigned cc = cg_compare(g, id);
    unsigned dst = cg_target(g, false, 0, NO_REG);
    x64_mov_imm_keep_flags(&g->b, dst, 0);
    x64_rr(&g->b, I_SETCC(cc), 0, dst);
    return dst;
}

/* By a mask where the host blends, else by a branch, though which way that goes may be as good as random. dst is not x. */
static void choose_xmm(Cg *g, unsigned dst, unsigned x, unsigned y, unsigned cc) {
    if (!x64_features.avx) {
        cg_mov_xmm(g, dst, y);
        u8 *skip = x64_jcc_short(&g->b, cc ^ 1);
        cg_mov_xmm(g, dst, x);
        x64_here_short(&g->b, skip);
        return;
    }
    unsigned t = cg_temp(g, false), mask = cg_temp(g, true);
    x64_mov_imm_keep_flags(&g->b, t, 0);
    x64_rr(&g->b, I_SETCC(cc), 0, t);
    x64_group3(&g->b, 3, W1, t); /* neg */
    x64_rr(&g->b, I_MOVQ_X_R, xn(mask), t);
    x64_vrr(&g->b, I_BLENDVPD, xn(dst), xn(y), xn(x));
    x64_u8(&g->b, xn(mask) << 4);
}

static void select_value(Cg *g, IrInsn *i) {
    bool xmm = cg_is_xmm_type(i->type);
    if (xmm && cg_choose_extreme(g, i)) return;
    unsigned cc = cg_condition(g, i->a);
    g->locked = 0; /* what was compared is not needed any more; only moves follow, which keep the flags */
    unsigned x = cg_use(g, i->b), y = cg_use(g, i->c);
    unsigned dst = cg_target(g, xmm, bit(x), y);
    if (xmm) {
        choose_xmm(g, dst, x, y, cc);
    } else {
        x64_mov(&g->b, dst, y);
        x64_rr(&g->b, I_CMOV(cc) | cg_w(i->type), dst, x);
    }
    cg_set(g, dst);
}

static void extend(Cg *g, IrInsn *i) {
    bool sign = i->op == IR_sext;
    if (i->aux == 1 && g->val.at[i->a].fused) {
        unsigned dst = set_condition(g, i->a);
        if (sign) x64_group3(&g->b, 3, W1, dst);
        cg_set(g, dst);
        return;
    }
    X64Mem m;
    u32 insn = i->aux == 8 ? (sign ? I_MOVSX8 : I_MOVZX8) : i->aux == 16 ? (sign ? I_MOVSX16 : I_MOVZX16) : sign ? I_MOVSXD : I_MOV_R_RM;
    if (i->aux != 1 && cg_use_mem(g, i->a, &m)) {
        unsigned dst = cg_target(g, false, 0, NO_REG);
        x64_rm(&g->b, insn, dst, m);
        cg_set(g, dst);
        return;
    }
    unsigned a = cg_use(g, i->a), dst = cg_target(g, false, 0, a);
    if (i->aux == 1) { /* an i1 is 0 or 1 in its register */
        x64_rr(&g->b, I_MOV_R_RM, dst, a);
        if (sign) x64_group3(&g->b, 3, W1, dst);
    } else {
        x64_rr(&g->b, insn, dst, a);
    }
    cg_set(g, dst);
}

void cg_lower_int(Cg *g, IrInsn *i) {
    switch (i->op) {
    case IR_add: case IR_sub: case IR_and: case IR_or: case IR_xor: alu(g, i); break;
    case IR_mul: mul(g, i); break;
    case IR_mulhs: case IR_mulhu: case IR_mulhsu: mul_high(g, i); break;
    case IR_divs: case IR_divu: case IR_rems: case IR_remu: divide(g, i); break;
    case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr: shift(g, i); break;
    case IR_clz: case IR_ctz: count_zeros(g, i); break;
    case IR_popcnt: popcnt(g, i); break;
    case IR_bswap: byte_swap(g, i); break;
    case IR_select: select_value(g, i); break;
    case IR_eq: case IR_ne: case IR_lts: case IR_les: case IR_ltu: case IR_leu: case IR_quiet: case IR_stray: cg_set(g, set_condition(g, g->cur)); break;
    case IR_sext: case IR_zext: extend(g, i); break;
    default: BUG("not an integer operation");
    }
}
