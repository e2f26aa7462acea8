/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of several words in hot loops: carries of carries, carries that are used twice, carries added to indices and to words of 32 bits,
 * borrows, columns of products, and comparisons of the lower halves of sums that have carries. The numbers are such that carries come often.
 */
#include "t.h"

enum { WORDS = 64, COLUMNS = 4, ROUNDS = 4000 };
static uint64_t x[WORDS], y[WORDS], out[2 * WORDS + 1];
static unsigned char bytes[4096];

static void fill(uint64_t seed) {
    for (int k = 0; k < WORDS; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[k] = seed ^ seed >> 29;
        y[k] = k % 3 == 0 ? ~x[k] : k % 7 == 0 ? ~0ul : seed * 0x9e3779b97f4a7c15u;
    }
}

static uint64_t hash_out(int words) {
    uint64_t h = 0;
    for (int k = 0; k < words; k++) h = (h ^ out[k]) * 0x9e3779b97f4a7c15u;
    return h;
}

static inline uint64_t add_word(int k, uint64_t carry) {
    uint64_t s = x[k] + carry, first = s < x[k], t = s + y[k], second = t < y[k];
    out[k] = t;
    return first + second;
}

/* Four a round: the registers of carries are soon taken for something else. */
static uint64_t add_words(void) {
    uint64_t carry = 0;
    for (int k = 0; k < WORDS; k += 4) {
        carry = add_word(k, carry);
        carry = add_word(k + 1, carry);
        carry = add_word(k + 2, carry);
        carry = add_word(k + 3, carry);
    }
    return hash_out(WORDS) + carry;
}

static uint64_t subtract_words(void) {
    uint64_t borrow = 0, ripples = 0;
    for (int k = 0; k < WORDS; k++) {
        uint64_t d = x[k] - y[k], first = x[k] < y[k], t = d - borrow, second = d < borrow;
        out[k] = t;
        borrow = first + second;
        ripples = ripples * 3 + second;
    }
    return hash_out(WORDS) + borrow + ripples;
}

/* A product, column by column: three words of sum, two carries for each product. */
static void multiply(const uint64_t *a, const uint64_t *b) {
    uint64_t low = 0, middle = 0, high = 0;
    for (int k = 0; k < 2 * COLUMNS - 1; k++) {
        for (int i = k < COLUMNS ? 0 : k - COLUMNS + 1; i < COLUMNS && i <= k; i++) {
            unsigned __int128 p = (unsigned __int128)a[i] * b[k - i];
            uint64_t upper = (uint64_t)(p >> 64);
            low += (uint64_t)p;
            upper += low < (uint64_t)p;
            middle += upper;
            high += middle < upper;
        }
        out[k] = low, low = middle, middle = high, high = 0;
    }
    out[2 * COLUMNS - 1] = low;
}

static uint64_t products(void) {
    uint64_t h = 0;
    for (int k = 0; k < WORDS - COLUMNS; k++) {
        multiply(x + k, y + k);
        h = h * 31 + hash_out(2 * COLUMNS);
    }
    return h;
}

/* The carry is wanted for itself, and the upper half that it made has one, too. */
static uint64_t accumulate(void) {
    uint64_t low = 0, middle = 0, high = 0;
    for (int k = 0; k < WORDS; k++) {
        unsigned __int128 p = (unsigned __int128)x[k] * y[WORDS - 1 - k];
        low += (uint64_t)p;
        uint64_t carry = low < (uint64_t)p, upper = (uint64_t)(p >> 64) + carry;
        middle += upper;
        high += (middle < upper) + (upper < carry);
        out[k] = low ^ middle ^ high ^ carry;
    }
    return hash_out(WORDS) + high;
}

/* The carry moves an index on. */
static inline uint64_t step(int k, uint64_t at, uint64_t *h) {
    uint64_t s = x[k] + y[k], carry = s < x[k], to = at + 5 + carry;
    *h += bytes[to & 4095] ^ carry << 9;
    bytes[(at + 1) & 4095] = (unsigned char)s;
    return to;
}

static uint64_t walk(void) {
    uint64_t at = 0, h = 0;
    for (int k = 0; k < WORDS; k += 2) {
        at = step(k, at, &h);
        at = step(k + 1, at, &h);
        h *= 31;
    }
    return h ^ at;
}

/* A word of 32 bits overflows where the carry comes in. */
static uint64_t narrow(void) {
    uint64_t h = 0;
    uint32_t word = 0xfffffff0;
    for (int k = 0; k < WORDS; k++) {
        uint64_t s = x[k] + y[k], carry = s < x[k];
        word = word + (uint32_t)carry;
        h = h * 31 + (uint64_t)word + carry;
        if (k % 17 == 0) word |= 0xfffffff8;
        h ^= (uint32_t)s < (uint32_t)x[k];
    }
    return h;
}

int main(void) {
    static uint64_t (*const test[])(void) = {add_words, subtract_words, products, accumulate, walk, narrow};
    uint64_t h[6] = {0};
    for (int k = 0; k < ROUNDS; k++) {
        fill((uint64_t)k);
        for (unsigned t = 0; t < 6; t++) h[t] = h[t] * 31 + test[t]();
    }
    for (unsigned t = 0; t < 6; t++) printf("%lx\n", h[t]);
    return 0;
}
