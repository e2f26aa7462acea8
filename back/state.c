/* SPDX-License-Identifier: Apache-2.0 */
/* State as bytes: back/state.h. */
#include "back/state.h"
#include "back/back.h"

static void save(State *s, const void *data, size_t size) {
    if (size > s->room - s->size) {
        s->room = MAX(s->room * 2, s->size + size + 4096);
        s->at = realloc(s->at, s->room);
        if (!s->at) BUG("out of memory");
    }
    memcpy(s->at + s->size, data, size);
    s->size += size;
}

void state_bytes(State *s, void *data, size_t size) {
    if (!s->loading) {
        save(s, data, size);
    } else if (s->bad || size > s->size - s->pos) {
        s->bad = true;
        memset(data, 0, size);
    } else {
        memcpy(data, s->at + s->pos, size);
        s->pos += size;
    }
}

void state_bool(State *s, bool *v) {
    u8 byte = *v;
    state_u8(s, &byte);
    *v = byte != 0;
}

void state_below(State *s, u32 *v, u32 end) {
    state_u32(s, v);
    if (*v < end) return;
    s->bad = true;
    *v = 0;
}

void state_fini(State *s) {
    if (!s->loading) free(s->at);
    *s = (State){0};
}
