/* SPDX-License-Identifier: Apache-2.0 */
/* user/uring: io_uring. Its rings are the kernel's and the guest's own, with layouts that both ABIs share, but for struct
 * epoll_event, which is packed on x86-64. So the entries about to be submitted are looked at in io_uring_enter, and an
 * IORING_OP_EPOLL_CTL gets a copy of its event for the call. What would take submission out of our sight (SQPOLL, rings in memory of the
 * guest's, registered ring descriptors) is refused, as by kernels that do not have it.
 */
#ifndef USER_URING_H
#define USER_URING_H

#include "user/thread.h"

/* The guest has mapped fd at `at`: perhaps a ring. */
void uring_mapped(Thread *t, int fd, u64 at, u64 offset);
/* By dup, dup3 or fcntl. What the number stood for before is forgotten already. */
void uring_duplicated(Process *p, int from, int to);
void uring_closed(Process *p, u32 first, u32 last);
/* In the child of a fork: rings are shared with the parent, our notes are copied. */
void uring_forked(Process *p);

#endif
