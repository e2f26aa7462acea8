/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI host: device/pci.h. */
#include "device/pci.h"
#include "back/back.h"
#include "device/imsic.h"

enum {
    VENDOR = 0, COMMAND = 4, STATUS = 6, REVISION = 8, BAR0 = 0x10, SUBSYSTEM = 0x2c, CAP_POINTER = 0x34, LINE = 0x3c, PIN = 0x3d, CAP_FIRST = 0x40,
};
enum { COMMAND_MEMORY = 2, COMMAND_MASTER = 4, COMMAND_NO_WIRE = 0x400, STATUS_WIRE = 8, STATUS_CAPS = 0x10 };
enum { CAP_MSIX = 0x11, MSIX_SIZE = 12, MSIX_ENABLE = 0x8000, MSIX_MASK = 0x4000, MSIX_PENDING_AT = 0x800, MSIX_BAR_SIZE = 0x1000 };
enum { BRIDGE_VENDOR = 0x1b36, BRIDGE_DEVICE = 8, BRIDGE_CLASS = 0x060000 };

typedef struct PciWindow {
    PciBus *bus;
    u64 start;
    bool is_port;
} PciWindow;

struct PciBus {
    pthread_mutex_t lock;      /* configuration */
    pthread_mutex_t wire_lock; /* messages and wires */
    Physical *memory;
    Irq lines[PCI_LINES];
    u32 line_users[PCI_LINES]; /* bit: slot whose wire is up */
    bool msi;
    PciDevice *slot[PCI_SLOTS];
    PciDevice bridge;
    PciWindow window[PCI_WINDOWS];
};

static u32 get16(const u8 *at) { return at[0] | (u32)at[1] << 8; }
static u32 get32(const u8 *at) { return get16(at) | get16(at + 2) << 16; }
static void put16(u8 *at, u32 v) {
    at[0] = (u8)v;
    at[1] = (u8)(v >> 8);
}
static void put32(u8 *at, u32 v) {
    put16(at, v);
    put16(at + 2, v >> 16);
}

/* --- interrupts --------------------------------------------------------------------------- */

static u32 msix_control(PciDevice *d) { return d->vectors ? get16(d->config + d->msix_cap + 2) : 0; }

bool pci_msix_enabled(PciDevice *d) { return msix_control(d) & MSIX_ENABLE; }

/* With wire_lock held. Messages go to interrupt files only: a guest that aims them at a device would have us enter that
 * device from wherever we are, with locks held. */
static void message_send(PciDevice *d, PciMessage *m) {
    if (m->masked || (msix_control(d) & MSIX_MASK)) {
        m->pending = true;
        return;
    }
    const PhysRegion *r = physical_find(d->bus->memory, m->address);
    u64 data = m->data;
    m->pending = false;
    if (r && r->ops == &imsic_ops && (get16(d->config + COMMAND) & COMMAND_MASTER)) physical_io(d->bus->memory, m->address, 4, true, &data);
}

void pci_msix_send(PciDevice *d, u32 vector) {
    if (vector >= d->vectors) return;
    pthread_mutex_lock(&d->bus->wire_lock);
    message_send(d, &d->message[vector]);
    pthread_mutex_unlock(&d->bus->wire_lock);
}

static void pending_send(PciDevice *d) {
    for (u32 k = 0; k < d->vectors; k++)
        if (d->message[k].pending) message_send(d, &d->message[k]);
}

/* With wire_lock held: the wires of several slots are one line. */
static void wire_update(PciDevice *d) {
    PciBus *bus = d->bus;
    u32 line = d->slot % PCI_LINES;
    bool up = d->wire && !(get16(d->config + COMMAND) & COMMAND_NO_WIRE) && !pci_msix_enabled(d);
    d->config[STATUS] = (u8)((d->config[STATUS] & ~STATUS_WIRE) | (d->wire ? STATUS_WIRE : 0));
    bus->line_users[line] = (bus->line_users[line] & ~(1u << d->slot)) | (u32)up << d->slot;
    irq_set(&bus->lines[line], bus->line_users[line] != 0);
}

void pci_wire_set(PciDevice *d, bool level) {
    pthread_mutex_lock(&d->bus->wire_lock);
    if (d->wire != level) {
        d->wire = level;
        wire_update(d);
    }
    pthread_mutex_unlock(&d->bus->wire_lock);
}

/* The table: 16 bytes for each vector; behind it one pending bit each. */
static u32 table_read(PciDevice *d, u64 offset) {
    u32 k = (u32)(offset / 16), value = 0;
    if (offset >= MSIX_PENDING_AT) {
        u32 first = (u32)(offset - MSIX_PENDING_AT) * 8;
        for (u32 bit = 0; bit < 32 && first + bit < d->vectors; bit++) value |= (u32)d->message[first + bit].pending << bit;
        return value;
    }
    if (k >= d->vectors) return 0;
    const PciMessage *m = &d->message[k];
    switch (offset & 12) {
    case 0: return (u32)m->address;
    case 4: return (u32)(m->address >> 32);
    case 8: return m->data;
    default: return m->masked;
    }
}

static void table_write(PciDevice *d, u64 offset, u32 value) {
    u32 k = (u32)(offset / 16);
    if (k >= d->vectors) return;
    PciMessage *m = &d->message[k];
    switch (offset & 12) {
    case 0: m->address = (m->address & ~0xffffffffull) | (value & ~3u); break;
    case 4: m->address = (u32)m->address | (u64)value << 32; break;
    case 8: m->data = value; break;
    default:
        m->masked = value & 1;
        if (m->pending) message_send(d, m);
    }
}

static u64 table_access(PciDevice *d, u64 offset, unsigned size, bool write, u64 value) {
    pthread_mutex_lock(&d->bus->wire_lock);
    u64 got = 0;
    for (unsigned k = 0; size >= 4 && k < size / 4; k++) {
        if (write) table_write(d, offset + 4 * k, half_of(value, k));
        else got |= (u64)table_read(d, offset + 4 * k) << (32 * k);
    }
    pthread_mutex_unlock(&d->bus->wire_lock);
    return got;
}

/* --- configuration space ------------------------------------------------------------------ */

static PciDevice *config_find(PciBus *bus, u64 offset) {
    u32 slot = (u32)(offset >> 15) & 31;
    return offset >> 20 || (offset >> 12 & 7) ? NULL : bus->slot[slot]; /* bus 0, function 0 */
}

static void config_write(PciDevice *d, u32 at, unsigned size, u32 value) {
    for (unsigned i = 0; i < size; i++) {
        u8 mask = d->writable[at + i];
        d->config[at + i] = (u8)((d->config[at + i] & ~mask) | (value >> (8 * i) & mask));
    }
    pthread_mutex_lock(&d->bus->wire_lock);
    wire_update(d);
    if (pci_msix_enabled(d) && !(msix_control(d) & MSIX_MASK)) pending_send(d);
    pthread_mutex_unlock(&d->bus->wire_lock);
}

static u64 pci_config_read(void *dev, u64 offset, unsigned size) {
    PciBus *bus = dev;
    u32 at = (u32)offset & 0xfff, value = 0;
    PciDevice *d = config_find(bus, offset);
    if (!d) return ~0ull;
    if (at + size > PCI_CONFIG_SIZE) return 0; /* no extended capabilities */
    if (d->ops && d->ops->config && d->ops->config(d->dev, at, size, false, &value)) return value;
    pthread_mutex_lock(&bus->lock);
    memcpy(&value, d->config + at, size);
    pthread_mutex_unlock(&bus->lock);
    return value;
}

static void pci_config_write(void *dev, u64 offset, unsigned size, u64 value) {
    PciBus *bus = dev;
    u32 at = (u32)offset & 0xfff, word = (u32)value;
    PciDevice *d = config_find(bus, offset);
    if (!d || at + size > PCI_CONFIG_SIZE) return;
    if (d->ops && d->ops->config && d->ops->config(d->dev, at, size, true, &word)) return;
    pthread_mutex_lock(&bus->lock);
    config_write(d, at, size, word);
    pthread_mutex_unlock(&bus->lock);
}

const IoOps pci_config_ops = {pci_config_read, pci_config_write, 1 | 2 | 4};

/* --- windows ------------------------------------------------------------------------------ */

static u64 bar_start(const PciDevice *d, u32 bar) {
    const u8 *at = d->config + BAR0 + 4 * bar;
    bool is64 = (at[0] & 6) == 4;
    return ((u64)(is64 ? get32(at + 4) : 0) << 32 | get32(at)) & ~15ull;
}

/* The device and BAR at an address of the bus, with the offset in it. */
static PciDevice *bar_find(PciBus *bus, u64 address, unsigned size, u32 *bar, u64 *offset) {
    for (u32 slot = 0; slot < PCI_SLOTS; slot++) {
        PciDevice *d = bus->slot[slot];
        if (!d || !(get16(d->config + COMMAND) & COMMAND_MEMORY)) continue;
        for (*bar = 0; *bar < PCI_BARS; ++*bar) {
            *offset = address - bar_start(d, *bar);
            if (*offset < d->bar_size[*bar] && size <= d->bar_size[*bar] - *offset) return d;
        }
    }
    return NULL;
}

static u64 window_access(PciWindow *w, u64 at, unsigned size, bool write, u64 value) {
    u32 bar = 0;
    u64 offset = 0;
    if (w->is_port) return ~0ull; /* nobody has ports */
    pthread_mutex_lock(&w->bus->lock);
    PciDevice *d = bar_find(w->bus, w->start + at, size, &bar, &offset);
    pthread_mutex_unlock(&w->bus->lock);
    if (!d) return ~0ull;
    if (d->vectors && bar == d->msix_bar) return table_access(d, offset, size, write, value);
    if (!write) return d->ops->read(d->dev, bar, offset, size);
    d->ops->write(d->dev, bar, offset, size, value);
    return 0;
}

static u64 pci_window_read(void *dev, u64 offset, unsigned size) { return window_access(dev, offset, size, false, 0); }
static void pci_window_write(void *dev, u64 offset, unsigned size, u64 value) { window_access(dev, offset, size, true, value); }
const IoOps pci_window_ops = {pci_window_read, pci_window_write, 1 | 2 | 4 | 8};

void *pci_window(PciBus *bus, u32 k, u64 start, bool is_port) {
    bus->window[k] = (PciWindow){bus, start, is_port};
    return &bus->window[k];
}

/* --- devices ------------------------------------------------------------------------------ */

void pci_device_init(PciDevice *d, const PciOps *ops, void *dev, u16 vendor, u16 device, u32 class, u16 sub_vendor, u16 sub_device) {
    *d = (PciDevice){.ops = ops, .dev = dev, .cap_at = CAP_FIRST};
    put32(d->config + VENDOR, vendor | (u32)device << 16);
    put32(d->config + REVISION, class << 8 | 1);
    put32(d->config + SUBSYSTEM, sub_vendor | (u32)sub_device << 16);
    put16(d->writable + COMMAND, COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_WIRE | 1);
    d->writable[LINE] = 0xff;
}

void pci_bar_add(PciDevice *d, u32 bar, u64 size, bool is64) {
    u32 at = BAR0 + 4 * bar;
    d->bar_size[bar] = size;
    put32(d->config + at, is64 ? 12 : 0); /* 64 bits, prefetchable */
    put32(d->writable + at, (u32)-size & ~15u);
    if (is64) put32(d->writable + at + 4, (u32)(-size >> 32));
}

u32 pci_cap_add(PciDevice *d, u8 id, u32 size) {
    u32 at = d->cap_at;
    d->cap_at = (u32)align_up(at + size, 4);
    if (d->cap_at > PCI_CONFIG_SIZE) BUG("no room for a capability");
    d->config[at] = id;
    d->config[at + 1] = d->config[CAP_POINTER];
    d->config[CAP_POINTER] = (u8)at;
    d->config[STATUS] |= STATUS_CAPS;
    return at;
}

void pci_msix_add(PciDevice *d, PciBus *bus, u32 bar, u32 vectors) {
    if (!bus->msi) return;
    d->vectors = MIN(vectors, (u32)PCI_VECTORS_MAX);
    d->msix_bar = bar;
    d->msix_cap = pci_cap_add(d, CAP_MSIX, MSIX_SIZE);
    pci_bar_add(d, bar, MSIX_BAR_SIZE, false);
    put16(d->config + d->msix_cap + 2, d->vectors - 1);
    put16(d->writable + d->msix_cap + 2, MSIX_ENABLE | MSIX_MASK);
    put32(d->config + d->msix_cap + 4, bar);
    put32(d->config + d->msix_cap + 8, MSIX_PENDING_AT | bar);
}

bool pci_plug(PciBus *bus, PciDevice *d) {
    for (u32 slot = 0; slot < PCI_SLOTS; slot++) {
        if (bus->slot[slot]) continue;
        d->bus = bus;
        d->slot = slot;
        if (slot) d->config[PIN] = 1; /* INTA; the bridge has none */
        bus->slot[slot] = d;
        for (u32 k = 0; k < d->vectors; k++) d->message[k].masked = true;
        return true;
    }
    return false;
}

static void device_reset(PciDevice *d) {
    for (u32 at = 0; at < PCI_CONFIG_SIZE; at++) {
        if (at != STATUS) d->config[at] &= (u8)~d->writable[at];
    }
    for (u32 k = 0; k < d->vectors; k++) d->message[k] = (PciMessage){.masked = true};
    wire_update(d);
}

void pci_reset(PciBus *bus) {
    pthread_mutex_lock(&bus->lock);
    pthread_mutex_lock(&bus->wire_lock);
    for (u32 slot = 0; slot < PCI_SLOTS; slot++)
        if (bus->slot[slot]) device_reset(bus->slot[slot]);
    pthread_mutex_unlock(&bus->wire_lock);
    pthread_mutex_unlock(&bus->lock);
}

static void device_state(PciDevice *d, State *s) {
    u8 config[PCI_CONFIG_SIZE];
    memcpy(config, d->config, sizeof(config));
    state_bytes(s, config, sizeof(config));
    for (u32 at = 0; at < PCI_CONFIG_SIZE; at++) d->config[at] = (u8)((d->config[at] & ~d->writable[at]) | (config[at] & d->writable[at]));
    for (u32 k = 0; k < d->vectors; k++) {
        state_u64(s, &d->message[k].address);
        state_u32(s, &d->message[k].data);
        state_bool(s, &d->message[k].masked);
        state_bool(s, &d->message[k].pending);
    }
    wire_update(d);
}

/* Wires are set by the devices. */
void pci_state(PciBus *bus, State *s) {
    pthread_mutex_lock(&bus->lock);
    pthread_mutex_lock(&bus->wire_lock);
    for (u32 slot = 0; slot < PCI_SLOTS; slot++)
        if (bus->slot[slot]) device_state(bus->slot[slot], s);
    pthread_mutex_unlock(&bus->wire_lock);
    pthread_mutex_unlock(&bus->lock);
}

PciBus *pci_new(Physical *memory, const Irq lines[PCI_LINES], bool msi) {
    PciBus *bus = back_alloc(sizeof(*bus));
    pthread_mutex_init(&bus->lock, NULL);
    pthread_mutex_init(&bus->wire_lock, NULL);
    bus->memory = memory;
    bus->msi = msi;
    memcpy(bus->lines, lines, sizeof(bus->lines));
    pci_device_init(&bus->bridge, NULL, NULL, BRIDGE_VENDOR, BRIDGE_DEVICE, BRIDGE_CLASS, 0, 0);
    pci_plug(bus, &bus->bridge);
    return bus;
}

void pci_drop(PciBus *bus) {
    pthread_mutex_destroy(&bus->lock);
    pthread_mutex_destroy(&bus->wire_lock);
    free(bus);
}
