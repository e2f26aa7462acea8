/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions on integers and fixed-point numbers, element by element [unpriv v, "vector integer arithmetic instructions", "vector
 * fixed-point arithmetic instructions"; zvbb, zvbc].
 *
 * A row here makes a kernel for each width. In its expression: a the element of vs2, b that of vs1 or the scalar, d[k] the one of vd; U and S are the
 * unsigned and signed type of the element's width (of the narrow one, if there are two), W twice as wide and of the row's sign, SW always signed;
 * BITS are those of U. */
#include "isa/riscv/vector_impl.h"

#ifndef __clang__
#pragma GCC optimize("O3") /* makes vectors of the kernels' loops; clang does at any level */
#endif

#define KERNEL(name, bits, D, A, B, s, wide, expression)                                                                                     \
    static void name##_##bits(const VecLanes *l) {                                                                                           \
        typedef u##bits U __attribute__((unused));                                                                                           \
        typedef i##bits S __attribute__((unused));                                                                                           \
        typedef s##wide W __attribute__((unused));                                                                                           \
        typedef i##wide SW __attribute__((unused));                                                                                          \
        enum { BITS = bits };                                                                                                                \
        D *restrict d = l->d;                                                                                                                \
        const A *from_a = l->a;                                                                                                              \
        const B *from_b = l->b;                                                                                                              \
        for (u32 k = 0; k < l->n; k++) {                                                                                                     \
            const A a __attribute__((unused)) = from_a[k];                                                                                   \
            const B b __attribute__((unused)) = from_b[k];                                                                                   \
            d[k] = (D)(expression);                                                                                                          \
        }                                                                                                                                    \
    }
#define TABLE(name, k8, k16, k32, k64) const VecKernels vec_k_##name = {{k8, k16, k32, k64}};

/* All of one width; s: u or i, what the elements are taken for. */
#define SAME(name, s, ...)                                                                                                                   \
    KERNEL(name, 8, s##8, s##8, s##8, s, 16, __VA_ARGS__)                                                                                    \
    KERNEL(name, 16, s##16, s##16, s##16, s, 32, __VA_ARGS__)                                                                                \
    KERNEL(name, 32, s##32, s##32, s##32, s, 64, __VA_ARGS__)                                                                                \
    KERNEL(name, 64, s##64, s##64, s##64, s, 128, __VA_ARGS__)                                                                               \
    TABLE(name, name##_8, name##_16, name##_32, name##_64)
/* A bit in a byte each. */
#define TEST(name, s, ...)                                                                                                                   \
    KERNEL(name, 8, u8, s##8, s##8, s, 16, __VA_ARGS__)                                                                                      \
    KERNEL(name, 16, u8, s##16, s##16, s, 32, __VA_ARGS__)                                                                                   \
    KERNEL(name, 32, u8, s##32, s##32, s, 64, __VA_ARGS__)                                                                                   \
    KERNEL(name, 64, u8, s##64, s##64, s, 128, __VA_ARGS__)                                                                                  \
    TABLE(name, name##_8, name##_16, name##_32, name##_64)
/* vd is twice as wide; sa and sb: what vs2 and vs1 are. */
#define WIDE(name, s, sa, sb, ...)                                                                                                           \
    KERNEL(name, 8, s##16, sa##8, sb##8, s, 16, __VA_ARGS__)                                                                                 \
    KERNEL(name, 16, s##32, sa##16, sb##16, s, 32, __VA_ARGS__)                                                                              \
    KERNEL(name, 32, s##64, sa##32, sb##32, s, 64, __VA_ARGS__)                                                                              \
    TABLE(name, name##_8, name##_16, name##_32, NULL)
/* vs2, too. */
#define WIDE2(name, s, ...)                                                                                                                  \
    KERNEL(name, 8, s##16, s##16, s##8, s, 16, __VA_ARGS__)                                                                                  \
    KERNEL(name, 16, s##32, s##32, s##16, s, 32, __VA_ARGS__)                                                                                \
    KERNEL(name, 32, s##64, s##64, s##32, s, 64, __VA_ARGS__)                                                                                \
    TABLE(name, name##_8, name##_16, name##_32, NULL)
/* Only vs2 is. */
#define NARROW(name, s, ...)                                                                                                                 \
    KERNEL(name, 8, s##8, s##16, u8, s, 16, __VA_ARGS__)                                                                                     \
    KERNEL(name, 16, s##16, s##32, u16, s, 32, __VA_ARGS__)                                                                                  \
    KERNEL(name, 32, s##32, s##64, u32, s, 64, __VA_ARGS__)                                                                                  \
    TABLE(name, name##_8, name##_16, name##_32, NULL)

/* --- sums, logic, shifts, products ------------------------------------------------------------------------------------ */

SAME(add, u, a + b)
SAME(sub, u, a - b)
SAME(rsub, u, b - a)
WIDE(waddu, u, u, u, (W)a + b)
WIDE(wadd, i, i, i, (W)a + b)
WIDE(wsubu, u, u, u, (W)a - b)
WIDE(wsub, i, i, i, (W)a - b)
WIDE2(waddu_w, u, a + b)
WIDE2(wadd_w, i, a + b)
WIDE2(wsubu_w, u, a - b)
WIDE2(wsub_w, i, a - b)
SAME(adc, u, a + b + l->carry[k])
SAME(sbc, u, a - b - l->carry[k])
TEST(madc, u, ((W)a + b + l->carry[k]) >> BITS)
TEST(msbc, u, (W)a < (W)b + l->carry[k])
SAME(and, u, a & b)
SAME(or, u, a | b)
SAME(xor, u, a ^ b)
SAME(andn, u, a & ~b)
SAME(sll, u, a << (b & (BITS - 1)))
SAME(srl, u, a >> (b & (BITS - 1)))
SAME(sra, i, a >> (b & (BITS - 1)))
NARROW(nsrl, u, a >> (b & (2 * BITS - 1)))
NARROW(nsra, i, a >> (b & (2 * BITS - 1)))
WIDE(wsll, u, u, u, (W)a << (b & (2 * BITS - 1)))
TEST(mseq, u, a == b)
TEST(msne, u, a != b)
TEST(msltu, u, a < b)
TEST(mslt, i, a < b)
TEST(msleu, u, a <= b)
TEST(msle, i, a <= b)
TEST(msgtu, u, a > b)
TEST(msgt, i, a > b)
SAME(minu, u, MIN(a, b))
SAME(min, i, MIN(a, b))
SAME(maxu, u, MAX(a, b))
SAME(max, i, MAX(a, b))
SAME(mul, u, (W)a * b)
SAME(mulh, i, (W)a * b >> BITS)
SAME(mulhu, u, (W)a * b >> BITS)
SAME(mulhsu, i, (W)a * (U)b >> BITS)
SAME(divu, u, b ? a / b : (U)-1)
SAME(div, i, b == 0 ? -1 : b == -1 ? -a : a / b)
SAME(remu, u, b ? a % b : a)
SAME(rem, i, b == 0 ? a : b == -1 ? 0 : a % b)
WIDE(wmul, i, i, i, (W)a * b)
WIDE(wmulu, u, u, u, (W)a * b)
WIDE(wmulsu, i, i, u, (W)a * b)
SAME(macc, u, d[k] + (W)a * b)
SAME(nmsac, u, d[k] - (W)a * b)
SAME(madd, u, a + (W)d[k] * b)
SAME(nmsub, u, a - (W)d[k] * b)
WIDE(wmaccu, u, u, u, d[k] + (W)a * b)
WIDE(wmacc, i, i, i, d[k] + (W)a * b)
WIDE(wmaccsu, i, u, i, d[k] + (W)a * b)
WIDE(wmaccus, i, i, u, d[k] + (W)a * b)
SAME(merge, u, l->carry[k] ? b : a)
SAME(copy, u, b)

/* Of elements of half, a quarter and an eighth of the width. */
#define EXTENSIONS(name, s)                                                                                                                  \
    KERNEL(name##2, 16, s##16, s##8, s##8, s, 32, a)                                                                                         \
    KERNEL(name##2, 32, s##32, s##16, s##16, s, 64, a)                                                                                       \
    KERNEL(name##2, 64, s##64, s##32, s##32, s, 128, a)                                                                                      \
    TABLE(name##2, NULL, name##2_16, name##2_32, name##2_64)                                                                                 \
    KERNEL(name##4, 32, s##32, s##8, s##8, s, 64, a)                                                                                         \
    KERNEL(name##4, 64, s##64, s##16, s##16, s, 128, a)                                                                                      \
    TABLE(name##4, NULL, NULL, name##4_32, name##4_64)                                                                                       \
    KERNEL(name##8, 64, s##64, s##8, s##8, s, 128, a)                                                                                        \
    TABLE(name##8, NULL, NULL, NULL, name##8_64)
EXTENSIONS(zext, u)
EXTENSIONS(sext, i)

/* --- bits ------------------------------------------------------------------------------------------------------------------ */

static u64 reverse_in_bytes(u64 v) {
    v = (v >> 1 & 0x5555555555555555ull) | (v & 0x5555555555555555ull) << 1;
    v = (v >> 2 & 0x3333333333333333ull) | (v & 0x3333333333333333ull) << 2;
    return (v >> 4 & 0x0f0f0f0f0f0f0f0full) | (v & 0x0f0f0f0f0f0f0f0full) << 4;
}

SAME(brev8, u, reverse_in_bytes(a))
SAME(rev8, u, __builtin_bswap64(a) >> (64 - BITS))
SAME(brev, u, __builtin_bswap64(reverse_in_bytes(a)) >> (64 - BITS))
SAME(clz, u, a ? __builtin_clzll(a) - (64 - BITS) : BITS)
SAME(ctz, u, a ? __builtin_ctzll(a) : BITS)
SAME(cpop, u, __builtin_popcountll(a))
SAME(rol, u, a << (b & (BITS - 1)) | a >> (-b & (BITS - 1)))
SAME(ror, u, a >> (b & (BITS - 1)) | a << (-b & (BITS - 1)))
KERNEL(clmul, 64, u64, u64, u64, u, 128, ir_eval_crypto(CRYPTO_CLMUL, a, b))
TABLE(clmul, NULL, NULL, NULL, clmul_64)
KERNEL(clmulh, 64, u64, u64, u64, u, 128, ir_eval_crypto(CRYPTO_CLMULH, a, b))
TABLE(clmulh, NULL, NULL, NULL, clmulh_64)

/* --- fixed point ------------------------------------------------------------------------------------------------------------- */

/* What is added to v >> drop [unpriv v, "vector fixed-point rounding mode register"]. */
static inline u64 rounding(u64 v, unsigned drop, unsigned vxrm) {
    if (!drop) return 0;
    bool half = v >> (drop - 1) & 1, odd = v >> (drop & 63) & 1, below = low_bits(v, drop - 1) != 0;
    switch (vxrm & 3) {
    case 0: return half;
    case 1: return half && (below || odd);
    case 2: return 0;
    default: return !odd && (below || half);
    }
}

/* v as near as may be to it, and a note of whether that is not v. */
#define CLIP(v, least, most)                                                                                                                 \
    ({                                                                                                                                       \
        SW value = (v);                                                                                                                      \
        l->saturated[k] = value < (least) || value > (most);                                                                                 \
        value < (least) ? (least) : value > (most) ? (most) : value;                                                                         \
    })
#define CLIP_S(v) CLIP(v, -(SW)((U)-1 >> 1) - 1, (SW)((U)-1 >> 1))
#define CLIP_U(v) CLIP(v, 0, (SW)(U)-1)
#define ROUNDED(v, drop) (((v) >> (drop)) + rounding((u64)(v), drop, l->vxrm))
/* Of a product of 64 bits each. */
#define ROUNDED_WIDE(v, drop) (((v) >> (drop)) + (SW)rounding((u64)(v), drop, l->vxrm))
/* A sum or difference of one bit more, halved. Its two lowest bits say how it is rounded. */
#define HALVED(v) ((SW)(v) >> 1) + (SW)rounding((u64)(v), 1, l->vxrm)

SAME(saddu, u, CLIP_U((SW)a + b))
SAME(sadd, i, CLIP_S((SW)a + b))
SAME(ssubu, u, CLIP_U((SW)a - b))
SAME(ssub, i, CLIP_S((SW)a - b))
SAME(aaddu, u, HALVED((SW)a + b))
SAME(aadd, i, HALVED((SW)a + b))
SAME(asubu, u, HALVED((SW)a - b))
SAME(asub, i, HALVED((SW)a - b))
SAME(smul, i, CLIP_S(ROUNDED_WIDE((SW)a * b, BITS - 1)))
SAME(ssrl, u, ROUNDED(a, b & (BITS - 1)))
SAME(ssra, i, ROUNDED(a, b & (BITS - 1)))
/* The rounded wide element is one bit longer than it at most, and fits where it came from but for the unsigned one of 64 bits with no shift, which has
 * nothing to round. */
NARROW(nclipu, u, ({
    W rounded = ROUNDED(a, b & (2 * BITS - 1));
    l->saturated[k] = rounded > (U)-1;
    l->saturated[k] ? (U)-1 : rounded;
}))
NARROW(nclip, i, CLIP_S(ROUNDED(a, b & (2 * BITS - 1))))

/* --- gathering: vlmax elements of vs2 are there ----------------------------------------------------------------------------- */

SAME(gather, u, b < l->vlmax ? from_a[b] : 0)
KERNEL(gather16, 8, u8, u8, u16, u, 16, b < l->vlmax ? from_a[b] : 0)
KERNEL(gather16, 16, u16, u16, u16, u, 32, b < l->vlmax ? from_a[b] : 0)
KERNEL(gather16, 32, u32, u32, u16, u, 64, b < l->vlmax ? from_a[b] : 0)
KERNEL(gather16, 64, u64, u64, u16, u, 128, b < l->vlmax ? from_a[b] : 0)
TABLE(gather16, gather16_8, gather16_16, gather16_32, gather16_64)

/* --- how they are run ------------------------------------------------------------------------------------------------------- */

typedef struct Work { /* memory of one instruction */
    u64 d[RVV_BUFFER / 8], splat[RVV_BUFFER / 8];
    u8 carry[RVV_BUFFER], saturated[RVV_BUFFER];
} Work;

/* The kernel's results in w->d; *l may be asked afterwards. */
static void compute(const Vec *i, Work *w, VecLanes *l) {
    const VecRow *r = i->row;
    *l = (VecLanes){.d = w->d, .a = vec_reg(i, i->vs2), .n = i->vl, .vxrm = (u32)i->s->vxrm, .vlmax = vec_vlmax(i), .carry = w->carry, .saturated = w->saturated};
    if (i->vector) l->b = vec_reg(i, i->vs1);
    else if (r->b != RVV_NONE) vec_splat(w->splat, i->sew, i->scalar), l->b = w->splat;
    else l->b = l->a;
    if (r->a == RVV_NONE) l->a = l->b;
    if (r->facts & RVV_CARRY && !(i->bits >> 25 & 1)) vec_spread(w->carry, vec_reg(i, 0), i->vl);
    else if (r->facts & RVV_CARRY) memset(w->carry, 0, i->vl);
    if (r->facts & RVV_READS) memcpy(w->d, vec_reg(i, i->vd), i->vl << vec_width(i, r->d));
    r->kernels->at[i->sew](l);
}

void vec_run_int(const Vec *i) {
    Work w;
    VecLanes l;
    compute(i, &w, &l);
    vec_commit(i, w.d);
}

void vec_run_test(const Vec *i) {
    Work w;
    VecLanes l;
    compute(i, &w, &l);
    vec_commit_mask(i, (const u8 *)w.d);
}

void vec_run_saturate(const Vec *i) {
    Work w;
    VecLanes l;
    compute(i, &w, &l);
    for (u32 k = i->start; k < i->vl; k++)
        if (w.saturated[k] && vec_active(i, k)) i->s->vxsat = 1;
    vec_commit(i, w.d);
}
