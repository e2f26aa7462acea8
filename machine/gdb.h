/* SPDX-License-Identifier: Apache-2.0 */
/* machine/gdb: a GDB stub for a whole machine. Threads are harts; all stop and go together. A breakpoint is an ebreak in memory, so it counts for every
 * address space that the page is in; a hart's virtual addresses are as its current mode sees them, and what is not mapped is taken as physical. */
#ifndef MACHINE_GDB_H
#define MACHINE_GDB_H

#include "machine/machine.h"

typedef struct Gdb Gdb;
/* Listens at a TCP port of this host ("1234") or a Unix socket ("/path"). NULL: why. The machine runs until somebody connects; with `wait` it does not begin. */
Gdb *gdb_new(Machine *m, const char *where, bool wait, char *why, size_t why_size);
/* After machine_run: tells the debugger how it ended. */
void gdb_drop(Gdb *g, int status);

#endif
