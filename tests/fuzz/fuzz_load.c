/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels and firmware from anywhere: Image, ELF, gzip, EFI zboot. Loading says yes or why not, and what it says lies in memory. The bytes overwrite the heads of
 * good small files of each kind. */
#include "machine/load.h"
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <zlib.h>

enum { RAM = 1 << 20, BASE = 0x80000000u, KINDS = 5, SIZE = 1024 };

static Physical memory;

static void image_make(u8 *f) {
    memcpy(f, "MZ", 2);
    f[17] = 0x10; /* 4 KiB in all */
    memcpy(f + 56, "RSC\x05", 4);
}

static void elf_make(u8 *f) {
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', 2, 1, 1}, .e_type = ET_EXEC, .e_machine = 243, .e_version = 1, .e_entry = BASE + 0x1010, .e_phoff = 64,
                    .e_ehsize = 64, .e_phentsize = 56, .e_phnum = 2};
    Elf64_Phdr p[2] = {{.p_type = PT_LOAD, .p_offset = 256, .p_vaddr = BASE + 0x1000, .p_paddr = BASE + 0x1000, .p_filesz = 100, .p_memsz = 9000},
                       {.p_type = PT_LOAD, .p_offset = 512, .p_vaddr = BASE + 0x8000, .p_paddr = BASE + 0x8000, .p_filesz = 0, .p_memsz = 64}};
    memcpy(f, &h, sizeof(h));
    memcpy(f + 64, p, sizeof(p));
}

static u32 pack(const u8 *from, u8 *to) {
    z_stream z = {.next_in = (u8 *)from, .avail_in = SIZE, .next_out = to, .avail_out = SIZE};
    if (deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END) BUG("zlib");
    deflateEnd(&z);
    return (u32)z.total_out;
}

/* The file in `f`; its size. */
static u32 file_make(u32 kind, u8 *f) {
    u8 plain[SIZE] = {0};
    memset(f, 0, SIZE);
    if (kind == 0) return SIZE;
    (kind & 1 ? image_make : elf_make)(plain);
    if (kind < 3) return memcpy(f, plain, SIZE), SIZE;
    if (kind == 3) return pack(plain, f);
    u32 offset = 128, size = pack(plain, f + offset);
    memcpy(f, "MZ\0\0zimg", 8);
    memcpy(f + 8, &offset, 4);
    memcpy(f + 12, &size, 4);
    memcpy(f + 24, "gzip", 4);
    return offset + size;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static u8 file[SIZE];
    char why[256] = "";
    Loaded out = {0};
    if (!memory.ram && physical_init(&memory, BASE, RAM)) BUG("no memory");
    if (size < 2) return 0;
    u32 len = file_make(data[0] % KINDS, file);
    size_t at = 2;
    for (u32 changes = data[1] % 16; changes && at + 3 <= size; changes--, at += 3) file[(data[at] | data[at + 1] << 8) % (at & 1 ? 192 : SIZE)] = data[at + 2];
    if (at < size) len = MIN(len, 4u * data[at] + 1);
    u8 *exact = malloc(len); /* so that a sanitizer sees what is read behind it */
    memcpy(exact, file, len);
    bool good = load_bytes(&memory, "fuzz", exact, len, BASE + 0x20000, &out, why, sizeof(why));
    free(exact);
    FUZZ_CHECK(good || why[0], "an empty reason");
    if (good) FUZZ_CHECK(out.start < out.end && physical_ram(&memory, out.start, out.end - out.start), "it was put where there is no memory");
    return 0;
}
