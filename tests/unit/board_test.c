/* SPDX-License-Identifier: Apache-2.0 */
/* The virt board without harts: what a driver sees of physical memory and of each platform device.
 *
 *   board_test            runs the checks, prints those that fail, then "N passed, N failed"
 *   board_test fdt FILE HARTS MIB none|aplic|aplic-imsic   writes the device tree that firmware gets, for comparison with another machine's */
#include "machine/board.h"
#include "machine/fdt.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static u32 passed, failed;
#define CHECK(x) ((x) ? (void)passed++ : (failed++, (void)printf("%s:%d: %s\n", __FILE__, __LINE__, #x)))

/* --- a platform that remembers ------------------------------------------------------------ */

enum { HARTS = 4 };
static u32 mip[HARTS];
static u32 stopped, stop_code;
static u64 clock_base;

static void hart_interrupt(void *ctx, u32 hart, u32 cause, bool level) {
    if (level) __atomic_fetch_or(&mip[hart], 1u << cause, __ATOMIC_SEQ_CST);
    else __atomic_fetch_and(&mip[hart], ~(1u << cause), __ATOMIC_SEQ_CST);
}
static u64 now(void *ctx) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return ((u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec) / 100 - clock_base;
}
static void stop(void *ctx, PlatformStop how, u32 code) {
    stopped = 1 + how;
    stop_code = code;
}
static const Platform platform = {NULL, HARTS, hart_interrupt, now, stop};

static const char *const isa_list[] = {"i", "m", "a", "f", "d", "c", "zicsr", NULL};
static BoardConfig config_make(void) {
    return (BoardConfig){.harts = HARTS, .memory = MIB(64), .cpu = {"rv64imafdc_zicsr", "rv64i", isa_list, "riscv,sv48", 64, 64, 64}};
}
static Board *board_make(const BoardConfig *c) {
    char why[256];
    Board *b = board_new(c, &platform, why, sizeof(why));
    if (!b) printf("%s\n", why);
    return b;
}

static Physical *p;
static u64 rd(u64 pa, unsigned size) {
    u64 v = ~0ull;
    CHECK(physical_io(p, pa, size, false, &v));
    return v;
}
static void wr(u64 pa, unsigned size, u64 v) { CHECK(physical_io(p, pa, size, true, &v)); }
static bool refused(u64 pa, unsigned size) {
    u64 v = 0;
    return !physical_io(p, pa, size, false, &v);
}
/* Waits for a bit of mip: timers have threads. */
static bool wait_for(u32 hart, u32 cause, bool level) {
    for (u32 i = 0; i < 2000; i++) {
        if ((__atomic_load_n(&mip[hart], __ATOMIC_SEQ_CST) >> cause & 1) == level) return true;
        usleep(1000);
    }
    return false;
}

/* --- checks ------------------------------------------------------------------------------- */

static u64 code_pa, code_size;
static void code_written(void *ctx, u64 pa, u64 size) {
    code_pa = pa;
    code_size = size;
}

static void check_memory(void) {
    u64 v = 0x1122334455667788, got = 0;
    CHECK(physical_ram(p, 0x80000000, MIB(64)) && !physical_ram(p, 0x80000000, MIB(64) + 1));
    CHECK(!physical_ram(p, 0x7fffffff, 1) && !physical_ram(p, 0x80000000 + MIB(64), 1) && !physical_ram(p, 0x83ffffff, 2));
    CHECK(!physical_ram(p, 0x83ffffff, ~0ull) && physical_ram(p, 0x83fffff8, 8));
    CHECK(physical_write(p, 0x80001ffc, &v, 8) && physical_read(p, 0x80001ffc, &got, 8) && got == v);
    CHECK(!physical_write(p, 0x83fffffc, &v, 8) && !physical_write(p, 0x1000, &v, 8) && physical_read(p, 0x1000, &got, 8));
    p->code_written = code_written;
    physical_mark_code(p, 0x80002000);
    CHECK(physical_write(p, 0x80001ffc, &v, 8) && code_pa == 0x80002000 && code_size == 4);
    code_size = 0;
    CHECK(physical_write(p, 0x80001000, &v, 8) && !code_size);
    CHECK(physical_discard(p, 0x80002000, 4096) && code_size == 4096 && *physical_ram(p, 0x80002000, 1) == 0);
    CHECK(!physical_discard(p, 0x80002000, 4095) && !physical_discard(p, 0x100000, 4096));
    p->code_written = NULL;
    CHECK(refused(0x12345678, 4) && refused(0xffffffffffffff00, 8) && refused(0x10000001, 2) && refused(0x0c000000, 8) && refused(0x0c5ffffe, 4));
    CHECK(refused(0x10000000, 3) && refused(0x10000000, 16));
    u64 avail;
    CHECK(physical_code(p, 0x20000000, &avail) && avail == MIB(32) && physical_code(p, 0x1ff0, &avail) && !physical_code(p, 0x10000000, &avail));
}

static void check_timers(void) {
    const u64 base = 0x2000000;
    wr(base + 4, 4, 1);
    CHECK(mip[1] == 1u << HART_MSIP && rd(base + 4, 4) == 1);
    wr(base + 4, 4, 0xfffffffe);
    CHECK(!mip[1]);
    u64 t = rd(base + 0xbff8, 8);
    CHECK(rd(base + 0xbff8, 8) >= t && (t >> 32) == rd(base + 0xbffc, 4));
    wr(base + 0x4000, 8, t + PLATFORM_HZ / 50);
    CHECK(!(mip[0] >> HART_MTIP & 1));
    CHECK(wait_for(0, HART_MTIP, true));
    CHECK(rd(base + 0xbff8, 8) >= t + PLATFORM_HZ / 50);
    wr(base + 0x4000, 8, ~0ull);
    CHECK(!mip[0]);
    wr(base + 0x4004 + 8, 4, 0); /* the halves of one of 64 bits */
    wr(base + 0x4000 + 8, 4, 5);
    CHECK(rd(base + 0x4008, 8) == 5 && wait_for(1, HART_MTIP, true));
    wr(base + 0x4008, 8, ~0ull);
    wr(base + 0xbff8, 8, 1000);
    CHECK(rd(base + 0xbff8, 8) < 1000 + 10 * PLATFORM_HZ);
    CHECK(rd(base + 0x4000 + 8 * HARTS, 8) == 0);
}

static const u64 plic = 0xc000000, uart = 0x10000000;

/* The serial port's "transmitter empty" is line 10. */
static void check_plic(void) {
    wr(plic + 4 * 10, 4, 3);
    wr(plic + 0x2080, 4, 1u << 10); /* context 1: hart 0, S */
    CHECK(!mip[0]);
    wr(uart + 1, 1, 2);
    CHECK(mip[0] == 1u << HART_SEIP && rd(plic + 0x1000, 4) == 1u << 10);
    wr(plic + 0x201000, 4, 3);
    CHECK(!mip[0]);
    wr(plic + 0x201000, 4, 2);
    CHECK(mip[0] == 1u << HART_SEIP);
    CHECK(rd(plic + 0x201004, 4) == 10 && !mip[0] && rd(plic + 0x201004, 4) == 0);
    wr(plic + 0x201004, 4, 10); /* the line is still up */
    CHECK(mip[0] == 1u << HART_SEIP && rd(plic + 0x201004, 4) == 10);
    CHECK((rd(uart + 2, 1) & 15) == 2 && (rd(uart + 2, 1) & 15) == 1);
    wr(plic + 0x201004, 4, 10);
    CHECK(!mip[0]);
    wr(plic + 0x201004, 4, 0xffffffff);
    wr(plic + 0x2080 + 0x80 * 100, 4, ~0ull);
    wr(plic + 0, 4, 7);
    CHECK(rd(plic, 4) == 0 && rd(plic + 0x5ffffc, 4) == 0);
}

/* The tests that Linux's driver makes before it believes that there is a port. */
static void check_uart(void) {
    wr(uart + 1, 1, 0);
    CHECK(rd(uart + 1, 1) == 0);
    wr(uart + 1, 1, 15);
    CHECK(rd(uart + 1, 1) == 15);
    wr(uart + 1, 1, 0);
    wr(uart + 4, 1, 0x1a);
    CHECK((rd(uart + 6, 1) & 0xf0) == 0x90);
    wr(uart + 2, 1, 1);
    CHECK(rd(uart + 2, 1) >> 6 == 3);
    for (u32 i = 0; i < 17; i++) wr(uart, 1, 'a' + i); /* looped back, one more than there is room for */
    CHECK((rd(uart + 5, 1) & 3) == 3 && rd(uart, 1) == 'a' && rd(uart, 1) == 'b');
    wr(uart + 2, 1, 3);
    CHECK((rd(uart + 5, 1) & 3) == 0);
    wr(uart + 4, 1, 0);
    wr(uart + 3, 1, 0x80);
    wr(uart, 1, 0x34);
    wr(uart + 1, 1, 0x12);
    CHECK(rd(uart, 1) == 0x34 && rd(uart + 1, 1) == 0x12);
    wr(uart + 3, 1, 3);
    wr(uart + 7, 1, 0x5a);
    CHECK(rd(uart + 7, 1) == 0x5a && (rd(uart + 5, 1) & 0x60) == 0x60);
}

static void check_rtc(void) {
    const u64 rtc = 0x101000;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    u64 low = rd(rtc, 4), ns = rd(rtc + 4, 4) << 32 | low;
    CHECK(ns / 1000000000 - (u64)t.tv_sec <= 1);
    wr(plic + 4 * 11, 4, 1);
    wr(plic + 0x2080, 4, 1u << 11);
    wr(plic + 0x201000, 4, 0);
    wr(rtc + 0x10, 4, 1);
    ns += 20000000;
    wr(rtc + 0x0c, 4, ns >> 32);
    wr(rtc + 0x08, 4, (u32)ns);
    CHECK(wait_for(0, HART_SEIP, true));
    CHECK(rd(plic + 0x201004, 4) == 11);
    wr(rtc + 0x1c, 4, 1);
    wr(plic + 0x201004, 4, 11);
    CHECK(!mip[0]);
    wr(rtc + 4, 4, 1);
    wr(rtc, 4, 5);
    low = rd(rtc, 4);
    CHECK(rd(rtc + 4, 4) == 1 && low < 1000000000);
}

static void check_fw_cfg(void) {
    const u64 fw = 0x10100000;
    wr(fw + 8, 2, 0);
    CHECK(rd(fw, 1) == 'Q' && rd(fw, 1) == 'E' && rd(fw, 1) == 'M' && rd(fw, 1) == 'U' && rd(fw, 1) == 0);
    wr(fw + 8, 2, 0x0500);
    CHECK(rd(fw, 2) == HARTS);
    struct { u32 control, length; u64 address; } dma = {__builtin_bswap32(2 | 8), __builtin_bswap32(4), __builtin_bswap64(0x80000100)};
    u32 control = 1;
    char text[5] = "";
    physical_write(p, 0x80000000, &dma, sizeof(dma));
    wr(fw + 16, 8, __builtin_bswap64(0x80000000));
    CHECK(physical_read(p, 0x80000000, &control, 4) && !control && physical_read(p, 0x80000100, text, 4) && !strcmp(text, "QEMU"));
    dma.address = __builtin_bswap64(0x10000000);
    dma.length = ~0u;
    physical_write(p, 0x80000000, &dma, sizeof(dma));
    wr(fw + 16, 8, __builtin_bswap64(0x80000000));
    CHECK(physical_read(p, 0x80000000, &control, 4) && control == __builtin_bswap32(1));
    wr(fw + 16, 8, __builtin_bswap64(0xfffffffffffffff8));
}

static void check_flash(void) {
    const u64 at = 0x20040000;
    wr(at, 4, 0x00980098);
    CHECK(rd(0x20000040, 4) == 0x00510051 && rd(0x20000044, 4) == 0x00520052 && rd(0x20000048, 4) == 0x00590059);
    wr(at, 4, 0x00200020);
    wr(at, 4, 0x00d000d0);
    CHECK((rd(at, 4) & 0x00b000b0) == 0x00800080);
    wr(at, 4, 0x00400040);
    wr(at, 4, 0x12345678);
    wr(at + 4, 4, 0x00400040);
    wr(at + 4, 4, 0xffff0000);
    wr(at, 4, 0x00ff00ff);
    CHECK(rd(at, 4) == 0x12345678 && rd(at, 8) == 0xffff000012345678 && rd(at + 0x3fffc, 4) == ~0u && rd(at + 0x40000, 4) == 0);
    wr(at, 4, 0x00400040);
    wr(at, 4, 0x0f0f0f0f); /* programming clears bits only */
    wr(at, 4, 0x00ff00ff);
    CHECK(rd(at, 4) == (0x12345678 & 0x0f0f0f0f));
    wr(at, 4, 0x00e800e8);
    wr(at, 4, 0x00010001);
    wr(at + 8, 4, 0xaaaaaaaa);
    wr(at + 12, 4, 0xbbbbbbbb);
    wr(at, 4, 0x00d000d0);
    wr(at, 4, 0x00ff00ff);
    CHECK(rd(at + 8, 8) == 0xbbbbbbbbaaaaaaaa);
    wr(at, 4, 0x00e800e8);
    wr(at, 4, 0xffffffff);
    CHECK(rd(at, 4) & 0x10);
    wr(at, 4, 0x00500050);
    wr(at, 4, 0x00ff00ff);
}

static void check_syscon(void) {
    wr(0x100000, 4, 0x1234);
    CHECK(!stopped);
    wr(0x100000, 4, 0x5555);
    CHECK(stopped == 1 + PLATFORM_POWEROFF && stop_code == 0);
    wr(0x100000, 4, 0x73333);
    CHECK(stopped == 1 + PLATFORM_POWEROFF && stop_code == 7);
    wr(0x100000, 4, 0x7777);
    CHECK(stopped == 1 + PLATFORM_REBOOT);
}

static void check_aia(void) {
    const u64 m = 0xc000000, s = 0xd000000, files = 0x28000000;
    BoardConfig c = config_make();
    c.aia = BOARD_AIA_IMSIC;
    Board *b = board_make(&c);
    Imsic *im = board_imsic(b);
    u64 v = 0;
    p = board_physical(b);
    CHECK(imsic_write(im, 2, IMSIC_S, 0x70, 1) && imsic_write(im, 2, IMSIC_S, 0xc0, ~0ull));
    wr(files + 0x2000, 4, 33);
    CHECK(mip[2] == 1u << HART_SEIP && imsic_top(im, 2, IMSIC_S, false) == (33 << 16 | 33));
    wr(files + 0x2000, 4, 9);
    CHECK(imsic_top(im, 2, IMSIC_S, true) == (9 << 16 | 9) && imsic_top(im, 2, IMSIC_S, true) == (33 << 16 | 33) && !mip[2]);
    wr(files + 0x2000, 4, 0);
    wr(files + 0x2000, 4, 256);
    wr(files + 0x4000, 4, 1);
    wr(files + 0x2004, 4, __builtin_bswap32(5));
    CHECK(imsic_read(im, 2, IMSIC_S, 0x80, &v) && v == 32 && imsic_read(im, 2, IMSIC_S, 0xc0, &v) && v == ~1ull);
    imsic_write(im, 2, IMSIC_S, 0x72, 5);
    CHECK(!mip[2] && !imsic_read(im, 2, IMSIC_S, 0x81, &v) && !imsic_read(im, 2, IMSIC_S, 0x6f, &v) && imsic_read(im, 2, IMSIC_S, 0xbe, &v) && !v);
    imsic_write(im, 2, IMSIC_S, 0x72, 0);
    imsic_top(im, 2, IMSIC_S, true);
    /* Line 10 to hart 2, identity 7, by way of the root. */
    wr(m + 4 * 10, 4, 1 << 10);
    wr(s + 4 * 10, 4, 6);
    wr(s + 0x3000 + 4 * 10, 4, 2 << 18 | 7);
    wr(s + 0x1edc, 4, 10);
    wr(s, 4, 0x104);
    CHECK(rd(s, 4) == 0x80000104 && rd(s + 4 * 10, 4) == 6 && rd(m + 0x3000 + 4 * 10, 4) == 0);
    wr(uart + 1, 1, 2);
    CHECK(imsic_top(im, 2, IMSIC_S, true) == (7 << 16 | 7) && rd(s + 0x1d00, 4) == 1 << 10);
    wr(s + 0x2000, 4, 10); /* still up: sent again */
    CHECK(imsic_top(im, 2, IMSIC_S, true) == (7 << 16 | 7));
    wr(uart + 1, 1, 0);
    wr(s + 0x2000, 4, 10);
    CHECK(!imsic_top(im, 2, IMSIC_S, true) && !mip[2]);
    wr(s + 0x3000, 4, 1 << 18 | 3);
    CHECK(imsic_read(im, 1, IMSIC_S, 0x80, &v) && v == 8);
    for (u32 k = 0; k < 0x8000; k += 4) wr(s + k, 4, ~0u), wr(m + k, 4, ~0u);
    board_drop(b);
}

/* Line 10 to hart 1 with priority 3, source 20 (detached) with priority 2 before it. */
static void check_aplic(void) {
    const u64 m = 0xc000000, s = 0xd000000, idc = s + 0x4000 + 32;
    BoardConfig c = config_make();
    c.aia = BOARD_AIA_APLIC;
    Board *b = board_make(&c);
    memset(mip, 0, sizeof(mip)); /* the last board left some */
    p = board_physical(b);
    CHECK(!board_imsic(b) && rd(s, 4) == 0x80000000);
    wr(m + 4 * 10, 4, 1 << 10);
    wr(m + 4 * 20, 4, 1 << 10);
    wr(s + 4 * 10, 4, 6);
    wr(s + 4 * 20, 4, 1);
    wr(s + 0x3000 + 4 * 10, 4, 1 << 18 | 3);
    wr(s + 0x3000 + 4 * 20, 4, 1 << 18 | 2);
    wr(s + 0x1edc, 4, 10);
    wr(s + 0x1edc, 4, 20);
    wr(s, 4, 0x104);
    wr(uart + 1, 1, 2);
    CHECK(rd(s, 4) == 0x80000100 && rd(s + 0x3000 + 4 * 10, 4) == (1 << 18 | 3) && rd(idc + 0x18, 4) == (10 << 16 | 3) && !mip[1]);
    wr(idc, 4, 1);
    CHECK(mip[1] == 1u << HART_SEIP && !mip[0] && rd(s + 0x1c00, 4) == 1 << 10);
    wr(s + 0x1cdc, 4, 20);
    CHECK(rd(idc + 0x1c, 4) == (20 << 16 | 2) && rd(idc + 0x1c, 4) == (10 << 16 | 3) && rd(idc + 0x1c, 4) == (10 << 16 | 3)); /* a level stays */
    wr(s + 0x1ddc, 4, 10);
    CHECK(mip[1]);
    wr(idc + 8, 4, 3);
    CHECK(!mip[1] && !rd(idc + 0x18, 4));
    wr(idc + 8, 4, 4);
    CHECK(mip[1]);
    wr(uart + 1, 1, 0);
    CHECK(!mip[1] && !rd(s + 0x1c00, 4));
    wr(idc + 4, 4, 1);
    CHECK(mip[1] && rd(idc + 4, 4) == 1 && !rd(idc + 0x1c, 4) && !mip[1] && !rd(idc + 4, 4));
    wr(s + 0x1cdc, 4, 20);
    CHECK(mip[1]);
    wr(m + 4 * 20, 4, 1); /* the root takes it back */
    CHECK(!mip[1] && !rd(idc + 0x18, 4));
    wr(s + 0x3000 + 4 * 10, 4, ~0u); /* a hart that is not there */
    wr(uart + 1, 1, 2);
    CHECK(!mip[0] && !mip[1] && !mip[2]);
    wr(m + 0x3000, 4, 1 << 18 | 3);
    wr(s + 0x7fe0, 4, 1);
    for (u32 k = 0; k < 0x8000; k += 4) wr(s + k, 4, ~0u), wr(m + k, 4, ~0u);
    board_reset(b);
    CHECK(!mip[0] && !mip[1] && !mip[2]);
    board_drop(b);
}

static void check_load(Board *b) {
    char why[256], path[] = "/tmp/isomer-board-XXXXXX";
    u8 image[4096] = {0};
    BoardStart start;
    memcpy(image + 56, "RSC\x05", 4);
    image[18] = 0x30; /* 3 MiB in all */
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, image, sizeof(image)) == sizeof(image));
    CHECK(board_load(b, &(BoardImages){.kernel = path, .initrd = path, .append = "quiet"}, &start, why, sizeof(why)));
    CHECK(start.pc == 0x80200000 && !start.machine_mode && start.fdt % 8 == 0 && physical_ram(p, start.fdt, 8));
    CHECK(board_load(b, &(BoardImages){.firmware = path, .kernel = path}, &start, why, sizeof(why)) && start.machine_mode && start.pc == 0x80000000);
    u64 info[3];
    CHECK(physical_read(p, start.info, info, sizeof(info)) && info[0] == 0x4942534f && info[2] == 0x80400000);
    CHECK(!board_load(b, &(BoardImages){.kernel = "/nonexistent"}, &start, why, sizeof(why)) && strstr(why, "/nonexistent"));
    image[19] = 0x10;
    CHECK(pwrite(fd, image, sizeof(image), 0) > 0 && !board_load(b, &(BoardImages){.kernel = path}, &start, why, sizeof(why)));
    unlink(path);
    close(fd);
}

static int fdt_print(char **argv) {
    static u8 blob[1 << 20];
    BoardConfig c = config_make();
    c.harts = (u32)atoi(argv[3]);
    c.memory = MIB((u64)atoi(argv[4]));
    while (strcmp(argv[5], board_aia_names[c.aia])) c.aia++;
    long size = fdt_make(blob, sizeof(blob), &c, &(FdtBoot){.machine_mode = true, .append = "console=ttyS0"});
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return size < 0 || write(fd, blob, (size_t)size) != size;
}

int main(int argc, char **argv) {
    if (argc == 6 && !strcmp(argv[1], "fdt")) return fdt_print(argv);
    clock_base = now(NULL);
    BoardConfig c = config_make();
    Board *b = board_make(&c);
    if (!b) return 1;
    p = board_physical(b);
    check_memory();
    check_timers();
    check_plic();
    check_uart();
    check_rtc();
    check_fw_cfg();
    check_flash();
    check_syscon();
    check_load(b);
    board_reset(b);
    CHECK(!mip[0] && !mip[1] && rd(plic + 4 * 10, 4) == 0 && rd(uart + 7, 1) == 0);
    board_drop(b);
    check_aia();
    check_aplic();
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
