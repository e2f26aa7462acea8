/* SPDX-License-Identifier: Apache-2.0 */
/* user/clone: clone, clone3 and their relatives. With CLONE_VM the child is a host thread (or process) that shares our
 * memory and runs on a region of its own; without, it is a host fork, around which no lock is held.
 */
#include "base/sys.h"
#include "user/gdb.h"
#include "user/exec.h"
#include "user/signal.h"
#include "user/syscall.h"
#include "user/trace.h"
#include "user/tracer.h"
#include "user/uring.h"
#include <errno.h>
#include <linux/sched.h>

typedef struct CloneRequest {
    u64 flags;      /* CLONE_*, for legacy clone with the exit signal in the low byte */
    u64 sp, tls;    /* of the child; sp 0: as the parent */
    u64 ptid, ctid; /* legacy clone */
    struct clone_args *args; /* clone3, else NULL */
    u64 args_size;
} CloneRequest;

/* What the child's registers say when it starts. */
static void child_registers(Thread *t, Vcpu *cpu, const CloneRequest *r) {
    const Abi *abi = t->process->abi;
    abi->born(cpu);
    abi->result_set(cpu, 0);
    if (r->sp) abi->sp_set(cpu, r->sp);
    if (r->flags & CLONE_SETTLS) abi->tls_set(cpu, r->tls);
    cpu->pc += abi->syscall_size;
}

static void child_entry(void *arg) {
    Thread *t = arg;
    thread_begin(t);
    if (t->fresh_handlers) signal_install_faults(t->process);
    signal_set_mask(t, t->mask);
    traced_child_begin(t);
    thread_loop(t);
}

static void child_signals(Thread *t, Thread *child, const CloneRequest *r) {
    child->mask = t->mask;
    if ((r->flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM) {
        child->alt_sp = t->alt_sp;
        child->alt_size = t->alt_size;
        child->alt_flags = t->alt_flags;
    }
    if (r->flags & CLONE_SIGHAND) {
        __atomic_add_fetch(&t->signals->users, 1, __ATOMIC_RELAXED);
        child->signals = t->signals;
        return;
    }
    child->signals = sigtable_copy(t->signals);
    if (r->flags & CLONE_CLEAR_SIGHAND) sigtable_clear(child->signals);
    child->fresh_handlers = true;
}

/* Linux allows 65,530 mappings (vm.max_map_count). Each task takes four; the engine must not be the one who gets none. */
enum { TASKS_MAX = 12000 };

static void child_drop(Thread *child) {
    __atomic_sub_fetch(&child->process->tasks, 1, __ATOMIC_RELAXED);
    if (child->signals) sigtable_release(child->signals);
    if (child->cpu) engine_vcpu_drop(child->cpu);
    seccomp_drop(child->filters);
    arena_drop(&child->scratch);
    thread_free(child);
}

static long host_start(Thread *child, const CloneRequest *r) {
    u64 keep = ~(u64)CLONE_SETTLS;
    if (!r->args)
        return host_clone(r->flags & keep, thread_stack_top(child), r->ptid, r->ctid, child_entry, child);
    struct clone_args a = *r->args;
    a.flags &= keep;
    a.tls = 0;
    a.stack = (u64)child + THREAD_ALT_END + PAGE_BYTES;
    a.stack_size = align_down((u64)thread_stack_top(child) - a.stack, 16);
    return host_clone3(&a, r->args_size, child_entry, child);
}

static i64 clone_sharing(Thread *t, const CloneRequest *r, bool traced) {
    if (t->process->tasks >= TASKS_MAX) return -EAGAIN;
    Thread *child = thread_new(t->process);
    if (!child) return -EAGAIN;
    __atomic_add_fetch(&t->process->tasks, 1, __ATOMIC_RELAXED);
    child->cpu = engine_vcpu_new(t->process->engine, t->cpu);
    if (!child->cpu) {
        child_drop(child);
        return -EAGAIN;
    }
    child->cpu->owner = child;
    child_registers(t, child->cpu, r);
    child_signals(t, child, r);
    traced_born(child, traced ? &t->traced : NULL);
    child->filters = t->filters;
    child->strict = t->strict;
    seccomp_share(child->filters);
    child->shares_parent = !(r->flags & CLONE_THREAD);
    child->self_fd = *exec_self_fd(t);
    child->lent = child->shares_parent && (r->flags & CLONE_VFORK);
    if (!child->shares_parent) thread_link(child);
    bool lent = child->lent, linked = !child->shares_parent;
    signal_block_all();
    long pid = t->pending ? SYSCALL_RESTART : host_start(child, r);
    signal_set_mask(t, t->mask);
    if (pid >= 0 && !lent) return pid; /* the child may have ended: it is not ours to look at any more */
    if (linked) thread_unlink(child);
    child_drop(child);
    return pid;
}

/* In the child of a fork the other threads are gone; their memory is still here (engine_fork_done frees the Vcpus). */
static void forget_threads(Thread *self) {
    Process *p = self->process;
    for (Thread *t = p->threads, *next; t; t = next) {
        next = t->next;
        if (t == self) continue;
        arena_drop(&t->scratch);
        thread_free(t);
    }
    if (p->gdb) gdb_forked(p);
    p->threads = self;
    p->thread_count = 1;
    p->tasks = 1;
    self->next = self->prev = NULL;
}

static long host_fork(const CloneRequest *r) {
    u64 keep = ~(u64)CLONE_SETTLS;
    if (!r->args) return sys_call(SYS_clone, r->flags & keep, 0, r->ptid, r->ctid, 0);
    struct clone_args a = *r->args;
    a.flags &= keep;
    a.tls = a.stack = a.stack_size = 0;
    return sys_call(SYS_clone3, &a, r->args_size);
}

static void fork_child(Thread *t, const CloneRequest *r, bool traced) {
    traced_born(t, traced ? &t->traced : NULL);
    tracer_forked(t->process);
    uring_forked(t->process);
    t->tid = (int)sys_call(SYS_gettid);
    t->held = 0;
    t->process->self_fd = *exec_self_fd(t);
    t->lent = t->shares_parent = false;
    t->signals->users = 1;
    forget_threads(t);
    if (r->flags & CLONE_CLEAR_SIGHAND) {
        sigtable_clear(t->signals);
        signal_install_faults(t->process);
    }
    child_registers(t, t->cpu, r);
}

static i64 clone_copying(Thread *t, const CloneRequest *r, bool traced) {
    Process *p = t->process;
    signal_block_all();
    if (t->pending) return SYSCALL_RESTART;
    engine_fork_prepare(p->engine);
    space_fork_prepare(&p->space);
    lock_take(&p->lock);
    lock_take(&t->signals->lock);
    long pid = host_fork(r);
    lock_give(&t->signals->lock);
    lock_give(&p->lock);
    space_fork_done(&p->space);
    engine_fork_done(p->engine, pid == 0, t->cpu);
    if (pid == 0) fork_child(t, r, traced);
    signal_set_mask(t, t->mask);
    if (pid == 0) traced_child_begin(t);
    return pid == 0 ? SYSCALL_NO_RESULT : pid;
}

static i64 clone_any(Thread *t, const CloneRequest *r) {
    if (r->flags & (CLONE_NEWNS | CLONE_NEWUSER)) exec_pin_self(t);
    t->process->trace_tids = true;
    int event = traced_clone_event(t, r->flags, r->args ? r->args->exit_signal : r->flags & 0xff);
    bool traced = traced_clone_prepare(t, event, r->flags);
    i64 pid = (r->flags & CLONE_VM) ? clone_sharing(t, r, traced) : clone_copying(t, r, traced);
    if (pid > 0 && UNLIKELY(t->traced.on)) traced_cloned(t, event, r->flags, pid);
    return pid;
}

i64 do_clone(Thread *t, u64 *a) {
    /* riscv64's order: flags, stack, parent tid, tls, child tid */
    CloneRequest r = {.flags = a[0] & 0xffffffff, .sp = a[1], .ptid = a[2], .tls = a[3], .ctid = a[4]};
    return clone_any(t, &r);
}

i64 do_clone3(Thread *t, u64 *a) {
    struct clone_args args = {0};
    u64 size = a[1];
    if (size > PAGE_BYTES) return -E2BIG;
    if (size < CLONE_ARGS_SIZE_VER0) return -EINVAL;
    if (guest_read(&args, a[0], MIN(size, sizeof args)) < 0) return -EFAULT;
    for (u64 at = sizeof args; at < size; at++) {
        u8 byte;
        if (guest_read(&byte, a[0] + at, 1) < 0) return -EFAULT;
        if (byte) return -E2BIG;
    }
    if (!args.stack != !args.stack_size) return -EINVAL;
    CloneRequest r = {.flags = args.flags, .tls = args.tls, .args = &args, .args_size = MIN(size, sizeof args)};
    r.sp = args.stack ? args.stack + args.stack_size : 0;
    return clone_any(t, &r);
}

i64 do_unshare(Thread *t, u64 *a) {
    exec_pin_self(t);
    engine_pause(t->process->engine);
    i64 r = thread_sys(t, SYS_unshare, a[0]);
    engine_resume(t->process->engine);
    return r;
}

i64 do_setns(Thread *t, u64 *a) {
    exec_pin_self(t);
    engine_pause(t->process->engine);
    i64 r = thread_sys(t, SYS_setns, a[0], a[1]);
    engine_resume(t->process->engine);
    return r;
}

i64 do_exit(Thread *t, u64 *a) {
    trace_syscall(t, 93, a, SYSCALL_NO_RESULT);
    thread_exit(t, (int)a[0]);
}
i64 do_exit_group(Thread *t, u64 *a) {
    trace_syscall(t, 94, a, SYSCALL_NO_RESULT);
    process_exit(t, (int)a[0]);
}
