/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of vector*.c share: an instruction under way (Vec), its row of vector.def, and its elements.
 *
 * The order of things: vector.c finds the row, and refuses what is reserved (vec_legal), so that whoever does the instruction finds
 * register groups that lie within the 32 registers. Elements are little-endian and dense, registers follow one another: element k of a
 * group is at index k behind its first register. Integer instructions compute all elements below vl by tight loops (VecKernel) into
 * a buffer, without a look at the mask; vec_commit then moves the active ones. */
#ifndef ISA_RISCV_VECTOR_IMPL_H
#define ISA_RISCV_VECTOR_IMPL_H

#include "base/softfp.h"
#include "ir/guest.h"
#include "isa/riscv/vector.h"

typedef struct VecRow VecRow;

typedef struct Vec {
    Vcpu *cpu;
    RvState *s;
    const VecRow *row;
    u32 bits;
    u8 vd, vs1, vs2; /* register numbers; vs1 is the immediate of .vi forms, too */
    bool vector;     /* the second operand is vs1, not `scalar` */
    bool masked;
    u8 sew;          /* log2 of bytes: 0..3 */
    i8 lmul;         /* log2: -3..3 */
    u32 vl, start;
    u64 x, y;        /* values of rs1 and rs2 */
    u64 scalar;      /* the second operand of .vx .vi .vf forms, cut to SEW by who uses it */
} Vec;

/* Operands: how wide their elements are. */
typedef enum VecKind {
    RVV_NONE,
    RVV_V,       /* SEW */
    RVV_W,       /* 2 * SEW */
    RVV_H,       /* SEW / 2, 4, 8 */
    RVV_Q,
    RVV_E,
    RVV_I16,     /* 16 bits */
    RVV_MASK,    /* a bit each, in one register */
    RVV_SCALAR,  /* element 0 of one register: SEW, 2 * SEW */
    RVV_SCALARW,
    RVV_GROUP,   /* element group 0 of one register */
} VecKind;

enum { /* VecRow.facts */
    RVV_UIMM = 1,     /* the immediate is unsigned */
    RVV_READS = 2,    /* vd is a source, too */
    RVV_CARRY = 4,    /* v0, if named, is a source and no mask */
    RVV_START0 = 8,   /* wants vstart 0 */
    RVV_APART = 16,   /* vd lies apart from all sources */
    RVV_FD = 32,      /* elements of vd are floating-point numbers */
    RVV_FS = 64,      /* those of the sources are */
    RVV_EGS4 = 128,   /* works on groups of four elements */
    RVV_EGS8 = 256,   /* of eight */
    RVV_SEW32 = 512,  /* SEW is 32; with SEW64: either */
    RVV_SEW64 = 1024,
    RVV_APART2 = 2048, /* vd lies apart from vs2 */
};

enum { RVV_BUFFER = 8 * RV_VLENB }; /* bytes of the largest group, and the most elements */

typedef struct VecLanes { /* what a kernel works on */
    void *d;          /* a buffer; holds the old elements if the row READS */
    const void *a, *b; /* vs2; vs1 or copies of the scalar */
    u32 n;            /* elements */
    u32 vxrm, vlmax;
    const u8 *carry;  /* 0 or 1 for each element: v0's bits; of reductions: whether it takes part */
    u8 *saturated;    /* set to 0 or 1 by kernels that can saturate */
} VecLanes;
typedef void VecKernel(const VecLanes *l);
typedef struct VecKernels {
    VecKernel *at[4]; /* by sew; NULL: does not come up */
} VecKernels;

typedef struct VecFloat { /* what a floating-point operation is done in */
    int type; /* SoftfpType of SEW; widening ones add 1 to it. SEW of 8 bits: -1 */
    SoftfpRound rm;
    u32 *flags;
} VecFloat;
/* Patterns in low bits: a of vs2, b of vs1 or the scalar, c the old element of vd. */
typedef u64 VecFloatOp(const VecFloat *f, u64 a, u64 b, u64 c);

struct VecRow {
    void (*run)(const Vec *i); /* NULL: no row */
    union {
        const VecKernels *kernels;
        VecFloatOp *op;
    };
    u8 d, a, b; /* VecKind of vd, vs2, vs1 */
    u16 facts;
};

/* --- elements ------------------------------------------------------------------------------------------------- */

/* A register, or the first one of a group. */
static inline u8 *vec_reg(const Vec *i, unsigned n) { return (u8 *)i->s->v + n * RV_VLENB; }
static inline u64 vec_get(const void *p, unsigned sew, u32 k) {
    switch (sew) {
    case 0: return ((const u8 *)p)[k];
    case 1: return ((const u16 *)p)[k];
    case 2: return ((const u32 *)p)[k];
    default: return ((const u64 *)p)[k];
    }
}
static inline void vec_put(void *p, unsigned sew, u32 k, u64 v) {
    switch (sew) {
    case 0: ((u8 *)p)[k] = (u8)v; break;
    case 1: ((u16 *)p)[k] = (u16)v; break;
    case 2: ((u32 *)p)[k] = (u32)v; break;
    default: ((u64 *)p)[k] = v;
    }
}
static inline bool vec_bit(const u8 *mask, u32 k) { return mask[k / 8] >> (k & 7) & 1; }
/* Of byte k of a mask, the bits from vstart on and below vl. */
static inline u8 vec_body_byte(const Vec *i, u32 k) {
    u32 from = MAX(i->start, 8 * k), to = MIN(i->vl, 8 * k + 8);
    return from < to ? (u8)(low_bits(~0u, to - from) << (from & 7)) : 0;
}
/* Of an element at or after vstart. */
static inline bool vec_active(const Vec *i, u32 k) { return !i->masked || vec_bit(vec_reg(i, 0), k); }
static inline u32 vec_vlmax(const Vec *i) { return (u32)RVV_BUFFER >> (3 + i->sew - i->lmul); }

/* log2 of the bytes of an operand's element. */
static inline unsigned vec_width(const Vec *i, u8 kind) {
    switch ((VecKind)kind) {
    case RVV_W: case RVV_SCALARW: return i->sew + 1u;
    case RVV_H: return i->sew - 1u;
    case RVV_Q: return i->sew - 2u;
    case RVV_E: return i->sew - 3u;
    case RVV_I16: return 1;
    case RVV_NONE: case RVV_V: case RVV_MASK: case RVV_SCALAR: case RVV_GROUP: break;
    }
    return i->sew;
}

/* Bits as bytes, 0 or 1. */
void vec_spread(u8 *to, const u8 *bits, u32 n);
/* Moves the active elements of a buffer to vd. */
void vec_commit(const Vec *i, const void *from);
/* The same for a mask, of which the buffer holds a byte for each bit. */
void vec_commit_mask(const Vec *i, const u8 *from);
/* Copies of the scalar, to fill a buffer. */
void vec_splat(u64 *to, unsigned sew, u64 v);

/* --- who does what ------------------------------------------------------------------------------------------------ */

#define INT(op, how, what, d, a, b, facts) extern const VecKernels vec_k_##what; void vec_run_##how(const Vec *i);
#define FLOAT(op, how, what, d, a, b, facts) VecFloatOp vec_f_##what; void vec_run_##how(const Vec *i);
#define OTHER(op, how, d, a, b, facts) void vec_run_##how(const Vec *i);
#include "isa/riscv/vector.def"

/* Any load or store: a TrapCode, with vstart set; 0 for done. */
unsigned vec_memory(Vec *i, bool known);
/* riscv_vector_is_legal's part of it, which need not be asked again if it is `known`. */
bool vec_memory_is_legal(const Vec *i);

#endif
