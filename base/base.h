/* SPDX-License-Identifier: Apache-2.0 */
/* base: what every other folder stands on: integer types, bits, raw system calls, an arena, a
 * growable array, and a text builder.
 *
 * Everything here is freestanding: nothing needs a C library's thread-local storage, so it works in
 * guest threads (raw clone()s) and in signal handlers. Errors are -errno values; nothing prints and
 * nothing exits, except base_bug(), the end of a failed assertion.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef unsigned __int128 u128;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
typedef __int128 i128;

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(p, type, field) ((type *)((char *)(p)-offsetof(type, field)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)
#define PAGE_BYTES 4096u

static inline u64 align_down(u64 x, u64 to) { return x & -to; }
static inline u64 align_up(u64 x, u64 to) { return (x + to - 1) & -to; }
/* Sign-extends the low `bits` (1..64) of x. */
static inline i64 sext_bits(u64 x, unsigned bits) { return (i64)(x << (64 - bits)) >> (64 - bits); }
static inline u64 low_bits(u64 x, unsigned bits) { return bits >= 64 ? x : x & ((1ull << bits) - 1); }
static inline bool fits_i32(i64 x) { return x == (i32)x; }
static inline bool fits_i8(i64 x) { return x == (i8)x; }

/* Our own bugs only (STYLE.md, "four kinds of failure"): prints file, line and text on fd 2 and
 * dies by SIGABRT. */
_Noreturn void base_bug(const char *file, int line, const char *text);
#ifdef NDEBUG
#define ASSERT(x) ((void)sizeof(x))
#else
#define ASSERT(x) ((x) ? (void)0 : base_bug(__FILE__, __LINE__, #x))
#endif
#define BUG(text) base_bug(__FILE__, __LINE__, text)

/* --- memory ------------------------------------------------------------------------------- */

/* Bump allocator; chunks come from mmap and are given back by arena_drop or kept by arena_reset.
 * Not thread-safe: the owner locks. Allocation never fails: no memory at all is base_bug. */
typedef struct ArenaChunk ArenaChunk;
typedef struct Arena {
    ArenaChunk *chunk; /* newest, the one in use */
    u8 *at, *end;      /* free part of it */
} Arena;

/* Zeroed, 16-byte aligned. Valid until arena_reset or arena_drop. */
void *arena_alloc(Arena *a, size_t size);
/* An empty arena gets its first piece, of at least so many bytes; they cost nothing until they are used. */
void arena_reserve(Arena *a, size_t size);
/* Forgets all allocations; keeps the newest chunk for reuse. */
void arena_reset(Arena *a);
/* Gives everything back to the host. */
void arena_drop(Arena *a);

/* Growable array of T in memory of its own: VEC(u32) v = {0}; vec_push(&v, x); v.at[i]; v.len. */
#define VEC(T)                                                                                                       \
    struct {                                                                                                         \
        T *at;                                                                                                       \
        u32 len, cap; /* elements */                                                                                 \
    }
void base_grow(void **at, u32 *cap, u32 need, size_t elem_size);
#define vec_reserve(v, n)                                                                                            \
    ((n) > (v)->cap ? base_grow((void **)&(v)->at, &(v)->cap, (n), sizeof(*(v)->at)) : (void)0)
#define vec_push(v, x) (vec_reserve(v, (v)->len + 1), (v)->at[(v)->len++] = (x))
void base_vec_free(void *at, u32 cap, size_t elem_size);
#define vec_drop(v) (base_vec_free((v)->at, (v)->cap, sizeof(*(v)->at)), (v)->at = NULL, (v)->len = (v)->cap = 0)

/* --- text --------------------------------------------------------------------------------- */

/* Builds text in the caller's buffer; always NUL-terminated; what does not fit is dropped and
 * `cut` tells. */
typedef struct Text {
    char *at;
    size_t size, len; /* bytes of the buffer, bytes written (without the NUL) */
    bool cut;
} Text;

static inline Text text_init(char *buf, size_t size) {
    buf[0] = 0;
    return (Text){.at = buf, .size = size};
}
void text_char(Text *t, char c);
/* printf's subset: %s %.*s %c %d %u %x %X %p %% with l/ll/z, width, '0', '-', '#', '+'.  %s of NULL is "(null)". */
void text_print(Text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_vprint(Text *t, const char *fmt, va_list ap);
/* Formats and writes to a file descriptor in one write() of at most 1 KiB. */
void fd_print(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Reads an unsigned number: decimal, 0x hex, 0 octal. False if there is none or it overflows; *end (may be NULL) is set behind it. */
bool parse_u64(const char *s, const char **end, u64 *out);
/* A size in bytes, and nothing behind it: a number with a suffix K, M or G, or of `unit` if it has none. */
bool parse_size(const char *s, u64 unit, u64 *out);

/* --- hash, lock --------------------------------------------------------------------------- */

static inline u64 hash_u64(u64 x) {
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 29);
}
/* 64-bit content hash (not cryptographic). */
u64 hash_bytes(const void *data, size_t size, u64 seed);

/* A futex mutex: 0 free, 1 held, 2 held with waiters. Not recursive, usable between processes that share memory. */
typedef struct Lock {
    u32 word;
} Lock;
void lock_take(Lock *l);
void lock_give(Lock *l);

#endif
