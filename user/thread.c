/* SPDX-License-Identifier: Apache-2.0 */
/* user/thread: bodies. See thread.h. */
#include "user/gdb.h"
#include "user/thread.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/syscall.h"
#include "user/trace.h"
#include <errno.h>
#include <linux/ptrace.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* --- memory ---------------------------------------------------------------------------------------- */

Thread *thread_new(Process *p) {
    /* Twice the size, of which an aligned half stays. */
    u8 *raw = sys_mmap(NULL, 2 * THREAD_REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(raw)) return NULL;
    u8 *at = (u8 *)align_up((u64)raw, THREAD_REGION);
    if (at > raw) sys_munmap(raw, (size_t)(at - raw));
    if (at < raw + THREAD_REGION) sys_munmap(at + THREAD_REGION, (size_t)(raw + THREAD_REGION - at));
    sys_mprotect(at + THREAD_ALT_END, PAGE_BYTES, PROT_NONE); /* guard below the VMM's stack */
    Thread *t = (Thread *)at;
    t->process = p;
    t->traced.magic = TRACED_MAGIC;
    t->alt_flags = GUEST_SS_DISABLE;
    return t;
}

void *process_part(Process *p, void **part, size_t size) {
    lock_take(&p->lock);
    if (!*part) {
        void *at = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *part = sys_failed(at) ? NULL : at;
    }
    lock_give(&p->lock);
    return *part;
}

void thread_free(Thread *t) { sys_munmap(t, THREAD_REGION); }

void thread_link(Thread *t) {
    Process *p = t->process;
    lock_take(&p->lock);
    t->next = p->threads;
    t->prev = NULL;
    if (t->next) t->next->prev = t;
    p->threads = t;
    p->thread_count++;
    lock_give(&p->lock);
}

void thread_unlink(Thread *t) {
    Process *p = t->process;
    lock_take(&p->lock);
    if (t->next) t->next->prev = t->prev;
    if (t->prev) t->prev->next = t->next;
    else p->threads = t->next;
    p->thread_count--;
    lock_give(&p->lock);
}

void thread_begin(Thread *t) {
    host_mark_thread(t); /* for tracers */
    t->tid = (int)sys_call(SYS_gettid);
    stack_t ss = {.ss_sp = (u8 *)t + THREAD_HEAD, .ss_size = THREAD_ALT_END - THREAD_HEAD};
    sys_call(SYS_sigaltstack, &ss, 0);
}

long guest_read_string(char *buf, size_t size, u64 from) {
    long len = guard_strlen((const char *)from, size);
    if (len < 0) return len;
    if ((size_t)len == size) return -ENAMETOOLONG;
    if (guest_read(buf, from, (size_t)len) < 0) return -EFAULT;
    buf[len] = 0;
    return len;
}

/* --- running ------------------------------------------------------------------------------------------ */

static bool grow_stack(Thread *t, u64 addr) {
    struct rlimit l;
    if (sys_call(SYS_getrlimit, RLIMIT_STACK, &l) < 0) return false;
    return space_grow(&t->process->space, addr, l.rlim_cur);
}

/* A host fault is a guest fault, but the host knows protections and its own memory, not the guest's view of them. */
static void raise_fault(Thread *t) {
    siginfo_t info;
    memcpy(&info, t->fault_info, sizeof info);
    u64 addr = (u64)info.si_addr;
    int code = info.si_code;
    if (info.si_signo == SIGSEGV) {
        Vma v;
        if (code == SI_KERNEL) addr = t->process->abi->fault_addr(t->cpu); /* not an address of the host at all */
        code = space_find(&t->process->space, addr, &v) && v.start <= addr ? SEGV_ACCERR : SEGV_MAPERR;
        if (code == SEGV_MAPERR && grow_stack(t, addr)) return; /* the instruction is made again */
    }
    signal_force(t, info.si_signo, code, addr);
}

static void raise_fetch(Thread *t) {
    Vma v;
    u64 pc = t->cpu->pc;
    u64 addr = t->cpu->trap_arg > pc && t->cpu->trap_arg < pc + 4 ? t->cpu->trap_arg : pc;
    bool mapped = space_find(&t->process->space, addr, &v) && v.start <= addr;
    bool readable = mapped && (v.prot & PROT_EXEC);
    if (readable) signal_force(t, SIGBUS, BUS_ADRERR, addr); /* the file behind it has got shorter */
    else signal_force(t, SIGSEGV, mapped ? SEGV_ACCERR : SEGV_MAPERR, addr);
}

static void thread_act(Thread *t, TrapCode trap) {
    switch (trap) {
    case TRAP_SYSCALL: syscall_do(t); break;
    case TRAP_BREAKPOINT: signal_force(t, SIGTRAP, TRAP_BRKPT, t->cpu->pc); break;
    case TRAP_ILLEGAL: signal_force(t, SIGILL, ILL_ILLOPC, t->cpu->pc); break;
    case TRAP_MISALIGNED: signal_force(t, SIGBUS, BUS_ADRALN, t->cpu->pc); break;
    case TRAP_FENCE_I:
        engine_flush(t->process->engine, 0, ~0ull);
        t->cpu->pc += 4;
        break;
    case TRAP_FAULT: raise_fault(t); break;
    case TRAP_FETCH: raise_fetch(t); break;
    case TRAP_WAIT: sys_call(SYS_sched_yield); break;
    case TRAP_PRIV: case TRAP_SLOW: BUG("a trap of paged guests");
    case TRAP_RETRY: break; /* the engine's own affair */
    case TRAP_POLL:
    case TRAP_NONE:
    case TRAP_MODE: break;
    }
}

_Noreturn void thread_loop(Thread *t) {
    for (;;) {
        if (UNLIKELY(signal_due(t))) signal_deliver(t);
        thread_act(t, UNLIKELY(t->process->gdb) ? gdb_run(t) : engine_run(t->cpu));
    }
}

/* --- threads of the VMM's own ------------------------------------------------------------------------------ */

typedef struct Own { /* at the start of such a thread's memory */
    void (*fn)(void *arg);
    void *arg;
} Own;
enum { OWN_BYTES = 512 * 1024 };

static void own_entry(void *at) {
    Own *o = at;
    o->fn(o->arg);
    host_unmap_and_exit(at, OWN_BYTES, 0);
}

bool thread_spawn(void *ctx, void (*fn)(void *arg), void *arg, u32 *alive) {
    Own *o = sys_mmap(NULL, OWN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(o)) return false;
    *o = (Own){fn, arg};
    u64 flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
                CLONE_UNTRACED;
    u64 all = ~0ull, old;
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8); /* no signal of the guest's may land there */
    long r = host_clone(flags, (u8 *)o + OWN_BYTES, (u64)alive, (u64)alive, own_entry, o);
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
    if (r < 0) sys_munmap(o, OWN_BYTES);
    return r >= 0;
}

/* --- ending --------------------------------------------------------------------------------------------- */

_Noreturn void process_exit(Thread *t, int status) {
    if (t->shares_parent) thread_exit(t, status);
    traced_event(t, PTRACE_EVENT_EXIT, (u64)(status & 0xff) << 8);
    engine_save(t->process->engine);
    trace_exit(t, status & 0xff, 0);
    trace_flush(t);
    if (t->process->gdb) gdb_exited(t->process, status);
    sys_exit_group(status);
}

_Noreturn void thread_exit(Thread *t, int status) {
    traced_event(t, PTRACE_EVENT_EXIT, (u64)(status & 0xff) << 8);
    signal_block_all();
    if (t->lent) /* the parent sleeps in vfork and frees everything */
        for (;;) sys_call(SYS_exit, status);
    Process *p = t->process;
    if (!t->shares_parent) {
        lock_take(&p->lock);
        bool last = p->thread_count == 1;
        lock_give(&p->lock);
        if (last && p->gdb) gdb_exited(p, status);
        if (last) engine_save(p->engine);
        if (last) trace_flush(t); /* the process ends with its first thread's status */
        thread_unlink(t);
    }
    /* The kernel holds the guest's robust list and clear_child_tid; nothing of ours is needed from here on. */
    __atomic_sub_fetch(&p->tasks, 1, __ATOMIC_RELAXED);
    sigtable_release(t->signals);
    seccomp_drop(t->filters);
    engine_vcpu_drop(t->cpu);
    arena_drop(&t->scratch);
    t->cpu = NULL;
    host_unmap_and_exit(t, THREAD_REGION, status);
}
