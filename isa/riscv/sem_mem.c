/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: integer loads and stores, A, Zacas, Zabha, cache blocks. Plain accesses may be misaligned; atomics may
 * not [unpriv a]: there is no Zama16b here, and Linux turns the trap into SIGBUS. */
#include "isa/riscv/sem.h"

SEM(lb) { RD(ir_loads(b, 8, rs1, i->imm)); }
SEM(lh) { RD(ir_loads(b, 16, rs1, i->imm)); }
SEM(lw) { RD(ir_loads(b, 32, rs1, i->imm)); }
SEM(ld) { RD(ir_loadu(b, 64, rs1, i->imm)); }
SEM(lbu) { RD(ir_loadu(b, 8, rs1, i->imm)); }
SEM(lhu) { RD(ir_loadu(b, 16, rs1, i->imm)); }
SEM(lwu) { RD(ir_loadu(b, 32, rs1, i->imm)); }
SEM(sb) { ir_store(b, 8, rs1, i->imm, rs2); }
SEM(sh) { ir_store(b, 16, rs1, i->imm, rs2); }
SEM(sw) { ir_store(b, 32, rs1, i->imm, rs2); }
SEM(sd) { ir_store(b, 64, rs1, i->imm, rs2); }

static unsigned access_bits(const RvInsn *i) { return riscv_ops[i->op].access_size * 8u; }

/* The reservation is an address and the value that lr saw there. A store-conditional compares and swaps:
 * it can't tell a value that came back (A-B-A) from one that never changed, which no lr/sc loop of real programs minds
 * and every other emulator shares; docs/caveats.md says so. */
SEM(lr) {
    ir_align(b, access_bits(i) / 8, rs1);
    Ref v = ir_loads(b, access_bits(i), rs1, 0);
    if (i->aq) ir_set_order(b, IR_ACQUIRE);
    ir_put(b, SLOT_RESV_ADDR, rs1);
    ir_put(b, SLOT_RESV_VALUE, v);
    RD(v);
}
SEM(sc) {
    ir_align(b, access_bits(i) / 8, rs1);
    Ref failed = ir_sc(b, access_bits(i), rs1, rs2, SLOT_RESV_ADDR, SLOT_RESV_VALUE);
    ir_put(b, SLOT_RESV_ADDR, ir_i64(b, RV_NO_RESERVATION));
    RD(failed);
}

/* All are sequentially consistent, whatever aq and rl say: on the hosts that we have, that is free. */
static void amo(IrBuilder *b, const RvInsn *i, AmoOp op, Ref addr, Ref v) {
    unsigned bits = access_bits(i);
    ir_align(b, bits / 8, addr);
    RD(ir_sext(b, bits, ir_amo(b, op, bits, addr, v)));
}
SEM(amoswap) { amo(b, i, AMO_SWAP, rs1, rs2); }
SEM(amoadd) { amo(b, i, AMO_ADD, rs1, rs2); }
SEM(amoxor) { amo(b, i, AMO_XOR, rs1, rs2); }
SEM(amoand) { amo(b, i, AMO_AND, rs1, rs2); }
SEM(amoor) { amo(b, i, AMO_OR, rs1, rs2); }
SEM(amomin) { amo(b, i, AMO_MINS, rs1, rs2); }
SEM(amomax) { amo(b, i, AMO_MAXS, rs1, rs2); }
SEM(amominu) { amo(b, i, AMO_MINU, rs1, rs2); }
SEM(amomaxu) { amo(b, i, AMO_MAXU, rs1, rs2); }

SEM(amocas) {
    unsigned bits = access_bits(i);
    ir_align(b, bits / 8, rs1);
    RD(ir_sext(b, bits, ir_cas(b, bits, rs1, rs3, rs2)));
}
/* The register pairs are the helper's business. */
SEM(amocas_q) {
    ir_align(b, 16, rs1);
    Ref at = ir_address(b, 16, TLB_WRITE | TLB_ATOMIC, rs1, 0);
    Ref rd = ir_i64(b, i->rd);
    Ref from = ir_i64(b, i->rs2);
    CALL3(amocas_q, at, rd, from);
}

/* Blocks of 64 bytes (hwprobe tells). Clean and flush touch the block, so that a bad address faults; the host's caches
 * are coherent. Linux does not let user programs invalidate. */
enum { CACHE_BLOCK = 64 };
SEM(cbo_inval) {
    sem_need(b, RV_ALLOW_INVAL);
    if (b->guest->paged) ir_loadu(b, 8, rs1, 0);
    else sem_illegal(b, i);
}
SEM(cbo_clean) {
    sem_need(b, RV_ALLOW_CLEAN);
    ir_loadu(b, 8, rs1, 0);
}
SEM(cbo_flush) {
    sem_need(b, RV_ALLOW_CLEAN);
    ir_loadu(b, 8, rs1, 0);
}
SEM(cbo_zero) {
    sem_need(b, RV_ALLOW_ZERO);
    Ref block = ir_imm(b, IR_and, rs1, -(u64)CACHE_BLOCK);
    Ref to = ir_address(b, CACHE_BLOCK, TLB_WRITE | TLB_ATOMIC, block, 0);
    Ref zero = ir_i64(b, 0);
    for (unsigned at = 0; at < CACHE_BLOCK; at += 8) ir_emit(b, IR_store, IR_VOID, 3, 0, to, zero, (Ref){0}, at);
}
