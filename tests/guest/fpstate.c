/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding mode and exception flags: per thread, kept over signals, inherited by fork and threads, gone after exec. */
//: libs: -lm
#include "t.h"
#include <fenv.h>

static volatile double one = 1, three = 3, tiny = 1e-310, huge = 1e308;
static volatile float fone = 1, fthree = 3;

static uint64_t bits(double x) {
    uint64_t b;
    memcpy(&b, &x, 8);
    return b;
}
static uint32_t fbits(float x) {
    uint32_t b;
    memcpy(&b, &x, 4);
    return b;
}

static void show(const char *what) {
    int e = fetestexcept(FE_ALL_EXCEPT);
    printf("%s: %016lx %08x mode %d flags%s%s%s%s%s\n", what, (long)bits(one / three), fbits(fone / fthree),
           fegetround() == FE_TONEAREST ? 0 : fegetround() == FE_TOWARDZERO ? 1 : fegetround() == FE_DOWNWARD ? 2 : 3,
           e & FE_INEXACT ? " NX" : "", e & FE_UNDERFLOW ? " UF" : "", e & FE_OVERFLOW ? " OF" : "",
           e & FE_DIVBYZERO ? " DZ" : "", e & FE_INVALID ? " NV" : "");
}

static volatile int in_handler_mode, in_handler_flags;
static void handler(int sig, siginfo_t *info, void *uc) {
    in_handler_mode = fegetround() == FE_UPWARD;
    in_handler_flags = fetestexcept(FE_ALL_EXCEPT);
    volatile double x = huge;
    x *= huge; /* raises overflow, in here */
    fesetround(FE_TOWARDZERO);
}

static void *thread(void *arg) {
    show("new thread");
    fesetround(FE_DOWNWARD);
    feclearexcept(FE_ALL_EXCEPT);
    return NULL;
}

static volatile int stop;
static void *rounder(void *arg) { /* each thread has its own mode, whatever is switched in between */
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    static const uint64_t third[] = {0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555556};
    int mode = (int)(long)arg;
    fesetround(modes[mode]);
    while (!stop) {
        for (int i = 0; i < 1000; i++) CHECK(bits(one / three) == third[mode]);
        sched_yield();
    }
    return NULL;
}

int main(void) {
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    static volatile double values[] = {0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 1e15 + 0.5, -1e-300, 3.7, -3.7};
    show("at first");
    for (int m = 0; m < 4; m++) {
        fesetround(modes[m]);
        feclearexcept(FE_ALL_EXCEPT);
        show("mode");
        printf("%016lx %016lx %08x |", (long)bits(tiny / three), (long)bits(huge * huge), fbits((float)one / fthree));
        for (int i = 0; i < COUNT(values); i++) printf(" %ld", lrint(values[i]));
        printf(" | %a %a\n", (double)(float)(one / three), (double)(volatile float)(values[6]));
        show("after");
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double r = one / (three - three);
    show("divide by zero");
    feclearexcept(FE_ALL_EXCEPT);
    r = (three - three) / (one - one);
    CHECK(r != r);
    show("invalid");
    feclearexcept(FE_ALL_EXCEPT);

    fesetround(FE_UPWARD);
    r = one / three;
    on_signal(SIGUSR1, handler, 0);
    raise(SIGUSR1);
    show("after the handler");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        show("child");
        fflush(stdout);
        _exit(0);
    }
    print_end("child", pid);
    pthread_t t;
    feclearexcept(FE_ALL_EXCEPT);
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    show("after the thread");
    fesetround(FE_TONEAREST);
    pthread_t many[4];
    for (long i = 0; i < 4; i++) pthread_create(&many[i], NULL, rounder, (void *)i);
    sleep_ms(300);
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(many[i], NULL);
    fenv_t env;
    feholdexcept(&env);
    r = huge * huge;
    feclearexcept(FE_OVERFLOW);
    feupdateenv(&env);
    show("held");
    return 0;
}
