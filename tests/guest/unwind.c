/* SPDX-License-Identifier: Apache-2.0 */
/* Unwinding through a signal frame: backtrace() in a handler sees the interrupted function; cleanups run. */
//: cflags: -fexceptions -fasynchronous-unwind-tables -O1
#include "t.h"
#include <unwind.h>

void *frames[64];
int frame_count; /* not static, as in signal_info.c */

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg) {
    if (frame_count < COUNT(frames)) frames[frame_count++] = (void *)_Unwind_GetRegionStart(context);
    return _URC_NO_REASON;
}

static void handler(int sig, siginfo_t *info, void *uc) { _Unwind_Backtrace(note, NULL); }

static __attribute__((noinline)) void innermost(volatile int *p) {
    *p = 1;
    __asm__ volatile("");
}
static __attribute__((noinline)) void middle(volatile int *p) {
    innermost(p);
    __asm__ volatile("");
}

static void mend(int sig, siginfo_t *info, void *uc) {
    handler(sig, info, uc);
    mprotect((void *)((long)info->si_addr & -4096), 4096, PROT_READ | PROT_WRITE);
}

static int cleanups;
static void cleanup(int *x) { cleanups += *x; }
static void *cancelled(void *arg) {
    int __attribute__((cleanup(cleanup))) x = 5;
    __atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
    for (;;) pause(); /* the cancelling signal's handler unwinds through here */
}

static bool seen(void *function) {
    for (int i = 0; i < frame_count; i++) if (frames[i] == function) return true;
    return false;
}

int main(void) {
    int *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    on_signal(SIGSEGV, mend, 0);
    middle(page);
    printf("innermost %d middle %d main %d\n", seen((void *)innermost), seen((void *)middle), seen((void *)main));
    frame_count = 0;
    on_signal(SIGUSR1, handler, 0);
    raise(SIGUSR1);
    printf("main %d\n", seen((void *)main));
    int started = 0;
    pthread_t t;
    pthread_create(&t, NULL, cancelled, &started);
    while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST)) sched_yield();
    sleep_ms(20);
    pthread_cancel(t);
    pthread_join(t, NULL);
    printf("cleanups %d\n", cleanups);
    return 0;
}
