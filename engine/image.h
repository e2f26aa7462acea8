/* SPDX-License-Identifier: Apache-2.0 */
/* Images: the translations of one executable mapping of one file, kept in the persistent store and mapped by the next process that
 * maps the same bytes.
 *
 * Key: the digest of {Isomer's own build, processor features and options that change code, the bytes of the mapping, its guest address}. So an
 * image holds absolute guest addresses, and needs no relocation. For that a file must come to lie at the same guest address in each
 * process: image_place says which (a function of the file's head and the store's own random salt: not the same for another user
 * or machine). The host's address is free: generated code has no host addresses in it, and is mapped as a whole.
 *
 * An image file is: ImageHead, then the tables of Pool as they are in memory, then the code, from a multiple of CACHE_CHUNK on. Direct exits
 * between its blocks are linked. Mapped private: what this process changes (links to new code, blocks that die) stays its own.
 *
 * A process writes a new image when it ends (or execs): what it mapped and what it translated. The cost is proportional to the whole; so
 * that it stays small beside the cost of translating, it is done for sure only if the new part is at least 1/16, else with that chance.
 */
#ifndef ENGINE_IMAGE_H
#define ENGINE_IMAGE_H

#include "engine/internal.h"

struct Image {
    Pool pool;
    Digest name, content;
    u64 start, size, content_size; /* of the guest's mapping; bytes of it that are the file's */
    u8 *tables;           /* mapping of the file's tables; NULL: none */
    u64 tables_size;
    u64 low, high;        /* guest addresses of its blocks */
    u64 file_bytes;       /* of the image file, be it good or bad; 0: there was none */
};
typedef struct Image Image;

/* Opens the store, if the options name one and the engine makes code that others can use. */
void image_init(Engine *e);
/* A guest address for the file, the attempt-th best (0..3); 0: none, anywhere will do. */
u64 image_place(const Engine *e, int fd, u64 size, unsigned attempt);
/* The guest has mapped [offset, offset + size) of a file, private and executable, at `start`: finds its image. */
void image_map(Engine *e, int fd, u64 start, u64 size, u64 offset);
/* Gives its memory back; the code goes with the cache. */
void image_drop(Image *m);
/* [start, start + size) changed: images lose what they hold of it. */
void image_invalidate(Engine *e, u64 start, u64 size);
/* Writes what is new. The lock is held, likewise below. */
void image_save(Engine *e);
/* The same for processes that live long, and may end by a signal that nobody sees coming. */
static inline void image_save_sometimes(Engine *e, u64 now_ns) {
    if (UNLIKELY(now_ns - e->saved_ns > 10 * 1000000000ull)) image_save(e);
}
/* After fork, in the child: what the parent translated is the parent's to save. */
void image_forked(Engine *e);

#endif
