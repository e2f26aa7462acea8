/* SPDX-License-Identifier: Apache-2.0 */
/* engine/store: bodies. See store.h. */
#include "engine/store.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KNOWN_START = 4096, KNOWN_ENTRIES = 16384 };

typedef struct KnownHead {
    u8 magic[16];
    Digest salt;
} KnownHead;
static const u8 known_magic[16] = "isomer known 1\n";

typedef struct Known { /* what is known of the file whose identity has this digest */
    Digest id, value;
    u64 check, unused[3];
} Known;

/* --- descriptors ------------------------------------------------------------------------------------ */

/* `closed`: the permissions that nobody else may have. */
static bool is_ours(const struct stat *st, mode_t type, mode_t closed) {
    return (st->st_mode & S_IFMT) == type && st->st_uid == (uid_t)sys_call(SYS_geteuid) && !(st->st_mode & closed);
}

static const char *open_folder(Store *s) {
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, s->path, FLAGS);
    if (fd == -ENOENT && sys_call(SYS_mkdirat, AT_FDCWD, s->path, 0700) == 0) fd = (int)sys_call(SYS_openat, AT_FDCWD, s->path, FLAGS);
    if (fd < 0) return fd == -ENOENT ? "the folder does not exist and cannot be made" : "the folder cannot be opened";
    struct stat st;
    if (sys_call(SYS_fstat, fd, &st) < 0 || !is_ours(&st, S_IFDIR, 022)) {
        sys_call(SYS_close, fd);
        return "the folder does not belong to this user, or others may write to it (chmod 700 it)";
    }
    s->dir = fd;
    return NULL;
}

/* --- names ------------------------------------------------------------------------------------------- */

enum { NAME_MAX_LEN = 48 };

static void image_name(char buf[NAME_MAX_LEN], Digest name) {
    Text t = text_init(buf, NAME_MAX_LEN);
    text_print(&t, "%016lx%016lx.img", name.hi, name.lo);
}

static u64 random_u64(void) {
    u64 v = 0;
    sys_call(SYS_getrandom, &v, sizeof v, 0);
    return v;
}

static int temporary(const Store *s, char buf[NAME_MAX_LEN]) {
    Text t = text_init(buf, NAME_MAX_LEN);
    text_print(&t, "tmp-%016lx", random_u64());
    return (int)sys_call(SYS_openat, s->dir, buf, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Beyond the limit on the size of files is SIGXFSZ, which would be the guest's. */
static bool may_reach(u64 size) {
    struct rlimit limit;
    return sys_call(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) == 0 && limit.rlim_cur >= size;
}

static bool write_all(int fd, const void *data, size_t size) {
    for (size_t done = 0; done < size;) {
        long n = sys_call(SYS_write, fd, (const u8 *)data + done, size - done);
        if (n == -EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* --- what is known ------------------------------------------------------------------------------------- */

/* Several processes may do this at once: link refuses all but the first. */
static void make_known(Store *s) {
    char name[NAME_MAX_LEN];
    if (!may_reach(sizeof(KnownHead))) return;
    int fd = temporary(s, name);
    if (fd < 0) return;
    KnownHead head = {.salt = {random_u64(), random_u64()}};
    memcpy(head.magic, known_magic, sizeof head.magic);
    if (write_all(fd, &head, sizeof head)) sys_call(SYS_linkat, s->dir, name, s->dir, "known", 0);
    sys_call(SYS_unlinkat, s->dir, name, 0);
    sys_call(SYS_close, fd);
}

static int open_known(Store *s) {
    int fd = (int)sys_call(SYS_openat, s->dir, "known", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd == -EACCES || fd == -EROFS) fd = (int)sys_call(SYS_openat, s->dir, "known", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd;
}

static const char *read_known(Store *s) {
    int fd = open_known(s);
    if (fd == -ENOENT) {
        make_known(s);
        fd = open_known(s);
    }
    if (fd < 0) return "the folder cannot be written";
    struct stat st;
    KnownHead head;
    bool fine = sys_call(SYS_fstat, fd, &st) == 0 && is_ours(&st, S_IFREG, 077) && sys_call(SYS_pread64, fd, &head, sizeof head, 0) == sizeof head &&
                !memcmp(head.magic, known_magic, sizeof head.magic);
    if (!fine) {
        sys_call(SYS_close, fd);
        return "its file `known` is damaged, not this user's, or open to others (remove it)";
    }
    s->salt = head.salt;
    s->known = fd;
    return NULL;
}

static u64 known_check(const Known *k) { return digest_bytes((Digest){1, 2}, k, offsetof(Known, check)).lo; }
static u64 known_place(Digest id) { return KNOWN_START + id.lo % KNOWN_ENTRIES * sizeof(Known); }

static bool known_get(const Store *s, Digest id, Digest *value) {
    Known k;
    if (sys_call(SYS_pread64, s->known, &k, sizeof k, known_place(id)) != sizeof k) return false;
    *value = k.value;
    return digest_same(k.id, id) && k.check == known_check(&k);
}

static void known_put(const Store *s, Digest id, Digest value) {
    Known k = {.id = id, .value = value};
    k.check = known_check(&k);
    if (may_reach(known_place(id) + sizeof k)) sys_call(SYS_pwrite64, s->known, &k, sizeof k, known_place(id));
}

static Digest stat_digest(const Store *s, const struct stat *st, bool with_ctime) {
    u64 id[] = {st->st_dev, st->st_ino, (u64)st->st_size, (u64)st->st_mtim.tv_sec, (u64)st->st_mtim.tv_nsec, with_ctime ? (u64)st->st_ctim.tv_sec : 0, with_ctime ? (u64)st->st_ctim.tv_nsec : 0};
    return digest_bytes(s->salt, id, sizeof id);
}

/* A file that changed just now may change again without a new time stamp. */
static bool is_settled(const struct stat *st) {
    struct timespec now;
    if (sys_call(SYS_clock_gettime, CLOCK_REALTIME, &now) < 0) return false;
    return now.tv_sec - st->st_ctim.tv_sec > 2 || now.tv_sec < st->st_ctim.tv_sec - 2;
}

static bool read_content(int fd, u64 offset, u64 size, Digest *out) {
    u8 *buf = sys_mmap(NULL, STORE_STEP, 3, 0x22, -1, 0);
    if (sys_failed(buf)) return false;
    Digest d = {size, 0};
    u64 done = 0;
    while (done < size) {
        u64 n = MIN(size - done, (u64)STORE_STEP);
        long got = sys_call(SYS_pread64, fd, buf, n, offset + done);
        if (got != (long)n) break;
        d = digest_bytes(d, buf, n);
        done += n;
    }
    sys_munmap(buf, STORE_STEP);
    *out = d;
    return done == size;
}

bool store_content(Store *s, int fd, const struct stat *st, u64 offset, u64 size, Digest *out) {
    Digest id = digest_u64(digest_u64(stat_digest(s, st, true), offset), size);
    id = digest_bytes(id, &s->boot, sizeof s->boot);
    if (known_get(s, id, out)) return true;
    if (!read_content(fd, offset, size, out)) return false;
    if (is_settled(st)) known_put(s, id, *out);
    return true;
}

/* --- images ------------------------------------------------------------------------------------------------ */

int store_image_open(const Store *s, Digest name, struct stat *st) {
    char file[NAME_MAX_LEN];
    image_name(file, name);
    int fd = (int)sys_call(SYS_openat, s->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* a fifo would wait */
    if (fd < 0) return -1;
    if (sys_call(SYS_fstat, fd, st) == 0 && is_ours(st, S_IFREG, 077)) return fd;
    sys_call(SYS_close, fd);
    return -1;
}

/* Without the time of last change of status: setting the time of use changes that. */
static Digest image_id(const Store *s, const struct stat *st) {
    return digest_bytes(stat_digest(s, st, false), &s->boot, sizeof s->boot);
}

bool store_image_checked(Store *s, const struct stat *st, Digest check) {
    Digest known;
    return (s->boot.lo | s->boot.hi) && known_get(s, image_id(s, st), &known) && digest_same(known, check);
}

void store_image_note(Store *s, const struct stat *st, Digest check) {
    if (s->boot.lo | s->boot.hi) known_put(s, image_id(s, st), check);
}

void store_image_touch(int fd, const struct stat *st) {
    struct timespec now;
    if (sys_call(SYS_clock_gettime, CLOCK_REALTIME, &now) < 0 || now.tv_sec - st->st_atim.tv_sec < 3600) return;
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    sys_call(SYS_utimensat, fd, NULL, times, 0);
}

int store_image_write(Store *s, Digest name, const void *data, size_t size, Digest check) {
    /* Reading the whole folder each time would cost more than most images; the bound may be passed by a little. */
    if (size > s->size_max / 16 || random_u64() % 8 == 0) store_evict(s, s->size_max - MIN(s->size_max, (u64)size));
    if (size > s->size_max || !may_reach(size)) return -ENOSPC;
    char tmp[NAME_MAX_LEN], file[NAME_MAX_LEN];
    image_name(file, name);
    int fd = temporary(s, tmp);
    if (fd < 0) return fd;
    int err = write_all(fd, data, size) ? 0 : -ENOSPC;
    struct stat st;
    if (!err) err = (int)sys_call(SYS_renameat, s->dir, tmp, s->dir, file);
    if (err) sys_call(SYS_unlinkat, s->dir, tmp, 0);
    else if (sys_call(SYS_fstat, fd, &st) == 0) store_image_note(s, &st, check);
    sys_call(SYS_close, fd);
    return err;
}

/* --- the folder as a whole ----------------------------------------------------------------------------------- */

typedef struct Listed {
    char name[NAME_MAX_LEN];
    u64 bytes;
    i64 used; /* seconds */
} Listed;
typedef VEC(Listed) List;

/* What a killed process left behind. */
static void drop_leftover(int dir, const char *name, const struct stat *st) {
    struct timespec now;
    if (sys_call(SYS_clock_gettime, CLOCK_REALTIME, &now) == 0 && now.tv_sec - st->st_mtim.tv_sec > 600) sys_call(SYS_unlinkat, dir, name, 0);
}

static void list_one(int dir, const char *name, List *out) {
    size_t n = strlen(name);
    struct stat st;
    bool image = n == 36 && !strcmp(name + 32, ".img"), leftover = !strncmp(name, "tmp-", 4);
    if ((!image && !leftover) || sys_call(SYS_newfstatat, dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return;
    if (leftover) {
        drop_leftover(dir, name, &st);
        return;
    }
    Listed l = {.bytes = (u64)st.st_blocks * 512, .used = MAX(st.st_atim.tv_sec, st.st_mtim.tv_sec)};
    memcpy(l.name, name, n + 1);
    vec_push(out, l);
}

static void list_images(const Store *s, List *out) {
    int dir = (int)sys_call(SYS_openat, s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return;
    u8 buf[8192] __attribute__((aligned(8)));
    for (;;) {
        long n = sys_call(SYS_getdents64, dir, buf, sizeof buf);
        if (n <= 0) break;
        for (long at = 0; at < n;) {
            const SysDirEntry *d = (const SysDirEntry *)(buf + at);
            list_one(dir, d->name, out);
            at += d->reclen;
        }
    }
    sys_call(SYS_close, dir);
}

StoreUse store_use(const Store *s) {
    List l = {0};
    list_images(s, &l);
    StoreUse use = {.images = l.len};
    for (u32 k = 0; k < l.len; k++) use.bytes += l.at[k].bytes;
    vec_drop(&l);
    return use;
}

u64 store_evict(const Store *s, u64 keep) {
    List l = {0};
    list_images(s, &l);
    u64 bytes = 0, gone = 0;
    for (u32 k = 0; k < l.len; k++) bytes += l.at[k].bytes;
    while (bytes > keep) {
        Listed *oldest = NULL;
        for (u32 k = 0; k < l.len; k++)
            if (l.at[k].name[0] && (!oldest || l.at[k].used < oldest->used)) oldest = &l.at[k];
        if (!oldest) break;
        sys_call(SYS_unlinkat, s->dir, oldest->name, 0);
        bytes -= oldest->bytes;
        oldest->name[0] = 0;
        gone++;
    }
    vec_drop(&l);
    return gone;
}

/* --- opening --------------------------------------------------------------------------------------------------- */

static Digest boot_digest(void) {
    char id[64];
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return (Digest){0};
    long n = sys_call(SYS_read, fd, id, sizeof id);
    sys_call(SYS_close, fd);
    return n > 0 ? digest_bytes((Digest){0}, id, (size_t)n) : (Digest){0};
}

static const char *open_both(Store *s) {
    const char *why = open_folder(s);
    if (!why) why = read_known(s);
    if (why) store_sleep(s);
    return why;
}

const char *store_open(Store *s, const char *path, u64 size_max) {
    s->dir = s->known = -1;
    s->size_max = size_max ? size_max : STORE_SIZE_DEFAULT;
    s->boot = boot_digest();
    Text t = text_init(s->path, sizeof s->path);
    text_print(&t, "%s", path);
    const char *why = path[0] != '/' ? "its path does not start with a slash" : open_both(s);
    if (why) s->path[0] = 0;
    return why;
}

bool store_wake(Store *s) { return store_usable(s) && (s->dir >= 0 || !open_both(s)); }

void store_sleep(Store *s) {
    if (s->dir >= 0) sys_call(SYS_close, s->dir);
    if (s->known >= 0) sys_call(SYS_close, s->known);
    s->dir = s->known = -1;
}
