/* SPDX-License-Identifier: Apache-2.0 */
/* Calls through pointers: objects of several classes in random order. */
#include "bench.h"
typedef struct Shape Shape;
struct Shape {
    long (*area)(const Shape *);
    void (*grow)(Shape *, long);
    long w, h;
};
#define N __attribute__((noinline)) static
N long rect_area(const Shape *s) { return s->w * s->h; }
N long tri_area(const Shape *s) { return s->w * s->h / 2; }
N long square_area(const Shape *s) { return s->w * s->w; }
N long line_area(const Shape *s) { return 0 * s->w; }
N void grow_both(Shape *s, long n) { s->w = (s->w + n) & 1023, s->h = (s->h + n) & 1023; }
N void grow_width(Shape *s, long n) { s->w = (s->w + n) & 1023; }
N void grow_height(Shape *s, long n) { s->h = (s->h + n) & 1023; }

int main(void) {
    static Shape shapes[1000];
    long (*const areas[])(const Shape *) = {rect_area, tri_area, square_area, line_area};
    void (*const grows[])(Shape *, long) = {grow_both, grow_width, grow_height};
    long sum = 0;
    for (int i = 0; i < 1000; i++) {
        shapes[i] = (Shape){areas[bench_random() % 4], grows[bench_random() % 3], bench_random() & 255, bench_random() & 255};
    }
    for (int t = 0; t < 12000; t++) {
        for (int i = 0; i < 1000; i++) {
            Shape *s = &shapes[i];
            sum += s->area(s);
            s->grow(s, sum & 3);
        }
    }
    printf("%ld\n", sum);
    return 0;
}
