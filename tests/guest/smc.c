/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes: one writable and executable mapping, two mappings of the same memory, mprotect cycles, pages
 * unmapped and mapped anew, another thread as the writer, code read from a file, code that changes itself.
 */
//: oracle: none
//: timeout: 60
#include "t.h"

#define P 4096ul
typedef long Fn(long);

static void flush(void *p, size_t n) { __builtin___clear_cache((char *)p, (char *)p + n); }

/* addi a0, a0, n; ret */
static size_t emit_add(void *at, int n) {
    uint32_t code[2] = {0x00050513 | (uint32_t)(n & 0xfff) << 20, 0x00008067};
    memcpy(at, code, sizeof(code));
    return sizeof(code);
}

/* A loop of its own: a0 times add n, so that it is hot and linked when it is patched. */
static size_t emit_loop(void *at, int n) {
    uint32_t code[] = {
        0x00050593,                               /* mv a1, a0 */
        0x00000513,                               /* li a0, 0 */
        0x00058863,                               /* 1: beqz a1, 2f */
        0x00050513 | (uint32_t)(n & 0xfff) << 20, /* addi a0, a0, n */
        0xfff58593,                               /* addi a1, a1, -1 */
        0xff5ff06f,                               /* j 1b */
        0x00008067,                               /* 2: ret */
    };
    memcpy(at, code, sizeof(code));
    return sizeof(code);
}

static void *map(int prot, int flags, int fd) {
    void *p = mmap(NULL, P, prot, flags, fd, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void one_mapping(void) {
    char *p = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int i = 0; i < 3000; i++) {
        flush(p, emit_add(p, i % 2000));
        CHECK(((Fn *)p)(100) == 100 + i % 2000);
    }
    for (int i = 0; i < 300; i++) {
        flush(p, emit_loop(p, i));
        CHECK(((Fn *)p)(1000) == 1000l * i);
        p[14] = 0x10; /* only one byte: the immediate becomes 1 + (low bits) */
        flush(p + 12, 4);
    }
    /* Many functions on one page, each changed in turn, all called each time. */
    for (int i = 0; i < 64; i++) emit_add(p + i * 16, i);
    flush(p, P);
    for (int round = 0; round < 100; round++) {
        emit_add(p + round % 64 * 16, 1000 + round);
        flush(p + round % 64 * 16, 8);
        CHECK(((Fn *)(p + round % 64 * 16))(1) == 1001 + round);
        long sum = 0;
        for (int i = 0; i < 64; i++) sum += ((Fn *)(p + i * 16))(0);
        CHECK(sum > 0);
    }
    /* Data on the page of code is written without a flush: the code goes on. */
    emit_add(p, 5);
    flush(p, 8);
    volatile long *data = (volatile long *)(p + 2048);
    for (int i = 0; i < 20000; i++) {
        *data = i;
        CHECK(((Fn *)p)(i) == i + 5 && *data == i);
    }
    munmap(p, P);
    puts("one mapping ok");
}

static void two_mappings(void) {
    int fd = memfd_create("code", 0);
    ftruncate(fd, P);
    char *w = map(PROT_READ | PROT_WRITE, MAP_SHARED, fd), *x = map(PROT_READ | PROT_EXEC, MAP_SHARED, fd);
    for (int i = 0; i < 2000; i++) {
        size_t n = emit_add(w, i % 1900);
        flush(x, n);
        CHECK(((Fn *)x)(7) == 7 + i % 1900);
    }
    /* Through the file itself, and through a mapping made later. */
    uint32_t code[2];
    emit_add(code, 77);
    CHECK(pwrite(fd, code, 8, 0) == 8);
    flush(x, 8);
    CHECK(((Fn *)x)(0) == 77);
    char *w2 = map(PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    emit_add(w2, 78);
    flush(x, 8);
    CHECK(((Fn *)x)(0) == 78);
    /* Another process writes. */
    pid_t pid = fork();
    if (pid == 0) {
        emit_add(w, 79);
        _exit(0);
    }
    print_end("writer", pid);
    flush(x, 8);
    CHECK(((Fn *)x)(0) == 79);
    puts("two mappings ok");
}

static void cycles(void) {
    char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int i = 0; i < 500; i++) {
        CHECK(mprotect(p, P, PROT_READ | PROT_WRITE) == 0);
        size_t n = emit_add(p, i);
        CHECK(mprotect(p, P, PROT_READ | PROT_EXEC) == 0);
        flush(p, n);
        CHECK(((Fn *)p)(0) == i);
    }
    for (int i = 0; i < 300; i++) { /* the same address, other pages */
        CHECK(munmap(p, P) == 0);
        CHECK(mmap(p, P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
        flush(p, emit_add(p, 600 + i));
        CHECK(((Fn *)p)(0) == 600 + i);
    }
    char *q = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int i = 0; i < 100; i++) { /* moved into the place of the other, over translated code */
        flush(q, emit_add(q, i));
        CHECK(((Fn *)q)(0) == i);
        CHECK(mremap(q, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
        flush(p, 8);
        CHECK(((Fn *)p)(0) == i);
        CHECK(mmap(q, P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q);
    }
    CHECK(madvise(p, P, MADV_DONTNEED) == 0); /* zeroes, which are no instruction */
    puts("cycles ok");
}

static sigjmp_buf back;
static void *fault_pc, *fault_addr;
static int fault_code, fault_sig;
static void escape(int sig, siginfo_t *info, void *context) {
    fault_sig = sig;
    fault_pc = (void *)UC_PC((ucontext_t *)context);
    fault_addr = info->si_addr;
    fault_code = info->si_code;
    siglongjmp(back, 1);
}

static void not_executable(void) {
    on_signal(SIGSEGV, escape, 0);
    on_signal(SIGILL, escape, 0);
    char *p = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    flush(p, emit_add(p, 1));
    CHECK(((Fn *)p)(1) == 2);
    CHECK(mprotect(p, P, PROT_READ | PROT_WRITE) == 0);
    if (sigsetjmp(back, 1) == 0) {
        ((Fn *)p)(1);
        CHECK(0);
    }
    CHECK(fault_sig == SIGSEGV && fault_code == SEGV_ACCERR && fault_pc == p && fault_addr == p);
    munmap(p, P);
    if (sigsetjmp(back, 1) == 0) {
        ((Fn *)p)(1);
        CHECK(0);
    }
    CHECK(fault_sig == SIGSEGV && fault_code == SEGV_MAPERR && fault_pc == p && fault_addr == p);
    if (sigsetjmp(back, 1) == 0) {
        ((Fn *)8)(1);
        CHECK(0);
    }
    CHECK(fault_pc == (void *)8 && fault_addr == (void *)8);
    /* Illegal instructions: address, and code after it and before it. */
    p = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    static const uint32_t illegal[] = {0, 0xffffffff, 0x0000707b, 0x30200073 /* mret */, 0xc0001073 /* write cycle */};
    for (int i = 0; i < COUNT(illegal); i++) {
        uint32_t code[] = {0x00150513, 0x00150513, illegal[i], 0x00008067};
        memcpy(p + 8, code, sizeof(code));
        flush(p, P);
        if (sigsetjmp(back, 1) == 0) {
            ((Fn *)(p + 8))(1);
            CHECK(0);
        }
        CHECK(fault_sig == SIGILL && fault_code == ILL_ILLOPC && fault_pc == p + 16 && fault_addr == p + 16);
    }
    /* An instruction whose second half lies on a page that is not there. */
    char *two = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t add = 0x00150513;
    memcpy(two + P - 2, &add, 4);
    memcpy(two + P + 2, &(uint32_t){0x00008067}, 4);
    flush(two, 2 * P);
    CHECK(((Fn *)(two + P - 2))(4) == 5);
    emit_add(two + P, 0);
    mprotect(two + P, P, PROT_NONE);
    if (sigsetjmp(back, 1) == 0) {
        ((Fn *)(two + P - 2))(4);
        CHECK(0);
    }
    CHECK(fault_sig == SIGSEGV && fault_pc == two + P - 2 && fault_addr == two + P);
    puts("not executable ok");
}

/* Another thread patches a function that this one calls all the time; from its signal on, the new one is seen. */
static char *shared_code;
static volatile int version, finished;
static void *patcher(void *arg) {
    for (int i = 1; i <= 500; i++) {
        uint32_t insn = 0x00050513 | (uint32_t)i << 20;
        __atomic_store_n((uint32_t *)shared_code, insn, __ATOMIC_RELAXED); /* one aligned instruction */
        flush(shared_code, 4); /* on every hart: the kernel's riscv_flush_icache */
        __atomic_store_n(&version, i, __ATOMIC_RELEASE);
        if (i % 10 == 0) sched_yield();
    }
    finished = 1;
    return NULL;
}

static void other_thread(void) {
    shared_code = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    flush(shared_code, emit_add(shared_code, 0));
    pthread_t t;
    pthread_create(&t, NULL, patcher, NULL);
    while (!finished) {
        int before = __atomic_load_n(&version, __ATOMIC_ACQUIRE);
        long got = ((Fn *)shared_code)(0);
        CHECK(got >= before && got <= 500);
    }
    pthread_join(t, NULL);
    CHECK(((Fn *)shared_code)(0) == 500);
    puts("other thread ok");
}

/* A function that patches the instruction behind its own fence.i. */
static void itself(void) {
    char *p = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    uint32_t code[] = {
        0x00b52023 | 0, /* sw a1, 0(a0)  -- a0: address of the last addi, a1: its new bits */
        0x0000100f,     /* fence.i */
        0x00000513,     /* li a0, 0 */
        0x00050513,     /* addi a0, a0, 0: the one that is patched */
        0x00008067,     /* ret */
    };
    memcpy(p, code, sizeof(code));
    flush(p, sizeof(code));
    for (int i = 0; i < 1000; i++) {
        long got = ((long (*)(void *, uint32_t))p)(p + 12, 0x00050513 | (uint32_t)i << 20);
        CHECK(got == i);
    }
    puts("itself ok");
}

static void from_file(void) {
    uint32_t code[2];
    int fd = open("code.bin", O_CREAT | O_RDWR | O_TRUNC, 0755);
    emit_add(code, 11);
    write(fd, code, 8);
    ftruncate(fd, P);
    char *x = map(PROT_READ | PROT_EXEC, MAP_PRIVATE, fd);
    CHECK(((Fn *)x)(0) == 11);
    char *buffer = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int i = 0; i < 200; i++) { /* the kernel writes the code: read(2) into the buffer */
        emit_add(code, i);
        CHECK(pwrite(fd, code, 8, 0) == 8 && pread(fd, buffer, 8, 0) == 8);
        flush(buffer, 8);
        CHECK(((Fn *)buffer)(0) == i);
    }
    puts("from file ok");
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    one_mapping();
    two_mappings();
    cycles();
    not_executable();
    other_thread();
    itself();
    from_file();
    return 0;
}
