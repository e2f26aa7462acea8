/* SPDX-License-Identifier: Apache-2.0 */
/* user/host: what the process VM needs of the host's processor and its signal frames, one file per host.
 *
 * Two things here must be machine code. A host call on the guest's behalf, with the check for a recorded
 * signal directly before it, so that a signal that comes between check and call is not slept through: the
 * signal handler asks host_interrupt to move a thread out of that window. And starting and ending threads that share
 * our memory without a C library's help.
 */
#ifndef USER_HOST_H
#define USER_HOST_H

#include "base/guard.h"
#include <errno.h>
#include <signal.h>

/* Result of host_sys when the call was not made, or was undone by the kernel so that it can be made again. */
enum { HOST_INTERRUPTED = 512 };

/* System call n with args[0..5], or -HOST_INTERRUPTED if *pending is not 0 at the moment of the call. */
long host_sys(const volatile u32 *pending, long n, const u64 *args);

/* Guest memory: 0 or -EFAULT, possibly half done. */
static inline long host_copy(void *to, const void *from, size_t size) { return guard_copy(to, from, size) == size ? 0 : -EFAULT; }

/* clone(2) where the child runs fn(arg) on `stack` (its upper end) and never returns. */
long host_clone(u64 flags, void *stack, u64 ptid, u64 ctid, void (*fn)(void *), void *arg);
/* clone3(2), likewise; args->stack must be set. */
long host_clone3(void *args, size_t size, void (*fn)(void *), void *arg);
/* Unmaps the memory that the calling thread runs on and ends the thread. */
_Noreturn void host_unmap_and_exit(void *at, size_t size, int status);
/* Calls fn(arg) on another stack. fn does not return. */
_Noreturn void host_enter(void *stack, void (*fn)(void *), void *arg);

/* Makes `thread` findable for the tracer of a thread that stands anywhere: see traced.h. Generated code leaves it alone. */
void host_mark_thread(void *thread);

/* sa_restorer of the host's sigaction. */
void host_restorer(void);
/* In a signal handler, ucontext `uc`: */
void host_interrupt(void *uc);        /* leave host_sys's window, if in it */
u64 *host_mask(void *uc);             /* the signal mask that returning from the handler sets */
u64 host_pc(const void *uc);
bool host_fault_is_write(const void *uc);

#endif
