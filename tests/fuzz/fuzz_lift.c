/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes are a program: lifting them gives IR that the verifier accepts, whose text parses back to the same text,
 * and which the host compiler takes. The first byte chooses the rounding mode, the rest is code.
 */
#include "host/host.h"
#include "ir/guest.h"
#include "ir/ir.h"
#include "isa/riscv/riscv.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_SIZE = 1 << 20, LIMIT = 64 };

static void round_trip(const IrFunc *f, char *first, char *second) {
    static IrFunc again;
    char why[200];
    Text a = text_init(first, TEXT_SIZE), b = text_init(second, TEXT_SIZE);
    ir_print(f, &a);
    FUZZ_CHECK(!a.cut, "text too long");
    FUZZ_CHECK(ir_parse(&again, &riscv_guest, first) == 0, first);
    FUZZ_CHECK(!ir_verify(&again, why, sizeof(why)), why);
    ir_print(&again, &b);
    FUZZ_CHECK(strcmp(first, second) == 0, "the text of the parsed text differs");
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static IrFunc f;
    static char first[TEXT_SIZE], second[TEXT_SIZE], why[200];
    if (size < 3) return 0;
    u64 pc = 0x10000;
    size_t at = 1;
    for (;;) {
        size_t start = at;
        ir_reset(&f, &riscv_guest, pc, data[0] % 8);
        for (u32 n = 0; n < LIMIT && !f.closed; n++) {
            unsigned len = size - at < riscv_guest.insn_align ? 0 : riscv_guest.lift(&f, pc, data + at, size - at);
            if (!len) break;
            char text[128];
            Text t = text_init(text, sizeof(text));
            FUZZ_CHECK(riscv_guest.disasm(pc, data + at, size - at, &t) == len, "disassembler and lifter disagree");
            FUZZ_CHECK(len == 2 || len == 4, "length");
            at += len;
            pc += len;
        }
        if (at == start) break; /* the last instruction is cut off */
        if (!f.closed) ir_exit(&f, pc);
        FUZZ_CHECK(!ir_verify(&f, why, sizeof(why)), why);
        round_trip(&f, first, second);
    }
    return 0;
}
