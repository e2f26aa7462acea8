/* SPDX-License-Identifier: Apache-2.0 */
/* A system VM's physical address space: mem/physical.h. */
#include "mem/physical.h"
#include "base/sys.h"
#include <errno.h>
#include <sys/mman.h>

static void *pages_new(u64 size) {
    /* NORESERVE: a guest with more memory than the host is the user's wish. */
    return sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int physical_init(Physical *p, u64 ram_start, u64 ram_size) {
    *p = (Physical){.ram_start = ram_start, .ram_size = ram_size};
    if (!ram_size || (ram_start | ram_size) % PAGE_BYTES || ram_start + ram_size < ram_start) return -EINVAL;
    p->ram = pages_new(ram_size);
    if (sys_failed(p->ram)) return (int)(long)p->ram;
    p->flags = pages_new(ram_size / PAGE_BYTES);
    if (sys_failed(p->flags)) {
        int err = (int)(long)p->flags;
        sys_munmap(p->ram, ram_size);
        return err;
    }
    /* Guests touch memory all over; a miss of the host's TLB costs as much as one of ours. */
    sys_call(SYS_madvise, p->ram, ram_size, MADV_HUGEPAGE);
    sys_call(SYS_madvise, p->ram, ram_size, MADV_DONTDUMP);
    return 0;
}

void physical_fini(Physical *p) {
    if (p->ram) sys_munmap(p->ram, p->ram_size);
    if (p->flags) sys_munmap(p->flags, p->ram_size / PAGE_BYTES);
    vec_drop(&p->regions);
    *p = (Physical){0};
}

static bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b ? b - a < a_size : a - b < b_size; }

bool physical_add(Physical *p, const PhysRegion *r) {
    u64 last = r->start + r->size - 1;
    if (!r->size || last < r->start || overlap(r->start, r->size, p->ram_start, p->ram_size)) return false;
    u32 at = 0;
    for (u32 i = 0; i < p->regions.len; i++) {
        const PhysRegion *other = &p->regions.at[i];
        if (overlap(r->start, r->size, other->start, other->size)) return false;
        if (other->start < r->start) at = i + 1;
    }
    vec_push(&p->regions, *r);
    memmove(&p->regions.at[at + 1], &p->regions.at[at], (p->regions.len - 1 - at) * sizeof(*r));
    p->regions.at[at] = *r;
    return true;
}

const PhysRegion *physical_find(const Physical *p, u64 pa) {
    u32 low = 0, high = p->regions.len;
    while (low < high) {
        u32 mid = (low + high) / 2;
        const PhysRegion *r = &p->regions.at[mid];
        if (pa < r->start) high = mid;
        else if (pa - r->start >= r->size) low = mid + 1;
        else return r;
    }
    return NULL;
}

const u8 *physical_code(const Physical *p, u64 pa, u64 *avail) {
    const u8 *ram = physical_ram(p, pa, 1);
    if (ram) {
        *avail = p->ram_size - (pa - p->ram_start);
        return ram;
    }
    const PhysRegion *r = physical_find(p, pa);
    if (!r || !r->bytes) return NULL;
    *avail = r->size - (pa - r->start);
    return r->bytes + (pa - r->start);
}

bool physical_io(const Physical *p, u64 pa, unsigned size, bool write, u64 *value) {
    const PhysRegion *r = physical_find(p, pa);
    if (!r || (size & (size - 1))) return false;
    if ((pa & (size - 1)) && (write || !r->bytes)) return false; /* memory that only reads as such may be read anyhow */
    u64 offset = pa - r->start;
    if (size > r->size - offset) return false;
    if (!r->ops) {
        if (write || size > 8) return false;
        *value = 0;
        memcpy(value, r->bytes + offset, size);
        return true;
    }
    if (!(r->ops->sizes & size)) return false;
    if (write) r->ops->write(r->dev, offset, size, low_bits(*value, size * 8));
    else *value = low_bits(r->ops->read(r->dev, offset, size), size * 8);
    if (UNLIKELY(p->trace.io != NULL)) p->trace.io(&p->trace, r, offset, size, write, *value);
    return true;
}

bool physical_read(const Physical *p, u64 pa, void *to, u64 size) {
    const u8 *ram = physical_ram(p, pa, size);
    if (!size) return true;
    if (!ram) {
        u64 avail = 0;
        ram = physical_code(p, pa, &avail);
        if (!ram || avail < size) return false;
    }
    memcpy(to, ram, size);
    return true;
}

bool physical_write(const Physical *p, u64 pa, const void *from, u64 size) {
    u8 *ram = physical_ram(p, pa, size);
    if (!size) return true;
    if (!ram) return false;
    memcpy(ram, from, size);
    physical_written(p, pa, size);
    return true;
}

void physical_written(const Physical *p, u64 pa, u64 size) {
    u64 offset = pa - p->ram_start;
    if (!p->code_written || !size || offset >= p->ram_size) return;
    size = MIN(size, p->ram_size - offset);
    /* Orders the write before the test of the flag: the other half is physical_mark_code, then reading the code. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (u64 page = offset / PAGE_BYTES; page <= (offset + size - 1) / PAGE_BYTES; page++) {
        if (!(__atomic_load_n(&p->flags[page], __ATOMIC_RELAXED) & PHYS_CODE)) continue;
        u64 start = MAX(offset, page * PAGE_BYTES), end = MIN(offset + size, (page + 1) * PAGE_BYTES);
        p->code_written(p->ctx, p->ram_start + start, end - start);
    }
}

bool physical_discard(const Physical *p, u64 pa, u64 size) {
    u8 *ram = physical_ram(p, pa, size);
    if (!ram || !size || (pa | size) % PAGE_BYTES) return false;
    if (sys_call(SYS_madvise, ram, size, MADV_DONTNEED) < 0) memset(ram, 0, size);
    physical_written(p, pa, size);
    return true;
}
