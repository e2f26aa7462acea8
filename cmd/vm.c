/* SPDX-License-Identifier: Apache-2.0 */
/* isomer-vm: a machine from the command line. Options are rows of one table; what they say goes into a MachineConfig. */
#include "back/back.h"
#include "cmd/firmware.h"
#include "cmd/image.h"
#include "machine/control.h"
#include "machine/counted.h"
#include "machine/gdb.h"
#include "machine/machine.h"
#include "machine/trace.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { DEVICES = 8 };

typedef struct Vm {
    MachineConfig config;
    BoardDisk disks[DEVICES];
    BoardNet nets[DEVICES];
    BoardShare shares[DEVICES];
    bool stats, help;
    const char *resume, *control, *gdb; /* NULL: none */
    bool gdb_wait;
    const char *system, *arch;    /* a named system; NULL: none */
    const char *exec;             /* a command for it; NULL: none */
    Image image;
    Firmware loader;
    ExecFolder exec_folder;
    char append[1024];
    char options[8192]; /* those that the machine is made of: a line each */
} Vm;

typedef struct Option {
    const char *name, *arg; /* arg NULL: takes none */
    bool (*set)(Vm *v, const char *arg);
    const char *help;
    bool machine; /* part of what a machine is: recorded, and used again by a replay */
} Option;

static bool refuse(const char *what, const char *why) {
    fprintf(stderr, "isomer boot: %s: %s\n", what, why);
    return false;
}

/* --- values --------------------------------------------------------------------------------------------------------- */

static bool set_memory(Vm *v, const char *arg) {
    return parse_size(arg, MIB(1), &v->config.board.memory) || refuse(arg, "a size such as 2G or 512M is wanted");
}

static bool set_smp(Vm *v, const char *arg) {
    const char *end;
    u64 n;
    if (!parse_u64(arg, &end, &n) || *end || !n || n > BOARD_HARTS_MAX) return refuse(arg, "a number of harts, 1 to 512, is wanted");
    v->config.board.harts = (u32)n;
    return true;
}

static bool set_kernel(Vm *v, const char *arg) { return v->config.images.kernel = arg, true; }
static bool set_initrd(Vm *v, const char *arg) { return v->config.images.initrd = arg, true; }
static bool set_append(Vm *v, const char *arg) { return v->config.images.append = arg, true; }
static bool set_arch(Vm *v, const char *arg) { return v->arch = arg, true; }
static bool set_exec(Vm *v, const char *arg) { return v->exec = arg, true; }
static bool set_firmware(Vm *v, const char *arg) {
    v->config.images.bare = !strcmp(arg, "none");
    v->config.images.firmware = v->config.images.bare ? NULL : arg;
    return true;
}
static bool set_serial(Vm *v, const char *arg) { return v->config.board.serial = arg, true; }
static bool set_console(Vm *v, const char *arg) { return v->config.board.console = arg, true; }
static bool set_aia(Vm *v, const char *arg) {
    for (unsigned k = 0; board_aia_names[k]; k++)
        if (!strcmp(arg, board_aia_names[k])) return v->config.board.aia = (BoardAia)k, true;
    return false;
}
static bool set_no_reboot(Vm *v, const char *arg) { return (void)arg, v->config.no_reboot = true; }
static bool set_resume(Vm *v, const char *arg) { return v->resume = arg, true; }
static bool set_record(Vm *v, const char *arg) { return v->config.record = arg, true; }
static bool set_replay(Vm *v, const char *arg) { return v->config.replay = arg, true; }
static bool set_gdb(Vm *v, const char *arg) { return v->gdb = arg, true; }
static bool set_gdb_wait(Vm *v, const char *arg) { return v->gdb_wait = true, set_gdb(v, arg); }
static bool set_control(Vm *v, const char *arg) { return v->control = arg, true; }
static bool set_stats(Vm *v, const char *arg) { return (void)arg, v->stats = true; }
static bool set_help(Vm *v, const char *arg) { return (void)arg, v->help = true; }

static bool set_packed(Vm *v, const char *arg) {
    v->config.board.packed = !strcmp(arg, "on");
    return v->config.board.packed || !strcmp(arg, "off") || refuse(arg, "on or off is wanted");
}

static bool set_flash(Vm *v, const char *arg) {
    const char **at = v->config.board.flash;
    if (at[0] && at[1]) return refuse(arg, "the board has two flash chips");
    at[at[0] != NULL] = arg;
    return true;
}

/* --- devices: PATH,key=value,... -------------------------------------------------------------------------------------- */

enum { TEXT = 256 };

/* The first part of a specification. */
static char *first_part(const char **spec) {
    size_t n = strcspn(*spec, ",");
    char *part = back_copy(*spec);
    part[n] = 0;
    *spec += n;
    if (**spec) ++*spec;
    return part;
}

static bool set_bus(BoardBus *bus, const char *value) {
    *bus = !strcmp(value, "mmio") ? BOARD_MMIO : BOARD_PCI;
    return !strcmp(value, "mmio") || !strcmp(value, "pci") || refuse(value, "a bus is pci or mmio");
}

static bool disk_option(BoardDisk *d, const char *key, const char *value) {
    u64 n;
    bool on = !strcmp(value, "on");
    if (!strcmp(key, "format")) d->format = back_copy(value);
    else if (!strcmp(key, "serial")) d->serial = back_copy(value);
    else if (!strcmp(key, "readonly")) d->read_only = on;
    else if (!strcmp(key, "snapshot")) d->snapshot = on;
    else if (!strcmp(key, "bus")) return set_bus(&d->bus, value);
    else if (!strcmp(key, "queues")) return (parse_u64(value, NULL, &n) && (d->queues = (u32)MIN(n, 64u))) || refuse(value, "a number of queues is wanted");
    else return refuse(key, "a disk has the options format, serial, readonly, snapshot, queues, bus");
    return true;
}

static bool set_disk(Vm *v, const char *arg) {
    if (v->config.board.disk_len == DEVICES) return refuse(arg, "too many disks");
    BoardDisk *d = &v->disks[v->config.board.disk_len++];
    char key[TEXT], value[TEXT];
    d->path = first_part(&arg);
    while (back_option(&arg, key, value, TEXT))
        if (!disk_option(d, key, value)) return false;
    return true;
}

static bool set_net(Vm *v, const char *arg) {
    if (v->config.board.net_len == DEVICES) return refuse(arg, "too many networks");
    BoardNet *n = &v->nets[v->config.board.net_len++];
    char *spec = back_copy(arg), *mac = strstr(spec, ",mac=");
    *n = (BoardNet){.spec = spec};
    if (!mac) return true;
    /* The card's, not the network's. */
    size_t len = strcspn(mac + 5, ",");
    char *value = back_copy(mac + 5);
    value[len] = 0;
    n->mac = value;
    memmove(mac, mac + 5 + len, strlen(mac + 5 + len) + 1);
    return true;
}

static bool share_option(BoardShare *s, const char *key, const char *value) {
    if (!strcmp(key, "tag")) s->tag = back_copy(value);
    else if (!strcmp(key, "readonly")) s->read_only = !strcmp(value, "on");
    else if (!strcmp(key, "bus")) return set_bus(&s->bus, value);
    else return refuse(key, "a share has the options tag, readonly, bus");
    return true;
}

static bool set_share(Vm *v, const char *arg) {
    if (v->config.board.share_len == DEVICES) return refuse(arg, "too many shares");
    BoardShare *s = &v->shares[v->config.board.share_len++];
    char key[TEXT], value[TEXT];
    s->path = first_part(&arg);
    s->tag = "share";
    while (back_option(&arg, key, value, TEXT))
        if (!share_option(s, key, value)) return false;
    return true;
}

/* CID,PATH */
static bool set_vsock(Vm *v, const char *arg) {
    const char *end;
    u64 cid;
    if (!parse_u64(arg, &end, &cid) || *end != ',' || cid < 3 || cid >= ~0u) return refuse(arg, "a CID of 3 or more, a comma and a path are wanted");
    v->config.board.vsock_cid = (u32)cid;
    v->config.board.vsock = end + 1;
    return true;
}

/* --- the engine --------------------------------------------------------------------------------------------------------- */

static bool set_engine(Vm *v, const char *arg) {
    bool quick = !strcmp(arg, "quick");
    v->config.engine.tier = quick ? ENGINE_QUICK : ENGINE_INTERP;
    return quick || !strcmp(arg, "interp") || refuse(arg, "an engine is quick or interp");
}

static bool set_cache(Vm *v, const char *arg) {
    return (parse_size(arg, MIB(1), &v->config.engine.cache_size) && v->config.engine.cache_size >= MIB(1)) || refuse(arg, "a size such as 64M is wanted");
}

static bool set_one(Vm *v, const char *arg) { return (void)arg, v->config.engine.one_insn = true; }
static bool set_features(Vm *v, const char *arg) { return v->config.engine.host_features = arg, true; }

static bool set_dump(Vm *v, const char *arg) {
    static const char *const names[] = {"asm", "ir", "host"};
    char key[TEXT], value[TEXT];
    while (back_option(&arg, key, value, TEXT))
        for (unsigned k = 0; k < ARRAY_LEN(names); k++)
            if (!strcmp(key, names[k])) v->config.engine.dump |= 1u << k;
    return v->config.engine.dump || refuse(arg, "what to dump is asm, ir, host");
}

static bool set_trace(Vm *v, const char *arg) { return trace_parse(arg, &v->config.trace) || refuse(arg, "what to trace is priv, mmio, virtio"); }

static bool set_trace_file(Vm *v, const char *arg) {
    v->config.trace_fd = open(arg, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    return v->config.trace_fd >= 0 || refuse(arg, strerror(errno));
}

static bool set_perfmap(Vm *v, const char *arg) { return (void)arg, v->config.engine.perfmap = true; }

/* ---------------------------------------------------------------------------------------------------------------------------- */

static const Option options[] = {
    {"exec", "COMMAND", set_exec, "run a shell command in the system instead of logging in; its exit status is ours", true},
    {"arch", "riscv64", set_arch, "architecture of a named system", true},
    {"kernel", "FILE", set_kernel, "the kernel: an Image (also gzip or EFI zboot), or ELF", true},
    {"initrd", "FILE", set_initrd, "its initial RAM disk", true},
    {"append", "TEXT", set_append, "its command line", true},
    {"firmware", "FILE", set_firmware, "firmware for M-mode, raw or ELF; without it the machine answers SBI calls itself; none: neither, kernel or flash starts in M-mode", true},
    {"flash", "FILE", set_flash, "image of a flash chip: the first is code (started if there is no kernel), the second variables", true},
    {"memory", "SIZE", set_memory, "memory: 2G, 512M (a number alone: MiB); default 1G", true},
    {"smp", "N", set_smp, "harts; default 1"},
    {"disk", "FILE[,format=raw|qcow2][,readonly][,snapshot][,serial=TEXT][,queues=N]", set_disk, "a virtio disk", true},
    {"net", "user[,hostfwd=tcp::PORT-:PORT][,tftp=FOLDER,bootfile=NAME] | tap,ifname=NAME | socket,listen=PATH | socket,connect=PATH | none, each [,mac=ADDRESS]", set_net, "a virtio network; default user", true},
    {"share", "FOLDER[,tag=NAME][,readonly]", set_share, "a folder of the host, by 9p", true},
    {"vsock", "CID,PATH", set_vsock, "connections between programs of guest and host; the host's side is the Unix socket PATH", true},
    {"packed", "on | off", set_packed, "offer packed rings on all virtio devices; default off", true},
    {"serial", "stdio | file:PATH | pty | socket:PATH | null", set_serial, "where the serial port comes out; default stdio"},
    {"console", "KIND", set_console, "a virtio console besides, likewise", true},
    {"aia", "none | aplic | aplic-imsic", set_aia, "interrupt controllers: the PLIC (default), APLIC, APLIC and IMSIC: message-signalled interrupts", true},
    {"resume", "FILE", set_resume, "go on from a snapshot: of a machine with the same options"},
    {"record", "FILE", set_record, "record what comes from outside, so that the machine can be run again to the instruction; one hart; what is written to disks is not kept"},
    {"replay", "FILE", set_replay, "run a recorded machine again, alone or with its options: on no network, and without writing disks"},
    {"control", "PATH", set_control, "a Unix socket to look after the machine (isomer snapshot PATH FILE)"},
    {"gdb", "PORT | PATH", set_gdb, "let GDB debug the machine (target remote), harts as threads"},
    {"gdb-wait", "PORT | PATH", set_gdb_wait, "the same, and wait for it before the first instruction"},
    {"no-reboot", NULL, set_no_reboot, "end when the guest reboots", true},
    {"engine", "quick | interp", set_engine, "how code is executed: translated (default), or by the portable interpreter"},
    {"cache-size", "SIZE", set_cache, "generated code to keep; default 64M"},
    {"one-insn", NULL, set_one, "translate one instruction at a time"},
    {"host-features", "-avx,-bmi2,...", set_features, "host instructions not to use"},
    {"dump", "asm,ir,host", set_dump, "print translations as they are made"},
    {"trace", "priv,mmio,virtio", set_trace, "print traps and returns, accesses to devices, what happens to virtio queues"},
    {"trace-file", "FILE", set_trace_file, "where to; default stderr"},
    {"perfmap", NULL, set_perfmap, "tell perf of generated code: /tmp/perf-PID.map"},
    {"stats", NULL, set_stats, "print numbers at the end"},
    {"help", NULL, set_help, "this text"},
};

static void usage(FILE *to) {
    fprintf(to, "usage: isomer boot debian[:SUITE] [--exec COMMAND] [OPTIONS]\n"
                "       isomer boot --kernel FILE [--initrd FILE] [--append TEXT] [--disk FILE] [OPTIONS]\n"
                "       isomer boot --disk FILE [OPTIONS]\n\n"
                "Boots a riscv64 machine (the virt board). On the terminal Ctrl-A x ends it, Ctrl-A c is a menu, Ctrl-A h helps. The image of a named system is made when it is\n"
                "asked for the first time, and kept; its root logs in without a password. A disk alone is booted by U-Boot or EDK2, if a package of the host brings one.\n\n");
    for (size_t k = 0; k < ARRAY_LEN(options); k++) {
        const Option *o = &options[k];
        fprintf(to, "  --%s%s%s\n      %s\n", o->name, o->arg ? " " : "", o->arg ? o->arg : "", o->help);
    }
}

static const Option *find_option(const char *text, size_t len) {
    for (size_t k = 0; k < ARRAY_LEN(options); k++)
        if (strlen(options[k].name) == len && !strncmp(options[k].name, text, len)) return &options[k];
    return NULL;
}

/* Too long ones, or of two lines, must be said again by who replays. */
static void remember(Vm *v, const char *name, const char *value) {
    size_t used = strlen(v->options);
    Text t = text_init(v->options + used, sizeof v->options - used);
    if (value && strchr(value, '\n')) return;
    text_print(&t, value ? "%s=%s\n" : "%s\n", name, value);
    if (t.cut) v->options[used] = 0;
}

static bool parse(Vm *v, int argc, char **argv) {
    for (int k = 1; k < argc; k++) {
        const char *text = argv[k];
        if (text[0] != '-') {
            if (v->system) return refuse(text, "one system at a time (isomer boot --help)");
            v->system = text;
            remember(v, "system", text);
            continue;
        }
        text += text[1] == '-' ? 2 : 1;
        size_t len = strcspn(text, "=");
        const Option *o = find_option(!strcmp(text, "h") ? "help" : text, !strcmp(text, "h") ? 4 : len);
        if (!o) return refuse(argv[k], "no such option (isomer boot --help lists them)");
        const char *arg = NULL;
        if (o->arg) {
            arg = text[len] ? text + len + 1 : k + 1 < argc ? argv[++k] : NULL;
            if (!arg) return refuse(argv[k], "it wants a value");
        }
        if (!o->set(v, arg)) return false;
        if (o->machine) remember(v, o->name, arg);
    }
    return true;
}

/* --- what is recorded and replayed ------------------------------------------------------------------------------------------- */

/* A line of what is remembered; others are no business of a replay's. */
static bool repeat(Vm *v, char *line) {
    char *value = strchr(line, '=');
    const Option *o = find_option(line, strcspn(line, "="));
    if (value) *value++ = 0;
    if (value && !strcmp(line, "system")) return v->system = value, true;
    if (!o || !o->machine || !value != !o->arg) return refuse(v->config.replay, "it has an option that is none");
    if (!strcmp(line, "console") && strcmp(value, "stdio")) value = "null"; /* whose file it is nobody knows */
    return o->set(v, value);
}

/* A replay of a machine that the command line does not describe: as it was recorded. */
static bool repeat_options(Vm *v) {
    char why[512];
    if (!v->config.replay || v->options[0]) return true;
    char *text = counted_options(v->config.replay, why, sizeof why); /* kept: options point to it */
    if (!text) return refuse("--replay", why);
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        if (!repeat(v, line)) return false;
    }
    return true;
}

/* --- named systems ----------------------------------------------------------------------------------------------------------- */

/* The command's instead of the machine's. */
static int command_status(void *ctx, int status) {
    Vm *v = ctx;
    int code = exec_status(&v->exec_folder);
    if (code < 0 && status >= 0) refuse("--exec", "the machine ended before the command did");
    return status < 0 ? status : code < 0 ? 1 : code;
}

/* The command has the virtio console to itself; what the system says goes nowhere. */
static bool add_exec(Vm *v, char *why, size_t why_size) {
    BoardConfig *b = &v->config.board;
    if (!v->system) return back_fail(why, why_size, "--exec wants a named system, such as debian");
    if (b->share_len == DEVICES) return back_fail(why, why_size, "too many shares");
    if (!v->config.replay && !exec_prepare(&v->exec_folder, v->exec, why, why_size)) return false; /* a replay looks into no folder */
    v->config.finish = command_status;
    v->config.finish_ctx = v;
    v->shares[b->share_len++] = (BoardShare){.path = v->exec_folder.path, .tag = "isomer-exec"};
    b->serial = "null";
    b->console = "stdio";
    return true;
}

/* What the user has not said. */
static bool name_system(Vm *v, char *why, size_t why_size) {
    BoardImages *im = &v->config.images;
    if (!image_find(v->system, v->arch, !v->config.replay, &v->image, why, why_size)) return false;
    if (v->config.board.disk_len == DEVICES) return back_fail(why, why_size, "too many disks");
    memmove(v->disks + 1, v->disks, v->config.board.disk_len++ * sizeof *v->disks);
    v->disks[0] = (BoardDisk){.path = v->image.disk, .format = "raw"};
    if (!im->kernel) im->kernel = v->image.kernel;
    if (!im->initrd) im->initrd = v->image.initrd;
    snprintf(v->append, sizeof v->append, "root=LABEL=isomer-root rw quiet console=%s%s%s", v->exec ? "ttyS0 isomer.exec systemd.getty_auto=no" : "ttyS0", im->append ? " " : "", im->append ? im->append : "");
    im->append = v->append;
    return true;
}

/* A disk and nothing that would boot it: a boot loader of the host's packages does. */
static bool add_loader(Vm *v, char *why, size_t why_size) {
    BoardConfig *b = &v->config.board;
    BoardImages *im = &v->config.images;
    if (im->kernel || im->firmware || im->bare || b->flash[0] || !b->disk_len) return true;
    if (!firmware_find(&v->loader, why, why_size)) return false;
    *(v->loader.flash ? &b->flash[0] : &im->kernel) = v->loader.path;
    b->flash_kept = v->loader.flash;
    return true;
}

/* --- the processor ------------------------------------------------------------------------------------------------------------ */

/* What riscv.isa and machine/riscv have, as the device tree names it: the list, and the one text that older kernels read. */
#define PRIVILEGED(X) \
    X(smcntrpmf) X(smmpm) X(smnpm) X(smstateen) X(sscofpmf) X(ssnpm) X(sstc) X(svadu) X(svinval) X(svnapot) X(svpbmt) X(svvptc)
#define NAME(name) #name,
#define EXT(name, bit) #name,
#define VECTOR(name, bit) #name,
#define HIDDEN(name, bit)
static const char *const extensions[] = {
    "i", "m", "a", "f", "d", "c", "v",
#include "isa/riscv/extensions.def"
    "zic64b", "ziccamoa", "ziccif", "zicclsm", "ziccrse", "zihpm", "zmmul", "za64rs", "zvl128b", "zvl32b", "zvl64b",
    PRIVILEGED(NAME) "ssccptr", "sscounterenw", "ssstateen", "sstvala", "sstvecd", "ssu64xl", NULL,
};
#undef NAME
#undef EXT
#undef VECTOR
#define NAME(name) "_" #name
#define EXT(name, bit) NAME(name)
#define VECTOR(name, bit) NAME(name)
static const char isa_text[] = "rv64imafdcv"
#include "isa/riscv/extensions.def"
    "_zihpm" PRIVILEGED(NAME);
#undef NAME
#undef EXT
#undef VECTOR
#undef HIDDEN

static void defaults(Vm *v) {
    BoardConfig *b = &v->config.board;
    b->cpu = (BoardCpu){
        .isa = isa_text,
        .isa_base = "rv64i", .extensions = extensions, .mmu = "riscv,sv57", .cbom_size = 64, .cboz_size = 64, .cbop_size = 64,
    };
    v->arch = "riscv64";
    v->config.trace_fd = 2;
    b->harts = 1;
    b->memory = GIB(1);
    b->serial = "stdio";
    b->disks = v->disks, b->nets = v->nets, b->shares = v->shares;
    v->config.engine.tier = ENGINE_QUICK; /* regions of paged guests are not made yet */
}

static void print_stats(const Machine *m) {
    char buf[8192];
    Text t = text_init(buf, sizeof buf);
    machine_stats_print(m, &t);
    fputs(buf, stderr);
}

static Machine *machine; /* for signals */

static void on_end(int sig) {
    console_restore();
    _exit(128 + sig);
}

/* Ctrl-A s. On the console's thread, which sees no keys meanwhile. */
static void write_snapshot(void) {
    char why[512], path[64];
    snprintf(path, sizeof path, "isomer-%d.snapshot", (int)getpid());
    if (machine_snapshot(machine, path, why, sizeof why)) fprintf(stderr, "\r\nisomer boot: the machine is in %s; --resume %s goes on from there\r\n", path, path);
    else fprintf(stderr, "\r\nisomer boot: no snapshot: %s\r\n", why);
}

/* Of the menu. The terminal does not make new lines of line feeds just now. */
static void do_line(const char *line) {
    char answer[2048];
    Text t = text_init(answer, sizeof answer);
    control_words(machine, line, &t);
    for (const char *at = answer; *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n')) fprintf(stderr, "%.*s\r\n", (int)strcspn(at, "\n"), at);
}

static void on_escape(void *ctx, char what, const char *line) {
    (void)ctx;
    if (what == 'c') do_line(line);
    if (what == 'x') machine_stop(machine, PLATFORM_POWEROFF, 0);
    if (what == 's') write_snapshot();
}

static int run(Vm *v) {
    char why[512];
    if (v->exec && !add_exec(v, why, sizeof why)) return refuse("--exec", why), 2;
    if (v->system && !name_system(v, why, sizeof why)) return refuse(v->system, why), 1;
    if (!add_loader(v, why, sizeof why)) return refuse(v->disks[0].path, why), 1;
    machine = machine_new(&v->config, why, sizeof why);
    if (!machine) return refuse("the machine cannot be made", why), 1;
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    signal(SIGHUP, on_end);
    signal(SIGPIPE, SIG_IGN);
    Console *console = board_stdio(machine_board(machine));
    if (console) console_on_escape(console, on_escape, NULL);
    if (v->resume && !machine_resume(machine, v->resume, why, sizeof why)) return console_restore(), refuse("cannot go on from the snapshot", why), 1;
    Control *control = v->control ? control_new(machine, v->control, why, sizeof why) : NULL;
    Gdb *gdb = v->gdb ? gdb_new(machine, v->gdb, v->gdb_wait, why, sizeof why) : NULL;
    if (v->gdb && !gdb) return console_restore(), refuse("no debugger", why), 1;
    if (v->control && !control) return console_restore(), refuse("no control socket", why), 1;
    int status = machine_run(machine, why, sizeof why);
    console_restore();
    gdb_drop(gdb, status);
    control_drop(control);
    if (status < 0) refuse(v->config.replay ? v->config.replay : v->config.record ? v->config.record : "the machine cannot be started", why), status = 1;
    if (v->stats) print_stats(machine);
    machine_drop(machine);
    return status;
}

/* isomer snapshot SOCKET FILE */
static int snapshot(int argc, char **argv) {
    char why[512];
    if (argc != 3) return fprintf(stderr, "usage: isomer snapshot SOCKET FILE    (SOCKET: what the machine was given by --control)\n"), 2;
    if (control_ask(argv[1], "snapshot", argv[2], why, sizeof why)) return 0;
    return fprintf(stderr, "isomer snapshot: %s\n", why), 1;
}

int main(int argc, char **argv) {
    static Vm v;
    if (argc && strstr(argv[0], "isomer snapshot")) return snapshot(argc, argv);
    defaults(&v);
    if (!parse(&v, argc, argv) || !repeat_options(&v)) return 2;
    v.config.options = v.options;
    if (v.help || argc == 1) return usage(v.help ? stdout : stderr), v.help ? 0 : 2;
    if (v.config.board.net_len == 1 && !strcmp(v.nets[0].spec, "none")) v.config.board.net_len = 0;
    else if (!v.config.board.net_len) v.nets[v.config.board.net_len++] = (BoardNet){.spec = "user"};
    return run(&v);
}
