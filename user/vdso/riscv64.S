/* SPDX-License-Identifier: Apache-2.0 */
/* The vDSO of riscv64 guests: the functions that Linux offers there, each as the system call of its name. The signal
 * trampoline must be exactly these two four-byte instructions: unwinders recognise a signal frame by them. */
        .option norvc
        .text

        .macro CALL name, number
        .globl \name
        .type \name, @function
        .balign 16
\name:
        .cfi_startproc
        li      a7, \number
        ecall
        ret
        .cfi_endproc
        .size \name, . - \name
        .endm

        CALL    __vdso_clock_gettime, 113
        CALL    __vdso_clock_getres, 114
        CALL    __vdso_gettimeofday, 169
        CALL    __vdso_getcpu, 168
        CALL    __vdso_riscv_hwprobe, 258
        CALL    __vdso_flush_icache, 259

        .globl  __vdso_rt_sigreturn
        .type   __vdso_rt_sigreturn, @function
        .balign 16
__vdso_rt_sigreturn:
        .cfi_startproc
        .cfi_signal_frame
        li      a7, 139
        ecall
        .cfi_endproc
        .size   __vdso_rt_sigreturn, . - __vdso_rt_sigreturn

        .section .note.GNU-stack, "", @progbits
