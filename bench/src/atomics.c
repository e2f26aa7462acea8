/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and atomics: two threads that count, lock and hand over. */
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>
static atomic_long counter, cas;
static long guarded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *arg) {
    uint64_t x = (uint64_t)(long)arg;
    for (int i = 0; i < 1500000; i++) {
        atomic_fetch_add(&counter, 1);
        for (int j = 0; j < 10; j++) x = x * 6364136223846793005u + 1442695040888963407u;
        if (i % 4 == 0) {
            long old = atomic_load(&cas);
            while (!atomic_compare_exchange_weak(&cas, &old, old + 2)) {}
        }
        if (i % 16 == 0) {
            pthread_mutex_lock(&lock);
            guarded++;
            pthread_mutex_unlock(&lock);
        }
    }
    return (void *)(x >> 40);
}
int main(void) {
    pthread_t t[2];
    void *r[2];
    for (long i = 0; i < 2; i++) pthread_create(&t[i], NULL, work, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(t[i], &r[i]);
    printf("%ld %ld %ld %lx %lx\n", counter, cas, guarded, (long)r[0], (long)r[1]);
    return 0;
}
