/* SPDX-License-Identifier: Apache-2.0 */
/* ACLINT: software interrupts (MSWI) and timers (MTIMER) of M-mode, laid out as SiFive's CLINT. [RISC-V ACLINT 1.0-rc4]
 *
 * mtime is the platform's clock plus what the guest added by writing it. One host timer stands for the earliest mtimecmp that
 * lies ahead; when it fires, or a register changes, every hart's MTIP is computed anew. */
#include "back/back.h"
#include "device/devices.h"
#include "device/timer.h"

enum { MSIP = 0, MTIMECMP = 0x4000, MTIME = 0xbff8, NS_PER_TICK = 1000000000 / PLATFORM_HZ };

struct Aclint {
    pthread_mutex_t lock;
    const Platform *platform;
    Timer *timer;
    u64 offset;  /* mtime less the platform's clock */
    u64 *compare; /* by hart */
    u8 *msip;
};

static u64 mtime_get(const Aclint *a) { return a->platform->now(a->platform->ctx) + a->offset; }

static void timers_update(Aclint *a) {
    const Platform *p = a->platform;
    u64 now = mtime_get(a), next = ~0ull;
    for (u32 hart = 0; hart < p->harts; hart++) {
        bool due = a->compare[hart] <= now;
        p->hart_interrupt(p->ctx, hart, HART_MTIP, due);
        if (!due) next = MIN(next, a->compare[hart] - now);
    }
    /* A year is as good as never, and no product overflows. */
    timer_set(a->timer, next > 365ull * 86400 * PLATFORM_HZ ? ~0ull : timer_now(a->timer) + next * NS_PER_TICK);
}

static void aclint_fire(void *ctx) {
    Aclint *a = ctx;
    pthread_mutex_lock(&a->lock);
    timers_update(a);
    pthread_mutex_unlock(&a->lock);
}

static u64 register_read(const Aclint *a, u64 offset) {
    u32 harts = a->platform->harts;
    if (offset < MSIP + 4 * (u64)harts) return a->msip[offset / 4];
    if (offset >= MTIMECMP && offset < MTIMECMP + 8 * (u64)harts) return a->compare[(offset - MTIMECMP) / 8];
    return offset == MTIME ? mtime_get(a) : 0;
}

static void register_write(Aclint *a, u64 offset, u64 value) {
    const Platform *p = a->platform;
    if (offset < MSIP + 4 * (u64)p->harts) {
        a->msip[offset / 4] = value & 1;
        p->hart_interrupt(p->ctx, (u32)(offset / 4), HART_MSIP, value & 1);
        return;
    }
    if (offset >= MTIMECMP && offset < MTIMECMP + 8 * (u64)p->harts) a->compare[(offset - MTIMECMP) / 8] = value;
    else if (offset == MTIME) a->offset = value - p->now(p->ctx);
    else return;
    timers_update(a);
}

/* The register that holds the access, and the access's place in it. Those of MSWI have 32 bits, the others 64. */
static u64 register_start(u64 offset) { return offset < MTIMECMP ? offset : offset & ~7ull; }

static u64 aclint_read(void *dev, u64 offset, unsigned size) {
    Aclint *a = dev;
    pthread_mutex_lock(&a->lock);
    u64 at = register_start(offset), value = register_read(a, at) >> (8 * (offset - at));
    pthread_mutex_unlock(&a->lock);
    return value;
}

static void aclint_write(void *dev, u64 offset, unsigned size, u64 value) {
    Aclint *a = dev;
    pthread_mutex_lock(&a->lock);
    u64 at = register_start(offset);
    if (size == 4 && at >= MTIMECMP) {
        u64 old = register_read(a, at);
        value = offset == at ? (old & ~0xffffffffull) | value : (old & 0xffffffffull) | value << 32;
    }
    register_write(a, at, value);
    pthread_mutex_unlock(&a->lock);
}

const IoOps aclint_ops = {aclint_read, aclint_write, 4 | 8};

static void registers_reset(Aclint *a) {
    a->offset = 0;
    for (u32 hart = 0; hart < a->platform->harts; hart++) {
        a->compare[hart] = ~0ull;
        a->msip[hart] = 0;
    }
}

Aclint *aclint_new(const Platform *platform) {
    Aclint *a = back_alloc(sizeof(*a));
    pthread_mutex_init(&a->lock, NULL);
    a->platform = platform;
    a->compare = back_alloc(platform->harts * sizeof(u64));
    a->msip = back_alloc(platform->harts);
    registers_reset(a);
    a->timer = timer_new(platform->timers, aclint_fire, a);
    if (!a->timer) BUG("no thread for the timer");
    return a;
}

void aclint_reset(Aclint *a) {
    pthread_mutex_lock(&a->lock);
    registers_reset(a);
    timers_update(a);
    for (u32 hart = 0; hart < a->platform->harts; hart++) a->platform->hart_interrupt(a->platform->ctx, hart, HART_MSIP, false);
    pthread_mutex_unlock(&a->lock);
}

void aclint_state(Aclint *a, State *s) {
    const Platform *p = a->platform;
    pthread_mutex_lock(&a->lock);
    state_u64(s, &a->offset);
    for (u32 hart = 0; hart < p->harts; hart++) {
        state_u64(s, &a->compare[hart]);
        state_u8(s, &a->msip[hart]);
        a->msip[hart] &= 1;
        p->hart_interrupt(p->ctx, hart, HART_MSIP, a->msip[hart]);
    }
    timers_update(a);
    pthread_mutex_unlock(&a->lock);
}

void aclint_drop(Aclint *a) {
    timer_drop(a->timer);
    pthread_mutex_destroy(&a->lock);
    free(a->compare);
    free(a->msip);
    free(a);
}
