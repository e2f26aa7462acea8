/* SPDX-License-Identifier: Apache-2.0 */
/* base/digest: bodies. Two lanes of 64-bit state; a lane takes 16 bytes at a time through a full 64 x 64 -> 128 bit multiplication
 * whose halves are folded by exclusive or. */
#include "base/digest.h"

#define ODD_1 0xc2b2ae3d27d4eb4full
#define ODD_2 0x9e3779b97f4a7c15ull
#define ODD_3 0xd6e8feb86659fd93ull

static inline u64 fold(u64 a, u64 b) {
    __extension__ unsigned __int128 p = (unsigned __int128)a * b;
    return (u64)p ^ (u64)(p >> 64);
}

static inline u64 word(const u8 *p) {
    u64 w;
    memcpy(&w, p, 8);
    return w;
}

Digest digest_bytes(Digest key, const void *data, size_t size) {
    const u8 *p = data;
    u64 a = key.lo ^ ODD_1, b = key.hi ^ ODD_2;
    for (size_t left = size; left; ) {
        u8 tail[32] = {0};
        const u8 *from = p;
        size_t n = MIN(left, (size_t)32);
        if (n < 32) from = memcpy(tail, p, n);
        a = fold(word(from) ^ ODD_2, word(from + 8) ^ a) + ODD_1;
        b = fold(word(from + 16) ^ ODD_3, word(from + 24) ^ b) + ODD_2;
        p += n, left -= n;
    }
    a ^= size;
    return (Digest){fold(a ^ ODD_3, b ^ ODD_1) ^ b, fold(a + ODD_2, b ^ ODD_3) ^ a};
}
