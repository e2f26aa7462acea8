/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: which instructions have no code of their own, because their users do their work. */
#include "host/x64/region.h"

/* A comparison that one branch, select or extension of the same block wants: the flags need no register. */
static bool fuses_comparison(const Region *r, const IrInsn *i, u32 id) {
    if (i->op < IR_eq || i->op > IR_leu || i->uses != 1 || !i->last || r->block_of[i->last] != r->block_of[id]) return false;
    const IrInsn *user = cg_insn(r->g, i->last);
    switch (user->op) {
    case IR_exit_if: case IR_trap_if: case IR_br: return true;
    case IR_zext: case IR_sext: case IR_select: return user->a == id;
    default: return false;
    }
}

void region_select(Region *r) {
    Cg *g = r->g;
    for (u32 id = 1; id < g->f->insns.len; id++) g->val.at[id].fused = fuses_comparison(r, cg_insn(g, id), id);
}
