/* SPDX-License-Identifier: Apache-2.0 */
/* The IR interpreter: the portable engine, and the oracle for generated code.
 *
 * It executes an IrFunc directly on a Vcpu. Guest memory is host memory; with a log, stores are kept in the log
 * instead (and loads see them), so that generated code can then run the same block and be compared.
 */
#ifndef IR_INTERP_H
#define IR_INTERP_H

#include "ir/guest.h"

typedef struct IrStore { /* one logged store */
    u64 addr, value;
    u64 old;  /* what memory held and, as long as it is only logged, holds */
    u32 size; /* bytes */
} IrStore;

typedef struct IrLog {
    VEC(IrStore) stores;
} IrLog;

/* Copies bytes of the guest's memory, as the stores in the log have made it, to data, or such a store from there. Those before a fault are done; returns how many. */
size_t ir_log_copy(IrLog *log, u64 addr, void *data, size_t size, bool write);

typedef struct IrInterp { /* scratch of one thread */
    VEC(u64) values;
    VEC(u64) params; /* of a jump under way */
    VEC(u32) blocks; /* where each block of the function starts */
    IrLog *log;      /* NULL: stores go to memory */
    bool slow;       /* accesses of a paged guest that are not to one page of memory are done, and do not trap */
    u32 slow_tlb;    /* the `tlb` of such an access under way */
} IrInterp;

/* Runs f from its entry until it leaves. cpu->pc is set; returns TRAP_NONE for an exit, else the trap (cpu->trap_arg set).
 * cpu->pc and state are exact before every access, so a fault may abandon this function. */
TrapCode ir_interp(IrInterp *in, const IrFunc *f, Vcpu *cpu);

/* One floating-point operation on bit patterns, by softfp: the definition that interpreter and slow paths share. */
u64 ir_eval_fp(IrOp op, IrType type, IrType operand_type, unsigned aux, unsigned aux2, u64 a, u64 b, u64 c, u32 *flags);

#endif
