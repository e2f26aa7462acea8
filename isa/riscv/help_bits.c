/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of bit manipulation: carry-less products and permutations [unpriv b, zbkx]. */
#include "isa/riscv/sem.h"

/* Four bits of y at a time, with the products of x and 0..15 in a table: four times faster than bit by bit. */
static u128 clmul(u64 x, u64 y) {
    u128 table[16] = {0, x};
    for (unsigned n = 2; n < 16; n += 2) {
        table[n] = table[n / 2] << 1;
        table[n + 1] = table[n] ^ x;
    }
    u128 product = 0;
    for (unsigned at = 64; at; at -= 4) product = product << 4 ^ table[y >> (at - 4) & 15];
    return product;
}
u64 riscv_help_clmul(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return (u64)clmul(a, b); }
u64 riscv_help_clmulh(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return (u64)(clmul(a, b) >> 64); }
u64 riscv_help_clmulr(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return (u64)(clmul(a, b) >> 63); }

/* Each group of `bits` of b picks a group of a; numbers out of range pick 0. */
static u64 xperm(u64 a, u64 b, unsigned bits) {
    u64 out = 0, mask = low_bits(~0ull, bits);
    for (unsigned at = 0; at < 64; at += bits) {
        u64 from = (b >> at & mask) * bits;
        if (from < 64) out |= (a >> from & mask) << at;
    }
    return out;
}
u64 riscv_help_xperm4(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return xperm(a, b, 4); }
u64 riscv_help_xperm8(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return xperm(a, b, 8); }
