/* SPDX-License-Identifier: Apache-2.0 */
/* user/start: user_run: from a path to a running first thread. */
#include "base/clock.h"
#include "base/sys.h"
#include "user/busy.h"
#include "user/exec.h"
#include "user/gdb.h"
#include "user/known.h"
#include "user/proc.h"
#include "user/program.h"
#include "user/signal.h"
#include "user/stack.h"
#include "user/symbols.h"
#include "user/trace.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>

typedef struct Start { /* what is needed only until the guest runs */
    const RunOptions *options;
    Process *process;
    Program program;
    ElfFile file, interp_file;
    ElfImage image, interp;
    Arena arena;
    bool randomize;
    u64 random_state; /* -seed */
    u64 stack_top, stack_size;
} Start;

static int fail(const char *path, int status, const char *why) {
    fd_print(2, "isomer: %s: %s\n", path, why);
    return status;
}

/* --- chance -------------------------------------------------------------------------------------------- */

static u64 random_u64(Start *s) {
    u64 v = 0;
    if (s->options->seed) return hash_u64(s->random_state += 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;
    if (sys_call(SYS_getrandom, &v, sizeof v, 1 /* GRND_NONBLOCK */) == sizeof v) return v;
    return hash_u64((clock_ns() << 20 ^ (u64)&v) + (s->random_state += 0x9e3779b97f4a7c15ull));
}

static u64 random_pages(Start *s, unsigned bits) {
    return s->randomize ? low_bits(random_u64(s), bits) * PAGE_BYTES : 0;
}

/* --- finding the program ---------------------------------------------------------------------------------- */

static const char *open_error(long error) {
    switch (-error) {
    case ENOENT: return "no such file";
    case ENOTDIR: return "part of the path is not a directory";
    case EACCES: return "permission denied, or not a regular file";
    case ELOOP: return "too many symbolic links or script interpreters";
    case ENAMETOOLONG: return "name too long";
    case ENOEXEC: return "not an ELF file or script";
    default: return "cannot be opened";
    }
}

static long find_in(Start *s, const char *path) {
    const RunOptions *o = s->options;
    return program_find(&s->program, o->prefix, AT_FDCWD, path, 0, s->process->abi->elf_machine, &s->arena);
}

static const char *env_find(const char *const *envp, const char *name) {
    size_t n = strlen(name);
    for (; *envp; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=') return *envp + n + 1;
    return NULL;
}

/* A name without a slash that is no file here is searched as a shell does. */
static long find_in_path(Start *s, const char *name) {
    const char *dirs = env_find(s->options->envp, "PATH");
    if (!dirs) dirs = "/usr/local/bin:/usr/bin:/bin";
    long error = -ENOENT;
    for (const char *at = dirs;;) {
        const char *end = at + strcspn(at, ":");
        char path[PATH_MAX];
        Text t = text_init(path, sizeof path);
        text_print(&t, "%.*s%s%s", (int)(end - at), at, end > at ? "/" : "./", name);
        program_drop(&s->program);
        long r = find_in(s, path);
        if (r >= 0) return r;
        if (r != -ENOENT && r != -ENOTDIR) error = r;
        if (!*end) return error;
        at = end + 1;
    }
}

/* Without a program that opens: tells apart what the shell tells apart. */
static int find_program(Start *s) {
    const RunOptions *o = s->options;
    if (o->exec_fd >= 0) {
        s->program = (Program){.fd = o->exec_fd, .kind = ELF_GUEST, .arena = &s->arena};
        Text t = text_init(s->program.path, sizeof s->program.path);
        text_print(&t, "%s", o->program);
        return 0;
    }
    long r = find_in(s, o->program);
    if (r == -ENOENT && !strchr(o->program, '/')) r = find_in_path(s, o->program);
    bool missing = r == -ENOENT || r == -ENOTDIR;
    if (r >= 0) return 0;
    if (missing && s->program.extra_count) return fail(o->program, EXIT_NOT_FOUND, "the script's interpreter is missing");
    if (r == -EACCES) {
        int fd = (int)sys_call(SYS_openat, AT_FDCWD, o->program, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) return fail(o->program, EXIT_NOT_EXECUTABLE, "is a directory");
    }
    if (r == -ENOEXEC && s->program.fd >= 0) { /* let the ELF reader say what is wrong */
        const char *why = elf_read(&s->file, s->program.fd, s->process->abi->elf_machine, &s->arena);
        if (why) return fail(o->program, EXIT_NOT_EXECUTABLE, why);
    }
    return fail(o->program, missing ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, open_error(r));
}

/* argv of the guest: what the script's interpreters put first, then the user's. */
static const char *const *make_argv(Start *s) {
    const Program *p = &s->program;
    const RunOptions *o = s->options;
    u32 count = 0;
    while (o->argv[count]) count++;
    const char **argv = arena_alloc(&s->arena, (count + p->extra_count + 2) * sizeof *argv), **at = argv;
    for (u32 i = 0; i < p->extra_count; i++) *at++ = p->extra[i];
    for (u32 i = p->extra_count ? 1 : 0; i < count; i++) *at++ = o->argv[i];
    return argv;
}

/* --- address space ------------------------------------------------------------------------------------------ */

enum { GAP_MIN = 128 << 20 };

/* Linux's layout for riscv64: the stack at the top, mappings below its gap, position-independent programs at two thirds. */
static void plan_space(Start *s) {
    Process *p = s->process;
    const RunOptions *o = s->options;
    u64 limit = o->reserved ? align_down(o->reserved, PAGE_BYTES) : 1ull << p->abi->address_bits;
    space_init(&p->space, limit, MAX(limit, (1ull << 47) - PAGE_BYTES));
    struct rlimit as;
    if (sys_call(SYS_getrlimit, RLIMIT_AS, &as) == 0) p->space.total_max = as.rlim_cur;
    if (o->as_limit) p->space.total_max = o->as_limit;
    struct rlimit stack = {.rlim_cur = MIB(8)};
    sys_call(SYS_getrlimit, RLIMIT_STACK, &stack);
    u64 size = o->stack_size ? o->stack_size : stack.rlim_cur;
    s->stack_size = align_up(MIN(MAX(size, KIB(128)), MIN(MIB(1024), limit / 8)), PAGE_BYTES);
    bool small = limit < MIB(4096);
    s->stack_top = limit - PAGE_BYTES - (small ? 0 : random_pages(s, 18));
    u64 gap = small ? s->stack_size + MIB(1) : MAX(s->stack_size, (u64)GAP_MIN) + MIB(1);
    p->space.mmap_base = s->stack_top - gap - (small ? 0 : random_pages(s, 18));
}

static u64 pie_base(Start *s) {
    u64 base = align_down(s->process->space.limit / 3 * 2, PAGE_BYTES);
    return base + (s->process->space.limit < MIB(4096) ? 0 : random_pages(s, 18));
}

static int load_interp(Start *s) {
    char buf[PATH_MAX];
    const char *path = path_lookup(s->options->prefix, s->file.interp, buf);
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    const char *name = s->options->program;
    char why[PATH_MAX + 100];
    Text t = text_init(why, sizeof why);
    if (fd < 0) {
        text_print(&t, "its interpreter %s is missing (option -L names the root it lies in)", s->file.interp);
        return fail(name, EXIT_NOT_FOUND, why);
    }
    const char *bad = elf_read(&s->interp_file, fd, s->process->abi->elf_machine, &s->arena);
    if (!bad && s->interp_file.header.e_type != ET_DYN && s->interp_file.header.e_type != ET_EXEC) bad = "not a program";
    if (!bad) bad = elf_map(&s->interp_file, &s->process->space, 0, &s->interp);
    sys_call(SYS_close, fd);
    if (!bad) return 0;
    text_print(&t, "its interpreter %s: %s", s->file.interp, bad);
    return fail(name, EXIT_NOT_EXECUTABLE, why);
}

static int load_program(Start *s) {
    Process *p = s->process;
    const char *why = elf_read(&s->file, s->program.fd, p->abi->elf_machine, &s->arena);
    if (why) return fail(s->options->program, EXIT_NOT_EXECUTABLE, why);
    busy_mark(s->program.fd);
    why = elf_map(&s->file, &p->space, s->file.interp[0] ? pie_base(s) : 0, &s->image);
    if (why) return fail(s->options->program, EXIT_NOT_EXECUTABLE, why);
    if (s->file.interp[0]) {
        int status = load_interp(s);
        if (status) return status;
    }
    p->code_start = s->image.code_start;
    p->code_end = s->image.code_end;
    p->data_start = s->image.data_start;
    p->data_end = s->image.data_end;
    /* A loader run by itself, or a program at the place that its translations are for: the heap must not run into others there. */
    bool apart = s->file.header.e_type == ET_DYN && s->image.end < align_down(p->space.limit / 3 * 2, PAGE_BYTES);
    u64 brk = apart ? pie_base(s) : s->image.end;
    if (s->file.header.e_type == ET_DYN && !s->file.interp[0]) brk = pie_base(s);
    p->space.brk_start = p->space.brk = brk + (p->space.limit < MIB(4096) ? 0 : random_pages(s, 13));
    return 0;
}

static void map_vdso(Process *p) {
    if (!p->abi->vdso) return;
    u64 size = align_up(*p->abi->vdso_size, PAGE_BYTES);
    i64 at = space_map(&p->space, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, VMA_VDSO);
    if (at < 0) return;
    memcpy((void *)at, p->abi->vdso, *p->abi->vdso_size);
    space_protect(&p->space, (u64)at, size, PROT_READ | PROT_EXEC);
    p->vdso = (u64)at;
}

/* The stack is mapped whole: the host's kernel gives pages as they are touched, and below it is a gap. */
static u64 map_stack(Start *s, const char *const *argv, u64 hwcap) {
    Process *p = s->process;
    int prot = PROT_READ | PROT_WRITE | (s->file.exec_stack ? PROT_EXEC : 0);
    i64 at = space_map(&p->space, s->stack_top - s->stack_size, s->stack_size, prot,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0, VMA_STACK);
    if (at < 0) return 0;
    StackPlan plan = {.top = s->stack_top - (low_bits(random_pages(s, 4), 12 + 4) & (KIB(32) - 1)),
                      .execfn = s->program.path, .argv = argv, .envp = s->options->envp, .file = &s->file,
                      .image = &s->image, .interp = s->file.interp[0] ? &s->interp : NULL, .hwcap = hwcap};
    u64 random[2] = {random_u64(s), random_u64(s)};
    memcpy(plan.random, random, sizeof random);
    return stack_build(p, &plan, s->stack_size - KIB(64));
}

/* --- the process -------------------------------------------------------------------------------------------- */

static void on_space_change(void *ctx, u64 start, u64 size) { engine_invalidate(((Process *)ctx)->engine, start, size); }
static void on_code_mapped(void *ctx, int fd, u64 start, u64 size, u64 offset) {
    Process *p = ctx;
    if (p->symbols) symbols_add(p->symbols, fd, start, size, offset);
    engine_file_mapped(p->engine, fd, start, size, offset);
}
static bool on_symbol(void *ctx, u64 pc, Text *out) {
    Process *p = ctx;
    return p->symbols && symbols_print(p->symbols, pc, out);
}
static u32 on_known(void *ctx, u64 pc) { return known_stub(&((Process *)ctx)->space, pc); }
static bool on_is_library(void *ctx, u64 pc) { return known_is_library(&((Process *)ctx)->space, pc); }
static u64 on_place(void *ctx, int fd, u64 size, unsigned attempt) { return engine_file_place(((Process *)ctx)->engine, fd, size, attempt); }
const u8 *process_fetch(void *ctx, u64 pc, size_t *avail, bool *pristine) {
    return space_fetch(&((Process *)ctx)->space, pc, avail, pristine);
}

void process_watch_space(Process *p) {
    p->space.ctx = p;
    p->space.changed = on_space_change;
    p->space.code_mapped = on_code_mapped;
    p->space.place = on_place;
}

static void note_exe(Process *p, int fd, const char *fallback) {
    if (proc_fd_target(fd, p->exe, sizeof p->exe) > 0) return;
    Text t = text_init(p->exe, sizeof p->exe);
    char cwd[PATH_MAX];
    if (fallback[0] != '/' && sys_call(SYS_getcwd, cwd, sizeof cwd) > 0) text_print(&t, "%s/", cwd);
    text_print(&t, "%s", strncmp(fallback, "./", 2) == 0 ? fallback + 2 : fallback);
}

static Process *process_new(const RunOptions *o) {
    Process *p = sys_mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(p)) return NULL;
    p->options = o;
    p->abi = &abi_riscv64;
    p->self_fd = -1;
    return p;
}

/* A core of the VMM would be useless to the guest's debugger. */
static void hide_core(Process *p) {
    struct rlimit l;
    if (sys_call(SYS_getrlimit, RLIMIT_CORE, &l) < 0) return;
    p->core_limit = l.rlim_cur;
    l.rlim_cur = 0;
    sys_call(SYS_setrlimit, RLIMIT_CORE, &l);
}

static void first_thread(void *arg) {
    Thread *t = arg;
    signal_init(t);
    thread_begin(t); /* from here on a tracer may send messages */
    if (t->process->core_limit) signal_reinstall(t);
    signal_set_mask(t, t->mask);
    if (t->process->options->traced) traced_start(t, t->process->options->traced);
    thread_loop(t);
}

static int start_engine(Start *s) {
    Process *p = s->process;
    const char *error = NULL;
    EngineHooks hooks = {.ctx = p, .fetch = process_fetch, .symbol = on_symbol, .spawn = thread_spawn, .fp_traps = true};
    if (!s->options->engine.guest_libc) hooks.known = on_known, hooks.is_library = on_is_library;
    if (s->options->engine.perfmap || s->options->engine.jitdump) p->symbols = symbols_new();
    p->engine = engine_new(p->abi->guest, &s->options->engine, &hooks, &error);
    if (!p->engine) return fail(s->options->program, EXIT_NOT_EXECUTABLE, error);
    process_watch_space(p);
    return 0;
}

/* On the way of a host program, or one that can be executed but not read: the host runs it, or says why not. */
static int run_on_host(Start *s, const char *const *argv) {
    long r = sys_call(SYS_execve, s->program.path, argv, s->options->envp);
    return fail(s->options->program, EXIT_NOT_EXECUTABLE, open_error(r));
}

int user_run(const RunOptions *o) {
    Start *s = sys_mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Process *p = process_new(o);
    if (sys_failed(s) || !p) return fail(o->program, EXIT_NOT_EXECUTABLE, "out of memory");
    clock_init(o->host_vdso);
    s->options = o;
    s->process = p;
    s->random_state = o->seed;
    s->randomize = !(sys_call(SYS_personality, 0xffffffff) & ADDR_NO_RANDOMIZE);
    int status = find_program(s);
    if (status) return status;
    const char *const *argv = make_argv(s);
    /* A script's interpreter may be the host's own; a program that is named may not: it is not what was asked for. */
    if (s->program.kind != ELF_GUEST && (s->program.extra_count || s->program.kind == ELF_UNREADABLE))
        return run_on_host(s, argv);
    plan_space(s);
    if ((status = start_engine(s)) || (status = load_program(s))) return status;
    map_vdso(p);
    u64 vectors = p->abi->vector_start(o->vector_control, o->no_vectors);
    u64 sp = map_stack(s, argv, p->abi->hwcap(vectors));
    if (!sp) return fail(o->program, EXIT_NOT_EXECUTABLE, "arguments and environment do not fit on the stack");
    engine_files_done(p->engine);
    note_exe(p, s->program.fd, s->program.path);
    proc_publish(p);
    Thread *t = thread_new(p);
    if (!t || !(t->cpu = engine_vcpu_new(p->engine, NULL))) return fail(o->program, EXIT_NOT_EXECUTABLE, "out of memory");
    t->cpu->owner = t;
    if (o->filters_fd >= 0 && !seccomp_restore(t, o->filters_fd)) return fail(o->program, EXIT_NOT_EXECUTABLE, "its seccomp filters got lost");
    p->abi->start(t->cpu, s->file.interp[0] ? s->interp.entry : s->image.entry, sp, vectors);
    thread_link(t);
    p->tasks = 1;
    hide_core(p);
    const char *error = o->gdb ? gdb_start(p, o->gdb) : NULL;
    if (error) return fail(o->gdb, EXIT_NOT_EXECUTABLE, error);
    trace_execve(t, s->program.path, argv, o->envp);
    sys_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, &t->mask, 8);
    signal_block_all();
    program_drop(&s->program);
    arena_drop(&s->arena);
    sys_munmap(s, sizeof *s);
    host_enter(thread_stack_top(t), first_thread, t);
}
