/* SPDX-License-Identifier: Apache-2.0 */
/* back/vsock: the host's ends of a guest's vsock connections, as Unix sockets.
 *
 * A program of the host that wants port N of the guest connects to PATH, writes "CONNECT N\n", and reads "OK M\n" (M: the host's port) before the guest's
 * bytes. A guest that connects to port N of the host (CID 2) reaches whoever listens at PATH_N. Descriptors do not block. */
#ifndef BACK_VSOCK_H
#define BACK_VSOCK_H

#include "base/base.h"

/* Listens at PATH; what was there is removed. -1: why. */
int vsock_listen(const char *path, char *why, size_t why_size);
/* Who connected: a descriptor, -1: nobody. */
int vsock_accept(int listener);
/* Connects to PATH_port; -1: nobody listens there. */
int vsock_dial(const char *path, u32 port);

#endif
