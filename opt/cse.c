/* SPDX-License-Identifier: Apache-2.0 */
/* cse: what is computed already. Values: a pure operation on the same operands in a block that dominates this one. Memory: a load of
 * what was just loaded or stored, at the same base and displacement, in this block or the chain of only predecessors before it; a store
 * forgets what it may overlap, which is all but other displacements on the same base. Condition for memory: RVWMO lets a thread see its
 * own stores, and lets two plain loads of one address be one, as long as no fence, acquire, or atomic stands between; never around a
 * loop, where another thread's store must be seen some day. */
#include "opt/rewrite.h"

void cse_begin(Rewrite *w) {
    u32 n = w->old->insns.len * 2 + 64;
    w->cap = n;
    w->block_of = arena_alloc(&w->o->arena, n * sizeof(u32));
    w->next = arena_alloc(&w->o->arena, n * sizeof(u32));
    w->head_mask = 1;
    while (w->head_mask < n / 2) w->head_mask *= 2;
    w->heads = arena_alloc(&w->o->arena, w->head_mask * sizeof(u32));
    w->head_mask--;
}

static u32 hash_insn(const Rewrite *w, const IrInsn *i) {
    u64 h = i->op | (u64)i->type << 8 | (u64)i->aux << 16 | (u64)i->aux2 << 24 | (u64)i->a << 32;
    h = hash_u64(h) ^ hash_u64(i->imm + 0x9e3779b97f4a7c15ull * ((u64)i->b << 32 | i->c));
    return (u32)hash_u64(h) & w->head_mask;
}

static bool equal(const IrInsn *x, const IrInsn *y) {
    return x->op == y->op && x->type == y->type && x->aux == y->aux && x->aux2 == y->aux2 && x->a == y->a && x->b == y->b && x->c == y->c && x->imm == y->imm;
}

u32 cse_find(Rewrite *w, const IrInsn *i) {
    unsigned steps = 0;
    for (u32 id = w->heads[hash_insn(w, i)]; id && steps < 32; id = w->next[id], steps++)
        if (equal(rw_at(w, id), i) && ir_dominates(&w->o->cfg, w->block_of[id], w->block)) return id;
    return 0;
}

void cse_add(Rewrite *w, u32 id) {
    if (id >= w->cap) return;
    u32 *head = &w->heads[hash_insn(w, rw_at(w, id))];
    w->next[id] = *head;
    *head = id;
}

/* --- memory ----------------------------------------------------------------------------------------------------- */

void cse_forget(Rewrite *w) { memset(w->known, 0, sizeof w->known); }

/* The value of a load of type and size that finds `k`, which was stored. */
static u32 forward(Rewrite *w, const Known *k, const IrInsn *load) {
    if (load->type == IR_F32 || load->type == IR_F64) return k->type == load->type ? k->value : 0;
    if (load->type != IR_I64 || k->type != IR_I64) return 0;
    if (k->log2size == 3) return k->value;
    return fold_insn(w, (IrInsn){.op = load->aux2 & IR_SIGNED ? IR_sext : IR_zext, .type = IR_I64, .aux = (u8)(8u << k->log2size), .a = k->value});
}

/* The stored piece of memory that begins at this place; NULL: unknown. */
static const Known *piece_at(const Rewrite *w, u32 base, i64 disp) {
    for (u32 n = 0; n < KNOWN_LEN; n++) {
        const Known *k = &w->known[n];
        if (k->value && k->stored && k->type == IR_I64 && k->at.base == base && k->at.disp == disp) return k;
    }
    return NULL;
}

/* A load of what was stored in pieces just now: they are put together in a register. Bought: code for processors without misaligned
 * access copies a word byte by byte through the stack; a host does not forward several stores to one load, and waits for all of them. */
static u32 compose(Rewrite *w, const IrInsn *load, OptPlace place) {
    u32 size = 1u << load->aux, value = 0;
    if (load->type != IR_I64 || size < 2) return 0;
    for (u32 at = 0; at < size;) {
        const Known *k = piece_at(w, place.base, place.disp + at);
        if (!k || at + (1u << k->log2size) > size) return 0;
        at += 1u << k->log2size;
    }
    for (u32 at = 0; at < size;) {
        Known k = *piece_at(w, place.base, place.disp + at);
        u32 piece = k.log2size == 3 ? k.value : fold_insn(w, (IrInsn){.op = IR_zext, .type = IR_I64, .aux = (u8)(8u << k.log2size), .a = k.value});
        u32 shift = rw_constant(w, IR_I64, 8 * at);
        if (at) piece = fold_insn(w, (IrInsn){.op = IR_shl, .type = IR_I64, .a = piece, .b = shift});
        value = value ? fold_insn(w, (IrInsn){.op = IR_or, .type = IR_I64, .a = value, .b = piece}) : piece;
        at += 1u << k.log2size;
    }
    if (!(load->aux2 & IR_SIGNED) || size == 8) return value;
    return fold_insn(w, (IrInsn){.op = IR_sext, .type = IR_I64, .aux = (u8)(8 * size), .a = value});
}

u32 cse_load(Rewrite *w, const IrInsn *load) {
    if (load->aux2 & (IR_ACQUIRE | IR_RELEASE)) return 0;
    OptPlace place = opt_access_place(w->f, load);
    for (u32 n = 0; n < KNOWN_LEN; n++) {
        const Known *k = &w->known[n];
        if (!k->value || k->at.base != place.base || k->at.disp != place.disp || k->log2size != load->aux) continue;
        if (k->stored) return forward(w, k, load);
        if (k->type == load->type && k->aux2 == load->aux2) return k->value;
    }
    return compose(w, load, place);
}

static bool may_overlap(const Known *k, OptPlace at, unsigned log2size) {
    return k->at.base != at.base || opt_overlap(k->at, 1u << k->log2size, at, 1u << log2size);
}

void cse_note(Rewrite *w, u32 id) {
    const IrInsn *i = rw_at(w, id);
    bool store = i->op == IR_store;
    OptPlace at = opt_access_place(w->f, i);
    for (u32 n = 0; n < KNOWN_LEN && store; n++)
        if (w->known[n].value && may_overlap(&w->known[n], at, i->aux)) w->known[n].value = 0;
    Known k = {.at = at, .log2size = i->aux, .type = i->type, .aux2 = i->aux2, .value = id};
    if (store) k.stored = true, k.aux2 = 0, k.value = i->b, k.type = rw_at(w, i->b)->type;
    w->known[w->known_at++ % KNOWN_LEN] = k;
}
