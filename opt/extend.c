/* SPDX-License-Identifier: Apache-2.0 */
/* extend: sign extensions and NaN boxes that only frames want are left to the frames (IR_STATE_SEXT, IR_STATE_BOX): whoever leaves or
 * faults there makes them. Condition: the extended value has no use but in frames. Bought: RV64 sign-extends the result of every 32-bit
 * operation; when a chain of such operations is computed in i32 (fold.c), the registers' exact contents are all that the extensions are for. */
#include "opt/opt.h"

/* What frame state s should say instead. */
static IrState without_extension(const IrFunc *f, const u8 *used, IrState s) {
    const IrInsn *v = &f->insns.at[s.value];
    if (s.how != IR_STATE_SAME || used[s.value]) return s;
    if (v->op == IR_sext && v->aux == 32) s.how = IR_STATE_SEXT, s.value = v->a;
    else if (v->op == IR_box && f->insns.at[v->a].type == IR_F32) s.how = IR_STATE_BOX, s.value = v->a;
    return s;
}

void opt_extend(Opt *o, IrFunc *f) {
    u8 *used = arena_alloc(&o->arena, f->insns.len);
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        unsigned n = ir_op_operands[i->op];
        if (n > 0) used[i->a] = 1;
        if (n > 1) used[i->b] = 1;
        if (n > 2) used[i->c] = 1;
        for (u32 k = 0; opt_has_args((IrOp)i->op) && k < i->b; k++) used[f->args.at[i->a + k]] = 1;
    }
    for (u32 k = 0; k < f->states.len; k++) {
        IrState s = without_extension(f, used, f->states.at[k]);
        o->stats.extensions += s.how != f->states.at[k].how;
        f->states.at[k] = s;
    }
}
