/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions and interrupts in, sret and mret out [priv, "supervisor trap handling", "machine-level ISA"]. */
#include "machine/riscv/hart.h"
#include "machine/trace.h"

/* --- interrupts ----------------------------------------------------------------------------------------- */

u64 hart_pending(Hart *h) {
    u64 v = h->mip | __atomic_load_n(&h->lines, __ATOMIC_SEQ_CST);
    if (h->sti) v |= IRQ(IRQ_STI);
    return v;
}

void hart_set_irq(Hart *h) { h->s->irq = (hart_pending(h) & h->mie & h->mideleg) != 0; }

unsigned hart_first_irq(u64 pending) {
    static const u8 order[] = {IRQ_MEI, IRQ_MSI, IRQ_MTI, IRQ_SEI, IRQ_SSI, IRQ_STI, IRQ_LCOFI};
    for (unsigned k = 0; k < ARRAY_LEN(order); k++)
        if (pending >> order[k] & 1) return order[k];
    return 0;
}

bool hart_interrupt(Hart *h) {
    u64 pending = hart_pending(h) & h->mie;
    if (LIKELY(!pending)) {
        h->s->irq = 0;
        return false;
    }
    u64 priv = h->s->priv, status = h->s->mstatus;
    u64 to_m = pending & ~h->mideleg, to_s = pending & h->mideleg;
    h->s->irq = to_s != 0;
    if (priv == RV_M && !(status & RV_MIE)) to_m = 0;
    if (priv == RV_M || (priv == RV_S && !(status & RV_SIE))) to_s = 0;
    u64 take = to_m ? to_m : to_s;
    if (!take) return false;
    hart_raise(h, CAUSE_INTERRUPT | hart_first_irq(take), 0);
    return true;
}

/* --- in --------------------------------------------------------------------------------------------------- */

static bool delegated(const Hart *h, u64 cause) {
    u64 n = cause & ~CAUSE_INTERRUPT;
    return h->s->priv <= RV_S && ((cause & CAUSE_INTERRUPT ? h->mideleg : h->medeleg) >> n & 1);
}

static u64 vector(u64 tvec, u64 cause) {
    u64 base = tvec & ~3ull;
    return (tvec & 3) == 1 && (cause & CAUSE_INTERRUPT) ? base + 4 * (cause & ~CAUSE_INTERRUPT) : base;
}

static void enter_s(Hart *h, u64 cause, u64 tval) {
    RvSystem *s = h->s;
    s->scause = cause;
    s->sepc = h->cpu->pc;
    s->stval = tval;
    u64 status = s->mstatus & ~(RV_SPP | RV_SPIE | RV_SIE);
    if (s->priv == RV_S) status |= RV_SPP;
    if (s->mstatus & RV_SIE) status |= RV_SPIE;
    s->mstatus = status;
    s->priv = RV_S;
    h->cpu->pc = vector(h->stvec, cause);
}

static void enter_m(Hart *h, u64 cause, u64 tval) {
    RvSystem *s = h->s;
    h->mcause = cause;
    h->mepc = h->cpu->pc;
    h->mtval = tval;
    u64 status = s->mstatus & ~(RV_MPP | RV_MPIE | RV_MIE);
    status |= s->priv << 11;
    if (s->mstatus & RV_MIE) status |= RV_MPIE;
    s->mstatus = status;
    s->priv = RV_M;
    h->cpu->pc = vector(h->mtvec, cause);
}

void hart_raise(Hart *h, u64 cause, u64 tval) {
    u64 from = h->s->priv, epc = h->cpu->pc;
    h->traps += !(cause & CAUSE_INTERRUPT);
    if (delegated(h, cause)) enter_s(h, cause, tval);
    else enter_m(h, cause, tval);
    h->s->user.resv_addr = RV_NO_RESERVATION;
    hart_settle(h);
    if (UNLIKELY(h->trace)) trace_trap(h, from, cause, epc, tval);
}

/* --- out --------------------------------------------------------------------------------------------------- */

void hart_sret(Hart *h) {
    RvSystem *s = h->s;
    u64 status = s->mstatus;
    s->priv = status & RV_SPP ? RV_S : RV_U;
    s->mstatus = (status & ~(RV_SIE | RV_SPP | RV_MPRV)) | (status & RV_SPIE ? RV_SIE : 0) | RV_SPIE;
    h->cpu->pc = s->sepc;
    s->user.resv_addr = RV_NO_RESERVATION;
    hart_settle(h);
    if (UNLIKELY(h->trace)) trace_return(h, RV_S);
}

void hart_mret(Hart *h) {
    RvSystem *s = h->s;
    u64 status = s->mstatus, to = (status & RV_MPP) >> 11;
    s->priv = to;
    s->mstatus = (status & ~(RV_MIE | RV_MPP)) | (status & RV_MPIE ? RV_MIE : 0) | RV_MPIE;
    if (to != RV_M) s->mstatus &= ~RV_MPRV;
    h->cpu->pc = h->mepc;
    s->user.resv_addr = RV_NO_RESERVATION;
    hart_settle(h);
    if (UNLIKELY(h->trace)) trace_return(h, RV_M);
}
