/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines as tables: a command is what --help prints of it and its options, one row each. Manual pages and completions are made of what
 * --help prints (tools/manual.py), so that an option is told in one place. Bodies for commands of the program isomer that need a C library only. */
#ifndef CMD_CLI_H
#define CMD_CLI_H

#include "base/base.h"
#include <stdio.h>

typedef struct CliOption {
    const char *name, *arg; /* without dashes; what it takes, NULL: nothing */
    bool (*set)(void *ctx, const char *arg); /* false after a message */
    const char *help;
} CliOption;

typedef struct Cli {
    const char *name;  /* "isomer binfmt" */
    const char *usage; /* whole lines */
    const char *about; /* paragraphs */
    const CliOption *options;
    size_t len;
} Cli;

enum { CLI_WRONG = -1, CLI_DONE = -2 };
/* Takes the options that stand before the first word, and "--". The index of that word; CLI_WRONG after a message; CLI_DONE after --help. */
int cli_parse(const Cli *c, void *ctx, int argc, char **argv);
void cli_usage(FILE *to, const Cli *c);
/* "NAME: WHAT: WHY" on stderr. */
bool cli_refuse(const Cli *c, const char *what, const char *why);

/* --- small things that commands share --- */

/* The file of this program, absolute; NULL: /proc is not there. */
const char *cli_self(void);
/* "BASE/NAME" in memory of its own. */
char *cli_path(const char *base, const char *name);
/* A folder and those above it. */
bool cli_make_folders(const char *path);
/* Writes or replaces a small file. 0 or -errno. */
int cli_write_file(const char *path, const char *text);
/* What a small file holds (at most size - 1 bytes, closed by 0), how many bytes; -errno. */
long cli_read_file(const char *path, char *buf, size_t size);
/* Waits for a child: its exit status, 128 + N for a signal's death, -1: it cannot be waited for. */
int cli_wait(int pid);

#endif
