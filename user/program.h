/* SPDX-License-Identifier: Apache-2.0 */
/* user/program: which file a program's name stands for, and who runs it: the translator, the host (a program of
 * its own architecture), or the interpreter that a script names. Used for the first program and for execve. */
#ifndef USER_PROGRAM_H
#define USER_PROGRAM_H

#include "user/elf.h"
#include <limits.h>

enum { SCRIPT_DEPTH = 5 }; /* interpreters of interpreters, as Linux */

typedef struct Program {
    int fd;              /* open for reading, close-on-exec; -1: cannot be read (then kind is ELF_UNREADABLE) */
    ElfKind kind;        /* ELF_GUEST, ELF_HOST or ELF_UNREADABLE */
    char path[PATH_MAX]; /* as to be given to the host */
    /* What a script's interpreters put before its arguments (they replace argv[0]); the last is the script. */
    const char *extra[2 * SCRIPT_DEPTH + 1];
    u32 extra_count;
    Arena *arena;        /* the caller's; holds the extra strings */
} Program;

/* Guest path -> host path: absolute ones are looked up below `prefix` first, /proc, /sys and /dev excepted. The result is
 * `path` itself or lies in buf. */
const char *path_lookup(const char *prefix, const char *path, char buf[PATH_MAX]);

/* Finds the program at `path` relative to dirfd, follows scripts. 0 or -errno as execve(2). `flags`: AT_EMPTY_PATH,
 * AT_SYMLINK_NOFOLLOW. Drop it in either case (not the arena). */
long program_find(Program *p, const char *prefix, int dirfd, const char *path, int flags, u16 machine,
                  Arena *arena);
void program_drop(Program *p);

#endif
