/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the built-in SBI share: results. Private to machine/riscv/sbi*.c. */
#ifndef MACHINE_RISCV_SBI_H
#define MACHINE_RISCV_SBI_H

#include "machine/riscv/hart.h"

enum {
    SBI_OK = 0, SBI_FAILED = -1, SBI_NOT_SUPPORTED = -2, SBI_INVALID = -3, SBI_INVALID_ADDRESS = -5, SBI_ALREADY_AVAILABLE = -6, SBI_ALREADY_STARTED = -7, SBI_ALREADY_STOPPED = -8,
};

typedef struct SbiResult {
    i64 error;
    u64 value;
} SbiResult;

static inline SbiResult sbi_ok(u64 value) { return (SbiResult){SBI_OK, value}; }
static inline SbiResult sbi_failed(i64 error) { return (SbiResult){error, 0}; }

SbiResult sbi_pmu(Hart *h, u64 function, const u64 *a);

#endif
