/* SPDX-License-Identifier: Apache-2.0 */
/* user: the process VM. It runs one Linux program of another instruction set inside this host process: guest
 * addresses are host addresses, guest threads host threads, guest processes host processes, and the host's
 * kernel is the guest's, with what differs between the two ABIs translated on the way.
 *
 * Order: fill a RunOptions, call user_run; it returns only with an error. Everything behind it works without a
 * C library's thread state (see base/base.h).
 */
#ifndef USER_USER_H
#define USER_USER_H

#include "engine/engine.h"

typedef struct RunOptions {
    const char *program;     /* path of the program; without a slash it is searched in PATH if not found here */
    const char *const *argv; /* its arguments from argv[0] on, NULL-terminated */
    const char *const *envp;
    const char *prefix;      /* -L: absolute paths are looked up here first; NULL: none */
    const char *release;     /* -r: what uname says; NULL: the host's */
    const char *gdb;         /* -g: port or path where to wait for GDB; NULL: don't */
    const char *cpu;         /* -cpu; NULL: everything that Isomer has */
    u64 stack_size;          /* -s: 0: RLIMIT_STACK */
    u64 reserved;            /* -R: size of the guest's address space, 0: 2^38 */
    u64 seed;                /* -seed: for AT_RANDOM and placement; 0: the kernel's random numbers */
    int exec_fd;             /* the program, already open (binfmt_misc flag O), or -1 */
    u64 as_limit;            /* the guest's RLIMIT_AS as its parent left it; 0: the host's */
    int filters_fd;          /* seccomp filters of the parent: see seccomp_restore; -1: none */
    u64 vector_control;      /* of vectors, as the parent left it (prctl); 0: everybody may use them */
    bool no_vectors;         /* -cpu v=false: there are none */
    const char *traced;      /* the parent was traced: see traced_start; NULL: it was not */
    bool child;              /* started by execve of a guest: argv is exact */
    bool secure;             /* AT_SECURE: the kernel gave us more rights than our caller has */
    bool strace;             /* print system calls and signals on engine.log_fd */
    bool stats;              /* print counts at exit */
    const char *const *inherit; /* options that a guest's execve hands on, NULL-terminated */
    const char *self;        /* path of our own executable, if /proc cannot tell */
    const void *host_vdso;   /* AT_SYSINFO_EHDR of this process, or NULL */
    EngineOptions engine;
} RunOptions;

/* Exit statuses of a shell. */
enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* Loads and runs the program in this process. Returns the exit status to end with if it cannot be started, after one line
 * on fd 2 that says why. */
int user_run(const RunOptions *options);

#endif
