/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of every kind: locks, conditions, barriers, thread-local storage, cancellation, a thousand of them. */
//: timeout: 60
#include "t.h"
#include <semaphore.h>

enum { WORKERS = 8, ROUNDS = 5000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t sem;
static long counter, spun, written, atomic_counter, once_count, destroyed;
static int turn;
static __thread long mine = 1000;
static __thread char big_tls[5000];

static void once_init(void) { once_count++; }
static void key_destroy(void *p) { __atomic_fetch_add(&destroyed, (long)p, __ATOMIC_SEQ_CST); }

static void *worker(void *arg) {
    long id = (long)arg;
    pthread_once(&once, once_init);
    pthread_setspecific(key, (void *)(id + 1));
    memset(big_tls, (int)id, sizeof(big_tls));
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        pthread_spin_lock(&spin);
        spun += 2;
        pthread_spin_unlock(&spin);
        __atomic_fetch_add(&atomic_counter, 3, __ATOMIC_RELAXED);
        mine += id;
        if (i % 100 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            written++;
            pthread_rwlock_unlock(&rwlock);
        } else if (i % 100 < 5) {
            pthread_rwlock_rdlock(&rwlock);
            CHECK(written >= 0);
            pthread_rwlock_unlock(&rwlock);
        }
        if (i % 1000 == 0) pthread_barrier_wait(&barrier);
    }
    CHECK(mine == 1000 + id * ROUNDS);
    for (size_t i = 0; i < sizeof(big_tls); i++) CHECK(big_tls[i] == (char)id);
    for (int i = 0; i < 200; i++) { /* each in turn */
        pthread_mutex_lock(&lock);
        while (turn % WORKERS != id) pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    sem_post(&sem);
    return (void *)(id * id);
}

static void *quick(void *arg) {
    __atomic_fetch_add((long *)arg, 1, __ATOMIC_SEQ_CST);
    return arg;
}

static int cleaned;
static void cleanup(void *arg) { cleaned += (int)(long)arg; }
static void *sleeper(void *arg) {
    pthread_cleanup_push(cleanup, (void *)5L);
    for (;;) pause();
    pthread_cleanup_pop(0);
    return NULL;
}
static void *spinner(void *arg) {
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    __atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
    for (volatile long i = 0;; i++) {}
    return NULL;
}

static void *exits_main(void *arg) {
    pthread_join(*(pthread_t *)arg, NULL); /* the main thread ends first */
    printf("the last thread ends the process\n");
    exit(3);
}

int main(void) {
    pthread_t threads[WORKERS];
    pthread_barrier_init(&barrier, NULL, WORKERS);
    pthread_spin_init(&spin, 0);
    pthread_key_create(&key, key_destroy);
    sem_init(&sem, 0, 0);
    for (long i = 0; i < WORKERS; i++) CHECK(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
    for (int i = 0; i < WORKERS; i++) sem_wait(&sem);
    long sum = 0;
    for (int i = 0; i < WORKERS; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0);
        sum += (long)result;
    }
    printf("%ld %ld %ld %ld %ld once %ld destroyed %ld turns %d mine %ld\n", counter, spun, written, atomic_counter, sum,
           once_count, destroyed, turn, mine);

    long count = 0;
    for (int i = 0; i < 1000; i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, quick, &count) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    pthread_t many[200];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    for (int i = 0; i < COUNT(many); i++) CHECK(pthread_create(&many[i], &attr, quick, &count) == 0);
    for (int i = 0; i < COUNT(many); i++) CHECK(pthread_join(many[i], NULL) == 0);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 300; i++) {
        pthread_t t;
        while (pthread_create(&t, &attr, quick, &count) == EAGAIN) sched_yield();
    }
    while (__atomic_load_n(&count, __ATOMIC_SEQ_CST) != 1500) sched_yield();
    printf("count %ld\n", count);

    pthread_t t;
    void *result;
    CHECK(pthread_create(&t, NULL, sleeper, NULL) == 0);
    sleep_ms(20);
    CHECK(pthread_cancel(t) == 0 && pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);
    int started = 0;
    CHECK(pthread_create(&t, NULL, spinner, &started) == 0);
    while (!__atomic_load_n(&started, __ATOMIC_SEQ_CST)) sched_yield();
    CHECK(pthread_cancel(t) == 0 && pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);
    printf("cancelled, cleaned %d\n", cleaned);

    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
    pthread_mutex_lock(&lock);
    CHECK(pthread_cond_timedwait(&changed, &lock, &soon) == ETIMEDOUT);
    pthread_mutex_unlock(&lock);

    static pthread_t self;
    self = pthread_self();
    CHECK(pthread_create(&t, NULL, exits_main, &self) == 0);
    fflush(stdout);
    pthread_exit(NULL);
}
