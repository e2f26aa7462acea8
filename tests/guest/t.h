/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest programs share. A program prints what it finds, so that the host's own build of it can be the
 * oracle, and says CHECK where the right answer is known: a failed one prints itself and ends the program.
 */
#ifndef TESTS_GUEST_T_H
#define TESTS_GUEST_T_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(x)                                                                                                      \
    do {                                                                                                              \
        if (!(x)) {                                                                                                   \
            int t_errno = errno;                                                                                      \
            printf("%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #x, t_errno);                                \
            fflush(stdout);                                                                                           \
            _exit(99);                                                                                                \
        }                                                                                                             \
    } while (0)
/* A call that must fail with a certain errno. */
#define FAILS(call, error)                                                                                            \
    do {                                                                                                              \
        errno = 0;                                                                                                    \
        long t_result = (long)(call);                                                                                 \
        int t_errno = errno;                                                                                          \
        if (t_result != -1 || t_errno != (error)) {                                                                   \
            printf("%s:%d: %s: %ld, errno %d, not %s\n", __FILE__, __LINE__, #call, t_result, t_errno, #error);       \
            fflush(stdout);                                                                                           \
            _exit(99);                                                                                                \
        }                                                                                                             \
    } while (0)

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* Registers in a signal frame, on the guest and on the host that is its oracle. */
#if defined(__riscv)
#define UC_PC(uc) ((uc)->uc_mcontext.__gregs[REG_PC])
#define UC_SP(uc) ((uc)->uc_mcontext.__gregs[REG_SP])
#define UC_ARG0(uc) ((uc)->uc_mcontext.__gregs[REG_A0])
#elif defined(__x86_64__)
#define UC_PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
#define UC_SP(uc) ((uc)->uc_mcontext.gregs[REG_RSP])
#define UC_ARG0(uc) ((uc)->uc_mcontext.gregs[REG_RDI])
#endif

static inline void on_signal(int sig, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(sig, &sa, NULL) == 0);
}

static inline void sleep_ms(long ms) {
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR) {}
}

static inline double now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* Wait for a child and print how it ended. */
static inline void print_end(const char *what, pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status)) printf("%s: exit %d\n", what, WEXITSTATUS(status));
    else printf("%s: signal %d\n", what, WTERMSIG(status));
}

/* The lines of a status in /proc that begin with one of the names, which end with NULL. */
static inline void print_status(const char *path, const char *const *names) {
    char line[256];
    FILE *f = fopen(path, "r");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        for (int i = 0; names[i]; i++)
            if (!strncmp(line, names[i], strlen(names[i])) && line[strlen(names[i])] == ':') fputs(line, stdout);
    fclose(f);
}

/* fn in a child that leaves no core, and how that ended. */
static inline void in_child(const char *what, void (*fn)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        fn();
        fflush(stdout);
        _exit(0);
    }
    print_end(what, pid);
}

#endif
