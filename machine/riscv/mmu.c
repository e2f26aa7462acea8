/* SPDX-License-Identifier: Apache-2.0 */
/* Address translation [priv, Sv39, Sv48, Sv57, Svnapot, Svpbmt, Svade, Svadu, pointer masking], and what remembers it: the TLB that generated code looks into
 * (Vcpu.tlb), that of fetches, and the numbers of address spaces (Vcpu.context).
 *
 * A store to a page of which there are translations is not entered in the TLB, so each comes by here (TRAP_SLOW) until the translations have been
 * dropped. PHYS_WRITTEN says that some TLB may let writes to a page through; where a page becomes code, those entries go first, or
 * with several harts as soon as they look (machine_code_page).
 */
#include "machine/machine.h"
#include "machine/riscv/hart.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
#define PTE_RESERVED (0x7full << 54)
#define PTE_PBMT (3ull << 61)
#define PTE_N (1ull << 63)
#define PTE_PPN(pte) ((pte) >> 10 & ((1ull << 44) - 1))

typedef struct Walk {
    u64 va;       /* without a tag: masked */
    u64 pa;       /* of va */
    u64 pte;
    u64 size;     /* bytes that the leaf maps */
    bool access;  /* it failed for want of memory or by PMP: an access fault, not a page fault */
} Walk;

/* --- the walk --------------------------------------------------------------------------------------------- */

static unsigned levels_of(u64 satp) {
    unsigned mode = satp >> 60;
    return mode >= 8 && mode <= 10 ? mode - 5 : 0;
}

/* The bits that an access needs in the leaf, by privilege and status [priv, "virtual address translation process", 5 to 8]. */
static bool permitted(const Hart *h, u64 pte, Access access, unsigned priv) {
    if (priv == RV_U && !(pte & PTE_U)) return false;
    if (priv == RV_S && (pte & PTE_U) && (access == ACCESS_FETCH || !(h->s->mstatus & RV_SUM))) return false;
    if (access == ACCESS_FETCH) return pte & PTE_X;
    if (access == ACCESS_STORE) return pte & PTE_W;
    return (pte & PTE_R) || ((h->s->mstatus & RV_MXR) && (pte & PTE_X));
}

static bool well_formed(const Hart *h, u64 pte) {
    if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W || (pte & PTE_RESERVED)) return false;
    if ((pte & PTE_PBMT) && (!(h->menvcfg & ENVCFG_PBMTE) || (pte & PTE_PBMT) == PTE_PBMT)) return false;
    bool leaf = pte & (PTE_R | PTE_X);
    return leaf || !(pte & (PTE_A | PTE_D | PTE_U | PTE_N | PTE_PBMT));
}

/* The physical page of a leaf at this level: superpages are aligned, and a page of 64 KiB says so in its low bits. False: it is none. */
static bool leaf_range(u64 pte, unsigned level, u64 *ppn, u64 *size) {
    *ppn = PTE_PPN(pte);
    *size = (u64)PAGE_BYTES << 9 * level;
    if (pte & PTE_N) {
        if (level || (*ppn & 15) != 8) return false;
        *ppn &= ~15ull;
        *size = 16 * PAGE_BYTES;
    }
    return !(*ppn * PAGE_BYTES & (*size - 1));
}

/* Accessed and dirty bits [Svadu]; without it they fault [Svade]. Again: another hart has changed the entry. */
typedef enum Mark { MARK_DONE, MARK_FAULT, MARK_AGAIN } Mark;
static Mark mark(const Hart *h, u64 *at, u64 *pte, Access access) {
    u64 need = PTE_A | (access == ACCESS_STORE ? PTE_D : 0), old = *pte;
    if ((old & need) == need) return MARK_DONE;
    if (!(h->menvcfg & ENVCFG_ADUE)) return MARK_FAULT;
    *pte |= need;
    return __atomic_compare_exchange_n(at, &old, *pte, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ? MARK_DONE : MARK_AGAIN;
}

static bool leaf(const Hart *h, u64 va, Access access, unsigned priv, u64 *at, unsigned level, Walk *w, bool *again) {
    u64 ppn;
    if (!permitted(h, w->pte, access, priv) || !leaf_range(w->pte, level, &ppn, &w->size)) return false;
    Mark m = mark(h, at, &w->pte, access);
    *again = m == MARK_AGAIN;
    w->pa = ppn * PAGE_BYTES | (va & (w->size - 1));
    return m == MARK_DONE;
}

/* Goes down to the leaf of va: its place, its level, and w->pte. NULL: there is none, or w->access. `checked`: as the hart does it, by PMP. */
static u64 *find_leaf(const Hart *h, u64 va, bool checked, Walk *w, unsigned *level) {
    u64 table = (h->satp & ((1ull << 44) - 1)) * PAGE_BYTES;
    for (*level = levels_of(h->satp); (*level)-- > 0;) {
        u64 pa = table + (va >> (12 + 9 * *level) & 511) * 8;
        u64 *at = (u64 *)physical_ram(h->memory, pa, 8);
        w->access = !at || (checked && !pmp_allows(h, pa, 8, ACCESS_LOAD, RV_S, NULL));
        if (w->access) return NULL;
        w->pte = __atomic_load_n(at, __ATOMIC_RELAXED);
        if (!well_formed(h, w->pte)) return NULL;
        if (w->pte & (PTE_R | PTE_X)) return at;
        table = PTE_PPN(w->pte) * PAGE_BYTES;
    }
    return NULL;
}

static bool walk_once(const Hart *h, u64 va, Access access, unsigned priv, Walk *w, bool *again) {
    unsigned level, bits = 12 + 9 * levels_of(h->satp);
    if ((u64)sext_bits(va, bits) != va) return false;
    u64 *at = find_leaf(h, va, true, w, &level);
    return at && leaf(h, va, access, priv, at, level, w, again);
}

/* --- pointer masking [priv, "pointer masking"] -------------------------------------------------------------- */

/* How many of the upper bits of an address of loads and stores mean nothing in that mode. */
static unsigned masked_bits(const Hart *h, unsigned priv) {
    static const u8 bits[] = {0, 0 /* reserved, never there */, 7, 16};
    u64 config = priv == RV_U ? h->senvcfg : priv == RV_S ? h->menvcfg : h->mseccfg;
    if (priv != RV_M && (h->s->mstatus & RV_MXR)) return 0;
    return bits[config >> 32 & 3];
}

static u64 masked(const Hart *h, u64 va, unsigned priv) {
    unsigned bits = masked_bits(h, priv);
    if (LIKELY(!bits)) return va;
    bool is_virtual = priv != RV_M && levels_of(h->satp);
    return is_virtual ? (u64)sext_bits(va, 64 - bits) : va << bits >> bits;
}

/* False: *w says what is wrong. */
static bool walk(const Hart *h, u64 va, Access access, unsigned priv, Walk *w) {
    *w = (Walk){.va = va, .pa = va, .pte = PTE_R | PTE_W | PTE_X, .size = PAGE_BYTES};
    if (priv == RV_M || !levels_of(h->satp)) {
        w->access = va >> 56 != 0;
        return !w->access;
    }
    bool again;
    do {
        again = false;
        if (walk_once(h, va, access, priv, w, &again)) return true;
    } while (again);
    return false;
}

static bool fail(Hart *h, u64 va, Access access, bool is_access) {
    static const u8 page_fault[] = {CAUSE_LOAD_PAGE, CAUSE_STORE_PAGE, CAUSE_FETCH_PAGE}, access_fault[] = {CAUSE_LOAD_ACCESS, CAUSE_STORE_ACCESS, CAUSE_FETCH_ACCESS};
    h->cause = is_access ? access_fault[access] : page_fault[access];
    h->tval = va;
    return false;
}

static bool find(Hart *h, u64 va, u64 size, Access access, unsigned priv, Walk *w, bool *whole) {
    if (access != ACCESS_FETCH) va = masked(h, va, priv);
    if (!walk(h, va, access, priv, w)) return fail(h, va, access, w->access);
    return pmp_allows(h, w->pa, size, access, priv, whole) || fail(h, va, access, true);
}

bool hart_translate(Hart *h, u64 va, Access access, unsigned priv, u64 *pa) {
    Walk w;
    if (!find(h, va, 1, access, priv, &w, NULL)) return false;
    *pa = w.pa;
    return true;
}

bool hart_debug_translate(Hart *h, u64 va, u64 *pa) {
    Walk w;
    unsigned level;
    *pa = va;
    if (h->s->priv == RV_M || !levels_of(h->satp)) return true;
    if (!find_leaf(h, va, false, &w, &level) || !leaf_range(w.pte, level, pa, &w.size)) return false;
    *pa = *pa * PAGE_BYTES | (va & (w.size - 1));
    return true;
}

/* --- the TLB of loads and stores ---------------------------------------------------------------------------- */

/* As which mode loads and stores are done now. */
static unsigned data_priv(const Hart *h) {
    if (h->s->priv == RV_M && (h->s->mstatus & RV_MPRV)) return (h->s->mstatus & RV_MPP) >> 11;
    return (unsigned)h->s->priv;
}

u64 hart_masked(const Hart *h, u64 va) { return masked(h, va, data_priv(h)); }

static void note_super(TlbLog *log, u64 va, u64 size) {
    u64 mask = -size;
    if (!log->super_mask) {
        log->super_base = va & mask;
        log->super_mask = mask;
        return;
    }
    mask &= log->super_mask;
    while ((log->super_base ^ va) & mask) mask <<= 1;
    log->super_mask = mask;
    log->super_base &= mask;
}

/* `va` may have a tag: generated code compares addresses as they are, so each tag has an entry of its own, at the same place. */
static void enter(Hart *h, unsigned set, bool write, u64 va, u8 *host, const Walk *w) {
    TlbLog *log = &h->logs[set];
    u32 k = vcpu_tlb_index(va);
    h->cpu->tlb[set][write][k] = (TlbEntry){align_down(va, PAGE_BYTES), (u64)host};
    if (log->count < TLB_LOG) log->at[log->count] = (u16)(k << 1 | write);
    if (log->count <= TLB_LOG) log->count++;
    if (w->size > PAGE_BYTES) note_super(log, w->va, w->size);
    if (!(w->pte & PTE_G)) log->local = true;
}

static unsigned set_now(const Hart *h) { return riscv_system_guest.tlb_set(riscv_system_guest.mode(h->cpu)); }

static u64 trapped(Vcpu *cpu, TrapCode trap, u64 va) {
    cpu->trap = trap;
    cpu->trap_arg = va;
    return 0;
}

static u64 fill(Vcpu *cpu, u64 va, u32 size, u32 how) {
    Hart *h = cpu->owner;
    bool write = how & TLB_WRITE, whole;
    Access access = write ? ACCESS_STORE : ACCESS_LOAD;
    Walk w;
    h->slow_write = write;
    pmu_miss(h, write ? PMU_MISS_STORE : PMU_MISS_LOAD);
    if ((va & (PAGE_BYTES - 1)) + size > PAGE_BYTES) return trapped(cpu, TRAP_SLOW, va);
    if (!find(h, va, size, access, data_priv(h), &w, &whole)) return trapped(cpu, TRAP_FAULT, va);
    u8 *host = physical_ram(h->memory, align_down(w.pa, PAGE_BYTES), PAGE_BYTES), *flags = physical_flags(h->memory, w.pa);
    if (!host) {
        if (how & TLB_ATOMIC) return fail(h, w.va, access, true), trapped(cpu, TRAP_FAULT, va);
        return trapped(cpu, TRAP_SLOW, va);
    }
    if (write) {
        __atomic_fetch_or(flags, PHYS_WRITTEN, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(flags, __ATOMIC_SEQ_CST) & PHYS_CODE) return trapped(cpu, TRAP_SLOW, va);
    }
    if (whole) enter(h, set_now(h), write, va, host, &w);
    return (u64)host + (va & (PAGE_BYTES - 1));
}

/* --- accesses that take their time ---------------------------------------------------------------------------- */

/* All of it in one page. */
static bool access_part(Hart *h, u64 va, u32 size, bool write, u64 *v) {
    Walk w;
    Access access = write ? ACCESS_STORE : ACCESS_LOAD;
    if (!find(h, va, size, access, data_priv(h), &w, NULL)) return false;
    u8 *host = physical_ram(h->memory, w.pa, size);
    if (host && write) memcpy(host, v, size), physical_written(h->memory, w.pa, size);
    else if (host) *v = 0, memcpy(v, host, size);
    else if (!physical_io(h->memory, w.pa, size, write, v)) return fail(h, w.va, access, true);
    return true;
}

static bool access_split(Hart *h, u64 va, u32 size, bool write, u64 *v) {
    u32 first = (u32)(PAGE_BYTES - (va & (PAGE_BYTES - 1)));
    u64 pa, high = *v >> 8 * first, low = *v;
    Access access = write ? ACCESS_STORE : ACCESS_LOAD;
    /* both, before anything is written */
    if (!hart_translate(h, va, access, data_priv(h), &pa) || !hart_translate(h, va + first, access, data_priv(h), &pa)) return false;
    for (u32 k = 0; k < first; k++) {
        u64 byte = low >> 8 * k & 0xff;
        if (!access_part(h, va + k, 1, write, &byte)) return false;
        if (!write) low = k ? low | byte << 8 * k : byte;
    }
    for (u32 k = 0; k < size - first; k++) {
        u64 byte = high >> 8 * k & 0xff;
        if (!access_part(h, va + first + k, 1, write, &byte)) return false;
        if (!write) low |= byte << 8 * (first + k);
    }
    *v = low;
    return true;
}

static bool slow_access(Vcpu *cpu, u64 va, u32 size, bool write, u64 *v) {
    Hart *h = cpu->owner;
    bool split = (va & (PAGE_BYTES - 1)) + size > PAGE_BYTES;
    if (split ? access_split(h, va, size, write, v) : access_part(h, va, size, write, v)) return true;
    trapped(cpu, TRAP_FAULT, va);
    return false;
}

static u64 mmu_time(Vcpu *cpu) { return hart_time(cpu->owner); }

const VcpuMmu hart_mmu = {.fill = fill, .access = slow_access, .time = mmu_time};

/* The page that va lies in is about to be written: its translations go. */
static void release_code(Hart *h, u64 va) {
    u64 pa;
    if (hart_translate(h, va, ACCESS_STORE, data_priv(h), &pa)) physical_written(h->memory, pa, 1);
}

/* The instruction is always done here: if it lies in the page that it writes, it would find that page translated again. */
void hart_slow_access(Hart *h) {
    if (h->slow_write) release_code(h, h->cpu->trap_arg);
    TrapCode trap = engine_step(h->cpu);
    if (trap == TRAP_FAULT || trap == TRAP_FETCH) hart_raise(h, h->cause, h->tval);
}

/* --- fetches ---------------------------------------------------------------------------------------------------- */

static u64 fetch_key(u64 page, u64 priv) { return page | (priv + 1); }
static FetchEntry *fetch_entry(Hart *h, u64 page, u64 priv) { return &h->fetch[(page / PAGE_BYTES + priv * 64) & (ITLB_LEN - 1)]; }
static u64 *filter_word(Hart *h, u64 page, u64 *bit) {
    u64 k = hash_u64(page) & (ARRAY_LEN(h->fetched) * 64 - 1);
    *bit = 1ull << (k & 63);
    return &h->fetched[k >> 6];
}

/* A page with rules of PMP for parts of it: the second half of an instruction may have another than the first. */
static bool may_execute(Hart *h, u64 pc, const u8 *bytes, u64 priv) {
    Walk w;
    u32 at = pc & (PAGE_BYTES - 1);
    return at == PAGE_BYTES - 2 || (bytes[at] & 3) != 3 || find(h, pc + 2, 2, ACCESS_FETCH, (unsigned)priv, &w, NULL);
}

TrapCode hart_page(void *ctx, Vcpu *cpu, u64 pc, EnginePage *out) {
    Hart *h = cpu->owner;
    u64 page = align_down(pc, PAGE_BYTES), priv = h->s->priv;
    FetchEntry *e = fetch_entry(h, page, priv);
    (void)ctx;
    if (UNLIKELY(e->key != fetch_key(page, priv))) {
        Walk w;
        u64 avail, bit;
        bool whole;
        pmu_miss(h, PMU_MISS_FETCH);
        if (!find(h, pc, 2, ACCESS_FETCH, (unsigned)priv, &w, &whole)) return TRAP_FETCH;
        u64 pa = align_down(w.pa, PAGE_BYTES);
        const u8 *bytes = physical_code(h->memory, pa, &avail);
        if (!bytes || avail < PAGE_BYTES || pa >> 44) {
            fail(h, pc, ACCESS_FETCH, true);
            return TRAP_FETCH;
        }
        if (!whole) {
            *out = (EnginePage){pa, bytes, .alone = true};
            return may_execute(h, pc, bytes, priv) ? TRAP_NONE : TRAP_FETCH;
        }
        *e = (FetchEntry){fetch_key(page, priv), pa, bytes};
        *filter_word(h, page, &bit) |= bit;
        TlbLog *log = &h->logs[priv == RV_U ? RV_TLB_U : RV_TLB_S];
        if (!(w.pte & PTE_G)) log->local = true;
        if (w.size > PAGE_BYTES) note_super(log, pc, w.size);
    }
    *out = (EnginePage){e->physical, e->bytes, .alone = false};
    return TRAP_NONE;
}

void hart_translating(void *ctx, Vcpu *cpu, u64 physical) {
    (void)ctx;
    machine_code_page(((Hart *)cpu->owner)->machine, cpu->owner, physical);
}

/* --- forgetting ----------------------------------------------------------------------------------------------------- */

static u64 next_random(Hart *h) {
    h->random += 0x9e3779b97f4a7c15ull;
    u64 x = h->random;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

void hart_flush_set(Hart *h, unsigned set) {
    TlbLog *log = &h->logs[set];
    if (log->count <= TLB_LOG) {
        for (u32 k = 0; k < log->count; k++) h->cpu->tlb[set][log->at[k] & 1][log->at[k] >> 1].tag = vcpu_tlb_none(log->at[k] >> 1);
    } else {
        vcpu_tlb_clear(h->cpu, set, false);
        vcpu_tlb_clear(h->cpu, set, true);
    }
    log->count = 0;
    log->super_base = log->super_mask = 0;
    log->local = false;
}

void hart_flush_writes(Hart *h) {
    for (unsigned set = 0; set < VCPU_TLB_SETS; set++) vcpu_tlb_clear(h->cpu, set, true);
}

void hart_forget_writes(Hart *h, const u8 *page) {
    for (unsigned set = 0; set < VCPU_TLB_SETS; set++)
        for (u32 k = 0; k < VCPU_TLB_LEN; k++)
            if (h->cpu->tlb[set][1][k].host == (u64)page) h->cpu->tlb[set][1][k].tag = vcpu_tlb_none(k);
}

static void forget_fetches(Hart *h, bool supervisor) {
    for (u32 k = 0; k < ITLB_LEN; k++)
        if (supervisor || (h->fetch[k].key & 3) == RV_U + 1) h->fetch[k].key = 0;
}

/* Cached jumps of U-mode are good again when its address space comes back; those of S-mode as long as all of its code is in global pages. */
static void new_contexts(Hart *h, bool supervisor) {
    Context *c = &h->contexts[hash_u64(h->satp) % CONTEXTS];
    if (c->satp != h->satp || !c->number) *c = (Context){h->satp, next_random(h) | 1};
    h->context_of[RV_U] = c->number;
    if (supervisor) {
        h->context_of[RV_S] = next_random(h);
        h->context_of[RV_M] = h->context_of[RV_M_MPRV] = next_random(h);
    }
    h->cpu->context = h->context_of[h->s->priv];
}

static void forget_jumps(Hart *h) {
    memset(h->contexts, 0, sizeof h->contexts);
    memset(h->fetched, 0, sizeof h->fetched);
    forget_fetches(h, true);
    new_contexts(h, true);
}

/* Forgets what is of satp's address space; `supervisor`: of S-mode, too, because it is not all global. */
static void leave_space(Hart *h, bool supervisor) {
    hart_flush_set(h, RV_TLB_U);
    hart_flush_set(h, RV_TLB_SUM);
    hart_flush_set(h, RV_TLB_MPRV);
    if (supervisor) hart_flush_set(h, RV_TLB_S);
    forget_fetches(h, supervisor);
    new_contexts(h, supervisor);
}

void hart_flush_all(Hart *h) {
    for (unsigned set = 0; set < VCPU_TLB_SETS; set++) hart_flush_set(h, set);
    forget_jumps(h);
}

void hart_new_satp(Hart *h, u64 satp) {
    unsigned mode = satp >> 60;
    if (mode && !levels_of(satp)) return; /* not supported: the write has no effect [priv, satp] */
    if (satp == h->satp) return;
    bool local = h->logs[RV_TLB_S].local || !levels_of(h->satp) || !mode;
    h->satp = satp;
    leave_space(h, local);
}

enum { TAG_BITS = 16 /* the most that an address may have */ };

/* The page's entry goes, whatever tag it was met with. False: the whole set has to go, since the page may be part of a larger one. */
static bool flush_page(Hart *h, unsigned set, u64 va) {
    TlbLog *log = &h->logs[set];
    u32 k = vcpu_tlb_index(va);
    if (log->super_mask && !((va ^ log->super_base) & log->super_mask)) return false;
    for (unsigned w = 0; w < 2; w++)
        if (!((h->cpu->tlb[set][w][k].tag ^ align_down(va, PAGE_BYTES)) << TAG_BITS)) h->cpu->tlb[set][w][k].tag = vcpu_tlb_none(k);
    return true;
}

static u64 asid_of(u64 satp) { return satp >> 44 & 0xffff; }

static void fence_page(Hart *h, u64 va) {
    static const u8 sets[] = {RV_TLB_U, RV_TLB_S, RV_TLB_SUM, RV_TLB_MPRV};
    bool whole = false;
    for (unsigned k = 0; k < ARRAY_LEN(sets); k++)
        if (!flush_page(h, sets[k], va)) hart_flush_set(h, sets[k]), whole = true;
    u64 bit, *word = filter_word(h, align_down(va, PAGE_BYTES), &bit);
    if (whole || (*word & bit)) forget_jumps(h);
}

/* What is global stays. */
static void fence_space(Hart *h, u64 asid) {
    for (u32 k = 0; k < CONTEXTS; k++)
        if (asid_of(h->contexts[k].satp) == asid) h->contexts[k].number = 0;
    if (asid_of(h->satp) == asid) leave_space(h, false); /* of others nothing else is kept */
}

/* Pages one by one where they are few. */
void hart_fence_range(Hart *h, const Fence *f) {
    enum { FEW = 64 };
    bool whole = (!f->va && !f->size) || f->size > FEW * PAGE_BYTES || f->va + f->size < f->va;
    for (u64 at = align_down(f->va, PAGE_BYTES); !whole && at < f->va + f->size; at += PAGE_BYTES) hart_fence(h, true, at, f->one_space, f->asid);
    if (whole) hart_fence(h, false, 0, f->one_space, f->asid);
}

void hart_fence(Hart *h, bool one_page, u64 va, bool one_space, u64 asid) {
    if (one_page) fence_page(h, va);
    else if (one_space && !h->logs[RV_TLB_S].local) fence_space(h, asid);
    else hart_flush_all(h);
}
