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
    memcpy(&b, vec_reg(i, reg) + group * sizeof b, sizeof b);
    return b;
}
static Block block_xor(Block a, Block b) { return (Block){a.low ^ b.low, a.high ^ b.high}; }

/* Every group of four words: vd = op(vd, vs2, vs1). A .vs form takes its first group of vs2 for all. */
static inline void each_block(const Vec *i, BlockOp *op) {
    for (u32 group = i->start / 4; group < i->vl / 4; group++) {
        Block a = block_read(i, i->vs2, i->row->a == RVV_GROUP ? 0 : group);
        Block b = i->vector ? block_read(i, i->vs1, group) : a;
        Block out = op(i, block_read(i, i->vd, group), a, b);
        memcpy(vec_reg(i, i->vd) + group * sizeof out, &out, sizeof out);
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

/* The functions of two rotations, and one more or a shift; and what is made of them, by SEW. */
#define ROTATED(v, n) ((v) >> (n) | (v) << (8 * sizeof(v) - (n)))
#define SUM0_32(v) (ROTATED(v, 2) ^ ROTATED(v, 13) ^ ROTATED(v, 22))
#define SUM1_32(v) (ROTATED(v, 6) ^ ROTATED(v, 11) ^ ROTATED(v, 25))
#define SIG0_32(v) (ROTATED(v, 7) ^ ROTATED(v, 18) ^ (v) >> 3)
#define SIG1_32(v) (ROTATED(v, 17) ^ ROTATED(v, 19) ^ (v) >> 10)
#define SUM0_64(v) (ROTATED(v, 28) ^ ROTATED(v, 34) ^ ROTATED(v, 39))
#define SUM1_64(v) (ROTATED(v, 14) ^ ROTATED(v, 18) ^ ROTATED(v, 41))
#define SIG0_64(v) (ROTATED(v, 1) ^ ROTATED(v, 8) ^ (v) >> 7)
#define SIG1_64(v) (ROTATED(v, 19) ^ ROTATED(v, 61) ^ (v) >> 6)

/* Words 0..3; 4 9 10 11; 12 - 14 15: those that follow. */
#define SCHEDULE(bits)                                                                                                                      \
    static void sha2_schedule_##bits(const Vec *i, u32 first) {                                                                             \
        u##bits *d = (u##bits *)vec_reg(i, i->vd) + first;                                                                                     \
        const u##bits *a = (u##bits *)vec_reg(i, i->vs2) + first, *b = (u##bits *)vec_reg(i, i->vs1) + first;                                     \
        u##bits w0 = SIG1_##bits(b[2]) + a[1] + SIG0_##bits(d[1]) + d[0], w1 = SIG1_##bits(b[3]) + a[2] + SIG0_##bits(d[2]) + d[1];         \
        u##bits w2 = SIG1_##bits(w0) + a[3] + SIG0_##bits(d[3]) + d[2], w3 = SIG1_##bits(w1) + b[0] + SIG0_##bits(a[0]) + d[3];             \
        d[0] = w0, d[1] = w1, d[2] = w2, d[3] = w3;                                                                                         \
    }
SCHEDULE(32)
SCHEDULE(64)

void vec_run_sha2ms(const Vec *i) {
    for (u32 k = i->start; k < i->vl; k += 4) {
        if (i->sew == 2) sha2_schedule_32(i, k);
        else sha2_schedule_64(i, k);
    }
}

/* Two rounds. In vs2: f e b a, in vd: h g d c; afterwards the new f e b a. */
#define ROUND(bits, w)                                                                                                                      \
    {                                                                                                                                       \
        u##bits t1 = h + SUM1_##bits(e) + ((e & f) ^ (~e & g)) + (w), t2 = SUM0_##bits(a) + ((a & b) ^ (a & c) ^ (b & c));                  \
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;                                                                  \
    }
#define COMPRESS(bits)                                                                                                                      \
    static void sha2_compress_##bits(const Vec *i, u32 first, unsigned word) {                                                              \
        u##bits *out = (u##bits *)vec_reg(i, i->vd) + first;                                                                                   \
        const u##bits *s = (u##bits *)vec_reg(i, i->vs2) + first, *w = (u##bits *)vec_reg(i, i->vs1) + first + word;                              \
        u##bits f = s[0], e = s[1], b = s[2], a = s[3], h = out[0], g = out[1], d = out[2], c = out[3];                                     \
        ROUND(bits, w[0])                                                                                                                   \
        ROUND(bits, w[1])                                                                                                                   \
        out[0] = f, out[1] = e, out[2] = b, out[3] = a;                                                                                     \
    }
COMPRESS(32)
COMPRESS(64)

static void sha2_compress(const Vec *i, unsigned word) {
    for (u32 k = i->start; k < i->vl; k += 4) {
        if (i->sew == 2) sha2_compress_32(i, k, word);
        else sha2_compress_64(i, k, word);
    }
}
void vec_run_sha2cl(const Vec *i) { sha2_compress(i, 0); }
void vec_run_sha2ch(const Vec *i) { sha2_compress(i, 2); }

/* --- SM3 [GB/T 32905-2016]; words in memory are big-endian ---------------------------------------------------------------------------- */

typedef struct Eight {
    u32 w[8];
} Eight;
static inline Eight eight_read(const Vec *i, unsigned reg, u32 first) {
    Eight e;
    memcpy(&e, vec_reg(i, reg) + 4 * first, sizeof e);
    for (u32 k = 0; k < 8; k++) e.w[k] = __builtin_bswap32(e.w[k]);
    return e;
}
static inline void eight_write(const Vec *i, u32 first, Eight e) {
    for (u32 k = 0; k < 8; k++) e.w[k] = __builtin_bswap32(e.w[k]);
    memcpy(vec_reg(i, i->vd) + 4 * first, &e, sizeof e);
}

void vec_run_sm3me(const Vec *i) {
    for (u32 k = i->start; k < i->vl; k += 8) {
        Eight old = eight_read(i, i->vs1, k), new = eight_read(i, i->vs2, k), out;
        u32 w[24];
        memcpy(w, old.w, sizeof old.w);
        memcpy(w + 8, new.w, sizeof new.w);
        for (unsigned n = 16; n < 24; n++) {
            u32 x = w[n - 16] ^ w[n - 9] ^ rol32(w[n - 3], 15);
            w[n] = x ^ rol32(x, 15) ^ rol32(x, 23) ^ rol32(w[n - 13], 7) ^ w[n - 6];
        }
        memcpy(out.w, w + 16, sizeof out.w);
        eight_write(i, k, out);
    }
}

/* Round n, early or late, of the state a b c d e f g h. */
static inline Eight sm3_round(Eight s, unsigned n, bool early, u32 w, u32 x) {
    u32 a = s.w[0], b = s.w[1], c = s.w[2], d = s.w[3], e = s.w[4], f = s.w[5], g = s.w[6], h = s.w[7];
    u32 ss1 = rol32(rol32(a, 12) + e + rol32(early ? 0x79cc4519 : 0x7a879d8a, n), 7);
    u32 ff = early ? a ^ b ^ c : (a & b) | (a & c) | (b & c), gg = early ? e ^ f ^ g : (e & f) | (~e & g);
    u32 tt1 = ff + d + (ss1 ^ rol32(a, 12)) + x, tt2 = gg + h + ss1 + w;
    return (Eight){{tt1, a, rol32(b, 9), c, tt2 ^ rol32(tt2, 9) ^ rol32(tt2, 17), e, rol32(f, 19), g}};
}

static inline void sm3_rounds(const Vec *i, bool early) {
    for (u32 k = i->start; k < i->vl; k += 8) {
        Eight s = eight_read(i, i->vd, k), m = eight_read(i, i->vs2, k);
        s = sm3_round(s, 2u * i->vs1, early, m.w[0], m.w[0] ^ m.w[4]);
        s = sm3_round(s, 2u * i->vs1 + 1, early, m.w[1], m.w[1] ^ m.w[5]);
        eight_write(i, k, s);
    }
}

void vec_run_sm3c(const Vec *i) {
    if (i->vs1 < 8) sm3_rounds(i, true);
    else sm3_rounds(i, false);
}

/* --- SM4 [GB/T 32907-2016] ---------------------------------------------------------------------------------------------------------------- */

static inline u32 sm4_substitute(u32 v) {
    const u8 *box = ir_sm4_sbox;
    return box[v & 0xff] | (u32)box[v >> 8 & 0xff] << 8 | (u32)box[v >> 16 & 0xff] << 16 | (u32)box[v >> 24] << 24;
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

static inline Block sm4_rounds(const Vec *i, Block d, Block a, Block b) {
    Words x = words_of(d), key = words_of(a);
    for (unsigned n = 0; n < 4; n++) {
        u32 s = sm4_substitute(x.w[(n + 1) & 3] ^ x.w[(n + 2) & 3] ^ x.w[(n + 3) & 3] ^ key.w[n]);
        x.w[n] ^= s ^ rol32(s, 2) ^ rol32(s, 10) ^ rol32(s, 18) ^ rol32(s, 24);
    }
    return block_of(x.w[0], x.w[1], x.w[2], x.w[3]);
}
void vec_run_sm4r(const Vec *i) { each_block(i, sm4_rounds); }
