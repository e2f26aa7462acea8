/* SPDX-License-Identifier: Apache-2.0 */
/* user/gdb: a stub of GDB's remote serial protocol for the guest process (-g): registers, memory, breakpoints (which GDB writes
 * into memory), steps, threads, signals. [GDB manual, appendix E]
 *
 * All-stop: when one thread stops, the others are kicked out of generated code and park before they run again; threads
 * that sleep in system calls stay there, with exact registers. The thread that stopped talks to GDB, one
 * at a time, under Gdb.lock. A helper thread of the host listens while the guest runs, for GDB's interrupt.
 */
#ifndef USER_GDB_H
#define USER_GDB_H

#include "user/thread.h"

typedef struct Gdb Gdb;

/* Listens at `where` (a TCP port on the loopback interface, or the path of a Unix socket; "%d" is the process id) and waits for GDB.
 * NULL, or why not. Sets p->gdb. */
const char *gdb_start(Process *p, const char *where);
/* In place of engine_run, when p->gdb is set. */
TrapCode gdb_run(Thread *t);
/* Signal *sig is about to be delivered: GDB decides. False: not at all; *sig may have changed. */
bool gdb_signal(Thread *t, int *sig);
/* The process ends with this status, or by this signal. */
void gdb_exited(Process *p, int status);
void gdb_died(Process *p, int sig);
/* In the child of a fork: GDB stays with the parent. */
void gdb_forked(Process *p);

#endif
