/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's GDB stub: machine/gdb.h. One thread talks to one debugger at a time. While the machine stands still the harts are this
 * thread's: it reads and writes them, and steps one. [GDB manual, "GDB Remote Serial Protocol"] */
#include "machine/gdb.h"
#include "back/back.h"
#include "isa/riscv/gdb_xml.h"
#include "machine/riscv/hart.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PACKET = 4096, BREAKPOINTS = 64, X_REGS = 32, PC = 32, F_FIRST = 33, FFLAGS = 65, FRM, FCSR, PRIV, CSR_FIRST = 100, V_FIRST = 200, TRAP_SIGNAL = 5, INT_SIGNAL = 2 };

typedef struct Breakpoint {
    u64 va, pa;
    u16 was; /* what the ebreak stands in the place of */
} Breakpoint;

struct Gdb {
    Machine *machine;
    int listener, fd, event; /* event: a breakpoint was met, or the end */
    char path[108];
    pthread_t thread;
    pthread_mutex_t lock;    /* of breakpoints: harts look at them */
    Breakpoint at[BREAKPOINTS];
    u32 len;
    u32 hart, hit;           /* that commands are about; that met a breakpoint */
    bool ended, no_ack, gone;
    int status;
    char in[PACKET], out[2 * PACKET];
    Text reply;
};

static const u16 csrs[] = {
    CSR_SSTATUS, CSR_SIE, CSR_STVEC, CSR_SCOUNTEREN, CSR_SENVCFG, CSR_SSCRATCH, CSR_SEPC, CSR_SCAUSE, CSR_STVAL, CSR_SIP, CSR_STIMECMP, CSR_SATP, CSR_MSTATUS,
    CSR_MISA, CSR_MEDELEG, CSR_MIDELEG, CSR_MIE, CSR_MTVEC, CSR_MCOUNTEREN, CSR_MENVCFG, CSR_MSCRATCH, CSR_MEPC, CSR_MCAUSE, CSR_MTVAL, CSR_MIP, CSR_PMPCFG0,
    CSR_PMPADDR0, CSR_CYCLE, CSR_TIME, CSR_INSTRET, CSR_MHARTID, CSR_VSTART, CSR_VXSAT, CSR_VXRM, CSR_VCSR, CSR_VL, CSR_VTYPE, CSR_VLENB,
};

static Hart *hart_now(Gdb *g) { return machine_hart(g->machine, g->hart); }

/* --- packets ------------------------------------------------------------------------------ */

static int byte_read(Gdb *g) {
    u8 byte;
    ssize_t n;
    do n = read(g->fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    g->gone |= n <= 0;
    return n > 0 ? byte : -1;
}

static void all_write(Gdb *g, const char *text, size_t size) {
    if (send(g->fd, text, size, MSG_NOSIGNAL) != (ssize_t)size) g->gone = true;
}

static void packet_send(Gdb *g, const char *text, size_t len) {
    u8 sum = 0;
    char tail[4];
    for (size_t k = 0; k < len; k++) sum = (u8)(sum + (u8)text[k]);
    snprintf(tail, sizeof(tail), "#%02x", sum);
    all_write(g, "$", 1);
    all_write(g, text, len);
    all_write(g, tail, 3);
    if (!g->no_ack && !g->gone) byte_read(g); /* '+'; lines that lose bytes are not what this is for */
}

/* The next packet into g->in; false: the debugger is gone, or interrupts (then `in` is empty). */
static bool packet_read(Gdb *g) {
    size_t len = 0;
    int c = byte_read(g);
    while (c >= 0 && c != '$' && c != 3) c = byte_read(g);
    g->in[0] = 0;
    if (c != '$') return false;
    for (c = byte_read(g); c >= 0 && c != '#' && len + 1 < PACKET; c = byte_read(g)) g->in[len++] = (char)c;
    g->in[len] = 0;
    byte_read(g);
    byte_read(g);
    if (!g->no_ack && !g->gone) all_write(g, "+", 1);
    return !g->gone;
}

/* --- hexadecimal -------------------------------------------------------------------------- */

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

static u64 number(const char **s) {
    u64 v = 0;
    for (; digit(**s) >= 0; ++*s) v = v << 4 | (u64)digit(**s);
    return v;
}

static void put_bytes(Gdb *g, const void *data, size_t size) {
    for (size_t k = 0; k < size; k++) text_print(&g->reply, "%02x", ((const u8 *)data)[k]);
}

/* Bytes until there are no more digits; how many. */
static size_t get_bytes(const char *s, u8 *to, size_t most) {
    size_t n = 0;
    for (; n < most && digit(s[0]) >= 0 && digit(s[1]) >= 0; s += 2) to[n++] = (u8)(digit(s[0]) << 4 | digit(s[1]));
    return n;
}

static void put_result(Gdb *g, bool good) { text_print(&g->reply, good ? "OK" : "E01"); }

/* --- registers ---------------------------------------------------------------------------- */

/* What a debugger writes into a unit that is on counts as changed, or the guest would not save it. */
static void touch(Hart *h, u64 unit) {
    if (h->s->mstatus & unit) h->s->mstatus = rv_with_sd(h->s->mstatus | unit);
}

/* Read and written as in M-mode, with all units on: a debugger may see everything. */
static bool csr_access(Hart *h, u32 csr, bool write, u64 *v) {
    u64 priv = h->s->priv, status = h->s->mstatus;
    bool unit = csr < CSR_SSTATUS || (csr >= CSR_VL && csr <= CSR_VLENB);
    h->s->priv = RV_M;
    if (unit) h->s->mstatus |= RV_FS | RV_VS;
    bool good = write ? csr_write(h, csr, *v) : csr_read(h, csr, v);
    h->s->priv = priv;
    if (unit) h->s->mstatus = status;
    if (unit && write) touch(h, csr <= CSR_FCSR ? RV_FS : RV_VS);
    hart_settle(h);
    return good;
}

/* Where a register is, if it is plain memory. */
static u64 *register_find(Hart *h, u64 n) {
    if (n < X_REGS) return &h->s->user.x[n];
    if (n == PC) return &h->cpu->pc;
    return n >= F_FIRST && n < FFLAGS ? &h->s->user.f[n - F_FIRST] : NULL;
}

static bool register_access(Hart *h, u64 n, bool write, u64 *v) {
    u64 *at = register_find(h, n);
    if (at) {
        if (write && n) *at = n == PC ? *v & ~1ull : *v;
        if (write && n >= F_FIRST) touch(h, RV_FS);
        *v = *at;
        return true;
    }
    if (n >= FFLAGS && n <= FCSR) return csr_access(h, (u32)(n - FFLAGS + 1), write, v);
    if (n == PRIV) return !write && ((*v = h->s->priv), true);
    return n >= CSR_FIRST && n - CSR_FIRST < ARRAY_LEN(csrs) && csr_access(h, csrs[n - CSR_FIRST], write, v);
}

static void registers_put(Gdb *g) {
    for (u64 n = 0; n < FFLAGS; n++) put_bytes(g, register_find(hart_now(g), n), 8);
}

static void registers_set(Gdb *g, const char *s) {
    u64 v;
    for (u64 n = 0; n < FFLAGS && get_bytes(s, (u8 *)&v, 8) == 8; n++, s += 16) register_access(hart_now(g), n, true, &v);
    put_result(g, true);
}

/* A vector register: wider than the others. */
static void vector_command(Gdb *g, Hart *h, u64 n, const char *s, bool write) {
    u8 *at = h->s->user.v[n];
    if (!write) {
        put_bytes(g, at, RV_VLENB);
        return;
    }
    put_result(g, get_bytes(s + (*s == '='), at, RV_VLENB) == RV_VLENB);
    touch(h, RV_VS);
}

static void register_command(Gdb *g, const char *s, bool write) {
    u64 n = number(&s), v = 0;
    if (n >= V_FIRST && n < V_FIRST + 32) {
        vector_command(g, hart_now(g), n - V_FIRST, s, write);
        return;
    }
    if (write) get_bytes(s + (*s == '='), (u8 *)&v, 8);
    bool good = register_access(hart_now(g), n, write, &v);
    if (write || !good) put_result(g, good);
    else put_bytes(g, &v, n >= FFLAGS && n <= FCSR ? 4 : 8);
}

/* --- memory ------------------------------------------------------------------------------- */

static u64 physical_of(Hart *h, u64 va) {
    u64 pa;
    return hart_debug_translate(h, va, &pa) ? pa : va;
}

/* In parts that lie in one page each. */
static bool memory_access(Gdb *g, u64 va, u8 *data, u64 size, bool write) {
    const Physical *m = machine_memory(g->machine);
    for (u64 n; size; va += n, data += n, size -= n) {
        n = MIN(size, PAGE_BYTES - (va & (PAGE_BYTES - 1)));
        u64 pa = physical_of(hart_now(g), va);
        if (!(write ? physical_write(m, pa, data, n) : physical_read(m, pa, data, n))) return false;
    }
    return true;
}

static void memory_command(Gdb *g, const char *s, bool write) {
    static const u64 most = PACKET / 2 - 8;
    u8 data[PACKET / 2];
    u64 va = number(&s), size = *s == ',' ? (s++, number(&s)) : 0;
    if (size > most || (write && get_bytes(s + (*s == ':'), data, size) != size)) {
        put_result(g, false);
        return;
    }
    bool good = memory_access(g, va, data, size, write);
    if (write || !good) put_result(g, good);
    else put_bytes(g, data, size);
}

/* --- breakpoints -------------------------------------------------------------------------- */

static const u16 c_ebreak = 0x9002;

static u32 breakpoint_find(const Gdb *g, u64 va) {
    u32 k = 0;
    while (k < g->len && g->at[k].va != va) k++;
    return k;
}

static bool breakpoint_set(Gdb *g, u64 va) {
    const Physical *m = machine_memory(g->machine);
    Breakpoint b = {.va = va, .pa = physical_of(hart_now(g), va)};
    if (breakpoint_find(g, va) < g->len) return true;
    if (g->len == BREAKPOINTS || !physical_read(m, b.pa, &b.was, 2) || !physical_write(m, b.pa, &c_ebreak, 2)) return false;
    g->at[g->len++] = b;
    return true;
}

static void breakpoint_clear(Gdb *g, u32 k) {
    const Physical *m = machine_memory(g->machine);
    u16 now = 0;
    /* The guest may have written there since: then it is none of ours. */
    if (physical_read(m, g->at[k].pa, &now, 2) && now == c_ebreak) physical_write(m, g->at[k].pa, &g->at[k].was, 2);
    g->at[k] = g->at[--g->len];
}

static void breakpoint_command(Gdb *g, const char *s, bool set) {
    if (*s != '0' && *s != '1') return; /* no watchpoints: an empty answer says so */
    s += 2;
    u64 va = number(&s);
    pthread_mutex_lock(&g->lock);
    u32 k = breakpoint_find(g, va);
    bool good = set ? breakpoint_set(g, va) : k < g->len;
    if (!set && good) breakpoint_clear(g, k);
    pthread_mutex_unlock(&g->lock);
    put_result(g, good);
}

/* On a hart's thread. True: the ebreak there is ours, and all stop. */
static bool on_breakpoint(void *ctx, u32 hart, u64 pc) {
    Gdb *g = ctx;
    u64 one = 1;
    pthread_mutex_lock(&g->lock);
    bool ours = breakpoint_find(g, pc) < g->len;
    if (ours) g->hit = hart;
    pthread_mutex_unlock(&g->lock);
    if (!ours) return false;
    machine_pause(g->machine);
    return write(g->event, &one, sizeof(one)) > 0;
}

/* --- questions ---------------------------------------------------------------------------- */

static void description_make(Text *t) {
    text_print(t, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\"><architecture>riscv:rv64</architecture>"
                  "<feature name=\"org.gnu.gdb.riscv.cpu\">");
    for (u32 n = 0; n < X_REGS; n++) text_print(t, "<reg name=\"x%u\" bitsize=\"64\" regnum=\"%u\"/>", n, n);
    text_print(t, "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\" regnum=\"%u\"/></feature><feature name=\"org.gnu.gdb.riscv.fpu\">", PC);
    for (u32 n = 0; n < 32; n++) text_print(t, "<reg name=\"f%u\" bitsize=\"64\" type=\"ieee_double\" regnum=\"%u\"/>", n, F_FIRST + n);
    text_print(t, "<reg name=\"fflags\" bitsize=\"32\" regnum=\"%u\"/><reg name=\"frm\" bitsize=\"32\" regnum=\"%u\"/><reg name=\"fcsr\" bitsize=\"32\" regnum=\"%u\"/></feature>", FFLAGS, FRM, FCSR);
    text_print(t, "<feature name=\"org.gnu.gdb.riscv.virtual\"><reg name=\"priv\" bitsize=\"64\" regnum=\"%u\"/></feature><feature name=\"org.gnu.gdb.riscv.csr\">", PRIV);
    for (u32 k = 0; k < ARRAY_LEN(csrs); k++) text_print(t, "<reg name=\"%s\" bitsize=\"64\" regnum=\"%u\"/>", riscv_csr_name(csrs[k]), CSR_FIRST + k);
    text_print(t, "</feature>" RV_GDB_VECTOR_TYPES);
    for (u32 n = 0; n < 32; n++) text_print(t, "<reg name=\"v%u\" bitsize=\"%u\" type=\"riscv_vector\" regnum=\"%u\"/>", n, RV_VLEN, V_FIRST + n);
    text_print(t, "</feature></target>");
}

/* OFFSET,LENGTH of the description. */
static void description_put(Gdb *g, const char *s) {
    static const size_t room = 16384;
    char *all = back_alloc(room);
    Text t = text_init(all, room);
    description_make(&t);
    u64 offset = number(&s), size = *s == ',' ? (s++, number(&s)) : 0;
    offset = MIN(offset, t.len);
    size = MIN(MIN(size, t.len - offset), (u64)PACKET);
    text_print(&g->reply, "%c%.*s", offset + size < t.len ? 'm' : 'l', (int)size, all + offset);
    free(all);
}

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

static void query(Gdb *g, const char *s) {
    static const char features[] = "qXfer:features:read:target.xml:";
    if (begins(s, "qSupported")) text_print(&g->reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+", PACKET - 16);
    else if (begins(s, "QStartNoAckMode")) put_result(g, true);
    else if (begins(s, features)) description_put(g, s + strlen(features));
    else if (begins(s, "qAttached")) text_print(&g->reply, "1");
    else if (begins(s, "qC")) text_print(&g->reply, "QC%x", g->hart + 1);
    else if (begins(s, "qsThreadInfo")) text_print(&g->reply, "l");
    else if (begins(s, "qfThreadInfo")) {
        for (u32 k = 0; k < machine_hart_count(g->machine); k++) text_print(&g->reply, "%c%x", k ? ',' : 'm', k + 1);
    } else if (begins(s, "qThreadExtraInfo,")) {
        char name[32];
        s += 17;
        Text t = text_init(name, sizeof(name));
        text_print(&t, "hart %u", (u32)number(&s) - 1);
        put_bytes(g, name, t.len);
    }
}

/* A hart by its thread id; 0, -1: any, that is, the current one. */
static bool hart_select(Gdb *g, const char *s) {
    u64 id = *s == '-' ? 0 : number(&s);
    if (id > machine_hart_count(g->machine)) return false;
    if (id) g->hart = (u32)id - 1;
    return true;
}

/* --- going on ----------------------------------------------------------------------------- */

static void stop_put(Gdb *g, int signal) { text_print(&g->reply, "T%02xthread:%x;", signal, g->hart + 1); }

static void reply_send(Gdb *g) {
    packet_send(g, g->out, g->reply.len);
    g->reply = text_init(g->out, sizeof(g->out));
}

/* All run until a breakpoint, the debugger's interrupt, or the end. */
static void run(Gdb *g) {
    u64 count;
    int signal = TRAP_SIGNAL;
    machine_continue(g->machine);
    struct pollfd fds[2] = {{.fd = g->event, .events = POLLIN}, {.fd = g->fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR) continue;
    if (fds[0].revents && read(g->event, &count, sizeof(count)) > 0) g->hart = g->hit;
    else if (byte_read(g) == 3) signal = INT_SIGNAL;
    machine_pause(g->machine);
    if (!machine_wait_paused(g->machine)) return; /* it has ended: gdb_drop tells */
    if (read(g->event, &count, sizeof(count)) > 0) g->hart = g->hit; /* another hart was there at the same time: it will be again */
    stop_put(g, signal);
    reply_send(g);
}

static void step(Gdb *g) {
    hart_step(hart_now(g));
    stop_put(g, TRAP_SIGNAL);
    reply_send(g);
}

/* vCont;ACTION[:THREAD]...: the first step counts; else all run. */
static void resume(Gdb *g, const char *s) {
    for (; *s == ';'; s += strcspn(s, ";")) {
        char action = *++s;
        const char *colon = strchr(s, ':'), *next = strchr(s, ';');
        if (action != 's' && action != 'S') continue;
        if (colon && (!next || colon < next)) hart_select(g, colon + 1);
        step(g);
        return;
    }
    run(g);
}

static void all_clear(Gdb *g) {
    pthread_mutex_lock(&g->lock);
    while (g->len) breakpoint_clear(g, 0);
    pthread_mutex_unlock(&g->lock);
}

/* One packet; what goes on answers by itself. */
static void command(Gdb *g, const char *s) {
    switch (s[0]) {
    case '?': stop_put(g, TRAP_SIGNAL); break;
    case 'g': registers_put(g); break;
    case 'G': registers_set(g, s + 1); break;
    case 'p': case 'P': register_command(g, s + 1, s[0] == 'P'); break;
    case 'm': case 'M': memory_command(g, s + 1, s[0] == 'M'); break;
    case 'Z': case 'z': breakpoint_command(g, s + 1, s[0] == 'Z'); break;
    case 'H': put_result(g, hart_select(g, s + 2)); break;
    case 'T': put_result(g, (s++, number(&s)) <= machine_hart_count(g->machine)); break;
    case 'q': case 'Q': query(g, s); break;
    case 'c': case 'C': run(g); return;
    case 's': case 'S': step(g); return;
    case 'v':
        if (begins(s, "vCont?")) text_print(&g->reply, "vCont;c;C;s;S");
        else if (begins(s, "vCont")) {
            resume(g, s + 5);
            return;
        }
        break;
    case 'k':
        machine_stop(g->machine, PLATFORM_POWEROFF, 0);
        g->gone = true;
        return;
    case 'D':
        put_result(g, true);
        reply_send(g);
        g->gone = true;
        return;
    }
    reply_send(g);
    if (begins(s, "QStartNoAckMode")) g->no_ack = true;
}

/* Debuggers look at the code at pc: harts that are about to start are shown where they will. */
static void harts_begin(Gdb *g) {
    for (u32 k = 0; k < machine_hart_count(g->machine); k++)
        if (machine_hart(g->machine, k)->state == HART_START_PENDING) hart_step(machine_hart(g->machine, k));
}

static void session(Gdb *g) {
    g->gone = g->no_ack = false;
    g->reply = text_init(g->out, sizeof(g->out));
    machine_pause(g->machine);
    if (!machine_wait_paused(g->machine)) return;
    harts_begin(g);
    while (!g->gone && !__atomic_load_n(&g->ended, __ATOMIC_ACQUIRE))
        if (packet_read(g)) command(g, g->in);
    all_clear(g);
    machine_continue(g->machine);
}

static void *gdb_run(void *arg) {
    Gdb *g = arg;
    while (!__atomic_load_n(&g->ended, __ATOMIC_ACQUIRE)) {
        int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno != EINTR) break;
        if (fd < 0) continue;
        __atomic_store_n(&g->fd, fd, __ATOMIC_RELEASE);
        session(g);
        if (__atomic_load_n(&g->ended, __ATOMIC_ACQUIRE)) {
            char text[16];
            packet_send(g, text, (size_t)snprintf(text, sizeof(text), "W%02x", g->status & 255));
        }
        __atomic_store_n(&g->fd, -1, __ATOMIC_RELEASE);
        close(fd);
    }
    return NULL;
}

/* --- making ------------------------------------------------------------------------------- */

static int listen_tcp(u64 port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((u16)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 1)) return fd;
    return -1;
}

static int listen_unix(Gdb *g, const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(at.sun_path)) return -1;
    strcpy(at.sun_path, path);
    strcpy(g->path, path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 1) ? fd : -1;
}

Gdb *gdb_new(Machine *m, const char *where, bool wait, char *why, size_t why_size) {
    Gdb *g = back_alloc(sizeof(*g));
    const char *end;
    u64 port;
    g->machine = m;
    g->fd = -1;
    g->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&g->lock, NULL);
    bool tcp = parse_u64(where, &end, &port) && !*end && port < 65536;
    g->listener = tcp ? listen_tcp(port) : listen_unix(g, where);
    if (wait) machine_pause(m);
    machine_on_breakpoint(m, on_breakpoint, g);
    if (g->listener >= 0 && back_thread(&g->thread, gdb_run, g)) return g;
    back_fail(why, why_size, "%s: %s", where, strerror(errno));
    if (g->listener >= 0) close(g->listener);
    free(g);
    return NULL;
}

/* The thread waits in accept, in read, or for an event: each is ended. */
void gdb_drop(Gdb *g, int status) {
    u64 one = 1;
    if (!g) return;
    g->status = status;
    __atomic_store_n(&g->ended, true, __ATOMIC_RELEASE);
    if (write(g->event, &one, sizeof(one)) < 0) errno = 0;
    shutdown(g->listener, SHUT_RDWR);
    int fd = __atomic_load_n(&g->fd, __ATOMIC_ACQUIRE);
    if (fd >= 0) shutdown(fd, SHUT_RD);
    pthread_join(g->thread, NULL);
    close(g->listener);
    close(g->event);
    if (g->path[0]) unlink(g->path);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
