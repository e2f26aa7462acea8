/* SPDX-License-Identifier: Apache-2.0 */
/* user/trace: bodies. See trace.h. */
#include "user/trace.h"
#include "base/sys.h"
#include "user/signal.h"

void trace_syscall(Thread *t, u32 nr, const u64 args[6], i64 result) {}
void trace_signal(Thread *t, int sig, const u8 info[128]) {}
void trace_exit(Thread *t, int status, int sig) {}
void trace_flush(Thread *t) {}
const char *signal_name(int sig) { return "SIG"; }
