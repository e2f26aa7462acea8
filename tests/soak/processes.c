/* SPDX-License-Identifier: Apache-2.0 */
/* A storm of processes: threads that fork, vfork, spawn, talk by pipes, kill and wait, while others map and unmap memory. Every child's end is checked. */
#include "soak.h"
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

extern char **environ;
static const char *self;
static atomic_ulong forks, vforks, spawns, talks, kills, orphans, failures, maps;

static void expect_exit(pid_t pid, int code) {
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {}
    MUST(got == pid && WIFEXITED(status) && WEXITSTATUS(status) == code);
}

static void do_fork(Rng *r) {
    int code = (int)rng_below(r, 256);
    u64 word = rng_next(r);
    volatile u64 copy = word;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        void *memory = malloc(1 + rng_below(r, 100000));
        copy++; /* the parent's must stay */
        _exit(memory && copy == word + 1 ? code : 255 - code);
    }
    expect_exit(pid, code);
    MUST(copy == word);
    forks++;
}

static void do_vfork(Rng *r) {
    char code[16];
    int want = (int)rng_below(r, 200);
    volatile int failed = 0;
    snprintf(code, sizeof code, "%d", want);
    int missing = rng_below(r, 8) == 0;
    pid_t pid = vfork();
    if (pid == 0) {
        execl(missing ? "/nothing/there" : self, self, "exit", code, (char *)NULL);
        failed = errno;
        _exit(want);
    }
    MUST(pid > 0);
    expect_exit(pid, want);
    MUST(failed == (missing ? ENOENT : 0));
    vforks++;
}

static void do_spawn(Rng *r) {
    char code[16];
    int want = (int)rng_below(r, 256), missing = rng_below(r, 8) == 0;
    snprintf(code, sizeof code, "%d", want);
    char *argv[] = {(char *)self, "exit", code, NULL};
    pid_t pid;
    int error = posix_spawn(&pid, missing ? "/nothing/there" : self, NULL, NULL, argv, environ);
    MUST(error == (missing ? ENOENT : 0));
    if (missing) failures++;
    else expect_exit(pid, want), spawns++;
}

/* The child answers what it reads, plus one. */
static void do_talk(Rng *r) {
    int to[2], from[2];
    MUST(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        u64 v;
        dup2(to[0], 0);
        dup2(from[1], 1);
        close_range(3, ~0u, 0); /* other threads' pipes, too: two children that hold one another's would wait for ever */
        while (read(0, &v, 8) == 8) v++, MUST(write(1, &v, 8) == 8);
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    for (u32 k = 0, n = 1 + rng_below(r, 20); k < n; k++) {
        u64 v = rng_next(r), answer = 0;
        MUST(write(to[1], &v, 8) == 8 && read(from[0], &answer, 8) == 8 && answer == v + 1);
    }
    close(to[1]);
    close(from[0]);
    expect_exit(pid, 0);
    talks++;
}

static void do_kill(Rng *r) {
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1, SIGALRM};
    int sig = signals[rng_below(r, 4)], status;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0)
        for (;;) pause();
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    MUST(kill(pid, sig) == 0);
    struct pollfd p = {fd, POLLIN, 0};
    if (fd >= 0) MUST(poll(&p, 1, 30000) == 1), close(fd);
    MUST(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == sig);
    kills++;
}

/* A grandchild outlives its parent, and ends at the end of the pipe. */
static void do_orphan(void) {
    int p[2];
    char byte;
    MUST(pipe2(p, O_CLOEXEC) == 0);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        if (fork() == 0) MUST(write(p[1], "x", 1) == 1);
        _exit(7);
    }
    close(p[1]);
    expect_exit(pid, 7);
    MUST(read(p[0], &byte, 1) == 1 && byte == 'x' && read(p[0], &byte, 1) == 0);
    close(p[0]);
    orphans++;
}

static void *storm(void *arg) {
    Rng *r = arg;
    while (soak_goes_on()) switch (rng_below(r, 6)) {
        case 0: do_fork(r); break;
        case 1: do_vfork(r); break;
        case 2: do_spawn(r); break;
        case 3: do_talk(r); break;
        case 4: do_kill(r); break;
        case 5: do_orphan(); break;
        }
    return NULL;
}

static void *mapper(void *arg) {
    Rng *r = arg;
    while (soak_goes_on()) {
        size_t size = PAGE * (1 + rng_below(r, 64));
        unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        MUST(p != MAP_FAILED);
        p[0] = p[size - 1] = 7;
        MUST(mprotect(p, PAGE, PROT_READ) == 0 && p[0] == 7 && munmap(p, size) == 0);
        maps++;
        usleep(rng_below(r, 500));
    }
    return NULL;
}

static void *either(void *arg) {
    static atomic_int number;
    return number++ % 4 == 3 ? mapper(arg) : storm(arg);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "exit")) return atoi(argv[2]);
    Rng r;
    self = argv[0];
    soak_start(argc, argv, &r);
    soak_threads(&r, 8, either);
    printf("forks %lu vforks %lu spawns %lu talks %lu kills %lu orphans %lu refused %lu maps %lu\n", forks, vforks, spawns, talks, kills, orphans, failures, maps);
    return 0;
}
