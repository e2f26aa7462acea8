/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that hit threads in the middle of computing: no register of theirs, integer or floating, may change. */
//: timeout: 60
//: skip: interp the same code paths, and the storm makes it slow
#include "t.h"

enum { THREADS = 3 };

static volatile int stop;
static volatile long hits;
static __thread long own_hits;

static void handler(int sig, siginfo_t *info, void *uc) {
    double x = own_hits + 0.25; /* uses the registers that it must not spoil */
    for (int i = 0; i < 20; i++) x = x * 1.5 + i;
    if (x < 0) abort();
    own_hits++;
    __atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) uint64_t compute(uint64_t seed, double *f) {
    uint64_t a = seed, b = seed * 3, c = ~seed, d = seed << 7, e = 1, g = 2, h = 3;
    double p = seed, q = 1.5, r = -2.25, s = 1e10;
    float t = 0.5f;
    for (int i = 0; i < 20000; i++) {
        a = a * 6364136223846793005u + 1442695040888963407u;
        b ^= a >> 17;
        c += b << 3;
        d = (d << 13 | d >> 51) + c;
        e += d / (b | 1);
        g ^= e % (a | 3);
        h += g * e;
        p = p * 0.999 + q;
        q = q * 0.5 + r / (1 + i);
        r = r + p * 1e-3;
        s = s / 1.0001 - p;
        t = t * 0.75f + (float)q;
    }
    *f = p + q * 3 + r * 5 + s * 7 + t;
    return a ^ b ^ c ^ d ^ e ^ g ^ h;
}

static void *worker(void *arg) {
    double want_f, f;
    uint64_t want = compute((uint64_t)(long)arg, &want_f);
    while (!stop) {
        uint64_t got = compute((uint64_t)(long)arg, &f);
        CHECK(got == want);
        CHECK(f == want_f);
    }
    return NULL;
}

int main(void) {
    pthread_t t[THREADS];
    on_signal(SIGUSR1, handler, SA_RESTART);
    on_signal(SIGALRM, handler, SA_RESTART);
    for (long i = 0; i < THREADS; i++) pthread_create(&t[i], NULL, worker, (void *)(i + 77));
    struct itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, NULL);
    double start = now();
    long sent = 0;
    while (now() - start < 1.5) {
        for (int i = 0; i < THREADS; i++, sent++) CHECK(pthread_kill(t[i], SIGUSR1) == 0);
        sched_yield();
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    struct itimerval none = {0};
    setitimer(ITIMER_REAL, &none, NULL);
    CHECK(hits > 100 && sent > 100);
    puts("ok");
    return 0;
}
