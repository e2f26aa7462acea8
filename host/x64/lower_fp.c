/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point to SSE/AVX/FMA.
 *
 * MXCSR holds the guest's rounding mode (the block's mode: RISC-V frm), and tells of the guest's flags (stubs.c), so an
 * operation is the host's instruction plus, for results that may be NaN, a test that leads to a slow path out of line:
 * the guest's NaN is canonical, the host's is not. What the host does not have (round to nearest, ties to max
 * magnitude; a static rounding mode other than the current; half precision arithmetic) goes through softfp.
 * [riscv unpriv 21; SDM vol. 1, 11.5]
 */
#include "host/x64/region.h"

static unsigned format(unsigned type) { return type == IR_F16 ? 0 : type == IR_F32 ? 1 : 2; }
static unsigned scalar(unsigned type) { return type == IR_F64 ? 3 : 2; } /* pp: F2, F3 */
static X64Mem constant(unsigned k) { return x64_mem(RBP, CPU_OFF(k) + 16 * (i64)k); }

/* dst = a OP b; dst may be a, and b too with AVX or a commuting operation. */
static void sse3(Cg *g, u32 insn, unsigned dst, unsigned a, unsigned b) {
    if (x64_features.avx) {
        x64_vrr(&g->b, insn, xn(dst), xn(a), xn(b));
        return;
    }
    ASSERT(dst != b || dst == a);
    cg_mov_xmm(g, dst, a);
    x64_rr(&g->b, insn, xn(dst), xn(b));
}

static void sse3_mem(Cg *g, u32 insn, unsigned dst, unsigned a, X64Mem m) {
    if (x64_features.avx) {
        x64_vrm(&g->b, insn, xn(dst), xn(a), m);
        return;
    }
    cg_mov_xmm(g, dst, a);
    x64_rm(&g->b, insn, xn(dst), m);
}

/* Without AVX the destination must not be the second operand. */
static u32 avoid_second(unsigned b) { return x64_features.avx ? 0 : 1u << b; }

/* --- slow paths ------------------------------------------------------------------------------------ */

/* Is the host's instruction right for this operation? */
static bool native_rounding(const Cg *g, const IrInsn *i) { return i->aux == (g->f->mode & IR_MODE_ROUNDING) && i->aux <= 3; }

static void store_imm64(Cg *g, X64Mem m, u64 v) {
    for (unsigned k = 0; k < 2; k++, m.disp += 4) {
        x64_rm(&g->b, INSN(0, 0, 0xc7), 0, m);
        x64_u32(&g->b, (u32)(v >> 32 * k));
    }
}

/* NO_REG: the canonical NaN. */
static void soft_arguments(Cg *g, const IrInsn *i, const u8 operand[3]) {
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++) {
        X64Mem m = x64_mem(RBP, CPU_OFF(arg) + 8 * (i64)k);
        if (operand[k] == NO_REG) store_imm64(g, m, i->type == IR_F64 ? 0x7ff8000000000000 : 0x7fc00000);
        else if (operand[k] >= X64_XMM) x64_rm(&g->b, I_MOVS_STORE(3), xn(operand[k]), m);
        else x64_rm(&g->b, I_MOV_RM_R | W1, operand[k], m);
    }
}

/* Calls softfp for instruction i, operands in registers, result to `dst`; all other registers survive. */
static void soft_call(Cg *g, const IrInsn *i, const u8 operand[3], unsigned dst) {
    soft_arguments(g, i, operand);
    store_imm64(g, x64_mem(RBP, CPU_OFF(arg) + 24), x64_soft_what(i, (IrType)cg_insn(g, i->a)->type));
    x64_call_mem(&g->b, STUB_MEM(STUB_SOFT));
    if (dst >= X64_XMM) x64_rm(&g->b, I_MOVS_LOAD(3), xn(dst), CPU_MEM(result));
    else x64_rm(&g->b, I_MOV_R_RM | W1, dst, CPU_MEM(result));
}

static void use_all(Cg *g, const IrInsn *i, u8 operand[3]) {
    unsigned n = ir_op_operands[i->op];
    operand[0] = (u8)cg_use(g, i->a);
    if (n > 1) operand[1] = (u8)cg_use(g, i->b);
    if (n > 2) operand[2] = (u8)cg_use(g, i->c);
}

static void soft_inline(Cg *g, IrInsn *i) {
    u8 operand[3];
    use_all(g, i, operand);
    unsigned dst = cg_target(g, cg_is_xmm_type(i->type), 0, NO_REG);
    soft_call(g, i, operand, dst);
    cg_set(g, dst);
}

/* From here (a branch whose rel32 is at `from`) to softfp and back behind the current position. */
static void soft_late(Cg *g, u8 *from, const u8 operand[3], unsigned dst) {
    Late *l = cg_late(g, LATE_SOFT, from);
    memcpy(l->operand, operand, 3);
    l->insn = g->cur;
    l->reg = (u8)dst;
    l->back = g->b.at;
}

/* The result in dst may be NaN: make it canonical, out of line. */
static void canonical_nan(Cg *g, unsigned dst, unsigned type) {
    if (g->region && region_defers_nan(g->region, g->cur)) return;
    x64_rr(&g->b, I_UCOMIS(type == IR_F64 ? 1 : 0), xn(dst), xn(dst));
    Late *l = cg_late(g, LATE_NAN, x64_jcc(&g->b, CC_P, NULL));
    l->reg = (u8)dst;
    l->type = (u8)type;
    l->insn = g->cur;
    l->back = g->b.at;
}

static void load_nan(Cg *g, unsigned reg, unsigned type) { x64_rm(&g->b, I_MOVS_LOAD(scalar(type)), xn(reg), constant(VCPU_K_NAN + format(type))); }

void cg_canonical_nan(Cg *g, unsigned reg, unsigned type) {
    x64_rr(&g->b, I_UCOMIS(type == IR_F64 ? 1 : 0), xn(reg), xn(reg));
    u8 *fine = x64_jcc_short(&g->b, CC_NP);
    load_nan(g, reg, type);
    x64_here_short(&g->b, fine);
}

/* The host's flags are the guest's, too. */
static void read_flags(Cg *g, unsigned dst) {
    x64_stmxcsr(&g->b, CPU_MEM(mxcsr));
    x64_rm(&g->b, I_MOV_R_RM, dst, CPU_MEM(mxcsr));
    x64_alu_ri(&g->b, ALU_AND, 0, dst, 0x3f);
    x64_rm(&g->b, I_MOVZX8, dst, x64_mem_index(RBP, dst, 0, CPU_OFF(flag_map)));
    x64_alu_rm(&g->b, ALU_OR, 0, dst, CPU_MEM(fflags));
}

/* Behind the block: called by leave.c. */
void cg_late_fp(Cg *g, const Late *l) {
    switch (l->kind) {
    case LATE_SOFT: soft_call(g, cg_insn(g, l->insn), l->operand, l->reg); break;
    case LATE_FLAGS: read_flags(g, l->reg); break;
    default: load_nan(g, l->reg, l->type); break;
    }
    if (g->region && (l->kind == LATE_SOFT || l->kind == LATE_NAN)) region_deferred_nans(g, l->insn);
    x64_jmp(&g->b, l->back + g->b.rx_delta);
}

/* --- arithmetic ------------------------------------------------------------------------------------- */

static void arithmetic(Cg *g, IrInsn *i) {
    unsigned pp = scalar(i->type);
    u32 insn = i->op == IR_fadd ? I_ADDS(pp) : i->op == IR_fsub ? I_SUBS(pp) : i->op == IR_fmul ? I_MULS(pp) : I_DIVS(pp);
    unsigned a = cg_use(g, i->a), b = cg_use(g, i->b);
    unsigned dst = cg_target(g, true, a == b ? 0 : avoid_second(b), a);
    sse3(g, insn, dst, a, b);
    canonical_nan(g, dst, i->type);
    cg_set(g, dst);
}

static void square_root(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a), dst = cg_target(g, true, 0, a);
    u32 insn = I_SQRTS(scalar(i->type));
    if (x64_features.avx) x64_vrr(&g->b, insn, xn(dst), xn(a), xn(a));
    else x64_rr(&g->b, insn, xn(dst), xn(a));
    canonical_nan(g, dst, i->type);
    cg_set(g, dst);
}

/* A NaN result goes to softfp, which knows that infinity times zero is invalid even when a quiet NaN is added. For that any NaN will do, so the result may take
 * the addend's register: whatever else is invalid the host has raised. */
static void fused_multiply_add(Cg *g, IrInsn *i) {
    if (!x64_features.fma) {
        soft_inline(g, i);
        return;
    }
    u32 w = cg_w(i->type);
    u32 insn = i->aux2 & IR_NEG_PRODUCT ? (i->aux2 & IR_NEG_ADDEND ? I_FNMSUB231(w) : I_FNMADD231(w)) : i->aux2 & IR_NEG_ADDEND ? I_FMSUB231(w) : I_FMADD231(w);
    u8 operand[3];
    use_all(g, i, operand);
    unsigned t = cg_target(g, true, 1u << operand[0] | 1u << operand[1], operand[2]);
    cg_mov_xmm(g, t, operand[2]);
    operand[2] = NO_REG;
    x64_vrr(&g->b, insn, xn(t), xn(operand[0]), xn(operand[1]));
    x64_rr(&g->b, I_UCOMIS(i->type == IR_F64 ? 1 : 0), xn(t), xn(t));
    u8 *nan = x64_jcc(&g->b, CC_P, NULL);
    soft_late(g, nan, operand, t);
    cg_set(g, t);
}

/* Equal operands may be zeros of different sign: or / and of the bits; NaNs go to softfp; the rest is the host's. */
static void minimum(Cg *g, IrInsn *i) {
    bool max = i->op == IR_fmax || i->op == IR_fmaxm;
    u8 operand[3];
    use_all(g, i, operand);
    unsigned a = operand[0], b = operand[1];
    unsigned dst = cg_target(g, true, 1u << a | 1u << b, NO_REG);
    x64_rr(&g->b, I_UCOMIS(i->type == IR_F64 ? 1 : 0), xn(a), xn(b));
    u8 *nan = x64_jcc(&g->b, CC_P, NULL);
    u8 *differ = x64_jcc_short(&g->b, CC_NE);
    sse3(g, max ? I_ANDPS : I_ORPS, dst, a, b);
    u8 *done = x64_jmp_short(&g->b);
    x64_here_short(&g->b, differ);
    sse3(g, max ? I_MAXS(scalar(i->type)) : I_MINS(scalar(i->type)), dst, a, b);
    x64_here_short(&g->b, done);
    soft_late(g, nan, operand, dst);
    cg_set(g, dst);
}

/* --- comparisons, signs ----------------------------------------------------------------------------- */

static void compare(Cg *g, IrInsn *i) {
    unsigned pp = cg_insn(g, i->a)->type == IR_F64 ? 1 : 0;
    unsigned a = cg_use(g, i->a), b = cg_use(g, i->b);
    if (i->op == IR_feq) {
        unsigned t = cg_temp(g, false), dst = cg_target(g, false, 1u << t, NO_REG);
        x64_mov_imm(&g->b, dst, 0);
        x64_mov_imm(&g->b, t, 0);
        x64_rr(&g->b, I_UCOMIS(pp), xn(a), xn(b));
        x64_rr(&g->b, I_SETCC(CC_E), 0, dst);
        x64_rr(&g->b, I_CMOV(CC_P), dst, t);
        cg_set(g, dst);
        return;
    }
    unsigned cc = cg_compare_fp(g, i), dst = cg_target(g, false, 0, NO_REG);
    x64_mov_imm_keep_flags(&g->b, dst, 0);
    x64_rr(&g->b, I_SETCC(cc), 0, dst);
    cg_set(g, dst);
}

/* b > a and b >= a are false for unordered operands with `above` conditions. */
unsigned cg_compare_fp(Cg *g, const IrInsn *i) {
    unsigned pp = cg_insn(g, i->a)->type == IR_F64 ? 1 : 0;
    unsigned a = cg_use(g, i->a), b = cg_use(g, i->b);
    if (g->region && region_is_silent(g->region, i)) x64_evex_rr_sae(&g->b, I_UCOMIS(pp) | (pp ? W1 : 0), xn(b), 0, xn(a));
    else x64_rr(&g->b, i->aux2 & IR_QUIET ? I_UCOMIS(pp) : I_COMIS(pp), xn(b), xn(a));
    return i->op == IR_flt ? CC_A : CC_AE;
}

/* Would what the comparison has raised be there if the current instruction raised it again? */
static bool still_raised(const Cg *g, u32 compare) {
    enum { FAR = 64 };
    if (g->cur - compare > FAR) return false;
    for (u32 k = compare + 1; k < g->cur; k++) {
        unsigned op = cg_insn(g, k)->op;
        if (op == IR_setflags || op == IR_call || op == IR_block) return false;
    }
    return true;
}

/* minss(x, y) is x < y ? x : y to the bit, flags included, and maxss(x, y) is y < x ? x : y [SDM vol. 2]. False: the choice i is neither. Others may
 * want the comparison, too: a minimum kept together with where it was found took 3.1 times native code, and takes 1.6. */
bool cg_choose_extreme(Cg *g, const IrInsn *i) {
    const IrInsn *c = cg_insn(g, i->a);
    u32 x = cg_root(g, i->b), y = cg_root(g, i->c), p = cg_root(g, c->a), q = cg_root(g, c->b);
    bool least = p == x && q == y, most = p == y && q == x;
    if (c->op != IR_flt || c->aux2 & IR_QUIET || (!least && !most) || (i->type != IR_F64 && i->type != IR_F32)) return false;
    if (!still_raised(g, i->a) || (g->region && region_is_silent(g->region, c))) return false;
    unsigned a = cg_use(g, x), b = cg_use(g, y), dst = cg_target(g, true, avoid_second(b), a);
    sse3(g, least ? I_MINS(scalar(i->type)) : I_MAXS(scalar(i->type)), dst, a, b);
    cg_set(g, dst);
    return true;
}

/* Normal numbers and zeros; the rest by softfp. glibc's fmin and fmax ask for each operand. */
static void classify(Cg *g, IrInsn *i) {
    bool wide = cg_insn(g, i->a)->type == IR_F64;
    u32 w = wide ? W1 : 0;
    u8 operand[3] = {(u8)cg_use(g, i->a)};
    unsigned dst = cg_target(g, false, 0, NO_REG), sign = cg_temp(g, false);
    x64_rr(&g->b, I_MOVD_R_X | w, xn(operand[0]), dst);
    x64_mov(&g->b, sign, dst);
    x64_shift_ri(&g->b, SH_SAR, w, sign, wide ? 63 : 31);
    x64_alu_rr(&g->b, ALU_ADD, w, dst, dst);
    u8 *zero = x64_jcc_short(&g->b, CC_E);
    x64_shift_ri(&g->b, SH_SHR, w, dst, wide ? 53 : 24);
    x64_alu_ri(&g->b, ALU_SUB, 0, dst, 1);
    x64_alu_ri(&g->b, ALU_CMP, 0, dst, wide ? 0x7fd : 0xfd); /* the exponent is the least or the greatest */
    u8 *special = x64_jcc(&g->b, CC_A, NULL);
    x64_alu_ri(&g->b, ALU_AND, 0, sign, (1 << 1) - (1 << 6));
    x64_rm(&g->b, I_LEA, dst, x64_mem(sign, 1 << 6));
    u8 *done = x64_jmp_short(&g->b);
    x64_here_short(&g->b, zero);
    x64_alu_ri(&g->b, ALU_AND, 0, sign, (1 << 3) - (1 << 4));
    x64_rm(&g->b, I_LEA, dst, x64_mem(sign, 1 << 4));
    x64_here_short(&g->b, done);
    soft_late(g, special, operand, dst);
    cg_set(g, dst);
}

static void sign_operation(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a), k = format(i->type);
    if (i->op != IR_fcopysign) {
        unsigned dst = cg_target(g, true, 0, a);
        bool neg = i->op == IR_fneg;
        sse3_mem(g, neg ? I_XORPS : I_ANDPS, dst, a, constant((neg ? VCPU_K_SIGN : VCPU_K_MAGNITUDE) + k));
        cg_set(g, dst);
        return;
    }
    unsigned b = cg_use(g, i->b), t = cg_temp(g, true);
    sse3_mem(g, I_ANDPS, t, b, constant(VCPU_K_SIGN + k));
    unsigned dst = cg_target(g, true, 1u << t, a);
    sse3_mem(g, I_ANDPS, dst, a, constant(VCPU_K_MAGNITUDE + k));
    sse3(g, I_ORPS, dst, dst, t);
    cg_set(g, dst);
}

/* --- conversions ------------------------------------------------------------------------------------ */

static void convert_format(Cg *g, IrInsn *i) {
    unsigned from = cg_insn(g, i->a)->type;
    unsigned a = cg_use(g, i->a), dst = cg_target(g, true, 0, a);
    if (x64_features.avx) x64_vrr(&g->b, I_CVTS2S(scalar(from)), xn(dst), xn(a), xn(a));
    else x64_rr(&g->b, I_CVTS2S(scalar(from)), xn(dst), xn(a));
    canonical_nan(g, dst, i->type);
    cg_set(g, dst);
}

/* Unsigned results: outside of [0, limit) or NaN softfp decides, before the host raises wrong flags. */
static void check_unsigned(Cg *g, const IrInsn *i, unsigned a, u8 *slow[3]) {
    bool wide = cg_insn(g, i->a)->type == IR_F64;
    unsigned t = cg_temp(g, true);
    x64_rr(&g->b, I_XORPS, xn(t), xn(t));
    x64_rr(&g->b, I_UCOMIS(wide), xn(a), xn(t));
    slow[0] = x64_jcc(&g->b, CC_P, NULL);
    slow[1] = x64_jcc(&g->b, CC_B, NULL);
    x64_rm(&g->b, I_UCOMIS(wide), xn(a), constant(VCPU_K_LIMIT + (wide ? 2 : 0) + (i->type == IR_I64)));
    slow[2] = x64_jcc(&g->b, CC_AE, NULL);
}

static const u8 host_rounding[] = {0, 3, 1, 2}; /* RNE RTZ RDN RUP, as roundsd and EVEX have it */

/* AVX-512 converts to unsigned integers; what does not fit gives all ones, and softfp decides. Inexact is raised only if the
 * value fits, as in the guest: of a static rounding mode, which raises nothing, by truncating once more. */
static void to_unsigned_avx512(Cg *g, IrInsn *i) {
    unsigned pp = scalar(cg_insn(g, i->a)->type);
    u32 w = cg_w(i->type), truncate = I_VCVTTS2USI(pp) | w, round = I_VCVTS2USI(pp) | w;
    bool fixed = i->aux != 1 && !native_rounding(g, i);
    u8 operand[3] = {(u8)cg_use(g, i->a)};
    unsigned dst = cg_target(g, false, 0, NO_REG), t = fixed ? cg_temp(g, false) : NO_REG;
    if (fixed) x64_evex_rr_round(&g->b, round, dst, 0, xn(operand[0]), host_rounding[i->aux]);
    else x64_evex_rr(&g->b, i->aux == 1 ? truncate : round, dst, 0, xn(operand[0]));
    x64_alu_ri(&g->b, ALU_CMP, w, dst, -1);
    u8 *slow = x64_jcc(&g->b, CC_E, NULL);
    if (fixed) x64_evex_rr(&g->b, truncate, t, 0, xn(operand[0]));
    soft_late(g, slow, operand, dst);
    cg_set(g, dst);
}

/* To nearest, ties away from zero, is to truncate what is half farther from zero; but for a half the next smaller number, or what is just below a half
 * would be rounded up by the sum. Raises nothing. */
static void half_away(Cg *g, unsigned dst, unsigned a, unsigned type) {
    unsigned k = format(type), pp = scalar(type);
    sse3_mem(g, I_ANDPS, dst, a, constant(VCPU_K_SIGN + k));
    sse3_mem(g, I_ORPS, dst, dst, constant(VCPU_K_BELOW_HALF + k - 1));
    x64_evex_rr_round(&g->b, I_ADDS(pp) | cg_w(type), xn(dst), xn(dst), xn(a), 0);
}

/* dst = a rounded as the operation says, whatever the mode is, without inexact being raised. */
static void round_fixed(Cg *g, const IrInsn *i, unsigned a, unsigned dst, u32 w) {
    unsigned type = cg_insn(g, i->a)->type, pp = scalar(type);
    if (x64_features.avx512 && i->aux < 4) {
        x64_evex_rr_round(&g->b, I_CVTS2SI(pp) | w, dst, 0, xn(a), host_rounding[i->aux]);
        return;
    }
    unsigned t = cg_temp(g, true);
    if (i->aux == 4) {
        half_away(g, t, a, type);
        x64_evex_rr_sae(&g->b, I_CVTTS2SI(pp) | w, dst, 0, xn(t));
        return;
    }
    u32 round = type == IR_F64 ? I_ROUNDSD : I_ROUNDSS;
    if (x64_features.avx) x64_vrr(&g->b, round, xn(t), xn(a), xn(a));
    else x64_rr(&g->b, round, xn(t), xn(a));
    x64_u8(&g->b, host_rounding[i->aux] | 8);
    x64_rr(&g->b, I_CVTTS2SI(pp) | w, dst, xn(t));
}

/* Is there code for the operation's rounding mode? */
static bool rounds_to_integer(const Cg *g, const IrInsn *i) {
    return i->aux == 1 || native_rounding(g, i) || (i->aux2 & IR_SIGNED ? i->aux < 4 || x64_features.avx512 : i->aux < 4 && x64_features.avx512);
}

/* cvt(t)sd2si gives the least integer for what does not fit; that value leads to softfp, which knows better. Of a rounding mode that is not the current one,
 * inexact is raised by truncating once more. */
static void to_integer(Cg *g, IrInsn *i) {
    bool truncates = i->aux == 1, is_signed = i->aux2 & IR_SIGNED, fixed = !truncates && !native_rounding(g, i);
    if (!rounds_to_integer(g, i)) {
        soft_inline(g, i);
        return;
    }
    if (!is_signed && x64_features.avx512) {
        to_unsigned_avx512(g, i);
        return;
    }
    unsigned pp = scalar(cg_insn(g, i->a)->type);
    u8 operand[3] = {(u8)cg_use(g, i->a)}, *slow[3] = {0};
    u32 w = i->type == IR_I64 || !is_signed ? W1 : 0;
    unsigned dst = cg_target(g, false, 0, NO_REG), t = fixed ? cg_temp(g, false) : NO_REG;
    if (!is_signed) check_unsigned(g, i, operand[0], slow);
    if (fixed) round_fixed(g, i, operand[0], dst, w);
    else x64_rr(&g->b, (truncates ? I_CVTTS2SI(pp) : I_CVTS2SI(pp)) | w, dst, xn(operand[0]));
    if (is_signed) {
        x64_alu_ri(&g->b, ALU_CMP, w, dst, 1); /* overflows for the least integer only */
        slow[0] = x64_jcc(&g->b, CC_O, NULL);
    }
    if (fixed) x64_rr(&g->b, I_CVTTS2SI(pp) | w, t, xn(operand[0]));
    for (unsigned k = 0; k < 3; k++)
        if (slow[k]) soft_late(g, slow[k], operand, dst);
    cg_set(g, dst);
}

/* Has the integer a so few bits, but perhaps for its sign, that nothing is rounded? Else softfp. */
static u8 *check_exact(Cg *g, const IrInsn *i, unsigned a, unsigned t) {
    bool is_signed = i->aux2 & IR_SIGNED;
    u32 w = cg_w(cg_insn(g, i->a)->type);
    x64_mov(&g->b, t, a);
    x64_shift_ri(&g->b, is_signed ? SH_SAR : SH_SHR, w, t, i->type == IR_F64 ? 53 : 24);
    if (is_signed) x64_alu_ri(&g->b, ALU_ADD, w, t, 1); /* 0 and -1 are fine */
    x64_alu_ri(&g->b, ALU_CMP, w, t, is_signed);
    return x64_jcc(&g->b, CC_A, NULL);
}

static void from_integer(Cg *g, IrInsn *i) {
    unsigned from = cg_insn(g, i->a)->type;
    bool is_signed = i->aux2 & IR_SIGNED, exact = i->type == IR_F64 && from == IR_I32, fixed = !exact && !native_rounding(g, i);
    u8 operand[3] = {(u8)cg_use(g, i->a)}, *slow = NULL;
    unsigned a = operand[0], dst = cg_target(g, true, 0, NO_REG), t = fixed || !is_signed ? cg_temp(g, false) : NO_REG;
    u32 w = from == IR_I64 ? W1 : 0;
    if (fixed) slow = check_exact(g, i, a, t);
    x64_rr(&g->b, I_XORPS, xn(dst), xn(dst)); /* the conversion writes the low part only: cut the dependency */
    if (!is_signed && x64_features.avx512) {
        x64_evex_rr(&g->b, I_VCVTUSI2S(scalar(i->type)) | w, xn(dst), xn(dst), a);
    } else {
        if (!is_signed && from == IR_I32) {
            x64_rr(&g->b, I_MOV_R_RM, t, a);
            a = t, w = W1;
        } else if (!is_signed && !fixed) {
            x64_rr(&g->b, I_TEST | W1, a, a);
            slow = x64_jcc(&g->b, CC_S, NULL);
        }
        x64_rr(&g->b, I_CVTSI2S(scalar(i->type)) | w, xn(dst), a);
    }
    if (slow) soft_late(g, slow, operand, dst);
    cg_set(g, dst);
}

/* roundsd has the rounding mode in the instruction, whatever MXCSR says. */
static void round_integral(Cg *g, IrInsn *i) {
    if (i->aux > 3) {
        soft_inline(g, i);
        return;
    }
    unsigned a = cg_use(g, i->a), dst = cg_target(g, true, 0, a);
    u32 insn = i->type == IR_F64 ? I_ROUNDSD : I_ROUNDSS;
    if (x64_features.avx) x64_vrr(&g->b, insn, xn(dst), xn(a), xn(a));
    else x64_rr(&g->b, insn, xn(dst), xn(a));
    x64_u8(&g->b, host_rounding[i->aux] | (i->aux2 & IR_INEXACT ? 0 : 8));
    canonical_nan(g, dst, i->type);
    cg_set(g, dst);
}

/* --- bits ------------------------------------------------------------------------------------------- */

static void move_bits(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a);
    bool to_xmm = cg_is_xmm_type(i->type);
    unsigned dst = cg_target(g, to_xmm, 0, NO_REG);
    if (to_xmm) x64_rr(&g->b, I_MOVD_X_R | cg_w(i->type), xn(dst), a);
    else x64_rr(&g->b, I_MOVD_R_X | cg_w(i->type), xn(a), dst);
    cg_set(g, dst);
}

static void box(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a), dst = cg_target(g, true, 0, a);
    bool half = cg_insn(g, i->a)->type == IR_F16;
    sse3_mem(g, I_ORPS, dst, a, constant(VCPU_K_BOX + (half ? 0 : 1)));
    cg_set(g, dst);
}

/* The upper bits must be ones; else the value is NaN, out of line. */
static void unbox(Cg *g, IrInsn *i) {
    unsigned a = cg_use(g, i->a), t = cg_temp(g, false);
    unsigned dst = cg_target(g, true, 0, a);
    if (i->type == IR_F32) {
        x64_rr(&g->b, I_PEXTRD, xn(a), t);
        x64_u8(&g->b, 1);
    } else {
        x64_rr(&g->b, I_MOVD_R_X | W1, xn(a), t);
        x64_shift_ri(&g->b, SH_SAR, W1, t, 16);
    }
    cg_mov_xmm(g, dst, a);
    x64_alu_ri(&g->b, ALU_CMP, i->type == IR_F32 ? 0 : W1, t, -1);
    Late *l = cg_late(g, LATE_UNBOX, x64_jcc(&g->b, CC_NE, NULL));
    l->reg = (u8)dst;
    l->type = i->type;
    l->back = g->b.at;
    cg_set(g, dst);
}

/* See fp_trap in stubs.c. */
static void get_flags(Cg *g) {
    unsigned dst = cg_target(g, false, 0, NO_REG);
    x64_alu_mi(&g->b, ALU_CMP, 0, CPU_MEM(fp_traps), 0);
    x64_rm(&g->b, I_MOV_R_RM, dst, CPU_MEM(fflags));
    Late *l = cg_late(g, LATE_FLAGS, x64_jcc(&g->b, CC_E, NULL));
    l->reg = (u8)dst;
    l->back = g->b.at;
    cg_set(g, dst);
}

static void set_flags(Cg *g, const IrInsn *i) {
    unsigned a = cg_use(g, i->a), t = cg_temp(g, false);
    x64_mov(&g->b, t, a);
    x64_alu_ri(&g->b, ALU_AND, 0, t, 31);
    x64_rm(&g->b, I_MOV_RM_R, t, CPU_MEM(fflags));
    x64_ldmxcsr(&g->b, x64_mem_index(RBP, t, 2, CPU_OFF(mxcsr_of)));
}

static bool needs_softfp(const Cg *g, const IrInsn *i) {
    if (i->type == IR_F16 || cg_insn(g, i->a)->type == IR_F16) return true;
    switch (i->op) {
    case IR_fminm: case IR_fmaxm: return true;
    case IR_fadd: case IR_fsub: case IR_fmul: case IR_fdiv: case IR_fsqrt: case IR_fma: return !native_rounding(g, i);
    case IR_fcvt: return i->type == IR_F32 && !native_rounding(g, i);
    default: return false;
    }
}

bool cg_native_fp(const Cg *g, const IrInsn *i) {
    return i->op >= IR_fadd && i->op <= IR_fma && !needs_softfp(g, i) && (i->op != IR_fma || x64_features.fma);
}

void cg_lower_fp(Cg *g, IrInsn *i) {
    switch (i->op) {
    case IR_fneg: case IR_fabs: case IR_fcopysign: sign_operation(g, i); return;
    case IR_bits: move_bits(g, i); return;
    case IR_box: box(g, i); return;
    case IR_unbox: unbox(g, i); return;
    case IR_getflags: get_flags(g); return;
    case IR_setflags: set_flags(g, i); return;
    }
    if (needs_softfp(g, i)) {
        soft_inline(g, i);
        return;
    }
    switch (i->op) {
    case IR_fadd: case IR_fsub: case IR_fmul: case IR_fdiv: arithmetic(g, i); break;
    case IR_fsqrt: square_root(g, i); break;
    case IR_fma: fused_multiply_add(g, i); break;
    case IR_fmin: case IR_fmax: minimum(g, i); break;
    case IR_feq: case IR_flt: case IR_fle: compare(g, i); break;
    case IR_fclass: classify(g, i); break;
    case IR_fcvt: convert_format(g, i); break;
    case IR_ftoi: to_integer(g, i); break;
    case IR_itof: from_integer(g, i); break;
    case IR_fround: round_integral(g, i); break;
    default: BUG("not a floating-point operation");
    }
}
