/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of a soak share. PROGRAM SEED SECONDS: does what it does in an order that the seed decides, until the time is up; prints one line of counts; exit status 0, or 1
 * after a line that says what was wrong. tools/soak.py runs them. */
#ifndef SOAK_H
#define SOAK_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint32_t u32;
typedef uint64_t u64;
#define PAGE 4096u

#define MUST(x) ((x) ? (void)0 : soak_fail(__FILE__, __LINE__, #x))
static inline void soak_fail(const char *file, int line, const char *what) {
    dprintf(2, "wrong: %s:%d: %s (errno %d, pid %d)\n", file, line, what, errno, getpid());
    _exit(1);
}

typedef struct Rng { u64 state; } Rng;
static inline u64 rng_next(Rng *r) {
    u64 z = (r->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
static inline u32 rng_below(Rng *r, u32 n) { return (u32)(rng_next(r) >> 33) % n; }

static struct timespec soak_end;
static inline void soak_start(int argc, char **argv, Rng *r) {
    MUST(argc >= 3);
    r->state = strtoull(argv[1], NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &soak_end);
    soak_end.tv_sec += atoi(argv[2]);
}
static inline int soak_goes_on(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec < soak_end.tv_sec || (now.tv_sec == soak_end.tv_sec && now.tv_nsec < soak_end.tv_nsec);
}

/* Runs `count` threads; the argument is each one's own generator. */
static inline void soak_threads(Rng *r, int count, void *(*fn)(void *)) {
    pthread_t threads[64];
    Rng seeds[64];
    for (int k = 0; k < count; k++) {
        seeds[k].state = rng_next(r);
        MUST(pthread_create(&threads[k], NULL, fn, &seeds[k]) == 0);
    }
    for (int k = 0; k < count; k++) MUST(pthread_join(threads[k], NULL) == 0);
}

#endif
