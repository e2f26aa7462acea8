/* SPDX-License-Identifier: Apache-2.0 */
/* isomer explain: see explain.c. */
#ifndef CMD_EXPLAIN_H
#define CMD_EXPLAIN_H

int cmd_explain(int argc, char **argv);

#endif
