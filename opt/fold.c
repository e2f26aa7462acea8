/* SPDX-License-Identifier: Apache-2.0 */
/* fold: what an operation on known or special operands comes to, across blocks, where the builder could not see. Constants;
 * identities; and the idioms of RV64 code: extensions written as two shifts, indices extended and scaled by two shifts, rotates
 * made of two shifts, by any distance, sums and comparisons of sign-extended words, truth values compared with 0, differences compared with 0.
 * Condition: none costs an instruction more than it replaces, even if what it looks through has other uses.
 * Words: what is sign-extended from 32 bits is computed in i32, so that a chain of addw, xor and rotates has no extension but
 * for who looks at all 64 bits; frames name the i32 (opt_extend). */
#include "opt/rewrite.h"

static unsigned bits_of(IrType t) { return t == IR_I64 ? 64 : t == IR_I1 ? 1 : 32; }

static u32 compare_imm(Rewrite *w, IrOp op, u32 a, u64 imm) { return rw_make2(w, op, IR_I1, a, rw_constant(w, (IrType)rw_at(w, a)->type, imm)); }
static bool is_compare(unsigned op) { return op >= IR_eq && op <= IR_leu; }

/* --- words ------------------------------------------------------------------------------------------------------- */

enum { CLEAR_DEPTH = 3 };

/* The i32 of which a is the sign- (or zero-) extension; 0: it is none. */
static u32 word_under(Rewrite *w, IrOp ext, u32 a) {
    const IrInsn *i = rw_at(w, a);
    if (i->op == IR_const && i->type == IR_I64) {
        u64 v = ext == IR_sext ? (u64)sext_bits(i->imm, 32) : low_bits(i->imm, 32);
        return v == i->imm ? rw_constant(w, IR_I32, v) : 0;
    }
    return i->op == ext && i->aux == 32 && rw_at(w, i->a)->type == IR_I32 ? i->a : 0;
}

static unsigned extension_bits(const IrInsn *x, IrOp op);

/* Is bit 31 of an i32 surely 0? */
static bool high_bit_clear(Rewrite *w, u32 word, unsigned depth) {
    const IrInsn *i = rw_at(w, word);
    u64 by;
    switch ((int)i->op) {
    case IR_const: return !(i->imm >> 31 & 1);
    case IR_shr: return rw_const_at(w, i->b, &by) && (by & 31);
    case IR_trunc: return extension_bits(rw_at(w, i->a), IR_zext) < 32;
    case IR_and: return depth && (high_bit_clear(w, i->b, depth - 1) || high_bit_clear(w, i->a, depth - 1));
    case IR_or: case IR_xor: return depth && high_bit_clear(w, i->b, depth - 1) && high_bit_clear(w, i->a, depth - 1);
    default: return false;
    }
}

static bool is_shift_of_word(Rewrite *w, u32 a, IrOp shift) {
    u32 p = word_under(w, IR_sext, a);
    if (!p) p = word_under(w, IR_zext, a);
    return p && rw_at(w, p)->op == shift;
}

/* (i32) and, or, xor of two extended words is the extension of their and, or, xor. A zero-extended one that has bit 31 clear is sign-extended
 * too. So is the sum of the two shifts that make a rotate, in which no bits meet. */
static u32 fold_words(Rewrite *w, const IrInsn *i) {
    bool logic = i->op == IR_and || i->op == IR_or || i->op == IR_xor;
    bool rotate = i->op == IR_add && ((is_shift_of_word(w, i->a, IR_shl) && is_shift_of_word(w, i->b, IR_shr)) ||
                                      (is_shift_of_word(w, i->a, IR_shr) && is_shift_of_word(w, i->b, IR_shl)));
    if (i->type != IR_I64 || (!logic && !rotate)) return 0;
    u64 c;
    if (rw_const_at(w, i->a, &c)) return 0;
    u32 p = word_under(w, IR_sext, i->a), q = word_under(w, IR_sext, i->b);
    u32 zp = p ? 0 : word_under(w, IR_zext, i->a), zq = q ? 0 : word_under(w, IR_zext, i->b);
    if (!p && zp && high_bit_clear(w, zp, CLEAR_DEPTH)) p = zp;
    if (!q && zq && high_bit_clear(w, zq, CLEAR_DEPTH)) q = zq;
    IrOp ext = p && q ? IR_sext : IR_zext;
    if (!(p && q)) p = p ? 0 : zp, q = q ? 0 : zq;
    if (!p || !q) return 0;
    IrInsn word = {.op = i->op, .type = IR_I32, .a = p, .b = q};
    u32 r = fold_insn(w, word);
    if (rotate && rw_at(w, r)->op != IR_rotl) return 0;
    return rw_make_ext(w, ext, 32, r);
}

/* The low half of a sum, difference, product or left shift comes from the low halves. */
enum { NARROW_DEPTH = 4 }; /* bound: x + x of x + x of ... has 2^n paths */
static bool is_low_op(unsigned op) { return op == IR_add || op == IR_sub || op == IR_mul || op == IR_and || op == IR_or || op == IR_xor; }

static u32 fold_low_op(Rewrite *w, u32 a) {
    IrInsn i = *rw_at(w, a);
    if (i.type != IR_I64 || !is_low_op(i.op) || w->depth == NARROW_DEPTH) return 0;
    w->depth++;
    u32 p = rw_make_trunc(w, i.a), q = rw_make_trunc(w, i.b);
    w->depth--;
    return rw_make2(w, (IrOp)i.op, IR_I32, p, q);
}

/* --- parameters that are extensions ------------------------------------------------------------------------------ */

/* Does this argument allow its parameter to be thin? */
static bool is_thin(const Rewrite *w, u32 id) {
    const IrInsn *i = &w->old->insns.at[id];
    if (i->op == IR_sext) return i->aux == 32;
    if (i->op == IR_box) return w->old->insns.at[i->a].type == IR_F32;
    if (i->op == IR_const) return i->type == IR_I64 && sext_bits(i->imm, 32) == (i64)i->imm;
    return i->op == IR_param && w->thin[id];
}

static bool thicken_params(Rewrite *w, const u32 *first_param) {
    bool changed = false;
    for (u32 id = 1; id < w->old->insns.len; id++) {
        const IrInsn *i = &w->old->insns.at[id];
        for (u32 k = 0; i->op == IR_jmp && k < i->b; k++) {
            u8 *param = &w->thin[first_param[i->imm] + k];
            if (!*param || is_thin(w, (u32)w->old->args.at[i->a + k])) continue;
            *param = 0;
            changed = true;
        }
    }
    return changed;
}

/* Loop-carried words and single-precision values, whose extensions are then made only by who wants them. Condition: all that comes in is
 * extended; so not at a region's head, where a register may hold anything. */
void fold_find_thin(Rewrite *w) {
    const IrFunc *f = w->old;
    u32 *first_param = arena_alloc(&w->o->arena, f->block_count * sizeof(u32));
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_block) first_param[i->imm] = id + 1;
        if (i->op == IR_param) w->thin[id] = i->type == IR_I64 ? IR_I32 : i->type == IR_F64 ? IR_F32 : 0;
    }
    unsigned rounds = 0;
    while (thicken_params(w, first_param))
        if (++rounds == 50) {
            memset(w->thin, 0, f->insns.len);
            return;
        }
}

/* --- how much of a value is wanted ----------------------------------------------------------------------------- */

/* Marks what instruction i wants whole. `wanted`: somebody wants i's upper half. */
static void want_operands(Rewrite *w, const IrInsn *i, bool wanted) {
    const u32 ref[3] = {i->a, i->b, i->c};
    unsigned n = ir_op_operands[i->op], first = 0;
    bool narrow = i->op == IR_trunc || ((i->op == IR_sext || i->op == IR_zext) && i->aux <= 32) || (i->type == IR_I64 && is_low_op(i->op) && !wanted);
    if (narrow) return;
    if (i->op == IR_store && i->aux <= 2) w->wide[i->a] = 1, first = n; /* of what is stored, the low bytes */
    if (i->op == IR_shl && i->type == IR_I64 && !wanted) first = 1;
    for (unsigned k = first; k < n; k++) w->wide[ref[k]] = 1;
}

static bool want_args(Rewrite *w, const IrInsn *i, const u32 *first_param) {
    bool changed = false;
    for (u32 k = 0; k < i->b; k++) {
        u8 *arg = &w->wide[w->old->args.at[i->a + k]];
        if (*arg || (i->op == IR_jmp && !w->wide[first_param[i->imm] + k])) continue;
        *arg = 1;
        changed = true;
    }
    return changed;
}

static bool sweep_wide(Rewrite *w, const u32 *first_param) {
    bool changed = false;
    for (u32 id = w->old->insns.len - 1; id; id--) {
        const IrInsn *i = &w->old->insns.at[id];
        want_operands(w, i, w->wide[id]);
        if (opt_has_args((IrOp)i->op)) changed |= want_args(w, i, first_param);
    }
    return changed;
}

void fold_find_wide(Rewrite *w) {
    const IrFunc *f = w->old;
    u32 *first_param = arena_alloc(&w->o->arena, f->block_count * sizeof(u32));
    for (u32 id = 1; id < f->insns.len; id++)
        if (f->insns.at[id].op == IR_block) first_param[f->insns.at[id].imm] = id + 1;
    for (u32 k = 0; k < f->states.len; k++) w->wide[f->states.at[k].value] = 1;
    unsigned rounds = 0;
    while (sweep_wide(w, first_param))
        if (++rounds == 30) { /* a long chain: want all */
            memset(w->wide, 1, f->insns.len);
            return;
        }
}

u32 fold_narrow(Rewrite *w, IrInsn i) {
    if (i.type != IR_I64 || !is_low_op(i.op)) return 0;
    u64 c;
    if (rw_const_at(w, i.a, &c) && rw_const_at(w, i.b, &c)) return 0;
    u32 p = rw_make_trunc(w, i.a), q = rw_make_trunc(w, i.b);
    return rw_make_ext(w, IR_zext, 32, rw_make2(w, (IrOp)i.op, IR_I32, p, q));
}

/* --- extensions ---------------------------------------------------------------------------------------------------- */

/* The number of low bits that determine x, if it is an extension of that kind, else 64. */
static unsigned extension_bits(const IrInsn *x, IrOp op) {
    if (x->op == op) return x->aux;
    if (x->op == IR_load && x->type == IR_I64 && x->aux < 3 && ((x->aux2 & IR_SIGNED) != 0) == (op == IR_sext)) return 8u << x->aux;
    return 64;
}

static bool is_extended(Rewrite *w, u32 id) {
    const IrInsn *i = &w->old->insns.at[id];
    switch ((int)i->op) {
    case IR_const: return i->type == IR_I64 && sext_bits(i->imm, 32) == (i64)i->imm;
    case IR_sext: return i->aux <= 32;
    case IR_zext: return i->aux < 32;
    case IR_load: return i->type == IR_I64 && (i->aux < 2 || (i->aux == 2 && (i->aux2 & IR_SIGNED)));
    case IR_and: case IR_or: case IR_xor: return i->type == IR_I64 && w->extended[i->a] && w->extended[i->b];
    case IR_param: return w->extended[id];
    }
    return false;
}

/* Arguments of jumps that are not extended spoil their parameters, until nothing changes. */
static bool spoil_params(Rewrite *w, const u32 *first_param) {
    bool changed = false;
    for (u32 id = 1; id < w->old->insns.len; id++) {
        const IrInsn *i = &w->old->insns.at[id];
        if (i->type == IR_I64 && i->op != IR_param) w->extended[id] = is_extended(w, id);
        if (i->op != IR_jmp) continue;
        for (u32 k = 0; k < i->b; k++) {
            u8 *param = &w->extended[first_param[i->imm] + k];
            if (!*param || w->extended[w->old->args.at[i->a + k]]) continue;
            *param = 0;
            changed = true;
        }
    }
    return changed;
}

void fold_find_extended(Rewrite *w) {
    u32 *first_param = arena_alloc(&w->o->arena, w->old->block_count * sizeof(u32));
    for (u32 id = 1; id < w->old->insns.len; id++) {
        const IrInsn *i = &w->old->insns.at[id];
        if (i->op == IR_block) first_param[i->imm] = id + 1;
        if (i->op == IR_param) w->extended[id] = i->type == IR_I64;
    }
    unsigned rounds = 0;
    while (spoil_params(w, first_param))
        if (++rounds == 50) { /* a long chain: know nothing */
            memset(w->extended, 0, w->old->insns.len);
            return;
        }
}

static u32 fold_extension(Rewrite *w, IrInsn i) {
    const IrInsn *x = rw_at(w, i.a);
    IrOp op = (IrOp)i.op;
    if (x->op == IR_const) return rw_constant(w, IR_I64, ir_eval(op, IR_I64, (IrType)x->type, i.aux, x->imm, 0, 0));
    if (i.aux >= 64) return i.a;
    if (x->type == IR_I64) {
        if (extension_bits(x, op) <= i.aux) return i.a;
        if (op == IR_sext && extension_bits(x, IR_zext) < i.aux) return i.a;
        if (op == IR_sext && i.aux == 32 && x->op == IR_param && i.a < w->cap && w->extended_param[i.a]) return i.a;
        bool extension = x->op == IR_sext || x->op == IR_zext, same_type = rw_at(w, x->a)->type == IR_I64 || x->aux == i.aux;
        if (extension && x->aux >= i.aux && same_type) return rw_make_ext(w, op, i.aux, x->a);
        if (x->op == IR_sext && x->aux == 32 && i.aux < 32) i.a = rw_make_ext(w, IR_zext, 32, x->a); /* which costs nothing if an operation made it */
        if (i.aux == 32) {
            u32 word = fold_low_op(w, i.a);
            if (word) return rw_make_ext(w, op, 32, word);
        }
    } else if (x->type == IR_I32) {
        if (i.aux == 32 && op == IR_sext && high_bit_clear(w, i.a, CLEAR_DEPTH)) i.op = IR_zext;
        if (x->op == IR_trunc && rw_at(w, x->a)->type == IR_I64) { /* of an i64: extend that */
            const IrInsn *y = rw_at(w, x->a);
            if (extension_bits(y, op) <= 32) return x->a;
        }
    }
    return rw_value(w, i);
}

/* Is an extension among what the low half of a comes from? Then computing that in i32 drops it. */
static bool hides_extension(Rewrite *w, u32 a, unsigned depth) {
    const IrInsn *x = rw_at(w, a);
    if ((x->op == IR_sext || x->op == IR_zext) && x->aux == 32) return true;
    if (x->type != IR_I64 || !is_low_op(x->op) || !depth) return false;
    return hides_extension(w, x->a, depth - 1) || hides_extension(w, x->b, depth - 1);
}

static u32 fold_trunc(Rewrite *w, IrInsn i) {
    const IrInsn *x = rw_at(w, i.a);
    if (x->type == IR_I64 && is_low_op(x->op) && hides_extension(w, i.a, 3)) {
        u32 word = fold_low_op(w, i.a);
        return word ? word : rw_value(w, i);
    }
    if (x->op == IR_const) return rw_constant(w, IR_I32, x->imm);
    if ((x->op == IR_sext || x->op == IR_zext) && x->aux == 32) {
        if (rw_at(w, x->a)->type == IR_I32) return x->a;
        return rw_make_trunc(w, x->a);
    }
    return rw_value(w, i);
}

/* --- shifts ------------------------------------------------------------------------------------------------------- */

/* (x << a) >> b: an extension, scaled if a > b. */
static u32 fold_shift_pair(Rewrite *w, const IrInsn *i, u64 b) {
    const IrInsn *x = rw_at(w, i->a);
    u64 a;
    if (i->type != IR_I64 || x->op != IR_shl || !rw_const_at(w, x->b, &a) || (a != 32 && a != 48 && a != 56) || b > a) return 0;
    u32 ext = rw_make_ext(w, i->op == IR_shr ? IR_zext : IR_sext, 64 - (unsigned)a, x->a);
    return rw_make_imm(w, IR_shl, IR_I64, ext, a - b);
}

/* What the low bits of a shift's distance are. */
static u32 distance_under(Rewrite *w, u32 id) {
    for (unsigned steps = 0; steps < 3; steps++) {
        const IrInsn *i = rw_at(w, id);
        if (i->op != IR_trunc && ((i->op != IR_sext && i->op != IR_zext) || i->aux < 8)) break;
        id = i->a;
    }
    return id;
}

/* Do the distances of two shifts of so many bits add up to 0, or to all bits? */
static bool are_opposite(Rewrite *w, u32 by, u32 other, unsigned bits) {
    const IrInsn *i = rw_at(w, distance_under(w, other));
    u64 c;
    return i->op == IR_sub && rw_const_at(w, i->a, &c) && c % bits == 0 && distance_under(w, i->b) == distance_under(w, by);
}

/* x << a OP x >> (bits - a), in any order; where a is not known, it may be 0, and OP must be `or`. */
static u32 fold_rotate(Rewrite *w, const IrInsn *i) {
    const IrInsn *x = rw_at(w, i->a), *y = rw_at(w, i->b);
    unsigned bits = bits_of((IrType)i->type);
    u64 left, right;
    if (x->op == IR_shr && y->op == IR_shl) {
        const IrInsn *swap = x;
        x = y, y = swap;
    }
    if (x->op != IR_shl || y->op != IR_shr || x->a != y->a) return 0;
    IrInsn rotate = {.op = IR_rotl, .type = i->type, .a = x->a, .b = x->b};
    if (rw_const_at(w, x->b, &left) && rw_const_at(w, y->b, &right)) return left + right == bits ? rw_value(w, rotate) : 0;
    if (i->op != IR_or) return 0;
    if (are_opposite(w, x->b, y->b, bits)) return rw_value(w, rotate);
    rotate.op = IR_rotr, rotate.b = y->b;
    return are_opposite(w, y->b, x->b, bits) ? rw_value(w, rotate) : 0;
}

/* --- comparisons ---------------------------------------------------------------------------------------------------- */

u32 fold_not(Rewrite *w, u32 cond) {
    IrInsn c = *rw_at(w, cond);
    if (c.op == IR_const) return rw_constant(w, IR_I1, !c.imm);
    if (c.op == IR_eq || c.op == IR_ne) {
        c.op = c.op == IR_eq ? IR_ne : IR_eq;
        return rw_value(w, c);
    }
    static const u8 other[IR_OP_COUNT] = {[IR_lts] = IR_les, [IR_les] = IR_lts, [IR_ltu] = IR_leu, [IR_leu] = IR_ltu};
    if (c.op < IR_OP_COUNT && other[c.op]) return rw_value(w, (IrInsn){.op = other[c.op], .type = IR_I1, .a = c.b, .b = c.a});
    u64 one;
    if (c.op == IR_xor && rw_const_at(w, c.b, &one) && one) return c.a;
    return rw_value(w, (IrInsn){.op = IR_xor, .type = IR_I1, .a = cond, .b = rw_constant(w, IR_I1, 1)});
}

/* x == c (or not). */
static u32 fold_equal(Rewrite *w, const IrInsn *i, u64 c) {
    IrInsn x = *rw_at(w, i->a);
    u64 d;
    if (x.op == IR_zext && x.aux == 1 && rw_at(w, x.a)->type == IR_I1) { /* a truth value */
        if (c > 1) return rw_constant(w, IR_I1, i->op == IR_ne);
        return (c == 1) == (i->op == IR_eq) ? x.a : fold_not(w, x.a);
    }
    if (c == 0 && (x.op == IR_xor || x.op == IR_sub)) return rw_make2(w, (IrOp)i->op, IR_I1, x.a, x.b);
    if (x.op == IR_add && rw_const_at(w, x.b, &d)) return compare_imm(w, (IrOp)i->op, x.a, c - d);
    return 0;
}

/* Of two extended words: compare the words. */
static u32 fold_compared_words(Rewrite *w, const IrInsn *i) {
    if (rw_at(w, i->a)->type != IR_I64) return 0;
    u64 c;
    if (rw_const_at(w, i->a, &c) && rw_const_at(w, i->b, &c)) return 0;
    bool is_signed = i->op == IR_lts || i->op == IR_les;
    u32 p = word_under(w, IR_sext, i->a), q = p ? word_under(w, IR_sext, i->b) : 0;
    if (p && q) return rw_make2(w, (IrOp)i->op, IR_I1, p, q);
    if (is_signed) return 0;
    p = word_under(w, IR_zext, i->a), q = p ? word_under(w, IR_zext, i->b) : 0;
    return p && q ? rw_make2(w, (IrOp)i->op, IR_I1, p, q) : 0;
}

static u32 fold_compare(Rewrite *w, const IrInsn *i) {
    u64 c;
    IrType t = (IrType)rw_at(w, i->a)->type;
    if (i->a == i->b) return rw_constant(w, IR_I1, i->op == IR_eq || i->op == IR_les || i->op == IR_leu);
    if (rw_const_at(w, i->b, &c)) {
        if ((i->op == IR_eq || i->op == IR_ne)) {
            u32 r = t == IR_I1 ? (c == (i->op == IR_eq) ? i->a : fold_not(w, i->a)) : fold_equal(w, i, c);
            if (r) return r;
        }
        if (i->op == IR_ltu && c == 0) return rw_constant(w, IR_I1, 0);
        if (i->op == IR_ltu && c == 1) return compare_imm(w, IR_eq, i->a, 0);
    }
    if (rw_const_at(w, i->a, &c)) {
        if (i->op == IR_ltu && c == 0) return compare_imm(w, IR_ne, i->b, 0);
        if (i->op == IR_leu && c == 0) return rw_constant(w, IR_I1, 1);
    }
    return fold_compared_words(w, i);
}

/* --- arithmetic ------------------------------------------------------------------------------------------------------ */

/* x OP c. */
static u32 fold_with_const(Rewrite *w, const IrInsn *i, u64 c) {
    IrType t = (IrType)i->type;
    u64 ones = low_bits(~0ull, bits_of(t));
    switch ((int)i->op) {
    case IR_add: case IR_or: case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
        if (c == 0) return i->a;
        if (i->op == IR_shr || i->op == IR_sar) return fold_shift_pair(w, i, c);
        if (i->op == IR_rotr) return rw_make_imm(w, IR_rotl, t, i->a, (bits_of(t) - c) & (bits_of(t) - 1));
        break;
    case IR_xor:
        if (c == 0) return i->a;
        if (t == IR_I1) return fold_not(w, i->a);
        if (c == 1 && rw_at(w, i->a)->op == IR_zext && rw_at(w, i->a)->aux == 1) return rw_make_ext(w, IR_zext, 1, fold_not(w, rw_at(w, i->a)->a));
        break;
    case IR_sub: return rw_make_imm(w, IR_add, t, i->a, -c);
    case IR_and:
        if (c == ones) return i->a;
        if (c == 0) return rw_constant(w, t, 0);
        if (t == IR_I64 && (c == 0xff || c == 0xffff || c == 0xffffffff)) return rw_make_ext(w, IR_zext, (unsigned)__builtin_popcountll(c), i->a);
        break;
    case IR_mul:
        if (c == 1) return i->a;
        if (c == 0) return rw_constant(w, t, 0);
        if ((c & (c - 1)) == 0) return rw_make_imm(w, IR_shl, t, i->a, (u64)__builtin_ctzll(c));
        break;
    case IR_divs: case IR_divu: case IR_rems: case IR_remu: return fold_division(w, i, c);
    }
    return 0;
}

static u32 fold_special(Rewrite *w, IrInsn *i) {
    u64 c;
    if (is_compare(i->op)) return fold_compare(w, i);
    if (rw_const_at(w, i->b, &c)) {
        u32 r = fold_with_const(w, i, c);
        if (r) return r;
    }
    if (i->a == i->b && (i->op == IR_sub || i->op == IR_xor)) return rw_constant(w, (IrType)i->type, 0);
    if (i->a == i->b && (i->op == IR_and || i->op == IR_or)) return i->a;
    if (i->op == IR_or || i->op == IR_xor || i->op == IR_add) {
        u32 r = fold_rotate(w, i);
        if (r) return r;
    }
    return fold_words(w, i);
}

static u32 fold_binary(Rewrite *w, IrInsn i) {
    u64 x, y;
    bool cx = rw_const_at(w, i.a, &x), cy = rw_const_at(w, i.b, &y);
    IrType t = (IrType)rw_at(w, i.a)->type;
    if (cx && cy) return rw_constant(w, (IrType)i.type, ir_eval((IrOp)i.op, (IrType)i.type, t, i.aux, x, y, 0));
    if ((ir_op_facts[i.op] & F_COMMUTES) && (cx || (!cy && i.a > i.b))) {
        u32 swap = i.a;
        i.a = i.b, i.b = swap;
    }
    u32 r = fold_special(w, &i);
    return r ? r : rw_value(w, i);
}

static u32 fold_select(Rewrite *w, IrInsn i) {
    u64 c;
    if (rw_const_at(w, i.a, &c)) return c ? i.b : i.c;
    if (i.b == i.c) return i.b;
    return rw_value(w, i);
}

/* What was just made of the same thing. */
static u32 fold_inverse(Rewrite *w, IrInsn i) {
    const IrInsn *x = rw_at(w, i.a);
    if ((i.op == IR_unbox || i.op == IR_flow) && x->op == IR_box && rw_at(w, x->a)->type == i.type) return x->a;
    if (i.op == IR_bits && x->op == IR_bits) return x->a;
    if (i.op == IR_bits && x->op == IR_const) return rw_constant(w, (IrType)i.type, x->imm);
    return rw_value(w, i);
}

u32 fold_insn(Rewrite *w, IrInsn i) {
    u64 c;
    switch ((IrOp)i.op) {
    case IR_sext: case IR_zext: return fold_extension(w, i);
    case IR_trunc: return fold_trunc(w, i);
    case IR_select: return fold_select(w, i);
    case IR_clz: case IR_ctz: case IR_popcnt: case IR_bswap:
        if (rw_const_at(w, i.a, &c)) return rw_constant(w, (IrType)i.type, ir_eval((IrOp)i.op, (IrType)i.type, (IrType)i.type, 0, c, 0, 0));
        return rw_value(w, i);
    case IR_unbox: case IR_flow: case IR_bits: return fold_inverse(w, i);
    case IR_const: return rw_constant(w, (IrType)i.type, i.imm);
    default: return ir_op_operands[i.op] == 2 && i.op >= IR_add && i.op <= IR_leu ? fold_binary(w, i) : rw_value(w, i);
    }
}
