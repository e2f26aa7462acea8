/* SPDX-License-Identifier: Apache-2.0 */
/* machine/load: puts files into a machine's memory: kernels (Image, gzip, EFI zboot, ELF), firmware, initial RAM disks. Nothing in a file is trusted. */
#ifndef MACHINE_LOAD_H
#define MACHINE_LOAD_H

#include "base/digest.h"
#include "mem/physical.h"

typedef struct Loaded {
    u64 start, end; /* what it takes of memory, with what it wants behind its data */
    u64 entry;
} Loaded;

/* A program: ELF to where it says, others to `at`. False: why. */
bool load_program(Physical *p, const char *path, u64 at, Loaded *out, char *why, size_t why_size);
/* The file as it is, so that it ends at or below `end`, aligned to 2 MiB, and does not reach below `floor`. */
bool load_below(Physical *p, const char *path, u64 floor, u64 end, Loaded *out, char *why, size_t why_size);
/* The same of bytes: what load_program does once it has the file. For tests; `name` is for `why`. */
bool load_bytes(Physical *p, const char *name, const u8 *data, u64 size, u64 at, Loaded *out, char *why, size_t why_size);

/* Of a file's contents. False: why. */
bool load_digest(const char *path, Digest *out, char *why, size_t why_size);

#endif
