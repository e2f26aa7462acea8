/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile drivers: rings of both layouts, descriptors, messages and registers made of the input, for one device after the other. Whatever they are, the device ends what it
 * does, and after a reset it works again. */
#include "device/virtio/devices.h"
#include "tests/fuzz/fuzz.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RAM = 1 << 20, BASE = 0x80000000u, QSIZE = 16, DESCS = BASE, AVAIL = BASE + 0x1000, USED = BASE + 0x2000, INDIRECT = BASE + 0x3000, TEXT = BASE + 0x4000, KINDS = 7 };

static Physical memory;
static Virtio *devices[KINDS];
static VirtioMmio *slots[KINDS];

typedef struct Input {
    const u8 *at, *end;
} Input;
static u32 byte(Input *in) { return in->at < in->end ? *in->at++ : 0; }
static u32 word(Input *in) { return byte(in) | byte(in) << 8; }

static void line(void *ctx, u32 n, bool level) {}

static void setup(void) {
    char why[256], folder[] = "/tmp/isomer-fuzz-XXXXXX";
    int disk = memfd_create("disk", MFD_CLOEXEC);
    if (physical_init(&memory, BASE, RAM) || ftruncate(disk, 1 << 20) || !mkdtemp(folder)) BUG("no memory");
    devices[0] = virtio_blk_virtio(virtio_blk_new(&memory, raw_open(disk, "disk", false, true, why, sizeof(why)), 1, "fuzz"));
    devices[1] = virtio_net_virtio(virtio_net_new(&memory, net_new("none", why, sizeof(why)), (const u8 *)"\x52\x54\0\0\0\1"));
    devices[2] = virtio_console_virtio(virtio_console_new(&memory, console_new("null", why, sizeof(why))));
    devices[3] = virtio_rng_virtio(virtio_rng_new(&memory));
    devices[4] = virtio_9p_virtio(virtio_9p_new(&memory, share_new(folder, true, why, sizeof(why)), "fuzz"));
    devices[5] = virtio_balloon_virtio(virtio_balloon_new(&memory));
    devices[6] = virtio_net_virtio(virtio_net_new(&memory, net_new("user,restrict", why, sizeof(why)), (const u8 *)"\x52\x54\0\0\0\2"));
    for (u32 k = 0; k < KINDS; k++) slots[k] = virtio_mmio_new(devices[k], (Irq){line, NULL, k});
    rmdir(folder); /* it is there as long as it is open */
}

static void wr(u32 k, u32 offset, u32 v) { virtio_mmio_ops.write(slots[k], offset, 4, v); }

/* The upper half of the features: version 1, and perhaps packed rings and the reset of queues. */
static void start(u32 k, u32 features, u32 upper) {
    wr(k, 0x70, 0);
    wr(k, 0x70, 3);
    wr(k, 0x24, 0);
    wr(k, 0x20, features & (u32)devices[k]->offered);
    wr(k, 0x24, 1);
    wr(k, 0x20, upper);
    wr(k, 0x70, 11);
    wr(k, 0x70, 15);
}

static void queue(u32 k, u32 q, Input *in) {
    u32 odd = byte(in);
    wr(k, 0x30, q);
    wr(k, 0x38, odd & 1 ? byte(in) : QSIZE);
    wr(k, 0x80, odd & 2 ? BASE + word(in) * 16 : DESCS);
    wr(k, 0x90, odd & 4 ? BASE + word(in) * 16 : AVAIL);
    wr(k, 0xa0, odd & 8 ? BASE + word(in) * 16 : USED);
    wr(k, 0x44, 1);
}

typedef struct Desc {
    u64 at;
    u32 size;
    u16 flags, next;
} Desc;

/* What a bad driver makes of a descriptor. */
static void spoil(Desc *d, Input *in) {
    u32 how = byte(in);
    if (how & 1) d->at = BASE + (u64)word(in) * 16;
    if (how & 2) d->size = word(in) << (how >> 6 & 3) * 4;
    if (how & 4) d->flags ^= 1;
    if (how & 8) d->flags ^= 2;
    if (how & 16) d->next = (u16)byte(in);
    if (how & 32) *d = (Desc){INDIRECT, (byte(in) & 15) * 16, 4, d->next};
}

/* Chains of three, as most requests are: a head, data (out or in), room for the answer; one descriptor in four is spoilt. */
static void table(u64 at, u32 len, bool packed, Input *in) {
    for (u32 i = 0; i < len; i++) {
        u32 how = byte(in), place = i % 3;
        Desc d = {TEXT + (place ? 64 + 16 * (how >> 4) : 0), place == 0 ? 16 + (how >> 2 & 15) : 1 + how * 4, place < 2, (u16)(i + 1)};
        if (place == 2 || (place == 1 && (how & 4))) d.flags |= 2;
        if (!(how & 3)) spoil(&d, in);
        /* A packed one has a number and then its flags, and is available; the ring goes round twice if one is not. */
        if (packed) d = (Desc){d.at, d.size, (u16)i, d.flags | (u16)(how & 0xf0 ? 0x80 : 0x8000)};
        physical_write(&memory, at + 16 * i, &d, 16);
    }
}

static void wait_idle(Virtio *v) {
    for (u32 tries = 0; tries < 300; tries++) {
        bool busy = false;
        for (u32 k = 0; k < v->kind.queues; k++) busy |= virtq_is_waiting(&v->queue[k]) && virtio_is_live(v);
        if (!busy) return;
        sched_yield();
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    Input in = {data, data + size};
    if (!memory.ram) setup();
    u32 k = byte(&in) % KINDS, q = byte(&in) % devices[k]->kind.queues;
    u32 how = byte(&in);
    bool packed = how & 2;
    start(k, how & 1 ? word(&in) | word(&in) << 16 : ~0u, 1u | (packed ? 1 << 2 : 0) | (how & 4 ? 1 << 8 : 0));
    u16 avail[2 + QSIZE] = {0, (u16)(byte(&in) % (QSIZE + 2))};
    for (u32 i = 0; i < 4; i++) avail[2 + i] = (u16)(byte(&in) % (QSIZE + 1));
    physical_write(&memory, AVAIL, avail, sizeof(avail));
    table(DESCS, QSIZE, packed, &in);
    table(INDIRECT, 8, packed, &in);
    u32 type = byte(&in) & 15; /* of a disk's request; its fifth byte is the type of a folder's */
    physical_write(&memory, TEXT, &type, 4);
    for (u32 i = 4; i < 128; i++) *physical_ram(&memory, TEXT + i, 1) = (u8)byte(&in);
    queue(k, q, &in);
    wr(k, 0x50, q);
    wait_idle(devices[k]);
    if (how & 8) {
        wr(k, 0xc0, 1); /* one queue back to its start, and on again */
        queue(k, q, &in);
        wr(k, 0x50, q);
        wait_idle(devices[k]);
    }
    while (in.at < in.end) virtio_mmio_ops.write(slots[k], byte(&in) * 4, 4, byte(&in) & 1 ? word(&in) : BASE + word(&in));
    wr(k, 0x70, 0);
    FUZZ_CHECK(virtio_mmio_ops.read(slots[k], 0x70, 4) == 0, "a reset device is reset");
    return 0;
}
