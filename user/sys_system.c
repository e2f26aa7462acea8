/* SPDX-License-Identifier: Apache-2.0 */
/* user/sys_system: system calls about limits, names, the processor and options of the process. */
#include "base/clock.h"
#include "base/sys.h"
#include "user/exec.h"
#include "user/prctl.h"
#include "user/signal.h"
#include "user/syscall.h"
#include <errno.h>
#include <sys/resource.h>
#include <sys/utsname.h>

/* No call is ever left half done here, so there is nothing to restart. */
i64 do_restart_syscall(Thread *t, u64 *a) { return -EINTR; }

i64 do_uname(Thread *t, u64 *a) {
    struct utsname u;
    i64 r = sys_call(SYS_uname, &u);
    if (r < 0) return r;
    memset(u.machine, 0, sizeof u.machine);
    memcpy(u.machine, t->process->abi->machine, strlen(t->process->abi->machine));
    const char *release = t->process->options->release;
    if (release) {
        Text text = text_init(u.release, sizeof u.release);
        text_print(&text, "%s", release);
    }
    return guest_write(a[0], &u, sizeof u);
}

/* --- time ------------------------------------------------------------------------------------------------ */

i64 do_clock_gettime(Thread *t, u64 *a) {
    struct timespec ts;
    i64 r = clock_read((int)a[0], &ts);
    return r < 0 ? r : guest_write(a[1], &ts, sizeof ts);
}

i64 do_gettimeofday(Thread *t, u64 *a) {
    if (a[1]) return thread_sys(t, SYS_gettimeofday, a[0], a[1]);
    struct timespec ts;
    clock_read(CLOCK_REALTIME, &ts);
    u64 tv[2] = {(u64)ts.tv_sec, (u64)ts.tv_nsec / 1000};
    return a[0] ? guest_write(a[0], tv, sizeof tv) : 0;
}

/* --- limits: those that would hit the VMM itself are kept for the guest ------------------------------------ */

static i64 own_limit(Thread *t, int resource, const struct rlimit *set, struct rlimit *get) {
    Process *p = t->process;
    u64 *cur = resource == RLIMIT_CORE ? &p->core_limit : &p->space.total_max;
    struct rlimit host;
    i64 r = sys_call(SYS_getrlimit, resource, &host);
    if (r < 0) return r;
    if (get) *get = (struct rlimit){.rlim_cur = MIN(*cur, host.rlim_max), .rlim_max = host.rlim_max};
    if (!set) return 0;
    if (set->rlim_cur > set->rlim_max) return -EINVAL;
    if (set->rlim_max != host.rlim_max && resource == RLIMIT_CORE) {
        host.rlim_max = set->rlim_max;
        host.rlim_cur = 0;
        r = sys_call(SYS_setrlimit, resource, &host);
        if (r < 0) return r;
    }
    *cur = set->rlim_cur;
    if (resource == RLIMIT_CORE) signal_reinstall(t);
    return 0;
}

static bool limit_is_own(int resource) { return resource == RLIMIT_CORE || resource == RLIMIT_AS; }

static i64 limit_any(Thread *t, int pid, int resource, u64 set_at, u64 get_at) {
    struct rlimit set, get;
    if (set_at && guest_read(&set, set_at, sizeof set) < 0) return -EFAULT;
    i64 r;
    bool self = pid == 0 || pid == sys_call(SYS_getpid);
    if (self && limit_is_own(resource)) r = own_limit(t, resource, set_at ? &set : NULL, get_at ? &get : NULL);
    else r = sys_call(SYS_prlimit64, pid, resource, set_at ? &set : NULL, get_at ? &get : NULL);
    if (r < 0) return r;
    return get_at ? guest_write(get_at, &get, sizeof get) : 0;
}

i64 do_getrlimit(Thread *t, u64 *a) { return a[1] ? limit_any(t, 0, (int)a[0], 0, a[1]) : -EFAULT; }
i64 do_setrlimit(Thread *t, u64 *a) { return a[1] ? limit_any(t, 0, (int)a[0], a[1], 0) : -EFAULT; }
i64 do_prlimit64(Thread *t, u64 *a) { return limit_any(t, (int)a[0], (int)a[1], a[2], a[3]); }

/* --- the processor ------------------------------------------------------------------------------------------ */

typedef struct HwprobePair {
    i64 key;
    u64 value;
} HwprobePair;

/* All of our processors are alike, so that the set of CPUs matters for WHICH_CPUS alone. */
static i64 hwprobe_values(Thread *t, u64 pairs, u64 count) {
    for (u64 i = 0; i < count; i++) {
        HwprobePair p;
        if (guest_read(&p, pairs + i * sizeof p, sizeof p) < 0) return -EFAULT;
        if (!t->process->abi->hwprobe(p.key, !t->process->options->no_vectors, &p.value)) p = (HwprobePair){.key = -1};
        if (guest_write(pairs + i * sizeof p, &p, sizeof p) < 0) return -EFAULT;
    }
    return 0;
}

static bool hwprobe_matches(const Process *process, const HwprobePair *p, bool *known) {
    u64 value;
    *known = process->abi->hwprobe(p->key, !process->options->no_vectors, &value);
    if (!*known) return false;
    bool is_bitmask = p->key == 3 || p->key == 4 || p->key == 5;
    return is_bitmask ? (value & p->value) == p->value : value == p->value;
}

static i64 hwprobe_cpus(Thread *t, u64 pairs, u64 count, u64 size, u64 set_at) {
    u8 set[1024], host[1024] = {0};
    if (!set_at || !size || size > sizeof set) return -EINVAL;
    if (guest_read(set, set_at, size) < 0) return -EFAULT;
    sys_call(SYS_sched_getaffinity, 0, sizeof host, host);
    bool empty = true, all = true;
    for (u64 i = 0; i < size; i++) empty &= !set[i];
    for (u64 i = 0; i < count; i++) {
        HwprobePair p;
        bool known;
        if (guest_read(&p, pairs + i * sizeof p, sizeof p) < 0) return -EFAULT;
        all &= hwprobe_matches(t->process, &p, &known);
        if (!known && guest_write(pairs + i * sizeof p, &(HwprobePair){.key = -1}, sizeof p) < 0) return -EFAULT;
    }
    for (u64 i = 0; i < size; i++) set[i] = !all ? 0 : empty ? host[i] : set[i] & host[i];
    return guest_write(set_at, set, size);
}

i64 do_riscv_hwprobe(Thread *t, u64 *a) {
    if (!t->process->abi->hwprobe) return -ENOSYS;
    if (a[4] == 1 /* RISCV_HWPROBE_WHICH_CPUS */) return hwprobe_cpus(t, a[0], a[1], a[2], a[3]);
    if (a[4] || (!a[2] != !a[3])) return -EINVAL;
    u8 byte;
    if (a[3] && guest_read(&byte, a[3], 1) < 0) return -EFAULT;
    return hwprobe_values(t, a[0], a[1]);
}

/* --- options of the process ----------------------------------------------------------------------------------- */

/* Who may use vectors: this thread, and what it executes. */
static i64 vector_control(Thread *t, bool set, u64 control) {
    const Abi *abi = t->process->abi;
    if (!abi->vector_set || t->process->options->no_vectors) return -EINVAL;
    return set ? abi->vector_set(t->cpu, control) : (i64)abi->vector_get(t->cpu);
}

i64 do_prctl(Thread *t, u64 *a) {
    switch ((int)a[0]) {
    case PR_SET_MM: return -EPERM;   /* those are the VMM's numbers */
    case PR_GET_SECCOMP:
    case PR_SET_SECCOMP: return seccomp_prctl(t, a);
    case PR_GET_UNALIGN:
    case PR_SET_UNALIGN:
    case PR_GET_TSC:
    case PR_SET_TSC: return -EINVAL;
    case PR_RISCV_V_SET_CONTROL:
    case PR_RISCV_V_GET_CONTROL: return vector_control(t, (int)a[0] == PR_RISCV_V_SET_CONTROL, a[1]);
    case PR_RISCV_SET_ICACHE_FLUSH_CTX: return 0; /* fence.i works from every hart */
    }
    return thread_sys(t, SYS_prctl, a[0], a[1], a[2], a[3], a[4]);
}

/* --- System V semaphores: the one control structure that x86 lays out in its own way ----------------------------- */

typedef struct GuestSemid { /* struct semid64_ds, generic */
    u8 perm[48];
    u64 otime, ctime, nsems, unused[2];
} GuestSemid;
typedef struct HostSemid { /* x86-64 */
    u8 perm[48];
    u64 otime, unused1, ctime, unused2, nsems, unused[2];
} HostSemid;

enum { SEM_IPC_SET = 1, SEM_IPC_STAT = 2, SEM_STAT = 18, SEM_STAT_ANY = 20, SEM_IPC_64 = 0x100 };

i64 do_semctl(Thread *t, u64 *a) {
    int command = (int)a[2] & ~SEM_IPC_64;
    HostSemid h;
    GuestSemid g;
    if (command == SEM_IPC_SET) {
        if (guest_read(&g, a[3], sizeof g) < 0) return -EFAULT;
        memset(&h, 0, sizeof h);
        memcpy(h.perm, g.perm, sizeof h.perm);
        return thread_sys(t, SYS_semctl, a[0], a[1], command, &h);
    }
    if (command != SEM_IPC_STAT && command != SEM_STAT && command != SEM_STAT_ANY)
        return thread_sys(t, SYS_semctl, a[0], a[1], command, a[3]);
    i64 r = thread_sys(t, SYS_semctl, a[0], a[1], command, &h);
    if (r < 0) return r;
    g = (GuestSemid){.otime = h.otime, .ctime = h.ctime, .nsems = h.nsems};
    memcpy(g.perm, h.perm, sizeof g.perm);
    return guest_write(a[3], &g, sizeof g) < 0 ? -EFAULT : r;
}
