/* SPDX-License-Identifier: Apache-2.0 */
/* What this processor has, by CPUID [SDM vol. 2, CPUID]. SSE4.2 and popcnt are the least. */
#include "host/x64/x64.h"
#include <cpuid.h>

X64Features x64_features;

static u64 xcr0(void) {
    u32 lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo | (u64)hi << 32;
}

/* Takes away what `list` names ("-avx,-bmi2"). */
static void take_away(const char *list) {
    static const struct {
        const char *name;
        size_t offset;
    } names[] = {{"avx", offsetof(X64Features, avx)}, {"fma", offsetof(X64Features, fma)}, {"bmi1", offsetof(X64Features, bmi1)},
        {"bmi2", offsetof(X64Features, bmi2)}, {"lzcnt", offsetof(X64Features, lzcnt)}, {"avx2", offsetof(X64Features, avx2)}, {"avx512", offsetof(X64Features, avx512)},
        {"aes", offsetof(X64Features, aes)}, {"clmul", offsetof(X64Features, clmul)}, {"sha", offsetof(X64Features, sha)}};
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        size_t len = strlen(names[k].name);
        for (const char *s = list; (s = strchr(s, '-')); s++)
            if (!strncmp(s + 1, names[k].name, len) && (s[1 + len] == 0 || s[1 + len] == ',')) *((bool *)&x64_features + names[k].offset) = false;
    }
    if (!x64_features.avx) x64_features.fma = x64_features.avx2 = x64_features.avx512 = false;
}

const char *x64_init(const char *without) {
    u32 a, b, c, d, b7 = 0, c7, d7;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return "the processor has no CPUID";
    if (!(c & bit_SSE4_2) || !(c & bit_POPCNT)) return "the processor lacks SSE4.2 or popcnt, the least that generated code needs";
    bool os_avx = (c & bit_OSXSAVE) && (xcr0() & 6) == 6;
    __get_cpuid_count(7, 0, &a, &b7, &c7, &d7);
    u32 ax, bx, cx = 0, dx;
    __get_cpuid(0x80000001, &ax, &bx, &cx, &dx);
    x64_features = (X64Features){
        .avx = os_avx && (c & bit_AVX),
        .fma = os_avx && (c & bit_FMA),
        .bmi1 = os_avx && (b7 & bit_BMI),
        .bmi2 = os_avx && (b7 & bit_BMI2),
        .lzcnt = cx & bit_LZCNT,
        .avx2 = os_avx && (b7 & bit_AVX2),
        .aes = c & bit_AES,
        .clmul = c & bit_PCLMUL,
        .sha = b7 & bit_SHA,
        .avx512 = os_avx && (xcr0() & 0xe6) == 0xe6 && (b7 & bit_AVX512F) && (b7 & bit_AVX512VL) && (b7 & bit_AVX512DQ),
    };
    if (without) take_away(without);
    return NULL;
}
