/* SPDX-License-Identifier: Apache-2.0 */
/* Raw disks: a file, or a block device of the host. back/block.h. */
#include "back/block.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Raw {
    Block block;
    int fd;
    bool is_device;
    bool guard; /* nothing may be written that looks like another format's header */
} Raw;

static int raw_read(Block *b, u64 offset, const struct iovec *iov, u32 len) { return file_read(((Raw *)b)->fd, offset, iov, len); }

/* A guest that could make its raw disk look like a qcow2 image would name any file of the host as its backing file, for the next start.
 * The buffers are guest memory, which may change after a look: so what is looked at is a copy, and the copy is written. */
static int guarded_write(Raw *r, const struct iovec *iov, u32 len) {
    u8 start[512];
    struct iovec copy = {start, 0}, part;
    u32 i = 0;
    for (; i < len && copy.iov_len + iov[i].iov_len <= sizeof(start); copy.iov_len += iov[i++].iov_len)
        memcpy(start + copy.iov_len, iov[i].iov_base, iov[i].iov_len);
    size_t some = i < len ? sizeof(start) - copy.iov_len : 0;
    if (some) memcpy(start + copy.iov_len, iov[i].iov_base, some);
    copy.iov_len += some;
    if (copy.iov_len >= 4 && !memcmp(start, "QFI\xfb", 4)) return -EPERM;
    int err = file_write(r->fd, 0, &copy, 1);
    if (err || i == len) return err;
    part = (struct iovec){(u8 *)iov[i].iov_base + some, iov[i].iov_len - some};
    err = file_write(r->fd, copy.iov_len, &part, 1);
    return err ? err : file_write(r->fd, copy.iov_len + part.iov_len, iov + i + 1, len - i - 1);
}

static int raw_write(Block *b, u64 offset, const struct iovec *iov, u32 len) {
    Raw *r = (Raw *)b;
    return r->guard && !offset ? guarded_write(r, iov, len) : file_write(r->fd, offset, iov, len);
}

static int raw_flush(Block *b) { return fdatasync(((Raw *)b)->fd) ? -errno : 0; }

static int raw_discard(Block *b, u64 offset, u64 size) {
    Raw *r = (Raw *)b;
    u64 range[2] = {offset, size};
    if (r->is_device) return ioctl(r->fd, BLKDISCARD, range) && errno != EOPNOTSUPP ? -errno : 0;
    bool failed = fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) != 0;
    return failed && errno != EOPNOTSUPP ? -errno : 0;
}

static int raw_zero(Block *b, u64 offset, u64 size, bool unmap) { return file_zero(((Raw *)b)->fd, offset, size, unmap); }

static void raw_drop(Block *b) {
    close(((Raw *)b)->fd);
    free(b);
}

static const BlockOps ops = {"raw", raw_read, raw_write, raw_flush, raw_discard, raw_zero, raw_drop};

static bool size_find(Raw *r, const char *path, char *why, size_t why_size) {
    struct stat st;
    u64 size = 0;
    if (fstat(r->fd, &st)) return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    if (S_ISREG(st.st_mode)) size = (u64)st.st_size;
    else if (!S_ISBLK(st.st_mode)) return back_fail(why, why_size, "%s: neither a file nor a disk", path);
    else if (ioctl(r->fd, BLKGETSIZE64, &size)) return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    r->is_device = S_ISBLK(st.st_mode);
    r->block.size = align_down(size, 512);
    return true;
}

Block *raw_open(int fd, const char *path, bool read_only, bool guard, char *why, size_t why_size) {
    Raw *r = back_alloc(sizeof(*r));
    r->block = (Block){.ops = &ops, .read_only = read_only};
    r->fd = fd;
    r->guard = guard;
    if (size_find(r, path, why, why_size)) return &r->block;
    raw_drop(&r->block);
    return NULL;
}
