/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point: F, D, Zfh, Zfa. One function serves the three formats: the fmt field tells which. An f register
 * is an f64 container; narrower values are NaN-boxed in it [unpriv d, "NaN boxing of narrower values"]. */
#include "isa/riscv/sem.h"

/* Type of fmt, bits 26:25 of most instructions. */
static IrType fmt_type(const RvInsn *i) {
    static const u8 types[4] = {IR_F32, IR_F64, IR_F16, IR_VOID};
    return (IrType)types[i->bits >> 25 & 3];
}
static u64 sign_bit(IrType t) { return 1ull << (t == IR_F16 ? 15 : t == IR_F32 ? 31 : 63); }
static u64 box_bits(IrType t) { return t == IR_F64 ? 0 : -(sign_bit(t) << 1); }

static Ref unbox(IrBuilder *b, IrType t, Ref container) { return t == IR_F64 ? container : ir_unbox(b, t, container); }
static Ref box(IrBuilder *b, Ref v) { return ir_type_of(b, v) == IR_F64 ? v : ir_box(b, v); }
#define FLOAT(container) unbox(b, fmt_type(i), container)
/* The bits of a checked value, with its box, as i64. */
static Ref bits_of(IrBuilder *b, IrType t, Ref container) { return ir_bits(b, box(b, unbox(b, t, container))); }

/* --- loads, stores, moves */

static Ref from_bits(IrBuilder *b, IrType t, Ref bits) { return ir_bits(b, ir_imm(b, IR_or, bits, box_bits(t))); }

SEM(flw) { FD(ir_box(b, ir_loadf(b, IR_F32, rs1, i->imm))); }
SEM(fld) { FD(ir_loadf(b, IR_F64, rs1, i->imm)); }
SEM(flh) { FD(from_bits(b, IR_F16, ir_loadu(b, 16, rs1, i->imm))); }
SEM(fsw) { ir_store(b, 32, rs1, i->imm, ir_flow(b, IR_F32, rs2)); }
SEM(fsd) { ir_store(b, 64, rs1, i->imm, rs2); }
SEM(fsh) { ir_store(b, 16, rs1, i->imm, ir_bits(b, rs2)); }
SEM(fmv_x_d) { RD(ir_bits(b, rs1)); }
SEM(fmv_x_w) { RD(ir_sext(b, 32, ir_bits(b, rs1))); }
SEM(fmv_x_h) { RD(ir_sext(b, 16, ir_bits(b, rs1))); }
SEM(fmv_d_x) { FD(ir_bits(b, rs1)); }
SEM(fmv_w_x) { /* as a box, so that who reads it need not look */
    Ref single = ir_bits(b, ir_trunc(b, rs1));
    FD(ir_box(b, single));
}
SEM(fmv_h_x) { FD(from_bits(b, IR_F16, rs1)); }

/* --- arithmetic */

static void binary(IrBuilder *b, const RvInsn *i, IrOp op, Ref x, Ref y) {
    Ref fx = FLOAT(x);
    Ref fy = FLOAT(y);
    FD(box(b, ir_fp2(b, op, i->rm, fx, fy)));
}
SEM(fadd) { binary(b, i, IR_fadd, rs1, rs2); }
SEM(fsub) { binary(b, i, IR_fsub, rs1, rs2); }
SEM(fmul) { binary(b, i, IR_fmul, rs1, rs2); }
SEM(fdiv) { binary(b, i, IR_fdiv, rs1, rs2); }
SEM(fmin) { binary(b, i, IR_fmin, rs1, rs2); }
SEM(fmax) { binary(b, i, IR_fmax, rs1, rs2); }
SEM(fminm) { binary(b, i, IR_fminm, rs1, rs2); }
SEM(fmaxm) { binary(b, i, IR_fmaxm, rs1, rs2); }
SEM(fsqrt) { FD(box(b, ir_fp1(b, IR_fsqrt, i->rm, FLOAT(rs1)))); }

static void fused(IrBuilder *b, const RvInsn *i, unsigned negate, Ref x, Ref y, Ref z) {
    Ref fx = FLOAT(x);
    Ref fy = FLOAT(y);
    Ref fz = FLOAT(z);
    FD(box(b, ir_fma(b, i->rm, negate, fx, fy, fz)));
}
SEM(fmadd) { fused(b, i, 0, rs1, rs2, rs3); }
SEM(fmsub) { fused(b, i, IR_NEG_ADDEND, rs1, rs2, rs3); }
SEM(fnmsub) { fused(b, i, IR_NEG_PRODUCT, rs1, rs2, rs3); }
SEM(fnmadd) { fused(b, i, IR_NEG_PRODUCT | IR_NEG_ADDEND, rs1, rs2, rs3); }

/* --- signs. Both operands one register: move, negate, absolute value, which is nearly every use. */

SEM(fsgnj) { binary(b, i, IR_fcopysign, rs1, rs2); }
SEM(fsgnjn) {
    Ref x = FLOAT(rs1);
    Ref minus = ir_fp1(b, IR_fneg, 0, FLOAT(rs2));
    FD(box(b, i->rs1 == i->rs2 ? minus : ir_fp2(b, IR_fcopysign, 0, x, minus)));
}
SEM(fsgnjx) {
    IrType t = fmt_type(i);
    if (i->rs1 == i->rs2) {
        FD(box(b, ir_fp1(b, IR_fabs, 0, FLOAT(rs1))));
        return;
    }
    Ref sign = ir_imm(b, IR_and, bits_of(b, t, rs2), sign_bit(t));
    FD(ir_bits(b, ir_xor(b, bits_of(b, t, rs1), sign)));
}

/* --- comparisons, class */

static void compare(IrBuilder *b, const RvInsn *i, IrOp op, unsigned quiet, Ref x, Ref y) {
    Ref fx = FLOAT(x);
    Ref fy = FLOAT(y);
    RD(ir_zext(b, 1, ir_fcmp(b, op, quiet, fx, fy)));
}
SEM(feq) { compare(b, i, IR_feq, 0, rs1, rs2); }
SEM(flt) { compare(b, i, IR_flt, 0, rs1, rs2); }
SEM(fle) { compare(b, i, IR_fle, 0, rs1, rs2); }
SEM(fltq) { compare(b, i, IR_flt, IR_QUIET, rs1, rs2); }
SEM(fleq) { compare(b, i, IR_fle, IR_QUIET, rs1, rs2); }
SEM(fclass) { RD(ir_fclass(b, FLOAT(rs1))); }

/* --- conversions */

SEM(fcvt_w_f) { RD(ir_sext(b, 32, ir_ftoi(b, IR_I32, true, i->rm, FLOAT(rs1)))); }
SEM(fcvt_wu_f) { RD(ir_sext(b, 32, ir_ftoi(b, IR_I32, false, i->rm, FLOAT(rs1)))); }
SEM(fcvt_l_f) { RD(ir_ftoi(b, IR_I64, true, i->rm, FLOAT(rs1))); }
SEM(fcvt_lu_f) { RD(ir_ftoi(b, IR_I64, false, i->rm, FLOAT(rs1))); }
SEM(fcvt_f_w) { FD(box(b, ir_itof(b, fmt_type(i), true, i->rm, ir_trunc(b, rs1)))); }
SEM(fcvt_f_wu) { FD(box(b, ir_itof(b, fmt_type(i), false, i->rm, ir_trunc(b, rs1)))); }
SEM(fcvt_f_l) { FD(box(b, ir_itof(b, fmt_type(i), true, i->rm, rs1))); }
SEM(fcvt_f_lu) { FD(box(b, ir_itof(b, fmt_type(i), false, i->rm, rs1))); }
/* From the format in the rs2 field, numbered as fmt. */
SEM(fcvt_f_f) {
    static const u8 types[3] = {IR_F32, IR_F64, IR_F16};
    Ref x = unbox(b, (IrType)types[i->bits >> 20 & 3], rs1);
    FD(box(b, ir_fcvt(b, fmt_type(i), i->rm, x)));
}
SEM(fround) { FD(box(b, ir_fround(b, false, i->rm, FLOAT(rs1)))); }
SEM(froundnx) { FD(box(b, ir_fround(b, true, i->rm, FLOAT(rs1)))); }
SEM(fcvtmod_w_d) { RD(CALL1(fcvtmod, rs1)); }

/* --- constants [unpriv zfa, table of fli]: each format's bits */
static const u16 fli_f16[32] = {
    0xbc00, 0x0400, 0x0100, 0x0200, 0x1c00, 0x2000, 0x2c00, 0x3000, 0x3400, 0x3500, 0x3600, 0x3700, 0x3800, 0x3900,
    0x3a00, 0x3b00, 0x3c00, 0x3d00, 0x3e00, 0x3f00, 0x4000, 0x4100, 0x4200, 0x4400, 0x4800, 0x4c00, 0x5800, 0x5c00,
    0x7800, 0x7c00, 0x7c00, 0x7e00,
};
static const u32 fli_f32[32] = {
    0xbf800000, 0x00800000, 0x37800000, 0x38000000, 0x3b800000, 0x3c000000, 0x3d800000, 0x3e000000,
    0x3e800000, 0x3ea00000, 0x3ec00000, 0x3ee00000, 0x3f000000, 0x3f200000, 0x3f400000, 0x3f600000,
    0x3f800000, 0x3fa00000, 0x3fc00000, 0x3fe00000, 0x40000000, 0x40200000, 0x40400000, 0x40800000,
    0x41000000, 0x41800000, 0x43000000, 0x43800000, 0x47000000, 0x47800000, 0x7f800000, 0x7fc00000,
};
static const u64 fli_f64[32] = {
    0xbff0000000000000, 0x0010000000000000, 0x3ef0000000000000, 0x3f00000000000000, 0x3f70000000000000,
    0x3f80000000000000, 0x3fb0000000000000, 0x3fc0000000000000, 0x3fd0000000000000, 0x3fd4000000000000,
    0x3fd8000000000000, 0x3fdc000000000000, 0x3fe0000000000000, 0x3fe4000000000000, 0x3fe8000000000000,
    0x3fec000000000000, 0x3ff0000000000000, 0x3ff4000000000000, 0x3ff8000000000000, 0x3ffc000000000000,
    0x4000000000000000, 0x4004000000000000, 0x4008000000000000, 0x4010000000000000, 0x4020000000000000,
    0x4030000000000000, 0x4060000000000000, 0x4070000000000000, 0x40e0000000000000, 0x40f0000000000000,
    0x7ff0000000000000, 0x7ff8000000000000,
};

SEM(fli) {
    IrType t = fmt_type(i);
    u64 bits = t == IR_F16 ? fli_f16[i->imm] : t == IR_F32 ? fli_f32[i->imm] : fli_f64[i->imm];
    FD(ir_const(b, IR_F64, bits | box_bits(t)));
}
