/* SPDX-License-Identifier: Apache-2.0 */
/* user/symbols: bodies. See symbols.h. */
#include "user/symbols.h"
#include "base/sys.h"
#include <elf.h>
#include <sys/mman.h>

typedef struct Symbol {
    u64 start;  /* guest address */
    u32 size, name; /* bytes; offset in File.strings */
} Symbol;

typedef struct File {
    u64 start, size; /* in guest memory */
    VEC(Symbol) symbols; /* in order of address */
    char *strings;
    u64 strings_size;
} File;

struct Symbols {
    Lock lock;
    VEC(File) files;
};

enum { TABLE_MAX = 64 << 20, SECTIONS_MAX = 4096, SEGMENTS_MAX = 64 };

Symbols *symbols_new(void) {
    Symbols *s = sys_mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return sys_failed(s) ? NULL : s;
}

/* --- reading ------------------------------------------------------------------------------------------ */

static bool read_at(int fd, void *to, u64 size, u64 offset) { return sys_call(SYS_pread64, fd, to, size, offset) == (long)size; }

/* A section in memory of its own, or NULL. */
static void *read_section(int fd, const Elf64_Shdr *h) {
    if (!h->sh_size || h->sh_size > TABLE_MAX) return NULL;
    void *p = sys_mmap(NULL, h->sh_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(p)) return NULL;
    if (read_at(fd, p, h->sh_size, h->sh_offset)) return p;
    sys_munmap(p, h->sh_size);
    return NULL;
}

/* Guest address minus the file's: what lies at file offset `offset` is at `start` now. */
static bool find_bias(int fd, const Elf64_Ehdr *h, u64 start, u64 offset, u64 *bias) {
    if (h->e_phentsize != sizeof(Elf64_Phdr)) return false;
    for (u32 k = 0; k < MIN((u32)h->e_phnum, (u32)SEGMENTS_MAX); k++) {
        Elf64_Phdr p;
        if (!read_at(fd, &p, sizeof p, h->e_phoff + k * sizeof p)) return false;
        if (p.p_type != PT_LOAD || align_down(p.p_offset, PAGE_BYTES) != offset) continue;
        *bias = start - align_down(p.p_vaddr, PAGE_BYTES);
        return true;
    }
    return false;
}

static bool find_table(int fd, const Elf64_Ehdr *h, u32 type, Elf64_Shdr *symbols, Elf64_Shdr *strings) {
    if (h->e_shentsize != sizeof(Elf64_Shdr)) return false;
    for (u32 k = 0; k < MIN((u32)h->e_shnum, (u32)SECTIONS_MAX); k++)
        if (read_at(fd, symbols, sizeof *symbols, h->e_shoff + k * sizeof *symbols) && symbols->sh_type == type && symbols->sh_link < h->e_shnum)
            return read_at(fd, strings, sizeof *strings, h->e_shoff + symbols->sh_link * sizeof *strings);
    return false;
}

/* Heap sort: no recursion, whatever the file holds. */
static void sift(Symbol *at, u32 from, u32 len) {
    for (u32 child; (child = 2 * from + 1) < len; from = child) {
        if (child + 1 < len && at[child + 1].start > at[child].start) child++;
        if (at[from].start >= at[child].start) return;
        Symbol t = at[from];
        at[from] = at[child], at[child] = t;
    }
}

static void sort(Symbol *at, u32 len) {
    for (u32 k = len / 2; k-- > 0;) sift(at, k, len);
    for (u32 end = len; end > 1;) {
        Symbol t = at[--end];
        at[end] = at[0], at[0] = t;
        sift(at, 0, end);
    }
}

static void take(File *f, const Elf64_Sym *syms, u64 count, u64 bias) {
    for (u64 k = 0; k < count; k++) {
        const Elf64_Sym *s = &syms[k];
        u64 at = s->st_value + bias;
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF || at - f->start >= f->size || s->st_name >= f->strings_size) continue;
        vec_push(&f->symbols, ((Symbol){at, (u32)MIN(s->st_size, 0xffffffffull), s->st_name}));
    }
    sort(f->symbols.at, f->symbols.len);
}

static bool read_symbols(File *f, int fd, u64 offset) {
    Elf64_Ehdr h;
    Elf64_Shdr symbols, strings;
    u64 bias;
    if (!read_at(fd, &h, sizeof h, 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || !find_bias(fd, &h, f->start, offset, &bias)) return false;
    if (!find_table(fd, &h, SHT_SYMTAB, &symbols, &strings) && !find_table(fd, &h, SHT_DYNSYM, &symbols, &strings)) return false;
    Elf64_Sym *syms = read_section(fd, &symbols);
    f->strings = read_section(fd, &strings);
    f->strings_size = f->strings ? strings.sh_size : 0;
    if (f->strings) f->strings[f->strings_size - 1] = 0;
    if (syms && f->strings) take(f, syms, symbols.sh_size / sizeof *syms, bias);
    if (syms) sys_munmap(syms, symbols.sh_size);
    return f->symbols.len != 0;
}

static void drop(File *f) {
    if (f->strings) sys_munmap(f->strings, f->strings_size);
    vec_drop(&f->symbols);
}

void symbols_add(Symbols *s, int fd, u64 start, u64 size, u64 offset) {
    File f = {.start = start, .size = size};
    bool some = read_symbols(&f, fd, offset);
    lock_take(&s->lock);
    for (u32 k = 0; k < s->files.len;) { /* what lay there before */
        File *old = &s->files.at[k];
        if (old->start >= start + size || start >= old->start + old->size) {
            k++;
            continue;
        }
        drop(old);
        *old = s->files.at[--s->files.len];
    }
    if (some) vec_push(&s->files, f);
    lock_give(&s->lock);
    if (!some) drop(&f);
}

/* --- finding ---------------------------------------------------------------------------------------------- */

static const Symbol *find(const File *f, u64 pc) {
    u32 lo = 0, hi = f->symbols.len;
    while (lo < hi) {
        u32 mid = lo + (hi - lo) / 2;
        if (f->symbols.at[mid].start <= pc) lo = mid + 1;
        else hi = mid;
    }
    const Symbol *s = lo ? &f->symbols.at[lo - 1] : NULL;
    return s && (!s->size || pc - s->start < s->size) ? s : NULL;
}

bool symbols_print(Symbols *s, u64 pc, Text *out) {
    const Symbol *found = NULL;
    lock_take(&s->lock);
    for (u32 k = 0; k < s->files.len && !found; k++) {
        const File *f = &s->files.at[k];
        if (pc - f->start >= f->size || !(found = find(f, pc))) continue;
        text_print(out, "%s", f->strings + found->name);
        if (pc > found->start) text_print(out, "+0x%lx", pc - found->start);
    }
    lock_give(&s->lock);
    return found;
}
