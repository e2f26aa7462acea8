/* SPDX-License-Identifier: Apache-2.0 */
/* Regions, step one: blocks and edges, loops and how often they run, what is fused, and who wants which value where.
 *
 * Frequency is guessed: eight times as often per loop around a block. Wants come in two kinds: an operation's (it reads the value), and a
 * frame's (the value must be found if the region is left there). A segment that only frames want is `idle`: memory is as good
 * as a register. */
#include "host/x64/region.h"

enum { MAX_BLOCKS = 4000, MAX_INSNS = 60000, FREQ_SHIFT = 3, MAX_DEPTH = 6 };

const IrFrame *region_frame(const Region *r, u32 id) {
    const IrInsn *i = cg_insn(r->g, id);
    u32 n = ir_has_frame((IrOp)i->op) ? i->c : r->frame_of[id];
    return n ? &r->g->f->frames.at[n - 1] : NULL;
}

static bool looks_at_frame(const IrInsn *i) { return (ir_op_facts[i->op] & (F_FAULTS | F_EXIT)) != 0; }

/* --- blocks and edges -------------------------------------------------------------------------------- */

static void add_succ(RBlock *b, unsigned k, u64 n) { b->succ[k] = (u32)n; }

static void find_edges(const IrFunc *f, RBlock *b, const IrInsn *i) {
    b->succ[0] = b->succ[1] = b->next = NO_BLOCK;
    if (i->op == IR_jmp) {
        add_succ(b, 0, i->imm);
    } else if (i->op == IR_br) {
        add_succ(b, 0, i->imm & 0xffffffff);
        if (i->imm >> 32 != b->succ[0]) add_succ(b, 1, i->imm >> 32);
    } else if ((i->op == IR_exit || i->op == IR_exit_ind) && i->aux == EXIT_CALL && i->b) {
        b->next = i->b;
        b->return_pc = i->op == IR_exit ? f->args.at[i->a] : i->imm;
    }
}

/* False if blocks are not numbered in their order, or one is not closed. */
static bool find_blocks(Region *r) {
    IrFunc *f = r->g->f;
    u32 n = 0, frame = 0;
    for (u32 id = 1; id < f->insns.len; id++) n += f->insns.at[id].op == IR_block;
    if (!n || n > MAX_BLOCKS || f->insns.len > MAX_INSNS) return false;
    r->blocks = arena_alloc(&r->arena, n * sizeof(RBlock));
    r->block_count = n;
    n = 0;
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_block) {
            if (i->imm != n || (n && !r->blocks[n - 1].last)) return false;
            r->blocks[n++] = (RBlock){.first = id, .entry = n == 1 || i->aux == 1};
            frame = 0;
        }
        if (!n) continue;
        if (i->op == IR_insn) frame = i->c;
        if (ir_op_facts[i->op] & F_TERM) find_edges(f, &r->blocks[n - 1], i), r->blocks[n - 1].last = id;
        r->block_of[id] = (u16)(n - 1);
        r->frame_of[id] = frame;
    }
    for (u32 b = 0; b < n; b++) r->blocks[b].end = b + 1 < n ? r->blocks[b + 1].first : f->insns.len;
    return r->blocks[n - 1].last != 0;
}

/* Every edge in turn, a call's way on included. */
static u32 edge(const RBlock *b, unsigned k) { return k < 2 ? b->succ[k] : b->next; }

static bool find_preds(Region *r) {
    u32 total = 0;
    for (u32 n = 0; n < r->block_count; n++)
        for (unsigned k = 0; k < 3; k++) {
            u32 to = edge(&r->blocks[n], k);
            if (to == NO_BLOCK) continue;
            if (to >= r->block_count || (k < 2) == r->blocks[to].entry) return false;
            r->blocks[to].pred_count++, total++;
        }
    r->preds = arena_alloc(&r->arena, (total + 1) * sizeof(u32));
    for (u32 n = 0, at = 0; n < r->block_count; n++) r->blocks[n].preds = at, at += r->blocks[n].pred_count, r->blocks[n].pred_count = 0;
    for (u32 n = 0; n < r->block_count; n++)
        for (unsigned k = 0; k < 3; k++) {
            u32 to = edge(&r->blocks[n], k);
            if (to != NO_BLOCK) r->preds[r->blocks[to].preds + r->blocks[to].pred_count++] = n;
        }
    return true;
}

/* --- loops ------------------------------------------------------------------------------------------- */

/* A region is often entered in the middle of a nest of loops, at the innermost one's head, for which all the others would seem to
 * be ways back to that. So heads are chosen as the guest's compiler meant them: within what is strongly connected, the lowest guest
 * pc that an edge leads back to. Without the edges to its head, the loops within a loop are what is strongly connected still. */
typedef struct Search { /* Tarjan's, over the blocks of one loop */
    u32 *index, *low, *stack, *path;
    u8 *edge;        /* next edge of each block on the path */
    u32 count, depth;
} Search;

/* First and highest guest pc of a block; one without instructions stands where its predecessor ends. */
static void find_pc(Region *r, u32 n) {
    RBlock *b = &r->blocks[n];
    bool some = false;
    for (u32 id = b->first; id <= b->last; id++) {
        if (cg_insn(r->g, id)->op != IR_insn) continue;
        u64 pc = cg_insn(r->g, id)->imm;
        if (!some) b->pc = pc;
        b->last_pc = MAX(b->last_pc, pc);
        some = true;
    }
    if (!some && b->pred_count && r->preds[b->preds] < n) b->pc = b->last_pc = r->blocks[r->preds[b->preds]].last_pc;
}

static bool follows(const Region *r, u32 loop, u32 to) { return to != NO_BLOCK && r->blocks[to].loop == loop && r->loops.at[loop].head != to; }

static u32 choose_head(const Region *r, const u32 *body, u32 count) {
    u32 best = body[0];
    u64 best_pc = ~0ull;
    for (u32 k = 0; k < count; k++)
        for (unsigned e = 0; e < 3; e++) {
            u32 to = edge(&r->blocks[body[k]], e);
            if (to == NO_BLOCK || r->blocks[to].loop != r->loops.len - 1) continue;
            u64 pc = r->blocks[to].pc;
            if (pc <= r->blocks[body[k]].last_pc && pc < best_pc) best = to, best_pc = pc;
        }
    return best;
}

/* A strongly connected set, if it is one of more than a block, or a block that leads to itself. */
static void add_loop(Region *r, u32 parent, const u32 *body, u32 count) {
    bool cycle = count > 1;
    for (unsigned e = 0; e < 3; e++) cycle |= edge(&r->blocks[body[0]], e) == body[0];
    if (!cycle) return;
    vec_push(&r->loops, ((Loop){.parent = parent, .depth = r->loops.at[parent].depth + 1}));
    for (u32 k = 0; k < count; k++) r->blocks[body[k]].loop = r->loops.len - 1;
    r->loops.at[r->loops.len - 1].head = choose_head(r, body, count);
}

static void search(Region *r, Search *s, u32 loop, u32 root) {
    u32 top = 0;
    s->path[top++] = root;
    s->index[root] = s->low[root] = ++s->count;
    s->edge[root] = 0;
    s->stack[s->depth++] = root;
    while (top) {
        u32 n = s->path[top - 1];
        if (s->edge[n] < 3) {
            u32 to = edge(&r->blocks[n], s->edge[n]++);
            if (!follows(r, loop, to)) continue;
            if (s->index[to]) {
                s->low[n] = MIN(s->low[n], s->index[to]);
                continue;
            }
            s->index[to] = s->low[to] = ++s->count;
            s->edge[to] = 0;
            s->stack[s->depth++] = s->path[top++] = to;
            continue;
        }
        top--;
        if (top) s->low[s->path[top - 1]] = MIN(s->low[s->path[top - 1]], s->low[n]);
        if (s->low[n] != s->index[n]) continue;
        u32 first = s->depth;
        while (s->stack[--first] != n) {}
        for (u32 k = first; k < s->depth; k++) r->blocks[s->stack[k]].loop = NO_LOOP;
        add_loop(r, loop, s->stack + first, s->depth - first);
        s->depth = first;
    }
}

/* Finds the loops directly within one. Blocks that are in none of them come back to it at the end. */
static void find_inner_loops(Region *r, Search *s, u32 loop) {
    for (u32 n = 0; n < r->block_count; n++)
        if (r->blocks[n].loop == loop) s->index[n] = 0;
    s->count = s->depth = 0;
    for (u32 n = 0; n < r->block_count; n++)
        if (r->blocks[n].loop == loop && !s->index[n]) search(r, s, loop, n);
    for (u32 n = 0; n < r->block_count; n++)
        if (r->blocks[n].loop == NO_LOOP) r->blocks[n].loop = loop;
}

static void find_loops(Region *r) {
    u32 n = r->block_count;
    Search s = {.index = arena_alloc(&r->arena, n * 4), .low = arena_alloc(&r->arena, n * 4), .stack = arena_alloc(&r->arena, n * 4 + 4),
        .path = arena_alloc(&r->arena, n * 4 + 4), .edge = arena_alloc(&r->arena, n)};
    for (u32 k = 0; k < n; k++) find_pc(r, k);
    r->loops.len = 0;
    vec_push(&r->loops, ((Loop){.head = NO_BLOCK}));
    for (u32 k = 0; k < r->loops.len; k++)
        if (r->loops.at[k].depth < 2 * MAX_DEPTH) find_inner_loops(r, &s, k);
    u64 sum = 0;
    r->cover = arena_alloc(&r->arena, (n + 1) * sizeof(u64));
    for (u32 k = 0; k < n; k++) {
        RBlock *b = &r->blocks[k];
        b->freq = 1u << FREQ_SHIFT * MIN(r->loops.at[b->loop].depth, (u32)MAX_DEPTH);
        r->cover[k] = sum;
        sum += (u64)(region_end(b) - region_start(b)) * b->freq;
    }
}

/* --- uses -------------------------------------------------------------------------------------------- */

static void each_operand(Region *r, const IrInsn *i, u32 id, void (*fn)(Region *, u32, u32)) {
    const u32 operand[3] = {i->a, i->b, i->c};
    for (unsigned k = 0; k < ir_op_operands[i->op]; k++) {
        u32 v = cg_root(r->g, operand[k]);
        if (r->g->val.at[v].fused) each_operand(r, cg_insn(r->g, v), id, fn);
        else fn(r, v, id);
    }
}

void region_each_use(Region *r, u32 id, void (*fn)(Region *, u32, u32)) {
    const IrInsn *i = cg_insn(r->g, id);
    if (cg_is_alias(r->g, i) || r->g->val.at[id].fused) return;
    if (i->op != IR_call && i->op != IR_jmp) {
        each_operand(r, i, id, fn);
        return;
    }
    for (u32 k = 0; k < i->b; k++) fn(r, cg_root(r->g, (u32)r->g->f->args.at[i->a + k]), id);
}

static void each_state(Region *r, u32 id, void (*fn)(Region *, u32, u32)) {
    const IrFrame *frame = looks_at_frame(cg_insn(r->g, id)) ? region_frame(r, id) : NULL;
    if (!frame) return;
    for (u32 k = 0; k < frame->state_count; k++) {
        u32 v = cg_root(r->g, r->g->f->states.at[frame->state + k].value);
        if (region_is_recipe(r, v)) each_operand(r, cg_insn(r->g, v), id, fn);
        else fn(r, v, id);
    }
}

static void count_use(Region *r, u32 v, u32 id) {
    IrInsn *i = cg_insn(r->g, v);
    i->uses++;
    i->last = MAX(i->last, id);
}

static void count_read(Region *r, u32 v, u32 id) {
    count_use(r, v, id);
    if (!cg_is_alias(r->g, cg_insn(r->g, id))) r->real[cg_root(r->g, v)]++;
}

static void count_frame(Region *r, u32 frame) {
    const IrFrame *f = &r->g->f->frames.at[frame - 1];
    for (u32 k = 0; k < f->state_count; k++) count_use(r, r->g->f->states.at[f->state + k].value, 0);
}

/* From the last to the first, so that what only dead code reads is dead as well. */
static void count_uses(Region *r) {
    IrFunc *f = r->g->f;
    for (u32 id = 0; id < f->insns.len; id++) f->insns.at[id].uses = f->insns.at[id].last = 0;
    for (u32 id = f->insns.len - 1; id > 0; id--) {
        IrInsn *i = &f->insns.at[id];
        if (!i->uses && ((ir_op_facts[i->op] & F_PURE) || i->op == IR_get)) {
            i->op = IR_nop;
            continue;
        }
        if (ir_has_frame((IrOp)i->op) && i->c) count_frame(r, i->c);
        if (i->op == IR_call || i->op == IR_jmp) {
            for (u32 k = 0; k < i->b; k++) count_read(r, (u32)f->args.at[i->a + k], id);
            continue;
        }
        const u32 operand[3] = {i->a, i->b, i->c};
        for (unsigned k = 0; k < ir_op_operands[i->op]; k++) count_read(r, operand[k], id);
    }
}

/* --- who wants what where ------------------------------------------------------------------------------ */

static bool test_and_set(u64 *set, u32 n) {
    u64 bit = 1ull << (n & 63);
    if (set[n >> 6] & bit) return true;
    set[n >> 6] |= bit;
    return false;
}

static void add_live_in(Region *r, RBlock *b, u32 v) {
    if (b->live_count == b->live_cap) {
        u32 cap = b->live_cap ? 2 * b->live_cap : 16, *more = arena_alloc(&r->arena, cap * sizeof(u32));
        if (b->live_count) memcpy(more, b->live_in, b->live_count * sizeof(u32));
        b->live_in = more, b->live_cap = cap;
    }
    b->live_in[b->live_count++] = v;
}

/* The value is wanted at the start of block n: hence at the end of all before it, back to its definition. */
static void want_at_start(Region *r, u32 v, u32 n, bool idle) {
    r->work.len = 0;
    vec_push(&r->work, n);
    while (r->work.len) {
        n = r->work.at[--r->work.len];
        RBlock *b = &r->blocks[n];
        if (!idle && test_and_set(b->wanted, v)) continue;
        if (!test_and_set(b->live, v)) add_live_in(r, b, v);
        else if (idle) continue;
        for (u32 k = 0; k < b->pred_count; k++)
            if (r->value[v].block != r->preds[b->preds + k]) vec_push(&r->work, r->preds[b->preds + k]);
    }
}

static bool is_value(const Region *r, u32 v) { return v && !cg_is_const(r->g, v); }

static void want(Region *r, u32 v, u32 id) {
    if (is_value(r, v) && r->value[v].block != r->block_of[id]) want_at_start(r, v, r->block_of[id], false);
}

static void want_idle(Region *r, u32 v, u32 id) {
    if (is_value(r, v) && r->value[v].block != r->block_of[id]) want_at_start(r, v, r->block_of[id], true);
}

static void find_values(Region *r) {
    IrFunc *f = r->g->f;
    u32 words = f->insns.len / 64 + 1;
    for (u32 n = 0; n < r->block_count; n++) {
        RBlock *b = &r->blocks[n];
        b->live = arena_alloc(&r->arena, words * 8);
        b->wanted = arena_alloc(&r->arena, words * 8);
        bool head = true;
        for (u32 id = b->first; id <= b->last; id++) {
            const IrInsn *i = &f->insns.at[id];
            bool get = i->op == IR_get && b->entry;
            if (i->op != IR_block && i->op != IR_nop && i->op != IR_const && i->op != IR_param && i->op != IR_insn && !get) head = false;
            r->value[id] = (Value){.block = (u16)n, .last_reg = NO_REG, .slot = -1, .place = PLACE_NONE, .param = i->op == IR_param || (get && head)};
            if (r->value[id].param && get && r->g->pin[i->imm] == NO_REG && !r->slot_written[i->imm]) r->value[id].slot = (i16)i->imm;
        }
    }
}

static void find_written_slots(Region *r) {
    const IrFunc *f = r->g->f;
    memset(r->slot_written, 0, sizeof r->slot_written);
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_put || (i->op == IR_get && !r->blocks[r->block_of[id]].entry)) r->slot_written[i->imm] = true;
        if (i->op == IR_call && (f->guest->helpers[i->imm].facts & HELPER_WRITES)) memset(r->slot_written, 1, sizeof r->slot_written);
    }
}

static void add_seg(Region *r, u32 v, u32 from, u32 to, bool idle) {
    Value *x = &r->value[v];
    Seg *next = &r->segs.at[x->seg];
    if (x->seg && next->from == to && next->idle == idle) {
        next->from = from;
        return;
    }
    vec_push(&r->segs, ((Seg){.from = from, .to = to, .value = v, .next = x->seg, .idle = idle}));
    x->seg = r->segs.len - 1;
}

/* Value v, wanted up to r->end[v], is there from `from`. */
static void close_segs(Region *r, u32 v, u32 from) {
    u32 hot = r->end[v].hot, any = r->end[v].any;
    if (any > MAX(hot, from)) add_seg(r, v, MAX(hot, from), any, true);
    if (hot > from) add_seg(r, v, from, hot, false);
    r->end[v].hot = r->end[v].any = 0;
}

static u32 read_until(const Region *r, u32 id) { return cg_insn(r->g, id)->op == IR_jmp ? region_end(&r->blocks[r->block_of[id]]) : 2 * id + 1; }

static void read_here(Region *r, u32 v, u32 id) {
    if (!is_value(r, v)) return;
    u32 to = read_until(r, id);
    r->end[v].any = MAX(r->end[v].any, to);
    r->end[v].hot = MAX(r->end[v].hot, to);
    vec_push(&r->uses, ((Use){to - 1, r->value[v].use}));
    r->value[v].use = r->uses.len - 1;
}

static void state_here(Region *r, u32 v, u32 id) {
    if (is_value(r, v)) r->end[v].any = MAX(r->end[v].any, 2 * id + 1);
}

static void block_segs(Region *r, u32 n) {
    RBlock *b = &r->blocks[n];
    for (unsigned k = 0; k < 2; k++) {
        if (b->succ[k] == NO_BLOCK) continue;
        const RBlock *s = &r->blocks[b->succ[k]];
        for (u32 j = 0; j < s->live_count; j++) {
            u32 v = s->live_in[j];
            r->end[v].any = region_end(b);
            if (s->wanted[v >> 6] >> (v & 63) & 1) r->end[v].hot = region_end(b);
        }
    }
    for (u32 id = b->last; id > b->first; id--) {
        if (!r->value[id].param) close_segs(r, id, 2 * id + 1);
        region_each_use(r, id, read_here);
        each_state(r, id, state_here);
    }
    for (u32 id = b->first + 1; id < b->last; id++)
        if (r->value[id].param) close_segs(r, id, region_start(b));
    for (u32 k = 0; k < b->live_count; k++) close_segs(r, b->live_in[k], region_start(b));
}

bool region_analyse(Region *r) {
    IrFunc *f = r->g->f;
    u32 n = f->insns.len;
    r->block_of = arena_alloc(&r->arena, n * sizeof(u16));
    r->real = arena_alloc(&r->arena, n * sizeof(u32));
    r->frame_of = arena_alloc(&r->arena, n * sizeof(u32));
    r->value = arena_alloc(&r->arena, n * sizeof(Value));
    r->end = arena_alloc(&r->arena, n * sizeof *r->end);
    if (!find_blocks(r) || !find_preds(r)) return false;
    find_loops(r);
    count_uses(r);
    region_select(r);
    find_written_slots(r);
    find_values(r);
    for (u32 id = 1; id < n; id++) {
        region_each_use(r, id, want);
        each_state(r, id, want_idle);
    }
    r->segs.len = r->uses.len = 0;
    vec_push(&r->segs, (Seg){0});
    vec_push(&r->uses, (Use){0});
    for (u32 k = r->block_count; k-- > 0;) block_segs(r, k);
    return true;
}
