/* SPDX-License-Identifier: Apache-2.0 */
/* A storm of mappings: each thread maps, unmaps, protects, moves, discards and writes pages of a region of its own at random, beside a model of what must be there; a file is mapped
 * shared and looked at through read; children see copies. */
#include "soak.h"
#include <fcntl.h>
#include <setjmp.h>

enum { PAGES = 256, THREADS = 4 };
static atomic_ulong mapped, unmapped, protected, moved, discarded, checked, faults, shared, children;
static atomic_int ready;
static _Thread_local sigjmp_buf out;

typedef struct Region {
    Rng *r;
    unsigned char *base;
    unsigned char prot[PAGES]; /* PROT_x; 255: nothing mapped */
    u64 value[PAGES];          /* of the first and the last word of a page */
    int fd;                    /* of the shared file */
    u64 *file;
} Region;

static void on_fault(int sig) { siglongjmp(out, 1); }

static u64 *word(Region *g, u32 page, int last) { return (u64 *)(g->base + (u64)page * PAGE + (last ? PAGE - 8 : 0)); }

/* Does the page read as the model says? */
static void check(Region *g, u32 page) {
    volatile u64 first = 0, last = 0;
    int readable = g->prot[page] != 255 && (g->prot[page] & PROT_READ);
    if (sigsetjmp(out, 1) == 0) {
        first = *(volatile u64 *)word(g, page, 0);
        last = *(volatile u64 *)word(g, page, 1);
        MUST(readable && first == g->value[page] && last == g->value[page]);
    } else {
        MUST(!readable);
        faults++;
    }
    checked++;
}

static void store(Region *g, u32 page) {
    volatile int writable = g->prot[page] != 255 && (g->prot[page] & PROT_WRITE);
    volatile u64 v = rng_next(g->r);
    if (sigsetjmp(out, 1) == 0) {
        *(volatile u64 *)word(g, page, 0) = v;
        *(volatile u64 *)word(g, page, 1) = v;
        MUST(writable);
        g->value[page] = v;
    } else {
        MUST(!writable);
        faults++;
    }
}

static void map(Region *g, u32 at, u32 n) {
    int prot = (int[]){PROT_READ | PROT_WRITE, PROT_READ, PROT_READ | PROT_WRITE | PROT_EXEC}[rng_below(g->r, 3)];
    MUST(mmap(g->base + (u64)at * PAGE, (u64)n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    for (u32 k = at; k < at + n; k++) g->prot[k] = (unsigned char)prot, g->value[k] = 0;
    mapped++;
}

static void unmap(Region *g, u32 at, u32 n) {
    MUST(munmap(g->base + (u64)at * PAGE, (u64)n * PAGE) == 0);
    for (u32 k = at; k < at + n; k++) g->prot[k] = 255;
    MUST(mmap(g->base + (u64)at * PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == g->base + (u64)at * PAGE);
    g->prot[at] = PROT_NONE;
    g->value[at] = 0;
    unmapped++;
}

static int all_mapped(const Region *g, u32 at, u32 n) {
    for (u32 k = at; k < at + n; k++)
        if (g->prot[k] == 255) return 0;
    return 1;
}

static void protect(Region *g, u32 at, u32 n) {
    int prot = (int[]){PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC}[rng_below(g->r, 4)];
    if (!all_mapped(g, at, n)) return;
    MUST(mprotect(g->base + (u64)at * PAGE, (u64)n * PAGE, prot) == 0);
    memset(g->prot + at, prot, n);
    protected++;
}

static void discard(Region *g, u32 at, u32 n) {
    if (!all_mapped(g, at, n)) return;
    MUST(madvise(g->base + (u64)at * PAGE, (u64)n * PAGE, MADV_DONTNEED) == 0);
    memset(g->value + at, 0, n * 8);
    discarded++;
}

/* One page to another place of the region. */
static void move(Region *g, u32 from, u32 to) {
    if (from == to || g->prot[from] == 255) return;
    MUST(mremap(g->base + (u64)from * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, g->base + (u64)to * PAGE) == g->base + (u64)to * PAGE);
    g->prot[to] = g->prot[from], g->value[to] = g->value[from], g->prot[from] = 255;
    map(g, from, 1); /* no hole for another thread's mapping */
    moved++;
}

static void through_file(Region *g) {
    u64 v = rng_next(g->r), back = 0;
    u32 at = rng_below(g->r, PAGE / 8);
    g->file[at] = v;
    MUST(pread(g->fd, &back, 8, at * 8) == 8 && back == v);
    v = ~v;
    MUST(pwrite(g->fd, &v, 8, at * 8) == 8 && ((volatile u64 *)g->file)[at] == v);
    shared++;
}

static void in_child(Region *g) {
    int status;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        for (u32 k = 0; k < PAGES; k++) check(g, k);
        for (u32 k = 0; k < 20; k++) store(g, rng_below(g->r, PAGES)); /* the parent must not see it */
        _exit(0);
    }
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
    children++;
}

static void *work(void *arg) {
    Region g = {.r = arg, .fd = memfd_create("soak", MFD_CLOEXEC)};
    g.base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(g.base != MAP_FAILED && g.fd >= 0 && ftruncate(g.fd, PAGE) == 0);
    g.file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g.fd, 0);
    MUST(g.file != MAP_FAILED);
    memset(g.prot, PROT_READ | PROT_WRITE, PAGES);
    for (ready++; ready < THREADS;) sched_yield(); /* from here on nobody maps where holes are */
    while (soak_goes_on()) {
        u32 at = rng_below(g.r, PAGES), n = 1 + rng_below(g.r, 8);
        if (at + n > PAGES) n = PAGES - at;
        switch (rng_below(g.r, 40)) {
        case 0: map(&g, at, n); break;
        case 1: unmap(&g, at, 1), map(&g, at, 1); break; /* a hole for an instant: nobody else maps where a hint doesn't lead */
        case 2 ... 5: protect(&g, at, n); break;
        case 6: discard(&g, at, n); break;
        case 7: move(&g, at, rng_below(g.r, PAGES)); break;
        case 8: if (rng_below(g.r, 20) == 0) in_child(&g); break;
        case 9 ... 12: through_file(&g); break;
        case 13 ... 24: store(&g, at); break;
        default: check(&g, at); break;
        }
    }
    for (u32 k = 0; k < PAGES; k++) check(&g, k);
    return NULL;
}

int main(int argc, char **argv) {
    Rng r;
    soak_start(argc, argv, &r);
    struct sigaction a = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &a, NULL);
    soak_threads(&r, THREADS, work);
    printf("mapped %lu unmapped %lu protected %lu moved %lu discarded %lu checked %lu faults %lu shared %lu children %lu\n", mapped, unmapped, protected, moved, discarded, checked, faults,
           shared, children);
    return 0;
}
