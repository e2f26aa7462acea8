/* SPDX-License-Identifier: Apache-2.0 */
/* Words that are stored in pieces: what the optimiser makes one store of (opt/stores.c), and those that are loaded again as a whole, through another register (opt/forward.c). Little and big
 * endian, with stores between and places that overlap; and at the end of a page behind which there is none, where the bytes before it must have been stored, the fault be that of
 * the byte, and all registers as they were there. */
#include "t.h"

static unsigned char data[4096 + 32], out[4096 + 64];

/* memcpy between unaligned places and variables: by way of the stack, byte by byte. */
#define COPIED(name, type)                                                             \
    __attribute__((noinline)) static uint64_t name(const unsigned char *p, int n) {    \
        uint64_t h = 1;                                                                \
        for (int k = 0; k < n; k++) {                                                  \
            type x;                                                                    \
            memcpy(&x, p + k, sizeof x);                                               \
            h = h * 31 + (uint64_t)x;                                                  \
        }                                                                              \
        return h;                                                                      \
    }
COPIED(copied_s, int16_t) COPIED(copied_u, uint16_t) COPIED(copied_i, int32_t) COPIED(copied_w, uint32_t) COPIED(copied_l, uint64_t)

__attribute__((noinline)) static uint64_t floats(const unsigned char *p, int n) {
    uint64_t h = 1;
    for (int k = 0; k < n; k++) {
        float f;
        double d;
        uint32_t fb;
        uint64_t db;
        memcpy(&f, p + k, sizeof f);
        memcpy(&d, p + k + 1, sizeof d);
        f = -f, d = -d;
        memcpy(&fb, &f, sizeof fb);
        memcpy(&db, &d, sizeof db);
        h = h * 31 + fb + db;
    }
    return h;
}

__attribute__((noinline)) static uint64_t equal(const unsigned char *p, const unsigned char *q, int n) {
    uint64_t same = 0;
    for (int k = 0; k < n; k++) {
        uint64_t x, y;
        memcpy(&x, p + k, 8);
        memcpy(&y, q + k, 8);
        same = same * 3 + (x == y) + (x < y);
    }
    return same;
}

#define PUT(name, type, byte)                                                                       \
    __attribute__((noinline)) static void name(volatile unsigned char *p, const type *x, int n, int step) { \
        for (int k = 0; k < n; k++, p += step)                                                      \
            for (unsigned b = 0; b < sizeof *x; b++) p[b] = (unsigned char)(x[k] >> 8 * (byte));    \
    }
#pragma GCC push_options
#pragma GCC optimize("unroll-loops", "peel-loops", "O3")
PUT(put_w, uint32_t, b) PUT(put_l, uint64_t, b) PUT(put_s, uint16_t, b) PUT(swap_w, uint32_t, 3 - b) PUT(swap_l, uint64_t, 7 - b) PUT(swap_s, uint16_t, 1 - b)
#pragma GCC pop_options

/* The pieces go to p, and a word is loaded from q, which may be the same, or overlap, or not: and changes from call to call. */
__attribute__((noinline)) static uint64_t two_places(volatile unsigned char *p, const volatile uint32_t *q, int n) {
    uint64_t h = 0;
    for (int k = 0; k < n; k++) {
        uint32_t x = (uint32_t)h ^ (uint32_t)k * 0x9e3779b9u;
        p[1] = (unsigned char)(x >> 8);
        p[0] = (unsigned char)x;
        p[3] = (unsigned char)(x >> 24);
        p[2] = (unsigned char)(x >> 16);
        h = h * 5 + *q;
        p[0] = 1;
        p[1] = 2;
        h = h * 5 + *q;
    }
    return h;
}

#define FACTOR 0x123457ul
static char *pages;
static volatile int faults;
static volatile unsigned long fault_at, seen[3];
static unsigned char found[8];

static void mend(int sig, siginfo_t *info, void *context) {
    faults++;
    fault_at = (unsigned long)info->si_addr - (unsigned long)pages;
    memcpy(found, pages + 4096 - 8, 8);
#if defined(__riscv)
    ucontext_t *uc = context;
    for (int k = 0; k < 3; k++) seen[k] = uc->uc_mcontext.__gregs[12 + k]; /* a2 to a4 */
    seen[2] -= UC_PC(uc);
#endif
    mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
}

/* Stores words at `from`, `from` + 1, ... below `to`; a4 is the address of the store of the third byte. */
static void walk(char *from, const char *to) {
#if defined(__riscv)
    __asm__ volatile("la a4, 2f\n"
                     "1: sub a2, %0, %3\n"
                     "mul a2, a2, %2\n"
                     "srliw a3, a2, 8\n"
                     "sb a3, 1(%0)\n"
                     "sb a2, 0(%0)\n"
                     "srliw a3, a2, 16\n"
                     "2: sb a3, 2(%0)\n"
                     "srliw a3, a2, 24\n"
                     "sb a3, 3(%0)\n"
                     "addi %0, %0, 1\n"
                     "bltu %0, %1, 1b\n"
                     : "+&r"(from)
                     : "r"(to), "r"(FACTOR), "r"(pages)
                     : "a2", "a3", "a4", "memory");
#else
    for (; from < to; from++) {
        unsigned x = (unsigned)((unsigned long)(from - pages) * FACTOR);
        for (int b = 0; b < 4; b++) from[b] = (char)(x >> 8 * b);
    }
#endif
}

static uint64_t sum_of(const unsigned char *p, int n) {
    uint64_t h = 1;
    while (n--) h = h * 131 + *p++;
    return h;
}

static void words(void) {
    uint64_t h = copied_s(data, 4096) + copied_u(data, 4096) * 3 + copied_i(data, 4096) * 5 + copied_w(data, 4096) * 7 + copied_l(data, 4096) * 11;
    h = h * 31 + floats(data, 4096) + equal(data, data + 8, 4000) + equal(data, data, 4000);
    put_w(out, (uint32_t *)data, 500, 5), h = h * 31 + sum_of(out, sizeof out);
    put_l(out + 1, (uint64_t *)data, 500, 7), h = h * 31 + sum_of(out, sizeof out);
    put_s(out + 3, (uint16_t *)data, 2000, 1), h = h * 31 + sum_of(out, sizeof out);
    swap_w(out + 1, (uint32_t *)data, 1000, 3), h = h * 31 + sum_of(out, sizeof out);
    swap_l(out, (uint64_t *)data, 500, 8), h = h * 31 + sum_of(out, sizeof out);
    swap_s(out + 1, (uint16_t *)data, 2000, 2), h = h * 31 + sum_of(out, sizeof out);
    printf("%016lx\n", (unsigned long)h);
}

int main(void) {
    for (int k = 0; k < COUNT(data); k++) data[k] = (unsigned char)(k * 37 + (k >> 3) * 11);
    for (int k = 0; k < 30; k++) words();
    for (int k = 0; k < 60; k++) printf("%016lx\n", (unsigned long)two_places(out + 64 + (k < 30 ? 0 : k % 9 - 4), (uint32_t *)(out + 64), 2000));
    on_signal(SIGSEGV, mend, 0);
    pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    for (int k = 0; k < 40; k++) {
        memset(pages, 0x55, 8192);
        mprotect(pages + 4096, 4096, PROT_NONE);
        walk(pages, pages + 4096 - 1);
        printf("%016lx, %d faults, at %lu\n", (unsigned long)sum_of((unsigned char *)pages, 8192), faults, fault_at);
#if defined(__riscv)
        unsigned long x = 4093 * FACTOR; /* the word that begins there faults at its fourth byte */
        CHECK(seen[0] == x && seen[1] == (x >> 24 & 255) && seen[2] == -8ul && found[5] == (x & 255) && found[6] == (x >> 8 & 255) && found[7] == (x >> 16 & 255));
#endif
    }
    return 0;
}
