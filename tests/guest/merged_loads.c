/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words that are read byte by byte, in hot loops: little and big endian, signed, with stores between that change what is read or may do so;
 * and at the end of a page behind which there is none, where the fault must be that of the byte, with all registers as they were there.
 */
#include "t.h"

typedef const volatile unsigned char *Bytes; /* volatile: the compiler must not put them together itself */

static uint16_t read16(Bytes p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t read32(Bytes p) { return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24; }
static uint64_t read64(Bytes p) { return read32(p) | (uint64_t)read32(p + 4) << 32; }
static uint16_t swap16(Bytes p) { return (uint16_t)(p[1] | p[0] << 8); }
static uint32_t swap32(Bytes p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static uint64_t swap64(Bytes p) { return (uint64_t)swap32(p) << 32 | swap32(p + 4); }
static uint64_t added(Bytes p) { return p[2] + (p[3] << 8) + ((uint32_t)p[4] << 16) + ((uint64_t)p[5] << 24); }
static uint64_t with_hole(Bytes p) { return p[0] | p[1] << 8 | (uint32_t)p[3] << 24; }
static uint64_t twice(Bytes p) { return (uint64_t)p[0] << 8 | p[0]; }

/* Stores between the loads: of one of the bytes, beside them, and who knows where. */
static uint32_t with_stores(volatile unsigned char *p, volatile unsigned char *q) {
    uint32_t v = p[0];
    p[2] = (unsigned char)(v + 1);
    v |= p[1] << 8;
    p[4] = (unsigned char)v;
    v |= p[2] << 16;
    *q = 77;
    return v | (uint32_t)p[3] << 24;
}

static unsigned char data[4096 + 32];

static uint64_t sums(void) {
    uint64_t h = 0;
    for (int k = 0; k < 4096; k++) {
        Bytes p = data + k;
        h = h * 31 + read16(p);
        h = h * 31 + read32(p + 1);
        h = h * 31 + read64(p + 2);
        h = h * 31 + swap16(p + 3);
        h = h * 31 + swap32(p + 4);
        h = h * 31 + swap64(p + 5);
        h = h * 31 + (uint64_t)(int16_t)read16(p + 6) + (uint64_t)(int32_t)read32(p + 7) + (uint64_t)(int16_t)swap16(p + 6) + (uint64_t)(int32_t)swap32(p + 7);
        h = h * 31 + added(p) + with_hole(p + 1) + twice(p + 2);
        h = h * 31 + with_stores(data + k, data + (k * 7 & 4095)) + with_stores(data + k, data + k + 3);
    }
    return h;
}

static char *pages;
static volatile int faults;
static volatile unsigned long fault_at, seen[4];

static void mend(int sig, siginfo_t *info, void *context) {
    faults++;
    fault_at = (unsigned long)info->si_addr - (unsigned long)pages;
#if defined(__riscv)
    ucontext_t *uc = context;
    for (int k = 0; k < 4; k++) seen[k] = uc->uc_mcontext.__gregs[12 + k]; /* a2 to a5 */
    seen[3] -= UC_PC(uc);
#endif
    mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
}

/* Sums the words at `from`, `from` + 1, ... below `to`; a5 is the address of the load of the third byte. */
static unsigned long walk(const char *from, const char *to) {
#if defined(__riscv)
    unsigned long sum;
    __asm__ volatile("li %0, 0\n"
                     "la a5, 2f\n"
                     "1: lbu a2, 0(%1)\n"
                     "lbu a3, 1(%1)\n"
                     "slli a4, a3, 8\n"
                     "or a4, a4, a2\n"
                     "2: lbu a2, 2(%1)\n"
                     "lbu a3, 3(%1)\n"
                     "slli a2, a2, 16\n"
                     "slli a3, a3, 24\n"
                     "or a4, a4, a2\n"
                     "or a4, a4, a3\n"
                     "add %0, %0, a4\n"
                     "addi %1, %1, 1\n"
                     "bltu %1, %2, 1b\n"
                     : "=&r"(sum), "+r"(from)
                     : "r"(to)
                     : "a2", "a3", "a4", "a5", "memory");
    return sum;
#else
    unsigned long sum = 0;
    for (; from < to; from++) sum += read32((Bytes)from);
    return sum;
#endif
}

int main(void) {
    for (int k = 0; k < COUNT(data); k++) data[k] = (unsigned char)(k * 37 + (k >> 3) * 11);
    for (int k = 0; k < 40; k++) printf("%016lx\n", (unsigned long)sums());
    on_signal(SIGSEGV, mend, 0);
    pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int k = 0; k < 8192; k++) pages[k] = (char)(k * 29 + (k >> 5));
    for (int k = 0; k < 40; k++) {
        mprotect(pages + 4096, 4096, PROT_NONE);
        unsigned long sum = walk(pages, pages + 4096 - 1);
        printf("%lu, %d faults, at %lu\n", sum, faults, fault_at);
#if defined(__riscv)
        Bytes last = (Bytes)pages + 4093; /* the word that begins there faults at its fourth byte */
        CHECK(seen[0] == last[2] && seen[1] == last[1] && seen[2] == read16(last) && seen[3] == -4ul);
#endif
    }
    return 0;
}
