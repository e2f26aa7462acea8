/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is open for writing is not executed (LTP's execve04): the host's kernel never executes the guest's file
 * and must be asked, which it can be since Linux 6.14. One that is executed is not written to (LTP's creat07): that is between Isomers. */
#include "t.h"
#include <sys/inotify.h>
#include <sys/utsname.h>

static bool kernel_tells(void) {
    struct utsname u;
    int major = 0, minor = 0;
    CHECK(uname(&u) == 0 && sscanf(u.release, "%d.%d", &major, &minor) == 2);
    return major > 6 || (major == 6 && minor >= 14);
}

/* A copy of this program, still open for writing. */
static int copy_self(const char *name) {
    static char buf[65536];
    int from = open("/proc/self/exe", O_RDONLY), to = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    CHECK(from >= 0 && to >= 0);
    for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;) CHECK(write(to, buf, n) == n);
    close(from);
    return to;
}

/* All ways to write to a program that runs, tried by itself. */
static void check_running(const char *name) {
    const char *paths[] = {name, "/proc/self/exe"};
    for (int i = 0; i < 2; i++) {
        FAILS(open(paths[i], O_WRONLY), ETXTBSY);
        FAILS(open(paths[i], O_RDWR | O_CREAT, 0700), ETXTBSY);
        FAILS(creat(paths[i], 0700), ETXTBSY);
        FAILS(open(paths[i], O_RDONLY | O_TRUNC), ETXTBSY);
        FAILS(truncate(paths[i], 0), ETXTBSY);
    }
    FAILS(open(name, O_WRONLY | O_CREAT | O_EXCL, 0700), EEXIST);
    CHECK(chmod(name, 0500) == 0);
    if (geteuid() != 0) FAILS(open(name, O_WRONLY), EACCES);
    CHECK(chmod(name, 0700) == 0);
    int fd = open(name, O_RDONLY);
    struct stat st;
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && close(fd) == 0);
    puts("not written");
}

/* In one that another process runs; and again when that has ended. */
static void check_other(const char *name) {
    int ready[2], end[2];
    CHECK(pipe(ready) == 0 && pipe(end) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(end[0], 0), dup2(ready[1], 1), close(end[1]);
        execl(name, name, "wait", NULL), _exit(98);
    }
    char c;
    close(end[0]), close(ready[1]);
    CHECK(read(ready[0], &c, 1) == 1);
    FAILS(open(name, O_RDWR), ETXTBSY);
    FAILS(truncate(name, 1), ETXTBSY);
    close(end[1]);
    print_end("waiting", pid);
    int fd = open(name, O_WRONLY);
    CHECK(fd >= 0 && close(fd) == 0);
}

/* Who watches a program that nobody runs sees it opened once. */
static void check_unnoticed(const char *name) {
    char buf[4096];
    int watch = inotify_init1(IN_NONBLOCK);
    CHECK(watch >= 0 && inotify_add_watch(watch, name, IN_ALL_EVENTS) >= 0);
    int fd = open(name, O_WRONLY);
    CHECK(fd >= 0 && close(fd) == 0);
    ssize_t n = read(watch, buf, sizeof buf);
    for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(struct inotify_event) + ((struct inotify_event *)(buf + at))->len))
        printf("event %x\n", ((struct inotify_event *)(buf + at))->mask);
    fflush(stdout);
    close(watch);
}

/* A fork says that it runs: with all descriptors closed that it need not have. */
static int wait_for_end(void) {
    char c;
    pid_t pid = fork();
    if (pid != 0) return waitpid(pid, NULL, 0) == pid ? 0 : 1;
    for (int fd = 3; fd < 100; fd++) close(fd);
    write(1, "x", 1);
    return read(0, &c, 1) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    char name[64], *args[] = {name, "again", NULL}, *env[] = {NULL};
    if (argc > 1 && argv[1][0] == 'w') return wait_for_end();
    if (argc > 1) return check_running(argv[0]), 0;
    snprintf(name, sizeof name, "./busy.%d", getpid());
    int fd = copy_self(name);
    if (kernel_tells()) FAILS(execve(name, args, env), ETXTBSY);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) execve(name, args, env), _exit(98);
    print_end("child", pid);
    check_other(name);
    check_unnoticed(name);
    CHECK(unlink(name) == 0);
}
