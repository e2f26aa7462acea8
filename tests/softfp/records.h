/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two programs of this folder tell each other: softfp_test writes Records, oracle_rv (a riscv64 program,
 * run by an emulator that is not ours) executes each with the instruction that it names and writes a Result,
 * softfp_test compares. Fixed layout, little-endian both.
 */
#ifndef TESTS_SOFTFP_RECORDS_H
#define TESTS_SOFTFP_RECORDS_H

#include <stdint.h>

enum {
    OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_SQRT,
    OP_FMADD, OP_FMSUB, OP_FNMSUB, OP_FNMADD,
    OP_MIN, OP_MAX, OP_EQ, OP_LT, OP_LE, OP_CLASS,
    OP_CONVERT,                             /* to format `other` */
    OP_TO_INT, OP_FROM_INT,                 /* integer type `other` */
    OP_ZFA,                                 /* from here on Zfa */
    OP_MINM = OP_ZFA, OP_MAXM, OP_LTQ, OP_LEQ, OP_ROUND, OP_ROUNDNX, OP_TO_INT_MODULAR,
    OP_COUNT,
};

typedef struct {
    uint8_t op, type, other, rm;
    uint32_t pad;
    uint64_t a, b, c; /* raw bits; not boxed */
} Record;

typedef struct {
    uint64_t value; /* raw bits; not boxed */
    uint64_t flags;
} Result;

#endif
