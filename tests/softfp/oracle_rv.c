/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A riscv64 program: executes the floating-point instructions that the Records on stdin name and writes Results to
 * stdout. Instructions are given as .insn, so that any assembler will do. Operands go in NaN-boxed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "records.h"

static uint64_t box(int type, uint64_t v) {
    return type == 0 ? v | 0xffffffffffff0000 : type == 1 ? v | 0xffffffff00000000 : v;
}

static uint64_t unbox(int type, uint64_t v) { return type == 0 ? (uint16_t)v : type == 1 ? (uint32_t)v : v; }

/* Run one instruction with fa0, fa1, fa2 = a, b, c and a0 = a; the result in `out` (f: fa0, x: a0). */
#define RUN(insn, result)                                                                                              \
    {                                                                                                                  \
        register uint64_t x10 __asm__("a0") = r->a;                                                                    \
        __asm__ volatile("fmv.d.x fa0, %2\n fmv.d.x fa1, %3\n fmv.d.x fa2, %4\n fsrm %5\n fsflags x0\n" insn           \
                         "\n frflags %1\n" result                                                                      \
                         : "+r"(x10), "=&r"(flags)                                                                     \
                         : "r"(a), "r"(b), "r"(c), "r"((uint64_t)r->rm)                                                \
                         : "fa0", "fa1", "fa2");                                                                       \
        value = x10;                                                                                                   \
    }                                                                                                                  \
    break
#define F_RESULT "fmv.x.d a0, fa0"
/* One instruction of OP-FP in its three formats, by r->type (0 half: fmt 2, 1 single: 0, 2 double: 1). */
#define BY_TYPE(head, funct7, tail, result)                                                                            \
    switch (r->type) {                                                                                                 \
    case 0: RUN(".insn r 0x53, " head ", " #funct7 "|2, " tail, result);                                               \
    case 1: RUN(".insn r 0x53, " head ", " #funct7 "|0, " tail, result);                                               \
    case 2: RUN(".insn r 0x53, " head ", " #funct7 "|1, " tail, result);                                               \
    }                                                                                                                  \
    break
#define BY_OTHER(head, funct7, tail0, tail1, tail2, tail3, result)                                                     \
    switch (r->other) {                                                                                                \
    case 0: BY_TYPE(head, funct7, tail0, result);                                                                      \
    case 1: BY_TYPE(head, funct7, tail1, result);                                                                      \
    case 2: BY_TYPE(head, funct7, tail2, result);                                                                      \
    case 3: BY_TYPE(head, funct7, tail3, result);                                                                      \
    }                                                                                                                  \
    break
#define FMA(opcode)                                                                                                    \
    switch (r->type) {                                                                                                 \
    case 0: RUN(".insn r4 " opcode ", 7, 2, fa0, fa0, fa1, fa2", F_RESULT);                                            \
    case 1: RUN(".insn r4 " opcode ", 7, 0, fa0, fa0, fa1, fa2", F_RESULT);                                            \
    case 2: RUN(".insn r4 " opcode ", 7, 1, fa0, fa0, fa1, fa2", F_RESULT);                                            \
    }                                                                                                                  \
    break
#define BINARY "fa0, fa0, fa1"

static Result execute(const Record *r) {
    uint64_t a = box(r->type, r->a), b = box(r->type, r->b), c = box(r->type, r->c), value = 0, flags = 0;
    int out = r->type;
    switch (r->op) {
    case OP_ADD: BY_TYPE("7", 0x00, BINARY, F_RESULT);
    case OP_SUB: BY_TYPE("7", 0x04, BINARY, F_RESULT);
    case OP_MUL: BY_TYPE("7", 0x08, BINARY, F_RESULT);
    case OP_DIV: BY_TYPE("7", 0x0c, BINARY, F_RESULT);
    case OP_SQRT: BY_TYPE("7", 0x2c, "fa0, fa0, f0", F_RESULT);
    case OP_FMADD: FMA("0x43");
    case OP_FMSUB: FMA("0x47");
    case OP_FNMSUB: FMA("0x4b");
    case OP_FNMADD: FMA("0x4f");
    case OP_MIN: BY_TYPE("0", 0x14, BINARY, F_RESULT);
    case OP_MAX: BY_TYPE("1", 0x14, BINARY, F_RESULT);
    case OP_MINM: BY_TYPE("2", 0x14, BINARY, F_RESULT);
    case OP_MAXM: BY_TYPE("3", 0x14, BINARY, F_RESULT);
    case OP_ROUND: BY_TYPE("7", 0x20, "fa0, fa0, f4", F_RESULT);
    case OP_ROUNDNX: BY_TYPE("7", 0x20, "fa0, fa0, f5", F_RESULT);
    case OP_CONVERT:
        out = r->other;
        switch (r->other * 4 + r->type) { /* funct7: the target's format, rs2: the source's */
        case 0 * 4 + 1: RUN(".insn r 0x53, 7, 0x22, fa0, fa0, f0", F_RESULT);
        case 0 * 4 + 2: RUN(".insn r 0x53, 7, 0x22, fa0, fa0, f1", F_RESULT);
        case 1 * 4 + 0: RUN(".insn r 0x53, 7, 0x20, fa0, fa0, f2", F_RESULT);
        case 1 * 4 + 2: RUN(".insn r 0x53, 7, 0x20, fa0, fa0, f1", F_RESULT);
        case 2 * 4 + 0: RUN(".insn r 0x53, 7, 0x21, fa0, fa0, f2", F_RESULT);
        case 2 * 4 + 1: RUN(".insn r 0x53, 7, 0x21, fa0, fa0, f0", F_RESULT);
        }
        break;
    case OP_FROM_INT: BY_OTHER("7", 0x68, "fa0, a0, x0", "fa0, a0, x1", "fa0, a0, x2", "fa0, a0, x3", F_RESULT);
    default:
        out = 2; /* a whole integer register */
        switch (r->op) {
        case OP_EQ: BY_TYPE("2", 0x50, "a0, fa0, fa1", "");
        case OP_LT: BY_TYPE("1", 0x50, "a0, fa0, fa1", "");
        case OP_LE: BY_TYPE("0", 0x50, "a0, fa0, fa1", "");
        case OP_LTQ: BY_TYPE("5", 0x50, "a0, fa0, fa1", "");
        case OP_LEQ: BY_TYPE("4", 0x50, "a0, fa0, fa1", "");
        case OP_CLASS: BY_TYPE("1", 0x70, "a0, fa0, f0", "");
        case OP_TO_INT: BY_OTHER("7", 0x60, "a0, fa0, x0", "a0, fa0, x1", "a0, fa0, x2", "a0, fa0, x3", "");
        case OP_TO_INT_MODULAR: RUN(".insn r 0x53, 1, 0x61, a0, fa0, f8", "");
        }
    }
    return (Result){unbox(out, value), flags};
}

int main(void) {
    static Record in[4096];
    static Result out[4096];
    for (;;) {
        size_t have = 0;
        ssize_t n;
        while (have < sizeof(in) && (n = read(0, (char *)in + have, sizeof(in) - have)) > 0) have += n;
        size_t count = have / sizeof(in[0]);
        for (size_t i = 0; i < count; i++) out[i] = execute(&in[i]);
        if (write(1, out, count * sizeof(out[0])) != (ssize_t)(count * sizeof(out[0]))) return 1;
        if (have < sizeof(in)) return 0;
    }
}
