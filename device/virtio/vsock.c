/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock: stream connections between programs of the guest and of the host. [virtio 5.10]
 *
 * A thread polls the host's descriptors; a worker takes the guest's packets. Both work under one lock. What is to be told to the guest
 * is remembered as bits of its connection until there is a buffer, so nothing queues up: data stays in the host's sockets until the guest has both a
 * buffer and credit, and the guest's data, limited by the credit that we gave, waits in the connection until the host's program reads. */
#include "back/vsock.h"
#include "device/virtio/devices.h"
#include "device/virtio/worker.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE, TRANSMIT, EVENT, QUEUES, QUEUE_SIZE = 128, HOST_CID = 2, BUFFER = 256 << 10, PACKET_MAX = 64 << 10, CONNECTIONS = 1024, HOST_PORTS = 1 << 30, LINE = 32, REFUSALS = 64 };
enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST, TYPE_STREAM = 1, SHUT_RECEIVE = 1, SHUT_SEND = 2 };

typedef struct Packet {
    u64 src_cid, dst_cid;
    u32 src_port, dst_port, size;
    u16 type, op;
    u32 flags, alloc, forwarded;
} __attribute__((packed)) Packet;

/* HELLO: the host's program has not said yet which port it wants; ASKED: the guest has not answered yet. */
typedef enum VsockState { HELLO, ASKED, OPEN } VsockState;

typedef struct Connection {
    VsockState state;
    int fd;
    u32 guest_port, host_port;
    u32 owed;               /* bit OP_*: packets to be sent to the guest */
    u32 alloc, forwarded, sent; /* the guest's room, what it took of what we sent */
    u32 taken, taken_told;  /* bytes that the host's program has taken, and what the guest knows of that */
    bool guest_shut, host_shut; /* no more data from there */
    char line[LINE];        /* HELLO */
    u32 line_len;
    u8 *out;                /* ring of BUFFER bytes for the host's program, NULL: none yet */
    u32 out_at, out_len;
} Connection;

struct VirtioVsock {
    Virtio virtio;
    VirtWorker *worker;
    pthread_t thread;
    pthread_mutex_t lock;
    char path[96];
    int listener, wake;
    bool stopping, starved; /* starved: the guest has no buffers */
    bool announce;          /* the guest is to be told that its connections are gone */
    u32 next_port;
    Connection *connection[CONNECTIONS];
    u32 connection_len;
    struct {
        u32 guest_port, host_port;
    } refusal[REFUSALS]; /* RSTs for connections that are none */
    u32 refusal_len;
    VirtChain *chain;
};

static u32 guest_cid(const VirtioVsock *d) { return *(const u32 *)(const void *)d->virtio.config; }

static void thread_wake(VirtioVsock *d) {
    u64 one = 1;
    if (write(d->wake, &one, sizeof(one)) < 0) return; /* full: it is awake */
}

/* --- connections -------------------------------------------------------------------------- */

static Connection *connection_find(VirtioVsock *d, u32 guest_port, u32 host_port) {
    for (u32 k = 0; k < d->connection_len; k++) {
        Connection *c = d->connection[k];
        if (c->state != HELLO && c->guest_port == guest_port && c->host_port == host_port) return c;
    }
    return NULL;
}

/* Takes fd over. NULL: there are too many. */
static Connection *connection_new(VirtioVsock *d, int fd, VsockState state) {
    if (d->connection_len == CONNECTIONS) {
        close(fd);
        return NULL;
    }
    Connection *c = back_alloc(sizeof(*c));
    c->fd = fd;
    c->state = state;
    return d->connection[d->connection_len++] = c;
}

static void connection_drop(VirtioVsock *d, Connection *c) {
    u32 k = 0;
    while (d->connection[k] != c) k++;
    d->connection[k] = d->connection[--d->connection_len];
    close(c->fd);
    free(c->out);
    free(c);
}

static void refuse(VirtioVsock *d, u32 guest_port, u32 host_port) {
    if (d->refusal_len == REFUSALS) return;
    d->refusal[d->refusal_len].guest_port = guest_port;
    d->refusal[d->refusal_len++].host_port = host_port;
}

static void connection_reset(VirtioVsock *d, Connection *c) {
    if (c->state != HELLO) refuse(d, c->guest_port, c->host_port);
    connection_drop(d, c);
}

static u32 credit(const Connection *c) {
    u32 used = c->sent - c->forwarded;
    return used < c->alloc ? c->alloc - used : 0;
}

/* --- to the host -------------------------------------------------------------------------- */

/* Writes what waits. False: the host's program is gone. */
static bool out_flush(Connection *c) {
    while (c->out_len) {
        u32 part = MIN(c->out_len, BUFFER - c->out_at);
        ssize_t n = send(c->fd, c->out + c->out_at, part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n <= 0) return false;
        c->out_at = (c->out_at + (u32)n) % BUFFER;
        c->out_len -= (u32)n;
        c->taken += (u32)n;
    }
    if (c->taken - c->taken_told >= BUFFER / 4) c->owed |= 1 << OP_CREDIT_UPDATE;
    if (!c->out_len && c->guest_shut) shutdown(c->fd, SHUT_WR);
    return true;
}

/* The guest's data into the ring. False: more than it had credit for. */
static bool out_add(Connection *c, const VirtChain *chain, u32 size) {
    if (c->guest_shut || size > BUFFER - c->out_len) return false;
    if (!c->out) c->out = back_alloc(BUFFER);
    u32 at = (c->out_at + c->out_len) % BUFFER, first = MIN(size, BUFFER - at);
    virt_chain_read(chain, sizeof(Packet), c->out + at, first);
    virt_chain_read(chain, sizeof(Packet) + first, c->out, size - first);
    c->out_len += size;
    return true;
}

static void request_take(VirtioVsock *d, const Packet *p) {
    int fd = vsock_dial(d->path, p->dst_port);
    Connection *c = fd < 0 ? NULL : connection_new(d, fd, OPEN);
    if (!c) {
        refuse(d, p->src_port, p->dst_port);
        return;
    }
    c->guest_port = p->src_port;
    c->host_port = p->dst_port;
    c->alloc = p->alloc;
    c->forwarded = p->forwarded;
    c->owed = 1 << OP_RESPONSE;
}

static void response_take(Connection *c) {
    char ok[32];
    int len = snprintf(ok, sizeof(ok), "OK %u\n", c->host_port);
    c->state = OPEN;
    if (send(c->fd, ok, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len) c->host_shut = true; /* it left, or is very odd */
}

/* False: the connection must be reset. */
static bool shutdown_take(Connection *c, u32 flags) {
    if (flags & SHUT_RECEIVE) c->host_shut = true;
    if (flags & SHUT_SEND) c->guest_shut = true;
    bool alive = out_flush(c);
    return alive && !(c->guest_shut && c->host_shut && !c->out_len);
}

/* One packet of a connection that is there. False: it must be reset. */
static bool packet_take(VirtioVsock *d, Connection *c, const Packet *p, const VirtChain *chain) {
    c->alloc = p->alloc;
    c->forwarded = p->forwarded;
    switch (p->op) {
    case OP_RESPONSE:
        if (c->state == ASKED) response_take(c);
        return c->state == OPEN;
    case OP_SHUTDOWN: return shutdown_take(c, p->flags);
    case OP_RW: return c->state == OPEN && out_add(c, chain, p->size) && out_flush(c);
    case OP_CREDIT_UPDATE: return true;
    case OP_CREDIT_REQUEST: c->owed |= 1 << OP_CREDIT_UPDATE; return true;
    }
    return false;
}

/* False: no packet at all. */
static bool chain_take(VirtioVsock *d, const VirtChain *chain) {
    Packet p;
    if (virt_chain_read(chain, 0, &p, sizeof(p)) != sizeof(p) || p.size > chain->out_size - sizeof(p)) return false;
    Connection *c = connection_find(d, p.src_port, p.dst_port);
    if (p.src_cid != guest_cid(d) || p.dst_cid != HOST_CID || p.type != TYPE_STREAM) {
        if (p.op != OP_RST) refuse(d, p.src_port, p.dst_port);
    } else if (!c) {
        if (p.op == OP_REQUEST) request_take(d, &p);
        else if (p.op != OP_RST) refuse(d, p.src_port, p.dst_port);
    } else if (p.op == OP_RST) {
        connection_drop(d, c);
    } else if (!packet_take(d, c, &p, chain)) {
        connection_reset(d, c);
    }
    return true;
}

static void transmit(VirtioVsock *d, VirtQueue *q, VirtChain *chain) {
    do {
        virtq_kicks_off(q);
        while (virtq_pop(q, chain)) {
            pthread_mutex_lock(&d->lock);
            bool ok = chain_take(d, chain);
            pthread_mutex_unlock(&d->lock);
            if (!ok) {
                virtio_break(&d->virtio);
                return;
            }
            virtq_push(q, chain, 0);
            virtq_signal(q);
        }
    } while (virtq_kicks_on(q));
    thread_wake(d); /* what is owed is sent there */
}

/* The only event there is: the transport was reset. [virtio 5.10.6.7] */
static void event_send(VirtioVsock *d, VirtQueue *q, VirtChain *chain) {
    u32 reset = 0;
    if (!d->announce || !virtq_pop(q, chain)) return;
    d->announce = false;
    virtq_push(q, chain, (u32)virt_chain_write(chain, 0, &reset, sizeof(reset)));
    virtq_signal(q);
}

static void vsock_run(void *ctx, u32 queue, VirtChain *chain) {
    VirtioVsock *d = ctx;
    if (queue == TRANSMIT) transmit(d, &d->virtio.queue[queue], chain);
    if (queue == EVENT) event_send(d, &d->virtio.queue[queue], chain);
    if (queue != RECEIVE) return;
    pthread_mutex_lock(&d->lock);
    d->starved = false;
    pthread_mutex_unlock(&d->lock);
    thread_wake(d);
}

/* --- to the guest, on the polling thread, with the lock held ------------------------------ */

/* A buffer of the guest's, with room for data behind the header. */
static bool buffer_pop(VirtioVsock *d) {
    VirtQueue *q = &d->virtio.queue[RECEIVE];
    do {
        while (virtq_pop(q, d->chain)) {
            if (d->chain->in_size > sizeof(Packet)) return true;
            virtio_break(&d->virtio);
        }
    } while (virtq_kicks_on(q));
    d->starved = true;
    return false;
}

/* Fills in the header; data is behind it already. */
static void packet_push(VirtioVsock *d, Packet p, u32 size) {
    VirtQueue *q = &d->virtio.queue[RECEIVE];
    p.src_cid = HOST_CID;
    p.dst_cid = guest_cid(d);
    p.type = TYPE_STREAM;
    p.size = size;
    virt_chain_write(d->chain, 0, &p, sizeof(p));
    virtq_push(q, d->chain, (u32)sizeof(p) + size);
}

static void connection_push(VirtioVsock *d, Connection *c, u16 op, u32 flags, u32 size) {
    packet_push(d, (Packet){.src_port = c->host_port, .dst_port = c->guest_port, .op = op, .flags = flags, .alloc = BUFFER, .forwarded = c->taken}, size);
    c->taken_told = c->taken;
    c->owed &= ~(1u << OP_CREDIT_UPDATE);
    c->sent += size;
}

static void refusals_send(VirtioVsock *d) {
    while (d->refusal_len && buffer_pop(d)) {
        d->refusal_len--;
        packet_push(d, (Packet){.src_port = d->refusal[d->refusal_len].host_port, .dst_port = d->refusal[d->refusal_len].guest_port, .op = OP_RST}, 0);
    }
}

static void owed_send(VirtioVsock *d, Connection *c) {
    while (c->owed && buffer_pop(d)) {
        u16 op = (u16)__builtin_ctz(c->owed);
        c->owed &= c->owed - 1;
        connection_push(d, c, op, op == OP_SHUTDOWN ? SHUT_SEND : 0, 0);
    }
}

/* Reads from the host straight into the guest's buffer. False: the host's end is broken. */
static bool data_send(VirtioVsock *d, Connection *c) {
    struct iovec iov[VIRTQ_SIZE_MAX];
    u16 mark = virtq_mark(&d->virtio.queue[RECEIVE]);
    if (!buffer_pop(d)) return true;
    u64 room = MIN(d->chain->in_size - sizeof(Packet), (u64)MIN(credit(c), (u32)PACKET_MAX));
    ssize_t n = readv(c->fd, iov, (int)virt_chain_slice(d->chain, true, sizeof(Packet), room, iov));
    if (n > 0) {
        connection_push(d, c, OP_RW, 0, (u32)n);
        return true;
    }
    virtq_unpop(&d->virtio.queue[RECEIVE], mark);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    c->host_shut = true;
    c->owed |= 1 << OP_SHUTDOWN;
    return !(c->guest_shut && !c->out_len);
}

/* The first line of a host's program: "CONNECT PORT". False: it is none. */
static bool hello_read(VirtioVsock *d, Connection *c) {
    u64 port;
    const char *end;
    ssize_t n = read(c->fd, c->line + c->line_len, 1); /* no further than the line: what follows is for the guest */
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) return false;
    if (c->line[c->line_len] != '\n') return ++c->line_len < LINE - 1;
    c->line[c->line_len] = 0;
    if (strncmp(c->line, "CONNECT ", 8) || !parse_u64(c->line + 8, &end, &port) || *end || port > ~0u) return false;
    c->guest_port = (u32)port;
    c->host_port = d->next_port;
    d->next_port = d->next_port == 2u * HOST_PORTS - 1 ? HOST_PORTS : d->next_port + 1;
    c->state = ASKED;
    c->owed = 1 << OP_REQUEST;
    return true;
}

static bool can_read(const VirtioVsock *d, const Connection *c) {
    return c->state == HELLO || (c->state == OPEN && !c->host_shut && !d->starved && credit(c));
}

/* False: it is over with this connection. */
static bool connection_serve(VirtioVsock *d, Connection *c, short events) {
    bool ok = true;
    if (events & POLLOUT) ok = out_flush(c);
    if (ok && (events & (POLLIN | POLLHUP | POLLERR)) && can_read(d, c)) ok = c->state == HELLO ? hello_read(d, c) : data_send(d, c);
    else if (events & POLLERR) ok = false;
    if (ok) owed_send(d, c);
    return ok && !(c->guest_shut && c->host_shut && !c->out_len);
}

static short events_of(const VirtioVsock *d, const Connection *c) { return (short)((can_read(d, c) ? POLLIN : 0) | (c->out_len ? POLLOUT : 0)); }

/* Fills fds: the wake-up, the listener, the connections in their order. Those that want nothing are left out, or a hang-up would spin. */
static u32 fds_fill(VirtioVsock *d, struct pollfd *fds) {
    fds[0] = (struct pollfd){.fd = d->wake, .events = POLLIN};
    if (!virtio_is_live(&d->virtio)) return 1; /* nobody to serve: vsock_ready wakes us */
    fds[1] = (struct pollfd){.fd = d->connection_len < CONNECTIONS ? d->listener : -1, .events = POLLIN};
    for (u32 k = 0; k < d->connection_len; k++) {
        short events = events_of(d, d->connection[k]);
        fds[2 + k] = (struct pollfd){.fd = events ? d->connection[k]->fd : -1, .events = events};
    }
    return 2 + d->connection_len;
}

/* After polling without the lock, connections may be others: they are matched by descriptor, and served from the last, since dropping moves the last one. */
static void events_serve(VirtioVsock *d, const struct pollfd *fds, u32 count) {
    for (u32 k = d->connection_len; k-- > 0;) {
        Connection *c = d->connection[k];
        bool same = 2 + k < count && fds[2 + k].fd == c->fd;
        if (!connection_serve(d, c, same ? fds[2 + k].revents : 0)) connection_reset(d, c);
    }
    int fd = fds[1].revents ? vsock_accept(d->listener) : -1;
    if (fd >= 0) connection_new(d, fd, HELLO);
    refusals_send(d);
}

static void *vsock_thread(void *arg) {
    VirtioVsock *d = arg;
    static const u32 most = 2 + CONNECTIONS;
    struct pollfd *fds = back_alloc(most * sizeof(*fds));
    u64 ticks;
    pthread_mutex_lock(&d->lock);
    while (!d->stopping) {
        u32 count = fds_fill(d, fds);
        pthread_mutex_unlock(&d->lock);
        if (poll(fds, count, -1) < 0) fds[0].revents = 0;
        if (fds[0].revents && read(d->wake, &ticks, sizeof(ticks)) < 0) ticks = 0;
        gate_enter(d->virtio.memory->gate); /* before our lock, which harts take */
        pthread_mutex_lock(&d->lock);
        if (count > 1 && virtio_is_live(&d->virtio)) events_serve(d, fds, count);
        virtq_signal(&d->virtio.queue[RECEIVE]);
        gate_leave(d->virtio.memory->gate);
    }
    pthread_mutex_unlock(&d->lock);
    free(fds);
    return NULL;
}

/* --- the device --------------------------------------------------------------------------- */

static void vsock_notify(void *dev, u32 queue) { virt_worker_kick(((VirtioVsock *)dev)->worker, queue); }

static void vsock_ready(void *dev) { thread_wake(dev); }

static void vsock_reset(void *dev) {
    VirtioVsock *d = dev;
    virt_worker_drain(d->worker);
    pthread_mutex_lock(&d->lock);
    while (d->connection_len) connection_drop(d, d->connection[0]);
    d->refusal_len = 0;
    d->starved = false;
    pthread_mutex_unlock(&d->lock);
}

static void vsock_quiesce(void *dev) {
    VirtioVsock *d = dev;
    virt_worker_drain(d->worker);
    pthread_mutex_lock(&d->lock);
    pthread_mutex_unlock(&d->lock);
}

/* Connections end with the process: the host's programs are not in the snapshot. */
static void vsock_state(void *dev, State *s) {
    if (s->loading) ((VirtioVsock *)dev)->announce = true;
}

VirtioVsock *virtio_vsock_new(Physical *memory, u32 cid, const char *path, char *why, size_t why_size) {
    int listener = vsock_listen(path, why, why_size);
    if (listener < 0) return NULL;
    VirtioVsock *d = back_alloc(sizeof(*d));
    VirtioKind kind = {.name = "vsock", .id = VIRTIO_VSOCK, .class = 0x078000, .features = 1 /* streams */, .queues = QUEUES, .queue_size = QUEUE_SIZE, .config_size = 8,
                       .ready = vsock_ready, .reset = vsock_reset, .quiesce = vsock_quiesce, .state = vsock_state, .notify = vsock_notify};
    strcpy(d->path, path); /* vsock_listen has looked at its length */
    d->listener = listener;
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->next_port = HOST_PORTS;
    d->chain = back_alloc(sizeof(*d->chain));
    pthread_mutex_init(&d->lock, NULL);
    virtio_init(&d->virtio, &kind, d, memory);
    memcpy(d->virtio.config, &cid, sizeof(cid));
    d->worker = virt_worker_new(virt_threads(memory, 1), vsock_run, d);
    if (!back_thread(&d->thread, vsock_thread, d)) BUG("no thread for vsock");
    return d;
}

Virtio *virtio_vsock_virtio(VirtioVsock *d) { return &d->virtio; }

void virtio_vsock_drop(VirtioVsock *d) {
    virtio_reset(&d->virtio);
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_mutex_unlock(&d->lock);
    thread_wake(d);
    pthread_join(d->thread, NULL);
    virt_worker_drop(d->worker);
    unlink(d->path);
    close(d->listener);
    close(d->wake);
    pthread_mutex_destroy(&d->lock);
    virtio_fini(&d->virtio);
    free(d->chain);
    free(d);
}
