/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories: every call whose structures or flags could be translated wrongly. */
#include "t.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <termios.h>
#include <utime.h>

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *path) {
    char *names[300];
    int n = 0;
    DIR *d = opendir(path);
    CHECK(d);
    struct dirent *e;
    while ((e = readdir(d)) && n < COUNT(names)) {
        char text[300];
        snprintf(text, sizeof(text), "%s:%d", e->d_name, e->d_type);
        names[n++] = strdup(text);
    }
    closedir(d);
    qsort(names, n, sizeof(*names), by_name);
    for (int i = 0; i < n; i++) printf("%s%s", i ? " " : "", names[i]);
    printf(" (%d)\n", n);
}

static void show(const char *what, const struct stat *s) {
    printf("%s: mode %o links %ld size %ld mtime %ld.%09ld atime %ld, block size ok %d\n", what, s->st_mode, (long)s->st_nlink,
           S_ISDIR(s->st_mode) ? 0 : (long)s->st_size, (long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec, (long)s->st_atim.tv_sec,
           s->st_blksize > 0);
}

int main(void) {
    struct stat s, s2;
    umask(022);
    int fd = open("a", O_CREAT | O_EXCL | O_RDWR, 0666);
    CHECK(fd >= 0 && write(fd, "hello world\n", 12) == 12);
    FAILS(open("a", O_CREAT | O_EXCL | O_RDWR, 0666), EEXIST);
    struct timespec times[2] = {{1000, 5}, {2000000000, 123456789}};
    CHECK(futimens(fd, times) == 0 && fstat(fd, &s) == 0);
    show("fstat", &s);
    CHECK(stat("a", &s2) == 0 && s2.st_ino == s.st_ino && s2.st_dev == s.st_dev && s2.st_uid == getuid());
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = 7;
    CHECK(utimensat(AT_FDCWD, "a", times, 0) == 0 && lstat("a", &s) == 0);
    show("utimensat", &s);
    struct statx sx;
    CHECK(statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx) == 0 && sx.stx_ino == s.st_ino && sx.stx_size == 12);
    printf("statx mode %o mtime %lld.%09u\n", sx.stx_mode, (long long)sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec);
    CHECK(chmod("a", 04751) == 0 && stat("a", &s) == 0);
    show("chmod", &s);
    CHECK(link("a", "b") == 0 && symlink("a", "l") == 0 && symlink("nowhere", "dangling") == 0);
    CHECK(lstat("l", &s) == 0 && S_ISLNK(s.st_mode) && s.st_size == 1);
    char text[100];
    CHECK(readlink("l", text, sizeof(text)) == 1 && text[0] == 'a');
    FAILS(readlink("a", text, sizeof(text)), EINVAL);
    FAILS(open("dangling", O_RDONLY), ENOENT);
    FAILS(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
    FAILS(open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    int path = open("a", O_PATH);
    FAILS(read(path, text, 1), EBADF);
    CHECK(fstat(path, &s) == 0 && s.st_nlink == 2);
    CHECK(mkdir("d", 0777) == 0 && mkdirat(AT_FDCWD, "d/e", 0700) == 0);
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    FAILS(open("d", O_WRONLY), EISDIR);
    int in_dir = openat(dir, "f", O_CREAT | O_WRONLY, 0600);
    CHECK(in_dir >= 0 && fstatat(dir, "f", &s, 0) == 0 && s.st_mode == (S_IFREG | 0600));
    CHECK(mknod("fifo", S_IFIFO | 0644, 0) == 0 && stat("fifo", &s) == 0 && S_ISFIFO(s.st_mode));
    list(".");
    list("d");
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "d/e/%03d-%.*s", i, i % 40, "long names that do not all fit into one call");
        close(open(text, O_CREAT | O_WRONLY, 0644));
    }
    int n = 0;
    DIR *d = opendir("d/e");
    long at_100 = 0;
    while (readdir(d)) if (++n == 100) at_100 = telldir(d);
    printf("entries %d\n", n);
    seekdir(d, at_100);
    n = 0;
    while (readdir(d)) n++;
    printf("from the hundredth %d\n", n);
    closedir(d);

    FAILS(rmdir("d"), ENOTEMPTY);
    FAILS(unlink("d"), EISDIR);
    CHECK(rename("b", "d/b") == 0);
    FAILS(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "l", 1 /* NOREPLACE */), EEXIST);
    CHECK(faccessat(dir, "b", R_OK, 0) == 0 && access("missing", F_OK) == -1);
    CHECK(unlinkat(dir, "b", 0) == 0 && fstat(fd, &s) == 0 && s.st_nlink == 1);

    CHECK(lseek(fd, 6, SEEK_SET) == 6 && read(fd, text, 100) == 6 && !memcmp(text, "world\n", 6));
    CHECK(lseek(fd, -1, SEEK_END) == 11);
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK(pwrite(fd, "W", 1, 6) == 1 && pread(fd, text, 5, 6) == 5 && text[0] == 'W');
    struct iovec v[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    CHECK(pwritev(fd, v, 3, 12) == 5);
    char x[3], y[10];
    struct iovec u[2] = {{x, 3}, {y, 10}};
    CHECK(preadv(fd, u, 2, 10) == 7 && !memcmp(x, "d\na", 3) && !memcmp(y, "bcde", 4));
    FAILS(readv(fd, u, -1), EINVAL);
    CHECK(ftruncate(fd, 1 << 20) == 0 && fstat(fd, &s) == 0 && s.st_size == 1 << 20);
    off_t hole = lseek(fd, 0, SEEK_HOLE);
    CHECK(hole > 0 && hole <= 1 << 20);
    CHECK(posix_fallocate(fd, 0, 8192) == 0 || errno == EOPNOTSUPP);
    CHECK(ftruncate(fd, 17) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    int out = open("copy", O_CREAT | O_RDWR, 0644);
    CHECK(sendfile(out, fd, NULL, 100) == 17);
    loff_t from = 0, to = 100;
    ssize_t copied = copy_file_range(fd, &from, out, &to, 10, 0);
    CHECK(copied == 10 || errno == EXDEV || errno == ENOSYS);
    CHECK(fsync(out) == 0 && fdatasync(out) == 0 && close(out) == 0);
    FAILS(close(out), EBADF);

    int flags = fcntl(fd, F_GETFL);
    printf("flags %o\n", flags & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    CHECK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK) == 0 && fcntl(fd, F_GETFL) & O_APPEND);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "!", 1) == 1 && lseek(fd, 0, SEEK_CUR) == 18);
    int dup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 50);
    CHECK(dup_fd >= 50 && fcntl(dup_fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFD) == 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock probe = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
        CHECK(fcntl(fd, F_GETLK, &probe) == 0);
        printf("lock type %d start %ld len %ld by parent %d\n", probe.l_type, (long)probe.l_start, (long)probe.l_len,
               probe.l_pid == getppid());
        probe.l_type = F_RDLCK;
        probe.l_start = 0, probe.l_len = 0;
        FAILS(fcntl(fd, F_SETLK, &probe), EAGAIN);
        fflush(stdout);
        _exit(0);
    }
    print_end("locker", pid);
    CHECK(flock(fd, LOCK_EX) == 0 && flock(fd, LOCK_UN) == 0);
    int readable;
    CHECK(lseek(fd, 10, SEEK_SET) == 10 && ioctl(fd, FIONREAD, &readable) == 0 && readable == 8);
    struct termios tio;
    FAILS(tcgetattr(fd, &tio), ENOTTY);
    struct statfs fs;
    struct statvfs vfs;
    CHECK(statfs(".", &fs) == 0 && fs.f_bsize > 0 && statvfs(".", &vfs) == 0 && vfs.f_namemax >= 100);
    if (fsetxattr(fd, "user.test", "value", 5, 0) == 0) CHECK(fgetxattr(fd, "user.test", text, 100) == 5);
    char cwd[4096], real[4096];
    CHECK(chdir("d") == 0 && getcwd(cwd, sizeof(cwd)) && !strcmp(cwd + strlen(cwd) - 2, "/d") && fchdir(dir) == 0);
    FAILS((long)getcwd(cwd, 2) ? 0 : -1, ERANGE);
    CHECK(chdir("..") == 0 && realpath("d/../l", real) && !strcmp(real + strlen(real) - 2, "/a"));
    CHECK(stat("/dev/null", &s) == 0 && S_ISCHR(s.st_mode) && major(s.st_rdev) == 1 && minor(s.st_rdev) == 3);
    FAILS(stat("a/b", &s), ENOTDIR);
    FAILS(stat("", &s), ENOENT);
    FAILS(stat((char *)8, &s), EFAULT);
    FAILS(fstat(fd, (struct stat *)8), EFAULT);
    FAILS(read(fd, (char *)8, 5), EFAULT);
    FAILS(open((char *)8, O_RDONLY), EFAULT);
    FAILS(write(9999, "x", 1), EBADF);
    char long_name[300];
    memset(long_name, 'n', 299);
    long_name[299] = 0;
    FAILS(open(long_name, O_CREAT | O_RDWR, 0644), ENAMETOOLONG);
    int temp = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(temp >= 0 || errno == EOPNOTSUPP || errno == EISDIR);
    int pipes[2];
    CHECK(pipe2(pipes, O_NONBLOCK | O_CLOEXEC) == 0);
    FAILS(read(pipes[0], text, 1), EAGAIN);
    int size = fcntl(pipes[0], F_SETPIPE_SZ, 8192);
    CHECK(size >= 4096 && fcntl(pipes[1], F_GETPIPE_SZ) == size);
    CHECK(splice(fd, &(loff_t){0}, pipes[1], NULL, 5, 0) == 5 && read(pipes[0], text, 100) == 5 && !memcmp(text, "hello", 5));
    CHECK(tee(pipes[0], pipes[1], 1, 0) == -1);
    puts("done");
    return 0;
}
