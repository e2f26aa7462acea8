/* SPDX-License-Identifier: Apache-2.0 */
/* back: what all back ends (and devices) share: memory, threads and errors of the host, by its C library. */
#ifndef BACK_BACK_H
#define BACK_BACK_H

#include "base/base.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/uio.h>

/* Zeroed; no memory at all is the end. free() gives it back. */
static inline void *back_alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (!p) BUG("out of memory");
    return p;
}
static inline char *back_copy(const char *s) { return memcpy(back_alloc(strlen(s) + 1), s, strlen(s) + 1); }

/* A thread with all signals blocked (they are the main thread's). False: the host has no more. */
bool back_thread(pthread_t *out, void *(*run)(void *), void *arg);

/* Nanoseconds of CLOCK_MONOTONIC. */
u64 back_now(void);

/* Writes one sentence to `why`; returns false, so that callers can return it. */
bool back_fail(char *why, size_t why_size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Options as users write them, "kind,key=value,flag": the next one, whose parts are put into key and value (cut at `size`); a flag's
 * value is "on". False: there is none left. *spec moves on. */
bool back_option(const char **spec, char *key, char *value, size_t size);

/* The part [offset, offset + size) of `len` iovecs goes to `to`, which has room for as many. Returns how many it is. */
u32 iov_slice(const struct iovec *iov, u32 len, u64 offset, u64 size, struct iovec *to);

#endif
