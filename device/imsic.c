/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt files: device/imsic.h. Pending and enabled identities are bits of 64-bit words, as *iselect shows them. */
#include "device/imsic.h"
#include "back/back.h"

enum { WORDS = (IMSIC_IDS + 64) / 64, FILES = 2 };
enum { EIDELIVERY = 0x70, EITHRESHOLD = 0x72, EIP0 = 0x80, EIE0 = 0xc0, EIE_END = 0x100 };

typedef struct IntFile {
    pthread_mutex_t lock;
    u64 pending[WORDS], enabled[WORDS];
    u32 threshold; /* 0: all; else identities below it count */
    bool delivery;
    bool raised;   /* what the hart was told */
} IntFile;

typedef struct FileIo { /* `dev` of the pages of one kind of file */
    Imsic *im;
    ImsicFile file;
} FileIo;

struct Imsic {
    Platform platform;
    FileIo io[FILES];
    IntFile *files; /* by hart, M and S */
};

static IntFile *file_get(Imsic *im, u32 hart, ImsicFile file) { return &im->files[hart * FILES + file]; }

static u32 top_find(const IntFile *f) {
    for (u32 w = 0; w < WORDS; w++) {
        u64 both = f->pending[w] & f->enabled[w];
        u32 id = w * 64 + (both ? (u32)__builtin_ctzll(both) : 0);
        if (both) return f->threshold && id >= f->threshold ? 0 : id;
    }
    return 0;
}

/* After every change, with the file's lock held: so what the hart was told last is true. */
static void file_update(Imsic *im, u32 hart, ImsicFile file) {
    IntFile *f = file_get(im, hart, file);
    bool raise = f->delivery && top_find(f);
    if (raise == f->raised) return;
    f->raised = raise;
    im->platform.hart_interrupt(im->platform.ctx, hart, file == IMSIC_M ? HART_MEIP : HART_SEIP, raise);
}

void imsic_send(Imsic *im, u32 hart, ImsicFile file, u32 identity) {
    if (hart >= im->platform.harts || !identity || identity > IMSIC_IDS) return;
    IntFile *f = file_get(im, hart, file);
    pthread_mutex_lock(&f->lock);
    f->pending[identity / 64] |= 1ull << identity % 64;
    file_update(im, hart, file);
    pthread_mutex_unlock(&f->lock);
}

u32 imsic_top(Imsic *im, u32 hart, ImsicFile file, bool claim) {
    IntFile *f = file_get(im, hart, file);
    pthread_mutex_lock(&f->lock);
    u32 id = top_find(f);
    if (claim && id) {
        f->pending[id / 64] &= ~(1ull << id % 64);
        file_update(im, hart, file);
    }
    pthread_mutex_unlock(&f->lock);
    return id << 16 | id;
}

/* The word of eip or eie that `select` means; NULL: beyond the identities that there are. */
static u64 *word_find(IntFile *f, u32 select) {
    u32 k = (select & 0x3f) / 2;
    return k >= WORDS ? NULL : select < EIE0 ? &f->pending[k] : &f->enabled[k];
}

/* True: a register of a file, though perhaps one that is always zero. */
static bool select_check(u32 select) { return select >= EIDELIVERY && select < EIE_END && !(select >= EIP0 && select & 1); }

bool imsic_read(Imsic *im, u32 hart, ImsicFile file, u32 select, u64 *value) {
    IntFile *f = file_get(im, hart, file);
    *value = 0;
    if (!select_check(select)) return false;
    pthread_mutex_lock(&f->lock);
    u64 *word = select >= EIP0 ? word_find(f, select) : NULL;
    if (select == EIDELIVERY) *value = f->delivery;
    else if (select == EITHRESHOLD) *value = f->threshold;
    else if (word) *value = *word;
    pthread_mutex_unlock(&f->lock);
    return true;
}

bool imsic_write(Imsic *im, u32 hart, ImsicFile file, u32 select, u64 value) {
    IntFile *f = file_get(im, hart, file);
    if (!select_check(select)) return false;
    pthread_mutex_lock(&f->lock);
    u64 *word = select >= EIP0 ? word_find(f, select) : NULL;
    if (select == EIDELIVERY) f->delivery = value & 1;
    else if (select == EITHRESHOLD) f->threshold = value & IMSIC_IDS;
    else if (word) *word = select == EIP0 || select == EIE0 ? value & ~1ull : value; /* there is no identity 0 */
    file_update(im, hart, file);
    pthread_mutex_unlock(&f->lock);
    return true;
}

static u64 imsic_io_read(void *dev, u64 offset, unsigned size) { return 0; }

static void imsic_io_write(void *dev, u64 offset, unsigned size, u64 value) {
    FileIo *io = dev;
    u64 hart = offset / PAGE_BYTES, in = offset % PAGE_BYTES;
    if (hart >= io->im->platform.harts || in > 4) return;
    imsic_send(io->im, (u32)hart, io->file, in ? __builtin_bswap32((u32)value) : (u32)value);
}

const IoOps imsic_ops = {imsic_io_read, imsic_io_write, 4};

void *imsic_file_io(Imsic *im, ImsicFile file) { return &im->io[file]; }

Imsic *imsic_new(const Platform *platform) {
    Imsic *im = back_alloc(sizeof(*im));
    im->platform = *platform;
    im->files = back_alloc(platform->harts * FILES * sizeof(IntFile));
    for (u32 k = 0; k < platform->harts * FILES; k++) pthread_mutex_init(&im->files[k].lock, NULL);
    for (u32 k = 0; k < FILES; k++) im->io[k] = (FileIo){im, (ImsicFile)k};
    return im;
}

void imsic_reset(Imsic *im) {
    for (u32 k = 0; k < im->platform.harts * FILES; k++) {
        IntFile *f = &im->files[k];
        pthread_mutex_lock(&f->lock);
        memset(f->pending, 0, sizeof(f->pending));
        memset(f->enabled, 0, sizeof(f->enabled));
        f->threshold = 0;
        f->delivery = false;
        file_update(im, k / FILES, (ImsicFile)(k % FILES));
        pthread_mutex_unlock(&f->lock);
    }
}

void imsic_state(Imsic *im, State *s) {
    for (u32 k = 0; k < im->platform.harts * FILES; k++) {
        IntFile *f = &im->files[k];
        pthread_mutex_lock(&f->lock);
        state_bytes(s, f->pending, sizeof(f->pending));
        state_bytes(s, f->enabled, sizeof(f->enabled));
        state_below(s, &f->threshold, IMSIC_IDS + 1);
        state_bool(s, &f->delivery);
        file_update(im, k / FILES, (ImsicFile)(k % FILES));
        pthread_mutex_unlock(&f->lock);
    }
}

void imsic_drop(Imsic *im) {
    for (u32 k = 0; k < im->platform.harts * FILES; k++) pthread_mutex_destroy(&im->files[k].lock);
    free(im->files);
    free(im);
}
