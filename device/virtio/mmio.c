/* SPDX-License-Identifier: Apache-2.0 */
/* The MMIO transport, version 2. [virtio 4.2.2] */
#include "device/virtio/virtio.h"

enum {
    MAGIC = 0x00, VERSION = 0x04, DEVICE_ID = 0x08, VENDOR_ID = 0x0c, OFFERED = 0x10, OFFERED_HALF = 0x14, TAKEN = 0x20, TAKEN_HALF = 0x24,
    QUEUE = 0x30, QUEUE_SIZE_MAX = 0x34, QUEUE_SIZE = 0x38, QUEUE_READY = 0x44, NOTIFY = 0x50, INTERRUPT = 0x60, ACKNOWLEDGE = 0x64,
    STATUS = 0x70, DESC_LOW = 0x80, DESC_HIGH = 0x84, AVAIL_LOW = 0x90, AVAIL_HIGH = 0x94, USED_LOW = 0xa0, USED_HIGH = 0xa4,
    SHM_LENGTH_LOW = 0xb0, SHM_LENGTH_HIGH = 0xb4, SHM_BASE_LOW = 0xb8, SHM_BASE_HIGH = 0xbc, QUEUE_RESET = 0xc0, GENERATION = 0xfc, CONFIG = 0x100,
};
enum { USED = 1, CHANGED = 2, VENDOR = 0x4d4f5349 /* ISOM */ };

struct VirtioMmio {
    Virtio *v; /* NULL: the slot is empty */
    Irq irq;
    pthread_mutex_t irq_lock; /* of `interrupts`, and of the line that shows them; last of all */
    u32 interrupts;
    u32 offered_half, taken_half, queue;
};

static void interrupts_change(VirtioMmio *m, u32 set, u32 clear) {
    pthread_mutex_lock(&m->irq_lock);
    m->interrupts = (m->interrupts | set) & ~clear;
    irq_set(&m->irq, m->interrupts != 0);
    pthread_mutex_unlock(&m->irq_lock);
}

static void mmio_interrupt(void *transport, int queue) { interrupts_change(transport, queue < 0 ? CHANGED : USED, 0); }

static u32 queue_read(VirtioMmio *m, u32 offset) {
    VirtQueue *q = virtio_queue(m->v, m->queue);
    if (offset == QUEUE_SIZE_MAX) return q ? m->v->kind.queue_size : 0;
    return offset == QUEUE_READY && q ? q->enabled : 0;
}

static u32 register_read(VirtioMmio *m, u32 offset) {
    Virtio *v = m->v;
    switch (offset) {
    case OFFERED: return virtio_offered_get(v, m->offered_half);
    case QUEUE_SIZE_MAX: case QUEUE_READY: return queue_read(m, offset);
    case INTERRUPT: return __atomic_load_n(&m->interrupts, __ATOMIC_ACQUIRE);
    case STATUS: return virtio_status_get(v);
    case SHM_LENGTH_LOW: case SHM_LENGTH_HIGH: case SHM_BASE_LOW: case SHM_BASE_HIGH: return ~0u; /* there is no such region */
    case GENERATION: return __atomic_load_n(&v->generation, __ATOMIC_ACQUIRE);
    }
    return 0;
}

static u64 mmio_read(void *dev, u64 offset, unsigned size) {
    VirtioMmio *m = dev;
    if (offset < CONFIG && size != 4) return 0;
    switch (offset) {
    case MAGIC: return 0x74726976; /* "virt" */
    case VERSION: return 2;
    case DEVICE_ID: return m->v ? m->v->kind.id : 0;
    case VENDOR_ID: return VENDOR;
    }
    if (!m->v) return 0;
    pthread_mutex_lock(&m->v->lock);
    u64 value = offset >= CONFIG ? virtio_config_read(m->v, (u32)offset - CONFIG, size) : register_read(m, (u32)offset);
    pthread_mutex_unlock(&m->v->lock);
    return value;
}

static void half_put(u64 *to, bool high, u32 value) { *to = high ? (u32)*to | (u64)value << 32 : (*to & ~0xffffffffull) | value; }

/* Addresses and sizes are taken while the queue rests; ring.c looks at them when it is enabled. */
static void queue_write(VirtioMmio *m, u32 offset, u32 value) {
    VirtQueue *q = virtio_queue(m->v, m->queue);
    if (!q) return;
    if (offset == QUEUE_READY) {
        if (value & 1) virtq_enable(q);
        return;
    }
    if (offset == QUEUE_RESET && (value & 1)) virtio_queue_reset(m->v, q); /* done when the driver reads the register again: it is 0 */
    if (q->enabled) return;
    switch (offset) {
    case QUEUE_SIZE: q->size = value; break;
    case DESC_LOW: case DESC_HIGH: half_put(&q->desc_at, offset == DESC_HIGH, value); break;
    case AVAIL_LOW: case AVAIL_HIGH: half_put(&q->avail_at, offset == AVAIL_HIGH, value); break;
    case USED_LOW: case USED_HIGH: half_put(&q->used_at, offset == USED_HIGH, value); break;
    }
}

static void register_write(VirtioMmio *m, u32 offset, u32 value) {
    switch (offset) {
    case OFFERED_HALF: m->offered_half = value; break;
    case TAKEN: virtio_features_set(m->v, m->taken_half, value); break;
    case TAKEN_HALF: m->taken_half = value; break;
    case QUEUE: m->queue = value; break;
    case ACKNOWLEDGE: interrupts_change(m, 0, value); break;
    case STATUS:
        virtio_status_set(m->v, (u8)value);
        if (!value) interrupts_change(m, 0, ~0u);
        break;
    default: queue_write(m, offset, value);
    }
}

static void mmio_write(void *dev, u64 offset, unsigned size, u64 value) {
    VirtioMmio *m = dev;
    if (!m->v || (offset < CONFIG && size != 4)) return;
    if (offset == NOTIFY) {
        virtio_kick(m->v, (u32)value & 0xffff);
        return;
    }
    pthread_mutex_lock(&m->v->lock);
    if (offset >= CONFIG) virtio_config_write(m->v, (u32)offset - CONFIG, size, value);
    else register_write(m, (u32)offset, (u32)value);
    pthread_mutex_unlock(&m->v->lock);
}

const IoOps virtio_mmio_ops = {mmio_read, mmio_write, 1 | 2 | 4 | 8};

VirtioMmio *virtio_mmio_new(Virtio *v, Irq irq) {
    VirtioMmio *m = back_alloc(sizeof(*m));
    pthread_mutex_init(&m->irq_lock, NULL);
    m->irq = irq;
    m->v = v;
    if (!v) return m;
    v->transport = m;
    v->interrupt = mmio_interrupt;
    return m;
}

void virtio_mmio_reset(VirtioMmio *m) {
    if (!m->v) return;
    virtio_reset(m->v);
    interrupts_change(m, 0, ~0u);
    m->offered_half = m->taken_half = m->queue = 0;
}

void virtio_mmio_state(VirtioMmio *m, State *s) {
    if (!m->v) return;
    virtio_state(m->v, s);
    state_u32(s, &m->offered_half);
    state_u32(s, &m->taken_half);
    state_u32(s, &m->queue);
    state_below(s, &m->interrupts, (USED | CHANGED) + 1);
    interrupts_change(m, 0, 0);
}

void virtio_mmio_drop(VirtioMmio *m) {
    pthread_mutex_destroy(&m->irq_lock);
    free(m);
}
