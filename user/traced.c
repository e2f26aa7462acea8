/* SPDX-License-Identifier: Apache-2.0 */
/* user/traced: bodies. See traced.h. What stops say follows ptrace(2) and kernel/ptrace.c, kernel/signal.c (ptrace_signal), kernel/fork.c. */
#include "user/traced.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/thread.h"
#include <errno.h>
#include <linux/ptrace.h>
#include <linux/sched.h>

/* --- stopping ------------------------------------------------------------------------------------------ */

/* All that the tracer may ask for. */
static void show(Thread *t, TracedKind kind, u32 status, u64 message, const u8 info[128]) {
    Traced *s = &t->traced;
    const Abi *abi = t->process->abi;
    s->kind = kind;
    s->status = status;
    s->message = message;
    s->mask = t->mask;
    s->pc = t->cpu->pc;
    s->sp = abi->sp_get(t->cpu);
    s->gregs_size = abi->core_regs(t->cpu, s->gregs);
    s->fpregs_size = abi->core_fpregs(t->cpu, s->fpregs);
    s->extra_size = abi->core_extra(t->cpu, s->extra);
    memcpy(s->info, info, sizeof s->info);
    s->known = true;
}

/* The host's stop. Returns when the tracer lets us go on, or at once if there is none any more. */
static void halt(void) {
    siginfo_t info = {.si_signo = SIGTRAP, .si_code = TRACED_CODE};
    u64 open = sig_bit(SIGTRAP) | sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGFPE), mask = ~open, old;
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, 8);
    long pid = sys_call(SYS_getpid), tid = sys_call(SYS_gettid);
    sys_call(SYS_rt_tgsigqueueinfo, pid, tid, SIGTRAP, &info);
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
}

static void flush(Thread *t) {
    Traced *s = &t->traced;
    Process *p = t->process;
    bool all = s->flush_count > TRACED_FLUSH_MAX;
    for (u32 i = 0; i < s->flush_count && !all; i++) {
        space_overwritten(&p->space, s->flush[i].at, s->flush[i].size);
        engine_invalidate(p->engine, s->flush[i].at, s->flush[i].size);
    }
    if (all) space_overwritten(&p->space, 0, p->space.hint_limit);
    if (all) engine_invalidate(p->engine, 0, p->space.hint_limit);
    s->flush_count = 0;
}

static void take_answer(Thread *t) {
    Traced *s = &t->traced;
    const Abi *abi = t->process->abi;
    if (s->dirty & TRACED_DIRTY_REGS) abi->core_regs_set(t->cpu, s->gregs);
    if (s->dirty & TRACED_DIRTY_FPREGS) abi->core_fpregs_set(t->cpu, s->fpregs);
    if (s->dirty & TRACED_DIRTY_EXTRA) abi->core_extra_set(t->cpu, s->extra);
    if (s->dirty & TRACED_DIRTY_MASK) signal_set_mask(t, s->mask);
    s->known = false;
    flush(t);
}

static void stop(Thread *t, TracedKind kind, u32 status, u64 message, const u8 info[128]) {
    Traced *s = &t->traced;
    s->dirty = 0;
    show(t, kind, status, message, info);
    halt();
    take_answer(t);
}

static void fill_info(u8 out[128], int sig, int code) {
    siginfo_t info = {.si_signo = sig, .si_code = code};
    info.si_pid = (pid_t)sys_call(SYS_getpid);
    info.si_uid = (uid_t)sys_call(SYS_getuid);
    memcpy(out, &info, 128);
}

/* A stop that is not for a signal; one that the tracer sends with its answer is sent. */
static void stop_for(Thread *t, TracedKind kind, u32 status, u64 message) {
    u8 info[128];
    fill_info(info, SIGTRAP, (int)status);
    t->traced.signal = 0;
    stop(t, kind, status, message, info);
    if (t->traced.signal) signal_raise((int)t->traced.signal);
}

/* --- requests ------------------------------------------------------------------------------------------------ */

void traced_begin(Thread *t) {
    t->process->traced = true;
    signal_reinstall(t);
}

bool traced_message(Thread *t, int sig) {
    if (sig == SIGTRAP) t->traced.on = 0; /* our own stop came through: the tracer is gone */
    else if (!t->pending) t->pending = PENDING_NOTHING;
    return sig == SIGTRAP || sig == SIGSEGV;
}

static bool take(u8 *request) { return __atomic_exchange_n(request, 0, __ATOMIC_ACQ_REL); }

void traced_requests(Thread *t) {
    Traced *s = &t->traced;
    if (take(&s->begin)) traced_begin(t);
    if (take(&s->stop)) {
        u8 info[128];
        memcpy(info, s->stop_info, sizeof info);
        signal_deliver_one(t, SIGSTOP, info);
    }
    if (take(&s->interrupt) && s->on) stop_for(t, TRACED_OTHER, SIGTRAP | PTRACE_EVENT_STOP << 8, 0);
}

/* --- signals --------------------------------------------------------------------------------------------------- */

bool traced_signal(Thread *t, int *sig, u8 info[128]) {
    Traced *s = &t->traced;
    if (!s->on) return true;
    s->signal = (u32)*sig; /* what becomes of it if the tracer is gone */
    stop(t, TRACED_OTHER, (u32)*sig, 0, info);
    bool other = s->signal != (u32)*sig;
    *sig = (int)s->signal;
    memcpy(info, s->info, 128);
    if (!other || !*sig || !(t->mask & sig_bit(*sig))) return *sig != 0;
    signal_raise(*sig); /* the tracer's choice is blocked: it waits */
    return false;
}

void traced_undo_interrupt(Thread *t) {
    Traced *s = &t->traced;
    if (!s->restart) return;
    s->restart = false;
    t->process->abi->result_set(t->cpu, s->restart_result);
    t->cpu->pc -= t->process->abi->syscall_size;
}

/* --- system calls ------------------------------------------------------------------------------------------------- */

static u32 call_status(const Traced *s) { return SIGTRAP | (s->options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0); }

bool traced_entry(Thread *t, TracedKind kind, u32 *nr, u64 args[6]) {
    Traced *s = &t->traced;
    const Abi *abi = t->process->abi;
    u64 first = args[0];
    s->nr = *nr;
    memcpy(s->args, args, sizeof s->args);
    /* As Linux shows it: the program counter is past the instruction, the result says that there is none yet. */
    abi->result_set(t->cpu, (u64)-ENOSYS);
    t->cpu->pc += abi->syscall_size;
    stop_for(t, kind, kind == TRACED_SECCOMP ? SIGTRAP | PTRACE_EVENT_SECCOMP << 8 : call_status(s), s->message);
    t->cpu->pc -= abi->syscall_size;
    if (s->dirty & TRACED_DIRTY_CALL) {
        memcpy(args, s->args, sizeof s->args);
        *nr = (u32)s->nr;
    } else {
        *nr = abi->syscall_get(t->cpu, args);
        args[0] = first;
    }
    if (*nr == UINT32_MAX) return false;
    abi->syscall_set(t->cpu, *nr, args); /* where a restart finds them */
    return true;
}

void traced_exit(Thread *t) {
    u64 args[6];
    t->process->abi->syscall_get(t->cpu, args);
    t->traced.result = (i64)args[0];
    stop_for(t, TRACED_EXIT, call_status(&t->traced), 2 /* PTRACE_EVENTMSG_SYSCALL_EXIT */);
}

void traced_event(Thread *t, int event, u64 message) {
    const Traced *s = &t->traced;
    if (!s->on || !(s->options >> event & 1)) return; /* PTRACE_O_TRACEX is bit PTRACE_EVENT_X */
    stop_for(t, TRACED_OTHER, SIGTRAP | (u32)event << 8, message);
}

/* --- children ------------------------------------------------------------------------------------------------------- */

int traced_clone_event(const Thread *t, u64 flags, u64 exit_signal) {
    if (!t->traced.on || (flags & CLONE_UNTRACED)) return 0;
    int event = (flags & CLONE_VFORK) ? PTRACE_EVENT_VFORK : exit_signal != SIGCHLD ? PTRACE_EVENT_CLONE : PTRACE_EVENT_FORK;
    return t->traced.options >> event & 1 ? event : 0;
}

bool traced_clone_prepare(Thread *t, int event, u64 flags) {
    if (event == PTRACE_EVENT_VFORK) {
        u8 info[128];
        fill_info(info, SIGTRAP, SIGTRAP | event << 8);
        t->traced.dirty = 0;
        show(t, TRACED_OTHER, SIGTRAP | (u32)event << 8, 0, info);
    }
    return event || (t->traced.on && (flags & CLONE_PTRACE));
}

void traced_cloned(Thread *t, int event, u64 flags, i64 pid) {
    if (event == PTRACE_EVENT_VFORK) take_answer(t);
    else if (event) traced_event(t, event, (u64)pid);
    if (flags & CLONE_VFORK) traced_event(t, PTRACE_EVENT_VFORK_DONE, (u64)pid);
}

void traced_born(Thread *t, const Traced *parent) {
    Traced *s = &t->traced;
    u32 on = parent ? parent->on : 0, options = parent ? parent->options : 0;
    *s = (Traced){.magic = TRACED_MAGIC, .on = on, .options = options, .fresh = true};
    if (!on) return;
    fill_info(s->stop_info, SIGSTOP, SI_USER);
    if (on & TRACED_SEIZED) s->interrupt = true;
    else s->stop = true;
}

void traced_child_begin(Thread *t) {
    if (!t->traced.on) return;
    traced_begin(t);
    traced_requests(t);
}

/* --- execve ----------------------------------------------------------------------------------------------------------- */

void traced_exec(const Thread *t, Text *spec) {
    text_print(spec, "%u:%u:%u", t->traced.on, t->traced.options, t->traced.resume);
}

void traced_start(Thread *t, const char *spec) {
    Traced *s = &t->traced;
    u32 *const fields[] = {&s->on, &s->options, &s->resume};
    for (u32 i = 0; i < ARRAY_LEN(fields); i++) {
        u64 v = 0;
        parse_u64(spec, &spec, &v);
        *fields[i] = (u32)v;
        spec += *spec == ':';
    }
    traced_begin(t);
    u8 info[128];
    fill_info(info, SIGTRAP, SI_USER);
    if (s->options >> PTRACE_EVENT_EXEC & 1) traced_event(t, PTRACE_EVENT_EXEC, (u64)sys_call(SYS_gettid));
    else if (!(s->on & TRACED_SEIZED)) signal_deliver_one(t, SIGTRAP, info);
    if (traced_wants_calls(s)) traced_exit(t);
}
