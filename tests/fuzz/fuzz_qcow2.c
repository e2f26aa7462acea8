/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2 images from anywhere: opening says yes or why not, and requests to what opens end, well or with an error. The bytes overwrite a good
 * small image: its header, tables and counts, byte by byte; what is left of them says which requests. */
#include "back/block.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CLUSTER = 512, L1 = 512, REFTABLE = 1024, REFBLOCK = 1536, L2 = 2048, DATA = 2560, SIZE = 6 * CLUSTER, DISK = 256 * 1024 };

static void put64(u8 *at, u64 v) {
    v = __builtin_bswap64(v);
    memcpy(at, &v, 8);
}

static void good(u8 *f) {
    static const u8 header[104] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, [23] = 9, [29] = DISK >> 16, [39] = DISK / CLUSTER / 64, [46] = L1 >> 8, [54] = REFTABLE >> 8, [59] = 1, [99] = 4, [103] = 104};
    memset(f, 0, SIZE);
    memcpy(f, header, sizeof(header));
    put64(f + L1, 1ull << 63 | L2);
    put64(f + REFTABLE, REFBLOCK);
    put64(f + L2, 1ull << 63 | DATA);
    put64(f + L2 + 8, 1);
    put64(f + L2 + 16, 1ull << 62 | DATA);
    for (u32 k = 0; k < 6; k++) f[REFBLOCK + 2 * k + 1] = 1;
}

static void request(Block *b, u8 what, u8 where) {
    static u8 buffer[8192];
    u64 offset = (u64)where * 1024 % (b->size ? b->size : 1), size = MIN(512u * (1u + what / 16), b->size - offset);
    struct iovec iov[2] = {{buffer, size / 2}, {buffer + size / 2, size - size / 2}};
    switch (what % 8) {
    case 0: case 1: case 2: block_read(b, offset, iov, 2); break;
    case 3: case 4: if (!b->read_only) block_write(b, offset, iov, 2); break;
    case 5: if (!b->read_only) block_zero(b, offset, size, what & 16); break;
    case 6: if (!b->read_only) block_discard(b, offset, size); break;
    case 7: block_flush(b); break;
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static u8 file[SIZE];
    char why[256];
    if (size < 4) return 0;
    good(file);
    size_t changes = data[0] % 24u, at = 2;
    for (size_t i = 0; i < changes && at + 3 <= size; i++, at += 3) file[(data[at] | data[at + 1] << 8) % (data[1] & 2 ? SIZE : 120)] = data[at + 2];
    int fd = memfd_create("qcow2", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file, sizeof(file)) != (ssize_t)sizeof(file)) return 0;
    memset(file + 8, 0, 8); /* no backing file: names of host files are for block.py */
    if (pwrite(fd, file + 8, 8, 8) != 8) return 0;
    Block *b = qcow2_open(fd, "fuzz", data[1] & 1, 0, why, sizeof(why));
    for (; b && at + 2 <= size && b->size; at += 2) request(b, data[at], data[at + 1]);
    block_drop(b);
    return 0;
}
