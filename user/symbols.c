/* SPDX-License-Identifier: Apache-2.0 */
/* user/symbols: bodies. See symbols.h. */
#include "user/symbols.h"
#include "base/sys.h"
#include "user/elf.h"
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

enum { TABLE_MAX = 64 << 20, SEGMENTS_MAX = 64 };

Symbols *symbols_new(void) {
    Symbols *s = sys_mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return sys_failed(s) ? NULL : s;
}

/* --- reading ------------------------------------------------------------------------------------------ */

/* A section's bytes in memory of their own, or NULL. */
static void *read_section(int fd, const Elf64_Shdr *h) {
    if (!h->sh_size || h->sh_size > TABLE_MAX) return NULL;
    void *p = sys_mmap(NULL, h->sh_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(p)) return NULL;
    if (elf_read_at(fd, p, h->sh_size, h->sh_offset)) return p;
    sys_munmap(p, h->sh_size);
    return NULL;
}

/* Guest address minus the file's: what lies at file offset `offset` is at `start` now. */
static bool find_bias(int fd, const Elf64_Ehdr *h, u64 start, u64 offset, u64 *bias) {
    if (h->e_phentsize != sizeof(Elf64_Phdr)) return false;
    for (u32 k = 0; k < MIN((u32)h->e_phnum, (u32)SEGMENTS_MAX); k++) {
        Elf64_Phdr p;
        if (!elf_read_at(fd, &p, sizeof p, h->e_phoff + k * sizeof p)) return false;
        if (p.p_type != PT_LOAD || align_down(p.p_offset, PAGE_BYTES) != offset) continue;
        *bias = start - align_down(p.p_vaddr, PAGE_BYTES);
        return true;
    }
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

typedef struct Reading {
    File *file;
    int fd;
    u64 bias;
    bool tried;     /* to read the names */
    u64 strings_at; /* their offset in the file */
} Reading;

static void read_names(Reading *r, const Elf64_Shdr *strings) {
    File *f = r->file;
    f->strings = read_section(r->fd, strings);
    if (!f->strings) return;
    f->strings_size = strings->sh_size;
    f->strings[f->strings_size - 1] = 0;
    r->strings_at = strings->sh_offset;
}

static void take(void *ctx, const Elf64_Sym *s, const Elf64_Shdr *strings) {
    Reading *r = ctx;
    File *f = r->file;
    u64 at = s->st_value + r->bias;
    if (at - f->start >= f->size) return;
    if (!r->tried) read_names(r, strings);
    r->tried = true;
    if (r->strings_at != strings->sh_offset || s->st_name >= f->strings_size) return; /* a second table of the kind is unusual */
    vec_push(&f->symbols, ((Symbol){at, (u32)MIN(s->st_size, 0xffffffffull), s->st_name}));
}

static bool read_symbols(File *f, int fd, u64 offset) {
    Elf64_Ehdr h;
    Reading r = {.file = f, .fd = fd};
    if (!elf_read_at(fd, &h, sizeof h, 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || !find_bias(fd, &h, f->start, offset, &r.bias)) return false;
    if (!elf_functions(fd, SHT_SYMTAB, take, &r)) elf_functions(fd, SHT_DYNSYM, take, &r);
    sort(f->symbols.at, f->symbols.len);
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
