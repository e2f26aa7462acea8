/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign roots: folders with a Debian of another architecture. isomer root makes them, isomer shell enters them. */
#ifndef CMD_ROOT_H
#define CMD_ROOT_H

#include "base/base.h"

int cmd_root(int argc, char **argv);
int cmd_shell(int argc, char **argv);
/* Is it an architecture that roots can be made for? */
bool root_arch(const char *name);

#endif
