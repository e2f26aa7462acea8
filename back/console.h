/* SPDX-License-Identifier: Apache-2.0 */
/* back/console: where a guest's serial port or console comes out at the host.
 *
 * Kinds, as the user names them: "stdio" (the terminal in raw mode; see below), "file:PATH" (output only), "pty" (console_name
 * tells which), "socket:PATH" (one client of a Unix socket at a time), "null". A thread of its own reads the host's side and hands bytes to the device; it reads no more
 * than the ring holds, so a guest that does not listen costs nothing. Writes never block for longer than the host's side takes; a
 * pty or socket that nobody reads loses bytes rather than to stop the guest.
 *
 * On stdio Ctrl-A is the escape: Ctrl-A x ends the machine, Ctrl-A s writes a snapshot, Ctrl-A h tells this, Ctrl-A Ctrl-A sends one.
 */
#ifndef BACK_CONSOLE_H
#define BACK_CONSOLE_H

#include "base/base.h"

typedef struct Console Console;

typedef struct ConsoleUser {
    void *ctx;
    /* Bytes came; the device takes them with console_read. On the console's thread. May be NULL. */
    void (*ready)(void *ctx);
} ConsoleUser;

/* What an escape asks for: 'x' (end), 's' (snapshot), 'c' (a line typed at the menu; NULL otherwise); on the console's thread. May be NULL. */
typedef void ConsoleEscape(void *ctx, char what, const char *line);

/* NULL: `why` says why. */
Console *console_new(const char *kind, char *why, size_t why_size);
void console_drop(Console *c);
/* Of a machine that is recorded: what comes in is told, with the gate held (back/gate.h). Of one that is replayed: what comes in is lost (`deaf`), and
 * console_feed says what came. Before console_attach. */
typedef struct Gate Gate;
typedef struct ConsoleTap {
    Gate *gate;
    void *ctx;
    void (*taken)(void *ctx, const u8 *bytes, size_t size);
    bool deaf;
} ConsoleTap;
void console_set_tap(Console *c, const ConsoleTap *tap);
void console_feed(Console *c, const u8 *bytes, size_t size);
/* The device at the guest's side; from now on the host's side is read. Once. */
void console_attach(Console *c, const ConsoleUser *user);
void console_on_escape(Console *c, ConsoleEscape *escape, void *ctx);
/* Takes up to `size` bytes that came in; 0: none. Any thread. */
size_t console_read(Console *c, void *to, size_t size);
/* Any thread. */
void console_write(Console *c, const void *from, size_t size);
/* Its output and input are the program's own: escapes belong here. */
bool console_is_stdio(const Console *c);
/* Path of the pty, or of the socket, or "". */
const char *console_name(const Console *c);

/* The terminal back to how it was: for the end of the program, from any thread and from signal handlers. */
void console_restore(void);

#endif
