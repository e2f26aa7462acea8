/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that programs try first and fall back from: what they do here is what they do on the host. */
#include "t.h"
#include <linux/futex.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sys/epoll.h>
#include <sys/uio.h>

static void opening(void) {
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how);
    CHECK(fd >= 0);
    how.resolve = RESOLVE_BENEATH;
    FAILS(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how), EXDEV);
    struct {
        struct open_how how;
        long more;
    } larger = {.how = {.flags = O_RDONLY}, .more = 1};
    FAILS(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &larger, sizeof larger), E2BIG);
    FAILS(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, 4), EINVAL);
    FAILS(syscall(SYS_openat2, AT_FDCWD, (char *)8, &how, sizeof how), EFAULT);
    CHECK(syscall(SYS_faccessat2, AT_FDCWD, "/etc/passwd", R_OK, AT_EACCESS) == 0);
    FAILS(syscall(SYS_faccessat2, AT_FDCWD, "/etc/passwd", R_OK, 1 << 20), EINVAL);
    FAILS(syscall(SYS_faccessat2, AT_FDCWD, "/etc/passwd/x", R_OK, 0), ENOTDIR);
    close(fd);
}

static void ranges(void) {
    int a = dup(0), b = fcntl(0, F_DUPFD, 200), c = fcntl(0, F_DUPFD, 700);
    CHECK(a >= 0 && b == 200 && c >= 700);
    CHECK(syscall(SYS_close_range, 200, 300, CLOSE_RANGE_CLOEXEC) == 0);
    printf("cloexec %d %d\n", fcntl(b, F_GETFD), fcntl(c, F_GETFD));
    CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0); /* everything, the translator's own left alone */
    FAILS(fcntl(b, F_GETFD), EBADF);
    FAILS(fcntl(c, F_GETFD), EBADF);
    FAILS(syscall(SYS_close_range, 5, 4, 0), EINVAL);
    FAILS(syscall(SYS_close_range, 3, 4, 128), EINVAL);
    printf("first free %d\n", dup(0));
    pid_t pid = fork();
    if (pid == 0) _exit(execl("/proc/self/exe", "again", "exec", NULL));
    print_end("can still execute", pid);
}

static void processes(void) {
    int fds[2];
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(fds[1]);
        while (read(fds[0], &c, 1) < 0) {}
        _exit(5);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK(pidfd >= 0);
    int theirs = (int)syscall(SYS_pidfd_getfd, pidfd, fds[0], 0);
    CHECK(theirs >= 0 && theirs != fds[0]);
    char page[4096];
    struct iovec io = {(void *)((unsigned long)page & -4096ul), 4096};
    CHECK(syscall(SYS_process_madvise, pidfd, &io, 1, MADV_COLD, 0) == 4096);
    FAILS(syscall(SYS_process_madvise, pidfd, &io, 1, 9999, 0), EINVAL);
    CHECK(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0);
    close(fds[1]);
    siginfo_t info;
    CHECK(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) == 0);
    printf("ended %d %d\n", info.si_code == CLD_EXITED, info.si_status);
    FAILS(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0), ESRCH);
}

static void scheduling(void) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util[2];
    } a = {0};
    CHECK(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) == 0);
    printf("policy %u nice %d\n", a.policy, a.nice);
    a.nice = 3;
    CHECK(syscall(SYS_sched_setattr, 0, &a, 0) == 0);
    printf("nice %d, policy %d, max %d\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0), sched_get_priority_max(SCHED_FIFO));
    FAILS(syscall(SYS_sched_setattr, 0, NULL, 0), EINVAL);
}

static uint32_t words[3];
static void *waker(void *arg) {
    sleep_ms(20);
    __atomic_store_n(&words[1], 1, __ATOMIC_SEQ_CST);
    for (long woken = 0; woken == 0; sched_yield()) woken = syscall(SYS_futex, &words[1], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
    return NULL;
}

static void futexes(void) {
    struct futex_waitv w[3];
    memset(w, 0, sizeof w);
    for (int i = 0; i < 3; i++) w[i] = (struct futex_waitv){.uaddr = (unsigned long)&words[i], .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    pthread_t t;
    pthread_create(&t, NULL, waker, NULL);
    printf("woken at %ld\n", syscall(SYS_futex_waitv, w, 3, 0, NULL, 0));
    pthread_join(t, NULL);
    FAILS(syscall(SYS_futex_waitv, w, 3, 0, NULL, 0), EAGAIN);
    FAILS(syscall(SYS_futex_waitv, w, 0, 0, NULL, 0), EINVAL);
    FAILS(syscall(SYS_futex_waitv, 8, 3, 0, NULL, 0), EFAULT);
}

static void memory(void) {
    char *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char in[4];
    CHECK(madvise(p, 16384, 23 /* MADV_POPULATE_WRITE */) == 0 && mincore(p, 16384, in) == 0);
    printf("populated %d%d%d%d\n", in[0] & 1, in[1] & 1, in[2] & 1, in[3] & 1);
    memset(p, 7, 16384);
    CHECK(madvise(p, 4096, MADV_DONTNEED) == 0);
    printf("zero %d, kept %d\n", p[0], p[4096]);
    FAILS(madvise(NULL, 8, MADV_NORMAL), ENOMEM);
    FAILS(madvise(p, 4096, 9999), EINVAL);
    int fd = memfd_create("m", MFD_ALLOW_SEALING);
    CHECK(ftruncate(fd, 8192) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) == 0);
    FAILS(ftruncate(fd, 0), EPERM);
    FAILS(write(fd, "x", 1), EPERM);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
    CHECK(syscall(SYS_membarrier, 0 /* QUERY */, 0, 0) > 0);
}

static void mounts(void) {
    struct mount_attr attr = {.attr_set = 1};
    FAILS(syscall(SYS_mount_setattr, -1, "/nonexistent", 0, &attr, sizeof attr), geteuid() ? EPERM : ENOENT);
    FAILS(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, 4), EINVAL);
    FAILS(syscall(SYS_renameat2, AT_FDCWD, "/nonexistent", AT_FDCWD, "/nonexistent2", 1 << 10), EINVAL);
    FAILS(syscall(SYS_renameat2, AT_FDCWD, "/nonexistent", AT_FDCWD, "/nonexistent2", 1), ENOENT);
    FAILS(syscall(SYS_bpf, 9999, NULL, 0), geteuid() ? EPERM : EINVAL);
    FAILS(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0), EFAULT);
    FAILS(syscall(9999), ENOSYS);
}

int main(int argc, char **argv) {
    if (argc > 1) return 17;
    opening();
    ranges();
    processes();
    scheduling();
    futexes();
    memory();
    mounts();
    return 0;
}
