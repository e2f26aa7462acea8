/* SPDX-License-Identifier: Apache-2.0 */
/* Lockstep: every block runs twice, first in the interpreter with its stores kept in a log, then as generated code;
 * then registers, pc, flags, trap and the bytes stored must agree. The first difference is printed with both states, and
 * the process aborts. Blocks that call helpers with effects, and blocks left by a poll, are run but not compared; memory that
 * other threads write may differ for honest reasons, so lockstep is for single-threaded guests. */
#include "base/sys.h"
#include "engine/internal.h"

typedef struct Shadow {
    u32 fflags;
    u64 pc, trap_arg;
    TrapCode trap;
    u8 state[4096];
} Shadow;

static bool comparable(const IrFunc *f) {
    for (u32 k = 1; k < f->insns.len; k++) {
        if (f->insns.at[k].op != IR_call) continue;
        unsigned facts = f->guest->helpers[f->insns.at[k].imm].facts;
        if (facts & ~(HELPER_PURE | HELPER_FLAGS) || !facts) return false; /* no facts: a clock, say */
    }
    return true;
}

static void print_states(Engine *e, Vcpu *cpu, u64 block_pc, const Shadow *want, TrapCode got) {
    fd_print(2, "isomer: lockstep: block at %lx differs\n", block_pc);
    fd_print(2, "  %-10s %18s %18s\n", "", "interpreter", "generated");
    fd_print(2, "  %-10s %18lx %18lx\n  %-10s %18x %18x\n  %-10s %18x %18x\n", "pc", want->pc, cpu->pc, "trap", want->trap, got, "fflags", want->fflags, cpu->fflags);
    for (u32 k = 0; k < e->guest->slot_count; k++) {
        u64 a = 0, b = 0;
        unsigned size = e->guest->slots[k].type == IR_I32 ? 4 : 8;
        memcpy(&a, want->state + e->guest->slots[k].offset, size);
        memcpy(&b, (u8 *)cpu->state + e->guest->slots[k].offset, size);
        if (a != b) fd_print(2, "  %-10s %18lx %18lx\n", e->guest->slots[k].name, a, b);
    }
}

/* The last value that the log holds for each byte must stand in memory. */
static bool memory_agrees(const IrLog *log) {
    for (u32 k = 0; k < log->stores.len; k++) {
        const IrStore *s = &log->stores.at[k];
        for (u32 byte = 0; byte < s->size; byte++) {
            bool later = false;
            for (u32 n = k + 1; n < log->stores.len && !later; n++) later = s->addr + byte - log->stores.at[n].addr < log->stores.at[n].size;
            if (later || *(volatile u8 *)(s->addr + byte) == (u8)(s->value >> 8 * byte)) continue;
            fd_print(2, "isomer: lockstep: byte at %lx should be %02x, is %02x\n", s->addr + byte, (u8)(s->value >> 8 * byte), *(u8 *)(s->addr + byte));
            return false;
        }
    }
    return true;
}

TrapCode lockstep_run(Engine *e, Vcpu *cpu, const void *code) {
    static Lock one;
    static IrFunc f; /* the lock's */
    static IrLog log;
    static Shadow before, want;
    lock_take(&one);
    ir_reset(&f, e->guest, cpu->pc, cpu->mode);
    Pool *pool;
    const Block *b = cache_block_at(&e->cache, (u64)code, &pool);
    bool closed = false;
    for (u32 at = 0; at < b->guest_size && !closed; closed = f.closed) at += e->guest->lift(&f, b->pc + at, (const u8 *)b->pc + at, b->guest_size - at);
    if (!f.closed) ir_exit(&f, b->pc + b->guest_size);
    bool compare = comparable(&f);
    u64 block_pc = cpu->pc;
    if (compare) {
        before = (Shadow){.fflags = cpu->fflags, .pc = cpu->pc};
        memcpy(before.state, cpu->state, e->guest->state_size);
        log.stores.len = 0;
        want.trap = interp_run(e, cpu, &f, &log);
        want.pc = cpu->pc, want.fflags = cpu->fflags, want.trap_arg = cpu->trap_arg;
        memcpy(want.state, cpu->state, e->guest->state_size);
        memcpy(cpu->state, before.state, e->guest->state_size);
        cpu->fflags = before.fflags;
        cpu->pc = before.pc;
        e->host->sync_fp(cpu);
    }
    lock_give(&one);
    TrapCode got = (TrapCode)e->cache.stubs.enter(cpu, code);
    e->host->sync_fp(cpu);
    if (got == TRAP_NONE || got == TRAP_POLL) resolve_exit(e, cpu, &pool);
    if (!compare || got == TRAP_POLL) return got;
    bool same = got == want.trap && cpu->pc == want.pc && cpu->fflags == want.fflags && !memcmp(cpu->state, want.state, e->guest->state_size);
    if (!same) print_states(e, cpu, block_pc, &want, got);
    if (!memory_agrees(&log) || !same) BUG("lockstep: generated code and interpreter differ");
    return got;
}
