/* SPDX-License-Identifier: Apache-2.0 */
/* System calls: cheap ones, reads and writes of a pipe, clock readings. */
#include "bench.h"
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    int p[2];
    char buffer[64] = "some bytes";
    long sum = 0;
    if (pipe(p) < 0) return 1;
    for (int i = 0; i < 400000; i++) sum += syscall(SYS_getppid) > 0;
    for (int i = 0; i < 60000; i++) sum += write(p[1], buffer, 64) + read(p[0], buffer, 64);
    struct timespec ts;
    for (int i = 0; i < 500000; i++) sum += clock_gettime(CLOCK_MONOTONIC, &ts) == 0;
    printf("%ld\n", sum);
    return 0;
}
