/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: leaving them, and telling where the guest's state is.
 *
 * What leaves has a frame, which says what each slot holds. An exit first brings that in place (pins, homes), then leaves as blocks do
 * (leave.c); a side exit does so behind the region, and needs nothing of the kind if all is in place already.
 *
 * Maps (HostCode.maps), for faults: the number of entries; for each the slot (a byte) and what it holds: two bytes, a place with
 * IR_STATE_* in the upper two bits. Instead of a place: MAP_CONST, followed by the constant in eight bytes; MAP_RECIPE, followed by operation, type,
 * operand's type and aux, a byte each, and the operands, each written like that. */
#include "host/x64/region.h"
#include <ucontext.h>

enum { MAP_CONST = 0x3fff, MAP_RECIPE = 0x3ffe };

static Place home(const Region *r, u32 slot) { return r->g->pin[slot] != NO_REG ? (Place)r->g->pin[slot] : (Place)(PLACE_SLOT + slot); }

/* The slot's own value, never written since it was read, or one that has its memory there: nothing to do. */
static bool is_at_home(const Region *r, const IrState *s, u32 id) {
    u32 v = cg_root(r->g, s->value);
    const Value *x = &r->value[v];
    if (s->how != IR_STATE_SAME || r->g->pin[s->slot] != NO_REG) return false;
    if (x->slot >= 0) return x->slot == (i16)s->slot;
    if (!x->spilled || region_memory(r, v) != PLACE_SLOT + s->slot) return false;
    return x->stored || region_place(r, v, 2 * id) == PLACE_SLOT + s->slot;
}

static void state_moves(Region *r, const IrFrame *frame, u32 id) {
    for (u32 k = 0; frame && k < frame->state_count; k++) {
        const IrState *s = &r->g->f->states.at[frame->state + k];
        if (!is_at_home(r, s, id)) region_move(r, home(r, s->slot), s->value, 2 * id, s->how);
    }
}

static bool is_in_place(const Region *r, const IrFrame *frame, u32 id) {
    for (u32 k = 0; frame && k < frame->state_count; k++) {
        const IrState *s = &r->g->f->states.at[frame->state + k];
        u32 v = cg_root(r->g, s->value);
        if (is_at_home(r, s, id)) continue;
        if (s->how != IR_STATE_SAME || region_is_recipe(r, v) || region_place_of(r, v, 2 * id) != home(r, s->slot)) return false;
    }
    return true;
}

RLate *region_late(Region *r, RLateKind kind, u8 *from) {
    const IrFrame *frame = region_frame(r, r->g->cur);
    vec_push(&r->late, ((RLate){.kind = (u8)kind, .from = from, .id = r->g->cur, .pc = frame ? frame->pc : 0}));
    return &r->late.at[r->late.len - 1];
}

/* --- operations that leave ------------------------------------------------------------------------------ */

static void go_on(Region *r, u32 block, u64 return_pc) {
    Cg *g = r->g;
    x64_rm(&g->b, I_LEA | W1, RSP, x64_mem(RSP, 8));
    if (block) region_jump(r, block);
    else cg_jump_to(g, return_pc);
}

static void leave_direct(Region *r, const IrInsn *i) {
    Cg *g = r->g;
    state_moves(r, region_frame(r, g->cur), g->cur);
    region_make_moves(r);
    if (i->aux != EXIT_CALL) {
        cg_jump_to(g, i->imm);
        return;
    }
    u64 return_pc = g->f->args.at[i->a];
    cg_call_to(g, i->imm, return_pc);
    go_on(r, i->b, return_pc);
}

static void leave_indirect(Region *r, const IrInsn *i) {
    Cg *g = r->g;
    state_moves(r, region_frame(r, g->cur), g->cur);
    region_move(r, RCX, i->a, 2 * g->cur, IR_STATE_SAME); /* the state is not in rcx */
    region_make_moves(r);
    if (i->aux != EXIT_RET) x64_mov(&g->b, RAX, RCX);
    cg_leave_to(g, i, i->aux == EXIT_RET ? RCX : RAX);
    if (i->aux == EXIT_CALL) go_on(r, i->b, i->imm);
}

static void leave_if(Region *r, const IrInsn *i) {
    Cg *g = r->g;
    unsigned cc = cg_condition(g, i->a);
    region_restore(g);
    if (is_in_place(r, region_frame(r, g->cur), g->cur)) cg_jump_if(g, cc, i->imm);
    else region_late(r, RLATE_EXIT, x64_jcc(&g->b, cc, NULL))->pc = i->imm;
}

static void poll(Region *r, const IrInsn *i) {
    Cg *g = r->g;
    if (i->aux) x64_alu_mi(&g->b, ALU_SUB, 0, x64_mem(RBP, CPU_OFF(counts) + 4 * (i32)vcpu_entries_of(i->imm)), 1);
    else x64_alu_mi(&g->b, ALU_CMP, 0, CPU_MEM(poll), 0);
    region_late(r, RLATE_POLL, x64_jcc(&g->b, i->aux ? CC_S : CC_NE, NULL))->pc = i->imm;
}

static void trap(Region *r, const IrInsn *i) {
    Cg *g = r->g;
    state_moves(r, region_frame(r, g->cur), g->cur);
    region_make_moves(r);
    cg_trap(g, i->aux, ir_trap_goes_on(i->aux) ? g->next_pc : g->pc, i->imm);
}

static void trap_unless(Region *r, unsigned cc, unsigned code) {
    region_restore(r->g);
    RLate *l = region_late(r, RLATE_TRAP, x64_jcc(&r->g->b, cc, NULL));
    l->trap = (u8)code;
    l->pc = r->g->pc;
}

void region_align(Cg *g, IrInsn *i) {
    cg_test_align(g, i);
    trap_unless(g->region, CC_NE, TRAP_MISALIGNED);
}

/* A vector instruction that C cannot do leaves before it, for the interpreter. */
u32 region_vec_trap(Cg *g) {
    region_late(g->region, RLATE_TRAP, NULL)->trap = TRAP_RETRY;
    return g->region->late.len - 1;
}

void region_vec_failed(Cg *g, u32 late, u32 borrowed) {
    g->region->borrowed = borrowed;
    region_restore(g);
    x64_jmp(&g->b, g->region->late.at[late].at + g->b.rx_delta);
}

void region_leave(Cg *g, IrInsn *i) {
    switch (i->op) {
    case IR_exit: leave_direct(g->region, i); break;
    case IR_exit_ind: leave_indirect(g->region, i); break;
    case IR_exit_if: leave_if(g->region, i); break;
    case IR_poll: poll(g->region, i); break;
    case IR_trap_if: trap_unless(g->region, cg_condition(g, i->a), i->aux); break;
    case IR_trap: trap(g->region, i); break;
    default: BUG("does not leave");
    }
}

/* --- behind the region ---------------------------------------------------------------------------------- */

static void emit_late(Region *r, const RLate *l) {
    Cg *g = r->g;
    if (l->from) x64_fix_rel32(&g->b, l->from);
    g->cur = l->id;
    if (l->kind == RLATE_EDGE) region_edge_moves(r, l->block, l->to);
    else state_moves(r, region_frame(r, l->id), l->id);
    region_make_moves(r);
    switch ((RLateKind)l->kind) {
    case RLATE_EDGE: region_jump(r, l->to); break;
    case RLATE_EXIT: cg_jump_to(g, l->pc); break;
    case RLATE_POLL: cg_jump_poll(g, l->pc); break;
    case RLATE_TRAP: cg_trap(g, l->trap, l->pc, 0); break;
    }
}

void region_emit_late(Region *r) {
    r->cur_block = NO_BLOCK;
    for (u32 k = 0; k < r->late.len; k++) {
        if (r->g->b.end - r->g->b.at < X64_SLACK) r->g->full = true;
        if (r->g->full) return;
        r->late.at[k].at = r->g->b.at;
        RLate l = r->late.at[k];
        emit_late(r, &l);
    }
}

/* --- maps ----------------------------------------------------------------------------------------------- */

static void push16(HostCode *c, unsigned v) {
    vec_push(&c->maps, (u8)v);
    vec_push(&c->maps, (u8)(v >> 8));
}

static void push_value(Region *r, u32 v, unsigned how, u32 id) {
    HostCode *c = r->g->code;
    const IrInsn *i = cg_insn(r->g, v);
    if (region_is_recipe(r, v)) {
        const u8 head[] = {i->op, i->type, cg_insn(r->g, i->a)->type, i->aux};
        push16(c, MAP_RECIPE | how << 14);
        for (unsigned k = 0; k < sizeof head; k++) vec_push(&c->maps, head[k]);
        push_value(r, cg_root(r->g, i->a), 0, id);
        if (ir_op_operands[i->op] > 1) push_value(r, cg_root(r->g, i->b), 0, id);
        return;
    }
    Place p = region_place_now(r, v, 2 * id);
    if (p == PLACE_NONE) region_lost(r);
    push16(c, (p == PLACE_CONST ? MAP_CONST : p & 0x3fffu) | how << 14);
    if (p != PLACE_CONST) return;
    for (unsigned k = 0; k < 64; k += 8) vec_push(&c->maps, (u8)(i->imm >> k));
}

/* Gives the map that has just been written at `start` its offset: that of an equal one, if there is. */
static u32 share_map(Region *r, u32 start) {
    HostCode *c = r->g->code;
    u32 size = c->maps.len - start;
    u64 hash = hash_bytes(c->maps.at + start, size, 0);
    u32 *cell = &r->map_cells[hash % ARRAY_LEN(r->map_cells)];
    u32 old = *cell - 1;
    if (*cell && old + size <= start && !memcmp(c->maps.at + old, c->maps.at + start, size)) {
        c->maps.len = start;
        return old;
    }
    *cell = start + 1;
    return start;
}

void region_point(Cg *g) {
    Region *r = g->region;
    HostCode *c = g->code;
    const IrFrame *frame = region_frame(r, g->cur);
    if (!frame) {
        r->too_hard = true;
        return;
    }
    u32 start = c->maps.len, count = 0;
    vec_push(&c->maps, 0);
    for (u32 k = 0; k < frame->state_count; k++) {
        const IrState *s = &g->f->states.at[frame->state + k];
        if (is_at_home(r, s, g->cur)) continue;
        vec_push(&c->maps, (u8)s->slot);
        push_value(r, cg_root(g, s->value), s->how, g->cur);
        count++;
    }
    c->maps.at[start] = (u8)count;
    u32 map = share_map(r, start);
    const HostPoint *last = c->points.len ? &c->points.at[c->points.len - 1] : NULL;
    if (!last || last->pc != frame->pc || last->map != map) vec_push(&c->points, ((HostPoint){.pc = frame->pc, .at = (u32)(g->b.at - g->start), .map = map}));
}

/* --- in a signal handler ---------------------------------------------------------------------------------- */

static u64 read_place(const Guest *guest, Vcpu *cpu, ucontext_t *uc, unsigned p) {
    u64 v;
    if (p < X64_XMM) return (u64)*x64_context_reg(uc, p);
    if (p < PLACE_SPILL) memcpy(&v, &uc->uc_mcontext.fpregs->_xmm[p - X64_XMM], 8);
    else if (p < PLACE_SLOT) v = cpu->spill[p - PLACE_SPILL];
    else if (p >= PLACE_SAVE) v = cpu->save[p - PLACE_SAVE];
    else memcpy(&v, (u8 *)cpu->state + guest->slots[p - PLACE_SLOT].offset, 8);
    return v;
}

static u64 read_map(const Guest *guest, Vcpu *cpu, ucontext_t *uc, const u8 **map) {
    unsigned p = (*map)[0] | ((*map)[1] & 0x3fu) << 8, how = (*map)[1] >> 6;
    u64 v;
    *map += 2;
    if (p == MAP_CONST) {
        memcpy(&v, *map, 8);
        *map += 8;
    } else if (p == MAP_RECIPE) {
        const u8 *head = *map;
        *map += 4;
        u64 a = read_map(guest, cpu, uc, map), b = ir_op_operands[head[0]] > 1 ? read_map(guest, cpu, uc, map) : 0;
        if (head[2] == IR_I32) a = (u32)a, b = (u32)b; /* in registers, junk may be above */
        v = ir_eval((IrOp)head[0], (IrType)head[1], (IrType)head[2], head[3], a, b, 0);
    } else {
        v = read_place(guest, cpu, uc, p);
    }
    if (how == IR_STATE_SEXT) v = (u64)(i64)(i32)v;
    return how == IR_STATE_BOX ? v | ~0ull << 32 : v;
}

static void write_slot(const Guest *guest, Vcpu *cpu, ucontext_t *uc, const u8 pin[160], unsigned slot, u64 v) {
    if (pin[slot] < X64_XMM) *x64_context_reg(uc, pin[slot]) = (long long)v;
    else if (pin[slot] != NO_REG) memcpy(&uc->uc_mcontext.fpregs->_xmm[pin[slot] - X64_XMM], &v, 8);
    else memcpy((u8 *)cpu->state + guest->slots[slot].offset, &v, 8);
}

/* Host.settle. All is read before anything is written. */
void x64_settle(const Guest *guest, Vcpu *cpu, void *ucontext, const u8 *map) {
    u64 value[256];
    u8 slot[256], pin[160];
    u32 count = *map++;
    for (u32 k = 0; k < count; k++) {
        slot[k] = *map++;
        value[k] = read_map(guest, cpu, ucontext, &map);
    }
    x64_pins(guest, pin);
    for (u32 k = 0; k < count; k++) write_slot(guest, cpu, ucontext, pin, slot[k], value[k]);
}
