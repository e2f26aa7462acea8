/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of a hart for S-mode, where no firmware is loaded [sbi, "performance monitoring unit extension"]. Logical counters are the hart's, by number; there are none of firmware,
 * and no snapshots in memory: S-mode reads the registers. */
#include "machine/riscv/sbi.h"

enum { NUM_COUNTERS, COUNTER_INFO, CONFIG_MATCHING, COUNTER_START, COUNTER_STOP };
enum { CONFIG_SKIP_MATCH = 1, CONFIG_CLEAR = 2, CONFIG_START = 4, CONFIG_UINH = 32, CONFIG_SINH = 64, CONFIG_MINH = 128 };
enum { START_SET_VALUE = 1, STOP_RESET = 1 };

/* The counters that base and mask name. False: one of them is none. */
static bool counters_named(u64 base, u64 mask, u32 *set) {
    if (base >= PMU_LEN || (mask && base + (63 - (u64)__builtin_clzll(mask)) >= PMU_LEN)) return false;
    *set = (u32)(mask << base);
    return true;
}

static unsigned first(u32 set) { return (unsigned)__builtin_ctz(set); }

/* Programmable ones first, since they can be filtered and interrupt. 0: none fits. */
static u32 choose(const Hart *h, u64 selector, u32 of) {
    u32 free = of & PMU_PROGRAMMABLE & ~h->pmu.configured;
    if (free) return 1u << first(free);
    u32 fixed = selector == PMU_CYCLES ? 1u << PMU_CYCLE : selector == PMU_INSTRUCTIONS ? 1u << PMU_INSTRET : 0;
    return of & fixed & ~h->pmu.configured;
}

static u64 inhibits(u64 flags) {
    return (flags & CONFIG_UINH ? PMU_UINH : 0) | (flags & CONFIG_SINH ? PMU_SINH : 0) | (flags & CONFIG_MINH ? PMU_MINH : 0);
}

/* A counter that has overflowed says so until it is started anew: that is also how its interrupt is enabled. */
static void start(Hart *h, unsigned n) {
    pmu_write_event(h, n, h->pmu.event[n] & ~PMU_OF);
    pmu_write_inhibit(h, h->pmu.inhibit & ~(1u << n));
}

static SbiResult config_matching(Hart *h, const u64 *a) {
    u64 flags = a[2], event = a[3];
    u32 set;
    if (!counters_named(a[0], a[1], &set)) return sbi_failed(SBI_INVALID);
    set &= PMU_ALL;
    bool skip = flags & CONFIG_SKIP_MATCH;
    if (!skip && !pmu_counts(h, event)) return sbi_failed(SBI_NOT_SUPPORTED);
    u32 chosen = skip ? set & -set : choose(h, event, set);
    if (!chosen) return sbi_failed(skip ? SBI_INVALID : SBI_NOT_SUPPORTED);
    unsigned n = first(chosen);
    h->pmu.configured |= chosen;
    pmu_write_event(h, n, event | inhibits(flags) | PMU_OF);
    if (flags & CONFIG_CLEAR) pmu_write(h, n, 0);
    if (flags & CONFIG_START) start(h, n);
    return sbi_ok(n);
}

static SbiResult counters_start(Hart *h, const u64 *a) {
    u32 set;
    if (!counters_named(a[0], a[1], &set) || (a[2] & ~(u64)START_SET_VALUE)) return sbi_failed(SBI_INVALID);
    if (set & ~h->pmu.configured) return sbi_failed(SBI_INVALID);
    if (set & ~h->pmu.inhibit) return sbi_failed(SBI_ALREADY_STARTED);
    for (; set; set &= set - 1) {
        if (a[2] & START_SET_VALUE) pmu_write(h, first(set), a[3]);
        start(h, first(set));
    }
    return sbi_ok(0);
}

static SbiResult counters_stop(Hart *h, const u64 *a) {
    u32 set;
    if (!counters_named(a[0], a[1], &set) || (a[2] & ~(u64)STOP_RESET)) return sbi_failed(SBI_INVALID);
    set &= PMU_ALL;
    bool stopped = set && !(set & ~h->pmu.inhibit);
    pmu_write_inhibit(h, h->pmu.inhibit | set);
    if (a[2] & STOP_RESET) {
        h->pmu.configured &= ~set;
        for (; set; set &= set - 1) pmu_write_event(h, first(set), 0);
    }
    return stopped ? sbi_failed(SBI_ALREADY_STOPPED) : sbi_ok(0);
}

/* The number of its CSR, and its width less one. */
static SbiResult counter_info(u64 n) {
    if (n >= PMU_LEN || n == PMU_TIME) return sbi_failed(SBI_INVALID);
    return sbi_ok((CSR_CYCLE + n) | 63 << 12);
}

SbiResult sbi_pmu(Hart *h, u64 function, const u64 *a) {
    switch (function) {
    case NUM_COUNTERS: return sbi_ok(PMU_LEN);
    case COUNTER_INFO: return counter_info(a[0]);
    case CONFIG_MATCHING: return config_matching(h, a);
    case COUNTER_START: return counters_start(h, a);
    case COUNTER_STOP: return counters_stop(h, a);
    }
    return sbi_failed(SBI_NOT_SUPPORTED);
}
