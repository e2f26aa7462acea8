/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks share. Each program does a fixed amount of work, some 0.1 to 0.3 seconds natively, and prints
 * a checksum, so that the driver sees that all who ran it computed the same.
 */
#ifndef BENCH_H
#define BENCH_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t bench_state = 88172645463325252ull;
static inline uint64_t bench_random(void) {
    bench_state ^= bench_state << 13;
    bench_state ^= bench_state >> 7;
    return bench_state ^= bench_state << 17;
}
#endif
