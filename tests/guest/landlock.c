/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock rules about executing are about the guest's programs: one may be executed, the other not, though a translator is
 * what the host executes both times. */
#include "t.h"
#include <linux/landlock.h>
#include <sys/prctl.h>

static const char *const places[] = {"allowed", "denied"};

/* A copy of this program in each place. */
static void copies(const char *name) {
    static char buf[65536], path[128];
    for (int i = 0; i < 2; i++) {
        CHECK(mkdir(places[i], 0700) == 0 || errno == EEXIST);
        snprintf(path, sizeof path, "%s/%s", places[i], name);
        int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_WRONLY | O_CREAT | O_EXCL, 0700);
        CHECK(from >= 0 && to >= 0);
        for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;) CHECK(write(to, buf, n) == n);
        close(from);
        close(to);
    }
}

static void allow(int rules, const char *path, uint64_t access) {
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    if (rule.parent_fd < 0) return;
    CHECK(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0);
    close(rule.parent_fd);
}

static void lock_up(uint64_t access) {
    static const char *const libraries[] = {"/lib", "/lib64", "/usr/lib", "/usr/riscv64-linux-gnu"};
    struct landlock_ruleset_attr attr = {.handled_access_fs = access};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    CHECK(rules >= 0);
    allow(rules, places[0], access);
    for (int i = 0; i < 4; i++) allow(rules, libraries[i], access);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_landlock_restrict_self, rules, 0) == 0);
    close(rules);
}

static void execute(const char *place, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", place, name);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, "again", NULL);
        printf("%s: %s\n", place, strerror(errno));
        fflush(stdout);
        _exit(1);
    }
    print_end(place, pid);
}

int main(int argc, char **argv) {
    char name[64], path[128];
    if (argc > 1) return puts("executed"), 0;
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) return puts("no Landlock here"), 0;
    snprintf(name, sizeof name, "program.%d", getpid());
    copies(name);
    pid_t pid = fork();
    if (pid == 0) {
        lock_up(LANDLOCK_ACCESS_FS_EXECUTE);
        execute(places[0], name);
        execute(places[1], name);
        lock_up(LANDLOCK_ACCESS_FS_WRITE_FILE); /* a second set, about something else */
        execute(places[0], name);
        fflush(stdout);
        _exit(0);
    }
    print_end("locked up", pid);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", places[i], name);
        CHECK(unlink(path) == 0);
    }
}
