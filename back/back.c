/* SPDX-License-Identifier: Apache-2.0 */
/* What all back ends share: back/back.h. */
#include "back/back.h"
#include <signal.h>
#include <time.h>

bool back_thread(pthread_t *out, void *(*run)(void *), void *arg) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(out, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err == 0;
}

u64 back_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

bool back_fail(char *why, size_t why_size, const char *fmt, ...) {
    Text t = text_init(why, why_size);
    va_list ap;
    va_start(ap, fmt);
    text_vprint(&t, fmt, ap);
    va_end(ap);
    return false;
}

bool back_option(const char **spec, char *key, char *value, size_t size) {
    const char *s = *spec;
    if (!s || !*s) return false;
    size_t len = strcspn(s, ","), name = strcspn(s, ",=");
    Text k = text_init(key, size), v = text_init(value, size);
    text_print(&k, "%.*s", (int)name, s);
    if (name < len) text_print(&v, "%.*s", (int)(len - name - 1), s + name + 1);
    else text_print(&v, "on");
    *spec = s + len + (s[len] == ',');
    return true;
}

u32 iov_slice(const struct iovec *iov, u32 len, u64 offset, u64 size, struct iovec *to) {
    u32 n = 0;
    for (u32 i = 0; i < len && size; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        u64 part = MIN(size, iov[i].iov_len - offset);
        to[n++] = (struct iovec){(u8 *)iov[i].iov_base + offset, part};
        size -= part;
        offset = 0;
    }
    return n;
}
