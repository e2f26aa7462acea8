/* SPDX-License-Identifier: Apache-2.0 */
/* device: what every device model is made of. (The folder is not called dev/: that is the name of the developers' script.)
 *
 * A device is a struct of its own with a lock of its own. It knows its registers (IoOps, mem/physical.h), the
 * interrupt line it was given (Irq), memory for DMA (Physical), a back end (back/), and the Platform below; it knows neither the
 * board nor other devices. Guest values reach it in its IoOps callbacks: any value, any time, from any hart's thread.
 *
 * Locks: a device may raise its line, or call the Platform, with its own lock held. So line handlers (interrupt
 * controllers) and Platform functions never call back into a device, and the order is always device, controller, platform.
 */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "mem/physical.h"

/* An interrupt line: level triggered, may be set from any thread, setting what is set already is cheap. */
typedef struct Irq {
    void (*set)(void *ctx, u32 line, bool level); /* NULL: not connected */
    void *ctx;
    u32 line;
} Irq;
static inline void irq_set(const Irq *irq, bool level) {
    if (irq->set) irq->set(irq->ctx, irq->line, level);
}

/* Causes of a hart's interrupts: bits of mip that come from outside. [priv 3.1.9] */
enum { HART_SSIP = 1, HART_MSIP = 3, HART_MTIP = 7, HART_SEIP = 9, HART_MEIP = 11 };

typedef enum PlatformStop { PLATFORM_POWEROFF, PLATFORM_REBOOT } PlatformStop;

enum { PLATFORM_HZ = 10000000 }; /* of now() */

/* What the machine offers to devices. Functions may be called from any thread. */
typedef struct Platform {
    void *ctx;
    u32 harts;
    /* Sets or clears a bit of a hart's mip, and wakes the hart. */
    void (*hart_interrupt)(void *ctx, u32 hart, u32 cause, bool level);
    /* Guest time in ticks of PLATFORM_HZ. Never goes back. */
    u64 (*now)(void *ctx);
    /* The guest asks for an end; code: its exit status (0: all is well). Returns; the harts stop a little later. */
    void (*stop)(void *ctx, PlatformStop how, u32 code);
    /* Where harts are counted; else NULL: the host's. */
    struct Timers *timers;
    u64 (*wall)(void *ctx); /* nanoseconds since 1970 */
} Platform;

/* Registers of 32 bits that are accessed by 4 or 8 bytes: the part of an access that is register `k`'s. */
static inline u32 half_of(u64 value, unsigned k) { return (u32)(value >> (32 * k)); }

#endif
