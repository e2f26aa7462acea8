/* SPDX-License-Identifier: Apache-2.0 */
/* user/uring: bodies. See uring.h; structures: include/uapi/linux/io_uring.h. */
#include "user/uring.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/sys_poll.h"
#include "user/syscall.h"
#include <errno.h>
#include <linux/io_uring.h>
#include <sys/epoll.h>

/* Younger than the headers that we build with. */
enum { SETUP_NO_SQARRAY = 1 << 16, SETUP_KNOWN = 0x13fff | SETUP_NO_SQARRAY, OP_EPOLL_WAIT = 59, ENTER_EXT_ARG_REG = 1 << 6,
       REGISTER_RING_FDS = 20, UNREGISTER_RING_FDS = 21, REGISTER_RESIZE_RINGS = 33, NO_SUCH_OP = 255 };

typedef struct Ring {
    int fd;              /* a ring with several descriptors is here several times */
    u32 id;              /* the same then */
    u32 flags;           /* IORING_SETUP_* */
    struct io_sqring_offsets sq;
    u64 rings_at, sqes_at; /* where the guest has mapped them; 0: not yet */
} Ring;

typedef struct Rings {
    Lock lock;
    u32 made;
    VEC(Ring) all;
} Rings;

static Rings *rings_of(Process *p) { return process_part(p, (void **)&p->rings, sizeof(Rings)); }

static Ring *ring_find(Rings *r, int fd) {
    for (u32 i = 0; i < r->all.len; i++)
        if (r->all.at[i].fd == fd) return &r->all.at[i];
    return NULL;
}

void uring_mapped(Thread *t, int fd, u64 at, u64 offset) {
    Rings *r = t->process->rings;
    lock_take(&r->lock);
    const Ring *mapped = ring_find(r, fd);
    for (u32 i = 0; mapped && i < r->all.len; i++) {
        Ring *ring = &r->all.at[i];
        if (ring->id == mapped->id && offset == IORING_OFF_SQ_RING) ring->rings_at = at;
        if (ring->id == mapped->id && offset == IORING_OFF_SQES) ring->sqes_at = at;
    }
    lock_give(&r->lock);
}

void uring_duplicated(Process *p, int from, int to) {
    Rings *r = p->rings;
    lock_take(&r->lock);
    const Ring *g = ring_find(r, from);
    if (g) {
        Ring copy = *g;
        copy.fd = to;
        vec_push(&r->all, copy);
    }
    lock_give(&r->lock);
}

void uring_closed(Process *p, u32 first, u32 last) {
    Rings *r = p->rings;
    lock_take(&r->lock);
    for (u32 i = 0; i < r->all.len; i++)
        if ((u32)r->all.at[i].fd >= first && (u32)r->all.at[i].fd <= last) r->all.at[i--] = r->all.at[--r->all.len];
    lock_give(&r->lock);
}

void uring_forked(Process *p) {
    if (p->rings) p->rings->lock = (Lock){0};
}

i64 do_io_uring_setup(Thread *t, u64 *a) {
    struct io_uring_params params;
    Rings *r = rings_of(t->process);
    if (!r) return -ENOMEM;
    if (guest_read(&params, a[1], sizeof params) < 0) return -EFAULT;
    if (params.flags & ~(u32)SETUP_KNOWN) return -EINVAL;
    if (params.flags & IORING_SETUP_SQPOLL) return -EPERM;
    i64 fd = thread_sys(t, SYS_io_uring_setup, a[0], a[1]);
    if (fd < 0 || guest_read(&params, a[1], sizeof params) < 0) return fd;
    lock_take(&r->lock);
    vec_push(&r->all, ((Ring){.fd = (int)fd, .id = r->made++, .flags = params.flags, .sq = params.sq_off}));
    lock_give(&r->lock);
    return fd;
}

/* --- submission ---------------------------------------------------------------------------------------------- */

typedef struct Changed { /* an entry that has something else in it while the kernel takes it */
    struct io_uring_sqe *sqe;
    u64 addr;
    u8 opcode;
    struct epoll_event event;
} Changed;
enum { CHANGED_MAX = 64 };

/* Puts the host's event into the entry's place. */
static void entry_translate(Changed *c, u64 at) {
    struct io_uring_sqe sqe;
    c->sqe = NULL;
    if (guest_read(&sqe, at, sizeof sqe) < 0) return;
    c->addr = sqe.addr;
    c->opcode = sqe.opcode;
    if (sqe.opcode == IORING_OP_EPOLL_CTL && sqe.len != EPOLL_CTL_DEL) {
        if (event_read(&c->event, sqe.addr) < 0) return; /* the kernel will find out */
        sqe.addr = (u64)&c->event;
    } else if (sqe.opcode == OP_EPOLL_WAIT) {
        sqe.opcode = NO_SUCH_OP; /* it would write events in the host's layout */
    } else {
        return;
    }
    if (guest_write(at, &sqe, sizeof sqe) >= 0) c->sqe = (struct io_uring_sqe *)at;
}

static void entry_restore(const Changed *c) {
    if (!c->sqe) return;
    guest_write((u64)&c->sqe->addr, &c->addr, sizeof c->addr);
    guest_write((u64)&c->sqe->opcode, &c->opcode, 1);
}

/* Of the next `count` entries those that need it; *count: how many may be submitted at once. Returns how many changed. */
static u32 entries_translate(const Ring *g, u32 *count, Changed changed[CHANGED_MAX]) {
    u32 head, tail, mask, n = 0;
    if (!g->rings_at || !g->sqes_at || guest_read(&head, g->rings_at + g->sq.head, 4) < 0 ||
        guest_read(&tail, g->rings_at + g->sq.tail, 4) < 0 || guest_read(&mask, g->rings_at + g->sq.ring_mask, 4) < 0)
        return 0;
    for (u32 i = 0; i < *count && head + i != tail; i++) {
        u32 index = (head + i) & mask;
        if (!(g->flags & SETUP_NO_SQARRAY) && guest_read(&index, g->rings_at + g->sq.array + 4 * index, 4) < 0) break;
        if (index > mask) continue; /* the kernel drops it */
        entry_translate(&changed[n], g->sqes_at + ((u64)index << ((g->flags & IORING_SETUP_SQE128) ? 7 : 6)));
        if (!changed[n].sqe) continue;
        if (++n == CHANGED_MAX) *count = i + 1; /* fewer than asked for is allowed */
    }
    return n;
}

/* --- the calls ------------------------------------------------------------------------------------------------- */

i64 do_io_uring_enter(Thread *t, u64 *a) {
    Changed changed[CHANGED_MAX];
    struct io_uring_getevents_arg ext = {0};
    MaskArg m = {0};
    u32 count = (u32)a[1], flags = (u32)a[3], n = 0;
    u64 pass = a[4], size = a[5];
    if (flags & (IORING_ENTER_REGISTERED_RING | ENTER_EXT_ARG_REG)) return -EINVAL;
    bool has_ext = flags & IORING_ENTER_EXT_ARG;
    if (has_ext && (size != sizeof ext || guest_read(&ext, a[4], sizeof ext) < 0)) return size != sizeof ext ? -EINVAL : -EFAULT;
    i64 r = has_ext ? mask_arg(&m, ext.sigmask, ext.sigmask_sz) : mask_arg(&m, a[4], a[5]);
    if (r < 0) return r;
    ext.sigmask = (u64)m.pass;
    if (has_ext) pass = (u64)&ext;
    else pass = (u64)m.pass;
    Rings *rings = t->process->rings;
    if (count && rings) {
        lock_take(&rings->lock);
        Ring *g = ring_find(rings, (int)a[0]), copy = g ? *g : (Ring){0};
        lock_give(&rings->lock);
        n = entries_translate(&copy, &count, changed);
    }
    r = thread_sys(t, SYS_io_uring_enter, a[0], count, a[2], flags, pass, size);
    for (u32 i = 0; i < n; i++) entry_restore(&changed[i]);
    return waited(t, r, &m);
}

static i64 probe(Thread *t, u64 *a) {
    i64 r = thread_sys(t, SYS_io_uring_register, a[0], a[1], a[2], a[3]);
    u64 at = a[2] + sizeof(struct io_uring_probe) + OP_EPOLL_WAIT * sizeof(struct io_uring_probe_op);
    u16 none = 0;
    if (r >= 0 && (u32)a[3] > OP_EPOLL_WAIT) guest_write(at + offsetof(struct io_uring_probe_op, flags), &none, 2);
    return r;
}

i64 do_io_uring_register(Thread *t, u64 *a) {
    switch ((u32)a[1]) {
    case IORING_REGISTER_PROBE: return probe(t, a);
    case REGISTER_RING_FDS: case UNREGISTER_RING_FDS: case REGISTER_RESIZE_RINGS: return -EINVAL;
    }
    if ((u32)a[1] >> 31) return -EINVAL;
    return thread_sys(t, SYS_io_uring_register, a[0], a[1], a[2], a[3]);
}
