/* SPDX-License-Identifier: Apache-2.0 */
/* Regions: many values moved as if at once: the arguments of a jump, values that change places on an edge, the state at an exit.
 *
 * A move may be made when nobody still has to read what it overwrites. When none may, the rest are cycles: one place is saved in a
 * temporary register, whose cycle then unwinds. */
#include "host/x64/region.h"

enum { THROUGH = REGION_TEMP };

static bool is_reg(Place p) { return p < PLACE_SPILL; }
static bool is_xmm(Place p) { return p >= X64_XMM && p < PLACE_SPILL; }

static void add(Region *r, Move m) {
    if (m.to == m.from && m.how == IR_STATE_SAME) return;
    vec_push(&r->moves, m);
}

static u64 const_state(u64 v, unsigned how) {
    if (how == IR_STATE_SEXT) return (u64)(i64)(i32)v;
    return how == IR_STATE_BOX ? v | ~0ull << 32 : v;
}

typedef struct Operand {
    Place place; /* PLACE_CONST: imm */
    u64 imm;
} Operand;

static void copy(Cg *g, Place to, Place from) {
    X64Buf *b = &g->b;
    if (is_reg(to) && is_reg(from)) {
        if (is_xmm(to) && is_xmm(from)) cg_mov_xmm(g, to, from);
        else if (is_xmm(to)) x64_rr(b, I_MOVD_X_R | W1, xn(to), from);
        else if (is_xmm(from)) x64_rr(b, I_MOVD_R_X | W1, xn(from), to);
        else x64_mov(b, to, from);
    } else if (is_reg(to)) {
        if (is_xmm(to)) x64_rm(b, I_MOVS_LOAD(3), xn(to), region_mem(g, from));
        else x64_rm(b, I_MOV_R_RM | W1, to, region_mem(g, from));
    } else if (is_reg(from)) {
        if (is_xmm(from)) x64_rm(b, I_MOVS_STORE(3), xn(from), region_mem(g, to));
        else x64_rm(b, I_MOV_RM_R | W1, from, region_mem(g, to));
    } else if (to != from) {
        copy(g, THROUGH, from);
        copy(g, to, THROUGH);
    }
}

static unsigned alu_digit(unsigned op) {
    return op == IR_add ? ALU_ADD : op == IR_ltu ? ALU_CMP : op == IR_sub ? ALU_SUB : op == IR_and ? ALU_AND : op == IR_or ? ALU_OR : ALU_XOR;
}
static u32 alu_insn(unsigned op) { return INSN(0, 0, alu_digit(op) << 3 | 3); }

/* What of a recipe is done in a register: its first operand is there. */
static void compute(Cg *g, const IrInsn *i, unsigned reg, const Operand *second) {
    X64Buf *b = &g->b;
    u32 w = cg_w(i->op == IR_ltu ? cg_insn(g, i->a)->type : i->type);
    if (i->op == IR_zext && i->aux == 1) return; /* of a comparison */
    switch (i->op) {
    case IR_shl: x64_shift_ri(b, SH_SHL, w, reg, second->imm & (w ? 63 : 31)); return;
    case IR_shr: x64_shift_ri(b, SH_SHR, w, reg, second->imm & (w ? 63 : 31)); return;
    case IR_sar: x64_shift_ri(b, SH_SAR, w, reg, second->imm & (w ? 63 : 31)); return;
    case IR_sext: x64_rr(b, i->aux == 8 ? I_MOVSX8 : i->aux == 16 ? I_MOVSX16 : I_MOVSXD, reg, reg); return;
    case IR_zext: x64_rr(b, i->aux == 8 ? I_MOVZX8 : i->aux == 16 ? I_MOVZX16 : I_MOV_R_RM, reg, reg); return;
    }
    if (second->place == PLACE_CONST && (fits_i32((i64)second->imm) || !w)) {
        x64_rr(b, INSN(0, 0, 0x81) | w, alu_digit(i->op), reg);
        x64_u32(b, (u32)second->imm);
    } else if (is_reg(second->place)) {
        x64_rr(b, alu_insn(i->op) | w, reg, second->place);
    } else {
        x64_rm(b, alu_insn(i->op) | w, reg, region_mem(g, second->place));
    }
    if (i->op != IR_ltu) return;
    x64_mov_imm_keep_flags(b, reg, 0);
    x64_rr(b, I_SETCC(CC_B), 0, reg);
}

static Operand find_operand(Region *r, u32 v, u32 pos);

static Place save_const(Region *r, u64 imm) {
    Place to = (Place)(PLACE_SAVE + r->saves++);
    x64_mov_imm_keep_flags(&r->g->b, THROUGH, imm);
    copy(r->g, to, THROUGH);
    return to;
}

/* The value of a recipe, in a place of Vcpu.save that stays its own until the moves are made. */
static Place cook(Region *r, u32 v, u32 pos) {
    Cg *g = r->g;
    const IrInsn *i = cg_insn(g, v);
    Operand a = find_operand(r, cg_root(g, i->a), pos), b = {0};
    if (ir_op_operands[i->op] > 1) b = find_operand(r, cg_root(g, i->b), pos);
    if (r->saves + 2 > VCPU_SAVES || r->too_hard || g->b.end - g->b.at < X64_SLACK) {
        r->too_hard |= g->b.end - g->b.at >= X64_SLACK;
        g->full |= !r->too_hard;
        return PLACE_SAVE;
    }
    if (b.place == PLACE_CONST && ir_op_operands[i->op] > 1 && i->type == IR_I64 && !fits_i32((i64)b.imm)) b.place = save_const(r, b.imm);
    if (a.place == PLACE_CONST) x64_mov_imm_keep_flags(&g->b, THROUGH, a.imm);
    else copy(g, THROUGH, a.place);
    compute(g, i, THROUGH, &b);
    Place to = (Place)(PLACE_SAVE + r->saves++);
    copy(g, to, THROUGH);
    return to;
}

static Operand find_operand(Region *r, u32 v, u32 pos) {
    if (region_is_recipe(r, v)) return (Operand){.place = cook(r, v, pos)};
    Operand o = {.place = region_place_of(r, v, pos), .imm = cg_insn(r->g, v)->imm};
    if (o.place == PLACE_NONE) region_lost(r), o.place = RAX;
    return o;
}

void region_move(Region *r, Place to, u32 v, u32 pos, unsigned how) {
    v = cg_root(r->g, v);
    const IrInsn *i = cg_insn(r->g, v);
    if (region_is_recipe(r, v)) {
        add(r, (Move){.to = to, .from = cook(r, v, pos), .type = i->type, .how = (u8)how});
        return;
    }
    Place from = region_place_of(r, v, pos);
    if (from == PLACE_NONE) region_lost(r);
    else if (from == PLACE_CONST) add(r, (Move){.to = to, .from = from, .type = i->type, .imm = const_state(i->imm, how)});
    else add(r, (Move){.to = to, .from = from, .type = i->type, .how = (u8)how});
}

void region_move_place(Region *r, Place to, Place from, unsigned type) { add(r, (Move){.to = to, .from = from, .type = (u8)type}); }

void region_edge_moves(Region *r, u32 from, u32 to) {
    const RBlock *b = &r->blocks[to];
    u32 end = 2 * r->blocks[from].last + 1, start = region_start(b);
    for (u32 k = 0; k < b->live_count; k++) {
        u32 v = b->live_in[k];
        if (r->value[v].place != PLACE_NONE) continue; /* it stays where it is */
        Place p = region_place(r, v, start);
        if (!is_reg(p) && (r->value[v].stored || r->value[v].slot >= 0)) continue;
        region_move(r, p, v, end, IR_STATE_SAME);
    }
    const IrInsn *jump = cg_insn(r->g, r->blocks[from].last);
    if (jump->op != IR_jmp) return;
    for (u32 id = b->first + 1; cg_insn(r->g, id)->op == IR_param; id++) {
        Place p = region_place(r, id, start);
        if (p != PLACE_NONE) region_move(r, p, (u32)r->g->f->args.at[jump->a + cg_insn(r->g, id)->imm], end, IR_STATE_SAME);
    }
}

/* --- making them ---------------------------------------------------------------------------------------- */

static void load_imm(Cg *g, const Move *m) {
    if (is_xmm(m->to)) {
        if (m->imm) x64_mov_imm_keep_flags(&g->b, THROUGH, m->imm), copy(g, m->to, THROUGH);
        else x64_rr(&g->b, I_XORPS, xn(m->to), xn(m->to));
    } else if (is_reg(m->to)) {
        x64_mov_imm_keep_flags(&g->b, m->to, m->imm);
    } else if (fits_i32((i64)m->imm)) {
        x64_rm(&g->b, INSN(0, 0, 0xc7) | W1, 0, region_mem(g, m->to));
        x64_u32(&g->b, (u32)m->imm);
    } else {
        x64_mov_imm_keep_flags(&g->b, THROUGH, m->imm);
        copy(g, m->to, THROUGH);
    }
}

/* How a slot holds a value of 32 bits. */
static void extend(Cg *g, const Move *m) {
    if (m->how == IR_STATE_SEXT) {
        unsigned reg = is_reg(m->to) && !is_xmm(m->to) ? m->to : THROUGH;
        if (is_reg(m->from)) x64_rr(&g->b, I_MOVSXD, reg, m->from);
        else x64_rm(&g->b, I_MOVSXD, reg, region_mem(g, m->from));
        copy(g, m->to, reg);
    } else {
        copy(g, m->to, m->from);
        X64Mem box = x64_mem(RBP, CPU_OFF(k) + 16 * (VCPU_K_BOX + 1));
        if (is_reg(m->to)) {
            x64_rm(&g->b, I_ORPS, xn(m->to), box);
            return;
        }
        X64Mem high = region_mem(g, m->to);
        high.disp += 4;
        x64_rm(&g->b, INSN(0, 0, 0xc7), 0, high);
        x64_u32(&g->b, ~0u);
    }
}

static void make(Cg *g, const Move *m) {
    if (m->from == PLACE_CONST) load_imm(g, m);
    else if (m->how != IR_STATE_SAME) extend(g, m);
    else copy(g, m->to, m->from);
}

static bool may_be_made(const Region *r, const Move *m) { return r->readers[m->to] == (m->from == m->to); }

/* Makes those that may be made; returns how many. */
static u32 pass(Region *r) {
    u32 made = 0;
    for (u32 k = 0; k < r->moves.len; k++) {
        Move *m = &r->moves.at[k];
        if (m->done || !may_be_made(r, m)) continue;
        if (r->g->b.end - r->g->b.at < X64_SLACK) r->g->full = true;
        else make(r->g, m);
        if (m->from != PLACE_CONST) r->readers[m->from]--;
        m->done = true;
        made++;
    }
    return made;
}

/* Where a place is saved while its cycle unwinds: a register, if nothing else goes through that. */
static Place cycle_temp(Region *r, Place victim) {
    if (is_xmm(victim)) return REGION_TEMP_XMM;
    bool registers = true;
    for (u32 k = 0; k < r->moves.len; k++) {
        const Move *m = &r->moves.at[k];
        if (!m->done) registers &= is_reg(m->to) && is_reg(m->from) && m->how == IR_STATE_SAME;
    }
    if (registers) return THROUGH;
    if (r->saves == VCPU_SAVES) {
        r->too_hard = true;
        return PLACE_SAVE;
    }
    return (Place)(PLACE_SAVE + r->saves++);
}

static void break_cycle(Region *r) {
    u32 k = 0;
    while (r->moves.at[k].done) k++;
    Place victim = r->moves.at[k].to, temp = cycle_temp(r, victim);
    copy(r->g, temp, victim);
    for (; k < r->moves.len; k++) {
        Move *m = &r->moves.at[k];
        if (m->done || m->from != victim) continue;
        m->from = temp;
        r->readers[victim]--, r->readers[temp]++;
    }
}

void region_make_moves(Region *r) {
    u32 left = r->moves.len;
    for (u32 k = 0; k < r->moves.len; k++)
        if (r->moves.at[k].from != PLACE_CONST) r->readers[r->moves.at[k].from]++;
    while (left) {
        u32 made = pass(r);
        left -= made;
        if (left && !made) break_cycle(r);
    }
    region_forget_moves(r);
}

void region_forget_moves(Region *r) { r->moves.len = r->saves = 0; }
