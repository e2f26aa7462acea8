/* SPDX-License-Identifier: Apache-2.0 */
/* Control transfer, fences, system instructions and CSRs at user level. */
#include "isa/riscv/sem.h"
#include "isa/riscv/vector.h"

/* --- transfers */

static bool is_link(unsigned reg) { return reg == 1 || reg == 5; }

SEM(jal) {
    RD(sem_pc(b, NEXT_PC));
    if (is_link(i->rd)) ir_exit_call(b, pc + IMM, NEXT_PC);
    else ir_exit(b, pc + IMM);
}

/* Calls and returns are told apart as the return-address stacks of processors do [unpriv rv32, table of hints];
 * "pop, then push" is a plain jump here. The IR clears the low bit of the target. */
/* `size` bytes at disp of `to`, out of value[]: by eight; what is left by overlapping words of a power of two. Loads come before all stores: then
 * what was done when one of them faults may be done again. */
typedef struct Piece {
    u8 bytes;
    i16 at;
} Piece;

static unsigned cut(unsigned size, Piece *out) {
    unsigned n = 0, at = 0;
    for (unsigned bytes = 8; at < size; bytes /= 2)
        while (size - at >= bytes) out[n++] = (Piece){(u8)bytes, (i16)at}, at += bytes;
    return n;
}

/* A stub's jump to a function that is done here, as if it had been called and had returned. It changes no register but its result's: the others that functions may
 * change by the calling convention [psABI], they need not. If that is not where the jump leads, or memory refuses, the guest's own function does it. */
static void call_known(IrBuilder *b, Ref target) {
    enum { RA = 1, A0 = 10, WORDS = KNOWN_SIZE_MAX / 8 + 3 };
    unsigned kind = low_bits(b->known, KNOWN_SIZE_SHIFT), size = b->known >> KNOWN_SIZE_SHIFT;
    Piece pieces[WORDS];
    Ref values[WORDS], to = sem_get_x(b, A0), from = sem_get_x(b, A0 + 1);
    unsigned count = cut(size, pieces);
    ir_trap_if(b, ir_emit(b, IR_stray, IR_I1, 0, 0, target, (Ref){0}, (Ref){0}, kind), TRAP_RETRY);
    Ref filled = kind == KNOWN_memset ? ir_mul(b, ir_zext(b, 8, from), ir_i64(b, ~0ull / 255)) : (Ref){0};
    for (unsigned k = 0; k < count; k++) values[k] = kind == KNOWN_memset ? filled : ir_loadu(b, pieces[k].bytes * 8u, from, pieces[k].at);
    for (unsigned k = 0; k < count; k++) ir_store(b, pieces[k].bytes * 8u, to, pieces[k].at, values[k]);
    if (kind == KNOWN_mempcpy) sem_put_x(b, A0, ir_imm(b, IR_add, to, size));
    ir_exit_ind(b, sem_get_x(b, RA), EXIT_RET, 0);
}

SEM(jalr) {
    if (b->known) {
        call_known(b, rs1);
        return;
    }
    Ref target = ir_imm(b, IR_add, rs1, IMM);
    bool call = is_link(i->rd), ret = is_link(i->rs1) && i->rs1 != i->rd;
    RD(sem_pc(b, NEXT_PC));
    if (ir_is_const(b, target) && !b->guest->paged) { /* auipc and jalr: a far call */
        u64 to = ir_insn_of(b, target)->imm & ~1ull;
        if (call) ir_exit_call(b, to, NEXT_PC);
        else ir_exit(b, to);
    } else {
        ir_exit_ind(b, target, call && !ret ? EXIT_CALL : ret && !call ? EXIT_RET : EXIT_JUMP, NEXT_PC);
    }
}

SEM(beq) { ir_exit_if(b, ir_eq(b, rs1, rs2), pc + IMM); }
SEM(bne) { ir_exit_if(b, ir_ne(b, rs1, rs2), pc + IMM); }
SEM(blt) { ir_exit_if(b, ir_lts(b, rs1, rs2), pc + IMM); }
SEM(bge) { ir_exit_if(b, ir_les(b, rs2, rs1), pc + IMM); }
SEM(bltu) { ir_exit_if(b, ir_ltu(b, rs1, rs2), pc + IMM); }
SEM(bgeu) { ir_exit_if(b, ir_leu(b, rs2, rs1), pc + IMM); }

/* --- fences and waiting */

enum { FENCE_TSO = 0x833, FENCE_PAUSE = 0x010, FENCE_R = 2, FENCE_W = 1 };

SEM(fence) {
    unsigned set = i->imm;
    if (set == FENCE_PAUSE && i->rd == 0 && i->rs1 == 0) {
        ir_trap(b, TRAP_WAIT, 0);
    } else if (set == FENCE_TSO) { /* all but store before load */
        ir_fence(b, FENCE_R << 4 | FENCE_R | FENCE_W);
        ir_fence(b, FENCE_W << 4 | FENCE_W);
    } else { /* fm is reserved: a full fence of these sets */
        ir_fence(b, set & 0xff);
    }
}
SEM(fence_i) { ir_trap(b, TRAP_FENCE_I, 0); }
SEM(wrs_nto) { ir_trap(b, TRAP_WAIT, 0); }
SEM(wrs_sto) { ir_trap(b, TRAP_WAIT, 0); }

SEM(ecall) { ir_trap(b, TRAP_SYSCALL, 0); }
SEM(ebreak) { ir_trap(b, TRAP_BREAKPOINT, 0); }
/* What exists only above user level. */
SEM(priv) { sem_privileged(b, i); }

/* --- CSRs [unpriv zicsr, f, zicntr] */

static bool csr_exists(const IrBuilder *b, unsigned csr, bool write) {
    switch (csr) {
    case CSR_FFLAGS: case CSR_FRM: case CSR_FCSR: return true;
    case CSR_CYCLE: case CSR_TIME: case CSR_INSTRET: return !write;
    }
    return riscv_is_vector_csr(csr) && !(write && sem_is_read_only(csr)) && (b->guest->paged || !(b->mode & RV_MODE_NO_VECTOR));
}

/* frm is the translation mode, hence known. */
static Ref csr_read(IrBuilder *b, unsigned csr) {
    switch (csr) {
    case CSR_FFLAGS: return ir_getflags(b);
    case CSR_FRM: return ir_i64(b, b->mode & IR_MODE_ROUNDING);
    case CSR_FCSR: return ir_imm(b, IR_or, ir_getflags(b), (b->mode & IR_MODE_ROUNDING) << 5);
    case CSR_TIME: return ir_call(b, b->guest->paged ? HELPER_system_time_ID : HELPER_time_ID, 0, NULL);
    }
    if (riscv_is_vector_csr(csr)) return sem_vector_csr_read(b, csr);
    return ir_call(b, HELPER_counter_ID, 0, NULL);
}

/* A new rounding mode needs other translations: the block ends. */
static void put_frm(IrBuilder *b, Ref v) {
    Ref frm = ir_imm(b, IR_and, v, 7);
    if (ir_is_const(b, frm) && ir_insn_of(b, frm)->imm == (b->mode & IR_MODE_ROUNDING)) return;
    ir_put(b, SLOT_FRM, frm);
    ir_trap(b, TRAP_MODE, 0);
}

static void csr_write(IrBuilder *b, unsigned csr, Ref v) {
    if (riscv_is_vector_csr(csr)) {
        sem_vector_csr_write(b, csr, v);
        return;
    }
    if (csr != CSR_FRM) ir_setflags(b, v);
    if (csr == CSR_FRM) put_frm(b, v);
    if (csr == CSR_FCSR) put_frm(b, ir_imm(b, IR_shr, v, 5));
}

/* One instruction of six: `reads` and `writes` say whether it does at all; some that only look different
 * have no side effect [unpriv zicsr, table of side effects]. */
static void csr_op(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, bool writes, Ref v) {
    unsigned csr = i->imm;
    if (b->guest->paged && sem_system_csr(b, i, how, reads, writes, v)) return;
    if (!csr_exists(b, csr, writes)) {
        sem_illegal(b, i);
        return;
    }
    Ref old = {0};
    if (reads) old = csr_read(b, csr);
    if (writes && how == CSR_SET) v = ir_or(b, old, v);
    if (writes && how == CSR_CLEAR) v = ir_and(b, old, ir_not(b, v));
    if (reads) RD(old);
    if (writes) csr_write(b, csr, v);
}

SEM(csrrw) { csr_op(b, i, CSR_SWAP, i->rd != 0, true, rs1); }
SEM(csrrs) { csr_op(b, i, CSR_SET, true, i->rs1 != 0, rs1); }
SEM(csrrc) { csr_op(b, i, CSR_CLEAR, true, i->rs1 != 0, rs1); }
SEM(csrrwi) { csr_op(b, i, CSR_SWAP, i->rd != 0, true, ir_i64(b, i->rs1)); }
SEM(csrrsi) { csr_op(b, i, CSR_SET, true, i->rs1 != 0, ir_i64(b, i->rs1)); }
SEM(csrrci) { csr_op(b, i, CSR_CLEAR, true, i->rs1 != 0, ir_i64(b, i->rs1)); }
