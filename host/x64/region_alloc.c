/* SPDX-License-Identifier: Apache-2.0 */
/* Regions, step two: registers for segments.
 *
 * Segments are gathered in bundles: at first a value's, and those of a parameter with its arguments where they don't overlap, so that
 * jumps need no moves. Bundles get registers in order of what a register saves per place that it takes up, both weighted by
 * frequency. One that fits nowhere first gives up what only frames want, then is cut into its parts within and around loops, then into
 * its values, and is left in memory at last. No register is ever taken away again: who comes later is worth less.
 *
 * Cuts are at the edges of blocks, where the moves of edges connect the parts (region_edge_moves); or where a value is idle from then
 * on, in memory, which has been stored at its definition. */
#include "host/x64/region.h"

static bool is_xmm_value(const Region *r, u32 v) { return cg_is_xmm_type(cg_insn(r->g, v)->type); }

/* Length x frequency of the code before a position. */
static u64 cover(const Region *r, u32 pos) {
    u32 n = r->block_of[(pos - 1) / 2];
    return r->cover[n] + (u64)(pos - region_start(&r->blocks[n])) * r->blocks[n].freq;
}

/* --- cutting segments ----------------------------------------------------------------------------------- */

/* The loop directly within `loop` that block n is in; 0: none. */
static u32 child_loop(const Region *r, u32 loop, u32 n) {
    u32 child = 0;
    for (u32 k = r->blocks[n].loop; k != loop && k; k = r->loops.at[k].parent) child = k;
    return child;
}

/* The loop itself if block n is in it, else 0. */
static u32 this_loop(const Region *r, u32 loop, u32 n) {
    u32 k = r->blocks[n].loop;
    while (k && k != loop) k = r->loops.at[k].parent;
    return k;
}

/* Cuts a segment where `part` of its blocks changes. */
static void cut_seg(Region *r, u32 seg, u32 loop, u32 (*part)(const Region *, u32, u32)) {
    u32 n = r->block_of[r->segs.at[seg].from / 2], to = r->segs.at[seg].to;
    u32 here = part(r, loop, n);
    for (n++; n < r->block_count && region_start(&r->blocks[n]) < to; n++) {
        if (part(r, loop, n) == here) continue;
        here = part(r, loop, n);
        Seg rest = r->segs.at[seg];
        rest.from = region_start(&r->blocks[n]);
        vec_push(&r->segs, rest);
        r->segs.at[seg].to = rest.from;
        r->segs.at[seg].next = r->segs.at[seg].sibling = r->segs.len - 1;
        seg = r->segs.len - 1;
    }
}

static void cut_segs(Region *r, u32 n, u32 (*part)(const Region *, u32, u32), u32 loop) {
    for (u32 s = r->bundles.at[n].first, next; s; s = next) {
        next = r->segs.at[s].sibling;
        cut_seg(r, s, loop, part);
    }
}

/* --- bundles ------------------------------------------------------------------------------------------ */

static u32 new_bundle(Region *r, bool xmm, u32 loop, bool leaf) {
    vec_push(&r->bundles, ((Bundle){.reg = NO_REG, .xmm = xmm, .loop = loop, .leaf = leaf}));
    return r->bundles.len - 1;
}

/* A bundle of those segments of the value that are idle, or not idle, or of all. */
static u32 gather(Region *r, u32 v, bool hot, bool idle) {
    u32 n = new_bundle(r, is_xmm_value(r, v), 0, false), *link = &r->bundles.at[n].first;
    r->bundles.at[n].whole = true;
    for (u32 s = r->value[v].seg; s; s = r->segs.at[s].next) {
        if (!(r->segs.at[s].idle ? idle : hot)) continue;
        *link = s;
        link = &r->segs.at[s].sibling;
        r->segs.at[s].bundle = n;
    }
    *link = 0;
    return n;
}

static void make_bundles(Region *r, bool tails) {
    r->bundles.len = 0;
    vec_push(&r->bundles, (Bundle){0});
    for (u32 v = 1; v < r->g->f->insns.len; v++) {
        bool hot = false, idle = false;
        for (u32 s = r->value[v].seg; s; s = r->segs.at[s].next) *(r->segs.at[s].idle ? &idle : &hot) = true;
        if (!hot && !idle) continue;
        bool split = tails && hot && idle;
        u32 n = gather(r, v, true, !split);
        if (split) {
            u32 tail = gather(r, v, false, true);
            r->bundles.at[tail].tail = true;
            r->bundles.at[tail].whole = false;
            r->value[v].tail = tail;
        }
        if (!tails) r->bundles.at[n].set = r->value[v].set = n;
    }
}

static bool overlap(const Region *r, u32 a, u32 b) {
    while (a && b) {
        const Seg *x = &r->segs.at[a], *y = &r->segs.at[b];
        if (x->from < y->to && y->from < x->to) return true;
        if (x->to <= y->to) a = x->sibling;
        else b = y->sibling;
    }
    return false;
}

static void join(Region *r, u32 to, u32 from) {
    u32 a = r->bundles.at[to].first, b = r->bundles.at[from].first, *link = &r->bundles.at[to].first;
    bool whole = r->bundles.at[to].whole && r->bundles.at[from].whole;
    r->bundles.at[to].whole = whole;
    for (u32 s = b; s; s = r->segs.at[s].sibling) {
        r->segs.at[s].bundle = to;
        if (r->joining_sets) r->value[r->segs.at[s].value].set = r->bundles.at[to].set;
    }
    while (a || b) {
        u32 *least = !a || (b && r->segs.at[b].from < r->segs.at[a].from) ? &b : &a;
        *link = *least;
        link = &r->segs.at[*least].sibling;
        *least = *link;
    }
    *link = 0;
    r->bundles.at[from].first = 0;
}

static void wish(Region *r, u32 v, u32 other, u32 weight) {
    vec_push(&r->wishes, ((Wish){other, weight, r->value[v].wish}));
    r->value[v].wish = r->wishes.len - 1;
}

static void wish_both(Region *r, u32 v, u32 other, u32 weight) {
    if (!r->value[v].seg || !r->value[other].seg || is_xmm_value(r, v) != is_xmm_value(r, other)) return;
    wish(r, v, other, weight);
    wish(r, other, v, weight);
}

/* Do the bundles overlap in the loop? */
static bool overlap_in(const Region *r, u32 a, u32 b, u32 loop) {
    while (a && b) {
        const Seg *x = &r->segs.at[a], *y = &r->segs.at[b];
        u32 from = MAX(x->from, y->from), to = MIN(x->to, y->to);
        for (u32 n = r->block_of[from / 2]; from < to && n < r->block_count && region_start(&r->blocks[n]) < to; n++)
            if (this_loop(r, loop, n)) return true;
        if (x->to <= y->to) a = x->sibling;
        else b = y->sibling;
    }
    return false;
}

/* The part of bundle n within the loop, as a bundle of its own; n itself, if that is all. */
static u32 part_in(Region *r, u32 n, u32 loop) {
    cut_segs(r, n, this_loop, loop);
    bool outside = false;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) outside |= !this_loop(r, loop, r->block_of[r->segs.at[s].from / 2]);
    if (!outside) return n;
    u32 inner = new_bundle(r, r->bundles.at[n].xmm, loop, false);
    u32 *link = &r->bundles.at[n].first, *tail = &r->bundles.at[inner].first;
    for (u32 s = *link; s; s = r->segs.at[s].sibling) {
        bool in = this_loop(r, loop, r->block_of[r->segs.at[s].from / 2]);
        u32 **end = in ? &tail : &link;
        if (in) r->segs.at[s].bundle = inner;
        **end = s;
        *end = &r->segs.at[s].sibling;
    }
    *link = *tail = 0;
    r->bundles.at[n].whole = false;
    return inner;
}

/* The segment of a value at a position; 0: none. Most look-ups are near the one before. */
u32 region_seg_at(const Region *r, u32 v, u32 pos) {
    Value *x = &r->value[v];
    u32 s = x->found && r->segs.at[x->found].from <= pos ? x->found : x->seg;
    while (s && r->segs.at[s].to <= pos) s = r->segs.at[s].next;
    if (!s || r->segs.at[s].from > pos) return 0;
    return x->found = s;
}

/* Bundle of the value at a position. */
static u32 bundle_at(const Region *r, u32 v, u32 pos) {
    u32 s = region_seg_at(r, v, pos);
    return s ? r->segs.at[s].bundle : 0;
}

/* Joins a parameter of block `to` and its argument at the end of block `from`: wholly, or at least within the loop. */
static void join_argument(Region *r, u32 param, u32 arg, const RBlock *from, const RBlock *to) {
    u32 freq = from->freq, loop = from->loop;
    if (cg_is_const(r->g, arg) || !r->value[param].seg || !r->value[arg].seg || is_xmm_value(r, param) != is_xmm_value(r, arg)) return;
    u32 a = bundle_at(r, param, region_start(to)), b = bundle_at(r, arg, region_end(from) - 1);
    if (!a || !b || a == b) return;
    if (!overlap(r, r->bundles.at[a].first, r->bundles.at[b].first)) {
        join(r, a, b);
    } else if (r->joining_sets) {
        return;
    } else if (loop && this_loop(r, loop, (u32)(to - r->blocks)) && !overlap_in(r, r->bundles.at[a].first, r->bundles.at[b].first, loop)) {
        a = part_in(r, a, loop);
        b = part_in(r, b, loop);
        join(r, a, b);
    } else {
        wish_both(r, param, arg, freq);
    }
}

static void join_arguments(Region *r, const RBlock *b) {
    const IrInsn *i = cg_insn(r->g, b->last);
    if (i->op != IR_jmp) return;
    const RBlock *to = &r->blocks[b->succ[0]];
    for (u32 id = to->first + 1; cg_insn(r->g, id)->op == IR_param; id++)
        join_argument(r, id, cg_root(r->g, (u32)r->g->f->args.at[i->a + cg_insn(r->g, id)->imm]), b, to);
}

/* The most frequent edges first: who is joined to one bundle may overlap another. */
static void join_all(Region *r) {
    for (u32 freq = 1u << 31; freq; freq >>= 1)
        for (u32 n = r->block_count; n-- > 0;)
            if (r->blocks[n].freq == freq) join_arguments(r, &r->blocks[n]);
}

/* --- wishes ------------------------------------------------------------------------------------------- */

static void wish_pins(Region *r, u32 id, const IrFrame *frame) {
    bool rare = cg_insn(r->g, id)->op == IR_exit_if || cg_insn(r->g, id)->op == IR_poll;
    u32 freq = rare ? 1 : r->blocks[r->block_of[id]].freq;
    for (u32 k = 0; k < frame->state_count; k++) {
        const IrState *s = &r->g->f->states.at[frame->state + k];
        u32 v = cg_root(r->g, s->value);
        if (r->g->pin[s->slot] != NO_REG && r->value[v].seg) wish(r, v, r->g->pin[s->slot] | WISH_REG, freq);
    }
}

static void find_wishes(Region *r) {
    Cg *g = r->g;
    for (u32 id = 1; id < g->f->insns.len; id++) {
        const IrInsn *i = cg_insn(g, id);
        if (ir_op_facts[i->op] & F_EXIT) {
            const IrFrame *frame = region_frame(r, id);
            if (frame) wish_pins(r, id, frame);
        } else if (i->op == IR_get && r->value[id].seg && g->pin[i->imm] != NO_REG) {
            wish(r, id, g->pin[i->imm] | WISH_REG, region_freq_at(r, 2 * id));
        } else if (r->value[id].seg && ir_op_operands[i->op]) { /* an operand's register is to become the result's */
            u32 a = cg_root(g, i->op == IR_select || i->op == IR_fma ? i->c : i->a);
            if (r->value[a].seg) wish_both(r, id, a, region_freq_at(r, 2 * id));
        }
    }
}

/* --- the queue: a heap ---------------------------------------------------------------------------------- */

static bool before(const Region *r, u32 a, u32 b) { return r->bundles.at[a].weight > r->bundles.at[b].weight; }

static void enqueue(Region *r, u32 n) {
    vec_push(&r->heap, n);
    u32 k = r->heap.len - 1;
    for (; k && before(r, n, r->heap.at[(k - 1) / 2]); k = (k - 1) / 2) r->heap.at[k] = r->heap.at[(k - 1) / 2];
    r->heap.at[k] = n;
}

static u32 dequeue(Region *r) {
    u32 top = r->heap.at[0], n = r->heap.at[--r->heap.len], k = 0;
    for (;;) {
        u32 child = 2 * k + 1;
        if (child >= r->heap.len) break;
        if (child + 1 < r->heap.len && before(r, r->heap.at[child + 1], r->heap.at[child])) child++;
        if (!before(r, r->heap.at[child], n)) break;
        r->heap.at[k] = r->heap.at[child];
        k = child;
    }
    if (r->heap.len) r->heap.at[k] = n;
    return top;
}

/* What a register saves, over the room that it takes. */
static void weigh(Region *r, u32 n) {
    u64 saves = 0, room = 1;
    bool tail = r->bundles.at[n].tail;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) {
        const Seg *g = &r->segs.at[s];
        if (g->idle && !tail) continue;
        if (tail) saves = region_freq_at(r, region_definition(r, g->value)); /* a store */
        room += cover(r, g->to) - cover(r, g->from + 1);
        if (tail) continue;
        if (g->from == region_definition(r, g->value)) saves += region_freq_at(r, g->from);
        for (u32 u = r->value[g->value].use; u; u = r->uses.at[u].next)
            if (r->uses.at[u].at >= g->from && r->uses.at[u].at < g->to) saves += region_freq_at(r, r->uses.at[u].at);
    }
    r->bundles.at[n].saves = saves;
    r->bundles.at[n].weight = (saves << 24) / room;
    enqueue(r, n);
}

/* --- choosing ------------------------------------------------------------------------------------------- */

static bool fits(const Region *r, u32 n, unsigned reg) {
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling)
        if (!positions_free(r->taken[reg], r->segs.at[s].from, r->segs.at[s].to)) return false;
    return true;
}

static void score_wishes(const Region *r, u32 n, u64 score[32]) {
    u32 last = 0;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) {
        const Value *v = &r->value[r->segs.at[s].value];
        if (r->segs.at[s].value == last) continue;
        last = r->segs.at[s].value;
        if (v->last_reg != NO_REG) score[v->last_reg] += 1;
        for (u32 w = v->wish; w; w = r->wishes.at[w].next) {
            u32 other = r->wishes.at[w].other;
            unsigned reg = other & WISH_REG ? other & 31 : r->value[other].last_reg;
            if (reg != NO_REG) score[reg] += r->wishes.at[w].weight;
        }
    }
}

/* Edges on which a bundle's values come from or go to other bundles whose places are known: frequencies. */
typedef struct Border {
    u64 reg[32], registers, memory;
} Border;

static void add_border(const Region *r, Border *b, u32 n, u32 v, u32 pos, u32 freq) {
    u32 other = bundle_at(r, v, pos);
    if (!other || other == n || !r->bundles.at[other].done) return;
    unsigned reg = r->bundles.at[other].reg;
    if (reg == NO_REG) b->memory += freq;
    else b->reg[reg] += freq, b->registers += freq;
}

static void find_border(const Region *r, u32 n, Border *border) {
    memset(border, 0, sizeof *border);
    if (r->bundles.at[n].whole) return;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) {
        const Seg *g = &r->segs.at[s];
        for (u32 k = r->block_of[g->from / 2]; k < r->block_count && region_start(&r->blocks[k]) < g->to; k++) {
            const RBlock *b = &r->blocks[k];
            for (u32 p = 0; p < b->pred_count && region_start(b) >= g->from; p++) {
                const RBlock *from = &r->blocks[r->preds[b->preds + p]];
                add_border(r, border, n, g->value, region_end(from) - 1, MIN(from->freq, b->freq));
            }
            for (unsigned e = 0; e < 2 && region_end(b) <= g->to; e++)
                if (b->succ[e] != NO_BLOCK) add_border(r, border, n, g->value, region_start(&r->blocks[b->succ[e]]), MIN(r->blocks[b->succ[e]].freq, b->freq));
        }
    }
}

static void give(Region *r, u32 n, unsigned reg) {
    r->bundles.at[n].reg = (u8)reg;
    r->bundles.at[n].done = true;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) {
        positions_take(r->taken[reg], r->segs.at[s].from, r->segs.at[s].to);
        r->value[r->segs.at[s].value].last_reg = (u8)reg;
    }
}

/* A register that the value could keep while only frames want it spares a store. */
static u64 keeps_tails(const Region *r, u32 n, unsigned reg) {
    u64 score = 0;
    u32 last = 0;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) {
        u32 v = r->segs.at[s].value, tail = r->value[v].tail;
        if (v != last && tail && r->bundles.at[tail].first && fits(r, tail, reg)) score += region_freq_at(r, region_definition(r, v));
        last = v;
    }
    return score;
}

static bool has_tails(const Region *r, u32 n) {
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling)
        if (r->value[r->segs.at[s].value].tail) return true;
    return false;
}

static bool try_registers(Region *r, u32 n, const Border *border) {
    u64 score[32];
    u32 set = 0;
    for (u32 k = r->bundles.at[n].xmm ? REGION_XMM : REGION_GPR; k; k &= k - 1) set |= fits(r, n, __builtin_ctz(k)) ? k & -k : 0;
    if (!set) return false;
    bool tails = has_tails(r, n);
    memcpy(score, border->reg, sizeof score);
    score_wishes(r, n, score);
    unsigned best = __builtin_ctz(set);
    for (; set; set &= set - 1) {
        unsigned reg = __builtin_ctz(set);
        if (tails) score[reg] += keeps_tails(r, n, reg);
        if (score[reg] > score[best]) best = reg;
    }
    give(r, n, best);
    return true;
}

/* --- cutting -------------------------------------------------------------------------------------------- */

/* The segments of a bundle are handed out to others: appends one to its new bundle's list. */
static void hand_over(Region *r, u32 seg, u32 to, u32 *tails) {
    Seg *s = &r->segs.at[seg];
    s->bundle = to;
    s->sibling = 0;
    if (r->bundles.at[to].first) r->segs.at[tails[to]].sibling = seg;
    else r->bundles.at[to].first = seg;
    tails[to] = seg;
}

/* Moves the idle segments into a bundle of their own, in memory. False: there are none, or nothing else. */
static bool shed_idle(Region *r, u32 n) {
    bool idle = false, other = false;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) *(r->segs.at[s].idle ? &idle : &other) = true;
    if (!idle || !other) return false;
    u32 memory = new_bundle(r, r->bundles.at[n].xmm, r->bundles.at[n].loop, true);
    r->bundles.at[memory].done = true;
    r->bundles.at[n].whole = false;
    u32 *link = &r->bundles.at[n].first, *tail = &r->bundles.at[memory].first;
    for (u32 s = *link; s; s = r->segs.at[s].sibling) {
        u32 **end = r->segs.at[s].idle ? &tail : &link;
        if (r->segs.at[s].idle) r->segs.at[s].bundle = memory;
        **end = s;
        *end = &r->segs.at[s].sibling;
    }
    *link = *tail = 0;
    return true;
}

/* Into the parts in each loop directly within the bundle's, and the rest. */
static void cut_at_loops(Region *r, u32 n) {
    u32 loop = r->bundles.at[n].loop, first = r->bundles.len;
    bool xmm = r->bundles.at[n].xmm;
    cut_segs(r, n, child_loop, loop);
    u32 *part = r->loop_part; /* by loop: its bundle */
    for (u32 s = r->bundles.at[n].first, next; s; s = next) {
        next = r->segs.at[s].sibling;
        u32 child = child_loop(r, loop, r->block_of[r->segs.at[s].from / 2]);
        if (part[child] < first) {
            part[child] = new_bundle(r, xmm, child ? child : loop, !child);
            vec_reserve(&r->work, r->bundles.len + 1);
        }
        hand_over(r, s, part[child], r->work.at);
    }
    for (u32 k = first; k < r->bundles.len; k++) weigh(r, k);
}

/* Into its values. False: there is but one. */
static bool cut_into_values(Region *r, u32 n) {
    u32 only = r->segs.at[r->bundles.at[n].first].value, first = r->bundles.len;
    bool several = false;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) several |= r->segs.at[s].value != only;
    if (!several) return false;
    for (u32 s = r->bundles.at[n].first, next; s; s = next) {
        next = r->segs.at[s].sibling;
        u32 *part = &r->value[r->segs.at[s].value].part;
        if (*part < first) {
            *part = new_bundle(r, r->bundles.at[n].xmm, r->bundles.at[n].loop, true);
            vec_reserve(&r->work, r->bundles.len + 1);
        }
        hand_over(r, s, *part, r->work.at);
    }
    for (u32 k = first; k < r->bundles.len; k++) weigh(r, k);
    return true;
}

static void leave_in_memory(Region *r, u32 n) { r->bundles.at[n].done = true; }

/* Where a tail follows its value within a block, it stays in the register, or is in memory since the definition. ANY_REG: it follows
 * on edges only. */
enum { ANY_REG = 0xfe };
static unsigned tail_register(Region *r, u32 n, bool *wait) {
    unsigned reg = ANY_REG;
    for (u32 s = r->bundles.at[n].first; s; s = r->segs.at[s].sibling) {
        const Seg *g = &r->segs.at[s];
        if (g->from == region_start(&r->blocks[r->block_of[g->from / 2]])) continue;
        const Bundle *b = &r->bundles.at[bundle_at(r, g->value, g->from - 1)];
        if (!b->done) *wait = true;
        else if (reg != ANY_REG && reg != b->reg) return NO_REG;
        else reg = b->reg;
    }
    return reg;
}

static void allocate_tail(Region *r, u32 n) {
    Bundle *b = &r->bundles.at[n];
    bool wait = false;
    unsigned reg = tail_register(r, n, &wait);
    Border border;
    find_border(r, n, &border);
    if ((wait || (reg == ANY_REG && !border.registers && !border.memory)) && b->weight) { /* the value's other parts first */
        b->weight = 0;
        enqueue(r, n);
        return;
    }
    if (reg == ANY_REG && border.registers && try_registers(r, n, &border)) return;
    if (reg < ANY_REG && !wait && fits(r, n, reg)) give(r, n, reg);
    else leave_in_memory(r, n);
}

static void allocate(Region *r, u32 n) {
    if (r->bundles.at[n].tail) {
        allocate_tail(r, n);
        return;
    }
    Border border;
    find_border(r, n, &border);
    const Bundle *b = &r->bundles.at[n];
    if (!b->whole && b->saves + border.registers <= border.memory) { /* it would come from memory as often as it saves */
        leave_in_memory(r, n);
        return;
    }
    if (try_registers(r, n, &border)) return;
    if (shed_idle(r, n) && try_registers(r, n, &border)) return;
    b = &r->bundles.at[n];
    if (!b->saves) leave_in_memory(r, n);
    else if (!b->leaf) cut_at_loops(r, n);
    else if (!cut_into_values(r, n)) leave_in_memory(r, n);
}

/* Registers that instructions overwrite, whatever is in them. */
static void take_clobbers(Region *r) {
    for (u32 id = 1; id < r->g->f->insns.len; id++) {
        const IrInsn *i = cg_insn(r->g, id);
        switch (i->op) {
        case IR_mulhs: case IR_mulhu: case IR_mulhsu: case IR_divs: case IR_divu: case IR_rems: case IR_remu:
            positions_take(r->taken[RDX], 2 * id, 2 * id + 2);
            break;
        case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
            if (!cg_is_const(r->g, i->b) && (i->op >= IR_rotl || !x64_features.bmi2)) positions_take(r->taken[RCX], 2 * id, 2 * id + 2);
            break;
        }
    }
}

bool region_range_free(const Region *r, unsigned reg, u32 from, u32 to) { return positions_free(r->taken[reg], from, to); }
void region_range_take(Region *r, unsigned reg, u32 from, u32 to) { positions_take(r->taken[reg], from, to); }
bool region_is_free(const Region *r, unsigned reg, u32 id) { return positions_free(r->taken[reg], 2 * id, 2 * id + 2); }

bool region_allocate(Region *r) {
    r->words = (2 * r->g->f->insns.len + 64) / 64;
    for (unsigned k = 0; k < 32; k++) r->taken[k] = arena_alloc(&r->arena, r->words * 8);
    memset(r->spill_taken, 0, sizeof r->spill_taken);
    r->loop_part = arena_alloc(&r->arena, r->loops.len * sizeof(u32));
    r->wishes.len = r->heap.len = 0;
    vec_push(&r->wishes, (Wish){0});
    take_clobbers(r);
    make_bundles(r, false);
    r->joining_sets = true;
    join_all(r);
    region_list_sets(r);
    make_bundles(r, true);
    r->joining_sets = false;
    join_all(r);
    find_wishes(r);
    for (u32 n = 1, end = r->bundles.len; n < end; n++)
        if (r->bundles.at[n].first) weigh(r, n);
    while (r->heap.len) allocate(r, dequeue(r));
    if (!region_find_memory(r)) return false;
    region_find_reloads(r);
    return true;
}
