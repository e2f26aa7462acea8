/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IR's text form, damaged: a printed block with bytes overwritten must be parsed or refused, never crash; what is
 * parsed and verified prints.
 */
#include "ir/guest.h"
#include "ir/ir.h"
#include "isa/riscv/riscv.h"
#include "tests/fuzz/fuzz.h"


int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static IrFunc f;
    static char text[1 << 18], printed[1 << 18];
    if (size < 16) return 0;
    ir_reset(&f, &riscv_guest, 0x10000, 0);
    u64 pc = 0x10000;
    for (size_t at = 8; at + 4 <= size && !f.closed;) {
        unsigned len = riscv_guest.lift(&f, pc, data + at, size - at);
        if (!len) break;
        at += len;
        pc += len;
    }
    if (!f.closed) ir_exit(&f, pc);
    Text t = text_init(text, sizeof(text));
    ir_print(&f, &t);
    if (!t.len) return 0;
    for (int i = 0; i < 3; i++) { /* two bytes say where, one says what */
        size_t where = (size_t)(data[2 * i] | data[2 * i + 1] << 8) % t.len;
        char c = (char)data[6 + i % 2];
        text[where] = c >= ' ' && c < 127 ? c : " %0:,\n-9"[c & 7];
    }
    char why[200];
    if (ir_parse(&f, &riscv_guest, text) == 0 && !ir_verify(&f, why, sizeof(why))) {
        Text out = text_init(printed, sizeof(printed));
        ir_print(&f, &out);
    }
    return 0;
}
