/* SPDX-License-Identifier: Apache-2.0 */
/* machine/control: a Unix socket at which other programs look after a machine.
 *
 * Each line is a JSON object with texts and numbers, {"command": "snapshot", "file": "/tmp/a.snap"}, and is answered by a line:
 * {"ok": true, ...} or {"ok": false, "error": "why"}. Commands:
 *
 *   status                 "state": "running" or "paused", "harts", "memory", "balloon" (bytes given up)
 *   pause, continue        stop the harts where they are, let them go on
 *   stop                   end the machine, as if its power was cut
 *   reset                  start it again, as its reset button would
 *   snapshot, file         write all of the machine to a file
 *   balloon, size          ask the guest to give up so many bytes
 *
 * Any number of programs at a time; who can open the socket (mode 0600) may do all this.
 */
#ifndef MACHINE_CONTROL_H
#define MACHINE_CONTROL_H

#include "machine/machine.h"

typedef struct Control Control;
/* Listens; what was at the path is removed. NULL: why. */
Control *control_new(Machine *m, const char *path, char *why, size_t why_size);
void control_drop(Control *c);

/* The same for people: "snapshot FILE", "balloon 512M", "help"; the answer is text in lines. */
void control_words(Machine *m, const char *line, Text *answer);

/* One line's answer, with a newline. For tests. */
void control_line(Machine *m, const char *line, Text *answer);

/* The other side: sends a command with a file's name, and waits for the answer. False: why. */
bool control_ask(const char *path, const char *command, const char *file, char *why, size_t why_size);

#endif
