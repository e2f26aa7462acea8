/* SPDX-License-Identifier: Apache-2.0 */
/* user/abi: what the Linux ABI of one guest architecture adds to the generic 64-bit one: which register is
 * what, how a signal frame looks, what the processor is called. One constant Abi per architecture.
 */
#ifndef USER_ABI_H
#define USER_ABI_H

#include "ir/guest.h"

typedef struct AbiFrame { /* what a signal frame carries besides registers */
    u8 info[128];   /* siginfo, whose layout all 64-bit architectures share */
    u64 mask;       /* the signal mask to go back to */
    u64 alt_sp, alt_size;
    u32 alt_flags;
} AbiFrame;

typedef struct Abi {
    const Guest *guest;
    const char *machine;      /* uname's */
    u16 elf_machine;
    u32 elf_flags;            /* of a core dump */
    u64 address_bits;         /* of user space, unasked */
    u64 min_sigstack;         /* AT_MINSIGSTKSZ: the largest signal frame */
    const u8 *vdso;           /* a shared object, or NULL */
    const u32 *vdso_size;
    const u32 *vdso_sigreturn;/* offset in it of the signal trampoline */
    u8 syscall_size;          /* bytes of the system call instruction */

    u32 (*syscall_get)(const Vcpu *cpu, u64 args[6]); /* returns the number */
    void (*syscall_set)(Vcpu *cpu, u32 nr, const u64 args[6]);
    void (*result_set)(Vcpu *cpu, u64 value);
    u64 (*sp_get)(const Vcpu *cpu);
    void (*sp_set)(Vcpu *cpu, u64 sp);
    void (*tls_set)(Vcpu *cpu, u64 tls);
    /* Who may use vectors (prctl): that of a new program, from what its parent left; `none`: nobody. */
    u64 (*vector_start)(u64 before, bool none);
    u64 (*hwcap)(u64 vectors); /* AT_HWCAP */
    /* State at the entry of a program. */
    void (*start)(Vcpu *cpu, u64 pc, u64 sp, u64 vectors);
    /* Of a new thread or process, whose registers are its parent's but for these. */
    void (*born)(Vcpu *cpu);
    /* Before a system call, or anybody who watches it, looks at the registers: those that calls do not keep. */
    void (*syscall_begin)(Vcpu *cpu);
    u64 (*frame_size)(const Vcpu *cpu); /* of a signal now */
    /* Builds the frame of signal `sig` below sp in guest memory and enters `handler`; the handler returns to `trampoline`.
     * Returns 0 or -EFAULT, then nothing of the CPU has changed. */
    long (*frame_push)(Vcpu *cpu, u64 sp, const AbiFrame *frame, int sig, u64 handler, u64 trampoline);
    /* Restores the registers from the frame at the stack pointer. 0, -EFAULT or -EINVAL. */
    long (*frame_pop)(Vcpu *cpu, AbiFrame *frame);
    /* elf_gregset and elf_fpregset of a core dump: written to out, the size returned. */
    u32 (*core_regs)(const Vcpu *cpu, u8 *out);
    u32 (*core_fpregs)(Vcpu *cpu, u8 *out);
    void (*core_regs_set)(Vcpu *cpu, const u8 *in);
    void (*core_fpregs_set)(Vcpu *cpu, const u8 *in);
    /* One more note of a core dump and register set of ptrace: its type, the most that a tracer could ask for, ABI_EXTRA_MAX bytes at most here; 0: the
     * thread has no such state. `header`: bytes of it that a tracer has to write. */
    u32 extra_note, extra_max, extra_header;
    u32 (*core_extra)(const Vcpu *cpu, u8 *out);
    bool (*core_extra_valid)(const u8 *in);
    void (*core_extra_set)(Vcpu *cpu, const u8 *in);
    u32 audit_arch;           /* AUDIT_ARCH_*: what seccomp and ptrace call the architecture */
    /* GDB's view: target description, registers of the g packet, and one register by GDB's number: its size in bytes, 0 if there
     * is none. */
    const char *gdb_xml;
    u32 gdb_core_count;
    u32 (*gdb_read)(Vcpu *cpu, u32 n, u8 *out);
    void (*gdb_write)(Vcpu *cpu, u32 n, const u8 *in);
    /* The address that the load or store at pc, which just faulted, is about. */
    u64 (*fault_addr)(const Vcpu *cpu);
    /* Writes /proc/cpuinfo's text for `count` processors. */
    void (*cpuinfo)(Text *t, unsigned count, bool vectors);
    /* Value of hwprobe key, or false if there is no such key. RISC-V only; else NULL. */
    bool (*hwprobe)(i64 key, bool vectors, u64 *value);
    /* prctl's control of vectors. RISC-V only. */
    u64 (*vector_get)(const Vcpu *cpu);
    long (*vector_set)(Vcpu *cpu, u64 control);
} Abi;
enum { ABI_EXTRA_MAX = 576 };

extern const Abi abi_riscv64;

#endif
