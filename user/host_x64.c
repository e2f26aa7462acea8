/* SPDX-License-Identifier: Apache-2.0 */
/* user/host for x86-64. See host.h. */
#include "user/host.h"
#include "base/sys.h"
#include <asm/prctl.h>
#include <errno.h>
#include <ucontext.h>

#if !defined(__x86_64__)
#error "user/host: not written for this host yet"
#endif

extern const char host_sys_check[], host_sys_insn[], host_sys_pending[];

__asm__(".text\n"
        ".globl host_sys, host_sys_check, host_sys_insn, host_sys_pending\n"
        ".type host_sys,@function\n"
        "host_sys:\n" /* pending, n, args */
        "   mov %rdi, %r11\n"
        "   mov %rsi, %rax\n"
        "   mov %rdx, %rcx\n"
        "   mov 0(%rcx), %rdi\n"
        "   mov 8(%rcx), %rsi\n"
        "   mov 16(%rcx), %rdx\n"
        "   mov 24(%rcx), %r10\n"
        "   mov 32(%rcx), %r8\n"
        "   mov 40(%rcx), %r9\n"
        "host_sys_check:\n"
        "   cmpl $0, (%r11)\n"
        "   jne host_sys_pending\n"
        "host_sys_insn:\n" /* a call that the kernel would restart is back here, too, when the handler runs */
        "   syscall\n"
        "   ret\n"
        "host_sys_pending:\n"
        "   mov $-512, %rax\n"
        "   ret\n"
        ".size host_sys, .-host_sys\n"

        ".globl host_clone, host_clone3, host_unmap_and_exit, host_enter, host_restorer\n"
        "host_clone:\n" /* flags, stack, ptid, ctid, fn, arg */
        "   and $-16, %rsi\n"
        "   mov %rcx, %r10\n"
        "   push %rbx\n"
        "   push %r12\n"
        "   mov %r8, %rbx\n"
        "   mov %r9, %r12\n"
        "   xor %r8d, %r8d\n"
        "   mov $56, %eax\n"
        "   syscall\n"
        "   test %rax, %rax\n"
        "   jz host_child\n"
        "   pop %r12\n"
        "   pop %rbx\n"
        "   ret\n"
        "host_clone3:\n" /* args, size, fn, arg */
        "   push %rbx\n"
        "   push %r12\n"
        "   mov %rdx, %rbx\n"
        "   mov %rcx, %r12\n"
        "   mov $435, %eax\n"
        "   syscall\n"
        "   test %rax, %rax\n"
        "   jz host_child\n"
        "   pop %r12\n"
        "   pop %rbx\n"
        "   ret\n"
        "host_child:\n"
        "   xor %ebp, %ebp\n"
        "   mov %r12, %rdi\n"
        "   call *%rbx\n"
        "   hlt\n"
        "host_unmap_and_exit:\n" /* at, size, status */
        "   mov %edx, %ebx\n"
        "   mov $11, %eax\n"
        "   syscall\n"
        "   mov %ebx, %edi\n"
        "   mov $60, %eax\n"
        "   syscall\n"
        "   hlt\n"
        "host_enter:\n" /* stack, fn, arg */
        "   and $-16, %rdi\n"
        "   mov %rdi, %rsp\n"
        "   xor %ebp, %ebp\n"
        "   mov %rdx, %rdi\n"
        "   call *%rsi\n"
        "   hlt\n"
        "host_restorer:\n"
        "   mov $15, %eax\n"
        "   syscall\n"
        "   hlt\n");

void host_mark_thread(void *thread) { sys_call(SYS_arch_prctl, ARCH_SET_GS, thread); }

static greg_t *pc_of(void *uc) { return &((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP]; }

void host_interrupt(void *uc) {
    greg_t *pc = pc_of(uc);
    if (*pc >= (greg_t)host_sys_check && *pc <= (greg_t)host_sys_insn) *pc = (greg_t)host_sys_pending;
}

u64 *host_mask(void *uc) { return (u64 *)&((ucontext_t *)uc)->uc_sigmask; }
u64 host_pc(const void *uc) { return (u64)((const ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP]; }
bool host_fault_is_write(const void *uc) { return ((const ucontext_t *)uc)->uc_mcontext.gregs[REG_ERR] & 2; }
