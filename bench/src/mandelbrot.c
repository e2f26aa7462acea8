/* SPDX-License-Identifier: Apache-2.0 */
/* Scalar floating point, double and single: the Mandelbrot set, with conversions and comparisons. */
#include "bench.h"
int main(void) {
    long sum = 0;
    for (int py = 0; py < 480; py++) {
        for (int px = 0; px < 640; px++) {
            double cx = px / 320.0 - 1.5, cy = py / 240.0 - 1.0, x = 0, y = 0;
            int n = 0;
            while (n < 200 && x * x + y * y < 4) {
                double t = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = t;
                n++;
            }
            sum = sum * 7 + n;
        }
    }
    for (int py = 0; py < 480; py++) {
        for (int px = 0; px < 640; px++) {
            float cx = (float)px / 320.0f - 1.5f, cy = (float)py / 240.0f - 1.0f, x = 0, y = 0;
            int n = 0;
            for (; n < 200 && x * x + y * y < 4; n++) {
                float t = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = t;
            }
            sum = sum * 7 + n + (int)(x * 16);
        }
    }
    printf("%lx\n", sum);
    return 0;
}
