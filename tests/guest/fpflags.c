/* SPDX-License-Identifier: Apache-2.0 */
/* Exception flags are exact at any time, however they are raised, cleared, saved and put back: the first time, again, and so often that signals of the host's would
 * cost too much. Results that are tiny and exact raise nothing. SIGFPE stays the guest's. */
//: libs: -lm
#include "t.h"
#include <fenv.h>
#include <math.h>

enum { ALL = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW | FE_INEXACT };

static volatile double one = 1, zero = 0, three = 3, huge = 1e308, least = 0x1p-1022, half = 0.5, not = NAN;
static volatile float fone = 1, fthree = 3, fleast = 0x1p-126f;
static volatile double sink;
static volatile float fsink;

/* In an order of our own: the numbers of the host differ. */
static int flags(void) {
    int e = fetestexcept(ALL);
    return !!(e & FE_INVALID) << 4 | !!(e & FE_DIVBYZERO) << 3 | !!(e & FE_OVERFLOW) << 2 | !!(e & FE_UNDERFLOW) << 1 | !!(e & FE_INEXACT);
}

static int do_one(int kind) {
    switch (kind) {
    case 0: sink = one / three; break;
    case 1: sink = one / zero; break;
    case 2: sink = zero / zero; break;
    case 3: sink = huge * huge; break;
    case 4: sink = least * half; break;             /* tiny and exact */
    case 5: sink = (least + least * 0x1p-52) * half; break; /* tiny and not */
    case 6: sink = sqrt(-one); break;
    case 7: fsink = fone / fthree; break;
    case 8: fsink = fleast * 0.5f; break;
    case 9: fsink = (float)(one / three); break;
    case 10: sink = nearbyint(three * half); break;
    case 11: sink = rint(three * half); break;
    case 12: sink = (double)(long)(three * half); break;
    case 13: sink = not < one; break;
    case 14: sink = isless(not, one); break;
    case 15: sink = fma(one, three, half); break;
    case 16: sink = (float)least; break;
    case 17: sink = lrint(three * half); break;
    default: sink = one + one; break;
    }
    return flags();
}
enum { KINDS = 19 };

static void each_alone(const char *what) {
    printf("%s:", what);
    for (int kind = 0; kind < KINDS; kind++) {
        feclearexcept(ALL);
        printf(" %x", do_one(kind));
    }
    printf("\n");
}

static void each_on_top(void) {
    unsigned x = 1, sum = 0;
    feclearexcept(ALL);
    for (int i = 0; i < 3000; i++) {
        x = x * 1664525 + 1013904223;
        sum = sum * 31 + do_one((x >> 16) % KINDS);
        if (x >> 29 == 0) feclearexcept(ALL);
        if (x >> 29 == 1) feclearexcept(FE_INEXACT);
        if (x >> 29 == 2) feraiseexcept(FE_DIVBYZERO);
    }
    printf("sum %u\n", sum);
}

/* What is saved does not see what comes later, and what is put back takes it away. */
static void saved(void) {
    unsigned sum = 0;
    feclearexcept(ALL);
    for (int i = 0; i < 200; i++) {
        fexcept_t was;
        fenv_t env;
        fegetexceptflag(&was, ALL);
        do_one(i % KINDS);
        int now = flags();
        feholdexcept(&env);
        sum = sum * 31 + flags();
        do_one((i + 5) % KINDS);
        if (i % 3) feupdateenv(&env);
        else fesetenv(&env);
        sum = sum * 31 + now * 64 + flags();
        if (i % 7 == 0) fesetexceptflag(&was, ALL);
        sum = sum * 31 + flags();
    }
    printf("saved %u\n", sum);
}

static volatile int caught, caught_flags;
static void handler(int sig, siginfo_t *info, void *uc) {
    caught++;
    sink = one / three;
    caught_flags = flags();
}

static void signals(void) {
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t set, pending;
    sigaction(SIGFPE, &a, NULL);
    feclearexcept(ALL);
    raise(SIGFPE);
    CHECK(caught == 1 && (caught_flags & 1));
    sigemptyset(&set);
    sigaddset(&set, SIGFPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGFPE);
    feclearexcept(ALL);
    sink = one / three; /* while it is blocked */
    CHECK(caught == 1 && flags() == 1);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGFPE));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    CHECK(caught == 2);
    signal(SIGFPE, SIG_IGN);
    kill(getpid(), SIGFPE);
    feclearexcept(ALL);
    sink = one / zero;
    CHECK(flags() == 8);
    signal(SIGFPE, SIG_DFL);
    pid_t child = fork();
    if (!child) {
        feclearexcept(ALL);
        sink = zero / zero;
        kill(getpid(), SIGFPE);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGFPE);
    printf("caught %d, %x\n", caught, flags());
}

static void *thread(void *arg) {
    feclearexcept(ALL);
    int first = do_one((int)(long)arg);
    for (int i = 0; i < 200; i++) {
        feclearexcept(ALL);
        CHECK(do_one((int)(long)arg) == first);
    }
    return (void *)(long)first;
}

/* A loop that is hot: compared quietly, as compilers do for sqrt. */
static void hot(void) {
    unsigned sum = 0;
    double x = 1;
    feclearexcept(ALL);
    for (int i = 0; i < 200000; i++) {
        x = i == 150000 ? NAN : i == 150001 ? 2 : x * 1.0000001;
        sink = isless(x, one) ? 0 : sqrt(x);
        if (i % 50000 == 0) feclearexcept(ALL);
        if (i % 1000 == 0) sum = sum * 31 + flags();
    }
    printf("hot %u %x\n", sum, flags());
}

int main(void) {
    each_alone("first");
    each_alone("again");
    for (int i = 0; i < 10; i++) each_alone("often");
    each_on_top();
    saved();
    hot();
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    for (int m = 0; m < 4; m++) {
        fesetround(modes[m]);
        each_alone("mode");
    }
    signals();
    for (long kind = 0; kind < KINDS; kind++) {
        pthread_t t;
        void *result;
        pthread_create(&t, NULL, thread, (void *)kind);
        pthread_join(t, &result);
        printf("%lx%c", (long)result, kind == KINDS - 1 ? '\n' : ' ');
    }
    return 0;
}
