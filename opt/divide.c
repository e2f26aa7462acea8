/* SPDX-License-Identifier: Apache-2.0 */
/* divide: division by a constant is a multiplication by its reciprocal: native compilers write it so, and gcc for rv64gc, which thinks that dividing is cheap, does not.
 *
 * With m = 2^k / d, rounded up, and e = m d - 2^k, n m / 2^k is n / d, rounded down, for all 0 <= n < 2^p if 0 < e <= 2^(k - p): it is too large by n e / (2^k d) < 1 / d. There is
 * always such a k that m has p + 1 bits at most. Negative n: m rounded up, and the product rounded down, make the quotient one too small. After Granlund and Montgomery, "Division by
 * invariant integers using multiplication".
 *
 * Condition: none. Bought: see divisors.c. */
#include "opt/rewrite.h"

typedef struct Reciprocal {
    u128 m;
    unsigned k;
} Reciprocal;

/* Of d, which is no power of two, for n < 2^p; k is `least` or more. */
static Reciprocal find_reciprocal(u64 d, unsigned p, unsigned least) {
    Reciprocal r = {.m = 0, .k = 0};
    u64 rest = 1; /* 2^k = m d + rest */
    while (r.k < least || d - rest > 1ull << (r.k - p)) {
        bool carry = rest >> 63;
        rest *= 2, r.m *= 2, r.k++;
        if (carry || rest >= d) rest -= d, r.m++;
    }
    r.m++;
    return r;
}

static u32 shift_right(Rewrite *w, IrOp op, IrType t, u32 v, unsigned by) { return rw_make_imm(w, op, t, v, by); }
static u32 multiply(Rewrite *w, IrOp op, u32 n, u64 m) { return rw_make_imm(w, op, IR_I64, n, m); }

static u32 divide_unsigned32(Rewrite *w, u32 n, u64 d) {
    Reciprocal r = find_reciprocal(d, 32, 32);
    n = rw_make_ext(w, IR_zext, 32, n);
    bool narrow = r.m >> 32 == 0;
    u32 q = narrow ? shift_right(w, IR_shr, IR_I64, multiply(w, IR_mul, n, (u64)r.m), r.k) : multiply(w, IR_mulhu, n, (u64)r.m << (64 - r.k));
    return rw_make_trunc(w, q);
}

static u32 divide_unsigned64(Rewrite *w, u32 n, u64 d) {
    Reciprocal r = find_reciprocal(d, 64, 64);
    unsigned even = (unsigned)__builtin_ctzll(d);
    if (r.m >> 64 && even) { /* n / 2^even has fewer bits */
        n = shift_right(w, IR_shr, IR_I64, n, even);
        r = find_reciprocal(d >> even, 64 - even, 64);
    }
    u32 high = multiply(w, IR_mulhu, n, (u64)r.m);
    if (!(r.m >> 64)) return shift_right(w, IR_shr, IR_I64, high, r.k - 64);
    u32 half = shift_right(w, IR_shr, IR_I64, rw_make2(w, IR_sub, IR_I64, n, high), 1); /* (n + high) / 2, without its carry */
    return shift_right(w, IR_shr, IR_I64, rw_make2(w, IR_add, IR_I64, half, high), r.k - 65);
}

static u32 divide_signed32(Rewrite *w, u32 n, u64 d) {
    Reciprocal r = find_reciprocal(d, 31, 32);
    u32 q = shift_right(w, IR_sar, IR_I64, multiply(w, IR_mul, rw_make_ext(w, IR_sext, 32, n), (u64)r.m), r.k);
    u32 low = rw_make_trunc(w, q);
    return rw_make2(w, IR_add, IR_I32, low, shift_right(w, IR_shr, IR_I32, n, 31));
}

static u32 divide_signed64(Rewrite *w, u32 n, u64 d) {
    Reciprocal r = find_reciprocal(d, 63, 64);
    u32 high = multiply(w, IR_mulhs, n, (u64)r.m);
    if (r.m >> 63) high = rw_make2(w, IR_add, IR_I64, high, n); /* m - 2^64 was meant */
    u32 q = shift_right(w, IR_sar, IR_I64, high, r.k - 64);
    return rw_make2(w, IR_add, IR_I64, q, shift_right(w, IR_shr, IR_I64, n, 63));
}

/* n / 2^by. */
static u32 divide_by_power(Rewrite *w, IrType t, u32 n, unsigned by, bool is_signed) {
    unsigned bits = t == IR_I64 ? 64 : 32;
    if (!by) return n;
    if (!is_signed) return shift_right(w, IR_shr, t, n, by);
    u32 more = shift_right(w, IR_shr, t, shift_right(w, IR_sar, t, n, bits - 1), bits - by); /* rounds towards zero */
    return shift_right(w, IR_sar, t, rw_make2(w, IR_add, t, n, more), by);
}

static u32 quotient(Rewrite *w, IrType t, u32 n, u64 c, bool is_signed) {
    unsigned bits = t == IR_I64 ? 64 : 32;
    i64 value = sext_bits(c, bits);
    bool negative = is_signed && value < 0;
    u64 d = low_bits(negative ? -(u64)value : c, bits);
    u32 q;
    if (!(d & (d - 1))) {
        q = divide_by_power(w, t, n, (unsigned)__builtin_ctzll(d), is_signed);
    } else if (d >> (bits - 1)) { /* 0 or 1 */
        q = rw_make_ext(w, IR_zext, 1, rw_make2(w, IR_leu, IR_I1, rw_constant(w, t, d), n));
        if (t == IR_I32) q = rw_make_trunc(w, q);
    } else if (is_signed) {
        q = t == IR_I64 ? divide_signed64(w, n, d) : divide_signed32(w, n, d);
    } else {
        q = t == IR_I64 ? divide_unsigned64(w, n, d) : divide_unsigned32(w, n, d);
    }
    return negative ? rw_make2(w, IR_sub, t, rw_constant(w, t, 0), q) : q;
}

u32 fold_division(Rewrite *w, const IrInsn *i, u64 c) {
    IrType t = (IrType)i->type;
    bool is_signed = i->op == IR_divs || i->op == IR_rems, rest = i->op == IR_rems || i->op == IR_remu;
    u32 n = i->a;
    if (!low_bits(c, t == IR_I64 ? 64 : 32)) return rest ? n : rw_constant(w, t, ~0ull);
    if (i->op == IR_remu && !(c & (c - 1))) return rw_make_imm(w, IR_and, t, n, c - 1);
    u32 q = quotient(w, t, n, c, is_signed);
    return rest ? rw_make2(w, IR_add, t, n, rw_make_imm(w, IR_mul, t, q, -c)) : q;
}
