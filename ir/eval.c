/* SPDX-License-Identifier: Apache-2.0 */
/* What the pure integer operations compute: the one definition, used by constant folding and by the
 * interpreter. Also the tables that ops.def describes. */
#include "ir/ir.h"

const char *const ir_op_name[IR_OP_COUNT] = {
#define OP(name, n, facts, text) #name,
#include "ir/ops.def"
};
const u16 ir_op_facts[IR_OP_COUNT] = {
#define OP(name, n, facts, text) facts,
#include "ir/ops.def"
};
const u8 ir_op_operands[IR_OP_COUNT] = {
#define OP(name, n, facts, text) n,
#include "ir/ops.def"
};
const char *const ir_type_name[IR_TYPE_COUNT] = {"void", "i1", "i32", "i64", "f16", "f32", "f64", "v128", "v256", "ptr", "derived"};

/* Division as the RISC-V manual defines it [unpriv 13.2]: total. */
static u64 divide(IrOp op, unsigned bits, u64 a, u64 b) {
    i64 sa = sext_bits(a, bits), sb = sext_bits(b, bits);
    switch ((int)op) {
    case IR_divs: return b == 0 ? ~0ull : sb == -1 ? -a : (u64)(sa / sb);
    case IR_rems: return b == 0 ? a : sb == -1 ? 0 : (u64)(sa % sb);
    case IR_divu: return b == 0 ? ~0ull : a / b;
    default: return b == 0 ? a : a % b;
    }
}

static u64 multiply_high(IrOp op, unsigned bits, u64 a, u64 b) {
    i128 x = op == IR_mulhu ? (i128)(u128)a : (i128)sext_bits(a, bits);
    i128 y = op == IR_mulhs ? (i128)sext_bits(b, bits) : (i128)(u128)b;
    return (u64)((u128)(x * y) >> bits);
}

static u64 rotate_left(u64 a, unsigned by, unsigned bits) { return by ? a << by | a >> (bits - by) : a; }

u64 ir_eval(IrOp op, IrType type, IrType operand_type, unsigned aux, u64 a, u64 b, u64 c) {
    unsigned bits = operand_type == IR_I64 ? 64 : operand_type == IR_I1 ? 1 : 32;
    unsigned by = b & (bits - 1);
    u64 r = 0;
    switch ((int)op) {
    case IR_add: r = a + b; break;
    case IR_sub: r = a - b; break;
    case IR_mul: r = a * b; break;
    case IR_mulhs: case IR_mulhu: case IR_mulhsu: r = multiply_high(op, bits, a, b); break;
    case IR_divs: case IR_divu: case IR_rems: case IR_remu: r = divide(op, bits, a, b); break;
    case IR_and: r = a & b; break;
    case IR_or: r = a | b; break;
    case IR_xor: r = a ^ b; break;
    case IR_shl: r = a << by; break;
    case IR_shr: r = a >> by; break;
    case IR_sar: r = (u64)(sext_bits(a, bits) >> by); break;
    case IR_rotl: r = rotate_left(a, by, bits); break;
    case IR_rotr: r = rotate_left(a, (bits - by) & (bits - 1), bits); break;
    case IR_clz: r = a ? (u64)__builtin_clzll(a) - (64 - bits) : bits; break;
    case IR_ctz: r = a ? (u64)__builtin_ctzll(a) : bits; break;
    case IR_popcnt: r = __builtin_popcountll(a); break;
    case IR_bswap: r = bits == 64 ? __builtin_bswap64(a) : __builtin_bswap32((u32)a); break;
    case IR_select: r = a ? b : c; break;
    case IR_eq: r = a == b; break;
    case IR_ne: r = a != b; break;
    case IR_lts: r = sext_bits(a, bits) < sext_bits(b, bits); break;
    case IR_les: r = sext_bits(a, bits) <= sext_bits(b, bits); break;
    case IR_ltu: r = a < b; break;
    case IR_leu: r = a <= b; break;
    case IR_sext: r = (u64)sext_bits(a, aux); break;
    case IR_zext: r = low_bits(a, aux); break;
    case IR_trunc: r = a; break;
    case IR_crypto: r = ir_eval_crypto(aux, a, b); break;
    default: BUG("not a pure integer operation");
    }
    return type == IR_I64 || type == IR_F64 ? r : type == IR_I1 ? r & 1 : (u32)r; /* select has values of all types */
}

u64 ir_eval_amo(AmoOp op, unsigned bits, u64 old, u64 v) {
    i64 so = sext_bits(old, bits), sv = sext_bits(v, bits);
    switch (op) {
    case AMO_SWAP: return v;
    case AMO_ADD: return old + v;
    case AMO_AND: return old & v;
    case AMO_OR: return old | v;
    case AMO_XOR: return old ^ v;
    case AMO_MINS: return so < sv ? old : v;
    case AMO_MAXS: return so > sv ? old : v;
    case AMO_MINU: return low_bits(old, bits) < low_bits(v, bits) ? old : v;
    case AMO_MAXU: return low_bits(old, bits) > low_bits(v, bits) ? old : v;
    }
    return 0;
}
