/* SPDX-License-Identifier: Apache-2.0 */
/* user/abi for riscv64: registers, the signal frame of arch/riscv (uapi sigcontext.h, ucontext.h), hwcap,
 * hwprobe and cpuinfo, which must agree with isa/riscv. */
#include "user/abi.h"
#include "engine/engine.h"
#include "isa/riscv/riscv.h"
#include "user/host.h"
#include "user/vdso/vdso.h"
#include <errno.h>
#include <stddef.h>

enum { RA = 1, SP = 2, TP = 4, A0 = 10, A7 = 17 };

static RvState *state_of(Vcpu *cpu) { return vcpu_state(cpu); }
static const RvState *state_const(const Vcpu *cpu) { return (const RvState *)cpu->state; }

static u32 riscv_syscall_get(const Vcpu *cpu, u64 args[6]) {
    const RvState *s = state_const(cpu);
    memcpy(args, &s->x[A0], 6 * sizeof(u64));
    return s->x[A7] > UINT32_MAX ? UINT32_MAX : (u32)s->x[A7];
}
static void riscv_syscall_set(Vcpu *cpu, u32 nr, const u64 args[6]) {
    memcpy(&state_of(cpu)->x[A0], args, 6 * sizeof(u64));
    state_of(cpu)->x[A7] = nr;
}
static void riscv_result_set(Vcpu *cpu, u64 value) { state_of(cpu)->x[A0] = value; }
static u64 riscv_sp_get(const Vcpu *cpu) { return state_const(cpu)->x[SP]; }
static void riscv_sp_set(Vcpu *cpu, u64 sp) { state_of(cpu)->x[SP] = sp; }
static void riscv_tls_set(Vcpu *cpu, u64 tls) { state_of(cpu)->x[TP] = tls; }

static void riscv_start(Vcpu *cpu, u64 pc, u64 sp) {
    RvState *s = state_of(cpu);
    memset(s, 0, sizeof *s);
    s->x[SP] = sp;
    s->resv_addr = RV_NO_RESERVATION;
    cpu->pc = pc;
}

/* --- signal frames ---------------------------------------------------------------------------------- */

typedef struct RvSigcontext {
    u64 pc, x[31]; /* x1..x31 */
    union {
        struct {
            u64 f[32];
            u32 fcsr;
        } d;
        struct {
            u8 space[520];
            u32 magic, size; /* of the first extension record; magic 0: there is none */
        } extension;
    } fp __attribute__((aligned(16)));
} RvSigcontext;

typedef struct RvFrame { /* struct rt_sigframe */
    u8 info[128];
    struct {
        u64 flags, link;
        u64 alt_sp;
        u32 alt_flags, pad;
        u64 alt_size;
        u64 mask;
        u8 unused[120];
        RvSigcontext mcontext __attribute__((aligned(16)));
    } uc;
} RvFrame;
_Static_assert(offsetof(RvFrame, uc.mcontext) == 128 + 176, "struct ucontext of riscv64");
_Static_assert(sizeof(RvFrame) == 128 + 960, "struct rt_sigframe of riscv64");

static long riscv_frame_push(Vcpu *cpu, u64 sp, const AbiFrame *frame, int sig, u64 handler, u64 trampoline) {
    RvState *s = state_of(cpu);
    u64 at = (sp - sizeof(RvFrame)) & ~15ull;
    RvFrame f = {.uc.alt_sp = frame->alt_sp, .uc.alt_flags = frame->alt_flags, .uc.alt_size = frame->alt_size};
    memcpy(f.info, frame->info, sizeof f.info);
    f.uc.mask = frame->mask;
    f.uc.mcontext.pc = cpu->pc;
    memcpy(f.uc.mcontext.x, &s->x[1], sizeof f.uc.mcontext.x);
    memcpy(f.uc.mcontext.fp.d.f, s->f, sizeof s->f);
    f.uc.mcontext.fp.d.fcsr = (u32)(s->frm & 7) << 5 | engine_fflags_get(cpu);
    if (host_copy((void *)at, &f, sizeof f) < 0) return -EFAULT;
    s->x[RA] = trampoline;
    s->x[SP] = at;
    s->x[A0] = (u64)sig;
    s->x[A0 + 1] = at + offsetof(RvFrame, info);
    s->x[A0 + 2] = at + offsetof(RvFrame, uc);
    cpu->pc = handler;
    return 0;
}

static long riscv_frame_pop(Vcpu *cpu, AbiFrame *frame) {
    RvState *s = state_of(cpu);
    RvFrame f;
    if ((s->x[SP] & 15) || host_copy(&f, (void *)s->x[SP], sizeof f) < 0) return -EFAULT;
    frame->mask = f.uc.mask;
    frame->alt_sp = f.uc.alt_sp;
    frame->alt_size = f.uc.alt_size;
    frame->alt_flags = f.uc.alt_flags;
    cpu->pc = f.uc.mcontext.pc & ~1ull;
    memcpy(&s->x[1], f.uc.mcontext.x, sizeof f.uc.mcontext.x);
    memcpy(s->f, f.uc.mcontext.fp.d.f, sizeof s->f);
    s->frm = f.uc.mcontext.fp.d.fcsr >> 5 & 7;
    engine_fflags_set(cpu, f.uc.mcontext.fp.d.fcsr & 31);
    s->resv_addr = RV_NO_RESERVATION;
    return 0;
}

static u32 riscv_core_regs(const Vcpu *cpu, u8 *out) {
    memcpy(out, &cpu->pc, 8);
    memcpy(out + 8, &state_const(cpu)->x[1], 31 * 8);
    return 32 * 8;
}

static u32 riscv_core_fpregs(Vcpu *cpu, u8 *out) {
    const RvState *s = state_of(cpu);
    u64 fcsr = (s->frm & 7) << 5 | engine_fflags_get(cpu);
    memcpy(out, s->f, sizeof s->f);
    memcpy(out + sizeof s->f, &fcsr, 8);
    return sizeof s->f + 8;
}

static void riscv_core_regs_set(Vcpu *cpu, const u8 *in) {
    memcpy(&cpu->pc, in, 8);
    cpu->pc &= ~1ull;
    memcpy(&state_of(cpu)->x[1], in + 8, 31 * 8);
}

static void riscv_core_fpregs_set(Vcpu *cpu, const u8 *in) {
    RvState *s = state_of(cpu);
    u32 fcsr;
    memcpy(s->f, in, sizeof s->f);
    memcpy(&fcsr, in + sizeof s->f, 4);
    s->frm = fcsr >> 5 & 7;
    engine_fflags_set(cpu, fcsr & 31);
}

/* --- GDB --------------------------------------------------------------------------------------------- */

/* Numbers: x0..x31, pc, f0..f31, fflags, frm, fcsr, in the order of the standard features [GDB manual, G.5.9]. */
enum { GDB_PC = 32, GDB_F0 = 33, GDB_FFLAGS = 65, GDB_FRM, GDB_FCSR, GDB_COUNT };
#define X(n) "<reg name=\"x" #n "\" bitsize=\"64\" type=\"int\"/>"
#define F(n) "<reg name=\"f" #n "\" bitsize=\"64\" type=\"ieee_double\"/>"
#define EACH_32(R) \
    R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(10) R(11) R(12) R(13) R(14) R(15) R(16) R(17) R(18) R(19) R(20) \
    R(21) R(22) R(23) R(24) R(25) R(26) R(27) R(28) R(29) R(30) R(31)
static const char riscv_gdb_xml[] = "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
    "<architecture>riscv:rv64</architecture><osabi>GNU/Linux</osabi><feature name=\"org.gnu.gdb.riscv.cpu\">" EACH_32(X)
    "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/></feature><feature name=\"org.gnu.gdb.riscv.fpu\">" EACH_32(F)
    "<reg name=\"fflags\" bitsize=\"32\" type=\"int\"/><reg name=\"frm\" bitsize=\"32\" type=\"int\"/>"
    "<reg name=\"fcsr\" bitsize=\"32\" type=\"int\"/></feature></target>";
#undef X
#undef F
#undef EACH_32

static u32 riscv_gdb_read(Vcpu *cpu, u32 n, u8 *out) {
    const RvState *s = state_of(cpu);
    u64 v = 0;
    if (n < GDB_PC) v = n ? s->x[n] : 0;
    else if (n == GDB_PC) v = cpu->pc;
    else if (n < GDB_FFLAGS) v = s->f[n - GDB_F0];
    else if (n == GDB_FFLAGS) v = engine_fflags_get(cpu);
    else if (n == GDB_FRM) v = s->frm & 7;
    else if (n == GDB_FCSR) v = (s->frm & 7) << 5 | engine_fflags_get(cpu);
    else return 0;
    u32 size = n < GDB_FFLAGS ? 8 : 4;
    memcpy(out, &v, size);
    return size;
}

static void riscv_gdb_write(Vcpu *cpu, u32 n, const u8 *in) {
    RvState *s = state_of(cpu);
    u64 v = 0;
    memcpy(&v, in, n < GDB_FFLAGS ? 8 : 4);
    if (n < GDB_PC) s->x[n] = n ? v : 0;
    else if (n == GDB_PC) cpu->pc = v & ~1ull;
    else if (n < GDB_FFLAGS) s->f[n - GDB_F0] = v;
    if (n == GDB_FFLAGS || n == GDB_FCSR) engine_fflags_set(cpu, v & 31);
    if (n == GDB_FRM) s->frm = v & 7;
    if (n == GDB_FCSR) s->frm = v >> 5 & 7;
}

/* --- what the processor is ---------------------------------------------------------------------------- */

/* Extensions beyond IMAFDC, in the canonical order of /proc/cpuinfo; bit: of hwprobe's IMA_EXT_0, -1: none. */
static const struct {
    const char *name;
    i8 bit;
} extensions[] = {
    {"zicbom", 55}, {"zicbop", 60}, {"zicboz", 6}, {"zicntr", 50}, {"zicond", 35}, {"zicsr", -1}, {"zifencei", -1},
    {"zihintntl", 29}, {"zihintpause", 36}, {"zimop", 42}, {"zaamo", 56}, {"zabha", 58}, {"zacas", 34},
    {"zalrsc", 57}, {"zawrs", 48}, {"zfa", 32}, {"zfh", 27}, {"zfhmin", 28}, {"zca", 43}, {"zcb", 44}, {"zcd", 45},
    {"zcmop", 47}, {"zba", 3}, {"zbb", 4}, {"zbc", 7}, {"zbkb", 8}, {"zbkc", 9}, {"zbkx", 10}, {"zbs", 5},
    {"zknd", 11}, {"zkne", 12}, {"zknh", 13}, {"zksed", 14}, {"zksh", 15}, {"zkt", 16},
};

enum { /* hwprobe keys (Documentation/arch/riscv/hwprobe.rst) */
    KEY_MVENDORID, KEY_MARCHID, KEY_MIMPID, KEY_BASE_BEHAVIOR, KEY_IMA_EXT_0, KEY_CPUPERF_0, KEY_ZICBOZ_BLOCK_SIZE,
    KEY_HIGHEST_VIRT_ADDRESS, KEY_TIME_CSR_FREQ, KEY_MISALIGNED_SCALAR_PERF, KEY_MISALIGNED_VECTOR_PERF,
    KEY_VENDOR_EXT_THEAD_0, KEY_ZICBOM_BLOCK_SIZE,
};

static u64 extension_bits(void) {
    u64 bits = 1 << 0 /* FD */ | 1 << 1 /* C */;
    for (u32 i = 0; i < ARRAY_LEN(extensions); i++)
        if (extensions[i].bit >= 0) bits |= 1ull << extensions[i].bit;
    return bits;
}

static bool riscv_hwprobe(i64 key, u64 *value) {
    switch (key) {
    case KEY_MVENDORID:
    case KEY_MARCHID:
    case KEY_MIMPID: *value = 0; return true;
    case KEY_BASE_BEHAVIOR: *value = 1; /* IMA */ return true;
    case KEY_IMA_EXT_0: *value = extension_bits(); return true;
    case KEY_CPUPERF_0:
    case KEY_MISALIGNED_SCALAR_PERF: *value = 3; /* fast */ return true;
    case KEY_ZICBOZ_BLOCK_SIZE:
    case KEY_ZICBOM_BLOCK_SIZE: *value = 64; return true;
    case KEY_HIGHEST_VIRT_ADDRESS: *value = (1ull << 38) - 1; return true;
    case KEY_TIME_CSR_FREQ: *value = RV_TIME_HZ; return true;
    case KEY_MISALIGNED_VECTOR_PERF: *value = 4; /* unsupported */ return true;
    case KEY_VENDOR_EXT_THEAD_0: *value = 0; return true;
    }
    return false;
}

static u64 riscv_fault_addr(const Vcpu *cpu) {
    u32 bits = 0;
    RvInsn insn;
    size_t size = cpu->pc % 4096 == 4094 ? 2 : 4; /* what follows a short instruction may not be there */
    if (host_copy(&bits, (const void *)cpu->pc, size) < 0 || !riscv_decode(bits, &insn)) return 0;
    return state_const(cpu)->x[insn.rs1] + (u64)(i64)insn.imm; /* atomics have no immediate: 0 */
}

static void print_isa(Text *t) {
    text_print(t, "rv64imafdc");
    for (u32 i = 0; i < ARRAY_LEN(extensions); i++) text_print(t, "_%s", extensions[i].name);
}

static void riscv_cpuinfo(Text *t, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        text_print(t, "processor\t: %u\nhart\t\t: %u\nisa\t\t: ", i, i);
        print_isa(t);
        text_print(t, "\nmmu\t\t: sv39\nuarch\t\t: isomer\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: ");
        print_isa(t);
        text_print(t, "\n\n");
    }
}

#define HWCAP_BIT(letter) (1u << ((letter) - 'a'))

const Abi abi_riscv64 = {
    .guest = &riscv_guest,
    .machine = "riscv64",
    .elf_machine = 243,
    .elf_flags = 5, /* compressed instructions, double-float ABI */
    .address_bits = 38,
    .hwcap = HWCAP_BIT('i') | HWCAP_BIT('m') | HWCAP_BIT('a') | HWCAP_BIT('f') | HWCAP_BIT('d') | HWCAP_BIT('c'),
    .min_sigstack = sizeof(RvFrame),
    .vdso = vdso_riscv64,
    .vdso_size = &vdso_riscv64_size,
    .vdso_sigreturn = &vdso_riscv64_sigreturn,
    .syscall_size = 4,
    .syscall_get = riscv_syscall_get,
    .syscall_set = riscv_syscall_set,
    .result_set = riscv_result_set,
    .sp_get = riscv_sp_get,
    .sp_set = riscv_sp_set,
    .tls_set = riscv_tls_set,
    .start = riscv_start,
    .frame_push = riscv_frame_push,
    .frame_pop = riscv_frame_pop,
    .gdb_xml = riscv_gdb_xml,
    .gdb_core_count = GDB_COUNT,
    .gdb_read = riscv_gdb_read,
    .gdb_write = riscv_gdb_write,
    .core_regs = riscv_core_regs,
    .core_fpregs = riscv_core_fpregs,
    .core_regs_set = riscv_core_regs_set,
    .core_fpregs_set = riscv_core_fpregs_set,
    .audit_arch = 0xc00000f3, /* AUDIT_ARCH_RISCV64 */
    .fault_addr = riscv_fault_addr,
    .cpuinfo = riscv_cpuinfo,
    .hwprobe = riscv_hwprobe,
};
