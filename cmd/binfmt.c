/* SPDX-License-Identifier: Apache-2.0 */
/* isomer binfmt: has the kernel run foreign programs by Isomer. What is installed is an entry in the kernel's table, at once, and a file that systemd
 * (or binfmt-support) registers again after a boot. The file tells all that uninstalling must know: it starts with our mark, and keeps, in a comment, the
 * entry whose name it took over. */
#include "cmd/binfmt.h"
#include "cmd/namespace.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Binfmt {
    const char *flags, *interpreter, *root;
    bool take_over, no_file, no_register, if_possible, json;
    const char *verb; /* given as an option, as another program has it */
} Binfmt;

static bool set_flags(void *ctx, const char *arg);
static bool set_interpreter(void *ctx, const char *arg) { return ((Binfmt *)ctx)->interpreter = arg, true; }
static bool set_root(void *ctx, const char *arg) { return ((Binfmt *)ctx)->root = arg, true; }
static bool set_take_over(void *ctx, const char *arg) { return ((Binfmt *)ctx)->take_over = true; }
static bool set_no_file(void *ctx, const char *arg) { return ((Binfmt *)ctx)->no_file = true; }
static bool set_no_register(void *ctx, const char *arg) { return ((Binfmt *)ctx)->no_register = true; }
static bool set_if_possible(void *ctx, const char *arg) { return ((Binfmt *)ctx)->if_possible = true; }
static bool set_json(void *ctx, const char *arg) { return ((Binfmt *)ctx)->json = true; }
static bool set_install(void *ctx, const char *arg) { return ((Binfmt *)ctx)->verb = "install", true; }
static bool set_uninstall(void *ctx, const char *arg) { return ((Binfmt *)ctx)->verb = "uninstall", true; }

static const CliOption options[] = {
    {"flags", "LETTERS", set_flags, "flags of the entry: P, O, C, F, or - for none; default " BINFMT_FLAGS " (install)"},
    {"interpreter", "FILE", set_interpreter, "what to register; default: this program (install)"},
    {"take-over", NULL, set_take_over, "use the name that others register by, qemu-riscv64; uninstall gives it back (install)"},
    {"root", "FOLDER", set_root, "only write files for systemd and binfmt-support, below FOLDER, as a package has them (install); look for a program's loader there (doctor)"},
    {"no-file", NULL, set_no_file, "only register or unregister: the next boot doesn't know of it (install, uninstall)"},
    {"no-register", NULL, set_no_register, "only write or remove the file (install, uninstall)"},
    {"if-possible", NULL, set_if_possible, "if the kernel's table cannot be written here, say so and succeed (install, uninstall)"},
    {"json", NULL, set_json, "print a JSON object (status)"},
    {"install", NULL, set_install, "the same as the word"},
    {"uninstall", NULL, set_uninstall, "the same as the word"},
};

static const Cli cli = {
    .name = "isomer binfmt",
    .usage = "usage: isomer binfmt install|uninstall [OPTIONS] [riscv64|all]\n"
             "       isomer binfmt status [--json]\n"
             "       isomer binfmt doctor [--root FOLDER] [PROGRAM]\n"
             "       isomer binfmt run COMMAND [ARGUMENTS...]\n",
    .about = "Tells the kernel (binfmt_misc) to run riscv64 programs by Isomer.\n\n"
             "install registers at once, and writes a file to /etc/binfmt.d, so that the next boot registers again; uninstall undoes both. status prints\n"
             "what is registered. doctor explains \"exec format error\" and its kin, for all programs or for one; its exit status is 0 if nothing is wrong.\n"
             "run needs no root: it starts a command in a user namespace with a table of its own, in which the command is user 0.\n",
    .options = options,
    .len = ARRAY_LEN(options),
};

static bool set_flags(void *ctx, const char *arg) {
    Binfmt *b = ctx;
    b->flags = !strcmp(arg, "-") ? "" : arg;
    return !b->flags[strspn(b->flags, "POCF")] || cli_refuse(&cli, arg, "the flags are letters of POCF");
}

/* --- files ------------------------------------------------------------------------------------------------------- */

static const char mark[] = "# isomer: made by `isomer binfmt install`; `isomer binfmt uninstall` removes it.\n", before_mark[] = "# before: ";

static char *file_of(const char *folder, const char *name) {
    char *file = cli_path(folder, name), *path = malloc(strlen(file) + 8);
    sprintf(path, "%s.conf", file);
    free(file);
    return path;
}

/* What a file of ours holds; false: it isn't there, or is somebody else's. */
static bool file_read(const char *path, char text[2 * BINFMT_LINE]) {
    return cli_read_file(path, text, 2 * BINFMT_LINE) > 0 && !strncmp(text, mark, sizeof mark - 1);
}

static const char *saved_name(const char *path) {
    static char saved[PATH_MAX];
    snprintf(saved, sizeof saved, "%s.before-isomer", path);
    return saved;
}

/* The line of the entry whose name we take; what an earlier install noted, if its entry is ours now. */
static void note_before(const char *path, const char *name, char before[BINFMT_LINE]) {
    char text[2 * BINFMT_LINE], *at;
    BinfmtEntry e;
    before[0] = 0;
    if (file_read(path, text)) {
        if ((at = strstr(text, before_mark))) snprintf(before, BINFMT_LINE, "%.*s", (int)strcspn(at + sizeof before_mark - 1, "\n"), at + sizeof before_mark - 1);
    } else if (binfmt_read(name, &e) && !binfmt_is_ours(&e)) {
        binfmt_line(before, &e);
    }
}

static bool file_write(const char *path, const char *name, const char *line) {
    char text[3 * BINFMT_LINE], before[BINFMT_LINE], old[2 * BINFMT_LINE];
    note_before(path, name, before);
    if (access(path, F_OK) == 0 && !file_read(path, old) && rename(path, saved_name(path)) < 0) return cli_refuse(&cli, path, strerror(errno));
    Text t = text_init(text, sizeof text);
    text_print(&t, "%s", mark);
    if (before[0]) text_print(&t, "%s%s\n", before_mark, before);
    text_print(&t, "%s\n", line);
    int error = cli_write_file(path, text);
    return !error || cli_refuse(&cli, path, strerror(-error));
}

/* --- install ------------------------------------------------------------------------------------------------------- */

/* The flag F aside, the kernel wants the interpreter in every root, and there without libraries. */
static const char *interpreter_of(const Binfmt *b) {
    static char path[PATH_MAX];
    if (b->root) return b->interpreter ? b->interpreter : "/usr/bin/isomer";
    if (!b->interpreter) return cli_self();
    if (access(b->interpreter, X_OK) < 0) return cli_refuse(&cli, b->interpreter, strerror(errno)), NULL;
    return realpath(b->interpreter, path) ? path : NULL;
}

/* The form of binfmt-support, for systems without systemd. */
static bool write_format(const char *folder, const BinfmtEntry *e) {
    char text[1024], *path = cli_path(folder, e->name);
    Text t = text_init(text, sizeof text);
    text_print(&t, "package isomer\ninterpreter %s\nmagic ", e->interpreter);
    for (u32 k = 0; k < e->size; k++) text_print(&t, "\\x%02x", e->magic[k]);
    text_print(&t, "\nmask ");
    for (u32 k = 0; k < e->size; k++) text_print(&t, "\\x%02x", e->mask[k]);
    text_print(&t, "\ncredentials %s\nfix_binary %s\npreserve %s\n", strchr(e->flags, 'C') ? "yes" : "no", strchr(e->flags, 'F') ? "yes" : "no", strchr(e->flags, 'P') ? "yes" : "no");
    int error = cli_make_folders(folder) ? cli_write_file(path, text) : -errno;
    return !error || cli_refuse(&cli, path, strerror(-error));
}

static int install_below(const char *root, const BinfmtEntry *e, const char *line) {
    char *folder = cli_path(root, "usr/lib/binfmt.d"), *path = file_of(folder, e->name), *text = NULL;
    if (!cli_make_folders(folder) || asprintf(&text, "# %s: riscv64 programs are run by Isomer.\n%s\n", e->name, line) < 0) return cli_refuse(&cli, folder, strerror(errno)), 1;
    int error = cli_write_file(path, text);
    if (error) return cli_refuse(&cli, path, strerror(-error)), 1;
    return !write_format(cli_path(root, "usr/share/binfmts"), e);
}

/* Where the kernel's table cannot be written: a message, and the exit status. */
static int cannot(const Binfmt *b, const char *why) {
    cli_refuse(&cli, b->if_possible ? "not registered here" : "the kernel's table", why);
    return !b->if_possible;
}

static int install(const Binfmt *b, const BinfmtArch *arch) {
    char line[BINFMT_LINE], why[512];
    const char *name = b->take_over ? arch->taken : BINFMT_OWN_NAME, *interpreter = interpreter_of(b);
    if (!interpreter) return 1;
    BinfmtEntry e = binfmt_entry(arch, name, interpreter, b->flags);
    if (!binfmt_line(line, &e)) return cli_refuse(&cli, interpreter, "a path without colons is wanted, and not so long a one"), 1;
    if (b->root) return install_below(b->root, &e, line);
    if (!b->no_file && (!cli_make_folders("/etc/binfmt.d") || !file_write(file_of("/etc/binfmt.d", name), name, line)))
        return cli_refuse(&cli, "/etc/binfmt.d", "cannot be written: that wants root (without: isomer binfmt run COMMAND; or --no-file)"), 1;
    if (b->no_register) return 0;
    if (!binfmt_mount(why, sizeof why) || !binfmt_register_line(name, line, why, sizeof why)) return cannot(b, why);
    printf("%s: %s programs are run by %s (flags %s)\n", name, arch->name, interpreter, *b->flags ? b->flags : "none");
    return 0;
}

/* --- uninstall ------------------------------------------------------------------------------------------------------- */

/* Registers again what had this name before us. */
static bool give_back(const char *name, const char *text, char *why, size_t size) {
    char line[BINFMT_LINE];
    const char *at = strstr(text, before_mark);
    if (!at) return true;
    at += sizeof before_mark - 1;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    return binfmt_register_line(name, line, why, size);
}

/* Removes one entry, if its file or its name says that it is ours. */
static int uninstall_name(const Binfmt *b, const char *name) {
    char text[2 * BINFMT_LINE] = "", why[512], *path = file_of("/etc/binfmt.d", name);
    bool file = file_read(path, text), own = !strcmp(name, BINFMT_OWN_NAME);
    if (!file && !own) return 0;
    BinfmtEntry e;
    bool registered = binfmt_mounted() && binfmt_read(name, &e) && (own || binfmt_is_ours(&e) || strstr(text, e.interpreter));
    if (registered && !b->no_register && (!binfmt_unregister(name, why, sizeof why) || !give_back(name, text, why, sizeof why))) return cannot(b, why);
    if (!file || b->no_file) return 0;
    if (unlink(path) < 0) return cli_refuse(&cli, path, strerror(errno)), 1;
    rename(saved_name(path), path);
    return 0;
}

static int uninstall(const Binfmt *b, const BinfmtArch *arch) {
    int own = uninstall_name(b, BINFMT_OWN_NAME);
    return uninstall_name(b, arch->taken) || own;
}

/* --- status ------------------------------------------------------------------------------------------------------------ */

static void print_json_text(const char *s) {
    putchar('"');
    for (; *s; s++)
        if (*s == '"' || *s == '\\') printf("\\%c", *s);
        else if ((u8)*s < ' ') printf("\\u%04x", *s);
        else putchar(*s);
    putchar('"');
}

static void print_json_entry(const BinfmtEntry *e, bool first) {
    printf("%s{\"name\":", first ? "" : ",");
    print_json_text(e->name);
    printf(",\"interpreter\":");
    print_json_text(e->interpreter);
    printf(",\"flags\":");
    print_json_text(e->flags);
    printf(",\"enabled\":%s,\"isomer\":%s}", e->enabled ? "true" : "false", binfmt_is_ours(e) ? "true" : "false");
}

/* "supported" and "emulators" are as tonistiigi/binfmt prints them, for scripts that know that. */
static int status_json(const BinfmtEntry *entries, u32 len) {
    u32 works = 0;
    for (u32 k = 0; k < len; k++) works += entries[k].enabled;
    printf("{\"supported\":[\"linux/amd64\"%s],\"emulators\":[", works && binfmt_enabled() ? ",\"linux/riscv64\"" : "");
    for (u32 k = 0; k < len; k++) {
        printf("%s", k ? "," : "");
        print_json_text(entries[k].name);
    }
    printf("],\"version\":\"" ISOMER_VERSION "\",\"mounted\":%s,\"enabled\":%s,\"entries\":[", binfmt_mounted() ? "true" : "false", binfmt_enabled() ? "true" : "false");
    for (u32 k = 0; k < len; k++) print_json_entry(&entries[k], k == 0);
    printf("]}\n");
    return 0;
}

static int status(const Binfmt *b, const BinfmtArch *arch) {
    static BinfmtEntry entries[BINFMT_ENTRIES];
    u32 len = binfmt_find(arch, entries);
    if (b->json) return status_json(entries, len);
    if (!binfmt_mounted()) printf("binfmt_misc is not mounted at " BINFMT_DIR "\n");
    else if (!binfmt_enabled()) printf("binfmt_misc is switched off as a whole\n");
    else if (!len) printf("nothing is registered for %s programs\n", arch->name);
    for (u32 k = 0; k < len; k++)
        printf("%s: %s, flags %s, %s\n", entries[k].name, entries[k].interpreter, entries[k].flags[0] ? entries[k].flags : "none", entries[k].enabled ? "enabled" : "disabled");
    return len == 0;
}

/* --- run ------------------------------------------------------------------------------------------------------------------ */

static int run(char **command) {
    char why[512];
    if (!namespace_enter_foreign(why, sizeof why)) return cli_refuse(&cli, "run", why), 1;
    execvp(command[0], command);
    int error = errno;
    cli_refuse(&cli, command[0], strerror(error));
    return error == ENOENT ? 127 : 126;
}

/* -------------------------------------------------------------------------------------------------------------------------------- */

/* The words after install and uninstall. */
static const BinfmtArch *arch_of(const char *word) {
    const char *name = word && !strncmp(word, "linux/", 6) ? word + 6 : word;
    if (!name || !strcmp(name, "all") || !strcmp(name, binfmt_riscv64.name) || !strcmp(name, binfmt_riscv64.taken) || !strcmp(name, BINFMT_OWN_NAME)) return &binfmt_riscv64;
    cli_refuse(&cli, word, "no such architecture: riscv64");
    return NULL;
}

static int command(const Binfmt *b, const char *verb, const char *word) {
    if (!strcmp(verb, "doctor")) return binfmt_doctor(&binfmt_riscv64, word, b->root);
    const BinfmtArch *arch = arch_of(word);
    if (!arch) return 2;
    if (!strcmp(verb, "install")) return install(b, arch);
    if (!strcmp(verb, "uninstall")) return uninstall(b, arch);
    if (!strcmp(verb, "status")) return status(b, arch);
    return cli_refuse(&cli, verb, "install, uninstall, status, doctor or run"), 2;
}

/* Options stand before, between and behind the words, but for what is run. */
int cmd_binfmt(int argc, char **argv) {
    Binfmt b = {.flags = BINFMT_FLAGS};
    const char *word = NULL;
    for (int k; (k = cli_parse(&cli, &b, argc, argv)) != argc; argc -= k, argv += k) {
        if (k < 0) return k == CLI_DONE ? 0 : 2;
        if (b.verb && !strcmp(b.verb, "run")) return run(argv + k);
        if (word) return cli_refuse(&cli, argv[k], "one word too many"), 2;
        if (b.verb) word = argv[k];
        else b.verb = argv[k];
    }
    if (b.verb && !strcmp(b.verb, "run")) return cli_usage(stderr, &cli), 2;
    return command(&b, b.verb ? b.verb : "status", word);
}
