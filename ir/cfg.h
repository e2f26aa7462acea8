/* SPDX-License-Identifier: Apache-2.0 */
/* ir/cfg: the shape of a function of many blocks: who jumps to whom, in which order to walk, who dominates whom, what
 * is a loop. Made anew by who wants it; valid until the function changes.
 *
 * Entry blocks hang below a root that is no block. Dominators: Cooper, Harvey, Kennedy, "A simple, fast dominance algorithm"; its
 * answers hold for irreducible graphs, too. A *loop* here is what can reach the source of an edge to a block that dominates it: cycles
 * without such a block are in no loop.
 */
#ifndef IR_CFG_H
#define IR_CFG_H

#include "ir/ir.h"

typedef struct IrBlockInfo {
    u32 first, last;     /* ids of its `block` and of its terminator */
    u32 succ[2];         /* block numbers; succ_count of them; may be equal */
    u32 succ_count;
    u32 pred, pred_count; /* range of IrCfg.preds; one for each edge */
    u32 idom;            /* immediate dominator; IR_ROOT: none */
    u32 pre, post;       /* of a walk over the dominator tree: a dominates b if pre and post enclose b's */
    u32 rpo;             /* place in IrCfg.order; IR_ROOT: unreachable */
    u32 loop;            /* head of the innermost loop; IR_ROOT: none */
    u32 depth;           /* number of loops around */
    bool entry;
} IrBlockInfo;
#define IR_ROOT 0xffffffffu

typedef struct IrCfg {
    VEC(IrBlockInfo) blocks; /* by number */
    VEC(u32) preds;
    VEC(u32) order;          /* reachable blocks in reverse postorder */
    VEC(u32) work;
} IrCfg;

/* Fills c (zeroed before its first use; reused). All blocks must be closed and exist; nothing else is assumed. */
void ir_cfg_make(IrCfg *c, const IrFunc *f);
void ir_cfg_drop(IrCfg *c);
/* Only of reachable blocks. A block dominates itself. */
static inline bool ir_dominates(const IrCfg *c, u32 a, u32 b) {
    return c->blocks.at[a].pre <= c->blocks.at[b].pre && c->blocks.at[b].post <= c->blocks.at[a].post;
}

#endif
