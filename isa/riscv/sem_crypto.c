/* SPDX-License-Identifier: Apache-2.0 */
/* Scalar cryptography: Zkn*, Zks*. What substitutes bytes is IR_crypto, for which hosts have instructions; the rest is rotations and
 * xor. Where a host looks into tables instead (SM4; AES without AES-NI), all of it takes the same time for all data as long as
 * the tables stay in the cache, which Zkt would want promised. */
#include "isa/riscv/sem.h"

/* rotr(x, r1) ^ rotr(x, r2) ^ last, all of the type of x. */
static Ref mix(IrBuilder *b, Ref x, unsigned r1, unsigned r2, Ref last) {
    Ref first = ir_imm(b, IR_rotr, x, r1);
    Ref both = ir_xor(b, first, ir_imm(b, IR_rotr, x, r2));
    return ir_xor(b, both, last);
}
static Ref mix_rot(IrBuilder *b, Ref x, unsigned r1, unsigned r2, unsigned r3) {
    return mix(b, x, r1, r2, ir_imm(b, IR_rotr, x, r3));
}
static Ref mix_shift(IrBuilder *b, Ref x, unsigned r1, unsigned r2, unsigned s) {
    return mix(b, x, r1, r2, ir_imm(b, IR_shr, x, s));
}
#define WORD(x) ir_trunc(b, x)

SEM(sha256sum0) { RD(ir_sext(b, 32, mix_rot(b, WORD(rs1), 2, 13, 22))); }
SEM(sha256sum1) { RD(ir_sext(b, 32, mix_rot(b, WORD(rs1), 6, 11, 25))); }
SEM(sha256sig0) { RD(ir_sext(b, 32, mix_shift(b, WORD(rs1), 7, 18, 3))); }
SEM(sha256sig1) { RD(ir_sext(b, 32, mix_shift(b, WORD(rs1), 17, 19, 10))); }
SEM(sha512sum0) { RD(mix_rot(b, rs1, 28, 34, 39)); }
SEM(sha512sum1) { RD(mix_rot(b, rs1, 14, 18, 41)); }
SEM(sha512sig0) { RD(mix_shift(b, rs1, 1, 8, 7)); }
SEM(sha512sig1) { RD(mix_shift(b, rs1, 19, 61, 6)); }

/* x ^ rotl(x, l1) ^ rotl(x, l2) */
static Ref sm3_p(IrBuilder *b, Ref x, unsigned l1, unsigned l2) { return ir_sext(b, 32, mix(b, x, 32 - l1, 32 - l2, x)); }
SEM(sm3p0) { RD(sm3_p(b, WORD(rs1), 9, 17)); }
SEM(sm3p1) { RD(sm3_p(b, WORD(rs1), 15, 23)); }

/* Part of the linear map of a substituted byte: its bits `mask` shifted left by `by` (what leaves the 32 bits is lost). */
typedef struct Sm4Term {
    u8 mask, by;
} Sm4Term;

/* Byte n of rs2 substituted, mapped, moved back to its place, and xored into rs1. */
static Ref sm4_step(IrBuilder *b, const RvInsn *i, Ref rs1, Ref rs2, const Sm4Term *terms, unsigned count) {
    Ref x = WORD(ir_crypto(b, CRYPTO_SM4_SBOX, i->imm & 3, rs2, rs2)), sum = x;
    for (unsigned k = 0; k < count; k++) {
        Ref part = terms[k].mask == 0xff ? x : ir_imm(b, IR_and, x, terms[k].mask);
        sum = ir_xor(b, sum, ir_imm(b, IR_shl, part, terms[k].by));
    }
    sum = ir_imm(b, IR_rotl, sum, 8 * ((u64)i->imm & 3));
    return ir_sext(b, 32, ir_xor(b, sum, WORD(rs1)));
}
SEM(sm4ed) { RD(sm4_step(b, i, rs1, rs2, (const Sm4Term[]){{0xff, 8}, {0xff, 2}, {0xff, 18}, {0xff, 26}, {0xc0, 10}}, 5)); }
SEM(sm4ks) { RD(sm4_step(b, i, rs1, rs2, (const Sm4Term[]){{0xff, 29}, {0xfe, 7}, {0x01, 23}, {0xf8, 13}}, 4)); }

SEM(aes64ds) { RD(ir_crypto(b, CRYPTO_UNAES_LAST, 0, rs1, rs2)); }
SEM(aes64dsm) { RD(ir_crypto(b, CRYPTO_UNAES, 0, rs1, rs2)); }
SEM(aes64es) { RD(ir_crypto(b, CRYPTO_AES_LAST, 0, rs1, rs2)); }
SEM(aes64esm) { RD(ir_crypto(b, CRYPTO_AES, 0, rs1, rs2)); }
SEM(aes64im) { RD(ir_crypto(b, CRYPTO_AES_UNMIX, 0, rs1, rs1)); }
SEM(aes64ks1i) { RD(ir_crypto(b, CRYPTO_AES_KEY, i->imm & 15, rs1, rs1)); }
/* Words w0 = rs1.hi ^ rs2.lo and w0 ^ rs2.hi. */
SEM(aes64ks2) {
    Ref high = ir_imm(b, IR_shr, rs1, 32);
    Ref w0 = ir_zext(b, 32, ir_xor(b, high, rs2));
    Ref w1 = ir_xor(b, w0, ir_imm(b, IR_shr, rs2, 32));
    RD(ir_or(b, w0, ir_imm(b, IR_shl, w1, 32)));
}
