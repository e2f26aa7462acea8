/* SPDX-License-Identifier: Apache-2.0 */
/* The code cache. See cache.h. */
#include "engine/cache.h"
#include "base/sys.h"
#include <errno.h>
#include <sys/mman.h>

static void *reserve(size_t size) {
    return sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static int half_init(Pool *h, u8 *rw, const u8 *rx, size_t size) {
    h->rw = rw, h->rx = rx, h->size = size;
    h->block_max = (u32)(size / 64) + 16;
    h->pc_max = (u32)(size / 4) + 64;
    h->exit_max = MIN((u32)(size / 16) + 64, (u32)EXITS_MAX);
    h->data_max = (u32)MIN(size, MIB(512));
    h->blocks = reserve(h->block_max * sizeof(Block));
    h->pcs = reserve(h->pc_max * sizeof(HostPc));
    h->exits = reserve(h->exit_max * sizeof(ExitRecord));
    h->data = reserve(h->data_max);
    return sys_failed(h->data) || sys_failed(h->blocks) || sys_failed(h->pcs) || sys_failed(h->exits) ? -ENOMEM : 0;
}

/* Shared memory at rx, and a second mapping of it at rw: mremap of length 0 duplicates [mremap(2)]; no file descriptor is
 * involved. Both replace what is there. Nothing gets executable that was not from the start, as PR_SET_MDWE wants it. 0 or -errno. */
static int map_twice(u8 *rw, const u8 *rx, size_t size) {
    u8 *p = sys_mmap((u8 *)rx, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (sys_failed(p)) return (int)(long)p;
    p = (u8 *)sys_call(SYS_mremap, rx, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, rw);
    if (sys_failed(p)) return (int)(long)p;
    return sys_mprotect(rw, size, PROT_READ | PROT_WRITE);
}

static u8 *reserve_code(size_t size) { /* aligned to a chunk, so that images may be placed by chunks */
    u8 *p = sys_mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return sys_failed(p) ? NULL : p;
}

static void give_back(const void *p, size_t size) {
    if (p && !sys_failed(p)) sys_munmap((void *)p, size);
}

static int cache_map(Cache *c, size_t stubs, size_t half) {
    c->rw = reserve_code(c->size);
    c->rx = reserve_code(c->size);
    if (!c->rw || !c->rx) return -ENOMEM;
    int r = map_twice(c->rw, c->rx, c->image_at);
    if (r < 0) return r;
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
#define IMAGES_MAX MIB(768)

int cache_init(Cache *c, const Host *host, const Guest *guest, u64 size) {
    size = MIN(size, CACHE_MAX);
    size_t stubs = align_up(host->stubs_max, CACHE_CHUNK), half = align_up(MAX(size / 2, (u64)CACHE_CHUNK), CACHE_CHUNK);
    c->image_at = stubs + 2 * half;
    c->size = c->image_end = c->image_at + (size >= MIB(16) ? IMAGES_MAX : 0); /* less is asked for where address space is short */
    int err = cache_map(c, stubs, half);
    if (err) {
        cache_fini(c);
        memset(c, 0, sizeof *c); /* for the next try, with less */
        return err;
    }
    memset(c->owned, CHUNK_OWNED, c->image_at / CACHE_CHUNK);
    for (u32 k = 0; k < POOL_IMAGES; k++) {
        c->pools[k] = &c->half[k];
        c->half[k].number = k;
    }
    c->pool_count = POOL_IMAGES;
    host->make_stubs(guest, c->rw, c->rx, &c->stubs);
    cache_reset_half(cache_half(c));
    return 0;
}

void cache_fini(Cache *c) {
    for (int k = 0; k < 2; k++) {
        Pool *h = &c->half[k];
        give_back(h->blocks, h->block_max * sizeof(Block));
        give_back(h->pcs, h->pc_max * sizeof(HostPc));
        give_back(h->data, h->data_max);
        give_back(h->exits, h->exit_max * sizeof(ExitRecord));
        vec_drop(&h->impure);
        arena_drop(&h->arena);
    }
    vec_drop(&c->into_half);
    vec_drop(&c->from_half);
    give_back(c->owned, c->size / CACHE_CHUNK);
    give_back(c->rx, c->size);
    give_back(c->rw, c->size);
}

static Table *table_new(Pool *h, u32 len) {
    Table *t = arena_alloc(&h->arena, sizeof(Table) + len * sizeof(TableEntry));
    t->mask = len - 1;
    return t;
}

enum { TABLE_MIN = 1024, PAGES_MIN = 64 };

void cache_reset_half(Pool *h) {
    arena_drop(&h->arena);
    h->used = 0;
    h->block_count = h->pc_count = h->exit_count = h->data_used = 0;
    h->impure.len = 0;
    if (h->table) memset(h->starts, 0, sizeof h->starts); /* else it is new */
    h->page_mask = PAGES_MIN - 1;
    h->page_used = 0;
    h->pages = arena_alloc(&h->arena, PAGES_MIN * sizeof(PageEntry));
    __atomic_store_n(&h->table, table_new(h, TABLE_MIN), __ATOMIC_RELEASE);
}

bool cache_add_image(Cache *c, Pool *p, size_t code) {
    size_t size = align_up(code, CACHE_CHUNK);
    if (c->pool_count == POOLS_MAX || c->image_end - c->image_at < size) return false;
    p->rw = c->rw + c->image_at;
    p->rx = c->rx + c->image_at;
    p->size = size;
    p->number = c->pool_count;
    c->image_at += size;
    c->pools[p->number] = p;
    __atomic_store_n(&c->pool_count, p->number + 1, __ATOMIC_RELEASE);
    return true;
}

/* --- ownership -------------------------------------------------------------------------------------- */

static void own_chunk(Cache *c, size_t n) {
    u8 *rw = c->rw + n * CACHE_CHUNK, *rx = (u8 *)c->rx + n * CACHE_CHUNK;
    u8 *copy_rx = sys_mmap(NULL, CACHE_CHUNK, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* as map_twice */
    if (sys_failed(copy_rx)) BUG("out of host memory for the code cache");
    u8 *copy = (u8 *)sys_call(SYS_mremap, copy_rx, 0, CACHE_CHUNK, MREMAP_MAYMOVE);
    if (sys_failed(copy) || sys_mprotect(copy, CACHE_CHUNK, PROT_READ | PROT_WRITE) < 0) BUG("out of host memory for the code cache");
    memcpy(copy, rx, CACHE_CHUNK);
    sys_call(SYS_mremap, copy_rx, CACHE_CHUNK, CACHE_CHUNK, MREMAP_MAYMOVE | MREMAP_FIXED, rx);
    sys_call(SYS_mremap, copy, CACHE_CHUNK, CACHE_CHUNK, MREMAP_MAYMOVE | MREMAP_FIXED, rw);
    c->owned[n] = CHUNK_OWNED;
}

void cache_own(Cache *c, u8 *rw, size_t size) {
    size_t first = (size_t)(rw - c->rw) / CACHE_CHUNK, last = (size_t)(rw + size - 1 - c->rw) / CACHE_CHUNK;
    for (size_t n = first; n <= last; n++)
        if (UNLIKELY(c->owned[n] != CHUNK_OWNED)) own_chunk(c, n);
}

/* Copying a chunk costs as much as some hundred returns to the run loop. Bought: short processes, which run most of an image's exits that
 * are not linked once or twice, copied several chunks each. */
bool cache_is_worth_owning(Cache *c, const u8 *rw) {
    enum { WANTED = 64 };
    u8 *owned = &c->owned[(size_t)(rw - c->rw) / CACHE_CHUNK];
    return *owned == CHUNK_OWNED || ++*owned > WANTED;
}

/* Once prepared, memory stays: nothing gives it back. */
static void prepare(void *base, size_t *ready, size_t need) {
    enum { STEP = 64 * 1024, POPULATE_WRITE = 23 /* madvise, Linux 5.14; elsewhere it is refused, and no harm is done */ };
    while (UNLIKELY(*ready < need)) {
        u64 from = align_down((u64)base + *ready, PAGE_BYTES);
        sys_call(SYS_madvise, from, STEP, POPULATE_WRITE);
        *ready += STEP;
    }
}

void cache_prepare(Pool *h, size_t code, u32 pcs, u32 exits) {
    prepare(h->blocks, &h->ready[0], (h->block_count + 1) * sizeof(Block));
    prepare(h->pcs, &h->ready[1], (h->pc_count + pcs) * sizeof(HostPc));
    prepare(h->exits, &h->ready[2], (h->exit_count + exits) * sizeof(ExitRecord));
    prepare(h->rw, &h->ready[3], MIN(h->used + code, h->size - 1));
}

void cache_disown(Cache *c) { memset(c->owned, 0, c->size / CACHE_CHUNK); }

/* --- look-up ---------------------------------------------------------------------------------------- */

u64 cache_table_find(const Table *t, u64 key) {
    for (u32 k = (u32)hash_u64(key) & t->mask;; k = (k + 1) & t->mask) {
        u64 seen = __atomic_load_n(&t->at[k].key, __ATOMIC_ACQUIRE);
        if (seen == key) return __atomic_load_n(&t->at[k].code, __ATOMIC_ACQUIRE);
        if (!seen) return 0;
    }
}

const void *cache_find(const Pool *p, u64 key) {
    u64 code = cache_table_find(__atomic_load_n(&p->table, __ATOMIC_ACQUIRE), key);
    return code ? p->rx + code : NULL;
}

Pool *cache_image_at(const Cache *c, u64 pc) {
    u32 n = __atomic_load_n(&c->pool_count, __ATOMIC_ACQUIRE);
    for (u32 k = POOL_IMAGES; k < n; k++) {
        const ImageRange *r = &c->ranges[k];
        if (pc - __atomic_load_n(&r->start, __ATOMIC_RELAXED) < __atomic_load_n(&r->size, __ATOMIC_ACQUIRE)) return c->pools[k];
    }
    return NULL;
}

const void *cache_lookup(const Cache *c, u32 generation, u64 pc, u32 mode) {
    const void *code = cache_find(&c->half[generation & 1], cache_key(pc, mode));
    if (code) return code;
    const Pool *image = cache_image_at(c, pc);
    return image ? cache_find(image, cache_key(pc, mode)) : NULL;
}

void cache_table_put(Table *t, u64 key, u64 code) {
    u32 k = (u32)hash_u64(key) & t->mask;
    while (t->at[k].key && t->at[k].key != key) k = (k + 1) & t->mask;
    __atomic_store_n(&t->at[k].code, code, __ATOMIC_RELEASE);
    if (t->at[k].key) return;
    t->used++;
    __atomic_store_n(&t->at[k].key, key, __ATOMIC_RELEASE);
}

void cache_enter(Pool *h, u64 key, u64 code) {
    Table *t = h->table;
    if (t->used * 2 > t->mask) {
        Table *bigger = table_new(h, (t->mask + 1) * 2);
        for (u32 k = 0; k <= t->mask; k++)
            if (t->at[k].key) cache_table_put(bigger, t->at[k].key, t->at[k].code);
        __atomic_store_n(&h->table, bigger, __ATOMIC_RELEASE);
        t = bigger;
    }
    cache_table_put(t, key, code);
}

/* --- pages ------------------------------------------------------------------------------------------ */

static PageEntry *page_slot(PageEntry *pages, u32 mask, u64 page) {
    u32 k = (u32)hash_u64(page) & mask;
    while (pages[k].page && pages[k].page != page + 1) k = (k + 1) & mask;
    return &pages[k];
}

static void pages_grow(Pool *h) {
    u32 mask = h->page_mask * 2 + 1;
    PageEntry *bigger = arena_alloc(&h->arena, (mask + 1) * sizeof(PageEntry));
    for (u32 k = 0; k <= h->page_mask; k++)
        if (h->pages[k].page) *page_slot(bigger, mask, h->pages[k].page - 1) = h->pages[k];
    h->pages = bigger;
    h->page_mask = mask;
}

static void note_page(Pool *h, u32 n, u64 page, unsigned which) {
    if (h->page_used * 2 > h->page_mask) pages_grow(h);
    PageEntry *e = page_slot(h->pages, h->page_mask, page);
    if (!e->page) e->page = page + 1, h->page_used++;
    h->blocks[n].next[which] = e->first;
    e->first = n + 1;
}

void cache_note_pages(Pool *h, u32 n) {
    const Block *b = &h->blocks[n];
    note_page(h, n, cache_first_page(b), 0);
    if (cache_last_page(b) != cache_first_page(b)) note_page(h, n, cache_last_page(b), 1);
}

u32 cache_page_first(const Pool *h, u64 page) { return page_slot(h->pages, h->page_mask, page)->first; }
u32 cache_page_next(const Pool *h, u32 n, u64 page) { return h->blocks[n].next[cache_first_page(&h->blocks[n]) != page]; }

void cache_page_drop_dead(Pool *h, u64 page) {
    for (u32 *link = &page_slot(h->pages, h->page_mask, page)->first; *link;) {
        Block *b = &h->blocks[*link - 1];
        u32 *next = &b->next[cache_first_page(b) != page];
        if (b->dead) *link = *next;
        else link = next;
    }
}

/* --- host addresses to guest ------------------------------------------------------------------------- */

Pool *cache_pool_at(const Cache *c, u64 host_pc) {
    if (host_pc - (u64)c->rx >= c->size) return NULL;
    u32 n = __atomic_load_n(&c->pool_count, __ATOMIC_ACQUIRE);
    for (u32 k = 0; k < n; k++)
        if (host_pc - (u64)c->pools[k]->rx < c->pools[k]->size) return c->pools[k];
    return NULL;
}

const Block *cache_block_at(const Cache *c, u64 host_pc, Pool **pool) {
    Pool *p = cache_pool_at(c, host_pc);
    if (!p) return NULL;
    *pool = p;
    u64 at = host_pc - (u64)p->rx;
    u32 hi = __atomic_load_n(&p->block_count, __ATOMIC_ACQUIRE), back = 1;
    while (back < hi && p->blocks[hi - back].code > at) back *= 2; /* mostly it is one of the newest, whose exits are not linked yet */
    u32 lo = back < hi ? hi - back : 0;
    hi -= MIN(back / 2, hi);
    while (lo < hi) { /* the last block that starts at or before host_pc: blocks are in order of address */
        u32 mid = lo + (hi - lo) / 2;
        if (p->blocks[mid].code <= at) lo = mid + 1;
        else hi = mid;
    }
    const Block *b = lo ? &p->blocks[lo - 1] : NULL;
    return b && at - b->code < b->host_size ? b : NULL;
}

static u32 site_of(const ExitRecord *x) { return x->stub + x->site; }

void cache_add_exits(Pool *p, u64 at, const HostCode *c) {
    for (u32 k = 0; k < c->exits.len; k++) {
        const HostExit *x = &c->exits.at[k];
        ASSERT(x->site - x->stub < 256);
        p->exits[p->exit_count++] = (ExitRecord){.pc = x->pc, .field = (u32)(at + x->at), .stub = (u32)(at + x->stub), .site = (u8)(x->site - x->stub), .poll = x->poll};
    }
}

ExitRecord *cache_exit_at(const Cache *c, u64 site, Pool **pool) {
    const Block *b = cache_block_at(c, site - 1, pool);
    if (!b) return NULL;
    u32 at = (u32)(site - (u64)(*pool)->rx), lo = b->first_exit, hi = lo + b->exit_count;
    while (lo < hi) {
        u32 mid = lo + (hi - lo) / 2;
        if (site_of(&(*pool)->exits[mid]) < at) lo = mid + 1;
        else hi = mid;
    }
    ExitRecord *x = &(*pool)->exits[lo];
    return lo < b->first_exit + b->exit_count && site_of(x) == at ? x : NULL;
}

u64 cache_guest_pc(const Pool *h, const Block *b, u64 host_pc) {
    u32 at = (u32)(host_pc - (u64)h->rx - b->code), distance = 0;
    for (u32 k = 0; k < b->pc_count && h->pcs[b->first_pc + k].at <= at; k++) distance = h->pcs[b->first_pc + k].frame;
    return b->pc + distance;
}

u32 cache_insns_behind(const Pool *h, const Block *b, u64 host_pc) {
    u32 here = (u32)(cache_guest_pc(h, b, host_pc) - b->pc), behind = 0;
    const HostPc *at = &h->pcs[b->first_pc];
    for (u32 k = 0; k < b->pc_count && (!k || at[k].frame > at[k - 1].frame); k++) behind += at[k].frame > here; /* then comes code behind the block, out of order */
    return behind;
}
