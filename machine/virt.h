/* SPDX-License-Identifier: Apache-2.0 */
/* The virt board's map: one table that the bus, the wiring of interrupts and the device tree are made from. Private to machine/board*.c and fdt.c. */
#ifndef MACHINE_VIRT_H
#define MACHINE_VIRT_H

#include "machine/board.h"

typedef enum VirtPart {
    VIRT_ROM, VIRT_TEST, VIRT_RTC, VIRT_CLINT, VIRT_PIO, VIRT_PLIC, VIRT_APLIC_M, VIRT_APLIC_S, VIRT_UART, VIRT_VIRTIO, VIRT_FW_CFG,
    VIRT_FLASH0, VIRT_FLASH1, VIRT_IMSIC_M, VIRT_IMSIC_S, VIRT_ECAM, VIRT_MMIO32, VIRT_MMIO64, VIRT_PARTS
} VirtPart;

typedef struct VirtRow {
    const char *name;
    u64 start, size;
    u32 irq; /* of the first line; 0: none */
} VirtRow;

enum { VIRT_VIRTIO_SLOTS = 8, VIRT_PCI_IRQ = 32, VIRT_PCI_LINES = 4, VIRT_SOURCES = 96 };

extern const VirtRow virt_map[VIRT_PARTS];

#endif
