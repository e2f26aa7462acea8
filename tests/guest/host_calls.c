/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's kernel does by itself, once it gets the call as it is: what it says to the guest is what it says on the host, be
 * that a refusal. */
#include "t.h"
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/fanotify.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/keyctl.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

enum { PAGE = 4096, CACHESTAT = 451 };
static int bad(long r) { return r < 0 ? errno : 0; }

static void cached_pages(void) {
    struct { uint64_t off, len; } range = {0, 3 * PAGE};
    struct { uint64_t cached, dirty, writeback, evicted, recently; } stat = {0};
    char page[PAGE] = "x";
    int fd = memfd_create("pages", 0);
    CHECK(fd >= 0 && write(fd, page, PAGE) == PAGE && pwrite(fd, page, PAGE, 2 * PAGE) == PAGE);
    long r = syscall(CACHESTAT, fd, &range, &stat, 0);
    printf("cachestat %d, cached %ld\n", bad(r), (long)stat.cached);
    FAILS(syscall(CACHESTAT, fd, &range, &stat, 1), EINVAL);
    FAILS(syscall(CACHESTAT, -1, &range, &stat, 0), EBADF);
    close(fd);
}

static void keys(void) {
    char text[64] = "";
    long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    printf("session keyring %d\n", bad(ring));
    if (ring < 0) return;
    long key = syscall(SYS_add_key, "user", "a name", "secret", 6, KEY_SPEC_SESSION_KEYRING);
    printf("key %d\n", bad(key));
    if (key < 0) return;
    CHECK(syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "a name", 0) == key);
    CHECK(syscall(SYS_request_key, "user", "a name", NULL, 0) == key);
    printf("read %ld", syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text));
    printf(" %s\n", text);
    CHECK(syscall(SYS_keyctl, KEYCTL_REVOKE, key) == 0);
    printf("revoked %d\n", bad(syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof text)));
}

static int faults;
static void *filler(void *arg) { /* gives a page its content when it is touched */
    char page[PAGE];
    struct uffd_msg msg;
    struct pollfd p = {.fd = faults, .events = POLLIN};
    CHECK(poll(&p, 1, 10000) == 1 && read(faults, &msg, sizeof msg) == sizeof msg && msg.event == UFFD_EVENT_PAGEFAULT);
    memset(page, 'f', sizeof page);
    struct uffdio_copy copy = {.dst = msg.arg.pagefault.address & -(uint64_t)PAGE, .src = (uint64_t)page, .len = PAGE};
    CHECK(ioctl(faults, UFFDIO_COPY, &copy) == 0);
    return NULL;
}

static void user_faults(void) {
    struct uffdio_api api = {.api = UFFD_API};
    faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
    printf("userfaultfd %d\n", bad(faults));
    if (faults < 0) return;
    CHECK(ioctl(faults, UFFDIO_API, &api) == 0);
    char *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register r = {.range = {.start = (uint64_t)at, .len = 2 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    CHECK(at != MAP_FAILED && ioctl(faults, UFFDIO_REGISTER, &r) == 0);
    pthread_t t;
    pthread_create(&t, NULL, filler, NULL);
    printf("filled with %c\n", at[PAGE + 5]);
    pthread_join(t, NULL);
    close(faults);
}

static void watching(void) {
    char name[64], buf[PAGE] __attribute__((aligned(8)));
    int fan = (int)syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
    printf("fanotify %d\n", bad(fan));
    if (fan < 0) return;
    snprintf(name, sizeof name, "watched.%d", getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK(syscall(SYS_fanotify_mark, fan, FAN_MARK_ADD, (uint64_t)(FAN_MODIFY | FAN_CLOSE_WRITE), AT_FDCWD, name) == 0);
    CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
    long n = read(fan, buf, sizeof buf);
    struct fanotify_event_metadata *m = (void *)buf;
    CHECK(n >= (long)sizeof *m);
    printf("event %llx of ourselves %d\n", (unsigned long long)m->mask, m->pid == getpid());
    close(m->fd);
    close(fan);
    unlink(name);
}

static void programs(void) {
    union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 2};
    int map = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a);
    printf("bpf %d\n", bad(map));
    if (map < 0) return;
    uint32_t key = 1;
    uint64_t value = 77, got = 0;
    a = (union bpf_attr){.map_fd = (uint32_t)map, .key = (uint64_t)&key, .value = (uint64_t)&value};
    printf("update %d", bad(syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &a, sizeof a)));
    a.value = (uint64_t)&got;
    long r = syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &a, sizeof a);
    printf(", look-up %d: %ld\n", bad(r), (long)got);
}

static void devices(void) {
    struct ethtool_value link = {.cmd = ETHTOOL_GLINK};
    struct ifreq r = {.ifr_name = "lo", .ifr_data = (void *)&link};
    int s = socket(AF_INET, SOCK_DGRAM, 0), tun = open("/dev/net/tun", O_RDWR);
    long known = ioctl(s, SIOCETHTOOL, &r);
    printf("ethtool %d link %d\n", bad(known), link.data);
    struct ifreq t = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    if (tun >= 0) printf("tun %d\n", bad(ioctl(tun, TUNSETIFF, &t)));
    if (tun >= 0) printf("features %d\n", bad(ioctl(tun, TUNGETFEATURES, &(unsigned){0})));
    close(s);
}

static uint32_t word;
static void *contender(void *arg) {
    long r = syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    CHECK(r == 0 && (word & FUTEX_TID_MASK) == (uint32_t)syscall(SYS_gettid));
    FAILS(syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), EDEADLK);
    CHECK(syscall(SYS_futex, &word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
    return NULL;
}

static void inheritance(void) {
    pthread_t t;
    pthread_mutexattr_t a;
    pthread_mutex_t m;
    word = (uint32_t)syscall(SYS_gettid);
    pthread_create(&t, NULL, contender, NULL);
    while (!(__atomic_load_n(&word, __ATOMIC_SEQ_CST) & FUTEX_WAITERS)) sched_yield();
    CHECK(syscall(SYS_futex, &word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
    pthread_join(t, NULL);
    pthread_mutexattr_init(&a);
    CHECK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT) == 0 && pthread_mutex_init(&m, &a) == 0);
    CHECK(pthread_mutex_lock(&m) == 0 && pthread_mutex_unlock(&m) == 0);
    printf("priority inheritance %d\n", word);
}

static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return good;
}

/* Another root, made of nothing, and back to the old one's mount namespace. */
static void roots(void) {
    int old = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    CHECK(old >= 0);
    char users[64], groups[64];
    snprintf(users, sizeof users, "0 %d 1", getuid());
    snprintf(groups, sizeof groups, "0 %d 1", getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || !put("/proc/self/setgroups", "deny") || !put("/proc/self/uid_map", users) || !put("/proc/self/gid_map", groups)) {
        printf("no namespaces here\n");
        return;
    }
    CHECK(mount("none", "/tmp", "tmpfs", 0, NULL) == 0 && mkdir("/tmp/old", 0700) == 0);
    CHECK(chdir("/tmp") == 0 && syscall(SYS_pivot_root, ".", "old") == 0 && chdir("/") == 0);
    printf("a new root: %d", access("/old/proc/self", F_OK));
    printf(" %d\n", bad(access("/proc", F_OK)));
    CHECK(umount2("/old", MNT_DETACH) == 0);
    printf("on its own: %d\n", bad(access("/old/proc", F_OK)));
    printf("back: %d\n", bad(setns(old, CLONE_NEWNS))); /* it belongs to a user namespace above */
}

int main(void) {
    cached_pages();
    keys();
    user_faults();
    watching();
    programs();
    devices();
    inheritance();
    in_child("roots", roots);
    /* glibc may have registered an area; ours is no area at all. */
    long r = syscall(SYS_rseq, (void *)1, 32, 0, 0);
    printf("rseq refused %d\n", r == -1 && (errno == ENOSYS || errno == EINVAL || errno == EBUSY || errno == EPERM));
}
