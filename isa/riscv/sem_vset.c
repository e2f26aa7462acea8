/* SPDX-License-Identifier: Apache-2.0 */
/* vsetvli and its like, and the CSRs of vectors [unpriv v]. */
#include "isa/riscv/sem.h"
#include "isa/riscv/vector.h"

SEM(vsetvli) { sem_illegal(b, i); }
SEM(vsetivli) { sem_illegal(b, i); }
SEM(vsetvl) { sem_illegal(b, i); }
