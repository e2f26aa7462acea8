/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that serve queues: worker.h. */
#include "device/virtio/worker.h"

enum { THREADS_MAX = 32, SPIN_NS = 20000 };

struct VirtWorker {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    u32 kicked;  /* bit: queue */
    u32 running; /* threads */
    u32 waiting; /* threads without work */
    bool spinning; /* some thread looks for kicks, and need not be woken */
    bool stopping;
    VirtWorkerRun *run;
    void *ctx;
    u32 threads, threads_max; /* started as they are needed */
    VirtChain *chain; /* without threads */
    pthread_t thread[THREADS_MAX];
};

/* With the lock held; spin looks without. */
static void kicked_set(VirtWorker *w, u32 to) { __atomic_store_n(&w->kicked, to, __ATOMIC_RELAXED); }

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* After some work the next kick often comes at once: a driver that waits for one request makes the next. To go to sleep and be woken takes longer than
 * this looks for it. Without the lock. */
static void spin(const VirtWorker *w) {
    for (u64 start = back_now(); back_now() - start < SPIN_NS && !__atomic_load_n(&w->kicked, __ATOMIC_RELAXED);) relax();
}

static void *worker_run(void *arg) {
    VirtWorker *w = arg;
    VirtChain *chain = back_alloc(sizeof(*chain));
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        if (!w->kicked) {
            w->waiting++;
            pthread_cond_wait(&w->work, &w->lock);
            w->waiting--;
            continue;
        }
        u32 queue = (u32)__builtin_ctz(w->kicked);
        kicked_set(w, w->kicked & (w->kicked - 1));
        w->running++;
        pthread_mutex_unlock(&w->lock);
        w->run(w->ctx, queue, chain);
        pthread_mutex_lock(&w->lock);
        if (!--w->running) pthread_cond_broadcast(&w->idle);
        if (w->kicked || w->spinning) continue; /* one thread that looks is enough */
        w->spinning = true;
        pthread_mutex_unlock(&w->lock);
        spin(w);
        pthread_mutex_lock(&w->lock);
        w->spinning = false;
    }
    pthread_mutex_unlock(&w->lock);
    free(chain);
    return NULL;
}

/* With the lock held. The host may allow no more: then those that are there do the work. */
static void start_one(VirtWorker *w) {
    if (w->threads < w->threads_max && back_thread(&w->thread[w->threads], worker_run, w)) w->threads++;
}

VirtWorker *virt_worker_new(u32 threads, VirtWorkerRun *run, void *ctx) {
    VirtWorker *w = back_alloc(sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->idle, NULL);
    w->run = run;
    w->ctx = ctx;
    w->threads_max = MIN(threads, (u32)THREADS_MAX);
    if (threads) start_one(w);
    if (threads && !w->threads) BUG("no thread for a device");
    if (!threads) w->chain = back_alloc(sizeof(*w->chain));
    return w;
}

/* Who has the gate calls, so nobody else is here; a kick from within is met by the caller farther up. */
static void run_here(VirtWorker *w, u32 queue) {
    w->kicked |= 1u << queue;
    if (w->running) return;
    w->running = 1;
    while (w->kicked) {
        queue = (u32)__builtin_ctz(w->kicked);
        w->kicked &= w->kicked - 1;
        w->run(w->ctx, queue, w->chain);
    }
    w->running = 0;
}

void virt_worker_kick(VirtWorker *w, u32 queue) {
    if (w->chain) {
        run_here(w, queue);
        return;
    }
    pthread_mutex_lock(&w->lock);
    bool is_new = !(w->kicked >> queue & 1) && !w->spinning, wake = is_new && w->waiting;
    kicked_set(w, w->kicked | 1u << queue);
    if (is_new && !w->waiting) start_one(w);
    pthread_mutex_unlock(&w->lock);
    if (wake) pthread_cond_signal(&w->work);
}

void virt_worker_drain(VirtWorker *w) {
    pthread_mutex_lock(&w->lock);
    kicked_set(w, 0);
    while (w->running) pthread_cond_wait(&w->idle, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void virt_worker_drop(VirtWorker *w) {
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (u32 k = 0; k < w->threads; k++) pthread_join(w->thread[k], NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->idle);
    free(w->chain);
    free(w);
}
