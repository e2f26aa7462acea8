/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces for foreign roots: this process moves into a user and a mount namespace of its own, is user 0 there, and may mount and register there
 * what stays unknown outside. As many ids are mapped as there are: all of the caller's if it is root, subordinate ones (newuidmap, /etc/subuid)
 * if there are any, else one. */
#ifndef CMD_NAMESPACE_H
#define CMD_NAMESPACE_H

#include "base/base.h"

typedef enum NamespaceIds {
    NAMESPACE_NONE, /* not possible here; this process is where it was */
    NAMESPACE_ONE,  /* one user only: files of others cannot be made */
    NAMESPACE_MANY,
} NamespaceIds;

/* Which ids it has; NAMESPACE_NONE: `why` says why not. A process without threads calls it. */
NamespaceIds namespace_enter(char *why, size_t size);
/* In a mount namespace: mounts from here on are seen by nobody else. */
void namespace_hide_mounts(void);
/* namespace_enter, and binfmt_misc of its own with Isomer for riscv64 programs. */
NamespaceIds namespace_enter_foreign(char *why, size_t size);

#endif
