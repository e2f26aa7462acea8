/* SPDX-License-Identifier: Apache-2.0 */
/* See perf.h. */
#include "engine/perf.h"
#include "base/sys.h"
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>

typedef struct DumpHeader { /* all fields in the host's byte order */
    u32 magic, version, size, elf_machine, pad, pid;
    u64 timestamp, flags;
} DumpHeader;

typedef struct CodeLoad { /* followed by the name with its NUL, and the code */
    u32 id, size;
    u64 timestamp;
    u32 pid, tid;
    u64 vma, code_addr, code_size, code_index;
} CodeLoad;

static const char MAP[] = "/tmp/perf-%d.map", DUMP[] = "/tmp/jit-%d.dump";

static int open_file(const char *format, int flags) {
    char path[64];
    Text t = text_init(path, sizeof path);
    int pid = (int)sys_call(SYS_getpid);
    if (format == MAP) text_print(&t, MAP, pid);
    else text_print(&t, DUMP, pid);
    return (int)sys_call(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static bool create(const char *format, const void *head, size_t size, void **marker) {
    int fd = open_file(format, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0) return false;
    if (size) sys_call(SYS_write, fd, head, size);
    if (marker) *marker = sys_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    sys_call(SYS_close, fd);
    return true;
}

void perf_begin(Perf *p, bool map, bool dump) {
    if (p->marker && !sys_failed(p->marker)) sys_munmap(p->marker, PAGE_BYTES);
    *p = (Perf){0};
    DumpHeader h = {.magic = 0x4a695444, .version = 1, .size = sizeof h, .elf_machine = EM_X86_64, .pid = (u32)sys_call(SYS_getpid)};
    p->map = map && create(MAP, NULL, 0, NULL);
    p->dump = dump && create(DUMP, &h, sizeof h, &p->marker);
}

static void note_map(const char *name, const void *code, u32 size) {
    int fd = open_file(MAP, O_WRONLY | O_APPEND);
    if (fd < 0) return;
    fd_print(fd, "%lx %x %s\n", (u64)code, size, name);
    sys_call(SYS_close, fd);
}

static void note_dump(Perf *p, const char *what, const void *code, u32 size, u64 now_ns) {
    struct {
        CodeLoad load;
        char name[PERF_NAME];
    } r;
    Text name = text_init(r.name, sizeof r.name);
    text_print(&name, "%s", what);
    u32 pid = (u32)sys_call(SYS_getpid), head = (u32)(sizeof(CodeLoad) + name.len + 1);
    r.load = (CodeLoad){.size = head + size, .timestamp = now_ns, .pid = pid, .tid = (u32)sys_call(SYS_gettid), .vma = (u64)code, .code_addr = (u64)code, .code_size = size, .code_index = p->index++};
    int fd = open_file(DUMP, O_WRONLY | O_APPEND);
    if (fd < 0) return;
    sys_call(SYS_write, fd, &r, head);
    sys_call(SYS_write, fd, code, size);
    sys_call(SYS_close, fd);
}

void perf_note(Perf *p, const char *name, const void *code, u32 size, u64 now_ns) {
    if (p->map) note_map(name, code, size);
    if (p->dump) note_dump(p, name, code, size, now_ns);
}
