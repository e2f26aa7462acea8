/* SPDX-License-Identifier: Apache-2.0 */
/* Start to exit of a small program; the driver runs it many times. */
#include "bench.h"
int main(void) {
    puts("hello");
    return 0;
}
