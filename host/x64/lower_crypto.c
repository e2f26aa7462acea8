/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of ciphers, products without carries and permutations (IR_crypto) to AES-NI, PCLMULQDQ and SSSE3 [SDM vol. 2]; where the
 * processor lacks the first two, a call. The operands are general registers, so each step moves them over and back: of the
 * fifteen cycles that this takes, a cipher that chains its rounds pays all. Bought: AES ten times faster than by tables. */
#include "host/x64/cg.h"

#define I_AESENC INSN(2, 1, 0xdc)
#define I_AESENCLAST INSN(2, 1, 0xdd)
#define I_AESDEC INSN(2, 1, 0xde)
#define I_AESDECLAST INSN(2, 1, 0xdf)
#define I_AESIMC INSN(2, 1, 0xdb)
#define I_AESKEYGENASSIST INSN(3, 1, 0xdf)
#define I_PEXTRQ (INSN(3, 1, 0x16) | W1)
#define I_PADDUSB INSN(1, 1, 0xdc)
#define I_PSHIFTW INSN(1, 1, 0x71) /* /2 right, /6 left */
#define I_SHLD (INSN(1, 0, 0xa4) | W1)

bool cg_crypto_native(const IrInsn *i) {
    switch ((CryptoOp)(i->aux & 15)) {
    case CRYPTO_AES: case CRYPTO_AES_LAST: case CRYPTO_UNAES: case CRYPTO_UNAES_LAST: case CRYPTO_AES_UNMIX: case CRYPTO_AES_KEY: return x64_features.aes;
    case CRYPTO_CLMUL: case CRYPTO_CLMULH: case CRYPTO_CLMULR: return x64_features.clmul;
    case CRYPTO_SM4_SBOX: case CRYPTO_PERM4: case CRYPTO_PERM8: break;
    }
    return true;
}

/* An operand in a vector register of its own, the upper half zero. */
static unsigned vector(Cg *g, u32 id) {
    X64Mem m;
    unsigned x = cg_temp(g, true);
    if (cg_use_mem(g, id, &m)) x64_rm(&g->b, I_MOVS_LOAD(3), xn(x), m);
    else x64_rr(&g->b, I_MOVQ_X_R, xn(x), cg_use(g, id));
    return x;
}

static unsigned vector_const(Cg *g, u64 v) {
    unsigned x = cg_temp(g, true), t = cg_temp(g, false);
    x64_mov_imm_keep_flags(&g->b, t, v);
    x64_rr(&g->b, I_MOVQ_X_R, xn(x), t);
    return x;
}

static void op(Cg *g, u32 insn, unsigned dst, unsigned src) { x64_rr(&g->b, insn, xn(dst), xn(src)); }
static void op_imm(Cg *g, u32 insn, unsigned dst, unsigned src, unsigned imm) {
    op(g, insn, dst, src);
    x64_u8(&g->b, imm);
}
static void shift_words(Cg *g, unsigned x, unsigned digit, unsigned by) {
    x64_rr(&g->b, I_PSHIFTW, digit, xn(x));
    x64_u8(&g->b, by);
}

static void set_low(Cg *g, unsigned x) {
    unsigned dst = cg_target(g, false, 0, NO_REG);
    x64_rr(&g->b, I_MOVQ_R_X, xn(x), dst);
    cg_set(g, dst);
}

static void aes_round(Cg *g, IrInsn *i, u32 insn) {
    unsigned x = vector(g, i->a);
    X64Mem m;
    if (cg_use_mem(g, i->b, &m)) x64_rm(&g->b, I_PINSRQ, xn(x), m);
    else x64_rr(&g->b, I_PINSRQ, xn(x), cg_use(g, i->b));
    x64_u8(&g->b, 1);
    unsigned key = cg_temp(g, true); /* none: the guest adds it */
    op(g, I_PXOR, key, key);
    op(g, insn, x, key);
    set_low(g, x);
}

static void aes_unmix(Cg *g, IrInsn *i) {
    unsigned x = vector(g, i->a);
    op(g, I_AESIMC, x, x);
    set_low(g, x);
}

/* Of what aeskeygenassist makes of the second word, its second word is rotated, with the constant, its first word is not. */
static void aes_key(Cg *g, IrInsn *i) {
    static const u8 constants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
    unsigned round = i->aux >> 4, x = vector(g, i->a);
    op_imm(g, I_AESKEYGENASSIST, x, x, round < 10 ? constants[round] : 0);
    op_imm(g, I_PSHUFD, x, x, round < 10 ? 0x55 : 0);
    set_low(g, x);
}

static void sm4_sbox(Cg *g, IrInsn *i) {
    unsigned n = i->aux >> 4 & 7, a = cg_use(g, i->a), table = cg_temp(g, false), dst = cg_target(g, false, 0, a);
    if (n) {
        x64_mov(&g->b, dst, a);
        x64_shift_ri(&g->b, SH_SHR, W1, dst, 8 * n);
        a = dst;
    }
    x64_rr(&g->b, I_MOVZX8, dst, a);
    x64_rm(&g->b, I_MOV_R_RM | W1, table, STUB_MEM(STUB_SM4));
    x64_rm(&g->b, I_MOVZX8, dst, x64_mem_index(table, dst, 0, 0));
    cg_set(g, dst);
}

static void carryless(Cg *g, IrInsn *i) {
    unsigned x = vector(g, i->a), y = vector(g, i->b);
    op_imm(g, I_PCLMULQDQ, x, y, 0);
    if ((i->aux & 15) == CRYPTO_CLMUL) {
        set_low(g, x);
        return;
    }
    bool reversed = (i->aux & 15) == CRYPTO_CLMULR;
    unsigned low = reversed ? cg_temp(g, false) : NO_REG, dst = cg_target(g, false, 0, NO_REG);
    x64_rr(&g->b, I_PEXTRQ, xn(x), dst);
    x64_u8(&g->b, 1);
    if (reversed) {
        x64_rr(&g->b, I_MOVQ_R_X, xn(x), low);
        x64_rr(&g->b, I_SHLD, low, dst);
        x64_u8(&g->b, 1);
    }
    cg_set(g, dst);
}

/* pshufb takes four bits of a number, and none if its top bit is set: 0x70 is added, so that numbers from 16 get that; 8 to 15
 * pick the upper half, which is zero. */
static void permute_bytes(Cg *g, IrInsn *i) {
    unsigned x = vector(g, i->a), y = vector(g, i->b), bias = vector_const(g, 0x7070707070707070ull);
    op(g, I_PADDUSB, y, bias);
    op(g, I_PSHUFB, x, y);
    set_low(g, x);
}

/* Splits x into x, its low halves of bytes, and y, the high ones. */
static void split_halves(Cg *g, unsigned x, unsigned y, unsigned mask) {
    op(g, I_MOVAPS, y, x);
    shift_words(g, y, 2, 4);
    op(g, I_PAND, x, mask);
    op(g, I_PAND, y, mask);
}

static void permute_nibbles(Cg *g, IrInsn *i) {
    unsigned mask = vector_const(g, 0x0f0f0f0f0f0f0f0full), table = vector(g, i->a), high = cg_temp(g, true);
    split_halves(g, table, high, mask);
    op(g, I_PUNPCKLBW, table, high); /* all sixteen, a byte each */
    unsigned low = vector(g, i->b);
    split_halves(g, low, high, mask);
    unsigned out = mask;
    op(g, I_MOVAPS, out, table);
    op(g, I_PSHUFB, out, low);
    op(g, I_PSHUFB, table, high);
    shift_words(g, table, 6, 4);
    op(g, I_POR, out, table);
    set_low(g, out);
}

void cg_lower_crypto(Cg *g, IrInsn *i) {
    if (!cg_crypto_native(i)) {
        cg_call_soft(g, HELPER_SOFT_CRYPTO, i->a, i->b, i->aux);
        unsigned dst = cg_target(g, false, 0, RAX);
        x64_mov(&g->b, dst, RAX);
        cg_set(g, dst);
        return;
    }
    switch ((CryptoOp)(i->aux & 15)) {
    case CRYPTO_AES: aes_round(g, i, I_AESENC); break;
    case CRYPTO_AES_LAST: aes_round(g, i, I_AESENCLAST); break;
    case CRYPTO_UNAES: aes_round(g, i, I_AESDEC); break;
    case CRYPTO_UNAES_LAST: aes_round(g, i, I_AESDECLAST); break;
    case CRYPTO_AES_UNMIX: aes_unmix(g, i); break;
    case CRYPTO_AES_KEY: aes_key(g, i); break;
    case CRYPTO_SM4_SBOX: sm4_sbox(g, i); break;
    case CRYPTO_CLMUL: case CRYPTO_CLMULH: case CRYPTO_CLMULR: carryless(g, i); break;
    case CRYPTO_PERM4: permute_nibbles(g, i); break;
    case CRYPTO_PERM8: permute_bytes(g, i); break;
    }
}
