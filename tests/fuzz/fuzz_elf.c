/* SPDX-License-Identifier: Apache-2.0 */
/* ELF headers from anywhere: elf_read says yes or why not. The bytes overwrite a good header, byte by byte. */
#include "base/sys.h"
#include "tests/fuzz/fuzz.h"
#include "user/elf.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void good(u8 *file) {
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', 2, 1, 1}, .e_type = ET_EXEC, .e_machine = 243, .e_version = 1,
                    .e_entry = 0x11000, .e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56, .e_phnum = 2};
    Elf64_Phdr p[2] = {{.p_type = PT_INTERP, .p_offset = 0x800, .p_filesz = 8, .p_memsz = 8, .p_flags = PF_R},
                       {.p_type = PT_LOAD, .p_offset = 0x1000, .p_vaddr = 0x11000, .p_filesz = 100, .p_memsz = 9000,
                        .p_flags = PF_R | PF_X, .p_align = 0x1000}};
    memcpy(file, &h, sizeof(h));
    memcpy(file + 64, p, sizeof(p));
    memcpy(file + 0x800, "/lib/ld", 8);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static u8 file[8192];
    static Arena arena;
    static ElfFile f;
    if (size < 2) return 0;
    good(file);
    for (size_t i = 1; i + 1 < size && i < (size_t)data[0] % 16 * 2; i += 2) file[data[i] % 176] = data[i + 1];
    int fd = memfd_create("elf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file, sizeof(file)) != (ssize_t)sizeof(file)) return 0;
    const char *why = elf_read(&f, fd, 243, &arena);
    FUZZ_CHECK(!why || *why, "an empty reason");
    if (!why) {
        FUZZ_CHECK(f.first < f.last && !(f.first & 4095) && !(f.last & 4095), "extent");
        FUZZ_CHECK(memchr(f.interp, 0, sizeof(f.interp)), "interpreter's name has no end");
    }
    elf_kind(file, sizeof(file), 243);
    arena_reset(&arena);
    close(fd);
    return 0;
}
