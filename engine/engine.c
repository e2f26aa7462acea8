/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop: look up, translate, link, enter; and what happens to translations when the guest's code or the
 * process changes. See engine.h and cache.h. */
#include "engine/engine.h"
#include "base/guard.h"
#include "base/sys.h"
#include "engine/image.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

/* --- making and unmaking ------------------------------------------------------------------------------- */

enum { SHADOW_BYTES = 64 * 1024, SHADOW_TOP = 512 /* sentinels */, FP_TRAPS = 64 /* signals of a cpu, two microseconds each */ };

/* Under a limit on address space (ulimit -v) a smaller cache may find room. */
static int make_cache(Engine *e) {
    for (u64 size = e->options.cache_size;; size /= 2) {
        int err = cache_init(&e->cache, e->host, e->guest, size);
        if (err != -ENOMEM || size <= MIB(1)) return err;
    }
}

Engine *engine_new(const Guest *guest, const EngineOptions *options, const EngineHooks *hooks, const char **error) {
    Arena arena = {0};
    Engine *e = arena_alloc(&arena, sizeof *e);
    e->guest = guest;
    e->host = &host_x64;
    e->options = *options;
    e->hooks = *hooks;
    if (!e->options.cache_size) e->options.cache_size = MIB(64);
    if (!e->options.log_fd) e->options.log_fd = 2;
    if (e->options.trace_insn) e->options.one_insn = true;
    if (e->options.trace_insn || e->options.trace_block || e->options.lockstep) e->options.no_link = true;
    if ((*error = e->host->init(e->options.host_features))) return NULL;
    if (make_cache(e) != 0) {
        *error = "the host refuses executable memory for generated code (mmap, mprotect; a limit on address space?)";
        return NULL;
    }
    e->buffer = sys_mmap(NULL, COMPILE_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(e->buffer)) {
        *error = "out of memory";
        return NULL;
    }
    perf_begin(&e->perf, e->options.perfmap, e->options.jitdump);
    image_init(e);
    if (e->options.lockstep && !lockstep_init(e)) {
        *error = "out of memory";
        return NULL;
    }
    bool linked = !e->options.no_link || (e->options.lockstep && !e->options.trace_block);
    if (e->options.tier == ENGINE_OPTIMISING && linked && !e->options.one_insn && !guest->paged) tier_init(e);
    e->vcpu_size = align_up(PAGE_BYTES + SHADOW_BYTES + SHADOW_TOP + sizeof(Vcpu) + guest->state_size + 64, PAGE_BYTES);
    return e;
}

void engine_drop(Engine *e) {
    while (e->vcpus) engine_vcpu_drop(e->vcpus);
    for (u32 k = POOL_IMAGES; k < e->cache.pool_count; k++) image_drop(e->cache.pools[k]->image);
    cache_fini(&e->cache);
    tier_fini(e);
    lockstep_fini(e);
    ir_drop(&e->ir);
    sys_munmap(e->buffer, COMPILE_BUFFER);
}

/* --- persistent translations ------------------------------------------------------------------------------ */

void engine_file_mapped(Engine *e, int fd, u64 start, u64 size, u64 offset) { image_map(e, fd, start, size, offset); }
u64 engine_file_place(const Engine *e, int fd, u64 size, unsigned attempt) { return image_place(e, fd, size, attempt); }
void engine_files_done(Engine *e) { store_sleep(&e->store); }

u32 engine_translate(Engine *e, Vcpu *cpu, u64 pc, void (*found)(void *ctx, u64 pc), void *ctx) {
    const void *code;
    Pool *p;
    if (pc >> 56) return 0;
    lock_take(&e->lock);
    const Block *b = NULL;
    if (!cache_lookup(&e->cache, e->cache.generation, pc, cpu->mode) && translate(e, cpu, &(Place){.pc = pc}, cpu->mode, &code) == TRAP_NONE)
        b = cache_block_at(&e->cache, (u64)code, &p);
    for (u32 k = 0; b && k < b->exit_count; k++)
        if (!p->exits[b->first_exit + k].poll) found(ctx, p->exits[b->first_exit + k].pc);
    lock_give(&e->lock);
    return b ? b->guest_size : 0;
}

void engine_save(Engine *e) {
    lock_take(&e->lock);
    image_save(e);
    lock_give(&e->lock);
}

/* One mapping: guard page, shadow stack, sentinels, Vcpu. */
static void empty_tlb(Vcpu *cpu) {
    for (u32 set = 0; set < VCPU_TLB_SETS; set++) vcpu_tlb_clear(cpu, set, false), vcpu_tlb_clear(cpu, set, true);
}

Vcpu *engine_vcpu_new(Engine *e, const Vcpu *parent) {
    u8 *p = sys_mmap(NULL, e->vcpu_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(p)) return NULL;
    sys_mprotect(p, PAGE_BYTES, PROT_NONE);
    Vcpu *cpu = (Vcpu *)align_up((u64)p + PAGE_BYTES + SHADOW_BYTES + SHADOW_TOP, 64);
    cpu->shadow_limit = p;
    cpu->shadow_base = p + PAGE_BYTES + SHADOW_BYTES;
    cpu->engine = e;
    cpu->cached_generation = ~0u;
    if (parent) {
        memcpy(cpu->state, parent->state, e->guest->state_size);
        cpu->pc = parent->pc;
        cpu->fflags = parent->fflags;
    }
    if (e->guest->paged) empty_tlb(cpu);
    cpu->mode = e->guest->mode(cpu);
    cpu->fp_traps = e->hooks.fp_traps ? FP_TRAPS : 0;
    e->host->init_vcpu(&e->cache.stubs, cpu);
    tier_reload(cpu, true);
    lock_take(&e->lock);
    cpu->next = e->vcpus;
    e->vcpus = cpu;
    __atomic_add_fetch(&e->vcpu_count, 1, __ATOMIC_SEQ_CST);
    lock_give(&e->lock);
    return cpu;
}

typedef struct Scratch { /* Vcpu.interp: kept, since it is asked for often */
    IrInterp in;
    IrFunc step;
} Scratch;

static Scratch *scratch_of(Vcpu *cpu) {
    if (!cpu->interp) {
        cpu->interp = sys_mmap(NULL, align_up(sizeof(Scratch), PAGE_BYTES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (sys_failed(cpu->interp)) BUG("out of host memory");
    }
    return cpu->interp;
}

static void scratch_drop(Scratch *s) {
    if (!s) return;
    vec_drop(&s->in.values);
    vec_drop(&s->in.params);
    vec_drop(&s->in.blocks);
    ir_drop(&s->step);
    sys_munmap(s, align_up(sizeof *s, PAGE_BYTES));
}

void engine_vcpu_drop(Vcpu *cpu) {
    Engine *e = cpu->engine;
    lock_take(&e->lock);
    for (Vcpu **at = &e->vcpus; *at; at = &(*at)->next)
        if (*at == cpu) {
            *at = cpu->next;
            __atomic_sub_fetch(&e->vcpu_count, 1, __ATOMIC_SEQ_CST);
            break;
        }
    lock_give(&e->lock);
    scratch_drop(cpu->interp);
    sys_munmap(cpu->shadow_limit, e->vcpu_size);
}

/* --- asking for attention -------------------------------------------------------------------------------- */

/* No target that is looked for in entry k has this key. */
static u64 no_jump(u32 k) { return (u64)(k ^ 1) << 1; }

static void forget_jumps(Vcpu *cpu) {
    for (u32 k = 0; k < JUMP_CACHE_LEN; k++) __atomic_store_n(&cpu->jumps[k].key, no_jump(k), __ATOMIC_RELAXED);
}

/* Running out of counts stops loops of quick code, the poll flag those of regions; emptying the jump cache stops cycles of indirect jumps, which do not poll. */
void engine_kick(Vcpu *cpu) {
    const Engine *e = cpu->engine;
    __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST);
    if (e->guest->paged) { /* a tag that nobody had or will have */
        u64 n = __atomic_add_fetch(&cpu->kicks, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&cpu->jump_tag, ~hash_u64(cpu->context ^ n << 8), __ATOMIC_RELAXED);
        return;
    }
    for (u32 k = 0; k < VCPU_COUNTS; k++) __atomic_store_n(&cpu->counts[k], 0, __ATOMIC_RELAXED);
    forget_jumps(cpu);
}

void kick_all(Engine *e) {
    for (Vcpu *v = e->vcpus; v; v = v->next) engine_kick(v);
}

/* --- eyes ------------------------------------------------------------------------------------------------- */

void note_perf(Engine *e, const Pool *p, const Block *b, const char *what, u64 now_ns) {
    if (LIKELY(!perf_wanted(&e->perf))) return;
    char name[PERF_NAME];
    Text t = text_init(name, sizeof name);
    if (!e->hooks.symbol || !e->hooks.symbol(e->hooks.ctx, b->pc, &t)) text_print(&t, "%s", e->guest->name);
    text_print(&t, " [%s %lx]", what, b->pc);
    perf_note(&e->perf, name, p->rx + b->code, b->host_size, now_ns);
}

/* --- where code is ---------------------------------------------------------------------------------------- */

/* The last instruction of a page, which goes on in the next one. */
static TrapCode straddling_place(Engine *e, Vcpu *cpu, u64 pc, const EnginePage *first, Place *out) {
    EnginePage second;
    u32 here = e->guest->insn_align;
    TrapCode trap = e->hooks.page(e->hooks.ctx, cpu, pc + here, &second);
    if (trap != TRAP_NONE) return trap;
    out->alone |= second.alone;
    memcpy(out->straddling, first->bytes + PAGE_BYTES - here, here);
    memcpy(out->straddling + here, second.bytes, sizeof out->straddling - here);
    out->pages = first->physical / PAGE_BYTES << 32 | second.physical / PAGE_BYTES;
    out->pc = IR_STRADDLE | low_bits(hash_u64(out->pages), 42) << 12 | (pc & (PAGE_BYTES - 1));
    out->code = out->straddling;
    out->avail = sizeof out->straddling;
    return TRAP_NONE;
}

static TrapCode paged_place(Engine *e, Vcpu *cpu, u64 pc, Place *out) {
    EnginePage page;
    TrapCode trap = e->hooks.page(e->hooks.ctx, cpu, pc, &page);
    if (UNLIKELY(trap != TRAP_NONE)) return trap;
    u32 at = pc & (PAGE_BYTES - 1);
    out->alone = page.alone;
    out->code = page.bytes + at;
    out->avail = PAGE_BYTES - at;
    out->pc = page.physical + at;
    out->pages = 0;
    if (UNLIKELY(at == PAGE_BYTES - e->guest->insn_align) && e->guest->length(out->code) > out->avail) return straddling_place(e, cpu, pc, &page, out);
    return TRAP_NONE;
}

TrapCode place_of(Engine *e, Vcpu *cpu, u64 pc, Place *out) {
    if (e->guest->paged) return paged_place(e, cpu, pc, out);
    out->pc = pc;
    out->alone = false;
    if (LIKELY(!(pc >> 56))) return TRAP_NONE;
    cpu->trap_arg = pc; /* where keys hold the mode; no code lies there */
    return TRAP_FETCH;
}

/* Other pages with the same hash may be there in the place of these. */
static bool is_of_pages(const Engine *e, const void *code, u64 pages) {
    Pool *p = cache_pool_at(&e->cache, (u64)code);
    return p && cache_entry_block(p, code)->hash == pages;
}

const void *place_lookup(const Engine *e, u32 generation, const Place *at, u32 mode) {
    const void *code = cache_lookup(&e->cache, generation, at->pc, mode);
    if (UNLIKELY(ir_straddles(at->pc)) && e->guest->paged && code && !is_of_pages(e, code, at->pages)) return NULL;
    return code;
}

u64 engine_virtual(const Engine *e, const Vcpu *cpu, u64 pc) {
    return e->guest->paged ? *guest_page(e->guest, cpu) | (pc & (PAGE_BYTES - 1)) : pc;
}

/* --- running ---------------------------------------------------------------------------------------------- */

/* From here on the half of this generation stays as it is until the cpu's phase is PHASE_VMM again. */
static void enter_generation(Engine *e, Vcpu *cpu) {
    u32 g;
    do {
        g = __atomic_load_n(&e->cache.generation, __ATOMIC_SEQ_CST);
        __atomic_store_n(&cpu->generation, g, __ATOMIC_SEQ_CST);
        __atomic_store_n(&cpu->phase, PHASE_CODE, __ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&e->cache.generation, __ATOMIC_SEQ_CST) != g);
}

/* How the cpu left generated code last. */
typedef struct Left {
    ExitRecord *exit; /* the direct exit taken, if it can be linked; NULL */
    Pool *pool;       /* that it belongs to */
    u32 generation;
    bool indirect;    /* through the jump cache, which should know the target next time */
} Left;

static void link_left(Engine *e, const Left *left, const void *target) {
    if (left->generation != e->cache.generation) return;
    link_exit(&e->cache, e->host, left->pool, left->exit, target);
    e->stats.links++;
}

/* The cpu's phase is PHASE_VMM while it waits for the lock: a flush waits for those that are not. */
static TrapCode find_code_locked(Engine *e, Vcpu *cpu, const Place *at, const Left *left, const void **code) {
    lock_take(&e->lock);
    cpu->generation = e->cache.generation;
    TrapCode trap = TRAP_NONE;
    *code = place_lookup(e, cpu->generation, at, cpu->mode);
    if (!*code) {
        e->stats.lookups_missed++;
        trap = translate(e, cpu, at, cpu->mode, code);
    }
    if (trap == TRAP_NONE) {
        if (left->exit && left->exit->pc == at->pc) link_left(e, left, *code);
        __atomic_store_n(&cpu->phase, PHASE_CODE, __ATOMIC_SEQ_CST);
    }
    lock_give(&e->lock);
    return trap;
}

/* Finds or makes the code for the cpu's pc, which is at `at`. On TRAP_NONE phase is PHASE_CODE. */
static TrapCode find_code(Engine *e, Vcpu *cpu, const Place *at, const Left *left, const void **code) {
    if (!left->exit) {
        enter_generation(e, cpu);
        *code = place_lookup(e, cpu->generation, at, cpu->mode);
        if (LIKELY(*code)) return TRAP_NONE;
        __atomic_store_n(&cpu->phase, PHASE_VMM, __ATOMIC_SEQ_CST);
    }
    return find_code_locked(e, cpu, at, left, code);
}

/* Shadow stack and jump cache hold host addresses of the generation and mode that they were filled in. */
static void renew_caches(Engine *e, Vcpu *cpu) {
    u32 epoch = __atomic_load_n(&e->epoch, __ATOMIC_SEQ_CST);
    if (LIKELY(cpu->cached_generation == cpu->generation && cpu->cached_epoch == epoch)) return;
    cpu->cached_epoch = epoch;
    forget_jumps(cpu);
    e->host->reset_shadow(&e->cache.stubs, cpu);
    cpu->cached_generation = cpu->generation;
}

/* Vcpu.jump_tag while nobody asks for attention: differs between modes, and between contexts. */
static u64 tag_of(const Vcpu *cpu) { return cpu->context ^ vcpu_mode_tag(cpu->mode); }

/* A paged guest is about to run: generated code knows the page that it runs in, and what cached addresses are its own. */
static void settle_page(const Engine *e, Vcpu *cpu) {
    *guest_page(e->guest, cpu) = align_down(cpu->pc, PAGE_BYTES);
    __atomic_store_n(&cpu->jump_tag, tag_of(cpu), __ATOMIC_SEQ_CST);
}

static void remember_jump(const Engine *e, Vcpu *cpu, const void *code) {
    u32 k = cpu->pc >> 1 & (JUMP_CACHE_LEN - 1);
    JumpEntry *j = &cpu->jumps[k];
    __atomic_store_n(&j->key, no_jump(k), __ATOMIC_RELAXED);
    __atomic_store_n(&j->code, code, __ATOMIC_RELAXED);
    __atomic_store_n(&j->key, e->guest->paged ? cpu->pc ^ tag_of(cpu) : cpu->pc, __ATOMIC_RELEASE);
}

ExitRecord *resolve_exit(Engine *e, Vcpu *cpu, Pool **pool) {
    u64 site = cpu->exit_site;
    if (site == EXIT_SITE_NONE) {
        cpu->pc &= -(u64)e->guest->insn_align;
        if (cpu->shadow_sp > cpu->shadow_base) e->host->reset_shadow(&e->cache.stubs, cpu); /* a return hit the sentinels */
        return NULL;
    }
    if (site & EXIT_SITE_STALE) {
        const Block *b = cache_block_at(&e->cache, site & ~EXIT_SITE_STALE, pool);
        if (!b) BUG("an invalidated block that is none");
        cpu->pc = b->region ? tier_entry_pc(*pool, b, site & ~EXIT_SITE_STALE) : engine_virtual(e, cpu, b->pc);
        return NULL;
    }
    ExitRecord *x = cache_exit_at(&e->cache, site, pool);
    if (!x) BUG("an exit that is none");
    cpu->pc = engine_virtual(e, cpu, x->pc);
    return x->poll ? NULL : x;
}

static u32 interp_inner(Vcpu *cpu) {
    IrInterp *in = (IrInterp *)cpu->arg[0];
    return ir_interp(in, (const IrFunc *)cpu->arg[1], cpu);
}

TrapCode interp_run(Engine *e, Vcpu *cpu, const IrFunc *f, IrLog *log) {
    IrInterp *in = &scratch_of(cpu)->in;
    in->log = log;
    cpu->arg[0] = (u64)in;
    cpu->arg[1] = (u64)f;
    cpu->phase = PHASE_INTERP;
    return (TrapCode)e->cache.stubs.enter_c(cpu, interp_inner);
}

static void trace(Engine *e, const Vcpu *cpu) {
    const EngineOptions *o = &e->options;
    if (o->trace_insn) {
        char buf[128];
        Text t = text_init(buf, sizeof buf);
        bool pristine;
        size_t avail;
        const u8 *code = e->hooks.fetch(e->hooks.ctx, cpu->pc, &avail, &pristine);
        if (code) e->guest->disasm(cpu->pc, code, avail, &t);
        fd_print(o->log_fd, "insn %lx: %s\n", cpu->pc, buf);
    } else if (o->trace_block) {
        fd_print(o->log_fd, "block %lx\n", cpu->pc);
    }
}

static bool poll_pending(Vcpu *cpu) {
    if (LIKELY(!__atomic_load_n(&cpu->poll, __ATOMIC_SEQ_CST))) return false;
    cpu->phase = PHASE_VMM;
    return true;
}

/* What left generated code with TRAP_NONE or TRAP_POLL means for pc and for the next look-up. */
static void note_exit(Engine *e, Vcpu *cpu, Left *left) {
    if (e->options.lockstep) return; /* it has settled the pc already */
    Pool *pool = NULL;
    ExitRecord *x = resolve_exit(e, cpu, &pool);
    if (x && !e->options.no_link) *left = (Left){.exit = x, .pool = pool, .generation = cpu->generation};
    else left->indirect = cpu->exit_site == EXIT_SITE_NONE || (cpu->exit_site & EXIT_SITE_STALE);
}

/* The access of a paged guest that left generated code stands before exit_site. */
static void settle_access(const Engine *e, Vcpu *cpu, TrapCode trap) {
    Pool *p;
    const Block *b = cache_block_at(&e->cache, cpu->exit_site - 1, &p);
    if (!b) BUG("an access that is none");
    cpu->pc = engine_virtual(e, cpu, cache_guest_pc(p, b, cpu->exit_site - 1));
    if (e->options.counted) cpu->budget += cache_insns_behind(p, b, cpu->exit_site - 1) + (trap != TRAP_FAULT); /* engine_step will count that one */
}

/* The instruction at `at` by the interpreter. A paged guest's may take its time with devices, and finds no faults that are signals: others need not wait
 * for it (PHASE_VMM). */
static TrapCode step_at(Engine *e, Vcpu *cpu, const Place *at, const u8 *code, size_t avail) {
    Scratch *s = scratch_of(cpu);
    IrFunc *f = &s->step;
    ir_reset(f, e->guest, at->pc, cpu->mode);
    unsigned len = e->guest->lift(f, at->pc, code, avail);
    TrapCode trap = TRAP_FETCH;
    if (len) {
        if (!f->closed) ir_exit(f, at->pc + len);
        if (e->guest->paged) {
            settle_page(e, cpu);
            s->in.log = NULL;
            s->in.slow = true;
            trap = ir_interp(&s->in, f, cpu);
            s->in.slow = false;
        } else {
            trap = interp_run(e, cpu, f, NULL);
        }
        __atomic_store_n(&cpu->phase, PHASE_VMM, __ATOMIC_SEQ_CST);
        e->host->sync_fp(cpu);
    }
    return trap == TRAP_MODE ? TRAP_NONE : trap;
}

/* Runs one piece of linked code. Returns TRAP_NONE to go on at cpu->pc. */
static TrapCode step(Engine *e, Vcpu *cpu, Left *left) {
    const void *code;
    Place at;
    bool interp = e->options.tier == ENGINE_INTERP;
    TrapCode trap = place_of(e, cpu, cpu->pc, &at);
    if (trap != TRAP_NONE) return trap;
    if (UNLIKELY(at.alone)) *left = (Left){0};
    if (UNLIKELY(at.alone || (interp && ir_straddles(at.pc)))) return step_at(e, cpu, &at, at.code, at.avail); /* the latter's IR cannot be told from another's */
    trap = find_code(e, cpu, &at, left, &code);
    if (trap != TRAP_NONE) return trap;
    if (!interp) {
        renew_caches(e, cpu);
        if (left->indirect && !e->options.no_link) remember_jump(e, cpu, code);
    }
    *left = (Left){0};
    if (e->guest->paged) settle_page(e, cpu);
    if (UNLIKELY(e->options.trace_insn || e->options.trace_block)) trace(e, cpu);
    if (poll_pending(cpu)) return TRAP_POLL; /* maybe asked for before the jump cache was filled again */
    if (interp) trap = interp_run(e, cpu, code, NULL);
    else if (e->options.lockstep) trap = lockstep_run(e, cpu, code);
    else trap = (TrapCode)e->cache.stubs.enter(cpu, code);
    if (!interp && (trap == TRAP_NONE || trap == TRAP_POLL)) note_exit(e, cpu, left);
    else if (!interp && e->guest->paged && (trap == TRAP_FAULT || trap == TRAP_SLOW || trap == TRAP_RETRY)) settle_access(e, cpu, trap);
    else if (interp && trap == TRAP_SLOW) cpu->budget++; /* engine_step will count it */
    __atomic_store_n(&cpu->phase, PHASE_VMM, __ATOMIC_SEQ_CST); /* only now may the tables behind that exit be reused */
    e->host->sync_fp(cpu);
    return trap;
}

/* Frames and cached targets of the other mode must not be gone to. */
static void settle_mode(Engine *e, Vcpu *cpu) {
    u32 mode = e->guest->mode(cpu);
    if (LIKELY(mode == cpu->mode)) return;
    cpu->mode = mode;
    if (!e->guest->paged) cpu->cached_generation = cpu->generation - 1; /* there, tags tell modes apart */
    e->host->sync_fp(cpu);
}

/* The budget might not suffice for a block. */
static TrapCode last_step(Vcpu *cpu, Left *left) {
    *left = (Left){0};
    return cpu->budget > 0 ? engine_step(cpu) : TRAP_POLL;
}

/* The four bytes at the cpu's pc; 0: none that can be read, or the guest is paged. */
static u32 bits_at_pc(const Engine *e, const Vcpu *cpu) {
    size_t avail;
    bool pristine;
    u32 bits = 0;
    const u8 *code = e->guest->paged ? NULL : e->hooks.fetch(e->hooks.ctx, cpu->pc, &avail, &pristine);
    return code && avail >= sizeof bits && guard_copy(&bits, code, sizeof bits) == sizeof bits ? bits : 0;
}

/* Code does a vector instruction's accesses all at once: the interpreter finds out which element it is that faults. And a function that was done in its stub's place is
 * the guest's own to do when it faults. */
static bool is_for_interp(const Engine *e, const Vcpu *cpu) {
    u32 bits = bits_at_pc(e, cpu);
    return bits && (bits == e->guest->stub_jump || (e->guest->is_vector && e->guest->is_vector(bits)));
}

static TrapCode once_more(Engine *e, Vcpu *cpu) {
    u64 pc = cpu->pc;
    bool stub = e->hooks.known && bits_at_pc(e, cpu) == e->guest->stub_jump;
    TrapCode trap = engine_step(cpu);
    if (stub && trap == TRAP_NONE) known_came_by(e, cpu, pc - e->guest->stub_jump_at);
    return trap;
}

TrapCode engine_run(Vcpu *cpu) {
    Engine *e = cpu->engine;
    Left left = {0};
    for (;;) {
        settle_mode(e, cpu);
        TrapCode trap = UNLIKELY(e->options.counted && cpu->budget < BLOCK_MAX_INSNS) ? last_step(cpu, &left) : step(e, cpu, &left);
        e->stats.dispatches++;
        if (trap == TRAP_RETRY || (trap == TRAP_FAULT && is_for_interp(e, cpu))) trap = once_more(e, cpu);
        if (trap == TRAP_NONE || trap == TRAP_MODE) continue;
        if (trap == TRAP_POLL && !e->options.counted && tier_hot(cpu)) continue;
        if (trap == TRAP_POLL) __atomic_store_n(&cpu->poll, 0, __ATOMIC_SEQ_CST);
        return trap;
    }
}

TrapCode engine_step(Vcpu *cpu) {
    Engine *e = cpu->engine;
    Place at;
    settle_mode(e, cpu);
    TrapCode trap = place_of(e, cpu, cpu->pc, &at);
    if (trap != TRAP_NONE) return trap;
    if (e->guest->paged) return step_at(e, cpu, &at, at.code, at.avail);
    size_t avail;
    bool pristine;
    const u8 *code = e->hooks.fetch(e->hooks.ctx, cpu->pc, &avail, &pristine);
    cpu->trap_arg = cpu->pc;
    if (!code || e->cache.stubs.probe(code)) return TRAP_FETCH;
    return step_at(e, cpu, &at, code, avail);
}

/* --- faults ------------------------------------------------------------------------------------------------ */

/* Sets the cpu's pc to that of generated code at host_pc, with the state of a region brought in place. Returns what that means;
 * TRAP_NONE: that is no translated instruction. */
static TrapCode fault_at(Engine *e, Vcpu *cpu, void *ucontext, u64 host_pc) {
    Pool *p;
    const Block *b = cache_block_at(&e->cache, host_pc, &p);
    if (!b) return TRAP_NONE;
    if (!b->region) {
        cpu->pc = cache_guest_pc(p, b, host_pc);
        return TRAP_FAULT;
    }
    const u8 *map = tier_point(p, b, host_pc, &cpu->pc);
    if (map) e->host->settle(e->guest, cpu, ucontext, map);
    return map ? TRAP_RETRY : TRAP_NONE;
}

bool engine_on_fault(Vcpu *cpu, int sig, void *siginfo, void *ucontext) {
    Engine *e = cpu->engine;
    const HostStubs *s = &e->cache.stubs;
    u64 host_pc = e->host->context_pc(ucontext), addr = (u64)((siginfo_t *)siginfo)->si_addr;
    TrapCode trap = TRAP_FAULT;
    (void)sig;
    if (host_pc == (u64)s->probe) {
        e->host->context_set_pc(ucontext, (u64)s->probe_end);
        return true;
    }
    switch (cpu->phase) {
    case PHASE_CODE:
        if (addr - (u64)cpu->shadow_limit < PAGE_BYTES && e->host->shadow_overflow(s, cpu, ucontext, addr)) return true;
        trap = fault_at(e, cpu, ucontext, host_pc);
        break;
    case PHASE_HELPER: /* called from generated code: the return address is on the shadow stack */
        trap = fault_at(e, cpu, ucontext, *(u64 *)cpu->shadow_sp - 1);
        break;
    case PHASE_INTERP: break;
    default: return false;
    }
    if (trap == TRAP_NONE) return false;
    cpu->trap_arg = addr;
    e->host->abandon(s, e->guest, cpu, ucontext, trap);
    return true;
}

u32 engine_fflags_get(Vcpu *cpu) { return cpu->fflags; }

void engine_fflags_set(Vcpu *cpu, u32 fflags) {
    const Engine *e = cpu->engine;
    cpu->fflags = fflags & 31;
    e->host->sync_fp(cpu);
}

bool engine_on_fp_trap(Vcpu *cpu, void *ucontext) {
    const Engine *e = cpu->engine;
    return e->host->fp_trap(cpu, ucontext);
}

/* --- code that changes ---------------------------------------------------------------------------------------- */

void kill_block(Engine *e, Pool *p, u32 n) {
    Block *b = &p->blocks[n];
    if (b->dead) return;
    b->dead = true;
    e->stats.invalidated++;
    cache_enter(p, cache_key(b->pc, b->mode), 0);
    if (e->options.tier == ENGINE_INTERP) return;
    link_undo_incoming(&e->cache, e->host, p, b);
    cache_own(&e->cache, p->rw + b->code - HOST_PAD, HOST_PAD + 2);
    e->host->unlink_entry(&e->cache.stubs, p->rw + b->code, p->rx + b->code);
    if (b->region) tier_kill(e, p, b);
}

static void kill_in_half(Engine *e, Pool *h, u64 start, u64 size) {
    u64 first = start / PAGE_BYTES, last = (start + size - 1) / PAGE_BYTES;
    if (last - first >= h->page_used) { /* fewer pages with code than pages asked for */
        for (u32 n = 0; n < h->block_count; n++)
            if (block_touches(&h->blocks[n], start, size)) kill_block(e, h, n);
    } else {
        for (u64 page = first; page <= last; page++) {
            for (u32 n = cache_page_first(h, page); n; n = cache_page_next(h, n - 1, page))
                if (block_touches(&h->blocks[n - 1], start, size)) kill_block(e, h, n - 1);
            cache_page_drop_dead(h, page);
        }
    }
}

void engine_invalidate(Engine *e, u64 start, u64 size) {
    if (!size) return;
    lock_take(&e->lock);
    e->region_died = false;
    kill_in_half(e, cache_half(&e->cache), start, size);
    image_invalidate(e, start, size);
    tier_invalidate(e, start, size);
    known_invalidate(e, start, size);
    if (e->region_died) kick_all(e); /* who goes round in one leaves at the next poll */
    lock_give(&e->lock);
}

static bool bytes_changed(Engine *e, const Block *b) {
    if (e->cache.stubs.probe((const u8 *)b->pc) || e->cache.stubs.probe((const u8 *)b->pc + b->guest_size - 1)) return true;
    return hash_bytes((const u8 *)b->pc, b->guest_size, 0) != b->hash;
}

void engine_verify(Engine *e, u64 physical, const u8 *bytes) {
    lock_take(&e->lock);
    Pool *h = cache_half(&e->cache);
    u64 page = physical / PAGE_BYTES;
    for (u32 n = cache_page_first(h, page); n; n = cache_page_next(h, n - 1, page)) {
        const Block *b = &h->blocks[n - 1];
        if (!b->dead && (ir_straddles(b->pc) || hash_bytes(bytes + (b->pc & (PAGE_BYTES - 1)), b->guest_size, 0) != b->hash)) kill_block(e, h, n - 1);
    }
    cache_page_drop_dead(h, page);
    lock_give(&e->lock);
}

void engine_flush(Engine *e, u64 start, u64 size) {
    lock_take(&e->lock);
    Pool *h = cache_half(&e->cache);
    u32 kept = 0;
    for (u32 k = 0; k < h->impure.len; k++) {
        u32 n = h->impure.at[k];
        const Block *b = &h->blocks[n];
        if (!b->dead && block_touches(b, start, size) && bytes_changed(e, b)) kill_block(e, h, n);
        if (!b->dead) h->impure.at[kept++] = n;
    }
    h->impure.len = kept;
    lock_give(&e->lock);
}

/* --- fork ------------------------------------------------------------------------------------------------------ */

void engine_fork_prepare(Engine *e) { lock_take(&e->lock); }

void engine_fork_done(Engine *e, bool child, Vcpu *self) {
    cache_disown(&e->cache);
    if (child) {
        e->lock.word = 1; /* waiters stayed behind */
        while (e->vcpus) { /* the other threads did not come along */
            Vcpu *v = e->vcpus;
            e->vcpus = v->next;
            if (v != self) sys_munmap(v->shadow_limit, e->vcpu_size);
        }
        self->next = NULL;
        e->vcpus = self;
        e->vcpu_count = 1;
        perf_begin(&e->perf, e->perf.map, e->perf.dump);
        image_forked(e);
        tier_forked(e);
    }
    lock_give(&e->lock);
}

/* --- numbers --------------------------------------------------------------------------------------------------- */

void engine_stats_get(const Engine *e, EngineStats *out) { *out = e->stats; }

void engine_stats_print(const Engine *e, Text *t) {
    const EngineStats *s = &e->stats;
    text_print(t, "blocks: %lu\nguest_insns: %lu\nguest_bytes: %lu\nir_insns: %lu\nhost_bytes: %lu\n", s->blocks, s->guest_insns, s->guest_bytes, s->ir_insns, s->host_bytes);
    text_print(t, "host_insns: %lu\nhost_insns_per_guest_insn: %lu.%02lu\n", s->host_insns, s->host_insns / MAX(s->guest_insns, 1ul), s->host_insns * 100 / MAX(s->guest_insns, 1ul) % 100);
    text_print(t, "host_bytes_per_guest_insn: %lu.%02lu\n", s->host_bytes / MAX(s->guest_insns, 1ul), s->host_bytes * 100 / MAX(s->guest_insns, 1ul) % 100);
    text_print(t, "translate_ns: %lu\ntranslate_ns_per_guest_insn: %lu\n", s->translate_ns, s->translate_ns / MAX(s->guest_insns, 1ul));
    text_print(t, "images: %lu\nimage_blocks: %lu\nimages_refused: %lu\nimages_written: %lu\n", s->images, s->image_blocks, s->images_refused, s->images_written);
    text_print(t, "flushes: %lu\nlinks: %lu\ndispatches: %lu\nlookups_missed: %lu\ninvalidated: %lu\n", s->flushes, s->links, s->dispatches, s->lookups_missed, s->invalidated);
    tier_print_stats(e, t);
    lockstep_print_stats(e, t);
}
