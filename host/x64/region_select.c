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

/* Can the floating-point comparison be made at its user? Nobody in between may look at the accrued flags. */
static bool can_wait(const Region *r, u32 id, u32 user) {
    for (u32 k = id + 1; k < user; k++) {
        unsigned op = cg_insn(r->g, k)->op;
        if (op == IR_getflags || op == IR_setflags || op == IR_call || (ir_op_facts[op] & (F_FAULTS | F_EXIT))) return false;
    }
    return true;
}

/* A comparison that one branch, select or extension of the same block wants: the flags need no register. */
static bool fuses_comparison(const Region *r, const IrInsn *i, u32 id) {
    bool fp = i->op == IR_flt || i->op == IR_fle;
    if (i->op == IR_stray) return i->uses == 1 && i->last == id + 1 && cg_insn(r->g, id + 1)->op == IR_trap_if;
    if (i->op == IR_quiet) return i->uses == 1 && i->last == id + 1 && cg_insn(r->g, id + 1)->op == IR_br;
    if ((!fp && (i->op < IR_eq || i->op > IR_leu)) || i->uses != 1 || !i->last || r->block_of[i->last] != r->block_of[id]) return false;
    if (fp && ((cg_insn(r->g, i->a)->type != IR_F64 && cg_insn(r->g, i->a)->type != IR_F32) || (!r->silent[id] && !can_wait(r, id, i->last)))) return false;
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
        if (a->narrow) a->disp = (i32)a->disp;
        *at = x;
        return fits_i32(a->disp);
    }
    if (!in_base || a->index) return false;
    a->base = x, a->index = y, a->scale = 0;
    return true;
}

static bool is_address_part(const Region *r, const IrInsn *i) {
    if (cg_is_const(r->g, cg_root(r->g, i->a))) return false;
    if (i->op == IR_add) return true;
    return i->op == IR_shl && cg_is_const(r->g, cg_root(r->g, i->b)) && cg_insn(r->g, cg_root(r->g, i->b))->imm <= 3;
}

/* Can all accesses that have v in their address take it in? They are all its users. */
static bool fits_all(Region *r, u32 v) {
    for (u32 l = r->leaf[v]; l; l = r->leaves.at[l].next) {
        if (r->block_of[r->leaves.at[l].access] != r->block_of[v]) return false;
        RAddress a = *address_of(r, r->leaves.at[l].access);
        if (cg_insn(r->g, v)->type != IR_I64 && !a.narrow) return false;
        if (a.sum && !cg_is_const(r->g, cg_root(r->g, cg_insn(r->g, v)->b))) return false; /* two values would live on for one */
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
        a->expanded = true;
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

/* A sum is an address, too, for lea: of 32 bits, where it does not matter what is above. */
static void begin_sum(Region *r, const IrInsn *i, u32 id) {
    u32 x = cg_root(r->g, i->a), y = cg_root(r->g, i->b);
    if (i->op != IR_add || (i->type != IR_I64 && i->type != IR_I32) || cg_is_const(r->g, x)) return;
    RAddress a = {.base = x, .sum = true, .narrow = i->type == IR_I32};
    i32 imm;
    if (cg_imm32(r->g, i->b, &imm)) a.disp = imm;
    else if (cg_is_const(r->g, y)) return;
    else a.index = y;
    vec_push(&r->addresses, a);
    r->address[id] = r->addresses.len - 1;
    add_leaf(r, x, id);
    r->absorbed[x]++;
    if (!a.index) return;
    add_leaf(r, y, id);
    r->absorbed[y]++;
}

/* x & ~y is one instruction. */
static void begin_and_not(Region *r, const IrInsn *i, u32 id) {
    const u32 operand[2] = {cg_root(r->g, i->b), cg_root(r->g, i->a)};
    for (unsigned k = 0; k < 2; k++) {
        const IrInsn *o = cg_insn(r->g, operand[k]);
        if (o->op != IR_xor || o->type != i->type || operand[0] == operand[1] || r->block_of[operand[k]] != r->block_of[id]) continue;
        u32 ones = cg_root(r->g, o->b);
        if (!cg_is_const(r->g, ones) || cg_insn(r->g, ones)->imm != (i->type == IR_I64 ? ~0ull : (u32)~0u)) continue;
        r->absorbed[operand[k]]++;
        r->direct[operand[k]] = true;
        return;
    }
}

/* (x & y) == 0 needs no result of the and. */
static void begin_test(Region *r, const IrInsn *i, u32 id) {
    if (i->op != IR_eq && i->op != IR_ne) return;
    u32 v = cg_root(r->g, i->a), zero = cg_root(r->g, i->b);
    const IrInsn *o = cg_insn(r->g, v);
    if (!cg_is_const(r->g, zero) || cg_insn(r->g, zero)->imm) return;
    if (o->op != IR_and || o->type != cg_insn(r->g, i->a)->type || o->type == IR_I1 || r->block_of[v] != r->block_of[id]) return;
    r->absorbed[v]++;
    r->direct[v] = true;
}

/* --- carries ------------------------------------------------------------------------------------------------ */

/* The comparison a < b whose truth value `v` is, if nobody else wants it; 0: none. */
static u32 carry_of(const Region *r, u32 v) {
    const IrInsn *i = cg_insn(r->g, v), *c = cg_insn(r->g, i->a);
    i32 imm;
    if (i->op != IR_zext || i->aux != 1 || c->op != IR_ltu || c->uses != 1 || r->block_of[i->a] != r->block_of[v]) return 0;
    if (cg_is_const(r->g, cg_root(r->g, c->a)) || cg_insn(r->g, c->a)->type == IR_I1) return 0;
    return cg_is_const(r->g, cg_root(r->g, c->b)) && !cg_imm32(r->g, c->b, &imm) ? 0 : i->a;
}

static bool take_carry(Region *r, u32 id, u32 v) {
    u32 compare = carry_of(r, v);
    if (!compare || r->costly[v] || r->real[v] != 1 || r->block_of[v] != r->block_of[id] || r->g->val.at[v].fused) return false;
    r->g->val.at[v].fused = r->g->val.at[compare].fused = FUSED_RECIPE;
    r->recipe_size[v] = 2;
    r->recipe_size[compare] = 1;
    return true;
}

/* x + (a < b), x - (a < b): a comparison leaves that as the carry, which adc and sbb take in. Bought: numbers of many words are added like this. */
static bool begin_carry(Region *r, const IrInsn *i, u32 id) {
    u32 a = cg_root(r->g, i->a), b = cg_root(r->g, i->b);
    if ((i->op != IR_add && i->op != IR_sub) || i->type != IR_I64 || a == b || cg_is_const(r->g, a) || cg_is_const(r->g, b)) return false;
    return take_carry(r, id, b) || (i->op == IR_add && take_carry(r, id, a));
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
    if (!r->direct[v]) absorb_operands(r, i);
}

/* Operands of v that the frame of operation `id` does not list. Where v is the address, they would be there anyway. */
static void check_frame_operands(Region *r, u32 v, u32 id) {
    const IrInsn *i = cg_insn(r->g, v), *access = cg_insn(r->g, id);
    u32 compare = carry_of(r, v);
    if (compare) i = cg_insn(r->g, compare);
    else if (!has_recipe(r, i) || (is_access(access) && cg_root(r->g, access->a) == v)) return;
    u32 missing = 0;
    const u32 operand[2] = {i->a, i->b};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++) {
        u32 o = cg_root(r->g, operand[k]);
        missing += !cg_is_const(r->g, o) && r->listed[o] != id;
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

/* --- floating point ------------------------------------------------------------------------------------------- */

/* RISC-V programs make a comparison that raises nothing of one that does, by putting the flags back (frflags, flt, fsflags).
 * AVX-512 has such a comparison. Bought: writing MXCSR, a third of nbody's time. */
static void find_silent(Region *r, u32 id) {
    if (!x64_features.avx512 || cg_insn(r->g, id)->op != IR_setflags) return;
    u32 saved = cg_root(r->g, cg_insn(r->g, id)->a), compare = 0;
    for (u32 k = id - 1; k != saved; k--) {
        const IrInsn *i = cg_insn(r->g, k);
        bool fp = i->op == IR_flt || i->op == IR_fle;
        if (fp && !compare && (cg_insn(r->g, i->a)->type == IR_F64 || cg_insn(r->g, i->a)->type == IR_F32)) compare = k;
        else if (fp || i->op == IR_block || i->op == IR_setflags || i->op == IR_call || (ir_op_facts[i->op] & (F_FAULTS | F_EXIT | F_FLAGS))) return;
    }
    if (!compare || cg_insn(r->g, saved)->op != IR_getflags) return;
    r->silent[compare] = true;
    cg_insn(r->g, id)->op = IR_nop;
    r->real[saved]--;
    if (!--cg_insn(r->g, saved)->uses) cg_insn(r->g, saved)->op = IR_nop;
}

static bool reads(const IrInsn *i, u32 v) {
    unsigned n = ir_op_operands[i->op];
    return (n > 0 && i->a == v) || (n > 1 && i->b == v) || (n > 2 && i->c == v);
}

static bool frame_lists(const Region *r, u32 id, u32 v) {
    const IrFrame *frame = region_frame(r, id);
    for (u32 k = 0; frame && k < frame->state_count; k++)
        if (r->g->f->states.at[frame->state + k].value == v) return true;
    return false;
}

/* The operation whose test for NaN finds this one's, too: the first that reads it, if that is arithmetic (a NaN stays one), or who
 * tests that one; provided that until then nobody sees that the NaN is not yet the guest's. 0: none. */
static u32 nan_checker(const Region *r, u32 v) {
    enum { FAR = 100 };
    const Cg *g = r->g;
    u32 type = cg_insn(g, v)->type, end = MIN(r->blocks[r->block_of[v]].last, v + FAR), target = 0;
    for (u32 k = v + 1; k <= end; k++) {
        const IrInsn *i = cg_insn(g, k);
        if ((ir_op_facts[i->op] & (F_FAULTS | F_EXIT)) && frame_lists(r, k, v)) return 0;
        if (i->op == IR_call || i->op == IR_jmp) return 0;
        if (reads(i, v)) {
            if (i->type != type || !cg_native_fp(g, i)) return 0;
            if (!target) target = r->nan_checked[k] ? r->nan_checked[k] : k;
        }
        if (k == target) return target;
    }
    return 0;
}

/* From the last to the first. */
static void defer_nan(Region *r, u32 v) {
    const IrInsn *i = cg_insn(r->g, v);
    if (i->op < IR_fadd || i->op > IR_fsqrt || !cg_native_fp(r->g, i)) return;
    u32 target = nan_checker(r, v);
    if (!target) return;
    r->nan_checked[v] = target;
    r->nan_next[v] = r->nan_first[target];
    r->nan_first[target] = v;
}

static void load_xmm(Cg *g, unsigned reg, Place p) { x64_rm(&g->b, I_MOVS_LOAD(3), xn(reg), region_mem(g, p)); }
static void store_xmm(Cg *g, Place p, unsigned reg) { x64_rm(&g->b, I_MOVS_STORE(3), xn(reg), region_mem(g, p)); }

/* The value is in memory alone; the temporary register may hold the result of the operation that tests. */
static void deferred_in_memory(Cg *g, Place p, unsigned type) {
    Place kept = PLACE_BORROWED + REGION_TEMP_XMM;
    store_xmm(g, kept, REGION_TEMP_XMM);
    load_xmm(g, REGION_TEMP_XMM, p);
    cg_canonical_nan(g, REGION_TEMP_XMM, type);
    store_xmm(g, p, REGION_TEMP_XMM);
    load_xmm(g, REGION_TEMP_XMM, kept);
}

void region_deferred_nans(Cg *g, u32 id) {
    Region *r = g->region;
    for (u32 v = r->nan_first[id]; v; v = r->nan_next[v]) {
        Place p = region_place(r, v, 2 * id + 1);
        unsigned type = cg_insn(g, v)->type;
        if (p == PLACE_NONE) continue;
        if (g->b.end - g->b.at < X64_SLACK) {
            g->full = true;
            return;
        }
        if (p >= PLACE_SPILL) {
            deferred_in_memory(g, p, type);
            continue;
        }
        cg_canonical_nan(g, p, type);
        if (r->value[v].spilled) store_xmm(g, region_memory(r, v), p);
    }
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
    r->direct = arena_alloc(&r->arena, n);
    r->nan_checked = arena_alloc(&r->arena, n * sizeof(u32));
    r->nan_next = arena_alloc(&r->arena, n * sizeof(u32));
    r->nan_first = arena_alloc(&r->arena, n * sizeof(u32));
    r->silent = arena_alloc(&r->arena, n);
    r->addresses.len = r->leaves.len = 0;
    vec_push(&r->addresses, (RAddress){0});
    vec_push(&r->leaves, (RLeaf){0});
    check_frames(r);
    for (u32 id = n - 1; id; id--) find_silent(r, id);
    for (u32 id = n - 1; id; id--) {
        const IrInsn *i = cg_insn(g, id);
        if (g->val.at[id].fused) continue;
        defer_nan(r, id);
        if (is_access(i) && !cg_is_const(g, cg_root(g, i->a))) begin_address(r, id);
        else if (fuses_comparison(r, i, id)) g->val.at[id].fused = FUSED_FLAGS, begin_test(r, i, id);
        else select_value(r, id);
        if (i->op == IR_and && i->type != IR_I1 && x64_features.bmi1 && !g->val.at[id].fused) begin_and_not(r, i, id);
        if (!g->val.at[id].fused && !begin_carry(r, i, id)) begin_sum(r, i, id);
    }
}

u32 region_carry(const Region *r, u32 v) { return region_is_recipe(r, v) && cg_insn(r->g, v)->op == IR_zext && cg_insn(r->g, v)->aux == 1 ? cg_insn(r->g, v)->a : 0; }

bool region_is_lea(const Cg *g) { return address_of(g->region, g->cur)->expanded; }

X64Mem region_address(Cg *g) {
    const RAddress *a = address_of(g->region, g->cur);
    u32 base = a->base, index = a->index;
    unsigned b = base ? cg_use(g, base) : NO_REG;
    return index ? x64_mem_index(b, cg_use(g, index), a->scale, a->disp) : x64_mem(b, a->disp);
}
