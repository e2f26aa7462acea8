/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are executed by descriptor: fexecve, AT_EMPTY_PATH, O_PATH, out of memory files, after they were deleted; scripts, too. */
#include "t.h"

static char self[PATH_MAX];

static int copy_self(int to) {
    int from = open(self, O_RDONLY);
    char buf[65536];
    long n;
    CHECK(from >= 0);
    while ((n = read(from, buf, sizeof buf)) > 0) CHECK(write(to, buf, (size_t)n) == n);
    close(from);
    return to;
}

static void run(const char *what, int fd, const char *path, int flags) {
    char *argv[] = {"name", "7", NULL}, *envp[] = {"A=1", NULL};
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        syscall(SYS_execveat, fd, path, argv, envp, flags);
        printf("%s: errno %d\n", what, errno);
        fflush(stdout);
        _exit(50);
    }
    print_end(what, pid);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        char link[PATH_MAX];
        CHECK(readlink("/proc/self/exe", link, sizeof link) > 0);
        return strcmp(argv[0], "name") == 0 ? atoi(argv[1]) : 60;
    }
    long n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    char dir[] = "/tmp/exec_fd.XXXXXX", path[64], script[64];
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/p", dir);
    snprintf(script, sizeof script, "%s/s", dir);
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    run("empty path", fd, "", AT_EMPTY_PATH);
    run("empty path, not allowed", fd, "", 0);
    int by_path = open(self, O_PATH | O_CLOEXEC);
    run("O_PATH", by_path, "", AT_EMPTY_PATH);
    char link[64]; /* which is gone when the new program starts */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    run("in /proc", -1, link, 0);
    snprintf(link, sizeof link, "/dev/fd/%d", by_path);
    run("in /dev", -1, link, 0);
    int mem = copy_self(memfd_create("program", 0));
    run("memory file, open for writing", mem, "", AT_EMPTY_PATH);
    int readable = open(path, O_RDWR | O_CREAT, 0755);
    CHECK(readable >= 0);
    close(copy_self(readable));
    int gone = open(path, O_RDONLY | O_CLOEXEC), dirfd = open(dir, O_PATH | O_DIRECTORY);
    run("relative to a folder", dirfd, "p", 0);
    FAILS(chdir("/nonexistent"), ENOENT);
    CHECK(symlinkat(path, dirfd, "link") == 0);
    run("link", dirfd, "link", 0);
    run("link, not followed", dirfd, "link", AT_SYMLINK_NOFOLLOW);
    CHECK(unlink(path) == 0);
    run("deleted", gone, "", AT_EMPTY_PATH);
    run("missing", dirfd, "p", 0);
    run("bad flags", fd, "", 1 << 24);
    run("bad descriptor", 999, "", AT_EMPTY_PATH);
    run("folder", dirfd, "", AT_EMPTY_PATH);
    int s = open(script, O_RDWR | O_CREAT, 0755);
    CHECK(dprintf(s, "#!/bin/sh\nexit $1$1\n") > 0);
    close(s);
    s = open(script, O_RDONLY);
    run("script", dirfd, "s", 0);
    run("script by descriptor", s, "", AT_EMPTY_PATH);
    int closing = open(script, O_RDONLY | O_CLOEXEC);
    run("script by a descriptor that closes", closing, "", AT_EMPTY_PATH);
    CHECK(chmod(script, 0644) == 0);
    run("not executable", dirfd, "s", 0);
    unlink(script);
    unlinkat(dirfd, "link", 0);
    rmdir(dir);
    return 0;
}
