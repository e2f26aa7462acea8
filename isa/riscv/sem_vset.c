/* SPDX-License-Identifier: Apache-2.0 */
/* vsetvli and its like, and the CSRs of vectors [unpriv v, "configuration-setting instructions", "vector extension programmer's model"]. All leave vkey
 * as riscv_vector_key would. */
#include "isa/riscv/sem.h"
#include "isa/riscv/vector.h"

static Ref peek(IrBuilder *b, size_t offset) { return ir_peek(b, (u32)offset); }
static void poke(IrBuilder *b, size_t offset, Ref v) { ir_poke(b, (u32)offset, v); }
#define PEEK(member) peek(b, offsetof(RvState, member))
#define POKE(member, value) poke(b, offsetof(RvState, member), (value))

static Ref min(IrBuilder *b, Ref v, u64 most) {
    Ref limit = ir_i64(b, most), less = ir_ltu(b, v, limit);
    return ir_select(b, less, v, limit);
}

static void put_vtype(IrBuilder *b, u64 vtype, Ref vl, Ref key) {
    POKE(vtype, ir_i64(b, vtype));
    POKE(vl, vl);
    POKE(vstart, ir_i64(b, 0));
    POKE(vkey, key);
}

/* With a vtype that the encoding says, its VLMAX is known. What follows is guessed to work on all of VLMAX, as all rounds of a loop but the last do. */
static void set(IrBuilder *b, const RvInsn *i, u64 vtype, Ref vl, u64 most) {
    Ref full = ir_imm(b, IR_shl, ir_zext(b, 1, ir_imm(b, IR_eq, vl, most)), 8);
    put_vtype(b, vtype, vl, ir_imm(b, IR_or, full, vtype));
    b->guess = (u32)vtype | RV_VKEY_FULL;
    b->length.full = full.id, b->length.most = (u32)most, b->length.block = b->block_start;
    RD(vl);
}

/* Another width for as many elements, of which this block has said how many they are, where there are as many at most: half of what loops on mixed widths set. */
static bool set_width_only(IrBuilder *b, const RvInsn *i, u64 vtype, u64 most) {
    if (i->rd || i->rs1 || !b->length.full || b->length.block != b->block_start || b->length.most != most) return false;
    POKE(vtype, ir_i64(b, vtype));
    POKE(vkey, ir_imm(b, IR_or, (Ref){b->length.full}, vtype));
    b->guess = (u32)vtype | RV_VKEY_FULL;
    return true;
}

static void set_reserved(IrBuilder *b, const RvInsn *i) {
    Ref zero = ir_i64(b, 0);
    put_vtype(b, RV_VILL, zero, ir_i64(b, RV_VKEY_NONE));
    b->guess = b->length.full = 0;
    RD(zero);
}

/* How many elements are asked for. Without rs1: all that there are, or with no rd either as many as before (for which another VLMAX is reserved; we
 * do as others do). */
static Ref asked(IrBuilder *b, const RvInsn *i, Ref rs1) {
    if (i->rs1) return rs1;
    return i->rd ? ir_i64(b, ~0ull) : PEEK(vl);
}

SEM(vsetvli) {
    u64 vtype = (u32)i->imm, most = riscv_vlmax(vtype);
    if (!most) {
        set_reserved(b, i);
        return;
    }
    if (set_width_only(b, i, vtype, most)) return;
    set(b, i, vtype, min(b, asked(b, i, rs1), most), most);
}

SEM(vsetivli) {
    u64 vtype = (u32)i->imm, most = riscv_vlmax(vtype);
    if (most) set(b, i, vtype, ir_i64(b, MIN(i->rs1, most)), most);
    else set_reserved(b, i);
}

/* Any vtype: that is how a saved one is put back. */
SEM(vsetvl) {
    Ref avl = asked(b, i, rs1);
    b->guess = b->length.full = 0;
    RD(CALL2(vsetvl, avl, rs2));
}

/* --- CSRs */

Ref sem_vector_csr_read(IrBuilder *b, unsigned csr) {
    switch (csr) {
    case CSR_VSTART: return PEEK(vstart);
    case CSR_VXSAT: return PEEK(vxsat);
    case CSR_VXRM: return PEEK(vxrm);
    case CSR_VL: return PEEK(vl);
    case CSR_VTYPE: return PEEK(vtype);
    case CSR_VLENB: return ir_i64(b, RV_VLENB);
    }
    Ref rounding = ir_imm(b, IR_shl, PEEK(vxrm), 1);
    return ir_or(b, rounding, PEEK(vxsat));
}

void sem_vector_csr_write(IrBuilder *b, unsigned csr, Ref v) {
    if (csr == CSR_VXSAT || csr == CSR_VCSR) POKE(vxsat, ir_imm(b, IR_and, v, 1));
    if (csr == CSR_VXRM) POKE(vxrm, ir_imm(b, IR_and, v, 3));
    if (csr == CSR_VCSR) POKE(vxrm, ir_imm(b, IR_and, ir_imm(b, IR_shr, v, 1), 3));
    if (csr != CSR_VSTART) return;
    Ref start = ir_imm(b, IR_and, v, RV_VLEN - 1); /* the greatest number that an element has */
    CALL1(vstart, start);
    b->guess = b->length.full = 0;
}
