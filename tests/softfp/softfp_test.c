/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares base/softfp with floating point that others made.
 *
 *   softfp_test host COUNT SEED           against this processor (SSE and FMA instructions), binary32 and binary64
 *   softfp_test make COUNT SEED [zfa]     writes COUNT Records to stdout, for oracle_rv
 *   softfp_test check RECORDS RESULTS     against the Results that oracle_rv gave
 *
 * Prints each of the first differences with operands, and "N passed, N failed" last.
 */
#include "base/softfp.h"
#include "tests/softfp/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xmmintrin.h>

static u64 random_state;

static u64 random_u64(void) { /* splitmix64 */
    u64 z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static u32 random_below(u32 n) { return (u32)(random_u64() % n); }

/* --- operands: where the bugs are --------------------------------------------------------- */

static const struct { int frac_bits, exp_bits, bits; } formats[] = {{10, 5, 16}, {23, 8, 32}, {52, 11, 64}};

static u64 fp_make(int t, u64 sign, u64 biased, u64 frac) {
    u64 frac_mask = ((u64)1 << formats[t].frac_bits) - 1, exp_mask = ((u64)1 << formats[t].exp_bits) - 1;
    return (sign & 1) << (formats[t].bits - 1) | (biased & exp_mask) << formats[t].frac_bits | (frac & frac_mask);
}

/* A significand of few or many ones, or a run of them: carries and ties. */
static u64 random_frac(int t) {
    int n = formats[t].frac_bits;
    switch (random_below(6)) {
    case 0: return 0;
    case 1: return ~(u64)0;
    case 2: return (u64)1 << random_below(n);
    case 3: return ~((u64)1 << random_below(n));
    case 4: return ((u64)1 << random_below(n)) - 1 + random_below(3);
    default: return random_u64();
    }
}

static u64 random_operand(int t) {
    int top = (1 << formats[t].exp_bits) - 1, bias = top / 2, n = formats[t].frac_bits;
    u64 sign = random_u64();
    switch (random_below(10)) {
    case 0: return fp_make(t, sign, 0, random_below(2) ? random_frac(t) : 0);
    case 1: return fp_make(t, sign, top, random_below(2) ? random_frac(t) : 0);
    case 2: return fp_make(t, sign, 1 + random_below(2), random_frac(t));
    case 3: return fp_make(t, sign, top - 1 - random_below(2), random_frac(t));
    case 4: return fp_make(t, sign, bias - 2 + random_below(5), random_frac(t));
    case 5: return fp_make(t, sign, bias - n - 3 + random_below(2 * n + 6), random_frac(t)); /* near integers */
    case 6: return fp_make(t, sign, bias + 28 + random_below(8), random_frac(t));
    case 7: return fp_make(t, sign, bias + 60 + random_below(8), random_frac(t));
    default: return fp_make(t, sign, random_u64(), random_frac(t));
    }
}

static u64 random_integer(void) {
    u64 x = random_u64() >> random_below(64);
    switch (random_below(4)) {
    case 0: x = ((u64)1 << random_below(64)) + random_below(3) - 1; break;
    case 1: x &= ~(u64)0 << random_below(64); break;
    case 2: x |= x >> 1 | x << 40; break;
    }
    return random_below(2) ? x : -x;
}

/* Another operand that stands in some relation to the first: sums that cancel, products at the edges. */
static u64 related_operand(int t, u64 a) {
    u64 all = formats[t].bits == 64 ? ~(u64)0 : ((u64)1 << formats[t].bits) - 1, sign = (u64)1 << (formats[t].bits - 1);
    int top = (1 << formats[t].exp_bits) - 1, biased = (int)(a >> formats[t].frac_bits) & top;
    switch (random_below(8)) {
    case 0: return a;
    case 1: return a ^ sign;
    case 2: return (a + random_below(5) - 2) & all;
    case 3: return ((a ^ sign) + random_below(5) - 2) & all;
    case 4: return fp_make(t, random_u64(), biased - formats[t].frac_bits - 2 + random_below(4), random_frac(t));
    case 5: return fp_make(t, random_u64(), top - 1 - biased + random_below(3), random_frac(t)); /* product near one */
    case 6: return fp_make(t, random_u64(), top / 2 - biased + random_below(3), random_frac(t)); /* near the least */
    default: return random_operand(t);
    }
}

static Record random_record(int op, int t) {
    Record r = {.op = op, .type = t, .rm = random_below(5), .other = random_below(4)};
    if (op == OP_CONVERT) r.other = (t + 1 + random_below(2)) % 3;
    r.a = op == OP_FROM_INT ? random_integer() : random_operand(t);
    r.b = random_below(2) && op != OP_FROM_INT ? related_operand(t, r.a) : random_operand(t);
    r.c = random_operand(t);
    if (op >= OP_FMADD && op <= OP_FNMADD && random_below(2)) { /* an addend that nearly cancels the product */
        u32 flags = 0;
        u64 product = softfp_mul(t, r.a, r.b, SOFTFP_RTZ, &flags);
        r.c = related_operand(t, product);
    }
    return r;
}

/* --- the three sides ---------------------------------------------------------------------- */

static Result ours(const Record *r) {
    u32 flags = 0;
    u64 v = 0, a = r->a, b = r->b, c = r->c;
    SoftfpType t = r->type;
    SoftfpRound rm = r->rm;
    switch (r->op) {
    case OP_ADD: v = softfp_add(t, a, b, rm, &flags); break;
    case OP_SUB: v = softfp_sub(t, a, b, rm, &flags); break;
    case OP_MUL: v = softfp_mul(t, a, b, rm, &flags); break;
    case OP_DIV: v = softfp_div(t, a, b, rm, &flags); break;
    case OP_SQRT: v = softfp_sqrt(t, a, rm, &flags); break;
    case OP_FMADD: v = softfp_fma(t, a, b, c, 0, rm, &flags); break;
    case OP_FMSUB: v = softfp_fma(t, a, b, c, SOFTFP_NEGATE_ADDEND, rm, &flags); break;
    case OP_FNMSUB: v = softfp_fma(t, a, b, c, SOFTFP_NEGATE_PRODUCT, rm, &flags); break;
    case OP_FNMADD: v = softfp_fma(t, a, b, c, SOFTFP_NEGATE_PRODUCT | SOFTFP_NEGATE_ADDEND, rm, &flags); break;
    case OP_MIN: v = softfp_min(t, a, b, &flags); break;
    case OP_MAX: v = softfp_max(t, a, b, &flags); break;
    case OP_MINM: v = softfp_minm(t, a, b, &flags); break;
    case OP_MAXM: v = softfp_maxm(t, a, b, &flags); break;
    case OP_EQ: v = softfp_eq(t, a, b, &flags); break;
    case OP_LT: v = softfp_lt(t, a, b, &flags); break;
    case OP_LE: v = softfp_le(t, a, b, &flags); break;
    case OP_LTQ: v = softfp_ltq(t, a, b, &flags); break;
    case OP_LEQ: v = softfp_leq(t, a, b, &flags); break;
    case OP_CLASS: v = softfp_class(t, a); break;
    case OP_CONVERT: v = softfp_convert(r->other, t, a, rm, &flags); break;
    case OP_TO_INT: v = softfp_to_int(r->other, t, a, rm, &flags); break;
    case OP_FROM_INT: v = softfp_from_int(t, r->other, a, rm, &flags); break;
    case OP_ROUND: v = softfp_round(t, a, rm, false, &flags); break;
    case OP_ROUNDNX: v = softfp_round(t, a, rm, true, &flags); break;
    case OP_TO_INT_MODULAR: v = softfp_to_int32_modular(a, &flags); break;
    }
    return (Result){v, flags};
}

typedef u64 HostOp(u64 a, u64 b, u64 c);

#define HOST_OP(name, text)                                                                                            \
    static u64 name(u64 a, u64 b, u64 c) {                                                                             \
        __asm__ volatile("movq %0, %%xmm0\n movq %1, %%xmm1\n movq %2, %%xmm2\n" text "\n movq %%xmm0, %0"             \
                         : "+r"(a)                                                                                     \
                         : "r"(b), "r"(c)                                                                              \
                         : "xmm0", "xmm1", "xmm2");                                                                    \
        return a;                                                                                                      \
    }
#define HOST_OP_INT(name, text)                                                                                        \
    static u64 name(u64 a, u64 b, u64 c) {                                                                             \
        __asm__ volatile(text : "+r"(a) : "r"(b), "r"(c) : "xmm0");                                                    \
        return a;                                                                                                      \
    }
#define HOST_OPS(name, mnemonic, tail) HOST_OP(name##_ss, mnemonic "ss " tail) HOST_OP(name##_sd, mnemonic "sd " tail)

HOST_OPS(host_add, "add", "%%xmm1, %%xmm0")
HOST_OPS(host_sub, "sub", "%%xmm1, %%xmm0")
HOST_OPS(host_mul, "mul", "%%xmm1, %%xmm0")
HOST_OPS(host_div, "div", "%%xmm1, %%xmm0")
HOST_OPS(host_sqrt, "sqrt", "%%xmm0, %%xmm0")
HOST_OPS(host_fmadd, "vfmadd213", "%%xmm2, %%xmm1, %%xmm0")
HOST_OPS(host_fmsub, "vfmsub213", "%%xmm2, %%xmm1, %%xmm0")
HOST_OPS(host_fnmadd, "vfnmadd213", "%%xmm2, %%xmm1, %%xmm0")
HOST_OPS(host_fnmsub, "vfnmsub213", "%%xmm2, %%xmm1, %%xmm0")
HOST_OP(host_widen, "cvtss2sd %%xmm0, %%xmm0")
HOST_OP(host_narrow, "cvtsd2ss %%xmm0, %%xmm0")
HOST_OPS(host_rint, "round", "$4, %%xmm0, %%xmm0")
HOST_OP_INT(host_from_i64_ss, "xorps %%xmm0, %%xmm0\n cvtsi2ssq %0, %%xmm0\n movq %%xmm0, %0")
HOST_OP_INT(host_from_i64_sd, "xorps %%xmm0, %%xmm0\n cvtsi2sdq %0, %%xmm0\n movq %%xmm0, %0")
HOST_OP_INT(host_to_i64_ss, "movq %0, %%xmm0\n cvtss2siq %%xmm0, %0")
HOST_OP_INT(host_to_i64_sd, "movq %0, %%xmm0\n cvtsd2siq %%xmm0, %0")

/* What the host can be asked; `other` where the operation has one. x86's fnmadd is RISC-V's fnmsub, and so on. */
static const struct {
    u8 op, type, other;
    bool fma, rounds;
    HostOp *run;
} host_ops[] = {
    {OP_ADD, SOFTFP_F32, 0, false, true, host_add_ss},
    {OP_ADD, SOFTFP_F64, 0, false, true, host_add_sd},
    {OP_SUB, SOFTFP_F32, 0, false, true, host_sub_ss},
    {OP_SUB, SOFTFP_F64, 0, false, true, host_sub_sd},
    {OP_MUL, SOFTFP_F32, 0, false, true, host_mul_ss},
    {OP_MUL, SOFTFP_F64, 0, false, true, host_mul_sd},
    {OP_DIV, SOFTFP_F32, 0, false, true, host_div_ss},
    {OP_DIV, SOFTFP_F64, 0, false, true, host_div_sd},
    {OP_SQRT, SOFTFP_F32, 0, false, true, host_sqrt_ss},
    {OP_SQRT, SOFTFP_F64, 0, false, true, host_sqrt_sd},
    {OP_FMADD, SOFTFP_F32, 0, true, true, host_fmadd_ss},
    {OP_FMADD, SOFTFP_F64, 0, true, true, host_fmadd_sd},
    {OP_FMSUB, SOFTFP_F32, 0, true, true, host_fmsub_ss},
    {OP_FMSUB, SOFTFP_F64, 0, true, true, host_fmsub_sd},
    {OP_FNMSUB, SOFTFP_F32, 0, true, true, host_fnmadd_ss},
    {OP_FNMSUB, SOFTFP_F64, 0, true, true, host_fnmadd_sd},
    {OP_FNMADD, SOFTFP_F32, 0, true, true, host_fnmsub_ss},
    {OP_FNMADD, SOFTFP_F64, 0, true, true, host_fnmsub_sd},
    {OP_CONVERT, SOFTFP_F32, SOFTFP_F64, false, true, host_widen},
    {OP_CONVERT, SOFTFP_F64, SOFTFP_F32, false, true, host_narrow},
    {OP_ROUNDNX, SOFTFP_F32, 0, false, true, host_rint_ss},
    {OP_ROUNDNX, SOFTFP_F64, 0, false, true, host_rint_sd},
    {OP_FROM_INT, SOFTFP_F32, SOFTFP_I64, false, true, host_from_i64_ss},
    {OP_FROM_INT, SOFTFP_F64, SOFTFP_I64, false, true, host_from_i64_sd},
    {OP_TO_INT, SOFTFP_F32, SOFTFP_I64, false, true, host_to_i64_ss},
    {OP_TO_INT, SOFTFP_F64, SOFTFP_I64, false, true, host_to_i64_sd},
};

static bool is_nan(int t, u64 v) {
    u64 exp_mask = ((u64)1 << formats[t].exp_bits) - 1;
    return (v >> formats[t].frac_bits & exp_mask) == exp_mask && (v & (((u64)1 << formats[t].frac_bits) - 1));
}

static bool is_inf_times_zero(int t, u64 a, u64 b) {
    u32 classes = softfp_class(t, a) | softfp_class(t, b);
    return (classes & (1 << 0 | 1 << 7)) && (classes & (1 << 3 | 1 << 4));
}

/* The host's answer in our terms: canonical NaNs, our flags, our saturation. */
static Result host_run(size_t row, const Record *r) {
    static const u32 mxcsr_rounding[] = {0, 3, 1, 2}; /* RNE RTZ RDN RUP */
    u32 saved = _mm_getcsr();
    _mm_setcsr(0x1f80 | mxcsr_rounding[r->rm] << 13);
    u64 v = host_ops[row].run(r->a, r->b, r->c);
    u32 csr = _mm_getcsr();
    _mm_setcsr(saved);
    u64 flags = (csr & 1 ? SOFTFP_NV : 0) | (csr & 4 ? SOFTFP_DZ : 0) | (csr & 8 ? SOFTFP_OF : 0) |
                (csr & 16 ? SOFTFP_UF : 0) | (csr & 32 ? SOFTFP_NX : 0);
    /* The one rule where x86 and RISC-V part: inf * 0 + quiet NaN is invalid to RISC-V only. */
    if (host_ops[row].fma && is_nan(r->type, r->c)) flags |= is_inf_times_zero(r->type, r->a, r->b) ? SOFTFP_NV : 0;
    int out = r->op == OP_CONVERT ? r->other : r->type;
    if (r->op == OP_TO_INT) {
        if (csr & 1) v = !is_nan(r->type, r->a) && r->a >> (formats[r->type].bits - 1) ? INT64_MIN : INT64_MAX;
    } else {
        if (formats[out].bits == 32) v = (u32)v;
        if (is_nan(out, v)) v = softfp_nan(out);
    }
    return (Result){v, flags};
}

/* --- comparing ---------------------------------------------------------------------------- */

static u64 passed, failed;

static void compare(const Record *r, Result want) {
    Result got = ours(r);
    if (got.value == want.value && got.flags == want.flags) {
        passed++;
    } else if (failed++ < 20) {
        printf("op %d type %d other %d rm %d a=%" PRIx64 " b=%" PRIx64 " c=%" PRIx64 ": got %" PRIx64 " flags %" PRIx64
               ", want %" PRIx64 " flags %" PRIx64 "\n",
               r->op, r->type, r->other, r->rm, r->a, r->b, r->c, got.value, got.flags, want.value, want.flags);
    }
}

static void run_host(u64 count) {
    for (u64 i = 0; i < count; i++) {
        size_t row = i % ARRAY_LEN(host_ops);
        if (host_ops[row].fma && !__builtin_cpu_supports("fma")) continue;
        Record r = random_record(host_ops[row].op, host_ops[row].type);
        r.other = host_ops[row].other;
        r.rm %= 4;
        compare(&r, host_run(row, &r));
    }
}

static void make(u64 count, bool zfa) {
    for (u64 i = 0; i < count; i++) {
        int op = (int)(i % (zfa ? OP_COUNT : OP_ZFA));
        Record r = random_record(op, op == OP_TO_INT_MODULAR ? SOFTFP_F64 : (int)random_below(3));
        fwrite(&r, sizeof(r), 1, stdout);
    }
}

static int check(const char *records, const char *results) {
    FILE *in = fopen(records, "rb"), *out = fopen(results, "rb");
    if (!in || !out) {
        perror(in ? results : records);
        return 1;
    }
    Record r;
    Result want;
    while (fread(&r, sizeof(r), 1, in) == 1) {
        if (fread(&want, sizeof(want), 1, out) != 1) {
            printf("%s: shorter than its records\n", results);
            failed++;
            break;
        }
        compare(&r, want);
    }
    fclose(in);
    fclose(out);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: softfp_test host|make COUNT SEED | check RECORDS RESULTS\n"), 2;
    random_state = strtoull(argv[3], NULL, 0);
    if (!strcmp(argv[1], "make")) {
        make(strtoull(argv[2], NULL, 0), argc > 4);
        return 0;
    }
    if (!strcmp(argv[1], "host"))
        run_host(strtoull(argv[2], NULL, 0));
    else if (check(argv[2], argv[3]))
        return 1;
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed != 0;
}
