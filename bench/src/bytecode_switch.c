/* SPDX-License-Identifier: Apache-2.0 */
/* An interpreter's loop, by switch: a register machine that sieves primes. */
#define DISPATCH_SWITCH
#include "bytecode.h"
