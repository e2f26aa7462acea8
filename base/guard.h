/* SPDX-License-Identifier: Apache-2.0 */
/* Copies to and from memory that may not be there: a guest's. The handler of SIGSEGV and SIGBUS asks guard_faulted first. */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include "base/base.h"

/* Copies upwards, and stops at a fault. Returns the bytes that were copied; 1, 2, 4 or 8 bytes are one access. */
size_t guard_copy(void *to, const void *from, size_t size);
/* Length of the string at s, `max` if it has no end before that, or -EFAULT. */
long guard_strlen(const char *s, size_t max);
/* In a signal handler with this ucontext: was it in one of them? Then it stops there. */
bool guard_faulted(void *uc);

#endif
