/* SPDX-License-Identifier: Apache-2.0 */
/* user/syscall: the generic 64-bit system call table, as data (syscall.def), and who does what.
 *
 * PASS rows go to the host as they are: the two ABIs agree. OWN rows have a function `do_NAME` in one of the
 * sys_*.c files. NONE rows are ENOSYS on purpose. A function gets the six arguments, which it may change, and
 * returns the result or -errno, or one of the two values below.
 */
#ifndef USER_SYSCALL_H
#define USER_SYSCALL_H

#include "user/thread.h"

enum {
    SYSCALL_RESTART = -HOST_INTERRUPTED, /* nothing was done: deliver the signal, then make the call again */
    SYSCALL_NO_RESULT = -1000000,        /* registers and pc are set already */
    SYSCALL_COUNT = 480,
};

typedef i64 SyscallFn(Thread *t, u64 *args);

typedef struct Syscall {
    const char *name;  /* NULL: no such call */
    const char *kinds; /* of its arguments, see trace.c */
    SyscallFn *fn;     /* NULL: PASS */
    i32 host;          /* the host's number; -1: there is none */
} Syscall;

extern const Syscall syscall_table[SYSCALL_COUNT];

/* Makes the call that the guest's registers ask for, up to setting result and pc. */
void syscall_do(Thread *t);

#define PASS(number, name, kinds)
#define PASS_AS(number, name, host, kinds)
#define NONE(number, name, kinds)
#define OWN(number, name, kinds) SyscallFn do_##name;
#include "user/syscall.def"
#undef PASS
#undef PASS_AS
#undef NONE
#undef OWN

#endif
