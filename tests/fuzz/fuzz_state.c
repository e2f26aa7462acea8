/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots from anywhere, behind their checksum: the state of a board with all its devices is saved, bytes of it are changed, and it is loaded and goes
 * on. It may be refused; the board must still be one that can be used and reset. */
#include "back/block.h"
#include "machine/board.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BOARDS = 2 };

static Board *boards[BOARDS];
static State saved[BOARDS];

static void hart_interrupt(void *ctx, u32 hart, u32 cause, bool level) { FUZZ_CHECK(hart < 2 && cause < 16, "an interrupt of no hart"); }
static u64 now(void *ctx) { return 1000; }
static void stop(void *ctx, PlatformStop how, u32 code) {}

static void setup(u32 k) {
    static const Platform platform = {NULL, 2, hart_interrupt, now, stop};
    static char folder[] = "/tmp/isomer-fuzz-XXXXXX", disk[64], vsock[64];
    char why[256];
    if (!k && !mkdtemp(folder)) BUG("no folder");
    snprintf(disk, sizeof(disk), "%s/disk%u", folder, k);
    snprintf(vsock, sizeof(vsock), "%s/vsock%u", folder, k);
    if (!block_create_qcow2(disk, 1 << 20, NULL, NULL, why, sizeof(why))) BUG("no disk");
    const BoardDisk disks = {.path = disk, .bus = k ? BOARD_MMIO : BOARD_PCI, .queues = 2};
    const BoardNet net = {.spec = "none"};
    const BoardShare share = {.path = folder, .tag = "fuzz", .read_only = true};
    BoardConfig c = {.harts = 2, .memory = MIB(16), .aia = k == 0 ? BOARD_AIA_IMSIC : BOARD_AIA_APLIC, .disks = &disks, .disk_len = 1, .nets = &net, .net_len = 1, .shares = &share, .share_len = 1,
                     .console = "null", .vsock_cid = 3, .vsock = vsock};
    boards[k] = board_new(&c, &platform, why, sizeof(why));
    if (!boards[k]) BUG("no board");
    unlink(disk);
    unlink(vsock);
    if (k) rmdir(folder);
    board_pause(boards[k]);
    board_state(boards[k], &saved[k]);
    board_continue(boards[k]);
}

/* Registers here and there, as a driver would. */
static void poke(Board *b, u32 where, u64 value) {
    static const u64 places[] = {0x2000000, 0xc000000, 0xd000000, 0x10000000, 0x10008000, 0x101000, 0x10100000, 0x20000000, 0x28000000, 0x30008000, 0x40000000};
    u64 at = places[where % ARRAY_LEN(places)] + (where / 16) * 4, got = 0;
    if (value & 1) physical_io(board_physical(b), at, 4, true, &value);
    else physical_io(board_physical(b), at, 4, false, &got);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    if (!boards[1]) setup(0), setup(1);
    if (size < 6) return 0;
    u32 k = data[0] % BOARDS;
    State s = {.loading = true, .size = saved[k].size};
    s.at = malloc(s.size);
    memcpy(s.at, saved[k].at, s.size);
    size_t at = 2, changes = data[1] % 64u;
    for (; changes && at + 4 <= size; changes--, at += 4) s.at[(data[at] | data[at + 1] << 8 | data[at + 2] << 16) % s.size] = data[at + 3];
    board_pause(boards[k]);
    board_state(boards[k], &s);
    board_continue(boards[k]);
    free(s.at);
    for (; at + 3 <= size; at += 3) poke(boards[k], data[at] | data[at + 1] << 8, data[at + 2]);
    board_reset(boards[k]);
    return 0;
}
