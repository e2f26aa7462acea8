// SPDX-License-Identifier: Apache-2.0
// Linux's own use of a hart's counters: counting, filtering by mode, samples at overflows, misses of the TLB. Prints a line for each, in words that do not depend on the machine's speed;
// and since time counts as cycles, also that of others on a busy host, comparisons are tried again.
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 10 };

static int counter(uint32_t type, uint64_t config, int user, int kernel, uint64_t period) {
    struct perf_event_attr a = {.size = sizeof a, .type = type, .config = config, .disabled = 1, .exclude_user = !user, .exclude_kernel = !kernel, .sample_period = period, .sample_type = PERF_SAMPLE_IP};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

__attribute__((noinline)) static void spin(long n) {
    for (; n; n--) __asm__ volatile("");
}

static void calls(long n) {
    for (; n; n--) syscall(SYS_getppid);
}

static uint64_t during(int fd, void (*work)(long), long n) {
    uint64_t v = 0;
    ioctl(fd, PERF_EVENT_IOC_RESET, 0);
    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
    work(n);
    ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
    return read(fd, &v, sizeof v) == sizeof v ? v : 0;
}

static void counts(const char *name, uint64_t config) {
    int fd = counter(PERF_TYPE_HARDWARE, config, 1, 1, 0);
    bool good = false;
    for (int k = 0; k < TRIES && !good; k++) {
        uint64_t some = during(fd, spin, 3000000), more = during(fd, spin, 60000000);
        good = fd >= 0 && some && more > 3 * some;
    }
    printf("%s: %s\n", name, good ? "more for more work" : "WRONG");
    close(fd);
}

static void filters(void) {
    int user = counter(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 1, 0, 0), kernel = counter(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 0, 1, 0);
    bool loop = false, call = false;
    for (int k = 0; k < TRIES && !(loop && call); k++) {
        uint64_t loop_user = during(user, spin, 60000000), loop_kernel = during(kernel, spin, 60000000);
        uint64_t calls_user = during(user, calls, 100000), calls_kernel = during(kernel, calls, 100000);
        loop |= loop_user > 3 * loop_kernel;
        call |= calls_kernel > calls_user / 4 && calls_user;
    }
    printf("a loop is %s, calls are %s\n", loop ? "the user's" : "WRONG", call ? "the kernel's, too" : "WRONG");
    close(user);
    close(kernel);
}

static void samples(void) {
    int fd = counter(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, 1, 0, 1000000), all = 0, here = 0;
    struct perf_event_mmap_page *page = mmap(NULL, 33 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        printf("samples: WRONG\n");
        return;
    }
    during(fd, spin, 300000000);
    for (uint64_t at = 0; at < page->data_head;) {
        struct { struct perf_event_header head; uint64_t ip; } *record = (void *)((char *)page + 4096 + at);
        if (record->head.type == PERF_RECORD_SAMPLE) all++, here += record->ip - (uintptr_t)spin < 64;
        at += record->head.size;
    }
    printf("samples: %s, %s\n", all > 20 ? "many" : "WRONG", here > all / 2 ? "in the loop" : "WRONG");
    close(fd);
}

static void stride(long n) {
    static volatile char *memory;
    if (!memory) {
        memory = mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise((void *)memory, 256 << 20, MADV_NOHUGEPAGE);
    }
    for (long k = 0; k < n; k++) (void)memory[k % 65536 * 4096];
}

static void misses(void) {
    int fd = counter(PERF_TYPE_HW_CACHE, PERF_COUNT_HW_CACHE_DTLB | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16, 1, 1, 0);
    uint64_t few = during(fd, spin, 1000), many = during(fd, stride, 65536);
    printf("misses: %s\n", fd >= 0 && many > 60000 && few < many / 4 ? "of pages that are strange" : "WRONG");
    close(fd);
}

int main(void) {
    counts("cycles", PERF_COUNT_HW_CPU_CYCLES);
    counts("instructions", PERF_COUNT_HW_INSTRUCTIONS);
    filters();
    samples();
    misses();
    return 0;
}
