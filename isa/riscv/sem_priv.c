/* SPDX-License-Identifier: Apache-2.0 */
/* The CSRs of a whole hart that code uses often enough to be worth generated code: those of every trap's way in and out, and the interrupt
 * enable of S-mode. The rest is the runtime's (machine/riscv/csr.c), which can do all of them. */
#include "isa/riscv/sem.h"

static Ref combine(IrBuilder *b, enum CsrHow how, Ref old, Ref v) {
    if (how == CSR_SET) return ir_or(b, old, v);
    if (how == CSR_CLEAR) return ir_and(b, old, ir_not(b, v));
    return v;
}

/* A register of 64 bits without side effects. */
static void plain(IrBuilder *b, const RvInsn *i, u32 slot, u64 mask, enum CsrHow how, bool reads, bool writes, Ref v) {
    Ref old = ir_get(b, slot);
    if (writes) ir_put(b, slot, ir_imm(b, IR_and, combine(b, how, old, v), mask));
    if (reads) RD(old);
}

/* Bits that are written here: those that change by themselves only, and those that mean another translation mode. The rest means another TLB. */
#define STATUS_PLAIN (RV_SIE | RV_SPIE | RV_SPP)
#define STATUS_MODE (RV_SUM | RV_FS | RV_VS)

/* SIE is not set here while an interrupt waits for it. */
static void trap_if_waiting(IrBuilder *b, Ref next) {
    Ref waits = ir_and(b, ir_imm(b, IR_shr, ir_imm(b, IR_and, next, RV_SIE), 1), ir_get(b, SLOT_IRQ));
    ir_trap_if(b, ir_imm(b, IR_ne, waits, 0), TRAP_PRIV);
}

/* 1 if all bits of the field are set. */
static Ref is_full(IrBuilder *b, Ref v, u64 field) { return ir_zext(b, 1, ir_imm(b, IR_eq, ir_imm(b, IR_and, v, field), field)); }

/* The bits `written` of next. SD says whether FS or VS is 3. */
static Ref put_status(IrBuilder *b, Ref old, Ref next, u64 written) {
    bool sums = written & (RV_FS | RV_VS);
    Ref kept = ir_imm(b, IR_and, old, ~(written | (sums ? RV_SD : 0)));
    Ref all = ir_or(b, kept, ir_imm(b, IR_and, next, written));
    if (sums) {
        Ref fs = is_full(b, all, RV_FS), vs = is_full(b, all, RV_VS);
        all = ir_or(b, all, ir_imm(b, IR_shl, ir_or(b, fs, vs), 63));
    }
    ir_put(b, SLOT_MSTATUS, all);
    return all;
}

/* Neither all of the field nor nothing of it. */
static bool is_part(u64 mask, u64 field) { return (mask & field) && (mask & field) != field; }

/* In S-mode, setting or clearing bits of `mask`: the mode afterwards, if that can be told now. */
static bool mode_after(const IrBuilder *b, enum CsrHow how, u64 mask, u32 *mode) {
    bool sum = rv_mode_sum(b->mode), vs = rv_mode_vs(b->mode);
    unsigned fs = rv_mode_fs(b->mode);
    if (how == CSR_SWAP || rv_mode_priv(b->mode) != RV_S || (mask & RV_MXR) || is_part(mask, RV_FS) || is_part(mask, RV_VS)) return false;
    if (mask & RV_SUM) sum = how == CSR_SET;
    if (mask & RV_FS) fs = how == CSR_SET ? 2 : 0;
    if (mask & RV_VS) vs = how == CSR_SET;
    *mode = rv_make_mode(fs, vs, sum, RV_S, b->mode & IR_MODE_ROUNDING);
    return true;
}

static u64 next_pc(const IrBuilder *b, const RvInsn *i) { return b->frames.at[b->frames.len - 1].pc + i->len; }

/* Of a constant: kernels set SUM around each access to a process's memory, and clear it with FS and VS on each way in. The mode that follows is known, so its code
 * can be linked. */
static void status_mode(IrBuilder *b, const RvInsn *i, enum CsrHow how, u64 mask, u32 mode) {
    Ref old = ir_get(b, SLOT_MSTATUS), seen = ir_imm(b, IR_and, old, RV_SSTATUS);
    Ref next = combine(b, how, old, ir_i64(b, mask));
    if (how == CSR_SET && (mask & RV_SIE)) trap_if_waiting(b, next);
    put_status(b, old, next, STATUS_PLAIN | (mask & STATUS_MODE));
    RD(seen);
    if (mode == b->mode) return;
    ir_mode(b, mode);
    ir_exit(b, next_pc(b, i));
}

/* All of it, on the way out: the mode that follows is looked up. */
static void status_swap(IrBuilder *b, const RvInsn *i, bool reads, Ref v) {
    Ref old = ir_get(b, SLOT_MSTATUS), seen = ir_imm(b, IR_and, old, RV_SSTATUS);
    ir_trap_if(b, ir_imm(b, IR_ne, ir_imm(b, IR_and, ir_xor(b, old, v), RV_MXR), 0), TRAP_PRIV);
    trap_if_waiting(b, v);
    Ref next = put_status(b, old, v, STATUS_PLAIN | STATUS_MODE);
    if (reads) RD(seen);
    Ref same = ir_imm(b, IR_eq, ir_imm(b, IR_and, ir_xor(b, old, next), STATUS_MODE), 0);
    ir_exit_if(b, same, next_pc(b, i));
    ir_trap(b, TRAP_MODE, 0);
}

/* One by one, or in M-mode, where SUM is part of what MPRV's TLB holds. */
static void status_plain(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, Ref v) {
    Ref old = ir_get(b, SLOT_MSTATUS), seen = ir_imm(b, IR_and, old, RV_SSTATUS);
    Ref next = combine(b, how, old, v), changed = ir_xor(b, old, next);
    ir_trap_if(b, ir_imm(b, IR_ne, ir_imm(b, IR_and, changed, RV_SSTATUS_WRITABLE & ~STATUS_PLAIN), 0), TRAP_PRIV);
    if (how != CSR_CLEAR) trap_if_waiting(b, next);
    put_status(b, old, next, STATUS_PLAIN);
    if (reads) RD(seen);
}

static void sstatus(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, bool writes, Ref v) {
    u32 mode;
    if (!writes) {
        RD(ir_imm(b, IR_and, ir_get(b, SLOT_MSTATUS), RV_SSTATUS));
        return;
    }
    u64 mask = ir_is_const(b, v) ? ir_insn_of(b, v)->imm : 0;
    if ((mask & STATUS_MODE) && mode_after(b, how, mask, &mode)) status_mode(b, i, how, mask, mode);
    else if (how == CSR_SWAP && rv_mode_priv(b->mode) == RV_S) status_swap(b, i, reads, v);
    else status_plain(b, i, how, reads, v);
}

bool sem_system_csr(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, bool writes, Ref v) {
    unsigned csr = i->imm & 0xfff;
    bool supervisor = rv_mode_priv(b->mode) != RV_U;
    switch (csr) {
    case CSR_FFLAGS: case CSR_FRM: case CSR_FCSR:
        if (rv_mode_fs(b->mode) == 2 || (rv_mode_fs(b->mode) && !writes)) return false;
        break;
    case CSR_VSTART: case CSR_VXSAT: case CSR_VXRM: case CSR_VCSR: case CSR_VL: case CSR_VTYPE: case CSR_VLENB:
        if (rv_mode_vs(b->mode)) return false;
        break;
    case CSR_TIME:
        if (writes) break;
        sem_need(b, RV_ALLOW_TIME);
        return false;
    case CSR_SSCRATCH: if (supervisor) return plain(b, i, SLOT_SSCRATCH, ~0ull, how, reads, writes, v), true; break;
    case CSR_SEPC: if (supervisor) return plain(b, i, SLOT_SEPC, ~1ull, how, reads, writes, v), true; break;
    case CSR_SCAUSE: if (supervisor) return plain(b, i, SLOT_SCAUSE, ~0ull, how, reads, writes, v), true; break;
    case CSR_STVAL: if (supervisor) return plain(b, i, SLOT_STVAL, ~0ull, how, reads, writes, v), true; break;
    case CSR_SSTATUS: if (supervisor) return sstatus(b, i, how, reads, writes, v), true; break;
    }
    sem_privileged(b, i);
    return true;
}
