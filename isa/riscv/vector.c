/* SPDX-License-Identifier: Apache-2.0 */
/* riscv_vector: takes a vector instruction apart, refuses what is reserved, and hands it to those who do it (vector.def).
 *
 * The specification leaves open what reserved encodings do [unpriv v, "vector operands"]; here all of them are illegal instructions. */
#include "isa/riscv/vector_impl.h"

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const VecRow rows[RV_OPS] = {
#define INT(op, how, what, vd, vs2, vs1, fact) [RV_##op] = {vec_run_##how, {.kernels = &vec_k_##what}, RVV_##vd, RVV_##vs2, RVV_##vs1, fact},
#define FLOAT(name, how, what, vd, vs2, vs1, fact) [RV_##name] = {vec_run_##how, {.op = vec_f_##what}, RVV_##vd, RVV_##vs2, RVV_##vs1, fact},
#define OTHER(op, how, vd, vs2, vs1, fact) [RV_##op] = {vec_run_##how, {NULL}, RVV_##vd, RVV_##vs2, RVV_##vs1, fact},
#include "isa/riscv/vector.def"
};

/* --- what is reserved --------------------------------------------------------------------------------------------------- */

typedef struct Group { /* registers that an operand stands for */
    int width; /* log2 of the bytes of an element, or BIT_WIDE */
    int emul;  /* log2 */
    unsigned first, count;
} Group;

enum { BIT_WIDE = -8 }; /* less than any width that is computed */

static Group group_of(const Vec *i, u8 kind, unsigned reg) {
    Group g = {.width = kind == RVV_MASK ? BIT_WIDE : (int)vec_width(i, kind), .first = reg, .count = 1};
    if (kind != RVV_MASK && kind < RVV_MASK) g.emul = i->lmul + g.width - i->sew;
    if (g.emul > 0) g.count = 1u << g.emul;
    return g;
}

static bool group_fits(const Group *g) {
    return (g->width == BIT_WIDE || (g->width >= 0 && g->width <= 3)) && g->emul >= -3 && g->emul <= 3 && !(g->first & (g->count - 1));
}

static bool groups_meet(const Group *a, const Group *b) { return a->first < b->first + b->count && b->first < a->first + a->count; }

/* Whether vd may lie where a source is [unpriv v, "vector operands"]. */
static bool may_overlap(const Group *d, const Group *from) {
    if (!groups_meet(d, from) || d->width == from->width) return true;
    if (d->width < from->width) return d->first == from->first;
    return from->width >= 0 && from->emul >= 0 && d->first + d->count == from->first + from->count;
}

static const Group mask_group = {.width = BIT_WIDE, .count = 1};

/* No register is read in two widths: as mask and as elements, or as two operands [unpriv v, "vector operands"]. Sums with carries, comparisons and
 * vcompress may all the same: QEMU does them, and programs that were tried there need not break here. */
static bool sources_agree(const Vec *i, const Group *d, const Group *a, const Group *b, bool reads_mask) {
    const VecRow *r = i->row;
    bool lenient = r->d == RVV_MASK || (r->facts & RVV_CARRY && r->kernels != &vec_k_merge);
    if (reads_mask && !lenient && a && a->width != BIT_WIDE && groups_meet(a, &mask_group)) return false;
    if (reads_mask && !lenient && b && groups_meet(b, &mask_group)) return false;
    if (r->facts & RVV_READS && a && a->width != d->width && groups_meet(a, d)) return false;
    if (r->facts & RVV_READS && b && b->width != d->width && groups_meet(b, d)) return false;
    return !a || !b || a->width == b->width || b->width == BIT_WIDE || !groups_meet(a, b);
}

static bool destination_is_free(const Vec *i, const Group *d, const Group *from) {
    const VecRow *r = i->row;
    if (r->d == RVV_SCALAR || r->d == RVV_SCALARW) return true;
    if (r->facts & RVV_APART) return !groups_meet(d, from);
    return may_overlap(d, from);
}

static bool groups_are_legal(const Vec *i, bool reads_mask) {
    const VecRow *r = i->row;
    bool has_a = r->a != RVV_NONE, has_b = i->vector;
    Group d = group_of(i, r->d, i->vd), a = group_of(i, r->a, i->vs2), b = group_of(i, r->b, i->vs1);
    if (has_a && !group_fits(&a)) return false;
    if (has_b && !group_fits(&b)) return false;
    if (!sources_agree(i, &d, has_a ? &a : NULL, has_b ? &b : NULL, reads_mask)) return false;
    if (r->d == RVV_NONE) return true;
    if (!group_fits(&d)) return false;
    if (has_a && !destination_is_free(i, &d, &a)) return false;
    if (has_b && !destination_is_free(i, &d, &b)) return false;
    if (r->facts & RVV_APART2 && groups_meet(&d, &a)) return false;
    bool over_mask = reads_mask && groups_meet(&d, &mask_group);
    return !over_mask || r->d == RVV_SCALAR || r->d == RVV_SCALARW || (r->d == RVV_MASK && !(r->facts & RVV_APART));
}

static bool is_float(const Vec *i, u8 kind) {
    unsigned width = vec_width(i, kind);
    return width >= 1 && width <= 3;
}

static bool float_is_legal(const Vec *i) {
    const VecRow *r = i->row;
    if (!(r->facts & (RVV_FD | RVV_FS))) return true;
    if (i->s->frm > 4) return false;
    if (r->facts & RVV_FD && !is_float(i, r->d)) return false;
    if (!(r->facts & RVV_FS)) return true;
    return (r->a == RVV_NONE || is_float(i, r->a)) && (r->b == RVV_NONE || is_float(i, r->b));
}

static unsigned group_elements(const Vec *i) { return i->row->facts & RVV_EGS8 ? 8 : i->row->facts & RVV_EGS4 ? 4 : 1; }
static bool length_is_legal(const Vec *i) { return !((i->vl | i->start) & (group_elements(i) - 1)); }

static bool cipher_is_legal(const Vec *i) {
    unsigned facts = i->row->facts;
    if (facts & (RVV_SEW32 | RVV_SEW64) && !(facts & RVV_SEW32 && i->sew == 2) && !(facts & RVV_SEW64 && i->sew == 3)) return false;
    return vec_vlmax(i) >= group_elements(i) && length_is_legal(i);
}

static bool is_legal(const Vec *i) {
    bool reads_mask = !(i->bits >> 25 & 1);
    if (i->row->facts & RVV_START0 && i->start) return false;
    return groups_are_legal(i, reads_mask) && float_is_legal(i) && cipher_is_legal(i);
}

/* --- elements --------------------------------------------------------------------------------------------------------- */

void vec_spread(u8 *to, const u8 *bits, u32 n) {
    for (u32 k = 0; k < n; k += 8) {
        u64 eight = bits[k / 8] * 0x0101010101010101ull & 0x8040201008040201ull;
        eight = (eight + 0x7f7f7f7f7f7f7f7full) >> 7 & 0x0101010101010101ull;
        memcpy(to + k, &eight, 8);
    }
}

void vec_splat(u64 *to, unsigned sew, u64 v) {
    static const u64 ones[] = {0x0101010101010101ull, 0x0001000100010001ull, 0x0000000100000001ull, 1};
    v = low_bits(v, 8u << sew) * ones[sew];
    for (unsigned k = 0; k < RVV_BUFFER / 8; k++) to[k] = v;
}

#define BLEND(T)                                                                                                                            \
    {                                                                                                                                       \
        T *to = (T *)d;                                                                                                                     \
        const T *new = from;                                                                                                                \
        for (u32 k = i->start; k < i->vl; k++) to[k] = active[k] ? new[k] : to[k];                                                            \
        break;                                                                                                                              \
    }
void vec_commit(const Vec *i, const void *from) {
    unsigned width = vec_width(i, i->row->d);
    u8 *d = vec_reg(i, i->vd), active[RVV_BUFFER];
    if (i->start >= i->vl) return;
    if (!i->masked) {
        u32 at = i->start << width, size = (i->vl - i->start) << width;
        if (size == RV_VLENB) memcpy(d + at, (const u8 *)from + at, RV_VLENB); /* most often, and in two instructions */
        else memcpy(d + at, (const u8 *)from + at, size);
        return;
    }
    vec_spread(active, vec_reg(i, 0), i->vl);
    switch (width) {
    case 0: BLEND(u8)
    case 1: BLEND(u16)
    case 2: BLEND(u32)
    default: BLEND(u64)
    }
}
#undef BLEND

/* Bits of bytes, eight at a time; what of them is not active stays. */
void vec_commit_mask(const Vec *i, const u8 *from) {
    u8 *d = vec_reg(i, i->vd);
    const u8 *mask = vec_reg(i, 0);
    for (u32 k = i->start / 8; k * 8 < i->vl; k++) {
        u64 eight;
        memcpy(&eight, from + 8 * k, 8);
        u8 bits = (u8)((eight & 0x0101010101010101ull) * 0x0102040810204080ull >> 56);
        u8 body = vec_body_byte(i, k) & (i->masked ? mask[k] : 0xff);
        d[k] = (d[k] & ~body) | (bits & body);
    }
}

/* --- dispatch ----------------------------------------------------------------------------------------------------------- */

enum { OP_LOAD = 0x07, OP_STORE = 0x27 };
enum { FORM_VV, FORM_FVV, FORM_MVV, FORM_VI, FORM_VX, FORM_VF, FORM_MVX, FORM_SET };

/* A number in an f register, not boxed properly: the canonical NaN. */
static u64 unbox(u64 v, unsigned sew) {
    unsigned bits = 8u << sew;
    if (bits >= 64 || v >> bits == ~0ull >> bits) return v;
    return sew == 0 ? v : softfp_nan(sew == 1 ? SOFTFP_F16 : SOFTFP_F32);
}

static u64 immediate(const Vec *i, unsigned op) {
    if (op == RV_vror_vi) return (i->bits >> 26 & 1) << 5 | i->vs1;
    return i->row->facts & RVV_UIMM ? i->vs1 : (u64)sext_bits(i->vs1, 5);
}

/* Takes the row, and what the second operand is. */
static inline void take_row(Vec *i, const VecRow *row, unsigned op) {
    unsigned form = i->bits >> 12 & 7;
    i->row = row;
    i->vector = form <= FORM_MVV && row->b != RVV_NONE;
    i->scalar = form == FORM_VI ? immediate(i, op) : form == FORM_VF ? unbox(i->x, i->sew) : i->x;
}

/* Whole registers are copied whatever vl says [unpriv v, "whole vector register move"]. */
static unsigned copy_registers(Vec *i, unsigned count) {
    u32 from = i->start << i->sew, size = count * RV_VLENB;
    if (from < size) memmove(vec_reg(i, i->vd) + from, vec_reg(i, i->vs2) + from, size - from);
    return 0;
}

static inline bool is_whole_move(unsigned op) { return op == RV_vmv1r_v || op == RV_vmv2r_v || op == RV_vmv4r_v || op == RV_vmv8r_v; }

/* `known`: riscv_vector_is_legal has been asked. */
static unsigned compute(Vec *i, unsigned op, bool known) {
    const VecRow *row = &rows[op];
    if (i->s->vtype & RV_VILL) return TRAP_ILLEGAL;
    if (!row->run) return is_whole_move(op) ? copy_registers(i, i->vs1 + 1u) : TRAP_ILLEGAL;
    take_row(i, row, op);
    if (known ? !length_is_legal(i) : !is_legal(i)) return TRAP_ILLEGAL;
    i->masked = !(i->bits >> 25 & 1) && !(row->facts & RVV_CARRY);
    row->run(i);
    return 0;
}

static bool is_memory(u32 bits) { return (bits & 0x7f) == OP_LOAD || (bits & 0x7f) == OP_STORE; }

static Vec unpack(RvState *s, u32 bits) {
    return (Vec){
        .s = s, .bits = bits, .vd = bits >> 7 & 31, .vs1 = bits >> 15 & 31, .vs2 = bits >> 20 & 31, .masked = !(bits >> 25 & 1),
        .sew = (u8)riscv_vsew(s->vtype), .lmul = (i8)riscv_vlmul(s->vtype), .vl = (u32)s->vl, .start = (u32)s->vstart,
    };
}

bool riscv_vector_is_legal(u32 bits, unsigned op, u64 vtype, unsigned frm) {
    RvState s = {.vtype = vtype, .frm = frm};
    Vec i = unpack(&s, bits);
    if (!riscv_vlmax(vtype)) return false;
    if (is_memory(bits)) return vec_memory_is_legal(&i);
    if (!rows[op].run) return is_whole_move(op);
    take_row(&i, &rows[op], op);
    return is_legal(&i);
}

unsigned riscv_vector_known(Vcpu *cpu, u32 bits, unsigned op, u64 key, u64 x, u64 y) {
    RvState *s = vcpu_state(cpu);
    Vec i = unpack(s, bits);
    i.cpu = cpu, i.x = x, i.y = y;
    bool known = (s->vkey | RV_VKEY_FULL) == key;
    unsigned trap = is_memory(bits) ? vec_memory(&i, known) : compute(&i, op, known);
    if (!trap) s->vstart = 0;
    if (trap || !known || s->vl != i.vl) s->vkey = riscv_vector_key(s);
    return trap;
}

unsigned riscv_vector(Vcpu *cpu, u32 bits, unsigned op, u64 x, u64 y) { return riscv_vector_known(cpu, bits, op, 0, x, y); }
