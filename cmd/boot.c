/* SPDX-License-Identifier: Apache-2.0 */
/* `isomer boot` in the program that runs everywhere: the machine is a program of its own, isomer-vm, since it needs libraries of the host
 * (docs/why/dependencies.md), and this one does not. */
#include "cmd/vm.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of `folder`/`rest`, if that can be executed: becomes it. */
static void try_one(const char *folder, const char *rest, char **argv) {
    char path[PATH_MAX + 64];
    if (snprintf(path, sizeof path, "%s/%s", folder, rest) >= (int)sizeof path || access(path, X_OK) != 0) return;
    execv(path, argv);
    fprintf(stderr, "isomer: %s: %s\n", path, strerror(errno));
}

static int become(char **argv, const char *name) {
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = len > 0 ? (self[len] = 0, strrchr(self, '/')) : NULL;
    argv[0] = (char *)name;
    if (slash) {
        *slash = 0;
        try_one(self, "isomer-vm", argv);
        try_one(self, "../libexec/isomer/isomer-vm", argv);
    }
    try_one("/usr/libexec/isomer", "isomer-vm", argv);
    fprintf(stderr, "isomer: isomer-vm, the program that boots machines, is not there: it belongs beside this one (`./dev build` makes both)\n");
    return 1;
}

int cmd_boot(int argc, char **argv) {
    (void)argc;
    return become(argv, "isomer boot");
}

int cmd_snapshot(int argc, char **argv) {
    (void)argc;
    return become(argv, "isomer snapshot");
}
