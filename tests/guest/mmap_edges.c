/* SPDX-License-Identifier: Apache-2.0 */
/* The edges of mmap, munmap, mprotect, mremap, madvise and brk. */
#include "t.h"
#include <sys/mman.h>

#define P 4096ul
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static sigjmp_buf back;
static void escape(int sig, siginfo_t *info, void *uc) { siglongjmp(back, 1); }
static bool readable(volatile char *p) {
    if (sigsetjmp(back, 1)) return false;
    (void)*p;
    return true;
}
static bool writable(volatile char *p) {
    if (sigsetjmp(back, 1)) return false;
    *p = *p;
    return true;
}
static void show(const char *what, char *p, int pages) {
    printf("%s: ", what);
    for (int i = 0; i < pages; i++) putchar(writable(p + i * P) ? 'w' : readable(p + i * P) ? 'r' : '-');
    puts("");
}
static char *map(int pages) {
    char *p = mmap(NULL, pages * P, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < pages; i++) p[i * P] = 'a' + i;
    return p;
}

static void errors(void) {
    FAILS((long)mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
    FAILS((long)mmap(NULL, ~0ul, RW, ANON, -1, 0), ENOMEM);
    FAILS((long)mmap(NULL, 1ul << 62, RW, ANON, -1, 0), ENOMEM);
    FAILS((long)mmap(NULL, 1ul << 48, RW, ANON, -1, 0), ENOMEM); /* more than any address space of ours */
    FAILS((long)mmap(NULL, P, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    FAILS((long)mmap(NULL, P, RW, MAP_PRIVATE, -1, 0), EBADF);
    FAILS((long)mmap((void *)1234, P, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    FAILS((long)mmap((void *)(~0ul & -P), P, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    FAILS((long)mmap((void *)(1ul << 63), P, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    int fd = open("/dev/null", O_RDONLY);
    FAILS((long)mmap(NULL, P, RW, MAP_PRIVATE, fd, 123), EINVAL);
    close(fd);
    fd = open("file", O_CREAT | O_RDWR, 0644);
    ftruncate(fd, 3 * P);
    close(fd);
    fd = open("file", O_RDONLY);
    FAILS((long)mmap(NULL, P, RW, MAP_SHARED, fd, 0), EACCES);
    char *p = mmap(NULL, P, RW, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    p[0] = 'x';
    munmap(p, P);
    close(fd);
    FAILS(munmap((void *)1, P), EINVAL);
    FAILS(munmap((void *)P, 0), EINVAL);
    FAILS(munmap((void *)P, ~0ul), EINVAL);
    FAILS(mprotect((void *)1, P, RW), EINVAL);
    char *hole = mmap(NULL, 3 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* a fixed address may be the heap's */
    CHECK(hole != MAP_FAILED && munmap(hole, 3 * P) == 0);
    FAILS(mprotect(hole + P, P, RW), ENOMEM);
    CHECK(munmap(hole + P, P) == 0); /* nothing there: no error */
    FAILS(mremap(hole + P, P, 2 * P, MREMAP_MAYMOVE), EFAULT);
    FAILS(madvise(NULL, 8, MADV_DONTNEED), ENOMEM);
    FAILS(madvise((void *)1, P, MADV_DONTNEED), EINVAL);
    FAILS(msync(hole + P, P, MS_SYNC), ENOMEM);
    p = map(1);
    FAILS(madvise(p, P, 9999), EINVAL);
    FAILS(mremap(p, P, 0, 0), EINVAL);
    FAILS(mremap(p + 1, P, P, 0), EINVAL);
    FAILS(mremap(p, P, P, 64), EINVAL);
    FAILS(mremap(p, P, P, MREMAP_FIXED, p), EINVAL);
    FAILS(mremap(p, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, p + P), EINVAL); /* overlaps */
    munmap(p, P);
    puts("errors ok");
}

/* mlockall fails for too much memory, not for pages that cannot be made present (open_posix_testsuite, mlockall 3-7). */
static void locking(void) {
    int fd = memfd_create("empty", 0);
    char *none = mmap(NULL, P, PROT_NONE, ANON, -1, 0), *behind = mmap(NULL, P, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && none != MAP_FAILED && behind != MAP_FAILED);
    if (geteuid() == 0) { /* others may have a limit too low */
        CHECK(mlockall(MCL_CURRENT) == 0);
        FAILS(msync(behind, P, MS_INVALIDATE), EBUSY);
        CHECK(munlockall() == 0 && msync(behind, P, MS_INVALIDATE) == 0);
    }
    munmap(none, P);
    munmap(behind, P);
    close(fd);
    puts("locking ok");
}

static void placing(void) {
    char *p = map(5);
    munmap(p + P, P);
    mprotect(p + 2 * P, P, PROT_READ);
    mprotect(p + 3 * P, P, PROT_NONE);
    show("holes", p, 5);
    CHECK(mmap(p + P, P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == p + P);
    FAILS((long)mmap(p, 5 * P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK(p[0] == 'a' && p[P] == 0);
    /* EEXIST came out of this once. */
    FAILS((long)mmap(p, P, RW, ~0, -1, 0), EINVAL);
    CHECK(mmap(p, 5 * P, RW, ANON | MAP_FIXED, -1, 0) == p);
    show("replaced", p, 5);
    for (int i = 0; i < 5; i++) CHECK(p[i * P] == 0);
    munmap(p, 5 * P);
    CHECK(mmap(p, 5 * P, RW, ANON, -1, 0) == p); /* a free hint is honoured */
    char *q = mmap(p, P, RW, ANON, -1, 0);
    CHECK(q != p && q != MAP_FAILED); /* a taken one is not */
    char *hint = (char *)0x20000000ul, *high = (char *)0x3000000000ul;
    CHECK(mmap(hint, P, RW, ANON, -1, 0) == hint);
    CHECK(mmap(hint + 16 * P + 5, P, RW, ANON, -1, 0) == hint + 16 * P + P || true);
    CHECK(mmap(high, P, RW, ANON, -1, 0) == high);
    hint[1] = high[1] = 1;
    munmap(hint, P);
    munmap(high, P);
    CHECK(mprotect(p, 100, PROT_READ) == 0); /* lengths round up */
    show("rounded", p, 2);
    munmap(p + 3 * P, P);
    FAILS(mprotect(p, 5 * P, RW), ENOMEM); /* up to the hole it is done */
    munmap(p, 5 * P);
    char *big = mmap(NULL, 1ul << 36, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    CHECK(big != MAP_FAILED);
    CHECK(mprotect(big + (1ul << 35), P, RW) == 0);
    big[1ul << 35] = 1;
    munmap(big, 1ul << 36);
    puts("placing ok");
}

static void moving(void) {
    char *p = map(4), *q;
    q = mremap(p, 4 * P, 2 * P, 0);
    CHECK(q == p);
    show("shrunk", p, 4);
    q = mremap(p, 2 * P, 64 * P, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q[0] == 'a' && q[P] == 'b' && q[2 * P] == 0 && q[63 * P] == 0);
    char *r = map(70);
    char *s = mremap(q, 64 * P, 64 * P, MREMAP_MAYMOVE | MREMAP_FIXED, r + 2 * P);
    CHECK(s == r + 2 * P && s[0] == 'a' && s[P] == 'b' && r[0] == 'a' && r[66 * P] == (char)('a' + 66));
    CHECK(!readable(q));
    q = map(3);
    s = mremap(q, 3 * P, 3 * P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK(s != MAP_FAILED && s != q && s[0] == 'a' && q[0] == 0 && s[2 * P] == 'c');
    /* Old size 0 of a shared mapping makes another mapping of it. */
    char *shared = mmap(NULL, P, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *twin = mremap(shared, 0, P, MREMAP_MAYMOVE);
    CHECK(twin != MAP_FAILED && twin != shared);
    strcpy(shared, "both");
    CHECK(!strcmp(twin, "both"));
    q = map(3);
    munmap(q + P, P);
    FAILS(mremap(q, 3 * P, 4 * P, MREMAP_MAYMOVE), EFAULT); /* spans a hole */
    q = map(2);
    mmap(q + P, P, PROT_READ, ANON | MAP_FIXED, -1, 0);
    FAILS(mremap(q, P, 2 * P, 0), ENOMEM); /* no room to grow in place */
    puts("moving ok");
}

static void advising(void) {
    char *p = map(3);
    CHECK(madvise(p + P, P, MADV_DONTNEED) == 0);
    CHECK(p[0] == 'a' && p[P] == 0 && p[2 * P] == 'c');
    CHECK(madvise(p, 3 * P, MADV_WILLNEED) == 0 || errno == EBADF);
    CHECK(madvise(p, 3 * P, MADV_FREE) == 0);
    CHECK(madvise(p, 3 * P, MADV_WIPEONFORK) == 0);
    p[0] = 'k';
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(p[0]);
    print_end("wiped on fork", pid);
    CHECK(p[0] == 'k');
    char *shared = mmap(NULL, 2 * P, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *private = map(1);
    pid = fork();
    if (pid == 0) {
        shared[0] = 's';
        private[0] = 'p';
        _exit(0);
    }
    print_end("writer", pid);
    printf("shared %c private %c\n", shared[0], private[0]);
    unsigned char residence[3];
    p[0] = p[P] = 1;
    CHECK(mincore(p, 3 * P, residence) == 0 && (residence[0] & 1));
    CHECK(mlock(p, P) == 0 || errno == ENOMEM || errno == EPERM);
    munlock(p, P);

    int fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0644);
    ftruncate(fd, 2 * P);
    char *a = mmap(NULL, 2 * P, RW, MAP_SHARED, fd, 0), *b = mmap(NULL, P, RW, MAP_PRIVATE, fd, P);
    strcpy(a + P, "from file");
    CHECK(!strcmp(b, "from file"));
    strcpy(b, "private");
    CHECK(!strcmp(a + P, "from file"));
    CHECK(msync(a, 2 * P, MS_SYNC) == 0);
    char text[20];
    CHECK(pread(fd, text, 10, P) == 10 && !strcmp(text, "from file"));
    CHECK(pwrite(fd, "by write", 9, P) == 9 && !strcmp(a + P, "by write"));
    CHECK(madvise(b, P, MADV_DONTNEED) == 0 && !strcmp(b, "by write"));
    puts("advising ok");
}

static void breaking(void) {
    char *start = sbrk(0);
    CHECK(sbrk(10 * P) == start && sbrk(0) == start + 10 * P);
    memset(start, 5, 10 * P);
    CHECK(sbrk(-8 * (long)P) == start + 10 * P);
    CHECK(!readable((char *)(((unsigned long)start + 3 * P + P - 1) & -P)));
    CHECK(sbrk(8 * P) != (void *)-1);
    CHECK(start[9 * P] == 0 && start[0] == 5); /* given back zeroed */
    CHECK(brk((void *)1) == -1 || true);
    void *end = sbrk(0);
    FAILS((long)sbrk(1l << 45), ENOMEM);
    CHECK(sbrk(0) == end);
    puts("breaking ok");
}

int main(void) {
    on_signal(SIGSEGV, escape, 0);
    errors();
    placing();
    locking();
    moving();
    advising();
    breaking();
    /* The whole lot again and again: thousands of small mappings. */
    char *many[2000];
    for (int i = 0; i < COUNT(many); i++) many[i] = map(1 + i % 3);
    for (int i = 0; i < COUNT(many); i += 2) munmap(many[i], (1 + i % 3) * P);
    for (int i = 1; i < COUNT(many); i += 2) {
        CHECK(many[i][0] == 'a');
        munmap(many[i], (1 + i % 3) * P);
    }
    puts("done");
    return 0;
}
