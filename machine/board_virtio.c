/* SPDX-License-Identifier: Apache-2.0 */
/* What the user plugs into a board: virtio devices with their back ends, in PCI slots or at MMIO addresses, in the order of the configuration. */
#include "device/pci.h"
#include "device/virtio/devices.h"
#include "machine/board_parts.h"
#include "machine/counted.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

typedef enum PlugKind { PLUG_DISK, PLUG_NET, PLUG_CONSOLE, PLUG_RNG, PLUG_SHARE, PLUG_BALLOON, PLUG_VSOCK, PLUG_PUPPET } PlugKind;

typedef struct Plug {
    PlugKind kind;
    void *device; /* VirtioBlk.. */
    Virtio *virtio;
    void *back;   /* Block.., ours; NULL: none */
    VirtioMmio *mmio;
    VirtioPci *pci;
} Plug;

struct BoardVirtio {
    PciBus *pci;
    VirtioMmio *slot[VIRT_VIRTIO_SLOTS];
    u32 slots_used;
    Plug plug[BOARD_DEVICES_MAX];
    u32 plug_len;
    VirtioBalloon *balloon; /* or NULL */
};

/* --- buses -------------------------------------------------------------------------------- */

static void map(Board *b, VirtPart part, const IoOps *ops, void *dev) {
    const VirtRow *row = &virt_map[part];
    if (!physical_add(&b->memory, &(PhysRegion){row->start, row->size, ops, dev, NULL, row->name})) BUG("the board's map overlaps");
}

static void pci_make(Board *b) {
    static const VirtPart windows[PCI_WINDOWS] = {VIRT_PIO, VIRT_MMIO32, VIRT_MMIO64};
    Irq lines[PCI_LINES];
    for (u32 k = 0; k < PCI_LINES; k++) lines[k] = board_irq(b, VIRT_PCI_IRQ + k);
    PciBus *bus = b->virtio->pci = pci_new(&b->memory, lines, b->config.aia == BOARD_AIA_IMSIC);
    map(b, VIRT_ECAM, &pci_config_ops, bus);
    for (u32 k = 0; k < PCI_WINDOWS; k++) {
        bool port = windows[k] == VIRT_PIO;
        map(b, windows[k], &pci_window_ops, pci_window(bus, k, port ? 0 : virt_map[windows[k]].start, port));
    }
}

/* The slots at MMIO addresses that nothing was plugged into. */
static void slots_map(Board *b) {
    for (u32 k = 0; k < VIRT_VIRTIO_SLOTS; k++) {
        VirtioMmio **slot = &b->virtio->slot[k];
        if (!*slot) *slot = virtio_mmio_new(NULL, (Irq){0});
        u64 start = virt_map[VIRT_VIRTIO].start + k * 0x1000;
        physical_add(&b->memory, &(PhysRegion){start, 0x1000, &virtio_mmio_ops, *slot, NULL, "virtio"});
    }
}

/* Remembers a device with its back end, which board_virtio_drop drops from now on, and plugs it in. */
static bool plug(Board *b, Plug p, BoardBus bus, char *why, size_t why_size) {
    BoardVirtio *bv = b->virtio;
    u32 slot = bv->slots_used;
    Plug *at = &bv->plug[bv->plug_len++]; /* config_check has counted them */
    *at = p;
    virtio_offer_packed(p.virtio, b->config.packed);
    if (bus == BOARD_PCI) {
        at->pci = virtio_pci_new(p.virtio, bv->pci);
        return at->pci || back_fail(why, why_size, "there are more devices than PCI slots");
    }
    if (slot == VIRT_VIRTIO_SLOTS) return back_fail(why, why_size, "there are more devices than the %d MMIO slots", VIRT_VIRTIO_SLOTS);
    /* From the last slot on: that is where the first device is on QEMU's board. */
    slot = VIRT_VIRTIO_SLOTS - 1 - bv->slots_used++;
    at->mmio = bv->slot[slot] = virtio_mmio_new(p.virtio, board_irq(b, virt_map[VIRT_VIRTIO].irq + slot));
    return true;
}

/* --- devices of machines that are recorded or replayed (machine/counted.h) ---------------- */

static bool is_replayed(const Board *b) { return b->config.counted && counted_replays(b->config.counted); }

static bool puppet_make(Board *b, u32 id, BoardBus bus, char *why, size_t why_size) {
    VirtioPuppet *d = counted_puppet(b->config.counted, b->virtio->plug_len, id, &b->memory);
    if (!d) return back_fail(why, why_size, "the machine that was recorded had other devices");
    return plug(b, (Plug){.kind = PLUG_PUPPET, .device = d, .virtio = virtio_puppet_virtio(d)}, bus, why, why_size);
}

/* One that looks at the host: what it does is recorded. */
static bool plug_outsider(Board *b, Plug p, BoardBus bus, char *why, size_t why_size) {
    u32 number = b->virtio->plug_len;
    if (!plug(b, p, bus, why, why_size)) return false;
    if (b->config.counted) counted_device(b->config.counted, number, p.virtio);
    return true;
}

/* --- devices ------------------------------------------------------------------------------ */

static bool disk_make(Board *b, const BoardDisk *c, char *why, size_t why_size) {
    Block *block = block_open(c->path, &(BlockOptions){c->format, c->read_only, c->snapshot || b->config.counted}, why, why_size);
    if (!block) return false;
    VirtioBlk *d = virtio_blk_new(&b->memory, block, c->queues ? c->queues : MIN(b->config.harts, 8u), c->serial);
    return plug(b, (Plug){.kind = PLUG_DISK, .device = d, .virtio = virtio_blk_virtio(d), .back = block}, c->bus, why, why_size);
}

/* "52:54:00:12:34:56"; NULL: the usual one, counted up. */
static bool mac_parse(const char *text, u32 index, u8 mac[6]) {
    static const u8 first[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    unsigned v[6];
    char end;
    memcpy(mac, first, 6);
    mac[5] = (u8)(mac[5] + index);
    if (!text) return true;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", v, v + 1, v + 2, v + 3, v + 4, v + 5, &end) != 6 || v[0] & 1) return false;
    for (u32 k = 0; k < 6; k++) mac[k] = (u8)v[k];
    return true;
}

static bool net_make(Board *b, u32 index, char *why, size_t why_size) {
    const BoardNet *c = &b->config.nets[index];
    u8 mac[6];
    if (!mac_parse(c->mac, index, mac)) return back_fail(why, why_size, "%s: no address of a network card", c->mac);
    if (is_replayed(b)) return puppet_make(b, VIRTIO_NET, c->bus, why, why_size);
    Net *net = net_new(c->spec, why, why_size);
    if (!net) return false;
    net_set_gate(net, b->memory.gate);
    VirtioNet *d = virtio_net_new(&b->memory, net, mac);
    return plug_outsider(b, (Plug){.kind = PLUG_NET, .device = d, .virtio = virtio_net_virtio(d), .back = net}, c->bus, why, why_size);
}

static bool console_make(Board *b, char *why, size_t why_size) {
    if (!b->config.console) return true;
    Console *console = console_new(b->config.console, why, why_size);
    if (!console) return false;
    if (b->config.counted) counted_console(b->config.counted, 1, console);
    VirtioConsole *d = virtio_console_new(&b->memory, console);
    return plug(b, (Plug){.kind = PLUG_CONSOLE, .device = d, .virtio = virtio_console_virtio(d), .back = console}, BOARD_PCI, why, why_size);
}

Console *board_virtio_console(Board *b) {
    for (u32 k = 0; k < b->virtio->plug_len; k++)
        if (b->virtio->plug[k].kind == PLUG_CONSOLE) return b->virtio->plug[k].back;
    return NULL;
}

static bool rng_make(Board *b, char *why, size_t why_size) {
    if (b->config.no_rng) return true;
    if (is_replayed(b)) return puppet_make(b, VIRTIO_RNG, BOARD_PCI, why, why_size);
    VirtioRng *d = virtio_rng_new(&b->memory);
    return plug_outsider(b, (Plug){.kind = PLUG_RNG, .device = d, .virtio = virtio_rng_virtio(d)}, BOARD_PCI, why, why_size);
}

static bool share_make(Board *b, const BoardShare *c, char *why, size_t why_size) {
    if (is_replayed(b)) return puppet_make(b, VIRTIO_9P, c->bus, why, why_size);
    Share *share = share_new(c->path, c->read_only, why, why_size);
    if (!share) return false;
    Virtio9p *d = virtio_9p_new(&b->memory, share, c->tag ? c->tag : "share");
    return plug_outsider(b, (Plug){.kind = PLUG_SHARE, .device = d, .virtio = virtio_9p_virtio(d), .back = share}, c->bus, why, why_size);
}

static bool balloon_make(Board *b, char *why, size_t why_size) {
    if (b->config.no_balloon) return true;
    VirtioBalloon *d = b->virtio->balloon = virtio_balloon_new(&b->memory);
    return plug(b, (Plug){.kind = PLUG_BALLOON, .device = d, .virtio = virtio_balloon_virtio(d)}, BOARD_PCI, why, why_size);
}

static bool vsock_make(Board *b, char *why, size_t why_size) {
    const BoardConfig *c = &b->config;
    if (!c->vsock_cid) return true;
    if (c->vsock_cid < 3 || c->vsock_cid == ~0u || !c->vsock) return back_fail(why, why_size, "a vsock wants a CID of 3 or more, and a path");
    if (is_replayed(b)) return puppet_make(b, VIRTIO_VSOCK, BOARD_PCI, why, why_size);
    VirtioVsock *d = virtio_vsock_new(&b->memory, c->vsock_cid, c->vsock, why, why_size);
    return d && plug_outsider(b, (Plug){.kind = PLUG_VSOCK, .device = d, .virtio = virtio_vsock_virtio(d)}, BOARD_PCI, why, why_size);
}

bool board_balloon_want(Board *b, u64 size) {
    if (!b->virtio->balloon || b->config.counted) return false; /* no record has such a wish */
    virtio_balloon_want(b->virtio->balloon, size);
    return true;
}

u64 board_balloon_size(Board *b) { return b->virtio->balloon ? virtio_balloon_size(b->virtio->balloon) : 0; }

static bool devices_make(Board *b, char *why, size_t why_size) {
    const BoardConfig *c = &b->config;
    if (c->disk_len + c->net_len + c->share_len + 4 > BOARD_DEVICES_MAX) return back_fail(why, why_size, "more than %d devices", BOARD_DEVICES_MAX - 4);
    for (u32 k = 0; k < c->disk_len; k++)
        if (!disk_make(b, &c->disks[k], why, why_size)) return false;
    for (u32 k = 0; k < c->net_len; k++)
        if (!net_make(b, k, why, why_size)) return false;
    for (u32 k = 0; k < c->share_len; k++)
        if (!share_make(b, &c->shares[k], why, why_size)) return false;
    return console_make(b, why, why_size) && rng_make(b, why, why_size) && balloon_make(b, why, why_size) && vsock_make(b, why, why_size);
}

bool board_virtio_new(Board *b, char *why, size_t why_size) {
    b->virtio = back_alloc(sizeof(*b->virtio));
    pci_make(b);
    bool ok = devices_make(b, why, why_size);
    slots_map(b);
    return ok;
}

void board_virtio_reset(Board *b) {
    for (u32 k = 0; k < b->virtio->plug_len; k++) {
        Plug *p = &b->virtio->plug[k];
        if (p->mmio) virtio_mmio_reset(p->mmio);
        if (p->pci) virtio_pci_reset(p->pci);
    }
    pci_reset(b->virtio->pci);
}

void board_virtio_pause(Board *b, bool pause) {
    for (u32 k = 0; k < b->virtio->plug_len; k++) (pause ? virtio_pause : virtio_continue)(b->virtio->plug[k].virtio);
}

/* The bus first: whether messages are on is known when devices set their wires. */
void board_virtio_state(Board *b, State *s) {
    pci_state(b->virtio->pci, s);
    for (u32 k = 0; k < b->virtio->plug_len; k++) {
        Plug *p = &b->virtio->plug[k];
        if (p->mmio) virtio_mmio_state(p->mmio, s);
        if (p->pci) virtio_pci_state(p->pci, s);
    }
}

/* A disk is the same if its file is: place, size and time of the last write. Flushing twice leaves nothing to be written later: what the first
 * one freed goes with the second. */
static bool disk_identity(const BoardDisk *c, bool counted, Block *block, Text *out, char *why, size_t why_size) {
    struct stat st;
    char path[PATH_MAX];
    if (c->snapshot && !counted) return back_fail(why, why_size, "%s: what is written to it is kept in memory only, and cannot be in a snapshot", c->path);
    int err = block_flush(block);
    if (!err) err = block_flush(block);
    if (err) return back_fail(why, why_size, "%s: %s", c->path, strerror(-err));
    if (!realpath(c->path, path) || stat(path, &st)) return back_fail(why, why_size, "%s: %s", c->path, strerror(errno));
    text_print(out, " %s size %llu written %lld.%09ld%s", path, (unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, c->read_only ? " read-only" : "");
    return true;
}

bool board_virtio_identity(Board *b, Text *out, char *why, size_t why_size) {
    u32 disk = 0;
    for (u32 k = 0; k < b->virtio->plug_len; k++) {
        const Plug *p = &b->virtio->plug[k];
        text_print(out, "%s at %s, %u queues:", p->virtio->kind.name, p->pci ? "pci" : "mmio", p->virtio->kind.queues);
        if (p->kind == PLUG_DISK && !disk_identity(&b->config.disks[disk++], b->config.counted, p->back, out, why, why_size)) return false;
        text_char(out, '\n');
    }
    return !out->cut || back_fail(why, why_size, "the machine has too many parts");
}

/* After the reset the device does nothing with its back end any more, but the threads of some still call the device. */
static void plug_drop(Plug *p) {
    virtio_reset(p->virtio);
    switch (p->kind) {
    case PLUG_DISK:
        virtio_blk_drop(p->device);
        block_drop(p->back);
        break;
    case PLUG_NET:
        net_drop(p->back);
        virtio_net_drop(p->device);
        break;
    case PLUG_CONSOLE:
        console_drop(p->back);
        virtio_console_drop(p->device);
        break;
    case PLUG_RNG: virtio_rng_drop(p->device); break;
    case PLUG_BALLOON: virtio_balloon_drop(p->device); break;
    case PLUG_VSOCK: virtio_vsock_drop(p->device); break;
    case PLUG_PUPPET: virtio_puppet_drop(p->device); break;
    case PLUG_SHARE:
        virtio_9p_drop(p->device);
        share_drop(p->back);
        break;
    }
}

void board_virtio_drop(Board *b) {
    if (!b->virtio) return;
    for (u32 k = 0; k < b->virtio->plug_len; k++) plug_drop(&b->virtio->plug[k]);
    for (u32 k = 0; k < b->virtio->plug_len; k++)
        if (b->virtio->plug[k].pci) virtio_pci_drop(b->virtio->plug[k].pci);
    for (u32 k = 0; k < VIRT_VIRTIO_SLOTS; k++)
        if (b->virtio->slot[k]) virtio_mmio_drop(b->virtio->slot[k]);
    pci_drop(b->virtio->pci);
    free(b->virtio);
}
