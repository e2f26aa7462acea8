/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions (IR_vec). The guest's vector registers stay in the Vcpu: each operation fetches its operands from there, 16 bytes at a time, and
 * stores what it makes; the processor forwards that. Before it, a comparison: is the state's key what the translation expects? If not, or
 * where there is no code here for the operation, the guest's own function in C does the instruction. If that cannot (it faults, or is illegal), the
 * interpreter does it once more, and tells why (TRAP_RETRY, TRAP_SLOW). docs/why/vectors.md */
#include "host/x64/vec.h"

/* a in all elements of y, those of s1. */
static void broadcast(Vec *v) {
    unsigned width = v->width - v->factor;
    x64_rr(v->b, I_MOVQ_X_R, v->y, v->a);
    if (width == 0) x64_rr(v->b, I_PUNPCKLBW, v->y, v->y);
    if (width <= 1) x64_rr(v->b, I_PSHUFLW, v->y, v->y), x64_u8(v->b, 0);
    x64_rr(v->b, I_PSHUFD, v->y, v->y), x64_u8(v->b, width == 3 ? 0x44 : 0);
}

static void memory(Vec *v) {
    for (unsigned k = 0; k < v->count; k++) {
        X64Mem m = x64_mem(v->a, 16 * (i64)k);
        bool loads = v->i->aux == VEC_LOAD;
        vec_load_part(v, loads ? m : vec_d(v, k));
        if (loads) vec_store(v, k);
        else vec_store_part(v, m);
    }
}

/* The processor does not touch what the mask leaves out, and does not fault there. */
static void masked_memory(Vec *v) {
    u32 w = v->width == 3 ? W1 : 0;
    for (unsigned k = 0; k < v->count; k++) {
        X64Mem m = x64_mem(v->a, 16 * (i64)k);
        vec_mask(v, k);
        if (v->i->aux == VEC_STORE) {
            x64_rm(v->b, I_MOVDQA, v->x, vec_d(v, k));
            x64_vrm(v->b, INSN(2, 1, 0x8e) | w, v->x, v->w, m); /* vpmaskmov */
            continue;
        }
        x64_vrm(v->b, INSN(2, 1, 0x8c) | w, v->x, v->w, m);
        x64_rm(v->b, I_PANDN, v->w, vec_d(v, k));
        x64_rr(v->b, I_POR, v->x, v->w);
        x64_rm(v->b, I_MOVDQA_STORE, v->x, vec_d(v, k));
    }
}

/* --- accesses to elements, one by one */

static bool is_by_element(const IrInsn *i) { return i->aux >= VEC_LOAD_FIELDS && i->aux <= VEC_STORE_INDEXED; }
static bool is_strided(const IrInsn *i) { return i->aux == VEC_LOAD_STRIDED || i->aux == VEC_STORE_STRIDED; }
static bool is_indexed(const IrInsn *i) { return i->aux == VEC_LOAD_INDEXED || i->aux == VEC_STORE_INDEXED; }
static unsigned fields_of(const Vec *v) { return (v->i->c >> 16 & 0xff) + 1; }
static unsigned elements_of(const Vec *v) { return 16u * v->count >> v->width >> v->fraction; }

/* Where element n's field is. r: the index; or the element's address, which moves on from one to the next. */
static X64Mem element(Vec *v, unsigned n, unsigned field) {
    static const u32 load[] = {I_MOVZX8, I_MOVZX16, I_MOV_R_RM, I_MOV_R_RM | W1};
    i64 at = (i64)field << v->width;
    if (is_indexed(v->i)) {
        X64Mem index = vec_s2(v, 0);
        index.disp += (i32)(n << v->factor);
        x64_rm(v->b, load[v->factor], v->r, index);
        return x64_mem_index(v->a, v->r, 0, at);
    }
    if (!is_strided(v->i)) return x64_mem(v->a, at + ((i64)(n * fields_of(v)) << v->width));
    if (n) x64_alu_rr(v->b, ALU_ADD, W1, v->r, v->stride);
    else x64_mov(v->b, v->r, v->a);
    return x64_mem(v->r, at);
}

/* Loads and stores come in the order of elements; if one faults, all is done again from the first one on. */
static void by_element(Vec *v) {
    static const u32 insert[] = {INSN(3, 1, 0x20), INSN(1, 1, 0xc4), INSN(3, 1, 0x22), INSN(3, 1, 0x22) | W1};
    static const u32 extract[] = {INSN(3, 1, 0x14), INSN(3, 1, 0x15), INSN(3, 1, 0x16), INSN(3, 1, 0x16) | W1};
    bool loads = v->i->aux <= VEC_LOAD_INDEXED;
    unsigned in_one = 16u >> v->width;
    for (unsigned n = 0; n < fields_of(v) * elements_of(v); n++) {
        unsigned field = n / elements_of(v), e = n % elements_of(v), k = field * v->count + e / in_one;
        if (e % in_one == 0) x64_rm(v->b, I_MOVDQA, v->x, vec_d(v, k));
        x64_rm(v->b, loads ? insert[v->width] : extract[v->width], v->x, element(v, e, field));
        x64_u8(v->b, e % in_one);
        if (loads && (e % in_one == in_one - 1 || e == elements_of(v) - 1)) x64_rm(v->b, I_MOVDQA_STORE, v->x, vec_d(v, k));
    }
}

/* Stores of structures that may overlap have an order that this is not; and a load that is done again after a fault needs its indices as they were. */
static bool has_elements(const Vec *v) {
    enum { MOST = 32 };
    bool loads = v->i->aux <= VEC_LOAD_INDEXED, ordered = fields_of(v) == 1 || loads || v->i->aux == VEC_STORE_FIELDS;
    if (v->i->aux == VEC_LOAD_INDEXED && v->count > 1) return false;
    return !v->masked && ordered && fields_of(v) * elements_of(v) <= MOST;
}

static bool is_memory(const IrInsn *i) { return i->aux == VEC_LOAD || i->aux == VEC_STORE; }
static bool is_inline(const Vec *v) {
    if (is_by_element(v->i)) return !v->g->guest->paged && has_elements(v);
    if (is_memory(v->i)) return !v->g->guest->paged && (!v->masked || (x64_features.avx2 && v->width >= 2));
    return vec_has_code(v);
}
static bool is_compare(const IrInsn *i) { return (i->aux >= VEC_EQ && i->aux <= VEC_GT) || (i->aux >= VEC_FEQ && i->aux <= VEC_FGE); }
static bool is_reduction(const IrInsn *i) { return i->aux >= VEC_REDSUM && i->aux <= VEC_REDMAX; }
static bool is_long_product(const Vec *v) { return v->width == 3 && (v->i->aux == VEC_MUL || (v->i->aux >= VEC_MACC && v->i->aux <= VEC_NMSUB)); }
static bool is_slide(const IrInsn *i) { return i->aux >= VEC_SLIDE1UP && i->aux <= VEC_SLIDEUP; }
static bool is_shift(const IrInsn *i) { return (i->aux >= VEC_SLL && i->aux <= VEC_ROR) || i->aux == VEC_NSRL || i->aux == VEC_NSRA; }
static bool is_by_const(const Vec *v) { return is_shift(v->i) && cg_is_const(v->g, cg_root(v->g, v->i->a)); }
/* Those of AES have another meaning for it. */
static bool wants_broadcast(const Vec *v) { return v->scalar && !(v->i->aux >= VEC_AESEM && v->i->aux <= VEC_AESZ) && !is_slide(v->i) && v->i->aux != VEC_SET && !is_by_const(v); }
static bool wants_a(const Vec *v) { return is_memory(v->i) || is_by_element(v->i) || wants_broadcast(v) || v->i->aux == VEC_SLIDE1UP || v->i->aux == VEC_SLIDE1DOWN || v->i->aux == VEC_SET; }

static Vec vec_of(Cg *g, const IrInsn *i) {
    return (Vec){.g = g, .b = &g->b, .i = i, .width = i->aux2 & 3, .factor = i->aux2 >> VEC_FACTOR_SHIFT, .count = i->c >> 24 & 15, .fraction = i->c >> 28,
        .masked = i->aux2 & VEC_MASKED, .scalar = i->aux2 & VEC_SCALAR, .kept = NO_REG, .stored = NO_REG};
}

static unsigned temp(Cg *g) { return xn(cg_temp(g, true)); }

/* --- forwarding ----------------------------------------------------------------------------------------------------------
 *
 * What an operation stores is still in an xmm register when the next one begins, if that comes directly behind it; then it need not wait for the store. Chains of
 * rounds of SHA-256 and AES take half of the time. Whoever comes back from behind the block to between the two loads that register. */

static bool reads_kept(const Vec *v) {
    i64 disp = v->g->kept.disp;
    return v->count == 1 && (vec_d(v, 0).disp == disp || vec_s2(v, 0).disp == disp || vec_s1(v, 0).disp == disp);
}

/* Out of xmm0, which every operation has a use for. */
static void take_kept(Vec *v) {
    Cg *g = v->g;
    unsigned reg = X64_XMM + g->kept.xmm;
    g->locked |= 1u << reg;
    v->kept = g->kept.xmm, v->kept_disp = g->kept.disp;
    if (v->kept) return;
    v->kept = xn(cg_temp(g, true));
    x64_rr(&g->b, I_MOVDQA, v->kept, 0);
    g->locked &= ~(1u << reg);
}

static void keep(const Vec *v, Late *l) {
    Cg *g = v->g;
    bool some = v->stored != NO_REG && v->count == 1;
    l->kept_xmm = some ? (u8)v->stored : NO_REG;
    l->kept_disp = v->stored_disp;
    g->kept.at = some ? g->b.at : NULL;
    g->kept.xmm = l->kept_xmm, g->kept.disp = l->kept_disp;
}

static void late_keep(Cg *g, const Late *l) {
    if (l->kept_xmm != NO_REG) x64_rm(&g->b, I_MOVDQA, l->kept_xmm, x64_mem(RBP, l->kept_disp));
}

/* ----------------------------------------------------------------------------------------------------------------------- */

/* Before the way to C branches off: what a region borrows must have been saved on either way. */
static void take_registers(Vec *v) {
    Cg *g = v->g;
    if (!g->region) cg_take(g, X64_XMM);
    v->x = g->region ? temp(g) : 0;
    if (v->x) BUG("xmm0 is not free");
    if (wants_a(v)) v->a = cg_use(g, v->i->a);
    if (is_strided(v->i)) v->stride = cg_use(g, v->i->b);
    if (!is_memory(v->i) && !is_by_element(v->i)) v->t = temp(g), v->u = temp(g), v->y = temp(g);
    if (v->masked || v->fraction || is_reduction(v->i) || is_long_product(v)) v->w = temp(g);
    if (v->masked || !is_memory(v->i)) v->r = cg_temp(g, false);
    if (is_compare(v->i)) v->q = cg_temp(g, false);
}

static void operate(Vec *v) {
    if (is_memory(v->i)) {
        if (v->masked) masked_memory(v);
        else memory(v);
        return;
    }
    if (is_by_element(v->i)) {
        by_element(v);
        return;
    }
    if (wants_broadcast(v)) broadcast(v);
    vec_operate(v);
}

static X64Mem key_mem(const Cg *g) { return x64_mem(RBP, (i64)g->guest->vector_key - X64_BIAS); }

/* --- the first elements only ------------------------------------------------------------------------------------------ */

enum { LATE_XMM = 5, SAVE_LATE = 64 /* places in Vcpu.save, behind those of regions */ };

static X64Mem late_mem(unsigned n) { return x64_mem(RBP, CPU_OFF(save) + 8 * (i64)(SAVE_LATE + n)); }

static void late_registers(Cg *g, bool save) {
    x64_rm(&g->b, (save ? I_MOV_RM_R : I_MOV_R_RM) | W1, RAX, late_mem(LATE_XMM));
    for (unsigned n = 0; n < LATE_XMM; n++) x64_rm(&g->b, save ? I_MOVS_STORE(3) : I_MOVS_LOAD(3), n, late_mem(n));
}

/* Behind the block, if vtype is what was expected and only the vector length is not: last rounds of loops. Returns the branch to what else there may be. */
static u8 *late_partial(Cg *g, const Late *l) {
    Vec v = vec_of(g, cg_insn(g, l->insn));
    v.x = 0, v.t = 1, v.u = 2, v.y = 3, v.w = 4, v.r = RAX, v.partial = !(v.i->aux2 & VEC_WHOLE);
    enum { FULL = 0x100 }; /* RV_VKEY_FULL */
    x64_alu_mi(&g->b, ALU_CMP, 0, key_mem(g), (i32)(v.i->imm >> 48) & ~FULL);
    u8 *other = x64_jcc(&g->b, CC_NE, NULL);
    late_registers(g, true);
    v.a = l->operand[0];
    if (v.a == NO_REG && wants_a(&v)) x64_mov_imm(&g->b, v.a = RAX, cg_insn(g, cg_root(g, v.i->a))->imm);
    operate(&v);
    late_registers(g, false);
    late_keep(g, l);
    x64_jmp(&g->b, l->back + g->b.rx_delta);
    return other;
}

/* --- the rest: C ------------------------------------------------------------------------------------------------- */

static void store_operand(Cg *g, unsigned n, u32 id, unsigned reg) {
    X64Mem m = x64_mem(RBP, CPU_OFF(arg) + 8 * (i64)n);
    if (reg != NO_REG) {
        x64_rm(&g->b, I_MOV_RM_R | W1, reg, m);
        return;
    }
    x64_mov_imm(&g->b, RAX, cg_insn(g, cg_root(g, id))->imm);
    x64_rm(&g->b, I_MOV_RM_R | W1, RAX, m);
}

static void late_call(Cg *g, const Late *l) {
    const IrInsn *i = cg_insn(g, l->insn);
    x64_rm(&g->b, I_MOV_RM_R | W1, RAX, x64_mem(RBP, CPU_OFF(save) + 8 * SAVE_RAX));
    for (unsigned n = 0; n < 2; n++)
        if (l->operand[n] != NO_REG) store_operand(g, 1 + n, 0, l->operand[n]);
    if (l->operand[0] == NO_REG) store_operand(g, 1, i->a, NO_REG);
    if (l->operand[1] == NO_REG) store_operand(g, 2, i->b, NO_REG);
    x64_mov_imm(&g->b, RAX, i->imm);
    x64_call_mem(&g->b, STUB_MEM(STUB_VECTOR));
    late_keep(g, l); /* also where it failed: the register is nobody's */
    if (g->guest->paged) x64_jmp(&g->b, l->back + g->b.rx_delta);
    else x64_jcc(&g->b, CC_E, l->back + g->b.rx_delta);
    if (g->region) region_vec_failed(g, l->exit, l->borrowed);
    else if (!g->guest->paged) cg_retry(g, l->frame, l->pc);
}

/* Behind the block: all registers survive. The operands are in l->operand, or constants. */
void cg_late_vec(Cg *g, const Late *l) {
    Vec v = vec_of(g, cg_insn(g, l->insn));
    if (!is_memory(v.i) && !is_by_element(v.i) && is_inline(&v) && vec_has_partial(&v)) x64_fix_rel32(&g->b, late_partial(g, l));
    late_call(g, l);
}

static unsigned operand(Cg *g, u32 id) { return cg_is_const(g, cg_root(g, id)) ? NO_REG : cg_use(g, id); }

void cg_lower_vec(Cg *g, IrInsn *i) {
    Vec v = vec_of(g, i);
    bool in_line = is_inline(&v), forwards = g->kept.at == g->b.at && reads_kept(&v) && (!g->region || region_is_free(g->region, X64_XMM + g->kept.xmm, g->cur));
    u8 operands[2] = {(u8)operand(g, i->a), (u8)operand(g, i->b)};
    u8 *from;
    if (in_line) {
        if (forwards) take_kept(&v);
        take_registers(&v);
        x64_alu_mi(&g->b, ALU_CMP, 0, key_mem(g), (i32)(i->imm >> 48));
        from = x64_jcc(&g->b, CC_NE, NULL);
    } else {
        from = x64_jmp(&g->b, NULL);
    }
    Late *l = cg_late(g, LATE_VEC, from);
    u32 late = g->late.len - 1;
    l->insn = g->cur;
    l->pc = g->pc;
    memcpy(l->operand, operands, 2);
    if (g->region) l->exit = region_vec_trap(g);
    if (in_line) operate(&v);
    g->late.at[late].back = g->b.at;
    g->late.at[late].also = v.give_up;
    keep(&v, &g->late.at[late]);
    if (g->region) g->late.at[late].borrowed = g->region->borrowed;
}

/* --- state that is no slot ---------------------------------------------------------------------------------------- */

void cg_lower_state(Cg *g, const IrInsn *i) {
    X64Mem m = x64_mem(RBP, (i64)i->imm - X64_BIAS);
    if (i->op == IR_poke) {
        i32 imm;
        if (cg_imm32(g, cg_root(g, i->a), &imm)) {
            x64_rm(&g->b, INSN(0, 0, 0xc7) | W1, 0, m);
            x64_u32(&g->b, (u32)imm);
        } else {
            x64_rm(&g->b, I_MOV_RM_R | W1, cg_use(g, i->a), m);
        }
        return;
    }
    unsigned dst = cg_target(g, false, 0, NO_REG);
    x64_rm(&g->b, I_MOV_R_RM | W1, dst, m);
    cg_set(g, dst);
}
