/* SPDX-License-Identifier: Apache-2.0 */
/* params: removes parameters whose arguments are all one value (or the parameter itself), until none is left. Condition: none; the
 * value dominates the block, since it comes in on every edge. Bought: promote can place parameters without thinking; of 40 slots that
 * are live in a loop, those that it does not change need no register move anywhere. */
#include "opt/opt.h"

typedef struct Params {
    Opt *o;
    IrFunc *f;
    u32 *same; /* what a value was replaced by, 0: nothing */
} Params;

static u32 resolve(Params *p, u32 id) {
    while (p->same[id]) {
        u32 next = p->same[id];
        if (p->same[next]) p->same[id] = p->same[next]; /* shorter the next time */
        id = next;
    }
    return id;
}

/* --- all at once ------------------------------------------------------------------------------------------------- */

/* Parameters that only get each other and one value are that value, too: around loops that are entered at several places, no single one of
 * them could be told. So all are taken for what comes in, until something else comes in as well (optimistic value numbering: only its end
 * counts, and hostile graphs could put that off: then nothing is known). */
enum { MAX_ROUNDS = 40 };

typedef struct Guess {
    u32 *value; /* by id: of parameters; itself: several values; 0: none so far */
    u8 *is_param; /* by id */
} Guess;

static u32 guess_of(const Guess *g, u32 id) { return g->is_param[id] ? g->value[id] : id; }

static u32 meet(Params *p, const Guess *g, const IrBlockInfo *b, u32 id, u32 k) {
    u32 only = 0;
    for (u32 e = 0; e < b->pred_count; e++) {
        const IrInsn *jump = &p->f->insns.at[p->o->cfg.blocks.at[p->o->cfg.preds.at[b->pred + e]].last];
        u32 v = guess_of(g, (u32)p->f->args.at[jump->a + k]);
        if (!v || v == only) continue;
        if (only) return id;
        only = v;
    }
    return only;
}

static bool guess_round(Params *p, Guess *g) {
    bool changed = false;
    for (u32 n = 0; n < p->o->cfg.order.len; n++) {
        const IrBlockInfo *b = &p->o->cfg.blocks.at[p->o->cfg.order.at[n]];
        for (u32 k = 0, id = b->first + 1; p->f->insns.at[id].op == IR_param; k++, id++) {
            if (g->value[id] == id) continue;
            u32 v = meet(p, g, b, id, k);
            if (v == g->value[id]) continue;
            g->value[id] = g->value[id] ? id : v;
            changed = true;
        }
    }
    return changed;
}

static void guess_all(Params *p) {
    u32 n = p->f->insns.len, rounds = 0;
    Guess g = {.value = arena_alloc(&p->o->arena, n * sizeof(u32)), .is_param = arena_alloc(&p->o->arena, n)};
    for (u32 id = 1; id < n; id++) g.is_param[id] = p->f->insns.at[id].op == IR_param;
    while (guess_round(p, &g))
        if (++rounds == MAX_ROUNDS) return;
    for (u32 id = 1; id < n; id++) {
        if (!g.value[id] || g.value[id] == id) continue;
        p->same[id] = g.value[id];
        p->f->insns.at[id].op = IR_nop, p->f->insns.at[id].aux = IR_param;
        p->o->stats.params++;
    }
}

/* --- one by one ---------------------------------------------------------------------------------------------------- */

/* The one value that parameter k of block n has, 0: there are several. */
static u32 only_value(Params *p, const IrBlockInfo *b, u32 id, u32 k) {
    u32 only = 0;
    for (u32 e = 0; e < b->pred_count; e++) {
        const IrInsn *jump = &p->f->insns.at[p->o->cfg.blocks.at[p->o->cfg.preds.at[b->pred + e]].last];
        u32 v = resolve(p, (u32)p->f->args.at[jump->a + k]);
        if (v == id || v == only) continue;
        if (only) return 0;
        only = v;
    }
    return only;
}

static bool sweep(Params *p) {
    bool changed = false;
    for (u32 n = 0; n < p->o->cfg.order.len; n++) {
        const IrBlockInfo *b = &p->o->cfg.blocks.at[p->o->cfg.order.at[n]];
        for (u32 k = 0, id = b->first + 1; p->f->insns.at[id].op == IR_param || p->f->insns.at[id].op == IR_nop; k++, id++) {
            if (p->f->insns.at[id].op == IR_nop) {
                if (p->f->insns.at[id].aux != IR_param) break;
                continue;
            }
            u32 v = only_value(p, b, id, k);
            if (!v) continue;
            p->same[id] = v;
            p->f->insns.at[id].op = IR_nop, p->f->insns.at[id].aux = IR_param;
            p->o->stats.params++;
            changed = true;
        }
    }
    return changed;
}

void opt_params(Opt *o, IrFunc *f) {
    Params p = {.o = o, .f = f, .same = arena_alloc(&o->arena, f->insns.len * sizeof(u32))};
    ir_cfg_make(&o->cfg, f);
    guess_all(&p);
    for (u32 rounds = 0; rounds < 20 && sweep(&p); rounds++) {}
    u32 *map = arena_alloc(&o->arena, f->insns.len * sizeof(u32));
    for (u32 id = 1; id < f->insns.len; id++) map[id] = resolve(&p, id);
    for (u32 id = 1; id < f->insns.len; id++) opt_map_operands(f, &f->insns.at[id], map);
    for (u32 k = 0; k < f->states.len; k++) f->states.at[k].value = map[f->states.at[k].value];
    opt_compact(o, f);
}
