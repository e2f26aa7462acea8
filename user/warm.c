/* SPDX-License-Identifier: Apache-2.0 */
/* user/warm: bodies. See warm.h.
 *
 * Each file is mapped where a process that runs it would have it, and its code is found from: its entry, its function symbols, the
 * table of functions that unwinding needs (.eh_frame_hdr: stripped files have it, too) and where direct branches lead. Behind a block that ends in a jump
 * the next is tried, up to the end of the code: so the cases of a jump table are found. What is no code does no harm: it is never run. */
#include "user/warm.h"
#include "base/sys.h"
#include "user/program.h"
#include "user/signal.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef struct Warm {
    RunOptions options;
    Process process;
    Thread *thread;
    const char *const *paths;
    Arena arena;            /* of one file */
    Arena names;            /* seen, for ever */
    VEC(const char *) todo; /* files to warm */
    VEC(u64) pcs;           /* of the file under way: code to translate */
    u64 start, end;         /* of its executable segment, in memory */
    u32 done, failed;
    u64 insns;
    bool terminal;
} Warm;

static void complain(Warm *w, const char *path, const char *why) {
    fd_print(2, "%sisomer: %s: %s\n", w->terminal ? "\r\033[K" : "", path, why);
    w->failed++;
}

/* --- which files ----------------------------------------------------------------------------------------- */

static void add_file(Warm *w, const char *path) {
    for (u32 k = 0; k < w->todo.len; k++)
        if (!strcmp(w->todo.at[k], path)) return;
    char *copy = arena_alloc(&w->names, strlen(path) + 1);
    strcpy(copy, path);
    vec_push(&w->todo, copy);
}

static bool is_guest_file(Warm *w, const char *path) {
    u8 head[64];
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    long n = sys_call(SYS_pread64, fd, head, sizeof head, 0);
    sys_call(SYS_close, fd);
    return n == sizeof head && elf_kind(head, (size_t)n, w->process.abi->elf_machine) == ELF_GUEST;
}

static void add_folder(Warm *w, const char *path, unsigned depth);

static void add_entry(Warm *w, const char *dir, const char *name, unsigned depth) {
    char path[PATH_MAX];
    Text t = text_init(path, sizeof path);
    text_print(&t, "%s/%s", dir, name);
    struct stat st;
    if (t.cut || sys_call(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0) return;
    if (S_ISDIR(st.st_mode)) add_folder(w, path, depth + 1);
    else if (S_ISREG(st.st_mode) && is_guest_file(w, path)) add_file(w, path);
}

static void add_folder(Warm *w, const char *path, unsigned depth) {
    enum { DEPTH_MAX = 40 };
    int fd = depth < DEPTH_MAX ? (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    u8 buf[4096] __attribute__((aligned(8)));
    for (long n; (n = sys_call(SYS_getdents64, fd, buf, sizeof buf)) > 0;)
        for (long at = 0; at < n; at += ((SysDirEntry *)(buf + at))->reclen) {
            const char *name = ((SysDirEntry *)(buf + at))->name;
            if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) add_entry(w, path, name, depth);
        }
    sys_call(SYS_close, fd);
}

/* --- what a program needs ----------------------------------------------------------------------------------- */

static const char *const library_folders[] = {"/lib/riscv64-linux-gnu", "/usr/lib/riscv64-linux-gnu", "/lib64/lp64d", "/usr/lib64/lp64d", "/lib", "/usr/lib", "/usr/local/lib"};

static void add_guest_path(Warm *w, const char *path) {
    char buf[PATH_MAX];
    const char *host = path_lookup(w->options.prefix, path, buf);
    if (is_guest_file(w, host)) add_file(w, host);
}

static void add_library(Warm *w, const char *name) {
    for (u32 k = 0; k < ARRAY_LEN(library_folders); k++) {
        char path[PATH_MAX], buf[PATH_MAX];
        Text t = text_init(path, sizeof path);
        text_print(&t, "%s/%s", library_folders[k], name);
        const char *host = path_lookup(w->options.prefix, path, buf);
        if (!is_guest_file(w, host)) continue;
        add_file(w, host);
        return;
    }
}

/* Memory of the mapped file: nothing in it is trusted. */
static void add_needed(Warm *w, u64 dynamic, u64 size, u64 bias) {
    u64 strings = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (u64 at = 0; at + sizeof(Elf64_Dyn) <= size; at += sizeof(Elf64_Dyn)) {
            Elf64_Dyn d;
            if (guest_read(&d, dynamic + at, sizeof d) < 0 || d.d_tag == DT_NULL) break;
            if (d.d_tag == DT_STRTAB) strings = d.d_un.d_ptr + bias;
            char name[256];
            if (pass && d.d_tag == DT_NEEDED && guest_read_string(name, sizeof name, strings + d.d_un.d_val) > 0) add_library(w, name);
        }
}

/* --- where code is ------------------------------------------------------------------------------------------- */

static void found(void *ctx, u64 pc) {
    Warm *w = ctx;
    if (pc >= w->start && pc < w->end) vec_push(&w->pcs, pc);
}

typedef struct FoundSymbols {
    Warm *warm;
    u64 bias;
} FoundSymbols;

static void found_symbol(void *ctx, const Elf64_Sym *s, const Elf64_Shdr *strings) {
    const FoundSymbols *f = ctx;
    (void)strings;
    found(f->warm, s->st_value + f->bias);
}

/* Linux Standard Base, "The .eh_frame_hdr section": version 1, encodings, then a table of {first instruction, description}, in the one
 * form that linkers write: 32-bit numbers relative to the section. */
static void add_unwind(Warm *w, u64 at, u64 size) {
    struct {
        u8 version, frame_enc, count_enc, table_enc;
        i32 frame;
        u32 count;
    } h;
    if (size < sizeof h || guest_read(&h, at, sizeof h) < 0 || h.version != 1 || h.count_enc != 0x03 || h.table_enc != 0x3b) return;
    for (u64 k = 0; k < h.count && sizeof h + 8 * (k + 1) <= size; k++) {
        i32 entry[2];
        if (guest_read(entry, at + sizeof h + 8 * k, 8) < 0) return;
        found(w, at + (u64)(i64)entry[0]);
    }
}

static void translate_all(Warm *w) {
    Vcpu *cpu = w->thread->cpu;
    while (w->pcs.len) {
        u64 pc = w->pcs.at[--w->pcs.len];
        for (u32 size; pc >= w->start && pc < w->end && (size = engine_translate(w->process.engine, cpu, pc, found, w));) pc += size;
    }
}

static void translate_segment(Warm *w, const ElfFile *f, const ElfImage *image, const Elf64_Phdr *code) {
    FoundSymbols symbols = {w, image->bias};
    w->start = code->p_vaddr + image->bias;
    w->end = w->start + code->p_filesz;
    found(w, image->entry);
    elf_functions(f->fd, SHT_SYMTAB, found_symbol, &symbols);
    elf_functions(f->fd, SHT_DYNSYM, found_symbol, &symbols);
    for (u32 k = 0; k < f->header.e_phnum; k++)
        if (f->segments[k].p_type == PT_GNU_EH_FRAME) add_unwind(w, f->segments[k].p_vaddr + image->bias, f->segments[k].p_memsz);
    translate_all(w);
}

/* --- one file --------------------------------------------------------------------------------------------------- */

static const char *begin_file(Warm *w) {
    const char *error = NULL;
    EngineHooks hooks = {.ctx = &w->process, .fetch = process_fetch};
    Process *p = &w->process;
    space_init(&p->space, 1ull << p->abi->address_bits, (1ull << 47) - PAGE_BYTES);
    p->engine = engine_new(p->abi->guest, &w->options.engine, &hooks, &error);
    if (error) return error;
    process_watch_space(p);
    w->thread->cpu = engine_vcpu_new(p->engine, NULL);
    if (!w->thread->cpu) return "out of memory";
    w->thread->cpu->owner = w->thread;
    return NULL;
}

static void end_file(Warm *w) {
    Process *p = &w->process;
    p->space.changed = NULL;
    space_unmap(&p->space, 0x10000, p->space.hint_limit - 0x10000);
    vec_drop(&p->space.vmas);
    if (p->engine) engine_drop(p->engine);
    p->engine = NULL;
    w->thread->cpu = NULL;
    arena_drop(&w->arena);
    vec_drop(&w->pcs);
}

static const char *warm_open(Warm *w, int fd) {
    ElfFile f;
    ElfImage image;
    const char *why = elf_read(&f, fd, w->process.abi->elf_machine, &w->arena);
    if (!why) why = begin_file(w);
    if (!why) why = elf_map(&f, &w->process.space, 0, &image);
    if (why) return why;
    for (u32 k = 0; k < f.header.e_phnum; k++) {
        const Elf64_Phdr *p = &f.segments[k];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) translate_segment(w, &f, &image, p);
        if (p->p_type == PT_DYNAMIC) add_needed(w, p->p_vaddr + image.bias, p->p_memsz, image.bias);
    }
    if (f.interp[0]) add_guest_path(w, f.interp);
    EngineStats before, after;
    engine_stats_get(w->process.engine, &before);
    engine_save(w->process.engine);
    engine_stats_get(w->process.engine, &after);
    w->insns += after.guest_insns;
    return before.blocks && !after.images_written ? "its translations could not be saved (is the cache writable, and large enough?)" : NULL;
}

static void warm_file(Warm *w, const char *path) {
    if (w->terminal) fd_print(2, "\r\033[K%u of %u: %s", w->done + 1, w->todo.len, path);
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    const char *why = fd < 0 ? "cannot be opened" : warm_open(w, fd);
    if (fd >= 0) sys_call(SYS_close, fd);
    end_file(w);
    if (why) complain(w, path, why);
    w->done++;
}

static void warm_paths(Warm *w) {
    for (const char *const *path = w->paths; *path; path++) {
        struct stat st;
        long r = sys_call(SYS_newfstatat, AT_FDCWD, *path, &st, 0);
        if (r < 0) complain(w, *path, "no such file");
        else if (S_ISDIR(st.st_mode)) add_folder(w, *path, 0);
        else if (!is_guest_file(w, *path)) complain(w, *path, "not a riscv64 program or library");
        else add_file(w, *path);
    }
    for (u32 k = 0; k < w->todo.len; k++) warm_file(w, w->todo.at[k]); /* grows on the way */
}

static void warm_thread(void *arg) {
    Warm *w = arg;
    thread_begin(w->thread);
    signal_init(w->thread);
    warm_paths(w);
    if (w->terminal) fd_print(2, "\r\033[K");
    fd_print(1, "%u files, %lu instructions translated\n", w->done, w->insns);
    sys_exit_group(w->failed != 0);
}

int user_warm(const char *cache, const char *root, const char *const *paths) {
    Warm *w = sys_mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(w)) return 1;
    struct stat st;
    w->options.prefix = root;
    w->options.engine = (EngineOptions){.store = cache, .save_all = true, .cache_size = GIB(1), .log_fd = 2};
    w->paths = paths;
    w->process.options = &w->options;
    w->process.abi = &abi_riscv64;
    w->process.self_fd = -1;
    w->terminal = sys_call(SYS_fstat, 2, &st) == 0 && S_ISCHR(st.st_mode) && sys_call(SYS_ioctl, 2, 0x5401 /* TCGETS */, &(u8[64]){0}) == 0;
    w->thread = thread_new(&w->process);
    if (!w->thread) return 1;
    signal_block_all();
    host_enter(thread_stack_top(w->thread), warm_thread, w);
}
