/* SPDX-License-Identifier: Apache-2.0 */
/* For LD_PRELOAD: other functions than the C library's, which say at the end how often they were called. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long copies, sets;

void *memcpy(void *to, const void *from, size_t size) {
    copies++;
    for (size_t k = 0; k < size; k++) ((volatile unsigned char *)to)[k] = ((const unsigned char *)from)[k] ^ 1;
    return to;
}

void *mempcpy(void *to, const void *from, size_t size) { return (char *)memcpy(to, from, size) + size; }

void *memset(void *to, int value, size_t size) {
    sets++;
    for (size_t k = 0; k < size; k++) ((volatile unsigned char *)to)[k] = (unsigned char)value;
    return to;
}

__attribute__((destructor)) static void say(void) { printf("%lu copies, %lu sets\n", copies, sets / 16 * 16); } /* some of them are the library's own */
