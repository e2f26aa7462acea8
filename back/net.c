/* SPDX-License-Identifier: Apache-2.0 */
/* Nets by name: back/net.h. */
#include "back/net_kinds.h"

static void none_send(Net *n, const NetHeader *header, const struct iovec *iov, u32 len) {}
static void none_drop(Net *n) { free(n); }
static const NetOps none_ops = {NULL, none_send, NULL, none_drop};

static Net *none_new(void) {
    Net *n = back_alloc(sizeof(*n));
    *n = (Net){.ops = &none_ops, .mtu = 1500};
    return n;
}

Net *net_new(const char *spec, char *why, size_t why_size) {
    char kind[32], value[8];
    const char *rest = spec;
    if (!back_option(&rest, kind, value, sizeof(kind))) kind[0] = 0;
    if (!strcmp(kind, "user")) return net_user_new(rest, why, why_size);
    if (!strcmp(kind, "tap")) return net_tap_new(rest, why, why_size);
    if (!strcmp(kind, "socket")) return net_socket_new(rest, why, why_size);
    if (!strcmp(kind, "none")) return none_new();
    back_fail(why, why_size, "%s: no such kind of net (user, tap, socket, none)", kind);
    return NULL;
}

void net_drop(Net *n) {
    if (n) n->ops->drop(n);
}

void net_set_gate(Net *n, Gate *gate) { n->gate = gate; }

void net_attach(Net *n, const NetUser *user) {
    n->user = *user;
    if (n->ops->start && !n->ops->start(n)) BUG("no thread for a net");
}

void net_send(Net *n, const NetHeader *header, const struct iovec *iov, u32 len) { n->ops->send(n, header, iov, len); }
u32 net_features(const Net *n) { return n->ops->offload ? NET_OFFLOAD : 0; }
void net_offload_set(Net *n, bool csum, bool tso4, bool tso6) {
    if (n->ops->offload) n->ops->offload(n, csum, tso4, tso6);
}
u32 net_mtu(const Net *n) { return n->mtu; }
bool net_link(const Net *n) { return n->link; }

void net_receive(Net *n, const NetHeader *header, const struct iovec *iov, u32 len) {
    gate_enter(n->gate);
    n->user.received(n->user.ctx, header, iov, len);
    gate_leave(n->gate);
}

size_t net_flatten(u8 *to, const struct iovec *iov, u32 len) {
    size_t size = 0;
    for (u32 i = 0; i < len; i++) {
        if (iov[i].iov_len > NET_FRAME_MAX - size) return 0;
        memcpy(to + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    return size;
}
