/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock: bodies. See clock.h. */
#include "base/clock.h"
#include "base/sys.h"
#include <elf.h>

typedef int ClockFn(int clock, struct timespec *out);

static ClockFn *vdso_clock; /* a fact of the host, the same for everybody: written once by clock_init */

typedef struct Image {
    const u8 *base;
    u64 bias;
    const Elf64_Dyn *dynamic;
    const Elf64_Sym *symbols;
    const char *strings;
    const u32 *hash; /* DT_HASH, or NULL */
} Image;

static bool image_read(Image *m, const void *at) {
    const Elf64_Ehdr *h = at;
    m->base = at;
    bool loaded = false;
    for (u32 i = 0; i < h->e_phnum; i++) {
        const Elf64_Phdr *p = (const Elf64_Phdr *)(m->base + h->e_phoff) + i;
        if (p->p_type == PT_LOAD && !loaded) m->bias = (u64)at + p->p_offset - p->p_vaddr, loaded = true;
        if (p->p_type == PT_DYNAMIC) m->dynamic = (const Elf64_Dyn *)(m->base + p->p_offset);
    }
    if (!loaded || !m->dynamic) return false;
    for (const Elf64_Dyn *d = m->dynamic; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB) m->symbols = (const Elf64_Sym *)(d->d_un.d_ptr + m->bias);
        if (d->d_tag == DT_STRTAB) m->strings = (const char *)(d->d_un.d_ptr + m->bias);
        if (d->d_tag == DT_HASH) m->hash = (const u32 *)(d->d_un.d_ptr + m->bias);
    }
    return m->symbols && m->strings;
}

void clock_init(const void *vdso) {
    Image m = {0};
    if (!vdso || !image_read(&m, vdso)) return;
    /* Without DT_HASH the table's length is not written down: linkers put the strings behind it. */
    u64 count = m.hash ? m.hash[1] : ((u64)m.strings - (u64)m.symbols) / sizeof(Elf64_Sym);
    static const char *const names[] = {"__vdso_clock_gettime", "__kernel_clock_gettime"};
    for (u64 i = 0; i < count && i < 256; i++)
        for (u32 k = 0; k < ARRAY_LEN(names); k++)
            if (m.symbols[i].st_shndx && !strcmp(m.strings + m.symbols[i].st_name, names[k]))
                vdso_clock = (ClockFn *)(m.symbols[i].st_value + m.bias);
}

long clock_read(int clock, struct timespec *out) {
    return vdso_clock ? vdso_clock(clock, out) : sys_call(SYS_clock_gettime, clock, out);
}

u64 clock_get_ns(int clock) {
    struct timespec t = {0};
    clock_read(clock, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}
