/* SPDX-License-Identifier: Apache-2.0 */
/* Names of flags and constants, for trace.c. Lists end with a NULL name. */
#ifndef USER_TRACE_NAMES_H
#define USER_TRACE_NAMES_H

#include "base/base.h"

enum { PATH_MAX_TRACE = 256 };

typedef struct FlagName {
    const char *name;
    u64 value;
    u64 mask; /* of a field with several values; 0: the value itself */
} FlagName;

extern const FlagName trace_file_types[], trace_sa_flags[], trace_domains[], trace_open_modes[], trace_open_flags[],
    trace_clone_flags[], trace_futex_ops[], trace_epoll_events[], trace_prot[], trace_map_flags[], trace_madvise[],
    trace_sig_how[], trace_wait_options[], trace_clocks[], trace_socket_types[],
    trace_resources[], trace_access_modes[], trace_seeks[], trace_at_flags[], trace_epoll_ops[];

/* "{si_signo=SIGCHLD, si_code=CLD_EXITED, ...}" */
void trace_print_siginfo(Text *out, const u8 info[128]);

#endif
