/* SPDX-License-Identifier: Apache-2.0 */
/* See tier.h. */
#include "engine/tier.h"
#include "base/clock.h"
#include "base/sys.h"
#include "engine/internal.h"
#include "engine/region.h"
#include "opt/opt.h"
#include <sys/mman.h>
#include <sys/uio.h>

enum { HOT_DEFAULT = 1 << 16 /* about what compiling a region costs */, TRIED_COUNT = 1 << 16 /* until the same target is looked at again */ };
enum { REGION_BUFFER = 512 * 1024, TRIES_LEN = 4096, COPY_SLACK = 8, PINNED = 10 /* host/x64/x64.h, X64_PIN_COUNT */ };

typedef struct Copy { /* of a page of guest code, with the first bytes of the next */
    u64 page;
    u32 size;
    u8 *bytes;
} Copy;

struct Tier {
    Engine *e;
    Region region;
    IrFunc ir;
    Opt opt;
    HostCode code;
    u8 *buffer;        /* REGION_BUFFER bytes */
    Arena arena;       /* of one region: copies */
    VEC(Copy) copies;
    u32 mode;
    u32 generation;    /* that `live` belongs to */
    VEC(u32) live;     /* numbers of blocks of the half in use that are regions */
    u64 low, high;     /* all of their guest bytes lie between */
    u64 tried[TRIES_LEN]; /* keys of heads that there is no point in trying (again) */
    const char *why;   /* the last one failed */
};

/* --- tables of a region ------------------------------------------------------------------------------------- */

static RegionData *data_of(const Pool *p, const Block *b) { return (RegionData *)(p->data + b->region - 1); }
static HostPoint *points_of(RegionData *d) { return (HostPoint *)(d + 1); }
static HostEntry *entries_of(RegionData *d) { return (HostEntry *)(points_of(d) + d->point_count); }
static RegionRange *ranges_of(RegionData *d) { return (RegionRange *)(entries_of(d) + d->entry_count); }
static u8 *maps_of(RegionData *d) { return (u8 *)(ranges_of(d) + d->range_count); }
_Static_assert(sizeof(RegionData) % 4 == 0 && sizeof(HostPoint) % 8 == 0 && sizeof(HostEntry) % 8 == 0, "alignment of what stands behind");

const u8 *tier_point(const Pool *p, const Block *b, u64 host_pc, u64 *pc) {
    RegionData *d = data_of(p, b);
    u32 at = (u32)(host_pc - (u64)p->rx - b->code), lo = 0, hi = d->point_count;
    while (lo < hi) { /* the last one at or before it */
        u32 mid = lo + (hi - lo) / 2;
        if (points_of(d)[mid].at <= at) lo = mid + 1;
        else hi = mid;
    }
    if (!lo) return NULL;
    *pc = points_of(d)[lo - 1].pc;
    return maps_of(d) + points_of(d)[lo - 1].map;
}

u64 tier_entry_pc(const Pool *p, const Block *b, u64 at) {
    RegionData *d = data_of(p, b);
    i64 offset = (i64)(at - (u64)p->rx - b->code);
    for (u32 k = 0; k < d->entry_count; k++)
        if (offset <= (i64)entries_of(d)[k].at) return entries_of(d)[k].pc;
    return b->pc;
}

/* --- guest code -------------------------------------------------------------------------------------------------- */

/* Reads by the kernel: the page may be gone by the time, and a fault must not happen here. Bytes read. */
static u32 read_guest(const void *from, u8 *to, u32 size) {
    struct iovec local = {to, size}, remote = {(void *)from, size};
    long self = sys_call(SYS_getpid);
    long n = sys_call(SYS_process_vm_readv, self, &local, 1, &remote, 1, 0);
    return n > 0 ? (u32)n : 0;
}

static const Copy *copy_page(Tier *t, u64 page, const u8 *code) {
    for (u32 k = 0; k < t->copies.len; k++)
        if (t->copies.at[k].page == page) return &t->copies.at[k];
    Copy c = {.page = page, .bytes = arena_alloc(&t->arena, PAGE_BYTES + COPY_SLACK)};
    c.size = read_guest(code, c.bytes, PAGE_BYTES + COPY_SLACK);
    if (c.size < PAGE_BYTES) c.size = read_guest(code, c.bytes, PAGE_BYTES);
    vec_push(&t->copies, c);
    return &t->copies.at[t->copies.len - 1];
}

static const u8 *fetch(void *ctx, u64 pc, size_t *avail) {
    Tier *t = ctx;
    bool pristine;
    const u8 *code = t->e->hooks.fetch(t->e->hooks.ctx, pc, avail, &pristine);
    if (!code || !pristine) return NULL;
    u64 at = pc % PAGE_BYTES;
    const Copy *c = copy_page(t, pc - at, code - at);
    if (at >= c->size) return NULL;
    *avail = MIN(*avail, c->size - at);
    return c->bytes + at;
}

static bool reached(void *ctx, u64 pc) {
    Tier *t = ctx;
    return cache_lookup(&t->e->cache, t->e->cache.generation, pc, t->mode) != NULL;
}

/* --- installing ---------------------------------------------------------------------------------------------------- */

static u64 data_size(const Tier *t) {
    const HostCode *c = &t->code;
    return align_up(sizeof(RegionData) + c->points.len * sizeof(HostPoint) + c->entries.len * sizeof(HostEntry) + t->region.ranges.len * sizeof(RegionRange) + c->maps.len, 8);
}

static bool has_room(const Tier *t, const Pool *h) {
    const HostCode *c = &t->code;
    return h->used + HOST_PAD + 64 + c->size <= h->size && h->block_count < h->block_max && h->exit_count + c->exits.len <= h->exit_max &&
           h->data_used + data_size(t) <= h->data_max;
}

static u32 install_data(Tier *t, Pool *h) {
    const HostCode *c = &t->code;
    RegionData *d = (RegionData *)(h->data + h->data_used);
    *d = (RegionData){(u32)data_size(t), c->points.len, c->entries.len, t->region.ranges.len, c->maps.len};
    if (c->points.len) memcpy(points_of(d), c->points.at, c->points.len * sizeof(HostPoint));
    memcpy(entries_of(d), c->entries.at, c->entries.len * sizeof(HostEntry));
    memcpy(ranges_of(d), t->region.ranges.at, t->region.ranges.len * sizeof(RegionRange));
    if (c->maps.len) memcpy(maps_of(d), c->maps.at, c->maps.len);
    h->data_used += d->size;
    return (u32)((u8 *)d - h->data) + 1;
}

/* Compiled code aligns itself to 64 bytes at most, so that is how far it may be moved. */
static Block *install(Tier *t, Pool *h, u64 pc) {
    Engine *e = t->e;
    const HostCode *c = &t->code;
    u64 at = align_up((u64)h->rx + h->used + HOST_PAD, 64) - (u64)h->rx;
    cache_own(&e->cache, h->rw + at - HOST_PAD, c->size + HOST_PAD);
    memcpy(h->rw + at, c->rw, c->size);
    for (u32 k = 0; k < c->entries.len; k++) memcpy(h->rw + at + c->entries.at[k].at - 4, &h->block_count, 4);
    Block *b = &h->blocks[h->block_count];
    *b = (Block){.pc = pc, .code = at, .mode = t->mode, .host_size = (u32)c->size, .first_exit = h->exit_count, .exit_count = c->exits.len, .pristine = true};
    b->region = install_data(t, h);
    for (u32 k = 0; k < c->exits.len; k++) {
        const HostExit *x = &c->exits.at[k];
        h->exits[h->exit_count++] = (ExitRecord){.pc = x->pc, .field = (u32)(at + x->at), .stub = (u32)(at + x->stub), .site = (u32)(at + x->site), .poll = x->poll};
    }
    h->used = at + c->size;
    return b;
}

/* What stood at the region's head: nobody shall come there any more. */
static void drop_quick(Engine *e, u64 pc, u32 mode) {
    Pool *p;
    const void *code = cache_lookup(&e->cache, e->cache.generation, pc, mode);
    if (!code || !cache_block_at(&e->cache, (u64)code, &p)) return;
    const Block *b = cache_entry_block(p, code);
    kill_block(e, p, (u32)(b - p->blocks));
}

static void publish(Tier *t, Pool *h, Block *b) {
    drop_quick(t->e, b->pc, b->mode);
    for (u32 k = 0; k < t->region.ranges.len; k++) {
        const RegionRange *r = &t->region.ranges.at[k];
        t->low = MIN(t->low, r->pc);
        t->high = MAX(t->high, r->pc + r->size);
    }
    vec_push(&t->live, h->block_count);
    __atomic_store_n(&h->block_count, h->block_count + 1, __ATOMIC_RELEASE);
    cache_enter(h, cache_key(b->pc, b->mode), b->code);
}

/* --- making one -------------------------------------------------------------------------------------------------- */

static bool compile(Tier *t, u64 pc) {
    static const RegionSource source = {.fetch = fetch, .reached = reached};
    RegionSource s = source;
    s.ctx = t;
    t->copies.len = 0;
    arena_reset(&t->arena);
    if (!region_build(&t->region, &s, &region_default_limits, t->e->guest, pc, t->mode, &t->ir)) {
        t->why = t->region.why;
        return false;
    }
    opt_run(&t->opt, &t->ir);
    HostCode *c = &t->code;
    c->rw = t->buffer, c->rx = t->buffer, c->cap = REGION_BUFFER;
    if (t->e->host->compile_region(&t->e->cache.stubs, &t->ir, c)) return true;
    t->why = "it wants too many registers, or is too large";
    return false;
}

/* A new generation has no regions, and may try all again. */
static void follow_generation(Tier *t) {
    if (t->generation == t->e->cache.generation) return;
    t->generation = t->e->cache.generation;
    t->live.len = 0;
    t->low = ~0ull, t->high = 0;
    memset(t->tried, 0, sizeof t->tried);
}

/* Was this head tried before? Forgets some when there are many, which costs a try. */
static bool note_try(Tier *t, u64 key) {
    u64 *at = &t->tried[hash_u64(key) % TRIES_LEN];
    bool again = *at == key;
    *at = key;
    return again;
}

static void dump(Engine *e, const Block *b, u64 pc) {
    const EngineOptions *o = &e->options;
    const Tier *t = e->tier;
    if (!o->dump || (o->dump_size && pc - o->dump_start >= o->dump_size)) return;
    fd_print(o->log_fd, "region %lx mode %u: %u guest instructions, %u loops, %u calls inlined, %u bytes\n", pc, b->mode, t->region.insns, t->region.loops, t->region.inlined, b->host_size);
    if (o->dump & ENGINE_DUMP_IR) dump_ir(e, &t->ir);
    if (o->dump & ENGINE_DUMP_HOST) dump_code(e, cache_half(&e->cache)->rx + b->code, b->host_size);
}

/* An image brought one along? */
static bool has_region(Engine *e, u64 pc, u32 mode) {
    Pool *p;
    const void *code = cache_lookup(&e->cache, e->cache.generation, pc, mode);
    const Block *b = code ? cache_block_at(&e->cache, (u64)code, &p) : NULL;
    return b && b->region;
}

static void make_region(Engine *e, u64 pc, u32 mode) {
    Tier *t = e->tier;
    follow_generation(t);
    if (note_try(t, cache_key(pc, mode)) || has_region(e, pc, mode)) return;
    u64 start = clock_ns();
    t->mode = mode;
    Pool *h = cache_half(&e->cache);
    if (!compile(t, pc) || !has_room(t, h)) {
        e->stats.regions_failed++;
    } else {
        Block *b = install(t, h, pc);
        publish(t, h, b);
        e->stats.regions++;
        e->stats.region_insns += t->region.insns;
        e->stats.region_host_bytes += t->code.size;
        if (UNLIKELY(e->options.dump)) dump(e, b, pc);
        note_perf(e, h, b, "region", start);
    }
    e->stats.region_ns += clock_ns() - start;
}

/* --- what is hot ---------------------------------------------------------------------------------------------------- */

void tier_reload(Vcpu *cpu, bool all) {
    const Engine *e = cpu->engine;
    u32 hot = e->options.hot ? e->options.hot : HOT_DEFAULT;
    for (u32 k = 0; k < VCPU_COUNTS; k++)
        if (all || (i32)cpu->counts[k] <= 0) cpu->counts[k] = hot;
}

/* The cpu stands at a conditional branch, which it has yet to do again, or at the target of a jump or call. */
static u64 hot_head(Tier *t, u64 pc) {
    size_t avail;
    const u8 *code = fetch(t, pc, &avail);
    IrFunc *f = &t->ir;
    ir_reset(f, t->e->guest, pc, t->mode);
    if (!code || avail < t->e->guest->insn_align || !t->e->guest->lift(f, pc, code, avail)) return pc;
    const IrInsn *last = &f->insns.at[f->insns.len - 1];
    return last->op == IR_exit_if && last->imm <= pc ? last->imm : pc;
}

bool tier_hot(Vcpu *cpu) {
    Engine *e = cpu->engine;
    if (__atomic_load_n(&cpu->poll, __ATOMIC_SEQ_CST)) {
        tier_reload(cpu, false);
        return false;
    }
    tier_reload(cpu, false);
    Tier *t = e->tier;
    if (!t) return true;
    lock_take(&e->lock);
    t->copies.len = 0;
    arena_reset(&t->arena);
    t->mode = cpu->mode;
    u64 head = hot_head(t, cpu->pc);
    make_region(e, head, cpu->mode);
    cpu->counts[vcpu_count_of(head)] = TRIED_COUNT;
    lock_give(&e->lock);
    return true;
}

/* --- dying ---------------------------------------------------------------------------------------------------------- */

void tier_kill(Engine *e, Pool *p, Block *b) {
    RegionData *d = data_of(p, b);
    for (u32 k = 1; k < d->entry_count; k++) { /* entry 0 is the block's */
        u64 at = b->code + entries_of(d)[k].at;
        cache_own(&e->cache, p->rw + at - HOST_PAD, HOST_PAD + 2);
        e->host->unlink_entry(&e->cache.stubs, p->rw + at, p->rx + at);
    }
    if (e->tier) e->tier->tried[hash_u64(cache_key(b->pc, b->mode)) % TRIES_LEN] = 0;
}

bool tier_touches(const Pool *p, const Block *b, u64 start, u64 size) {
    RegionData *d = data_of(p, b);
    for (u32 k = 0; k < d->range_count; k++) {
        const RegionRange *r = &ranges_of(d)[k];
        if (r->pc < start ? start - r->pc < r->size : r->pc - start < size) return true;
    }
    return false;
}

bool tier_lies_in(const Pool *p, const Block *b, u64 start, u64 size) {
    RegionData *d = data_of(p, b);
    for (u32 k = 0; k < d->range_count; k++) {
        const RegionRange *r = &ranges_of(d)[k];
        if (r->pc < start || r->pc + r->size > start + size) return false;
    }
    return true;
}

void tier_renumber(const RegionData *data, u8 *code, u32 number) {
    RegionData *d = (RegionData *)data;
    for (u32 k = 0; k < d->entry_count; k++) memcpy(code + entries_of(d)[k].at - 4, &number, 4);
}

void tier_invalidate(Engine *e, u64 start, u64 size) {
    Tier *t = e->tier;
    if (!t) return;
    follow_generation(t);
    if (start >= t->high || (start < t->low && t->low - start >= size)) return;
    Pool *h = cache_half(&e->cache);
    u32 kept = 0;
    for (u32 k = 0; k < t->live.len; k++) {
        u32 n = t->live.at[k];
        if (tier_touches(h, &h->blocks[n], start, size)) kill_block(e, h, n);
        if (!h->blocks[n].dead) t->live.at[kept++] = n;
    }
    t->live.len = kept;
}

/* --- beginning and end ------------------------------------------------------------------------------------------------ */

void tier_init(Engine *e) {
    Arena arena = {0};
    u8 *buffer = sys_mmap(NULL, REGION_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(buffer)) return;
    Tier *t = arena_alloc(&arena, sizeof *t);
    t->e = e;
    t->buffer = buffer;
    t->opt.pinned = PINNED;
    t->generation = ~0u;
    e->tier = t;
}

void tier_fini(Engine *e) {
    Tier *t = e->tier;
    if (!t) return;
    region_drop(&t->region);
    ir_drop(&t->ir);
    opt_drop(&t->opt);
    arena_drop(&t->arena);
    vec_drop(&t->copies);
    vec_drop(&t->live);
    sys_munmap(t->buffer, REGION_BUFFER);
    e->tier = NULL;
}

void tier_print_stats(const Engine *e, Text *out) {
    const EngineStats *s = &e->stats;
    text_print(out, "regions: %lu\nregions_failed: %lu\nregion_insns: %lu\nregion_host_bytes: %lu\nregion_ns: %lu\n", s->regions, s->regions_failed, s->region_insns, s->region_host_bytes, s->region_ns);
    text_print(out, "region_ns_per_insn: %lu\n", s->region_ns / MAX(s->region_insns, 1ul));
    if (!e->tier) return;
    const OptStats *o = &e->tier->opt.stats;
    text_print(out, "opt_insns_before: %lu\nopt_insns_after: %lu\nopt_promoted: %lu\nopt_params: %lu\nopt_merged: %lu\nopt_loads: %lu\nopt_extensions: %lu\nopt_dead: %lu\nopt_branches: %lu\n",
               o->insns_before, o->insns_after, o->promoted, o->params, o->merged, o->loads, o->extensions, o->dead, o->branches);
    if (e->tier->why) text_print(out, "region_failed_last: %s\n", e->tier->why);
}
