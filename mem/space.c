/* SPDX-License-Identifier: Apache-2.0 */
/* mem/space: bodies. See space.h. The list is a sorted array: a guest has tens to a few thousands of mappings, and a
 * memmove of them costs less than the host's own mmap. */
#include "mem/space.h"
#include "base/sys.h"
#include <errno.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#define DEFAULT_LIMIT (1ull << 38) /* a smaller one was asked for, and is kept strictly */
enum { STACK_GAP = 256 * PAGE_BYTES }; /* as the kernel keeps free below what grows down */

void space_init(Space *s, u64 limit, u64 hint_limit) {
    *s = (Space){.limit = limit, .hint_limit = hint_limit, .mmap_base = limit, .total_max = ~0ull};
}

/* --- the list; the lock is held ---------------------------------------------------------------- */

/* Index of the first Vma that ends above `at`. */
static u32 vma_index(const Space *s, u64 at) {
    u32 lo = 0, hi = s->vmas.len;
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (s->vmas.at[mid].end > at) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

static void vma_insert(Space *s, u32 i, Vma v) {
    vec_reserve(&s->vmas, s->vmas.len + 1);
    memmove(&s->vmas.at[i + 1], &s->vmas.at[i], (s->vmas.len - i) * sizeof(Vma));
    s->vmas.at[i] = v;
    s->vmas.len++;
}

static void vma_remove(Space *s, u32 from, u32 to) {
    if (from == to) return;
    memmove(&s->vmas.at[from], &s->vmas.at[to], (s->vmas.len - to) * sizeof(Vma));
    s->vmas.len -= to - from;
}

static bool vma_joins(const Vma *a, const Vma *b) {
    if (a->end != b->start || a->prot != b->prot || a->kind != b->kind || a->flags != b->flags) return false;
    if (a->kind == VMA_SHM || a->dev != b->dev || a->ino != b->ino) return false;
    return a->kind != VMA_FILE || (a->ino && a->offset + (a->end - a->start) == b->offset);
}

/* Joins Vma i with its neighbours where nothing tells them apart. */
static void vma_merge(Space *s, u32 i) {
    if (i + 1 < s->vmas.len && vma_joins(&s->vmas.at[i], &s->vmas.at[i + 1])) {
        s->vmas.at[i].end = s->vmas.at[i + 1].end;
        vma_remove(s, i + 1, i + 2);
    }
    if (i > 0 && vma_joins(&s->vmas.at[i - 1], &s->vmas.at[i])) {
        s->vmas.at[i - 1].end = s->vmas.at[i].end;
        vma_remove(s, i, i + 1);
    }
}

/* Makes `at` a boundary between Vmas, if it lies within one. */
static void vma_split(Space *s, u64 at) {
    u32 i = vma_index(s, at);
    if (i == s->vmas.len || s->vmas.at[i].start >= at) return;
    Vma upper = s->vmas.at[i];
    upper.offset += at - upper.start;
    upper.start = at;
    s->vmas.at[i].end = at;
    vma_insert(s, i + 1, upper);
}

static void vma_carve(Space *s, u64 start, u64 end) {
    vma_split(s, start);
    vma_split(s, end);
    u32 from = vma_index(s, start), to = from;
    for (; to < s->vmas.len && s->vmas.at[to].start < end; to++)
        s->total -= s->vmas.at[to].end - s->vmas.at[to].start;
    vma_remove(s, from, to);
}

static void vma_add(Space *s, Vma v) {
    vma_carve(s, v.start, v.end);
    u32 i = vma_index(s, v.start);
    s->total += v.end - v.start;
    vma_insert(s, i, v);
    vma_merge(s, i);
}

static bool range_is_free(const Space *s, u64 start, u64 end) {
    u32 i = vma_index(s, start);
    return i == s->vmas.len || s->vmas.at[i].start >= end;
}

/* The end of the part of [start, end) that Vmas cover without a hole. */
static u64 range_covered(const Space *s, u64 start, u64 end) {
    u64 at = start;
    for (u32 i = vma_index(s, start); i < s->vmas.len && at < end && s->vmas.at[i].start <= at; i++)
        at = s->vmas.at[i].end;
    return MIN(at, end);
}

static u64 low_edge(const Vma *v) {
    bool grows = v->kind == VMA_STACK || (v->flags & VMA_GROWS_DOWN);
    return grows ? v->start - MIN(v->start, (u64)STACK_GAP) : v->start;
}

/* The highest free place of `size` bytes below `top`; 0 if there is none. */
static u64 find_free_below(const Space *s, u64 top, u64 size, u64 align) {
    u32 i = vma_index(s, top - 1); /* the first that could stand in the way of `top`; what follows it lies above */
    if (i < s->vmas.len) top = MIN(top, low_edge(&s->vmas.at[i]));
    for (;; top = MIN(top, low_edge(&s->vmas.at[i]))) {
        u64 floor = i > 0 ? s->vmas.at[i - 1].end : 0;
        if (top >= size && align_down(top - size, align) >= MAX(floor, (u64)0x10000)) return align_down(top - size, align);
        if (i-- == 0) return 0;
    }
}

static u64 find_free(const Space *s, u64 size, u64 align) {
    u64 at = find_free_below(s, s->mmap_base, size, align);
    return at ? at : find_free_below(s, s->limit, size, align);
}

/* --- the host ------------------------------------------------------------------------------------ */

static int host_prot(int prot) {
    return (prot & (PROT_READ | PROT_WRITE)) | ((prot & PROT_EXEC) ? PROT_READ : 0);
}

/* Takes the free parts of [start, end) above the limit away from the VMM's use: false if it lives there already. */
static bool reserve_high(Space *s, u64 start, u64 end) {
    if (end <= s->limit) return true;
    for (u64 at = MAX(start, s->limit); at < end;) {
        u32 i = vma_index(s, at);
        bool covered = i < s->vmas.len && s->vmas.at[i].start <= at;
        u64 next = i == s->vmas.len ? end : MIN(end, covered ? s->vmas.at[i].end : s->vmas.at[i].start);
        if (!covered) {
            void *p = sys_mmap((void *)at, next - at, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
            if (sys_failed(p)) return false;
            if ((u64)p != at) return sys_munmap(p, next - at), false;
            vma_add(s, (Vma){.start = at, .end = next});
        }
        at = next;
    }
    return true;
}

static void report_change(Space *s, u64 start, u64 size) {
    if (s->changed && size) s->changed(s->ctx, start, size);
}

static Vma vma_make(u64 at, u64 size, int prot, int flags, int fd, u64 offset, VmaKind kind) {
    Vma v = {.start = at, .end = at + size, .prot = (u8)(prot & 7), .kind = (u8)kind};
    if ((flags & MAP_TYPE) != MAP_PRIVATE) v.flags |= VMA_SHARED;
    if (prot & PROT_WRITE) v.flags |= VMA_WRITTEN;
    if (flags & MAP_GROWSDOWN) v.flags |= VMA_GROWS_DOWN;
    if (flags & MAP_ANONYMOUS) return v;
    if (kind == VMA_ANON) v.kind = VMA_FILE;
    v.offset = offset;
    struct stat st;
    if ((prot & PROT_EXEC) && sys_call(SYS_fstat, fd, &st) == 0) v.dev = st.st_dev, v.ino = st.st_ino;
    return v;
}

/* A call with a fixed destination that failed half-way has unmapped that already, or not: asks the host. */
static void forget_unmapped(Space *s, u64 start, u64 end) {
    while (start < end) {
        u32 i = vma_index(s, start);
        if (i == s->vmas.len || s->vmas.at[i].start >= end) return;
        u64 from = MAX(start, s->vmas.at[i].start), to = MIN(end, s->vmas.at[i].end);
        if (sys_call(SYS_msync, from, to - from, MS_ASYNC) == -ENOMEM) vma_carve(s, from, to);
        start = to;
    }
}

static i64 lock_pages(u64 at, u64 size, bool on_fault) {
    return sys_call(SYS_mlock2, at, size, on_fault ? MLOCK_ONFAULT : 0);
}

/* Where an mmap goes: an address, 0 if there is no room below the limit, or -errno. */
static i64 map_place(Space *s, u64 at, u64 size, int flags) {
    u64 align = (flags & MAP_HUGETLB) ? MIB(2) : PAGE_BYTES;
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    if (fixed) {
        if (at & (PAGE_BYTES - 1)) return -EINVAL;
        if (at > s->hint_limit || size > s->hint_limit - at) return -ENOMEM;
        if ((flags & MAP_FIXED_NOREPLACE) && !range_is_free(s, at, at + size)) return -EEXIST;
        if (!reserve_high(s, at, at + size)) return (flags & MAP_FIXED_NOREPLACE) ? -EEXIST : -ENOMEM;
        return (i64)at;
    }
    at = align_down(at, align);
    if (at >= 0x10000 && at <= s->hint_limit && size <= s->hint_limit - at && range_is_free(s, at, at + size) &&
        reserve_high(s, at, at + size))
        return (i64)at;
    return (i64)find_free(s, size, align);
}

/* The best place for a file that may come to lie anywhere, or 0. */
static u64 file_place(const Space *s, u64 at, u64 size, int flags, int fd) {
    if (at || !s->place || (flags & (MAP_ANONYMOUS | MAP_FIXED | MAP_FIXED_NOREPLACE)) || (flags & MAP_TYPE) != MAP_PRIVATE) return 0;
    for (unsigned k = 0; k < SPACE_PLACES; k++) {
        u64 best = s->place(s->ctx, fd, size, k);
        if (best && best + size <= s->limit && range_is_free(s, best, best + size)) return best;
    }
    return 0;
}

static i64 map_locked(Space *s, u64 at, u64 size, int prot, int flags, int fd, u64 offset, VmaKind kind) {
    u64 best = file_place(s, at, size, flags, fd);
    i64 place = map_place(s, best ? best : at, size, flags);
    if (place < 0) return place;
    if (size > s->total_max || s->total > s->total_max - size) return -ENOMEM;
    int host_flags = flags & ~(MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | 0x40 | 0x80);
    /* What does not fit below the limit (a TB reserved by a language's runtime) may lie where the host finds room. */
    if (place || (flags & MAP_FIXED)) host_flags |= MAP_FIXED;
    else if (s->limit < DEFAULT_LIMIT) return -ENOMEM;
    void *p = sys_mmap((void *)place, size, host_prot(prot), host_flags, fd, offset);
    /* Some files (io_uring's) choose the address themselves. */
    if (p == (void *)-EINVAL && !(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS)))
        p = sys_mmap(NULL, size, host_prot(prot), host_flags & ~MAP_FIXED, fd, offset);
    if (sys_failed(p)) {
        forget_unmapped(s, at, at + size);
        return (i64)p;
    }
    vma_add(s, vma_make((u64)p, size, prot, flags, fd, offset, kind));
    if (UNLIKELY(s->lock_future)) lock_pages((u64)p, size, s->lock_future & MCL_ONFAULT);
    return (i64)p;
}

/* --- operations ------------------------------------------------------------------------------------ */

static bool is_map_type(int flags) {
    enum { DROPPABLE = 8 };
    int type = flags & MAP_TYPE;
    return type == MAP_SHARED || type == MAP_PRIVATE || type == MAP_SHARED_VALIDATE || type == DROPPABLE;
}

i64 space_map(Space *s, u64 at, u64 size, int prot, int flags, int fd, u64 offset, VmaKind kind) {
    if (!size || (offset & (PAGE_BYTES - 1)) || !is_map_type(flags)) return -EINVAL;
    if (size > s->hint_limit) return -ENOMEM;
    size = align_up(size, (flags & MAP_HUGETLB) ? MIB(2) : PAGE_BYTES);
    lock_take(&s->lock);
    i64 r = map_locked(s, at, size, prot, flags, fd, offset, kind);
    lock_give(&s->lock);
    if (r < 0) return r;
    report_change(s, (u64)r, size);
    bool code = (prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC && (flags & (MAP_TYPE | MAP_ANONYMOUS)) == MAP_PRIVATE;
    if (code && s->code_mapped) s->code_mapped(s->ctx, fd, (u64)r, size, offset);
    return r;
}

/* Unmaps what is the guest's of [start, end). */
static i64 unmap_locked(Space *s, u64 start, u64 end) {
    for (u32 i = vma_index(s, start); i < s->vmas.len && s->vmas.at[i].start < end; i++) {
        u64 from = MAX(start, s->vmas.at[i].start), to = MIN(end, s->vmas.at[i].end);
        int r = sys_munmap((void *)from, to - from);
        if (r < 0) return r;
    }
    vma_carve(s, start, end);
    return 0;
}

i64 space_unmap(Space *s, u64 at, u64 size) {
    if ((at & (PAGE_BYTES - 1)) || !size || at > s->hint_limit || size > s->hint_limit - at) return -EINVAL;
    size = align_up(size, PAGE_BYTES);
    lock_take(&s->lock);
    i64 r = unmap_locked(s, at, at + size);
    lock_give(&s->lock);
    report_change(s, at, size);
    return r;
}

static i64 protect_locked(Space *s, u64 start, u64 end, int prot) {
    u64 covered = range_covered(s, start, end);
    if (covered > start) {
        int r = sys_mprotect((void *)start, covered - start, host_prot(prot));
        if (r < 0) return r;
        vma_split(s, start);
        vma_split(s, covered);
        u32 first = vma_index(s, start), i = first;
        for (; i < s->vmas.len && s->vmas.at[i].start < covered; i++) {
            s->vmas.at[i].prot = (u8)(prot & 7);
            if (prot & PROT_WRITE) s->vmas.at[i].flags |= VMA_WRITTEN;
        }
        for (; i-- > first;) vma_merge(s, i);
    }
    return covered < end ? -ENOMEM : 0;
}

i64 space_protect(Space *s, u64 at, u64 size, int prot) {
    if ((at & (PAGE_BYTES - 1)) || (prot & ~(7 | 8 /* PROT_SEM */ | PROT_GROWSDOWN))) return -EINVAL;
    if (!size) return 0;
    size = align_up(size, PAGE_BYTES);
    if (!size || at > s->hint_limit || size > s->hint_limit - at) return -ENOMEM;
    lock_take(&s->lock);
    i64 r = protect_locked(s, at, at + size, prot);
    lock_give(&s->lock);
    report_change(s, at, size);
    return r;
}

/* The facts of [at, at + old_size) for its new place, where it is new_size long. The kernel has moved it already: several
 * mappings, if the size stayed the same;
 * holes between them do not move. */
static void move_vmas(Space *s, u64 at, u64 old_size, u64 new_at, u64 new_size, bool stays) {
    VEC(Vma) moved = {0};
    u64 span = old_size ? MIN(old_size, new_size) : new_size; /* old_size 0: a second view of a shared mapping */
    for (u32 i = vma_index(s, at); i < s->vmas.len && s->vmas.at[i].start < at + MAX(span, 1ul); i++) {
        Vma v = s->vmas.at[i];
        u64 start = MAX(v.start, at), end = MIN(v.end, at + span);
        v.offset += start - v.start;
        v.start = new_at + (start - at);
        v.end = new_at + (end - at);
        if (!old_size) v.end = new_at + new_size;
        vec_push(&moved, v);
        if (!old_size) break;
    }
    if (moved.len && new_size > old_size) moved.at[moved.len - 1].end = new_at + new_size;
    if (!stays) vma_carve(s, at, at + old_size);
    for (u32 i = 0; i < moved.len; i++) vma_add(s, moved.at[i]);
    vec_drop(&moved);
}

static i64 remap_move(Space *s, u64 at, u64 old_size, u64 new_size, int flags, u64 new_at) {
    u64 grow = new_size > old_size ? new_size - old_size : 0;
    if (grow > s->total_max || s->total > s->total_max - grow) return -ENOMEM;
    i64 r = sys_call(SYS_mremap, at, old_size, new_size, flags | MREMAP_MAYMOVE | MREMAP_FIXED, new_at);
    if (r >= 0) move_vmas(s, at, old_size, new_at, new_size, !old_size || (flags & MREMAP_DONTUNMAP));
    else forget_unmapped(s, new_at, new_at + new_size);
    return r;
}

static i64 remap_in_place(Space *s, u64 at, u64 old_size, u64 new_size) {
    u64 grow = new_size - old_size;
    if (grow > s->total_max || s->total > s->total_max - grow) return -ENOMEM;
    if (at + new_size > s->limit) return -ENOMEM;
    i64 r = sys_call(SYS_mremap, at, old_size, new_size, 0);
    if (r < 0) return r;
    u32 i = vma_index(s, at + old_size - 1);
    s->vmas.at[i].end = at + new_size;
    s->total += grow;
    vma_merge(s, i);
    return r;
}

static i64 remap_locked(Space *s, u64 at, u64 old_size, u64 new_size, int flags, u64 new_at) {
    /* The kernel wants a mapping at the start, and judges the rest itself; what is not the guest's is not its business. */
    if (range_is_free(s, at, at + 1)) return -EFAULT;
    u64 end = at + old_size;
    if (end > s->limit && range_covered(s, at, end) < end) return -EFAULT;
    if (flags & MREMAP_FIXED) {
        if (!reserve_high(s, new_at, new_at + new_size)) return -ENOMEM;
        return remap_move(s, at, old_size, new_size, flags, new_at);
    }
    bool stays = old_size && !(flags & MREMAP_DONTUNMAP);
    if (stays && new_size < old_size) {
        i64 r = unmap_locked(s, at + new_size, at + old_size);
        return r < 0 ? r : (i64)at;
    }
    if (stays && new_size == old_size) return sys_call(SYS_mremap, at, old_size, new_size, 0);
    if (stays) {
        i64 r = remap_in_place(s, at, old_size, new_size);
        if (r >= 0 || !(flags & MREMAP_MAYMOVE)) return r;
    }
    if (!(flags & MREMAP_MAYMOVE)) return sys_call(SYS_mremap, at, 0, new_size, 0); /* the kernel's word for it */
    u64 place = find_free(s, new_size, PAGE_BYTES);
    return place ? remap_move(s, at, old_size, new_size, flags, place) : -ENOMEM;
}

static bool remap_fixed_fits(const Space *s, u64 at, u64 old_size, u64 new_size, u64 new_at) {
    if ((new_at & (PAGE_BYTES - 1)) || new_at > s->hint_limit || new_size > s->hint_limit - new_at) return false;
    return !(new_at < at + old_size && at < new_at + new_size);
}

i64 space_remap(Space *s, u64 at, u64 old_size, u64 new_size, int flags, u64 new_at) {
    if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) return -EINVAL;
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) return -EINVAL;
    if ((at & (PAGE_BYTES - 1)) || !new_size) return -EINVAL;
    if ((flags & MREMAP_DONTUNMAP) && old_size != new_size) return -EINVAL;
    if (new_size > s->hint_limit) return (flags & MREMAP_FIXED) ? -EINVAL : -ENOMEM;
    if (old_size > s->hint_limit) return -EINVAL;
    if (at > s->hint_limit || old_size > s->hint_limit - at) return -EFAULT;
    old_size = align_up(old_size, PAGE_BYTES);
    new_size = align_up(new_size, PAGE_BYTES);
    if ((flags & MREMAP_FIXED) && !remap_fixed_fits(s, at, old_size, new_size, new_at)) return -EINVAL;
    lock_take(&s->lock);
    i64 r = remap_locked(s, at, old_size, new_size, flags, new_at);
    lock_give(&s->lock);
    report_change(s, at, old_size);
    if (r >= 0) report_change(s, (u64)r, new_size);
    return r;
}

i64 space_advise(Space *s, u64 at, u64 size, int advice) {
    if (at < s->limit && size <= s->limit - at) {
        i64 r = sys_call(SYS_madvise, at, size, advice);
        if (advice == MADV_DONTNEED || advice == MADV_REMOVE || advice == MADV_FREE) report_change(s, at, size);
        return r;
    }
    if (at & (PAGE_BYTES - 1)) return -EINVAL;
    if (at > s->hint_limit || size > s->hint_limit - at) return -ENOMEM;
    lock_take(&s->lock); /* above the limit the holes may be ours */
    u64 end = range_covered(s, at, at + align_up(size, PAGE_BYTES));
    i64 r = end > at ? sys_call(SYS_madvise, at, end - at, advice) : 0;
    lock_give(&s->lock);
    report_change(s, at, size);
    return r < 0 ? r : end < at + size ? -ENOMEM : 0;
}

static bool grow_locked(Space *s, u64 at, u64 room) {
    u32 i = vma_index(s, at);
    if (i == s->vmas.len) return false;
    Vma v = s->vmas.at[i];
    u64 low = i > 0 ? s->vmas.at[i - 1].end + STACK_GAP : 0;
    if (!(v.flags & VMA_GROWS_DOWN) || v.start <= at || at < low || v.end - at > room) return false;
    return map_locked(s, at, v.start - at, v.prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0,
                      (VmaKind)v.kind) >= 0;
}

bool space_grow(Space *s, u64 at, u64 room) {
    lock_take(&s->lock);
    bool grown = grow_locked(s, align_down(at, PAGE_BYTES), room);
    lock_give(&s->lock);
    return grown;
}

static bool brk_set(Space *s, u64 brk) {
    u64 old_end = align_up(s->brk, PAGE_BYTES), end = align_up(brk, PAGE_BYTES);
    if (end < old_end) return unmap_locked(s, end, old_end) == 0;
    if (end == old_end) return true;
    if (end > s->limit || !range_is_free(s, old_end, end + STACK_GAP)) return false;
    return map_locked(s, old_end, end - old_end, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
                      VMA_HEAP) >= 0;
}

u64 space_brk(Space *s, u64 brk) {
    lock_take(&s->lock);
    u64 old = s->brk;
    if (brk >= s->brk_start && brk <= s->limit && brk_set(s, brk)) s->brk = brk;
    u64 now = s->brk;
    lock_give(&s->lock);
    if (now < old) report_change(s, align_up(now, PAGE_BYTES), align_up(old, PAGE_BYTES) - align_up(now, PAGE_BYTES));
    return now;
}

i64 space_lock_all(Space *s, int flags) {
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT) return -EINVAL;
    i64 r = 0;
    lock_take(&s->lock);
    s->lock_future = (flags & MCL_FUTURE) ? flags & (MCL_FUTURE | MCL_ONFAULT) : 0;
    for (u32 i = 0; (flags & MCL_CURRENT) && i < s->vmas.len && !r; i++) {
        const Vma *v = &s->vmas.at[i];
        r = lock_pages(v->start, v->end - v->start, true);
        /* Pages that cannot be made present (no access, beyond the file's end) are no error of mlockall. The stack is
         * mapped to its limit, but natively has only what was touched. */
        if (!r && !(flags & MCL_ONFAULT) && v->kind != VMA_STACK) lock_pages(v->start, v->end - v->start, false);
    }
    lock_give(&s->lock);
    return r;
}

i64 space_unlock_all(Space *s) {
    lock_take(&s->lock);
    s->lock_future = 0;
    for (u32 i = 0; i < s->vmas.len; i++)
        sys_call(SYS_munlock, s->vmas.at[i].start, s->vmas.at[i].end - s->vmas.at[i].start);
    lock_give(&s->lock);
    return 0;
}

static i64 shm_attach_locked(Space *s, int id, u64 at, int flags, u64 *size_out) {
    struct shmid_ds info;
    i64 r = sys_call(SYS_shmctl, id, IPC_STAT, &info);
    u64 size = r < 0 ? PAGE_BYTES : align_up(info.shm_segsz, PAGE_BYTES);
    if (at && (flags & SHM_RND)) at = align_down(at, PAGE_BYTES);
    if (at & (PAGE_BYTES - 1)) return -EINVAL;
    if (!at && (flags & SHM_REMAP)) return -EINVAL;
    if (at > s->hint_limit || size > s->hint_limit - at) return -EINVAL;
    if (at && !(flags & SHM_REMAP) && !range_is_free(s, at, at + size)) return -EINVAL;
    if (!at) at = find_free(s, size, PAGE_BYTES);
    if (!at) return -ENOMEM;
    if (!reserve_high(s, at, at + size)) return -EINVAL;
    int host_flags = flags & ~(SHM_EXEC | SHM_RND);
    if (at >= s->limit) host_flags |= SHM_REMAP; /* over our own reservation */
    r = sys_call(SYS_shmat, id, at, host_flags);
    if (r < 0) return r;
    Vma v = {.start = at, .end = at + size, .kind = VMA_SHM, .flags = VMA_SHARED, .prot = PROT_READ};
    if (!(flags & SHM_RDONLY)) v.prot |= PROT_WRITE, v.flags |= VMA_WRITTEN;
    if (flags & SHM_EXEC) v.prot |= PROT_EXEC;
    vma_add(s, v);
    *size_out = size;
    return r;
}

i64 space_shm_attach(Space *s, int id, u64 at, int flags) {
    u64 size = 0;
    lock_take(&s->lock);
    i64 r = shm_attach_locked(s, id, at, flags, &size);
    lock_give(&s->lock);
    if (r >= 0) report_change(s, (u64)r, size);
    return r;
}

i64 space_shm_detach(Space *s, u64 at) {
    u64 size = 0;
    lock_take(&s->lock);
    u32 i = vma_index(s, at);
    bool is_shm = i < s->vmas.len && s->vmas.at[i].start == at && s->vmas.at[i].kind == VMA_SHM;
    i64 r = is_shm ? sys_call(SYS_shmdt, at) : -EINVAL;
    if (r >= 0) {
        size = s->vmas.at[i].end - at;
        vma_carve(s, at, at + size);
    }
    lock_give(&s->lock);
    report_change(s, at, size);
    return r;
}

/* --- questions ---------------------------------------------------------------------------------------- */

static bool vma_pristine(const Vma *v) { return v->kind == VMA_FILE && !(v->flags & (VMA_SHARED | VMA_WRITTEN)); }

void space_overwritten(Space *s, u64 at, u64 size) {
    lock_take(&s->lock);
    for (u32 i = vma_index(s, at); i < s->vmas.len && s->vmas.at[i].start < at + size; i++) s->vmas.at[i].flags |= VMA_WRITTEN;
    lock_give(&s->lock);
}

const u8 *space_fetch(Space *s, u64 pc, size_t *avail, bool *pristine) {
    u64 want = align_down(pc, PAGE_BYTES) + 2 * PAGE_BYTES, at = pc;
    *pristine = true;
    lock_take(&s->lock);
    for (u32 i = vma_index(s, pc); i < s->vmas.len && at < want; i++) {
        const Vma *v = &s->vmas.at[i];
        if (v->start > at || !(v->prot & PROT_EXEC)) break;
        *pristine &= vma_pristine(v) || v->kind == VMA_VDSO;
        at = MIN(v->end, want);
    }
    lock_give(&s->lock);
    *avail = at - pc;
    return at == pc ? NULL : (const u8 *)pc;
}

bool space_find(Space *s, u64 at, Vma *out) {
    lock_take(&s->lock);
    u32 i = vma_index(s, at);
    bool found = i < s->vmas.len;
    if (found) *out = s->vmas.at[i];
    lock_give(&s->lock);
    return found;
}

bool space_allows(Space *s, u64 at, u64 size, int prot) {
    u64 end;
    if (__builtin_add_overflow(at, size, &end)) return false;
    lock_take(&s->lock);
    u64 reached = at;
    for (u32 i = vma_index(s, at); i < s->vmas.len && reached < end; i++) {
        const Vma *v = &s->vmas.at[i];
        if (v->start > reached || (v->prot & prot) != prot) break;
        reached = v->end;
    }
    lock_give(&s->lock);
    return reached >= end;
}

void space_fork_prepare(Space *s) { lock_take(&s->lock); }
void space_fork_done(Space *s) { lock_give(&s->lock); }
