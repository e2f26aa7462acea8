/* SPDX-License-Identifier: Apache-2.0 */
/* Named systems (`isomer boot debian`): images that are made once, by the script debian-image; and commands for them (--exec). */
#ifndef CMD_IMAGE_H
#define CMD_IMAGE_H

#include "base/base.h"

typedef struct Image {
    char disk[4096], kernel[4096], initrd[4096]; /* paths */
} Image;

/* `name`: "debian", "debian:SUITE". `may_make`: makes the image if there is none, which takes minutes, and says so. False: why. */
bool image_find(const char *name, const char *arch, bool may_make, Image *out, char *why, size_t why_size);

/* A folder that is shared with the guest as isomer-exec: holds the command, and takes its exit status. */
typedef struct ExecFolder {
    char path[64];
    int input; /* our standard input, if that is no terminal: goes to the guest by a file, which has an end; else -1 */
} ExecFolder;
/* Takes standard input, if it is no terminal. */
bool exec_prepare(ExecFolder *e, const char *command, char *why, size_t why_size);
/* Its exit status; -1: the machine ended without one. The folder is removed. */
int exec_status(ExecFolder *e);

#endif
