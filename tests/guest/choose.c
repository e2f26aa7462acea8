/* SPDX-License-Identifier: Apache-2.0 */
/* Branches over one instruction, in loops: what the optimiser makes choices between values of (opt/choose.c). Minima and maxima of all kinds of numbers, with signed zeros and
 * NaNs, and the flags that their comparisons raise. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 24, ROUNDS = 400 };

static uint64_t bits(double x) {
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return x == x ? b : 0x7ff8000000000000u; /* processors do not agree about NaNs that come out of sums */
}

#if defined(__riscv)
static void clear_flags(void) { __asm__ volatile("fsflags zero"); }
static unsigned flags_raised(void) {
    unsigned flags;
    __asm__ volatile("frflags %0" : "=r"(flags));
    return flags;
}
#else /* MXCSR: invalid, denormal, division by zero, overflow, underflow, inexact */
static void clear_flags(void) { __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~63u); }
static unsigned flags_raised(void) {
    unsigned m = __builtin_ia32_stmxcsr();
    return (m & 1) << 4 | (m >> 2 & 1) << 3 | (m >> 3 & 1) << 2 | (m >> 4 & 1) << 1 | (m >> 5 & 1);
}
#endif

#define EXTREME(name, type, condition)                                              \
    __attribute__((noinline)) static type name(const type *a, int n, type m) {      \
        for (int k = 0; k < n; k++) {                                               \
            type x = a[k];                                                          \
            if (condition) m = x;                                                   \
        }                                                                           \
        return m;                                                                   \
    }
EXTREME(least, double, x < m) EXTREME(most, double, m < x) EXTREME(last_least, double, x <= m) EXTREME(not_less, double, !(x < m)) EXTREME(same, double, x == m)
EXTREME(least_f, float, x < m) EXTREME(most_f, float, m < x)
EXTREME(least_i, int32_t, x < m) EXTREME(least_u, uint32_t, x < m) EXTREME(most_l, int64_t, m < x) EXTREME(most_s, int16_t, m < x)

__attribute__((noinline)) static uint32_t crc(uint32_t x, int n) {
    for (int k = 0; k < n; k++) x = x & 1 ? x >> 1 ^ 0xedb88320u : x >> 1;
    return x;
}

/* gcc copies the end of the inner loop into both sides (opt/join.c). */
__attribute__((noinline)) static uint16_t crc16(uint16_t x, int n) {
    for (int r = 0; r < n; r++) {
        x ^= (uint16_t)((r & 255) << 8);
        for (int k = 0; k < 8; k++) x = (uint16_t)(x & 0x8000 ? x << 1 ^ 0x1021 : x << 1);
    }
    return x;
}

__attribute__((noinline)) static int64_t two(const int32_t *a, int n, int64_t *other) {
    int64_t low = 0, high = 1;
    for (int k = 0; k < n; k++)
        if (a[k] > 0) low += a[k];
        else high ^= a[k];
    *other = high;
    return low;
}

__attribute__((noinline)) static double clamp(const double *a, int n, double sum) {
    for (int k = 0; k < n; k++) {
        double x = a[k];
        if (x < 0) x = -x;
        sum = sum * 0.5 + (x > 4 ? 4 : x);
    }
    return sum;
}

static uint64_t seed = 1;
static uint64_t next(void) { return seed = seed * 6364136223846793005u + 1442695040888963407u; }

int main(void) {
    static const double special[] = {0.0, -0.0, 1, -1, __builtin_inf(), -__builtin_inf(), __builtin_nan(""), 1e-310};
    double d[COUNT], snan;
    float f[COUNT];
    int32_t i[COUNT];
    int64_t l[COUNT], other;
    int16_t s[COUNT];
    uint64_t sum = 0, snan_bits = 0x7ff0000000000001u;
    memcpy(&snan, &snan_bits, sizeof snan);
    unsigned flags = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < COUNT; k++) {
            uint64_t r = next() >> 20;
            d[k] = r % 5 ? (double)(int64_t)(r << 30) * 1e-9 : special[r / 5 % 8];
            if (round % 50 == 49 && k == 3) d[k] = snan;
            f[k] = (float)d[k];
            i[k] = (int32_t)(r >> 7);
            l[k] = (int64_t)(r << 21);
            s[k] = (int16_t)r;
        }
        clear_flags();
        const double from[] = {0.0, -0.0, 1e300, __builtin_nan("")};
        for (int k = 0; k < 4; k++) {
            sum = sum * 3 + bits(least(d, COUNT, from[k])) + 5 * bits(most(d, COUNT, from[k])) + 7 * bits(last_least(d, COUNT, from[k]));
            sum = sum * 3 + bits(not_less(d, COUNT, from[k])) + 5 * bits(same(d, COUNT, from[k])) + bits(least_f(f, COUNT, (float)from[k])) + bits(most_f(f, COUNT, (float)from[k]));
        }
        flags = flags * 31 + flags_raised();
        sum = sum * 3 + (uint64_t)least_i(i, COUNT, 0) + least_u((uint32_t *)i, COUNT, ~0u) + (uint64_t)most_l(l, COUNT, 0) + (uint64_t)most_s(s, COUNT, -5);
        sum = sum * 3 + crc((uint32_t)sum, 24) + crc16((uint16_t)sum, 16) + (uint64_t)two(i, COUNT, &other) + (uint64_t)other;
        sum = sum * 3 + bits(clamp(d, COUNT, 1));
        if (round % 80 == 79) printf("%016lx %08x\n", (unsigned long)sum, flags);
    }
    return 0;
}
