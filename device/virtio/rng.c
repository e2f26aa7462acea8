/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng: the host's random numbers. [virtio 5.4] */
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"
#include <sys/random.h>

enum { QUEUE_SIZE = 8, BYTES_MAX = 1024 /* for one request: what a driver gets is what it used, not all that it asked for */ };

struct VirtioRng {
    Virtio virtio;
    VirtWorker *worker;
};

static void rng_run(void *ctx, u32 queue, VirtChain *c) {
    VirtioRng *d = ctx;
    VirtQueue *q = &d->virtio.queue[queue];
    u8 bytes[BYTES_MAX];
    do {
        virtq_kicks_off(q);
        while (virtq_pop(q, c)) {
            ssize_t n = getrandom(bytes, MIN(c->in_size, (u64)BYTES_MAX), 0);
            virtq_push(q, c, n > 0 ? (u32)virt_chain_write(c, 0, bytes, (u64)n) : 0);
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q));
}

static void rng_notify(void *dev, u32 queue) { virt_worker_kick(((VirtioRng *)dev)->worker, queue); }
static void rng_reset(void *dev) { virt_worker_drain(((VirtioRng *)dev)->worker); }

VirtioRng *virtio_rng_new(Physical *memory) {
    VirtioRng *d = back_alloc(sizeof(*d));
    VirtioKind kind = {.name = "rng", .id = VIRTIO_RNG, .class = 0x00ff00, .queues = 1, .queue_size = QUEUE_SIZE, .reset = rng_reset, .quiesce = rng_reset, .notify = rng_notify};
    virtio_init(&d->virtio, &kind, d, memory);
    d->worker = virt_worker_new(virt_threads(memory, 1), rng_run, d);
    return d;
}

Virtio *virtio_rng_virtio(VirtioRng *d) { return &d->virtio; }

void virtio_rng_drop(VirtioRng *d) {
    virtio_reset(&d->virtio);
    virt_worker_drop(d->worker);
    virtio_fini(&d->virtio);
    free(d);
}
