/* SPDX-License-Identifier: Apache-2.0 */
/* machine/record: the file of a recorded machine: what came from outside, and between which of the guest's instructions (machine/counted.h).
 *
 * A header; then chunks, each with its sizes and a digest, compressed by zstd on its own. In the chunks items follow one another, none in two chunks. So a
 * recording that was killed is good up to its last whole chunk. The first item says what machine this is. Nothing that is read is trusted: an item
 * has the fields below, whatever stands in the file, and what they say is for the reader to check.
 */
#ifndef MACHINE_RECORD_H
#define MACHINE_RECORD_H

#include "back/back.h"

typedef enum RecordKind {
    RECORD_MACHINE, /* data: State bytes (counted.c) */
    RECORD_SEED,    /* data: random bytes that the board put into memory */
    RECORD_QUEUE,   /* device `who` did `op` (VirtOp) with `queue` and `number`; `value`: bytes written, data: those */
    RECORD_CONSOLE, /* data came to console `who` */
    RECORD_IDLE,    /* a wfi took `value` nanoseconds */
    RECORD_CHECK,   /* value: digest of the hart */
    RECORD_END,     /* the machine ended; value: exit status */
    RECORD_KINDS,
} RecordKind;

typedef struct RecordItem {
    u64 count; /* instructions begun when it happened */
    RecordKind kind;
    bool inside; /* in the middle of the last of them, on the hart's thread or while it waited; else before the next */
    u8 who, op, queue;
    u32 number;
    u64 value;
    const u8 *data;
    u32 size; /* bytes */
} RecordItem;

enum { RECORD_VERSION = 3, RECORD_DATA_MAX = 32 << 20 };

typedef struct Record Record;
/* To write; to read. NULL: why. */
Record *record_new(const char *path, char *why, size_t why_size);
Record *record_open(const char *path, char *why, size_t why_size);
void record_drop(Record *r);

/* Counts must not go back. */
void record_put(Record *r, const RecordItem *item);
/* What was put is in the file now. False: the file cannot be written; why is in errno. */
bool record_flush(Record *r);
/* Has so much been put that it is time to? */
bool record_is_full(const Record *r);

/* The next item; its data lives until record_take, which goes on to the one behind it. NULL: there are no more. */
const RecordItem *record_next(Record *r);
void record_take(Record *r);
/* There are no more: true if a chunk is damaged, not just missing. */
bool record_is_damaged(const Record *r);

#endif
