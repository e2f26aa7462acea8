/* SPDX-License-Identifier: Apache-2.0 */
/* machine: a whole machine: a board, its harts (a thread each), and the engine that they run on.
 *
 * machine_new builds it, machine_run loads the images, runs until the guest or somebody else stops it, and reboots by itself if the guest
 * asks for that. The other functions are for the machine's parts. Who waits for whom: a hart that waits for others (hart_ask_all) holds no
 * lock; the engine's lock is taken with no other held but a device's.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "engine/engine.h"
#include "machine/board.h"

typedef struct Machine Machine;
typedef struct Hart Hart;

typedef struct MachineConfig {
    BoardConfig board;
    BoardImages images;
    EngineOptions engine;
    bool no_reboot; /* a reboot ends the machine, too */
    u32 trace;      /* TRACE_*: machine/trace.h */
    int trace_fd;   /* where to */
    const char *record, *replay; /* a file: machine/counted.h; NULL: neither */
    const char *options;         /* how the user described the machine, for the record: counted_options; NULL: not told */
    int (*finish)(void *ctx, int status); /* may make another exit status of the guest's (-1: there is none); not of a replay, which has that of the record. May be NULL */
    void *finish_ctx;
} MachineConfig;

/* NULL: `why` (of at least 256 bytes) says why. */
Machine *machine_new(const MachineConfig *config, char *why, size_t why_size);
/* Runs it until it is powered off. Returns the guest's exit status, or -1: `why` says what could not be loaded or started. */
int machine_run(Machine *m, char *why, size_t why_size);
void machine_drop(Machine *m);
/* Any thread: the harts stop soon. The first one that asks counts. */
void machine_stop(Machine *m, PlatformStop how, u32 code);
/* The same because something has gone wrong, which machine_run tells. */
void machine_fail(Machine *m, const char *why);
/* True while harts are stopped at somebody's wish. */
bool machine_is_paused(Machine *m);
/* Any thread, while machine_run runs: the harts stop where they are, and go on. A pause outlasts snapshots. */
void machine_pause(Machine *m);
void machine_continue(Machine *m);
/* Until the harts stand still. False: the machine has ended. */
bool machine_wait_paused(Machine *m);
/* A debugger: `met` is asked, on the hart's thread, at every breakpoint instruction; true: it is the debugger's, and the hart stays there. Before machine_run. */
void machine_on_breakpoint(Machine *m, bool (*met)(void *ctx, u32 hart, u64 pc), void *ctx);
bool machine_breakpoint(Machine *m, u32 hart, u64 pc);
/* Writes all of the machine to a file, and lets it go on. False: why. Any thread but a hart's or a device's. */
bool machine_snapshot(Machine *m, const char *path, char *why, size_t why_size);
/* Before machine_run, which then goes on from there instead of loading images. False: why. */
bool machine_resume(Machine *m, const char *path, char *why, size_t why_size);
/* "key: value" lines. */
void machine_stats_print(const Machine *m, Text *out);
Board *machine_board(Machine *m);

/* --- for its parts --- */
u64 machine_time(const Machine *m); /* ticks of PLATFORM_HZ */
void machine_wake_at(Machine *m, u64 when); /* some hart's timer is due then */
Physical *machine_memory(Machine *m);
Imsic *machine_imsic(Machine *m);
Engine *machine_engine(Machine *m);
u32 machine_hart_count(const Machine *m);
Hart *machine_hart(Machine *m, u32 n);
const BoardStart *machine_start(const Machine *m);
struct Counted *machine_counted(Machine *m); /* NULL: nobody counts */
bool machine_has_sbi(const Machine *m); /* there is no firmware */
/* False: it runs already. */
bool machine_start_hart(Machine *m, u32 n, u64 pc, u64 arg);
void machine_console_put(Machine *m, u8 byte);
int machine_console_get(Machine *m); /* -1: nothing */

/* Translations of a page are about to be made: from now on its writers tell. `self`: whose thread it is. */
void machine_code_page(Machine *m, Hart *self, u64 physical);
/* Other harts may write some of these pages unseen until they have noticed (Hart.acked). A fence.i looks what they did. */
void machine_fence_i(Machine *m);
u64 machine_code_epoch(const Machine *m);

#endif
