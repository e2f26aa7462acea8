/* SPDX-License-Identifier: Apache-2.0 */
/* Control and status registers [priv, "control and status registers"]. The number says who may access one (bits 9:8) and whether it is read-only
 * (11:10); the rest of the checks, the values and their legal bits are here. What generated code does by itself is in sem_priv.c. */
#include "machine/riscv/hart.h"
#include "isa/riscv/vector.h"
#include "machine/machine.h"
#include "machine/trace.h"

/* I, M, A, F, D, C, B, S, U, V; 64 bits. */
#define MISA (2ull << 62 | 1u << 21 | 1u << 8 | 1u << 12 | 1u << 0 | 1u << 5 | 1u << 3 | 1u << 2 | 1u << 1 | 1u << 18 | 1u << 20)
#define MSTATUS_WRITABLE (RV_SSTATUS_WRITABLE | RV_MIE | RV_MPIE | RV_MPP | RV_MPRV | RV_TVM | RV_TW | RV_TSR)
#define MEDELEG_WRITABLE 0xb3ffull
#define SENVCFG_WRITABLE (1 | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE | ENVCFG_PMM)
#define MENVCFG_WRITABLE (SENVCFG_WRITABLE | ENVCFG_ADUE | ENVCFG_PBMTE | ENVCFG_STCE)
#define COUNTERS 0xffffffffull

/* --- time and counters ------------------------------------------------------------------------------------ */

u64 hart_time(const Hart *h) { return machine_time(h->machine); }

void hart_look_at_timer(Hart *h) {
    u64 now = hart_time(h);
    h->sti = (h->menvcfg & ENVCFG_STCE) && now >= h->stimecmp;
    if (LIKELY(now < h->pmu.due)) return;
    pmu_count(h);
    pmu_turn(h);
}

u64 hart_due(const Hart *h) { return MIN(__atomic_load_n(&h->stimecmp, __ATOMIC_SEQ_CST), __atomic_load_n(&h->pmu.due, __ATOMIC_SEQ_CST)); }

void hart_set_timer(Hart *h, u64 when) {
    __atomic_store_n(&h->stimecmp, when, __ATOMIC_SEQ_CST);
    hart_look_at_timer(h);
    if (!h->sti) machine_wake_at(h->machine, when);
    hart_set_irq(h);
}

/* May the mode that runs read counter n? [priv, mcounteren, scounteren] */
static bool counter_allowed(const Hart *h, unsigned n) {
    if (h->s->priv == RV_M) return true;
    if (!(h->mcounteren >> n & 1)) return false;
    return h->s->priv == RV_S || (h->scounteren >> n & 1);
}

static bool envcfg_allows(const Hart *h, u64 bits) {
    if (h->s->priv == RV_M) return true;
    if (!(h->menvcfg & bits)) return false;
    return h->s->priv == RV_S || (h->senvcfg & bits);
}

void hart_set_allow(Hart *h) {
    u64 v = 0;
    if (counter_allowed(h, 1) && !h->counted) v |= RV_ALLOW_TIME; /* counted, it must be known where the instruction stands */
    if (envcfg_allows(h, ENVCFG_CBZE)) v |= RV_ALLOW_ZERO;
    if (envcfg_allows(h, ENVCFG_CBCFE)) v |= RV_ALLOW_CLEAN;
    if (envcfg_allows(h, ENVCFG_CBIE)) v |= RV_ALLOW_INVAL;
    h->s->allow = v;
}

/* --- status ------------------------------------------------------------------------------------------------ */

static void status_write(Hart *h, u64 v, u64 writable) {
    u64 old = h->s->mstatus;
    u64 next = (old & ~writable) | (v & writable);
    if ((next & RV_MPP) >> 11 == 2) next = (next & ~RV_MPP) | (old & RV_MPP); /* no such mode */
    h->s->mstatus = rv_with_sd(next);
    if ((old ^ next) & RV_MXR) hart_flush_all(h);
    if ((old ^ next) & (RV_MPRV | RV_MPP | RV_SUM)) hart_flush_set(h, RV_TLB_MPRV);
    hart_settle(h);
}

/* Interrupts that S-mode sees are those delegated to it. */
static void mie_write(Hart *h, u64 v, u64 writable) { h->mie = (h->mie & ~writable) | (v & writable); }
/* SSIP is set by other harts, too, and lives where they can do so. */
static void mip_write(Hart *h, u64 v, u64 writable) {
    if (writable & IRQ(IRQ_SSI)) {
        if (v & IRQ(IRQ_SSI)) __atomic_fetch_or(&h->lines, IRQ(IRQ_SSI), __ATOMIC_SEQ_CST);
        else __atomic_fetch_and(&h->lines, ~IRQ(IRQ_SSI), __ATOMIC_SEQ_CST);
        writable &= ~IRQ(IRQ_SSI);
    }
    h->mip = (h->mip & ~writable) | (v & writable);
}

static u64 mip_writable(const Hart *h, u32 csr) {
    if (csr == CSR_SIP) return h->mideleg & (IRQ(IRQ_SSI) | IRQ(IRQ_LCOFI));
    return IRQ(IRQ_SSI) | IRQ(IRQ_SEI) | IRQ(IRQ_LCOFI) | (h->menvcfg & ENVCFG_STCE ? 0 : IRQ(IRQ_STI));
}

/* --- floating point ---------------------------------------------------------------------------------------- */

static bool float_read(Hart *h, u32 csr, u64 *v) {
    u64 flags = engine_fflags_get(h->cpu), frm = h->s->user.frm & 7;
    if (!(h->s->mstatus & RV_FS)) return false;
    *v = csr == CSR_FFLAGS ? flags : csr == CSR_FRM ? frm : frm << 5 | flags;
    return true;
}

static bool float_write(Hart *h, u32 csr, u64 v) {
    if (!(h->s->mstatus & RV_FS)) return false;
    h->s->mstatus |= RV_FS | RV_SD;
    if (csr == CSR_FRM) h->s->user.frm = v & 7;
    else engine_fflags_set(h->cpu, v & 31);
    if (csr == CSR_FCSR) h->s->user.frm = v >> 5 & 7;
    return true;
}

/* --- vectors ------------------------------------------------------------------------------------------------- */

static bool vector_read(Hart *h, u32 csr, u64 *v) {
    const RvState *u = &h->s->user;
    if (!(h->s->mstatus & RV_VS)) return false;
    switch (csr) {
    case CSR_VSTART: *v = u->vstart; return true;
    case CSR_VXSAT: *v = u->vxsat; return true;
    case CSR_VXRM: *v = u->vxrm; return true;
    case CSR_VCSR: *v = riscv_vcsr(u); return true;
    case CSR_VL: *v = u->vl; return true;
    case CSR_VTYPE: *v = u->vtype; return true;
    case CSR_VLENB: *v = RV_VLENB; return true;
    }
    return false;
}

static bool vector_write(Hart *h, u32 csr, u64 v) {
    RvState *u = &h->s->user;
    if (!(h->s->mstatus & RV_VS)) return false;
    switch (csr) {
    case CSR_VSTART: riscv_vector_set(u, u->vl, u->vtype, v); break;
    case CSR_VXSAT: u->vxsat = v & 1; break;
    case CSR_VXRM: u->vxrm = v & 3; break;
    case CSR_VCSR: riscv_set_vcsr(u, v); break;
    default: return false;
    }
    h->s->mstatus |= RV_VS | RV_SD;
    return true;
}

/* --- message-signalled interrupts --------------------------------------------------------------------------- */

static bool indirect_read(Hart *h, ImsicFile file, u64 select, u64 *v) {
    if (select >= 0x30 && select <= 0x3f) { /* priorities of interrupts, all fixed [aia, "iprio"] */
        *v = 0;
        return !(select & 1);
    }
    return h->imsic && select >= 0x70 && select <= 0xff && imsic_read(h->imsic, h->id, file, (u32)select, v);
}

static bool indirect_write(Hart *h, ImsicFile file, u64 select, u64 v) {
    if (select >= 0x30 && select <= 0x3f) return !(select & 1);
    return h->imsic && select >= 0x70 && select <= 0xff && imsic_write(h->imsic, h->id, file, (u32)select, v);
}

/* mtopi, stopi: the interrupt that would be taken, of those for that mode: its number, and priority 1 [aia]. */
static u64 top_interrupt(Hart *h, u64 of) {
    u64 irq = hart_first_irq(hart_pending(h) & h->mie & of);
    return irq ? irq << 16 | 1 : 0;
}

/* ------------------------------------------------------------------------------------------------------------- */

/* Does mstateen0 let the mode that runs use what it has this bit for? [smstateen] */
static bool state_enabled(const Hart *h, u64 bit) { return h->s->priv == RV_M || (h->mstateen[0] & bit); }
/* The interrupt architecture's registers: there, and enabled. */
static bool aia_enabled(const Hart *h, u64 bit) { return h->imsic && state_enabled(h, bit); }

static bool satp_allowed(const Hart *h) { return h->s->priv == RV_M || !(h->s->mstatus & RV_TVM); }
/* stimecmp of S-mode is there if M-mode says so [sstc]. */
static bool timer_allowed(const Hart *h) { return h->s->priv == RV_M || ((h->menvcfg & ENVCFG_STCE) && (h->mcounteren & 2)); }

static bool read_counter(const Hart *h, u32 csr, u64 *v) {
    if (csr >= CSR_CYCLE && csr <= CSR_HPMCOUNTER31) {
        *v = csr == CSR_TIME ? hart_time(h) : pmu_read(h, csr - CSR_CYCLE);
        return counter_allowed(h, csr - CSR_CYCLE);
    }
    *v = pmu_read(h, csr - CSR_MCYCLE);
    return true;
}

/* sstateen0..3: nothing that this hart has is U-mode's to be denied, so they are zeros; bit 63 of the machine's says whether they can be seen. */
static bool is_sstateen(u32 csr) { return csr >= CSR_SSTATEEN0 && csr <= CSR_SSTATEEN3; }
static bool sstateen_allowed(const Hart *h, u32 csr) { return h->s->priv == RV_M || (h->mstateen[csr - CSR_SSTATEEN0] & STATEEN_SE); }

static bool read_supervisor(Hart *h, u32 csr, u64 *v) {
    RvSystem *s = h->s;
    switch (csr) {
    case CSR_SSTATUS: *v = s->mstatus & RV_SSTATUS; return true;
    case CSR_SIE: *v = h->mie & h->mideleg; return true;
    case CSR_SIP: hart_look_at_timer(h), *v = hart_pending(h) & h->mideleg; return true;
    case CSR_STVEC: *v = h->stvec; return true;
    case CSR_SCOUNTEREN: *v = h->scounteren; return true;
    case CSR_SENVCFG: *v = h->senvcfg; return state_enabled(h, STATEEN_ENVCFG);
    case CSR_SSCRATCH: *v = s->sscratch; return true;
    case CSR_SEPC: *v = s->sepc; return true;
    case CSR_SCAUSE: *v = s->scause; return true;
    case CSR_STVAL: *v = s->stval; return true;
    case CSR_STIMECMP: *v = h->stimecmp; return timer_allowed(h);
    case CSR_SISELECT: *v = h->siselect; return aia_enabled(h, STATEEN_CSRIND);
    case CSR_SIREG: return aia_enabled(h, STATEEN_CSRIND) && indirect_read(h, IMSIC_S, h->siselect, v);
    case CSR_STOPEI: *v = h->imsic ? imsic_top(h->imsic, h->id, IMSIC_S, false) : 0; return aia_enabled(h, STATEEN_IMSIC);
    case CSR_STOPI: *v = top_interrupt(h, h->mideleg); return aia_enabled(h, STATEEN_AIA);
    case CSR_SATP: *v = h->satp; return satp_allowed(h);
    case CSR_SCOUNTOVF: *v = pmu_overflows(h) & (s->priv == RV_M ? ~0ull : h->mcounteren); return true;
    }
    *v = 0;
    return is_sstateen(csr) && sstateen_allowed(h, csr);
}

static u64 event_read(const Hart *h, unsigned n) { return n < PMU_LEN ? h->pmu.event[n] : 0; }

static bool read_machine(Hart *h, u32 csr, u64 *v) {
    switch (csr) {
    case CSR_MSTATUS: *v = h->s->mstatus; return true;
    case CSR_MISA: *v = MISA; return true;
    case CSR_MEDELEG: *v = h->medeleg; return true;
    case CSR_MIDELEG: *v = h->mideleg; return true;
    case CSR_MIE: *v = h->mie; return true;
    case CSR_MIP: hart_look_at_timer(h), *v = hart_pending(h); return true;
    case CSR_MTVEC: *v = h->mtvec; return true;
    case CSR_MCOUNTEREN: *v = h->mcounteren; return true;
    case CSR_MENVCFG: *v = h->menvcfg; return true;
    case CSR_MCOUNTINHIBIT: *v = h->pmu.inhibit; return true;
    case CSR_MCYCLECFG: *v = h->pmu.event[PMU_CYCLE]; return true;
    case CSR_MINSTRETCFG: *v = h->pmu.event[PMU_INSTRET]; return true;
    case CSR_MSTATEEN0: case CSR_MSTATEEN1: case CSR_MSTATEEN2: case CSR_MSTATEEN3: *v = h->mstateen[csr - CSR_MSTATEEN0]; return true;
    case CSR_MSCRATCH: *v = h->mscratch; return true;
    case CSR_MEPC: *v = h->mepc; return true;
    case CSR_MCAUSE: *v = h->mcause; return true;
    case CSR_MTVAL: *v = h->mtval; return true;
    case CSR_MISELECT: *v = h->miselect; return h->imsic;
    case CSR_MIREG: return indirect_read(h, IMSIC_M, h->miselect, v);
    case CSR_MTOPEI: *v = h->imsic ? imsic_top(h->imsic, h->id, IMSIC_M, false) : 0; return h->imsic;
    case CSR_MTOPI: *v = top_interrupt(h, ~h->mideleg); return h->imsic;
    case CSR_MSECCFG: *v = h->mseccfg; return true;
    case CSR_MHARTID: *v = h->id; return true;
    case CSR_MVENDORID: case CSR_MARCHID: case CSR_MIMPID: case CSR_MCONFIGPTR: *v = 0; return true;
    }
    if (csr >= CSR_MHPMEVENT3 && csr <= CSR_MHPMEVENT31) return *v = event_read(h, csr - CSR_MHPMEVENT3 + PMU_FIRST), true;
    if (csr >= CSR_TSELECT && csr <= CSR_TCONTROL) return *v = csr == CSR_TINFO, true; /* the only trigger has the type 0: there is none [sdtrig] */
    if (csr >= CSR_PMPCFG0 && csr <= CSR_PMPADDR63 && !(csr < CSR_PMPADDR0 && (csr & 1))) return *v = pmp_csr_read(h, csr), true;
    return false;
}

static bool is_counter(u32 csr) { return (csr >= CSR_CYCLE && csr <= CSR_HPMCOUNTER31) || (csr >= CSR_MCYCLE && csr <= CSR_MHPMCOUNTER31 && csr != 0xb01 /* there is no mtime */); }

static bool accessible(const Hart *h, u32 csr) { return h->s->priv >= (csr >> 8 & 3); }

bool csr_read(Hart *h, u32 csr, u64 *v) {
    if (!accessible(h, csr)) return false;
    if (csr <= CSR_FCSR) return csr && float_read(h, csr, v);
    if (riscv_is_vector_csr(csr)) return vector_read(h, csr, v);
    if (is_counter(csr)) return read_counter(h, csr, v);
    return (csr >> 8 & 3) == 1 ? read_supervisor(h, csr, v) : read_machine(h, csr, v);
}

/* --- writing --------------------------------------------------------------------------------------------------- */

/* stvec, mtvec: direct or vectored. */
static void tvec_write(u64 *to, u64 v) {
    if ((v & 3) < 2) *to = v;
}

/* Some lengths of tags are reserved: then the old one stays. Addresses mean something else from now on. */
static void envcfg_write(Hart *h, u64 *to, u64 v, u64 writable) {
    if ((v & ENVCFG_PMM) == ENVCFG_PMM_RESERVED) writable &= ~ENVCFG_PMM;
    u64 old = *to;
    *to = (old & ~writable) | (v & writable);
    if ((old ^ *to) & (ENVCFG_PMM | ENVCFG_PBMTE | ENVCFG_ADUE)) hart_flush_all(h);
    hart_set_allow(h);
}

static void stateen_write(Hart *h, unsigned n, u64 v) {
    u64 aia = h->imsic ? STATEEN_CSRIND | STATEEN_AIA | STATEEN_IMSIC : 0;
    h->mstateen[n] = v & (n ? STATEEN_SE : STATEEN_SE | STATEEN_ENVCFG | aia);
}

static bool write_supervisor(Hart *h, u32 csr, u64 v) {
    RvSystem *s = h->s;
    switch (csr) {
    case CSR_SSTATUS: status_write(h, v, RV_SSTATUS_WRITABLE); return true;
    case CSR_SIE: mie_write(h, v, h->mideleg & (IRQ_S | IRQ_M)); break;
    case CSR_SIP: mip_write(h, v, mip_writable(h, csr)); break;
    case CSR_STVEC: tvec_write(&h->stvec, v); return true;
    case CSR_SCOUNTEREN: h->scounteren = v & COUNTERS; hart_set_allow(h); return true;
    case CSR_SENVCFG:
        if (!state_enabled(h, STATEEN_ENVCFG)) return false;
        envcfg_write(h, &h->senvcfg, v, SENVCFG_WRITABLE);
        return true;
    case CSR_SSCRATCH: s->sscratch = v; return true;
    case CSR_SEPC: s->sepc = v & ~1ull; return true;
    case CSR_SCAUSE: s->scause = v; return true;
    case CSR_STVAL: s->stval = v; return true;
    case CSR_STIMECMP:
        if (!timer_allowed(h)) return false;
        hart_set_timer(h, v);
        break;
    case CSR_SISELECT:
        if (!aia_enabled(h, STATEEN_CSRIND)) return false;
        h->siselect = v & 0xfff;
        return true;
    case CSR_SIREG: return aia_enabled(h, STATEEN_CSRIND) && indirect_write(h, IMSIC_S, h->siselect, v);
    case CSR_STOPEI:
        if (!aia_enabled(h, STATEEN_IMSIC)) return false;
        imsic_top(h->imsic, h->id, IMSIC_S, true);
        return true;
    case CSR_SATP:
        if (!satp_allowed(h)) return false;
        hart_new_satp(h, v);
        if (UNLIKELY(h->trace)) trace_satp(h);
        return true;
    default: return is_sstateen(csr) && sstateen_allowed(h, csr);
    }
    hart_set_irq(h);
    return true;
}

static bool write_machine(Hart *h, u32 csr, u64 v) {
    switch (csr) {
    case CSR_MSTATUS: status_write(h, v, MSTATUS_WRITABLE); return true;
    case CSR_MISA: return true;
    case CSR_MEDELEG: h->medeleg = v & MEDELEG_WRITABLE; return true;
    case CSR_MIDELEG: h->mideleg = v & IRQ_S; break;
    case CSR_MIE: mie_write(h, v, IRQ_S | IRQ_M); break;
    case CSR_MIP: mip_write(h, v, mip_writable(h, csr)); break;
    case CSR_MTVEC: tvec_write(&h->mtvec, v); return true;
    case CSR_MCOUNTEREN: h->mcounteren = v & COUNTERS; hart_set_allow(h); return true;
    case CSR_MENVCFG:
        envcfg_write(h, &h->menvcfg, v, MENVCFG_WRITABLE);
        hart_look_at_timer(h);
        break;
    case CSR_MCOUNTINHIBIT: pmu_write_inhibit(h, v); return true;
    case CSR_MCYCLECFG: pmu_write_event(h, PMU_CYCLE, v); return true;
    case CSR_MINSTRETCFG: pmu_write_event(h, PMU_INSTRET, v); return true;
    case CSR_MSTATEEN0: case CSR_MSTATEEN1: case CSR_MSTATEEN2: case CSR_MSTATEEN3: stateen_write(h, csr - CSR_MSTATEEN0, v); return true;
    case CSR_MSCRATCH: h->mscratch = v; return true;
    case CSR_MEPC: h->mepc = v & ~1ull; return true;
    case CSR_MCAUSE: h->mcause = v; return true;
    case CSR_MTVAL: h->mtval = v; return true;
    case CSR_MISELECT: h->miselect = v & 0xfff; return h->imsic;
    case CSR_MIREG: return indirect_write(h, IMSIC_M, h->miselect, v);
    case CSR_MTOPEI:
        if (h->imsic) imsic_top(h->imsic, h->id, IMSIC_M, true);
        return h->imsic;
    case CSR_MSECCFG: envcfg_write(h, &h->mseccfg, v, ENVCFG_PMM); return true;
    default:
        if (csr >= CSR_MHPMEVENT3 && csr <= CSR_MHPMEVENT31) return pmu_write_event(h, csr - CSR_MHPMEVENT3 + PMU_FIRST, v), true;
        if (csr >= CSR_TSELECT && csr <= CSR_TCONTROL) return true;
        if (is_counter(csr)) return pmu_write(h, csr - CSR_MCYCLE, v), true;
        return csr >= CSR_PMPCFG0 && csr <= CSR_PMPADDR63 && pmp_csr_write(h, csr, v);
    }
    hart_set_irq(h);
    return true;
}

bool csr_write(Hart *h, u32 csr, u64 v) {
    if (!accessible(h, csr) || csr >> 10 == 3) return false;
    if (csr <= CSR_FCSR) return csr && float_write(h, csr, v);
    if (riscv_is_vector_csr(csr)) return vector_write(h, csr, v);
    return (csr >> 8 & 3) == 1 ? write_supervisor(h, csr, v) : write_machine(h, csr, v);
}

bool csr_change_pending(Hart *h, u32 csr, u64 bits, bool set) {
    if (!accessible(h, csr)) return false;
    mip_write(h, set ? bits : 0, bits & mip_writable(h, csr));
    hart_set_irq(h);
    return true;
}
