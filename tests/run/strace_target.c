/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of every kind, for the test of what -strace prints. */
#include <fcntl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void messages(int from, int to) {
    char control[128], buf[20];
    int fds[2] = {0, 1};
    struct iovec io = {"hello", 5};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof fds)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fds)};
    memcpy(CMSG_DATA(h), fds, sizeof fds);
    sendmsg(from, &m, 0);
    io = (struct iovec){buf, sizeof buf};
    m.msg_controllen = sizeof control;
    recvmsg(to, &m, 0);
}

int main(void) {
    int s[2], one = 1;
    socklen_t size = sizeof one;
    struct timeval tv = {3, 5};
    struct linger linger = {1, 7};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 5, .l_len = 10};
    socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
    setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(s[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    getsockopt(s[0], SOL_SOCKET, SO_TYPE, &one, &size);
    int t = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(t, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(t, 250, 7, &one, sizeof one);
    messages(s[1], s[0]);
    fcntl(t, F_GETFL);
    fcntl(t, F_SETFD, FD_CLOEXEC);
    fcntl(t, F_SETFL, O_NONBLOCK | O_RDWR);
    fcntl(t, F_SETLK, &lock);
    ioctl(t, FIONBIO, &one);
    ioctl(t, 0xdead, 5);
    ioctl(t, FIOCLEX);
    prctl(PR_SET_NAME, "name");
    prctl(PR_SET_PDEATHSIG, 9);
    prctl(PR_GET_DUMPABLE);
    prctl(9999, 1, 2, 3, 4);
}
