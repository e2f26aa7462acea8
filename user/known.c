/* SPDX-License-Identifier: Apache-2.0 */
/* user/known: bodies. See known.h. */
#include "user/known.h"
#include "base/sys.h"
#include "ir/guest.h"
#include "isa/riscv/riscv.h"
#include <elf.h>

enum { JUMP_SLOT = 5 /* R_RISCV_JUMP_SLOT [psABI, "relocations"] */, SEGMENTS_MAX = 64, TAGS_MAX = 256, NAME_MAX_BYTES = 32 };

typedef struct Object { /* a file, as mapped */
    u64 bias;
    u64 jumps, jumps_size, symbols, strings; /* addresses; 0: it has none */
    u64 name; /* address; 0: likewise */
} Object;

static const char *const names[KNOWN_COUNT] = {
#define NAME_ROW(name) [KNOWN_##name] = #name,
    KNOWN_EACH(NAME_ROW)
#undef NAME_ROW
};

/* No fault must happen: the thread that makes regions asks. */
static bool take(u64 at, void *to, size_t size) { return sys_read_memory(to, (const void *)at, size) == size; }

/* The string at `at`, cut, in out; always ends. */
static void take_name(u64 at, char out[NAME_MAX_BYTES]) {
    size_t n = sys_read_memory(out, (const void *)at, NAME_MAX_BYTES - 1);
    memset(out + n, 0, NAME_MAX_BYTES - n);
}

/* The loader writes addresses into some dynamic sections, and leaves others as they are in the file. */
static u64 address(const Object *o, u64 v) { return v < o->bias ? v + o->bias : v; }

static void read_tags(Object *o, u64 at) {
    Elf64_Dyn d;
    u64 name = 0;
    bool named = false;
    for (u32 k = 0; k < TAGS_MAX && take(at + k * sizeof d, &d, sizeof d) && d.d_tag != DT_NULL; k++) {
        if (d.d_tag == DT_JMPREL) o->jumps = address(o, d.d_un.d_ptr);
        if (d.d_tag == DT_PLTRELSZ) o->jumps_size = d.d_un.d_val;
        if (d.d_tag == DT_SYMTAB) o->symbols = address(o, d.d_un.d_ptr);
        if (d.d_tag == DT_STRTAB) o->strings = address(o, d.d_un.d_ptr);
        if (d.d_tag == DT_SONAME) name = d.d_un.d_val, named = true;
    }
    if (named && o->strings) o->name = o->strings + name;
}

/* The file whose code is in v. */
static bool object_at(const Vma *v, Object *out) {
    Elf64_Ehdr h;
    Elf64_Phdr p;
    u64 start = v->start - v->offset, dynamic = 0; /* where its first byte would be */
    bool placed = false;
    *out = (Object){0};
    if (!take(start, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_machine != EM_RISCV || h.e_phentsize != sizeof p) return false;
    for (u32 k = 0; k < MIN((u32)h.e_phnum, (u32)SEGMENTS_MAX) && take(start + h.e_phoff + k * sizeof p, &p, sizeof p); k++) {
        if (p.p_type == PT_LOAD && (p.p_flags & PF_X) && align_down(p.p_offset, PAGE_BYTES) == v->offset) out->bias = v->start - align_down(p.p_vaddr, PAGE_BYTES), placed = true;
        if (p.p_type == PT_DYNAMIC) dynamic = p.p_vaddr;
    }
    if (!placed || !dynamic) return false;
    read_tags(out, out->bias + dynamic);
    return true;
}

/* Code of a file, as the file has it, at pc. */
static bool code_at(Space *s, u64 pc, Vma *v) {
    size_t avail;
    bool pristine;
    return space_find(s, pc, v) && v->start <= pc && v->kind == VMA_FILE && space_fetch(s, pc, &avail, &pristine) && pristine;
}

/* Where the stub at pc has its word: auipc t3, hi; ld t3, lo(t3); jalr t1, t3. 0: it is none. */
static u64 slot_of(u64 pc) {
    enum { T3 = 28 };
    u32 code[3];
    RvInsn high, low;
    if (!take(pc, code, sizeof code) || code[2] != riscv_guest.stub_jump) return 0;
    if (!riscv_decode(code[0], &high) || high.op != RV_auipc || high.rd != T3) return 0;
    if (!riscv_decode(code[1], &low) || low.op != RV_ld || low.rd != T3 || low.rs1 != T3) return 0;
    return pc + (u64)(i64)high.imm + (u64)(i64)low.imm;
}

/* Words and relocations are in the same order, so that one tells where the other is. */
static u32 kind_of(const Object *o, u64 slot) {
    Elf64_Rela first, row;
    Elf64_Sym symbol;
    char name[NAME_MAX_BYTES];
    if (!o->jumps || !o->symbols || !o->strings || !take(o->jumps, &first, sizeof first)) return 0;
    u64 index = (slot - o->bias - first.r_offset) / sizeof(u64);
    if (index >= o->jumps_size / sizeof row || !take(o->jumps + index * sizeof row, &row, sizeof row)) return 0;
    if (row.r_offset != slot - o->bias || ELF64_R_TYPE(row.r_info) != JUMP_SLOT) return 0;
    if (!take(o->symbols + ELF64_R_SYM(row.r_info) * sizeof symbol, &symbol, sizeof symbol)) return 0;
    take_name(o->strings + symbol.st_name, name);
    for (u32 kind = 1; kind < KNOWN_COUNT; kind++)
        if (!strcmp(names[kind], name)) return kind;
    return 0;
}

u32 known_stub(Space *s, u64 pc) {
    Vma v;
    Object o;
    u64 slot;
    if (!code_at(s, pc, &v) || !(slot = slot_of(pc))) return 0;
    return object_at(&v, &o) ? kind_of(&o, slot) : 0;
}

/* glibc's, and musl's by two names. */
static bool is_library_name(const char *name) { return !strcmp(name, "libc.so.6") || !strcmp(name, "libc.so") || !strncmp(name, "libc.musl-", 10); }

bool known_is_library(Space *s, u64 pc) {
    Vma v;
    Object o;
    char name[NAME_MAX_BYTES];
    if (!code_at(s, pc, &v) || !object_at(&v, &o) || !o.name) return false;
    take_name(o.name, name);
    return is_library_name(name);
}
