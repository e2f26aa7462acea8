/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in the guest, for kill.py: writes numbers to the disk for ever, and prints each that fsync says is safe. Where and how: as
 * tests/unit/block_test.c, which finds them again. In the other half of the disk clusters come and go. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { STAMPS = 4096, BLOCK = 4096 };

static uint64_t hash(uint64_t x) {
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 29);
}

int main(int argc, char **argv) {
    static uint64_t page[BLOCK / 8] __attribute__((aligned(BLOCK)));
    uint64_t size, seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    int fd = open(argv[1], O_RDWR | O_DIRECT);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size)) return perror(argv[1]), 1;
    for (uint64_t n = 1;; n++) {
        uint64_t at = hash(n % STAMPS + 1) % (size / 2 / BLOCK) * BLOCK;
        for (int i = 0; i < BLOCK / 8; i++) page[i] = at << 20 | n;
        if (pwrite(fd, page, BLOCK, at) != BLOCK) return perror("write"), 1;
        uint64_t range[2] = {hash(seed += n) % 128 * 65536 + size / 2, 65536};
        if (n % 3 == 0 && pwrite(fd, page, BLOCK, range[0]) != BLOCK) return perror("write"), 1;
        if (n % 5 == 0 && ioctl(fd, BLKDISCARD, range)) return perror("discard"), 1;
        if (hash(seed * 3 + n) % 7) continue;
        if (fsync(fd)) return perror("fsync"), 1;
        printf("safe %llu\n", (unsigned long long)n);
        fflush(stdout);
    }
}
