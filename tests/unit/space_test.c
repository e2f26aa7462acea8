/* SPDX-License-Identifier: Apache-2.0 */
/* mem/space against the kernel: random mmap, munmap, mprotect, mremap and madvise calls are made twice, through a Space
 * in one window of addresses and by the host's system calls in another. Results, coverage and protections must agree, and
 * what the Space believes must be what /proc/self/maps says. Stops at the first failure, which it prints, then "N passed, N failed". */
#include "mem/space.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 48, GAP = -1, OTHERS = 100 };
static const u64 ours = 0x2000000000, theirs = 0x500000000000;

static u64 state;
static u32 pick(u32 n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(state >> 33) % n;
}

typedef struct Call {
    enum { MAP, UNMAP, PROTECT, REMAP, ADVISE, CALL_KINDS } kind;
    u32 page, pages, to, to_pages; /* to: second range of mremap */
    int prot, flags, fd;
} Call;

static int file;

static Call random_call(void) {
    static const int map_flags[] = {MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};
    Call c = {.kind = pick(CALL_KINDS), .page = pick(PAGES), .prot = (int)pick(8), .fd = -1};
    c.pages = pick(16) ? 1 + pick(PAGES - c.page) : 0;
    if (pick(3)) c.pages = MIN(c.pages, 4u);
    c.to = pick(PAGES);
    c.to_pages = pick(12) ? 1 + pick(MIN(8u, PAGES - c.to)) : 0;
    c.flags = map_flags[pick(4)] | (pick(3) ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    if (!(c.flags & MAP_ANONYMOUS)) c.fd = file;
    if (c.kind == REMAP) c.flags = pick(3) ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
    /* In place it may grow beyond the window, where the two differ. */
    if (c.kind == REMAP && !c.flags) c.to_pages = MIN(c.to_pages, PAGES - c.page);
    return c;
}

/* Host protection without execution: what the Space gives to the host. */
static int no_exec(int prot) { return (prot & 3) | ((prot & PROT_EXEC) ? PROT_READ : 0); }

static i64 call_space(Space *s, const Call *c) {
    u64 at = ours + c->page * PAGE_BYTES, size = c->pages * PAGE_BYTES, to = ours + c->to * PAGE_BYTES;
    switch (c->kind) {
    case MAP: return space_map(s, at, size, c->prot, c->flags, c->fd, c->page * PAGE_BYTES, VMA_ANON);
    case UNMAP: return space_unmap(s, at, size);
    case PROTECT: return space_protect(s, at, size, c->prot);
    case REMAP: return space_remap(s, at, size, c->to_pages * PAGE_BYTES, c->flags, to);
    case ADVISE: return space_advise(s, at, size, MADV_DONTNEED);
    case CALL_KINDS: break;
    }
    return 0;
}

static i64 call_host(const Call *c) {
    u64 at = theirs + c->page * PAGE_BYTES, size = c->pages * PAGE_BYTES, to = theirs + c->to * PAGE_BYTES;
    switch (c->kind) {
    case MAP: return (i64)sys_mmap((void *)at, size, no_exec(c->prot), c->flags, c->fd, c->page * PAGE_BYTES);
    case UNMAP: return sys_munmap((void *)at, size);
    case PROTECT: return sys_mprotect((void *)at, size, no_exec(c->prot));
    case REMAP: return sys_call(SYS_mremap, at, size, c->to_pages * PAGE_BYTES, c->flags, to);
    case ADVISE: return sys_call(SYS_madvise, at, size, MADV_DONTNEED);
    case CALL_KINDS: break;
    }
    return 0;
}

/* Protection of each page of both windows, by the kernel's account: GAP for unmapped ones. */
static void read_maps(int our[PAGES], int their[PAGES]) {
    FILE *f = fopen("/proc/self/maps", "r");
    u64 start, end;
    char perms[8], line[512];
    for (u32 i = 0; i < PAGES; i++) our[i] = their[i] = GAP;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) != 3) continue;
        int prot = (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) | (perms[2] == 'x' ? PROT_EXEC : 0);
        for (u64 at = start; at < end && end - start < MIB(1); at += PAGE_BYTES) {
            if (at - ours < PAGES * PAGE_BYTES) our[(at - ours) / PAGE_BYTES] = prot;
            if (at - theirs < PAGES * PAGE_BYTES) their[(at - theirs) / PAGE_BYTES] = prot;
        }
    }
    if (f) fclose(f);
}

static void believed(Space *s, int out[PAGES]) {
    Vma v;
    for (u32 i = 0; i < PAGES; i++) {
        u64 at = ours + i * PAGE_BYTES;
        out[i] = space_find(s, at, &v) && v.start <= at ? no_exec(v.prot) : GAP;
    }
}

static bool list_is_sound(Space *s) {
    u64 total = 0;
    for (u32 i = 0; i < s->vmas.len; i++) {
        const Vma *v = &s->vmas.at[i];
        total += v->end - v->start;
        if (v->start >= v->end || (i && s->vmas.at[i - 1].end > v->start)) return false;
    }
    return total == s->total;
}

static void print_window(const char *name, const int w[PAGES]) {
    printf("  %-8s ", name);
    for (u32 i = 0; i < PAGES; i++) putchar(w[i] == GAP ? '.' : '0' + w[i]);
    printf("\n");
}

static bool check(Space *s, const Call *c, i64 got, i64 want) {
    int our[PAGES], their[PAGES], list[PAGES];
    read_maps(our, their);
    believed(s, list);
    if (got > 0) got -= (i64)ours;
    if (want > 0) want -= (i64)theirs;
    bool ok = got == want && !memcmp(our, their, sizeof our) && !memcmp(our, list, sizeof our) && list_is_sound(s);
    if (ok) return true;
    static const char *const names[] = {"mmap", "munmap", "mprotect", "mremap", "madvise"};
    printf("%s page %u pages %u to %u pages %u prot %d flags %#x: got %ld, the kernel says %ld\n", names[c->kind], c->page,
           c->pages, c->to, c->to_pages, c->prot, c->flags, got, want);
    print_window("host", our);
    print_window("wanted", their);
    print_window("believed", list);
    return false;
}

int main(int argc, char **argv) {
    state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    u32 calls = argc > 2 ? (u32)atoi(argv[2]) : 20000, passed = 0, failed = 0;
    Space s;
    space_init(&s, 1ull << 38, (1ull << 47) - PAGE_BYTES);
    file = memfd_create("space", 0);
    if (ftruncate(file, PAGES * 2 * PAGE_BYTES) < 0) return 2;
    for (u32 i = 0; i < calls && !failed; i++) {
        Call c = random_call();
        i64 want = call_host(&c), got = call_space(&s, &c);
        if (check(&s, &c, got, want)) passed++;
        else failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
