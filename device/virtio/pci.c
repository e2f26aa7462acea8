/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI transport, without its older form. One BAR holds the four structures, each at a page of its own; queue n is kicked at 4n of the notify
 * page. Capability VIRTIO_PCI_CAP_PCI_CFG reaches the same registers from configuration space. [virtio 4.1] */
#include "device/pci.h"
#include "device/virtio/virtio.h"

enum { COMMON = 0, ISR = 0x1000, DEVICE = 0x2000, NOTIFY = 0x3000, BAR_SIZE = 0x4000, BAR = 4, MSIX_BAR = 1, KICK_STEP = 4 };
enum { CAP_VENDOR = 9, CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI, NO_VECTOR = 0xffff };
enum { /* the common structure */
    OFFERED_HALF = 0, OFFERED = 4, TAKEN_HALF = 8, TAKEN = 12, CONFIG_VECTOR = 16, QUEUES = 18, STATUS = 20, GENERATION = 21, QUEUE = 22,
    QUEUE_SIZE = 24, QUEUE_VECTOR = 26, QUEUE_ENABLE = 28, QUEUE_NOTIFY = 30, DESC = 32, AVAIL = 40, USED = 48, NOTIFY_DATA = 56, QUEUE_RESET = 58, COMMON_SIZE = 60,
};

struct VirtioPci {
    PciDevice pci;
    Virtio *v;
    pthread_mutex_t isr_lock; /* of isr and the wire that shows it */
    u8 isr;
    u32 offered_half, taken_half, queue;
    u16 config_vector, queue_vector[VIRTIO_QUEUES_MAX];
    u32 window_cap; /* where CFG_PCI's capability is */
};

/* --- interrupts --------------------------------------------------------------------------- */

static void pci_interrupt(void *transport, int queue) {
    VirtioPci *p = transport;
    if (pci_msix_enabled(&p->pci)) {
        pci_msix_send(&p->pci, __atomic_load_n(queue < 0 ? &p->config_vector : &p->queue_vector[queue], __ATOMIC_RELAXED));
        return;
    }
    pthread_mutex_lock(&p->isr_lock);
    p->isr |= queue < 0 ? 2 : 1;
    pci_wire_set(&p->pci, true);
    pthread_mutex_unlock(&p->isr_lock);
}

static u8 isr_take(VirtioPci *p) {
    pthread_mutex_lock(&p->isr_lock);
    u8 isr = p->isr;
    p->isr = 0;
    pci_wire_set(&p->pci, false);
    pthread_mutex_unlock(&p->isr_lock);
    return isr;
}

/* --- the common structure ----------------------------------------------------------------- */

static u64 queue_read(VirtioPci *p, u32 offset) {
    VirtQueue *q = virtio_queue(p->v, p->queue);
    if (!q) return offset == QUEUE_VECTOR ? NO_VECTOR : 0;
    switch (offset) {
    case QUEUE_SIZE: return q->size;
    case QUEUE_VECTOR: return p->queue_vector[p->queue];
    case QUEUE_ENABLE: return q->enabled;
    case QUEUE_NOTIFY: return p->queue;
    case DESC: return q->desc_at;
    case AVAIL: return q->avail_at;
    case USED: return q->used_at;
    }
    return 0;
}

/* The register that `offset` lies in, and its value. */
static u64 common_get(VirtioPci *p, u32 offset, u32 *start) {
    Virtio *v = p->v;
    static const u8 starts[] = {OFFERED_HALF, OFFERED, TAKEN_HALF, TAKEN, CONFIG_VECTOR, QUEUES, STATUS, GENERATION, QUEUE, QUEUE_SIZE,
                                QUEUE_VECTOR, QUEUE_ENABLE, QUEUE_NOTIFY, DESC, AVAIL, USED, NOTIFY_DATA, QUEUE_RESET};
    for (u32 k = 0; k < sizeof(starts) && starts[k] <= offset; k++) *start = starts[k];
    switch (*start) {
    case OFFERED_HALF: return p->offered_half;
    case OFFERED: return virtio_offered_get(v, p->offered_half);
    case TAKEN_HALF: return p->taken_half;
    case TAKEN: return p->taken_half < 2 ? half_of(v->features, p->taken_half) : 0;
    case CONFIG_VECTOR: return p->config_vector;
    case QUEUES: return v->kind.queues;
    case STATUS: return virtio_status_get(v);
    case GENERATION: return (u8)__atomic_load_n(&v->generation, __ATOMIC_ACQUIRE);
    case QUEUE: return p->queue;
    }
    return queue_read(p, *start);
}

static u64 common_read(VirtioPci *p, u32 offset) {
    u32 start = 0;
    u64 value = common_get(p, offset, &start);
    return value >> (8 * (offset - start));
}

static u16 vector_check(VirtioPci *p, u64 value) { return value < p->pci.vectors ? (u16)value : NO_VECTOR; }

static void address_put(u64 *to, u32 in, unsigned size, u64 value) {
    if (size == 8) *to = value;
    else *to = in ? (u32)*to | value << 32 : (*to & ~0xffffffffull) | value;
}

static void queue_write(VirtioPci *p, u32 offset, unsigned size, u64 value) {
    VirtQueue *q = virtio_queue(p->v, p->queue);
    if (!q) return;
    if (offset == QUEUE_VECTOR) __atomic_store_n(&p->queue_vector[p->queue], vector_check(p, value), __ATOMIC_RELAXED);
    if (offset == QUEUE_ENABLE && (value & 1)) virtq_enable(q);
    if (offset == QUEUE_RESET && (value & 1)) virtio_queue_reset(p->v, q); /* done when the driver reads the register again: it is 0 */
    if (q->enabled) return;
    switch (offset) {
    case QUEUE_SIZE: q->size = (u32)value; break;
    case DESC: case DESC + 4: address_put(&q->desc_at, offset - DESC, size, value); break;
    case AVAIL: case AVAIL + 4: address_put(&q->avail_at, offset - AVAIL, size, value); break;
    case USED: case USED + 4: address_put(&q->used_at, offset - USED, size, value); break;
    }
}

static void registers_reset(VirtioPci *p) {
    p->offered_half = p->taken_half = p->queue = 0;
    p->config_vector = NO_VECTOR;
    for (u32 k = 0; k < VIRTIO_QUEUES_MAX; k++) p->queue_vector[k] = NO_VECTOR;
    isr_take(p);
}

static void common_write(VirtioPci *p, u32 offset, unsigned size, u64 value) {
    switch (offset) {
    case OFFERED_HALF: p->offered_half = (u32)value; break;
    case TAKEN_HALF: p->taken_half = (u32)value; break;
    case TAKEN: virtio_features_set(p->v, p->taken_half, (u32)value); break;
    case CONFIG_VECTOR: __atomic_store_n(&p->config_vector, vector_check(p, value), __ATOMIC_RELAXED); break;
    case STATUS:
        virtio_status_set(p->v, (u8)value);
        if (!(u8)value) registers_reset(p);
        break;
    case QUEUE: p->queue = (u32)value & 0xffff; break;
    default: queue_write(p, offset, size, value);
    }
}

/* --- the BAR ------------------------------------------------------------------------------ */

static u64 bar_read(void *dev, u32 bar, u64 offset, unsigned size) {
    VirtioPci *p = dev;
    u64 value = 0;
    if (bar != BAR) return 0;
    if (offset >= ISR && offset < DEVICE) return offset == ISR ? isr_take(p) : 0;
    pthread_mutex_lock(&p->v->lock);
    if (offset < COMMON_SIZE) value = common_read(p, (u32)offset);
    else if (offset >= DEVICE && offset < NOTIFY) value = virtio_config_read(p->v, (u32)offset - DEVICE, size);
    pthread_mutex_unlock(&p->v->lock);
    return value;
}

static void bar_write(void *dev, u32 bar, u64 offset, unsigned size, u64 value) {
    VirtioPci *p = dev;
    if (bar != BAR) return;
    if (offset >= NOTIFY) {
        virtio_kick(p->v, (u32)(offset - NOTIFY) / KICK_STEP);
        return;
    }
    pthread_mutex_lock(&p->v->lock);
    if (offset < COMMON_SIZE) common_write(p, (u32)offset, size, value);
    else if (offset >= DEVICE) virtio_config_write(p->v, (u32)offset - DEVICE, size, value);
    pthread_mutex_unlock(&p->v->lock);
}

/* An access to the data word of CFG_PCI's capability is an access to the BAR, at the offset and of the length that the capability says. */
static bool window_access(void *dev, u32 offset, unsigned size, bool write, u32 *value) {
    VirtioPci *p = dev;
    u32 cap = p->window_cap, at, len;
    if (offset != cap + 16) return false;
    memcpy(&at, p->pci.config + cap + 8, 4);
    memcpy(&len, p->pci.config + cap + 12, 4);
    if ((len != 1 && len != 2 && len != 4) || at % len || at > BAR_SIZE - len || p->pci.config[cap + 4] != BAR) return true;
    if (write) bar_write(p, BAR, at, len, *value);
    else *value = (u32)bar_read(p, BAR, at, len);
    return true;
}

static const PciOps ops = {bar_read, bar_write, window_access};

/* --- making ------------------------------------------------------------------------------- */

static u32 cap_add(VirtioPci *p, u8 kind, u32 offset, u32 size, u32 more) {
    u32 at = pci_cap_add(&p->pci, CAP_VENDOR, 16 + more);
    u8 *c = p->pci.config + at;
    c[2] = (u8)(16 + more);
    c[3] = kind;
    c[4] = BAR;
    memcpy(c + 8, &offset, 4);
    memcpy(c + 12, &size, 4);
    return at;
}

static void caps_add(VirtioPci *p) {
    const u32 step = KICK_STEP;
    cap_add(p, CFG_COMMON, COMMON, COMMON_SIZE, 0);
    cap_add(p, CFG_ISR, ISR, 4, 0);
    cap_add(p, CFG_DEVICE, DEVICE, NOTIFY - DEVICE, 0);
    u32 notify = cap_add(p, CFG_NOTIFY, NOTIFY, BAR_SIZE - NOTIFY, 4);
    memcpy(p->pci.config + notify + 16, &step, 4);
    p->window_cap = cap_add(p, CFG_PCI, 0, 0, 4);
    memset(p->pci.writable + p->window_cap + 4, 0xff, 1);
    memset(p->pci.writable + p->window_cap + 8, 0xff, 8);
}

VirtioPci *virtio_pci_new(Virtio *v, PciBus *bus) {
    VirtioPci *p = back_alloc(sizeof(*p));
    pthread_mutex_init(&p->isr_lock, NULL);
    p->v = v;
    pci_device_init(&p->pci, &ops, p, 0x1af4, (u16)(0x1040 + v->kind.id), v->kind.class, 0x1af4, (u16)(0x1100));
    pci_bar_add(&p->pci, BAR, BAR_SIZE, true);
    pci_msix_add(&p->pci, bus, MSIX_BAR, v->kind.queues + 1);
    caps_add(p);
    if (!pci_plug(bus, &p->pci)) {
        free(p);
        return NULL;
    }
    v->transport = p;
    v->interrupt = pci_interrupt;
    registers_reset(p);
    return p;
}

void virtio_pci_reset(VirtioPci *p) {
    virtio_reset(p->v);
    registers_reset(p);
}

void virtio_pci_state(VirtioPci *p, State *s) {
    virtio_state(p->v, s);
    state_u32(s, &p->offered_half);
    state_u32(s, &p->taken_half);
    state_u32(s, &p->queue);
    state_u16(s, &p->config_vector);
    p->config_vector = vector_check(p, p->config_vector);
    for (u32 k = 0; k < p->v->kind.queues; k++) {
        state_u16(s, &p->queue_vector[k]);
        p->queue_vector[k] = vector_check(p, p->queue_vector[k]);
    }
    pthread_mutex_lock(&p->isr_lock);
    state_u8(s, &p->isr);
    pci_wire_set(&p->pci, p->isr != 0);
    pthread_mutex_unlock(&p->isr_lock);
}

void virtio_pci_drop(VirtioPci *p) {
    pthread_mutex_destroy(&p->isr_lock);
    free(p);
}
