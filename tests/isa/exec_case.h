/* SPDX-License-Identifier: Apache-2.0 */
/* The format that the execution tests share: exec.py writes cases; exec_tool (our interpreter) and exec_guest (a riscv64
 * program, under any emulator) run each one on the state that it gives and write what came out. All little-endian. */
#ifndef TESTS_ISA_EXEC_CASE_H
#define TESTS_ISA_EXEC_CASE_H

/* Fixed guest addresses. Nothing else is mapped near them: a transfer elsewhere ends in SIGSEGV with pc there. */
#define CASE_CODE 0x20000000ul
#define CASE_CODE_AT (CASE_CODE + 8) /* code[] lies here; before it, what loads the last register */
#define CASE_PROLOGUE 0x00001f97, 0x000fbf83 /* auipc t6,1; ld t6,0(t6) */
#define CASE_X31 (CASE_CODE + 4096) /* a page of its own, not executable */
#define CASE_MEMORY 0x10001000ul
#define CASE_CODE_SIZE 256
#define CASE_MEMORY_SIZE 256

typedef struct ExecCase {
    unsigned char code[CASE_CODE_SIZE]; /* ends in c.ebreak */
    unsigned long fcsr;
    unsigned long x[32], f[32]; /* x[0] is ignored */
    unsigned char memory[CASE_MEMORY_SIZE];
} ExecCase;

typedef struct ExecResult {
    unsigned long signal; /* that ended it: SIGTRAP at the c.ebreak, SIGILL, SIGSEGV, SIGBUS */
    unsigned long pc, fcsr;
    unsigned long x[32], f[32]; /* x[0] is 0 */
    unsigned char memory[CASE_MEMORY_SIZE];
} ExecResult;

#endif
