/* SPDX-License-Identifier: Apache-2.0 */
/* Jumps, calls and returns to addresses where no code can be. Address 1 was found in the empty jump cache, which died of it; an address
 * with the rounding mode in its upper byte was taken for the code below it. */
//: oracle: qemu
//: libs: -lm
#include "t.h"
#include <fenv.h>

static sigjmp_buf back;
static volatile uint64_t at, pc;

static void segv(int sig, siginfo_t *info, void *uc) {
    (void)sig;
    at = (uint64_t)info->si_addr;
    pc = ((ucontext_t *)uc)->uc_mcontext.__gregs[0];
    siglongjmp(back, 1);
}

enum { JUMP, CALL, RETURN, KINDS };

static __attribute__((noinline)) void go(int kind, uint64_t to) {
    if (kind == JUMP) __asm__ volatile("jr %0" : : "r"(to));
    else if (kind == CALL) __asm__ volatile("mv t2, %0 ; jalr t2" : : "r"(to) : "t2", "ra");
    else __asm__ volatile("mv ra, %0 ; ret" : : "r"(to) : "ra");
}

static void wild(int kind, uint64_t to) {
    at = pc = 77;
    if (!sigsetjmp(back, 1)) go(kind, to);
    CHECK(at == (to & ~1ull) && pc == at);
}

static __attribute__((noinline)) uint64_t target(uint64_t x) { return x + 1; }

int main(void) {
    struct sigaction a = {.sa_sigaction = segv, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &a, NULL) == 0);
    static const uint64_t to[] = {0, 1, 2, 3, 4096, 4097, ~0ull, ~1ull, 1ull << 56, 1ull << 63 | 1};
    static uint64_t (*volatile pointer)(uint64_t) = target;
    uint64_t count = 0;
    for (int round = 0; round < 4; round++) {
        fesetround(round & 1 ? FE_TOWARDZERO : FE_TONEAREST);
        for (int k = 0; k < 100; k++) count = pointer(count); /* the caches know it */
        for (size_t k = 0; k < sizeof to / sizeof *to; k++)
            for (int kind = 0; kind < KINDS; kind++) wild(kind, to[k]);
        for (int kind = 0; kind < KINDS; kind++) wild(kind, (uint64_t)target | 1ull << 56);
    }
    printf("%lu\n", (unsigned long)count);
    return 0;
}
