/* SPDX-License-Identifier: Apache-2.0 */
/* user/traced: ptrace(2), the side of the thread that is traced. tracer.h is the other one.
 *
 * The host's ptrace carries the guest's: who is traced by whom, waiting, permissions, what happens when a tracer dies are
 * the kernel's affair. What it cannot know is where the *guest* stands: the host's stops fall anywhere into the VMM or into
 * generated code. So a traced thread stops by itself, where its guest's registers are exact and no lock is held: it writes what
 * a tracer may ask into Thread.traced, and sends itself a SIGTRAP of a private code (TRACED_CODE). The tracer's
 * Isomer knows that one from others, tells its guest of the stop, writes the answer into the same structure and lets the thread go
 * on; all other stops of the host's it passes over. It finds the Thread by the host's gs base, which is what it is for.
 *
 * Owner: the fields of a Thread that runs are its own but for the request bytes; while it is stopped, its tracer's.
 */
#ifndef USER_TRACED_H
#define USER_TRACED_H

#include "user/abi.h"

struct Thread;

enum { TRACED_MAGIC = 0x49545231, TRACED_CODE = -0x1500 /* si_code: TRACED_STOP by SIGTRAP, "look at your requests" by SIGSEGV */ };

typedef enum TracedKind { /* of a stop, as PTRACE_GET_SYSCALL_INFO tells them apart */
    TRACED_OTHER, TRACED_ENTRY, TRACED_EXIT, TRACED_SECCOMP,
} TracedKind;

typedef enum TracedResume { TRACED_CONT, TRACED_SYSCALL } TracedResume;
enum { TRACED_ON = 1, TRACED_SEIZED = 2 };
enum { TRACED_DIRTY_REGS = 1, TRACED_DIRTY_FPREGS = 2, TRACED_DIRTY_MASK = 4, TRACED_DIRTY_CALL = 8, TRACED_DIRTY_EXTRA = 16 };
enum { TRACED_FLUSH_MAX = 16 };

typedef struct Traced {
    u32 magic;
    u32 on;               /* TRACED_*; 0: nobody traces this thread */
    u32 options;          /* PTRACE_O_*, as the guest's tracer set them */
    u32 resume;           /* TracedResume */
    /* Requests of the tracer to a thread that runs; after any of them it sends the SIGSEGV. */
    u8 begin;             /* on has just been set */
    u8 interrupt;         /* PTRACE_INTERRUPT */
    u8 stop;              /* a SIGSTOP came, with stop_info */
    bool known;           /* gregs and fpregs are those that the guest has now */
    bool fresh;           /* has not made a system call yet: of its parent's fork it reports no exit */
    u32 passing;          /* signal that stops the process, on its way through the host's own stop */
    bool restart;         /* a call came back with EINTR because of the signal that is about to be delivered */
    u64 restart_result;   /* its result register before the call */
    /* The stop. */
    u32 kind;             /* TracedKind */
    u32 status;           /* signal | PTRACE_EVENT_* << 8 */
    u64 message;          /* PTRACE_GETEVENTMSG */
    u64 mask, pc, sp;
    u64 nr, args[6];      /* TRACED_ENTRY, TRACED_SECCOMP */
    i64 result;           /* TRACED_EXIT */
    u32 gregs_size, fpregs_size, extra_size; /* extra_size 0: it has none */
    u8 gregs[33 * 8], fpregs[34 * 8], extra[ABI_EXTRA_MAX]; /* as in a core dump */
    u8 info[128], stop_info[128];
    /* The answer. */
    u32 signal;           /* to deliver; 0: none */
    u32 dirty;            /* TRACED_DIRTY_* */
    u32 flush_count;      /* of memory that was written; above TRACED_FLUSH_MAX: who knows what */
    struct {
        u64 at, size;
    } flush[TRACED_FLUSH_MAX];
} Traced;

/* PTRACE_TRACEME worked. */
void traced_begin(struct Thread *t);
/* A message of the tracer's has come (in a signal handler). False: it is none. */
bool traced_message(struct Thread *t, int sig);
static inline bool traced_asked(const Traced *s) { return s->begin | s->interrupt | s->stop; }
/* Outside of handlers: does what was asked for. */
void traced_requests(struct Thread *t);

/* Signal *sig is about to be delivered: the tracer decides. False: not at all; *sig and info may have changed. */
bool traced_signal(struct Thread *t, int *sig, u8 info[128]);
/* A signal had no effect: the call that it ended is made again, as if it had not come. */
void traced_undo_interrupt(struct Thread *t);

/* Stops around a system call. Entry: the tracer may have changed number and arguments; false: no call, the result is there. */
bool traced_entry(struct Thread *t, TracedKind kind, u32 *nr, u64 args[6]);
void traced_exit(struct Thread *t);
static inline bool traced_wants_calls(const Traced *s) { return s->on && s->resume == TRACED_SYSCALL; }
/* PTRACE_EVENT_*, if the tracer asked for it. */
void traced_event(struct Thread *t, int event, u64 message);

/* Which event a clone with these flags is, 0: none that the tracer asked for. */
int traced_clone_event(const struct Thread *t, u64 flags, u64 exit_signal);
/* Before the host's clone: will the child be traced? PTRACE_EVENT_VFORK is the host's stop in the middle of the call, for which what
 * the tracer sees is made ready here. */
bool traced_clone_prepare(struct Thread *t, int event, u64 flags);
/* In the parent, after it. */
void traced_cloned(struct Thread *t, int event, u64 flags, i64 pid);
/* Of the child: sets its Traced from that of the parent, NULL: nobody traces it. Anywhere before it runs. */
void traced_born(struct Thread *t, const Traced *parent);
/* Its first stop, if it is traced; on its own stack. */
void traced_child_begin(struct Thread *t);

/* What --traced hands over to the program of an execve. */
void traced_exec(const struct Thread *t, Text *spec);
void traced_start(struct Thread *t, const char *spec);

#endif
