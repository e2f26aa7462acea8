/* SPDX-License-Identifier: Apache-2.0 */
/* join: as choose, where the sides of a branch end with copies of what comes behind, the end of a loop: compilers copy short ends of loops into both sides, so that these never meet
 * again. Both sides test the same thing then, and go on to the same places; so all of it is computed, what differs is chosen, and that is tested once. Where there is a poll on the way,
 * the sides stay as they were, for when somebody asks for attention: they know what state to leave with.
 *
 * Condition: as of choose; where a side jumps into code that others share, up to its test, it gets a copy. There may be polls, and nothing else that leaves.
 * Bought: checksums bit by bit, which shift, and perhaps xor, and waited for a wrong guess every other time. */
#include "opt/opt.h"

enum { OPERATIONS = 12 /* of a side */, CHOICES = 3, DEEP = 4, NO_BLOCK = ~0u };

typedef struct Side {
    u32 block, tail; /* its own; the one that it jumps to, up to whose end it goes; NO_BLOCK: none */
    u32 last;        /* id of its branch */
    u32 to[2];       /* blocks that it leads to if the first side's condition is true, and if not */
    u32 jump[2];     /* ids of the jumps at their ends */
} Side;

typedef struct Join {
    Opt *o;
    IrFunc *f;
    u32 *map, *block_of; /* by id: in the new function; number */
    u64 *args;           /* as they were */
    u32 *alias[2];       /* by side and id: what a value of the side is, new */
    Side side[2];        /* of the branch at hand */
    bool polls;          /* there is one on the way */
    u32 window;          /* id of the first new instruction */
    VEC(u32) found;      /* blocks that end with such a branch */
} Join;

static const IrInsn *at(const Join *j, u32 id) { return &j->f->insns.at[id]; }
static const IrBlockInfo *block(const Join *j, u32 n) { return &j->o->cfg.blocks.at[n]; }

/* --- finding -------------------------------------------------------------------------------------------------- */

/* Operations of block n before its end, the condition of its branch aside; too many if they cannot be copied. */
static u32 cost_of(const Join *j, u32 n) {
    const IrBlockInfo *b = block(j, n);
    const IrInsn *last = at(j, b->last);
    u32 count = 0;
    for (u32 id = b->first + 1; id < b->last; id++) {
        const IrInsn *i = at(j, id);
        bool condition = last->op == IR_br && last->a == id;
        if (i->op == IR_insn || i->op == IR_nop || i->op == IR_param || (i->op == IR_poll && !i->aux) || condition) continue;
        if (!opt_is_cheap(i)) return OPERATIONS + 1;
        count += i->op != IR_const;
    }
    return count;
}

static bool find_side(const Join *j, Side *s, u32 n) {
    const IrBlockInfo *b = block(j, n), *tail = b;
    *s = (Side){.block = n, .tail = NO_BLOCK};
    if (b->entry || b->pred_count != 1) return false;
    u32 cost = cost_of(j, n);
    if (at(j, b->last)->op == IR_jmp) {
        s->tail = b->succ[0];
        tail = block(j, s->tail);
        if (tail->entry || s->tail == n) return false;
        cost += cost_of(j, s->tail);
    }
    s->last = tail->last;
    return cost <= OPERATIONS && at(j, s->last)->op == IR_br;
}

/* What a parameter of a side's tail is, where the side jumps there. */
static u32 through_jump(const Join *j, const Side *s, u32 v) {
    bool param = s->tail != NO_BLOCK && j->block_of[v] == s->tail && at(j, v)->op == IR_param;
    return param ? (u32)j->args[at(j, block(j, s->block)->last)->a + at(j, v)->imm] : v;
}

/* Value v of a side as it is in front of it; 0: it is made there. */
static u32 outside(const Join *j, const Side *s, u32 v) {
    v = through_jump(j, s, v);
    u32 n = j->block_of[v];
    return at(j, v)->op != IR_const && (n == s->block || n == s->tail) ? 0 : v;
}

static bool same_value(const Join *j, u32 x, u32 y) {
    const IrInsn *a = at(j, x), *b = at(j, y);
    return x && y && (x == y || (a->op == IR_const && b->op == IR_const && a->type == b->type && a->imm == b->imm));
}

static u8 opposite(u8 op) {
    switch (op) {
    case IR_eq: return IR_ne;
    case IR_ne: return IR_eq;
    case IR_lts: return IR_les; /* with the operands the other way round */
    case IR_les: return IR_lts;
    case IR_ltu: return IR_leu;
    case IR_leu: return IR_ltu;
    default: return IR_nop;
    }
}

/* Do both sides test the same? Fills in where they lead to. */
static bool same_test(Join *j) {
    const IrInsn *c[2];
    u32 a[2], b[2];
    for (u32 k = 0; k < 2; k++) {
        const IrInsn *last = at(j, j->side[k].last);
        c[k] = at(j, last->a);
        if (opposite(c[k]->op) == IR_nop) return false;
        a[k] = outside(j, &j->side[k], c[k]->a), b[k] = outside(j, &j->side[k], c[k]->b);
        j->side[k].to[0] = (u32)last->imm, j->side[k].to[1] = (u32)(last->imm >> 32);
    }
    if (c[0]->op == c[1]->op) return same_value(j, a[0], a[1]) && same_value(j, b[0], b[1]);
    if (c[1]->op != opposite(c[0]->op)) return false;
    bool turned = c[0]->op != IR_eq && c[0]->op != IR_ne;
    u32 swap = j->side[1].to[0];
    j->side[1].to[0] = j->side[1].to[1], j->side[1].to[1] = swap;
    return same_value(j, a[0], turned ? b[1] : a[1]) && same_value(j, b[0], turned ? a[1] : b[1]);
}

/* The jumps behind the tests, to the same place. */
static bool find_jumps(Join *j, u32 which) {
    for (u32 k = 0; k < 2; k++) {
        const IrBlockInfo *b = block(j, j->side[k].to[which]);
        if (b->entry || at(j, b->last)->op != IR_jmp) return false;
        for (u32 id = b->first + 1; id < b->last; id++) {
            unsigned op = at(j, id)->op;
            if ((op != IR_poll || at(j, id)->aux) && op != IR_insn && op != IR_nop && op != IR_const) return false;
        }
        j->side[k].jump[which] = b->last;
    }
    return at(j, j->side[0].jump[which])->imm == at(j, j->side[1].jump[which])->imm;
}

/* Is x of the first side what y is of the second? */
static bool alike(const Join *j, u32 x, u32 y, unsigned depth) {
    u32 a = outside(j, &j->side[0], x), b = outside(j, &j->side[1], y);
    if (a && b) return same_value(j, a, b);
    x = through_jump(j, &j->side[0], x), y = through_jump(j, &j->side[1], y);
    const IrInsn *i = at(j, x), *k = at(j, y);
    if (a || b || !depth || i->op != k->op || i->type != k->type || i->aux != k->aux || i->aux2 != k->aux2 || i->imm != k->imm) return false;
    unsigned n = ir_op_operands[i->op];
    return (n < 1 || alike(j, i->a, k->a, depth - 1)) && (n < 2 || alike(j, i->b, k->b, depth - 1)) && (n < 3 || alike(j, i->c, k->c, depth - 1));
}

static u32 choices_of(const Join *j, u32 which) {
    const IrInsn *x = at(j, j->side[0].jump[which]), *y = at(j, j->side[1].jump[which]);
    u32 count = 0;
    for (u32 k = 0; k < x->b; k++) count += !alike(j, (u32)j->args[x->a + k], (u32)j->args[y->a + k], DEEP);
    return count;
}

static bool has_poll(const Join *j, u32 n) {
    if (n == NO_BLOCK) return false;
    for (u32 id = block(j, n)->first; id < block(j, n)->last; id++)
        if (at(j, id)->op == IR_poll) return true;
    return false;
}

static bool is_join(Join *j, u32 n) {
    const IrBlockInfo *b = block(j, n);
    if (b->rpo == IR_ROOT || at(j, b->last)->op != IR_br || b->succ[0] == b->succ[1]) return false;
    if (!find_side(j, &j->side[0], b->succ[0]) || !find_side(j, &j->side[1], b->succ[1])) return false;
    if (!same_test(j) || !find_jumps(j, 0) || !find_jumps(j, 1) || choices_of(j, 0) > CHOICES || choices_of(j, 1) > CHOICES) return false;
    j->polls = false;
    for (u32 k = 0; k < 2; k++) j->polls |= has_poll(j, j->side[k].block) | has_poll(j, j->side[k].tail) | has_poll(j, j->side[k].to[0]) | has_poll(j, j->side[k].to[1]);
    return true;
}

/* --- the new function ------------------------------------------------------------------------------------------ */

static u32 emit(Join *j, IrInsn i) {
    vec_push(&j->o->other.insns, i);
    return j->o->other.insns.len - 1;
}

static bool same_insn(const IrInsn *x, const IrInsn *y) {
    return x->op == y->op && x->type == y->type && x->aux == y->aux && x->aux2 == y->aux2 && x->a == y->a && x->b == y->b && x->c == y->c && x->imm == y->imm;
}

/* A pure operation, unless it has been made before. */
static u32 emit_once(Join *j, IrInsn i) {
    for (u32 id = j->window; id < j->o->other.insns.len; id++)
        if (same_insn(&j->o->other.insns.at[id], &i)) return id;
    return emit(j, i);
}

/* Value v of side k in the new function. */
static u32 value_of(const Join *j, u32 k, u32 v) { return j->alias[k][v] ? j->alias[k][v] : j->map[v]; }

static void copy_operation(Join *j, u32 k, u32 id) {
    IrInsn i = *at(j, id);
    unsigned n = ir_op_operands[i.op];
    if (n > 0) i.a = value_of(j, k, i.a);
    if (n > 1) i.b = value_of(j, k, i.b);
    if (n > 2) i.c = value_of(j, k, i.c);
    i.uses = i.last = 0;
    j->alias[k][id] = emit_once(j, i);
}

static void copy_block(Join *j, u32 k, u32 n) {
    for (u32 id = block(j, n)->first + 1; id < block(j, n)->last; id++)
        if (ir_op_facts[at(j, id)->op] & F_PURE) copy_operation(j, k, id);
}

static void copy_side(Join *j, u32 k) {
    const Side *s = &j->side[k];
    copy_block(j, k, s->block);
    if (s->tail != NO_BLOCK) {
        const IrInsn *jump = at(j, block(j, s->block)->last);
        u32 param = block(j, s->tail)->first + 1;
        for (u32 n = 0; n < jump->b; n++) j->alias[k][param + n] = value_of(j, k, (u32)j->args[jump->a + n]);
        copy_block(j, k, s->tail);
    }
    for (u32 n = 0; n < 2; n++) copy_block(j, k, s->to[n]); /* constants */
}

static void forget_side(Join *j, u32 k) {
    const Side *s = &j->side[k];
    const u32 blocks[] = {s->block, s->tail, s->to[0], s->to[1]};
    for (u32 n = 0; n < ARRAY_LEN(blocks); n++) {
        if (blocks[n] == NO_BLOCK) continue;
        const IrBlockInfo *b = block(j, blocks[n]);
        memset(j->alias[k] + b->first, 0, (b->last - b->first + 1) * sizeof(u32));
    }
}

/* The jump of both sides for one outcome of the test: its arguments are chosen here, the jump itself comes later. */
static IrInsn choose_way(Join *j, u32 which, u32 condition) {
    IrInsn x = *at(j, j->side[0].jump[which]), y = *at(j, j->side[1].jump[which]);
    u32 first = j->f->args.len;
    for (u32 k = 0; k < x.b; k++) {
        u32 yes = value_of(j, 0, (u32)j->args[x.a + k]), no = value_of(j, 1, (u32)j->args[y.a + k]);
        if (yes != no) yes = emit_once(j, (IrInsn){.op = IR_select, .type = j->o->other.insns.at[yes].type, .a = condition, .b = yes, .c = no});
        vec_push(&j->f->args, yes);
    }
    x.a = first;
    return x;
}

static u32 begin_block(Join *j) {
    emit(j, (IrInsn){.op = IR_block, .imm = j->f->block_count});
    return j->f->block_count++;
}

/* The blocks that the branch at the end of block n leads to now: one that chooses, and from there on the two ways; then, if there are polls, one that branches as before. */
static void emit_blocks(Join *j, u32 n) {
    is_join(j, n); /* fills in the sides again */
    const IrInsn *branch = at(j, block(j, n)->last);
    u32 condition = j->map[branch->a], ways = begin_block(j) + 1;
    j->window = j->o->other.insns.len;
    copy_side(j, 0);
    copy_side(j, 1);
    IrInsn way[2] = {choose_way(j, 0, condition), choose_way(j, 1, condition)};
    emit(j, (IrInsn){.op = IR_br, .a = j->alias[0][at(j, j->side[0].last)->a], .imm = ways | (u64)(ways + 1) << 32});
    forget_side(j, 0);
    forget_side(j, 1);
    for (u32 k = 0; k < 2; k++) {
        begin_block(j);
        emit(j, way[k]);
    }
    if (!j->polls) return;
    begin_block(j);
    emit(j, (IrInsn){.op = IR_br, .a = condition, .imm = branch->imm});
}

static void copy(Join *j, u32 id) {
    IrInsn i = *at(j, id);
    opt_map_operands(j->f, &i, j->map);
    j->map[id] = emit(j, i);
}

/* In place of the branch at the end of block n: numbers of new blocks are given in the order in which they are made. */
static void copy_branch(Join *j, u32 n, u32 *number) {
    if (j->polls) {
        u32 quiet = emit(j, (IrInsn){.op = IR_quiet, .type = IR_I1});
        emit(j, (IrInsn){.op = IR_br, .a = quiet, .imm = *number | (u64)(*number + 3) << 32});
    } else {
        emit(j, (IrInsn){.op = IR_jmp, .a = 0, .b = 0, .imm = *number});
    }
    *number += j->polls ? 4 : 3;
    vec_push(&j->found, n);
}

static void copy_all(Join *j) {
    u32 n = 0, end = j->f->insns.len, number = j->f->block_count;
    j->o->other.insns.len = 0;
    for (u32 id = 0; id < end; id++) {
        if (at(j, id)->op == IR_block) n = (u32)at(j, id)->imm;
        if (at(j, id)->op == IR_br && is_join(j, n)) copy_branch(j, n, &number);
        else copy(j, id);
    }
    for (u32 k = 0; k < j->found.len; k++) emit_blocks(j, j->found.at[k]);
    opt_take_copy(j->o, j->f, j->map);
}

static bool has_join(Join *j) {
    for (u32 n = 0; n < j->f->block_count; n++)
        if (is_join(j, n)) return true;
    return false;
}

void opt_join(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, *words = arena_alloc(&o->arena, 4 * n * sizeof(u32)), number = 0;
    Join j = {.o = o, .f = f, .map = words, .block_of = words + n, .alias = {words + 2 * n, words + 3 * n}, .args = f->args.at};
    ir_cfg_make(&o->cfg, f);
    for (u32 id = 1; id < n; id++) {
        if (f->insns.at[id].op == IR_block) number = (u32)f->insns.at[id].imm;
        j.block_of[id] = number;
    }
    if (!has_join(&j)) return;
    j.args = memcpy(arena_alloc(&o->arena, (f->args.len + 1) * sizeof(u64)), f->args.at, f->args.len * sizeof(u64));
    copy_all(&j);
    o->stats.joins += j.found.len;
    o->decided = true;
    opt_drop_blocks(o, f);
    vec_drop(&j.found);
}
