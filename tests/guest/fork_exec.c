/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: fork, vfork, posix_spawn and exec, alone and in storms, their arguments, errors and statuses. */
//: timeout: 90
//: skip: interp starts a thousand processes
#include "t.h"
#include <spawn.h>

extern char **environ;

static void run(const char *what, char **argv, char **envp) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execve("/proc/self/exe", argv, envp);
        printf("exec: errno %d\n", errno);
        fflush(stdout);
        _exit(98);
    }
    print_end(what, pid);
}

static char file[4096];

static void make(const char *path, const char *text, int mode) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0755);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    chmod(path, mode);
}

/* In a child made by vfork: exec, or tell the parent the errno through the memory that they share. */
static int vfork_exec(const char *path, char **argv) {
    static volatile int error;
    error = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        execve(path, argv, environ);
        error = errno;
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return error ? -error : WEXITSTATUS(status);
}

static int as_child(int argc, char **argv) {
    if (!strcmp(argv[1], "exit")) return atoi(argv[2]);
    if (!strcmp(argv[1], "cat")) {
        char buffer[256];
        ssize_t n;
        while ((n = read(0, buffer, sizeof(buffer))) > 0) write(1, buffer, n);
        return 0;
    }
    printf("argv0 <%s>", argv[0][0] == 0x2f ? "path" : argv[0]);
    for (int i = 1; i < argc; i++) printf(" <%s>", argv[i]);
    printf(" env");
    for (char **e = environ; *e; e++) printf(" <%s>", *e);
    puts("");
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return as_child(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    ssize_t n = readlink("/proc/self/exe", file, sizeof(file) - 1);
    CHECK(n > 0);
    char *no_env[] = {NULL}, *some_env[] = {"A=1", "EMPTY=", "B=two words", NULL};
    run("args", (char *[]){"my name", "show", "", "x y", NULL}, some_env);
    run("no env", (char *[]){"n", "show", NULL}, no_env);
    for (int i = 0; i < 256; i++) {
        char number[8];
        snprintf(number, sizeof(number), "%d", i);
        pid_t pid;
        char *child[] = {file, "exit", number, NULL};
        CHECK(posix_spawn(&pid, file, NULL, NULL, child, environ) == 0);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == i);
    }
    puts("statuses ok");
    for (int i = 0; i < 100; i++) CHECK(vfork_exec(file, (char *[]){file, "exit", "3", NULL}) == 3);
    printf("vfork missing %d\n", vfork_exec("./missing", (char *[]){"x", NULL}));
    make("plain", "not a program", 0644);
    printf("vfork not executable %d\n", vfork_exec("./plain", (char *[]){"x", NULL}));
    make("garbage", "\1\2\3 what is this", 0755);
    printf("vfork garbage %d\n", vfork_exec("./garbage", (char *[]){"x", NULL}));
    mkdir("dir", 0755);
    printf("vfork directory %d\n", vfork_exec("./dir", (char *[]){"x", NULL}));
    printf("vfork through a file %d\n", vfork_exec("./plain/x", (char *[]){"x", NULL}));
    printf("empty path %d\n", vfork_exec("", (char *[]){"x", NULL}));
    pid_t pid;
    CHECK(posix_spawn(&pid, "./missing", NULL, NULL, (char *[]){"x", NULL}, environ) == ENOENT);
    CHECK(posix_spawnp(&pid, "no-such-program-anywhere", NULL, NULL, (char *[]){"x", NULL}, environ) == ENOENT);
    FAILS(execve((char *)8, (char *[]){"x", NULL}, environ), EFAULT);
    FAILS(execve(file, (char **)8, environ), EFAULT);

    char script[8192];
    snprintf(script, sizeof(script), "#!%s  one argument  \nrest", file);
    make("script", script, 0755);
    pid = fork();
    if (pid == 0) execve("./script", (char *[]){"given", "a", "b", NULL}, no_env), _exit(97);
    /* argv0 is the interpreter as written: its path differs between machines */
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    printf("script: %d\n", WEXITSTATUS(status));
    make("bad-script", "#!/no/such/interpreter\n", 0755);
    printf("script without interpreter %d\n", vfork_exec("./bad-script", (char *[]){"x", NULL}));
    make("self-script", "#!./self-script\n", 0755);
    printf("script of itself %d\n", vfork_exec("./self-script", (char *[]){"x", NULL}));
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    fflush(stdout);
    pid = fork();
    if (pid == 0) fexecve(fd, (char *[]){"by-fd", "exit", "9", NULL}, no_env), _exit(96);
    print_end("fexecve", pid);
    close(fd);

    /* Pipes through many children at once. */
    enum { STAGES = 20 };
    int in[2];
    pipe(in);
    int from = in[0];
    pid_t stages[STAGES];
    for (int i = 0; i < STAGES; i++) {
        int next[2];
        pipe2(next, O_CLOEXEC);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, from, 0);
        posix_spawn_file_actions_adddup2(&actions, next[1], 1);
        posix_spawn_file_actions_addclose(&actions, in[1]);
        CHECK(posix_spawn(&stages[i], file, &actions, NULL, (char *[]){"c", "cat", NULL}, environ) == 0);
        posix_spawn_file_actions_destroy(&actions);
        close(from);
        close(next[1]);
        from = next[0];
    }
    for (int i = 0; i < 1000; i++) CHECK(write(in[1], "0123456789", 10) == 10);
    close(in[1]);
    long total = 0;
    while ((n = read(from, file, sizeof(file))) > 0) total += n;
    printf("through %d stages: %ld\n", STAGES, total);
    for (int i = 0; i < STAGES; i++) CHECK(waitpid(stages[i], &status, 0) == stages[i] && status == 0);

    /* Forks without exec: a tree, and a storm. */
    for (int i = 0; i < 500; i++) {
        pid = fork();
        if (pid == 0) _exit(i & 127);
        CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == (i & 127));
    }
    pid_t kids[50];
    for (int i = 0; i < 50; i++) {
        kids[i] = fork();
        if (kids[i] == 0) {
            pid = fork();
            if (pid == 0) _exit(1);
            waitpid(pid, &status, 0);
            _exit(10 + WEXITSTATUS(status));
        }
    }
    int sum = 0;
    for (int i = 0; i < 50; i++) {
        CHECK(waitpid(-1, &status, 0) > 0);
        sum += WEXITSTATUS(status);
    }
    printf("tree %d\n", sum);
    FAILS(waitpid(-1, &status, 0), ECHILD);
    struct rusage usage;
    pid = fork();
    if (pid == 0) _exit(0);
    CHECK(wait4(pid, &status, 0, &usage) == pid && status == 0);
    pid = fork();
    if (pid == 0) for (;;) pause();
    CHECK(waitpid(pid, &status, WNOHANG) == 0);
    kill(pid, SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(pid, SIGCONT);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    kill(pid, SIGKILL);
    print_end("stopped, continued, killed", pid);
    siginfo_t info;
    pid = fork();
    if (pid == 0) _exit(33);
    CHECK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0 && info.si_status == 33 && info.si_pid == pid);
    CHECK(waitid(P_ALL, 0, &info, WEXITED) == 0 && info.si_pid == pid);
    puts("done");
    return 0;
}
