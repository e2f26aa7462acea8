/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of host/x64 share: register conventions of generated code and the processor's features.
 *
 *   rsp        shadow return stack: {host return address, guest return pc} per guest call
 *   rbp        the Vcpu: &cpu->state[X64_BIAS], so that the first 32 slots have one-byte displacements
 *   scratch    rax rcx rdx rsi, xmm0..5: values within a block
 *   pins       the other ten of each kind: guest slots, see x64_pins()
 */
#ifndef HOST_X64_X64_H
#define HOST_X64_X64_H

#include "host/host.h"
#include "host/x64/enc.h"

enum { X64_BIAS = 128, X64_PIN_COUNT = 10, X64_XMM = 16 /* register numbers 16..31 are xmm0..15 */ };
#define CPU_OFF(field) ((i64)offsetof(Vcpu, field) - (i64)offsetof(Vcpu, state) - X64_BIAS)
#define CPU_MEM(field) x64_mem(RBP, CPU_OFF(field))

static const u8 x64_gpr_pins[X64_PIN_COUNT] = {RBX, RDI, R8, R9, R10, R11, R12, R13, R14, R15};
static const u8 x64_xmm_pins[X64_PIN_COUNT] = {22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
#define X64_SCRATCH_GPR (1u << RAX | 1u << RCX | 1u << RDX | 1u << RSI)
#define X64_SCRATCH_XMM (0x3fu << X64_XMM)

typedef struct X64Features {
    bool avx, fma, bmi1, bmi2, lzcnt, avx2, avx512, aes, clmul, sha;
} X64Features;
extern X64Features x64_features;
/* Host.init */
const char *x64_init(const char *without);

/* Index into Vcpu.stub. */
enum { STUB_EXIT_LINK, STUB_EXIT_POLL, STUB_EXIT_TRAP, STUB_LOOKUP, STUB_RET_SLOW, STUB_HELPER, STUB_SOFT, STUB_HELPER_KEEP,
    STUB_SM4, /* ir_sm4_sbox: a table, no code */ STUB_TLB, STUB_VECTOR };
enum { SAVE_RAX = 24 }; /* place in Vcpu.save for rax, behind those of keep_save */
#define STUB_MEM(n) x64_mem(RBP, CPU_OFF(stub) + 8 * (n))
/* Helpers as generated code numbers them, for STUB_HELPER: these, then the guest's. */
enum { HELPER_SOFT_AMO, HELPER_SOFT_CRYPTO, HELPER_GUEST };

/* Displacement of a slot from rbp. */
static inline i64 x64_slot_off(const Guest *g, u32 slot) { return (i64)g->slots[slot].offset - X64_BIAS; }

/* Fills pin[slot] = register number, or NO_REG. */
static inline void x64_pins(const Guest *g, u8 pin[160]) {
    memset(pin, NO_REG, 160);
    for (u32 i = 0; i < g->hot_count && i < X64_PIN_COUNT; i++) pin[g->hot_slots[i]] = x64_gpr_pins[i];
    for (u32 i = 0; i < g->hot_fcount && i < X64_PIN_COUNT; i++) pin[g->hot_fslots[i]] = x64_xmm_pins[i];
}

/* [rbp + rdx * 8 + jumps] is the entry of the target: 16 bytes at (pc >> 1) % JUMP_CACHE_LEN. rdx is lost. */
static inline X64Mem x64_jump_entry(X64Buf *b, unsigned target) {
    x64_rr(b, I_MOV_R_RM, RDX, target);
    x64_alu_ri(b, ALU_AND, 0, RDX, (JUMP_CACHE_LEN - 1) << 1);
    return x64_mem_index(RBP, RDX, 3, CPU_OFF(jumps));
}

/* The register with which that entry, or a frame of the shadow stack, is compared: the target, or of a paged guest rcx. */
static inline unsigned x64_jump_key(X64Buf *b, const Guest *g, unsigned target) {
    if (!g->paged) return target;
    x64_rr(b, I_MOV_R_RM | W1, RCX, target);
    x64_alu_rm(b, ALU_XOR, W1, RCX, CPU_MEM(jump_tag));
    return RCX;
}

static inline X64Mem x64_page_mem(const Guest *g) { return x64_mem(RBP, x64_slot_off(g, g->page_slot)); }

/* Of a paged guest, which goes to `target`: its page is the one that runs. rcx is lost. */
static inline void x64_set_page(X64Buf *b, const Guest *g, unsigned target) {
    if (!g->paged) return;
    x64_rr(b, I_MOV_R_RM | W1, RCX, target);
    x64_alu_ri(b, ALU_AND, W1, RCX, -(i32)PAGE_BYTES);
    x64_rm(b, I_MOV_RM_R | W1, RCX, x64_page_mem(g));
}

/* Slow path of a floating-point operation: op described by packed `what` (x64_soft_what). Called through stubs->soft. */
u64 x64_soft_fp(Vcpu *cpu, u64 a, u64 b, u64 c, u64 what);
static inline u64 x64_soft_what(const IrInsn *i, IrType operand_type) {
    return i->op | (u64)i->type << 8 | (u64)operand_type << 16 | (u64)i->aux << 24 | (u64)i->aux2 << 32;
}
/* Slow path of an atomic operation: what = AmoOp | log2 size << 8. */
u64 x64_soft_amo(Vcpu *cpu, u64 addr, u64 v, u64 what, u64 unused);
/* Slow path of `crypto`: what = its aux. */
u64 x64_soft_crypto(Vcpu *cpu, u64 a, u64 b, u64 what, u64 unused);

bool x64_compile_region(const HostStubs *stubs, IrFunc *f, HostCode *code);
void x64_settle(const Guest *guest, Vcpu *cpu, void *ucontext, const u8 *map);
long long *x64_context_reg(void *ucontext, unsigned reg);
bool x64_compile(const HostStubs *stubs, IrFunc *f, HostCode *code);
void x64_make_stubs(const Guest *guest, u8 *rw, const u8 *rx, HostStubs *out);

#endif
