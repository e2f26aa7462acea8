/* SPDX-License-Identifier: Apache-2.0 */
/* Masks, flags and queues of signals: SA_RESTART, SA_NODEFER, SA_RESETHAND, nesting, order, inheritance. */
#include "t.h"

static volatile int depth, deepest, calls, order[64];

static void count_call(int sig, siginfo_t *info, void *uc) { order[calls++] = sig; }

static void nest(int sig, siginfo_t *info, void *uc) {
    calls++;
    if (++depth > deepest) deepest = depth;
    if (calls < 6) raise(sig);
    depth--;
}

static void other_inside(int sig, siginfo_t *info, void *uc) {
    order[calls++] = sig;
    if (sig == SIGUSR1) raise(SIGUSR2);
    order[calls++] = -sig;
}

static void queued(int sig, siginfo_t *info, void *uc) { printf("[%d:%d]", sig - SIGRTMIN, info->si_value.sival_int); }

static void show(const char *what) {
    printf("%s:", what);
    for (int i = 0; i < calls; i++) printf(" %d", order[i]);
    puts("");
    calls = 0;
}

static void *poker(void *arg) {
    sleep_ms(30);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    sleep_ms(30);
    CHECK(write(*((int *)((pthread_t *)arg + 1)), "x", 1) == 1);
    return NULL;
}

/* A read that a signal interrupts, with and without SA_RESTART. */
static void restart(int flags) {
    struct { pthread_t main; int fd; } arg;
    int ends[2];
    char c;
    pthread_t t;
    on_signal(SIGUSR1, count_call, flags);
    pipe(ends);
    arg.main = pthread_self();
    arg.fd = ends[1];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* the helper is born with it blocked */
    pthread_create(&t, NULL, poker, &arg);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    long n = read(ends[0], &c, 1);
    printf("%s: read %ld errno %d, calls %d\n", flags ? "restart" : "no restart", n, n < 0 ? errno : 0, calls);
    pthread_join(t, NULL);
    calls = 0;
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    sigset_t set, old, pending;
    on_signal(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    printf("nodefer: calls %d deepest %d\n", calls, deepest);
    calls = depth = deepest = 0;
    on_signal(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    printf("defer: calls %d deepest %d\n", calls, deepest);
    calls = 0;

    on_signal(SIGUSR1, other_inside, 0);
    on_signal(SIGUSR2, other_inside, 0);
    raise(SIGUSR1);
    show("nested");
    struct sigaction sa = {.sa_sigaction = other_inside, .sa_flags = SA_SIGINFO};
    sigaddset(&sa.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    show("masked");

    on_signal(SIGUSR1, count_call, SA_RESETHAND);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &sa);
    printf("reset: calls %d, handler default %d\n", calls, sa.sa_handler == SIG_DFL);
    calls = 0;
    on_signal(SIGUSR1, count_call, SA_RESTART | SA_NODEFER);
    sigaction(SIGUSR1, NULL, &sa);
    CHECK((sa.sa_flags & ~0x04000000) == (SA_SIGINFO | SA_RESTART | SA_NODEFER));
    CHECK(sa.sa_sigaction == count_call);

    restart(0);
    restart(SA_RESTART);

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, &old);
    on_signal(SIGUSR1, count_call, 0);
    on_signal(SIGUSR2, count_call, 0);
    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGUSR1);
    sigpending(&pending);
    printf("pending %d %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2), sigismember(&pending, SIGALRM));
    CHECK(calls == 0);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("delivered once each: %d\n", calls);
    calls = 0;

    on_signal(SIGRTMIN + 1, queued, 0);
    on_signal(SIGRTMIN + 3, queued, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 5; i++) {
        union sigval v = {.sival_int = i};
        CHECK(sigqueue(getpid(), SIGRTMIN + 3, v) == 0);
        CHECK(sigqueue(getpid(), SIGRTMIN + 1, v) == 0);
    }
    siginfo_t info;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 3);
    CHECK(sigwaitinfo(&one, &info) == SIGRTMIN + 3 && info.si_value.sival_int == 0 && info.si_code == SI_QUEUE);
    sigaddset(&one, SIGUSR2);
    sigdelset(&one, SIGRTMIN + 3);
    struct timespec ts = {0, 10000000};
    FAILS(sigtimedwait(&one, &info, &ts), EAGAIN);
    raise(SIGUSR2);
    CHECK(sigtimedwait(&one, &info, &ts) == SIGUSR2);
    printf("wait left the rest\n");
    fflush(stdout);
    /* Real-time signals that become deliverable at once are taken in turn; each handler runs with its own blocked. */
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    puts("");

    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    sigfillset(&one);
    sigdelset(&one, SIGUSR1);
    FAILS(sigsuspend(&one), EINTR);
    show("suspend");
    raise(SIGUSR2);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        sigpending(&pending);
        sigprocmask(SIG_BLOCK, NULL, &one);
        printf("child: pending %d blocked %d\n", sigismember(&pending, SIGUSR2), sigismember(&one, SIGUSR2));
        fflush(stdout);
        _exit(0);
    }
    print_end("child", pid);

    FAILS(sigaction(SIGKILL, &sa, NULL), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, 10, NULL, NULL, 16), EINVAL);
    FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)16, NULL, 8), EFAULT);
    FAILS(syscall(SYS_rt_sigprocmask, 77, &set, NULL, 8), EINVAL);
    FAILS(kill(getpid(), 65), EINVAL);
    FAILS(kill(0x7ffffff0, 0), ESRCH);
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigprocmask(SIG_BLOCK, NULL, &one);
    printf("KILL and STOP stay open: %d %d\n", sigismember(&one, SIGKILL), sigismember(&one, SIGSTOP));
    sigemptyset(&set);
    calls = 0;
    sigprocmask(SIG_SETMASK, &set, NULL);
    show("last"); /* USR2 was still pending */

    /* All 64, those that libc keeps for itself included. */
    int n = 0;
    for (int sig = 1; sig <= 64; sig++) {
        if (sig == SIGKILL || sig == SIGSTOP) continue;
        /* libc's sigaction refuses 32 and 33; the kernel's structure differs between architectures in its restorer. */
        if (sig == 32 || sig == 33) continue;
        on_signal(sig, count_call, 0);
        calls = 0;
        kill(getpid(), sig);
        n += calls == 1 && order[0] == sig;
    }
    printf("%d signals\n", n);
    return 0;
}
