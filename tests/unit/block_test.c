/* SPDX-License-Identifier: Apache-2.0 */
/* Disks at the host's side, for block.py, which has qemu-img look at what is left.
 *
 *   block_test create FILE SIZE [BACKING FORMAT]
 *   block_test random IMAGE MODEL SEED COUNT   random requests to IMAGE and, as plain file operations, to MODEL; what is read must agree
 *   block_test threads IMAGE MODEL SEED COUNT  the same from four threads, each on sectors of its own that lie between the others'
 *   block_test stamp IMAGE SEED                writes numbers for ever; prints each that is surely on the disk. To be killed.
 *   block_test verify IMAGE N                  every number up to N is there */
#include "back/block.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { SECTOR = 512, REQUEST_MAX = 300 * 1024, THREADS = 4, STAMPS = 4096 };

static Block *disk;
static int model;
static u32 passed, failed;

typedef struct Work {
    u64 state;
    u32 count, part, parts; /* this thread's sectors are those with number % parts == part; parts 1: all */
} Work;

static u32 pick(Work *w, u32 n) {
    w->state = w->state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(w->state >> 33) % n;
}

static void check(bool ok, const char *what, u64 offset, u64 size) {
    __atomic_fetch_add(ok ? &passed : &failed, 1, __ATOMIC_RELAXED);
    if (!ok) printf("%s of %llu at %llu\n", what, (unsigned long long)size, (unsigned long long)offset);
}

/* A request in up to three buffers. */
static u32 vector(Work *w, u8 *data, u64 size, struct iovec *iov) {
    u32 n = 0;
    while (size && n < 2 && pick(w, 2)) {
        u64 part = SECTOR * (u64)pick(w, (u32)(size / SECTOR) + 1);
        iov[n++] = (struct iovec){data, part};
        data += part;
        size -= part;
    }
    iov[n++] = (struct iovec){data, size};
    return n;
}

static void request(Work *w, u8 *data, u8 *want) {
    struct iovec iov[3];
    u64 sectors = disk->size / SECTOR, size = SECTOR * (1ull + (pick(w, 3) ? pick(w, 32) : pick(w, REQUEST_MAX / SECTOR)));
    u64 offset = SECTOR * (u64)pick(w, (u32)sectors);
    if (!pick(w, 3)) offset &= ~0xffffull;
    if (w->parts > 1) {
        offset = SECTOR * (offset / SECTOR / w->parts * w->parts + w->part);
        size = SECTOR;
    }
    if (offset >= disk->size) return;
    size = MIN(size, disk->size - offset);
    switch (pick(w, 10)) {
    case 0: case 1: case 2: case 3:
        for (u64 i = 0; i < size; i++) data[i] = (u8)pick(w, 256);
        check(!block_write(disk, offset, iov, vector(w, data, size, iov)), "write", offset, size);
        if (pwrite(model, data, size, (off_t)offset) != (ssize_t)size) failed++;
        break;
    case 4: case 5: case 6:
        check(!block_read(disk, offset, iov, vector(w, data, size, iov)), "read", offset, size);
        if (pread(model, want, size, (off_t)offset) != (ssize_t)size) failed++;
        check(!memcmp(data, want, size), "what is read differs: read", offset, size);
        break;
    case 7:
        check(!block_zero(disk, offset, size, pick(w, 2)), "zero", offset, size);
        memset(data, 0, size);
        if (pwrite(model, data, size, (off_t)offset) != (ssize_t)size) failed++;
        break;
    case 8: /* what it holds then is for the disk to say */
        check(!block_discard(disk, offset, size), "discard", offset, size);
        check(!block_read(disk, offset, iov, vector(w, data, size, iov)), "read", offset, size);
        if (pwrite(model, data, size, (off_t)offset) != (ssize_t)size) failed++;
        break;
    case 9:
        if (!pick(w, 4)) check(!block_flush(disk), "flush", 0, 0);
        break;
    }
}

static void *work(void *arg) {
    Work *w = arg;
    u8 *data = malloc(REQUEST_MAX), *want = malloc(REQUEST_MAX);
    for (u32 i = 0; i < w->count && !failed; i++) request(w, data, want);
    free(data);
    free(want);
    return NULL;
}

static bool disk_open(const char *path) {
    char why[256];
    disk = block_open(path, &(BlockOptions){0}, why, sizeof(why));
    if (!disk) printf("%s\n", why);
    return disk;
}

static int run(char **argv, u32 threads) {
    pthread_t id[THREADS];
    Work w[THREADS];
    model = open(argv[3], O_RDWR);
    if (!disk_open(argv[2]) || model < 0) return 1;
    for (u32 k = 0; k < threads; k++) {
        w[k] = (Work){strtoull(argv[4], NULL, 0) * 77 + k, (u32)atoi(argv[5]), k, threads};
        pthread_create(&id[k], NULL, work, &w[k]);
    }
    for (u32 k = 0; k < threads; k++) pthread_join(id[k], NULL);
    block_drop(disk);
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

/* Number n lies at a place in the first half that its remainder by STAMPS chooses, 4 KiB of it; later numbers replace earlier ones. */
static u64 stamp_at(u64 n) { return hash_u64(n % STAMPS + 1) % (disk->size / 2 / 4096) * 4096; }

static int stamp(char **argv) {
    u64 page[512], seed = strtoull(argv[3], NULL, 0);
    if (!disk_open(argv[2])) return 1;
    for (u64 n = 1;; n++) {
        u64 at = stamp_at(n);
        for (u32 i = 0; i < 512; i++) page[i] = at << 20 | n;
        if (block_write(disk, at, &(struct iovec){page, 4096}, 1)) return 1;
        /* In the other half clusters come and go, so that what is freed is used again. */
        u64 other = hash_u64(seed += n) % 256 * 65536 + disk->size / 2;
        if (n % 3 == 0 && block_write(disk, other, &(struct iovec){page, 4096}, 1)) return 1;
        if (n % 5 == 0 && block_discard(disk, other, 65536)) return 1;
        if (hash_u64(seed * 3 + n) % 7) continue;
        if (block_flush(disk)) return 1;
        fd_print(1, "%llu\n", (unsigned long long)n);
    }
}

static int verify(char **argv) {
    u64 page[512], last = strtoull(argv[3], NULL, 0);
    if (!disk_open(argv[2])) return 1;
    for (u64 n = last > STAMPS ? last - STAMPS + 1 : 1; n <= last; n++) {
        u64 at = stamp_at(n);
        if (block_read(disk, at, &(struct iovec){page, 4096}, 1)) return 1;
        for (u32 i = 0; i < 512; i++) {
            if (page[i] >> 20 == at && (page[i] & 0xfffff) >= n) continue;
            printf("number %llu at %llu is lost: there is %#llx\n", (unsigned long long)n, (unsigned long long)at, (unsigned long long)page[i]);
            return 1;
        }
    }
    block_drop(disk);
    return 0;
}

static int create(int argc, char **argv) {
    char why[256];
    if (block_create_qcow2(argv[2], strtoull(argv[3], NULL, 0), argc > 4 ? argv[4] : NULL, argc > 5 ? argv[5] : NULL, why, sizeof(why))) return 0;
    printf("%s\n", why);
    return 1;
}

int main(int argc, char **argv) {
    if (argc >= 4 && !strcmp(argv[1], "create")) return create(argc, argv);
    if (argc == 6 && !strcmp(argv[1], "random")) return run(argv, 1);
    if (argc == 6 && !strcmp(argv[1], "threads")) return run(argv, THREADS);
    if (argc == 4 && !strcmp(argv[1], "stamp")) return stamp(argv);
    if (argc == 4 && !strcmp(argv[1], "verify")) return verify(argv);
    return 2;
}
