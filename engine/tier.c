/* SPDX-License-Identifier: Apache-2.0 */
/* See tier.h. */
#include "engine/tier.h"
#include "base/clock.h"
#include "base/sys.h"
#include "engine/internal.h"
#include "engine/profile.h"
#include "opt/opt.h"
#include <linux/futex.h>
#include <sys/mman.h>
#include <time.h>

enum { HOT_DEFAULT = 1 << 18, TRIED_COUNT = 1 << 16 /* until the same target is looked at again */ };
enum { BUDGET_PART = 30, JOB_NS = 600000 /* one region, about */, THREAD_NS = 60000 /* to start and end one, and what else of it nobody sees */ };
enum { TRIAL_COUNT = 1 << 12, TRIAL_NS = 240 /* for each entry, or more */, TRIAL_INSNS = 16, TRIAL_NS_MIN = 40, SHORT_NS = 10000, NEVER_COUNT = 1 << 30 };
enum { FUNCTION_BYTES = 16 * 1024 /* from a function's entry to a loop in it */ };
enum { GIVEN_UP_MAX = 256, REGION_BUFFER = 512 * 1024, TRIES_LEN = 4096, JOBS_MAX = 64, COPY_SLACK = 8 };

typedef struct Copy { /* of a page of guest code, with the first bytes of the next */
    u64 page;
    u32 size;
    u8 *bytes;
} Copy;

typedef struct Job {
    u64 pc;
    u32 mode;
    u32 guess; /* RegionSource.guess */
    u64 seen[OPT_SEEN]; /* Opt.seen */
} Job;

struct Tier {
    Engine *e;
    /* The working thread's; `region` does not change while `building`. */
    Region region;
    IrFunc ir;
    Opt opt;
    HostCode code;
    u8 *buffer;        /* REGION_BUFFER bytes */
    Job job;
    /* The lock's. */
    VEC(Job) jobs;
    VEC(Job) given_up; /* heads whose regions were: what is translated there is to be marked */
    bool working;      /* there is a thread, or soon will be, that takes jobs */
    bool building;     /* it has given the lock, and will come back with code made of region.ranges */
    bool changed;      /* these bytes have changed since */
    u32 alive;         /* id of that thread; the kernel's futex */
    u32 paused;        /* calls of engine_pause */
    i64 pid;           /* whose thread it would be */
    IrFunc probe;      /* one instruction */
    Arena arena;       /* copies */
    u64 spent_ns;      /* CPU time of this process for regions */
    u64 trial[TRIES_LEN]; /* like `tried`: CPU time when the trial of the region at that head began; 0: it has not */
    VEC(Copy) copies;  /* of guest code; used while the lock is held, and then forgotten */
    u32 generation;    /* that `live` belongs to */
    VEC(u32) live;     /* numbers of blocks of the half in use that are regions */
    u64 low, high;     /* all of their guest bytes lie between */
    bool used;         /* `tried` and `trial` are not empty */
    u64 tried[TRIES_LEN]; /* keys of heads that there is no point in trying (again) */
    Profile profile;
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

static const Copy *copy_page(Tier *t, u64 page, const u8 *code) {
    for (u32 k = 0; k < t->copies.len; k++)
        if (t->copies.at[k].page == page) return &t->copies.at[k];
    Copy c = {.page = page, .bytes = arena_alloc(&t->arena, PAGE_BYTES + COPY_SLACK)};
    c.size = (u32)sys_read_memory(c.bytes, code, PAGE_BYTES + COPY_SLACK); /* the page may be gone by now */
    if (c.size < PAGE_BYTES) c.size = (u32)sys_read_memory(c.bytes, code, PAGE_BYTES);
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
    return cache_lookup(&t->e->cache, t->e->cache.generation, pc, t->job.mode) != NULL;
}

static u32 known(void *ctx, u64 pc) { return known_at(((Tier *)ctx)->e, pc); }

/* Only in the same file: an image holds regions of its own file's code (tier_lies_in), and a region that no other process gets costs more than it gains. */
static u32 targets(void *ctx, u64 pc, RegionTarget out[REGION_TARGETS]) {
    Tier *t = ctx;
    u32 count = profile_targets(&t->profile, pc, out), kept = 0;
    for (u32 k = 0; k < count; k++)
        if (cache_image_at(&t->e->cache, out[k].pc) == cache_image_at(&t->e->cache, t->job.pc)) out[kept++] = out[k];
    return kept;
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
    *d = (RegionData){(u32)data_size(t), c->points.len, c->entries.len, t->region.ranges.len, c->maps.len, t->region.insns + t->opt.skipped};
    if (c->points.len) memcpy(points_of(d), c->points.at, c->points.len * sizeof(HostPoint));
    memcpy(entries_of(d), c->entries.at, c->entries.len * sizeof(HostEntry));
    memcpy(ranges_of(d), t->region.ranges.at, t->region.ranges.len * sizeof(RegionRange));
    if (c->maps.len) memcpy(maps_of(d), c->maps.at, c->maps.len);
    h->data_used += d->size;
    return (u32)((u8 *)d - h->data) + 1;
}

/* Compiled code aligns itself to 64 bytes at most, so that is how far it may be moved. */
static Block *install(Tier *t, Pool *h) {
    Engine *e = t->e;
    const HostCode *c = &t->code;
    u64 at = align_up((u64)h->rx + h->used + HOST_PAD, 64) - (u64)h->rx;
    cache_own(&e->cache, h->rw + at - HOST_PAD, c->size + HOST_PAD);
    memcpy(h->rw + at, c->rw, c->size);
    for (u32 k = 0; k < c->entries.len; k++) memcpy(h->rw + at + c->entries.at[k].at - 4, &h->block_count, 4);
    Block *b = &h->blocks[h->block_count];
    *b = (Block){.pc = t->job.pc, .code = at, .mode = t->job.mode, .host_size = (u32)c->size, .first_exit = h->exit_count, .exit_count = c->exits.len, .pristine = true};
    b->region = install_data(t, h);
    cache_add_exits(h, at, c);
    h->used = at + c->size;
    return b;
}

/* The block that is entered at pc, and its pool; NULL: there is none. */
static Block *block_for(Engine *e, u64 pc, u32 mode, Pool **p) {
    const void *code = cache_lookup(&e->cache, e->cache.generation, pc, mode);
    return code && cache_block_at(&e->cache, (u64)code, p) ? cache_entry_block(*p, code) : NULL;
}

/* What stands at (pc, mode): nobody shall come there any more. */
static void drop_block(Engine *e, u64 pc, u32 mode) {
    Pool *p;
    const Block *b = block_for(e, pc, mode, &p);
    if (b) kill_block(e, p, (u32)(b - p->blocks));
}

/* A region's entries are counted from now on: judge. The cpus subtract without a lock; what is lost is a round or two. */
static void begin_trial(const Tier *t, u64 pc) {
    for (Vcpu *v = t->e->vcpus; v; v = v->next) {
        u32 *count = &v->counts[vcpu_entries_of(pc)];
        if ((i32)__atomic_load_n(count, __ATOMIC_RELAXED) > TRIAL_COUNT) __atomic_store_n(count, TRIAL_COUNT, __ATOMIC_RELAXED);
    }
}

static void publish(Tier *t, Pool *h, Block *b) {
    drop_block(t->e, b->pc, b->mode);
    for (u32 k = 0; k < t->region.ranges.len; k++) {
        const RegionRange *r = &t->region.ranges.at[k];
        t->low = MIN(t->low, r->pc);
        t->high = MAX(t->high, r->pc + r->size);
    }
    begin_trial(t, b->pc);
    vec_push(&t->live, h->block_count);
    __atomic_store_n(&h->block_count, h->block_count + 1, __ATOMIC_RELEASE);
    cache_enter(h, cache_key(b->pc, b->mode), b->code);
}

/* --- making one -------------------------------------------------------------------------------------------------- */

/* A new generation has no regions, and may try all again. */
static void follow_generation(Tier *t) {
    if (t->generation == t->e->cache.generation) return;
    t->generation = t->e->cache.generation;
    t->live.len = 0;
    t->low = ~0ull, t->high = 0;
    if (!t->used) return; /* pages that need not be there */
    memset(t->tried, 0, sizeof t->tried);
    memset(t->trial, 0, sizeof t->trial);
    t->used = false;
}

/* The lock is held. */
static bool build(Tier *t, Job job) {
    RegionSource source = {.ctx = t, .fetch = fetch, .reached = reached, .targets = targets, .known = known, .guess = job.guess};
    t->job = job;
    t->copies.len = 0;
    arena_reset(&t->arena);
    follow_generation(t);
    bool ok = region_build(&t->region, &source, &region_default_limits, t->e->guest, job.pc, job.mode, &t->ir);
    if (!ok) t->why = t->region.why;
    t->changed = false;
    t->building = ok;
    return ok;
}

/* The lock is not held. */
static bool compile(Tier *t) {
    HostCode *c = &t->code;
    c->rw = t->buffer, c->rx = t->buffer, c->cap = REGION_BUFFER;
    t->opt.seen = t->job.seen;
    opt_run(&t->opt, &t->ir);
    return t->e->host->compile_region(&t->e->cache.stubs, &t->ir, c);
}

static void dump(Engine *e, const Tier *t, const Block *b) {
    const EngineOptions *o = &e->options;
    if (!o->dump || (o->dump_size && b->pc - o->dump_start >= o->dump_size)) return;
    fd_print(o->log_fd, "region %lx mode %u: %u guest instructions, %u loops, %u calls inlined, %u targets guessed, %u bytes\n", b->pc, b->mode, t->region.insns, t->region.loops, t->region.inlined, t->region.guarded,
             b->host_size);
    if (o->dump & ENGINE_DUMP_IR) dump_ir(e, &t->ir);
    if (o->dump & ENGINE_DUMP_HOST) dump_code(e, cache_half(&e->cache)->rx + b->code, b->host_size);
}

/* An image brought one along? */
static bool has_region(Engine *e, u64 pc, u32 mode) {
    Pool *p;
    const Block *b = block_for(e, pc, mode, &p);
    return b && b->region;
}

static void note_cold(Engine *e, Job job) {
    Pool *p;
    Block *b = block_for(e, job.pc, job.mode, &p);
    if (b && !b->region) b->cold = COLD_NEWS;
}

/* The lock is held again; much may have happened. */
static const char *finish(Tier *t, bool compiled, u64 start_ns) {
    Engine *e = t->e;
    Pool *h = cache_half(&e->cache);
    t->building = false;
    if (!compiled) return "it wants too many registers, or is too large";
    if (t->changed || t->generation != e->cache.generation) return "its code went away";
    if (!has_room(t, h)) return "the code cache is full";
    Block *b = install(t, h);
    publish(t, h, b);
    e->stats.regions++;
    e->stats.region_insns += t->region.insns;
    e->stats.region_guesses += t->region.guarded;
    e->stats.region_known += t->region.known;
    e->stats.region_host_bytes += t->code.size;
    if (UNLIKELY(e->options.dump)) dump(e, t, b);
    note_perf(e, h, b, "region", start_ns);
    return NULL;
}

static void do_job(Tier *t, Job job) {
    Engine *e = t->e;
    u64 start = clock_ns(), cpu_start = clock_get_ns(CLOCK_THREAD_CPUTIME_ID);
    const char *why = "";
    if (build(t, job)) {
        lock_give(&e->lock);
        bool compiled = compile(t);
        lock_take(&e->lock);
        why = finish(t, compiled, start);
        if (why) t->why = why;
    }
    if (why) {
        e->stats.regions_failed++;
        note_cold(e, job);
    }
    u64 spent = clock_get_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
    e->stats.region_ns += spent;
    t->spent_ns += spent;
}

/* Until there is nothing left to do. */
static void work(void *arg) {
    Tier *t = arg;
    lock_take(&t->e->lock);
    while (t->jobs.len) {
        Job job = t->jobs.at[0];
        memmove(t->jobs.at, t->jobs.at + 1, --t->jobs.len * sizeof(Job));
        do_job(t, job);
    }
    t->working = false;
    lock_give(&t->e->lock);
}

/* The lock is held; given and taken again if this thread has to do it. */
static void start_work(Tier *t) {
    if (t->working || t->paused || !t->jobs.len) return;
    if (__atomic_load_n(&t->alive, __ATOMIC_SEQ_CST)) return; /* the last one is still ending: the next time that something is hot */
    t->working = true;
    t->spent_ns += THREAD_NS;
    /* In lockstep, without: the same program does the same each time. */
    if (!t->e->options.lockstep && t->e->hooks.spawn && t->e->hooks.spawn(t->e->hooks.ctx, work, t, &t->alive)) return;
    lock_give(&t->e->lock);
    work(t);
    lock_take(&t->e->lock);
}

/* --- what is hot ---------------------------------------------------------------------------------------------------- */

u32 *tier_reload(Vcpu *cpu, bool all) {
    const Engine *e = cpu->engine;
    u32 hot = e->options.hot ? e->options.hot : HOT_DEFAULT, *out = cpu->counts;
    for (u32 k = 0; k < VCPU_COUNTS; k++) {
        if ((i32)cpu->counts[k] <= 0) out = &cpu->counts[k];
        else if (!all) continue;
        cpu->counts[k] = all ? hot : MAX(hot, VCPU_WEIGHT_MAX); /* else the heaviest branch would never get by */
    }
    return out;
}

/* The cpu stands at a conditional branch, which it has yet to do again, or at the target of a jump or call. */
static u64 hot_head(Tier *t, u64 pc, u32 mode) {
    size_t avail;
    t->copies.len = 0;
    arena_reset(&t->arena);
    const u8 *code = fetch(t, pc, &avail);
    IrFunc *f = &t->probe;
    ir_reset(f, t->e->guest, pc, mode);
    if (!code || avail < t->e->guest->insn_align || !t->e->guest->lift(f, pc, code, avail)) return pc;
    const IrInsn *last = &f->insns.at[f->insns.len - 1];
    return last->op == IR_exit_if && last->imm <= pc ? last->imm : pc;
}

/* Which heads were tried before. Forgets some when there are many, which costs a try. */
static bool was_tried(const Tier *t, u64 key) { return t->tried[hash_u64(key) % TRIES_LEN] == key; }
static void note_try(Tier *t, u64 key) {
    t->tried[hash_u64(key) % TRIES_LEN] = key;
    t->used = true;
}

/* Compiling may take a part of the process's time. What is hot comes by again soon. */
static bool has_budget(const Tier *t) {
    return t->e->options.hot || t->spent_ns + (t->jobs.len + 1) * JOB_NS <= clock_get_ns(CLOCK_PROCESS_CPUTIME_ID) / BUDGET_PART;
}

/* There is a region, or it is known that there can be none. */
static bool is_settled(Engine *e, u64 pc, u32 mode) {
    Pool *p;
    const Block *b = block_for(e, pc, mode, &p);
    return b && (b->region || b->cold);
}

/* May this head become a job? */
static bool is_open(Tier *t, u64 head, u32 mode) { return t->jobs.len < JOBS_MAX && !was_tried(t, cache_key(head, mode)) && !is_settled(t->e, head, mode); }

static void add_job(Tier *t, const Vcpu *cpu, u64 head) {
    note_try(t, cache_key(head, cpu->mode));
    Job job = {.pc = head, .mode = cpu->mode, .guess = engine_guess(t->e, cpu)};
    for (u32 k = 0; k < OPT_SEEN && k < t->e->guest->slot_count; k++)
        if (t->e->guest->slots[k].type == IR_I64) memcpy(&job.seen[k], (const u8 *)cpu->state + t->e->guest->slots[k].offset, sizeof(u64));
    vec_push(&t->jobs, job);
}

/* Where the call that returns to `ret` goes; 0: that is no direct call. */
static u64 call_target(Tier *t, u64 ret, u32 mode) {
    t->copies.len = 0;
    arena_reset(&t->arena);
    for (u64 pc = ret - 8; pc < ret; pc += 4) { /* auipc and jalr, or jal */
        IrFunc *f = &t->probe;
        ir_reset(f, t->e->guest, pc, mode);
        for (u64 at = pc; at < ret;) {
            size_t avail;
            const u8 *code = fetch(t, at, &avail);
            unsigned len = code && avail >= t->e->guest->insn_align && !f->closed ? t->e->guest->lift(f, at, code, avail) : 0;
            if (!len) break;
            at += len;
        }
        const IrInsn *last = &f->insns.at[f->insns.len - 1];
        if (last->op == IR_exit && last->aux == EXIT_CALL && f->args.at[last->a] == ret) return last->imm;
    }
    return 0;
}

/* The entry of the function that pc, where the cpu stands, is in; 0: who knows. */
static u64 function_head(Tier *t, const Vcpu *cpu, u64 pc) {
    const u64 *frame = cpu->shadow_sp;
    if ((const u8 *)frame >= (const u8 *)cpu->shadow_base) return 0;
    u64 head = call_target(t, frame[1], cpu->mode);
    return head && head < pc && pc - head < FUNCTION_BYTES ? head : 0;
}

/* A region that is left soon each time is a loop of few rounds in a function that is called often: by code that does not count calls. The whole
 * function does better, as one region: registers are moved once for all of its loops. */
static void consider_function(Tier *t, Vcpu *cpu) {
    u64 head = function_head(t, cpu, cpu->pc);
    if (!head || !is_open(t, head, cpu->mode) || !has_budget(t)) return;
    t->e->stats.region_functions++;
    add_job(t, cpu, head);
    start_work(t);
}

/* How long it is to take from one entry of the region at pc to the next, at least: a long loop earns what moving registers costs in its first round. */
static u64 trial_ns(Engine *e, u64 pc, u32 mode) {
    Pool *p;
    const Block *b = block_for(e, pc, mode, &p);
    u32 insns = b && b->region ? tier_data(p, b)->insns : 0;
    return MAX((u64)TRIAL_NS * TRIAL_INSNS / MAX(insns, (u32)TRIAL_INSNS), (u64)TRIAL_NS_MIN);
}

/* A region counts how often it is entered. Where that is all the time, it leaves soon each time, and then moving registers in and out
 * costs more than it gains: quick code does as well. Time is an upper bound for what the region does with it. Returns the
 * next count. */
static u32 judge(Tier *t, Vcpu *cpu) {
    u64 pc = cpu->pc;
    u32 mode = cpu->mode;
    u64 key = cache_key(pc, mode), now = clock_get_ns(CLOCK_THREAD_CPUTIME_ID), *began = &t->trial[hash_u64(key) % TRIES_LEN];
    u64 took = now - *began;
    bool first = !*began;
    *began = now;
    t->used = true;
    if (first) return TRIAL_COUNT;
    if (took < (u64)TRIAL_COUNT * SHORT_NS || t->e->options.lockstep) consider_function(t, cpu); /* there, time tells nothing */
    if (took >= (u64)TRIAL_COUNT * trial_ns(t->e, pc, mode)) return NEVER_COUNT;
    note_try(t, key);
    drop_block(t->e, pc, mode);
    if (t->given_up.len < GIVEN_UP_MAX) vec_push(&t->given_up, ((Job){.pc = pc, .mode = mode}));
    t->e->stats.regions_demoted++;
    return NEVER_COUNT;
}

/* By now they have quick blocks again, which tell the next process. Without that it would make the same regions for nothing, a millisecond each. */
void tier_note_given_up(Engine *e) {
    Tier *t = e->tier;
    for (u32 k = 0; t && k < t->given_up.len; k++) note_cold(e, t->given_up.at[k]);
    if (t) t->given_up.len = 0;
}

/* A head that is hot: a job, as soon as enough is known of where indirect jumps and calls go. */
static void consider(Tier *t, Vcpu *cpu, u64 head) {
    u32 *count = &cpu->counts[vcpu_count_of(head)];
    *count = TRIED_COUNT;
    if (!is_open(t, head, cpu->mode)) return;
    profile_sample(&t->profile, cpu);
    u32 wait = t->e->options.hot ? 0 : profile_wait(&t->profile, head);
    if (wait) {
        *count = wait;
        return;
    }
    add_job(t, cpu, head);
}

/* `count`: the one that has run out. */
static void find_work(Tier *t, Vcpu *cpu, u32 *count) {
    lock_take(&t->e->lock);
    follow_generation(t);
    if (has_region(t->e, cpu->pc, cpu->mode)) {
        cpu->counts[vcpu_entries_of(cpu->pc)] = judge(t, cpu);
    } else if (!has_budget(t)) {
        *count = HOT_DEFAULT / 4; /* it is hot, and may have its region soon */
    } else {
        consider(t, cpu, hot_head(t, cpu->pc, cpu->mode));
        start_work(t);
    }
    lock_give(&t->e->lock);
}

bool tier_hot(Vcpu *cpu) {
    Engine *e = cpu->engine;
    bool asked = __atomic_load_n(&cpu->poll, __ATOMIC_SEQ_CST);
    u32 *count = tier_reload(cpu, false);
    if (asked) return false;
    /* A process that shares our memory (vfork) must not: it may end at any time, and its threads with it. */
    if (e->tier && sys_call(SYS_getpid) == e->tier->pid) find_work(e->tier, cpu, count);
    return true;
}

/* --- being alone ------------------------------------------------------------------------------------------------------- */

static void wait_ended(Tier *t) {
    u32 tid = __atomic_load_n(&t->alive, __ATOMIC_SEQ_CST);
    if (!tid) return;
    while (__atomic_load_n(&t->alive, __ATOMIC_SEQ_CST) == tid) sys_futex(&t->alive, FUTEX_WAIT, tid, NULL);
    for (u32 k = 0; k < 10000 && sys_call(SYS_tgkill, t->pid, tid, 0) == 0; k++) sys_call(SYS_sched_yield); /* not quite gone */
}

void engine_pause(Engine *e) {
    Tier *t = e->tier;
    if (!t) return;
    lock_take(&e->lock);
    t->paused++;
    lock_give(&e->lock);
    wait_ended(t);
}

void engine_resume(Engine *e) {
    Tier *t = e->tier;
    if (!t) return;
    lock_take(&e->lock);
    t->paused--;
    lock_give(&e->lock);
}

/* --- dying ---------------------------------------------------------------------------------------------------------- */

void tier_kill(Engine *e, Pool *p, Block *b) {
    RegionData *d = data_of(p, b);
    for (u32 k = 1; k < d->entry_count; k++) { /* entry 0 is the block's */
        u64 at = b->code + entries_of(d)[k].at;
        cache_own(&e->cache, p->rw + at - HOST_PAD, HOST_PAD + 2);
        e->host->unlink_entry(&e->cache.stubs, p->rw + at, p->rx + at);
    }
    e->region_died = true;
}

static bool range_touches(const RegionRange *r, u32 count, u64 start, u64 size) {
    for (u32 k = 0; k < count; k++, r++) {
        if (overlaps(r->pc, r->size, start, size)) return true;
    }
    return false;
}

bool tier_touches(const Pool *p, const Block *b, u64 start, u64 size) {
    RegionData *d = data_of(p, b);
    return range_touches(ranges_of(d), d->range_count, start, size);
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
    if (t->building && range_touches(t->region.ranges.at, t->region.ranges.len, start, size)) t->changed = true;
    if (start >= t->high || (start < t->low && t->low - start >= size)) return;
    Pool *h = cache_half(&e->cache);
    u32 kept = 0;
    for (u32 k = 0; k < t->live.len; k++) {
        u32 n = t->live.at[k];
        if (tier_touches(h, &h->blocks[n], start, size)) {
            t->tried[hash_u64(cache_key(h->blocks[n].pc, h->blocks[n].mode)) % TRIES_LEN] = 0;
            kill_block(e, h, n);
        }
        if (!h->blocks[n].dead) t->live.at[kept++] = n;
    }
    t->live.len = kept;
}

/* --- beginning and end ------------------------------------------------------------------------------------------------ */

static Tier *tier_new(Engine *e) {
    Arena arena = {0};
    u8 *buffer = sys_mmap(NULL, REGION_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(buffer)) return NULL;
    Tier *t = arena_alloc(&arena, sizeof *t);
    t->e = e;
    t->buffer = buffer;
    t->opt.pinned = e->host->pinned;
    t->generation = ~0u;
    t->pid = sys_call(SYS_getpid);
    return t;
}

void tier_init(Engine *e) { e->tier = tier_new(e); }

/* If the thread was in the middle of something, its memory is of no use: it is left as it is. */
void tier_forked(Engine *e) {
    Tier *old = e->tier, *t = old;
    if (!old) return;
    if (old->working) {
        t = tier_new(e);
        if (t) {
            t->generation = old->generation;
            t->low = old->low, t->high = old->high;
            for (u32 k = 0; k < old->live.len; k++) vec_push(&t->live, old->live.at[k]);
            memcpy(t->tried, old->tried, sizeof t->tried);
            t->used = old->used;
        }
    }
    if (t) {
        t->pid = sys_call(SYS_getpid);
        t->paused = t->alive = 0;
    }
    e->tier = t;
}

void tier_fini(Engine *e) {
    Tier *t = e->tier;
    if (!t) return;
    region_drop(&t->region);
    ir_drop(&t->ir);
    ir_drop(&t->probe);
    vec_drop(&t->jobs);
    vec_drop(&t->given_up);
    opt_drop(&t->opt);
    arena_drop(&t->arena);
    vec_drop(&t->copies);
    vec_drop(&t->live);
    sys_munmap(t->buffer, REGION_BUFFER);
    e->tier = NULL;
}

void tier_print_stats(const Engine *e, Text *out) {
    const EngineStats *s = &e->stats;
    text_print(out, "regions: %lu\nregions_failed: %lu\nregions_demoted: %lu\nregion_insns: %lu\nregion_guesses: %lu\nregion_known: %lu\nregion_functions: %lu\nregion_host_bytes: %lu\nregion_ns: %lu\n", s->regions, s->regions_failed, s->regions_demoted, s->region_insns, s->region_guesses, s->region_known, s->region_functions,
               s->region_host_bytes, s->region_ns);
    text_print(out, "region_ns_per_insn: %lu\n", s->region_ns / MAX(s->region_insns, 1ul));
    if (!e->tier) return;
    const OptStats *o = &e->tier->opt.stats;
#define PRINT_STAT(name) text_print(out, "opt_" #name ": %lu\n", o->name);
    OPT_EACH_STAT(PRINT_STAT)
#undef PRINT_STAT
    if (e->tier->why) text_print(out, "region_failed_last: %s\n", e->tier->why);
}
