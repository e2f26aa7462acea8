/* SPDX-License-Identifier: Apache-2.0 */
/* Records as files: machine/record.h. */
#include "machine/record.h"
#include "back/block.h"
#include "base/digest.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

enum { LEVEL = 3, CHUNK = 256 << 10 /* is full */, CHUNK_MAX = RECORD_DATA_MAX + CHUNK, INSIDE = 0x80, HEAD_MAX = 64 /* bytes of an item without its data */ };
static const char magic[8] = "ISOMREC";

typedef struct Header {
    char magic[8];
    u32 version, reserved;
} Header;

typedef struct ChunkHead {
    u32 size, packed; /* bytes, before and after compression */
    Digest digest;    /* of the packed bytes, under the number of the chunk */
} ChunkHead;

struct Record {
    int fd;
    u64 at;     /* in the file */
    u64 chunks; /* so far */
    u64 count;  /* of the last item */
    u8 *buffer, *packed;
    size_t size, room, packed_room; /* of the buffer: used, allocated */
    size_t pos; /* reading */
    ZSTD_CCtx *pack;
    int error;  /* writing: errno of the first failure */
    bool ended, damaged, has_item;
    RecordItem item;
};

/* --- making ------------------------------------------------------------------------------- */

static void buffer_reserve(Record *r, size_t size) {
    if (size <= r->room) return;
    r->room = MAX(size, 2 * r->room);
    r->buffer = realloc(r->buffer, r->room);
    if (!r->buffer) BUG("out of memory");
}

static void packed_reserve(Record *r, size_t size) {
    if (size <= r->packed_room) return;
    free(r->packed);
    r->packed = back_alloc(r->packed_room = size);
}

static Record *record_make(const char *path, int flags, char *why, size_t why_size) {
    Record *r = back_alloc(sizeof(*r));
    r->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600); /* all that the guest was told is in it */
    r->at = sizeof(Header);
    if (r->fd >= 0) return r;
    back_fail(why, why_size, "%s: %s", path, strerror(errno));
    free(r);
    return NULL;
}

static int fd_put(Record *r, const void *data, size_t size, u64 at) { return file_write(r->fd, at, &(struct iovec){(void *)(u64)data, size}, 1); }
static bool fd_get(Record *r, void *data, size_t size, u64 at) {
    ssize_t n;
    do n = pread(r->fd, data, size, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

Record *record_new(const char *path, char *why, size_t why_size) {
    Record *r = record_make(path, O_RDWR | O_CREAT | O_TRUNC, why, why_size);
    Header h = {.version = RECORD_VERSION};
    if (!r) return NULL;
    memcpy(h.magic, magic, sizeof(magic));
    r->pack = ZSTD_createCCtx();
    if (!r->pack) BUG("out of memory");
    ZSTD_CCtx_setParameter(r->pack, ZSTD_c_compressionLevel, LEVEL);
    int err = fd_put(r, &h, sizeof(h), 0);
    if (!err) return r;
    back_fail(why, why_size, "%s: %s", path, strerror(-err));
    record_drop(r);
    return NULL;
}

Record *record_open(const char *path, char *why, size_t why_size) {
    Record *r = record_make(path, O_RDONLY, why, why_size);
    Header h;
    if (!r) return NULL;
    if (!fd_get(r, &h, sizeof(h), 0) || memcmp(h.magic, magic, sizeof(magic))) back_fail(why, why_size, "%s: not a record of a machine", path);
    else if (h.version != RECORD_VERSION) back_fail(why, why_size, "%s: a record of another version of isomer", path);
    else return r;
    record_drop(r);
    return NULL;
}

void record_drop(Record *r) {
    if (!r) return;
    close(r->fd);
    ZSTD_freeCCtx(r->pack);
    free(r->buffer);
    free(r->packed);
    free(r);
}

/* --- writing ------------------------------------------------------------------------------ */

bool record_is_full(const Record *r) { return r->size >= CHUNK; }

bool record_flush(Record *r) {
    if (r->size && !r->error) {
        ChunkHead h = {.size = (u32)r->size};
        packed_reserve(r, ZSTD_compressBound(r->size));
        h.packed = (u32)ZSTD_compress2(r->pack, r->packed, r->packed_room, r->buffer, r->size);
        h.digest = digest_bytes(digest_u64((Digest){0}, r->chunks++), r->packed, h.packed);
        int err = fd_put(r, r->packed, h.packed, r->at + sizeof(h));
        if (!err) err = fd_put(r, &h, sizeof(h), r->at); /* last: what is there of a chunk without it is none */
        r->error = -err;
        r->at += sizeof(h) + h.packed;
    }
    r->size = 0;
    errno = r->error;
    return !r->error;
}

static void number_put(Record *r, u64 v) {
    for (; v >= 128; v >>= 7) r->buffer[r->size++] = (u8)(v | 128);
    r->buffer[r->size++] = (u8)v;
}

void record_put(Record *r, const RecordItem *item) {
    ASSERT(item->size <= RECORD_DATA_MAX && item->count >= r->count);
    if (r->size && r->size + item->size > CHUNK_MAX - HEAD_MAX) record_flush(r);
    buffer_reserve(r, r->size + HEAD_MAX + item->size);
    r->buffer[r->size++] = (u8)(item->kind | (item->inside ? INSIDE : 0));
    r->buffer[r->size++] = item->who;
    r->buffer[r->size++] = item->op;
    r->buffer[r->size++] = item->queue;
    number_put(r, item->count - r->count);
    number_put(r, item->number);
    number_put(r, item->value);
    number_put(r, item->size);
    if (item->size) memcpy(r->buffer + r->size, item->data, item->size);
    r->size += item->size;
    r->count = item->count;
}

/* --- reading ------------------------------------------------------------------------------ */

/* False: there is none, or a damaged one. */
static bool chunk_read(Record *r) {
    ChunkHead h;
    if (!fd_get(r, &h, sizeof(h), r->at)) return false;
    if (!h.size && !h.packed) return false; /* was being written */
    r->damaged = true;
    if (h.size > CHUNK_MAX || h.packed > ZSTD_compressBound(CHUNK_MAX)) return false;
    packed_reserve(r, h.packed);
    buffer_reserve(r, h.size);
    if (!fd_get(r, r->packed, h.packed, r->at + sizeof(h))) return false;
    if (!digest_same(h.digest, digest_bytes(digest_u64((Digest){0}, r->chunks++), r->packed, h.packed))) return false;
    if (ZSTD_decompress(r->buffer, h.size, r->packed, h.packed) != h.size) return false;
    r->damaged = false;
    r->at += sizeof(h) + h.packed;
    r->size = h.size;
    r->pos = 0;
    return true;
}

/* False: the chunk ends before. */
static bool byte_get(Record *r, u8 *v) {
    if (r->pos == r->size) return false;
    *v = r->buffer[r->pos++];
    return true;
}

static bool number_get(Record *r, u64 *v) {
    u8 byte;
    *v = 0;
    for (u32 shift = 0; shift < 64; shift += 7) {
        if (!byte_get(r, &byte)) return false;
        *v |= (u64)(byte & 127) << shift;
        if (!(byte & 128)) return true;
    }
    return false;
}

static bool item_get(Record *r) {
    RecordItem *i = &r->item;
    u8 kind;
    u64 delta, number, size;
    if (!byte_get(r, &kind) || !byte_get(r, &i->who) || !byte_get(r, &i->op) || !byte_get(r, &i->queue)) return false;
    if (!number_get(r, &delta) || !number_get(r, &number) || !number_get(r, &i->value) || !number_get(r, &size)) return false;
    if ((kind & ~INSIDE) >= RECORD_KINDS || delta > ~0ull - r->count || number > ~0u || size > r->size - r->pos || size > RECORD_DATA_MAX) return false;
    i->kind = (RecordKind)(kind & ~INSIDE);
    i->inside = kind & INSIDE;
    i->number = (u32)number;
    i->count = r->count += delta;
    i->data = r->buffer + r->pos;
    i->size = (u32)size;
    r->pos += size;
    return true;
}

const RecordItem *record_next(Record *r) {
    if (r->has_item) return &r->item;
    while (!r->ended && r->pos == r->size) r->ended = !chunk_read(r);
    if (!r->ended && !item_get(r)) r->ended = r->damaged = true;
    r->has_item = !r->ended;
    return r->ended ? NULL : &r->item;
}

void record_take(Record *r) { r->has_item = false; }
bool record_is_damaged(const Record *r) { return r->damaged; }
