/* SPDX-License-Identifier: Apache-2.0 */
/* user/exec: execve. A guest program is run by a host execve of Isomer itself with the options that this process got,
 * so that process identity, descriptors, limits and ignored signals go the kernel's way; a program of the host's own
 * architecture is run as it is. What can fail is checked before, so that the guest gets its error. */
#ifndef USER_EXEC_H
#define USER_EXEC_H

#include "user/thread.h"

/* Keeps our own executable reachable before the guest changes its root or mounts. */
void exec_pin_self(Thread *t);
/* That descriptor of the process that t is; -1: none. */
static inline int *exec_self_fd(Thread *t) { return t->shares_parent ? &t->self_fd : &t->process->self_fd; }
/* Is fd one of the VMM's own, which the guest must not see? */
static inline bool exec_owns_fd(Thread *t, int fd) {
    return fd > 2 && (fd == *exec_self_fd(t) || fd == t->process->options->engine.log_fd);
}

#endif
