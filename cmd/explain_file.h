/* SPDX-License-Identifier: Apache-2.0 */
/* isomer explain PROGRAM FUNCTION: what the optimiser makes of a function's loops. See explain_file.c. */
#ifndef CMD_EXPLAIN_FILE_H
#define CMD_EXPLAIN_FILE_H

/* argv: PROGRAM, FUNCTION or hexadecimal ADDRESS, and -v for IR and host code. Returns the exit status. */
int explain_file(int argc, char **argv);

#endif
