/* SPDX-License-Identifier: Apache-2.0 */
/* Runs cases (exec_case.h) from standard input through lift, verifier and IR interpreter, without engine and runtime: the
 * semantics alone. Each block goes through the printer and the parser too. `exec_tool lift N` only lifts N random words. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "exec_case.h"
#include "ir/interp.h"
#include "isa/riscv/riscv.h"

static sigjmp_buf fault;
static void on_fault(int sig) { siglongjmp(fault, sig); }

static IrFunc func;
static IrInterp interp;
static unsigned errors;

enum { PAGE = 4096 };

/* One block from pc, at most up to the end of the page: false if there is no code there. */
static bool translate(Vcpu *cpu) {
    u64 pc = cpu->pc;
    if (pc < CASE_CODE || pc >= CASE_CODE + PAGE) return false;
    ir_reset(&func, &riscv_guest, pc, riscv_guest.mode(cpu));
    while (!func.closed) {
        unsigned len = riscv_guest.lift(&func, pc, (const u8 *)pc, CASE_CODE + PAGE - pc);
        pc += len;
        if (!len || pc >= CASE_CODE + PAGE) break;
    }
    if (!func.closed) ir_exit(&func, pc);
    return true;
}

/* The block must verify, and its text must parse to a function that prints the same; that one is run. */
static const IrFunc *check(void) {
    static char text[65536], again[65536], why[256];
    static IrFunc parsed;
    Text t = text_init(text, sizeof text), t2 = text_init(again, sizeof again);
    const char *error = ir_verify(&func, why, sizeof why);
    ir_print(&func, &t);
    int line = ir_parse(&parsed, &riscv_guest, text);
    if (!error && line) error = "the text does not parse";
    if (!line) ir_print(&parsed, &t2);
    if (!error && strcmp(text, again)) error = "the text is another after parsing";
    if (!error) return &parsed;
    if (errors++ < 5) fprintf(stderr, "exec_tool: %s (%d)\n%s\n%s\n", error, line, text, again);
    return &func;
}

static int signal_of(TrapCode code) {
    switch (code) {
    case TRAP_BREAKPOINT: return SIGTRAP;
    case TRAP_ILLEGAL: return SIGILL;
    case TRAP_MISALIGNED: return SIGBUS;
    default: return 0;
    }
}

static int run(Vcpu *cpu) {
    int sig = sigsetjmp(fault, 1);
    if (sig) return sig;
    for (int blocks = 0; blocks < 100000; blocks++) {
        if (!translate(cpu)) return SIGSEGV;
        const IrFunc *f = check();
        TrapCode code = ir_interp(&interp, f, cpu);
        if (code == TRAP_FENCE_I) cpu->pc += 4;
        sig = signal_of(code);
        if (sig) return sig;
    }
    return SIGALRM; /* runs for ever */
}

/* Any 32 bits, in any mode: what comes out of lift is good IR. */
static void lift_random(unsigned long count) {
    u64 x = 88172645463325252ull;
    for (unsigned long n = 0; n < count; n++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        u32 bits = (u32)(x >> 16);
        if (n & 1) bits = riscv_row_random((u32)(x >> 48) % RV_ROWS, &x);
        ir_reset(&func, &riscv_guest, 0x10000, n % 8);
        unsigned len = riscv_guest.lift(&func, 0x10000, (u8 *)&bits, 4);
        if (len != riscv_insn_len(bits)) errors++;
        if (riscv_guest.lift(&func, 0x10000, (u8 *)&bits, len - 1)) errors++; /* too few bytes: nothing happens */
        if (!func.closed) ir_exit(&func, 0x10000 + len);
        check();
    }
    printf("%lu passed, %u failed\n", count - errors, errors);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "lift")) {
        lift_random(strtoul(argv[2], NULL, 0));
        return errors != 0;
    }
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    int flags = MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE;
    mmap((void *)CASE_CODE, 8192, PROT_READ | PROT_WRITE, flags, -1, 0);
    mmap((void *)CASE_MEMORY, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    Vcpu *cpu = aligned_alloc(64, sizeof(Vcpu) + riscv_guest.state_size);
    memset(cpu, 0, sizeof(Vcpu) + riscv_guest.state_size);
    RvState *s = vcpu_state(cpu);
    static ExecCase c;
    static ExecResult r;
    while (fread(&c, sizeof c, 1, stdin) == 1) {
        memcpy((void *)CASE_CODE, (u32[]){CASE_PROLOGUE}, 8);
        memcpy((void *)CASE_CODE_AT, c.code, sizeof c.code);
        memcpy((void *)CASE_X31, &c.x[31], 8);
        memcpy((void *)CASE_MEMORY, c.memory, sizeof c.memory);
        memcpy(s->x, c.x, sizeof c.x);
        memcpy(s->f, c.f, sizeof c.f);
        s->x[0] = 0;
        s->frm = c.fcsr >> 5 & 7;
        s->resv_addr = RV_NO_RESERVATION;
        cpu->fflags = c.fcsr & 31;
        cpu->pc = CASE_CODE_AT;
        r.signal = run(cpu);
        r.pc = cpu->pc;
        r.fcsr = s->frm << 5 | cpu->fflags;
        memcpy(r.x, s->x, sizeof r.x);
        memcpy(r.f, s->f, sizeof r.f);
        memcpy(r.memory, (void *)CASE_MEMORY, sizeof r.memory);
        fwrite(&r, sizeof r, 1, stdout);
    }
    return errors ? 1 : 0;
}
