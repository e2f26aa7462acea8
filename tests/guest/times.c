/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, sleeps, timers, limits, identity: what may be checked without knowing the machine. */
//: libs: -lrt
#include "t.h"
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>

static volatile int notified;
static void notify(union sigval v) { notified = v.sival_int; }

int main(void) {
    struct timespec a, b, res;
    static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                 CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};
    for (int i = 0; i < COUNT(clocks); i++) {
        CHECK(clock_gettime(clocks[i], &a) == 0 && syscall(SYS_clock_gettime, clocks[i], &b) == 0);
        CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec)); /* vDSO and kernel agree */
        CHECK(b.tv_sec - a.tv_sec <= 2 && a.tv_nsec >= 0 && a.tv_nsec < 1000000000);
        CHECK(clock_getres(clocks[i], &res) == 0 && res.tv_sec == 0);
    }
    FAILS(clock_gettime(12345, &a), EINVAL);
    FAILS(syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)8), EFAULT);
    for (int i = 0; i < 100000; i++) {
        clock_gettime(CLOCK_MONOTONIC, i & 1 ? &a : &b);
        if (i) CHECK(i & 1 ? a.tv_sec * 1000000000l + a.tv_nsec >= b.tv_sec * 1000000000l + b.tv_nsec
                           : b.tv_sec * 1000000000l + b.tv_nsec >= a.tv_sec * 1000000000l + a.tv_nsec);
    }
    struct timeval tv;
    time_t t = time(NULL);
    CHECK(gettimeofday(&tv, NULL) == 0 && tv.tv_sec - t <= 1 && tv.tv_sec >= t);
    double start = now();
    struct timespec ms20 = {0, 20000000};
    CHECK(nanosleep(&ms20, NULL) == 0 && now() - start >= 0.02);
    start = now();
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &ms20, NULL) == 0 && now() - start >= 0.02);
    clock_gettime(CLOCK_MONOTONIC, &a);
    a.tv_nsec += 20000000;
    if (a.tv_nsec >= 1000000000) a.tv_sec++, a.tv_nsec -= 1000000000;
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL) == 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK(b.tv_sec > a.tv_sec || b.tv_nsec >= a.tv_nsec);
    struct timespec bad = {0, -1};
    FAILS(nanosleep(&bad, NULL), EINVAL);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value.sival_int = 5};
    CHECK(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
    struct itimerspec when = {{0, 0}, {0, 1000000}};
    CHECK(timer_settime(timer, 0, &when, NULL) == 0);
    for (int i = 0; i < 2000 && !notified; i++) sleep_ms(1);
    CHECK(notified == 5 && timer_delete(timer) == 0);
    struct rusage u;
    for (volatile long i = 0; i < 30000000; i++) {}
    CHECK(getrusage(RUSAGE_SELF, &u) == 0 && u.ru_utime.tv_sec + u.ru_utime.tv_usec > 0 && u.ru_maxrss > 100);
    struct tms tms;
    CHECK(times(&tms) > 0 && tms.tms_utime >= 0);

    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 64);
    limit.rlim_cur = 64;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
    printf("last descriptor %d errno %d\n", last, errno);
    for (int i = 10; i < 64; i++) close(i);
    struct rlimit stack;
    CHECK(prlimit(0, RLIMIT_STACK, NULL, &stack) == 0 && stack.rlim_cur >= 1 << 16);
    limit.rlim_cur = limit.rlim_max = 5;
    FAILS(setrlimit(99, &limit), EINVAL);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) { /* the guest's own CPU limit kills it */
        struct rlimit cpu = {1, 2}, none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        setrlimit(RLIMIT_CPU, &cpu);
        for (volatile long i = 0;; i++) {}
    }
    print_end("cpu limit", pid);
    pid = fork();
    if (pid == 0) {
        struct rlimit size = {1000, 1000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &size);
        fd = open("big", O_CREAT | O_WRONLY, 0644);
        char block[600] = {0};
        CHECK(write(fd, block, 600) == 600 && write(fd, block, 600) == 400);
        FAILS(write(fd, block, 600), EFBIG);
        _exit(0);
    }
    print_end("file size limit", pid);

    struct utsname uts;
    CHECK(uname(&uts) == 0 && !strcmp(uts.sysname, "Linux") && uts.release[0] >= '4');
#if defined(__riscv)
    CHECK(!strcmp(uts.machine, "riscv64"));
#endif
    struct sysinfo si;
    CHECK(sysinfo(&si) == 0 && si.totalram > 0 && si.procs > 0 && si.mem_unit > 0);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1 && sysconf(_SC_PAGESIZE) == 4096 && getpagesize() == 4096);
    cpu_set_t cpus;
    CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) >= 1 && sched_getcpu() >= 0);
    CHECK(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
    CHECK(sched_getscheduler(0) == SCHED_OTHER && sched_get_priority_max(SCHED_FIFO) == 99 && getpriority(PRIO_PROCESS, 0) < 20);
    struct sched_param param;
    CHECK(sched_getparam(0, &param) == 0 && param.sched_priority == 0 && sched_rr_get_interval(0, &a) == 0);
    CHECK(nice(3) >= 3 && getpriority(PRIO_PROCESS, 0) >= 3);
    char name[17] = {0}, random[64] = {0};
    CHECK(prctl(PR_SET_NAME, "a new name that is long") == 0 && prctl(PR_GET_NAME, name) == 0);
    printf("name %s\n", name);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && prctl(PR_GET_DUMPABLE) >= 0);
    FAILS(prctl(987654), EINVAL);
    CHECK(getrandom(random, 64, 0) == 64 && memcmp(random, random + 32, 32));
    gid_t groups[100];
    uid_t r, e, s;
    CHECK(getgroups(100, groups) >= 0 && getresuid(&r, &e, &s) == 0 && r == getuid() && e == geteuid());
    CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_UID) == getuid() && getauxval(AT_CLKTCK) == 100 && getauxval(AT_SECURE) == 0);
    CHECK(syscall(SYS_membarrier, 0, 0, 0) >= 0);
    FAILS(syscall(1999, 1, 2, 3), ENOSYS);
    puts("done");
    return 0;
}
