/* SPDX-License-Identifier: Apache-2.0 */
/* Timers by a thread that waits: device/timer.h. */
#include "device/timer.h"
#include "back/back.h"
#include <time.h>

struct Timer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    u64 deadline; /* ~0: none */
    bool stopping;
    void (*fire)(void *ctx);
    void *ctx;
};

static void wait_until(Timer *t, u64 ns) {
    struct timespec at = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    if (ns == ~0ull) pthread_cond_wait(&t->changed, &t->lock);
    else pthread_cond_timedwait(&t->changed, &t->lock, &at);
}

static void *timer_run(void *arg) {
    Timer *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->stopping) {
        if (t->deadline == ~0ull || t->deadline > back_now()) {
            wait_until(t, t->deadline);
            continue;
        }
        t->deadline = ~0ull;
        pthread_mutex_unlock(&t->lock);
        t->fire(t->ctx);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

Timer *timer_new(void (*fire)(void *ctx), void *ctx) {
    Timer *t = back_alloc(sizeof(*t));
    pthread_condattr_t attr;
    t->fire = fire;
    t->ctx = ctx;
    t->deadline = ~0ull;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    if (back_thread(&t->thread, timer_run, t)) return t;
    free(t);
    return NULL;
}

void timer_set(Timer *t, u64 ns) {
    pthread_mutex_lock(&t->lock);
    bool sooner = ns < t->deadline;
    t->deadline = ns;
    if (sooner) pthread_cond_signal(&t->changed); /* later: it wakes once for nothing, which is cheaper */
    pthread_mutex_unlock(&t->lock);
}

void timer_drop(Timer *t) {
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    free(t);
}
