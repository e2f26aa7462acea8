/* SPDX-License-Identifier: Apache-2.0 */
/* The quick compiler: one block of IR to x86-64 in one backward and one forward pass. See cg.h. */
#include "host/x64/cg.h"

/* From here on, code belongs to that guest instruction. */
void cg_note_pc(Cg *g, u32 frame) {
    HostCode *c = g->code;
    if (!c->pcs.len || c->pcs.at[c->pcs.len - 1].frame != frame) vec_push(&c->pcs, ((HostPc){(u32)(g->b.at - g->start), frame}));
}

void cg_lower(Cg *g, IrInsn *i) {
    if (!g->region && (ir_op_facts[i->op] & (F_FAULTS | F_CALL))) cg_note_pc(g, g->frame);
    switch ((IrOp)i->op) {
    case IR_nop: case IR_block: case IR_const: break;
    case IR_insn:
        g->pc = i->imm;
        g->next_pc = i->imm + i->aux;
        ++g->frame;
        if (g->guest->paged) cg_note_pc(g, g->frame); /* all: they are counted by that, too */
        break;
    case IR_get: cg_get(g, i); break;
    case IR_put: cg_put(g, i); break;
    case IR_eq: case IR_ne: case IR_lts: case IR_les: case IR_ltu: case IR_leu:
        if (!g->val.at[g->cur].fused) cg_lower_int(g, i);
        break;
    case IR_quiet: case IR_stray:
    case IR_add: case IR_sub: case IR_mul: case IR_mulhs: case IR_mulhu: case IR_mulhsu: case IR_divs: case IR_divu: case IR_rems: case IR_remu:
    case IR_and: case IR_or: case IR_xor: case IR_shl: case IR_shr: case IR_sar: case IR_rotl: case IR_rotr:
    case IR_clz: case IR_ctz: case IR_popcnt: case IR_bswap: case IR_select: case IR_sext:
        cg_lower_int(g, i);
        break;
    case IR_zext:
        if (!cg_is_alias(g, i)) cg_lower_int(g, i);
        break;
    case IR_trunc: case IR_flow: break; /* aliases */
    case IR_tlb: case IR_load: case IR_store: case IR_align: case IR_amo: case IR_cas: case IR_sc: case IR_fence: case IR_prefetch: cg_lower_mem(g, i); break;
    case IR_fadd: case IR_fsub: case IR_fmul: case IR_fdiv: case IR_fsqrt: case IR_fma: case IR_fmin: case IR_fmax: case IR_fminm: case IR_fmaxm:
    case IR_feq: case IR_flt: case IR_fle: case IR_fclass: case IR_fneg: case IR_fabs: case IR_fcopysign: case IR_fcvt: case IR_ftoi: case IR_itof:
    case IR_fround: case IR_bits: case IR_box: case IR_unbox: case IR_getflags: case IR_setflags:
        cg_lower_fp(g, i);
        break;
    case IR_crypto: cg_lower_crypto(g, i); break;
    case IR_call: cg_lower_call(g, i); break;
    case IR_vec: cg_lower_vec(g, i); break;
    case IR_peek: case IR_poke: cg_lower_state(g, i); break;
    case IR_mode: case IR_exit_if: case IR_trap_if: case IR_exit: case IR_exit_ind: case IR_trap: cg_lower_leave(g, i); break;
    case IR_param: case IR_jmp: case IR_br: case IR_poll: case IR_count: BUG("quick tier: operation needs a control-flow graph");
    case IR_OP_COUNT: BUG("bad operation");
    }
}

Cg *cg_begin(const HostStubs *stubs, IrFunc *f, HostCode *code) {
    Cg *g = code->scratch;
    if (!g) {
        g = code->scratch = arena_alloc(&code->arena, sizeof *g);
        x64_pins(f->guest, g->pin);
    }
    code->exits.len = code->pcs.len = 0;
    g->late.len = 0;
    g->b = (X64Buf){.at = code->rw, .end = code->rw + code->cap, .rx_delta = code->rx - code->rw};
    g->f = f, g->guest = f->guest, g->stubs = stubs, g->code = code, g->start = code->rw;
    g->frame = ~0u, g->full = false, g->kept.at = NULL;
    vec_reserve(&g->val, f->insns.len);
    return g;
}

bool x64_compile(const HostStubs *stubs, IrFunc *f, HostCode *code) {
    Cg *g = cg_begin(stubs, f, code);
    memset(g->reg_val, 0, sizeof g->reg_val);
    memset(g->slot_val, 0, f->guest->slot_count * sizeof g->slot_val[0]);
    memset(g->spill_val, 0, g->spill_used * sizeof g->spill_val[0]);
    g->spill_used = 0;
    cg_analyse(g);
    cg_count_block(g);
    for (g->cur = 1; g->cur < f->insns.len; g->cur++) {
        IrInsn *i = &f->insns.at[g->cur];
        if (i->op == IR_const || i->op == IR_nop) continue; /* a third of them */
        if (g->b.end - g->b.at < X64_SLACK) return false;
        g->locked = 0;
        cg_lower(g, i);
    }
    cg_emit_late(g);
    code->size = (size_t)(g->b.at - code->rw);
    code->insns = g->b.insns;
    return !g->full;
}
