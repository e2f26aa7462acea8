/* SPDX-License-Identifier: Apache-2.0 */
/* Raw Linux system calls of the host: the result is the value or -errno, `errno` is never touched,
 * so they work in threads that have no C library state. Numbers come from <sys/syscall.h>. */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include "base/base.h"
#include <sys/syscall.h>
#include <sys/uio.h>

#if defined(__x86_64__)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f) {
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#elif defined(__riscv)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = n;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
#else
#error "base/sys.h: no system call sequence for this host"
#endif

#define SYS_ARG_(_0, a, b, c, d, e, f, ...) (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)
/* sys_call(SYS_read, fd, buf, size): up to six arguments. */
#define sys_call(n, ...) sys_call_((n), SYS_ARG_(0, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0))
#define sys_call_(n, ...) sys_call6((n), __VA_ARGS__)

typedef struct SysDirEntry { /* what getdents64(2) fills in */
    u64 ino;
    i64 off;
    u16 reclen;
    u8 type;
    char name[];
} SysDirEntry;

/* Host mmap; on failure a -errno value: test with sys_failed(). */
static inline void *sys_mmap(void *at, size_t size, int prot, int flags, int fd, u64 offset) {
    return (void *)sys_call(SYS_mmap, at, size, prot, flags, fd, offset);
}
static inline int sys_munmap(void *at, size_t size) { return (int)sys_call(SYS_munmap, at, size); }
static inline int sys_mprotect(void *at, size_t size, int prot) { return (int)sys_call(SYS_mprotect, at, size, prot); }
/* Copies memory of this process by the kernel, for threads in which a fault must not happen. Bytes copied: as far as memory is there, by pages. */
static inline size_t sys_read_memory(void *to, const void *from, size_t size) {
    struct iovec local = {to, size}, remote = {(void *)from, size};
    long self = sys_call(SYS_getpid), n = sys_call(SYS_process_vm_readv, self, &local, 1, &remote, 1, 0);
    return n > 0 ? (size_t)n : 0;
}
static inline bool sys_failed(const void *p) { return (u64)p >= (u64)-4095; }
_Noreturn static inline void sys_exit_group(int status) {
    for (;;) sys_call(SYS_exit_group, status);
}
static inline long sys_futex(u32 *word, int op, u32 value, const void *timeout) {
    return sys_call(SYS_futex, word, op, value, timeout, 0, 0);
}

#endif
