/* SPDX-License-Identifier: Apache-2.0 */
/* System V and POSIX interprocess communication, and terminals. */
//: libs: -lrt
#include "t.h"
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <termios.h>

int main(void) {
    int id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
    CHECK(id >= 0);
    char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);
    CHECK(p != (void *)-1 && q != (void *)-1 && p != q);
    strcpy(p, "shared");
    struct shmid_ds ds;
    CHECK(!strcmp(q, "shared") && shmctl(id, IPC_STAT, &ds) == 0);
    printf("shm size %zu attached %ld mode %o\n", ds.shm_segsz, (long)ds.shm_nattch, ds.shm_perm.mode & 0777);
    CHECK(shmdt(q) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        strcpy(p, "child");
        _exit(0);
    }
    print_end("shm child", pid);
    printf("%s\n", p);
    CHECK(shmdt(p) == 0);
    FAILS(shmdt(p), EINVAL);

    int sem = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    union { int val; struct semid_ds *ds; unsigned short *array; } arg;
    unsigned short values[2] = {1, 5};
    arg.array = values;
    CHECK(sem >= 0 && semctl(sem, 0, SETALL, arg) == 0 && semctl(sem, 1, GETVAL) == 5);
    struct sembuf ops[2] = {{0, -1, 0}, {1, 2, SEM_UNDO}};
    CHECK(semop(sem, ops, 2) == 0 && semctl(sem, 1, GETVAL) == 7);
    struct timespec ts = {0, 10000000};
    FAILS(semtimedop(sem, ops, 1, &ts), EAGAIN);
    ops[0].sem_flg = IPC_NOWAIT;
    FAILS(semop(sem, ops, 1), EAGAIN);
    CHECK(semctl(sem, 0, IPC_RMID) == 0);

    int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    struct { long type; char text[20]; } m = {7, "message"}, in;
    CHECK(queue >= 0 && msgsnd(queue, &m, 8, 0) == 0);
    m.type = 3;
    CHECK(msgsnd(queue, &m, 5, 0) == 0);
    CHECK(msgrcv(queue, &in, 20, 7, 0) == 8 && in.type == 7 && !strcmp(in.text, "message"));
    FAILS(msgrcv(queue, &in, 2, 0, 0), E2BIG);
    struct msqid_ds mds;
    CHECK(msgctl(queue, IPC_STAT, &mds) == 0 && mds.msg_qnum == 1 && msgctl(queue, IPC_RMID, NULL) == 0);

    int fd = memfd_create("seals", MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    FAILS(ftruncate(fd, 0), EPERM);
    CHECK(fcntl(fd, F_GET_SEALS) == F_SEAL_SHRINK);

    int pt = posix_openpt(O_RDWR | O_NOCTTY);
    if (pt >= 0 && grantpt(pt) == 0 && unlockpt(pt) == 0) {
        int tty = open(ptsname(pt), O_RDWR | O_NOCTTY);
        struct winsize ws = {24, 80, 0, 0}, got;
        struct termios tio, again;
        CHECK(tty >= 0 && isatty(tty) && ioctl(pt, TIOCSWINSZ, &ws) == 0 && ioctl(tty, TIOCGWINSZ, &got) == 0);
        CHECK(got.ws_row == 24 && got.ws_col == 80 && tcgetattr(tty, &tio) == 0);
        cfmakeraw(&tio);
        tio.c_cc[VMIN] = 2;
        CHECK(tcsetattr(tty, TCSANOW, &tio) == 0 && tcgetattr(tty, &again) == 0);
        CHECK(again.c_cc[VMIN] == 2 && !(again.c_lflag & ECHO) && cfgetospeed(&again) == cfgetospeed(&tio));
        char text[10];
        CHECK(write(pt, "hi", 2) == 2 && read(tty, text, 10) == 2 && write(tty, "\n", 1) == 1 && read(pt, text, 10) == 1);
    }
    puts("done");
    return 0;
}
