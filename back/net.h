/* SPDX-License-Identifier: Apache-2.0 */
/* back/net: networks at the host's side: Ethernet frames in and out.
 *
 * Kinds, as the user names them:
 *   user[,hostfwd=tcp:[ADDRESS]:PORT-[GUEST]:PORT]...[,restrict][,net=10.0.2.0][,ipv6=off][,tftp=FOLDER][,bootfile=NAME]   the host's network by libslirp, without privileges
 *   tap[,ifname=NAME]         an interface of the host
 *   socket,listen=PATH | socket,connect=PATH   frames over a Unix socket to one other machine, each led by its length (32 bits, big-endian)
 *   none                      a card whose cable is not plugged in
 *
 * Frames may carry a virtio_net_hdr's wishes for offloading (NetHeader); net_features tells what the back end can do. A thread of
 * the back end's own delivers frames to the user.
 */
#ifndef BACK_NET_H
#define BACK_NET_H

#include "base/base.h"
#include <stddef.h>
#include <sys/uio.h>

typedef struct Net Net;

/* As in virtio and in Linux's tap: [virtio 5.1.6]. */
typedef struct NetHeader {
    u8 flags, gso_type;
    u16 header_size, gso_size, csum_start, csum_offset;
    u16 buffers; /* of virtio only */
} NetHeader;
enum { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2 };

enum { NET_FRAME_MAX = 65550 + 18 };
/* Sending: takes frames with NET_NEEDS_CSUM, and larger than the MTU with gso_type set; receiving: gives such ones. */
enum { NET_OFFLOAD = 1 };

typedef struct NetUser {
    void *ctx;
    /* A frame from outside; any thread of the back end's, one at a time. Checksums are good unless the header says otherwise. */
    void (*received)(void *ctx, const NetHeader *header, const struct iovec *iov, u32 len);
} NetUser;

/* NULL: `why` says why. */
Net *net_new(const char *spec, char *why, size_t why_size);
/* Ends the thread: no more frames come after it. */
void net_drop(Net *n);
/* Before net_attach: back/gate.h. */
typedef struct Gate Gate;
void net_set_gate(Net *n, Gate *gate);
/* Once. */
void net_attach(Net *n, const NetUser *user);
/* Any thread; may lose the frame. Without NET_OFFLOAD the header is ignored. */
void net_send(Net *n, const NetHeader *header, const struct iovec *iov, u32 len);
u32 net_features(const Net *n);
/* Whether the user wants, and the driver takes, such frames as NET_OFFLOAD is about. `csum`, `tso`: what it takes. */
void net_offload_set(Net *n, bool csum, bool tso4, bool tso6);
/* Of the payload of frames, in bytes; and whether the cable is plugged in. */
u32 net_mtu(const Net *n);
bool net_link(const Net *n);

#endif
