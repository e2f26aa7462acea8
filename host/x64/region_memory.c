/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: memory for values that have no register, or not everywhere: a spill place of the Vcpu, or the home of a slot. Values that were joined
 * share one. Where it pays, a value is stored once, at its definition; else on the edges on which it leaves its register. */
#include "host/x64/region.h"

static bool in_memory(const Region *r, u32 seg) { return r->bundles.at[r->segs.at[seg].bundle].reg == NO_REG; }

Place region_memory(const Region *r, u32 v) {
    const Value *x = &r->value[v];
    return (Place)(x->slot >= 0 ? PLACE_SLOT + x->slot : PLACE_SPILL + r->set_spill[x->set]);
}

Place region_place(const Region *r, u32 v, u32 pos) {
    if (cg_is_const(r->g, v)) return PLACE_CONST;
    u32 s = region_seg_at(r, v, pos);
    if (!s) return PLACE_NONE;
    unsigned reg = r->bundles.at[r->segs.at[s].bundle].reg;
    return reg != NO_REG ? (Place)reg : region_memory(r, v);
}

/* Do the members of a set fit into memory number k? */
static bool memory_fits(Region *r, u32 set, u32 k) {
    if (!r->spill_taken[k]) r->spill_taken[k] = arena_alloc(&r->arena, r->words * 8);
    for (u32 v = r->set_first[set]; v; v = r->set_next[v])
        for (u32 g = r->value[v].seg; g; g = r->segs.at[g].next)
            if (!positions_free(r->spill_taken[k], r->segs.at[g].from, r->segs.at[g].to)) return false;
    return true;
}

static void take_value(Region *r, u32 v, u32 k) {
    if (!r->spill_taken[k]) r->spill_taken[k] = arena_alloc(&r->arena, r->words * 8);
    for (u32 g = r->value[v].seg; g; g = r->segs.at[g].next) positions_take(r->spill_taken[k], r->segs.at[g].from, r->segs.at[g].to);
}

static void take_memory(Region *r, u32 set, u32 k) {
    for (u32 v = r->set_first[set]; v; v = r->set_next[v]) take_value(r, v, k);
    r->set_spill[set] = (u16)k;
}

/* --- homes as memory ------------------------------------------------------------------------------------
 *
 * A value that exits put to an unpinned slot is best kept in that slot's home: then an exit has nothing to do. But until the first such
 * exit the home may have to keep what it held: whoever leaves without listing the slot says so. So no frame that can be reached
 * from the value's definition may leave it unlisted, nor may the home be memory to somebody else meanwhile. */

static void add_unlisted(Region *r, u32 id, u64 set[3]) {
    if (!(ir_op_facts[cg_insn(r->g, id)->op] & (F_FAULTS | F_EXIT))) return;
    const IrFrame *frame = region_frame(r, id);
    u64 listed[3] = {0};
    for (u32 k = 0; frame && k < frame->state_count; k++) {
        u32 slot = r->g->f->states.at[frame->state + k].slot;
        listed[slot >> 6] |= 1ull << (slot & 63);
    }
    for (unsigned k = 0; k < 3; k++) set[k] |= ~listed[k];
}

static bool add_set(u64 to[3], const u64 from[3]) {
    bool more = false;
    for (unsigned k = 0; k < 3; k++) more |= (from[k] & ~to[k]) != 0, to[k] |= from[k];
    return more;
}

static void find_unlisted(Region *r) {
    for (u32 n = 0; n < r->block_count; n++)
        for (u32 id = r->blocks[n].first; id <= r->blocks[n].last; id++) add_unlisted(r, id, r->blocks[n].unlisted);
    for (bool more = true; more;) {
        more = false;
        for (u32 n = r->block_count; n-- > 0;)
            for (unsigned e = 0; e < 2; e++)
                if (r->blocks[n].succ[e] != NO_BLOCK) more |= add_set(r->blocks[n].unlisted, r->blocks[r->blocks[n].succ[e]].unlisted);
    }
}

/* Is the slot listed wherever one can get from the definition of v? */
static bool listed_from(Region *r, u32 v, u32 slot) {
    const RBlock *b = &r->blocks[r->value[v].block];
    u64 set[3] = {0};
    for (unsigned e = 0; e < 2; e++)
        if (b->succ[e] != NO_BLOCK) add_set(set, r->blocks[b->succ[e]].unlisted);
    for (u32 id = r->value[v].param ? b->first : v; id <= b->last; id++) add_unlisted(r, id, set);
    return !(set[slot >> 6] >> (slot & 63) & 1);
}

enum { MAX_MEMBERS = 64 }; /* each costs a look at its block's frames */

static bool home_fits(Region *r, u32 set, u32 slot) {
    if (r->slot_written[slot] || r->g->pin[slot] != NO_REG || !memory_fits(r, set, VCPU_SPILLS + slot)) return false;
    u32 count = 0;
    for (u32 v = r->set_first[set]; v; v = r->set_next[v])
        if (++count > MAX_MEMBERS || !listed_from(r, v, slot)) return false;
    return true;
}

/* The slot that most exits want a set's values in, by vote. */
static void vote(Region *r, u32 id, u16 *slot, i64 *votes) {
    const IrFrame *frame = region_frame(r, id);
    i64 freq = r->blocks[r->block_of[id]].freq;
    for (u32 k = 0; frame && k < frame->state_count; k++) {
        const IrState *s = &r->g->f->states.at[frame->state + k];
        const Value *v = &r->value[cg_root(r->g, s->value)];
        if (!v->seg || !v->spilled || s->how != IR_STATE_SAME) continue;
        if (slot[v->set] == s->slot) votes[v->set] += freq;
        else if (votes[v->set] < freq) slot[v->set] = s->slot, votes[v->set] = freq - votes[v->set];
        else votes[v->set] -= freq;
    }
}

static bool calls_look_at_state(const Region *r) {
    for (u32 id = 1; id < r->g->f->insns.len; id++) {
        const IrInsn *i = cg_insn(r->g, id);
        if (i->op == IR_call && (r->g->guest->helpers[i->imm].facts & (HELPER_READS | HELPER_WRITES | HELPER_FAULTS))) return true;
    }
    return false;
}

static void find_homes(Region *r) {
    if (calls_look_at_state(r)) return;
    u16 *slot = arena_alloc(&r->arena, r->set_count * sizeof(u16));
    i64 *votes = arena_alloc(&r->arena, r->set_count * sizeof(i64));
    find_unlisted(r);
    for (u32 v = 1; v < r->g->f->insns.len; v++)
        if (r->value[v].slot >= 0) take_value(r, v, VCPU_SPILLS + (u32)r->value[v].slot);
    for (u32 n = 0; n < r->block_count; n++)
        if (ir_op_facts[cg_insn(r->g, r->blocks[n].last)->op] & F_EXIT) vote(r, r->blocks[n].last, slot, votes);
    for (u32 set = 1; set < r->set_count; set++)
        if (votes[set] > 0 && home_fits(r, set, slot[set])) take_memory(r, set, VCPU_SPILLS + slot[set]);
}

/* First fit, by positions. */
static bool find_spill(Region *r, u32 v) {
    u32 k = 0, set = r->value[v].set;
    while (k < VCPU_SPILLS && !memory_fits(r, set, k)) k++;
    if (k == VCPU_SPILLS) return false;
    take_memory(r, set, k);
    return true;
}

/* Members of a set, as lists of values. */
void region_list_sets(Region *r) {
    u32 n = r->g->f->insns.len;
    r->set_count = r->bundles.len;
    r->set_spill = arena_alloc(&r->arena, r->bundles.len * sizeof(u16));
    r->set_first = arena_alloc(&r->arena, r->bundles.len * sizeof(u32));
    r->set_next = arena_alloc(&r->arena, n * sizeof(u32));
    memset(r->set_spill, 0xff, r->bundles.len * sizeof(u16));
    for (u32 v = n - 1; v; v--) {
        if (!r->value[v].seg) continue;
        u32 set = r->value[v].set;
        r->set_next[v] = r->set_first[set];
        r->set_first[set] = v;
    }
}

/* What storing on edges would cost, where the value leaves its register. */
static void cost_of_edges(Region *r, u64 *cost) {
    for (u32 n = 0; n < r->block_count; n++)
        for (unsigned k = 0; k < 2; k++) {
            u32 to = r->blocks[n].succ[k];
            if (to == NO_BLOCK) continue;
            const RBlock *b = &r->blocks[to];
            for (u32 j = 0; j < b->live_count; j++)
                if (r->value[b->live_in[j]].place == PLACE_NONE && region_place(r, b->live_in[j], region_start(b)) >= PLACE_SPILL && region_place(r, b->live_in[j], 2 * r->blocks[n].last + 1) < PLACE_SPILL)
                    cost[b->live_in[j]] += MIN(r->blocks[n].freq, b->freq);
        }
}

/* Does the value lose its register within a block, because it is idle from there? Then nobody else stores it. */
static bool must_store(const Region *r, u32 v) {
    for (u32 s = r->value[v].seg; s; s = r->segs.at[s].next) {
        if (!in_memory(r, s)) continue;
        u32 n = r->block_of[r->segs.at[s].from / 2];
        if (r->segs.at[s].from == region_definition(r, v) || r->segs.at[s].from != region_start(&r->blocks[n])) return true;
    }
    return false;
}

/* Most values are in one place all their life. */
static void find_places(Region *r) {
    for (u32 v = 1; v < r->g->f->insns.len; v++) {
        Value *x = &r->value[v];
        if (!x->seg) continue;
        unsigned reg = r->bundles.at[r->segs.at[x->seg].bundle].reg;
        bool one = true;
        for (u32 s = x->seg; s && one; s = r->segs.at[s].next) one = r->bundles.at[r->segs.at[s].bundle].reg == reg;
        if (one) x->place = reg != NO_REG ? (Place)reg : region_memory(r, v);
    }
}

bool region_find_memory(Region *r) {
    u64 *cost = arena_alloc(&r->arena, r->g->f->insns.len * sizeof(u64));
    for (u32 v = 1; v < r->g->f->insns.len; v++) {
        bool memory = false;
        for (u32 s = r->value[v].seg; s; s = r->segs.at[s].next) memory |= in_memory(r, s);
        r->value[v].spilled = memory;
    }
    find_homes(r);
    for (u32 v = 1; v < r->g->f->insns.len; v++)
        if (r->value[v].spilled && r->value[v].slot < 0 && r->set_spill[r->value[v].set] == 0xffff && !find_spill(r, v)) return false;
    find_places(r);
    cost_of_edges(r, cost);
    for (u32 v = 1; v < r->g->f->insns.len; v++) {
        Value *x = &r->value[v];
        x->stored = x->spilled && x->slot < 0 && (must_store(r, v) || cost[v] >= region_freq_at(r, region_definition(r, v)));
    }
    return true;
}
