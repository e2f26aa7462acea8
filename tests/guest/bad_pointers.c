/* SPDX-License-Identifier: Apache-2.0 */
/* Bad pointers in system calls are EFAULT, never a fault; so are structures that end on a page that is not there. */
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>

#define BAD ((void *)8)
static void *bads[4];

/* Each call with each bad pointer in the place of BAD. */
#define EACH(call)                                                                                                    \
    for (int i = 0; i < COUNT(bads); i++) {                                                                           \
        void *bad = bads[i];                                                                                          \
        errno = 0;                                                                                                    \
        long result = (call);                                                                                         \
        if (result != -1 || errno != EFAULT) printf("%s pointer %d: %ld errno %d\n", #call, i, result, errno);        \
    }

int main(void) {
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    bads[0] = (void *)8;
    bads[1] = page + 4096;
    bads[2] = (void *)0x7ffffffff000; /* outside what a guest can have, perhaps ours */
    bads[3] = (void *)0xfffffffffffff000;
    int fd = open("f", O_CREAT | O_RDWR, 0644), p[2], sv[2];
    write(fd, "some text that is long enough", 29);
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
    write(p[1], "x", 1);
    write(sv[0], "x", 1);
    struct iovec iov = {0};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    int ep = epoll_create1(0);
    EACH(syscall(SYS_openat, AT_FDCWD, bad, O_RDONLY, 0))
    EACH(syscall(SYS_pread64, fd, bad, 5, 0))
    EACH(syscall(SYS_pwrite64, fd, bad, 5, 0))
    EACH(syscall(SYS_read, p[0], bad, 1))
    EACH(syscall(SYS_write, p[1], bad, 1))
    EACH(syscall(SYS_preadv, fd, bad, 1, 0, 0))
    EACH(syscall(SYS_writev, fd, bad, 1))
    EACH((iov = (struct iovec){bad, 5}, syscall(SYS_preadv, fd, &iov, 1, 0, 0)))
    EACH(syscall(SYS_pipe2, bad, 0))
    EACH(syscall(SYS_newfstatat, AT_FDCWD, bad, page, 0))
    EACH(syscall(SYS_newfstatat, AT_FDCWD, "f", bad, 0))
    EACH(syscall(SYS_fstat, fd, bad))
    EACH(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, bad))
    EACH(syscall(SYS_statfs, "f", bad))
    EACH(syscall(SYS_getcwd, bad, 1000))
    EACH(syscall(SYS_mkdirat, AT_FDCWD, bad, 0755))
    EACH(syscall(SYS_unlinkat, AT_FDCWD, bad, 0))
    EACH(syscall(SYS_symlinkat, bad, AT_FDCWD, "new"))
    EACH(syscall(SYS_linkat, AT_FDCWD, "f", AT_FDCWD, bad, 0))
    EACH(syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", bad, 10))
    EACH(syscall(SYS_chdir, bad))
    EACH(syscall(SYS_faccessat, AT_FDCWD, bad, R_OK))
    EACH(syscall(SYS_truncate, bad, 5))
    EACH(syscall(SYS_utimensat, AT_FDCWD, "f", bad, 0))
    EACH(syscall(SYS_getdents64, open(".", O_RDONLY), bad, 1000))
    EACH(syscall(SYS_uname, bad))
    EACH(syscall(SYS_sysinfo, bad))
    EACH(syscall(SYS_getrusage, 0, bad))
    EACH(syscall(SYS_times, bad))
    EACH(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, bad))
    EACH(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, bad, NULL))
    EACH(syscall(SYS_getrandom, bad, 16, 0))
    EACH(syscall(SYS_gettimeofday, bad, NULL))
    EACH(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad))
    EACH(syscall(SYS_clock_getres, CLOCK_MONOTONIC, bad))
    EACH(syscall(SYS_nanosleep, bad, NULL))
    EACH(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, bad, NULL))
    EACH(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8))
    EACH(syscall(SYS_rt_sigaction, SIGUSR1, NULL, bad, 8))
    EACH(syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, 8))
    EACH(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, bad, 8))
    EACH(syscall(SYS_rt_sigpending, bad, 8))
    EACH(syscall(SYS_rt_sigtimedwait, bad, NULL, NULL, 8))
    EACH(syscall(SYS_sigaltstack, bad, NULL))
    EACH(syscall(SYS_sigaltstack, NULL, bad))
    EACH(syscall(SYS_futex, bad, 0, 0, NULL, NULL, 0))
    EACH(syscall(SYS_ppoll, bad, 1, NULL, NULL, 0))
    EACH(syscall(SYS_pselect6, 5, bad, NULL, NULL, NULL, NULL))
    EACH(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, p[0], bad))
    EACH(syscall(SYS_bind, sv[0], bad, 10))
    EACH(syscall(SYS_getsockname, sv[0], bad, bad))
    EACH(syscall(SYS_getsockopt, sv[0], SOL_SOCKET, SO_TYPE, bad, bad))
    EACH(syscall(SYS_setsockopt, sv[0], SOL_SOCKET, SO_RCVBUF, bad, 4))
    EACH(syscall(SYS_sendmsg, sv[0], bad, 0))
    EACH((m.msg_iov = bad, syscall(SYS_sendmsg, sv[0], &m, 0)))
    EACH(syscall(SYS_recvmsg, sv[1], bad, MSG_DONTWAIT))
    EACH(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, bad))
    EACH(syscall(SYS_execve, bad, NULL, NULL))
    EACH(syscall(SYS_sched_getaffinity, 0, 128, bad))
    EACH(syscall(SYS_getresuid, bad, bad, bad))
    EACH(syscall(SYS_capget, bad, NULL))
    EACH(syscall(SYS_getitimer, 0, bad))
    EACH(syscall(SYS_timer_create, CLOCK_MONOTONIC, bad, bad))
    EACH(syscall(SYS_prctl, 16 /* GET_NAME */, bad, 0, 0, 0))
    EACH(syscall(SYS_memfd_create, bad, 0))
    EACH(syscall(SYS_mincore, page, 4096, bad))
    EACH(syscall(SYS_clone3, bad, 88))

    /* Reads that end in the middle: as much as fits, or EFAULT, by the call. */
    printf("read over the edge %ld\n", (long)pread(fd, page + 4096 - 10, 29, 0));
    strcpy(page + 4096 - 5, "long");
    int opened = open(page + 4096 - 5, O_RDONLY);
    printf("path at the edge %d %d\n", opened, errno);
    memset(page + 4096 - 4, 'x', 4);
    opened = open(page + 4096 - 4, O_RDONLY);
    printf("path over the edge %d %d\n", opened, errno);
    mprotect(page, 4096, PROT_READ);
    FAILS(pread(fd, page, 5, 0), EFAULT);
    FAILS(syscall(SYS_fstat, fd, page), EFAULT);
    return 0;
}
