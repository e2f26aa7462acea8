/* SPDX-License-Identifier: Apache-2.0 */
/* promote: guest registers become values.
 *
 * Every slot that is read, or that somebody who leaves would miss, is carried as a value: read by `get` in the entry blocks where it is
 * live, passed as a parameter to every block with several predecessors where it is live, and named by frames where it is not at
 * home. Puts vanish but for those of the slots that `sc` looks at. A slot is *dirty* where some path has put it: then its
 * home is stale. Liveness counts frames as readers: a slot is dead only where it is put before anything can leave.
 *
 * Parameters are placed generously; opt_params removes those that are always one value.
 * Condition: no helper that looks at the state (region.c leaves them out). Bought: everything: without it each block of a loop loads
 * and stores its registers, unless pinned.
 */
#include "opt/opt.h"

typedef struct SlotSet {
    u64 word[3]; /* 160 slots */
} SlotSet;

static bool set_has(const SlotSet *s, u32 slot) { return s->word[slot / 64] >> (slot % 64) & 1; }
static void set_add(SlotSet *s, u32 slot) { s->word[slot / 64] |= 1ull << (slot % 64); }

typedef struct PromoteBlock {
    SlotSet reads;  /* live at the start whatever follows */
    SlotSet puts;
    SlotSet live;   /* at the start */
    SlotSet dirty;  /* at the start */
    u32 *value;     /* of each slot at the end */
    u32 number;     /* of the block in the new function */
} PromoteBlock;

typedef struct Promote {
    Opt *o;
    const IrFunc *f;
    IrFunc *out;
    PromoteBlock *blocks;
    u32 *map;           /* old id to new */
    u32 *value;         /* of each slot, here */
    SlotSet dirty;      /* here */
    SlotSet pinned;
    u32 insn, frame;    /* new id of the guest instruction under way, its frame + 1 */
    u64 pc;
    u32 state, state_count; /* of the last frame made */
    bool stale;         /* slots have changed since */
    VEC(u32) branches;  /* new ids of br, jmp, exit, exit_ind that name blocks by their old numbers */
    VEC(u64) edges;     /* split: id of the br << 33 | which << 32 | new number of the edge's block */
} Promote;

/* --- what is live, what is dirty ------------------------------------------------------------------------- */

static bool may_leave(const IrInsn *i) { return (ir_op_facts[i->op] & (F_FAULTS | F_EXIT)) != 0; }

static void note_insn(const Promote *p, PromoteBlock *b, const IrInsn *i) {
    if (i->op == IR_get && !set_has(&b->puts, (u32)i->imm)) set_add(&b->reads, (u32)i->imm);
    if (i->op == IR_put) set_add(&b->puts, (u32)i->imm);
    if (i->op == IR_sc) {
        if (!set_has(&b->puts, i->imm & 0xffff)) set_add(&b->reads, i->imm & 0xffff);
        if (!set_has(&b->puts, (u32)(i->imm >> 16))) set_add(&b->reads, (u32)(i->imm >> 16));
    }
    if (!may_leave(i)) return;
    for (u32 k = 0; k < 3; k++) b->reads.word[k] |= (p->pinned.word[k] | b->dirty.word[k]) & ~b->puts.word[k];
}

/* Dirty at the start of n: at the end of a predecessor. */
static bool spread_dirty(Promote *p, u32 n) {
    const IrBlockInfo *info = &p->o->cfg.blocks.at[n];
    PromoteBlock *b = &p->blocks[n];
    bool changed = false;
    for (u32 k = 0; k < info->pred_count; k++) {
        const PromoteBlock *from = &p->blocks[p->o->cfg.preds.at[info->pred + k]];
        for (u32 w = 0; w < 3; w++) {
            u64 more = from->dirty.word[w] | from->puts.word[w];
            changed |= (more & ~b->dirty.word[w]) != 0;
            b->dirty.word[w] |= more;
        }
    }
    return changed;
}

static bool spread_live(Promote *p, u32 n) {
    const IrBlockInfo *info = &p->o->cfg.blocks.at[n];
    PromoteBlock *b = &p->blocks[n];
    SlotSet live = b->reads;
    for (u32 k = 0; k < info->succ_count; k++)
        for (u32 w = 0; w < 3; w++) live.word[w] |= p->blocks[info->succ[k]].live.word[w] & ~b->puts.word[w];
    bool changed = memcmp(&live, &b->live, sizeof live) != 0;
    b->live = live;
    return changed;
}

static void analyse(Promote *p) {
    const IrCfg *c = &p->o->cfg;
    for (u32 k = 0; k < c->order.len; k++) {
        const IrBlockInfo *info = &c->blocks.at[c->order.at[k]];
        for (u32 id = info->first; id <= info->last; id++)
            if (p->f->insns.at[id].op == IR_put) set_add(&p->blocks[c->order.at[k]].puts, (u32)p->f->insns.at[id].imm);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (u32 k = 0; k < c->order.len; k++) changed |= spread_dirty(p, c->order.at[k]);
    }
    for (u32 k = 0; k < c->order.len; k++) {
        PromoteBlock *b = &p->blocks[c->order.at[k]];
        const IrBlockInfo *info = &c->blocks.at[c->order.at[k]];
        b->puts = (SlotSet){0};
        for (u32 id = info->first; id <= info->last; id++) note_insn(p, b, &p->f->insns.at[id]);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (u32 k = c->order.len; k-- > 0;) changed |= spread_live(p, c->order.at[k]);
    }
}

/* --- frames ------------------------------------------------------------------------------------------------ */

/* A frame with what the slots hold here. Returns its number + 1. Neighbouring frames mostly say the same, and share it. */
static u32 add_frame(Promote *p, u64 pc, u32 insn) {
    if (p->stale) {
        p->state = p->out->states.len;
        for (u32 s = 0; s < p->f->guest->slot_count; s++)
            if (set_has(&p->pinned, s) || set_has(&p->dirty, s)) vec_push(&p->out->states, ((IrState){.slot = (u16)s, .value = p->value[s]}));
        p->state_count = p->out->states.len - p->state;
        p->stale = false;
    }
    vec_push(&p->out->frames, ((IrFrame){.pc = pc, .insn = insn, .state = p->state, .state_count = p->state_count}));
    return p->out->frames.len;
}

static void need_insn_frame(Promote *p) {
    if (p->frame) return;
    p->frame = add_frame(p, p->pc, p->insn);
    p->out->insns.at[p->insn].c = p->frame;
}

/* --- renaming ------------------------------------------------------------------------------------------------ */

static u32 append(Promote *p, IrInsn i) {
    Ref r = ir_emit(p->out, (IrOp)i.op, (IrType)i.type, i.aux, i.aux2, (Ref){i.a}, (Ref){i.b}, (Ref){i.c}, i.imm);
    return r.id;
}

static void put_in_place(Promote *p, u32 slot) { append(p, (IrInsn){.op = IR_put, .a = p->value[slot], .imm = slot}); }

/* What the slots hold at the start of block n. */
static void open_block(Promote *p, u32 n) {
    const IrFunc *f = p->f;
    const IrBlockInfo *info = &p->o->cfg.blocks.at[n];
    PromoteBlock *b = &p->blocks[n];
    b->number = ir_block(p->out);
    p->out->insns.at[p->out->insns.len - 1].aux = f->insns.at[info->first].aux;
    p->dirty = b->dirty;
    p->stale = true;
    p->insn = p->frame = 0;
    if (!info->entry && info->pred_count == 1) {
        memcpy(p->value, p->blocks[p->o->cfg.preds.at[info->pred]].value, f->guest->slot_count * sizeof(u32));
        return;
    }
    memset(p->value, 0, f->guest->slot_count * sizeof(u32));
    u32 params = 0;
    for (u32 s = 0; s < f->guest->slot_count; s++) {
        if (!set_has(&b->live, s)) continue;
        p->value[s] = append(p, (IrInsn){.op = info->entry ? IR_get : IR_param, .type = f->guest->slots[s].type, .imm = info->entry ? s : params++});
    }
}

static void copy_args(Promote *p, IrInsn *i) {
    u32 from = i->a;
    i->a = p->out->args.len;
    for (u32 k = 0; k < i->b; k++) vec_push(&p->out->args, p->map[p->f->args.at[from + k]]);
}

/* A jump to block n (old number) with what the slots hold here. */
static void jump(Promote *p, u32 n) {
    const IrBlockInfo *info = &p->o->cfg.blocks.at[n];
    IrInsn i = {.op = IR_jmp, .a = p->out->args.len, .imm = n};
    for (u32 s = 0; s < p->f->guest->slot_count && info->pred_count > 1; s++) {
        if (!set_has(&p->blocks[n].live, s)) continue;
        vec_push(&p->out->args, p->value[s]);
        i.b++;
    }
    vec_push(&p->branches, append(p, i));
}

/* A branch cannot pass arguments: a block on the edge does. */
static void branch(Promote *p, IrInsn i) {
    i.a = p->map[i.a];
    u32 to[2] = {(u32)i.imm, (u32)(i.imm >> 32)};
    u32 id = append(p, i);
    vec_push(&p->branches, id);
    for (u32 k = 0; k < 2; k++) {
        if (p->o->cfg.blocks.at[to[k]].pred_count < 2) continue;
        u32 block = ir_block(p->out);
        vec_push(&p->edges, (u64)id << 33 | (u64)k << 32 | block);
        jump(p, to[k]);
    }
}

static void copy_insn(Promote *p, u32 id) {
    IrInsn i = p->f->insns.at[id];
    bool own_frame = ir_has_frame((IrOp)i.op) && i.op != IR_insn;
    switch ((IrOp)i.op) {
    case IR_block: return;
    case IR_get:
        p->map[id] = p->value[i.imm];
        p->o->stats.promoted++;
        return;
    case IR_put:
        p->value[i.imm] = p->map[i.a];
        set_add(&p->dirty, (u32)i.imm);
        p->stale = true;
        p->o->stats.promoted++;
        return;
    case IR_jmp: jump(p, (u32)i.imm); return;
    case IR_br: branch(p, i); return;
    case IR_insn:
        p->pc = i.imm;
        p->frame = 0;
        p->insn = append(p, i);
        return;
    case IR_call: copy_args(p, &i); break;
    case IR_exit:
        if (i.aux == EXIT_CALL) {
            vec_push(&p->out->args, p->f->args.at[i.a]);
            i.a = p->out->args.len - 1;
        }
        break;
    default:
        if (ir_op_operands[i.op] > 0) i.a = p->map[i.a];
        if (ir_op_operands[i.op] > 1) i.b = p->map[i.b];
        if (ir_op_operands[i.op] > 2) i.c = p->map[i.c];
    }
    if (own_frame) i.c = add_frame(p, i.op == IR_trap ? p->pc : i.op == IR_exit_ind ? 0 : i.imm, 0);
    else if (may_leave(&i)) need_insn_frame(p);
    if (i.op == IR_sc) put_in_place(p, i.imm & 0xffff), put_in_place(p, (u32)(i.imm >> 16));
    p->map[id] = append(p, i);
    if ((i.op == IR_exit || i.op == IR_exit_ind) && i.b) vec_push(&p->branches, p->map[id]);
}

/* Old numbers of blocks become new ones. */
static void renumber(Promote *p) {
    for (u32 k = 0; k < p->branches.len; k++) {
        IrInsn *i = &p->out->insns.at[p->branches.at[k]];
        if (i->op == IR_jmp) i->imm = p->blocks[i->imm].number;
        else if (i->op == IR_br) i->imm = p->blocks[(u32)i->imm].number | (u64)p->blocks[i->imm >> 32].number << 32;
        else i->b = p->blocks[i->b].number;
    }
    for (u32 k = 0; k < p->edges.len; k++) {
        u64 e = p->edges.at[k];
        IrInsn *i = &p->out->insns.at[e >> 33];
        unsigned shift = e >> 32 & 1 ? 32 : 0;
        i->imm = (i->imm & ~(0xffffffffull << shift)) | (e & 0xffffffff) << shift;
    }
}

/* Where there is no floating point, nothing is done with these registers, and their slots stay at home. */
static bool uses_floats(const IrFunc *f) {
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_crypto || i->op == IR_vec || (i->op == IR_get && i->type != IR_I64)) return true;
        if (i->op == IR_put && f->guest->slots[i->imm].type != IR_I64) return true;
    }
    return false;
}

static void begin(Promote *p, IrFunc *f) {
    Opt *o = p->o;
    ir_cfg_make(&o->cfg, f);
    p->blocks = arena_alloc(&o->arena, f->block_count * sizeof *p->blocks);
    p->map = arena_alloc(&o->arena, f->insns.len * sizeof(u32));
    p->value = arena_alloc(&o->arena, f->guest->slot_count * sizeof(u32));
    for (u32 k = 0; k < o->pinned && k < f->guest->hot_count; k++) set_add(&p->pinned, f->guest->hot_slots[k]);
    for (u32 k = 0; k < o->pinned && k < f->guest->hot_fcount && uses_floats(f); k++) set_add(&p->pinned, f->guest->hot_fslots[k]);
    ir_reset(p->out, f->guest, f->pc, f->mode);
    p->out->block_count = 0; /* block 0 is opened below like all others */
    p->out->insns.len = 1;
    p->out->closed = true;
    p->out->promoted = true;
}

void opt_promote(Opt *o, IrFunc *f) {
    Promote p = {.o = o, .f = f, .out = &o->other};
    begin(&p, f);
    analyse(&p);
    for (u32 k = 0; k < o->cfg.order.len; k++) {
        u32 n = o->cfg.order.at[k];
        const IrBlockInfo *info = &o->cfg.blocks.at[n];
        open_block(&p, n);
        for (u32 id = info->first; id <= info->last; id++) copy_insn(&p, id);
        p.blocks[n].value = arena_alloc(&o->arena, f->guest->slot_count * sizeof(u32));
        memcpy(p.blocks[n].value, p.value, f->guest->slot_count * sizeof(u32));
    }
    renumber(&p);
    vec_drop(&p.branches);
    vec_drop(&p.edges);
    opt_swap(o, f);
}
