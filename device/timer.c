/* SPDX-License-Identifier: Apache-2.0 */
/* Timers by a thread that waits: device/timer.h. */
#include "device/timer.h"
#include "back/back.h"
#include <time.h>

struct Timer {
    Timers *of;  /* NULL: the host's, and the thread is there */
    Timer *next; /* of the same */
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

/* --- those of counted harts --------------------------------------------------------------- */

u64 timers_next(const Timers *s) {
    u64 next = ~0ull;
    for (const Timer *t = s->first; t; t = t->next) next = MIN(next, t->deadline);
    return next;
}

/* A timer that is set again in the past fires again: so it may not be looked for more than once. */
void timers_run(Timers *s) {
    u64 now = s->now(s->ctx);
    for (Timer *t = s->first; t; t = t->next) {
        if (t->deadline > now) continue;
        t->deadline = ~0ull;
        t->fire(t->ctx);
    }
}

static Timer *timer_join(Timer *t, Timers *of) {
    t->of = of;
    t->next = of->first;
    return of->first = t;
}

static void timer_part(Timer *t) {
    Timer **at = &t->of->first;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    free(t);
}

/* ------------------------------------------------------------------------------------------ */

u64 timer_now(const Timer *t) { return t->of ? t->of->now(t->of->ctx) : back_now(); }

Timer *timer_new(Timers *of, void (*fire)(void *ctx), void *ctx) {
    Timer *t = back_alloc(sizeof(*t));
    pthread_condattr_t attr;
    t->fire = fire;
    t->ctx = ctx;
    t->deadline = ~0ull;
    if (of) return timer_join(t, of);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    if (back_thread(&t->thread, timer_run, t)) return t;
    free(t);
    return NULL;
}

void timer_set(Timer *t, u64 ns) {
    if (t->of) {
        t->deadline = ns;
        return;
    }
    pthread_mutex_lock(&t->lock);
    bool sooner = ns < t->deadline;
    t->deadline = ns;
    if (sooner) pthread_cond_signal(&t->changed); /* later: it wakes once for nothing, which is cheaper */
    pthread_mutex_unlock(&t->lock);
}

void timer_drop(Timer *t) {
    if (!t) return;
    if (t->of) {
        timer_part(t);
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    free(t);
}
