/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: which instructions have no code of their own (Val.fused), because their users do their work.
 *
 * Comparisons: FUSED_FLAGS, done by the branch or select that wants them. Sums and shifted indices: FUSED_RECIPE, done by the addressing of
 * loads and stores, if nobody else wants them; and what only frames want is not done at all. Whoever looks at a frame computes such a
 * value then: settle() after a fault, code at an exit. So frames must find what it is made of, which can cost more than it saves:
 * only if at most one of the operands is not in that frame anyway, which then lives on in the value's stead.
 *
 * From the last instruction to the first, so that users come before what they use. Bought: an array access of a RISC-V program
 * (shift, add, load) is one instruction, though the guest's registers have the address in them. */
#include "host/x64/region.h"

enum { MAX_RECIPE = 8 }; /* operations */

/* A comparison that one branch, select or extension of the same block wants: the flags need no register. */
static bool fuses_comparison(const Region *r, const IrInsn *i, u32 id) {
    if (i->op < IR_eq || i->op > IR_leu || i->uses != 1 || !i->last || r->block_of[i->last] != r->block_of[id]) return false;
    const IrInsn *user = cg_insn(r->g, i->last);
    switch (user->op) {
    case IR_exit_if: case IR_trap_if: case IR_br: return true;
    case IR_zext: case IR_sext: case IR_select: return user->a == id;
    default: return false;
    }
}

/* --- addresses -------------------------------------------------------------------------------------------- */

static bool is_access(const IrInsn *i) { return i->op == IR_load || i->op == IR_store; }

static RAddress *address_of(Region *r, u32 id) { return &r->addresses.at[r->address[id]]; }

static void add_leaf(Region *r, u32 v, u32 access) {
    if (!v) return;
    vec_push(&r->leaves, ((RLeaf){access, r->leaf[v]}));
    r->leaf[v] = r->leaves.len - 1;
}

/* The address with `v` replaced by what it is made of. False: the processor has no such. */
static bool expand(const Region *r, RAddress *a, u32 v) {
    const IrInsn *i = cg_insn(r->g, v);
    u32 x = cg_root(r->g, i->a), y = cg_root(r->g, i->b);
    bool in_base = a->base == v;
    if (in_base && a->index == v) return false;
    u32 *at = in_base ? &a->base : &a->index;
    if (i->op == IR_shl) {
        u32 by = (u32)cg_insn(r->g, y)->imm;
        if (in_base && a->index && a->scale) return false;
        if (in_base) a->base = a->index, a->index = v;
        if (a->scale + by > 3) return false;
        a->index = x, a->scale = (u8)(a->scale + by);
        return true;
    }
    if (cg_is_const(r->g, y)) {
        a->disp += (i64)(cg_insn(r->g, y)->imm << (in_base ? 0 : a->scale));
        *at = x;
        return fits_i32(a->disp);
    }
    if (!in_base || a->index) return false;
    a->base = x, a->index = y, a->scale = 0;
    return true;
}

static bool is_address_part(const Region *r, const IrInsn *i) {
    if (i->type != IR_I64) return false;
    if (cg_is_const(r->g, cg_root(r->g, i->a))) return false;
    if (i->op == IR_add) return true;
    return i->op == IR_shl && cg_is_const(r->g, cg_root(r->g, i->b)) && cg_insn(r->g, cg_root(r->g, i->b))->imm <= 3;
}

/* Can all accesses that have v in their address take it in? They are all its users. */
static bool fits_all(Region *r, u32 v) {
    for (u32 l = r->leaf[v]; l; l = r->leaves.at[l].next) {
        if (r->block_of[r->leaves.at[l].access] != r->block_of[v]) return false;
        RAddress a = *address_of(r, r->leaves.at[l].access);
        if ((a.base == v || a.index == v) && !expand(r, &a, v)) return false;
    }
    return true;
}

static void take_in(Region *r, u32 v) {
    const IrInsn *i = cg_insn(r->g, v);
    u32 x = cg_root(r->g, i->a), y = cg_root(r->g, i->b);
    for (u32 l = r->leaf[v]; l; l = r->leaves.at[l].next) {
        u32 access = r->leaves.at[l].access;
        RAddress *a = address_of(r, access);
        if (a->base != v && a->index != v) continue;
        expand(r, a, v);
        add_leaf(r, x, access);
        if (!cg_is_const(r->g, y)) add_leaf(r, y, access);
    }
}

static void begin_address(Region *r, u32 id) {
    const IrInsn *i = cg_insn(r->g, id);
    u32 base = cg_root(r->g, i->a);
    vec_push(&r->addresses, ((RAddress){.base = base, .disp = (i64)i->imm}));
    r->address[id] = r->addresses.len - 1;
    add_leaf(r, base, id);
    r->absorbed[base]++;
}

/* --- recipes ------------------------------------------------------------------------------------------------ */

/* What settle() and exits can compute. */
static bool has_recipe(const Region *r, const IrInsn *i) {
    switch (i->op) {
    case IR_add: case IR_sub: case IR_and: case IR_or: case IR_xor: return i->type == IR_I64 || i->type == IR_I32;
    case IR_shl: case IR_shr: case IR_sar: return cg_is_const(r->g, cg_root(r->g, i->b));
    case IR_sext: case IR_zext: return i->aux >= 8;
    default: return false;
    }
}

static u32 recipe_size(const Region *r, u32 v) { return r->g->val.at[v].fused == FUSED_RECIPE ? r->recipe_size[v] : 0; }

static u32 size_with_operands(const Region *r, const IrInsn *i) {
    u32 n = 1 + recipe_size(r, cg_root(r->g, i->a));
    return ir_op_operands[i->op] > 1 ? n + recipe_size(r, cg_root(r->g, i->b)) : n;
}

/* Operands of a recipe stop being read where it stands; in exchange frames want them. */
static void absorb_operands(Region *r, const IrInsn *i) {
    r->absorbed[cg_root(r->g, i->a)]++;
    if (ir_op_operands[i->op] > 1) r->absorbed[cg_root(r->g, i->b)]++;
}

static void make_recipe(Region *r, u32 v) {
    const IrInsn *i = cg_insn(r->g, v);
    r->recipe_size[v] = (u8)size_with_operands(r, i);
    r->g->val.at[v].fused = FUSED_RECIPE;
    absorb_operands(r, i);
}

/* Operands of v that the frame does not list. stamp: tells what it lists. */
static void check_frame_operands(Region *r, u32 v, u32 stamp) {
    const IrInsn *i = cg_insn(r->g, v);
    if (!has_recipe(r, i)) return;
    u32 missing = 0;
    const u32 operand[2] = {i->a, i->b};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++) {
        u32 o = cg_root(r->g, operand[k]);
        missing += !cg_is_const(r->g, o) && r->listed[o] != stamp;
    }
    if (missing > 1) r->costly[v] = true;
}

static u32 freq_of(const Region *r, u32 id) { return r->blocks[r->block_of[id]].freq; }

/* What leaves at the end of a block does look at its frame, each time: there a recipe saves nothing. */
static void check_frame(Region *r, const IrFrame *frame, u32 id) {
    const IrState *s = r->g->f->states.at + frame->state;
    bool leaves = ir_op_facts[cg_insn(r->g, id)->op] & F_TERM;
    for (u32 k = 0; k < frame->state_count; k++) r->listed[cg_root(r->g, s[k].value)] = id;
    for (u32 k = 0; k < frame->state_count; k++) {
        u32 v = cg_root(r->g, s[k].value);
        check_frame_operands(r, v, id);
        if (leaves && freq_of(r, id) >= freq_of(r, v)) r->costly[v] = true;
    }
}

static void check_frames(Region *r) {
    const IrFrame *last = NULL;
    for (u32 id = 1; id < r->g->f->insns.len; id++) {
        if (!(ir_op_facts[cg_insn(r->g, id)->op] & (F_FAULTS | F_EXIT))) continue;
        const IrFrame *frame = region_frame(r, id);
        if (frame && frame != last) check_frame(r, frame, id);
        last = frame;
    }
}

/* All that reads v does v's work. */
static bool is_absorbed(const Region *r, u32 v) { return r->absorbed[v] == r->real[v]; }

static void select_value(Region *r, u32 v) {
    const IrInsn *i = cg_insn(r->g, v);
    if (!i->uses || cg_is_alias(r->g, i) || !has_recipe(r, i) || r->costly[v] || !is_absorbed(r, v)) return;
    if (size_with_operands(r, i) > MAX_RECIPE) return;
    if (r->leaf[v]) {
        if (!is_address_part(r, i) || !fits_all(r, v)) return;
        take_in(r, v);
    }
    make_recipe(r, v);
}

void region_select(Region *r) {
    Cg *g = r->g;
    u32 n = g->f->insns.len;
    r->absorbed = arena_alloc(&r->arena, n * sizeof(u32));
    r->listed = arena_alloc(&r->arena, n * sizeof(u32));
    r->address = arena_alloc(&r->arena, n * sizeof(u32));
    r->leaf = arena_alloc(&r->arena, n * sizeof(u32));
    r->costly = arena_alloc(&r->arena, n);
    r->recipe_size = arena_alloc(&r->arena, n);
    r->addresses.len = r->leaves.len = 0;
    vec_push(&r->addresses, (RAddress){0});
    vec_push(&r->leaves, (RLeaf){0});
    check_frames(r);
    for (u32 id = n - 1; id; id--) {
        const IrInsn *i = cg_insn(g, id);
        if (is_access(i) && !cg_is_const(g, cg_root(g, i->a))) begin_address(r, id);
        else if (fuses_comparison(r, i, id)) g->val.at[id].fused = FUSED_FLAGS;
        else select_value(r, id);
    }
}

X64Mem region_address(Cg *g, const IrInsn *i) {
    const RAddress *a = address_of(g->region, g->cur);
    u32 base = a->base, index = a->index;
    (void)i;
    unsigned b = base ? cg_use(g, base) : NO_REG;
    return index ? x64_mem_index(b, cg_use(g, index), a->scale, a->disp) : x64_mem(b, a->disp);
}
