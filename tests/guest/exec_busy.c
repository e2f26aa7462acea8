/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is open for writing is not executed (LTP's execve04): the host's kernel never executes the guest's file
 * and must be asked, which it can be since Linux 6.14. */
#include "t.h"
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

int main(int argc, char **argv) {
    char name[64], *args[] = {name, "again", NULL}, *env[] = {NULL};
    if (argc > 1) return puts("executed"), 0;
    snprintf(name, sizeof name, "./busy.%d", getpid());
    int fd = copy_self(name);
    if (kernel_tells()) FAILS(execve(name, args, env), ETXTBSY);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) execve(name, args, env), _exit(98);
    print_end("child", pid);
    CHECK(unlink(name) == 0);
}
