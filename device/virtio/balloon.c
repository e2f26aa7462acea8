/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon: memory that the guest does not need goes back to the host, as pages that it gives up (inflating, to a size
 * that we ask for), or as free pages that it reports unasked. [virtio 5.5]
 *
 * No statistics and no hinting are offered: so the reporting queue is number 2 to every driver; they count only the queues that are there. */
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"

enum { INFLATE, DEFLATE, REPORTING, QUEUES, QUEUE_SIZE = 128, PFN_SHIFT = 12, PART = 256 };
enum { F_DEFLATE_ON_OOM = 1 << 2, F_REPORTING = 1 << 5 };

typedef struct BalloonConfig {
    u32 wanted, actual; /* pages */
} BalloonConfig;

struct VirtioBalloon {
    Virtio virtio;
    VirtWorker *worker;
};

/* Page numbers, 32 bits each. Neighbours go in one call. */
static void inflate(VirtioBalloon *d, const VirtChain *c) {
    u32 pages[PART];
    u64 n, start = 0, size = 0;
    for (u64 at = 0; (n = virt_chain_read(c, at, pages, sizeof(pages)) / 4); at += n * 4) {
        for (u64 i = 0; i < n; i++) {
            u64 pa = (u64)pages[i] << PFN_SHIFT;
            if (size && pa == start + size) {
                size += PAGE_BYTES;
                continue;
            }
            if (size) physical_discard(d->virtio.memory, start, size);
            start = pa;
            size = PAGE_BYTES;
        }
        if (n < PART) break;
    }
    if (size) physical_discard(d->virtio.memory, start, size);
}

/* Each buffer is a range of free pages. */
static void report(VirtioBalloon *d, const VirtChain *c) {
    const Physical *m = d->virtio.memory;
    for (u32 i = c->out_len; i < c->out_len + c->in_len; i++)
        physical_discard(m, m->ram_start + (u64)((u8 *)c->iov[i].iov_base - m->ram), c->iov[i].iov_len);
}

static void balloon_run(void *ctx, u32 queue, VirtChain *c) {
    VirtioBalloon *d = ctx;
    VirtQueue *q = &d->virtio.queue[queue];
    do {
        virtq_kicks_off(q);
        while (virtq_pop(q, c)) {
            if (queue == INFLATE) inflate(d, c);
            if (queue == REPORTING) report(d, c);
            virtq_push(q, c, 0);
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q));
}

static void balloon_notify(void *dev, u32 queue) { virt_worker_kick(((VirtioBalloon *)dev)->worker, queue); }
static void balloon_reset(void *dev) { virt_worker_drain(((VirtioBalloon *)dev)->worker); }
static void balloon_written(void *dev, u32 offset, u32 size) {} /* `actual` is for reading back */

/* Its configuration is all that it has: what is wanted, and what the driver gave. */
static void balloon_state(void *dev, State *s) { state_bytes(s, ((VirtioBalloon *)dev)->virtio.config, sizeof(BalloonConfig)); }

void virtio_balloon_want(VirtioBalloon *d, u64 size) {
    u32 pages = (u32)(size >> PFN_SHIFT);
    pthread_mutex_lock(&d->virtio.lock);
    memcpy(d->virtio.config + offsetof(BalloonConfig, wanted), &pages, sizeof(pages));
    pthread_mutex_unlock(&d->virtio.lock);
    virtio_config_changed(&d->virtio);
}

u64 virtio_balloon_size(VirtioBalloon *d) {
    BalloonConfig c;
    pthread_mutex_lock(&d->virtio.lock);
    memcpy(&c, d->virtio.config, sizeof(c));
    pthread_mutex_unlock(&d->virtio.lock);
    return (u64)c.actual << PFN_SHIFT;
}

VirtioBalloon *virtio_balloon_new(Physical *memory) {
    VirtioBalloon *d = back_alloc(sizeof(*d));
    VirtioKind kind = {.name = "balloon", .id = VIRTIO_BALLOON, .class = 0x00ff00, .features = F_DEFLATE_ON_OOM | F_REPORTING, .queues = QUEUES, .queue_size = QUEUE_SIZE,
                       .config_size = sizeof(BalloonConfig), .reset = balloon_reset, .quiesce = balloon_reset, .notify = balloon_notify, .config_written = balloon_written, .state = balloon_state};
    virtio_init(&d->virtio, &kind, d, memory);
    d->worker = virt_worker_new(virt_threads(memory, 1), balloon_run, d);
    return d;
}

Virtio *virtio_balloon_virtio(VirtioBalloon *d) { return &d->virtio; }

void virtio_balloon_drop(VirtioBalloon *d) {
    virtio_reset(&d->virtio);
    virt_worker_drop(d->worker);
    virtio_fini(&d->virtio);
    free(d);
}
