/* SPDX-License-Identifier: Apache-2.0 */
/* user/trace: names. The values are those of the generic ABI, which x86-64 shares. */
#include "user/trace_names.h"
#include "user/signal.h"
#include "user/trace.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define N(name) {#name, (u64)(name), 0}
#define END {NULL, 0, 0}

const FlagName trace_file_types[] = {N(S_IFREG), N(S_IFDIR), N(S_IFCHR), N(S_IFBLK), N(S_IFIFO), N(S_IFLNK), N(S_IFSOCK), END};
const FlagName trace_sa_flags[] = {N(SA_NOCLDSTOP), N(SA_NOCLDWAIT), N(SA_SIGINFO), N(SA_ONSTACK), N(SA_RESTART),
    N(SA_NODEFER), {"SA_RESETHAND", 0x80000000, 0}, END};
const FlagName trace_domains[] = {N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK), N(AF_PACKET), N(AF_ALG),
    N(AF_VSOCK), END};
const FlagName trace_open_modes[] = {N(O_RDONLY), N(O_WRONLY), N(O_RDWR), END};
const FlagName trace_open_flags[] = {N(O_CREAT), N(O_EXCL), N(O_NOCTTY), N(O_TRUNC), N(O_APPEND), N(O_NONBLOCK), N(O_SYNC),
    N(O_DSYNC), {"O_DIRECT", 040000, 0}, {"O_LARGEFILE", 0100000, 0}, {"O_TMPFILE", 020200000, 020200000},
    {"O_DIRECTORY", 0200000, 0}, {"O_NOFOLLOW", 0400000, 0}, N(O_NOATIME), N(O_CLOEXEC), N(O_PATH), END};
const FlagName trace_clone_flags[] = {N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND), N(CLONE_PIDFD), N(CLONE_PTRACE),
    N(CLONE_VFORK), N(CLONE_PARENT), N(CLONE_THREAD), N(CLONE_NEWNS), N(CLONE_SYSVSEM), N(CLONE_SETTLS),
    N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID), N(CLONE_DETACHED), N(CLONE_UNTRACED), N(CLONE_CHILD_SETTID),
    N(CLONE_NEWCGROUP), N(CLONE_NEWUTS), N(CLONE_NEWIPC), N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET), N(CLONE_IO), END};
const FlagName trace_futex_ops[] = {N(FUTEX_WAIT), N(FUTEX_WAKE), N(FUTEX_FD), N(FUTEX_REQUEUE), N(FUTEX_CMP_REQUEUE),
    N(FUTEX_WAKE_OP), N(FUTEX_LOCK_PI), N(FUTEX_UNLOCK_PI), N(FUTEX_TRYLOCK_PI), N(FUTEX_WAIT_BITSET),
    N(FUTEX_WAKE_BITSET), N(FUTEX_WAIT_REQUEUE_PI), N(FUTEX_CMP_REQUEUE_PI), N(FUTEX_LOCK_PI2), END};
const FlagName trace_epoll_events[] = {N(EPOLLIN), N(EPOLLPRI), N(EPOLLOUT), N(EPOLLERR), N(EPOLLHUP), N(EPOLLRDHUP),
    N(EPOLLONESHOT), {"EPOLLET", 1u << 31, 0}, END};
const FlagName trace_prot[] = {N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), N(PROT_GROWSDOWN), END};
const FlagName trace_map_flags[] = {{"MAP_SHARED", 1, 15}, {"MAP_PRIVATE", 2, 15}, {"MAP_SHARED_VALIDATE", 3, 15}, N(MAP_FIXED),
    N(MAP_ANONYMOUS), N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_EXECUTABLE), N(MAP_LOCKED), N(MAP_NORESERVE),
    N(MAP_POPULATE), N(MAP_NONBLOCK), N(MAP_STACK), N(MAP_HUGETLB), N(MAP_SYNC), N(MAP_FIXED_NOREPLACE), END};
const FlagName trace_madvise[] = {N(MADV_NORMAL), N(MADV_RANDOM), N(MADV_SEQUENTIAL), N(MADV_WILLNEED), N(MADV_DONTNEED),
    N(MADV_FREE), N(MADV_REMOVE), N(MADV_DONTFORK), N(MADV_DOFORK), N(MADV_MERGEABLE), N(MADV_UNMERGEABLE),
    N(MADV_HUGEPAGE), N(MADV_NOHUGEPAGE), N(MADV_DONTDUMP), N(MADV_DODUMP), N(MADV_WIPEONFORK), N(MADV_KEEPONFORK),
    N(MADV_COLD), N(MADV_PAGEOUT), N(MADV_POPULATE_READ), N(MADV_POPULATE_WRITE), END};
const FlagName trace_sig_how[] = {N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK), END};
const FlagName trace_wait_options[] = {N(WNOHANG), N(WUNTRACED), N(WEXITED), N(WCONTINUED), N(WNOWAIT), {"__WALL", __WALL, 0},
    {"__WCLONE", __WCLONE, 0}, END};
const FlagName trace_clocks[] = {N(CLOCK_REALTIME), N(CLOCK_MONOTONIC), N(CLOCK_PROCESS_CPUTIME_ID), N(CLOCK_THREAD_CPUTIME_ID),
    N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE), N(CLOCK_MONOTONIC_COARSE), N(CLOCK_BOOTTIME), N(CLOCK_TAI), END};
const FlagName trace_socket_types[] = {N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_RDM), N(SOCK_SEQPACKET), END};
const FlagName trace_resources[] = {N(RLIMIT_CPU), N(RLIMIT_FSIZE), N(RLIMIT_DATA), N(RLIMIT_STACK), N(RLIMIT_CORE),
    N(RLIMIT_RSS), N(RLIMIT_NPROC), N(RLIMIT_NOFILE), N(RLIMIT_MEMLOCK), N(RLIMIT_AS), N(RLIMIT_LOCKS),
    N(RLIMIT_SIGPENDING), N(RLIMIT_MSGQUEUE), N(RLIMIT_NICE), N(RLIMIT_RTPRIO), N(RLIMIT_RTTIME), END};
const FlagName trace_access_modes[] = {N(R_OK), N(W_OK), N(X_OK), END};
const FlagName trace_seeks[] = {N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA), N(SEEK_HOLE), END};
const FlagName trace_at_flags[] = {N(AT_SYMLINK_NOFOLLOW), N(AT_REMOVEDIR), N(AT_SYMLINK_FOLLOW), N(AT_NO_AUTOMOUNT),
    N(AT_EMPTY_PATH), {"AT_STATX_FORCE_SYNC", 0x2000, 0}, {"AT_STATX_DONT_SYNC", 0x4000, 0}, END};
const FlagName trace_epoll_ops[] = {N(EPOLL_CTL_ADD), N(EPOLL_CTL_DEL), N(EPOLL_CTL_MOD), END};

/* --- signals ---------------------------------------------------------------------------------------------------- */

const char *signal_name(int sig) {
    static const char *const names[32] = {
        "0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1",
        "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP",
        "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS"};
    static const char *const rt[33] = {
        "SIGRT_0", "SIGRT_1", "SIGRT_2", "SIGRT_3", "SIGRT_4", "SIGRT_5", "SIGRT_6", "SIGRT_7", "SIGRT_8", "SIGRT_9",
        "SIGRT_10", "SIGRT_11", "SIGRT_12", "SIGRT_13", "SIGRT_14", "SIGRT_15", "SIGRT_16", "SIGRT_17", "SIGRT_18",
        "SIGRT_19", "SIGRT_20", "SIGRT_21", "SIGRT_22", "SIGRT_23", "SIGRT_24", "SIGRT_25", "SIGRT_26", "SIGRT_27",
        "SIGRT_28", "SIGRT_29", "SIGRT_30", "SIGRT_31", "SIGRT_32"};
    if (sig >= 0 && sig < 32) return names[sig];
    return sig <= SIG_COUNT ? rt[sig - 32] : "SIG?";
}

static const FlagName codes_any[] = {N(SI_USER), N(SI_KERNEL), N(SI_QUEUE), N(SI_TIMER), N(SI_MESGQ), N(SI_ASYNCIO), N(SI_SIGIO),
    N(SI_TKILL), END};
static const FlagName codes_segv[] = {N(SEGV_MAPERR), N(SEGV_ACCERR), N(SI_KERNEL), END};
static const FlagName codes_bus[] = {N(BUS_ADRALN), N(BUS_ADRERR), N(BUS_OBJERR), END};
static const FlagName codes_ill[] = {N(ILL_ILLOPC), END};
static const FlagName codes_trap[] = {N(TRAP_BRKPT), N(TRAP_TRACE), END};
static const FlagName codes_chld[] = {N(CLD_EXITED), N(CLD_KILLED), N(CLD_DUMPED), N(CLD_TRAPPED), N(CLD_STOPPED),
    N(CLD_CONTINUED), END};

static const FlagName *codes_of(int sig) {
    return sig == SIGSEGV ? codes_segv : sig == SIGBUS ? codes_bus : sig == SIGILL ? codes_ill : sig == SIGTRAP ? codes_trap
         : sig == SIGCHLD ? codes_chld : codes_any;
}

void trace_print_siginfo(Text *out, const u8 info[128]) {
    siginfo_t si;
    memcpy(&si, info, sizeof si);
    const FlagName *c = si.si_code > 0 && si.si_code < 0x80 ? codes_of(si.si_signo) : codes_any;
    while (c->name && (int)c->value != si.si_code) c++;
    text_print(out, "{si_signo=%s, si_code=", signal_name(si.si_signo));
    if (c->name) text_print(out, "%s", c->name);
    else text_print(out, "%d", si.si_code);
    bool fault = si.si_code > 0 && (sig_bit(si.si_signo) & (sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGILL) | sig_bit(SIGTRAP)));
    if (fault) text_print(out, ", si_addr=%#lx", (u64)si.si_addr);
    else if (si.si_signo == SIGCHLD && si.si_code > 0)
        text_print(out, ", si_pid=%d, si_uid=%d, si_status=%d", si.si_pid, si.si_uid, si.si_status);
    else if (si.si_code != SI_KERNEL) text_print(out, ", si_pid=%d, si_uid=%d", si.si_pid, si.si_uid);
    text_char(out, '}');
}
