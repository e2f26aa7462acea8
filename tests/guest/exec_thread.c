/* SPDX-License-Identifier: Apache-2.0 */
/* exec from a thread that is not the first: it takes over the process, its id included; close-on-exec, dispositions. */
#include "t.h"

static pid_t leader;
static void *replace(void *arg) {
    char id[32];
    snprintf(id, sizeof(id), "%d", leader);
    execl("/proc/self/exe", "again", id, NULL);
    return NULL;
}
static void *idle(void *arg) {
    for (;;) pause();
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) {
        struct sigaction sa;
        sigset_t mask, pending;
        printf("same process %d, same thread id %d\n", atoi(argv[1]) == getpid(), syscall(SYS_gettid) == getpid());
        printf("cloexec closed %d, other open %d\n", fcntl(100, F_GETFD) == -1, fcntl(101, F_GETFD) == 0);
        sigaction(SIGUSR1, NULL, &sa);
        printf("handler gone %d\n", sa.sa_handler == SIG_DFL);
        sigaction(SIGUSR2, NULL, &sa);
        printf("ignored stays %d\n", sa.sa_handler == SIG_IGN);
        sigprocmask(SIG_BLOCK, NULL, &mask);
        sigpending(&pending);
        printf("mask stays %d, pending stays %d\n", sigismember(&mask, SIGHUP), sigismember(&pending, SIGHUP));
        stack_t st;
        sigaltstack(NULL, &st);
        printf("alternate stack gone %d\n", st.ss_flags == SS_DISABLE);
        return 0;
    }
    leader = getpid();
    int fd = open("/dev/null", O_RDONLY);
    dup3(fd, 100, O_CLOEXEC);
    dup2(fd, 101);
    on_signal(SIGUSR1, (void (*)(int, siginfo_t *, void *))abort, 0);
    signal(SIGUSR2, SIG_IGN);
    stack_t alt = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&alt, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGHUP);
    pthread_t t;
    for (int i = 0; i < 5; i++) pthread_create(&t, NULL, idle, NULL);
    pthread_create(&t, NULL, replace, NULL);
    pthread_join(t, NULL);
    return 1;
}
