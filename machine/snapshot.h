/* SPDX-License-Identifier: Apache-2.0 */
/* machine/snapshot: a stopped machine to a file, and back.
 *
 * File: a header, a body that zstd has compressed, a digest of both. Body: what the machine is made of, as text that must be the same when
 * it is resumed; sections, each with name, version and length; then those pages of memory that are not zero. The digest is checked before anything
 * else is looked at, and guards against damage, not malice; so nothing of the rest is trusted either: see back/state.h.
 */
#ifndef MACHINE_SNAPSHOT_H
#define MACHINE_SNAPSHOT_H

#include "back/state.h"
#include "mem/physical.h"

typedef struct SnapshotPart {
    const char *name; /* at most 15 characters */
    u32 version;
    void (*state)(void *ctx, State *s);
} SnapshotPart;

typedef struct SnapshotOf {
    const char *identity; /* lines; one that differs is shown to the user */
    const SnapshotPart *parts;
    u32 part_len;
    void *ctx;
    Physical *memory;
} SnapshotOf;

/* Two texts of that kind differ: true, and why says in which line. */
bool snapshot_differs(const char *saved, const char *now, const char *path, char *why, size_t why_size);
/* Appears under its name only when it is whole and on the disk. False: why. */
bool snapshot_save(const char *path, const SnapshotOf *of, char *why, size_t why_size);
/* Memory is all zeros. False: why; the machine is then in no state to run. */
bool snapshot_load(const char *path, const SnapshotOf *of, char *why, size_t why_size);

#endif
