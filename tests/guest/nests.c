/* SPDX-License-Identifier: Apache-2.0 */
/* Nests of loops, entered and left in their middle, whose inner loops use what outer ones have loaded: single precision, products, divisions; minima with the
 * place where they were found, also of NaNs, and loops over small functions that are not small enough for others (floor and the like). All numbers are exact. */
//: libs: -lm
#include "t.h"
#include <math.h>

enum { N = 24 };
static float a[N][4], b[N];
static double d[N];
static unsigned u[N];

static float forces(int rounds) {
    float sum = 0;
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < N; i++) {
            float x = a[i][0], y = a[i][1], z = a[i][2], fx = 0, fy = 0;
            for (int j = r % 3; j < N; j++) {
                float p = a[j][0] - x, q = a[j][1] - y;
                fx += p * q + z;
                fy += q - p;
                if (fx > 100000) fx -= 65536;
            }
            a[i][3] = fx;
            b[i] = fy;
            sum = (float)((int)(sum + fx - fy) & 0xffff);
            if (i == 17 && r % 50 == 49) break;
        }
    return sum;
}

static unsigned products(unsigned rounds) {
    unsigned sum = 0;
    for (unsigned r = 1; r <= rounds; r++)
        for (unsigned i = 0; i < N; i++) {
            unsigned k = u[i] * r | 1;
            for (unsigned j = i; j < N; j++) sum += u[j] / k + (u[j] * r >> 3);
            for (unsigned j = 0; j < i; j++)
                if ((sum += u[j] % k) & 0x80) goto next;
            u[(i + r) % N] ^= sum & 1;
        next:;
        }
    return sum;
}

static int nearest(double x, double *far) {
    int best = 0, farthest = 0;
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < N; i++) {
        double e = fabs(d[i] - x);
        if (e < least) least = e, best = i;
        if (most < e) most = e, farthest = i;
    }
    *far = most;
    return best * 100 + farthest;
}

static long rounding(int rounds) {
    long sum = 0;
    for (int i = 0; i < rounds; i++) {
        double x = (i % 4001 - 2000) * 0.125;
        float f = (float)(i % 77) * 0.25f - 9;
        sum = sum * 3 + (long)floor(x) + (long)ceil(x) * 5 + (long)trunc(x) + lround(x) * 7 + (long)round(x) + lrint(x) * 11 + (long)rint(x) + (long)nearbyint(x);
        sum = sum * 3 + (long)floorf(f) + (long)ceilf(f) * 5 + (long)truncf(f) + lroundf(f) * 7 + (long)roundf(f) + lrintf(f) * 11 + (long)rintf(f);
        sum += (long)fmax(x, f) + (long)fmin(x, f) * 3 + (long)fmaxf(f, NAN) + (x < f) + 2 * isless(x, f);
    }
    return sum;
}

int main(void) {
    long sum = 0;
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 3; k++) a[i][k] = (float)((i * 7 + k * 5) % 31 - 15);
        d[i] = i == 11 ? NAN : (i * 37 % 101) * 0.5;
        u[i] = (unsigned)i * 2654435761u >> 8;
    }
    printf("%g %u\n", forces(400), products(400));
    for (int i = 0; i < 3000; i++) {
        double far;
        sum = sum * 31 + nearest(i * 0.25 - 100, &far) + (long)(far * 4);
    }
    printf("%ld %ld\n", sum, rounding(20000));
    return 0;
}
