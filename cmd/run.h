/* SPDX-License-Identifier: Apache-2.0 */
/* isomer run: see run.c. */
#ifndef CMD_RUN_H
#define CMD_RUN_H

/* argv[0] is the command's name ("run", or "qemu-riscv64"). Returns the exit status if nothing was run. */
int cmd_run(int argc, char **argv);

#endif
