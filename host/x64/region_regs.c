/* SPDX-License-Identifier: Apache-2.0 */
/* Regions, step three: the places of values as the lowering of single instructions asks for them (cg.h). What is in memory comes
 * through a scratch register, and is forgotten there at the end of the instruction. */
#include "host/x64/region.h"

X64Mem region_mem(const Cg *g, Place p) {
    if (p >= PLACE_SAVE) return x64_mem(RBP, CPU_OFF(save) + 8 * (i64)(p - PLACE_SAVE));
    if (p >= PLACE_SLOT) return x64_mem(RBP, x64_slot_off(g->guest, p - PLACE_SLOT));
    return x64_mem(RBP, CPU_OFF(spill) + 8 * (i64)(p - PLACE_SPILL));
}

static void load(Cg *g, unsigned reg, Place p) {
    if (reg >= X64_XMM) x64_rm(&g->b, I_MOVS_LOAD(3), xn(reg), region_mem(g, p));
    else x64_rm(&g->b, I_MOV_R_RM | W1, reg, region_mem(g, p));
}

static void store(Cg *g, Place p, unsigned reg) {
    if (reg >= X64_XMM) x64_rm(&g->b, I_MOVS_STORE(3), xn(reg), region_mem(g, p));
    else x64_rm(&g->b, I_MOV_RM_R | W1, reg, region_mem(g, p));
}

/* --- registers for a moment --------------------------------------------------------------------------- */

static void note_operand(Region *r, u32 v, u32 id) {
    Place p = region_place(r, v, 2 * id);
    if (p < PLACE_SPILL) r->operands |= 1u << p;
}

/* The current instruction's operands and result must not be borrowed from. */
static u32 own_registers(Cg *g) {
    Region *r = g->region;
    r->operands = 0;
    region_each_use(r, g->cur, note_operand);
    Place p = region_place(r, g->cur, 2 * g->cur + 1);
    return p < PLACE_SPILL ? r->operands | 1u << p : r->operands;
}

static unsigned borrow(Cg *g, bool xmm, u32 avoid) {
    Region *r = g->region;
    u32 set = (xmm ? REGION_XMM : REGION_GPR) & ~(g->locked | avoid | r->borrowed | own_registers(g));
    if (!set) {
        r->too_hard = true;
        return xmm ? REGION_TEMP_XMM : REGION_TEMP;
    }
    unsigned reg = __builtin_ctz(set);
    store(g, (Place)(PLACE_BORROWED + reg), reg);
    r->borrowed |= 1u << reg;
    if (ir_op_facts[cg_insn(g, g->cur)->op] & F_FAULTS) region_point(g);
    return reg;
}

void region_restore(Cg *g) {
    for (u32 set = g->region->borrowed; set; set &= set - 1) load(g, __builtin_ctz(set), (Place)(PLACE_BORROWED + __builtin_ctz(set)));
    g->region->borrowed = 0;
}

Place region_place_now(const Region *r, u32 v, u32 pos) {
    Place p = region_place_of(r, v, pos);
    return p < PLACE_SPILL && (r->borrowed >> p & 1) ? (Place)(PLACE_BORROWED + p) : p;
}

static unsigned pick(Cg *g, bool xmm, u32 avoid) {
    unsigned reg = xmm ? REGION_TEMP_XMM : REGION_TEMP;
    avoid |= g->locked;
    if (avoid >> reg & 1) {
        u32 set = (xmm ? REGION_XMM : REGION_GPR) & ~(avoid | g->region->borrowed);
        while (set && !region_is_free(g->region, __builtin_ctz(set), g->cur)) set &= set - 1;
        reg = set ? (unsigned)__builtin_ctz(set) : borrow(g, xmm, avoid);
    }
    g->locked |= 1u << reg;
    return reg;
}

unsigned region_temp(Cg *g, bool xmm) { return pick(g, xmm, 0); }

/* --- what cg.h promises -------------------------------------------------------------------------------- */

static void load_const(Cg *g, unsigned reg, const IrInsn *c) {
    u32 locked = g->locked;
    cg_load_const(g, reg, c);
    g->locked = locked;
}

unsigned region_use(Cg *g, u32 id) {
    id = cg_root(g, id);
    Place p = region_place_of(g->region, id, 2 * g->cur);
    if (p < PLACE_SPILL) {
        g->locked |= 1u << p;
        return p;
    }
    unsigned reg = region_temp(g, cg_is_xmm_type(cg_insn(g, id)->type));
    if (p == PLACE_CONST) load_const(g, reg, cg_insn(g, id));
    else if (p == PLACE_NONE) region_lost(g->region);
    else load(g, reg, p);
    return reg;
}

void region_use_in(Cg *g, unsigned reg, u32 id) {
    id = cg_root(g, id);
    Place p = region_place(g->region, id, 2 * g->cur);
    if (p < PLACE_SPILL) x64_mov(&g->b, reg, p);
    else if (p == PLACE_CONST) load_const(g, reg, cg_insn(g, id));
    else if (p == PLACE_NONE) region_lost(g->region);
    else load(g, reg, p);
}

bool region_use_mem(Cg *g, u32 id, X64Mem *m) {
    Place p = region_place(g->region, cg_root(g, id), 2 * g->cur);
    if (p < PLACE_SPILL || p >= PLACE_COUNT) return false;
    *m = region_mem(g, p);
    return true;
}

static Place own_place(const Cg *g) {
    const Region *r = g->region;
    return r->value[g->cur].param ? PLACE_NONE : region_place(r, g->cur, 2 * g->cur + 1);
}

unsigned region_target(Cg *g, bool xmm, u32 avoid, unsigned prefer) {
    Place p = own_place(g);
    if (p < PLACE_SPILL && !(avoid >> p & 1)) {
        g->locked |= 1u << p;
        return p;
    }
    if (prefer == (xmm ? REGION_TEMP_XMM : REGION_TEMP) && !(avoid >> prefer & 1)) return prefer;
    return pick(g, xmm, avoid);
}

void region_set(Cg *g, unsigned reg) {
    Place p = own_place(g);
    if (p == PLACE_NONE) return;
    if (p >= PLACE_SPILL) {
        store(g, p, reg);
        return;
    }
    if (p != reg) {
        if (reg >= X64_XMM) cg_mov_xmm(g, p, reg);
        else x64_mov(&g->b, p, reg);
    }
    if (g->region->value[g->cur].stored) store(g, region_memory(g->region, g->cur), p);
}

/* A get that is not at the head of an entry: the slot's home is in the Vcpu. */
void region_get(Cg *g, const IrInsn *i) {
    if (g->region->value[g->cur].param) return;
    unsigned dst = region_target(g, cg_is_xmm_type(i->type), 0, NO_REG);
    load(g, dst, (Place)(PLACE_SLOT + i->imm));
    region_set(g, dst);
}
