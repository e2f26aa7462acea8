/* SPDX-License-Identifier: Apache-2.0 */
/* launch ROOT FOLDER COUNT OUTPUT PROGRAM ARGUMENT...: run a program inside a tree of another system, COUNT times, and print what
 * that took: "user+sys microseconds, wall microseconds, largest resident size in KiB", of all the processes that it was.
 *
 * bench/real.py measures with this, because the process that measures must be small: the copy of an interpreter's
 * address space costs more than a small program. The environment is given on, the program's output goes to OUTPUT. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long micros(struct timeval t) { return t.tv_sec * 1000000L + t.tv_usec; }

static void child(char **argv, int out) {
    int in = open("/dev/null", O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(125);
    if (chroot(argv[1]) || chdir(argv[2])) _exit(126);
    execv(argv[5], argv + 5);
    _exit(127);
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "usage: launch ROOT FOLDER COUNT OUTPUT PROGRAM ARGUMENT...\n"), 2;
    int out = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666), status = 0;
    if (out < 0) return perror(argv[4]), 2;
    long cpu = 0, rss = 0;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int n = atoi(argv[3]); n > 0 && !status; n--) {
        struct rusage u;
        pid_t pid = vfork();
        if (pid == 0) child(argv, out);
        if (pid < 0 || wait4(pid, &status, 0, &u) != pid) return perror("launch"), 2;
        cpu += micros(u.ru_utime) + micros(u.ru_stime);
        if (u.ru_maxrss > rss) rss = u.ru_maxrss;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%ld %ld %ld\n", cpu, (end.tv_sec - start.tv_sec) * 1000000L + (end.tv_nsec - start.tv_nsec) / 1000, rss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
