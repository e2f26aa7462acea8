/* SPDX-License-Identifier: Apache-2.0 */
/* A hart as bytes. Its registers are loaded by writing them as M-mode would, so nothing gets into them that an instruction could not put there. */
#include "machine/riscv/hart.h"

/* In this order: what others depend on comes first, addresses of PMP before the entries that may lock them. */
static const u16 registers[] = {
    0x300 /* mstatus */, 0x30a /* menvcfg */, 0x302 /* medeleg */, 0x303 /* mideleg */, 0x304 /* mie */, 0x305 /* mtvec */, 0x306 /* mcounteren */,
    0x320 /* mcountinhibit */, 0x340 /* mscratch */, 0x341 /* mepc */, 0x342 /* mcause */, 0x343 /* mtval */, 0x105 /* stvec */, 0x106 /* scounteren */,
    0x10a /* senvcfg */, 0x140 /* sscratch */, 0x141 /* sepc */, 0x142 /* scause */, 0x143 /* stval */, 0x180 /* satp */, 0x14d /* stimecmp */,
    0xb00 /* mcycle */, 0xb02 /* minstret */, 0x150 /* siselect */, 0x350 /* miselect */,
    0x3b0, 0x3b1, 0x3b2, 0x3b3, 0x3b4, 0x3b5, 0x3b6, 0x3b7, 0x3b8, 0x3b9, 0x3ba, 0x3bb, 0x3bc, 0x3bd, 0x3be, 0x3bf /* pmpaddr */, 0x3a0, 0x3a2 /* pmpcfg */,
};
enum { CSR_MIP = 0x344 };

static void registers_state(Hart *h, State *s) {
    for (unsigned k = 0; k < ARRAY_LEN(registers); k++) {
        u64 v = 0;
        if (!s->loading) csr_read(h, registers[k], &v);
        state_u64(s, &v);
        if (s->loading) csr_write(h, registers[k], v);
    }
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
                        h->satp, h->stimecmp};
    u64 d = hash_bytes(s->user.x, sizeof s->user.x, 0);
    d = hash_bytes(s->user.f, sizeof s->user.f, d);
    return hash_bytes(rest, sizeof rest, d);
}

/* The hart does not run. */
void hart_state(Hart *h, State *s) {
    u32 priv = (u32)h->s->priv;
    if (s->loading) hart_reset(h);
    user_state(h, s);
    h->s->priv = RV_M;
    registers_state(h, s);
    state_below(s, &priv, RV_M + 1);
    if (priv == RV_M_MPRV) state_bad(s), priv = RV_M;
    h->s->priv = priv;
    run_state(h, s);
    hart_settle(h);
}
