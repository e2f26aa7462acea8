/* SPDX-License-Identifier: Apache-2.0 */
/* Branches that nobody can predict: Collatz, a life board, a queens search. */
#include "bench.h"

static unsigned char board[2][258][258];
static int queens(int n, unsigned cols, unsigned d1, unsigned d2) {
    unsigned all = (1u << n) - 1, free = all & ~(cols | d1 | d2);
    if (cols == all) return 1;
    int total = 0;
    while (free) {
        unsigned bit = free & -free;
        free -= bit;
        total += queens(n, cols | bit, (d1 | bit) << 1, (d2 | bit) >> 1);
    }
    return total;
}

int main(void) {
    uint64_t sum = 0;
    for (uint64_t i = 1; i < 700000; i++) {
        uint64_t x = i;
        while (x != 1) {
            if (x & 1) x = 3 * x + 1;
            else x >>= 1;
            sum++;
        }
    }
    for (int i = 1; i <= 256; i++)
        for (int j = 1; j <= 256; j++) board[0][i][j] = bench_random() & 1;
    for (int t = 0; t < 150; t++) {
        for (int i = 1; i <= 256; i++) {
            for (int j = 1; j <= 256; j++) {
                unsigned char(*b)[258] = board[t & 1];
                int n = b[i - 1][j - 1] + b[i - 1][j] + b[i - 1][j + 1] + b[i][j - 1] + b[i][j + 1] + b[i + 1][j - 1] +
                        b[i + 1][j] + b[i + 1][j + 1];
                if (n == 3) board[!(t & 1)][i][j] = 1;
                else if (n == 2) board[!(t & 1)][i][j] = b[i][j];
                else board[!(t & 1)][i][j] = 0;
            }
        }
    }
    for (int i = 1; i <= 256; i++)
        for (int j = 1; j <= 256; j++) sum = sum * 3 + board[0][i][j];
    printf("%llx %d\n", (unsigned long long)sum, queens(11, 0, 0, 0));
    return 0;
}
