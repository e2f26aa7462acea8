/* SPDX-License-Identifier: Apache-2.0 */
/* tier: when code is hot, what is made of it, and how it joins the rest.
 *
 * Quick code counts the executions of each backward branch and call down (Vcpu.counts); when a count runs out it leaves as if polled, and
 * tier_hot has the region around that target built (region.h), optimised (opt/) and compiled (Host.compile_region). The code becomes a
 * Block like others, in the half in use; the quick block at its head is dropped, so that whoever comes by next is linked to the region.
 *
 * That is done by a thread of its own, which lives while there is something to do: a process that is at rest has no thread
 * that it does not know of. It holds the engine's lock while it looks at the guest's code and while it installs. A fork's child begins
 * with an idle Tier. Where no thread is to be had (EngineHooks.spawn), the thread that found something hot does the work.
 *
 * Only code in pristine memory is taken in. A region dies when any of the bytes that it was made of changes: all of its entries
 * then lead to the look-up, and so do calls under way when they return to it.
 *
 * Everything here wants the engine's lock, but tier_hot, which takes it (as do engine_pause and engine_resume, engine.h), and tier_point and tier_entry_pc, which need none.
 */
#ifndef ENGINE_TIER_H
#define ENGINE_TIER_H

#include "engine/cache.h"

typedef struct Tier Tier;

/* Tables of a region in Pool.data, at Block.region - 1; behind it stand points, entries, ranges, and maps. No addresses of the host's. */
typedef struct RegionData {
    u32 size;       /* bytes of all */
    u32 point_count, entry_count, range_count, map_size;
    u32 insns;      /* guest instructions taken in, and those of rounds left out: no more are executed from one poll to the next */
} RegionData;

void tier_init(Engine *e); /* without memory there is no tier */
void tier_fini(Engine *e);

/* In the child of a fork: the thread that optimises stayed behind, whatever it was doing. */
void tier_forked(Engine *e);

/* The cpu left at a poll. True: because something is hot, and it may go on; false: because somebody asked for attention. */
bool tier_hot(Vcpu *cpu);
/* Counts that have run out start again; or all of them. The one that had run out (if several had, one of them). */
u32 *tier_reload(Vcpu *cpu, bool all);

/* The map of the guest's state at a host address in region b, and the guest's pc; NULL: nothing can fault there. */
const u8 *tier_point(const Pool *p, const Block *b, u64 host_pc, u64 *pc);
/* The pc of the entry before which `at`, a host address, lies. */
u64 tier_entry_pc(const Pool *p, const Block *b, u64 at);

/* Block b, a region, is dead: nobody gets in by its other entries either. */
void tier_kill(Engine *e, Pool *p, Block *b);
/* Bytes of region b's tables in Pool.data. */
static inline const RegionData *tier_data(const Pool *p, const Block *b) { return (const RegionData *)(p->data + b->region - 1); }
/* Was region b made of any byte of [start, start + size)? Of no others? */
bool tier_touches(const Pool *p, const Block *b, u64 start, u64 size);
bool tier_lies_in(const Pool *p, const Block *b, u64 start, u64 size);
/* Its code was copied to `code`, the tables to `data`; it is block `number` there: its entries say so. */
void tier_renumber(const RegionData *data, u8 *code, u32 number);
/* Mappings changed: regions made of what lay there die. */
void tier_invalidate(Engine *e, u64 start, u64 size);

/* Before an image is written: marks what stands where regions were given up. */
void tier_note_given_up(Engine *e);

/* Lines for --stats. */
void tier_print_stats(const Engine *e, Text *t);

#endif
