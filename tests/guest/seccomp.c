/* SPDX-License-Identifier: Apache-2.0 */
/* Seccomp: filters that see the guest's calls, every action, inheritance, threads, tracers, supervisors. */
#include "t.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#if defined(__riscv)
enum { ARCH = AUDIT_ARCH_RISCV64 };
#else
enum { ARCH = AUDIT_ARCH_X86_64 };
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(v) BPF_STMT(BPF_RET | BPF_K, (v))
#define IF_CALL(nr, v) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), RETURN(v)

static long install(unsigned flags, struct sock_filter *code, int len) {
    struct sock_fprog prog = {(unsigned short)len, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}
#define INSTALL(flags, ...) install((flags), (struct sock_filter[]){__VA_ARGS__}, COUNT(((struct sock_filter[]){__VA_ARGS__})))

static void bad_filters(void) {
    struct sock_filter ok[] = {RETURN(SECCOMP_RET_ALLOW)};
    FAILS(install(0, ok, 0), EINVAL);
    FAILS(install(0, ok, 5000), EINVAL);
    FAILS(install(0, NULL, 2), EINVAL);
    FAILS(install(0, (void *)8, 2), EFAULT);
    FAILS(install(1 << 20, ok, 1), EINVAL);
    FAILS(INSTALL(0, LOAD(nr)), EINVAL);
    FAILS(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), RETURN(0)), EINVAL);
    FAILS(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), RETURN(0)), EINVAL);
    FAILS(INSTALL(0, BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), RETURN(0)), EINVAL);
    FAILS(INSTALL(0, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 3, 0), RETURN(0)), EINVAL);
    FAILS(INSTALL(0, BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), RETURN(0)), EINVAL);
    FAILS(INSTALL(0, BPF_STMT(BPF_STX, 16), RETURN(0)), EINVAL);
    FAILS(syscall(SYS_seccomp, 77, 0, 0), EINVAL);
    unsigned action = SECCOMP_RET_TRAP, unknown = 0x12340000;
    CHECK(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
    FAILS(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown), EOPNOTSUPP);
    struct seccomp_notif_sizes sizes;
    CHECK(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0);
    printf("mode %d, sizes %d %d %d\n", prctl(PR_GET_SECCOMP), sizes.seccomp_notif, sizes.seccomp_notif_resp, sizes.seccomp_data);
}

/* Every operation of the language, on numbers that the kernel's own interpreter has to agree with. */
static void arithmetic(void) {
    for (int round = 0; round < 40; round++) {
        static const int ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_AND, BPF_OR, BPF_XOR, BPF_LSH, BPF_RSH, BPF_DIV};
        int op = ops[round % COUNT(ops)];
        unsigned k = op == BPF_LSH || op == BPF_RSH ? round % 31 : 0x9e3779b9u * (round + 1) | 1;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) { /* the result's low bits come back as an errno */
            CHECK(INSTALL(0, LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0), RETURN(SECCOMP_RET_ALLOW), LOAD(args[1]),
                          BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_ALU | op | BPF_K, k), BPF_STMT(BPF_MISC | BPF_TAX, 0),
                          BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_ALU | BPF_NEG, 0), BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
                          BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x7ff), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x400, 1, 0),
                          BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 0x40), BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
                          BPF_STMT(BPF_RET | BPF_A, 0)) == 0);
            errno = 0;
            long r = syscall(SYS_getppid, 1, 0x12345678u + round * 77777);
            printf("op %#x: %ld %d\n", op, r, errno);
            fflush(stdout);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

static void errors(void) {
    CHECK(INSTALL(0, LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS), LOAD(nr),
                  IF_CALL(SYS_getppid, SECCOMP_RET_ERRNO | 77), IF_CALL(SYS_getuid, SECCOMP_RET_ERRNO | 5000), IF_CALL(SYS_getgid, SECCOMP_RET_ERRNO),
                  IF_CALL(SYS_getpgid, SECCOMP_RET_LOG), RETURN(SECCOMP_RET_ALLOW)) == 0);
    FAILS(syscall(SYS_getppid), 77);
    FAILS(syscall(SYS_getuid), 4095);
    printf("getgid %ld, mode %d\n", syscall(SYS_getgid), prctl(PR_GET_SECCOMP));
    CHECK(syscall(SYS_getpgid, 0) > 0);
    /* A later filter can only be stricter. */
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_ALLOW), IF_CALL(SYS_getpgid, SECCOMP_RET_ERRNO | 3), RETURN(SECCOMP_RET_ALLOW)) == 0);
    FAILS(syscall(SYS_getppid), 77);
    FAILS(syscall(SYS_getpgid, 0), 3);
    pid_t pid = fork();
    if (pid == 0) _exit(syscall(SYS_getpgid, 0) == -1 && errno == 3 ? 8 : 9);
    print_end("inherited", pid);
}

static void arguments(void) {
    CHECK(INSTALL(0, LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_lseek, 0, 5), LOAD(args[0]),
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xfffffffb, 0, 3), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]) + 4),
                  BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0x10, 0, 1), RETURN(SECCOMP_RET_ERRNO | 61), RETURN(SECCOMP_RET_ALLOW)) == 0);
    FAILS(lseek(-5, 0x1100000000, 0), 61);
    FAILS(lseek(-5, 0x0f00000000, 0), EBADF);
    FAILS(lseek(-6, 0x1100000000, 0), EBADF);
}

static volatile int got_nr, got_data, got_arch, got_code;
static void on_sys(int sig, siginfo_t *info, void *uc_) {
    ucontext_t *uc = uc_;
    got_nr = info->si_syscall;
    got_data = info->si_errno;
    got_arch = info->si_arch == ARCH;
    got_code = info->si_code;
#if defined(__riscv)
    uc->uc_mcontext.__gregs[REG_A0] = 1234;
    CHECK((unsigned long)info->si_call_addr == UC_PC(uc));
#else
    uc->uc_mcontext.gregs[REG_RAX] = 1234;
    CHECK((unsigned long)info->si_call_addr == (unsigned long)UC_PC(uc));
#endif
}

static void traps(void) {
    on_signal(SIGSYS, on_sys, 0);
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_TRAP | 55), RETURN(SECCOMP_RET_ALLOW)) == 0);
    long r = syscall(SYS_getppid);
    printf("trapped: result %ld data %d arch %d code %d getppid %d\n", r, got_data, got_arch, got_code, got_nr == SYS_getppid);
}

static void trap_blocked(void) {
    on_signal(SIGSYS, on_sys, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    sigprocmask(SIG_BLOCK, &set, NULL);
    traps();
}

static void killed(void) {
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW)) == 0);
    syscall(SYS_getppid);
}

static void *forbidden(void *arg) { return (void *)syscall(SYS_getppid); }
static void thread_killed(void) {
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_KILL_THREAD), RETURN(SECCOMP_RET_ALLOW)) == 0);
    pthread_t t;
    pthread_create(&t, NULL, forbidden, NULL);
    while (pthread_tryjoin_np(t, NULL) == EBUSY) sleep_ms(1); /* the kernel clears its number */
    printf("the process lives\n");
}

static void strict(void) {
    FAILS(prctl(PR_SET_SECCOMP, 7, 0, 0, 0), EINVAL);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0);
    CHECK(write(1, "strict\n", 7) == 7);
    syscall(SYS_getpid);
    write(1, "not reached\n", 12);
}
static void strict_exit(void) {
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0);
    syscall(SYS_exit, 6);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

static volatile int stage;
static void *follower(void *arg) {
    while (stage == 0) sched_yield();
    return (void *)(syscall(SYS_getppid) == -1 && errno == 42 ? 1L : 2L);
}

static void together(void) {
    pthread_t t[3];
    for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, follower, NULL);
    CHECK(INSTALL(SECCOMP_FILTER_FLAG_TSYNC, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_ERRNO | 42), RETURN(SECCOMP_RET_ALLOW)) == 0);
    stage = 1;
    for (int i = 0; i < 3; i++) {
        void *r;
        pthread_join(t[i], &r);
        printf("thread %d: %ld\n", i, (long)r);
    }
}

static volatile pid_t stray_tid;
static const char *const modes[] = {"Seccomp", "Seccomp_filters", "NoNewPrivs", "TracerPid", "Threads", NULL};
static void *stray(void *arg) {
    CHECK(INSTALL(0, RETURN(SECCOMP_RET_ALLOW)) == 0);
    print_status("/proc/thread-self/status", modes);
    stray_tid = (pid_t)syscall(SYS_gettid);
    while (stage == 0) sched_yield();
    return NULL;
}
static void apart(void) {
    pthread_t t;
    pthread_create(&t, NULL, stray, NULL);
    while (!stray_tid) sched_yield();
    long r = INSTALL(SECCOMP_FILTER_FLAG_TSYNC, RETURN(SECCOMP_RET_ALLOW));
    printf("in the way: %d, mode %d\n", r == stray_tid, prctl(PR_GET_SECCOMP));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", stray_tid);
    print_status("/proc/self/status", modes);
    print_status(path, modes);
    stage = 1;
    pthread_join(t, NULL);
}

/* --- tracers and supervisors ---------------------------------------------------------------------------------------- */

static long trace(long request, pid_t pid, unsigned long addr, unsigned long data) { return syscall(SYS_ptrace, request, pid, addr, data); }

static void no_tracer(void) {
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_TRACE | 9), RETURN(SECCOMP_RET_ALLOW)) == 0);
    FAILS(syscall(SYS_getppid), ENOSYS);
}

static void with_tracer(void) {
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(trace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGSTOP);
        CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getpgid, SECCOMP_RET_TRACE | 9), RETURN(SECCOMP_RET_ALLOW)) == 0);
        _exit(syscall(SYS_getpgid, 0) > 0 ? 11 : 12);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP) == 0);
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == 0);
    waitpid(pid, &status, 0);
    unsigned long message = 0;
    struct ptrace_syscall_info info;
    CHECK(trace(PTRACE_GETEVENTMSG, pid, 0, (unsigned long)&message) == 0);
    CHECK(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (unsigned long)&info) > 0);
    printf("event %d message %ld op %d getpgid %d data %d\n", status >> 16, (long)message, info.op, info.seccomp.nr == SYS_getpgid, (int)info.seccomp.ret_data);
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == 0);
    print_end("traced", pid);
}

static void supervise(void) {
    int sockets[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        long fd = INSTALL(SECCOMP_FILTER_FLAG_NEW_LISTENER, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_USER_NOTIF), RETURN(SECCOMP_RET_ALLOW));
        CHECK(fd >= 0);
        char c = 0, control[CMSG_SPACE(sizeof(int))];
        struct iovec io = {&c, 1};
        struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &(int){(int)fd}, sizeof(int));
        CHECK(sendmsg(sockets[1], &m, 0) == 1);
        long a = syscall(SYS_getppid, 5, 6);
        long b = syscall(SYS_getppid, 7, 8);
        int error = errno;
        long d = syscall(SYS_getppid);
        printf("supervised: %ld, %ld %d, %d\n", a, b, error, d == getppid());
        fflush(stdout);
        _exit(0);
    }
    char c, control[CMSG_SPACE(sizeof(int))];
    struct iovec io = {&c, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK(recvmsg(sockets[0], &m, 0) == 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    for (int i = 0; i < 4; i++) {
        struct seccomp_notif n = {0};
        CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &n) == 0);
        CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &n.id) == 0);
        printf("notified: pid %d nr %d arch %d args %d %d\n", (pid_t)n.pid == pid, n.data.nr == SYS_getppid, n.data.arch == ARCH, i < 2 ? (int)n.data.args[0] : 0, i < 2 ? (int)n.data.args[1] : 0);
        struct seccomp_notif_resp r = {.id = n.id, .val = i == 0 ? 4321 : 0, .error = i == 1 ? -EXDEV : 0, .flags = i >= 2 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
        CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r) == 0);
    }
    print_end("supervisee", pid);
}

/* --- execve --------------------------------------------------------------------------------------------------------------- */

static char self[PATH_MAX];
static void over_exec(void) {
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getppid, SECCOMP_RET_ERRNO | 33), RETURN(SECCOMP_RET_ALLOW)) == 0);
    CHECK(INSTALL(0, LOAD(nr), IF_CALL(SYS_getpgid, SECCOMP_RET_ERRNO | 34), RETURN(SECCOMP_RET_ALLOW)) == 0);
    execl(self, self, "executed", NULL);
}

static int executed(void) {
    FAILS(syscall(SYS_getppid), 33);
    FAILS(syscall(SYS_getpgid, 0), 34);
    printf("after execve: mode %d, first free descriptor %d\n", prctl(PR_GET_SECCOMP), dup(0));
    print_status("/proc/self/status", modes);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return executed();
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    in_child("bad filters", bad_filters);
    in_child("arithmetic", arithmetic);
    in_child("errors", errors);
    in_child("arguments", arguments);
    in_child("traps", traps);
    in_child("blocked trap", trap_blocked);
    in_child("kill", killed);
    in_child("kill thread", thread_killed);
    in_child("strict", strict);
    in_child("strict exit", strict_exit);
    in_child("tsync", together);
    in_child("tsync refused", apart);
    in_child("no tracer", no_tracer);
    in_child("tracer", with_tracer);
    in_child("supervisor", supervise);
    in_child("exec", over_exec);
    return 0;
}
