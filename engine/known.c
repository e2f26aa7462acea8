/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of the guest's C library that regions do in place (docs/why/known-functions.md). A call through a stub of a procedure linkage table says by its file's
 * relocations which function it wants; whether it gets that of the library, or one by which somebody has replaced it, is asked when it comes by: the cpu knows
 * where it last saw each function (Vcpu.known), and a stub that leads elsewhere comes here. */
#include "engine/internal.h"

enum { PATIENCE = 64 /* times that a stub may lead elsewhere before it is taken for what it is */ };

static u64 *refusals(Engine *e, u64 pc) {
    u64 *r = &e->refused[hash_u64(pc) % ARRAY_LEN(e->refused)];
    if (*r >> 8 != pc) *r = pc << 8;
    return r;
}

u32 known_at(Engine *e, u64 pc) {
    if (!e->hooks.known || pc >> 56 || e->refused[hash_u64(pc) % ARRAY_LEN(e->refused)] == (pc << 8 | PATIENCE)) return 0;
    return e->hooks.known(e->hooks.ctx, pc);
}

/* Has the stub at pc led elsewhere than to the library once too often? */
static bool note_target(Engine *e, Vcpu *cpu, u64 pc) {
    u32 kind = known_at(e, pc);
    if (!kind || cpu->known[kind] == cpu->pc) return false; /* that was a fault */
    if (e->hooks.is_library(e->hooks.ctx, cpu->pc)) {
        cpu->known[kind] = cpu->pc;
        return false;
    }
    u64 *r = refusals(e, pc);
    return (*r & 255) < PATIENCE && (++*r & 255) == PATIENCE;
}

void known_came_by(Engine *e, Vcpu *cpu, u64 pc) {
    lock_take(&e->lock);
    bool enough = note_target(e, cpu, pc);
    lock_give(&e->lock);
    if (enough) engine_invalidate(e, pc + e->guest->stub_jump_at, e->guest->insn_max);
}

void known_invalidate(Engine *e, u64 start, u64 size) {
    for (Vcpu *v = e->vcpus; v; v = v->next)
        for (u32 k = 0; k < VCPU_KNOWN; k++)
            if (v->known[k] - start < size) __atomic_store_n(&v->known[k], 0, __ATOMIC_RELAXED);
}
