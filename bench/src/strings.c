/* SPDX-License-Identifier: Apache-2.0 */
/* Text: libc's string functions, word counting, an LZ-like matcher, number formatting. */
#include "bench.h"
static char text[1 << 20], copy[1 << 20], line[256];
int main(void) {
    static const char *const words[] = {"the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "and", "runs"};
    size_t n = 0;
    uint64_t sum = 0;
    while (n < sizeof(text) - 16) {
        const char *w = words[bench_random() % 10];
        n += (size_t)sprintf(text + n, "%s%c", w, bench_random() % 10 ? ' ' : '\n');
    }
    for (int round = 0; round < 50; round++) {
        memcpy(copy, text, n + 1);
        sum += strlen(copy);
        for (char *p = copy; (p = strchr(p, '\n')); p++) sum++;
        for (char *p = copy; (p = strstr(p, "lazy dog")); p++) sum += 3;
        sum += memcmp(text, copy, n) == 0;
    }
    for (int round = 0; round < 12; round++) {
        int in_word = 0;
        uint32_t hash = 0;
        for (size_t i = 0; i < n; i++) {
            unsigned char c = text[i];
            if (c >= 'a' && c <= 'z') hash = hash * 33 + c, in_word = 1;
            else if (in_word) sum += hash & 0xff, hash = 0, in_word = 0;
        }
    }
    static uint32_t heads[4096];
    for (size_t i = 0; i + 4 < n;) {
        uint32_t h = ((unsigned char)text[i] * 16777619u ^ (unsigned char)text[i + 1] * 65599u ^ (unsigned char)text[i + 2]) & 4095;
        size_t at = heads[h], length = 0;
        heads[h] = (uint32_t)i;
        while (at < i && length < 100 && i + length < n && text[at + length] == text[i + length]) length++;
        sum += length;
        i += length > 3 ? length : 1;
    }
    for (int i = 0; i < 200000; i++) {
        snprintf(line, sizeof(line), "%d:%08x:%s:%lu", i, i * 77, words[i % 10], (unsigned long)i * i);
        sum += strtoul(strrchr(line, ':') + 1, NULL, 10);
    }
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
