/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions [unpriv v, zvk]. Each becomes one IR_vec, which riscv_vector can do, whatever vtype and vl are. If vtype is known, or guessed to be
 * what it was when the code was translated (IrFunc.guess), and the instruction works on all elements of whole registers, it says so besides
 * (VEC_*), and the host has code for it that the state's key guards. */
#include "isa/riscv/sem.h"
#include "isa/riscv/vector.h"

enum { W8 = 1, W16 = 2, W32 = 4, W64 = 8, W_ALL = 15, W_HALF = W8 | W16 | W32, W_FP = W32 | W64 };
enum Shape {
    NONE,
    VV, VX, VI, VF,  /* s2, and s1: a vector, an x register, the immediate, an f register */
    UNARY,           /* s2 only */
    MASK,            /* as VV: its destination is a mask */
    MASK_X, MASK_I, MASK_F,
    FIRST,           /* element 0 of s2 is read */
    SET_X, SET_F,    /* that of d is written */
    REDUCE,
    MEM,             /* unit-stride */
    STRIDED,
    INDEXED,         /* widths: of indices */
    WHOLE,           /* of whole registers, as many as the encoding says: vs2 */
    WHOLE_MEM,
    GROUP_S,         /* .vs: the first element group of s2 */
};

typedef struct Inline {
    u8 op, shape, widths;
    u8 factor; /* log2 of how much wider the elements of d are than those of a source, or the other way round */
    bool wide; /* those of d are twice as wide as vtype says */
} Inline;

#define VX_VV(name, op, widths) [RV_##name##_vv] = {op, VV, widths}, [RV_##name##_vx] = {op, VX, widths}
#define VX_VV_VI(name, op, widths) VX_VV(name, op, widths), [RV_##name##_vi] = {op, VI, widths}
#define MASK_VX_VV(name, op) [RV_##name##_vv] = {op, MASK, W_ALL}, [RV_##name##_vx] = {op, MASK_X, W_ALL}
#define WIDE(name, form, shape, op) [RV_##name##_##form] = {op, shape, W_HALF, 1, true}
#define WIDE_VV_VX(name, op) WIDE(name, vv, VV, op), WIDE(name, vx, VX, op)
#define WIDE_WV_WX(name, op) WIDE(name, wv, VV, op), WIDE(name, wx, VX, op)
#define NARROW_WX_WI(name, op) [RV_##name##_wx] = {op, VX, W_HALF, 1}, [RV_##name##_wi] = {op, VI, W_HALF, 1}
#define MASK_VF_VV(name, op) [RV_##name##_vv] = {op, MASK, W_FP}, [RV_##name##_vf] = {op, MASK_F, W_FP}
#define VF_VV(name, op) [RV_##name##_vv] = {op, VV, W_FP}, [RV_##name##_vf] = {op, VF, W_FP}
#define ACCESSES(name, shape, op) [RV_##name##8_v] = {op, shape, W8}, [RV_##name##16_v] = {op, shape, W16}, [RV_##name##32_v] = {op, shape, W32}, [RV_##name##64_v] = {op, shape, W64}
#define WHOLE_LOADS(n) [RV_vl##n##re8_v] = {VEC_LOAD, WHOLE_MEM, 0}, [RV_vl##n##re16_v] = {VEC_LOAD, WHOLE_MEM, 0}, [RV_vl##n##re32_v] = {VEC_LOAD, WHOLE_MEM, 0}, [RV_vl##n##re64_v] = {VEC_LOAD, WHOLE_MEM, 0}
static const Inline inlines[RV_OPS] = {
    VX_VV_VI(vadd, VEC_ADD, W_ALL), VX_VV(vsub, VEC_SUB, W_ALL), [RV_vrsub_vx] = {VEC_RSUB, VX, W_ALL}, [RV_vrsub_vi] = {VEC_RSUB, VI, W_ALL},
    VX_VV_VI(vand, VEC_AND, W_ALL), VX_VV_VI(vor, VEC_OR, W_ALL), VX_VV_VI(vxor, VEC_XOR, W_ALL), VX_VV(vandn, VEC_ANDN, W_ALL),
    VX_VV_VI(vsll, VEC_SLL, W_ALL), VX_VV_VI(vsrl, VEC_SRL, W_ALL), VX_VV_VI(vsra, VEC_SRA, W_ALL),
    VX_VV(vrol, VEC_ROL, W_ALL), VX_VV_VI(vror, VEC_ROR, W_ALL),
    VX_VV(vminu, VEC_MINU, W_ALL), VX_VV(vmin, VEC_MIN, W_ALL), VX_VV(vmaxu, VEC_MAXU, W_ALL), VX_VV(vmax, VEC_MAX, W_ALL),
    VX_VV(vmul, VEC_MUL, W_ALL), VX_VV(vmulh, VEC_MULH, W_ALL), VX_VV(vmulhu, VEC_MULHU, W_ALL),
    VX_VV(vmacc, VEC_MACC, W_ALL), VX_VV(vnmsac, VEC_NMSAC, W_ALL), VX_VV(vmadd, VEC_MADD, W_ALL), VX_VV(vnmsub, VEC_NMSUB, W_ALL),
    [RV_vmv_v_v] = {VEC_MOVE, VV, W_ALL}, [RV_vmv_v_x] = {VEC_MOVE, VX, W_ALL}, [RV_vmv_v_i] = {VEC_MOVE, VI, W_ALL}, [RV_vfmv_v_f] = {VEC_MOVE, VF, W_FP},
    [RV_vmerge_vvm] = {VEC_MERGE, VV, W_ALL}, [RV_vmerge_vxm] = {VEC_MERGE, VX, W_ALL}, [RV_vmerge_vim] = {VEC_MERGE, VI, W_ALL}, [RV_vfmerge_vfm] = {VEC_MERGE, VF, W_FP},
    VX_VV(vaaddu, VEC_AVGU, W_ALL),
    [RV_vid_v] = {VEC_ID, UNARY, W_ALL}, [RV_vmv_x_s] = {VEC_GET, FIRST, W_ALL}, [RV_vfmv_f_s] = {VEC_GETF, FIRST, W_FP}, [RV_vmv_s_x] = {VEC_SET, SET_X, W_ALL}, [RV_vfmv_s_f] = {VEC_SET, SET_F, W_FP},
    [RV_vredsum_vs] = {VEC_REDSUM, REDUCE, W_ALL}, [RV_vredand_vs] = {VEC_REDAND, REDUCE, W_ALL}, [RV_vredor_vs] = {VEC_REDOR, REDUCE, W_ALL},
    [RV_vredxor_vs] = {VEC_REDXOR, REDUCE, W_ALL}, [RV_vredminu_vs] = {VEC_REDMINU, REDUCE, W_ALL}, [RV_vredmin_vs] = {VEC_REDMIN, REDUCE, W_ALL},
    [RV_vredmaxu_vs] = {VEC_REDMAXU, REDUCE, W_ALL}, [RV_vredmax_vs] = {VEC_REDMAX, REDUCE, W_ALL},
    MASK_VX_VV(vmseq, VEC_EQ), [RV_vmseq_vi] = {VEC_EQ, MASK_I, W_ALL}, MASK_VX_VV(vmsne, VEC_NE), [RV_vmsne_vi] = {VEC_NE, MASK_I, W_ALL},
    MASK_VX_VV(vmsltu, VEC_LTU), MASK_VX_VV(vmslt, VEC_LT), MASK_VX_VV(vmsleu, VEC_LEU), [RV_vmsleu_vi] = {VEC_LEU, MASK_I, W_ALL},
    MASK_VX_VV(vmsle, VEC_LE), [RV_vmsle_vi] = {VEC_LE, MASK_I, W_ALL}, [RV_vmsgtu_vx] = {VEC_GTU, MASK_X, W_ALL}, [RV_vmsgtu_vi] = {VEC_GTU, MASK_I, W_ALL},
    [RV_vmsgt_vx] = {VEC_GT, MASK_X, W_ALL}, [RV_vmsgt_vi] = {VEC_GT, MASK_I, W_ALL},
    ACCESSES(vle, MEM, VEC_LOAD), ACCESSES(vse, MEM, VEC_STORE),
    ACCESSES(vlse, STRIDED, VEC_LOAD_STRIDED), ACCESSES(vsse, STRIDED, VEC_STORE_STRIDED), ACCESSES(vluxei, INDEXED, VEC_LOAD_INDEXED),
    ACCESSES(vloxei, INDEXED, VEC_LOAD_INDEXED), ACCESSES(vsuxei, INDEXED, VEC_STORE_INDEXED), ACCESSES(vsoxei, INDEXED, VEC_STORE_INDEXED),
    WHOLE_LOADS(1), WHOLE_LOADS(2), WHOLE_LOADS(4), WHOLE_LOADS(8),
    [RV_vs1r_v] = {VEC_STORE, WHOLE_MEM, 0}, [RV_vs2r_v] = {VEC_STORE, WHOLE_MEM, 0}, [RV_vs4r_v] = {VEC_STORE, WHOLE_MEM, 0}, [RV_vs8r_v] = {VEC_STORE, WHOLE_MEM, 0},
    [RV_vmv1r_v] = {VEC_MOVE, WHOLE, 0}, [RV_vmv2r_v] = {VEC_MOVE, WHOLE, 0}, [RV_vmv4r_v] = {VEC_MOVE, WHOLE, 0}, [RV_vmv8r_v] = {VEC_MOVE, WHOLE, 0},
    [RV_vrev8_v] = {VEC_REV8, UNARY, W_ALL}, [RV_vbrev8_v] = {VEC_BREV8, UNARY, W_ALL},
    VF_VV(vfadd, VEC_FADD), VF_VV(vfsub, VEC_FSUB), [RV_vfrsub_vf] = {VEC_FRSUB, VF, W_FP}, VF_VV(vfmul, VEC_FMUL), VF_VV(vfdiv, VEC_FDIV), [RV_vfrdiv_vf] = {VEC_FRDIV, VF, W_FP},
    [RV_vfsqrt_v] = {VEC_FSQRT, UNARY, W_FP},
    VF_VV(vfmacc, VEC_FMACC), VF_VV(vfnmacc, VEC_FNMACC), VF_VV(vfmsac, VEC_FMSAC), VF_VV(vfnmsac, VEC_FNMSAC),
    VF_VV(vfmadd, VEC_FMADD), VF_VV(vfnmadd, VEC_FNMADD), VF_VV(vfmsub, VEC_FMSUB), VF_VV(vfnmsub, VEC_FNMSUB),
    VF_VV(vfmin, VEC_FMIN), VF_VV(vfmax, VEC_FMAX),
    MASK_VF_VV(vmfeq, VEC_FEQ), MASK_VF_VV(vmfne, VEC_FNE), MASK_VF_VV(vmflt, VEC_FLT), MASK_VF_VV(vmfle, VEC_FLE),
    [RV_vmfgt_vf] = {VEC_FGT, MASK_F, W_FP}, [RV_vmfge_vf] = {VEC_FGE, MASK_F, W_FP},
    [RV_vfcvt_x_f_v] = {VEC_FTOI, UNARY, W32}, [RV_vfcvt_rtz_x_f_v] = {VEC_FTOI_RTZ, UNARY, W32}, [RV_vfcvt_f_x_v] = {VEC_ITOF, UNARY, W32},
    [RV_vfwcvt_f_f_v] = {VEC_FWIDEN, UNARY, W32, 1, true}, [RV_vfwcvt_f_x_v] = {VEC_IWIDEN, UNARY, W32, 1, true}, [RV_vfncvt_f_f_w] = {VEC_FNARROW, UNARY, W32, 1},
    VF_VV(vfsgnj, VEC_SGNJ), VF_VV(vfsgnjn, VEC_SGNJN), VF_VV(vfsgnjx, VEC_SGNJX),
    [RV_vslide1up_vx] = {VEC_SLIDE1UP, VX, W_ALL}, [RV_vslide1down_vx] = {VEC_SLIDE1DOWN, VX, W_ALL},
    [RV_vslidedown_vi] = {VEC_SLIDEDOWN, VI, W_ALL}, [RV_vslideup_vi] = {VEC_SLIDEUP, VI, W_ALL},
    [RV_vrgather_vv] = {VEC_GATHER, VV, W_ALL},
    [RV_vzext_vf2] = {VEC_ZEXT, UNARY, W_ALL, 1}, [RV_vzext_vf4] = {VEC_ZEXT, UNARY, W_ALL, 2}, [RV_vzext_vf8] = {VEC_ZEXT, UNARY, W_ALL, 3},
    [RV_vsext_vf2] = {VEC_SEXT, UNARY, W_ALL, 1}, [RV_vsext_vf4] = {VEC_SEXT, UNARY, W_ALL, 2}, [RV_vsext_vf8] = {VEC_SEXT, UNARY, W_ALL, 3},
    WIDE_VV_VX(vwadd, VEC_WADD), WIDE_VV_VX(vwaddu, VEC_WADDU), WIDE_VV_VX(vwsub, VEC_WSUB), WIDE_VV_VX(vwsubu, VEC_WSUBU),
    WIDE_WV_WX(vwadd, VEC_WADDW), WIDE_WV_WX(vwaddu, VEC_WADDUW), WIDE_WV_WX(vwsub, VEC_WSUBW), WIDE_WV_WX(vwsubu, VEC_WSUBUW),
    WIDE_VV_VX(vwmul, VEC_WMUL), WIDE_VV_VX(vwmulu, VEC_WMULU), WIDE_VV_VX(vwmulsu, VEC_WMULSU), WIDE_VV_VX(vwmacc, VEC_WMACC),
    WIDE_VV_VX(vwmaccu, VEC_WMACCU), WIDE_VV_VX(vwmaccsu, VEC_WMACCSU), WIDE(vwmaccus, vx, VX, VEC_WMACCUS),
    NARROW_WX_WI(vnsrl, VEC_NSRL), NARROW_WX_WI(vnsra, VEC_NSRA),
    VX_VV(vclmul, VEC_CLMUL, W64), VX_VV(vclmulh, VEC_CLMULH, W64),
    [RV_vaesem_vv] = {VEC_AESEM, UNARY, W32}, [RV_vaesem_vs] = {VEC_AESEM, GROUP_S, W32}, [RV_vaesef_vv] = {VEC_AESEF, UNARY, W32}, [RV_vaesef_vs] = {VEC_AESEF, GROUP_S, W32},
    [RV_vaesdm_vv] = {VEC_AESDM, UNARY, W32}, [RV_vaesdm_vs] = {VEC_AESDM, GROUP_S, W32}, [RV_vaesdf_vv] = {VEC_AESDF, UNARY, W32}, [RV_vaesdf_vs] = {VEC_AESDF, GROUP_S, W32},
    [RV_vaesz_vs] = {VEC_AESZ, GROUP_S, W32},
    [RV_vsha2ms_vv] = {VEC_SHA2MS, VV, W32}, [RV_vsha2ch_vv] = {VEC_SHA2CH, VV, W32}, [RV_vsha2cl_vv] = {VEC_SHA2CL, VV, W32},
    [RV_vghsh_vv] = {VEC_GHSH, VV, W32}, [RV_vgmul_vv] = {VEC_GMUL, UNARY, W32},
};

/* --- may it be inline? ------------------------------------------------------------------------------------------------ */

static bool is_mask(const Inline *n) { return n->shape >= MASK && n->shape <= MASK_F; }
static bool is_whole(const Inline *n) { return n->shape == WHOLE || n->shape == WHOLE_MEM; }
static bool is_scalar(const Inline *n) {
    return n->shape == VX || n->shape == VI || n->shape == VF || n->shape == MASK_X || n->shape == MASK_I || n->shape == MASK_F || n->shape == SET_X || n->shape == SET_F;
}
static bool is_float(const Inline *n) { return (n->op >= VEC_FADD && n->op <= VEC_SGNJX) || n->shape == VF; }
static bool is_slide(const Inline *n) { return n->op >= VEC_SLIDE1UP && n->op <= VEC_SLIDEUP; }

typedef struct Size { /* of the destination */
    unsigned count;    /* registers; 0: not inline */
    unsigned fraction; /* log2 of the part of one that its elements fill */
} Size;

static Size size_of(const IrBuilder *b, const RvInsn *i, const Inline *n) {
    if (n->shape == FIRST || n->shape == SET_X || n->shape == SET_F) return (Size){n->widths >> riscv_vsew(b->guess) & 1, 0};
    if (is_whole(n)) return (Size){(i->bits >> (n->shape == WHOLE ? 15 : 29) & 7) + 1, 0};
    int group = riscv_vlmul(b->guess);
    unsigned sew = riscv_vsew(b->guess);
    if (n->shape == MEM || n->shape == STRIDED) {
        group += __builtin_ctz(n->widths) - (int)sew;
    } else if (n->shape != INDEXED) {
        if (!(n->widths >> sew & 1)) return (Size){0};
        group += n->wide;
    }
    return group > 0 ? (Size){1u << group, 0} : (Size){1, (unsigned)-group};
}

/* Can the host do it, legal as it is? Parts of a register: not what would note things of elements that are none, or fetch them. */
static bool is_simple(const IrBuilder *b, const Inline *n, Size size) {
    if (!size.count || (is_mask(n) && size.count > 1)) return false;
    if (is_float(n) && (b->mode & IR_MODE_ROUNDING) > 3) return false;
    if (n->op == VEC_FNARROW) return size.fraction < 2;
    return !size.fraction || (!is_float(n) && !is_slide(n) && n->shape != REDUCE && n->op != VEC_GATHER);
}

static unsigned form_of(const IrBuilder *b, const RvInsn *i, const Inline *n) {
    unsigned form = is_scalar(n) || n->shape == GROUP_S ? VEC_SCALAR : 0;
    if (is_whole(n)) form |= VEC_WHOLE;
    else if (n->shape == MEM || n->shape == STRIDED) form |= (unsigned)__builtin_ctz(n->widths);
    else if (n->shape == INDEXED) form |= riscv_vsew(b->guess) | (unsigned)__builtin_ctz(n->widths) << VEC_FACTOR_SHIFT;
    else form |= riscv_vsew(b->guess) + n->wide;
    if (!(i->bits >> 25 & 1) && !is_whole(n) && n->op != VEC_MERGE) form |= VEC_MASKED; /* the bit is 1 where there is no mask */
    return form | (unsigned)n->factor << VEC_FACTOR_SHIFT;
}

/* ------------------------------------------------------------------------------------------------------------------------- */

/* An f register as riscv_vector wants it; if it is not NaN-boxed, as the value that it counts as [unpriv v, "vector floating-point instructions"]. */
static Ref float_operand(IrBuilder *b, const Inline *n, Ref f) {
    if (n->op && b->guess && riscv_vsew(b->guess) == 2) f = ir_box(b, ir_unbox(b, IR_F32, f));
    return ir_bits(b, f);
}

/* Which of its operations an access is: segments have a count of fields, less one, in imm. */
static VecOp op_of(const RvInsn *i, const Inline *n) {
    if (n->shape != MEM || !i->imm) return (VecOp)n->op;
    return n->op == VEC_LOAD ? VEC_LOAD_FIELDS : VEC_STORE_FIELDS;
}

static u32 registers_of(const RvInsn *i, const Inline *n, Size size) {
    unsigned d = riscv_ops[i->op].file[0] == RV_FILE_V ? i->rd : i->rs3, s1 = i->rs1;
    if (n->shape == WHOLE) s1 = i->rs2;
    else if (n->shape == MEM || n->shape == STRIDED || n->shape == INDEXED) s1 = (unsigned)i->imm;
    return vec_registers(d, i->rs2, s1, size.count, size.fraction);
}

/* Fault-only-first loads may change vl. */
static bool may_shorten(const RvInsn *i) {
    enum { OP_LOAD = 0x07, FAULT_FIRST = 16 };
    return (i->bits & 0x7f) == OP_LOAD && !(i->bits >> 26 & 3) && (i->bits >> 20 & 31) == FAULT_FIRST;
}

SEM(vector) {
    (void)pc, (void)rs3;
    const Inline *n = &inlines[i->op];
    const RvOpInfo *op = &riscv_ops[i->op];
    u32 key = b->guess && riscv_vector_is_legal(i->bits, i->op, b->guess & 0xff, b->mode & IR_MODE_ROUNDING) ? b->guess : 0;
    Size size = key && n->op ? size_of(b, i, n) : (Size){0};
    bool is_inline = is_simple(b, n, size);
    Ref x = op->file[1] == RV_FILE_F ? float_operand(b, n, rs1) : op->file[1] == RV_FILE_X ? rs1 : ir_i64(b, is_inline && (n->shape == VI || n->shape == MASK_I) ? IMM : 0);
    Ref y = op->file[2] == RV_FILE_X ? rs2 : ir_i64(b, 0);
    unsigned form = (is_inline ? form_of(b, i, n) : 0) | (op->facts & (RV_IS_LOAD | RV_IS_STORE) ? VEC_MEMORY : 0);
    ir_vec(b, is_inline ? op_of(i, n) : VEC_CALL, form, is_inline ? registers_of(i, n, size) : 0, key, (u64)i->op << 32 | i->bits, x, y);
    if (may_shorten(i)) b->length.full = 0;
    if (op->file[0] != RV_FILE_X && op->file[0] != RV_FILE_F) return;
    Ref result = ir_peek(b, offsetof(RvState, vresult));
    if (op->file[0] == RV_FILE_X) RD(result);
    else FD(ir_bits(b, result));
}
