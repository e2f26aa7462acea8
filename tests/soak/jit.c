/* SPDX-License-Identifier: Apache-2.0 */
/* A storm of just-in-time compilers: threads write functions, run them, write others over them. Pages are writable and executable at once, or turned from one to the other, or mapped
 * twice (written at one address, executed at another); loops run hot before they change; one thread patches what another runs. What a function returns says which one ran. */
#include "soak.h"

enum { SLOTS = 64, SLOT = 4 * PAGE / 4 / SLOTS /* words */, THREADS = 4 };
static atomic_ulong written, called, hot, flipped, twice, across, remapped;

typedef u64 Function(u64 n);
enum { A0 = 10, A1 = 11, A2 = 12 };
static u32 addi(u32 rd, u32 rs, u32 imm) { return imm << 20 | rs << 15 | rd << 7 | 0x13; }
static u32 lui(u32 rd, u32 imm) { return imm << 12 | rd << 7 | 0x37; }
static const u32 ret = 0x00008067;

/* A loop of n rounds that adds `step` to a0, then `base`: returns n * step + base. */
static u32 compile(u32 *code, u32 step, u32 base) {
    u32 n = 0;
    code[n++] = addi(A1, A0, 0);
    code[n++] = lui(A2, base);
    code[n++] = addi(A0, A2, 0);
    code[n++] = 0x00058863; /* beqz a1, +16: past the loop */
    code[n++] = addi(A0, A0, step);
    code[n++] = addi(A1, A1, 0xfff);
    code[n++] = 0xfe059ce3; /* bnez a1, -8 */
    code[n++] = ret;
    return n;
}

typedef struct Code {
    u32 *write, *run; /* where it is written and run */
    u32 step[SLOTS], base[SLOTS];
    int flips; /* write permission has to be asked for */
} Code;

static void put(Code *c, Rng *r, u32 slot) {
    u32 *at = c->write + slot * SLOT;
    c->step[slot] = rng_below(r, 2000);
    c->base[slot] = rng_below(r, 0x7ffff);
    if (c->flips) MUST(mprotect(c->write, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
    u32 n = compile(at, c->step[slot], c->base[slot]);
    if (c->flips) MUST(mprotect(c->write, 4 * PAGE, PROT_READ | PROT_EXEC) == 0), flipped++;
    char *run = (char *)(c->run + (at - c->write));
    __builtin___clear_cache(run, run + 4 * n);
    written++;
}

static void call(Code *c, u32 slot, u64 n) {
    Function *f = (Function *)(c->run + slot * SLOT);
    MUST(f(n) == n * c->step[slot] + ((u64)c->base[slot] << 12));
    called++;
}

static void use(Code *c, Rng *r) {
    for (u32 k = 0; k < SLOTS; k++) put(c, r, k);
    for (int k = 0; k < 400; k++) {
        u32 slot = rng_below(r, SLOTS);
        if (rng_below(r, 4) == 0) put(c, r, slot);
        int much = rng_below(r, 50) == 0;
        hot += (u64)much;
        call(c, slot, much ? 200000 : rng_below(r, 20));
    }
}

static void open_pages(Rng *r) {
    u32 *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED);
    use(&(Code){p, p, {0}, {0}, 0}, r);
    MUST(munmap(p, 4 * PAGE) == 0);
}

static void flipped_pages(Rng *r) {
    u32 *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED);
    use(&(Code){p, p, {0}, {0}, 1}, r);
    MUST(munmap(p, 4 * PAGE) == 0);
}

static void mapped_twice(Rng *r) {
    int fd = memfd_create("jit", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0);
    u32 *w = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *x = mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    MUST(w != MAP_FAILED && x != MAP_FAILED);
    use(&(Code){w, x, {0}, {0}, 0}, r);
    MUST(munmap(w, 4 * PAGE) == 0 && munmap(x, 4 * PAGE) == 0 && close(fd) == 0);
    twice++;
}

/* Other code at the same address, by unmapping: no flush is needed for new pages. */
static void at_one_place(Rng *r) {
    u32 *place = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int k = 0; k < 20; k++) {
        u32 step = rng_below(r, 2000), base = rng_below(r, 0x7ffff);
        u32 *p = mmap(place, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        MUST(p == place);
        u32 n = compile(p, step, base);
        MUST(mprotect(p, PAGE, PROT_READ | PROT_EXEC) == 0);
        __builtin___clear_cache((char *)p, (char *)(p + n));
        MUST(((Function *)p)(30) == 30 * step + ((u64)base << 12));
        remapped++;
    }
    MUST(munmap(place, PAGE) == 0);
}

/* --- one writes, one runs --- */
typedef struct Pair {
    u32 *code;
    atomic_uint wanted, seen; /* rounds */
    u32 step, base;
} Pair;

static void *runner(void *arg) {
    Pair *p = arg;
    for (u32 round = 1; round <= 50; round++) {
        while (p->wanted != round) sched_yield();
        __asm__ volatile("fence.i" ::: "memory"); /* what was patched by another is seen behind it */
        for (int k = 0; k < 10; k++) MUST(((Function *)p->code)(100) == 100 * p->step + ((u64)p->base << 12));
        p->seen = round;
    }
    return NULL;
}

static void pair(Rng *r) {
    Pair p = {.code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    pthread_t t;
    MUST(p.code != MAP_FAILED && pthread_create(&t, NULL, runner, &p) == 0);
    for (u32 round = 1; round <= 50; round++) {
        p.step = rng_below(r, 2000), p.base = rng_below(r, 0x7ffff);
        compile(p.code, p.step, p.base);
        __builtin___clear_cache((char *)p.code, (char *)(p.code + 8));
        p.wanted = round;
        while (p.seen != round) sched_yield();
        across++;
    }
    MUST(pthread_join(t, NULL) == 0 && munmap(p.code, PAGE) == 0);
}

static void *work(void *arg) {
    Rng *r = arg;
    while (soak_goes_on()) switch (rng_below(r, 5)) {
        case 0: open_pages(r); break;
        case 1: flipped_pages(r); break;
        case 2: mapped_twice(r); break;
        case 3: at_one_place(r); break;
        case 4: pair(r); break;
        }
    return NULL;
}

int main(int argc, char **argv) {
    Rng r;
    soak_start(argc, argv, &r);
    soak_threads(&r, THREADS, work);
    printf("written %lu called %lu hot %lu flipped %lu mapped-twice %lu across %lu remapped %lu\n", written, called, hot, flipped, twice, across, remapped);
    return 0;
}
