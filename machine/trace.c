/* SPDX-License-Identifier: Apache-2.0 */
/* Traces as text: machine/trace.h. Each line is one write, so lines of several threads do not mix. */
#include "machine/trace.h"

static const char *const causes[] = {
    "fetch misaligned", "fetch access", "illegal instruction", "breakpoint", "load misaligned", "load access", "store misaligned", "store access",
    "call from U", "call from S", "?", "call from M", "fetch page", "load page", "?", "store page",
};
static const char *const interrupts[] = {"?", "S software", "?", "M software", "?", "S timer", "?", "M timer", "?", "S external", "?", "M external", "?", "counter overflow"};
static const char *const modes[] = {"U", "S", "?", "M"};

static const char *cause_name(u64 cause) {
    u64 n = cause & ~CAUSE_INTERRUPT;
    if (cause & CAUSE_INTERRUPT) return n < ARRAY_LEN(interrupts) ? interrupts[n] : "?";
    return n < ARRAY_LEN(causes) ? causes[n] : "?";
}

#define LL(x) (unsigned long long)(x)

void trace_trap(const Hart *h, u64 from, u64 cause, u64 epc, u64 tval) {
    fd_print(h->trace_fd, "priv: hart %u %s to %s: %s%s at %#llx, value %#llx; goes on at %#llx\n", h->id, modes[from & 3], modes[h->s->priv & 3], cause & CAUSE_INTERRUPT ? "interrupt " : "",
             cause_name(cause), LL(epc), LL(tval), LL(h->cpu->pc));
}

void trace_return(const Hart *h, u64 from) {
    fd_print(h->trace_fd, "priv: hart %u %s to %s: returns to %#llx\n", h->id, modes[from & 3], modes[h->s->priv & 3], LL(h->cpu->pc));
}

void trace_satp(const Hart *h) { fd_print(h->trace_fd, "priv: hart %u satp %#llx at %#llx\n", h->id, LL(h->satp), LL(h->cpu->pc)); }

static void on_io(const PhysicalTrace *t, const PhysRegion *r, u64 offset, unsigned size, bool write, u64 value) {
    fd_print(t->fd, "mmio: %s+%#llx %s %u: %#llx\n", r->name, LL(offset), write ? "write" : "read", size, LL(value));
}

static void on_event(const PhysicalTrace *t, const char *who, const char *what, u64 a, u64 b) {
    fd_print(t->fd, "virtio: %s %s %#llx %#llx\n", who, what, LL(a), LL(b));
}

void trace_attach(Physical *memory, u32 what, int fd) {
    memory->trace = (PhysicalTrace){.io = what & TRACE_MMIO ? on_io : NULL, .event = what & TRACE_VIRTIO ? on_event : NULL, .fd = fd};
}

bool trace_parse(const char *list, u32 *what) {
    static const char *const names[] = {"priv", "mmio", "virtio"};
    for (const char *s = list; *s;) {
        size_t len = strcspn(s, ",");
        u32 k = 0;
        while (k < ARRAY_LEN(names) && (strlen(names[k]) != len || memcmp(names[k], s, len))) k++;
        if (k == ARRAY_LEN(names)) return false;
        *what |= 1u << k;
        s += len + (s[len] == ',');
    }
    return *list;
}
