/* SPDX-License-Identifier: Apache-2.0 */
/* prefetch: a place of which a number is taken, and where another is left in its stead, is a queue: what was done with the one will be done with the
 * other when its turn comes. If the one leads to a table (shifted and added to a base, the address of an access), the other will, too, some rounds later, and
 * nothing is waited for until then. So right behind the store stands the same computation for the number that was stored, and a prefetch of the address that
 * it makes. Compressors have such queues, of hashes, for exactly that; but where the guest's processor has no prefetches, only the queue is left of it.
 *
 * Condition: load and store of the same address in one block; what is stored does not come from what was loaded (a counter); the way from the load to the
 * address is pure, and goes by a shift: an index, no pointer. What else it wants is there at the store, or a sum does without (the beginning of a row is
 * as good as an element of it). Prefetches cannot fault, nor be seen. Bought: zstd, levels 5 to 12. */
#include "opt/opt.h"

enum { FAR = 64 /* from load to store */, WINDOW = 600 /* from load to access */, DEEP = 12, PER_STORE = 3, STORES = 8, LINE = 64 };

typedef struct Target { /* an address that the loaded number leads to */
    u32 value;
    i32 disp;
} Target;

typedef struct Prefetch {
    Opt *o;
    IrFunc *f;
    u32 *block_of;  /* by id: number */
    u8 *depth;      /* by id: operations from the load under test, which has 1; 0: does not come from it */
    bool *scaled;   /* by id: by way of a shift */
    u32 load, store, end; /* under test; end: of the window */
    Target targets[PER_STORE];
    u32 count, stores;
} Prefetch;

static const IrInsn *at(const Prefetch *p, u32 id) { return &p->f->insns.at[id]; }

/* How deep v comes from the load; 0: not at all. */
static unsigned depth(const Prefetch *p, u32 v) { return v >= p->load && v < p->end ? p->depth[v] : 0; }

static bool is_plain(const IrInsn *i) { return !(i->aux2 & (IR_ACQUIRE | IR_RELEASE)); }
static bool is_number(const IrInsn *i) { return (i->op == IR_load ? i->type == IR_I64 : i->op == IR_store) && i->aux >= 2 && is_plain(i); }

/* The load whose place the store takes; 0: none. */
static u32 find_load(const Prefetch *p, u32 store) {
    const IrInsn *s = at(p, store);
    for (u32 id = store - 1; id && store - id < FAR && at(p, id)->op != IR_block; id--) {
        const IrInsn *i = at(p, id);
        if (i->op == IR_store && i->a == s->a && i->imm == s->imm) return 0;
        if (i->op == IR_load && i->a == s->a && i->imm == s->imm && i->aux == s->aux && is_number(i)) return id;
    }
    return 0;
}

static bool is_there(const Prefetch *p, u32 v) { return at(p, v)->op == IR_const || (v < p->store && ir_dominates(&p->o->cfg, p->block_of[v], p->block_of[p->store])); }

/* Does the instruction hand on what comes from the load, and how deep is it then? */
static unsigned handed_on(const Prefetch *p, const IrInsn *i) {
    unsigned a = ir_op_operands[i->op] > 0 ? depth(p, i->a) : 0, b = ir_op_operands[i->op] > 1 ? depth(p, i->b) : 0;
    if (!a && !b) return 0;
    switch ((int)i->op) {
    case IR_trunc: case IR_zext: case IR_sext: return at(p, i->a)->type == IR_I1 ? 0 : a + 1;
    case IR_shl: case IR_shr: case IR_sar: case IR_and: case IR_or: case IR_xor: case IR_mul: case IR_sub: return a && !b && is_there(p, i->b) ? a + 1 : 0;
    case IR_add: return MAX(a, b) + 1;
    default: return 0;
    }
}

static void add_target(Prefetch *p, const IrInsn *i) {
    for (u32 k = 0; k < p->count; k++)
        if (p->targets[k].value == i->a && (i32)i->imm / LINE == p->targets[k].disp / LINE) return;
    if (p->count < PER_STORE) p->targets[p->count++] = (Target){i->a, (i32)i->imm};
}

/* A row and an element of it are one target: what comes from the same values without what is not there yet. */
static u32 base_of(const Prefetch *p, u32 v) {
    for (;;) {
        const IrInsn *i = at(p, v);
        if (i->op != IR_add || (depth(p, i->a) && depth(p, i->b))) return v;
        u32 from = depth(p, i->a) ? i->a : i->b, other = depth(p, i->a) ? i->b : i->a;
        if (is_there(p, other)) return v;
        v = from;
    }
}

/* Fills in the targets of load and store. */
static void find_targets(Prefetch *p) {
    u32 end = p->end = MIN(p->f->insns.len, p->load + WINDOW);
    memset(p->depth + p->load, 0, end - p->load);
    memset(p->scaled + p->load, 0, end - p->load);
    p->depth[p->load] = 1;
    p->count = 0;
    for (u32 id = p->load + 1; id < end; id++) {
        const IrInsn *i = at(p, id);
        if ((i->op == IR_load || i->op == IR_store) && depth(p, i->a) && p->scaled[i->a]) {
            IrInsn target = *i;
            target.a = base_of(p, i->a);
            add_target(p, &target);
        }
        if (!(ir_op_facts[i->op] & F_PURE)) continue;
        unsigned deep = handed_on(p, i);
        if (!deep || deep > DEEP) continue;
        p->depth[id] = (u8)deep;
        p->scaled[id] = i->op == IR_shl || i->op == IR_mul || (depth(p, i->a) && p->scaled[i->a]) || (ir_op_operands[i->op] > 1 && depth(p, i->b) && p->scaled[i->b]);
    }
}

/* --- the new function ----------------------------------------------------------------------------------------------- */

static u32 emit(IrFunc *out, IrInsn i) {
    vec_push(&out->insns, i);
    return out->insns.len - 1;
}

/* Value v for the number that was stored. */
static u32 clone(const Prefetch *p, IrFunc *out, const u32 *map, u32 v, u32 stored) {
    if (v == p->load) return stored;
    IrInsn i = *at(p, v);
    if (i.op == IR_const) return emit(out, i);
    if (!depth(p, v)) return map[v];
    bool a_is_it = depth(p, i.a), b_is_it = ir_op_operands[i.op] > 1 && depth(p, i.b);
    if (i.op == IR_add && !(a_is_it && b_is_it) && !is_there(p, a_is_it ? i.b : i.a)) return clone(p, out, map, a_is_it ? i.a : i.b, stored);
    i.a = clone(p, out, map, i.a, stored);
    if (ir_op_operands[i.op] > 1) i.b = clone(p, out, map, i.b, stored);
    return emit(out, i);
}

static void emit_prefetches(Prefetch *p, IrFunc *out, const u32 *map) {
    const IrInsn *l = at(p, p->load), *s = at(p, p->store);
    u32 stored = map[s->b];
    if (l->aux == 2) stored = emit(out, (IrInsn){.op = l->aux2 & IR_SIGNED ? IR_sext : IR_zext, .type = IR_I64, .aux = 32, .a = stored});
    for (u32 k = 0; k < p->count; k++) {
        u32 address = clone(p, out, map, p->targets[k].value, stored);
        emit(out, (IrInsn){.op = IR_prefetch, .a = address, .imm = (u64)(i64)p->targets[k].disp});
    }
    p->o->stats.prefetches += p->count;
}

/* Is this store one that leaves a number in the place of another, which leads to something? */
static bool is_exchange(Prefetch *p, u32 id) {
    const IrInsn *s = at(p, id);
    if (!is_number(s) || s->op != IR_store || at(p, s->b)->type != IR_I64 || p->stores == STORES) return false;
    p->store = id;
    p->load = find_load(p, id);
    if (!p->load) return false;
    find_targets(p);
    return p->count && !depth(p, s->b);
}

static bool has_exchange(Prefetch *p) {
    for (u32 id = 1; id < p->f->insns.len; id++)
        if (at(p, id)->op == IR_store && is_exchange(p, id)) return true;
    return false;
}

static void copy_all(Prefetch *p) {
    IrFunc *f = p->f, *out = &p->o->other;
    u32 *map = arena_alloc(&p->o->arena, f->insns.len * sizeof(u32));
    out->insns.len = 0;
    for (u32 id = 0; id < f->insns.len; id++) {
        bool exchange = at(p, id)->op == IR_store && is_exchange(p, id); /* before its operands are renumbered */
        IrInsn i = *at(p, id);
        opt_map_operands(f, &i, map);
        map[id] = emit(out, i);
        if (!exchange) continue;
        emit_prefetches(p, out, map);
        p->stores++;
    }
    opt_take_copy(p->o, f, map);
}

void opt_prefetch(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, block = 0;
    if (f->guest->paged) return;
    Prefetch p = {.o = o, .f = f, .block_of = arena_alloc(&o->arena, n * sizeof(u32)), .depth = arena_alloc(&o->arena, n), .scaled = arena_alloc(&o->arena, n)};
    ir_cfg_make(&o->cfg, f);
    for (u32 id = 1; id < n; id++) {
        if (f->insns.at[id].op == IR_block) block = (u32)f->insns.at[id].imm;
        p.block_of[id] = block;
    }
    if (has_exchange(&p)) copy_all(&p);
}
