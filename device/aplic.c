/* SPDX-License-Identifier: Apache-2.0 */
/* The APLIC: device/aplic.h. [aia 4.5, 4.7 to 4.9]
 *
 * A source belongs to the root, or to the child once the root delegated it.
 *
 * With IMSICs, a pending and enabled source of an enabled domain becomes a message at once, which clears its pending bit; a level that stays up is sent again when the
 * guest writes the source's number to setipnum. Messages go to harts by their index; the address registers, by which real hardware would find them, are kept for those who read them.
 *
 * Without, each hart has a structure in each domain (Idc) that says which interrupt goes first, and is the hart's external interrupt while there is one. After each change
 * `signal` looks at all sources: there are few, and what changes is rare. */
#include "device/aplic.h"
#include "back/back.h"

enum { DOMAINS = 2, IDC_SIZE = 32, WORDS = (APLIC_SOURCES + 31) / 32 };
enum {
    DOMAINCFG = 0, SOURCECFG = 4, MSIADDR = 0x1bc0, SETIP = 0x1c00, SETIPNUM = 0x1cdc, CLRIP = 0x1d00, CLRIPNUM = 0x1ddc, SETIE = 0x1e00,
    SETIENUM = 0x1edc, CLRIE = 0x1f00, CLRIENUM = 0x1fdc, SETIPNUM_LE = 0x2000, SETIPNUM_BE = 0x2004, GENMSI = 0x3000, TARGET = 0x3004, IDCS = 0x4000,
    BLOCK_END = 0x80, /* of setip and its like */
};
enum { CFG_ENABLE = 1 << 8, CFG_MSI = 1 << 2, CFG_FIXED = (int)0x80000000, SOURCE_DELEGATED = 1 << 10 };
enum { IDC_DELIVERY = 0, IDC_FORCE = 4, IDC_THRESHOLD = 8, IDC_TOP = 0x18, IDC_CLAIM = 0x1c };
enum { INACTIVE, DETACHED, EDGE_RISE = 4, EDGE_FALL, LEVEL_HIGH, LEVEL_LOW };

typedef struct Idc { /* of one hart */
    bool delivery, force;
    u8 threshold;
    bool wanted;    /* something waits for it: signal_all */
    bool signalled; /* its external interrupt is up */
} Idc;

typedef struct Domain {
    Aplic *aplic;
    ImsicFile file; /* IMSIC_M: the root */
    bool enabled;
    u32 source[APLIC_SOURCES], target[APLIC_SOURCES];
    bool pending[APLIC_SOURCES], enable[APLIC_SOURCES]; /* pending: see is_pending */
    Idc *idc; /* by hart */
} Domain;

struct Aplic {
    pthread_mutex_t lock;
    Imsic *imsic; /* NULL: interrupts go to the harts directly */
    const Platform *platform;
    u32 harts;
    bool line[APLIC_SOURCES];
    u32 msi_address[4];
    Domain domain[DOMAINS]; /* by ImsicFile */
};

static Domain *owner_get(Aplic *a, u32 s) { return &a->domain[a->domain[IMSIC_M].source[s] & SOURCE_DELEGATED ? IMSIC_S : IMSIC_M]; }

static u32 mode_get(Domain *d, u32 s) { return owner_get(d->aplic, s) == d ? d->source[s] & 7 : INACTIVE; }

/* The input as the source's mode sees it. */
static bool input_get(Domain *d, u32 s) {
    u32 mode = mode_get(d, s);
    if (mode < EDGE_RISE) return false;
    return d->aplic->line[s] ^ (mode == EDGE_FALL || mode == LEVEL_LOW);
}

static bool is_direct(const Domain *d) { return !d->aplic->imsic; }

/* Delivered directly, a level-sensitive source is pending while its input is up. */
static bool is_pending(Domain *d, u32 s) {
    u32 mode = mode_get(d, s);
    return mode != INACTIVE && (is_direct(d) && mode >= LEVEL_HIGH ? input_get(d, s) : d->pending[s]);
}

/* --- delivery to harts ---------------------------------------------------------------------- */

static bool is_urgent(const Idc *idc, u32 priority) { return !idc->threshold || priority < idc->threshold; }

/* What goes first for a hart, as its topi: the smallest priority number, then the smallest source; 0: nothing. */
static u32 top_get(Domain *d, u32 hart) {
    u32 top = 0, best = 256;
    for (u32 s = 1; s < APLIC_SOURCES; s++) {
        u32 priority = d->target[s] & 0xff;
        if (!d->enable[s] || d->target[s] >> 18 != hart || priority >= best || !is_urgent(&d->idc[hart], priority) || !is_pending(d, s)) continue;
        best = priority;
        top = s << 16 | priority;
    }
    return top;
}

static void signal_set(Domain *d, u32 hart, bool level) {
    const Platform *p = d->aplic->platform;
    if (d->idc[hart].signalled == level) return;
    d->idc[hart].signalled = level;
    p->hart_interrupt(p->ctx, hart, d->file == IMSIC_M ? HART_MEIP : HART_SEIP, level);
}

static void signal_all(Domain *d) {
    for (u32 hart = 0; hart < d->aplic->harts; hart++) d->idc[hart].wanted = d->idc[hart].force;
    for (u32 s = 1; s < APLIC_SOURCES; s++) {
        u32 hart = d->target[s] >> 18;
        if (d->enable[s] && hart < d->aplic->harts && is_urgent(&d->idc[hart], d->target[s] & 0xff) && is_pending(d, s)) d->idc[hart].wanted = true;
    }
    for (u32 hart = 0; hart < d->aplic->harts; hart++) signal_set(d, hart, d->enabled && d->idc[hart].delivery && d->idc[hart].wanted);
}

static u32 claim(Domain *d, u32 hart) {
    u32 top = top_get(d, hart);
    if (top) d->pending[top >> 16] = false;
    else d->idc[hart].force = false;
    signal_all(d);
    return top;
}

static u32 idc_read(Domain *d, u32 offset) {
    u32 hart = offset / IDC_SIZE;
    if (!is_direct(d) || hart >= d->aplic->harts) return 0;
    switch (offset % IDC_SIZE) {
    case IDC_DELIVERY: return d->idc[hart].delivery;
    case IDC_FORCE: return d->idc[hart].force;
    case IDC_THRESHOLD: return d->idc[hart].threshold;
    case IDC_TOP: return top_get(d, hart);
    case IDC_CLAIM: return claim(d, hart);
    }
    return 0;
}

static void idc_write(Domain *d, u32 offset, u32 value) {
    u32 hart = offset / IDC_SIZE;
    if (!is_direct(d) || hart >= d->aplic->harts) return;
    switch (offset % IDC_SIZE) {
    case IDC_DELIVERY: d->idc[hart].delivery = value & 1; break;
    case IDC_FORCE: d->idc[hart].force = value & 1; break;
    case IDC_THRESHOLD: d->idc[hart].threshold = (u8)value; break;
    }
    signal_all(d);
}

/* --- sources -------------------------------------------------------------------------------- */

static void source_send(Domain *d, u32 s) {
    if (is_direct(d)) {
        signal_all(d);
        return;
    }
    if (!d->enabled || !d->pending[s] || !d->enable[s] || mode_get(d, s) == INACTIVE) return;
    d->pending[s] = false;
    imsic_send(d->aplic->imsic, d->target[s] >> 18, d->file, d->target[s] & 0x7ff);
}

static void pending_set(Domain *d, u32 s) {
    u32 mode = s && s < APLIC_SOURCES ? mode_get(d, s) : INACTIVE;
    if (mode == INACTIVE || (mode >= LEVEL_HIGH && (is_direct(d) || !input_get(d, s)))) return;
    d->pending[s] = true;
    source_send(d, s);
}

static void pending_clear(Domain *d, u32 s) {
    if (!s || s >= APLIC_SOURCES) return;
    d->pending[s] = false;
    if (is_direct(d)) signal_all(d);
}

static void enable_set(Domain *d, u32 s, bool to) {
    if (!s || s >= APLIC_SOURCES || mode_get(d, s) == INACTIVE) return;
    d->enable[s] = to;
    source_send(d, s);
}

void aplic_set(void *aplic, u32 s, bool level) {
    Aplic *a = aplic;
    if (!s || s >= APLIC_SOURCES) return;
    pthread_mutex_lock(&a->lock);
    if (a->line[s] != level) {
        Domain *d = owner_get(a, s);
        a->line[s] = level;
        if (input_get(d, s)) pending_set(d, s);
        else if (mode_get(d, s) >= LEVEL_HIGH) d->pending[s] = false;
        if (is_direct(d)) signal_all(d);
    }
    pthread_mutex_unlock(&a->lock);
}

static void source_config(Domain *d, u32 s, u32 value) {
    if (d->file == IMSIC_S && owner_get(d->aplic, s) != d) return;
    u32 mode = value & 7;
    bool before = input_get(d, s);
    if (d->file == IMSIC_M && (value & SOURCE_DELEGATED)) d->source[s] = SOURCE_DELEGATED; /* to child 0, the only one */
    else d->source[s] = mode == 2 || mode == 3 ? INACTIVE : mode;
    if (mode_get(d, s) == INACTIVE) d->pending[s] = d->enable[s] = false;
    else if (!before && input_get(d, s)) pending_set(d, s); /* [aia 4.5.2]: a rise of the rectified input, however it came */
    if (d->file == IMSIC_M && !(d->source[s] & SOURCE_DELEGATED)) d->aplic->domain[IMSIC_S].source[s] = INACTIVE; /* taken back */
    for (u32 k = 0; k < DOMAINS && is_direct(d); k++) signal_all(&d->aplic->domain[k]);
}

/* Bits 32k..32k+31 of one of the arrays. */
static u32 word_read(Domain *d, u32 k, u32 block) {
    u32 value = 0;
    for (u32 bit = 0; bit < 32; bit++) {
        u32 s = k * 32 + bit;
        if (s >= APLIC_SOURCES) break;
        bool on = block == SETIP ? is_pending(d, s) : block == CLRIP ? input_get(d, s) : block == SETIE && d->enable[s];
        value |= (u32)(on && mode_get(d, s) != INACTIVE) << bit;
    }
    return value;
}

static void number_write(Domain *d, u32 block, u32 s) {
    switch (block) {
    case SETIP: pending_set(d, s); break;
    case CLRIP: pending_clear(d, s); break;
    case SETIE: enable_set(d, s, true); break;
    case CLRIE: enable_set(d, s, false); break;
    }
}

static u32 register_read(Domain *d, u32 offset) {
    u32 s = (offset & 0xfff) / 4, block = offset & ~0xffu;
    if (offset == DOMAINCFG) return (u32)CFG_FIXED | (is_direct(d) ? 0 : CFG_MSI) | (d->enabled ? CFG_ENABLE : 0);
    if (offset < 0x1000) return s < APLIC_SOURCES && (d->file == IMSIC_M || owner_get(d->aplic, s) == d) ? d->source[s] : 0;
    if (offset >= MSIADDR && offset < MSIADDR + 16) return d->file == IMSIC_M ? d->aplic->msi_address[(offset - MSIADDR) / 4] : 0;
    if (block >= SETIP && block <= SETIE) return (offset & 0xff) < BLOCK_END ? word_read(d, (offset & 0xff) / 4, block) : 0;
    if (offset >= TARGET && s < APLIC_SOURCES && mode_get(d, s) != INACTIVE) return d->target[s];
    return 0;
}

static void target_write(Domain *d, u32 s, u32 value) {
    if (s >= APLIC_SOURCES || mode_get(d, s) == INACTIVE) return;
    if (is_direct(d)) d->target[s] = (value & ~0x3ffffu) | MAX(value & 0xff, 1u);
    else d->target[s] = value & ~0x3f800u; /* no guest files */
    if (is_direct(d)) signal_all(d);
}

static void block_write(Domain *d, u32 block, u32 in, u32 value) {
    if (in == (SETIPNUM & 0xff)) number_write(d, block, value);
    else if (in < BLOCK_END)
        for (u32 left = value; left; left &= left - 1) number_write(d, block, in * 8 + (u32)__builtin_ctz(left));
}

static void domain_config(Domain *d, u32 value) {
    d->enabled = value & CFG_ENABLE;
    for (u32 s = 1; s < APLIC_SOURCES; s++) source_send(d, s);
}

static void register_write(Domain *d, u32 offset, u32 value) {
    u32 s = (offset & 0xfff) / 4, block = offset & ~0xffu;
    if (offset == DOMAINCFG) domain_config(d, value);
    else if (offset < 0x1000) {
        if (s && s < APLIC_SOURCES) source_config(d, s, value);
    } else if (offset >= MSIADDR && offset < MSIADDR + 16) {
        if (d->file == IMSIC_M && !is_direct(d) && !(d->aplic->msi_address[1] >> 31)) d->aplic->msi_address[(offset - MSIADDR) / 4] = value;
    } else if (block >= SETIP && block <= CLRIE) block_write(d, block, offset & 0xff, value);
    else if (offset == SETIPNUM_LE) pending_set(d, value);
    else if (offset == SETIPNUM_BE) pending_set(d, __builtin_bswap32(value));
    else if (offset == GENMSI && !is_direct(d)) imsic_send(d->aplic->imsic, value >> 18, d->file, value & 0x7ff);
    else if (offset >= TARGET) target_write(d, s, value);
}

static u64 aplic_read(void *dev, u64 offset, unsigned size) {
    Domain *d = dev;
    pthread_mutex_lock(&d->aplic->lock);
    u32 value = offset < IDCS ? register_read(d, (u32)offset) : idc_read(d, (u32)offset - IDCS);
    pthread_mutex_unlock(&d->aplic->lock);
    return value;
}

static void aplic_write(void *dev, u64 offset, unsigned size, u64 value) {
    Domain *d = dev;
    pthread_mutex_lock(&d->aplic->lock);
    if (offset < IDCS) register_write(d, (u32)offset, (u32)value);
    else idc_write(d, (u32)offset - IDCS, (u32)value);
    pthread_mutex_unlock(&d->aplic->lock);
}

const IoOps aplic_ops = {aplic_read, aplic_write, 4};

void *aplic_domain_io(Aplic *a, ImsicFile domain) { return &a->domain[domain]; }

void aplic_reset(Aplic *a) {
    pthread_mutex_lock(&a->lock);
    memset(a->msi_address, 0, sizeof(a->msi_address));
    for (u32 k = 0; k < DOMAINS; k++) {
        Domain *d = &a->domain[k];
        for (u32 hart = 0; hart < a->harts; hart++) {
            signal_set(d, hart, false);
            d->idc[hart] = (Idc){0};
        }
        *d = (Domain){.aplic = a, .file = (ImsicFile)k, .idc = d->idc};
    }
    pthread_mutex_unlock(&a->lock);
}

void aplic_delegate_all(Aplic *a) {
    pthread_mutex_lock(&a->lock);
    for (u32 s = 1; s < APLIC_SOURCES; s++) source_config(&a->domain[IMSIC_M], s, SOURCE_DELEGATED);
    pthread_mutex_unlock(&a->lock);
}

/* Lines are set by their devices anew: one that is up already makes no message then. */
void aplic_state(Aplic *a, State *s) {
    pthread_mutex_lock(&a->lock);
    state_bytes(s, a->msi_address, sizeof(a->msi_address));
    for (u32 n = 0; n < APLIC_SOURCES; n++) state_bool(s, &a->line[n]);
    for (u32 k = 0; k < DOMAINS; k++) {
        Domain *d = &a->domain[k];
        state_bool(s, &d->enabled);
        for (u32 n = 0; n < APLIC_SOURCES; n++) {
            state_u32(s, &d->source[n]);
            state_u32(s, &d->target[n]);
            state_bool(s, &d->pending[n]);
            state_bool(s, &d->enable[n]);
            d->source[n] &= SOURCE_DELEGATED | 7;
        }
        for (u32 hart = 0; hart < a->harts; hart++) {
            state_bool(s, &d->idc[hart].delivery);
            state_bool(s, &d->idc[hart].force);
            state_bytes(s, &d->idc[hart].threshold, 1);
        }
    }
    for (u32 k = 0; k < DOMAINS && !a->imsic; k++) signal_all(&a->domain[k]);
    pthread_mutex_unlock(&a->lock);
}

Aplic *aplic_new(Imsic *imsic, const Platform *platform) {
    Aplic *a = back_alloc(sizeof(*a));
    pthread_mutex_init(&a->lock, NULL);
    a->imsic = imsic;
    a->platform = platform;
    a->harts = platform->harts;
    for (u32 k = 0; k < DOMAINS; k++) a->domain[k] = (Domain){.aplic = a, .file = (ImsicFile)k, .idc = back_alloc(a->harts * sizeof(Idc))};
    aplic_reset(a);
    return a;
}

void aplic_drop(Aplic *a) {
    pthread_mutex_destroy(&a->lock);
    for (u32 k = 0; k < DOMAINS; k++) free(a->domain[k].idc);
    free(a);
}
