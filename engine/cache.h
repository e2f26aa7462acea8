/* SPDX-License-Identifier: Apache-2.0 */
/* The code cache: generated code and what is known about it.
 *
 * One piece of shared anonymous memory, mapped twice: written at rw, executed at rx (never both in one place). It holds
 * the host's stubs and two halves. Translation fills one half; when that is full, the *generation* goes up and the
 * other half is used from its start. A cpu notes the generation before it looks anything up; a half is
 * reused only when no running cpu is older than the previous generation (RCU with one grace period), so
 * look-ups take no lock, and addresses of code stay valid as long as somebody may jump to them.
 *
 * fork: both processes still see the same pages, so neither may write them. Ownership is per chunk; the
 * first write to a chunk after a fork replaces it by a private copy at the same addresses (cache_own).
 *
 * All tables live in address space that is reserved at the start and never moves, so that fault handlers can read
 * them while others translate. Everything here but find() needs the engine's lock.
 */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include "engine/engine.h"
#include "host/host.h"

typedef struct Block {
    u64 pc;
    u64 hash;       /* of the guest bytes, if not pristine */
    const void *code; /* host entry, or IrFunc* under the interpreter */
    u32 mode;
    u32 guest_size, host_size; /* bytes */
    u32 first_pc, pc_count;    /* in Half.pcs */
    u32 incoming;   /* first exit (number + 1) that is linked to this block */
    u32 next[2];    /* next block (number + 1) on the first and on the last page that this one touches */
    bool pristine, dead, shadowable;
} Block;

typedef struct ExitRecord { /* a direct exit */
    u64 pc;
    u32 field;      /* offset of the patchable field from the half's start */
    u32 stub;       /* offset of what it leads to while not linked */
    u32 next;       /* next exit (number + 1) linked to the same block */
    bool poll, linked;
} ExitRecord;

typedef struct TableEntry { /* key = pc | mode << 56; 0: free (pc 0 is never executable: keys are stored + 1) */
    u64 key;
    const void *code; /* NULL: invalidated */
} TableEntry;

typedef struct Table {
    u32 mask, used;
    TableEntry at[];
} Table;

typedef struct PageEntry {
    u64 page;       /* guest page number + 1, 0: free */
    u32 first;      /* block number + 1 */
} PageEntry;

typedef struct Half {
    u8 *rw;
    const u8 *rx;
    size_t size, used;         /* bytes of code */
    Table *table;              /* published with release */
    Block *blocks;
    HostPc *pcs;               /* `frame` is the byte distance from the block's pc */
    ExitRecord *exits;
    u32 block_count, pc_count, exit_count;
    u32 block_max, pc_max, exit_max;
    PageEntry *pages;
    u32 page_mask, page_used;
    u64 starts[4096];          /* filter over the pcs of blocks: bit clear, no block starts there */
    VEC(u32) impure;           /* blocks whose bytes may change without notice */
    Arena arena;               /* tables, interpreter functions */
} Half;

enum { CACHE_CHUNK = 64 * 1024 };

typedef struct Cache {
    u8 *rw;
    const u8 *rx;
    size_t size;               /* bytes of each mapping */
    HostStubs stubs;
    Half half[2];
    u32 generation;            /* of the half in use: half[generation & 1] */
    u8 *owned;                 /* per chunk: this process may write it */
} Cache;

/* 0 or -errno. `size`: bytes for code, both halves; 1 GiB at most is taken. */
int cache_init(Cache *c, const Host *host, const Guest *guest, u64 size);
void cache_fini(Cache *c);
static inline Half *cache_half(Cache *c) { return &c->half[c->generation & 1]; }
/* Empties a half that nobody uses. */
void cache_reset_half(Half *h);
/* Makes [rw, rw + size) writable for this process alone. */
void cache_own(Cache *c, u8 *rw, size_t size);
/* Neither parent nor child owns anything any more. */
void cache_disown(Cache *c);

static inline u64 cache_key(u64 pc, u32 mode) { return (pc | (u64)mode << 56) + 1; }
/* Host code of (pc, mode), or NULL. Any thread, no lock. */
const void *cache_find(const Half *h, u64 key);
/* False: no block starts at pc in any mode. True: perhaps. Bought: translating asks after every instruction. */
static inline u64 *cache_starts_word(Half *h, u64 pc) { return &h->starts[pc >> 7 & (ARRAY_LEN(h->starts) - 1)]; }
static inline bool cache_may_start(Half *h, u64 pc) { return *cache_starts_word(h, pc) >> (pc >> 1 & 63) & 1; }
/* Enters or replaces; code NULL: forgotten. */
void cache_enter(Half *h, u64 key, const void *code);
/* Registers block number n with the pages that it touches. */
void cache_note_pages(Half *h, u32 n);
/* First block (number + 1) on a guest page. */
u32 cache_page_first(const Half *h, u64 page);
/* Next block (number + 1) after n on that page. */
u32 cache_page_next(const Half *h, u32 n, u64 page);
/* Takes dead blocks off that page's list: code that is changed again and again must not make it long. */
void cache_page_drop_dead(Half *h, u64 page);
/* The block that is entered at `code`, by the number before it (host.h, HOST_PAD). */
static inline Block *cache_entry_block(Half *h, const void *code) {
    u32 n;
    memcpy(&n, (const u8 *)code - 4, 4);
    return &h->blocks[n];
}
/* The block whose code holds this host address, or NULL. Any thread, no lock. */
const Block *cache_block_at(const Cache *c, u64 host_pc, const Half **half);
/* Guest pc of a host address inside a block. */
u64 cache_guest_pc(const Half *h, const Block *b, u64 host_pc);

#endif
