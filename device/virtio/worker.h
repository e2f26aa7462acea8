/* SPDX-License-Identifier: Apache-2.0 */
/* device/virtio/worker: threads that serve a device's queues, so that harts do not wait for the host. A kick marks a queue, and a thread runs it. */
#ifndef DEVICE_VIRTIO_WORKER_H
#define DEVICE_VIRTIO_WORKER_H

#include "device/virtio/virtio.h"

typedef struct VirtWorker VirtWorker;

/* Serves a queue until it is empty. Several threads may run the same queue at once, if there are several. `chain` is the thread's own. */
typedef void VirtWorkerRun(void *ctx, u32 queue, VirtChain *chain);

/* At most so many threads; 0: who kicks runs the queue, and comes back when that is done. */
VirtWorker *virt_worker_new(u32 threads, VirtWorkerRun *run, void *ctx);
/* So many threads, or none where devices must not work behind the harts' backs (Physical.gate). */
static inline u32 virt_threads(const Physical *memory, u32 threads) { return memory->gate ? 0 : threads; }
/* Any thread. */
void virt_worker_kick(VirtWorker *w, u32 queue);
/* Forgets kicks, and returns when no thread runs anything. For reset: queues give no more chains by then. */
void virt_worker_drain(VirtWorker *w);
void virt_worker_drop(VirtWorker *w);

#endif
