/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and returns: Fibonacci, Ackermann, Tak, mutual recursion. */
#include "bench.h"
static __attribute__((noinline)) long fib(long n) {
    __asm__ volatile(""); /* keep each call a call */
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static __attribute__((noinline)) long tak(long x, long y, long z) {
    return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}
static __attribute__((noinline)) long ack(long m, long n) {
    return m == 0 ? n + 1 : n == 0 ? ack(m - 1, 1) : ack(m - 1, ack(m, n - 1));
}
int main(void) {
    printf("%ld %ld %ld\n", fib(38), tak(24, 16, 8), ack(3, 10));
    return 0;
}
