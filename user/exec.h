/* SPDX-License-Identifier: Apache-2.0 */
/* user/exec: execve. A guest program is run by a host execve of Isomer itself with the options that this process got,
 * so that process identity, descriptors, limits and ignored signals go the kernel's way; a program of the host's own
 * architecture is run as it is. What can fail is checked before, so that the guest gets its error. */
#ifndef USER_EXEC_H
#define USER_EXEC_H

#include "user/thread.h"

/* Keeps our own executable reachable before the guest changes its root or mounts. */
void exec_pin_self(Process *p);
/* Is fd one of the VMM's own, which the guest must not see? */
static inline bool exec_owns_fd(const Process *p, int fd) {
    return fd > 2 && (fd == p->self_fd || fd == p->options->engine.log_fd);
}

#endif
