/* SPDX-License-Identifier: Apache-2.0 */
/* PR_SET_MDWE (systemd's MemoryDenyWriteExecute=): no memory becomes executable any more. Translated code must go on, also in
 * forks and in the next program. */
#include "t.h"
#include <sys/prctl.h>
#include <sys/shm.h>

enum { SET_MDWE = 65, GET_MDWE = 66, REFUSE = 1, NO_INHERIT = 2, PAGE = 4096 };

static void *map(int prot) { return mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static void print_rules(const char *who) {
    void *rw = map(PROT_READ | PROT_WRITE), *rx = map(PROT_READ | PROT_EXEC);
    printf("%s: %d;", who, prctl(GET_MDWE, 0, 0, 0, 0));
    printf(" rwx %d", map(PROT_READ | PROT_WRITE | PROT_EXEC) == MAP_FAILED ? errno : 0);
    printf(" gain %d", mprotect(rw, PAGE, PROT_READ | PROT_EXEC) ? errno : 0);
    printf(" keep %d", mprotect(rx, PAGE, PROT_READ | PROT_EXEC) ? errno : 0);
    printf(" write %d", mprotect(rx, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) ? errno : 0);
    printf(" lose %d", mprotect(rx, PAGE, PROT_READ | PROT_WRITE) ? errno : 0);
    printf(" again %d", mprotect(rx, PAGE, PROT_READ | PROT_EXEC) ? errno : 0);
    int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0700);
    CHECK(id >= 0);
    printf(" shm %d\n", shmat(id, NULL, SHM_EXEC) == (void *)-1 ? errno : 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc > 1) return print_rules(argv[1]), 0;
    print_rules("before");
    FAILS(prctl(SET_MDWE, REFUSE, 1, 0, 0), EINVAL);
    if (prctl(SET_MDWE, REFUSE, 0, 0, 0) != 0) return printf("not known here\n"), 0;
    FAILS(prctl(SET_MDWE, 0, 0, 0, 0), EPERM);
    print_rules("set");
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            print_rules("fork");
            if (i) execl("/proc/self/exe", argv[0], "next program", NULL);
            _exit(0);
        }
        print_end("child", pid);
    }
}
