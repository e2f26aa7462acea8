/* SPDX-License-Identifier: Apache-2.0 */
/* user/abi for riscv64: registers, the signal frame of arch/riscv (uapi sigcontext.h, ucontext.h), hwcap,
 * hwprobe and cpuinfo, which must agree with isa/riscv. */
#include "user/abi.h"
#include "engine/engine.h"
#include "isa/riscv/gdb_xml.h"
#include "user/abi_riscv_vector.h"
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

static void riscv_start(Vcpu *cpu, u64 pc, u64 sp, u64 vectors) {
    RvState *s = state_of(cpu);
    memset(s, 0, sizeof *s);
    s->x[SP] = sp;
    s->resv_addr = RV_NO_RESERVATION;
    s->vector_control = vectors;
    cpu->pc = pc;
}

static void riscv_born(Vcpu *cpu) { riscv_vector_clear(state_of(cpu)); }
static void riscv_syscall_begin(Vcpu *cpu) { riscv_vector_discard(state_of(cpu)); }

/* --- signal frames ---------------------------------------------------------------------------------- */

typedef struct RvSigcontext {
    u64 pc, x[31]; /* x1..x31 */
    union {
        struct {
            u64 f[32];
            u32 fcsr;
        } d;
        struct {
            u8 space[516];
            u32 reserved; /* 0 */
            u32 magic, size; /* of the record that follows the frame; magic 0: there is none */
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

/* Linux leaves vectors out of the frames of threads that have not used any. */
static u64 frame_size(bool vector) { return align_up(sizeof(RvFrame) + (vector ? sizeof(RvVectorContext) : 0), 16); }
static u64 riscv_frame_size(const Vcpu *cpu) { return frame_size(riscv_vector_used(state_const(cpu))); }
enum { FRAME_MAX = (sizeof(RvFrame) + sizeof(RvVectorContext) + 15) & ~15u };

static long push_vector(const RvState *s, RvFrame *f, u64 at) {
    RvVectorContext context;
    f->uc.mcontext.fp.extension.magic = RV_CONTEXT_VECTOR;
    f->uc.mcontext.fp.extension.size = RV_VECTOR_CONTEXT_SIZE;
    riscv_vector_context_get(s, &context, at);
    return host_copy((void *)at, &context, sizeof context);
}

static long riscv_frame_push(Vcpu *cpu, u64 sp, const AbiFrame *frame, int sig, u64 handler, u64 trampoline) {
    RvState *s = state_of(cpu);
    bool vector = riscv_vector_used(s);
    u64 at = (sp - frame_size(vector)) & ~15ull;
    RvFrame f = {.uc.alt_sp = frame->alt_sp, .uc.alt_flags = frame->alt_flags, .uc.alt_size = frame->alt_size};
    memcpy(f.info, frame->info, sizeof f.info);
    f.uc.mask = frame->mask;
    f.uc.mcontext.pc = cpu->pc;
    memcpy(f.uc.mcontext.x, &s->x[1], sizeof f.uc.mcontext.x);
    memcpy(f.uc.mcontext.fp.d.f, s->f, sizeof s->f);
    f.uc.mcontext.fp.d.fcsr = (u32)(s->frm & 7) << 5 | engine_fflags_get(cpu);
    if (vector && push_vector(s, &f, at + sizeof f) < 0) return -EFAULT;
    if (host_copy((void *)at, &f, sizeof f) < 0) return -EFAULT;
    s->x[RA] = trampoline;
    s->x[SP] = at;
    s->x[A0] = (u64)sig;
    s->x[A0 + 1] = at + offsetof(RvFrame, info);
    s->x[A0 + 2] = at + offsetof(RvFrame, uc);
    cpu->pc = handler;
    return 0;
}

/* What follows the frame: nothing, or vectors and then nothing. */
static long pop_extensions(RvState *s, const RvFrame *f, u64 at) {
    RvVectorContext context;
    u32 magic = f->uc.mcontext.fp.extension.magic, size = f->uc.mcontext.fp.extension.size;
    if (f->uc.mcontext.fp.extension.reserved) return -EINVAL;
    if (!magic && !size) {
        riscv_vector_clear(s); /* they were not in use */
        return 0;
    }
    if (magic != RV_CONTEXT_VECTOR || size != RV_VECTOR_CONTEXT_SIZE || !riscv_vector_allowed(s->vector_control)) return -EINVAL;
    if (host_copy(&context, (void *)at, sizeof context) < 0) return -EFAULT;
    return context.end_magic || context.end_size ? -EINVAL : riscv_vector_context_set(s, &context);
}

static long riscv_frame_pop(Vcpu *cpu, AbiFrame *frame) {
    RvState *s = state_of(cpu);
    RvFrame f;
    if ((s->x[SP] & 15) || host_copy(&f, (void *)s->x[SP], sizeof f) < 0) return -EFAULT;
    long r = pop_extensions(s, &f, s->x[SP] + sizeof f);
    if (r < 0) return r;
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

/* --- core dumps and ptrace ------------------------------------------------------------------------------- */

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

_Static_assert(sizeof(RvVectorRegs) <= ABI_EXTRA_MAX, "Abi.core_extra");

static u32 riscv_core_extra(const Vcpu *cpu, u8 *out) {
    RvVectorRegs regs;
    if (!riscv_vector_used(state_const(cpu))) return 0;
    riscv_vector_regs_get(state_const(cpu), &regs);
    memcpy(out, &regs, sizeof regs);
    return sizeof regs;
}

static bool riscv_core_extra_valid(const u8 *in) {
    RvVectorRegs regs;
    memcpy(&regs, in, sizeof regs);
    return regs.vlenb == RV_VLENB;
}

static void riscv_core_extra_set(Vcpu *cpu, const u8 *in) {
    RvVectorRegs regs;
    memcpy(&regs, in, sizeof regs);
    riscv_vector_regs_set(state_of(cpu), &regs);
}

/* --- GDB --------------------------------------------------------------------------------------------- */

/* Numbers: x0..x31, pc, f0..f31, fflags, frm, fcsr, v0..v31, CSRs of vectors, in the order of the standard features [GDB manual, G.5.9]. */
enum { GDB_PC = 32, GDB_F0 = 33, GDB_FFLAGS = 65, GDB_FRM, GDB_FCSR, GDB_CORE, GDB_V0 = GDB_CORE, GDB_VSTART = GDB_V0 + 32, GDB_VXSAT, GDB_VXRM, GDB_VCSR,
       GDB_VL, GDB_VTYPE, GDB_VLENB, GDB_END };
#define X(n) "<reg name=\"x" #n "\" bitsize=\"64\" type=\"int\"/>"
#define F(n) "<reg name=\"f" #n "\" bitsize=\"64\" type=\"ieee_double\"/>"
#define V(n) "<reg name=\"v" #n "\" bitsize=\"128\" type=\"riscv_vector\"/>"
#define CSR(name) "<reg name=\"" #name "\" bitsize=\"64\" type=\"int\"/>"
#define EACH_32(R) \
    R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(10) R(11) R(12) R(13) R(14) R(15) R(16) R(17) R(18) R(19) R(20) \
    R(21) R(22) R(23) R(24) R(25) R(26) R(27) R(28) R(29) R(30) R(31)
static const char riscv_gdb_xml[] = "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
    "<architecture>riscv:rv64</architecture><osabi>GNU/Linux</osabi><feature name=\"org.gnu.gdb.riscv.cpu\">" EACH_32(X)
    "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/></feature><feature name=\"org.gnu.gdb.riscv.fpu\">" EACH_32(F)
    "<reg name=\"fflags\" bitsize=\"32\" type=\"int\"/><reg name=\"frm\" bitsize=\"32\" type=\"int\"/>"
    "<reg name=\"fcsr\" bitsize=\"32\" type=\"int\"/></feature>" RV_GDB_VECTOR_TYPES EACH_32(V) "</feature>"
    "<feature name=\"org.gnu.gdb.riscv.csr\">" CSR(vstart) CSR(vxsat) CSR(vxrm) CSR(vcsr) CSR(vl) CSR(vtype) CSR(vlenb) "</feature></target>";
#undef X
#undef F
#undef V
#undef CSR
#undef EACH_32

static u32 gdb_size(u32 n) { return n < GDB_FFLAGS ? 8 : n < GDB_V0 ? 4 : n < GDB_VSTART ? RV_VLENB : n < GDB_END ? 8 : 0; }

static u64 gdb_scalar(Vcpu *cpu, u32 n) {
    const RvState *s = state_of(cpu);
    if (n < GDB_PC) return n ? s->x[n] : 0;
    if (n > GDB_PC && n < GDB_FFLAGS) return s->f[n - GDB_F0];
    switch (n) {
    case GDB_PC: return cpu->pc;
    case GDB_FFLAGS: return engine_fflags_get(cpu);
    case GDB_FRM: return s->frm & 7;
    case GDB_FCSR: return (s->frm & 7) << 5 | engine_fflags_get(cpu);
    case GDB_VSTART: return s->vstart;
    case GDB_VXSAT: return s->vxsat;
    case GDB_VXRM: return s->vxrm;
    case GDB_VCSR: return riscv_vcsr(s);
    case GDB_VL: return s->vl;
    case GDB_VTYPE: return s->vtype;
    case GDB_VLENB: return RV_VLENB;
    }
    return 0;
}

static u32 riscv_gdb_read(Vcpu *cpu, u32 n, u8 *out) {
    u64 v = gdb_scalar(cpu, n);
    const void *from = n >= GDB_V0 && n < GDB_VSTART ? (const void *)state_of(cpu)->v[n - GDB_V0] : &v;
    memcpy(out, from, gdb_size(n));
    return gdb_size(n);
}

static void riscv_gdb_write(Vcpu *cpu, u32 n, const u8 *in) {
    RvState *s = state_of(cpu);
    u64 v = 0;
    if (n >= GDB_V0 && n < GDB_VSTART) {
        memcpy(s->v[n - GDB_V0], in, RV_VLENB);
        return;
    }
    memcpy(&v, in, gdb_size(n));
    if (n < GDB_PC) s->x[n] = n ? v : 0;
    else if (n == GDB_PC) cpu->pc = v & ~1ull;
    else if (n < GDB_FFLAGS) s->f[n - GDB_F0] = v;
    if (n == GDB_FFLAGS || n == GDB_FCSR) engine_fflags_set(cpu, v & 31);
    if (n == GDB_FRM) s->frm = v & 7;
    if (n == GDB_FCSR) s->frm = v >> 5 & 7;
    if (n == GDB_VXSAT) s->vxsat = v & 1;
    if (n == GDB_VXRM) s->vxrm = v & 3;
    if (n == GDB_VCSR) riscv_set_vcsr(s, v);
    if (n == GDB_VSTART) riscv_vector_set(s, s->vl, s->vtype, v);
    if (n == GDB_VL) riscv_vector_set(s, v, s->vtype, s->vstart);
    if (n == GDB_VTYPE) riscv_vector_set(s, s->vl, v, s->vstart);
}

/* --- what the processor is ---------------------------------------------------------------------------- */

/* Extensions that are told; bit: of hwprobe's IMA_EXT_0, -1: none. */
static const struct {
    const char *name;
    i8 bit;
    bool vector;
} extensions[] = {
#define EXT(name, bit) {#name, bit, false},
#define VECTOR(name, bit) {#name, bit, true},
#define HIDDEN(name, bit)
#include "isa/riscv/extensions.def"
#undef EXT
#undef VECTOR
#undef HIDDEN
};

enum { /* hwprobe keys (Documentation/arch/riscv/hwprobe.rst) */
    KEY_MVENDORID, KEY_MARCHID, KEY_MIMPID, KEY_BASE_BEHAVIOR, KEY_IMA_EXT_0, KEY_CPUPERF_0, KEY_ZICBOZ_BLOCK_SIZE,
    KEY_HIGHEST_VIRT_ADDRESS, KEY_TIME_CSR_FREQ, KEY_MISALIGNED_SCALAR_PERF, KEY_MISALIGNED_VECTOR_PERF,
    KEY_VENDOR_EXT_THEAD_0, KEY_ZICBOM_BLOCK_SIZE,
};

static u64 extension_bits(bool vectors) {
    u64 bits = 1 << 0 /* FD */ | 1 << 1 /* C */ | (vectors ? 1 << 2 /* V */ : 0);
    for (u32 i = 0; i < ARRAY_LEN(extensions); i++)
        if (extensions[i].bit >= 0 && (vectors || !extensions[i].vector)) bits |= 1ull << extensions[i].bit;
    return bits;
}

static bool riscv_hwprobe(i64 key, bool vectors, u64 *value) {
    switch (key) {
    case KEY_MVENDORID:
    case KEY_MARCHID:
    case KEY_MIMPID: *value = 0; return true;
    case KEY_BASE_BEHAVIOR: *value = 1; /* IMA */ return true;
    case KEY_IMA_EXT_0: *value = extension_bits(vectors); return true;
    case KEY_CPUPERF_0:
    case KEY_MISALIGNED_SCALAR_PERF: *value = 3; /* fast */ return true;
    case KEY_ZICBOZ_BLOCK_SIZE:
    case KEY_ZICBOM_BLOCK_SIZE: *value = 64; return true;
    case KEY_HIGHEST_VIRT_ADDRESS: *value = (1ull << 38) - 1; return true;
    case KEY_TIME_CSR_FREQ: *value = RV_TIME_HZ; return true;
    case KEY_MISALIGNED_VECTOR_PERF: *value = vectors ? 3 /* fast */ : 4 /* unsupported */; return true;
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

static void print_isa(Text *t, bool vectors) {
    text_print(t, "rv64imafdc%s", vectors ? "v" : "");
    for (u32 i = 0; i < ARRAY_LEN(extensions); i++)
        if (vectors || !extensions[i].vector) text_print(t, "_%s", extensions[i].name);
}

static void riscv_cpuinfo(Text *t, unsigned count, bool vectors) {
    for (unsigned i = 0; i < count; i++) {
        text_print(t, "processor\t: %u\nhart\t\t: %u\nisa\t\t: ", i, i);
        print_isa(t, vectors);
        text_print(t, "\nmmu\t\t: sv39\nuarch\t\t: isomer\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: ");
        print_isa(t, vectors);
        text_print(t, "\n\n");
    }
}

#define HWCAP_BIT(letter) (1u << ((letter) - 'a'))

static u64 riscv_hwcap(u64 vectors) {
    u64 scalar = HWCAP_BIT('i') | HWCAP_BIT('m') | HWCAP_BIT('a') | HWCAP_BIT('f') | HWCAP_BIT('d') | HWCAP_BIT('c');
    return scalar | (riscv_vector_allowed(vectors) ? HWCAP_BIT('v') : 0);
}

static u64 riscv_vector_get(const Vcpu *cpu) { return state_const(cpu)->vector_control; }
static long riscv_vector_set_control(Vcpu *cpu, u64 control) { return riscv_vector_control_set(state_of(cpu), control); }

const Abi abi_riscv64 = {
    .guest = &riscv_guest,
    .machine = "riscv64",
    .elf_machine = 243,
    .elf_flags = 5, /* compressed instructions, double-float ABI */
    .address_bits = 38,
    .hwcap = riscv_hwcap,
    .min_sigstack = FRAME_MAX,
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
    .born = riscv_born,
    .syscall_begin = riscv_syscall_begin,
    .frame_size = riscv_frame_size,
    .frame_push = riscv_frame_push,
    .frame_pop = riscv_frame_pop,
    .gdb_xml = riscv_gdb_xml,
    .gdb_core_count = GDB_CORE,
    .gdb_read = riscv_gdb_read,
    .gdb_write = riscv_gdb_write,
    .core_regs = riscv_core_regs,
    .core_fpregs = riscv_core_fpregs,
    .core_regs_set = riscv_core_regs_set,
    .core_fpregs_set = riscv_core_fpregs_set,
    .extra_note = RV_NOTE_VECTOR,
    .extra_max = RV_VECTOR_REGS_MAX,
    .extra_header = offsetof(RvVectorRegs, v),
    .core_extra = riscv_core_extra,
    .core_extra_valid = riscv_core_extra_valid,
    .core_extra_set = riscv_core_extra_set,
    .audit_arch = 0xc00000f3, /* AUDIT_ARCH_RISCV64 */
    .fault_addr = riscv_fault_addr,
    .cpuinfo = riscv_cpuinfo,
    .hwprobe = riscv_hwprobe,
    .vector_start = riscv_vector_control_start,
    .vector_get = riscv_vector_get,
    .vector_set = riscv_vector_set_control,
};
