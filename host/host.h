/* SPDX-License-Identifier: Apache-2.0 */
/* host: the interface between the engine and a code generator for one host architecture.
 *
 * A Host turns an IrFunc into machine code in a buffer that the engine owns, twice mapped: written at `rw`, executed
 * at `rx`. Generated code keeps the Guest's hottest slots in host registers, the same ones everywhere ("pins"), so
 * that blocks can be linked by plain jumps; all other slots are in the Vcpu. Guest state is exact, in pins and
 * Vcpu, at every instruction that can fault.
 *
 * Common code that every block shares (entering, leaving, slow paths) is made once per code cache: the stubs.
 * A Host has no state but what host_init fills; compile() may run in several threads on different buffers.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "ir/guest.h"

typedef struct HostExit { /* a direct exit: a branch that the engine may link */
    u32 at;               /* offset of its patchable field in the block's code */
    u32 stub;             /* offset of the code that it leads to while it is not linked: ascending */
    u32 site;             /* that code leaves with Vcpu.exit_site = address of this offset */
    u8 poll;              /* it is the poll of an exit, never linked */
    u64 pc;               /* guest pc it leaves to */
} HostExit;

typedef struct HostPc { /* host code from offset `at` on belongs to guest instruction number `frame` */
    u32 at, frame;
} HostPc;

typedef struct HostPoint { /* of a region: host code from offset `at` on stands for the guest instruction at pc */
    u64 pc;
    u32 at;
    u32 map; /* offset in HostCode.maps of where the guest's state is then */
} HostPoint;

typedef struct HostEntry { /* of a region: an entry block */
    u64 pc;
    u32 at;
} HostEntry;

typedef struct HostCode { /* one block: filled by compile; vectors are reused from block to block */
    u8 *rw;
    const u8 *rx;
    size_t cap, size; /* bytes */
    u32 insns;        /* host instructions */
    bool lost;        /* given up because an operand was nowhere, which is a bug: for tests */
    VEC(HostExit) exits;
    VEC(HostPc) pcs;
    VEC(HostPoint) points;   /* compile_region only, likewise the next two */
    VEC(HostEntry) entries;  /* entries[0]: the function's own */
    VEC(u8) maps;            /* the host's own encoding; no addresses in it */
    Arena arena;      /* the compiler's own */
    void *scratch;    /* likewise; NULL at first */
} HostCode;

/* Bytes before a block's entry: room for the host's call of stubs->stale, one byte, and the block's number (u32), which is the engine's. */
enum { HOST_PAD = 10 };
/* Where a return is not to the top frame of the shadow stack, so many more are asked before it is looked up. */
enum { HOST_RETURN_FRAMES = 6 };

typedef struct HostStubs {
    u32 (*enter)(Vcpu *cpu, const void *code); /* runs generated code; returns TrapCode */
    u32 (*enter_c)(Vcpu *cpu, u32 (*fn)(Vcpu *)); /* runs fn so that `leave` can abandon it */
    u32 (*probe)(const void *byte); /* 0 if the byte can be read, 1 if that faults (with probe_fault's help) */
    const u8 *probe_end;
    const u8 *leave;      /* leaves generated code or fn: state already saved, trap code in the result register */
    const u8 *exit_link, *exit_poll, *exit_trap, *lookup, *ret_slow, *underflow, *stale, *helper, *helper_keep, *soft, *tlb, *vector;
    size_t size;
} HostStubs;

typedef struct Host {
    const char *name;
    size_t stubs_max; /* bytes to reserve */
    u32 pinned;       /* so many of Guest.hot_slots, and of hot_fslots, are pinned */
    /* Detects features, less those that `without` names ("-avx,-bmi2"; NULL: none). NULL, or one sentence why this
     * processor cannot be used. */
    const char *(*init)(const char *without);
    /* What init found, as a number: code made with other features is other code. */
    u64 (*features)(void);
    /* Emits the stubs for `guest` at rw/rx. */
    void (*make_stubs)(const Guest *guest, u8 *rw, const u8 *rx, HostStubs *out);
    /* Compiles a function of one block. False: code->cap is too small. */
    bool (*compile)(const HostStubs *stubs, IrFunc *f, HostCode *code);
    /* Compiles a promoted function (ir.h) of any shape: code that is entered with the state in place at each of its entries, and
     * leaves with the state in place. Between, guest registers are anywhere: points and maps tell. Slow and thorough. */
    bool (*compile_region)(const HostStubs *stubs, IrFunc *f, HostCode *code);
    /* In a signal handler, before abandon: brings the guest state of interrupted region code in place, as `map` says. */
    void (*settle)(const Guest *guest, Vcpu *cpu, void *ucontext, const u8 *map);
    /* Redirects the direct exit whose field is at `field_rw` to the host address `target`; atomic for running threads. */
    void (*link)(u8 *field_rw, const u8 *field_rx, const u8 *target);
    /* Makes a block's entry jump to stubs->stale, by way of the HOST_PAD bytes before it; atomic likewise. */
    void (*unlink_entry)(const HostStubs *stubs, u8 *entry_rw, const u8 *entry_rx);
    /* Empties the shadow return stack of cpu. */
    void (*reset_shadow)(const HostStubs *stubs, Vcpu *cpu);
    /* Fills the constants and the floating-point environment of a new cpu. */
    void (*init_vcpu)(const HostStubs *stubs, Vcpu *cpu);
    /* Moves accrued host floating-point flags into cpu->fflags, and the rounding mode of cpu->mode into the host's. */
    void (*sync_fp)(Vcpu *cpu);
    /* In the handler of SIGFPE: the interrupted code has raised a flag that is not in cpu->fflags; it goes on with that there. False: it has not. */
    bool (*fp_trap)(Vcpu *cpu, void *ucontext);
    /* In a signal handler: takes the guest state out of the interrupted generated code and makes the context return to
     * `leave` with `trap`. In PHASE_HELPER / PHASE_INTERP the state is in the Vcpu already. */
    void (*abandon)(const HostStubs *stubs, const Guest *guest, Vcpu *cpu, void *ucontext, TrapCode trap);
    u64 (*context_pc)(const void *ucontext);
    void (*context_set_pc)(void *ucontext, u64 pc);
    /* The faulting context overflowed the shadow stack (fault address addr in its guard): start it anew. False: it did not. */
    bool (*shadow_overflow)(const HostStubs *stubs, Vcpu *cpu, void *ucontext, u64 addr);
} Host;

extern const Host host_x64;

#endif
