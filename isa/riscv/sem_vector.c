/* SPDX-License-Identifier: Apache-2.0 */
/* Vector instructions [unpriv v]: one operation each, which knows how to do it (isa/riscv/vector.h). */
#include "isa/riscv/sem.h"

SEM(vector) { sem_illegal(b, i); }
