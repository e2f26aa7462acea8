/* SPDX-License-Identifier: Apache-2.0 */
/* user/symbols: names of guest code, from the symbol tables of the files that the guest maps. Read only when somebody wants names (-perfmap,
 * -jitdump, --stats): it costs time and memory. Nothing in the files is trusted. */
#ifndef USER_SYMBOLS_H
#define USER_SYMBOLS_H

#include "base/base.h"

typedef struct Symbols Symbols;

/* NULL: out of memory. */
Symbols *symbols_new(void);
/* [offset, ...) of a file was mapped at [start, start + size). Takes .symtab, or .dynsym if there is no other. */
void symbols_add(Symbols *s, int fd, u64 start, u64 size, u64 offset);
/* Appends "name", or "name+0x12", for the function that pc lies in. False: unknown, nothing appended. Any thread. */
bool symbols_print(Symbols *s, u64 pc, Text *out);

#endif
