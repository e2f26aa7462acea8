/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of the host: back/share.h. What the kernel does not do for O_PATH descriptors goes by /proc/self/fd, which leads to the very file. */
#include "back/share.h"
#include "back/back.h"
#include "base/sys.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

struct Share {
    int root;
    bool read_only;
};

struct ShareFile {
    Share *share;
    int path; /* O_PATH */
    int fd;   /* open, or -1 */
    int flags; /* as opened */
};

enum { LIST_SIZE = 32768 };

static int failure(int result) { return result < 0 ? -errno : 0; }

/* One component of a name, and none that leads elsewhere. */
static bool is_name(const char *name) {
    size_t len = strlen(name);
    return len && len <= 255 && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static int writable_name(const ShareFile *dir, const char *name) { return dir->share->read_only ? -EROFS : is_name(name) ? 0 : -EINVAL; }

typedef struct ProcName {
    char text[40];
} ProcName;

static ProcName proc_name(int fd) {
    ProcName n;
    snprintf(n.text, sizeof(n.text), "/proc/self/fd/%d", fd);
    return n;
}

/* --- handles ------------------------------------------------------------------------------ */

/* Guests keep a handle for every file that they know of. */
static void descriptors_raise(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r)) return;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

Share *share_new(const char *path, bool read_only, char *why, size_t why_size) {
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return back_fail(why, why_size, "%s: %s", path, strerror(errno)), NULL;
    Share *s = back_alloc(sizeof(*s));
    *s = (Share){root, read_only};
    descriptors_raise();
    return s;
}

void share_drop(Share *s) {
    if (!s) return;
    close(s->root);
    free(s);
}

static int handle_make(Share *s, int path, ShareFile **out) {
    if (path < 0) return -errno;
    *out = back_alloc(sizeof(**out));
    **out = (ShareFile){s, path, -1, 0};
    return 0;
}

int share_root(Share *s, ShareFile **out) { return handle_make(s, fcntl(s->root, F_DUPFD_CLOEXEC, 0), out); }
int share_copy(const ShareFile *from, ShareFile **out) { return handle_make(from->share, fcntl(from->path, F_DUPFD_CLOEXEC, 0), out); }

int share_walk(const ShareFile *from, const char *name, ShareFile **out) {
    if (!is_name(name)) return -ENOENT;
    return handle_make(from->share, openat(from->path, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), out);
}

void share_close(ShareFile *f) {
    if (f->fd >= 0) close(f->fd);
    close(f->path);
    free(f);
}

int share_flags(const ShareFile *f) { return f->fd < 0 ? -1 : f->flags; }

int share_where(const ShareFile *f, char *to, size_t size) {
    char root[4096], path[4096];
    ssize_t n = readlink(proc_name(f->share->root).text, root, sizeof(root) - 1), m = readlink(proc_name(f->path).text, path, sizeof(path) - 1);
    if (n < 0 || m < 0) return -errno;
    if (n == 1) n = 0; /* the host's whole tree */
    if (m < n || memcmp(root, path, (size_t)n) || (m > n && path[n] != '/')) return -ENOENT;
    size_t rest = (size_t)(m - n) - (m > n);
    if (rest >= size) return -ENAMETOOLONG;
    memcpy(to, path + m - rest, rest);
    to[rest] = 0;
    return 0;
}

int share_find(Share *s, const char *where, ShareFile **out) {
    char name[256];
    ShareFile *next;
    int err = share_root(s, out);
    while (!err && *where) {
        size_t len = strcspn(where, "/");
        if (len >= sizeof(name)) err = -ENAMETOOLONG;
        memcpy(name, where, MIN(len, sizeof(name) - 1));
        name[MIN(len, sizeof(name) - 1)] = 0;
        where += len + (where[len] == '/');
        if (!err) err = share_walk(*out, name, &next);
        share_close(*out);
        if (!err) *out = next;
    }
    return err;
}

/* --- looking ------------------------------------------------------------------------------ */

int share_stat(const ShareFile *f, struct stat *out) { return failure(fstat(f->path, out)); }
int share_statfs(const ShareFile *f, struct statfs *out) { return failure(fstatfs(f->path, out)); }

i64 share_readlink(const ShareFile *f, char *to, size_t size) {
    ssize_t n = readlinkat(f->path, "", to, size - 1);
    if (n < 0) return -errno;
    to[n] = 0;
    return n;
}

int share_list(ShareFile *f, u64 offset, bool (*each)(void *ctx, const ShareEntry *e), void *ctx) {
    _Alignas(8) char buffer[LIST_SIZE];
    if (f->fd < 0) return -EBADF;
    if (lseek(f->fd, (off_t)offset, SEEK_SET) < 0) return -errno;
    for (;;) {
        long n = sys_call(SYS_getdents64, f->fd, buffer, sizeof(buffer));
        if (n <= 0) return (int)n;
        for (long at = 0; at < n;) {
            const SysDirEntry *d = (const void *)(buffer + at);
            if (!each(ctx, &(ShareEntry){d->ino, (u64)d->off, d->type, d->name})) return 0;
            at += d->reclen;
        }
    }
}

/* --- contents ----------------------------------------------------------------------------- */

static int open_flags(int flags) { return (flags & (O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC)) | O_CLOEXEC; }
static bool writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC); }

int share_open(ShareFile *f, int flags) {
    struct stat st;
    int err = share_stat(f, &st);
    if (err) return err;
    if (f->fd >= 0) return -EBUSY;
    /* The descriptor holds the file, so what it is now it is when it is opened. */
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return S_ISLNK(st.st_mode) ? -ELOOP : -ENXIO;
    if (f->share->read_only && writes(flags)) return -EROFS;
    f->fd = open(proc_name(f->path).text, open_flags(flags));
    f->flags = flags & ~(O_TRUNC | O_EXCL);
    return failure(f->fd);
}

/* What was just made gets the mode as the guest said it (its own umask is in it, ours is not meant), and the group, if the host lets us. */
static int entry_settle(int path, u32 mode, u32 gid) {
    struct stat st;
    if (path < 0 || fstat(path, &st)) return -errno;
    if (fchownat(path, "", (uid_t)-1, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) errno = 0;
    return S_ISLNK(st.st_mode) ? 0 : failure(chmod(proc_name(path).text, mode & 07777));
}

static int entry_made(const ShareFile *dir, const char *name, u32 mode, u32 gid) {
    int path = openat(dir->path, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), err = entry_settle(path, mode, gid);
    if (path >= 0) close(path);
    return err;
}

/* Exclusively, so that nothing that is there already is opened by its name: it might be a device. */
int share_create(ShareFile *dir, const char *name, int flags, u32 mode, u32 gid) {
    int err = writable_name(dir, name);
    if (err) return err;
    if (dir->fd >= 0) return -EBUSY;
    int made = openat(dir->path, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (made < 0 && (errno != EEXIST || (flags & O_EXCL))) return -errno;
    ShareFile file = {dir->share, openat(dir->path, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), -1, 0};
    err = file.path < 0 ? -errno : share_open(&file, flags);
    if (!err && made >= 0) err = entry_settle(file.path, mode, gid);
    if (made >= 0) close(made);
    if (!err) {
        close(dir->path);
        *dir = file;
        return 0;
    }
    if (file.fd >= 0) close(file.fd);
    if (file.path >= 0) close(file.path);
    return err;
}

bool share_is_open(const ShareFile *f) { return f->fd >= 0; }

i64 share_read(ShareFile *f, u64 offset, const struct iovec *iov, u32 len) {
    if (f->fd < 0) return -EBADF;
    ssize_t n = preadv(f->fd, iov, (int)MIN(len, 1024u), (off_t)offset);
    return n < 0 ? -errno : n;
}

i64 share_write(ShareFile *f, u64 offset, const struct iovec *iov, u32 len) {
    if (f->fd < 0) return -EBADF;
    ssize_t n = pwritev(f->fd, iov, (int)MIN(len, 1024u), (off_t)offset);
    return n < 0 ? -errno : n;
}

int share_sync(ShareFile *f, bool data_only) {
    if (f->fd < 0) return -EBADF;
    return failure(data_only ? fdatasync(f->fd) : fsync(f->fd));
}

/* --- changing folders --------------------------------------------------------------------- */

int share_mkdir(const ShareFile *dir, const char *name, u32 mode, u32 gid) {
    int err = writable_name(dir, name);
    if (!err) err = failure(mkdirat(dir->path, name, 0700));
    return err ? err : entry_made(dir, name, mode, gid);
}

int share_symlink(const ShareFile *dir, const char *name, const char *target, u32 gid) {
    int err = writable_name(dir, name);
    if (!err) err = failure(symlinkat(target, dir->path, name));
    return err ? err : entry_made(dir, name, 0777, gid);
}

/* Plain files, pipes and sockets: a device node would be the host's device. */
int share_mknod(const ShareFile *dir, const char *name, u32 mode, u32 gid) {
    int err = writable_name(dir, name);
    if (!err && !S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode)) err = -EPERM;
    if (!err) err = failure(mknodat(dir->path, name, (mode & S_IFMT) | 0600, 0));
    return err ? err : entry_made(dir, name, mode, gid);
}

int share_link(const ShareFile *dir, const char *name, const ShareFile *file) {
    int err = writable_name(dir, name);
    return err ? err : failure(linkat(AT_FDCWD, proc_name(file->path).text, dir->path, name, AT_SYMLINK_FOLLOW));
}

int share_rename(const ShareFile *from, const char *name, const ShareFile *to, const char *new_name) {
    int err = writable_name(from, name);
    if (!err) err = writable_name(to, new_name);
    return err ? err : failure(renameat(from->path, name, to->path, new_name));
}

int share_unlink(const ShareFile *dir, const char *name, bool folder) {
    int err = writable_name(dir, name);
    return err ? err : failure(unlinkat(dir->path, name, folder ? AT_REMOVEDIR : 0));
}

/* --- changing files ----------------------------------------------------------------------- */

int share_chmod(const ShareFile *f, u32 mode) {
    struct stat st;
    if (f->share->read_only) return -EROFS;
    int err = share_stat(f, &st);
    if (!err && S_ISLNK(st.st_mode)) err = -EOPNOTSUPP; /* the name below would lead on to its target */
    return err ? err : failure(chmod(proc_name(f->path).text, mode & 07777));
}

/* A host that does not let us give files away keeps them ours; the guest's root expects no failure. */
int share_chown(const ShareFile *f, u32 uid, u32 gid) {
    if (f->share->read_only) return -EROFS;
    int err = failure(fchownat(f->path, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
    return err == -EPERM && geteuid() ? 0 : err;
}

int share_truncate(ShareFile *f, u64 size) {
    struct stat st;
    if (f->share->read_only) return -EROFS;
    int err = share_stat(f, &st);
    if (!err && !S_ISREG(st.st_mode)) err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    return err ? err : failure(truncate(proc_name(f->path).text, (off_t)size));
}

int share_times(const ShareFile *f, const struct timespec times[2]) {
    struct stat st;
    if (f->share->read_only) return -EROFS;
    int err = share_stat(f, &st);
    if (!err && S_ISLNK(st.st_mode)) return 0; /* as share_chmod; nobody misses a link's times */
    return err ? err : failure(utimensat(AT_FDCWD, proc_name(f->path).text, times, 0));
}

/* --- extended attributes ------------------------------------------------------------------ */

static bool is_users(const char *name) { return !strncmp(name, "user.", 5); }

i64 share_xattr_get(const ShareFile *f, const char *name, void *to, size_t size) {
    if (!is_users(name)) return -EOPNOTSUPP;
    ssize_t n = getxattr(proc_name(f->path).text, name, to, size);
    return n < 0 ? -errno : n;
}

i64 share_xattr_list(const ShareFile *f, char *to, size_t size) {
    char names[XATTR_LIST_MAX];
    ssize_t n = listxattr(proc_name(f->path).text, names, sizeof(names));
    i64 done = 0;
    if (n < 0) return -errno;
    for (char *at = names; at < names + n; at += strlen(at) + 1) {
        size_t len = strlen(at) + 1;
        if (!is_users(at)) continue;
        if (size && (size_t)done + len > size) return -ERANGE;
        if (size) memcpy(to + done, at, len);
        done += (i64)len;
    }
    return done;
}

int share_xattr_set(const ShareFile *f, const char *name, const void *value, size_t size, int flags) {
    if (f->share->read_only) return -EROFS;
    if (!is_users(name)) return -EOPNOTSUPP;
    return failure(size ? setxattr(proc_name(f->path).text, name, value, size, flags) : removexattr(proc_name(f->path).text, name));
}
