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
    u64 hwcap;
    u64 min_sigstack;         /* AT_MINSIGSTKSZ */
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
    /* State at the entry of a program. */
    void (*start)(Vcpu *cpu, u64 pc, u64 sp);
    /* Builds the frame of signal `sig` below sp in guest memory and enters `handler`; the handler returns to `trampoline`.
     * Returns 0 or -EFAULT, then nothing of the CPU has changed. */
    long (*frame_push)(Vcpu *cpu, u64 sp, const AbiFrame *frame, int sig, u64 handler, u64 trampoline);
    /* Restores the registers from the frame at the stack pointer. 0 or -EFAULT. */
    long (*frame_pop)(Vcpu *cpu, AbiFrame *frame);
    /* elf_gregset and elf_fpregset of a core dump: written to out, the size returned. */
    u32 (*core_regs)(const Vcpu *cpu, u8 *out);
    u32 (*core_fpregs)(Vcpu *cpu, u8 *out);
    void (*core_regs_set)(Vcpu *cpu, const u8 *in);
    void (*core_fpregs_set)(Vcpu *cpu, const u8 *in);
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
    void (*cpuinfo)(Text *t, unsigned count);
    /* Value of hwprobe key, or false if there is no such key. RISC-V only; else NULL. */
    bool (*hwprobe)(i64 key, u64 *value);
} Abi;

extern const Abi abi_riscv64;

#endif
