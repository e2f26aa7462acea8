/* SPDX-License-Identifier: Apache-2.0 */
/* The two layouts of virtqueues, split and packed, behind what ring.c does for both: locks, buffers, signals. Private to device/virtio/ring*.c.
 *
 * Every field of a ring is read once, into a local, and checked there: the driver may change it any time. Rings lie in RAM as a whole (`find` sees to
 * that when the queue is enabled, and the layout stays what it was then); buffers are checked one by one. A chain has at most as many buffers as the
 * queue has descriptors, an indirect table no more than that either, so no loop over descriptors is endless. */
#ifndef DEVICE_VIRTIO_RING_H
#define DEVICE_VIRTIO_RING_H

#include "device/virtio/virtio.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
typedef enum Pop { POP_NONE, POP_CHAIN, POP_BAD } Pop;

/* With q->lock held, and, but for `find`, the queue enabled. */
struct RingLayout {
    bool (*find)(VirtQueue *q); /* makes the addresses host pointers; false: they or the size are bad */
    bool (*waits)(const VirtQueue *q); /* a chain is there */
    Pop (*take)(VirtQueue *q, VirtChain *c); /* c is empty */
    void (*put)(VirtQueue *q, const VirtUsed *used, u32 len); /* the driver sees all of them at once, or none */
    bool (*signal)(VirtQueue *q, u16 old, u16 now); /* the driver wants to know of what was used between the two */
    void (*kicks)(VirtQueue *q, bool on); /* what we want to know */
};
extern const RingLayout ring_split, ring_packed;

/* Adds a buffer; false: it is not RAM, an out-buffer after an in-buffer, or one too many. */
bool ring_buffer_add(VirtQueue *q, VirtChain *c, u64 at, u32 size, bool in);
/* An indirect table of `size` bytes and its number of descriptors; NULL: it is bad. */
const u8 *ring_table(VirtQueue *q, u64 at, u32 size, u32 *len);

static inline u16 ring_load16(const u8 *at) { return __atomic_load_n((const u16 *)(const void *)at, __ATOMIC_ACQUIRE); }
static inline void ring_store16(u8 *at, u16 value) { __atomic_store_n((u16 *)(void *)at, value, __ATOMIC_RELEASE); }

#endif
