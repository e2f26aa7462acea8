/* SPDX-License-Identifier: Apache-2.0 */
/* What only a riscv64 program can ask: hwprobe, hardware capabilities, counters, the vDSO, registers at the start. */
//: oracle: none
#include "t.h"
#include <elf.h>
#include <sys/auxv.h>

struct hwprobe { int64_t key; uint64_t value; };

static uint64_t counter(int which) {
    uint64_t v;
    if (which == 0) __asm__ volatile("rdcycle %0" : "=r"(v));
    else if (which == 1) __asm__ volatile("rdtime %0" : "=r"(v));
    else __asm__ volatile("rdinstret %0" : "=r"(v));
    return v;
}

/* The address of a vDSO function, as libc finds it. */
static void *vdso_find(const char *name) {
    Elf64_Ehdr *eh = (void *)getauxval(AT_SYSINFO_EHDR);
    if (!eh) return NULL;
    CHECK(!memcmp(eh->e_ident, ELFMAG, SELFMAG) && eh->e_machine == 243);
    Elf64_Phdr *ph = (void *)((char *)eh + eh->e_phoff);
    Elf64_Dyn *dyn = NULL;
    char *base = NULL;
    for (int i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && !base) base = (char *)eh - ph[i].p_vaddr + ph[i].p_offset;
        if (ph[i].p_type == PT_DYNAMIC) dyn = (void *)((char *)eh + ph[i].p_offset);
    }
    CHECK(base && dyn);
    Elf64_Sym *sym = NULL;
    const char *str = NULL;
    uint32_t *hash = NULL;
    for (; dyn->d_tag; dyn++) {
        void *p = base + dyn->d_un.d_ptr;
        if (dyn->d_tag == DT_SYMTAB) sym = p;
        if (dyn->d_tag == DT_STRTAB) str = p;
        if (dyn->d_tag == DT_HASH) hash = p;
    }
    CHECK(sym && str && hash);
    for (uint32_t i = 0; i < hash[1]; i++) if (!strcmp(str + sym[i].st_name, name)) return base + sym[i].st_value;
    return NULL;
}

int main(void) {
    unsigned long caps = getauxval(AT_HWCAP);
    for (const char *c = "imafdc"; *c; c++) CHECK(caps & 1ul << (*c - 'a'));
    struct hwprobe p[] = {{3, 0}, {4, 0}, {0, 0}, {9999, 5}};
    long result = syscall(258, p, 4, 0, NULL, 0);
    if (result == 0) {
        CHECK(p[0].value & 1);           /* base behaviour IMA */
        CHECK((p[1].value & 3) == 3);    /* FD and C */
        CHECK(p[3].key == -1 && p[3].value == 0);
        CHECK((p[1].value >> 3 & 1) && (p[1].value >> 4 & 1) && (p[1].value >> 5 & 1)); /* Zba Zbb Zbs */
        FAILS(syscall(258, p, 4, 0, NULL, 77), EINVAL);
        FAILS(syscall(258, (void *)8, 4, 0, NULL, 0), EFAULT);
    }
    for (int i = 0; i < 3; i++) {
        uint64_t a = counter(i);
        for (volatile int j = 0; j < 20000; j++) {}
        uint64_t b = counter(i);
        CHECK(b > a);
    }
    uint64_t a = counter(1);
    double start = now();
    sleep_ms(50);
    double seconds = now() - start, ticks = counter(1) - a;
    CHECK(ticks / seconds > 1e5 && ticks / seconds < 1e11); /* the timebase */
    int (*gettime)(int, struct timespec *) = (int (*)(int, struct timespec *))vdso_find("__vdso_clock_gettime");
    struct timespec x, y;
    if (gettime) {
        CHECK(gettime(CLOCK_MONOTONIC, &x) == 0 && clock_gettime(CLOCK_MONOTONIC, &y) == 0);
        CHECK(y.tv_sec - x.tv_sec <= 1);
        CHECK(gettime(CLOCK_REALTIME, &x) == 0 && x.tv_sec > 1600000000);
    }
    void *sigreturn = vdso_find("__vdso_rt_sigreturn");
    if (sigreturn) CHECK(((uint32_t *)sigreturn)[0] == 0x08b00893 && ((uint32_t *)sigreturn)[1] == 0x00000073);
    puts("ok");
    return 0;
}
