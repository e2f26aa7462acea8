/* SPDX-License-Identifier: Apache-2.0 */
/* Records from anywhere: the input is a file's chunks as they are, or, behind good digests, the items in them; those of queues are done by a puppet whose rings the input has
 * made, too. The first byte says which, and the rings' layout. Then it is a list of operations, since few random bytes are items. */
#include "base/digest.h"
#include "device/virtio/devices.h"
#include "machine/record.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

enum { RAM = 1 << 16, BASE = 0x80000000u, QUEUES = 3, QSIZE = 16, HEADER = 16, RINGS = 0x3000 };

static Physical memory;
static VirtioPuppet *puppet;
static VirtioMmio *slot;
static int file;
static char path[64];

static void line(void *ctx, u32 n, bool level) {}
static void notified(void *ctx) {}
static void wr(u32 offset, u32 v) { virtio_mmio_ops.write(slot, offset, 4, v); }

static void setup(void) {
    static const VirtioLook look = {.name = "puppet", .id = VIRTIO_NET, .queues = QUEUES, .queue_size = QSIZE, .config_size = 8, .offered = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED};
    file = memfd_create("record", MFD_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (file < 0 || physical_init(&memory, BASE, RAM)) BUG("no memory");
    puppet = virtio_puppet_new(&memory, &look, &(VirtioPuppetUser){NULL, notified});
    slot = virtio_mmio_new(virtio_puppet_virtio(puppet), (Irq){line, NULL, 1});
}

/* A driver with rings, of either layout, in memory that the input fills. */
static void drive(const u8 *data, size_t size, bool packed) {
    memset(memory.ram, 0, RAM);
    memcpy(memory.ram, data, MIN(size, (size_t)RAM));
    wr(0x70, 0);
    wr(0x70, 3);
    wr(0x24, 0), wr(0x20, (u32)(VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX));
    wr(0x24, 1), wr(0x20, packed ? 5 : 1);
    wr(0x70, 11);
    for (u32 q = 0; q < QUEUES; q++) {
        wr(0x30, q), wr(0x38, QSIZE);
        wr(0x80, BASE), wr(0x90, BASE + 0x100 * (q + 1)), wr(0xa0, BASE + RINGS + 0x1000 * q);
        wr(0x44, 1);
    }
    wr(0x70, 15);
}

static void chunk_put(const u8 *data, size_t size) {
    static u8 packed[1 << 17];
    struct {
        u32 size, packed;
        Digest digest;
    } head = {.size = (u32)size};
    size_t n = ZSTD_compress(packed, sizeof(packed), data, MIN(size, (size_t)1 << 16), 1);
    head.packed = (u32)n;
    head.digest = digest_bytes(digest_u64((Digest){0}, 0), packed, n);
    if (write(file, &head, sizeof(head)) < 0 || write(file, packed, n) < 0) BUG("no room");
}

static void file_make(const u8 *data, size_t size, bool raw) {
    static const u8 header[HEADER] = {'I', 'S', 'O', 'M', 'R', 'E', 'C', 0, RECORD_VERSION};
    if (ftruncate(file, 0) || lseek(file, 0, SEEK_SET) || write(file, header, HEADER) != HEADER) BUG("no room");
    if (!raw) chunk_put(data, size);
    else if (write(file, data, size) < 0) BUG("no room");
}

static void operate(const u8 *data, size_t size) {
    for (size_t at = 0; at + 4 <= size; at += 4) {
        u32 bytes = data[at + 3] % 64u;
        virtio_puppet_do(puppet, (VirtOp)(data[at] % VIRT_OPS), data[at + 1] % (QUEUES + 1), data[at + 2], data[at + 3] & 64 ? ~0u : bytes, data, (u32)MIN(size, (size_t)bytes));
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    char why[256];
    u32 items = 0;
    if (!puppet) setup();
    if (size < 2) return 0;
    file_make(data + 1, size - 1, data[0] & 1);
    drive(data + 1, size - 1, data[0] & 2);
    Record *r = record_open(path, why, sizeof(why));
    FUZZ_CHECK(r, "a good header is refused");
    for (const RecordItem *i; (i = record_next(r)); record_take(r), items++) {
        FUZZ_CHECK(i->kind < RECORD_KINDS && i->size <= size, "an item that is none");
        if (i->kind == RECORD_QUEUE && i->op < VIRT_OPS) virtio_puppet_do(puppet, (VirtOp)i->op, i->queue, i->number, (u32)i->value, i->data, i->size);
    }
    FUZZ_CHECK(items <= size, "items without end");
    record_drop(r);
    operate(data + 1, size - 1);
    State s = {.loading = true, .at = (u8 *)(u64)data, .size = size};
    VirtioLook look;
    virtio_look_state(&look, &s);
    return 0;
}
