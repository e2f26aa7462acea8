/* SPDX-License-Identifier: Apache-2.0 */
/* Physical memory protection [priv, "physical memory protection"]: sixteen entries with a grain of four bytes. mseccfg has no bits here. */
#include "machine/riscv/hart.h"

enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_A = 3 << 3, PMP_L = 1 << 7, PMP_WRITABLE = 0x9f };
enum { PMP_OFF, PMP_TOR, PMP_NA4, PMP_NAPOT };
#define PMPADDR_MASK ((1ull << 54) - 1)

static unsigned how(const Hart *h, unsigned n) { return (h->pmpcfg[n] & PMP_A) >> 3; }

/* [*start, *end) of entry n; empty if it is off. */
static void range(const Hart *h, unsigned n, u64 *start, u64 *end) {
    u64 a = h->pmpaddr[n];
    switch (how(h, n)) {
    case PMP_TOR:
        *start = n ? h->pmpaddr[n - 1] << 2 : 0;
        *end = MAX(a << 2, *start);
        break;
    case PMP_NA4: *start = a << 2, *end = *start + 4; break;
    case PMP_NAPOT: {
        u64 ones = a ^ (a + 1); /* as many as the size says */
        *start = (a & ~ones) << 2;
        *end = *start + ((ones + 1) << 2);
        break;
    }
    default: *start = *end = 0;
    }
}

static bool permits(const Hart *h, unsigned n, Access access, unsigned priv) {
    static const u8 need[] = {[ACCESS_LOAD] = PMP_R, [ACCESS_STORE] = PMP_W, [ACCESS_FETCH] = PMP_X};
    if (priv == RV_M && !(h->pmpcfg[n] & PMP_L)) return true;
    return h->pmpcfg[n] & need[access];
}

bool pmp_allows(const Hart *h, u64 pa, u64 size, Access access, unsigned priv, bool *whole) {
    if (whole) *whole = true;
    if (!h->pmp) return true;
    if (!h->pmp_rules) return priv == RV_M;
    u64 page = align_down(pa, PAGE_BYTES);
    for (unsigned n = 0; n < PMP_LEN; n++) {
        u64 start, end;
        range(h, n, &start, &end);
        if (start == end) continue; /* also where it would lie in the middle of the access */
        if (whole && start < page + PAGE_BYTES && end > page && (start > page || end < page + PAGE_BYTES)) *whole = false;
        if (start >= pa + size || end <= pa) continue;
        return start <= pa && pa + size <= end && permits(h, n, access, priv);
    }
    return priv == RV_M;
}

static bool locked(const Hart *h, unsigned n) {
    if (n >= PMP_LEN) return false;
    return (h->pmpcfg[n] & PMP_L) || (n + 1 < PMP_LEN && (h->pmpcfg[n + 1] & PMP_L) && how(h, n + 1) == PMP_TOR);
}

static void write_config(Hart *h, unsigned n, u8 v) {
    v &= PMP_WRITABLE;
    if ((v & (PMP_R | PMP_W)) == PMP_W) v &= ~PMP_W; /* reserved */
    if (!(h->pmpcfg[n] & PMP_L)) h->pmpcfg[n] = v;
}

bool pmp_csr_write(Hart *h, u32 csr, u64 value) {
    if (csr >= CSR_PMPADDR0) {
        unsigned n = csr - CSR_PMPADDR0;
        if (n < PMP_LEN && !locked(h, n)) h->pmpaddr[n] = value & PMPADDR_MASK;
    } else {
        unsigned first = (csr - CSR_PMPCFG0) * 4;
        if (csr & 1) return false;
        for (unsigned k = 0; k < 8 && first + k < PMP_LEN; k++) write_config(h, first + k, (u8)(value >> 8 * k));
    }
    h->pmp_rules = false;
    for (unsigned n = 0; n < PMP_LEN; n++) h->pmp_rules |= how(h, n) != PMP_OFF;
    hart_flush_all(h);
    return true;
}

u64 pmp_csr_read(const Hart *h, u32 csr) {
    if (csr >= CSR_PMPADDR0) return csr - CSR_PMPADDR0 < PMP_LEN ? h->pmpaddr[csr - CSR_PMPADDR0] : 0;
    u64 v = 0;
    unsigned first = (csr - CSR_PMPCFG0) * 4;
    for (unsigned k = 0; k < 8 && first + k < PMP_LEN; k++) v |= (u64)h->pmpcfg[first + k] << 8 * k;
    return v;
}
