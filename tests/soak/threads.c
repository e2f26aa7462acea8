/* SPDX-License-Identifier: Apache-2.0 */
/* A storm of threads: made and joined by the hundred, with mutexes, conditions, robust mutexes whose owners die, barriers, thread-local storage and cancellation. Sums are checked. */
#include "soak.h"

static atomic_ulong made, handed, owners, cancelled, rounds;
static _Thread_local u64 local;

/* --- counting under locks of every kind --- */
typedef struct Count {
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    pthread_spinlock_t spin;
    u64 by_mutex, by_rwlock, by_spin;
    atomic_ulong by_atomic;
    u32 times;
} Count;

static void *count_up(void *arg) {
    Count *c = arg;
    local = (u64)pthread_self();
    for (u32 k = 0; k < c->times; k++) {
        pthread_mutex_lock(&c->mutex), c->by_mutex++, pthread_mutex_unlock(&c->mutex);
        pthread_rwlock_wrlock(&c->rwlock), c->by_rwlock++, pthread_rwlock_unlock(&c->rwlock);
        pthread_spin_lock(&c->spin), c->by_spin++, pthread_spin_unlock(&c->spin);
        c->by_atomic++;
        if (k % 16 == 0) sched_yield();
    }
    MUST(local == (u64)pthread_self());
    made++;
    return (void *)(u64)c->times;
}

static void do_count(Rng *r) {
    Count c = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rwlock = PTHREAD_RWLOCK_INITIALIZER, .times = 1 + rng_below(r, 200)};
    pthread_t t[16];
    int n = 1 + (int)rng_below(r, 16);
    void *result;
    pthread_spin_init(&c.spin, 0);
    for (int k = 0; k < n; k++) MUST(pthread_create(&t[k], NULL, count_up, &c) == 0);
    for (int k = 0; k < n; k++) MUST(pthread_join(t[k], &result) == 0 && (u64)result == c.times);
    u64 want = (u64)n * c.times;
    MUST(c.by_mutex == want && c.by_rwlock == want && c.by_spin == want && c.by_atomic == want);
}

/* --- hand to hand --- */
typedef struct Box {
    pthread_mutex_t mutex;
    pthread_cond_t full, empty;
    int has;
    u64 value, sum;
    u32 n;
} Box;

static void *take(void *arg) {
    Box *b = arg;
    for (u32 k = 0; k < b->n; k++) {
        pthread_mutex_lock(&b->mutex);
        while (!b->has) pthread_cond_wait(&b->full, &b->mutex);
        b->sum += b->value;
        b->has = 0;
        pthread_cond_signal(&b->empty);
        pthread_mutex_unlock(&b->mutex);
    }
    return NULL;
}

static void do_hand(Rng *r) {
    Box b = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 1 + rng_below(r, 300)};
    u64 want = 0;
    pthread_t t;
    MUST(pthread_create(&t, NULL, take, &b) == 0);
    for (u32 k = 0; k < b.n; k++) {
        pthread_mutex_lock(&b.mutex);
        while (b.has) pthread_cond_wait(&b.empty, &b.mutex);
        want += b.value = rng_next(r);
        b.has = 1;
        pthread_cond_signal(&b.full);
        pthread_mutex_unlock(&b.mutex);
    }
    MUST(pthread_join(t, NULL) == 0 && b.sum == want);
    handed += b.n;
}

/* --- owners that die --- */
typedef struct Owned {
    pthread_mutex_t mutex;
    pthread_barrier_t taken;
} Owned;

static void *die_owning(void *arg) {
    Owned *o = arg;
    pthread_mutex_lock(&o->mutex);
    pthread_barrier_wait(&o->taken);
    return NULL;
}

static void do_owner(int protocol) {
    pthread_mutexattr_t a;
    Owned o;
    pthread_t t;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&a, protocol);
    pthread_mutex_init(&o.mutex, &a);
    pthread_barrier_init(&o.taken, NULL, 2);
    MUST(pthread_create(&t, NULL, die_owning, &o) == 0);
    pthread_barrier_wait(&o.taken);
    MUST(pthread_mutex_lock(&o.mutex) == EOWNERDEAD && pthread_mutex_consistent(&o.mutex) == 0 && pthread_mutex_unlock(&o.mutex) == 0);
    MUST(pthread_join(t, NULL) == 0);
    owners++;
}

/* --- cancellation --- */
static void cleaned(void *arg) { ++*(int *)arg; }
static void *wait_long(void *arg) {
    pthread_cleanup_push(cleaned, arg);
    for (;;) usleep(1000000);
    pthread_cleanup_pop(0);
    return NULL;
}

static void do_cancel(Rng *r) {
    int count = 0;
    void *result;
    pthread_t t;
    MUST(pthread_create(&t, NULL, wait_long, &count) == 0);
    usleep(rng_below(r, 2000));
    MUST(pthread_cancel(t) == 0 && pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED && count <= 1);
    cancelled++;
}

/* --- barriers --- */
static pthread_barrier_t barrier;
static atomic_uint phase;
static void *in_phases(void *arg) {
    for (u32 k = 0; k < 20; k++) {
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) phase++;
        pthread_barrier_wait(&barrier);
        MUST(phase == k + 1);
    }
    return NULL;
}

static void do_barrier(Rng *r) {
    int n = 2 + (int)rng_below(r, 6);
    phase = 0;
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    soak_threads(r, n, in_phases);
    pthread_barrier_destroy(&barrier);
}

int main(int argc, char **argv) {
    Rng r;
    soak_start(argc, argv, &r);
    for (; soak_goes_on(); rounds++) switch (rng_below(&r, 6)) {
        case 0: do_count(&r); break;
        case 1: do_hand(&r); break;
        case 2: do_owner(PTHREAD_PRIO_NONE); break;
        case 3: do_owner(PTHREAD_PRIO_INHERIT); break;
        case 4: do_cancel(&r); break;
        case 5: do_barrier(&r); break;
        }
    printf("rounds %lu counting %lu handed %lu owners-died %lu cancelled %lu\n", rounds, made, handed, owners, cancelled);
    return 0;
}
