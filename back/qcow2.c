/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 images, versions 2 and 3. [QEMU docs/interop/qcow2.txt]
 *
 * A guest cluster's place is found by L1 table, L2 table; a host cluster is free while its refcount is 0. Tables are kept in memory and
 * written by qcow2_flush, in an order in which whatever lies in the file at any moment is sound but for clusters that nobody uses:
 *
 *   1. refcounts of what was allocated since the last time (and their table, if it moved), and all data;
 *   2. fdatasync;  3. L2 tables;  4. fdatasync;  5. L1 entries of new L2 tables, the place of a moved refcount table;  6. fdatasync;
 *   7. refcounts of what was given up go down in memory, and can be allocated again; they reach the file with the next flush's step 1.
 *
 * So a reference never precedes the count of what it refers to, and a count never goes down while something in the file still refers to it. A kill
 * between two steps leaves leaks at worst, and no reference to a cluster that was used anew.
 *
 * Locks, in this order. `change`: allocating writes, discards and flushes, one at a time, for as long as they take. `busy` (shared): data is being
 * moved to or from clusters; taken alone by step 7, so that nobody still writes to what becomes free. `lock`: the tables in memory, for moments.
 *
 * Every offset that comes out of the file is checked for alignment before use; a read behind the end of the file gives zeros, so wild ones do no harm.
 * An image that contradicts itself gives -EIO.
 */
#include "back/block.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { MAGIC_SIZE = 4, HEADER_V2 = 72, HEADER_V3 = 104, HEADER_ZSTD = 112, NAME_MAX_SIZE = 1023, EXT_FORMAT = (int)0xe2792aca };
enum { INCOMPAT_DIRTY = 1, INCOMPAT_CORRUPT = 2, INCOMPAT_DATA_FILE = 4, INCOMPAT_ZSTD = 8, INCOMPAT_KNOWN = 15 };
enum { L1_MAX = 32 << 20, REFTABLE_MAX = 8 << 20, L2_CACHE_MAX = 16 << 20, REFBLOCKS_MAX = 32 << 20 };
static const u64 ENTRY_COPIED = 1ull << 63, ENTRY_COMPRESSED = 1ull << 62, ENTRY_ZERO = 1, OFFSET_MASK = 0x00fffffffffffe00;

typedef struct Header { /* big-endian in the file */
    u8 magic[4];
    u32 version;
    u64 backing_offset;
    u32 backing_size, cluster_bits;
    u64 size;
    u32 crypt_method, l1_len;
    u64 l1_at, reftable_at;
    u32 reftable_clusters, snapshots;
    u64 snapshots_at, incompatible, compatible, autoclear;
    u32 refcount_order, header_size;
    u8 compression, padding[7];
} Header;

typedef struct L2Table {
    u64 index; /* in L1 */
    u64 *entry; /* big-endian, as in the file; NULL: this slot is free */
    u64 used;  /* time of the last use */
    bool dirty;
} L2Table;

typedef struct Range {
    u64 cluster, count;
} Range;

typedef struct Qcow2 {
    Block block;
    int fd;
    Block *backing; /* NULL: none */
    u32 cluster_bits, version, refcount_order;
    bool zstd, has_snapshots;
    u64 cluster_size, l2_len;
    pthread_mutex_t change, lock;
    pthread_rwlock_t busy;
    /* L1: big-endian, as in the file. */
    u64 *l1, l1_at;
    u32 l1_len, l1_dirty_first, l1_dirty_end;
    /* Refcounts: a table of blocks, each in memory once it was needed. */
    u64 *reftable, reftable_at; /* host byte order; file offset */
    u8 **refblock;              /* by index in reftable */
    bool *refblock_dirty;
    u64 refblocks;              /* in memory */
    u32 reftable_len, reftable_dirty_first, reftable_dirty_end;
    bool reftable_moved;
    u64 free_hint;              /* no cluster below this is free */
    u64 fresh;                  /* clusters from here on were never written: they read as zeros */
    VEC(Range) freed;           /* to be counted down by the next flush */
    L2Table *cache;
    u32 cache_len;
    u64 clock;
    u32 depth;
} Qcow2;

static u64 big64(u64 x) { return __builtin_bswap64(x); }
static u64 clusters_of(const Qcow2 *q, u64 bytes) { return (bytes + q->cluster_size - 1) >> q->cluster_bits; }
static bool is_aligned(const Qcow2 *q, u64 offset) { return !(offset & (q->cluster_size - 1)); }

static int file_get(int fd, u64 at, void *to, u64 size) { return file_read(fd, at, &(struct iovec){to, size}, 1); }
static int file_put(int fd, u64 at, const void *from, u64 size) { return file_write(fd, at, &(struct iovec){(void *)from, size}, 1); }

/* --- refcounts ---------------------------------------------------------------------------- */

static u64 block_len(const Qcow2 *q) { return q->cluster_size * 8 >> q->refcount_order; }

static u64 count_get(const Qcow2 *q, const u8 *block, u64 k) {
    u32 bits = 1u << q->refcount_order;
    if (bits < 8) return block[k * bits / 8] >> (k * bits % 8) & ((1u << bits) - 1);
    u64 v = 0;
    for (u32 i = 0; i < bits / 8; i++) v = v << 8 | block[k * (bits / 8) + i];
    return v;
}

static void count_put(const Qcow2 *q, u8 *block, u64 k, u64 v) {
    u32 bits = 1u << q->refcount_order;
    if (bits < 8) {
        u8 mask = (u8)(((1u << bits) - 1) << (k * bits % 8));
        block[k * bits / 8] = (u8)((block[k * bits / 8] & ~mask) | (v << (k * bits % 8) & mask));
        return;
    }
    for (u32 i = bits / 8; i-- > 0; v >>= 8) block[k * (bits / 8) + i] = (u8)v;
}

static u64 count_max(const Qcow2 *q) { return low_bits(~0ull, 1u << q->refcount_order); }

/* Makes room for one more block: those that are as in the file go. */
static void refblocks_trim(Qcow2 *q) {
    if (q->refblocks < (u64)MAX(REFBLOCKS_MAX >> q->cluster_bits, 4)) return;
    for (u32 k = 0; k < q->reftable_len; k++) {
        if (!q->refblock[k] || q->refblock_dirty[k]) continue;
        free(q->refblock[k]);
        q->refblock[k] = NULL;
        q->refblocks--;
    }
}

/* The block in memory, until the next one is asked for; *out NULL: there is none in the file either. */
static int refblock_find(Qcow2 *q, u64 index, u8 **out) {
    *out = NULL;
    if (index >= q->reftable_len || !q->reftable[index]) return 0;
    if (!q->refblock[index]) {
        u64 at = q->reftable[index];
        if (!is_aligned(q, at)) return -EIO;
        refblocks_trim(q);
        u8 *block = back_alloc(q->cluster_size);
        int err = file_get(q->fd, at, block, q->cluster_size);
        if (err) {
            free(block);
            return err;
        }
        q->refblock[index] = block;
        q->refblocks++;
    }
    *out = q->refblock[index];
    return 0;
}

static int count_read(Qcow2 *q, u64 cluster, u64 *count) {
    u8 *block;
    int err = refblock_find(q, cluster / block_len(q), &block);
    *count = block ? count_get(q, block, cluster % block_len(q)) : 0;
    return err;
}

static void reftable_touch(Qcow2 *q, u32 index) {
    q->reftable_dirty_first = MIN(q->reftable_dirty_first, index);
    q->reftable_dirty_end = MAX(q->reftable_dirty_end, index + 1);
}

/* Makes the table longer, in memory. It gets a new place in the file when there is room counted for that. */
static int reftable_extend(Qcow2 *q, u64 index) {
    u64 len = MAX(index + 1, (u64)q->reftable_len + q->reftable_len / 2);
    len = align_up(len, q->cluster_size / 8);
    if (len * 8 > REFTABLE_MAX) return -ENOSPC;
    u64 *table = back_alloc(len * 8);
    u8 **block = back_alloc(len * sizeof(*block));
    bool *dirty = back_alloc(len);
    memcpy(table, q->reftable, q->reftable_len * 8ull);
    memcpy(block, q->refblock, q->reftable_len * sizeof(*block));
    memcpy(dirty, q->refblock_dirty, q->reftable_len);
    free(q->reftable);
    free(q->refblock);
    free(q->refblock_dirty);
    q->reftable = table;
    q->refblock = block;
    q->refblock_dirty = dirty;
    if (!q->reftable_moved) vec_push(&q->freed, ((Range){q->reftable_at >> q->cluster_bits, q->reftable_len * 8ull >> q->cluster_bits}));
    q->reftable_len = (u32)len;
    q->reftable_moved = true;
    return 0;
}

/* A block for the counts of clusters that have none. None of these is in use, so the block takes the first of them, and counts itself. */
static int refblock_make(Qcow2 *q, u64 index, u8 **out) {
    int err = index >= q->reftable_len ? reftable_extend(q, index) : 0;
    if (err) return err;
    u64 cluster = index * block_len(q);
    refblocks_trim(q);
    *out = q->refblock[index] = back_alloc(q->cluster_size);
    q->refblocks++;
    count_put(q, *out, 0, 1);
    q->reftable[index] = cluster << q->cluster_bits;
    q->refblock_dirty[index] = true;
    reftable_touch(q, (u32)index);
    q->fresh = MAX(q->fresh, cluster + 1);
    return 0;
}

static int count_change(Qcow2 *q, u64 cluster, int by) {
    u8 *block;
    u64 index = cluster / block_len(q), k = cluster % block_len(q);
    int err = refblock_find(q, index, &block);
    if (!err && !block) err = refblock_make(q, index, &block);
    if (err) return err;
    u64 count = count_get(q, block, k);
    if (by < 0 ? !count : count == count_max(q)) return -EIO;
    count_put(q, block, k, count + (u64)(i64)by);
    q->refblock_dirty[index] = true;
    if (count == 1 && by < 0) q->free_hint = MIN(q->free_hint, cluster);
    return 0;
}

/* --- allocation --------------------------------------------------------------------------- */

static int is_free(Qcow2 *q, u64 cluster, bool *out) {
    u64 count = 0;
    u8 *block = NULL;
    int err = refblock_find(q, cluster / block_len(q), &block);
    /* Where a block is still to be made, the first cluster will be that block. */
    if (!block) count = cluster % block_len(q) == 0;
    else count = count_get(q, block, cluster % block_len(q));
    *out = !count;
    return err;
}

/* `count` clusters in a row; *first. With q->lock held. */
static int clusters_take(Qcow2 *q, u64 count, u64 *first) {
    u64 run = 0, at = q->free_hint;
    for (; run < count; at++) {
        bool is = false;
        int err = is_free(q, at, &is);
        if (err) return err;
        if (at >> (56 - q->cluster_bits)) return -ENOSPC;
        run = is ? run + 1 : 0;
    }
    *first = at - count;
    if (*first == q->free_hint) q->free_hint = at;
    for (u64 c = *first; c < at; c++) {
        int err = count_change(q, c, 1);
        if (err) return err;
    }
    return 0;
}

/* The cluster's reference goes away. Its count follows when no reference is in the file any more. */
static void clusters_give(Qcow2 *q, u64 cluster, u64 count) {
    if (q->freed.len && q->freed.at[q->freed.len - 1].cluster + q->freed.at[q->freed.len - 1].count == cluster)
        q->freed.at[q->freed.len - 1].count += count;
    else vec_push(&q->freed, ((Range){cluster, count}));
}

static u32 compressed_shift(const Qcow2 *q) { return 62 - (q->cluster_bits - 8); }

/* Where compressed data lies: offset, and bytes at most. */
static void compressed_find(const Qcow2 *q, u64 entry, u64 *at, u64 *size) {
    u32 shift = compressed_shift(q);
    *at = low_bits(entry, shift);
    *size = (low_bits(entry & ~(ENTRY_COPIED | ENTRY_COMPRESSED), 62) >> shift) * 512 + 512 - (*at & 511);
}

/* What an L2 entry refers to is given up. */
static void entry_give(Qcow2 *q, u64 entry) {
    u64 at = entry & OFFSET_MASK, size;
    if (entry & ENTRY_COMPRESSED) {
        compressed_find(q, entry, &at, &size);
        u64 first = at >> q->cluster_bits, last = (at + size - 1) >> q->cluster_bits;
        clusters_give(q, first, last - first + 1);
    } else if (at && is_aligned(q, at)) {
        clusters_give(q, at >> q->cluster_bits, 1);
    }
}

/* --- L2 tables ---------------------------------------------------------------------------- */

static int tables_write(Qcow2 *q);

/* A slot for one more table. With q->lock held; writes all dirty ones out if each is dirty, which needs `change` too. */
static L2Table *slot_find(Qcow2 *q, bool may_write, int *err) {
    L2Table *best = NULL;
    *err = 0;
    for (u32 pass = 0; pass < 2; pass++) {
        for (u32 k = 0; k < q->cache_len; k++) {
            L2Table *t = &q->cache[k];
            if (!t->entry) return t;
            if (!t->dirty && (!best || t->used < best->used)) best = t;
        }
        if (best || pass || !may_write || (*err = tables_write(q))) break;
    }
    if (!best && !*err) *err = -EAGAIN;
    return best;
}

static L2Table *cached_find(Qcow2 *q, u64 index) {
    for (u32 k = 0; k < q->cache_len; k++) {
        L2Table *t = &q->cache[k];
        if (!t->entry || t->index != index) continue;
        t->used = ++q->clock;
        return t;
    }
    return NULL;
}

/* The table of an L1 entry; *out NULL: there is none, all of it is unallocated. With q->lock held. */
static int l2_find(Qcow2 *q, u64 index, bool may_write, L2Table **out) {
    int err = 0;
    *out = cached_find(q, index);
    if (*out) return 0;
    u64 at = index < q->l1_len ? big64(q->l1[index]) & OFFSET_MASK : 0;
    if (!at) return 0;
    if (!is_aligned(q, at)) return -EIO;
    L2Table *t = slot_find(q, may_write, &err);
    if (err) return err;
    if (!t->entry) t->entry = back_alloc(q->cluster_size);
    t->index = index;
    t->used = ++q->clock;
    err = file_get(q->fd, at, t->entry, q->cluster_size);
    if (err) {
        free(t->entry);
        t->entry = NULL;
        return err;
    }
    *out = t;
    return 0;
}

static void l1_put(Qcow2 *q, u64 index, u64 value) {
    q->l1[index] = big64(value);
    q->l1_dirty_first = MIN(q->l1_dirty_first, (u32)index);
    q->l1_dirty_end = MAX(q->l1_dirty_end, (u32)index + 1);
}

/* The table for changing it: made if there is none, copied if a snapshot shares it. With q->lock and `change` held. */
static int l2_own(Qcow2 *q, u64 index, L2Table **out) {
    u64 cluster, old = index < q->l1_len ? big64(q->l1[index]) : 0;
    int err = index < q->l1_len ? l2_find(q, index, true, out) : -EIO;
    if (err || (*out && (old & ENTRY_COPIED))) return err;
    L2Table *t = *out;
    if (!t) t = slot_find(q, true, &err);
    if (!err) err = clusters_take(q, 1, &cluster);
    if (err) return err;
    q->fresh = MAX(q->fresh, cluster + 1);
    if (!*out) {
        if (!t->entry) t->entry = back_alloc(q->cluster_size);
        memset(t->entry, 0, q->cluster_size);
    } else {
        clusters_give(q, (old & OFFSET_MASK) >> q->cluster_bits, 1);
    }
    t->index = index;
    t->used = ++q->clock;
    t->dirty = true;
    l1_put(q, index, cluster << q->cluster_bits | ENTRY_COPIED);
    *out = t;
    return 0;
}

/* The L2 entry of a guest offset, 0: unallocated. Takes q->lock. */
static int entry_read(Qcow2 *q, u64 offset, bool changing, u64 *entry) {
    L2Table *t;
    u64 cluster = offset >> q->cluster_bits;
    pthread_mutex_lock(&q->lock);
    int err = l2_find(q, cluster / q->l2_len, changing, &t);
    *entry = !err && t ? big64(t->entry[cluster % q->l2_len]) : 0;
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* --- flushing ----------------------------------------------------------------------------- */

static int sync_file(Qcow2 *q) { return fdatasync(q->fd) ? -errno : 0; }

/* A table that grew goes to clusters of its own. Their counts may need more blocks: these are in the table then, too. */
static int reftable_place(Qcow2 *q) {
    u64 first, len = 0;
    if (!q->reftable_moved) return 0;
    do { /* counting its clusters may have made it longer once more */
        if (len) clusters_give(q, first, clusters_of(q, len * 8));
        len = q->reftable_len;
        int err = clusters_take(q, clusters_of(q, len * 8), &first);
        if (err) return err;
    } while (q->reftable_len != len);
    q->fresh = MAX(q->fresh, first + clusters_of(q, len * 8));
    q->reftable_at = first << q->cluster_bits;
    q->reftable_dirty_first = 0;
    q->reftable_dirty_end = q->reftable_len;
    return 0;
}

static int refcounts_write(Qcow2 *q) {
    int err = reftable_place(q);
    for (u32 k = 0; k < q->reftable_len && !err; k++) {
        if (!q->refblock_dirty[k]) continue;
        err = file_put(q->fd, q->reftable[k], q->refblock[k], q->cluster_size);
        q->refblock_dirty[k] = err != 0;
    }
    for (u32 k = q->reftable_dirty_first; k < q->reftable_dirty_end && !err; k++) {
        u64 big = big64(q->reftable[k]);
        err = file_put(q->fd, q->reftable_at + 8ull * k, &big, 8);
    }
    if (err) return err;
    q->reftable_dirty_first = ~0u;
    q->reftable_dirty_end = 0;
    return 0;
}

static int l2_write(Qcow2 *q) {
    for (u32 k = 0; k < q->cache_len; k++) {
        L2Table *t = &q->cache[k];
        if (!t->entry || !t->dirty) continue;
        int err = file_put(q->fd, big64(q->l1[t->index]) & OFFSET_MASK, t->entry, q->cluster_size);
        if (err) return err;
        t->dirty = false;
    }
    return 0;
}

static int roots_write(Qcow2 *q) {
    int err = 0;
    if (q->l1_dirty_first < q->l1_dirty_end)
        err = file_put(q->fd, q->l1_at + 8ull * q->l1_dirty_first, q->l1 + q->l1_dirty_first, 8ull * (q->l1_dirty_end - q->l1_dirty_first));
    if (!err && q->reftable_moved) {
        struct {
            u64 at;
            u32 clusters;
        } __attribute__((packed)) place = {big64(q->reftable_at), __builtin_bswap32((u32)clusters_of(q, q->reftable_len * 8ull))};
        err = file_put(q->fd, offsetof(Header, reftable_at), &place, sizeof(place));
    }
    if (err) return err;
    q->l1_dirty_first = ~0u;
    q->l1_dirty_end = 0;
    q->reftable_moved = false;
    return 0;
}

static bool is_dirty(const Qcow2 *q) {
    bool dirty = q->l1_dirty_first < q->l1_dirty_end || q->reftable_moved || q->freed.len || q->reftable_dirty_first < q->reftable_dirty_end;
    for (u32 k = 0; k < q->cache_len && !dirty; k++) dirty = q->cache[k].entry && q->cache[k].dirty;
    for (u32 k = 0; k < q->reftable_len && !dirty; k++) dirty = q->refblock_dirty[k];
    return dirty;
}

/* Steps 1 to 6. With `change` and q->lock held: nobody changes tables meanwhile, readers wait. */
static int tables_write(Qcow2 *q) {
    int err = refcounts_write(q);
    if (!err) err = sync_file(q);
    if (!err) err = l2_write(q);
    if (!err && (q->l1_dirty_first < q->l1_dirty_end || q->reftable_moved)) {
        err = sync_file(q);
        if (!err) err = roots_write(q);
    }
    return err ? err : sync_file(q);
}

/* Step 7. A count that does not go down because it is 0 already was wrong in the file, and is as it should be now. */
static void freed_apply(Qcow2 *q) {
    if (!q->freed.len) return;
    pthread_rwlock_wrlock(&q->busy);
    pthread_mutex_lock(&q->lock);
    for (u32 i = 0; i < q->freed.len; i++) {
        Range r = q->freed.at[i];
        for (u64 c = r.cluster; c < r.cluster + r.count; c++) {
            u64 left = 0;
            if (!count_read(q, c, &left) && left) count_change(q, c, -1);
            if (left == 1) file_zero(q->fd, c << q->cluster_bits, q->cluster_size, true);
        }
    }
    q->freed.len = 0;
    pthread_mutex_unlock(&q->lock);
    pthread_rwlock_unlock(&q->busy);
}

static int flush_locked(Qcow2 *q) {
    pthread_mutex_lock(&q->lock);
    int err = is_dirty(q) ? tables_write(q) : sync_file(q);
    pthread_mutex_unlock(&q->lock);
    if (!err) freed_apply(q);
    return err;
}

static int qcow2_flush(Block *b) {
    Qcow2 *q = (Qcow2 *)b;
    if (b->read_only) return 0;
    pthread_mutex_lock(&q->change);
    int err = flush_locked(q);
    pthread_mutex_unlock(&q->change);
    return err;
}

/* --- reading ------------------------------------------------------------------------------ */

static int backing_read(Qcow2 *q, u64 offset, const struct iovec *iov, u32 len) {
    u64 size = 0, have = q->backing && offset < q->backing->size ? q->backing->size - offset : 0;
    for (u32 i = 0; i < len; i++) {
        struct iovec part = {iov[i].iov_base, MIN(iov[i].iov_len, have > size ? have - size : 0)};
        int err = part.iov_len ? block_read(q->backing, offset + size, &part, 1) : 0;
        if (err) return err;
        memset((u8 *)iov[i].iov_base + part.iov_len, 0, iov[i].iov_len - part.iov_len);
        size += iov[i].iov_len;
    }
    return 0;
}

static bool inflate_cluster(u8 *to, u64 room, const u8 *from, u64 size) {
    z_stream z = {.next_in = (u8 *)from, .avail_in = (uInt)size, .next_out = to, .avail_out = (uInt)room};
    if (inflateInit2(&z, -15) != Z_OK) return false;
    int end = inflate(&z, Z_FINISH);
    bool ok = (end == Z_STREAM_END || end == Z_BUF_ERROR) && !z.avail_out;
    inflateEnd(&z);
    return ok;
}

static bool zstd_cluster(u8 *to, u64 room, const u8 *from, u64 size) {
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer in = {from, size, 0};
    ZSTD_outBuffer out = {to, room, 0};
    bool ok = d != NULL;
    while (ok && out.pos < out.size) {
        size_t before = in.pos, had = out.pos, left = ZSTD_decompressStream(d, &out, &in);
        if (ZSTD_isError(left) || (!left && out.pos < out.size) || (in.pos == before && out.pos == had)) ok = false;
    }
    ZSTD_freeDCtx(d);
    return ok;
}

/* A whole compressed cluster into `to`. */
static int compressed_read(Qcow2 *q, u64 entry, u8 *to) {
    u64 at, size;
    compressed_find(q, entry, &at, &size);
    u8 *packed = back_alloc(size);
    int err = file_get(q->fd, at, packed, size);
    if (!err && !(q->zstd ? zstd_cluster : inflate_cluster)(to, q->cluster_size, packed, size)) err = -EIO;
    free(packed);
    return err;
}

static int compressed_part(Qcow2 *q, u64 entry, u64 in, const struct iovec *iov, u32 len) {
    u8 *whole = back_alloc(q->cluster_size);
    int err = compressed_read(q, entry, whole);
    for (u32 i = 0; i < len && !err; in += iov[i++].iov_len) memcpy(iov[i].iov_base, whole + in, iov[i].iov_len);
    free(whole);
    return err;
}

static void zero_part(const struct iovec *iov, u32 len) {
    for (u32 i = 0; i < len; i++) memset(iov[i].iov_base, 0, iov[i].iov_len);
}

/* Part of a cluster by its L2 entry. With `busy` held. */
static int entry_fetch(Qcow2 *q, u64 entry, u64 offset, const struct iovec *iov, u32 len) {
    u64 in = offset & (q->cluster_size - 1), at = entry & OFFSET_MASK;
    if (entry & ENTRY_COMPRESSED) return compressed_part(q, entry, in, iov, len);
    if (q->version >= 3 && (entry & ENTRY_ZERO)) return zero_part(iov, len), 0;
    if (!at) return backing_read(q, offset, iov, len);
    return is_aligned(q, at) ? file_read(q->fd, at + in, iov, len) : -EIO;
}

static u64 total(const struct iovec *iov, u32 len) {
    u64 size = 0;
    for (u32 i = 0; i < len; i++) size += iov[i].iov_len;
    return size;
}

/* How many bytes from `offset` lie as the first cluster does: in a row in the file, or all unallocated. At least to the end of that cluster. */
static u64 run_size(Qcow2 *q, u64 offset, u64 most, u64 entry) {
    u64 size = MIN(most, q->cluster_size - (offset & (q->cluster_size - 1))), next = 0, at = entry & OFFSET_MASK;
    bool plain = !(entry & (ENTRY_COMPRESSED | ENTRY_ZERO));
    while (plain && size < most) {
        if (at) at += q->cluster_size;
        if (entry_read(q, offset + size, false, &next) || (next & (ENTRY_COMPRESSED | ENTRY_ZERO)) || (next & OFFSET_MASK) != at ||
            ((next ^ entry) & ENTRY_COPIED)) break;
        size += MIN(most - size, q->cluster_size);
    }
    return size;
}

static int qcow2_read(Block *b, u64 offset, const struct iovec *iov, u32 len) {
    Qcow2 *q = (Qcow2 *)b;
    struct iovec *part = back_alloc(len * sizeof(*part));
    u64 done = 0, size = total(iov, len), entry;
    int err = 0;
    while (done < size && !err) {
        pthread_rwlock_rdlock(&q->busy);
        err = entry_read(q, offset + done, false, &entry);
        if (err == -EAGAIN) { /* every table in memory waits to be written */
            pthread_rwlock_unlock(&q->busy);
            err = qcow2_flush(b);
            continue;
        }
        u64 n = err ? 0 : run_size(q, offset + done, size - done, entry);
        if (!err) err = entry_fetch(q, entry, offset + done, part, iov_slice(iov, len, done, n, part));
        pthread_rwlock_unlock(&q->busy);
        done += n;
    }
    free(part);
    return err;
}

/* --- writing ------------------------------------------------------------------------------ */

/* May be overwritten where it is. */
static bool is_own(const Qcow2 *q, u64 entry) {
    return (entry & ENTRY_COPIED) && (entry & OFFSET_MASK) && !(entry & ENTRY_COMPRESSED) && !(q->version >= 3 && (entry & ENTRY_ZERO));
}

/* What the cluster held at [from, to) goes into its new place. Clusters that were never written are zeros already. */
static int copy_old(Qcow2 *q, u64 entry, u64 guest, u64 host, u64 from, u64 to, bool fresh) {
    if (from >= to) return 0;
    bool zeros = !(entry & ENTRY_COMPRESSED) && ((entry & ENTRY_ZERO && q->version >= 3) || (!(entry & OFFSET_MASK) && (!q->backing || guest + from >= q->backing->size)));
    if (zeros) return fresh ? 0 : file_zero(q->fd, host + from, to - from, false);
    u8 *old = back_alloc(to - from);
    int err = entry_fetch(q, entry, guest + from, &(struct iovec){old, to - from}, 1);
    if (!err) err = file_put(q->fd, host + from, old, to - from);
    free(old);
    return err;
}

/* Makes [offset, offset + size), part of one cluster, lie in a cluster of its own. With `change` held, and `busy`. */
static int cluster_write(Qcow2 *q, u64 offset, u64 entry, const struct iovec *iov, u32 len, u64 size) {
    u64 in = offset & (q->cluster_size - 1), guest = offset - in, first = 0;
    L2Table *t;
    bool fresh, again = (entry & ENTRY_COPIED) && (entry & OFFSET_MASK) && !(entry & ENTRY_COMPRESSED); /* a zero cluster that has its place */
    pthread_mutex_lock(&q->lock);
    int err = l2_own(q, (guest >> q->cluster_bits) / q->l2_len, &t);
    if (!err && again) first = (entry & OFFSET_MASK) >> q->cluster_bits;
    else if (!err) err = clusters_take(q, 1, &first);
    fresh = !again && first >= q->fresh;
    if (!err) q->fresh = MAX(q->fresh, first + 1);
    pthread_mutex_unlock(&q->lock);
    u64 host = first << q->cluster_bits;
    if (!err && !is_aligned(q, host)) err = -EIO;
    if (!err) err = copy_old(q, entry, guest, host, 0, in, fresh);
    if (!err) err = file_write(q->fd, host + in, iov, len);
    if (!err) err = copy_old(q, entry, guest, host, in + size, q->cluster_size, fresh);
    pthread_mutex_lock(&q->lock);
    /* Nobody but us changes tables, but readers may have taken this one's slot, had it not been dirty: so look again. */
    if (!err) err = l2_own(q, (guest >> q->cluster_bits) / q->l2_len, &t);
    if (!err) {
        t->entry[(guest >> q->cluster_bits) % q->l2_len] = big64(host | ENTRY_COPIED);
        t->dirty = true;
        if (!again) entry_give(q, entry);
    } else if (first && !again) {
        clusters_give(q, first, 1);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* The same of a run of whole or partial clusters, one by one: the host's file system puts them together. */
static int allocating_write(Qcow2 *q, u64 offset, const struct iovec *iov, u32 len, u64 size) {
    u64 entry;
    pthread_mutex_lock(&q->change);
    pthread_rwlock_rdlock(&q->busy);
    int err = entry_read(q, offset, true, &entry);
    /* Another writer may have been here first. */
    if (!err && is_own(q, entry)) err = file_write(q->fd, (entry & OFFSET_MASK) + (offset & (q->cluster_size - 1)), iov, len);
    else if (!err) err = cluster_write(q, offset, entry, iov, len, size);
    pthread_rwlock_unlock(&q->busy);
    pthread_mutex_unlock(&q->change);
    return err;
}

/* Tries to write in place; false: the cluster must be allocated. *n: bytes that this is about. */
static bool write_in_place(Qcow2 *q, u64 offset, const struct iovec *iov, u32 len, u64 done, u64 size, struct iovec *part, u64 *n, int *err) {
    u64 entry = 0, in = (offset + done) & (q->cluster_size - 1);
    pthread_rwlock_rdlock(&q->busy);
    *err = entry_read(q, offset + done, false, &entry);
    bool own = !*err && is_own(q, entry) && is_aligned(q, entry & OFFSET_MASK);
    *n = own ? run_size(q, offset + done, size - done, entry) : MIN(size - done, q->cluster_size - in);
    if (own) *err = file_write(q->fd, (entry & OFFSET_MASK) + in, part, iov_slice(iov, len, done, *n, part));
    pthread_rwlock_unlock(&q->busy);
    if (*err == -EAGAIN) *err = 0;
    return own || *err;
}

static int qcow2_write(Block *b, u64 offset, const struct iovec *iov, u32 len) {
    Qcow2 *q = (Qcow2 *)b;
    struct iovec *part = back_alloc(len * sizeof(*part));
    u64 done = 0, size = total(iov, len), n;
    int err = 0;
    while (done < size && !err) {
        if (!write_in_place(q, offset, iov, len, done, size, part, &n, &err))
            err = allocating_write(q, offset + done, part, iov_slice(iov, len, done, n, part), n);
        done += n;
    }
    free(part);
    return err;
}

/* --- discarding --------------------------------------------------------------------------- */

/* A whole cluster reads as zeros from now on. With `change` held. */
static int cluster_clear(Qcow2 *q, u64 offset) {
    L2Table *t;
    u64 index = offset >> q->cluster_bits, entry;
    int err = entry_read(q, offset, true, &entry);
    u64 to = q->backing ? ENTRY_ZERO : 0;
    if (err || entry == to) return err;
    if (q->backing && q->version < 3) return -EOPNOTSUPP; /* no way to say so */
    pthread_mutex_lock(&q->lock);
    err = l2_own(q, index / q->l2_len, &t);
    if (!err) {
        t->entry[index % q->l2_len] = big64(to);
        t->dirty = true;
        entry_give(q, entry);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

static int clusters_clear(Qcow2 *q, u64 offset, u64 end) {
    int err = 0;
    pthread_mutex_lock(&q->change);
    for (; offset < end && !err; offset += q->cluster_size) err = cluster_clear(q, offset);
    pthread_mutex_unlock(&q->change);
    return err;
}

static int qcow2_discard(Block *b, u64 offset, u64 size) {
    Qcow2 *q = (Qcow2 *)b;
    u64 first = align_up(offset, q->cluster_size), end = offset + size == b->size ? offset + size : align_down(offset + size, q->cluster_size);
    int err = first < end ? clusters_clear(q, first, end) : 0;
    return err == -EOPNOTSUPP ? 0 : err;
}

static int zeros_put(Qcow2 *q, u64 offset, u64 end) {
    static u8 zeros[65536];
    int err = 0;
    for (u64 n; offset < end && !err; offset += n) {
        n = MIN(end - offset, sizeof(zeros));
        err = qcow2_write(&q->block, offset, &(struct iovec){zeros, n}, 1);
    }
    return err;
}

static int qcow2_zero(Block *b, u64 offset, u64 size, bool unmap) {
    Qcow2 *q = (Qcow2 *)b;
    u64 end = offset + size, first = align_up(offset, q->cluster_size), last = end == b->size ? end : align_down(end, q->cluster_size);
    if (first >= last) return zeros_put(q, offset, end);
    int err = zeros_put(q, offset, first);
    if (!err) err = clusters_clear(q, first, last);
    if (err == -EOPNOTSUPP) err = zeros_put(q, first, last);
    return err ? err : zeros_put(q, last, end);
}

/* --- opening ------------------------------------------------------------------------------ */

static void qcow2_drop(Block *b) {
    Qcow2 *q = (Qcow2 *)b;
    if (!b->read_only && q->cache) qcow2_flush(b);
    if (!b->read_only && q->cache) qcow2_flush(b); /* what the first one freed */
    for (u32 k = 0; k < q->reftable_len && q->refblock; k++) free(q->refblock[k]);
    for (u32 k = 0; k < q->cache_len && q->cache; k++) free(q->cache[k].entry);
    free(q->cache);
    free(q->l1);
    free(q->reftable);
    free(q->refblock);
    free(q->refblock_dirty);
    vec_drop(&q->freed);
    block_drop(q->backing);
    close(q->fd);
    pthread_mutex_destroy(&q->change);
    pthread_mutex_destroy(&q->lock);
    pthread_rwlock_destroy(&q->busy);
    free(q);
}

static const BlockOps ops = {"qcow2", qcow2_read, qcow2_write, qcow2_flush, qcow2_discard, qcow2_zero, qcow2_drop};

static void header_swap(Header *h) {
    u32 *words[] = {&h->version, &h->backing_size, &h->cluster_bits, &h->crypt_method, &h->l1_len, &h->reftable_clusters, &h->snapshots, &h->refcount_order, &h->header_size};
    u64 *longs[] = {&h->backing_offset, &h->size, &h->l1_at, &h->reftable_at, &h->snapshots_at, &h->incompatible, &h->compatible, &h->autoclear};
    for (u32 i = 0; i < ARRAY_LEN(words); i++) *words[i] = __builtin_bswap32(*words[i]);
    for (u32 i = 0; i < ARRAY_LEN(longs); i++) *longs[i] = __builtin_bswap64(*longs[i]);
}

/* What version 2 does not say. */
static void header_complete(Header *h) {
    if (h->version == 2) {
        h->incompatible = h->compatible = h->autoclear = 0;
        h->refcount_order = 4;
        h->header_size = HEADER_V2;
    }
    if (h->header_size < HEADER_ZSTD) h->compression = 0;
}

/* NULL, or what is wrong. */
static const char *header_check(const Header *h, bool read_only) {
    u64 cluster = 1ull << (h->cluster_bits & 31), table = cluster / 8 * cluster;
    if (h->version != 2 && h->version != 3) return "of a version that is not known";
    if (h->cluster_bits < 9 || h->cluster_bits > 21) return "has an impossible size of clusters";
    if (h->crypt_method) return "encrypted, which is not supported";
    if (h->version == 3 && h->header_size < HEADER_V3) return "has a damaged header";
    if (h->incompatible & INCOMPAT_DATA_FILE) return "keeps its data in another file, which is not supported";
    if (h->incompatible & ~(u64)INCOMPAT_KNOWN) return "needs features that are not supported";
    if (!read_only && (h->incompatible & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT))) return "was not closed well: qemu-img check -r all repairs it";
    if (h->compression > 1) return "compressed in a way that is not known";
    if (h->refcount_order > 6) return "has an impossible size of reference counts";
    if (h->size % 512 || h->size > 1ull << 60 || h->l1_len > L1_MAX / 8 || (h->size + table - 1) / table > h->l1_len) return "has an impossible size";
    if (h->l1_at % cluster || h->reftable_at % cluster || !h->reftable_at || (!h->l1_at && h->l1_len)) return "has misplaced tables";
    if (!h->reftable_clusters || h->reftable_clusters > REFTABLE_MAX / cluster) return "has too large a table of reference counts";
    if (h->backing_offset && (h->backing_size > NAME_MAX_SIZE || h->backing_offset > cluster || h->backing_size > cluster - h->backing_offset)) return "has a damaged name of a backing file";
    return NULL;
}

static int tables_load(Qcow2 *q, const Header *h) {
    q->l1_at = h->l1_at;
    q->l1_len = h->l1_len;
    q->l1 = back_alloc(8ull * MAX(h->l1_len, 1u));
    q->reftable_at = h->reftable_at;
    q->reftable_len = (u32)(h->reftable_clusters * q->cluster_size / 8);
    q->reftable = back_alloc(8ull * q->reftable_len);
    q->refblock = back_alloc(q->reftable_len * sizeof(*q->refblock));
    q->refblock_dirty = back_alloc(q->reftable_len);
    q->cache_len = (u32)MAX(L2_CACHE_MAX / q->cluster_size, 4u);
    q->cache_len = MIN(q->cache_len, 256u);
    q->cache = back_alloc(q->cache_len * sizeof(*q->cache));
    int err = file_get(q->fd, q->l1_at, q->l1, 8ull * q->l1_len);
    if (!err) err = file_get(q->fd, q->reftable_at, q->reftable, 8ull * q->reftable_len);
    for (u32 k = 0; k < q->reftable_len; k++) q->reftable[k] = big64(q->reftable[k]) & ~511ull;
    return err;
}

/* The format of the backing file is said in an extension of the header; "": it is not. */
static void backing_format(Qcow2 *q, const Header *h, char *out, size_t size) {
    u64 at = h->header_size, end = MIN(h->backing_offset, q->cluster_size);
    u32 ext[2];
    out[0] = 0;
    while (at + 8 <= end && !file_get(q->fd, at, ext, 8) && ext[0]) {
        u32 len = __builtin_bswap32(ext[1]);
        at += 8;
        if (len > end - at) return;
        if (ext[0] == __builtin_bswap32((u32)EXT_FORMAT) && len < size) {
            if (!file_get(q->fd, at, out, len)) out[len] = 0;
            return;
        }
        at += align_up(len, 8);
    }
}

static bool backing_open(Qcow2 *q, const Header *h, const char *path, char *why, size_t why_size) {
    char name[NAME_MAX_SIZE + 1] = "", format[32];
    if (!h->backing_offset || !h->backing_size) return true;
    if (file_get(q->fd, h->backing_offset, name, h->backing_size)) return back_fail(why, why_size, "%s: cannot be read", path);
    name[h->backing_size] = 0;
    backing_format(q, h, format, sizeof(format));
    const char *plain = strncmp(name, "file:", 5) ? name : name + 5;
    q->backing = block_open_backing(path, plain, format[0] ? format : NULL, q->depth, why, why_size);
    return q->backing != NULL;
}

/* Features that we do not keep up to date are no longer true once we write. */
static int autoclear(Qcow2 *q, const Header *h) {
    u64 none = 0;
    if (q->block.read_only || h->version < 3 || !h->autoclear) return 0;
    return file_put(q->fd, offsetof(Header, autoclear), &none, 8);
}

static Qcow2 *qcow2_new(int fd, bool read_only, u32 depth) {
    Qcow2 *q = back_alloc(sizeof(*q));
    pthread_rwlockattr_t attr;
    q->block = (Block){.ops = &ops, .read_only = read_only};
    q->fd = fd;
    q->depth = depth;
    q->l1_dirty_first = q->reftable_dirty_first = ~0u;
    pthread_mutex_init(&q->change, NULL);
    pthread_mutex_init(&q->lock, NULL);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP); /* flushes must come through */
    pthread_rwlock_init(&q->busy, &attr);
    return q;
}

static bool image_load(Qcow2 *q, const char *path, char *why, size_t why_size) {
    Header h = {0};
    struct stat st;
    if (file_get(q->fd, 0, &h, sizeof(h)) || fstat(q->fd, &st)) return back_fail(why, why_size, "%s: cannot be read", path);
    header_swap(&h);
    header_complete(&h);
    const char *bad = memcmp(h.magic, "QFI\xfb", MAGIC_SIZE) ? "not a qcow2 image" : header_check(&h, q->block.read_only);
    if (bad) return back_fail(why, why_size, "%s: %s", path, bad);
    q->version = h.version;
    q->cluster_bits = h.cluster_bits;
    q->cluster_size = 1ull << h.cluster_bits;
    q->l2_len = q->cluster_size / 8;
    q->refcount_order = h.refcount_order;
    q->zstd = h.compression == 1;
    q->block.size = h.size;
    q->fresh = clusters_of(q, (u64)st.st_size);
    if (tables_load(q, &h)) return back_fail(why, why_size, "%s: cannot be read", path);
    /* Where there is no block of counts all clusters are free, and the header's is not. */
    if (!q->reftable[0] && !q->block.read_only) return back_fail(why, why_size, "%s: has no reference counts: qemu-img check -r all repairs it", path);
    if (autoclear(q, &h)) return back_fail(why, why_size, "%s: cannot be written", path);
    return backing_open(q, &h, path, why, why_size);
}

Block *qcow2_open(int fd, const char *path, bool read_only, u32 depth, char *why, size_t why_size) {
    Qcow2 *q = qcow2_new(fd, read_only, depth);
    if (image_load(q, path, why, why_size)) return &q->block;
    q->block.read_only = true; /* nothing of it may be written back */
    qcow2_drop(&q->block);
    return NULL;
}

/* --- making ------------------------------------------------------------------------------- */

/* Header, refcount table, one refcount block, L1 table: a cluster each, L1 as many as it takes; all else is made when needed. */
static int image_make(int fd, u64 size, const char *backing, const char *format) {
    enum { BITS = 16, CLUSTER = 1 << BITS };
    u64 l1_len = MAX((size + (u64)CLUSTER * CLUSTER / 8 - 1) / ((u64)CLUSTER * CLUSTER / 8), 1), l1_clusters = (l1_len * 8 + CLUSTER - 1) / CLUSTER;
    u8 *first = back_alloc(CLUSTER), *counts = back_alloc(CLUSTER);
    Header h = {.magic = "QFI\xfb", .version = 3, .cluster_bits = BITS, .size = size, .l1_len = (u32)l1_len, .l1_at = 3 * CLUSTER,
                .reftable_at = CLUSTER, .reftable_clusters = 1, .refcount_order = 4, .header_size = HEADER_ZSTD};
    u32 at = HEADER_ZSTD, format_size = backing && format ? (u32)strlen(format) : 0;
    if (format_size) {
        const u32 ext[2] = {__builtin_bswap32((u32)EXT_FORMAT), __builtin_bswap32(format_size)};
        memcpy(first + at, ext, 8);
        memcpy(first + at + 8, format, format_size);
        at += 8 + (u32)align_up(format_size, 8);
    }
    at += 8; /* the end of the extensions */
    if (backing) {
        h.backing_offset = at;
        h.backing_size = (u32)strlen(backing);
        memcpy(first + at, backing, h.backing_size);
    }
    header_swap(&h);
    memcpy(first, &h, HEADER_ZSTD);
    for (u64 k = 0; k < 3 + l1_clusters; k++) counts[2 * k + 1] = 1;
    u64 block_at = big64(2 * CLUSTER);
    int err = l1_len > L1_MAX / 8 ? -EFBIG : file_put(fd, 0, first, CLUSTER);
    if (!err) err = file_put(fd, CLUSTER, &block_at, 8);
    if (!err) err = file_put(fd, 2 * CLUSTER, counts, CLUSTER);
    if (!err && ftruncate(fd, (off_t)((3 + l1_clusters) * CLUSTER))) err = -errno;
    free(first);
    free(counts);
    return err;
}

static u64 backing_size(const char *path, const char *backing, const char *format, char *why, size_t why_size) {
    Block *b = block_open_backing(path, backing, format, 0, why, why_size);
    u64 size = b ? b->size : 0;
    block_drop(b);
    return size;
}

bool block_create_qcow2(const char *path, u64 size, const char *backing, const char *format, char *why, size_t why_size) {
    if (backing && strlen(backing) > NAME_MAX_SIZE) return back_fail(why, why_size, "%s: too long a name", backing);
    if (!size && backing && !(size = backing_size(path, backing, format, why, why_size))) return false;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    int err = image_make(fd, align_up(size, 512), backing, format);
    if (!err && fdatasync(fd)) err = -errno;
    close(fd);
    if (!err) return true;
    unlink(path);
    return back_fail(why, why_size, "%s: %s", path, strerror(-err));
}

Block *qcow2_overlay(int fd, Block *backing, char *why, size_t why_size) {
    int err = image_make(fd, backing->size, NULL, NULL);
    Block *b = err ? NULL : qcow2_open(fd, "the writes of this run", false, 0, why, why_size);
    if (b) {
        ((Qcow2 *)b)->backing = backing;
        return b;
    }
    if (err) {
        back_fail(why, why_size, "no memory for what is written: %s", strerror(-err));
        close(fd);
    }
    block_drop(backing);
    return NULL;
}
