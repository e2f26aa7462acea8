/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64 encodings: bytes into a buffer. [SDM vol. 2, ch. 2: instruction format]
 *
 * The one idea: every instruction used has one of four shapes (legacy ModRM, shift/unary group, VEX/SSE,
 * branch), so there is one function per shape, and an instruction is a constant: opcode map, mandatory prefix, opcode, W.
 * Operands: a register number, or a memory operand X64Mem. Registers 0..15 are rax..r15 or xmm0..xmm15.
 * The buffer always has X64_SLACK bytes left; the caller checks between IR instructions.
 */
#ifndef HOST_X64_ENC_H
#define HOST_X64_ENC_H

#include "base/base.h"

typedef enum X64Reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG = 0xff } X64Reg;

typedef struct X64Mem { /* [base + index << scale + disp]; base NO_REG: absolute disp32; RIP: rip-relative to host address */
    u8 base, index, scale;
    i32 disp;
} X64Mem;

typedef struct X64Buf {
    u8 *at, *end;  /* write position in the writable mapping */
    i64 rx_delta;  /* executable address = at + rx_delta */
    u32 insns;     /* instructions written, no-operations apart */
} X64Buf;
enum { X64_SLACK = 2048 }; /* an operation on eight vector registers needs the most */

static inline const u8 *x64_here(const X64Buf *b) { return b->at + b->rx_delta; }
static inline void x64_u8(X64Buf *b, unsigned v) { *b->at++ = (u8)v; }
/* First byte of an instruction that has no ModRM head. */
static inline void x64_op8(X64Buf *b, unsigned v) { b->insns++, x64_u8(b, v); }
static inline void x64_u32(X64Buf *b, u32 v) { memcpy(b->at, &v, 4), b->at += 4; }
static inline void x64_u64(X64Buf *b, u64 v) { memcpy(b->at, &v, 8), b->at += 8; }

static inline X64Mem x64_mem(unsigned base, i64 disp) { return (X64Mem){(u8)base, NO_REG, 0, (i32)disp}; }
static inline X64Mem x64_mem_index(unsigned base, unsigned index, unsigned scale, i64 disp) {
    return (X64Mem){(u8)base, (u8)index, (u8)scale, (i32)disp};
}

/* An instruction: opcode | map << 8 | mandatory prefix << 12 | W << 16. Maps: 0 one-byte, 1 0F, 2 0F38, 3 0F3A.
 * Prefixes: 0 none, 1 66, 2 F3, 3 F2 (the order of VEX.pp). */
#define INSN(map, pp, op) ((u32)((op) | (map) << 8 | (pp) << 12))
#define W1 (1u << 16)
#define BYTE_REG (1u << 17) /* the ModRM.reg operand is a byte register: spl..dil need REX */
#define BYTE_RM (1u << 18)  /* the ModRM.rm operand is one */

/* The pieces of an instruction, at p; each returns where the next goes. (Through b->at, every byte would cost a load: it might overwrite
 * that pointer, as far as the compiler knows.) */
static inline u8 *x64_put_modrm_mem(u8 *p, unsigned reg, X64Mem m) {
    reg = (reg & 7) << 3;
    bool sib = m.index != NO_REG || m.base == NO_REG || (m.base & 7) == RSP;
    unsigned rm = sib ? 4 : m.base & 7;
    if (m.base == NO_REG) {
        *p++ = (u8)(reg | 4);
        *p++ = (u8)((m.scale << 6) | ((m.index == NO_REG ? 4 : m.index & 7) << 3) | 5);
        return memcpy(p, &m.disp, 4), p + 4;
    }
    unsigned mod = m.disp == 0 && (m.base & 7) != RBP ? 0 : fits_i8(m.disp) ? 1 : 2;
    *p++ = (u8)(mod << 6 | reg | rm);
    if (sib) *p++ = (u8)((m.scale << 6) | ((m.index == NO_REG ? 4 : m.index & 7) << 3) | (m.base & 7));
    memcpy(p, &m.disp, 4); /* all four bytes: what is too much is overwritten */
    return p + (mod == 2 ? 4 : mod);
}

static inline u8 *x64_put_head(u8 *p, u32 insn, unsigned reg, unsigned index, unsigned rm, bool byte_reg) {
    static const u8 prefix[4] = {0, 0x66, 0xf3, 0xf2};
    unsigned pp = insn >> 12 & 3, map = insn >> 8 & 3;
    if (pp) *p++ = prefix[pp];
    unsigned rex = (insn & W1 ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;
    if (rex || byte_reg) *p++ = (u8)(0x40 | rex);
    if (map) *p++ = 0x0f;
    if (map >= 2) *p++ = map == 2 ? 0x38 : 0x3a;
    *p++ = (u8)insn;
    return p;
}

/* reg, rm registers */
static inline void x64_rr(X64Buf *b, u32 insn, unsigned reg, unsigned rm) {
    bool byte = ((insn & BYTE_REG) && reg >= 4) || ((insn & BYTE_RM) && rm >= 4);
    u8 *p = x64_put_head(b->at, insn, reg, 0, rm, byte);
    *p = (u8)(0xc0 | (reg & 7) << 3 | (rm & 7));
    b->at = p + 1;
    b->insns++;
}

static inline void x64_rm(X64Buf *b, u32 insn, unsigned reg, X64Mem m) {
    bool byte = (insn & BYTE_REG) && reg >= 4;
    u8 *p = x64_put_head(b->at, insn, reg, m.index == NO_REG ? 0 : m.index, m.base == NO_REG ? 0 : m.base, byte);
    b->at = x64_put_modrm_mem(p, reg, m);
    b->insns++;
}

static inline void x64_vex_head(X64Buf *b, u32 insn, unsigned reg, unsigned v, unsigned index, unsigned rm) {
    unsigned pp = insn >> 12 & 3, map = insn >> 8 & 3, w = insn & W1 ? 0x80 : 0;
    unsigned tail = (~v & 15) << 3 | pp; /* L = 0: 128 bits */
    b->insns++;
    if (map == 1 && !w && !(index & 8) && !(rm & 8)) {
        x64_u8(b, 0xc5);
        x64_u8(b, (reg & 8 ? 0 : 0x80) | tail);
    } else {
        x64_u8(b, 0xc4);
        x64_u8(b, (reg & 8 ? 0 : 0x80) | (index & 8 ? 0 : 0x40) | (rm & 8 ? 0 : 0x20) | map);
        x64_u8(b, w | tail);
    }
    x64_u8(b, insn);
}

static inline void x64_vrr(X64Buf *b, u32 insn, unsigned reg, unsigned v, unsigned rm) {
    x64_vex_head(b, insn, reg, v, 0, rm);
    x64_u8(b, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static inline void x64_vrm(X64Buf *b, u32 insn, unsigned reg, unsigned v, X64Mem m) {
    x64_vex_head(b, insn, reg, v, m.index == NO_REG ? 0 : m.index, m.base == NO_REG ? 0 : m.base);
    b->at = x64_put_modrm_mem(b->at, reg, m);
}

/* EVEX, registers 0..15, no masking, scalar [SDM vol. 2, 2.7] */
static inline void x64_evex_rr(X64Buf *b, u32 insn, unsigned reg, unsigned v, unsigned rm) {
    unsigned pp = insn >> 12 & 3, map = insn >> 8 & 3, w = insn & W1 ? 0x80 : 0;
    b->insns++;
    x64_u8(b, 0x62);
    x64_u8(b, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | 0x10 | map);
    x64_u8(b, w | (~v & 15) << 3 | 4 | pp);
    x64_u8(b, 0x08);
    x64_u8(b, insn);
    x64_u8(b, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* The same with SAE: exceptions are neither raised nor noted in MXCSR. */
static inline void x64_evex_rr_sae(X64Buf *b, u32 insn, unsigned reg, unsigned v, unsigned rm) {
    x64_evex_rr(b, insn, reg, v, rm);
    b->at[-3] |= 0x10;
}

/* The same rounding as `how` says (0 to nearest, 1 down, 2 up, 3 to zero), whatever MXCSR does. */
static inline void x64_evex_rr_round(X64Buf *b, u32 insn, unsigned reg, unsigned v, unsigned rm, unsigned how) {
    x64_evex_rr_sae(b, insn, reg, v, rm);
    b->at[-3] |= (u8)(how << 5);
}

/* --- the instructions, in the manual's notation ------------------------------------------------- */

enum {
    /* ALU group: ALU_x << 3 | form; `op r, r/m` is base + 3, `op r/m, r` base + 1, immediates /x of 81 and 83 */
    ALU_ADD = 0, ALU_OR = 1, ALU_ADC = 2, ALU_SBB = 3, ALU_AND = 4, ALU_SUB = 5, ALU_XOR = 6, ALU_CMP = 7,
    SH_ROL = 0, SH_ROR = 1, SH_SHL = 4, SH_SHR = 5, SH_SAR = 7, /* shift group digits */
    CC_O = 0, CC_NO = 1, CC_B = 2, CC_AE = 3, CC_E = 4, CC_NE = 5, CC_BE = 6, CC_A = 7, CC_S = 8, CC_NS = 9, CC_P = 10, CC_NP = 11, CC_L = 12, CC_GE = 13, CC_LE = 14, CC_G = 15,
};
#define I_MOV_R_RM INSN(0, 0, 0x8b)
#define I_MOV_RM_R INSN(0, 0, 0x89)
#define I_MOV_RM8_R8 (INSN(0, 0, 0x88) | BYTE_REG)
#define I_MOV_RM16_R16 INSN(0, 1, 0x89)
#define I_MOVZX8 (INSN(1, 0, 0xb6) | BYTE_RM)
#define I_MOVZX16 INSN(1, 0, 0xb7)
#define I_MOVSX8 (INSN(1, 0, 0xbe) | W1 | BYTE_RM)
#define I_MOVSX16 (INSN(1, 0, 0xbf) | W1)
#define I_MOVSXD (INSN(0, 0, 0x63) | W1)
#define I_LEA INSN(0, 0, 0x8d)
#define I_TEST INSN(0, 0, 0x85)
#define I_XCHG INSN(0, 0, 0x87)
#define I_XCHG8 (INSN(0, 0, 0x86) | BYTE_REG)
#define I_XCHG16 INSN(0, 1, 0x87)
#define I_XADD INSN(1, 0, 0xc1)
#define I_XADD8 (INSN(1, 0, 0xc0) | BYTE_REG)
#define I_XADD16 INSN(1, 1, 0xc1)
#define I_CMPXCHG INSN(1, 0, 0xb1)
#define I_CMPXCHG8 (INSN(1, 0, 0xb0) | BYTE_REG)
#define I_CMPXCHG16 INSN(1, 1, 0xb1)
#define I_IMUL INSN(1, 0, 0xaf)
#define I_BSR INSN(1, 0, 0xbd)
#define I_BSF INSN(1, 0, 0xbc)
#define I_LZCNT INSN(1, 2, 0xbd)
#define I_TZCNT INSN(1, 2, 0xbc)
#define I_POPCNT INSN(1, 2, 0xb8)
#define I_CMOV(cc) INSN(1, 0, 0x40 + (cc))
#define I_SETCC(cc) (INSN(1, 0, 0x90 + (cc)) | BYTE_RM)
/* BMI: VEX */
#define I_SHLX INSN(2, 1, 0xf7)
#define I_SARX INSN(2, 2, 0xf7)
#define I_SHRX INSN(2, 3, 0xf7)
#define I_ANDN INSN(2, 0, 0xf2)
#define I_RORX INSN(3, 3, 0xf0)
#define I_MULX INSN(2, 3, 0xf6)
#define I_BZHI INSN(2, 0, 0xf5)
/* SSE: pp chosen by type: scalar single F3, double F2 */
#define I_MOVS_LOAD(pp) INSN(1, pp, 0x10)
#define I_MOVS_STORE(pp) INSN(1, pp, 0x11)
#define I_MOVAPS INSN(1, 0, 0x28)
#define I_MOVUPS_LOAD INSN(1, 0, 0x10)
#define I_MOVUPS_STORE INSN(1, 0, 0x11)
#define I_ADDS(pp) INSN(1, pp, 0x58)
#define I_MULS(pp) INSN(1, pp, 0x59)
#define I_SUBS(pp) INSN(1, pp, 0x5c)
#define I_MINS(pp) INSN(1, pp, 0x5d)
#define I_DIVS(pp) INSN(1, pp, 0x5e)
#define I_MAXS(pp) INSN(1, pp, 0x5f)
#define I_SQRTS(pp) INSN(1, pp, 0x51)
#define I_ANDPS INSN(1, 0, 0x54)
#define I_ANDNPS INSN(1, 0, 0x55)
#define I_ORPS INSN(1, 0, 0x56)
#define I_XORPS INSN(1, 0, 0x57)
#define I_UCOMIS(pp) INSN(1, pp, 0x2e) /* pp: 0 single, 1 double */
#define I_COMIS(pp) INSN(1, pp, 0x2f)
#define I_CVTTS2SI(pp) INSN(1, pp, 0x2c)
#define I_CVTS2SI(pp) INSN(1, pp, 0x2d)
#define I_CVTSI2S(pp) INSN(1, pp, 0x2a)
#define I_VCVTTS2USI(pp) INSN(1, pp, 0x78) /* AVX-512F: EVEX */
#define I_VCVTS2USI(pp) INSN(1, pp, 0x79)
#define I_VCVTUSI2S(pp) INSN(1, pp, 0x7b)
#define I_CVTS2S(pp) INSN(1, pp, 0x5a) /* pp of the source */
#define I_MOVD_X_R INSN(1, 1, 0x6e)
#define I_MOVD_R_X INSN(1, 1, 0x7e)
#define I_MOVQ_X_R (I_MOVD_X_R | W1)
#define I_BLENDVPD INSN(3, 1, 0x4b) /* VEX; then the mask << 4 */
#define I_MOVQ_R_X (I_MOVD_R_X | W1)
#define I_PEXTRD INSN(3, 1, 0x16)
#define I_PINSRQ (INSN(3, 1, 0x22) | W1)
#define I_PAND INSN(1, 1, 0xdb)
#define I_PANDN INSN(1, 1, 0xdf)
#define I_POR INSN(1, 1, 0xeb)
#define I_PXOR INSN(1, 1, 0xef)
#define I_PUNPCKLBW INSN(1, 1, 0x60)
#define I_PSHUFLW INSN(1, 3, 0x70)
#define I_PSHUFD INSN(1, 1, 0x70)
#define I_PSHUFB INSN(2, 1, 0x00)
#define I_PCLMULQDQ INSN(3, 1, 0x44)
#define I_ROUNDSS INSN(3, 1, 0x0a)
#define I_ROUNDSD INSN(3, 1, 0x0b)
#define I_FMADD231(w) (INSN(2, 1, 0xb9) | (w))
#define I_FMSUB231(w) (INSN(2, 1, 0xbb) | (w))
#define I_FNMADD231(w) (INSN(2, 1, 0xbd) | (w))
#define I_FNMSUB231(w) (INSN(2, 1, 0xbf) | (w))

static inline void x64_alu_rr(X64Buf *b, unsigned op, u32 w, unsigned dst, unsigned src) {
    x64_rr(b, INSN(0, 0, op << 3 | 3) | w, dst, src);
}
static inline void x64_alu_rm(X64Buf *b, unsigned op, u32 w, unsigned dst, X64Mem m) {
    x64_rm(b, INSN(0, 0, op << 3 | 3) | w, dst, m);
}
static inline void x64_alu_mr(X64Buf *b, unsigned op, u32 w, X64Mem m, unsigned src) {
    x64_rm(b, INSN(0, 0, op << 3 | 1) | w, src, m);
}
static inline void x64_alu_ri(X64Buf *b, unsigned op, u32 w, unsigned dst, i32 imm) {
    bool small = fits_i8(imm);
    x64_rr(b, INSN(0, 0, small ? 0x83 : 0x81) | w, op, dst);
    if (small) x64_u8(b, (u8)imm);
    else x64_u32(b, (u32)imm);
}
static inline void x64_alu_mi(X64Buf *b, unsigned op, u32 w, X64Mem m, i32 imm) {
    bool small = fits_i8(imm);
    x64_rm(b, INSN(0, 0, small ? 0x83 : 0x81) | w, op, m);
    if (small) x64_u8(b, (u8)imm);
    else x64_u32(b, (u32)imm);
}
static inline void x64_shift_ri(X64Buf *b, unsigned digit, u32 w, unsigned dst, unsigned by) {
    x64_rr(b, INSN(0, 0, 0xc1) | w, digit, dst);
    x64_u8(b, by);
}
static inline void x64_shift_cl(X64Buf *b, unsigned digit, u32 w, unsigned dst) { x64_rr(b, INSN(0, 0, 0xd3) | w, digit, dst); }
/* Group F7: /0 test, /2 not, /3 neg, /4 mul, /5 imul, /6 div, /7 idiv */
static inline void x64_group3(X64Buf *b, unsigned digit, u32 w, unsigned rm) { x64_rr(b, INSN(0, 0, 0xf7) | w, digit, rm); }
static inline void x64_mov(X64Buf *b, unsigned dst, unsigned src) {
    if (dst != src) x64_rr(b, I_MOV_R_RM | W1, dst, src);
}
static inline void x64_mov_imm(X64Buf *b, unsigned dst, u64 v) {
    if (v == 0) {
        x64_rr(b, INSN(0, 0, 0x31), dst, dst); /* xor: changes the flags */
    } else if (v == (u32)v) {
        if (dst & 8) x64_u8(b, 0x41);
        x64_op8(b, 0xb8 | (dst & 7));
        x64_u32(b, (u32)v);
    } else if (fits_i32((i64)v)) {
        x64_rr(b, INSN(0, 0, 0xc7) | W1, 0, dst);
        x64_u32(b, (u32)v);
    } else {
        x64_u8(b, 0x48 | (dst & 8) >> 3);
        x64_op8(b, 0xb8 | (dst & 7));
        x64_u64(b, v);
    }
}
/* The same, leaving the flags alone. */
static inline void x64_mov_imm_keep_flags(X64Buf *b, unsigned dst, u64 v) {
    if (v) {
        x64_mov_imm(b, dst, v);
        return;
    }
    if (dst & 8) x64_u8(b, 0x41);
    x64_op8(b, 0xb8 | (dst & 7));
    x64_u32(b, 0);
}
static inline void x64_push(X64Buf *b, unsigned r) {
    if (r & 8) x64_u8(b, 0x41);
    x64_op8(b, 0x50 | (r & 7));
}
static inline void x64_pop(X64Buf *b, unsigned r) {
    if (r & 8) x64_u8(b, 0x41);
    x64_op8(b, 0x58 | (r & 7));
}
/* Branches to a known host address; rel32 always. Returns the place of the rel32. */
static inline u8 *x64_rel32(X64Buf *b, const void *target) {
    u8 *place = b->at;
    x64_u32(b, target ? (u32)((const u8 *)target - (x64_here(b) + 4)) : 0);
    return place;
}
static inline u8 *x64_jmp(X64Buf *b, const void *target) { return x64_op8(b, 0xe9), x64_rel32(b, target); }
static inline u8 *x64_call(X64Buf *b, const void *target) { return x64_op8(b, 0xe8), x64_rel32(b, target); }
static inline u8 *x64_jcc(X64Buf *b, unsigned cc, const void *target) {
    x64_op8(b, 0x0f);
    x64_u8(b, 0x80 | cc);
    return x64_rel32(b, target);
}
/* Short forward branch, to be closed by x64_here_short. */
static inline u8 *x64_jcc_short(X64Buf *b, unsigned cc) { return x64_op8(b, 0x70 | cc), x64_u8(b, 0), b->at - 1; }
static inline u8 *x64_jmp_short(X64Buf *b) { return x64_op8(b, 0xeb), x64_u8(b, 0), b->at - 1; }
static inline void x64_here_short(X64Buf *b, u8 *place) {
    ASSERT(b->at - place - 1 < 128);
    *place = (u8)(b->at - place - 1);
}
static inline void x64_fix_rel32(X64Buf *b, u8 *place) {
    u32 rel = (u32)(b->at - place - 4);
    memcpy(place, &rel, 4);
}
/* Indirect jmp/call through a register or memory: FF /4, /2 */
static inline void x64_jmp_reg(X64Buf *b, unsigned r) { x64_rr(b, INSN(0, 0, 0xff), 4, r); }
static inline void x64_jmp_mem(X64Buf *b, X64Mem m) { x64_rm(b, INSN(0, 0, 0xff), 4, m); }
static inline void x64_call_mem(X64Buf *b, X64Mem m) { x64_rm(b, INSN(0, 0, 0xff), 2, m); }
static inline void x64_call_reg(X64Buf *b, unsigned r) { x64_rr(b, INSN(0, 0, 0xff), 2, r); }
static inline void x64_ret(X64Buf *b) { x64_op8(b, 0xc3); }
/* n bytes of no-operations, the long forms that the manual recommends. */
static inline void x64_nops(X64Buf *b, unsigned n) {
    static const u8 nop[8][8] = {{0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}, {0x0f, 0x1f, 0x40, 0}, {0x0f, 0x1f, 0x44, 0, 0},
        {0x66, 0x0f, 0x1f, 0x44, 0, 0}, {0x0f, 0x1f, 0x80, 0, 0, 0, 0}, {0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}};
    for (; n; ) {
        unsigned k = MIN(n, 8u);
        memcpy(b->at, nop[k - 1], k);
        b->at += k, n -= k;
    }
}
/* ldmxcsr / stmxcsr: 0F AE /2, /3 */
static inline void x64_ldmxcsr(X64Buf *b, X64Mem m) { x64_rm(b, INSN(1, 0, 0xae), 2, m); }
static inline void x64_stmxcsr(X64Buf *b, X64Mem m) { x64_rm(b, INSN(1, 0, 0xae), 3, m); }

#endif
