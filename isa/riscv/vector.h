/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions [unpriv v, zvk]: what each does, in C, on the state in the Vcpu. Every case is here: any vtype, any vl, masks, a vstart that
 * is not 0. Generated code does the common cases by itself (IR_vec, sem_vector.c), and calls this for the rest.
 *
 * VLEN is RV_VLEN. Tail and masked-off elements are left as they are, which both policies allow [unpriv v, "vector tail agnostic and vector
 * mask agnostic"]. */
#ifndef ISA_RISCV_VECTOR_H
#define ISA_RISCV_VECTOR_H

#include "ir/vcpu.h"
#include "isa/riscv/riscv.h"

#define RV_VILL (1ull << 63)

/* Does the vector instruction with this encoding and op (RV_*). x: the value of rs1, x register or bits of the f register, of rows that have
 * one; y: that of rs2 (a stride, a vtype). A result for an x or f register is left in vresult (f: NaN-boxed).
 *
 * 0: done, vstart is 0, fflags and vxsat have accrued. Else a TrapCode, and nothing has changed but what is before the element that vstart says:
 * TRAP_ILLEGAL; TRAP_FAULT, TRAP_SLOW with Vcpu.trap_arg the address. */
unsigned riscv_vector(Vcpu *cpu, u32 bits, unsigned op, u64 x, u64 y);

/* VLMAX of a vtype [unpriv v, "vector type register"]: 0 if it is reserved or not supported, which makes it vill. */
unsigned riscv_vlmax(u64 vtype);

/* What decides how a vector instruction is translated, as one number: vtype's low eight bits, whether vl is VLMAX (with vstart 0), else something that
 * no translation expects. Whoever changes vl, vtype or vstart outside of riscv_vector stores it to vkey. */
enum { RV_VKEY_FULL = 0x100, RV_VKEY_NONE = 0x200 };
static inline u64 riscv_vector_key(const RvState *s) {
    if (s->vtype & RV_VILL || s->vstart) return RV_VKEY_NONE;
    return (s->vtype & 0xff) | (s->vl == riscv_vlmax(s->vtype) ? RV_VKEY_FULL : 0);
}

#endif
