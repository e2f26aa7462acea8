/* SPDX-License-Identifier: Apache-2.0 */
/* Where images are: $ISOMER_IMAGES, else isomer/images in $XDG_DATA_HOME, else ~/.local/share/isomer/images; one folder each, named by system, suite and
 * architecture. The script replaces its files when all of them are there, the disk last, so what has a disk is whole. */
#include "cmd/image.h"
#include "back/back.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool images_folder(char *out, size_t size) {
    const char *own = getenv("ISOMER_IMAGES"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (own && *own) return snprintf(out, size, "%s", own) < (int)size;
    if (data && *data) return snprintf(out, size, "%s/isomer/images", data) < (int)size;
    return snprintf(out, size, "%s/.local/share/isomer/images", home && *home ? home : "/tmp") < (int)size;
}

static void make_folders(char *path) {
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            mkdir(path, 0755);
            *at = '/';
        }
    mkdir(path, 0755);
}

/* A file that is installed beside this program, or where a package puts it. */
static bool beside(const char *name, char *out, size_t size) {
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0) return false;
    self[len] = 0;
    *strrchr(self, '/') = 0;
    static const char *const places[] = {"", "/../../bin"};
    for (size_t k = 0; k < ARRAY_LEN(places); k++)
        if (snprintf(out, size, "%s%s/%s", self, places[k], name) < (int)size && access(out, X_OK) == 0) return true;
    return false;
}

static bool run_script(char *const *argv) {
    pid_t pid = fork();
    if (pid == 0) {
        dup2(2, 1);
        execv(argv[0], argv);
        _exit(127);
    }
    int status;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool make(const char *suite, const char *arch, char *folder, char *why, size_t why_size) {
    char script[PATH_MAX], isomer[PATH_MAX];
    if (!beside("debian-image", script, sizeof script) || !beside("isomer", isomer, sizeof isomer)) return back_fail(why, why_size, "debian-image or isomer is not beside this program (`./dev build` makes both)");
    make_folders(folder);
    fprintf(stderr, "isomer boot: there is no image of Debian %s for %s yet: making %s, which takes some minutes\n", suite, arch, folder);
    char *argv[] = {script, isomer, (char *)suite, (char *)arch, folder, NULL};
    return run_script(argv) || back_fail(why, why_size, "the image could not be made: see above");
}

/* Names go into paths and to a shell script. */
static bool plain(const char *s) { return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(s); }

bool image_find(const char *name, const char *arch, bool may_make, Image *out, char *why, size_t why_size) {
    const char *colon = strchr(name, ':'), *suite = colon ? colon + 1 : "trixie";
    size_t len = colon ? (size_t)(colon - name) : strlen(name);
    char folder[3072];
    if (len != 6 || strncmp(name, "debian", 6) != 0 || !plain(suite)) return back_fail(why, why_size, "%s: the systems that have names are debian, debian:SUITE; others boot with --kernel and --disk", name);
    if (strcmp(arch, "riscv64") != 0) return back_fail(why, why_size, "%s: machines are riscv64", arch);
    if (!images_folder(folder, sizeof folder - 128)) return back_fail(why, why_size, "the folder of images has too long a name");
    sprintf(folder + strlen(folder), "/debian-%.64s-%s", suite, arch);
    snprintf(out->disk, sizeof out->disk, "%s/disk.img", folder);
    snprintf(out->kernel, sizeof out->kernel, "%s/kernel", folder);
    snprintf(out->initrd, sizeof out->initrd, "%s/initrd", folder);
    if (access(out->disk, F_OK) == 0) return true;
    return may_make ? make(suite, arch, folder, why, why_size) : back_fail(why, why_size, "%s: there is no such image", out->disk);
}

/* --- commands --------------------------------------------------------------------------------------------------------- */

/* `text` NULL: empty. */
static bool write_file(const char *folder, const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    return f && (!text || fprintf(f, "%s\n", text) > 0) && fclose(f) == 0;
}

/* Copies what comes in to a file that the guest reads as it grows; another says that there is no more. */
static void *pump(void *arg) {
    const ExecFolder *e = arg;
    char path[128], buf[65536];
    ssize_t n = 0;
    snprintf(path, sizeof path, "%s/input", e->path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    while (fd >= 0 && (n = read(e->input, buf, sizeof buf)) > 0)
        if (write(fd, buf, (size_t)n) != n) break;
    if (fd >= 0) close(fd);
    write_file(e->path, "input.done", "");
    return NULL;
}

static bool take_input(ExecFolder *e) {
    pthread_t thread;
    e->input = dup(0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (e->input < 0 || null < 0 || dup2(null, 0) < 0 || !write_file(e->path, "input", NULL) || !back_thread(&thread, pump, e)) return false;
    pthread_detach(thread);
    close(null);
    return true;
}

bool exec_prepare(ExecFolder *e, const char *command, char *why, size_t why_size) {
    const char *terminal = getenv("TERM");
    e->input = -1;
    strcpy(e->path, "/tmp/isomer-exec.XXXXXX");
    if (!mkdtemp(e->path) || !write_file(e->path, "command", command)) return back_fail(why, why_size, "%s: %s", e->path, strerror(errno));
    if (isatty(0) ? !write_file(e->path, "terminal", terminal ? terminal : "dumb") : !take_input(e)) return back_fail(why, why_size, "%s: %s", e->path, strerror(errno));
    return true;
}

int exec_status(ExecFolder *e) {
    static const char *const files[] = {"command", "terminal", "status", "input", "input.done"};
    char path[128];
    int status = -1;
    snprintf(path, sizeof path, "%s/status", e->path);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%d", &status) != 1) status = -1;
    if (f) fclose(f);
    for (size_t k = 0; k < ARRAY_LEN(files); k++) {
        snprintf(path, sizeof path, "%s/%s", e->path, files[k]);
        unlink(path);
    }
    rmdir(e->path);
    return status;
}
