/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-9p: a folder of the host, by 9P2000.L. [the 9P2000.L protocol, as diod and Linux (net/9p) have it]
 *
 * A request is parsed from a copy of its head; the data of reads and writes moves between guest memory and file directly. A
 * Message is read with get_* and written with put_*: both stop at the end, and `bad` says that somebody wanted more.
 *
 * Several threads do requests at once, and call the host with no lock held, so that a slow file keeps nobody else waiting. A request holds the fids that it
 * names: shared, or alone if it changes what a fid stands for; then it names no other, so nobody waits in a circle. A fid that goes while it is held is
 * out of the table at once and dropped by the last who holds it. A flush waits for requests that came before it, and these never for it. */
#include "back/share.h"
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

enum { QUEUE_SIZE = 128, THREADS = 32, TAG_MAX = 64, HEAD_MAX = 16384, REPLY_MAX = 65536, HEADER = 7, MSIZE_MIN = 4096, MSIZE_MAX = 512000, FIDS_MAX = 1 << 16, BUCKETS = 1024, WALK_MAX = 16, NAME_SIZE = 4097, XATTR_MAX = 65536 };
enum {
    T_STATFS = 8, T_LOPEN = 12, T_LCREATE = 14, T_SYMLINK = 16, T_MKNOD = 18, T_RENAME = 20, T_READLINK = 22, T_GETATTR = 24, T_SETATTR = 26, T_XATTRWALK = 30, T_XATTRCREATE = 32,
    T_READDIR = 40, T_FSYNC = 50, T_LOCK = 52, T_GETLOCK = 54, T_LINK = 70, T_MKDIR = 72, T_RENAMEAT = 74, T_UNLINKAT = 76, T_VERSION = 100,
    T_ATTACH = 104, T_FLUSH = 108, T_WALK = 110, T_READ = 116, T_WRITE = 118, T_CLUNK = 120, T_REMOVE = 122, R_LERROR = 7,
};
enum { SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_SIZE = 8, SET_ATIME = 16, SET_MTIME = 32, SET_ATIME_GIVEN = 128, SET_MTIME_GIVEN = 256 };
enum { QID_DIR = 0x80, QID_LINK = 0x02, LOCK_SUCCESS = 0, LOCK_UNLOCKED = 2, UNLINK_FOLDER = 0x200 };
static const u64 attr_basic = 0x7ff;

/* An extended attribute (or their names) is read and written through a fid of its own; written, it is set when the fid goes. */
typedef struct Xattr {
    bool set;
    int flags;
    u32 size, len; /* len: of what is to be set, what has come */
    char name[256];
    u8 bytes[];
} Xattr;

typedef struct Fid Fid;
struct Fid {
    Fid *next; /* in its bucket */
    u32 id;
    u32 holders;
    bool alone; /* the one holder wants to be the only one */
    bool gone;  /* out of the table */
    ShareFile *file;
    Xattr *xattr; /* NULL: the fid stands for the file */
};

typedef struct Message {
    u8 *at;
    u32 size, pos;
    bool bad;
} Message;

typedef struct Room Room;
struct Room { /* a request's memory, kept for the next one */
    Room *next;
    u8 head[HEAD_MAX], reply[REPLY_MAX];
};

typedef struct Request Request;
struct Request { /* one message on its way */
    Virtio9p *d;
    const VirtChain *chain;
    Room *room;
    Message in, out;
    u64 data; /* bytes that went straight into the chain behind `out` */
    Fid *held[2];
    u32 held_len;
    u16 tag;
    Request *next; /* that came before it and is under way, too */
};

struct Virtio9p {
    Virtio virtio;
    Share *share;
    VirtWorker *worker;
    u32 msize;    /* atomic */
    u64 root_dev; /* atomic */
    pthread_mutex_t lock; /* of what follows, and of what fids say of their holders */
    pthread_cond_t changed;
    u32 fid_len;
    Fid *bucket[BUCKETS];
    Room *rooms;
    Request *under_way; /* the newest first */
};

/* --- messages ----------------------------------------------------------------------------- */

static u64 get(Message *m, u32 bytes) {
    u64 v = 0;
    if (bytes > m->size - m->pos) {
        m->bad = true;
        return 0;
    }
    memcpy(&v, m->at + m->pos, bytes);
    m->pos += bytes;
    return v;
}
static u32 get32(Message *m) { return (u32)get(m, 4); }
static u64 get64(Message *m) { return get(m, 8); }

/* A text of at most NAME_SIZE - 1 bytes, without a NUL in it. */
static void get_text(Message *m, char *to) {
    u32 len = (u32)get(m, 2);
    to[0] = 0;
    if (m->bad || len > m->size - m->pos || len >= NAME_SIZE || memchr(m->at + m->pos, 0, len)) {
        m->bad = true;
        return;
    }
    memcpy(to, m->at + m->pos, len);
    to[len] = 0;
    m->pos += len;
}

static void put(Message *m, u64 v, u32 bytes) {
    if (bytes > m->size - m->pos) {
        m->bad = true;
        return;
    }
    memcpy(m->at + m->pos, &v, bytes);
    m->pos += bytes;
}
static void put_text(Message *m, const char *text) {
    u32 len = (u32)strlen(text);
    put(m, len, 2);
    for (u32 i = 0; i < len; i++) put(m, (u8)text[i], 1);
}

/* Numbers of files are unique in one file system of the host; files of others are told apart by its number on top. */
static u64 qid_path(const Virtio9p *d, const struct stat *st) { return st->st_dev == __atomic_load_n(&d->root_dev, __ATOMIC_RELAXED) ? st->st_ino : st->st_ino ^ hash_u64(st->st_dev) << 40; }

static void put_qid(Request *r, const struct stat *st) {
    put(&r->out, S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_LINK : 0, 1);
    put(&r->out, (u32)(st->st_mtim.tv_sec ^ st->st_mtim.tv_nsec ^ st->st_size << 8), 4);
    put(&r->out, qid_path(r->d, st), 8);
}

static int put_file_qid(Request *r, const ShareFile *f) {
    struct stat st;
    int err = share_stat(f, &st);
    if (!err) put_qid(r, &st);
    return err;
}

/* --- fids --------------------------------------------------------------------------------- */

/* With the lock held. */
static Fid **fid_slot(Virtio9p *d, u32 id) {
    Fid **at = &d->bucket[hash_u64(id) % BUCKETS];
    while (*at && (*at)->id != id) at = &(*at)->next;
    return at;
}

static void fid_free(Fid *f) {
    share_close(f->file);
    free(f->xattr);
    free(f);
}

typedef enum Hold { HOLD, HOLD_ALONE, HOLD_TO_WRITE /* alone if it is an attribute that is written */ } Hold;

/* The fid that comes next in the message, held until the request ends; NULL: there is none. */
static Fid *hold_fid(Request *r, Hold how) {
    Virtio9p *d = r->d;
    u32 id = get32(&r->in);
    Fid *f;
    bool alone = false;
    pthread_mutex_lock(&d->lock);
    while ((f = *fid_slot(d, id))) {
        alone = how == HOLD_ALONE || (how == HOLD_TO_WRITE && f->xattr);
        if (!f->holders || !(f->alone || alone)) break;
        pthread_cond_wait(&d->changed, &d->lock);
    }
    if (f) {
        ASSERT(r->held_len < ARRAY_LEN(r->held) && !(alone && r->held_len));
        f->holders++;
        f->alone = alone;
        r->held[r->held_len++] = f;
    }
    pthread_mutex_unlock(&d->lock);
    return f;
}

/* Likewise its file; attributes have none. */
static ShareFile *get_fid_how(Request *r, Hold how) {
    const Fid *f = hold_fid(r, how);
    return f && !f->xattr ? f->file : NULL;
}
static ShareFile *get_fid(Request *r) { return get_fid_how(r, HOLD); }

static void let_go(Request *r) {
    for (u32 k = 0; k < r->held_len; k++) {
        Fid *f = r->held[k];
        pthread_mutex_lock(&r->d->lock);
        bool last = !--f->holders;
        if (last) f->alone = false;
        pthread_cond_broadcast(&r->d->changed);
        bool drop = last && f->gone;
        pthread_mutex_unlock(&r->d->lock);
        if (drop) fid_free(f);
    }
    r->held_len = 0;
}

/* Takes file and attribute (or NULL) over, also if it fails. */
static int fid_add(Virtio9p *d, u32 id, ShareFile *file, Xattr *xattr) {
    Fid *f = back_alloc(sizeof(Fid));
    *f = (Fid){.id = id, .file = file, .xattr = xattr};
    pthread_mutex_lock(&d->lock);
    Fid **slot = fid_slot(d, id);
    int err = *slot ? -EBADF : d->fid_len >= FIDS_MAX ? -EMFILE : 0;
    if (!err) *slot = f, d->fid_len++;
    pthread_mutex_unlock(&d->lock);
    if (err) fid_free(f);
    return err;
}

static int fid_drop(Virtio9p *d, u32 id) {
    pthread_mutex_lock(&d->lock);
    Fid **slot = fid_slot(d, id), *f = *slot;
    bool held = f && f->holders;
    if (f) {
        *slot = f->next;
        f->gone = true;
        d->fid_len--;
        pthread_cond_broadcast(&d->changed); /* who waited for it will not find it */
    }
    pthread_mutex_unlock(&d->lock);
    if (f && !held) fid_free(f);
    return f ? 0 : -EBADF;
}

static void fids_drop(Virtio9p *d) {
    for (u32 k = 0; k < BUCKETS; k++)
        for (bool more = true; more;) {
            pthread_mutex_lock(&d->lock);
            u32 id = d->bucket[k] ? d->bucket[k]->id : 0;
            more = d->bucket[k];
            pthread_mutex_unlock(&d->lock);
            if (more) fid_drop(d, id);
        }
}

/* --- requests: 0 or -errno ---------------------------------------------------------------- */

static int do_version(Request *r) {
    char version[NAME_SIZE];
    u32 msize = get32(&r->in);
    get_text(&r->in, version);
    if (msize < MSIZE_MIN) return -EINVAL;
    fids_drop(r->d);
    msize = MIN(msize, (u32)MSIZE_MAX);
    __atomic_store_n(&r->d->msize, msize, __ATOMIC_RELAXED);
    put(&r->out, msize, 4);
    put_text(&r->out, strcmp(version, "9P2000.L") ? "unknown" : version);
    return 0;
}

static int do_attach(Request *r) {
    ShareFile *root;
    struct stat st;
    u32 id = get32(&r->in);
    int err = share_root(r->d->share, &root);
    if (err) return err;
    err = share_stat(root, &st);
    if (err) return share_close(root), err;
    __atomic_store_n(&r->d->root_dev, st.st_dev, __ATOMIC_RELAXED);
    put_qid(r, &st);
    return fid_add(r->d, id, root, NULL);
}

/* All names, or as many as there are files of; the new fid is made only if all are. [9P walk(5)] */
static int do_walk(Request *r) {
    char name[NAME_SIZE];
    const Fid *f = hold_fid(r, HOLD);
    ShareFile *from = f && !f->xattr ? f->file : NULL, *at = NULL, *next;
    u32 id = get32(&r->in), count = (u32)get(&r->in, 2), done = 0, count_pos = r->out.pos;
    if (!from) return -EBADF;
    if (count > WALK_MAX || r->in.bad) return -EINVAL;
    int err = share_copy(from, &at);
    put(&r->out, 0, 2);
    for (; !err && done < count; done++) {
        get_text(&r->in, name);
        err = r->in.bad ? -EINVAL : share_walk(at, name, &next);
        if (err) break;
        share_close(at);
        at = next;
        err = put_file_qid(r, at);
    }
    memcpy(r->out.at + count_pos, &done, 2);
    if (err || done < count) {
        if (at) share_close(at);
        return done ? 0 : err;
    }
    /* A fid may walk itself: then it is replaced. */
    if (f->id == id) fid_drop(r->d, id);
    return fid_add(r->d, id, at, NULL);
}

/* The protocol's flags have Linux's values on x86-64, whatever the guest's are. */
static int host_flags(u32 flags) { return (int)(flags & (3 | 0200 | 01000 | 02000 | 010000 | 04010000)); }

static int do_lopen(Request *r) {
    ShareFile *f = get_fid_how(r, HOLD_ALONE);
    int err = f ? share_open(f, host_flags(get32(&r->in)) & ~O_EXCL) : -EBADF;
    if (!err) err = put_file_qid(r, f);
    put(&r->out, 0, 4); /* no limit of one transfer but msize */
    return err;
}

static int do_lcreate(Request *r) {
    char name[NAME_SIZE];
    ShareFile *f = get_fid_how(r, HOLD_ALONE);
    get_text(&r->in, name);
    u32 flags = get32(&r->in), mode = get32(&r->in), gid = get32(&r->in);
    if (!f || r->in.bad) return f ? -EINVAL : -EBADF;
    int err = share_create(f, name, host_flags(flags), mode, gid);
    if (!err) err = put_file_qid(r, f);
    put(&r->out, 0, 4);
    return err;
}

/* Room for data behind the `head` bytes of the reply, if the driver asked for `count`. */
static u64 data_room(const Request *r, u32 count, u32 head) {
    u64 room = MIN(r->chain->in_size, (u64)__atomic_load_n(&r->d->msize, __ATOMIC_RELAXED));
    return room > head ? MIN((u64)count, room - head) : 0;
}

static i64 xattr_read(const Request *r, const Xattr *x, u64 offset, u64 size) {
    if (x->set || offset > x->size) return -EINVAL;
    return (i64)virt_chain_write(r->chain, HEADER + 4, x->bytes + offset, MIN(size, x->size - offset));
}

static int do_read(Request *r) {
    struct iovec iov[VIRTQ_SIZE_MAX];
    const Fid *f = hold_fid(r, HOLD);
    u64 offset = get64(&r->in), size = data_room(r, get32(&r->in), HEADER + 4);
    if (!f) return -EBADF;
    i64 n = 0;
    if (f->xattr) n = xattr_read(r, f->xattr, offset, size);
    else if (size) n = share_read(f->file, offset, iov, virt_chain_slice(r->chain, true, HEADER + 4, size, iov));
    if (n < 0) return (int)n;
    put(&r->out, (u64)n, 4);
    r->data = (u64)n;
    return 0;
}

/* From the start on, without holes. */
static i64 xattr_write(const Request *r, Xattr *x, u64 offset, u64 size) {
    if (!x->set || offset != x->len || size > x->size - x->len) return -EINVAL;
    x->len += (u32)virt_chain_read(r->chain, r->in.pos, x->bytes + offset, size);
    return (i64)size;
}

static int do_write(Request *r) {
    struct iovec iov[VIRTQ_SIZE_MAX];
    const Fid *f = hold_fid(r, HOLD_TO_WRITE);
    u64 offset = get64(&r->in), count = get32(&r->in), have = r->chain->out_size - MIN(r->chain->out_size, (u64)r->in.pos);
    if (!f) return -EBADF;
    if (count > have) return -EINVAL;
    i64 n = 0;
    if (f->xattr) n = xattr_write(r, f->xattr, offset, count);
    else if (count) n = share_write(f->file, offset, iov, virt_chain_slice(r->chain, false, r->in.pos, count, iov));
    if (n < 0) return (int)n;
    put(&r->out, (u64)n, 4);
    return 0;
}

typedef struct Listing {
    Request *r;
    u32 end; /* of the reply */
} Listing;

static bool entry_put(void *ctx, const ShareEntry *e) {
    Listing *l = ctx;
    Message *m = &l->r->out;
    u32 len = (u32)strlen(e->name);
    if (m->pos + 13 + 8 + 1 + 2 + len > l->end) return false;
    put(m, e->type == DT_DIR ? QID_DIR : e->type == DT_LNK ? QID_LINK : 0, 1);
    put(m, 0, 4);
    put(m, e->ino, 8);
    put(m, e->next, 8);
    put(m, e->type, 1);
    put_text(m, e->name);
    return true;
}

static int do_readdir(Request *r) {
    ShareFile *f = get_fid_how(r, HOLD_ALONE); /* a folder has one position */
    u64 offset = get64(&r->in), room = data_room(r, get32(&r->in), HEADER + 4);
    u32 start = r->out.pos;
    Listing l = {r, start + 4 + (u32)MIN(room, (u64)(REPLY_MAX - HEADER - 4))};
    if (!f) return -EBADF;
    put(&r->out, 0, 4);
    int err = share_list(f, offset, entry_put, &l);
    u32 size = r->out.pos - start - 4;
    memcpy(r->out.at + start, &size, 4);
    return err;
}

static int do_getattr(Request *r) {
    struct stat st;
    ShareFile *f = get_fid(r);
    int err = f ? share_stat(f, &st) : -EBADF;
    if (err) return err;
    put(&r->out, attr_basic, 8);
    put_qid(r, &st);
    put(&r->out, st.st_mode, 4);
    put(&r->out, st.st_uid, 4);
    put(&r->out, st.st_gid, 4);
    const u64 rest[] = {st.st_nlink, st.st_rdev, (u64)st.st_size, (u64)st.st_blksize, (u64)st.st_blocks, (u64)st.st_atim.tv_sec, (u64)st.st_atim.tv_nsec,
                        (u64)st.st_mtim.tv_sec, (u64)st.st_mtim.tv_nsec, (u64)st.st_ctim.tv_sec, (u64)st.st_ctim.tv_nsec, 0, 0, 0, 0};
    for (u32 k = 0; k < ARRAY_LEN(rest); k++) put(&r->out, rest[k], 8);
    return 0;
}

static struct timespec time_of(u32 valid, u32 set, u32 given, u64 s, u64 ns) {
    if (!(valid & set)) return (struct timespec){0, UTIME_OMIT};
    return valid & given ? (struct timespec){(time_t)s, (long)MIN(ns, 999999999ull)} : (struct timespec){0, UTIME_NOW};
}

static int do_setattr(Request *r) {
    ShareFile *f = get_fid(r);
    u32 valid = get32(&r->in), mode = get32(&r->in), uid = get32(&r->in), gid = get32(&r->in);
    u64 size = get64(&r->in), t[4];
    for (u32 k = 0; k < 4; k++) t[k] = get64(&r->in);
    if (!f || r->in.bad) return f ? -EINVAL : -EBADF;
    int err = valid & SET_MODE ? share_chmod(f, mode) : 0;
    if (!err && (valid & (SET_UID | SET_GID))) err = share_chown(f, valid & SET_UID ? uid : ~0u, valid & SET_GID ? gid : ~0u);
    if (!err && (valid & SET_SIZE)) err = share_truncate(f, size);
    const struct timespec times[2] = {time_of(valid, SET_ATIME, SET_ATIME_GIVEN, t[0], t[1]), time_of(valid, SET_MTIME, SET_MTIME_GIVEN, t[2], t[3])};
    if (!err && (valid & (SET_ATIME | SET_MTIME))) err = share_times(f, times);
    return err;
}

static int do_statfs(Request *r) {
    struct statfs s;
    ShareFile *f = get_fid(r);
    int err = f ? share_statfs(f, &s) : -EBADF;
    if (err) return err;
    put(&r->out, 0x01021997, 4); /* V9FS_MAGIC */
    put(&r->out, (u32)s.f_bsize, 4);
    const u64 rest[] = {s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, 0};
    for (u32 k = 0; k < ARRAY_LEN(rest); k++) put(&r->out, rest[k], 8);
    put(&r->out, (u32)s.f_namelen, 4);
    return 0;
}

static int do_readlink(Request *r) {
    char target[NAME_SIZE];
    ShareFile *f = get_fid(r);
    i64 n = f ? share_readlink(f, target, sizeof(target)) : -EBADF;
    if (n < 0) return (int)n;
    put_text(&r->out, target);
    return 0;
}

/* What was just made by a name: its qid. */
static int put_new_qid(Request *r, const ShareFile *dir, const char *name) {
    ShareFile *f;
    int err = share_walk(dir, name, &f);
    if (err) return err;
    err = put_file_qid(r, f);
    share_close(f);
    return err;
}

static int do_mkdir(Request *r) {
    char name[NAME_SIZE];
    ShareFile *dir = get_fid(r);
    get_text(&r->in, name);
    u32 mode = get32(&r->in), gid = get32(&r->in);
    if (!dir || r->in.bad) return dir ? -EINVAL : -EBADF;
    int err = share_mkdir(dir, name, mode, gid);
    return err ? err : put_new_qid(r, dir, name);
}

static int do_symlink(Request *r) {
    char name[NAME_SIZE], target[NAME_SIZE];
    ShareFile *dir = get_fid(r);
    get_text(&r->in, name);
    get_text(&r->in, target);
    u32 gid = get32(&r->in);
    if (!dir || r->in.bad) return dir ? -EINVAL : -EBADF;
    int err = share_symlink(dir, name, target, gid);
    return err ? err : put_new_qid(r, dir, name);
}

static int do_mknod(Request *r) {
    char name[NAME_SIZE];
    ShareFile *dir = get_fid(r);
    get_text(&r->in, name);
    u32 mode = get32(&r->in);
    get64(&r->in); /* of a device: share.h */
    u32 gid = get32(&r->in);
    if (!dir || r->in.bad) return dir ? -EINVAL : -EBADF;
    int err = share_mknod(dir, name, mode, gid);
    return err ? err : put_new_qid(r, dir, name);
}

static int do_link(Request *r) {
    char name[NAME_SIZE];
    ShareFile *dir = get_fid(r), *file = get_fid(r);
    get_text(&r->in, name);
    return !dir || !file ? -EBADF : r->in.bad ? -EINVAL : share_link(dir, name, file);
}

static int do_renameat(Request *r) {
    char name[NAME_SIZE], new_name[NAME_SIZE];
    ShareFile *from = get_fid(r);
    get_text(&r->in, name);
    ShareFile *to = get_fid(r);
    get_text(&r->in, new_name);
    return !from || !to ? -EBADF : r->in.bad ? -EINVAL : share_rename(from, name, to, new_name);
}

static int do_unlinkat(Request *r) {
    char name[NAME_SIZE];
    ShareFile *dir = get_fid(r);
    get_text(&r->in, name);
    u32 flags = get32(&r->in);
    return !dir ? -EBADF : r->in.bad ? -EINVAL : share_unlink(dir, name, flags & UNLINK_FOLDER);
}

static int do_fsync(Request *r) {
    ShareFile *f = get_fid(r);
    return f ? share_sync(f, get32(&r->in) != 0) : -EBADF;
}

/* Locks are the guest's own: its kernel keeps them, and no other machine is asked. */
static int do_lock(Request *r) {
    put(&r->out, LOCK_SUCCESS, 1);
    return get_fid(r) ? 0 : -EBADF;
}

static int do_getlock(Request *r) {
    char client[NAME_SIZE];
    ShareFile *f = get_fid(r);
    get(&r->in, 1);
    u64 start = get64(&r->in), length = get64(&r->in), process = get32(&r->in);
    get_text(&r->in, client);
    put(&r->out, LOCK_UNLOCKED, 1);
    put(&r->out, start, 8);
    put(&r->out, length, 8);
    put(&r->out, process, 4);
    put_text(&r->out, client);
    return f ? 0 : -EBADF;
}

/* Copies what is there now: `size` was its size before. */
static int xattr_fill(const ShareFile *f, Xattr *x) {
    i64 n = x->name[0] ? share_xattr_get(f, x->name, x->bytes, x->size) : share_xattr_list(f, (char *)x->bytes, x->size);
    if (x->size && n > 0) x->size = (u32)n;
    return n < 0 ? (int)n : 0;
}

static Xattr *xattr_new(const char *name, u32 size) {
    Xattr *x = back_alloc(sizeof(*x) + size);
    strcpy(x->name, name);
    x->size = size;
    return x;
}

/* A new fid to read an attribute, or, if it has no name, the names of all. */
static int do_xattrwalk(Request *r) {
    char name[NAME_SIZE];
    ShareFile *f = get_fid(r), *copy;
    u32 id = get32(&r->in);
    get_text(&r->in, name);
    if (!f || r->in.bad || strlen(name) > 255) return f ? -EINVAL : -EBADF;
    i64 size = name[0] ? share_xattr_get(f, name, NULL, 0) : share_xattr_list(f, NULL, 0);
    if (size < 0 || size > XATTR_MAX) return size < 0 ? (int)size : -E2BIG;
    Xattr *x = xattr_new(name, (u32)size);
    int err = xattr_fill(f, x);
    if (!err) err = share_copy(f, &copy);
    if (err) return free(x), err;
    put(&r->out, x->size, 8);
    return fid_add(r->d, id, copy, x);
}

/* The fid becomes one to write an attribute. */
static int do_xattrcreate(Request *r) {
    char name[NAME_SIZE];
    Fid *f = hold_fid(r, HOLD_ALONE);
    get_text(&r->in, name);
    u64 size = get64(&r->in);
    int flags = (int)get32(&r->in);
    if (!f) return -EBADF;
    if (r->in.bad || f->xattr || !name[0] || strlen(name) > 255) return -EINVAL;
    if (size > XATTR_MAX) return -E2BIG;
    f->xattr = xattr_new(name, (u32)size);
    f->xattr->set = true;
    f->xattr->flags = flags;
    return 0;
}

static int do_clunk(Request *r) {
    const Fid *f = hold_fid(r, HOLD_TO_WRITE);
    const Xattr *x = f ? f->xattr : NULL;
    int err = x && x->set && x->len == x->size ? share_xattr_set(f->file, x->name, x->bytes, x->size, x->flags) : 0;
    return f ? (fid_drop(r->d, f->id), err) : -EBADF;
}

/* Drivers of this protocol have unlinkat; a remove only loses its fid. */
static int do_remove(Request *r) {
    fid_drop(r->d, get32(&r->in));
    return -EOPNOTSUPP;
}

/* The old one is answered first, as if there were no flush: a call of the host's cannot be taken back. */
static int do_flush(Request *r) {
    u16 tag = (u16)get(&r->in, 2);
    pthread_mutex_lock(&r->d->lock);
    for (const Request *old = r->next; old;) {
        if (old->tag != tag) {
            old = old->next;
            continue;
        }
        pthread_cond_wait(&r->d->changed, &r->d->lock);
        old = r->next;
    }
    pthread_mutex_unlock(&r->d->lock);
    return 0;
}

static int request_do(Request *r, u8 type) {
    virtio_trace(&r->d->virtio, "request: type, size", type, r->in.size);
    switch (type) {
    case T_VERSION: return do_version(r);
    case T_ATTACH: return do_attach(r);
    case T_WALK: return do_walk(r);
    case T_LOPEN: return do_lopen(r);
    case T_LCREATE: return do_lcreate(r);
    case T_READ: return do_read(r);
    case T_WRITE: return do_write(r);
    case T_READDIR: return do_readdir(r);
    case T_GETATTR: return do_getattr(r);
    case T_SETATTR: return do_setattr(r);
    case T_XATTRWALK: return do_xattrwalk(r);
    case T_XATTRCREATE: return do_xattrcreate(r);
    case T_STATFS: return do_statfs(r);
    case T_READLINK: return do_readlink(r);
    case T_MKDIR: return do_mkdir(r);
    case T_SYMLINK: return do_symlink(r);
    case T_MKNOD: return do_mknod(r);
    case T_LINK: return do_link(r);
    case T_RENAMEAT: return do_renameat(r);
    case T_UNLINKAT: return do_unlinkat(r);
    case T_FSYNC: return do_fsync(r);
    case T_LOCK: return do_lock(r);
    case T_GETLOCK: return do_getlock(r);
    case T_CLUNK: return do_clunk(r);
    case T_REMOVE: return do_remove(r);
    case T_FLUSH: return do_flush(r);
    }
    return -EOPNOTSUPP;
}

/* --- snapshots ---------------------------------------------------------------------------- */

enum { WHERE_SIZE = 4096, FLAGS_NONE = (int)0xffffffff };

/* A file that is not found again leaves no fid: the guest's use of it fails. */
static void fid_load(Virtio9p *d, State *s) {
    char where[WHERE_SIZE];
    u32 id, flags, len;
    ShareFile *file;
    state_u32(s, &id);
    state_u32(s, &flags);
    state_below(s, &len, WHERE_SIZE);
    state_bytes(s, where, len);
    where[len] = 0;
    if (s->bad || share_find(d->share, where, &file)) return;
    if (flags != (u32)FLAGS_NONE) share_open(file, (int)flags);
    fid_add(d, id, file, NULL);
}

static void fid_save(const Fid *f, State *s) {
    char where[WHERE_SIZE];
    u32 id = f->id, flags = (u32)share_flags(f->file), len;
    if (f->xattr || share_where(f->file, where, sizeof(where))) strcpy(where, "/"); /* no name that share_find would find */
    len = (u32)strlen(where);
    state_u32(s, &id);
    state_u32(s, &flags);
    state_u32(s, &len);
    state_bytes(s, where, len);
}

static void p9_state(void *dev, State *s) {
    Virtio9p *d = dev;
    u32 count = d->fid_len;
    if (s->loading) fids_drop(d);
    state_below(s, &d->msize, MSIZE_MAX + 1);
    state_u64(s, &d->root_dev);
    state_below(s, &count, FIDS_MAX + 1);
    for (u32 k = 0; s->loading && k < count && !s->bad; k++) fid_load(d, s);
    for (u32 k = 0; !s->loading && k < BUCKETS; k++)
        for (const Fid *f = d->bucket[k]; f; f = f->next) fid_save(f, s);
}

/* --- the device --------------------------------------------------------------------------- */

static u32 reply_finish(Request *r, u8 type, u16 tag, int err) {
    Message *m = &r->out;
    if (err || m->bad || r->in.bad) {
        m->pos = HEADER;
        m->bad = false;
        r->data = 0;
        type = R_LERROR - 1;
        put(m, (u32)(err ? -err : EINVAL), 4);
    }
    u32 end = m->pos, size = end + (u32)r->data;
    m->pos = 0;
    put(m, size, 4);
    put(m, type + 1u, 1);
    put(m, tag, 2);
    virt_chain_write(r->chain, 0, m->at, end);
    return size;
}

/* The next message's head, read; who came before it is known from now on. False: there is none. */
static bool request_pop(Virtio9p *d, VirtQueue *q, VirtChain *c, Request *r) {
    pthread_mutex_lock(&d->lock);
    bool got = virtq_pop(q, c);
    if (got) {
        Room *room = d->rooms ? d->rooms : back_alloc(sizeof(Room));
        d->rooms = room == d->rooms ? room->next : d->rooms;
        *r = (Request){.d = d, .chain = c, .room = room, .in = {.at = room->head}, .out = {.at = room->reply, .pos = HEADER}, .next = d->under_way};
        r->in.size = (u32)virt_chain_read(c, 0, room->head, HEAD_MAX);
        r->out.size = (u32)MIN(c->in_size, (u64)REPLY_MAX);
        if (r->in.size >= HEADER) memcpy(&r->tag, room->head + 5, 2);
        d->under_way = r;
    }
    pthread_mutex_unlock(&d->lock);
    return got;
}

static void request_end(Virtio9p *d, Request *r) {
    pthread_mutex_lock(&d->lock);
    Request **at = &d->under_way;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    r->room->next = d->rooms;
    d->rooms = r->room;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

/* Bytes written, 0: not even an answer fits. */
static u32 message_serve(Request *r) {
    if (r->in.size < HEADER || r->out.size < HEADER + 4) return 0;
    get32(&r->in); /* its size is the chain's */
    u8 type = (u8)get(&r->in, 1);
    get(&r->in, 2);
    int err = request_do(r, type);
    let_go(r);
    return reply_finish(r, type, r->tag, err);
}

static void p9_run(void *ctx, u32 queue, VirtChain *c) {
    Virtio9p *d = ctx;
    VirtQueue *q = &d->virtio.queue[queue];
    Request r;
    do {
        virtq_kicks_off(q);
        while (request_pop(d, q, c, &r)) {
            if (virtq_kicks_on(q)) virt_worker_kick(d->worker, queue); /* another thread takes the next, also if that comes while this one waits for the host */
            u32 size = message_serve(&r);
            if (size) virtq_push(q, c, size);
            request_end(d, &r);
            if (!size) {
                virtio_break(&d->virtio);
                return;
            }
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q));
}

static void p9_notify(void *dev, u32 queue) { virt_worker_kick(((Virtio9p *)dev)->worker, queue); }
static void p9_quiesce(void *dev) { virt_worker_drain(((Virtio9p *)dev)->worker); }
static void p9_reset(void *dev) {
    Virtio9p *d = dev;
    virt_worker_drain(d->worker);
    fids_drop(d);
}

Virtio9p *virtio_9p_new(Physical *memory, Share *share, const char *tag) {
    Virtio9p *d = back_alloc(sizeof(*d));
    u16 len = (u16)MIN(strlen(tag), (size_t)TAG_MAX);
    VirtioKind kind = {.name = "9p", .id = VIRTIO_9P, .class = 0x000200, .features = 1 /* a tag in the configuration */, .queues = 1, .queue_size = QUEUE_SIZE,
                       .config_size = 2u + len, .reset = p9_reset, .quiesce = p9_quiesce, .state = p9_state, .notify = p9_notify};
    d->share = share;
    d->msize = MSIZE_MIN;
    virtio_init(&d->virtio, &kind, d, memory);
    memcpy(d->virtio.config, &len, 2);
    memcpy(d->virtio.config + 2, tag, len);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    d->worker = virt_worker_new(virt_threads(memory, THREADS), p9_run, d);
    return d;
}

Virtio *virtio_9p_virtio(Virtio9p *d) { return &d->virtio; }

void virtio_9p_drop(Virtio9p *d) {
    virtio_reset(&d->virtio);
    virt_worker_drop(d->worker);
    virtio_fini(&d->virtio);
    for (Room *room; (room = d->rooms); free(room)) d->rooms = room->next;
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->changed);
    free(d);
}
