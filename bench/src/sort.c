/* SPDX-License-Identifier: Apache-2.0 */
/* Integer: quicksort and heapsort of random keys, then a hash table with linear probing. */
#include "bench.h"

enum { N = 300000, SLOTS = 1 << 20 };
static uint32_t a[N], b[N], table[SLOTS], count[SLOTS];

static void quicksort(uint32_t *v, long n) {
    while (n > 16) {
        uint32_t pivot = v[n / 2];
        long i = 0, j = n - 1;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) {
                uint32_t t = v[i];
                v[i++] = v[j];
                v[j--] = t;
            }
        }
        quicksort(v, j + 1);
        v += i;
        n -= i;
    }
    for (long i = 1; i < n; i++) {
        uint32_t t = v[i];
        long j = i;
        for (; j > 0 && v[j - 1] > t; j--) v[j] = v[j - 1];
        v[j] = t;
    }
}

static void sift(uint32_t *v, long i, long n) {
    uint32_t t = v[i];
    for (long c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && v[c + 1] > v[c]) c++;
        if (v[c] <= t) break;
        v[i] = v[c];
    }
    v[i] = t;
}

static void heapsort_u32(uint32_t *v, long n) {
    for (long i = n / 2; i-- > 0;) sift(v, i, n);
    while (--n > 0) {
        uint32_t t = v[0];
        v[0] = v[n];
        v[n] = t;
        sift(v, 0, n);
    }
}

int main(void) {
    uint64_t sum = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) a[i] = b[i] = (uint32_t)bench_random();
        quicksort(a, N);
        heapsort_u32(b, N);
        for (int i = 0; i < N; i++) sum += (uint64_t)a[i] * i ^ b[i];
        memset(table, 0, sizeof(table));
        for (int i = 0; i < N * 2; i++) {
            uint32_t key = a[bench_random() % N] | 1, at = key * 2654435761u >> 12;
            while (table[at] && table[at] != key) at = (at + 1) & (SLOTS - 1);
            table[at] = key;
            count[at]++;
        }
        for (int i = 0; i < SLOTS; i++) sum = sum * 31 + count[i];
    }
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
