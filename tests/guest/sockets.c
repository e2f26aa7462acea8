/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: pairs, unix and inet ones, options, control messages (descriptors, credentials), many messages at once. */
#include "t.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static void pass_descriptor(void) {
    int sv[2], p[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0 && pipe(p) == 0);
    int on = 1;
    CHECK(setsockopt(sv[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
    char control[CMSG_SPACE(2 * sizeof(int))] = {0}, room[200], text[10];
    struct iovec iov = {"data", 4};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), p, sizeof(p));
    CHECK(sendmsg(sv[0], &m, 0) == 4);
    iov = (struct iovec){text, 10};
    m = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    CHECK(recvmsg(sv[1], &m, MSG_CMSG_CLOEXEC) == 4);
    int got[2] = {-1, -1};
    for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_type == SCM_RIGHTS) {
            memcpy(got, CMSG_DATA(c), sizeof(got));
            printf("rights %zu\n", (size_t)(c->cmsg_len - CMSG_LEN(0)));
        } else if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred u;
            memcpy(&u, CMSG_DATA(c), sizeof(u));
            printf("credentials %d %d\n", u.pid == getpid(), u.uid == getuid());
        }
    }
    CHECK(write(got[1], "z", 1) == 1 && read(p[0], text, 1) == 1 && text[0] == 'z');
    CHECK(fcntl(got[0], F_GETFD) == FD_CLOEXEC);
    struct ucred peer;
    socklen_t len = sizeof(peer);
    CHECK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid());
    /* Too little room: cut off, and said so. */
    m.msg_controllen = sizeof(room);
    CHECK(send(sv[0], "12345678", 8, 0) == 8);
    iov.iov_len = 3;
    CHECK(recvmsg(sv[1], &m, MSG_PEEK) == 3 && recv(sv[1], text, 10, MSG_WAITALL * 0) == 8);
    FAILS(recv(sv[1], text, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(shutdown(sv[0], SHUT_WR) == 0 && recv(sv[1], text, 1, 0) == 0);
    close(sv[1]);
    FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void unix_named(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"}, b;
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(s >= 0 && bind(s, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(s, 5) == 0);
    CHECK(bind(s, (struct sockaddr *)&a, sizeof(a)) == -1);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        CHECK(connect(c, (struct sockaddr *)&a, sizeof(a)) == 0);
        CHECK(send(c, "one", 3, 0) == 3 && send(c, "second", 6, 0) == 6);
        _exit(0);
    }
    socklen_t len = sizeof(b);
    int c = accept4(s, (struct sockaddr *)&b, &len, SOCK_NONBLOCK);
    CHECK(c >= 0 && fcntl(c, F_GETFL) & O_NONBLOCK);
    print_end("client", pid);
    char text[20];
    CHECK(recv(c, text, 20, 0) == 3 && recv(c, text, 2, MSG_TRUNC) == 6);
    len = sizeof(b);
    CHECK(getsockname(s, (struct sockaddr *)&b, &len) == 0);
    printf("name %s len %u\n", b.sun_path, len);
}

static void *client(void *arg) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(s, arg, sizeof(struct sockaddr_in)) == 0);
    char text[4096];
    long total = 0;
    ssize_t n;
    while ((n = recv(s, text, sizeof(text), 0)) > 0) total += n;
    close(s);
    return (void *)total;
}

static void inet(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, peer;
    int s = socket(AF_INET, SOCK_STREAM, 0), on = 1, value;
    socklen_t len = sizeof(a);
    if (s < 0 || bind(s, (struct sockaddr *)&a, len) < 0) return;
    CHECK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    CHECK(listen(s, 5) == 0 && getsockname(s, (struct sockaddr *)&a, &len) == 0 && len == sizeof(a));
    pthread_t t;
    pthread_create(&t, NULL, client, &a);
    int c = accept(s, (struct sockaddr *)&peer, &len);
    CHECK(c >= 0 && peer.sin_family == AF_INET && ntohl(peer.sin_addr.s_addr) == INADDR_LOOPBACK);
    CHECK(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
    len = sizeof(value);
    CHECK(getsockopt(c, SOL_SOCKET, SO_TYPE, &value, &len) == 0 && value == SOCK_STREAM);
    struct timeval tv = {1, 500000}, back = {0};
    CHECK(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    len = sizeof(back);
    CHECK(getsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &back, &len) == 0 && back.tv_sec == 1);
    struct linger l = {1, 3};
    CHECK(setsockopt(c, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
    static char block[100000];
    for (int i = 0; i < 10; i++) CHECK(send(c, block, sizeof(block), 0) == sizeof(block));
    close(c);
    void *total;
    pthread_join(t, &total);
    printf("tcp %ld\n", (long)total);

    int u1 = socket(AF_INET, SOCK_DGRAM, 0), u2 = socket(AF_INET, SOCK_DGRAM, 0);
    a.sin_port = 0;
    len = sizeof(a);
    CHECK(bind(u1, (struct sockaddr *)&a, sizeof(a)) == 0 && getsockname(u1, (struct sockaddr *)&a, &len) == 0);
    struct mmsghdr batch[3];
    struct iovec iov[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
    memset(batch, 0, sizeof(batch));
    for (int i = 0; i < 3; i++) {
        batch[i].msg_hdr = (struct msghdr){.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    CHECK(sendmmsg(u2, batch, 3, 0) == 3);
    printf("sent %u %u %u\n", batch[0].msg_len, batch[1].msg_len, batch[2].msg_len);
    char in[3][8];
    for (int i = 0; i < 3; i++) {
        iov[i] = (struct iovec){in[i], 8};
        batch[i].msg_hdr = (struct msghdr){.msg_name = &peer, .msg_namelen = sizeof(peer), .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    struct timespec wait = {1, 0};
    int n = 0;
    while (n < 3) n += recvmmsg(u1, batch + n, 3 - n, MSG_WAITFORONE, &wait);
    printf("received %u %u %u\n", batch[0].msg_len, batch[1].msg_len, batch[2].msg_len);
    CHECK(sendto(u2, "hi", 2, 0, (struct sockaddr *)&a, sizeof(a)) == 2);
    len = sizeof(peer);
    CHECK(recvfrom(u1, in, 8, 0, (struct sockaddr *)&peer, &len) == 2 && len == sizeof(peer));
    FAILS(sendto(u2, "hi", 2, 0, (struct sockaddr *)8, sizeof(a)), EFAULT);
    FAILS(connect(u2, (struct sockaddr *)&a, 3), EINVAL);
    FAILS(getsockopt(u2, SOL_SOCKET, 9999, &value, &len), ENOPROTOOPT);
    FAILS(socket(AF_INET, 77, 0), EINVAL);
    FAILS(listen(0x7fff, 1), EBADF);
}

int main(void) {
    pass_descriptor();
    unix_named();
    inet();
    puts("done");
    return 0;
}
