/* SPDX-License-Identifier: Apache-2.0 */
/* What siginfo tells about each source of signals, and that the process dies rightly where nobody handles one. */
#include "t.h"

siginfo_t got; /* not static: libc calls its functions leaves, and the compiler would believe that they leave it alone */
static volatile int count;
static sigjmp_buf back;

static void keep(int sig, siginfo_t *info, void *uc) {
    got = *info;
    count++;
}

static void escape(int sig, siginfo_t *info, void *uc) {
    got = *info;
    siglongjmp(back, 1);
}

/* Touch an address and print the signal that comes of it, with the address as an offset. */
static void touch(const char *what, volatile char *p, char *base, bool write) {
    if (sigsetjmp(back, 1) == 0) {
        if (write) *p = 1;
        else (void)*p;
        printf("%s: no signal\n", what);
    } else {
        printf("%s: signal %d code %d errno %d offset %ld\n", what, got.si_signo, got.si_code, got.si_errno,
               (long)((char *)got.si_addr - base));
    }
}

static void child_by_signal(int sig) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        kill(getpid(), sig);
        _exit(50);
    }
    char name[32];
    snprintf(name, sizeof(name), "killed by %d", sig);
    print_end(name, pid);
}

int main(void) {
    on_signal(SIGSEGV, escape, 0);
    on_signal(SIGBUS, escape, 0);
    char *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    mprotect(page + 8192, 4096, PROT_READ);
    touch("unmapped", page + 4096 + 7, page, false);
    touch("unmapped write", page + 4096 + 9, page, true);
    touch("read-only", page + 8192 + 3, page, true);
    touch("readable", page + 8192 + 3, page, false);
    mprotect(page + 8192, 4096, PROT_NONE);
    touch("none", page + 8192 + 4095, page, false);
    touch("null", (char *)5, NULL, false);
    touch("null page", (char *)4000, NULL, true);

    int fd = memfd_create("short", 0);
    ftruncate(fd, 100);
    char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    touch("beyond end", file + 4096 + 11, file, false);
    touch("beyond end write", file + 4096 + 12, file, true);
    touch("inside", file + 200, file, true);
    ftruncate(fd, 0);
    touch("cut off", file + 1, file, false);

    on_signal(SIGUSR1, keep, 0);
    kill(getpid(), SIGUSR1);
    CHECK(count == 1 && got.si_signo == SIGUSR1 && got.si_code == SI_USER && got.si_pid == getpid() && got.si_uid == getuid());
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    CHECK(count == 2 && got.si_code == SI_TKILL && got.si_pid == getpid());
    union sigval value = {.sival_ptr = (void *)0x123456789abcdef0};
    sigqueue(getpid(), SIGUSR1, value);
    CHECK(count == 3 && got.si_code == SI_QUEUE && got.si_value.sival_ptr == value.sival_ptr && got.si_pid == getpid());
    siginfo_t mine = {.si_signo = SIGUSR1, .si_code = -77};
    mine.si_value.sival_int = 99;
    CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &mine) == 0);
    CHECK(count == 4 && got.si_code == -77 && got.si_value.sival_int == 99);
    puts("sent ok");

    on_signal(SIGCHLD, keep, 0);
    count = 0;
    pid_t pid = fork();
    if (pid == 0) _exit(42);
    while (!count) sleep_ms(1);
    CHECK(got.si_signo == SIGCHLD && got.si_pid == pid && got.si_status == 42 && got.si_code == CLD_EXITED);
    print_end("child", pid);
    count = 0;
    pid = fork();
    if (pid == 0) for (;;) pause();
    kill(pid, SIGTERM);
    while (!count) sleep_ms(1);
    CHECK(got.si_pid == pid && got.si_status == SIGTERM && got.si_code == CLD_KILLED);
    print_end("child", pid);
    signal(SIGCHLD, SIG_DFL);

    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 4711};
    on_signal(SIGUSR2, keep, 0);
    count = 0;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec when = {.it_value.tv_nsec = 5000000};
    CHECK(timer_settime(timer, 0, &when, NULL) == 0);
    while (!count) sleep_ms(1);
    CHECK(got.si_code == SI_TIMER && got.si_value.sival_int == 4711 && got.si_overrun == 0);
    timer_delete(timer);

    on_signal(SIGPIPE, keep, 0);
    int ends[2];
    pipe(ends);
    close(ends[0]);
    count = 0;
    FAILS(write(ends[1], "x", 1), EPIPE);
    CHECK(count == 1 && got.si_signo == SIGPIPE);

    on_signal(SIGABRT, escape, 0);
    if (sigsetjmp(back, 1) == 0) abort();
    printf("abort: signal %d\n", got.si_signo);

    static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM, SIGALRM, SIGFPE, SIGTRAP, SIGSYS, SIGXCPU, 34, 64};
    for (int i = 0; i < COUNT(fatal); i++) child_by_signal(fatal[i]);
    static const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    for (int i = 0; i < COUNT(ignored); i++) child_by_signal(ignored[i]);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        *(volatile char *)8 = 1;
    }
    print_end("wild write", pid);
    pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_IGN); /* a fault cannot be ignored */
        *(volatile char *)8 = 1;
    }
    print_end("ignored fault", pid);
    pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        *(volatile char *)8 = 1; /* nor blocked */
    }
    print_end("blocked fault", pid);
    return 0;
}
