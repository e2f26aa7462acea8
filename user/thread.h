/* SPDX-License-Identifier: Apache-2.0 */
/* user/thread: guest threads and the process that they make up.
 *
 * A guest thread is a host thread. Its Thread lies at the base of an aligned region that also holds its
 * alternate signal stack and the stack that the VMM runs on, so that the stack pointer alone tells which thread
 * runs: thread_current() works in signal handlers too. Generated code uses neither stack.
 *
 * Owner: a Thread is its own thread's, except for the links, which Process.lock guards.
 */
#ifndef USER_THREAD_H
#define USER_THREAD_H

#include "mem/space.h"
#include "user/abi.h"
#include "user/host.h"
#include "user/seccomp.h"
#include "user/traced.h"
#include "user/user.h"

typedef struct Thread Thread;

/* The guest's sigaction, as its kernel keeps it. */
typedef struct SigAction {
    u64 handler, flags, mask;
} SigAction;
enum { SIG_COUNT = 64 };

/* What CLONE_SIGHAND shares. at[n - 1] is signal n's. */
typedef struct SigTable {
    Lock lock;
    u32 users;
    SigAction at[SIG_COUNT];
} SigTable;

typedef struct Process {
    const RunOptions *options;
    const Abi *abi;
    Engine *engine;
    Space space;
    struct Symbols *symbols; /* of the files mapped, if somebody wants names; NULL: nobody does */
    struct Gdb *gdb;     /* -g: user/gdb.h; NULL: none */
    Lock lock;
    Thread *threads;     /* of this process; guarded by lock */
    u32 thread_count;
    u32 tasks;           /* threads, and processes that share our memory; each takes some of the mappings that Linux allows */
    int self_fd;         /* our own executable, when /proc may get lost (chroot); -1: /proc/self/exe will do */
    u64 vdso;            /* where it lies */
    struct Tracer *tracer; /* tracer.h: whom the guest traces; NULL: it never traced anybody */
    struct Rings *rings; /* uring.h; NULL: it never made one */
    bool traced;         /* a thread is or was traced: all signals come to us */
    bool trace_tids;     /* -strace: more than one thread or process by now */
    u64 core_limit;      /* what the guest thinks of RLIMIT_CORE: the host's is 0 */
    char exe[4096];      /* absolute path of the program */
    u8 *auxv;            /* on the guest's stack: as the guest got it, for /proc/self/auxv */
    u32 auxv_size;
    u64 arg_start, arg_end, env_start, env_end, stack_start; /* on the guest's stack */
    u64 code_start, code_end, data_start, data_end;
} Process;

struct Thread {
    Vcpu *cpu;
    Process *process;
    SigTable *signals;
    u64 mask;                 /* signals that the guest blocks; bit n - 1 */
    u64 waiting_mask;         /* while waiting with a mask of its own (sigsuspend, ppoll, ...) */
    bool waiting;             /* waiting_mask stands in for mask until a signal is delivered */
    bool lent;                /* the region is the parent's to free (vfork) */
    bool shares_parent;       /* CLONE_VM without CLONE_THREAD: another process in the same memory */
    int self_fd;              /* shares_parent: its Process.self_fd, since its descriptors are its own */
    volatile u32 pending;     /* signal recorded by the handler, not delivered yet; 0: none, or PENDING_NOTHING */
    u8 pending_info[128];
    u32 held;                 /* bits: signals in held_info that the guest blocks but the host must not */
    u8 held_info[4][128];     /* SIGSEGV, SIGBUS, SIGTRAP, SIGFPE, sent by somebody */
    u8 fault_info[128];       /* of the host fault that ended engine_run with TRAP_FAULT */
    u64 alt_sp, alt_size;     /* the guest's sigaltstack */
    u32 alt_flags;
    u64 syscall_args[6];
    u32 syscall_nr;
    Thread *next, *prev;
    bool fresh_handlers;      /* child side of clone: the host's fault handlers must be installed again */
    u32 gdb_id;               /* its number for GDB (the host's tid); 0: GDB does not know it */
    bool gdb_running;         /* in generated code, with GDB around */
    Traced traced;            /* ptrace */
    SeccompFilter *filters;   /* newest first */
    bool strict;              /* SECCOMP_MODE_STRICT: filters has just that one */
    int tid;                  /* the host's */
    Arena scratch;            /* of one system call; the parent's to drop after vfork */
};

/* From a function that looks at a call first: the host shall have it. */
enum { CALL_NOT_OURS = 1 };

enum { THREAD_REGION = 256 * 1024, THREAD_ALT_END = 80 * 1024, THREAD_HEAD = 8 * 1024 };

_Static_assert(sizeof(Thread) <= THREAD_HEAD, "the signal stack begins there");

static inline Thread *thread_of_stack(const void *sp) { return (Thread *)((u64)sp & -(u64)THREAD_REGION); }
/* On any stack of a guest thread, handlers included. */
static inline Thread *thread_current(void) { return thread_of_stack(__builtin_frame_address(0)); }
static inline void *thread_stack_top(Thread *t) { return (u8 *)t + THREAD_REGION - 64; }

/* EngineHooks.fetch of a Process. */
const u8 *process_fetch(void *process, u64 pc, size_t *avail, bool *pristine);
/* The engine hears what happens to the process's address space. */
void process_watch_space(Process *p);
/* What only some processes have: made, zeroed, when it is asked for first. NULL: out of memory. */
void *process_part(Process *p, void **part, size_t size);
/* A region with a zeroed Thread; NULL: out of memory. */
Thread *thread_new(Process *p);
/* Its memory only: nobody runs on it. */
void thread_free(Thread *t);
/* Links and unlinks it as one of the process's. */
void thread_link(Thread *t);
void thread_unlink(Thread *t);
/* First thing on the thread's own stack. */
void thread_begin(Thread *t);
/* Runs the guest until it ends. */
_Noreturn void thread_loop(Thread *t);
/* exit(2) of this thread. */
/* EngineHooks.spawn: a thread that is not the guest's. */
bool thread_spawn(void *ctx, void (*fn)(void *arg), void *arg, u32 *alive);
_Noreturn void thread_exit(Thread *t, int status);
/* exit_group(2). */
_Noreturn void process_exit(Thread *t, int status);

/* A system call of the host on the guest's behalf that may sleep: can be interrupted, see host.h. */
#define thread_sys(t, n, ...) thread_sys_((t), (n), SYS_ARG_(0, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0))
#define thread_sys_(t, n, ...) thread_sys6((t), (n), __VA_ARGS__)
static inline long thread_sys6(Thread *t, long n, long a, long b, long c, long d, long e, long f) {
    u64 args[6] = {(u64)a, (u64)b, (u64)c, (u64)d, (u64)e, (u64)f};
    return host_sys(&t->pending, n, args);
}

/* Checked access to guest memory: 0 or -EFAULT. */
static inline long guest_read(void *to, u64 from, size_t size) { return host_copy(to, (const void *)from, size); }
static inline long guest_write(u64 to, const void *from, size_t size) { return host_copy((void *)to, from, size); }
/* A string of the guest into buf: its length, -EFAULT, or -ENAMETOOLONG. */
long guest_read_string(char *buf, size_t size, u64 from);

#endif
