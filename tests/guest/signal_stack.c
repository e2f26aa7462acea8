/* SPDX-License-Identifier: Apache-2.0 */
/* Alternate signal stacks: runaway recursion is caught on one; states and errors of sigaltstack. */
#include "t.h"

static sigjmp_buf back;
static char *alt_base;
stack_t inside; /* not static, as in signal_info.c */
bool on_alt;

static bool is_on_alt(void *p) { return (char *)p >= alt_base && (char *)p < alt_base + 65536; }

static void overflow(int sig, siginfo_t *info, void *uc) {
    int here;
    on_alt = is_on_alt(&here);
    siglongjmp(back, 1);
}

static void look(int sig, siginfo_t *info, void *uc) {
    int here;
    on_alt = is_on_alt(&here);
    CHECK(sigaltstack(NULL, &inside) == 0);
    if (inside.ss_flags & SS_ONSTACK) {
        stack_t other = {.ss_sp = malloc(65536), .ss_size = 65536};
        FAILS(sigaltstack(&other, NULL), EPERM); /* not while it is in use */
    }
}

static volatile int sink;
static __attribute__((noinline)) void forever(int n) {
    volatile char frame[200];
    frame[n % 200] = 1;
    forever(n + 1);
    sink += frame[n % 200];
}

int main(void) {
    struct rlimit limit = {1 << 20, 1 << 20};
    stack_t alt = {.ss_sp = alt_base = malloc(65536), .ss_size = 65536}, old;
    CHECK(sigaltstack(NULL, &old) == 0);
    printf("at first: flags %d\n", old.ss_flags);
    CHECK(sigaltstack(&alt, NULL) == 0);
    on_signal(SIGSEGV, overflow, SA_ONSTACK);
    setrlimit(RLIMIT_STACK, &limit);
    for (int i = 0; i < 3; i++) {
        if (sigsetjmp(back, 1) == 0) forever(0);
        printf("overflow caught, on the alternate stack: %d\n", on_alt);
    }
    on_signal(SIGUSR1, look, SA_ONSTACK);
    raise(SIGUSR1);
    printf("with SA_ONSTACK: there %d, flags %d, size %zu\n", on_alt, inside.ss_flags, inside.ss_size);
    on_signal(SIGUSR1, look, 0);
    raise(SIGUSR1);
    printf("without: there %d, flags %d\n", on_alt, inside.ss_flags);
    sigaltstack(NULL, &old);
    printf("after: flags %d, same %d\n", old.ss_flags, old.ss_sp == alt_base);
    alt.ss_flags = 1 << 31; /* SS_AUTODISARM */
    CHECK(sigaltstack(&alt, NULL) == 0);
    on_signal(SIGUSR1, look, SA_ONSTACK);
    raise(SIGUSR1);
    printf("autodisarm: there %d, flags inside %d\n", on_alt, inside.ss_flags);
    sigaltstack(NULL, &old);
    printf("armed again: %x, same %d\n", old.ss_flags, old.ss_sp == alt_base);
    alt.ss_flags = 0;
    alt.ss_size = 100;
    FAILS(sigaltstack(&alt, NULL), ENOMEM);
    alt.ss_size = 65536;
    alt.ss_flags = 8;
    FAILS(sigaltstack(&alt, NULL), EINVAL);
    FAILS(syscall(SYS_sigaltstack, 1, NULL), EFAULT);
    alt.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&alt, &old) == 0);
    sigaltstack(NULL, &old);
    printf("disabled: flags %d\n", old.ss_flags);
    return 0;
}
