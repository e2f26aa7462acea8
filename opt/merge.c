/* SPDX-License-Identifier: Apache-2.0 */
/* merge: loads of neighbouring bytes that are put together by shifts and ors become one load, with a byte swap if their order is the other one.
 * Programs for processors without fast misaligned access, which is what distributions compile for, read every word that way whose alignment they do
 * not know: seven of eight loads, shifts and ors are for nothing where the host takes any address.
 *
 * For each value it is found out what its eight bytes are (Source): zero, a byte of a load, or copies of such a byte's sign. A value all of
 * whose bytes come from neighbouring places, loaded in one block, is a *root*; the largest come first. The one load stands where the first
 * of the many was; what else wants one of these gets a piece of its result. So do the sums on the way to the root (*parts*): they stay behind in
 * registers, and where ways meet, somebody seems to want them.
 *
 * Condition: between the first and the last of them no store that might change what they read, no fence, no atomic. Faults: the one load
 * may fault where the first did not; then the guest's instructions are executed one by one from there (TRAP_RETRY), as nothing has happened yet.
 * RVWMO orders plain loads of different bytes in no way. */
#include "opt/opt.h"

enum { BYTES = 8, FAR = 400 /* instructions between the first and the last: bounds the search */ };

typedef u32 Source; /* load id * 16 + byte * 2 + 1 if it is the sign of that byte, eight times */
#define ZERO 0u
#define UNKNOWN 0xffffffffu

typedef struct Group { /* loads that become one */
    u32 first, root;   /* ids */
    OptPlace place;       /* lowest address */
    u8 size, log2size;
    bool swap, sign;
    u32 load;          /* new id */
    u32 next;          /* group with the same first load; 0: none */
} Group;

typedef struct Merge {
    Opt *o;
    IrFunc *f;
    Source (*source)[BYTES]; /* by id */
    bool *known;       /* by id: source has been filled in */
    u32 *block_of;     /* by id: id of the `block` */
    u32 *uses;         /* by id: operations that read it, but for those that roots make superfluous */
    u32 *group_of;     /* by id: of loads that become part of one (or of several: any), and of roots; 0: none */
    bool *is_part;     /* by id */
    u32 *starts;       /* by id: first group whose load stands there; 0: none */
    VEC(Group) groups; /* 0: unused */
} Merge;

static Source source_of(u32 load, unsigned byte) { return load * 16 + byte * 2; }
static bool is_byte(Source s) { return s != ZERO && s != UNKNOWN && !(s & 1); }
static u32 load_of(Source s) { return s / 16; }

/* --- what the bytes of a value are ------------------------------------------------------------------------- */

static unsigned width(const IrInsn *i) { return i->type == IR_I32 ? 4 : BYTES; }

static bool is_plain_load(const IrInsn *i) { return i->op == IR_load && i->type == IR_I64 && !(i->aux2 & (IR_ACQUIRE | IR_RELEASE)); }

/* Bytes from `from` on are zero, or the sign of the one before. */
static void extend(Source *s, unsigned from, bool sign) {
    Source top = sign ? s[from - 1] : ZERO;
    if (sign && top != ZERO && top != UNKNOWN) top |= 1;
    for (unsigned k = from; k < BYTES; k++) s[k] = top;
}

static void load_bytes(Source *s, const IrInsn *i, u32 id) {
    unsigned size = 1u << i->aux;
    for (unsigned k = 0; k < size; k++) s[k] = source_of(id, k);
    extend(s, size, i->aux2 & IR_SIGNED);
}

/* Shifted by whole bytes: towards the upper ones if left. False: by something else. */
static bool shift_bytes(Source *s, const Source *a, const IrInsn *i, u64 by) {
    unsigned n = width(i), bytes = (unsigned)(by & (8 * n - 1)) / 8;
    if (by % 8) return false;
    for (unsigned k = 0; k < n; k++) {
        if (i->op == IR_shl) s[k] = k >= bytes ? a[k - bytes] : ZERO;
        else s[k] = k + bytes < n ? a[k + bytes] : ZERO;
    }
    return true;
}

/* or, xor and sum where at most one of the two has something in each byte. */
static bool join_bytes(Source *s, const Source *a, const Source *b, const IrInsn *i) {
    for (unsigned k = 0; k < width(i); k++) {
        if (a[k] != ZERO && b[k] != ZERO) return false;
        s[k] = a[k] != ZERO ? a[k] : b[k];
    }
    return true;
}

static bool mask_bytes(Source *s, const Source *a, u64 mask) {
    for (unsigned k = 0; k < BYTES; k++) {
        u8 m = (u8)(mask >> 8 * k);
        s[k] = m == 0 ? ZERO : m == 0xff ? a[k] : UNKNOWN;
    }
    return true;
}

/* What operation i, of known operands, makes of them. False: nothing that helps. */
static bool find_bytes(Merge *m, const IrInsn *i, Source *s) {
    const IrInsn *b = &m->f->insns.at[i->b];
    const Source *a = m->source[i->a];
    switch ((int)i->op) {
    case IR_shl: case IR_shr: return b->op == IR_const && shift_bytes(s, a, i, b->imm);
    case IR_or: case IR_xor: case IR_add: return m->known[i->b] && join_bytes(s, a, m->source[i->b], i);
    case IR_and: return b->op == IR_const && mask_bytes(s, a, b->imm);
    case IR_trunc:
        memcpy(s, a, 4 * sizeof *s);
        return true;
    case IR_zext: case IR_sext:
        if (i->aux < 8 || m->f->insns.at[i->a].type == IR_I1) return false;
        memcpy(s, a, i->aux / 8 * sizeof *s);
        extend(s, i->aux / 8, i->op == IR_sext);
        return true;
    default: return false;
    }
}

static void find_source(Merge *m, u32 id) {
    const IrInsn *i = &m->f->insns.at[id];
    Source *s = m->source[id];
    memset(s, 0xff, sizeof m->source[id]);
    if (is_plain_load(i) && i->aux < 3) load_bytes(s, i, id), m->known[id] = true;
    else if (ir_op_operands[i->op] && ir_op_operands[i->op] < 3 && m->known[i->a]) m->known[id] = find_bytes(m, i, s);
}

/* --- roots --------------------------------------------------------------------------------------------------- */

static OptPlace place_of(const Merge *m, Source s) {
    const IrInsn *load = &m->f->insns.at[load_of(s)];
    return opt_place(m->f, load->a, (i32)load->imm + (i64)(s / 2 % 8));
}

/* The number of bytes of which the value is an extension; 0: it is none. */
static unsigned root_size(const Source *s, unsigned n, bool *sign) {
    unsigned size = 0;
    while (size < n && is_byte(s[size])) size++;
    *sign = size < n && size && s[size] == (s[size - 1] | 1);
    for (unsigned k = size; k < n; k++)
        if (s[k] != (*sign ? s[size - 1] | 1 : ZERO)) return 0;
    return size == 2 || size == 4 || size == 8 ? size : 0;
}

/* Do the bytes stand one behind the other, upwards or downwards? Fills in place and swap. */
static bool are_neighbours(const Merge *m, const Source *s, Group *g) {
    OptPlace low = place_of(m, s[0]), next = place_of(m, s[1]);
    i64 step = next.disp - low.disp;
    if (step != 1 && step != -1) return false;
    for (unsigned k = 1; k < g->size; k++) {
        OptPlace p = place_of(m, s[k]);
        if (p.base != low.base || p.disp != low.disp + step * (i64)k) return false;
    }
    g->swap = step < 0;
    g->place = g->swap ? place_of(m, s[g->size - 1]) : low;
    return fits_i32(g->place.disp);
}

/* May the store change what the group reads? */
static bool may_change(const Merge *m, const IrInsn *store, const Group *g) {
    OptPlace p = opt_access_place(m->f, store);
    return p.base != g->place.base || opt_overlap(p, 1u << store->aux, g->place, g->size);
}

static bool is_barrier(const Merge *m, const IrInsn *i, const Group *g) {
    switch ((int)i->op) {
    case IR_store: return may_change(m, i, g) || (i->aux2 & (IR_ACQUIRE | IR_RELEASE));
    case IR_load: return (i->aux2 & (IR_ACQUIRE | IR_RELEASE)) != 0;
    case IR_amo: case IR_cas: case IR_sc: case IR_fence: case IR_call: case IR_vec: return true;
    default: return false;
    }
}

/* The first and last of its loads are in one block, with nothing in between that they must not pass. */
static bool can_merge(const Merge *m, const Source *s, Group *g) {
    u32 first = load_of(s[0]), last = first;
    for (unsigned k = 0; k < g->size; k++) {
        u32 load = load_of(s[k]);
        if (m->block_of[load] != m->block_of[first]) return false;
        first = MIN(first, load), last = MAX(last, load);
    }
    if (first == last || last - first > FAR) return false;
    for (u32 id = first + 1; id < last; id++)
        if (is_barrier(m, &m->f->insns.at[id], g)) return false;
    g->first = first;
    return true;
}

static bool find_group(const Merge *m, u32 id, Group *g) {
    const IrInsn *i = &m->f->insns.at[id];
    const Source *s = m->source[id];
    *g = (Group){.root = id};
    if ((i->op != IR_or && i->op != IR_add && i->op != IR_xor) || !m->known[id]) return false;
    g->size = (u8)root_size(s, width(i), &g->sign);
    if (!g->size || !are_neighbours(m, s, g) || !can_merge(m, s, g)) return false;
    g->log2size = g->size == 8 ? 3 : g->size / 2;
    return true;
}

static void add_group(Merge *m, Group g) {
    u32 n = m->groups.len;
    g.next = m->starts[g.first];
    m->starts[g.first] = m->group_of[g.root] = n;
    for (unsigned k = 0; k < g.size; k++) m->group_of[load_of(m->source[g.root][k])] = n;
    vec_push(&m->groups, g);
}

/* A run of the word's bytes, in a value that is zero besides: bytes [from, from + size) of the word are its bytes [to, to + size). */
typedef struct Part {
    unsigned from, to, size;
} Part;

/* Is it one, of the group that the first of its bytes belongs to? Returns that, or 0. */
static u32 find_part(const Merge *m, u32 id, Part *p) {
    const IrInsn *i = &m->f->insns.at[id];
    const Source *s = m->source[id];
    unsigned k = 0, n = width(i);
    if ((i->op != IR_or && i->op != IR_add && i->op != IR_xor && i->op != IR_shl && i->op != IR_and) || !m->known[id]) return 0;
    while (k < n && s[k] == ZERO) k++;
    if (k == n || !is_byte(s[k])) return 0;
    u32 group = m->group_of[load_of(s[k])];
    const Group *g = &m->groups.at[group];
    i64 from = group ? place_of(m, s[k]).disp - g->place.disp : -1;
    if (from < 0 || g->swap) return 0;
    *p = (Part){.from = (unsigned)from, .to = k};
    for (; k < n && s[k] != ZERO; k++, p->size++) {
        OptPlace at = is_byte(s[k]) && m->group_of[load_of(s[k])] == group ? place_of(m, s[k]) : (OptPlace){0};
        if (at.base != g->place.base || at.disp != g->place.disp + (i64)(p->from + p->size)) return 0;
    }
    while (k < n && s[k] == ZERO) k++;
    return k == n && p->from + p->size <= g->size ? group : 0;
}

static void count_uses(Merge *m, const IrInsn *i, u32 n) {
    const u32 operand[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++) m->uses[operand[k]] += n;
    for (u32 k = 0; opt_has_args((IrOp)i->op) && k < i->b; k++) m->uses[m->f->args.at[i->a + k]] += n;
}

/* From the last to the first: the largest roots come first, and what only they wanted is no root any more. What only frames want is none, but may be a
 * part. */
static void find_roots(Merge *m) {
    Group g;
    Part p;
    for (u32 id = 1; id < m->f->insns.len; id++) count_uses(m, &m->f->insns.at[id], 1);
    for (u32 id = m->f->insns.len - 1; id; id--) {
        const IrInsn *i = &m->f->insns.at[id];
        bool dead = !m->uses[id] && (ir_op_facts[i->op] & F_PURE);
        m->is_part[id] = find_part(m, id, &p) != 0;
        bool root = !dead && !m->is_part[id] && find_group(m, id, &g);
        if (dead || root || m->is_part[id]) count_uses(m, i, ~0u);
        if (root) add_group(m, g);
    }
}

/* --- the new function ------------------------------------------------------------------------------------------- */

static u32 emit(IrFunc *out, IrInsn i) {
    vec_push(&out->insns, i);
    return out->insns.len - 1;
}

static u32 emit_const(IrFunc *out, IrType type, u64 v) { return emit(out, (IrInsn){.op = IR_const, .type = (u8)type, .imm = v}); }

static u32 emit_shr(IrFunc *out, IrType type, u32 v, u64 by) {
    u32 n = emit_const(out, type, by);
    return by ? emit(out, (IrInsn){.op = IR_shr, .type = (u8)type, .a = v, .b = n}) : v;
}

static u32 emit_extension(IrFunc *out, unsigned bits, bool sign, u32 v) {
    return emit(out, (IrInsn){.op = sign ? IR_sext : IR_zext, .type = IR_I64, .aux = (u8)bits, .a = v});
}

static u32 emit_trunc(IrFunc *out, u32 v) { return emit(out, (IrInsn){.op = IR_trunc, .type = IR_I32, .a = v}); }

/* The root: of type I32 or I64. */
static u32 emit_root(IrFunc *out, const Group *g, IrType type) {
    u32 v = g->load;
    if (g->swap && g->size == 8) {
        v = emit(out, (IrInsn){.op = IR_bswap, .type = IR_I64, .a = v});
    } else if (g->swap) {
        v = emit(out, (IrInsn){.op = IR_bswap, .type = IR_I32, .a = emit_trunc(out, v)});
        v = emit_shr(out, IR_I32, v, 32 - 8u * g->size);
        if (type == IR_I32 && !g->sign) return v;
        v = emit_extension(out, 32, false, v);
    }
    if (g->sign) v = emit_extension(out, 8u * g->size, true, v);
    return type == IR_I32 ? emit_trunc(out, v) : v;
}

/* What load i of the group read. */
static u32 emit_piece(const Merge *m, IrFunc *out, const Group *g, u32 id) {
    const IrInsn *i = &m->f->insns.at[id];
    i64 at = place_of(m, source_of(id, 0)).disp - g->place.disp;
    return emit_extension(out, 8u << i->aux, i->aux2 & IR_SIGNED, emit_shr(out, IR_I64, g->load, 8 * (u64)at));
}

static u32 emit_and(IrFunc *out, u32 v, u64 mask) { return emit(out, (IrInsn){.op = IR_and, .type = IR_I64, .a = v, .b = emit_const(out, IR_I64, mask)}); }
static u32 emit_shl(IrFunc *out, u32 v, u64 by) { return by ? emit(out, (IrInsn){.op = IR_shl, .type = IR_I64, .a = v, .b = emit_const(out, IR_I64, by)}) : v; }

/* In place, by a mask if that is one of low bytes or of 32 bits; else by shifts, those beside it leaving by themselves at either end. */
static u32 emit_part(IrFunc *out, const Group *g, const Part *p, IrType type) {
    u32 v = g->load;
    if (p->from == p->to && (p->from == 0 || p->from + p->size <= 4)) {
        u64 mask = (p->size == 8 ? ~0ull : (1ull << 8 * p->size) - 1) << 8 * p->from;
        bool extends = p->from == 0 && (p->size & (p->size - 1)) == 0;
        if (p->size < g->size) v = extends ? emit_extension(out, 8 * p->size, false, v) : emit_and(out, v, mask);
    } else {
        v = emit_shr(out, IR_I64, v, 8 * p->from);
        if (p->from + p->size < g->size && p->to + p->size < BYTES) v = p->size & (p->size - 1) ? emit_and(out, v, (1ull << 8 * p->size) - 1) : emit_extension(out, 8 * p->size, false, v);
        v = emit_shl(out, v, 8 * p->to);
    }
    return type == IR_I32 ? emit_trunc(out, v) : v;
}

static u32 copy_insn(Merge *m, IrFunc *out, const u32 *map, u32 id) {
    IrInsn i = m->f->insns.at[id];
    opt_map_operands(m->f, &i, map);
    for (u32 n = m->starts[id]; n; n = m->groups.at[n].next) {
        Group *g = &m->groups.at[n];
        g->load = emit(out, (IrInsn){.op = IR_load, .type = IR_I64, .aux = g->log2size, .a = map[g->place.base], .imm = (u64)g->place.disp});
    }
    Part p;
    u32 part = m->is_part[id] ? find_part(m, id, &p) : 0; /* perhaps of another group by now */
    if (part) return emit_part(out, &m->groups.at[part], &p, (IrType)i.type);
    if (!m->group_of[id]) return emit(out, i);
    const Group *g = &m->groups.at[m->group_of[id]];
    return id == g->root ? emit_root(out, g, (IrType)i.type) : emit_piece(m, out, g, id);
}

static void copy_all(Merge *m) {
    IrFunc *f = m->f, *out = &m->o->other;
    u32 *map = arena_alloc(&m->o->arena, f->insns.len * sizeof(u32));
    out->insns.len = 0;
    for (u32 id = 0; id < f->insns.len; id++) map[id] = copy_insn(m, out, map, id);
    opt_take_copy(m->o, f, map);
}

static bool has_bytes(const IrFunc *f) {
    u32 loads = 0;
    for (u32 id = 1; id < f->insns.len; id++) loads += is_plain_load(&f->insns.at[id]) && f->insns.at[id].aux < 3;
    return loads > 1;
}

void opt_merge(Opt *o, IrFunc *f) {
    if (!has_bytes(f)) return;
    u32 n = f->insns.len, block = 0;
    Merge m = {.o = o, .f = f, .source = arena_alloc(&o->arena, n * sizeof *m.source), .known = arena_alloc(&o->arena, n)};
    m.block_of = arena_alloc(&o->arena, n * sizeof(u32));
    m.uses = arena_alloc(&o->arena, n * sizeof(u32));
    m.starts = arena_alloc(&o->arena, n * sizeof(u32));
    m.group_of = arena_alloc(&o->arena, n * sizeof(u32));
    m.is_part = arena_alloc(&o->arena, n);
    vec_push(&m.groups, (Group){0});
    for (u32 id = 1; id < n; id++) {
        if (f->insns.at[id].op == IR_block) block = id;
        m.block_of[id] = block;
        find_source(&m, id);
    }
    find_roots(&m);
    o->stats.loads_merged += m.groups.len - 1;
    if (m.groups.len > 1) {
        copy_all(&m);
        o->decided = true;
        opt_dce(o, f);
    }
    vec_drop(&m.groups);
}
