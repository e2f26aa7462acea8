/* SPDX-License-Identifier: Apache-2.0 */
/* What requests.def says, and how it is printed, for trace.c. */
#ifndef USER_TRACE_REQUESTS_H
#define USER_TRACE_REQUESTS_H

#include "user/syscall.h"
#include "user/trace_names.h"

typedef struct TraceRequest {
    const char *name, *level; /* level: of socket options and control messages */
    u64 group, value;         /* group: the level's number */
    const char *kinds;        /* of the arguments, see requests.def */
} TraceRequest;

/* Lists that end with a NULL name. */
extern const TraceRequest trace_ioctls[], trace_fcntls[], trace_prctls[], trace_sockopts[], trace_cmsgs[];

/* The row, or NULL. */
const TraceRequest *trace_request_find(const TraceRequest *list, u64 group, u64 value);

typedef struct Call { /* one call being printed */
    Thread *t;
    Text *out;
    const u64 *args;
    u32 index;   /* of the argument */
    i64 result;
} Call;

/* The request's name, or its number; the level of a socket option. */
void trace_print_request(Text *out, const TraceRequest *r, u64 v);
void trace_print_level(Text *out, u64 level);
/* Value of the socket option that the call's arguments name; a message. `output`: the kernel filled it in. */
void trace_print_sockopt(const Call *c, u64 v, bool output);
void trace_print_msghdr(const Call *c, u64 at, bool output);
/* Arguments of requests (kinds 1 to 3 of syscall.def) print their own comma: there may be none. False: it was none of these kinds. */
bool trace_print_optional(const Call *c, char kind, u64 v);

/* Pieces, of trace.c. */
void trace_print_pointer(Text *out, u64 v);
void trace_print_string(Text *out, u64 at, size_t max);
void trace_print_bytes(Text *out, u64 at, u64 size);
void trace_print_flags(Text *out, u64 v, const FlagName *names);
void trace_print_choice(Text *out, i64 v, const FlagName *names);
void trace_kind_timespec(Text *out, u64 at);
void trace_kind_sockaddr(Text *out, u64 at, u64 size);
void trace_kind_open_flags(Text *out, u64 v);

#endif
