/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/namespace: bodies. See namespace.h and user_namespaces(7): maps are written from outside, by a child that stays there. */
#include "cmd/namespace.h"
#include "cmd/binfmt.h"
#include "cmd/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

typedef struct Id { /* of the two kinds of ids */
    const char *map, *subordinate, *tool;
    u32 own;
} Id;

/* --- maps ----------------------------------------------------------------------------------------------------------- */

static bool map_write(int pid, const char *file, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return cli_write_file(path, text) == 0;
}

/* All ids that we have ourselves, each as itself. */
static bool map_all(int pid, const Id *id) {
    char own[64], have[4096], map[8192];
    snprintf(own, sizeof own, "/proc/self/%s", id->map);
    if (cli_read_file(own, have, sizeof have) <= 0) return false;
    Text t = text_init(map, sizeof map);
    for (char *rest = have, *line; (line = strsep(&rest, "\n"));) {
        unsigned long inside, outside, count;
        if (sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3) text_print(&t, "%lu %lu %lu\n", inside, inside, count);
    }
    return !t.cut && map_write(pid, id->map, map);
}

/* The user's name, out of /etc/passwd: a static program has no other sources. */
static void user_name(char *name, size_t size) {
    char line[1024];
    FILE *f = fopen("/etc/passwd", "re");
    snprintf(name, size, "%u", getuid());
    while (f && fgets(line, sizeof line, f)) {
        char *rest = line, *user = strsep(&rest, ":"), *uid;
        if (!rest || !strsep(&rest, ":") || !(uid = strsep(&rest, ":")) || (u32)atol(uid) != getuid()) continue;
        snprintf(name, size, "%s", user);
        break;
    }
    if (f) fclose(f);
}

/* The first range of a file such as /etc/subuid that is this user's. */
static bool subordinate_range(const char *path, unsigned long *start, unsigned long *count) {
    char line[512], name[256], number[16];
    user_name(name, sizeof name);
    snprintf(number, sizeof number, "%u", getuid());
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        char *rest = line, *user = strsep(&rest, ":");
        found = rest && (!strcmp(user, name) || !strcmp(user, number)) && sscanf(rest, "%lu:%lu", start, count) == 2 && *count;
    }
    if (f) fclose(f);
    return found;
}

static bool map_subordinate(int pid, const Id *id) {
    unsigned long start, count;
    if (!subordinate_range(id->subordinate, &start, &count)) return false;
    char text[5][24];
    unsigned long values[] = {(unsigned long)pid, id->own, start, count};
    for (u32 k = 0; k < ARRAY_LEN(values); k++) snprintf(text[k], sizeof text[k], "%lu", values[k]);
    int tool = fork();
    if (tool) return tool > 0 && cli_wait(tool) == 0;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) dup2(null, 2); /* without it, there is one id: that is told later */
    execlp(id->tool, id->tool, text[0], "0", text[1], "1", "1", text[2], text[3], (char *)NULL);
    _exit(127);
}

static bool map_one(int pid, const Id *id) {
    char text[32];
    snprintf(text, sizeof text, "0 %u 1", id->own);
    return map_write(pid, id->map, text);
}

static NamespaceIds map_ids(int pid) {
    const Id user = {"uid_map", "/etc/subuid", "newuidmap", geteuid()}, group = {"gid_map", "/etc/subgid", "newgidmap", getegid()};
    if (user.own == 0 && map_all(pid, &user) && map_all(pid, &group)) return NAMESPACE_MANY;
    if (user.own != 0 && map_subordinate(pid, &group) && map_subordinate(pid, &user)) return NAMESPACE_MANY;
    map_write(pid, "setgroups", "deny"); /* what one id costs [user_namespaces(7)] */
    map_one(pid, &group); /* fails if there is a map by now: good */
    return map_one(pid, &user) ? NAMESPACE_ONE : NAMESPACE_NONE;
}

/* --- entering ---------------------------------------------------------------------------------------------------------- */

/* The child that writes the maps, when it is told by `go`. */
static int start_mapper(int go[2], int pid) {
    int child = fork();
    if (child) return child;
    char byte;
    close(go[1]);
    _exit(read(go[0], &byte, 1) == 1 ? map_ids(pid) : NAMESPACE_NONE);
}

void namespace_hide_mounts(void) {
    /* Fails in a chroot that is no mount point; there it need not be. */
    mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

NamespaceIds namespace_enter(char *why, size_t size) {
    int go[2], child;
    if (pipe2(go, O_CLOEXEC) < 0 || (child = start_mapper(go, getpid())) < 0) return snprintf(why, size, "%s", strerror(errno)), NAMESPACE_NONE;
    int error = unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ? errno : 0;
    if (!error && write(go[1], "", 1) != 1) error = errno;
    close(go[0]);
    close(go[1]);
    int ids = cli_wait(child);
    if (error) return snprintf(why, size, "no user namespace can be made here (%s): a chroot, a container that forbids it, or user.max_user_namespaces or kernel.unprivileged_userns_clone", strerror(error)), NAMESPACE_NONE;
    if (ids != NAMESPACE_ONE && ids != NAMESPACE_MANY) return snprintf(why, size, "the user namespace got no user ids"), NAMESPACE_NONE;
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0) return snprintf(why, size, "user 0 of the namespace: %s", strerror(errno)), NAMESPACE_NONE;
    if (ids == NAMESPACE_MANY) setgroups(0, NULL);
    namespace_hide_mounts();
    return (NamespaceIds)ids;
}

NamespaceIds namespace_enter_foreign(char *why, size_t size) {
    const char *self = cli_self();
    if (!self) return snprintf(why, size, "/proc is not mounted"), NAMESPACE_NONE;
    NamespaceIds ids = namespace_enter(why, size);
    return ids && binfmt_mount_own(why, size) && binfmt_register(&binfmt_riscv64, BINFMT_OWN_NAME, self, BINFMT_FLAGS, why, size) ? ids : NAMESPACE_NONE;
}
