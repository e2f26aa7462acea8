/* SPDX-License-Identifier: Apache-2.0 */
/* forward: a load of what was stored in pieces just now through another base. Code for processors without misaligned access copies a word of unknown alignment byte by byte to
 * the stack, by a register that has held the place's address since before the loop, and loads it from there by the stack pointer. A host forwards no store to a load that is wider:
 * each such load waits until all of the pieces are in its cache. So the addresses are compared, which costs next to nothing as the answer is always the same, and where they are equal
 * what was stored is put together in a register.
 *
 * Condition: the last stores before the load, in its block, are two pieces or more that fill as many bytes as it reads, without a gap; none behind them may change these; both bases come from
 * outside the loop, or the block. What cse.c does for one base, this does for two. Bought: a hash of words at any address, 8 x native before. */
#include "opt/opt.h"

enum { PIECES = 8, FAR = 200 /* instructions: bounds the search */ };

typedef struct Run { /* of stores */
    u32 store[PIECES]; /* ids, by address */
    u32 count;
    OptPlace at;       /* of the first byte */
    OptPlace read;     /* of the load */
    u32 insn;          /* id of the load's `insn` */
} Run;

typedef struct Forward {
    IrFunc *f;
    OptSplit s;
    u32 *block_of;       /* by id: number */
    u32 *run_of;         /* by id of a load: index of its run; 0: none */
    VEC(Run) runs;       /* 0: unused */
} Forward;

static const IrInsn *at(const Forward *w, u32 id) { return &w->f->insns.at[id]; }

/* --- finding -------------------------------------------------------------------------------------------------- */

static bool is_ordered(const IrInsn *i) { return (i->aux2 & (IR_ACQUIRE | IR_RELEASE)) != 0; }

/* Wide enough to have pieces, and of a type that can be made of them? */
static bool is_wide_load(const IrInsn *i) {
    return i->op == IR_load && !is_ordered(i) && i->aux >= 1 && i->aux <= 3 && (i->type == IR_I64 || i->type == IR_F32 || i->type == IR_F64);
}

/* Does the value come from outside the innermost loop around block n, or, if there is none, that block? */
static bool is_invariant(const Forward *w, u32 v, u32 n) {
    u32 head = w->s.o->cfg.blocks.at[n].loop, before = head == IR_ROOT ? IR_ROOT : w->s.o->cfg.blocks.at[head].idom;
    if (head == IR_ROOT) return w->block_of[v] != n;
    return before != IR_ROOT && ir_dominates(&w->s.o->cfg, w->block_of[v], before);
}

/* Takes in a store that comes before those of r. False: it does not belong to them, and may change them. */
static bool add_piece(const Forward *w, Run *r, u32 id, OptPlace p) {
    const IrInsn *i = at(w, id);
    u32 n = r->count, size = 1u << i->aux;
    if (n == PIECES || at(w, i->b)->type != IR_I64 || (n && p.base != r->at.base)) return false;
    for (u32 k = 0; k < n; k++)
        if (opt_overlap(opt_access_place(w->f, at(w, r->store[k])), 1u << at(w, r->store[k])->aux, p, size)) return false;
    for (; n && opt_access_place(w->f, at(w, r->store[n - 1])).disp > p.disp; n--) r->store[n] = r->store[n - 1];
    r->store[n] = id;
    r->count++;
    r->at = opt_access_place(w->f, at(w, r->store[0]));
    return true;
}

/* Bytes from the first to the last of them; 0: there is a gap. */
static u64 size_of(const Forward *w, const Run *r) {
    u64 size = 0;
    for (u32 k = 0; k < r->count; k++) {
        const IrInsn *i = at(w, r->store[k]);
        if ((u64)opt_access_place(w->f, i).disp != (u64)r->at.disp + size) return 0;
        size += 1u << i->aux;
    }
    return size;
}

/* The stores before load `id` that it may be a load of. */
static bool find_run(const Forward *w, Run *r, u32 id) {
    u32 size = 1u << at(w, id)->aux, before = id;
    *r = (Run){.read = opt_access_place(w->f, at(w, id))};
    while (r->count < 2 || size_of(w, r) != size) {
        const IrInsn *i = at(w, --before);
        if (i->op == IR_insn && !r->insn) r->insn = before;
        if (i->op == IR_block || id - before > FAR) return false;
        if ((ir_op_facts[i->op] & F_FAULTS) && !r->insn) return false; /* two accesses of one instruction */
        if (i->op == IR_load ? is_ordered(i) : i->op == IR_amo || i->op == IR_cas || i->op == IR_sc || i->op == IR_fence || i->op == IR_call || i->op == IR_vec) return false;
        if (i->op != IR_store) continue;
        OptPlace p = opt_access_place(w->f, i);
        bool beside = p.base == r->read.base && !opt_overlap(p, 1u << i->aux, r->read, size);
        if (is_ordered(i) || (!beside && (p.base == r->read.base || !add_piece(w, r, before, p)))) return false;
    }
    return r->insn && is_invariant(w, r->read.base, w->block_of[id]) && is_invariant(w, r->at.base, w->block_of[id]);
}

/* --- the new function ------------------------------------------------------------------------------------------- */

static u32 emit(Forward *w, IrInsn i) { return opt_split_emit(&w->s, i); }
static u32 emit_op(Forward *w, IrOp op, IrType type, u32 a, u32 b) { return emit(w, (IrInsn){.op = (u8)op, .type = (u8)type, .a = a, .b = b}); }
static u32 emit_const(Forward *w, u64 v) { return emit(w, (IrInsn){.op = IR_const, .type = IR_I64, .imm = v}); }
static u32 emit_extension(Forward *w, IrOp op, unsigned bits, u32 a) { return emit(w, (IrInsn){.op = (u8)op, .type = IR_I64, .aux = (u8)bits, .a = a}); }
static u32 emit_same_place(Forward *w, const Run *r) {
    u64 apart = (u64)r->at.disp - (u64)r->read.disp;
    u32 base = w->s.map[r->at.base];
    if (apart) base = emit_op(w, IR_add, IR_I64, base, emit_const(w, apart));
    return emit_op(w, IR_eq, IR_I1, w->s.map[r->read.base], base);
}

/* The pieces as `load` would find them. */
static u32 emit_whole(Forward *w, const Run *r, const IrInsn *load) {
    u32 whole = 0, at_byte = 0, size = 1u << load->aux;
    for (u32 k = 0; k < r->count; k++) {
        const IrInsn *i = at(w, r->store[k]);
        u32 piece = emit_extension(w, IR_zext, 8u << i->aux, w->s.map[i->b]);
        if (at_byte) piece = emit_op(w, IR_shl, IR_I64, piece, emit_const(w, 8 * at_byte));
        whole = whole ? emit_op(w, IR_or, IR_I64, whole, piece) : piece;
        at_byte += 1u << i->aux;
    }
    if (load->type == IR_F64) return emit_op(w, IR_bits, IR_F64, whole, 0);
    if (load->type == IR_F32) return emit_op(w, IR_bits, IR_F32, emit_op(w, IR_trunc, IR_I32, whole, 0), 0);
    return size < 8 && (load->aux2 & IR_SIGNED) ? emit_extension(w, IR_sext, 8 * size, whole) : whole;
}

/* The load's guest instruction goes with it: it alone may fault. */
static void copy_load(Forward *w, u32 id, const Run *r) {
    Opt *o = w->s.o;
    IrInsn load = *at(w, id), insn = *at(w, r->insn);
    opt_map_operands(w->f, &load, w->s.map);
    o->other.insns.at[w->s.map[r->insn]].c = 0;
    u32 both = opt_split_branch(&w->s, emit_same_place(w, r));
    u32 whole = emit_whole(w, r, at(w, id));
    opt_split_jump(&w->s, both, 1, &whole);
    opt_split_block(&w->s);
    w->s.map[r->insn] = emit(w, insn);
    u32 loaded = emit(w, load);
    opt_split_jump(&w->s, both, 1, &loaded);
    opt_split_block(&w->s);
    w->s.map[id] = emit(w, (IrInsn){.op = IR_param, .type = load.type});
    o->stats.forwarded++;
}

static void find_all(Forward *w) {
    u32 number = 0;
    Run r;
    for (u32 id = 1; id < w->f->insns.len; id++) {
        const IrInsn *i = at(w, id);
        if (i->op == IR_block) number = (u32)i->imm;
        w->block_of[id] = number;
        if (!is_wide_load(i) || !find_run(w, &r, id)) continue;
        w->run_of[id] = w->runs.len;
        vec_push(&w->runs, r);
    }
}

void opt_forward(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, *words = arena_alloc(&o->arena, 2 * n * sizeof(u32));
    Forward w = {.f = f, .s = {.o = o, .f = f}, .block_of = words, .run_of = words + n};
    vec_push(&w.runs, (Run){0});
    ir_cfg_make(&o->cfg, f);
    find_all(&w);
    if (w.runs.len > 1) {
        opt_split_begin(&w.s);
        for (u32 id = 0; id < n; id++) {
            if (w.run_of[id]) copy_load(&w, id, &w.runs.at[w.run_of[id]]);
            else opt_split_copy(&w.s, id);
        }
        opt_split_end(&w.s);
    }
    vec_drop(&w.runs);
}
