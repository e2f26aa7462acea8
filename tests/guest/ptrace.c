/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ptrace: what a tracer sees of its tracees: signals, system calls, events, registers, memory, attaching and letting go.
 */
//: skip: lockstep memory that another process changes is not the same to look at twice
#include "t.h"
#include <elf.h>
#include <linux/ptrace.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/uio.h>

static long trace(long request, pid_t pid, unsigned long addr, unsigned long data) { return syscall(SYS_ptrace, request, pid, addr, data); }

/* --- registers, on the guest and on its oracle ---------------------------------------------------------------- */

#if defined(__riscv)
enum { REGS = 32, PC_REG = 0, RESULT_REG = 10, ARG_REG = 10, BREAK_SIZE = 0 };
static const unsigned BREAK = 0x00100073, BREAK_MASK = 0xffffffff;
#else
enum { REGS = 27, PC_REG = 16, RESULT_REG = 10, ARG_REG = 14, BREAK_SIZE = 1 };
static const unsigned BREAK = 0xcc, BREAK_MASK = 0xff;
#endif

static void regs_get(pid_t pid, unsigned long regs[REGS]) {
    struct iovec io = {regs, REGS * 8};
    CHECK(trace(PTRACE_GETREGSET, pid, NT_PRSTATUS, (unsigned long)&io) == 0);
    CHECK(io.iov_len == REGS * 8);
}
static void regs_set(pid_t pid, unsigned long regs[REGS]) {
    struct iovec io = {regs, REGS * 8};
    CHECK(trace(PTRACE_SETREGSET, pid, NT_PRSTATUS, (unsigned long)&io) == 0);
}

/* --- telling -------------------------------------------------------------------------------------------------- */

static const char *status_text(int status) {
    static char buf[80];
    if (WIFEXITED(status)) snprintf(buf, sizeof buf, "exit %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) snprintf(buf, sizeof buf, "killed by %d", WTERMSIG(status));
    else if (WIFSTOPPED(status)) snprintf(buf, sizeof buf, "stop %#x event %d", WSTOPSIG(status), status >> 16);
    else snprintf(buf, sizeof buf, "continued");
    return buf;
}

static int wait_for(pid_t pid, const char *what) {
    int status;
    CHECK(waitpid(pid, &status, __WALL) == pid);
    printf("%s: %s\n", what, status_text(status));
    return status;
}

static void go(pid_t pid, long request, int sig) { CHECK(trace(request, pid, 0, sig) == 0); }

static pid_t start(void (*child)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(trace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGSTOP);
        child();
        fflush(stdout);
        _exit(0);
    }
    wait_for(pid, "first");
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
    return pid;
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

static volatile int seen[65];
static void note(int sig, siginfo_t *info, void *uc) { seen[sig]++; }

static void send_signals(void) {
    on_signal(SIGUSR1, note, 0);
    on_signal(SIGUSR2, note, 0);
    signal(SIGHUP, SIG_IGN);
    raise(SIGUSR1); /* delivered */
    raise(SIGUSR1); /* suppressed */
    raise(SIGUSR1); /* changed into SIGUSR2 */
    raise(SIGHUP);  /* ignored, yet the tracer sees it */
    raise(SIGCHLD);
    raise(SIGTERM); /* suppressed */
    union sigval v = {.sival_int = 77};
    sigqueue(getpid(), SIGRTMIN + 3, v); /* suppressed */
    _exit(seen[SIGUSR1] * 10 + seen[SIGUSR2]);
}

static void test_signals(void) {
    pid_t pid = start(send_signals);
    const int answers[] = {SIGUSR1, 0, SIGUSR2, SIGHUP, SIGCHLD, 0, 0};
    go(pid, PTRACE_CONT, 0);
    for (int i = 0; i < COUNT(answers); i++) {
        siginfo_t info;
        wait_for(pid, "signal");
        CHECK(trace(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info) == 0);
        printf("  signo %d code %d value %d\n", info.si_signo, info.si_code, info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
        CHECK(info.si_pid == pid);
        go(pid, PTRACE_CONT, answers[i]);
    }
    wait_for(pid, "end");
}

static void die(void) { raise(SIGTERM); }
static void fault(void) {
    on_signal(SIGSEGV, note, 0);
    *(volatile char *)16 = 1;
}

static void test_deaths(void) {
    pid_t pid = start(die);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "about to die");
    go(pid, PTRACE_CONT, SIGTERM);
    wait_for(pid, "dead");
    pid = start(fault);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "fault");
    siginfo_t info;
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info) == 0);
    printf("  code %d address %p\n", info.si_code, info.si_addr);
    CHECK(trace(PTRACE_KILL, pid, 0, 0) == 0);
    wait_for(pid, "killed");
}

/* --- waits that signals would interrupt ------------------------------------------------------------------------------ */

static void sleep_through(void) {
    struct timespec ts = {0, 300000000};
    struct pollfd none = {-1, 0, 0};
    int fds[2];
    char c;
    pipe(fds);
    if (fork() == 0) {
        sleep_ms(500);
        write(fds[1], "x", 1);
        _exit(0);
    }
    int r1 = nanosleep(&ts, NULL);
    int r2 = poll(&none, 1, 200);
    long r3 = read(fds[0], &c, 1);
    printf("  nanosleep %d poll %d read %ld\n", r1, r2, r3);
}

static void test_interruptions(void) {
    pid_t pid = start(sleep_through);
    go(pid, PTRACE_CONT, 0);
    for (int i = 0; i < 3; i++) {
        sleep_ms(50);
        kill(pid, i == 1 ? SIGWINCH : SIGUSR1);
        int status;
        do CHECK(waitpid(pid, &status, __WALL) == pid);
        while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCHLD && trace(PTRACE_CONT, pid, 0, SIGCHLD) == 0);
        CHECK(WIFSTOPPED(status));
        go(pid, PTRACE_CONT, i == 1 ? SIGWINCH : 0);
    }
    int status;
    do CHECK(waitpid(pid, &status, __WALL) == pid);
    while (WIFSTOPPED(status) && trace(PTRACE_CONT, pid, 0, 0) == 0);
    printf("slept: %s\n", status_text(status));
}

/* --- system calls --------------------------------------------------------------------------------------------------------- */

static void make_calls(void) {
    syscall(SYS_getppid);
    syscall(SYS_close, 12345);
    syscall(SYS_lseek, -1, 2, 3);
    syscall(SYS_getpgid, 0);
    long r = syscall(SYS_umask, 022);
    syscall(SYS_exit_group, (int)r & 0x3f);
}

static const char *call_name(unsigned long nr) {
    static char buf[32];
    static const struct {
        long nr;
        const char *name;
    } names[] = {{SYS_getppid, "getppid"}, {SYS_close, "close"}, {SYS_lseek, "lseek"}, {SYS_getpgid, "getpgid"}, {SYS_umask, "umask"}, {SYS_exit_group, "exit_group"}};
    for (int i = 0; i < COUNT(names); i++)
        if (names[i].nr == (long)nr) return names[i].name;
    snprintf(buf, sizeof buf, "other");
    return buf;
}

static void test_calls(void) {
    pid_t pid = start(make_calls);
    bool skip = false;
    for (;;) {
        go(pid, PTRACE_SYSCALL, 0);
        int status;
        CHECK(waitpid(pid, &status, __WALL) == pid);
        if (!WIFSTOPPED(status)) {
            printf("calls: %s\n", status_text(status));
            return;
        }
        CHECK(WSTOPSIG(status) == (SIGTRAP | 0x80));
        struct ptrace_syscall_info info;
        CHECK(trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (unsigned long)&info) > 0);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            const char *name = call_name(info.entry.nr);
            if (!strcmp(name, "getppid")) printf("entry %s()\n", name);
            else printf("entry %s(%d, %d)\n", name, (int)info.entry.args[0], !strcmp(name, "lseek") ? (int)info.entry.args[1] : 0);
            skip = !strcmp(name, "umask");
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
            if (info.exit.rval != getpid() && info.exit.is_error) printf("exit error %d\n", (int)info.exit.rval);
            if (skip) { /* another result */
                unsigned long regs[REGS];
                regs_get(pid, regs);
                regs[RESULT_REG] = 42;
                regs_set(pid, regs);
            }
        } else {
            printf("op %d\n", info.op);
        }
    }
}

/* --- memory and breakpoints --------------------------------------------------------------------------------------------------- */

static volatile long word = 5;
__attribute__((noinline)) int twice(int x) {
    __asm__ volatile("" : "+r"(x));
    return 2 * x;
}

static void use_memory(void) {
    int sum = 0;
    for (int i = 0; i < 3; i++) sum += twice(i); /* translated by the time that the breakpoint comes */
    raise(SIGUSR1);
    for (int i = 1; i <= 3; i++) sum += twice(i);
    _exit((int)word + sum);
}

static void test_memory(void) {
    pid_t pid = start(use_memory);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "before");
    unsigned long value = 0, code = 0, at = (unsigned long)twice;
    CHECK(trace(PTRACE_PEEKDATA, pid, (unsigned long)&word, (unsigned long)&value) == 0);
    printf("word %ld\n", (long)value);
    CHECK(trace(PTRACE_POKEDATA, pid, (unsigned long)&word, 100) == 0);
    CHECK(trace(PTRACE_PEEKTEXT, pid, at, (unsigned long)&code) == 0);
    CHECK(trace(PTRACE_POKETEXT, pid, at, (code & ~(unsigned long)BREAK_MASK) | BREAK) == 0);
    FAILS(trace(PTRACE_PEEKDATA, pid, 8, (unsigned long)&value), EIO);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "breakpoint");
    unsigned long regs[REGS];
    regs_get(pid, regs);
    printf("  at %ld, argument %d\n", (long)(regs[PC_REG] - BREAK_SIZE - at), (int)regs[ARG_REG] & 0xff);
    CHECK(trace(PTRACE_POKETEXT, pid, at, code) == 0);
    regs[PC_REG] = at;
    regs_set(pid, regs);
    go(pid, PTRACE_SYSCALL, 0); /* up to _exit: all three calls are made */
    wait_for(pid, "call");
    CHECK(trace(PTRACE_PEEKDATA, pid, (unsigned long)&word, (unsigned long)&value) == 0);
    printf("word %ld\n", (long)value);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "after");
}

/* The breakpoint is written through /proc/PID/mem, and hit twice. */
static void test_mem_file(void) {
    pid_t pid = start(use_memory);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "before");
    unsigned long at = (unsigned long)twice, code = 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    CHECK(pread(fd, &code, 4, (off_t)at) == 4);
    unsigned broken = (unsigned)((code & ~(unsigned long)BREAK_MASK) | BREAK);
    CHECK(pwrite(fd, &broken, 4, (off_t)at) == 4);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "breakpoint");
    unsigned long regs[REGS];
    regs_get(pid, regs);
    printf("  at the function: %d\n", regs[PC_REG] == at + BREAK_SIZE);
    CHECK(pwrite(fd, &code, 4, (off_t)at) == 4);
    regs[PC_REG] = at;
    regs_set(pid, regs);
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "after");
    close(fd);
}

/* --- events ------------------------------------------------------------------------------------------------------------------------ */

static void *thread_body(void *arg) { return arg; }
static char self[PATH_MAX];

static void make_children(void) {
    pid_t pid = fork();
    if (pid == 0) _exit(3);
    waitpid(pid, NULL, 0);
    pid = vfork();
    if (pid == 0) _exit(4);
    waitpid(pid, NULL, 0);
    pthread_t t;
    pthread_create(&t, NULL, thread_body, NULL);
    pthread_join(t, NULL);
    execl(self, self, "7", NULL);
}

/* Events come in any order with the children's first stops: counted. */
static void test_events(void) {
    pid_t pid = start(make_children);
    int counts[8] = {0}, first = 0, exits = 0, order_ok = 0;
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL) == 0);
    go(pid, PTRACE_CONT, 0);
    for (;;) {
        int status, sig = 0;
        pid_t who = waitpid(-1, &status, __WALL);
        if (who < 0) break;
        if (!WIFSTOPPED(status)) {
            exits++;
            if (who == pid) printf("main: %s\n", status_text(status));
            continue;
        }
        int event = status >> 16;
        unsigned long message = 0;
        if (event) {
            CHECK(event < 8 && WSTOPSIG(status) == SIGTRAP);
            CHECK(trace(PTRACE_GETEVENTMSG, who, 0, (unsigned long)&message) == 0);
            counts[event]++;
            if (event == PTRACE_EVENT_EXIT && who == pid) printf("main exits with %#lx\n", message);
            if (event == PTRACE_EVENT_EXEC) order_ok = (pid_t)message == pid;
        } else if (WSTOPSIG(status) == SIGSTOP && who != pid) {
            first++;
        } else {
            sig = WSTOPSIG(status);
        }
        go(who, PTRACE_CONT, sig);
    }
    for (int i = 1; i < 8; i++) printf("event %d: %d\n", i, counts[i]);
    printf("first stops %d, ends %d, exec by the leader %d\n", first, exits, order_ok);
}

static void execute(void) { execl(self, self, "9", NULL); }

/* Without options execve is a SIGTRAP. */
static void test_exec(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(trace(PTRACE_TRACEME, 0, 0, 0) == 0);
        execute();
        _exit(1);
    }
    wait_for(pid, "exec");
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "executed");
}

/* --- attaching ------------------------------------------------------------------------------------------------------------------------ */

static volatile int *shared;

static pid_t busy(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        on_signal(SIGUSR1, note, SA_RESTART);
        while (!seen[SIGUSR1]) shared[0]++;
        _exit(21);
    }
    while (!shared[0]) sched_yield();
    return pid;
}

static void test_attach(void) {
    shared[0] = 0;
    pid_t pid = busy();
    FAILS(trace(PTRACE_CONT, pid, 0, 0), ESRCH);
    CHECK(trace(PTRACE_ATTACH, pid, 0, 0) == 0);
    FAILS(trace(PTRACE_ATTACH, pid, 0, 0), EPERM);
    wait_for(pid, "attached");
    int before = shared[0];
    sleep_ms(20);
    printf("stands still: %d\n", before == shared[0]);
    unsigned long regs[REGS];
    regs_get(pid, regs);
    go(pid, PTRACE_CONT, 0);
    FAILS(trace(PTRACE_CONT, pid, 0, 0), ESRCH);
    while (shared[0] == before) sched_yield();
    kill(pid, SIGSTOP);
    wait_for(pid, "stopped again");
    CHECK(trace(PTRACE_DETACH, pid, 0, SIGUSR1) == 0);
    wait_for(pid, "let go");
}

static void test_seize(void) {
    shared[0] = 0;
    pid_t pid = busy();
    CHECK(trace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) == 0);
    CHECK(trace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    wait_for(pid, "interrupted");
    go(pid, PTRACE_CONT, 0);
    kill(pid, SIGSTOP);
    wait_for(pid, "signal");
    go(pid, PTRACE_CONT, SIGSTOP);
    wait_for(pid, "group stop");
    siginfo_t info;
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info) == 0);
    printf("  signo %d code %#x\n", info.si_signo, info.si_code);
    CHECK(trace(PTRACE_LISTEN, pid, 0, 0) == 0);
    kill(pid, SIGCONT);
    wait_for(pid, "listened");
    go(pid, PTRACE_CONT, 0);
    wait_for(pid, "continue");
    go(pid, PTRACE_CONT, SIGCONT);
    kill(pid, SIGUSR1);
    wait_for(pid, "last");
    go(pid, PTRACE_CONT, SIGUSR1);
    wait_for(pid, "gone");
}

/* A tracer ends: its tracee runs on. */
static void test_orphan(void) {
    shared[0] = 0;
    pid_t pid = busy();
    fflush(stdout);
    pid_t tracer = fork();
    if (tracer == 0) {
        CHECK(trace(PTRACE_ATTACH, pid, 0, 0) == 0);
        CHECK(waitpid(pid, NULL, __WALL) == pid);
        go(pid, PTRACE_CONT, 0);
        _exit(0);
    }
    waitpid(tracer, NULL, 0);
    int before = shared[0];
    while (shared[0] == before) sched_yield();
    kill(pid, SIGUSR1);
    wait_for(pid, "orphan");
}

static void test_mask(void) {
    pid_t pid = start(use_memory);
    uint64_t mask = 0;
    CHECK(trace(PTRACE_GETSIGMASK, pid, 8, (unsigned long)&mask) == 0);
    printf("mask %#lx\n", (long)mask);
    mask = 1 << (SIGUSR1 - 1);
    CHECK(trace(PTRACE_SETSIGMASK, pid, 8, (unsigned long)&mask) == 0);
    go(pid, PTRACE_CONT, 0); /* SIGUSR1 is blocked now */
    wait_for(pid, "masked");
}

int main(int argc, char **argv) {
    if (argc > 1) return atoi(argv[1]);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    umask(021);
    test_signals();
    test_deaths();
    test_interruptions();
    test_calls();
    test_memory();
    test_mem_file();
    test_events();
    test_exec();
    test_attach();
    test_seize();
    test_orphan();
    test_mask();
    return 0;
}
