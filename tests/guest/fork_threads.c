/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that fork, spawn and talk through pipes while others map and unmap memory: nothing may lock up. */
//: timeout: 120
//: skip: interp starts hundreds of processes
#include "t.h"
#include <spawn.h>

extern char **environ;
enum { FORKERS = 6, MAPPERS = 3, ROUNDS = 25 };
static volatile int stop;
static char file[4096];

static void *forker(void *arg) {
    for (int i = 0; i < ROUNDS; i++) {
        int ends[2], status;
        char byte = 0;
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        pid_t pid = fork();
        if (pid == 0) {
            char *p = malloc(10000);
            memset(p, 1, 10000);
            _exit(write(ends[1], p, 1) == 1 ? 7 : 8);
        }
        CHECK(pid > 0 && read(ends[0], &byte, 1) == 1 && byte == 1);
        CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
        pid = vfork();
        if (pid == 0) _exit(9);
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
        if (i % 4 == 0) {
            CHECK(posix_spawn(&pid, file, NULL, NULL, (char *[]){"x", "child", NULL}, environ) == 0);
            CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 11);
        }
        close(ends[0]);
        close(ends[1]);
    }
    return NULL;
}

static void *mapper(void *arg) {
    while (!stop) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED);
        p[5000] = 1;
        mprotect(p, 4096, PROT_NONE);
        munmap(p, 1 << 20);
        free(malloc(300000));
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1) return 11;
    CHECK(readlink("/proc/self/exe", file, sizeof(file) - 1) > 0);
    pthread_t f[FORKERS], m[MAPPERS];
    for (int i = 0; i < MAPPERS; i++) pthread_create(&m[i], NULL, mapper, NULL);
    for (int i = 0; i < FORKERS; i++) pthread_create(&f[i], NULL, forker, NULL);
    for (int i = 0; i < FORKERS; i++) pthread_join(f[i], NULL);
    stop = 1;
    for (int i = 0; i < MAPPERS; i++) pthread_join(m[i], NULL);
    /* exec from a thread that is not the first one takes the process over. */
    puts("ok");
    return 0;
}
