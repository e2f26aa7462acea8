/* SPDX-License-Identifier: Apache-2.0 */
/* user/proc: what /proc tells the guest about itself and its processor, where the host's kernel would describe the VMM.
 * One table of files; their contents come from memory files (memfd), so that reading, seeking and polling are the kernel's. */
#ifndef USER_PROC_H
#define USER_PROC_H

#include "user/thread.h"
#include <limits.h>

/* Is `path` /proc/self/exe, by whichever name, or that of another process in an Isomer? Then `out` is the guest's file. */
bool proc_exe(Thread *t, const char *path, char out[PATH_MAX]);
/* If `path` is one of our files: a descriptor of its contents with `flags` (O_CLOEXEC), or -errno. -ENOSYS: it is not. */
i64 proc_open(Thread *t, const char *path, int flags);
/* What the descriptor is open for, as its link in /proc says: the length, or -errno. */
i64 proc_fd_target(int fd, char *target, size_t size);
/* The host's status of one of the process's threads, named by the path of the file, as the guest sees it. */
void proc_status_print(Thread *self, const char *path, const char *host, size_t size, Text *out);
/* Tells the host's kernel where the guest's arguments, environment and auxv lie, and its name, so that others see them. */
void proc_publish(Process *p);

/* ioctl(2) PROCMAP_QUERY (Linux 6.11) of such a maps, else CALL_NOT_OURS. */
#define PROC_MAP_QUERY 0xc0686611
i64 proc_map_query(Thread *t, int fd, u64 at);

#endif
