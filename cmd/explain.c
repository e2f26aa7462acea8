/* SPDX-License-Identifier: Apache-2.0 */
/* isomer explain: guest instructions at each stage of their life: bits, assembly, IR as lifted, IR as the quick compiler
 * leaves it (dead code and dead puts gone), host code. The last is disassembled by objdump where binutils are installed;
 * without it the bytes are shown. */
#include "cmd/explain.h"
#include "cmd/explain_file.h"
#include "host/host.h"
#include "isa/riscv/riscv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXPLAIN_PC = 0x10000, CODE_MAX = 256, TEXT_MAX = 1 << 20, HOST_MAX = 1 << 16 };

static void usage(FILE *to) {
    fprintf(to, "usage: isomer explain HEX...\n"
                "       isomer explain PROGRAM FUNCTION|ADDRESS [-v]\n\n"
                "  HEX is an instruction of 16 or 32 bits as objdump prints it, for example 00b50533 or 852e; several make one block.\n"
                "  Shows: bits and assembly, IR, IR after the backward pass, x86-64 code.\n"
                "  PROGRAM is a file, named with a slash: shows what the optimiser makes of a function's loops, and with -v the IR and the code.\n");
}

static int print_assembly(const Guest *g, const u8 *code, size_t size) {
    for (size_t at = 0; at < size;) {
        char buf[128];
        Text t = text_init(buf, sizeof buf);
        unsigned len = g->disasm(EXPLAIN_PC + at, code + at, size - at, &t);
        u32 bits = 0;
        memcpy(&bits, code + at, len < 4 ? len : 4);
        printf("%8zx:  %0*x%*s  %s\n", EXPLAIN_PC + at, (int)len * 2, bits, 8 - (int)len * 2, "", buf);
        at += len;
    }
    return 0;
}

static void print_ir(const IrFunc *f, const char *title) {
    static char buf[TEXT_MAX];
    Text t = text_init(buf, sizeof buf);
    ir_print(f, &t);
    printf("\n%s\n%s", title, buf);
}

static void print_bytes(const u8 *p, size_t size) {
    for (size_t k = 0; k < size; k++) printf("%s%02x", k % 16 ? " " : k ? "\n  " : "  ", p[k]);
    printf("\n");
}

/* Through a temporary file and objdump; false if that is not to be had. */
static bool print_disassembly(const u8 *p, size_t size) {
    char path[] = "/tmp/isomer-explain-XXXXXX", command[160];
    int fd = mkstemp(path);
    if (fd < 0) return false;
    bool ok = write(fd, p, size) == (ssize_t)size;
    close(fd);
    snprintf(command, sizeof command, "objdump -D -b binary -m i386:x86-64 -M intel %s 2>/dev/null | sed -n 's/^ *\\([0-9a-f]*:\\)/  \\1/p'", path);
    fflush(stdout);
    ok = ok && system("command -v objdump >/dev/null 2>&1") == 0 && system(command) == 0;
    unlink(path);
    return ok;
}

static int parse_code(int argc, char **argv, u8 *code, size_t *size) {
    *size = 0;
    for (int k = 1; k < argc; k++) {
        char *end;
        unsigned long v = strtoul(argv[k], &end, 16);
        size_t digits = (size_t)(end - argv[k]);
        if (*end || !digits || v > 0xffffffff || *size + 4 > CODE_MAX) {
            fprintf(stderr, "isomer: explain: '%s' is not an instruction of 4 or 8 hexadecimal digits\n", argv[k]);
            return 2;
        }
        size_t len = (v & 3) == 3 ? 4 : 2;
        memcpy(code + *size, &v, len);
        *size += len;
    }
    return 0;
}

int cmd_explain(int argc, char **argv) {
    if (argc < 2) return usage(stderr), 2;
    if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) return usage(stdout), 0;
    if (strchr(argv[1], '/')) return explain_file(argc - 1, argv + 1);
    const Guest *g = &riscv_guest;
    const Host *host = &host_x64;
    u8 code[CODE_MAX];
    size_t size;
    int status = parse_code(argc, argv, code, &size);
    if (status) return status;
    const char *error = host->init(NULL);
    if (error) return fprintf(stderr, "isomer: %s\n", error), 1;
    static IrFunc f;
    print_assembly(g, code, size);
    ir_reset(&f, g, EXPLAIN_PC, 0);
    for (size_t at = 0; at < size && !f.closed;) {
        unsigned len = g->lift(&f, EXPLAIN_PC + at, code + at, size - at);
        if (!len) break;
        at += len;
    }
    if (!f.closed) ir_exit(&f, EXPLAIN_PC + size);
    print_ir(&f, "IR:");
    u8 *memory = mmap(NULL, 2 * HOST_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return perror("isomer: explain"), 1;
    HostStubs stubs;
    host->make_stubs(g, memory, memory, &stubs);
    static HostCode out;
    out.rw = memory + HOST_MAX, out.rx = out.rw, out.cap = HOST_MAX;
    if (!host->compile(&stubs, &f, &out)) return fprintf(stderr, "isomer: explain: the block is too large\n"), 1;
    print_ir(&f, "IR, dead code and dead puts removed:");
    printf("\n%s code, %zu bytes (exits not linked yet):\n", host->name, out.size);
    fflush(stdout);
    if (!print_disassembly(out.rw, out.size)) print_bytes(out.rw, out.size);
    return 0;
}
