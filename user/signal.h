/* SPDX-License-Identifier: Apache-2.0 */
/* user/signal: signals of the guest.
 *
 * The host kernel's queues and masks are the guest's. What the guest ignores, the host ignores; what kills it by
 * default kills the host process by default; what the guest handles, the host's handler here *records* in the thread:
 * it copies the siginfo, blocks everything further in the mask that the thread returns to, gets the
 * thread out of host_sys's window, and kicks the engine. So at most one signal is recorded at a time, and the rest
 * wait where they would natively. The thread delivers it, by building the guest's frame, when engine_run or the
 * system call has come back, and unblocks.
 *
 * SA_RESTART is passed on to the host, so that the kernel itself decides between restart (the host_sys window) and
 * EINTR.
 *
 * SIGSEGV and SIGBUS differ: guest faults are host faults, so the host never blocks or ignores them; nor SIGFPE, which tells of raised flags. Sent by
 * somebody while the guest blocks them, they are held in the thread.
 */
#ifndef USER_SIGNAL_H
#define USER_SIGNAL_H

#include "user/thread.h"

/* Thread.pending without a signal: only the way out of engine and host_sys is wanted. */
enum { PENDING_NOTHING = 255 };

/* As the guest's kernel knows them. */
enum { GUEST_SIG_DFL = 0, GUEST_SIG_IGN = 1 };
enum { GUEST_SS_ONSTACK = 1, GUEST_SS_DISABLE = 2 };
#define GUEST_SS_AUTODISARM (1u << 31)

static inline u64 sig_bit(int sig) { return 1ull << (sig - 1); }

/* The first thread's table, from what the process inherited; installs the fault handlers. Call with all blocked. */
void signal_init(Thread *t);
/* Copy of a table, with one user. */
SigTable *sigtable_copy(SigTable *from);
/* CLONE_CLEAR_SIGHAND: handlers become the default, what is ignored stays so. */
void sigtable_clear(SigTable *s);
/* The host's SIGSEGV and SIGBUS handlers are ours in any process. */
void signal_install_faults(const Process *p);
void sigtable_release(SigTable *s);

/* Process.core_limit or Process.traced was set: which signals the host may handle by itself depends on them. */
void signal_reinstall(Thread *t);
/* Before execve: the host ignores what the guest ignores. signal_reinstall undoes it. */
void signal_before_exec(Thread *t);

/* Is there anything for signal_deliver to do? */
static inline bool signal_due(const Thread *t) { return t->pending || (t->held & ~t->mask) || traced_asked(&t->traced); }
/* Enters the handlers of recorded signals, or does what is the default; may not return. */
void signal_deliver(Thread *t);
/* Does it with one that was not recorded. */
void signal_deliver_one(Thread *t, int sig, const u8 info[128]);
/* tgkill(2) of the calling thread. */
void signal_raise(int sig);
/* A fault of the guest's own: delivers at once; blocked or ignored, it kills. */
void signal_force(Thread *t, int sig, int code, u64 addr);
/* With that siginfo. */
void signal_force_info(Thread *t, int sig, const u8 info[128]);
/* Sets the guest's mask, and the host's from it. */
void signal_set_mask(Thread *t, u64 mask);
/* Blocks all on the host, until the next signal_set_mask. */
void signal_block_all(void);
/* Ends the process as the signal's default action does. */
_Noreturn void signal_die(Thread *t, int sig);

/* What the host may be asked to block for a guest mask. */
u64 signal_host_mask(u64 guest_mask);
/* After a host call that waited with `mask` in place of the thread's: notes it for the handler's frame. Returns r. */
long signal_waited(Thread *t, long r, u64 mask);

const char *signal_name(int sig);

#endif
