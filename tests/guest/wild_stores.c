/* SPDX-License-Identifier: Apache-2.0 */
/* Stores to a page that can only be read. Lockstep once called the fault a difference. */
#include "t.h"

static sigjmp_buf back;
static void segv(int sig) { siglongjmp(back, sig); }

int main(void) {
    signal(SIGSEGV, segv);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 77, 2 * page);
    CHECK(mprotect(p + page, page, PROT_READ) == 0);
    volatile int faults = 0;
    for (volatile size_t at = page - 9; at < page + 2; at = at + 1) {
        if (!sigsetjmp(back, 1)) __atomic_store_n((volatile char *)p + at, p[at], __ATOMIC_RELAXED);
        else faults = faults + 1;
    }
    CHECK(faults == 2);
    printf("%d\n", p[page]);
    return 0;
}
