/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the passes, and what they share. */
#include "opt/opt.h"

void opt_swap(Opt *o, IrFunc *f) {
    IrFunc swap = *f;
    *f = o->other;
    o->other = swap;
}

void opt_take_copy(Opt *o, IrFunc *f, const u32 *map) {
    IrFunc old = *f;
    for (u32 k = 0; k < f->states.len; k++) f->states.at[k].value = map[f->states.at[k].value];
    for (u32 k = 0; k < f->frames.len; k++) f->frames.at[k].insn = map[f->frames.at[k].insn];
    f->insns = o->other.insns;
    o->other.insns = old.insns;
}

bool opt_is_cheap(const IrInsn *i) {
    if (!(ir_op_facts[i->op] & F_PURE) || i->type == IR_I1) return false;
    switch ((int)i->op) {
    case IR_const: case IR_add: case IR_sub: case IR_and: case IR_or: case IR_xor: case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
    case IR_sext: case IR_zext: case IR_trunc: case IR_select: case IR_fneg: case IR_fabs: case IR_bits: case IR_box: case IR_flow:
        return true;
    }
    return false;
}

OptPlace opt_place(const IrFunc *f, u32 base, i64 disp) {
    OptPlace p = {base, disp};
    for (unsigned steps = 0; steps < 4; steps++) {
        const IrInsn *i = &f->insns.at[p.base];
        if (i->op != IR_add || f->insns.at[i->b].op != IR_const) break;
        p.base = i->a;
        p.disp = (i64)((u64)p.disp + f->insns.at[i->b].imm);
    }
    return p;
}

/* --- compaction ---------------------------------------------------------------------------------------- */

/* Arguments of parameters that are gone go, too: what jumps to block number n keeps argument k if keep[first[n] + k]. */
static void drop_arguments(Opt *o, IrFunc *f) {
    u32 *first = arena_alloc(&o->arena, (f->block_count + 1) * sizeof(u32));
    u8 *keep = arena_alloc(&o->arena, f->insns.len + 1);
    u32 block = 0, total = 0;
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_block) first[block = (u32)i->imm] = total;
        if (i->op == IR_param) keep[total++] = 1;
        if (i->op == IR_nop && i->aux == IR_param) keep[total++] = 0;
    }
    for (u32 id = 1; id < f->insns.len; id++) {
        IrInsn *i = &f->insns.at[id];
        if (i->op != IR_jmp) continue;
        u32 kept = 0;
        for (u32 k = 0; k < i->b; k++)
            if (keep[first[i->imm] + k]) f->args.at[i->a + kept++] = f->args.at[i->a + k];
        i->b = kept;
    }
}

static void move_insns(IrFunc *f, u32 *map) {
    u32 to = 1, param = 0;
    for (u32 id = 1; id < f->insns.len; id++) {
        IrInsn i = f->insns.at[id];
        if (i.op == IR_nop) continue;
        map[id] = to;
        if (i.op == IR_block) param = 0;
        if (i.op == IR_param) i.imm = param++;
        f->insns.at[to++] = i;
    }
    f->insns.len = to;
}

/* Frames that nobody names go, with their states. Neighbours may share a range of states: promote.c. */
static void move_frames(Opt *o, IrFunc *f, const u32 *map) {
    u32 *number = arena_alloc(&o->arena, (f->frames.len + 1) * sizeof(u32));
    for (u32 id = 1; id < f->insns.len; id++)
        if (ir_has_frame((IrOp)f->insns.at[id].op)) number[f->insns.at[id].c] = 1;
    u32 frames = 0, states = 0, old = ~0u;
    for (u32 n = 0; n < f->frames.len; n++) {
        if (!number[n + 1]) continue;
        IrFrame r = f->frames.at[n];
        if (r.state != old) {
            old = r.state;
            for (u32 k = 0; k < r.state_count; k++) {
                IrState s = f->states.at[r.state + k];
                s.value = map[s.value];
                f->states.at[states++] = s;
            }
        }
        r.state = states - r.state_count;
        r.insn = map[r.insn];
        f->frames.at[frames++] = r;
        number[n + 1] = frames;
    }
    f->frames.len = frames, f->states.len = states;
    number[0] = 0;
    for (u32 id = 1; id < f->insns.len; id++)
        if (ir_has_frame((IrOp)f->insns.at[id].op)) f->insns.at[id].c = number[f->insns.at[id].c];
}

void opt_compact(Opt *o, IrFunc *f) {
    arena_reset(&o->arena);
    drop_arguments(o, f);
    u32 *map = arena_alloc(&o->arena, f->insns.len * sizeof(u32));
    move_insns(f, map);
    for (u32 id = 1; id < f->insns.len; id++) opt_map_operands(f, &f->insns.at[id], map);
    move_frames(o, f, map);
}

/* --- another order of instructions -------------------------------------------------------------------------- */

void opt_reorder(Opt *o, IrFunc *f, const u32 *order) {
    u32 n = f->insns.len, *map = arena_alloc(&o->arena, n * sizeof(u32));
    IrFunc *out = &o->other;
    out->insns.len = 0;
    vec_push(&out->insns, f->insns.at[0]);
    for (u32 to = 1; to < n; to++) {
        map[order[to]] = to;
        vec_push(&out->insns, f->insns.at[order[to]]);
    }
    for (u32 id = 1; id < n; id++) opt_map_operands(f, &out->insns.at[id], map);
    opt_take_copy(o, f, map);
}

/* --- blocks cut in two --------------------------------------------------------------------------------- */

void opt_split_begin(OptSplit *s) {
    s->map = arena_alloc(&s->o->arena, s->f->insns.len * sizeof(u32));
    s->number = arena_alloc(&s->o->arena, s->f->block_count * sizeof(u32));
    s->o->other.insns.len = s->o->other.block_count = 0;
}

u32 opt_split_emit(OptSplit *s, IrInsn i) {
    vec_push(&s->o->other.insns, i);
    return s->o->other.insns.len - 1;
}

void opt_split_block(OptSplit *s) { opt_split_emit(s, (IrInsn){.op = IR_block, .imm = s->o->other.block_count++}); }

void opt_split_jump(OptSplit *s, u32 block, u32 n, const u32 *args) {
    u32 first = s->f->args.len;
    for (u32 k = 0; k < n; k++) vec_push(&s->f->args, args[k]);
    opt_split_emit(s, (IrInsn){.op = IR_jmp, .a = first, .b = n, .imm = block});
}

u32 opt_split_branch(OptSplit *s, u32 cond) {
    u64 next = s->o->other.block_count;
    opt_split_emit(s, (IrInsn){.op = IR_br, .a = cond, .imm = next | (next + 1) << 32});
    opt_split_block(s);
    return (u32)next + 2;
}

u32 opt_split_copy(OptSplit *s, u32 id) {
    IrInsn i = s->f->insns.at[id];
    opt_map_operands(s->f, &i, s->map);
    if (i.op == IR_block) s->number[i.imm] = s->o->other.block_count, i.imm = s->o->other.block_count++;
    return s->map[id] = opt_split_emit(s, i);
}

/* Blocks that were there before have other numbers now. */
void opt_split_end(OptSplit *s) {
    const u32 *number = s->number;
    for (u32 id = 1; id < s->f->insns.len; id++) {
        if (!(ir_op_facts[s->f->insns.at[id].op] & F_TERM)) continue;
        IrInsn *i = &s->o->other.insns.at[s->map[id]];
        if (i->op == IR_jmp) i->imm = number[i->imm];
        if (i->op == IR_br) i->imm = number[(u32)i->imm] | (u64)number[i->imm >> 32] << 32;
        if ((i->op == IR_exit || i->op == IR_exit_ind) && i->b) i->b = number[i->b];
    }
    s->f->block_count = s->o->other.block_count;
    opt_take_copy(s->o, s->f, s->map);
    s->o->decided = true;
}

/* --- the order ------------------------------------------------------------------------------------------ */

typedef struct Pass {
    const char *name;
    void (*run)(Opt *o, IrFunc *f);
    bool if_decided; /* only if one before has decided something (Opt.decided) */
} Pass;

static const Pass passes[] = {
    {"promote", opt_promote, false},
    {"params", opt_params, false},
    {"simplify", opt_simplify, false},
    {"forward", opt_forward, false},
    {"merge", opt_merge, false},
    {"stores", opt_stores, false},
    {"divisors", opt_divisors, false},
    {"branches", opt_branches, false},
    {"choose", opt_choose, false},
    {"join", opt_join, false},
    {"nest", opt_nest, false},
    {"params again", opt_params, true},
    {"simplify again", opt_simplify, true},
    {"branches again", opt_branches, true},
    {"skip", opt_skip, false},
    {"sink", opt_sink, false},
    {"licm", opt_licm, false},
    {"prefetch", opt_prefetch, false},
    {"schedule", opt_schedule, false},
    {"dce", opt_dce, false},
    {"extend", opt_extend, false},
    {"dce again", opt_dce, false},
};

#ifndef NDEBUG
/* Names the pass that broke the function, and stops. */
static void check(Opt *o, const IrFunc *f, const Pass *p) {
    char why[160];
    const char *wrong = ir_verify(f, why, sizeof why);
    if (!wrong) return;
    o->broken = p->name;
    fd_print(2, "isomer: optimiser, region %lx, after %s: ", f->pc, p->name);
    BUG(wrong);
}
#else
static void check(Opt *o, const IrFunc *f, const Pass *p) { (void)o, (void)f, (void)p; }
#endif

enum { ARENA_BYTES = 512 * 1024 }; /* one piece that mostly suffices, and is kept */

void opt_run(Opt *o, IrFunc *f) {
    arena_reserve(&o->arena, ARENA_BYTES);
    o->stats.functions++;
    o->skipped = 0;
    o->decided = false;
    o->stats.insns_before += f->insns.len;
    for (u32 k = 0; k < ARRAY_LEN(passes); k++) {
        if (passes[k].if_decided && !o->decided) continue;
        arena_reset(&o->arena);
        passes[k].run(o, f);
        check(o, f, &passes[k]);
    }
    o->stats.insns_after += f->insns.len;
}

void opt_drop(Opt *o) {
    ir_drop(&o->other);
    ir_cfg_drop(&o->cfg);
    arena_drop(&o->arena);
    vec_drop(&o->map);
    vec_drop(&o->list);
}
