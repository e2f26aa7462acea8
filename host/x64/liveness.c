/* SPDX-License-Identifier: Apache-2.0 */
/* The backward pass. For every value: number of uses and last use; what is unused disappears. Besides:
 *
 * - Dead puts: a slot written again before anything can look at it (a fault, an exit, a call, a get) need not be
 *   written. Bought: lui+addi and slli+srli pairs cost one instruction.
 * - Hints: a value whose first put to a pinned slot follows with nothing in between that could look at the slot is
 *   computed right in the slot's register.
 * - Fusing: a comparison with one use, by a branch, trap, select or extension, is emitted there, so that the flags
 *   need no register.
 */
#include "host/x64/cg.h"

typedef struct Back {
    u64 dead[3];         /* slots that will be written before anyone looks */
    u32 barrier;         /* nearest following instruction that may look at all slots */
    u32 next_put[160], next_get[160]; /* nearest following ones; of the slots that the guest has */
} Back;

static void note_use(Cg *g, u32 operand, u32 user) {
    if (!operand) return;
    IrInsn *o = cg_insn(g, operand);
    o->uses++;
    o->last = MAX(o->last, user);
}

static bool fusable(const Cg *g, const IrInsn *i, u32 id) {
    if (i->op < IR_eq || i->op > IR_leu || i->uses != 1) return false;
    const IrInsn *user = cg_insn(g, i->last);
    switch (user->op) {
    case IR_exit_if: case IR_trap_if: return true;
    case IR_zext: case IR_select: return user->a == id;
    default: return false;
    }
}

static bool hint_holds(const Back *k, u32 slot, u32 put, u32 id) {
    if (k->next_put[slot] != put || k->barrier < put) return false;
    return !(k->next_get[slot] > id && k->next_get[slot] < put);
}

static void operands_used(Cg *g, IrInsn *i, u32 id, u32 as_user) {
    if (i->op == IR_call) {
        for (u32 k = 0; k < i->b; k++) note_use(g, (u32)g->f->args.at[i->a + k], id);
        return;
    }
    unsigned n = ir_op_operands[i->op];
    if (n > 0) note_use(g, i->a, as_user);
    if (n > 1) note_use(g, i->b, as_user);
    if (n > 2) note_use(g, i->c, as_user);
}

/* A dead put is a hint too: nobody looks at the slot before it is written again, so its pin is free for the value. */
static void put(Cg *g, Back *k, IrInsn *i, u32 id) {
    u64 bit = 1ull << (i->imm & 63), *dead = &k->dead[i->imm >> 6];
    g->val.at[i->a].hint = (i16)i->imm;
    k->next_put[i->imm] = id;
    if (*dead & bit) {
        i->op = IR_nop;
        return;
    }
    *dead |= bit;
    note_use(g, i->a, id);
}

static void get(Back *k, IrInsn *i, u32 id) {
    if (!i->uses) {
        i->op = IR_nop;
        return;
    }
    k->next_get[i->imm] = id;
    k->dead[i->imm >> 6] &= ~(1ull << (i->imm & 63));
}

/* An extension that is not needed any more, since all its users took the operand instead, leaves the operand its place. */
static void hint_operand(Cg *g, Back *k, const IrInsn *i, u32 id, i16 slot) {
    IrInsn *put = cg_insn(g, k->next_put[slot]);
    if (put->op != IR_nop || put->a != id || g->val.at[i->a].hint >= 0) return;
    put->a = i->a;
    g->val.at[i->a].hint = slot;
}

/* The operand's register lives on under this name. */
static void alias(Cg *g, const IrInsn *i, i16 hint) {
    IrInsn *o = cg_insn(g, i->a);
    if (hint >= 0 && g->val.at[i->a].hint < 0) g->val.at[i->a].hint = hint;
    o->uses += i->uses;
    o->last = MAX(o->last, i->last);
}

static bool hint_is_good(const Cg *g, const Back *k, u32 slot, u32 id) {
    if (g->pin[slot] == NO_REG || !hint_holds(k, slot, k->next_put[slot], id)) return false;
    return cg_root(g, cg_insn(g, k->next_put[slot])->a) == cg_root(g, id);
}

/* What is neither structure nor constant, get or put. */
static void operation(Cg *g, Back *k, IrInsn *i, u32 id) {
    Val *v = &g->val.at[id];
    u16 facts = ir_op_facts[i->op];
    if (!i->uses && (facts & F_PURE)) {
        if (i->op == IR_sext && v->hint >= 0) hint_operand(g, k, i, id, v->hint);
        i->op = IR_nop;
        return;
    }
    if (v->hint >= 0 && !hint_is_good(g, k, (u32)v->hint, id)) v->hint = -1;
    if (facts & (F_FAULTS | F_EXIT | F_CALL | F_TERM)) {
        k->barrier = id;
        memset(k->dead, 0, sizeof k->dead);
    } else if (cg_is_alias(g, i)) {
        alias(g, i, v->hint);
        return;
    }
    v->fused = fusable(g, i, id);
    operands_used(g, i, id, v->fused ? i->last : id);
}

void cg_analyse(Cg *g) {
    Back k;
    k.barrier = ~0u;
    memset(k.dead, 0, sizeof k.dead);
    memset(k.next_put, 0xff, g->guest->slot_count * sizeof k.next_put[0]);
    memset(k.next_get, 0xff, g->guest->slot_count * sizeof k.next_get[0]);
    IrFunc *f = g->f;
    memset(g->val.at, 0xff, f->insns.len * sizeof(Val)); /* NO_REG, -1 */
    for (u32 id = f->insns.len - 1; id > 0; id--) {
        IrInsn *i = &f->insns.at[id];
        if (i->op <= IR_insn) continue; /* nop, block, param, insn */
        g->val.at[id].fused = 0;
        if (i->op == IR_put) put(g, &k, i, id);
        else if (i->op == IR_get) get(&k, i, id);
        else if (i->op != IR_const) operation(g, &k, i, id);
        else if (!i->uses) i->op = IR_nop;
    }
}
