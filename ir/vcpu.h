/* SPDX-License-Identifier: Apache-2.0 */
/* Vcpu: the state of one virtual processor (a guest thread, or a hart) as generated code, the
 * interpreter and helpers see it. The guest's own registers follow at `state`; before it stands what
 * every guest needs. Owner: the thread that runs it; `poll` alone is written by others.
 */
#ifndef IR_VCPU_H
#define IR_VCPU_H

#include "base/base.h"

typedef struct JumpEntry { /* per-thread cache of indirect targets, all of the current mode */
    u64 key; /* pc; in an empty entry one that belongs elsewhere: a program may jump to any number */
    const void *code;
} JumpEntry;
enum { JUMP_CACHE_LEN = 2048 };

typedef struct VcpuConst { /* a vector constant; the low 64 bits matter for scalars */
    u64 low, high;
} VcpuConst;
enum { /* index into Vcpu.k; per format: f16, f32, f64 follow one another */
    VCPU_K_SIGN,                      /* sign bit */
    VCPU_K_MAGNITUDE = VCPU_K_SIGN + 3, /* all but the sign bit */
    VCPU_K_NAN = VCPU_K_MAGNITUDE + 3,  /* canonical NaN */
    VCPU_K_BOX = VCPU_K_NAN + 3,        /* NaN-boxing ones of f16, f32 */
    VCPU_K_LIMIT = VCPU_K_BOX + 2,      /* 2^32 and 2^63 as f32, then as f64 */
    VCPU_K_BELOW_HALF = VCPU_K_LIMIT + 4, /* the number before 0.5, f32 and f64 */
    VCPU_CONST_COUNT = VCPU_K_BELOW_HALF + 2,
};

/* The guest's pages as accesses find them: a hit is an address with (address - tag) <= PAGE_BYTES - size. An empty entry has the tag of a page that
 * belongs elsewhere. */
typedef struct TlbEntry {
    u64 tag;  /* virtual address of the page */
    u64 host; /* where it is in the host's memory */
} TlbEntry;
enum { VCPU_TLB_SETS = 5, VCPU_TLB_LEN = 4096 };
static inline u32 vcpu_tlb_index(u64 va) { return (u32)(va / PAGE_BYTES) & (VCPU_TLB_LEN - 1); }
static inline u64 vcpu_tlb_none(u32 k) { return (u64)(k ^ 1) * PAGE_BYTES; }

struct Vcpu;
typedef struct VcpuMmu { /* what a paged guest's accesses need of the runtime; from generated code, hence no locks */
    /* The host address of `size` bytes at va, in one page of memory, for what `how` (TLB_*) says; the entry is entered. 0: Vcpu.trap says why not:
     * TRAP_FAULT (the runtime knows which), or TRAP_SLOW; Vcpu.trap_arg = va. */
    u64 (*fill)(struct Vcpu *cpu, u64 va, u32 size, u32 how);
    /* Any access, by engine_step. False: Vcpu.trap and trap_arg as above. */
    bool (*access)(struct Vcpu *cpu, u64 va, u32 size, bool write, u64 *value);
    u64 (*time)(struct Vcpu *cpu); /* the guest's clock */
} VcpuMmu;

enum { VCPU_STUBS = 12 };
enum { VCPU_COUNTS = 1024, VCPU_WEIGHT_MAX = 16, VCPU_SITES = 256 };

enum { VCPU_KNOWN = 4 };
enum { VCPU_SAVES = 96 };
enum { VCPU_SPILLS = 128 }; /* why they suffice: host/x64/regs.c, spill */

typedef struct Vcpu {
    JumpEntry jumps[JUMP_CACHE_LEN]; /* index (pc >> 1) % JUMP_CACHE_LEN */
    TlbEntry tlb[VCPU_TLB_SETS][2][VCPU_TLB_LEN]; /* paged guests: by set, reads or writes, vcpu_tlb_index */
    u64 pc;          /* exact whenever the VMM looks */
    u32 mode;        /* translation mode of the current state */
    u32 poll;        /* != 0: generated code leaves at the next poll; set by other threads and signal handlers */
    i64 budget;      /* EngineOptions.counted: so many guest instructions may begin before the runtime wants to look */
    u32 fflags;      /* floating-point flags accrued (RISC-V bits NX 1 UF 2 OF 4 DZ 8 NV 16); all of them if fp_traps, else those outside of the host's own */
    u32 fp_traps;    /* so often a flag that is not in fflags may still be raised by a signal (EngineHooks.fp_traps); 0: the host has flags of its own */
    u32 trap;        /* TrapCode with which generated code left */
    u64 trap_arg;
    u64 exit_site;   /* host address behind the exit taken; EXIT_SITE_NONE: an indirect one; + EXIT_SITE_STALE: entry of an invalidated block */
    void *host_sp;   /* VMM stack pointer while generated code runs */
    void *shadow_sp; /* generated code's stack pointer (shadow return stack) while the VMM runs */
    void *shadow_base;
    void *shadow_limit;
    u32 phase;       /* PHASE_*: what the thread is doing, for the fault handler */
    u32 generation;  /* of the code cache: what this cpu looked up last, see engine/cache.h */
    u32 mxcsr;       /* host MXCSR to run generated code with (guest rounding mode, accrued flags) */
    u32 cached_generation, cached_epoch; /* that jumps[] and the shadow stack belong to */
    struct Vcpu *next; /* in the engine's list */
    void *engine;    /* Engine of this cpu */
    void *owner;     /* the runtime's thread object */
    u64 kicks;       /* engine_kick so far */
    const VcpuMmu *mmu; /* of a paged guest */
    u64 context;     /* of a paged guest: a number for the address space and privilege that it runs in; jump_tag is made of it and the mode */
    u64 jump_tag;    /* of a paged guest: keys of jumps[] and of the shadow stack are pc ^ jump_tag; what it is tells one mode and address space from
                      * others; engine_kick spoils it */
    u64 known[VCPU_KNOWN]; /* by KNOWN_* (ir/guest.h): where the guest has that function; 0: not seen yet */
    void *interp;    /* scratch memory of the interpreter, made at first use */
    struct IrLog *log; /* while the interpreter keeps stores in a log: what an instruction in C goes through (ir_log_copy); else NULL */
    u32 counts[VCPU_COUNTS]; /* by target of a backward branch: down from what is hot; negative: generated code leaves at the poll */
    u64 targets[VCPU_SITES]; /* by site (vcpu_site_of): where quick code's indirect jump or call there went last: engine/profile.h */
    u64 insns;       /* guest instructions executed, where the code counts them (IR_count) */
    u64 arg[4];      /* operands of a helper being called from generated code */
    u64 result;      /* of a slow path */
    const void *stub[VCPU_STUBS]; /* code that all blocks share: reached through here, generated code has no addresses in it */
    u64 spill[VCPU_SPILLS]; /* generated code's own, within one block */
    u64 save[VCPU_SAVES];    /* scratch registers across a slow path */
    VcpuConst k[VCPU_CONST_COUNT] __attribute__((aligned(16))); /* constants that generated code reads */
    VcpuConst bit[5] __attribute__((aligned(16))); /* by log2 width of elements: which one is which bit of a mask; last: a mask's byte for each byte */
    u64 tail[32] __attribute__((aligned(16))); /* 128 bytes of ones, then of zeros: n bytes before the middle, a mask of the first n */
    u32 mxcsr_of[32]; /* by fflags: host MXCSR to go on with, in the mode at hand */
    u8 flag_map[64]; /* host exception flags (MXCSR bits 0..5) to fflags bits */
    u64 state[] __attribute__((aligned(64))); /* Guest.state_size bytes */
} Vcpu;

#define EXIT_SITE_NONE 0ull
#define EXIT_SITE_STALE (1ull << 63)
enum { PHASE_VMM, PHASE_CODE, PHASE_HELPER, PHASE_INTERP };

/* Empties a set, for reads or for writes. */
static inline void vcpu_tlb_clear(Vcpu *cpu, unsigned set, bool write) {
    for (u32 k = 0; k < VCPU_TLB_LEN; k++) cpu->tlb[set][write][k].tag = vcpu_tlb_none(k);
}

/* What modes differ in, in Vcpu.jump_tag. */
static inline u64 vcpu_mode_tag(u32 mode) { return (u64)(mode + 1) * 0xd6e8feb86659fd93ull; }

/* The counter of a branch target. */
static inline u32 vcpu_count_of(u64 pc) { return (u32)(pc >> 1) & (VCPU_COUNTS - 1); }
/* That of the entries of a region whose head is pc: not the one that branches to it count with, outside of it. */
static inline u32 vcpu_entries_of(u64 pc) { return (u32)(pc >> 1 ^ pc >> 11 ^ VCPU_COUNTS / 3) & (VCPU_COUNTS - 1); }
/* Where an indirect jump or call leaves its target. Several may share a place. */
static inline u32 vcpu_site_of(u64 pc) { return (u32)(pc >> 1) & (VCPU_SITES - 1); }
static inline void *vcpu_state(Vcpu *cpu) { return cpu->state; }

#endif
