/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in a machine's Linux: threads of several processes, more than there are harts, each with values of its own in all vector registers, which it looks
 * at again and again without a system call: the kernel switches between them, saves and restores. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 3, THREADS = 2 };
static int rounds = 50;

#define V(text) ".option push; .option arch, +v;" text ".option pop"
#define ALL(op, at) "mv t0, " at ";" op " v0, (t0); addi t0, t0, 128;" op " v8, (t0); addi t0, t0, 128;" op " v16, (t0); addi t0, t0, 128;" op " v24, (t0);"

static uint64_t ticks(void) {
    uint64_t v;
    __asm__ volatile("rdtime %0" : "=r"(v));
    return v;
}

/* Sets everything once, then looks and works with it for some time. How often it was not as it should be. */
static uint64_t spin(const uint8_t *p, uint8_t *seen) {
    uint64_t bad = 0;
    __asm__ volatile(V("vsetivli x0, 5, e16, m1, ta, ma; csrwi vcsr, 6;" ALL("vl8re8.v", "%0")) : : "r"(p) : "t0", "memory");
    for (int round = 0; round < rounds; round++) {
        uint64_t vl, vtype, vcsr, end = ticks() + 10000; /* 1 ms */
        while (ticks() < end) __asm__ volatile(V("vadd.vv v1, v1, v2; vadd.vv v30, v30, v31; vsub.vv v1, v1, v2; vsub.vv v30, v30, v31;"));
        __asm__ volatile(V(ALL("vs8r.v", "%0")) : : "r"(seen) : "t0", "memory");
        __asm__ volatile("csrr %0, 0xc20; csrr %1, 0xc21; csrr %2, 0x00f" : "=r"(vl), "=r"(vtype), "=r"(vcsr));
        bad += vl != 5 || vtype != 0xc8 || vcsr != 6 || memcmp(seen, p, 512) != 0;
    }
    return bad;
}

static void *thread(void *arg) {
    uint8_t p[512] __attribute__((aligned(16))), seen[512] __attribute__((aligned(16)));
    uint64_t seed = (uint64_t)getpid() << 8 ^ (uint64_t)arg;
    for (int k = 0; k < 512; k++) p[k] = (uint8_t)((seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 56);
    return (void *)spin(p, seen);
}

static int process(void) {
    pthread_t threads[THREADS];
    uint64_t bad = 0;
    for (uint64_t k = 0; k < THREADS; k++) pthread_create(&threads[k], NULL, thread, (void *)k);
    for (int k = 0; k < THREADS; k++) {
        void *result;
        pthread_join(threads[k], &result);
        bad += (uint64_t)result;
    }
    return bad != 0;
}

int main(int argc, char **argv) {
    if (argc > 1) rounds = atoi(argv[1]);
    int bad = 0, status;
    struct rusage u;
    for (int k = 0; k < PROCESSES; k++)
        if (!fork()) _exit(process());
    while (wait(&status) > 0) bad += status != 0;
    getrusage(RUSAGE_CHILDREN, &u);
    printf("vectors: %s, %s\n", bad ? "WRONG" : "kept", u.ru_nivcsw > 20 ? "switched" : "NOT SWITCHED");
    return bad;
}
