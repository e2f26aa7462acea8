/* SPDX-License-Identifier: Apache-2.0 */
/* The first program. */
//: args: one "two words" ''
#include "t.h"
int main(int argc, char **argv) {
    puts("hello");
    for (int i = 1; i < argc; i++) printf("%d <%s>\n", i, argv[i]);
    fprintf(stdout, "%s %5d %-5d| %08.3f %g %e %a\n", "text", 42, 42, 3.14159, 1e100, 1.0 / 3, 0.1);
    return 7;
}
