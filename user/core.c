/* SPDX-License-Identifier: Apache-2.0 */
/* user/core: bodies. See core.h; the layout is that of fs/binfmt_elf.c (elf_core_dump). */
#include "user/core.h"
#include "base/sys.h"
#include "user/signal.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>

bool core_signal(int sig) {
    return sig_bit(sig) & (sig_bit(SIGQUIT) | sig_bit(SIGILL) | sig_bit(SIGTRAP) | sig_bit(SIGABRT) | sig_bit(SIGBUS) |
                           sig_bit(SIGFPE) | sig_bit(SIGSEGV) | sig_bit(SIGXCPU) | sig_bit(SIGXFSZ) | sig_bit(SIGSYS));
}

/* --- where it goes --------------------------------------------------------------------------------------- */

static size_t read_line(const char *path, char *buf, size_t size) {
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? 0 : sys_call(SYS_read, fd, buf, size - 1);
    if (fd >= 0) sys_call(SYS_close, fd);
    if (n < 0) n = 0;
    while (n > 0 && buf[n - 1] == '\n') n--;
    buf[n] = 0;
    return (size_t)n;
}

static void print_field(Process *p, Text *out, char c, int sig) {
    const char *slash = strrchr(p->exe, '/');
    switch (c) {
    case '%': text_char(out, '%'); break;
    case 'p': case 'P': case 'i': case 'I': text_print(out, "%ld", sys_call(SYS_getpid)); break;
    case 'u': text_print(out, "%ld", sys_call(SYS_getuid)); break;
    case 'g': text_print(out, "%ld", sys_call(SYS_getgid)); break;
    case 's': text_print(out, "%d", sig); break;
    case 't': text_print(out, "%ld", sys_call(SYS_time, 0)); break;
    case 'e': case 'f': text_print(out, "%.15s", slash ? slash + 1 : p->exe); break;
    }
}

/* The name that core_pattern gives. False: cores go to a program. */
static bool core_name(Process *p, Text *out, int sig) {
    char pattern[256], uses_pid[8];
    if (!read_line("/proc/sys/kernel/core_pattern", pattern, sizeof pattern)) text_print(out, "core");
    if (pattern[0] == '|' || pattern[0] == '@') return false;
    bool has_pid = false;
    for (const char *s = pattern; *s; s++) {
        if (*s != '%') {
            text_char(out, *s);
            continue;
        }
        has_pid |= *++s == 'p';
        if (!*s) break;
        print_field(p, out, *s, sig);
    }
    read_line("/proc/sys/kernel/core_uses_pid", uses_pid, sizeof uses_pid);
    if (!has_pid && uses_pid[0] == '1') text_print(out, ".%ld", sys_call(SYS_getpid));
    return true;
}

/* --- notes -------------------------------------------------------------------------------------------------- */

typedef struct Notes {
    u8 at[8192];
    u32 len;
} Notes;

/* owner: whose numbers the types are; at most seven letters. */
static void note_add(Notes *n, const char *owner, u32 type, const void *data, u32 size) {
    Elf64_Nhdr h = {.n_namesz = (u32)strlen(owner) + 1, .n_descsz = size, .n_type = type};
    u32 need = sizeof h + 8 + (u32)align_up(size, 4);
    if (n->len + need > sizeof n->at) return;
    memcpy(n->at + n->len, &h, sizeof h);
    memcpy(n->at + n->len + sizeof h, owner, h.n_namesz);
    memcpy(n->at + n->len + sizeof h + 8, data, size);
    n->len += need;
}

typedef struct CoreStatus { /* struct elf_prstatus, before and after the registers */
    i32 signo, code, error;
    i16 cursig;
    u64 pending, held;
    i32 pid, ppid, pgrp, sid;
    u64 times[8];
} CoreStatus;

typedef struct CoreInfo { /* struct elf_prpsinfo */
    char state, sname, zombie, nice;
    u64 flags;
    u32 uid, gid;
    i32 pid, ppid, pgrp, sid;
    char name[16], args[80];
} CoreInfo;
_Static_assert(sizeof(CoreStatus) == 112 && sizeof(CoreInfo) == 136, "structures of a 64-bit core");

static void note_status(Notes *n, Thread *t, int sig, const u8 info[128]) {
    u8 status[1024] = {0};
    CoreStatus s = {.signo = sig, .cursig = (i16)sig, .held = t->mask, .pid = (i32)sys_call(SYS_gettid),
                    .ppid = (i32)sys_call(SYS_getppid), .pgrp = (i32)sys_call(SYS_getpgid, 0),
                    .sid = (i32)sys_call(SYS_getsid, 0)};
    memcpy(&s.code, info + 8, 4);
    memcpy(status, &s, sizeof s);
    u32 size = sizeof s + t->process->abi->core_regs(t->cpu, status + sizeof s);
    i32 fp_valid = 1;
    memcpy(status + size, &fp_valid, 4);
    note_add(n, "CORE", NT_PRSTATUS, status, size + 8);
}

static void note_info(Notes *n, Process *p) {
    CoreInfo i = {.sname = 'R', .uid = (u32)sys_call(SYS_getuid), .gid = (u32)sys_call(SYS_getgid),
                  .pid = (i32)sys_call(SYS_getpid), .ppid = (i32)sys_call(SYS_getppid),
                  .pgrp = (i32)sys_call(SYS_getpgid, 0), .sid = (i32)sys_call(SYS_getsid, 0)};
    const char *slash = strrchr(p->exe, '/');
    Text name = text_init(i.name, sizeof i.name);
    text_print(&name, "%s", slash ? slash + 1 : p->exe);
    u64 size = MIN(p->arg_end - p->arg_start, sizeof i.args - 1);
    if (guest_read(i.args, p->arg_start, size) < 0) size = 0;
    for (u64 k = 0; k + 1 < size; k++)
        if (!i.args[k]) i.args[k] = ' ';
    note_add(n, "CORE", NT_PRPSINFO, &i, sizeof i);
}

static void make_notes(Notes *n, Thread *t, int sig, const u8 info[128]) {
    u8 regs[1024];
    u32 size = t->process->abi->core_fpregs(t->cpu, regs);
    note_status(n, t, sig, info);
    note_info(n, t->process);
    note_add(n, "CORE", NT_SIGINFO, info, 128);
    u8 auxv[1024];
    u32 auxv_size = MIN(t->process->auxv_size, (u32)sizeof auxv);
    if (guest_read(auxv, (u64)t->process->auxv, auxv_size) == 0) note_add(n, "CORE", NT_AUXV, auxv, auxv_size);
    note_add(n, "CORE", NT_FPREGSET, regs, size);
    size = t->process->abi->core_extra(t->cpu, regs);
    if (size) note_add(n, "LINUX", t->process->abi->extra_note, regs, size);
}

/* --- memory ---------------------------------------------------------------------------------------------------- */

/* How many bytes of a mapping the core holds; as with the kernel's default coredump_filter. */
static u64 dumped_size(const Vma *v) {
    bool file = v->kind == VMA_FILE && !(v->flags & VMA_WRITTEN);
    if (!v->prot || (v->kind == VMA_FILE && (v->flags & VMA_SHARED))) return 0;
    if (!file) return v->end - v->start;
    char magic[SELFMAG];
    bool elf = v->offset == 0 && guest_read(magic, v->start, SELFMAG) == 0 && !memcmp(magic, ELFMAG, SELFMAG);
    return elf ? PAGE_BYTES : 0;
}

/* Untouched pages become holes of the file. */
static void write_pages(int fd, u64 at, u64 size, u64 offset) {
    u8 present[256];
    for (u64 done = 0; done < size;) {
        u64 part = MIN(size - done, sizeof present * PAGE_BYTES);
        if (sys_call(SYS_mincore, at + done, part, present) < 0) memset(present, 1, sizeof present);
        for (u64 page = 0; page < part / PAGE_BYTES; page++)
            if (present[page] & 1) sys_call(SYS_pwrite64, fd, at + done + page * PAGE_BYTES, PAGE_BYTES, offset + done + page * PAGE_BYTES);
        done += part;
    }
}

typedef VEC(Vma) Vmas;

static void list_vmas(Process *p, u64 sp, Vmas *out) {
    Vma v;
    for (u64 at = 0; space_find(&p->space, at, &v); at = v.end) {
        u64 used = align_down(sp, PAGE_BYTES);
        if (v.kind == VMA_STACK && used > v.start && used < v.end) v.start = used; /* mapped to its limit, used from here */
        vec_push(out, v);
    }
}

static Elf64_Phdr segment_of(const Vma *v, u64 offset) {
    Elf64_Phdr h = {.p_type = PT_LOAD, .p_offset = offset, .p_vaddr = v->start, .p_filesz = dumped_size(v),
                    .p_memsz = v->end - v->start, .p_align = PAGE_BYTES};
    h.p_flags = ((v->prot & PROT_READ) ? PF_R : 0u) | ((v->prot & PROT_WRITE) ? PF_W : 0u) | ((v->prot & PROT_EXEC) ? PF_X : 0u);
    return h;
}

static void write_core(Thread *t, int fd, int sig, const u8 info[128]) {
    Process *p = t->process;
    Vmas vmas = {0};
    list_vmas(p, p->abi->sp_get(t->cpu), &vmas);
    Notes notes;
    notes.len = 0;
    memset(notes.at, 0, sizeof notes.at);
    make_notes(&notes, t, sig, info);
    Elf64_Ehdr h = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                    .e_type = ET_CORE, .e_machine = p->abi->elf_machine, .e_flags = p->abi->elf_flags, .e_version = EV_CURRENT, .e_phoff = sizeof h,
                    .e_ehsize = sizeof h, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = (u16)MIN(vmas.len + 1, 65000u)};
    u64 at = sizeof h + h.e_phnum * sizeof(Elf64_Phdr);
    Elf64_Phdr note = {.p_type = PT_NOTE, .p_offset = at, .p_filesz = notes.len, .p_align = 4};
    sys_call(SYS_pwrite64, fd, &h, sizeof h, 0);
    sys_call(SYS_pwrite64, fd, &note, sizeof note, sizeof h);
    sys_call(SYS_pwrite64, fd, notes.at, notes.len, at);
    at = align_up(at + notes.len, PAGE_BYTES);
    for (u32 i = 0; i + 1 < h.e_phnum && at < p->core_limit; i++) {
        Elf64_Phdr s = segment_of(&vmas.at[i], at);
        sys_call(SYS_pwrite64, fd, &s, sizeof s, sizeof h + (i + 1) * sizeof s);
        write_pages(fd, s.p_vaddr, MIN(s.p_filesz, p->core_limit - at), at);
        at += s.p_filesz;
    }
    sys_call(SYS_ftruncate, fd, MIN(at, p->core_limit));
    vec_drop(&vmas);
}

/* --- the wait status ------------------------------------------------------------------------------------------------ */

/* Lets the host's kernel dump an empty core into a file system of this thread's own, which goes with it: that is what
 * sets the status bit. Takes privileges; without them the bit stays clear. */
static void let_host_dump(Process *p) {
    if (sys_call(SYS_unshare, CLONE_NEWNS | CLONE_FS) < 0) return;
    if (sys_call(SYS_mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0) < 0) return;
    int filter = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (filter < 0 || sys_call(SYS_write, filter, "0", 1) != 1) return;
    if (sys_call(SYS_mount, "none", "/", "tmpfs", 0, "size=1m") < 0) return;
    if (sys_call(SYS_chroot, "/..") < 0 || sys_call(SYS_chdir, "/") < 0) return;
    struct rlimit l;
    if (sys_call(SYS_getrlimit, RLIMIT_CORE, &l) < 0) return;
    l.rlim_cur = MIN(l.rlim_max, MIN(p->core_limit, MIB(1)));
    sys_call(SYS_setrlimit, RLIMIT_CORE, &l);
}

void core_dump(Thread *t, int sig, const u8 info[128]) {
    Process *p = t->process;
    char name[512];
    Text text = text_init(name, sizeof name);
    if (!p->core_limit || !core_signal(sig) || t->shares_parent || !core_name(p, &text, sig)) return;
    int fd = (int)sys_call(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return;
    write_core(t, fd, sig, info);
    sys_call(SYS_close, fd);
    if (!strchr(name, '/')) let_host_dump(p);
}
