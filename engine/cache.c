/* SPDX-License-Identifier: Apache-2.0 */
/* The code cache. See cache.h. */
#include "engine/cache.h"
#include "base/sys.h"
#include <errno.h>
#include <sys/mman.h>

static void *reserve(size_t size) {
    return sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static int half_init(Half *h, u8 *rw, const u8 *rx, size_t size) {
    h->rw = rw, h->rx = rx, h->size = size;
    h->block_max = (u32)(size / 64) + 16;
    h->pc_max = (u32)(size / 4) + 64;
    h->exit_max = (u32)(size / 16) + 64;
    h->blocks = reserve(h->block_max * sizeof(Block));
    h->pcs = reserve(h->pc_max * sizeof(HostPc));
    h->exits = reserve(h->exit_max * sizeof(ExitRecord));
    return sys_failed(h->blocks) || sys_failed(h->pcs) || sys_failed(h->exits) ? -ENOMEM : 0;
}

/* A second mapping of shared memory: mremap of length 0 duplicates [mremap(2)]; no file descriptor is involved. */
static u8 *map_again(u8 *rw, size_t size) {
    u8 *rx = (u8 *)sys_call(SYS_mremap, rw, 0, size, MREMAP_MAYMOVE);
    if (sys_failed(rx)) return rx;
    int err = sys_mprotect(rx, size, PROT_READ | PROT_EXEC);
    if (!err) return rx;
    sys_munmap(rx, size);
    return (u8 *)(long)err;
}

static void give_back(const void *p, size_t size) {
    if (p && !sys_failed(p)) sys_munmap((void *)p, size);
}

static int cache_map(Cache *c, size_t stubs, size_t half) {
    c->rw = sys_mmap(NULL, c->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(c->rw)) return -ENOMEM;
    c->rx = map_again(c->rw, c->size);
    if (sys_failed(c->rx)) return (int)(long)c->rx;
    c->owned = reserve(c->size / CACHE_CHUNK);
    if (sys_failed(c->owned)) return -ENOMEM;
    for (int k = 0; k < 2; k++) {
        int err = half_init(&c->half[k], c->rw + stubs + k * half, c->rx + stubs + k * half, half);
        if (err) return err;
    }
    return 0;
}

/* All of it must be in reach of a 32-bit displacement. */
#define CACHE_MAX MIB(1024)

int cache_init(Cache *c, const Host *host, const Guest *guest, u64 size) {
    size = MIN(size, CACHE_MAX);
    size_t stubs = align_up(host->stubs_max, CACHE_CHUNK), half = align_up(MAX(size / 2, (u64)CACHE_CHUNK), CACHE_CHUNK);
    memset(c, 0, sizeof *c);
    c->size = stubs + 2 * half;
    int err = cache_map(c, stubs, half);
    if (err) {
        cache_fini(c);
        return err;
    }
    memset(c->owned, 1, c->size / CACHE_CHUNK);
    host->make_stubs(guest, c->rw, c->rx, &c->stubs);
    cache_reset_half(cache_half(c));
    return 0;
}

void cache_fini(Cache *c) {
    for (int k = 0; k < 2; k++) {
        Half *h = &c->half[k];
        give_back(h->blocks, h->block_max * sizeof(Block));
        give_back(h->pcs, h->pc_max * sizeof(HostPc));
        give_back(h->exits, h->exit_max * sizeof(ExitRecord));
        vec_drop(&h->impure);
        arena_drop(&h->arena);
    }
    give_back(c->owned, c->size / CACHE_CHUNK);
    give_back(c->rx, c->size);
    give_back(c->rw, c->size);
}

static Table *table_new(Half *h, u32 len) {
    Table *t = arena_alloc(&h->arena, sizeof(Table) + len * sizeof(TableEntry));
    t->mask = len - 1;
    return t;
}

enum { TABLE_MIN = 1024, PAGES_MIN = 64 };

void cache_reset_half(Half *h) {
    arena_drop(&h->arena);
    h->used = 0;
    h->block_count = h->pc_count = h->exit_count = 0;
    h->impure.len = 0;
    memset(h->starts, 0, sizeof h->starts);
    h->page_mask = PAGES_MIN - 1;
    h->page_used = 0;
    h->pages = arena_alloc(&h->arena, PAGES_MIN * sizeof(PageEntry));
    __atomic_store_n(&h->table, table_new(h, TABLE_MIN), __ATOMIC_RELEASE);
}

/* --- ownership after fork --------------------------------------------------------------------------- */

static void own_chunk(Cache *c, size_t n) {
    u8 *rw = c->rw + n * CACHE_CHUNK, *rx = (u8 *)c->rx + n * CACHE_CHUNK;
    u8 *copy = sys_mmap(NULL, CACHE_CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(copy)) BUG("out of host memory for the code cache");
    memcpy(copy, rw, CACHE_CHUNK);
    u8 *copy_rx = map_again(copy, CACHE_CHUNK);
    if (sys_failed(copy_rx)) BUG("out of host memory for the code cache");
    sys_call(SYS_mremap, copy_rx, CACHE_CHUNK, CACHE_CHUNK, MREMAP_MAYMOVE | MREMAP_FIXED, rx);
    sys_call(SYS_mremap, copy, CACHE_CHUNK, CACHE_CHUNK, MREMAP_MAYMOVE | MREMAP_FIXED, rw);
    c->owned[n] = 1;
}

void cache_own(Cache *c, u8 *rw, size_t size) {
    size_t first = (size_t)(rw - c->rw) / CACHE_CHUNK, last = (size_t)(rw + size - 1 - c->rw) / CACHE_CHUNK;
    for (size_t n = first; n <= last; n++)
        if (UNLIKELY(!c->owned[n])) own_chunk(c, n);
}

void cache_disown(Cache *c) { memset(c->owned, 0, c->size / CACHE_CHUNK); }

/* --- look-up ---------------------------------------------------------------------------------------- */

const void *cache_find(const Half *h, u64 key) {
    const Table *t = __atomic_load_n(&h->table, __ATOMIC_ACQUIRE);
    for (u32 k = (u32)hash_u64(key) & t->mask;; k = (k + 1) & t->mask) {
        u64 seen = __atomic_load_n(&t->at[k].key, __ATOMIC_ACQUIRE);
        if (seen == key) return __atomic_load_n(&t->at[k].code, __ATOMIC_ACQUIRE);
        if (!seen) return NULL;
    }
}

static void table_put(Table *t, u64 key, const void *code) {
    u32 k = (u32)hash_u64(key) & t->mask;
    while (t->at[k].key && t->at[k].key != key) k = (k + 1) & t->mask;
    __atomic_store_n(&t->at[k].code, code, __ATOMIC_RELEASE);
    if (t->at[k].key) return;
    t->used++;
    __atomic_store_n(&t->at[k].key, key, __ATOMIC_RELEASE);
}

void cache_enter(Half *h, u64 key, const void *code) {
    Table *t = h->table;
    if (t->used * 2 > t->mask) {
        Table *bigger = table_new(h, (t->mask + 1) * 2);
        for (u32 k = 0; k <= t->mask; k++)
            if (t->at[k].key) table_put(bigger, t->at[k].key, t->at[k].code);
        __atomic_store_n(&h->table, bigger, __ATOMIC_RELEASE);
        t = bigger;
    }
    table_put(t, key, code);
}

/* --- pages ------------------------------------------------------------------------------------------ */

static PageEntry *page_slot(PageEntry *pages, u32 mask, u64 page) {
    u32 k = (u32)hash_u64(page) & mask;
    while (pages[k].page && pages[k].page != page + 1) k = (k + 1) & mask;
    return &pages[k];
}

static void pages_grow(Half *h) {
    u32 mask = h->page_mask * 2 + 1;
    PageEntry *bigger = arena_alloc(&h->arena, (mask + 1) * sizeof(PageEntry));
    for (u32 k = 0; k <= h->page_mask; k++)
        if (h->pages[k].page) *page_slot(bigger, mask, h->pages[k].page - 1) = h->pages[k];
    h->pages = bigger;
    h->page_mask = mask;
}

static void note_page(Half *h, u32 n, u64 page, unsigned which) {
    if (h->page_used * 2 > h->page_mask) pages_grow(h);
    PageEntry *e = page_slot(h->pages, h->page_mask, page);
    if (!e->page) e->page = page + 1, h->page_used++;
    h->blocks[n].next[which] = e->first;
    e->first = n + 1;
}

static u64 first_page(const Block *b) { return b->pc / PAGE_BYTES; }
static u64 last_page(const Block *b) { return (b->pc + b->guest_size - 1) / PAGE_BYTES; }

void cache_note_pages(Half *h, u32 n) {
    const Block *b = &h->blocks[n];
    note_page(h, n, first_page(b), 0);
    if (last_page(b) != first_page(b)) note_page(h, n, last_page(b), 1);
}

u32 cache_page_first(const Half *h, u64 page) { return page_slot(h->pages, h->page_mask, page)->first; }
u32 cache_page_next(const Half *h, u32 n, u64 page) { return h->blocks[n].next[first_page(&h->blocks[n]) != page]; }

void cache_page_drop_dead(Half *h, u64 page) {
    for (u32 *link = &page_slot(h->pages, h->page_mask, page)->first; *link;) {
        Block *b = &h->blocks[*link - 1];
        u32 *next = &b->next[first_page(b) != page];
        if (b->dead) *link = *next;
        else link = next;
    }
}

/* --- host addresses to guest ------------------------------------------------------------------------- */

const Block *cache_block_at(const Cache *c, u64 host_pc, const Half **half) {
    for (int k = 0; k < 2; k++) {
        const Half *h = &c->half[k];
        if (host_pc - (u64)h->rx >= h->size) continue;
        *half = h;
        u32 lo = 0, hi = __atomic_load_n(&h->block_count, __ATOMIC_ACQUIRE);
        while (lo < hi) { /* the last block that starts at or before host_pc: blocks are in order of address */
            u32 mid = lo + (hi - lo) / 2;
            if ((u64)h->blocks[mid].code <= host_pc) lo = mid + 1;
            else hi = mid;
        }
        const Block *b = lo ? &h->blocks[lo - 1] : NULL;
        return b && host_pc - (u64)b->code < b->host_size ? b : NULL;
    }
    return NULL;
}

u64 cache_guest_pc(const Half *h, const Block *b, u64 host_pc) {
    u32 at = (u32)(host_pc - (u64)b->code), distance = 0;
    for (u32 k = 0; k < b->pc_count && h->pcs[b->first_pc + k].at <= at; k++) distance = h->pcs[b->first_pc + k].frame;
    return b->pc + distance;
}
