/* SPDX-License-Identifier: Apache-2.0 */
/* Boot loaders that distributions' packages bring: a disk with a system on it needs nothing else (`isomer boot --disk FILE`). */
#ifndef CMD_FIRMWARE_H
#define CMD_FIRMWARE_H

#include "base/base.h"

typedef struct Firmware {
    char path[4096];
    bool flash; /* it goes into a flash chip, else it is started as a kernel is */
} Firmware;

/* The first that is there, below the folder $ISOMER_FIRMWARE if that is set. False: why, with the package that has one. */
bool firmware_find(Firmware *out, char *why, size_t why_size);

#endif
