/* SPDX-License-Identifier: Apache-2.0 */
/* user/sys_poll: waiting for several things, with or without a signal mask of its own; struct epoll_event is packed
 * on x86-64 and not elsewhere. */
#include "user/sys_poll.h"
#include "base/sys.h"
#include "user/signal.h"
#include "user/syscall.h"
#include <errno.h>
#include <sys/epoll.h>

typedef struct GuestEvent { /* struct epoll_event */
    u32 events, pad;
    u64 data;
} GuestEvent;

i64 mask_arg(MaskArg *m, u64 at, u64 size) {
    m->pass = NULL;
    if (!at) return 0;
    if (size != 8) return -EINVAL;
    if (guest_read(&m->guest, at, 8) < 0) return -EFAULT;
    m->host = signal_host_mask(m->guest);
    m->pass = &m->host;
    return 0;
}

i64 waited(Thread *t, i64 r, const MaskArg *m) { return m->pass ? signal_waited(t, r, m->guest) : r; }

i64 do_ppoll(Thread *t, u64 *a) {
    MaskArg m;
    i64 r = mask_arg(&m, a[3], a[4]);
    return r < 0 ? r : waited(t, thread_sys(t, SYS_ppoll, a[0], a[1], a[2], m.pass, 8), &m);
}

/* Host call nr, whose sixth argument is a structure of the mask's address and size. */
static i64 wait_with_packed_mask(Thread *t, long nr, const u64 *a) {
    struct {
        u64 at, size;
    } arg = {0, 0}, pass;
    MaskArg m;
    if (a[5] && guest_read(&arg, a[5], sizeof arg) < 0) return -EFAULT;
    i64 r = mask_arg(&m, arg.at, arg.size);
    if (r < 0) return r;
    pass.at = (u64)m.pass;
    pass.size = 8;
    return waited(t, thread_sys(t, nr, a[0], a[1], a[2], a[3], a[4], &pass), &m);
}

i64 do_pselect6(Thread *t, u64 *a) { return wait_with_packed_mask(t, SYS_pselect6, a); }

i64 do_io_pgetevents(Thread *t, u64 *a) { return wait_with_packed_mask(t, SYS_io_pgetevents, a); }

i64 event_read(struct epoll_event *out, u64 from) {
    GuestEvent g;
    if (guest_read(&g, from, sizeof g) < 0) return -EFAULT;
    out->events = g.events;
    out->data.u64 = g.data;
    return 0;
}

i64 do_epoll_ctl(Thread *t, u64 *a) {
    struct epoll_event e;
    if ((int)a[1] == EPOLL_CTL_DEL) return thread_sys(t, SYS_epoll_ctl, a[0], a[1], a[2], &e);
    if (event_read(&e, a[3]) < 0) return -EFAULT;
    return thread_sys(t, SYS_epoll_ctl, a[0], a[1], a[2], &e);
}

enum { EVENTS_AT_ONCE = 256 }; /* fewer than asked for is allowed: the rest stays ready */

static i64 events_out(u64 to, const struct epoll_event *e, i64 count) {
    for (i64 i = 0; i < count; i++) {
        GuestEvent g = {.events = e[i].events, .data = e[i].data.u64};
        if (guest_write(to + (u64)i * sizeof g, &g, sizeof g) < 0) return -EFAULT;
    }
    return count;
}

static i64 epoll_wait_any(Thread *t, long host, const u64 *a) {
    struct epoll_event events[EVENTS_AT_ONCE];
    MaskArg m;
    i64 r = mask_arg(&m, a[4], a[5]);
    if (r < 0) return r;
    if ((int)a[2] <= 0 || (int)a[2] > (int)(INT32_MAX / sizeof(GuestEvent))) return -EINVAL;
    int count = MIN((int)a[2], (int)EVENTS_AT_ONCE);
    r = waited(t, thread_sys(t, host, a[0], events, count, a[3], m.pass, 8), &m);
    return r <= 0 ? r : events_out(a[1], events, r);
}
i64 do_epoll_pwait(Thread *t, u64 *a) { return epoll_wait_any(t, SYS_epoll_pwait, a); }
i64 do_epoll_pwait2(Thread *t, u64 *a) { return epoll_wait_any(t, SYS_epoll_pwait2, a); }
