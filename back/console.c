/* SPDX-License-Identifier: Apache-2.0 */
/* Consoles at the host's side: back/console.h. One thread per console polls; input waits in a ring until the device takes it. Output is
 * gathered to lines, since guests write byte by byte: the thread writes what no line's end has followed for a millisecond. */
#include "back/console.h"
#include "back/gate.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

enum { INPUT_SIZE = 4096, ESCAPE = 1 /* Ctrl-A */, STUCK_MS = 100, PTY_IDLE_MS = 200, GATHER_SIZE = 256, GATHER_MS = 1 };
typedef enum ConsoleKind { KIND_NULL, KIND_STDIO, KIND_FILE, KIND_PTY, KIND_SOCKET } ConsoleKind;

struct Console {
    ConsoleKind kind;
    int in, out;     /* -1: none (socket: nobody is connected) */
    int listener;    /* socket */
    int wake;        /* eventfd: there is room again, or the end */
    bool is_terminal, escaped; /* the last byte was the escape */
    bool menu;       /* what is typed is a line for us */
    char line[256];
    u32 line_len;
    bool attached, stopping;
    bool stuck;      /* nobody reads what we write: don't wait for them */
    char name[108];
    pthread_t thread;
    pthread_mutex_t lock, out_lock; /* of the ring; of writing */
    u8 input[INPUT_SIZE];
    u32 head, len;   /* ring: first byte, bytes */
    u8 output[GATHER_SIZE];
    u32 output_len;  /* bytes that are not written yet */
    ConsoleUser user;
    ConsoleTap tap;
    ConsoleEscape *escape;
    void *escape_ctx;
};

/* --- the terminal ------------------------------------------------------------------------- */

/* The process's terminal is one thing for the process, and signal handlers must find it. */
static struct termios terminal_before;
static int terminal_raw;

static void terminal_set(void) {
    struct termios t;
    if (tcgetattr(STDIN_FILENO, &t)) return;
    terminal_before = t;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    if (!tcsetattr(STDIN_FILENO, TCSANOW, &t)) __atomic_store_n(&terminal_raw, 1, __ATOMIC_SEQ_CST);
}

void console_restore(void) {
    if (__atomic_exchange_n(&terminal_raw, 0, __ATOMIC_SEQ_CST)) tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

/* --- input -------------------------------------------------------------------------------- */

static const char help[] = "\r\nCtrl-A x  end the machine\r\nCtrl-A s  snapshot\r\nCtrl-A c  menu, and back to the guest\r\nCtrl-A Ctrl-A  send Ctrl-A\r\nCtrl-A h  this help\r\n";

static void say(Console *c, const char *text) { console_write(c, text, strlen(text)); }

static void menu_switch(Console *c, bool on) {
    c->menu = on;
    c->line_len = 0;
    say(c, on ? "\r\n(isomer) " : "\r\n");
}

/* An empty line goes back to the guest, too. */
static void menu_key(Console *c, u8 byte) {
    if (byte == '\r' || byte == '\n') {
        c->line[c->line_len] = 0;
        say(c, "\r\n");
        if (c->line_len && c->escape) c->escape(c->escape_ctx, 'c', c->line);
        menu_switch(c, c->line_len != 0);
    } else if ((byte == 0x7f || byte == '\b') && c->line_len) {
        c->line_len--;
        say(c, "\b \b");
    } else if (byte >= ' ' && byte < 0x7f && c->line_len + 1 < sizeof(c->line)) {
        c->line[c->line_len++] = (char)byte;
        console_write(c, &byte, 1);
    }
}

/* Takes a byte from the terminal; false: it is none for the guest. */
static bool escape_filter(Console *c, u8 byte) {
    if (!c->is_terminal) return true;
    bool escaped = c->escaped;
    c->escaped = !escaped && byte == ESCAPE;
    if (c->escaped) return false;
    if (!escaped || byte == ESCAPE) {
        if (!c->menu) return true;
        menu_key(c, byte);
        return false;
    }
    if (byte == 'h' || byte == '?') say(c, help);
    else if (byte == 'c') menu_switch(c, !c->menu);
    else if ((byte == 'x' || byte == 's') && c->escape) c->escape(c->escape_ctx, (char)byte, NULL);
    return false;
}

static u32 room_get(Console *c) {
    pthread_mutex_lock(&c->lock);
    u32 room = INPUT_SIZE - c->len;
    pthread_mutex_unlock(&c->lock);
    return room;
}

void console_feed(Console *c, const u8 *bytes, size_t size) {
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < size && c->len < INPUT_SIZE; i++) c->input[(c->head + c->len++) % INPUT_SIZE] = bytes[i];
    pthread_mutex_unlock(&c->lock);
    if (size && c->user.ready) c->user.ready(c->user.ctx);
}

static void input_add(Console *c, const u8 *bytes, size_t size) {
    if (c->tap.deaf || !size) return;
    gate_enter(c->tap.gate);
    if (c->tap.taken) c->tap.taken(c->tap.ctx, bytes, size);
    console_feed(c, bytes, size);
    gate_leave(c->tap.gate);
}

static void client_drop(Console *c) {
    pthread_mutex_lock(&c->out_lock);
    close(c->in);
    c->in = c->out = -1;
    pthread_mutex_unlock(&c->out_lock);
}

static void client_accept(Console *c) {
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    pthread_mutex_lock(&c->out_lock);
    c->in = c->out = fd;
    c->stuck = false;
    pthread_mutex_unlock(&c->out_lock);
}

/* Reads what is there. False: the host's side has no more, ever. */
static bool input_take(Console *c) {
    u8 got[256], keep[256];
    ssize_t n = read(c->in, got, MIN((u32)sizeof(got), room_get(c)));
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0 && c->kind == KIND_SOCKET) client_drop(c);
    else if (n < 0 && c->kind == KIND_PTY) usleep(PTY_IDLE_MS * 1000); /* EIO: nobody has opened the other side */
    else if (n <= 0) return false;
    size_t len = 0;
    for (ssize_t i = 0; i < n; i++)
        if (escape_filter(c, got[i])) keep[len++] = got[i];
    input_add(c, keep, len);
    return true;
}

static void output_write(Console *c, const u8 *at, size_t size);

/* With out_lock held. */
static void output_flush(Console *c) {
    u32 len = c->output_len;
    c->output_len = 0;
    output_write(c, c->output, len);
}

static bool output_waits(Console *c) {
    pthread_mutex_lock(&c->out_lock);
    bool waits = c->output_len != 0;
    pthread_mutex_unlock(&c->out_lock);
    return waits;
}

static void output_settle(Console *c) {
    pthread_mutex_lock(&c->out_lock);
    output_flush(c);
    pthread_mutex_unlock(&c->out_lock);
}

static void *console_run(void *arg) {
    Console *c = arg;
    bool more = true;
    while (!__atomic_load_n(&c->stopping, __ATOMIC_ACQUIRE)) {
        bool listening = c->kind == KIND_SOCKET && c->in < 0, reading = more && c->in >= 0 && room_get(c);
        struct pollfd fds[2] = {{.fd = c->wake, .events = POLLIN},
                                {.fd = listening ? c->listener : reading ? c->in : -1, .events = POLLIN}};
        int ready = poll(fds, 2, output_waits(c) ? GATHER_MS : -1);
        if (ready < 0 && errno != EINTR) break;
        if (ready == 0) output_settle(c);
        u64 count;
        if (fds[0].revents && read(c->wake, &count, sizeof(count)) < 0) continue;
        if (fds[1].revents && listening) client_accept(c);
        else if (fds[1].revents) more = input_take(c);
    }
    return NULL;
}

static void console_wake(Console *c) {
    u64 one = 1;
    if (write(c->wake, &one, sizeof(one)) < 0) return; /* it is full: awake enough */
}

size_t console_read(Console *c, void *to, size_t size) {
    pthread_mutex_lock(&c->lock);
    bool was_full = c->len == INPUT_SIZE;
    size_t n = MIN(size, (size_t)c->len);
    for (size_t i = 0; i < n; i++) ((u8 *)to)[i] = c->input[(c->head + i) % INPUT_SIZE];
    c->head = (u32)((c->head + n) % INPUT_SIZE);
    c->len -= (u32)n;
    pthread_mutex_unlock(&c->lock);
    if (was_full && n) console_wake(c);
    return n;
}

/* --- output ------------------------------------------------------------------------------- */

/* The host's side takes no more just now: true, try again. Who reads ptys and sockets may have gone for good. */
static bool output_wait(Console *c) {
    bool may_lose = c->kind == KIND_PTY || c->kind == KIND_SOCKET;
    struct pollfd p = {.fd = c->out, .events = POLLOUT};
    int n = poll(&p, 1, !may_lose ? -1 : c->stuck ? 0 : STUCK_MS);
    c->stuck = n == 0;
    return n > 0 || (n < 0 && errno == EINTR);
}

static void output_write(Console *c, const u8 *at, size_t size) {
    while (size && c->out >= 0) {
        ssize_t n = c->kind == KIND_SOCKET ? send(c->out, at, size, MSG_NOSIGNAL | MSG_DONTWAIT) : write(c->out, at, size);
        if (n > 0) {
            at += n;
            size -= (size_t)n;
            c->stuck = false;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !output_wait(c)) {
            return;
        }
    }
}

void console_write(Console *c, const void *from, size_t size) {
    pthread_mutex_lock(&c->out_lock);
    bool was_empty = !c->output_len, whole = !c->attached || size >= GATHER_SIZE || memchr(from, '\n', size);
    if (size > GATHER_SIZE - c->output_len) output_flush(c);
    if (size <= GATHER_SIZE) {
        memcpy(c->output + c->output_len, from, size);
        c->output_len += (u32)size;
    }
    if (whole) output_flush(c);
    if (size > GATHER_SIZE) output_write(c, from, size);
    bool waits = was_empty && c->output_len;
    pthread_mutex_unlock(&c->out_lock);
    if (waits) console_wake(c);
}

/* --- making ------------------------------------------------------------------------------- */

static bool open_pty(Console *c, char *why, size_t why_size) {
    c->in = c->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    struct termios t;
    if (c->in < 0 || grantpt(c->in) || unlockpt(c->in) || ptsname_r(c->in, c->name, sizeof(c->name)))
        return back_fail(why, why_size, "no pseudo-terminal for the console: %s", strerror(errno));
    if (!tcgetattr(c->in, &t)) {
        cfmakeraw(&t); /* what the guest prints must not come back as its input */
        tcsetattr(c->in, TCSANOW, &t);
    }
    return true;
}

static bool open_socket(Console *c, const char *path, char *why, size_t why_size) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(at.sun_path)) return back_fail(why, why_size, "%s: the name is too long for a socket", path);
    strcpy(at.sun_path, path);
    strcpy(c->name, path);
    unlink(path);
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0 || bind(c->listener, (struct sockaddr *)&at, sizeof(at)) || listen(c->listener, 1))
        return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    return true;
}

static bool open_kind(Console *c, const char *kind, char *why, size_t why_size) {
    if (!strcmp(kind, "null")) return true;
    if (!strcmp(kind, "stdio")) {
        c->kind = KIND_STDIO;
        c->in = STDIN_FILENO;
        c->out = STDOUT_FILENO;
        c->is_terminal = isatty(STDIN_FILENO);
        return true;
    }
    if (!strcmp(kind, "pty")) {
        c->kind = KIND_PTY;
        return open_pty(c, why, why_size);
    }
    if (!strncmp(kind, "socket:", 7)) {
        c->kind = KIND_SOCKET;
        return open_socket(c, kind + 7, why, why_size);
    }
    if (strncmp(kind, "file:", 5)) return back_fail(why, why_size, "%s: no such kind of console (stdio, file:PATH, pty, socket:PATH, null)", kind);
    c->kind = KIND_FILE;
    c->out = open(kind + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return c->out >= 0 || back_fail(why, why_size, "%s: %s", kind + 5, strerror(errno));
}

Console *console_new(const char *kind, char *why, size_t why_size) {
    Console *c = back_alloc(sizeof(*c));
    c->in = c->out = c->listener = -1;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->out_lock, NULL);
    if (c->wake < 0) back_fail(why, why_size, "no event descriptor: %s", strerror(errno));
    else if (open_kind(c, kind, why, why_size)) return c;
    console_drop(c);
    return NULL;
}

void console_set_tap(Console *c, const ConsoleTap *tap) { c->tap = *tap; }

void console_attach(Console *c, const ConsoleUser *user) {
    c->user = *user;
    if (c->is_terminal) terminal_set();
    if (c->kind != KIND_NULL) c->attached = back_thread(&c->thread, console_run, c);
}

void console_on_escape(Console *c, ConsoleEscape *escape, void *ctx) {
    c->escape_ctx = ctx;
    c->escape = escape;
}

bool console_is_stdio(const Console *c) { return c->kind == KIND_STDIO; }

const char *console_name(const Console *c) { return c->name; }

void console_drop(Console *c) {
    __atomic_store_n(&c->stopping, true, __ATOMIC_RELEASE);
    if (c->attached) {
        console_wake(c);
        pthread_join(c->thread, NULL);
    }
    output_flush(c);
    if (c->is_terminal) console_restore();
    if (c->kind == KIND_SOCKET && c->name[0]) unlink(c->name);
    if (c->kind != KIND_STDIO && c->in >= 0) close(c->in);
    if (c->kind == KIND_FILE && c->out >= 0) close(c->out);
    if (c->listener >= 0) close(c->listener);
    if (c->wake >= 0) close(c->wake);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->out_lock);
    free(c);
}
