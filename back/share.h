/* SPDX-License-Identifier: Apache-2.0 */
/* back/share: a folder of the host that a guest may use, and nothing outside of it.
 *
 * A ShareFile stands for a file by a descriptor (O_PATH), not by a name: it stays the same file whatever is renamed, and no name that the guest gives is ever
 * resolved over more than one component. Symbolic links are never followed here: the guest reads and follows them in its own tree. Only plain
 * files and folders are opened; devices, sockets and pipes have no meaning across machines. Owners are set if the host allows it.
 * Results: 0 or -errno; sizes where told. Threads: several may use a ShareFile at once, but for share_open, share_create, share_list and share_close, whose caller has it to itself.
 */
#ifndef BACK_SHARE_H
#define BACK_SHARE_H

#include "base/base.h"
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

typedef struct Share Share;
typedef struct ShareFile ShareFile;

/* NULL: why. */
Share *share_new(const char *path, bool read_only, char *why, size_t why_size);
void share_drop(Share *s);

int share_root(Share *s, ShareFile **out);
int share_walk(const ShareFile *from, const char *name, ShareFile **out);
int share_copy(const ShareFile *from, ShareFile **out);
void share_close(ShareFile *f);

/* Where it is, from the shared folder on ("" is that), and back, name by name; for snapshots. share_flags: as opened, without what acts once; -1: not open. */
int share_where(const ShareFile *f, char *to, size_t size);
int share_find(Share *s, const char *where, ShareFile **out);
int share_flags(const ShareFile *f);

int share_stat(const ShareFile *f, struct stat *out);
int share_statfs(const ShareFile *f, struct statfs *out);
/* Length of the target, at most size - 1; a NUL follows. */
i64 share_readlink(const ShareFile *f, char *to, size_t size);

/* flags: O_RDONLY.., O_TRUNC, O_APPEND, O_SYNC, O_DSYNC; others are ignored. A file is opened once. */
int share_open(ShareFile *f, int flags);
/* Makes a plain file in the folder, opens it, and lets `dir` stand for it. */
int share_create(ShareFile *dir, const char *name, int flags, u32 mode, u32 gid);
bool share_is_open(const ShareFile *f);
i64 share_read(ShareFile *f, u64 offset, const struct iovec *iov, u32 len);
i64 share_write(ShareFile *f, u64 offset, const struct iovec *iov, u32 len);
int share_sync(ShareFile *f, bool data_only);

typedef struct ShareEntry {
    u64 ino, next; /* next: offset of what follows */
    u8 type;       /* DT_* */
    const char *name;
} ShareEntry;
/* The entries from `offset` on, until `each` returns false or there are no more. */
int share_list(ShareFile *f, u64 offset, bool (*each)(void *ctx, const ShareEntry *e), void *ctx);

int share_mkdir(const ShareFile *dir, const char *name, u32 mode, u32 gid);
int share_symlink(const ShareFile *dir, const char *name, const char *target, u32 gid);
int share_mknod(const ShareFile *dir, const char *name, u32 mode, u32 gid);
int share_link(const ShareFile *dir, const char *name, const ShareFile *file);
int share_rename(const ShareFile *from, const char *name, const ShareFile *to, const char *new_name);
int share_unlink(const ShareFile *dir, const char *name, bool folder);

int share_chmod(const ShareFile *f, u32 mode);
/* ~0: as it is. */
int share_chown(const ShareFile *f, u32 uid, u32 gid);
int share_truncate(ShareFile *f, u64 size);
/* Access, modification; UTIME_NOW, UTIME_OMIT in tv_nsec. */
int share_times(const ShareFile *f, const struct timespec times[2]);

/* Extended attributes of users ("user.*"; others mean something to the host). Their size, or -errno; `size` 0: only that is asked for. */
i64 share_xattr_get(const ShareFile *f, const char *name, void *to, size_t size);
/* The names, each with its NUL. */
i64 share_xattr_list(const ShareFile *f, char *to, size_t size);
/* flags: XATTR_CREATE, XATTR_REPLACE; `size` 0 removes it. */
int share_xattr_set(const ShareFile *f, const char *name, const void *value, size_t size, int flags);

#endif
