/* SPDX-License-Identifier: Apache-2.0 */
/* A register machine with its main loop in two forms, and a program for it: the sieve of Eratosthenes. */
#include "bench.h"

enum { LI, MOV, ADD, ADDI, MUL, LT, JNZ, JZ, JMP, LOAD, STORE, HALT };
typedef struct { unsigned char op, a, b, c; int imm; } Insn;

static const Insn program[] = {
    {LI, 0, 0, 0, 0},        /*  0: r0 = count */
    {LI, 1, 0, 0, 2},        /*  1: r1 = i */
    {LI, 2, 0, 0, 60000},    /*  2: r2 = n */
    {LT, 3, 1, 2, 0},        /*  3: while i < n */
    {JZ, 3, 0, 0, 15},       /*  4 */
    {LOAD, 4, 1, 0, 0},      /*  5: if !composite[i] */
    {JNZ, 4, 0, 0, 13},      /*  6 */
    {ADDI, 0, 0, 0, 1},      /*  7: count++ */
    {ADD, 5, 1, 1, 0},       /*  8: j = 2i */
    {LT, 3, 5, 2, 0},        /*  9: while j < n */
    {JZ, 3, 0, 0, 13},       /* 10 */
    {STORE, 5, 2, 0, 0},     /* 11: composite[j] = n */
    {JMP, 0, 0, 0, 16},      /* 12 */
    {ADDI, 1, 1, 0, 1},      /* 13: i++ */
    {JMP, 0, 0, 0, 3},       /* 14 */
    {HALT, 0, 0, 0, 0},      /* 15 */
    {ADD, 5, 5, 1, 0},       /* 16: j += i */
    {JMP, 0, 0, 0, 9},       /* 17 */
};

static int64_t memory[1 << 16];

static int64_t run(const Insn *code) {
    int64_t r[8] = {0};
    const Insn *pc = code;
#ifdef DISPATCH_SWITCH
#define CASE(op) case op:
#define NEXT break
    for (;;) {
        const Insn *i = pc++;
        switch (i->op) {
#else
#define CASE(op) l_##op:
#define NEXT                                                                                                          \
    i = pc++;                                                                                                         \
    goto *labels[i->op]
    static const void *const labels[] = {&&l_LI, &&l_MOV, &&l_ADD, &&l_ADDI, &&l_MUL, &&l_LT,
                                         &&l_JNZ, &&l_JZ, &&l_JMP, &&l_LOAD, &&l_STORE, &&l_HALT};
    const Insn *i;
    {
        NEXT;
        {
#endif
            CASE(LI) r[i->a] = i->imm; NEXT;
            CASE(MOV) r[i->a] = r[i->b]; NEXT;
            CASE(ADD) r[i->a] = r[i->b] + r[i->c]; NEXT;
            CASE(ADDI) r[i->a] = r[i->b] + i->imm; NEXT;
            CASE(MUL) r[i->a] = r[i->b] * r[i->c]; NEXT;
            CASE(LT) r[i->a] = r[i->b] < r[i->c]; NEXT;
            CASE(JNZ) if (r[i->a]) pc = code + i->imm; NEXT;
            CASE(JZ) if (!r[i->a]) pc = code + i->imm; NEXT;
            CASE(JMP) pc = code + i->imm; NEXT;
            CASE(LOAD) r[i->a] = memory[r[i->b] & 0xffff]; NEXT;
            CASE(STORE) memory[r[i->a] & 0xffff] = r[i->b]; NEXT;
            CASE(HALT) return r[0];
        }
    }
}

int main(void) {
    int64_t sum = 0;
    for (int n = 0; n < 80; n++) {
        memset(memory, 0, sizeof(memory));
        sum += run(program);
    }
    printf("%lld\n", (long long)sum);
    return 0;
}
