/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of other families, every kind of control message, libaio: structures that both ABIs share. */
#include "t.h"
#include <linux/aio_abi.h>
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SCM_PIDFD 4
#endif

static void netlink(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    CHECK(fd >= 0);
    struct {
        struct nlmsghdr h;
        struct ifinfomsg m;
    } ask = {.h = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 7}};
    CHECK(send(fd, &ask, sizeof ask, 0) == sizeof ask);
    static char buf[65536];
    bool lo = false, done = false;
    while (!done) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        CHECK(n > 0);
        unsigned left = (unsigned)n;
        for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            CHECK(h->nlmsg_seq == 7);
            done |= h->nlmsg_type == NLMSG_DONE;
            struct ifinfomsg *m = NLMSG_DATA(h);
            lo |= h->nlmsg_type == RTM_NEWLINK && (m->ifi_flags & IFF_LOOPBACK) && m->ifi_index == 1;
        }
    }
    printf("loopback by netlink %d\n", lo);
    struct ifreq r = {.ifr_name = "lo"};
    CHECK(ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCGIFFLAGS, &r) == 0);
    printf("by ioctl %d\n", !!(r.ifr_flags & IFF_LOOPBACK));
    close(fd);
}

static void crypto(void) {
    struct sockaddr_alg a = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
    int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);
    if (fd < 0 || bind(fd, (void *)&a, sizeof a) < 0) {
        printf("no AF_ALG: %d\n", errno);
        return;
    }
    int op = accept(fd, NULL, NULL);
    unsigned char digest[32];
    CHECK(op >= 0 && send(op, "abc", 3, 0) == 3 && read(op, digest, 32) == 32);
    printf("sha256 %02x%02x..%02x\n", digest[0], digest[1], digest[31]);
}

static void packets(void) {
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    printf("packet socket: %s\n", fd >= 0 ? "yes" : errno == EPERM ? "not permitted" : "no");
}

static void control_messages(void) {
    int s[2], one = 1;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
    CHECK(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) == 0);
    bool pidfds = setsockopt(s[0], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof one) == 0;
    CHECK(setsockopt(s[0], SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) == 0);
    char c = 'x', control[512];
    int fds[3] = {0, 1, 2};
    struct iovec io = {&c, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof fds)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fds)};
    memcpy(CMSG_DATA(h), fds, sizeof fds);
    CHECK(sendmsg(s[1], &m, 0) == 1);
    m.msg_controllen = sizeof control;
    CHECK(recvmsg(s[0], &m, MSG_CMSG_CLOEXEC) == 1);
    bool rights = false, credentials = false, stamp = false, pidfd = false;
    for (h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        if (h->cmsg_type == SCM_RIGHTS) {
            memcpy(fds, CMSG_DATA(h), sizeof fds);
            rights = fcntl(fds[2], F_GETFD) == FD_CLOEXEC;
        }
        if (h->cmsg_type == SCM_CREDENTIALS) credentials = ((struct ucred *)CMSG_DATA(h))->pid == getpid();
        if (h->cmsg_type == SCM_TIMESTAMPNS) stamp = ((struct timespec *)CMSG_DATA(h))->tv_sec > 1000000;
        if (h->cmsg_type == SCM_PIDFD) pidfd = syscall(SYS_pidfd_send_signal, *(int *)CMSG_DATA(h), 0, NULL, 0) == 0;
    }
    printf("rights %d credentials %d stamp %d pidfd %d, flags %#x\n", rights, credentials, stamp, pidfd == pidfds, m.msg_flags);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(u, (void *)&a, size) == 0 && getsockname(u, (void *)&a, &size) == 0);
    CHECK(setsockopt(u, IPPROTO_IP, IP_PKTINFO, &one, sizeof one) == 0 && setsockopt(u, IPPROTO_IP, IP_RECVTTL, &one, sizeof one) == 0);
    CHECK(sendto(u, "y", 1, 0, (void *)&a, size) == 1);
    m.msg_controllen = sizeof control;
    CHECK(recvmsg(u, &m, 0) == 1);
    for (h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
        if (h->cmsg_level == IPPROTO_IP) printf("ip message %d of %ld bytes\n", h->cmsg_type, (long)h->cmsg_len);
}

static void aio(void) {
    aio_context_t ctx = 0;
    char out[16] = "written by aio", in[16] = "";
    int fd = memfd_create("aio", 0);
    CHECK(syscall(SYS_io_setup, 8, &ctx) == 0);
    struct iocb w = {.aio_data = 1, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)fd, .aio_buf = (unsigned long)out, .aio_nbytes = sizeof out};
    struct iocb r = {.aio_data = 2, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)fd, .aio_buf = (unsigned long)in, .aio_nbytes = sizeof in};
    struct iocb *list[] = {&w, &r};
    struct io_event e[2];
    CHECK(syscall(SYS_io_submit, ctx, 1, &list[0]) == 1 && syscall(SYS_io_getevents, ctx, 1, 1, e, NULL) == 1);
    CHECK(syscall(SYS_io_submit, ctx, 1, &list[1]) == 1 && syscall(SYS_io_getevents, ctx, 1, 1, e + 1, NULL) == 1);
    printf("aio %ld %ld, %ld %ld: %s\n", (long)e[0].data, (long)e[0].res, (long)e[1].data, (long)e[1].res, in);
    FAILS(syscall(SYS_io_submit, ctx, 1, 8), EFAULT);
    CHECK(syscall(SYS_io_destroy, ctx) == 0);
    FAILS(syscall(SYS_io_getevents, ctx, 1, 1, e, NULL), EINVAL);
}

int main(void) {
    netlink();
    crypto();
    packets();
    control_messages();
    aio();
    return 0;
}
