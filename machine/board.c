/* SPDX-License-Identifier: Apache-2.0 */
/* The virt board: its map, and the parts that it always has. What the user plugs in is in board_virtio.c. */
#include "machine/board_parts.h"
#include "machine/counted.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

const VirtRow virt_map[VIRT_PARTS] = {
    [VIRT_ROM] = {"rom", 0x1000, 0xf000, 0},
    [VIRT_TEST] = {"test", 0x100000, 0x1000, 0},
    [VIRT_RTC] = {"rtc", 0x101000, 0x1000, 11},
    [VIRT_CLINT] = {"clint", 0x2000000, 0x10000, 0},
    [VIRT_PIO] = {"pci-io", 0x3000000, 0x10000, 0},
    [VIRT_PLIC] = {"plic", 0xc000000, 0x600000, 0},
    [VIRT_APLIC_M] = {"aplic-m", 0xc000000, 0x8000, 0},
    [VIRT_APLIC_S] = {"aplic-s", 0xd000000, 0x8000, 0},
    [VIRT_UART] = {"uart", 0x10000000, 0x100, 10},
    [VIRT_VIRTIO] = {"virtio", 0x10001000, 0x8000, 1},
    [VIRT_FW_CFG] = {"fw-cfg", 0x10100000, 0x18, 0},
    [VIRT_FLASH0] = {"flash0", 0x20000000, 0x2000000, 0},
    [VIRT_FLASH1] = {"flash1", 0x22000000, 0x2000000, 0},
    [VIRT_IMSIC_M] = {"imsic-m", 0x24000000, 0x4000000, 0},
    [VIRT_IMSIC_S] = {"imsic-s", 0x28000000, 0x4000000, 0},
    [VIRT_ECAM] = {"pci-config", 0x30000000, 0x10000000, VIRT_PCI_IRQ},
    [VIRT_MMIO32] = {"pci-mmio", 0x40000000, 0x40000000, 0},
    [VIRT_MMIO64] = {"pci-mmio64", 0x400000000, 0x400000000, 0},
};

enum { INFO_OFFSET = 0x100, FDT_ROOM = 1 << 20, KERNEL_OFFSET = 2 << 20 };

/* --- building ----------------------------------------------------------------------------- */

static void map_part(Board *b, VirtPart part, const IoOps *ops, void *dev, const u8 *bytes) {
    const VirtRow *row = &virt_map[part];
    if (!physical_add(&b->memory, &(PhysRegion){row->start, row->size, ops, dev, bytes, row->name})) BUG("the board's map overlaps");
}

const char *const board_aia_names[] = {"none", "aplic", "aplic-imsic", NULL};

Irq board_irq(Board *b, u32 line) {
    return b->aplic ? (Irq){aplic_set, b->aplic, line} : (Irq){plic_set, b->plic, line};
}

static void controllers_new(Board *b) {
    b->aclint = aclint_new(&b->platform);
    map_part(b, VIRT_CLINT, &aclint_ops, b->aclint, NULL);
    if (b->config.aia == BOARD_AIA_NONE) {
        b->plic = plic_new(&b->platform);
        map_part(b, VIRT_PLIC, &plic_ops, b->plic, NULL);
        return;
    }
    if (b->config.aia == BOARD_AIA_IMSIC) {
        b->imsic = imsic_new(&b->platform);
        map_part(b, VIRT_IMSIC_M, &imsic_ops, imsic_file_io(b->imsic, IMSIC_M), NULL);
        map_part(b, VIRT_IMSIC_S, &imsic_ops, imsic_file_io(b->imsic, IMSIC_S), NULL);
    }
    b->aplic = aplic_new(b->imsic, &b->platform);
    map_part(b, VIRT_APLIC_M, &aplic_ops, aplic_domain_io(b->aplic, IMSIC_M), NULL);
    map_part(b, VIRT_APLIC_S, &aplic_ops, aplic_domain_io(b->aplic, IMSIC_S), NULL);
}

/* A flash image that cannot be written is flash that cannot be written. */
static bool flash_make(Board *b, u32 k, char *why, size_t why_size) {
    const char *path = b->config.flash[k];
    bool read_only = false;
    b->flash_fd[k] = -1;
    if (path) {
        if (!b->config.flash_kept) b->flash_fd[k] = open(path, O_RDWR | O_CLOEXEC);
        if (b->flash_fd[k] < 0) {
            read_only = true;
            b->flash_fd[k] = open(path, O_RDONLY | O_CLOEXEC);
        }
        if (b->flash_fd[k] < 0) return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    }
    b->flash[k] = flash_new(&b->memory, virt_map[k ? VIRT_FLASH1 : VIRT_FLASH0].start, b->flash_fd[k], read_only);
    if (b->config.flash_kept) flash_forget_file(b->flash[k]);
    if (b->config.counted) flash_forget_file(b->flash[k]);
    map_part(b, k ? VIRT_FLASH1 : VIRT_FLASH0, &flash_ops, b->flash[k], flash_bytes(b->flash[k]));
    return true;
}

static void fw_cfg_make(Board *b) {
    u16 harts = (u16)b->config.harts;
    b->fw_cfg = fw_cfg_new(&b->memory);
    fw_cfg_add(b->fw_cfg, 0x05, &harts, 2); /* number of processors, now and at most */
    fw_cfg_add(b->fw_cfg, 0x0f, &harts, 2);
    map_part(b, VIRT_FW_CFG, &fw_cfg_ops, b->fw_cfg, NULL);
}

static bool parts_new(Board *b, char *why, size_t why_size) {
    controllers_new(b);
    map_part(b, VIRT_ROM, NULL, NULL, b->rom);
    map_part(b, VIRT_TEST, &syscon_ops, &b->platform, NULL);
    b->rtc = rtc_new(&b->platform, board_irq(b, virt_map[VIRT_RTC].irq));
    map_part(b, VIRT_RTC, &rtc_ops, b->rtc, NULL);
    b->serial = console_new(b->config.serial ? b->config.serial : "null", why, why_size);
    if (!b->serial) return false;
    if (b->config.counted) counted_console(b->config.counted, 0, b->serial);
    b->uart = uart_new(b->serial, board_irq(b, virt_map[VIRT_UART].irq));
    map_part(b, VIRT_UART, &uart_ops, b->uart, NULL);
    fw_cfg_make(b);
    return flash_make(b, 0, why, why_size) && flash_make(b, 1, why, why_size) && board_virtio_new(b, why, why_size);
}

static bool config_check(const BoardConfig *c, char *why, size_t why_size) {
    if (!c->harts || c->harts > BOARD_HARTS_MAX) return back_fail(why, why_size, "a machine has 1 to %d harts", BOARD_HARTS_MAX);
    if (c->memory < MIB(16) || c->memory % PAGE_BYTES) return back_fail(why, why_size, "a machine's memory is at least 16 MiB, in pages of 4096 bytes");
    if (c->memory > virt_map[VIRT_MMIO64].start - BOARD_RAM) return back_fail(why, why_size, "a machine's memory is at most 14 GiB");
    return true;
}

Board *board_new(const BoardConfig *config, const Platform *platform, char *why, size_t why_size) {
    if (!config_check(config, why, why_size)) return NULL;
    Board *b = back_alloc(sizeof(*b));
    b->config = *config;
    b->platform = *platform;
    b->platform.harts = config->harts;
    b->rom = back_alloc(virt_map[VIRT_ROM].size);
    b->fdt = back_alloc(FDT_ROOM);
    b->flash_fd[0] = b->flash_fd[1] = -1;
    int err = physical_init(&b->memory, BOARD_RAM, config->memory);
    b->memory.gate = config->counted ? counted_gate(config->counted) : NULL;
    if (!err && parts_new(b, why, why_size)) return b;
    if (err) back_fail(why, why_size, "no memory for the machine: %s", strerror(-err));
    board_drop(b);
    return NULL;
}

/* Consoles and virtio devices first: their threads call the others. */
void board_drop(Board *b) {
    if (b->serial) console_drop(b->serial);
    board_virtio_drop(b);
    if (b->uart) uart_drop(b->uart);
    if (b->rtc) rtc_drop(b->rtc);
    if (b->fw_cfg) fw_cfg_drop(b->fw_cfg);
    for (u32 k = 0; k < 2; k++) {
        if (b->flash[k]) flash_drop(b->flash[k]);
        if (b->flash_fd[k] >= 0) close(b->flash_fd[k]);
    }
    if (b->aclint) aclint_drop(b->aclint);
    if (b->plic) plic_drop(b->plic);
    if (b->aplic) aplic_drop(b->aplic);
    if (b->imsic) imsic_drop(b->imsic);
    physical_fini(&b->memory);
    free(b->rom);
    free(b->fdt);
    free(b);
}

void board_reset(Board *b) {
    board_virtio_reset(b);
    uart_reset(b->uart);
    rtc_reset(b->rtc);
    fw_cfg_reset(b->fw_cfg);
    flash_reset(b->flash[0]);
    flash_reset(b->flash[1]);
    aclint_reset(b->aclint);
    if (b->plic) plic_reset(b->plic);
    if (b->aplic) aplic_reset(b->aplic);
    if (b->imsic) imsic_reset(b->imsic);
}

/* --- snapshots ---------------------------------------------------------------------------- */

void board_pause(Board *b) { board_virtio_pause(b, true); }
void board_continue(Board *b) { board_virtio_pause(b, false); }

/* Interrupt controllers first: lines that devices raise while they are loaded are known to them already. */
void board_state(Board *b, State *s) {
    if (b->imsic) imsic_state(b->imsic, s);
    if (b->aplic) aplic_state(b->aplic, s);
    if (b->plic) plic_state(b->plic, s);
    aclint_state(b->aclint, s);
    uart_state(b->uart, s);
    rtc_state(b->rtc, s);
    fw_cfg_state(b->fw_cfg, s);
    flash_state(b->flash[0], s);
    flash_state(b->flash[1], s);
    state_bytes(s, b->rom, virt_map[VIRT_ROM].size);
    board_virtio_state(b, s);
}

bool board_identity(Board *b, Text *out, char *why, size_t why_size) {
    text_print(out, "harts: %u\nmemory: %llu\ninterrupts: %s\n", b->config.harts, (unsigned long long)b->config.memory, board_aia_names[b->config.aia]);
    if (b->config.packed) text_print(out, "rings: packed\n");
    text_print(out, "isa: %s\n", b->config.cpu.isa ? b->config.cpu.isa : "");
    return board_virtio_identity(b, out, why, why_size);
}

Physical *board_physical(Board *b) { return &b->memory; }
Imsic *board_imsic(Board *b) { return b->imsic; }
Console *board_serial(Board *b) { return b->serial; }
Console *board_stdio(Board *b) {
    Console *other = board_virtio_console(b);
    return console_is_stdio(b->serial) ? b->serial : other && console_is_stdio(other) ? other : NULL;
}
void board_console_put(Board *b, u8 byte) { console_write(b->serial, &byte, 1); }
int board_console_get(Board *b) {
    u8 byte;
    return console_read(b->serial, &byte, 1) ? byte : -1;
}

/* --- loading ------------------------------------------------------------------------------ */

/* What OpenSBI's fw_dynamic wants to know: [OpenSBI docs/firmware/fw_dynamic.md]. */
static u64 info_put(Board *b, u64 next) {
    const u64 info[6] = {0x4942534f /* "OSBI" */, 2, next, 1 /* S-mode */, 0, 0};
    memcpy(b->rom + INFO_OFFSET, info, sizeof(info));
    return virt_map[VIRT_ROM].start + INFO_OFFSET;
}

/* Firmware in flash finds kernel, initrd and command line here. */
static void fw_cfg_text(Board *b, const char *append) {
    u32 size = append ? (u32)strlen(append) + 1 : 0;
    fw_cfg_add(b->fw_cfg, 0x14, &size, 4);
    fw_cfg_add(b->fw_cfg, 0x15, append, size);
}

static bool programs_load(Board *b, const BoardImages *im, BoardStart *start, u64 *kernel_end, char *why, size_t why_size) {
    Loaded firmware = {.end = BOARD_RAM}, kernel = {0};
    u64 flash = virt_map[VIRT_FLASH0].start;
    if (im->firmware && !load_program(&b->memory, im->firmware, BOARD_RAM, &firmware, why, why_size)) return false;
    u64 at = MAX((u64)BOARD_RAM + KERNEL_OFFSET, align_up(firmware.end, KERNEL_OFFSET));
    if (im->kernel && !load_program(&b->memory, im->kernel, at, &kernel, why, why_size)) return false;
    if (!im->firmware && !im->kernel && !b->config.flash[0]) return back_fail(why, why_size, "there is nothing to start: no firmware, no kernel");
    u64 next = im->kernel ? kernel.entry : flash;
    start->machine_mode = im->firmware || im->bare;
    start->pc = im->firmware ? firmware.entry : next;
    start->info = im->firmware ? info_put(b, next) : 0;
    *kernel_end = MAX(firmware.end, kernel.end);
    return true;
}

static bool seed_make(Board *b, u8 *to, size_t size) {
    if (!b->config.counted) return getrandom(to, size, 0) == (ssize_t)size;
    counted_seed(b->config.counted, to, size);
    return true;
}

bool board_load(Board *b, const BoardImages *im, BoardStart *start, char *why, size_t why_size) {
    FdtBoot boot = {.append = im->append, .reserve_sbi = im->reserve_sbi};
    Loaded initrd = {0};
    u64 floor = 0;
    u8 seed[32];
    *start = (BoardStart){0};
    if (!programs_load(b, im, start, &floor, why, why_size)) return false;
    /* Below 3 GiB: early page tables of some kernels reach no farther. */
    u64 top = MIN((u64)BOARD_RAM + b->config.memory, (u64)BOARD_RAM + GIB(1));
    start->fdt = align_down(top - FDT_ROOM, MIB(2));
    if (im->initrd && !load_below(&b->memory, im->initrd, floor, start->fdt, &initrd, why, why_size)) return false;
    boot.initrd_start = initrd.start;
    boot.initrd_end = initrd.end;
    boot.machine_mode = start->machine_mode;
    boot.seed = seed_make(b, seed, sizeof(seed)) ? seed : NULL;
    long size = fdt_make(b->fdt, FDT_ROOM, &b->config, &boot);
    if (size < 0 || start->fdt < floor || !physical_write(&b->memory, start->fdt, b->fdt, (u64)size))
        return back_fail(why, why_size, "the device tree does not fit into the machine's memory");
    b->fdt_size = (u32)size;
    fw_cfg_text(b, im->append);
    if (b->aplic && !start->machine_mode) aplic_delegate_all(b->aplic);
    return true;
}

const void *board_fdt(Board *b, u32 *size) {
    *size = b->fdt_size;
    return b->fdt;
}
