/* SPDX-License-Identifier: Apache-2.0 */
/* Decoder and disassembler: the small hand-written part around what isagen.py makes of riscv.isa. */
#include "isa/riscv/riscv.h"

#include "isa/riscv/riscv_gen.inc"

const char *const riscv_xreg_names[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
    "a6",   "a7", "s2", "s3", "s4",  "s5",  "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};
const char *const riscv_freg_names[32] = {
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0",  "fa1",  "fa2", "fa3", "fa4",  "fa5",
    "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

bool riscv_decode(u32 bits, RvInsn *out) {
    *out = (RvInsn){.len = riscv_insn_len(bits), .bits = bits};
    if (out->len == 4) return decode_32(bits, out);
    out->bits = bits &= 0xffff;
    return decode_16(bits, out);
}

const char *riscv_csr_name(unsigned number) {
    unsigned low = 0, high = ARRAY_LEN(csr_names);
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (csr_names[mid].number < number) low = mid + 1;
        else high = mid;
    }
    return low < ARRAY_LEN(csr_names) && csr_names[low].number == number ? csr_names[low].name : NULL;
}

u32 riscv_row_random(unsigned row, u64 *seed) {
    const RvRowInfo *r = &riscv_rows[row];
    for (;;) {
        u64 x = *seed; /* xorshift64 */
        x ^= x << 13;
        x ^= x >> 7;
        *seed = x ^= x << 17;
        u32 bits = ((u32)(x >> 20) & ~r->mask) | r->match;
        if (r->len == 2) bits &= 0xffff;
        RvInsn insn;
        if (riscv_decode(bits, &insn) && insn.row == row) return bits;
    }
}

/* --- disassembler */

static void print_fence_set(Text *t, unsigned set) {
    if (!set) text_print(t, "unknown"); /* objdump's word for the empty set */
    for (unsigned i = 0; i < 4; i++)
        if (set & 8 >> i) text_char(t, "iorw"[i]);
}

/* The constants of fli, as %a prints them [unpriv zfa, table of fli]. */
static const char *const fli_names[32] = {
    "-0x1p+0", "min", "0x1p-16", "0x1p-15", "0x1p-8", "0x1p-7", "0x1p-4", "0x1p-3", "0x1p-2", "0x1.4p-2", "0x1.8p-2",
    "0x1.cp-2", "0x1p-1", "0x1.4p-1", "0x1.8p-1", "0x1.cp-1", "0x1p+0", "0x1.4p+0", "0x1.8p+0", "0x1.cp+0", "0x1p+1",
    "0x1.4p+1", "0x1.8p+1", "0x1p+2", "0x1p+3", "0x1p+4", "0x1p+7", "0x1p+8", "0x1p+15", "0x1p+16", "inf", "nan",
};
static const char *const rm_names[8] = {"rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"};

/* What vsetvli sets: four names, or the number if a field is reserved [unpriv v, "vector type register"]. */
static void print_vtype(Text *t, u32 vtype) {
    static const char *const groups[8] = {"m1", "m2", "m4", "m8", NULL, "mf8", "mf4", "mf2"};
    if (vtype >> 8 || (vtype >> 3 & 7) > 3 || !groups[vtype & 7]) {
        text_print(t, "%d", vtype);
        return;
    }
    text_print(t, "e%d,%s,%s,%s", 8 << (vtype >> 3 & 7), groups[vtype & 7], vtype & 0x40 ? "ta" : "tu", vtype & 0x80 ? "ma" : "mu");
}

static void print_operand(Text *t, const RvInsn *i, unsigned how, u64 pc) {
    switch (how) {
    case PRINT_X_RD: text_print(t, "%s", riscv_xreg_names[i->rd]); break;
    case PRINT_X_RS1: text_print(t, "%s", riscv_xreg_names[i->rs1]); break;
    case PRINT_X_RS2: text_print(t, "%s", riscv_xreg_names[i->rs2]); break;
    case PRINT_F_RD: text_print(t, "%s", riscv_freg_names[i->rd]); break;
    case PRINT_F_RS1: text_print(t, "%s", riscv_freg_names[i->rs1]); break;
    case PRINT_F_RS2: text_print(t, "%s", riscv_freg_names[i->rs2]); break;
    case PRINT_F_RS3: text_print(t, "%s", riscv_freg_names[i->rs3]); break;
    case PRINT_V_RD: text_print(t, "v%d", i->rd); break;
    case PRINT_V_RS1: text_print(t, "v%d", i->rs1); break;
    case PRINT_V_RS2: text_print(t, "v%d", i->rs2); break;
    case PRINT_V_RS3: text_print(t, "v%d", i->rs3); break;
    case PRINT_OPT_N_VM:
        if (!i->vm) text_print(t, ",v0.t");
        break;
    case PRINT_IMM_VTYPE: print_vtype(t, i->imm); break;
    case PRINT_N_RS1: text_print(t, "%d", i->rs1); break;
    case PRINT_OPT_N_RM:
        if (i->rm != 7) text_print(t, ",%s", rm_names[i->rm]);
        break;
    case PRINT_IMM: text_print(t, "%d", i->imm); break;
    case PRINT_IMM_LINE: text_print(t, "%d", i->imm & -32); break;
    case PRINT_IMM_X: text_print(t, "0x%x", (u32)i->imm); break;
    case PRINT_IMM_HI: text_print(t, "0x%x", (u32)i->imm >> 12); break;
    case PRINT_IMM_PC: text_print(t, "0x%lx", pc + (i64)i->imm); break;
    case PRINT_IMM_FLI: text_print(t, "%s", fli_names[i->imm]); break;
    case PRINT_IMM_IORW:
        print_fence_set(t, i->imm >> 4 & 15);
        text_char(t, ',');
        print_fence_set(t, i->imm & 15);
        break;
    case PRINT_IMM_CSR: {
        const char *name = riscv_csr_name(i->imm);
        if (name) text_print(t, "%s", name);
        else text_print(t, "0x%x", i->imm);
        break;
    }
    }
}

/* {uimm} in a name is the immediate: mop.r.7; {uimm+1} the number after it: vlseg2e8.v. */
static void print_name(Text *t, const RvInsn *i, const char *name) {
    for (; *name; name++) {
        if (*name == '{') {
            while (name[1] != '}') name++;
            text_print(t, "%d", i->imm + (*name++ == '1'));
        } else {
            text_char(t, *name);
        }
    }
    if (i->aq | i->rl) text_print(t, i->aq && i->rl ? ".aqrl" : i->aq ? ".aq" : ".rl");
}

bool riscv_disasm(u32 bits, u64 pc, char *buf, size_t size) {
    Text t = text_init(buf, size);
    RvInsn i;
    if (!riscv_decode(bits, &i)) {
        text_print(&t, i.len == 2 ? ".insn\t2, 0x%04x" : ".insn\t4, 0x%08x", i.bits);
        return false;
    }
    const char *name = riscv_ops[i.op].name, *syntax = riscv_ops[i.op].syntax;
    for (unsigned a = first_alias[i.op]; a && a <= ARRAY_LEN(aliases) && aliases[a - 1].op == i.op; a++) {
        if (!alias_fits(a - 1, &i)) continue;
        name = aliases[a - 1].name;
        syntax = aliases[a - 1].syntax;
        break;
    }
    print_name(&t, &i, name);
    if (*syntax) text_char(&t, '\t');
    for (; *syntax; syntax++) {
        if ((u8)*syntax > 128) print_operand(&t, &i, (u8)*syntax, pc);
        else text_char(&t, *syntax);
    }
    return true;
}
