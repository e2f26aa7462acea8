/* SPDX-License-Identifier: Apache-2.0 */
/* user/core: core dumps. The guest's core limit is ours to honour (the host's is 0 while we run): a guest that dies of
 * a signal that dumps core leaves an ELF core of its own architecture where the kernel's core_pattern says, if that
 * names a file. The host's kernel sets the "dumped core" bit of the wait status only if it dumped one itself; where
 * we may, it gets to do so into a place that vanishes with the process.
 */
#ifndef USER_CORE_H
#define USER_CORE_H

#include "user/thread.h"

/* Does signal `sig` dump core by default? */
bool core_signal(int sig);
/* Writes the core of the process as the calling thread sees it: only its registers are exact and included. Nothing if the
 * limit is 0. Then prepares the host for dying by `sig`. */
void core_dump(Thread *t, int sig, const u8 info[128]);

#endif
