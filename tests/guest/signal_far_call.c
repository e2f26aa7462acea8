/* SPDX-License-Identifier: Apache-2.0 */
/* A signal that arrives while the program is at a far call to a lower address (auipc ra; jalr ra). The call polled for
 * signals, and when one was there it was done again, after ra, which the target is made of, had got the return
 * address: the program went on anywhere. Python's test_signal showed it. */
#include "t.h"

static volatile int ticks;
static void tick(int sig, siginfo_t *info, void *uc) { ticks++; }

#if defined(__riscv)
long calls_of(long count);
__asm__(".text\n"
        ".option push\n"
        ".option norelax\n"
        "below: addi a1, a1, 1\n"
        "       ret\n"
        ".globl calls_of\n"
        "calls_of: mv t3, ra\n"
        "       li a1, 0\n"
        "1:\n"
        ".rept 16\n"
        "0:     auipc ra, %pcrel_hi(below)\n"
        "       jalr ra, %pcrel_lo(0b)(ra)\n"
        ".endr\n"
        "       addi a0, a0, -1\n"
        "       bnez a0, 1b\n"
        "       mv a0, a1\n"
        "       mv ra, t3\n"
        "       ret\n"
        ".option pop\n");
#else
static long calls_of(long count) { return 16 * count; }
#endif

int main(void) {
    on_signal(SIGALRM, tick, SA_RESTART);
    struct itimerval every = {{0, 200}, {0, 200}};
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    while (ticks < 300) CHECK(calls_of(10000) == 160000);
    printf("all calls returned\n");
}
