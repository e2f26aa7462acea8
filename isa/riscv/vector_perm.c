/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions that do not work element by element: reductions, masks, permutations [unpriv v, "vector reduction operations", "vector mask
 * instructions", "vector integer permutation instructions"]. */
#include "isa/riscv/vector_impl.h"

/* --- reductions of integers: vd[0] = vs1[0] and all active elements of vs2 ------------------------------------------------ */

#define REDUCTION(name, bits, D, A, expression)                                                                                              \
    static void name##_##bits(const VecLanes *l) {                                                                                           \
        D sum = *(const D *)l->b;                                                                                                            \
        for (u32 k = 0; k < l->n; k++) {                                                                                                     \
            const D a = ((const A *)l->a)[k];                                                                                                \
            if (l->carry[k]) sum = (D)(expression);                                                                                          \
        }                                                                                                                                    \
        *(D *)l->d = sum;                                                                                                                    \
    }
#define REDUCE(name, s, expression)                                                                                                          \
    REDUCTION(name, 8, s##8, s##8, expression)                                                                                               \
    REDUCTION(name, 16, s##16, s##16, expression)                                                                                            \
    REDUCTION(name, 32, s##32, s##32, expression)                                                                                            \
    REDUCTION(name, 64, s##64, s##64, expression)                                                                                            \
    const VecKernels vec_k_##name = {{name##_8, name##_16, name##_32, name##_64}};
#define REDUCE_WIDE(name, s)                                                                                                                 \
    REDUCTION(name, 8, s##16, s##8, sum + a)                                                                                                 \
    REDUCTION(name, 16, s##32, s##16, sum + a)                                                                                               \
    REDUCTION(name, 32, s##64, s##32, sum + a)                                                                                               \
    const VecKernels vec_k_##name = {{name##_8, name##_16, name##_32, NULL}};

REDUCE(redsum, u, sum + a)
REDUCE(redand, u, sum & a)
REDUCE(redor, u, sum | a)
REDUCE(redxor, u, sum ^ a)
REDUCE(redminu, u, MIN(sum, a))
REDUCE(redmin, i, MIN(sum, a))
REDUCE(redmaxu, u, MAX(sum, a))
REDUCE(redmax, i, MAX(sum, a))
REDUCE_WIDE(wredsumu, u)
REDUCE_WIDE(wredsum, i)

/* A byte for each element below vl: does it take part? */
static void spread_active(const Vec *i, u8 *active) {
    if (i->masked) vec_spread(active, vec_reg(i, 0), i->vl);
    else memset(active, 1, i->vl);
}

void vec_run_reduce(const Vec *i) {
    u8 active[RVV_BUFFER];
    if (!i->vl) return;
    spread_active(i, active);
    VecLanes l = {.d = vec_reg(i, i->vd), .a = vec_reg(i, i->vs2), .b = vec_reg(i, i->vs1), .n = i->vl, .carry = active};
    i->row->kernels->at[i->sew](&l);
}

/* --- masks as sets of bits ------------------------------------------------------------------------------------------------- */

/* 64 bits at a time. */
#define LOGIC(name, expression)                                                                                                              \
    static void name(const VecLanes *l) {                                                                                                    \
        for (u32 k = 0; k < WORDS; k++) {                                                                                                    \
            u64 a = ((const u64 *)l->a)[k], b = ((const u64 *)l->b)[k];                                                                      \
            ((u64 *)l->d)[k] = expression;                                                                                                   \
        }                                                                                                                                    \
    }                                                                                                                                        \
    const VecKernels vec_k_mask_##name = {{name}};
enum { WORDS = RV_VLENB / 8 };

LOGIC(and, a & b)
LOGIC(nand, ~(a & b))
LOGIC(andn, a & ~b)
LOGIC(xor, a ^ b)
LOGIC(or, a | b)
LOGIC(nor, ~(a | b))
LOGIC(orn, a | ~b)
LOGIC(xnor, ~(a ^ b))

/* The bits below vl, of a word of a mask. */
static u64 below_length(const Vec *i, u32 word) { return low_bits(~0ull, MAX(i->vl, 64 * word) - 64 * word); }

void vec_run_mask_logic(const Vec *i) {
    u64 out[WORDS], *d = (u64 *)vec_reg(i, i->vd);
    VecLanes l = {.d = out, .a = vec_reg(i, i->vs2), .b = vec_reg(i, i->vs1)};
    i->row->kernels->at[0](&l);
    for (u32 k = 0; k < WORDS; k++) {
        u64 body = below_length(i, k) & ~low_bits(~0ull, MAX(i->start, 64 * k) - 64 * k);
        d[k] = (d[k] & ~body) | (out[k] & body);
    }
}

/* The active bits of vs2 that are set, below vl. */
static void set_bits(const Vec *i, u64 *words) {
    u64 mask[WORDS];
    memcpy(words, vec_reg(i, i->vs2), RV_VLENB);
    memcpy(mask, vec_reg(i, 0), RV_VLENB);
    for (u32 k = 0; k < WORDS; k++) {
        words[k] &= below_length(i, k);
        if (i->masked) words[k] &= mask[k];
    }
}

/* The first of them, or vl. */
static u32 find_set(const Vec *i) {
    u64 words[WORDS];
    set_bits(i, words);
    for (u32 k = 0; k < WORDS; k++)
        if (words[k]) return 64 * k + (u32)__builtin_ctzll(words[k]);
    return i->vl;
}

void vec_run_cpop(const Vec *i) {
    u64 words[WORDS], count = 0;
    set_bits(i, words);
    for (u32 k = 0; k < WORDS; k++) count += (u64)__builtin_popcountll(words[k]);
    i->s->vresult = count;
}

void vec_run_first(const Vec *i) {
    u32 first = find_set(i);
    i->s->vresult = first < i->vl ? first : ~0ull;
}

/* n: the first one set. */
#define BY_FIRST(name, expression)                                                                                                           \
    static void name(const VecLanes *l) {                                                                                                    \
        u32 n = l->vlmax;                                                                                                                    \
        for (u32 k = 0; k < l->n; k++) ((u8 *)l->d)[k] = expression;                                                                         \
    }                                                                                                                                        \
    const VecKernels vec_k_mask_##name = {{name}};

BY_FIRST(before, k < n)
BY_FIRST(including, k <= n)
BY_FIRST(only, k == n)

void vec_run_mask_first(const Vec *i) {
    u8 out[RVV_BUFFER];
    VecLanes l = {.d = out, .n = i->vl, .vlmax = find_set(i)};
    i->row->kernels->at[0](&l);
    vec_commit_mask(i, out);
}

void vec_run_iota(const Vec *i) {
    u64 out[RVV_BUFFER / 8], count = 0;
    for (u32 k = 0; k < i->vl; k++) {
        vec_put(out, i->sew, k, count);
        count += vec_bit(vec_reg(i, i->vs2), k) && vec_active(i, k);
    }
    vec_commit(i, out);
}

void vec_run_id(const Vec *i) {
    u64 out[RVV_BUFFER / 8];
    for (u32 k = 0; k < i->vl; k++) vec_put(out, i->sew, k, k);
    vec_commit(i, out);
}

/* --- element 0 ------------------------------------------------------------------------------------------------------------- */

void vec_run_get_x(const Vec *i) { i->s->vresult = (u64)sext_bits(vec_get(vec_reg(i, i->vs2), i->sew, 0), 8u << i->sew); }

void vec_run_get_f(const Vec *i) {
    u64 v = vec_get(vec_reg(i, i->vs2), i->sew, 0);
    i->s->vresult = i->sew == 3 ? v : v | ~0ull << (8u << i->sew);
}

void vec_run_set_first(const Vec *i) {
    if (i->start < i->vl) vec_put(vec_reg(i, i->vd), i->sew, 0, i->scalar);
}

/* --- moving elements ---------------------------------------------------------------------------------------------------------- */

/* By how many elements a slide goes: no more than there are. */
static u32 offset_of(const Vec *i) { return (u32)MIN(i->scalar, vec_vlmax(i)); }

void vec_run_slideup(const Vec *i) {
    u64 out[RVV_BUFFER / 8];
    u32 offset = offset_of(i);
    Vec rest = *i;
    rest.start = MAX(i->start, offset);
    if (rest.start >= i->vl) return;
    memcpy((u8 *)out + (offset << i->sew), vec_reg(i, i->vs2), (i->vl - offset) << i->sew);
    vec_commit(&rest, out);
}

void vec_run_slidedown(const Vec *i) {
    u64 out[RVV_BUFFER / 8] = {0};
    u32 offset = offset_of(i);
    memcpy(out, vec_reg(i, i->vs2) + (offset << i->sew), (vec_vlmax(i) - offset) << i->sew);
    vec_commit(i, out);
}

void vec_run_slide1up(const Vec *i) {
    u64 out[RVV_BUFFER / 8];
    if (!i->vl) return;
    memcpy((u8 *)out + (1u << i->sew), vec_reg(i, i->vs2), (i->vl - 1) << i->sew);
    vec_put(out, i->sew, 0, i->scalar);
    vec_commit(i, out);
}

void vec_run_slide1down(const Vec *i) {
    u64 out[RVV_BUFFER / 8];
    if (!i->vl) return;
    memcpy(out, vec_reg(i, i->vs2) + (1u << i->sew), (i->vl - 1) << i->sew);
    vec_put(out, i->sew, i->vl - 1, i->scalar);
    vec_commit(i, out);
}

void vec_run_gather_one(const Vec *i) {
    u64 out[RVV_BUFFER / 8];
    vec_splat(out, i->sew, i->scalar < vec_vlmax(i) ? vec_get(vec_reg(i, i->vs2), i->sew, (u32)i->scalar) : 0);
    vec_commit(i, out);
}

/* Its mask is vs1, and what it leaves behind the elements that it found is tail. */
void vec_run_compress(const Vec *i) {
    u8 *d = vec_reg(i, i->vd);
    u32 to = 0;
    for (u32 k = 0; k < i->vl; k++)
        if (vec_bit(vec_reg(i, i->vs1), k)) vec_put(d, i->sew, to++, vec_get(vec_reg(i, i->vs2), i->sew, k));
}
