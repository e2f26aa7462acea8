/* SPDX-License-Identifier: Apache-2.0 */
/* machine/trace: what a machine does, as lines for people: traps, returns and address spaces (priv), accesses to devices (mmio), and what happens to virtio queues
 * (virtio). Lines begin with what they are about. Where nothing is traced, it costs a test of a field on paths that are slow anyway. */
#ifndef MACHINE_TRACE_H
#define MACHINE_TRACE_H

#include "machine/riscv/hart.h"

enum { TRACE_PRIV = 1, TRACE_MMIO = 2, TRACE_VIRTIO = 4 };

/* "priv,mmio,virtio". False: something else. */
bool trace_parse(const char *list, u32 *what);
/* Tells memory's and devices' doings to `fd` from now on: for TRACE_MMIO, TRACE_VIRTIO. */
void trace_attach(Physical *memory, u32 what, int fd);

/* The hart has taken a trap that it was in `from` for. / It has returned. / satp was written. */
void trace_trap(const Hart *h, u64 from, u64 cause, u64 epc, u64 tval);
void trace_return(const Hart *h, u64 from);
void trace_satp(const Hart *h);

#endif
