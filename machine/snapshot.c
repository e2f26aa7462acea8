/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as files: machine/snapshot.h. */
#include "machine/snapshot.h"
#include "back/back.h"
#include "base/digest.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { VERSION = 1, BUFFER = 128 << 10, LEVEL = 1, NAME_SIZE = 16, IDENTITY_MAX = 1 << 16, SECTION_MAX = 256 << 20, RUN_MAX = 4096 /* pages */ };
static const char magic[8] = "ISOMSNAP";

typedef struct Header {
    char magic[8];
    u32 version, reserved;
    u64 body_size;
} Header;

typedef struct SectionHead {
    char name[NAME_SIZE];
    u32 version, reserved;
    u64 size;
} SectionHead;

typedef struct Run { /* of pages; count 0: the last */
    u64 first, count;
} Run;

typedef struct Stream {
    int fd;
    bool failed;
    Digest digest;
    u64 size; /* of the body: written, or left to read */
    ZSTD_CStream *pack;
    ZSTD_DStream *unpack;
    ZSTD_inBuffer in;
    u8 *buffer; /* of BUFFER bytes: the file is digested in parts of that size, and a shorter last one */
    size_t have; /* writing: bytes in it */
} Stream;

/* --- writing ------------------------------------------------------------------------------ */

static bool fd_write(int fd, const void *data, u64 size) {
    for (u64 done = 0; done < size;) {
        ssize_t n = write(fd, (const u8 *)data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (u64)n;
    }
    return true;
}

static void buffer_write(Stream *s) {
    if (!fd_write(s->fd, s->buffer, s->have)) s->failed = true;
    s->digest = digest_bytes(s->digest, s->buffer, s->have);
    s->size += s->have;
    s->have = 0;
}

static void stream_write(Stream *s, const void *data, u64 size, ZSTD_EndDirective how) {
    ZSTD_inBuffer in = {data, size, 0};
    size_t left = 1;
    while (!s->failed && (in.pos < in.size || (how == ZSTD_e_end && left))) {
        ZSTD_outBuffer out = {s->buffer, BUFFER, s->have};
        left = ZSTD_compressStream2(s->pack, &out, &in, how);
        s->failed = ZSTD_isError(left);
        s->have = out.pos;
        if (s->have == BUFFER) buffer_write(s);
    }
    if (how == ZSTD_e_end && s->have && !s->failed) buffer_write(s);
}

static void put(Stream *s, const void *data, u64 size) { stream_write(s, data, size, ZSTD_e_continue); }

static void sections_put(Stream *out, const SnapshotOf *of) {
    for (u32 k = 0; k < of->part_len; k++) {
        const SnapshotPart *part = &of->parts[k];
        State s = {0};
        SectionHead head = {.version = part->version};
        part->state(of->ctx, &s);
        strcpy(head.name, part->name);
        head.size = s.size;
        put(out, &head, sizeof(head));
        put(out, s.at, s.size);
        state_fini(&s);
    }
}

static bool is_zero(const u8 *page) { return !*(const u64 *)(const void *)page && !memcmp(page, page + 8, PAGE_BYTES - 8); }

static void memory_put(Stream *out, const Physical *m) {
    u64 pages = m->ram_size / PAGE_BYTES;
    for (u64 first = 0; first < pages && !out->failed;) {
        Run run = {first, 0};
        while (first + run.count < pages && run.count < RUN_MAX && !is_zero(m->ram + (first + run.count) * PAGE_BYTES)) run.count++;
        if (run.count) {
            put(out, &run, sizeof(run));
            put(out, m->ram + first * PAGE_BYTES, run.count * PAGE_BYTES);
        }
        first += MAX(run.count, 1u);
    }
    put(out, &(Run){0}, sizeof(Run));
}

/* Header again, now with the size; digest; and all of it to the disk. */
static bool file_finish(Stream *out) {
    Header h = {.version = VERSION, .body_size = out->size};
    memcpy(h.magic, magic, sizeof(magic));
    Digest d = digest_bytes(out->digest, &h, sizeof(h));
    return fd_write(out->fd, &d, sizeof(d)) && pwrite(out->fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) && !fsync(out->fd);
}

static bool body_save(int fd, const SnapshotOf *of) {
    Stream out = {.fd = fd, .pack = ZSTD_createCStream(), .buffer = back_alloc(BUFFER)};
    u32 identity = (u32)strlen(of->identity);
    ZSTD_CCtx_setParameter(out.pack, ZSTD_c_compressionLevel, LEVEL);
    out.failed = !out.pack || !fd_write(fd, &(Header){0}, sizeof(Header));
    put(&out, &identity, sizeof(identity));
    put(&out, of->identity, identity);
    sections_put(&out, of);
    memory_put(&out, of->memory);
    stream_write(&out, NULL, 0, ZSTD_e_end);
    bool ok = !out.failed && file_finish(&out);
    ZSTD_freeCStream(out.pack);
    free(out.buffer);
    return ok;
}

bool snapshot_save(const char *path, const SnapshotOf *of, char *why, size_t why_size) {
    char temporary[4096];
    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary)) return back_fail(why, why_size, "%s: too long a name", path);
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* all that the guest knows is in it */
    bool ok = fd >= 0 && body_save(fd, of);
    int saved = errno;
    if (fd >= 0) close(fd);
    if (ok && !rename(temporary, path)) return true;
    if (ok) saved = errno;
    unlink(temporary);
    return back_fail(why, why_size, "%s: %s", path, strerror(saved));
}

/* --- reading ------------------------------------------------------------------------------ */

static bool fd_read(int fd, void *data, u64 size) {
    for (u64 done = 0; done < size;) {
        ssize_t n = read(fd, (u8 *)data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (u64)n;
    }
    return true;
}

/* The whole file against its digest. Leaves the descriptor at the body. */
static bool file_check(Stream *in, Header *h, const char *path, char *why, size_t why_size) {
    struct stat st;
    Digest d = {0}, want;
    if (fstat(in->fd, &st)) return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    if (!fd_read(in->fd, h, sizeof(*h)) || memcmp(h->magic, magic, sizeof(magic))) return back_fail(why, why_size, "%s: not a snapshot", path);
    if (h->version != VERSION) return back_fail(why, why_size, "%s: a snapshot of another version of isomer", path);
    if (h->body_size != (u64)st.st_size - sizeof(*h) - sizeof(d) || (u64)st.st_size < sizeof(*h) + sizeof(d)) return back_fail(why, why_size, "%s: damaged: it is cut off", path);
    for (u64 left = h->body_size; left;) {
        u64 n = MIN(left, (u64)BUFFER);
        if (!fd_read(in->fd, in->buffer, n)) return back_fail(why, why_size, "%s: cannot be read", path);
        d = digest_bytes(d, in->buffer, n);
        left -= n;
    }
    d = digest_bytes(d, h, sizeof(*h));
    if (!fd_read(in->fd, &want, sizeof(want)) || !digest_same(d, want)) return back_fail(why, why_size, "%s: damaged", path);
    return lseek(in->fd, sizeof(*h), SEEK_SET) >= 0;
}

static bool get(Stream *s, void *data, u64 size) {
    ZSTD_outBuffer out = {data, size, 0};
    while (out.pos < out.size && !s->failed) {
        if (s->in.pos == s->in.size) {
            u64 n = MIN(s->size, (u64)BUFFER);
            s->failed = !n || !fd_read(s->fd, s->buffer, n);
            s->size -= n;
            s->in = (ZSTD_inBuffer){s->buffer, n, 0};
        }
        if (!s->failed) s->failed = ZSTD_isError(ZSTD_decompressStream(s->unpack, &out, &s->in));
    }
    return !s->failed;
}

bool snapshot_differs(const char *saved, const char *now, const char *path, char *why, size_t why_size) {
    while (*saved && *saved == *now) {
        const char *end = strchr(saved, '\n');
        size_t len = end ? (size_t)(end - saved) + 1 : strlen(saved);
        if (strncmp(saved, now, len)) break;
        saved += len;
        now += len;
    }
    if (!*saved && !*now) return false;
    back_fail(why, why_size, "%s: of another machine: it had \"%.*s\", this one has \"%.*s\"", path, (int)strcspn(saved, "\n"), saved, (int)strcspn(now, "\n"), now);
    return true;
}

static bool identity_check(Stream *in, const SnapshotOf *of, const char *path, char *why, size_t why_size) {
    u32 size = 0;
    if (!get(in, &size, sizeof(size)) || size > IDENTITY_MAX) return back_fail(why, why_size, "%s: damaged", path);
    char *saved = back_alloc(size + 1);
    bool ok = get(in, saved, size) || back_fail(why, why_size, "%s: damaged", path);
    ok = ok && !snapshot_differs(saved, of->identity, path, why, why_size);
    free(saved);
    return ok;
}

static bool section_get(Stream *in, const SnapshotOf *of, const SnapshotPart *part, const char *path, char *why, size_t why_size) {
    SectionHead head;
    if (!get(in, &head, sizeof(head)) || strncmp(head.name, part->name, NAME_SIZE) || head.size > SECTION_MAX) return back_fail(why, why_size, "%s: damaged", path);
    if (head.version != part->version) return back_fail(why, why_size, "%s: a snapshot of another version of isomer (%s)", path, part->name);
    State s = {.loading = true, .at = malloc(head.size ? head.size : 1), .size = head.size};
    bool ok = s.at && get(in, s.at, head.size);
    if (ok) part->state(of->ctx, &s);
    ok = ok && !s.bad && s.pos == s.size;
    free(s.at);
    return ok || back_fail(why, why_size, "%s: damaged (%s)", path, part->name);
}

static bool memory_get(Stream *in, const Physical *m) {
    u64 pages = m->ram_size / PAGE_BYTES;
    Run run;
    while (get(in, &run, sizeof(run)) && run.count) {
        if (run.first >= pages || run.count > pages - run.first || !get(in, m->ram + run.first * PAGE_BYTES, run.count * PAGE_BYTES)) return false;
    }
    return !in->failed;
}

/* Devices look at rings in memory only when they go on, after all is loaded: so it may come last. */
static bool body_load(Stream *in, const SnapshotOf *of, const char *path, char *why, size_t why_size) {
    if (!identity_check(in, of, path, why, why_size)) return false;
    for (u32 k = 0; k < of->part_len; k++)
        if (!section_get(in, of, &of->parts[k], path, why, why_size)) return false;
    return memory_get(in, of->memory) || back_fail(why, why_size, "%s: damaged (memory)", path);
}

bool snapshot_load(const char *path, const SnapshotOf *of, char *why, size_t why_size) {
    Header h;
    Stream in = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .buffer = back_alloc(BUFFER), .unpack = ZSTD_createDStream()};
    bool ok = in.fd >= 0 || back_fail(why, why_size, "%s: %s", path, strerror(errno));
    ok = ok && file_check(&in, &h, path, why, why_size);
    in.size = ok ? h.body_size : 0;
    ok = ok && body_load(&in, of, path, why, why_size);
    if (in.fd >= 0) close(in.fd);
    ZSTD_freeDStream(in.unpack);
    free(in.buffer);
    return ok;
}
