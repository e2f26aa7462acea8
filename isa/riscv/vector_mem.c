/* SPDX-License-Identifier: Apache-2.0 */
/* Vector loads and stores [unpriv v, "vector loads and stores"].
 *
 * What lies side by side in memory is copied as a whole, page by page, to or from a buffer. Where that cannot be done, or ends at a fault, and for
 * all other accesses, there is one for each field of each active element, in order; so vstart can say at which one it stopped. Addresses of a process
 * are the host's, behind a guard; those of a paged guest go through its TLB. */
#include "base/guard.h"
#include "ir/interp.h"
#include "isa/riscv/vector_impl.h"

typedef enum Mode { UNIT, STRIDED, INDEXED } Mode;

typedef struct Access {
    Mode mode;
    bool write, stops_at_fault; /* a fault behind the first element only shortens vl */
    u8 width, index_width;      /* log2 of bytes: of elements, of indices */
    u8 fields, step;            /* of a segment, and registers from one field's group to the next one's */
    u32 count;                  /* elements */
} Access;

/* --- one access ---------------------------------------------------------------------------------------------------------------- */

/* Where `size` bytes at va, in one page, are in the host's memory, or 0 with Vcpu.trap. */
static u64 host_address(Vcpu *cpu, u64 va, u32 size, bool write) {
    const TlbEntry *e = &cpu->tlb[riscv_system_guest.tlb_set(cpu->mode)][write][vcpu_tlb_index(va)];
    u64 offset = va - e->tag;
    return LIKELY(offset <= PAGE_BYTES - size) ? e->host + offset : cpu->mmu->fill(cpu, va, size, write ? TLB_WRITE : 0);
}

static unsigned paged_access(Vcpu *cpu, u64 va, u32 size, bool write, void *v) {
    u64 host = host_address(cpu, va, size, write), value = 0;
    if (host) {
        guard_copy(write ? (void *)host : v, write ? v : (void *)host, size);
        return 0;
    }
    if (cpu->trap != TRAP_SLOW || cpu->phase != PHASE_VMM) return cpu->trap;
    if (write) memcpy(&value, v, size);
    if (!cpu->mmu->access(cpu, va, size, write, &value)) return cpu->trap;
    if (!write) memcpy(v, &value, size);
    return 0;
}

/* The first byte that is not there: an access may begin in one page and end in another. */
static u64 fault_address(u64 at, u32 size) {
    u8 byte;
    bool first = (at & (PAGE_BYTES - 1)) + size <= PAGE_BYTES || guard_copy(&byte, (void *)at, 1) != 1;
    return first ? at : align_down(at + size - 1, PAGE_BYTES);
}

/* In a process: copies to or from `buffer` what there is; how much. */
static inline size_t process_copy(Vcpu *cpu, u64 at, void *buffer, size_t size, bool write) {
    if (UNLIKELY(cpu->log)) return ir_log_copy(cpu->log, at, buffer, size, write);
    return guard_copy(write ? (void *)at : buffer, write ? buffer : (void *)at, size);
}

/* An element of a power of two bytes: 0, or the trap. */
static unsigned access_one(Vcpu *cpu, u64 at, u32 size, bool write, void *v) {
    if (cpu->mmu) return paged_access(cpu, at, size, write, v);
    if (LIKELY(process_copy(cpu, at, v, size, write) == size)) return 0;
    cpu->trap = TRAP_FAULT;
    cpu->trap_arg = fault_address(at, size);
    return TRAP_FAULT;
}

/* --- many bytes ------------------------------------------------------------------------------------------------------------------- */

/* Copies as far as there is memory; the bytes done, a multiple of 1 << width. */
static u32 copy_many(Vcpu *cpu, u8 *buffer, u64 at, u32 size, unsigned width, bool write) {
    u32 done = 0;
    if (!cpu->mmu) return (u32)align_down(process_copy(cpu, at, buffer, size, write), 1ull << width);
    while (done < size) {
        u64 va = at + done;
        u32 chunk = MIN(size - done, (u32)align_down(PAGE_BYTES - (va & (PAGE_BYTES - 1)), 1ull << width));
        u64 host = chunk ? host_address(cpu, va, chunk, write) : 0;
        if (!host) break;
        guard_copy(write ? (void *)host : buffer + done, write ? buffer + done : (void *)host, chunk);
        done += chunk;
    }
    return done;
}

static u8 *field_of(const Vec *i, const Access *a, unsigned field) { return vec_reg(i, i->vd + field * a->step); }

/* Moves elements between the registers, from element `first` on, and a buffer in which segments follow one another; `active`: a byte for each, or NULL
 * for all. */
typedef struct Move {
    void *buffer;
    u32 first, count;
    const u8 *active;
} Move;

#define UNPACK(T)                                                                                                                            \
    for (unsigned f = 0; f < a->fields; f++) {                                                                                               \
        T *to = (T *)field_of(i, a, f) + m->first;                                                                                           \
        const T *from = (const T *)m->buffer + f;                                                                                            \
        for (u32 k = 0; k < m->count; k++)                                                                                                   \
            if (!m->active || m->active[k]) to[k] = from[k * a->fields];                                                                     \
    }                                                                                                                                        \
    break;
static void unpack(const Vec *i, const Access *a, const Move *m) {
    switch (a->width) {
    case 0: UNPACK(u8)
    case 1: UNPACK(u16)
    case 2: UNPACK(u32)
    default: UNPACK(u64)
    }
}
#undef UNPACK

#define PACK(T)                                                                                                                              \
    for (unsigned f = 0; f < a->fields; f++) {                                                                                               \
        const T *from = (const T *)field_of(i, a, f) + m->first;                                                                             \
        T *to = (T *)m->buffer + f;                                                                                                          \
        for (u32 k = 0; k < m->count; k++) to[k * a->fields] = from[k];                                                                      \
    }                                                                                                                                        \
    break;
static void pack(const Vec *i, const Access *a, const Move *m) {
    switch (a->width) {
    case 0: PACK(u8)
    case 1: PACK(u16)
    case 2: PACK(u32)
    default: PACK(u64)
    }
}
#undef PACK

/* As many elements as go at once; vstart moves on behind them. Reading inactive elements, too, is seen by nobody: what comes from devices does not come
 * this way. */
static void access_together(Vec *i, const Access *a) {
    u64 buffer[RVV_BUFFER / 8];
    u8 active[RVV_BUFFER], *direct = field_of(i, a, 0) + (i->start << a->width);
    u32 size = (u32)a->fields << a->width, count = a->count - i->start;
    u64 at = i->x + (u64)i->start * size;
    if (a->fields == 1 && !i->masked) {
        i->start += copy_many(i->cpu, direct, at, count * size, a->width, a->write) >> a->width;
        return;
    }
    Move m = {.buffer = buffer, .first = i->start, .count = count};
    if (a->write) pack(i, a, &m);
    m.count = copy_many(i->cpu, (u8 *)buffer, at, count * size, a->width, a->write) / size;
    if (i->masked) vec_spread(active, vec_reg(i, 0), a->count), m.active = active + i->start;
    if (!a->write) unpack(i, a, &m);
    i->start += m.count;
}

/* --- element by element ---------------------------------------------------------------------------------------------------------------- */

static u64 address_of(const Vec *i, const Access *a, u32 k) {
    switch (a->mode) {
    case UNIT: return i->x + ((u64)k * a->fields << a->width);
    case STRIDED: return i->x + k * i->y;
    case INDEXED: return i->x + vec_get(vec_reg(i, i->vs2), a->index_width, k);
    }
    return 0;
}

static unsigned access_segment(const Vec *i, const Access *a, u32 k) {
    u64 at = address_of(i, a, k), buffer[8];
    u32 size = (u32)a->fields << a->width;
    Move m = {.buffer = buffer, .first = k, .count = 1};
    if (a->write) pack(i, a, &m);
    u32 done = copy_many(i->cpu, (u8 *)buffer, at, size, a->width, a->write);
    for (; done < size; done += 1u << a->width) { /* what did not go that way, one by one */
        unsigned trap = access_one(i->cpu, at + done, 1u << a->width, a->write, (u8 *)buffer + done);
        if (trap) return trap;
    }
    if (!a->write) unpack(i, a, &m);
    return 0;
}

static unsigned access_element(const Vec *i, const Access *a, u32 k) {
    return access_one(i->cpu, address_of(i, a, k), 1u << a->width, a->write, field_of(i, a, 0) + (k << a->width));
}

static unsigned access_each(Vec *i, const Access *a) {
    for (; i->start < a->count; i->start++) {
        if (!vec_active(i, i->start)) continue;
        unsigned trap = a->fields == 1 ? access_element(i, a, i->start) : access_segment(i, a, i->start);
        if (!trap) continue;
        if (a->stops_at_fault && i->start && trap == TRAP_FAULT) {
            i->s->vl = i->start;
            return 0;
        }
        i->s->vstart = i->start;
        return trap;
    }
    return 0;
}

static unsigned access_all(Vec *i, const Access *a) {
    if (i->start >= a->count) return 0;
    if (a->mode == UNIT && !(a->write && i->masked)) access_together(i, a);
    return access_each(i, a);
}

/* --- what is reserved ----------------------------------------------------------------------------------------------------------------------- */

static bool meets(unsigned a, unsigned a_count, unsigned b, unsigned b_count) { return a < b + b_count && b < a + a_count; }

/* Registers of a group, 0: none is so large or so small. */
static unsigned group_count(int emul) { return emul < -3 || emul > 3 ? 0 : emul > 0 ? 1u << emul : 1; }

/* The index group of a store: no register of it is read in two widths, where the mask and the first field count [as in QEMU]. */
static bool store_index_is_legal(const Vec *i, const Access *a, unsigned data_count, unsigned count) {
    if (i->masked && (i->vd == 0 || i->vs2 == 0)) return false;
    return a->width == a->index_width || !meets(i->vd, data_count, i->vs2, count);
}

/* That of a load: apart from vd unless one rule or another of "vector operands" allows it, which none does for segments. */
static bool load_index_is_legal(const Vec *i, const Access *a, unsigned data_count, unsigned count, int emul) {
    unsigned all = a->fields * data_count;
    if (i->masked && i->vs2 == 0) return false;
    if (!meets(i->vd, all, i->vs2, count)) return true;
    if (a->fields > 1) return false;
    if (a->width < a->index_width) return i->vd == i->vs2;
    return a->width == a->index_width || (emul >= 0 && i->vd + all == i->vs2 + count);
}

static bool index_is_legal(const Vec *i, const Access *a, unsigned data_count) {
    int emul = a->index_width - i->sew + i->lmul;
    unsigned count = group_count(emul);
    if (!count || i->vs2 & (count - 1)) return false;
    return a->write ? store_index_is_legal(i, a, data_count, count) : load_index_is_legal(i, a, data_count, count, emul);
}

static bool is_legal(const Vec *i, const Access *a) {
    unsigned count = group_count(a->width - i->sew + i->lmul);
    if (i->s->vtype & RV_VILL || !count || i->vd & (count - 1)) return false;
    if (a->fields * count > 8 || i->vd + a->fields * count > 32) return false;
    if (i->masked && i->vd == 0 && !a->write) return false;
    return a->mode != INDEXED || index_is_legal(i, a, count);
}

/* --- the forms ------------------------------------------------------------------------------------------------------------------------------- */

enum { UNIT_PLAIN = 0, UNIT_WHOLE = 8, UNIT_MASK = 11, UNIT_FAULT_FIRST = 16 }; /* lumop, sumop */

static Access decode(const Vec *i) {
    static const u8 widths[8] = {[5] = 1, [6] = 2, [7] = 3};
    static const u8 modes[4] = {UNIT, INDEXED, STRIDED, INDEXED}; /* unordered, ordered */
    Access a = {
        .mode = (Mode)modes[i->bits >> 26 & 3], .write = i->bits >> 5 & 1, .width = widths[i->bits >> 12 & 7], .fields = 1 + (i->bits >> 29),
        .count = i->vl,
    };
    if (a.mode == INDEXED) {
        a.index_width = a.width;
        a.width = i->sew;
    }
    a.stops_at_fault = a.mode == UNIT && i->vs2 == UNIT_FAULT_FIRST;
    a.step = (u8)group_count(a.width - i->sew + i->lmul);
    return a;
}

bool vec_memory_is_legal(const Vec *i) {
    Access a = decode(i);
    return (a.mode == UNIT && (i->vs2 == UNIT_WHOLE || i->vs2 == UNIT_MASK)) || is_legal(i, &a);
}

unsigned vec_memory(Vec *i, bool known) {
    Access a = decode(i);
    unsigned unit = a.mode == UNIT ? i->vs2 : UNIT_PLAIN;
    if (unit == UNIT_WHOLE) { /* whatever vtype and vl are */
        a.count = (u32)a.fields * RV_VLENB >> a.width;
        a.fields = 1;
        return access_all(i, &a);
    }
    if (unit == UNIT_MASK) {
        if (i->s->vtype & RV_VILL) return TRAP_ILLEGAL;
        a.count = (i->vl + 7) / 8;
        return access_all(i, &a);
    }
    return known || is_legal(i, &a) ? access_all(i, &a) : TRAP_ILLEGAL;
}
