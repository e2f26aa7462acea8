/* SPDX-License-Identifier: Apache-2.0 */
/* The back end for regions: promoted functions of many blocks (ir.h), their registers allocated over the whole function.
 *
 * Steps, a file each. region_live.c finds the control-flow graph, its loops, and for each value the *segments* of the code in
 * which somebody still wants it; region_select.c decides between the two what has no code of its own. region_alloc.c gives segments
 * registers, the most wanted first, cut at loops where that helps; what gets none is in memory (region_memory.c), from where
 * region_reload.c takes it for a while. region_regs.c answers the lowering files' questions (cg_use, cg_target, ...) from that, and region.c emits block after
 * block, integer operations by region_int.c where that knows better. region_move.c moves many values at once, on edges and exits;
 * region_leave.c leaves, and writes the maps from which settle() finds the guest's state. docs/why/region-registers.md has the reasons.
 *
 * Positions: instruction id reads at 2 id, and its result is there from 2 id + 1. Parameters, and the gets at the head of an entry
 * block, are there from the start of their block. A value is in one place at a time (region_place); in SSA it never
 * changes, so its copy in memory stays right once it is made (Value.stored).
 *
 * rax and xmm0 are for the lowering of single instructions; all others but rsp and rbp are allocated. An instruction that needs more takes
 * registers that are free there, or borrows: saves one in the Vcpu and loads it again behind itself.
 */
#ifndef HOST_X64_REGION_H
#define HOST_X64_REGION_H

#include "host/x64/cg.h"

/* A place: 0..31 a register; then the Vcpu's spill places; then the guest's slots in the Vcpu; then Vcpu.save. */
typedef u16 Place;
enum { PLACE_SPILL = 32, PLACE_SLOT = PLACE_SPILL + VCPU_SPILLS, PLACE_SAVE = PLACE_SLOT + 160, PLACE_BORROWED = PLACE_SAVE + 32 /* the stubs use the first ones */, PLACE_COUNT = PLACE_SAVE + VCPU_SAVES, PLACE_CONST = 0xfffe, PLACE_NONE = 0xffff };

typedef struct Seg { /* a piece of the code in which a value is wanted */
    u32 from, to;    /* positions, without `to` */
    u32 value;
    u32 next;        /* segment of the same value, ascending; 0: none */
    u32 sibling;     /* of the same bundle, ascending */
    u32 bundle;
    bool idle;       /* only frames want it */
} Seg;

typedef struct Use { /* by an operation, not by a frame */
    u32 at, next;
} Use;

typedef struct Bundle { /* segments that share a register */
    u32 first;       /* segment */
    u32 loop;        /* all of it is in this loop, 0: none */
    u64 weight;      /* what a register would save, per room that it would take */
    u64 saves;       /* what a register would save: frequency of uses */
    u32 set;         /* while it is found out whose values can share a spill place: that of the first one */
    bool whole;      /* not cut */
    u8 reg;          /* NO_REG: memory */
    bool xmm, leaf;  /* leaf: no loops left to cut at */
    bool tail;       /* the idle segments of a value that has others, which lie in other bundles */
    bool done;       /* `reg` is final */
} Bundle;

typedef struct Value {
    u32 seg, use;    /* first ones */
    u32 set;         /* see Bundle.set */
    u32 wish;        /* first Wish */
    u16 block;       /* that defines it */
    u8 last_reg;     /* register of any of its segments, NO_REG */
    bool param;      /* there from the start of its block */
    bool spilled;    /* it is in memory somewhere */
    bool stored;     /* its memory is made at the definition */
    u32 part;        /* its bundle after a cut */
    u32 found;       /* segment that was looked up last */
    u32 tail;        /* bundle of its idle segments, if they have their own */
    i16 slot;        /* unpinned slot whose home is its memory; -1 */
    Place place;     /* where it is wherever it is wanted; PLACE_NONE: in several places */
} Value;

typedef struct Reload { /* a register that is loaded before an instruction: region_reload.c */
    u32 value;
    u8 reg;
    u32 next;        /* of the same instruction */
} Reload;

typedef struct Wish { /* a register that a value had better get: that of another value, or a certain one */
    u32 other;       /* value, or register | WISH_REG */
    u32 weight, next;
} Wish;
#define WISH_REG (1u << 31)

typedef struct RBlock {
    u32 first, last, end; /* ids of `block`, of the terminator, and behind the block */
    u32 succ[2], next;   /* successors' indices, NO_BLOCK; `next` is where a call goes on */
    u32 preds, pred_count; /* range of Region.preds */
    u32 loop, freq;
    u64 unlisted[3];     /* slots that a frame here or further on does not list: their homes must be as they were */
    u64 *live, *wanted;  /* bit sets of values at its start: by anyone, by operations */
    u32 *live_in;        /* values, see live_count */
    u32 live_count, live_cap;
    u32 thread;          /* block that it does nothing but jump to, or itself */
    u32 at, old_at;      /* offset of its code, now and in the pass before */
    u32 branch_at, old_branch_at; /* of the code of its last instruction */
    u32 pads;            /* aligned blocks up to this one */
    u64 pc, last_pc;     /* guest's: the first, the highest */
    u64 return_pc;       /* of the call that ends it */
    bool entry, placed;
    bool free[2];        /* the edges need no moves */
} RBlock;
#define NO_BLOCK ~0u
#define REGION_GPR (1u << RCX | 1u << RDX | 1u << RBX | 1u << RSI | 1u << RDI | 0xff00u)
#define REGION_XMM (0xfffeu << X64_XMM)
enum { REGION_TEMP = RAX, REGION_TEMP_XMM = X64_XMM };

typedef struct Loop {
    u32 head, parent, depth;
} Loop;
#define NO_LOOP ~0u

typedef struct Move {
    Place to, from;  /* from: PLACE_CONST for `imm` */
    u8 type, how;    /* IrType of the value; IR_STATE_* */
    bool done;
    u64 imm;
} Move;

typedef enum RLateKind { RLATE_EXIT, RLATE_POLL, RLATE_TRAP, RLATE_EDGE } RLateKind;
typedef struct RLate { /* code behind the region that needs the places of values at `id` */
    u8 kind, trap;
    u8 *from;        /* rel32 that leads there; NULL: somebody who will look for `at` */
    const u8 *at;    /* where it is, writable */
    u32 id;
    u32 block, to;   /* RLATE_EDGE */
    u64 pc;
} RLate;

typedef struct Fix { /* branch to a block not placed yet */
    u8 *field;
    u32 block;
    bool wide;
} Fix;

enum { FUSED_FLAGS = 1, FUSED_RECIPE = 2 }; /* Val.fused, see region_select.c */

typedef struct RAddress { /* of a load or store, or a sum: values, 0: none */
    u32 base, index;
    u8 scale;
    bool sum, narrow; /* of a sum; of one of 32 bits */
    bool expanded;   /* more than it began with */
    i64 disp;
} RAddress;

typedef struct RLeaf {
    u32 access, next; /* access that has the value in its address */
} RLeaf;

typedef struct Region {
    Arena arena;
    Cg *g;
    RBlock *blocks;
    u32 block_count;
    u32 *preds;
    VEC(Loop) loops;           /* 0: the whole function */
    Value *value;              /* by id */
    u16 *block_of;             /* by id */
    u32 *frame_of;             /* by id: frame + 1 in force */
    struct { u32 hot, any; } *end; /* by id: up to where the value is wanted in the block at hand */
    VEC(u32) work;
    u32 *real, *absorbed;      /* by id: operations that read the value; those that do its work, or do it no more */
    u32 *listed;               /* by id: last operation looked at whose frame lists the value */
    u32 *address, *leaf;       /* by id: of accesses, index of the address; first RLeaf of a value */
    u8 *recipe_size;           /* by id: operations */
    bool *direct;              /* by id: of a recipe: who does its work wants its operands as they are, not their recipes */
    bool *costly;              /* by id: frames would have to keep more values for a recipe */
    u32 *nan_checked, *nan_next; /* by id: operation whose test for NaN stands for the value's own; next one of that operation */
    u32 *nan_first;            /* by id: first value that this operation tests, too */
    bool *silent;              /* by id: comparison that must not raise flags */
    VEC(RAddress) addresses;
    VEC(RLeaf) leaves;
    u32 saves;                 /* Vcpu.save in use by moves */
    u32 operands;              /* registers */
    u32 low_of;                /* the high half of a product, or the remainder of a division, that was made last: rax has the low half, or the quotient */
    u32 flags_of;              /* the sum whose carry is in the flags; 0: none */
    u32 borrowed;              /* registers that the current instruction has saved: in Vcpu.save[number] */
    VEC(Seg) segs;             /* 0 unused, likewise the next three */
    VEC(Use) uses;
    VEC(Wish) wishes;
    VEC(Bundle) bundles;
    VEC(Reload) reloads;
    u32 *reload;               /* by id: first one */
    VEC(u32) heap;
    u64 *taken[32];            /* by register: bit set of positions */
    u64 *cover;                /* by block: sum of length x frequency before it */
    u32 words;                 /* of a set of positions */
    u16 *set_spill;            /* by set: number of the spill place, 0xffff */
    u32 *set_first, *set_next; /* members: values */
    u32 set_count;
    u64 *spill_taken[VCPU_SPILLS + 160]; /* like `taken`; then the homes of slots */
    u32 *loop_part;            /* by loop: bundle made by the cut under way */
    bool slot_written[160];
    VEC(Move) moves;
    u16 readers[PLACE_COUNT];  /* moves not made yet that read the place */
    VEC(RLate) late;
    VEC(Fix) fixes;
    u32 cur_block;
    bool second_pass, joining_sets;
    bool too_hard;             /* the region is given up */
    u32 map_cells[1024];       /* by hash: offset + 1 of a map */
} Region;

/* region_live.c. False: too large. */
bool region_analyse(Region *r);
/* region_select.c: what is fused into what */
void region_select(Region *r);
static inline bool region_defers_nan(const Region *r, u32 id) { return r->nan_checked[id] != 0; }
static inline bool region_is_silent(const Region *r, const IrInsn *i) { return r->silent[i - r->g->f->insns.at]; }
void region_deferred_nans(Cg *g, u32 id); /* behind the region, after the test of operation id found NaN */
X64Mem region_address(Cg *g); /* of the current load, store or sum */
u32 region_carry(const Region *r, u32 v); /* the comparison whose carry the sum is to take in v's stead; 0: none */
bool region_is_lea(const Cg *g); /* has the current sum taken in others? */
static inline bool region_is_recipe(const Region *r, u32 v) { return r->g->val.at[v].fused == FUSED_RECIPE; }
bool region_is_free(const Region *r, unsigned reg, u32 id); /* nothing in it at this instruction */
static inline u32 region_start(const RBlock *b) { return 2 * b->first; }
static inline u32 region_end(const RBlock *b) { return 2 * b->end; }
/* Calls fn for each value that instruction i (of id) reads, through what is fused into it. */
void region_each_use(Region *r, u32 id, void (*fn)(Region *r, u32 value, u32 id));
const IrFrame *region_frame(const Region *r, u32 id); /* the frame that instruction id leaves or faults with; NULL: none */

/* Sets of positions: bit vectors. */
static inline u64 positions_from(u32 from) { return ~0ull << (from & 63); }
static inline u64 positions_to(u32 to) { return ~0ull >> (63 - ((to - 1) & 63)); }

static inline bool positions_free(const u64 *set, u32 from, u32 to) {
    u32 a = from >> 6, b = (to - 1) >> 6;
    if (a == b) return !(set[a] & positions_from(from) & positions_to(to));
    if ((set[a] & positions_from(from)) || (set[b] & positions_to(to))) return false;
    for (u32 k = a + 1; k < b; k++)
        if (set[k]) return false;
    return true;
}

static inline void positions_take(u64 *set, u32 from, u32 to) {
    u32 a = from >> 6, b = (to - 1) >> 6;
    if (a == b) {
        set[a] |= positions_from(from) & positions_to(to);
        return;
    }
    set[a] |= positions_from(from);
    set[b] |= positions_to(to);
    for (u32 k = a + 1; k < b; k++) set[k] = ~0ull;
}

/* region_alloc.c */
bool region_allocate(Region *r);
u32 region_seg_at(const Region *r, u32 value, u32 pos); /* 0: none */
/* Where a value is defined, and how often the code at a position runs. */
static inline u32 region_definition(const Region *r, u32 v) { return r->value[v].param ? region_start(&r->blocks[r->value[v].block]) : 2 * v + 1; }
static inline u32 region_freq_at(const Region *r, u32 pos) { return r->blocks[r->block_of[pos / 2]].freq; }

/* region_memory.c */
void region_list_sets(Region *r);
bool region_find_memory(Region *r); /* false: too little */
Place region_memory(const Region *r, u32 value);
/* Where the value (a root, cg_root) is at a position. PLACE_CONST for constants, PLACE_NONE if nobody wants it. */
Place region_place(const Region *r, u32 value, u32 pos);
/* The same for a value that is known to be wanted there. */
static inline Place region_place_of(const Region *r, u32 value, u32 pos) {
    Place p = r->value[value].place;
    return p != PLACE_NONE ? p : region_place(r, value, pos);
}

/* The value is wanted where it is nowhere: a bug, for which no wrong code is made. */
static inline void region_lost(Region *r) { r->too_hard = r->g->code->lost = true; }

bool region_range_free(const Region *r, unsigned reg, u32 from, u32 to); /* positions */
void region_range_take(Region *r, unsigned reg, u32 from, u32 to);

/* region_reload.c */
void region_find_reloads(Region *r);
void region_emit_reloads(Cg *g);

/* region_regs.c: what cg.h promises, for regions */
unsigned region_use(Cg *g, u32 id);
void region_use_in(Cg *g, unsigned reg, u32 id);
bool region_use_mem(Cg *g, u32 id, X64Mem *m);
unsigned region_temp(Cg *g, bool xmm);
unsigned region_target(Cg *g, bool xmm, u32 avoid, unsigned prefer);
void region_set(Cg *g, unsigned reg);
void region_restore(Cg *g); /* gives back what was borrowed; keeps flags */
Place region_place_now(const Region *r, u32 value, u32 pos); /* region_place, unless the register is borrowed */
void region_get(Cg *g, const IrInsn *i);
X64Mem region_mem(const Cg *g, Place p);

/* region_move.c: collects moves, and makes them as if all at once. rax and xmm0 are lost, and the flags where a recipe is
 * computed, which is when the move is added. */
void region_move(Region *r, Place to, u32 value, u32 pos, unsigned how);
void region_move_place(Region *r, Place to, Place from, unsigned type);
void region_make_moves(Region *r);
void region_forget_moves(Region *r);
/* Adds those of an edge, `from` and `to` being blocks. */
void region_edge_moves(Region *r, u32 from, u32 to);

void region_test(Cg *g, u32 id); /* flags of the and `id`, which has no result */
bool region_flags_hold(const Cg *g, u32 compare); /* the answer to the comparison, as a carry */
bool region_lower_int(Cg *g, const IrInsn *i); /* region_int.c; false: lower_int.c does it */

/* region_leave.c */
void region_leave(Cg *g, IrInsn *i);
void region_point(Cg *g); /* before code that can fault */
RLate *region_late(Region *r, RLateKind kind, u8 *from);
void region_emit_late(Region *r);
void region_align(Cg *g, IrInsn *i);
/* A vector instruction: where it leaves if it fails; and the way there, with registers to give back (Region.borrowed). */
u32 region_vec_trap(Cg *g);
void region_vec_failed(Cg *g, u32 late, u32 borrowed);

/* region.c */
void region_jump(Region *r, u32 block);                 /* to a block, or nothing if it is next */
void region_branch(Region *r, unsigned cc, u32 block);

#endif
