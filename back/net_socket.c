/* SPDX-License-Identifier: Apache-2.0 */
/* A cable to one other machine: frames over a stream socket, each led by its length in 32 bits, big-endian. Who listens waits for another
 * peer when one is gone; who connects tries once, at the start. */
#include "back/net_kinds.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Cable {
    Net net;
    int listener, peer, stop;
    bool started;
    char path[108]; /* to be removed at the end, or "" */
    pthread_t thread;
    pthread_mutex_t lock; /* of sending, and of `peer` for that */
    u8 in[4 + NET_FRAME_MAX], out[4 + NET_FRAME_MAX];
    size_t have;
} Cable;

static void peer_set(Cable *c, int fd) {
    pthread_mutex_lock(&c->lock);
    if (c->peer >= 0) close(c->peer);
    c->peer = fd;
    c->have = 0;
    pthread_mutex_unlock(&c->lock);
}

/* Hands on the frames that are whole. False: a length that no frame has. */
static bool frames_take(Cable *c) {
    size_t at = 0;
    while (c->have - at >= 4) {
        u32 size;
        memcpy(&size, c->in + at, 4);
        size = __builtin_bswap32(size);
        if (!size || size > NET_FRAME_MAX) return false;
        if (c->have - at - 4 < size) break;
        net_receive(&c->net, &(NetHeader){0}, &(struct iovec){c->in + at + 4, size}, 1);
        at += 4 + size;
    }
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    return true;
}

static void peer_read(Cable *c) {
    ssize_t n = recv(c->peer, c->in + c->have, sizeof(c->in) - c->have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    c->have += n > 0 ? (size_t)n : 0;
    if (n <= 0 || !frames_take(c)) peer_set(c, -1);
}

static void *cable_run(void *arg) {
    Cable *c = arg;
    for (;;) {
        bool listening = c->peer < 0;
        struct pollfd fds[2] = {{.fd = c->stop, .events = POLLIN}, {.fd = listening ? c->listener : c->peer, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
        if (fds[0].revents) break;
        if (!fds[1].revents) continue;
        if (listening) peer_set(c, accept4(c->listener, NULL, NULL, SOCK_CLOEXEC));
        else peer_read(c);
    }
    return NULL;
}

static bool cable_start(Net *n) {
    Cable *c = (Cable *)n;
    return c->started = back_thread(&c->thread, cable_run, c);
}

/* A frame goes as a whole or not at all: a peer that does not read loses frames, and one that takes half of one is waited for. */
static void cable_send(Net *n, const NetHeader *header, const struct iovec *iov, u32 len) {
    Cable *c = (Cable *)n;
    pthread_mutex_lock(&c->lock);
    size_t size = net_flatten(c->out + 4, iov, len), done = 0;
    u32 big = __builtin_bswap32((u32)size);
    memcpy(c->out, &big, 4);
    while (c->peer >= 0 && size && done < size + 4) {
        ssize_t put = send(c->peer, c->out + done, size + 4 - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) done += (size_t)put;
        else if (errno == EAGAIN && done && poll(&(struct pollfd){.fd = c->peer, .events = POLLOUT}, 1, 1000) > 0) continue;
        else if (errno == EAGAIN && done) shutdown(c->peer, SHUT_RDWR); /* the reader sees it, and drops the peer */
        if (put <= 0) break;
    }
    pthread_mutex_unlock(&c->lock);
}

static void cable_drop(Net *n) {
    Cable *c = (Cable *)n;
    u64 one = 1;
    if (c->started && write(c->stop, &one, sizeof(one)) == sizeof(one)) pthread_join(c->thread, NULL);
    if (c->path[0]) unlink(c->path);
    if (c->listener >= 0) close(c->listener);
    if (c->peer >= 0) close(c->peer);
    if (c->stop >= 0) close(c->stop);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static const NetOps ops = {cable_start, cable_send, NULL, cable_drop};

static bool cable_open(Cable *c, const char *options, char *why, size_t why_size) {
    char key[128], value[128];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    bool listens = back_option(&options, key, value, sizeof(key)) && !strcmp(key, "listen");
    if ((!listens && strcmp(key, "connect")) || strlen(value) >= sizeof(at.sun_path)) return back_fail(why, why_size, "a socket net is listen=PATH or connect=PATH");
    strcpy(at.sun_path, value);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *(listens ? &c->listener : &c->peer) = fd;
    if (listens) unlink(value);
    bool ok = fd >= 0 && !(listens ? bind : connect)(fd, (struct sockaddr *)&at, sizeof(at)) && (!listens || !listen(fd, 1));
    if (!ok) return back_fail(why, why_size, "%s: %s", value, strerror(errno));
    if (listens) strcpy(c->path, value);
    return true;
}

Net *net_socket_new(const char *options, char *why, size_t why_size) {
    Cable *c = back_alloc(sizeof(*c));
    c->net = (Net){.ops = &ops, .mtu = 1500, .link = true};
    c->listener = c->peer = -1;
    c->stop = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&c->lock, NULL);
    if (cable_open(c, options, why, why_size)) return &c->net;
    cable_drop(&c->net);
    return NULL;
}
