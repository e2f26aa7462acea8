/* SPDX-License-Identifier: Apache-2.0 */
/* isomer binfmt doctor: why a foreign program does not start. Each thing that must hold is looked at in the order in which the kernel does, and for each
 * that does not hold one line says what to do. What the kernel really does is asked by a program of three instructions. */
#include "cmd/binfmt.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Doctor {
    const BinfmtArch *arch;
    u32 problems;
} Doctor;

static void good(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("ok: ");
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

/* `fix` on a line of its own. */
static void bad(Doctor *d, const char *fix, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("problem: ");
    vprintf(fmt, ap);
    printf("\n    to mend it: %s\n", fix);
    va_end(ap);
    d->problems++;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

typedef struct File {
    int fd;
    size_t size; /* of head */
    u8 head[4096];
    char interp[PATH_MAX]; /* PT_INTERP; "": none */
} File;

static const char *machine_name(u16 machine) {
    static const struct { u16 machine; const char *name; } names[] = {
        {EM_X86_64, "x86-64"}, {EM_386, "i386"}, {EM_AARCH64, "arm64"}, {EM_ARM, "arm"}, {EM_RISCV, "riscv"}, {EM_PPC64, "ppc64"}, {EM_S390, "s390"}, {EM_MIPS, "mips"}, {258, "loongarch"},
    };
    for (u32 k = 0; k < ARRAY_LEN(names); k++)
        if (names[k].machine == machine) return names[k].name;
    return "another machine";
}

static void read_interp(File *f, const Elf64_Ehdr *h) {
    for (u32 k = 0; k < h->e_phnum && k < 64; k++) {
        Elf64_Phdr p;
        if (pread(f->fd, &p, sizeof p, (off_t)(h->e_phoff + k * sizeof p)) != sizeof p) return;
        if (p.p_type != PT_INTERP || p.p_filesz >= sizeof f->interp) continue;
        if (pread(f->fd, f->interp, p.p_filesz, (off_t)p.p_offset) != (ssize_t)p.p_filesz) f->interp[0] = 0;
    }
}

static bool file_open(File *f, const char *path) {
    *f = (File){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    ssize_t n = f->fd < 0 ? -1 : pread(f->fd, f->head, sizeof f->head - 1, 0);
    if (n < 0) return false;
    f->size = (size_t)n;
    Elf64_Ehdr h;
    memcpy(&h, f->head, sizeof h);
    if (f->size >= sizeof h && !memcmp(h.e_ident, ELFMAG, SELFMAG) && h.e_ident[EI_CLASS] == ELFCLASS64) read_interp(f, &h);
    return true;
}

/* --- the table ------------------------------------------------------------------------------------------------------ */

static bool check_table(Doctor *d) {
    char map[256];
    unsigned long count = 0;
    if (cli_read_file("/proc/self/uid_map", map, sizeof map) < 0) return bad(d, "mount -t proc proc /proc", "/proc is not mounted here"), false;
    if (sscanf(map, "%*u %*u %lu", &count) == 1 && count != 4294967295ul)
        good("this is a user namespace: it has a table of its own if one was mounted in it, else the host's counts");
    if (!binfmt_mounted()) {
        if (access(BINFMT_DIR, F_OK) < 0) bad(d, "modprobe binfmt_misc", "the kernel has no binfmt_misc");
        else bad(d, "isomer binfmt install (which mounts it), or mount -t binfmt_misc binfmt_misc " BINFMT_DIR, "binfmt_misc is not mounted at " BINFMT_DIR " (in a container: see on the host)");
        return false;
    }
    if (binfmt_enabled()) good("binfmt_misc is mounted and switched on");
    else bad(d, "echo 1 > " BINFMT_DIR "/status", "binfmt_misc is switched off as a whole");
    return true;
}

static void check_interpreter(Doctor *d, const BinfmtEntry *e) {
    File f;
    bool fixed = strchr(e->flags, 'F');
    if (!file_open(&f, e->interpreter)) {
        if (!fixed) bad(d, "isomer binfmt install", "%s: its interpreter %s cannot be opened here: %s", e->name, e->interpreter, strerror(errno));
        return;
    }
    if (access(e->interpreter, X_OK) < 0) bad(d, "chmod +x that file", "%s: its interpreter %s cannot be executed", e->name, e->interpreter);
    if (f.interp[0]) bad(d, "isomer binfmt install, whose interpreter is static", "%s: its interpreter %s is dynamically linked, and finds no libraries in foreign roots", e->name, e->interpreter);
    close(f.fd);
    if (!fixed) bad(d, "isomer binfmt install --flags " BINFMT_FLAGS, "%s lacks the flag F: %s must exist in every root and container", e->name, e->interpreter);
}

static void check_entries(Doctor *d) {
    static BinfmtEntry entries[BINFMT_ENTRIES];
    u32 len = binfmt_find(d->arch, entries), enabled = 0;
    if (!len) bad(d, "isomer binfmt install (without root: isomer binfmt run COMMAND)", "nothing is registered for %s programs", d->arch->name);
    for (u32 k = 0; k < len; k++) {
        BinfmtEntry *e = &entries[k];
        enabled += e->enabled;
        if (!e->enabled) bad(d, "isomer binfmt install, or echo 1 > the entry's file in " BINFMT_DIR, "%s is disabled", e->name);
        else good("%s: %s, flags %s", e->name, e->interpreter, e->flags[0] ? e->flags : "none");
        if (e->enabled) check_interpreter(d, e);
    }
    if (enabled > 1) good("%u entries are enabled: the kernel takes the one that was registered last", enabled);
}

/* --- what the kernel does ---------------------------------------------------------------------------------------------- */

enum { PROBE_STATUS = 42, PROBE_BASE = 0x10000 };

/* li a0, 42; li a7, 93 (exit); ecall */
static int probe_program(const BinfmtArch *arch) {
    static const u32 code[] = {0x02a00513, 0x05d00893, 0x00000073};
    struct {
        Elf64_Ehdr head;
        Elf64_Phdr segment;
        u32 code[ARRAY_LEN(code)];
    } file = {.segment = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = PROBE_BASE, .p_filesz = sizeof file, .p_memsz = sizeof file, .p_align = 4096}};
    memcpy(&file.head, arch->magic, BINFMT_MAGIC);
    file.head.e_version = EV_CURRENT;
    file.head.e_entry = PROBE_BASE + offsetof(typeof(file), code);
    file.head.e_phoff = sizeof file.head;
    file.head.e_ehsize = sizeof file.head;
    file.head.e_phentsize = sizeof file.segment;
    file.head.e_phnum = 1;
    memcpy(file.code, code, sizeof code);
    int fd = memfd_create("probe", 0); /* not closed on exec: interpreters without the flag O open /dev/fd/N */
    return fd >= 0 && write(fd, &file, sizeof file) == sizeof file && fchmod(fd, 0755) == 0 ? fd : -1;
}

static int probe_start(int fd, int failure) {
    int child = fork();
    if (child) return child;
    char *argv[] = {"probe", NULL}, *envp[] = {NULL};
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    fexecve(fd, argv, envp);
    int error = errno;
    _exit(write(failure, &error, sizeof error) < 0);
}

/* The file that runs the child, which has just been executed. */
static void probe_who(int child, char who[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/exe", child);
    ssize_t n = readlink(link, who, PATH_MAX - 1);
    who[n < 0 ? 0 : n] = 0;
}

/* The exit status; -1: it died. `who`: by which file it was run, as far as that can be seen. */
static int probe_run(const BinfmtArch *arch, char who[PATH_MAX], int *error) {
    int failure[2], status, fd = probe_program(arch);
    who[0] = 0;
    *error = 0;
    if (fd < 0 || pipe2(failure, O_CLOEXEC) < 0) return *error = errno, -1;
    int child = probe_start(fd, failure[1]);
    close(fd);
    close(failure[1]);
    while (child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        if (!who[0]) probe_who(child, who);
        ptrace(PTRACE_CONT, child, NULL, WSTOPSIG(status) == SIGTRAP ? 0 : (long)WSTOPSIG(status));
    }
    if (read(failure[0], error, sizeof *error) != sizeof *error) *error = child < 0 ? errno : 0;
    close(failure[0]);
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_probe(Doctor *d) {
    char who[PATH_MAX];
    int error, status = probe_run(d->arch, who, &error);
    const char *deleted = strstr(who, " (deleted)");
    if (error) bad(d, "isomer binfmt install", "the kernel does not start a %s program of three instructions: %s", d->arch->name, strerror(error));
    else if (status != PROBE_STATUS) bad(d, "look at what that interpreter prints, or isomer binfmt install", "a program of three instructions fails under %s", who[0] ? who : "the interpreter");
    else good("a program of three instructions runs%s%s", who[0] ? " by " : "", who);
    if (deleted && !error) bad(d, "isomer binfmt install", "the interpreter has been replaced or removed since it was registered: the old one runs");
}

/* --- one program --------------------------------------------------------------------------------------------------------- */

/* Below a root, absolute paths mean others. */
static char *in_root(const char *root, const char *path) { return root && path[0] == '/' ? cli_path(root, path + 1) : strdup(path); }

static bool check_access(Doctor *d, const char *path) {
    struct stat st;
    struct statvfs fs;
    if (stat(path, &st) < 0) return bad(d, "name a file that is there", "%s: %s", path, strerror(errno)), false;
    if (!S_ISREG(st.st_mode)) return bad(d, "name a file", "%s is not an ordinary file", path), false;
    if (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOEXEC)) bad(d, "mount it with exec, or copy the program to another place", "%s lies on a file system that is mounted noexec", path);
    else if (!(st.st_mode & 0111)) bad(d, "chmod +x it", "%s has no x permission", path);
    else if (access(path, X_OK) < 0) bad(d, "see its permissions and those of the folders above", "%s cannot be executed by this user", path);
    return true;
}

static void check_file(Doctor *d, const char *root, const char *path, u32 depth);

static void check_script(Doctor *d, const char *root, const char *path, char *line, u32 depth) {
    line[strcspn(line, "\n")] = 0;
    char *name = line + 2 + strspn(line + 2, " \t");
    name[strcspn(name, " \t")] = 0;
    size_t len = strlen(name);
    if (len && name[len - 1] == '\r') return bad(d, "sed -i 's/\\r$//' it", "%s has lines that end as in Windows, so that its interpreter's name does, too", path);
    char *interp = in_root(root, name);
    good("%s is a script for %s", path, interp);
    if (access(interp, F_OK) < 0) bad(d, "install that interpreter, or mend the script's first line", "%s: its interpreter %s is missing", path, interp);
    else if (depth < 4) check_file(d, root, interp, depth + 1);
}

static void check_loader(Doctor *d, const char *root, const char *path, const char *interp) {
    char *loader = in_root(root, interp);
    if (access(loader, F_OK) == 0) good("%s: its loader %s is there", path, loader);
    else bad(d, root ? "complete the root, or name another by --root" : "chroot into the root that it belongs to (isomer shell FOLDER), or isomer run -L FOLDER", "%s is dynamically linked, and its loader %s is missing", path, loader);
    free(loader);
}

static void check_elf(Doctor *d, const char *root, const char *path, const File *f) {
    Elf64_Ehdr h;
    memcpy(&h, f->head, sizeof h);
    if (f->size < sizeof h) return bad(d, "make it anew", "%s is cut off: it has %zu bytes", path, f->size);
    bool wide = h.e_ident[EI_CLASS] == ELFCLASS64;
    if (h.e_machine == EM_X86_64) return good("%s is a program of this host", path);
    for (u32 k = 0; k < BINFMT_MAGIC; k++)
        if ((f->head[k] ^ d->arch->magic[k]) & d->arch->mask[k])
            return bad(d, "get it for riscv64", "%s is no riscv64 program, but for %s, %u bits, ELF type %u", path, machine_name(h.e_machine), wide ? 64 : 32, h.e_type);
    good("%s is a %s program", path, d->arch->name);
    if (f->interp[0]) check_loader(d, root, path, f->interp);
}

static void check_file(Doctor *d, const char *root, const char *path, u32 depth) {
    File *f = malloc(sizeof *f);
    if (!f || !check_access(d, path)) return;
    if (!file_open(f, path)) bad(d, "see its permissions", "%s cannot be read: %s", path, strerror(errno));
    else if (!f->size) bad(d, "make it anew", "%s is empty", path);
    else if (!memcmp(f->head, ELFMAG, SELFMAG)) check_elf(d, root, path, f);
    else if (!memcmp(f->head, "#!", 2)) check_script(d, root, path, (char *)f->head, depth);
    else bad(d, "name its interpreter in its first line: #!/bin/sh", "%s is neither a program (ELF) nor a script that starts with #!", path);
    if (f->fd >= 0) close(f->fd);
    free(f);
}

int binfmt_doctor(const BinfmtArch *arch, const char *program, const char *root) {
    Doctor d = {.arch = arch};
    if (check_table(&d)) check_entries(&d);
    check_probe(&d);
    if (program) check_file(&d, root, program, 0);
    if (d.problems) printf("%u problem%s\n", d.problems, d.problems > 1 ? "s" : "");
    return d.problems != 0;
}
