/* SPDX-License-Identifier: Apache-2.0 */
/* The guest `riscv_guest`: how the engine sees RISC-V. Slots, helpers, and the translation of one instruction: decode,
 * fetch the registers that its row reads, call its semantics. */
#include "isa/riscv/sem.h"
#include "isa/riscv/vector.h"

#define XSLOT(n, name) {name, IR_I64, offsetof(RvState, x) + 8 * n}
#define FSLOT(n, name) {name, IR_F64, offsetof(RvState, f) + 8 * n}
#define USER_SLOTS \
    XSLOT(1, "ra"), XSLOT(2, "sp"), XSLOT(3, "gp"), XSLOT(4, "tp"), XSLOT(5, "t0"), XSLOT(6, "t1"), XSLOT(7, "t2"), \
    XSLOT(8, "s0"), XSLOT(9, "s1"), XSLOT(10, "a0"), XSLOT(11, "a1"), XSLOT(12, "a2"), XSLOT(13, "a3"), XSLOT(14, "a4"), \
    XSLOT(15, "a5"), XSLOT(16, "a6"), XSLOT(17, "a7"), XSLOT(18, "s2"), XSLOT(19, "s3"), XSLOT(20, "s4"), XSLOT(21, "s5"), \
    XSLOT(22, "s6"), XSLOT(23, "s7"), XSLOT(24, "s8"), XSLOT(25, "s9"), XSLOT(26, "s10"), XSLOT(27, "s11"), \
    XSLOT(28, "t3"), XSLOT(29, "t4"), XSLOT(30, "t5"), XSLOT(31, "t6"), \
    FSLOT(0, "ft0"), FSLOT(1, "ft1"), FSLOT(2, "ft2"), FSLOT(3, "ft3"), FSLOT(4, "ft4"), FSLOT(5, "ft5"), FSLOT(6, "ft6"), \
    FSLOT(7, "ft7"), FSLOT(8, "fs0"), FSLOT(9, "fs1"), FSLOT(10, "fa0"), FSLOT(11, "fa1"), FSLOT(12, "fa2"), FSLOT(13, "fa3"), \
    FSLOT(14, "fa4"), FSLOT(15, "fa5"), FSLOT(16, "fa6"), FSLOT(17, "fa7"), FSLOT(18, "fs2"), FSLOT(19, "fs3"), \
    FSLOT(20, "fs4"), FSLOT(21, "fs5"), FSLOT(22, "fs6"), FSLOT(23, "fs7"), FSLOT(24, "fs8"), FSLOT(25, "fs9"), \
    FSLOT(26, "fs10"), FSLOT(27, "fs11"), FSLOT(28, "ft8"), FSLOT(29, "ft9"), FSLOT(30, "ft10"), FSLOT(31, "ft11"), \
    [SLOT_FRM] = {"frm", IR_I64, offsetof(RvState, frm)}, \
    [SLOT_RESV_ADDR] = {"resv_addr", IR_I64, offsetof(RvState, resv_addr)}, \
    [SLOT_RESV_VALUE] = {"resv_value", IR_I64, offsetof(RvState, resv_value)},
static const GuestSlot slots[SLOT_COUNT] = {USER_SLOTS};
#define SYSTEM_SLOT(slot, name) [slot] = {#name, IR_I64, offsetof(RvSystem, name)}
static const GuestSlot system_slots[SLOT_SYSTEM_COUNT] = {
    USER_SLOTS
    SYSTEM_SLOT(SLOT_PAGE, page), SYSTEM_SLOT(SLOT_MSTATUS, mstatus), SYSTEM_SLOT(SLOT_SSCRATCH, sscratch), SYSTEM_SLOT(SLOT_SEPC, sepc),
    SYSTEM_SLOT(SLOT_SCAUSE, scause), SYSTEM_SLOT(SLOT_STVAL, stval), SYSTEM_SLOT(SLOT_ALLOW, allow), SYSTEM_SLOT(SLOT_IRQ, irq),
};

/* By static frequency in compiled code (gcc -O2, Debian's coreutils and libc): arguments, stack pointer, saved ones. */
static const u8 hot_slots[] = {
    14, 13, 9, 12, 1, 11, 7, 10, 8, 17, 15, 0, 18, 19, 16, 5, 27, 20, 21, 28, 22, 4, 6, 23, 24, 25, 26, 29, 30, 3, 2,
};
static const u8 hot_fslots[] = {
    SLOT_F0 + 15, SLOT_F0 + 14, SLOT_F0 + 10, SLOT_F0 + 13, SLOT_F0 + 12, SLOT_F0 + 11, SLOT_F0 + 16, SLOT_F0 + 17,
    SLOT_F0 + 0,  SLOT_F0 + 1,  SLOT_F0 + 8,  SLOT_F0 + 9,  SLOT_F0 + 2,  SLOT_F0 + 3,  SLOT_F0 + 18, SLOT_F0 + 19,
};

static const GuestHelper helpers[HELPER_COUNT] = {
#define HELPER_ROW(name, result, facts) {#name, riscv_help_##name, result, facts},
    RV_EACH_HELPER(HELPER_ROW)
#undef HELPER_ROW
};

static SemFn *const semantics[RV_OPS] = {
#define SEMANTICS_ROW(op, sem) [RV_##op] = riscv_sem_##sem,
    RV_EACH_OP(SEMANTICS_ROW)
#undef SEMANTICS_ROW
};

static bool is_vector(u32 bits) {
    RvInsn i;
    return riscv_decode(bits, &i) && (riscv_ops[i.op].facts & RV_IS_VECTOR);
}

static unsigned vector(Vcpu *cpu, u64 code, u64 a, u64 b) { return riscv_vector_known(cpu, (u32)code, (u16)(code >> 32), code >> 48, a, b); }

/* All elements, whatever vl is: the last round of a loop may be the one that is translated. */
static u32 guess(const Vcpu *cpu) {
    u64 key = ((const RvState *)cpu->state)->vkey;
    return key == RV_VKEY_NONE ? 0 : (u32)key | RV_VKEY_FULL;
}

static u32 mode(const Vcpu *cpu) {
    const RvState *s = (const RvState *)cpu->state;
    return (s->frm & 7) | ((s->vector_control & 3) == RV_VECTOR_OFF ? RV_MODE_NO_VECTOR : 0);
}

static u32 system_mode(const Vcpu *cpu) {
    const RvSystem *s = (const RvSystem *)cpu->state;
    return rv_system_mode(s->mstatus, s->priv == RV_M && (s->mstatus & RV_MPRV) ? RV_M_MPRV : (unsigned)s->priv, s->user.frm);
}

static unsigned system_tlb_set(u32 mode) {
    static const u8 of_who[RV_WHOS] = {[RV_U] = RV_TLB_U, [RV_S] = RV_TLB_S, [RV_M_MPRV] = RV_TLB_MPRV, [RV_M] = RV_TLB_M, [RV_WHO_SUM] = RV_TLB_SUM};
    return of_who[rv_mode_who(mode)];
}

/* The instruction at code in *bits, and its length; 0 if it does not lie within avail bytes. */
static unsigned read_code(const u8 *code, size_t avail, u32 *bits) {
    u16 low, high;
    if (avail < 2) return 0;
    memcpy(&low, code, 2);
    *bits = low;
    unsigned len = riscv_insn_len(low);
    if (avail < len) return 0;
    if (len == 4) {
        memcpy(&high, code + 2, 2);
        *bits |= (u32)high << 16;
    }
    return len;
}

static inline Ref read_register(IrBuilder *b, unsigned file, unsigned n) {
    switch (file) {
    case RV_FILE_X: return sem_get_x(b, n);
    case RV_FILE_F: return sem_get_f(b, n);
    }
    return (Ref){0};
}

/* Floating-point instructions are illegal where mstatus.FS is off, and make it dirty where it is not yet: the runtime sees to both. */
static bool float_is_ready(u32 mode, const RvOpInfo *op) {
    bool uses = op->facts & RV_IS_FP;
    for (unsigned k = 0; k < 4; k++) uses |= op->file[k] == RV_FILE_F;
    return !uses || rv_mode_fs(mode) == 2 || (rv_mode_fs(mode) && (op->facts & RV_IS_STORE));
}

/* Likewise mstatus.VS; every one of them makes it dirty, if only by setting vstart. */
static bool vector_is_ready(u32 mode, const RvOpInfo *op) { return rv_mode_vs(mode) || !(op->facts & RV_IS_VECTOR); }

static unsigned lift(IrBuilder *b, u64 pc, const u8 *code, size_t avail) {
    u32 bits;
    unsigned len = read_code(code, avail, &bits);
    if (!len) return 0;
    ir_begin_insn(b, pc, len);
    RvInsn i;
    if (!riscv_decode(bits, &i)) {
        sem_illegal(b, &i);
        return len;
    }
    const RvOpInfo *op = &riscv_ops[i.op];
    if (b->guest->paged && (!float_is_ready(b->mode, op) || !vector_is_ready(b->mode, op))) {
        ir_trap(b, TRAP_PRIV, i.bits);
        return len;
    }
    if (!b->guest->paged && (b->mode & RV_MODE_NO_VECTOR) && (op->facts & RV_IS_VECTOR)) {
        sem_illegal(b, &i);
        return len;
    }
    if (op->facts & RV_HAS_RM) {
        if (i.rm == 7) i.rm = b->mode & IR_MODE_ROUNDING; /* dynamic */
        if (i.rm > 4) { /* reserved [unpriv f, "floating-point control and status register"] */
            sem_illegal(b, &i);
            return len;
        }
    }
    Ref rs1 = read_register(b, op->file[1], i.rs1);
    Ref rs2 = read_register(b, op->file[2], i.rs2);
    Ref rs3 = op->facts & RV_IS_RMW ? sem_get_x(b, i.rd) : read_register(b, op->file[3], i.rs3);
    semantics[i.op](b, &i, pc, rs1, rs2, rs3);
    return len;
}

static unsigned length(const u8 *code) { return riscv_insn_len(code[0]); }

static unsigned disasm(u64 pc, const u8 *code, size_t avail, Text *out) {
    u32 bits;
    char line[96];
    unsigned len = read_code(code, avail, &bits);
    if (!len) return 0;
    riscv_disasm(bits, pc, line, sizeof line);
    text_print(out, "%s", line);
    return len;
}

#define BOTH_GUESTS                                                                                                  \
    .name = "riscv64", .elf_machine = 243 /* EM_RISCV */, .hot_slots = hot_slots, .hot_count = ARRAY_LEN(hot_slots), .hot_fslots = hot_fslots,  \
    .hot_fcount = ARRAY_LEN(hot_fslots), .helpers = helpers, .helper_count = HELPER_COUNT, .insn_align = 2, .insn_max = 4, .lift = lift, .disasm = disasm,  \
    .vectors = offsetof(RvState, v), .vector_key = offsetof(RvState, vkey), .vector_length = offsetof(RvState, vl), .vector_result = offsetof(RvState, vresult), .vector_rounding = offsetof(RvState, vxrm), .vector = vector, .is_vector = is_vector, .guess = guess

const Guest riscv_guest = {
    BOTH_GUESTS,
    .slots = slots,
    .stub_jump = 0x000e0367, /* jalr t1, t3 [psABI, "procedure linkage table"] */
    .stub_jump_at = 8,
    .stub_size = 11 /* a2 */,
    .slot_count = SLOT_COUNT,
    .state_size = sizeof(RvState),
    .mode = mode,
};

const Guest riscv_system_guest = {
    BOTH_GUESTS,
    .slots = system_slots,
    .slot_count = SLOT_SYSTEM_COUNT,
    .state_size = sizeof(RvSystem),
    .paged = true,
    .page_slot = SLOT_PAGE,
    .length = length,
    .tlb_set = system_tlb_set,
    .mode = system_mode,
};
