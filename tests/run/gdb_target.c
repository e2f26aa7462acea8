/* SPDX-License-Identifier: Apache-2.0 */
/* Something to debug: recursion, floating point, a thread, an endless loop, a fault. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static volatile int spin = 1, *nowhere;

static __attribute__((noipa)) int depth(int n) {
    int sum = n ? depth(n - 1) + n : 1;
    __asm__ volatile("" : "+r"(sum)); /* or the compiler makes a loop of it */
    return sum;
}
static __attribute__((noipa)) double area(double r) { return 3.25 * r * r; }
static __attribute__((noipa)) void forever(void) {
    while (spin) {}
}
static __attribute__((noipa)) void *other(void *arg) { return arg; }

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t t;
    pthread_create(&t, NULL, other, NULL);
    pthread_join(t, NULL);
    printf("%d %g\n", depth(5), area(2.0));
    fflush(stdout);
    if (!strcmp(what, "spin")) forever();
    if (!strcmp(what, "fault")) *nowhere = 1;
    return 7;
}
