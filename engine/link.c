/* SPDX-License-Identifier: Apache-2.0 */
/* Links between blocks: direct exits patched to jump to their target, and undone again. The engine's lock is held.
 *
 * A block lists the exits that lead to it. Lists cross pools: exits of images lead into the half in use, and exits of that half into
 * images. A half dies as a whole, so what crosses its border is kept in two lists besides (Cache.into_half, from_half). */
#include "engine/cache.h"

static ExitRef ref_make(const Pool *from, const ExitRecord *x, const Pool *to) {
    return (from == to ? 0 : from->number + 1) << 24 | ((u32)(x - from->exits) + 1);
}

static ExitRecord *ref_exit(const Cache *c, Pool *own, ExitRef ref, Pool **pool) {
    *pool = ref >> 24 ? c->pools[(ref >> 24) - 1] : own;
    return &(*pool)->exits[(ref & 0xffffff) - 1];
}

static void patch(Cache *c, const Host *host, Pool *p, const ExitRecord *x, const u8 *target) {
    cache_own(c, p->rw + x->field, 4);
    host->link(p->rw + x->field, p->rx + x->field, target);
}

static void unlink_one(Cache *c, const Host *host, Pool *p, ExitRecord *x) {
    if (!x->linked) return;
    patch(c, host, p, x, p->rx + x->stub);
    x->linked = false;
}

void link_exit(Cache *c, const Host *host, Pool *p, ExitRecord *x, const void *target) {
    Pool *to = cache_pool_at(c, (u64)target), *half = cache_half(c);
    if (x->linked || !to) return;
    if (p != to && p != half && to != half) return; /* between images: no file branches directly into another */
    if (!cache_is_worth_owning(c, p->rw + x->field)) return;
    Block *b = cache_entry_block(to, target);
    patch(c, host, p, x, target);
    x->linked = true;
    x->next = b->incoming;
    b->incoming = ref_make(p, x, to);
    if (p == to) return;
    if (to == half) vec_push(&c->into_half, (p->number + 1) << 24 | ((u32)(x - p->exits) + 1));
    else vec_push(&c->from_half, (u64)to->number << 32 | (u32)(b - to->blocks));
}

void link_undo_incoming(Cache *c, const Host *host, Pool *p, Block *b) {
    for (ExitRef ref = b->incoming; ref;) {
        Pool *from;
        ExitRecord *x = ref_exit(c, p, ref, &from);
        unlink_one(c, host, from, x);
        ref = x->next;
    }
    b->incoming = 0;
}

/* Takes the exits of halves out of a block's list; with `host`, leads them back to their stubs. */
static void drop_foreign(Cache *c, const Host *host, Pool *p, Block *b) {
    for (ExitRef *at = &b->incoming; *at;) {
        Pool *from;
        ExitRecord *x = ref_exit(c, p, *at, &from);
        if (from == p) {
            at = &x->next;
            continue;
        }
        if (host) unlink_one(c, host, from, x);
        *at = x->next;
    }
}

void link_retire_half(Cache *c, const Host *host) {
    for (u32 k = 0; k < c->into_half.len; k++) {
        Pool *from;
        ExitRecord *x = ref_exit(c, NULL, c->into_half.at[k], &from);
        unlink_one(c, host, from, x);
    }
    for (u32 k = 0; k < c->from_half.len; k++) {
        Pool *p = c->pools[c->from_half.at[k] >> 32];
        drop_foreign(c, NULL, p, &p->blocks[(u32)c->from_half.at[k]]);
    }
    c->into_half.len = c->from_half.len = 0;
}

void link_undo_image(Cache *c, const Host *host, Pool *image) {
    for (u32 k = 0; k < c->from_half.len; k++)
        if (c->from_half.at[k] >> 32 == image->number) drop_foreign(c, host, image, &image->blocks[(u32)c->from_half.at[k]]);
}
