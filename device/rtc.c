/* SPDX-License-Identifier: Apache-2.0 */
/* The goldfish RTC: nanoseconds since 1970, which the guest may set for itself, and one alarm. [goldfish virtual hardware, "RTC"] */
#include "back/back.h"
#include "device/devices.h"
#include "device/timer.h"
#include <time.h>

enum {
    TIME_LOW = 0x00, TIME_HIGH = 0x04, ALARM_LOW = 0x08, ALARM_HIGH = 0x0c,
    IRQ_ENABLED = 0x10, CLEAR_ALARM = 0x14, ALARM_STATUS = 0x18, CLEAR_INTERRUPT = 0x1c,
};

struct Rtc {
    pthread_mutex_t lock;
    const Platform *platform;
    Irq irq;
    Timer *timer;
    u64 offset;    /* guest's time less the host's */
    u32 time_high; /* latched by reading TIME_LOW */
    u32 set_high;  /* waits for TIME_LOW to be written */
    u64 alarm;
    u32 alarm_high;
    bool armed, pending, enabled;
};

static u64 rtc_now(const Rtc *r) {
    struct timespec t;
    if (r->platform->wall) return r->platform->wall(r->platform->ctx) + r->offset;
    clock_gettime(CLOCK_REALTIME, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec + r->offset;
}

static void rtc_update(Rtc *r) {
    u64 now = rtc_now(r);
    if (r->armed && r->alarm <= now) {
        r->armed = false;
        r->pending = true;
    }
    timer_set(r->timer, r->armed ? timer_now(r->timer) + MIN(r->alarm - now, 1ull << 60) : ~0ull);
    irq_set(&r->irq, r->pending && r->enabled);
}

static void rtc_fire(void *ctx) {
    Rtc *r = ctx;
    pthread_mutex_lock(&r->lock);
    rtc_update(r);
    pthread_mutex_unlock(&r->lock);
}

static u32 register_read(Rtc *r, u64 offset) {
    u64 now = rtc_now(r);
    switch (offset) {
    case TIME_LOW: r->time_high = (u32)(now >> 32); return (u32)now;
    case TIME_HIGH: return r->time_high;
    case ALARM_LOW: return (u32)r->alarm;
    case ALARM_HIGH: return (u32)(r->alarm >> 32);
    case IRQ_ENABLED: return r->enabled;
    case ALARM_STATUS: return r->armed;
    }
    return 0;
}

static void register_write(Rtc *r, u64 offset, u32 value) {
    switch (offset) {
    case TIME_HIGH: r->set_high = value; break;
    case TIME_LOW: r->offset += ((u64)r->set_high << 32 | value) - rtc_now(r); break;
    case ALARM_HIGH: r->alarm_high = value; break;
    case ALARM_LOW:
        r->alarm = (u64)r->alarm_high << 32 | value;
        r->armed = true;
        break;
    case IRQ_ENABLED: r->enabled = value & 1; break;
    case CLEAR_ALARM: r->armed = false; break;
    case CLEAR_INTERRUPT: r->pending = false; break;
    }
    rtc_update(r);
}

static u64 rtc_read(void *dev, u64 offset, unsigned size) {
    Rtc *r = dev;
    pthread_mutex_lock(&r->lock);
    u32 value = register_read(r, offset);
    pthread_mutex_unlock(&r->lock);
    return value;
}

static void rtc_write(void *dev, u64 offset, unsigned size, u64 value) {
    Rtc *r = dev;
    pthread_mutex_lock(&r->lock);
    register_write(r, offset, (u32)value);
    pthread_mutex_unlock(&r->lock);
}

const IoOps rtc_ops = {rtc_read, rtc_write, 4};

Rtc *rtc_new(const Platform *platform, Irq irq) {
    Rtc *r = back_alloc(sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    r->platform = platform;
    r->irq = irq;
    r->timer = timer_new(platform->timers, rtc_fire, r);
    if (!r->timer) BUG("no thread for the clock's alarm");
    return r;
}

void rtc_reset(Rtc *r) {
    pthread_mutex_lock(&r->lock);
    r->offset = r->alarm = 0;
    r->time_high = r->set_high = r->alarm_high = 0;
    r->armed = r->pending = r->enabled = false;
    rtc_update(r);
    pthread_mutex_unlock(&r->lock);
}

void rtc_state(Rtc *r, State *s) {
    pthread_mutex_lock(&r->lock);
    state_u64(s, &r->offset);
    state_u32(s, &r->time_high);
    state_u32(s, &r->set_high);
    state_u64(s, &r->alarm);
    state_u32(s, &r->alarm_high);
    state_bool(s, &r->armed);
    state_bool(s, &r->pending);
    state_bool(s, &r->enabled);
    rtc_update(r);
    pthread_mutex_unlock(&r->lock);
}

void rtc_drop(Rtc *r) {
    timer_drop(r->timer);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
