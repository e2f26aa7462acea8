/* SPDX-License-Identifier: Apache-2.0 */
/* user/tracer: ptrace(2), the side of the guest that traces. traced.h says how the two sides work together.
 *
 * Waiting is where both meet: wait4 and waitid look at each stop of the host's, tell the guest of those that a traced guest
 * made, and let the thread go on from all others. While the guest does not wait, its tracees stay in such stops; as its SIGCHLD
 * comes from the host for each of them, it will.
 *
 * What the tracer writes into a tracee's memory is noted and handed over when that goes on, so that translations of it are dropped.
 * PTRACE_SINGLESTEP is EIO, as on every Linux for riscv64: debuggers there step by breakpoints.
 */
#ifndef USER_TRACER_H
#define USER_TRACER_H

#include "user/thread.h"

/* In the child of a fork: it traces nobody. */
void tracer_forked(Process *p);
/* The guest has opened the path as fd, for writing: if that is a /proc/PID/mem, writes to it are noted. */
void tracer_opened(Thread *t, u64 path_at, int fd);
void tracer_closed(Thread *t, u32 first, u32 last);
/* It has written to that fd: [at, at + size). */
void tracer_wrote(Thread *t, int fd, u64 at, i64 size);

#endif
