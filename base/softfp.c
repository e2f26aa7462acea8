/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Software floating point; see the header.
 *
 * The one idea: a finite nonzero number is sig * 2^(exp - 63) with bit 63 of sig set, so exp is the exponent of the
 * leading bit, and subnormals need no care. A result is handed to fp_pack() as a nonzero 128-bit integer and the
 * exponent of its bit 127, in any position, exact but for a sticky lowest bit far below the rounding point.
 */
#include "base/softfp.h"

typedef struct {
    int frac_bits; /* without the hidden bit */
    int bias;      /* also the greatest exponent; the least of a normal number is 1 - bias */
    int sign_bit;
} Format;

static const Format formats[] = {
    [SOFTFP_F16] = {10, 15, 15},
    [SOFTFP_F32] = {23, 127, 31},
    [SOFTFP_F64] = {52, 1023, 63},
};

typedef enum { ZERO, FINITE, INF, QNAN, SNAN } Class;

typedef struct {
    Class class;
    bool sign;
    int exp; /* of sig's bit 63; FINITE only */
    u64 sig;
} Num;

static u64 fp_infinity(const Format *f) { return (u64)(2 * f->bias + 1) << f->frac_bits; }

static u64 fp_sign(const Format *f, bool sign) { return (u64)sign << f->sign_bit; }

static u64 fp_canonical(const Format *f) { return fp_infinity(f) | (u64)1 << (f->frac_bits - 1); }

static Num fp_unpack(const Format *f, u64 bits) {
    u64 frac = bits & (((u64)1 << f->frac_bits) - 1);
    int biased = (int)(bits >> f->frac_bits) & (2 * f->bias + 1);
    Num n = {.sign = bits >> f->sign_bit & 1, .exp = biased - f->bias};
    if (biased == 2 * f->bias + 1) {
        n.class = !frac ? INF : frac >> (f->frac_bits - 1) ? QNAN : SNAN;
    } else if (biased) {
        n.class = FINITE;
        n.sig = ((u64)1 << 63) | frac << (63 - f->frac_bits);
    } else if (frac) {
        int shift = __builtin_clzll(frac);
        n.class = FINITE;
        n.sig = frac << shift;
        n.exp = 1 - f->bias + (63 - f->frac_bits) - shift;
    }
    return n;
}

static bool num_is_nan(Num n) { return n.class >= QNAN; }

/* sig >> drop, 1 <= drop, rounded to an integer; below 2^64 if drop >= 64. */
static u64 sig_round(u128 sig, int drop, bool sign, SoftfpRound rm, bool *inexact) {
    if (drop > 128) {
        drop = 128;
        sig = sig != 0; /* all of it lies far below one half */
    }
    u64 kept = drop == 128 ? 0 : (u64)(sig >> drop);
    u128 half = (u128)1 << (drop - 1);
    u128 rest = sig & (half | (half - 1));
    *inexact = rest != 0;
    switch (rm) {
    case SOFTFP_RNE: return kept + (rest > half || (rest == half && (kept & 1)));
    case SOFTFP_RTZ: return kept;
    case SOFTFP_RDN: return kept + (rest && sign);
    case SOFTFP_RUP: return kept + (rest && !sign);
    case SOFTFP_RMM: return kept + (rest >= half);
    }
    return kept;
}

static u64 fp_overflow(const Format *f, bool sign, SoftfpRound rm, u32 *flags) {
    *flags |= SOFTFP_OF | SOFTFP_NX;
    bool to_max = rm == SOFTFP_RTZ || (rm == SOFTFP_RDN && !sign) || (rm == SOFTFP_RUP && sign);
    return fp_sign(f, sign) | (fp_infinity(f) - to_max);
}

/* Round sig * 2^(exp - 127), sig nonzero, to the format. */
static u64 fp_pack(const Format *f, bool sign, int exp, u128 sig, SoftfpRound rm, u32 *flags) {
    int lead = (u64)(sig >> 64) ? __builtin_clzll((u64)(sig >> 64)) : 64 + __builtin_clzll((u64)sig);
    sig <<= lead;
    exp -= lead;

    int drop = 127 - f->frac_bits, least = 1 - f->bias;
    bool inexact, tiny = exp < least;
    if (tiny) {
        /* Tiny is what stays below the least normal number when rounded as if exponents had no end. */
        if (exp == least - 1 && sig_round(sig, drop, sign, rm, &inexact) >> (f->frac_bits + 1)) tiny = false;
        u64 frac = sig_round(sig, drop + least - exp, sign, rm, &inexact);
        if (inexact) *flags |= SOFTFP_NX | (tiny ? SOFTFP_UF : 0);
        return fp_sign(f, sign) | frac; /* a carry out of frac makes the least normal number */
    }
    u64 kept = sig_round(sig, drop, sign, rm, &inexact); /* with its hidden bit, which counts the exponent up by one */
    if (exp > f->bias) return fp_overflow(f, sign, rm, flags);
    u64 bits = ((u64)(exp + f->bias - 1) << f->frac_bits) + kept;
    if (bits >= fp_infinity(f)) return fp_overflow(f, sign, rm, flags);
    if (inexact) *flags |= SOFTFP_NX;
    return fp_sign(f, sign) | bits;
}

static u64 fp_invalid(const Format *f, u32 *flags) {
    *flags |= SOFTFP_NV;
    return fp_canonical(f);
}

/* The result of an operation with a NaN among its operands. */
static u64 fp_nan(const Format *f, Num a, Num b, u32 *flags) {
    if (a.class == SNAN || b.class == SNAN) *flags |= SOFTFP_NV;
    return fp_canonical(f);
}

/* sig >> shift with what falls out folded into bit 0. */
static u128 sig_shift_sticky(u128 sig, int shift) {
    if (shift <= 0) return sig;
    if (shift > 127) return sig != 0;
    return sig >> shift | ((sig & (((u128)1 << shift) - 1)) != 0);
}

/*
 * a + b of wide numbers: the bit 126 of each has the weight of its exponent, bit 127 is clear. Where a bit is lost to
 * the sticky one, the exponents lie so far apart that at most one leading bit cancels (the operands' low ends are
 * zero: 22 bits at least, those of a product).
 */
static u64 fp_add_wide(const Format *f, bool a_sign, int a_exp, u128 a, bool b_sign, int b_exp, u128 b, SoftfpRound rm,
                       u32 *flags) {
    int exp = a_exp > b_exp ? a_exp : b_exp;
    a = sig_shift_sticky(a, exp - a_exp);
    b = sig_shift_sticky(b, exp - b_exp);
    if (a_sign == b_sign) return fp_pack(f, a_sign, exp + 1, a + b, rm, flags);
    if (a == b) return fp_sign(f, rm == SOFTFP_RDN);
    return fp_pack(f, a > b ? a_sign : b_sign, exp + 1, a > b ? a - b : b - a, rm, flags);
}

static u128 sig_widen(Num n) { return (u128)n.sig << 63; }

static u64 fp_add(const Format *f, Num a, Num b, SoftfpRound rm, u32 *flags) {
    if (num_is_nan(a) || num_is_nan(b)) return fp_nan(f, a, b, flags);
    if (a.class == INF && b.class == INF && a.sign != b.sign) return fp_invalid(f, flags);
    if (a.class == INF) return fp_sign(f, a.sign) | fp_infinity(f);
    if (b.class == INF) return fp_sign(f, b.sign) | fp_infinity(f);
    if (a.class == ZERO && b.class == ZERO) return fp_sign(f, a.sign == b.sign ? a.sign : rm == SOFTFP_RDN);
    if (a.class == ZERO) return fp_pack(f, b.sign, b.exp, (u128)b.sig << 64, rm, flags);
    if (b.class == ZERO) return fp_pack(f, a.sign, a.exp, (u128)a.sig << 64, rm, flags);
    return fp_add_wide(f, a.sign, a.exp, sig_widen(a), b.sign, b.exp, sig_widen(b), rm, flags);
}

u64 softfp_nan(SoftfpType t) { return fp_canonical(&formats[t]); }

u64 softfp_add(SoftfpType t, u64 a, u64 b, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[t];
    return fp_add(f, fp_unpack(f, a), fp_unpack(f, b), rm, flags);
}

u64 softfp_sub(SoftfpType t, u64 a, u64 b, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[t];
    return fp_add(f, fp_unpack(f, a), fp_unpack(f, b ^ fp_sign(f, true)), rm, flags);
}

u64 softfp_mul(SoftfpType t, u64 a_bits, u64 b_bits, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[t];
    Num a = fp_unpack(f, a_bits), b = fp_unpack(f, b_bits);
    bool sign = a.sign ^ b.sign;
    if (num_is_nan(a) || num_is_nan(b)) return fp_nan(f, a, b, flags);
    if (a.class == INF || b.class == INF) {
        if (a.class == ZERO || b.class == ZERO) return fp_invalid(f, flags);
        return fp_sign(f, sign) | fp_infinity(f);
    }
    if (a.class == ZERO || b.class == ZERO) return fp_sign(f, sign);
    return fp_pack(f, sign, a.exp + b.exp + 1, (u128)a.sig * b.sig, rm, flags);
}

u64 softfp_div(SoftfpType t, u64 a_bits, u64 b_bits, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[t];
    Num a = fp_unpack(f, a_bits), b = fp_unpack(f, b_bits);
    bool sign = a.sign ^ b.sign;
    if (num_is_nan(a) || num_is_nan(b)) return fp_nan(f, a, b, flags);
    if (a.class == b.class && a.class != FINITE) return fp_invalid(f, flags);
    if (a.class == INF) return fp_sign(f, sign) | fp_infinity(f);
    if (a.class == ZERO || b.class == INF) return fp_sign(f, sign);
    if (b.class == ZERO) {
        *flags |= SOFTFP_DZ;
        return fp_sign(f, sign) | fp_infinity(f);
    }
    /* The quotient has 63 or 64 bits; its bit 63 weighs 2^(a.exp - b.exp). */
    u128 quotient = sig_widen(a) / b.sig, rest = sig_widen(a) % b.sig;
    return fp_pack(f, sign, a.exp - b.exp, quotient << 64 | (rest != 0), rm, flags);
}

/* The integer square root, digit by digit; *exact tells whether nothing remains. */
static u64 sqrt_u128(u128 n, bool *exact) {
    u128 root = 0;
    for (u128 bit = (u128)1 << 126; bit; bit >>= 2) {
        if (n >= root + bit) {
            n -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    *exact = n == 0;
    return (u64)root;
}

u64 softfp_sqrt(SoftfpType t, u64 a_bits, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[t];
    Num a = fp_unpack(f, a_bits);
    if (num_is_nan(a)) return fp_nan(f, a, a, flags);
    if (a.class == ZERO) return fp_sign(f, a.sign);
    if (a.sign) return fp_invalid(f, flags);
    if (a.class == INF) return fp_infinity(f);
    bool exact, odd = a.exp & 1;
    u64 root = sqrt_u128(sig_widen(a) << odd, &exact);
    return fp_pack(f, false, (a.exp - odd) / 2, (u128)root << 64 | !exact, rm, flags);
}

u64 softfp_fma(SoftfpType t, u64 a_bits, u64 b_bits, u64 c_bits, int negate, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[t];
    Num a = fp_unpack(f, a_bits), b = fp_unpack(f, b_bits), c = fp_unpack(f, c_bits);
    bool sign = a.sign ^ b.sign ^ !!(negate & SOFTFP_NEGATE_PRODUCT);
    c.sign ^= !!(negate & SOFTFP_NEGATE_ADDEND);
    if ((a.class == INF && b.class == ZERO) || (a.class == ZERO && b.class == INF)) return fp_invalid(f, flags);
    if (num_is_nan(a) || num_is_nan(b) || num_is_nan(c)) {
        if (c.class == SNAN) *flags |= SOFTFP_NV;
        return fp_nan(f, a, b, flags);
    }
    if (a.class == INF || b.class == INF) {
        if (c.class == INF && c.sign != sign) return fp_invalid(f, flags);
        return fp_sign(f, sign) | fp_infinity(f);
    }
    if (a.class == ZERO || b.class == ZERO) return fp_add(f, (Num){.class = ZERO, .sign = sign}, c, rm, flags);
    if (c.class == INF) return fp_sign(f, c.sign) | fp_infinity(f);
    u128 product = (u128)a.sig * b.sig;
    if (c.class == ZERO) return fp_pack(f, sign, a.exp + b.exp + 1, product, rm, flags);
    return fp_add_wide(f, sign, a.exp + b.exp + 1, product >> 1, c.sign, c.exp, sig_widen(c), rm, flags);
}

/* -1, 0, 1: the order of two numbers, neither of them NaN; zeros are equal. */
static int fp_order(const Format *f, u64 a, u64 b) {
    u64 sign = fp_sign(f, true), mask = sign | (sign - 1);
    i64 x = (i64)(a & mask & ~sign), y = (i64)(b & mask & ~sign);
    if (a & sign) x = -x;
    if (b & sign) y = -y;
    return (x > y) - (x < y);
}

/* Which of two numbers is the less, with -0 below +0. */
static u64 fp_less(const Format *f, u64 a, u64 b, bool greater) {
    u64 sign = fp_sign(f, true), mask = sign | (sign - 1);
    int order = fp_order(f, a, b);
    bool a_less = order ? order < 0 : (a & sign) != 0;
    return (a_less != greater ? a : b) & mask;
}

static u64 fp_extremum(SoftfpType t, u64 a, u64 b, bool greater, bool nan_wins, u32 *flags) {
    const Format *f = &formats[t];
    Num x = fp_unpack(f, a), y = fp_unpack(f, b);
    u64 sign = fp_sign(f, true), mask = sign | (sign - 1);
    if (!num_is_nan(x) && !num_is_nan(y)) return fp_less(f, a, b, greater);
    u64 nan = fp_nan(f, x, y, flags);
    if (nan_wins || (num_is_nan(x) && num_is_nan(y))) return nan;
    return (num_is_nan(x) ? b : a) & mask;
}

u64 softfp_min(SoftfpType t, u64 a, u64 b, u32 *flags) { return fp_extremum(t, a, b, false, false, flags); }
u64 softfp_max(SoftfpType t, u64 a, u64 b, u32 *flags) { return fp_extremum(t, a, b, true, false, flags); }
u64 softfp_minm(SoftfpType t, u64 a, u64 b, u32 *flags) { return fp_extremum(t, a, b, false, true, flags); }
u64 softfp_maxm(SoftfpType t, u64 a, u64 b, u32 *flags) { return fp_extremum(t, a, b, true, true, flags); }

/* Whether neither operand is NaN; raises invalid as a quiet or a signaling comparison does. */
static bool fp_ordered(const Format *f, u64 a, u64 b, bool signaling, u32 *flags) {
    Num x = fp_unpack(f, a), y = fp_unpack(f, b);
    if (!num_is_nan(x) && !num_is_nan(y)) return true;
    if (signaling || x.class == SNAN || y.class == SNAN) *flags |= SOFTFP_NV;
    return false;
}

bool softfp_eq(SoftfpType t, u64 a, u64 b, u32 *flags) {
    return fp_ordered(&formats[t], a, b, false, flags) && fp_order(&formats[t], a, b) == 0;
}
bool softfp_lt(SoftfpType t, u64 a, u64 b, u32 *flags) {
    return fp_ordered(&formats[t], a, b, true, flags) && fp_order(&formats[t], a, b) < 0;
}
bool softfp_le(SoftfpType t, u64 a, u64 b, u32 *flags) {
    return fp_ordered(&formats[t], a, b, true, flags) && fp_order(&formats[t], a, b) <= 0;
}
bool softfp_ltq(SoftfpType t, u64 a, u64 b, u32 *flags) {
    return fp_ordered(&formats[t], a, b, false, flags) && fp_order(&formats[t], a, b) < 0;
}
bool softfp_leq(SoftfpType t, u64 a, u64 b, u32 *flags) {
    return fp_ordered(&formats[t], a, b, false, flags) && fp_order(&formats[t], a, b) <= 0;
}

u32 softfp_class(SoftfpType t, u64 bits) {
    const Format *f = &formats[t];
    Num a = fp_unpack(f, bits);
    bool subnormal = a.exp < 1 - f->bias;
    switch (a.class) {
    case ZERO: return a.sign ? 1 << 3 : 1 << 4;
    case FINITE: return a.sign ? (subnormal ? 1 << 2 : 1 << 1) : (subnormal ? 1 << 5 : 1 << 6);
    case INF: return a.sign ? 1 << 0 : 1 << 7;
    case SNAN: return 1 << 8;
    case QNAN: return 1 << 9;
    }
    return 0;
}

u64 softfp_convert(SoftfpType to, SoftfpType from, u64 bits, SoftfpRound rm, u32 *flags) {
    const Format *f = &formats[to];
    Num a = fp_unpack(&formats[from], bits);
    if (num_is_nan(a)) return fp_nan(f, a, a, flags);
    if (a.class == INF) return fp_sign(f, a.sign) | fp_infinity(f);
    if (a.class == ZERO) return fp_sign(f, a.sign);
    return fp_pack(f, a.sign, a.exp, (u128)a.sig << 64, rm, flags);
}

static const struct {
    u64 most;       /* the greatest value */
    u64 least_size; /* the magnitude of the least value */
    bool is_32;
} int_types[] = {
    [SOFTFP_I32] = {INT32_MAX, (u64)1 << 31, true},
    [SOFTFP_U32] = {UINT32_MAX, 0, true},
    [SOFTFP_I64] = {INT64_MAX, (u64)1 << 63, false},
    [SOFTFP_U64] = {UINT64_MAX, 0, false},
};

static u64 int_canonical(SoftfpInt type, u64 value) { return int_types[type].is_32 ? (u64)(i64)(i32)value : value; }

static u64 int_saturated(SoftfpInt type, bool least, u32 *flags) {
    *flags |= SOFTFP_NV;
    return int_canonical(type, least ? -int_types[type].least_size : int_types[type].most);
}

u64 softfp_to_int(SoftfpInt to, SoftfpType t, u64 bits, SoftfpRound rm, u32 *flags) {
    Num a = fp_unpack(&formats[t], bits);
    if (num_is_nan(a)) return int_saturated(to, false, flags);
    if (a.class == ZERO) return 0;
    if (a.class == INF || a.exp > 63) return int_saturated(to, a.sign, flags);
    bool inexact;
    u64 size = sig_round((u128)a.sig << 64, 127 - a.exp, a.sign, rm, &inexact);
    if (size > (a.sign ? int_types[to].least_size : int_types[to].most)) return int_saturated(to, a.sign, flags);
    if (inexact) *flags |= SOFTFP_NX;
    return int_canonical(to, a.sign ? -size : size);
}

u64 softfp_from_int(SoftfpType t, SoftfpInt from, u64 a, SoftfpRound rm, u32 *flags) {
    if (from == SOFTFP_U32)
        a = (u32)a;
    else
        a = int_canonical(from, a);
    bool sign = int_types[from].least_size && (i64)a < 0;
    if (sign) a = -a;
    return a ? fp_pack(&formats[t], sign, 63, (u128)a << 64, rm, flags) : 0;
}

u64 softfp_round(SoftfpType t, u64 bits, SoftfpRound rm, bool exact, u32 *flags) {
    const Format *f = &formats[t];
    Num a = fp_unpack(f, bits);
    u64 sign = fp_sign(f, true);
    if (num_is_nan(a)) return fp_nan(f, a, a, flags);
    if (a.class != FINITE || a.exp >= f->frac_bits) return bits & (sign | (sign - 1));
    bool inexact;
    u64 size = sig_round((u128)a.sig << 64, 127 - a.exp, a.sign, rm, &inexact);
    if (inexact && exact) *flags |= SOFTFP_NX;
    if (!size) return fp_sign(f, a.sign);
    return fp_pack(f, a.sign, 63, (u128)size << 64, rm, flags); /* exact */
}

u64 softfp_to_int32_modular(u64 bits, u32 *flags) {
    Num a = fp_unpack(&formats[SOFTFP_F64], bits);
    softfp_to_int(SOFTFP_I32, SOFTFP_F64, bits, SOFTFP_RTZ, flags);
    if (a.class != FINITE || a.exp < 0 || a.exp > 63 + 32) return 0;
    u64 size = a.exp <= 63 ? a.sig >> (63 - a.exp) : a.sig << (a.exp - 63);
    return int_canonical(SOFTFP_I32, a.sign ? -size : size);
}
