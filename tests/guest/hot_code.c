/* SPDX-License-Identifier: Apache-2.0 */
/* Hot loops that are disturbed: accesses in their midst that fault, signals at any time, and functions that they call, and that may have
 * been taken into them, changed or taken away by another thread. What handlers see of the registers is compared with a model. */
//: oracle: none
//: timeout: 60
#include "t.h"

/* --- a loop, and what its registers hold before each of its instructions ---------------------------- */

typedef struct Regs {
    unsigned long a0, a1, a3, a4, a5, a6, a7;
    double fa0, fa1;
} Regs;

extern const uint32_t loop_start[], loop_end[];
/* p: 16 bytes for each of n rounds, {read, written}. Returns what it computed of what it read. */
extern unsigned long loop(unsigned long *p, unsigned long n);
asm(".text\n.balign 4\n.option push\n.option norvc\n.type loop, @function\nloop:\n"
    "    li a4, 0\n    li a5, 0\n    li a6, 0\n    fmv.d.x fa0, zero\n"
    "loop_start:\n"
    "    ld a3, 0(a0)\n"
    "    addi a4, a4, 3\n"
    "    addw a5, a5, a4\n" /* wraps around, and is extended */
    "    xor a6, a6, a3\n"
    "    slli a7, a5, 32\n"
    "    srli a7, a7, 32\n"
    "    fcvt.d.l fa1, a4\n"
    "    sd a4, 8(a0)\n"
    "    fadd.d fa0, fa0, fa1\n"
    "    addi a0, a0, 16\n"
    "    addi a1, a1, -1\n"
    "    bnez a1, loop_start\n"
    "loop_end:\n"
    "    fcvt.l.d a1, fa0\n    xor a0, a6, a5\n    add a0, a0, a1\n    ret\n.option pop\n");

static const unsigned long factor = 0x9e3779b97f4a7c15;
enum { ROUNDS = 100000, PAGE = 4096 };
static unsigned long *memory;

/* Instruction k of the loop. */
static inline __attribute__((always_inline)) void model_step(Regs *r, int k) {
    switch (k) {
    case 0: r->a3 = (r->a0 - (unsigned long)memory) / 16 * factor; break;
    case 1: r->a4 += 3; break;
    case 2: r->a5 = (unsigned long)(long)(int)(r->a5 + r->a4); break;
    case 3: r->a6 ^= r->a3; break;
    case 4: r->a7 = r->a5 << 32; break;
    case 5: r->a7 >>= 32; break;
    case 6: r->fa1 = (double)r->a4; break;
    case 8: r->fa0 += r->fa1; break;
    case 9: r->a0 += 16; break;
    case 10: r->a1--; break;
    }
}

static void model_round(Regs *r) {
    model_step(r, 0), model_step(r, 1), model_step(r, 2), model_step(r, 3), model_step(r, 4), model_step(r, 5);
    model_step(r, 6), model_step(r, 7), model_step(r, 8), model_step(r, 9), model_step(r, 10), model_step(r, 11);
}

static Regs model;        /* at the start of a round that was gone through already */
static volatile int disturbed;

static double float_of(const ucontext_t *uc, int n) {
    double d;
    memcpy(&d, &uc->uc_mcontext.__fpregs.__d.__f[n], 8);
    return d;
}

/* The registers are what the model says? Returns the number of the instruction; -1: not in the loop. */
static int check_registers(const ucontext_t *uc) {
    const unsigned long *x = uc->uc_mcontext.__gregs;
    unsigned long at = (x[REG_PC] - (unsigned long)loop_start) / 4;
    if (at >= (unsigned long)(loop_end - loop_start)) return -1;
    unsigned long round = x[10] - (at > 9 ? 16 : 0);
    while (model.a0 != round) {
        CHECK(model.a1 > 0);
        model_round(&model);
    }
    Regs r = model;
    for (int k = 0; k < (int)at; k++) model_step(&r, k);
    bool first = r.a1 == ROUNDS; /* some hold nothing yet */
    CHECK(x[10] == r.a0 && x[11] == r.a1 && x[14] == r.a4 && x[15] == r.a5 && x[16] == r.a6);
    CHECK((first && at < 1) || x[13] == r.a3);
    CHECK((first && at < 5) || x[17] == r.a7);
    CHECK(float_of(uc, 10) == r.fa0);
    CHECK((first && at < 7) || float_of(uc, 11) == r.fa1);
    return (int)at;
}

static unsigned long run(void) {
    model = (Regs){.a0 = (unsigned long)memory, .a1 = ROUNDS};
    return loop(memory, ROUNDS);
}

/* --- faults ------------------------------------------------------------------------------------------ */

static int faults[2];
static void mend(int sig, siginfo_t *info, void *context) {
    int at = check_registers(context);
    CHECK(at == 0 || at == 7);
    CHECK((unsigned long)info->si_addr == model.a0 + (at ? 8 : 0));
    faults[at != 0]++;
    unsigned long page = (unsigned long)info->si_addr & -(unsigned long)PAGE;
    CHECK(mprotect((void *)page, PAGE, at ? PROT_READ | PROT_WRITE : PROT_READ) == 0);
}

static void faulting(unsigned long want) {
    on_signal(SIGSEGV, mend, 0);
    int pages = ROUNDS * 16 / PAGE, expected[2] = {0, 0};
    for (int times = 1; times < 8; times++) {
        mprotect(memory, ROUNDS * 16, PROT_READ | PROT_WRITE);
        memset(faults, 0, sizeof(faults));
        memset(expected, 0, sizeof(expected));
        for (int k = times; k < pages; k += times * times) { /* each second one may be read, at first */
            bool read = k & 1;
            CHECK(mprotect((char *)memory + k * (long)PAGE, PAGE, read ? PROT_READ : PROT_NONE) == 0);
            expected[0] += !read, expected[1]++;
        }
        CHECK(run() == want);
        CHECK(faults[0] == expected[0] && faults[1] == expected[1]);
    }
    mprotect(memory, ROUNDS * 16, PROT_READ | PROT_WRITE);
    puts("faults ok");
}

/* --- signals ----------------------------------------------------------------------------------------- */

static void tick(int sig, siginfo_t *info, void *context) {
    if (check_registers(context) >= 0) disturbed++;
}

static void interrupted(unsigned long want) {
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    on_signal(SIGALRM, tick, SA_RESTART);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    setitimer(ITIMER_REAL, &often, NULL);
    do {
        CHECK(run() == want);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (disturbed < 300 && now.tv_sec - start.tv_sec < 20);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(disturbed > 10);
    puts("signals ok");
}

/* --- a callee that changes ---------------------------------------------------------------------------- */

/* On a page of its own: calls the function on the next page until *stop, and stores what it returns at *seen. */
static const uint32_t caller[] = {
    0x00008313, /* mv t1, ra */
    0x0005b283, /* 1: ld t0, 0(a1) -- stop */
    0x00029863, /* bnez t0, 2f */
    0,          /* jal ra, callee: by code_file */
    0x00a63023, /* sd a0, 0(a2) -- seen */
    0xff1ff06f, /* j 1b */
    0x00030067, /* 2: jr t1 */
};
enum { CALL = 3, VERSIONS = 60 };
static char *code;
static volatile unsigned long stop, seen;
static volatile int gone;

static uint32_t jal_to(long distance) {
    uint32_t d = (uint32_t)distance;
    return 0xef | (d >> 20 & 1) << 31 | (d >> 1 & 0x3ff) << 21 | (d >> 11 & 1) << 20 | (d >> 12 & 0xff) << 12;
}

/* A file of two pages: the caller, and a callee that returns n. */
static int code_file(int n) {
    char name[32];
    snprintf(name, sizeof(name), "code%d", n);
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0755);
    uint32_t from[COUNT(caller)], to[] = {0x00000513 | (uint32_t)n << 20 /* li a0, n */, 0x00008067 /* ret */};
    memcpy(from, caller, sizeof(from));
    from[CALL] = jal_to(PAGE - CALL * 4);
    CHECK(pwrite(fd, from, sizeof(from), 0) == sizeof(from) && pwrite(fd, to, sizeof(to), PAGE) == sizeof(to));
    CHECK(ftruncate(fd, 2 * PAGE) == 0);
    return fd;
}

static void *call_forever(void *arg) {
    ((void (*)(long, volatile unsigned long *, volatile unsigned long *))code)(0, &stop, &seen);
    return NULL;
}

static void wait_for(unsigned long version) {
    for (long k = 0; seen != version; k++) {
        CHECK(k < 100000);
        if (k > 10) sleep_ms(1);
        else sched_yield();
    }
}

/* The callee is gone: puts it back. */
static void fetch_fault(int sig, siginfo_t *info, void *context) {
    CHECK((char *)UC_PC((ucontext_t *)context) == code + PAGE && (char *)info->si_addr == code + PAGE);
    gone++;
    CHECK(mprotect(code + PAGE, PAGE, PROT_READ | PROT_EXEC) == 0);
}

static void changing(void) {
    int files[VERSIONS];
    for (int n = 0; n < VERSIONS; n++) files[n] = code_file(n + 1);
    code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, files[0], 0);
    CHECK(code != MAP_FAILED);
    on_signal(SIGSEGV, fetch_fault, 0);
    pthread_t t;
    pthread_create(&t, NULL, call_forever, NULL);
    wait_for(1);
    for (int n = 1; n < VERSIONS; n++) {
        if (n % 8 == 1) sleep_ms(20); /* time to be optimised in */
        CHECK(mmap(code + PAGE, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, files[n], PAGE) == code + PAGE);
        wait_for((unsigned long)n + 1);
        for (int k = 0; k < 1000; k++) CHECK(seen == (unsigned long)n + 1); /* never the old one again */
        int before = gone;
        CHECK(mprotect(code + PAGE, PAGE, PROT_NONE) == 0);
        for (long k = 0; gone == before; k++) {
            CHECK(k < 100000);
            if (k > 10) sleep_ms(1);
        }
    }
    stop = 1;
    pthread_join(t, NULL);
    puts("changes ok");
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    memory = mmap(NULL, ROUNDS * 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    for (unsigned long i = 0; i < ROUNDS; i++) memory[2 * i] = i * factor;
    unsigned long want = run();
    for (int k = 0; k < 5; k++) CHECK(run() == want); /* hot by now */
    faulting(want);
    interrupted(want);
    changing();
    return 0;
}
