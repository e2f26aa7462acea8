/* SPDX-License-Identifier: Apache-2.0 */
/* An interface of the host. The kernel understands virtio's headers, so checksums and segments are left to whoever does them cheapest. */
#include "back/net_kinds.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HEADER_SIZE = 12, PARTS_MAX = 64 };

typedef struct Tap {
    Net net;
    int fd, stop;
    bool started;
    pthread_t thread;
    u8 frame[NET_FRAME_MAX];
} Tap;

static void *tap_run(void *arg) {
    Tap *t = arg;
    for (;;) {
        NetHeader header;
        struct iovec iov[2] = {{&header, HEADER_SIZE}, {t->frame, sizeof(t->frame)}};
        struct pollfd fds[2] = {{.fd = t->stop, .events = POLLIN}, {.fd = t->fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
        if (fds[0].revents) break;
        ssize_t n = readv(t->fd, iov, 2);
        if (n > HEADER_SIZE) net_receive(&t->net, &header, &(struct iovec){t->frame, (size_t)n - HEADER_SIZE}, 1);
        else if (n < 0 && errno != EAGAIN && errno != EINTR) break;
    }
    return NULL;
}

static bool tap_start(Net *n) {
    Tap *t = (Tap *)n;
    return t->started = back_thread(&t->thread, tap_run, t);
}

/* A full queue of the interface loses the frame, as a wire would. */
static void tap_send(Net *n, const NetHeader *header, const struct iovec *iov, u32 len) {
    Tap *t = (Tap *)n;
    struct iovec all[1 + PARTS_MAX] = {{(void *)header, HEADER_SIZE}};
    u8 *flat = NULL;
    if (len <= PARTS_MAX) {
        memcpy(all + 1, iov, len * sizeof(*iov));
    } else {
        flat = back_alloc(NET_FRAME_MAX);
        all[1] = (struct iovec){flat, net_flatten(flat, iov, len)};
        len = 1;
    }
    if (writev(t->fd, all, (int)len + 1) < 0) errno = 0;
    free(flat);
}

static void tap_offload(Net *n, bool csum, bool tso4, bool tso6) {
    unsigned flags = (csum ? TUN_F_CSUM : 0) | (csum && tso4 ? TUN_F_TSO4 : 0) | (csum && tso6 ? TUN_F_TSO6 : 0);
    if (ioctl(((Tap *)n)->fd, TUNSETOFFLOAD, flags) < 0) errno = 0; /* the kernel then does it all itself */
}

static void tap_drop(Net *n) {
    Tap *t = (Tap *)n;
    u64 one = 1;
    if (t->started && write(t->stop, &one, sizeof(one)) == sizeof(one)) pthread_join(t->thread, NULL);
    if (t->fd >= 0) close(t->fd);
    if (t->stop >= 0) close(t->stop);
    free(t);
}

static const NetOps ops = {tap_start, tap_send, tap_offload, tap_drop};

static bool tap_open(Tap *t, const char *options, char *why, size_t why_size) {
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    char key[64], value[64];
    int size = HEADER_SIZE;
    while (back_option(&options, key, value, sizeof(key))) {
        if (strcmp(key, "ifname") || strlen(value) >= sizeof(r.ifr_name))
            return back_fail(why, why_size, "%s=%s: no such option of a tap net (ifname)", key, value);
        strcpy(r.ifr_name, value);
    }
    t->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (t->fd < 0) return back_fail(why, why_size, "/dev/net/tun: %s", strerror(errno));
    if (ioctl(t->fd, TUNSETIFF, &r) < 0 || ioctl(t->fd, TUNSETVNETHDRSZ, &size) < 0)
        return back_fail(why, why_size, "tap %s: %s", r.ifr_name, strerror(errno));
    return true;
}

Net *net_tap_new(const char *options, char *why, size_t why_size) {
    Tap *t = back_alloc(sizeof(*t));
    t->net = (Net){.ops = &ops, .mtu = 1500, .link = true};
    t->fd = -1;
    t->stop = eventfd(0, EFD_CLOEXEC);
    if (tap_open(t, options, why, why_size)) return &t->net;
    tap_drop(&t->net);
    return NULL;
}
