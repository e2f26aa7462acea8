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

/* Is the instruction legal with this vtype, vstart 0, and any vl that is a multiple of its element groups? For translations: what they found legal
 * need not be looked at again (half the time of a short instruction) where the state's key is the one that they expect, which they give as `key`: vtype's
 * low bits and RV_VKEY_FULL, whether vl is VLMAX or not; 0: not found. */
bool riscv_vector_is_legal(u32 bits, unsigned op, u64 vtype, unsigned frm);
unsigned riscv_vector_known(Vcpu *cpu, u32 bits, unsigned op, u64 key, u64 x, u64 y);

/* Fields of a vtype: log2 of the bytes of an element; log2 of the registers in a group, negative for a part of one. */
static inline unsigned riscv_vsew(u64 vtype) { return vtype >> 3 & 7; }
static inline int riscv_vlmul(u64 vtype) { return (int)((vtype & 7) ^ 4) - 4; }

/* VLMAX of a vtype [unpriv v, "vector type register"]: 0 if it is reserved or not supported, which makes it vill: fractional groups hold elements up to
 * the same fraction of 64 bits. */
static inline unsigned riscv_vlmax(u64 vtype) {
    int sew = (int)riscv_vsew(vtype), group = riscv_vlmul(vtype);
    if (vtype >> 8 || sew > 3 || group == -4 || sew > 3 + group) return 0;
    return RV_VLENB << (group + 3) >> (sew + 3);
}

/* What decides how a vector instruction is translated, as one number: vtype's low eight bits, whether vl is VLMAX (with vstart 0), else something that
 * no translation expects. Whoever changes vl, vtype or vstart outside of riscv_vector stores it to vkey. */
enum { RV_VKEY_FULL = 0x100, RV_VKEY_NONE = 0x200 };
static inline u64 riscv_vector_key(const RvState *s) {
    if (s->vtype & RV_VILL || s->vstart) return RV_VKEY_NONE;
    return (s->vtype & 0xff) | (s->vl == riscv_vlmax(s->vtype) ? RV_VKEY_FULL : 0);
}

/* vl and vtype of a fresh hart: reserved, until a program sets them. */
static inline void riscv_vector_reset(RvState *s) {
    memset(s->v, 0, sizeof s->v);
    s->vtype = RV_VILL;
    s->vl = s->vstart = s->vxrm = s->vxsat = 0;
    s->vkey = RV_VKEY_NONE;
}

/* From outside, any values: what `vsetvl x0, vl, vtype; csrw vstart, vstart` leaves, which is how kernels put a state back. */
static inline void riscv_vector_set(RvState *s, u64 vl, u64 vtype, u64 vstart) {
    u64 most = riscv_vlmax(vtype);
    s->vtype = most ? vtype : RV_VILL;
    s->vl = vl < most ? vl : most;
    s->vstart = vstart & (RV_VLEN - 1);
    s->vkey = riscv_vector_key(s);
}

static inline bool riscv_is_vector_csr(unsigned csr) {
    switch (csr) {
    case CSR_VSTART: case CSR_VXSAT: case CSR_VXRM: case CSR_VCSR: case CSR_VL: case CSR_VTYPE: case CSR_VLENB: return true;
    }
    return false;
}
static inline u64 riscv_vcsr(const RvState *s) { return (s->vxrm & 3) << 1 | (s->vxsat & 1); }
static inline void riscv_set_vcsr(RvState *s, u64 v) {
    s->vxrm = v >> 1 & 3;
    s->vxsat = v & 1;
}

#endif
