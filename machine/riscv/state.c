/* SPDX-License-Identifier: Apache-2.0 */
/* A hart as bytes. Its registers are loaded by writing them as M-mode would, so nothing gets into them that an instruction could not put there. */
#include "machine/riscv/hart.h"
#include "isa/riscv/vector.h"

/* In this order: what others depend on comes first, addresses of PMP before the entries that may lock them. */
static const u16 registers[] = {
    CSR_MSTATUS, CSR_MENVCFG, CSR_MEDELEG, CSR_MIDELEG, CSR_MIE, CSR_MTVEC, CSR_MCOUNTEREN, CSR_MCOUNTINHIBIT, CSR_MSCRATCH, CSR_MEPC, CSR_MCAUSE, CSR_MTVAL, CSR_STVEC, CSR_SCOUNTEREN,
    CSR_SENVCFG, CSR_SSCRATCH, CSR_SEPC, CSR_SCAUSE, CSR_STVAL, CSR_SATP, CSR_STIMECMP, CSR_MCYCLECFG, CSR_MINSTRETCFG, CSR_MCYCLE, CSR_MINSTRET, CSR_MSECCFG, CSR_MSTATEEN0, CSR_MSTATEEN1, CSR_MSTATEEN2, CSR_MSTATEEN3, CSR_SISELECT, CSR_MISELECT,
    CSR_PMPADDR0, CSR_PMPADDR1, CSR_PMPADDR2, CSR_PMPADDR3, CSR_PMPADDR4, CSR_PMPADDR5, CSR_PMPADDR6, CSR_PMPADDR7, CSR_PMPADDR8, CSR_PMPADDR9, CSR_PMPADDR10, CSR_PMPADDR11,
    CSR_PMPADDR12, CSR_PMPADDR13, CSR_PMPADDR14, CSR_PMPADDR15, CSR_PMPCFG0, CSR_PMPCFG2,
};

static void register_state(Hart *h, State *s, u32 csr) {
    u64 v = 0;
    if (!s->loading) csr_read(h, csr, &v);
    state_u64(s, &v);
    if (s->loading) csr_write(h, csr, v);
}

static void registers_state(Hart *h, State *s) {
    for (unsigned k = 0; k < ARRAY_LEN(registers); k++) register_state(h, s, registers[k]);
    for (unsigned n = PMU_FIRST; n < PMU_LEN; n++) {
        register_state(h, s, CSR_MHPMEVENT3 + n - PMU_FIRST);
        register_state(h, s, CSR_MCYCLE + n);
    }
    state_u32(s, &h->pmu.configured);
    /* Of mip the bits that software set; devices set theirs themselves. */
    u64 pending = h->mip | (h->lines & IRQ(IRQ_SSI));
    state_u64(s, &pending);
    if (s->loading) csr_write(h, CSR_MIP, pending);
}

static void user_state(Hart *h, State *s) {
    RvState *u = &h->s->user;
    u32 flags = engine_fflags_get(h->cpu) & 31, frm = (u32)u->frm & 7;
    state_bytes(s, u->x, sizeof u->x);
    state_bytes(s, u->f, sizeof u->f);
    state_below(s, &frm, 8);
    state_below(s, &flags, 32);
    state_u64(s, &h->cpu->pc);
    if (!s->loading) return;
    u->x[0] = 0;
    u->frm = frm;
    h->cpu->pc &= ~1ull;
    u->resv_addr = RV_NO_RESERVATION;
    engine_fflags_set(h->cpu, flags);
}

static void vector_state(Hart *h, State *s) {
    RvState *u = &h->s->user;
    u64 vl = u->vl, vtype = u->vtype, vstart = u->vstart, vcsr = riscv_vcsr(u);
    state_bytes(s, u->v, sizeof u->v);
    state_u64(s, &vl);
    state_u64(s, &vtype);
    state_u64(s, &vstart);
    state_u64(s, &vcsr);
    if (!s->loading) return;
    riscv_vector_set(u, vl, vtype, vstart);
    riscv_set_vcsr(u, vcsr);
}

static void run_state(Hart *h, State *s) {
    u32 state = h->state;
    state_below(s, &state, HART_SUSPENDED + 1);
    h->state = state;
    state_u64(s, &h->start_pc);
    state_u64(s, &h->start_arg);
    state_u64(s, &h->random);
}

u64 hart_digest(const Hart *h) {
    const RvSystem *s = h->s;
    const u64 rest[] = {s->user.frm, s->user.resv_addr, s->user.resv_value, s->priv, s->mstatus, s->sscratch, s->sepc, s->scause, s->stval, h->cpu->pc, engine_fflags_get(h->cpu), h->mie, h->mip, h->lines,
                        h->satp, h->stimecmp, s->user.vl, s->user.vtype, s->user.vstart, riscv_vcsr(&s->user)};
    u64 d = hash_bytes(s->user.x, sizeof s->user.x, 0);
    d = hash_bytes(s->user.f, sizeof s->user.f, d);
    d = hash_bytes(s->user.v, sizeof s->user.v, d);
    return hash_bytes(rest, sizeof rest, d);
}

/* The hart does not run. */
void hart_state(Hart *h, State *s) {
    u32 priv = (u32)h->s->priv;
    if (s->loading) hart_reset(h);
    user_state(h, s);
    vector_state(h, s);
    h->s->priv = RV_M;
    registers_state(h, s);
    state_below(s, &priv, RV_M + 1);
    if (priv == RV_M_MPRV) state_bad(s), priv = RV_M;
    h->s->priv = priv;
    run_state(h, s);
    hart_settle(h);
}
