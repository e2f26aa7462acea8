/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros counted by libgcc, which has a loop for it where the processor has no instruction: what the optimiser skips rounds of (opt/skip.c). Every bit by itself, with others
 * below and above it, and 0 where that is allowed: a search by hand. */
#include <stdint.h>
#include <stdio.h>

/* As libgcc searches, but it may be asked for 0, or for other bytes than the highest. */
__attribute__((noinline)) static unsigned search(const uint64_t *words, unsigned count, unsigned from) {
    unsigned sum = 0;
    for (unsigned k = 0; k < count; k++) {
        unsigned at;
        for (at = from; at > 0; at -= 8)
            if (words[k] >> at & 0xff) break;
        sum = sum * 31 + at;
    }
    return sum;
}

int main(void) {
    static uint64_t words[256];
    unsigned count = 0;
    uint64_t random = 1;
    for (unsigned bit = 0; bit < 64; bit++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        words[count++] = 1ul << bit;
        words[count++] = (1ul << bit) | (random & ((1ul << bit) - 1));
        words[count++] = (1ul << bit) | (random << bit);
    }
    uint64_t sum = 0;
    for (int round = 0; round < 200; round++)
        for (unsigned k = 0; k < count; k++) {
            sum = sum * 3 + (unsigned)__builtin_clzll(words[k]);
            sum = sum * 5 + (unsigned)__builtin_ctzll(words[k]);
            sum = sum * 7 + (unsigned)__builtin_clz((uint32_t)words[k] | 1);
        }
    printf("%016lx\n", (unsigned long)sum);
    words[count++] = 0;
    for (unsigned from = 8; from < 64; from += 8) {
        unsigned found = 0;
        for (int round = 0; round < 50; round++) found += search(words, count, from);
        printf("%08x\n", found);
    }
    unsigned found = 0;
    for (int round = 0; round < 50; round++) found += search(words, count, 56);
    printf("%08x\n", found);
    return 0;
}
