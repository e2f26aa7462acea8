/* SPDX-License-Identifier: Apache-2.0 */
/* Code that all blocks share, and the host's side of entering, leaving and faulting. The stubs are generated, not
 * assembled, because where the pins' slots lie depends on the guest. Conventions: x64.h. */
#include "host/x64/x64.h"
#include "ir/interp.h"
#include <signal.h>
#include <ucontext.h>

static const u8 callee_saved[] = {RBX, RBP, R12, R13, R14, R15};

/* --- slow paths in C -------------------------------------------------------------------------------- */

u64 x64_soft_fp(Vcpu *cpu, u64 a, u64 b, u64 c, u64 what) {
    return ir_eval_fp((IrOp)(what & 0xff), (IrType)(what >> 8 & 0xff), (IrType)(what >> 16 & 0xff), what >> 24 & 0xff, what >> 32 & 0xff, a, b, c, &cpu->fflags);
}

#define SOFT_AMO(T)                                                                                                  \
    {                                                                                                                \
        T old = __atomic_load_n((T *)addr, __ATOMIC_RELAXED);                                                        \
        while (!__atomic_compare_exchange_n((T *)addr, &old, (T)ir_eval_amo(op, 8 * sizeof(T), old, v), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {} \
        return old;                                                                                                  \
    }

u64 x64_soft_amo(Vcpu *cpu, u64 addr, u64 v, u64 what, u64 unused) {
    (void)cpu, (void)unused;
    AmoOp op = (AmoOp)(what & 0xff);
    switch (what >> 8) {
    case 0: SOFT_AMO(u8)
    case 1: SOFT_AMO(u16)
    case 2: SOFT_AMO(u32)
    default: SOFT_AMO(u64)
    }
}
#undef SOFT_AMO

/* The slow path of `tlb`: what = TLB_* | log2 size << 2. */
static u64 soft_tlb(Vcpu *cpu, u64 va, u64 what, u64 c, u64 d) { return cpu->mmu->fill(cpu, va, 1u << (what >> 2), what & 3); }

u64 x64_soft_crypto(Vcpu *cpu, u64 a, u64 b, u64 what, u64 unused) {
    (void)cpu, (void)unused;
    return ir_eval_crypto((unsigned)what, a, b);
}

/* --- generated -------------------------------------------------------------------------------------- */

static void pins_save(X64Buf *b, const Guest *g) {
    for (u32 i = 0; i < g->hot_count && i < X64_PIN_COUNT; i++)
        x64_rm(b, I_MOV_RM_R | W1, x64_gpr_pins[i], x64_mem(RBP, x64_slot_off(g, g->hot_slots[i])));
    for (u32 i = 0; i < g->hot_fcount && i < X64_PIN_COUNT; i++)
        x64_rm(b, I_MOVS_STORE(3), x64_xmm_pins[i] - X64_XMM, x64_mem(RBP, x64_slot_off(g, g->hot_fslots[i])));
}

static void pins_load(X64Buf *b, const Guest *g) {
    for (u32 i = 0; i < g->hot_count && i < X64_PIN_COUNT; i++)
        x64_rm(b, I_MOV_R_RM | W1, x64_gpr_pins[i], x64_mem(RBP, x64_slot_off(g, g->hot_slots[i])));
    for (u32 i = 0; i < g->hot_fcount && i < X64_PIN_COUNT; i++)
        x64_rm(b, I_MOVS_LOAD(3), x64_xmm_pins[i] - X64_XMM, x64_mem(RBP, x64_slot_off(g, g->hot_fslots[i])));
}

static void set_phase(X64Buf *b, unsigned phase) {
    x64_rm(b, INSN(0, 0, 0xc7), 0, CPU_MEM(phase));
    x64_u32(b, phase);
}

static void load64(X64Buf *b, unsigned reg, X64Mem m) { x64_rm(b, I_MOV_R_RM | W1, reg, m); }
static void store64(X64Buf *b, X64Mem m, unsigned reg) { x64_rm(b, I_MOV_RM_R | W1, reg, m); }

static void enter_head(X64Buf *b) {
    for (unsigned k = 0; k < ARRAY_LEN(callee_saved); k++) x64_push(b, callee_saved[k]);
    x64_alu_ri(b, ALU_SUB, W1, RSP, 8); /* 16-byte alignment for calls from here */
    x64_rm(b, I_LEA | W1, RBP, x64_mem(RDI, -CPU_OFF(jumps)));
    store64(b, CPU_MEM(host_sp), RSP);
}

/* u32 enter(Vcpu *cpu, const void *code) */
static void make_enter(X64Buf *b, const Guest *g) {
    enter_head(b);
    x64_ldmxcsr(b, CPU_MEM(mxcsr));
    x64_mov(b, RAX, RSI);
    pins_load(b, g);
    load64(b, RSP, CPU_MEM(shadow_sp));
    set_phase(b, PHASE_CODE);
    x64_jmp_reg(b, RAX);
}

/* u32 enter_c(Vcpu *cpu, u32 (*fn)(Vcpu *)) */
static void make_enter_c(X64Buf *b, const u8 *leave) {
    enter_head(b);
    x64_call_reg(b, RSI);
    x64_jmp(b, leave);
}

/* Expects the trap code in eax and all guest state in the Vcpu. The phase stays as it is: the engine still has to
 * look at tables that belong to the code left. */
static void make_leave(X64Buf *b) {
    load64(b, RSP, CPU_MEM(host_sp));
    x64_alu_ri(b, ALU_ADD, W1, RSP, 8);
    for (unsigned k = ARRAY_LEN(callee_saved); k-- > 0;) x64_pop(b, callee_saved[k]);
    x64_ret(b);
}

static void save_all(X64Buf *b, const Guest *g) {
    pins_save(b, g);
    x64_stmxcsr(b, CPU_MEM(mxcsr));
    store64(b, CPU_MEM(shadow_sp), RSP);
}

/* rax: the exit's site */
static void make_exit(X64Buf *b, const Guest *g, unsigned trap, const u8 *leave) {
    store64(b, CPU_MEM(exit_site), RAX);
    save_all(b, g);
    x64_mov_imm(b, RAX, trap);
    x64_jmp(b, leave);
}

static void make_exit_trap(X64Buf *b, const Guest *g, const u8 *leave) {
    save_all(b, g);
    x64_jmp(b, leave);
}

/* rax: guest pc that nobody found */
static void make_lookup(X64Buf *b, const Guest *g, const u8 *leave) {
    store64(b, CPU_MEM(pc), RAX);
    x64_mov_imm(b, RAX, EXIT_SITE_NONE);
    make_exit(b, g, TRAP_NONE, leave);
}

/* rax: guest pc. A few frames up first (longjmp, tail calls that push), then the jump cache. */
static void make_ret_slow(X64Buf *b, const Guest *g, const u8 *lookup) {
    unsigned key = x64_jump_key(b, g, RAX);
    for (unsigned k = 1; k <= HOST_RETURN_FRAMES; k++) {
        x64_alu_rm(b, ALU_CMP, W1, key, x64_mem(RSP, 16 * (i64)k + 8));
        u8 *no = x64_jcc_short(b, CC_NE);
        x64_alu_ri(b, ALU_ADD, W1, RSP, 16 * (i32)k);
        x64_set_page(b, g, RAX);
        x64_ret(b);
        x64_here_short(b, no);
    }
    X64Mem entry = x64_jump_entry(b, RAX);
    x64_alu_rm(b, ALU_CMP, W1, key, entry);
    x64_jcc(b, CC_NE, lookup);
    x64_set_page(b, g, RAX);
    entry.disp += (i32)offsetof(JumpEntry, code);
    x64_jmp_mem(b, entry);
}

/* A guest return matched the sentinel at the base of the shadow stack: its pc (the sentinel's) is at [rsp]. */
static void make_underflow(X64Buf *b, const u8 *lookup) {
    load64(b, RAX, x64_mem(RSP, 0));
    x64_alu_ri(b, ALU_SUB, W1, RSP, 8);
    x64_jmp(b, lookup);
}

/* Called from the pad before the entry of an invalidated block (unlink_entry). */
static void make_stale(X64Buf *b, const Guest *g, const u8 *leave) {
    x64_pop(b, RAX);
    x64_alu_ri(b, ALU_ADD, W1, RAX, HOST_PAD - 5);
    x64_mov_imm(b, RDX, EXIT_SITE_STALE);
    x64_alu_rr(b, ALU_OR, W1, RAX, RDX);
    make_exit(b, g, TRAP_NONE, leave);
}

/* Called by an exit that is not linked. */
static void make_exit_called(X64Buf *b, const Guest *g, unsigned trap, const u8 *leave) {
    x64_pop(b, RAX);
    make_exit(b, g, trap, leave);
}

static void call_c(X64Buf *b) { /* fn in rax, operands in cpu->arg; state saved */
    store64(b, CPU_MEM(shadow_sp), RSP);
    load64(b, RSP, CPU_MEM(host_sp));
    set_phase(b, PHASE_HELPER);
    x64_rm(b, I_LEA | W1, RDI, x64_mem(RBP, CPU_OFF(jumps)));
    static const u8 arg[] = {RSI, RDX, RCX, R8};
    for (unsigned k = 0; k < 4; k++) load64(b, arg[k], x64_mem(RBP, CPU_OFF(arg) + 8 * (i64)k));
    x64_call_reg(b, RAX);
    load64(b, RSP, CPU_MEM(shadow_sp));
    set_phase(b, PHASE_CODE);
}

/* Called with a helper's number in rax; result in rax; scratch registers are lost, pins follow the state. */
static void make_helper(X64Buf *b, const Guest *g, const u8 *table) {
    pins_save(b, g);
    x64_mov_imm(b, RCX, (u64)table);
    x64_rm(b, I_MOV_R_RM | W1, RAX, x64_mem_index(RCX, RAX, 3, 0));
    call_c(b);
    pins_load(b, g);
    x64_ret(b);
}

/* What C may overwrite, but for rax: kept in the Vcpu, whatever it means. */
static const u8 caller_saved[] = {RCX, RDX, RSI, RDI, R8, R9, R10, R11};

static void keep_save(X64Buf *b) {
    for (unsigned k = 0; k < 8; k++) store64(b, x64_mem(RBP, CPU_OFF(save) + 8 * (i64)k), caller_saved[k]);
    for (unsigned k = 0; k < 16; k++) x64_rm(b, I_MOVS_STORE(3), k, x64_mem(RBP, CPU_OFF(save) + 64 + 8 * (i64)k));
}

static void keep_load(X64Buf *b) {
    for (unsigned k = 0; k < 16; k++) x64_rm(b, I_MOVS_LOAD(3), k, x64_mem(RBP, CPU_OFF(save) + 64 + 8 * (i64)k));
    for (unsigned k = 0; k < 8; k++) load64(b, caller_saved[k], x64_mem(RBP, CPU_OFF(save) + 8 * (i64)k));
}

/* The same for regions: what the helper wants to see of the state is in the Vcpu, and all registers but rax survive. */
static void make_helper_keep(X64Buf *b, const u8 *table) {
    keep_save(b);
    x64_mov_imm(b, RCX, (u64)table);
    x64_rm(b, I_MOV_R_RM | W1, RAX, x64_mem_index(RCX, RAX, 3, 0));
    call_c(b);
    keep_load(b);
    x64_ret(b);
}

/* Called; softfp's operation in cpu->arg, result in cpu->result; all registers survive. */
static void make_soft(X64Buf *b) {
    store64(b, x64_mem(RBP, CPU_OFF(save) + 8 * SAVE_RAX), RAX);
    keep_save(b);
    x64_mov_imm(b, RAX, (u64)x64_soft_fp);
    call_c(b);
    store64(b, CPU_MEM(result), RAX);
    keep_load(b);
    load64(b, RAX, x64_mem(RBP, CPU_OFF(save) + 8 * SAVE_RAX));
    x64_ret(b);
}

/* Called with an address in rax whose page the cpu's tlb does not know, and what it is for (soft_tlb) pushed: returns the host address in rax, and all
 * else but flags as it was; or leaves with a trap. */
static void make_tlb(X64Buf *b, const Guest *g, const u8 *leave) {
    store64(b, x64_mem(RBP, CPU_OFF(arg)), RAX);
    x64_pop(b, RAX);
    store64(b, CPU_MEM(exit_site), RAX);
    x64_pop(b, RAX);
    store64(b, x64_mem(RBP, CPU_OFF(arg) + 8), RAX);
    keep_save(b);
    x64_mov_imm(b, RAX, (u64)soft_tlb);
    call_c(b);
    keep_load(b);
    x64_rr(b, INSN(0, 0, 0x85) | W1, RAX, RAX); /* test rax, rax */
    u8 *trap = x64_jcc_short(b, CC_E);
    x64_jmp_mem(b, CPU_MEM(exit_site));
    x64_here_short(b, trap);
    save_all(b, g);
    x64_rm(b, I_MOV_R_RM, RAX, CPU_MEM(trap));
    x64_jmp(b, leave);
}

/* Called with the code of a vector instruction in rax, its operands in cpu->arg, and what rax had been in its place of Vcpu.save: all registers survive.
 * Comes back with the zero flag if that is done; else a paged guest leaves here, before the instruction. */
static void make_vector(X64Buf *b, const Guest *g, const u8 *leave) {
    store64(b, x64_mem(RBP, CPU_OFF(arg)), RAX);
    keep_save(b);
    x64_mov_imm(b, RAX, (u64)g->vector);
    call_c(b);
    keep_load(b);
    x64_rr(b, INSN(0, 0, 0x85), RAX, RAX); /* test eax, eax */
    u8 *failed = g->paged ? x64_jcc_short(b, CC_NE) : NULL;
    load64(b, RAX, x64_mem(RBP, CPU_OFF(save) + 8 * SAVE_RAX)); /* keeps the flag */
    x64_ret(b);
    if (!failed) return;
    x64_here_short(b, failed);
    x64_alu_ri(b, ALU_CMP, 0, RAX, TRAP_ILLEGAL);
    x64_mov_imm_keep_flags(b, RCX, TRAP_RETRY);
    x64_rr(b, I_CMOV(CC_E), RAX, RCX);
    x64_pop(b, RCX);
    store64(b, CPU_MEM(exit_site), RCX);
    save_all(b, g);
    x64_jmp(b, leave);
}

/* u32 probe(const void *byte); probe_end is where a fault goes on. */
static void make_probe(X64Buf *b, HostStubs *out) {
    out->probe = (u32(*)(const void *))x64_here(b);
    x64_rm(b, I_MOVZX8, RAX, x64_mem(RDI, 0));
    x64_mov_imm(b, RAX, 0);
    x64_ret(b);
    out->probe_end = x64_here(b);
    x64_mov_imm(b, RAX, 1);
    x64_ret(b);
}

static const u8 *make_helper_table(X64Buf *b, const Guest *g) {
    const u8 *table = x64_here(b);
    x64_u64(b, (u64)x64_soft_amo);
    x64_u64(b, (u64)x64_soft_crypto);
    for (u32 k = 0; k < g->helper_count; k++) x64_u64(b, (u64)g->helpers[k].fn);
    return table;
}

static const u8 *begin(X64Buf *b) {
    x64_nops(b, -(u64)x64_here(b) & 15);
    return x64_here(b);
}

void x64_make_stubs(const Guest *guest, u8 *rw, const u8 *rx, HostStubs *out) {
    X64Buf buf = {.at = rw, .rx_delta = rx - rw}, *b = &buf;
    const u8 *leave = out->leave = begin(b);
    make_leave(b);
    out->enter = (u32(*)(Vcpu *, const void *))begin(b);
    make_enter(b, guest);
    out->enter_c = (u32(*)(Vcpu *, u32(*)(Vcpu *)))begin(b);
    make_enter_c(b, leave);
    out->exit_link = begin(b);
    make_exit_called(b, guest, TRAP_NONE, leave);
    out->exit_poll = begin(b);
    make_exit_called(b, guest, TRAP_POLL, leave);
    out->exit_trap = begin(b);
    make_exit_trap(b, guest, leave);
    const u8 *lookup = out->lookup = begin(b);
    make_lookup(b, guest, leave);
    out->ret_slow = begin(b);
    make_ret_slow(b, guest, lookup);
    out->underflow = begin(b);
    make_underflow(b, lookup);
    out->stale = begin(b);
    make_stale(b, guest, leave);
    const u8 *table = begin(b);
    make_helper_table(b, guest);
    out->helper = begin(b);
    make_helper(b, guest, table);
    out->soft = begin(b);
    make_soft(b);
    out->helper_keep = begin(b);
    make_helper_keep(b, table);
    out->tlb = begin(b);
    make_tlb(b, guest, leave);
    out->vector = begin(b);
    if (guest->vector) make_vector(b, guest, leave);
    begin(b);
    make_probe(b, out);
    out->size = (size_t)(b->at - rw);
}

/* --- patching --------------------------------------------------------------------------------------- */

static void link_field(u8 *field_rw, const u8 *field_rx, const u8 *target) {
    __atomic_store_n((u32 *)field_rw, (u32)(target - (field_rx + 4)), __ATOMIC_RELEASE);
}

/* The first two bytes become a short jump back to the pad, HOST_PAD bytes before the entry, where `call stubs->stale` and
 * the block's number are. Only two: another thread may be past the first instruction, which is never shorter, but not
 * past the second, and must find that whole. */
static void unlink_entry(const HostStubs *stubs, u8 *entry_rw, const u8 *entry_rx) {
    u8 *pad = entry_rw - HOST_PAD;
    u32 rel = (u32)(stubs->stale - (entry_rx - HOST_PAD + 5));
    pad[0] = 0xe8;
    memcpy(pad + 1, &rel, 4);
    __atomic_store_n((u16 *)entry_rw, (u16)(0xeb | (u8)(-HOST_PAD - 2) << 8), __ATOMIC_RELEASE);
}

/* --- a cpu's host state ------------------------------------------------------------------------------ */

static u32 flags_of_mxcsr(u32 mxcsr) {
    return (mxcsr & 1) << 4 | (mxcsr & 4) << 1 | (mxcsr & 8) >> 1 | (mxcsr & 16) >> 3 | (mxcsr & 32) >> 5;
}

/* Flags. To read MXCSR is to wait for all floating point before it, and programs that compare or round do it all the time (frflags, fsflags). So
 * exceptions whose flags are not set are not masked: the first time, the host raises SIGFPE, and fp_trap sets the flag and masks the exception. Then
 * Vcpu.fflags is all that has accrued. Who raises flags and clears them all the time had better do without: after Vcpu.fp_traps
 * signals all exceptions are masked for good, and code reads MXCSR. Bought: a loop with sqrtf and its comparison, 3.9 times native code to 1.7.
 * Tiny results that are exact raise underflow if it is not masked, and set no flag if it is: there it is done without at once. */
enum { MXCSR_FLAGS = 0x3f, MXCSR_DENORMAL = 2, MXCSR_UNDERFLOW = 16, MXCSR_MASK_SHIFT = 7, MXCSR_MASKS = MXCSR_FLAGS << MXCSR_MASK_SHIFT };

static u32 mxcsr_for(const Vcpu *cpu, u32 fflags) {
    static const u32 rounding[] = {0, 3, 1, 2}; /* RNE RTZ RDN RUP */
    u32 mode = cpu->mode & IR_MODE_ROUNDING, masked = MXCSR_DENORMAL;
    for (u32 bit = 1; bit < MXCSR_FLAGS; bit *= 2)
        if (!cpu->fp_traps || (flags_of_mxcsr(bit) & fflags)) masked |= bit;
    return masked << MXCSR_MASK_SHIFT | (mode < 4 ? rounding[mode] << 13 : 0);
}

static void fill_mxcsr(Vcpu *cpu) {
    if (cpu->mxcsr_of[0] == mxcsr_for(cpu, 0)) return; /* the same mode, and it traps as before */
    for (u32 fflags = 0; fflags < ARRAY_LEN(cpu->mxcsr_of); fflags++) cpu->mxcsr_of[fflags] = mxcsr_for(cpu, fflags);
}

static void sync_fp(Vcpu *cpu) {
    cpu->fflags |= flags_of_mxcsr(cpu->mxcsr);
    fill_mxcsr(cpu);
    cpu->mxcsr = cpu->mxcsr_of[cpu->fflags];
}

/* The instruction is made again. */
static bool fp_trap(Vcpu *cpu, void *ucontext) {
    struct _libc_fpstate *fp = ((ucontext_t *)ucontext)->uc_mcontext.fpregs;
    u32 raised = fp ? fp->mxcsr & ~(fp->mxcsr >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS : 0;
    if (!raised) return false;
    if (cpu->phase != PHASE_CODE && cpu->phase != PHASE_HELPER) { /* our own arithmetic is none of the guest's */
        fp->mxcsr = (fp->mxcsr & ~(u32)MXCSR_FLAGS) | MXCSR_MASKS;
        return true;
    }
    cpu->fp_traps = raised & MXCSR_UNDERFLOW || !cpu->fp_traps ? 0 : cpu->fp_traps - 1;
    if (cpu->fp_traps) cpu->fflags |= flags_of_mxcsr(raised);
    fill_mxcsr(cpu);
    fp->mxcsr = cpu->mxcsr_of[cpu->fflags];
    return true;
}

static void init_vcpu(const HostStubs *stubs, Vcpu *cpu) {
    static const VcpuConst k[VCPU_CONST_COUNT] = {
        [VCPU_K_SIGN] = {0x8000, 0}, {0x80000000, 0}, {1ull << 63, 0},
        [VCPU_K_MAGNITUDE] = {~0x8000ull, ~0ull}, {~0x80000000ull, ~0ull}, {~(1ull << 63), ~0ull},
        [VCPU_K_NAN] = {0x7e00, 0}, {0x7fc00000, 0}, {0x7ff8000000000000, 0},
        [VCPU_K_BOX] = {~0xffffull, 0}, {~0xffffffffull, 0},
        /* to unsigned: 2^32, 2^63 as f32; 2^32 - 1 (rounding might reach 2^32), 2^63 as f64 */
        [VCPU_K_LIMIT] = {0x4f800000, 0}, {0x5f000000, 0}, {0x41efffffffe00000, 0}, {0x43e0000000000000, 0},
        [VCPU_K_BELOW_HALF] = {0x3effffff, 0}, {0x3fdfffffffffffff, 0},
    };
    static const VcpuConst bit[] = {{0x8040201008040201, 0x8040201008040201}, {0x0008000400020001, 0x0080004000200010}, {0x0000000200000001, 0x0000000800000004}, {1, 2},
        {0, 0x0101010101010101}};
    memcpy(cpu->k, k, sizeof k);
    memcpy(cpu->bit, bit, sizeof bit);
    cpu->stub[STUB_EXIT_LINK] = stubs->exit_link;
    cpu->stub[STUB_EXIT_POLL] = stubs->exit_poll;
    cpu->stub[STUB_EXIT_TRAP] = stubs->exit_trap;
    cpu->stub[STUB_LOOKUP] = stubs->lookup;
    cpu->stub[STUB_RET_SLOW] = stubs->ret_slow;
    cpu->stub[STUB_HELPER] = stubs->helper;
    cpu->stub[STUB_SOFT] = stubs->soft;
    cpu->stub[STUB_HELPER_KEEP] = stubs->helper_keep;
    cpu->stub[STUB_SM4] = ir_sm4_sbox;
    cpu->stub[STUB_TLB] = stubs->tlb;
    cpu->stub[STUB_VECTOR] = stubs->vector;
    memset(cpu->tail, 0xff, sizeof cpu->tail / 2);
    for (u32 m = 0; m < 64; m++) cpu->flag_map[m] = (u8)flags_of_mxcsr(m);
    sync_fp(cpu);
}

/* Sixteen sentinel frames: a return that matches one goes to stubs->underflow. */
static void reset_shadow(const HostStubs *stubs, Vcpu *cpu) {
    u64 *base = cpu->shadow_base;
    for (unsigned k = 0; k < 32; k += 2) {
        base[k] = (u64)stubs->underflow;
        base[k + 1] = ~0ull;
    }
    cpu->shadow_sp = base;
}

/* --- signal contexts --------------------------------------------------------------------------------- */

static u64 context_pc(const void *ucontext) { return (u64)((const ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP]; }

static void context_set_pc(void *ucontext, u64 pc) { ((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP] = (long long)pc; }

long long *x64_context_reg(void *ucontext, unsigned reg) {
    static const u8 greg[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return &((ucontext_t *)ucontext)->uc_mcontext.gregs[greg[reg]];
}

static void take_pins(const Guest *g, Vcpu *cpu, ucontext_t *uc) {
    u8 *state = (u8 *)cpu->state;
    for (u32 i = 0; i < g->hot_count && i < X64_PIN_COUNT; i++) {
        u64 v = (u64)*x64_context_reg(uc, x64_gpr_pins[i]);
        memcpy(state + g->slots[g->hot_slots[i]].offset, &v, 8);
    }
    const struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
    for (u32 i = 0; i < g->hot_fcount && i < X64_PIN_COUNT; i++)
        memcpy(state + g->slots[g->hot_fslots[i]].offset, &fp->_xmm[x64_xmm_pins[i] - X64_XMM], 8);
    cpu->mxcsr = fp->mxcsr;
    cpu->shadow_sp = (void *)*x64_context_reg(uc, RSP);
}

static void abandon(const HostStubs *stubs, const Guest *guest, Vcpu *cpu, void *ucontext, TrapCode trap) {
    ucontext_t *uc = ucontext;
    if (cpu->phase == PHASE_CODE) take_pins(guest, cpu, uc);
    else if (uc->uc_mcontext.fpregs) cpu->mxcsr = uc->uc_mcontext.fpregs->mxcsr;
    *x64_context_reg(uc, RBP) = (long long)(u64)((u8 *)cpu->state + X64_BIAS);
    *x64_context_reg(uc, RAX) = trap;
    uc->uc_mcontext.gregs[REG_RIP] = (long long)(u64)stubs->leave;
    uc->uc_mcontext.gregs[REG_EFL] &= ~0x400ll; /* DF */
}

/* The push of the guest pc (stack aligned), or the call behind it (its guest pc is pushed already), found no room. False: a wild
 * pointer of the guest's led to the guard page. */
static bool shadow_overflow(const HostStubs *stubs, Vcpu *cpu, void *ucontext, u64 addr) {
    ucontext_t *uc = ucontext;
    u64 sp = (u64)*x64_context_reg(uc, RSP);
    if (addr != sp - 8) return false;
    u64 pushed = sp & 15 ? *(u64 *)sp : 0;
    reset_shadow(stubs, cpu);
    u64 fresh = (u64)cpu->shadow_base;
    if (sp & 15) {
        fresh -= 8;
        *(u64 *)fresh = pushed;
    }
    *x64_context_reg(uc, RSP) = (long long)fresh;
    return true;
}

static u64 features(void) { return hash_bytes(&x64_features, sizeof x64_features, 0); }

const Host host_x64 = {
    .name = "x86-64",
    .stubs_max = 8192,
    .pinned = X64_PIN_COUNT,
    .init = x64_init,
    .features = features,
    .make_stubs = x64_make_stubs,
    .compile = x64_compile,
    .compile_region = x64_compile_region,
    .settle = x64_settle,
    .link = link_field,
    .unlink_entry = unlink_entry,
    .reset_shadow = reset_shadow,
    .init_vcpu = init_vcpu,
    .sync_fp = sync_fp,
    .fp_trap = fp_trap,
    .abandon = abandon,
    .context_pc = context_pc,
    .context_set_pc = context_set_pc,
    .shadow_overflow = shadow_overflow,
};
