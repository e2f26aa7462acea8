/* SPDX-License-Identifier: Apache-2.0 */
/* The GDB stub. See gdb.h. Packets are $text#checksum; numbers are hexadecimal, memory and registers hex bytes in the guest's order. */
#include "user/gdb.h"
#include "base/sys.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { PACKET_MAX = 8192, MONITOR_STACK = 64 * 1024 };

struct Gdb {
    Process *process;
    int fd;
    Lock lock;         /* held by the thread that talks */
    u32 stopping;      /* futex: 1 while the guest is to stand still */
    bool started, detached, no_ack;
    Thread *current;   /* that g, p, ... are about */
    Thread *stepper;   /* the one that makes a step, NULL: none */
    Thread *stepped;   /* made its step inside a system call or signal: stops before it runs on */
    int signal;        /* to resume with */
    size_t in_len, in_at;
    char in[PACKET_MAX], packet[PACKET_MAX], reply[2 * PACKET_MAX];
    Text out;
};

static const char HEX[] = "0123456789abcdef";

/* --- the line ---------------------------------------------------------------------------------------------- */

static int read_byte(Gdb *g) {
    if (g->in_at == g->in_len) {
        long n;
        do n = sys_call(SYS_read, g->fd, g->in, sizeof g->in);
        while (n == -EINTR);
        if (n <= 0) return -1;
        g->in_len = (size_t)n;
        g->in_at = 0;
    }
    return (u8)g->in[g->in_at++];
}

static void write_all(Gdb *g, const char *s, size_t size) {
    while (size) {
        long n = sys_call(SYS_sendto, g->fd, s, size, MSG_NOSIGNAL, 0, 0);
        if (n == -EINTR) continue;
        if (n <= 0) {
            g->detached = true;
            return;
        }
        s += n, size -= (size_t)n;
    }
}

static void send_packet(Gdb *g, const char *text, size_t len) {
    static const char start[] = "$";
    u8 sum = 0;
    for (size_t k = 0; k < len; k++) sum += (u8)text[k];
    char tail[3] = {'#', HEX[sum >> 4], HEX[sum & 15]};
    write_all(g, start, 1);
    write_all(g, text, len);
    write_all(g, tail, 3);
    while (!g->no_ack && !g->detached) {
        int c = read_byte(g);
        if (c < 0) g->detached = true;
        if (c == '+' || c < 0) return;
        if (c == '-') return send_packet(g, text, len);
        if (c == '$') { /* it did not wait: the byte belongs to the next packet */
            g->in_at--;
            return;
        }
    }
}

static int hex_value(int c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The next packet into g->packet; 3 for an interrupt byte, 1 for a packet, 0 when GDB is gone. */
static int receive_packet(Gdb *g) {
    for (;;) {
        int c = read_byte(g);
        if (c < 0) return 0;
        if (c == 3) return 3;
        if (c != '$') continue;
        size_t len = 0;
        u8 sum = 0;
        while ((c = read_byte(g)) >= 0 && c != '#') {
            sum += (u8)c;
            if (len + 1 < sizeof g->packet) g->packet[len++] = (char)c;
        }
        int high = hex_value(read_byte(g)), low = hex_value(read_byte(g));
        if (c < 0) return 0;
        g->packet[len] = 0;
        bool good = (high << 4 | low) == sum;
        if (!g->no_ack) write_all(g, good ? "+" : "-", 1);
        if (good) return 1;
    }
}

static u64 read_hex(const char **s) {
    u64 v = 0;
    for (int d; (d = hex_value(**s)) >= 0; ++*s) v = v << 4 | (u64)d;
    return v;
}

static void put_bytes(Gdb *g, const void *data, size_t size) {
    for (const u8 *p = data, *end = p + size; p < end; p++) {
        text_char(&g->out, HEX[*p >> 4]);
        text_char(&g->out, HEX[*p & 15]);
    }
}

static size_t take_bytes(const char *s, u8 *out, size_t max) {
    size_t n = 0;
    for (; n < max && hex_value(s[0]) >= 0 && hex_value(s[1]) >= 0; s += 2) out[n++] = (u8)(hex_value(s[0]) << 4 | hex_value(s[1]));
    return n;
}

/* --- registers and memory ------------------------------------------------------------------------------------- */

static void put_registers(Gdb *g) {
    const Abi *abi = g->process->abi;
    u8 bytes[16];
    for (u32 n = 0; n < abi->gdb_core_count; n++) put_bytes(g, bytes, abi->gdb_read(g->current->cpu, n, bytes));
}

static bool set_registers(Gdb *g, const char *s) {
    const Abi *abi = g->process->abi;
    u8 bytes[16];
    for (u32 n = 0; n < abi->gdb_core_count; n++) {
        u32 size = abi->gdb_read(g->current->cpu, n, bytes);
        if (take_bytes(s, bytes, size) < size) return false;
        abi->gdb_write(g->current->cpu, n, bytes);
        s += 2 * size;
    }
    return true;
}

/* By the kernel, not host_copy: the helper thread has no stack for a fault's handler. */
static bool peek(u64 at, void *data, size_t size) {
    struct iovec here = {data, size}, there = {(void *)at, size};
    long pid = sys_call(SYS_getpid);
    return sys_call(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0) == (long)size;
}

static bool poke(u64 at, const void *data, size_t size) {
    struct iovec here = {(void *)data, size}, there = {(void *)at, size};
    long pid = sys_call(SYS_getpid);
    return sys_call(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0) == (long)size;
}

/* Code lies in pages that the host keeps read-only: open the page for the moment. */
static bool write_page(Gdb *g, u64 at, const u8 *data, size_t size) {
    if (poke(at, data, size)) return true;
    Vma v;
    if (!space_find(&g->process->space, at, &v) || v.start > at) return false;
    void *page = (void *)align_down(at, PAGE_BYTES);
    if (sys_mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE) < 0) return false;
    bool ok = poke(at, data, size);
    sys_mprotect(page, PAGE_BYTES, v.prot & PROT_WRITE ? PROT_READ | PROT_WRITE : v.prot ? PROT_READ : PROT_NONE);
    return ok;
}

static bool write_memory(Gdb *g, u64 at, const u8 *data, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t part = MIN(size - done, (size_t)(PAGE_BYTES - ((at + done) & (PAGE_BYTES - 1))));
        if (!write_page(g, at + done, data + done, part)) return false;
        done += part;
    }
    space_overwritten(&g->process->space, at, size);
    engine_invalidate(g->process->engine, at, size);
    return true;
}

static void memory_command(Gdb *g, const char *s, bool write) {
    u8 bytes[PACKET_MAX / 2];
    u64 at = read_hex(&s);
    if (*s == ',') s++;
    u64 size = read_hex(&s);
    if (size > sizeof bytes) size = sizeof bytes;
    if (write) {
        bool ok = *s == ':' && take_bytes(s + 1, bytes, size) == size && write_memory(g, at, bytes, size);
        text_print(&g->out, ok ? "OK" : "E0e");
    } else if (peek(at, bytes, size)) {
        put_bytes(g, bytes, size);
    } else {
        text_print(&g->out, "E0e");
    }
}

static void register_command(Gdb *g, const char *s, bool write) {
    const Abi *abi = g->process->abi;
    u8 bytes[16];
    u32 n = (u32)read_hex(&s), size = abi->gdb_read(g->current->cpu, n, bytes);
    if (!size) {
        text_print(&g->out, "E01");
    } else if (!write) {
        put_bytes(g, bytes, size);
    } else {
        bool ok = *s == '=' && take_bytes(s + 1, bytes, size) == size;
        if (ok) abi->gdb_write(g->current->cpu, n, bytes);
        text_print(&g->out, ok ? "OK" : "E01");
    }
}

/* --- threads -------------------------------------------------------------------------------------------------- */

static Thread *thread_by_id(Gdb *g, u64 id) {
    Thread *found = NULL;
    lock_take(&g->process->lock);
    for (Thread *t = g->process->threads; t; t = t->next)
        if (t->gdb_id == id) found = t;
    lock_give(&g->process->lock);
    return found;
}

static void put_threads(Gdb *g) {
    char sep = 'm';
    lock_take(&g->process->lock);
    for (Thread *t = g->process->threads; t; t = t->next) {
        if (!t->gdb_id) continue;
        text_char(&g->out, sep);
        text_print(&g->out, "%x", t->gdb_id);
        sep = ',';
    }
    lock_give(&g->process->lock);
}

static bool anyone_running(Gdb *g, const Thread *self) {
    bool any = false;
    lock_take(&g->process->lock);
    for (Thread *t = g->process->threads; t; t = t->next) {
        if (t == self || !__atomic_load_n(&t->gdb_running, __ATOMIC_SEQ_CST)) continue;
        engine_kick(t->cpu);
        any = true;
    }
    lock_give(&g->process->lock);
    return any;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

/* qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH out of `data`; binary bytes that the protocol reserves are escaped. */
static void put_transfer(Gdb *g, const char *s, const void *data, size_t size) {
    u64 offset = read_hex(&s);
    if (*s == ',') s++;
    u64 length = MIN(read_hex(&s), (u64)PACKET_MAX / 2);
    offset = MIN(offset, (u64)size);
    u64 end = MIN(offset + length, (u64)size);
    text_char(&g->out, end < size ? 'm' : 'l');
    for (const u8 *p = (const u8 *)data + offset, *stop = (const u8 *)data + end; p < stop; p++) {
        bool escape = *p == '#' || *p == '$' || *p == '}' || *p == '*';
        if (escape) text_char(&g->out, '}');
        g->out.at[g->out.len++] = (char)(escape ? *p ^ 0x20 : *p); /* may be 0: not text */
    }
}

static const char *after(const char *s, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static void query(Gdb *g, const char *s) {
    const char *rest;
    const Process *p = g->process;
    if (after(s, "qSupported")) text_print(&g->out, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:auxv:read+;qXfer:exec-file:read+", PACKET_MAX - 64);
    else if (after(s, "QStartNoAckMode")) text_print(&g->out, "OK");
    else if ((rest = after(s, "qXfer:features:read:target.xml:"))) put_transfer(g, rest, p->abi->gdb_xml, strlen(p->abi->gdb_xml));
    else if ((rest = after(s, "qXfer:auxv:read::"))) put_transfer(g, rest, p->auxv, p->auxv_size);
    else if ((rest = after(s, "qXfer:exec-file:read:"))) put_transfer(g, strchr(rest, ':') ? strchr(rest, ':') + 1 : rest, p->exe, strlen(p->exe));
    else if (after(s, "qAttached")) text_print(&g->out, "0");
    else if (after(s, "qC")) text_print(&g->out, "QC%x", g->current->gdb_id);
    else if (after(s, "qfThreadInfo")) put_threads(g);
    else if (after(s, "qsThreadInfo")) text_print(&g->out, "l");
}

static void select_thread(Gdb *g, const char *s) {
    s++; /* which operation it is for makes no difference when all stop */
    u64 id = *s == '-' ? 0 : read_hex(&s);
    Thread *t = id ? thread_by_id(g, id) : g->current;
    if (t) g->current = t;
    text_print(&g->out, t ? "OK" : "E01");
}

/* --- a session --------------------------------------------------------------------------------------------------- */

/* c, C, s, S with an optional signal and address. */
static void resume(Gdb *g, const char *s) {
    char what = *s++;
    g->signal = what == 'C' || what == 'S' ? (int)read_hex(&s) : 0;
    g->stepper = what == 's' || what == 'S' ? g->current : NULL;
}

/* vCont;ACTION[:THREAD];...: the first step or signal counts, everything else runs. */
static void resume_vcont(Gdb *g, const char *s) {
    g->signal = 0;
    g->stepper = NULL;
    while (*s == ';') {
        const char *action = ++s;
        Thread *t = g->current;
        s += strcspn(s, ";");
        const char *colon = memchr(action, ':', (size_t)(s - action));
        if (colon && colon[1] != '-') {
            const char *id = colon + 1;
            Thread *named = thread_by_id(g, read_hex(&id));
            if (named) t = named;
        }
        if (*action == 's' || *action == 'S') g->stepper = t;
        const char *sig = action + 1;
        if ((*action == 'S' || *action == 'C') && t == g->current) g->signal = (int)read_hex(&sig);
        if (*action == 's' || *action == 'S') return;
    }
}

static void detach(Gdb *g) {
    g->detached = true;
    g->stepper = NULL;
    g->signal = 0;
}

/* One packet. True: the guest goes on. */
static bool command(Gdb *g, Thread *t, int sig) {
    const char *s = g->packet;
    switch (s[0]) {
    case '?': text_print(&g->out, "T%02xthread:%x;", sig, t->gdb_id); return false;
    case 'g': put_registers(g); return false;
    case 'G': text_print(&g->out, set_registers(g, s + 1) ? "OK" : "E01"); return false;
    case 'p': case 'P': register_command(g, s + 1, s[0] == 'P'); return false;
    case 'm': case 'M': memory_command(g, s + 1, s[0] == 'M'); return false;
    case 'H': select_thread(g, s + 1); return false;
    case 'T': s++; text_print(&g->out, thread_by_id(g, read_hex(&s)) ? "OK" : "E01"); return false;
    case 'q': case 'Q': query(g, s); return false;
    case 'c': case 'C': case 's': case 'S': resume(g, s); return true;
    case 'v':
        if (after(s, "vCont?")) text_print(&g->out, "vCont;c;C;s;S");
        else if (after(s, "vCont")) return resume_vcont(g, s + 5), true;
        else if (after(s, "vKill")) sys_exit_group(128 + SIGKILL);
        return false;
    case 'k': sys_exit_group(128 + SIGKILL);
    case 'D':
        detach(g);
        send_packet(g, "OK", 2);
        return true;
    default: return false;
    }
}

static void talk(Gdb *g, Thread *t, int sig, bool report) {
    if (report) {
        g->out = text_init(g->reply, sizeof g->reply);
        text_print(&g->out, "T%02xthread:%x;", sig, t->gdb_id);
        send_packet(g, g->reply, g->out.len);
    }
    for (bool go = false; !go && !g->detached;) {
        int kind = receive_packet(g);
        if (kind == 0) return detach(g);
        if (kind == 3) continue;
        g->out = text_init(g->reply, sizeof g->reply);
        go = command(g, t, sig);
        if (!go) send_packet(g, g->reply, g->out.len);
        if (after(g->packet, "QStartNoAckMode")) g->no_ack = true;
    }
}

/* Thread t (the caller, or any, when GDB interrupts) has stopped with signal sig. Returns when the guest goes on. */
static void stop(Gdb *g, Thread *t, const Thread *self, int sig, bool report) {
    lock_take(&g->lock);
    if (!g->detached) {
        __atomic_store_n(&g->stopping, 1, __ATOMIC_SEQ_CST);
        while (anyone_running(g, self)) sys_call(SYS_sched_yield);
        g->current = t;
        g->stepper = g->stepped = NULL;
        talk(g, t, sig, report);
        __atomic_store_n(&g->stopping, 0, __ATOMIC_SEQ_CST);
        sys_futex(&g->stopping, FUTEX_WAKE, 1 << 30, NULL);
    }
    lock_give(&g->lock);
}

static void park(Gdb *g) {
    while (__atomic_load_n(&g->stopping, __ATOMIC_SEQ_CST)) sys_futex(&g->stopping, FUTEX_WAIT, 1, NULL);
}

static void begin_running(Gdb *g, Thread *t) {
    for (;;) {
        park(g);
        __atomic_store_n(&t->gdb_running, true, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&g->stopping, __ATOMIC_SEQ_CST)) return;
        __atomic_store_n(&t->gdb_running, false, __ATOMIC_SEQ_CST);
    }
}

TrapCode gdb_run(Thread *t) {
    Gdb *g = t->process->gdb;
    if (!t->gdb_id) t->gdb_id = (u32)sys_call(SYS_gettid);
    if (!g->started) {
        g->started = true;
        stop(g, t, t, SIGTRAP, false); /* GDB asks first */
    } else if (g->stepped == t) {
        stop(g, t, t, SIGTRAP, true);
    }
    begin_running(g, t);
    bool step = g->stepper == t;
    TrapCode trap = step ? engine_step(t->cpu) : engine_run(t->cpu);
    __atomic_store_n(&t->gdb_running, false, __ATOMIC_SEQ_CST);
    if (step && trap == TRAP_NONE) stop(g, t, t, SIGTRAP, true);
    else if (step) g->stepped = t;
    return trap;
}

bool gdb_signal(Thread *t, int *sig) {
    Gdb *g = t->process->gdb;
    if (g->detached || !g->started) return true;
    stop(g, t, t, *sig, true);
    if (g->detached && *sig != SIGTRAP) return true;
    *sig = g->signal;
    return *sig != 0;
}

static void report_end(Gdb *g, char how, int code) {
    if (g->detached) return;
    char text[8];
    Text t = text_init(text, sizeof text);
    text_print(&t, "%c%02x", how, code & 0xff);
    send_packet(g, text, t.len);
}
void gdb_exited(Process *p, int status) { report_end(p->gdb, 'W', status); }
void gdb_died(Process *p, int sig) { report_end(p->gdb, 'X', sig); }

void gdb_forked(Process *p) {
    sys_call(SYS_close, p->gdb->fd);
    p->gdb = NULL;
}

/* --- listening ----------------------------------------------------------------------------------------------------- */

/* While the guest runs, only an interrupt can come. It stops the guest in the name of its first thread. */
static void monitor(void *arg) {
    Gdb *g = arg;
    while (!g->detached) {
        park(g);
        struct pollfd p = {.fd = g->fd, .events = POLLIN};
        long n = sys_call(SYS_poll, &p, 1, 100);
        if (n <= 0 || __atomic_load_n(&g->stopping, __ATOMIC_SEQ_CST)) continue;
        char byte;
        long got = sys_call(SYS_recvfrom, g->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0);
        if (got == 0) g->detached = true;
        if (got != 1 || byte != 3 || __atomic_load_n(&g->stopping, __ATOMIC_SEQ_CST)) continue;
        sys_call(SYS_recvfrom, g->fd, &byte, 1, MSG_DONTWAIT, 0, 0);
        stop(g, g->process->threads, NULL, SIGINT, true);
    }
    for (;;) sys_call(SYS_exit, 0);
}

static const char *start_monitor(Gdb *g) {
    u8 *stack = sys_mmap(NULL, MONITOR_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(stack)) return "out of memory";
    u64 flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_UNTRACED;
    u64 all = ~0ull, old;
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8); /* no signal of the guest's may land there */
    long r = host_clone(flags, stack + MONITOR_STACK, 0, 0, monitor, g);
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
    return r < 0 ? "no thread for the GDB stub" : NULL;
}

static long listen_tcp(u64 port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((u16)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    long fd = sys_call(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    sys_call(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return fd < 0 || sys_call(SYS_bind, fd, &a, sizeof a) < 0 ? -1 : fd;
}

static long listen_unix(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    Text t = text_init(a.sun_path, sizeof a.sun_path);
    const char *pid = strstr(path, "%d");
    if (pid) text_print(&t, "%.*s%d%s", (int)(pid - path), path, (int)sys_call(SYS_getpid), pid + 2);
    else text_print(&t, "%s", path);
    long fd = sys_call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sys_call(SYS_unlinkat, AT_FDCWD, a.sun_path, 0);
    return t.cut || fd < 0 || sys_call(SYS_bind, fd, &a, sizeof a) < 0 ? -1 : fd;
}

/* High, where a guest that closes all its descriptors seldom looks. */
static int move_up(long fd) {
    long high = sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    if (high < 0) return (int)fd;
    sys_call(SYS_close, fd);
    return (int)high;
}

const char *gdb_start(Process *p, const char *where) {
    u64 port;
    bool tcp = parse_u64(where, NULL, &port) && port <= 0xffff;
    long fd = tcp ? listen_tcp(port) : listen_unix(where);
    if (fd < 0 || sys_call(SYS_listen, fd, 1) < 0) return "cannot listen there for GDB";
    long peer;
    do peer = sys_call(SYS_accept4, fd, 0, 0, SOCK_CLOEXEC);
    while (peer == -EINTR);
    sys_call(SYS_close, fd);
    if (peer < 0) return "GDB did not connect";
    Gdb *g = sys_mmap(NULL, align_up(sizeof *g, PAGE_BYTES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(g)) return "out of memory";
    g->process = p;
    g->fd = move_up(peer);
    p->gdb = g;
    return start_monitor(g);
}
