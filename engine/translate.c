/* SPDX-License-Identifier: Apache-2.0 */
/* From guest bytes to a block in the cache: lift, compile, register. The engine's lock is held throughout. */
#include "base/clock.h"
#include "base/sys.h"
#include "engine/image.h"
#include <time.h>

typedef struct Source { /* guest bytes being translated */
    const u8 *code;
    size_t avail;
    bool pristine;
    const Pool *image; /* that holds older translations of the same file, or NULL */
    u8 copy[BLOCK_MAX_INSNS * 8]; /* of code that other threads may be writing: lifted and hashed must be the same bytes */
} Source;

/* Mappings of files that have been truncated fault when read: test a byte of each page once. */
static bool readable(Engine *e, const u8 *code, size_t *avail) {
    if (e->cache.stubs.probe(code)) return false;
    u64 next_page = align_down((u64)code + PAGE_BYTES, PAGE_BYTES);
    if ((u64)code + *avail > next_page && e->cache.stubs.probe((const u8 *)next_page)) *avail = next_page - (u64)code;
    return true;
}

static bool fetch(Engine *e, u64 pc, Source *s) {
    s->code = e->hooks.fetch(e->hooks.ctx, pc, &s->avail, &s->pristine);
    if (!s->code || s->avail < e->guest->insn_align || !readable(e, s->code, &s->avail)) return false;
    s->image = s->pristine ? cache_image_at(&e->cache, pc) : NULL;
    if (!s->pristine) {
        s->avail = MIN(s->avail, sizeof s->copy);
        s->code = memcpy(s->copy, s->code, s->avail);
    }
    return true;
}

/* The page's owner is told before its bytes are looked at. */
static void fetch_paged(Engine *e, Vcpu *cpu, const Place *at, Source *s) {
    *s = (Source){.code = at->code, .avail = at->avail, .pristine = true};
    u64 first = ir_straddles(at->pc) ? at->pages >> 32 << 12 : align_down(at->pc, PAGE_BYTES);
    e->hooks.translating(e->hooks.ctx, cpu, first);
    if (ir_straddles(at->pc)) e->hooks.translating(e->hooks.ctx, cpu, at->pages << 32 >> 20);
}

static bool wanted_next(Engine *e, const Source *s, u64 pc, u32 insns) {
    u32 limit = e->options.one_insn ? 1 : BLOCK_MAX_INSNS;
    if (insns >= limit) return false;
    /* run into code that is already there: jump to it instead of copying it */
    if (insns < 4) return true;
    Pool *h = cache_half(&e->cache);
    if (cache_may_start(h, pc) && cache_find(h, cache_key(pc, e->ir.mode))) return false;
    return !s->image || !cache_find(s->image, cache_key(pc, e->ir.mode));
}

/* Lifts from pc until the block closes. Returns its length in guest bytes; 0: not even one instruction is there. */
static u32 lift_block(Engine *e, const Vcpu *cpu, u64 pc, u32 mode, const Source *s) {
    ir_reset(&e->ir, e->guest, pc, mode);
    e->ir.guess = engine_guess(e, cpu);
    e->ir.counted = e->options.counted;
    u32 at = 0, insns = 0;
    do {
        unsigned len = s->avail - at < e->guest->insn_align ? 0 : e->guest->lift(&e->ir, pc + at, s->code + at, s->avail - at);
        if (!len) break;
        at += len;
        insns++;
    } while (!e->ir.closed && wanted_next(e, s, pc + at, insns));
    if (!e->ir.closed && at) ir_exit(&e->ir, pc + at);
    e->stats.guest_insns += insns;
    return at;
}

/* The cache's half in use is full: go to the other one, as soon as nobody is left in it. Only when that is empty does
 * its generation begin: who looks things up takes no lock, and must not find the half that is being emptied. */
static void flush(Engine *e, Vcpu *self) {
    Cache *c = &e->cache;
    e->stats.flushes++;
    u32 next = c->generation + 1;
    image_save(e); /* what is forgotten now need not be translated again by the next process */
    link_retire_half(c, e->host);
    kick_all(e);
    for (Vcpu *v = e->vcpus; v; v = v->next) {
        while (v != self && __atomic_load_n(&v->phase, __ATOMIC_SEQ_CST) != PHASE_VMM && (i32)(__atomic_load_n(&v->generation, __ATOMIC_SEQ_CST) - (next - 1)) < 0)
            sys_call(SYS_sched_yield);
    }
    cache_reset_half(&c->half[next & 1]);
    __atomic_store_n(&c->generation, next, __ATOMIC_SEQ_CST);
    self->generation = next;
}

static bool has_room(const Pool *h, size_t code, u32 pcs, u32 exits) {
    return h->used + code + 32 <= h->size && h->block_count < h->block_max && h->pc_count + pcs <= h->pc_max && h->exit_count + exits <= h->exit_max;
}

static Block *new_block(Engine *e, Pool *h, u64 pc, u64 pages, u32 mode, u32 guest_size, const Source *s) {
    Block *b = &h->blocks[h->block_count];
    *b = (Block){.pc = pc, .mode = mode, .guest_size = guest_size, .pristine = s->pristine};
    if (ir_straddles(pc)) b->hash = pages;
    else if (!s->pristine || e->guest->paged) b->hash = hash_bytes(s->code, guest_size, 0);
    e->stats.blocks++;
    e->stats.guest_bytes += guest_size;
    e->stats.ir_insns += e->ir.insns.len;
    return b;
}

static void publish(Pool *h, Block *b) {
    u32 n = h->block_count;
    cache_note_pages(h, n);
    if (!b->pristine) vec_push(&h->impure, n);
    __atomic_store_n(&h->block_count, n + 1, __ATOMIC_RELEASE);
    cache_enter(h, cache_key(b->pc, b->mode), b->code);
    *cache_starts_word(h, b->pc) |= 1ull << (b->pc >> 1 & 63);
}

/* --- generated code ---------------------------------------------------------------------------------- */

static size_t entry_offset(const Pool *h) { return align_up((u64)h->rx + h->used + HOST_PAD, 16) - (u64)h->rx; }

static bool compile(Engine *e, Pool *h) {
    HostCode *c = &e->code;
    c->rw = e->buffer, c->cap = COMPILE_BUFFER;
    c->rx = h->rx + entry_offset(h);
    return e->host->compile(&e->cache.stubs, &e->ir, c);
}

static void install(Engine *e, Pool *h, Block *b) {
    const HostCode *c = &e->code;
    size_t at = entry_offset(h);
    cache_own(&e->cache, h->rw + at - HOST_PAD, c->size + HOST_PAD);
    u32 number = h->block_count;
    memcpy(h->rw + at - 4, &number, 4); /* for stubs.stale */
    memcpy(h->rw + at, c->rw, c->size);
    b->code = at;
    b->host_size = (u32)c->size;
    b->first_pc = h->pc_count;
    b->pc_count = c->pcs.len;
    for (u32 k = 0; k < c->pcs.len; k++) h->pcs[h->pc_count++] = (HostPc){c->pcs.at[k].at, (u32)(e->ir.frames.at[c->pcs.at[k].frame].pc - b->pc)};
    b->first_exit = h->exit_count;
    b->exit_count = c->exits.len;
    cache_add_exits(h, at, c);
    h->used = at + c->size;
    e->stats.host_bytes += c->size;
    e->stats.host_insns += c->insns;
}

/* --- for the interpreter ------------------------------------------------------------------------------ */

/* A compact copy of the function under construction, in the half's arena. */
static const IrFunc *keep_ir(Engine *e, Pool *h) {
    const IrFunc *f = &e->ir;
    IrFunc *k = arena_alloc(&h->arena, sizeof *k);
    *k = *f;
    k->insns.at = arena_alloc(&h->arena, f->insns.len * sizeof(IrInsn));
    memcpy(k->insns.at, f->insns.at, f->insns.len * sizeof(IrInsn));
    k->args.at = arena_alloc(&h->arena, f->args.len * sizeof(u64) + 8);
    if (f->args.len) memcpy(k->args.at, f->args.at, f->args.len * sizeof(u64));
    h->used += sizeof *k + f->insns.len * sizeof(IrInsn);
    return k;
}

/* --- eyes -------------------------------------------------------------------------------------------- */

static void dump_asm(Engine *e, u64 pc, const u8 *code, u32 size) {
    for (u32 at = 0; at < size;) {
        char buf[128];
        Text t = text_init(buf, sizeof buf);
        unsigned len = e->guest->disasm(pc + at, code + at, size - at, &t);
        u32 bits = 0;
        memcpy(&bits, code + at, MIN(len, 4u));
        fd_print(e->options.log_fd, "%12lx:  %0*x%*s  %s\n", pc + at, (int)len * 2, bits, 8 - (int)len * 2, "", buf);
        at += len;
    }
}

void dump_ir(Engine *e, const IrFunc *f) {
    enum { SIZE = 256 * 1024 };
    char *buf = sys_mmap(NULL, SIZE, 3, 0x22, -1, 0);
    if (sys_failed(buf)) return;
    Text t = text_init(buf, SIZE);
    ir_print(f, &t);
    sys_call(SYS_write, e->options.log_fd, buf, t.len);
    sys_munmap(buf, SIZE);
}

void dump_code(Engine *e, const u8 *p, u32 size) {
    fd_print(e->options.log_fd, "host code at %lx, %u bytes:\n", (u64)p, size);
    for (u32 at = 0; at < size; at += 16) {
        char line[80];
        Text t = text_init(line, sizeof line);
        for (u32 k = at; k < MIN(at + 16, size); k++) text_print(&t, " %02x", p[k]);
        fd_print(e->options.log_fd, " %s\n", line);
    }
}

static void dump(Engine *e, const Block *b, const Source *s) {
    const EngineOptions *o = &e->options;
    if (o->dump_size && b->pc - o->dump_start >= o->dump_size) return;
    if (o->dump) fd_print(o->log_fd, "block %lx mode %u, %u bytes\n", b->pc, b->mode, b->guest_size);
    if (o->dump & ENGINE_DUMP_ASM) dump_asm(e, b->pc, s->code, b->guest_size);
    if (o->dump & ENGINE_DUMP_IR) dump_ir(e, &e->ir);
    if ((o->dump & ENGINE_DUMP_HOST) && o->tier != ENGINE_INTERP) dump_code(e, cache_half(&e->cache)->rx + b->code, b->host_size);
}

/* ----------------------------------------------------------------------------------------------------- */

#ifndef NDEBUG
static void check_ir(const IrFunc *f) {
    char why[160];
    const char *wrong = ir_verify(f, why, sizeof why);
    if (wrong) {
        fd_print(2, "isomer: pc %lx: ", f->pc);
        BUG(wrong);
    }
}
#else
static void check_ir(const IrFunc *f) { (void)f; }
#endif

enum { TIMED = 8 }; /* one block in so many is timed, for all: looking at the clock twice costs as much as translating an instruction */

TrapCode translate(Engine *e, Vcpu *cpu, const Place *at, u32 mode, const void **code) {
    u64 pc = at->pc;
    u64 start = e->stats.blocks % TIMED == 0 || e->perf.map || e->perf.dump ? clock_ns() : 0;
    if (start) image_save_sometimes(e, start);
    Source s;
    if (e->guest->paged) {
        fetch_paged(e, cpu, at, &s);
    } else if (!fetch(e, pc, &s)) {
        cpu->trap_arg = pc;
        return TRAP_FETCH;
    }
    u32 size = lift_block(e, cpu, pc, mode, &s);
    if (!size) { /* the instruction reaches into what is not there */
        cpu->trap_arg = pc + s.avail;
        return TRAP_FETCH;
    }
    check_ir(&e->ir);
    Pool *h = cache_half(&e->cache);
    bool interp = e->options.tier == ENGINE_INTERP;
    if (interp ? h->used >= h->size || h->block_count == h->block_max : !compile(e, h) || !has_room(h, e->code.size, e->code.pcs.len, e->code.exits.len)) {
        flush(e, cpu);
        h = cache_half(&e->cache);
        if (!interp) {
            lift_block(e, cpu, pc, mode, &s); /* compile consumed the first one */
            if (!compile(e, h) || !has_room(h, e->code.size, e->code.pcs.len, e->code.exits.len)) BUG("a block larger than the code cache");
        }
    }
    if (!interp) cache_prepare(h, e->code.size, e->code.pcs.len, e->code.exits.len);
    Block *b = new_block(e, h, pc, at->pages, mode, size, &s);
    if (interp) b->code = (u64)keep_ir(e, h) - (u64)h->rx;
    else install(e, h, b);
    publish(h, b);
    if (e->stats.blocks % TIMED == 1) e->stats.translate_ns += (clock_ns() - start) * TIMED;
    if (UNLIKELY(e->options.dump)) dump(e, b, &s);
    note_perf(e, h, b, "block", start);
    *code = h->rx + b->code;
    return TRAP_NONE;
}
