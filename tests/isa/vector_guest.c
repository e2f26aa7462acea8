/* SPDX-License-Identifier: Apache-2.0 */
/* Runs cases of vector.py from standard input on whatever runs this riscv64 program, results to standard output.
 *
 * As exec_guest.c, but with the vector state, and without a signal where nothing goes wrong: a case's code ends in a jump to `done`, by x30; x31 points to
 * the result. Cases leave these two alone. After a fault the handler finds the vector registers live. */
#include "bare.h"

enum { WINDOW_SIZE = 512, CODE_SIZE = 128 };
#define CODE 0x20000000ul         /* a page */
#define TRAMPOLINE 0x20000400ul   /* what a case jumps to at its end */
#define MEMORY 0x10001000ul       /* a page; the case's bytes are its last ones, and behind it is nothing */
#define WINDOW (MEMORY + 4096 - WINDOW_SIZE)

/* One layout for both, which the assembler code knows by these offsets. In a result, head[0] is the signal, head[1] pc, head[2] the address of a fault. */
#define AT_FCSR "24"
#define AT_VCSR "32"
#define AT_VL "40"
#define AT_VTYPE "48"
#define AT_VSTART "56"
#define AT_F "320"
#define AT_V "576"
typedef struct State {
    u64 head[3], fcsr, vcsr, vl, vtype, vstart;
    u64 x[32], f[32]; /* x[0], x[30], x[31] are not used */
    unsigned char v[32][16], memory[WINDOW_SIZE];
} State;
typedef struct Case {
    State state;
    unsigned char code[CODE_SIZE];
} Case;
_Static_assert(__builtin_offsetof(State, x) == 64 && __builtin_offsetof(State, f) == 320 && __builtin_offsetof(State, v) == 576, "layout");

static Case current;
State result;
u64 home[14]; /* ra sp s0..s11 of enter()'s caller */

void enter(const State *s); /* loads the state and runs the code */
void done(void);
void caught(void); /* the signal handler: takes the vector state, then calls take_frame */
void back(void);   /* returns from enter() */

#define TEN(M, t) M(t##0) M(t##1) M(t##2) M(t##3) M(t##4) M(t##5) M(t##6) M(t##7) M(t##8) M(t##9)
#define ONES(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9)
#define TO_29(M) ONES(M) TEN(M, 1) TEN(M, 2)
#define HOME(M) M(0, ra) M(1, sp) M(2, s0) M(3, s1) M(4, s2) M(5, s3) M(6, s4) M(7, s5) M(8, s6) M(9, s7) M(10, s8) M(11, s9) M(12, s10) M(13, s11)
#define HOME_SAVE(n, r) "  sd " #r "," #n "*8(t0)\n"
#define HOME_LOAD(n, r) "  ld " #r "," #n "*8(t0)\n"
#define X_LOAD(n) "  ld x" #n ",64+" #n "*8(t6)\n"
#define X_SAVE(n) "  sd x" #n ",64+" #n "*8(t6)\n"
#define F_LOAD(n) "  fld f" #n "," AT_F "+" #n "*8(t6)\n"
#define F_SAVE(n) "  fsd f" #n "," AT_F "+" #n "*8(t6)\n"
#define ALL_F(M) M(0) TO_29(M) M(30) M(31)
#define VECTORS(insn) \
    "  addi t5,t6," AT_V "\n  " insn " v0,(t5)\n  addi t5,t5,128\n  " insn " v8,(t5)\n  addi t5,t5,128\n  " insn " v16,(t5)\n  addi t5,t5,128\n  " insn " v24,(t5)\n"
/* To the result at t6. vstart first: with another than 0, vector stores would begin there. */
#define VECTOR_SAVE \
    "  csrr t5,vstart\n  sd t5," AT_VSTART "(t6)\n  csrw vstart,zero\n" \
    "  csrr t5,vl\n  sd t5," AT_VL "(t6)\n  csrr t5,vtype\n  sd t5," AT_VTYPE "(t6)\n  csrr t5,vcsr\n  sd t5," AT_VCSR "(t6)\n" VECTORS("vs8r.v")
__asm__(".text\n.option push\n.option arch,+v\n.option norelax\n"
        ".globl enter, done, caught, back\n"
        "enter:\n  lla t0,home\n" HOME(HOME_SAVE)
        "  mv t6,a0\n  csrw vstart,zero\n" VECTORS("vl8re8.v")
        "  ld t4," AT_VL "(t6)\n  ld t5," AT_VTYPE "(t6)\n  vsetvl zero,t4,t5\n"
        "  ld t5," AT_VCSR "(t6)\n  csrw vcsr,t5\n  ld t5," AT_FCSR "(t6)\n  fscsr t5\n  ld t5," AT_VSTART "(t6)\n  csrw vstart,t5\n"
        ALL_F(F_LOAD) TO_29(X_LOAD)
        "  lla t6,result\n  lui t5,0x20000\n  jr t5\n"
        "done:\n" TO_29(X_SAVE) ALL_F(F_SAVE) VECTOR_SAVE
        "  frcsr t5\n  sd t5," AT_FCSR "(t6)\n"
        "back:\n  lla t0,home\n  fscsr zero\n" HOME(HOME_LOAD) "  ret\n"
        "caught:\n  lla t6,result\n" VECTOR_SAVE "  tail take_frame\n"
        ".option pop\n");

/* struct ucontext of the riscv64 kernel, as far as it matters. */
struct context {
    u64 flags, link, stack[3], mask[16];
    u64 pc __attribute__((aligned(16)));
    u64 x[31]; /* from x1 */
    u64 f[32];
    unsigned fcsr;
};
struct info {
    int signal, error, code;
    u64 address;
};

void take_frame(int sig, struct info *info, struct context *c) {
    result.head[0] = sig;
    result.head[1] = c->pc;
    result.head[2] = sig == 11 ? info->address : 0;
    result.fcsr = c->fcsr;
    for (int n = 1; n < 30; n++) result.x[n] = c->x[n - 1];
    for (int n = 0; n < 32; n++) result.f[n] = c->f[n];
    c->pc = (u64)back;
}

static void run(void) {
    catch_signals((void *)caught);
    map_page(CODE, 7);
    map_page(MEMORY, 3);
    copy((void *)TRAMPOLINE, (unsigned[]){0x410f3f03, 0x000f0067}, 8); /* ld t5,0x410(t5); jr t5: cases leave CODE there */
    *(volatile u64 *)(CODE + 0x410) = (u64)done;
    while (read_all(&current, sizeof current)) {
        copy((void *)CODE, current.code, sizeof current.code);
        copy((void *)WINDOW, current.state.memory, WINDOW_SIZE);
        __asm__ volatile("fence.i" ::: "memory");
        for (int n = 0; n < 3; n++) result.head[n] = 0;
        enter(&current.state);
        copy(result.memory, (void *)WINDOW, WINDOW_SIZE);
        call(SYS_write, 1, (long)&result, sizeof result, 0, 0, 0);
    }
}
