/* SPDX-License-Identifier: Apache-2.0 */
/* isomer explain PROGRAM FUNCTION|ADDRESS: a function's loops, and for each the region that would be made of it when it is hot, or why there would
 * be none; what the passes did; how much host code it is. Nothing is run, so all branches are taken to be reached: in a
 * process, sides of branches that were never taken are left out. */
#include "cmd/explain_file.h"
#include "engine/region.h"
#include "host/host.h"
#include "isa/riscv/riscv.h"
#include "opt/opt.h"
#include "user/elf.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOST_MAX = 1 << 20, STUBS_MAX = 1 << 16, TEXT_MAX = 8 << 20, HEADS_MAX = 64, FUNCTION_MAX = 1 << 20, NAME_LEN = 4096 };

typedef struct File {
    const u8 *at;
    u64 size;
    const Elf64_Ehdr *head;
} File;

static int complain(const char *what, const char *why) {
    fprintf(stderr, "isomer: explain: %s: %s\n", what, why);
    return 1;
}

/* --- the file: nothing in it is trusted ----------------------------------------------------------------------- */

/* `count` things of `each` bytes at `offset`, or NULL. */
static const void *part(const File *f, u64 offset, u64 count, u64 each) {
    if (count > f->size / each || offset > f->size || count * each > f->size - offset || offset % 8) return NULL;
    return f->at + offset;
}

static const char *open_file(File *f, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) return "cannot be opened";
    f->size = (u64)st.st_size;
    f->at = S_ISREG(st.st_mode) && f->size >= sizeof(Elf64_Ehdr) ? mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (f->at == MAP_FAILED) return "is no program";
    f->head = (const Elf64_Ehdr *)f->at;
    bool guest = !memcmp(f->head->e_ident, ELFMAG, SELFMAG) && f->head->e_ident[EI_CLASS] == ELFCLASS64 && f->head->e_machine == riscv_guest.elf_machine;
    return guest ? NULL : "is no riscv64 program";
}

/* RegionSource.fetch: bytes of an executable segment. */
static const u8 *fetch(void *ctx, u64 pc, size_t *avail) {
    const File *f = ctx;
    const Elf64_Phdr *p = part(f, f->head->e_phoff, f->head->e_phnum, sizeof *p);
    for (u32 k = 0; p && k < f->head->e_phnum; k++) {
        if (p[k].p_type != PT_LOAD || !(p[k].p_flags & PF_X) || pc - p[k].p_vaddr >= p[k].p_filesz) continue;
        u64 offset = p[k].p_offset + (pc - p[k].p_vaddr), left = p[k].p_filesz - (pc - p[k].p_vaddr);
        if (offset >= f->size) return NULL;
        *avail = MIN(left, f->size - offset);
        return f->at + offset;
    }
    return NULL;
}

static bool reached(void *ctx, u64 pc) { return (void)ctx, (void)pc, true; }

typedef struct Wanted { /* a function looked for by name */
    int fd;
    const char *name;
    bool found;
    u64 start, size;
} Wanted;

static void compare_name(void *ctx, const Elf64_Sym *s, const Elf64_Shdr *strings) {
    Wanted *w = ctx;
    char name[NAME_LEN];
    u64 size = strlen(w->name) + 1;
    if (w->found || size > sizeof name || size > strings->sh_size - s->st_name) return;
    if (!elf_read_at(w->fd, name, size, strings->sh_offset + s->st_name) || memcmp(name, w->name, size) != 0) return;
    w->found = true;
    w->start = s->st_value, w->size = s->st_size;
}

static bool find_function(const char *path, const char *name, u64 *start, u64 *size) {
    Wanted w = {.fd = open(path, O_RDONLY | O_CLOEXEC), .name = name};
    elf_functions(w.fd, SHT_SYMTAB, compare_name, &w);
    elf_functions(w.fd, SHT_DYNSYM, compare_name, &w);
    close(w.fd);
    if (w.found) *start = w.start, *size = w.size;
    return w.found;
}

/* --- loops ------------------------------------------------------------------------------------------------------ */

typedef struct Heads {
    u64 pc[HEADS_MAX];
    u32 count, insns;
} Heads;

static void add_head(Heads *h, u64 pc) {
    for (u32 k = 0; k < h->count; k++)
        if (h->pc[k] == pc) return;
    if (h->count < HEADS_MAX) h->pc[h->count++] = pc;
}

/* Targets of backward branches of the function. */
static void find_heads(File *f, u64 start, u64 size, Heads *out) {
    IrFunc ir = {0};
    for (u64 pc = start; pc < start + MIN(size, (u64)FUNCTION_MAX);) {
        size_t avail;
        const u8 *code = fetch(f, pc, &avail);
        if (!code || avail < riscv_guest.insn_align) break;
        ir_reset(&ir, &riscv_guest, pc, 0);
        unsigned len = riscv_guest.lift(&ir, pc, code, avail);
        if (!len) break;
        const IrInsn *last = &ir.insns.at[ir.insns.len - 1];
        bool branch = last->op == IR_exit_if || (last->op == IR_exit && last->aux == EXIT_JUMP);
        if (branch && last->imm <= pc && last->imm >= start) add_head(out, last->imm);
        pc += len;
        out->insns++;
    }
    ir_drop(&ir);
}

/* --- what becomes of them ---------------------------------------------------------------------------------------- */

typedef struct Maker {
    Region region;
    RegionSource source;
    Opt opt;
    IrFunc ir;
    HostStubs stubs;
    HostCode code;
    u8 *memory;
    bool verbose;
} Maker;

static void print_ir(const IrFunc *f, const char *title) {
    char *buf = malloc(TEXT_MAX);
    if (!buf) return;
    Text t = text_init(buf, TEXT_MAX);
    ir_print(f, &t);
    printf("\n%s\n%s", title, buf);
    free(buf);
}

static void print_passes(const OptStats *s) {
    printf("  IR instructions: %lu as lifted, %lu optimised\n", s->insns_before, s->insns_after);
    printf("  passes: %lu registers read or written became values, %lu parameters dropped, %lu folded, %lu merged, %lu loads forwarded,\n"
           "          %lu extensions dropped, %lu hoisted out of loops, %lu products and carries joined, %lu dead, %lu branches decided\n",
           s->promoted, s->params, s->folded, s->merged, s->loads, s->extensions, s->hoisted, s->paired, s->dead, s->branches);
}

static void print_code(const u8 *p, size_t size) {
    printf("\nhost code:\n");
    for (size_t k = 0; k < size; k++) printf("%s%02x", k % 16 ? " " : k ? "\n  " : "  ", p[k]);
    printf("\n");
}

static void explain_loop(Maker *m, u64 pc) {
    printf("\nloop at %lx: ", pc);
    if (!region_build(&m->region, &m->source, &region_default_limits, &riscv_guest, pc, 0, &m->ir)) {
        printf("no region: %s\n", m->region.why);
        return;
    }
    printf("a region of %u guest instructions, %u loops, %u calls inlined, %u calls that leave\n", m->region.insns, m->region.loops, m->region.inlined, m->region.callees.len);
    if (m->verbose) print_ir(&m->ir, "IR as lifted:");
    m->opt.stats = (OptStats){0};
    opt_run(&m->opt, &m->ir);
    print_passes(&m->opt.stats);
    if (m->verbose) print_ir(&m->ir, "IR optimised:");
    m->code.rw = m->memory + STUBS_MAX, m->code.rx = m->code.rw, m->code.cap = HOST_MAX;
    if (!host_x64.compile_region(&m->stubs, &m->ir, &m->code)) {
        printf("  no code: it wants too many registers, or is too large\n");
        return;
    }
    printf("  host: %u instructions, %zu bytes, %u entries, %u exits, %u bytes of maps for faults\n", m->code.insns, m->code.size, m->code.entries.len, m->code.exits.len, m->code.maps.len);
    if (m->verbose) print_code(m->code.rw, m->code.size);
}

static int explain_function(File *f, const char *name, u64 start, u64 size, bool verbose) {
    static Maker m;
    Heads heads = {0};
    const char *error = host_x64.init(NULL);
    if (error) return complain(name, error);
    m.memory = mmap(NULL, STUBS_MAX + HOST_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m.memory == MAP_FAILED) return complain(name, "out of memory");
    host_x64.make_stubs(&riscv_guest, m.memory, m.memory, &m.stubs);
    m.source = (RegionSource){.ctx = f, .fetch = fetch, .reached = reached};
    m.opt.pinned = host_x64.pinned;
    m.verbose = verbose;
    find_heads(f, start, size, &heads);
    printf("%s: %lx, %lu bytes, %u instructions, %u loops%s\n", name, start, size, heads.insns, heads.count, heads.count ? "" : ": quick code does for it");
    for (u32 k = 0; k < heads.count; k++) explain_loop(&m, heads.pc[k]);
    return 0;
}

int explain_file(int argc, char **argv) {
    File f;
    u64 start, size = FUNCTION_MAX;
    const char *why = open_file(&f, argv[0]);
    if (why) return complain(argv[0], why);
    bool verbose = argc > 2 && !strcmp(argv[2], "-v");
    if (argc < 2 || argc > 3 || (argc == 3 && !verbose)) return complain(argv[0], "name one of its functions, or the hexadecimal address of a loop (and -v for IR and code)");
    if (find_function(argv[0], argv[1], &start, &size)) return explain_function(&f, argv[1], start, size, verbose);
    char *end;
    start = strtoull(argv[1], &end, 16);
    size_t avail;
    if (*end || end == argv[1] || start % 2 || !fetch(&f, start, &avail)) return complain(argv[1], "no such function, and no address of code");
    return explain_function(&f, argv[1], start, MIN(size, avail), verbose);
}
