/* SPDX-License-Identifier: Apache-2.0 */
/* user/proc: what /proc tells the guest about itself and its processor, where the host's kernel would describe the VMM.
 * One table of files; their contents come from memory files (memfd), so that reading, seeking and polling are the kernel's. */
#ifndef USER_PROC_H
#define USER_PROC_H

#include "user/thread.h"

/* Is `path` /proc/self/exe, or another name of it? */
bool proc_is_own_exe(Thread *t, const char *path);
/* If `path` is one of our files: a descriptor of its contents with `flags` (O_CLOEXEC), or -errno. -ENOSYS: it is not. */
i64 proc_open(Thread *t, const char *path, int flags);
/* Tells the host's kernel where the guest's arguments, environment and auxv lie, and its name, so that others see them. */
void proc_publish(Process *p);

#endif
