/* SPDX-License-Identifier: Apache-2.0 */
/* Shows what it is told to show: for the tests of the command line. Without arguments: what must equal the native run. */
#include "t.h"
#include <sys/utsname.h>

static __attribute__((noinline)) long recurse(long bytes) {
    volatile char frame[4000];
    frame[bytes % 4000] = 1;
    return bytes <= 0 ? frame[0] : recurse(bytes - 4096) + frame[bytes % 4000];
}

static unsigned compute(void) {
    unsigned h = 2166136261u;
    double d = 1;
    for (int i = 0; i < 20000; i++) {
        h = (h ^ (unsigned)i) * 16777619u;
        d = d * 1.0001 + (h & 3) / 3.0;
        if (h % 7 == 3) h += (unsigned)d;
    }
    return h;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "compute";
    if (!strcmp(what, "args")) {
        for (int i = 1; i < argc; i++) printf("%d <%s>\n", i, argv[i]);
    } else if (!strcmp(what, "argv0")) {
        puts(argv[0]);
    } else if (!strcmp(what, "env")) {
        for (int i = 2; i < argc; i++) {
            const char *v = getenv(argv[i]);
            printf(v ? "%s=%s\n" : "%s unset\n", argv[i], v);
        }
    } else if (!strcmp(what, "exit")) {
        return atoi(argv[2]);
    } else if (!strcmp(what, "kill")) {
        raise(atoi(argv[2]));
        return 77;
    } else if (!strcmp(what, "recurse")) {
        recurse(atol(argv[2]));
        puts("deep enough");
    } else if (!strcmp(what, "cwd")) {
        char cwd[PATH_MAX];
        CHECK(chdir(argv[2]) == 0 && getcwd(cwd, sizeof cwd));
        puts(cwd);
    } else if (!strcmp(what, "uname")) {
        struct utsname u;
        uname(&u);
        printf("%s %s %s\n", u.sysname, u.release, u.machine);
    } else if (!strcmp(what, "fds") || !strcmp(what, "fds-status")) {
        int n = 0;
        for (int i = 0; i < 1024; i++) {
            if (fcntl(i, F_GETFD) < 0) continue;
            if (!strcmp(what, "fds")) printf("%s%d", n ? " " : "", i);
            n++;
        }
        if (strcmp(what, "fds")) return n;
        puts("");
    } else {
        printf("computed %08x\n", compute());
    }
    return 0;
}
