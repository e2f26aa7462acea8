/* SPDX-License-Identifier: Apache-2.0 */
/* base/guard for x86-64: rcx is what is left to copy, wherever a fault may come; strlen has none left. */
#include "base/guard.h"
#include <ucontext.h>

#if !defined(__x86_64__)
#error "base/guard: not written for this host yet"
#endif

extern const char guard_copy_start[], guard_copy_end[], guard_copy_fault[], guard_strlen_end[], guard_strlen_fault[];

__asm__(".text\n"
        ".globl guard_copy, guard_strlen, guard_copy_start, guard_copy_end, guard_copy_fault, guard_strlen_end, guard_strlen_fault\n"
        ".type guard_copy,@function\n"
        "guard_copy:\n" /* to, from, size */
        "   mov %rdx, %rcx\n"
        "guard_copy_start:\n"
        "   cmp $128, %rcx\n"
        "   ja 5f\n"
        "1: cmp $8, %rcx\n" /* short ones, which are the rule: words, then what is left */
        "   jb 2f\n"
        "   mov (%rsi), %rax\n"
        "   mov %rax, (%rdi)\n"
        "   add $8, %rsi\n"
        "   add $8, %rdi\n"
        "   sub $8, %rcx\n"
        "   jmp 1b\n"
        "2: test $4, %cl\n"
        "   jz 3f\n"
        "   mov (%rsi), %eax\n"
        "   mov %eax, (%rdi)\n"
        "   add $4, %rsi\n"
        "   add $4, %rdi\n"
        "   sub $4, %rcx\n"
        "3: test $2, %cl\n"
        "   jz 4f\n"
        "   movzwl (%rsi), %eax\n"
        "   mov %ax, (%rdi)\n"
        "   add $2, %rsi\n"
        "   add $2, %rdi\n"
        "   sub $2, %rcx\n"
        "4: test $1, %cl\n"
        "   jz guard_copy_end\n"
        "   movzbl (%rsi), %eax\n"
        "   mov %al, (%rdi)\n"
        "   dec %rcx\n"
        "   jmp guard_copy_end\n"
        "5: rep movsb\n"
        "guard_copy_end:\n"
        "guard_copy_fault:\n"
        "   mov %rdx, %rax\n"
        "   sub %rcx, %rax\n"
        "   ret\n"
        ".size guard_copy, .-guard_copy\n"
        ".type guard_strlen,@function\n"
        "guard_strlen:\n" /* s, max */
        "   xor %eax, %eax\n"
        "1: cmp %rsi, %rax\n"
        "   jae guard_strlen_end\n"
        "   cmpb $0, (%rdi,%rax)\n"
        "   je guard_strlen_end\n"
        "   inc %rax\n"
        "   jmp 1b\n"
        "guard_strlen_end:\n"
        "   ret\n"
        "guard_strlen_fault:\n"
        "   mov $-14, %rax\n"
        "   ret\n"
        ".size guard_strlen, .-guard_strlen\n");

bool guard_faulted(void *uc) {
    greg_t *pc = &((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
    if (*pc >= (greg_t)guard_copy_start && *pc < (greg_t)guard_copy_end) *pc = (greg_t)guard_copy_fault;
    else if (*pc >= (greg_t)guard_strlen && *pc < (greg_t)guard_strlen_end) *pc = (greg_t)guard_strlen_fault;
    else return false;
    return true;
}
