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

typedef struct OptStats { /* sums over all functions */
    u64 functions, insns_before, insns_after; /* IR instructions: as lifted, at the end */
    u64 promoted;   /* gets and puts that became values */
    u64 params;     /* parameters that were always one value, or dead */
    u64 folded, merged, loads, loads_merged, prefetches, skipped, choices, joins, nests, extensions, sunk, hoisted, paired, dead, branches;
} OptStats;

typedef struct Opt {
    u32 pinned;     /* so many of Guest.hot_slots and of hot_fslots have their home in host registers */
    OptStats stats;
    u32 skipped;    /* of the last function: guest instructions, at most, that one of its own stands for, as opt_skip left out their rounds and polls */
    /* private */
    IrFunc other;   /* where a copying pass writes */
    IrCfg cfg;
    Arena arena;    /* of one pass */
    VEC(u32) map, list;
    bool decided;   /* opt_merge, opt_branches, opt_choose, opt_join or opt_nest found something */
    const char *broken; /* the pass that made invalid IR; NULL: none did */
} Opt;

/* Promotes and optimises f; sets o->skipped. */
void opt_run(Opt *o, IrFunc *f);
void opt_drop(Opt *o);

/* --- passes: what each does, and its condition, stands in its file ------------------------------------------------ */

void opt_promote(Opt *o, IrFunc *f);
void opt_params(Opt *o, IrFunc *f);
void opt_merge(Opt *o, IrFunc *f);
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
/* May it be computed, though it is perhaps not wanted? */
bool opt_is_cheap(const IrInsn *i);
/* Drops the blocks that nothing reaches; the others are in order again. */
void opt_drop_blocks(Opt *o, IrFunc *f);
/* Replaces f by o->other. */
void opt_swap(Opt *o, IrFunc *f);

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
