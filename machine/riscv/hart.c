/* SPDX-License-Identifier: Apache-2.0 */
/* A hart's loop: runs the engine until that comes back, and does what it came back for. */
#include "machine/riscv/hart.h"
#include "base/sys.h"
#include "isa/riscv/vector.h"
#include "machine/counted.h"
#include "machine/machine.h"
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

/* --- making ------------------------------------------------------------------------------------------------ */

void hart_reset(Hart *h) {
    RvSystem *s = h->s;
    memset(s, 0, sizeof *s);
    memset(&h->mie, 0, offsetof(Hart, cause) - offsetof(Hart, mie));
    h->cpu->fflags = 0;
    s->user.resv_addr = RV_NO_RESERVATION;
    riscv_vector_reset(&s->user);
    s->priv = RV_M;
    s->mstatus = 2ull << 32 | 2ull << 34; /* UXL, SXL: 64 bits */
    __atomic_store_n(&h->stimecmp, ~0ull, __ATOMIC_SEQ_CST);
    h->pmp = !machine_has_sbi(h->machine);
    h->sbi = !h->pmp;
    h->menvcfg = ENVCFG_ADUE;
    pmu_reset(h);
    hart_flush_all(h);
    hart_settle(h);
}

/* Where there is no firmware: what it would have done before it enters S-mode. */
static void enter_supervisor(Hart *h, u64 pc, u64 arg) {
    hart_reset(h);
    h->s->priv = RV_S;
    h->mideleg = IRQ_S;
    h->medeleg = ~(u64)(1u << CAUSE_ECALL_S | 1u << CAUSE_ECALL_M) & 0xffff;
    h->mcounteren = ~0u;
    h->scounteren = 7; /* as firmware leaves it, and Linux expects: time is read without a call */
    for (unsigned k = 0; k < ARRAY_LEN(h->mstateen); k++) h->mstateen[k] = ~0ull;
    h->menvcfg = ENVCFG_ADUE | ENVCFG_STCE | ENVCFG_PBMTE | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE;
    h->cpu->pc = pc;
    hart_x(h)[10] = h->id;
    hart_x(h)[11] = arg;
    hart_settle(h);
}

static void enter_firmware(Hart *h, const BoardStart *start) {
    hart_reset(h);
    h->cpu->pc = start->pc;
    hart_x(h)[10] = h->id;
    hart_x(h)[11] = start->fdt;
    hart_x(h)[12] = start->info;
}

Hart *hart_new(Machine *m, u32 id) {
    Hart *h = sys_mmap(NULL, align_up(sizeof *h, PAGE_BYTES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(h)) return NULL;
    h->machine = m;
    h->id = id;
    h->memory = machine_memory(m);
    h->imsic = machine_imsic(m);
    h->cpu = engine_vcpu_new(machine_engine(m), NULL);
    if (!h->cpu) {
        sys_munmap(h, align_up(sizeof *h, PAGE_BYTES));
        return NULL;
    }
    h->counted = machine_counted(m);
    if (!h->counted && getrandom(&h->random, sizeof h->random, 0) != sizeof h->random) h->random = hart_time(h) ^ (u64)h;
    h->cpu->owner = h;
    h->cpu->mmu = &hart_mmu;
    h->s = (RvSystem *)h->cpu->state;
    h->state = HART_STOPPED;
    h->stimecmp = h->pmu.due = ~0ull;
    return h;
}

void hart_drop(Hart *h) {
    if (!h) return;
    engine_vcpu_drop(h->cpu);
    sys_munmap(h, align_up(sizeof *h, PAGE_BYTES));
}

void hart_settle(Hart *h) {
    if (UNLIKELY(h->pmu.filtered)) pmu_count(h), pmu_turn(h);
    h->cpu->context = h->context_of[h->s->priv];
    hart_set_allow(h);
    hart_set_irq(h);
}

/* --- other threads -------------------------------------------------------------------------------------------- */

static void poke(Hart *h) {
    __atomic_add_fetch(&h->wake, 1, __ATOMIC_SEQ_CST);
    sys_futex(&h->wake, FUTEX_WAKE_PRIVATE, 1, NULL);
    engine_kick(h->cpu);
}

void hart_ask(Hart *h, u32 what) {
    u32 old = __atomic_fetch_or(&h->requests, what, __ATOMIC_SEQ_CST);
    if ((old & what) != what) poke(h);
}

void hart_line(Hart *h, unsigned irq, bool level) {
    u64 bit = IRQ(irq), old;
    if (level) old = __atomic_fetch_or(&h->lines, bit, __ATOMIC_SEQ_CST);
    else old = __atomic_fetch_and(&h->lines, ~bit, __ATOMIC_SEQ_CST);
    if (level && !(old & bit)) hart_ask(h, ASK_LOOK);
}

static bool is_past(Hart *h, u32 what) {
    if (!__atomic_load_n(&h->running, __ATOMIC_SEQ_CST)) return true; /* it will look before it runs */
    return !(__atomic_load_n(&h->requests, __ATOMIC_SEQ_CST) & what) && !(__atomic_load_n(&h->busy, __ATOMIC_SEQ_CST) & what);
}

/* Who waits answers meanwhile, or two that wait for each other would do so for ever. */
void hart_wait_all(Machine *m, u64 base, u64 mask, u32 what, Hart *self) {
    for (u32 k = 0; k < machine_hart_count(m); k++) {
        Hart *h = machine_hart(m, k);
        while (h != self && hart_named(base, mask, k) && !is_past(h, what)) {
            if (self) hart_answer(self);
            sys_call(SYS_sched_yield);
        }
    }
}

void hart_ask_fence(Hart *h, const Fence *f) {
    lock_take(&h->fence_lock);
    if (h->fence_count < FENCES) h->fences[h->fence_count] = *f;
    if (h->fence_count <= FENCES) h->fence_count++;
    lock_give(&h->fence_lock);
    hart_ask(h, ASK_FENCE);
}

static void do_fences(Hart *h) {
    lock_take(&h->fence_lock);
    if (h->fence_count > FENCES) hart_flush_all(h);
    else
        for (u32 k = 0; k < h->fence_count; k++) hart_fence_range(h, &h->fences[k]);
    h->fence_count = 0;
    lock_give(&h->fence_lock);
}

/* A request is taken back before it is met, so that none is lost, and stands in `busy` until it has been. */
void hart_answer(Hart *h) {
    u32 what = __atomic_load_n(&h->requests, __ATOMIC_SEQ_CST) & ~ASK_STOP;
    u64 epoch = machine_code_epoch(h->machine);
    __atomic_store_n(&h->busy, what, __ATOMIC_SEQ_CST);
    __atomic_fetch_and(&h->requests, ~what, __ATOMIC_SEQ_CST);
    hart_look_at_timer(h);
    if (what & ASK_FLUSH) hart_flush_all(h);
    if (what & ASK_WRITES) hart_flush_writes(h);
    if (what & ASK_FENCE) do_fences(h);
    __atomic_store_n(&h->busy, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&h->acked, epoch, __ATOMIC_SEQ_CST);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/* Until something happens, or guest time `until` has come. `seen`: Hart.wake before the last look at what might have happened. */
static void sleep_until(Hart *h, u32 seen, u64 until) {
    u64 now = hart_time(h);
    if (now >= until) return;
    u64 ticks = MIN(until - now, (u64)PLATFORM_HZ * 3600);
    struct timespec t = {.tv_sec = (time_t)(ticks / PLATFORM_HZ), .tv_nsec = (long)(ticks % PLATFORM_HZ * (1000000000u / PLATFORM_HZ))};
    sys_futex(&h->wake, FUTEX_WAIT_PRIVATE, seen, &t);
}

/* Before the last look at what might have happened: who asks after this changes Hart.wake. (hart_ask wakes nobody who has been asked the same already; a hart that
 * went to sleep with that unmet would never wake.) */
static u32 ready_to_sleep(Hart *h) {
    u32 seen = __atomic_load_n(&h->wake, __ATOMIC_SEQ_CST);
    __atomic_fetch_and(&h->requests, ~(u32)ASK_LOOK, __ATOMIC_SEQ_CST);
    return seen;
}

/* It may end any time: it does when something has come in, whatever that is. */
static void wait_counted(Hart *h) {
    u32 seen = ready_to_sleep(h);
    hart_look_at_timer(h);
    if (!(hart_pending(h) & h->mie)) counted_idle(h->counted, seen);
}

/* wfi: until an interrupt is pending that is enabled one by one, whatever the global enables say [priv, wfi]. */
static void wait_for_interrupt(Hart *h) {
    if (h->counted) {
        wait_counted(h);
        return;
    }
    __atomic_store_n(&h->running, 0, __ATOMIC_SEQ_CST);
    pmu_wait(h, true);
    for (;;) {
        u32 seen = ready_to_sleep(h);
        hart_look_at_timer(h);
        if ((hart_pending(h) & h->mie) || (__atomic_load_n(&h->requests, __ATOMIC_SEQ_CST) & ~ASK_LOOK)) break;
        bool timer = (h->menvcfg & ENVCFG_STCE) && (h->mie & IRQ(IRQ_STI));
        sleep_until(h, seen, timer ? h->stimecmp : ~0ull);
    }
    pmu_wait(h, false);
}

static void start(Hart *h) {
    const BoardStart *start = machine_start(h->machine);
    if (start->machine_mode) enter_firmware(h, start);
    else enter_supervisor(h, h->start_pc, h->start_arg);
    __atomic_store_n(&h->state, HART_STARTED, __ATOMIC_SEQ_CST);
}

static void wait_for_start(Hart *h) {
    __atomic_store_n(&h->running, 0, __ATOMIC_SEQ_CST);
    u32 seen = ready_to_sleep(h);
    if (__atomic_load_n(&h->requests, __ATOMIC_SEQ_CST) & ASK_STOP) return;
    u32 state = __atomic_load_n(&h->state, __ATOMIC_SEQ_CST);
    if (state == HART_STOPPED) {
        if (h->counted) counted_stand(h->counted, seen);
        else sleep_until(h, seen, ~0ull);
        return;
    }
    start(h);
}

/* --- privileged instructions -------------------------------------------------------------------------------------- */

static void illegal(Hart *h, u32 bits) { hart_raise(h, CAUSE_ILLEGAL, bits); }

/* [unpriv zicsr]: what looks like a write of nothing is none. */
static bool do_csr(Hart *h, const RvInsn *i, bool immediate, unsigned how) {
    u64 *x = hart_x(h), old = 0, v = immediate ? i->rs1 : x[i->rs1], bits = v;
    bool reads = how != 0 || i->rd, writes = how == 0 || i->rs1;
    u32 csr = i->imm & 0xfff;
    if (reads && !csr_read(h, csr, &old)) return false;
    if (how == 1) v = old | v;
    if (how == 2) v = old & ~v;
    bool part = how && (csr == CSR_MIP || csr == CSR_SIP);
    if (writes && !(part ? csr_change_pending(h, csr, bits, how == 1) : csr_write(h, csr, v))) return false;
    if (i->rd) x[i->rd] = old;
    return true;
}

static bool do_sret(Hart *h) {
    if (h->s->priv == RV_U || (h->s->priv == RV_S && (h->s->mstatus & RV_TSR))) return false;
    hart_sret(h);
    h->cpu->pc -= 4; /* the caller goes on behind it */
    return true;
}

static bool do_mret(Hart *h) {
    if (h->s->priv != RV_M) return false;
    hart_mret(h);
    h->cpu->pc -= 4;
    return true;
}

/* In U-mode it would have to end within a bounded time: it does not begin. */
static bool do_wfi(Hart *h) {
    if (h->s->priv == RV_U || (h->s->priv == RV_S && (h->s->mstatus & RV_TW))) return false;
    wait_for_interrupt(h);
    return true;
}

static bool do_fence(Hart *h, const RvInsn *i) {
    if (h->s->priv == RV_U || (h->s->priv == RV_S && (h->s->mstatus & RV_TVM))) return false;
    hart_fence(h, i->rs1, hart_x(h)[i->rs1], i->rs2, hart_x(h)[i->rs2] & 0xffff);
    return true;
}

/* The fields of mstatus that say whether it may be done. */
static u64 state_used(const RvInsn *i) {
    const RvOpInfo *op = &riscv_ops[i->op];
    u64 used = (op->facts & RV_IS_VECTOR ? RV_VS : 0) | (op->facts & RV_IS_FP ? RV_FS : 0);
    for (unsigned k = 0; k < 4; k++)
        if (op->file[k] == RV_FILE_F) used |= RV_FS;
    return used;
}

/* Floating point or vectors, while their state is not dirty: it will be, unless it is off. */
static bool do_dirty(Hart *h, u64 used) {
    u64 status = h->s->mstatus;
    if (!used || ((used & RV_FS) && !(status & RV_FS)) || ((used & RV_VS) && !(status & RV_VS))) return false;
    h->s->mstatus = rv_with_sd(status | used);
    h->traps++; /* it will be begun once more */
    h->cpu->pc -= 4;
    return true;
}

static bool do_privileged(Hart *h, const RvInsn *i) {
    switch (i->op) {
    case RV_csrrw: return do_csr(h, i, false, 0);
    case RV_csrrs: return do_csr(h, i, false, 1);
    case RV_csrrc: return do_csr(h, i, false, 2);
    case RV_csrrwi: return do_csr(h, i, true, 0);
    case RV_csrrsi: return do_csr(h, i, true, 1);
    case RV_csrrci: return do_csr(h, i, true, 2);
    case RV_sret: return do_sret(h);
    case RV_mret: return do_mret(h);
    case RV_wfi: return do_wfi(h);
    case RV_sfence_vma: case RV_sinval_vma: return do_fence(h, i);
    case RV_sfence_w_inval: case RV_sfence_inval_ir: return h->s->priv != RV_U;
    }
    return do_dirty(h, state_used(i));
}

/* All of them are 4 bytes long but compressed loads and stores of floating point, which are done again. */
static void privileged(Hart *h, u32 bits) {
    RvInsn i;
    if (riscv_decode(bits, &i) && do_privileged(h, &i)) h->cpu->pc += 4;
    else illegal(h, bits);
}

static void environment_call(Hart *h) {
    unsigned priv = (unsigned)h->s->priv;
    if (priv == RV_S && h->sbi) sbi_call(h);
    else hart_raise(h, CAUSE_ECALL_U + priv, 0);
}

/* The instruction at pc; 0 if it is not there any more. */
static u32 instruction(Hart *h) {
    EnginePage page, next;
    u32 bits = 0, at = h->cpu->pc & (PAGE_BYTES - 1);
    if (hart_page(NULL, h->cpu, h->cpu->pc, &page) != TRAP_NONE) return 0;
    memcpy(&bits, page.bytes + at, MIN(4u, PAGE_BYTES - at));
    if (at > PAGE_BYTES - 4 && riscv_insn_len(bits) == 4 && hart_page(NULL, h->cpu, h->cpu->pc + 2, &next) == TRAP_NONE) memcpy((u8 *)&bits + 2, next.bytes, 2);
    return riscv_insn_len(bits) == 2 ? (u16)bits : bits;
}

/* Only atomics are: lr loads, the others store. */
static void misaligned(Hart *h) {
    RvInsn i;
    riscv_decode(instruction(h), &i);
    bool load = i.op == RV_lr_w || i.op == RV_lr_d;
    hart_raise(h, load ? CAUSE_LOAD_MISALIGNED : CAUSE_STORE_MISALIGNED, hart_masked(h, hart_x(h)[i.rs1]));
}

static void act(Hart *h, TrapCode trap) {
    switch (trap) {
    case TRAP_SYSCALL: environment_call(h); break;
    case TRAP_BREAKPOINT:
        if (machine_breakpoint(h->machine, h->id, h->cpu->pc)) h->cpu->budget++; /* it is not in the program */
        else hart_raise(h, CAUSE_BREAKPOINT, h->cpu->pc);
        break;
    case TRAP_ILLEGAL: illegal(h, (u32)h->cpu->trap_arg); break;
    case TRAP_PRIV: privileged(h, h->cpu->trap_arg ? (u32)h->cpu->trap_arg : instruction(h)); break; /* conditional traps do not tell */
    case TRAP_MISALIGNED: misaligned(h); break;
    case TRAP_FENCE_I:
        machine_fence_i(h->machine);
        h->cpu->pc += 4;
        break;
    case TRAP_FETCH: h->cpu->budget--; /* begun, if in vain: else a handler that is not there would never end */ /* fallthrough */
    case TRAP_FAULT: hart_raise(h, h->cause, h->tval); break;
    case TRAP_SLOW: hart_slow_access(h); break;
    case TRAP_WAIT:
        if (h->counted) counted_pause(h->counted);
        else sys_call(SYS_sched_yield);
        break;
    case TRAP_RETRY:
    case TRAP_POLL:
    case TRAP_NONE:
    case TRAP_MODE: break;
    }
}

/* One instruction, for a debugger: interrupts wait. A hart that does not run yet begins to, if it is to. */
void hart_step(Hart *h) {
    if (h->counted) counted_enter(h->counted);
    if (h->state == HART_STARTED) {
        if (h->counted) counted_look(h->counted);
        hart_answer(h);
        if (!h->counted || !hart_interrupt(h)) act(h, engine_step(h->cpu)); /* counted, it does what it must */
    } else if (h->state == HART_START_PENDING) {
        start(h);
    }
    if (h->counted) counted_leave(h->counted);
}

void hart_run(Hart *h) {
    if (h->counted) counted_enter(h->counted);
    for (;;) {
        if (__atomic_load_n(&h->state, __ATOMIC_SEQ_CST) != HART_STARTED) wait_for_start(h);
        __atomic_store_n(&h->running, 1, __ATOMIC_SEQ_CST);
        if (h->counted) counted_look(h->counted);
        if (UNLIKELY(__atomic_load_n(&h->requests, __ATOMIC_SEQ_CST))) hart_answer(h);
        if (UNLIKELY(__atomic_load_n(&h->requests, __ATOMIC_SEQ_CST) & ASK_STOP)) break;
        if (__atomic_load_n(&h->state, __ATOMIC_SEQ_CST) != HART_STARTED) continue;
        hart_interrupt(h);
        act(h, engine_run(h->cpu));
    }
    __atomic_store_n(&h->running, 0, __ATOMIC_SEQ_CST);
    if (h->counted) counted_leave(h->counted);
}
