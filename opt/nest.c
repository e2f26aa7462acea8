/* SPDX-License-Identifier: Apache-2.0 */
/* nest: a loop and the loop around it that have one head, as all loops do around the head of a region, get a head each: what comes around the outer one, or from
 * outside, goes through a block of its own first. Condition: jumps back to the head that leave a parameter as it is are the inner loop's, if others
 * change it. Bought: what only the outer loop changes is no parameter of the inner one any more, so licm moves out what is made of it: the boxes of single-precision
 * operands that an outer loop has loaded. */
#include "opt/opt.h"

enum { EDGES = 32 };

typedef struct Head {
    const IrBlockInfo *b;
    u32 param, count; /* its first parameter; how many there are */
    u32 back, inner;  /* bits: of the edges to it, those of loops; of the inner one */
} Head;

static const IrInsn *jump_of(const Opt *o, const IrFunc *f, const Head *h, u32 e) {
    return &f->insns.at[o->cfg.blocks.at[o->cfg.preds.at[h->b->pred + e]].last];
}

/* The edges of loops that leave parameter k as it is. */
static u32 keepers(const Opt *o, const IrFunc *f, const Head *h, u32 k) {
    u32 kept = 0;
    for (u32 e = 0; e < h->b->pred_count; e++)
        if ((h->back >> e & 1) && f->args.at[jump_of(o, f, h, e)->a + k] == h->param + k) kept |= 1u << e;
    return kept;
}

/* Those that most parameters which they do not all keep tell apart from the others. 0: there is but one loop. */
static u32 inner_edges(const Opt *o, const IrFunc *f, const Head *h) {
    u32 sets[EDGES], votes[EDGES] = {0}, count = 0, best = 0;
    for (u32 k = 0; k < h->count; k++) {
        u32 kept = keepers(o, f, h, k), n = 0;
        if (!kept || kept == h->back) continue;
        while (n < count && sets[n] != kept) n++;
        if (n == EDGES) continue;
        if (n == count) sets[count++] = kept;
        if (++votes[n] > votes[best]) best = n;
    }
    return count ? sets[best] : 0;
}

static bool find_head(const Opt *o, const IrFunc *f, u32 n, Head *h) {
    const IrBlockInfo *b = &o->cfg.blocks.at[n];
    *h = (Head){.b = b, .param = b->first + 1};
    while (f->insns.at[h->param + h->count].op == IR_param) h->count++;
    if (b->rpo == IR_ROOT || b->entry || !h->count || b->pred_count > EDGES) return false;
    for (u32 e = 0; e < b->pred_count; e++)
        if (ir_dominates(&o->cfg, n, o->cfg.preds.at[b->pred + e])) h->back |= 1u << e;
    if (!(h->back & (h->back - 1))) return false; /* fewer than two */
    h->inner = inner_edges(o, f, h);
    return h->inner;
}

static void append(IrFunc *f, IrInsn i) { vec_push(&f->insns, i); }

/* The outer loop's head, a block with the same parameters that goes on to block n. */
static void split(const Opt *o, IrFunc *f, const Head *h, u32 n) {
    u32 outer = f->block_count++, first = f->args.len;
    for (u32 e = 0; e < h->b->pred_count; e++)
        if (!(h->inner >> e & 1)) f->insns.at[o->cfg.blocks.at[o->cfg.preds.at[h->b->pred + e]].last].imm = outer;
    append(f, (IrInsn){.op = IR_block, .imm = outer});
    for (u32 k = 0; k < h->count; k++) {
        vec_push(&f->args, f->insns.len);
        append(f, f->insns.at[h->param + k]);
    }
    append(f, (IrInsn){.op = IR_jmp, .a = first, .b = h->count, .imm = n});
}

void opt_nest(Opt *o, IrFunc *f) {
    u32 blocks = f->block_count;
    ir_cfg_make(&o->cfg, f);
    for (u32 n = 1; n < blocks; n++) {
        Head h;
        if (find_head(o, f, n, &h)) split(o, f, &h, n);
    }
    if (f->block_count == blocks) return;
    o->stats.nests += f->block_count - blocks;
    o->decided = true;
    opt_drop_blocks(o, f);
}
