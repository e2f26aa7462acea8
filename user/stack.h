/* SPDX-License-Identifier: Apache-2.0 */
/* user/stack: the guest's first stack, as Linux lays it out (fs/binfmt_elf.c create_elf_tables): from the top down
 * the program's name, environment, arguments, 16 random bytes; then auxv, envp, argv and argc at the stack pointer. */
#ifndef USER_STACK_H
#define USER_STACK_H

#include "user/elf.h"
#include "user/thread.h"

typedef struct StackPlan {
    u64 top;               /* upper end of the mapping */
    const char *execfn;    /* AT_EXECFN */
    const char *const *argv, *const *envp;
    const ElfFile *file;
    const ElfImage *image, *interp; /* interp NULL: no interpreter */
    u8 random[16];
    u64 flags, hwcap;      /* AT_FLAGS, AT_HWCAP */
} StackPlan;

/* Fills the stack, and the argument, environment and auxv fields of p. Returns the stack pointer, 0 if it does not fit
 * into `room` bytes. */
u64 stack_build(Process *p, const StackPlan *plan, u64 room);

#endif
