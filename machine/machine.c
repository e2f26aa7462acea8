/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's threads, time, and the pages that are code. See machine.h. */
#include "machine/machine.h"
#include "back/back.h"
#include "device/timer.h"
#include "machine/counted.h"
#include "machine/load.h"
#include "machine/riscv/hart.h"
#include "machine/snapshot.h"
#include "machine/trace.h"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

typedef struct Suspect { /* a page of code that some hart might write unseen */
    u64 physical, epoch;
    const Hart *self; /* who found it, and forgot that it may write it */
} Suspect;

typedef struct Request {
    const char *path;
    char *why;
    size_t why_size;
    bool done, good;
} Request;

struct Machine {
    MachineConfig config;
    Platform platform;
    Board *board;
    Physical *memory;
    Engine *engine;
    Hart **harts;
    pthread_t *threads;
    u32 hart_count;
    Counted *counted; /* or NULL */
    u64 start_ns; /* when guest time was 0 */
    Timer *timer;
    Lock timer_lock;
    u64 timer_at; /* guest time for which it is set */
    BoardStart start;
    pthread_mutex_t lock; /* of what follows */
    bool stopping;
    char failed[256]; /* why; "": it has not */
    PlatformStop how;
    u32 code;
    pthread_cond_t changed; /* any of: */
    bool ended, paused, resumed;
    bool standing; /* paused, and the harts have stopped */
    bool (*met)(void *ctx, u32 hart, u64 pc); /* a debugger, or NULL */
    void *met_ctx;
    Request *request; /* a snapshot that somebody waits for */
    Lock code_lock;
    u64 code_epoch; /* atomic */
    VEC(Suspect) suspects;
    VEC(u64) mixed; /* pages of code and data, which are written all the time: not protected, but looked at by every fence.i */
};

/* --- small things for the parts --------------------------------------------------------------------------------- */

Physical *machine_memory(Machine *m) { return m->memory; }
Imsic *machine_imsic(Machine *m) { return board_imsic(m->board); }
Engine *machine_engine(Machine *m) { return m->engine; }
u32 machine_hart_count(const Machine *m) { return m->hart_count; }
Hart *machine_hart(Machine *m, u32 n) { return m->harts[n]; }
const BoardStart *machine_start(const Machine *m) { return &m->start; }
bool machine_has_sbi(const Machine *m) { return !m->start.machine_mode; }
Counted *machine_counted(Machine *m) { return m->counted; }
Board *machine_board(Machine *m) { return m->board; }
void machine_console_put(Machine *m, u8 byte) { board_console_put(m->board, byte); }
int machine_console_get(Machine *m) { return board_console_get(m->board); }

/* --- time ------------------------------------------------------------------------------------------------------- */

enum { IDENTITY_SIZE = 32768 /* bytes of text */, NS_PER_TICK = 1000000000 / PLATFORM_HZ };

u64 machine_time(const Machine *m) { return ((m->counted ? counted_ns(m->counted) : back_now()) - m->start_ns) / NS_PER_TICK; }

static void set_timer(Machine *m, u64 when) {
    m->timer_at = when;
    timer_set(m->timer, when < ~0ull / NS_PER_TICK - m->start_ns ? m->start_ns + when * NS_PER_TICK : ~0ull);
}

void machine_wake_at(Machine *m, u64 when) {
    lock_take(&m->timer_lock); /* of two harts the later one must not have the last word */
    if (when < m->timer_at) set_timer(m, when);
    lock_give(&m->timer_lock);
}

/* Harts whose time has come look at their interrupts; the next one's time is waited for. A hart that sets its timer meanwhile is seen here, or
 * sees that the timer is set for later. */
static void timer_fired(void *ctx) {
    Machine *m = ctx;
    u64 next = ~0ull;
    lock_take(&m->timer_lock);
    m->timer_at = next;
    lock_give(&m->timer_lock);
    u64 now = machine_time(m);
    for (u32 k = 0; k < m->hart_count; k++) {
        u64 when = hart_due(m->harts[k]);
        if (when <= now) hart_ask(m->harts[k], ASK_LOOK);
        else next = MIN(next, when);
    }
    if (next != ~0ull) machine_wake_at(m, next);
}

/* --- the platform ------------------------------------------------------------------------------------------------ */

static void platform_interrupt(void *ctx, u32 hart, u32 cause, bool level) {
    Machine *m = ctx;
    if (hart < m->hart_count && m->harts[hart]) hart_line(m->harts[hart], cause, level);
}

static u64 machine_wall(void *ctx) { return counted_wall(((Machine *)ctx)->counted); }
static u64 platform_now(void *ctx) { return machine_time(ctx); }
static void platform_stop(void *ctx, PlatformStop how, u32 code) { machine_stop(ctx, how, code); }

static void ask_all(Machine *m) {
    for (u32 k = 0; k < m->hart_count; k++) hart_ask(m->harts[k], ASK_STOP);
}

void machine_stop(Machine *m, PlatformStop how, u32 code) {
    pthread_mutex_lock(&m->lock);
    if (!m->stopping) {
        m->stopping = true;
        m->how = how;
        m->code = code;
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    ask_all(m);
}

void machine_fail(Machine *m, const char *why) {
    pthread_mutex_lock(&m->lock);
    Text t = text_init(m->failed, sizeof m->failed);
    if (!m->failed[0]) text_print(&t, "%s", why);
    pthread_mutex_unlock(&m->lock);
    machine_stop(m, PLATFORM_POWEROFF, 1);
}

bool machine_start_hart(Machine *m, u32 n, u64 pc, u64 arg) {
    Hart *h = m->harts[n];
    u32 stopped = HART_STOPPED;
    /* The hart leaves START_PENDING by itself only, so nobody else is here for it. */
    pthread_mutex_lock(&m->lock);
    bool free = __atomic_load_n(&h->state, __ATOMIC_SEQ_CST) == stopped;
    if (free) {
        h->start_pc = pc;
        h->start_arg = arg;
        __atomic_store_n(&h->state, HART_START_PENDING, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&m->lock);
    if (free) hart_ask(h, ASK_LOOK);
    return free;
}

/* --- pages of code -------------------------------------------------------------------------------------------------- */

u64 machine_code_epoch(const Machine *m) { return __atomic_load_n(&m->code_epoch, __ATOMIC_SEQ_CST); }

static void suspect(Machine *m, Hart *self, u64 physical) {
    lock_take(&m->code_lock);
    u64 epoch = __atomic_add_fetch(&m->code_epoch, 1, __ATOMIC_SEQ_CST);
    vec_push(&m->suspects, ((Suspect){physical, epoch, self}));
    lock_give(&m->code_lock);
    for (u32 k = 0; k < m->hart_count; k++)
        if (m->harts[k] != self) hart_ask(m->harts[k], ASK_WRITES);
}

enum { ALWAYS_DROPPED = 0xfc };

static bool is_mixed(u8 flags) { return (flags & ALWAYS_DROPPED) == ALWAYS_DROPPED; }

void machine_code_page(Machine *m, Hart *self, u64 physical) {
    u8 *flags = physical_flags(m->memory, physical);
    if (!flags || is_mixed(*flags) || (__atomic_fetch_or(flags, PHYS_CODE, __ATOMIC_SEQ_CST) & PHYS_CODE)) return;
    if (!(__atomic_fetch_and(flags, (u8)~PHYS_WRITTEN, __ATOMIC_SEQ_CST) & PHYS_WRITTEN)) return;
    hart_forget_writes(self, physical_ram(m->memory, physical, PAGE_BYTES));
    if (m->hart_count > 1) suspect(m, self, physical);
}

/* Has every hart noticed? One that does not run will before it does. */
static bool all_acked(const Machine *m, const Suspect *s) {
    for (u32 k = 0; k < m->hart_count; k++) {
        const Hart *h = m->harts[k];
        if (h != s->self && __atomic_load_n(&h->running, __ATOMIC_SEQ_CST) && __atomic_load_n(&h->acked, __ATOMIC_SEQ_CST) < s->epoch) return false;
    }
    return true;
}

static void verify(Machine *m, u64 physical) { engine_verify(m->engine, physical, physical_ram(m->memory, physical, PAGE_BYTES)); }

static void unsuspect(Machine *m, u64 epoch) {
    lock_take(&m->code_lock);
    for (u32 k = 0; k < m->suspects.len; k++)
        if (m->suspects.at[k].epoch == epoch) {
            m->suspects.at[k] = m->suspects.at[--m->suspects.len];
            break;
        }
    lock_give(&m->code_lock);
}

/* On copies of the lists: the engine's lock is taken before theirs, so not with it held. A page that all harts have acknowledged is looked at once
 * more, and then trusted. */
void machine_fence_i(Machine *m) {
    lock_take(&m->code_lock);
    u32 n = m->suspects.len, mixed = m->mixed.len;
    Suspect *s = n ? memcpy(back_alloc(n * sizeof *s), m->suspects.at, n * sizeof *s) : NULL;
    u64 *pages = mixed ? memcpy(back_alloc(mixed * sizeof *pages), m->mixed.at, mixed * sizeof *pages) : NULL;
    lock_give(&m->code_lock);
    for (u32 k = 0; k < n; k++) {
        bool known = all_acked(m, &s[k]);
        verify(m, s[k].physical);
        if (known) unsuspect(m, s[k].epoch);
    }
    for (u32 k = 0; k < mixed; k++) verify(m, pages[k]);
    free(s);
    free(pages);
}

static void dropped(Machine *m, u8 *flags, u64 physical) {
    u8 now = __atomic_and_fetch(flags, (u8)~PHYS_CODE, __ATOMIC_SEQ_CST);
    if (is_mixed(now)) return;
    now = __atomic_add_fetch(flags, PHYS_DROPPED, __ATOMIC_SEQ_CST);
    if (!is_mixed(now)) return;
    lock_take(&m->code_lock);
    vec_push(&m->mixed, physical);
    lock_give(&m->code_lock);
}

/* The flag goes first: who translates the page again meanwhile reads what was written, sets it again, and loses that translation. */
static void code_written(void *ctx, u64 pa, u64 size) {
    Machine *m = ctx;
    u64 start = align_down(pa, PAGE_BYTES), end = align_up(pa + size, PAGE_BYTES);
    for (u64 at = start; at < end; at += PAGE_BYTES) {
        u8 *flags = physical_flags(m->memory, at);
        if (flags && (*flags & PHYS_CODE)) dropped(m, flags, at);
    }
    engine_invalidate(m->engine, start, end - start);
}

/* --- threads ----------------------------------------------------------------------------------------------------------- */

static __thread Hart *current;

/* The one fault that is expected is that of the shadow return stack, which grows until it meets its guard page. */
static void on_fault(int sig, siginfo_t *info, void *ucontext) {
    if (current && engine_on_fault(current->cpu, sig, info, ucontext)) return;
    signal(sig, SIG_DFL);
}

enum { ALT_STACK = 64 * 1024 };

static void *hart_thread(void *arg) {
    static __thread u8 stack[ALT_STACK];
    current = arg;
    sigset_t faults;
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaddset(&faults, SIGBUS);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
    hart_run(arg);
    return NULL;
}

static void catch_faults(void) {
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &a, NULL);
    sigaction(SIGBUS, &a, NULL);
}

/* --- making and running --------------------------------------------------------------------------------------------- */

static bool make_engine(Machine *m, char *why, size_t why_size) {
    const char *error;
    EngineHooks hooks = {.ctx = m, .page = hart_page, .translating = hart_translating};
    m->engine = engine_new(&riscv_system_guest, &m->config.engine, &hooks, &error);
    return m->engine || back_fail(why, why_size, "%s", error);
}

static bool make_harts(Machine *m, char *why, size_t why_size) {
    u32 n = m->config.board.harts;
    m->threads = back_alloc(n * sizeof *m->threads);
    for (u32 k = 0; k < n; k++, m->hart_count++)
        if (!(m->harts[k] = hart_new(m, k))) return back_fail(why, why_size, "out of memory for %u harts", n);
    m->timer = timer_new(m->platform.timers, timer_fired, m);
    return m->timer || back_fail(why, why_size, "the host allows no more threads");
}

/* --- recording ------------------------------------------------------------------------------------------------------ */

static bool counted_make(Machine *m, char *why, size_t why_size) {
    MachineConfig *c = &m->config;
    if (!c->record && !c->replay) return true;
    if (c->record && c->replay) return back_fail(why, why_size, "a machine is either recorded or replayed");
    if (c->board.harts > 1) return back_fail(why, why_size, "a machine that is recorded or replayed has one hart");
    m->counted = c->board.counted = counted_new(m, c->record, c->replay, why, why_size);
    if (!m->counted) return false;
    c->engine.counted = true;
    m->start_ns = 0;
    m->platform.timers = counted_timers(m->counted);
    m->platform.wall = machine_wall;
    return true;
}

/* All that the guest can see of what the machine began with. */
static bool identity_print(Machine *m, Text *t, char *why, size_t why_size) {
    const MachineConfig *c = &m->config;
    const struct {
        const char *name, *path;
    } files[] = {{"kernel", c->images.kernel}, {"initrd", c->images.initrd}, {"firmware", c->images.firmware}, {"first flash", c->board.flash[0]}, {"second flash", c->board.flash[1]}};
    for (u32 k = 0; k < ARRAY_LEN(files); k++) {
        Digest d = {0};
        if (files[k].path && !load_digest(files[k].path, &d, why, why_size)) return false;
        text_print(t, "%s: %016llx%016llx\n", files[k].name, (unsigned long long)d.hi, (unsigned long long)d.lo);
    }
    text_print(t, "command line: %s\nreboots: %s\n", c->images.append ? c->images.append : "", c->no_reboot ? "end it" : "yes");
    return board_identity(m->board, t, why, why_size);
}

static bool counted_start(Machine *m, char *why, size_t why_size) {
    if (!m->counted) return true;
    char *identity = back_alloc(IDENTITY_SIZE);
    Text t = text_init(identity, IDENTITY_SIZE);
    bool good = identity_print(m, &t, why, why_size) && counted_begin(m->counted, m->harts[0], identity, m->config.options, why, why_size);
    free(identity);
    return good;
}

Machine *machine_new(const MachineConfig *config, char *why, size_t why_size) {
    Machine *m = back_alloc(sizeof *m);
    m->config = *config;
    m->start_ns = back_now();
    m->timer_at = ~0ull;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->platform = (Platform){.ctx = m, .harts = config->board.harts, .hart_interrupt = platform_interrupt, .now = platform_now, .stop = platform_stop};
    m->harts = back_alloc(config->board.harts * sizeof(Hart *));
    if (counted_make(m, why, why_size)) m->board = board_new(&m->config.board, &m->platform, why, why_size);
    if (m->board) {
        m->memory = board_physical(m->board);
        m->memory->ctx = m;
        m->memory->code_written = code_written;
        trace_attach(m->memory, config->trace, config->trace_fd);
    }
    if (!m->board || !make_engine(m, why, why_size) || !make_harts(m, why, why_size) || !counted_start(m, why, why_size)) {
        machine_drop(m);
        return NULL;
    }
    for (u32 k = 0; k < m->hart_count; k++) {
        m->harts[k]->trace = config->trace & TRACE_PRIV;
        m->harts[k]->trace_fd = config->trace_fd;
    }
    catch_faults();
    return m;
}

void machine_drop(Machine *m) {
    if (m->timer) timer_drop(m->timer);
    if (m->board) board_drop(m->board);
    for (u32 k = 0; k < m->hart_count; k++) hart_drop(m->harts[k]);
    if (m->engine) engine_drop(m->engine);
    counted_drop(m->counted);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    vec_drop(&m->mixed);
    vec_drop(&m->suspects);
    free(m->harts);
    free(m->threads);
    free(m);
}

/* All harts begin in firmware; without it the first one begins in the kernel, and starts the others. */
static void prepare_harts(Machine *m) {
    for (u32 k = 0; k < m->hart_count; k++) {
        Hart *h = m->harts[k];
        h->requests = 0;
        h->start_pc = m->start.pc;
        h->start_arg = m->start.fdt;
        h->state = k == 0 || m->start.machine_mode ? HART_START_PENDING : HART_STOPPED;
    }
}

static bool run_harts(Machine *m, char *why, size_t why_size) {
    u32 started = 0;
    while (started < m->hart_count && back_thread(&m->threads[started], hart_thread, m->harts[started])) started++;
    bool good = started == m->hart_count;
    if (!good) {
        back_fail(why, why_size, "the host allows no more threads");
        machine_stop(m, PLATFORM_POWEROFF, 1);
    }
    for (u32 k = 0; k < started; k++) pthread_join(m->threads[k], NULL);
    return good;
}

/* --- snapshots ------------------------------------------------------------------------------------------------------ */

static void machine_part(void *ctx, State *s) {
    Machine *m = ctx;
    u64 time = machine_time(m);
    state_u64(s, &time);
    if (s->loading) m->start_ns = back_now() - time * NS_PER_TICK;
    state_bool(s, &m->start.machine_mode);
    state_u64(s, &m->start.pc);
    state_u64(s, &m->start.fdt);
    state_u64(s, &m->start.info);
}

static void harts_part(void *ctx, State *s) {
    Machine *m = ctx;
    for (u32 k = 0; k < m->hart_count; k++) hart_state(m->harts[k], s);
}

static void board_part(void *ctx, State *s) { board_state(((Machine *)ctx)->board, s); }

/* Of the order: time is what timers are set by, and harts are told of interrupts by the board. */
static const SnapshotPart parts[] = {{"machine", 1, machine_part}, {"harts", 3, harts_part}, {"board", 1, board_part}};

static bool snapshot_do(Machine *m, const char *path, bool load, char *why, size_t why_size) {
    char *identity = back_alloc(IDENTITY_SIZE);
    Text text = text_init(identity, IDENTITY_SIZE);
    SnapshotOf of = {identity, parts, ARRAY_LEN(parts), m, m->memory};
    gate_enter(m->memory->gate); /* devices go on on this thread */
    board_pause(m->board);
    bool good = board_identity(m->board, &text, why, why_size) && (load ? snapshot_load : snapshot_save)(path, &of, why, why_size);
    board_continue(m->board);
    gate_leave(m->memory->gate);
    free(identity);
    return good;
}

bool machine_resume(Machine *m, const char *path, char *why, size_t why_size) {
    if (m->counted) return back_fail(why, why_size, "a machine is recorded from its start on");
    return m->resumed = snapshot_do(m, path, true, why, why_size);
}

bool machine_snapshot(Machine *m, const char *path, char *why, size_t why_size) {
    Request r = {path, why, why_size, false, false};
    pthread_mutex_lock(&m->lock);
    while (m->request && !m->ended) pthread_cond_wait(&m->changed, &m->lock);
    bool taken = !m->ended;
    if (taken) m->request = &r;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (!taken) return back_fail(why, why_size, "the machine has ended");
    ask_all(m);
    pthread_mutex_lock(&m->lock);
    while (!r.done) pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return r.good;
}

static void set_paused(Machine *m, bool paused) {
    pthread_mutex_lock(&m->lock);
    m->paused = paused;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (paused) ask_all(m);
}

bool machine_wait_paused(Machine *m) {
    pthread_mutex_lock(&m->lock);
    while (!m->ended && !m->stopping && !(m->paused && m->standing)) pthread_cond_wait(&m->changed, &m->lock);
    bool good = !m->ended && !m->stopping;
    pthread_mutex_unlock(&m->lock);
    return good;
}

void machine_on_breakpoint(Machine *m, bool (*met)(void *ctx, u32 hart, u64 pc), void *ctx) {
    m->met = met;
    m->met_ctx = ctx;
}

bool machine_breakpoint(Machine *m, u32 hart, u64 pc) { return m->met && m->met(m->met_ctx, hart, pc); }

bool machine_is_paused(Machine *m) {
    pthread_mutex_lock(&m->lock);
    bool paused = m->paused;
    pthread_mutex_unlock(&m->lock);
    return paused;
}

void machine_pause(Machine *m) { set_paused(m, true); }
void machine_continue(Machine *m) { set_paused(m, false); }

/* With m->lock held. */
static void answer_request(Machine *m, bool can) {
    Request *r = m->request;
    if (!r) return;
    pthread_mutex_unlock(&m->lock);
    r->good = can ? snapshot_do(m, r->path, false, r->why, r->why_size) : back_fail(r->why, r->why_size, "the machine has ended");
    pthread_mutex_lock(&m->lock);
    m->request = NULL;
    r->done = true;
    pthread_cond_broadcast(&m->changed);
}

/* With m->lock held, until something changes. */
static void stand(Machine *m) {
    m->standing = true;
    pthread_cond_broadcast(&m->changed);
    pthread_cond_wait(&m->changed, &m->lock);
    m->standing = m->paused;
}

/* All harts have stopped. True: they are to go on where they were. */
static bool between(Machine *m) {
    pthread_mutex_lock(&m->lock);
    while (!m->stopping && (m->request || m->paused)) {
        if (m->request) answer_request(m, true);
        else stand(m);
    }
    bool go_on = !m->stopping;
    /* Who asks from now on asks anew: machine_stop and the like set what they want first, with the lock held. */
    for (u32 k = 0; k < m->hart_count && go_on; k++) __atomic_fetch_and(&m->harts[k]->requests, ~(u32)ASK_STOP, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&m->lock);
    return go_on;
}

/* --- running -------------------------------------------------------------------------------------------------------- */

static bool begin(Machine *m, char *why, size_t why_size) {
    bool resumed = m->resumed;
    m->resumed = false;
    if (resumed) return true;
    if (!board_load(m->board, &m->config.images, &m->start, why, why_size)) return false;
    prepare_harts(m);
    return true;
}

static int run(Machine *m, char *why, size_t why_size) {
    for (;;) {
        if (!begin(m, why, why_size)) return -1;
        while (between(m)) /* before the first time, too: somebody may want it to stand still from the start */
            if (!run_harts(m, why, why_size)) return -1;
        pthread_mutex_lock(&m->lock);
        bool again = m->how == PLATFORM_REBOOT && !m->config.no_reboot && !m->failed[0];
        m->stopping = false;
        pthread_mutex_unlock(&m->lock);
        if (!again) return (int)m->code;
        board_reset(m->board);
    }
}

int machine_run(Machine *m, char *why, size_t why_size) {
    int status = run(m, why, why_size);
    if (m->config.finish && !m->config.replay) status = m->config.finish(m->config.finish_ctx, status);
    if (m->counted && status >= 0 && !counted_end(m->counted, &status, why, why_size)) status = -1;
    if (status >= 0 && m->failed[0]) status = -1, back_fail(why, why_size, "%s", m->failed);
    pthread_mutex_lock(&m->lock);
    m->ended = true;
    answer_request(m, false);
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return status;
}

void machine_stats_print(const Machine *m, Text *out) { engine_stats_print(m->engine, out); }
