/* SPDX-License-Identifier: Apache-2.0 */
/* What the user plugs into a board: virtio devices with their back ends. */
#include "machine/board_parts.h"

bool board_virtio_new(Board *b, char *why, size_t why_size) {
    if (b->config.disk_len || b->config.net_len || b->config.share_len) return back_fail(why, why_size, "this board has no virtio devices yet");
    return true;
}

void board_virtio_reset(Board *b) {}
void board_virtio_drop(Board *b) {}
