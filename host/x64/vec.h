/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files that lower vector instructions share: lower_vec.c (guards, memory, C) and lower_vec_ops.c (operations). */
#ifndef HOST_X64_VEC_H
#define HOST_X64_VEC_H

#include "host/x64/region.h"

#define I_MOVDQA INSN(1, 1, 0x6f)
#define I_MOVDQA_STORE INSN(1, 1, 0x7f)
#define I_MOVDQU INSN(1, 2, 0x6f)
#define I_MOVDQU_STORE INSN(1, 2, 0x7f)

/* An operation at work: its scratch registers, as instructions encode them, and its operands. All registers are taken beforehand: the way to C leaves before
 * the operation, and what another register keeps would not have been saved on that way. Behind the block the operation may work on the first elements
 * only (`partial`), with registers of its own. */
typedef struct Vec {
    Cg *g;
    X64Buf *b;
    const IrInsn *i;
    unsigned x, y, t, u; /* vector registers; x is xmm0 */
    unsigned a;          /* the general register of operand a, if it has one */
    unsigned stride;     /* that of operand b, of strided accesses */
    unsigned width;      /* log2 bytes of an element of d */
    unsigned factor;     /* log2 of how much wider they are than those of a source, or the other way round */
    unsigned count;      /* registers of d */
    unsigned fraction;   /* log2 of the part of one register that elements fill */
    bool masked;
    bool scalar;         /* s1 is the operand a: in all elements of y */
    bool partial;        /* elements from the state's vector length on stay as they are */
    unsigned w;          /* masked, partial, a fraction: another vector register */
    unsigned r, q;       /* general registers; q: of comparisons only */
    u8 *give_up;         /* rel32 of a branch to what C does instead; NULL */
    unsigned kept;       /* register that holds what is at kept_disp in the state, too; NO_REG */
    i64 kept_disp;
    unsigned stored;     /* likewise, of what was stored last */
    i64 stored_disp;
} Vec;

/* Register k of an operand, in the guest's state. */
static inline X64Mem vec_register(const Vec *v, unsigned n, unsigned k) { return x64_mem(RBP, (i64)v->g->guest->vectors + 16 * (i64)((v->i->c >> n & 0xff) + k) - X64_BIAS); }
static inline X64Mem vec_d(const Vec *v, unsigned k) { return vec_register(v, 0, k); }
static inline X64Mem vec_s2(const Vec *v, unsigned k) { return vec_register(v, 8, k); }
static inline X64Mem vec_s1(const Vec *v, unsigned k) { return vec_register(v, 16, k); }

/* The first 16 bytes >> fraction of x, from memory, or to it. */
void vec_load_part(Vec *v, X64Mem m);
void vec_store_part(Vec *v, X64Mem m);
/* Stores x, or that part of it, to d's register k: always all of a register, because who reads it next would have to wait for a store of less. */
void vec_store(Vec *v, unsigned k);

/* An instruction whose operand is a vector register, in memory or where it was kept. */
static inline void vec_rm(const Vec *v, u32 insn, unsigned reg, X64Mem m) {
    if (v->kept != NO_REG && m.disp == v->kept_disp) x64_rr(v->b, insn, reg, v->kept);
    else x64_rm(v->b, insn, reg, m);
}

/* Is there code for the operation on this processor? */
bool vec_has_code(const Vec *v);
/* All bits of the active elements of register k are set in w; those of the others are clear. */
void vec_mask(Vec *v, unsigned k);
/* Also for some elements only, by mask or length? */
bool vec_has_partial(const Vec *v);
/* Emits it. */
void vec_operate(Vec *v);

#endif
