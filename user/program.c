/* SPDX-License-Identifier: Apache-2.0 */
/* user/program: bodies. See program.h. */
#include "user/program.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool path_below(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0);
}

const char *path_lookup(const char *prefix, const char *path, char buf[PATH_MAX]) {
    if (!prefix || path[0] != '/' || path_below(path, "/proc") || path_below(path, "/sys") || path_below(path, "/dev"))
        return path;
    Text t = text_init(buf, PATH_MAX);
    text_print(&t, "%s%s", prefix, path);
    if (t.cut) return path;
    struct stat st;
    return sys_call(SYS_newfstatat, AT_FDCWD, buf, &st, AT_SYMLINK_NOFOLLOW) == 0 ? buf : path;
}

static char *arena_string(Arena *a, const char *s, size_t len) {
    char *copy = arena_alloc(a, len + 1);
    memcpy(copy, s, len);
    return copy;
}

/* -ETXTBSY if somebody has the file open for writing, -EACCES if Landlock forbids to execute it. The kernel tells since Linux
 * 6.14; before: 0. */
static long program_check(int fd) {
    enum { EXECVE_CHECK = 0x10000 }; /* AT_EXECVE_CHECK: nothing is executed */
    const char *args[] = {"", NULL};
    long r = sys_call(SYS_execveat, fd, "", args, args + 1, AT_EMPTY_PATH | EXECVE_CHECK);
    return r == -ETXTBSY || r == -EACCES ? r : 0;
}

/* Opens the file and checks that it may be executed. */
static long program_open(Program *p, int dirfd, const char *path, int flags) {
    int at_flags = flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    struct stat st;
    long r = sys_call(SYS_newfstatat, dirfd, path, &st, at_flags);
    if (r < 0) return r;
    if (S_ISLNK(st.st_mode)) return -ELOOP;
    if (!S_ISREG(st.st_mode)) return -EACCES;
    bool by_fd = !path[0];
    if (by_fd) {
        char link[64];
        Text t = text_init(link, sizeof link);
        text_print(&t, "/proc/self/fd/%d", dirfd);
        p->fd = (int)sys_call(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
        if (p->fd < 0) p->fd = (int)sys_call(SYS_fcntl, dirfd, F_DUPFD_CLOEXEC, 0);
        if (!(st.st_mode & 0111)) return -EACCES;
        return p->fd < 0 ? p->fd : program_check(p->fd);
    }
    r = sys_call(SYS_faccessat2, dirfd, path, X_OK, AT_EACCESS | at_flags);
    if (r == -ENOSYS || r == -EPERM) r = sys_call(SYS_faccessat, dirfd, path, X_OK);
    if (r < 0) return r;
    p->fd = (int)sys_call(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC);
    if (p->fd == -EACCES) return 0; /* what may be executed but not read is the host's business */
    return p->fd < 0 ? p->fd : program_check(p->fd);
}

static char *skip_blanks(char *s) {
    while (*s == ' ' || *s == '\t') s++;
    return s;
}

/* Splits "#! interp arg" as Linux does: one argument at most, blanks at both ends dropped. */
static long script_parse(char *line, size_t size, char **interp, char **arg) {
    char *end = memchr(line, '\n', size);
    bool whole = end != NULL;
    if (!end) end = line + size;
    *end = 0;
    while (end > line + 2 && (end[-1] == ' ' || end[-1] == '\t')) *--end = 0;
    *interp = skip_blanks(line + 2);
    if (!**interp) return -ENOEXEC;
    *arg = *interp;
    while (**arg && **arg != ' ' && **arg != '\t') (*arg)++;
    if (!**arg && !whole && size >= 255) return -ENOEXEC; /* the path may be cut off */
    if (**arg) *(*arg)++ = 0;
    *arg = skip_blanks(*arg);
    return 0;
}

/* Puts the interpreter of a script before the arguments; its path becomes the one to run. */
static long program_script(Program *p, char *line, size_t size, const char *script, const char **interp_out) {
    char *interp, *arg;
    long r = script_parse(line, size, &interp, &arg);
    if (r < 0) return r;
    const char *add[3] = {arena_string(p->arena, interp, strlen(interp))};
    u32 n = 1;
    if (*arg) add[n++] = arena_string(p->arena, arg, strlen(arg));
    if (!p->extra_count) add[n++] = arena_string(p->arena, script, strlen(script));
    /* The newest interpreter goes to the front, before what the script's own interpreters said. */
    memmove(&p->extra[n], p->extra, p->extra_count * sizeof p->extra[0]);
    memcpy(p->extra, add, n * sizeof add[0]);
    p->extra_count += n;
    *interp_out = add[0];
    return 0;
}

static long program_look(Program *p, u8 *head, size_t *size, u16 machine) {
    if (p->fd < 0) {
        p->kind = ELF_UNREADABLE;
        return 0;
    }
    long n = sys_call(SYS_pread64, p->fd, head, 256, 0);
    if (n < 0) return n;
    *size = (size_t)n;
    p->kind = elf_kind(head, *size, machine);
    return p->kind == ELF_OTHER ? -ENOEXEC : 0;
}

/* Sets p->path to a name that does not need dirfd. */
static void name_program(Program *p, int dirfd, const char *host) {
    Text t = text_init(p->path, sizeof p->path);
    if (!host[0]) text_print(&t, "/proc/self/fd/%d", dirfd);
    else if (host[0] != '/' && dirfd != AT_FDCWD) text_print(&t, "/proc/self/fd/%d/%s", dirfd, host);
    else text_print(&t, "%s", host);
}

long program_find(Program *p, const char *prefix, int dirfd, const char *path, int flags, u16 machine,
                  Arena *arena) {
    memset(p, 0, sizeof *p);
    p->arena = arena;
    p->fd = -1;
    char shown[PATH_MAX]; /* the path as the script's interpreter gets it */
    for (int depth = 0;; depth++) {
        char buf[PATH_MAX];
        const char *host = path_lookup(prefix, path, buf);
        long r = program_open(p, dirfd, host, flags);
        if (r < 0) return r;
        name_program(p, dirfd, host);
        Text s = text_init(shown, sizeof shown);
        if (!path[0]) text_print(&s, "/dev/fd/%d", dirfd);
        else if (path[0] != '/' && dirfd != AT_FDCWD) text_print(&s, "/dev/fd/%d/%s", dirfd, path);
        else text_print(&s, "%s", path);
        u8 head[257];
        size_t size = 0;
        r = program_look(p, head, &size, machine);
        if (r < 0 || p->kind != ELF_SCRIPT) return r;
        if (depth == SCRIPT_DEPTH) return -ELOOP;
        bool by_fd = path[0] != '/' && dirfd != AT_FDCWD;
        if (by_fd && (sys_call(SYS_fcntl, dirfd, F_GETFD) & FD_CLOEXEC)) return -ENOENT; /* the interpreter could not open it */
        r = program_script(p, (char *)head, size, shown, &path);
        if (r < 0) return r;
        sys_call(SYS_close, p->fd);
        p->fd = -1;
        dirfd = AT_FDCWD;
        flags = 0;
    }
}

void program_drop(Program *p) {
    if (p->fd >= 0) sys_call(SYS_close, p->fd);
    p->fd = -1;
}
