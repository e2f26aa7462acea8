/* SPDX-License-Identifier: Apache-2.0 */
/* user/tracer: bodies. See tracer.h. */
#include "user/tracer.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/syscall.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/elf.h>
#include <linux/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

typedef enum TraceeState { TRACEE_RUNS, TRACEE_ATTACHING, TRACEE_STOPPED, TRACEE_GROUP_STOP, TRACEE_LISTENS } TraceeState;

typedef struct Tracee {
    int pid;          /* of the thread */
    TraceeState state;
    bool wants_stop, wants_interrupt; /* TRACEE_ATTACHING */
    u32 on, options;  /* likewise */
    bool foreign;     /* a program of the host's: its stops are told as they are, its registers are none that the guest knows */
    u64 at;           /* of its Traced, in its memory; 0: not met yet */
    Traced now;       /* TRACEE_STOPPED, TRACEE_GROUP_STOP: written back when it goes on */
} Tracee;

typedef struct Written { /* memory of a process, to be flushed there */
    u32 tgid;
    u64 at, size;
} Written;

typedef struct MemFile { /* a /proc/PID/mem that is open for writing */
    int fd;
    u32 tgid;
} MemFile;

typedef struct Tracer {
    Lock lock;
    VEC(Tracee) tracees;
    VEC(Written) written;
    VEC(MemFile) files;
} Tracer;

static Tracer *tracer_of(Process *p) { return process_part(p, (void **)&p->tracer, sizeof(Tracer)); }

void tracer_forked(Process *p) {
    Tracer *r = p->tracer;
    if (!r) return;
    r->tracees.len = r->written.len = 0; /* open files are inherited */
    r->lock = (Lock){0};
}

/* --- the host's ptrace ------------------------------------------------------------------------------------- */

static long host_ptrace(long request, int pid, u64 addr, u64 data) { return sys_call(SYS_ptrace, request, pid, addr, data); }
static void host_go_on(int pid, int sig) { host_ptrace(PTRACE_CONT, pid, 0, (u64)sig); }

static bool host_regs(int pid, struct user_regs_struct *regs) {
    struct iovec io = {regs, sizeof *regs};
    return host_ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, (u64)&io) >= 0;
}

/* The host's: of ours only what the kernel has to do, and exec always, so that we get it as an event and not as a signal. */
static u64 host_options(u32 guest) {
    u32 own = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    return PTRACE_O_TRACEEXEC | (guest & own);
}

static bool remote(long call, int pid, u64 at, void *data, size_t size) {
    struct iovec here = {data, size}, there = {(void *)at, size};
    return sys_call(call, pid, &here, 1, &there, 1, 0) == (long)size;
}
static bool remote_read(int pid, u64 at, void *to, size_t size) { return remote(SYS_process_vm_readv, pid, at, to, size); }
static bool remote_write(int pid, u64 at, void *from, size_t size) { return remote(SYS_process_vm_writev, pid, at, from, size); }

/* The Tgid line of a status file in /proc; the number itself if there is no /proc. */
static u32 tgid_of(int tid) {
    char path[64], buf[1024];
    Text t = text_init(path, sizeof path);
    text_print(&t, "/proc/%d/status", tid);
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? 0 : sys_call(SYS_read, fd, buf, sizeof buf - 1);
    if (fd >= 0) sys_call(SYS_close, fd);
    buf[MAX(n, 0)] = 0;
    const char *line = strstr(buf, "\nTgid:\t"), *end;
    u64 v;
    return line && parse_u64(line + 7, &end, &v) ? (u32)v : (u32)tid;
}

/* Makes a thread look at its requests. */
static void send_message(int tid) {
    siginfo_t info = {.si_signo = SIGSEGV, .si_code = TRACED_CODE};
    if (sys_call(SYS_rt_tgsigqueueinfo, tid, tid, SIGSEGV, &info) >= 0) return;
    sys_call(SYS_rt_tgsigqueueinfo, tgid_of(tid), tid, SIGSEGV, &info);
}

/* --- tracees -------------------------------------------------------------------------------------------------- */

static Tracee *tracee_find(Tracer *r, int pid) {
    for (u32 i = 0; i < r->tracees.len; i++)
        if (r->tracees.at[i].pid == pid) return &r->tracees.at[i];
    return NULL;
}

static Tracee *tracee_add(Tracer *r, int pid) {
    vec_push(&r->tracees, ((Tracee){.pid = pid}));
    return &r->tracees.at[r->tracees.len - 1];
}

static void tracee_forget(Process *p, int pid) {
    Tracer *r = p->tracer;
    if (!r) return;
    lock_take(&r->lock);
    Tracee *e = tracee_find(r, pid);
    if (e) *e = r->tracees.at[--r->tracees.len];
    lock_give(&r->lock);
}

/* Its Traced, found by the host's gs base: false if it is not (yet, or any more) an Isomer. */
static bool tracee_read(Tracee *e, u64 thread) {
    e->at = thread + offsetof(Thread, traced);
    return thread && remote_read(e->pid, e->at, &e->now, sizeof e->now) && e->now.magic == TRACED_MAGIC;
}

#define REQUEST(e, field, value) remote_write((e)->pid, (e)->at + offsetof(Traced, field), (value), sizeof (e)->now.field)

static void hand_over_written(Tracer *r, Tracee *e) {
    u32 tgid = tgid_of(e->pid), kept = 0;
    for (u32 i = 0; i < r->written.len; i++) {
        Written w = r->written.at[i];
        if (w.tgid != tgid) {
            r->written.at[kept++] = w;
            continue;
        }
        u32 n = e->now.flush_count;
        if (n < TRACED_FLUSH_MAX) {
            e->now.flush[n].at = w.at;
            e->now.flush[n].size = w.size;
        }
        if (n <= TRACED_FLUSH_MAX) e->now.flush_count++;
    }
    r->written.len = kept;
}

/* From a stop that the guest was told of. `request`: PTRACE_CONT, PTRACE_LISTEN or PTRACE_DETACH of the host. */
static i64 tracee_resume(Tracer *r, Tracee *e, long request, TracedResume how, int sig) {
    if (sig < 0 || sig > SIG_COUNT) return -EIO;
    if (r->written.len) hand_over_written(r, e);
    e->now.resume = how;
    if (sig && (u32)sig != e->now.status && !(e->now.status >> 8)) { /* another signal than the one that came */
        siginfo_t info = {.si_signo = sig, .si_code = SI_USER};
        info.si_pid = (pid_t)sys_call(SYS_getpid);
        info.si_uid = (uid_t)sys_call(SYS_getuid);
        memcpy(e->now.info, &info, 128);
    }
    e->now.signal = (u32)sig;
    if (request == PTRACE_DETACH) e->now.on = 0;
    if (e->foreign) {
        e->state = TRACEE_RUNS;
        return host_ptrace(request, e->pid, 0, (u64)sig);
    }
    remote_write(e->pid, e->at, &e->now, sizeof e->now);
    e->state = request == PTRACE_LISTEN ? TRACEE_LISTENS : TRACEE_RUNS;
    return host_ptrace(request, e->pid, 0, 0);
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

static bool stops(int sig) { return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU; }

/* The first stop of a child that the kernel attached: it has done nothing yet. It will stop by itself. */
static bool newborn(const struct user_regs_struct *regs, int event, int sig) {
    long call = (long)regs->orig_rax;
    bool clone = call == SYS_clone || call == SYS_clone3 || call == SYS_fork || call == SYS_vfork;
    return clone && regs->rax == 0 && (event == PTRACE_EVENT_STOP || (!event && sig == SIGSTOP));
}

/* Tells a thread that it is traced now. */
static void attach_finish(Tracee *e) {
    e->foreign = false; /* it was met before its main */
    e->now.on = e->on;
    e->now.options = e->options;
    e->now.resume = TRACED_CONT;
    e->now.begin = true;
    e->now.stop = e->wants_stop;
    e->now.interrupt = e->wants_interrupt;
    siginfo_t info = {.si_signo = SIGSTOP, .si_code = SI_USER};
    memcpy(e->now.stop_info, &info, 128);
    remote_write(e->pid, e->at, &e->now, sizeof e->now);
    e->state = TRACEE_RUNS;
    send_message(e->pid);
}

/* A stop that a traced guest made of itself. */
static bool sift_own(Tracee *e, int *status) {
    e->state = TRACEE_STOPPED;
    *status = (int)(e->now.status << 8 | 0x7f);
    return true;
}

/* Between execve and main, or a program of the host's. While the guest has set no options, execve is a SIGTRAP of the thread
 * to itself. */
static bool sift_foreign(Tracee *e, int sig, const siginfo_t *info) {
    bool exec = sig == SIGTRAP && info->si_code == SI_USER && (u32)info->si_pid == tgid_of(e->pid);
    if (exec) host_ptrace(PTRACE_SETOPTIONS, e->pid, 0, host_options(0));
    host_go_on(e->pid, exec ? 0 : sig);
    return false;
}

/* Attached to, and it is not one of ours. */
static bool sift_host_program(Tracee *e, int *status) {
    if (e->state == TRACEE_ATTACHING && e->wants_stop) *status = SIGSTOP << 8 | 0x7f;
    e->foreign = true;
    e->state = TRACEE_STOPPED;
    e->now = (Traced){.on = e->on, .options = e->options, .status = (u32)*status >> 8};
    host_ptrace(PTRACE_GETSIGINFO, e->pid, 0, (u64)e->now.info);
    return true;
}

/* A signal on its way to the thread: its Isomer gets it, and stops when it is the guest's turn. SIGSTOP cannot be handled, so
 * we tell of it. */
static bool sift_signal(Tracee *e, int sig, const siginfo_t *info) {
    if (sig != SIGSTOP || e->now.passing == SIGSTOP) {
        host_go_on(e->pid, sig);
        return false;
    }
    memcpy(e->now.stop_info, info, 128);
    e->now.stop = true;
    REQUEST(e, stop_info, e->now.stop_info);
    REQUEST(e, stop, &e->now.stop);
    send_message(e->pid);
    host_go_on(e->pid, 0);
    return false;
}

static bool sift_event(Tracee *e, int event, int sig) {
    if (event == PTRACE_EVENT_VFORK && e->now.known) {
        host_ptrace(PTRACE_GETEVENTMSG, e->pid, 0, (u64)&e->now.message);
        e->state = TRACEE_STOPPED;
        return true;
    }
    if (event == PTRACE_EVENT_STOP && e->state == TRACEE_LISTENS) {
        e->state = TRACEE_GROUP_STOP;
        e->now.status = SIGTRAP | PTRACE_EVENT_STOP << 8;
        return true;
    }
    host_go_on(e->pid, 0);
    return false;
}

static bool sift_tracee(Tracee *e, const struct user_regs_struct *regs, int *status) {
    int sig = *status >> 8 & 0xff, event = *status >> 16;
    siginfo_t info;
    bool has_info = host_ptrace(PTRACE_GETSIGINFO, e->pid, 0, (u64)&info) >= 0;
    bool isomer = tracee_read(e, regs->gs_base);
    bool group = (event == PTRACE_EVENT_STOP && stops(sig)) || (!event && stops(sig) && !has_info);
    if (newborn(regs, event, sig)) return host_go_on(e->pid, 0), false;
    if (!isomer && (e->foreign || e->state == TRACEE_ATTACHING)) return sift_host_program(e, status);
    if (isomer && (e->foreign || e->state == TRACEE_ATTACHING)) attach_finish(e);
    if (group) {
        e->state = TRACEE_GROUP_STOP;
        e->now.status = (u32)*status >> 8;
        return true;
    }
    if (event) return sift_event(e, event, sig);
    if (!isomer) return sift_foreign(e, sig, &info);
    if (sig == SIGTRAP && info.si_code == TRACED_CODE) return sift_own(e, status);
    return sift_signal(e, sig, &info);
}

/* Is that stop, as the host's wait told of it, one to tell the guest of? Changes it to what the guest shall see. If not, the
 * thread has gone on. */
static bool sift(Thread *t, int pid, int *status) {
    struct user_regs_struct regs;
    if (!host_regs(pid, &regs)) return true; /* nobody that we trace: job control */
    Tracer *r = tracer_of(t->process);
    if (!r) return true;
    lock_take(&r->lock);
    Tracee *e = tracee_find(r, pid);
    if (!e) e = tracee_add(r, pid);
    bool report = sift_tracee(e, &regs, status);
    lock_give(&r->lock);
    return report;
}

i64 do_wait4(Thread *t, u64 *a) {
    int status;
    i64 pid;
    do pid = thread_sys(t, SYS_wait4, a[0], &status, a[2], a[3]);
    while (pid > 0 && WIFSTOPPED(status) && !sift(t, (int)pid, &status));
    if (pid > 0 && !WIFSTOPPED(status) && !WIFCONTINUED(status)) tracee_forget(t->process, (int)pid);
    return pid > 0 && a[1] && guest_write(a[1], &status, sizeof status) < 0 ? -EFAULT : pid;
}

static bool sift_info(Thread *t, siginfo_t *info) {
    bool stopped = info->si_pid && (info->si_code == CLD_TRAPPED || info->si_code == CLD_STOPPED);
    int status = info->si_status << 8 | 0x7f;
    if (!stopped) return true;
    if (!sift(t, info->si_pid, &status)) return false;
    info->si_status = status >> 8;
    return true;
}

i64 do_waitid(Thread *t, u64 *a) {
    siginfo_t info;
    i64 r;
    do {
        info.si_pid = 0;
        info.si_signo = 0;
        r = thread_sys(t, SYS_waitid, a[0], a[1], &info, a[3], a[4]);
    } while (r >= 0 && !sift_info(t, &info));
    if (r < 0) return r;
    bool ended = info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    if (info.si_pid && ended && !(a[3] & WNOWAIT)) tracee_forget(t->process, info.si_pid);
    return a[2] && guest_write(a[2], &info, sizeof(int) * 7) < 0 ? -EFAULT : r;
}

/* --- what is written ------------------------------------------------------------------------------------------------ */

/* Under Tracer.lock. */
static void note_written(Tracer *r, u32 tgid, u64 at, u64 size) {
    Written *last = r->written.len ? &r->written.at[r->written.len - 1] : NULL;
    if (last && last->tgid == tgid && last->at + last->size == at) last->size += size;
    else vec_push(&r->written, ((Written){tgid, at, size}));
}

void tracer_opened(Thread *t, u64 path_at, int fd) {
    u64 pid;
    const char *s;
    char path[64];
    long n = guest_read_string(path, sizeof path, path_at);
    if (n < 10 || strncmp(path, "/proc/", 6) != 0 || strcmp(path + n - 4, "/mem") != 0 || !parse_u64(path + 6, &s, &pid)) return;
    Tracer *r = tracer_of(t->process);
    u32 tgid = tgid_of((int)pid);
    if (!r) return;
    lock_take(&r->lock);
    vec_push(&r->files, ((MemFile){fd, tgid}));
    lock_give(&r->lock);
}

void tracer_closed(Thread *t, u32 first, u32 last) {
    Tracer *r = t->process->tracer;
    lock_take(&r->lock);
    for (u32 i = 0; i < r->files.len; i++)
        if ((u32)r->files.at[i].fd >= first && (u32)r->files.at[i].fd <= last) r->files.at[i--] = r->files.at[--r->files.len];
    lock_give(&r->lock);
}

void tracer_wrote(Thread *t, int fd, u64 at, i64 size) {
    Tracer *r = t->process->tracer;
    u32 tgid = 0;
    lock_take(&r->lock);
    for (u32 i = 0; i < r->files.len; i++)
        if (r->files.at[i].fd == fd) tgid = r->files.at[i].tgid;
    if (tgid && size > 0) note_written(r, tgid, at, (u64)size);
    lock_give(&r->lock);
}

i64 do_process_vm_writev(Thread *t, u64 *a) {
    i64 done = thread_sys(t, SYS_process_vm_writev, a[0], a[1], a[2], a[3], a[4], a[5]), left = done;
    Tracer *r = t->process->tracer;
    if (!r) return done;
    u32 tgid = tgid_of((int)a[0]);
    lock_take(&r->lock);
    for (u64 i = 0; left > 0 && i < a[4]; i++) {
        struct iovec io;
        if (guest_read(&io, a[3] + i * sizeof io, sizeof io) < 0) break;
        note_written(r, tgid, (u64)io.iov_base, io.iov_len);
        left -= (i64)io.iov_len;
    }
    lock_give(&r->lock);
    return done;
}

/* --- requests to a stopped thread -------------------------------------------------------------------------------------- */

static bool known(const Tracee *e) { return e->now.known && e->now.fpregs_size <= sizeof e->now.fpregs && e->now.extra_size <= sizeof e->now.extra; }

/* The registers that only some threads have (Abi.extra_note). */
static i64 set_extra(const Abi *abi, Tracee *e, const struct iovec *io) {
    u8 extra[ABI_EXTRA_MAX];
    u64 size = MIN(io->iov_len, e->now.extra_size);
    memcpy(extra, e->now.extra, sizeof extra);
    if (guest_read(extra, (u64)io->iov_base, size) < 0) return -EFAULT;
    if (io->iov_len < abi->extra_header || !abi->core_extra_valid(extra)) return -EINVAL;
    memcpy(e->now.extra, extra, sizeof extra);
    e->now.dirty |= TRACED_DIRTY_EXTRA;
    return 0;
}

static i64 regset_extra(const Abi *abi, Tracee *e, u64 io_at, bool set) {
    struct iovec io;
    if (guest_read(&io, io_at, sizeof io) < 0) return -EFAULT;
    if (io.iov_len % 4) return -EINVAL;
    if (!known(e)) return -EIO;
    if (!e->now.extra_size) return -EINVAL;
    io.iov_len = MIN(io.iov_len, abi->extra_max);
    i64 r = set ? set_extra(abi, e, &io) : guest_write((u64)io.iov_base, e->now.extra, MIN(io.iov_len, e->now.extra_size));
    return r < 0 ? r : guest_write(io_at + 8, &io.iov_len, 8);
}

/* PTRACE_GETREGSET, PTRACE_SETREGSET: those of a core dump. */
static i64 regset(const Abi *abi, Tracee *e, u64 type, u64 io_at, bool set) {
    struct iovec io;
    bool general = type == NT_PRSTATUS;
    if (type == abi->extra_note) return regset_extra(abi, e, io_at, set);
    if (!general && type != NT_PRFPREG) return -EINVAL;
    u32 have = general ? e->now.gregs_size : e->now.fpregs_size;
    u8 *regs = general ? e->now.gregs : e->now.fpregs;
    if (guest_read(&io, io_at, sizeof io) < 0) return -EFAULT;
    if (io.iov_len % 8) return -EINVAL;
    if (!known(e)) return -EIO; /* it stands somewhere in the middle */
    io.iov_len = MIN(io.iov_len, have);
    if (set ? guest_read(regs, (u64)io.iov_base, io.iov_len) < 0 : guest_write((u64)io.iov_base, regs, io.iov_len) < 0)
        return -EFAULT;
    if (set) e->now.dirty |= general ? TRACED_DIRTY_REGS : TRACED_DIRTY_FPREGS;
    return guest_write(io_at + 8, &io.iov_len, 8);
}

typedef struct CallInfo { /* struct ptrace_syscall_info */
    u8 op, reserved;
    u16 flags;
    u32 arch;
    u64 ip, sp;
    union {
        struct {
            u64 nr, args[6];
            u32 ret_data, pad;
        } entry;
        struct {
            i64 rval;
            u8 is_error;
        } exit;
    };
} CallInfo;

static i64 get_call_info(Thread *t, const Tracee *e, u64 size, u64 to) {
    const Traced *s = &e->now;
    CallInfo c = {.op = (u8)s->kind, .arch = t->process->abi->audit_arch, .ip = s->pc, .sp = s->sp};
    u64 have = offsetof(CallInfo, entry);
    if (s->kind == TRACED_ENTRY || s->kind == TRACED_SECCOMP) {
        c.entry.nr = s->nr;
        memcpy(c.entry.args, s->args, sizeof s->args);
        c.entry.ret_data = (u32)s->message;
        have = s->kind == TRACED_ENTRY ? offsetof(CallInfo, entry.ret_data) : offsetof(CallInfo, entry.pad);
    } else if (s->kind == TRACED_EXIT) {
        c.exit.rval = s->result;
        c.exit.is_error = (u64)s->result >= (u64)-4095;
        have = offsetof(CallInfo, exit.is_error) + 1;
    }
    return guest_write(to, &c, MIN(size, have)) < 0 ? -EFAULT : (i64)have;
}

/* PTRACE_SET_SYSCALL_INFO [Linux 6.16] */
static i64 set_call_info(Tracee *e, u64 size, u64 from) {
    CallInfo c = {0};
    u32 kind = e->now.kind;
    if (size < offsetof(CallInfo, entry.ret_data) || guest_read(&c, from, MIN(size, sizeof c)) < 0) return size < 24 ? -EINVAL : -EFAULT;
    if (c.flags || c.reserved || c.op != kind) return -EINVAL;
    if (kind == TRACED_EXIT) {
        u64 v = (u64)c.exit.rval;
        memcpy(e->now.gregs + 10 * 8, &v, 8); /* a0, behind pc and x1..x9 */
        e->now.dirty |= TRACED_DIRTY_REGS;
    } else if (kind == TRACED_ENTRY || kind == TRACED_SECCOMP) {
        e->now.nr = c.entry.nr;
        memcpy(e->now.args, c.entry.args, sizeof c.entry.args);
        e->now.dirty |= TRACED_DIRTY_CALL;
    } else {
        return -EINVAL;
    }
    return 0;
}

static bool options_valid(u64 options) { return !(options & ~(u64)(PTRACE_O_MASK)); }

static i64 set_options(Tracee *e, u64 options) {
    if (!options_valid(options)) return -EINVAL;
    e->now.options = (u32)options;
    return host_ptrace(PTRACE_SETOPTIONS, e->pid, 0, host_options((u32)options));
}

static i64 poke(Tracer *r, const Tracee *e, u64 addr, u64 data) {
    i64 done = host_ptrace(PTRACE_POKEDATA, e->pid, addr, data);
    if (done >= 0) note_written(r, tgid_of(e->pid), addr, 8);
    return done;
}

/* One request, under Tracer.lock. */
static i64 request_stopped(Thread *t, Tracer *r, Tracee *e, const u64 *a) {
    bool group = e->state == TRACEE_GROUP_STOP;
    u64 addr = a[2], data = a[3];
    switch ((int)a[0]) {
    case PTRACE_PEEKTEXT: case PTRACE_PEEKDATA: return host_ptrace(PTRACE_PEEKDATA, e->pid, addr, data);
    case PTRACE_POKETEXT: case PTRACE_POKEDATA: return poke(r, e, addr, data);
    case PTRACE_CONT: return tracee_resume(r, e, PTRACE_CONT, TRACED_CONT, (int)data);
    case PTRACE_SYSCALL: return tracee_resume(r, e, PTRACE_CONT, TRACED_SYSCALL, (int)data);
    case PTRACE_LISTEN: return group ? tracee_resume(r, e, PTRACE_LISTEN, (TracedResume)e->now.resume, 0) : -EIO;
    case PTRACE_DETACH: {
        i64 done = tracee_resume(r, e, PTRACE_DETACH, TRACED_CONT, (int)data);
        if (done >= 0) *e = r->tracees.at[--r->tracees.len];
        return done;
    }
    case PTRACE_GETREGSET: return regset(t->process->abi, e, addr, data, false);
    case PTRACE_SETREGSET: return regset(t->process->abi, e, addr, data, true);
    case PTRACE_SETOPTIONS: return set_options(e, data);
    case PTRACE_GETEVENTMSG: return guest_write(data, &e->now.message, 8);
    case PTRACE_GETSIGINFO: return group ? host_ptrace(PTRACE_GETSIGINFO, e->pid, 0, data) : guest_write(data, e->now.info, 128);
    case PTRACE_SETSIGINFO: return group ? -EINVAL : guest_read(e->now.info, data, 128);
    case PTRACE_GETSIGMASK: return addr != 8 ? -EINVAL : guest_write(data, &e->now.mask, 8);
    case PTRACE_SETSIGMASK:
        if (addr != 8) return -EINVAL;
        e->now.dirty |= TRACED_DIRTY_MASK;
        return guest_read(&e->now.mask, data, 8);
    case PTRACE_PEEKSIGINFO: return host_ptrace(PTRACE_PEEKSIGINFO, e->pid, addr, data);
    case PTRACE_GET_SYSCALL_INFO: return get_call_info(t, e, addr, data);
    case 0x4212 /* PTRACE_SET_SYSCALL_INFO */: return set_call_info(e, addr, data);
    default: return -EIO;
    }
}

/* --- the call --------------------------------------------------------------------------------------------------------------- */

static i64 trace_me(Thread *t) {
    i64 r = host_ptrace(PTRACE_TRACEME, 0, 0, 0);
    if (r < 0) return r;
    t->traced.options = 0;
    t->traced.resume = TRACED_CONT;
    t->traced.on = TRACED_ON;
    traced_begin(t);
    return 0;
}

/* PTRACE_ATTACH and PTRACE_SEIZE: the host's SEIZE, and a stop of the host's in which the thread gets to know it. */
static i64 attach(Tracer *r, int pid, bool seize, u64 options) {
    if (!options_valid(options)) return -EIO;
    i64 done = host_ptrace(PTRACE_SEIZE, pid, 0, host_options((u32)options));
    if (done < 0) return done;
    Tracee *e = tracee_find(r, pid);
    if (!e) e = tracee_add(r, pid);
    *e = (Tracee){.pid = pid, .state = TRACEE_ATTACHING, .options = (u32)options, .wants_stop = !seize};
    e->on = TRACED_ON | (seize ? TRACED_SEIZED : 0);
    host_ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    return 0;
}

static i64 interrupt(Tracee *e) {
    if (e->state == TRACEE_ATTACHING) {
        if (!(e->on & TRACED_SEIZED)) return -EIO;
        e->wants_interrupt = true;
        return 0;
    }
    if (!(e->now.on & TRACED_SEIZED)) return -EIO;
    u8 one = true;
    REQUEST(e, interrupt, &one);
    if (e->state == TRACEE_STOPPED || e->state == TRACEE_GROUP_STOP) e->now.interrupt = true;
    else send_message(e->pid);
    return 0;
}

static i64 request_locked(Thread *t, Tracer *r, const u64 *a) {
    int pid = (int)a[1];
    if (a[0] == PTRACE_ATTACH) return attach(r, pid, false, 0);
    if (a[0] == PTRACE_SEIZE) return a[2] ? -EIO : attach(r, pid, true, a[3]);
    Tracee *e = tracee_find(r, pid);
    if (!e) return -ESRCH;
    if (a[0] == PTRACE_KILL) return sys_call(SYS_tkill, pid, SIGKILL) < 0 ? -ESRCH : 0;
    if (a[0] == PTRACE_INTERRUPT) return interrupt(e);
    if (e->state != TRACEE_STOPPED && e->state != TRACEE_GROUP_STOP) return -ESRCH;
    return request_stopped(t, r, e, a);
}

i64 do_ptrace(Thread *t, u64 *a) {
    if (a[0] == PTRACE_TRACEME) return trace_me(t);
    Tracer *r = tracer_of(t->process);
    if (!r) return -ENOMEM;
    lock_take(&r->lock);
    i64 result = request_locked(t, r, a);
    lock_give(&r->lock);
    return result;
}
