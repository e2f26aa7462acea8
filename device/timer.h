/* SPDX-License-Identifier: Apache-2.0 */
/* device/timer: calls a function at a time of the host's monotonic clock, from a thread of the timer's own; or, where harts are counted (machine/counted.h),
 * at a time of their clock, which Timers keeps, when somebody runs them. */
#ifndef DEVICE_TIMER_H
#define DEVICE_TIMER_H

#include "base/base.h"

typedef struct Timer Timer;

typedef struct Timers {
    void *ctx;
    u64 (*now)(void *ctx); /* nanoseconds */
    Timer *first;
} Timers;
/* When the next is due, ~0: never. / Calls what is. One thread only. */
u64 timers_next(const Timers *s);
void timers_run(Timers *s);

/* of: NULL: of the host. `fire` is called with no lock held, and may call timer_set. NULL: the host has no more threads. */
Timer *timer_new(Timers *of, void (*fire)(void *ctx), void *ctx);
/* Its clock, in nanoseconds. */
u64 timer_now(const Timer *t);
/* When next by timer_now(); ~0: never. Replaces what was set; in the past: at once. Any thread. */
void timer_set(Timer *t, u64 ns);
/* Waits for a call that runs just now. */
void timer_drop(Timer *t);

#endif
