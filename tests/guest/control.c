/* SPDX-License-Identifier: Apache-2.0 */
/* Control flow of every shape: recursion, indirect calls, switch tables, computed goto, longjmp, tail calls. */
//: timeout: 60
#include "t.h"

typedef long Fn(long);
#define F(n) static __attribute__((noinline)) long f##n(long x) { return x * (n + 3) + n; }
F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
static Fn *volatile table[] = {f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15};

static __attribute__((noinline)) long deep(long n) { return n == 0 ? 0 : deep(n - 1) + (n ^ 3); }
static __attribute__((noinline)) bool odd(long n);
static __attribute__((noinline)) bool even(long n) { return n == 0 ? true : odd(n - 1); }
static __attribute__((noinline)) bool odd(long n) { return n == 0 ? false : even(n - 1); }
static __attribute__((noinline)) long ackermann(long m, long n) {
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

static __attribute__((noinline)) long dispatch(unsigned op, long x) {
    switch (op % 20) {
    case 0: return x + 1;
    case 1: return x * 3;
    case 2: return x ^ 0x55;
    case 3: return x - 7;
    case 4: return x << 1;
    case 5: return x >> 1;
    case 6: return -x;
    case 7: return ~x;
    case 8: return x | 9;
    case 9: return x & 0xffff;
    case 10: return x % 1000;
    case 11: return x / 3;
    case 12: return x * x;
    case 13: return x + 13;
    case 17: return x ^ x >> 5;
    default: return x;
    }
}

static long threaded(const unsigned char *code, int n) {
    static const void *const labels[] = {&&inc, &&dbl, &&sub, &&xor, &&jmp};
    long x = 1, steps = 0;
    int pc = 0;
#define NEXT                                                                                                          \
    do {                                                                                                              \
        if (++steps > 2000000) return x;                                                                              \
        pc = (pc + 1) % n;                                                                                            \
        goto *labels[code[pc] % 5];                                                                                   \
    } while (0)
    NEXT;
inc: x += 3; NEXT;
dbl: x = x * 2 & 0xffffffff; NEXT;
sub: x -= steps & 7; NEXT;
xor: x ^= steps; NEXT;
jmp: pc = (int)((unsigned long)x % n); NEXT;
}

static jmp_buf buffers[8];
static __attribute__((noinline)) void unwind_from(int depth, int target) {
    volatile char pad[100];
    pad[depth % 100] = 1;
    if (depth == 0) longjmp(buffers[target], target + 1);
    unwind_from(depth - 1, target);
    pad[0]++;
}
static long nested(int level, int target) {
    int v = setjmp(buffers[level]);
    if (v) return v * 100 + level;
    if (level == 7) unwind_from(500, target);
    return nested(level + 1, target) + 1;
}

static int compare(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static long variadic(int n, ...) {
    va_list ap;
    long sum = 0;
    va_start(ap, n);
    for (int i = 0; i < n; i++) sum = sum * 3 + (i % 3 == 2 ? (long)va_arg(ap, double) : va_arg(ap, long));
    va_end(ap);
    return sum;
}

struct big { long a[20]; };
static __attribute__((noinline)) struct big by_value(struct big b, int n) {
    for (int i = 0; i < 20; i++) b.a[i] += i * n;
    return n ? by_value(b, n - 1) : b;
}

int main(void) {
    long x = 1;
    unsigned r = 12345;
    for (int i = 0; i < 300000; i++) {
        r = r * 1103515245 + 12345;
        x = table[r >> 16 & 15](x) & 0xffffffffff;
    }
    printf("indirect %ld\n", x);
    for (int i = 0; i < 300000; i++) {
        r = r * 1103515245 + 12345;
        x = dispatch(r >> 16, x) & 0xffffffffff;
    }
    printf("switch %ld\n", x);
    unsigned char code[97];
    for (int i = 0; i < COUNT(code); i++) code[i] = (unsigned char)(r = r * 1103515245 + 12345, r >> 20);
    printf("threaded %ld\n", threaded(code, COUNT(code)));
    printf("deep %ld\n", deep(50000));
    printf("even %d %d\n", even(1000000), even(1000001));
    printf("ackermann %ld %ld\n", ackermann(2, 300), ackermann(3, 6));
    for (int i = 0; i < 8; i++) printf("longjmp %d: %ld\n", i, nested(0, i));
    for (volatile int i = 0; i < 2000; i++) nested(0, i % 8);
    long values[5000];
    for (int i = 0; i < COUNT(values); i++) values[i] = (r = r * 1103515245 + 12345) >> 8;
    qsort(values, COUNT(values), sizeof(long), compare);
    for (int i = 1; i < COUNT(values); i++) CHECK(values[i - 1] <= values[i]);
    printf("sorted %ld %ld\n", values[0], values[COUNT(values) - 1]);
    printf("variadic %ld\n", variadic(12, 1l, 2l, 3.0, 4l, 5l, 6.0, 7l, 8l, 9.0, 10l, 11l, 12.0));
    struct big b = {{1, 2, 3}};
    b = by_value(b, 50);
    printf("by value %ld %ld %ld\n", b.a[0], b.a[1], b.a[19]);
    for (int n = 1; n < 3000; n += 100) {
        char *p = __builtin_alloca(n);
        memset(p, n, n);
        x += (unsigned char)p[n - 1];
    }
    printf("alloca %ld\n", x);
    return 0;
}
