/* SPDX-License-Identifier: Apache-2.0 */
/* machine/riscv/hart: a RISC-V hart with its privileged state: M, S and U mode, CSRs, traps, address translation, PMP, timer, and the
 * supervisor's binary interface where there is no firmware.
 *
 * What generated code looks at is in RvSystem (isa/riscv/riscv.h), the rest here. A hart belongs to its thread; other threads may only set
 * `lines` and `requests` (hart_line, hart_ask), and read `state`. Files: csr.c the registers; pmu.c counters; mmu.c accesses and translation; pmp.c; trap.c
 * exceptions, interrupts and returns; sbi.c, sbi_pmu.c; hart.c the loop and the privileged instructions.
 *
 * Names are those of the manual [priv]; section names in brackets.
 */
#ifndef MACHINE_RISCV_HART_H
#define MACHINE_RISCV_HART_H

#include "back/state.h"
#include "device/imsic.h"
#include "engine/engine.h"
#include "isa/riscv/riscv.h"
#include "machine/riscv/pmu.h"
#include "mem/physical.h"

enum RvCause { /* mcause, scause [priv, table of causes] */
    CAUSE_FETCH_MISALIGNED, CAUSE_FETCH_ACCESS, CAUSE_ILLEGAL, CAUSE_BREAKPOINT, CAUSE_LOAD_MISALIGNED, CAUSE_LOAD_ACCESS,
    CAUSE_STORE_MISALIGNED, CAUSE_STORE_ACCESS, CAUSE_ECALL_U, CAUSE_ECALL_S, CAUSE_ECALL_M = 11, CAUSE_FETCH_PAGE, CAUSE_LOAD_PAGE,
    CAUSE_STORE_PAGE = 15,
};
#define CAUSE_INTERRUPT (1ull << 63)

#define IRQ(n) (1ull << (n))
enum { IRQ_SSI = 1, IRQ_MSI = 3, IRQ_STI = 5, IRQ_MTI = 7, IRQ_SEI = 9, IRQ_MEI = 11, IRQ_LCOFI = 13 };
#define IRQ_S (IRQ(IRQ_SSI) | IRQ(IRQ_STI) | IRQ(IRQ_SEI) | IRQ(IRQ_LCOFI))
#define IRQ_M (IRQ(IRQ_MSI) | IRQ(IRQ_MTI) | IRQ(IRQ_MEI))

/* menvcfg, senvcfg, and one of mseccfg. */
#define ENVCFG_CBIE (3ull << 4)
#define ENVCFG_CBCFE (1ull << 6)
#define ENVCFG_CBZE (1ull << 7)
#define ENVCFG_PMM (3ull << 32)
#define ENVCFG_PMM_RESERVED (1ull << 32)
#define ENVCFG_ADUE (1ull << 61)
#define ENVCFG_PBMTE (1ull << 62)
#define ENVCFG_STCE (1ull << 63)

/* mstateen0; the first bit of all four. */
#define STATEEN_SE (1ull << 63)
#define STATEEN_ENVCFG (1ull << 62)
#define STATEEN_CSRIND (1ull << 60)
#define STATEEN_AIA (1ull << 59)
#define STATEEN_IMSIC (1ull << 58)

typedef enum Access { ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH } Access;

/* What other threads ask of a hart; it is done before its next instruction. */
enum { ASK_STOP = 1, ASK_FLUSH = 2 /* forget all translations of addresses */, ASK_WRITES = 4 /* those that allow writing */, ASK_LOOK = 8 /* at its interrupts */, ASK_FENCE = 16 /* Hart.fences */ };

/* States of SBI's hart state management. */
typedef enum HartState { HART_STARTED, HART_STOPPED, HART_START_PENDING, HART_SUSPENDED = 4 } HartState;

/* A fence of another hart's: pages [va, va + size), of one address space or of all. */
typedef struct Fence {
    u64 va, size, asid;
    bool one_space;
} Fence;

enum { FENCES = 32, ITLB_LEN = 512, PMP_LEN = 16, CONTEXTS = 64, TLB_LOG = 2048 };

typedef struct FetchEntry { /* pages that code was fetched from */
    u64 key; /* virtual page + privilege + 1; 0: empty */
    u64 physical;
    const u8 *bytes;
} FetchEntry;

typedef struct TlbLog { /* which entries of a set are in use, so that emptying it costs what was put in */
    u32 count; /* more than TLB_LOG: not all are told */
    u16 at[TLB_LOG];
    u64 super_base, super_mask; /* a range that holds all that came from superpages; mask 0: nothing did */
    bool local; /* some are of pages that are not global */
} TlbLog;

typedef struct Context { /* an address space that lower privileges have run in: cached jumps of it are good when it comes back */
    u64 satp, number; /* number 0: none */
} Context;

typedef struct Machine Machine;
struct Hart {
    Vcpu *cpu;
    RvSystem *s; /* cpu->state */
    Machine *machine;
    Physical *memory;
    Imsic *imsic; /* NULL: none */
    u32 id;

    u64 mie, mip; /* mip: bits that software writes; see hart_pending */
    u64 medeleg, mideleg, mtvec, mepc, mcause, mtval, mscratch, mcounteren, menvcfg, mseccfg, mstateen[4];
    u64 stvec, scounteren, senvcfg, satp, siselect, miselect;
    u8 pmpcfg[PMP_LEN];
    u64 pmpaddr[PMP_LEN];
    bool sti;      /* stimecmp has come: hart_look_at_timer */
    bool pmp;      /* accesses are checked: with firmware */
    bool pmp_rules; /* some entry is in force */
    bool sbi;      /* calls from S-mode are ours to answer */

    u64 cause, tval; /* of an access that failed */
    u64 stimecmp;    /* atomic: others look when it is due */
    Pmu pmu;
    bool slow_write; /* of one that ended with TRAP_SLOW: it was to write */
    FetchEntry fetch[ITLB_LEN];
    u64 fetched[64]; /* filter over the pages in `contexts` that code was fetched from */
    TlbLog logs[VCPU_TLB_SETS];
    Context contexts[CONTEXTS];
    u64 context_of[4]; /* by privilege: Vcpu.context */
    u64 random;

    Lock fence_lock;
    u32 fence_count; /* more than FENCES: everything */
    Fence fences[FENCES];

    u64 lines;    /* atomic: bits of mip that devices set */
    u32 requests; /* atomic: ASK_* */
    u32 busy;     /* atomic: those that it is just meeting */
    u32 wake;     /* futex: changes when there is something to wake up for */
    u64 acked;    /* atomic: Machine.code_epoch up to which no writes go by unseen */
    u32 running;  /* atomic: 1 while it may execute guest code without having looked at requests */
    struct Counted *counted; /* NULL: nobody counts (machine/counted.h) */
    u64 traps;    /* counted: instructions begun that trapped instead of retiring */
    u32 state;    /* atomic: HartState */
    u64 start_pc, start_arg; /* of HART_START_PENDING */

    bool trace;   /* machine/trace.h, priv */
    int trace_fd;
};

/* --- hart.c --- */
/* A hart in the state after reset; NULL: out of memory. */
Hart *hart_new(Machine *m, u32 id);
void hart_drop(Hart *h);
void hart_reset(Hart *h);
/* Runs until asked to stop. */
void hart_run(Hart *h);
/* Executes one instruction, while nobody runs it. */
void hart_step(Hart *h);
/* Any thread. */
void hart_line(Hart *h, unsigned irq, bool level);
void hart_ask(Hart *h, u32 what);
void hart_ask_fence(Hart *h, const Fence *f);
/* Waits until the harts that the mask names, but self, are past what they were asked. `self`: the hart whose thread this is, or NULL. */
void hart_wait_all(Machine *m, u64 mask_base, u64 mask, u32 what, Hart *self);
/* Does HART_MASK name hart n? Base ~0: all [sbi, "hart list parameter"]. */
static inline bool hart_named(u64 base, u64 mask, u32 n) { return base == ~0ull || (n >= base && n - base < 64 && (mask >> (n - base) & 1)); }
/* Does what other threads asked for. */
void hart_answer(Hart *h);
/* Privilege, address space or what S-mode may do have changed. */
void hart_settle(Hart *h);
static inline u64 *hart_x(Hart *h) { return h->s->user.x; }

/* --- trap.c --- */
void hart_raise(Hart *h, u64 cause, u64 tval); /* at cpu->pc */
bool hart_interrupt(Hart *h);                  /* takes one if there is one to take */
unsigned hart_first_irq(u64 pending);           /* the one that goes first, 0: none [priv 3.1.9] */
u64 hart_pending(Hart *h);                     /* mip as software sees it */
void hart_set_irq(Hart *h);                    /* RvSystem.irq */
void hart_sret(Hart *h);
void hart_mret(Hart *h);

/* --- csr.c --- */
/* False: illegal instruction. Privilege is checked. */
bool csr_read(Hart *h, u32 csr, u64 *value);
bool csr_write(Hart *h, u32 csr, u64 value);
/* Sets or clears bits of mip or sip, and leaves the others alone: another hart may be setting them. */
bool csr_change_pending(Hart *h, u32 csr, u64 bits, bool set);
u64 hart_time(const Hart *h);
/* Any thread: when it next wants to look at its timer or counters. */
u64 hart_due(const Hart *h);
void hart_look_at_timer(Hart *h);
void hart_set_timer(Hart *h, u64 when);
void hart_set_allow(Hart *h);

/* --- mmu.c --- */
extern const VcpuMmu hart_mmu;
TrapCode hart_page(void *ctx, Vcpu *cpu, u64 pc, EnginePage *out); /* EngineHooks.page */
void hart_translating(void *ctx, Vcpu *cpu, u64 physical);        /* EngineHooks.translating */
/* Physical address of va. False: cause and tval are set. priv: as which mode. */
bool hart_translate(Hart *h, u64 va, Access access, unsigned priv, u64 *pa);
/* For debuggers: no access is noted, nothing checked but that the page is there. */
bool hart_debug_translate(Hart *h, u64 va, u64 *pa);
/* The address of a load or store, as the mode that runs does them, without its tag. */
u64 hart_masked(const Hart *h, u64 va);
/* After TRAP_SLOW. */
void hart_slow_access(Hart *h);
/* sfence.vma: everything, or what there is of one page, or of one address space. */
void hart_fence(Hart *h, bool one_page, u64 va, bool one_space, u64 asid);
void hart_fence_range(Hart *h, const Fence *f);
void hart_new_satp(Hart *h, u64 satp);
void hart_flush_all(Hart *h);
void hart_flush_writes(Hart *h);
void hart_forget_writes(Hart *h, const u8 *page); /* to the page of memory that is there */
void hart_flush_set(Hart *h, unsigned set);

/* --- pmp.c --- */
/* May `size` bytes at pa be accessed? *whole (may be NULL): the same holds for all of the page. */
bool pmp_allows(const Hart *h, u64 pa, u64 size, Access access, unsigned priv, bool *whole);
bool pmp_csr_write(Hart *h, u32 csr, u64 value);
u64 pmp_csr_read(const Hart *h, u32 csr);

/* --- state.c --- */
u64 hart_digest(const Hart *h);     /* of its registers */
void hart_state(Hart *h, State *s); /* for snapshots; the hart does not run */

/* --- sbi.c --- */
void sbi_call(Hart *h);

#endif
