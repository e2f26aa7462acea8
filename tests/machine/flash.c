/* SPDX-License-Identifier: Apache-2.0 */
/* Runs on a bare machine, in M-mode: code in flash that is executed, programmed anew, and executed again. */
typedef unsigned int u32;

__asm__(".section .text.start,\"ax\"\n.globl _start\n_start: la sp, stack + 4096; call main\n1: j 1b\n");
char stack[4096] __attribute__((aligned(16)));

#define UART (*(volatile char *)0x10000000)
#define TEST (*(volatile u32 *)0x100000)
#define FLASH ((volatile u32 *)0x22000000)

/* Both chips get it. */
static void command(u32 c) { *FLASH = c | c << 16; }
static void program(int i, u32 v) {
    FLASH[i] = 0x400040;
    FLASH[i] = v;
    command(0xff);
}

static void call(void) {
    __asm__ volatile("fence.i");
    for (int k = 0; k < 4; k++) UART = (char)((int (*)(void))FLASH)();
}

int main(void) {
    command(0x20); /* erase */
    command(0xd0);
    program(0, 0x03700513); /* li a0, '7' */
    program(1, 0x00008067); /* ret */
    call();
    program(0, 0x03300513); /* li a0, '3': bits can be cleared */
    call();
    UART = '\n';
    TEST = 0x5555;
    for (;;) {}
}
