/* SPDX-License-Identifier: Apache-2.0 */
/* Runs cases (exec_case.h) from standard input on whatever runs this riscv64 program, results to standard output.
 *
 * Built without a C library and without relaxation: while a case runs, every register is the case's, gp, tp and sp too.
 * Each case ends in a signal; the handler, on its own stack, takes the state out of the signal frame and returns
 * to the loop by rewriting it. Hence this is a test of signal frames too.
 */
#include "exec_case.h"

typedef unsigned long u64;

enum { SYS_read = 63, SYS_write = 64, SYS_exit = 93, SYS_sigaltstack = 132, SYS_sigaction = 134, SYS_mmap = 222 };

static long call(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}

/* struct ucontext of the riscv64 kernel, as far as it matters. */
struct context {
    u64 flags, link, stack[3], mask[16];
    u64 pc __attribute__((aligned(16)));
    u64 x[31]; /* from x1 */
    u64 f[32];
    unsigned fcsr;
};

static ExecCase current;
static ExecResult result;
static u64 home_regs[16]; /* ra sp gp tp s0..s11 of the caller of enter() */
static unsigned char signal_stack[65536] __attribute__((aligned(16)));

_Static_assert(__builtin_offsetof(ExecCase, fcsr) == 256, "enter() knows it");

/* Loads the state of `current` and runs its code; comes back when the handler says so. */
void enter(const ExecCase *c, u64 *save);
void resume(void);
__asm__(".text\n"
        ".globl enter\nenter:\n"
        "  sd ra,0(a1)\n sd sp,8(a1)\n sd gp,16(a1)\n sd tp,24(a1)\n sd s0,32(a1)\n sd s1,40(a1)\n"
        "  sd s2,48(a1)\n sd s3,56(a1)\n sd s4,64(a1)\n sd s5,72(a1)\n sd s6,80(a1)\n sd s7,88(a1)\n sd s8,96(a1)\n"
        "  sd s9,104(a1)\n sd s10,112(a1)\n sd s11,120(a1)\n"
        "  mv t6,a0\n"
        "  ld t5,256(t6)\n fscsr t5\n addi t6,t6,264\n" /* offsets of fcsr and x */
#define LX(n) "  ld x" #n "," #n "*8(t6)\n"
#define LF(n) "  fld f" #n ",256+" #n "*8(t6)\n"
        LF(0) LF(1) LF(2) LF(3) LF(4) LF(5) LF(6) LF(7) LF(8) LF(9) LF(10) LF(11) LF(12) LF(13) LF(14) LF(15)
        LF(16) LF(17) LF(18) LF(19) LF(20) LF(21) LF(22) LF(23) LF(24) LF(25) LF(26) LF(27) LF(28) LF(29) LF(30) LF(31)
        LX(1) LX(2) LX(3) LX(4) LX(5) LX(6) LX(7) LX(8) LX(9) LX(10) LX(11) LX(12) LX(13) LX(14) LX(15) LX(16) LX(17)
        LX(18) LX(19) LX(20) LX(21) LX(22) LX(23) LX(24) LX(25) LX(26) LX(27) LX(28) LX(29) LX(30)
        "  lui t6,0x20000\n  jr t6\n"
        ".globl resume\nresume:\n" /* the handler has set sp and a1 */
        "  ld ra,0(a1)\n ld gp,16(a1)\n ld tp,24(a1)\n ld s0,32(a1)\n ld s1,40(a1)\n"
        "  ld s2,48(a1)\n ld s3,56(a1)\n ld s4,64(a1)\n ld s5,72(a1)\n ld s6,80(a1)\n ld s7,88(a1)\n ld s8,96(a1)\n"
        "  ld s9,104(a1)\n ld s10,112(a1)\n ld s11,120(a1)\n ret\n");

static void handler(int sig, void *info, void *frame) {
    struct context *c = frame;
    result.signal = sig;
    result.pc = c->pc;
    result.fcsr = c->fcsr;
    result.x[0] = 0;
    for (int n = 1; n < 32; n++) result.x[n] = c->x[n - 1];
    for (int n = 0; n < 32; n++) result.f[n] = c->f[n];
    c->pc = (u64)resume;
    c->x[2 - 1] = home_regs[1];
    c->x[11 - 1] = (u64)home_regs;
    c->fcsr = 0;
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

static void run(void) {
    struct { void *handler; u64 flags, mask; } action = {(void *)handler, 0x08000000 | 4, 0}; /* SA_ONSTACK | SA_SIGINFO */
    struct { void *sp; int flags; u64 size; } stack = {signal_stack, 0, sizeof signal_stack};
    call(SYS_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
    static const int signals[] = {4, 5, 7, 11};
    for (int n = 0; n < 4; n++) call(SYS_sigaction, signals[n], (long)&action, 0, 8, 0, 0);
    call(SYS_mmap, CASE_CODE, 4096, 7, 0x32, -1, 0); /* MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE */
    call(SYS_mmap, CASE_X31, 4096, 3, 0x32, -1, 0);
    call(SYS_mmap, CASE_MEMORY, 4096, 3, 0x32, -1, 0);
    while (read_all(&current, sizeof current)) {
        copy((void *)CASE_CODE, (unsigned[]){CASE_PROLOGUE}, 8);
        copy((void *)CASE_CODE_AT, current.code, sizeof current.code);
        *(volatile u64 *)CASE_X31 = current.x[31];
        copy((void *)CASE_MEMORY, current.memory, sizeof current.memory);
        __asm__ volatile("fence.i" ::: "memory");
        enter(&current, home_regs);
        copy(result.memory, (void *)CASE_MEMORY, sizeof result.memory);
        call(SYS_write, 1, (long)&result, sizeof result, 0, 0, 0);
    }
}

void _start(void) {
    run();
    call(SYS_exit, 0, 0, 0, 0, 0, 0);
}
