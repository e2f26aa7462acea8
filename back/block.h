/* SPDX-License-Identifier: Apache-2.0 */
/* back/block: disks at the host's side: bytes at offsets, in a raw file or device, or a qcow2 image with what it stands on.
 *
 * Requests are synchronous and may come from any number of threads at once; what overlaps in time has no order. They are checked against
 * the size by the caller (block_check). What block_flush returned 0 for survives the end of this process and of the host. Results: 0 or -errno.
 */
#ifndef BACK_BLOCK_H
#define BACK_BLOCK_H

#include "back/back.h"
#include <sys/uio.h>

typedef struct Block Block;

typedef struct BlockOps {
    const char *format;
    int (*read)(Block *b, u64 offset, const struct iovec *iov, u32 len);
    int (*write)(Block *b, u64 offset, const struct iovec *iov, u32 len);
    int (*flush)(Block *b);
    int (*discard)(Block *b, u64 offset, u64 size);           /* contents become undefined; NULL: does nothing */
    int (*zero)(Block *b, u64 offset, u64 size, bool unmap);  /* unmap: may give the space back */
    void (*drop)(Block *b);
} BlockOps;

struct Block {
    const BlockOps *ops;
    u64 size; /* bytes, a multiple of 512 */
    bool read_only;
};

typedef struct BlockOptions {
    const char *format; /* "raw", "qcow2"; NULL: looked for */
    bool read_only;
    bool snapshot;      /* the image stays as it is; writes are kept elsewhere and lost at the end */
} BlockOptions;

/* NULL: `why` says why. A file that somebody else has open for writing (or, to write, at all) is refused. */
Block *block_open(const char *path, const BlockOptions *options, char *why, size_t why_size);
void block_drop(Block *b);

static inline bool block_check(const Block *b, u64 offset, u64 size) { return offset <= b->size && size <= b->size - offset; }
static inline int block_read(Block *b, u64 offset, const struct iovec *iov, u32 len) { return b->ops->read(b, offset, iov, len); }
static inline int block_write(Block *b, u64 offset, const struct iovec *iov, u32 len) { return b->ops->write(b, offset, iov, len); }
static inline int block_flush(Block *b) { return b->ops->flush(b); }
static inline int block_discard(Block *b, u64 offset, u64 size) { return b->ops->discard ? b->ops->discard(b, offset, size) : 0; }
static inline int block_zero(Block *b, u64 offset, u64 size, bool unmap) { return b->ops->zero(b, offset, size, unmap); }

/* A new qcow2 image of `size` bytes (0: the backing file's). `backing` is named in it as given, and may be NULL. False: why. */
bool block_create_qcow2(const char *path, u64 size, const char *backing, const char *backing_format, char *why, size_t why_size);

/* --- for the formats (raw.c, qcow2.c) ----------------------------------------------------- */

/* Take over `fd`. `guard`: the format was guessed, so nothing may be written that would change the guess. */
Block *raw_open(int fd, const char *path, bool read_only, bool guard, char *why, size_t why_size);
/* `depth`: of images that stand on each other. */
Block *qcow2_open(int fd, const char *path, bool read_only, u32 depth, char *why, size_t why_size);
/* Makes an image in the file `fd` that stands on `backing`, which it takes over; no name is written. */
Block *qcow2_overlay(int fd, Block *backing, char *why, size_t why_size);
/* The image that another stands on: relative names are beside `beside`. */
Block *block_open_backing(const char *beside, const char *name, const char *format, u32 depth, char *why, size_t why_size);

/* Whole transfers; reading behind the end gives zeros. */
int file_read(int fd, u64 offset, const struct iovec *iov, u32 len);
int file_write(int fd, u64 offset, const struct iovec *iov, u32 len);
/* Zeros into a range, by the file system if it can. */
int file_zero(int fd, u64 offset, u64 size, bool unmap);

#endif
