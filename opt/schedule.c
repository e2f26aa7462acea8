/* SPDX-License-Identifier: Apache-2.0 */
/* schedule: brings together, within a block, what one host instruction does, or what the host's flags connect.
 *
 * Products: the high half of one, then the low half, which the back end makes both by one multiplication (region_int.c, mul_done). RISC-V
 * programs compute them apart, each where it is wanted. Condition: the same operands, 64 bits.
 *
 * Quotients: a remainder, then the quotient of the same division, which the processor makes both at once (lower_int.c, divide).
 *
 * Carries: a sum, then whether it is less than one of what was added, then the sum that takes that in: add and adc, without a comparison in
 * between (region_int.c, carry_in_flags). Condition: what else is added can be computed before the first sum.
 *
 * Only pure operations move, and only up, so frames still find their values. Bought: numbers of many words, whose carries are the longest
 * chain of what waits for each other (RSA). */
#include "opt/opt.h"

enum { TABLE = 256, DEEP = 4 /* operations that one waits for, which would move, too */ };

typedef struct Schedule {
    IrFunc *f;
    u32 table[TABLE];  /* by operands: the last half seen */
    u32 block;         /* id of its first instruction */
    u32 *partner;      /* by id: the other half */
    u32 *taker;        /* by id of a sum: the sum that takes in its carry */
    u32 *order, len;   /* the new one */
    u8 *placed;        /* by id: it is in it */
    u32 pairs, carries;
} Schedule;

static const IrInsn *at(const Schedule *s, u32 id) { return &s->f->insns.at[id]; }

/* --- products and quotients ------------------------------------------------------------------------------------------- */

static bool is_quotient(const IrInsn *i) { return i->op == IR_divs || i->op == IR_divu; }
static bool is_remainder(const IrInsn *i) { return i->op == IR_rems || i->op == IR_remu; }

/* Half of what one instruction makes? */
static bool is_half(const Schedule *s, const IrInsn *i) {
    if (is_quotient(i) || is_remainder(i)) return true;
    if ((i->op != IR_mul && i->op != IR_mulhs && i->op != IR_mulhu) || i->type != IR_I64) return false;
    return at(s, i->a)->op != IR_const && at(s, i->b)->op != IR_const;
}

static bool same_product(const IrInsn *x, const IrInsn *y) {
    return (x->op == IR_mul) != (y->op == IR_mul) && ((x->a == y->a && x->b == y->b) || (x->a == y->b && x->b == y->a));
}

static bool same_division(const IrInsn *x, const IrInsn *y) {
    const IrInsn *q = is_quotient(x) ? x : y, *r = q == x ? y : x;
    return is_quotient(q) && r->op == (q->op == IR_divs ? IR_rems : IR_remu) && q->type == r->type && q->a == r->a && q->b == r->b;
}

static void find_partner(Schedule *s, u32 id) {
    const IrInsn *i = at(s, id);
    u32 *seen = &s->table[hash_u64((u64)MIN(i->a, i->b) << 32 | MAX(i->a, i->b)) % TABLE];
    if (*seen > s->block && (same_product(at(s, *seen), i) || same_division(at(s, *seen), i))) {
        s->partner[*seen] = id, s->partner[id] = *seen;
        s->pairs++;
        *seen = 0;
    } else {
        *seen = id;
    }
}

/* --- carries ---------------------------------------------------------------------------------------------- */

/* The sum whose carry `v` is, as 0 or 1; 0: none in this block. */
static u32 sum_of_carry(const Schedule *s, u32 v) {
    const IrInsn *i = at(s, v), *less = at(s, i->a);
    if (i->op != IR_zext || i->aux != 1 || i->type != IR_I64 || less->op != IR_ltu || v <= s->block || i->a <= s->block) return 0;
    const IrInsn *sum = at(s, less->a);
    if (less->a <= s->block || sum->op != IR_add || sum->type != IR_I64) return 0;
    return sum->a == less->b || sum->b == less->b ? less->a : 0;
}

static void find_carry(Schedule *s, u32 id) {
    const IrInsn *i = at(s, id);
    if (i->op != IR_add || i->type != IR_I64) return;
    u32 sum = sum_of_carry(s, i->b);
    if (!sum) sum = sum_of_carry(s, i->a);
    if (!sum || s->taker[sum]) return;
    s->taker[sum] = id;
    s->carries++;
}

/* --- the new order ------------------------------------------------------------------------------------------ */

static void place(Schedule *s, u32 id) {
    if (s->placed[id]) return;
    s->placed[id] = true;
    s->order[s->len++] = id;
}

/* Can v be computed now, without `sum`? */
static bool can_place(const Schedule *s, u32 v, u32 sum, unsigned depth) {
    const IrInsn *i = at(s, v);
    if (s->placed[v]) return true;
    if (v == sum || !depth || !(ir_op_facts[i->op] & F_PURE) || i->op == IR_call) return false;
    unsigned n = ir_op_operands[i->op];
    return (n < 1 || can_place(s, i->a, sum, depth - 1)) && (n < 2 || can_place(s, i->b, sum, depth - 1)) && (n < 3 || can_place(s, i->c, sum, depth - 1));
}

/* With the other half of a product or division. The operands are there. */
static void place_halves(Schedule *s, u32 id) {
    u32 other = s->partner[id];
    bool high_first = other && (at(s, id)->op == IR_mul || is_quotient(at(s, id)));
    if (high_first) place(s, other);
    place(s, id);
    if (other) place(s, other);
}

/* v, behind what it needs. */
static void place_value(Schedule *s, u32 v) {
    const IrInsn *i = at(s, v);
    if (s->placed[v]) return;
    unsigned n = ir_op_operands[i->op];
    if (n > 0) place_value(s, i->a);
    if (n > 1) place_value(s, i->b);
    if (n > 2) place_value(s, i->c);
    place_halves(s, v);
}

static void place_all(Schedule *s, u32 id);

/* The sum, and what takes in its carry, if that can be. */
static void place_sum(Schedule *s, u32 sum) {
    const IrInsn *user = at(s, s->taker[sum]);
    u32 carry = sum_of_carry(s, user->b) == sum ? user->b : user->a, other = carry == user->b ? user->a : user->b;
    bool can = other != carry && can_place(s, other, sum, DEEP);
    if (can) place_value(s, other);
    place(s, sum);
    if (!can) return;
    place(s, at(s, carry)->a);
    place(s, carry);
    place_all(s, s->taker[sum]);
}

static void place_all(Schedule *s, u32 id) {
    if (s->placed[id]) return;
    if (s->taker[id]) place_sum(s, id);
    else place_halves(s, id);
}

/* A sum that takes in a carry may have one itself, and so on: chains as long as a block must not be as deep on the stack. */
static void cut_chains(Schedule *s) {
    for (u32 id = 1; id < s->f->insns.len; id++) {
        u32 steps = 0;
        for (u32 k = id; (k = s->taker[k]);)
            if (++steps > 2 * DEEP) s->taker[k] = 0;
    }
}

void opt_schedule(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, *words = arena_alloc(&o->arena, 3 * n * sizeof(u32));
    Schedule s = {.f = f, .partner = words, .taker = words + n, .order = words + 2 * n, .len = 1, .placed = arena_alloc(&o->arena, n)};
    for (u32 id = 1; id < n; id++) {
        if (at(&s, id)->op == IR_block) s.block = id;
        if (is_half(&s, at(&s, id))) find_partner(&s, id);
        find_carry(&s, id);
    }
    o->stats.paired += s.pairs + s.carries;
    if (!s.pairs && !s.carries) return;
    cut_chains(&s);
    s.placed[0] = true;
    for (u32 id = 1; id < n; id++) {
        if (at(&s, id)->op == IR_block) s.block = id;
        place_all(&s, id);
    }
    opt_reorder(o, f, s.order);
}
