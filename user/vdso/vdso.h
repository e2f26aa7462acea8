/* SPDX-License-Identifier: Apache-2.0 */
/* The images that user/vdso/ is assembled to at build time (embed.py): shared objects whose file is their
 * memory image. */
#ifndef USER_VDSO_VDSO_H
#define USER_VDSO_VDSO_H

#include "base/base.h"

extern const u8 vdso_riscv64[];
extern const u32 vdso_riscv64_size, vdso_riscv64_sigreturn;

#endif
