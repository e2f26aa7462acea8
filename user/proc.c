/* SPDX-License-Identifier: Apache-2.0 */
/* user/proc: bodies. See proc.h. maps and smaps are the host's own, less what is the VMM's, with the guest's
 * protections put in: so names, offsets and counts need no book-keeping of ours. */
#include "user/proc.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <elf.h>
#include <stddef.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef VEC(char) Bytes;

static void bytes_add(Bytes *b, const char *s, size_t size) {
    vec_reserve(b, b->len + (u32)size);
    memcpy(b->at + b->len, s, size);
    b->len += (u32)size;
}

static void bytes_print(Bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void bytes_print(Bytes *b, const char *fmt, ...) {
    char line[4400];
    Text t = text_init(line, sizeof line);
    va_list ap;
    va_start(ap, fmt);
    text_vprint(&t, fmt, ap);
    va_end(ap);
    bytes_add(b, line, t.len);
}

/* Appends the file to out; out->at is never NULL afterwards. */
static i64 read_file(const char *path, Bytes *out) {
    vec_reserve(out, out->len + 1);
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fd;
    long n;
    do {
        vec_reserve(out, out->len + 65536);
        n = sys_call(SYS_read, fd, out->at + out->len, 65536);
        if (n > 0) out->len += (u32)n;
    } while (n > 0 || n == -EINTR);
    sys_call(SYS_close, fd);
    return n;
}

/* --- maps ---------------------------------------------------------------------------------------------- */

typedef struct MapLine { /* one line of the host's maps */
    u64 start, end, offset;
    const char *rest; /* " dev inode  name" */
    size_t rest_size;
    bool shared;
} MapLine;

static bool parse_hex(const char **s, const char *end, u64 *v) {
    const char *start = *s;
    *v = 0;
    for (; *s < end; ++*s) {
        char c = **s;
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0) break;
        *v = *v << 4 | (u64)d;
    }
    return *s > start;
}

/* "start-end perms offset dev inode name" */
static bool parse_line(const char *s, const char *end, MapLine *out) {
    if (!parse_hex(&s, end, &out->start) || s == end || *s++ != '-' || !parse_hex(&s, end, &out->end)) return false;
    if (end - s < 7 || s[0] != ' ' || s[5] != ' ') return false;
    out->shared = s[4] == 's';
    s += 6;
    if (!parse_hex(&s, end, &out->offset)) return false;
    out->rest = s;
    out->rest_size = (size_t)(end - s);
    return true;
}

static const char *kind_name(const Process *p, const Vma *v) {
    if (v->kind == VMA_STACK) return "[stack]";
    if (v->kind == VMA_VDSO) return "[vdso]";
    if (v->kind == VMA_HEAP) return "[heap]";
    return NULL;
}

static void print_map(const Process *p, Bytes *out, const MapLine *l, const Vma *v, u64 start, u64 end) {
    char line[4400];
    Text t = text_init(line, sizeof line);
    u64 offset = l->rest_size > 7 && memcmp(l->rest, " 00:00 ", 7) == 0 ? 0 : l->offset + (start - l->start);
    text_print(&t, "%08lx-%08lx %c%c%c%c %08lx", start, end, (v->prot & PROT_READ) ? 'r' : '-',
               (v->prot & PROT_WRITE) ? 'w' : '-', (v->prot & PROT_EXEC) ? 'x' : '-', l->shared ? 's' : 'p', offset);
    const char *name = kind_name(p, v);
    if (name) {
        text_print(&t, " 00:00 0 ");
        while (t.len < 73) text_char(&t, ' ');
        text_print(&t, "%s", name);
    } else text_print(&t, "%.*s", (int)l->rest_size, l->rest);
    text_char(&t, '\n');
    bytes_add(out, line, t.len);
}

/* The guest's parts of one host mapping. */
static bool print_guest_maps(Process *p, Bytes *out, const MapLine *l) {
    bool any = false;
    Vma v;
    for (u64 at = l->start; at < l->end && space_find(&p->space, at, &v) && v.start < l->end; at = v.end) {
        print_map(p, out, l, &v, MAX(v.start, l->start), MIN(v.end, l->end));
        any = true;
    }
    return any;
}

static i64 make_maps(Thread *t, Bytes *out, const char *host_file) {
    Bytes host = {0};
    i64 r = read_file(host_file, &host);
    const char *s = host.at, *end = host.at + host.len;
    bool keep = false; /* smaps: the lines below a mapping belong to it */
    while (s < end) {
        const char *eol = memchr(s, '\n', (size_t)(end - s));
        if (!eol) eol = end;
        MapLine l;
        if (parse_line(s, eol, &l)) keep = print_guest_maps(t->process, out, &l);
        else if (keep) bytes_print(out, "%.*s\n", (int)(eol - s), s);
        s = eol + 1;
    }
    vec_drop(&host);
    return r;
}

static i64 proc_maps(Thread *t, Bytes *out, const char *path) { return make_maps(t, out, "/proc/self/maps"); }
static i64 proc_smaps(Thread *t, Bytes *out, const char *path) { return make_maps(t, out, "/proc/self/smaps"); }

/* --- PROCMAP_QUERY ----------------------------------------------------------------------------------------- */

enum { QUERY_PROT = 7, QUERY_SHARED = 8, QUERY_COVERING_OR_NEXT = 16, QUERY_FILE = 32 };

typedef struct MapQuery { /* struct procmap_query */
    u64 size, flags, addr;
    u64 start, end, vma_flags, page_size, offset, inode;
    u32 dev_major, dev_minor, name_size, build_id_size;
    u64 name_at, build_id_at;
} MapQuery;

static bool query_matches(const MapQuery *q, const Vma *v) {
    u64 wanted = q->flags & (QUERY_PROT | QUERY_SHARED), has = (v->prot & QUERY_PROT) | ((v->flags & VMA_SHARED) ? QUERY_SHARED : 0);
    return (wanted & ~has) == 0 && (!(q->flags & QUERY_FILE) || v->kind == VMA_FILE);
}

/* The guest's mapping that is asked for, if there is one. */
static bool query_find(Space *s, const MapQuery *q, Vma *v) {
    bool next = q->flags & QUERY_COVERING_OR_NEXT;
    for (u64 at = q->addr; space_find(s, at, v); at = v->end) {
        if (!next && v->start > q->addr) return false;
        if (query_matches(q, v)) return true;
        if (!next) return false;
    }
    return false;
}

/* The host's answer, cut down to the guest's mapping v. */
static i64 query_host(const Process *p, const Vma *v, MapQuery *q) {
    MapQuery h = *q;
    const char *name = kind_name(p, v);
    h.flags = 0;
    h.addr = MAX(v->start, q->addr);
    if (name) h.name_size = 0, h.name_at = 0;
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fd;
    i64 r = sys_call(SYS_ioctl, fd, PROC_MAP_QUERY, &h);
    sys_call(SYS_close, fd);
    if (r < 0) return r;
    q->start = MAX(v->start, h.start);
    q->end = MIN(v->end, h.end);
    q->vma_flags = (v->prot & QUERY_PROT) | (h.vma_flags & QUERY_SHARED);
    q->offset = h.inode ? h.offset + (q->start - h.start) : 0;
    q->page_size = h.page_size;
    q->inode = h.inode;
    q->dev_major = h.dev_major;
    q->dev_minor = h.dev_minor;
    q->build_id_size = h.build_id_size;
    if (name && q->name_size) {
        u32 size = (u32)strlen(name) + 1;
        if (size > q->name_size) return -ENAMETOOLONG;
        q->name_size = size;
        return guest_write(q->name_at, name, size);
    }
    q->name_size = h.name_size;
    return 0;
}

i64 proc_fd_target(int fd, char *target, size_t size) {
    char link[64];
    Text text = text_init(link, sizeof link);
    text_print(&text, "/proc/self/fd/%d", fd);
    long n = sys_call(SYS_readlinkat, AT_FDCWD, link, target, size - 1);
    target[MAX(n, 0)] = 0;
    return n;
}

i64 proc_map_query(Thread *t, int fd, u64 at) {
    char target[64];
    proc_fd_target(fd, target, sizeof target);
    if (strcmp(target, "/memfd:maps (deleted)") != 0) return CALL_NOT_OURS;
    MapQuery q = {0};
    Vma v;
    if (guest_read(&q.size, at, sizeof q.size) < 0) return -EFAULT;
    u64 size = q.size;
    if (size < offsetof(MapQuery, vma_flags)) return -EINVAL;
    if (size > PAGE_BYTES) return -E2BIG;
    if (guest_read(&q, at, MIN(size, sizeof q)) < 0) return -EFAULT;
    q.size = sizeof q;
    if (q.flags & ~63ull || !q.name_at != !q.name_size || !q.build_id_at != !q.build_id_size) return -EINVAL;
    if (!query_find(&t->process->space, &q, &v)) return -ENOENT;
    i64 r = query_host(t->process, &v, &q);
    q.size = size;
    return r < 0 ? r : guest_write(at, &q, MIN(size, sizeof q));
}

/* --- the others ---------------------------------------------------------------------------------------------- */

/* These may have been overwritten by the guest into something unreadable: then they end there. */
static i64 guest_bytes(Bytes *out, u64 start, u64 end) {
    char buf[1024];
    for (u64 at = start; at < end; at += sizeof buf) {
        size_t n = MIN(end - at, sizeof buf);
        if (guest_read(buf, at, n) < 0) break;
        bytes_add(out, buf, n);
    }
    return 0;
}

static i64 proc_cmdline(Thread *t, Bytes *out, const char *path) { return guest_bytes(out, t->process->arg_start, t->process->arg_end); }
static i64 proc_environ(Thread *t, Bytes *out, const char *path) { return guest_bytes(out, t->process->env_start, t->process->env_end); }
static i64 proc_auxv(Thread *t, Bytes *out, const char *path) {
    u64 at = (u64)t->process->auxv;
    return guest_bytes(out, at, at + t->process->auxv_size);
}

static unsigned online_cpus(void) {
    u64 set[128] = {0};
    long n = sys_call(SYS_sched_getaffinity, 0, sizeof set, set);
    unsigned count = 0;
    for (long i = 0; i < n / 8; i++) count += (unsigned)__builtin_popcountll(set[i]);
    return count ? count : 1;
}

static i64 proc_cpuinfo(Thread *t, Bytes *out, const char *path) {
    unsigned cpus = online_cpus();
    vec_reserve(out, cpus * 2048);
    Text text = text_init(out->at, out->cap);
    t->process->abi->cpuinfo(&text, cpus, !t->process->options->no_vectors);
    out->len = (u32)text.len;
    return 0;
}

static i64 proc_status(Thread *t, Bytes *out, const char *path) {
    Bytes host = {0};
    i64 r = read_file(path, &host);
    vec_reserve(out, host.len + 256);
    Text text = text_init(out->at, out->cap);
    proc_status_print(t, path, host.at, host.len, &text);
    out->len = (u32)text.len;
    vec_drop(&host);
    return r;
}

typedef struct ProcFile {
    const char *name;
    bool own; /* below /proc/self, else below /proc */
    i64 (*make)(Thread *t, Bytes *out, const char *path);
} ProcFile;

static const ProcFile proc_files[] = {
    {"maps", true, proc_maps},       {"smaps", true, proc_smaps}, {"cmdline", true, proc_cmdline},
    {"environ", true, proc_environ}, {"auxv", true, proc_auxv},   {"cpuinfo", false, proc_cpuinfo},
    {"status", true, proc_status},
};

/* --- names ------------------------------------------------------------------------------------------------------ */

/* If s begins with `word` and a slash: what follows. */
static const char *skip_word(const char *s, const char *word) {
    size_t n = strlen(word);
    return strncmp(s, word, n) == 0 && s[n] == '/' ? s + n + 1 : NULL;
}

static const char *skip_number(const char *s, long number) {
    u64 v;
    const char *end;
    return s[0] != '0' && parse_u64(s, &end, &v) && v == (u64)number && *end == '/' ? end + 1 : NULL;
}

/* The name below this process's directory in /proc, or NULL. */
static const char *own_name(const char *path) {
    const char *s = skip_word(path, "/proc"), *own;
    if (!s) return NULL;
    own = skip_word(s, "self");
    if (!own) own = skip_word(s, "thread-self");
    if (!own) own = skip_number(s, sys_call(SYS_getpid));
    if (!own) return NULL;
    const char *task = skip_word(own, "task");
    if (!task) return own;
    const char *slash = strchr(task, '/');
    return slash ? slash + 1 : NULL;
}

/* --- executables -------------------------------------------------------------------------------------------------- */

/* Is the file at `path` the one that we are? */
static bool is_isomer(const char *path) {
    struct stat self, other;
    if (sys_call(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", &self, 0) < 0) return false;
    if (sys_call(SYS_newfstatat, AT_FDCWD, path, &other, 0) < 0) return false;
    return self.st_dev == other.st_dev && self.st_ino == other.st_ino;
}

/* Where a process has the program headers of its executable: from its auxv, which proc_publish made the guest's. */
static u64 phdr_of(const char *pid) {
    char path[64];
    Text t = text_init(path, sizeof path);
    text_print(&t, "/proc/%s/auxv", pid);
    Bytes b = {0};
    u64 phdr = 0;
    read_file(path, &b);
    for (u32 at = 0; at + 16 <= b.len; at += 16) {
        u64 pair[2];
        memcpy(pair, b.at + at, sizeof pair);
        if (pair[0] == AT_PHDR) phdr = pair[1];
    }
    vec_drop(&b);
    return phdr;
}

/* The name of the file that process `pid` has mapped at `addr`. */
static bool mapped_file(const char *pid, u64 addr, char *out) {
    char path[64];
    Text t = text_init(path, sizeof path);
    text_print(&t, "/proc/%s/maps", pid);
    Bytes b = {0};
    read_file(path, &b);
    bool found = false;
    for (const char *s = b.at, *end = b.at + b.len; s < end && !found;) {
        const char *eol = memchr(s, '\n', (size_t)(end - s));
        if (!eol) eol = end;
        MapLine l;
        const char *slash = memchr(s, '/', (size_t)(eol - s));
        if (slash && parse_line(s, eol, &l) && l.start <= addr && addr < l.end) {
            t = text_init(out, PATH_MAX);
            text_print(&t, "%.*s", (int)(eol - slash), slash);
            found = true;
        }
        s = eol + 1;
    }
    vec_drop(&b);
    return found;
}

/* Another process's executable, if it runs in an Isomer, too. */
static bool other_exe(const char *path, const char *pid_at, char *out) {
    u64 pid;
    const char *end;
    if (!parse_u64(pid_at, &end, &pid) || strcmp(end, "/exe") != 0 || !is_isomer(path)) return false;
    char number[24];
    Text t = text_init(number, sizeof number);
    text_print(&t, "%lu", pid);
    u64 phdr = phdr_of(number);
    return phdr && mapped_file(number, phdr, out);
}

bool proc_exe(Thread *t, const char *path, char out[PATH_MAX]) {
    const char *s = skip_word(path, "/proc");
    if (!s) return false;
    const char *name = own_name(path);
    if (!name || strcmp(name, "exe") != 0) return other_exe(path, s, out);
    memcpy(out, t->process->exe, sizeof t->process->exe);
    return true;
}

/* --- opening ---------------------------------------------------------------------------------------------------------- */

static const ProcFile *file_find(const char *path) {
    const char *own = own_name(path), *top = skip_word(path, "/proc");
    for (u32 i = 0; i < ARRAY_LEN(proc_files); i++) {
        const char *name = proc_files[i].own ? own : top;
        if (name && strcmp(name, proc_files[i].name) == 0) return &proc_files[i];
    }
    return NULL;
}

static i64 fd_of_bytes(const ProcFile *f, const Bytes *b, int flags) {
    long fd = sys_call(SYS_memfd_create, f->name, MFD_CLOEXEC);
    if (fd < 0) return fd;
    for (u32 at = 0; at < b->len;) {
        long n = sys_call(SYS_write, fd, b->at + at, b->len - at);
        if (n <= 0) break;
        at += (u32)n;
    }
    /* Not the memory file as it is, which could be written to. */
    char link[64];
    Text t = text_init(link, sizeof link);
    text_print(&t, "/proc/self/fd/%ld", fd);
    long r = sys_call(SYS_openat, AT_FDCWD, link, O_RDONLY | (flags & (O_CLOEXEC | O_NONBLOCK)));
    sys_call(SYS_close, fd);
    return r;
}

i64 proc_open(Thread *t, const char *path, int flags) {
    const ProcFile *f = file_find(path);
    if (!f || (flags & O_ACCMODE) != O_RDONLY || (flags & (O_DIRECTORY | O_PATH))) return -ENOSYS;
    /* Without /proc there is no such file. */
    long r = sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (r < 0) return r;
    sys_call(SYS_close, r);
    Bytes b = {0};
    r = f->make(t, &b, path);
    if (r >= 0) r = fd_of_bytes(f, &b, flags);
    vec_drop(&b);
    return r;
}

void proc_publish(Process *p) {
    const char *path = p->options->program, *slash = strrchr(path, '/');
    sys_call(SYS_prctl, PR_SET_NAME, slash ? slash + 1 : path);
    u64 brk = (u64)sys_call(SYS_brk, 0);
    struct prctl_mm_map m = {.start_code = p->code_start, .end_code = p->code_end, .start_data = p->data_start,
                             .end_data = p->data_end, .start_brk = brk, .brk = brk, .start_stack = p->stack_start,
                             .arg_start = p->arg_start, .arg_end = p->arg_end, .env_start = p->env_start,
                             .env_end = p->env_end, .auxv = (void *)p->auxv, .auxv_size = p->auxv_size,
                             .exe_fd = (u32)-1};
    sys_call(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &m, sizeof m, 0); /* if refused, others see the VMM's command line */
}
