/* SPDX-License-Identifier: Apache-2.0 */
/* virtio devices as a driver sees them, over both transports, with both layouts of rings: disks, random numbers, a network card that asks the host's network for an address.
 *
 *   virtio_test SEED    prints checks that fail, then "N passed, N failed" */
#include "device/virtio/devices.h"
#include "machine/board.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static u32 passed, failed;
#define CHECK(x) ((x) ? (void)passed++ : (failed++, (void)printf("%s:%d: %s\n", __FILE__, __LINE__, #x)))

static u32 mip;
static void hart_interrupt(void *ctx, u32 hart, u32 cause, bool level) {
    if (level) __atomic_fetch_or(&mip, 1u << cause, __ATOMIC_SEQ_CST);
    else __atomic_fetch_and(&mip, ~(1u << cause), __ATOMIC_SEQ_CST);
}
static u64 now(void *ctx) { return back_now() / 100; }
static void stop(void *ctx, PlatformStop how, u32 code) {}
static const Platform platform = {NULL, 1, hart_interrupt, now, stop};

static Physical *p;
static u64 rd(u64 pa, unsigned size) {
    u64 v = 0;
    CHECK(physical_io(p, pa, size, false, &v));
    return v;
}
static void wr(u64 pa, unsigned size, u64 v) { CHECK(physical_io(p, pa, size, true, &v)); }

/* --- a driver ----------------------------------------------------------------------------- */

enum { QSIZE = 8, RING = 0x80100000, RING_STEP = 0x4000, DATA = 0x80200000, STATUS_AT = 0x80180000 };

typedef struct Driver {
    bool pci, packed;
    u64 base;              /* MMIO: registers; PCI: BAR 4 */
    u16 next[3], seen[3];  /* by queue; packed: positions modulo twice the size, as ring_packed.c's */
    u16 count[3][QSIZE];   /* packed: descriptors of the chain of that number */
    u32 line;              /* of the interrupt controller */
} Driver;

enum { STATUS, QUEUE, SIZE, ENABLE, DESC, AVAIL, USED, HALF, TAKEN, OFFERED_HALF, OFFERED, QUEUE_RESET, REGISTERS };
static const u16 mmio_at[REGISTERS] = {0x70, 0x30, 0x38, 0x44, 0x80, 0x90, 0xa0, 0x24, 0x20, 0x14, 0x10, 0xc0};
static const u16 pci_at[REGISTERS] = {20, 22, 24, 28, 32, 40, 48, 8, 12, 0, 4, 58};
static const u8 pci_size[REGISTERS] = {1, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 2};
enum { PACKED = 4, RESETS = 1 << 8 }; /* features 34 and 40, in their half */

static void reg_put(Driver *d, u32 reg, u64 v) { wr(d->base + (d->pci ? pci_at : mmio_at)[reg], d->pci ? pci_size[reg] : 4, v); }
static u64 reg_get(Driver *d, u32 reg) { return rd(d->base + (d->pci ? pci_at : mmio_at)[reg], d->pci ? pci_size[reg] : 4); }
static u64 config_at(Driver *d, u32 offset) { return d->base + (d->pci ? 0x2000 : 0x100) + offset; }
static void kick(Driver *d, u32 q) {
    if (d->pci) wr(d->base + 0x3000 + 4 * q, 2, q);
    else wr(d->base + 0x50, 4, q);
}
static u64 ring(u32 q, u32 part) { return RING + q * RING_STEP + part * 0x1000; }

static void put16(u64 pa, u16 v) { __atomic_store_n((u16 *)(void *)physical_ram(p, pa, 2), v, __ATOMIC_RELEASE); }
static u16 get16(u64 pa) { return __atomic_load_n((u16 *)(void *)physical_ram(p, pa, 2), __ATOMIC_ACQUIRE); }

static void queue_start(Driver *d, u32 q, u32 size) {
    memset(physical_ram(p, ring(q, 0), RING_STEP), 0, RING_STEP);
    reg_put(d, QUEUE, q);
    reg_put(d, SIZE, size);
    reg_put(d, DESC, ring(q, 0));
    reg_put(d, AVAIL, ring(q, 1));
    reg_put(d, USED, ring(q, 2));
    reg_put(d, ENABLE, 1);
    d->next[q] = d->seen[q] = 0;
}

static void start(Driver *d, u32 queues, u64 want) {
    reg_put(d, STATUS, 0);
    reg_put(d, STATUS, 3);
    reg_put(d, OFFERED_HALF, 1);
    CHECK(reg_get(d, OFFERED) & 1 && !(reg_get(d, OFFERED) & PACKED) == !d->packed);
    reg_put(d, HALF, 0);
    reg_put(d, TAKEN, (u32)want);
    reg_put(d, HALF, 1);
    reg_put(d, TAKEN, 1 | (d->packed ? PACKED : 0) | want >> 32);
    reg_put(d, STATUS, 11);
    CHECK(reg_get(d, STATUS) == 11);
    for (u32 q = 0; q < queues; q++) queue_start(d, q, QSIZE);
    reg_put(d, STATUS, 15);
    CHECK(reg_get(d, STATUS) == 15);
}

typedef struct Desc {
    u64 at;
    u32 size;
    u16 flags, next;
} Desc;

/* Packed: the chain's number is in `next`'s place, and its first flags are written last. */
static void offer_packed(Driver *d, u32 q, u32 first, const Desc *desc, u32 len) {
    u16 head = 0;
    u64 head_at = ring(q, 0) + 16 * (d->next[q] % QSIZE);
    d->count[q][first] = (u16)len;
    for (u32 i = 0; i < len; i++, d->next[q] = (u16)((d->next[q] + 1) % (2 * QSIZE))) {
        u64 at = ring(q, 0) + 16 * (d->next[q] % QSIZE);
        u16 flags = (u16)(desc[i].flags | (i + 1 < len) | (d->next[q] < QSIZE ? 0x80 : 0x8000));
        physical_write(p, at, &desc[i], 12);
        put16(at + 12, (u16)first);
        if (i) put16(at + 14, flags);
        else head = flags;
    }
    put16(head_at + 14, head);
}

/* Offers a chain of `len` descriptors from descriptor `first` on; flags but NEXT are the caller's. */
static void offer(Driver *d, u32 q, u32 first, Desc *desc, u32 len) {
    if (d->packed) {
        offer_packed(d, q, first, desc, len);
        return;
    }
    for (u32 i = 0; i < len; i++) {
        desc[i].next = (u16)(first + i + 1);
        if (i + 1 < len) desc[i].flags |= 1;
        physical_write(p, ring(q, 0) + 16 * (first + i), &desc[i], 16);
    }
    put16(ring(q, 1) + 4 + 2 * (d->next[q] % QSIZE), (u16)first);
    put16(ring(q, 1) + 2, ++d->next[q]);
}

/* The next used element; false: there is none. */
static bool used_get(Driver *d, u32 q, u32 *written) {
    u32 e[2];
    u64 at = ring(q, 0) + 16 * (d->seen[q] % QSIZE);
    if (!d->packed) {
        if (get16(ring(q, 2) + 2) == d->seen[q]) return false;
        physical_read(p, ring(q, 2) + 4 + 8 * (d->seen[q]++ % QSIZE), e, 8);
        *written = e[1];
        return true;
    }
    if ((get16(at + 14) & 0x8080) != (d->seen[q] < QSIZE ? 0x8080 : 0)) return false;
    physical_read(p, at + 8, written, 4);
    CHECK(get16(at + 12) < QSIZE);
    d->seen[q] = (u16)((d->seen[q] + d->count[q][get16(at + 12) % QSIZE]) % (2 * QSIZE));
    return true;
}

/* Waits for the next used element; returns bytes written, -1: none came. */
static i64 wait_used(Driver *d, u32 q, u32 ms) {
    u32 written;
    for (u32 i = 0; i < ms * 10; i++) {
        if (used_get(d, q, &written)) return written;
        usleep(100);
    }
    return -1;
}

/* The line went up at the interrupt controller; acknowledges it. */
static bool interrupted(Driver *d) {
    u32 tries = 0;
    while (!(__atomic_load_n(&mip, __ATOMIC_SEQ_CST) >> HART_SEIP & 1) && tries++ < 1000) usleep(100);
    u32 line = (u32)rd(0xc201004, 4);
    if (d->pci) rd(d->base + 0x1000, 1);
    else wr(d->base + 0x64, 4, rd(d->base + 0x60, 4));
    wr(0xc201004, 4, line);
    return line == d->line;
}

/* --- disks -------------------------------------------------------------------------------- */

static u8 status_get(void) { return *physical_ram(p, STATUS_AT, 1); }

/* A request of type `type`; data at DATA. Returns its status, 255: it did not come back. */
static u8 request(Driver *d, u32 type, u64 sector, u32 size, bool write_only) {
    struct { u32 type, reserved; u64 sector; } header = {type, 0, sector};
    Desc chain[3] = {{STATUS_AT + 64, 16, 0, 0}, {DATA, size, write_only ? 2 : 0, 0}, {STATUS_AT, 1, 2, 0}};
    *physical_ram(p, STATUS_AT, 1) = 255;
    physical_write(p, STATUS_AT + 64, &header, 16);
    if (!size) chain[1] = chain[2];
    offer(d, 0, 0, chain, size ? 3 : 2);
    kick(d, 0);
    return wait_used(d, 0, 2000) < 0 ? 255 : status_get();
}

static void check_disk(Driver *d) {
    char id[21] = "";
    start(d, 1, 1 << 9 | 1 << 13 | 1 << 14);
    CHECK(rd(config_at(d, 0), 4) == 2048 && rd(config_at(d, 4), 4) == 0);
    for (u32 i = 0; i < 8192; i++) *physical_ram(p, DATA + i, 1) = (u8)(i * 7 + i / 512);
    CHECK(request(d, 1, 100, 8192, false) == 0 && interrupted(d));
    memset(physical_ram(p, DATA, 8192), 0, 8192);
    CHECK(request(d, 0, 101, 1024, true) == 0 && interrupted(d));
    bool same = true;
    for (u32 i = 0; i < 1024; i++) same &= *physical_ram(p, DATA + i, 1) == (u8)((i + 512) * 7 + (i + 512) / 512);
    CHECK(same);
    CHECK(request(d, 4, 0, 0, false) == 0);
    CHECK(request(d, 8, 0, 20, true) == 0 && physical_read(p, DATA, id, 20) && !strcmp(id, "a-disk"));
    struct { u64 sector; u32 sectors, flags; } range = {100, 16, 1};
    physical_write(p, DATA, &range, 16);
    CHECK(request(d, 13, 0, 16, false) == 0);
    CHECK(request(d, 0, 100, 512, true) == 0 && !*physical_ram(p, DATA + 5, 1) && !*physical_ram(p, DATA + 511, 1));
    CHECK(request(d, 0, 2047, 1024, true) == 1 && request(d, 0, ~0ull, 512, true) == 1 && request(d, 0, 1ull << 55, 512, true) == 1);
    CHECK(request(d, 0, 0, 100, true) == 1 && request(d, 77, 0, 512, true) == 2);
    range.sector = ~0ull;
    physical_write(p, DATA, &range, 16);
    CHECK(request(d, 11, 0, 16, false) == 2 && request(d, 11, 0, 15, false) == 2); /* its flag is unknown here */
    range.flags = 0;
    physical_write(p, DATA, &range, 16);
    CHECK(request(d, 11, 0, 16, false) == 1);
}

/* What tells of kicks and interrupts that are wanted; a table of descriptors elsewhere; wrap counters through many rounds. */
static void check_packed(Driver *d) {
    struct { u32 type, reserved; u64 sector; } header = {8, 0, 0};
    struct { u64 at; u32 size; u16 id, flags; } inner[4] = {{STATUS_AT + 64, 16, 0, 0}, {DATA, 20, 0, 2}, {STATUS_AT, 1, 0, 2}};
    Desc outer = {DATA + 4096, 48, 4, 0};
    start(d, 1, 1 << 9 | 1 << 28 | 1 << 29);
    physical_write(p, STATUS_AT + 64, &header, 16);
    physical_write(p, DATA + 4096, inner, sizeof(inner));
    for (u32 k = 0; k < 5 * QSIZE + 3; k++) {
        memset(physical_ram(p, DATA, 20), 0, 20);
        offer(d, 0, k % QSIZE, &outer, 1);
        kick(d, 0);
        if (wait_used(d, 0, 2000) != 21 || memcmp(physical_ram(p, DATA, 6), "a-disk", 6)) return (void)(failed++, printf("round %u of an indirect table\n", k));
    }
    CHECK(interrupted(d));
    /* It names the next descriptor as the one to kick for. */
    usleep(20000);
    CHECK(get16(ring(0, 2) + 2) == 2 && get16(ring(0, 2)) == (u16)(d->next[0] % QSIZE | (d->next[0] < QSIZE ? 0x8000 : 0)));
    /* An interrupt for the second chain from here; then none at all; then every time. */
    static const struct { u16 flags; u32 ahead; bool first, second; } wishes[] = {{2, 1, false, true}, {1, 0, false, false}, {0, 0, true, true}, {2, 0, true, false}, {2, QSIZE, false, false}};
    for (u32 k = 0; k < ARRAY_LEN(wishes); k++) {
        u32 event = (d->next[0] + wishes[k].ahead) % (2 * QSIZE);
        put16(ring(0, 1), (u16)(event % QSIZE | (event < QSIZE ? 0x8000 : 0)));
        put16(ring(0, 1) + 2, wishes[k].flags);
        for (u32 n = 0; n < 2; n++) {
            offer(d, 0, n, &outer, 1);
            kick(d, 0);
            CHECK(wait_used(d, 0, 2000) == 21);
            usleep(5000);
            bool now = __atomic_load_n(&mip, __ATOMIC_SEQ_CST) >> HART_SEIP & 1;
            if (now != (n ? wishes[k].second : wishes[k].first)) printf("wish %u, chain %u: %d\n", k, n, now), failed++;
            if (now) CHECK(interrupted(d));
        }
    }
}

/* One queue goes back to its start while the device lives, and starts again, with another size where that is allowed. */
static void check_queue_reset(Driver *d) {
    start(d, 1, 1 << 9 | (u64)RESETS << 32);
    CHECK(request(d, 4, 0, 0, false) == 0);
    CHECK(reg_get(d, ENABLE) == 1 && reg_get(d, QUEUE_RESET) == 0);
    reg_put(d, QUEUE_RESET, 1);
    CHECK(reg_get(d, QUEUE_RESET) == 0 && reg_get(d, ENABLE) == 0 && reg_get(d, STATUS) == 15);
    queue_start(d, 0, QSIZE);
    CHECK(reg_get(d, ENABLE) == 1 && request(d, 4, 0, 0, false) == 0 && request(d, 0, 0, 512, true) == 0);
    start(d, 1, 1 << 9);
    reg_put(d, QUEUE_RESET, 1); /* not taken: nothing happens */
    CHECK(reg_get(d, ENABLE) == 1 && request(d, 4, 0, 0, false) == 0);
    reg_put(d, STATUS, 0);
}

/* Descriptors that go round for ever, and one that says it is a table and not the end. */
static void check_hostile_packed(Driver *d) {
    for (u32 k = 0; k < 3; k++) {
        start(d, 1, 1 << 28);
        for (u32 i = 0; i < QSIZE; i++) {
            struct { u64 at; u32 size; u16 id, flags; } desc = {DATA, k == 2 ? 0 : 16, 7, k == 1 ? 0x85 : 0x81};
            physical_write(p, ring(0, 0) + 16 * i, &desc, 16);
        }
        kick(d, 0);
        u32 tries = 0;
        while (!(reg_get(d, STATUS) & 64) && tries++ < 2000) usleep(1000);
        CHECK(reg_get(d, STATUS) & 64);
    }
    reg_put(d, STATUS, 0);
    reg_put(d, STATUS, 3);
    reg_put(d, HALF, 1);
    reg_put(d, TAKEN, 1 | PACKED);
    reg_put(d, STATUS, 11);
    reg_put(d, QUEUE, 0);
    reg_put(d, SIZE, 7); /* need not be a power of two, but its descriptors lie in memory */
    reg_put(d, DESC, 0x83ffffa0);
    reg_put(d, AVAIL, ring(0, 1));
    reg_put(d, USED, ring(0, 2));
    reg_put(d, ENABLE, 1);
    CHECK((reg_get(d, STATUS) & 64) && !reg_get(d, ENABLE));
    reg_put(d, STATUS, 0); /* takes its interrupt back */
}

/* What breaks a device, and that a reset mends it. */
static void check_hostile(Driver *d) {
    struct { const char *what; Desc chain[3]; u32 len; u64 features; } cases[] = {
        {"no memory there", {{0x1000, 16, 0, 0}, {STATUS_AT, 1, 2, 0}}, 2, 0},
        {"over the end of memory", {{0x83fffff8, 16, 0, 0}, {STATUS_AT, 1, 2, 0}}, 2, 0},
        {"a length that wraps", {{DATA, ~0u, 0, 0}, {STATUS_AT, 1, 2, 0}}, 2, 0},
        {"out after in", {{STATUS_AT, 1, 2, 0}, {DATA, 16, 0, 0}}, 2, 0},
        {"no room for a status", {{DATA, 16, 0, 0}}, 1, 0},
        {"a loop", {{DATA, 16, 1, 0}}, 1, 0},
        {"indirect unasked", {{DATA, 32, 4, 0}}, 1, 0},
        {"indirect in indirect", {{DATA, 32, 4, 0}}, 1, 1 << 28},
        {"an indirect table of half a descriptor", {{DATA, 24, 4, 0}}, 1, 1 << 28},
        {"a huge indirect table", {{DATA, 16 * 4096, 4, 0}}, 1, 1 << 28},
    };
    for (u32 k = 0; k < ARRAY_LEN(cases); k++) {
        Desc inner = {DATA, 16, 4, 0};
        start(d, 1, cases[k].features);
        physical_write(p, DATA, &inner, 16);
        offer(d, 0, 0, cases[k].chain, cases[k].len);
        if (!strcmp(cases[k].what, "a loop") && !d->packed) put16(ring(0, 0) + 12, 1), put16(ring(0, 0) + 14, 0);
        kick(d, 0);
        u32 tries = 0;
        while (!(reg_get(d, STATUS) & 64) && tries++ < 2000) usleep(1000);
        if (!(reg_get(d, STATUS) & 64)) printf("%s: goes unnoticed\n", cases[k].what), failed++;
    }
    if (!d->packed) {
        start(d, 1, 0);
        put16(ring(0, 1) + 2, QSIZE + 1);
        kick(d, 0);
        usleep(20000);
        CHECK(reg_get(d, STATUS) & 64);
        CHECK(request(d, 4, 0, 0, false) == 255);
    }
    start(d, 1, 1 << 9);
    CHECK(request(d, 4, 0, 0, false) == 0);
    /* Rings that are not in memory, and features that were not offered. */
    reg_put(d, STATUS, 0);
    reg_put(d, STATUS, 3);
    reg_put(d, HALF, 1);
    reg_put(d, TAKEN, 0x40000001); /* 62 */
    reg_put(d, STATUS, 11);
    CHECK(reg_get(d, STATUS) == 3);
    reg_put(d, TAKEN, 1);
    reg_put(d, STATUS, 11);
    reg_put(d, QUEUE, 0);
    reg_put(d, SIZE, 8);
    reg_put(d, DESC, 0x1000);
    reg_put(d, ENABLE, 1);
    CHECK((reg_get(d, STATUS) & 64) && !reg_get(d, ENABLE));
    reg_put(d, STATUS, 0);
    reg_put(d, QUEUE, 77);
    reg_put(d, ENABLE, 1);
    CHECK(reg_get(d, STATUS) == 0);
}

/* --- others ------------------------------------------------------------------------------- */

static void check_rng(Driver *d) {
    Desc one = {DATA, 64, 2, 0};
    u64 sum = 0;
    start(d, 1, 0);
    memset(physical_ram(p, DATA, 64), 0, 64);
    offer(d, 0, 0, &one, 1);
    kick(d, 0);
    CHECK(wait_used(d, 0, 2000) == 64 && interrupted(d));
    for (u32 i = 0; i < 64; i++) sum += *physical_ram(p, DATA + i, 1);
    CHECK(sum > 1000);
}

/* A DHCP request, with the checksum left to the device; libslirp answers, or somebody else who knows DHCP. */
static u32 dhcp_make(u8 *f) {
    static const u8 head[] = {255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0, 0x45, 0, 1, 0x10, 0, 0, 0, 0, 64, 17, 0x79, 0xde, 0, 0, 0, 0,
                              255, 255, 255, 255, 0, 68, 0, 67, 0, 0xfc, 0, 0, 1, 1, 6, 0, 1, 2, 3, 4};
    memset(f, 0, 286);
    memcpy(f, head, sizeof(head));
    memcpy(f + 70, head + 6, 6);
    memcpy(f + 278, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
    /* The pseudo header's sum, as a driver leaves it: addresses, protocol, length. */
    u32 sum = 0xffff + 0xffff + 17 + 0xfc;
    sum = (sum & 0xffff) + (sum >> 16);
    f[40] = (u8)(sum >> 8);
    f[41] = (u8)sum;
    return 286;
}

static void check_net(Driver *d) {
    u8 frame[12 + 1600] = {1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0}, got[2048];
    Desc in = {DATA, 2048, 2, 0};
    start(d, 2, 1 | 1 << 1 | 1 << 15);
    CHECK(rd(config_at(d, 0), 1) == 0x52 && rd(config_at(d, 5), 1) == 0x56 && rd(config_at(d, 6), 2) == 1);
    offer(d, 0, 0, &in, 1);
    kick(d, 0);
    Desc out = {DATA + 4096, 12 + dhcp_make(frame + 12), 0, 0};
    physical_write(p, DATA + 4096, frame, sizeof(frame));
    offer(d, 1, 0, &out, 1);
    kick(d, 1);
    CHECK(wait_used(d, 1, 2000) == 0);
    i64 n = wait_used(d, 0, 3000);
    CHECK(n > 12 + 240);
    physical_read(p, DATA, got, sizeof(got));
    CHECK(got[0] == 2 && got[10] == 1); /* checksums are good; one buffer */
    reg_put(d, STATUS, 0); /* takes its interrupt back */
    CHECK(got[12 + 42] == 2 && got[12 + 58] == 10 && got[12 + 60] == 2 && got[12 + 61] == 15); /* a reply: 10.0.2.15 */
}

/* Two cards and a cable: a frame of many buffers, and one that waits for its buffers. */
static void check_cable(Driver *d, const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    u8 frame[4 + 3000], head[16];
    u32 big = __builtin_bswap32(3000);
    strcpy(at.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(!connect(fd, (struct sockaddr *)&at, sizeof(at)));
    start(d, 2, 1 << 15);
    memcpy(frame, &big, 4);
    for (u32 i = 0; i < 3000; i++) frame[4 + i] = (u8)(i * 3);
    CHECK(write(fd, frame, sizeof(frame)) == sizeof(frame));
    usleep(50000);
    for (u32 k = 0; k < 3; k++) offer(d, 0, k, &(Desc){DATA + 4096 * k, 1100, 2, 0}, 1);
    kick(d, 0);
    CHECK(wait_used(d, 0, 2000) == 1100 && wait_used(d, 0, 100) == 1100 && wait_used(d, 0, 100) == 812);
    physical_read(p, DATA, head, 16);
    CHECK(head[10] == 3 && *physical_ram(p, DATA + 12 + 100, 1) == (u8)300 && *physical_ram(p, DATA + 8192 + 811, 1) == (u8)(2999 * 3));
    Desc out[2] = {{DATA, 12, 0, 0}, {DATA + 64, 60, 0, 0}};
    offer(d, 1, 0, out, 2);
    kick(d, 1);
    CHECK(wait_used(d, 1, 2000) == 0 && recv(fd, frame, 64, MSG_WAITALL) == 64 && frame[3] == 60);
    reg_put(d, STATUS, 0);
    close(fd);
}

/* --- a shared folder ---------------------------------------------------------------------- */

static u8 message[8192];
static u32 message_len;
static void m_start(u8 type) {
    message_len = 7;
    message[4] = type;
    message[5] = 1;
}
static void m_put(u64 v, u32 bytes) {
    memcpy(message + message_len, &v, bytes);
    message_len += bytes;
}
static void m_text(const char *s) {
    m_put(strlen(s), 2);
    memcpy(message + message_len, s, strlen(s));
    message_len += (u32)strlen(s);
}
/* Sends it; the answer is in `message`. Returns its type, or the error as -errno. */
static int m_call(Driver *d) {
    Desc chain[2] = {{DATA, message_len, 0, 0}, {DATA + 8192, 8192, 2, 0}};
    memcpy(message, &message_len, 4);
    physical_write(p, DATA, message, message_len);
    offer(d, 0, 0, chain, 2);
    kick(d, 0);
    i64 n = wait_used(d, 0, 2000);
    if (n < 7) return -9999;
    physical_read(p, DATA + 8192, message, (u64)n);
    return message[4] == 7 ? -message[7] : message[4];
}
/* Walks from fid 0 to a new fid by one name. */
static int m_walk(Driver *d, u32 fid, const char *name) {
    m_start(110);
    m_put(0, 4);
    m_put(fid, 4);
    m_put(1, 2);
    m_text(name);
    return m_call(d);
}
static int m_simple(Driver *d, u8 type, u32 fid, u64 a, u32 a_size, u64 b, u32 b_size) {
    m_start(type);
    m_put(fid, 4);
    if (a_size) m_put(a, a_size);
    if (b_size) m_put(b, b_size);
    return m_call(d);
}

/* Fid 9 becomes one to set an attribute of fid `of`. */
static int m_xattr_create(Driver *d, u32 of, const char *name, u64 size) {
    m_start(110);
    m_put(of, 4), m_put(9, 4), m_put(0, 2);
    CHECK(m_call(d) == 111);
    m_start(32);
    m_put(9, 4), m_text(name), m_put(size, 8), m_put(0, 4);
    return m_call(d);
}
static int m_xattr_walk(Driver *d, u32 of, const char *name) {
    m_start(30);
    m_put(of, 4), m_put(9, 4), m_text(name);
    return m_call(d);
}
static int m_write(Driver *d, u32 fid, u64 offset, const char *bytes) {
    m_start(118);
    m_put(fid, 4), m_put(offset, 8), m_put(strlen(bytes), 4);
    for (; *bytes; bytes++) m_put((u8)*bytes, 1);
    return m_call(d);
}
static int m_clunk(Driver *d, u32 fid) { return m_simple(d, 120, fid, 0, 0, 0, 0); }

static void check_xattr(Driver *d, u32 of, const char *path) {
    char value[16];
    if (setxattr(path, "user.host", "given", 5, 0)) return; /* the file system has none */
    CHECK(m_xattr_walk(d, of, "user.host") == 31 && message[7] == 5);
    CHECK(m_simple(d, 116, 9, 0, 8, 64, 4) == 117 && message[7] == 5 && !memcmp(message + 11, "given", 5));
    CHECK(m_simple(d, 116, 9, 6, 8, 64, 4) == -22 && m_simple(d, 24, 9, 0x7ff, 8, 0, 0) == -9 && m_write(d, 9, 0, "no") == -22 && m_clunk(d, 9) == 121);
    CHECK(m_xattr_create(d, of, "user.guest", 6) == 33 && m_write(d, 9, 0, "abc") == 119 && m_write(d, 9, 4, "x") == -22 && m_write(d, 9, 3, "defg") == -22 && m_write(d, 9, 3, "def") == 119);
    CHECK(getxattr(path, "user.guest", value, 16) < 0 && m_clunk(d, 9) == 121 && getxattr(path, "user.guest", value, 16) == 6 && !memcmp(value, "abcdef", 6));
    CHECK(m_xattr_walk(d, of, "") == 31 && message[7] == 10 + 11 && m_clunk(d, 9) == 121);
    CHECK(m_xattr_create(d, of, "user.guest", 0) == 33 && m_clunk(d, 9) == 121 && getxattr(path, "user.guest", value, 16) < 0);
    CHECK(m_xattr_create(d, of, "trusted.x", 1) == 33 && m_write(d, 9, 0, "a") == 119 && m_clunk(d, 9) == -95 && m_clunk(d, 9) == -9);
    CHECK(m_xattr_walk(d, of, "security.capability") == -95 && m_xattr_walk(d, of, "user.none") == -61 && m_xattr_walk(d, 77, "") == -9);
    CHECK(m_xattr_create(d, of, "user.big", 1 << 20) == -7 && m_clunk(d, 9) == 121);
}

static void check_share(Driver *d, const char *folder) {
    char path[256], text[32] = "";
    snprintf(path, sizeof(path), "%s/link", folder);
    CHECK(!symlink("/etc/passwd", path));
    start(d, 1, 1);
    CHECK(rd(config_at(d, 0), 2) == 4 && rd(config_at(d, 2), 2) == 0x6e69 && rd(config_at(d, 4), 2) == 0x6f66);
    m_start(100);
    m_put(8192, 4);
    m_text("9P2000.L");
    CHECK(m_call(d) == 101 && message[7] == 0 && message[8] == 32 && message[11] == 8);
    m_start(104);
    m_put(0, 4);
    m_put(~0u, 4);
    m_text("");
    m_text("");
    m_put(0, 4);
    CHECK(m_call(d) == 105 && message[7] == 0x80);
    CHECK(m_walk(d, 1, "..") == -2 && m_walk(d, 1, "a/b") == -2 && m_walk(d, 1, "") == -2 && m_walk(d, 1, "nothing") == -2);
    CHECK(m_walk(d, 1, "link") == 111 && message[9] == 2);
    CHECK(m_simple(d, 12, 1, 0, 4, 0, 0) == -40 && m_simple(d, 22, 1, 0, 0, 0, 0) == 23 && !memcmp(message + 9, "/etc/passwd", 11));
    m_start(110); /* a walk over a link, to a file of the host */
    m_put(1, 4), m_put(2, 4), m_put(1, 2), m_text("passwd");
    CHECK(m_call(d) == -20);
    m_start(110);
    m_put(0, 4), m_put(2, 4), m_put(0, 2);
    CHECK(m_call(d) == 111);
    m_start(14); /* a file "new" */
    m_put(2, 4), m_text("new"), m_put(2, 4), m_put(0640, 4), m_put(getgid(), 4);
    CHECK(m_call(d) == 15);
    m_start(118);
    m_put(2, 4), m_put(3, 8), m_put(5, 4);
    memcpy(message + message_len, "hello", 5), message_len += 5;
    CHECK(m_call(d) == 119 && message[7] == 5);
    CHECK(m_simple(d, 116, 2, 0, 8, 100, 4) == 117 && message[7] == 8 && !memcmp(message + 11, "\0\0\0hello", 8));
    snprintf(path, sizeof(path), "%s/new", folder);
    int fd = open(path, O_RDONLY);
    struct stat st;
    CHECK(fd >= 0 && read(fd, text, 31) == 8 && !memcmp(text + 3, "hello", 6) && !fstat(fd, &st) && (st.st_mode & 0777) == 0640);
    close(fd);
    CHECK(m_simple(d, 24, 2, 0x7ff, 8, 0, 0) == 25 && message[7 + 8 + 13 + 4 + 4 + 4 + 8 + 8] == 8);
    m_start(118); /* more than the message has */
    m_put(2, 4), m_put(0, 8), m_put(1 << 20, 4);
    CHECK(m_call(d) == -22);
    m_start(76);
    m_put(0, 4), m_text("../new"), m_put(0, 4);
    CHECK(m_call(d) == -22);
    m_start(76);
    m_put(0, 4), m_text("new"), m_put(0, 4);
    CHECK(m_call(d) == 77 && access(path, F_OK));
    m_start(72);
    m_put(0, 4), m_text("sub"), m_put(0755, 4), m_put(getgid(), 4);
    CHECK(m_call(d) == 73 && m_walk(d, 5, "sub") == 111 && m_simple(d, 12, 5, 0, 4, 0, 0) == 13);
    CHECK(m_simple(d, 40, 5, 0, 8, 4000, 4) == 41 && message[7] > 40);
    snprintf(path, sizeof(path), "%s/sub", folder);
    check_xattr(d, 5, path);
    CHECK(m_simple(d, 120, 5, 0, 0, 0, 0) == 121 && m_simple(d, 120, 5, 0, 0, 0, 0) == -9 && m_simple(d, 8, 0, 0, 0, 0, 0) == 9);
    CHECK(m_simple(d, 99, 0, 0, 0, 0, 0) == -95 && m_simple(d, 116, 0, 0, 2, 0, 0) == -22);
    CHECK(!rmdir(path));
    snprintf(path, sizeof(path), "%s/link", folder);
    CHECK(!unlink(path));
}

/* --- vsock -------------------------------------------------------------------------------- */

typedef struct Packet {
    u64 src_cid, dst_cid;
    u32 src_port, dst_port, size;
    u16 type, op;
    u32 flags, alloc, forwarded;
    char data[64];
} __attribute__((packed)) Packet;
enum { PACKET_HEAD = 44 };

static void packet_send(Driver *d, u16 op, u32 src, u32 dst, const char *data) {
    Packet k = {.src_cid = 7, .dst_cid = 2, .src_port = src, .dst_port = dst, .size = (u32)strlen(data), .type = 1, .op = op, .alloc = 65536};
    strcpy(k.data, data);
    physical_write(p, DATA + 0x8000, &k, sizeof(k));
    offer(d, 1, 0, &(Desc){DATA + 0x8000, PACKET_HEAD + k.size, 0, 0}, 1);
    kick(d, 1);
    CHECK(wait_used(d, 1, 2000) == 0);
}

/* The next packet; op 0: none came. */
static Packet packet_get(Driver *d) {
    Packet k = {0};
    offer(d, 0, 0, &(Desc){DATA, sizeof(k), 2, 0}, 1);
    kick(d, 0);
    if (wait_used(d, 0, 2000) > 0) physical_read(p, DATA, &k, sizeof(k));
    return k;
}

static int unix_socket(const char *path, bool listens) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(at.sun_path, path);
    CHECK(!(listens ? bind : connect)(fd, (struct sockaddr *)&at, sizeof(at)) && (!listens || !listen(fd, 1)));
    return fd;
}

static void check_vsock(Driver *d, const char *path) {
    char text[64] = "", port[160];
    start(d, 3, 1);
    CHECK(rd(config_at(d, 0), 4) == 7);
    int host = unix_socket(path, false);
    CHECK(write(host, "CONNECT 99\nhello", 16) == 16);
    Packet k = packet_get(d);
    CHECK(k.op == 1 && k.dst_port == 99 && k.src_cid == 2 && k.dst_cid == 7 && k.alloc);
    packet_send(d, 2, 99, k.src_port, "");
    CHECK(read(host, text, 64) > 3 && !memcmp(text, "OK ", 3));
    Packet data = packet_get(d);
    CHECK(data.op == 5 && data.size == 5 && !memcmp(data.data, "hello", 5));
    packet_send(d, 5, 99, k.src_port, "world");
    CHECK(recv(host, text, 5, MSG_WAITALL) == 5 && !memcmp(text, "world", 5));
    close(host);
    data = packet_get(d);
    CHECK(data.op == 4 && data.flags == 2);
    packet_send(d, 4, 99, k.src_port, ""); /* of no direction: nothing happens */
    packet_send(d, 1, 50, 1234, "");
    CHECK(packet_get(d).op == 3); /* nobody listens there */
    packet_send(d, 5, 50, 1234, "what?");
    CHECK(packet_get(d).op == 3);
    snprintf(port, sizeof(port), "%s_1234", path);
    int listener = unix_socket(port, true);
    packet_send(d, 1, 51, 1234, "");
    k = packet_get(d);
    CHECK(k.op == 2 && k.dst_port == 51 && k.src_port == 1234);
    host = accept(listener, NULL, NULL);
    packet_send(d, 5, 51, 1234, "from the guest");
    CHECK(recv(host, text, 14, MSG_WAITALL) == 14 && !memcmp(text, "from the guest", 14));
    packet_send(d, 3, 51, 1234, "");
    CHECK(read(host, text, 1) == 0);
    close(host);
    close(listener);
    unlink(port);
    reg_put(d, STATUS, 0);
}

/* --- all of it ---------------------------------------------------------------------------- */

static bool packed; /* the board has packed rings */

/* The n-th device behind the bridge: its BAR, placed and switched on. */
static Driver pci_driver(u32 slot) {
    u64 config = 0x30000000 + (slot << 15), base = 0x400000000 + 0x10000 * slot;
    CHECK(rd(config, 2) == 0x1af4);
    wr(config + 0x20, 4, ~0u);
    wr(config + 0x24, 4, ~0u);
    CHECK((rd(config + 0x24, 4) << 32 | (rd(config + 0x20, 4) & ~15u)) == -0x4000ull);
    wr(config + 0x20, 4, (u32)base);
    wr(config + 0x24, 4, base >> 32);
    wr(config + 4, 2, 6);
    return (Driver){.pci = true, .packed = packed, .base = base, .line = 32 + slot % 4};
}

static Driver mmio_driver(u32 slot) { return (Driver){.packed = packed, .base = 0x10001000 + slot * 0x1000, .line = 1 + slot}; }

static void check_board(const char *disk, const char *cable, const char *folder) {
    char vsock[128];
    char why[256], listen[128];
    snprintf(listen, sizeof(listen), "socket,listen=%s", cable);
    snprintf(vsock, sizeof(vsock), "%s.vsock", cable);
    const BoardDisk disks[2] = {{.path = disk, .serial = "a-disk", .bus = BOARD_MMIO, .queues = 1}, {.path = disk, .serial = "a-disk", .snapshot = true, .queues = 2}};
    const BoardNet nets[2] = {{.spec = "user"}, {.spec = listen}};
    const BoardShare share = {.path = folder, .tag = "info"};
    for (u32 n = 0; n < 4; n++) {
        u32 k = n & 1;
        BoardConfig c = {.harts = 1, .packed = n >> 1, .memory = MIB(64), .cpu = {.isa = "rv64imac"}, .disks = disks + k, .disk_len = 1, .nets = nets, .net_len = 2, .shares = &share, .share_len = 1,
                         .vsock_cid = 7, .vsock = vsock};
        Board *b = board_new(&c, &platform, why, sizeof(why));
        if (!b) {
            printf("%s\n", why);
            failed++;
            return;
        }
        p = board_physical(b);
        for (u32 line = 1; line < 40; line++) wr(0xc000000 + 4 * line, 4, 1);
        wr(0xc002080, 4, ~0u);
        wr(0xc002084, 4, ~0u);
        packed = c.packed;
        Driver d = k ? pci_driver(1) : mmio_driver(7);
        check_disk(&d);
        check_hostile(&d);
        check_queue_reset(&d);
        if (packed) check_packed(&d), check_hostile_packed(&d);
        Driver user = pci_driver(1 + k), wire = pci_driver(2 + k), folders = pci_driver(3 + k), rng = pci_driver(4 + k);
        check_net(&user);
        check_cable(&wire, cable);
        check_share(&folders, folder);
        reg_put(&folders, STATUS, 0);
        check_rng(&rng);
        reg_put(&rng, STATUS, 0);
        Driver sock = pci_driver(6 + k);
        check_vsock(&sock, vsock);
        board_reset(b);
        CHECK(rd(0x30008004, 2) == 0 && rd(0x10008070, 4) == 0);
        board_drop(b);
    }
}

int main(void) {
    char disk[] = "/tmp/isomer-virtio-XXXXXX", cable[64];
    int fd = mkstemp(disk);
    snprintf(cable, sizeof(cable), "%s.cable", disk);
    if (fd < 0 || ftruncate(fd, MIB(1)) || (close(fd), 0)) return 2;
    char folder[] = "/tmp/isomer-share-XXXXXX";
    check_board(disk, cable, mkdtemp(folder));
    rmdir(folder);
    unlink(disk);
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
