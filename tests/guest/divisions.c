/* SPDX-License-Identifier: Apache-2.0 */
/* Divisions by constants, and by variables that stay the same for a long time and then change, in hot loops: what the optimiser makes multiplications of (opt/divide.c,
 * opt/divisors.c). Of numbers around multiples of the divisor, and around powers of two, where a reciprocal that is not exact enough goes wrong. */
#include <stdint.h>
#include <stdio.h>

enum { NUMBERS = 96, ROUNDS = 120 };

static uint64_t numbers[NUMBERS];

static void choose_numbers(uint64_t d, uint64_t seed) {
    for (int k = 0; k < NUMBERS; k++) {
        static const int power[] = {8, 16, 31, 32, 33, 62, 63, 0};
        uint64_t top = power[k & 7] ? 1ull << power[k & 7] : 0; /* 0: 2^64 */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t n = k < 64 ? top - 1 : seed >> (seed & 63);
        if (k & 8) n = n / d * d;
        if (k & 16) n--;
        numbers[k] = k & 32 ? -n : n;
    }
}

/* All kinds of division by d, a constant where this is inlined. */
#define LOW(d) ((uint32_t)(d) ? (uint32_t)(d) : 3u)
#define IS_NEGATED(d) ((int64_t)(d) == -1 || (int32_t)LOW(d) == -1) /* the least number has no opposite */
#define ALL(d)                                                                                                                  \
    for (int k = 0; k < NUMBERS; k++) {                                                                                         \
        uint64_t n = numbers[k];                                                                                                \
        h = h * 31 + n / (uint64_t)(d), h = h * 31 + n % (uint64_t)(d);                                                         \
        h = h * 31 + (uint32_t)n / LOW(d), h = h * 31 + (uint32_t)n % LOW(d);                                                   \
        if (IS_NEGATED(d)) continue;                                                                                            \
        h = h * 31 + (uint64_t)((int64_t)n / (int64_t)(d)), h = h * 31 + (uint64_t)((int64_t)n % (int64_t)(d));                 \
        h = h * 31 + (uint64_t)((int32_t)n / (int32_t)LOW(d)), h = h * 31 + (uint64_t)((int32_t)n % (int32_t)LOW(d));           \
    }

#define CONSTANTS(C)                                                                                                                \
    C(1) C(2) C(3) C(5) C(6) C(7) C(9) C(10) C(11) C(12) C(14) C(25) C(28) C(60) C(64) C(97) C(100) C(125) C(127) C(128) C(255) C(256) C(625) C(641) \
    C(1000) C(1000000007) C(1000000000) C(0x7fffffff) C(0x80000000) C(0x80000001) C(0xfffffffe) C(0xffffffff) C(0x100000000) C(0x100000001)          \
    C(998244353) C(6700417) C(274177) C(67280421310721) C(0x7fffffffffffffff) C(0x8000000000000000) C(0x8000000000000001) C(0xfffffffffffffffe)       \
    C(-2) C(-3) C(-5) C(-7) C(-10) C(-1000) C(-1000000007) C(-2147483648ll) C(-4294967297ll)

#define BY_CONSTANT(d)                                             \
    choose_numbers((uint64_t)(d), (uint64_t)(d));                  \
    for (int round = 0; round < ROUNDS; round++) { ALL(d) }        \
    printf("%lx: %016lx\n", (unsigned long)(uint64_t)(d), (unsigned long)h);

__attribute__((noinline)) static uint64_t by_variable(uint64_t d, uint64_t h) {
    ALL(d)
    return h;
}

/* A quotient that is divided again, and by itself. */
__attribute__((noinline)) static uint64_t digits(uint64_t n, uint64_t base, uint64_t h) {
    do {
        h = h * 33 + n % base;
        n /= base;
    } while (n);
    return h;
}

/* Quotient and remainder one after the other, as the processor says also where C does not. */
#if defined(__riscv)
#define PAIR(name, first, second)                                                                                                             \
    static uint64_t name(uint64_t n, uint64_t d) {                                                                                            \
        uint64_t x, y, z;                                                                                                                     \
        __asm__ volatile(#first " %0, %3, %4\nadd %2, %0, %3\n" #second " %1, %3, %4\n" : "=&r"(x), "=&r"(y), "=&r"(z) : "r"(n), "r"(d)); \
        return x * 31 + y * 7 + z;                                                                                                            \
    }
#else
#define DIV(type, n, d) (!(type)(d) ? (type)-1 : (type)(d) == (type)-1 && (type)-1 < 1 ? (type)(0 - (uint64_t)(n)) : (type)(n) / (type)(d))
#define REM(type, n, d) (!(type)(d) ? (type)(n) : (type)(d) == (type)-1 && (type)-1 < 1 ? 0 : (type)(n) % (type)(d))
#define div(n, d) (uint64_t)DIV(int64_t, n, d)
#define rem(n, d) (uint64_t)REM(int64_t, n, d)
#define divu(n, d) DIV(uint64_t, n, d)
#define remu(n, d) REM(uint64_t, n, d)
#define divw(n, d) (uint64_t)DIV(int32_t, n, d)
#define remw(n, d) (uint64_t)REM(int32_t, n, d)
#define divuw(n, d) (uint64_t)(int32_t)DIV(uint32_t, n, d)
#define remuw(n, d) (uint64_t)(int32_t)REM(uint32_t, n, d)
#define PAIR(name, first, second) \
    static uint64_t name(uint64_t n, uint64_t d) { return first(n, d) * 31 + second(n, d) * 7 + first(n, d) + n; }
#endif
PAIR(pair0, div, rem) PAIR(pair1, rem, div) PAIR(pair2, divu, remu) PAIR(pair3, remu, divu)
PAIR(pair4, divw, remw) PAIR(pair5, remw, divw) PAIR(pair6, divuw, remuw) PAIR(pair7, remuw, divuw)
PAIR(pair8, div, remu) PAIR(pair9, divw, rem)

static uint64_t pairs(uint64_t h) {
    static const uint64_t special[] = {0, 1, 2, 7, 1u << 31, 0xffffffff, 1ull << 32, 1ull << 63, -1ull, -7ull, 0xffffffff80000000, 1234567890123, 0x80000001};
    for (unsigned j = 0; j < sizeof special / sizeof *special; j++)
        for (unsigned k = 0; k < sizeof special / sizeof *special; k++) {
            uint64_t n = special[j], d = special[k];
            h = h * 3 + pair0(n, d) + 3 * pair1(n, d) + 5 * pair2(n, d) + 7 * pair3(n, d) + 9 * pair4(n, d);
            h = h * 3 + pair5(n, d) + 3 * pair6(n, d) + 5 * pair7(n, d) + 7 * pair8(n, d) + 9 * pair9(n, d);
        }
    return h;
}

int main(void) {
    static const uint64_t divisors[] = {10, 1000000007, 3, (uint64_t)-7, 641, 1ull << 32, 7, 0x8000000000000001};
    uint64_t h = 1;
    CONSTANTS(BY_CONSTANT)
    for (unsigned k = 0; k < sizeof divisors / sizeof *divisors; k++) {
        choose_numbers(divisors[k], k);
        for (int round = 0; round < 4 * ROUNDS; round++) h = by_variable(divisors[k], h);
        for (int round = 0; round < 40 * ROUNDS; round++) h = digits(numbers[round % NUMBERS], divisors[k] & 1023 ? (divisors[k] & 1023) + 1 : 16, h);
        printf("%016lx\n", (unsigned long)h);
    }
    for (int k = 0; k < 40; k++) printf("%016lx\n", (unsigned long)pairs((uint64_t)k));
    return 0;
}
