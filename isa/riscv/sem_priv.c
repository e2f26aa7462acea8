/* SPDX-License-Identifier: Apache-2.0 */
/* The CSRs of a whole hart that code uses often enough to be worth generated code: those of every trap's way in and out, and the interrupt
 * enable of S-mode. The rest is the runtime's (machine/riscv/csr.c), which can do all of them. */
#include "isa/riscv/sem.h"

enum {
    CSR_FFLAGS = 1, CSR_FRM = 2, CSR_FCSR = 3, CSR_SSTATUS = 0x100, CSR_SSCRATCH = 0x140, CSR_SEPC = 0x141, CSR_SCAUSE = 0x142, CSR_STVAL = 0x143,
    CSR_TIME = 0xc01,
};

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

/* Bits that change by themselves only are written here: those that mean another translation mode or TLB are not, and not SIE while an
 * interrupt waits for it. */
static void sstatus(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, bool writes, Ref v) {
    const u64 here = RV_SIE | RV_SPIE | RV_SPP;
    Ref old = ir_get(b, SLOT_MSTATUS), seen = ir_imm(b, IR_and, old, RV_SSTATUS);
    if (!writes) {
        RD(seen);
        return;
    }
    Ref next = combine(b, how, old, v);
    Ref changed = how == CSR_SWAP ? ir_xor(b, old, v) : v;
    ir_trap_if(b, ir_imm(b, IR_ne, ir_imm(b, IR_and, changed, RV_SSTATUS_WRITABLE & ~here), 0), TRAP_PRIV);
    if (how != CSR_CLEAR) {
        Ref waits = ir_and(b, ir_imm(b, IR_shr, ir_imm(b, IR_and, next, RV_SIE), 1), ir_get(b, SLOT_IRQ));
        ir_trap_if(b, ir_imm(b, IR_ne, waits, 0), TRAP_PRIV);
    }
    Ref kept = ir_imm(b, IR_and, old, ~here);
    Ref taken = ir_imm(b, IR_and, next, here);
    ir_put(b, SLOT_MSTATUS, ir_or(b, kept, taken));
    if (reads) RD(seen);
}

bool sem_system_csr(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, bool writes, Ref v) {
    unsigned csr = i->imm & 0xfff;
    bool supervisor = rv_mode_priv(b->mode) != RV_U;
    switch (csr) {
    case CSR_FFLAGS: case CSR_FRM: case CSR_FCSR:
        if (rv_mode_fs(b->mode) == 2 || (rv_mode_fs(b->mode) && !writes)) return false;
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
