/* SPDX-License-Identifier: Apache-2.0 */
/* isomer root create: a Debian of another architecture in a folder, made by mmdebstrap, which installs packages with the programs of that architecture:
 * Isomer runs them. It happens in a user namespace, for root, too, so that nothing is registered on the host. A root grows in a folder beside its
 * place and moves there when it is complete. */
#include "cmd/root.h"
#include "cmd/binfmt.h"
#include "cmd/namespace.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Root {
    const char *suite, *variant, *mirror; /* mirror NULL: apt's own */
    VEC(const char *) args;               /* of mmdebstrap */
} Root;

/* "--NAME=VALUE" for mmdebstrap. */
static void add(Root *r, const char *name, const char *value) {
    char *arg = malloc(strlen(name) + strlen(value) + 4);
    sprintf(arg, "--%s=%s", name, value);
    vec_push(&r->args, arg);
}

static bool set_suite(void *ctx, const char *arg) { return ((Root *)ctx)->suite = arg, true; }
static bool set_variant(void *ctx, const char *arg) { return ((Root *)ctx)->variant = arg, true; }
static bool set_mirror(void *ctx, const char *arg) { return ((Root *)ctx)->mirror = arg, true; }
static bool set_include(void *ctx, const char *arg) { return add(ctx, "include", arg), true; }
static bool set_components(void *ctx, const char *arg) { return add(ctx, "components", arg), true; }
static bool set_hook(void *ctx, const char *arg) { return add(ctx, "customize-hook", arg), true; }

static const CliOption options[] = {
    {"suite", "NAME", set_suite, "release of Debian; default trixie"},
    {"variant", "NAME", set_variant, "how much: essential, apt, minbase, buildd, important, standard; default minbase"},
    {"include", "PACKAGE,...", set_include, "packages besides; may be repeated"},
    {"components", "NAME,...", set_components, "parts of the archive; default main"},
    {"mirror", "URL", set_mirror, "where packages come from; default: this system's own mirror if it is a Debian, else Debian's"},
    {"customize-hook", "COMMAND", set_hook, "a shell command to run at the end, with the root as $1; may be repeated"},
};

static const Cli cli = {
    .name = "isomer root",
    .usage = "usage: isomer root create [OPTIONS] riscv64 FOLDER\n",
    .about = "Makes a Debian for riscv64 in a new folder (by mmdebstrap; its programs run by Isomer). isomer shell FOLDER enters it.\n\n"
             "Works as root, and as a user who has subordinate ids (/etc/subuid and newuidmap, package uidmap); then the folder's files belong to these ids, and\n"
             "isomer binfmt run rm -r FOLDER removes it. Wants the package mmdebstrap.\n",
    .options = options,
    .len = ARRAY_LEN(options),
};

bool root_arch(const char *name) { return !strcmp(name, binfmt_riscv64.name); }

/* --- the mirror ---------------------------------------------------------------------------------------------------- */

/* The mirror that apt uses here, if this is a Debian; NULL: mmdebstrap has a default. */
static const char *own_mirror(void) {
    static char mirror[1024];
    char line[1024], origin[64], codename[128];
    FILE *f = popen("apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (!mirror[0] && sscanf(line, "%63s %127s main %1023s", origin, codename, mirror) == 3 && (strcmp(origin, "Debian") != 0 || strpbrk(codename, "-/"))) mirror[0] = 0;
    }
    if (f) pclose(f);
    return mirror[0] ? mirror : NULL;
}

/* --- making ------------------------------------------------------------------------------------------------------------ */

static volatile pid_t worker; /* who gets the signals that would end us: we clean up then */
static void pass_on(int sig) {
    if (worker > 0) kill(worker, sig);
}

static void set_signals(void (*handler)(int)) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP};
    for (u32 k = 0; k < ARRAY_LEN(all); k++) signal(all[k], handler);
}

/* Runs a command; its exit status. */
static int run(const char *const *argv) {
    worker = fork();
    if (worker == 0) {
        set_signals(SIG_DFL);
        execvp(argv[0], (char *const *)argv);
        cli_refuse(&cli, argv[0], errno == ENOENT ? "not installed (apt-get install mmdebstrap)" : strerror(errno));
        _exit(127);
    }
    set_signals(pass_on); /* Ctrl-C reaches it anyway: twice does no harm */
    int status = worker < 0 ? -1 : cli_wait(worker);
    set_signals(SIG_IGN); /* until all is cleaned up */
    return status;
}

/* As user 0 with many ids: in a namespace, or, as root where there are none, by the host's table. */
static bool enter(void) {
    char why[512];
    NamespaceIds ids = namespace_enter_foreign(why, sizeof why);
    if (ids == NAMESPACE_MANY) return true;
    if (ids == NAMESPACE_ONE) return cli_refuse(&cli, "this user has no subordinate ids", "as root: apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER");
    static BinfmtEntry entries[BINFMT_ENTRIES];
    if (geteuid() != 0 || !binfmt_find(&binfmt_riscv64, entries) || unshare(CLONE_NEWNS) < 0) return cli_refuse(&cli, "create", why);
    namespace_hide_mounts();
    return true;
}

static void remove_tree(const char *path) {
    const char *argv[] = {"rm", "-rf", "--one-file-system", path, NULL};
    run(argv);
}

static int make(Root *r, const char *arch, const char *folder) {
    char *new;
    if (asprintf(&new, "%s.new-%d", folder, getpid()) < 0) return 1;
    vec_push(&r->args, r->suite);
    vec_push(&r->args, new);
    if (r->mirror) vec_push(&r->args, r->mirror);
    vec_push(&r->args, NULL);
    int status = run(r->args.at);
    if (status == 0 && (chmod(new, 0755) < 0 || rename(new, folder) < 0)) cli_refuse(&cli, folder, strerror(errno)), status = 1;
    if (status == 0) return fprintf(stderr, "isomer root: %s is complete: isomer shell %s\n", folder, folder), 0;
    remove_tree(new);
    return cli_refuse(&cli, arch, "the root could not be made: see above; nothing is left of it"), 1;
}

/* An absolute path, for hooks change folders; the folders above it are there. */
static const char *place(const char *folder) {
    char cwd[PATH_MAX];
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    char *path = strndup(folder, n);
    if (path[0] != '/' && getcwd(cwd, sizeof cwd)) path = cli_path(cwd, path);
    char *above = strndup(path, (size_t)(strrchr(path, '/') - path));
    if (*above && !cli_make_folders(above)) return cli_refuse(&cli, above, strerror(errno)), NULL;
    if (rmdir(path) < 0 && errno != ENOENT) return cli_refuse(&cli, path, errno == ENOTEMPTY ? "is not empty" : strerror(errno)), NULL;
    return path;
}

static int create(Root *r, const char *arch, const char *folder) {
    if (!root_arch(arch)) return cli_refuse(&cli, arch, "no such architecture: riscv64"), 2;
    const char *path = place(folder);
    if (!path) return 1;
    if (!r->mirror) r->mirror = own_mirror();
    add(r, "architectures", arch);
    add(r, "variant", r->variant);
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1); /* mmdebstrap's tools, and those in the root */
    fprintf(stderr, "isomer root: making a Debian %s for %s in %s: some minutes\n", r->suite, arch, path);
    return enter() ? make(r, arch, path) : 1;
}

int cmd_root(int argc, char **argv) {
    Root r = {.suite = "trixie", .variant = "minbase"};
    const char *words[3] = {NULL};
    u32 n = 0;
    vec_push(&r.args, "mmdebstrap");
    vec_push(&r.args, "--mode=root");
    vec_push(&r.args, "--skip=check/qemu,chroot/mount/sys"); /* it would ask for qemu-user by name; and a user namespace mounts no /sys */
    for (int k; (k = cli_parse(&cli, &r, argc, argv)) != argc; argc -= k, argv += k) {
        if (k < 0) return k == CLI_DONE ? 0 : 2;
        if (n == ARRAY_LEN(words)) return cli_refuse(&cli, argv[k], "one word too many"), 2;
        words[n++] = argv[k];
    }
    if (n < 3 || strcmp(words[0], "create") != 0) return cli_usage(stderr, &cli), 2;
    return create(&r, words[1], words[2]);
}
