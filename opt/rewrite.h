/* SPDX-License-Identifier: Apache-2.0 */
/* opt/rewrite: the copying walk that fold.c and cse.c take part in: each instruction is made anew, with operands that are new
 * already; fold says what it comes to, cse whether that exists where it is wanted.
 */
#ifndef OPT_REWRITE_H
#define OPT_REWRITE_H

#include "opt/opt.h"

typedef struct Known { /* what memory holds: made by a load or a store */
    OptPlace at;
    u8 log2size;
    u8 type;           /* IrType of the value */
    bool stored;       /* `value` is what was stored, its low bytes count; else what the load extended as aux2 says */
    u8 aux2;
    u32 value;         /* 0: free */
} Known;
enum { KNOWN_LEN = 24 };

typedef struct Rewrite {
    Opt *o;
    IrFunc *f;          /* new */
    const IrFunc *old;
    u32 *map;           /* old id to new */
    u8 *extended;       /* by old id: sign-extended from 32 bits, whatever comes */
    u8 *extended_param; /* by new id: likewise, parameters */
    u8 *thin;           /* by old id: parameters that are carried as what they are extended from: IR_I32 or IR_F32, 0: as they are */
    u8 *wide;           /* by old id: somebody wants more than the low 32 bits */
    u32 depth;          /* of fold_low_op in itself */
    u32 block;          /* old number of the block under way */
    u32 *block_of;      /* new id to old block number */
    u32 *heads, *next;  /* cse: chains of values by hash */
    u32 head_mask, cap; /* length of heads; of next and block_of */
    Known known[KNOWN_LEN];
    u32 known_at;       /* where the next one goes */
} Rewrite;

static inline const IrInsn *rw_at(const Rewrite *w, u32 id) { return &w->f->insns.at[id]; }
static inline bool rw_const_at(const Rewrite *w, u32 id, u64 *v) {
    const IrInsn *i = rw_at(w, id);
    *v = i->imm;
    return i->op == IR_const;
}

/* Appends i, whose operands are new ids, without folding; or finds it where it dominates this place. */
u32 rw_value(Rewrite *w, IrInsn i);
u32 rw_constant(Rewrite *w, IrType type, u64 bits);

/* fold.c: the value that i comes to, folded as far as may be. Its operands are new ids. i is pure and no call. */
u32 fold_insn(Rewrite *w, IrInsn i);
static inline u32 rw_make2(Rewrite *w, IrOp op, IrType t, u32 a, u32 b) { return fold_insn(w, (IrInsn){.op = (u8)op, .type = (u8)t, .a = a, .b = b}); }
static inline u32 rw_make_imm(Rewrite *w, IrOp op, IrType t, u32 a, u64 imm) { return rw_make2(w, op, t, a, rw_constant(w, t, imm)); }
static inline u32 rw_make_ext(Rewrite *w, IrOp op, unsigned bits, u32 a) { return fold_insn(w, (IrInsn){.op = (u8)op, .type = IR_I64, .aux = (u8)bits, .a = a}); }
static inline u32 rw_make_trunc(Rewrite *w, u32 a) { return fold_insn(w, (IrInsn){.op = IR_trunc, .type = IR_I32, .a = a}); }

/* The i1 that tells whether i1 `cond` is false. */
u32 fold_not(Rewrite *w, u32 cond);

/* Fills extended: optimistically, for parameters that only get such values. */
void fold_find_extended(Rewrite *w);
/* Fills thin. */
void fold_find_thin(Rewrite *w);
/* Fills wide. */
void fold_find_wide(Rewrite *w);
/* The value of a sum, or the like, of which only the low half is wanted; operands new; 0: it is none. */
u32 fold_narrow(Rewrite *w, IrInsn i);

/* divide.c: the value of a division by c, or of its remainder. */
u32 fold_division(Rewrite *w, const IrInsn *i, u64 c);

/* cse.c */
void cse_begin(Rewrite *w);
u32 cse_find(Rewrite *w, const IrInsn *i);
void cse_add(Rewrite *w, u32 id);
/* Memory: nothing is known any more; a load whose value is known (0: it is not); what a load or store (new id, operands new) teaches. */
void cse_forget(Rewrite *w);
u32 cse_load(Rewrite *w, const IrInsn *load);
void cse_note(Rewrite *w, u32 id);

#endif
