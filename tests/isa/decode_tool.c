/* SPDX-License-Identifier: Apache-2.0 */
/* Decoder and disassembler as a filter, for the tests of tests/isa.
 *
 *   decode_tool            reads lines "HEXWORD [PC]", prints "ROW OP LEN<tab>disassembly"; ROW is - if illegal
 *   decode_tool random N SEED    prints "ROW HEXWORD" for N random encodings of each row
 *   decode_tool speed N          prints the nanoseconds that one decode of a random legal instruction takes
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "isa/riscv/riscv.h"

static void filter(void) {
    char line[128], text[256];
    while (fgets(line, sizeof line, stdin)) {
        char *end;
        u32 bits = strtoul(line, &end, 16);
        u64 pc = strtoull(end, NULL, 16);
        RvInsn i;
        bool legal = riscv_decode(bits, &i);
        riscv_disasm(bits, pc, text, sizeof text);
        printf("%s %s %d\t%s\n", legal ? riscv_rows[i.row].name : "-", legal ? riscv_ops[i.op].name : "-", i.len, text);
    }
}

static void print_random(unsigned count, u64 seed) {
    for (unsigned row = 0; row < RV_ROWS; row++)
        for (unsigned n = 0; n < count; n++) printf("%s %x\n", riscv_rows[row].name, riscv_row_random(row, &seed));
}

static void measure(unsigned count) {
    static u32 words[4096];
    u64 seed = 1;
    for (unsigned n = 0; n < ARRAY_LEN(words); n++) words[n] = riscv_row_random(seed % RV_ROWS, &seed);
    struct timespec a, b;
    u64 sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned n = 0; n < count; n++) {
        RvInsn i;
        riscv_decode(words[n % ARRAY_LEN(words)], &i);
        sum += i.op + i.imm;
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ns = (b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec);
    printf("%.2f ns per decode (%lx)\n", ns / count, sum);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "random")) print_random(atoi(argv[2]), strtoull(argv[3], NULL, 0));
    else if (argc == 3 && !strcmp(argv[1], "speed")) measure(atoi(argv[2]));
    else filter();
    return 0;
}
