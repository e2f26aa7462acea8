/* SPDX-License-Identifier: Apache-2.0 */
/* Lockstep: all generated code runs twice. First the interpreter goes ahead, one guest instruction at a time, with its stores kept in a
 * log and the state after each instruction kept as a *step*; then the generated code runs. Where it leaves, pc, registers, flags and
 * memory must be those of one of the steps, whichever: a state that the program comes by is a right one, so nobody has to count
 * instructions, and code is checked exactly as it is made for everybody. A trap must be the one that the interpreter ended with. If no step agrees,
 * the nearest one is printed beside what was found, and the process aborts.
 *
 * How far ahead? A block ends where the interpreter leaves its bytes; so does a region, but it may also go round in itself for long. If the
 * interpreter is still inside after as many instructions as the region has, the region is made to leave at its first poll, which
 * comes before that; one run in FAR goes for up to STEPS_MAX, so that whole loops are compared, too. A return leads on into a region that called.
 *
 * Code that has been compared OFTEN times is compared one time in SELDOM: else a program's hot loops would take hours.
 *
 * Not compared: from a helper with effects (a clock, say) on; and while the process has several threads, whose writes to memory would
 * look like differences. */
#include "base/sys.h"
#include "engine/internal.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { STEPS_MAX = 4096, INSNS_LEN = 4096, WORDS_LEN = 16384, FAR = 16, OFTEN = 4096, SELDOM = 32 };
enum { STORES_OF_ONE = 128, STORES_MAX = (WORDS_LEN - 1) / 2 - STORES_OF_ONE }; /* a store touches two words at most; a vector instruction makes up to 128 */

typedef struct Step { /* the state before an instruction, or at the end */
    u64 pc;
    u32 fflags, stores; /* stores: in the log by then */
    u64 state[];
} Step;

typedef struct Insn { /* a guest instruction as a function of its own */
    u64 pc;       /* 0: nothing here */
    u32 mode, bits; /* bits: its bytes */
    u8 len;
    bool comparable, calls, returns;
    IrFunc f;
} Insn;

typedef struct Word { /* bytes of memory that a comparison has seen */
    u64 at;       /* address / 8 */
    u32 round;    /* comparison that this belongs to */
    u8 seen;      /* bit per byte */
} Word;

typedef enum Ending {
    END_LEFT,    /* where generated code leaves at the latest */
    END_TRAP,
    END_INSIDE,  /* many instructions later still there */
    END_UNKNOWN, /* at an instruction that cannot be compared */
} Ending;

typedef struct LockstepStats {
    u64 runs, regions; /* compared; of regions */
    u64 insns;         /* executed by the interpreter */
    u64 unknown;       /* not compared: they came to a helper with effects, or where they had to end was not clear */
} LockstepStats;

typedef struct Lockstep {
    bool had_company;    /* there were other threads, and perhaps still are */
    IrFunc ir;             /* lifting under way */
    IrInterp interp;
    IrLog log;
    Insn insns[INSNS_LEN]; /* by pc */
    u32 insn_count;
    Arena arena;           /* their IR */
    Word words[WORDS_LEN];
    u32 round;
    u64 random;
    u16 compared[1 << 16]; /* by code: how often */
    /* The run under way. */
    const Pool *pool;
    const Block *block;    /* that the interpreter is in */
    const u64 *frame;      /* of the shadow stack: {host address, guest pc} of the next return */
    u32 depth;             /* calls that the region has taken in, if it has, and that have not returned */
    bool vague;            /* the interpreter may have lost sight of where generated code is */
    u32 count, limit;      /* steps made, at most to make */
    Ending ending;
    TrapCode trap;
    LockstepStats stats;
    u8 steps[];            /* STEPS_MAX + 2 of them */
} Lockstep;

static size_t step_size(const Engine *e) { return sizeof(Step) + e->guest->state_size; }
static Step *step_at(const Engine *e, u32 n) { return (Step *)(e->lockstep->steps + n * step_size(e)); }

bool lockstep_init(Engine *e) {
    Lockstep *l = sys_mmap(NULL, sizeof *l + (STEPS_MAX + 2) * step_size(e), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(l)) return false;
    l->interp.log = &l->log;
    l->random = 1;
    e->lockstep = l;
    return true;
}

void lockstep_fini(Engine *e) {
    Lockstep *l = e->lockstep;
    if (!l) return;
    ir_drop(&l->ir);
    vec_drop(&l->interp.values);
    vec_drop(&l->interp.params);
    vec_drop(&l->interp.blocks);
    vec_drop(&l->log.stores);
    arena_drop(&l->arena);
    sys_munmap(l, sizeof *l + (STEPS_MAX + 2) * step_size(e));
    e->lockstep = NULL;
}

/* --- the interpreter goes ahead ---------------------------------------------------------------------- */

static bool comparable(const IrFunc *f) {
    for (u32 k = 1; k < f->insns.len; k++) {
        if (f->insns.at[k].op != IR_call) continue;
        unsigned facts = f->guest->helpers[f->insns.at[k].imm].facts;
        if (facts & ~(HELPER_PURE | HELPER_FLAGS) || !facts) return false; /* no facts: a clock, say */
    }
    return true;
}

static void *keep(Lockstep *l, const void *data, size_t size) { return memcpy(arena_alloc(&l->arena, size + 8), data, size); }

static bool lift(Engine *e, Insn *i, const u8 *code, size_t avail) {
    Lockstep *l = e->lockstep;
    IrFunc *f = &l->ir;
    ir_reset(f, e->guest, i->pc, i->mode);
    i->len = (u8)e->guest->lift(f, i->pc, code, avail);
    if (!i->len) return false;
    if (!f->closed) ir_exit(f, i->pc + i->len);
    const IrInsn *last = &f->insns.at[f->insns.len - 1];
    i->comparable = comparable(f);
    i->calls = (last->op == IR_exit || last->op == IR_exit_ind) && last->aux == EXIT_CALL;
    i->returns = last->op == IR_exit_ind && last->aux == EXIT_RET;
    i->f = *f;
    i->f.insns.at = keep(l, f->insns.at, f->insns.len * sizeof(IrInsn));
    if (f->args.len) i->f.args.at = keep(l, f->args.at, f->args.len * sizeof(u64));
    return true;
}

static void forget_insns(Lockstep *l) {
    for (u32 k = 0; k < INSNS_LEN; k++) l->insns[k].pc = 0;
    l->insn_count = 0;
    arena_drop(&l->arena);
}

/* The instruction at the cpu's pc; NULL: there is none that can be compared. */
static const Insn *insn_at(Engine *e, const Vcpu *cpu) {
    Lockstep *l = e->lockstep;
    size_t avail;
    bool pristine;
    const u8 *code = e->hooks.fetch(e->hooks.ctx, cpu->pc, &avail, &pristine);
    if (!code || avail < e->guest->insn_align || e->cache.stubs.probe(code) || e->cache.stubs.probe(code + MIN(avail, 4) - 1)) return NULL;
    u32 bits = 0;
    memcpy(&bits, code, MIN(avail, sizeof bits));
    Insn *i = &l->insns[hash_u64(cpu->pc) % INSNS_LEN];
    if (i->pc == cpu->pc && i->mode == cpu->mode && i->bits == bits) return i->comparable ? i : NULL;
    if (l->insn_count++ == 2 * INSNS_LEN) forget_insns(l);
    *i = (Insn){.pc = cpu->pc, .mode = cpu->mode, .bits = bits};
    if (!lift(e, i, code, avail)) i->pc = 0;
    return i->pc && i->comparable ? i : NULL;
}

static void note_step(const Engine *e, const Vcpu *cpu, u32 n) {
    Step *s = step_at(e, n);
    s->pc = cpu->pc, s->fflags = cpu->fflags, s->stores = e->lockstep->log.stores.len;
    memcpy(s->state, cpu->state, e->guest->state_size);
}

static void go_into(Lockstep *l, const Pool *p, const Block *b) {
    l->pool = p, l->block = b;
    if (b->region) l->limit += tier_data(p, b)->insns;
    if (l->limit <= STEPS_MAX) return;
    l->limit = STEPS_MAX;
    l->vague = true; /* several large regions: code may go further */
}

/* The region that a return to the cpu's pc leads into, if it is none of a call taken in, and the frame behind; NULL: out. */
static const Block *region_returned_to(const Engine *e, const Vcpu *cpu, Pool **p, const u64 **rest) {
    const u64 *frame = e->lockstep->frame;
    for (u32 k = 0; k <= HOST_RETURN_FRAMES && (const u8 *)frame < (const u8 *)cpu->shadow_base; k++, frame += 2) {
        if (frame[1] != cpu->pc) continue;
        const Block *b = cache_block_at(&e->cache, frame[0], p);
        *rest = frame + 2;
        return b && b->region ? b : NULL;
    }
    return NULL;
}

/* After a return that is none of a call that was seen. A region may be entered in the midst of a call that it has taken in: so if it holds the
 * target, it may go on there, even if a frame says the same, which it does where code calls itself. */
static bool follow_return(Engine *e, const Vcpu *cpu) {
    Lockstep *l = e->lockstep;
    Pool *p;
    const u64 *rest;
    const Block *to = region_returned_to(e, cpu, &p, &rest);
    if (l->block->region && tier_touches(l->pool, l->block, cpu->pc, 1)) {
        if (to) l->vague = true;
        return true;
    }
    if (!to) return false;
    l->frame = rest;
    go_into(l, p, to);
    return true;
}

/* After instruction i: may generated code still be inside? */
static bool goes_on(Engine *e, const Vcpu *cpu, const Insn *i) {
    Lockstep *l = e->lockstep;
    const Block *b = l->block;
    if (i->returns && !l->depth) return follow_return(e, cpu);
    if (!b->region) return cpu->pc == i->pc + i->len && cpu->pc < b->pc + b->guest_size;
    if (i->calls) l->depth++; /* it leaves, if it has not been taken in: then it does not matter what comes */
    if (i->returns) l->depth--;
    return tier_touches(l->pool, b, cpu->pc, 1);
}

static u32 go_ahead(Vcpu *cpu) {
    Engine *e = cpu->engine;
    Lockstep *l = e->lockstep;
    const Insn *i;
    l->ending = END_TRAP; /* what a fault leaves behind */
    do {
        note_step(e, cpu, l->count);
        i = insn_at(e, cpu);
        bool full = l->log.stores.len > STORES_MAX;
        if (!i || full || l->count == l->limit) {
            l->ending = i && !full ? END_INSIDE : END_UNKNOWN;
            return TRAP_NONE;
        }
        TrapCode trap = ir_interp(&l->interp, &i->f, cpu);
        if (trap == TRAP_FAULT) l->vague = true; /* of a vector access, which may have done a part of it, or not (others do not return) */
        else l->count++;
        if (trap != TRAP_NONE) return trap;
    } while (goes_on(e, cpu, i));
    l->ending = END_LEFT;
    return TRAP_NONE;
}

static u32 random_number(Lockstep *l, u32 below) {
    l->random = l->random * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(l->random >> 33) % below;
}

static void look_ahead(Engine *e, Vcpu *cpu, const Pool *p, const Block *b) {
    Lockstep *l = e->lockstep;
    bool far = random_number(l, FAR) == 0;
    l->frame = cpu->shadow_sp;
    l->log.stores.len = l->count = l->depth = 0;
    l->vague = false;
    l->limit = b->region ? 0 : b->guest_size / e->guest->insn_align;
    if (far) l->limit += STEPS_MAX / 2 >> random_number(l, 8);
    go_into(l, p, b);
    cpu->phase = PHASE_INTERP;
    l->trap = (TrapCode)e->cache.stubs.enter_c(cpu, go_ahead);
    if (l->trap == TRAP_FAULT) l->count++; /* ir_interp did not return */
    note_step(e, cpu, l->count);
    const Step *s = step_at(e, 0);
    cpu->pc = s->pc, cpu->fflags = s->fflags;
    memcpy(cpu->state, s->state, e->guest->state_size);
    e->host->sync_fp(cpu);
    l->stats.runs++;
    l->stats.insns += l->count;
    if (b->region) l->stats.regions++;
}

/* --- comparison --------------------------------------------------------------------------------------- */

/* Which bytes of memory word `at` this comparison has seen. */
static u8 *seen_bytes(Lockstep *l, u64 at) {
    u32 k = (u32)hash_u64(at) % WORDS_LEN;
    while (l->words[k].round == l->round && l->words[k].at != at) k = (k + 1) % WORDS_LEN;
    if (l->words[k].round != l->round) l->words[k] = (Word){.at = at, .round = l->round};
    return &l->words[k].seen;
}

/* Bytes of one store that no later one of this comparison has covered. `offset`: from the start of the log's store, bytes of `value`. */
static bool store_agrees(Lockstep *l, const IrStore *s, u64 value, bool tell) {
    for (u32 byte = 0; byte < s->size; byte++) {
        u64 at = s->addr + byte;
        u8 *seen = seen_bytes(l, at / 8), bit = (u8)(1 << at % 8), want = (u8)(value >> 8 * byte);
        if (*seen & bit) continue;
        *seen |= bit;
        if (*(volatile u8 *)at == want) continue;
        if (tell) fd_print(2, "isomer: lockstep: byte at %lx should be %02x, is %02x\n", at, want, *(volatile u8 *)at);
        return false;
    }
    return true;
}

/* The last value that the first `count` stores left for each byte must stand in memory; what only the others write must be as it was. */
static bool memory_agrees(Lockstep *l, u32 count, bool tell) {
    l->round++;
    for (u32 k = count; k-- > 0;)
        if (!store_agrees(l, &l->log.stores.at[k], l->log.stores.at[k].value, tell)) return false;
    for (u32 k = count; k < l->log.stores.len; k++)
        if (!store_agrees(l, &l->log.stores.at[k], l->log.stores.at[k].old, tell)) return false;
    return true;
}

/* A state from which instructions are done once more (TRAP_RETRY) may have the flags of those that were done already. */
static bool flags_agree(const Step *s, const Vcpu *cpu, TrapCode got) {
    return got == TRAP_RETRY ? !(s->fflags & ~cpu->fflags) : s->fflags == cpu->fflags;
}

static bool step_agrees(const Engine *e, const Vcpu *cpu, TrapCode got, u32 n) {
    const Step *s = step_at(e, n);
    return s->pc == cpu->pc && flags_agree(s, cpu, got) && !memcmp(s->state, cpu->state, e->guest->state_size) && memory_agrees(e->lockstep, s->stores, false);
}

/* How many of the cpu's slots differ from a step's; with `print`, shows them. */
static u32 compare_slots(const Engine *e, const Vcpu *cpu, const Step *s, bool print) {
    u32 differ = 0;
    for (u32 k = 0; k < e->guest->slot_count; k++) {
        u64 a = 0, b = 0;
        unsigned size = e->guest->slots[k].type == IR_I32 ? 4 : 8;
        memcpy(&a, (const u8 *)s->state + e->guest->slots[k].offset, size);
        memcpy(&b, (const u8 *)cpu->state + e->guest->slots[k].offset, size);
        differ += a != b;
        if (a != b && print) fd_print(2, "  %-10s %18lx %18lx\n", e->guest->slots[k].name, a, b);
    }
    return differ;
}

static bool is_slot(const Guest *g, u32 offset) {
    for (u32 k = 0; k < g->slot_count; k++)
        if (g->slots[k].offset == offset) return true;
    return false;
}

/* What no slot names: vector registers, by halves, and what says how they are used. */
static void print_rest(const Guest *g, const Vcpu *cpu, const Step *s) {
    for (u32 at = 0; at < g->state_size; at += 8) {
        u64 a, b;
        memcpy(&a, (const u8 *)s->state + at, 8);
        memcpy(&b, (const u8 *)cpu->state + at, 8);
        bool vector = at - g->vectors < 32u * 16;
        if (a == b || is_slot(g, at)) continue;
        if (vector) fd_print(2, "  v%-2u.l[%u]    %18lx %18lx\n", (at - g->vectors) / 16, (at - g->vectors) / 8 & 1, a, b);
        else fd_print(2, "  state+%-4u %18lx %18lx\n", at, a, b);
    }
}

/* Where the interpreter was at this pc, with the fewest slots that differ; at the end, if it was not there. */
static u32 nearest_step(const Engine *e, const Vcpu *cpu) {
    const Lockstep *l = e->lockstep;
    u32 best = l->count, least = ~0u;
    for (u32 n = 0; n <= l->count; n++) {
        u32 differ = step_at(e, n)->pc == cpu->pc ? compare_slots(e, cpu, step_at(e, n), false) : ~0u;
        if (differ < least) best = n, least = differ;
    }
    return best;
}

static _Noreturn void complain(Engine *e, Vcpu *cpu, TrapCode got) {
    Lockstep *l = e->lockstep;
    u32 n = got == TRAP_NONE || got == TRAP_POLL || got == TRAP_RETRY ? nearest_step(e, cpu) : l->count;
    const Step *s = step_at(e, n);
    fd_print(2, "isomer: lockstep: %s at %lx differs; the interpreter made %u steps, here is number %u\n", l->block->region ? "region" : "block", step_at(e, 0)->pc, l->count, n);
    fd_print(2, "  %-10s %18s %18s\n", "", "interpreter", "generated");
    fd_print(2, "  %-10s %18lx %18lx\n  %-10s %18x %18x\n  %-10s %18x %18x\n", "pc", s->pc, cpu->pc, "trap", l->trap, got, "fflags", s->fflags, cpu->fflags);
    compare_slots(e, cpu, s, true);
    print_rest(e->guest, cpu, s);
    memory_agrees(l, s->stores, true);
    BUG("lockstep: generated code and interpreter differ");
}

/* Is the state in which generated code left one that the interpreter came by? For TRAP_RETRY, before a fault. */
static bool agrees(const Engine *e, const Vcpu *cpu, TrapCode got) {
    const Lockstep *l = e->lockstep;
    bool trapped = got != TRAP_NONE && got != TRAP_POLL && got != TRAP_RETRY;
    if (trapped) return l->ending == END_TRAP && got == l->trap && step_agrees(e, cpu, got, l->count);
    for (u32 n = l->count + 1; n-- > 0;)
        if (step_agrees(e, cpu, got, n)) return true;
    return false;
}

static TrapCode run(Engine *e, Vcpu *cpu, const void *code) {
    Pool *pool;
    TrapCode got = (TrapCode)e->cache.stubs.enter(cpu, code);
    e->host->sync_fp(cpu);
    if (got == TRAP_NONE || got == TRAP_POLL) resolve_exit(e, cpu, &pool);
    return got;
}

/* Has this code been compared so often that now it need not be? */
static bool is_trusted(Lockstep *l, const void *code) {
    u16 *often = &l->compared[hash_u64((u64)code) % ARRAY_LEN(l->compared)];
    if (*often >= OFTEN) return random_number(l, SELDOM) != 0;
    *often += 1;
    return false;
}

/* Is nobody else about who writes to memory? After the last guest instruction of a thread its kernel clears its number, which libraries
 * look at: we wait until the thread has left /proc, and where there is none, for ever. */
static bool is_alone(Engine *e, Lockstep *l) {
    if (__atomic_load_n(&e->vcpu_count, __ATOMIC_SEQ_CST) > 1) l->had_company = true;
    else if (l->had_company) {
        struct stat tasks;
        long r = sys_call(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &tasks, 0);
        l->had_company = r < 0 || tasks.st_nlink > 3; /* a folder for each, itself, and what it lies in */
    }
    return !l->had_company;
}

TrapCode lockstep_run(Engine *e, Vcpu *cpu, const void *code) {
    Lockstep *l = e->lockstep;
    if (!is_alone(e, l) || is_trusted(l, code)) return run(e, cpu, code);
    Pool *pool;
    const Block *b = cache_block_at(&e->cache, (u64)code, &pool);
    look_ahead(e, cpu, pool, b);
    if (l->block->region && (l->ending == END_INSIDE || l->ending == END_UNKNOWN)) __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST); /* who asks for attention without reason is only asked what for */
    TrapCode got = run(e, cpu, code);
    if (agrees(e, cpu, got)) return got;
    if (l->ending != END_UNKNOWN && !l->vague) complain(e, cpu, got);
    l->stats.unknown++;
    return got;
}

void lockstep_print_stats(const Engine *e, Text *out) {
    if (!e->lockstep) return;
    const LockstepStats *s = &e->lockstep->stats;
    text_print(out, "lockstep_runs: %lu\nlockstep_regions: %lu\nlockstep_insns: %lu\nlockstep_unknown: %lu\n", s->runs, s->regions, s->insns, s->unknown);
}
