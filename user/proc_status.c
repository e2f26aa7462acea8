/* SPDX-License-Identifier: Apache-2.0 */
/* user/proc: /proc/PID/status of the guest's own threads: the host's, with what the VMM keeps for itself (signals, seccomp filters, threads)
 * as the guest knows it. */
#include "user/proc.h"
#include "base/sys.h"
#include "user/signal.h"

/* Whom the file is about: "/proc/self/status", "/proc/thread-self/status", "/proc/N/status", "/proc/N/task/M/status". */
static u64 status_tid(const char *path) {
    static const char thread_self[] = "/proc/thread-self/", self[] = "/proc/self/status";
    const char *task = strstr(path, "/task/"), *end;
    u64 tid = 0;
    if (strncmp(path, thread_self, sizeof thread_self - 1) == 0) return (u64)sys_call(SYS_gettid);
    if (strcmp(path, self) == 0) return (u64)sys_call(SYS_getpid);
    parse_u64(task ? task + 6 : path + 6, &end, &tid);
    return tid;
}

/* Process.lock is held. */
static Thread *thread_of(Thread *self, u64 tid) {
    if ((u64)self->tid == tid) return self;
    for (Thread *t = self->process->threads; t; t = t->next)
        if ((u64)t->tid == tid && !t->shares_parent) return t;
    return NULL;
}

/* Bits of the signals that have a handler, or are ignored. */
static u64 signals_with(SigTable *s, bool ignored) {
    u64 set = 0;
    lock_take(&s->lock);
    for (int sig = 1; sig <= SIG_COUNT; sig++)
        if (ignored ? s->at[sig - 1].handler == GUEST_SIG_IGN : s->at[sig - 1].handler > GUEST_SIG_IGN) set |= sig_bit(sig);
    lock_give(&s->lock);
    return set;
}

/* The guest's value of a line that begins with `name`; false: the host's is right. */
static bool print_line(const Thread *t, const char *name, size_t size, Text *out) {
    static const char *const names[] = {"SigBlk", "SigIgn", "SigCgt", "Threads", "Seccomp", "Seccomp_filters"};
    unsigned which = 0;
    while (which < ARRAY_LEN(names) && (strlen(names[which]) != size || memcmp(names[which], name, size) != 0)) which++;
    switch (which) {
    case 0: text_print(out, "SigBlk:\t%016lx\n", t->mask); return true;
    case 1: case 2: text_print(out, "%s:\t%016lx\n", names[which], signals_with(t->signals, which == 1)); return true;
    case 3:
        if (t->shares_parent) return false; /* a process of its own in the same memory */
        text_print(out, "Threads:\t%u\n", t->process->thread_count);
        return true;
    case 4: case 5:
        if (!t->filters) return false; /* those of a container, then */
        text_print(out, "%s:\t%u\n", names[which], which == 4 ? seccomp_mode(t) : seccomp_count(t));
        return true;
    }
    return false;
}

void proc_status_print(Thread *self, const char *path, const char *host, size_t size, Text *out) {
    lock_take(&self->process->lock);
    const Thread *t = thread_of(self, status_tid(path));
    for (const char *end = host + size, *next; host < end; host = next) {
        const char *eol = memchr(host, '\n', (size_t)(end - host)), *colon = memchr(host, ':', (size_t)(end - host));
        next = eol ? eol + 1 : end;
        if (!t || !colon || colon >= next || !print_line(t, host, (size_t)(colon - host), out)) text_print(out, "%.*s", (int)(next - host), host);
    }
    lock_give(&self->process->lock);
}
