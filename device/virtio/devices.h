/* SPDX-License-Identifier: Apache-2.0 */
/* device/virtio/devices: the virtio devices. NAME_new makes one with its threads, NAME_virtio is what a transport takes, NAME_drop ends
 * it: after the transport's last access, before the memory goes. Back ends are the caller's, and outlive the device. */
#ifndef DEVICE_VIRTIO_DEVICES_H
#define DEVICE_VIRTIO_DEVICES_H

#include "back/block.h"
#include "back/console.h"
#include "back/net.h"
#include "back/share.h"
#include "device/virtio/virtio.h"

/* --- disks [virtio 5.2] --- */
typedef struct VirtioBlk VirtioBlk;
/* serial: up to 20 characters, or NULL. */
VirtioBlk *virtio_blk_new(Physical *memory, Block *block, u32 queues, const char *serial);
Virtio *virtio_blk_virtio(VirtioBlk *d);
void virtio_blk_drop(VirtioBlk *d);

/* --- network cards [virtio 5.1] --- */
typedef struct VirtioNet VirtioNet;
/* Attaches itself to the net. */
VirtioNet *virtio_net_new(Physical *memory, Net *net, const u8 mac[6]);
Virtio *virtio_net_virtio(VirtioNet *d);
/* After net_drop: then nobody sends to it. */
void virtio_net_drop(VirtioNet *d);

/* --- a console with one port [virtio 5.3] --- */
typedef struct VirtioConsole VirtioConsole;
VirtioConsole *virtio_console_new(Physical *memory, Console *console);
Virtio *virtio_console_virtio(VirtioConsole *d);
/* After console_drop, likewise. */
void virtio_console_drop(VirtioConsole *d);

/* --- random numbers [virtio 5.4] --- */
typedef struct VirtioRng VirtioRng;
VirtioRng *virtio_rng_new(Physical *memory);
Virtio *virtio_rng_virtio(VirtioRng *d);
void virtio_rng_drop(VirtioRng *d);

/* --- a folder of the host, by 9P2000.L; tag: its name, at most 64 characters --- */
typedef struct Virtio9p Virtio9p;
Virtio9p *virtio_9p_new(Physical *memory, Share *share, const char *tag);
Virtio *virtio_9p_virtio(Virtio9p *d);
void virtio_9p_drop(Virtio9p *d);

/* --- memory that the guest gives back [virtio 5.5] --- */
typedef struct VirtioBalloon VirtioBalloon;
VirtioBalloon *virtio_balloon_new(Physical *memory);
Virtio *virtio_balloon_virtio(VirtioBalloon *d);
/* Asks the guest to give up so many bytes. / What it has given up. */
void virtio_balloon_want(VirtioBalloon *d, u64 size);
u64 virtio_balloon_size(VirtioBalloon *d);
void virtio_balloon_drop(VirtioBalloon *d);

/* --- stream connections between guest and host [virtio 5.10]; path: back/vsock.h --- */
typedef struct VirtioVsock VirtioVsock;
/* NULL: why. */
VirtioVsock *virtio_vsock_new(Physical *memory, u32 cid, const char *path, char *why, size_t why_size);
Virtio *virtio_vsock_virtio(VirtioVsock *d);
void virtio_vsock_drop(VirtioVsock *d);

/* --- what stands for another device when a machine is replayed: puppet.c --- */
typedef struct VirtioLook { /* all that a driver sees of a device beside its queues */
    char name[16];
    u32 id, class, queues, queue_size, config_size;
    u64 offered;
    u8 config[VIRTIO_CONFIG_MAX];
} VirtioLook;
void virtio_look(const Virtio *v, VirtioLook *out);
void virtio_look_state(VirtioLook *l, State *s);

typedef struct VirtioPuppetUser {
    void *ctx;
    void (*notified)(void *ctx); /* the driver has kicked a queue: what did the device do then? On the hart's thread. */
} VirtioPuppetUser;
typedef struct VirtioPuppet VirtioPuppet;
/* The look outlives it. */
VirtioPuppet *virtio_puppet_new(Physical *memory, const VirtioLook *look, const VirtioPuppetUser *user);
Virtio *virtio_puppet_virtio(VirtioPuppet *p);
/* Does what the log says; data: what was put into the chain given back. False: that cannot be what the device did. */
bool virtio_puppet_do(VirtioPuppet *p, VirtOp op, u32 queue, u32 number, u32 written, const u8 *data, u32 size);
void virtio_puppet_drop(VirtioPuppet *p);

#endif
