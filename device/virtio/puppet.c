/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device without a mind: it looks like another to the driver, and does with its queues what a log of the other says (VirtLog). For machines
 * that are replayed: what the other asked the host for is not asked for again.
 *
 * Logs are files, and not trusted: all goes through the same checked queues, and what does not fit in there is left out. */
#include "device/virtio/devices.h"

struct VirtioPuppet {
    Virtio virtio;
    VirtioPuppetUser user;
    VirtChain *chain[VIRTIO_QUEUES_MAX]; /* by queue: the last one taken */
    bool has_chain[VIRTIO_QUEUES_MAX];   /* it is not given back yet */
    struct iovec first; /* buffer of chain 0 of those filled */
};

static void puppet_notify(void *dev, u32 queue) {
    VirtioPuppet *p = dev;
    p->user.notified(p->user.ctx);
}

static void puppet_reset(void *dev) {
    VirtioPuppet *p = dev;
    memset(p->has_chain, 0, sizeof(p->has_chain));
    p->first = (struct iovec){0};
}

/* Ends the queue's chain, with what the log says was put into it. NULL: there is none. */
static VirtChain *chain_end(VirtioPuppet *p, u32 queue, const u8 *data, u32 size) {
    bool had = p->has_chain[queue];
    p->has_chain[queue] = false;
    if (had) virt_chain_write(p->chain[queue], 0, data, size);
    return had ? p->chain[queue] : NULL;
}

static bool fill(VirtioPuppet *p, u32 queue, u32 number, u32 written, const u8 *data, u32 size) {
    const VirtChain *c = number < VIRTQ_FILL_MAX ? chain_end(p, queue, data, size) : NULL;
    if (!c) return false;
    if (!number) p->first = c->in_len ? c->iov[c->out_len] : (struct iovec){0};
    virtq_fill(&p->virtio.queue[queue], c, written, number);
    return true;
}

static bool patch(VirtioPuppet *p, u32 offset, const u8 *data, u32 size) {
    if (offset > p->first.iov_len || size > p->first.iov_len - offset) return false;
    if (size) memcpy((u8 *)p->first.iov_base + offset, data, size);
    return true;
}

/* In a packed ring not every number is a place. */
static bool unpop(VirtioPuppet *p, u32 queue, u32 mark) {
    VirtQueue *q = &p->virtio.queue[queue];
    p->has_chain[queue] = false;
    if (virtio_has(&p->virtio, VIRTIO_F_RING_PACKED) && mark >= 2 * q->size) return false;
    virtq_unpop(q, (u16)mark);
    return true;
}

static bool push(VirtioPuppet *p, u32 queue, u32 written, const u8 *data, u32 size) {
    const VirtChain *c = chain_end(p, queue, data, size);
    if (c) virtq_push(&p->virtio.queue[queue], c, written);
    return c;
}

bool virtio_puppet_do(VirtioPuppet *p, VirtOp op, u32 queue, u32 number, u32 written, const u8 *data, u32 size) {
    if (queue >= p->virtio.kind.queues) return false;
    VirtQueue *q = &p->virtio.queue[queue];
    switch (op) {
    case VIRT_POP: p->has_chain[queue] = virtq_pop(q, p->chain[queue]); break;
    case VIRT_UNPOP: return unpop(p, queue, number);
    case VIRT_FILL: return fill(p, queue, number, written, data, size);
    case VIRT_PATCH: return patch(p, number, data, size);
    case VIRT_PUBLISH:
        if (number > VIRTQ_FILL_MAX) return false;
        virtq_publish(q, number);
        break;
    case VIRT_PUSH: return push(p, queue, written, data, size);
    case VIRT_SIGNAL: virtq_signal(q); break;
    case VIRT_KICKS_OFF: virtq_kicks_off(q); break;
    case VIRT_KICKS_ON: virtq_kicks_on(q); break;
    case VIRT_BREAK: virtio_break(&p->virtio); break;
    case VIRT_OPS: return false;
    }
    return true;
}

void virtio_look_state(VirtioLook *l, State *s) {
    state_bytes(s, l->name, sizeof(l->name));
    state_u32(s, &l->id);
    state_u32(s, &l->class);
    state_u64(s, &l->offered);
    state_below(s, &l->queues, VIRTIO_QUEUES_MAX + 1);
    state_below(s, &l->queue_size, VIRTQ_SIZE_MAX + 1);
    state_below(s, &l->config_size, VIRTIO_CONFIG_MAX + 1);
    state_bytes(s, l->config, sizeof(l->config));
    if (!l->queues || !l->queue_size || (l->queue_size & (l->queue_size - 1))) state_bad(s);
    l->name[sizeof(l->name) - 1] = 0;
    for (const char *at = l->name; *at; at++)
        if (*at <= ' ' || *at > '~') state_bad(s);
}

void virtio_look(const Virtio *v, VirtioLook *out) {
    const VirtioKind *k = &v->kind;
    *out = (VirtioLook){.id = k->id, .class = k->class, .offered = v->offered, .queues = k->queues, .queue_size = k->queue_size, .config_size = k->config_size};
    Text t = text_init(out->name, sizeof(out->name));
    text_print(&t, "%s", k->name);
    memcpy(out->config, v->config, sizeof(out->config));
}

VirtioPuppet *virtio_puppet_new(Physical *memory, const VirtioLook *look, const VirtioPuppetUser *user) {
    VirtioPuppet *p = back_alloc(sizeof(*p));
    VirtioKind kind = {.name = look->name, .id = look->id, .class = look->class, .queues = look->queues, .queue_size = look->queue_size,
                       .config_size = look->config_size, .notify = puppet_notify, .reset = puppet_reset};
    p->user = *user;
    for (u32 k = 0; k < look->queues; k++) p->chain[k] = back_alloc(sizeof(VirtChain));
    virtio_init(&p->virtio, &kind, p, memory);
    p->virtio.offered = look->offered;
    memcpy(p->virtio.config, look->config, sizeof(look->config));
    return p;
}

Virtio *virtio_puppet_virtio(VirtioPuppet *p) { return &p->virtio; }

void virtio_puppet_drop(VirtioPuppet *p) {
    virtio_reset(&p->virtio);
    virtio_fini(&p->virtio);
    for (u32 k = 0; k < VIRTIO_QUEUES_MAX; k++) free(p->chain[k]);
    free(p);
}
