/* SPDX-License-Identifier: Apache-2.0 */
/* opt: the optimiser: passes over a function of many blocks that engine/region.c built. One file per pass; opt_run calls them in
 * order. The first, promote, turns slots into values; all others work on promoted functions (ir.h) and keep them valid: the
 * verifier runs after each in the debug build.
 *
 * A pass either changes the function in place, leaving nops and what opt_compact can remove, or copies it (rewrite.c). Guests are
 * hostile: nothing may take more than about n log n time, or assume that loops are nests.
 *
 * Threads: an Opt belongs to one; it holds scratch memory that is reused from function to function.
 */
#ifndef OPT_OPT_H
#define OPT_OPT_H

#include "ir/cfg.h"
#include "ir/guest.h"

/* What passes did, summed over functions: IR instructions as lifted and at the end; gets and puts that became values; parameters that were always one value, or dead; and so on. --stats
 * prints them. */
#define OPT_EACH_STAT(X)                                                                                                           \
    X(functions) X(insns_before) X(insns_after) X(promoted) X(params) X(folded) X(merged) X(loads) X(loads_merged) X(forwarded)      \
    X(stores_merged) X(divisors) X(prefetches) X(skipped) X(choices) X(joins) X(nests) X(extensions) X(sunk) X(hoisted) X(paired)    \
    X(dead) X(branches)
typedef struct OptStats {
#define OPT_STAT_FIELD(name) u64 name;
    OPT_EACH_STAT(OPT_STAT_FIELD)
#undef OPT_STAT_FIELD
} OptStats;

enum { OPT_SEEN = 33 };

typedef struct Opt {
    u32 pinned;     /* so many of Guest.hot_slots and of hot_fslots have their home in host registers */
    OptStats stats;
    const u64 *seen; /* by slot, below OPT_SEEN: what it held when somebody looked, a guess; NULL: nobody did */
    u32 skipped;    /* of the last function: guest instructions, at most, that one of its own stands for, as opt_skip left out their rounds and polls */
    /* private */
    IrFunc other;   /* where a copying pass writes */
    IrCfg cfg;
    Arena arena;    /* of one pass */
    VEC(u32) map, list;
    bool decided;   /* something was found by a pass behind which opt_simplify finds more */
    const char *broken; /* the pass that made invalid IR; NULL: none did */
} Opt;

/* Promotes and optimises f; sets o->skipped. */
void opt_run(Opt *o, IrFunc *f);
void opt_drop(Opt *o);

/* --- passes: what each does, and its condition, stands in its file ------------------------------------------------ */

void opt_promote(Opt *o, IrFunc *f);
void opt_params(Opt *o, IrFunc *f);
void opt_forward(Opt *o, IrFunc *f);
void opt_merge(Opt *o, IrFunc *f);
void opt_stores(Opt *o, IrFunc *f);
void opt_divisors(Opt *o, IrFunc *f);
void opt_simplify(Opt *o, IrFunc *f); /* fold.c, cse.c */
void opt_branches(Opt *o, IrFunc *f);
void opt_skip(Opt *o, IrFunc *f);
void opt_choose(Opt *o, IrFunc *f);
void opt_join(Opt *o, IrFunc *f);
void opt_nest(Opt *o, IrFunc *f);
void opt_sink(Opt *o, IrFunc *f);
void opt_licm(Opt *o, IrFunc *f);
void opt_prefetch(Opt *o, IrFunc *f);
void opt_schedule(Opt *o, IrFunc *f);
void opt_dce(Opt *o, IrFunc *f);
void opt_extend(Opt *o, IrFunc *f);

/* --- what passes share --------------------------------------------------------------------------------------------- */

/* Removes nops, and parameters that became nops with their arguments; renumbers values. */
void opt_compact(Opt *o, IrFunc *f);
/* Instruction order[n] becomes the n-th, for n from 1; references follow. */
void opt_reorder(Opt *o, IrFunc *f, const u32 *order);
/* Makes f's instructions those of o->other, a copy in which value v has number map[v]; states and frames follow. */
void opt_take_copy(Opt *o, IrFunc *f, const u32 *map);
typedef struct OptPlace { /* in memory */
    u32 base;       /* value */
    i64 disp;
} OptPlace;
/* The place at base + disp: a sum with a constant is a displacement, too. */
OptPlace opt_place(const IrFunc *f, u32 base, i64 disp);
static inline OptPlace opt_access_place(const IrFunc *f, const IrInsn *access) { return opt_place(f, access->a, (i32)access->imm); }
/* Have accesses of so many bytes bytes in common, if not for their bases? Addresses are modulo 2^64. */
static inline bool opt_overlap(OptPlace a, u32 a_size, OptPlace b, u32 b_size) {
    u64 apart = (u64)b.disp - (u64)a.disp;
    return apart < a_size || -apart < b_size;
}
/* May it be computed, though it is perhaps not wanted? */
bool opt_is_cheap(const IrInsn *i);
/* Drops the blocks that nothing reaches; the others are in order again. */
void opt_drop_blocks(Opt *o, IrFunc *f);
/* Replaces f by o->other. */
void opt_swap(Opt *o, IrFunc *f);

/* A copy in which branches are put into the middle of blocks: begin; then each instruction in turn, copied or something in its stead; end. */
typedef struct OptSplit {
    Opt *o;
    IrFunc *f;
    u32 *map;    /* by id: in the new function */
    u32 *number; /* by block: likewise */
} OptSplit;
void opt_split_begin(OptSplit *s);
u32 opt_split_copy(OptSplit *s, u32 id);
/* These take new ids. */
u32 opt_split_emit(OptSplit *s, IrInsn i);
/* Ends the block with a branch to the next two, and opens the first; the number of the third, where both are to go. */
u32 opt_split_branch(OptSplit *s, u32 cond);
void opt_split_block(OptSplit *s); /* opens the next block */
void opt_split_jump(OptSplit *s, u32 block, u32 n, const u32 *args);
void opt_split_end(OptSplit *s);

/* Calls of arguments in IrFunc.args. */
static inline bool opt_has_args(IrOp op) { return op == IR_call || op == IR_jmp; }

static inline void opt_map_operands(IrFunc *f, IrInsn *i, const u32 *map) {
    unsigned n = ir_op_operands[i->op];
    if (n > 0) i->a = map[i->a];
    if (n > 1) i->b = map[i->b];
    if (n > 2) i->c = map[i->c];
    if (opt_has_args((IrOp)i->op))
        for (u32 k = 0; k < i->b; k++) f->args.at[i->a + k] = map[f->args.at[i->a + k]];
}

#endif
