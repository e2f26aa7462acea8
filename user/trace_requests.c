/* SPDX-License-Identifier: Apache-2.0 */
/* user/trace_requests: bodies. The kernel's headers say what the names stand for. */
#include "user/trace_requests.h"
#include "user/prctl.h"
#include "user/signal.h"
#include "user/trace.h"
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <linux/if_alg.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/input.h>
#include <linux/kd.h>
#include <linux/loop.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/perf_event.h>
#include <linux/random.h>
#include <linux/rtc.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/uinput.h>
#include <linux/userfaultfd.h>
#include <linux/vt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

/* Not in all headers that we are built with. */
#ifndef SCM_SECURITY
#define SCM_SECURITY 3
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0)
#endif
#ifndef F_GET_RW_HINT
#define F_GET_RW_HINT 1035
#define F_SET_RW_HINT 1036
#define F_GET_FILE_RW_HINT 1037
#define F_SET_FILE_RW_HINT 1038
#endif

#define END {NULL, NULL, 0, 0, NULL}
#define KIND(k) ((const char[]){(k), 0})
#define IOCTL(name, kind)
#define FCNTL(name, kind)
#define PRCTL(name, kinds)
#define SOCKOPT(level, name, kind)
#define CMSG(level, name, kind)

#undef IOCTL
#define IOCTL(name_, kind) {.name = #name_, .value = (u32)(name_), .kinds = KIND(kind)},
const TraceRequest trace_ioctls[] = {
#include "user/requests.def"
    END};
#undef IOCTL
#define IOCTL(name, kind)
#undef FCNTL
#define FCNTL(name_, kind) {.name = #name_, .value = (name_), .kinds = KIND(kind)},
const TraceRequest trace_fcntls[] = {
#include "user/requests.def"
    END};
#undef FCNTL
#define FCNTL(name, kind)
#undef PRCTL
#define PRCTL(name_, kinds_) {.name = #name_, .value = (name_), .kinds = kinds_},
const TraceRequest trace_prctls[] = {
#include "user/requests.def"
    END};
#undef PRCTL
#define PRCTL(name, kinds)
#undef SOCKOPT
#define SOCKOPT(level_, name_, kind) {.name = #name_, .level = #level_, .group = (level_), .value = (name_), .kinds = KIND(kind)},
const TraceRequest trace_sockopts[] = {
#include "user/requests.def"
    END};
#undef SOCKOPT
#define SOCKOPT(level, name, kind)
#undef CMSG
#define CMSG(level_, name_, kind) {.name = #name_, .level = #level_, .group = (level_), .value = (name_), .kinds = KIND(kind)},
const TraceRequest trace_cmsgs[] = {
#include "user/requests.def"
    END};

const TraceRequest *trace_request_find(const TraceRequest *list, u64 group, u64 value) {
    for (; list->name; list++)
        if (list->group == group && list->value == value) return list;
    return NULL;
}

static const char *level_name(u64 level) {
    for (const TraceRequest *r = trace_sockopts; r->name; r++)
        if (r->group == level) return r->level;
    return NULL;
}

/* --- printing ------------------------------------------------------------------------------------------------------ */

void trace_print_request(Text *out, const TraceRequest *r, u64 v) {
    if (r) text_print(out, "%s", r->name);
    else text_print(out, "%#lx", v);
}

static void kind_flock(Text *out, u64 at) {
    struct flock l;
    static const char *const types[] = {"F_RDLCK", "F_WRLCK", "F_UNLCK"};
    if (!at || guest_read(&l, at, sizeof l) < 0) {
        trace_print_pointer(out, at);
        return;
    }
    if ((u16)l.l_type < ARRAY_LEN(types)) text_print(out, "{l_type=%s, l_whence=", types[l.l_type]);
    else text_print(out, "{l_type=%d, l_whence=", l.l_type);
    trace_print_choice(out, l.l_whence, trace_seeks);
    text_print(out, ", l_start=%ld, l_len=%ld}", l.l_start, l.l_len);
}

static void kind_termios(Text *out, u64 at) {
    struct termios t;
    if (!at || guest_read(&t, at, sizeof t) < 0) trace_print_pointer(out, at);
    else text_print(out, "{c_iflag=%#x, c_oflag=%#x, c_cflag=%#x, c_lflag=%#x, ...}", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
}

/* Two numbers with names, of `size` bytes each. */
static void print_pair(Text *out, u64 at, const char *first, const char *second, u32 size) {
    i64 a = 0, b = 0;
    if (!at || guest_read(&a, at, size) < 0 || guest_read(&b, at + size, size) < 0) trace_print_pointer(out, at);
    else if (size == 8) text_print(out, "{%s=%ld, %s=%ld}", first, a, second, b);
    else text_print(out, "{%s=%d, %s=%d}", first, (i32)a, second, (i32)b);
}

static void print_number_at(Text *out, u64 at, u32 size) {
    i64 v = 0;
    if (!at || guest_read(&v, at, size) < 0) trace_print_pointer(out, at);
    else text_print(out, "[%ld]", size == 4 ? (i64)(i32)v : v);
}

/* What the kernel fills in is there only if it did. */
static bool is_output(char kind) { return strchr("jgWT", kind) != NULL; }

static void print_argument(const Call *c, char kind, u64 v) {
    Text *out = c->out;
    u32 ids[3];
    if (is_output(kind) && c->result < 0) kind = 'p';
    switch (kind) {
    case 'd': text_print(out, "%d", (i32)v); break;
    case 'u': text_print(out, "%lu", v); break;
    case 'x': text_print(out, v ? "%#lx" : "%lx", v); break;
    case 'S': text_print(out, "%s", v ? signal_name((int)v) : "0"); break;
    case 'O': trace_kind_open_flags(out, v); break;
    case 'i': case 'j': print_number_at(out, v, 4); break;
    case 'l': print_number_at(out, v, 8); break;
    case 's': case 'g': trace_print_string(out, v, PATH_MAX_TRACE); break;
    case 'w': case 'W': print_pair(out, v, "ws_row", "ws_col", 2); break;
    case 't': case 'T': kind_termios(out, v); break;
    case 'k': kind_flock(out, v); break;
    case 'v': print_pair(out, v, "tv_sec", "tv_usec", 8); break;
    case 'q': trace_kind_timespec(out, v); break;
    case 'n': print_pair(out, v, "l_onoff", "l_linger", 4); break;
    case 'c':
        if (!v || guest_read(ids, v, sizeof ids) < 0) trace_print_pointer(out, v);
        else text_print(out, "{pid=%d, uid=%d, gid=%d}", (i32)ids[0], (i32)ids[1], (i32)ids[2]);
        break;
    default: trace_print_pointer(out, v);
    }
}

/* The n-th argument of the request that stands `back` arguments before it. False: it takes none there. */
static bool print_request_argument(const Call *c, const TraceRequest *list, u32 back, u32 n, u64 v) {
    const TraceRequest *r = trace_request_find(list, 0, (u32)c->args[c->index - back]);
    if (r && (n >= strlen(r->kinds) || r->kinds[n] == '.')) return false;
    text_print(c->out, ", ");
    print_argument(c, r ? r->kinds[n] : 'x', v);
    return true;
}

void trace_print_level(Text *out, u64 v) {
    const char *name = level_name(v);
    if (name) text_print(out, "%s", name);
    else text_print(out, "%d", (i32)v);
}

static void print_cmsg(const Call *c, const struct cmsghdr *h, u64 data) {
    Text *out = c->out;
    const TraceRequest *r = trace_request_find(trace_cmsgs, (u64)h->cmsg_level, (u64)h->cmsg_type);
    text_print(out, "{cmsg_len=%lu, cmsg_level=", h->cmsg_len);
    trace_print_level(out, (u64)h->cmsg_level);
    text_print(out, ", cmsg_type=");
    trace_print_request(out, r, (u64)h->cmsg_type);
    text_print(out, ", cmsg_data=");
    if (r && r->kinds[0] == 'f') {
        int fd;
        text_char(out, '[');
        for (u64 at = sizeof *h; at + 4 <= h->cmsg_len && at < 128; at += 4)
            if (guest_read(&fd, data + at - sizeof *h, 4) == 0) text_print(out, at > sizeof *h ? ", %d" : "%d", fd);
        text_char(out, ']');
    } else {
        print_argument(c, r ? r->kinds[0] : 'p', data);
    }
    text_char(out, '}');
}

void trace_print_msghdr(const Call *c, u64 at, bool output) {
    Text *out = c->out;
    struct msghdr m;
    struct iovec io;
    if (!at || (output && c->result < 0) || guest_read(&m, at, sizeof m) < 0) {
        trace_print_pointer(out, at);
        return;
    }
    text_print(out, "{msg_name=");
    trace_kind_sockaddr(out, (u64)m.msg_name, m.msg_namelen);
    text_print(out, ", msg_iov=[");
    if (m.msg_iovlen && guest_read(&io, (u64)m.msg_iov, sizeof io) == 0) {
        u64 size = output ? MIN((u64)c->result, io.iov_len) : io.iov_len;
        trace_print_bytes(out, (u64)io.iov_base, size);
    }
    text_print(out, "%s], msg_controllen=%lu", m.msg_iovlen > 1 ? ", ..." : "", m.msg_controllen);
    struct cmsghdr h;
    for (u64 pos = 0, n = 0; m.msg_control && pos + sizeof h <= m.msg_controllen && n < 8; n++) {
        u64 from = (u64)m.msg_control + pos;
        if (guest_read(&h, from, sizeof h) < 0 || h.cmsg_len < sizeof h || h.cmsg_len > m.msg_controllen - pos) break;
        text_print(out, n ? ", " : ", msg_control=[");
        print_cmsg(c, &h, from + sizeof h);
        pos += align_up(h.cmsg_len, 8);
        if (pos + sizeof h > m.msg_controllen || n == 7) text_char(out, ']');
    }
    text_print(out, ", msg_flags=%#x}", (u32)m.msg_flags);
}

void trace_print_sockopt(const Call *c, u64 v, bool output) {
    const TraceRequest *r = trace_request_find(trace_sockopts, c->args[1], c->args[2]);
    print_argument(c, r && !(output && c->result < 0) ? r->kinds[0] : 'p', v);
}

bool trace_print_optional(const Call *c, char kind, u64 v) {
    switch (kind) {
    case '1': print_request_argument(c, trace_fcntls, 1, 0, v); return true;
    case '2': print_request_argument(c, trace_ioctls, 1, 0, v); return true;
    case '3': print_request_argument(c, trace_prctls, c->index, c->index - 1, v); return true;
    }
    return false;
}
