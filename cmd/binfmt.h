/* SPDX-License-Identifier: Apache-2.0 */
/* binfmt_misc: the kernel's table of who runs foreign programs (Documentation/admin-guide/binfmt-misc.rst). Entries are read, made and removed by the
 * files below BINFMT_DIR; each user namespace can have a table of its own (Linux 6.7). The commands that use this: binfmt.c, doctor.c. */
#ifndef CMD_BINFMT_H
#define CMD_BINFMT_H

#include "cmd/cli.h"

#define BINFMT_DIR "/proc/sys/fs/binfmt_misc"
#define BINFMT_OWN_NAME "isomer-riscv64"
/* P: programs see their own argv[0]. O: we get the program open, readable or not. C: setuid programs. F: found in every root. */
#define BINFMT_FLAGS "POCF"

enum { BINFMT_MAGIC = 20, BINFMT_ENTRIES = 64, BINFMT_LINE = 1920 /* what the kernel takes */ };

typedef struct BinfmtArch {
    const char *name, *taken; /* "riscv64"; the name that others register by */
    u8 magic[BINFMT_MAGIC], mask[BINFMT_MAGIC];
} BinfmtArch;
extern const BinfmtArch binfmt_riscv64;

typedef struct BinfmtEntry { /* as the kernel tells it */
    char name[256], interpreter[1024], flags[16];
    bool enabled;
    u32 offset, size; /* of magic */
    u8 magic[128], mask[128];
} BinfmtEntry;

/* Is the table there? */
bool binfmt_mounted(void);
/* Mounts the table of this user namespace, if it isn't there. */
bool binfmt_mount(char *why, size_t size);
/* In a new user namespace: mounts its own table over what is there. */
bool binfmt_mount_own(char *why, size_t size);
/* Is the table switched on as a whole? */
bool binfmt_enabled(void);
/* Entries for programs of an architecture, at most BINFMT_ENTRIES; how many. */
u32 binfmt_find(const BinfmtArch *arch, BinfmtEntry *out);
bool binfmt_read(const char *name, BinfmtEntry *out);
bool binfmt_is_ours(const BinfmtEntry *e);
/* The line that registers an entry. */
bool binfmt_line(char line[BINFMT_LINE], const BinfmtEntry *e);
BinfmtEntry binfmt_entry(const BinfmtArch *arch, const char *name, const char *interpreter, const char *flags);
/* Registers, in the place of an entry of the same name. */
bool binfmt_register(const BinfmtArch *arch, const char *name, const char *interpreter, const char *flags, char *why, size_t size);
bool binfmt_register_line(const char *name, const char *line, char *why, size_t size);
/* An entry that isn't there is removed. */
bool binfmt_unregister(const char *name, char *why, size_t size);

int cmd_binfmt(int argc, char **argv);
/* What stands between the user and a running program; NULL: any. Exit status. */
int binfmt_doctor(const BinfmtArch *arch, const char *program, const char *root);

#endif
