/* SPDX-License-Identifier: Apache-2.0 */
/* The virt board's device tree, by libfdt's sequential functions: the first error sticks in Tree.err, and all that
 * follows does nothing. Node names and properties are those that kernels and firmware know from QEMU's board; tests/unit/board.py compares. */
#include "machine/fdt.h"
#include "machine/riscv/pmu.h"
#include "machine/virt.h"
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>

enum { PLIC_SIZE = 0x600000, CELLS_MAX = 8 * BOARD_HARTS_MAX, SLACK = 16 << 10 };

typedef struct Tree {
    void *blob;
    int err;
    const BoardConfig *config;
    const FdtBoot *boot;
} Tree;

/* Phandles: harts' interrupt controllers 1.., then the board's, then harts. */
static u32 handle_intc(const Tree *t, u32 hart) { return 1 + hart; }
enum { H_TEST, H_PLIC, H_APLIC_M, H_APLIC_S, H_IMSIC_M, H_IMSIC_S, H_COUNT };
static u32 handle(const Tree *t, u32 which) { return 1 + t->config->harts + which; }
static u32 handle_cpu(const Tree *t, u32 hart) { return 1 + t->config->harts + H_COUNT + hart; }
static bool has_imsic(const Tree *t) { return t->config->aia == BOARD_AIA_IMSIC; }
/* The controller that devices' lines lead to. */
static u32 handle_lines(const Tree *t) { return handle(t, t->config->aia ? H_APLIC_S : H_PLIC); }

/* --- properties --------------------------------------------------------------------------- */

static void check(Tree *t, int err) {
    if (!t->err) t->err = err;
}
static void begin(Tree *t, const char *name) { check(t, t->err ? 0 : fdt_begin_node(t->blob, name)); }
static void end(Tree *t) { check(t, t->err ? 0 : fdt_end_node(t->blob)); }
static void bytes(Tree *t, const char *name, const void *data, size_t size) {
    check(t, t->err ? 0 : fdt_property(t->blob, name, data, (int)size));
}
static void flag(Tree *t, const char *name) { bytes(t, name, NULL, 0); }
static void text(Tree *t, const char *name, const char *value) { bytes(t, name, value, strlen(value) + 1); }
static void cells(Tree *t, const char *name, const u32 *value, u32 len) {
    u32 big[64];
    ASSERT(len <= ARRAY_LEN(big));
    for (u32 i = 0; i < len; i++) big[i] = __builtin_bswap32(value[i]);
    bytes(t, name, big, len * sizeof(u32));
}
#define CELLS(t, name, ...) cells((t), (name), (const u32[]){__VA_ARGS__}, sizeof((const u32[]){__VA_ARGS__}) / sizeof(u32))
#define PAIR(x) (u32)((u64)(x) >> 32), (u32)(x)

static void begin_at(Tree *t, const char *name, u64 at) {
    char full[64];
    snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)at);
    begin(t, full);
}
static void begin_part(Tree *t, const char *name, VirtPart part) {
    const VirtRow *row = &virt_map[part];
    begin_at(t, name, row->start);
    CELLS(t, "reg", PAIR(row->start), PAIR(row->size));
}
static void interrupt(Tree *t, u32 irq) {
    if (t->config->aia) CELLS(t, "interrupts", irq, 4 /* level, high */);
    else CELLS(t, "interrupts", irq);
    CELLS(t, "interrupt-parent", handle_lines(t));
}
/* For each hart its interrupt controller and each of `causes`. */
static void extended(Tree *t, const u32 *causes, u32 count) {
    static const char name[] = "interrupts-extended";
    u32 len = t->config->harts * count * 2;
    void *at = NULL;
    check(t, t->err ? 0 : fdt_property_placeholder(t->blob, name, (int)(len * sizeof(u32)), &at));
    if (t->err) return;
    fdt32_t *out = at;
    for (u32 hart = 0; hart < t->config->harts; hart++) {
        for (u32 k = 0; k < count; k++) {
            *out++ = cpu_to_fdt32(handle_intc(t, hart));
            *out++ = cpu_to_fdt32(causes[k]);
        }
    }
}

/* --- harts -------------------------------------------------------------------------------- */

/* Appends a text with its NUL, if there is room. */
static void list_add(char *list, size_t room, size_t *size, const char *text) {
    size_t len = strlen(text) + 1;
    if (len > room - *size) return;
    memcpy(list + *size, text, len);
    *size += len;
}

/* Which interrupt architecture the harts have is the board's choice, so it adds those names; an APLIC alone is nothing that harts know of. */
static void extensions(Tree *t) {
    const BoardCpu *cpu = &t->config->cpu;
    char list[4096];
    size_t size = 0;
    for (const char *const *e = cpu->extensions; e && *e; e++) list_add(list, sizeof(list), &size, *e);
    if (has_imsic(t) && size) {
        list_add(list, sizeof(list), &size, "smaia");
        list_add(list, sizeof(list), &size, "ssaia");
    }
    if (size) bytes(t, "riscv,isa-extensions", list, size);
    if (!cpu->isa) return;
    snprintf(list, sizeof(list), "%s%s", cpu->isa, has_imsic(t) ? "_smaia_ssaia" : "");
    text(t, "riscv,isa", list);
}

static void block_sizes(Tree *t) {
    const BoardCpu *cpu = &t->config->cpu;
    if (cpu->cbom_size) CELLS(t, "riscv,cbom-block-size", cpu->cbom_size);
    if (cpu->cboz_size) CELLS(t, "riscv,cboz-block-size", cpu->cboz_size);
    if (cpu->cbop_size) CELLS(t, "riscv,cbop-block-size", cpu->cbop_size);
}

static void hart(Tree *t, u32 id) {
    const BoardCpu *cpu = &t->config->cpu;
    begin_at(t, "cpu", id);
    CELLS(t, "phandle", handle_cpu(t, id));
    text(t, "device_type", "cpu");
    CELLS(t, "reg", id);
    text(t, "status", "okay");
    text(t, "compatible", "riscv");
    if (cpu->isa_base) text(t, "riscv,isa-base", cpu->isa_base);
    extensions(t);
    block_sizes(t);
    if (cpu->mmu) text(t, "mmu-type", cpu->mmu);
    begin(t, "interrupt-controller");
    CELLS(t, "#interrupt-cells", 1);
    flag(t, "interrupt-controller");
    text(t, "compatible", "riscv,cpu-intc");
    CELLS(t, "phandle", handle_intc(t, id));
    end(t);
    end(t);
}

static void harts(Tree *t) {
    char core[16];
    begin(t, "cpus");
    CELLS(t, "#address-cells", 1);
    CELLS(t, "#size-cells", 0);
    CELLS(t, "timebase-frequency", PLATFORM_HZ);
    for (u32 id = 0; id < t->config->harts; id++) hart(t, id);
    begin(t, "cpu-map");
    begin(t, "cluster0");
    for (u32 id = 0; id < t->config->harts; id++) {
        snprintf(core, sizeof(core), "core%u", id);
        begin(t, core);
        CELLS(t, "cpu", handle_cpu(t, id));
        end(t);
    }
    end(t);
    end(t);
    end(t);
}

/* --- what lies outside of /soc ------------------------------------------------------------ */

static void memory(Tree *t) {
    begin_at(t, "memory", BOARD_RAM);
    text(t, "device_type", "memory");
    CELLS(t, "reg", PAIR(BOARD_RAM), PAIR(t->config->memory));
    end(t);
    if (!t->boot->reserve_sbi) return;
    begin(t, "reserved-memory");
    CELLS(t, "#address-cells", 2);
    CELLS(t, "#size-cells", 2);
    flag(t, "ranges");
    begin_at(t, "sbi", BOARD_RAM);
    CELLS(t, "reg", PAIR(BOARD_RAM), PAIR(MIB(2)));
    flag(t, "no-map");
    end(t);
    end(t);
}

static void chosen(Tree *t) {
    const FdtBoot *boot = t->boot;
    begin(t, "chosen");
    if (boot->append) text(t, "bootargs", boot->append);
    if (boot->initrd_end > boot->initrd_start) {
        CELLS(t, "linux,initrd-start", PAIR(boot->initrd_start));
        CELLS(t, "linux,initrd-end", PAIR(boot->initrd_end));
    }
    text(t, "stdout-path", "/soc/serial@10000000");
    if (boot->seed) bytes(t, "rng-seed", boot->seed, 32);
    end(t);
    begin(t, "aliases");
    text(t, "serial0", "/soc/serial@10000000");
    end(t);
}

static void syscon(Tree *t, const char *name, const char *compatible, u32 value) {
    begin(t, name);
    CELLS(t, "value", value);
    CELLS(t, "offset", 0);
    CELLS(t, "regmap", handle(t, H_TEST));
    text(t, "compatible", compatible);
    end(t);
}

static void firmware_parts(Tree *t) {
    const VirtRow *flash = &virt_map[VIRT_FLASH0];
    begin_part(t, "fw-cfg", VIRT_FW_CFG);
    flag(t, "dma-coherent");
    text(t, "compatible", "qemu,fw-cfg-mmio");
    end(t);
    begin_at(t, "flash", flash->start);
    CELLS(t, "reg", PAIR(flash->start), PAIR(flash->size), PAIR(flash->start + flash->size), PAIR(flash->size));
    CELLS(t, "bank-width", 4);
    text(t, "compatible", "cfi-flash");
    end(t);
}

/* For firmware: which events which counters can count, from, to and mask; the numbers in mhpmevent are SBI's own. */
static void counters(Tree *t) {
    const u32 cycle = 1u << PMU_CYCLE, instret = 1u << PMU_INSTRET, programmable = PMU_PROGRAMMABLE;
    begin(t, "pmu");
    CELLS(t, "riscv,event-to-mhpmcounters", PMU_CYCLES, PMU_CYCLES, cycle | programmable, PMU_INSTRUCTIONS, PMU_INSTRUCTIONS, instret | programmable, PMU_LOAD_MISSES, PMU_LOAD_MISSES, programmable,
          PMU_STORE_MISSES, PMU_STORE_MISSES, programmable, PMU_FETCH_MISSES, PMU_FETCH_MISSES, programmable);
    text(t, "compatible", "riscv,pmu");
    end(t);
}

/* --- interrupt controllers ---------------------------------------------------------------- */

static void clint(Tree *t) {
    begin_part(t, "clint", VIRT_CLINT);
    extended(t, (const u32[]){HART_MSIP, HART_MTIP}, 2);
    bytes(t, "compatible", "sifive,clint0\0riscv,clint0", 27);
    end(t);
}

static void plic(Tree *t) {
    begin_part(t, "plic", VIRT_PLIC);
    CELLS(t, "phandle", handle(t, H_PLIC));
    CELLS(t, "riscv,ndev", VIRT_SOURCES);
    extended(t, (const u32[]){HART_MEIP, HART_SEIP}, 2);
    flag(t, "interrupt-controller");
    bytes(t, "compatible", "sifive,plic-1.0.0\0riscv,plic0", 30);
    CELLS(t, "#address-cells", 0);
    CELLS(t, "#interrupt-cells", 1);
    end(t);
}

static void imsic(Tree *t, VirtPart part, u32 which, u32 cause) {
    begin_at(t, "imsics", virt_map[part].start);
    CELLS(t, "reg", PAIR(virt_map[part].start), PAIR((u64)t->config->harts * PAGE_BYTES));
    CELLS(t, "phandle", handle(t, which));
    CELLS(t, "riscv,ipi-id", 1);
    CELLS(t, "riscv,num-ids", IMSIC_IDS);
    extended(t, &cause, 1);
    flag(t, "msi-controller");
    flag(t, "interrupt-controller");
    CELLS(t, "#interrupt-cells", 0);
    CELLS(t, "#msi-cells", 0);
    text(t, "compatible", "riscv,imsics");
    end(t);
}

/* cause: of the harts' interrupt that it is, where messages do not go to `imsic_which`. */
static void aplic(Tree *t, VirtPart part, u32 which, u32 imsic_which, u32 cause) {
    begin_part(t, "aplic", part);
    CELLS(t, "phandle", handle(t, which));
    if (which == H_APLIC_M) {
        CELLS(t, "riscv,children", handle(t, H_APLIC_S));
        CELLS(t, "riscv,delegate", handle(t, H_APLIC_S), 1, VIRT_SOURCES);     /* as older kernels spell it */
        CELLS(t, "riscv,delegation", handle(t, H_APLIC_S), 1, VIRT_SOURCES);
    }
    CELLS(t, "riscv,num-sources", VIRT_SOURCES);
    if (has_imsic(t)) CELLS(t, "msi-parent", handle(t, imsic_which));
    else extended(t, &cause, 1);
    flag(t, "interrupt-controller");
    CELLS(t, "#address-cells", 0);
    CELLS(t, "#interrupt-cells", 2);
    text(t, "compatible", "riscv,aplic");
    end(t);
}

static void controllers(Tree *t) {
    bool m = t->boot->machine_mode;
    clint(t);
    if (!t->config->aia) {
        plic(t);
        return;
    }
    if (m && has_imsic(t)) imsic(t, VIRT_IMSIC_M, H_IMSIC_M, HART_MEIP);
    if (has_imsic(t)) imsic(t, VIRT_IMSIC_S, H_IMSIC_S, HART_SEIP);
    if (m) aplic(t, VIRT_APLIC_M, H_APLIC_M, H_IMSIC_M, HART_MEIP);
    aplic(t, VIRT_APLIC_S, H_APLIC_S, H_IMSIC_S, HART_SEIP);
}

/* --- PCI ---------------------------------------------------------------------------------- */

/* Line `pin` of slot `slot` is line (slot + pin - 1) mod 4 of the bridge: bits 12:11 of the address are enough to say so. */
static void interrupt_map(Tree *t) {
    u32 map[16 * 7], len = 0;
    for (u32 slot = 0; slot < 4; slot++) {
        for (u32 pin = 1; pin <= 4; pin++) {
            const u32 row[] = {slot << 11, 0, 0, pin, handle_lines(t), VIRT_PCI_IRQ + (slot + pin - 1) % 4, 4};
            u32 n = t->config->aia ? 7 : 6;
            memcpy(map + len, row, n * sizeof(u32));
            len += n;
        }
    }
    for (u32 i = 0; i < len; i++) map[i] = __builtin_bswap32(map[i]);
    bytes(t, "interrupt-map", map, len * sizeof(u32));
    CELLS(t, "interrupt-map-mask", 3 << 11, 0, 0, 7);
}

static void pci(Tree *t) {
    const VirtRow *pio = &virt_map[VIRT_PIO], *low = &virt_map[VIRT_MMIO32], *high = &virt_map[VIRT_MMIO64];
    begin_part(t, "pci", VIRT_ECAM);
    text(t, "compatible", "pci-host-ecam-generic");
    text(t, "device_type", "pci");
    CELLS(t, "#address-cells", 3);
    CELLS(t, "#size-cells", 2);
    CELLS(t, "#interrupt-cells", 1);
    CELLS(t, "linux,pci-domain", 0);
    CELLS(t, "bus-range", 0, 255);
    flag(t, "dma-coherent");
    if (has_imsic(t)) CELLS(t, "msi-parent", handle(t, H_IMSIC_S));
    CELLS(t, "ranges", 0x1000000, 0, 0, PAIR(pio->start), PAIR(pio->size), 0x2000000, PAIR(low->start), PAIR(low->start),
          PAIR(low->size), 0x3000000, PAIR(high->start), PAIR(high->start), PAIR(high->size));
    interrupt_map(t);
    end(t);
}

/* --- all of it ---------------------------------------------------------------------------- */

static void soc(Tree *t) {
    begin(t, "soc");
    CELLS(t, "#address-cells", 2);
    CELLS(t, "#size-cells", 2);
    text(t, "compatible", "simple-bus");
    flag(t, "ranges");
    begin_part(t, "rtc", VIRT_RTC);
    interrupt(t, virt_map[VIRT_RTC].irq);
    text(t, "compatible", "google,goldfish-rtc");
    end(t);
    begin_part(t, "serial", VIRT_UART);
    interrupt(t, virt_map[VIRT_UART].irq);
    CELLS(t, "clock-frequency", 3686400);
    text(t, "compatible", "ns16550a");
    end(t);
    begin_part(t, "test", VIRT_TEST);
    CELLS(t, "phandle", handle(t, H_TEST));
    bytes(t, "compatible", "sifive,test1\0sifive,test0\0syscon", 33);
    end(t);
    pci(t);
    for (u32 k = 0; k < VIRT_VIRTIO_SLOTS; k++) {
        u64 at = virt_map[VIRT_VIRTIO].start + k * 0x1000;
        begin_at(t, "virtio_mmio", at);
        CELLS(t, "reg", PAIR(at), PAIR(0x1000));
        interrupt(t, virt_map[VIRT_VIRTIO].irq + k);
        flag(t, "dma-coherent");
        text(t, "compatible", "virtio,mmio");
        end(t);
    }
    controllers(t);
    end(t);
}

long fdt_make(void *to, u32 size, const BoardConfig *config, const FdtBoot *boot) {
    Tree t = {.blob = to, .config = config, .boot = boot};
    check(&t, fdt_create(to, (int)size));
    check(&t, t.err ? 0 : fdt_finish_reservemap(to));
    begin(&t, "");
    CELLS(&t, "#address-cells", 2);
    CELLS(&t, "#size-cells", 2);
    text(&t, "compatible", "riscv-virtio");
    text(&t, "model", "riscv-virtio,isomer");
    chosen(&t);
    memory(&t);
    harts(&t);
    firmware_parts(&t);
    if (boot->machine_mode) counters(&t);
    syscon(&t, "poweroff", "syscon-poweroff", 0x5555);
    syscon(&t, "reboot", "syscon-reboot", 0x7777);
    soc(&t);
    end(&t);
    check(&t, t.err ? 0 : fdt_finish(to));
    /* Boot loaders add to it where it lies, and U-Boot, which copies it with as much room as it has, writes over what is behind if there is none. */
    check(&t, t.err ? 0 : fdt_open_into(to, to, (int)MIN(fdt_totalsize(to) + SLACK, size)));
    return t.err ? -ENOSPC : (long)fdt_totalsize(to);
}
