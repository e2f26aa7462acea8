/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving a block: direct exits that the engine links, calls and returns on the host's return stack, indirect jumps
 * through the cpu's jump cache, traps; and all code that lies behind the block because it is seldom run.
 *
 * Shadow return stack: a guest call pushes the guest's return pc and does a host call; a guest return compares
 * its target with that pc and does a host ret. So both of them are predicted by the host's return predictor. A
 * mismatch (longjmp, a switch of stacks) is looked up in stubs->ret_slow.
 *
 * Polls: every cycle of guest code has a backward direct branch or call (polled here), or an indirect transfer that
 * misses in the jump cache (engine_kick empties it); a matched return only undoes a call.
 *
 * Paged guests: code knows its page's virtual address by a slot only, and nothing is known about where other pages are. So a direct exit to
 * another page is an indirect jump to page + distance, through the jump cache, whose keys, like the frames of the shadow stack, have in them
 * which address space and mode they are of (Vcpu.jump_tag). Exits within the page are linked.
 *
 * Counted functions (IrFunc.counted): a block begins with a subtraction from Vcpu.budget, and leaves if that falls below zero, which is its poll.
 */
#include "host/x64/cg.h"

Late *cg_late(Cg *g, LateKind kind, u8 *from) {
    vec_push(&g->late, ((Late){.kind = kind, .from = from, .frame = g->frame}));
    return &g->late.at[g->late.len - 1];
}

/* A field that is patched while other threads execute it must not cross a cache line. */
static void align_field(Cg *g, unsigned opcode_bytes) {
    u64 field = (u64)x64_here(&g->b) + opcode_bytes;
    unsigned in_line = field & 63;
    if (in_line > 60) x64_nops(&g->b, 64 - in_line);
}

static u32 add_exit(Cg *g, const u8 *field, u64 pc, bool poll) {
    HostCode *c = g->code;
    vec_push(&c->exits, ((HostExit){.at = field ? (u32)(field - g->start) : 0, .poll = poll, .pc = pc}));
    return c->exits.len - 1;
}

static void late_exit(Cg *g, u8 *field, u64 pc) {
    u32 n = add_exit(g, field, pc, false);
    cg_late(g, LATE_EXIT, field)->exit = n;
}

static void late_poll(Cg *g, u8 *from, u64 pc) {
    u32 n = add_exit(g, NULL, pc, true);
    cg_late(g, LATE_POLL, from)->exit = n;
}

void cg_jump_poll(Cg *g, u64 pc) { late_poll(g, x64_jmp(&g->b, NULL), pc); }

/* Can an exit to pc be linked? Not if it leaves its block's page, or what begins there may reach into the next one. */
static bool stays(const Cg *g, u64 pc) {
    if (!g->guest->paged) return true;
    u64 last = PAGE_BYTES - g->guest->insn_align;
    return (pc ^ g->f->pc) < PAGE_BYTES && !ir_straddles(g->f->pc) && (pc & (PAGE_BYTES - 1)) != last;
}

/* --- counting --------------------------------------------------------------------------------------- */

static void budget(Cg *g, unsigned alu, u32 insns) {
    if (insns) x64_alu_mi(&g->b, alu, W1, CPU_MEM(budget), (i32)insns);
}

/* The block pays for all of its instructions when it begins; who leaves early is given back. */
void cg_count_block(Cg *g) {
    if (!g->f->counted) return;
    g->frame = 0; /* leaving here is leaving before the first instruction */
    budget(g, ALU_SUB, g->f->frames.len);
    late_poll(g, x64_jcc(&g->b, CC_S, NULL), g->f->pc);
    g->frame = ~0u;
}

static void give_back(Cg *g, u32 begun) {
    if (g->f->counted) budget(g, ALU_ADD, g->f->frames.len - begun);
}

/* ----------------------------------------------------------------------------------------------------- */

/* rax = the address of the page that runs + distance. */
static void in_page(Cg *g, i64 distance) {
    x64_rm(&g->b, I_MOV_R_RM | W1, RAX, x64_page_mem(g->guest));
    if (distance) x64_rm(&g->b, I_LEA | W1, RAX, x64_mem(RAX, distance));
}

/* rax = what the guest sees of pc. */
static void virtual_pc(Cg *g, u64 pc) { in_page(g, (i64)(pc - align_down(g->f->pc, PAGE_BYTES))); }

static X64Mem jump_code(X64Mem entry) {
    entry.disp += (i32)offsetof(JumpEntry, code);
    return entry;
}

/* To the guest pc in `target`, through the jump cache. rcx and rdx are lost. */
static void jump_to(Cg *g, unsigned target) {
    unsigned key = x64_jump_key(&g->b, g->guest, target);
    X64Mem entry = x64_jump_entry(&g->b, target);
    x64_alu_rm(&g->b, ALU_CMP, W1, key, entry);
    cg_late(g, LATE_LOOKUP, x64_jcc(&g->b, CC_NE, NULL))->reg = (u8)target;
    x64_set_page(&g->b, g->guest, target);
    x64_jmp_mem(&g->b, jump_code(entry));
}

static void call(Cg *g, unsigned target) {
    unsigned key = x64_jump_key(&g->b, g->guest, target);
    X64Mem entry = x64_jump_entry(&g->b, target);
    x64_alu_rm(&g->b, ALU_CMP, W1, key, entry);
    Late *l = cg_late(g, LATE_CALL_LOOKUP, x64_jcc(&g->b, CC_NE, NULL));
    x64_set_page(&g->b, g->guest, target);
    x64_call_mem(&g->b, jump_code(entry));
    l->reg = (u8)target;
    l->back = g->b.at;
}

/* What a round takes off its count: more for a long loop without many branches, of which each round gains most from being optimised. */
static u32 weight(const Cg *g, u64 target) {
    enum { DENSE = 64, UNIT = 64 }; /* bytes of guest code */
    return g->pc - g->f->pc < DENSE ? 1 : MIN(1 + (u32)((g->pc - target) / UNIT), VCPU_WEIGHT_MAX);
}

/* Backward: the only direction in which a cycle can close. A branch counts, and leaves when the count has run out: because its target is
 * hot, or somebody asks for attention (engine_kick). A call only looks whether somebody does. `resume` is where the guest stands then. */
static void poll_if_backward(Cg *g, u64 target, u64 resume, bool counts) {
    if (g->f->counted) return; /* every block looks at its budget */
    if (target > g->pc || !stays(g, target)) return; /* an indirect transfer, which engine_kick stops */
    counts &= !g->guest->paged;
    X64Mem count = x64_mem(RBP, CPU_OFF(counts) + 4 * (i32)vcpu_count_of(target));
    if (counts) x64_alu_mi(&g->b, ALU_SUB, 0, count, weight(g, target));
    else x64_alu_mi(&g->b, ALU_CMP, 0, CPU_MEM(poll), 0);
    late_poll(g, x64_jcc(&g->b, counts ? CC_S : CC_NE, NULL), resume);
}

void cg_jump_to(Cg *g, u64 pc) {
    if (!stays(g, pc)) {
        virtual_pc(g, pc);
        jump_to(g, RAX);
        return;
    }
    align_field(g, 1);
    late_exit(g, x64_jmp(&g->b, NULL), pc);
}

static void push_pc(Cg *g, u64 pc) {
    if (g->guest->paged) { /* what a return will compare: x64_jump_key */
        x64_rm(&g->b, I_MOV_R_RM | W1, RCX, x64_page_mem(g->guest));
        x64_rm(&g->b, I_LEA | W1, RCX, x64_mem(RCX, (i64)(pc - align_down(g->f->pc, PAGE_BYTES))));
        x64_alu_rm(&g->b, ALU_XOR, W1, RCX, CPU_MEM(jump_tag));
        x64_push(&g->b, RCX);
    } else if (fits_i32((i64)pc)) {
        x64_op8(&g->b, 0x68);
        x64_u32(&g->b, (u32)pc);
    } else {
        x64_mov_imm(&g->b, RCX, pc); /* at a terminator scratch registers are free, but for the target in rax */
        x64_push(&g->b, RCX);
    }
}

static void after_return(Cg *g, u64 return_pc) {
    x64_rm(&g->b, I_LEA | W1, RSP, x64_mem(RSP, 8));
    if (stays(g, return_pc)) {
        cg_jump_to(g, return_pc);
    } else { /* the page that runs is the one returned to */
        in_page(g, (i64)(return_pc & (PAGE_BYTES - 1)));
        jump_to(g, RAX);
    }
}

void cg_call_to(Cg *g, u64 pc, u64 return_pc) {
    push_pc(g, return_pc);
    if (!stays(g, pc)) {
        virtual_pc(g, pc);
        call(g, RAX);
        return;
    }
    align_field(g, 1);
    late_exit(g, x64_call(&g->b, NULL), pc);
}

static void leave_direct(Cg *g, const IrInsn *i) {
    /* At the target: the instruction is complete, and jalr ra, imm(ra) has lost what it could be done again with. */
    poll_if_backward(g, i->imm, i->imm, i->aux != EXIT_CALL);
    if (i->aux != EXIT_CALL) {
        cg_jump_to(g, i->imm);
        return;
    }
    u64 return_pc = g->f->args.at[i->a];
    cg_call_to(g, i->imm, return_pc);
    after_return(g, return_pc);
}

static void leave_return(Cg *g, unsigned target) {
    unsigned key = x64_jump_key(&g->b, g->guest, target);
    x64_alu_rm(&g->b, ALU_CMP, W1, key, x64_mem(RSP, 8));
    cg_late(g, LATE_RET, x64_jcc(&g->b, CC_NE, NULL))->reg = (u8)target;
    x64_set_page(&g->b, g->guest, target);
    x64_ret(&g->b);
}

void cg_leave_to(Cg *g, const IrInsn *i, unsigned target) {
    if (i->aux == EXIT_RET) leave_return(g, target);
    else if (i->aux == EXIT_JUMP) jump_to(g, target);
    else push_pc(g, i->imm), call(g, target);
}

static void leave_indirect(Cg *g, const IrInsn *i) {
    unsigned target = cg_use(g, i->a);
    bool keep = i->aux == EXIT_RET && !g->guest->paged;
    if (!keep && (X64_SCRATCH_GPR >> target & 1)) x64_mov(&g->b, RAX, target), target = RAX;
    /* One store, which nobody waits for: a region may then go on where it went (engine/profile.h). */
    if (i->aux != EXIT_RET && !g->guest->paged) x64_rm(&g->b, I_MOV_RM_R | W1, target, x64_mem(RBP, CPU_OFF(targets) + 8 * (i32)vcpu_site_of(g->pc)));
    cg_leave_to(g, i, target);
    if (i->aux == EXIT_CALL) after_return(g, i->imm);
}

void cg_jump_if(Cg *g, unsigned cc, u64 pc) {
    if (!stays(g, pc) || g->f->counted) {
        cg_late(g, LATE_FAR, x64_jcc(&g->b, cc, NULL))->pc = pc;
        return;
    }
    align_field(g, 2);
    late_exit(g, x64_jcc(&g->b, cc, NULL), pc);
}

static void leave_if(Cg *g, const IrInsn *i) {
    poll_if_backward(g, i->imm, g->pc, true); /* a branch that changes nothing is done again */
    cg_jump_if(g, cg_condition(g, i->a), i->imm);
}

static void trap_if(Cg *g, const IrInsn *i) {
    unsigned cc = cg_condition(g, i->a);
    Late *l = cg_late(g, LATE_TRAP, x64_jcc(&g->b, cc, NULL));
    l->trap = i->aux;
    l->pc = g->pc;
}

static void store_const(Cg *g, X64Mem m, u64 v) {
    if (fits_i32((i64)v)) {
        x64_rm(&g->b, INSN(0, 0, 0xc7) | W1, 0, m);
        x64_u32(&g->b, (u32)v);
    } else {
        x64_mov_imm(&g->b, RAX, v);
        x64_rm(&g->b, I_MOV_RM_R | W1, RAX, m);
    }
}

void cg_trap(Cg *g, unsigned code, u64 pc, u64 arg) {
    if (g->guest->paged) {
        virtual_pc(g, pc);
        x64_rm(&g->b, I_MOV_RM_R | W1, RAX, CPU_MEM(pc));
    } else {
        store_const(g, CPU_MEM(pc), pc);
    }
    store_const(g, CPU_MEM(trap_arg), arg);
    x64_mov_imm(&g->b, RAX, code);
    x64_jmp_mem(&g->b, STUB_MEM(STUB_EXIT_TRAP));
}

void cg_retry(Cg *g, u32 frame, u64 pc) {
    give_back(g, frame);
    cg_trap(g, TRAP_RETRY, pc, 0);
}

/* The tag by an atomic operation: engine_kick may spoil it just now, and must not be undone. */
static void enter_mode(Cg *g, u32 mode) {
    unsigned change = cg_temp(g, false);
    x64_rm(&g->b, INSN(0, 0, 0xc7), 0, CPU_MEM(mode));
    x64_u32(&g->b, mode);
    x64_mov_imm(&g->b, change, vcpu_mode_tag(g->f->mode) ^ vcpu_mode_tag(mode));
    x64_op8(&g->b, 0xf0); /* lock */
    x64_rm(&g->b, INSN(0, 0, 0x31) | W1, change, CPU_MEM(jump_tag));
}

void cg_lower_leave(Cg *g, IrInsn *i) {
    switch (i->op) {
    case IR_mode: enter_mode(g, (u32)i->imm); break;
    case IR_exit: leave_direct(g, i); break;
    case IR_exit_ind: leave_indirect(g, i); break;
    case IR_exit_if: leave_if(g, i); break;
    case IR_trap_if: trap_if(g, i); break;
    case IR_trap: cg_trap(g, i->aux, ir_trap_goes_on(i->aux) ? g->next_pc : g->pc, i->imm); break;
    default: BUG("quick tier: operation needs a control-flow graph");
    }
}

/* --- behind the block ------------------------------------------------------------------------------ */

static void emit_one(Cg *g, const Late *l) {
    x64_fix_rel32(&g->b, l->from);
    if (l->also) x64_fix_rel32(&g->b, l->also);
    if (g->guest->paged) cg_note_pc(g, l->frame);
    switch ((LateKind)l->kind) {
    case LATE_EXIT:
    case LATE_POLL:
        if (l->kind == LATE_POLL) give_back(g, 0);
        g->code->exits.at[l->exit].stub = (u32)(g->b.at - g->start);
        /* A call, for the address it leaves behind: the engine knows the exit by that. */
        x64_call_mem(&g->b, STUB_MEM(l->kind == LATE_EXIT ? STUB_EXIT_LINK : STUB_EXIT_POLL));
        g->code->exits.at[l->exit].site = (u32)(g->b.at - g->start);
        break;
    case LATE_TRAP:
        give_back(g, l->frame + 1);
        cg_trap(g, l->trap, l->pc, 0);
        break;
    case LATE_RET:
        x64_mov(&g->b, RAX, l->reg);
        x64_jmp_mem(&g->b, STUB_MEM(STUB_RET_SLOW));
        break;
    case LATE_LOOKUP:
        x64_mov(&g->b, RAX, l->reg);
        x64_jmp_mem(&g->b, STUB_MEM(STUB_LOOKUP));
        break;
    case LATE_CALL_LOOKUP:
        x64_mov(&g->b, RAX, l->reg);
        x64_call_mem(&g->b, STUB_MEM(STUB_LOOKUP));
        x64_jmp(&g->b, l->back + g->b.rx_delta);
        break;
    case LATE_FAR:
        give_back(g, l->frame + 1);
        cg_jump_to(g, l->pc);
        break;
    case LATE_TLB: cg_late_tlb(g, l); break;
    case LATE_VEC: cg_late_vec(g, l); break;
    case LATE_NAN:
    case LATE_UNBOX:
    case LATE_FLAGS:
    case LATE_SOFT: cg_late_fp(g, l); break;
    }
}

void cg_emit_late(Cg *g) {
    for (u32 k = 0; k < g->late.len && !g->full; k++) {
        if (g->b.end - g->b.at < X64_SLACK) {
            g->full = true;
            return;
        }
        emit_one(g, &g->late.at[k]);
    }
}
