/* SPDX-License-Identifier: Apache-2.0 */
/* isomer shell: runs a command in a foreign root, as a container of its own: user, mount and process namespaces, the root as "/" (pivot_root, so that
 * programs inside can make namespaces themselves [user_namespaces(7)]), /proc, /dev, /sys, the host's name servers, and our translation cache, so that
 * what one run translates the next one has. The root's own links are followed inside the root only. */
#include "cmd/binfmt.h"
#include "cmd/cache.h"
#include "cmd/namespace.h"
#include "cmd/root.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CACHE_INSIDE "/var/cache/isomer"

typedef struct Shell {
    const char *folder;
    const char *work;         /* the command's folder */
    VEC(const char *) binds;  /* HOST[:INSIDE] */
    VEC(const char *) env;    /* NAME=VALUE */
    int fd;                   /* of the root */
} Shell;

static bool set_bind(void *ctx, const char *arg) { return vec_push(&((Shell *)ctx)->binds, arg), true; }
static bool set_env(void *ctx, const char *arg);
static bool set_work(void *ctx, const char *arg) { return ((Shell *)ctx)->work = arg, true; }

static const CliOption options[] = {
    {"bind", "FOLDER[:INSIDE]", set_bind, "show a folder of the host inside, at the same or another path; may be repeated"},
    {"env", "NAME=VALUE", set_env, "set a variable; may be repeated"},
    {"workdir", "FOLDER", set_work, "where the command starts, inside; default /root"},
};

static const Cli cli = {
    .name = "isomer shell",
    .usage = "usage: isomer shell [OPTIONS] FOLDER|riscv64 [COMMAND [ARGUMENTS...]]\n",
    .about = "Runs a command, or a shell, inside a foreign root, as its user 0. The exit status is the command's.\n\n"
             "riscv64 is a root of this user's own, below XDG_DATA_HOME or ~/.local/share; it is made when it is asked for the first time (isomer root --help). Needs no root;\n"
             "subordinate ids (see isomer root --help), where there are any, are the root's other users. Of the environment, what is about the terminal, the language\n"
             "and proxies goes inside.\n",
    .options = options,
    .len = ARRAY_LEN(options),
};

static bool set_env(void *ctx, const char *arg) {
    if (!strchr(arg, '=')) return cli_refuse(&cli, arg, "NAME=VALUE is wanted");
    vec_push(&((Shell *)ctx)->env, arg);
    return true;
}

/* --- places inside the root -------------------------------------------------------------------------------------------- */

static int open_inside(const Shell *s, const char *path, int flags) {
    struct open_how how = {.flags = (u64)flags | O_CLOEXEC, .mode = flags & O_CREAT ? 0644 : 0, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, s->fd, path, &how, sizeof how);
}

/* Opens a folder, and makes it and those above it if need be. */
static int open_folder(const Shell *s, const char *path) {
    int fd = open_inside(s, path, O_PATH | O_DIRECTORY);
    const char *slash = strrchr(path, '/');
    if (fd >= 0 || errno != ENOENT) return fd;
    char above[PATH_MAX];
    snprintf(above, sizeof above, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int parent = slash == path ? dup(s->fd) : open_folder(s, above);
    if (parent < 0) return -1;
    mkdirat(parent, slash ? slash + 1 : path, 0755);
    close(parent);
    return open_inside(s, path, O_PATH | O_DIRECTORY);
}

static int open_file(const Shell *s, const char *path) {
    int fd = open_inside(s, path, O_PATH);
    if (fd >= 0 || errno != ENOENT) return fd;
    int made = open_inside(s, path, O_WRONLY | O_CREAT);
    if (made >= 0) close(made);
    return open_inside(s, path, O_PATH);
}

/* Mounts onto an open place, and closes that. */
static bool mount_onto(int fd, const char *what, const char *type, unsigned long flags) {
    char path[64];
    if (fd < 0) return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool mounted = mount(what, path, type, flags, NULL) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return mounted;
}

static bool bind_one(const Shell *s, const char *spec) {
    const char *colon = strchr(spec, ':');
    char host[PATH_MAX];
    snprintf(host, sizeof host, "%.*s", (int)(colon ? colon - spec : (long)strlen(spec)), spec);
    struct stat st;
    if (stat(host, &st) < 0) return cli_refuse(&cli, host, strerror(errno));
    const char *inside = colon ? colon + 1 : host;
    int fd = S_ISDIR(st.st_mode) ? open_folder(s, inside) : open_file(s, inside);
    return mount_onto(fd, host, NULL, MS_BIND | MS_REC) || cli_refuse(&cli, spec, strerror(errno));
}

/* The folder of translations; false: there is none, which is no error. */
static bool bind_cache(const Shell *s, const char *cache) {
    if (!cache || !cli_make_folders(cache)) return false;
    chmod(cache, 0700);
    return mount_onto(open_folder(s, CACHE_INSIDE), cache, NULL, MS_BIND);
}

/* --- entering ---------------------------------------------------------------------------------------------------------------- */

static void mount_proc(const Shell *s, bool own_pids) {
    if (!own_pids || !mount_onto(open_folder(s, "proc"), "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)) mount_onto(open_folder(s, "proc"), "/proc", NULL, MS_BIND | MS_REC);
    mount_onto(open_inside(s, BINFMT_DIR, O_PATH), "binfmt_misc", "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC); /* to be looked at; what is registered is so anyway */
}

/* Into the root, whose mount hides the old one; in a chroot, which has no mount to turn, by another chroot. */
static bool turn_root(const Shell *s) {
    if (fchdir(s->fd) < 0) return false;
    if (syscall(SYS_pivot_root, ".", ".") == 0) umount2(".", MNT_DETACH);
    else if (chroot(".") < 0) return false;
    return chdir("/") == 0;
}

static bool enter(Shell *s, bool own_pids, bool *cached) {
    if (mount(s->folder, s->folder, NULL, MS_BIND | MS_REC, NULL) < 0) return cli_refuse(&cli, s->folder, strerror(errno));
    s->fd = open(s->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s->fd < 0) return cli_refuse(&cli, s->folder, strerror(errno));
    *cached = bind_cache(s, cache_folder(getenv("ISOMER_CACHE")));
    mount_onto(open_folder(s, "dev"), "/dev", NULL, MS_BIND | MS_REC);
    mount_onto(open_folder(s, "sys"), "/sys", NULL, MS_BIND | MS_REC);
    mount_onto(open_file(s, "etc/resolv.conf"), "/etc/resolv.conf", NULL, MS_BIND);
    for (u32 k = 0; k < s->binds.len; k++)
        if (!bind_one(s, s->binds.at[k])) return false;
    mount_proc(s, own_pids); /* the last one: the others went by the host's /proc */
    return turn_root(s) || cli_refuse(&cli, s->folder, strerror(errno));
}

/* --- the command ------------------------------------------------------------------------------------------------------------------ */

static bool goes_inside(const char *variable) {
    static const char *const names[] = {"TERM=", "COLORTERM=", "LANG=", "LANGUAGE=", "LC_", "TZ=", "http_proxy=", "https_proxy=", "ftp_proxy=", "no_proxy=", "DEBIAN_FRONTEND=", "SOURCE_DATE_EPOCH=", "ISOMER_", "QEMU_"};
    for (u32 k = 0; k < ARRAY_LEN(names); k++)
        if (!strncmp(variable, names[k], strlen(names[k]))) return true;
    return false;
}

static void set_environment(const Shell *s, bool cached) {
    VEC(char *) kept = {0};
    for (char **e = environ; *e; e++)
        if (goes_inside(*e)) vec_push(&kept, *e);
    clearenv();
    for (u32 k = 0; k < kept.len; k++) putenv(kept.at[k]);
    putenv("HOME=/root");
    putenv("USER=root");
    putenv("LOGNAME=root");
    putenv("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    putenv(cached ? "ISOMER_CACHE=" CACHE_INSIDE : "ISOMER_CACHE=off");
    for (u32 k = 0; k < s->env.len; k++) putenv((char *)s->env.at[k]);
}

static _Noreturn void start(const Shell *s, char **command, bool cached) {
    static char *login[] = {"/bin/bash", "-l", NULL};
    if (access(login[0], X_OK) < 0) login[0] = "/bin/sh";
    set_environment(s, cached);
    char **argv = command[0] ? command : login;
    if (chdir(s->work ? s->work : "/root") < 0 && s->work) cli_refuse(&cli, s->work, strerror(errno)), _exit(126);
    execvp(argv[0], argv);
    int error = errno;
    cli_refuse(&cli, argv[0], strerror(error));
    _exit(error == ENOENT ? 127 : 126);
}

/* --- processes: we wait outside; inside, process 1 waits for the command and for orphans --------------------------------------------- */

static volatile pid_t below;
static void pass_on(int sig) {
    if (below > 0) kill(below, sig);
}

/* The terminal sends its signals to all of us: only the command answers. Others are handed down. */
static void take_signals(bool ours) {
    signal(SIGINT, ours ? SIG_IGN : SIG_DFL);
    signal(SIGQUIT, ours ? SIG_IGN : SIG_DFL);
    signal(SIGTERM, ours ? pass_on : SIG_DFL);
    signal(SIGHUP, ours ? pass_on : SIG_DFL);
}

static _Noreturn void first_process(Shell *s, char **command, bool own_pids) {
    bool cached = false;
    int status;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!enter(s, own_pids, &cached)) _exit(1);
    below = fork();
    if (below == 0) {
        take_signals(false);
        start(s, command, cached);
    }
    for (;;) {
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno != EINTR) _exit(1);
        if (pid == below) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

/* In some containers parts of /proc are covered; then a namespace of processes could not have its own [user_namespaces(7)]. */
static bool can_own_pids(void) {
    int child = fork();
    if (child == 0) {
        int inner = unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 ? -1 : fork();
        if (inner == 0) _exit(mount("proc", "/proc", "proc", 0, NULL) < 0);
        _exit(inner < 0 || cli_wait(inner) != 0);
    }
    return child > 0 && cli_wait(child) == 0 && unshare(CLONE_NEWPID) == 0;
}

static bool make_namespace(void) {
    char why[512];
    static BinfmtEntry entries[BINFMT_ENTRIES];
    NamespaceIds ids = namespace_enter_foreign(why, sizeof why);
    if (ids == NAMESPACE_ONE) fprintf(stderr, "isomer shell: one user id only (no subordinate ids: isomer root --help): files cannot belong to other users inside\n");
    if (ids) return true;
    if (geteuid() != 0 || !binfmt_find(&binfmt_riscv64, entries) || unshare(CLONE_NEWNS) < 0) return cli_refuse(&cli, "shell", why);
    namespace_hide_mounts();
    return true;
}

static int run(Shell *s, char **command) {
    if (!make_namespace()) return 1;
    bool own_pids = can_own_pids();
    take_signals(true);
    below = fork();
    if (below == 0) first_process(s, command, own_pids);
    return below < 0 ? (cli_refuse(&cli, "fork", strerror(errno)), 1) : cli_wait(below);
}

/* --- which root ------------------------------------------------------------------------------------------------------------------------ */

/* This user's own root, made if need be: by a process of its own, which goes to namespaces for that. */
static const char *own_root(const char *arch) {
    const char *base = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (!base || base[0] != '/') base = home && home[0] == '/' ? cli_path(home, ".local/share") : NULL;
    if (!base) return cli_refuse(&cli, arch, "neither XDG_DATA_HOME nor HOME is set"), NULL;
    char *folder = cli_path(cli_path(base, "isomer/roots"), arch);
    if (access(folder, F_OK) == 0) return folder;
    char *argv[] = {"root", "create", (char *)arch, folder, NULL};
    fprintf(stderr, "isomer shell: there is no root for %s yet\n", arch);
    int child = fork();
    if (child == 0) exit(cmd_root(4, argv));
    return child > 0 && cli_wait(child) == 0 ? folder : NULL;
}

int cmd_shell(int argc, char **argv) {
    Shell s = {0};
    static char absolute[PATH_MAX];
    int k = cli_parse(&cli, &s, argc, argv);
    if (k < 0) return k == CLI_DONE ? 0 : 2;
    if (k == argc) return cli_usage(stderr, &cli), 2;
    const char *folder = root_arch(argv[k]) ? own_root(argv[k]) : argv[k];
    if (!folder) return 1;
    if (!realpath(folder, absolute)) return cli_refuse(&cli, folder, strerror(errno)), 1;
    s.folder = absolute;
    k++;
    if (k < argc && !strcmp(argv[k], "--")) k++; /* as others have it between a container and its command */
    return run(&s, argv + k);
}
