/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues: the only code that reads what drivers put into rings. [virtio 2.7]
 *
 * Every field is read once, into a local, and checked there: the driver may change it any time. Rings lie in RAM as a whole (checked when the
 * queue is enabled); buffers are checked one by one. A chain has at most as many buffers as the queue has descriptors, an indirect table
 * no more than that either, so no loop of descriptors is endless. */
#include "device/virtio/virtio.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

typedef struct Desc {
    u64 at;
    u32 size;
    u16 flags, next;
} Desc;

typedef struct UsedElement {
    u32 id, size;
} UsedElement;

static u16 load16(const u8 *at) { return __atomic_load_n((const u16 *)(const void *)at, __ATOMIC_ACQUIRE); }
static void store16(u8 *at, u16 value) { __atomic_store_n((u16 *)(void *)at, value, __ATOMIC_RELEASE); }

static u16 avail_index(const VirtQueue *q) { return load16(q->avail + 2); }
static u16 used_event(const VirtQueue *q) { return load16(q->avail + 4 + 2 * q->size); }
static void avail_event_put(const VirtQueue *q, u16 index) { store16(q->used + 4 + 8 * q->size, index); }

/* --- enabling ----------------------------------------------------------------------------- */

static bool rings_find(VirtQueue *q) {
    Physical *m = q->virtio->memory;
    if ((q->desc_at & 15) || (q->avail_at & 1) || (q->used_at & 3)) return false;
    q->desc = physical_ram(m, q->desc_at, 16 * (u64)q->size);
    q->avail = physical_ram(m, q->avail_at, 6 + 2 * (u64)q->size);
    q->used = physical_ram(m, q->used_at, 6 + 8 * (u64)q->size);
    return q->desc && q->avail && q->used;
}

static bool size_check(const VirtQueue *q) { return q->size && q->size <= q->virtio->kind.queue_size && !(q->size & (q->size - 1)); }

void virtq_enable(VirtQueue *q, bool on) {
    bool ok = true;
    pthread_mutex_lock(&q->lock);
    if (on && !q->enabled) {
        ok = size_check(q) && rings_find(q);
        q->next_avail = q->next_used = q->signalled = 0;
        q->enabled = ok;
    }
    pthread_mutex_unlock(&q->lock);
    if (!ok) virtio_break(q->virtio);
}

void virtq_reset(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    q->enabled = false;
    q->size = q->virtio->kind.queue_size;
    q->desc_at = q->avail_at = q->used_at = 0;
    q->desc = q->avail = q->used = NULL;
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
    if (s->loading && q->enabled && !(size_check(q) && rings_find(q))) {
        state_bad(s);
        q->enabled = false;
    }
    pthread_mutex_unlock(&q->lock);
}

/* --- taking chains ------------------------------------------------------------------------ */

/* Adds a buffer; false: it is not RAM, an out-buffer after an in-buffer, or one too many. */
static bool buffer_add(VirtQueue *q, VirtChain *c, const Desc *d) {
    u32 len = c->out_len + c->in_len;
    bool in = d->flags & DESC_WRITE;
    if (!d->size) return true;
    u8 *host = physical_ram(q->virtio->memory, d->at, d->size);
    if (!host || len >= q->size || (!in && c->in_len)) return false;
    c->iov[len] = (struct iovec){host, d->size};
    *(in ? &c->in_len : &c->out_len) += 1;
    *(in ? &c->in_size : &c->out_size) += d->size;
    return true;
}

/* Follows a table of `count` descriptors from `at`. */
static bool table_walk(VirtQueue *q, VirtChain *c, const u8 *table, u32 count, u32 at, bool may_indirect) {
    for (u32 steps = 0; steps < count; steps++) {
        Desc d;
        if (at >= count) return false;
        memcpy(&d, table + 16 * (u64)at, sizeof(d));
        if (d.flags & DESC_INDIRECT) {
            u32 len = d.size / 16;
            const u8 *inner = physical_ram(q->virtio->memory, d.at, d.size);
            if (!may_indirect || !inner || !len || d.size % 16 || len > q->size || (d.flags & DESC_NEXT)) return false;
            return table_walk(q, c, inner, len, 0, false);
        }
        if (!buffer_add(q, c, &d)) return false;
        if (!(d.flags & DESC_NEXT)) return true;
        at = d.next;
    }
    return false; /* a loop */
}

typedef enum Pop { POP_NONE, POP_CHAIN, POP_BAD } Pop;

/* With q->lock held. */
static Pop chain_take(VirtQueue *q, VirtChain *c) {
    if (!q->enabled) return POP_NONE;
    u16 waiting = (u16)(avail_index(q) - q->next_avail);
    if (!waiting) return POP_NONE;
    if (waiting > q->size) return POP_BAD;
    c->head = load16(q->avail + 4 + 2 * (q->next_avail & (q->size - 1)));
    c->out_len = c->in_len = 0;
    c->out_size = c->in_size = 0;
    if (!table_walk(q, c, q->desc, q->size, c->head, virtio_has(q->virtio, VIRTIO_F_INDIRECT))) return POP_BAD;
    q->next_avail++;
    return POP_CHAIN;
}

bool virtq_pop(VirtQueue *q, VirtChain *c) {
    if (!virtio_is_live(q->virtio)) return false;
    pthread_mutex_lock(&q->lock);
    Pop pop = chain_take(q, c);
    pthread_mutex_unlock(&q->lock);
    if (pop == POP_BAD) virtio_break(q->virtio);
    if (pop == POP_CHAIN) virtio_trace(q->virtio, "takes a chain: queue, bytes out", q->index, c->out_size);
    return pop == POP_CHAIN;
}

void virtq_unpop(VirtQueue *q, u32 count) {
    pthread_mutex_lock(&q->lock);
    if (q->enabled) q->next_avail = (u16)(q->next_avail - count);
    pthread_mutex_unlock(&q->lock);
}

bool virtq_is_waiting(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    bool waiting = q->enabled && avail_index(q) != q->next_avail;
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

/* With q->lock held. */
static void used_put(VirtQueue *q, u16 head, u32 written, u32 k) {
    UsedElement e = {head, written};
    if (q->enabled) memcpy(q->used + 4 + 8 * ((q->next_used + k) & (q->size - 1)), &e, sizeof(e));
}

static void used_publish(VirtQueue *q, u32 count) {
    if (!q->enabled) return;
    q->next_used = (u16)(q->next_used + count);
    store16(q->used + 2, q->next_used);
}

void virtq_fill(VirtQueue *q, const VirtChain *c, u32 written, u32 k) {
    written_tell(q, c, written);
    pthread_mutex_lock(&q->lock);
    used_put(q, c->head, written, k);
    pthread_mutex_unlock(&q->lock);
}

void virtq_publish(VirtQueue *q, u32 count) {
    pthread_mutex_lock(&q->lock);
    used_publish(q, count);
    pthread_mutex_unlock(&q->lock);
}

void virtq_push(VirtQueue *q, const VirtChain *c, u32 written) {
    written_tell(q, c, written);
    pthread_mutex_lock(&q->lock);
    used_put(q, c->head, written, 0);
    used_publish(q, 1);
    pthread_mutex_unlock(&q->lock);
}

/* With q->lock held. */
static bool signal_wanted(VirtQueue *q) {
    u16 old = q->signalled, now = q->next_used;
    if (!q->enabled || old == now) return false;
    q->signalled = now;
    /* Orders the used index before what the driver wrote when it last looked at that. [virtio 2.7.10] */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) return !(load16(q->avail) & AVAIL_NO_INTERRUPT);
    return (u16)(now - used_event(q) - 1) < (u16)(now - old);
}

void virtq_signal(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    bool wanted = signal_wanted(q);
    pthread_mutex_unlock(&q->lock);
    if (wanted) virtio_trace(q->virtio, "interrupts: queue, used", q->index, q->next_used);
    if (wanted) q->virtio->interrupt(q->virtio->transport, (int)q->index);
}

void virtq_kicks_off(VirtQueue *q) {
    pthread_mutex_lock(&q->lock);
    /* With event indices nothing needs to be said: the driver kicks once for the index that we named last. */
    if (q->enabled && !virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) store16(q->used, USED_NO_NOTIFY);
    pthread_mutex_unlock(&q->lock);
}

bool virtq_kicks_on(VirtQueue *q) {
    bool more = false;
    pthread_mutex_lock(&q->lock);
    if (q->enabled) {
        if (virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) avail_event_put(q, q->next_avail);
        else store16(q->used, 0);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the wish before the look: the driver does it the other way round */
        more = avail_index(q) != q->next_avail;
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
