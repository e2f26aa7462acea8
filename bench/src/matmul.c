/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point that a vectoriser likes: saxpy, matrix product, a stencil. */
#include "bench.h"
enum { N = 192, M = 1 << 14 };
static double a[N][N], b[N][N], c[N][N];
static float x[M], y[M];
int main(void) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = (double)(bench_random() & 255) / 16, b[i][j] = (double)(bench_random() & 255) / 32;
    for (int i = 0; i < M; i++) x[i] = (float)(bench_random() & 255) / 64, y[i] = 0;
    for (int t = 0; t < 12; t++)
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
    for (int t = 0; t < 5000; t++)
        for (int i = 0; i < M; i++) y[i] = y[i] * 0.5f + x[i] * 1.25f;
    for (int t = 0; t < 1500; t++)
        for (int i = 1; i + 1 < M; i++) x[i] = (x[i - 1] + x[i] + x[i + 1]) * 0.3333f;
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) sum += c[i][j];
    float fsum = 0;
    for (int i = 0; i < M; i++) fsum += x[i] + y[i];
    printf("%.6f %.6f\n", sum, (double)fsum);
    return 0;
}
