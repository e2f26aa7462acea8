/* SPDX-License-Identifier: Apache-2.0 */
/* longjmp out of SIGSEGV handlers, many thousand times: from loops, from deep calls, from an alternate stack. */
//: timeout: 60
#include "t.h"

static sigjmp_buf back;
static jmp_buf plain;
static char *bad;
static volatile long faults;

static void handler(int sig, siginfo_t *info, void *uc) {
    faults++;
    CHECK((char *)info->si_addr >= bad && (char *)info->si_addr < bad + 4096);
    siglongjmp(back, (int)((char *)info->si_addr - bad) + 1);
}

static void handler_plain(int sig, siginfo_t *info, void *uc) {
    faults++;
    longjmp(plain, 1); /* the signal stays blocked unless SA_NODEFER */
}

static __attribute__((noinline)) int deep(int n, volatile char *p) {
    volatile char pad[64];
    pad[n & 63] = (char)n;
    if (n == 0) return *p;
    return deep(n - 1, p) + pad[n & 63];
}

static __attribute__((noinline)) long loop(volatile char *p, long n) {
    long a = 1, b = 2, c = 3, d = 5;
    double x = 1.5;
    for (long i = 0;; i++) {
        a += b ^ i;
        b += c;
        c ^= d << 1;
        d += a & 7;
        x = x * 1.0000001 + 0.5;
        if (i == n) a += *p;
    }
    return a + b + c + d + (long)x;
}

int main(void) {
    bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    on_signal(SIGSEGV, handler, 0);
    volatile long sum = 0;
    for (volatile int i = 0; i < 20000; i++) {
        int v = sigsetjmp(back, 1);
        if (v == 0) {
            if (i & 1) bad[i & 4095] = 1;
            else sum += ((volatile char *)bad)[i & 4095];
            CHECK(0);
        }
        CHECK(v == (i & 4095) + 1);
        sum += v;
    }
    printf("faults %ld sum %ld\n", faults, sum);

    for (volatile int i = 0; i < 2000; i++) {
        if (sigsetjmp(back, 1) == 0) {
            deep(i % 300, bad + 9);
            CHECK(0);
        }
    }
    printf("deep, faults %ld\n", faults);
    for (volatile int i = 0; i < 300; i++) {
        if (sigsetjmp(back, 1) == 0) {
            loop(bad + 1, i * 10);
            CHECK(0);
        }
    }
    printf("loop, faults %ld\n", faults);

    stack_t alt = {.ss_sp = malloc(65536), .ss_size = 65536};
    CHECK(sigaltstack(&alt, NULL) == 0);
    on_signal(SIGSEGV, handler, SA_ONSTACK);
    for (volatile int i = 0; i < 3000; i++) {
        if (sigsetjmp(back, 1) == 0) {
            deep(3, bad);
            CHECK(0);
        }
    }
    stack_t state;
    sigaltstack(NULL, &state);
    printf("altstack, faults %ld, still on it %d\n", faults, state.ss_flags == SS_ONSTACK);

    on_signal(SIGSEGV, handler_plain, SA_NODEFER);
    for (volatile int i = 0; i < 3000; i++) {
        if (setjmp(plain) == 0) {
            ((volatile char *)bad)[i & 4095] = 1;
            CHECK(0);
        }
    }
    printf("plain, faults %ld\n", faults);
    return 0;
}
