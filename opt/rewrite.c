/* SPDX-License-Identifier: Apache-2.0 */
/* simplify: folding (fold.c), common subexpressions and known memory (cse.c) in one walk over the blocks in reverse postorder, so
 * that each sees what the others found. Blocks that nothing reaches are not copied. */
#include "opt/rewrite.h"

static u32 append(Rewrite *w, IrInsn i) {
    i.uses = i.last = 0;
    Ref r = ir_emit(w->f, (IrOp)i.op, (IrType)i.type, i.aux, i.aux2, (Ref){i.a}, (Ref){i.b}, (Ref){i.c}, i.imm);
    if (r.id < w->cap) w->block_of[r.id] = w->block;
    return r.id;
}

u32 rw_value(Rewrite *w, IrInsn i) {
    u32 found = cse_find(w, &i);
    if (found) {
        if (i.op != IR_const) w->o->stats.merged++;
        return found;
    }
    u32 id = append(w, i);
    cse_add(w, id);
    return id;
}

u32 rw_constant(Rewrite *w, IrType type, u64 bits) {
    if (type == IR_I32 || type == IR_F32) bits = (u32)bits;
    if (type == IR_I1) bits &= 1;
    return rw_value(w, (IrInsn){.op = IR_const, .type = (u8)type, .imm = bits});
}

/* --- frames ------------------------------------------------------------------------------------------------- */

static u32 copy_frame(Rewrite *w, u32 frame, u32 insn) {
    if (!frame) return 0;
    IrFrame r = w->old->frames.at[frame - 1];
    u32 from = r.state;
    r.insn = insn;
    r.state = w->f->states.len;
    for (u32 k = 0; k < r.state_count; k++) {
        IrState s = w->old->states.at[from + k];
        s.value = w->map[s.value];
        vec_push(&w->f->states, s);
    }
    vec_push(&w->f->frames, r);
    return w->f->frames.len;
}

/* --- instructions --------------------------------------------------------------------------------------------- */

static void copy_args(Rewrite *w, IrInsn *i, bool values) {
    u32 from = i->a, n = values ? i->b : 1;
    i->a = w->f->args.len;
    for (u32 k = 0; k < n; k++) {
        u64 v = w->old->args.at[from + k];
        vec_push(&w->f->args, values ? w->map[v] : v);
    }
}

static void copy_branch(Rewrite *w, IrInsn i) {
    const IrInsn *cond = rw_at(w, i.a);
    u64 one;
    if (cond->op == IR_xor && cond->type == IR_I1 && rw_const_at(w, cond->b, &one) && one) { /* not: the other way round */
        i.a = cond->a;
        i.imm = i.imm >> 32 | i.imm << 32;
    }
    append(w, i);
}

static void copy_load(Rewrite *w, u32 id, IrInsn i) {
    u32 known = cse_load(w, &i);
    if (known) {
        w->o->stats.loads++;
        w->map[id] = known;
        return;
    }
    w->map[id] = append(w, i);
    if (i.aux2 & IR_ACQUIRE) cse_forget(w);
    else cse_note(w, w->map[id]);
}

/* Thin parameters get what is extended, not the extension. i: a jump, its arguments new already, its target old. */
static void thin_args(Rewrite *w, const IrInsn *i) {
    u32 param = w->o->cfg.blocks.at[i->imm].first + 1;
    for (u32 k = 0; k < i->b; k++) {
        u8 type = w->thin[param + k];
        if (!type) continue;
        u32 v = fold_insn(w, (IrInsn){.op = type == IR_F32 ? IR_flow : IR_trunc, .type = type, .a = (u32)w->f->args.at[i->a + k]});
        w->f->args.at[i->a + k] = v;
    }
}

static bool is_pure(const IrInsn *i) { return (ir_op_facts[i->op] & F_PURE) && i->op != IR_call; }

static void copy_insn(Rewrite *w, u32 id) {
    IrInsn i = w->old->insns.at[id];
    u32 frame = ir_has_frame((IrOp)i.op) ? i.c : 0;
    unsigned n = ir_op_operands[i.op];
    if (n > 0) i.a = w->map[i.a];
    if (n > 1) i.b = w->map[i.b];
    if (n > 2) i.c = w->map[i.c];
    if (is_pure(&i)) {
        if (!w->wide[id] && (w->map[id] = fold_narrow(w, i))) return;
        w->map[id] = i.op == IR_const ? rw_constant(w, (IrType)i.type, i.imm) : fold_insn(w, i);
        return;
    }
    switch ((IrOp)i.op) {
    case IR_nop: case IR_block: return;
    case IR_br: copy_branch(w, i); return;
    case IR_load: copy_load(w, id, i); return;
    case IR_store:
        cse_note(w, append(w, i));
        return;
    case IR_param:
        if (w->thin[id]) i.type = w->thin[id];
        break;
    case IR_call: copy_args(w, &i, true); break;
    case IR_jmp:
        copy_args(w, &i, true);
        thin_args(w, &i);
        break;
    case IR_exit:
        if (i.aux == EXIT_CALL) copy_args(w, &i, false);
        break;
    default: break;
    }
    if (i.op == IR_amo || i.op == IR_cas || i.op == IR_sc || i.op == IR_fence || i.op == IR_call || i.op == IR_vec) cse_forget(w);
    u32 at = append(w, i);
    w->map[id] = at;
    if (i.op == IR_param && at < w->cap) w->extended_param[at] = w->extended[id];
    if (ir_has_frame((IrOp)i.op)) {
        u32 made = copy_frame(w, frame, i.op == IR_insn ? at : 0);
        w->f->insns.at[at].c = made;
    }
}

/* --- blocks --------------------------------------------------------------------------------------------------- */

static void renumber(Rewrite *w, const u32 *number) {
    for (u32 id = 1; id < w->f->insns.len; id++) {
        IrInsn *i = &w->f->insns.at[id];
        if (i->op == IR_jmp) i->imm = number[i->imm];
        if (i->op == IR_br) i->imm = number[(u32)i->imm] | (u64)number[i->imm >> 32] << 32;
        if (i->op == IR_exit || (i->op == IR_exit_ind && i->aux == EXIT_CALL)) i->b = i->b ? number[i->b] : 0;
    }
}

static void begin(Rewrite *w) {
    const IrFunc *old = w->old;
    ir_reset(w->f, old->guest, old->pc, old->mode);
    w->f->insns.len = 1, w->f->block_count = 0; /* block 0 is opened like all others */
    w->f->closed = true;
    w->f->promoted = true;
    w->map = arena_alloc(&w->o->arena, old->insns.len * sizeof(u32));
    cse_begin(w);
    w->extended = arena_alloc(&w->o->arena, old->insns.len);
    w->extended_param = arena_alloc(&w->o->arena, w->cap);
    fold_find_extended(w);
    w->thin = arena_alloc(&w->o->arena, old->insns.len);
    fold_find_thin(w);
    w->wide = arena_alloc(&w->o->arena, old->insns.len);
    fold_find_wide(w);
}

/* The state of memory carries over from a block's only predecessor, if that was the one just copied. */
/* Behind its parameters, the extended values of the thin ones. */
static void extend_params(Rewrite *w, u32 first, u32 last) {
    for (u32 id = first; id <= last; id++) {
        if (!w->thin[id]) continue;
        IrInsn i = {.op = IR_sext, .type = IR_I64, .aux = 32, .a = w->map[id]};
        if (w->thin[id] == IR_F32) i = (IrInsn){.op = IR_box, .type = IR_F64, .a = w->map[id]};
        w->map[id] = fold_insn(w, i);
    }
}

static void copy_block(Rewrite *w, u32 n, u32 before) {
    const IrBlockInfo *b = &w->o->cfg.blocks.at[n];
    if (b->entry || b->pred_count != 1 || w->o->cfg.preds.at[b->pred] != before) cse_forget(w);
    w->block = n;
    ir_block(w->f);
    w->f->insns.at[w->f->insns.len - 1].aux = w->old->insns.at[b->first].aux;
    for (u32 id = b->first + 1; id <= b->last; id++) {
        copy_insn(w, id);
        if (w->old->insns.at[id].op == IR_param && w->old->insns.at[id + 1].op != IR_param) extend_params(w, b->first + 1, id);
    }
}

void opt_simplify(Opt *o, IrFunc *f) {
    Rewrite w = {.o = o, .f = &o->other, .old = f};
    ir_cfg_make(&o->cfg, f);
    u32 *number = arena_alloc(&o->arena, f->block_count * sizeof(u32));
    begin(&w);
    u32 before = IR_ROOT;
    for (u32 k = 0; k < o->cfg.order.len; k++) {
        u32 n = o->cfg.order.at[k];
        number[n] = w.f->block_count;
        copy_block(&w, n, before);
        before = n;
    }
    renumber(&w, number);
    opt_swap(o, f);
}
