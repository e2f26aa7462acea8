/* SPDX-License-Identifier: Apache-2.0 */
/* user/abi_riscv_vector: the vector registers as Linux shows them to riscv64 programs: behind a signal frame, to tracers, in core dumps; and who
 * may use them (prctl). Layouts are those of uapi ptrace.h, sigcontext.h; what calls do to them is Documentation/arch/riscv/vector.rst.
 *
 * Linux switches the unit on at a thread's first vector instruction, with zeros in all registers and CSRs, vtype's too. Here nothing traps: a
 * thread has not used vectors if all is still zero. */
#ifndef USER_ABI_RISCV_VECTOR_H
#define USER_ABI_RISCV_VECTOR_H

#include "isa/riscv/vector.h"

enum { RV_NOTE_VECTOR = 0x901 /* NT_RISCV_VECTOR */, RV_CONTEXT_VECTOR = 0x53465457 /* RISCV_V_MAGIC */ };

typedef struct RvVectorRegs { /* NT_RISCV_VECTOR */
    u64 vstart, vl, vtype, vcsr, vlenb;
    u8 v[32][RV_VLENB];
} RvVectorRegs;
/* The most that a register set of this type could have, with registers of 64 KiB: what Linux cuts tracers' sizes to. */
enum { RV_VECTOR_REGS_MAX = 5 * 8 + 32 * 8192 };

typedef struct RvVectorContext { /* of a signal frame, behind its header (magic, size) */
    u64 vstart, vl, vtype, vcsr, vlenb;
    u64 data; /* where v is */
    u8 v[32][RV_VLENB];
    u32 end_magic, end_size; /* 0: the last */
} RvVectorContext;
enum { RV_VECTOR_CONTEXT_SIZE = 8 + sizeof(RvVectorContext) - 8 /* with its header, without the end */ };

bool riscv_vector_used(const RvState *s);
/* What a thread begins with. */
void riscv_vector_clear(RvState *s);
/* A system call loses them. */
void riscv_vector_discard(RvState *s);

/* `at`: where it will lie. */
void riscv_vector_context_get(const RvState *s, RvVectorContext *out, u64 at);
long riscv_vector_context_set(RvState *s, const RvVectorContext *in);
void riscv_vector_regs_get(const RvState *s, RvVectorRegs *out);
void riscv_vector_regs_set(RvState *s, const RvVectorRegs *in);

/* RvState.vector_control at the start of a program, from that of the thread that called execve. */
u64 riscv_vector_control_start(u64 before, bool none);
static inline bool riscv_vector_allowed(u64 control) { return (control & 3) != RV_VECTOR_OFF; }
/* prctl(PR_RISCV_V_SET_CONTROL). */
long riscv_vector_control_set(RvState *s, u64 control);

#endif
