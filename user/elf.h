/* SPDX-License-Identifier: Apache-2.0 */
/* user/elf: reads and maps ELF64 programs as Linux does (fs/binfmt_elf.c), trusting nothing in them. Every
 * failure is a reason in words, for the one line that the user gets. */
#ifndef USER_ELF_H
#define USER_ELF_H

#include "mem/space.h"
#include <elf.h>

typedef struct ElfFile {
    int fd; /* the caller's */
    u64 size;
    Elf64_Ehdr header;
    Elf64_Phdr *segments; /* header.e_phnum of them, in the arena */
    char interp[4096];    /* PT_INTERP, "" if there is none */
    u64 first, last;      /* page-aligned extent of the PT_LOADs */
    u64 align;            /* strictest of theirs */
    bool exec_stack;
} ElfFile;

typedef struct ElfImage {
    u64 bias, entry, phdr;
    u64 end; /* page-aligned, of the last segment: the break starts here */
    u64 code_start, code_end, data_start, data_end;
} ElfImage;

typedef enum ElfKind { ELF_GUEST, ELF_HOST, ELF_SCRIPT, ELF_OTHER, ELF_UNREADABLE } ElfKind;
/* What a file that begins with these bytes is. */
ElfKind elf_kind(const u8 *start, size_t size, u16 machine);

/* Reads and checks headers. NULL: fine; else why not. Nothing is mapped yet. */
const char *elf_read(ElfFile *f, int fd, u16 machine, Arena *arena);
/* Maps the segments. Position-independent ones go to `base` (0: wherever there is room). NULL or why not. */
const char *elf_map(const ElfFile *f, Space *s, u64 base, ElfImage *out);

/* Calls fn for each function that the symbol tables of `type` (SHT_SYMTAB, SHT_DYNSYM) define, with the section that its name is in, whatever
 * file that is. False: it has no such table. */
typedef void ElfFunctionFn(void *ctx, const Elf64_Sym *symbol, const Elf64_Shdr *strings);
bool elf_functions(int fd, u32 type, ElfFunctionFn *fn, void *ctx);
/* Reads all of `size` bytes. */
bool elf_read_at(int fd, void *to, u64 size, u64 offset);

#endif
