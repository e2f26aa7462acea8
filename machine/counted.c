/* SPDX-License-Identifier: Apache-2.0 */
/* See machine/counted.h. */
#include "machine/counted.h"
#include "base/sys.h"
#include "machine/machine.h"
#include "machine/record.h"
#include "machine/riscv/hart.h"
#include "machine/snapshot.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/random.h>
#include <time.h>

enum {
    SLICE = 1 << 18,      /* instructions between two looks at the outside: a fraction of a millisecond */
    CHECK_SLICES = 16,    /* between two digests of the hart */
    FLUSH_NS = 500000000, /* a recording that is killed loses so much */
    PAUSE_NS = 200,       /* of guest time: loops that wait for a time end sooner; a boot had two million pauses without */
    WHY = 256,
};

typedef struct Actor { /* a device whose doings are recorded, or done again */
    Counted *counted;
    u32 who;
    VirtioLook look;
    bool there; /* in the record */
    VirtioPuppet *puppet;
} Actor;

typedef struct Tap { /* of a console */
    Counted *counted;
    u32 who;
    Console *console;
} Tap;

struct Counted {
    Machine *machine;
    Hart *hart;
    Record *record;
    bool replaying;
    bool inside;    /* an instruction is under way, or a wfi waits */
    bool ended;     /* replaying: the record has said so, and with which exit status: */
    u32 status;
    bool failed;    /* nothing more is recorded or replayed */
    Gate gate;
    Timers timers;
    u64 wall;       /* nanoseconds since 1970 when guest time was 0 */
    u64 idle_ns;    /* guest time that passed without instructions */
    u64 limit;      /* the count at which the budget is spent */
    u64 slice_end;
    u32 slices;     /* since the last check */
    u64 flushed;    /* back_now() */
    const char *path;
    char *identity, *options; /* replaying: what the record says */
    Actor actor[BOARD_DEVICES_MAX];
    Tap tap[COUNTED_CONSOLES];
};

/* --- count and time ----------------------------------------------------------------------- */

u64 counted_count(const Counted *c) { return c->hart ? c->limit - (u64)c->hart->cpu->budget : 0; }

u64 counted_ns(void *counted) {
    Counted *c = counted;
    return counted_count(c) + c->idle_ns;
}

u64 counted_wall(void *counted) { return ((Counted *)counted)->wall + counted_ns(counted); }
Timers *counted_timers(Counted *c) { return &c->timers; }
Gate *counted_gate(Counted *c) { return &c->gate; }
bool counted_replays(const Counted *c) { return c->replaying; }

/* The hart comes back when the slice ends, a timer is due, or the next thing of the record comes in: whichever is first. */
static void set_limit(Counted *c) {
    u64 now = counted_count(c), stop = c->slice_end, due = timers_next(&c->timers);
    if (due != ~0ull) stop = MIN(stop, MAX(due, c->idle_ns + now + 1) - c->idle_ns);
    const RecordItem *next = c->replaying ? record_next(c->record) : NULL;
    if (next && !next->inside) stop = MIN(stop, MAX(next->count, now + 1));
    c->limit = stop;
    c->hart->cpu->budget = (i64)(stop - now);
}

/* --- what goes wrong ---------------------------------------------------------------------- */

static void fail(Counted *c, const char *what) {
    char why[WHY];
    if (c->failed) return;
    c->failed = true;
    back_fail(why, sizeof why, "%s (instruction %llu)", what, (unsigned long long)counted_count(c));
    machine_fail(c->machine, why);
}

static void diverged(Counted *c) { fail(c, "the machine does not do what the record says: it went another way at this instruction or before"); }

static void record_over(Counted *c) {
    fail(c, record_is_damaged(c->record) ? "the record is damaged from here on" : "the record ends here: the machine that was recorded was killed");
}

/* --- recording ---------------------------------------------------------------------------- */

static void put(Counted *c, RecordItem item) {
    if (c->failed) return;
    item.count = counted_count(c);
    item.inside = c->inside;
    record_put(c->record, &item);
}

static void flush(Counted *c) {
    char why[WHY];
    c->flushed = back_now();
    if (record_flush(c->record) || c->failed) return;
    back_fail(why, sizeof why, "the record cannot be written: %s", strerror(errno));
    fail(c, why);
}

/* The first bytes of what was put into the guest's buffers; back_alloc'ed. */
static u8 *gather(const struct iovec *iov, u32 len, u32 size) {
    u8 *data = back_alloc(size);
    u32 done = 0;
    for (u32 k = 0; k < len && done < size; k++) {
        u32 part = (u32)MIN(iov[k].iov_len, (u64)(size - done));
        memcpy(data + done, iov[k].iov_base, part);
        done += part;
    }
    return data;
}

static void queue_used(void *ctx, VirtOp op, u32 queue, u32 number, const struct iovec *iov, u32 len, u32 written) {
    const Actor *a = ctx;
    RecordItem item = {.kind = RECORD_QUEUE, .who = (u8)a->who, .op = (u8)op, .queue = (u8)queue, .number = number, .value = written};
    u64 size = 0;
    for (u32 k = 0; k < len; k++) size += iov[k].iov_len;
    size = MIN(size, (u64)written);
    if (size > RECORD_DATA_MAX) {
        fail(a->counted, "a device gave the guest more at once than a record holds");
        return;
    }
    item.size = (u32)size;
    u8 *data = size ? gather(iov, len, item.size) : NULL;
    item.data = data;
    put(a->counted, item);
    free(data);
}

static void console_took(void *ctx, const u8 *bytes, size_t size) {
    const Tap *t = ctx;
    put(t->counted, (RecordItem){.kind = RECORD_CONSOLE, .who = (u8)t->who, .data = bytes, .size = (u32)size});
}

/* --- replaying ---------------------------------------------------------------------------- */

static void queue_use(Counted *c, const RecordItem *i) {
    VirtioPuppet *p = i->who < ARRAY_LEN(c->actor) ? c->actor[i->who].puppet : NULL;
    if (!p || i->op >= VIRT_OPS || !virtio_puppet_do(p, (VirtOp)i->op, i->queue, i->number, (u32)i->value, i->data, i->size)) diverged(c);
}

static void console_take(Counted *c, const RecordItem *i) {
    if (i->who < ARRAY_LEN(c->tap) && c->tap[i->who].console) console_feed(c->tap[i->who].console, i->data, i->size);
    else diverged(c);
}

static void apply(Counted *c, const RecordItem *i) {
    switch (i->kind) {
    case RECORD_QUEUE: queue_use(c, i); break;
    case RECORD_CONSOLE: console_take(c, i); break;
    case RECORD_CHECK:
        if (i->value != hart_digest(c->hart)) diverged(c);
        break;
    case RECORD_END:
        c->ended = true;
        c->status = (u32)i->value;
        machine_stop(c->machine, PLATFORM_POWEROFF, 0); /* unless the guest has ended it itself */
        break;
    case RECORD_MACHINE:
    case RECORD_SEED:
    case RECORD_IDLE:
    case RECORD_KINDS: diverged(c);
    }
    record_take(c->record);
}

/* The next item, if it is of this moment. Seeds wait for the board, which wants them when the machine reboots. */
static const RecordItem *due(Counted *c) {
    const RecordItem *i = c->failed ? NULL : record_next(c->record);
    return i && i->inside == c->inside && i->count == counted_count(c) && i->kind != RECORD_SEED ? i : NULL;
}

/* Between two instructions. */
static void catch_up(Counted *c) {
    for (const RecordItem *i; (i = due(c));) apply(c, i);
    const RecordItem *next = record_next(c->record);
    if (!next && !c->ended) record_over(c);
    else if (next && next->count < counted_count(c)) diverged(c);
    else if (next && next->kind == RECORD_SEED && next->count == counted_count(c)) machine_stop(c->machine, PLATFORM_REBOOT, 0); /* by somebody outside, unless it was the guest */
}

/* The driver has kicked one of its queues. */
static void puppet_notified(void *ctx) {
    const Actor *a = ctx;
    Counted *c = a->counted;
    if (!c->inside) return;
    for (const RecordItem *i; (i = due(c)) && i->kind == RECORD_QUEUE && i->who == a->who;) apply(c, i);
}

/* --- looking ------------------------------------------------------------------------------ */

static void check(Counted *c) {
    c->slices = 0;
    put(c, (RecordItem){.kind = RECORD_CHECK, .value = hart_digest(c->hart)});
}

static void slice_ends(Counted *c) {
    c->slice_end = align_down(counted_count(c), SLICE) + SLICE;
    if (c->replaying) return;
    gate_yield(&c->gate);
    if (++c->slices >= CHECK_SLICES) check(c);
    if (record_is_full(c->record) || back_now() - c->flushed > FLUSH_NS) flush(c);
}

void counted_look(Counted *c) {
    c->inside = false;
    if (counted_count(c) >= c->slice_end) slice_ends(c);
    if (c->replaying) catch_up(c);
    if (timers_next(&c->timers) <= counted_ns(c)) timers_run(&c->timers);
    set_limit(c);
    c->inside = true;
}

void counted_enter(Counted *c) { gate_enter(&c->gate); }

void counted_leave(Counted *c) {
    c->inside = false;
    if (!c->replaying) flush(c); /* nobody knows for how long */
    gate_leave(&c->gate);
}

/* --- waiting ------------------------------------------------------------------------------ */

/* Guest time and the host's pass at the same rate here, wherever they stand: who waits for an answer of the network waits as long as he thinks. Returns the time that it took. */
static u64 sleep_for(Counted *c, u32 seen) {
    u64 until = timers_next(&c->timers), now = counted_ns(c), start = back_now();
    u64 most = until > now ? until - now : 0, wait = MIN(most, 3600ull * 1000000000);
    struct timespec t = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};
    gate_leave(&c->gate);
    sys_futex(&c->hart->wake, FUTEX_WAIT_PRIVATE, seen, &t);
    gate_enter(&c->gate);
    return MIN(back_now() - start, most);
}

void counted_pause(Counted *c) { c->idle_ns += PAUSE_NS; }

static u64 sleep_again(Counted *c) {
    const RecordItem *i;
    while ((i = due(c)) && i->kind != RECORD_IDLE) apply(c, i);
    u64 ns = i ? i->value : 0;
    if (i) record_take(c->record);
    else if (!record_next(c->record)) record_over(c);
    else if (!c->failed) diverged(c);
    return ns;
}

void counted_idle(Counted *c, u32 seen) {
    u64 ns = c->replaying ? sleep_again(c) : sleep_for(c, seen);
    if (!c->replaying) {
        put(c, (RecordItem){.kind = RECORD_IDLE, .value = ns});
        if (back_now() - c->flushed > FLUSH_NS) flush(c);
    }
    c->idle_ns += MIN(ns, ~0ull / 4 - MIN(c->idle_ns, ~0ull / 4)); /* whatever a damaged record says */
}

void counted_stand(Counted *c, u32 seen) {
    c->inside = false;
    if (!c->replaying) {
        gate_leave(&c->gate);
        sys_futex(&c->hart->wake, FUTEX_WAIT_PRIVATE, seen, NULL);
        gate_enter(&c->gate);
        return;
    }
    catch_up(c);
    const RecordItem *next = record_next(c->record);
    if (next && next->count > counted_count(c)) diverged(c); /* which it will never come to */
}

/* --- for the board ------------------------------------------------------------------------ */

void counted_seed(Counted *c, void *to, size_t size) {
    const RecordItem *i = c->replaying ? record_next(c->record) : NULL;
    memset(to, 0, size);
    if (!c->replaying) {
        if (getrandom(to, size, 0) != (ssize_t)size) memset(to, 0, size);
        put(c, (RecordItem){.kind = RECORD_SEED, .data = to, .size = (u32)size});
    } else if (!i || i->kind != RECORD_SEED || i->size != size || i->count != counted_count(c)) {
        if (i) diverged(c);
        else record_over(c);
    } else {
        memcpy(to, i->data, size);
        record_take(c->record);
    }
}

void counted_console(Counted *c, u32 who, Console *console) {
    c->tap[who] = (Tap){c, who, console};
    console_set_tap(console, &(ConsoleTap){&c->gate, &c->tap[who], console_took, c->replaying});
}

void counted_device(Counted *c, u32 who, Virtio *v) {
    Actor *a = &c->actor[who];
    virtio_look(v, &a->look);
    a->there = true;
    v->log = (VirtLog){a, queue_used};
}

VirtioPuppet *counted_puppet(Counted *c, u32 who, u32 id, Physical *memory) {
    Actor *a = &c->actor[who];
    if (!a->there || a->look.id != id) return NULL;
    return a->puppet = virtio_puppet_new(memory, &a->look, &(VirtioPuppetUser){a, puppet_notified});
}

/* --- beginning, ending -------------------------------------------------------------------- */

enum { IDENTITY_MAX = 1 << 16 };

/* Of what is loaded control characters are none: it may be shown. */
static void text_state(State *s, char **text) {
    u32 size = *text ? (u32)strlen(*text) : 0;
    state_below(s, &size, IDENTITY_MAX);
    if (s->loading) *text = back_alloc(size + 1);
    state_bytes(s, *text, size);
    for (u32 k = 0; s->loading && k < size; k++)
        if ((u8)(*text)[k] < ' ' && !strchr("\t\n", (*text)[k])) state_bad(s);
}

/* The first item, both ways. */
static void machine_state(Counted *c, State *s) {
    state_u64(s, &c->wall);
    text_state(s, &c->identity);
    text_state(s, &c->options);
    for (u32 k = 0; k < ARRAY_LEN(c->actor); k++) {
        state_bool(s, &c->actor[k].there);
        if (c->actor[k].there) virtio_look_state(&c->actor[k].look, s);
    }
}

static bool machine_read(Counted *c, char *why, size_t why_size) {
    const RecordItem *i = record_next(c->record);
    if (!i) return back_fail(why, why_size, "%s: there is nothing in it", c->path);
    State s = {.loading = true, .at = (u8 *)(u64)i->data, .size = i->size};
    if (i->kind == RECORD_MACHINE) machine_state(c, &s);
    if (i->kind != RECORD_MACHINE || s.bad || s.pos != s.size) return back_fail(why, why_size, "%s: damaged", c->path);
    record_take(c->record);
    return true;
}

static u64 wall_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

Counted *counted_new(Machine *m, const char *record, const char *replay, char *why, size_t why_size) {
    Counted *c = back_alloc(sizeof(*c));
    c->machine = m;
    c->replaying = replay != NULL;
    c->path = replay ? replay : record;
    c->timers = (Timers){.ctx = c, .now = counted_ns};
    c->wall = wall_now();
    c->slice_end = SLICE;
    gate_init(&c->gate);
    for (u32 k = 0; k < ARRAY_LEN(c->actor); k++) c->actor[k].counted = c, c->actor[k].who = k;
    c->record = replay ? record_open(replay, why, why_size) : record_new(record, why, why_size);
    if (c->record && (!replay || machine_read(c, why, why_size))) return c;
    counted_drop(c);
    return NULL;
}

char *counted_options(const char *replay, char *why, size_t why_size) {
    Counted *c = counted_new(NULL, NULL, replay, why, why_size);
    char *options = c ? back_copy(c->options) : NULL;
    counted_drop(c);
    return options;
}

void counted_drop(Counted *c) {
    if (!c) return;
    record_drop(c->record);
    gate_fini(&c->gate);
    free(c->identity);
    free(c->options);
    free(c);
}

bool counted_begin(Counted *c, Hart *h, const char *identity, const char *options, char *why, size_t why_size) {
    State s = {0};
    c->hart = h;
    if (c->replaying) return !snapshot_differs(c->identity, identity, c->path, why, why_size);
    c->identity = back_copy(identity);
    c->options = back_copy(options ? options : "");
    machine_state(c, &s);
    put(c, (RecordItem){.kind = RECORD_MACHINE, .data = s.at, .size = (u32)s.size});
    state_fini(&s);
    flush(c);
    return true;
}

bool counted_end(Counted *c, int *status, char *why, size_t why_size) {
    if (c->failed) return true; /* told already */
    if (c->replaying) {
        const RecordItem *i = record_next(c->record);
        if (!c->ended && i && i->kind == RECORD_END) apply(c, i);
        *status = c->status & 0xffff;
        return c->ended || back_fail(why, why_size, "the machine ended before the record did (instruction %llu)", (unsigned long long)counted_count(c));
    }
    put(c, (RecordItem){.kind = RECORD_END, .value = (u32)*status});
    return record_flush(c->record) || back_fail(why, why_size, "the record cannot be written: %s", strerror(errno));
}
