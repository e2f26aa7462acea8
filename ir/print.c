/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of the IR: one instruction per line,
 *
 *   func pc=0x10078 mode=0
 *   block 0
 *   insn 0x10078 4
 *   %2 = get.i64 a0
 *   %3 = add.i64 %2, %9
 *   store %2, %3, disp=8 size=3
 *   exit 0x1008c
 *
 * A promoted function says so in its first line, and has its frames at the end; who has one names it:
 *
 *   exit 0x1008c frame=0
 *   frame 0 pc=0x1008c a0=%7 a1=sext %9 fa5=box %12
 *
 * Every field that is not zero is printed, so that what prints parses (parse.c). */
#include "ir/guest.h"

static void print_refs(const IrFunc *f, const IrInsn *i, Text *t) {
    if (i->op == IR_call || i->op == IR_jmp) {
        for (u32 k = 0; k < i->b; k++) text_print(t, "%s%%%lu", k ? ", " : " ", f->args.at[i->a + k]);
        return;
    }
    unsigned n = ir_op_operands[i->op];
    const u32 ref[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < n; k++) text_print(t, "%s%%%u", k ? ", " : " ", ref[k]);
}

/* How imm is written: by operation. */
static void print_imm(const IrFunc *f, const IrInsn *i, Text *t) {
    const Guest *g = f->guest;
    switch (i->op) {
    case IR_get: text_print(t, " %s", g->slots[i->imm].name); break;
    case IR_put: text_print(t, ", %s", g->slots[i->imm].name); break;
    case IR_call: text_print(t, " @%s", g->helpers[i->imm].name); break;
    case IR_block: case IR_param: case IR_jmp: text_print(t, " #%lu", i->imm); break;
    case IR_br: text_print(t, " #%lu #%lu", i->imm & 0xffffffff, i->imm >> 32); break;
    case IR_const: case IR_insn: case IR_exit: case IR_exit_if: text_print(t, " 0x%lx", i->imm); break;
    default:
        if (i->imm) text_print(t, " imm=0x%lx", i->imm);
    }
}

static void print_insn(const IrFunc *f, u32 id, Text *t) {
    const IrInsn *i = &f->insns.at[id];
    if (i->type != IR_VOID) text_print(t, "  %%%u = %s.%s", id, ir_op_name[i->op], ir_type_name[i->type]);
    else text_print(t, "  %s", ir_op_name[i->op]);
    print_refs(f, i, t);
    print_imm(f, i, t);
    if (i->aux) text_print(t, " aux=%u", i->aux);
    if (i->aux2) text_print(t, " aux2=%u", i->aux2);
    if (i->op == IR_vec) text_print(t, " registers=0x%x", i->c);
    if (i->op == IR_exit && i->aux == EXIT_CALL) text_print(t, " return=0x%lx", f->args.at[i->a]);
    if ((i->op == IR_exit || i->op == IR_exit_ind) && i->b) text_print(t, " then=#%u", i->b);
    if (f->promoted && ir_has_frame((IrOp)i->op) && i->c) text_print(t, " frame=%u", i->c - 1);
    text_char(t, '\n');
}

static void print_frame(const IrFunc *f, u32 n, Text *t) {
    static const char *const how[] = {"", "sext ", "box "};
    const IrFrame *r = &f->frames.at[n];
    text_print(t, "  frame %u pc=0x%lx", n, r->pc);
    for (u32 k = r->state; k < r->state + r->state_count; k++) {
        const IrState *s = &f->states.at[k];
        text_print(t, " %s=%s%%%u", f->guest->slots[s->slot].name, how[s->how], s->value);
    }
    text_char(t, '\n');
}

void ir_print(const IrFunc *f, Text *out) {
    text_print(out, "func pc=0x%lx mode=%u%s\n", f->pc, f->mode, f->promoted ? " promoted" : "");
    for (u32 id = 1; id < f->insns.len; id++)
        if (f->insns.at[id].op != IR_nop) print_insn(f, id, out);
    for (u32 n = 0; f->promoted && n < f->frames.len; n++) print_frame(f, n, out);
}
