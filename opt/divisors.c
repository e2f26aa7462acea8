/* SPDX-License-Identifier: Apache-2.0 */
/* divisors: division by a register that nobody writes in the loop is compared with what that register held when the region was asked for (Opt.seen); where that is the divisor still,
 * it is a constant, and division a multiplication (divide.c). Compilers take constants out of loops, also those that they divide by.
 *
 * Condition: in a loop; the register is as it was at the region's entry. If the guess is wrong, comparing costs next to nothing beside the division. Bought: numbers of many words in
 * decimal, random numbers up to a limit, hashes modulo a prime, sums modulo one. */
#include "opt/opt.h"

enum { DEEP = 3 /* parameters that are followed */, PREDS = 8, SITES = 64, HALVES = 8, CHAIN = 4 /* operations that come before a division with it */, NO_SLOT = ~0u };

typedef struct Site {
    u32 half[HALVES]; /* ids of divisions by one divisor in one block, ascending */
    u32 count;
    u64 divisor;
} Site;

typedef struct Divisors {
    IrFunc *f;
    OptSplit s;
    u32 *block_of; /* by id: number */
    u32 *site_of;  /* by id of a division: index of its site; 0: none */
    u8 *early;     /* by id: made where the site's first division is */
    Site sites[SITES];
    u32 count;     /* 0 is unused */
} Divisors;

static const IrInsn *at(const Divisors *d, u32 id) { return &d->f->insns.at[id]; }
static bool is_division(const IrInsn *i) { return i->op == IR_divs || i->op == IR_divu || i->op == IR_rems || i->op == IR_remu; }

/* --- finding -------------------------------------------------------------------------------------------------- */

/* The slot that v was got of, wherever the region was entered. */
static u32 slot_of(const Divisors *d, u32 v, unsigned depth) {
    const IrInsn *i = at(d, v);
    const IrCfg *c = &d->s.o->cfg;
    const IrBlockInfo *b = &c->blocks.at[d->block_of[v]];
    u32 slot = NO_SLOT;
    if (i->op == IR_get) return (u32)i->imm;
    if (i->op != IR_param || !depth || b->pred_count > PREDS) return NO_SLOT;
    for (u32 e = 0; e < b->pred_count; e++) {
        const IrInsn *jump = at(d, c->blocks.at[c->preds.at[b->pred + e]].last);
        u32 arg = (u32)d->f->args.at[jump->a + i->imm], from = arg == v ? slot : slot_of(d, arg, depth - 1);
        if (arg == v) continue;
        if (from == NO_SLOT || (slot != NO_SLOT && slot != from)) return NO_SLOT;
        slot = from;
    }
    return slot;
}

/* What the divisor probably is; 0: who knows. Not more than a word: what is in code may be saved to a file, and long numbers are sometimes secret, but seldom constants. */
static u64 guess(const Divisors *d, const IrInsn *i) {
    const IrInsn *b = at(d, i->b);
    u32 v = b->op == IR_trunc || ((b->op == IR_sext || b->op == IR_zext) && b->aux == 32) ? b->a : i->b;
    u32 slot = slot_of(d, v, DEEP);
    if (slot >= OPT_SEEN) return 0;
    u64 seen = d->s.o->seen[slot];
    if (b->op == IR_sext) return (u64)sext_bits(seen, 32);
    if (i->type == IR_I32 || b->op == IR_zext) return low_bits(seen, 32);
    return low_bits(seen, 32) == seen || (u64)sext_bits(seen, 32) == seen ? seen : 0;
}

/* Does something behind it belong to a guest instruction that begins in front of it, and may fault? */
static bool is_inside(const Divisors *d, u32 id) {
    for (id++;; id++) {
        u16 facts = ir_op_facts[at(d, id)->op];
        if (at(d, id)->op == IR_insn || (facts & F_TERM)) return false;
        if (facts & F_FAULTS) return true;
    }
}

/* Can v be computed in front of instruction `first` of its block? */
static bool can_hoist(const Divisors *d, u32 v, u32 first, unsigned depth) {
    const IrInsn *i = at(d, v);
    if (v < first) return true;
    if (!depth || !opt_is_cheap(i)) return false;
    unsigned n = ir_op_operands[i->op];
    return (n < 1 || can_hoist(d, i->a, first, depth - 1)) && (n < 2 || can_hoist(d, i->b, first, depth - 1)) && (n < 3 || can_hoist(d, i->c, first, depth - 1));
}

/* Divisions by the same divisor further on in the block. */
static void find_others(Divisors *d, Site *s) {
    u32 first = s->half[0];
    for (u32 k = first + 1; !(ir_op_facts[at(d, k)->op] & F_TERM) && s->count < HALVES; k++) {
        const IrInsn *i = at(d, k);
        if (!is_division(i) || d->site_of[k] || i->b != at(d, first)->b || !can_hoist(d, i->a, first, CHAIN)) continue;
        s->half[s->count++] = k;
        d->site_of[k] = d->count;
    }
}

static void find_all(Divisors *d) {
    u32 number = 0;
    d->count = 1;
    for (u32 id = 1; id < d->f->insns.len; id++) {
        const IrInsn *i = at(d, id);
        if (i->op == IR_block) number = (u32)i->imm;
        d->block_of[id] = number;
    }
    for (u32 id = 1; id < d->f->insns.len && d->count < SITES; id++) {
        const IrInsn *i = at(d, id);
        if (!is_division(i) || d->site_of[id] || at(d, i->b)->op == IR_const || d->s.o->cfg.blocks.at[d->block_of[id]].loop == IR_ROOT || is_inside(d, id)) continue;
        Site s = {.half = {id}, .count = 1, .divisor = guess(d, i)};
        if (!s.divisor) continue;
        d->site_of[id] = d->count;
        find_others(d, &s);
        d->sites[d->count++] = s;
    }
}

static bool has_division(const IrFunc *f) {
    for (u32 id = 1; id < f->insns.len; id++)
        if (is_division(&f->insns.at[id])) return true;
    return false;
}

/* --- the new function ------------------------------------------------------------------------------------------- */

/* Cheap operations that come early, and what they need. */
static void hoist(Divisors *d, u32 v, u32 first) {
    const IrInsn *i = at(d, v);
    if (v < first || d->early[v]) return;
    unsigned n = ir_op_operands[i->op];
    if (n > 0) hoist(d, i->a, first);
    if (n > 1) hoist(d, i->b, first);
    if (n > 2) hoist(d, i->c, first);
    opt_split_copy(&d->s, v);
    d->early[v] = true;
}

/* The divisions of the site by `divisor`, at the end of a block that goes on to `to`. */
static void emit_divisions(Divisors *d, const Site *s, u32 divisor, u32 to) {
    u32 half[HALVES];
    for (u32 k = 0; k < s->count; k++) {
        IrInsn i = *at(d, s->half[k]);
        i.a = d->s.map[i.a], i.b = divisor;
        half[k] = opt_split_emit(&d->s, i);
    }
    opt_split_jump(&d->s, to, s->count, half);
    opt_split_block(&d->s);
}

static void copy_site(Divisors *d, const Site *s) {
    const IrInsn *first = at(d, s->half[0]);
    u32 divisor = d->s.map[first->b];
    for (u32 k = 1; k < s->count; k++) hoist(d, at(d, s->half[k])->a, s->half[0]);
    u32 guessed = opt_split_emit(&d->s, (IrInsn){.op = IR_const, .type = first->type, .imm = s->divisor});
    u32 both = opt_split_branch(&d->s, opt_split_emit(&d->s, (IrInsn){.op = IR_eq, .type = IR_I1, .a = divisor, .b = guessed}));
    emit_divisions(d, s, guessed, both);
    emit_divisions(d, s, divisor, both);
    for (u32 k = 0; k < s->count; k++) d->s.map[s->half[k]] = opt_split_emit(&d->s, (IrInsn){.op = IR_param, .type = first->type, .imm = k});
}

static void copy(Divisors *d, u32 id) {
    const Site *s = &d->sites[d->site_of[id]];
    if (d->site_of[id] && id == s->half[0]) copy_site(d, s);
    else if (!d->site_of[id] && !d->early[id]) opt_split_copy(&d->s, id);
}

void opt_divisors(Opt *o, IrFunc *f) {
    u32 n = f->insns.len;
    if (!o->seen || !has_division(f)) return;
    u32 *words = arena_alloc(&o->arena, 2 * n * sizeof(u32));
    Divisors d = {.f = f, .s = {.o = o, .f = f}, .block_of = words, .site_of = words + n, .early = arena_alloc(&o->arena, n)};
    ir_cfg_make(&o->cfg, f);
    find_all(&d);
    if (d.count == 1) return;
    o->stats.divisors += d.count - 1;
    opt_split_begin(&d.s);
    for (u32 id = 0; id < n; id++) copy(&d, id);
    opt_split_end(&d.s);
}
