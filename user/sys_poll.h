/* SPDX-License-Identifier: Apache-2.0 */
/* user/sys_poll: what calls that wait have in common: a signal mask of their own, and struct epoll_event. */
#ifndef USER_SYS_POLL_H
#define USER_SYS_POLL_H

#include "user/thread.h"

/* The signal mask argument: `pass` is what the host gets (NULL if the guest passed none), `guest` what it said. */
typedef struct MaskArg {
    u64 guest, host;
    u64 *pass;
} MaskArg;

/* Reads it: 0, -EINVAL or -EFAULT. */
i64 mask_arg(MaskArg *m, u64 at, u64 size);
/* The call came back with r. */
i64 waited(Thread *t, i64 r, const MaskArg *m);

struct epoll_event;
/* The guest's event in the host's layout: 0 or -EFAULT. */
i64 event_read(struct epoll_event *out, u64 from);

#endif
