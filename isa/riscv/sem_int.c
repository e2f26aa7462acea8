/* SPDX-License-Identifier: Apache-2.0 */
/* Integer arithmetic: I, M, Zba, Zbb, Zbs, Zbc, Zbkb, Zbkx, Zicond, and Zimop, which does nothing yet.
 * Functions called in an argument list emit IR, hence at most one of them per list. */
#include "isa/riscv/sem.h"

/* The low 32 bits of both operands through an i32 operation, sign-extended as all W instructions are. */
static Ref word_op(IrBuilder *b, IrOp op, Ref x, Ref y) {
    Ref x32 = ir_trunc(b, x);
    Ref y32 = ir_trunc(b, y);
    return ir_sext(b, 32, ir_binary(b, op, x32, y32));
}
static Ref word_imm(IrBuilder *b, IrOp op, Ref x, unsigned amount) {
    return ir_sext(b, 32, ir_imm(b, op, ir_trunc(b, x), amount));
}
static Ref truth(IrBuilder *b, Ref i1) { return ir_zext(b, 1, i1); }
/* (x << n) + y */
static Ref shift_add(IrBuilder *b, Ref x, unsigned n, Ref y) { return ir_add(b, ir_imm(b, IR_shl, x, n), y); }

/* --- I */
SEM(lui) { RD(ir_i64(b, IMM)); }
SEM(auipc) { RD(sem_pc(b, pc + IMM)); }
SEM(addi) { RD(ir_imm(b, IR_add, rs1, IMM)); }
SEM(slti) { RD(truth(b, ir_imm(b, IR_lts, rs1, IMM))); }
SEM(sltiu) { RD(truth(b, ir_imm(b, IR_ltu, rs1, IMM))); }
SEM(xori) { RD(ir_imm(b, IR_xor, rs1, IMM)); }
/* To x0: a prefetch for reading or writing [unpriv zicbop]; one of code is for nobody here. */
SEM(ori) {
    enum { READ = 1, WRITE = 3 };
    unsigned what = i->imm & 31;
    if (i->rd) RD(ir_imm(b, IR_or, rs1, IMM));
    else if ((what == READ || what == WRITE) && !b->guest->paged) ir_prefetch(b, rs1, i->imm & ~31);
}
SEM(andi) { RD(ir_imm(b, IR_and, rs1, IMM)); }
SEM(slli) { RD(ir_imm(b, IR_shl, rs1, IMM)); }
SEM(srli) { RD(ir_imm(b, IR_shr, rs1, IMM)); }
SEM(srai) { RD(ir_imm(b, IR_sar, rs1, IMM)); }
SEM(add) { RD(ir_add(b, rs1, rs2)); }
SEM(sub) { RD(ir_sub(b, rs1, rs2)); }
SEM(sll) { RD(ir_shl(b, rs1, rs2)); }
SEM(slt) { RD(truth(b, ir_lts(b, rs1, rs2))); }
SEM(sltu) { RD(truth(b, ir_ltu(b, rs1, rs2))); }
SEM(xor) { RD(ir_xor(b, rs1, rs2)); }
SEM(srl) { RD(ir_shr(b, rs1, rs2)); }
SEM(sra) { RD(ir_sar(b, rs1, rs2)); }
SEM(or) { RD(ir_or(b, rs1, rs2)); }
SEM(and) { RD(ir_and(b, rs1, rs2)); }
SEM(addiw) { RD(ir_sext(b, 32, ir_imm(b, IR_add, rs1, IMM))); }
SEM(slliw) { RD(word_imm(b, IR_shl, rs1, IMM)); }
SEM(srliw) { RD(word_imm(b, IR_shr, rs1, IMM)); }
SEM(sraiw) { RD(word_imm(b, IR_sar, rs1, IMM)); }
SEM(addw) { RD(ir_sext(b, 32, ir_add(b, rs1, rs2))); }
SEM(subw) { RD(ir_sext(b, 32, ir_sub(b, rs1, rs2))); }
SEM(sllw) { RD(word_op(b, IR_shl, rs1, rs2)); }
SEM(srlw) { RD(word_op(b, IR_shr, rs1, rs2)); }
SEM(sraw) { RD(word_op(b, IR_sar, rs1, rs2)); }

/* --- M; the IR divides as RISC-V does */
SEM(mul) { RD(ir_mul(b, rs1, rs2)); }
SEM(mulh) { RD(ir_mulhs(b, rs1, rs2)); }
SEM(mulhsu) { RD(ir_mulhsu(b, rs1, rs2)); }
SEM(mulhu) { RD(ir_mulhu(b, rs1, rs2)); }
SEM(div) { RD(ir_divs(b, rs1, rs2)); }
SEM(divu) { RD(ir_divu(b, rs1, rs2)); }
SEM(rem) { RD(ir_rems(b, rs1, rs2)); }
SEM(remu) { RD(ir_remu(b, rs1, rs2)); }
SEM(mulw) { RD(ir_sext(b, 32, ir_mul(b, rs1, rs2))); }
SEM(divw) { RD(word_op(b, IR_divs, rs1, rs2)); }
SEM(divuw) { RD(word_op(b, IR_divu, rs1, rs2)); }
SEM(remw) { RD(word_op(b, IR_rems, rs1, rs2)); }
SEM(remuw) { RD(word_op(b, IR_remu, rs1, rs2)); }

/* --- Zba */
SEM(sh1add) { RD(shift_add(b, rs1, 1, rs2)); }
SEM(sh2add) { RD(shift_add(b, rs1, 2, rs2)); }
SEM(sh3add) { RD(shift_add(b, rs1, 3, rs2)); }
SEM(add_uw) { RD(ir_add(b, ir_zext(b, 32, rs1), rs2)); }
SEM(sh1add_uw) { RD(shift_add(b, ir_zext(b, 32, rs1), 1, rs2)); }
SEM(sh2add_uw) { RD(shift_add(b, ir_zext(b, 32, rs1), 2, rs2)); }
SEM(sh3add_uw) { RD(shift_add(b, ir_zext(b, 32, rs1), 3, rs2)); }
SEM(slli_uw) { RD(ir_imm(b, IR_shl, ir_zext(b, 32, rs1), IMM)); }

/* --- Zbb */
static Ref pick(IrBuilder *b, IrOp less, Ref x, Ref y, Ref if_less, Ref otherwise) {
    Ref cond = ir_binary(b, less, x, y);
    return ir_select(b, cond, if_less, otherwise);
}
static Ref count_word(IrBuilder *b, IrOp op, Ref x) { return ir_zext(b, 32, ir_unary(b, op, ir_trunc(b, x))); }

SEM(andn) { RD(ir_and(b, rs1, ir_not(b, rs2))); }
SEM(orn) { RD(ir_or(b, rs1, ir_not(b, rs2))); }
SEM(xnor) { RD(ir_not(b, ir_xor(b, rs1, rs2))); }
SEM(clz) { RD(ir_unary(b, IR_clz, rs1)); }
SEM(ctz) { RD(ir_unary(b, IR_ctz, rs1)); }
SEM(cpop) { RD(ir_unary(b, IR_popcnt, rs1)); }
SEM(clzw) { RD(count_word(b, IR_clz, rs1)); }
SEM(ctzw) { RD(count_word(b, IR_ctz, rs1)); }
SEM(cpopw) { RD(count_word(b, IR_popcnt, rs1)); }
SEM(sext_b) { RD(ir_sext(b, 8, rs1)); }
SEM(sext_h) { RD(ir_sext(b, 16, rs1)); }
SEM(min) { RD(pick(b, IR_lts, rs1, rs2, rs1, rs2)); }
SEM(minu) { RD(pick(b, IR_ltu, rs1, rs2, rs1, rs2)); }
SEM(max) { RD(pick(b, IR_lts, rs1, rs2, rs2, rs1)); }
SEM(maxu) { RD(pick(b, IR_ltu, rs1, rs2, rs2, rs1)); }
SEM(rol) { RD(ir_rotl(b, rs1, rs2)); }
SEM(ror) { RD(ir_rotr(b, rs1, rs2)); }
SEM(rori) { RD(ir_imm(b, IR_rotr, rs1, IMM)); }
SEM(rolw) { RD(word_op(b, IR_rotl, rs1, rs2)); }
SEM(rorw) { RD(word_op(b, IR_rotr, rs1, rs2)); }
SEM(roriw) { RD(word_imm(b, IR_rotr, rs1, IMM)); }
SEM(rev8) { RD(ir_unary(b, IR_bswap, rs1)); }

/* Bit 7 of each byte: whether it is not zero; then that bit smeared over its byte: m * 2 - m / 128. */
SEM(orc_b) {
    u64 low7 = 0x7f7f7f7f7f7f7f7full;
    Ref carry = ir_imm(b, IR_add, ir_imm(b, IR_and, rs1, low7), low7);
    Ref m = ir_imm(b, IR_and, ir_or(b, carry, rs1), ~low7);
    Ref up = ir_imm(b, IR_shl, m, 1);
    RD(ir_sub(b, up, ir_imm(b, IR_shr, m, 7)));
}

/* --- Zbs */
static Ref bit(IrBuilder *b, Ref n) { return ir_shl(b, ir_i64(b, 1), n); }

SEM(bclr) { RD(ir_and(b, rs1, ir_not(b, bit(b, rs2)))); }
SEM(bset) { RD(ir_or(b, rs1, bit(b, rs2))); }
SEM(binv) { RD(ir_xor(b, rs1, bit(b, rs2))); }
SEM(bext) { RD(ir_imm(b, IR_and, ir_shr(b, rs1, rs2), 1)); }
SEM(bclri) { RD(ir_imm(b, IR_and, rs1, ~(1ull << i->imm))); }
SEM(bseti) { RD(ir_imm(b, IR_or, rs1, 1ull << i->imm)); }
SEM(binvi) { RD(ir_imm(b, IR_xor, rs1, 1ull << i->imm)); }
SEM(bexti) { RD(ir_imm(b, IR_and, ir_imm(b, IR_shr, rs1, IMM), 1)); }

/* --- Zbc, Zbkb, Zbkx */
SEM(clmul) { RD(ir_crypto(b, CRYPTO_CLMUL, 0, rs1, rs2)); }
SEM(clmulh) { RD(ir_crypto(b, CRYPTO_CLMULH, 0, rs1, rs2)); }
SEM(clmulr) { RD(ir_crypto(b, CRYPTO_CLMULR, 0, rs1, rs2)); }
SEM(xperm4) { RD(ir_crypto(b, CRYPTO_PERM4, 0, rs1, rs2)); }
SEM(xperm8) { RD(ir_crypto(b, CRYPTO_PERM8, 0, rs1, rs2)); }

SEM(pack) {
    Ref low = ir_zext(b, 32, rs1);
    RD(ir_or(b, low, ir_imm(b, IR_shl, rs2, 32)));
}
SEM(packh) {
    Ref low = ir_zext(b, 8, rs1);
    RD(ir_or(b, low, ir_imm(b, IR_shl, ir_zext(b, 8, rs2), 8)));
}
SEM(packw) {
    Ref low = ir_zext(b, 16, rs1);
    RD(ir_sext(b, 32, ir_or(b, low, ir_imm(b, IR_shl, rs2, 16))));
}

/* Exchanges neighbouring groups of n bits; the mask has the lower group of each pair. */
static Ref swap_groups(IrBuilder *b, Ref x, unsigned n, u64 mask) {
    Ref up = ir_imm(b, IR_shl, ir_imm(b, IR_and, x, mask), n);
    Ref down = ir_imm(b, IR_and, ir_imm(b, IR_shr, x, n), mask);
    return ir_or(b, up, down);
}
SEM(brev8) {
    Ref x = swap_groups(b, rs1, 1, 0x5555555555555555ull);
    x = swap_groups(b, x, 2, 0x3333333333333333ull);
    RD(swap_groups(b, x, 4, 0x0f0f0f0f0f0f0f0full));
}

/* --- Zicond */
static Ref zero_if(IrBuilder *b, IrOp cmp, Ref cond, Ref value) {
    Ref is = ir_imm(b, cmp, cond, 0);
    Ref zero = ir_i64(b, 0);
    return ir_select(b, is, zero, value);
}
SEM(czero_eqz) { RD(zero_if(b, IR_eq, rs2, rs1)); }
SEM(czero_nez) { RD(zero_if(b, IR_ne, rs2, rs1)); }

/* --- Zimop, Zcmop: may be redefined by later extensions; until then they write 0, or nothing */
SEM(mop_r) { RD(ir_i64(b, 0)); }
SEM(mop_rr) { RD(ir_i64(b, 0)); }
SEM(c_mop) {}
