/* SPDX-License-Identifier: Apache-2.0 */
/* machine/fdt: the device tree of the virt board, made from its map (virt.h). */
#ifndef MACHINE_FDT_H
#define MACHINE_FDT_H

#include "machine/board.h"

typedef struct FdtBoot {
    const char *append;          /* NULL: no bootargs */
    u64 initrd_start, initrd_end; /* equal: none */
    bool machine_mode;           /* firmware reads it: what belongs to M-mode is in it */
    bool reserve_sbi;            /* BoardImages */
    const u8 *seed;              /* of 32 random bytes for the kernel; NULL: none */
} FdtBoot;

/* Writes the tree to `to`; returns its size in bytes, or -errno: it does not fit. */
long fdt_make(void *to, u32 size, const BoardConfig *config, const FdtBoot *boot);

#endif
