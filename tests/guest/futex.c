/* SPDX-License-Identifier: Apache-2.0 */
/* The futex call itself, and what libc builds on its rarer operations: robust and priority-inheriting mutexes. */
#include "t.h"
#include <linux/futex.h>

static long futex(void *word, int op, uint32_t val, const void *timeout, void *word2, uint32_t val3) {
    return syscall(SYS_futex, word, op, val, timeout, word2, val3);
}

static uint32_t word_a, word_b;
static int awake;

static void *waiter(void *arg) {
    CHECK(futex(&word_a, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0) == 0);
    __atomic_fetch_add(&awake, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static pthread_mutex_t *shared;

static void robust(void) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutex_init(shared, &attr);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(shared);
        _exit(0); /* dies holding it */
    }
    print_end("owner", pid);
    CHECK(pthread_mutex_lock(shared) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(shared) == 0 && pthread_mutex_unlock(shared) == 0);
    CHECK(pthread_mutex_lock(shared) == 0 && pthread_mutex_unlock(shared) == 0);
    puts("robust ok");
}

static void *locker(void *m) {
    for (int i = 0; i < 2000; i++) {
        CHECK(pthread_mutex_lock(m) == 0);
        word_b++;
        CHECK(pthread_mutex_unlock(m) == 0);
    }
    return NULL;
}

static void inheriting(void) {
    pthread_mutexattr_t attr;
    pthread_mutex_t m;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    CHECK(pthread_mutex_init(&m, &attr) == 0);
    pthread_t t[4];
    word_b = 0;
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, locker, &m);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    printf("inheriting %u\n", word_b);
}

int main(void) {
    struct timespec short_time = {0, 20000000}, bad_time = {0, 2000000000};
    word_a = 5;
    FAILS(futex(&word_a, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
    FAILS(futex(&word_a, FUTEX_WAIT, 5, &bad_time, NULL, 0), EINVAL);
    FAILS(futex((char *)&word_a + 1, FUTEX_WAIT, 5, NULL, NULL, 0), EINVAL);
    FAILS(futex((void *)8, FUTEX_WAIT, 5, NULL, NULL, 0), EFAULT);
    FAILS(futex(&word_a, 99, 0, NULL, NULL, 0), ENOSYS);
    double start = now();
    FAILS(futex(&word_a, FUTEX_WAIT, 5, &short_time, NULL, 0), ETIMEDOUT);
    CHECK(now() - start >= 0.019);
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_nsec += 20000000;
    if (deadline.tv_nsec >= 1000000000) deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    FAILS(futex(&word_a, FUTEX_WAIT_BITSET, 5, &deadline, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
    FAILS(futex(&word_a, FUTEX_WAIT_BITSET, 5, &deadline, NULL, 0), EINVAL);
    CHECK(futex(&word_a, FUTEX_WAKE, 100, NULL, NULL, 0) == 0);

    word_a = 0;
    pthread_t t[6];
    for (int i = 0; i < 6; i++) pthread_create(&t[i], NULL, waiter, NULL);
    sleep_ms(100);
    long moved = futex(&word_a, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 1, (void *)2L, &word_b, 0);
    printf("woken and moved %ld\n", moved);
    FAILS(futex(&word_a, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 1, (void *)2L, &word_b, 1), EAGAIN);
    printf("wake b %ld\n", futex(&word_b, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0));
    /* Wake those left on a; the operation also tests and sets b. */
    int op = FUTEX_OP(FUTEX_OP_ADD, 7, FUTEX_OP_CMP_EQ, 1);
    printf("wake a %ld\n", futex(&word_a, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 10, (void *)10L, &word_b, op));
    for (int i = 0; i < 6; i++) pthread_join(t[i], NULL);
    printf("awake %d, b %u\n", awake, word_b);
    robust();
    inheriting();
    return 0;
}
