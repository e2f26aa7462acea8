/* SPDX-License-Identifier: Apache-2.0 */
/* user/syscall: the table and its dispatch. See syscall.h. */
#include "user/syscall.h"
#include "base/sys.h"
#include "user/program.h"
#include "user/signal.h"
#include "user/trace.h"
#include <errno.h>

const Syscall syscall_table[SYSCALL_COUNT] = {
#define PASS(number, name_, kinds_) [number] = {.name = #name_, .kinds = kinds_, .host = SYS_##name_},
#define PASS_AS(number, name_, host_, kinds_) [number] = {.name = #name_, .kinds = kinds_, .host = host_},
#define NONE(number, name_, kinds_) [number] = {.name = #name_, .kinds = kinds_, .host = -1},
#define OWN(number, name_, kinds_) [number] = {.name = #name_, .kinds = kinds_, .host = -1, .fn = do_##name_},
#include "user/syscall.def"
#undef PASS
#undef PASS_AS
#undef NONE
#undef OWN
};

/* -L: the path arguments that are looked up in the guest's root replaced by host paths in `buf`. */
static i64 pass_with_prefix(Thread *t, const Syscall *s, u64 args[6]) {
    char path[PATH_MAX], buf[PATH_MAX];
    const char *r = strchr(s->kinds, 'r');
    u64 *arg = &args[r - s->kinds];
    u64 saved = *arg;
    if (saved && guest_read_string(path, sizeof path, saved) > 0) {
        const char *host = path_lookup(t->process->options->prefix, path, buf);
        if (host == buf) *arg = (u64)host;
    }
    i64 result = host_sys(&t->pending, s->host, args);
    *arg = saved;
    return result;
}

static i64 syscall_make(Thread *t, const Syscall *s, u64 args[6]) {
    if (s->fn) return s->fn(t, args);
    if (s->host < 0) return -ENOSYS;
    if (UNLIKELY(t->process->options->prefix) && strchr(s->kinds, 'r')) return pass_with_prefix(t, s, args);
    return host_sys(&t->pending, s->host, args);
}

static i64 syscall_finish(Thread *t, u32 nr, const u64 args[6], i64 result) {
    const Abi *abi = t->process->abi;
    if (result == SYSCALL_RESTART) return result;
    if (UNLIKELY(t->process->options->strace)) trace_syscall(t, nr, args, result);
    if (result == SYSCALL_NO_RESULT) return result;
    abi->result_set(t->cpu, (u64)result);
    t->cpu->pc += abi->syscall_size;
    return result;
}

/* The call, up to result and pc. */
static i64 syscall_perform(Thread *t, u32 nr, u64 args[6]) {
    const Syscall *s = nr < SYSCALL_COUNT ? &syscall_table[nr] : NULL;
    return syscall_finish(t, nr, args, s && s->name ? syscall_make(t, s, args) : -ENOSYS);
}

/* The call will be made again: a tracer sees an exit with ERESTARTSYS [ptrace(2)]. */
static void show_restart(Thread *t, u64 first) {
    const Abi *abi = t->process->abi;
    abi->result_set(t->cpu, (u64)-HOST_INTERRUPTED);
    t->cpu->pc += abi->syscall_size;
    if (traced_wants_calls(&t->traced)) traced_exit(t);
    abi->result_set(t->cpu, first);
    t->cpu->pc -= abi->syscall_size;
}

/* With a tracer or filters around. */
static void syscall_watched(Thread *t, u32 nr, u64 args[6]) {
    const Abi *abi = t->process->abi;
    Traced *s = &t->traced;
    s->fresh = false;
    if (traced_wants_calls(s) && !traced_entry(t, TRACED_ENTRY, &nr, args)) {
        t->cpu->pc += abi->syscall_size; /* the tracer has set the result */
        if (traced_wants_calls(s)) traced_exit(t);
        return;
    }
    u64 first = args[0];
    i64 result;
    bool allowed = !t->filters || seccomp_allows(t, &nr, args, &result);
    result = allowed ? syscall_perform(t, nr, args) : syscall_finish(t, nr, args, result);
    bool interrupted = result == -EINTR && t->pending;
    if (interrupted && t->pending == PENDING_NOTHING) { /* by a message of the tracer's */
        t->cpu->pc -= abi->syscall_size;
        result = SYSCALL_RESTART;
    }
    s->restart = interrupted && result != SYSCALL_RESTART;
    s->restart_result = first;
    if (result == SYSCALL_RESTART) show_restart(t, first);
    else if (traced_wants_calls(s) && !s->fresh) traced_exit(t);
}

void syscall_do(Thread *t) {
    u64 args[6];
    t->process->abi->syscall_begin(t->cpu);
    u32 nr = t->process->abi->syscall_get(t->cpu, args);
    if (UNLIKELY(t->traced.on || t->filters)) syscall_watched(t, nr, args);
    else syscall_perform(t, nr, args);
}
