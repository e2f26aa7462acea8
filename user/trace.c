/* SPDX-License-Identifier: Apache-2.0 */
/* user/trace: bodies. See trace.h. One printer per kind of argument; the letters are explained in syscall.def. Names of
 * flags stand in trace_names.c. */
#include "user/trace.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/trace_names.h"
#include "user/trace_requests.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <time.h>

enum { STRING_MAX = 32, LINE_MAX_SIZE = 1000 };


/* --- pieces ------------------------------------------------------------------------------------------------ */

static void print_quoted(Text *out, const u8 *s, size_t size, bool more) {
    text_char(out, '"');
    for (size_t i = 0; i < size; i++) {
        u8 c = s[i];
        if (c == '"' || c == '\\') text_print(out, "\\%c", c);
        else if (c == '\n') text_print(out, "\\n");
        else if (c == '\t') text_print(out, "\\t");
        else if (c == '\r') text_print(out, "\\r");
        else if (c >= ' ' && c < 127) text_char(out, (char)c);
        else { /* octal, short where no digit follows */
            bool digit = i + 1 < size && s[i + 1] >= '0' && s[i + 1] <= '9';
            text_char(out, '\\');
            if (digit || c >= 0100) text_char(out, (char)('0' + (c >> 6)));
            if (digit || c >= 010) text_char(out, (char)('0' + (c >> 3 & 7)));
            text_char(out, (char)('0' + (c & 7)));
        }
    }
    text_print(out, more ? "\"..." : "\"");
}

void trace_print_pointer(Text *out, u64 v) {
    if (v) text_print(out, "%#lx", v);
    else text_print(out, "NULL");
}

void trace_print_string(Text *out, u64 at, size_t max) {
    char buf[PATH_MAX_TRACE];
    if (!at) {
        text_print(out, "NULL");
        return;
    }
    long len = guard_strlen((const char *)at, max);
    if (len < 0 || guest_read(buf, at, (size_t)len) < 0) trace_print_pointer(out, at);
    else print_quoted(out, (u8 *)buf, (size_t)len, (size_t)len == max);
}

void trace_print_bytes(Text *out, u64 at, u64 size) {
    u8 buf[STRING_MAX];
    u64 n = MIN(size, (u64)STRING_MAX);
    if (!at || guest_read(buf, at, n) < 0) trace_print_pointer(out, at);
    else print_quoted(out, buf, n, size > n);
}

static void print_strings(Text *out, u64 at) {
    u64 s;
    text_char(out, '[');
    for (u32 i = 0; at && guest_read(&s, at + 8 * i, 8) == 0 && s; i++) {
        if (i) text_print(out, ", ");
        if (i == STRING_MAX) {
            text_print(out, "...");
            break;
        }
        trace_print_string(out, s, STRING_MAX);
    }
    text_char(out, ']');
}

void trace_print_flags(Text *out, u64 v, const FlagName *names) {
    u64 left = v;
    const char *bar = "";
    for (; names->name; names++) {
        u64 mask = names->mask ? names->mask : names->value;
        if ((v & mask) != names->value || (!names->value && (left & mask))) continue;
        if (!(left & mask) && names->value) continue;
        text_print(out, "%s%s", bar, names->name);
        left &= ~mask;
        bar = "|";
    }
    if (left || !*bar) text_print(out, left ? "%s%#lx" : "%s0", bar, left);
}

void trace_print_choice(Text *out, i64 v, const FlagName *names) {
    for (; names->name; names++) {
        if ((i64)names->value != v) continue;
        text_print(out, "%s", names->name);
        return;
    }
    text_print(out, "%#lx", v);
}

static void print_sigset(Text *out, u64 set) {
    bool inverse = __builtin_popcountll(set) > 32;
    if (inverse) set = ~set;
    text_print(out, inverse ? "~[" : "[");
    const char *space = "";
    for (int sig = 1; sig <= SIG_COUNT; sig++) {
        if (!(set >> (sig - 1) & 1)) continue;
        const char *name = signal_name(sig);
        if (strncmp(name, "SIGRT_", 6) == 0) text_print(out, "%s%s", space, name + 3);
        else text_print(out, "%s%s", space, name + 3);
        space = " ";
    }
    text_char(out, ']');
}

/* --- kinds ---------------------------------------------------------------------------------------------------- */

void trace_kind_timespec(Text *out, u64 at) {
    i64 ts[2];
    if (!at || guest_read(ts, at, sizeof ts) < 0) trace_print_pointer(out, at);
    else text_print(out, "{tv_sec=%ld, tv_nsec=%ld}", ts[0], ts[1]);
}

static void kind_stat(const Call *c, u64 at) {
    struct {
        u64 dev, ino;
        u32 mode, nlink, uid, gid;
        u64 rdev, pad;
        i64 size;
    } st;
    if (c->result < 0 || guest_read(&st, at, sizeof st) < 0) {
        trace_print_pointer(c->out, at);
        return;
    }
    text_print(c->out, "{st_mode=");
    trace_print_choice(c->out, st.mode & S_IFMT, trace_file_types);
    text_print(c->out, "|0%c%c%c", '0' + (st.mode >> 6 & 7), '0' + (st.mode >> 3 & 7), '0' + (st.mode & 7));
    if (S_ISCHR(st.mode) || S_ISBLK(st.mode)) text_print(c->out, ", st_rdev=%#lx, ...}", st.rdev);
    else text_print(c->out, ", st_size=%ld, ...}", st.size);
}

static void kind_sigaction(const Call *c, u64 at, bool output) {
    SigAction a;
    if (!at || (output && c->result < 0) || guest_read(&a, at, sizeof a) < 0) {
        trace_print_pointer(c->out, at);
        return;
    }
    text_print(c->out, "{sa_handler=");
    if (a.handler == GUEST_SIG_DFL) text_print(c->out, "SIG_DFL");
    else if (a.handler == GUEST_SIG_IGN) text_print(c->out, "SIG_IGN");
    else text_print(c->out, "%#lx", a.handler);
    text_print(c->out, ", sa_mask=");
    print_sigset(c->out, a.mask);
    text_print(c->out, ", sa_flags=");
    trace_print_flags(c->out, a.flags, trace_sa_flags);
    text_char(c->out, '}');
}

void trace_kind_sockaddr(Text *out, u64 at, u64 size) {
    union {
        struct sockaddr sa;
        struct sockaddr_un un;
        struct sockaddr_in in;
        u8 bytes[128];
    } a;
    memset(&a, 0, sizeof a);
    if (!at || guest_read(&a, at, MIN(size, sizeof a)) < 0) {
        trace_print_pointer(out, at);
        return;
    }
    text_print(out, "{sa_family=");
    trace_print_choice(out, a.sa.sa_family, trace_domains);
    const u8 *ip = (const u8 *)&a.in.sin_addr;
    if (a.sa.sa_family == AF_UNIX && size > 2) {
        text_print(out, ", sun_path=");
        print_quoted(out, (u8 *)a.un.sun_path, strnlen(a.un.sun_path, MIN(size, sizeof a.un) - 2), false);
    } else if (a.sa.sa_family == AF_INET)
        text_print(out, ", sin_port=htons(%u), sin_addr=inet_addr(\"%u.%u.%u.%u\")",
                   (unsigned)__builtin_bswap16(a.in.sin_port), ip[0], ip[1], ip[2], ip[3]);
    text_char(out, '}');
}

static void kind_wait_status(const Call *c, u64 at) {
    u32 s;
    if (!at || c->result <= 0 || guest_read(&s, at, 4) < 0) trace_print_pointer(c->out, at);
    else if ((s & 0x7f) == 0) text_print(c->out, "[{WIFEXITED(s) && WEXITSTATUS(s) == %u}]", s >> 8 & 0xff);
    else if ((s & 0xff) == 0x7f) text_print(c->out, "[{WIFSTOPPED(s) && WSTOPSIG(s) == %s}]", signal_name(s >> 8 & 0xff));
    else text_print(c->out, "[{WIFSIGNALED(s) && WTERMSIG(s) == %s}]", signal_name(s & 0x7f));
}

void trace_kind_open_flags(Text *out, u64 v) {
    trace_print_choice(out, v & O_ACCMODE, trace_open_modes);
    if (v & ~(u64)O_ACCMODE) text_char(out, '|'), trace_print_flags(out, v & ~(u64)O_ACCMODE, trace_open_flags);
}

static void kind_clone_flags(Text *out, u64 v) {
    u64 sig = v & 0xff;
    if (v & ~0xffull) trace_print_flags(out, v & ~0xffull, trace_clone_flags);
    if (sig) text_print(out, "%s%s", (v & ~0xffull) ? "|" : "", signal_name((int)sig));
    else if (!v) text_char(out, '0');
}

static void kind_futex(Text *out, u64 v) {
    trace_print_choice(out, v & 0x7f, trace_futex_ops);
    if (v & 0x80) text_print(out, "_PRIVATE");
    if (v & 0x100) text_print(out, "|FUTEX_CLOCK_REALTIME");
}

static void kind_rlimit(const Call *c, u64 at, bool output) {
    u64 l[2];
    if (!at || (output && c->result < 0) || guest_read(l, at, sizeof l) < 0) {
        trace_print_pointer(c->out, at);
        return;
    }
    for (int i = 0; i < 2; i++) {
        text_print(c->out, i ? ", rlim_max=" : "{rlim_cur=");
        if (l[i] == ~0ull) text_print(c->out, "RLIM64_INFINITY");
        else text_print(c->out, l[i] % 1024 || !l[i] ? "%lu" : "%lu*1024", l[i] % 1024 ? l[i] : l[i] / 1024);
    }
    text_char(c->out, '}');
}

static void kind_epoll_event(Text *out, u64 at) {
    struct {
        u32 events, pad;
        u64 data;
    } e;
    if (!at || guest_read(&e, at, sizeof e) < 0) {
        trace_print_pointer(out, at);
        return;
    }
    text_print(out, "{events=");
    trace_print_flags(out, e.events, trace_epoll_events);
    text_print(out, ", data=%#lx}", e.data);
}

static void print_kind(const Call *c, char kind, u64 v) {
    Text *out = c->out;
    u32 word;
    u64 set;
    switch (kind) {
    case 'd': case 'f': case 'q': text_print(out, "%ld", kind == 'q' ? (i64)v : (i64)(i32)v); break;
    case 'u': case 'z': text_print(out, "%lu", v); break;
    case 'x': text_print(out, v ? "%#lx" : "%lx", v); break;
    case 'o': text_print(out, "0%c%c%c", '0' + (int)(v >> 6 & 7), '0' + (int)(v >> 3 & 7), '0' + (int)(v & 7)); break;
    case '@': if ((i32)v == AT_FDCWD) text_print(out, "AT_FDCWD"); else text_print(out, "%d", (i32)v); break;
    case 'r': case 's': trace_print_string(out, v, PATH_MAX_TRACE); break;
    case 'b': trace_print_bytes(out, v, c->args[c->index + 1]); break;
    case 'B': if (c->result < 0) trace_print_pointer(out, v); else trace_print_bytes(out, v, (u64)c->result); break;
    case 'v': print_strings(out, v); break;
    case 'O': trace_kind_open_flags(out, v); break;
    case 'P': if (v) trace_print_flags(out, v, trace_prot); else text_print(out, "PROT_NONE"); break;
    case 'M': trace_print_flags(out, v, trace_map_flags); break;
    case 'm': trace_print_choice(out, (i64)v, trace_madvise); break;
    case 'S': text_print(out, "%s", v ? signal_name((int)v) : "0"); break;
    case 'G': if (v && guest_read(&set, v, 8) == 0) print_sigset(out, set); else trace_print_pointer(out, v); break;
    case 'T': trace_kind_timespec(out, v); break;
    case 'V': if (c->result < 0) trace_print_pointer(out, v); else trace_kind_timespec(out, v); break;
    case 't': kind_stat(c, v); break;
    case 'a': kind_sigaction(c, v, false); break;
    case 'A': kind_sigaction(c, v, true); break;
    case 'h': trace_print_choice(out, (i64)v, trace_sig_how); break;
    case 'C': kind_clone_flags(out, v); break;
    case 'w': kind_wait_status(c, v); break;
    case 'W': if (v) trace_print_flags(out, v, trace_wait_options); else text_char(out, '0'); break;
    case 'F': kind_futex(out, v); break;
    case 'n': trace_print_choice(out, (i64)v, trace_clocks); break;
    case 'I': trace_print_request(out, trace_request_find(trace_ioctls, 0, (u32)v), v); break;
    case 'N': trace_print_request(out, trace_request_find(trace_fcntls, 0, v), v); break;
    case 'Q': {
        int fds[2];
        if (c->result < 0 || guest_read(fds, v, sizeof fds) < 0) trace_print_pointer(out, v);
        else text_print(out, "[%d, %d]", fds[0], fds[1]);
        break;
    }
    case 'k': trace_kind_sockaddr(out, v, c->args[c->index + 1]); break;
    case 'K':
        if (c->result < 0 || !v || guest_read(&word, c->args[c->index + 1], 4) < 0) trace_print_pointer(out, v);
        else trace_kind_sockaddr(out, v, word);
        break;
    case 'D': trace_print_choice(out, (i64)v, trace_domains); break;
    case 'y': trace_print_choice(out, (i64)(v & 15), trace_socket_types);
        if (v & O_CLOEXEC) text_print(out, "|SOCK_CLOEXEC");
        if (v & O_NONBLOCK) text_print(out, "|SOCK_NONBLOCK");
        break;
    case 'R': trace_print_choice(out, (i64)v, trace_resources); break;
    case 'L': kind_rlimit(c, v, false); break;
    case 'l': kind_rlimit(c, v, true); break;
    case 'Y': trace_print_request(out, trace_request_find(trace_prctls, 0, v), v); break;
    case '4': trace_print_level(out, v); break;
    case '5': trace_print_request(out, trace_request_find(trace_sockopts, c->args[1], v), v); break;
    case '6': case '7': trace_print_sockopt(c, v, kind == '7'); break;
    case '8': case '9': trace_print_msghdr(c, v, kind == '9'); break;
    case 'E': if (v) trace_print_flags(out, v, trace_access_modes); else text_print(out, "F_OK"); break;
    case 'Z': trace_print_choice(out, (i64)v, trace_seeks); break;
    case 'X': if (v) trace_print_flags(out, v, trace_at_flags); else text_char(out, '0'); break;
    case 'c': trace_print_choice(out, (i64)v, trace_epoll_ops); break;
    case 'e': kind_epoll_event(out, v); break;
    default: trace_print_pointer(out, v);
    }
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static void print_prefix(Thread *t, Text *out) {
    if (t->process->trace_tids) text_print(out, "[pid %5ld] ", sys_call(SYS_gettid));
}

static void print_result(Text *out, i64 result, bool hex) {
    if (result == SYSCALL_NO_RESULT) text_print(out, "?");
    else if (result < 0 && result > -4096) text_print(out, "-1 %s", errno_name((int)-result));
    else text_print(out, hex ? "%#lx" : "%ld", result);
}

static void emit(Thread *t, Text *line) {
    if (line->cut) memcpy(line->at + line->len - 4, "...\n", 4);
    int fd = t->process->options->engine.log_fd;
    for (size_t at = 0; at < line->len;) {
        long n = sys_call(SYS_write, fd, line->at + at, line->len - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
}

void trace_syscall(Thread *t, u32 nr, const u64 args[6], i64 result) {
    if (!t->process->options->strace) return;
    const Syscall *s = nr < SYSCALL_COUNT ? &syscall_table[nr] : NULL;
    char buf[LINE_MAX_SIZE];
    Text line = text_init(buf, sizeof buf);
    print_prefix(t, &line);
    if (!s || !s->name) text_print(&line, "syscall_%#x(", nr);
    else text_print(&line, "%s(", s->name);
    Call c = {.t = t, .out = &line, .args = args, .result = result};
    const char *k = s && s->name ? s->kinds : "xxxxxx";
    for (; *k && *k != '>'; k++, c.index++) {
        bool creates = c.index && k[-1] == 'O' && *k == 'o' ? args[c.index - 1] & (O_CREAT | 020000000) : true;
        if (!creates) continue; /* open has a mode only then */
        if (trace_print_optional(&c, *k, args[c.index])) continue;
        if (c.index) text_print(&line, ", ");
        print_kind(&c, *k, args[c.index]);
    }
    text_char(&line, ')');
    while (line.len < 39) text_char(&line, ' ');
    text_print(&line, " = ");
    print_result(&line, result, *k == '>');
    text_char(&line, '\n');
    emit(t, &line);
}

void trace_execve(Thread *t, const char *path, const char *const *argv, const char *const *envp) {
    if (!t->process->options->strace) return;
    char buf[LINE_MAX_SIZE];
    Text line = text_init(buf, sizeof buf);
    u64 vars = 0;
    while (envp[vars]) vars++;
    print_prefix(t, &line);
    text_print(&line, "execve(");
    trace_print_string(&line, (u64)path, PATH_MAX_TRACE);
    text_print(&line, ", ");
    print_strings(&line, (u64)argv);
    text_print(&line, ", %#lx /* %lu vars */) = 0\n", (u64)envp, vars);
    emit(t, &line);
}

void trace_signal(Thread *t, int sig, const u8 info[128]) {
    if (!t->process->options->strace) return;
    char buf[LINE_MAX_SIZE];
    Text line = text_init(buf, sizeof buf);
    print_prefix(t, &line);
    text_print(&line, "--- %s ", signal_name(sig));
    trace_print_siginfo(&line, info);
    text_print(&line, " ---\n");
    emit(t, &line);
}

void trace_exit(Thread *t, int status, int sig) {
    if (!t->process->options->strace) return;
    char buf[LINE_MAX_SIZE];
    Text line = text_init(buf, sizeof buf);
    print_prefix(t, &line);
    if (sig) text_print(&line, "+++ killed by %s +++\n", signal_name(sig));
    else text_print(&line, "+++ exited with %d +++\n", status);
    emit(t, &line);
}

void trace_flush(Thread *t) {
    const RunOptions *o = t->process->options;
    if (!o->stats) return;
    char buf[2048];
    Text out = text_init(buf, sizeof buf);
    engine_stats_print(t->process->engine, &out);
    emit(t, &out);
}
