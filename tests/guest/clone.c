/* SPDX-License-Identifier: Apache-2.0 */
/* The clone call in its rarer forms: pidfds, exit signals, shared memory, clone3, thread ids. */
#include "t.h"
#include <linux/sched.h>
#include <poll.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static volatile int shared;
static char stack[65536] __attribute__((aligned(16)));

static int child(void *arg) {
    shared = 42;
    return 17;
}

extern int clone(int (*)(void *), void *, int, void *, ...);

int main(void) {
    int status, pidfd = -1;
    pid_t tid = 0;
    pid_t pid = clone(child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, NULL, &pidfd);
    CHECK(pid > 0 && pidfd >= 0 && shared == 42);
    siginfo_t info = {0};
    CHECK(waitid(P_PIDFD, pidfd, &info, WEXITED) == 0);
    printf("pidfd: status %d, same %d\n", info.si_status, info.si_pid == pid);
    close(pidfd);

    shared = 0;
    pid = clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 17 && shared == 42);
    puts("shared memory ok");
    pid = clone(child, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, NULL); /* no signal */
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, __WALL) == pid && WEXITSTATUS(status) == 17);
    puts("exit signal 0 ok");

    shared = 0;
    pid = clone(child, stack + sizeof(stack), CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, &tid, NULL, &tid);
    CHECK(pid > 0 && tid == pid && waitpid(pid, &status, 0) == pid && shared == 0);

    struct { struct clone_args a; uint64_t more[8]; } args = {.a.exit_signal = SIGCHLD};
    pid = syscall(SYS_clone3, &args.a, sizeof(args.a));
    if (pid < 0 && errno == ENOSYS) {
        puts("clone3 ok"); /* an emulator may leave libc to its fallback */
    } else {
        if (pid == 0) _exit(5);
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
        args.more[7] = 1;
        FAILS(syscall(SYS_clone3, &args, sizeof(args)), E2BIG);
        FAILS(syscall(SYS_clone3, &args, 8), EINVAL);
        puts("clone3 ok");
    }
    pid = fork();
    if (pid == 0) for (;;) pause();
    int fd = syscall(SYS_pidfd_open, pid, 0);
    CHECK(fd >= 0);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 10) == 0);
    CHECK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0);
    CHECK(poll(&p, 1, 5000) == 1);
    print_end("by pidfd", pid);
    CHECK(syscall(SYS_gettid) == getpid() && getppid() > 0 && getpgrp() == getpgid(0) && getsid(0) > 0);
    FAILS(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
    FAILS(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), EINVAL);
    return 0;
}
