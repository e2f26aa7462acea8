/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/cli: bodies. See cli.h. */
#include "cmd/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

bool cli_refuse(const Cli *c, const char *what, const char *why) {
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s\n", c->name, what, why);
    return false;
}

void cli_usage(FILE *to, const Cli *c) {
    fprintf(to, "%s\n%s\n", c->usage, c->about);
    for (size_t k = 0; k < c->len; k++) {
        const CliOption *o = &c->options[k];
        fprintf(to, "  %s%s%s%s\n      %s\n", o->name[1] ? "--" : "-", o->name, o->arg ? " " : "", o->arg ? o->arg : "", o->help);
    }
    fprintf(to, "  --help\n      this text\n");
}

static const CliOption *find_option(const Cli *c, const char *text, size_t len) {
    for (size_t k = 0; k < c->len; k++)
        if (strlen(c->options[k].name) == len && !strncmp(c->options[k].name, text, len)) return &c->options[k];
    return NULL;
}

int cli_parse(const Cli *c, void *ctx, int argc, char **argv) {
    int k = 1;
    for (; k < argc && argv[k][0] == '-' && argv[k][1]; k++) {
        if (!strcmp(argv[k], "--")) return k + 1;
        if (!strcmp(argv[k], "--help") || !strcmp(argv[k], "-h")) return cli_usage(stdout, c), CLI_DONE;
        const char *text = argv[k] + (argv[k][1] == '-' ? 2 : 1), *given = argv[k], *arg = NULL;
        size_t len = strcspn(text, "=");
        const CliOption *o = find_option(c, text, len);
        if (!o) return cli_refuse(c, given, "no such option (--help lists them)"), CLI_WRONG;
        if (o->arg && !(arg = text[len] ? text + len + 1 : argv[++k])) return cli_refuse(c, given, "it wants a value"), CLI_WRONG;
        if (!o->arg && text[len]) return cli_refuse(c, given, "it takes no value"), CLI_WRONG;
        if (!o->set(ctx, arg)) return CLI_WRONG;
    }
    return k;
}

const char *cli_self(void) {
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n > 0) path[n] = 0;
    return n > 0 ? path : NULL;
}

char *cli_path(const char *base, const char *name) {
    size_t size = strlen(base) + strlen(name) + 2;
    char *path = malloc(size);
    if (!path) abort();
    snprintf(path, size, "%s/%s", base, name);
    return path;
}

bool cli_make_folders(const char *path) {
    char *copy = strdup(path);
    for (char *s = copy + 1; *s; s++) {
        if (*s != '/') continue;
        *s = 0;
        mkdir(copy, 0777);
        *s = '/';
    }
    bool made = mkdir(copy, 0777) == 0 || errno == EEXIST;
    free(copy);
    return made;
}

int cli_write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return -errno;
    ssize_t n = write(fd, text, strlen(text)); /* one call: files of /proc and binfmt_misc want all at once */
    int error = n < 0 ? errno : (size_t)n < strlen(text) ? EIO : 0;
    close(fd);
    return -error;
}

long cli_read_file(const char *path, char *buf, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    size_t len = 0;
    ssize_t n = 0;
    while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0) len += (size_t)n;
    int error = errno;
    close(fd);
    buf[len] = 0;
    return n < 0 ? -error : (long)len;
}

int cli_wait(int pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
