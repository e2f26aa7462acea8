/* SPDX-License-Identifier: Apache-2.0 */
/* The quick compiler's working state. One backward pass over the block (liveness.c) finds last uses, dead code, dead puts,
 * comparisons to fuse and where values will be put; one forward pass emits, allocating registers as it goes (regs.c).
 *
 * A value is in a register (Val.reg), in its slot's memory (Val.home), in a spill place, or it is a constant; any
 * of them is enough. A pinned slot's register *is* the slot: it always holds the guest's value, except between the
 * definition of a value and its put where liveness.c proved that nobody can look.
 */
#ifndef HOST_X64_CG_H
#define HOST_X64_CG_H

#include "host/x64/x64.h"

typedef struct Val {
    u8 reg;    /* 0..31, NO_REG */
    u8 fused;  /* comparison emitted by its user */
    i16 home;  /* slot whose memory holds it, -1 */
    i16 spill; /* index into Vcpu.spill, -1 */
    i16 hint;  /* slot it is put to, -1 */
} Val;

typedef enum LateKind { LATE_EXIT, LATE_POLL, LATE_TRAP, LATE_RET, LATE_LOOKUP, LATE_CALL_LOOKUP, LATE_NAN, LATE_SOFT, LATE_UNBOX, LATE_FLAGS, LATE_TLB, LATE_FAR, LATE_VEC } LateKind;

typedef struct Late { /* code to be emitted behind the block */
    u8 kind, reg, type, trap;
    u8 *from;        /* rel32 that leads there */
    u8 *also;        /* LATE_VEC: another one; NULL */
    const u8 *back;  /* where it goes on, host writable address */
    u64 pc;          /* exits, traps */
    u32 exit;        /* index into HostCode.exits; LATE_VEC in a region: what region_vec_trap said */
    u32 insn;        /* LATE_SOFT, LATE_TLB, LATE_VEC: IR instruction */
    u8 operand[3];   /* LATE_SOFT, LATE_VEC: registers of the operands; NO_REG: a constant */
    u8 kept_xmm;     /* LATE_VEC: to be loaded before it goes back; NO_REG: none */
    i64 kept_disp;   /* from there */
    u32 borrowed;    /* LATE_VEC in a region: registers that are to be given back if it fails */
    u32 frame;       /* guest instruction it belongs to */
} Late;

typedef struct Cg {
    X64Buf b;
    IrFunc *f;
    const Guest *guest;
    const HostStubs *stubs;
    HostCode *code;
    u8 *start;          /* of the block, writable */
    u32 cur;            /* IR instruction being emitted */
    u32 frame;          /* guest instruction being emitted */
    u64 pc, next_pc;
    u32 reg_val[32];    /* value in each register, 0: none that matters */
    u32 locked;         /* registers in use by the current instruction */
    u32 slot_val[160];  /* value whose home is this slot's memory */
    u32 spill_val[VCPU_SPILLS]; /* value in each of Vcpu.spill, 0: none */
    u32 spill_used;     /* places from here on have never held any */
    u8 pin[160];
    VEC(Val) val;
    VEC(Late) late;
    struct { /* a vector register that an xmm register holds as well, where code goes on at `at` and nowhere else */
        i64 disp;
        u8 xmm;
        const u8 *at;
    } kept;
    bool full;
    struct Region *region; /* NULL: the quick tier */
    void *region_memory;   /* the Region of this HostCode, once there was one */
} Cg;

static inline IrInsn *cg_insn(const Cg *g, u32 id) { return &g->f->insns.at[id]; }
/* What does not exist as code, because its value is the operand's register: trunc and flow; and a zero-extension of what a 32-bit
 * instruction made, which the processor has extended already. */
static inline bool cg_is_alias(const Cg *g, const IrInsn *i) {
    if (LIKELY(i->op != IR_trunc && i->op != IR_flow && i->op != IR_zext)) return false;
    if (i->op != IR_zext) return true;
    const IrInsn *o = cg_insn(g, i->a);
    return i->aux == 32 && o->type == IR_I32 && o->op != IR_trunc && o->op != IR_param; /* a parameter's argument may be a trunc */
}
static inline u32 cg_root(const Cg *g, u32 id) {
    while (cg_is_alias(g, cg_insn(g, id))) id = cg_insn(g, id)->a;
    return id;
}
static inline bool cg_is_const(const Cg *g, u32 id) { return cg_insn(g, id)->op == IR_const; }
static inline bool cg_is_xmm_type(unsigned t) { return t == IR_F16 || t == IR_F32 || t == IR_F64; }
static inline u32 cg_w(unsigned type) { return type == IR_I64 || type == IR_F64 ? W1 : 0; }
static inline bool cg_imm32(const Cg *g, u32 id, i32 *imm) {
    const IrInsn *i = cg_insn(g, id);
    if (i->op != IR_const || cg_is_xmm_type(i->type)) return false;
    i64 v = i->type == IR_I32 ? (i32)i->imm : (i64)i->imm;
    *imm = (i32)v;
    return fits_i32(v);
}

/* compile.c */
Cg *cg_begin(const HostStubs *stubs, IrFunc *f, HostCode *code);
void cg_lower(Cg *g, IrInsn *i); /* what is neither structure nor an exit */
void cg_note_pc(Cg *g, u32 frame); /* for faults: only code that can fault needs it, but for paged guests */

/* liveness.c */
void cg_analyse(Cg *g);

/* regs.c. All return register numbers 0..31; xmm n is 16 + n. */
unsigned cg_use(Cg *g, u32 id);                  /* value in a register of its class; locked until the next instruction */
void cg_use_in(Cg *g, unsigned reg, u32 id);     /* value copied to this register, which is locked */
bool cg_use_mem(Cg *g, u32 id, X64Mem *m);       /* the value as a memory operand instead, if that is where it is */
unsigned cg_temp(Cg *g, bool xmm);               /* a free scratch register, locked */
void cg_take(Cg *g, unsigned reg);               /* empties this scratch register and locks it */
/* A register for the result of the current instruction: the pin of the slot it is put to, or `prefer` (NO_REG: none) if its
 * value dies here, or a scratch register. Never one of `avoid` (bit set). Locked. */
unsigned cg_target(Cg *g, bool xmm, u32 avoid, unsigned prefer);
void cg_set(Cg *g, unsigned reg);                /* the current instruction's value is now in reg */
void cg_put(Cg *g, const IrInsn *i);
void cg_get(Cg *g, const IrInsn *i);
void cg_flush_scratch(Cg *g, bool state_changes); /* before a helper: scratch registers are lost; state_changes: slots too */
void cg_load_const(Cg *g, unsigned reg, const IrInsn *c);

/* lower_int.c, lower_mem.c, lower_fp.c, leave.c */
void cg_lower_int(Cg *g, IrInsn *i);
unsigned cg_compare(Cg *g, u32 id); /* emits the comparison; returns the condition code that means true */
unsigned cg_condition(Cg *g, u32 id); /* the same for any i1: a comparison fused into its user, or a value */
void cg_lower_mem(Cg *g, IrInsn *i);
void cg_lower_fp(Cg *g, IrInsn *i);
unsigned cg_compare_fp(Cg *g, const IrInsn *i); /* like cg_compare, of flt and fle */
bool cg_choose_extreme(Cg *g, const IrInsn *i); /* the current instruction */
void cg_canonical_nan(Cg *g, unsigned reg, unsigned type); /* here, not behind the block */
bool cg_native_fp(const Cg *g, const IrInsn *i); /* is fadd, fsub, ... the host's instruction and a test for NaN? */
void cg_lower_crypto(Cg *g, IrInsn *i);
bool cg_crypto_native(const IrInsn *i); /* false: it becomes a call, which loses the scratch registers */
/* Calls one of our own helpers; its result is in rax, locked. */
void cg_call_soft(Cg *g, u32 helper, u32 a, u32 b, u32 what);
void cg_lower_vec(Cg *g, IrInsn *i);
void cg_late_vec(Cg *g, const Late *l);
void cg_lower_state(Cg *g, const IrInsn *i); /* peek, poke */
void cg_lower_call(Cg *g, IrInsn *i);
void cg_lower_leave(Cg *g, IrInsn *i);
void cg_emit_late(Cg *g);
void cg_count_block(Cg *g); /* the head of a block, where blocks count (IrFunc.counted) */
void cg_late_tlb(Cg *g, const Late *l);
void cg_retry(Cg *g, u32 frame, u64 pc); /* leaves with TRAP_RETRY, before that instruction */
void cg_late_fp(Cg *g, const Late *l); /* LATE_NAN, LATE_UNBOX, LATE_SOFT, LATE_FLAGS */
/* Linkable exits: an unconditional one, one on a condition, the call of a guest function; what leaves for TRAP_POLL; a trap. */
void cg_jump_to(Cg *g, u64 pc);
void cg_jump_if(Cg *g, unsigned cc, u64 pc);
void cg_call_to(Cg *g, u64 pc, u64 return_pc);
void cg_jump_poll(Cg *g, u64 pc);
void cg_trap(Cg *g, unsigned code, u64 pc, u64 arg);
void cg_leave_to(Cg *g, const IrInsn *i, unsigned target); /* the transfer of exit_ind; a call comes back behind it */
Late *cg_late(Cg *g, LateKind kind, u8 *from);
void cg_test_align(Cg *g, const IrInsn *i); /* of an `align`: the condition CC_NE means misaligned */

/* Number of an xmm register as instructions encode it. */
static inline unsigned xn(unsigned reg) { return reg - X64_XMM; }

static inline void cg_mov_xmm(Cg *g, unsigned dst, unsigned src) {
    if (dst != src) x64_rr(&g->b, I_MOVAPS, xn(dst), xn(src));
}

#endif
