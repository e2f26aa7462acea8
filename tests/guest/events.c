/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for events: poll, select, epoll, eventfd, timerfd, signalfd, inotify. */
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static volatile int alarms;
static void on_alarm(int sig, siginfo_t *info, void *uc) { alarms++; }

int main(void) {
    int p[2], q[2];
    CHECK(pipe(p) == 0 && pipe(q) == 0);
    struct pollfd fds[3] = {{p[0], POLLIN, 0}, {q[1], POLLOUT, 0}, {-1, POLLIN, 77}};
    int ready = poll(fds, 3, 0);
    printf("poll %d: %x %x %x\n", ready, fds[0].revents, fds[1].revents, fds[2].revents);
    CHECK(write(p[1], "x", 1) == 1);
    ready = poll(fds, 2, -1);
    printf("poll %d: %x %x\n", ready, fds[0].revents, fds[1].revents);
    close(q[0]);
    fds[0].fd = 555;
    ready = poll(fds, 2, -1);
    printf("poll %d: %x %x\n", ready, fds[0].revents, fds[1].revents);
    FAILS(poll((struct pollfd *)8, 3, 0), EFAULT);
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    struct timeval tv = {0, 0};
    CHECK(select(p[1] + 1, &r, &w, NULL, &tv) == 2 && FD_ISSET(p[0], &r));
    char c;
    read(p[0], &c, 1);
    tv.tv_usec = 20000;
    double start = now();
    CHECK(select(p[0] + 1, &r, NULL, NULL, &tv) == 0 && !FD_ISSET(p[0], &r) && now() - start > 0.019);
    CHECK(tv.tv_sec == 0 && tv.tv_usec == 0);

    sigset_t set, empty;
    sigemptyset(&set);
    sigemptyset(&empty);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    on_signal(SIGALRM, on_alarm, SA_RESTART);
    struct itimerval it = {{0, 0}, {0, 10000}};
    setitimer(ITIMER_REAL, &it, NULL);
    struct timespec ts = {5, 0};
    FAILS(ppoll(NULL, 0, &ts, &empty), EINTR);
    setitimer(ITIMER_REAL, &it, NULL);
    FAILS(pselect(0, NULL, NULL, NULL, &ts, &empty), EINTR);
    printf("alarms %d\n", alarms);
    raise(SIGALRM);
    CHECK(alarms == 2);

    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {EPOLLIN, {.u64 = 0x123456789abcdef0}}, got[4];
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) == 0);
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), EEXIST);
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, 555, &ev), EBADF);
    FAILS(epoll_ctl(ep, 9, p[0], &ev), EINVAL);
    CHECK(epoll_wait(ep, got, 4, 0) == 0);
    write(p[1], "y", 1);
    CHECK(epoll_wait(ep, got, 4, -1) == 1 && got[0].data.u64 == 0x123456789abcdef0 && got[0].events == EPOLLIN);
    ev.events = EPOLLIN | EPOLLET | EPOLLONESHOT;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev) == 0);
    int second = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
    ev.events = EPOLLIN | EPOLLOUT;
    ev.data.u64 = 2;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, second, &ev) == 0);
    CHECK(epoll_wait(ep, got, 4, 100) == 2);
    printf("epoll %lx:%x %lx:%x\n", (long)got[0].data.u64, got[0].events, (long)got[1].data.u64, got[1].events);
    CHECK(epoll_wait(ep, got, 4, 0) == 1 && got[0].data.u64 == 2);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
    epoll_ctl(ep, EPOLL_CTL_DEL, second, NULL);
    FAILS(epoll_wait(ep, got, 4, 5000), EINTR);
    FAILS(epoll_wait(ep, got, 0, 0), EINVAL);

    uint64_t n = 3;
    CHECK(write(second, &n, 8) == 8);
    CHECK(read(second, &n, 8) == 8 && n == 1 && read(second, &n, 8) == 8 && read(second, &n, 8) == 8);
    FAILS(read(second, &n, 8), EAGAIN);
    FAILS(read(second, &n, 4), EINVAL);

    int tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec when = {{0, 2000000}, {0, 1000000}}, left;
    FAILS(read(tfd, &n, 8), EAGAIN);
    CHECK(timerfd_settime(tfd, 0, &when, NULL) == 0);
    sleep_ms(30);
    CHECK(read(tfd, &n, 8) == 8 && n >= 5);
    CHECK(timerfd_gettime(tfd, &left) == 0 && left.it_interval.tv_nsec == 2000000);

    sigprocmask(SIG_BLOCK, &set, NULL);
    int sfd = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo si;
    FAILS(read(sfd, &si, sizeof(si)), EAGAIN);
    union sigval v = {.sival_int = 66};
    sigqueue(getpid(), SIGALRM, v);
    CHECK(read(sfd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGALRM && si.ssi_int == 66 && si.ssi_pid == getpid());
    sigaddset(&set, SIGUSR1);
    CHECK(signalfd(sfd, &set, 0) == sfd);

    int in = inotify_init1(IN_NONBLOCK);
    if (in < 0) return puts("no inotify"), 0;
    int watch = inotify_add_watch(in, ".", IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE);
    close(open("f", O_CREAT | O_WRONLY, 0644));
    rename("f", "g");
    unlink("g");
    char buffer[1000];
    ssize_t len = read(in, buffer, sizeof(buffer));
    for (char *at = buffer; at < buffer + len;) {
        struct inotify_event *e = (struct inotify_event *)at;
        printf("inotify %d mask %x name %s paired %d\n", e->wd == watch, e->mask, e->name, e->cookie != 0);
        at += sizeof(*e) + e->len;
    }
    CHECK(inotify_rm_watch(in, watch) == 0);
    puts("done");
    return 0;
}
