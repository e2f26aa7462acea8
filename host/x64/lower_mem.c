/* SPDX-License-Identifier: Apache-2.0 */
/* Memory operations, atomics and fences to x86-64. The host is TSO: loads acquire and stores release by themselves;
 * every locked instruction is a full fence. Only a fence that orders earlier stores before later loads costs anything. */
#include "host/x64/region.h"


/* The memory operand of an access to a + imm. */
static X64Mem operand(Cg *g, const IrInsn *i) {
    const IrInsn *base = cg_insn(g, cg_root(g, i->a));
    if (g->region && (i->op == IR_load || i->op == IR_store) && base->op != IR_const) return region_address(g);
    if (base->op == IR_const) {
        u64 addr = base->imm + i->imm;
        if (fits_i32((i64)addr)) return x64_mem(NO_REG, (i64)addr);
        unsigned r = cg_temp(g, false);
        x64_mov_imm(&g->b, r, addr);
        return x64_mem(r, 0);
    }
    return x64_mem(cg_use(g, i->a), (i64)i->imm);
}

static void load(Cg *g, IrInsn *i) {
    static const u32 zero[] = {I_MOVZX8, I_MOVZX16, I_MOV_R_RM, I_MOV_R_RM | W1}, sign[] = {I_MOVSX8, I_MOVSX16, I_MOVSXD, I_MOV_R_RM | W1};
    X64Mem m = operand(g, i);
    bool xmm = cg_is_xmm_type(i->type);
    unsigned dst = cg_target(g, xmm, 0, m.base);
    if (xmm) x64_rm(&g->b, I_MOVS_LOAD(i->aux == 3 ? 3 : 2), xn(dst), m);
    else x64_rm(&g->b, (i->aux2 & IR_SIGNED ? sign : zero)[i->aux], dst, m);
    cg_set(g, dst);
}

/* --- paged guests ----------------------------------------------------------------------------------- */

/* The tags, or host addresses, of the set that accesses in this mode go through. */
static X64Mem tlb_entry(const Cg *g, const IrInsn *i, size_t field) {
    u32 set = g->guest->tlb_set(g->f->mode) * 2 + (i->aux2 & TLB_WRITE);
    return x64_mem_index(RBP, RCX, 0, CPU_OFF(tlb) + (i64)(set * VCPU_TLB_LEN * sizeof(TlbEntry) + field));
}

static void address_to_rax(Cg *g, const IrInsn *i) {
    if (cg_is_const(g, i->a)) {
        cg_take(g, RAX);
        x64_mov_imm(&g->b, RAX, cg_insn(g, i->a)->imm + i->imm);
        return;
    }
    unsigned a = cg_use(g, i->a);
    if (a != RAX || cg_insn(g, cg_root(g, i->a))->last > g->cur) {
        cg_take(g, RAX);
        a = cg_use(g, i->a);
    }
    if (i->imm) x64_rm(&g->b, I_LEA | W1, RAX, x64_mem(a, (i64)i->imm));
    else x64_mov(&g->b, RAX, a);
}

/* The address goes into rax, its entry is found by rcx; a miss is one of pages and of sizes that reach over the page's end alike. */
static void tlb(Cg *g, IrInsn *i) {
    enum { ENTRY = 4 }; /* log2 of its size */
    _Static_assert(sizeof(TlbEntry) == 1 << ENTRY, "tlb entry");
    cg_take(g, RCX);
    address_to_rax(g, i);
    x64_rr(&g->b, I_MOV_R_RM, RCX, RAX);
    x64_shift_ri(&g->b, SH_SHR, 0, RCX, 12 - ENTRY);
    x64_alu_ri(&g->b, ALU_AND, 0, RCX, (VCPU_TLB_LEN - 1) << ENTRY);
    x64_alu_rm(&g->b, ALU_SUB, W1, RAX, tlb_entry(g, i, offsetof(TlbEntry, tag)));
    x64_alu_ri(&g->b, ALU_CMP, W1, RAX, (i32)(PAGE_BYTES - (1u << i->aux)));
    Late *l = cg_late(g, LATE_TLB, x64_jcc(&g->b, CC_A, NULL));
    x64_alu_rm(&g->b, ALU_ADD, W1, RAX, tlb_entry(g, i, offsetof(TlbEntry, host)));
    l->back = g->b.at;
    l->insn = g->cur;
    cg_set(g, RAX);
}

void cg_late_tlb(Cg *g, const Late *l) {
    const IrInsn *i = cg_insn(g, l->insn);
    x64_alu_rm(&g->b, ALU_ADD, W1, RAX, tlb_entry(g, i, offsetof(TlbEntry, tag)));
    x64_op8(&g->b, 0x6a); /* push imm8 */
    x64_u8(&g->b, (u8)(i->aux2 | i->aux << 2));
    x64_call_mem(&g->b, STUB_MEM(STUB_TLB));
    x64_jmp(&g->b, l->back + g->b.rx_delta);
}

/* ------------------------------------------------------------------------------------------------------ */

static void store_imm(Cg *g, X64Mem m, unsigned log2size, i32 imm) {
    if (log2size == 0) {
        x64_rm(&g->b, INSN(0, 0, 0xc6), 0, m);
        x64_u8(&g->b, (u8)imm);
    } else if (log2size == 1) {
        x64_rm(&g->b, INSN(0, 1, 0xc7), 0, m);
        x64_u8(&g->b, (u8)imm);
        x64_u8(&g->b, (u8)(imm >> 8));
    } else {
        x64_rm(&g->b, INSN(0, 0, 0xc7) | (log2size == 3 ? W1 : 0), 0, m);
        x64_u32(&g->b, (u32)imm);
    }
}

static void store(Cg *g, IrInsn *i) {
    static const u32 insn[] = {I_MOV_RM8_R8, I_MOV_RM16_R16, I_MOV_RM_R, I_MOV_RM_R | W1};
    X64Mem m = operand(g, i);
    i32 imm;
    if (g->val.at[cg_root(g, i->b)].reg == NO_REG && cg_imm32(g, i->b, &imm)) {
        store_imm(g, m, i->aux, imm);
        return;
    }
    unsigned v = cg_use(g, i->b);
    if (v >= X64_XMM) x64_rm(&g->b, I_MOVS_STORE(i->aux == 3 ? 3 : 2), xn(v), m);
    else x64_rm(&g->b, insn[i->aux], v, m);
}

void cg_test_align(Cg *g, const IrInsn *i) {
    unsigned a = cg_use(g, i->a);
    if (i->imm) {
        unsigned t = cg_temp(g, false);
        x64_rm(&g->b, I_LEA, t, x64_mem(a, (i64)i->imm));
        a = t;
    }
    x64_rr(&g->b, INSN(0, 0, 0xf6) | BYTE_RM, 0, a); /* test r8, imm8 */
    x64_u8(&g->b, (1u << i->aux) - 1);
}

static void align(Cg *g, IrInsn *i) {
    cg_test_align(g, i);
    Late *l = cg_late(g, LATE_TRAP, x64_jcc(&g->b, CC_NE, NULL));
    l->trap = TRAP_MISALIGNED;
    l->pc = g->pc;
}

static void lock(Cg *g) { x64_u8(&g->b, 0xf0); }

/* An old value of 1 << log2size bytes in `reg`, zero-extended, becomes the current value. */
static void set_old(Cg *g, unsigned reg, unsigned log2size) {
    if (!cg_insn(g, g->cur)->uses) return;
    static const u32 zero[] = {I_MOVZX8, I_MOVZX16, I_MOV_R_RM, I_MOV_R_RM | W1};
    unsigned dst = cg_target(g, false, 0, reg);
    if (log2size < 3 || dst != reg) x64_rr(&g->b, zero[log2size], dst, reg);
    cg_set(g, dst);
}

/* swap and add have instructions; the others without use of the result, too; else a compare-exchange loop. */
static void amo_exchange(Cg *g, IrInsn *i) {
    static const u32 xchg[] = {I_XCHG8, I_XCHG16, I_XCHG, I_XCHG | W1}, xadd[] = {I_XADD8, I_XADD16, I_XADD, I_XADD | W1};
    X64Mem m = operand(g, i);
    unsigned t = cg_temp(g, false);
    cg_use_in(g, t, i->b);
    if (i->aux2 == AMO_ADD) {
        x64_u8(&g->b, 0xf0);
        x64_rm(&g->b, xadd[i->aux], t, m);
    } else {
        x64_rm(&g->b, xchg[i->aux], t, m);
    }
    set_old(g, t, i->aux);
}

static unsigned logic_digit(unsigned amo) { return amo == AMO_AND ? ALU_AND : amo == AMO_OR ? ALU_OR : ALU_XOR; }

static void amo_logic(Cg *g, IrInsn *i) {
    u32 w = i->aux == 3 ? W1 : 0;
    unsigned digit = logic_digit(i->aux2);
    if (!i->uses) {
        X64Mem m = operand(g, i);
        unsigned v = cg_use(g, i->b);
        lock(g);
        x64_alu_mr(&g->b, digit, w, m, v);
        return;
    }
    cg_take(g, RAX);
    X64Mem m = operand(g, i);
    unsigned v = cg_use(g, i->b), t = cg_temp(g, false);
    x64_rm(&g->b, I_MOV_R_RM | w, RAX, m);
    const u8 *again = x64_here(&g->b);
    x64_mov(&g->b, t, RAX);
    x64_alu_rr(&g->b, digit, w, t, v);
    lock(g);
    x64_rm(&g->b, I_CMPXCHG | w, t, m);
    x64_jcc(&g->b, CC_NE, again);
    set_old(g, RAX, i->aux);
}

static void store_arg(Cg *g, unsigned n, u32 id) {
    unsigned r = cg_use(g, id);
    X64Mem m = x64_mem(RBP, CPU_OFF(arg) + 8 * (i64)n);
    if (r >= X64_XMM) x64_rm(&g->b, I_MOVS_STORE(3), xn(r), m);
    else x64_rm(&g->b, I_MOV_RM_R | W1, r, m);
}

static void call_helper(Cg *g, u32 number) {
    x64_mov_imm(&g->b, RAX, number);
    x64_call_mem(&g->b, STUB_MEM(g->region ? STUB_HELPER_KEEP : STUB_HELPER));
}

void cg_call_soft(Cg *g, u32 helper, u32 a, u32 b, u32 what) {
    store_arg(g, 0, a);
    store_arg(g, 1, b);
    g->locked = 0;
    cg_flush_scratch(g, false);
    x64_rm(&g->b, INSN(0, 0, 0xc7) | W1, 0, x64_mem(RBP, CPU_OFF(arg) + 16));
    x64_u32(&g->b, what);
    call_helper(g, helper);
    g->locked |= 1u << RAX;
}

static void amo_helper(Cg *g, IrInsn *i) {
    cg_call_soft(g, HELPER_SOFT_AMO, i->a, i->b, i->aux2 | (u32)i->aux << 8);
    set_old(g, RAX, 3);
}

static void compare_sized(Cg *g, unsigned log2size, unsigned a, unsigned b) {
    static const u32 insn[] = {INSN(0, 0, 0x3a) | BYTE_REG | BYTE_RM, INSN(0, 1, 0x3b), INSN(0, 0, 0x3b), INSN(0, 0, 0x3b) | W1};
    x64_rr(&g->b, insn[log2size], a, b);
}

/* The new value of an atomic operation that has no instruction, from the old one in rax. Upper bits are junk. */
static void amo_step(Cg *g, const IrInsn *i, unsigned t, unsigned v) {
    static const u8 keeps_v[] = {[AMO_MINS] = CC_L, [AMO_MAXS] = CC_G, [AMO_MINU] = CC_B, [AMO_MAXU] = CC_A};
    if (i->aux2 < AMO_MINS) {
        x64_mov(&g->b, t, RAX);
        x64_alu_rr(&g->b, logic_digit(i->aux2), W1, t, v);
        return;
    }
    x64_mov(&g->b, t, v);
    compare_sized(g, i->aux, RAX, t);
    x64_rr(&g->b, I_CMOV(keeps_v[i->aux2]) | W1, t, RAX);
}

static u32 cmpxchg_insn(unsigned log2size);

/* In line, so that a fault is one of generated code: a region's state is not in place for C. */
static void amo_loop(Cg *g, IrInsn *i) {
    cg_take(g, RAX);
    X64Mem m = operand(g, i);
    unsigned t = cg_temp(g, false), v = cg_use(g, i->b);
    x64_rm(&g->b, (const u32[]){I_MOVZX8, I_MOVZX16, I_MOV_R_RM, I_MOV_R_RM | W1}[i->aux], RAX, m);
    const u8 *again = x64_here(&g->b);
    amo_step(g, i, t, v);
    lock(g);
    x64_rm(&g->b, cmpxchg_insn(i->aux), t, m);
    x64_jcc(&g->b, CC_NE, again);
    set_old(g, RAX, i->aux);
}

static void amo(Cg *g, IrInsn *i) {
    if (i->aux2 == AMO_SWAP || i->aux2 == AMO_ADD) amo_exchange(g, i);
    else if (i->aux >= 2 && (i->aux2 == AMO_AND || i->aux2 == AMO_OR || i->aux2 == AMO_XOR)) amo_logic(g, i);
    else if (g->region) amo_loop(g, i);
    else amo_helper(g, i);
}

static u32 cmpxchg_insn(unsigned log2size) {
    static const u32 insn[] = {I_CMPXCHG8, I_CMPXCHG16, I_CMPXCHG, I_CMPXCHG | W1};
    return insn[log2size];
}

static void cas(Cg *g, IrInsn *i) {
    cg_take(g, RAX);
    X64Mem m = operand(g, i);
    unsigned desired = cg_use(g, i->c);
    cg_use_in(g, RAX, i->b);
    lock(g);
    x64_rm(&g->b, cmpxchg_insn(i->aux), desired, m);
    set_old(g, RAX, i->aux);
}

/* Succeeds if the address is the reserved one and the value there has not changed since: an ABA change in between goes
 * unseen, as in every translator without hardware help (docs/caveats.md). */
static void store_conditional(Cg *g, IrInsn *i) {
    cg_take(g, RAX);
    unsigned a = cg_use(g, i->a), v = cg_use(g, i->b), at = cg_use(g, i->c);
    x64_alu_rm(&g->b, ALU_CMP, W1, a, x64_mem(RBP, x64_slot_off(g->guest, i->imm & 0xffff)));
    u8 *fail = x64_jcc_short(&g->b, CC_NE);
    x64_rm(&g->b, I_MOV_R_RM | W1, RAX, x64_mem(RBP, x64_slot_off(g->guest, (u32)(i->imm >> 16))));
    lock(g);
    x64_rm(&g->b, cmpxchg_insn(i->aux), v, x64_mem(at, 0));
    x64_here_short(&g->b, fail); /* not equal, either way */
    x64_mov_imm_keep_flags(&g->b, RAX, 0);
    x64_rr(&g->b, I_SETCC(CC_NE), 0, RAX);
    set_old(g, RAX, 3);
}

static void fence(Cg *g, IrInsn *i) {
    enum { WRITES = 1, READS = 2 };
    if (!(i->imm >> 4 & WRITES) || !(i->imm & READS)) return;
    lock(g); /* lock or dword [rsp], 0: cheaper than mfence */
    x64_alu_mi(&g->b, ALU_OR, 0, x64_mem(RSP, 0), 0);
}

void cg_lower_mem(Cg *g, IrInsn *i) {
    switch (i->op) {
    case IR_tlb: tlb(g, i); break;
    case IR_load: load(g, i); break;
    case IR_store: store(g, i); break;
    case IR_align: align(g, i); break;
    case IR_amo: amo(g, i); break;
    case IR_cas: cas(g, i); break;
    case IR_sc: store_conditional(g, i); break;
    case IR_fence: fence(g, i); break;
    case IR_prefetch: x64_rm(&g->b, INSN(1, 0, 0x18), 1, operand(g, i)); break; /* prefetcht0 */
    default: BUG("not a memory operation");
    }
}

void cg_lower_call(Cg *g, IrInsn *i) {
    const GuestHelper *h = &g->guest->helpers[i->imm];
    for (u32 k = 0; k < i->b; k++) {
        store_arg(g, k, (u32)g->f->args.at[i->a + k]);
        g->locked = 0;
    }
    cg_flush_scratch(g, h->facts & HELPER_WRITES);
    call_helper(g, HELPER_GUEST + (u32)i->imm);
    if (!i->uses || i->type == IR_VOID) return;
    g->locked |= 1u << RAX;
    bool xmm = cg_is_xmm_type(i->type);
    unsigned dst = cg_target(g, xmm, 0, xmm ? NO_REG : RAX);
    if (xmm) x64_rr(&g->b, I_MOVD_X_R | W1, xn(dst), RAX);
    else x64_mov(&g->b, dst, RAX);
    cg_set(g, dst);
}
