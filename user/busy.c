/* SPDX-License-Identifier: Apache-2.0 */
/* user/busy: bodies. See busy.h. */
#include "user/busy.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef F_OFD_SETLK
enum { F_OFD_GETLK = 36, F_OFD_SETLK = 37 };
#endif

/* Where no program has bytes, and nobody else a lock. */
static const u64 MARK_AT = 0x49736f6d6572ull << 8;
static struct flock mark(short type) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)MARK_AT, .l_len = 1};
}

/* Locks there are a server's matter, which may be slow, or hang. */
static bool on_network(int fd) {
    enum { SMB2 = 0xfe534d42, CIFS = 0xff534d42, CEPH = 0x00c36400, FUSE = 0x65735546 };
    struct statfs s;
    if (sys_call(SYS_fstatfs, fd, &s) < 0) return true;
    switch ((u32)s.f_type) {
    case NFS_SUPER_MAGIC: case SMB_SUPER_MAGIC: case SMB2: case CIFS: case CEPH: case FUSE:
    case V9FS_MAGIC: case AFS_SUPER_MAGIC: case CODA_SUPER_MAGIC: return true;
    }
    return false;
}

void busy_mark(int fd) {
    struct flock l = mark(F_RDLCK);
    if (!on_network(fd)) sys_call(SYS_fcntl, fd, F_OFD_SETLK, &l);
}

/* Does the kernel's list of all locks have a mark of a file with this inode number? Only then is the file opened: that others notice
 * (inotify, leases). Without the list: perhaps. */
static bool listed(u64 ino) {
    char wanted[64], buf[4096 + 1];
    Text t = text_init(wanted, sizeof wanted);
    text_print(&t, ":%lu %lu ", ino, MARK_AT);
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/locks", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return true;
    bool found = false;
    long n;
    for (size_t kept = 0; !found && (n = sys_call(SYS_read, fd, buf + kept, sizeof buf - 1 - kept)) > 0;) {
        size_t size = kept + (size_t)n;
        buf[size] = 0;
        found = strstr(buf, wanted);
        kept = MIN(size, sizeof wanted); /* it may go on in the next piece */
        memmove(buf, buf + size - kept, kept);
    }
    sys_call(SYS_close, fd);
    return found;
}

i64 busy_error(int dirfd, u64 path, bool follow) {
    struct stat st;
    int link = follow ? 0 : AT_SYMLINK_NOFOLLOW;
    /* Almost nothing that is opened for writing is a program: that is seen without opening it. */
    if (sys_call(SYS_newfstatat, dirfd, path, &st, link) < 0) return 0;
    if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111) || !listed(st.st_ino)) return 0;
    int fd = (int)sys_call(SYS_openat, dirfd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) return 0;
    struct flock l = mark(F_WRLCK);
    bool busy = !on_network(fd) && sys_call(SYS_fcntl, fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
    sys_call(SYS_close, fd);
    if (!busy) return 0;
    i64 r = sys_call(SYS_faccessat2, dirfd, path, W_OK, AT_EACCESS | link);
    return r < 0 && r != -ENOSYS ? r : -ETXTBSY;
}
