/* SPDX-License-Identifier: Apache-2.0 */
/* user/signal: bodies. See signal.h. */
#include "user/gdb.h"
#include "user/signal.h"
#include "base/sys.h"
#include "user/core.h"
#include "user/syscall.h"
#include "user/trace.h"
#include <errno.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define FAULTS (sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGFPE))

enum { SA_RESTORER_BIT = 0x04000000 };

typedef struct HostAction { /* the host kernel's struct sigaction */
    u64 handler, flags, restorer, mask;
} HostAction;

/* --- masks --------------------------------------------------------------------------------------- */

u64 signal_host_mask(u64 guest_mask) { return guest_mask & ~FAULTS; }

static void host_set_mask(u64 mask) { sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8); }

void signal_set_mask(Thread *t, u64 mask) {
    t->mask = mask & ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP));
    u64 host = signal_host_mask(t->mask);
    /* If a signal is recorded, the host stays blocked until that has been delivered: the call is not made. */
    thread_sys(t, SYS_rt_sigprocmask, SIG_SETMASK, &host, 0, 8);
}

void signal_block_all(void) { host_set_mask(~FAULTS); }

long signal_waited(Thread *t, long r, u64 mask) {
    if (r == -EINTR && t->pending) {
        t->waiting = true;
        t->waiting_mask = mask;
    }
    return r;
}

/* --- handlers of the host -------------------------------------------------------------------------- */

/* Signals that may come although the guest, or a recorded one, blocks them: the host never blocks the faults, and a stop for
 * the tracer opens SIGTRAP. -1: none of them. */
enum { HELD_COUNT = 4 };
static const u8 held_signals[HELD_COUNT] = {SIGSEGV, SIGBUS, SIGTRAP, SIGFPE};
static int held_index(int sig) {
    for (int i = 0; i < HELD_COUNT; i++)
        if (held_signals[i] == sig) return i;
    return -1;
}

static void record(Thread *t, int sig, const siginfo_t *info) {
    int held = held_index(sig);
    bool busy = t->pending && t->pending != PENDING_NOTHING;
    if (held >= 0 && (busy || (t->mask & sig_bit(sig)))) {
        memcpy(t->held_info[held], info, 128);
        t->held |= (u32)sig_bit(sig);
        return;
    }
    memcpy(t->pending_info, info, 128);
    t->pending = (u32)sig;
}

extern const char __ehdr_start[]; /* the linker's: where our own file begins in memory */

static void on_fault(Thread *t, int sig, siginfo_t *info, void *uc) {
    bool guarded = guard_faulted(uc);
    if (!guarded || (t->cpu && t->cpu->phase != PHASE_VMM)) memcpy(t->fault_info, info, 128); /* a vector instruction will want it */
    if (guarded) return;
    if (t->cpu && engine_on_fault(t->cpu, sig, info, uc)) return;
    fd_print(2, "isomer: internal error: %s at %#lx of the program, address %#lx, guest pc %#lx\n", signal_name(sig),
             host_pc(uc) - (u64)__ehdr_start, (u64)info->si_addr, t->cpu ? t->cpu->pc : 0);
    signal_die(t, sig);
}

static void on_signal(int sig, siginfo_t *info, void *uc) {
    Thread *t = thread_current();
    if (sig == SIGFPE && info->si_code > 0 && t->cpu && engine_on_fp_trap(t->cpu, uc)) return;
    if ((sig_bit(sig) & FAULTS) && sig != SIGFPE && info->si_code > 0) {
        on_fault(t, sig, info, uc);
        return;
    }
    if (info->si_code != TRACED_CODE || !traced_message(t, sig)) record(t, sig, info);
    host_interrupt(uc);
    *host_mask(uc) = ~FAULTS;
    engine_kick(t->cpu);
}

/* Gives the host the disposition that belongs to the guest's. What dumps cores, and everything of a traced process, comes to us. */
static void host_install(const Process *p, int sig, const SigAction *a) {
    HostAction h = {.handler = a->handler, .restorer = (u64)host_restorer, .mask = ~FAULTS};
    bool ours = a->handler > GUEST_SIG_IGN || (sig_bit(sig) & FAULTS);
    ours |= p->traced || (p->core_limit && a->handler == GUEST_SIG_DFL && core_signal(sig));
    if (ours) h.handler = (u64)on_signal;
    h.flags = SA_RESTORER_BIT | (a->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_RESTART));
    if (ours && a->handler <= GUEST_SIG_IGN) h.flags |= SA_RESTART; /* in the end nothing interrupts */
    if (ours && sig == SIGCHLD && a->handler == GUEST_SIG_IGN) h.flags |= SA_NOCLDWAIT;
    if (ours) h.flags |= SA_SIGINFO | SA_ONSTACK;
    sys_call(SYS_rt_sigaction, sig, &h, 0, 8);
}

/* --- tables ------------------------------------------------------------------------------------------ */

static SigTable *sigtable_new(void) {
    SigTable *s = sys_mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(s)) BUG("out of host memory");
    s->users = 1;
    return s;
}

SigTable *sigtable_copy(SigTable *from) {
    SigTable *s = sigtable_new();
    lock_take(&from->lock);
    memcpy(s->at, from->at, sizeof s->at);
    lock_give(&from->lock);
    return s;
}

void sigtable_clear(SigTable *s) {
    for (int i = 0; i < SIG_COUNT; i++)
        if (s->at[i].handler != GUEST_SIG_IGN) s->at[i] = (SigAction){0};
}

void signal_install_faults(const Process *p) {
    SigAction none = {0};
    host_install(p, SIGSEGV, &none);
    host_install(p, SIGBUS, &none);
    host_install(p, SIGFPE, &none);
}

void sigtable_release(SigTable *s) {
    if (__atomic_sub_fetch(&s->users, 1, __ATOMIC_ACQ_REL) == 0) sys_munmap(s, sizeof *s);
}

void signal_init(Thread *t) {
    t->signals = sigtable_new();
    for (int sig = 1; sig <= SIG_COUNT; sig++) {
        HostAction h;
        if (sys_call(SYS_rt_sigaction, sig, 0, &h, 8) < 0) continue;
        if (h.handler == GUEST_SIG_IGN) t->signals->at[sig - 1].handler = GUEST_SIG_IGN;
    }
    signal_install_faults(t->process);
}

void signal_reinstall(Thread *t) {
    lock_take(&t->signals->lock);
    for (int sig = 1; sig <= SIG_COUNT; sig++)
        if (core_signal(sig) || t->process->traced) host_install(t->process, sig, &t->signals->at[sig - 1]);
    lock_give(&t->signals->lock);
}

static void host_set_action(int sig, u64 handler) {
    HostAction h = {.handler = handler, .flags = SA_RESTORER_BIT, .restorer = (u64)host_restorer};
    sys_call(SYS_rt_sigaction, sig, &h, 0, 8);
}

void signal_before_exec(Thread *t) {
    for (int sig = 1; sig <= SIG_COUNT; sig++)
        if (t->signals->at[sig - 1].handler == GUEST_SIG_IGN) host_set_action(sig, GUEST_SIG_IGN);
}

static SigAction action_get(Thread *t, int sig) {
    lock_take(&t->signals->lock);
    SigAction a = t->signals->at[sig - 1];
    lock_give(&t->signals->lock);
    return a;
}

static void action_set(Thread *t, int sig, const SigAction *a) {
    lock_take(&t->signals->lock);
    t->signals->at[sig - 1] = *a;
    host_install(t->process, sig, a);
    lock_give(&t->signals->lock);
}

static void fill_fault(u8 info[128], int sig, int code, u64 addr) {
    memset(info, 0, 128);
    memcpy(info, &sig, 4);
    memcpy(info + 8, &code, 4);
    memcpy(info + 16, &addr, 8);
}

/* --- delivery ------------------------------------------------------------------------------------------ */

void signal_raise(int sig) {
    long pid = sys_call(SYS_getpid), tid = sys_call(SYS_gettid);
    sys_call(SYS_tgkill, pid, tid, sig);
}

/* The host's core limit is 0: a core of the VMM would be of the wrong architecture. */
static _Noreturn void die_with_info(Thread *t, int sig, const u8 info[128]) {
    traced_event(t, PTRACE_EVENT_EXIT, (u64)sig);
    signal_block_all();
    trace_exit(t, 0, sig);
    trace_flush(t);
    if (t->process->gdb) gdb_died(t->process, sig);
    core_dump(t, sig, info);
    host_set_action(sig, GUEST_SIG_DFL);
    host_set_mask(~sig_bit(sig));
    signal_raise(sig);
    sys_exit_group(128 + sig); /* PID 1 of a namespace does not die of its own signals */
}

_Noreturn void signal_die(Thread *t, int sig) {
    u8 info[128];
    fill_fault(info, sig, SI_KERNEL, 0);
    die_with_info(t, sig, info);
}

/* The whole process stops, on the host. A tracer sees that stop as it is: Traced says that it is meant. */
static void stop_process(Thread *t, int sig) {
    host_set_action(sig, GUEST_SIG_DFL);
    t->traced.passing = (u32)sig;
    t->traced.known = t->traced.on;
    host_set_mask(~sig_bit(sig));
    signal_raise(sig);
    signal_block_all();
    t->traced.passing = 0;
    t->traced.known = false;
    SigAction a = action_get(t, sig);
    host_install(t->process, sig, &a);
}

/* Signals that stop or are ignored by default are left to the host, whose disposition is the default, too. */
static void act_by_default(Thread *t, int sig, const u8 info[128]) {
    u64 ignored = sig_bit(SIGCHLD) | sig_bit(SIGCONT) | sig_bit(SIGURG) | sig_bit(SIGWINCH);
    u64 stops = sig_bit(SIGTSTP) | sig_bit(SIGTTIN) | sig_bit(SIGTTOU) | sig_bit(SIGSTOP);
    if (sig_bit(sig) & ignored) return;
    if (!(sig_bit(sig) & stops)) die_with_info(t, sig, info);
    stop_process(t, sig);
}

static bool on_altstack(const Thread *t, u64 sp) {
    if (t->alt_flags & GUEST_SS_AUTODISARM) return false;
    return sp > t->alt_sp && sp - t->alt_sp <= t->alt_size;
}

/* Builds the frame: false if the guest's stack cannot hold it. */
static bool enter_handler(Thread *t, int sig, const u8 info[128], const SigAction *a) {
    const Abi *abi = t->process->abi;
    AbiFrame f = {.mask = t->mask, .alt_sp = t->alt_sp, .alt_size = t->alt_size, .alt_flags = t->alt_flags};
    memcpy(f.info, info, sizeof f.info);
    u64 sp = abi->sp_get(t->cpu);
    bool on_alt = t->alt_size && on_altstack(t, sp);
    if (on_alt && sp - t->alt_sp < abi->frame_size(t->cpu)) return false; /* the alternate stack itself is full */
    if ((a->flags & SA_ONSTACK) && t->alt_size && !on_alt) sp = t->alt_sp + t->alt_size;
    if (abi->frame_push(t->cpu, sp, &f, sig, a->handler, t->process->vdso + *abi->vdso_sigreturn) < 0) return false;
    if (t->alt_flags & GUEST_SS_AUTODISARM) {
        t->alt_sp = t->alt_size = 0;
        t->alt_flags = GUEST_SS_DISABLE;
    }
    u64 mask = (t->waiting ? t->waiting_mask : t->mask) | a->mask;
    if (!(a->flags & SA_NODEFER)) mask |= sig_bit(sig);
    t->mask = mask & ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP));
    t->waiting = false;
    return true;
}

/* What the guest's action for the signal says. */
static void act(Thread *t, int sig, const u8 info[128]) {
    SigAction a = action_get(t, sig);
    trace_signal(t, sig, info);
    if (a.handler <= GUEST_SIG_IGN) {
        traced_undo_interrupt(t);
        if (a.handler == GUEST_SIG_DFL) act_by_default(t, sig, info);
        return;
    }
    if (a.flags & SA_RESETHAND) action_set(t, sig, &(SigAction){.flags = a.flags, .mask = a.mask});
    if (enter_handler(t, sig, info, &a)) return;
    if (sig == SIGSEGV) signal_die(t, SIGSEGV);
    u8 fault[128];
    fill_fault(fault, SIGSEGV, SI_KERNEL, 0);
    SigAction segv = action_get(t, SIGSEGV);
    if (segv.handler <= GUEST_SIG_IGN || (t->mask & sig_bit(SIGSEGV))) signal_die(t, SIGSEGV);
    if (!enter_handler(t, SIGSEGV, fault, &segv)) signal_die(t, SIGSEGV);
}

void signal_deliver_one(Thread *t, int sig, const u8 info_[128]) {
    u8 info[128];
    memcpy(info, info_, sizeof info);
    if (UNLIKELY(t->traced.on) && !traced_signal(t, &sig, info)) {
        traced_undo_interrupt(t);
        return;
    }
    act(t, sig, info);
}
static void deliver_held(Thread *t) {
    for (int i = 0; i < HELD_COUNT; i++) {
        int sig = held_signals[i];
        if (!(t->held & ~t->mask & (u32)sig_bit(sig))) continue;
        t->held &= ~(u32)sig_bit(sig);
        signal_deliver_one(t, sig, t->held_info[i]);
    }
}

void signal_deliver(Thread *t) {
    if (t->pending) {
        int sig = (int)t->pending;
        u8 info[128];
        memcpy(info, t->pending_info, sizeof info);
        t->pending = 0; /* everything is blocked: nobody writes it */
        if (sig != PENDING_NOTHING && (LIKELY(!t->process->gdb) || gdb_signal(t, &sig))) signal_deliver_one(t, sig, info);
    }
    if (UNLIKELY(traced_asked(&t->traced))) traced_requests(t);
    deliver_held(t);
    t->waiting = t->traced.restart = false;
    signal_set_mask(t, t->mask);
}

void signal_force(Thread *t, int sig, int code, u64 addr) {
    u8 info[128];
    fill_fault(info, sig, code, addr);
    signal_force_info(t, sig, info);
}

void signal_force_info(Thread *t, int sig, const u8 info_[128]) {
    u8 info[128];
    memcpy(info, info_, sizeof info);
    if (UNLIKELY(t->process->gdb) && !gdb_signal(t, &sig)) return;
    memcpy(info, &sig, 4); /* GDB may have chosen another */
    if (UNLIKELY(t->traced.on) && !traced_signal(t, &sig, info)) {
        signal_set_mask(t, t->mask);
        return;
    }
    SigAction a = action_get(t, sig);
    if (a.handler <= GUEST_SIG_IGN || (t->mask & sig_bit(sig))) {
        trace_signal(t, sig, info);
        die_with_info(t, sig, info);
    }
    act(t, sig, info);
    signal_set_mask(t, t->mask);
}

/* --- system calls ------------------------------------------------------------------------------------------ */

i64 do_rt_sigaction(Thread *t, u64 *a) {
    int sig = (int)a[0];
    if (a[3] != 8 || sig < 1 || sig > SIG_COUNT) return -EINVAL;
    if (a[1] && (sig == SIGKILL || sig == SIGSTOP)) return -EINVAL;
    SigAction act, old = action_get(t, sig);
    if (a[1] && guest_read(&act, a[1], sizeof act) < 0) return -EFAULT;
    if (a[1]) {
        act.flags &= SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND;
        act.mask &= ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP));
        action_set(t, sig, &act);
    }
    return a[2] && guest_write(a[2], &old, sizeof old) < 0 ? -EFAULT : 0;
}

i64 do_rt_sigprocmask(Thread *t, u64 *a) {
    u64 set, old = t->mask, mask = old;
    if (a[3] != 8) return -EINVAL;
    if (a[1]) {
        if (guest_read(&set, a[1], 8) < 0) return -EFAULT;
        if ((int)a[0] == SIG_BLOCK) mask = old | set;
        else if ((int)a[0] == SIG_UNBLOCK) mask = old & ~set;
        else if ((int)a[0] == SIG_SETMASK) mask = set;
        else return -EINVAL;
        mask &= ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP));
        u64 host = signal_host_mask(mask);
        /* A signal recorded before this belongs before the change of masks. */
        long r = thread_sys(t, SYS_rt_sigprocmask, SIG_SETMASK, &host, 0, 8);
        if (r < 0) return r;
        t->mask = mask;
    }
    return a[2] && guest_write(a[2], &old, 8) < 0 ? -EFAULT : 0;
}

i64 do_rt_sigpending(Thread *t, u64 *a) {
    u64 set;
    if (a[1] > 8) return -EINVAL;
    long r = sys_call(SYS_rt_sigpending, &set, 8);
    if (r < 0) return r;
    set |= t->held & t->mask;
    return guest_write(a[0], &set, a[1]);
}

i64 do_rt_sigsuspend(Thread *t, u64 *a) {
    u64 set;
    if (a[1] != 8) return -EINVAL;
    if (guest_read(&set, a[0], 8) < 0) return -EFAULT;
    u64 host = signal_host_mask(set);
    return signal_waited(t, thread_sys(t, SYS_rt_sigsuspend, &host, 8), set);
}

i64 do_rt_sigtimedwait(Thread *t, u64 *a) {
    u64 set;
    if (a[3] != 8) return -EINVAL;
    if (guest_read(&set, a[0], 8) < 0) return -EFAULT;
    for (int i = 0; i < HELD_COUNT; i++) {
        int sig = held_signals[i];
        if (!(t->held & set & sig_bit(sig))) continue;
        t->held &= ~(u32)sig_bit(sig);
        return a[1] && guest_write(a[1], t->held_info[i], 128) < 0 ? -EFAULT : sig;
    }
    return thread_sys(t, SYS_rt_sigtimedwait, &set, a[1], a[2], 8);
}

static i64 altstack_set(Thread *t, u64 sp, u64 size, u32 flags) {
    u32 mode = flags & ~GUEST_SS_AUTODISARM;
    if (mode != 0 && mode != GUEST_SS_ONSTACK && mode != GUEST_SS_DISABLE) return -EINVAL;
    if (mode == GUEST_SS_DISABLE) sp = size = 0;
    else if (size < 2048) return -ENOMEM;
    t->alt_sp = sp;
    t->alt_size = size;
    t->alt_flags = flags;
    return 0;
}

typedef struct GuestStack { /* stack_t */
    u64 sp;
    u32 flags, pad;
    u64 size;
} GuestStack;

i64 do_sigaltstack(Thread *t, u64 *a) {
    u64 sp = t->process->abi->sp_get(t->cpu);
    GuestStack new, old = {.sp = t->alt_sp, .size = t->alt_size};
    bool inside = t->alt_size && on_altstack(t, sp);
    old.flags = (t->alt_size ? (inside ? GUEST_SS_ONSTACK : 0) : GUEST_SS_DISABLE) | (t->alt_flags & GUEST_SS_AUTODISARM);
    if (a[0]) {
        if (guest_read(&new, a[0], sizeof new) < 0) return -EFAULT;
        if (inside) return -EPERM;
        i64 r = altstack_set(t, new.sp, new.size, new.flags);
        if (r < 0) return r;
    }
    return a[1] && guest_write(a[1], &old, sizeof old) < 0 ? -EFAULT : 0;
}

i64 do_rt_sigreturn(Thread *t, u64 *a) {
    AbiFrame f;
    if (t->process->abi->frame_pop(t->cpu, &f) < 0) {
        signal_force(t, SIGSEGV, SI_KERNEL, 0);
        return SYSCALL_NO_RESULT;
    }
    if (!on_altstack(t, t->process->abi->sp_get(t->cpu)) || !t->alt_size)
        altstack_set(t, f.alt_sp, f.alt_size, f.alt_flags);
    signal_set_mask(t, f.mask);
    return SYSCALL_NO_RESULT;
}
