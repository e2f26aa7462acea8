/* SPDX-License-Identifier: Apache-2.0 */
/* The IR interpreter. See interp.h. Values are 64-bit patterns, zero-extended from their type. */
#include "ir/interp.h"
#include "base/guard.h"
#include "base/softfp.h"

/* --- memory -------------------------------------------------------------------------------------- */

/* One access each, so that an aligned one is atomic; unaligned ones are the guest's right, and the host's processor does them. */
#define GUEST_ACCESS __attribute__((no_sanitize("alignment")))

GUEST_ACCESS static u64 memory_read(u64 addr, unsigned log2size) {
    switch (log2size) {
    case 0: return *(volatile u8 *)addr;
    case 1: return *(volatile u16 *)addr;
    case 2: return *(volatile u32 *)addr;
    default: return *(volatile u64 *)addr;
    }
}

GUEST_ACCESS static void memory_write(u64 addr, unsigned log2size, u64 v) {
    switch (log2size) {
    case 0: *(volatile u8 *)addr = v; break;
    case 1: *(volatile u16 *)addr = v; break;
    case 2: *(volatile u32 *)addr = v; break;
    default: *(volatile u64 *)addr = v;
    }
}

static u64 logged_read(const IrLog *log, u64 addr, unsigned log2size) {
    u64 v = memory_read(addr, log2size);
    for (u32 i = 0; i < log->stores.len; i++) {
        const IrStore *s = &log->stores.at[i];
        if (s->addr - addr >= 1u << log2size && addr - s->addr >= s->size) continue;
        for (u32 k = 0; k < 1u << log2size; k++) {
            u64 at = addr + k - s->addr;
            if (at < s->size) v = (v & ~(0xffull << 8 * k)) | (u64)(u8)(s->value >> 8 * at) << 8 * k;
        }
    }
    return v;
}

/* How many bytes at addr can be written: tried with what is there. */
static size_t try_write(u64 addr, void *old, size_t size) {
    size_t there = guard_copy(old, (void *)addr, size);
    return guard_copy((void *)addr, old, there);
}

static size_t logged_write(IrLog *log, u64 addr, const u8 *data, size_t size) {
    size_t done = 0;
    while (done < size) {
        u64 value = 0, old = 0;
        size_t part = MIN(size - done, sizeof value), good = try_write(addr + done, &old, part);
        memcpy(&value, data + done, good);
        if (good) vec_push(&log->stores, ((IrStore){addr + done, value, old, (u32)good}));
        done += good;
        if (good < part) break;
    }
    return done;
}

size_t ir_log_copy(IrLog *log, u64 addr, void *data, size_t size, bool write) {
    if (write) return logged_write(log, addr, data, size);
    size = guard_copy(data, (void *)addr, size);
    for (u32 i = 0; i < log->stores.len; i++) {
        const IrStore *s = &log->stores.at[i];
        for (u32 k = 0; k < s->size; k++)
            if (s->addr + k - addr < size) ((u8 *)data)[s->addr + k - addr] = (u8)(s->value >> 8 * k);
    }
    return size;
}

static u64 guest_read(IrInterp *in, u64 addr, unsigned log2size) {
    return in->log ? logged_read(in->log, addr, log2size) : memory_read(addr, log2size);
}

static void guest_write(IrInterp *in, u64 addr, unsigned log2size, u64 v) {
    if (!in->log) {
        memory_write(addr, log2size, v);
        return;
    }
    /* faults here as the store would */
    __atomic_fetch_or((volatile u8 *)addr, 0, __ATOMIC_RELAXED);
    __atomic_fetch_or((volatile u8 *)addr + (1u << log2size) - 1, 0, __ATOMIC_RELAXED);
    vec_push(&in->log->stores, ((IrStore){addr, v, memory_read(addr, log2size), 1u << log2size}));
}

/* Atomic compare-and-swap of `size` bytes; the old value, zero-extended. */
static u64 host_cas(u64 addr, unsigned log2size, u64 expected, u64 desired) {
    switch (log2size) {
#define CAS(T)                                                                                                       \
    {                                                                                                                \
        T old = (T)expected;                                                                                         \
        __atomic_compare_exchange_n((T *)addr, &old, (T)desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);          \
        return old;                                                                                                  \
    }
    case 0: CAS(u8)
    case 1: CAS(u16)
    case 2: CAS(u32)
    default: CAS(u64)
#undef CAS
    }
}

static u64 guest_cas(IrInterp *in, u64 addr, unsigned log2size, u64 expected, u64 desired) {
    if (!in->log) return host_cas(addr, log2size, expected, desired);
    u64 old = logged_read(in->log, addr, log2size);
    if (old == low_bits(expected, 8u << log2size)) guest_write(in, addr, log2size, desired);
    return old;
}

static u64 guest_amo(IrInterp *in, AmoOp op, u64 addr, unsigned log2size, u64 v) {
    u64 old = guest_read(in, addr, log2size);
    for (;;) {
        u64 seen = guest_cas(in, addr, log2size, old, ir_eval_amo(op, 8u << log2size, old, v));
        if (seen == old) return old;
        old = seen;
    }
}

/* --- paged guests ----------------------------------------------------------------------------------- */

/* False: trapped. */
static bool find_address(IrInterp *in, Vcpu *cpu, const IrInsn *i, u32 id, u64 va, u64 *out) {
    in->slow_tlb = 0;
    *out = cpu->mmu->fill(cpu, va, 1u << i->aux, i->aux2);
    if (*out) return true;
    if (cpu->trap != TRAP_SLOW || !in->slow) return false;
    in->slow_tlb = id;
    *out = va;
    return true;
}

static bool paged_read(IrInterp *in, Vcpu *cpu, const IrInsn *i, u64 addr, u64 *v) {
    if (UNLIKELY(in->slow_tlb && in->slow_tlb == i->a)) return cpu->mmu->access(cpu, addr, 1u << i->aux, false, v);
    *v = guest_read(in, addr, i->aux);
    return true;
}

static bool paged_write(IrInterp *in, Vcpu *cpu, const IrInsn *i, u64 addr, u64 v) {
    if (UNLIKELY(in->slow_tlb && in->slow_tlb == i->a)) return cpu->mmu->access(cpu, addr, 1u << i->aux, true, &v);
    guest_write(in, addr, i->aux, v);
    return true;
}

/* --- guest state ---------------------------------------------------------------------------------- */

static u64 slot_read(const IrFunc *f, Vcpu *cpu, u32 slot) {
    const GuestSlot *s = &f->guest->slots[slot];
    u8 *at = (u8 *)cpu->state + s->offset;
    return s->type == IR_I32 ? *(u32 *)at : *(u64 *)at;
}

static void slot_write(const IrFunc *f, Vcpu *cpu, u32 slot, u64 v) {
    const GuestSlot *s = &f->guest->slots[slot];
    u8 *at = (u8 *)cpu->state + s->offset;
    if (s->type == IR_I32) *(u32 *)at = (u32)v;
    else *(u64 *)at = v;
}

static u64 store_conditional(IrInterp *in, const IrFunc *f, Vcpu *cpu, const IrInsn *i, u64 addr, u64 at, u64 v) {
    if (slot_read(f, cpu, i->imm & 0xffff) != addr) return 1;
    u64 expected = low_bits(slot_read(f, cpu, i->imm >> 16), 8u << i->aux);
    return guest_cas(in, at, i->aux, expected, v) != expected;
}

static u64 box_bits(IrType t, u64 v) { return t == IR_F16 ? v | ~0ull << 16 : v | ~0ull << 32; }

static u64 unbox_bits(IrType t, u64 v) {
    unsigned bits = t == IR_F16 ? 16 : 32;
    if (v >> bits == ~0ull >> bits) return low_bits(v, bits);
    return softfp_nan(t == IR_F16 ? SOFTFP_F16 : SOFTFP_F32);
}

/* --- control --------------------------------------------------------------------------------------- */

/* Where each block starts. */
static void find_blocks(IrInterp *in, const IrFunc *f) {
    in->blocks.len = 0;
    for (u32 id = 1; id < f->insns.len; id++)
        if (f->insns.at[id].op == IR_block) vec_push(&in->blocks, id);
}

/* Puts what the frame says into the slots. */
static void settle(const IrFunc *f, Vcpu *cpu, const IrFrame *r, const u64 *v) {
    for (u32 k = r->state; k < r->state + r->state_count; k++) {
        const IrState *s = &f->states.at[k];
        u64 x = v[s->value];
        if (s->how == IR_STATE_SEXT) x = (u64)sext_bits(x, 32);
        if (s->how == IR_STATE_BOX) x = box_bits(IR_F32, x);
        slot_write(f, cpu, s->slot, x);
    }
}

/* Before an instruction of a promoted function that can fault or leave: afterwards nothing can be told any more. `insn`: frame
 * number + 1 of the guest instruction under way. */
static void settle_before(const IrFunc *f, Vcpu *cpu, const IrInsn *i, u32 insn, const u64 *v) {
    u16 facts = ir_op_facts[i->op];
    if (!(facts & (F_FAULTS | F_EXIT)) && i->op != IR_call) return;
    u32 frame = ir_has_frame((IrOp)i->op) ? i->c : insn;
    if (frame) settle(f, cpu, &f->frames.at[frame - 1], v);
}

/* Moves the arguments of a jump into the parameters of its block; returns where to go on. */
static u32 take_jump(IrInterp *in, const IrFunc *f, const IrInsn *i) {
    u64 *v = in->values.at;
    in->params.len = 0;
    for (u32 k = 0; k < i->b; k++) vec_push(&in->params, v[f->args.at[i->a + k]]);
    u32 at = in->blocks.at[(u32)i->imm] + 1;
    for (; f->insns.at[at].op == IR_param; at++) v[at] = in->params.at[f->insns.at[at].imm];
    return at;
}

static u64 call_helper(const IrFunc *f, Vcpu *cpu, const IrInsn *i, const u64 *v) {
    u64 arg[4] = {0};
    for (u32 k = 0; k < i->b; k++) arg[k] = v[f->args.at[i->a + k]];
    return f->guest->helpers[i->imm].fn(cpu, arg[0], arg[1], arg[2], arg[3]);
}

static TrapCode trap(Vcpu *cpu, unsigned code, u64 arg) {
    cpu->trap_arg = arg;
    return (TrapCode)code;
}

TrapCode ir_interp(IrInterp *in, const IrFunc *f, Vcpu *cpu) {
    vec_reserve(&in->values, f->insns.len);
    u64 *v = in->values.at;
    u64 next_pc = 0;
    u32 frame = 0;
    if (f->block_count > 1) find_blocks(in, f);
    for (u32 id = 1;; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (f->promoted) settle_before(f, cpu, i, frame, v);
        u32 first = ir_op_operands[i->op] ? i->a : 0; /* elsewhere `a` is not a value */
        u64 a = v[first], addr = a + i->imm;
        IrType at = (IrType)f->insns.at[first].type;
        switch ((IrOp)i->op) {
        case IR_nop: case IR_block: case IR_param: break;
        case IR_insn:
            cpu->budget--;
            cpu->pc = ir_virtual_pc(f, cpu, i->imm);
            next_pc = cpu->pc + i->aux;
            frame = i->c;
            break;
        case IR_const: v[id] = i->imm; break;
        case IR_get: v[id] = slot_read(f, cpu, (u32)i->imm); break;
        case IR_put: slot_write(f, cpu, (u32)i->imm, a); break;
        case IR_add: case IR_sub: case IR_mul: case IR_mulhs: case IR_mulhu: case IR_mulhsu: case IR_divs: case IR_divu: case IR_rems: case IR_remu:
        case IR_and: case IR_or: case IR_xor: case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
        case IR_clz: case IR_ctz: case IR_popcnt: case IR_bswap: case IR_select: case IR_crypto:
        case IR_eq: case IR_ne: case IR_lts: case IR_les: case IR_ltu: case IR_leu:
        case IR_sext: case IR_zext: case IR_trunc:
            v[id] = ir_eval((IrOp)i->op, (IrType)i->type, at, i->aux, a, v[i->b], v[i->c]);
            break;
        case IR_load:
            if (!paged_read(in, cpu, i, addr, &v[id])) return (TrapCode)cpu->trap;
            if (i->aux2 & IR_SIGNED) v[id] = (u64)sext_bits(v[id], 8u << i->aux);
            if (i->aux2 & IR_ACQUIRE) __atomic_thread_fence(__ATOMIC_ACQUIRE);
            break;
        case IR_store:
            if (i->aux2 & IR_RELEASE) __atomic_thread_fence(__ATOMIC_RELEASE);
            if (!paged_write(in, cpu, i, addr, v[i->b])) return (TrapCode)cpu->trap;
            break;
        case IR_tlb:
            if (!find_address(in, cpu, i, id, addr, &v[id])) return (TrapCode)cpu->trap;
            break;
        case IR_align:
            if (addr & ((1u << i->aux) - 1)) return trap(cpu, TRAP_MISALIGNED, addr);
            break;
        case IR_amo: v[id] = guest_amo(in, (AmoOp)i->aux2, addr, i->aux, v[i->b]); break;
        case IR_cas: v[id] = guest_cas(in, addr, i->aux, v[i->b], v[i->c]); break;
        case IR_sc: v[id] = store_conditional(in, f, cpu, i, a, v[i->c], v[i->b]); break;
        case IR_prefetch: break;
        case IR_fence: __atomic_thread_fence(__ATOMIC_SEQ_CST); break;
        case IR_fadd: case IR_fsub: case IR_fmul: case IR_fdiv: case IR_fsqrt: case IR_fma: case IR_fmin: case IR_fmax: case IR_fminm: case IR_fmaxm:
        case IR_feq: case IR_flt: case IR_fle: case IR_fclass: case IR_fneg: case IR_fabs: case IR_fcopysign: case IR_fcvt: case IR_ftoi: case IR_itof:
        case IR_fround:
            v[id] = ir_eval_fp((IrOp)i->op, (IrType)i->type, at, i->aux, i->aux2, a, v[i->b], v[i->c], &cpu->fflags);
            break;
        case IR_bits: v[id] = a; break;
        case IR_box: v[id] = box_bits(at, a); break;
        case IR_unbox: v[id] = unbox_bits((IrType)i->type, a); break;
        case IR_flow: v[id] = low_bits(a, i->type == IR_F16 ? 16 : 32); break;
        case IR_getflags: v[id] = cpu->fflags; break;
        case IR_setflags: cpu->fflags = a & 31; break;
        case IR_call: v[id] = call_helper(f, cpu, i, v); break;
        case IR_peek: memcpy(&v[id], (u8 *)cpu->state + i->imm, 8); break;
        case IR_poke: memcpy((u8 *)cpu->state + i->imm, &a, 8); break;
        case IR_vec: {
            cpu->log = in->log;
            unsigned code = f->guest->vector(cpu, i->imm, a, v[i->b]);
            cpu->log = NULL;
            if (code) return (TrapCode)code;
            break;
        }
        case IR_exit_if:
            if (!a) break;
            cpu->pc = ir_virtual_pc(f, cpu, i->imm);
            return TRAP_NONE;
        case IR_trap_if:
            if (a) return trap(cpu, i->aux, 0);
            break;
        case IR_exit: cpu->pc = ir_virtual_pc(f, cpu, i->imm); return TRAP_NONE;
        case IR_poll:
            if (!__atomic_load_n(&cpu->poll, __ATOMIC_RELAXED)) break;
            cpu->pc = i->imm;
            return TRAP_POLL;
        case IR_quiet: v[id] = !__atomic_load_n(&cpu->poll, __ATOMIC_RELAXED); break;
        case IR_stray: v[id] = cpu->known[i->imm] != a; break;
        case IR_mode: cpu->mode = (u32)i->imm; break;
        case IR_count: cpu->insns += i->imm; break;
        case IR_exit_ind: cpu->pc = a & -(u64)f->guest->insn_align; return TRAP_NONE;
        case IR_trap:
            if (ir_trap_goes_on(i->aux)) cpu->pc = next_pc;
            return trap(cpu, i->aux, i->imm);
        case IR_jmp: id = take_jump(in, f, i) - 1; break;
        case IR_br: id = in->blocks.at[a ? (u32)i->imm : (u32)(i->imm >> 32)]; break;
        case IR_OP_COUNT: BUG("bad operation");
        }
    }
}
