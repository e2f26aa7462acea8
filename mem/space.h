/* SPDX-License-Identifier: Apache-2.0 */
/* mem/space: the address space of a process VM, where a guest address is the host address.
 *
 * A Space knows which parts of the host's address space are the guest's (its Vmas, sorted, disjoint), with
 * the protection that the guest asked for. What the host gets differs in one point: guest memory is never
 * executable for the host; executable means readable. Everything that is not in a Vma is not the guest's:
 * below `limit` it is free, above it may be the VMM's own, and is never unmapped, replaced or protected
 * at the guest's wish.
 *
 * The operations behave as the system calls of the same name, results and errors included, and do the host call
 * and the book-keeping under one lock. After the lock is released they report the range to `changed`
 * (the engine's invalidation), which takes the engine's lock; the engine calls space_fetch with its lock held. So the order is
 * always engine before space, and no Space function is called from a signal handler.
 */
#ifndef MEM_SPACE_H
#define MEM_SPACE_H

#include "base/base.h"

typedef enum VmaKind { VMA_ANON, VMA_FILE, VMA_STACK, VMA_HEAP, VMA_VDSO, VMA_SHM } VmaKind;

enum { VMA_SHARED = 1, VMA_WRITTEN = 2 /* is or once was writable */, VMA_GROWS_DOWN = 4 };

typedef struct Vma {
    u64 start, end; /* page aligned, start < end */
    u64 offset;     /* VMA_FILE: of `start` in the file */
    u64 dev, ino;   /* VMA_FILE and executable: the file's identity; else 0 */
    u8 prot;        /* PROT_*, as the guest asked */
    u8 kind;        /* VmaKind */
    u8 flags;       /* VMA_* */
} Vma;

typedef struct Space {
    Lock lock;
    VEC(Vma) vmas;
    u64 limit;      /* end of the addresses that the guest gets unasked: 2^38 for Sv39 */
    u64 hint_limit; /* end of those it may ask for */
    u64 mmap_base;  /* searches go down from here */
    u64 brk_start, brk;
    u64 total;      /* bytes mapped */
    u64 total_max;  /* the guest's RLIMIT_AS, ~0: none */
    int lock_future; /* MCL_FUTURE, MCL_ONFAULT of mlockall, or 0 */
    void *ctx;
    void (*changed)(void *ctx, u64 start, u64 size); /* may be NULL, likewise the next two */
    /* A file was mapped private, executable and not writable; called after `changed`. */
    void (*code_mapped)(void *ctx, int fd, u64 start, u64 size, u64 offset);
    /* Where a private mapping of a file would best go: attempt 0..3; 0: anywhere. */
    u64 (*place)(void *ctx, int fd, u64 size, unsigned attempt);
} Space;

/* limit and hint_limit: see the fields. */
void space_init(Space *s, u64 limit, u64 hint_limit);

enum { SPACE_PLACES = 4 };
/* mmap(2) with the guest's flags; `kind` VMA_ANON or VMA_FILE is derived from the flags, others are kept. */
i64 space_map(Space *s, u64 at, u64 size, int prot, int flags, int fd, u64 offset, VmaKind kind);
i64 space_unmap(Space *s, u64 at, u64 size);
i64 space_protect(Space *s, u64 at, u64 size, int prot);
i64 space_remap(Space *s, u64 at, u64 old_size, u64 new_size, int flags, u64 new_at);
i64 space_advise(Space *s, u64 at, u64 size, int advice);
/* Returns the new break, or the old one if it cannot be had. */
u64 space_brk(Space *s, u64 brk);
/* After a fault at `at`, outside of all mappings: extends the MAP_GROWSDOWN mapping above it down to there, by at most
 * `room` bytes in all (RLIMIT_STACK). False: there is none, or something stands in the way. */
bool space_grow(Space *s, u64 at, u64 room);
/* mlockall(2) and munlockall(2), for the guest's memory alone. */
i64 space_lock_all(Space *s, int flags);
i64 space_unlock_all(Space *s);
i64 space_shm_attach(Space *s, int id, u64 at, int flags);
i64 space_shm_detach(Space *s, u64 at);

/* Somebody else (a debugger) wrote into [at, at + size), whatever its protection: it is no longer what its file says. The caller
 * invalidates. */
void space_overwritten(Space *s, u64 at, u64 size);

/* For EngineHooks.fetch; see there. */
const u8 *space_fetch(Space *s, u64 pc, size_t *avail, bool *pristine);
/* The Vma that contains `at`, or the first above it: false if there is none. */
bool space_find(Space *s, u64 at, Vma *out);
/* Do all of the bytes lie in mappings that allow `prot`? */
bool space_allows(Space *s, u64 at, u64 size, int prot);

/* Around fork, so that the copy's lock is free and its list whole. */
void space_fork_prepare(Space *s);
void space_fork_done(Space *s);

#endif
