/* SPDX-License-Identifier: Apache-2.0 */
/* Vector floating-point instructions [unpriv v, "vector floating-point instructions"; zvfh], by base/softfp: an operation is a function of
 * three patterns (VecFloatOp), which is called for the active elements alone, since they alone raise flags. */
#include "isa/riscv/vector_impl.h"

/* --- sums, products, fused ones --------------------------------------------------------------------------------------------- */

#define OP(name, expression)                                                                                                                 \
    u64 vec_f_##name(const VecFloat *f, u64 a, u64 b, u64 c) { return expression; }
#define T ((SoftfpType)f->type)
#define WT ((SoftfpType)(f->type + 1))
#define WIDEN(v) softfp_convert(WT, T, v, f->rm, f->flags)

OP(add, softfp_add(T, a, b, f->rm, f->flags))
OP(sub, softfp_sub(T, a, b, f->rm, f->flags))
OP(rsub, softfp_sub(T, b, a, f->rm, f->flags))
OP(mul, softfp_mul(T, a, b, f->rm, f->flags))
OP(div, softfp_div(T, a, b, f->rm, f->flags))
OP(rdiv, softfp_div(T, b, a, f->rm, f->flags))
OP(sqrt, softfp_sqrt(T, a, f->rm, f->flags))
OP(wadd, softfp_add(WT, WIDEN(a), WIDEN(b), f->rm, f->flags))
OP(wsub, softfp_sub(WT, WIDEN(a), WIDEN(b), f->rm, f->flags))
OP(wadd_w, softfp_add(WT, a, WIDEN(b), f->rm, f->flags))
OP(wsub_w, softfp_sub(WT, a, WIDEN(b), f->rm, f->flags))
OP(wadd_v, softfp_add(WT, WIDEN(a), b, f->rm, f->flags))
OP(wmul, softfp_mul(WT, WIDEN(a), WIDEN(b), f->rm, f->flags))

enum { NEGATE_NONE = 0, NEGATE_BOTH = SOFTFP_NEGATE_PRODUCT | SOFTFP_NEGATE_ADDEND };
/* +-(vs1 * vs2) +- vd */
OP(macc, softfp_fma(T, a, b, c, NEGATE_NONE, f->rm, f->flags))
OP(nmacc, softfp_fma(T, a, b, c, NEGATE_BOTH, f->rm, f->flags))
OP(msac, softfp_fma(T, a, b, c, SOFTFP_NEGATE_ADDEND, f->rm, f->flags))
OP(nmsac, softfp_fma(T, a, b, c, SOFTFP_NEGATE_PRODUCT, f->rm, f->flags))
/* +-(vs1 * vd) +- vs2 */
OP(madd, softfp_fma(T, c, b, a, NEGATE_NONE, f->rm, f->flags))
OP(nmadd, softfp_fma(T, c, b, a, NEGATE_BOTH, f->rm, f->flags))
OP(msub, softfp_fma(T, c, b, a, SOFTFP_NEGATE_ADDEND, f->rm, f->flags))
OP(nmsub, softfp_fma(T, c, b, a, SOFTFP_NEGATE_PRODUCT, f->rm, f->flags))
OP(wmacc, softfp_fma(WT, WIDEN(a), WIDEN(b), c, NEGATE_NONE, f->rm, f->flags))
OP(wnmacc, softfp_fma(WT, WIDEN(a), WIDEN(b), c, NEGATE_BOTH, f->rm, f->flags))
OP(wmsac, softfp_fma(WT, WIDEN(a), WIDEN(b), c, SOFTFP_NEGATE_ADDEND, f->rm, f->flags))
OP(wnmsac, softfp_fma(WT, WIDEN(a), WIDEN(b), c, SOFTFP_NEGATE_PRODUCT, f->rm, f->flags))

/* --- order, signs, classes ---------------------------------------------------------------------------------------------------- */

static u64 sign_of(const VecFloat *f) { return 1ull << ((16u << f->type) - 1); }

OP(min, softfp_min(T, a, b, f->flags))
OP(max, softfp_max(T, a, b, f->flags))
OP(sgnj, (a & ~sign_of(f)) | (b & sign_of(f)))
OP(sgnjn, (a & ~sign_of(f)) | (~b & sign_of(f)))
OP(sgnjx, a ^ (b & sign_of(f)))
OP(feq, softfp_eq(T, a, b, f->flags))
OP(fne, !softfp_eq(T, a, b, f->flags))
OP(flt, softfp_lt(T, a, b, f->flags))
OP(fle, softfp_le(T, a, b, f->flags))
OP(fgt, softfp_lt(T, b, a, f->flags))
OP(fge, softfp_le(T, b, a, f->flags))
OP(class, softfp_class(T, a))

/* --- conversions --------------------------------------------------------------------------------------------------------------- */

typedef enum Sign { UNSIGNED, SIGNED } Sign;

/* To an integer of 8 << width bits. Those of 8 and 16 are what fits of 32. */
static u64 to_int(const VecFloat *f, int from, int width, Sign sign, u64 a, SoftfpRound rm) {
    if (width >= 2) return softfp_to_int(width == 3 ? (sign ? SOFTFP_I64 : SOFTFP_U64) : (sign ? SOFTFP_I32 : SOFTFP_U32), (SoftfpType)from, a, rm, f->flags);
    u32 raised = 0;
    int bits = 8 << width;
    i64 v = (i64)softfp_to_int(SOFTFP_I32, (SoftfpType)from, a, rm, &raised);
    i64 most = (1 << (sign ? bits - 1 : bits)) - 1, least = sign ? -most - 1 : 0;
    if (v >= least && v <= most) {
        *f->flags |= raised;
        return (u64)v;
    }
    *f->flags |= SOFTFP_NV;
    return (u64)(v < least ? least : most);
}

static u64 from_int(const VecFloat *f, int to, int width, Sign sign, u64 a) {
    if (sign) return softfp_from_int((SoftfpType)to, SOFTFP_I64, (u64)sext_bits(a, 8u << width), f->rm, f->flags);
    return softfp_from_int((SoftfpType)to, SOFTFP_U64, a, f->rm, f->flags);
}

/* SEW is 8 << (type + 1) bits. */
OP(xu_f, to_int(f, f->type, f->type + 1, UNSIGNED, a, f->rm))
OP(x_f, to_int(f, f->type, f->type + 1, SIGNED, a, f->rm))
OP(rtz_xu_f, to_int(f, f->type, f->type + 1, UNSIGNED, a, SOFTFP_RTZ))
OP(rtz_x_f, to_int(f, f->type, f->type + 1, SIGNED, a, SOFTFP_RTZ))
OP(f_xu, from_int(f, f->type, f->type + 1, UNSIGNED, a))
OP(f_x, from_int(f, f->type, f->type + 1, SIGNED, a))
OP(w_xu_f, to_int(f, f->type, f->type + 2, UNSIGNED, a, f->rm))
OP(w_x_f, to_int(f, f->type, f->type + 2, SIGNED, a, f->rm))
OP(w_rtz_xu_f, to_int(f, f->type, f->type + 2, UNSIGNED, a, SOFTFP_RTZ))
OP(w_rtz_x_f, to_int(f, f->type, f->type + 2, SIGNED, a, SOFTFP_RTZ))
OP(w_f_xu, from_int(f, f->type + 1, f->type + 1, UNSIGNED, a))
OP(w_f_x, from_int(f, f->type + 1, f->type + 1, SIGNED, a))
OP(w_f_f, WIDEN(a))
OP(n_xu_f, to_int(f, f->type + 1, f->type + 1, UNSIGNED, a, f->rm))
OP(n_x_f, to_int(f, f->type + 1, f->type + 1, SIGNED, a, f->rm))
OP(n_rtz_xu_f, to_int(f, f->type + 1, f->type + 1, UNSIGNED, a, SOFTFP_RTZ))
OP(n_rtz_x_f, to_int(f, f->type + 1, f->type + 1, SIGNED, a, SOFTFP_RTZ))
OP(n_f_xu, from_int(f, f->type, f->type + 2, UNSIGNED, a))
OP(n_f_x, from_int(f, f->type, f->type + 2, SIGNED, a))
OP(n_f_f, softfp_convert(T, WT, a, f->rm, f->flags))

/* Rounded to odd: toward zero, and the lowest bit says that something is missing. What is too large becomes the largest number, which is odd. */
u64 vec_f_n_rod_f_f(const VecFloat *f, u64 a, u64 b, u64 c) {
    u32 raised = 0;
    u64 v = softfp_convert(T, WT, a, SOFTFP_RTZ, &raised);
    *f->flags |= raised;
    return v | (raised & SOFTFP_NX);
}

/* --- estimates [unpriv v, "vector floating-point reciprocal estimate instruction" and "... square-root ..."] --------------------- */

/* clang-format off */
/* The seven upper bits of 1/x for the seven upper bits of x. */
static const u8 reciprocals[128] = {
    127, 125, 123, 121, 119, 117, 116, 114, 112, 110, 109, 107, 105, 104, 102, 100, 99, 97, 96, 94, 93, 91, 90,
    88, 87, 85, 84, 83, 81, 80, 79, 77, 76, 75, 74, 72, 71, 70, 69, 68, 66, 65, 64, 63, 62, 61, 60, 59, 58, 57,
    56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 40, 39, 38, 37, 36, 35, 35, 34, 33, 32,
    31, 31, 30, 29, 28, 28, 27, 26, 25, 25, 24, 23, 23, 22, 21, 21, 20, 19, 19, 18, 17, 17, 16, 15, 15, 14, 14,
    13, 12, 12, 11, 11, 10, 9, 9, 8, 8, 7, 7, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0,
};
/* Those of 1/sqrt(x) for the lowest bit of the exponent and the six upper bits of x. */
static const u8 square_roots[128] = {
    52, 51, 50, 48, 47, 46, 44, 43, 42, 41, 40, 39, 38, 36, 35, 34, 33, 32, 31, 30, 30, 29, 28, 27, 26, 25, 24,
    23, 23, 22, 21, 20, 19, 19, 18, 17, 16, 16, 15, 14, 14, 13, 12, 12, 11, 10, 10, 9, 9, 8, 7, 7, 6, 6, 5, 4, 4,
    3, 3, 2, 2, 1, 1, 0, 127, 125, 123, 121, 119, 118, 116, 114, 113, 111, 109, 108, 106, 105, 103, 102, 100, 99,
    97, 96, 95, 93, 92, 91, 90, 88, 87, 86, 85, 84, 83, 82, 80, 79, 78, 77, 76, 75, 74, 73, 72, 71, 70, 70, 69,
    68, 67, 66, 65, 64, 63, 63, 62, 61, 60, 59, 59, 58, 57, 56, 56, 55, 54, 53,
};
/* clang-format on */

typedef struct Parts { /* a finite number that is not 0 */
    int bias, frac_bits, exponent; /* biased; of subnormal numbers as if it could go on below 1 */
    u64 frac;                      /* without the leading bit */
} Parts;

static Parts parts_of(const VecFloat *f, u64 a) {
    static const u8 frac_bits[] = {10, 23, 52};
    static const short biases[] = {15, 127, 1023};
    Parts p = {.frac_bits = frac_bits[f->type], .bias = biases[f->type]};
    p.frac = low_bits(a, (unsigned)p.frac_bits);
    p.exponent = (int)(a >> p.frac_bits) & (2 * p.bias + 1);
    if (!p.exponent) {
        int zeros = __builtin_clzll(p.frac) - (64 - p.frac_bits);
        p.exponent = -zeros;
        p.frac = low_bits(p.frac << (zeros + 1), (unsigned)p.frac_bits);
    }
    return p;
}

enum { /* of softfp_class */
    CLASS_NEGATIVE = 1 | 2 | 4, CLASS_ZERO = 8 | 16, CLASS_INF = 1 | 128, CLASS_SNAN = 256, CLASS_NAN = 256 | 512,
};

/* Infinity with the sign of a. */
static u64 infinity_like(const VecFloat *f, u64 a) {
    static const u64 infinities[] = {0x7c00, 0x7f800000, 0x7ff0000000000000};
    return infinities[f->type] | (a & sign_of(f));
}

u64 vec_f_rsqrt7(const VecFloat *f, u64 a, u64 b, u64 c) {
    u32 class = softfp_class(T, a);
    if (class & (CLASS_NEGATIVE | CLASS_SNAN)) *f->flags |= SOFTFP_NV;
    if (class & (CLASS_NEGATIVE | CLASS_NAN)) return softfp_nan(T);
    if (class & CLASS_INF) return 0;
    if (class & CLASS_ZERO) {
        *f->flags |= SOFTFP_DZ;
        return infinity_like(f, a);
    }
    Parts p = parts_of(f, a);
    unsigned index = (unsigned)(p.exponent & 1) << 6 | (unsigned)(p.frac >> (p.frac_bits - 6));
    return (u64)((3 * p.bias - 1 - p.exponent) / 2) << p.frac_bits | (u64)square_roots[index] << (p.frac_bits - 7);
}

/* 1/x of a number so small that this is too large. */
static u64 overflow_like(const VecFloat *f, u64 a) {
    bool negative = a & sign_of(f), to_largest = f->rm == SOFTFP_RTZ || f->rm == (negative ? SOFTFP_RUP : SOFTFP_RDN);
    *f->flags |= SOFTFP_OF | SOFTFP_NX;
    return infinity_like(f, a) - to_largest;
}

u64 vec_f_rec7(const VecFloat *f, u64 a, u64 b, u64 c) {
    u32 class = softfp_class(T, a);
    if (class & CLASS_SNAN) *f->flags |= SOFTFP_NV;
    if (class & CLASS_NAN) return softfp_nan(T);
    if (class & CLASS_INF) return a & sign_of(f);
    if (class & CLASS_ZERO) {
        *f->flags |= SOFTFP_DZ;
        return infinity_like(f, a);
    }
    Parts p = parts_of(f, a);
    int exponent = 2 * p.bias - 1 - p.exponent;
    if (exponent > 2 * p.bias) return overflow_like(f, a);
    u64 frac = (u64)reciprocals[p.frac >> (p.frac_bits - 7)] << (p.frac_bits - 7);
    if (exponent <= 0) {
        frac = (frac | 1ull << p.frac_bits) >> (1 - exponent);
        exponent = 0;
    }
    return (a & sign_of(f)) | (u64)exponent << p.frac_bits | frac;
}

/* --- how they are run ------------------------------------------------------------------------------------------------------------- */

static VecFloat float_of(const Vec *i) {
    return (VecFloat){.type = i->sew - 1, .rm = (SoftfpRound)i->s->frm, .flags = &i->cpu->fflags};
}

/* In order, so that a source may lie where results have been written already (vector.c, may_overlap). */
void vec_run_float(const Vec *i) {
    const VecRow *r = i->row;
    VecFloat f = float_of(i);
    unsigned width_d = vec_width(i, r->d), width_a = vec_width(i, r->a), width_b = vec_width(i, r->b);
    u8 *d = vec_reg(i, i->vd);
    for (u32 k = i->start; k < i->vl; k++) {
        if (!vec_active(i, k)) continue;
        u64 a = vec_get(vec_reg(i, i->vs2), width_a, k), b = i->vector ? vec_get(vec_reg(i, i->vs1), width_b, k) : i->scalar;
        vec_put(d, width_d, k, r->op(&f, a, b, vec_get(d, width_d, k)));
    }
}

void vec_run_float_test(const Vec *i) {
    VecFloat f = float_of(i);
    u8 out[RVV_BUFFER];
    for (u32 k = i->start; k < i->vl; k++) {
        if (!vec_active(i, k)) continue;
        u64 b = i->vector ? vec_get(vec_reg(i, i->vs1), i->sew, k) : i->scalar;
        out[k] = (u8)i->row->op(&f, vec_get(vec_reg(i, i->vs2), i->sew, k), b, 0);
    }
    vec_commit_mask(i, out);
}

/* One after another, which the ordered ones want, and the others allow. */
void vec_run_float_reduce(const Vec *i) {
    VecFloat f = float_of(i);
    unsigned width = vec_width(i, i->row->d);
    u64 sum = vec_get(vec_reg(i, i->vs1), width, 0);
    for (u32 k = 0; k < i->vl; k++)
        if (vec_active(i, k)) sum = i->row->op(&f, vec_get(vec_reg(i, i->vs2), i->sew, k), sum, 0);
    if (i->vl) vec_put(vec_reg(i, i->vd), width, 0, sum);
}
