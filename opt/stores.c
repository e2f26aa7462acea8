/* SPDX-License-Identifier: Apache-2.0 */
/* stores: stores one behind the other, of the bytes of one value to neighbouring places, in any order, become one store, with a byte swap if their order is the other one: what merge.c
 * does for loads. Programs for processors without fast misaligned access take words apart by shifts and store them byte by byte.
 *
 * Condition: nothing stands between them that can fault or leave, or looks at memory. Faults: the one store may fault where the first did not, and has changed nothing then; so the guest's
 * instructions are executed one by one from the first on (TRAP_RETRY), and what they change is what they would have changed. RVWMO orders plain stores to different bytes in no way.
 * Bought: see forward.c; what is left of a copy through the stack is one load and one store. */
#include "opt/opt.h"

enum { BYTES = 8, DEEP = 8 /* operations between a byte and the value that it is of */ };

typedef struct Byte { /* number `index` of `value` */
    u32 value;
    unsigned index;
} Byte;

typedef struct Group { /* stores that become one */
    u32 first, count; /* in Stores.run */
    u32 size;         /* bytes */
    i64 from;         /* of the lowest, from the first store's place */
    Byte low;         /* of the value, what is stored from there on */
    bool swap;        /* the value's bytes from there on downwards */
} Group;

typedef struct Stores {
    Opt *o;
    IrFunc *f;
    u32 *map;
    VEC(u32) run;      /* ids: stores without anything between them that matters */
    VEC(Group) groups; /* 0: unused */
    u32 *group_of;     /* by id: of the first of its stores; 0: none */
    bool *gone;        /* by id: store that is part of one */
} Stores;

static const IrInsn *at(const Stores *s, u32 id) { return &s->f->insns.at[id]; }
static OptPlace place_of(const Stores *s, u32 id) { return opt_access_place(s->f, at(s, id)); }

/* --- finding -------------------------------------------------------------------------------------------------- */

/* What byte `index` of a value is a copy of. */
static Byte source_of(const Stores *s, u32 value, unsigned index) {
    for (unsigned steps = 0; steps < DEEP; steps++) {
        const IrInsn *i = at(s, value);
        u32 bytes = i->type == IR_I32 ? 4 : BYTES;
        if ((i->op == IR_zext || i->op == IR_sext) && index < i->aux / 8u) {
            value = i->a;
        } else if (i->op == IR_trunc) {
            value = i->a;
        } else if ((i->op == IR_shr || i->op == IR_sar) && at(s, i->b)->op == IR_const) {
            u64 by = at(s, i->b)->imm & (8 * bytes - 1);
            if (by % 8 || index + by / 8 >= bytes) break;
            value = i->a, index += (unsigned)by / 8;
        } else {
            break;
        }
    }
    return (Byte){value, index};
}

/* How far apart two stores of one base are. */
static i64 apart(const Stores *s, u32 from, u32 to) { return (i64)((u64)place_of(s, to).disp - (u64)place_of(s, from).disp); }

/* The group's bytes, by address; false: stores overlap. */
static bool list_bytes(const Stores *s, const Group *g, Byte *bytes) {
    bool filled[BYTES] = {false};
    for (u32 k = 0; k < g->count; k++) {
        u32 id = s->run.at[g->first + k];
        u64 from = (u64)apart(s, s->run.at[g->first], id) - (u64)g->from, size = 1u << at(s, id)->aux;
        for (u64 n = 0; n < size; n++) {
            if (from + n >= g->size || filled[from + n]) return false;
            filled[from + n] = true;
            bytes[from + n] = source_of(s, at(s, id)->b, (unsigned)n);
        }
    }
    return true;
}

/* Are they bytes of one value, upwards or downwards? */
static bool find_value(Group *g, const Byte *bytes) {
    g->swap = bytes[1].index < bytes[0].index;
    g->low = bytes[g->swap ? g->size - 1 : 0];
    for (u32 k = 0; k < g->size; k++)
        if (bytes[k].value != g->low.value || bytes[k].index != g->low.index + (g->swap ? g->size - 1 - k : k)) return false;
    return true;
}

/* The stores from number `first` of the run on, as many as have `size` bytes. */
static bool find_group(const Stores *s, Group *g, u32 first, u32 size) {
    u32 start = s->run.at[first], total = 0;
    Byte bytes[BYTES];
    *g = (Group){.first = first, .size = size};
    for (u32 k = first; k < s->run.len && total < size; k++, g->count++) {
        u32 id = s->run.at[k];
        if (place_of(s, id).base != place_of(s, start).base) return false;
        g->from = MIN(g->from, apart(s, start, id));
        total += 1u << at(s, id)->aux;
    }
    return total == size && g->count > 1 && list_bytes(s, g, bytes) && find_value(g, bytes) && fits_i32((i32)at(s, start)->imm + g->from);
}

static void add_group(Stores *s, const Group *g) {
    for (u32 k = 0; k < g->count; k++) s->gone[s->run.at[g->first + k]] = true;
    s->group_of[s->run.at[g->first]] = s->groups.len;
    vec_push(&s->groups, *g);
}

/* The run is over. */
static void end_run(Stores *s) {
    for (u32 k = 0; k + 1 < s->run.len;) {
        Group g = {0};
        bool found = false;
        for (u32 size = BYTES; size > 1 && !found; size /= 2) found = find_group(s, &g, k, size);
        k += found ? g.count : 1;
        if (found) add_group(s, &g);
    }
    s->run.len = 0;
}

static bool is_plain_store(const Stores *s, const IrInsn *i) {
    return i->op == IR_store && !(i->aux2 & (IR_ACQUIRE | IR_RELEASE)) && i->aux < 3 && at(s, i->b)->type == IR_I64;
}

static void find_all(Stores *s) {
    for (u32 id = 1; id < s->f->insns.len; id++) {
        const IrInsn *i = at(s, id);
        bool quiet = ((ir_op_facts[i->op] & F_PURE) && i->op != IR_call) || i->op == IR_insn || i->op == IR_nop;
        if (is_plain_store(s, i)) vec_push(&s->run, id);
        else if (!quiet) end_run(s);
    }
}

/* --- the new function ------------------------------------------------------------------------------------------- */

static u32 emit(Stores *s, IrInsn i) {
    vec_push(&s->o->other.insns, i);
    return s->o->other.insns.len - 1;
}

static u32 emit_shr(Stores *s, IrType type, u32 v, u64 by) {
    if (!by) return v;
    u32 n = emit(s, (IrInsn){.op = IR_const, .type = (u8)type, .imm = by});
    return emit(s, (IrInsn){.op = IR_shr, .type = (u8)type, .a = v, .b = n});
}

static u32 emit_zext(Stores *s, u32 v) { return emit(s, (IrInsn){.op = IR_zext, .type = IR_I64, .aux = 32, .a = v}); }

/* What the one store stores: its low bytes count. */
static u32 emit_value(Stores *s, const Group *g) {
    IrType type = (IrType)at(s, g->low.value)->type;
    u32 v = emit_shr(s, type, s->map[g->low.value], 8 * g->low.index);
    if (g->swap && g->size == BYTES) return emit(s, (IrInsn){.op = IR_bswap, .type = IR_I64, .a = v});
    if (!g->swap) return type == IR_I32 ? emit_zext(s, v) : v;
    if (type == IR_I64) v = emit(s, (IrInsn){.op = IR_trunc, .type = IR_I32, .a = v});
    v = emit(s, (IrInsn){.op = IR_bswap, .type = IR_I32, .a = v});
    return emit_zext(s, emit_shr(s, IR_I32, v, 32 - 8 * g->size));
}

static void copy(Stores *s, u32 id) {
    IrInsn i = *at(s, id);
    opt_map_operands(s->f, &i, s->map);
    if (s->group_of[id]) {
        const Group *g = &s->groups.at[s->group_of[id]];
        i.b = emit_value(s, g);
        i.aux = g->size == 8 ? 3 : (u8)(g->size / 2);
        i.imm += (u64)g->from;
    } else if (s->gone[id]) {
        i = (IrInsn){.op = IR_nop};
    }
    s->map[id] = emit(s, i);
}

void opt_stores(Opt *o, IrFunc *f) {
    u32 n = f->insns.len, *words = arena_alloc(&o->arena, 2 * n * sizeof(u32));
    Stores s = {.o = o, .f = f, .map = words, .group_of = words + n, .gone = arena_alloc(&o->arena, n)};
    vec_push(&s.groups, (Group){0});
    find_all(&s);
    o->stats.stores_merged += s.groups.len - 1;
    if (s.groups.len > 1) {
        o->other.insns.len = 0;
        for (u32 id = 0; id < n; id++) copy(&s, id);
        opt_take_copy(o, f, s.map);
    }
    vec_drop(&s.run);
    vec_drop(&s.groups);
}
