/* SPDX-License-Identifier: Apache-2.0 */
/* user/sys_mem: system calls about memory; mem/space does the work. */
#include "base/sys.h"
#include "user/exec.h"
#include "user/syscall.h"
#include "user/uring.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/shm.h>

/* PR_SET_MDWE is the host's to keep and to hand on; but of the guest's mappings none is executable to it. */
static bool gains_refused(void) {
    enum { GET_MDWE = 66, REFUSE_EXEC_GAIN = 1 };
    long r = sys_call(SYS_prctl, GET_MDWE, 0, 0, 0, 0);
    return r > 0 && (r & REFUSE_EXEC_GAIN);
}

static bool all_executable(Space *s, u64 start, u64 size) {
    Vma v;
    for (u64 at = start; at < start + size && space_find(s, at, &v) && v.start < start + size; at = v.end)
        if (!(v.prot & PROT_EXEC)) return false;
    return true;
}

enum { WRITE_EXEC = PROT_WRITE | PROT_EXEC };

i64 do_mmap(Thread *t, u64 *a) {
    if ((a[2] & WRITE_EXEC) == WRITE_EXEC && gains_refused()) return -EACCES;
    if (!(a[3] & MAP_ANONYMOUS) && exec_owns_fd(t, (int)a[4])) return -EBADF;
    i64 r = space_map(&t->process->space, a[0], a[1], (int)a[2], (int)a[3], (int)a[4], a[5], VMA_ANON);
    if (UNLIKELY(t->process->rings) && r >= 0 && !(a[3] & MAP_ANONYMOUS)) uring_mapped(t, (int)a[4], (u64)r, a[5]);
    bool bad_fd = r < 0 && !(a[3] & MAP_ANONYMOUS) && sys_call(SYS_fcntl, a[4], F_GETFD) < 0;
    return bad_fd ? -EBADF : r; /* that comes before all other errors */
}
i64 do_munmap(Thread *t, u64 *a) { return space_unmap(&t->process->space, a[0], a[1]); }
i64 do_mprotect(Thread *t, u64 *a) {
    Space *s = &t->process->space;
    if ((a[2] & PROT_EXEC) && gains_refused() && ((a[2] & PROT_WRITE) || !all_executable(s, a[0], a[1]))) return -EACCES;
    return space_protect(s, a[0], a[1], (int)a[2]);
}
i64 do_mremap(Thread *t, u64 *a) { return space_remap(&t->process->space, a[0], a[1], a[2], (int)a[3], a[4]); }
i64 do_madvise(Thread *t, u64 *a) { return space_advise(&t->process->space, a[0], a[1], (int)a[2]); }
i64 do_brk(Thread *t, u64 *a) { return (i64)space_brk(&t->process->space, a[0]); }
i64 do_shmat(Thread *t, u64 *a) {
    if ((a[2] & (SHM_EXEC | SHM_RDONLY)) == SHM_EXEC && gains_refused()) return -EACCES;
    return space_shm_attach(&t->process->space, (int)a[0], a[1], (int)a[2]);
}
i64 do_shmdt(Thread *t, u64 *a) { return space_shm_detach(&t->process->space, a[0]); }

i64 do_mlockall(Thread *t, u64 *a) { return space_lock_all(&t->process->space, (int)a[0]); }
i64 do_munlockall(Thread *t, u64 *a) { return space_unlock_all(&t->process->space); }

i64 do_riscv_flush_icache(Thread *t, u64 *a) {
    if (a[2] & ~1ull) return -EINVAL;
    engine_flush(t->process->engine, a[0], a[1] > a[0] ? a[1] - a[0] : ~0ull);
    return 0;
}
