/* SPDX-License-Identifier: Apache-2.0 */
/* engine: runs guest code. It finds translations or makes them, links them, and comes back when the
 * guest needs something that only the runtime (user/, machine/) can give.
 *
 * One Engine per guest address space, shared by all of its threads; one Vcpu per guest thread.
 * Order of calls: engine_new; engine_vcpu_new per thread; set the guest state and cpu->pc; then in a loop
 * engine_run and act on its TrapCode. The look-up of translations takes no lock; translating takes
 * the engine's one lock, which is never held while guest memory may fault or across a return.
 *
 * Guest address = host address (process VM). Guest accesses are plain host accesses, so the runtime's
 * SIGSEGV/SIGBUS handler must call engine_on_fault first. All host signal handlers must run on an alternate
 * stack (SA_ONSTACK): in generated code the stack pointer is the shadow return stack.
 *
 * Paged guests (Guest.paged): addresses are the guest's virtual ones, found by EngineHooks.page and Vcpu.mmu; translations are of physical
 * pages, wherever these are mapped. Faults are TRAP_FAULT (Vcpu.mmu said so), not signals. Before it runs a cpu, the runtime sets Vcpu.mmu and Vcpu.context, and
 * context anew, to a random number, when what cached virtual addresses mean has changed. engine_invalidate takes physical addresses.
 *
 * Code that changes: the runtime calls engine_invalidate whenever a mapping in [start, start+size) is made,
 * removed, replaced or changes protection, and engine_flush when the guest says that it changed code.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "ir/guest.h"

typedef struct Engine Engine;

/* OPTIMISING: quick, until something is hot. */
typedef enum EngineTier { ENGINE_OPTIMISING, ENGINE_QUICK, ENGINE_INTERP } EngineTier;

typedef struct EngineOptions {
    EngineTier tier;
    u32 hot;             /* executions of a backward branch after which its target is optimised; 0: default */
    u64 cache_size;      /* bytes of generated code before a flush; 0: default (64 MiB) */
    bool one_insn;       /* one guest instruction per block */
    bool no_link;        /* blocks return to the dispatcher (for tracing) */
    bool counted;        /* Vcpu.budget is kept (paged guests): engine_run returns TRAP_POLL when exactly so many instructions have begun */
    bool lockstep;       /* the interpreter checks generated code */
    bool perfmap, jitdump; /* write /tmp/perf-PID.map, /tmp/jit-PID.dump */
    unsigned dump;       /* ENGINE_DUMP_* stages printed on log_fd as blocks are translated */
    bool trace_insn;     /* log every guest instruction executed (implies one_insn, no_link) */
    bool trace_block;    /* log every block entered (implies no_link) */
    const char *host_features; /* what generated code must not use although the host has it ("-avx,-bmi2"); NULL: use all */
    const char *store;   /* folder of the persistent translation cache (engine/store.h); NULL: none */
    bool guest_libc;     /* the guest's functions are never done by code of ours (engine/known.c) */
    bool save_all;       /* engine_save saves whatever is new */
    u64 store_size;      /* bytes of images to keep there; 0: default */
    int log_fd;          /* where dumps and traces go; 2 by default */
    u64 dump_start, dump_size; /* guest pc range for dumps; size 0: all */
} EngineOptions;
enum { ENGINE_DUMP_ASM = 1, ENGINE_DUMP_IR = 2, ENGINE_DUMP_HOST = 4 };

typedef struct EnginePage { /* of a paged guest */
    u64 physical;    /* address of the page, below 2^44 */
    const u8 *bytes; /* all of it */
    bool alone;      /* not all of it may be executed: each instruction is asked for, and done by itself */
} EnginePage;

/* What the runtime offers. */
typedef struct EngineHooks {
    void *ctx;
    /* Executable guest code at pc: pointer to bytes (host address), *avail = how many lie in executable readable
     * mappings from there, at most to the end of the page + 4096. NULL: not executable. *pristine: the bytes cannot change
     * without a call of engine_invalidate (private file mapping, never writable). Called with no lock held but
     * the engine's own; must not call back. */
    const u8 *(*fetch)(void *ctx, u64 pc, size_t *avail, bool *pristine);
    /* Instead of fetch, for paged guests: the page that pc lies in, if the cpu may execute it. Else TRAP_FETCH, which engine_run returns then. */
    TrapCode (*page)(void *ctx, Vcpu *cpu, u64 pc, EnginePage *out);
    /* The engine is about to read code of that page, and wants to be told (engine_invalidate) when it is written from now on. The engine's lock is held. */
    void (*translating)(void *ctx, Vcpu *cpu, u64 physical);
    /* Appends the name of the function at pc, with the distance from its start. False: unknown. May be NULL. */
    bool (*symbol)(void *ctx, u64 pc, Text *out);
    /* The function (KNOWN_*, ir/guest.h) that the stub at pc leads to, by what its file says; 0: another, or no stub. NULL: nobody wants to know. The engine's
     * lock is held, here and below. */
    u32 (*known)(void *ctx, u64 pc);
    /* Does the guest have its C library at `target`, unchanged? If so, a stub of that name leads to that function. */
    bool (*is_library)(void *ctx, u64 target);
    /* Runs fn(arg) on a new thread of the process, no signals let in, that ends when fn returns; *alive is its id until it has ended, and
     * then 0 (a futex). False: there is none to be had. NULL: likewise. */
    bool (*spawn)(void *ctx, void (*fn)(void *arg), void *arg, u32 *alive);
    /* SIGFPE comes to engine_on_fp_trap, and is never blocked: code may let the host tell when a flag is raised for the first time. */
    bool fp_traps;
} EngineHooks;

typedef struct EngineStats {
    u64 blocks, guest_insns, ir_insns, guest_bytes, host_bytes, host_insns; /* translated */
    u64 translate_ns;
    u64 images, image_blocks, images_refused, images_written; /* of the persistent cache */
    u64 regions, regions_failed, regions_demoted, region_insns, region_guesses, region_known, region_functions, region_host_bytes, region_ns; /* optimised: guest instructions taken in; indirect jumps and calls with a target taken in; calls of functions done in place; asked for because a loop in them was short */
    u64 flushes, links, dispatches, lookups_missed, invalidated;
} EngineStats;

/* NULL if the host refuses memory or executable mappings: *error says why in one sentence. */
Engine *engine_new(const Guest *guest, const EngineOptions *options, const EngineHooks *hooks, const char **error);
void engine_drop(Engine *e); /* no vcpu may run any more */

/* State zeroed, pc 0. `parent` (may be NULL): its state is copied (clone, fork). NULL: out of memory. */
Vcpu *engine_vcpu_new(Engine *e, const Vcpu *parent);
void engine_vcpu_drop(Vcpu *cpu);

/* Runs guest code at cpu->pc until something needs the runtime. cpu->pc and state are exact on return;
 * cpu->trap_arg carries what ir.h says for the code. TRAP_NONE, TRAP_MODE are handled inside and never returned. */
TrapCode engine_run(Vcpu *cpu);

/* Executes the one instruction at cpu->pc, by the interpreter. TRAP_NONE: done; else as engine_run. For debuggers: slow. */
TrapCode engine_step(Vcpu *cpu);

/* Makes a running cpu leave with TRAP_POLL within a bounded number of guest instructions (async-signal-safe, any
 * thread). A cpu that is not in engine_run leaves the next engine_run at once. Sticky until engine_run returned TRAP_POLL. */
void engine_kick(Vcpu *cpu);

/* From the SIGSEGV/SIGBUS handler of the thread that runs cpu. True: the fault was a guest access (or the
 * engine's own business); returning from the handler goes on (engine_run returns TRAP_FAULT with exact state). False: not the engine's. */
bool engine_on_fault(Vcpu *cpu, int sig, void *siginfo, void *ucontext);

/* From the SIGFPE handler of the thread that runs cpu. True: it goes on when the handler returns. False: not the engine's. */
bool engine_on_fp_trap(Vcpu *cpu, void *ucontext);

/* The fflags accrued so far are folded into / taken from guest state here: call before reading / after writing
 * fcsr from the runtime (signal frames). RISC-V fflags bits. */
u32 engine_fflags_get(Vcpu *cpu);
void engine_fflags_set(Vcpu *cpu, u32 fflags);

/* What the bytes of a paged guest's page at `physical` were is not sure: translations that are not of what stands there now are dropped. */
void engine_verify(Engine *e, u64 physical, const u8 *bytes);
/* Mappings of [start, start + size) changed: translations there are dropped. size may reach to the end of the address space. */
void engine_invalidate(Engine *e, u64 start, u64 size);
/* The guest executed an instruction fence or flushed [start, start + size): translations of non-pristine code there
 * whose bytes have changed are dropped. For fence.i: start 0, size ~0. */
void engine_flush(Engine *e, u64 start, u64 size);

/* Persistent translations (engine/image.h). The guest has mapped [offset, offset + size) of a file private and executable, not writable, at `start`. */
void engine_file_mapped(Engine *e, int fd, u64 start, u64 size, u64 offset);
/* Where a file of `size` mapped bytes should go, so that its translations are found: the attempt-th best address, 0..3; 0: anywhere. */
u64 engine_file_place(const Engine *e, int fd, u64 size, unsigned attempt);
/* The guest starts: until now files of the store were kept open. */
void engine_files_done(Engine *e);
/* Translates the code at pc for a later process, and names where its direct branches lead. Returns its length in guest bytes; 0: it is no code,
 * or was translated before. */
u32 engine_translate(Engine *e, Vcpu *cpu, u64 pc, void (*found)(void *ctx, u64 pc), void *ctx);
/* The process is about to end, or to become another program: saves what was translated. */
void engine_save(Engine *e);

/* Around fork (a copy of the address space, not CLONE_VM): prepare in the parent before, done in both after. */
void engine_fork_prepare(Engine *e);
void engine_fork_done(Engine *e, bool child, Vcpu *self);

/* Between these the engine has no thread of its own in the process: for what the kernel grants to single-threaded processes only. */
void engine_pause(Engine *e);
void engine_resume(Engine *e);

void engine_stats_get(const Engine *e, EngineStats *out);
/* "key: value" lines. */
void engine_stats_print(const Engine *e, Text *out);

#endif
