/* SPDX-License-Identifier: Apache-2.0 */
/* isomer run: command line and environment of the process VM. One table of options: qemu-user's, by their names
 * and with their variables (QEMU_X, and ISOMER_X, which wins), and our own. An option that is accepted works; one that
 * cannot be had is refused in one line. */
#include "cmd/run.h"
#include "cmd/cache.h"
#include "user/user.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

typedef struct Run {
    RunOptions o;
    VEC(const char *) env;     /* the guest's environment */
    VEC(const char *) inherit; /* options for the programs that the guest executes */
    const char *argv0;         /* -0 */
    bool cache_chosen;         /* --cache */
    bool quit;                 /* -version, -h: done */
} Run;

typedef struct Option {
    const char *name;
    const char *variable;   /* without QEMU_ or ISOMER_; NULL: none */
    const char *arg;        /* what it takes, for -h; NULL: nothing */
    bool inherit;           /* execve hands it on */
    bool (*set)(Run *r, const char *arg);
    const char *help;
} Option;

static bool refuse(const char *what, const char *why) {
    fprintf(stderr, "isomer: %s: %s\n", what, why);
    return false;
}

static void remember(Run *r, const char *name, const char *arg) {
    char *dashed = malloc(strlen(name) + 2);
    dashed[0] = '-';
    strcpy(dashed + 1, name);
    vec_push(&r->inherit, dashed);
    if (arg) vec_push(&r->inherit, arg);
}

/* --- numbers and lists ------------------------------------------------------------------------------------ */

/* Calls fn for each word of a list with commas. */
static bool each_word(Run *r, const char *list, bool (*fn)(Run *r, const char *word)) {
    char *copy = strdup(list), *rest = copy, *word;
    bool ok = copy != NULL;
    while (ok && (word = strsep(&rest, ","))) ok = !*word || fn(r, strdup(word));
    free(copy);
    return ok;
}

/* --- environment --------------------------------------------------------------------------------------------- */

static void env_remove(Run *r, const char *name, size_t size) {
    u32 kept = 0;
    for (u32 i = 0; i < r->env.len; i++) {
        const char *e = r->env.at[i];
        if (strncmp(e, name, size) != 0 || e[size] != '=') r->env.at[kept++] = e;
    }
    r->env.len = kept;
}

static bool set_env(Run *r, const char *word) {
    const char *eq = strchr(word, '=');
    if (!eq) return refuse(word, "-E wants NAME=VALUE");
    env_remove(r, word, (size_t)(eq - word));
    vec_push(&r->env, word);
    return true;
}
static bool unset_env(Run *r, const char *word) {
    if (strchr(word, '=')) return refuse(word, "-U wants a name");
    env_remove(r, word, strlen(word));
    return true;
}
static bool opt_env(Run *r, const char *arg) { return each_word(r, arg, set_env); }
static bool opt_unset(Run *r, const char *arg) { return each_word(r, arg, unset_env); }

/* --- one function per option ------------------------------------------------------------------------------------ */

static bool opt_help(Run *r, const char *arg);

static bool opt_version(Run *r, const char *arg) {
    printf("isomer version " ISOMER_VERSION " (process VM for riscv64 Linux programs)\n");
    return r->quit = true;
}

static bool opt_prefix(Run *r, const char *arg) {
    static char absolute[4096]; /* the guest may change its directory */
    size_t n = strlen(arg);
    while (n > 1 && arg[n - 1] == '/') n--;
    char *dir = strndup(arg, n);
    r->o.prefix = strcmp(dir, "/") == 0 ? NULL : realpath(dir, absolute) ? absolute : dir;
    free(dir == r->o.prefix ? NULL : dir);
    return true;
}

static bool opt_argv0(Run *r, const char *arg) { return (r->argv0 = arg) != NULL; }
static bool opt_release(Run *r, const char *arg) { return (r->o.release = arg) != NULL; }
static bool opt_stack(Run *r, const char *arg) {
    return parse_size(arg, 1, &r->o.stack_size) && r->o.stack_size ? true : refuse(arg, "-s wants a size in bytes");
}
static bool opt_base(Run *r, const char *arg) {
    u64 v;
    if (!parse_u64(arg, NULL, &v)) return refuse(arg, "-B wants an address");
    return v == 0 ? true : refuse(arg, "-B: guest addresses are host addresses, so the base is always 0");
}
static bool opt_reserved(Run *r, const char *arg) {
    if (!parse_size(arg, 1, &r->o.reserved)) return refuse(arg, "-R wants a size");
    if (r->o.reserved && (r->o.reserved < MIB(64) || r->o.reserved > 1ull << 47))
        return refuse(arg, "-R: between 64M and 2^47");
    return true;
}
static bool opt_page(Run *r, const char *arg) {
    return strcmp(arg, "4096") == 0 ? true : refuse(arg, "-p: pages are 4096 bytes");
}
static bool opt_gdb(Run *r, const char *arg) { return r->o.gdb = arg, true; }
static bool opt_plugin(Run *r, const char *arg) { return refuse("-plugin", "there are no plugins"); }
static bool opt_jitdump(Run *r, const char *arg) { return r->o.engine.jitdump = true; }
static bool opt_seed(Run *r, const char *arg) {
    if (!parse_u64(arg, NULL, &r->o.seed)) return refuse(arg, "-seed wants a number");
    r->o.seed += !r->o.seed; /* 0 means none */
    return true;
}
static bool opt_traced(Run *r, const char *arg) { return (r->o.traced = arg) != NULL; }
static bool opt_vector_control(Run *r, const char *arg) {
    return parse_u64(arg, NULL, &r->o.vector_control) ? true : refuse(arg, "--vector-control wants a number");
}
static bool opt_child(Run *r, const char *arg) { return r->o.child = true; }
static bool opt_as_limit(Run *r, const char *arg) {
    return parse_u64(arg, NULL, &r->o.as_limit) ? true : refuse(arg, "--as-limit wants a size");
}
static bool take_fd(const char *option, const char *arg, int *out) {
    u64 fd;
    if (!parse_u64(arg, NULL, &fd) || fd > INT32_MAX) return refuse(arg, option);
    *out = (int)fd;
    return true;
}
static bool opt_exec_fd(Run *r, const char *arg) { return take_fd("--exec-fd wants a descriptor", arg, &r->o.exec_fd); }
static bool opt_seccomp(Run *r, const char *arg) { return take_fd("--seccomp wants a descriptor", arg, &r->o.filters_fd); }

/* "guest host count,...": all signals are usable here without a mapping, so that only the identity is left to ask for. */
static bool check_rtsig(Run *r, const char *word) {
    unsigned guest, host, count;
    if (sscanf(word, "%u %u %u", &guest, &host, &count) != 3) return refuse(word, "-t wants \"GUEST HOST COUNT,...\"");
    return guest == host && guest + count <= 65 ? true : refuse(word, "-t: signals keep their numbers");
}
static bool opt_rtsig(Run *r, const char *arg) { return each_word(r, arg, check_rtsig); }

static bool cpu_property(Run *r, const char *word) {
    static const char *const on[] = {"i", "m", "a", "f", "d", "c", "g", "v", "zkn", "zks", "zvkn", "zvknc", "zvkng", "zvks", "zvksc", "zvksg",
#define EXT(name, bit) #name,
#define VECTOR(name, bit) #name,
#define HIDDEN(name, bit) #name,
#include "isa/riscv/extensions.def"
#undef EXT
#undef VECTOR
#undef HIDDEN
    };
    const char *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    bool wanted = !eq || !strcmp(eq, "=true") || !strcmp(eq, "=on"), have = false;
    if (!strncmp(word, "v=", 2)) r->o.no_vectors = !wanted;
    if (r->o.no_vectors && !strncmp(word, "v=", 2)) return true;
    if (!strncmp(word, "vlen=", 5) || !strncmp(word, "elen=", 5) || !strncmp(word, "vext_spec=", 10))
        return !strcmp(word, "vlen=128") || !strcmp(word, "elen=64") || !strcmp(word, "vext_spec=v1.0") || refuse(word, "-cpu: this processor cannot be had");
    for (u32 i = 0; i < ARRAY_LEN(on); i++) have |= strlen(on[i]) == n && !strncmp(word, on[i], n);
    return have == wanted ? true : refuse(word, "-cpu: this processor cannot be had");
}
static bool opt_cpu(Run *r, const char *arg) {
    static const char *const models[] = {"max", "rv64", "any", "rv64i", "rva22u64"};
    if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
        for (u32 i = 0; i < ARRAY_LEN(models); i++) puts(models[i]);
        return r->quit = true;
    }
    size_t n = strcspn(arg, ",");
    bool known = false;
    for (u32 i = 0; i < ARRAY_LEN(models); i++) known |= strlen(models[i]) == n && !strncmp(arg, models[i], n);
    if (!known) return refuse(arg, "-cpu: no such model (-cpu help lists them)");
    r->o.cpu = arg;
    return arg[n] ? each_word(r, arg + n + 1, cpu_property) : true;
}

/* --- the engine, logs ----------------------------------------------------------------------------------------------- */

static bool opt_one_insn(Run *r, const char *arg) { return r->o.engine.one_insn = true; }
static bool opt_host_features(Run *r, const char *arg) { return r->o.engine.host_features = arg, true; }
static bool opt_perfmap(Run *r, const char *arg) { return r->o.engine.perfmap = true; }
static bool opt_lockstep(Run *r, const char *arg) { return r->o.engine.lockstep = true; }
static bool opt_libc(Run *r, const char *arg) {
    if (strcmp(arg, "own") != 0 && strcmp(arg, "guest") != 0) return refuse(arg, "-libc wants own or guest");
    r->o.engine.guest_libc = !strcmp(arg, "guest");
    return true;
}
static bool opt_stats(Run *r, const char *arg) { return r->o.stats = true; }
static bool opt_strace(Run *r, const char *arg) { return r->o.strace = true; }
static bool opt_tb_size(Run *r, const char *arg) {
    return parse_size(arg, MIB(1), &r->o.engine.cache_size) ? true : refuse(arg, "-tb-size wants a size (in MiB)");
}
static bool opt_engine(Run *r, const char *arg) {
    if (!strcmp(arg, "optimising")) r->o.engine.tier = ENGINE_OPTIMISING;
    else if (!strcmp(arg, "quick")) r->o.engine.tier = ENGINE_QUICK;
    else if (!strcmp(arg, "interp")) r->o.engine.tier = ENGINE_INTERP;
    else return refuse(arg, "--engine: optimising, quick or interp");
    return true;
}

static bool opt_hot(Run *r, const char *arg) {
    u64 n;
    const char *end;
    if (!parse_u64(arg, &end, &n) || *end || !n || n > 1u << 30) return refuse(arg, "--hot wants a number from 1 to 2^30");
    r->o.engine.hot = (u32)n;
    return true;
}

static bool opt_log_file(Run *r, const char *arg) {
    char path[4096];
    const char *pid = strstr(arg, "%d");
    if (pid) snprintf(path, sizeof path, "%.*s%d%s", (int)(pid - arg), arg, getpid(), pid + 2);
    int fd = open(pid ? path : arg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (r->o.child ? 0 : O_TRUNC), 0666);
    if (fd < 0) return refuse(arg, "cannot be written");
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 400); /* out of the guest's way */
    if (high >= 0) close(fd);
    r->o.engine.log_fd = high >= 0 ? high : fd;
    return true;
}

static bool opt_cache(Run *r, const char *arg) {
    r->cache_chosen = true;
    r->o.engine.store = cache_folder(arg);
    if (!r->o.engine.store && strcmp(arg, "off") != 0) return refuse(arg, "--cache wants a folder or off");
    return true;
}

static bool opt_cache_size(Run *r, const char *arg) {
    return parse_size(arg, 1, &r->o.engine.store_size) || refuse(arg, "--cache-size wants bytes, or a number with K, M or G");
}

/* Handed on, so that a guest that changes HOME or its environment does not lose it. */
static void default_cache(Run *r) {
    if (r->cache_chosen) return;
    r->o.engine.store = r->o.secure ? NULL : cache_folder(NULL); /* HOME is the caller's word */
    remember(r, "cache", r->o.engine.store ? r->o.engine.store : "off");
}

/* "START..END", "START+SIZE", "START-SIZE" */
static bool opt_filter(Run *r, const char *arg) {
    u64 start, second;
    const char *s = arg;
    if (!parse_u64(s, &s, &start)) return refuse(arg, "-dfilter wants START..END or START+SIZE");
    bool range = s[0] == '.' && s[1] == '.';
    char op = *s;
    s += range ? 2 : 1;
    if ((!range && op != '+' && op != '-') || !parse_u64(s, NULL, &second))
        return refuse(arg, "-dfilter wants START..END or START+SIZE");
    r->o.engine.dump_start = op == '-' ? start - second : start;
    r->o.engine.dump_size = range ? second - start + 1 : second;
    return true;
}

typedef struct LogItem {
    const char *name, *help;
    void (*set)(Run *r);
} LogItem;

static void log_asm(Run *r) { r->o.engine.dump |= ENGINE_DUMP_ASM; }
static void log_ir(Run *r) { r->o.engine.dump |= ENGINE_DUMP_IR; }
static void log_host(Run *r) { r->o.engine.dump |= ENGINE_DUMP_HOST; }
static void log_block(Run *r) { r->o.engine.trace_block = true; }
static void log_insn(Run *r) { r->o.engine.trace_insn = true; }
static void log_nochain(Run *r) { r->o.engine.no_link = true; }
static void log_sys(Run *r) { r->o.strace = true; }

static bool log_set(Run *r, const LogItem *items, u32 count, const char *option, const char *word) {
    for (u32 i = 0; i < count; i++) {
        if (strcmp(items[i].name, word) != 0) continue;
        items[i].set(r);
        return true;
    }
    fprintf(stderr, "isomer: %s: %s: one of", word, option);
    for (u32 i = 0; i < count; i++) fprintf(stderr, " %s", items[i].name);
    fprintf(stderr, "\n");
    return false;
}

static const LogItem qemu_logs[] = {
    {"in_asm", "guest instructions as they are translated", log_asm}, {"op", "the intermediate code", log_ir},
    {"out_asm", "generated code", log_host},                          {"exec", "each block entered", log_block},
    {"nochain", "do not link blocks", log_nochain},                   {"strace", "system calls", log_sys},
    {"cpu", "each instruction executed", log_insn},
};
static const LogItem trace_logs[] = {
    {"sys", "system calls", log_sys}, {"insn", "each instruction executed", log_insn}, {"block", "each block entered", log_block}};
static const LogItem dump_logs[] = {
    {"asm", "guest instructions", log_asm}, {"ir", "intermediate code", log_ir}, {"host", "generated code", log_host}};

static bool set_log(Run *r, const char *word) { return log_set(r, qemu_logs, ARRAY_LEN(qemu_logs), "-d", word); }
static bool set_trace(Run *r, const char *word) { return log_set(r, trace_logs, ARRAY_LEN(trace_logs), "--trace", word); }
static bool set_dump(Run *r, const char *word) { return log_set(r, dump_logs, ARRAY_LEN(dump_logs), "--dump", word); }
static bool opt_log(Run *r, const char *arg) {
    if (strcmp(arg, "help") != 0) return each_word(r, arg, set_log);
    for (u32 i = 0; i < ARRAY_LEN(qemu_logs); i++) printf("%-10s %s\n", qemu_logs[i].name, qemu_logs[i].help);
    return r->quit = true;
}
static bool opt_trace(Run *r, const char *arg) { return each_word(r, arg, set_trace); }
static bool opt_dump(Run *r, const char *arg) { return each_word(r, arg, set_dump); }

static const Option options[] = {
    {"h", NULL, NULL, false, opt_help, "print this help"},
    {"help", NULL, NULL, false, opt_help, NULL},
    {"version", "VERSION", NULL, false, opt_version, "print the version"},
    {"L", "LD_PREFIX", "ROOT", true, opt_prefix, "look absolute paths up below ROOT first"},
    {"s", "STACK_SIZE", "SIZE", true, opt_stack, "size of the stack in bytes (K, M, G)"},
    {"cpu", "CPU", "MODEL", true, opt_cpu, "processor (-cpu help)"},
    {"E", "SET_ENV", "NAME=VALUE,...", false, opt_env, "set variables of the guest's environment"},
    {"U", "UNSET_ENV", "NAME,...", false, opt_unset, "remove variables"},
    {"0", "ARGV0", "NAME", false, opt_argv0, "what the program sees as argv[0]"},
    {"r", "UNAME", "RELEASE", true, opt_release, "what uname says"},
    {"B", "GUEST_BASE", "ADDRESS", true, opt_base, "guest base: always 0"},
    {"R", "RESERVED_VA", "SIZE", true, opt_reserved, "size of the guest's address space"},
    {"t", "RTSIG_MAP", "MAP", true, opt_rtsig, "real-time signals: always the identity"},
    {"d", "LOG", "ITEM,...", true, opt_log, "log (-d help)"},
    {"dfilter", "DFILTER", "RANGE", true, opt_filter, "log only code at these addresses"},
    {"D", "LOG_FILENAME", "FILE", true, opt_log_file, "log there (%d: the process)"},
    {"p", "PAGESIZE", "SIZE", true, opt_page, "page size: always 4096"},
    {"one-insn-per-tb", "ONE_INSN_PER_TB", NULL, true, opt_one_insn, "one instruction per block"},
    {"singlestep", "SINGLESTEP", NULL, true, opt_one_insn, NULL},
    {"strace", "STRACE", NULL, true, opt_strace, "print system calls"},
    {"seed", "RAND_SEED", "NUMBER", true, opt_seed, "make random placement repeatable"},
    {"tb-size", "TB_SIZE", "SIZE", true, opt_tb_size, "size of the code cache in MiB (K, M, G)"},
    {"host-features", "HOST_FEATURES", "LIST", true, opt_host_features, "do without features of the host's processor (-avx,-bmi2)"},
    {"perfmap", "PERFMAP", NULL, true, opt_perfmap, "write /tmp/perf-PID.map for perf"},
    {"jitdump", "JITDUMP", NULL, true, opt_jitdump, "write /tmp/jit-PID.dump for perf inject --jit"},
    {"g", "GDB", "PORT", false, opt_gdb, "wait for GDB at a TCP port of this machine, or at the path of a Unix socket"},
    {"plugin", "PLUGIN", "FILE", false, opt_plugin, NULL},
    {"engine", "ENGINE", "NAME", true, opt_engine, "optimising (default), quick or interp"},
    {"hot", "HOT", "N", true, opt_hot, "optimise loops after N rounds"},
    {"stats", "STATS", NULL, true, opt_stats, "print counts at exit"},
    {"trace", "TRACE", "WHAT,...", true, opt_trace, "sys, insn, block"},
    {"dump", "DUMP", "STAGE,...", true, opt_dump, "asm, ir, host"},
    {"cache", "CACHE", "FOLDER|off", true, opt_cache, "keep translations there (isomer cache -h)"},
    {"cache-size", "CACHE_SIZE", "SIZE", true, opt_cache_size, "how much to keep (2G)"},
    {"lockstep", "LOCKSTEP", NULL, true, opt_lockstep, "check generated code against the interpreter"},
    {"libc", "LIBC", "own|guest", true, opt_libc, "who does short memcpy and the like in hot loops: Isomer (own, default), or the guest's C library"},
    {"child", NULL, NULL, false, opt_child, NULL},
    {"seccomp", NULL, "FD", false, opt_seccomp, NULL},
    {"traced", NULL, "STATE", false, opt_traced, NULL},
    {"as-limit", NULL, "SIZE", false, opt_as_limit, NULL},
    {"vector-control", NULL, "NUMBER", false, opt_vector_control, NULL},
    {"exec-fd", NULL, "FD", false, opt_exec_fd, NULL},
};

static bool opt_help(Run *r, const char *arg) {
    printf("usage: isomer run [options] PROGRAM [ARGUMENTS...]\nRuns a riscv64 Linux program.\n\n"
           "option                      variable           meaning\n");
    for (u32 i = 0; i < ARRAY_LEN(options); i++) {
        const Option *o = &options[i];
        if (!o->help) continue;
        bool own = strlen(o->name) > 3 && !strcmp(o->name, "engine");
        char left[64], variable[32] = "";
        snprintf(left, sizeof left, "%s%s %s", own ? "--" : "-", o->name, o->arg ? o->arg : "");
        if (o->variable) snprintf(variable, sizeof variable, "QEMU_%s", o->variable);
        printf("%-27s %-18s %s\n", left, variable, o->help);
    }
    printf("\nEach variable is taken with ISOMER_ instead of QEMU_, too.\n");
    return r->quit = true;
}

/* --- parsing ------------------------------------------------------------------------------------------------------------ */

static bool apply(Run *r, const Option *o, const char *arg) {
    if (o->inherit) remember(r, o->name, arg);
    return o->set(r, arg);
}

/* Variables of older options come first, so that the command line wins. */
static bool apply_environment(Run *r) {
    for (u32 i = 0; i < ARRAY_LEN(options); i++) {
        if (!options[i].variable) continue;
        char name[64];
        snprintf(name, sizeof name, "ISOMER_%s", options[i].variable);
        const char *value = getenv(name);
        snprintf(name, sizeof name, "QEMU_%s", options[i].variable);
        if (!value) value = getenv(name);
        if (value && !apply(r, &options[i], options[i].arg ? value : NULL)) return false;
        if (r->quit) return true;
    }
    return true;
}

static const Option *option_find(const char *word, const char **value) {
    size_t n = strcspn(word, "=");
    *value = NULL;
    for (u32 i = 0; i < ARRAY_LEN(options); i++) {
        if (!strcmp(word, options[i].name)) return &options[i];
        if (word[n] == '=' && options[i].arg && strlen(options[i].name) == n && !strncmp(word, options[i].name, n)) {
            *value = word + n + 1;
            return &options[i];
        }
    }
    return NULL;
}

/* Returns the index of the program's name, or -1 after a message. */
static int parse_options(Run *r, int argc, char **argv) {
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (!strcmp(argv[i], "--")) return i + 1;
        const char *word = argv[i] + (argv[i][1] == '-' ? 2 : 1), *value;
        const Option *o = option_find(word, &value);
        if (!o) {
            refuse(argv[i], "unknown option (isomer run -h lists them)");
            return -1;
        }
        if (o->arg && !value && !(value = argv[++i])) {
            refuse(argv[i - 1], "needs an argument");
            return -1;
        }
        if (!apply(r, o, value)) return -1;
        if (r->quit) return argc;
    }
    return i;
}

static bool child_flag(int argc, char **argv) { return argc > 1 && !strcmp(argv[1], "--child"); }

int cmd_run(int argc, char **argv) {
    static Run run; /* the guest's threads read it as long as the process lives */
    Run *r = &run;
    r->o.engine.log_fd = 2;
    r->o.exec_fd = r->o.filters_fd = -1;
    r->o.self = (const char *)getauxval(AT_EXECFN);
    r->o.host_vdso = (const void *)getauxval(AT_SYSINFO_EHDR);
    for (char **e = environ; *e; e++) vec_push(&r->env, *e);
    bool preserve_argv0 = getauxval(AT_FLAGS) & 1; /* binfmt_misc flag P: PROGRAM ARGV0 ARGUMENTS... */
    bool by_kernel = preserve_argv0 || getauxval(AT_EXECFD); /* then there are no options: what looks like one is a program's name */
    int first = 1;
    r->o.secure = getauxval(AT_SECURE); /* a set-user-ID program: its caller must not choose, not even by the environment */
    if (!child_flag(argc, argv) && !r->o.secure && !apply_environment(r)) return 1;
    if (!r->quit && !by_kernel) first = parse_options(r, argc, argv);
    if (r->quit) return 0;
    if (first < 0) return 1;
    if (first >= argc) {
        fprintf(stderr, "isomer: no program given (isomer run -h tells more)\n");
        return 1;
    }
    r->o.program = argv[first];
    if (preserve_argv0 && first + 1 < argc) r->argv0 = argv[++first];
    if (r->argv0) argv[first] = (char *)r->argv0;
    r->o.argv = (const char *const *)&argv[first];
    u64 fd = getauxval(AT_EXECFD); /* binfmt_misc flag O */
    if (fd && !r->o.child) r->o.exec_fd = (int)fd;
    default_cache(r);
    vec_push(&r->env, NULL);
    vec_push(&r->inherit, NULL);
    r->o.envp = r->env.at;
    r->o.inherit = r->inherit.at;
    EngineOptions *e = &r->o.engine;
    e->guest_libc |= r->o.gdb || e->lockstep || e->one_insn || e->trace_insn; /* these want to see each of the guest's instructions */
    fflush(stdout);
    return user_run(&r->o);
}
