/* SPDX-License-Identifier: Apache-2.0 */
/* The interface between the engine and a guest instruction set: what isa/NAME exports.
 *
 * A guest's CPU state is one flat structure, described to the engine as slots: name, type, byte offset. The engine
 * places it behind its own Vcpu head (vcpu.h). Translation: the engine calls lift() instruction by instruction
 * until the block is closed, a page is crossed or the limit is reached. No guest code here is re-entrant
 * state: lift() works on its arguments alone.
 */
#ifndef IR_GUEST_H
#define IR_GUEST_H

#include "ir/ir.h"
#include "ir/vcpu.h"

typedef struct GuestSlot {
    const char *name; /* as the assembler writes it: "a0", "fa0", "resv_addr" */
    u8 type;          /* IrType: IR_I64, IR_F64 (f registers: NaN-boxed container), IR_I32 */
    u16 offset;       /* bytes from the start of the guest state */
} GuestSlot;

enum { HELPER_PURE = 1, HELPER_READS = 2, HELPER_WRITES = 4, HELPER_FAULTS = 8, HELPER_FLAGS = 16 };

/* A C function that generated code calls. Values travel as 64-bit patterns. PURE: depends on operands only.
 * READS/WRITES: looks at / changes guest state. FAULTS: accesses guest memory, may be abandoned there (no locks held).
 * FLAGS: accrues floating-point flags in cpu->fflags. */
typedef struct GuestHelper {
    const char *name;
    u64 (*fn)(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d);
    u8 result; /* IrType or IR_VOID */
    u8 facts;
} GuestHelper;

/* Functions of the C library, by the names that it gives them, that calls of stubs in a procedure linkage table are recognised as (engine/known.c). */
#define KNOWN_EACH(X) X(memcpy) X(mempcpy) X(memset)
#define KNOWN_ENUM_(name) KNOWN_##name,
enum { KNOWN_NONE, KNOWN_EACH(KNOWN_ENUM_) KNOWN_COUNT };
#undef KNOWN_ENUM_
_Static_assert((u32)KNOWN_COUNT <= VCPU_KNOWN, "Vcpu.known is too short");
enum { KNOWN_SIZE_SHIFT = 8, KNOWN_SIZE_MAX = 64 /* bytes that a call may be about: it becomes that many loads and stores, by eight */ };

struct Guest {
    const char *name; /* "riscv64" */
    u16 elf_machine;
    const GuestSlot *slots;
    u32 slot_count; /* at most 160 */
    u32 state_size; /* bytes, multiple of 64 */
    const u8 *hot_slots; /* integer slots, most often used in compiled code first: candidates for host registers */
    u32 hot_count;
    const u8 *hot_fslots; /* floating-point slots, likewise */
    u32 hot_fcount;
    const GuestHelper *helpers;
    u32 helper_count;
    /* A stub of a procedure linkage table ends, stub_jump_at bytes from its start, in a jump with this encoding, of insn_max bytes; 0: none is known. Lifted with IrFunc.known
     * set, the jump does what the function does, and returns. The functions' third argument is in slot stub_size. */
    u32 stub_jump;
    u8 stub_jump_at;
    u16 stub_size;
    u8 insn_align;   /* bytes: 2 */
    u8 insn_max;     /* longest instruction: 4 */
    /* Paged: translations are of physical pages, and know where they run by a slot (ir.h); Vcpu.mmu is there. */
    bool paged;
    u16 page_slot;
    unsigned (*length)(const u8 *code); /* of the instruction that starts with these insn_align bytes */
    unsigned (*tlb_set)(u32 mode); /* below VCPU_TLB_SETS: which of Vcpu.tlb accesses in this mode go through */
    /* Vectors: where registers of 16 bytes, their key, how many elements instructions work on, and results that are no vectors, how to round (u64 each) are in the state; what does an instruction in C (low 32 bits of code: its encoding, then
     * its operation), with operands a and b: 0, or a TrapCode, for which Vcpu.trap_arg is set; it never faults itself. */
    u16 vectors, vector_key, vector_length, vector_result, vector_rounding;
    unsigned (*vector)(Vcpu *cpu, u64 code, u64 a, u64 b);
    bool (*is_vector)(u32 bits); /* may this instruction, of insn_max bytes, be an IR_vec? */
    u32 (*guess)(const Vcpu *cpu); /* IrFunc.guess for code that this cpu comes to; NULL: there are no vectors */
    /* Translation mode (part of the translation key) of a CPU state: RISC-V: frm, 0..7. */
    u32 (*mode)(const Vcpu *cpu);
    /* Appends the IR of the instruction at pc. `code` points to `avail` readable bytes (>= insn_align).
     * Returns its length in bytes; 0 if more than `avail` bytes are needed (nothing appended).
     * Calls ir_begin_insn itself. Closes the block (terminator) after any unconditional transfer, trap,
     * or change of mode; conditional branches use ir_exit_if and leave the block open. An instruction that does
     * not exist becomes TRAP_ILLEGAL. */
    unsigned (*lift)(IrBuilder *b, u64 pc, const u8 *code, size_t avail);
    /* One instruction as the assembler's text, without pc. Returns its length (insn_align if illegal: ".2byte"). */
    unsigned (*disasm)(u64 pc, const u8 *code, size_t avail, Text *out);
};

/* Of a paged guest: virtual address of the page that runs. */
static inline u64 *guest_page(const Guest *g, const Vcpu *cpu) { return (u64 *)((u8 *)cpu->state + g->slots[g->page_slot].offset); }

/* What the guest sees of a pc in f (ir.h, paged guests). */
static inline u64 ir_virtual_pc(const IrFunc *f, const Vcpu *cpu, u64 pc) {
    return f->guest->paged ? *guest_page(f->guest, cpu) + (pc - align_down(f->pc, PAGE_BYTES)) : pc;
}

/* Does the guest stand behind the instruction when this trap is taken? */
static inline bool ir_trap_goes_on(unsigned code) { return code == TRAP_MODE || code == TRAP_WAIT; }

#endif
