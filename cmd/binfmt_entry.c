/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/binfmt.h: bodies of what knows the kernel's table. */
#include "cmd/binfmt.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ELF header up to e_machine: 64 bits, little endian, any OS ABI, ET_EXEC or ET_DYN. Tools compare these bytes, so they are exactly everybody's. */
const BinfmtArch binfmt_riscv64 = {
    "riscv64", "qemu-riscv64",
    {0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xf3, 0},
    {255, 255, 255, 255, 255, 255, 255, 0, 255, 255, 255, 255, 255, 255, 255, 255, 254, 255, 255, 255},
};

/* --- the table ---------------------------------------------------------------------------------------------- */

bool binfmt_mounted(void) {
    enum { BINFMTFS_MAGIC = 0x42494e4d };
    struct statfs fs;
    return statfs(BINFMT_DIR, &fs) == 0 && fs.f_type == BINFMTFS_MAGIC;
}

bool binfmt_mount_own(char *why, size_t size) {
    if (mount("binfmt_misc", BINFMT_DIR, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0) return true;
    snprintf(why, size, "binfmt_misc cannot be mounted at " BINFMT_DIR ": %s%s", strerror(errno),
             errno == ENOENT    ? " (the kernel is without it, or /proc is not mounted)"
             : errno == ENODEV  ? " (the kernel is without it: modprobe binfmt_misc)"
             : errno == EPERM   ? " (that wants root, or Linux 6.7 in a user namespace)" : "");
    return false;
}

bool binfmt_mount(char *why, size_t size) { return binfmt_mounted() || binfmt_mount_own(why, size); }

bool binfmt_enabled(void) {
    char text[32];
    return cli_read_file(BINFMT_DIR "/status", text, sizeof text) > 0 && !strncmp(text, "enabled", 7);
}

/* --- one entry ------------------------------------------------------------------------------------------------ */

static u32 parse_hex(const char *s, u8 *out, u32 max) {
    u32 n = 0;
    unsigned byte;
    for (; n < max && sscanf(s, "%2x", &byte) == 1; s += 2) out[n++] = (u8)byte;
    return n;
}

static void parse_line(BinfmtEntry *e, const char *line) {
    if (!strcmp(line, "enabled")) e->enabled = true;
    else if (!strncmp(line, "interpreter ", 12)) snprintf(e->interpreter, sizeof e->interpreter, "%s", line + 12);
    else if (!strncmp(line, "flags: ", 7)) snprintf(e->flags, sizeof e->flags, "%s", line + 7);
    else if (!strncmp(line, "offset ", 7)) e->offset = (u32)atol(line + 7);
    else if (!strncmp(line, "magic ", 6)) e->size = parse_hex(line + 6, e->magic, sizeof e->magic);
    else if (!strncmp(line, "mask ", 5)) parse_hex(line + 5, e->mask, sizeof e->mask);
}

bool binfmt_read(const char *name, BinfmtEntry *e) {
    char path[512], text[4096];
    snprintf(path, sizeof path, BINFMT_DIR "/%s", name);
    if (cli_read_file(path, text, sizeof text) <= 0) return false;
    *e = (BinfmtEntry){0};
    snprintf(e->name, sizeof e->name, "%s", name);
    memset(e->mask, 0xff, sizeof e->mask);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) parse_line(e, line);
    return true;
}

/* Would the entry be asked to run a program of this kind? */
static bool takes(const BinfmtEntry *e, const BinfmtArch *arch) {
    if (!e->size || e->offset + e->size > BINFMT_MAGIC) return false;
    for (u32 k = 0; k < e->size; k++)
        if ((e->magic[k] ^ arch->magic[e->offset + k]) & e->mask[k]) return false;
    return true;
}

u32 binfmt_find(const BinfmtArch *arch, BinfmtEntry *out) {
    DIR *dir = opendir(BINFMT_DIR);
    u32 n = 0;
    for (struct dirent *d; dir && n < BINFMT_ENTRIES && (d = readdir(dir));) {
        if (d->d_name[0] == '.' || !strcmp(d->d_name, "register") || !strcmp(d->d_name, "status")) continue;
        n += binfmt_read(d->d_name, &out[n]) && takes(&out[n], arch);
    }
    if (dir) closedir(dir);
    return n;
}

/* By name, or by the program that it starts, whatever that is called: we are the same file. */
bool binfmt_is_ours(const BinfmtEntry *e) {
    const char *slash = strrchr(e->interpreter, '/');
    return !strncmp(e->name, "isomer-", 7) || (slash && !strncmp(slash + 1, "isomer", 6));
}

BinfmtEntry binfmt_entry(const BinfmtArch *arch, const char *name, const char *interpreter, const char *flags) {
    BinfmtEntry e = {.size = BINFMT_MAGIC, .enabled = true};
    snprintf(e.name, sizeof e.name, "%s", name);
    snprintf(e.interpreter, sizeof e.interpreter, "%s", interpreter);
    snprintf(e.flags, sizeof e.flags, "%s", flags);
    memcpy(e.magic, arch->magic, BINFMT_MAGIC);
    memcpy(e.mask, arch->mask, BINFMT_MAGIC);
    return e;
}

static void print_bytes(Text *t, const u8 *bytes, u32 size) {
    text_char(t, ':');
    for (u32 k = 0; k < size; k++) text_print(t, "\\x%02x", bytes[k]);
}

bool binfmt_line(char line[BINFMT_LINE], const BinfmtEntry *e) {
    Text t = text_init(line, BINFMT_LINE);
    text_print(&t, ":%s:M:", e->name);
    if (e->offset) text_print(&t, "%u", e->offset);
    print_bytes(&t, e->magic, e->size);
    print_bytes(&t, e->mask, e->size);
    text_print(&t, ":%s:%s", e->interpreter, e->flags);
    return !t.cut && !strpbrk(e->interpreter, ":\n");
}

/* --- changing ---------------------------------------------------------------------------------------------------- */

bool binfmt_unregister(const char *name, char *why, size_t size) {
    char path[512];
    snprintf(path, sizeof path, BINFMT_DIR "/%s", name);
    int error = access(path, F_OK) < 0 ? 0 : cli_write_file(path, "-1");
    if (error) snprintf(why, size, "%s cannot be removed: %s", name, strerror(-error));
    return !error;
}

bool binfmt_register_line(const char *name, const char *line, char *why, size_t size) {
    if (!binfmt_unregister(name, why, size)) return false;
    int error = cli_write_file(BINFMT_DIR "/register", line);
    if (error)
        snprintf(why, size, "the kernel does not register %s: %s%s", name, strerror(-error),
                 error == -EACCES || error == -EPERM || error == -EROFS ? " (that wants root; without: isomer binfmt run COMMAND)" : "");
    return !error;
}

bool binfmt_register(const BinfmtArch *arch, const char *name, const char *interpreter, const char *flags, char *why, size_t size) {
    char line[BINFMT_LINE];
    BinfmtEntry e = binfmt_entry(arch, name, interpreter, flags);
    if (binfmt_line(line, &e)) return binfmt_register_line(name, line, why, size);
    snprintf(why, size, "%s: a path without colons is wanted, and not so long a one", interpreter);
    return false;
}
