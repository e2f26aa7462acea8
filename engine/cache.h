/* SPDX-License-Identifier: Apache-2.0 */
/* The code cache: generated code and what is known about it.
 *
 * Code lies in *pools*, all in one stretch of address space that is mapped twice: written at rw, executed at rx (never both in
 * one place), so that any code reaches any other by a 32-bit displacement. It holds:
 *
 * - the host's stubs;
 * - two halves, of shared anonymous memory. Translation fills one half; when that is full, the *generation* goes up and the
 *   other half is used from its start. A cpu notes the generation before it looks anything up; a half is
 *   reused only when no running cpu is older than the previous generation (RCU with one grace period), so
 *   look-ups take no lock, and addresses of code stay valid as long as somebody may jump to them;
 * - images: what earlier processes translated of a file that the guest has mapped (store.h), mapped from a file of the
 *   persistent store. An image never grows; it may be empty. Once mapped it stays until the process ends, used or not.
 *
 * Who may write: a chunk is *owned* if its pages are this process's and visible at rw. After a fork neither process owns any;
 * an image's chunks are the file's at first. The first write to a chunk replaces it by a private copy at the same addresses (cache_own).
 *
 * All tables live in address space that is reserved at the start and never moves, so that fault handlers can read
 * them while others translate. Everything here but the look-ups needs the engine's lock.
 */
#ifndef ENGINE_CACHE_H
#define ENGINE_CACHE_H

#include "engine/engine.h"
#include "host/host.h"

/* A direct exit as a block's list names it: 0: none; (pool number + 1) << 24 | number + 1, where pool 0 means the block's own. */
typedef u32 ExitRef;
enum { EXITS_MAX = (1 << 24) - 2, POOLS_MAX = 254 };

typedef struct Block {
    u64 pc;
    u64 hash;       /* of the guest bytes, if not pristine; of paged guests always, but Place.pages of an instruction that straddles two pages */
    u64 code;       /* host entry, or IrFunc under the interpreter: distance from Pool.rx */
    u32 mode;
    u32 guest_size, host_size; /* bytes */
    u32 first_pc, pc_count;    /* in Pool.pcs */
    u32 first_exit, exit_count; /* in Pool.exits, in order of their sites */
    ExitRef incoming; /* first exit that is linked to this block */
    u32 region;     /* offset + 1 of its RegionData in Pool.data; 0: a quick block */
    u32 next[2];    /* next block (number + 1) on the first and on the last page that this one touches */
    bool pristine, dead;
    u8 cold;        /* no region can be made of what begins here, so that nobody tries again: COLD_* */
} Block;
enum { COLD_KNOWN = 1 /* an image said so */, COLD_NEWS };

typedef struct ExitRecord { /* a direct exit */
    u64 pc;
    u32 field;      /* offset of the patchable field from the pool's start */
    u32 stub;       /* offset of what it leads to while not linked */
    ExitRef next;   /* next exit linked to the same block */
    u8 site;        /* distance from `stub` by which that code makes itself known */
    bool poll, linked;
} ExitRecord;

typedef struct TableEntry { /* key = pc | mode << 56; 0: free (pc 0 is never executable: keys are stored + 1) */
    u64 key;
    u64 code; /* as Block.code; 0: invalidated */
} TableEntry;

typedef struct Table {
    u32 mask, used;
    TableEntry at[];
} Table;

typedef struct PageEntry {
    u64 page;       /* guest page number + 1, 0: free */
    u32 first;      /* block number + 1 */
} PageEntry;

typedef struct Pool {
    u8 *rw;
    const u8 *rx;
    size_t size, used;         /* bytes of code */
    Table *table;              /* published with release */
    Block *blocks;
    HostPc *pcs;               /* `frame` is the byte distance from the block's pc */
    ExitRecord *exits;
    u8 *data;                  /* tables of regions (tier.h) */
    u32 data_used, data_max;
    u32 block_count, pc_count, exit_count;
    u32 block_max, pc_max, exit_max;
    PageEntry *pages;          /* halves only, likewise the next four */
    u32 page_mask, page_used;
    u64 starts[4096];          /* filter over the pcs of blocks: bit clear, no block starts there */
    VEC(u32) impure;           /* blocks whose bytes may change without notice */
    Arena arena;               /* tables, interpreter functions */
    size_t ready[4];           /* bytes of blocks, pcs, exits and code that have memory behind them (cache_prepare) */
    u32 number;                /* in Cache.pools */
    struct Image *image;       /* store.h; NULL: a half */
} Pool;

enum { CACHE_CHUNK = 64 * 1024, CHUNK_OWNED = 255 };

typedef struct ImageRange { /* guest addresses whose translations are in pool number POOL_IMAGES + index; size 0: in none */
    u64 start, size;
} ImageRange;
enum { POOL_IMAGES = 2 };

typedef struct Cache {
    u8 *rw;
    const u8 *rx;
    size_t size;               /* bytes of address space of each mapping */
    size_t image_at, image_end; /* where the next image goes: offset; end of the room for images */
    HostStubs stubs;
    Pool half[2];
    Pool *pools[POOLS_MAX];
    u32 pool_count;
    ImageRange ranges[POOLS_MAX];
    u32 generation;            /* of the half in use: half[generation & 1] */
    u8 *owned;                 /* per chunk: CHUNK_OWNED: this process may write it; else how often that was wanted, but could wait */
    VEC(ExitRef) into_half;    /* exits of images that are linked to blocks of the half in use */
    VEC(u64) from_half;        /* pool << 32 | block: of an image, that exits of the half in use are linked to */
} Cache;

/* 0 or -errno. *c is zeroed: clearing it here would touch all of its pages. `size`: bytes for code, both halves; 1 GiB at most is taken. */
int cache_init(Cache *c, const Host *host, const Guest *guest, u64 size);
void cache_fini(Cache *c);
static inline Pool *cache_half(Cache *c) { return &c->half[c->generation & 1]; }
/* Empties a half that nobody uses. */
void cache_reset_half(Pool *h);
/* Makes [rw, rw + size) writable for this process alone. */
void cache_own(Cache *c, u8 *rw, size_t size);
/* Is it worth while to change the code there, though things are right as they are? Not if the chunk would have to be copied for that, and was wanted
 * a few times only. */
bool cache_is_worth_owning(Cache *c, const u8 *rw);
/* Has memory given to where the next block goes, many pages at a time: a fault for each costs more than translating what goes there. */
void cache_prepare(Pool *h, size_t code, u32 pcs, u32 exits);
/* Neither parent nor child owns anything any more. */
void cache_disown(Cache *c);
/* Room for an image with `code` bytes of code: sets rw, rx, size, number; the pool is not found yet. False: there is none. */
bool cache_add_image(Cache *c, Pool *image, size_t code);

static inline u64 cache_key(u64 pc, u32 mode) { return (pc | (u64)mode << 56) + 1; }
/* Look-up (any thread, no lock; 0: not there) and insertion in a table that has room. */
u64 cache_table_find(const Table *t, u64 key);
void cache_table_put(Table *t, u64 key, u64 code);
/* Host code of (pc, mode) in this pool, or NULL. Any thread, no lock. */
const void *cache_find(const Pool *p, u64 key);
/* The same in the half of `generation` and in the images. */
const void *cache_lookup(const Cache *c, u32 generation, u64 pc, u32 mode);
/* The image whose range holds pc, or NULL. */
Pool *cache_image_at(const Cache *c, u64 pc);
/* False: no block starts at pc in any mode. True: perhaps. Bought: translating asks after every instruction. */
static inline u64 *cache_starts_word(Pool *h, u64 pc) { return &h->starts[pc >> 7 & (ARRAY_LEN(h->starts) - 1)]; }
static inline bool cache_may_start(Pool *h, u64 pc) { return *cache_starts_word(h, pc) >> (pc >> 1 & 63) & 1; }
/* Enters or replaces; code 0: forgotten. */
void cache_enter(Pool *p, u64 key, u64 code);
/* Numbers of the first and last page that a block is made of. */
static inline u64 cache_first_page(const Block *b) { return UNLIKELY(ir_straddles(b->pc)) ? b->hash >> 32 : b->pc / PAGE_BYTES; }
static inline u64 cache_last_page(const Block *b) { return UNLIKELY(ir_straddles(b->pc)) ? (u32)b->hash : (b->pc + b->guest_size - 1) / PAGE_BYTES; }
/* Registers block number n with the pages that it touches. */
void cache_note_pages(Pool *h, u32 n);
/* First block (number + 1) on a guest page. */
u32 cache_page_first(const Pool *h, u64 page);
/* Next block (number + 1) after n on that page. */
u32 cache_page_next(const Pool *h, u32 n, u64 page);
/* Takes dead blocks off that page's list: code that is changed again and again must not make it long. */
void cache_page_drop_dead(Pool *h, u64 page);
/* The block that is entered at `code` in pool p, by the number before it (host.h, HOST_PAD). */
static inline Block *cache_entry_block(Pool *p, const void *code) {
    u32 n;
    memcpy(&n, (const u8 *)code - 4, 4);
    return &p->blocks[n];
}
/* The pool whose code holds this host address, or NULL. Any thread, no lock. */
Pool *cache_pool_at(const Cache *c, u64 host_pc);
/* The block whose code holds this host address, or NULL. Any thread, no lock. */
const Block *cache_block_at(const Cache *c, u64 host_pc, Pool **pool);
/* Guest pc of a host address inside a block. */
u64 cache_guest_pc(const Pool *p, const Block *b, u64 host_pc);
/* How many of the block's instructions come after that one. */
u32 cache_insns_behind(const Pool *p, const Block *b, u64 host_pc);
/* Enters the exits of code that lies `at` bytes from the pool's start. */
void cache_add_exits(Pool *p, u64 at, const HostCode *c);
/* The exit that left with this site (Vcpu.exit_site), and its pool; NULL if it is none. Any thread, no lock. */
ExitRecord *cache_exit_at(const Cache *c, u64 site, Pool **pool);

/* engine/link.c */
/* Makes exit x of pool p jump to `target`, the entry of a block of another or the same pool. */
void link_exit(Cache *c, const Host *host, Pool *p, ExitRecord *x, const void *target);
/* Exits that lead to this block leave through their stubs again. */
void link_undo_incoming(Cache *c, const Host *host, Pool *p, Block *b);
/* The half in use is about to be left for good: nothing of an image leads into it, or counts on it, any more. */
void link_retire_half(Cache *c, const Host *host);
/* The image is not to be found any more: no exit of a half leads into it. */
void link_undo_image(Cache *c, const Host *host, Pool *image);

#endif
