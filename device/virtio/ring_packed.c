/* SPDX-License-Identifier: Apache-2.0 */
/* Packed virtqueues. [virtio 2.8] One ring of descriptors, which the driver makes available and the device makes used in place.
 *
 * Positions count descriptors modulo twice the queue's size: the first time around, the wrap counter of [virtio 2.8.1] is 1, the second time 0. So a
 * position is place and counter in one number, and distances are differences. */
#include "device/virtio/ring.h"

enum { DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15 };
enum { EVENT_ENABLE, EVENT_DISABLE, EVENT_DESC, EVENT_SIZE = 4, EVENT_WRAP = 1 << 15 };

typedef struct Desc {
    u64 at;
    u32 size;
    u16 id, flags;
} Desc;

static u32 place(const VirtQueue *q, u32 position) { return position < q->size ? position : position - q->size; }
static bool wrap(const VirtQueue *q, u32 position) { return position < q->size; }
static u16 step(const VirtQueue *q, u32 position, u32 by) { return (u16)((position + by) % (2 * q->size)); }
static u32 distance(const VirtQueue *q, u32 from, u32 to) { return (to + 2 * q->size - from) % (2 * q->size); }
static u8 *desc_at(const VirtQueue *q, u32 position) { return q->desc + 16 * place(q, position); }

static bool packed_find(VirtQueue *q) {
    Physical *m = q->virtio->memory;
    if ((q->desc_at & 15) || (q->avail_at & 3) || (q->used_at & 3)) return false;
    q->desc = physical_ram(m, q->desc_at, 16 * (u64)q->size);
    q->avail = physical_ram(m, q->avail_at, EVENT_SIZE);
    q->used = physical_ram(m, q->used_at, EVENT_SIZE);
    return q->desc && q->avail && q->used && q->next_avail < 2 * q->size && q->next_used < 2 * q->size && q->signalled < 2 * q->size;
}

static bool packed_waits(const VirtQueue *q) {
    u16 flags = ring_load16(desc_at(q, q->next_avail) + offsetof(Desc, flags));
    bool avail = flags & DESC_AVAIL, used = flags & DESC_USED;
    return avail == wrap(q, q->next_avail) && used != avail;
}

/* All of the table is the chain: there is no NEXT in it. [virtio 2.8.7] */
static bool table_take(VirtQueue *q, VirtChain *c, const Desc *outer) {
    u32 len;
    const u8 *table = ring_table(q, outer->at, outer->size, &len);
    if (!table || !virtio_has(q->virtio, VIRTIO_F_INDIRECT) || (outer->flags & DESC_NEXT)) return false;
    for (u32 k = 0; k < len; k++) {
        Desc d;
        memcpy(&d, table + 16 * (u64)k, sizeof(d));
        if ((d.flags & DESC_INDIRECT) || !ring_buffer_add(q, c, d.at, d.size, d.flags & DESC_WRITE)) return false;
    }
    return true;
}

/* The driver has made the first descriptor available last; that one's flags say so for the chain. */
static Pop packed_take(VirtQueue *q, VirtChain *c) {
    u16 position = q->next_avail;
    if (!packed_waits(q)) return POP_NONE;
    for (u32 count = 1; count <= q->size; count++) {
        Desc d;
        memcpy(&d, desc_at(q, position), sizeof(d));
        if (!(d.flags & DESC_INDIRECT ? table_take(q, c, &d) : ring_buffer_add(q, c, d.at, d.size, d.flags & DESC_WRITE))) return POP_BAD;
        position = step(q, position, 1);
        if (d.flags & DESC_NEXT) continue;
        c->head = d.id;
        c->descs = (u16)count;
        q->next_avail = position;
        return POP_CHAIN;
    }
    return POP_BAD; /* a loop */
}

static void desc_use(VirtQueue *q, u32 position, const VirtUsed *u) {
    u8 *at = desc_at(q, position);
    u16 flags = wrap(q, position) ? DESC_AVAIL | DESC_USED : 0;
    memcpy(at + offsetof(Desc, size), &u->written, sizeof(u->written));
    memcpy(at + offsetof(Desc, id), &u->head, sizeof(u->head));
    ring_store16(at + offsetof(Desc, flags), u->written ? flags | DESC_WRITE : flags);
}

/* One used descriptor for each chain, at the start of as many as the chain had; the first is written last, since the driver looks there first. */
static void packed_put(VirtQueue *q, const VirtUsed *used, u32 len) {
    u16 at[VIRTQ_FILL_MAX], next = q->next_used;
    for (u32 k = 0; k < len; k++) {
        at[k] = next;
        next = step(q, next, used[k].descs);
    }
    for (u32 k = len; k-- > 0;) desc_use(q, at[k], &used[k]);
    q->next_used = next;
}

/* What the driver wrote as "tell me when this one is used" may be anything; too far is behind. */
static bool packed_signal(VirtQueue *q, u16 old, u16 now) {
    u16 flags = ring_load16(q->avail + 2), event = ring_load16(q->avail);
    if ((flags & 3) != EVENT_DESC || !virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) return (flags & 3) != EVENT_DISABLE;
    u32 at = step(q, event & ~(u32)EVENT_WRAP, event & EVENT_WRAP ? 0 : q->size);
    return distance(q, step(q, at, 1), now) < distance(q, old, now);
}

/* As for split rings, events that lie behind need no switching off. */
static void packed_kicks(VirtQueue *q, bool on) {
    if (!virtio_has(q->virtio, VIRTIO_F_EVENT_IDX)) {
        ring_store16(q->used + 2, on ? EVENT_ENABLE : EVENT_DISABLE);
    } else if (on) {
        ring_store16(q->used, (u16)(place(q, q->next_avail) | (wrap(q, q->next_avail) ? EVENT_WRAP : 0)));
        ring_store16(q->used + 2, EVENT_DESC);
    }
}

const RingLayout ring_packed = {packed_find, packed_waits, packed_take, packed_put, packed_signal, packed_kicks};
