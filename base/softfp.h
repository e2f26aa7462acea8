/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IEEE 754-2019 binary floating point in integer arithmetic, with RISC-V's choices.
 *
 * One implementation serves binary16, binary32 and binary64: a value is unpacked to {class, sign, exponent,
 * significand}, the operation works on 128-bit integers that hold the exact result or the exact result with its
 * tail folded into a sticky bit, and one function rounds and packs. Hence every operation is correctly rounded
 * by the same few lines, and a new format is one row.
 *
 * Values are raw bits in the low end of a u64; higher bits of an operand are ignored, those of a result are zero.
 * NaN boxing is the caller's. A NaN result is always the canonical one (positive, quiet, no payload); a caller whose
 * guest propagates payloads looks at the operands itself.
 *
 * `flags` is or'ed into, never cleared. Tininess is detected after rounding. Nothing here keeps state, allocates,
 * or touches the host's FPU: any thread, any time. [riscv unpriv 21 "F", "D", "Zfh", "Zfa"]
 */
#ifndef BASE_SOFTFP_H
#define BASE_SOFTFP_H

#include "base/base.h"

/* A format; the value is its index in the table of softfp.c. */
typedef enum { SOFTFP_F16, SOFTFP_F32, SOFTFP_F64 } SoftfpType;

/* Rounding modes, numbered as the guest's `frm`. */
typedef enum { SOFTFP_RNE, SOFTFP_RTZ, SOFTFP_RDN, SOFTFP_RUP, SOFTFP_RMM } SoftfpRound;

/* Exception flags, numbered as the guest's `fflags`. */
enum { SOFTFP_NX = 1, SOFTFP_UF = 2, SOFTFP_OF = 4, SOFTFP_DZ = 8, SOFTFP_NV = 16 };

/* Which signs softfp_fma() turns round before it computes: -(a*b), -c, both or none. */
enum { SOFTFP_NEGATE_PRODUCT = 1, SOFTFP_NEGATE_ADDEND = 2 };

/* Integer types of the conversions. */
typedef enum { SOFTFP_I32, SOFTFP_U32, SOFTFP_I64, SOFTFP_U64 } SoftfpInt;

/* The canonical NaN of a format. */
u64 softfp_nan(SoftfpType t);

u64 softfp_add(SoftfpType t, u64 a, u64 b, SoftfpRound rm, u32 *flags);
u64 softfp_sub(SoftfpType t, u64 a, u64 b, SoftfpRound rm, u32 *flags);
u64 softfp_mul(SoftfpType t, u64 a, u64 b, SoftfpRound rm, u32 *flags);
u64 softfp_div(SoftfpType t, u64 a, u64 b, SoftfpRound rm, u32 *flags);
u64 softfp_sqrt(SoftfpType t, u64 a, SoftfpRound rm, u32 *flags);

/* (a * b) + c rounded once, after the negations. inf * 0 is invalid whatever c is, a quiet NaN included. */
u64 softfp_fma(SoftfpType t, u64 a, u64 b, u64 c, int negate, SoftfpRound rm, u32 *flags);

/*
 * Minimum and maximum; -0 is less than +0; a signaling NaN operand is invalid. min and max return the other operand
 * where one is NaN (IEEE minimumNumber: fmin, fmax); minm and maxm return NaN (IEEE minimum: fminm, fmaxm).
 */
u64 softfp_min(SoftfpType t, u64 a, u64 b, u32 *flags);
u64 softfp_max(SoftfpType t, u64 a, u64 b, u32 *flags);
u64 softfp_minm(SoftfpType t, u64 a, u64 b, u32 *flags);
u64 softfp_maxm(SoftfpType t, u64 a, u64 b, u32 *flags);

/*
 * Comparisons; false where an operand is NaN. eq, ltq and leq are quiet (only a signaling NaN is invalid), lt and le
 * are signaling (any NaN is).
 */
bool softfp_eq(SoftfpType t, u64 a, u64 b, u32 *flags);
bool softfp_lt(SoftfpType t, u64 a, u64 b, u32 *flags);
bool softfp_le(SoftfpType t, u64 a, u64 b, u32 *flags);
bool softfp_ltq(SoftfpType t, u64 a, u64 b, u32 *flags);
bool softfp_leq(SoftfpType t, u64 a, u64 b, u32 *flags);

/* One bit of ten, as `fclass`: -inf, -normal, -subnormal, -0, +0, +subnormal, +normal, +inf, sNaN, qNaN. */
u32 softfp_class(SoftfpType t, u64 a);

/* From one format to another; a NaN becomes the canonical one of `to`. */
u64 softfp_convert(SoftfpType to, SoftfpType from, u64 a, SoftfpRound rm, u32 *flags);

/*
 * To an integer. Out of range saturates and NaN is the greatest value, both invalid (and then not inexact). A 32-bit
 * result, unsigned too, is sign-extended to 64 bits, as RISC-V writes it to a register.
 */
u64 softfp_to_int(SoftfpInt to, SoftfpType t, u64 a, SoftfpRound rm, u32 *flags);

/* From an integer; of `a` the low 32 or all 64 bits count. */
u64 softfp_from_int(SoftfpType t, SoftfpInt from, u64 a, SoftfpRound rm, u32 *flags);

/* To an integral value in the same format; inexact is raised only if `exact` (froundnx; fround without). */
u64 softfp_round(SoftfpType t, u64 a, SoftfpRound rm, bool exact, u32 *flags);

/* binary64 to int32 modulo 2^32, toward zero, sign-extended; inf and NaN give 0; flags as softfp_to_int (fcvtmod.w.d).
 */
u64 softfp_to_int32_modular(u64 a, u32 *flags);

#endif
