/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: the only code, with the two layouts (ring.h), that reads what drivers put into rings. */
#include "device/virtio/ring.h"

/* --- enabling ----------------------------------------------------------------------------- */

/* The layout stays what it is here, whatever becomes of the features. */
static bool rings_find(VirtQueue *q) {
    q->layout = virtio_has(q->virtio, VIRTIO_F_RING_PACKED) ? &ring_packed : &ring_split;
    return q->size && q->size <= q->virtio->kind.queue_size && q->layout->find(q);
}

void virtq_enable(VirtQueue *q) {
    bool ok = true;
    pthread_mutex_lock(&q->lock);
    if (!q->enabled) {
        q->next_avail = q->next_used = q->signalled = 0;
        ok = q->enabled = rings_find(q);
    }
    pthread_mutex_unlock(&q->lock);
    if (!ok) virtio_set_broken(q->virtio);
}

void virtq_disable(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    q->enabled = false;
    pthread_mutex_unlock(&q->lock);
}

void virtq_reset(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    q->enabled = false;
    q->size = q->virtio->kind.queue_size;
    q->desc_at = q->avail_at = q->used_at = 0;
    q->desc = q->used = NULL;
    q->avail = NULL;
    pthread_mutex_unlock(&q->lock);
}

void virtq_state(VirtQueue *q, State *s) {
    pthread_mutex_lock(&q->lock);
    state_u32(s, &q->size);
    state_u64(s, &q->desc_at);
    state_u64(s, &q->avail_at);
    state_u64(s, &q->used_at);
    state_bool(s, &q->enabled);
    state_u16(s, &q->next_avail);
    state_u16(s, &q->next_used);
    state_u16(s, &q->signalled);
    if (s->loading && q->enabled && !rings_find(q)) {
        state_bad(s);
        q->enabled = false;
    }
    pthread_mutex_unlock(&q->lock);
}

/* --- taking chains ------------------------------------------------------------------------ */

bool ring_buffer_add(VirtQueue *q, VirtChain *c, u64 at, u32 size, bool in) {
    u32 len = c->out_len + c->in_len;
    if (!size) return true;
    u8 *host = physical_ram(q->virtio->memory, at, size);
    if (!host || len >= q->size || (!in && c->in_len)) return false;
    c->iov[len] = (struct iovec){host, size};
    *(in ? &c->in_len : &c->out_len) += 1;
    *(in ? &c->in_size : &c->out_size) += size;
    return true;
}

const u8 *ring_table(VirtQueue *q, u64 at, u32 size, u32 *len) {
    *len = size / 16;
    return *len && size % 16 == 0 && *len <= q->size ? physical_ram(q->virtio->memory, at, size) : NULL;
}

bool virtq_pop(VirtQueue *q, VirtChain *c) {
    if (!virtio_is_live(q->virtio)) return false;
    c->out_len = c->in_len = 0;
    c->out_size = c->in_size = 0;
    pthread_mutex_lock(&q->lock);
    Pop pop = q->enabled ? q->layout->take(q, c) : POP_NONE;
    pthread_mutex_unlock(&q->lock);
    if (pop != POP_NONE) virtio_log(q->virtio, VIRT_POP, q->index, 0, NULL, 0);
    if (pop == POP_BAD) virtio_set_broken(q->virtio);
    if (pop == POP_CHAIN) virtio_trace(q->virtio, "takes a chain: queue, bytes out", q->index, c->out_size);
    return pop == POP_CHAIN;
}

u16 virtq_mark(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    u16 mark = q->next_avail;
    pthread_mutex_unlock(&q->lock);
    return mark;
}

void virtq_unpop(VirtQueue *q, u16 mark) {
    virtio_log(q->virtio, VIRT_UNPOP, q->index, mark, NULL, 0);
    pthread_mutex_lock(&q->lock);
    if (q->enabled) q->next_avail = mark;
    pthread_mutex_unlock(&q->lock);
}

bool virtq_is_waiting(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    bool waiting = q->enabled && q->layout->waits(q);
    pthread_mutex_unlock(&q->lock);
    return waiting;
}

/* --- giving them back --------------------------------------------------------------------- */

static void written_tell(VirtQueue *q, const VirtChain *c, u64 written) {
    const Physical *m = q->virtio->memory;
    for (u32 i = c->out_len; i < c->out_len + c->in_len && written; i++) {
        u64 size = MIN(written, c->iov[i].iov_len);
        physical_written(m, m->ram_start + (u64)((u8 *)c->iov[i].iov_base - m->ram), size);
        written -= size;
    }
}

static void used_put(VirtQueue *q, const VirtUsed *used, u32 len) {
    pthread_mutex_lock(&q->lock);
    if (q->enabled) q->layout->put(q, used, len);
    pthread_mutex_unlock(&q->lock);
}

void virtq_fill(VirtQueue *q, const VirtChain *c, u32 written, u32 k) {
    ASSERT(k < VIRTQ_FILL_MAX);
    virtio_log(q->virtio, VIRT_FILL, q->index, k, c, written);
    written_tell(q, c, written);
    q->filled[k] = (VirtUsed){c->head, c->descs, written};
}

void virtq_publish(VirtQueue *q, u32 len) {
    virtio_log(q->virtio, VIRT_PUBLISH, q->index, len, NULL, 0);
    used_put(q, q->filled, len);
}

void virtq_push(VirtQueue *q, const VirtChain *c, u32 written) {
    virtio_log(q->virtio, VIRT_PUSH, q->index, 0, c, written);
    written_tell(q, c, written);
    used_put(q, &(VirtUsed){c->head, c->descs, written}, 1);
}

/* With q->lock held. */
static bool signal_wanted(VirtQueue *q) {
    u16 old = q->signalled, now = q->next_used;
    if (!q->enabled || old == now) return false;
    q->signalled = now;
    /* Orders what was used before what the driver wrote when it last looked at that. [virtio 2.7.10] */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return q->layout->signal(q, old, now);
}

void virtq_signal(VirtQueue *q) {
    virtio_log(q->virtio, VIRT_SIGNAL, q->index, 0, NULL, 0);
    pthread_mutex_lock(&q->lock);
    bool wanted = signal_wanted(q);
    pthread_mutex_unlock(&q->lock);
    if (wanted) virtio_trace(q->virtio, "interrupts: queue, used", q->index, q->next_used);
    if (wanted) q->virtio->interrupt(q->virtio->transport, (int)q->index);
}

void virtq_kicks_off(VirtQueue *q) {
    virtio_log(q->virtio, VIRT_KICKS_OFF, q->index, 0, NULL, 0);
    pthread_mutex_lock(&q->lock);
    if (q->enabled) q->layout->kicks(q, false);
    pthread_mutex_unlock(&q->lock);
}

bool virtq_kicks_on(VirtQueue *q) {
    virtio_log(q->virtio, VIRT_KICKS_ON, q->index, 0, NULL, 0);
    bool more = false;
    pthread_mutex_lock(&q->lock);
    if (q->enabled) {
        q->layout->kicks(q, true);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish before the look: the driver does it the other way round */
        more = q->layout->waits(q);
    }
    pthread_mutex_unlock(&q->lock);
    return more && virtio_is_live(q->virtio);
}

/* --- buffers ------------------------------------------------------------------------------ */

/* Goes over [offset, offset + size) of the iovecs, in the direction asked for; returns bytes copied. */
static u64 copy(const struct iovec *iov, u32 len, u64 offset, u8 *bytes, u64 size, bool to_guest) {
    u64 done = 0;
    for (u32 i = 0; i < len && done < size; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        u64 n = MIN(size - done, iov[i].iov_len - offset);
        u8 *guest = (u8 *)iov[i].iov_base + offset;
        if (to_guest) memcpy(guest, bytes + done, n);
        else memcpy(bytes + done, guest, n);
        done += n;
        offset = 0;
    }
    return done;
}

u64 virt_chain_read(const VirtChain *c, u64 offset, void *to, u64 size) { return copy(c->iov, c->out_len, offset, to, size, false); }
u64 virt_chain_write(const VirtChain *c, u64 offset, const void *from, u64 size) {
    return copy(c->iov + c->out_len, c->in_len, offset, (u8 *)(u64)from, size, true);
}

u32 virt_chain_slice(const VirtChain *c, bool in, u64 offset, u64 size, struct iovec *to) {
    return in ? iov_slice(c->iov + c->out_len, c->in_len, offset, size, to) : iov_slice(c->iov, c->out_len, offset, size, to);
}
