/* SPDX-License-Identifier: Apache-2.0 */
/* back/gate: how the outside gets into a machine that is recorded or replayed (machine/counted.h).
 *
 * Of such a machine it must be known between which instructions anything came. So its hart has the gate while it runs, and gives it up only between
 * instructions of its choice; threads of back ends enter before they touch the guest or take a lock that a hart may want, and leave soon.
 * Machines that are not recorded have no gate: NULL, and nothing is waited for.
 */
#ifndef BACK_GATE_H
#define BACK_GATE_H

#include "back/back.h"

typedef struct Gate {
    pthread_mutex_t lock;
    u32 waiting; /* atomic: threads that want to enter */
} Gate;

static inline void gate_init(Gate *g) {
    pthread_mutex_init(&g->lock, NULL);
    g->waiting = 0;
}
static inline void gate_fini(Gate *g) { pthread_mutex_destroy(&g->lock); }

void gate_enter(Gate *g);
void gate_leave(Gate *g);
/* Who has the gate lets in those that wait, and has it again when they are through. */
void gate_yield(Gate *g);

#endif
