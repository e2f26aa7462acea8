/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of engine/ share. */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include "engine/cache.h"
#include "engine/perf.h"
#include "engine/store.h"
#include "engine/tier.h"
#include "ir/interp.h"

enum { BLOCK_MAX_INSNS = 64, COMPILE_BUFFER = 256 * 1024 };
_Static_assert(2 * BLOCK_MAX_INSNS <= VCPU_SPILLS, "longer blocks want more spill places: host/x64/regs.c");

struct Engine {
    const Guest *guest;
    const Host *host;
    EngineOptions options;
    EngineHooks hooks;
    Lock lock;          /* everything below, but what cache.h allows without */
    Cache cache;
    Vcpu *vcpus;        /* list through Vcpu.next */
    u32 vcpu_count;     /* how long it is; read without the lock */
    IrFunc ir;          /* translation under way */
    HostCode code;
    u8 *buffer;         /* COMPILE_BUFFER bytes: where compile writes before the code moves to the cache */
    size_t vcpu_size;   /* bytes mapped per cpu */
    EngineStats stats;
    u32 epoch;          /* goes up when code is not to be returned to any more, though its generation lives */
    Tier *tier;         /* NULL: nothing is optimised */
    u64 refused[64];    /* known.c: a stub's pc << 8 | how often it did not lead where it says, by hash */
    bool region_died;   /* since engine_invalidate last began */
    struct Lockstep *lockstep; /* lockstep.c; NULL: nothing is compared */
    Store store;
    Digest store_context; /* all that generated code depends on, but the guest's */
    u64 saved_verdicts; /* EngineStats.regions_demoted and regions_failed then */
    u64 saved_ns;       /* when that was done last, or the engine was made */
    u32 saved_mark, saved_generation; /* blocks of that generation before this one are saved, or a parent's to save */
    Perf perf;
};

/* Where code is: what it is looked up by. */
typedef struct Place {
    u64 pc;         /* of a paged guest: physical, or one with IR_STRADDLE */
    u64 pages;      /* of such a one: number of its first page << 32 | of its second; cf. Block.hash */
    const u8 *code; /* paged guests only, likewise `avail` */
    size_t avail;   /* bytes */
    u8 straddling[4];
    bool alone;     /* EnginePage */
} Place;
/* Finds the place of a pc; the lock may be held or not. Else TRAP_FETCH with cpu->trap_arg. */
TrapCode place_of(Engine *e, Vcpu *cpu, u64 pc, Place *out);
/* cache_lookup there. */
const void *place_lookup(const Engine *e, u32 generation, const Place *at, u32 mode);
/* What the guest sees of the pc of code in the page that runs. */
u64 engine_virtual(const Engine *e, const Vcpu *cpu, u64 pc);

/* Translates (pc, mode); the lock is held. TRAP_NONE and *code set, or TRAP_FETCH with cpu->trap_arg. */
TrapCode translate(Engine *e, Vcpu *cpu, const Place *at, u32 mode, const void **code);

/* Where the cpu stands after it left generated code with TRAP_NONE or TRAP_POLL: sets its pc. The exit, if it can be linked. */
ExitRecord *resolve_exit(Engine *e, Vcpu *cpu, Pool **pool);

/* Have [a, a + a_size) and [b, b + b_size) bytes in common? */
static inline bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b ? b - a < a_size : a - b < b_size; }
/* Is the block, no region, made of any byte of [start, start + size)? */
static inline bool block_touches(const Block *b, u64 start, u64 size) {
    if (UNLIKELY(ir_straddles(b->pc)))
        return overlaps(cache_first_page(b) * PAGE_BYTES, PAGE_BYTES, start, size) || overlaps(cache_last_page(b) * PAGE_BYTES, PAGE_BYTES, start, size);
    return overlaps(b->pc, b->guest_size, start, size);
}
/* Nobody finds, links or enters block number n any more. */
void kill_block(Engine *e, Pool *p, u32 n);

/* Tells perf of a block: by its guest function if that is known, and its pc. `what`: "block", "region". */
void note_perf(Engine *e, const Pool *p, const Block *b, const char *what, u64 now_ns);
/* Prints a function, or code, to the log (--dump). */
void dump_ir(Engine *e, const IrFunc *f);
void dump_code(Engine *e, const u8 *code, u32 size);

/* IrFunc.guess of what this cpu comes to. */
static inline u32 engine_guess(const Engine *e, const Vcpu *cpu) { return e->guest->guess ? e->guest->guess(cpu) : 0; }

/* engine/known.c. The function that the stub at pc leads to and that regions do in place; 0: none. The lock is held. */
u32 known_at(Engine *e, u64 pc);
/* The jump of the stub at pc was done by the interpreter: a region found that it does not lead where it says, or could not do the function. */
void known_came_by(Engine *e, Vcpu *cpu, u64 pc);
/* Nobody knows any more what is in [start, start + size). The lock is held. */
void known_invalidate(Engine *e, u64 start, u64 size);

/* Gives every cpu's poll a push, so that it comes by. */
void kick_all(Engine *e);

/* engine/lockstep.c. False: no memory. */
bool lockstep_init(Engine *e);
void lockstep_fini(Engine *e);
/* Runs the block or region entered at `code` in both engines and compares. Returns the trap as engine_run's inner step does. */
TrapCode lockstep_run(Engine *e, Vcpu *cpu, const void *code);
/* Lines for --stats. */
void lockstep_print_stats(const Engine *e, Text *out);

/* One step of the interpreter on f, so that faults can abandon it. */
TrapCode interp_run(Engine *e, Vcpu *cpu, const IrFunc *f, IrLog *log);

#endif
