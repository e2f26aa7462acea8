/* SPDX-License-Identifier: Apache-2.0 */
/* What programs of the guest need that run cases without a C library: system calls, whole reads, copies, and signals on a stack of their own. */
#ifndef TESTS_ISA_BARE_H
#define TESTS_ISA_BARE_H

typedef unsigned long u64;

enum { SYS_read = 63, SYS_write = 64, SYS_exit = 93, SYS_sigaltstack = 132, SYS_sigaction = 134, SYS_mmap = 222 };

static long call(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}

static int read_all(void *to, u64 size) {
    for (char *at = to; size;) {
        long n = call(SYS_read, 0, (long)at, size, 0, 0, 0);
        if (n <= 0) return 0;
        at += n, size -= n;
    }
    return 1;
}

static void copy(void *to, const void *from, u64 size) {
    volatile unsigned char *t = to;
    for (const unsigned char *f = from; size--;) *t++ = *f++;
}

/* SIGILL, SIGTRAP, SIGBUS and SIGSEGV. */
static void catch_signals(void *handler) {
    static unsigned char signal_stack[65536] __attribute__((aligned(16)));
    struct { void *handler; u64 flags, mask; } action = {handler, 0x08000000 | 4, 0}; /* SA_ONSTACK | SA_SIGINFO */
    struct { void *sp; int flags; u64 size; } stack = {signal_stack, 0, sizeof signal_stack};
    call(SYS_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
    static const int signals[] = {4, 5, 7, 11};
    for (int n = 0; n < 4; n++) call(SYS_sigaction, signals[n], (long)&action, 0, 8, 0, 0);
}

/* A page at this address. */
static void map_page(u64 at, int access) { call(SYS_mmap, at, 4096, access, 0x32, -1, 0); /* MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE */ }

static void run(void);
void _start(void) {
    run();
    call(SYS_exit, 0, 0, 0, 0, 0, 0);
}

#endif
