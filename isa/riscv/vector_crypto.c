/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions for ciphers [unpriv zvk]: they work on groups of four or eight elements, which lie side by side. */
#include "isa/riscv/vector_impl.h"

/* --- groups --------------------------------------------------------------------------------------------------------------------- */

typedef struct Block { /* 128 bits */
    u64 low, high;
} Block;

typedef Block BlockOp(const Vec *i, Block d, Block a, Block b);

static Block block_read(const Vec *i, unsigned reg, u32 group) {
    Block b;
    memcpy(&b, i->s->v[reg] + group * sizeof b, sizeof b);
    return b;
}
static Block block_xor(Block a, Block b) { return (Block){a.low ^ b.low, a.high ^ b.high}; }

/* Every group of four words: vd = op(vd, vs2, vs1). A .vs form takes its first group of vs2 for all. */
static void each_block(const Vec *i, BlockOp *op) {
    for (u32 group = i->start / 4; group < i->vl / 4; group++) {
        Block a = block_read(i, i->vs2, i->row->a == RVV_GROUP ? 0 : group);
        Block b = i->vector ? block_read(i, i->vs1, group) : a;
        Block out = op(i, block_read(i, i->vd, group), a, b);
        memcpy(i->s->v[i->vd] + group * sizeof out, &out, sizeof out);
    }
}

typedef struct Words {
    u32 w[4];
} Words;
static Words words_of(Block b) { return (Words){{(u32)b.low, (u32)(b.low >> 32), (u32)b.high, (u32)(b.high >> 32)}}; }
static Block block_of(u32 a, u32 b, u32 c, u32 d) { return (Block){a | (u64)b << 32, c | (u64)d << 32}; }

static u32 rol32(u32 v, unsigned n) { return v << (n & 31) | v >> (-n & 31); }

/* --- AES [FIPS 197] -------------------------------------------------------------------------------------------------------------- */

/* A step that gives the low half of a state; the high half is the low one of the state with its columns turned by two. */
static Block aes_step(CryptoOp op, Block s) { return (Block){ir_eval_crypto(op, s.low, s.high), ir_eval_crypto(op, s.high, s.low)}; }

static Block aes_middle(const Vec *i, Block d, Block a, Block b) { return block_xor(aes_step(CRYPTO_AES, d), a); }
static Block aes_last(const Vec *i, Block d, Block a, Block b) { return block_xor(aes_step(CRYPTO_AES_LAST, d), a); }
static Block unaes_middle(const Vec *i, Block d, Block a, Block b) {
    return aes_step(CRYPTO_AES_UNMIX, block_xor(aes_step(CRYPTO_UNAES_LAST, d), a));
}
static Block unaes_last(const Vec *i, Block d, Block a, Block b) { return block_xor(aes_step(CRYPTO_UNAES_LAST, d), a); }
static Block aes_zero(const Vec *i, Block d, Block a, Block b) { return block_xor(d, a); }

void vec_run_aesem(const Vec *i) { each_block(i, aes_middle); }
void vec_run_aesef(const Vec *i) { each_block(i, aes_last); }
void vec_run_aesdm(const Vec *i) { each_block(i, unaes_middle); }
void vec_run_aesdf(const Vec *i) { each_block(i, unaes_last); }
void vec_run_aesz(const Vec *i) { each_block(i, aes_zero); }

/* The substituted last word of a key, turned and with the constant of this number (0..9), or neither (10). */
static u32 key_word(Block key, unsigned constant) { return (u32)ir_eval_crypto(CRYPTO_AES_KEY | constant << 4, key.high, key.high); }

/* The next four words of a schedule: each is the sum of the one before and the one that was four, or eight, words ago. */
static Block key_chain(u32 first, Block ago) {
    Words k = words_of(ago);
    u32 w0 = first ^ k.w[0], w1 = w0 ^ k.w[1], w2 = w1 ^ k.w[2];
    return block_of(w0, w1, w2, w2 ^ k.w[3]);
}

static Block key_128(const Vec *i, Block d, Block a, Block b) {
    unsigned round = i->vs1 & 15;
    if (round == 0 || round > 10) round ^= 8;
    return key_chain(key_word(a, round - 1), a);
}
static Block key_256(const Vec *i, Block d, Block a, Block b) {
    unsigned round = i->vs1 & 15;
    if (round < 2 || round > 14) round ^= 8;
    return key_chain(key_word(a, round & 1 ? 10 : round / 2 - 1), d);
}
void vec_run_aeskf1(const Vec *i) { each_block(i, key_128); }
void vec_run_aeskf2(const Vec *i) { each_block(i, key_256); }

/* --- GHASH [NIST SP 800-38D] ------------------------------------------------------------------------------------------------------- */

static u64 reverse_in_bytes(u64 v) {
    v = (v >> 1 & 0x5555555555555555ull) | (v & 0x5555555555555555ull) << 1;
    v = (v >> 2 & 0x3333333333333333ull) | (v & 0x3333333333333333ull) << 2;
    return (v >> 4 & 0x0f0f0f0f0f0f0f0full) | (v & 0x0f0f0f0f0f0f0f0full) << 4;
}
/* Between the order of bits in memory, and bit n for u^n. */
static Block block_reverse(Block b) { return (Block){reverse_in_bytes(b.low), reverse_in_bytes(b.high)}; }

static Block clmul(u64 a, u64 b) { return (Block){ir_eval_crypto(CRYPTO_CLMUL, a, b), ir_eval_crypto(CRYPTO_CLMULH, a, b)}; }

/* Times x^7 + x^2 + x + 1, which x^128 is: a polynomial of 64 terms. */
static Block times_rest(u64 v) { return (Block){v ^ v << 1 ^ v << 2 ^ v << 7, v >> 63 ^ v >> 62 ^ v >> 57}; }

/* The product of 256 bits by three of 64 bits [Karatsuba], and what lies above 128 bits folded down twice. */
static Block gcm_multiply(Block x, Block y) {
    Block low = clmul(x.low, y.low), high = clmul(x.high, y.high);
    Block middle = block_xor(block_xor(clmul(x.low ^ x.high, y.low ^ y.high), low), high);
    low.high ^= middle.low;
    high.low ^= middle.high;
    Block fold = times_rest(high.high);
    low.high ^= fold.low;
    high.low ^= fold.high;
    return block_xor(low, times_rest(high.low));
}

static Block ghash(const Vec *i, Block d, Block a, Block b) {
    return block_reverse(gcm_multiply(block_reverse(block_xor(d, b)), block_reverse(a)));
}
static Block gmul(const Vec *i, Block d, Block a, Block b) { return block_reverse(gcm_multiply(block_reverse(d), block_reverse(a))); }
void vec_run_ghsh(const Vec *i) { each_block(i, ghash); }
void vec_run_gmul(const Vec *i) { each_block(i, gmul); }

/* --- SHA-2 [FIPS 180-4] -------------------------------------------------------------------------------------------------------------- */

/* The two functions of rotations and one shift or rotation: by SEW, the numbers of the standard. */
typedef struct Sigma {
    u8 first, second, third;
    bool shift; /* the third */
} Sigma;
enum { SUM0, SUM1, SIG0, SIG1 };
static const Sigma sigmas[4][2] = {
    [SUM0] = {{2, 13, 22, false}, {28, 34, 39, false}},
    [SUM1] = {{6, 11, 25, false}, {14, 18, 41, false}},
    [SIG0] = {{7, 18, 3, true}, {1, 8, 7, true}},
    [SIG1] = {{17, 19, 10, true}, {19, 61, 6, true}},
};

/* Of 32 or 64 bits. */
static u64 rotate_right(u64 v, unsigned n, bool wide) { return wide ? v >> n | v << (64 - n) : rol32((u32)v, 32 - n); }
static u64 sigma(unsigned which, u64 v, bool wide) {
    const Sigma *s = &sigmas[which][wide];
    u64 third = s->shift ? v >> s->third : rotate_right(v, s->third, wide);
    return rotate_right(v, s->first, wide) ^ rotate_right(v, s->second, wide) ^ third;
}
static u64 cut(u64 v, bool wide) { return wide ? v : (u32)v; }

typedef struct Four {
    u64 w[4];
} Four;
static Four four_read(const Vec *i, unsigned reg, u32 first) {
    Four f;
    for (u32 k = 0; k < 4; k++) f.w[k] = vec_get(i->s->v[reg], i->sew, first + k);
    return f;
}
static void four_write(const Vec *i, u32 first, Four f) {
    for (u32 k = 0; k < 4; k++) vec_put(i->s->v[i->vd], i->sew, first + k, f.w[k]);
}

void vec_run_sha2ms(const Vec *i) {
    bool wide = i->sew == 3;
    for (u32 k = i->start; k < i->vl; k += 4) {
        /* words 0..3; 4 9 10 11; 12 - 14 15 */
        Four d = four_read(i, i->vd, k), a = four_read(i, i->vs2, k), b = four_read(i, i->vs1, k), out;
        out.w[0] = cut(sigma(SIG1, b.w[2], wide) + a.w[1] + sigma(SIG0, d.w[1], wide) + d.w[0], wide);
        out.w[1] = cut(sigma(SIG1, b.w[3], wide) + a.w[2] + sigma(SIG0, d.w[2], wide) + d.w[1], wide);
        out.w[2] = cut(sigma(SIG1, out.w[0], wide) + a.w[3] + sigma(SIG0, d.w[3], wide) + d.w[2], wide);
        out.w[3] = cut(sigma(SIG1, out.w[1], wide) + b.w[0] + sigma(SIG0, a.w[0], wide) + d.w[3], wide);
        four_write(i, k, out);
    }
}

/* One round. *s: f e b a, *t: h g d c; afterwards these are t and s of the next one. */
static void sha2_round(Four *s, Four *t, u64 w, bool wide) {
    u64 f = s->w[0], e = s->w[1], b = s->w[2], a = s->w[3], h = t->w[0], g = t->w[1], d = t->w[2], c = t->w[3];
    u64 t1 = h + sigma(SUM1, e, wide) + ((e & f) ^ (~e & g)) + w;
    u64 t2 = sigma(SUM0, a, wide) + ((a & b) ^ (a & c) ^ (b & c));
    *s = (Four){{e, cut(d + t1, wide), a, cut(t1 + t2, wide)}};
    *t = (Four){{g, f, c, b}};
}

static void sha2_compress(const Vec *i, unsigned first) {
    bool wide = i->sew == 3;
    for (u32 k = i->start; k < i->vl; k += 4) {
        Four s = four_read(i, i->vs2, k), t = four_read(i, i->vd, k), w = four_read(i, i->vs1, k);
        sha2_round(&s, &t, w.w[first], wide);
        sha2_round(&s, &t, w.w[first + 1], wide);
        four_write(i, k, s);
    }
}
void vec_run_sha2cl(const Vec *i) { sha2_compress(i, 0); }
void vec_run_sha2ch(const Vec *i) { sha2_compress(i, 2); }

/* --- SM3 [GB/T 32905-2016]; words in memory are big-endian ---------------------------------------------------------------------------- */

typedef struct Eight {
    u32 w[8];
} Eight;
static Eight eight_read(const Vec *i, unsigned reg, u32 first) {
    Eight e;
    for (u32 k = 0; k < 8; k++) e.w[k] = __builtin_bswap32((u32)vec_get(i->s->v[reg], 2, first + k));
    return e;
}
static void eight_write(const Vec *i, u32 first, const u32 *w) {
    for (u32 k = 0; k < 8; k++) vec_put(i->s->v[i->vd], 2, first + k, __builtin_bswap32(w[k]));
}

void vec_run_sm3me(const Vec *i) {
    for (u32 k = i->start; k < i->vl; k += 8) {
        u32 w[24];
        Eight old = eight_read(i, i->vs1, k), new = eight_read(i, i->vs2, k);
        memcpy(w, old.w, sizeof old.w);
        memcpy(w + 8, new.w, sizeof new.w);
        for (unsigned n = 16; n < 24; n++) {
            u32 x = w[n - 16] ^ w[n - 9] ^ rol32(w[n - 3], 15);
            w[n] = x ^ rol32(x, 15) ^ rol32(x, 23) ^ rol32(w[n - 13], 7) ^ w[n - 6];
        }
        eight_write(i, k, w + 16);
    }
}

static void sm3_round(Eight *s, unsigned round, u32 w, u32 x) {
    u32 a = s->w[0], b = s->w[1], c = s->w[2], d = s->w[3], e = s->w[4], f = s->w[5], g = s->w[6], h = s->w[7];
    bool early = round < 16;
    u32 ss1 = rol32(rol32(a, 12) + e + rol32(early ? 0x79cc4519 : 0x7a879d8a, round), 7);
    u32 ff = early ? a ^ b ^ c : (a & b) | (a & c) | (b & c), gg = early ? e ^ f ^ g : (e & f) | (~e & g);
    u32 tt1 = ff + d + (ss1 ^ rol32(a, 12)) + x, tt2 = gg + h + ss1 + w;
    *s = (Eight){{tt1, a, rol32(b, 9), c, tt2 ^ rol32(tt2, 9) ^ rol32(tt2, 17), e, rol32(f, 19), g}};
}

void vec_run_sm3c(const Vec *i) {
    for (u32 k = i->start; k < i->vl; k += 8) {
        Eight s = eight_read(i, i->vd, k), m = eight_read(i, i->vs2, k);
        sm3_round(&s, 2u * i->vs1, m.w[0], m.w[0] ^ m.w[4]);
        sm3_round(&s, 2u * i->vs1 + 1, m.w[1], m.w[1] ^ m.w[5]);
        eight_write(i, k, s.w);
    }
}

/* --- SM4 [GB/T 32907-2016] ---------------------------------------------------------------------------------------------------------------- */

static u32 sm4_substitute(u32 v) {
    u32 out = 0;
    for (unsigned k = 0; k < 4; k++) out |= (u32)ir_eval_crypto(CRYPTO_SM4_SBOX | k << 4, v, v) << 8 * k;
    return out;
}

/* Constant n of the key schedule: its bytes count up by sevens. */
static u32 sm4_constant(unsigned n) {
    u32 out = 0;
    for (unsigned k = 0; k < 4; k++) out = out << 8 | (u8)((4 * n + k) * 7);
    return out;
}

static Block sm4_key(const Vec *i, Block d, Block a, Block b) {
    Words k = words_of(a);
    for (unsigned n = 0; n < 4; n++) {
        u32 s = sm4_substitute(k.w[(n + 1) & 3] ^ k.w[(n + 2) & 3] ^ k.w[(n + 3) & 3] ^ sm4_constant(4 * (i->vs1 & 7u) + n));
        k.w[n] ^= s ^ rol32(s, 13) ^ rol32(s, 23);
    }
    return block_of(k.w[0], k.w[1], k.w[2], k.w[3]);
}
void vec_run_sm4k(const Vec *i) { each_block(i, sm4_key); }

static Block sm4_rounds(const Vec *i, Block d, Block a, Block b) {
    Words x = words_of(d), key = words_of(a);
    for (unsigned n = 0; n < 4; n++) {
        u32 s = sm4_substitute(x.w[(n + 1) & 3] ^ x.w[(n + 2) & 3] ^ x.w[(n + 3) & 3] ^ key.w[n]);
        x.w[n] ^= s ^ rol32(s, 2) ^ rol32(s, 10) ^ rol32(s, 18) ^ rol32(s, 24);
    }
    return block_of(x.w[0], x.w[1], x.w[2], x.w[3]);
}
void vec_run_sm4r(const Vec *i) { each_block(i, sm4_rounds); }
