/* SPDX-License-Identifier: Apache-2.0 */
/* user/exec: bodies. See exec.h. */
#include "user/exec.h"
#include "base/sys.h"
#include "user/program.h"
#include "user/proc.h"
#include "user/signal.h"
#include "user/syscall.h"
#include "user/trace.h"
#include "user/tracer.h"
#include "user/uring.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

enum { ARGS_MAX = 0x7fffffff / 8, SELF_FD_LEAST = 500 };

/* A program of the guest's, at the path that we know as our own? So it is where binfmt_misc started us. */
static bool is_guest(const Process *p, int fd) {
    u8 start[64];
    long n = sys_call(SYS_pread64, fd, start, sizeof start, 0);
    return n > 0 && elf_kind(start, (size_t)n, p->abi->elf_machine) == ELF_GUEST;
}

/* Our own executable, opened for execveat. */
static int open_self(const Process *p) {
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/self/exe", O_PATH | O_CLOEXEC);
    if (fd >= 0 || !p->options->self) return fd;
    int read_fd = (int)sys_call(SYS_openat, AT_FDCWD, p->options->self, O_RDONLY | O_CLOEXEC);
    if (read_fd < 0 || !is_guest(p, read_fd)) fd = (int)sys_call(SYS_openat, AT_FDCWD, p->options->self, O_PATH | O_CLOEXEC);
    if (read_fd >= 0) sys_call(SYS_close, read_fd);
    return fd;
}

void exec_pin_self(Thread *t) {
    if (*exec_self_fd(t) >= 0) return;
    int fd = open_self(t->process);
    if (fd < 0) return;
    int high = (int)sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, SELF_FD_LEAST); /* out of the guest's way */
    if (high >= 0) sys_call(SYS_close, fd);
    *exec_self_fd(t) = high >= 0 ? high : fd;
}

/* --- arguments ------------------------------------------------------------------------------------- */

typedef VEC(const char *) Args;

static void args_push(Arena *arena, Args *l, const char *s) {
    if (l->len == l->cap) { /* memory of the arena, so that a vfork's parent can drop it */
        u32 cap = l->cap ? 2 * l->cap : 64;
        const char **at = arena_alloc(arena, cap * sizeof *at);
        if (l->len) memcpy(at, l->at, l->len * sizeof *at);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->len++] = s;
}

/* The guest's argv: pointers into guest memory, which the host's kernel checks. */
static long args_read(Arena *arena, Args *l, u64 argv) {
    for (u64 i = 0; argv; i++) {
        u64 s;
        if (guest_read(&s, argv + 8 * i, 8) < 0) return -EFAULT;
        if (!s) break;
        if (i == ARGS_MAX) return -E2BIG;
        args_push(arena, l, (const char *)s);
    }
    return 0;
}

static const char *print_number(Arena *arena, u64 n) {
    char *buf = arena_alloc(arena, 24);
    Text t = text_init(buf, 24);
    text_print(&t, "%lu", n);
    return buf;
}

/* The guest's RLIMIT_AS, if it is another than the host's. */
static void args_push_limit(Process *p, Arena *arena, Args *out) {
    struct rlimit host;
    if (sys_call(SYS_getrlimit, RLIMIT_AS, &host) < 0 || host.rlim_cur == p->space.total_max) return;
    args_push(arena, out, "--as-limit");
    args_push(arena, out, print_number(arena, MAX(p->space.total_max, 1ul)));
}

/* Isomer's own command line for the guest program. */
static void args_for_self(Thread *t, Args *out, const Program *prog, const Args *guest, int exec_fd, int filters_fd) {
    Arena *arena = &t->scratch;
    args_push(arena, out, "isomer");
    args_push(arena, out, "run");
    args_push(arena, out, "--child");
    for (const char *const *o = t->process->options->inherit; o && *o; o++) args_push(arena, out, *o);
    if (exec_fd >= 0) {
        args_push(arena, out, "--exec-fd");
        args_push(arena, out, print_number(arena, (u64)exec_fd));
    }
    args_push_limit(t->process, arena, out);
    if (t->filters) {
        args_push(arena, out, "--seccomp");
        args_push(arena, out, print_number(arena, (u64)filters_fd));
    }
    if (t->traced.on) {
        char *spec = arena_alloc(arena, 64);
        Text text = text_init(spec, 64);
        traced_exec(t, &text);
        args_push(arena, out, "--traced");
        args_push(arena, out, spec);
    }
    args_push(arena, out, "--vector-control");
    args_push(arena, out, print_number(arena, t->process->abi->vector_get(t->cpu)));
    const char *argv0 = prog->extra_count ? prog->extra[0] : guest->len ? guest->at[0] : "";
    args_push(arena, out, "-0");
    args_push(arena, out, argv0);
    args_push(arena, out, "--");
    args_push(arena, out, prog->path);
    for (u32 i = 1; i < prog->extra_count; i++) args_push(arena, out, prog->extra[i]);
    for (u32 i = 1; i < guest->len; i++) args_push(arena, out, guest->at[i]);
    args_push(arena, out, NULL);
}

/* The program by its own name: the host's kernel knows it, or binfmt_misc does. */
static long exec_by_host(Thread *t, const Program *prog, const Args *guest, u64 envp) {
    Arena *arena = &t->scratch;
    Args args = {0};
    for (u32 i = 0; i < prog->extra_count; i++) args_push(arena, &args, prog->extra[i]);
    for (u32 i = prog->extra_count ? 1 : 0; i < guest->len; i++) args_push(arena, &args, guest->at[i]);
    args_push(arena, &args, NULL);
    return sys_call(SYS_execve, prog->path, args.at, envp);
}

/* --- the call ------------------------------------------------------------------------------------------ */

/* The host's core limit is 0 while we run; the new program starts with the guest's. */
static void core_limit_set(Process *p, bool guest) {
    struct rlimit l;
    if (sys_call(SYS_getrlimit, RLIMIT_CORE, &l) < 0) return;
    l.rlim_cur = guest ? MIN(p->core_limit, l.rlim_max) : 0;
    sys_call(SYS_setrlimit, RLIMIT_CORE, &l);
}

static long exec_self(Thread *t, const Args *args, u64 envp) {
    Process *p = t->process;
    u64 no_env[1] = {0};
    if (!envp) envp = (u64)no_env;
    int own = *exec_self_fd(t);
    if (own < 0) {
        long r = sys_call(SYS_execve, "/proc/self/exe", args->at, envp);
        if (r != -ENOENT && r != -EACCES) return r;
    }
    int fd = own >= 0 ? own : open_self(p);
    if (fd < 0) return -ENOEXEC;
    long r = -ENOENT;
    /* By its path, if that is what we have just opened: one that a descriptor started could not find itself again. */
    if (own < 0 && p->options->self) r = sys_call(SYS_execve, p->options->self, args->at, envp);
    if (r == -ENOENT || r == -EACCES) r = sys_call(SYS_execveat, fd, "", args->at, envp, AT_EMPTY_PATH);
    if (fd != own) sys_call(SYS_close, fd);
    return r;
}

/* A descriptor that the new Isomer reads the program from, when there is no path, or one that may be about a descriptor which ends
 * with this program (systemd starts its helpers by /proc/self/fd/N). */
static int keep_fd(const Program *prog, const char *path) {
    bool lasts = path[0] && strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/dev/fd/", 8) != 0;
    return lasts ? -1 : (int)sys_call(SYS_fcntl, prog->fd, F_DUPFD, 3);
}

/* Does the file give rights (set-user-ID, set-group-ID, file capabilities) that the kernel would grant now? */
static bool gives_rights(const Thread *t, const Program *prog) {
    struct stat st;
    if (prog->fd < 0 || t->filters || t->traced.on || t->process->options->prefix) return false;
    if (sys_call(SYS_fstat, prog->fd, &st) < 0) return false;
    bool set_group = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    bool gives = (st.st_mode & S_ISUID) || set_group || sys_call(SYS_fgetxattr, prog->fd, "security.capability", 0, 0) > 0;
    return gives && sys_call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
}

static i64 exec_found(Thread *t, const Program *prog, const char *path, u64 argv, u64 envp) {
    Args guest = {0}, args = {0};
    long r = args_read(&t->scratch, &guest, argv);
    if (r < 0) return r;
    int fd = prog->kind == ELF_GUEST && !prog->extra_count ? keep_fd(prog, path) : -1;
    bool self = prog->kind == ELF_GUEST;
    int filters = t->filters ? seccomp_save(t) : -1;
    if (t->filters && filters < 0) return filters;
    if (self) args_for_self(t, &args, prog, &guest, fd, filters);
    if (!t->shares_parent) engine_save(t->process->engine);
    core_limit_set(t->process, true);
    if (t->process->traced) signal_before_exec(t);
    trace_flush(t);
    r = -ENOEXEC;
    if (self && gives_rights(t, prog)) r = exec_by_host(t, prog, &guest, envp); /* binfmt_misc with flag C grants them */
    if (self && r == -ENOEXEC) r = exec_self(t, &args, envp);
    if (t->filters && !self) r = -EACCES; /* a program of the host's would be out of their reach */
    /* Without /proc we may not find ourselves: then binfmt_misc may. */
    else if (!self || (r == -ENOEXEC && !t->filters)) r = exec_by_host(t, prog, &guest, envp);
    if (t->process->traced) signal_reinstall(t);
    core_limit_set(t->process, false);
    if (fd >= 0) sys_call(SYS_close, fd);
    if (filters >= 0) sys_call(SYS_close, filters);
    return r;
}

static i64 exec_any(Thread *t, int dirfd, u64 path_at, u64 argv, u64 envp, int flags) {
    char path[PATH_MAX];
    if (flags & AT_EXECVE_CHECK) return thread_sys(t, SYS_execveat, dirfd, path_at, argv, envp, flags); /* executes nothing */
    long r = guest_read_string(path, sizeof path, path_at);
    if (r < 0) return r;
    if (!path[0] && !(flags & AT_EMPTY_PATH)) return -ENOENT;
    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) return -EINVAL;
    char exe[PATH_MAX];
    const char *run = proc_exe(t, path, exe) ? exe : path;
    Program prog;
    r = program_find(&prog, t->process->options->prefix, dirfd, run, flags, t->process->abi->elf_machine, &t->scratch);
    if (r >= 0) r = exec_found(t, &prog, path, argv, envp);
    program_drop(&prog);
    arena_drop(&t->scratch);
    return r;
}

i64 do_execve(Thread *t, u64 *a) { return exec_any(t, AT_FDCWD, a[0], a[1], a[2], 0); }
i64 do_execveat(Thread *t, u64 *a) { return exec_any(t, (int)a[0], a[1], a[2], a[3], (int)a[4]); }

/* --- calls that may take /proc from us --------------------------------------------------------------------- */

static i64 pin_and_pass(Thread *t, long host, const u64 *a) {
    exec_pin_self(t);
    return thread_sys(t, host, a[0], a[1], a[2], a[3], a[4]);
}
i64 do_chroot(Thread *t, u64 *a) { return pin_and_pass(t, SYS_chroot, a); }
i64 do_mount(Thread *t, u64 *a) { return pin_and_pass(t, SYS_mount, a); }
i64 do_umount2(Thread *t, u64 *a) { return pin_and_pass(t, SYS_umount2, a); }
i64 do_pivot_root(Thread *t, u64 *a) { return pin_and_pass(t, SYS_pivot_root, a); }

/* Whatever programs a set of Landlock rules allows to execute are executed by us: so it allows us. Only where the kernel can be
 * asked about the programs themselves (see program_find), else nothing can be executed any more: too little is better than too much. */
static void landlock_allow_self(Thread *t, int ruleset) {
    static const char *const args[] = {"", NULL};
    int self = *exec_self_fd(t) >= 0 ? *exec_self_fd(t) : open_self(t->process);
    if (self >= 0 && sys_call(SYS_execveat, self, "", args, args + 1, AT_EMPTY_PATH | AT_EXECVE_CHECK) == 0) {
        struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_EXECUTE, .parent_fd = self};
        sys_call(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0); /* EINVAL: they are not about executing */
    }
    if (self >= 0 && self != *exec_self_fd(t)) sys_call(SYS_close, self);
}

i64 do_landlock_restrict_self(Thread *t, u64 *a) {
    /* What is translated from here on can perhaps not be saved any more: xz locks itself up like that. */
    if (!t->shares_parent) engine_save(t->process->engine);
    landlock_allow_self(t, (int)a[0]);
    return thread_sys(t, SYS_landlock_restrict_self, a[0], a[1]);
}

/* What was noted of descriptors that are closed now. */
static void forget_fds(Thread *t, u32 first, u32 last) {
    if (UNLIKELY(t->process->tracer)) tracer_closed(t, first, last);
    if (UNLIKELY(t->process->rings)) uring_closed(t->process, first, last);
}

i64 do_close(Thread *t, u64 *a) {
    forget_fds(t, (u32)a[0], (u32)a[0]);
    return exec_owns_fd(t, (int)a[0]) ? -EBADF : thread_sys(t, SYS_close, a[0]);
}

i64 do_dup3(Thread *t, u64 *a) {
    int *own = exec_self_fd(t);
    if (exec_owns_fd(t, (int)a[0])) return -EBADF;
    if (*own >= 0 && (int)a[1] == *own) { /* make way */
        int fd = (int)sys_call(SYS_fcntl, *own, F_DUPFD_CLOEXEC, *own + 1);
        if (fd < 0) return -EBUSY;
        *own = fd;
    }
    i64 r = thread_sys(t, SYS_dup3, a[0], a[1], a[2]);
    if (r >= 0) forget_fds(t, (u32)a[1], (u32)a[1]);
    if (r >= 0 && UNLIKELY(t->process->rings)) uring_duplicated(t->process, (int)a[0], (int)r);
    return r;
}

i64 do_dup(Thread *t, u64 *a) {
    if (exec_owns_fd(t, (int)a[0])) return -EBADF;
    i64 r = thread_sys(t, SYS_dup, a[0]);
    if (r >= 0 && UNLIKELY(t->process->rings)) uring_duplicated(t->process, (int)a[0], (int)r);
    return r;
}

i64 do_close_range(Thread *t, u64 *a) {
    u64 first = (u32)a[0], last = (u32)a[1];
    int own = *exec_self_fd(t);
    if (first > last) return -EINVAL;
    if (!(a[2] & CLOSE_RANGE_CLOEXEC)) forget_fds(t, (u32)first, (u32)last);
    if (own < 0 || (u64)own < first || (u64)own > last) return thread_sys(t, SYS_close_range, first, last, a[2]);
    long r = 0;
    if ((u64)own > first) r = thread_sys(t, SYS_close_range, first, own - 1, a[2]);
    if (r >= 0 && (u64)own < last) r = thread_sys(t, SYS_close_range, own + 1, last, a[2]);
    return r;
}
