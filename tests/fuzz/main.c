/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds a fuzz target random bytes: fuzz_NAME COUNT SEED. Prints "N passed, 0 failed"; a failure aborts. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    u64 count = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000, state = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    u8 data[512];
    for (u64 n = 0; n < count; n++) {
        for (size_t i = 0; i < sizeof(data); i += 8) {
            u64 x = hash_u64(state += 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
            memcpy(data + i, &x, 8);
        }
        LLVMFuzzerTestOneInput(data, 1 + state % sizeof(data));
    }
    printf("%llu passed, 0 failed\n", (unsigned long long)count);
    return 0;
}
