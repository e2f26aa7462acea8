/* SPDX-License-Identifier: Apache-2.0 */
/* licm: pure operations whose operands come from outside a loop move in front of it, out of as many loops as that holds for. Condition: the
 * operation costs more than the register that holds its result around the loop: NaN-unboxing, multiplication, division, counting bits,
 * and the like. Sums, shifts and extensions are as cheap as a register move, and constants the back end makes
 * anew. Bought: the compiler of the guest's program has hoisted what it saw; it did not see that a single-precision operand in an f register is
 * checked for its NaN box at each use. A matrix product in single precision runs without these checks, 8 of 26 host instructions. */
#include "opt/opt.h"

typedef struct Licm {
    Opt *o;
    IrFunc *f;
    u32 *block_of; /* where each value is, or goes */
    u32 *next;     /* chain of values that go to the end of the same block, in their order */
    u32 *first, *last; /* by block */
    u32 moved;
} Licm;

static bool is_worth_it(const IrInsn *i) {
    switch ((int)i->op) {
    case IR_unbox: case IR_mul: case IR_mulhs: case IR_mulhu: case IR_mulhsu: case IR_divs: case IR_divu: case IR_rems: case IR_remu:
    case IR_clz: case IR_ctz: case IR_popcnt: case IR_bswap: case IR_crypto:
        return true;
    }
    return false;
}

static bool operands_there(const Licm *l, const IrInsn *i, u32 block) {
    const u32 ref[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++)
        if (!ir_dominates(&l->o->cfg, l->block_of[ref[k]], block)) return false;
    return true;
}

/* The block at whose end instruction i, which stands in `block`, can be; `block` itself if it must stay. */
static u32 best_block(const Licm *l, const IrInsn *i, u32 block) {
    for (;;) {
        const IrBlockInfo *b = &l->o->cfg.blocks.at[block];
        if (b->rpo == IR_ROOT || b->loop == IR_ROOT) return block;
        u32 before = l->o->cfg.blocks.at[b->loop].idom;
        if (before == IR_ROOT || !operands_there(l, i, before)) return block;
        block = before;
    }
}

static void chain(Licm *l, u32 id, u32 block) {
    l->block_of[id] = block;
    if (l->last[block]) l->next[l->last[block]] = id;
    else l->first[block] = id;
    l->last[block] = id;
}

static void find_moves(Licm *l) {
    u32 block = 0;
    for (u32 id = 1; id < l->f->insns.len; id++) {
        const IrInsn *i = &l->f->insns.at[id];
        if (i->op == IR_block) block = (u32)i->imm;
        l->block_of[id] = block;
        if (!is_worth_it(i)) continue;
        u32 to = best_block(l, i, block);
        if (to == block) continue;
        chain(l, id, to);
        l->moved++;
    }
}

static void reorder(Licm *l) {
    IrFunc *f = l->f;
    u32 *order = arena_alloc(&l->o->arena, f->insns.len * sizeof(u32)), n = 1, block = 0;
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_block) block = (u32)i->imm;
        if (l->block_of[id] != block) continue;
        if (ir_op_facts[i->op] & F_TERM)
            for (u32 k = l->first[block]; k; k = l->next[k]) order[n++] = k;
        order[n++] = id;
    }
    opt_reorder(l->o, f, order);
}

void opt_licm(Opt *o, IrFunc *f) {
    u32 *words = arena_alloc(&o->arena, (2 * f->insns.len + 2 * f->block_count) * sizeof(u32));
    Licm l = {.o = o, .f = f, .block_of = words, .next = words + f->insns.len, .first = words + 2 * f->insns.len, .last = words + 2 * f->insns.len + f->block_count};
    ir_cfg_make(&o->cfg, f);
    find_moves(&l);
    o->stats.hoisted += l.moved;
    if (l.moved) reorder(&l);
}
