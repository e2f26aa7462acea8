/* SPDX-License-Identifier: Apache-2.0 */
/* user/sys_file: system calls about files where layouts differ (struct stat), or where /proc or the VMM's own
 * descriptor is concerned. */
#include "base/sys.h"
#include "user/busy.h"
#include "user/exec.h"
#include "user/proc.h"
#include "user/program.h"
#include "user/syscall.h"
#include "user/tracer.h"
#include "user/uring.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/vfs.h>

typedef struct GuestStat { /* asm-generic/stat.h */
    u64 dev, ino;
    u32 mode, nlink, uid, gid;
    u64 rdev, pad1;
    i64 size;
    i32 blksize, pad2;
    i64 blocks;
    u64 atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    u32 unused[2];
} GuestStat;
_Static_assert(sizeof(GuestStat) == 128, "struct stat of the generic ABI");

static i64 stat_out(u64 to, const struct stat *st) {
    GuestStat g = {.dev = st->st_dev, .ino = st->st_ino, .mode = st->st_mode, .nlink = (u32)st->st_nlink,
                   .uid = st->st_uid, .gid = st->st_gid, .rdev = st->st_rdev, .size = st->st_size,
                   .blksize = (i32)st->st_blksize, .blocks = st->st_blocks,
                   .atime = (u64)st->st_atim.tv_sec, .atime_ns = (u64)st->st_atim.tv_nsec,
                   .mtime = (u64)st->st_mtim.tv_sec, .mtime_ns = (u64)st->st_mtim.tv_nsec,
                   .ctime = (u64)st->st_ctim.tv_sec, .ctime_ns = (u64)st->st_ctim.tv_nsec};
    return guest_write(to, &g, sizeof g);
}

/* A path argument: the host path to use instead, or the guest's own pointer where nothing is to be changed. Sets
 * *exe if it names a guest's executable through /proc. buf: PATH_MAX bytes. */
static u64 path_arg(Thread *t, u64 at, char *buf, bool *exe) {
    char path[PATH_MAX];
    *exe = false;
    const char *prefix = t->process->options->prefix;
    char start[6];
    /* Most paths cannot be special: look at the beginning before copying. */
    if (!at || guest_read(start, at, 1) < 0 || start[0] != '/') return at;
    if (!prefix && (guest_read(start, at, 5) < 0 || memcmp(start, "/proc", 5) != 0)) return at;
    if (guest_read_string(path, sizeof path, at) < 0) return at;
    if (proc_exe(t, path, buf)) {
        *exe = true;
        return (u64)buf;
    }
    const char *host = path_lookup(prefix, path, buf);
    return host == buf ? (u64)buf : at;
}

i64 do_newfstatat(Thread *t, u64 *a) {
    char buf[PATH_MAX];
    bool exe;
    struct stat st;
    u64 path = path_arg(t, a[1], buf, &exe);
    if (exe && (a[3] & AT_SYMLINK_NOFOLLOW)) path = a[1]; /* the link itself */
    i64 r = thread_sys(t, SYS_newfstatat, a[0], path, &st, a[3]);
    return r < 0 ? r : stat_out(a[2], &st);
}

i64 do_fstat(Thread *t, u64 *a) {
    struct stat st;
    if (exec_owns_fd(t, (int)a[0])) return -EBADF;
    i64 r = thread_sys(t, SYS_fstat, a[0], &st);
    return r < 0 ? r : stat_out(a[1], &st);
}

i64 do_statx(Thread *t, u64 *a) {
    char buf[PATH_MAX];
    bool exe;
    u64 path = path_arg(t, a[1], buf, &exe);
    if (exe && (a[2] & AT_SYMLINK_NOFOLLOW)) path = a[1];
    return thread_sys(t, SYS_statx, a[0], path, a[2], a[3], a[4]);
}

/* Opens one of the files that proc.h makes, -ENOSYS if it is none of them. */
static i64 open_special(Thread *t, u64 path_at, int flags) {
    char path[64], start[6];
    if (guest_read(start, path_at, 6) < 0 || memcmp(start, "/proc/", 6) != 0) return -ENOSYS;
    if (guest_read_string(path, sizeof path, path_at) < 0) return -ENOSYS;
    return proc_open(t, path, flags);
}

/* What an open says that would write to a program that runs, else 0. */
static i64 open_busy(u64 dirfd, u64 path, u64 flags) {
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    if (!writes || (flags & O_PATH) || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return 0;
    return busy_error((int)dirfd, path, !(flags & O_NOFOLLOW));
}

i64 do_openat(Thread *t, u64 *a) {
    char buf[PATH_MAX];
    bool exe;
    i64 r = open_special(t, a[1], (int)a[2]);
    if (r != -ENOSYS) return r;
    u64 path = path_arg(t, a[1], buf, &exe);
    if (exe && (a[2] & O_NOFOLLOW)) path = a[1];
    if ((r = open_busy(a[0], path, a[2])) < 0) return r;
    r = thread_sys(t, SYS_openat, a[0], path, a[2], a[3]);
    if (r >= 0 && (a[2] & O_ACCMODE) != O_RDONLY) tracer_opened(t, a[1], (int)r);
    return r;
}

/* struct loop_info has numbers of devices, which are wider on x86-64; what lies behind them is alike. */
typedef struct GuestLoop {
    i32 number;
    u32 device;
    u64 inode;
    u32 rdevice;
    u8 rest[112]; /* lo_offset to lo_encrypt_key */
    u64 init[2];
    u8 reserved[4];
} GuestLoop;
typedef struct HostLoop {
    i32 number;
    u64 device, inode, rdevice;
    u8 rest[112];
    u64 init[2];
    u8 reserved[4];
} HostLoop;
_Static_assert(sizeof(GuestLoop) == 160 && sizeof(HostLoop) == 168, "struct loop_info");

/* Of one into the other, which is zeroed. */
#define LOOP_COPY(to, from) \
    ((to).number = (from).number, (to).inode = (from).inode, memcpy((to).rest, (from).rest, sizeof (to).rest), \
     memcpy((to).init, (from).init, sizeof (to).init), memcpy((to).reserved, (from).reserved, sizeof (to).reserved))

static i64 loop_status(Thread *t, u64 *a) {
    GuestLoop g = {0};
    HostLoop h = {0};
    if ((u32)a[1] == LOOP_SET_STATUS) {
        if (guest_read(&g, a[2], sizeof g) < 0) return -EFAULT;
        LOOP_COPY(h, g);
        h.device = g.device;
        h.rdevice = g.rdevice;
        return thread_sys(t, SYS_ioctl, a[0], a[1], &h);
    }
    i64 r = thread_sys(t, SYS_ioctl, a[0], a[1], &h);
    if (r < 0) return r;
    LOOP_COPY(g, h);
    g.device = (u32)h.device;
    g.rdevice = (u32)h.rdevice;
    return guest_write(a[2], &g, sizeof g);
}

/* --- the VMM's descriptors in /proc/self/fd ------------------------------------------------------------------------ */

/* Is fd a folder whose entries are descriptors? */
static bool lists_fds(int fd) {
    char target[64];
    struct statfs s;
    if (sys_call(SYS_fstatfs, fd, &s) < 0 || s.f_type != PROC_SUPER_MAGIC || proc_fd_target(fd, target, sizeof target) < 0) return false;
    const char *last = strrchr(target, '/');
    return last && (strcmp(last, "/fd") == 0 || strcmp(last, "/fdinfo") == 0);
}

typedef struct Entry { /* the start of a struct linux_dirent64 */
    u64 ino, off;
    u16 size;
    u8 type;
    char name[13];
} Entry;

/* Takes [at, at + size) out of the guest's memory that ends at `end`. */
static i64 close_gap(u64 at, u64 size, u64 end) {
    char buf[512];
    for (u64 from = at + size, n; from < end; from += n) {
        n = MIN(end - from, sizeof buf);
        if (guest_read(buf, from, n) < 0 || guest_write(from - size, buf, n) < 0) return -EFAULT;
    }
    return 0;
}

/* Takes our descriptors out of `size` bytes of entries: what is left of them, or -EFAULT. */
static i64 hide_entries(Thread *t, u64 at, u64 size) {
    Entry e;
    u64 v;
    for (u64 pos = 0; pos + offsetof(Entry, name) + 2 <= size; pos += e.size) {
        const char *end;
        size_t n = MIN(size - pos, sizeof e);
        memset(&e, 0, sizeof e);
        if (guest_read(&e, at + pos, n) < 0 || !e.size || e.size > size - pos) return -EFAULT;
        e.name[sizeof e.name - 1] = 0;
        if (!parse_u64(e.name, &end, &v) || *end || v > INT_MAX || !exec_owns_fd(t, (int)v)) continue;
        if (close_gap(at + pos, e.size, at + size) < 0) return -EFAULT;
        size -= e.size;
        e.size = 0;
    }
    return (i64)size;
}

i64 do_getdents64(Thread *t, u64 *a) {
    i64 r;
    bool some = *exec_self_fd(t) > 2 || t->process->options->engine.log_fd > 2;
    do { /* nothing left is not the end */
        r = thread_sys(t, SYS_getdents64, a[0], a[1], a[2]);
        if (r <= 0 || LIKELY(!some) || !lists_fds((int)a[0])) return r;
        r = hide_entries(t, a[1], (u64)r);
    } while (r == 0);
    return r;
}

i64 do_ioctl(Thread *t, u64 *a) {
    if ((u32)a[1] == LOOP_SET_STATUS || (u32)a[1] == LOOP_GET_STATUS) return loop_status(t, a);
    i64 r = CALL_NOT_OURS;
    if ((a[1] >> 8 & 0xff) == '!') r = seccomp_ioctl(t, (int)a[0], a[1], a[2]);
    else if ((u32)a[1] == PROC_MAP_QUERY) r = proc_map_query(t, (int)a[0], a[2]);
    return r != CALL_NOT_OURS ? r : thread_sys(t, SYS_ioctl, a[0], a[1], a[2]);
}

/* Writes to another process's memory are to be known. */
i64 do_write(Thread *t, u64 *a) {
    i64 r = thread_sys(t, SYS_write, a[0], a[1], a[2]);
    if (UNLIKELY(t->process->tracer) && r > 0) tracer_wrote(t, (int)a[0], (u64)sys_call(SYS_lseek, a[0], 0, SEEK_CUR) - (u64)r, r);
    return r;
}

i64 do_pwrite64(Thread *t, u64 *a) {
    i64 r = thread_sys(t, SYS_pwrite64, a[0], a[1], a[2], a[3]);
    if (UNLIKELY(t->process->tracer)) tracer_wrote(t, (int)a[0], a[3], r);
    return r;
}

i64 do_openat2(Thread *t, u64 *a) {
    char buf[PATH_MAX];
    bool exe;
    struct open_how how;
    u64 path = path_arg(t, a[1], buf, &exe);
    bool known = a[3] >= sizeof how && guest_read(&how, a[2], sizeof how) == 0;
    bool no_links = known && (how.resolve & (RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS));
    /* With restrictions on the look-up ours could go astray where the call would not. */
    i64 busy = known && !how.resolve ? open_busy(a[0], path, how.flags) : 0;
    if (busy < 0) return busy;
    return thread_sys(t, SYS_openat2, a[0], exe && no_links ? a[1] : path, a[2], a[3]);
}

i64 do_truncate(Thread *t, u64 *a) {
    i64 r = busy_error(AT_FDCWD, a[0], true);
    return r < 0 ? r : thread_sys(t, SYS_truncate, a[0], a[1]);
}

i64 do_readlinkat(Thread *t, u64 *a) {
    char buf[PATH_MAX];
    bool exe;
    u64 path = path_arg(t, a[1], buf, &exe);
    if (!exe) return thread_sys(t, SYS_readlinkat, a[0], path, a[2], a[3]);
    if ((i64)a[3] <= 0) return -EINVAL;
    size_t size = MIN(strlen(buf), a[3]);
    i64 r = guest_write(a[2], buf, size);
    return r < 0 ? r : (i64)size;
}

i64 do_fcntl(Thread *t, u64 *a) {
    if (exec_owns_fd(t, (int)a[0])) return -EBADF;
    i64 r = thread_sys(t, SYS_fcntl, a[0], a[1], a[2]);
    bool duplicates = (int)a[1] == F_DUPFD || (int)a[1] == F_DUPFD_CLOEXEC;
    if (duplicates && r >= 0 && UNLIKELY(t->process->rings)) uring_duplicated(t->process, (int)a[0], (int)r);
    return r;
}
