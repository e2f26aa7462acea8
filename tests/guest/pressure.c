/* SPDX-License-Identifier: Apache-2.0 */
/* More values alive in one block than registers can hold: floats without their boxes and sums before their extension, which the
 * translator remembers besides what stands in the registers. Once "out of spill places", an abort that any program could ask for. */
//: oracle: qemu
#include "t.h"

static uint64_t ints[20];
static float floats[30];

#define EACH_INT(f) f(t0, 0) f(t1, 1) f(t2, 2) f(t3, 3) f(t4, 4) f(t5, 5) f(t6, 6) f(a0, 7) f(a1, 8) f(a2, 9) f(a3, 10) f(a4, 11) f(a5, 12) f(a7, 13) f(s2, 14) f(s3, 15) f(s4, 16) f(s5, 17) f(s6, 18) f(s7, 19)
#define LOAD(r, k) "ld " #r ", 8*" #k "(a6)\n"
#define STORE(r, k) "sd " #r ", 8*" #k "(a6)\n"
#define TWICE(r, k) "addw " #r ", " #r ", " #r "\n"

static void press(void) {
    register void *i __asm__("a6") = ints;
    register void *f __asm__("s8") = floats;
    __asm__ volatile(
        "flw f0, 0(s8) ; flw f1, 4(s8) ; flw f2, 8(s8) ; flw f3, 12(s8) ; flw f4, 16(s8)\n"
        "flw f5, 20(s8) ; flw f6, 24(s8) ; flw f7, 28(s8) ; flw f8, 32(s8) ; flw f9, 36(s8)\n"
        "flw f10, 40(s8) ; flw f11, 44(s8) ; flw f12, 48(s8) ; flw f13, 52(s8) ; flw f14, 56(s8)\n"
        "flw f15, 60(s8) ; flw f16, 64(s8) ; flw f17, 68(s8) ; flw f18, 72(s8) ; flw f19, 76(s8)\n"
        "flw f20, 80(s8) ; flw f21, 84(s8) ; flw f22, 88(s8) ; flw f23, 92(s8) ; flw f24, 96(s8)\n"
        "flw f25, 100(s8) ; flw f26, 104(s8) ; flw f27, 108(s8) ; flw f28, 112(s8) ; flw f29, 116(s8)\n"
        EACH_INT(LOAD)
        "j 1f\n1:\n"
        "fmadd.s f31, f0, f1, f2 ; fmadd.s f31, f3, f4, f5\n"
        "fmadd.s f31, f6, f7, f8 ; fmadd.s f31, f9, f10, f11\n"
        "fmadd.s f31, f12, f13, f14 ; fmadd.s f31, f15, f16, f17\n"
        "fmadd.s f31, f18, f19, f20 ; fmadd.s f31, f21, f22, f23\n"
        "fmadd.s f31, f24, f25, f26 ; fmadd.s f31, f27, f28, f29\n"
        EACH_INT(TWICE)
        "fmadd.s f0, f0, f1, f2 ; fmadd.s f3, f3, f4, f5\n"
        "fmadd.s f6, f6, f7, f8 ; fmadd.s f9, f9, f10, f11\n"
        "fmadd.s f12, f12, f13, f14 ; fmadd.s f15, f15, f16, f17\n"
        "fmadd.s f18, f18, f19, f20 ; fmadd.s f21, f21, f22, f23\n"
        "fmadd.s f24, f24, f25, f26 ; fmadd.s f27, f27, f28, f29\n"
        "addw t0, t0, t1 ; addw t2, t2, t3\n"
        "addw t4, t4, t5 ; addw t6, t6, a0\n"
        "addw a1, a1, a2 ; addw a3, a3, a4\n"
        "addw a5, a5, a7 ; addw s2, s2, s3\n"
        "addw s4, s4, s5 ; addw s6, s6, s7\n"
        "j 1f\n1:\n"
        EACH_INT(STORE)
        "fsw f0, 0(s8) ; fsw f1, 4(s8) ; fsw f2, 8(s8) ; fsw f3, 12(s8) ; fsw f4, 16(s8)\n"
        "fsw f5, 20(s8) ; fsw f6, 24(s8) ; fsw f7, 28(s8) ; fsw f8, 32(s8) ; fsw f9, 36(s8)\n"
        "fsw f10, 40(s8) ; fsw f11, 44(s8) ; fsw f12, 48(s8) ; fsw f13, 52(s8) ; fsw f14, 56(s8)\n"
        "fsw f15, 60(s8) ; fsw f16, 64(s8) ; fsw f17, 68(s8) ; fsw f18, 72(s8) ; fsw f19, 76(s8)\n"
        "fsw f20, 80(s8) ; fsw f21, 84(s8) ; fsw f22, 88(s8) ; fsw f23, 92(s8) ; fsw f24, 96(s8)\n"
        "fsw f25, 100(s8) ; fsw f26, 104(s8) ; fsw f27, 108(s8) ; fsw f28, 112(s8) ; fsw f29, 116(s8)\n"
        : : "r"(i), "r"(f)
        :
        "memory", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "a0", "a1", "a2", "a3", "a4", "a5", "a7", "s2", "s3", "s4", "s5",
          "s6", "s7", "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "ft8", "ft9", "ft10", "ft11", "fs0", "fs1", "fs2",
          "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7");
}

int main(void) {
    for (int k = 0; k < 20; k++) ints[k] = (uint64_t)k << 28 | (unsigned)k;
    for (int k = 0; k < 30; k++) floats[k] = (float)k;
    press();
    for (int k = 0; k < 20; k += 2) CHECK(ints[k] == (uint64_t)(int32_t)(((2 * k + 1u) << 28 | (2 * k + 1u)) * 2));
    for (int k = 0; k < 30; k += 3) CHECK(floats[k] == (float)(k * (k + 1) + k + 2));
    for (int k = 0; k < 20; k++) printf("%lx ", (unsigned long)ints[k]);
    for (int k = 0; k < 30; k++) printf("%g ", (double)floats[k]);
    printf("\n");
    return 0;
}
