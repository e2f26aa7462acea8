/* SPDX-License-Identifier: Apache-2.0 */
/* back/state: what devices and harts are, as bytes for a snapshot. One function per device goes over its fields and either saves or loads them, so
 * that the two cannot disagree; only what needs it looks at `loading`.
 *
 * What is loaded is not trusted: after a field was loaded its device limits or refuses it (state_bad). Reading behind the end gives zeros and is
 * bad, too. Numbers are little-endian.
 */
#ifndef BACK_STATE_H
#define BACK_STATE_H

#include "base/base.h"

typedef struct State {
    bool loading, bad;
    u8 *at;            /* saving: malloc'ed, grows */
    size_t size, room; /* saving: bytes written, allocated; loading: bytes there are */
    size_t pos;        /* loading */
} State;

void state_bytes(State *s, void *data, size_t size);
static inline void state_u8(State *s, u8 *v) { state_bytes(s, v, 1); }
static inline void state_u16(State *s, u16 *v) { state_bytes(s, v, 2); }
static inline void state_u32(State *s, u32 *v) { state_bytes(s, v, 4); }
static inline void state_u64(State *s, u64 *v) { state_bytes(s, v, 8); }
/* Any byte but 0 is true. */
void state_bool(State *s, bool *v);
/* A number below `end`; loading another is bad, and gives 0. */
void state_below(State *s, u32 *v, u32 end);
static inline void state_bad(State *s) { s->bad = true; }
/* Saving: the memory goes. */
void state_fini(State *s);

#endif
