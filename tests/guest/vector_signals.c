/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers that use vectors come between the instructions of hot loops that do: sums of many elements, whose registers, vl, vtype and vcsr live across the rounds
 * of a loop, in several threads; each handler leaves everything as different as can be. */
//: oracle: none
//: cflags: -march=rv64gc_zba
//: timeout: 60
#include "t.h"

#define V(text) ".option push; .option arch, +v;" text "; .option pop"
enum { LEN = 1000, THREADS = 2, SIGNALS = 400 };

static volatile int signals, stop;
static uint32_t numbers[LEN];

static void on_tick(int sig, siginfo_t *info, void *uc) {
    __asm__ volatile(V("vsetvli t0, x0, e8, m8, tu, mu; csrwi vcsr, 7; vmv.v.i v0, -1; vmv.v.i v8, 5; vmv.v.i v16, 7; vmv.v.i v24, 9; vsetivli x0, 1, e64, m1, ta, ma") : : : "t0", "memory");
    __atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

/* Of LEN numbers with their index added, in four registers at a time; the last round has fewer. */
static uint32_t sum(const uint32_t *p, uint64_t *vcsr) {
    uint64_t left = LEN, vl;
    uint32_t total;
    __asm__ volatile(V("csrwi vcsr, 2; vsetvli %0, x0, e32, m4, ta, ma; vmv.v.i v4, 0; vid.v v12;"
                       "1: vsetvli %0, %1, e32, m4, tu, ma; vle32.v v8, (%2); vadd.vv v8, v8, v12; vadd.vv v4, v4, v8;"
                       "vadd.vx v12, v12, %0; sub %1, %1, %0; sh2add %2, %0, %2; bnez %1, 1b;"
                       "vsetvli t0, x0, e32, m4, ta, ma; vmv.s.x v0, x0; vredsum.vs v0, v4, v0; vmv.x.s %3, v0; csrr %4, vcsr")
                     : "=&r"(vl), "+&r"(left), "+&r"(p), "=&r"(total), "=&r"(*vcsr) : : "t0", "memory");
    return total;
}

/* The same without memory: v1 goes round through other registers. */
static uint64_t turn(uint64_t rounds) {
    uint64_t out;
    __asm__ volatile(V("vsetivli x0, 2, e64, m1, ta, ma; vmv.v.i v1, 1; vmv.v.i v2, 3;"
                       "1: vadd.vv v3, v1, v2; vxor.vv v4, v3, v1; vadd.vv v1, v4, v2; vsub.vv v2, v3, v2; addi %1, %1, -1; bnez %1, 1b;"
                       "vadd.vv v1, v1, v2; vmv.x.s %0, v1")
                     : "=r"(out), "+r"(rounds));
    return out;
}
static uint64_t turn_scalar(uint64_t rounds) {
    uint64_t a = 1, b = 3;
    while (rounds--) {
        uint64_t c = a + b, d = c ^ a;
        a = d + b, b = c - b;
    }
    return a + b;
}

static void *work(void *arg) {
    uint32_t want = 0;
    uint64_t vcsr, turned = turn_scalar(3000);
    for (int k = 0; k < LEN; k++) want += numbers[k] + (uint32_t)k;
    while (!stop) {
        CHECK(sum(numbers, &vcsr) == want && vcsr == 2);
        CHECK(turn(3000) == turned);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    for (int k = 0; k < LEN; k++) numbers[k] = (uint32_t)k * 2654435761u;
    on_signal(SIGUSR1, on_tick, 0);
    for (int k = 0; k < THREADS; k++) CHECK(pthread_create(&threads[k], NULL, work, NULL) == 0);
    for (int k = 0; signals < SIGNALS; k++) {
        CHECK(pthread_kill(threads[k % THREADS], SIGUSR1) == 0);
        struct timespec ts = {0, 200000};
        nanosleep(&ts, NULL);
    }
    stop = 1;
    for (int k = 0; k < THREADS; k++) pthread_join(threads[k], NULL);
    puts("good");
    return 0;
}
