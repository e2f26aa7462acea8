/* SPDX-License-Identifier: Apache-2.0 */
/* Files to memory: machine/load.h. Formats: Linux's Documentation/arch/riscv/boot-image-header.rst, drivers/firmware/efi/libstub/zboot, ELF, RFC 1952. */
#include "machine/load.h"
#include "back/back.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { ALIGNMENT = 2 << 20, MACHINE_RISCV = 243 };

typedef struct Load {
    Physical *p;
    const char *name;
    u64 at;
    Loaded *out;
    char *why;
    size_t why_size;
} Load;

#define FAIL(l, ...) back_fail((l)->why, (l)->why_size, __VA_ARGS__)

/* --- files -------------------------------------------------------------------------------- */

static bool read_all(int fd, u8 *to, u64 size) {
    for (u64 done = 0; done < size;) {
        ssize_t n = read(fd, to + done, size - done);
        if (n <= 0 && !(n < 0 && errno == EINTR)) return false;
        done += n > 0 ? (u64)n : 0;
    }
    return true;
}

/* The whole file in memory of its own, at most `most` bytes. NULL: why. */
static u8 *file_read(const char *path, u64 most, u64 *size, char *why, size_t why_size) {
    struct stat st;
    u8 *data = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        back_fail(why, why_size, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        back_fail(why, why_size, "%s: not a file", path);
    } else if ((u64)st.st_size > most) {
        back_fail(why, why_size, "%s: larger than the machine's memory", path);
    } else {
        *size = (u64)st.st_size;
        data = malloc(*size ? *size : 1);
        if (!data || !read_all(fd, data, *size)) {
            back_fail(why, why_size, "%s: cannot be read", path);
            free(data);
            data = NULL;
        }
    }
    if (fd >= 0) close(fd);
    return data;
}

/* --- ELF ---------------------------------------------------------------------------------- */

static bool elf_segment(Load *l, const u8 *data, u64 size, const Elf64_Phdr *h) {
    if (h->p_offset > size || h->p_filesz > size - h->p_offset || h->p_filesz > h->p_memsz)
        return FAIL(l, "%s: a damaged ELF file", l->name);
    u8 *ram = physical_ram(l->p, h->p_paddr, h->p_memsz);
    if (!ram) return FAIL(l, "%s: wants memory at %#llx, where there is none", l->name, (unsigned long long)h->p_paddr);
    memcpy(ram, data + h->p_offset, h->p_filesz);
    memset(ram + h->p_filesz, 0, h->p_memsz - h->p_filesz);
    physical_written(l->p, h->p_paddr, h->p_memsz);
    l->out->start = MIN(l->out->start, h->p_paddr);
    l->out->end = MAX(l->out->end, h->p_paddr + h->p_memsz);
    return true;
}

/* The entry is an address of the kernel's own space if segments are linked there; it is given as the physical one. */
static u64 elf_entry(u64 entry, const Elf64_Phdr *h) {
    return entry - h->p_vaddr < h->p_memsz ? entry - h->p_vaddr + h->p_paddr : 0;
}

static bool elf_load(Load *l, const u8 *data, u64 size) {
    Elf64_Ehdr e;
    Elf64_Phdr h;
    memcpy(&e, data, sizeof(e));
    if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_ident[EI_DATA] != ELFDATA2LSB || e.e_machine != MACHINE_RISCV)
        return FAIL(l, "%s: an ELF file, but not of riscv64", l->name);
    if (e.e_phentsize != sizeof(h) || e.e_phoff > size || e.e_phnum > (size - e.e_phoff) / sizeof(h))
        return FAIL(l, "%s: a damaged ELF file", l->name);
    *l->out = (Loaded){.start = ~0ull, .entry = e.e_entry};
    u64 entry = 0;
    for (u32 i = 0; i < e.e_phnum; i++) {
        memcpy(&h, data + e.e_phoff + i * sizeof(h), sizeof(h));
        if (h.p_type != PT_LOAD || !h.p_memsz) continue;
        if (!elf_segment(l, data, size, &h)) return false;
        if (!entry) entry = elf_entry(e.e_entry, &h);
    }
    if (entry) l->out->entry = entry;
    return l->out->end || FAIL(l, "%s: an ELF file with nothing to load", l->name);
}

/* --- flat files --------------------------------------------------------------------------- */

/* Linux's Image says how much memory it takes in all; others take their size. */
static u64 image_size(const u8 *data, u64 size) {
    u64 claimed = 0;
    if (size < 64 || memcmp(data + 56, "RSC\x05", 4)) return size;
    memcpy(&claimed, data + 16, 8);
    return MAX(claimed, size);
}

static bool flat_load(Load *l, const u8 *data, u64 size) {
    u64 all = image_size(data, size);
    if (!physical_ram(l->p, l->at, all)) return FAIL(l, "%s: %llu MiB are too much for the machine's memory", l->name, (unsigned long long)(all >> 20));
    physical_write(l->p, l->at, data, size);
    *l->out = (Loaded){l->at, l->at + all, l->at};
    return true;
}

/* --- compressed files --------------------------------------------------------------------- */

static bool plain_load(Load *l, const u8 *data, u64 size) {
    if (size >= sizeof(Elf64_Ehdr) && !memcmp(data, ELFMAG, SELFMAG)) return elf_load(l, data, size);
    return size ? flat_load(l, data, size) : FAIL(l, "%s: empty", l->name);
}

static u64 gzip_expand(const u8 *data, u64 size, u8 *to, u64 room) {
    z_stream z = {.next_in = (u8 *)data, .avail_in = (uInt)MIN(size, 0xffffffffu), .next_out = to, .avail_out = (uInt)MIN(room, 0xffffffffu)};
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) return 0;
    int end = inflate(&z, Z_FINISH);
    u64 got = z.total_out;
    inflateEnd(&z);
    return end == Z_STREAM_END ? got : 0;
}

static u64 zstd_expand(const u8 *data, u64 size, u8 *to, u64 room) {
    size_t got = ZSTD_decompress(to, room, data, size);
    return ZSTD_isError(got) ? 0 : got;
}

/* Expands into memory of the machine's size: more would not fit anyway. Untouched pages of that cost nothing. */
static bool packed_load(Load *l, const u8 *data, u64 size, u64 (*expand)(const u8 *, u64, u8 *, u64)) {
    u8 *to = malloc(l->p->ram_size);
    u64 got = to ? expand(data, size, to, l->p->ram_size) : 0;
    bool ok = got ? plain_load(l, to, got) : FAIL(l, "%s: damaged, or larger than the machine's memory when expanded", l->name);
    free(to);
    return ok;
}

static bool is_gzip(const u8 *data, u64 size) { return size > 18 && data[0] == 0x1f && data[1] == 0x8b; }
static bool is_zboot(const u8 *data, u64 size) { return size > 64 && data[0] == 'M' && data[1] == 'Z' && !memcmp(data + 4, "zimg", 4); }

static bool zboot_load(Load *l, const u8 *data, u64 size) {
    u32 offset, len;
    memcpy(&offset, data + 8, 4);
    memcpy(&len, data + 12, 4);
    if (offset > size || len > size - offset) return FAIL(l, "%s: a damaged EFI kernel", l->name);
    if (!memcmp(data + 24, "gzip", 5)) return packed_load(l, data + offset, len, gzip_expand);
    /* The compressed size is followed by the expanded one, 4 bytes that are none of the frame. */
    if (!memcmp(data + 24, "zstd", 5) || !memcmp(data + 24, "zstd22", 7)) {
        size_t frame = ZSTD_findFrameCompressedSize(data + offset, len);
        return packed_load(l, data + offset, ZSTD_isError(frame) ? 0 : frame, zstd_expand);
    }
    return FAIL(l, "%s: an EFI kernel compressed by %.*s, which is not known", l->name, 16, (const char *)data + 24);
}

bool load_bytes(Physical *p, const char *name, const u8 *data, u64 size, u64 at, Loaded *out, char *why, size_t why_size) {
    Load l = {p, name, at, out, why, why_size};
    if (is_gzip(data, size)) return packed_load(&l, data, size, gzip_expand);
    if (is_zboot(data, size)) return zboot_load(&l, data, size);
    return plain_load(&l, data, size);
}

bool load_program(Physical *p, const char *path, u64 at, Loaded *out, char *why, size_t why_size) {
    u64 size = 0;
    u8 *data = file_read(path, p->ram_size, &size, why, why_size);
    bool ok = data && load_bytes(p, path, data, size, at, out, why, why_size);
    free(data);
    return ok;
}

bool load_below(Physical *p, const char *path, u64 floor, u64 end, Loaded *out, char *why, size_t why_size) {
    u64 size = 0;
    u8 *data = file_read(path, p->ram_size, &size, why, why_size);
    if (!data) return false;
    u64 at = size < end ? align_down(end - size, ALIGNMENT) : 0;
    bool ok = at >= floor && physical_write(p, at, data, size);
    *out = (Loaded){at, at + size, at};
    free(data);
    return ok || back_fail(why, why_size, "%s: does not fit into the machine's memory", path);
}

bool load_digest(const char *path, Digest *out, char *why, size_t why_size) {
    enum { PART = 256 << 10 };
    u8 *part = back_alloc(PART);
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *out = (Digest){0};
    while (fd >= 0 && ((n = read(fd, part, PART)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0) *out = digest_bytes(*out, part, (size_t)n);
    if (n < 0) back_fail(why, why_size, "%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    free(part);
    return n == 0;
}
