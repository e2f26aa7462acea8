/* SPDX-License-Identifier: Apache-2.0 */
/* user/trace: prints system calls and signals as strace does, from the kinds of the table (syscall.def). Costs one test
 * when it is off. */
#ifndef USER_TRACE_H
#define USER_TRACE_H

#include "user/syscall.h"

/* The call with its arguments, after it was made; result SYSCALL_NO_RESULT prints "= ?". */
void trace_syscall(Thread *t, u32 nr, const u64 args[6], i64 result);
/* The program's own first line: its start succeeded. */
void trace_execve(Thread *t, const char *path, const char *const *argv, const char *const *envp);
void trace_signal(Thread *t, int sig, const u8 info[128]);
/* "+++ exited with N +++"; sig != 0: "+++ killed by SIG +++". */
void trace_exit(Thread *t, int status, int sig);
/* Before the process dies: what is buffered, statistics. */
void trace_flush(Thread *t);

/* "ENOENT (No such file or directory)" */
const char *errno_name(int error);

#endif
