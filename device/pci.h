/* SPDX-License-Identifier: Apache-2.0 */
/* device/pci: a PCI host with one bus: configuration space by ECAM, windows that BARs are placed in, wires and MSI-X. [PCI 3.0, PCIe 4.0 7.2.2]
 *
 * The bus decodes: it knows each device's configuration space and where its BARs are just now. A device fills in a PciDevice, plugs it
 * in, and gets accesses to its BARs by number and offset. An interrupt goes by MSI-X where the guest has enabled that, else by wire.
 *
 * Locks: the bus's lock is held while an access is decoded, never while a device handles it; interrupts take a lock of their own, which is last. */
#ifndef DEVICE_PCI_H
#define DEVICE_PCI_H

#include "back/state.h"
#include "device/device.h"

enum { PCI_SLOTS = 32, PCI_BARS = 6, PCI_CONFIG_SIZE = 256, PCI_LINES = 4, PCI_VECTORS_MAX = 64 };

typedef struct PciBus PciBus;

typedef struct PciOps {
    u64 (*read)(void *dev, u32 bar, u64 offset, unsigned size);
    void (*write)(void *dev, u32 bar, u64 offset, unsigned size, u64 value);
    /* Vendor-specific parts of configuration space that act: true if the access was one of them. May be NULL. */
    bool (*config)(void *dev, u32 offset, unsigned size, bool write, u32 *value);
} PciOps;

typedef struct PciMessage { /* one entry of the MSI-X table */
    u64 address;
    u32 data;
    bool masked, pending;
} PciMessage;

typedef struct PciDevice {
    const PciOps *ops;
    void *dev;
    u8 config[PCI_CONFIG_SIZE];   /* as the guest reads it; little-endian */
    u8 writable[PCI_CONFIG_SIZE]; /* bits that it can write */
    u64 bar_size[PCI_BARS];       /* a power of two; 0: none. By pci_bar_add. */
    u32 cap_at;                   /* the next capability goes here */
    u32 vectors, msix_bar, msix_cap; /* 0 vectors: no MSI-X */
    PciMessage message[PCI_VECTORS_MAX];
    PciBus *bus;
    u32 slot;
    bool wire; /* is up */
} PciDevice;

/* `lines`: what the bus's wires lead to; `msi`: devices may have MSI-X. */
PciBus *pci_new(Physical *memory, const Irq lines[PCI_LINES], bool msi);
void pci_drop(PciBus *bus);
void pci_reset(PciBus *bus);
void pci_state(PciBus *bus, State *s);
extern const IoOps pci_config_ops; /* ECAM; dev: the bus */
extern const IoOps pci_window_ops; /* memory and port windows; dev: by pci_window */
enum { PCI_WINDOWS = 3 };
/* The k-th window's `dev`: offset 0 in it is `start` on the bus. */
void *pci_window(PciBus *bus, u32 k, u64 start, bool is_port);

/* A device with identity and class (class, subclass, interface in 24 bits); no BARs, no capabilities. */
void pci_device_init(PciDevice *d, const PciOps *ops, void *dev, u16 vendor, u16 device, u32 class, u16 sub_vendor, u16 sub_device);
/* A memory BAR; is64 takes the next one too. */
void pci_bar_add(PciDevice *d, u32 bar, u64 size, bool is64);
/* Room for a capability; returns its offset in config. */
u32 pci_cap_add(PciDevice *d, u8 id, u32 size);
/* A table of `vectors` messages in a BAR of its own; only before plugging in, ignored by a bus without MSI. */
void pci_msix_add(PciDevice *d, PciBus *bus, u32 bar, u32 vectors);
/* False: every slot is taken. */
bool pci_plug(PciBus *bus, PciDevice *d);

/* True: the guest uses MSI-X, and wires mean nothing. */
bool pci_msix_enabled(PciDevice *d);
/* Sends the message of a vector, or remembers it while it is masked. Any thread. */
void pci_msix_send(PciDevice *d, u32 vector);
/* The wire, INTA. Any thread. */
void pci_wire_set(PciDevice *d, bool level);

#endif
