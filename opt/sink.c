/* SPDX-License-Identifier: Apache-2.0 */
/* sink: a parameter that only frames want, all of whose arguments are the same operation on what other parameters get (or on constants, or on
 * what is there anyway), becomes that operation on those parameters. Frames then have a recipe for it (host/x64/region_select.c) and nobody
 * computes it. Condition: at most MAX_OPS operations, all of them such that a frame can do them. Bought: the temporaries of a loop's last round, which
 * the guest will never read, but a handler of a fault in the next round's first load could: in SHA-256 they took four of a round's
 * registers and a tenth of its time. Where several parameters could be computed from something of the last round that is not kept, that is kept in their stead, as
 * a parameter of its own: the bytes of a word that opt/merge.c loads at once. Works together with peeling (engine/region.c): at a region's own head a register may hold anything. */
#include "opt/opt.h"

enum { MAX_OPS = 5, MAX_PREDS = 8, CARRIED = 8 };
#define UNDER_WAY ~0u

typedef struct Carried { /* what a block gets by its edges, and could get as a parameter */
    u32 arg[MAX_PREDS];
    u32 users, last_user; /* parameters that could be made of it */
    u32 value;            /* a new one; 0: it does not get it */
} Carried;

typedef struct Sink {
    Opt *o;
    IrFunc *f;
    u32 *block_of;   /* by id: block's number */
    u8 *wanted;      /* by id: an operation wants it, not frames alone */
    u32 *made;       /* by id: of parameters, the new value + 1; 0: stays */
    VEC(IrInsn) insns; /* new ones; operands from insns.len of the function on are these */
    u32 *first_new;  /* by block: range of insns */
    u32 ops;         /* of the value being made */
    Carried carried[CARRIED]; /* of the block at hand */
    u32 carried_count;
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

/* What became of a value, if it was a parameter. */
static u32 resolve(const Sink *s, u32 id) {
    while (id < s->f->insns.len && s->made[id] && s->made[id] != UNDER_WAY) id = s->made[id] - 1;
    return id;
}

static const IrInsn *at(const Sink *s, u32 id) { return id < s->f->insns.len ? &s->f->insns.at[id] : &s->insns.at[id - s->f->insns.len]; }

static bool has_recipe(const Sink *s, const IrInsn *i) {
    switch ((int)i->op) {
    case IR_add: case IR_sub: case IR_and: case IR_or: case IR_xor: return i->type != IR_I1;
    case IR_shl: case IR_shr: case IR_sar: return at(s, i->b)->op == IR_const;
    case IR_sext: case IR_zext: return i->aux >= 8;
    case IR_trunc: return true;
    default: return false;
    }
}

static u32 add(Sink *s, IrInsn i) {
    vec_push(&s->insns, i);
    return s->f->insns.len + s->insns.len - 1;
}

/* What a parameter of block b gets by an edge. */
static u32 argument(const Sink *s, const IrBlockInfo *b, u32 param, u32 edge) {
    return resolve(s, (u32)s->f->args.at[jump_of(s, b, edge)->a + s->f->insns.at[param].imm]);
}

/* The parameter of block b that gets these arguments; 0: none. */
static u32 param_with(const Sink *s, const IrBlockInfo *b, const u32 *arg) {
    for (u32 id = b->first + 1; s->f->insns.at[id].op == IR_param; id++) {
        u32 e = 0;
        while (e < b->pred_count && argument(s, b, id, e) == arg[e]) e++;
        if (e == b->pred_count && !s->made[id]) return id;
    }
    return 0;
}

static bool same_operation(const IrInsn *x, const IrInsn *y) {
    return x->op == y->op && x->type == y->type && x->aux == y->aux && x->aux2 == y->aux2 && x->imm == y->imm;
}

/* Operand k of each. */
static void operands(const Sink *s, const IrBlockInfo *b, const u32 *arg, unsigned k, u32 *out) {
    for (u32 e = 0; e < b->pred_count; e++) out[e] = resolve(s, k ? at(s, arg[e])->b : at(s, arg[e])->a);
}

static Carried *find_carried(Sink *s, const IrBlockInfo *b, const u32 *arg) {
    for (u32 k = 0; k < s->carried_count; k++)
        if (!memcmp(s->carried[k].arg, arg, b->pred_count * sizeof *arg)) return &s->carried[k];
    return NULL;
}

/* The value at the head of block b that is arg[e] if control comes by edge e; 0: none that costs little. */
static u32 make(Sink *s, const IrBlockInfo *b, const u32 *arg) {
    const IrInsn *first = at(s, arg[0]);
    bool same = true, alike = true;
    for (u32 e = 1; e < b->pred_count; e++) {
        same &= arg[e] == arg[0];
        alike &= same_operation(first, at(s, arg[e]));
    }
    if (same) return arg[0];
    if (alike && first->op == IR_const) return add(s, *first);
    u32 param = param_with(s, b, arg);
    if (param) s->wanted[param] = 1; /* stays */
    if (param) return param;
    const Carried *c = find_carried(s, b, arg);
    if (c && c->value) return c->value;
    if (!alike || !has_recipe(s, first) || ++s->ops > MAX_OPS) return 0;
    IrInsn made = *first;
    u32 *const operand[2] = {&made.a, &made.b};
    for (unsigned k = 0; k < ir_op_operands[made.op]; k++) {
        u32 of[MAX_PREDS];
        operands(s, b, arg, k, of);
        if (!(*operand[k] = make(s, b, of))) return 0;
    }
    return add(s, made);
}

static void arguments(const Sink *s, const IrBlockInfo *b, u32 param, u32 *out) {
    for (u32 e = 0; e < b->pred_count; e++) out[e] = argument(s, b, param, e);
}

/* --- what is kept in the stead of parameters ---------------------------------------------------------------------- */

/* Notes what the value that is arg[e] by edge e would have to be made of, and is not there. */
static void note_missing(Sink *s, const IrBlockInfo *b, const u32 *arg, u32 user) {
    const IrInsn *first = at(s, arg[0]);
    bool same = true, alike = true;
    for (u32 e = 1; e < b->pred_count; e++) {
        const IrInsn *i = at(s, arg[e]);
        same &= arg[e] == arg[0];
        alike &= same_operation(first, i);
        if (i->type != first->type) return;
    }
    if (same || (alike && first->op == IR_const)) return;
    if (alike && has_recipe(s, first) && s->ops < MAX_OPS) {
        s->ops++;
        for (unsigned k = 0; k < ir_op_operands[first->op]; k++) {
            u32 of[MAX_PREDS];
            operands(s, b, arg, k, of);
            note_missing(s, b, of, user);
        }
        return;
    }
    if (!s->ops || param_with(s, b, arg)) return; /* not even one operation; or it is there */
    Carried *c = find_carried(s, b, arg);
    if (!c && s->carried_count < CARRIED) {
        c = &s->carried[s->carried_count++];
        *c = (Carried){0};
        memcpy(c->arg, arg, b->pred_count * sizeof *arg);
    }
    if (c && c->last_user != user) c->users++, c->last_user = user;
}

/* One more argument for each jump to block b. */
static void pass(Sink *s, const IrBlockInfo *b, const u32 *arg) {
    IrFunc *f = s->f;
    for (u32 e = 0; e < b->pred_count; e++) {
        IrInsn *jump = &f->insns.at[s->o->cfg.blocks.at[s->o->cfg.preds.at[b->pred + e]].last];
        u32 from = jump->a;
        jump->a = f->args.len;
        for (u32 k = 0; k < jump->b; k++) vec_push(&f->args, f->args.at[from + k]);
        vec_push(&f->args, arg[e]);
        jump->b++;
    }
}

/* What parameters of block b could be made of, if it were passed. */
static void find_missing(Sink *s, const IrBlockInfo *b) {
    s->carried_count = 0;
    for (u32 id = b->first + 1; s->f->insns.at[id].op == IR_param; id++) {
        u32 arg[MAX_PREDS];
        if (s->wanted[id]) continue;
        arguments(s, b, id, arg);
        s->ops = 0;
        note_missing(s, b, arg, id);
    }
}

/* A new parameter for each of which two others may be made. */
static void carry(Sink *s) {
    for (u32 k = 0; k < s->carried_count; k++) {
        Carried *c = &s->carried[k];
        c->value = c->users < 2 ? 0 : add(s, (IrInsn){.op = IR_param, .type = at(s, c->arg[0])->type});
        c->users = 0;
    }
}

/* ------------------------------------------------------------------------------------------------------------------ */

/* Which new parameters do the new values from `before` on read? */
static void count_users(Sink *s, u32 before) {
    for (u32 k = 0; k < s->carried_count; k++) {
        bool user = false;
        for (u32 n = before; n < s->insns.len; n++) {
            const IrInsn *i = &s->insns.at[n];
            unsigned operands = ir_op_operands[i->op];
            user |= (operands > 0 && i->a == s->carried[k].value) || (operands > 1 && i->b == s->carried[k].value);
        }
        s->carried[k].users += user;
    }
}

static void sink_param(Sink *s, const IrBlockInfo *b, u32 id) {
    u32 arg[MAX_PREDS], before = s->insns.len;
    arguments(s, b, id, arg);
    if (!has_recipe(s, at(s, arg[0]))) return;
    s->made[id] = UNDER_WAY; /* it is not made of itself */
    s->ops = 0;
    u32 v = make(s, b, arg);
    if (!v) s->insns.len = before;
    count_users(s, before);
    s->made[id] = v ? v + 1 : 0;
}

/* Was a new parameter for less than two others? Then it is left out. */
static bool is_vain(Sink *s) {
    bool vain = false;
    for (u32 k = 0; k < s->carried_count; k++)
        if (s->carried[k].value && s->carried[k].users < 2) s->carried[k].users = 0, vain = true;
    return vain;
}

static void sink_block(Sink *s, const IrBlockInfo *b) {
    u32 before = s->insns.len, first = b->first + 1;
    find_missing(s, b);
    do {
        s->insns.len = before;
        for (u32 id = first; s->f->insns.at[id].op == IR_param; id++) s->made[id] = 0;
        carry(s);
        for (u32 id = first; s->f->insns.at[id].op == IR_param; id++)
            if (!s->wanted[id]) sink_param(s, b, id);
    } while (is_vain(s));
    for (u32 k = 0; k < s->carried_count; k++)
        if (s->carried[k].value) pass(s, b, s->carried[k].arg);
    for (u32 id = first; s->f->insns.at[id].op == IR_param; id++) s->o->stats.sunk += s->made[id] != 0;
}

static void sink_all(Sink *s) {
    for (u32 n = 0; n < s->f->block_count; n++) {
        const IrBlockInfo *b = &s->o->cfg.blocks.at[n];
        s->first_new[n] = s->insns.len;
        if (!b->entry && b->rpo != IR_ROOT && b->pred_count > 1 && b->pred_count <= MAX_PREDS) sink_block(s, b);
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
