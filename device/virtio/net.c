/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net with one pair of queues. [virtio 5.1]
 *
 * The driver may leave checksums to us whatever the back end is: to make one here costs a fraction of what it costs the guest. Frames that come
 * while the driver has no buffers wait, up to a limit; then they are lost, as on a wire. */
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"

enum { RECEIVE, TRANSMIT, QUEUES, QUEUE_SIZE = 256, HEADER_SIZE = 12, FRAME_MIN = 14, BACKLOG_MAX = 4 << 20 /* bytes */, MERGE_MAX = VIRTQ_FILL_MAX };
enum {
    F_CSUM = 1 << 0, F_GUEST_CSUM = 1 << 1, F_MTU = 1 << 3, F_MAC = 1 << 5, F_GUEST_TSO4 = 1 << 7, F_GUEST_TSO6 = 1 << 8, F_HOST_TSO4 = 1 << 11,
    F_HOST_TSO6 = 1 << 12, F_MRG_RXBUF = 1 << 15, F_STATUS = 1 << 16,
};

typedef struct NetConfig {
    u8 mac[6];
    u16 status, max_pairs, mtu;
} NetConfig;

typedef struct Frame Frame;
struct Frame {
    Frame *next;
    NetHeader header;
    size_t size;
    u8 bytes[];
};

struct VirtioNet {
    Virtio virtio;
    Net *net;
    VirtWorker *worker;
    pthread_mutex_t lock; /* of receiving: frames keep their order */
    Frame *first, **last; /* frames that wait for buffers */
    size_t waiting;       /* bytes; written with the lock held, read by net_notify without */
    VirtChain *chain;     /* for receiving */
    u8 frame[NET_FRAME_MAX]; /* for transmitting */
};

/* --- receiving ---------------------------------------------------------------------------- */

typedef enum Delivery { DELIVERED, NO_BUFFERS, TOO_LARGE } Delivery;

static void buffers_patch(const Virtio *v, const struct iovec *start, u16 count) {
    struct iovec at = {(u8 *)start->iov_base + offsetof(NetHeader, buffers), sizeof(count)};
    memcpy(at.iov_base, &count, sizeof(count));
    if (v->log.op) v->log.op(v->log.ctx, VIRT_PATCH, RECEIVE, offsetof(NetHeader, buffers), &at, 1, sizeof(count));
}

/* One frame into as many chains as it takes, published together. The count of chains lies in the first one's first buffer, or, if that is
 * shorter than the header, nowhere: then only one chain will do. */
static Delivery frame_put(VirtioNet *d, const NetHeader *header, const u8 *bytes, size_t size) {
    VirtQueue *q = &d->virtio.queue[RECEIVE];
    NetHeader h = *header;
    struct iovec start = {0};
    u16 count = 0, mark = virtq_mark(q);
    u64 done = 0;
    h.buffers = 1;
    if (!virtio_has(&d->virtio, F_GUEST_CSUM)) h.flags = 0;
    bool merge = virtio_has(&d->virtio, F_MRG_RXBUF);
    while (count == 0 || done < size) {
        if (!virtq_pop(q, d->chain)) {
            virtq_unpop(q, mark);
            return NO_BUFFERS;
        }
        u64 head = count ? 0 : HEADER_SIZE, written = 0;
        if (!count) {
            written = virt_chain_write(d->chain, 0, &h, HEADER_SIZE);
            if (d->chain->in_len && written == HEADER_SIZE) start = d->chain->iov[d->chain->out_len];
        }
        written += virt_chain_write(d->chain, head, bytes + done, size - done);
        done += written > head ? written - head : 0;
        virtq_fill(q, d->chain, (u32)written, count++);
        if (done < size && (!merge || count == MERGE_MAX || start.iov_len < HEADER_SIZE || !written)) {
            virtq_unpop(q, mark); /* the next frame goes there */
            return TOO_LARGE;
        }
    }
    if (count > 1) buffers_patch(&d->virtio, &start, count);
    virtq_publish(q, count);
    virtq_signal(q);
    return DELIVERED;
}

static void backlog_add(VirtioNet *d, const NetHeader *header, const u8 *bytes, size_t size) {
    if (d->waiting + size > BACKLOG_MAX) return;
    Frame *f = back_alloc(sizeof(*f) + size);
    f->header = *header;
    f->size = size;
    memcpy(f->bytes, bytes, size);
    *d->last = f;
    d->last = &f->next;
    __atomic_store_n(&d->waiting, d->waiting + size, __ATOMIC_RELAXED);
}

static void backlog_pop(VirtioNet *d) {
    Frame *f = d->first;
    d->first = f->next;
    if (!d->first) d->last = &d->first;
    __atomic_store_n(&d->waiting, d->waiting - f->size, __ATOMIC_RELAXED);
    free(f);
}

/* Frames stay behind only if a kick will follow the next buffer. */
static void backlog_deliver(VirtioNet *d) {
    do {
        while (d->first && frame_put(d, &d->first->header, d->first->bytes, d->first->size) != NO_BUFFERS) backlog_pop(d);
    } while (d->first && virtq_kicks_on(&d->virtio.queue[RECEIVE]));
}

/* From the back end's thread. */
static void net_received(void *ctx, const NetHeader *header, const struct iovec *iov, u32 len) {
    VirtioNet *d = ctx;
    if (len != 1 || !virtio_is_live(&d->virtio)) return;
    pthread_mutex_lock(&d->lock);
    if (d->first || frame_put(d, header, iov->iov_base, iov->iov_len) == NO_BUFFERS) backlog_add(d, header, iov->iov_base, iov->iov_len);
    backlog_deliver(d);
    pthread_mutex_unlock(&d->lock);
}

static void receive(VirtioNet *d) {
    pthread_mutex_lock(&d->lock);
    backlog_deliver(d);
    pthread_mutex_unlock(&d->lock);
}

/* --- transmitting ------------------------------------------------------------------------- */

/* The Internet checksum of what follows `start`, into the field that already holds the pseudo header's sum. */
static void checksum_make(u8 *frame, size_t size, u32 start, u32 offset) {
    u64 sum = 0;
    if (start + offset + 2 > size) return;
    for (size_t i = start; i + 1 < size; i += 2) sum += (u32)frame[i] << 8 | frame[i + 1];
    if ((size - start) & 1) sum += (u32)frame[size - 1] << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    u32 value = ~(u32)sum & 0xffff;
    if (!value) value = 0xffff; /* zero would mean "none" in UDP, and is the same number */
    frame[start + offset] = (u8)(value >> 8);
    frame[start + offset + 1] = (u8)value;
}

static void frame_send(VirtioNet *d, const VirtChain *c) {
    NetHeader h;
    u64 size = c->out_size - HEADER_SIZE;
    virt_chain_read(c, 0, &h, HEADER_SIZE);
    if (size < FRAME_MIN || size > NET_FRAME_MAX) return;
    virt_chain_read(c, HEADER_SIZE, d->frame, size);
    if (!(net_features(d->net) & NET_OFFLOAD)) {
        if (h.flags & NET_NEEDS_CSUM) checksum_make(d->frame, size, h.csum_start, h.csum_offset);
        h = (NetHeader){0};
    }
    net_send(d->net, &h, &(struct iovec){d->frame, size}, 1);
}

static void transmit(VirtioNet *d, VirtQueue *q, VirtChain *c) {
    do {
        virtq_kicks_off(q);
        while (virtq_pop(q, c)) {
            if (c->out_size < HEADER_SIZE) {
                virtio_break(&d->virtio);
                return;
            }
            frame_send(d, c);
            virtq_push(q, c, 0);
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q));
}

static void net_run(void *ctx, u32 queue, VirtChain *c) {
    VirtioNet *d = ctx;
    if (queue == RECEIVE) receive(d);
    else transmit(d, &d->virtio.queue[queue], c);
}

/* --- the device --------------------------------------------------------------------------- */

/* New buffers matter only if frames wait for them. */
static void net_notify(void *dev, u32 queue) {
    VirtioNet *d = dev;
    if (queue == TRANSMIT || __atomic_load_n(&d->waiting, __ATOMIC_RELAXED)) virt_worker_kick(d->worker, queue);
}

static void net_ready(void *dev) {
    VirtioNet *d = dev;
    net_offload_set(d->net, virtio_has(&d->virtio, F_GUEST_CSUM), virtio_has(&d->virtio, F_GUEST_TSO4), virtio_has(&d->virtio, F_GUEST_TSO6));
}

static void net_reset(void *dev) {
    VirtioNet *d = dev;
    virt_worker_drain(d->worker);
    pthread_mutex_lock(&d->lock); /* the back end's thread is out of the queue, and finds the device not live from now on */
    while (d->first) backlog_pop(d);
    pthread_mutex_unlock(&d->lock);
}

static void net_quiesce(void *dev) {
    VirtioNet *d = dev;
    virt_worker_drain(d->worker);
    pthread_mutex_lock(&d->lock);
    pthread_mutex_unlock(&d->lock);
}

static u64 features(const Net *net) {
    u64 f = F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_MRG_RXBUF | F_STATUS;
    return net_features(net) & NET_OFFLOAD ? f | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6 : f;
}

VirtioNet *virtio_net_new(Physical *memory, Net *net, const u8 mac[6]) {
    VirtioNet *d = back_alloc(sizeof(*d));
    VirtioKind kind = {.name = "net", .id = VIRTIO_NET, .class = 0x020000, .queues = QUEUES, .queue_size = QUEUE_SIZE, .config_size = sizeof(NetConfig),
                       .features = features(net), .ready = net_ready, .reset = net_reset, .quiesce = net_quiesce, .notify = net_notify};
    NetConfig c = {.status = net_link(net), .max_pairs = 1, .mtu = (u16)net_mtu(net)};
    memcpy(c.mac, mac, 6);
    d->net = net;
    d->last = &d->first;
    d->chain = back_alloc(sizeof(*d->chain));
    pthread_mutex_init(&d->lock, NULL);
    virtio_init(&d->virtio, &kind, d, memory);
    memcpy(d->virtio.config, &c, sizeof(c));
    d->worker = virt_worker_new(virt_threads(memory, 1), net_run, d);
    net_attach(net, &(NetUser){d, net_received});
    return d;
}

Virtio *virtio_net_virtio(VirtioNet *d) { return &d->virtio; }

void virtio_net_drop(VirtioNet *d) {
    virtio_reset(&d->virtio);
    virt_worker_drop(d->worker);
    virtio_fini(&d->virtio);
    pthread_mutex_destroy(&d->lock);
    free(d->chain);
    free(d);
}
