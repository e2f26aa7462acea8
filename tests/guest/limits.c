/* SPDX-License-Identifier: Apache-2.0 */
/* RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK and RLIMIT_NOFILE as the guest sees them; absurd sizes; runaway recursion. */
#include "t.h"

static void limit(int resource, rlim_t value) {
    struct rlimit l;
    CHECK(getrlimit(resource, &l) == 0);
    l.rlim_cur = value;
    CHECK(setrlimit(resource, &l) == 0);
    CHECK(getrlimit(resource, &l) == 0);
    CHECK(l.rlim_cur == value);
}

static void *map(size_t size) { return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }

static char self[PATH_MAX];

static void address_space(void) {
    limit(RLIMIT_AS, 256 << 20);
    CHECK(map(512 << 20) == MAP_FAILED && errno == ENOMEM);
    void *p = map(100 << 20);
    CHECK(p != MAP_FAILED);
    CHECK(map(200 << 20) == MAP_FAILED && errno == ENOMEM);
    CHECK(mremap(p, 100 << 20, 220 << 20, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    CHECK(munmap(p, 100 << 20) == 0);
    CHECK(map(200 << 20) != MAP_FAILED);
    CHECK(malloc(100 << 20) == NULL && errno == ENOMEM);
    execl(self, self, "as", NULL);
}

static void absurd(void) {
    CHECK(map((size_t)1 << 62) == MAP_FAILED && errno == ENOMEM);
    CHECK(map((size_t)-4096) == MAP_FAILED && errno == ENOMEM);
    CHECK(map(0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap((void *)4097, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
    FAILS(munmap((void *)1, 4096), EINVAL);
    /* What collectors and sanitizers reserve. */
    void *p = mmap(NULL, (size_t)1 << 37, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED && mprotect((char *)p + (1l << 36), 4096, PROT_READ | PROT_WRITE) == 0);
    ((char *)p)[1l << 36] = 1;
}

static int deep(volatile char *p) {
    volatile char more[512];
    more[0] = p ? (char)(p[0] + 1) : 1;
    return deep(more) + more[0];
}
static void recursion(void) { exit(deep(NULL)); }

static void small_stack(void) {
    limit(RLIMIT_STACK, 1 << 20);
    execl(self, self, "stack", NULL);
}

static void files(void) {
    limit(RLIMIT_NOFILE, 20);
    int fd, count = 0;
    while ((fd = dup(0)) >= 0) count += fd < 20;
    printf("descriptors %d errno %d\n", count > 5, errno);
    FAILS(fcntl(0, F_DUPFD, 20), EINVAL);
}

static void file_size(void) {
    on_signal(SIGXFSZ, (void (*)(int, siginfo_t *, void *))SIG_IGN, 0);
    signal(SIGXFSZ, SIG_IGN);
    limit(RLIMIT_FSIZE, 10);
    char path[] = "/tmp/limits.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    CHECK(write(fd, "0123456789abc", 13) == 10);
    FAILS(write(fd, "x", 1), EFBIG);
}

static void processor_time(void) {
    limit(RLIMIT_CPU, 1);
    for (;;) {}
}

int main(int argc, char **argv) {
    struct rlimit l;
    if (argc > 1) {
        bool stack = argv[1][0] == 's';
        CHECK(getrlimit(stack ? RLIMIT_STACK : RLIMIT_AS, &l) == 0);
        printf("after execve %ld\n", (long)l.rlim_cur);
        if (stack) exit(deep(NULL));
        CHECK(map(512 << 20) == MAP_FAILED && errno == ENOMEM);
        return 0;
    }
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    in_child("address space", address_space);
    in_child("absurd sizes", absurd);
    in_child("recursion", recursion);
    in_child("small stack", small_stack);
    in_child("files", files);
    in_child("file size", file_size);
    in_child("processor time", processor_time);
    FAILS(setrlimit(99, &l), EINVAL);
    return 0;
}
