/* SPDX-License-Identifier: Apache-2.0 READY */
/* Vcpu: the state of one virtual processor (a guest thread, or a hart) as generated code, the
 * interpreter and helpers see it. The guest's own registers follow at `state`; before it stands what
 * every guest needs. Owner: the thread that runs it; `poll` alone is written by others.
 */
#ifndef IR_VCPU_H
#define IR_VCPU_H

#include "base/base.h"

typedef struct JumpEntry { /* per-thread cache of indirect targets; key = pc | mode << 56, 1: empty */
    u64 key;
    const void *code;
} JumpEntry;
enum { JUMP_CACHE_LEN = 2048 };

typedef struct Vcpu {
    JumpEntry jumps[JUMP_CACHE_LEN]; /* index (pc >> 1) % JUMP_CACHE_LEN */
    u64 pc;          /* exact whenever the VMM looks */
    u32 mode;        /* translation mode of the current state */
    u32 poll;        /* != 0: generated code leaves at the next poll; set by other threads and signal handlers */
    u32 fflags;      /* floating-point flags accrued outside of the host's own (RISC-V bits NX 1 UF 2 OF 4 DZ 8 NV 16) */
    u32 trap;        /* TrapCode with which generated code left */
    u64 trap_arg;
    u64 exit_site;   /* host address of the exit taken, 0: not linkable */
    void *host_sp;   /* VMM stack pointer while generated code runs */
    void *shadow_sp; /* generated code's stack pointer (shadow return stack) while the VMM runs */
    void *shadow_base;
    void *shadow_limit;
    u32 phase;       /* PHASE_*: what the thread is doing, for the fault handler */
    u32 generation;  /* of the code cache that jumps[] and the shadow stack belong to */
    u32 mxcsr;       /* host MXCSR to run generated code with (guest rounding mode, accrued flags) */
    u32 pad;
    void *engine;    /* Engine of this cpu */
    void *owner;     /* the runtime's thread object */
    u64 spill[32];   /* generated code's own, within one block */
    u64 state[] __attribute__((aligned(64))); /* Guest.state_size bytes */
} Vcpu;

enum { PHASE_VMM, PHASE_CODE, PHASE_HELPER, PHASE_INTERP };

static inline void *vcpu_state(Vcpu *cpu) { return cpu->state; }

#endif
