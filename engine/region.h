/* SPDX-License-Identifier: Apache-2.0 */
/* region: from a hot pc to one IrFunc: the guest's control-flow graph around it, as IR blocks with slots read and written by get
 * and put (opt/ makes values of them). Taken in are direct jumps, both sides of branches as far as they were ever reached, and small
 * callees, each call of one with blocks of its own. What is not taken in is left by an exit; a call of a function that is not taken
 * in has an entry block to go on at.
 *
 * Indirect jumps and calls are compared with the targets that are usual at that place (RegionSource.targets), which are taken in
 * as direct ones are; any other target leaves. Nothing is lost but time if what was usual is so no more.
 *
 * If the head is in a cycle, the region is that: all that leads back to the head, inner loops and calls that return included. If
 * not, the head is a function's entry, say, and the region is all that it leads to.
 *
 * Every cycle gets a poll, on an edge that closes it. An inlined return compares its target with what the call promised, and
 * leaves by an indirect jump if they differ: programs may do what they like with return addresses.
 *
 * Nothing here looks at guest memory itself: bytes come from RegionSource, which vouches for them. Threads: a Region belongs to one.
 */
#ifndef ENGINE_REGION_H
#define ENGINE_REGION_H

#include "ir/guest.h"

enum { REGION_TARGETS = 4, REGION_ALWAYS = 256 };
typedef struct RegionTarget {
    u64 pc;
    u32 share; /* of all transfers there, of REGION_ALWAYS */
} RegionTarget;

typedef struct RegionSource {
    void *ctx;
    /* Bytes of guest code at pc and how many there are; NULL: none that may be used. They stay until region_build returns. */
    const u8 *(*fetch)(void *ctx, u64 pc, size_t *avail);
    /* Has execution ever come to pc by a jump? */
    bool (*reached)(void *ctx, u64 pc);
    /* Where the indirect jump or call at pc went, most often first; how many there are. May be any number. NULL: nothing is known. */
    u32 (*targets)(void *ctx, u64 pc, RegionTarget out[REGION_TARGETS]);
    u32 guess; /* IrFunc.guess of all blocks */
    /* The function that the stub at pc leads to (KNOWN_*, ir/guest.h), by its file; 0: none, or an unknown one. May be NULL. */
    u32 (*known)(void *ctx, u64 pc);
} RegionSource;

typedef struct RegionLimits {
    u32 insns;         /* guest instructions, copies of inlined ones counted each time */
    u32 blocks;
    u32 inline_insns;  /* of a callee, all that it reaches */
    u32 inline_loop_insns; /* likewise, with a loop */
    u32 inline_only_insns; /* likewise, of a loop that would not leave but for it */
    u32 inline_depth;
    u32 peel_insns;    /* of a loop whose first round may have a copy of its own */
} RegionLimits;
extern const RegionLimits region_default_limits;

typedef struct RegionRange { /* guest bytes that the region was made of */
    u64 pc;
    u32 size;
} RegionRange;

typedef struct RegionNode RegionNode;

typedef struct RegionContext { /* an inlined call */
    u32 parent;     /* context of the caller */
    u64 entry;      /* pc of the callee */
    u64 return_pc;
    u32 depth;
    u32 known;      /* IrFunc.known in a stub that does the function itself */
} RegionContext;

enum { REGION_ANSWERS = 512 };
typedef struct RegionAnswer { /* of RegionSource.reached */
    u64 pc;
    u32 round;
    bool yes;
} RegionAnswer;

enum { REGION_VERDICTS = 64, REGION_CELLS = 512 };
typedef struct RegionVerdict { /* how large a callee is */
    u64 pc;
    u32 round, insns;
} RegionVerdict;

typedef struct Region {
    VEC(RegionRange) ranges;  /* sorted, disjoint; valid until the next region_build */
    VEC(u64) callees;         /* targets of direct calls that were not taken in */
    u32 insns, loops, inlined; /* guest instructions; back edges; calls taken in */
    u32 known;                /* calls of the C library's functions that are done in place */
    u32 guarded;              /* indirect jumps and calls with a target taken in */
    bool recursive;           /* calls its own head */
    const char *why;          /* of failure */
    /* private */
    u32 entry;                /* node that the region begins with */
    bool cycle;               /* the region is what leads back to its head */
    RegionAnswer answers[REGION_ANSWERS];
    RegionVerdict verdicts[REGION_VERDICTS];
    u32 round;                /* number of the build under way */
    u32 cells[REGION_CELLS];  /* by hash of pc and context: last node made + 1 */
    const RegionSource *source;
    const Guest *guest;
    RegionLimits limits;
    VEC(RegionNode) nodes;
    VEC(RegionContext) contexts; /* [0]: not inlined */
    VEC(u8) lens;             /* lengths of the nodes' instructions */
    VEC(u32) work;
    VEC(RegionRange) scan;    /* of a callee under test */
    IrFunc scratch;
} Region;

/* Builds the region of head pc in f (reset here). False: r->why says why there is none. r is zeroed before its first use, and reused. */
bool region_build(Region *r, const RegionSource *source, const RegionLimits *limits, const Guest *guest, u64 pc, u32 mode, IrFunc *f);
void region_drop(Region *r);

#endif
