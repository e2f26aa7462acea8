/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers that read and change the interrupted context, as runtimes with preemption and barriers do. */
#include "t.h"

static volatile int calls;
static void *expected_pc;
static char *page;

static void redirected(long arg) {
    printf("redirected with %ld\n", arg);
    fflush(stdout);
    _exit(12);
}

static void redirect(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    UC_PC(uc) = (unsigned long)redirected;
    UC_ARG0(uc) = 4711;
    UC_SP(uc) = (UC_SP(uc) & ~63ul) - 1032 + (sizeof(long) == 8 ? 0 : 0);
#if defined(__riscv)
    UC_SP(uc) &= ~15ul;
#endif
}

/* Make the page accessible, and return to do the access again. */
static void mend(int sig, siginfo_t *info, void *context) {
    calls++;
    mprotect((char *)((unsigned long)info->si_addr & -4096ul), 4096, PROT_READ | PROT_WRITE);
}

/* The mask in the frame is what holds after the handler. */
static void mask_change(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    CHECK(!sigismember(&uc->uc_sigmask, SIGUSR1) && !sigismember(&uc->uc_sigmask, SIGUSR2));
    sigset_t now_blocked;
    sigprocmask(SIG_BLOCK, NULL, &now_blocked);
    CHECK(sigismember(&now_blocked, SIGUSR1));
    sigaddset(&uc->uc_sigmask, SIGUSR2);
}

static ucontext_t contexts[3];
static int steps;
static void coroutine(int id, int times) {
    for (int i = 0; i < times; i++) {
        printf("co %d step %d\n", id, i);
        steps++;
        swapcontext(&contexts[id], &contexts[3 - id]);
    }
}

int main(void) {
    page = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    on_signal(SIGSEGV, mend, 0);
    long sum = 0;
    for (int i = 0; i < 64; i++) {
        page[i * 4096 + 5] += i; /* faults, is mended, goes on */
        sum += page[i * 4096 + 5];
    }
    printf("sum %ld, mended %d\n", sum, calls);
    mprotect(page, 64 * 4096, PROT_NONE);
    calls = 0;
    uint64_t *wide = (uint64_t *)(page + 4096 - 3); /* an access that begins on one page and ends on another */
    *wide = 0x1122334455667788;
    printf("straddle %lx, mended %d\n", (long)*wide, calls);
    mprotect(page, 64 * 4096, PROT_NONE);
    calls = 0;
    memset(page + 100, 7, 20000);
    printf("memset mended %d\n", calls);

    on_signal(SIGUSR1, mask_change, 0);
    raise(SIGUSR1);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("mask after: USR1 %d USR2 %d\n", sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2));

    static char stacks[2][65536];
    for (int i = 1; i <= 2; i++) {
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks[i - 1];
        contexts[i].uc_stack.ss_size = sizeof(stacks[0]);
        contexts[i].uc_link = &contexts[0];
        makecontext(&contexts[i], (void (*)(void))coroutine, 2, i, 3);
    }
    swapcontext(&contexts[0], &contexts[1]);
    printf("steps %d\n", steps);

    fflush(stdout);
    on_signal(SIGSEGV, redirect, 0);
    *(volatile int *)16 = 1;
    return 1;
}
