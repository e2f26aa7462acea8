/* SPDX-License-Identifier: Apache-2.0 */
/* Regions, step four: emitting. Blocks in their order; a block that would do nothing but jump is jumped over. Branches within a region are
 * never patched, so they are as short as they can be: the code is emitted twice, if it is not large, and the first pass tells the second
 * how far targets are (code only shrinks, but for alignment, which is counted in). */
#include "host/x64/region.h"

enum { ARENA_BYTES = 1 << 20 /* one piece that mostly suffices, and is kept */ };
enum { HOT_ALIGN = 32, ENTRY_ALIGN = 16, LARGE = 1000 /* IR instructions */ };

/* --- jumps between blocks ------------------------------------------------------------------------------- */

/* Does the block that is emitted next stand where a jump to `block` would go? */
static bool falls_into(const Region *r, u32 block) {
    if (r->cur_block == NO_BLOCK) return false;
    u32 n = r->cur_block + 1;
    while (n < r->block_count && r->blocks[n].thread != n) n++;
    return n == block && !r->blocks[n].entry;
}

/* May a branch from here to `block` be short? A forward one is as far as it was in the pass before, at most. */
static bool is_near(const Region *r, u32 block) {
    const RBlock *b = &r->blocks[block];
    u32 here = (u32)(r->g->b.at - r->g->start);
    if (b->placed) return here + 2 - b->at < 128;
    if (!r->second_pass || r->cur_block == NO_BLOCK) return false;
    u32 old = r->blocks[r->cur_block].old_branch_at, pads = b->pads - r->blocks[r->cur_block].pads;
    return b->old_at >= old && b->old_at - old + pads * HOT_ALIGN < 120;
}

static void refer(Region *r, u8 *field, u32 block, bool wide) {
    const RBlock *b = &r->blocks[block];
    if (!b->placed) {
        vec_push(&r->fixes, ((Fix){field, block, wide}));
        return;
    }
    i32 rel = (i32)(r->g->start + b->at - (field + (wide ? 4 : 1)));
    if (wide) memcpy(field, &rel, 4);
    else *field = (u8)rel;
}

void region_jump(Region *r, u32 block) {
    X64Buf *b = &r->g->b;
    block = r->blocks[block].thread;
    if (falls_into(r, block)) return;
    if (is_near(r, block)) refer(r, x64_jmp_short(b), block, false);
    else refer(r, x64_jmp(b, NULL), block, true);
}

void region_branch(Region *r, unsigned cc, u32 block) {
    X64Buf *b = &r->g->b;
    block = r->blocks[block].thread;
    if (is_near(r, block)) refer(r, x64_jcc_short(b, cc), block, false);
    else refer(r, x64_jcc(b, cc, NULL), block, true);
}

static void fix_branches(Region *r) {
    for (u32 k = 0; k < r->fixes.len; k++) {
        const Fix *x = &r->fixes.at[k];
        u8 *target = r->g->start + r->blocks[x->block].at;
        i64 rel = target - (x->field + (x->wide ? 4 : 1));
        if (!r->blocks[x->block].placed || (!x->wide && !fits_i8(rel))) r->too_hard = true;
        else if (x->wide) memcpy(x->field, &(i32){(i32)rel}, 4);
        else *x->field = (u8)rel;
    }
    r->fixes.len = 0;
}

static bool edge_is_free(const Region *r, u32 from, u32 to) { return r->blocks[from].free[r->blocks[from].succ[0] != to]; }

static void find_free_edges(Region *r) {
    for (u32 n = 0; n < r->block_count; n++)
        for (unsigned k = 0; k < 2; k++) {
            if (r->blocks[n].succ[k] == NO_BLOCK) continue;
            region_edge_moves(r, n, r->blocks[n].succ[k]);
            r->blocks[n].free[k] = !r->moves.len;
            region_forget_moves(r);
        }
}

/* jcc to `block` with the moves of the edge, which lie behind the region. */
static void branch_edge(Region *r, unsigned cc, u32 block) {
    if (edge_is_free(r, r->cur_block, block)) {
        region_branch(r, cc, block);
        return;
    }
    RLate *l = region_late(r, RLATE_EDGE, x64_jcc(&r->g->b, cc, NULL));
    l->block = r->cur_block;
    l->to = block;
}

/* The way that is not taken by the branch before, or the only one. */
static void other_edge(Region *r, u32 block) {
    if (!edge_is_free(r, r->cur_block, block)) {
        region_edge_moves(r, r->cur_block, block);
        region_make_moves(r);
    }
    region_jump(r, block);
}

static void jump(Region *r, const IrInsn *i) {
    other_edge(r, (u32)i->imm);
}

/* Which way goes straight on: the one that is next; else the one with moves, or the less frequent. */
static void branch(Region *r, const IrInsn *i) {
    u32 yes = (u32)i->imm, no = (u32)(i->imm >> 32);
    if (yes == no) {
        other_edge(r, yes);
        return;
    }
    bool free_yes = edge_is_free(r, r->cur_block, yes), free_no = edge_is_free(r, r->cur_block, no);
    unsigned cc = cg_condition(r->g, i->a);
    region_restore(r->g);
    bool invert = free_no && (falls_into(r, r->blocks[yes].thread) || (!free_yes && !falls_into(r, r->blocks[no].thread)));
    branch_edge(r, invert ? cc ^ 1 : cc, invert ? no : yes);
    other_edge(r, invert ? yes : no);
}

/* --- blocks ----------------------------------------------------------------------------------------------- */

/* The values that are there when the block begins: gets come from the pins; what is stored at its definition is stored. */
static void head(Region *r, const RBlock *b) {
    Cg *g = r->g;
    for (u32 id = b->first + 1; b->entry && id < b->last; id++) {
        const IrInsn *i = cg_insn(g, id);
        if (i->op != IR_get || !r->value[id].param || r->value[id].slot >= 0) continue;
        Place p = region_place(r, id, region_start(b)), from = g->pin[i->imm] != NO_REG ? g->pin[i->imm] : (Place)(PLACE_SLOT + i->imm);
        if (p != PLACE_NONE) region_move_place(r, p, from, i->type);
    }
    for (u32 id = b->first + 1; b->entry && id < b->last; id++) { /* those in their homes, with a register */
        if (!r->value[id].param || r->value[id].slot < 0) continue;
        Place p = region_place(r, id, region_start(b));
        if (p < PLACE_SPILL) region_move_place(r, p, (Place)(PLACE_SLOT + r->value[id].slot), cg_insn(g, id)->type);
    }
    region_make_moves(r);
    for (u32 id = b->first + 1; id < b->last; id++) {
        if (!r->value[id].param || !r->value[id].stored) continue;
        Place p = region_place(r, id, region_start(b));
        if (p >= PLACE_SPILL) continue;
        region_move_place(r, region_memory(r, id), p, cg_insn(g, id)->type);
    }
    region_make_moves(r);
}

static void put(Cg *g, const IrInsn *i) {
    X64Mem m = region_mem(g, (Place)(PLACE_SLOT + i->imm));
    i32 imm;
    if (cg_imm32(g, i->a, &imm)) { /* not its root: an i32 there would be extended the wrong way */
        x64_rm(&g->b, INSN(0, 0, 0xc7) | W1, 0, m);
        x64_u32(&g->b, (u32)imm);
        return;
    }
    unsigned reg = cg_use(g, i->a);
    if (reg >= X64_XMM) x64_rm(&g->b, I_MOVS_STORE(3), xn(reg), m);
    else x64_rm(&g->b, I_MOV_RM_R | W1, reg, m);
}

static void count(Cg *g, const IrInsn *i) { x64_alu_mi(&g->b, ALU_ADD, W1, CPU_MEM(insns), (i32)i->imm); }

/* A poll that is followed by a jump without moves is one branch: back if nobody asks. */
static bool poll_and_jump(Region *r, const IrInsn *i) {
    const RBlock *b = &r->blocks[r->cur_block];
    if (i->op != IR_poll || r->g->cur + 1 != b->last || cg_insn(r->g, b->last)->op != IR_jmp) return false;
    if (falls_into(r, r->blocks[b->succ[0]].thread) || !edge_is_free(r, r->cur_block, b->succ[0])) return false;
    x64_alu_mi(&r->g->b, ALU_CMP, 0, CPU_MEM(poll), 0);
    region_branch(r, CC_E, b->succ[0]);
    region_late(r, RLATE_POLL, x64_jmp(&r->g->b, NULL))->pc = i->imm;
    return true;
}

static void lower(Region *r, IrInsn *i) {
    Cg *g = r->g;
    if (cg_is_alias(g, i) || g->val.at[g->cur].fused) return;
    switch (i->op) {
    case IR_block: case IR_param: case IR_nop: return;
    case IR_insn:
        g->pc = i->imm;
        g->next_pc = i->imm + i->aux;
        return;
    case IR_jmp: jump(r, i); return;
    case IR_br: branch(r, i); return;
    case IR_count: count(g, i); return;
    case IR_put: put(g, i); return;
    case IR_align: region_align(g, i); return;
    case IR_exit: case IR_exit_ind: case IR_exit_if: case IR_poll: case IR_trap: case IR_trap_if: region_leave(g, i); return;
    }
    if (ir_op_facts[i->op] & F_FAULTS) region_point(g);
    if (!region_lower_int(g, i)) cg_lower(g, i);
}

/* No code, or setcc and moves. */
static bool keeps_flags(const Region *r, const IrInsn *i) {
    const Cg *g = r->g;
    return g->cur == r->flags_of || cg_is_alias(g, i) || g->val.at[g->cur].fused || i->op == IR_insn || i->op == IR_nop || (i->op == IR_zext && i->aux == 1 && region_flags_hold(g, i->a));
}

static void align_to(Region *r, unsigned bytes, unsigned pad) {
    X64Buf *b = &r->g->b;
    x64_nops(b, pad);
    x64_nops(b, -(u64)x64_here(b) & (bytes - 1));
}

static bool is_loop_head(const Region *r, u32 n) {
    const Loop *l = &r->loops.at[r->blocks[n].loop];
    return r->blocks[n].loop && l->head == n;
}

/* Where a call goes on, or the first guest instruction behind the head. */
static u64 entry_pc(const Region *r, u32 n) {
    const RBlock *b = &r->blocks[n];
    if (n == 0) return r->g->f->pc;
    if (b->pred_count) return r->blocks[r->preds[b->preds]].return_pc;
    for (u32 steps = 0; steps < r->block_count; steps++, b = &r->blocks[b->succ[0]]) {
        for (u32 id = b->first; id <= b->last; id++)
            if (cg_insn(r->g, id)->op == IR_insn) return cg_insn(r->g, id)->imm;
        if (b->succ[0] == NO_BLOCK) break;
    }
    return r->g->f->pc;
}

/* Does the loop fall into its head, so that it would run through what aligns it? */
static bool runs_into(const Region *r, u32 n) {
    u32 before = n - 1;
    while (before && r->blocks[before].thread != before) before--;
    const RBlock *b = &r->blocks[before];
    return b->freq >= r->blocks[n].freq && (b->succ[0] == n || b->succ[1] == n);
}

static void place_block(Region *r, u32 n) {
    RBlock *b = &r->blocks[n];
    Cg *g = r->g;
    if (b->entry) align_to(r, ENTRY_ALIGN, n ? HOST_PAD : 0);
    else if (is_loop_head(r, n) && !runs_into(r, n)) align_to(r, HOT_ALIGN, 0);
    b->at = (u32)(g->b.at - g->start);
    b->placed = true;
    if (!b->entry) return;
    vec_push(&g->code->entries, ((HostEntry){.pc = entry_pc(r, n), .at = b->at}));
}

static bool emit_block(Region *r, u32 n) {
    Cg *g = r->g;
    RBlock *b = &r->blocks[n];
    r->cur_block = n;
    g->kept.at = NULL;
    if (b->thread != n) return true;
    place_block(r, n);
    head(r, b);
    for (g->cur = b->first; g->cur <= b->last; g->cur++) {
        if (g->b.end - g->b.at < X64_SLACK || r->too_hard || g->full) return false;
        g->locked = 0;
        b->branch_at = (u32)(g->b.at - g->start);
        region_emit_reloads(g);
        if (poll_and_jump(r, cg_insn(g, g->cur))) break;
        lower(r, cg_insn(g, g->cur));
        region_restore(g);
        if (!keeps_flags(r, cg_insn(g, g->cur))) r->flags_of = 0;
    }
    return true;
}

/* --- all of it ---------------------------------------------------------------------------------------------- */

/* Does block n do nothing but jump on? */
static bool is_transparent(Region *r, u32 n) {
    const RBlock *b = &r->blocks[n];
    if (b->entry || cg_insn(r->g, b->last)->op != IR_jmp) return false;
    for (u32 id = b->first + 1; id < b->last; id++) {
        const IrInsn *i = cg_insn(r->g, id);
        if (r->value[id].stored) return false;
        if (i->op != IR_nop && i->op != IR_insn && i->op != IR_param && i->op != IR_const && !cg_is_alias(r->g, i)) return false;
    }
    return edge_is_free(r, n, b->succ[0]);
}

static void thread_jumps(Region *r) {
    find_free_edges(r);
    for (u32 n = 0; n < r->block_count; n++) r->blocks[n].thread = is_transparent(r, n) ? r->blocks[n].succ[0] : n;
    for (u32 n = 0; n < r->block_count; n++) {
        u32 to = r->blocks[n].thread, steps = 0;
        for (; r->blocks[to].thread != to && steps < r->block_count; steps++) to = r->blocks[to].thread;
        if (steps == r->block_count) r->too_hard = true; /* an empty cycle: nothing ever leaves it */
        r->blocks[n].thread = to;
    }
    u32 pads = 0;
    for (u32 n = 0; n < r->block_count; n++) {
        pads += is_loop_head(r, n) || r->blocks[n].entry;
        r->blocks[n].pads = pads;
    }
}

static bool emit(Region *r) {
    Cg *g = r->g;
    HostCode *c = g->code;
    c->exits.len = c->pcs.len = c->points.len = c->entries.len = c->maps.len = 0;
    g->late.len = r->late.len = r->fixes.len = 0;
    g->b = (X64Buf){.at = c->rw, .end = c->rw + c->cap, .rx_delta = c->rx - c->rw};
    memset(r->map_cells, 0, sizeof r->map_cells);
    for (u32 n = 0; n < r->block_count; n++) r->blocks[n].old_at = r->blocks[n].at, r->blocks[n].old_branch_at = r->blocks[n].branch_at, r->blocks[n].placed = false;
    for (u32 n = 0; n < r->block_count; n++)
        if (!emit_block(r, n)) return false;
    region_emit_late(r);
    cg_emit_late(g);
    fix_branches(r);
    c->pcs.len = 0;
    c->size = (size_t)(g->b.at - c->rw);
    c->insns = g->b.insns;
    return !g->full && !r->too_hard;
}

static Region *begin(const HostStubs *stubs, IrFunc *f, HostCode *code) {
    Cg *g = cg_begin(stubs, f, code);
    if (!g->region_memory) g->region_memory = arena_alloc(&code->arena, sizeof(Region));
    Region *r = g->region = g->region_memory;
    arena_reserve(&r->arena, ARENA_BYTES);
    arena_reset(&r->arena);
    r->g = g;
    r->too_hard = r->second_pass = code->lost = false;
    r->moves.len = r->saves = r->borrowed = r->low_of = r->flags_of = 0;
    memset(r->readers, 0, sizeof r->readers);
    memset(g->val.at, 0xff, f->insns.len * sizeof(Val)); /* NO_REG, -1 */
    for (u32 id = 0; id < f->insns.len; id++) g->val.at[id].fused = 0;
    return r;
}

static bool compile(Region *r) {
    if (!region_analyse(r) || !region_allocate(r)) return false;
    thread_jumps(r);
    if (!emit(r)) return false;
    r->second_pass = true;
    if (r->g->f->insns.len > LARGE || emit(r)) return true;
    r->too_hard = r->second_pass = false; /* a branch did not reach after all */
    return emit(r);
}

bool x64_compile_region(const HostStubs *stubs, IrFunc *f, HostCode *code) {
    Region *r = begin(stubs, f, code);
    bool ok = compile(r);
    r->g->region = NULL;
    return ok;
}
