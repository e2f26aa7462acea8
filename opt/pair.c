/* SPDX-License-Identifier: Apache-2.0 */
/* pair: the high and the low half of one product stand next to each other, the high half first, so that the back end makes both by one
 * multiplication (region_int.c, mul). RISC-V programs compute them apart, one of them where it is wanted. Condition: the same operands,
 * 64 bits, in the same block; neither can fault, so the later one may come earlier. Bought: numbers of many words (RSA). */
#include "opt/opt.h"

enum { TABLE = 256 };

typedef struct Pair {
    IrFunc *f;
    u32 table[TABLE];  /* by operands: the last half seen */
    u32 block;         /* id of its first instruction */
    u32 *partner;      /* by id: of the earlier half, the later one, which moves there; of that one, the earlier */
    u32 count;
} Pair;

static bool is_low(const IrInsn *i) { return i->op == IR_mul; }

static bool is_half(const Pair *p, const IrInsn *i) {
    if ((i->op != IR_mul && i->op != IR_mulhs && i->op != IR_mulhu) || i->type != IR_I64) return false;
    return p->f->insns.at[i->a].op != IR_const && p->f->insns.at[i->b].op != IR_const;
}

static bool same_product(const IrInsn *x, const IrInsn *y) {
    return is_low(x) != is_low(y) && ((x->a == y->a && x->b == y->b) || (x->a == y->b && x->b == y->a));
}

static void find_partner(Pair *p, u32 id) {
    const IrInsn *i = &p->f->insns.at[id];
    u32 *at = &p->table[hash_u64((u64)MIN(i->a, i->b) << 32 | MAX(i->a, i->b)) % TABLE];
    if (*at > p->block && same_product(&p->f->insns.at[*at], i)) {
        p->partner[*at] = id, p->partner[id] = *at;
        p->count++;
        *at = 0;
    } else {
        *at = id;
    }
}

static void reorder(Opt *o, const Pair *p) {
    u32 *order = arena_alloc(&o->arena, p->f->insns.len * sizeof(u32)), n = 1;
    for (u32 id = 1; id < p->f->insns.len; id++) {
        u32 other = p->partner[id];
        if (other && other < id) continue; /* it went up */
        bool low = is_low(&p->f->insns.at[id]);
        if (other && low) order[n++] = other;
        order[n++] = id;
        if (other && !low) order[n++] = other;
    }
    opt_reorder(o, p->f, order);
}

void opt_pair(Opt *o, IrFunc *f) {
    Pair p = {.f = f, .partner = arena_alloc(&o->arena, f->insns.len * sizeof(u32))};
    for (u32 id = 1; id < f->insns.len; id++) {
        if (f->insns.at[id].op == IR_block) p.block = id;
        if (is_half(&p, &f->insns.at[id])) find_partner(&p, id);
    }
    o->stats.paired += p.count;
    if (p.count) reorder(o, &p);
}
