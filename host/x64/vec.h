/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files that lower vector instructions share: lower_vec.c (guards, memory, C) and lower_vec_ops.c (operations). */
#ifndef HOST_X64_VEC_H
#define HOST_X64_VEC_H

#include "host/x64/region.h"

#define I_MOVDQA INSN(1, 1, 0x6f)
#define I_MOVDQA_STORE INSN(1, 1, 0x7f)
#define I_MOVDQU INSN(1, 2, 0x6f)
#define I_MOVDQU_STORE INSN(1, 2, 0x7f)

/* An operation at work: its scratch registers, as instructions encode them, and its operands. In a block it works on all elements, and more registers come
 * from cg_temp; behind the block, where those keep values, on the first ones only (`partial`), with the registers that it is given. */
typedef struct Vec {
    Cg *g;
    X64Buf *b;
    const IrInsn *i;
    unsigned x, y, t, u; /* vector registers; x is xmm0 */
    unsigned a;          /* the general register of operand a, if it has one */
    unsigned width;      /* log2 bytes of an element */
    unsigned count;      /* registers of each operand */
    bool scalar;         /* s1 is the operand a: in all elements of y */
    bool partial;        /* elements from the state's vector length on stay as they are */
    unsigned w, r;       /* partial: a vector register and a general one besides */
    u8 *give_up;         /* rel32 of a branch to what C does instead; NULL */
} Vec;

/* Register k of an operand, in the guest's state. */
static inline X64Mem vec_register(const Vec *v, unsigned n, unsigned k) { return x64_mem(RBP, (i64)v->g->guest->vectors + 16 * (i64)((v->i->c >> n & 0xff) + k) - X64_BIAS); }
static inline X64Mem vec_d(const Vec *v, unsigned k) { return vec_register(v, 0, k); }
static inline X64Mem vec_s2(const Vec *v, unsigned k) { return vec_register(v, 8, k); }
static inline X64Mem vec_s1(const Vec *v, unsigned k) { return vec_register(v, 16, k); }

/* Is there code for the operation on this processor? */
bool vec_has_code(const Vec *v);
/* Also for the first elements only? */
bool vec_has_partial(const Vec *v);
/* Emits it. */
void vec_operate(Vec *v);

#endif
