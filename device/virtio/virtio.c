/* SPDX-License-Identifier: Apache-2.0 */
/* States, features and configuration of virtio devices. [virtio 2.1, 2.2, 2.5, 3.1] */
#include "device/virtio/virtio.h"

static const u64 features_all = VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_RING_RESET;

void virtio_init(Virtio *v, const VirtioKind *kind, void *dev, Physical *memory) {
    pthread_mutex_init(&v->lock, NULL);
    v->kind = *kind;
    v->dev = dev;
    v->memory = memory;
    v->offered = kind->features | features_all;
    for (u32 k = 0; k < kind->queues; k++) {
        VirtQueue *q = &v->queue[k];
        pthread_mutex_init(&q->lock, NULL);
        q->virtio = v;
        q->index = k;
        virtq_reset(q);
    }
}

void virtio_offer_packed(Virtio *v, bool on) { v->offered = on ? v->offered | VIRTIO_F_RING_PACKED : v->offered & ~VIRTIO_F_RING_PACKED; }

void virtio_fini(Virtio *v) {
    for (u32 k = 0; k < v->kind.queues; k++) pthread_mutex_destroy(&v->queue[k].lock);
    pthread_mutex_destroy(&v->lock);
}

bool virtio_is_live(const Virtio *v) {
    return (__atomic_load_n(&v->status, __ATOMIC_ACQUIRE) & VIRTIO_DRIVER_OK) && !__atomic_load_n(&v->broken, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&v->paused, __ATOMIC_ACQUIRE);
}

u8 virtio_status_get(const Virtio *v) { return v->status | (__atomic_load_n(&v->broken, __ATOMIC_ACQUIRE) ? VIRTIO_NEEDS_RESET : 0); }

void virtio_config_changed(Virtio *v) {
    __atomic_fetch_add(&v->generation, 1, __ATOMIC_ACQ_REL);
    if (virtio_is_live(v)) v->interrupt(v->transport, -1);
}

/* The driver hears of it only if it said that it drives the device. [virtio 2.1.2] */
void virtio_set_broken(Virtio *v) {
    virtio_trace(v, "is broken", 0, 0);
    bool was = __atomic_exchange_n(&v->broken, true, __ATOMIC_ACQ_REL);
    if (!was && (__atomic_load_n(&v->status, __ATOMIC_ACQUIRE) & VIRTIO_DRIVER_OK)) v->interrupt(v->transport, -1);
}

void virtio_break(Virtio *v) {
    virtio_log(v, VIRT_BREAK, 0, 0, NULL, 0);
    virtio_set_broken(v);
}

/* The order matters: first no thread takes chains any more, then those in work come back, then the queues go. */
static void reset_locked(Virtio *v) {
    __atomic_store_n(&v->status, 0, __ATOMIC_RELEASE);
    if (v->kind.reset) v->kind.reset(v->dev);
    for (u32 k = 0; k < v->kind.queues; k++) virtq_reset(&v->queue[k]);
    v->features = 0;
    __atomic_store_n(&v->broken, false, __ATOMIC_RELEASE);
}

void virtio_reset(Virtio *v) {
    pthread_mutex_lock(&v->lock);
    reset_locked(v);
    pthread_mutex_unlock(&v->lock);
}

static bool features_check(const Virtio *v) { return (v->features & VIRTIO_F_VERSION_1) && !(v->features & ~v->offered); }

void virtio_status_set(Virtio *v, u8 status) {
    if (!status) {
        reset_locked(v);
        return;
    }
    u8 now = v->status;
    virtio_trace(v, "status, features", status, v->features);
    if ((status & ~now & VIRTIO_FEATURES_OK) && !features_check(v)) status &= (u8)~VIRTIO_FEATURES_OK;
    bool starts = (status & ~now & VIRTIO_DRIVER_OK) && (status & VIRTIO_FEATURES_OK);
    if ((status & VIRTIO_DRIVER_OK) && !(status & VIRTIO_FEATURES_OK)) status &= (u8)~VIRTIO_DRIVER_OK;
    __atomic_store_n(&v->status, status & (u8)~VIRTIO_NEEDS_RESET, __ATOMIC_RELEASE);
    if (starts && v->kind.ready) v->kind.ready(v->dev);
}

void virtio_pause(Virtio *v) {
    __atomic_store_n(&v->paused, true, __ATOMIC_SEQ_CST);
    if (v->kind.quiesce) v->kind.quiesce(v->dev);
}

/* After quiesce, which forgets kicks. */
static void kick_all(Virtio *v) {
    for (u32 k = 0; k < v->kind.queues; k++)
        if (v->queue[k].enabled) virtio_kick(v, k);
}

void virtio_continue(Virtio *v) {
    __atomic_store_n(&v->paused, false, __ATOMIC_SEQ_CST);
    kick_all(v);
}

void virtio_queue_reset(Virtio *v, VirtQueue *q) {
    if (!virtio_has(v, VIRTIO_F_RING_RESET)) return;
    virtq_disable(q);
    if (v->kind.quiesce) v->kind.quiesce(v->dev);
    virtq_reset(q);
    kick_all(v);
}

/* What the device says of itself (features offered, configuration) is not the file's to say. */
void virtio_state(Virtio *v, State *s) {
    pthread_mutex_lock(&v->lock);
    u8 status = v->status;
    state_u8(s, &status);
    state_u64(s, &v->features);
    state_bool(s, &v->broken);
    state_u32(s, &v->generation);
    if (s->loading && (((status & VIRTIO_FEATURES_OK) && !features_check(v)) || ((status & VIRTIO_DRIVER_OK) && !(status & VIRTIO_FEATURES_OK)))) {
        state_bad(s);
        status = 0;
    }
    v->status = status;
    for (u32 k = 0; k < v->kind.queues; k++) virtq_state(&v->queue[k], s);
    if (v->kind.state) v->kind.state(v->dev, s);
    if (s->loading && (status & VIRTIO_DRIVER_OK) && v->kind.ready) v->kind.ready(v->dev);
    pthread_mutex_unlock(&v->lock);
}

u32 virtio_offered_get(const Virtio *v, u32 half) { return half < 2 ? half_of(v->offered, half) : 0; }

void virtio_features_set(Virtio *v, u32 half, u32 value) {
    if (half >= 2 || (v->status & VIRTIO_FEATURES_OK)) return;
    u64 mask = 0xffffffffull << (32 * half);
    v->features = (v->features & ~mask) | (u64)value << (32 * half);
}

u64 virtio_config_read(Virtio *v, u32 offset, unsigned size) {
    u64 value = 0;
    if (offset < v->kind.config_size) memcpy(&value, v->config + offset, MIN(size, v->kind.config_size - offset));
    return value;
}

void virtio_config_write(Virtio *v, u32 offset, unsigned size, u64 value) {
    if (!v->kind.config_written || offset >= v->kind.config_size) return;
    size = MIN(size, v->kind.config_size - offset);
    memcpy(v->config + offset, &value, size);
    v->kind.config_written(v->dev, offset, size);
}

VirtQueue *virtio_queue(Virtio *v, u32 index) { return index < v->kind.queues ? &v->queue[index] : NULL; }

void virtio_kick(Virtio *v, u32 index) {
    virtio_trace(v, "kick of queue", index, 0);
    if (index < v->kind.queues && v->kind.notify && virtio_is_live(v)) v->kind.notify(v->dev, index);
}
