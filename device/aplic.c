/* SPDX-License-Identifier: Apache-2.0 */
/* The APLIC in MSI mode: device/aplic.h. [aia 4.5, 4.9]
 *
 * A source belongs to the root, or to the child once the root delegated it. A pending and enabled source of an enabled domain becomes a message at once,
 * which clears its pending bit; a level that stays up is sent again when the guest writes the source's number to setipnum. Messages go to
 * harts by their index; the address registers, by which real hardware would find them, are kept for those who read them. */
#include "device/aplic.h"
#include "back/back.h"

enum { DOMAINS = 2, WORDS = (APLIC_SOURCES + 31) / 32 };
enum {
    DOMAINCFG = 0, SOURCECFG = 4, MSIADDR = 0x1bc0, SETIP = 0x1c00, SETIPNUM = 0x1cdc, CLRIP = 0x1d00, CLRIPNUM = 0x1ddc, SETIE = 0x1e00,
    SETIENUM = 0x1edc, CLRIE = 0x1f00, CLRIENUM = 0x1fdc, SETIPNUM_LE = 0x2000, SETIPNUM_BE = 0x2004, GENMSI = 0x3000, TARGET = 0x3004,
    BLOCK_END = 0x80, /* of setip and its like */
};
enum { CFG_ENABLE = 1 << 8, CFG_MSI = 1 << 2, CFG_FIXED = (int)0x80000000, SOURCE_DELEGATED = 1 << 10 };
enum { INACTIVE, DETACHED, EDGE_RISE = 4, EDGE_FALL, LEVEL_HIGH, LEVEL_LOW };

typedef struct Domain {
    Aplic *aplic;
    ImsicFile file; /* IMSIC_M: the root */
    bool enabled;
    u32 source[APLIC_SOURCES], target[APLIC_SOURCES];
    bool pending[APLIC_SOURCES], enable[APLIC_SOURCES];
} Domain;

struct Aplic {
    pthread_mutex_t lock;
    Imsic *imsic;
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

static void source_send(Domain *d, u32 s) {
    if (!d->enabled || !d->pending[s] || !d->enable[s] || mode_get(d, s) == INACTIVE) return;
    d->pending[s] = false;
    imsic_send(d->aplic->imsic, d->target[s] >> 18, d->file, d->target[s] & 0x7ff);
}

static void pending_set(Domain *d, u32 s) {
    u32 mode = s && s < APLIC_SOURCES ? mode_get(d, s) : INACTIVE;
    if (mode == INACTIVE || (mode >= LEVEL_HIGH && !input_get(d, s))) return;
    d->pending[s] = true;
    source_send(d, s);
}

static void pending_clear(Domain *d, u32 s) {
    if (s && s < APLIC_SOURCES) d->pending[s] = false;
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
    if (d->source[s] & SOURCE_DELEGATED) return;
    if (d->file == IMSIC_M) d->aplic->domain[IMSIC_S].source[s] = INACTIVE; /* taken back */
}

/* Bits 32k..32k+31 of one of the arrays. */
static u32 word_read(Domain *d, u32 k, u32 block) {
    u32 value = 0;
    for (u32 bit = 0; bit < 32; bit++) {
        u32 s = k * 32 + bit;
        if (s >= APLIC_SOURCES) break;
        bool on = block == SETIP ? d->pending[s] : block == CLRIP ? input_get(d, s) : block == SETIE && d->enable[s];
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
    if (offset == DOMAINCFG) return (u32)CFG_FIXED | CFG_MSI | (d->enabled ? CFG_ENABLE : 0);
    if (offset < 0x1000) return s < APLIC_SOURCES && (d->file == IMSIC_M || owner_get(d->aplic, s) == d) ? d->source[s] : 0;
    if (offset >= MSIADDR && offset < MSIADDR + 16) return d->file == IMSIC_M ? d->aplic->msi_address[(offset - MSIADDR) / 4] : 0;
    if (block >= SETIP && block <= SETIE) return (offset & 0xff) < BLOCK_END ? word_read(d, (offset & 0xff) / 4, block) : 0;
    if (offset >= TARGET && s < APLIC_SOURCES && mode_get(d, s) != INACTIVE) return d->target[s];
    return 0;
}

static void target_write(Domain *d, u32 s, u32 value) {
    if (s < APLIC_SOURCES && mode_get(d, s) != INACTIVE) d->target[s] = value & ~0x3f800u; /* no guest files */
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
        if (d->file == IMSIC_M && !(d->aplic->msi_address[1] >> 31)) d->aplic->msi_address[(offset - MSIADDR) / 4] = value;
    } else if (block >= SETIP && block <= CLRIE) block_write(d, block, offset & 0xff, value);
    else if (offset == SETIPNUM_LE) pending_set(d, value);
    else if (offset == SETIPNUM_BE) pending_set(d, __builtin_bswap32(value));
    else if (offset == GENMSI) imsic_send(d->aplic->imsic, value >> 18, d->file, value & 0x7ff);
    else if (offset >= TARGET) target_write(d, s, value);
}

static u64 aplic_read(void *dev, u64 offset, unsigned size) {
    Domain *d = dev;
    pthread_mutex_lock(&d->aplic->lock);
    u32 value = offset < 0x4000 ? register_read(d, (u32)offset) : 0;
    pthread_mutex_unlock(&d->aplic->lock);
    return value;
}

static void aplic_write(void *dev, u64 offset, unsigned size, u64 value) {
    Domain *d = dev;
    pthread_mutex_lock(&d->aplic->lock);
    if (offset < 0x4000) register_write(d, (u32)offset, (u32)value);
    pthread_mutex_unlock(&d->aplic->lock);
}

const IoOps aplic_ops = {aplic_read, aplic_write, 4};

void *aplic_domain_io(Aplic *a, ImsicFile domain) { return &a->domain[domain]; }

void aplic_reset(Aplic *a) {
    pthread_mutex_lock(&a->lock);
    memset(a->msi_address, 0, sizeof(a->msi_address));
    for (u32 k = 0; k < DOMAINS; k++) a->domain[k] = (Domain){.aplic = a, .file = (ImsicFile)k};
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
    }
    pthread_mutex_unlock(&a->lock);
}

Aplic *aplic_new(Imsic *imsic, u32 harts) {
    Aplic *a = back_alloc(sizeof(*a));
    pthread_mutex_init(&a->lock, NULL);
    a->imsic = imsic;
    a->harts = harts;
    aplic_reset(a);
    return a;
}

void aplic_drop(Aplic *a) {
    pthread_mutex_destroy(&a->lock);
    free(a);
}
