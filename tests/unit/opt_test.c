/* SPDX-License-Identifier: Apache-2.0 */
/* Regions and the optimiser against the interpretation of one instruction after the other: random programs of many blocks (loops,
 * branches in both directions, calls, direct, indirect and far, loads and stores, floating point) run both ways from the same state, in the IR interpreter. Each pc
 * that a region can begin at has one; where it leaves, its frame puts registers back, and the next one, or one instruction,
 * goes on. In the end registers, memory and floating-point flags must agree.
 *
 *   opt_test SEED COUNT    prints the first program that differs, then "N passed, N failed" */
#include "engine/region.h"
#include "ir/interp.h"
#include "isa/riscv/riscv.h"
#include "opt/opt.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CODE = 8192, MEMORY = 8192, BLOCKS = 10, LEAVES = 3, STEPS = 20000 };
enum { RA = 1, BASE = 26, FUEL = 27, ALIAS = 28, DIVISOR = 29 }; /* registers that random instructions leave alone; ALIAS: an address near BASE, too */
enum { APART = 24 /* mostly ALIAS - BASE */ };
static const u64 code_at = 0x10000;

static u64 seed;
static u32 pick(u32 n) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(seed >> 33) % n;
}

/* --- random programs ------------------------------------------------------------------------------------- */

static u8 code[CODE + 8];
static u32 code_len;
static u32 block_at[BLOCKS + 1], leaf_at[LEAVES];

static void emit(u32 bits, unsigned len) {
    memcpy(code + code_len, &bits, 4);
    code_len += len;
}

static bool is_reserved(unsigned reg) { return reg == RA || reg == BASE || reg == FUEL || reg == ALIAS || reg == DIVISOR; }

/* Few registers, so that instructions see each other's results: x5 to x12 (and zero), f0 to f7. */
static u32 few_registers(const RvOpInfo *op, u32 bits) {
    static const u8 field[4] = {7, 15, 20, 27};
    for (unsigned k = 0; k < 4; k++) {
        if (op->file[k] == RV_FILE_NONE) continue;
        u32 reg = op->file[k] == RV_FILE_F ? pick(8) : k && !pick(8) ? 0 : 5 + pick(8);
        bits = (bits & ~(31u << field[k])) | reg << field[k];
    }
    return bits;
}
static u32 some_register(void) { return pick(4) ? 5 + pick(8) : 0; }

/* A random row that computes, loads or stores; addresses are BASE plus an immediate. */
static void emit_random(void) {
    const u32 never = RV_IS_AMO | RV_IS_BRANCH | RV_IS_CBO | RV_IS_CSR | RV_IS_FENCE | RV_IS_JUMP | RV_IS_PRIV | RV_IS_SYS | RV_IS_VECTOR;
    for (;;) {
        u32 row = pick(RV_ROWS);
        const RvOpInfo *op = &riscv_ops[riscv_rows[row].op];
        u32 bits = riscv_row_random(row, &seed);
        RvInsn i;
        if ((op->facts & never) || riscv_rows[row].len != 4) continue;
        bits = few_registers(op, bits);
        if (op->facts & (RV_IS_LOAD | RV_IS_STORE)) { /* near each other, so that they overlap */
            bits = (bits & ~(31u << 15)) | BASE << 15;
            if (pick(4)) bits &= ~(0x7fu << 25); /* upper bits of the immediate */
        }
        if (!riscv_decode(bits, &i) || (op->file[0] == RV_FILE_X && is_reserved(i.rd)) || ((op->facts & RV_HAS_RM) && i.rm > 4)) continue;
        emit(bits, 4);
        return;
    }
}

/* A word of 2, 4 or 8 bytes that is read byte by byte, in any order, swapped or not; sometimes a store comes between. */
static void emit_word(void) {
    static const u8 join[] = {6, 0, 4}; /* or, add, xor */
    u32 size = 2u << pick(3), from = pick(64), first = pick(size), sum = 5 + pick(4), more = 9 + pick(4);
    bool swap = pick(2), word = size == 4 && pick(2), pointer = pick(2);
    if (pointer) { /* x13: somewhere near, nobody knows where */
        emit(0x7013 | 13 << 7 | (5 + pick(8)) << 15 | 63 << 20, 4);
        emit(0x33 | 13 << 7 | 13 << 15 | BASE << 20, 4);
    }
    for (u32 k = 0; k < size; k++) {
        u32 byte = (k + first) % size, reg = k ? more : sum, sign = word && byte == 3 && pick(2);
        emit(0x03 | reg << 7 | (sign ? 0u : 4u) << 12 | BASE << 15 | (from + (swap ? size - 1 - byte : byte)) << 20, 4);
        if (byte) emit((word ? 0x1b : 0x13) | reg << 7 | 1 << 12 | reg << 15 | 8 * byte << 20, 4);
        if (k) emit(0x33 | sum << 7 | (u32)join[pick(8) ? 0 : pick(3)] << 12 | sum << 15 | more << 20, 4);
        if (!pick(16)) emit(0x23 | pick(4) << 12 | (from + pick(8)) % 32 << 7 | (pointer && pick(3) ? 13 : BASE) << 15 | (5 + pick(8)) << 20 | (from + 8) / 32 << 25, 4);
    }
}

static void emit_store(u32 log2size, u32 base, u32 value, u32 disp) { emit(0x23 | log2size << 12 | (disp & 31) << 7 | base << 15 | value << 20 | disp >> 5 << 25, 4); }

/* A word is stored in pieces, in any order, through one base, and mostly loaded as a whole through another: what opt/forward.c and opt/stores.c are for, or nearly. */
static void emit_pieces(void) {
    u32 log2piece = pick(4) ? 0 : pick(2), log2size = log2piece + 1 + pick(3 - log2piece), count = 1u << (log2size - log2piece), first = pick(count), to = 8 * pick(8), word = 5 + pick(4);
    u32 base = pick(3) ? ALIAS : BASE, kind = pick(4), step = count > 1 && pick(2) ? count - 1 : 1; /* up or down */
    bool swap = pick(3) == 0, is_word = log2size < 3 && pick(2);
    for (u32 k = 0; k < count; k++) {
        u32 piece = (first + k * step) % count, reg = 9 + pick(4), from = (swap ? count - 1 - piece : piece) << log2piece;
        if (kind == 0) emit(0x03 | reg << 7 | (4 | log2piece) << 12 | BASE << 15 | (pick(12) ? from : pick(64)) << 20, 4);
        else if (kind < 3) emit(is_word ? 0x1b | reg << 7 | 5 << 12 | word << 15 | 8 * from << 20 : 0x13 | reg << 7 | 5 << 12 | word << 15 | 8 * from << 20, 4); /* srliw, srli */
        if (!pick(24)) emit_store(pick(4), pick(2) ? BASE : ALIAS, 5 + pick(8), pick(64));
        emit_store(log2piece, base, kind < 3 ? reg : 5 + pick(8), to + (pick(24) ? piece << log2piece : pick(8)));
    }
    if (!pick(4)) emit_store(pick(4), pick(2) ? BASE : ALIAS, 5 + pick(8), pick(64));
    u32 load = base == ALIAS ? BASE : ALIAS, disp = base == ALIAS ? to + APART : to - APART;
    if (pick(12) == 0) load = base, disp = to;
    if (log2size > 1 && !pick(4)) emit(0x07 | pick(8) << 7 | log2size << 12 | load << 15 | disp << 20, 4); /* flw, fld */
    else emit(0x03 | (5 + pick(4)) << 7 | (log2size | (log2size < 3 && pick(2) ? 4 : 0)) << 12 | load << 15 | disp << 20, 4);
}

static u32 three(u32 bits, u32 rd, u32 rs1, u32 rs2) { return bits | rd << 7 | rs1 << 15 | rs2 << 20; }

/* A word of a long product, added to a sum of words, in an order of its own; sometimes something comes between. */
static void emit_product(void) {
    enum { ADD = 0x33, SLTU = 0x3033, MUL = 0x2000033, MULH = 0x2001033, MULHU = 0x2003033 };
    u32 x = 5 + pick(2), y = 7, low = 8, high = 9, sum = 10, c = 11, d = 12, swap = pick(2);
    u32 step[] = {three(MUL, low, swap ? y : x, swap ? x : y), three(pick(4) ? MULHU : MULH, high, x, y)};
    emit(step[swap], 4);
    if (!pick(3)) emit_random();
    emit(step[!swap], 4);
    emit(three(ADD, sum, sum, c), 4);
    emit(three(SLTU, c, sum, c), 4);
    if (pick(2)) emit(three(ADD, high, high, c), 4);
    if (!pick(3)) emit_random();
    emit(three(ADD, sum, pick(2) ? low : sum, pick(2) ? sum : low), 4);
    emit(0x3023 | BASE << 15 | sum << 20 | pick(4) << 10, 4); /* sd */
    emit(three(SLTU, d, sum, low), 4);
    emit(three(ADD, c, pick(2) ? c : high, d), 4);
    if (pick(2)) emit(three(ADD, c, high, c), 4);
}

/* A number is taken from a place, another is left there, and the first is an index: what opt/prefetch.c is for. */
static void emit_exchange(void) {
    enum { LW = 0x2003, SW = 0x2023, LBU = 0x4003, ANDI = 0x7013, SLLI = 0x1013, ADD = 0x33 };
    u32 old = 5 + pick(2), index = 7 + pick(2), new = pick(6) ? 9 + pick(4) : old, place = 4 * pick(8);
    emit(LW | old << 7 | BASE << 15 | place << 20, 4);
    if (!pick(3)) emit_random();
    if (pick(2)) emit(SW | place << 7 | BASE << 15 | new << 20, 4);
    emit(ANDI | index << 7 | old << 15 | pick(256) << 20, 4);
    emit(SLLI | index << 7 | index << 15 | pick(4) << 20, 4);
    emit(ADD | index << 7 | index << 15 | BASE << 20, 4);
    emit(SW | place << 7 | BASE << 15 | new << 20, 4);
    emit(LBU | old << 7 | index << 15 | pick(64) << 20, 4);
}

/* A rotate written as two shifts by distances that nobody knows, or nearly. */
static void emit_rotate(void) {
    enum { SLL = 0x1033, SRL = 0x5033, SUB = 0x40000033, OR = 0x6033, XOR = 0x4033, ADD = 0x33, WORD = 8 };
    static const u32 joins[] = {OR, OR, OR, XOR, ADD};
    u32 x = 5 + pick(4), by = 5 + pick(4), other = 9, from = 0, word = pick(2) * WORD, right = pick(2);
    if (pick(4) == 0) emit(0x13 | other << 7 | (pick(6) ? word ? 32u : 64u : pick(80)) << 20, 4), from = other;
    emit(three(SUB | pick(2) * WORD, other, from, by), 4);
    emit(three((right ? SRL : SLL) | word, 10, x, by), 4);
    emit(three((right ? SLL : SRL) | (pick(8) ? word : 0), 11, x, other), 4);
    emit(three(joins[pick(5)], 12, pick(2) ? 10 : 11, pick(8) ? pick(2) ? 11 : 10 : x), 4);
}

/* A number to divide by: of one bit or nearly, small, or any. */
static void emit_divisor(u32 rd) {
    u32 kind = pick(5);
    if (kind < 2) emit(0x13 | rd << 7 | pick(4096) << 20, 4);
    else emit(0x37 | rd << 7 | pick(1u << 20) << 12, 4);
    if (kind > 2) emit(0x13 | rd << 7 | rd << 15 | pick(4096) << 20, 4);
    if (kind == 1 || kind == 4) emit(0x1013 | rd << 7 | rd << 15 | pick(64) << 20, 4); /* slli */
    if (kind == 1 && pick(2)) emit(0x13 | rd << 7 | rd << 15 | (pick(2) ? 1u : 0xfffu) << 20, 4);
}

/* Divisions by a number that is known, or that opt/divisors.c may guess, of about a multiple of it, or any. */
static void emit_divisions(void) {
    enum { MUL = 0x2000033, DIV = 0x2004033, REMU = 0x2007033, SUB = 0x40000033, WORD = 8 };
    u32 divisor = 14, number = 5 + pick(4);
    if (pick(3)) emit_divisor(divisor);
    else divisor = pick(3) ? DIVISOR : 5 + pick(4);
    if (pick(3) == 0) { /* the largest multiple, of 64, 63, 32 or 31 bits: where reciprocals go wrong first */
        static const u8 zeros[] = {0, 1, 32, 33};
        emit(three(0x3033, number, 0, BASE), 4); /* sltu: 1, but nobody knows */
        emit(three(SUB, number, 0, number), 4);
        emit(0x5013 | number << 7 | number << 15 | (u32)zeros[pick(4)] << 20, 4);
        emit(three(REMU, 9, number, divisor), 4);
        emit(three(SUB, number, number, 9), 4);
        if (pick(2)) emit(three(SUB, number, 0, number), 4);
    } else if (pick(3)) {
        emit(three(MUL, number, number, divisor), 4);
    }
    if (pick(3)) emit(0x13 | number << 7 | number << 15 | (pick(2) ? pick(3) : 0xfffu) << 20, 4);
    for (u32 k = 1 + pick(3); k; k--) {
        emit(three(DIV | pick(4) << 12 | (pick(2) ? WORD : 0), 9 + pick(4), pick(5) ? number : 9 + pick(4), divisor), 4);
        if (!pick(4)) emit_random();
    }
}

static u32 branch_bits(u32 kind, unsigned rs1, unsigned rs2, i32 off) {
    u32 o = (u32)off;
    return 0x63 | kind << 12 | rs1 << 15 | rs2 << 20 | (o >> 11 & 1) << 7 | (o >> 1 & 15) << 8 | (o >> 5 & 63) << 25 | (o >> 12 & 1) << 31;
}

static u32 jal_bits(unsigned rd, i32 off) {
    u32 o = (u32)off;
    return 0x6f | rd << 7 | (o >> 12 & 255) << 12 | (o >> 11 & 1) << 20 | (o >> 1 & 1023) << 21 | (o >> 20 & 1) << 31;
}

static u32 off_bits(u32 to, u32 from) { return (to - from) << 20; }

/* Looks for the highest byte of a register that is not zero: what opt/skip.c is for, or nearly. */
static void emit_search(void) {
    enum { ADDI = 0x13, ANDI = 0x7013, SRL = 0x5033, SUB = 0x40000033, AND = 0x7033 };
    u32 word = 5 + pick(2), distance = 7 + pick(2), rest = 9 + pick(2), byte = pick(6) ? 11u : rest;
    if (pick(2)) { /* its lowest bit, often a high one */
        emit(0x1013 | word << 7 | word << 15 | pick(64) << 20, 4);
        emit(three(SUB, rest, 0, word), 4);
        emit(three(AND, word, word, rest), 4);
    }
    emit(ADDI | distance << 7 | (pick(6) ? 56 : 8 * (1 + pick(8))) << 20, 4);
    i32 step = pick(12) ? -8 : -4;
    u32 mask = pick(8) ? 255 : pick(2048);
    bool late = pick(2); /* where the distance is tested, before the byte */
    if (late) emit(jal_bits(0, 8), 4);
    u32 head = code_len;
    if (late) {
        emit(branch_bits(1, byte, 0, 20), 4);
        emit(ADDI | distance << 7 | distance << 15 | (u32)step << 20, 4);
    }
    emit(three(SRL, rest, word, distance), 4);
    emit(ANDI | byte << 7 | rest << 15 | mask << 20, 4);
    if (!late) {
        emit(branch_bits(1, byte, 0, 12), 4);
        emit(ADDI | distance << 7 | distance << 15 | (u32)step << 20, 4);
    }
    emit(branch_bits(1, distance, 0, (i32)(head - code_len)), 4);
}

static void emit_plain(u32 rd) { /* of registers of their own */
    static const u32 ops[] = {0x33, 0x40000033, 0x4033, 0x6033, 0x3b}; /* add sub xor or addw */
    if (pick(3)) emit(three(ops[pick(5)], rd, 5 + pick(4), 5 + pick(4)), 4);
    else emit(0x1013 | rd << 7 | (5 + pick(4)) << 15 | pick(4) << 20, 4); /* slli */
}

/* The end of a loop, counted down in register 11: where it is not over, back to `head`; else falls through. */
static void emit_loop_end(u32 head, bool odd) {
    emit(0x13 | 11 << 7 | 11 << 15 | -1u << 20, 4);
    if (!pick(3)) emit_plain(9);
    emit(branch_bits(odd ? 4 : 1, odd ? 0 : 11, odd ? 11 : 0, (i32)(head - code_len)), 4); /* blt zero; bnez */
}

/* A branch whose sides end with copies of the end of the loop around it: what opt/join.c is for, or nearly. */
static void emit_copied_end(void) {
    u32 sides[2] = {pick(3), pick(3)}, c = 5 + pick(4);
    bool odd = !pick(8), jumps_in = pick(2);
    emit(0x13 | 11 << 7 | (1 + pick(12)) << 20, 4);
    u32 head = code_len;
    for (u32 k = pick(3); k; k--) emit_plain(5 + pick(4));
    emit(0x7013 | 10 << 7 | c << 15 | (1 + pick(3)) << 20, 4); /* andi */
    u32 kept = seed, from = code_len;
    for (int pass = 0; pass < 2; pass++) { /* to know how long the first side is */
        u32 second = code_len - from;
        seed = kept, code_len = from;
        emit(branch_bits(pick(2), 10, 0, pass ? (i32)second : 8), 4);
        for (u32 k = sides[0]; k; k--) emit_plain(5 + pick(4));
        emit_loop_end(head, false);
        emit(jal_bits(0, 4), 4); /* to the end, written below */
    }
    u32 over = code_len - 4;
    for (u32 k = sides[1]; k; k--) emit_plain(5 + pick(4));
    if (jumps_in) emit_plain(12);
    emit_loop_end(head, odd);
    u32 end = code_len;
    code_len = over;
    emit(jal_bits(0, (i32)(end - over)), 4);
    code_len = end;
}

/* Calls one of two leaves, as a register says: its address is made of both. Or a far call. */
static void emit_indirect(void) {
    enum { AUIPC = 0x17, ADDI = 0x13, XOR = 0x4033, AND = 0x7033, SUB = 0x40000033, JALR = 0x67 };
    u32 a = leaf_at[pick(LEAVES)], b = leaf_at[pick(LEAVES)], x = 5 + pick(4), y = 9, z = 10;
    if (!pick(4)) {
        u32 at = code_len;
        emit(AUIPC | RA << 7, 4);
        emit(JALR | RA << 7 | RA << 15 | off_bits(a, at), 4);
        return;
    }
    for (u32 k = 0; k < 2; k++) {
        u32 at = code_len, reg = k ? y : z;
        emit(AUIPC | reg << 7, 4);
        emit(ADDI | reg << 7 | reg << 15 | off_bits(k ? a : b, at), 4);
    }
    emit(0x7013 | x << 7 | x << 15 | 1 << 20, 4); /* andi x, x, 1 */
    emit(SUB | x << 7 | x << 20, 4);
    emit(XOR | z << 7 | z << 15 | y << 20, 4);
    emit(AND | z << 7 | z << 15 | x << 20, 4);
    emit(XOR | z << 7 | z << 15 | y << 20, 4);
    emit(JALR | RA << 7 | z << 15 | (pick(8) ? 0 : 1) << 20, 4); /* the low bit is ignored */
}

/* Two passes: the first finds where blocks are, the second knows. Both draw the same numbers. */
static void emit_end(u32 n) {
    static const u8 kinds[] = {0, 1, 4, 5, 6, 7};
    u32 kind = pick(7), to = pick(BLOCKS + 1), leaf = pick(LEAVES), x = some_register(), y = some_register();
    if (kind == 0) emit(jal_bits(RA, (i32)(leaf_at[leaf] - code_len)), 4);
    else if (kind == 6) emit_indirect();
    else if (to <= n) { /* back: only while there is fuel */
        emit(0xfffd8d93, 4); /* addi s11, s11, -1 */
        emit(branch_bits(5, 0, FUEL, 8), 4); /* bge zero, s11: over */
        emit(kind == 1 ? jal_bits(0, (i32)(block_at[to] - code_len)) : branch_bits(kinds[pick(6)], x, y, (i32)(block_at[to] - code_len)), 4);
    } else {
        emit(kind == 1 ? jal_bits(0, (i32)(block_at[to] - code_len)) : branch_bits(kinds[pick(6)], x, y, (i32)(block_at[to] - code_len)), 4);
    }
}

static void emit_pass(void) {
    code_len = 0;
    for (u32 n = 0; n < BLOCKS; n++) {
        block_at[n] = code_len;
        for (u32 k = pick(9); k; k--) emit_random();
        if (!pick(4)) emit_word();
        if (!pick(4)) emit_pieces();
        if (!pick(3)) emit_divisions();
        if (!pick(4)) emit_rotate();
        for (u32 k = pick(5) ? 0 : 1 + pick(2); k; k--) emit_product();
        if (!pick(5)) emit_exchange();
        if (!pick(5)) emit_search();
        if (!pick(3)) emit_copied_end();
        emit_end(n);
    }
    block_at[BLOCKS] = code_len;
    emit(0x00100073, 4); /* ebreak */
    for (u32 n = 0; n < LEAVES; n++) {
        leaf_at[n] = code_len;
        for (u32 k = pick(4); k; k--) emit_random();
        emit(0x00008067, 4); /* ret */
    }
}

static u64 seen[OPT_SEEN]; /* Opt.seen: sometimes wrong */

static void look(void) {
    for (u32 k = 0; k < OPT_SEEN; k++) seen[k] = pick(3) ? pick(2000) - 1000ull : (u64)pick(1u << 31) << pick(33);
}

static void make_program(u64 number) {
    memset(code, 0, sizeof code);
    for (int pass = 0; pass < 2; pass++) {
        seed = number * 2654435761u + 12345;
        emit_pass();
    }
}

/* --- running --------------------------------------------------------------------------------------------------- */

static const u8 *fetch(void *ctx, u64 pc, size_t *avail) {
    (void)ctx;
    if (pc - code_at >= code_len) return NULL;
    *avail = code_len - (pc - code_at);
    return code + (pc - code_at);
}
static bool reached(void *ctx, u64 pc) { return (hash_u64(pc ^ *(u64 *)ctx) & 7) != 0; }

/* Some leaves, and a block for a call to nowhere; shares that make it leave for good, or come back. */
static u32 targets(void *ctx, u64 pc, RegionTarget out[REGION_TARGETS]) {
    u64 h = hash_u64(pc * 3 ^ *(u64 *)ctx);
    u32 count = h & 3;
    for (u32 k = 0; k < count; k++) {
        u32 leaf = (h >> 8) + k;
        u64 odd = (h >> 24 & 3) == 0; /* as jalr may leave it */
        out[k] = (RegionTarget){(code_at + (h >> 16 & 15 ? leaf_at[leaf % LEAVES] : block_at[leaf % BLOCKS])) | odd, (h >> 20 & 1 ? REGION_ALWAYS : REGION_ALWAYS * 3 / 4) / count};
    }
    return count;
}

static IrInterp interp;
static u8 *memory;

static TrapCode one(Vcpu *cpu) {
    static IrFunc f;
    size_t avail;
    const u8 *at = fetch(NULL, cpu->pc, &avail);
    if (!at) return TRAP_FETCH;
    ir_reset(&f, &riscv_guest, cpu->pc, cpu->mode);
    unsigned len = riscv_guest.lift(&f, cpu->pc, at, avail);
    if (!f.closed) ir_exit(&f, cpu->pc + len);
    return ir_interp(&interp, &f, cpu);
}

/* What prints parses: to the same text. */
static const char *round_trip(const IrFunc *f) {
    static IrFunc again;
    static char first[1 << 20], second[1 << 20];
    Text t = text_init(first, sizeof first), u = text_init(second, sizeof second);
    char why[160];
    ir_print(f, &t);
    if (ir_parse(&again, &riscv_guest, first)) return "its text does not parse";
    ir_print(&again, &u);
    if (strcmp(first, second)) return "its text parses to something else";
    return ir_verify(&again, why, sizeof why) ? "what was parsed is not valid" : NULL;
}

/* The regions of this program, by pc; NULL where there is none. */
static IrFunc *regions[CODE];
static bool tried[CODE];
static u32 guessed;
static OptStats sums;

static IrFunc *region_of(u64 pc, u64 number) {
    static Region r;
    static Opt o = {.pinned = 10, .seen = seen};
    u32 k = (u32)(pc - code_at);
    if (k >= CODE || tried[k]) return k < CODE ? regions[k] : NULL;
    tried[k] = true;
    IrFunc *f = calloc(1, sizeof *f);
    RegionSource s = {.ctx = &number, .fetch = fetch, .reached = reached, .targets = targets};
    char why[200];
    if (!region_build(&r, &s, &region_default_limits, &riscv_guest, pc, 0, f)) return NULL;
    guessed += r.guarded;
    const char *wrong = ir_verify(f, why, sizeof why);
    if (!wrong) opt_run(&o, f), wrong = ir_verify(f, why, sizeof why);
    if (!wrong) wrong = round_trip(f);
    sums = o.stats;
    if (wrong) {
        printf("invalid IR: %s\n", wrong);
        exit(1);
    }
    return regions[k] = f;
}

static void drop_regions(void) {
    for (u32 k = 0; k < CODE; k++) {
        if (regions[k]) ir_drop(regions[k]), free(regions[k]);
        regions[k] = NULL;
        tried[k] = false;
    }
}

static void begin(Vcpu *cpu, u64 number) {
    memset(cpu, 0, sizeof *cpu + sizeof(RvState));
    seed = number + 99;
    RvState *s = (RvState *)cpu->state;
    for (u32 k = 1; k < 32; k++) s->x[k] = pick(3) ? pick(200) - 100ull : (u64)pick(1u << 31) << 33 ^ pick(1u << 31);
    for (u32 k = 0; k < 32; k++) s->f[k] = pick(2) ? ~0ull << 32 | pick(1u << 31) : (u64)pick(1u << 31) << 33;
    for (u32 k = 0; k < MEMORY; k++) memory[k] = (u8)pick(256);
    s->x[BASE] = (u64)memory + MEMORY / 2;
    s->x[ALIAS] = s->x[BASE] + (pick(3) ? APART : pick(48));
    s->x[DIVISOR] = seen[DIVISOR] + (pick(3) ? 0 : pick(3) - 1ull);
    s->x[FUEL] = 300;
    cpu->pc = code_at;
}

/* Runs to the end. A region may stand still only by its entry's count, which never runs out here. */
static TrapCode run(Vcpu *cpu, u64 number, bool by_regions) {
    for (u32 steps = 0; steps < STEPS; steps++) {
        IrFunc *f = by_regions ? region_of(cpu->pc, number) : NULL;
        TrapCode trap = f ? ir_interp(&interp, f, cpu) : one(cpu);
        if (trap != TRAP_NONE) return trap;
    }
    return TRAP_NONE;
}

static bool same(const Vcpu *a, const Vcpu *b) { return a->pc == b->pc && a->fflags == b->fflags && !memcmp(a->state, b->state, sizeof(RvState)); }

static void print_program(void) {
    for (u32 at = 0; at < code_len; at += 4) {
        char buf[96];
        u32 bits;
        memcpy(&bits, code + at, 4);
        riscv_disasm(bits, code_at + at, buf, sizeof buf);
        printf("%8lx: %s\n", code_at + at, buf);
    }
}

static void print_difference(const Vcpu *want, const Vcpu *got) {
    printf("pc %lx %lx flags %x %x\n", want->pc, got->pc, want->fflags, got->fflags);
    for (u32 k = 0; k < riscv_guest.slot_count; k++) {
        u64 a, b;
        memcpy(&a, (u8 *)want->state + riscv_guest.slots[k].offset, 8);
        memcpy(&b, (u8 *)got->state + riscv_guest.slots[k].offset, 8);
        if (a != b) printf("%s: wanted %lx, got %lx\n", riscv_guest.slots[k].name, a, b);
    }
}

int main(int argc, char **argv) {
    u64 first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, count = argc > 2 ? strtoull(argv[2], NULL, 0) : 300;
    static u8 kept[MEMORY];
    Vcpu *want = aligned_alloc(64, sizeof *want + sizeof(RvState)), *got = aligned_alloc(64, sizeof *got + sizeof(RvState));
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u32 passed = 0, failed = 0;
    for (u64 n = first; n < first + count && !failed; n++) {
        make_program(n);
        look();
        begin(want, n);
        TrapCode a = run(want, n, false);
        memcpy(kept, memory, MEMORY);
        begin(got, n);
        TrapCode b = run(got, n, true);
        drop_regions();
        if (a == TRAP_NONE || (a == b && same(want, got) && !memcmp(kept, memory, MEMORY))) {
            passed++;
            continue;
        }
        failed++;
        printf("program %lu: traps %u %u\n", n, a, b);
        print_program();
        print_difference(want, got);
    }
    const u64 made[] = {guessed, sums.prefetches, sums.skipped, sums.choices, sums.joins, sums.nests, sums.forwarded, sums.stores_merged, sums.divisors};
    for (u32 k = 0; k < ARRAY_LEN(made); k++)
        if (count >= 1000 && !made[k]) failed++, printf("programs did not have what they are made to have: number %u\n", k);
    printf("%u guesses of targets, %lu prefetches, %lu searches, %lu choices, %lu joins, %lu nests, %lu words of pieces, %lu stores of them, %lu divisors\n%u passed, %u failed\n", guessed, sums.prefetches, sums.skipped, sums.choices, sums.joins, sums.nests, sums.forwarded, sums.stores_merged, sums.divisors, passed, failed);
    return failed != 0;
}
