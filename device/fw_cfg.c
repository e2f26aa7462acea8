/* SPDX-License-Identifier: Apache-2.0 */
/* fw_cfg: items of bytes that firmware selects by number and reads, byte by byte or by DMA. [QEMU docs/specs/fw_cfg]
 *
 * Registers: data at 0 (any size, big-endian in the guest's eyes: bytes in order), selector at 8 (16 bits, big-endian), DMA address at 16
 * (64 bits, big-endian; the write of its low half starts the transfer). Items are read-only: a write is refused. */
#include "back/back.h"
#include "device/devices.h"

enum { DATA = 0, SELECTOR = 8, DMA_HIGH = 16, DMA_LOW = 20 };
enum { SIGNATURE = 0, ID = 1, FILE_DIR = 0x19, FILE_FIRST = 0x20, FILES_MAX = 64, ITEMS = FILE_FIRST + FILES_MAX, NAME_SIZE = 56 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

typedef struct DirEntry { /* big-endian */
    u32 size;
    u16 select, reserved;
    char name[NAME_SIZE];
} DirEntry;

struct FwCfg {
    pthread_mutex_t lock;
    Physical *memory;
    struct {
        u8 *data;
        u32 size;
    } item[ITEMS];
    DirEntry files[FILES_MAX];
    u32 file_len;
    u16 selected;
    u32 at; /* offset in the selected item */
    u64 dma;
};

/* Up to `size` bytes of the selected item from the current offset, zeros behind its end. */
static void item_read(FwCfg *f, u8 *to, u32 size) {
    u32 len = f->selected < ITEMS ? f->item[f->selected].size : 0, n = f->at < len ? MIN(size, len - f->at) : 0;
    if (n) memcpy(to, f->item[f->selected].data + f->at, n);
    memset(to + n, 0, size - n);
    f->at = f->at + size < f->at ? ~0u : f->at + size;
}

static void item_select(FwCfg *f, u16 selector) {
    f->selected = selector & 0x3fff;
    f->at = 0;
}

/* Copies to guest memory in parts, so that a hostile length costs no memory of ours. False: not RAM. */
static bool item_copy(FwCfg *f, u64 to, u32 size) {
    u8 part[4096];
    if (!physical_ram(f->memory, to, size)) return false;
    for (u32 done = 0; done < size;) {
        u32 n = MIN((u32)sizeof(part), size - done);
        item_read(f, part, n);
        physical_write(f->memory, to + done, part, n);
        done += n;
    }
    return true;
}

static void dma_run(FwCfg *f) {
    struct {
        u32 control, length; /* big-endian */
        u64 address;
    } access;
    u64 at = f->dma;
    f->dma = 0;
    if (!physical_read(f->memory, at, &access, sizeof(access))) return;
    u32 control = __builtin_bswap32(access.control), length = __builtin_bswap32(access.length);
    bool ok = true;
    if (control & DMA_SELECT) item_select(f, (u16)(control >> 16));
    if (control & DMA_READ) ok = !length || item_copy(f, __builtin_bswap64(access.address), length);
    else if (control & DMA_WRITE) ok = false;
    else if (control & DMA_SKIP) f->at = f->at + length < f->at ? ~0u : f->at + length;
    access.control = ok ? 0 : __builtin_bswap32(DMA_ERROR);
    physical_write(f->memory, at, &access.control, sizeof(access.control));
}

static u64 fw_cfg_read(void *dev, u64 offset, unsigned size) {
    FwCfg *f = dev;
    u64 value = 0;
    pthread_mutex_lock(&f->lock);
    if (offset < SELECTOR) item_read(f, (u8 *)&value, size);
    else if (offset >= DMA_HIGH) value = __builtin_bswap64(0x51454d5520434647ull /* "QEMU CFG": drivers ask for it */) >> (8 * (offset - DMA_HIGH));
    pthread_mutex_unlock(&f->lock);
    return value;
}

static void fw_cfg_write(void *dev, u64 offset, unsigned size, u64 value) {
    FwCfg *f = dev;
    pthread_mutex_lock(&f->lock);
    if (offset == SELECTOR && size == 2) item_select(f, __builtin_bswap16((u16)value));
    if (offset == DMA_HIGH && size == 4) f->dma = (u64)__builtin_bswap32((u32)value) << 32;
    if (offset == DMA_HIGH && size == 8) f->dma = __builtin_bswap64(value);
    if (offset == DMA_LOW && size == 4) f->dma |= __builtin_bswap32((u32)value);
    if ((offset == DMA_HIGH && size == 8) || (offset == DMA_LOW && size == 4)) dma_run(f);
    pthread_mutex_unlock(&f->lock);
}

const IoOps fw_cfg_ops = {fw_cfg_read, fw_cfg_write, 1 | 2 | 4 | 8};

static void item_put(FwCfg *f, u16 selector, const void *data, u32 size) {
    u8 *copy = back_alloc(size);
    if (size) memcpy(copy, data, size);
    free(f->item[selector].data);
    f->item[selector].data = copy;
    f->item[selector].size = size;
}

void fw_cfg_add(FwCfg *f, u16 selector, const void *data, u32 size) {
    if (selector >= FILE_FIRST) BUG("no such item");
    pthread_mutex_lock(&f->lock);
    item_put(f, selector, data, size);
    pthread_mutex_unlock(&f->lock);
}

static void directory_put(FwCfg *f) {
    u8 all[4 + sizeof(f->files)];
    u32 count = __builtin_bswap32(f->file_len), size = f->file_len * (u32)sizeof(DirEntry);
    memcpy(all, &count, 4);
    memcpy(all + 4, f->files, size);
    item_put(f, FILE_DIR, all, 4 + size);
}

void fw_cfg_add_file(FwCfg *f, const char *name, const void *data, u32 size) {
    pthread_mutex_lock(&f->lock);
    u32 k = 0;
    while (k < f->file_len && strcmp(f->files[k].name, name)) k++;
    if (k == FILES_MAX || strlen(name) >= NAME_SIZE) BUG("too many files, or too long a name");
    DirEntry *e = &f->files[k];
    strcpy(e->name, name);
    e->select = __builtin_bswap16((u16)(FILE_FIRST + k));
    e->size = __builtin_bswap32(size);
    f->file_len = MAX(f->file_len, k + 1);
    item_put(f, (u16)(FILE_FIRST + k), data, size);
    directory_put(f);
    pthread_mutex_unlock(&f->lock);
}

FwCfg *fw_cfg_new(Physical *memory) {
    FwCfg *f = back_alloc(sizeof(*f));
    u32 id = 3; /* byte-wise and DMA */
    pthread_mutex_init(&f->lock, NULL);
    f->memory = memory;
    item_put(f, SIGNATURE, "QEMU", 4);
    item_put(f, ID, &id, 4);
    directory_put(f);
    return f;
}

void fw_cfg_reset(FwCfg *f) {
    pthread_mutex_lock(&f->lock);
    item_select(f, 0);
    f->dma = 0;
    pthread_mutex_unlock(&f->lock);
}

/* The items are the board's, which makes them anew. */
void fw_cfg_state(FwCfg *f, State *s) {
    pthread_mutex_lock(&f->lock);
    state_u16(s, &f->selected);
    state_u32(s, &f->at);
    state_u64(s, &f->dma);
    pthread_mutex_unlock(&f->lock);
}

void fw_cfg_drop(FwCfg *f) {
    for (u32 k = 0; k < ITEMS; k++) free(f->item[k].data);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
