/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console with one port. [virtio 5.3] What came in waits in the Console until the driver has a buffer for it. */
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"

enum { RECEIVE, TRANSMIT, QUEUES, QUEUE_SIZE = 128, PART = 4096, TRANSMIT_MAX = 1 << 20 };

struct VirtioConsole {
    Virtio virtio;
    Console *console;
    VirtWorker *worker;
};

static void receive(VirtioConsole *d, VirtQueue *q, VirtChain *c) {
    u8 bytes[PART];
    do {
        for (u16 mark = virtq_mark(q); virtq_pop(q, c); mark = virtq_mark(q)) {
            size_t n = console_read(d->console, bytes, MIN(c->in_size, (u64)PART));
            if (!n) {
                virtq_unpop(q, mark);
                return;
            }
            virtq_push(q, c, (u32)virt_chain_write(c, 0, bytes, n));
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q)); /* bytes may be left: the next buffer must be heard of */
}

static void transmit(VirtioConsole *d, VirtQueue *q, VirtChain *c) {
    u8 bytes[PART];
    do {
        virtq_kicks_off(q);
        while (virtq_pop(q, c)) {
            u64 n;
            for (u64 at = 0; at < TRANSMIT_MAX && (n = virt_chain_read(c, at, bytes, PART)); at += n) console_write(d->console, bytes, n);
            virtq_push(q, c, 0);
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q));
}

/* One thread: so nobody else takes a buffer between a pop and its undoing. */
static void console_run(void *ctx, u32 queue, VirtChain *c) {
    VirtioConsole *d = ctx;
    (queue == RECEIVE ? receive : transmit)(d, &d->virtio.queue[queue], c);
}

static void console_notify(void *dev, u32 queue) { virt_worker_kick(((VirtioConsole *)dev)->worker, queue); }
static void console_ready(void *ctx) { console_notify(ctx, RECEIVE); }
static void console_reset(void *dev) { virt_worker_drain(((VirtioConsole *)dev)->worker); }

VirtioConsole *virtio_console_new(Physical *memory, Console *console) {
    VirtioConsole *d = back_alloc(sizeof(*d));
    VirtioKind kind = {.name = "console", .id = VIRTIO_CONSOLE, .class = 0x078000, .queues = QUEUES, .queue_size = QUEUE_SIZE, .config_size = 12,
                       .reset = console_reset, .quiesce = console_reset, .notify = console_notify};
    d->console = console;
    virtio_init(&d->virtio, &kind, d, memory);
    d->worker = virt_worker_new(virt_threads(memory, 1), console_run, d);
    console_attach(console, &(ConsoleUser){d, console_ready});
    return d;
}

Virtio *virtio_console_virtio(VirtioConsole *d) { return &d->virtio; }

void virtio_console_drop(VirtioConsole *d) {
    virtio_reset(&d->virtio);
    virt_worker_drop(d->worker);
    virtio_fini(&d->virtio);
    free(d);
}
