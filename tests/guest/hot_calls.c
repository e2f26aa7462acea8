/* SPDX-License-Identifier: Apache-2.0 */
/* Indirect calls and jumps in hot loops, whose usual targets a region takes in: always the same one, one of several, another one after a
 * while, one that a signal handler changes, one with the low bit set; callees that fault, that leave by longjmp, that call back. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>

#define N __attribute__((noinline, noclone)) static
typedef struct Counter Counter;
typedef unsigned long (*Step)(Counter *, unsigned long);
struct Counter {
    Step step;
    unsigned long sum, calls;
};

N unsigned long add(Counter *c, unsigned long x) { return c->sum += x; }
N unsigned long mix(Counter *c, unsigned long x) { return c->sum = c->sum * 5 ^ x; }
N unsigned long drop(Counter *c, unsigned long x) { return c->sum -= x / 3; }
N unsigned long turn(Counter *c, unsigned long x) { return c->sum = c->sum << 7 | (c->sum >> 57 ^ x); }
N unsigned long half(Counter *c, unsigned long x) { return c->sum = (c->sum + x) / 2; }
N unsigned long loop(Counter *c, unsigned long x) {
    for (unsigned long k = 0; k < (x & 7); k++) c->sum = c->sum * 3 + k;
    return c->sum;
}
N unsigned long nested(Counter *c, unsigned long x) {
    static volatile Step inner = add;
    c->calls++;
    return inner(c, x) + 1;
}
static const Step steps[] = {add, mix, drop, turn, half, loop, nested};
enum { STEPS = sizeof steps / sizeof *steps, ROUNDS = 40000 };

/* Which step round i takes: kind 0: one; 1: another one at the end; 2: two; 3: four; 4: all; 5: mostly one. */
static unsigned which(int kind, unsigned long i) {
    unsigned long h = i * 0x9e3779b97f4a7c15ul >> 40;
    switch (kind) {
    case 0: return 0;
    case 1: return i < ROUNDS * 3 / 4 ? 6 : 1;
    case 2: return h & 1 ? 5 : 2;
    case 3: return h & 3;
    case 4: return h % STEPS;
    default: return h % 64 ? 4 : h / 64 % STEPS;
    }
}

N unsigned long run(const Step *plan, unsigned long rounds) {
    Counter c = {.sum = 1};
    unsigned long all = 0;
    for (unsigned long i = 0; i < rounds; i++) {
        c.step = plan[i];
        all += c.step(&c, i);
    }
    return all ^ c.calls;
}

static void kinds(void) {
    static Step plan[ROUNDS];
    for (int kind = 0; kind < 6; kind++) {
        for (unsigned long i = 0; i < ROUNDS; i++) plan[i] = steps[which(kind, i)];
        printf("kind %d: %lx\n", kind, run(plan, ROUNDS));
    }
}

#ifdef __riscv
enum { LOW_BIT = 1 }; /* jalr ignores it */
#else
enum { LOW_BIT = 0 };
#endif
static void low_bits(void) {
    static Step plan[ROUNDS];
    for (int often = 0; often < 2; often++) {
        for (unsigned long i = 0; i < ROUNDS; i++) plan[i] = (Step)((uintptr_t)mix | ((i % 16 == 0) == !often ? LOW_BIT : 0));
        printf("low bits: %lx\n", run(plan, ROUNDS));
    }
}

/* --- callees that do not return, or fault ------------------------------------------------------------- */

static jmp_buf away;
N unsigned long throw(Counter *c, unsigned long x) {
    c->sum += x;
    if (x % 64 == 63) longjmp(away, 1);
    return c->sum;
}

static void jumps(void) {
    static volatile Step step = throw;
    static Counter c;
    static volatile unsigned long i;
    static unsigned long caught;
    i = 0;
    if (setjmp(away)) caught++;
    while (i < ROUNDS) {
        unsigned long n = i;
        i = n + 1;
        step(&c, n);
    }
    printf("jumps: %lu %lu\n", caught, c.sum);
}

static volatile unsigned char *page;
static unsigned long faults;
N unsigned long touch(Counter *c, unsigned long x) { return c->sum += page[x & 4095]; }
static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    faults += info->si_addr >= (void *)page && info->si_addr < (void *)(page + 4096);
    mprotect((void *)page, 4096, PROT_READ | PROT_WRITE);
}

N unsigned long touch_all(Step step, Counter *c) {
    unsigned long all = 0;
    for (unsigned long i = 0; i < ROUNDS; i++) {
        if (i % 4096 == 4000) mprotect((void *)page, 4096, PROT_NONE);
        all += step(c, i);
    }
    return all;
}

static void faulting(void) {
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int k = 0; k < 4096; k++) page[k] = (unsigned char)(k * 7);
    Counter c = {0};
    unsigned long all = touch_all(touch, &c);
    printf("faults: %lu, %lx %lx\n", faults, all, c.sum);
}

/* --- a target that changes at any time ---------------------------------------------------------------------- */

static volatile Step current;
static volatile unsigned ticks;
N unsigned long even(Counter *c, unsigned long x) { return c->sum += 2 + 0 * x; }
N unsigned long odd(Counter *c, unsigned long x) { return c->calls++, c->sum += 2 + 0 * x; }
static void on_tick(int signal) {
    (void)signal;
    current = ++ticks & 1 ? odd : even;
}

static void ticking(void) {
    Counter c = {0};
    unsigned long rounds = 0;
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    current = even;
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &often, NULL);
    for (; ticks < 40 || rounds < ROUNDS; rounds++) current(&c, rounds);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("ticks: %s %s\n", c.sum == 2 * rounds ? "each round once" : "wrong", c.calls && c.calls < rounds ? "both" : "one");
}

/* --- computed jumps ---------------------------------------------------------------------------------------- */

N unsigned long interpret(const unsigned char *code, unsigned long n) {
    static const void *const ops[] = {&&op_add, &&op_xor, &&op_shift, &&op_skip};
    unsigned long x = 1, at = 0;
next:
    if (at >= n) return x;
    goto *ops[code[at++] & 3];
op_add:
    x += at;
    goto next;
op_xor:
    x ^= x >> 9;
    goto next;
op_shift:
    x = x << 3 | x >> 61;
    goto next;
op_skip:
    at++;
    goto next;
}

static void dispatching(void) {
    static unsigned char code[ROUNDS];
    for (int kind = 0; kind < 3; kind++) {
        for (unsigned long i = 0; i < ROUNDS; i++) code[i] = (unsigned char)(kind == 0 ? 0 : kind == 1 ? i % 97 == 0 : i * 0x9e3779b97f4a7c15ul >> 62);
        printf("dispatch %d: %lx\n", kind, interpret(code, ROUNDS));
    }
}

int main(void) {
    kinds();
    low_bits();
    jumps();
    faulting();
    ticking();
    dispatching();
    return 0;
}
