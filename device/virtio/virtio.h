/* SPDX-License-Identifier: Apache-2.0 */
/* device/virtio: what all virtio devices share: states, features, configuration, queues, two transports. [virtio 1.2]
 *
 * A device fills in a VirtioKind (identity, features, callbacks) and calls virtio_new; a transport (virtio_mmio, virtio_pci) makes the
 * registers that the driver sees. The driver kicks a queue; `notify` is called, and the device, there or on a thread of its own, takes
 * chains by virtq_pop, works on them, gives them back by virtq_push, and at the end of a batch calls virtq_signal.
 *
 * All that the driver writes is hostile. Rings and buffers become host pointers in ring*.c only, checked against RAM; every walk is bounded by the
 * queue's size; what is wrong "breaks" the device: it takes no more chains and tells the driver that it needs a reset. [virtio 2.1.2]
 *
 * Locks: v->lock is held for register accesses and during reset, ready and config_written; a queue's lock inside ring.c only. Device threads use queues
 * and virtio_break without v->lock. `reset` must return with no chain in a thread's hands: they wait for what is under way.
 */
#ifndef DEVICE_VIRTIO_VIRTIO_H
#define DEVICE_VIRTIO_VIRTIO_H

#include "back/gate.h"
#include "back/state.h"
#include "device/device.h"
#include <sys/uio.h>

enum { VIRTQ_SIZE_MAX = 1024, VIRTQ_FILL_MAX = 64, VIRTIO_QUEUES_MAX = 18, VIRTIO_CONFIG_MAX = 128 };
enum { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RNG = 4, VIRTIO_BALLOON = 5, VIRTIO_9P = 9, VIRTIO_VSOCK = 19 };
enum { VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8, VIRTIO_NEEDS_RESET = 64, VIRTIO_FAILED = 128 };
#define VIRTIO_F_INDIRECT (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_RING_PACKED (1ull << 34)
#define VIRTIO_F_RING_RESET (1ull << 40)

typedef struct Virtio Virtio;

typedef struct VirtioKind {
    const char *name;
    u32 id;        /* VIRTIO_NET.. */
    u32 class;     /* PCI class in 24 bits */
    u64 features;  /* the device's own; those of rings are added */
    u32 queues, queue_size; /* size: a power of two, at most VIRTQ_SIZE_MAX */
    u32 config_size;
    /* Any may be NULL. */
    void (*ready)(void *dev);             /* the driver is; v->features is final */
    void (*reset)(void *dev);             /* back to the start */
    void (*notify)(void *dev, u32 queue); /* a kick; the queue is ready. On a hart's thread, without v->lock. */
    void (*config_written)(void *dev, u32 offset, u32 size); /* v->config has the bytes already */
    void (*quiesce)(void *dev);           /* queues give no chains just now: returns when none is in a thread's hands */
    void (*state)(void *dev, State *s);   /* what the device has beside its queues, for snapshots */
} VirtioKind;

/* --- queues ------------------------------------------------------------------------------- */

typedef struct RingLayout RingLayout; /* split or packed: ring.h */

/* A chain that is given back: its head, how many descriptors it took in the ring, the bytes written. */
typedef struct VirtUsed {
    u16 head, descs;
    u32 written;
} VirtUsed;

typedef struct VirtQueue {
    pthread_mutex_t lock;
    Virtio *virtio;
    u32 index;
    /* The driver's, by registers, while the queue is not enabled. */
    u32 size;
    u64 desc_at, avail_at, used_at; /* of a packed ring the latter two are its event suppression structures, driver's and device's */
    bool enabled;
    const RingLayout *layout;
    /* Host addresses of the rings: valid while enabled. */
    u8 *desc, *used;
    const u8 *avail;
    u16 next_avail, next_used; /* as the layout counts */
    u16 signalled;             /* next_used when the driver was last asked whether it wants a signal */
    VirtUsed filled[VIRTQ_FILL_MAX];
} VirtQueue;

/* A chain of buffers, first those to read from (out), then those to write to (in). Empty ones are left out. */
typedef struct VirtChain {
    u16 head, descs; /* for giving it back */
    u32 out_len, in_len;
    u64 out_size, in_size; /* bytes */
    struct iovec iov[VIRTQ_SIZE_MAX]; /* out_len + in_len of them */
} VirtChain;

/* The next chain, false: there is none, or the device is broken. Any thread. */
bool virtq_pop(VirtQueue *q, VirtChain *c);
/* Gives a chain back; `written` bytes of its in-buffers are new. */
void virtq_push(VirtQueue *q, const VirtChain *c, u32 written);
/* The same of several at once: each is filled in as number `k` (below VIRTQ_FILL_MAX) of those to come, then `len` of them are published. One thread only. */
void virtq_fill(VirtQueue *q, const VirtChain *c, u32 written, u32 k);
void virtq_publish(VirtQueue *q, u32 len);
/* Interrupts the driver, if it wants to know of what was pushed since the last time. */
void virtq_signal(VirtQueue *q);
/* No kicks, please: we are looking. / Kicks again; true: chains came meanwhile, so look again. */
void virtq_kicks_off(VirtQueue *q);
bool virtq_kicks_on(VirtQueue *q);
/* True: more chains were there when it looked. */
bool virtq_is_waiting(VirtQueue *q);
/* Where virtq_pop is. / Undoes what it did since: there is nothing to give just now. One thread only. */
u16 virtq_mark(VirtQueue *q);
void virtq_unpop(VirtQueue *q, u16 mark);

/* Copies from the out-buffers, starting `offset` bytes in, and to the in-buffers; return what there was. */
u64 virt_chain_read(const VirtChain *c, u64 offset, void *to, u64 size);
u64 virt_chain_write(const VirtChain *c, u64 offset, const void *from, u64 size);
/* A part of the out- (in-) buffers as iovecs of its own: [offset, offset + size); returns their number, at most VIRTQ_SIZE_MAX. */
u32 virt_chain_slice(const VirtChain *c, bool in, u64 offset, u64 size, struct iovec *to);

/* --- devices ------------------------------------------------------------------------------ */

/* What a device does with its queues, told to who wants to do the same another time (puppet.c): all that a driver can see of it. */
typedef enum VirtOp { VIRT_POP, VIRT_UNPOP, VIRT_FILL, VIRT_PUBLISH, VIRT_PUSH, VIRT_SIGNAL, VIRT_KICKS_OFF, VIRT_KICKS_ON, VIRT_PATCH, VIRT_BREAK, VIRT_OPS } VirtOp;
typedef struct VirtLog {
    void *ctx;
    /* number: the last operand. The first `written` bytes of the iovecs are new; a patch is bytes of the first buffer of chain 0 that was filled, `number` from its start. */
    void (*op)(void *ctx, VirtOp op, u32 queue, u32 number, const struct iovec *iov, u32 len, u32 written);
} VirtLog;

struct Virtio {
    pthread_mutex_t lock;
    VirtioKind kind;
    VirtLog log; /* op NULL: nobody */
    void *dev;
    Physical *memory;
    u64 offered, features; /* features: what the driver took */
    u8 status;
    bool broken;           /* atomic */
    bool paused;           /* atomic: queues give no chains */
    u32 generation;        /* of config; atomic */
    u8 config[VIRTIO_CONFIG_MAX];
    VirtQueue queue[VIRTIO_QUEUES_MAX];
    /* The transport: tells the driver of a used queue (index), or of changed configuration (-1). Any thread. */
    void (*interrupt)(void *transport, int queue);
    void *transport;
};

void virtio_init(Virtio *v, const VirtioKind *kind, void *dev, Physical *memory);
/* Packed rings are offered, or not; before the driver sees the device. */
void virtio_offer_packed(Virtio *v, bool on);
void virtio_fini(Virtio *v);
/* The driver, or the board, wants the device as it was at the start. */
void virtio_reset(Virtio *v);
/* The driver did what it must not. / What is seen by rings themselves, which do so again when a log is repeated. */
void virtio_break(Virtio *v);
void virtio_set_broken(Virtio *v);
/* v->config was changed by the device. */
void virtio_config_changed(Virtio *v);
/* For snapshots: nothing moves between the two. After the second, what the driver has offered is looked at again. */
void virtio_pause(Virtio *v);
void virtio_continue(Virtio *v);
/* While paused. */
void virtio_state(Virtio *v, State *s);
static inline bool virtio_has(const Virtio *v, u64 feature) { return v->features & feature; }
/* True: queues work. Any thread. */
bool virtio_is_live(const Virtio *v);

static inline void virtio_log(const Virtio *v, VirtOp op, u32 queue, u32 number, const VirtChain *chain, u32 written) {
    if (__builtin_expect(v->log.op != NULL, 0)) v->log.op(v->log.ctx, op, queue, number, chain ? chain->iov + chain->out_len : NULL, chain ? chain->in_len : 0, written);
}

/* A line for those who trace. */
static inline void virtio_trace(const Virtio *v, const char *what, u64 a, u64 b) {
    const PhysicalTrace *t = &v->memory->trace;
    if (__builtin_expect(t->event != NULL, 0)) t->event(t, v->kind.name, what, a, b);
}

/* --- for transports, with v->lock held ---------------------------------------------------- */

u8 virtio_status_get(const Virtio *v);
void virtio_status_set(Virtio *v, u8 status);
/* Halves of the features: 0, 1; others are zero. */
u32 virtio_offered_get(const Virtio *v, u32 half);
void virtio_features_set(Virtio *v, u32 half, u32 value);
u64 virtio_config_read(Virtio *v, u32 offset, unsigned size);
void virtio_config_write(Virtio *v, u32 offset, unsigned size, u64 value);
/* NULL: there is none of this number. */
VirtQueue *virtio_queue(Virtio *v, u32 index);
void virtq_enable(VirtQueue *q);
/* Gives no chains any more, and takes none back. / All of it goes: no chain is in a thread's hands. */
void virtq_disable(VirtQueue *q);
void virtq_reset(VirtQueue *q);
/* The driver wants one queue as it was at the start. [virtio 2.6.1] */
void virtio_queue_reset(Virtio *v, VirtQueue *q);
void virtq_state(VirtQueue *q, State *s);
/* Without v->lock. */
void virtio_kick(Virtio *v, u32 index);

/* --- transports --------------------------------------------------------------------------- */

typedef struct VirtioMmio VirtioMmio;
extern const IoOps virtio_mmio_ops;
/* v NULL: an empty slot, whose registers say that there is no device. */
VirtioMmio *virtio_mmio_new(Virtio *v, Irq irq);
void virtio_mmio_reset(VirtioMmio *m);
void virtio_mmio_state(VirtioMmio *m, State *s); /* of the device, too */
void virtio_mmio_drop(VirtioMmio *m);

typedef struct PciBus PciBus;
typedef struct VirtioPci VirtioPci;
/* NULL: the bus is full. */
VirtioPci *virtio_pci_new(Virtio *v, PciBus *bus);
void virtio_pci_reset(VirtioPci *p);
void virtio_pci_state(VirtioPci *p, State *s);
void virtio_pci_drop(VirtioPci *p);

#endif
