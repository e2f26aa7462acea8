/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the C library's functions with numbers of bytes that the compiler knows, in loops: regions do them in place (engine/known.c). Every size at every alignment, at the ends of memory, and over
 * them, where the handler of SIGSEGV either leaves or mends the page and goes on. Prints the same wherever it runs. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EACH_SIZE(X)                                                                                                              \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24)  \
    X(31) X(32) X(33) X(40) X(47) X(48) X(49) X(56) X(57) X(58) X(59) X(60) X(61) X(62) X(63) X(64) X(65) X(100)

enum { PAGE = 4096 };
static unsigned char *memory; /* two pages, of which the second cannot be accessed; then as many again */
static sigjmp_buf back;
static volatile int mends, faults;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & -(uintptr_t)PAGE;
    faults++;
    if (page != (uintptr_t)memory + PAGE && page != (uintptr_t)memory + 3 * PAGE) _exit(9);
    if (!mends) siglongjmp(back, 1);
    mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE);
}

/* Numbers that the compiler cannot know, so that it calls the function. */
static void *volatile hidden;
static void *hide(void *p) { return hidden = p, hidden; }

#define FUNCTIONS(n)                                                                                                               \
    __attribute__((noinline)) static void copy_##n(unsigned char *to, const unsigned char *from, unsigned rounds) {                 \
        for (unsigned k = 0; k < rounds; k++) memcpy(to + k % 64, from + k * 7 % 61, n);                                             \
    }                                                                                                                              \
    __attribute__((noinline)) static unsigned copy_on_##n(unsigned char *to, const unsigned char *from, unsigned rounds) {          \
        unsigned sum = 0;                                                                                                          \
        for (unsigned k = 0; k < rounds; k++) sum += (unsigned)((unsigned char *)mempcpy(to + k % 64, from + k * 5 % 61, n) - to);   \
        return sum;                                                                                                                \
    }                                                                                                                              \
    __attribute__((noinline)) static void set_##n(unsigned char *to, int value, unsigned rounds) {                                  \
        for (unsigned k = 0; k < rounds; k++) memset(to + k % 64, value + (int)k * 517, n);                                          \
    }
EACH_SIZE(FUNCTIONS)

/* 16 bytes, but in one round of eight 40, by a jump that leads between the instruction which says how many and the call, and is found after that. */
void copy_either(unsigned char *to, const unsigned char *from, unsigned long rounds);
#ifdef __riscv
asm(".text\n"
    "copy_either: addi sp, sp, -48\n sd ra, 0(sp)\n sd s0, 8(sp)\n sd s1, 16(sp)\n sd s2, 24(sp)\n sd s3, 32(sp)\n"
    "li s0, 0\n mv s1, a0\n mv s2, a1\n mv s3, a2\n"
    "1: andi t0, s0, 7\n li t1, 5\n beq t0, t1, 3f\n"
    "andi a0, s0, 63\n add a0, a0, s1\n mv a1, s2\n li a2, 16\n"
    "2: call memcpy@plt\n addi s0, s0, 1\n bne s0, s3, 1b\n"
    "ld ra, 0(sp)\n ld s0, 8(sp)\n ld s1, 16(sp)\n ld s2, 24(sp)\n ld s3, 32(sp)\n addi sp, sp, 48\n ret\n"
    "3: andi a0, s0, 63\n add a0, a0, s1\n mv a1, s2\n andi t0, s0, 8\n beqz t0, 4f\n addi a1, a1, 1\n"
    "4: li a2, 40\n j 2b\n");
#else
void copy_either(unsigned char *to, const unsigned char *from, unsigned long rounds) {
    for (unsigned long k = 0; k < rounds; k++) memcpy(to + k % 64, from + (k % 8 == 5 && (k & 8)), k % 8 == 5 ? 40 : 16);
}
#endif

typedef struct Row {
    unsigned size;
    void (*copy)(unsigned char *, const unsigned char *, unsigned);
    unsigned (*copy_on)(unsigned char *, const unsigned char *, unsigned);
    void (*set)(unsigned char *, int, unsigned);
} Row;
#define ROW(n) {n, copy_##n, copy_on_##n, set_##n},
static const Row rows[] = {EACH_SIZE(ROW)};

static uint32_t sum_of(const unsigned char *p, unsigned size) {
    uint32_t sum = 1;
    for (unsigned k = 0; k < size; k++) sum = sum * 31 + p[k];
    return sum;
}

/* One more call of a function whose loop is hot by now, at an address where it faults; what became of the memory. */
static void at_the_end(const Row *r, unsigned char *end, unsigned over, const unsigned char *from) {
    unsigned char *to = end - r->size + over;
    for (volatile int which = 0; which < 4; which++) {
        memset(end - 128, 7, 128);
        faults = 0;
        if (!sigsetjmp(back, 1)) {
            if (which == 0) r->copy(to, from, 1);
            if (which == 1) r->copy_on(to, from, 1);
            if (which == 2) r->set(to, 99, 1);
            if (which == 3) r->copy(memory, to, 1); /* it cannot be read, either */
        }
        printf("%u %d %d %08x", r->size, which, faults > 0, sum_of(memory, 128));
        if (mends || !over) printf(" %08x", sum_of(end - 128, 128));
        printf("\n");
        if (mends) mprotect(end, PAGE, PROT_NONE);
    }
}

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    unsigned char from[256], to[256] = {0};
    memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + PAGE, PAGE, PROT_NONE);
    sigaction(SIGSEGV, &act, NULL);
    for (unsigned k = 0; k < sizeof from; k++) from[k] = (unsigned char)(k * 37 + 11);
    copy_either(to, from, rounds);
    printf("%08x\n", sum_of(to, sizeof to));
    for (unsigned k = 0; k < sizeof rows / sizeof *rows; k++) {
        const Row *r = &rows[k];
        r->copy(hide(to), hide(from), rounds);
        printf("%u: %08x", r->size, sum_of(to, sizeof to));
        printf(" %u", r->copy_on(hide(to), hide(from), rounds));
        printf(" %08x", sum_of(to, sizeof to));
        r->set(hide(to), 3, rounds);
        printf(" %08x\n", sum_of(to, sizeof to));
        for (mends = 0; mends < 2; mends++) {
            at_the_end(r, memory + PAGE, 0, from);
            at_the_end(r, memory + PAGE, r->size == 1 ? 1 : r->size / 2, from);
        }
    }
    return 0;
}
