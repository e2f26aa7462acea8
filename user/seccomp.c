/* SPDX-License-Identifier: Apache-2.0 */
/* user/seccomp: bodies. See seccomp.h. */
#include "user/seccomp.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/syscall.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

typedef struct sock_filter Insn;

struct SeccompFilter {
    u32 users;               /* threads whose newest it is, and filters that follow it */
    u32 len;
    SeccompFilter *older;
    Insn code[];
};

enum {
    PATH_INSNS_MAX = 32768,  /* MAX_INSNS_PER_PATH, each filter counting 4 more */
    NOTIFY_BIT = 0x10000000, /* of the numbers that notify: guest's number | this */
    KNOWN_FLAGS = 63,        /* SECCOMP_FILTER_FLAG_* up to Linux 6.0 */
    TSYNC = SECCOMP_FILTER_FLAG_TSYNC, LISTENER = SECCOMP_FILTER_FLAG_NEW_LISTENER, TSYNC_ESRCH = 16, WAIT_KILLABLE = 32,
    NOTIFY_GO_ON = -4094,    /* what our supervisors answer for SECCOMP_USER_NOTIF_FLAG_CONTINUE */
};

/* --- classic BPF ------------------------------------------------------------------------------------------ */

/* What seccomp_check_filter and bpf_check_classic accept. */
static bool op_valid(const Insn *i) {
    switch (i->code) {
    case BPF_LD | BPF_W | BPF_ABS: return i->k < sizeof(struct seccomp_data) && i->k % 4 == 0;
    case BPF_LD | BPF_W | BPF_LEN: case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_RET | BPF_K: case BPF_RET | BPF_A: case BPF_LD | BPF_IMM: case BPF_LDX | BPF_IMM:
    case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
    case BPF_ALU | BPF_ADD | BPF_K: case BPF_ALU | BPF_ADD | BPF_X: case BPF_ALU | BPF_SUB | BPF_K: case BPF_ALU | BPF_SUB | BPF_X:
    case BPF_ALU | BPF_MUL | BPF_K: case BPF_ALU | BPF_MUL | BPF_X: case BPF_ALU | BPF_DIV | BPF_X: case BPF_ALU | BPF_NEG:
    case BPF_ALU | BPF_AND | BPF_K: case BPF_ALU | BPF_AND | BPF_X: case BPF_ALU | BPF_OR | BPF_K: case BPF_ALU | BPF_OR | BPF_X:
    case BPF_ALU | BPF_XOR | BPF_K: case BPF_ALU | BPF_XOR | BPF_X: case BPF_ALU | BPF_LSH | BPF_X: case BPF_ALU | BPF_RSH | BPF_X:
    case BPF_JMP | BPF_JA: case BPF_JMP | BPF_JEQ | BPF_K: case BPF_JMP | BPF_JEQ | BPF_X: case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X: case BPF_JMP | BPF_JGT | BPF_K: case BPF_JMP | BPF_JGT | BPF_X: case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X: return true;
    case BPF_ALU | BPF_DIV | BPF_K: return i->k != 0;
    case BPF_ALU | BPF_LSH | BPF_K: case BPF_ALU | BPF_RSH | BPF_K: return i->k < 32;
    case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM: case BPF_ST: case BPF_STX: return i->k < BPF_MEMWORDS;
    }
    return false;
}

static bool jumps_inside(const Insn *i, u32 at, u32 len) {
    if (BPF_CLASS(i->code) != BPF_JMP) return true;
    if (i->code == (BPF_JMP | BPF_JA)) return i->k < len - at - 1;
    return at + 1 + i->jt < len && at + 1 + i->jf < len;
}

static bool code_valid(const Insn *code, u32 len) {
    for (u32 i = 0; i < len; i++)
        if (!op_valid(&code[i]) || !jumps_inside(&code[i], i, len)) return false;
    return BPF_CLASS(code[len - 1].code) == BPF_RET;
}

static u32 alu(u16 op, u32 a, u32 b) {
    switch (op) {
    case BPF_ADD: return a + b;
    case BPF_SUB: return a - b;
    case BPF_MUL: return a * b;
    case BPF_DIV: return a / b;
    case BPF_AND: return a & b;
    case BPF_OR: return a | b;
    case BPF_XOR: return a ^ b;
    case BPF_LSH: return b < 32 ? a << b : 0;
    case BPF_RSH: return b < 32 ? a >> b : 0;
    default: return -a; /* BPF_NEG */
    }
}

static bool jump_taken(u16 op, u32 a, u32 b) {
    switch (op) {
    case BPF_JEQ: return a == b;
    case BPF_JGT: return a > b;
    case BPF_JGE: return a >= b;
    default: return a & b; /* BPF_JSET */
    }
}

/* Jumps go forward only, so it ends. Memory that was not stored to reads as 0 (the kernel refuses such filters). */
static u32 filter_run(const SeccompFilter *f, const struct seccomp_data *d) {
    u32 a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    for (u32 pc = 0;; pc++) {
        const Insn *i = &f->code[pc];
        u32 operand = BPF_SRC(i->code) == BPF_X ? x : i->k;
        switch (BPF_CLASS(i->code)) {
        case BPF_LD: {
            if (BPF_MODE(i->code) == BPF_ABS) memcpy(&a, (const u8 *)d + i->k, 4);
            else a = BPF_MODE(i->code) == BPF_MEM ? memory[i->k] : BPF_MODE(i->code) == BPF_LEN ? sizeof *d : i->k;
            break;
        }
        case BPF_LDX: x = BPF_MODE(i->code) == BPF_MEM ? memory[i->k] : BPF_MODE(i->code) == BPF_LEN ? sizeof *d : i->k; break;
        case BPF_ST: memory[i->k] = a; break;
        case BPF_STX: memory[i->k] = x; break;
        case BPF_ALU:
            if (BPF_OP(i->code) == BPF_DIV && !operand) return 0; /* [bpf_convert_filter] */
            a = alu(BPF_OP(i->code), a, operand);
            break;
        case BPF_JMP:
            if (BPF_OP(i->code) == BPF_JA) pc += i->k;
            else pc += jump_taken(BPF_OP(i->code), a, operand) ? i->jt : i->jf;
            break;
        case BPF_RET: return BPF_RVAL(i->code) == BPF_A ? a : i->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(i->code) == BPF_TAX) x = a;
            else a = x;
        }
    }
}

/* --- chains --------------------------------------------------------------------------------------------------- */

static size_t filter_size(u32 len) { return align_up(sizeof(SeccompFilter) + len * sizeof(Insn), PAGE_BYTES); }

static SeccompFilter *filter_new(u32 len) {
    SeccompFilter *f = sys_mmap(NULL, filter_size(len), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(f)) return NULL;
    f->users = 1;
    f->len = len;
    return f;
}

void seccomp_share(SeccompFilter *f) {
    if (f) __atomic_add_fetch(&f->users, 1, __ATOMIC_RELAXED);
}

void seccomp_drop(SeccompFilter *f) {
    while (f && __atomic_sub_fetch(&f->users, 1, __ATOMIC_ACQ_REL) == 0) {
        SeccompFilter *older = f->older;
        sys_munmap(f, filter_size(f->len));
        f = older;
    }
}

static u32 chain_insns(const SeccompFilter *f) {
    u32 n = 0;
    for (; f; f = f->older) n += f->len + 4;
    return n;
}

static bool is_ancestor(const SeccompFilter *old, const SeccompFilter *of) {
    for (; of && of != old; of = of->older) {}
    return of == old;
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

/* The strictest of all; of equal ones the newest's. */
static u32 judge(const Thread *t, u32 nr, const u64 args[6]) {
    struct seccomp_data d = {.nr = (int)nr, .arch = t->process->abi->audit_arch,
                             .instruction_pointer = t->cpu->pc + t->process->abi->syscall_size};
    for (u32 i = 0; i < 6; i++) d.args[i] = args[i];
    u32 least = SECCOMP_RET_ALLOW;
    for (const SeccompFilter *f = t->filters; f; f = f->older) {
        u32 r = filter_run(f, &d);
        if ((i32)(r & SECCOMP_RET_ACTION_FULL) < (i32)(least & SECCOMP_RET_ACTION_FULL)) least = r;
    }
    return least;
}

/* SIGSYS: the handler may set the result. */
static i64 trap(Thread *t, u32 nr, u32 data) {
    t->cpu->pc += t->process->abi->syscall_size;
    siginfo_t info = {.si_signo = SIGSYS, .si_code = 1 /* SYS_SECCOMP */, .si_errno = (int)data};
    info.si_call_addr = (void *)t->cpu->pc;
    info.si_syscall = (int)nr;
    info.si_arch = t->process->abi->audit_arch;
    signal_force_info(t, SIGSYS, (const u8 *)&info);
    return SYSCALL_NO_RESULT;
}

static _Noreturn void kill_thread(Thread *t) {
    lock_take(&t->process->lock);
    bool last = t->process->thread_count == 1 || t->shares_parent;
    lock_give(&t->process->lock);
    int sig = t->strict ? SIGKILL : SIGSYS;
    if (last) signal_die(t, sig);
    thread_exit(t, sig);
}

static bool tracer_wants(const Thread *t) { return t->traced.on && (t->traced.options >> PTRACE_EVENT_SECCOMP & 1); }

/* The supervisor's answer, or SYSCALL_RESTART. */
static i64 notify(Thread *t, u32 nr, u64 args[6]) { return host_sys(&t->pending, nr | NOTIFY_BIT, args); }

bool seccomp_allows(Thread *t, u32 *nr, u64 args[6], i64 *result) {
    for (bool asked = false;;) {
        u32 verdict = judge(t, *nr, args), data = MIN(verdict & SECCOMP_RET_DATA, 4095u);
        switch (verdict & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_ALLOW: case SECCOMP_RET_LOG: return true;
        case SECCOMP_RET_ERRNO: *result = -(i64)data; return false;
        case SECCOMP_RET_TRAP: *result = trap(t, *nr, verdict & SECCOMP_RET_DATA); return false;
        case SECCOMP_RET_USER_NOTIF:
            *result = notify(t, *nr, args);
            return *result == NOTIFY_GO_ON;
        case SECCOMP_RET_TRACE:
            if (asked) return true;
            *result = -ENOSYS;
            if (!tracer_wants(t)) return false;
            asked = true;
            t->traced.message = verdict & SECCOMP_RET_DATA;
            if (traced_entry(t, TRACED_SECCOMP, nr, args)) continue; /* the call may be another now */
            t->cpu->pc += t->process->abi->syscall_size; /* there is none: the tracer has set the result */
            *result = SYSCALL_NO_RESULT;
            return false;
        case SECCOMP_RET_KILL_THREAD: kill_thread(t);
        default: signal_die(t, SIGSYS); /* SECCOMP_RET_KILL_PROCESS, and what nobody knows */
        }
    }
}

/* --- installing ------------------------------------------------------------------------------------------------------- */

static bool may_install(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {{0}};
    if (sys_call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return true;
    return sys_call(SYS_capget, &head, caps) >= 0 && (caps[0].effective & 1u << CAP_SYS_ADMIN);
}

static i64 filter_read(u64 at, SeccompFilter **out) {
    struct sock_fprog prog;
    if (guest_read(&prog, at, sizeof prog) < 0) return -EFAULT;
    if (!prog.len || prog.len > BPF_MAXINSNS || !prog.filter) return -EINVAL;
    SeccompFilter *f = filter_new(prog.len);
    if (!f) return -ENOMEM;
    i64 r = guest_read(f->code, (u64)prog.filter, prog.len * sizeof(Insn));
    if (r >= 0 && !code_valid(f->code, prog.len)) r = -EINVAL;
    if (r < 0) seccomp_drop(f);
    *out = f;
    return r;
}

u32 seccomp_mode(const Thread *t) {
    return t->strict ? SECCOMP_MODE_STRICT : t->filters ? SECCOMP_MODE_FILTER : SECCOMP_MODE_DISABLED;
}

/* Strict mode is a filter of ours, but none of the guest's. */
u32 seccomp_count(const Thread *t) {
    u32 count = 0;
    for (const SeccompFilter *f = t->filters; f && !t->strict; f = f->older) count++;
    return count;
}

/* SECCOMP_FILTER_FLAG_TSYNC: all threads get it, if none has gone a way of its own. 0, or the number of one that has. */
static long all_may_follow(const Thread *self) {
    for (const Thread *t = self->process->threads; t; t = t->next)
        if (!is_ancestor(t->filters, self->filters)) return t->tid;
    return 0;
}

static void all_follow(Thread *self, SeccompFilter *f) {
    for (Thread *t = self->process->threads; t; t = t->next) {
        if (t == self) continue;
        SeccompFilter *old = t->filters; /* the new chain holds it, too: whoever walks it may go on */
        seccomp_share(f);
        __atomic_store_n(&t->filters, f, __ATOMIC_RELEASE);
        seccomp_drop(old);
    }
}

/* The kernel's part of user notification: a descriptor of calls that no kernel has. */
static i64 listen(Thread *t, u64 flags) {
    Insn code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, NOTIFY_BIT, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, NOTIFY_BIT + SYSCALL_COUNT, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = ARRAY_LEN(code), .filter = code};
    return thread_sys(t, SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags & (LISTENER | WAIT_KILLABLE), &prog);
}

static i64 install_locked(Thread *t, u64 flags, SeccompFilter *f) {
    long stray = (flags & TSYNC) ? all_may_follow(t) : 0;
    if (stray) return (flags & TSYNC_ESRCH) ? -ESRCH : stray;
    if (chain_insns(t->filters) + f->len + 4 > PATH_INSNS_MAX) return -ENOMEM;
    i64 r = (flags & LISTENER) ? listen(t, flags) : 0;
    if (r < 0) return r;
    f->older = t->filters;
    t->filters = f;
    if (flags & TSYNC) all_follow(t, f);
    return r;
}

static i64 install(Thread *t, u64 flags, SeccompFilter *f) {
    lock_take(&t->process->lock);
    i64 r = install_locked(t, flags, f);
    bool in = t->filters == f;
    lock_give(&t->process->lock);
    if (!in) seccomp_drop(f);
    return r;
}

static i64 set_filter(Thread *t, u64 flags, u64 prog) {
    SeccompFilter *f;
    bool both = (flags & TSYNC) && (flags & LISTENER); /* the result cannot be a number of each */
    if ((flags & ~(u64)KNOWN_FLAGS) || (both && !(flags & TSYNC_ESRCH))) return -EINVAL;
    if ((flags & WAIT_KILLABLE) && !(flags & LISTENER)) return -EINVAL;
    if (t->strict) return -EINVAL;
    i64 r = filter_read(prog, &f);
    if (r < 0) return r;
    if (may_install()) return install(t, flags, f);
    seccomp_drop(f);
    return -EACCES;
}

/* read, write, _exit, sigreturn: anything else kills. */
static i64 set_strict(Thread *t) {
    static const char *const allowed[] = {"read", "write", "exit", "rt_sigreturn"};
    enum { COUNT = ARRAY_LEN(allowed) };
    if (t->filters) return -EINVAL;
    SeccompFilter *f = filter_new(COUNT + 3);
    if (!f) return -ENOMEM;
    f->code[0] = (Insn)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (u32 i = 0; i < COUNT; i++) {
        u32 nr = 0;
        while (!syscall_table[nr].name || strcmp(syscall_table[nr].name, allowed[i]) != 0) nr++;
        f->code[1 + i] = (Insn)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, (u8)(COUNT - i), 0);
    }
    f->code[1 + COUNT] = (Insn)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD);
    f->code[2 + COUNT] = (Insn)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    t->strict = true;
    return install(t, 0, f);
}

static i64 action_known(u64 at) {
    static const u32 known[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
                                SECCOMP_RET_USER_NOTIF, SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW};
    u32 action;
    if (guest_read(&action, at, 4) < 0) return -EFAULT;
    for (u32 i = 0; i < ARRAY_LEN(known); i++)
        if (known[i] == action) return 0;
    return -EOPNOTSUPP;
}

i64 do_seccomp(Thread *t, u64 *a) {
    struct seccomp_notif_sizes sizes = {sizeof(struct seccomp_notif), sizeof(struct seccomp_notif_resp), sizeof(struct seccomp_data)};
    switch ((u32)a[0]) {
    case SECCOMP_SET_MODE_STRICT: return a[1] || a[2] ? -EINVAL : set_strict(t);
    case SECCOMP_SET_MODE_FILTER: return set_filter(t, a[1], a[2]);
    case SECCOMP_GET_ACTION_AVAIL: return a[1] ? -EINVAL : action_known(a[2]);
    case SECCOMP_GET_NOTIF_SIZES: return a[1] ? -EINVAL : guest_write(a[2], &sizes, sizeof sizes);
    default: return -EINVAL;
    }
}

i64 seccomp_prctl(Thread *t, u64 *a) {
    if ((int)a[0] == PR_GET_SECCOMP) return seccomp_mode(t);
    if (a[1] == SECCOMP_MODE_STRICT) return set_strict(t);
    return a[1] == SECCOMP_MODE_FILTER ? set_filter(t, 0, a[2]) : -EINVAL;
}

/* --- supervisors ---------------------------------------------------------------------------------------------------------- */

static i64 notif_receive(Thread *t, int fd, u64 arg) {
    struct seccomp_notif n;
    if (guest_read(&n, arg, sizeof n) < 0) return -EFAULT;
    i64 r = thread_sys(t, SYS_ioctl, fd, SECCOMP_IOCTL_NOTIF_RECV, &n);
    if (r < 0) return r;
    n.data.nr &= ~NOTIFY_BIT;
    n.data.arch = t->process->abi->audit_arch;
    n.data.instruction_pointer = 0; /* it would be the translator's */
    return guest_write(arg, &n, sizeof n) < 0 ? -EFAULT : r;
}

static i64 notif_send(Thread *t, int fd, u64 arg) {
    struct seccomp_notif_resp r;
    if (guest_read(&r, arg, sizeof r) < 0) return -EFAULT;
    if (r.flags & ~(u64)SECCOMP_USER_NOTIF_FLAG_CONTINUE) return -EINVAL;
    if (r.flags) {
        if (r.error || r.val) return -EINVAL;
        r.error = NOTIFY_GO_ON;
        r.flags = 0;
    }
    return thread_sys(t, SYS_ioctl, fd, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

i64 seccomp_ioctl(Thread *t, int fd, u64 command, u64 arg) {
    if ((u32)command == SECCOMP_IOCTL_NOTIF_RECV) return notif_receive(t, fd, arg);
    if ((u32)command == SECCOMP_IOCTL_NOTIF_SEND) return notif_send(t, fd, arg);
    return CALL_NOT_OURS;
}

/* --- execve --------------------------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t size) { return sys_call(SYS_write, fd, data, size) == (long)size; }

/* Oldest first. */
static bool chain_write(int fd, const SeccompFilter *f) {
    if (!f) return true;
    return chain_write(fd, f->older) && write_all(fd, &f->len, sizeof f->len) && write_all(fd, f->code, f->len * sizeof(Insn));
}

int seccomp_save(const Thread *t) {
    int fd = (int)sys_call(SYS_memfd_create, "seccomp", 0);
    if (fd < 0) return fd;
    if (chain_write(fd, t->filters) && sys_call(SYS_lseek, fd, 0, 0) == 0) return fd;
    sys_call(SYS_close, fd);
    return -ENOMEM;
}

bool seccomp_restore(Thread *t, int fd) {
    u32 len;
    long n;
    while ((n = sys_call(SYS_read, fd, &len, sizeof len)) == sizeof len && len && len <= BPF_MAXINSNS) {
        SeccompFilter *f = filter_new(len);
        if (!f) break;
        f->older = t->filters;
        t->filters = f;
        long size = (long)(len * sizeof(Insn));
        if (sys_call(SYS_read, fd, f->code, size) != size || !code_valid(f->code, len)) break;
    }
    sys_call(SYS_close, fd);
    return n == 0;
}
