/* SPDX-License-Identifier: Apache-2.0 */
/* branches: decides branches and side exits whose condition is known, and drops the blocks that nothing reaches any more, among them
 * entries that no call of the function returns to. The others are put in order again: a block that is now entered from below only must
 * stand behind what dominates it. Condition: none. Bought: the checks of inlined returns whose target is a
 * constant by now, and the merges with values that never come. */
#include "opt/opt.h"

/* Makes the rest of a block from id on, up to its terminator, nops. */
static void cut_block(IrFunc *f, u32 id) {
    for (bool end = false; !end; id++) {
        end = (ir_op_facts[f->insns.at[id].op] & F_TERM) != 0;
        f->insns.at[id] = (IrInsn){.op = IR_nop};
    }
}

static bool decide(Opt *o, IrFunc *f, u32 id) {
    IrInsn *i = &f->insns.at[id];
    if ((i->op != IR_br && i->op != IR_exit_if) || f->insns.at[i->a].op != IR_const) return false;
    bool yes = f->insns.at[i->a].imm & 1;
    o->stats.branches++;
    if (i->op == IR_br) {
        *i = (IrInsn){.op = IR_jmp, .a = f->args.len, .imm = yes ? (u32)i->imm : i->imm >> 32};
    } else if (!yes) {
        *i = (IrInsn){.op = IR_nop};
    } else {
        *i = (IrInsn){.op = IR_exit, .aux = EXIT_JUMP, .c = i->c, .imm = i->imm};
        cut_block(f, id + 1);
    }
    return true;
}

static void reach(Opt *o, u8 *reached, u32 block) {
    if (reached[block]) return;
    reached[block] = 1;
    vec_push(&o->list, block);
}

static void reach_all(Opt *o, const IrFunc *f, u8 *reached) {
    o->list.len = 0;
    reach(o, reached, 0);
    while (o->list.len) {
        const IrBlockInfo *b = &o->cfg.blocks.at[o->list.at[--o->list.len]];
        const IrInsn *last = &f->insns.at[b->last];
        for (u32 k = 0; k < b->succ_count; k++) reach(o, reached, b->succ[k]);
        if ((last->op == IR_exit || last->op == IR_exit_ind) && last->b) reach(o, reached, last->b);
    }
}

/* Blocks in reverse postorder, numbered anew, those that are not reached left out; all references follow. */
static void reorder(Opt *o, IrFunc *f, const u8 *reached) {
    u32 *map = arena_alloc(&o->arena, f->insns.len * sizeof(u32)), *number = arena_alloc(&o->arena, f->block_count * sizeof(u32));
    IrFunc *out = &o->other;
    out->insns.len = 0;
    f->block_count = 0;
    vec_push(&out->insns, f->insns.at[0]);
    for (u32 k = 0; k < o->cfg.order.len; k++) {
        u32 n = o->cfg.order.at[k];
        if (!reached[n]) continue;
        number[n] = f->block_count++;
        for (u32 id = o->cfg.blocks.at[n].first; id <= o->cfg.blocks.at[n].last; id++) {
            map[id] = out->insns.len;
            vec_push(&out->insns, f->insns.at[id]);
        }
    }
    for (u32 id = 1; id < out->insns.len; id++) {
        IrInsn *i = &out->insns.at[id];
        opt_map_operands(f, i, map);
        if (i->op == IR_block || i->op == IR_jmp) i->imm = number[i->imm];
        if (i->op == IR_br) i->imm = number[(u32)i->imm] | (u64)number[i->imm >> 32] << 32;
        if ((i->op == IR_exit || i->op == IR_exit_ind) && i->b) i->b = number[i->b];
    }
    for (u32 k = 0; k < f->states.len; k++) f->states.at[k].value = map[f->states.at[k].value];
    for (u32 k = 0; k < f->frames.len; k++) f->frames.at[k].insn = map[f->frames.at[k].insn];
    f->insns.len = out->insns.len;
    memcpy(f->insns.at, out->insns.at, out->insns.len * sizeof(IrInsn));
}

void opt_drop_blocks(Opt *o, IrFunc *f) {
    ir_cfg_make(&o->cfg, f);
    u8 *reached = arena_alloc(&o->arena, f->block_count);
    reach_all(o, f, reached);
    for (u32 n = 0; n < f->block_count; n++) /* entries of calls that are gone are no roots: they would spoil the order */
        if (!reached[n]) f->insns.at[o->cfg.blocks.at[n].first].aux = 0;
    ir_cfg_make(&o->cfg, f);
    reorder(o, f, reached);
    opt_compact(o, f);
}

void opt_branches(Opt *o, IrFunc *f) {
    bool any = false;
    for (u32 id = 1; id < f->insns.len; id++) any |= decide(o, f, id);
    o->decided |= any;
    if (any) opt_drop_blocks(o, f);
}
