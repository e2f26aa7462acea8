/* SPDX-License-Identifier: Apache-2.0 */
/* See back/gate.h. A mutex alone would not do: who gives it up and wants it back gets it before those that slept. */
#include "back/gate.h"
#include <sched.h>

void gate_enter(Gate *g) {
    if (!g) return;
    __atomic_add_fetch(&g->waiting, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&g->lock);
    __atomic_sub_fetch(&g->waiting, 1, __ATOMIC_SEQ_CST);
}

void gate_leave(Gate *g) {
    if (g) pthread_mutex_unlock(&g->lock);
}

void gate_yield(Gate *g) {
    if (!__atomic_load_n(&g->waiting, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_unlock(&g->lock);
    while (__atomic_load_n(&g->waiting, __ATOMIC_SEQ_CST)) sched_yield();
    pthread_mutex_lock(&g->lock);
}
