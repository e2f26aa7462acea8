/* SPDX-License-Identifier: Apache-2.0 */
/* What the floating-point operations compute, in terms of base/softfp. */
#include "base/softfp.h"
#include "ir/interp.h"

static SoftfpType format_of(IrType t) { return t == IR_F16 ? SOFTFP_F16 : t == IR_F32 ? SOFTFP_F32 : SOFTFP_F64; }

static SoftfpInt int_of(IrType t, unsigned aux2) {
    bool sign = aux2 & IR_SIGNED;
    return t == IR_I64 ? (sign ? SOFTFP_I64 : SOFTFP_U64) : (sign ? SOFTFP_I32 : SOFTFP_U32);
}

static int negations(unsigned aux2) {
    return (aux2 & IR_NEG_PRODUCT ? SOFTFP_NEGATE_PRODUCT : 0) | (aux2 & IR_NEG_ADDEND ? SOFTFP_NEGATE_ADDEND : 0);
}

u64 ir_eval_fp(IrOp op, IrType type, IrType operand_type, unsigned aux, unsigned aux2, u64 a, u64 b, u64 c, u32 *flags) {
    SoftfpType t = format_of(operand_type == IR_I32 || operand_type == IR_I64 ? type : operand_type);
    SoftfpRound rm = (SoftfpRound)aux;
    bool quiet = aux2 & IR_QUIET;
    u64 sign = t == SOFTFP_F64 ? 1ull << 63 : t == SOFTFP_F32 ? 1ull << 31 : 1ull << 15;
    switch ((int)op) {
    case IR_fadd: return softfp_add(t, a, b, rm, flags);
    case IR_fsub: return softfp_sub(t, a, b, rm, flags);
    case IR_fmul: return softfp_mul(t, a, b, rm, flags);
    case IR_fdiv: return softfp_div(t, a, b, rm, flags);
    case IR_fsqrt: return softfp_sqrt(t, a, rm, flags);
    case IR_fma: return softfp_fma(t, a, b, c, negations(aux2), rm, flags);
    case IR_fmin: return softfp_min(t, a, b, flags);
    case IR_fmax: return softfp_max(t, a, b, flags);
    case IR_fminm: return softfp_minm(t, a, b, flags);
    case IR_fmaxm: return softfp_maxm(t, a, b, flags);
    case IR_feq: return softfp_eq(t, a, b, flags);
    case IR_flt: return quiet ? softfp_ltq(t, a, b, flags) : softfp_lt(t, a, b, flags);
    case IR_fle: return quiet ? softfp_leq(t, a, b, flags) : softfp_le(t, a, b, flags);
    case IR_fclass: return softfp_class(t, a);
    case IR_fneg: return a ^ sign;
    case IR_fabs: return a & ~sign;
    case IR_fcopysign: return (a & ~sign) | (b & sign);
    case IR_fcvt: return softfp_convert(format_of(type), t, a, rm, flags);
    case IR_ftoi: {
        u64 r = softfp_to_int(int_of(type, aux2), t, a, rm, flags);
        return type == IR_I32 ? (u32)r : r;
    }
    case IR_itof: return softfp_from_int(t, int_of(operand_type, aux2), a, rm, flags);
    case IR_fround: return softfp_round(t, a, rm, aux2 & IR_INEXACT, flags);
    default: BUG("not a floating-point operation");
    }
}
