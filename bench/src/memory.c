/* SPDX-License-Identifier: Apache-2.0 */
/* Loads and stores of all sizes: byte swaps, bit counts, a blur, counting sort. */
#include "bench.h"
enum { W = 640, H = 480 };
static uint8_t image[H][W], blurred[H][W];
static uint16_t wide[1 << 16];
int main(void) {
    uint64_t sum = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) image[y][x] = (uint8_t)bench_random();
    for (int t = 0; t < 80; t++) {
        for (int y = 1; y < H - 1; y++)
            for (int x = 1; x < W - 1; x++) {
                int s = 0;
                for (int dy = -1; dy <= 1; dy++)
                    for (int dx = -1; dx <= 1; dx++) s += image[y + dy][x + dx];
                blurred[y][x] = (uint8_t)(s / 9);
            }
        memcpy(image, blurred, sizeof(image));
        uint32_t counts[256] = {0};
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) counts[image[y][x]]++;
        for (int i = 0; i < 256; i++) sum = sum * 33 + counts[i];
    }
    for (int i = 0; i < 1 << 16; i++) wide[i] = (uint16_t)bench_random();
    for (int t = 0; t < 400; t++)
        for (int i = 0; i < 1 << 16; i++) {
            uint32_t v = (uint32_t)(wide[i] << 8 | wide[i] >> 8) & 0xffff;
            v = (v & 0x5555) + (v >> 1 & 0x5555);
            v = (v & 0x3333) + (v >> 2 & 0x3333);
            wide[i] = (uint16_t)(wide[i] + v * 257);
            sum += wide[i];
        }
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
