/* SPDX-License-Identifier: Apache-2.0 */
/* The host's network without privileges: libslirp ends the guest's connections and makes them anew with the host's sockets.
 *
 * libslirp knows no threads: one lock is held over every call into it, by the thread that polls its sockets and by those that
 * send. A frame that went in may have changed what is to be polled, so the poller is woken if it sleeps. */
#include "back/net_kinds.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    MTU = 65520, /* every segment costs the guest far more than its bytes do */
    TIMERS = 8,
    FRAME_MIN = 14,
};

typedef struct UserTimer {
    SlirpTimerCb call;
    void *opaque;
    i64 ms; /* of the clock that slirp is told; <0: not set */
} UserTimer;

typedef struct User {
    Net net;
    Slirp *slirp;
    pthread_mutex_t lock;
    pthread_t thread;
    bool started, stopping;
    bool sleeping; /* the poller may sleep, and must be woken */
    int wake;
    VEC(struct pollfd) fds;
    UserTimer timer[TIMERS];
    u8 frame[NET_FRAME_MAX];
} User;

/* --- what slirp calls, with the lock held ------------------------------------------------- */

static ssize_t cb_send(const void *frame, size_t size, void *opaque) {
    static const NetHeader good = {.flags = NET_DATA_VALID};
    User *u = opaque;
    if (u->net.user.received) u->net.user.received(u->net.user.ctx, &good, &(struct iovec){(void *)frame, size}, 1);
    return (ssize_t)size;
}

static void cb_error(const char *message, void *opaque) {} /* the guest sends nonsense: not news */
static i64 cb_clock(void *opaque) { return (i64)back_now(); }

static void *cb_timer_new(SlirpTimerCb call, void *call_opaque, void *opaque) {
    User *u = opaque;
    for (u32 k = 0; k < TIMERS; k++) {
        if (u->timer[k].call) continue;
        u->timer[k] = (UserTimer){call, call_opaque, -1};
        return &u->timer[k];
    }
    BUG("slirp wants more timers");
}

static void cb_timer_free(void *timer, void *opaque) { *(UserTimer *)timer = (UserTimer){0}; }
static void cb_timer_set(void *timer, i64 ms, void *opaque) { ((UserTimer *)timer)->ms = ms; }
static void cb_fd(int fd, void *opaque) {}

static void poller_wake(User *u) {
    u64 one = 1;
    if (__atomic_exchange_n(&u->sleeping, false, __ATOMIC_ACQ_REL) && write(u->wake, &one, sizeof(one)) < 0) return;
}
static void cb_notify(void *opaque) { poller_wake(opaque); }

static const SlirpCb callbacks = {
    .send_packet = cb_send, .guest_error = cb_error, .clock_get_ns = cb_clock, .timer_new = cb_timer_new, .timer_free = cb_timer_free,
    .timer_mod = cb_timer_set, .register_poll_fd = cb_fd, .unregister_poll_fd = cb_fd, .notify = cb_notify,
};

/* --- polling ------------------------------------------------------------------------------ */

static int fd_add(int fd, int events, void *opaque) {
    User *u = opaque;
    short want = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) | (events & SLIRP_POLL_PRI ? POLLPRI : 0));
    vec_push(&u->fds, ((struct pollfd){.fd = fd, .events = want}));
    return (int)u->fds.len - 1;
}

static int fd_events(int index, void *opaque) {
    short got = ((User *)opaque)->fds.at[index].revents;
    return (got & POLLIN ? SLIRP_POLL_IN : 0) | (got & POLLOUT ? SLIRP_POLL_OUT : 0) | (got & POLLPRI ? SLIRP_POLL_PRI : 0) |
           (got & POLLERR ? SLIRP_POLL_ERR : 0) | (got & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static u32 timers_wait(const User *u, u32 ms) {
    i64 now = (i64)(back_now() / 1000000);
    for (u32 k = 0; k < TIMERS; k++)
        if (u->timer[k].call && u->timer[k].ms >= 0) ms = (u32)MIN((i64)ms, MAX(u->timer[k].ms - now, 0));
    return ms;
}

static void timers_run(User *u) {
    i64 now = (i64)(back_now() / 1000000);
    for (u32 k = 0; k < TIMERS; k++) {
        UserTimer *t = &u->timer[k];
        if (!t->call || t->ms < 0 || t->ms > now) continue;
        t->ms = -1;
        t->call(t->opaque);
    }
}

static void *user_run(void *arg) {
    User *u = arg;
    u64 count;
    pthread_mutex_lock(&u->lock);
    while (!u->stopping) {
        u32 ms = ~0u;
        u->fds.len = 0;
        fd_add(u->wake, SLIRP_POLL_IN, u);
        slirp_pollfds_fill(u->slirp, &ms, fd_add, u);
        ms = timers_wait(u, ms);
        __atomic_store_n(&u->sleeping, true, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&u->lock);
        int n = poll(u->fds.at, u->fds.len, ms > 1u << 30 ? -1 : (int)ms);
        gate_enter(u->net.gate); /* before our lock, which harts take when they send */
        pthread_mutex_lock(&u->lock);
        __atomic_store_n(&u->sleeping, false, __ATOMIC_RELEASE);
        if (n > 0 && u->fds.at[0].revents && read(u->wake, &count, sizeof(count)) < 0) count = 0;
        slirp_pollfds_poll(u->slirp, n < 0, fd_events, u);
        timers_run(u);
        gate_leave(u->net.gate);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static bool user_start(Net *n) {
    User *u = (User *)n;
    return u->started = back_thread(&u->thread, user_run, u);
}

static void user_send(Net *n, const NetHeader *header, const struct iovec *iov, u32 len) {
    User *u = (User *)n;
    pthread_mutex_lock(&u->lock);
    size_t size = net_flatten(u->frame, iov, len);
    if (size >= FRAME_MIN) slirp_input(u->slirp, u->frame, (int)size);
    pthread_mutex_unlock(&u->lock);
    poller_wake(u);
}

static void user_drop(Net *n) {
    User *u = (User *)n;
    pthread_mutex_lock(&u->lock);
    u->stopping = true;
    pthread_mutex_unlock(&u->lock);
    __atomic_store_n(&u->sleeping, true, __ATOMIC_RELEASE);
    poller_wake(u);
    if (u->started) pthread_join(u->thread, NULL);
    if (u->slirp) slirp_cleanup(u->slirp);
    if (u->wake >= 0) close(u->wake);
    vec_drop(&u->fds);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

static const NetOps ops = {user_start, user_send, NULL, user_drop};

/* --- options ------------------------------------------------------------------------------ */

static struct in_addr address(u32 net, u32 host) { return (struct in_addr){htonl(net | host)}; }

/* "[ADDRESS]:PORT" up to `end`; an empty address leaves *a as it is. */
static bool endpoint_parse(const char *s, const char *end, struct in_addr *a, int *port) {
    char text[64];
    const char *colon = memchr(s, ':', (size_t)(end - s)), *stop;
    u64 number;
    if (!colon || (size_t)(colon - s) >= sizeof(text)) return false;
    memcpy(text, s, (size_t)(colon - s));
    text[colon - s] = 0;
    if (text[0] && inet_pton(AF_INET, text, a) != 1) return false;
    if (!parse_u64(colon + 1, &stop, &number) || stop != end || number > 65535) return false;
    *port = (int)number;
    return true;
}

/* "tcp:[HOST]:PORT-[GUEST]:PORT", or udp. */
static bool forward_add(User *u, const char *spec, u32 net, char *why, size_t why_size) {
    struct in_addr host = {htonl(INADDR_ANY)}, guest = address(net, 15);
    bool udp = !strncmp(spec, "udp:", 4);
    const char *from = strchr(spec, ':'), *dash = strrchr(spec, '-');
    int host_port = 0, guest_port = 0;
    if (!from || !dash || dash < from || (!udp && strncmp(spec, "tcp:", 4) && from != spec) || !endpoint_parse(from + 1, dash, &host, &host_port) ||
        !endpoint_parse(dash + 1, spec + strlen(spec), &guest, &guest_port) || !guest_port)
        return back_fail(why, why_size, "hostfwd=%s: it goes tcp:[ADDRESS]:PORT-[GUEST]:PORT, or udp:...", spec);
    if (slirp_add_hostfwd(u->slirp, udp, host, host_port, guest, guest_port) == 0) return true;
    return back_fail(why, why_size, "hostfwd=%s: %s", spec, errno ? strerror(errno) : "the port is taken");
}

typedef struct UserOptions {
    bool restricted, no_ipv6;
    u32 net;
    char tftp[160], bootfile[160]; /* a folder to fetch from, and what in it firmware is told to fetch; "": none */
    const char *all;
} UserOptions;

static bool options_parse(UserOptions *o, char *why, size_t why_size) {
    char key[160], value[160];
    struct in_addr a;
    for (const char *rest = o->all; back_option(&rest, key, value, sizeof(key));) {
        if (!strcmp(key, "restrict")) o->restricted = !strcmp(value, "on") || !strcmp(value, "yes");
        else if (!strcmp(key, "ipv6")) o->no_ipv6 = !strcmp(value, "off") || !strcmp(value, "no");
        else if (!strcmp(key, "tftp") && access(value, R_OK | X_OK)) return back_fail(why, why_size, "tftp=%s: %s", value, strerror(errno));
        else if (!strcmp(key, "tftp")) strcpy(o->tftp, value);
        else if (!strcmp(key, "bootfile")) strcpy(o->bootfile, value);
        else if (!strcmp(key, "net") && inet_pton(AF_INET, value, &a) == 1) o->net = ntohl(a.s_addr) & 0xffffff00;
        else if (strcmp(key, "hostfwd")) return back_fail(why, why_size, "%s=%s: no such option of a user net (hostfwd, restrict, ipv6, net, tftp, bootfile)", key, value);
    }
    return true;
}

static bool forwards_add(User *u, const UserOptions *o, char *why, size_t why_size) {
    char key[160], value[160];
    for (const char *rest = o->all; back_option(&rest, key, value, sizeof(key));)
        if (!strcmp(key, "hostfwd") && !forward_add(u, value, o->net, why, why_size)) return false;
    return true;
}

static Slirp *slirp_make(User *u, const UserOptions *o) {
    SlirpConfig c = {
        .version = 1, .restricted = o->restricted, .in_enabled = true, .vnetwork = address(o->net, 0), .vnetmask = {htonl(0xffffff00)},
        .vhost = address(o->net, 2), .vdhcp_start = address(o->net, 15), .vnameserver = address(o->net, 3), .vhostname = "isomer",
        .in6_enabled = !o->no_ipv6, .vprefix_len = 64, .if_mtu = MTU, .if_mru = MTU,
        .tftp_path = o->tftp[0] ? o->tftp : NULL, .bootfile = o->bootfile[0] ? o->bootfile : NULL,
    };
    inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c.vhost6);
    inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
    return slirp_new(&c, &callbacks, u);
}

Net *net_user_new(const char *options, char *why, size_t why_size) {
    UserOptions o = {.net = 0x0a000200, .all = options};
    if (!options_parse(&o, why, why_size)) return NULL;
    User *u = back_alloc(sizeof(*u));
    u->net = (Net){.ops = &ops, .mtu = MTU, .link = true};
    pthread_mutex_init(&u->lock, NULL);
    u->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    u->slirp = slirp_make(u, &o);
    errno = 0;
    if (!u->slirp || u->wake < 0) back_fail(why, why_size, "libslirp does not start");
    else if (forwards_add(u, &o, why, why_size)) return &u->net;
    user_drop(&u->net);
    return NULL;
}
