/* SPDX-License-Identifier: Apache-2.0 */
/* Vector loads and stores of a paged guest against those of a process: random ones are done twice, on the same state and the same memory, once at host
 * addresses with pages missing, and once through a TLB to the same pages in another order, where a missing page is a fault and some pages are devices,
 * which only PHASE_VMM may access. State, memory and traps must agree; an access that cannot be done in generated code's phase must leave a state from
 * which it goes on. Prints the first differences, then "N passed, N failed". */
#include "base/guard.h"
#include "isa/riscv/vector.h"
#include "ir/guest.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGES = 4, SIZE = PAGES * PAGE_BYTES };
static const u64 base = 0x20000000; /* guest addresses, and those of the process */
enum { MEMORY, DEVICE, MISSING };

typedef struct World { /* of the paged guest */
    u8 *memory;
    u8 kind[PAGES], place[PAGES]; /* by page: what it is, and which page of `memory` */
    u32 slow; /* accesses to devices */
} World;
static World world;

static u64 random_state;
static u64 pick(u64 n) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (random_state >> 33) % n;
}

static u64 trapped(Vcpu *cpu, TrapCode trap, u64 va) {
    cpu->trap = trap;
    cpu->trap_arg = va;
    return 0;
}

static u64 fill(Vcpu *cpu, u64 va, u32 size, u32 how) {
    u64 page = (va - base) / PAGE_BYTES, offset = va & (PAGE_BYTES - 1);
    if (offset + size > PAGE_BYTES) return trapped(cpu, TRAP_SLOW, va);
    if (page >= PAGES || world.kind[page] == MISSING) return trapped(cpu, TRAP_FAULT, va);
    if (world.kind[page] == DEVICE) return trapped(cpu, TRAP_SLOW, va);
    u64 host = (u64)world.memory + world.place[page] * PAGE_BYTES;
    if (pick(2)) cpu->tlb[riscv_system_guest.tlb_set(cpu->mode)][how & TLB_WRITE][vcpu_tlb_index(va)] = (TlbEntry){align_down(va, PAGE_BYTES), host};
    return host + offset;
}

static bool slow_access(Vcpu *cpu, u64 va, u32 size, bool write, u64 *v) {
    for (u32 k = 0; k < size; k++) {
        u64 page = (va + k - base) / PAGE_BYTES;
        if (page >= PAGES || world.kind[page] == MISSING) return trapped(cpu, TRAP_FAULT, va + k), false;
    }
    if (cpu->phase != PHASE_VMM) abort();
    if (!write) *v = 0;
    for (u32 k = 0; k < size; k++) {
        u8 *at = world.memory + world.place[(va + k - base) / PAGE_BYTES] * PAGE_BYTES + ((va + k) & (PAGE_BYTES - 1));
        if (write) *at = (u8)(*v >> 8 * k);
        else *v |= (u64)*at << 8 * k;
    }
    world.slow++;
    return true;
}
static const VcpuMmu mmu = {.fill = fill, .access = slow_access};

static void on_fault(int sig, siginfo_t *info, void *context) {
    if (!guard_faulted(context)) _exit(3);
}

/* --- cases ------------------------------------------------------------------------------------------------------------------------ */

typedef struct Case {
    u32 bits;
    unsigned op;
    u64 x, y;
    RvState before;
} Case;

static u64 random_vtype(void) {
    for (;;) {
        u64 vtype = pick(256);
        if (riscv_vlmax(vtype)) return vtype;
    }
}

/* Around a boundary of pages mostly. */
static u64 random_address(void) { return base + pick(PAGES + 1) * PAGE_BYTES - (pick(4) ? pick(160) : pick(PAGE_BYTES)); }

static bool random_case(Case *c) {
    static u64 seed = 1;
    RvInsn insn;
    c->bits = riscv_row_random((unsigned)pick(RV_ROWS), &seed);
    if (!riscv_decode(c->bits, &insn) || !(riscv_ops[insn.op].facts & RV_IS_VECTOR) || !(riscv_ops[insn.op].facts & (RV_IS_LOAD | RV_IS_STORE))) return false;
    c->op = insn.op;
    c->x = random_address();
    c->y = pick(2) ? pick(64) - 32 : pick(4 * PAGE_BYTES / 16);
    RvState *s = &c->before;
    for (unsigned k = 0; k < sizeof s->v; k++) ((u8 *)s->v)[k] = (u8)pick(256);
    u64 vtype = random_vtype();
    if (c->bits >> 26 & 1) /* indices: small ones */
        for (unsigned k = 0; k < sizeof s->v / 2; k++) ((u16 *)s->v)[k] &= (k & 3) && (vtype & 8) ? 0 : 0xff;
    u64 most = riscv_vlmax(vtype), vl = pick(3) ? most : pick(most + 1);
    riscv_vector_set(s, vl, vtype, pick(4) ? 0 : pick(vl + 1));
    return true;
}

static void make_world(u8 *process) {
    for (unsigned k = 0; k < PAGES; k++) world.place[k] = (u8)((k * 3 + 1) % PAGES), world.kind[k] = pick(3) ? MEMORY : (u8)pick(3);
    mprotect(process, SIZE, PROT_READ | PROT_WRITE);
    for (unsigned k = 0; k < SIZE; k += 8) *(u64 *)(process + k) = pick(1u << 31) * 0x100000001ull;
    for (unsigned k = 0; k < PAGES; k++) memcpy(world.memory + world.place[k] * PAGE_BYTES, process + k * PAGE_BYTES, PAGE_BYTES);
    for (unsigned k = 0; k < PAGES; k++)
        if (world.kind[k] == MISSING) mprotect(process + k * PAGE_BYTES, PAGE_BYTES, PROT_NONE);
}

static unsigned run_process(Vcpu *cpu, const Case *c) {
    cpu->mmu = NULL;
    cpu->phase = PHASE_HELPER;
    *(RvState *)vcpu_state(cpu) = c->before;
    return riscv_vector(cpu, c->bits, c->op, c->x, c->y);
}

static unsigned run_paged(Vcpu *cpu, const Case *c) {
    cpu->mmu = &mmu;
    cpu->phase = pick(2) ? PHASE_HELPER : PHASE_INTERP;
    for (unsigned set = 0; set < VCPU_TLB_SETS; set++)
        for (unsigned write = 0; write < 2; write++) vcpu_tlb_clear(cpu, set, write);
    *(RvState *)vcpu_state(cpu) = c->before;
    unsigned trap = riscv_vector(cpu, c->bits, c->op, c->x, c->y);
    if (trap != TRAP_SLOW) return trap;
    cpu->phase = PHASE_VMM;
    return riscv_vector(cpu, c->bits, c->op, c->x, c->y);
}

static bool same_memory(u8 *process) {
    mprotect(process, SIZE, PROT_READ | PROT_WRITE);
    for (unsigned k = 0; k < PAGES; k++)
        if (memcmp(world.memory + world.place[k] * PAGE_BYTES, process + k * PAGE_BYTES, PAGE_BYTES)) return false;
    return true;
}

static bool check(Vcpu *cpu, u8 *process, const Case *c, u32 *done) {
    make_world(process);
    unsigned want = run_process(cpu, c);
    RvState after = *(RvState *)vcpu_state(cpu);
    unsigned got = run_paged(cpu, c);
    *done += !want;
    if (want == got && !memcmp(&after, vcpu_state(cpu), sizeof after) && same_memory(process)) return true;
    char text[80];
    riscv_disasm(c->bits, 0, text, sizeof text);
    printf("FAIL %08x %s: x %lx y %ld vl %lu vtype %lx vstart %lu; trap %u, of a process %u; vstart %lu, %lu\n", c->bits, text, c->x, c->y, c->before.vl,
           c->before.vtype, c->before.vstart, got, want, ((RvState *)vcpu_state(cpu))->vstart, after.vstart);
    return false;
}

int main(int argc, char **argv) {
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    u32 count = argc > 2 ? (u32)atoi(argv[2]) : 20000, passed = 0, failed = 0, done = 0;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    u8 *process = mmap((void *)base, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    world.memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Vcpu *cpu = mmap(NULL, sizeof(Vcpu) + sizeof(RvSystem), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (process != (u8 *)base || world.memory == MAP_FAILED || cpu == MAP_FAILED) return 2;
    while (passed + failed < count && failed < 10) {
        Case c = {0};
        if (!random_case(&c)) continue;
        if (check(cpu, process, &c, &done)) passed++;
        else failed++;
    }
    if (done < count / 8 || !world.slow) printf("FAIL only %u were done, %u accesses to devices\n", done, world.slow), failed++;
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
