/* SPDX-License-Identifier: Apache-2.0 */
/* Runs cases (exec_case.h) from standard input on whatever runs this riscv64 program, results to standard output.
 *
 * Built without a C library and without relaxation: while a case runs, every register is the case's, gp, tp and sp too.
 * Each case ends in a signal; the handler, on its own stack, takes the state out of the signal frame and returns
 * to the loop by rewriting it. Hence this is a test of signal frames too.
 */
#include "bare.h"
#include "exec_case.h"

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

static void run(void) {
    catch_signals((void *)handler);
    map_page(CASE_CODE, 7);
    map_page(CASE_X31, 3);
    map_page(CASE_MEMORY, 3);
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
