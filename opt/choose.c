/* SPDX-License-Identifier: Apache-2.0 */
/* choose: a branch both of whose sides do next to nothing, and meet again, becomes a choice between values: compilers for processors without a conditional move write every
 * minimum, maximum and condition of a sum as a branch over one instruction, and which way it goes is often as good as random.
 *
 * Condition: each side is a block of its own with no other way in and a few cheap pure operations; few values differ where they meet. Then both sides are computed. Branches that could be
 * foreseen gain nothing by it: their values now wait for both sides, and for the condition. Native compilers make the same choice at the same places. Bought: the longest common
 * subsequence, the distance of two strings, checksums bit by bit: 3.3 to 4.6 x native before. */
#include "opt/opt.h"

enum { OPERATIONS = 4 /* of both sides together */, VALUES = 2 };

typedef struct Choose {
    Opt *o;
    IrFunc *f;
    u32 *map; /* by id: in the new function */
    u32 count;
} Choose;

static const IrInsn *at(const Choose *c, u32 id) { return &c->f->insns.at[id]; }
static const IrBlockInfo *block(const Choose *c, u32 n) { return &c->o->cfg.blocks.at[n]; }

/* Operations of a side, but constants; too many if it cannot be one. */
static u32 cost_of(const Choose *c, u32 n) {
    const IrBlockInfo *b = block(c, n);
    u32 count = 0;
    if (b->entry || b->pred_count != 1 || at(c, b->last)->op != IR_jmp) return OPERATIONS + 1;
    for (u32 id = b->first + 1; id < b->last; id++) {
        const IrInsn *i = at(c, id);
        if (i->op == IR_insn || i->op == IR_nop) continue;
        if (!opt_is_cheap(i)) return OPERATIONS + 1;
        count += i->op != IR_const;
    }
    return count;
}

static u32 argument(const Choose *c, u32 jump, u32 k) { return (u32)c->f->args.at[at(c, jump)->a + k]; }

/* Values that differ where the sides that end with these jumps meet; too many if these are none of one choice. */
static u32 values_of(const Choose *c, u32 yes, u32 no) {
    u32 count = 0;
    if (at(c, yes)->imm != at(c, no)->imm) return VALUES + 1;
    for (u32 k = 0; k < at(c, yes)->b; k++) {
        u32 value = argument(c, yes, k);
        count += value != argument(c, no, k);
        if (at(c, value)->type != IR_I64 && at(c, value)->type != IR_I32 && at(c, value)->type != IR_F64 && at(c, value)->type != IR_F32 && value != argument(c, no, k)) return VALUES + 1;
    }
    return count;
}

/* Is the branch at the end of block n such a choice? */
static bool is_choice(const Choose *c, u32 n) {
    const IrBlockInfo *b = block(c, n);
    if (b->rpo == IR_ROOT || at(c, b->last)->op != IR_br || b->succ[0] == b->succ[1]) return false;
    u32 yes = cost_of(c, b->succ[0]), no = cost_of(c, b->succ[1]);
    return yes + no <= OPERATIONS && values_of(c, block(c, b->succ[0])->last, block(c, b->succ[1])->last) <= VALUES;
}

/* --- the new function ------------------------------------------------------------------------------------------ */

static u32 emit(Choose *c, IrInsn i) {
    vec_push(&c->o->other.insns, i);
    return c->o->other.insns.len - 1;
}

static void copy(Choose *c, u32 id) {
    IrInsn i = *at(c, id);
    opt_map_operands(c->f, &i, c->map);
    c->map[id] = emit(c, i);
}

static void copy_side(Choose *c, u32 n) {
    for (u32 id = block(c, n)->first + 1; id < block(c, n)->last; id++)
        if (at(c, id)->op != IR_insn && at(c, id)->op != IR_nop) copy(c, id);
}

/* In place of a branch: both sides, the choices, and the jump to where they meet. The arguments of the sides' own jumps stay as they are until these are copied, for nobody. */
static void copy_choice(Choose *c, u32 n) {
    const IrBlockInfo *b = block(c, n);
    u32 condition = c->map[at(c, b->last)->a], yes = block(c, b->succ[0])->last, no = block(c, b->succ[1])->last, count = at(c, yes)->b;
    copy_side(c, b->succ[0]);
    copy_side(c, b->succ[1]);
    u32 first = c->f->args.len;
    for (u32 k = 0; k < count; k++) {
        u32 x = argument(c, yes, k), y = argument(c, no, k), value = c->map[x];
        if (x != y) value = emit(c, (IrInsn){.op = IR_select, .type = at(c, x)->type, .a = condition, .b = value, .c = c->map[y]});
        vec_push(&c->f->args, value);
    }
    c->map[b->last] = emit(c, (IrInsn){.op = IR_jmp, .a = first, .b = count, .imm = at(c, yes)->imm});
    c->count++;
}

static void copy_all(Choose *c) {
    u32 n = 0, end = c->f->insns.len;
    c->o->other.insns.len = 0;
    for (u32 id = 0; id < end; id++) {
        if (at(c, id)->op == IR_block) n = (u32)at(c, id)->imm;
        if (at(c, id)->op == IR_br && is_choice(c, n)) copy_choice(c, n);
        else copy(c, id);
    }
    opt_take_copy(c->o, c->f, c->map);
}

static bool has_choice(const Choose *c) {
    for (u32 n = 0; n < c->f->block_count; n++)
        if (is_choice(c, n)) return true;
    return false;
}

void opt_choose(Opt *o, IrFunc *f) {
    Choose c = {.o = o, .f = f};
    ir_cfg_make(&o->cfg, f);
    if (!has_choice(&c)) return;
    c.map = arena_alloc(&o->arena, f->insns.len * sizeof(u32));
    copy_all(&c);
    o->stats.choices += c.count;
    o->decided = true;
    opt_drop_blocks(o, f);
}
