/* SPDX-License-Identifier: Apache-2.0 */
/* Multiplication and division: modular powers, gcds, prime tests, 128-bit products. */
#include "bench.h"
static uint64_t mulmod(uint64_t a, uint64_t b, uint64_t m) { return a % m * (b % m) % m; }
static uint64_t power(uint64_t a, uint64_t e, uint64_t m) {
    uint64_t r = 1;
    for (; e; e >>= 1, a = mulmod(a, a, m)) if (e & 1) r = mulmod(r, a, m);
    return r;
}
static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}
int main(void) {
    uint64_t sum = 0;
    for (uint32_t i = 3; i < 160000; i += 2) sum += power(2, i - 1, i) == 1;
    for (int i = 0; i < 300000; i++) sum += gcd(bench_random() >> 8, bench_random() >> 8);
    uint64_t h = 1;
    for (int i = 0; i < 20000000; i++) {
        unsigned __int128 p = (unsigned __int128)(h + i) * 0x9e3779b97f4a7c15ull;
        h = (uint64_t)p ^ (uint64_t)(p >> 64);
    }
    uint32_t s = 1;
    for (int32_t i = 1; i < 12000000; i++) s += (uint32_t)((int32_t)h / i + (int32_t)(s >> 1) % (i + 1) * 3);
    printf("%llx %llx %u\n", (unsigned long long)sum, (unsigned long long)h, s);
    return 0;
}
