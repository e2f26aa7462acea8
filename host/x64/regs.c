/* SPDX-License-Identifier: Apache-2.0 */
/* Local register allocation: see cg.h for the invariants. */
#include "host/x64/region.h"

static bool alive(const Cg *g, u32 id) { return id && cg_insn(g, id)->last > g->cur; }
/* Like alive, but the current instruction may still have to read it. */
static bool needed(const Cg *g, u32 id) { return id && cg_insn(g, id)->last >= g->cur; }
static bool is_xmm(unsigned reg) { return reg >= X64_XMM; }

static X64Mem slot_mem(const Cg *g, u32 slot) { return x64_mem(RBP, x64_slot_off(g->guest, slot)); }
static X64Mem spill_mem(u32 n) { return x64_mem(RBP, CPU_OFF(spill) + 8 * (i64)n); }

static void emit_load(Cg *g, unsigned reg, X64Mem m, unsigned type) {
    if (is_xmm(reg)) x64_rm(&g->b, I_MOVS_LOAD(3), xn(reg), m); /* 64 bits whatever the format */
    else x64_rm(&g->b, I_MOV_R_RM | (type == IR_I32 || type == IR_I1 ? 0 : W1), reg, m);
}

static void emit_store(Cg *g, X64Mem m, unsigned reg, unsigned type) {
    if (is_xmm(reg)) x64_rm(&g->b, I_MOVS_STORE(3), xn(reg), m);
    else x64_rm(&g->b, I_MOV_RM_R | (type == IR_I32 ? 0 : W1), reg, m);
}

static void emit_move(Cg *g, unsigned dst, unsigned src) {
    if (is_xmm(dst)) cg_mov_xmm(g, dst, src);
    else x64_mov(&g->b, dst, src);
}

/* The places suffice: of the 64 guest instructions of a block, each makes at most five values that others can still want
 * (fmadd.s: three unboxed operands, the result without its box, and what its destination held), and reads at most three.
 * After k of them no more than min(5 k, 3 (64 - k)) = 120 are alive, ten of these in scratch registers. */
static void spill(Cg *g, u32 id, unsigned reg) {
    u32 n = 0;
    for (; n < VCPU_SPILLS; n++)
        if (!needed(g, g->spill_val[n]) || g->val.at[g->spill_val[n]].spill != (i16)n) break;
    if (n == VCPU_SPILLS) BUG("out of spill places");
    g->spill_val[n] = id;
    g->spill_used = MAX(g->spill_used, n + 1);
    g->val.at[id].spill = (i16)n;
    x64_rm(&g->b, is_xmm(reg) ? I_MOVS_STORE(3) : I_MOV_RM_R | W1, is_xmm(reg) ? xn(reg) : reg, spill_mem(n));
}

static bool has_place(const Cg *g, u32 id) {
    return g->val.at[id].home >= 0 || g->val.at[id].spill >= 0 || cg_is_const(g, id);
}

/* Another register that holds id too, or NO_REG: a pin, after a move between slots. */
static unsigned other_register(const Cg *g, u32 id, unsigned not_this) {
    const u8 *pins = cg_is_xmm_type(cg_insn(g, id)->type) ? x64_xmm_pins : x64_gpr_pins;
    for (unsigned k = 0; k < X64_PIN_COUNT; k++)
        if (g->reg_val[pins[k]] == id && pins[k] != not_this) return pins[k];
    return NO_REG;
}

/* The register is about to lose its value: keep it elsewhere if somebody still needs it. */
static void vacate(Cg *g, unsigned reg) {
    u32 id = g->reg_val[reg];
    g->reg_val[reg] = 0;
    if (!id || g->val.at[id].reg != reg) return;
    if (!needed(g, id)) {
        g->val.at[id].reg = NO_REG;
        return;
    }
    unsigned other = other_register(g, id, reg);
    g->val.at[id].reg = (u8)other;
    if (other == NO_REG && alive(g, id) && !has_place(g, id)) spill(g, id, reg);
}

static unsigned pick_scratch(Cg *g, bool xmm, u32 avoid) {
    u32 set = (xmm ? X64_SCRATCH_XMM : X64_SCRATCH_GPR) & ~(g->locked | avoid);
    unsigned best = NO_REG;
    u32 furthest = 0;
    for (u32 s = set; s; s &= s - 1) {
        unsigned r = __builtin_ctz(s);
        u32 id = g->reg_val[r];
        if (!id || cg_insn(g, id)->last < g->cur || g->val.at[id].reg != r) return g->reg_val[r] = 0, r;
        if (cg_insn(g, id)->last >= furthest) furthest = cg_insn(g, id)->last, best = r;
    }
    if (best == NO_REG) BUG("out of scratch registers");
    /* a value that dies at this very instruction may still have to be read by it */
    u32 id = g->reg_val[best];
    if (cg_insn(g, id)->last == g->cur && !has_place(g, id)) spill(g, id, best);
    vacate(g, best);
    return best;
}

unsigned cg_temp(Cg *g, bool xmm) {
    if (g->region) return region_temp(g, xmm);
    unsigned r = pick_scratch(g, xmm, 0);
    g->locked |= 1u << r;
    return r;
}

/* A scratch register of a kind that holds nothing needed, other than those to be avoided; NO_REG if there is none. */
static unsigned free_scratch(const Cg *g, bool xmm, u32 avoid) {
    for (u32 s = (xmm ? X64_SCRATCH_XMM : X64_SCRATCH_GPR) & ~(g->locked | avoid); s; s &= s - 1) {
        unsigned r = __builtin_ctz(s);
        if (!needed(g, g->reg_val[r]) || g->val.at[g->reg_val[r]].reg != r) return r;
    }
    return NO_REG;
}

void cg_take(Cg *g, unsigned reg) {
    if (g->region) {
        g->locked |= 1u << reg;
        return;
    }
    u32 id = g->reg_val[reg];
    if (needed(g, id) && g->val.at[id].reg == reg && !has_place(g, id)) {
        unsigned to = free_scratch(g, is_xmm(reg), 1u << RAX | 1u << RDX | 1u << reg);
        if (to == NO_REG) {
            spill(g, id, reg);
        } else {
            emit_move(g, to, reg);
            g->reg_val[to] = id;
            g->val.at[id].reg = (u8)to;
        }
    }
    vacate(g, reg);
    g->locked |= 1u << reg;
}

void cg_load_const(Cg *g, unsigned reg, const IrInsn *c) {
    if (!is_xmm(reg)) {
        x64_mov_imm_keep_flags(&g->b, reg, c->imm);
        return;
    }
    if (c->imm == 0) {
        x64_rr(&g->b, I_XORPS, xn(reg), xn(reg));
        return;
    }
    unsigned r = cg_temp(g, false);
    x64_mov_imm_keep_flags(&g->b, r, c->imm);
    x64_rr(&g->b, I_MOVD_X_R | W1, xn(reg), r);
}

unsigned cg_use(Cg *g, u32 id) {
    if (g->region) return region_use(g, id);
    id = cg_root(g, id);
    Val *v = &g->val.at[id];
    const IrInsn *i = cg_insn(g, id);
    if (v->reg == NO_REG) {
        unsigned r = pick_scratch(g, cg_is_xmm_type(i->type), 0);
        g->locked |= 1u << r;
        if (i->op == IR_const) cg_load_const(g, r, i);
        else if (v->home >= 0) emit_load(g, r, slot_mem(g, (u32)v->home), i->type);
        else if (v->spill >= 0) emit_load(g, r, spill_mem((u32)v->spill), IR_I64);
        else BUG("value is nowhere");
        v->reg = (u8)r;
        g->reg_val[r] = id;
    }
    g->locked |= 1u << v->reg;
    return v->reg;
}

void cg_use_in(Cg *g, unsigned reg, u32 id) {
    g->locked |= 1u << reg;
    if (g->region) region_use_in(g, reg, id);
    else x64_mov(&g->b, reg, cg_use(g, id));
}

bool cg_use_mem(Cg *g, u32 id, X64Mem *m) {
    if (g->region) return region_use_mem(g, id, m);
    id = cg_root(g, id);
    const Val *v = &g->val.at[id];
    if (v->reg != NO_REG || cg_is_const(g, id)) return false;
    if (v->home >= 0) *m = slot_mem(g, (u32)v->home);
    else if (v->spill >= 0) *m = spill_mem((u32)v->spill);
    else return false;
    return cg_insn(g, id)->last == g->cur; /* else a register pays */
}

/* May the pin of a slot take a new value now? Its old one must be dead (or die here), or live elsewhere as well. */
static bool pin_is_free(const Cg *g, unsigned reg) {
    u32 old = g->reg_val[reg];
    return !old || !alive(g, old) || g->val.at[old].reg != reg;
}

unsigned cg_target(Cg *g, bool xmm, u32 avoid, unsigned prefer) {
    if (g->region) return region_target(g, xmm, avoid, prefer);
    i16 slot = g->val.at[g->cur].hint;
    if (slot >= 0) {
        unsigned pin = g->pin[slot];
        if (is_xmm(pin) == xmm && !(avoid >> pin & 1) && pin_is_free(g, pin)) return g->locked |= 1u << pin, pin;
    }
    u32 scratch = xmm ? X64_SCRATCH_XMM : X64_SCRATCH_GPR;
    if (prefer != NO_REG && (scratch >> prefer & 1) && !(avoid >> prefer & 1)) {
        u32 id = g->reg_val[prefer];
        if (!id || !alive(g, id)) return g->locked |= 1u << prefer, prefer;
    }
    unsigned r = pick_scratch(g, xmm, avoid);
    g->locked |= 1u << r;
    return r;
}

void cg_set(Cg *g, unsigned reg) {
    if (g->region) {
        region_set(g, reg);
        return;
    }
    u32 old = g->reg_val[reg];
    if (old && g->val.at[old].reg == reg) g->val.at[old].reg = alive(g, old) ? (u8)other_register(g, old, reg) : NO_REG;
    g->reg_val[reg] = g->cur;
    g->val.at[g->cur].reg = (u8)reg;
}

void cg_get(Cg *g, const IrInsn *i) {
    if (g->region) {
        region_get(g, i);
        return;
    }
    u32 slot = (u32)i->imm;
    Val *v = &g->val.at[g->cur];
    if (g->pin[slot] != NO_REG) {
        v->reg = g->pin[slot];
        g->reg_val[v->reg] = g->cur;
    } else {
        v->home = (i16)slot;
        g->slot_val[slot] = g->cur;
    }
}

static void put_pinned(Cg *g, u32 id, unsigned pin) {
    Val *v = &g->val.at[id];
    if (v->reg == pin && g->reg_val[pin] == id) return; /* computed in place */
    if (cg_is_const(g, id)) {
        vacate(g, pin);
        cg_load_const(g, pin, cg_insn(g, id));
    } else {
        unsigned from = cg_use(g, id);
        vacate(g, pin);
        emit_move(g, pin, from);
    }
    g->reg_val[pin] = id;
    v->reg = (u8)pin;
}

static void put_memory(Cg *g, u32 id, u32 slot) {
    u32 old = g->slot_val[slot];
    if (old && old != id && g->val.at[old].home == (i16)slot) { /* it loses its place in memory */
        if (alive(g, old) && g->val.at[old].reg == NO_REG && g->val.at[old].spill < 0) cg_use(g, old);
        g->val.at[old].home = -1;
    }
    X64Mem m = slot_mem(g, slot);
    unsigned type = g->guest->slots[slot].type;
    i32 imm;
    if (g->val.at[id].reg == NO_REG && cg_imm32(g, id, &imm)) {
        x64_rm(&g->b, INSN(0, 0, 0xc7) | (type == IR_I64 ? W1 : 0), 0, m);
        x64_u32(&g->b, (u32)imm);
    } else {
        emit_store(g, m, cg_use(g, id), type);
    }
    g->slot_val[slot] = id;
    g->val.at[id].home = (i16)slot;
}

void cg_put(Cg *g, const IrInsn *i) {
    u32 slot = (u32)i->imm, id = cg_root(g, i->a);
    if (g->pin[slot] != NO_REG) put_pinned(g, id, g->pin[slot]);
    else put_memory(g, id, slot);
}

void cg_flush_scratch(Cg *g, bool state_changes) {
    if (g->region) return; /* its helpers keep all registers but rax */
    u32 set = X64_SCRATCH_GPR | X64_SCRATCH_XMM;
    if (state_changes) {
        for (u32 slot = 0; slot < g->guest->slot_count; slot++) { /* values that live only in slots must move out */
            u32 id = g->slot_val[slot];
            if (id && alive(g, id) && g->val.at[id].home == (i16)slot) {
                unsigned r = cg_use(g, id);
                g->val.at[id].home = -1;
                if (g->val.at[id].spill < 0) spill(g, id, r);
                g->locked = 0;
            }
            g->slot_val[slot] = 0;
        }
        set = 0;
        for (unsigned r = 0; r < 32; r++)
            if (r != RSP && r != RBP) set |= 1u << r;
    }
    for (; set; set &= set - 1) vacate(g, __builtin_ctz(set));
}
