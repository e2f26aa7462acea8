/* SPDX-License-Identifier: Apache-2.0 */
/* device/timer: calls a function at a time of the host's monotonic clock, from a thread of the timer's own. */
#ifndef DEVICE_TIMER_H
#define DEVICE_TIMER_H

#include "base/base.h"

typedef struct Timer Timer;

/* `fire` is called with no lock held, and may call timer_set. NULL: the host has no more threads. */
Timer *timer_new(void (*fire)(void *ctx), void *ctx);
/* When next, in nanoseconds as back_now(); ~0: never. Replaces what was set; in the past: at once. Any thread. */
void timer_set(Timer *t, u64 ns);
/* Waits for a call that runs just now. */
void timer_drop(Timer *t);

#endif
