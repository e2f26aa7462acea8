/* SPDX-License-Identifier: Apache-2.0 */
/* user/abi_riscv_vector: bodies. See abi_riscv_vector.h. */
#include "user/abi_riscv_vector.h"
#include "user/host.h"
#include <errno.h>

bool riscv_vector_used(const RvState *s) {
    u64 all = s->vl | s->vtype | s->vstart | s->vxrm | s->vxsat, part[2];
    for (u32 k = 0; k < 32; k++) {
        memcpy(part, s->v[k], sizeof part);
        all |= part[0] | part[1];
    }
    return all;
}

void riscv_vector_clear(RvState *s) {
    memset(s->v, 0, sizeof s->v);
    s->vxrm = s->vxsat = 0;
    riscv_vector_set(s, 0, 0, 0);
}

/* To the values that Linux gives them, so that a program which relies on them fails here, too. They cost something, so what tells quickly that they
 * are not in use will do: nobody has set vtype, since the start or since the last call. */
void riscv_vector_discard(RvState *s) {
    if ((s->vtype & RV_VILL) || !(s->vtype | s->vl)) return;
    memset(s->v, 0xff, sizeof s->v);
    riscv_vector_set(s, 0, RV_VILL, 0);
}

/* --- layouts --------------------------------------------------------------------------------------------- */

void riscv_vector_context_get(const RvState *s, RvVectorContext *out, u64 at) {
    *out = (RvVectorContext){.vstart = s->vstart, .vl = s->vl, .vtype = s->vtype, .vcsr = riscv_vcsr(s), .vlenb = RV_VLENB};
    out->data = at + offsetof(RvVectorContext, v);
    memcpy(out->v, s->v, sizeof out->v);
}

/* The handler may have put the registers elsewhere. */
long riscv_vector_context_set(RvState *s, const RvVectorContext *in) {
    u8 v[32][RV_VLENB];
    if (host_copy(v, (const void *)in->data, sizeof v) < 0) return -EFAULT;
    memcpy(s->v, v, sizeof v);
    riscv_set_vcsr(s, in->vcsr);
    riscv_vector_set(s, in->vl, in->vtype, in->vstart);
    return 0;
}

void riscv_vector_regs_get(const RvState *s, RvVectorRegs *out) {
    *out = (RvVectorRegs){.vstart = s->vstart, .vl = s->vl, .vtype = s->vtype, .vcsr = riscv_vcsr(s), .vlenb = RV_VLENB};
    memcpy(out->v, s->v, sizeof out->v);
}

void riscv_vector_regs_set(RvState *s, const RvVectorRegs *in) {
    memcpy(s->v, in->v, sizeof s->v);
    riscv_set_vcsr(s, in->vcsr);
    riscv_vector_set(s, in->vl, in->vtype, in->vstart);
}

/* --- who may ------------------------------------------------------------------------------------------------- */

/* Of RvState.vector_control: what holds now, from the next execve on, and whether that stays so beyond it. */
enum { CONTROL_DEFAULT, CONTROL_INVALID = 3, NEXT_SHIFT = 2, FIELD = 3, INHERIT = 16, CONTROL_ALL = 31 };

u64 riscv_vector_control_start(u64 before, bool none) {
    if (none) return RV_VECTOR_OFF;
    u64 next = before >> NEXT_SHIFT & FIELD;
    u64 now = next ? next : RV_VECTOR_ON;
    return now | (before & INHERIT ? next << NEXT_SHIFT | INHERIT : 0);
}

/* What is on stays on. */
long riscv_vector_control_set(RvState *s, u64 control) {
    u64 now = control & FIELD, next = control >> NEXT_SHIFT & FIELD, before = s->vector_control & FIELD;
    if (control & ~(u64)CONTROL_ALL || now == CONTROL_INVALID || next == CONTROL_INVALID) return -EINVAL;
    if (now == RV_VECTOR_OFF && before != RV_VECTOR_OFF) return -EPERM;
    s->vector_control = (now ? now : before) | (control & ~(u64)FIELD);
    return 0;
}
