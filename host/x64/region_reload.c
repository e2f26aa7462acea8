/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: a value in memory that is read several times within a block is loaded once, for as long as a register happens to be free.
 * The condition: two reads or more in one block, the most frequent blocks first. Its memory stays right (region.h), so that nothing is
 * to be done behind the last read. Bought: loads of table and array addresses in loops with more values than registers (AES). */
#include "host/x64/region.h"

/* Reads of one value: those of the run that begins at use u, and how long it can be kept. */
typedef struct Run {
    u32 from, to, reads;
    u32 free;        /* registers, free all that time */
    u32 next;        /* the use behind it */
} Run;

static u32 free_registers(const Region *r, u32 among, u32 from, u32 to) {
    u32 free = 0;
    for (u32 set = among; set; set &= set - 1)
        if (region_range_free(r, __builtin_ctz(set), from, to)) free |= set & -set;
    return free;
}

static bool is_in_memory(const Region *r, u32 v, u32 pos) {
    Place p = region_place(r, v, pos);
    return p >= PLACE_SPILL && p < PLACE_COUNT;
}

/* Jumps read at the end of the block, where edges begin: they don't count. */
static bool counts(const Region *r, u32 at, u32 block) { return r->block_of[at / 2] == block && at / 2 < r->blocks[block].last; }

static Run find_run(const Region *r, u32 v, u32 u) {
    u32 at = r->uses.at[u].at, block = r->block_of[at / 2];
    Run run = {.from = at & ~1u, .to = at + 1, .next = r->uses.at[u].next};
    run.free = cg_is_xmm_type(cg_insn(r->g, v)->type) ? REGION_XMM : REGION_GPR;
    if (!counts(r, at, block) || !is_in_memory(r, v, at)) return run;
    run.free = free_registers(r, run.free, run.from, run.to);
    run.reads = 1;
    for (u = run.next; u && run.free; u = r->uses.at[u].next) {
        u32 to = r->uses.at[u].at + 1;
        if (!counts(r, to - 1, block) || !is_in_memory(r, v, to - 1)) break;
        u32 free = to > run.to ? free_registers(r, run.free, run.to, to) : run.free;
        if (!free) break;
        run.free = free, run.to = MAX(to, run.to), run.next = r->uses.at[u].next;
        run.reads++;
    }
    return run;
}

/* Cuts the run out of the segment around it. */
static void keep(Region *r, u32 v, const Run *run) {
    u32 seg = r->value[v].seg, reg = (u32)__builtin_ctz(run->free);
    while (r->segs.at[seg].to <= run->from) seg = r->segs.at[seg].next;
    Seg kept = r->segs.at[seg], rest = kept;
    if (kept.from >= run->from || kept.to < run->to) return;
    vec_push(&r->bundles, ((Bundle){.reg = (u8)reg, .xmm = reg >= X64_XMM, .done = true}));
    kept.from = run->from, kept.to = run->to, kept.bundle = r->bundles.len - 1;
    if (rest.to > run->to) {
        rest.from = run->to;
        vec_push(&r->segs, rest);
        kept.next = r->segs.len - 1;
    }
    vec_push(&r->segs, kept);
    r->segs.at[seg].to = run->from;
    r->segs.at[seg].next = r->segs.len - 1;
    r->value[v].place = PLACE_NONE;
    region_range_take(r, reg, run->from, run->to);
    vec_push(&r->reloads, ((Reload){v, (u8)reg, r->reload[run->from / 2]}));
    r->reload[run->from / 2] = r->reloads.len - 1;
}

static void reload_value(Region *r, u32 v, bool hot) {
    for (u32 u = r->value[v].use; u;) {
        bool is_hot = r->blocks[r->block_of[r->uses.at[u].at / 2]].freq > 1;
        if (is_hot != hot) {
            u = r->uses.at[u].next;
            continue;
        }
        Run run = find_run(r, v, u);
        if (run.reads > 1) keep(r, v, &run);
        u = run.next;
    }
}

void region_find_reloads(Region *r) {
    u32 n = r->g->f->insns.len;
    r->reload = arena_alloc(&r->arena, n * sizeof(u32));
    r->reloads.len = 0;
    vec_push(&r->reloads, (Reload){0});
    for (unsigned hot = 2; hot-- > 0;)
        for (u32 v = 1; v < n; v++)
            if (r->value[v].spilled) reload_value(r, v, hot);
}

void region_emit_reloads(Cg *g) {
    Region *r = g->region;
    for (u32 k = r->reload[g->cur]; k; k = r->reloads.at[k].next) {
        const Reload *l = &r->reloads.at[k];
        X64Mem m = region_mem(g, region_memory(r, l->value));
        if (l->reg >= X64_XMM) x64_rm(&g->b, I_MOVS_LOAD(3), xn(l->reg), m);
        else x64_rm(&g->b, I_MOV_R_RM | W1, l->reg, m);
    }
}
