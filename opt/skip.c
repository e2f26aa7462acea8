/* SPDX-License-Identifier: Apache-2.0 */
/* skip: a loop that shifts a word by 56, 48, 40, ... until what is left has a byte that is not zero, as libgcc counts zeros where the processor has no
 * instruction for it (__clzdi2, __ctzdi2), begins at once where it would stop: leading zeros say where that is. The loop stays as it is, with one round
 * to go: nobody sees a difference, as the rounds left out did nothing but look.
 *
 * Condition: the loop's only parameter is the distance, a constant on the way in and less by 8 with each round; the word comes from outside; the loop ends where a
 * byte is not zero, and at distance 0, in either order; nothing else is in it but pure operations, and polls. Bought: how many rounds there are is as good as random, so each search ended in a
 * branch that the host's processor had not foreseen. zstd finds the length of each match so. */
#include "opt/opt.h"

enum { TOP = 56, STEP = 8, LOOPS = 16 };

typedef struct Loop {
    u32 distance;    /* its parameter */
    u32 first;       /* what that is at first */
    u32 entry, back; /* the jump that enters it; the block from which it goes on */
    u32 word;        /* that is searched */
    bool lower;      /* a round looks at STEP below its distance */
    u32 insns;       /* guest instructions of a round */
} Loop;

typedef struct Skip {
    Opt *o;
    IrFunc *f;
    u32 *block_of; /* by id: number */
    Loop loops[LOOPS];
    u32 count;
} Skip;

static const IrInsn *at(const Skip *s, u32 id) { return &s->f->insns.at[id]; }
static const IrBlockInfo *block(const Skip *s, u32 n) { return &s->o->cfg.blocks.at[n]; }
static bool is_const(const Skip *s, u32 v, u64 bits) { return at(s, v)->op == IR_const && at(s, v)->type == IR_I64 && at(s, v)->imm == bits; }

/* Is there nothing in block n, its parameters aside, that anybody could see? Counts its guest instructions. */
static bool only_looks(const Skip *s, Loop *l, u32 n) {
    for (u32 id = block(s, n)->first + 1; id < block(s, n)->last; id++) {
        const IrInsn *i = at(s, id);
        bool pure = (ir_op_facts[i->op] & F_PURE) && i->op != IR_call;
        if (!pure && i->op != IR_insn && i->op != IR_poll && i->op != IR_param && i->op != IR_nop) return false;
        l->insns += i->op == IR_insn;
    }
    return true;
}

/* The side of the branch at the end of block n that is taken if *v, which it compares with the constant, is equal to it; IR_ROOT: it compares otherwise. */
static u32 side_if_equal(const Skip *s, u32 n, u64 with, u32 *v) {
    const IrInsn *last = at(s, block(s, n)->last);
    if (last->op != IR_br) return IR_ROOT;
    const IrInsn *c = at(s, last->a);
    if ((c->op != IR_eq && c->op != IR_ne) || !is_const(s, c->b, with)) return IR_ROOT;
    *v = c->a;
    return block(s, n)->succ[c->op == IR_eq ? 0 : 1];
}

static bool is_lower(const Skip *s, u32 v, u32 distance) { return at(s, v)->op == IR_add && at(s, v)->a == distance && is_const(s, at(s, v)->b, (u64)-STEP); }

/* Does the loop l go on from block n to `next` where a byte is 0? Fills in the word, and at what distance that byte is. */
static bool tests_byte(const Skip *s, Loop *l, u32 n, u32 next) {
    u32 v;
    if (side_if_equal(s, n, 0, &v) != next) return false;
    const IrInsn *byte = at(s, v), *rest = at(s, byte->a);
    bool is_byte = (byte->op == IR_zext && byte->aux == 8) || (byte->op == IR_and && is_const(s, byte->b, 0xff));
    if (!is_byte || rest->op != IR_shr || rest->type != IR_I64) return false;
    l->word = rest->a;
    l->lower = is_lower(s, rest->b, l->distance);
    return l->lower || rest->b == l->distance;
}

/* Does it end at block n where the next distance is 0, and else go on to `next`? */
static bool tests_distance(const Skip *s, const Loop *l, u32 n, u32 next) {
    u32 v, end = side_if_equal(s, n, STEP, &v);
    return end != IR_ROOT && end != next && v == l->distance;
}

/* The jumps to the head: one from outside, and one that goes on STEP lower. */
static bool find_jumps(const Skip *s, Loop *l, u32 head) {
    const IrBlockInfo *b = block(s, head);
    if (b->entry || b->pred_count != 2) return false;
    for (u32 k = 0; k < 2; k++) {
        u32 from = s->o->cfg.preds.at[b->pred + k];
        const IrInsn *jump = at(s, block(s, from)->last);
        if (jump->op != IR_jmp || jump->b != 1) return false;
        u32 argument = (u32)s->f->args.at[jump->a];
        const IrInsn *a = at(s, argument);
        if (a->op == IR_const && a->imm <= TOP && a->imm >= STEP && a->imm % STEP == 0) l->entry = block(s, from)->last, l->first = (u32)a->imm;
        else if (is_lower(s, argument, l->distance)) l->back = from;
    }
    return l->entry && l->back;
}

static u32 only_pred(const Skip *s, u32 n) { return block(s, n)->pred_count == 1 && !block(s, n)->entry ? s->o->cfg.preds.at[block(s, n)->pred] : IR_ROOT; }

/* Is `head` that of such a loop, which tests one thing there, and the other in the block behind it? */
static bool find_loop(const Skip *s, Loop *l, u32 head) {
    l->distance = block(s, head)->first + 1;
    const IrInsn *d = at(s, l->distance);
    if (d->op != IR_param || d->type != IR_I64 || d[1].op == IR_param || !find_jumps(s, l, head)) return false;
    u32 next = only_pred(s, l->back);
    if (next == IR_ROOT || next == head || only_pred(s, next) != head) return false;
    if (!(tests_byte(s, l, head, next) && tests_distance(s, l, next, l->back)) && !(tests_distance(s, l, head, next) && tests_byte(s, l, next, l->back))) return false;
    u32 outside = s->block_of[l->word];
    return outside != head && ir_dominates(&s->o->cfg, outside, head) && only_looks(s, l, head) && only_looks(s, l, next) && only_looks(s, l, l->back);
}

static u32 emit(IrFunc *out, IrOp op, u32 a, u32 b, u64 imm) {
    vec_push(&out->insns, ((IrInsn){.op = (u8)op, .type = IR_I64, .a = a, .b = b, .imm = imm}));
    return out->insns.len - 1;
}

/* The distance to begin with: that of the highest byte, of those from the first to the last, that is not 0; else of the last. */
static u32 emit_distance(IrFunc *out, const Loop *l, u32 word) {
    u32 first = l->first - (l->lower ? STEP : 0), last = l->lower ? 0 : STEP;
    if (first < TOP) word = emit(out, IR_and, word, emit(out, IR_const, 0, 0, (1ul << (first + STEP)) - 1), 0);
    u32 found = emit(out, IR_or, word, emit(out, IR_const, 0, 0, 1ul << last), 0);
    u32 mask = emit(out, IR_const, 0, 0, TOP);
    u32 zeros = emit(out, IR_and, emit(out, IR_clz, found, 0, 0), mask, 0);
    u32 at = emit(out, IR_xor, zeros, mask, 0);
    return l->lower ? emit(out, IR_add, at, emit(out, IR_const, 0, 0, STEP), 0) : at;
}

static const Loop *entered_by(const Skip *s, u32 id) {
    for (u32 k = 0; k < s->count; k++)
        if (s->loops[k].entry == id) return &s->loops[k];
    return NULL;
}

static void copy_all(Skip *s) {
    IrFunc *f = s->f, *out = &s->o->other;
    u32 *map = arena_alloc(&s->o->arena, f->insns.len * sizeof(u32));
    out->insns.len = 0;
    for (u32 id = 0; id < f->insns.len; id++) {
        IrInsn i = *at(s, id);
        const Loop *l = i.op == IR_jmp ? entered_by(s, id) : NULL;
        u32 begin = l ? emit_distance(out, l, map[l->word]) : 0;
        opt_map_operands(f, &i, map);
        if (l) f->args.at[i.a] = begin;
        vec_push(&out->insns, i);
        map[id] = out->insns.len - 1;
    }
    opt_take_copy(s->o, f, map);
}

/* Most functions have no such shift. */
static bool may_have_some(const IrFunc *f) {
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_shr && (f->insns.at[i->b].op == IR_param || f->insns.at[i->b].op == IR_add)) return true;
    }
    return false;
}

void opt_skip(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, number = 0;
    if (!may_have_some(f)) return;
    Skip s = {.o = o, .f = f, .block_of = arena_alloc(&o->arena, n * sizeof(u32))};
    ir_cfg_make(&o->cfg, f);
    for (u32 id = 1; id < n; id++) {
        if (f->insns.at[id].op == IR_block) number = (u32)f->insns.at[id].imm;
        s.block_of[id] = number;
    }
    for (u32 k = 0; k < f->block_count && s.count < LOOPS; k++) {
        Loop l = {0};
        if (block(&s, k)->rpo != IR_ROOT && find_loop(&s, &l, k)) s.loops[s.count++] = l, o->skipped += l.insns * (l.first / STEP);
    }
    if (s.count) copy_all(&s);
    o->stats.skipped += s.count;
}
