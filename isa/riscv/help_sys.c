/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers that look outside of the registers: counters, the 128-bit compare-and-swap, softfp's odd conversion. */
#include "base/softfp.h"
#include "base/clock.h"
#include "isa/riscv/sem.h"
#include "isa/riscv/vector.h"

/* fcvtmod.w.d [unpriv zfa]. */
u64 riscv_help_fcvtmod(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return softfp_to_int32_modular(a, &cpu->fflags); }

/* The time CSR: nanoseconds of the host's monotonic clock, so RV_TIME_HZ is 10^9. */
u64 riscv_help_time(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) {
    return clock_ns();
}

/* The time CSR of a whole hart: the board's clock. */
u64 riscv_help_system_time(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) { return cpu->mmu->time(cpu); }

/* cycle and instret: the host's cycle counter, or time. Nothing more exact can be had at a bearable price. */
u64 riscv_help_counter(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return riscv_help_time(cpu, a, b, c, d);
#endif
}

/* a: the elements asked for, b: vtype. */
u64 riscv_help_vsetvl(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) {
    RvState *s = vcpu_state(cpu);
    riscv_vector_set(s, a, b, 0);
    return s->vl;
}

/* A write of vstart. */
u64 riscv_help_vstart(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) {
    RvState *s = vcpu_state(cpu);
    riscv_vector_set(s, s->vl, s->vtype, a);
    return 0;
}

/* 128 bits at p: if they equal `expected`, `desired` is stored; returns what was there. */
#if defined(__x86_64__)
/* By hand: compilers call a library for this unless the whole program requires cmpxchg16b. */
static u128 cas128(u128 *p, u128 expected, u128 desired) {
    u64 low = (u64)expected, high = (u64)(expected >> 64);
    __asm__ volatile("lock cmpxchg16b %0"
                     : "+m"(*p), "+a"(low), "+d"(high)
                     : "b"((u64)desired), "c"((u64)(desired >> 64))
                     : "cc", "memory");
    return (u128)high << 64 | low;
}
#else
/* Atomic among guest threads only, which is all that uses it on these hosts. */
static u128 cas128(u128 *p, u128 expected, u128 desired) {
    u128 old;
    __atomic_load(p, &old, __ATOMIC_SEQ_CST);
    while (old == expected && !__atomic_compare_exchange(p, &old, &desired, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    return old;
}
#endif

/* amocas.q [unpriv zacas]: a = address (aligned), b = number of rd, c = number of rs2; x0 as a pair is 0 and stays so. */
u64 riscv_help_amocas_q(Vcpu *cpu, u64 a, u64 b, u64 c, u64 d) {
    u64 *x = ((RvState *)vcpu_state(cpu))->x;
    u128 expected = b ? (u128)x[b + 1] << 64 | x[b] : 0;
    u128 desired = c ? (u128)x[c + 1] << 64 | x[c] : 0;
    u128 old = cas128((u128 *)a, expected, desired);
    if (b) {
        x[b] = (u64)old;
        x[b + 1] = (u64)(old >> 64);
    }
    return 0;
}
