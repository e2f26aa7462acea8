/* SPDX-License-Identifier: Apache-2.0 */
/* user/elf: bodies. See elf.h. */
#include "user/elf.h"
#include "base/sys.h"
#include "user/host.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#if defined(__x86_64__)
#define HOST_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define HOST_MACHINE EM_AARCH64
#else
#define HOST_MACHINE EM_RISCV
#endif

enum { SEGMENT_TABLE_MAX = 65536 };

ElfKind elf_kind(const u8 *start, size_t size, u16 machine) {
    if (size >= 2 && start[0] == '#' && start[1] == '!') return ELF_SCRIPT;
    if (size < 20 || memcmp(start, ELFMAG, SELFMAG) != 0) return ELF_OTHER;
    u16 found = (u16)(start[18] | start[19] << 8);
    if (start[EI_CLASS] == ELFCLASS64 && start[EI_DATA] == ELFDATA2LSB && found == machine) return ELF_GUEST;
    bool host32 = start[EI_CLASS] == ELFCLASS32 && found == EM_386 && HOST_MACHINE == EM_X86_64;
    return found == HOST_MACHINE || host32 ? ELF_HOST : ELF_OTHER;
}

/* The whole of [offset, offset + size), which the file may be too short for. */
static bool read_at(const ElfFile *f, void *to, u64 size, u64 offset) {
    if (offset > f->size || size > f->size - offset) return false;
    for (u64 done = 0; done < size;) {
        long n = sys_call(SYS_pread64, f->fd, (u8 *)to + done, size - done, offset + done);
        if (n == -EINTR) continue;
        if (n <= 0) return false;
        done += (u64)n;
    }
    return true;
}

static const char *check_header(const ElfFile *f, u16 machine) {
    const Elf64_Ehdr *h = &f->header;
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0) return "not an ELF file";
    if (h->e_ident[EI_CLASS] != ELFCLASS64) return "not a 64-bit ELF file";
    if (h->e_ident[EI_DATA] != ELFDATA2LSB) return "not a little-endian ELF file";
    if (h->e_machine != machine) return "a program for another machine";
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN) return "an ELF file, but not a program";
    if (h->e_phentsize != sizeof(Elf64_Phdr)) return "bad size of program headers";
    if (!h->e_phnum) return "no program headers";
    if (h->e_phnum * sizeof(Elf64_Phdr) > SEGMENT_TABLE_MAX) return "too many program headers";
    return NULL;
}

static const char *read_interp(ElfFile *f, const Elf64_Phdr *p) {
    if (f->interp[0]) return "more than one interpreter";
    if (p->p_filesz < 2 || p->p_filesz > sizeof f->interp) return "bad interpreter path";
    if (!read_at(f, f->interp, p->p_filesz, p->p_offset)) return "truncated: the interpreter's path is missing";
    return f->interp[p->p_filesz - 1] || !f->interp[0] ? "bad interpreter path" : NULL;
}

static const char *check_segment(ElfFile *f, const Elf64_Phdr *p) {
    u64 end;
    if (p->p_filesz > p->p_memsz) return "a segment has more bytes in the file than in memory";
    if (__builtin_add_overflow(p->p_vaddr, p->p_memsz, &end) || end > 1ull << 47) return "a segment lies outside of the address space";
    if (p->p_filesz && (p->p_offset > f->size || p->p_filesz > f->size - p->p_offset)) return "truncated: a segment is missing";
    if (p->p_filesz && (p->p_vaddr - p->p_offset) % PAGE_BYTES) return "a segment is not aligned to a page";
    if (p->p_align & (p->p_align - 1)) return "bad alignment of a segment";
    if (!p->p_memsz) return NULL;
    if (f->last && align_down(p->p_vaddr, PAGE_BYTES) < f->last - PAGE_BYTES) return "overlapping or unordered segments";
    if (!f->last) f->first = align_down(p->p_vaddr, PAGE_BYTES);
    f->last = align_up(end, PAGE_BYTES);
    if (p->p_align > f->align && p->p_align <= MIB(1024)) f->align = p->p_align;
    return NULL;
}

/* Bytes of segments may not overlap, though pages may be shared by the end of one and the start of the next. */
static bool segments_overlap(const ElfFile *f) {
    u64 end = 0;
    for (u32 i = 0; i < f->header.e_phnum; i++) {
        const Elf64_Phdr *p = &f->segments[i];
        if (p->p_type != PT_LOAD || !p->p_memsz) continue;
        if (p->p_vaddr < end) return true;
        end = p->p_vaddr + p->p_memsz;
    }
    return false;
}

static const char *check_segments(ElfFile *f) {
    f->align = PAGE_BYTES;
    for (u32 i = 0; i < f->header.e_phnum; i++) {
        const Elf64_Phdr *p = &f->segments[i];
        const char *why = NULL;
        if (p->p_type == PT_LOAD) why = check_segment(f, p);
        if (p->p_type == PT_INTERP) why = read_interp(f, p);
        if (p->p_type == PT_GNU_STACK) f->exec_stack = p->p_flags & PF_X;
        if (why) return why;
    }
    if (!f->last) return "nothing to load";
    return segments_overlap(f) ? "overlapping segments" : NULL;
}

const char *elf_read(ElfFile *f, int fd, u16 machine, Arena *arena) {
    *f = (ElfFile){.fd = fd};
    struct stat st;
    if (sys_call(SYS_fstat, fd, &st) < 0) return "cannot read the file";
    if (S_ISDIR(st.st_mode)) return "is a directory";
    if (!S_ISREG(st.st_mode)) return "not a regular file";
    f->size = (u64)st.st_size;
    if (!read_at(f, &f->header, sizeof f->header, 0)) {
        bool elf = read_at(f, &f->header, SELFMAG, 0) && memcmp(f->header.e_ident, ELFMAG, SELFMAG) == 0;
        return elf ? "truncated: the ELF header is missing" : "not an ELF file";
    }
    const char *why = check_header(f, machine);
    if (why) return why;
    u64 size = f->header.e_phnum * sizeof(Elf64_Phdr);
    f->segments = arena_alloc(arena, size);
    if (!read_at(f, f->segments, size, f->header.e_phoff)) return "truncated: program headers are missing";
    return check_segments(f);
}

static int segment_prot(const Elf64_Phdr *p) {
    return ((p->p_flags & PF_R) ? PROT_READ : 0) | ((p->p_flags & PF_W) ? PROT_WRITE : 0) |
           ((p->p_flags & PF_X) ? PROT_EXEC : 0);
}

static const char *map_error(i64 error) {
    if (error == -ENOMEM || error == -EEXIST) return "no room for a segment in the address space";
    if (error == -EPERM || error == -EACCES) return "the host does not allow to map a segment there";
    return "cannot map a segment";
}

/* Zeroes what lies behind the file's bytes in their last page, and maps the rest of the segment. */
static const char *map_bss(Space *s, const Elf64_Phdr *p, u64 bias) {
    u64 file_end = p->p_vaddr + bias + p->p_filesz, end = p->p_vaddr + bias + p->p_memsz;
    u64 page_end = p->p_filesz ? align_up(file_end, PAGE_BYTES) : align_down(file_end, PAGE_BYTES);
    if ((p->p_flags & PF_W) && page_end > file_end) {
        static const u8 zeros[PAGE_BYTES];
        if (host_copy((void *)file_end, zeros, page_end - file_end) < 0) return "a segment cannot be read";
    }
    if (end <= page_end) return NULL;
    i64 r = space_map(s, page_end, align_up(end, PAGE_BYTES) - page_end, segment_prot(p),
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, VMA_ANON);
    return r < 0 ? map_error(r) : NULL;
}

static const char *map_segment(const ElfFile *f, Space *s, const Elf64_Phdr *p, u64 bias) {
    u64 slack = p->p_vaddr % PAGE_BYTES;
    if (p->p_filesz) {
        i64 r = space_map(s, p->p_vaddr + bias - slack, p->p_filesz + slack, segment_prot(p), MAP_PRIVATE | MAP_FIXED,
                          f->fd, p->p_offset - slack, VMA_FILE);
        if (r < 0) return map_error(r);
    }
    return p->p_memsz > p->p_filesz ? map_bss(s, p, bias) : NULL;
}

static void note_segment(ElfImage *out, const ElfFile *f, const Elf64_Phdr *p, u64 bias) {
    u64 start = p->p_vaddr + bias, file_end = start + p->p_filesz;
    u64 table = f->header.e_phoff;
    if (p->p_offset <= table && table < p->p_offset + p->p_filesz) out->phdr = table - p->p_offset + start;
    if ((p->p_flags & PF_X) && (!out->code_end || start < out->code_start)) out->code_start = start;
    if ((p->p_flags & PF_X) && file_end > out->code_end) out->code_end = file_end;
    if (start > out->data_start) out->data_start = start;
    if (file_end > out->data_end) out->data_end = file_end;
}

const char *elf_map(const ElfFile *f, Space *s, u64 base, ElfImage *out) {
    *out = (ElfImage){0};
    bool moves = f->header.e_type == ET_DYN;
    u64 size = f->last - f->first, slack = f->align > PAGE_BYTES ? f->align : 0;
    if (f->last > s->limit || size + slack > s->limit) return "too big for the address space";
    /* One reservation of the whole extent first, so that nothing else comes to lie in its holes. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    u64 at = moves ? align_up(base, f->align) : f->first;
    i64 r = -EEXIST;
    for (unsigned k = 0; k < SPACE_PLACES && moves && s->place && r < 0; k++) {
        u64 best = align_down(s->place(s->ctx, f->fd, size, k), f->align);
        if (best && best + size <= s->limit) r = space_map(s, best, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0, VMA_ANON);
    }
    if (r < 0 && (at || !moves)) r = space_map(s, at, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0, VMA_ANON);
    if (r < 0 && moves) {
        r = space_map(s, 0, size + slack, PROT_NONE, flags, -1, 0, VMA_ANON);
        if (r >= 0 && slack) {
            u64 start = align_up((u64)r, f->align);
            if (start > (u64)r) space_unmap(s, (u64)r, start - (u64)r);
            u64 rest = (u64)r + size + slack - (start + size);
            if (rest) space_unmap(s, start + size, rest);
            r = (i64)start;
        }
    }
    if (r < 0) return map_error(r);
    out->bias = (u64)r - f->first;
    out->end = f->last + out->bias;
    out->entry = f->header.e_entry + out->bias;
    for (u32 i = 0; i < f->header.e_phnum; i++) {
        const Elf64_Phdr *p = &f->segments[i];
        if (p->p_type != PT_LOAD || !p->p_memsz) continue;
        const char *why = map_segment(f, s, p, out->bias);
        if (why) return why;
        note_segment(out, f, p, out->bias);
    }
    for (u32 i = 0; i < f->header.e_phnum; i++)
        if (f->segments[i].p_type == PT_PHDR) out->phdr = f->segments[i].p_vaddr + out->bias;
    return NULL;
}

/* --- functions ----------------------------------------------------------------------------------------- */

enum { SECTIONS_MAX = 4096, SYMBOLS_MAX = 4 << 20, STEP = 64 };

bool elf_read_at(int fd, void *to, u64 size, u64 offset) { return sys_call(SYS_pread64, fd, to, size, offset) == (long)size; }

static void each_function(int fd, const Elf64_Shdr *table, const Elf64_Shdr *strings, ElfFunctionFn *fn, void *ctx) {
    Elf64_Sym syms[STEP];
    u64 count = MIN(table->sh_size / sizeof *syms, (u64)SYMBOLS_MAX);
    for (u64 at = 0; at < count; at += STEP) {
        u64 n = MIN(count - at, (u64)STEP);
        if (!elf_read_at(fd, syms, n * sizeof *syms, table->sh_offset + at * sizeof *syms)) return;
        for (u64 k = 0; k < n; k++)
            if (ELF64_ST_TYPE(syms[k].st_info) == STT_FUNC && syms[k].st_shndx != SHN_UNDEF && syms[k].st_name < strings->sh_size) fn(ctx, &syms[k], strings);
    }
}

bool elf_functions(int fd, u32 type, ElfFunctionFn *fn, void *ctx) {
    Elf64_Ehdr h;
    bool some = false;
    if (!elf_read_at(fd, &h, sizeof h, 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_shentsize != sizeof(Elf64_Shdr)) return false;
    for (u32 k = 0; k < MIN((u32)h.e_shnum, (u32)SECTIONS_MAX); k++) {
        Elf64_Shdr table, strings;
        if (!elf_read_at(fd, &table, sizeof table, h.e_shoff + k * sizeof table) || table.sh_type != type || table.sh_link >= h.e_shnum) continue;
        if (!elf_read_at(fd, &strings, sizeof strings, h.e_shoff + table.sh_link * sizeof strings)) continue;
        each_function(fd, &table, &strings, fn, ctx);
        some = true;
    }
    return some;
}
