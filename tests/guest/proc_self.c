/* SPDX-License-Identifier: Apache-2.0 */
/* /proc shows the guest: its program, its arguments, its maps, its auxiliary vector, its threads' names. */
//: args: first "second one" third
#include "t.h"
#include <dirent.h>
#include <elf.h>
#include <sys/ioctl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

static char buffer[1 << 20];

static ssize_t slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = 0, r;
    while ((r = read(fd, buffer + n, sizeof(buffer) - 1 - n)) > 0) n += r;
    CHECK(r == 0);
    buffer[n] = 0;
    close(fd);
    return n;
}

static int variable = 5;

/* The line of maps that holds an address: its permissions, "" if none. */
static const char *maps_find(const void *p, char *name, bool *ordered) {
    static char perms[8];
    unsigned long last = 0;
    perms[0] = name[0] = 0;
    slurp("/proc/self/maps");
    for (char *line = strtok(buffer, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long from, to, offset, inode;
        char r[8], file[4096] = "";
        unsigned major, minor;
        int n = sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %4095[^\n]", &from, &to, r, &offset, &major, &minor, &inode, file);
        CHECK(n >= 7 && from < to && (from & 4095) == 0 && (to & 4095) == 0);
        *ordered &= from >= last;
        last = to;
        if ((unsigned long)p >= from && (unsigned long)p < to) strcpy(perms, r), strcpy(name, file);
    }
    return perms;
}

static void *thread(void *arg) {
    char path[100];
    prctl(PR_SET_NAME, "worker");
    slurp("/proc/thread-self/comm");
    printf("thread comm %s", buffer);
    snprintf(path, sizeof(path), "/proc/self/task/%ld/comm", syscall(SYS_gettid));
    slurp(path);
    printf("task comm %s", buffer);
    return NULL;
}

struct query { /* struct procmap_query, Linux 6.11 */
    uint64_t size, flags, addr, start, end, vma_flags, page_size, offset, inode;
    uint32_t major, minor, name_size, build_id_size;
    uint64_t name_at, build_id_at;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct query)

/* Every line of maps again, by the ioctl. */
static void query_maps(void) {
    static char copy[sizeof buffer];
    int fd = open("/proc/self/maps", O_RDONLY), lines = 0;
    char name[4096];
    struct query q = {.size = sizeof q, .addr = (unsigned long)copy};
    if (ioctl(fd, PROCMAP_QUERY, &q) < 0 && errno == ENOTTY) {
        printf("no such query here\n");
        return;
    }
    slurp("/proc/self/maps");
    strcpy(copy, buffer);
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long start, end, offset, inode;
        char prot[5], path[4096] = "";
        CHECK(sscanf(line, "%lx-%lx %4s %lx %*s %lu %4095s", &start, &end, prot, &offset, &inode, path) >= 5);
        if (strstr(path, "[vvar") || strstr(path, "[vsyscall")) continue;
        q = (struct query){.size = sizeof q, .addr = start + (end - start) / 2, .name_at = (unsigned long)name, .name_size = sizeof name};
        CHECK(ioctl(fd, PROCMAP_QUERY, &q) == 0);
        unsigned long flags = (prot[0] == 'r') | (prot[1] == 'w') << 1 | (prot[2] == 'x') << 2 | (prot[3] == 's') << 3;
        CHECK(q.start == start && q.end == end && q.vma_flags == flags && q.inode == inode && (!inode || q.offset == offset));
        CHECK(q.name_size ? !strncmp(name, path, strcspn(path, " ")) : !path[0]);
        lines++;
    }
    q = (struct query){.size = sizeof q, .addr = 8, .flags = 16 | 4 /* the next one that is executable */};
    CHECK(ioctl(fd, PROCMAP_QUERY, &q) == 0 && (q.vma_flags & 4) && q.start > 8);
    q = (struct query){.size = sizeof q, .addr = 8};
    FAILS(ioctl(fd, PROCMAP_QUERY, &q), ENOENT);
    q.size = 8;
    FAILS(ioctl(fd, PROCMAP_QUERY, &q), EINVAL);
    printf("maps and queries agree %d\n", lines > 3);
    close(fd);
}

static void handler(int sig) {}

/* What the translator has of signals and threads is not there. */
static void status_lines(void) {
    static const char *const names[] = {"SigBlk", "SigIgn", "SigCgt", "Threads", "Seccomp", "Seccomp_filters", "NoNewPrivs", "TracerPid", NULL};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_SETMASK, &set, NULL);
    signal(SIGUSR2, handler);
    signal(SIGBUS, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    print_status("/proc/thread-self/status", names);
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    signal(SIGBUS, SIG_DFL);
}

int main(int argc, char **argv) {
    char exe[4096] = "", other[4096] = "", name[4096];
    bool ordered = true;
    CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
    printf("exe is argv0 %d\n", !strcmp(exe, argv[0]));
    char by_pid[64];
    snprintf(by_pid, sizeof(by_pid), "/proc/%d/exe", getpid());
    CHECK(readlink(by_pid, other, sizeof(other) - 1) > 0 && !strcmp(exe, other));
    CHECK(readlink("/proc/thread-self/exe", other, sizeof(other) - 1) > 0 && !strcmp(exe, other));
    Elf64_Ehdr header, mine;
    struct stat a, b;
    int fd = open("/proc/self/exe", O_RDONLY);
    CHECK(read(fd, &header, sizeof(header)) == sizeof(header));
    close(fd);
    fd = open(exe, O_RDONLY);
    CHECK(read(fd, &mine, sizeof(mine)) == sizeof(mine) && !memcmp(&mine, &header, sizeof(mine)));
    CHECK(stat("/proc/self/exe", &a) == 0 && fstat(fd, &b) == 0 && a.st_ino == b.st_ino);
    query_maps();
    ssize_t n = slurp("/proc/self/cmdline");
    printf("cmdline");
    for (char *at = buffer + strlen(buffer) + 1; at < buffer + n; at += strlen(at) + 1) printf(" <%s>", at);
    printf(", argv0 there %d\n", !strcmp(buffer, argv[0]));
    n = slurp("/proc/self/comm");
    char *base = strrchr(argv[0], '/') + 1;
    printf("comm ok %d\n", !strncmp(buffer, base, strlen(buffer) - 1) && strlen(buffer) > 1);
    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    printf("maps: flags %x, descriptor's %d\n", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), fcntl(fd, F_GETFD));
    FAILS(write(fd, "x", 1), EBADF);
    close(fd);
    slurp("/proc/self/stat");
    char comm[64], state;
    int pid, ppid;
    CHECK(sscanf(buffer, "%d (%63[^)]) %c %d", &pid, comm, &state, &ppid) == 4 && pid == getpid() && ppid == getppid());
    printf("stat comm ok %d state %c\n", !strncmp(comm, base, strlen(comm)), state);
    slurp("/proc/self/status");
    CHECK(strstr(buffer, "Pid:\t") && strstr(buffer, "Threads:\t"));
    status_lines();

    static const char read_only[] = "constant";
    char on_stack, *heap = malloc(10), *anon = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("maps: code %s", maps_find((void *)main, name, &ordered));
    printf(" in exe %d;", !strcmp(name, exe));
    printf(" constant %.1s;", maps_find(read_only, name, &ordered));
    printf(" data %s;", maps_find(&variable, name, &ordered));
    printf(" none %s;", maps_find(anon, name, &ordered));
    printf(" stack %.2s", maps_find(&on_stack, name, &ordered));
    printf(" %s;", name);
    printf(" heap %.2s", maps_find(heap, name, &ordered));
    printf(" %s; null %s.\n", name, maps_find((void *)16, other, &ordered));
    CHECK(ordered);

    n = slurp("/proc/self/auxv");
    CHECK(n % 16 == 0 && n > 0);
    unsigned long *aux = (unsigned long *)buffer;
    bool seen_end = false;
    for (int i = 0; i < n / 16; i++) {
        if (aux[2 * i] == AT_PAGESZ) CHECK(aux[2 * i + 1] == 4096);
        if (aux[2 * i] == AT_ENTRY) CHECK(aux[2 * i + 1] == getauxval(AT_ENTRY));
        if (aux[2 * i] == AT_NULL) seen_end = true;
    }
    CHECK(seen_end);
    CHECK(!strcmp((char *)getauxval(AT_EXECFN), argv[0]) && getauxval(AT_RANDOM) && getauxval(AT_PHNUM) == header.e_phnum);
    Elf64_Phdr *ph = (void *)getauxval(AT_PHDR);
    bool load = false;
    for (unsigned i = 0; i < header.e_phnum; i++) load |= ph[i].p_type == PT_LOAD;
    CHECK(load && getauxval(AT_PHENT) == sizeof(*ph));
    n = slurp("/proc/self/environ");
    CHECK(memmem(buffer, n, "LANG=", 5));

    /* Only the guest's descriptors. */
    for (int i = 3; i < 20; i++) close(i);
    CHECK(umount("/nonexistent/place") < 0); /* from here on a translator may need its own */
    fflush(stdout);
    DIR *d = opendir("/proc/self/fd");
    CHECK(d);
    int count = 0;
    struct dirent *e;
    while ((e = readdir(d))) count += e->d_name[0] != '.';
    closedir(d);
    printf("descriptors %d\n", count);
    prctl(PR_SET_NAME, "renamed");
    slurp("/proc/self/comm");
    printf("renamed %s", buffer);
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    /* A child's exe, seen from the parent. */
    pid_t kid = fork();
    if (kid == 0) for (;;) pause();
    snprintf(by_pid, sizeof(by_pid), "/proc/%d/exe", kid);
    memset(other, 0, sizeof(other));
    CHECK(readlink(by_pid, other, sizeof(other) - 1) > 0);
    printf("child exe %d\n", !strcmp(exe, other));
    kill(kid, SIGKILL);
    waitpid(kid, NULL, 0);
    return 0;
}
