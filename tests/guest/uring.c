/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring: rings shared with the kernel, events of epoll in the guest's own layout, links, timeouts, signals masks. */
#include "t.h"
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static struct {
    int fd;
    unsigned *sq_head, *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static int ring_new(unsigned entries, unsigned flags) {
    struct io_uring_params p = {.flags = flags};
    ring.fd = (int)syscall(SYS_io_uring_setup, entries, &p);
    if (ring.fd < 0) return -errno;
    size_t size = p.sq_off.array + p.sq_entries * 4, cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    if (cq_size > size) size = cq_size;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
    CHECK(at != MAP_FAILED);
    ring.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
    CHECK(ring.sqes != MAP_FAILED);
    ring.sq_head = (unsigned *)(at + p.sq_off.head);
    ring.sq_tail = (unsigned *)(at + p.sq_off.tail);
    ring.sq_mask = (unsigned *)(at + p.sq_off.ring_mask);
    ring.sq_array = (unsigned *)(at + p.sq_off.array);
    ring.cq_head = (unsigned *)(at + p.cq_off.head);
    ring.cq_tail = (unsigned *)(at + p.cq_off.tail);
    ring.cq_mask = (unsigned *)(at + p.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(at + p.cq_off.cqes);
    return 0;
}

static struct io_uring_sqe *entry(int op, int fd, void *addr, unsigned len, unsigned long off, unsigned long data) {
    unsigned tail = *ring.sq_tail, index = tail & *ring.sq_mask;
    struct io_uring_sqe *s = &ring.sqes[index];
    memset(s, 0, sizeof *s);
    s->opcode = (unsigned char)op;
    s->fd = fd;
    s->addr = (unsigned long)addr;
    s->len = len;
    s->off = off;
    s->user_data = data;
    ring.sq_array[index] = index;
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
    return s;
}

static long enter(unsigned submit, unsigned wait) { return syscall(SYS_io_uring_enter, ring.fd, submit, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 8); }

/* What is done, in the order of user_data. */
static void print_done(const char *what, int count) {
    int res[300] = {0};
    bool have[300] = {false};
    for (int i = 0; i < count; i++) {
        unsigned head = *ring.cq_head;
        while (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) CHECK(enter(0, 1) >= 0);
        struct io_uring_cqe *c = &ring.cqes[head & *ring.cq_mask];
        CHECK(c->user_data < 300);
        res[c->user_data] = c->res;
        have[c->user_data] = true;
        __atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
    }
    printf("%s:", what);
    for (int i = 0; i < 300; i++)
        if (have[i]) printf(" %d=%d", i, res[i]);
    printf("\n");
}

static void files(void) {
    char a[32] = "some text", b[32] = "";
    int fd = memfd_create("x", 0);
    struct iovec io[2] = {{b, 4}, {b + 4, 10}};
    entry(IORING_OP_NOP, -1, NULL, 0, 0, 0);
    entry(IORING_OP_WRITE, fd, a, 10, 0, 1)->flags = IOSQE_IO_LINK;
    entry(IORING_OP_READV, fd, io, 2, 0, 2)->flags = IOSQE_IO_LINK;
    entry(IORING_OP_READ, -5, b, 2, 0, 3);
    entry(IORING_OP_OPENAT, AT_FDCWD, "/dev/null", 0, 0, 4);
    entry(IORING_OP_STATX, AT_FDCWD, "/nonexistent", STATX_SIZE, (unsigned long)a, 5);
    entry(200, 0, NULL, 0, 0, 6);
    CHECK(enter(7, 7) == 7);
    print_done("files", 7);
    printf("read %s\n", b);
}

static void epolls(void) {
    int ep = epoll_create1(0), ev[100];
    struct epoll_event e[100], out[100];
    unsigned first = *ring.sq_tail;
    /* More at once than anybody would translate on a small stack. */
    for (int i = 0; i < 100; i++) {
        ev[i] = eventfd(0, 0);
        e[i] = (struct epoll_event){.events = EPOLLIN, .data.u64 = 0x1122334455660000 + i};
        entry(IORING_OP_EPOLL_CTL, ep, &e[i], EPOLL_CTL_ADD, ev[i], i);
    }
    int left = 100;
    while (left) {
        long n = enter(left, 0);
        CHECK(n > 0);
        left -= (int)n;
    }
    print_done("added", 100);
    for (int i = 0; i < 100; i++) {
        struct io_uring_sqe *s = &ring.sqes[(first + i) & *ring.sq_mask];
        CHECK(s->addr == (unsigned long)&e[i] && s->opcode == IORING_OP_EPOLL_CTL);
    }
    uint64_t one = 1;
    for (int i = 0; i < 100; i += 9) CHECK(write(ev[i], &one, 8) == 8);
    int n = epoll_wait(ep, out, 100, 0);
    unsigned long sum = 0;
    for (int i = 0; i < n; i++) sum += out[i].data.u64 - 0x1122334455660000;
    printf("ready %d, sum %lu, events %#x\n", n, sum, out[0].events);
    e[0].data.u64 = 42;
    entry(IORING_OP_EPOLL_CTL, ep, &e[0], EPOLL_CTL_MOD, ev[0], 0);
    entry(IORING_OP_EPOLL_CTL, ep, NULL, EPOLL_CTL_DEL, ev[9], 1);
    entry(IORING_OP_EPOLL_CTL, ep, (void *)8, EPOLL_CTL_ADD, ev[10], 2);
    entry(IORING_OP_EPOLL_CTL, ep, &e[1], EPOLL_CTL_ADD, ev[1], 3);
    long done = enter(4, 0); /* stops at the bad one */
    while (done < 4) done += enter(4 - done, 0);
    print_done("changed", 4);
    n = epoll_wait(ep, out, 100, 0);
    printf("ready %d\n", n);
}

static volatile int alarms;
static void on_alarm(int sig, siginfo_t *info, void *uc) { alarms++; }

static void waits(void) {
    struct __kernel_timespec ts = {0, 20000000};
    entry(IORING_OP_TIMEOUT, -1, &ts, 1, 0, 1);
    CHECK(enter(1, 1) == 1);
    print_done("timeout", 1);
    int fds[2];
    CHECK(pipe(fds) == 0);
    entry(IORING_OP_POLL_ADD, fds[0], NULL, 0, 0, 2)->poll32_events = 1 /* POLLIN */;
    CHECK(enter(1, 0) == 1);
    CHECK(write(fds[1], "x", 1) == 1);
    print_done("poll", 1);
    on_signal(SIGALRM, on_alarm, 0);
    struct itimerval it = {.it_value = {0, 30000}};
    setitimer(ITIMER_REAL, &it, NULL);
    long r = enter(0, 1);
    printf("interrupted: %ld %d, alarms %d\n", r, errno, alarms);
    /* With the signal blocked but for the wait. */
    sigset_t block, open;
    sigemptyset(&open);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
    struct io_uring_getevents_arg arg = {.sigmask = (unsigned long)&open, .sigmask_sz = 8};
    r = syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof arg);
    printf("opened: %ld %d, alarms %d\n", r, errno, alarms);
}

int main(void) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    struct io_uring_params p = {0};
    int r = ring_new(128, 0);
    if (r == -ENOSYS || r == -EPERM) { /* forbidden on this machine: for the guest, too */
        printf("none here\n");
        return 0;
    }
    CHECK(r == 0);
    FAILS(syscall(SYS_io_uring_setup, 0, &p), EINVAL);
    FAILS(syscall(SYS_io_uring_setup, 4, NULL), EFAULT);
    FAILS(syscall(SYS_io_uring_enter, 0, 1, 0, 0, NULL, 8), EOPNOTSUPP);
    files();
    epolls();
    waits();
    pid_t pid = fork();
    if (pid == 0) {
        epolls();
        fflush(stdout);
        _exit(0);
    }
    print_end("child", pid);
    int number = ring.fd;
    CHECK(syscall(SYS_close_range, number, number, 0) == 0);
    CHECK(ring_new(128, 0) == 0 && ring.fd == number); /* another under the same number */
    epolls();
    CHECK(dup3(1, ring.fd, 0) == ring.fd);
    close(ring.fd);
    CHECK(ring_new(128, 0) == 0 && ring.fd == number);
    epolls();
    int copies[] = {dup(number), fcntl(number, F_DUPFD, 50), dup3(number, 77, O_CLOEXEC)};
    close(number);
    for (int i = 0; i < 3; i++) { /* under other numbers only */
        ring.fd = copies[i];
        epolls();
        close(ring.fd);
    }
    CHECK(ring_new(8, IORING_SETUP_CQSIZE) == -EINVAL);
    CHECK(ring_new(8, 0) == 0);
    files();
    return 0;
}
