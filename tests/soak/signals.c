/* SPDX-License-Identifier: Apache-2.0 */
/* A storm of signals: queued real-time signals with values between threads (none may get lost), interval timers, faults that a handler mends or jumps out of, alternate stacks, masks,
 * and reads that are interrupted and restarted all the while. */
#include "soak.h"
#include <setjmp.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

enum { WORKERS = 4 };
static atomic_ulong sent, got, sent_sum, got_sum, alarms, jumps, mended, bytes, masked;
static _Thread_local sigjmp_buf out;
static _Thread_local volatile unsigned char *fault_at;
static pid_t threads[WORKERS];
static atomic_int ready, done;

static void on_queued(int sig, siginfo_t *info, void *ucontext) {
    got++;
    got_sum += (u64)info->si_value.sival_int;
    MUST(info->si_code == SI_QUEUE && info->si_pid == getpid());
}
static void on_alarm(int sig) { alarms++; }
static void on_fault(int sig, siginfo_t *info, void *ucontext) {
    MUST(info->si_addr == fault_at);
    if ((u64)fault_at & 1) siglongjmp(out, 1);
    MUST(mprotect((void *)((u64)fault_at & -(u64)PAGE), PAGE, PROT_READ | PROT_WRITE) == 0);
    mended++;
}

static void queue(Rng *r) {
    u32 value = rng_below(r, 1000);
    siginfo_t info = {.si_signo = SIGRTMIN + 3, .si_code = SI_QUEUE};
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = (int)value;
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), threads[rng_below(r, WORKERS)], info.si_signo, &info) < 0) {
        MUST(errno == EAGAIN); /* the limit of queued ones */
        return;
    }
    sent++;
    sent_sum += value;
}

/* A page that cannot be written: the handler mends it, or leaves. */
static void fault(Rng *r, unsigned char *page) {
    MUST(mprotect(page, PAGE, PROT_READ) == 0);
    fault_at = page + rng_below(r, PAGE);
    if (sigsetjmp(out, 1) == 0) {
        *fault_at = 5;
        MUST(!((u64)fault_at & 1) && *fault_at == 5);
    } else {
        MUST((u64)fault_at & 1);
        jumps++;
    }
}

static void with_mask(Rng *r) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    queue(r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    masked++;
}

static void read_whole(Rng *r, int pipes[2]) {
    u64 words[64], back[64];
    u32 n = 1 + rng_below(r, 64);
    for (u32 k = 0; k < n; k++) words[k] = rng_next(r);
    MUST(write(pipes[1], words, 8 * n) == (ssize_t)(8 * n));
    MUST(read(pipes[0], back, 8 * n) == (ssize_t)(8 * n) && !memcmp(words, back, 8 * n));
    bytes += 8 * n;
}

static u64 compute(Rng *r) {
    u64 x = rng_next(r), y = x;
    for (int k = 0; k < 3000; k++) x = x * 6364136223846793005ull + 1442695040888963407ull, y = y * 6364136223846793005ull + 1442695040888963407ull;
    MUST(x == y);
    return x;
}

static void *work(void *arg) {
    Rng *r = arg;
    int pipes[2];
    stack_t alternate = {.ss_sp = malloc(65536), .ss_size = 65536};
    unsigned char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED && sigaltstack(&alternate, NULL) == 0 && pipe(pipes) == 0);
    threads[ready++] = (pid_t)syscall(SYS_gettid);
    while (ready < WORKERS) sched_yield();
    while (soak_goes_on()) switch (rng_below(r, 5)) {
        case 0: queue(r); break;
        case 1: fault(r, page); break;
        case 2: with_mask(r); break;
        case 3: read_whole(r, pipes); break;
        case 4: compute(r); break;
        }
    done++;
    while (done < WORKERS) usleep(1000);
    for (int k = 0; k < 1000 && got < sent; k++) usleep(1000); /* what is on its way */
    return NULL;
}

int main(int argc, char **argv) {
    Rng r;
    soak_start(argc, argv, &r);
    struct sigaction queued = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK}, alarmed = {.sa_handler = on_alarm, .sa_flags = SA_RESTART},
                     faulted = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGRTMIN + 3, &queued, NULL);
    sigaction(SIGALRM, &alarmed, NULL);
    sigaction(SIGSEGV, &faulted, NULL);
    struct itimerval every = {{0, 700}, {0, 700}};
    setitimer(ITIMER_REAL, &every, NULL);
    soak_threads(&r, WORKERS, work);
    MUST(got == sent && got_sum == sent_sum && alarms > 0);
    printf("queued %lu alarms %lu jumps %lu mended %lu bytes %lu masked %lu\n", got, alarms, jumps, mended, bytes, masked);
    return 0;
}
