/* SPDX-License-Identifier: Apache-2.0 */
/* Atomics of every width under contention, and the orders that they promise. */
//: libs: -latomic
//: timeout: 60
#include "t.h"

enum { THREADS = 4, ROUNDS = 20000 };

static uint8_t c8[THREADS * 2];
static uint16_t c16[3];
static uint32_t c32, cas32;
static uint64_t c64, cas64, bits, smallest = ~0ull, swapped;
static int data, flag, stop;

static void *adder(void *arg) {
    long id = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        __atomic_fetch_add(&c8[1], 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&c8[id + 3], 1, __ATOMIC_RELAXED); /* a neighbour in the same word */
        __atomic_fetch_sub(&c16[1], 3, __ATOMIC_ACQ_REL);
        __atomic_fetch_add(&c32, 7, __ATOMIC_ACQUIRE);
        __atomic_add_fetch(&c64, 0x100000001ull, __ATOMIC_RELEASE);
        __atomic_fetch_xor(&bits, 1ull << (i & 63), __ATOMIC_SEQ_CST);
        uint32_t old = __atomic_load_n(&cas32, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&cas32, &old, old * 3 + 1 - old * 2, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
        uint64_t old64 = __atomic_load_n(&cas64, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&cas64, &old64, old64 + 5, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
        __atomic_exchange_n(&swapped, id, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Message passing: when the flag is seen, so is the data. */
static void *writer(void *arg) {
    for (int i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(&data, i, __ATOMIC_RELAXED);
        __atomic_store_n(&flag, i, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    return NULL;
}
static void *reader(void *arg) {
    long seen = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        int f = __atomic_load_n(&flag, __ATOMIC_ACQUIRE), d = __atomic_load_n(&data, __ATOMIC_RELAXED);
        CHECK(d >= f);
        seen++;
    }
    return (void *)seen;
}

/* Store buffering: with sequentially consistent accesses not both may read zero. */
static int sb_x, sb_y, sb_r0, sb_r1;
static pthread_barrier_t sb_barrier;
static void *sb_thread(void *arg) {
    for (int i = 0; i < 2000; i++) {
        pthread_barrier_wait(&sb_barrier);
        if (arg) {
            __atomic_store_n(&sb_x, 1, __ATOMIC_SEQ_CST);
            sb_r0 = __atomic_load_n(&sb_y, __ATOMIC_SEQ_CST);
        } else {
            __atomic_store_n(&sb_y, 1, __ATOMIC_SEQ_CST);
            sb_r1 = __atomic_load_n(&sb_x, __ATOMIC_SEQ_CST);
        }
        pthread_barrier_wait(&sb_barrier);
        if (arg) {
            CHECK(sb_r0 || sb_r1);
            sb_x = sb_y = 0;
        }
    }
    return NULL;
}

int main(void) {
    pthread_t t[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, adder, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    printf("%u %u %u %u %x %lx %lx %x %lx\n", c8[0], c8[1], c8[2], c8[3], c16[1], (long)c32, (long)c64, cas32, (long)cas64);
    printf("neighbours %u %u %u, %u %u, bits %lx\n", c8[4], c8[5], c8[6], c16[0], c16[2], (long)bits);
    pthread_create(&t[0], NULL, writer, NULL);
    pthread_create(&t[1], NULL, reader, NULL);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    pthread_barrier_init(&sb_barrier, NULL, 2);
    pthread_create(&t[0], NULL, sb_thread, (void *)1);
    pthread_create(&t[1], NULL, sb_thread, NULL);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    struct { uint64_t a, b; } wide = {1, 2}, want = {1, 2}, next = {3, 4}; /* may take a lock in libatomic */
    CHECK(__atomic_compare_exchange(&wide, &want, &next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    CHECK(wide.a == 3 && wide.b == 4 && smallest);
    puts("ok");
    return 0;
}
