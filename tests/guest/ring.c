/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of numbers of which one is taken out and another left in its place, each leading to an element of a table: what the optimiser prefetches for
 * (opt/prefetch.c). At the end numbers that lead nowhere: they are never taken out, so nobody may notice. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { RING = 8, ROUNDS = 400000, TABLE = 1 << 14 };
static uint32_t table[TABLE], ring[RING];
static uint64_t wide[RING];

__attribute__((noinline)) static uint64_t narrow_rounds(uint32_t x, int rounds) {
    uint64_t sum = 0;
    for (int k = 0; k < rounds; k++) {
        uint32_t old = ring[k % RING];
        x = x * 1664525 + 1013904223;
        ring[k % RING] = x >> 18;
        sum = sum * 3 + table[old]++;
    }
    return sum;
}

__attribute__((noinline)) static uint64_t wide_rounds(uint64_t x, int rounds, uint64_t wild) {
    uint64_t sum = 0;
    for (int k = 0; k < rounds; k++) {
        uint64_t old = wide[k % RING];
        x = x * 6364136223846793005u + 1442695040888963407u;
        wide[k % RING] = k < rounds - RING ? x >> 50 : x | wild;
        sum = sum * 5 + table[old];
    }
    return sum;
}

int main(void) {
    for (unsigned k = 0; k < TABLE; k++) table[k] = k * 2654435761u;
    printf("%016lx\n", (unsigned long)narrow_rounds(1, ROUNDS));
    printf("%016lx\n", (unsigned long)wide_rounds(1, ROUNDS, 1ul << 62));
    return 0;
}
