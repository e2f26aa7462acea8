/* SPDX-License-Identifier: Apache-2.0 */
/* isomer-vm, the program behind `isomer boot`: its options, as one table. */
#ifndef CMD_VM_H
#define CMD_VM_H

/* Finds isomer-vm beside this program, or where a package puts it, and becomes it. Returns only if it cannot: exit status. */
int cmd_boot(int argc, char **argv);
/* Likewise; SOCKET FILE: writes a running machine to a file. */
int cmd_snapshot(int argc, char **argv);

#endif
