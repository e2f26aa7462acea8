/* SPDX-License-Identifier: Apache-2.0 */
/* Something to debug: recursion, floating point, a thread, an endless loop, a fault, vectors. */
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

static __attribute__((noipa)) void use(void) { __asm__ volatile(""); }

/* v1 holds the bytes 0 to 15, with five elements of 16 bits; prints what a debugger has made of v2 and vl. */
static void vectors(int fault) {
    static unsigned char in[16], out[16];
    unsigned long vl;
    for (int k = 0; k < 16; k++) in[k] = (unsigned char)k;
    __asm__ volatile(".option push; .option arch, +v; vsetivli x0, 5, e16, m1, ta, ma; csrwi vcsr, 5; vl1re8.v v1, (%0); vmv1r.v v2, v1; .option pop" : : "r"(in) : "memory");
    use();
    if (fault) *nowhere = 1;
    __asm__ volatile("csrr %1, 0xc20; .option push; .option arch, +v; vs1r.v v2, (%2); .option pop" : "+m"(out), "=&r"(vl) : "r"(out) : "memory");
    printf("%d %d %lu\n", out[0], out[15], vl);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t t;
    pthread_create(&t, NULL, other, NULL);
    pthread_join(t, NULL);
    printf("%d %g\n", depth(5), area(2.0));
    fflush(stdout);
    if (!strcmp(what, "vectors")) vectors(argc > 2);
    fflush(stdout);
    if (!strcmp(what, "spin")) forever();
    if (!strcmp(what, "fault")) *nowhere = 1;
    return 7;
}
