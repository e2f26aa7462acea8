/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues. [virtio 2.7] Positions (next_avail, next_used) run freely. */
#include "device/virtio/ring.h"

enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

typedef struct Desc {
    u64 at;
    u32 size;
    u16 flags, next;
} Desc;

typedef struct UsedElement {
    u32 id, size;
} UsedElement;

static u16 avail_index(const VirtQueue *q) { return ring_load16(q->avail + 2); }
static u16 used_event(const VirtQueue *q) { return ring_load16(q->avail + 4 + 2 * q->size); }
static void avail_event_put(const VirtQueue *q, u16 index) { ring_store16(q->used + 4 + 8 * q->size, index); }

static bool split_find(VirtQueue *q) {
    Physical *m = q->virtio->memory;
    if ((q->desc_at & 15) || (q->avail_at & 1) || (q->used_at & 3) || (q->size & (q->size - 1))) return false;
    q->desc = physical_ram(m, q->desc_at, 16 * (u64)q->size);
    q->avail = physical_ram(m, q->avail_at, 6 + 2 * (u64)q->size);
    q->used = physical_ram(m, q->used_at, 6 + 8 * (u64)q->size);
    return q->desc && q->avail && q->used;
}

static bool split_waits(const VirtQueue *q) { return avail_index(q) != q->next_avail; }

/* Follows a table of `count` descriptors from `at`. */
static bool table_walk(VirtQueue *q, VirtChain *c, const u8 *table, u32 count, u32 at, bool may_indirect) {
    for (u32 steps = 0; steps < count; steps++) {
        Desc d;
        if (at >= count) return false;
        memcpy(&d, table + 16 * (u64)at, sizeof(d));
        if (d.flags & DESC_INDIRECT) {
            u32 len;
            const u8 *inner = ring_table(q, d.at, d.size, &len);
            if (!may_indirect || !inner || (d.flags & DESC_NEXT)) return false;
            return table_walk(q, c, inner, len, 0, false);
        }
        if (!ring_buffer_add(q, c, d.at, d.size, d.flags & DESC_WRITE)) return false;
        if (!(d.flags & DESC_NEXT)) return true;
        at = d.next;
    }
    return false; /* a loop */
}

static Pop split_take(VirtQueue *q, VirtChain *c) {
    u16 waiting = (u16)(avail_index(q) - q->next_avail);
    if (!waiting) return POP_NONE;
    if (waiting > q->size) return POP_BAD;
    c->head = ring_load16(q->avail + 4 + 2 * (q->next_avail & (q->size - 1)));
    if (!table_walk(q, c, q->desc, q->size, c->head, virtio_has(q->virtio, VIRTIO_F_INDIRECT))) return POP_BAD;
    q->next_avail++;
    return POP_CHAIN;
}

static void split_put(VirtQueue *q, const VirtUsed *used, u32 len) {
    for (u32 k = 0; k < len; k++) {
        UsedElement e = {used[k].head, used[k].written};
        memcpy(q->used + 4 + 8 * ((q->next_used + k) & (q->size - 1)), &e, sizeof(e));
    }
    q->next_used = (u16)(q->next_used + len);
    ring_store16(q->used + 2, q->next_used);
}

static bool split_signal(VirtQueue *q, u16 old, u16 now) {
    if (!virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) return !(ring_load16(q->avail) & AVAIL_NO_INTERRUPT);
    return (u16)(now - used_event(q) - 1) < (u16)(now - old);
}

/* With event indices nothing needs to be said to have no kicks: the driver kicks once for the index that we named last. */
static void split_kicks(VirtQueue *q, bool on) {
    if (!virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) ring_store16(q->used, on ? 0 : USED_NO_NOTIFY);
    else if (on) avail_event_put(q, q->next_avail);
}

const RingLayout ring_split = {split_find, split_waits, split_take, split_put, split_signal, split_kicks};
