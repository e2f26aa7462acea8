/* SPDX-License-Identifier: Apache-2.0 */
/* machine/riscv/pmu: a hart's counters: cycle, instret and sixteen programmable ones, filtered by mode, with an interrupt when one overflows
 * [priv, "hardware performance monitor"; sscofpmf; smcntrpmf].
 *
 * Nothing counts by itself. A counter has a *source*, a number that grows anyway: the host's time stamp, or the instructions of a counted machine, or the
 * misses of the TLB. Its value is what was put down (`value`), and while it runs what the source has grown by since then (`base`). Whatever changes who runs (a write
 * of a register, another mode if some counter minds the mode, a wfi) puts down all of them: pmu_count, the change, pmu_turn.
 *
 * Of counters that may overflow the time is foreseen (`due`), and a timer brings the hart here; misses are watched where they happen.
 */
#ifndef MACHINE_RISCV_PMU_H
#define MACHINE_RISCV_PMU_H

#include "base/base.h"

enum { PMU_CYCLE = 0, PMU_TIME = 1, PMU_INSTRET = 2, PMU_FIRST = 3 /* programmable */, PMU_LEN = 19 };
#define PMU_ALL (((1u << PMU_LEN) - 1) & ~(1u << PMU_TIME))
#define PMU_PROGRAMMABLE (PMU_ALL & ~7u)

/* mhpmevent: what is counted, with QEMU's numbers, which are SBI's; and the bits of Sscofpmf. */
enum { PMU_CYCLES = 1, PMU_INSTRUCTIONS = 2, PMU_LOAD_MISSES = 0x10019, PMU_STORE_MISSES = 0x1001b, PMU_FETCH_MISSES = 0x10021 };
#define PMU_OF (1ull << 63)
#define PMU_MINH (1ull << 62)
#define PMU_SINH (1ull << 61)
#define PMU_UINH (1ull << 60)
#define PMU_INHIBITS (PMU_MINH | PMU_SINH | PMU_UINH)
#define PMU_SELECTOR ((1ull << 56) - 1)

typedef enum PmuMiss { PMU_MISS_LOAD, PMU_MISS_STORE, PMU_MISS_FETCH, PMU_MISSES } PmuMiss;

typedef struct Pmu {
    u64 event[PMU_LEN]; /* of cycle and instret the inhibiting bits only: mcyclecfg, minstretcfg */
    u64 value[PMU_LEN], base[PMU_LEN];
    u32 inhibit;    /* mcountinhibit */
    u32 running;    /* those that count now */
    u32 configured; /* by calls of SBI */
    bool filtered;  /* some mind the mode */
    bool waits;     /* the hart is in a wfi: its cycles are not */
    u64 misses[PMU_MISSES], miss_due[PMU_MISSES];
    u64 stamp, time; /* the host's time stamp and guest time at the reset: how one runs against the other */
    u64 due;        /* atomic: others look. Guest time at which one overflows, perhaps; ~0: none does. The last: a reset does not clear it */
} Pmu;

typedef struct Hart Hart;
void pmu_reset(Hart *h);
/* Puts down what has been counted; overflows become pending. */
void pmu_count(Hart *h);
/* After a change: who counts from now on, and when it overflows. */
void pmu_turn(Hart *h);
void pmu_wait(Hart *h, bool waits);
/* Of a TLB. Any place of the hart's thread. */
void pmu_miss(Hart *h, PmuMiss kind);

/* Counter n as a register; 0 if there is none. */
u64 pmu_read(const Hart *h, unsigned n);
void pmu_write(Hart *h, unsigned n, u64 value);
void pmu_write_event(Hart *h, unsigned n, u64 event);
void pmu_write_inhibit(Hart *h, u64 inhibit);
/* scountovf as M-mode sees it. */
u32 pmu_overflows(const Hart *h);
/* Does this machine have such an event? */
bool pmu_counts(const Hart *h, u64 selector);

#endif
