/* SPDX-License-Identifier: Apache-2.0 */
/* The test finisher, known to device trees as a syscon: a write ends the machine. Low half: what, high half: a code. */
#include "device/devices.h"

enum { FINISH_FAIL = 0x3333, FINISH_PASS = 0x5555, FINISH_RESET = 0x7777 };

static u64 syscon_read(void *dev, u64 offset, unsigned size) { return 0; }

static void syscon_write(void *dev, u64 offset, unsigned size, u64 value) {
    const Platform *p = dev;
    if (offset) return;
    u32 code = (u32)(value >> 16) & 0xffff;
    switch (value & 0xffff) {
    case FINISH_PASS: p->stop(p->ctx, PLATFORM_POWEROFF, 0); break;
    case FINISH_FAIL: p->stop(p->ctx, PLATFORM_POWEROFF, code ? code : 1); break;
    case FINISH_RESET: p->stop(p->ctx, PLATFORM_REBOOT, 0); break;
    }
}

const IoOps syscon_ops = {syscon_read, syscon_write, 1 | 2 | 4};
