/* SPDX-License-Identifier: Apache-2.0 */
/* dce: drops values that nobody uses: not an instruction with an effect, not one that can fault or leave, not a frame of such a
 * one; parameters count as used only if something but themselves uses them. Also `insn`s behind which nothing can fault. Condition: the
 * operation is pure, a get, a constant or a parameter: a load whose value is not wanted may still fault. */
#include "opt/opt.h"

typedef struct Dce {
    Opt *o;
    IrFunc *f;
    u8 *live;
    u32 *block_of;
} Dce;

static void mark(Dce *d, u32 id) {
    if (d->live[id]) return;
    d->live[id] = 1;
    vec_push(&d->o->list, id);
}

static bool is_root(const IrInsn *i) {
    u16 facts = ir_op_facts[i->op];
    if (i->op == IR_param || i->op == IR_insn || i->op == IR_nop) return false;
    return (facts & (F_EFFECT | F_FAULTS | F_FLAGS | F_CALL | F_TERM)) != 0;
}

static void mark_frame(Dce *d, u32 frame) {
    if (!frame) return;
    const IrFrame *r = &d->f->frames.at[frame - 1];
    for (u32 k = r->state; k < r->state + r->state_count; k++) mark(d, d->f->states.at[k].value);
}

/* The arguments that a parameter stands for. */
static void mark_arguments(Dce *d, u32 id) {
    const IrCfg *c = &d->o->cfg;
    const IrBlockInfo *b = &c->blocks.at[d->block_of[id]];
    for (u32 e = 0; e < b->pred_count; e++) {
        const IrInsn *jump = &d->f->insns.at[c->blocks.at[c->preds.at[b->pred + e]].last];
        mark(d, (u32)d->f->args.at[jump->a + d->f->insns.at[id].imm]);
    }
}

static void mark_operands(Dce *d, u32 id) {
    const IrInsn *i = &d->f->insns.at[id];
    unsigned n = ir_op_operands[i->op];
    if (n > 0) mark(d, i->a);
    if (n > 1) mark(d, i->b);
    if (n > 2) mark(d, i->c);
    if (i->op == IR_call)
        for (u32 k = 0; k < i->b; k++) mark(d, (u32)d->f->args.at[i->a + k]);
    if (i->op == IR_param) mark_arguments(d, id);
    if (ir_has_frame((IrOp)i->op)) mark_frame(d, i->c);
}

/* An `insn` matters to what can fault behind it. */
static void mark_insns(Dce *d) {
    u32 insn = 0;
    for (u32 id = 1; id < d->f->insns.len; id++) {
        const IrInsn *i = &d->f->insns.at[id];
        d->block_of[id] = i->op == IR_block ? (u32)i->imm : d->block_of[id - 1];
        if (i->op == IR_block) insn = 0;
        if (i->op == IR_insn) insn = id;
        if ((ir_op_facts[i->op] & F_FAULTS) && insn) mark(d, insn);
        if (is_root(i)) mark(d, id);
    }
}

void opt_dce(Opt *o, IrFunc *f) {
    Dce d = {.o = o, .f = f, .live = arena_alloc(&o->arena, f->insns.len), .block_of = arena_alloc(&o->arena, f->insns.len * sizeof(u32))};
    ir_cfg_make(&o->cfg, f);
    o->list.len = 0;
    mark_insns(&d);
    while (o->list.len) mark_operands(&d, o->list.at[--o->list.len]);
    for (u32 id = 1; id < f->insns.len; id++) {
        IrInsn *i = &f->insns.at[id];
        if (d.live[id]) continue;
        if (i->op == IR_param) o->stats.params++;
        else if (i->op != IR_nop && i->op != IR_insn) o->stats.dead++;
        *i = (IrInsn){.op = IR_nop, .aux = i->op == IR_param ? IR_param : 0};
    }
    opt_compact(o, f);
}
