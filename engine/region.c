/* SPDX-License-Identifier: Apache-2.0 */
/* See region.h. Two steps: discover lifts instruction by instruction into a scratch function, to learn where blocks end and where they
 * lead; emit lifts again, now into the region's function, and turns exits that stay inside into jumps. Blocks begin at known pcs only, so
 * a jump into the middle of a node splits it. */
#include "engine/region.h"

const RegionLimits region_default_limits = {.insns = 2400, .blocks = 300, .inline_insns = 48, .inline_loop_insns = 160, .inline_only_insns = 400, .inline_depth = 3, .peel_insns = 700};

enum { NODE_INSNS = 64, LONG_INSNS = 150, NONE = ~0u };
enum { NEXTS = REGION_TARGETS + 1 };
enum { SHARE_MIN = REGION_ALWAYS / 8, CALLS_MIN = REGION_ALWAYS / 2, JUMPS_MIN = REGION_ALWAYS * 7 / 8, RARE = REGION_ALWAYS / 16 };

typedef enum NodeEnd {
    END_FALL,   /* runs into next[0] */
    END_BRANCH, /* next[1] if taken, else next[0] */
    END_JUMP,   /* next[0] */
    END_CALL,   /* next[0]: the callee taken in; else next[1]: where it goes on after the return */
    END_RETURN, /* next[0]: where the inlined call goes on */
    END_GUESS,  /* indirect: next[k], k != 1: to target[k]; next[1]: where a call of something else goes on after the return */
    END_LEAVE,  /* whatever it is, it leaves */
} NodeEnd;

struct RegionNode {
    u64 pc, end;     /* guest bytes */
    u32 context;
    u32 lens, count; /* its instructions: range of Region.lens */
    u8 kind;         /* NodeEnd */
    bool known;      /* discovered */
    bool back[NEXTS];  /* that edge closes a cycle */
    u64 target[NEXTS]; /* pcs of next */
    u32 next[NEXTS];   /* nodes; NONE: outside */
    u32 before;      /* node of the same Region.cells, made before, + 1 */
    u32 block;       /* IR block */
    u32 guess;       /* IrFunc.guess at the end of one that leads here; 0: unknown */
    u32 copy;        /* node of the first round */
    u8 mark;         /* of walks */
};

/* --- instructions --------------------------------------------------------------------------------- */

static const IrInsn *last_insn(const IrFunc *f) { return &f->insns.at[f->insns.len - 1]; }

/* Lifts one instruction of an inlined call to f. Its length; 0: there is none. */
static unsigned lift_one(Region *r, IrFunc *f, u64 pc, u32 context) {
    size_t avail;
    const u8 *code = r->source->fetch(r->source->ctx, pc, &avail);
    if (!code || avail < r->guest->insn_align) return 0;
    f->known = r->contexts.at[context].known;
    return r->guest->lift(f, pc, code, avail);
}

/* Lifts the instruction at pc to `scratch`. An indirect jump or call is lifted with the instruction before it, `before` bytes long (0: there is
 * none): auipc and jalr are a direct one. */
static unsigned lift_scratch(Region *r, u64 pc, unsigned before, u32 mode, u32 context) {
    IrFunc *f = &r->scratch;
    ir_reset(f, r->guest, pc, mode);
    unsigned len = lift_one(r, f, pc, context);
    const IrInsn *last = last_insn(f);
    if (!len || !before || last->op != IR_exit_ind || last->aux == EXIT_RET) return len;
    ir_reset(f, r->guest, pc - before, mode);
    return lift_one(r, f, pc - before, context) ? lift_one(r, f, pc, context) : 0;
}

/* Helpers that look at the state behind the IR's back stay outside: they want every slot in place. */
static bool touches_state(const IrFunc *f, u32 from) {
    for (u32 id = from; id < f->insns.len; id++)
        if (f->insns.at[id].op == IR_call && (f->guest->helpers[f->insns.at[id].imm].facts & (HELPER_READS | HELPER_WRITES | HELPER_FAULTS))) return true;
    return false;
}

/* The answer is kept: each branch of a callee is asked for at each of its calls, and images are large. */
static bool is_reached(Region *r, u64 pc) {
    RegionAnswer *a = &r->answers[hash_u64(pc) % REGION_ANSWERS];
    if (a->round != r->round || a->pc != pc) *a = (RegionAnswer){pc, r->round, r->source->reached(r->source->ctx, pc)};
    return a->yes;
}

/* --- which callees are small ------------------------------------------------------------------------ */

static bool is_scanned(const Region *r, u64 pc) {
    for (u32 k = 0; k < r->scan.len; k++)
        if (pc == r->scan.at[k].pc || pc - r->scan.at[k].pc < r->scan.at[k].size) return true;
    return false;
}

static void scan_push(Region *r, u64 pc) {
    if (!is_scanned(r, pc)) vec_push(&r->scan, ((RegionRange){.pc = pc}));
}

/* Counts what is reached from pc, up to the limit; NONE if that is too much. A function with a loop may be larger: to leave for it and to come back
 * costs more than a call, because its loop is a region of its own. */
static u32 callee_insns(Region *r, u64 pc, u32 mode) {
    u32 total = 0;
    bool loop = false;
    r->scan.len = 0;
    scan_push(r, pc);
    for (u32 k = 0; k < r->scan.len; k++) {
        u64 at = r->scan.at[k].pc;
        unsigned before = 0;
        for (bool open = true; open && (at == r->scan.at[k].pc || !is_scanned(r, at)); total++) {
            if (total > r->limits.inline_loop_insns) return NONE;
            unsigned len = lift_scratch(r, at, before, mode, 0);
            if (!len || touches_state(&r->scratch, 1)) return NONE;
            const IrInsn *last = last_insn(&r->scratch);
            if (last->op == IR_exit_if && is_reached(r, last->imm)) scan_push(r, last->imm), loop |= last->imm <= at;
            if (last->op == IR_exit && last->aux == EXIT_JUMP) scan_push(r, last->imm);
            if (last->op == IR_exit && last->aux == EXIT_CALL) {
                total += 4;
                scan_push(r, at + len);
            }
            if (last->op == IR_trap || (last->op == IR_exit_ind && last->aux != EXIT_RET)) return NONE;
            open = !r->scratch.closed;
            before = len;
            at += len;
            r->scan.at[k].size += len;
        }
    }
    return total <= r->limits.inline_insns || loop ? total : NONE;
}

/* The answer is kept: the same functions are called again and again. */
static u32 known_callee_insns(Region *r, u64 pc, u32 mode) {
    RegionVerdict *v = &r->verdicts[hash_u64(pc) % REGION_VERDICTS];
    if (v->round != r->round || v->pc != pc) *v = (RegionVerdict){pc, r->round, callee_insns(r, pc, mode)};
    return v->insns;
}

static bool is_inlinable(Region *r, u64 target, u32 context, u32 mode) {
    const RegionContext *c = &r->contexts.at[context];
    if (c->depth >= r->limits.inline_depth || r->insns > r->limits.insns / 2) return false;
    for (u32 k = context;; k = r->contexts.at[k].parent) {
        if (r->contexts.at[k].entry == target) return false;
        if (!k) break;
    }
    return known_callee_insns(r, target, mode) != NONE;
}

/* --- discovery ---------------------------------------------------------------------------------------- */

static u32 *cell_of(Region *r, u64 pc, u32 context) { return &r->cells[hash_u64(pc + context) % REGION_CELLS]; }

/* The node that begins there; NONE. */
static u32 find_node(Region *r, u64 pc, u32 context) {
    u32 n = *cell_of(r, pc, context);
    while (n && (r->nodes.at[n - 1].pc != pc || r->nodes.at[n - 1].context != context)) n = r->nodes.at[n - 1].before;
    return n - 1;
}

static u32 add_node(Region *r, const RegionNode *a) {
    u32 *cell = cell_of(r, a->pc, a->context);
    vec_push(&r->nodes, *a);
    r->nodes.at[r->nodes.len - 1].before = *cell;
    *cell = r->nodes.len;
    return r->nodes.len - 1;
}

static u32 new_node(Region *r, u64 pc, u32 context) {
    add_node(r, &(RegionNode){.pc = pc, .end = pc, .context = context, .next = {NONE, NONE, NONE, NONE, NONE}, .block = NONE});
    vec_push(&r->work, r->nodes.len - 1);
    return r->nodes.len - 1;
}

/* Cuts node n before its instruction at pc; the rest becomes a node of its own. NONE: no instruction starts there. */
static u32 split(Region *r, u32 n, u64 pc) {
    RegionNode *a = &r->nodes.at[n];
    u32 keep = 0;
    u64 at = a->pc;
    while (at < pc) at += r->lens.at[a->lens + keep++];
    if (at != pc) return NONE;
    RegionNode rest = *a;
    rest.pc = pc;
    rest.lens += keep;
    rest.count -= keep;
    a->end = pc;
    a->count = keep;
    a->kind = END_FALL;
    for (u32 k = 0; k < NEXTS; k++) a->next[k] = NONE;
    a->next[0] = r->nodes.len;
    a->target[0] = pc;
    return add_node(r, &rest);
}

/* The node at (pc, context), made if need be. */
static u32 node_at(Region *r, u64 pc, u32 context) {
    u32 found = find_node(r, pc, context);
    if (found != NONE) return found;
    for (u32 n = 0; n < r->nodes.len; n++) {
        const RegionNode *a = &r->nodes.at[n];
        if (a->context != context || !a->known || pc - a->pc >= a->end - a->pc) continue;
        u32 m = split(r, n, pc);
        if (m != NONE) return m;
    }
    return new_node(r, pc, context);
}

static u32 enter_context(Region *r, u32 parent, u64 entry, u64 return_pc, u32 known) {
    vec_push(&r->contexts, ((RegionContext){.parent = parent, .entry = entry, .return_pc = return_pc, .depth = r->contexts.at[parent].depth + 1, .known = known}));
    r->inlined++;
    return r->contexts.len - 1;
}

static void note_callee(Region *r, u64 pc) {
    for (u32 k = 0; k < r->callees.len; k++)
        if (r->callees.at[k] == pc) return;
    vec_push(&r->callees, pc);
}

static void lead(Region *r, u32 n, u32 k, u64 pc, u32 context) {
    u32 to = node_at(r, pc, context); /* may move the nodes, and may split n itself */
    while (r->nodes.at[n].kind == END_FALL && r->nodes.at[n].next[0] != NONE && r->nodes.at[n].known) n = r->nodes.at[n].next[0];
    r->nodes.at[n].target[k] = pc;
    r->nodes.at[n].next[k] = to;
}

/* IrFunc.known of the stub at `target`, which node n calls; 0: none, or not one that is done in place: the node must say how many bytes the call is about. */
static u32 known_call(Region *r, u32 n, u64 target) {
    const RegionNode *a = &r->nodes.at[n];
    IrFunc *f = &r->scratch;
    u32 kind = r->source->known ? r->source->known(r->source->ctx, target) : 0;
    u64 pc = a->pc;
    if (!kind) return 0;
    ir_reset(f, r->guest, pc, f->mode);
    for (u32 k = 0; k < a->count; k++) pc += lift_one(r, f, pc, a->context);
    const IrInsn *size = &f->insns.at[f->slot_value[r->guest->stub_size]];
    return size->op == IR_const && size->imm - 1 < KNOWN_SIZE_MAX ? kind | (u32)size->imm << KNOWN_SIZE_SHIFT : 0;
}

/* Node n is complete but for where it leads: its last instruction is the last of `scratch`, of length len at pc. */
static void end_call(Region *r, u32 n, u64 target, u64 return_pc) {
    u32 context = r->nodes.at[n].context;
    r->nodes.at[n].kind = END_CALL;
    u32 known = known_call(r, n, target);
    if (known) {
        r->known++;
        lead(r, n, 0, target, enter_context(r, context, target, return_pc, known));
        return;
    }
    if (is_inlinable(r, target, context, r->scratch.mode)) {
        lead(r, n, 0, target, enter_context(r, context, target, return_pc, 0));
        return;
    }
    note_callee(r, target);
    r->recursive |= target == r->contexts.at[0].entry;
    if (is_reached(r, return_pc)) lead(r, n, 1, return_pc, context);
}

/* The usual targets of the indirect jump or call at `site` that may be taken in. 0: none, or too little of what happens there. */
static u32 guess(Region *r, u64 site, bool call, u32 context, RegionTarget out[REGION_TARGETS], u32 *covered) {
    RegionTarget all[REGION_TARGETS];
    u32 count = 0, n = r->source->targets ? r->source->targets(r->source->ctx, site, all) : 0;
    *covered = 0;
    for (u32 k = 0; k < n; k++) {
        if (all[k].share < SHARE_MIN || all[k].pc % r->guest->insn_align || !(call ? is_inlinable(r, all[k].pc, context, r->scratch.mode) : is_reached(r, all[k].pc))) continue;
        out[count++] = all[k];
        *covered += all[k].share;
    }
    return *covered >= (u32)(call ? CALLS_MIN : JUMPS_MIN) ? count : 0;
}

/* As end_call, of an indirect jump or call. What else is called is left for good if that is rare: the loop is entered at its head only, then. */
static void end_indirect(Region *r, u32 n, u64 site, bool call, u64 return_pc) {
    RegionTarget targets[REGION_TARGETS];
    u32 context = r->nodes.at[n].context, covered, count = guess(r, site, call, context, targets, &covered);
    r->guarded += count > 0;
    r->nodes.at[n].kind = count ? END_GUESS : call ? END_CALL : END_LEAVE;
    for (u32 k = 0; k < count; k++)
        lead(r, n, k ? k + 1 : 0, targets[k].pc, call ? enter_context(r, context, targets[k].pc, return_pc, 0) : context);
    if (call && covered + RARE < REGION_ALWAYS && is_reached(r, return_pc)) lead(r, n, 1, return_pc, context);
}

static void end_node(Region *r, u32 n, u64 site, u64 next_pc) {
    IrInsn last = *last_insn(&r->scratch);
    RegionNode *a = &r->nodes.at[n];
    const u32 context = a->context;
    const RegionContext c = r->contexts.at[context];
    a->kind = END_LEAVE;
    if (last.op == IR_exit_if) {
        a->kind = END_BRANCH;
        lead(r, n, 1, last.imm, context);
        lead(r, n, 0, next_pc, context);
    } else if (last.op == IR_exit && last.aux == EXIT_JUMP) {
        a->kind = END_JUMP;
        lead(r, n, 0, last.imm, context);
    } else if (last.op == IR_exit) {
        end_call(r, n, last.imm, r->scratch.args.at[last.a]);
    } else if (last.op == IR_exit_ind && last.aux != EXIT_RET) {
        end_indirect(r, n, site, last.aux == EXIT_CALL, last.imm);
    } else if (last.op == IR_exit_ind && context) {
        a->kind = END_RETURN;
        lead(r, n, 0, c.return_pc, c.parent);
    }
}

/* Follows the code from a node's pc to its end. A branch that was never taken does not end it. */
static void discover(Region *r, u32 n, u32 mode) {
    u64 pc = r->nodes.at[n].pc;
    u32 context = r->nodes.at[n].context, count = 0;
    unsigned len = 0;
    bool ended = false;
    r->nodes.at[n].lens = r->lens.len;
    while (!ended && count < NODE_INSNS && (!count || find_node(r, pc, context) == NONE)) {
        len = lift_scratch(r, pc, len, mode, context);
        if (!len || touches_state(&r->scratch, 1)) break;
        vec_push(&r->lens, (u8)len);
        pc += len;
        count++;
        const IrInsn *last = last_insn(&r->scratch);
        ended = r->scratch.closed || (last->op == IR_exit_if && is_reached(r, last->imm));
    }
    RegionNode *a = &r->nodes.at[n];
    a->end = pc;
    a->count = count;
    a->kind = END_FALL;
    a->known = count > 0;
    r->insns += count;
    if (ended) end_node(r, n, pc - len, pc);
    else if (count && (count == NODE_INSNS || find_node(r, pc, context) != NONE)) lead(r, n, 0, pc, context);
    else a->target[0] = pc; /* cannot go on */
}

/* A jump may have been found that leads between the instruction that says how many bytes a call is about and the call: then that is known no more, and the call
 * leaves. */
static void check_known_calls(Region *r) {
    for (u32 n = 0; n < r->nodes.len; n++) {
        RegionNode *a = &r->nodes.at[n];
        if (!a->known || a->kind != END_CALL || a->next[0] == NONE) continue;
        RegionNode *stub = &r->nodes.at[a->next[0]];
        const RegionContext *c = &r->contexts.at[stub->context];
        if (!c->known || c->known == known_call(r, n, c->entry)) continue;
        if (stub->known) stub->known = false, r->insns -= stub->count;
        a->next[0] = NONE;
        a->next[1] = find_node(r, c->return_pc, a->context);
        a->target[1] = c->return_pc;
        r->known--;
    }
}

static void discover_all(Region *r, u64 pc, u32 mode) {
    node_at(r, pc, 0);
    for (u32 k = 0; k < r->work.len && r->insns < r->limits.insns && r->nodes.len < r->limits.blocks; k++) discover(r, r->work.at[k], mode);
    check_known_calls(r);
}

/* --- what belongs together ------------------------------------------------------------------------------ */

/* One round of marking (mark 3) what leads to what is marked; calls that return count as edges. */
static bool mark_round(Region *r) {
    bool changed = false;
    for (u32 n = r->nodes.len; n-- > 0;) {
        RegionNode *a = &r->nodes.at[n];
        for (u32 k = 0; k < NEXTS && a->mark != 3; k++)
            if (a->known && a->next[k] != NONE && r->nodes.at[a->next[k]].mark == 3) a->mark = 3, changed = true;
    }
    return changed;
}

/* Leaves out what does not lead back to the head, if anything does. Bought: a loop's region is the loop, not the rest of its function
 * too, which the next loop's region would hold again. */
static void keep_cycle(Region *r) {
    bool cycle = false;
    r->nodes.at[0].mark = 3;
    while (mark_round(r)) {}
    for (u32 n = 0; n < r->nodes.len; n++)
        for (u32 k = 0; k < NEXTS; k++) cycle |= r->nodes.at[n].known && r->nodes.at[n].next[k] == 0;
    for (u32 n = 0; n < r->nodes.len; n++) {
        RegionNode *a = &r->nodes.at[n];
        if (cycle && a->mark != 3 && a->known) a->known = false, r->insns -= a->count;
        a->mark = 0;
    }
    r->cycle = cycle;
}

/* Marks (mark 3) what leads back to the head by a backward branch: the loop that the head is of, not those around it. */
static void mark_loop(Region *r) {
    for (bool changed = true; changed;) {
        changed = false;
        for (u32 n = r->nodes.len; n-- > 1;) {
            RegionNode *a = &r->nodes.at[n];
            for (u32 k = 0; k < NEXTS && a->known && a->mark != 3; k++) {
                bool leads = a->next[k] == 0 ? a->pc >= r->nodes.at[0].pc || a->context : a->next[k] != NONE && r->nodes.at[a->next[k]].mark == 3;
                if (leads) a->mark = 3, changed = true;
            }
        }
    }
    r->nodes.at[0].mark = 3;
}

/* Does control come back behind a call that leaves? */
static bool is_entered_behind(const RegionNode *a) { return (a->kind == END_CALL && a->next[0] == NONE) || (a->kind == END_GUESS && a->next[1] != NONE); }

/* Instructions in the loop; NONE: control comes in elsewhere than at the head, behind a call that leaves. */
static u32 loop_insns(const Region *r) {
    u32 total = 0;
    for (u32 n = 0; n < r->nodes.len; n++) {
        const RegionNode *a = &r->nodes.at[n];
        if (a->mark != 3) continue;
        if (is_entered_behind(a)) return NONE;
        total += a->count;
    }
    return total;
}

/* The loop's first round gets a copy of its own, from which it goes on to the head. Condition: a small loop that is entered at its head only. Bought:
 * what the registers hold at the head is then the loop's own doing, and known to be a word, a boxed single, or what can be computed
 * again of others; at the entry they may hold anything. A quarter of SHA-256's time, a tenth of a matrix product's in single precision. */
static void peel(Region *r) {
    u32 count = r->nodes.len;
    mark_loop(r);
    u32 insns = loop_insns(r);
    if (r->cycle && insns <= r->limits.peel_insns) {
        r->insns += insns;
        r->entry = count;
        for (u32 n = 0; n < count; n++) {
            if (r->nodes.at[n].mark != 3) continue;
            r->nodes.at[n].copy = r->nodes.len;
            vec_push(&r->nodes, r->nodes.at[n]);
        }
    }
    for (u32 n = 0; n < r->nodes.len; n++) {
        RegionNode *a = &r->nodes.at[n];
        for (u32 k = 0; k < NEXTS && n >= count; k++)
            if (a->next[k] != NONE && a->next[k] != 0 && r->nodes.at[a->next[k]].mark == 3) a->next[k] = r->nodes.at[a->next[k]].copy;
    }
    for (u32 n = 0; n < r->nodes.len; n++) r->nodes.at[n].mark = 0;
}

static void drop_unknown_edges(Region *r) {
    for (u32 n = 0; n < r->nodes.len; n++)
        for (u32 k = 0; k < NEXTS; k++)
            if (r->nodes.at[n].next[k] != NONE && !r->nodes.at[r->nodes.at[n].next[k]].known) r->nodes.at[n].next[k] = NONE;
}

/* An edge along which control goes without leaving. */
static bool is_edge(const RegionNode *a, u32 k) { return a->next[k] != NONE && !((a->kind == END_CALL || a->kind == END_GUESS) && k == 1); }

/* Edges to nodes under way of a walk in depth first order: at least one in each cycle. */
static void find_back_edges(Region *r, u32 start) {
    if (r->nodes.at[start].mark) return;
    r->work.len = 0;
    vec_push(&r->work, start * 8);
    r->nodes.at[start].mark = 1;
    while (r->work.len) {
        u32 *top = &r->work.at[r->work.len - 1], k = (*top)++ & 7;
        RegionNode *a = &r->nodes.at[*top >> 3];
        if (k == NEXTS) {
            a->mark = 2;
            r->work.len--;
        } else if (is_edge(a, k)) {
            RegionNode *to = &r->nodes.at[a->next[k]];
            if (to->mark == 1) a->back[k] = true, r->loops++;
            if (to->mark) continue;
            to->mark = 1;
            vec_push(&r->work, a->next[k] * 8);
        }
    }
}

/* --- emission ------------------------------------------------------------------------------------------- */

/* Blocks that stand behind those of the nodes, in the order of their numbers. */
typedef struct Extra {
    enum { EXTRA_EXIT, EXTRA_BACK, EXTRA_ENTRY, EXTRA_GUARD, EXTRA_INDIRECT } kind;
    u64 pc;    /* of an indirect call: where it returns to */
    u32 block; /* where it jumps to; of an indirect call, what it returns to */
    u32 other; /* of a guard: if the target is another */
    Ref value; /* the target */
    ExitKind how;
} Extra;

typedef struct Emit {
    Region *r;
    IrFunc *f;
    u32 first_extra; /* number of extra.at[0] */
    VEC(Extra) extra;
    bool guessed_late; /* a node has got its guess after it was emitted */
} Emit;

static u32 add_extra(Emit *e, Extra x) {
    vec_push(&e->extra, x);
    return e->first_extra + e->extra.len - 1;
}

/* The block that edge k of a node leads to. */
static u32 edge(Emit *e, const RegionNode *a, u32 k) {
    if (a->next[k] == NONE) return add_extra(e, (Extra){.kind = EXTRA_EXIT, .pc = a->target[k]});
    u32 block = e->r->nodes.at[a->next[k]].block;
    return a->back[k] ? add_extra(e, (Extra){.kind = EXTRA_BACK, .pc = a->target[k], .block = block}) : block;
}

static void unemit(IrFunc *f) {
    f->insns.len--;
    f->closed = false;
}

/* After the last instruction of a block, whatever folding made of it. */
static void emit_branch(Emit *e, const RegionNode *a) {
    IrInsn last = *last_insn(e->f);
    bool taken = e->f->closed, asked = !taken && last.op == IR_exit_if;
    if (taken || asked) unemit(e->f);
    if (!asked) {
        ir_jmp(e->f, edge(e, a, taken), 0, NULL);
        return;
    }
    if (a->next[1] == NONE) { /* a side exit */
        ir_exit_if(e->f, (Ref){last.a}, last.imm);
        ir_jmp(e->f, edge(e, a, 0), 0, NULL);
        return;
    }
    u32 then_block = edge(e, a, 1);
    ir_br(e->f, (Ref){last.a}, then_block, edge(e, a, 0));
}

static u32 add_entry(Emit *e, const RegionNode *a) {
    return a->next[1] == NONE ? 0 : add_extra(e, (Extra){.kind = EXTRA_ENTRY, .pc = a->target[1], .block = e->r->nodes.at[a->next[1]].block});
}

/* A transfer that leaves. */
static void emit_leave(Emit *e, const RegionNode *a) {
    IrInsn i = *last_insn(e->f);
    if (i.aux != EXIT_CALL) return;
    i.b = add_entry(e, a);
    unemit(e->f);
    ir_emit(e->f, (IrOp)i.op, IR_VOID, i.aux, i.aux2, (Ref){i.a}, (Ref){i.b}, (Ref){0}, i.imm);
}

static void emit_guard(Emit *e, Ref value, u64 pc, u32 then_block, u32 other) {
    Ref same = ir_imm(e->f, IR_eq, value, pc);
    ir_br(e->f, same, then_block, other);
}

/* Compares the target with those that were guessed: the first one here, the others in blocks of their own. */
static void emit_guess(Emit *e, const RegionNode *a) {
    IrInsn i = *last_insn(e->f);
    u32 entry = i.aux == EXIT_CALL && a->kind != END_JUMP ? add_entry(e, a) : 0;
    u32 other = add_extra(e, (Extra){.kind = EXTRA_INDIRECT, .pc = i.imm, .block = entry, .value = {i.a}, .how = i.aux == EXIT_RET ? EXIT_JUMP : (ExitKind)i.aux});
    for (u32 k = NEXTS - 1; k > 1; k--) {
        if (a->next[k] == NONE) continue;
        u32 then_block = edge(e, a, k);
        other = add_extra(e, (Extra){.kind = EXTRA_GUARD, .pc = a->target[k], .block = then_block, .other = other, .value = {i.a}});
    }
    unemit(e->f);
    if (a->next[0] == NONE) ir_jmp(e->f, other, 0, NULL);
    else emit_guard(e, (Ref){i.a}, a->target[0], edge(e, a, 0), other);
}

/* Folding may have made a direct transfer of an indirect one. And what was a direct one is not, if a jump leads between auipc and jalr. */
static void emit_transfer(Emit *e, const RegionNode *a) {
    IrInsn i = *last_insn(e->f);
    u32 k = 0;
    if (i.op == IR_exit) {
        while (k < NEXTS && (k == 1 || a->next[k] == NONE || a->target[k] != i.imm)) k++;
        if (k == NEXTS) {
            emit_leave(e, a);
        } else {
            unemit(e->f);
            ir_jmp(e->f, edge(e, a, k), 0, NULL);
        }
    } else if (a->kind == END_CALL && a->next[0] == NONE) {
        emit_leave(e, a);
    } else {
        emit_guess(e, a);
    }
}

static void emit_end(Emit *e, const RegionNode *a) {
    IrFunc *f = e->f;
    switch ((NodeEnd)a->kind) {
    case END_BRANCH: emit_branch(e, a); break;
    case END_FALL: ir_jmp(f, edge(e, a, 0), 0, NULL); break;
    case END_JUMP: case END_CALL: case END_GUESS: emit_transfer(e, a); break;
    case END_RETURN:
        if (a->next[0] != NONE) emit_transfer(e, a);
        break;
    case END_LEAVE: break;
    }
}

/* What leads to a node says what code may expect of vectors there. */
static void hand_on_guess(Emit *e, const RegionNode *a) {
    for (u32 k = 0; k < NEXTS; k++) {
        RegionNode *to = a->next[k] == NONE ? NULL : &e->r->nodes.at[a->next[k]];
        if (!to || to->guess || !e->f->guess) continue;
        to->guess = e->f->guess;
        e->guessed_late |= to <= a && to->guess != e->r->source->guess;
    }
}

static bool emit_node(Emit *e, const RegionNode *a) {
    IrFunc *f = e->f;
    u64 pc = a->pc;
    ir_block(f);
    f->guess = a->guess ? a->guess : e->r->source->guess;
    for (u32 k = 0; k < a->count; k++) {
        unsigned len = lift_one(e->r, f, pc, a->context);
        if (len != e->r->lens.at[a->lens + k]) return false; /* other bytes than a moment ago */
        pc += len;
        if (f->closed && (k + 1 < a->count || a->kind == END_FALL)) return true; /* a side exit that folding made sure of */
    }
    hand_on_guess(e, a);
    emit_end(e, a);
    return true;
}

static void emit_extra(Emit *e, const Extra *x) {
    IrFunc *f = e->f;
    u32 n = ir_block(f);
    ASSERT(n == e->first_extra + (u32)(x - e->extra.at));
    switch (x->kind) {
    case EXTRA_EXIT: ir_exit(f, x->pc); return;
    case EXTRA_GUARD: emit_guard(e, x->value, x->pc, x->block, x->other); return;
    case EXTRA_INDIRECT: ir_emit(f, IR_exit_ind, IR_VOID, x->how, 0, x->value, (Ref){x->block}, (Ref){0}, x->how == EXIT_CALL ? x->pc : 0); return;
    case EXTRA_BACK: ir_emit(f, IR_poll, IR_VOID, 0, 0, (Ref){0}, (Ref){0}, (Ref){0}, x->pc); break;
    case EXTRA_ENTRY:
        f->insns.at[f->insns.len - 1].aux = 1;
        break;
    }
    ir_jmp(f, x->block, 0, NULL);
}

static bool emit_once(Region *r, IrFunc *f, u64 pc, u32 mode, bool *again) {
    Emit e = {.r = r, .f = f, .first_extra = 1};
    for (u32 n = 0; n < r->nodes.len; n++)
        if (r->nodes.at[n].known) r->nodes.at[n].block = e.first_extra++;
    ir_reset(f, r->guest, pc, mode);
    ir_emit(f, IR_poll, IR_VOID, 1, 0, (Ref){0}, (Ref){0}, (Ref){0}, pc); /* counts entries: tier.c, judge */
    ir_jmp(f, r->nodes.at[r->entry].block, 0, NULL);
    bool ok = true;
    for (u32 n = 0; n < r->nodes.len && ok; n++)
        if (r->nodes.at[n].known) ok = emit_node(&e, &r->nodes.at[n]);
    for (u32 k = 0; k < e.extra.len && ok; k++) emit_extra(&e, &e.extra.at[k]);
    vec_drop(&e.extra);
    *again = e.guessed_late;
    return ok;
}

/* Again, if a node came before who knew what to expect there. */
static bool emit_all(Region *r, IrFunc *f, u64 pc, u32 mode) {
    bool again;
    return emit_once(r, f, pc, mode, &again) && (!again || emit_once(r, f, pc, mode, &again));
}

/* --------------------------------------------------------------------------------------------------------- */

static void add_range(Region *r, u64 pc, u64 end) {
    u32 k = 0;
    while (k < r->ranges.len && r->ranges.at[k].pc + r->ranges.at[k].size < pc) k++;
    u32 last = k; /* those from k up to last touch the new one */
    while (last < r->ranges.len && r->ranges.at[last].pc <= end) {
        pc = MIN(pc, r->ranges.at[last].pc);
        end = MAX(end, r->ranges.at[last].pc + r->ranges.at[last].size);
        last++;
    }
    if (last == k) vec_push(&r->ranges, ((RegionRange){0}));
    u32 from = last == k ? k : last, to = k + 1, move = r->ranges.len - (last == k) - from;
    memmove(&r->ranges.at[to], &r->ranges.at[from], move * sizeof(RegionRange));
    r->ranges.len -= last == k ? 0 : last - k - 1;
    r->ranges.at[k] = (RegionRange){pc, (u32)(end - pc)};
}

/* The nodes of the region, and which edges close cycles. False: there is not one. */
static bool gather(Region *r, u64 pc, u32 mode) {
    r->ranges.len = r->callees.len = r->nodes.len = r->contexts.len = r->lens.len = r->work.len = 0;
    r->insns = r->loops = r->inlined = r->guarded = r->known = r->entry = 0;
    r->recursive = false;
    memset(r->cells, 0, sizeof r->cells);
    r->round++;
    vec_push(&r->contexts, ((RegionContext){.entry = pc}));
    discover_all(r, pc, mode);
    if (!r->nodes.at[0].known) return false;
    keep_cycle(r);
    drop_unknown_edges(r);
    peel(r);
    find_back_edges(r, r->entry);
    for (u32 n = 0; n < r->nodes.len; n++)
        if (r->nodes.at[n].known) find_back_edges(r, n);
    return true;
}

static bool never_leaves(const Region *r) {
    for (u32 n = 0; n < r->nodes.len; n++)
        if (r->nodes.at[n].known && is_entered_behind(&r->nodes.at[n])) return false;
    return r->loops;
}

/* A loop that leaves for a callee that is not small is gathered again with callees that are larger. Condition: then it does not leave at all.
 * Bought: loops that call functions of libm or the like, of which little was optimised: six such calls took 2.7 times native code, and take 2.1.
 * Without the condition a loop of malloc and free took a tenth longer. */
static bool gather_all(Region *r, u64 pc, u32 mode) {
    const RegionLimits limits = r->limits;
    if (!gather(r, pc, mode)) return false;
    if (never_leaves(r) || !r->cycle || r->recursive) return true;
    r->limits.inline_insns = r->limits.inline_loop_insns = r->limits.inline_only_insns;
    if (gather(r, pc, mode) && never_leaves(r)) return true;
    r->limits = limits;
    return gather(r, pc, mode);
}

bool region_build(Region *r, const RegionSource *source, const RegionLimits *limits, const Guest *guest, u64 pc, u32 mode, IrFunc *f) {
    r->source = source;
    r->guest = guest;
    r->limits = *limits;
    r->why = NULL;
    if (!gather_all(r, pc, mode)) {
        r->why = "its first instruction cannot be taken in";
        return false;
    }
    /* Entering and leaving a region moves many registers: what runs once between costs more than it gains, unless it is long. */
    if ((!r->loops && r->insns < LONG_INSNS) || r->recursive) {
        r->why = r->recursive ? "it calls itself" : "it has no loop";
        return false;
    }
    for (u32 n = 0; n < r->nodes.len; n++)
        if (r->nodes.at[n].known) add_range(r, r->nodes.at[n].pc, r->nodes.at[n].end);
    if (!emit_all(r, f, pc, mode)) {
        r->why = "its code changed";
        return false;
    }
    return true;
}

void region_drop(Region *r) {
    vec_drop(&r->ranges);
    vec_drop(&r->callees);
    vec_drop(&r->nodes);
    vec_drop(&r->contexts);
    vec_drop(&r->lens);
    vec_drop(&r->work);
    vec_drop(&r->scan);
    ir_drop(&r->scratch);
}
