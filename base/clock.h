/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks at the price of its vDSO, without a C library: guests read clocks in loops. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/base.h"
#include <time.h>

/* Finds the vDSO's function in the image at `vdso` (AT_SYSINFO_EHDR; NULL: there is none). Once, before threads start; until
 * then, and where nothing is found, clocks are read by system call. */
void clock_init(const void *vdso);
/* clock_gettime(2): 0 or -errno. */
long clock_read(int clock, struct timespec *out);
/* A clock in nanoseconds; 0: there is none such. */
u64 clock_get_ns(int clock);
/* CLOCK_MONOTONIC. */
static inline u64 clock_ns(void) { return clock_get_ns(CLOCK_MONOTONIC); }

#endif
