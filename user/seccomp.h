/* SPDX-License-Identifier: Apache-2.0 */
/* user/seccomp: filters on the guest's system calls, with the guest's numbers and architecture [Linux, userspace-api/seccomp_filter].
 *
 * A filter is classic BPF over struct seccomp_data. The host's kernel would show it the host's calls, so we interpret it before a
 * call is made. Filters are immutable and form a chain from the newest to the oldest, shared by all threads that inherited it; they are
 * handed to the next program of an execve in a memory file. User notification is the one thing that needs the kernel: the host gets
 * a filter that notifies of numbers which no kernel has, and the thread makes such a call; supervisors' ioctls translate back.
 *
 * They restrict what a program does in good faith; like all of the process VM they are no boundary against one that attacks it.
 */
#ifndef USER_SECCOMP_H
#define USER_SECCOMP_H

#include "base/base.h"

struct Thread;
typedef struct SeccompFilter SeccompFilter;

/* What the filters of a thread that has some say to a call. True: make it (a tracer may have changed it). False: *result is
 * its result. */
bool seccomp_allows(struct Thread *t, u32 *nr, u64 args[6], i64 *result);

/* Of a child, and at the end of a thread. */
void seccomp_share(SeccompFilter *newest);
void seccomp_drop(SeccompFilter *newest);

/* What /proc/PID/status says: SECCOMP_MODE_*, and how many filters. The process's lock is held. */
u32 seccomp_mode(const struct Thread *t);
u32 seccomp_count(const struct Thread *t);

/* prctl(2): PR_GET_SECCOMP and PR_SET_SECCOMP. */
i64 seccomp_prctl(struct Thread *t, u64 *args);

/* For execve: a memory file with the chain, or -errno. */
int seccomp_save(const struct Thread *t);
/* In the new program: reads and closes it. False: it is damaged. */
bool seccomp_restore(struct Thread *t, int fd);

/* ioctl(2) of a listener, else CALL_NOT_OURS. */
i64 seccomp_ioctl(struct Thread *t, int fd, u64 command, u64 arg);

#endif
