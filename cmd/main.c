/* SPDX-License-Identifier: Apache-2.0 */
/* The isomer program: finds the subcommand, by its name or by the name the program was called by. One row per subcommand. */
#include "cmd/binfmt.h"
#include "cmd/cache.h"
#include "cmd/explain.h"
#include "cmd/root.h"
#include "cmd/run.h"
#include "cmd/vm.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

typedef struct Command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} Command;

static const Command commands[] = {
    {"run", cmd_run, "run a program of another instruction set (isomer run -h: options)"},
    {"boot", cmd_boot, "boot a machine: a kernel, or an operating system (isomer boot --help)"},
    {"snapshot", cmd_snapshot, "write a running machine to a file, for boot --resume (isomer snapshot SOCKET FILE)"},
    {"binfmt", cmd_binfmt, "have the kernel run foreign programs by Isomer: install, uninstall, status, doctor, run (isomer binfmt --help)"},
    {"root", cmd_root, "make a Debian of another architecture in a folder (isomer root --help)"},
    {"shell", cmd_shell, "enter it, or run a command in it (isomer shell --help)"},
    {"cache", cmd_cache, "the persistent translation cache: status, clear, warm (isomer cache --help)"},
    {"explain", cmd_explain, "show an instruction as bits, assembly, IR and host code"},
};

static void usage(FILE *to) {
    fprintf(to, "usage: isomer COMMAND [ARGUMENTS]\n\n");
    for (size_t k = 0; k < sizeof commands / sizeof commands[0]; k++) fprintf(to, "  %-10s %s\n", commands[k].name, commands[k].help);
    fprintf(to, "\nisomer --version, isomer --help. Called as qemu-riscv64, it behaves like that program.\n");
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Are we called to run a program straight away? By qemu's name (container builders copy us to names like
 * .buildkit_qemu_emulator), or by the kernel, which says so where binfmt_misc has the flag P or O, and else gives an
 * absolute path, which is no command of ours. */
static bool called_as_interpreter(int argc, char **argv) {
    return argc > 0 && (strstr(base_name(argv[0]), "qemu") || (getauxval(AT_FLAGS) & 1) || getauxval(AT_EXECFD) ||
                        (argc > 1 && argv[1][0] == '/'));
}

int main(int argc, char **argv) {
    if (called_as_interpreter(argc, argv)) return cmd_run(argc, argv);
    if (argc < 2) return usage(stderr), 2;
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) return usage(stdout), 0;
    if (!strcmp(argv[1], "--version")) return printf("isomer %s\n", ISOMER_VERSION), 0;
    for (size_t k = 0; k < sizeof commands / sizeof commands[0]; k++)
        if (!strcmp(argv[1], commands[k].name)) return commands[k].run(argc - 1, argv + 1);
    fprintf(stderr, "isomer: no command '%s'; `isomer --help` lists them (to run a program: isomer run %s)\n", argv[1], argv[1]);
    return 2;
}
