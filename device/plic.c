/* SPDX-License-Identifier: Apache-2.0 */
/* Platform-level interrupt controller: sources with priorities, contexts with enables and a threshold. [RISC-V PLIC 1.0.0]
 *
 * Context 2h is hart h's M-mode, 2h + 1 its S-mode. Level-triggered gateways: a source is pending while its line is up and nobody
 * has claimed it; a completion opens the gateway again. A context's best source is searched in words of 32 sources. */
#include "back/back.h"
#include "device/devices.h"

enum { WORDS = (PLIC_SOURCES + 31) / 32, PRIORITY_MAX = 7 };
enum { PRIORITY = 0, PENDING = 0x1000, ENABLE = 0x2000, ENABLE_SIZE = 0x80, CONTEXT = 0x200000, CONTEXT_SIZE = 0x1000 };

typedef struct PlicContext {
    u32 enable[WORDS], threshold;
    bool raised; /* what the hart was told */
} PlicContext;

struct Plic {
    pthread_mutex_t lock;
    const Platform *platform;
    u8 priority[PLIC_SOURCES];
    u32 level[WORDS], pending[WORDS], claimed[WORDS];
    u32 contexts;
    PlicContext *context;
};

static bool bit_get(const u32 *words, u32 n) { return words[n / 32] >> (n % 32) & 1; }
static void bit_set(u32 *words, u32 n, bool to) { words[n / 32] = (words[n / 32] & ~(1u << n % 32)) | (u32)to << n % 32; }

/* The pending and enabled source with the highest priority above `floor`, the lowest number among equals; 0: none. */
static u32 best_find(const Plic *p, const PlicContext *c, u32 floor) {
    u32 best = 0;
    for (u32 w = 0; w < WORDS; w++) {
        for (u32 left = p->pending[w] & c->enable[w]; left; left &= left - 1) {
            u32 source = w * 32 + (u32)__builtin_ctz(left);
            if (p->priority[source] <= floor) continue;
            floor = p->priority[source];
            best = source;
        }
    }
    return best;
}

static void context_update(Plic *p, u32 k) {
    PlicContext *c = &p->context[k];
    bool raise = best_find(p, c, c->threshold) != 0;
    if (raise == c->raised) return;
    c->raised = raise;
    p->platform->hart_interrupt(p->platform->ctx, k / 2, k & 1 ? HART_SEIP : HART_MEIP, raise);
}

static void contexts_update(Plic *p) {
    for (u32 k = 0; k < p->contexts; k++) context_update(p, k);
}

/* The gateway: pending while the line is up and no claim is open. A request that was not claimed is withdrawn with its line. */
static void gateway_update(Plic *p, u32 source) { bit_set(p->pending, source, bit_get(p->level, source) && !bit_get(p->claimed, source)); }

void plic_set(void *plic, u32 source, bool level) {
    Plic *p = plic;
    if (!source || source >= PLIC_SOURCES) return;
    pthread_mutex_lock(&p->lock);
    if (bit_get(p->level, source) != level) {
        bit_set(p->level, source, level);
        gateway_update(p, source);
        contexts_update(p);
    }
    pthread_mutex_unlock(&p->lock);
}

static u32 claim(Plic *p, u32 k) {
    u32 source = best_find(p, &p->context[k], 0); /* whatever the threshold: 1.0.0, "Interrupt Claim Process" */
    if (!source) return 0;
    bit_set(p->claimed, source, true);
    gateway_update(p, source);
    contexts_update(p);
    return source;
}

static void complete(Plic *p, u32 k, u32 source) {
    if (!source || source >= PLIC_SOURCES || !bit_get(p->context[k].enable, source)) return;
    bit_set(p->claimed, source, false);
    gateway_update(p, source);
    contexts_update(p);
}

/* Where a register of contexts lies: number of the context, offset in its block. False: beyond the last. */
static bool context_find(const Plic *p, u64 offset, u64 base, u64 size, u32 *k, u64 *in) {
    *k = (u32)((offset - base) / size);
    *in = (offset - base) % size;
    return *k < p->contexts;
}

static u32 register_read(Plic *p, u64 offset) {
    u32 k;
    u64 in;
    if (offset < PENDING) return offset / 4 < PLIC_SOURCES ? p->priority[offset / 4] : 0;
    if (offset < ENABLE) return (offset - PENDING) / 4 < WORDS ? p->pending[(offset - PENDING) / 4] : 0;
    if (offset < CONTEXT) return context_find(p, offset, ENABLE, ENABLE_SIZE, &k, &in) && in / 4 < WORDS ? p->context[k].enable[in / 4] : 0;
    if (!context_find(p, offset, CONTEXT, CONTEXT_SIZE, &k, &in)) return 0;
    return in == 0 ? p->context[k].threshold : in == 4 ? claim(p, k) : 0;
}

static void register_write(Plic *p, u64 offset, u32 value) {
    u32 k;
    u64 in;
    if (offset < PENDING) {
        if (offset && offset / 4 < PLIC_SOURCES) p->priority[offset / 4] = value & PRIORITY_MAX;
        contexts_update(p);
    } else if (offset < ENABLE) {
        return;
    } else if (offset < CONTEXT) {
        if (!context_find(p, offset, ENABLE, ENABLE_SIZE, &k, &in) || in / 4 >= WORDS) return;
        p->context[k].enable[in / 4] = in ? value : value & ~1u; /* there is no source 0 */
        context_update(p, k);
    } else if (context_find(p, offset, CONTEXT, CONTEXT_SIZE, &k, &in)) {
        if (in == 4) complete(p, k, value);
        if (in == 0) p->context[k].threshold = value & PRIORITY_MAX;
        context_update(p, k);
    }
}

static u64 plic_read(void *dev, u64 offset, unsigned size) {
    Plic *p = dev;
    pthread_mutex_lock(&p->lock);
    u32 value = register_read(p, offset);
    pthread_mutex_unlock(&p->lock);
    return value;
}

static void plic_write(void *dev, u64 offset, unsigned size, u64 value) {
    Plic *p = dev;
    pthread_mutex_lock(&p->lock);
    register_write(p, offset, (u32)value);
    pthread_mutex_unlock(&p->lock);
}

const IoOps plic_ops = {plic_read, plic_write, 4};

Plic *plic_new(const Platform *platform) {
    Plic *p = back_alloc(sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    p->platform = platform;
    p->contexts = 2 * platform->harts;
    p->context = back_alloc(p->contexts * sizeof(*p->context));
    return p;
}

void plic_reset(Plic *p) {
    pthread_mutex_lock(&p->lock);
    memset(p->priority, 0, sizeof(p->priority));
    memset(p->claimed, 0, sizeof(p->claimed));
    for (u32 k = 0; k < p->contexts; k++) {
        memset(p->context[k].enable, 0, sizeof(p->context[k].enable));
        p->context[k].threshold = 0;
    }
    for (u32 source = 1; source < PLIC_SOURCES; source++) gateway_update(p, source);
    contexts_update(p);
    pthread_mutex_unlock(&p->lock);
}

/* Pending bits follow from the lines, which their devices set. */
void plic_state(Plic *p, State *s) {
    pthread_mutex_lock(&p->lock);
    state_bytes(s, p->priority, sizeof(p->priority));
    state_bytes(s, p->claimed, sizeof(p->claimed));
    for (u32 k = 0; k < p->contexts; k++) {
        state_bytes(s, p->context[k].enable, sizeof(p->context[k].enable));
        state_u32(s, &p->context[k].threshold);
    }
    for (u32 source = 1; source < PLIC_SOURCES; source++) gateway_update(p, source);
    contexts_update(p);
    pthread_mutex_unlock(&p->lock);
}

void plic_drop(Plic *p) {
    pthread_mutex_destroy(&p->lock);
    free(p->context);
    free(p);
}
