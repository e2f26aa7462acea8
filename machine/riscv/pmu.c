/* SPDX-License-Identifier: Apache-2.0 */
/* Counters: pmu.h. */
#include "machine/riscv/pmu.h"
#include "machine/counted.h"
#include "machine/machine.h"
#include "machine/riscv/hart.h"

/* --- sources ------------------------------------------------------------------------------------------------- */

/* Where nothing counts cycles or instructions, both are the host's time stamp. */
static u64 host_stamp(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
#endif
}

/* As they will be when the instruction that looks has retired. */
static u64 cycles(const Hart *h) { return h->counted ? counted_count(h->counted) : host_stamp(); }
static u64 instructions(const Hart *h) { return h->counted ? counted_count(h->counted) - h->traps : host_stamp(); }

static u64 selector(const Pmu *p, unsigned n) { return n == PMU_CYCLE ? PMU_CYCLES : n == PMU_INSTRET ? PMU_INSTRUCTIONS : p->event[n] & PMU_SELECTOR; }

/* Which misses; -1: none. */
static int miss_of(u64 selector) {
    switch (selector) {
    case PMU_LOAD_MISSES: return PMU_MISS_LOAD;
    case PMU_STORE_MISSES: return PMU_MISS_STORE;
    case PMU_FETCH_MISSES: return PMU_MISS_FETCH;
    }
    return -1;
}

static bool goes_by_time(u64 selector) { return selector == PMU_CYCLES || selector == PMU_INSTRUCTIONS; }

/* A TLB's misses are the engine's affair: a recorded machine must not see them, or it could not be replayed by another one. */
bool pmu_counts(const Hart *h, u64 selector) { return goes_by_time(selector) || (miss_of(selector) >= 0 && !h->counted); }

static u64 source(const Hart *h, u64 selector) {
    if (selector == PMU_CYCLES) return cycles(h);
    if (selector == PMU_INSTRUCTIONS) return instructions(h);
    return pmu_counts(h, selector) ? h->pmu.misses[miss_of(selector)] : 0;
}

/* --- counting -------------------------------------------------------------------------------------------------- */

static bool has(u32 set, unsigned n) { return set >> n & 1; }

static void add(Hart *h, unsigned n, u64 more) {
    Pmu *p = &h->pmu;
    p->value[n] += more;
    if (p->value[n] >= more || n < PMU_FIRST || (p->event[n] & PMU_OF)) return;
    p->event[n] |= PMU_OF;
    h->mip |= IRQ(IRQ_LCOFI);
}

void pmu_count(Hart *h) {
    Pmu *p = &h->pmu;
    for (u32 left = p->running; left; left &= left - 1) {
        unsigned n = (unsigned)__builtin_ctz(left);
        u64 now = source(h, selector(p, n));
        add(h, n, now - p->base[n]);
        p->base[n] = now;
    }
    hart_set_irq(h);
}

static bool runs(const Hart *h, unsigned n) {
    static const u64 inhibits[] = {[RV_U] = PMU_UINH, [RV_S] = PMU_SINH, [RV_M] = PMU_MINH};
    const Pmu *p = &h->pmu;
    if (has(p->inhibit, n) || (p->event[n] & inhibits[h->s->priv])) return false;
    return pmu_counts(h, selector(p, n)) && !(p->waits && goes_by_time(selector(p, n)));
}

/* The ticks that the counts will take; too early is as good, since it is looked at then. */
static u64 ticks_for(const Hart *h, u64 counts) {
    enum { GUESS = 200, ENOUGH = 10000 };
    u64 ticks = hart_time(h) - h->pmu.time, per_tick = GUESS;
    if (h->counted) per_tick = 1000000000u / PLATFORM_HZ;
    else if (ticks > ENOUGH) per_tick = (host_stamp() - h->pmu.stamp) / ticks + 1;
    return counts / per_tick + 1;
}

/* Counter n runs, and will overflow some time. */
static void foresee(Hart *h, unsigned n, u64 *due) {
    Pmu *p = &h->pmu;
    u64 left = -p->value[n], s = selector(p, n);
    if (n < PMU_FIRST || (p->event[n] & PMU_OF) || !left) return;
    if (goes_by_time(s)) *due = MIN(*due, hart_time(h) + ticks_for(h, left));
    else if (p->base[n] + left > left) p->miss_due[miss_of(s)] = MIN(p->miss_due[miss_of(s)], p->base[n] + left);
}

void pmu_turn(Hart *h) {
    Pmu *p = &h->pmu;
    u64 due = ~0ull;
    p->running = 0;
    p->filtered = false;
    for (unsigned k = 0; k < PMU_MISSES; k++) p->miss_due[k] = ~0ull;
    for (u32 left = PMU_ALL; left; left &= left - 1) {
        unsigned n = (unsigned)__builtin_ctz(left);
        p->filtered |= !has(p->inhibit, n) && (p->event[n] & PMU_INHIBITS);
        if (!runs(h, n)) continue;
        p->running |= 1u << n;
        p->base[n] = source(h, selector(p, n));
        foresee(h, n, &due);
    }
    __atomic_store_n(&p->due, due, __ATOMIC_SEQ_CST);
    if (due != ~0ull) machine_wake_at(h->machine, due);
}

void pmu_reset(Hart *h) {
    memset(&h->pmu, 0, offsetof(Pmu, due));
    h->pmu.stamp = host_stamp();
    h->pmu.time = hart_time(h);
    pmu_turn(h);
}

void pmu_wait(Hart *h, bool waits) {
    pmu_count(h);
    h->pmu.waits = waits;
    pmu_turn(h);
}

void pmu_miss(Hart *h, PmuMiss kind) {
    Pmu *p = &h->pmu;
    if (LIKELY(++p->misses[kind] < p->miss_due[kind])) return;
    p->miss_due[kind] = ~0ull;
    __atomic_store_n(&p->due, 0, __ATOMIC_SEQ_CST); /* hart_look_at_timer does the rest, before the next instruction but a few */
    hart_ask(h, ASK_LOOK);
}

/* --- as registers ------------------------------------------------------------------------------------------------ */

/* What was there before the instruction that reads. */
u64 pmu_read(const Hart *h, unsigned n) {
    const Pmu *p = &h->pmu;
    if (n >= PMU_LEN || n == PMU_TIME) return 0;
    if (!has(p->running, n)) return p->value[n];
    u64 s = selector(p, n);
    return p->value[n] + source(h, s) - goes_by_time(s) - p->base[n];
}

void pmu_write(Hart *h, unsigned n, u64 value) {
    if (n >= PMU_LEN || n == PMU_TIME) return;
    pmu_count(h);
    h->pmu.value[n] = value;
    pmu_turn(h);
}

void pmu_write_event(Hart *h, unsigned n, u64 event) {
    if (n >= PMU_LEN) return;
    pmu_count(h);
    h->pmu.event[n] = event & (PMU_INHIBITS | (n < PMU_FIRST ? 0 : PMU_OF | PMU_SELECTOR));
    pmu_turn(h);
}

void pmu_write_inhibit(Hart *h, u64 inhibit) {
    pmu_count(h);
    h->pmu.inhibit = inhibit & PMU_ALL;
    pmu_turn(h);
}

u32 pmu_overflows(const Hart *h) {
    u32 set = 0;
    for (unsigned n = PMU_FIRST; n < PMU_LEN; n++)
        if (h->pmu.event[n] & PMU_OF) set |= 1u << n;
    return set;
}
