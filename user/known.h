/* SPDX-License-Identifier: Apache-2.0 */
/* user/known: which stubs of procedure linkage tables lead to functions of the C library that regions do in place (engine/known.c), and where that library is, by what the
 * guest's memory has of the files: their headers, dynamic sections and relocations [gABI, "dynamic section"; psABI]. Nothing there is trusted: the worst that a wrong file gets is
 * another function, in its own process and where it uses the stub. Nothing is kept. */
#ifndef USER_KNOWN_H
#define USER_KNOWN_H

#include "mem/space.h"

/* The function that the stub at pc leads to: KNOWN_* (ir/guest.h); 0: another, or there is no stub. */
u32 known_stub(Space *s, u64 pc);
/* Does the C library's code lie at pc, unchanged? */
bool known_is_library(Space *s, u64 pc);

#endif
