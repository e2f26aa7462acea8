/* SPDX-License-Identifier: Apache-2.0 */
/* What a board is made of. Private to machine/board*.c. */
#ifndef MACHINE_BOARD_PARTS_H
#define MACHINE_BOARD_PARTS_H

#include "back/back.h"
#include "device/aplic.h"
#include "device/devices.h"
#include "machine/fdt.h"
#include "machine/load.h"
#include "machine/virt.h"

typedef struct BoardVirtio BoardVirtio;

struct Board {
    BoardConfig config;
    Platform platform;
    Physical memory;
    Aclint *aclint;
    Plic *plic;          /* or: */
    Aplic *aplic;
    Imsic *imsic;
    Console *serial;
    Uart *uart;
    Rtc *rtc;
    FwCfg *fw_cfg;
    Flash *flash[2];
    int flash_fd[2];
    u8 *rom;
    u8 *fdt;
    u32 fdt_size;
    BoardVirtio *virtio; /* what the user plugged in */
};

/* The input of the interrupt controller. */
Irq board_irq(Board *b, u32 line);

bool board_virtio_new(Board *b, char *why, size_t why_size);
void board_virtio_reset(Board *b);
void board_virtio_drop(Board *b);
Console *board_virtio_console(Board *b); /* NULL: there is none */
void board_virtio_pause(Board *b, bool pause);
void board_virtio_state(Board *b, State *s);
bool board_virtio_identity(Board *b, Text *out, char *why, size_t why_size);

#endif
