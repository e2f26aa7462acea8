/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptography: ChaCha20, and AES by tables. */
#include "bench.h"
#define ROL(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define QUARTER(a, b, c, d)                                                                                           \
    a += b, d = ROL(d ^ a, 16), c += d, b = ROL(b ^ c, 12), a += b, d = ROL(d ^ a, 8), c += d, b = ROL(b ^ c, 7)
static void chacha(uint32_t *out, const uint32_t *in) {
    uint32_t x[16];
    memcpy(x, in, 64);
    for (int i = 0; i < 10; i++) {
        QUARTER(x[0], x[4], x[8], x[12]);
        QUARTER(x[1], x[5], x[9], x[13]);
        QUARTER(x[2], x[6], x[10], x[14]);
        QUARTER(x[3], x[7], x[11], x[15]);
        QUARTER(x[0], x[5], x[10], x[15]);
        QUARTER(x[1], x[6], x[11], x[12]);
        QUARTER(x[2], x[7], x[8], x[13]);
        QUARTER(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 16; i++) out[i] = x[i] + in[i];
}
static uint32_t t[4][256];
static void aes(uint32_t *s, const uint32_t *key) {
    for (int r = 0; r < 10; r++) {
        uint32_t n[4];
        for (int i = 0; i < 4; i++) {
            n[i] = t[0][s[i] >> 24] ^ t[1][s[(i + 1) & 3] >> 16 & 255] ^ t[2][s[(i + 2) & 3] >> 8 & 255] ^
                   t[3][s[(i + 3) & 3] & 255] ^ key[r * 4 + i];
        }
        memcpy(s, n, 16);
    }
}
int main(void) {
    uint32_t in[16], out[16], sum = 0, key[44], s[4] = {1, 2, 3, 4};
    for (int i = 0; i < 16; i++) in[i] = (uint32_t)bench_random();
    for (int i = 0; i < 44; i++) key[i] = (uint32_t)bench_random();
    for (int i = 0; i < 1024; i++) t[i >> 8][i & 255] = (uint32_t)bench_random();
    for (int n = 0; n < 600000; n++) {
        in[12]++;
        chacha(out, in);
        sum ^= out[n & 15];
    }
    for (int n = 0; n < 1000000; n++) aes(s, key);
    printf("%08x %08x\n", sum, s[0] ^ s[1] ^ s[2] ^ s[3]);
    return 0;
}
