/* SPDX-License-Identifier: Apache-2.0 */
/* What the semantics files share. Each defines one function per operation, in the words of the manual:
 *
 *   SEM(addw) { RD(ir_sext(b, 32, ir_add(b, rs1, rs2))); }
 *
 * In scope of a SEM: b the builder; i the decoded instruction; pc of it; rs1 rs2 rs3 the values of the registers
 * that the row reads (f registers as f64 containers, possibly NaN-boxed; rs3 is the old rd of `rmw` rows);
 * i->rm is resolved: 0..4. RD and FD write the destination, and come after everything that can fault.
 * guest.c calls them; a missing one is a link error.
 */
#ifndef ISA_RISCV_SEM_H
#define ISA_RISCV_SEM_H

#include "ir/guest.h"
#include "isa/riscv/riscv.h"

typedef void SemFn(IrBuilder *b, const RvInsn *i, u64 pc, Ref rs1, Ref rs2, Ref rs3);
#define SEM(name) void riscv_sem_##name(IrBuilder *b, const RvInsn *i, u64 pc, Ref rs1, Ref rs2, Ref rs3)
#define PROTOTYPE(name) SemFn riscv_sem_##name;
RV_EACH_SEM(PROTOTYPE)
#undef PROTOTYPE

/* Slots: x1..x31, f0..f31, then these. */
enum { SLOT_F0 = 31, SLOT_FRM = 63, SLOT_RESV_ADDR, SLOT_RESV_VALUE, SLOT_COUNT };
/* Of a whole hart, besides. */
enum { SLOT_PAGE = SLOT_COUNT, SLOT_MSTATUS, SLOT_SSCRATCH, SLOT_SEPC, SLOT_SCAUSE, SLOT_STVAL, SLOT_ALLOW, SLOT_IRQ, SLOT_SYSTEM_COUNT };

static inline Ref sem_get_x(IrBuilder *b, unsigned n) { return n ? ir_get(b, n - 1) : ir_i64(b, 0); }
static inline void sem_put_x(IrBuilder *b, unsigned n, Ref v) {
    if (n) ir_put(b, n - 1, v);
}
static inline Ref sem_get_f(IrBuilder *b, unsigned n) { return ir_get(b, SLOT_F0 + n); }
static inline void sem_put_f(IrBuilder *b, unsigned n, Ref v) { ir_put(b, SLOT_F0 + n, v); }

#define RD(value) sem_put_x(b, i->rd, (value))
#define FD(value) sem_put_f(b, i->rd, (value))
#define IMM ((u64)(i64)i->imm)
#define NEXT_PC (pc + i->len)

/* A pc as the guest sees it. */
static inline Ref sem_pc(IrBuilder *b, u64 pc) {
    if (!b->guest->paged) return ir_i64(b, pc);
    return ir_imm(b, IR_add, ir_get(b, SLOT_PAGE), pc - align_down(b->pc, PAGE_BYTES));
}

/* Something that a privileged machine does, and user level does not know: the runtime's business. */
static inline void sem_privileged(IrBuilder *b, const RvInsn *i) { ir_trap(b, b->guest->paged ? TRAP_PRIV : TRAP_ILLEGAL, i->bits); }
/* The same unless the hart allows it (RV_ALLOW_*). */
static inline void sem_need(IrBuilder *b, unsigned allow) {
    if (b->guest->paged) ir_trap_if(b, ir_imm(b, IR_eq, ir_imm(b, IR_and, ir_get(b, SLOT_ALLOW), allow), 0), TRAP_PRIV);
}

/* sem_priv.c: a CSR that only a whole hart has. As csr_op in sem_sys.c; false: it is one of user level. */
enum CsrHow { CSR_SWAP, CSR_SET, CSR_CLEAR };
bool sem_system_csr(IrBuilder *b, const RvInsn *i, enum CsrHow how, bool reads, bool writes, Ref v);

/* CSRs 0xC00 and up [unpriv zicsr]. */
static inline bool sem_is_read_only(unsigned csr) { return (csr & 0xc00) == 0xc00; }
/* sem_vset.c: those of vectors. */
Ref sem_vector_csr_read(IrBuilder *b, unsigned csr);
void sem_vector_csr_write(IrBuilder *b, unsigned csr, Ref v);

static inline void sem_illegal(IrBuilder *b, const RvInsn *i) { ir_trap(b, TRAP_ILLEGAL, i->bits); }

/* The helpers: X(name, result type, facts); functions u64 riscv_help_NAME(Vcpu *, u64, u64, u64, u64) in help_*.c. */
#define RV_EACH_HELPER(X)                                                                                            \
    X(fcvtmod, IR_I64, HELPER_FLAGS)                                                                                 \
    X(amocas_q, IR_VOID, HELPER_READS | HELPER_WRITES | HELPER_FAULTS)                                               \
    X(vsetvl, IR_I64, 0)                                                                                             \
    X(vstart, IR_VOID, 0)                                                                                            \
    X(time, IR_I64, 0)                                                                                               \
    X(system_time, IR_I64, 0)                                                                                               \
    X(counter, IR_I64, 0)
enum {
#define HELPER_ID(name, result, facts) HELPER_##name##_ID,
    RV_EACH_HELPER(HELPER_ID)
#undef HELPER_ID
    HELPER_COUNT
};
#define HELPER_PROTOTYPE(name, result, facts) u64 riscv_help_##name(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d);
RV_EACH_HELPER(HELPER_PROTOTYPE)
#undef HELPER_PROTOTYPE

/* Call of a helper with one, two or three operands. */
#define CALL1(name, x) ir_call(b, HELPER_##name##_ID, 1, (Ref[]){x})
#define CALL2(name, x, y) ir_call(b, HELPER_##name##_ID, 2, (Ref[]){x, y})
#define CALL3(name, x, y, z) ir_call(b, HELPER_##name##_ID, 3, (Ref[]){x, y, z})

#endif
