/* SPDX-License-Identifier: Apache-2.0 */
/* sink: a parameter that only frames want, all of whose arguments are the same operation on what other parameters get (or on constants, or on
 * what is there anyway), becomes that operation on those parameters. Frames then have a recipe for it (host/x64/region_select.c) and nobody
 * computes it. Condition: at most MAX_OPS operations, all of them such that a frame can do them. Bought: the temporaries of a loop's last round, which
 * the guest will never read, but a handler of a fault in the next round's first load could: in SHA-256 they took four of a round's
 * registers and a tenth of its time. Works together with peeling (engine/region.c): at a region's own head a register may hold anything. */
#include "opt/opt.h"

enum { MAX_OPS = 5, MAX_PREDS = 8 };

typedef struct Sink {
    Opt *o;
    IrFunc *f;
    u32 *block_of;   /* by id: block's number */
    u8 *wanted;      /* by id: an operation wants it, not frames alone */
    u32 *made;       /* by id: of parameters, the new value + 1; 0: stays */
    VEC(IrInsn) insns; /* new ones; operands from insns.len of the function on are these */
    u32 *first_new;  /* by block: range of insns */
    u32 ops;         /* of the value being made */
} Sink;

/* --- who is wanted by operations ------------------------------------------------------------------------------ */

static void want(Sink *s, u32 id) {
    if (s->wanted[id]) return;
    s->wanted[id] = 1;
    vec_push(&s->o->list, id);
}

static void want_operands(Sink *s, const IrInsn *i) {
    const u32 operand[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++) want(s, operand[k]);
}

static const IrInsn *jump_of(const Sink *s, const IrBlockInfo *b, u32 edge) {
    return &s->f->insns.at[s->o->cfg.blocks.at[s->o->cfg.preds.at[b->pred + edge]].last];
}

static void find_wanted(Sink *s) {
    const IrFunc *f = s->f;
    s->o->list.len = 0;
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (!(ir_op_facts[i->op] & F_PURE)) want_operands(s, i);
        for (u32 k = 0; i->op == IR_call && k < i->b; k++) want(s, (u32)f->args.at[i->a + k]);
    }
    while (s->o->list.len) {
        u32 id = s->o->list.at[--s->o->list.len];
        const IrInsn *i = &f->insns.at[id];
        const IrBlockInfo *b = &s->o->cfg.blocks.at[s->block_of[id]];
        if (ir_op_facts[i->op] & F_PURE) want_operands(s, i);
        for (u32 e = 0; i->op == IR_param && e < b->pred_count; e++) want(s, (u32)f->args.at[jump_of(s, b, e)->a + f->insns.at[id].imm]);
    }
}

/* --- making a value ----------------------------------------------------------------------------------------------- */

static bool has_recipe(const IrInsn *i, const IrFunc *f) {
    switch ((int)i->op) {
    case IR_add: case IR_sub: case IR_and: case IR_or: case IR_xor: return i->type != IR_I1;
    case IR_shl: case IR_shr: case IR_sar: return f->insns.at[i->b].op == IR_const;
    case IR_sext: case IR_zext: return i->aux >= 8;
    case IR_trunc: return true;
    default: return false;
    }
}

static u32 add(Sink *s, IrInsn i) {
    vec_push(&s->insns, i);
    return s->f->insns.len + s->insns.len - 1;
}

/* The parameter of block b that gets these arguments; 0: none. */
static u32 param_with(const Sink *s, const IrBlockInfo *b, const u32 *arg) {
    for (u32 id = b->first + 1; s->f->insns.at[id].op == IR_param; id++) {
        u32 e = 0;
        while (e < b->pred_count && s->f->args.at[jump_of(s, b, e)->a + s->f->insns.at[id].imm] == arg[e]) e++;
        if (e == b->pred_count && !s->made[id]) return id;
    }
    return 0;
}

static bool same_operation(const IrInsn *x, const IrInsn *y) {
    return x->op == y->op && x->type == y->type && x->aux == y->aux && x->aux2 == y->aux2 && x->imm == y->imm;
}

/* The value at the head of block b that is arg[e] if control comes by edge e; 0: none that costs little. */
static u32 make(Sink *s, const IrBlockInfo *b, const u32 *arg) {
    const IrInsn *first = &s->f->insns.at[arg[0]];
    bool same = true, alike = true;
    for (u32 e = 1; e < b->pred_count; e++) {
        same &= arg[e] == arg[0];
        alike &= same_operation(first, &s->f->insns.at[arg[e]]);
    }
    if (same) return arg[0];
    if (alike && first->op == IR_const) return add(s, *first);
    u32 param = param_with(s, b, arg);
    if (param) s->wanted[param] = 1; /* stays */
    if (param) return param;
    if (!alike || !has_recipe(first, s->f) || ++s->ops > MAX_OPS) return 0;
    IrInsn made = *first;
    u32 *const operand[2] = {&made.a, &made.b};
    for (unsigned k = 0; k < ir_op_operands[made.op]; k++) {
        u32 of[MAX_PREDS];
        for (u32 e = 0; e < b->pred_count; e++) of[e] = k ? s->f->insns.at[arg[e]].b : s->f->insns.at[arg[e]].a;
        if (!(*operand[k] = make(s, b, of))) return 0;
    }
    return add(s, made);
}

static void sink_param(Sink *s, const IrBlockInfo *b, u32 id) {
    u32 arg[MAX_PREDS], before = s->insns.len;
    for (u32 e = 0; e < b->pred_count; e++) arg[e] = (u32)s->f->args.at[jump_of(s, b, e)->a + s->f->insns.at[id].imm];
    if (!has_recipe(&s->f->insns.at[arg[0]], s->f)) return;
    s->made[id] = ~0u; /* it is not made of itself */
    s->ops = 0;
    u32 v = make(s, b, arg);
    if (!v) s->insns.len = before;
    s->made[id] = v ? v + 1 : 0;
    s->o->stats.sunk += v != 0;
}

static void sink_all(Sink *s) {
    for (u32 n = 0; n < s->f->block_count; n++) {
        const IrBlockInfo *b = &s->o->cfg.blocks.at[n];
        s->first_new[n] = s->insns.len;
        if (b->entry || b->rpo == IR_ROOT || b->pred_count < 2 || b->pred_count > MAX_PREDS) continue;
        for (u32 id = b->first + 1; s->f->insns.at[id].op == IR_param; id++)
            if (!s->wanted[id]) sink_param(s, b, id);
    }
    s->first_new[s->f->block_count] = s->insns.len;
}

/* --- the new function ------------------------------------------------------------------------------------------------ */

static void emit(Sink *s, u32 *map, u32 id, IrInsn i) {
    opt_map_operands(s->f, &i, map);
    map[id] = s->o->other.insns.len;
    vec_push(&s->o->other.insns, i);
}

/* Behind the parameters of block b: the new values, and what parameters became of them. */
static void emit_new(Sink *s, u32 *map, u32 block) {
    for (u32 k = s->first_new[block]; k < s->first_new[block + 1]; k++) emit(s, map, s->f->insns.len + k, s->insns.at[k]);
    for (u32 id = s->o->cfg.blocks.at[block].first + 1; s->f->insns.at[id].op == IR_param; id++)
        if (s->made[id]) map[id] = map[s->made[id] - 1];
}

static void copy_all(Sink *s) {
    IrFunc *f = s->f, *out = &s->o->other, old;
    u32 n = f->insns.len, *map = arena_alloc(&s->o->arena, (n + s->insns.len) * sizeof(u32));
    out->insns.len = 0;
    for (u32 id = 0; id < n; id++) {
        const IrInsn *i = &f->insns.at[id], *before = &f->insns.at[id ? id - 1 : 0];
        if (before->op == IR_param && i->op != IR_param) emit_new(s, map, s->block_of[id]);
        if (s->made[id]) vec_push(&out->insns, ((IrInsn){.op = IR_nop, .aux = IR_param}));
        else emit(s, map, id, *i);
    }
    for (u32 k = 0; k < f->states.len; k++) f->states.at[k].value = map[f->states.at[k].value];
    for (u32 k = 0; k < f->frames.len; k++) f->frames.at[k].insn = map[f->frames.at[k].insn];
    old = *f;
    f->insns = out->insns;
    out->insns = old.insns;
    opt_compact(s->o, f);
}

void opt_sink(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, block = 0;
    ir_cfg_make(&o->cfg, f);
    Sink s = {.o = o, .f = f, .block_of = arena_alloc(&o->arena, n * sizeof(u32)), .wanted = arena_alloc(&o->arena, n)};
    s.made = arena_alloc(&o->arena, n * sizeof(u32));
    s.first_new = arena_alloc(&o->arena, (f->block_count + 1) * sizeof(u32));
    for (u32 id = 1; id < n; id++) {
        if (f->insns.at[id].op == IR_block) block = (u32)f->insns.at[id].imm;
        s.block_of[id] = block;
    }
    find_wanted(&s);
    sink_all(&s);
    if (s.insns.len) copy_all(&s);
    vec_drop(&s.insns);
}
