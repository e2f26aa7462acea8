/* SPDX-License-Identifier: Apache-2.0 */
/* mem/physical: a system VM's physical address space: one range of RAM, and regions that belong to devices.
 *
 * RAM is one anonymous mapping of the host, so an address in it becomes a pointer by physical_ram() and
 * nothing else; this is the one place where a guest physical address does. Regions are added before the first hart runs
 * and stay where they are (what moves, such as PCI's windows, is decoded by its device), so finding one takes no lock.
 *
 * Every page of RAM has a byte of flags. PHYS_CODE says that translations of it exist: whoever writes RAM behind the
 * processors' back (DMA, loaders) calls physical_written() after the write, and the owner of the translations is told. Order: the
 * translator sets the flag (physical_mark_code) before it reads the bytes, the writer tests it after it wrote them.
 *
 * All functions but init, fini and add may be called from any thread. Device callbacks run on the caller's thread, with no lock held.
 */
#ifndef MEM_PHYSICAL_H
#define MEM_PHYSICAL_H

#include "base/base.h"

enum {
    PHYS_CODE = 1,
    PHYS_WRITTEN = 2, /* the processors' business, likewise the next: some of them may write it without a look at this byte */
    PHYS_DROPPED = 4, /* this much is added each time translations of the page are dropped; all ones: they are not any more, but looked at by fence.i */
};

typedef struct IoOps {
    u64 (*read)(void *dev, u64 offset, unsigned size);
    void (*write)(void *dev, u64 offset, unsigned size, u64 value);
    u8 sizes; /* sum of the access sizes (1, 2, 4, 8) that the device knows; others are refused, so are unaligned ones, but for reads where there are `bytes` */
} IoOps;

typedef struct PhysRegion {
    u64 start, size;
    const IoOps *ops; /* NULL: writes are refused, `bytes` is read */
    void *dev;
    const u8 *bytes;  /* what fetches and DMA find here (ROM, flash); NULL: nothing */
    const char *name; /* for traces */
} PhysRegion;

/* Who wants to know of accesses to devices, and of what these do with them. NULL: nobody. */
typedef struct PhysicalTrace PhysicalTrace;
struct PhysicalTrace {
    void (*io)(const PhysicalTrace *t, const PhysRegion *r, u64 offset, unsigned size, bool write, u64 value);
    void (*event)(const PhysicalTrace *t, const char *who, const char *what, u64 a, u64 b);
    int fd;
};

typedef struct Physical {
    u64 ram_start, ram_size; /* page aligned */
    u8 *ram;
    u8 *flags; /* one byte per page of RAM: PHYS_* */
    VEC(PhysRegion) regions; /* sorted, disjoint, none overlaps RAM */
    void *ctx;
    /* A write hit pages with PHYS_CODE, or flash; [pa, pa + size) lies there. May be NULL. Any thread. */
    void (*code_written)(void *ctx, u64 pa, u64 size);
    PhysicalTrace trace; /* set before the first access */
    struct Gate *gate;   /* likewise: back/gate.h; NULL: devices work on threads of their own */
} Physical;

/* 0 or -errno. RAM reads as zeros, and takes host memory only where it is written. */
int physical_init(Physical *p, u64 ram_start, u64 ram_size);
void physical_fini(Physical *p);
/* False: it is empty, wraps, or overlaps RAM or another region. */
bool physical_add(Physical *p, const PhysRegion *region);
/* The region that holds pa, or NULL. */
const PhysRegion *physical_find(const Physical *p, u64 pa);

/* Host address of [pa, pa + size), NULL unless all of it is RAM. */
static inline u8 *physical_ram(const Physical *p, u64 pa, u64 size) {
    u64 offset = pa - p->ram_start;
    return offset < p->ram_size && size <= p->ram_size - offset ? p->ram + offset : NULL;
}
/* The flags of the page of RAM that pa lies in, NULL if it is not RAM. */
static inline u8 *physical_flags(const Physical *p, u64 pa) {
    u64 offset = pa - p->ram_start;
    return offset < p->ram_size ? &p->flags[offset / PAGE_BYTES] : NULL;
}
/* The same for reading code: RAM, ROM or flash; *avail: bytes from there to the end of that. NULL: no memory. */
const u8 *physical_code(const Physical *p, u64 pa, u64 *avail);

/* An access of 1, 2, 4 or 8 bytes to a device. False: there is none, or it refuses: an access fault. */
bool physical_io(const Physical *p, u64 pa, unsigned size, bool write, u64 *value);

/* Copies between host memory and RAM (or from ROM): DMA, loaders, debuggers. False: part of it is not there; then nothing was
 * written. Devices' registers are not accessed. physical_write calls physical_written. */
bool physical_read(const Physical *p, u64 pa, void *to, u64 size);
bool physical_write(const Physical *p, u64 pa, const void *from, u64 size);
/* [pa, pa + size) of RAM was written through physical_ram(). Parts that are not RAM are ignored. */
void physical_written(const Physical *p, u64 pa, u64 size);
/* Translations of the page at pa (RAM) are about to be made. */
static inline void physical_mark_code(const Physical *p, u64 pa) {
    u8 *flags = physical_flags(p, pa);
    if (flags) __atomic_fetch_or(flags, PHYS_CODE, __ATOMIC_SEQ_CST);
}
/* Gives whole pages of RAM back to the host; they read as zeros then (ballooning). False: not pages of RAM. */
bool physical_discard(const Physical *p, u64 pa, u64 size);

#endif
