/* SPDX-License-Identifier: Apache-2.0 */
/* A function of several loops of few rounds each, called all the time: what becomes a region of the whole function (engine/tier.c). It is entered anew, by
 * callers of all kinds, while and after that happens; one call in many faults in its middle. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>

enum { ROUNDS = 60000, ROW = 24 };
static uint64_t row[ROW + 8];
static jmp_buf back;
static volatile unsigned faults;

static void on_fault(int sig) {
    (void)sig;
    faults++;
    siglongjmp(back, 1);
}

#define MIX(s) sum ^= sum << 13, sum ^= sum >> 7, sum ^= sum << 17, sum += x >> s;
#define MIX4(s) MIX(s) MIX(s + 3) MIX(s + 5) MIX(s + 9)

/* Too long to be taken into a caller's region. */
__attribute__((noinline)) static uint64_t search(const uint64_t *from, uint64_t x, unsigned n) {
    uint64_t sum = x;
    for (unsigned k = 0; k < n; k++) sum = sum * 3 + from[k];
    sum ^= sum >> 29;
    sum *= 0x9e3779b97f4a7c15u;
    for (unsigned k = 0; k < (sum & 7); k++) sum += row[k] >> k;
    MIX4(1) MIX4(4) MIX4(9) MIX4(14) MIX4(20) MIX4(30)
    MIX4(2) MIX4(5) MIX4(8) MIX4(15) MIX4(21) MIX4(29)
    MIX4(3) MIX4(6) MIX4(7) MIX4(16) MIX4(22) MIX4(28)
    for (unsigned k = n; k; k--) row[k % ROW] ^= sum >> k;
    return sum;
}

/* Its loop is a region, which calls. */
__attribute__((noinline)) static uint64_t outer(uint64_t (*other)(const uint64_t *, uint64_t, unsigned), int rounds) {
    uint64_t sum = 1;
    for (int k = 0; k < rounds; k++) {
        unsigned n = 2 + k % 5;
        sum += search(row, sum, n);
        if (k % 3 == 0) sum ^= search(row + 1, sum + (uint64_t)k, n);
        if (k % 7 == 0) sum -= other(row + 2, sum, n);
        if (k % 4096 == 4095 && !sigsetjmp(back, 1)) sum += search((uint64_t *)8, sum, n);
    }
    return sum;
}

int main(void) {
    struct sigaction a = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &a, NULL);
    for (unsigned k = 0; k < ROW + 8; k++) row[k] = k * 0x123456789abcdefu;
    for (int k = 0; k < 3; k++) printf("%016lx\n", (unsigned long)outer(search, ROUNDS));
    printf("%u faults\n", faults);
    return 0;
}
