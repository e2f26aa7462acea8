/* SPDX-License-Identifier: Apache-2.0 */
/* base: bodies. See base.h. */
#include "base/base.h"
#include "base/sys.h"
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>

_Noreturn void base_bug(const char *file, int line, const char *text) {
    fd_print(2, "isomer: internal error at %s:%d: %s\n", file, line, text);
    int pid = (int)sys_call(SYS_getpid), tid = (int)sys_call(SYS_gettid);
    u64 dfl[4] = {0}; /* struct sigaction of the kernel: SIG_DFL, whatever handler stands now */
    sys_call(SYS_rt_sigaction, SIGABRT, dfl, 0, 8);
    u64 set = 1ull << (SIGABRT - 1);
    sys_call(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
    sys_call(SYS_tgkill, pid, tid, SIGABRT);
    sys_exit_group(134);
}

/* --- memory ------------------------------------------------------------------------------- */

struct ArenaChunk {
    ArenaChunk *next;
    size_t size;
};

static void *pages_get(size_t size) {
    void *p = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(p)) BUG("out of host memory");
    return p;
}

static void arena_add_chunk(Arena *a, size_t need) {
    size_t size = align_up(need + sizeof(ArenaChunk) + 16, KIB(64));
    ArenaChunk *c = pages_get(size);
    c->next = a->chunk;
    c->size = size;
    a->chunk = c;
    a->at = (u8 *)align_up((u64)(c + 1), 16);
    a->end = (u8 *)c + size;
}

void *arena_alloc(Arena *a, size_t size) {
    size = align_up(size, 16);
    if ((size_t)(a->end - a->at) < size) arena_add_chunk(a, size);
    void *p = a->at;
    a->at += size;
    return p;
}

void arena_reserve(Arena *a, size_t size) {
    if (!a->chunk) arena_add_chunk(a, size);
}

void arena_reset(Arena *a) {
    ArenaChunk *kept = a->chunk, *next;
    if (!kept) return;
    for (ArenaChunk *c = a->chunk; c; c = c->next)
        if (c->size > kept->size) kept = c;
    u8 *start = (u8 *)align_up((u64)(kept + 1), 16), *end = (u8 *)kept + kept->size;
    memset(start, 0, (kept == a->chunk ? a->at : end) - start);
    for (ArenaChunk *c = a->chunk; c; c = next) {
        next = c->next;
        if (c != kept) sys_munmap(c, c->size);
    }
    kept->next = NULL;
    a->chunk = kept;
    a->at = start;
    a->end = end;
}

void arena_drop(Arena *a) {
    while (a->chunk) {
        ArenaChunk *next = a->chunk->next;
        sys_munmap(a->chunk, a->chunk->size);
        a->chunk = next;
    }
    a->at = a->end = NULL;
}

void base_grow(void **at, u32 *cap, u32 need, size_t elem_size) {
    size_t old_size = align_up(*cap * elem_size, PAGE_BYTES);
    size_t want = align_up(MAX((u64)need, 2ull * *cap) * elem_size, PAGE_BYTES);
    void *p;
    if (!*at) {
        p = pages_get(want);
    } else {
        p = (void *)sys_call(SYS_mremap, *at, old_size, want, MREMAP_MAYMOVE);
        if (sys_failed(p)) BUG("out of host memory");
    }
    *at = p;
    *cap = (u32)(want / elem_size);
}

void base_vec_free(void *at, u32 cap, size_t elem_size) {
    if (at) sys_munmap(at, align_up(cap * elem_size, PAGE_BYTES));
}

/* --- text --------------------------------------------------------------------------------- */

void text_char(Text *t, char c) {
    if (t->len + 1 >= t->size) {
        t->cut = true;
        return;
    }
    t->at[t->len++] = c;
    t->at[t->len] = 0;
}

typedef struct Field {
    bool left, zero, alt, plus;
    int width, precision; /* precision -1: none */
} Field;

static void text_field(Text *t, const char *s, size_t len, const Field *f) {
    size_t pad = f->width > (int)len ? (size_t)f->width - len : 0;
    if (!f->left)
        for (; pad; pad--) text_char(t, ' ');
    for (size_t i = 0; i < len; i++) text_char(t, s[i]);
    for (; pad; pad--) text_char(t, ' ');
}

static void text_number(Text *t, u64 v, bool negative, unsigned base, bool upper, const Field *f) {
    char buf[80];
    char *p = buf + sizeof buf, *digits_end = p;
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    bool prefix = f->alt && base == 16 && v;
    do *--p = digits[v % base];
    while (v /= base);
    int sign = negative || f->plus;
    int want = f->zero && !f->left ? f->width - sign - (prefix ? 2 : 0) : 0;
    want = MIN(MAX(want, f->precision), 64);
    while (digits_end - p < want) *--p = '0';
    if (prefix) *--p = upper ? 'X' : 'x', *--p = '0';
    if (sign) *--p = negative ? '-' : '+';
    text_field(t, p, digits_end - p, f);
}

static const char *parse_field(const char *s, Field *f, va_list *ap) {
    *f = (Field){.precision = -1};
    for (;; s++) {
        if (*s == '-') f->left = true;
        else if (*s == '0') f->zero = true;
        else if (*s == '#') f->alt = true;
        else if (*s == '+') f->plus = true;
        else break;
    }
    if (*s == '*') f->width = va_arg(*ap, int), s++;
    while (*s >= '0' && *s <= '9') f->width = f->width * 10 + (*s++ - '0');
    if (*s != '.') return s;
    f->precision = 0;
    if (*++s == '*') f->precision = va_arg(*ap, int), s++;
    while (*s >= '0' && *s <= '9') f->precision = f->precision * 10 + (*s++ - '0');
    return s;
}

void text_vprint(Text *t, const char *fmt, va_list list) {
    va_list ap;
    va_copy(ap, list);
    for (const char *s = fmt; *s; s++) {
        if (*s != '%') {
            text_char(t, *s);
            continue;
        }
        Field f;
        s = parse_field(s + 1, &f, &ap);
        bool wide = false;
        while (*s == 'l' || *s == 'z') wide = true, s++;
        switch (*s) {
        case 's': {
            const char *str = va_arg(ap, const char *);
            if (!str) str = "(null)";
            size_t len = 0;
            while ((f.precision < 0 || len < (size_t)f.precision) && str[len]) len++;
            text_field(t, str, len, &f);
            break;
        }
        case 'c': {
            char c = (char)va_arg(ap, int);
            text_field(t, &c, 1, &f);
            break;
        }
        case 'd': {
            i64 v = wide ? va_arg(ap, i64) : va_arg(ap, int);
            text_number(t, v < 0 ? -(u64)v : (u64)v, v < 0, 10, false, &f);
            break;
        }
        case 'u':
        case 'x':
        case 'X': {
            u64 v = wide ? va_arg(ap, u64) : va_arg(ap, unsigned);
            text_number(t, v, false, *s == 'u' ? 10 : 16, *s == 'X', &f);
            break;
        }
        case 'p': {
            f.alt = true;
            text_number(t, (u64)va_arg(ap, void *), false, 16, false, &f);
            break;
        }
        case '%': text_char(t, '%'); break;
        case 0: s--; break;
        default: text_char(t, *s);
        }
    }
    va_end(ap);
}

void text_print(Text *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    text_vprint(t, fmt, ap);
    va_end(ap);
}

void fd_print(int fd, const char *fmt, ...) {
    char buf[1024];
    Text t = text_init(buf, sizeof buf);
    va_list ap;
    va_start(ap, fmt);
    text_vprint(&t, fmt, ap);
    va_end(ap);
    for (size_t at = 0; at < t.len;) {
        long n = sys_call(SYS_write, fd, buf + at, t.len - at);
        if (n == -4) continue; /* EINTR */
        if (n <= 0) return;
        at += n;
    }
}

static int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

bool parse_u64(const char *s, const char **end, u64 *out) {
    unsigned base = 10;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) base = 16, s += 2;
    else if (s[0] == '0' && s[1]) base = 8;
    if (digit_value(*s) >= (int)base) return false;
    u64 v = 0;
    for (int d; (d = digit_value(*s)) < (int)base; s++)
        if (__builtin_mul_overflow(v, (u64)base, &v) || __builtin_add_overflow(v, (u64)d, &v)) return false;
    if (end) *end = s;
    *out = v;
    return end || !*s;
}

bool parse_size(const char *s, u64 unit, u64 *out) {
    const char *end;
    u64 v, scale = unit;
    if (!parse_u64(s, &end, &v)) return false;
    if (*end == 'K' || *end == 'k') scale = KIB(1), end++;
    else if (*end == 'M' || *end == 'm') scale = MIB(1), end++;
    else if (*end == 'G' || *end == 'g') scale = GIB(1), end++;
    return !*end && !__builtin_mul_overflow(v, scale, out);
}

/* --- hash, lock --------------------------------------------------------------------------- */

u64 hash_bytes(const void *data, size_t size, u64 seed) {
    const u8 *p = data;
    u64 h = hash_u64(seed ^ size);
    for (; size >= 8; p += 8, size -= 8) {
        u64 w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9fb21c651e98df25ull;
        h ^= h >> 32;
    }
    u64 tail = 0;
    memcpy(&tail, p, size);
    return hash_u64((h ^ tail) * 0x9fb21c651e98df25ull);
}

void lock_take(Lock *l) {
    u32 free_word = 0;
    if (LIKELY(__atomic_compare_exchange_n(&l->word, &free_word, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))) return;
    while (__atomic_exchange_n(&l->word, 2, __ATOMIC_ACQUIRE) != 0) sys_futex(&l->word, FUTEX_WAIT, 2, NULL);
}

void lock_give(Lock *l) {
    if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) == 2) sys_futex(&l->word, FUTEX_WAKE, 1, NULL);
}
