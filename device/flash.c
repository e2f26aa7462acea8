/* SPDX-License-Identifier: Apache-2.0 */
/* A bank of parallel NOR flash that knows Intel's command set: two chips of 16 data bits side by side on a bus of 32 bits, so every
 * command and status stands in both halves of a word. Firmware runs from it and keeps its variables in it. [JEDEC CFI; Intel application note 646]
 *
 * Programming clears bits and erasing sets them. Writes go to the file at once, and are as durable as the file. */
#include "back/back.h"
#include "device/devices.h"
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CMD_READ = 0xff, CMD_PROGRAM = 0x40, CMD_PROGRAM_OLD = 0x10, CMD_ERASE = 0x20, CMD_CONFIRM = 0xd0, CMD_STATUS = 0x70,
    CMD_CLEAR = 0x50, CMD_ID = 0x90, CMD_QUERY = 0x98, CMD_BUFFER = 0xe8, CMD_LOCK = 0x60, CMD_SUSPEND = 0xb0,
};
enum { STATUS_READY = 0x80, STATUS_ERASE_ERROR = 0x20, STATUS_PROGRAM_ERROR = 0x10 };
enum { BUFFER_WORDS = 512, QUERY_START = 0x10 };
typedef enum FlashMode { READ_ARRAY, READ_STATUS, READ_ID, READ_QUERY } FlashMode;
typedef enum FlashStep { IDLE, PROGRAM_DATA, ERASE_CONFIRM, BUFFER_COUNT, BUFFER_DATA, BUFFER_CONFIRM, LOCK_SECOND } FlashStep;

struct Flash {
    pthread_mutex_t lock;
    u8 *bytes;
    int fd; /* -1: kept in memory only */
    bool read_only;
    const Physical *memory; /* whose owner is told of code that changes */
    u64 start;              /* there */
    u64 changed_from, changed_to; /* by the write under way */
    FlashMode mode; /* what reads give */
    FlashStep step; /* what the next write is */
    u8 status;
    u64 buffer_at; /* buffered program: first offset, words to come, data */
    u32 buffer_left, buffer_len;
    struct {
        u64 at;
        u32 word;
    } buffer[BUFFER_WORDS];
};

/* What each chip answers to a query, from word 0x10 on. Sizes are those of one chip: half the bank's. */
static const u8 query[] = {
    'Q', 'R', 'Y', 1, 0, 0x31, 0, 0, 0, 0, 0,     /* 10: primary command set Intel, its table at 31 */
    0x45, 0x55, 0, 0, 7, 7, 10, 0, 4, 4, 4, 0,    /* 1b: voltages, times */
    24, 1, 0, 10, 0, 1,                           /* 27: 2^24 bytes, 16 bits wide, buffer 2^10, one region: */
    FLASH_SIZE / FLASH_SECTOR - 1, 0, (u8)(FLASH_SECTOR / 2 / 256 & 255), FLASH_SECTOR / 2 / 256 >> 8, /* 2d: blocks less 1, size/256 */
    'P', 'R', 'I', '1', '0', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, /* 31: no optional features */
};

static u32 both(u32 half) { return half | half << 16; }

static void changed(Flash *f, u64 at, u64 size) {
    f->changed_from = MIN(f->changed_from, at);
    f->changed_to = MAX(f->changed_to, at + size);
    if (f->fd < 0) return;
    if (pwrite(f->fd, f->bytes + at, size, (off_t)at) != (ssize_t)size) f->status |= STATUS_PROGRAM_ERROR;
}

static void word_program(Flash *f, u64 at, u32 value, unsigned size) {
    if (f->read_only) {
        f->status |= STATUS_PROGRAM_ERROR;
        return;
    }
    for (unsigned i = 0; i < size; i++) f->bytes[at + i] &= (u8)(value >> (8 * i));
    changed(f, at, size);
}

static void sector_erase(Flash *f, u64 at) {
    at = align_down(at, FLASH_SECTOR);
    if (f->read_only) {
        f->status |= STATUS_ERASE_ERROR;
        return;
    }
    memset(f->bytes + at, 0xff, FLASH_SECTOR);
    changed(f, at, FLASH_SECTOR);
}

static void command(Flash *f, u64 at, u8 c) {
    f->mode = READ_STATUS;
    switch (c) {
    case CMD_PROGRAM: case CMD_PROGRAM_OLD: f->step = PROGRAM_DATA; break;
    case CMD_ERASE: f->step = ERASE_CONFIRM; break;
    case CMD_BUFFER:
        f->step = BUFFER_COUNT;
        f->status |= STATUS_READY;
        break;
    case CMD_LOCK: f->step = LOCK_SECOND; break;
    case CMD_CLEAR: f->status = STATUS_READY; break;
    case CMD_STATUS: case CMD_SUSPEND: break;
    case CMD_ID: f->mode = READ_ID; break;
    case CMD_QUERY: f->mode = READ_QUERY; break;
    default: f->mode = READ_ARRAY; break;
    }
}

static void buffer_add(Flash *f, u64 at, u32 word) {
    f->buffer[f->buffer_len].at = at;
    f->buffer[f->buffer_len++].word = word;
    if (!--f->buffer_left) f->step = BUFFER_CONFIRM;
}

static void buffer_flush(Flash *f) {
    for (u32 i = 0; i < f->buffer_len; i++) word_program(f, f->buffer[i].at, f->buffer[i].word, 4);
}

static void flash_step(Flash *f, u64 at, u32 value, unsigned size) {
    u8 c = (u8)value;
    FlashStep step = f->step;
    f->step = IDLE;
    switch (step) {
    case IDLE: command(f, at, c); break;
    case PROGRAM_DATA: word_program(f, at, value, size); break;
    case ERASE_CONFIRM:
        if (c == CMD_CONFIRM) sector_erase(f, at);
        else f->status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR;
        break;
    case BUFFER_COUNT:
        f->buffer_left = (value & 0xffff) + 1;
        f->buffer_len = 0;
        if (f->buffer_left <= BUFFER_WORDS) f->step = BUFFER_DATA;
        else f->status |= STATUS_PROGRAM_ERROR;
        break;
    case BUFFER_DATA:
        f->step = BUFFER_DATA;
        buffer_add(f, align_down(at, 4), value);
        break;
    case BUFFER_CONFIRM:
        if (c == CMD_CONFIRM) buffer_flush(f);
        else f->status |= STATUS_PROGRAM_ERROR;
        break;
    case LOCK_SECOND: break; /* blocks are never locked */
    }
}

static u32 query_read(u64 at) {
    u64 word = at / 4;
    return word >= QUERY_START && word - QUERY_START < sizeof(query) ? both(query[word - QUERY_START]) : 0;
}

static u32 id_read(u64 at) {
    static const u16 ids[2] = {0x89, 0x18}; /* Intel; 128 Mbit */
    return at / 4 < 2 ? both(ids[at / 4]) : 0;
}

static u64 flash_read(void *dev, u64 offset, unsigned size) {
    Flash *f = dev;
    u64 value = 0;
    pthread_mutex_lock(&f->lock);
    unsigned shift = 8 * (offset & 3);
    switch (f->mode) {
    case READ_ARRAY: memcpy(&value, f->bytes + offset, size); break;
    case READ_STATUS: value = both(f->status) >> shift; break;
    case READ_ID: value = id_read(offset) >> shift; break;
    case READ_QUERY: value = query_read(offset) >> shift; break;
    }
    pthread_mutex_unlock(&f->lock);
    return value;
}

static void flash_write(void *dev, u64 offset, unsigned size, u64 value) {
    Flash *f = dev;
    const Physical *m = f->memory;
    pthread_mutex_lock(&f->lock);
    f->changed_from = FLASH_SIZE;
    f->changed_to = 0;
    flash_step(f, offset, (u32)value, MIN(size, 4u));
    if (size == 8) flash_step(f, offset + 4, (u32)(value >> 32), 4);
    u64 from = f->changed_from, to = f->changed_to;
    pthread_mutex_unlock(&f->lock);
    if (from < to && m->code_written) m->code_written(m->ctx, f->start + from, to - from);
}

const IoOps flash_ops = {flash_read, flash_write, 1 | 2 | 4 | 8};

static void file_load(Flash *f) {
    struct stat st;
    if (f->fd < 0 || fstat(f->fd, &st)) return;
    u64 size = MIN((u64)st.st_size, (u64)FLASH_SIZE);
    for (u64 done = 0; done < size;) {
        ssize_t n = pread(f->fd, f->bytes + done, size - done, (off_t)done);
        if (n <= 0) break;
        done += (u64)n;
    }
}

Flash *flash_new(const Physical *memory, u64 start, int fd, bool read_only) {
    Flash *f = back_alloc(sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    f->memory = memory;
    f->start = start;
    f->fd = fd;
    f->read_only = read_only;
    f->bytes = mmap(NULL, FLASH_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f->bytes == MAP_FAILED) BUG("out of memory");
    if (fd >= 0) memset(f->bytes, 0xff, FLASH_SIZE);
    file_load(f);
    flash_reset(f);
    return f;
}

void flash_forget_file(Flash *f) {
    f->fd = -1;
    f->read_only = false;
}

const u8 *flash_bytes(const Flash *f) { return f->bytes; }

void flash_reset(Flash *f) {
    pthread_mutex_lock(&f->lock);
    f->mode = READ_ARRAY;
    f->step = IDLE;
    f->status = STATUS_READY;
    pthread_mutex_unlock(&f->lock);
}

/* What it holds is saved though a file may hold it, too: the file may have been written since. */
void flash_state(Flash *f, State *s) {
    pthread_mutex_lock(&f->lock);
    u32 mode = f->mode, step = f->step;
    state_below(s, &mode, READ_QUERY + 1);
    state_below(s, &step, LOCK_SECOND + 1);
    f->mode = (FlashMode)mode;
    f->step = (FlashStep)step;
    state_u8(s, &f->status);
    state_below(s, &f->buffer_left, BUFFER_WORDS + 1);
    state_below(s, &f->buffer_len, BUFFER_WORDS + 1);
    for (u32 k = 0; k < f->buffer_len; k++) {
        state_u64(s, &f->buffer[k].at);
        state_u32(s, &f->buffer[k].word);
        if (f->buffer[k].at > FLASH_SIZE - 4) state_bad(s), f->buffer[k].at = 0;
    }
    if (f->step == BUFFER_DATA && f->buffer_left + f->buffer_len > BUFFER_WORDS) state_bad(s), f->step = IDLE;
    if (f->step == BUFFER_DATA && !f->buffer_left) state_bad(s), f->step = IDLE;
    bool blank = !f->bytes[0] && !memcmp(f->bytes, f->bytes + 1, FLASH_SIZE - 1);
    state_bool(s, &blank);
    if (!blank) state_bytes(s, f->bytes, FLASH_SIZE);
    else if (s->loading) memset(f->bytes, 0, FLASH_SIZE);
    pthread_mutex_unlock(&f->lock);
}

void flash_drop(Flash *f) {
    munmap(f->bytes, FLASH_SIZE);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
