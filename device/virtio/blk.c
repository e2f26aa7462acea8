/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk. [virtio 5.2] A few threads serve all queues: each takes a request, does it on the Block, and gives it back; so several
 * requests are under way at once, and none waits for a slower one. */
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"
#include <errno.h>

enum { THREADS = 4, QUEUE_SIZE = 256, SECTOR = 512, ID_SIZE = 20, SEGMENTS_MAX = 32, RANGE_MAX = 1u << 30 >> 9 /* sectors */ };
enum { F_SEG_MAX = 1 << 2, F_RO = 1 << 5, F_BLK_SIZE = 1 << 6, F_FLUSH = 1 << 9, F_MQ = 1 << 12, F_DISCARD = 1 << 13, F_WRITE_ZEROES = 1 << 14 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPPORTED = 2, UNMAP = 1 };

typedef struct BlkConfig {
    u64 capacity; /* sectors */
    u32 size_max, seg_max;
    u8 geometry[4];
    u32 blk_size;
    u8 topology[8];
    u8 writeback, unused;
    u16 num_queues;
    u32 max_discard_sectors, max_discard_seg, discard_alignment, max_write_zeroes_sectors, max_write_zeroes_seg;
    u8 write_zeroes_may_unmap, padding[3];
} BlkConfig;

typedef struct Request {
    u32 type, reserved;
    u64 sector;
} Request;

typedef struct BlkRange {
    u64 sector;
    u32 sectors, flags;
} BlkRange;

struct VirtioBlk {
    Virtio virtio;
    Block *block;
    VirtWorker *worker;
    char id[ID_SIZE];
};

/* --- requests ----------------------------------------------------------------------------- */

static u8 status_of(int err) { return err == -EOPNOTSUPP ? S_UNSUPPORTED : err ? S_IOERR : S_OK; }

/* [sector, sector + size / 512) as an offset in bytes; false: not on the disk. */
static bool place_find(const VirtioBlk *d, u64 sector, u64 size, u64 *offset) {
    *offset = sector * SECTOR;
    return size % SECTOR == 0 && sector <= d->block->size / SECTOR && block_check(d->block, *offset, size);
}

static u8 read_do(VirtioBlk *d, const VirtChain *c, u64 sector, u32 *written) {
    struct iovec iov[VIRTQ_SIZE_MAX];
    u64 size = c->in_size - 1, offset;
    if (!place_find(d, sector, size, &offset)) return S_IOERR;
    int err = block_read(d->block, offset, iov, virt_chain_slice(c, true, 0, size, iov));
    *written = (u32)size; /* even if it failed: part of it may be there */
    return status_of(err);
}

static u8 write_do(VirtioBlk *d, const VirtChain *c, u64 sector) {
    struct iovec iov[VIRTQ_SIZE_MAX];
    u64 size = c->out_size - sizeof(Request), offset;
    if (!place_find(d, sector, size, &offset) || d->block->read_only) return S_IOERR;
    int err = block_write(d->block, offset, iov, virt_chain_slice(c, false, sizeof(Request), size, iov));
    /* A driver that knows no flush takes what is written for safe. [virtio 5.2.6.2] */
    if (!err && !virtio_has(&d->virtio, F_FLUSH)) err = block_flush(d->block);
    return status_of(err);
}

static u8 range_do(VirtioBlk *d, const BlkRange *r, bool zero) {
    u64 size = (u64)r->sectors * SECTOR, offset;
    if (r->flags & ~(zero ? (u32)UNMAP : 0)) return S_UNSUPPORTED;
    if (r->sectors > RANGE_MAX || !place_find(d, r->sector, size, &offset) || d->block->read_only) return S_IOERR;
    if (!size) return S_OK;
    return status_of(zero ? block_zero(d->block, offset, size, r->flags & UNMAP) : block_discard(d->block, offset, size));
}

static u8 ranges_do(VirtioBlk *d, const VirtChain *c, bool zero) {
    u64 size = c->out_size - sizeof(Request);
    u8 status = S_OK;
    if (!size || size % sizeof(BlkRange) || size / sizeof(BlkRange) > SEGMENTS_MAX) return S_UNSUPPORTED;
    for (u64 at = 0; at < size && status == S_OK; at += sizeof(BlkRange)) {
        BlkRange r;
        virt_chain_read(c, sizeof(Request) + at, &r, sizeof(r));
        status = range_do(d, &r, zero);
    }
    return status;
}

static u8 request_do(VirtioBlk *d, const VirtChain *c, u32 *written) {
    Request r;
    virt_chain_read(c, 0, &r, sizeof(r));
    virtio_trace(&d->virtio, "request: type, sector", r.type, r.sector);
    switch (r.type) {
    case T_IN: return read_do(d, c, r.sector, written);
    case T_OUT: return write_do(d, c, r.sector);
    case T_FLUSH: return status_of(block_flush(d->block));
    case T_GET_ID: *written = (u32)virt_chain_write(c, 0, d->id, MIN(c->in_size - 1, (u64)ID_SIZE)); return S_OK;
    case T_DISCARD: return ranges_do(d, c, false);
    case T_WRITE_ZEROES: return ranges_do(d, c, true);
    }
    return S_UNSUPPORTED;
}

/* A request without room for its status cannot even be refused. */
static bool chain_serve(VirtioBlk *d, VirtQueue *q, const VirtChain *c) {
    u32 written = 0;
    if (c->out_size < sizeof(Request) || !c->in_size || c->in_size > 1u << 30) {
        virtio_break(&d->virtio);
        return false;
    }
    u8 status = request_do(d, c, &written);
    virt_chain_write(c, c->in_size - 1, &status, 1);
    virtq_push(q, c, (u32)(status == S_OK && written < c->in_size - 1 ? written : c->in_size));
    virtq_signal(q);
    return true;
}

static void blk_run(void *ctx, u32 queue, VirtChain *c) {
    VirtioBlk *d = ctx;
    VirtQueue *q = &d->virtio.queue[queue];
    do {
        virtq_kicks_off(q);
        while (virtq_pop(q, c)) {
            if (virtq_is_waiting(q)) virt_worker_kick(d->worker, queue); /* another thread takes the next */
            if (!chain_serve(d, q, c)) return;
        }
    } while (virtq_kicks_on(q));
}

/* --- the device --------------------------------------------------------------------------- */

static void blk_notify(void *dev, u32 queue) { virt_worker_kick(((VirtioBlk *)dev)->worker, queue); }
static void blk_reset(void *dev) { virt_worker_drain(((VirtioBlk *)dev)->worker); }

static void config_fill(VirtioBlk *d, u32 queues) {
    BlkConfig c = {
        .capacity = d->block->size / SECTOR, .seg_max = QUEUE_SIZE - 2, .blk_size = SECTOR, .num_queues = (u16)queues,
        .max_discard_sectors = RANGE_MAX, .max_discard_seg = SEGMENTS_MAX, .discard_alignment = 8,
        .max_write_zeroes_sectors = RANGE_MAX, .max_write_zeroes_seg = SEGMENTS_MAX, .write_zeroes_may_unmap = 1,
    };
    memcpy(d->virtio.config, &c, sizeof(c));
}

VirtioBlk *virtio_blk_new(Physical *memory, Block *block, u32 queues, const char *serial) {
    VirtioBlk *d = back_alloc(sizeof(*d));
    queues = MIN(MAX(queues, 1u), (u32)VIRTIO_QUEUES_MAX);
    VirtioKind kind = {
        .name = "blk", .id = VIRTIO_BLK, .class = 0x010000, .queues = queues, .queue_size = QUEUE_SIZE, .config_size = sizeof(BlkConfig),
        .features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_MQ | (block->read_only ? F_RO : F_DISCARD | F_WRITE_ZEROES),
        .reset = blk_reset, .quiesce = blk_reset, .notify = blk_notify,
    };
    d->block = block;
    if (serial) memcpy(d->id, serial, MIN(strlen(serial), (size_t)ID_SIZE));
    virtio_init(&d->virtio, &kind, d, memory);
    config_fill(d, queues);
    d->worker = virt_worker_new(virt_threads(memory, THREADS), blk_run, d);
    return d;
}

Virtio *virtio_blk_virtio(VirtioBlk *d) { return &d->virtio; }

void virtio_blk_drop(VirtioBlk *d) {
    virtio_reset(&d->virtio);
    virt_worker_drop(d->worker);
    virtio_fini(&d->virtio);
    free(d);
}
