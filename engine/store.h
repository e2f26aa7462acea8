/* SPDX-License-Identifier: Apache-2.0 */
/* The persistent store: a folder of files that outlive the process, for what was translated once (image.h says what is in them).
 *
 *   NAME.img   one image. Written under another name and then renamed, so that who opens it sees all of it or nothing; never changed
 *              after that. Several processes may write the same one: the last wins.
 *   known      the store's salt, and a table of what is known about files by their identity (device, inode, size, times): the digest
 *              of a guest file's contents, or that an image's checksum was right. Entries carry a checksum, so that writers need no lock.
 *
 * Trust: the folder and its files must belong to the effective user; nobody else may write to the folder, or do anything with the files. A
 * folder that cannot be had, read or written is done without, silently: a cache is no reason to fail.
 *
 * Descriptors are open between store_wake and store_sleep only: the guest must not find any.
 */
#ifndef ENGINE_STORE_H
#define ENGINE_STORE_H

#include "base/digest.h"

struct stat;

typedef struct Store {
    char path[4096];  /* empty: there is no store */
    int dir, known;   /* -1: asleep */
    Digest salt;      /* of this folder */
    Digest boot;      /* of this boot of the host; zero: unknown */
    u64 size_max;     /* bytes of images to keep */
} Store;

#define STORE_SIZE_DEFAULT GIB(2)

/* Opens the folder `path`, making it if it does not exist but its parent does, and leaves it awake. NULL, or one sentence why there is no
 * store (for who asks for the reason: isomer cache status). */
const char *store_open(Store *s, const char *path, u64 size_max);
static inline bool store_usable(const Store *s) { return s->path[0]; }
/* Everything below wants the store awake. False: it cannot be had any more. */
bool store_wake(Store *s);
void store_sleep(Store *s);

/* A file's digest is that of pieces of so many bytes, each under the digest of those before it; the first under {size, 0}. */
enum { STORE_STEP = 64 * 1024 };
/* Digest of the bytes [offset, offset + size) of a file, from the table or by reading. False: it cannot be read. */
bool store_content(Store *s, int fd, const struct stat *st, u64 offset, u64 size, Digest *out);
/* Opens the image `name`: its descriptor and *st; -1: there is none, or none to be trusted. */
int store_image_open(const Store *s, Digest name, struct stat *st);
/* Did its checksum agree since the host was booted? Remembers that it did. */
bool store_image_checked(Store *s, const struct stat *st, Digest check);
void store_image_note(Store *s, const struct stat *st, Digest check);
/* Writes an image in place of an older one; evicts others if there is no room. 0 or -errno. */
int store_image_write(Store *s, Digest name, const void *data, size_t size, Digest check);
/* Marks it as used, for eviction; at most once an hour. */
void store_image_touch(int fd, const struct stat *st);

typedef struct StoreUse {
    u64 images, bytes;
} StoreUse;
/* Counts the images. */
StoreUse store_use(const Store *s);
/* Removes images, oldest use first, until at most `keep` bytes are left. Returns how many went. */
u64 store_evict(const Store *s, u64 keep);

#endif
