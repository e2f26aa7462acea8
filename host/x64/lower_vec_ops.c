/* SPDX-License-Identifier: Apache-2.0 */
/* Vector operations on whole registers to SSE4.2, and AVX2, FMA, AES-NI and the SHA extensions where the processor has them [SDM vol. 2]. Names of
 * operands are those of ir.h (VecOp). All of a register's elements are read before it is written, and registers are done one after another: groups
 * are either the same or have none in common. */
#include "host/x64/vec.h"

#define P(map, op) INSN(map, 1, op)

/* By operation and width: an instruction that does x OP= s1 for x = s2; in `swapped`, x OP= s2 for x = s1. */
static const u32 direct[VEC_OP_COUNT][4] = {
    [VEC_ADD] = {P(1, 0xfc), P(1, 0xfd), P(1, 0xfe), P(1, 0xd4)},
    [VEC_SUB] = {P(1, 0xf8), P(1, 0xf9), P(1, 0xfa), P(1, 0xfb)},
    [VEC_AND] = {P(1, 0xdb), P(1, 0xdb), P(1, 0xdb), P(1, 0xdb)},
    [VEC_OR] = {P(1, 0xeb), P(1, 0xeb), P(1, 0xeb), P(1, 0xeb)},
    [VEC_XOR] = {P(1, 0xef), P(1, 0xef), P(1, 0xef), P(1, 0xef)},
    [VEC_MINU] = {P(1, 0xda), P(2, 0x3a), P(2, 0x3b), 0},
    [VEC_MIN] = {P(2, 0x38), P(1, 0xea), P(2, 0x39), 0},
    [VEC_MAXU] = {P(1, 0xde), P(2, 0x3e), P(2, 0x3f), 0},
    [VEC_MAX] = {P(2, 0x3c), P(1, 0xee), P(2, 0x3d), 0},
    [VEC_MUL] = {0, P(1, 0xd5), P(2, 0x40), 0},
    [VEC_MULH] = {0, P(1, 0xe5), 0, 0},
    [VEC_MULHU] = {0, P(1, 0xe4), 0, 0},
    [VEC_FADD] = {0, 0, INSN(1, 0, 0x58), P(1, 0x58)},
    [VEC_FSUB] = {0, 0, INSN(1, 0, 0x5c), P(1, 0x5c)},
    [VEC_FMUL] = {0, 0, INSN(1, 0, 0x59), P(1, 0x59)},
    [VEC_FDIV] = {0, 0, INSN(1, 0, 0x5e), P(1, 0x5e)},
};
static const u32 swapped[VEC_OP_COUNT][4] = {
    [VEC_RSUB] = {P(1, 0xf8), P(1, 0xf9), P(1, 0xfa), P(1, 0xfb)},
    [VEC_ANDN] = {P(1, 0xdf), P(1, 0xdf), P(1, 0xdf), P(1, 0xdf)},
    [VEC_FRSUB] = {0, 0, INSN(1, 0, 0x5c), P(1, 0x5c)},
    [VEC_FRDIV] = {0, 0, INSN(1, 0, 0x5e), P(1, 0x5e)},
};

static const u32 equal_insn[] = {P(1, 0x74), P(1, 0x75), P(1, 0x76), P(2, 0x29)};

#define I_PALIGNR P(3, 0x0f)

static void rr(Vec *v, u32 insn, unsigned dst, unsigned src) { x64_rr(v->b, insn, dst, src); }
static void rr_imm(Vec *v, u32 insn, unsigned dst, unsigned src, unsigned imm) { x64_rr(v->b, insn, dst, src), x64_u8(v->b, imm); }
static void load(Vec *v, unsigned reg, X64Mem m) { vec_rm(v, I_MOVDQA, reg, m); }
static void move(Vec *v, unsigned dst, unsigned src) { x64_rr(v->b, I_MOVDQA, dst, src); }

void vec_load_part(Vec *v, X64Mem m) {
    static const u32 insn[] = {I_MOVDQU, INSN(1, 2, 0x7e), I_MOVD_X_R, INSN(1, 1, 0xc4)}; /* movq, movd, pinsrw */
    x64_rm(v->b, insn[v->fraction], v->x, m);
    if (v->fraction == 3) x64_u8(v->b, 0);
}

void vec_store_part(Vec *v, X64Mem m) {
    static const u32 insn[] = {I_MOVDQU_STORE, INSN(1, 1, 0xd6), I_MOVD_R_X, INSN(3, 1, 0x15)}; /* movq, movd, pextrw */
    x64_rm(v->b, insn[v->fraction], v->x, m);
    if (v->fraction == 3) x64_u8(v->b, 0);
}

void vec_store(Vec *v, unsigned k) {
    static const u32 insn[] = {0, I_MOVS_LOAD(3), I_MOVS_LOAD(2), P(3, 0x0e)}; /* movsd, movss, pblendw */
    bool part = v->fraction && !v->partial;
    if (part) {
        load(v, v->w, vec_d(v, k));
        rr(v, insn[v->fraction], v->w, v->x);
        if (v->fraction == 3) x64_u8(v->b, 1);
    }
    v->stored = part ? v->w : v->x;
    v->stored_disp = vec_d(v, k).disp;
    x64_rm(v->b, I_MOVDQA_STORE, v->stored, vec_d(v, k));
}

/* Elements of x that are not in w become those of d's register k. */
static void blend(Vec *v, unsigned k) {
    rr(v, I_PAND, v->x, v->w);
    x64_rm(v->b, I_PANDN, v->w, vec_d(v, k));
    rr(v, I_POR, v->x, v->w);
}

static X64Mem bit_mem(unsigned n) { return x64_mem(RBP, CPU_OFF(bit) + (i64)sizeof(VcpuConst) * n); }

/* Bits of register 0, as elements of reg. */
static void mask_elements(Vec *v, unsigned reg, unsigned k) {
    X64Mem m = x64_mem(RBP, (i64)v->g->guest->vectors - X64_BIAS);
    unsigned first = k * (16u >> v->width), r = v->r;
    m.disp += (i32)(first / 8);
    x64_rm(v->b, v->width == 0 ? I_MOVZX16 : I_MOVZX8, r, m);
    if (first % 8) x64_shift_ri(v->b, SH_SHR, 0, r, first % 8);
    x64_rr(v->b, I_MOVD_X_R, reg, r);
    if (v->width == 0) x64_rm(v->b, I_PSHUFB, reg, bit_mem(4));
    if (v->width == 1) rr_imm(v, I_PSHUFLW, reg, reg, 0);
    if (v->width > 0) rr_imm(v, I_PSHUFD, reg, reg, v->width == 3 ? 0x44 : 0);
    x64_rm(v->b, I_PAND, reg, bit_mem(v->width));
    x64_rm(v->b, equal_insn[v->width], reg, bit_mem(v->width));
}

static X64Mem tail_mem(unsigned reg, unsigned scale, i64 distance) {
    i64 at = CPU_OFF(tail) + (i64)sizeof(((Vcpu *)0)->tail) / 2 + distance;
    return reg == NO_REG ? x64_mem(RBP, at) : x64_mem_index(RBP, reg, scale, at);
}

void vec_mask(Vec *v, unsigned k) {
    mask_elements(v, v->w, k);
    if (!v->fraction) return;
    x64_rm(v->b, I_MOVDQU, v->x, tail_mem(NO_REG, 0, -(16 >> v->fraction)));
    rr(v, I_PAND, v->w, v->x);
}

/* Those before the vector length. */
static void mask_length(Vec *v, unsigned k) {
    x64_rm(v->b, I_MOV_R_RM | W1, v->r, x64_mem(RBP, (i64)v->g->guest->vector_length - X64_BIAS));
    x64_group3(v->b, 3, W1, v->r); /* neg */
    x64_rm(v->b, I_MOVDQU, v->w, tail_mem(v->r, v->width, 16 * (i64)k));
}

static void store(Vec *v, unsigned k) {
    if (v->masked) mask_elements(v, v->w, k), blend(v, k);
    if (v->partial) mask_length(v, k), blend(v, k);
    vec_store(v, k);
}

static void shift_bytes(Vec *v, bool left, unsigned reg, unsigned by) { x64_rr(v->b, P(1, 0x73), left ? 7 : 3, reg), x64_u8(v->b, by); }
/* digit: 6 left, 2 right */
static void shift_lanes(Vec *v, unsigned digit, unsigned reg, unsigned by) { x64_rr(v->b, P(1, 0x73), digit, reg), x64_u8(v->b, by); }

static void load_s1(Vec *v, unsigned reg, unsigned k) {
    if (v->scalar) move(v, reg, v->y);
    else load(v, reg, vec_s1(v, k));
}
static void with_s1(Vec *v, u32 insn, unsigned reg, unsigned k) {
    if (v->scalar) x64_rr(v->b, insn, reg, v->y);
    else vec_rm(v, insn, reg, vec_s1(v, k));
}

/* A constant: two halves. */
static void load_const(Vec *v, unsigned reg, u64 low, u64 high) {
    x64_mov_imm_keep_flags(v->b, v->r, low);
    x64_rr(v->b, I_MOVQ_X_R, reg, v->r);
    if (high != low) x64_mov_imm_keep_flags(v->b, v->r, high);
    rr_imm(v, I_PINSRQ, reg, v->r, 1);
}

/* --- floating point ------------------------------------------------------------------------------------------------------ */

static bool is_double(const Vec *v) { return v->width == 3; }

/* NaNs in x become the canonical one: the processor hands on an operand's. */
static void canonical(Vec *v) {
    move(v, v->t, v->x);
    rr_imm(v, INSN(1, is_double(v), 0xc2), v->t, v->t, 3); /* cmpunord */
    move(v, v->u, v->t);
    rr(v, I_PANDN, v->u, v->x);
    x64_rm(v->b, I_PSHUFD, v->x, x64_mem(RBP, CPU_OFF(k) + (i64)sizeof(VcpuConst) * (VCPU_K_NAN + (is_double(v) ? 2 : 1))));
    x64_u8(v->b, is_double(v) ? 0x44 : 0);
    rr(v, I_PAND, v->x, v->t);
    rr(v, I_POR, v->x, v->u);
}

/* Where reg has a bit set, C does the instruction: nothing may have been stored by then. */
static void give_up_if(Vec *v, unsigned reg) {
    rr(v, P(2, 0x17), reg, reg); /* ptest */
    v->give_up = x64_jcc(v->b, CC_NE, NULL);
}

/* A NaN in x: of one register, C makes it canonical, which is the shorter way for what is not one. */
static void finish_float(Vec *v) {
    if (v->count > 1) {
        canonical(v);
        return;
    }
    move(v, v->t, v->x);
    rr_imm(v, INSN(1, is_double(v), 0xc2), v->t, v->t, 3); /* cmpunord */
    give_up_if(v, v->t);
}

static bool makes_nan(const Vec *v) { return v->i->aux >= VEC_FADD && v->i->aux <= VEC_FSQRT; }

static void square_root(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        x64_rm(v->b, INSN(1, is_double(v), 0x51), v->x, vec_s2(v, k));
        finish_float(v);
        store(v, k);
    }
}

/* The magnitude of s2 with the sign of s1, of its opposite, or of both. */
static void signs(Vec *v) {
    u64 sign = is_double(v) ? 1ull << 63 : 0x8000000080000000;
    load_const(v, v->t, sign, sign);
    for (unsigned k = 0; k < v->count; k++) {
        load_s1(v, v->x, k);
        if (v->i->aux == VEC_SGNJN) {
            move(v, v->u, v->x);
            move(v, v->x, v->t);
            x64_rr(v->b, I_PXOR, v->x, v->u);
        }
        rr(v, I_PAND, v->x, v->t);
        if (v->i->aux == VEC_SGNJX) {
            x64_rm(v->b, I_PXOR, v->x, vec_s2(v, k));
        } else {
            move(v, v->u, v->t);
            x64_rm(v->b, I_PANDN, v->u, vec_s2(v, k));
            rr(v, I_POR, v->x, v->u);
        }
        store(v, k);
    }
}

/* x = +-(s1 * s2) +- d, or +-(s1 * d) +- s2. */
static void multiply_add_k(Vec *v, unsigned k) {
    static const u8 insn[] = {0xb8, 0xbe, 0xba, 0xbc}; /* vfmadd231, vfnmsub231, vfmsub231, vfnmadd231 */
    static const u8 form[] = {[VEC_FMACC - VEC_FMACC] = 0, [VEC_FNMACC - VEC_FMACC] = 1, [VEC_FMSAC - VEC_FMACC] = 2, [VEC_FNMSAC - VEC_FMACC] = 3,
        [VEC_FMADD - VEC_FMACC] = 0, [VEC_FNMADD - VEC_FMACC] = 1, [VEC_FMSUB - VEC_FMACC] = 2, [VEC_FNMSUB - VEC_FMACC] = 3};
    unsigned op = v->i->aux;
    bool to_d = op <= VEC_FNMSAC;
    u32 fma = P(2, insn[form[op - VEC_FMACC]]) | (is_double(v) ? W1 : 0);
    load(v, v->x, to_d ? vec_d(v, k) : vec_s2(v, k));
    load(v, v->t, to_d ? vec_s2(v, k) : vec_d(v, k));
    if (v->scalar) x64_vrr(v->b, fma, v->x, v->t, v->y);
    else x64_vrm(v->b, fma, v->x, v->t, vec_s1(v, k));
}

static void note_nan(Vec *v, bool first) {
    unsigned to = first ? v->u : v->t;
    move(v, to, v->x);
    rr_imm(v, INSN(1, is_double(v), 0xc2), to, to, 3); /* cmpunord */
    if (!first) rr(v, I_POR, v->u, v->t);
}

/* A NaN anywhere is C's affair: infinity times zero plus a quiet NaN is invalid for the guest, and not for the processor. So nothing may have been
 * stored by then: of several registers, all are done twice. */
static void fused_multiply_add(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        multiply_add_k(v, k);
        note_nan(v, k == 0);
    }
    give_up_if(v, v->u);
    for (unsigned k = 0; k < v->count; k++) {
        if (v->count > 1) multiply_add_k(v, k);
        store(v, k);
    }
}

/* A NaN is C's affair. Of zeros, which compare equal, the instruction takes its second operand: so both ways, and the sign bits of both. */
static void minimum(Vec *v) {
    bool max = v->i->aux == VEC_FMAX;
    u32 insn = INSN(1, is_double(v), max ? 0x5f : 0x5d), unordered = INSN(1, is_double(v), 0xc2);
    for (unsigned k = 0; k < v->count; k++) {
        unsigned to = k ? v->t : v->u;
        load(v, to, vec_s2(v, k));
        with_s1(v, unordered, to, k), x64_u8(v->b, 3);
        if (k) rr(v, I_POR, v->u, v->t);
    }
    give_up_if(v, v->u);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        load_s1(v, v->t, k);
        move(v, v->u, v->x);
        rr(v, insn, v->x, v->t), rr(v, insn, v->t, v->u);
        rr(v, max ? I_PAND : I_POR, v->x, v->t);
        store(v, k);
    }
}

static void compare_fp(Vec *v) {
    static const u8 predicate[] = {0, 4, 1, 2, 1, 2}; /* eq, neq, lt, le, and those of s1 with s2 */
    bool swap = v->i->aux >= VEC_FGT;
    u32 insn = INSN(1, is_double(v), 0xc2);
    if (swap) load_s1(v, v->x, 0), x64_rm(v->b, insn, v->x, vec_s2(v, 0));
    else load(v, v->x, vec_s2(v, 0)), with_s1(v, insn, v->x, 0);
    x64_u8(v->b, predicate[v->i->aux - VEC_FEQ]);
}

/* What has no number in the range becomes the least one: C finds out what it is to be. */
static void to_integer(Vec *v) {
    u32 insn = INSN(1, v->i->aux == VEC_FTOI_RTZ ? 2 : 1, 0x5b);
    x64_rm(v->b, I_PSHUFD, v->y, x64_mem(RBP, CPU_OFF(k) + (i64)sizeof(VcpuConst) * (VCPU_K_SIGN + 1))), x64_u8(v->b, 0);
    x64_rm(v->b, insn, v->x, vec_s2(v, 0));
    rr(v, equal_insn[2], v->y, v->x);
    give_up_if(v, v->y);
    store(v, 0);
}

static void convert(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        X64Mem half = vec_s2(v, 0);
        half.disp += 8 * (i32)k;
        switch ((VecOp)v->i->aux) {
        case VEC_ITOF: x64_rm(v->b, INSN(1, 0, 0x5b), v->x, vec_s2(v, k)); break;
        case VEC_IWIDEN: x64_rm(v->b, INSN(1, 2, 0xe6), v->x, half); break;
        case VEC_FWIDEN: x64_rm(v->b, INSN(1, 0, 0x5a), v->x, half), canonical(v); break;
        default: /* VEC_FNARROW */
            x64_rm(v->b, P(1, 0x5a), v->x, vec_s2(v, 2 * k));
            if (!v->fraction) x64_rm(v->b, P(1, 0x5a), v->t, vec_s2(v, 2 * k + 1)), rr(v, P(1, 0x6c), v->x, v->t); /* punpcklqdq */
            canonical(v);
        }
        store(v, k);
    }
}

/* ------------------------------------------------------------------------------------------------------------------------ */

static void by_table(Vec *v, u32 insn, bool swap) {
    for (unsigned k = 0; k < v->count; k++) {
        if (swap) {
            load_s1(v, v->x, k);
            x64_rm(v->b, insn, v->x, vec_s2(v, k));
        } else {
            load(v, v->x, vec_s2(v, k));
            with_s1(v, insn, v->x, k);
        }
        if (makes_nan(v)) finish_float(v);
        store(v, k);
    }
}

/* reg *= s1's register k: of 64 bits, by three products of halves. u, w are lost. */
static void multiply(Vec *v, unsigned reg, unsigned k) {
    u32 insn = direct[VEC_MUL][v->width];
    if (insn) {
        with_s1(v, insn, reg, k);
        return;
    }
    static const u32 product = P(1, 0xf4); /* pmuludq */
    move(v, v->u, reg), shift_lanes(v, 2, v->u, 32);
    with_s1(v, product, v->u, k);
    load_s1(v, v->w, k), shift_lanes(v, 2, v->w, 32);
    rr(v, product, v->w, reg);
    rr(v, direct[VEC_ADD][3], v->u, v->w), shift_lanes(v, 6, v->u, 32);
    with_s1(v, product, reg, k);
    rr(v, direct[VEC_ADD][3], reg, v->u);
}

static void multiply_64(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        multiply(v, v->x, k);
        store(v, k);
    }
}

/* Upper halves of products of 32 bits: even elements, then odd ones. */
static void multiply_high(Vec *v) {
    u32 product = v->i->aux == VEC_MULH ? P(2, 0x28) : P(1, 0xf4);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        move(v, v->u, v->x), shift_lanes(v, 2, v->u, 32);
        load_s1(v, v->t, k);
        rr(v, product, v->x, v->t);
        shift_lanes(v, 2, v->t, 32);
        rr(v, product, v->u, v->t);
        shift_lanes(v, 2, v->x, 32);
        rr_imm(v, P(3, 0x0e), v->x, v->u, 0xcc); /* pblendw */
        store(v, k);
    }
}

/* d +- s1 * s2, s2 +- s1 * d. */
static void multiply_add(Vec *v) {
    bool to_d = v->i->aux == VEC_MACC || v->i->aux == VEC_NMSAC, minus = v->i->aux == VEC_NMSAC || v->i->aux == VEC_NMSUB;
    for (unsigned k = 0; k < v->count; k++) {
        X64Mem factor = to_d ? vec_s2(v, k) : vec_d(v, k), sum = to_d ? vec_d(v, k) : vec_s2(v, k);
        load(v, v->t, factor);
        multiply(v, v->t, k);
        load(v, v->x, sum);
        rr(v, direct[minus ? VEC_SUB : VEC_ADD][v->width], v->x, v->t);
        store(v, k);
    }
}

/* --- shifts -------------------------------------------------------------------------------------------------------------------- */

static const u32 shift_by_x[3][4] = {{0, P(1, 0xf1), P(1, 0xf2), P(1, 0xf3)}, {0, P(1, 0xd1), P(1, 0xd2), P(1, 0xd3)}, {0, P(1, 0xe1), P(1, 0xe2), 0}};
static const u32 shift_by_each[3][4] = {{0, 0, P(2, 0x47), P(2, 0x47) | W1}, {0, 0, P(2, 0x45), P(2, 0x45) | W1}, {0, 0, P(2, 0x46), 0}};

static bool is_const(const Vec *v) { return v->scalar && cg_is_const(v->g, cg_root(v->g, v->i->a)); }
static u64 const_of(const Vec *v) { return cg_insn(v->g, cg_root(v->g, v->i->a))->imm; }
static unsigned bits_of(const Vec *v) { return 8u << v->width; }

static void shift_imm(Vec *v, unsigned kind, unsigned reg, unsigned by) {
    static const u8 digit[] = {6, 2, 4};
    x64_rr(v->b, P(1, 0x70 + v->width), digit[kind], reg);
    x64_u8(v->b, by);
}

static void shift_const(Vec *v, unsigned kind) {
    unsigned by = (unsigned)const_of(v) & (bits_of(v) - 1);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        if (by) shift_imm(v, kind, v->x, by);
        store(v, k);
    }
}

/* y has the count in each element; what the instructions want is the count alone, below the width. */
static void count_to_y(Vec *v) {
    u64 mask = bits_of(v) - 1;
    load_const(v, v->t, mask, 0);
    rr(v, I_PAND, v->y, v->t);
}

static void shift_scalar(Vec *v, unsigned kind) {
    count_to_y(v);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        rr(v, shift_by_x[kind][v->width], v->x, v->y);
        store(v, k);
    }
}

static void shift_each(Vec *v, unsigned kind) {
    u64 mask = v->width == 3 ? 63 : 31 | 31ull << 32;
    load_const(v, v->t, mask, mask);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->u, vec_s1(v, k));
        rr(v, I_PAND, v->u, v->t);
        load(v, v->x, vec_s2(v, k));
        x64_vrr(v->b, shift_by_each[kind][v->width], v->x, v->x, v->u);
        store(v, k);
    }
}

static bool has_shift(const Vec *v, unsigned kind) {
    if (is_const(v)) return v->width && (kind < 2 || v->width < 3);
    return v->scalar ? shift_by_x[kind][v->width] != 0 : x64_features.avx2 && shift_by_each[kind][v->width];
}

static void shift(Vec *v, unsigned kind) {
    if (is_const(v)) shift_const(v, kind);
    else if (v->scalar) shift_scalar(v, kind);
    else shift_each(v, kind);
}

/* By a constant; whole bytes are moved. */
static void rotate(Vec *v) {
    unsigned bits = bits_of(v), by = (unsigned)const_of(v) & (bits - 1), left = v->i->aux == VEC_ROL ? by : (bits - by) & (bits - 1);
    bool bytes = left % 8 == 0;
    if (bytes) {
        u8 mask[16];
        u64 half[2];
        for (unsigned k = 0; k < 16; k++) mask[k] = (u8)((k & ~(bits / 8 - 1)) | ((k - left / 8) & (bits / 8 - 1)));
        memcpy(half, mask, 16);
        load_const(v, v->t, half[0], half[1]);
    }
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        if (bytes) {
            rr(v, I_PSHUFB, v->x, v->t);
        } else {
            move(v, v->t, v->x);
            shift_imm(v, 0, v->x, left);
            shift_imm(v, 1, v->t, bits - left);
            rr(v, I_POR, v->x, v->t);
        }
        store(v, k);
    }
}

/* --- elements of two widths --------------------------------------------------------------------------------------------- */

/* Those of register k of d, where the source has them narrower, to that width. */
static void extend(Vec *v, bool is_signed, unsigned reg, X64Mem source, unsigned k) {
    static const u8 op[3][4] = {{0, 0x20, 0x21, 0x22}, {0, 0x23, 0x24}, {0, 0x25}}; /* pmovsxbw, ...; pmovzx are 16 further */
    source.disp += (i32)(k * (16u >> v->factor));
    x64_rm(v->b, P(2, op[v->width - v->factor][v->factor] + (is_signed ? 0u : 16)), reg, source);
}

static void extend_all(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        extend(v, v->i->aux == VEC_SEXT, v->x, vec_s2(v, 0), k);
        store(v, k);
    }
}

static bool is_wide_unsigned(unsigned op, bool second) {
    switch ((VecOp)op) {
    case VEC_WADDU: case VEC_WSUBU: case VEC_WADDUW: case VEC_WSUBUW: case VEC_WMULU: case VEC_WMACCU: return true;
    case VEC_WMULSU: case VEC_WMACCUS: return second;
    case VEC_WMACCSU: return !second;
    default: return false;
    }
}

static u32 wide_insn(const Vec *v) {
    switch ((VecOp)v->i->aux) {
    case VEC_WADD: case VEC_WADDU: case VEC_WADDW: case VEC_WADDUW: return direct[VEC_ADD][v->width];
    case VEC_WSUB: case VEC_WSUBU: case VEC_WSUBW: case VEC_WSUBUW: return direct[VEC_SUB][v->width];
    default: break;
    }
    bool s2 = is_wide_unsigned(v->i->aux, false), s1 = is_wide_unsigned(v->i->aux, true);
    if (v->width < 3) return direct[VEC_MUL][v->width];
    return s2 != s1 ? 0 : s2 ? P(1, 0xf4) : P(2, 0x28); /* pmuludq, pmuldq */
}

/* A vector's first register shares bytes with a source at most if that lies at its end, so that each is read before it is written. */
static void widen(Vec *v) {
    unsigned op = v->i->aux;
    bool s2_is_wide = op >= VEC_WADDW && op <= VEC_WSUBUW;
    if (v->scalar) x64_rr(v->b, P(2, 0x20 + 0x10 * is_wide_unsigned(op, true) + (v->width == 1 ? 0 : v->width == 2 ? 3 : 5)), v->y, v->y);
    for (unsigned k = 0; k < v->count; k++) {
        if (s2_is_wide) load(v, v->x, vec_s2(v, k));
        else extend(v, !is_wide_unsigned(op, false), v->x, vec_s2(v, 0), k);
        if (!v->scalar) extend(v, !is_wide_unsigned(op, true), v->t, vec_s1(v, 0), k);
        rr(v, wide_insn(v), v->x, v->scalar ? v->y : v->t);
        if (op >= VEC_WMACC && op <= VEC_WMACCUS) x64_rm(v->b, direct[VEC_ADD][v->width], v->x, vec_d(v, k));
        store(v, k);
    }
}

static unsigned narrow_by(const Vec *v) { return (unsigned)const_of(v) & (2 * bits_of(v) - 1); }

/* One register of the wide source, shifted. Of 64 bits the lower half is wanted, which a logical shift by less gets right, too. */
static void narrow_load(Vec *v, unsigned reg, unsigned k) {
    static const u8 digit[] = {2, 4};
    bool arithmetic = v->i->aux == VEC_NSRA && v->width < 2;
    load(v, reg, vec_s2(v, k));
    if (!narrow_by(v)) return;
    x64_rr(v->b, P(1, 0x71 + v->width), digit[arithmetic], reg);
    x64_u8(v->b, narrow_by(v));
}

/* The lower halves of elements of x and t. y: a mask of them; or zero. */
static void narrow_pack(Vec *v) {
    if (v->width == 0) {
        rr(v, I_PAND, v->x, v->y), rr(v, I_PAND, v->t, v->y);
        rr(v, P(1, 0x67), v->x, v->t); /* packuswb */
    } else if (v->width == 1) {
        rr_imm(v, P(3, 0x0e), v->x, v->y, 0xaa), rr_imm(v, P(3, 0x0e), v->t, v->y, 0xaa); /* pblendw */
        rr(v, P(2, 0x2b), v->x, v->t); /* packusdw */
    } else {
        rr_imm(v, INSN(1, 0, 0xc6), v->x, v->t, 0x88); /* shufps */
    }
}

static void narrow(Vec *v) {
    if (v->width == 0) load_const(v, v->y, 0x00ff00ff00ff00ff, 0x00ff00ff00ff00ff);
    else rr(v, I_PXOR, v->y, v->y);
    for (unsigned k = 0; k < v->count; k++) {
        narrow_load(v, v->x, 2 * k);
        if (v->fraction) move(v, v->t, v->x);
        else narrow_load(v, v->t, 2 * k + 1);
        narrow_pack(v);
        store(v, k);
    }
}

/* --- comparisons and masks ------------------------------------------------------------------------------------------------ */

static const u32 greater_insn[] = {P(1, 0x64), P(1, 0x65), P(1, 0x66), P(2, 0x37)};

/* Compares s2 with s1 into x. Returns whether the result is the opposite. */
static bool compare(Vec *v) {
    bool opposite = false;
    switch ((VecOp)v->i->aux) {
    case VEC_NE: opposite = true; /* fallthrough */
    case VEC_EQ:
        load(v, v->x, vec_s2(v, 0));
        with_s1(v, equal_insn[v->width], v->x, 0);
        return opposite;
    case VEC_LE: opposite = true; /* fallthrough */
    case VEC_GT:
        load(v, v->x, vec_s2(v, 0));
        with_s1(v, greater_insn[v->width], v->x, 0);
        return opposite;
    case VEC_LT:
        load_s1(v, v->x, 0);
        x64_rm(v->b, greater_insn[v->width], v->x, vec_s2(v, 0));
        return false;
    case VEC_GTU: opposite = true; /* fallthrough */
    case VEC_LEU: break;
    default: opposite = true; /* VEC_LTU */
    }
    /* unsigned: is the lesser one, or the greater one, s2? */
    load(v, v->x, vec_s2(v, 0));
    move(v, v->t, v->x);
    with_s1(v, direct[v->i->aux == VEC_LTU ? VEC_MAXU : VEC_MINU][v->width], v->t, 0);
    rr(v, equal_insn[v->width], v->x, v->t);
    return opposite;
}

/* The uppermost bits of x's elements to the low bits of d; the rest of d stays. */
static void mask_result(Vec *v, bool opposite) {
    unsigned r = v->r, count = 16u >> v->width >> v->fraction;
    if (v->width == 1) rr(v, P(1, 0x63), v->x, v->x); /* packsswb */
    if (v->width == 2) rr(v, INSN(1, 0, 0x50), r, v->x); /* movmskps */
    else if (v->width == 3) rr(v, P(1, 0x50), r, v->x);
    else rr(v, P(1, 0xd7), r, v->x); /* pmovmskb */
    if (v->fraction) x64_alu_ri(v->b, ALU_AND, 0, r, (i32)((1u << count) - 1));
    if (opposite) x64_alu_ri(v->b, ALU_XOR, 0, r, (i32)((1u << count) - 1));
    if (count < 8) {
        x64_rm(v->b, I_MOVZX8, v->q, vec_d(v, 0));
        x64_alu_ri(v->b, ALU_AND, 0, v->q, (i32)(0xff & ~((1u << count) - 1)));
        x64_alu_rr(v->b, ALU_OR, 0, r, v->q);
    }
    load(v, v->x, vec_d(v, 0));
    rr_imm(v, count == 16 ? P(1, 0xc4) : P(3, 0x20), v->x, r, 0); /* pinsrw, pinsrb */
    x64_rm(v->b, I_MOVDQA_STORE, v->x, vec_d(v, 0));
}

static void merge(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        mask_elements(v, v->u, k);
        load_s1(v, v->x, k);
        rr(v, I_PAND, v->x, v->u);
        x64_rm(v->b, I_PANDN, v->u, vec_s2(v, k));
        rr(v, I_POR, v->x, v->u);
        store(v, k);
    }
}

/* --- moves ------------------------------------------------------------------------------------------------------------------- */

static void copy(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        load_s1(v, v->x, k);
        store(v, k);
    }
}

/* What the processor's average rounds is what vxrm 0 says. */
static void average(Vec *v) {
    x64_alu_mi(v->b, ALU_CMP, 0, x64_mem(RBP, (i64)v->g->guest->vector_rounding - X64_BIAS), 0);
    v->give_up = x64_jcc(v->b, CC_NE, NULL);
    by_table(v, v->width ? P(1, 0xe3) : P(1, 0xe0), false); /* pavgw, pavgb */
}

static void numbers(Vec *v) {
    static const u64 first[4][2] = {{0x0706050403020100, 0x0f0e0d0c0b0a0908}, {0x0003000200010000, 0x0007000600050004}, {0x0000000100000000, 0x0000000300000002}, {0, 1}};
    static const u64 ones[] = {0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 1};
    u64 step = ones[v->width] * (16u >> v->width);
    load_const(v, v->t, first[v->width][0], first[v->width][1]);
    if (v->count > 1) load_const(v, v->u, step, step);
    for (unsigned k = 0; k < v->count; k++) {
        if (k) rr(v, direct[VEC_ADD][v->width], v->t, v->u);
        move(v, v->x, v->t);
        store(v, k);
    }
}

static void get_first(Vec *v) {
    static const u32 insn[] = {I_MOVSX8, I_MOVSX16, I_MOVSXD, I_MOV_R_RM | W1};
    X64Mem result = x64_mem(RBP, (i64)v->g->guest->vector_result - X64_BIAS);
    if (v->i->aux == VEC_GETF && v->width == 2) {
        x64_rm(v->b, I_MOVD_X_R, v->x, vec_s2(v, 0));
        x64_rm(v->b, I_POR, v->x, x64_mem(RBP, CPU_OFF(k) + (i64)sizeof(VcpuConst) * (VCPU_K_BOX + 1)));
        x64_rm(v->b, P(1, 0xd6), v->x, result); /* movq */
        return;
    }
    x64_rm(v->b, insn[v->width], v->r, vec_s2(v, 0));
    x64_rm(v->b, I_MOV_RM_R | W1, v->r, result);
}

static void reduce(Vec *v) {
    static const u8 ops[] = {VEC_ADD, VEC_AND, VEC_OR, VEC_XOR, VEC_MINU, VEC_MIN, VEC_MAXU, VEC_MAX};
    u32 insn = direct[ops[v->i->aux - VEC_REDSUM]][v->width];
    load(v, v->x, vec_s2(v, 0));
    for (unsigned k = 1; k < v->count; k++) x64_rm(v->b, insn, v->x, vec_s2(v, k));
    rr_imm(v, I_PSHUFD, v->t, v->x, 0x4e), rr(v, insn, v->x, v->t);
    if (v->width < 3) rr_imm(v, I_PSHUFD, v->t, v->x, 0xb1), rr(v, insn, v->x, v->t);
    if (v->width < 2) rr_imm(v, INSN(1, 3, 0x70), v->t, v->x, 0xb1), rr(v, insn, v->x, v->t); /* pshuflw */
    x64_rm(v->b, insn, v->x, vec_s1(v, 0));
    v->fraction = 4 - v->width;
    vec_store(v, 0);
}

static void reverse_bytes(Vec *v) {
    u64 half[2];
    u8 mask[16];
    for (unsigned k = 0; k < 16; k++) mask[k] = (u8)(k ^ ((1u << v->width) - 1));
    memcpy(half, mask, 16);
    load_const(v, v->t, half[0], half[1]);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        rr(v, I_PSHUFB, v->x, v->t);
        store(v, k);
    }
}

/* By half bytes, each through a table. */
static void reverse_bits(Vec *v) {
    load_const(v, v->t, 0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f);
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        move(v, v->y, v->x);
        rr(v, I_PAND, v->x, v->t);
        x64_rr(v->b, P(1, 0x71), 2, v->y), x64_u8(v->b, 4); /* psrlw */
        rr(v, I_PAND, v->y, v->t);
        load_const(v, v->u, 0xe060a020c0408000, 0xf070b030d0509010);
        rr(v, I_PSHUFB, v->u, v->x);
        load_const(v, v->x, 0x0e060a020c040800, 0x0f070b030d050901);
        rr(v, I_PSHUFB, v->x, v->y);
        rr(v, I_POR, v->x, v->u);
        store(v, k);
    }
}

static u32 insert_insn(const Vec *v) {
    static const u32 insn[] = {P(3, 0x20), P(1, 0xc4), P(3, 0x22), P(3, 0x22) | W1};
    return insn[v->width];
}

static void set_first(Vec *v) {
    load(v, v->x, vec_d(v, 0));
    rr_imm(v, insert_insn(v), v->x, v->a, 0);
    vec_store(v, 0);
}

static void slide_one(Vec *v, bool up) {
    load(v, v->x, vec_s2(v, 0));
    shift_bytes(v, up, v->x, 1u << v->width);
    rr_imm(v, insert_insn(v), v->x, v->a, up ? 0 : (16u >> v->width) - 1);
    store(v, 0);
}

static void slide(Vec *v, bool up) {
    u64 n = const_of(v);
    unsigned by = n > 16 ? 16 : MIN((unsigned)n << v->width, 16u);
    load(v, v->x, vec_s2(v, 0));
    if (!up) {
        shift_bytes(v, false, v->x, by);
    } else if (by == 16) {
        return;
    } else if (by) {
        load(v, v->t, vec_d(v, 0)); /* its low bytes stay */
        shift_bytes(v, true, v->t, 16 - by);
        rr_imm(v, I_PALIGNR, v->x, v->t, 16 - by);
    }
    store(v, 0);
}

/* x = 0 where the number in t is not below that of elements. */
static void zero_beyond(Vec *v) {
    x64_rr(v->b, P(1, 0x70 + v->width), 2, v->t), x64_u8(v->b, 4 - v->width);
    rr(v, I_PXOR, v->u, v->u);
    rr(v, equal_insn[v->width], v->t, v->u);
    rr(v, I_PAND, v->x, v->t);
}

static void gather_bytes(Vec *v) {
    load_const(v, v->u, 0x7070707070707070, 0x7070707070707070);
    rr(v, P(1, 0xdc), v->t, v->u); /* paddusb: the top bit of numbers from 16, which pick 0 */
    rr(v, I_PSHUFB, v->x, v->t);
}

/* By the numbers of both bytes of each. */
static void gather_words(Vec *v) {
    load_const(v, v->u, 0x0202020202020202, 0x0202020202020202);
    move(v, v->y, v->t);
    rr(v, direct[VEC_MUL][1], v->y, v->u);
    load_const(v, v->u, 0x0100010001000100, 0x0100010001000100);
    rr(v, direct[VEC_ADD][1], v->y, v->u);
    rr(v, I_PSHUFB, v->x, v->y);
    zero_beyond(v);
}

static void gather(Vec *v) {
    load(v, v->x, vec_s2(v, 0));
    load(v, v->t, vec_s1(v, 0));
    if (v->width == 0) {
        gather_bytes(v);
    } else if (v->width == 1) {
        gather_words(v);
    } else if (v->width == 2) {
        x64_vrr(v->b, P(2, 0x0c), v->x, v->x, v->t); /* vpermilps */
        zero_beyond(v);
    } else {
        move(v, v->u, v->t), rr(v, direct[VEC_ADD][3], v->u, v->u);
        x64_vrr(v->b, P(2, 0x0d), v->x, v->x, v->u); /* vpermilpd, which looks at bit 1 */
        zero_beyond(v);
    }
    store(v, 0);
}

/* --- ciphers ------------------------------------------------------------------------------------------------------------------ */

/* Each lane: products of both halves, then those halves of them. */
static void carryless(Vec *v, bool high) {
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_s2(v, k));
        move(v, v->t, v->x);
        with_s1(v, I_PCLMULQDQ, v->x, k), x64_u8(v->b, 0x00);
        with_s1(v, I_PCLMULQDQ, v->t, k), x64_u8(v->b, 0x11);
        rr(v, P(1, high ? 0x6d : 0x6c), v->x, v->t); /* punpck */
        store(v, k);
    }
}

/* x times y to the 256 bits x:t, without the bit that the mirrored order of bits wants it to be shifted by. */
static void carryless_256(Vec *v) {
    move(v, v->u, v->x), rr_imm(v, I_PCLMULQDQ, v->u, v->y, 0x10);
    move(v, v->t, v->x), rr_imm(v, I_PCLMULQDQ, v->t, v->y, 0x01);
    rr(v, I_PXOR, v->u, v->t);
    move(v, v->t, v->x), rr_imm(v, I_PCLMULQDQ, v->t, v->y, 0x00);
    rr_imm(v, I_PCLMULQDQ, v->x, v->y, 0x11);
    move(v, v->y, v->u), shift_bytes(v, true, v->y, 8);
    rr(v, I_PXOR, v->t, v->y);
    shift_bytes(v, false, v->u, 8);
    rr(v, I_PXOR, v->x, v->u);
}

/* x:t one bit to the left. */
static void double_256(Vec *v) {
    move(v, v->y, v->t), shift_lanes(v, 2, v->y, 63), shift_lanes(v, 6, v->t, 1);
    move(v, v->u, v->x), shift_lanes(v, 2, v->u, 63), shift_lanes(v, 6, v->x, 1);
    shift_bytes(v, true, v->u, 8), rr(v, I_POR, v->x, v->u);
    move(v, v->u, v->y), shift_bytes(v, false, v->u, 8), rr(v, I_POR, v->x, v->u);
    shift_bytes(v, true, v->y, 8), rr(v, I_POR, v->t, v->y);
}

/* The product of GHASH. With its bytes swapped, a register has the bits in the opposite of the usual order, all of them; the lower half of the product
 * is folded into the upper one, 64 bits at a time [Gueron, Kounavis, "Intel carry-less multiplication instruction and its usage for computing the GCM mode"]. */
static void ghash(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_d(v, k));
        if (v->i->aux == VEC_GHSH) x64_rm(v->b, I_PXOR, v->x, vec_s1(v, k));
        load(v, v->y, vec_s2(v, k));
        load_const(v, v->t, 0x08090a0b0c0d0e0f, 0x0001020304050607);
        rr(v, I_PSHUFB, v->x, v->t), rr(v, I_PSHUFB, v->y, v->t);
        carryless_256(v);
        double_256(v);
        load_const(v, v->u, 0xc200000000000000, 0);
        for (unsigned half = 0; half < 2; half++) {
            move(v, v->y, v->t), rr_imm(v, I_PCLMULQDQ, v->y, v->u, 0x00);
            rr_imm(v, I_PSHUFD, v->t, v->t, 0x4e);
            rr(v, I_PXOR, v->t, v->y);
        }
        rr(v, I_PXOR, v->x, v->t);
        load_const(v, v->t, 0x08090a0b0c0d0e0f, 0x0001020304050607);
        rr(v, I_PSHUFB, v->x, v->t);
        store(v, k);
    }
}

static void aes(Vec *v) {
    static const u32 insn[] = {P(2, 0xdc), P(2, 0xdd), P(2, 0xdf), P(2, 0xdf), I_PXOR};
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_d(v, k));
        x64_rm(v->b, insn[v->i->aux - VEC_AESEM], v->x, vec_s2(v, v->scalar ? 0 : k));
        if (v->i->aux == VEC_AESDM) rr(v, P(2, 0xdb), v->x, v->x); /* the guest's round adds the key before it unmixes columns */
        store(v, k);
    }
}

/* Elements are in the order that the processor's instructions want: {a b e f}, {c d g h}, the highest first [unpriv zvkn, vsha2c]. */
static void sha2_rounds(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        X64Mem message = vec_s1(v, k);
        unsigned state = v->t;
        load(v, state, vec_d(v, k));
        x64_rm(v->b, I_PSHUFD, v->x, message); /* x is xmm0, which the instruction reads */
        x64_u8(v->b, v->i->aux == VEC_SHA2CH ? 0x0e : 0x04);
        vec_rm(v, INSN(2, 0, 0xcb), state, vec_s2(v, k));
        x64_rm(v->b, I_MOVDQA_STORE, state, vec_d(v, k));
        v->stored = state, v->stored_disp = vec_d(v, k).disp;
    }
}

/* W12 W11 W10 W9 stand across s1 and s2 [unpriv zvkn, vsha2ms]. */
static void sha2_schedule(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        load(v, v->x, vec_d(v, k));
        x64_rm(v->b, INSN(2, 0, 0xcc), v->x, vec_s2(v, k)); /* sha256msg1 */
        load(v, v->t, vec_s1(v, k));
        move(v, v->u, v->t);
        x64_rm(v->b, I_PALIGNR, v->t, vec_s2(v, k));
        x64_u8(v->b, 4);
        rr(v, direct[VEC_ADD][2], v->x, v->t);
        rr(v, INSN(2, 0, 0xcd), v->x, v->u); /* sha256msg2 */
        store(v, k);
    }
}

/* --------------------------------------------------------------------------------------------------------------------------- */

static bool is_compare_unsigned(unsigned op) { return op == VEC_LTU || op == VEC_LEU || op == VEC_GTU; }

bool vec_has_code(const Vec *v) {
    unsigned op = v->i->aux;
    if (v->masked && !vec_has_partial(v)) return false;
    if (direct[op][v->width] || swapped[op][v->width]) return true;
    switch ((VecOp)op) {
    case VEC_MOVE: case VEC_REV8: case VEC_BREV8: case VEC_MERGE: case VEC_SGNJ: case VEC_SGNJN: case VEC_SGNJX: case VEC_FSQRT: return true;
    case VEC_SLL: case VEC_SRL: case VEC_SRA: return has_shift(v, op - VEC_SLL);
    case VEC_ROL: case VEC_ROR: return is_const(v) && v->width;
    case VEC_EQ: case VEC_NE: case VEC_LTU: case VEC_LT: case VEC_LEU: case VEC_LE: case VEC_GTU: case VEC_GT:
        return v->count == 1 && !(is_compare_unsigned(op) && v->width == 3);
    case VEC_MACC: case VEC_NMSAC: case VEC_MADD: case VEC_NMSUB: case VEC_MUL: return v->width;
    case VEC_MULH: case VEC_MULHU: return v->width == 2;
    case VEC_AVGU: return v->width < 2;
    case VEC_ID: case VEC_GET: case VEC_GETF: case VEC_SET: return true;
    case VEC_REDSUM: case VEC_REDAND: case VEC_REDOR: case VEC_REDXOR: return v->width;
    case VEC_REDMINU: case VEC_REDMIN: case VEC_REDMAXU: case VEC_REDMAX: return v->width && v->width < 3;
    case VEC_FMIN: case VEC_FMAX: case VEC_ITOF: case VEC_IWIDEN: case VEC_FWIDEN: case VEC_FNARROW: return true;
    case VEC_FTOI: case VEC_FTOI_RTZ: case VEC_FEQ: case VEC_FNE: case VEC_FLT: case VEC_FLE: case VEC_FGT: case VEC_FGE: return v->count == 1;
    case VEC_SLIDE1UP: case VEC_SLIDE1DOWN: return v->count == 1;
    case VEC_SLIDEUP: case VEC_SLIDEDOWN: return v->count == 1 && is_const(v);
    case VEC_SEXT: case VEC_ZEXT: return true;
    case VEC_GATHER: return v->count == 1 && (v->width < 2 || x64_features.avx);
    case VEC_WADD: case VEC_WADDU: case VEC_WSUB: case VEC_WSUBU: case VEC_WADDW: case VEC_WADDUW: case VEC_WSUBW: case VEC_WSUBUW:
    case VEC_WMUL: case VEC_WMULU: case VEC_WMULSU: case VEC_WMACC: case VEC_WMACCU: case VEC_WMACCSU: case VEC_WMACCUS: return wide_insn(v) != 0;
    case VEC_NSRL: case VEC_NSRA: return is_const(v) && (v->width < 2 || op == VEC_NSRL || narrow_by(v) <= 32);
    case VEC_CLMUL: case VEC_CLMULH: return x64_features.clmul;
    case VEC_AESEM: case VEC_AESEF: case VEC_AESDM: case VEC_AESDF: return x64_features.aes;
    case VEC_AESZ: return true;
    case VEC_FMACC: case VEC_FNMACC: case VEC_FMSAC: case VEC_FNMSAC: case VEC_FMADD: case VEC_FNMADD: case VEC_FMSUB: case VEC_FNMSUB: return x64_features.fma;
    case VEC_SHA2MS: case VEC_SHA2CH: case VEC_SHA2CL: return x64_features.sha;
    case VEC_GHSH: case VEC_GMUL: return x64_features.clmul && v->count <= 4;
    default: return false;
    }
}

/* Not those that would look at, or note something of, elements that are none; not those whose groups of elements must be whole. */
bool vec_has_partial(const Vec *v) {
    unsigned op = v->i->aux;
    if (op <= VEC_ID || op == VEC_REV8 || op == VEC_BREV8 || (op >= VEC_GATHER && op <= VEC_NSRA)) return true;
    switch ((VecOp)op) {
    case VEC_SGNJ: case VEC_SGNJN: case VEC_SGNJX: case VEC_SLIDE1UP: case VEC_SLIDEUP: case VEC_SLIDEDOWN: case VEC_CLMUL: case VEC_CLMULH: return true;
    default: return false;
    }
}

void vec_operate(Vec *v) {
    unsigned op = v->i->aux;
    if (direct[op][v->width]) {
        by_table(v, direct[op][v->width], false);
        return;
    }
    if (swapped[op][v->width]) {
        by_table(v, swapped[op][v->width], true);
        return;
    }
    switch ((VecOp)op) {
    case VEC_MOVE: copy(v); break;
    case VEC_MERGE: merge(v); break;
    case VEC_REV8: reverse_bytes(v); break;
    case VEC_BREV8: reverse_bits(v); break;
    case VEC_SLL: case VEC_SRL: case VEC_SRA: shift(v, op - VEC_SLL); break;
    case VEC_ROL: case VEC_ROR: rotate(v); break;
    case VEC_EQ: case VEC_NE: case VEC_LTU: case VEC_LT: case VEC_LEU: case VEC_LE: case VEC_GTU: case VEC_GT: mask_result(v, compare(v)); break;
    case VEC_MACC: case VEC_NMSAC: case VEC_MADD: case VEC_NMSUB: multiply_add(v); break;
    case VEC_MUL: multiply_64(v); break;
    case VEC_MULH: case VEC_MULHU: multiply_high(v); break;
    case VEC_AVGU: average(v); break;
    case VEC_ID: numbers(v); break;
    case VEC_GET: case VEC_GETF: get_first(v); break;
    case VEC_SET: set_first(v); break;
    case VEC_REDSUM: case VEC_REDAND: case VEC_REDOR: case VEC_REDXOR: case VEC_REDMINU: case VEC_REDMIN: case VEC_REDMAXU: case VEC_REDMAX: reduce(v); break;
    case VEC_FMIN: case VEC_FMAX: minimum(v); break;
    case VEC_FEQ: case VEC_FNE: case VEC_FLT: case VEC_FLE: case VEC_FGT: case VEC_FGE:
        compare_fp(v);
        mask_result(v, false);
        break;
    case VEC_FTOI: case VEC_FTOI_RTZ: to_integer(v); break;
    case VEC_ITOF: case VEC_IWIDEN: case VEC_FWIDEN: case VEC_FNARROW: convert(v); break;
    case VEC_FSQRT: square_root(v); break;
    case VEC_FMACC: case VEC_FNMACC: case VEC_FMSAC: case VEC_FNMSAC: case VEC_FMADD: case VEC_FNMADD: case VEC_FMSUB: case VEC_FNMSUB: fused_multiply_add(v); break;
    case VEC_SGNJ: case VEC_SGNJN: case VEC_SGNJX: signs(v); break;
    case VEC_SLIDE1UP: case VEC_SLIDE1DOWN: slide_one(v, op == VEC_SLIDE1UP); break;
    case VEC_SLIDEUP: case VEC_SLIDEDOWN: slide(v, op == VEC_SLIDEUP); break;
    case VEC_GATHER: gather(v); break;
    case VEC_SEXT: case VEC_ZEXT: extend_all(v); break;
    case VEC_WADD: case VEC_WADDU: case VEC_WSUB: case VEC_WSUBU: case VEC_WADDW: case VEC_WADDUW: case VEC_WSUBW: case VEC_WSUBUW:
    case VEC_WMUL: case VEC_WMULU: case VEC_WMULSU: case VEC_WMACC: case VEC_WMACCU: case VEC_WMACCSU: case VEC_WMACCUS: widen(v); break;
    case VEC_NSRL: case VEC_NSRA: narrow(v); break;
    case VEC_CLMUL: case VEC_CLMULH: carryless(v, op == VEC_CLMULH); break;
    case VEC_AESEM: case VEC_AESEF: case VEC_AESDM: case VEC_AESDF: case VEC_AESZ: aes(v); break;
    case VEC_SHA2CH: case VEC_SHA2CL: sha2_rounds(v); break;
    case VEC_SHA2MS: sha2_schedule(v); break;
    case VEC_GHSH: case VEC_GMUL: ghash(v); break;
    default: BUG("a vector operation without code");
    }
}
