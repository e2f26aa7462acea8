/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptography: SHA-256. */
#include "bench.h"
static uint32_t k[64], h[8];
#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
static void block(const uint8_t *p) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (ROR(a, 7) ^ ROR(a, 18) ^ a >> 3) + w[i - 7] + (ROR(b, 17) ^ ROR(b, 19) ^ b >> 10);
    }
    memcpy(s, h, sizeof(s));
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t1 = s[7] + (ROR(e, 6) ^ ROR(e, 11) ^ ROR(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        uint32_t t2 = (ROR(a, 2) ^ ROR(a, 13) ^ ROR(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + t1, s[3] = s[2], s[2] = s[1], s[1] = a, s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}
int main(void) {
    static uint8_t data[1 << 16];
    for (int i = 0; i < 64; i++) k[i] = (uint32_t)bench_random(); /* any constants will do */
    for (int i = 0; i < 8; i++) h[i] = (uint32_t)bench_random();
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (uint8_t)bench_random();
    for (int t = 0; t < 500; t++)
        for (size_t i = 0; i < sizeof(data); i += 64) block(data + i);
    for (int i = 0; i < 8; i++) printf("%08x", h[i]);
    puts("");
    return 0;
}
