/* SPDX-License-Identifier: Apache-2.0 */
/* See cfg.h. */
#include "ir/cfg.h"

static void find_blocks(IrCfg *c, const IrFunc *f) {
    c->blocks.len = 0;
    vec_reserve(&c->blocks, f->block_count);
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_block) vec_push(&c->blocks, ((IrBlockInfo){.first = id, .idom = IR_ROOT, .rpo = IR_ROOT, .loop = IR_ROOT, .entry = i->imm == 0 || i->aux}));
        if (!(ir_op_facts[i->op] & F_TERM)) continue;
        IrBlockInfo *b = &c->blocks.at[c->blocks.len - 1];
        b->last = id;
        if (i->op == IR_jmp || i->op == IR_br) b->succ[b->succ_count++] = (u32)i->imm;
        if (i->op == IR_br) b->succ[b->succ_count++] = (u32)(i->imm >> 32);
    }
}

/* Depth first from b, an entry; `work` is the stack of blocks under way, and blocks are pushed to `order` when they are done. */
static void walk_from(IrCfg *c, u32 entry) {
    c->work.len = 0;
    vec_push(&c->work, entry);
    c->blocks.at[entry].rpo = 0; /* met */
    while (c->work.len) {
        IrBlockInfo *b = &c->blocks.at[c->work.at[c->work.len - 1]];
        u32 k = b->pre++; /* next edge to follow */
        if (k >= b->succ_count) {
            vec_push(&c->order, c->work.at[--c->work.len]);
            continue;
        }
        u32 to = b->succ[b->succ_count - 1 - k]; /* the last one first: the first stands nearest in the order */
        if (c->blocks.at[to].rpo != IR_ROOT) continue;
        c->blocks.at[to].rpo = 0;
        vec_push(&c->work, to);
    }
}

static void make_order(IrCfg *c) {
    c->order.len = 0;
    for (u32 b = c->blocks.len; b-- > 0;)
        if (c->blocks.at[b].entry && c->blocks.at[b].rpo == IR_ROOT) walk_from(c, b);
    for (u32 k = 0, n = c->order.len; k < n / 2; k++) {
        u32 swap = c->order.at[k];
        c->order.at[k] = c->order.at[n - 1 - k];
        c->order.at[n - 1 - k] = swap;
    }
    for (u32 k = 0; k < c->order.len; k++) c->blocks.at[c->order.at[k]].rpo = k;
}

static void make_preds(IrCfg *c) {
    u32 total = 0;
    for (u32 k = 0; k < c->order.len; k++) {
        const IrBlockInfo *b = &c->blocks.at[c->order.at[k]];
        for (u32 s = 0; s < b->succ_count; s++) c->blocks.at[b->succ[s]].pred_count++;
    }
    for (u32 k = 0; k < c->order.len; k++) {
        IrBlockInfo *b = &c->blocks.at[c->order.at[k]];
        b->pred = total;
        total += b->pred_count;
        b->pred_count = 0;
    }
    c->preds.len = 0;
    vec_reserve(&c->preds, total + 1);
    c->preds.len = total;
    for (u32 k = 0; k < c->order.len; k++) {
        const IrBlockInfo *b = &c->blocks.at[c->order.at[k]];
        for (u32 s = 0; s < b->succ_count; s++) {
            IrBlockInfo *to = &c->blocks.at[b->succ[s]];
            c->preds.at[to->pred + to->pred_count++] = c->order.at[k];
        }
    }
}

/* The nearest common dominator. The root, above all, is IR_ROOT. */
static u32 meet(const IrCfg *c, u32 a, u32 b) {
    while (a != b) {
        if (a == IR_ROOT || b == IR_ROOT) return IR_ROOT;
        if (c->blocks.at[a].rpo > c->blocks.at[b].rpo) a = c->blocks.at[a].idom;
        else b = c->blocks.at[b].idom;
    }
    return a;
}

enum { UNKNOWN = IR_ROOT - 1 };

static bool improve_idom(IrCfg *c, IrBlockInfo *b) {
    if (b->entry) return false;
    u32 idom = UNKNOWN;
    for (u32 k = 0; k < b->pred_count; k++) {
        u32 p = c->preds.at[b->pred + k];
        if (c->blocks.at[p].idom == UNKNOWN) continue;
        idom = idom == UNKNOWN ? p : meet(c, idom, p);
    }
    bool changed = idom != b->idom;
    b->idom = idom;
    return changed;
}

static void make_dominators(IrCfg *c) {
    for (u32 k = 0; k < c->order.len; k++) {
        IrBlockInfo *b = &c->blocks.at[c->order.at[k]];
        b->idom = b->entry ? IR_ROOT : UNKNOWN;
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (u32 k = 0; k < c->order.len; k++) changed |= improve_idom(c, &c->blocks.at[c->order.at[k]]);
    }
}

/* Numbers of the dominator tree's walk without the tree: sizes of subtrees from the bottom, then places from the top. */
static void number_tree(IrCfg *c) {
    for (u32 b = 0; b < c->blocks.len; b++) c->blocks.at[b].post = 1; /* size, for now */
    for (u32 k = c->order.len; k-- > 0;) {
        const IrBlockInfo *b = &c->blocks.at[c->order.at[k]];
        if (b->idom != IR_ROOT) c->blocks.at[b->idom].post += b->post;
    }
    u32 root_next = 0;
    c->work.len = 0;
    vec_reserve(&c->work, c->blocks.len);
    for (u32 k = 0; k < c->order.len; k++) {
        IrBlockInfo *b = &c->blocks.at[c->order.at[k]];
        u32 *next = b->idom == IR_ROOT ? &root_next : &c->work.at[b->idom];
        b->pre = *next;
        *next += b->post;
        c->work.at[c->order.at[k]] = b->pre + 1;
        b->post += b->pre - 1;
    }
}

/* Everything that reaches `from` without passing `head` lies in the loop. Outer loops come first in the order, so inner ones overwrite. */
static void mark_loop(IrCfg *c, u32 head) {
    c->work.len = 0;
    for (u32 k = 0; k < c->blocks.at[head].pred_count; k++) {
        u32 p = c->preds.at[c->blocks.at[head].pred + k];
        if (ir_dominates(c, head, p)) vec_push(&c->work, p);
    }
    if (!c->work.len) return;
    c->blocks.at[head].loop = head;
    c->blocks.at[head].depth++;
    while (c->work.len) {
        u32 n = c->work.at[--c->work.len];
        IrBlockInfo *b = &c->blocks.at[n];
        if (b->loop == head) continue;
        b->loop = head;
        b->depth++;
        for (u32 k = 0; k < b->pred_count; k++) vec_push(&c->work, c->preds.at[b->pred + k]);
    }
}

void ir_cfg_make(IrCfg *c, const IrFunc *f) {
    find_blocks(c, f);
    make_order(c);
    make_preds(c);
    make_dominators(c);
    number_tree(c);
    for (u32 k = 0; k < c->order.len; k++) mark_loop(c, c->order.at[k]);
}

void ir_cfg_drop(IrCfg *c) {
    vec_drop(&c->blocks);
    vec_drop(&c->preds);
    vec_drop(&c->order);
    vec_drop(&c->work);
}
