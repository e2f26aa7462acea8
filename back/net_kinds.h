/* SPDX-License-Identifier: Apache-2.0 */
/* What net.c and the kinds of nets share. Private to back/net*.c. */
#ifndef BACK_NET_KINDS_H
#define BACK_NET_KINDS_H

#include "back/gate.h"
#include "back/net.h"

typedef struct NetOps {
    bool (*start)(Net *n); /* a user is attached: frames may come. NULL: nothing to do. */
    void (*send)(Net *n, const NetHeader *header, const struct iovec *iov, u32 len);
    void (*offload)(Net *n, bool csum, bool tso4, bool tso6); /* NULL: no NET_OFFLOAD */
    void (*drop)(Net *n);
} NetOps;

struct Net {
    const NetOps *ops;
    NetUser user;
    Gate *gate; /* to enter before `user` is called; NULL: none */
    u32 mtu;
    bool link;
};

/* `options`: what follows the kind. */
Net *net_user_new(const char *options, char *why, size_t why_size);
Net *net_tap_new(const char *options, char *why, size_t why_size);
Net *net_socket_new(const char *options, char *why, size_t why_size);

/* A frame has come; the caller holds no lock. */
void net_receive(Net *n, const NetHeader *header, const struct iovec *iov, u32 len);

/* The frame in one piece in `to` (of NET_FRAME_MAX); its size, 0: too large. */
size_t net_flatten(u8 *to, const struct iovec *iov, u32 len);

#endif
