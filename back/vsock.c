/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets for vsock: back/vsock.h. */
#include "back/vsock.h"
#include "back/back.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int socket_new(void) { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

int vsock_listen(const char *path, char *why, size_t why_size) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) + 12 >= sizeof(at.sun_path)) return back_fail(why, why_size, "%s: too long a name for a socket", path), -1;
    strcpy(at.sun_path, path);
    unlink(path);
    int fd = socket_new();
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 64)) return fd;
    back_fail(why, why_size, "%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

int vsock_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int vsock_dial(const char *path, u32 port) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket_new();
    snprintf(at.sun_path, sizeof(at.sun_path), "%s_%u", path, port);
    if (fd >= 0 && !connect(fd, (struct sockaddr *)&at, sizeof(at))) return fd;
    if (fd >= 0) close(fd);
    return -1;
}
