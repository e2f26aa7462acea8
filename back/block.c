/* SPDX-License-Identifier: Apache-2.0 */
/* Opening disks: which format, who else has it open; and transfers that are whole. back/block.h. */
#include "back/block.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEPTH_MAX = 16, PARTS = 64 };

/* --- transfers ---------------------------------------------------------------------------- */

/* Goes over iovecs in groups that the host takes, and over what a short transfer left. */
typedef struct Cursor {
    const struct iovec *iov;
    u32 len, at;
    size_t in; /* bytes of iov[at] that are done */
} Cursor;

static u32 cursor_fill(const Cursor *c, struct iovec *part) {
    u32 n = 0;
    for (u32 i = c->at; i < c->len && n < PARTS; i++, n++) {
        size_t skip = i == c->at ? c->in : 0;
        part[n] = (struct iovec){(u8 *)c->iov[i].iov_base + skip, c->iov[i].iov_len - skip};
    }
    return n;
}

static void cursor_move(Cursor *c, size_t done) {
    while (c->at < c->len && done >= c->iov[c->at].iov_len - c->in) {
        done -= c->iov[c->at++].iov_len - c->in;
        c->in = 0;
    }
    c->in += done;
}

static void cursor_zero(Cursor *c) {
    for (; c->at < c->len; c->at++, c->in = 0) memset((u8 *)c->iov[c->at].iov_base + c->in, 0, c->iov[c->at].iov_len - c->in);
}

int file_read(int fd, u64 offset, const struct iovec *iov, u32 len) {
    Cursor c = {iov, len, 0, 0};
    struct iovec part[PARTS];
    cursor_move(&c, 0);
    while (c.at < len) {
        ssize_t n = preadv(fd, part, (int)cursor_fill(&c, part), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) {
            cursor_zero(&c);
            return 0;
        }
        offset += (u64)n;
        cursor_move(&c, (size_t)n);
    }
    return 0;
}

int file_write(int fd, u64 offset, const struct iovec *iov, u32 len) {
    Cursor c = {iov, len, 0, 0};
    struct iovec part[PARTS];
    cursor_move(&c, 0);
    while (c.at < len) {
        ssize_t n = pwritev(fd, part, (int)cursor_fill(&c, part), (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n ? -errno : -EIO;
        offset += (u64)n;
        cursor_move(&c, (size_t)n);
    }
    return 0;
}

static int zeros_write(int fd, u64 offset, u64 size) {
    static const u8 zeros[65536];
    while (size) {
        struct iovec part = {(void *)zeros, MIN(size, sizeof(zeros))};
        int err = file_write(fd, offset, &part, 1);
        if (err) return err;
        offset += part.iov_len;
        size -= part.iov_len;
    }
    return 0;
}

int file_zero(int fd, u64 offset, u64 size, bool unmap) {
    if (!size) return 0;
    if (unmap && !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size)) return 0;
    if (!fallocate(fd, FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)size)) return 0;
    return zeros_write(fd, offset, size);
}

/* --- opening ------------------------------------------------------------------------------ */

/* A writer wants the file for itself, readers share it. The lock goes with the descriptor. */
static int file_open(const char *path, bool read_only, char *why, size_t why_size) {
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for its other end */
    if (fd < 0) {
        back_fail(why, why_size, "%s: %s", path, strerror(errno));
    } else if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) && errno == EWOULDBLOCK) {
        back_fail(why, why_size, "%s: in use by another machine", path);
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_qcow2(int fd) {
    u8 magic[4];
    return pread(fd, magic, 4, 0) == 4 && !memcmp(magic, "QFI\xfb", 4);
}

static Block *format_open(int fd, const char *path, const char *format, bool read_only, u32 depth, char *why, size_t why_size) {
    bool guessed = !format;
    if (!format) format = is_qcow2(fd) ? "qcow2" : "raw";
    if (!strcmp(format, "qcow2")) return qcow2_open(fd, path, read_only, depth, why, why_size);
    if (!strcmp(format, "raw")) return raw_open(fd, path, read_only, guessed, why, why_size);
    back_fail(why, why_size, "%s: no such format of disks as %s (raw, qcow2)", path, format);
    close(fd);
    return NULL;
}

static Block *snapshot_open(Block *image, char *why, size_t why_size) {
    int fd = memfd_create("isomer-disk", MFD_CLOEXEC);
    if (fd >= 0) return qcow2_overlay(fd, image, why, why_size);
    back_fail(why, why_size, "no memory for what is written: %s", strerror(errno));
    block_drop(image);
    return NULL;
}

Block *block_open(const char *path, const BlockOptions *o, char *why, size_t why_size) {
    bool read_only = o->read_only || o->snapshot;
    int fd = file_open(path, read_only, why, why_size);
    Block *b = fd < 0 ? NULL : format_open(fd, path, o->format, read_only, 0, why, why_size);
    return b && o->snapshot ? snapshot_open(b, why, why_size) : b;
}

/* A guess at the format of a backing file would let a guest that once had it as a raw disk name any file of the host. */
Block *block_open_backing(const char *beside, const char *name, const char *format, u32 depth, char *why, size_t why_size) {
    char path[4096];
    const char *slash = strrchr(beside, '/');
    bool relative = name[0] != '/' && slash;
    if (depth >= DEPTH_MAX) return back_fail(why, why_size, "%s: more than %d images stand on each other", beside, DEPTH_MAX), NULL;
    int n = snprintf(path, sizeof(path), "%.*s%s", relative ? (int)(slash - beside + 1) : 0, beside, name);
    if (n < 0 || (size_t)n >= sizeof(path)) return back_fail(why, why_size, "%s: too long a name of its backing file", beside), NULL;
    int fd = file_open(path, true, why, why_size);
    if (fd < 0) return NULL;
    if (!format && is_qcow2(fd)) {
        back_fail(why, why_size, "%s does not say that its backing file %s is qcow2: qemu-img rebase -u -F qcow2 -b does", beside, path);
        close(fd);
        return NULL;
    }
    return format_open(fd, path, format ? format : "raw", true, depth + 1, why, why_size);
}

void block_drop(Block *b) {
    if (b) b->ops->drop(b);
}
