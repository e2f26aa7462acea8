/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: machine/control.h. One thread serves all connections: what it does is done in moments, but for snapshots, for which others wait. */
#include "machine/control.h"
#include "back/back.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 16, LINE = 8192, TEXT = 4096, WHY = 512 };

typedef struct Client {
    int fd;
    u32 len;
    char line[LINE];
} Client;

struct Control {
    Machine *machine;
    int listener, wake;
    char path[108];
    pthread_t thread;
    Client *client[CLIENTS];
    u32 client_len;
};

/* --- JSON, as much as is needed: a flat object of texts and numbers ------------------------ */

typedef struct Fields {
    char command[32], file[TEXT];
    u64 size;
    bool has_size;
} Fields;

static const char *skip_space(const char *s) { return s + strspn(s, " \t\r\n"); }

/* A text in quotes; escapes of one character. Returns what follows, NULL: none. */
static const char *text_parse(const char *s, char *to, size_t size) {
    size_t len = 0;
    if (*s++ != '"') return NULL;
    for (; *s && *s != '"'; s++) {
        if (*s == '\\' && strchr("\"\\/", s[1]) && s[1]) s++;
        else if (*s == '\\') return NULL;
        if (len + 1 >= size) return NULL;
        to[len++] = *s;
    }
    to[len] = 0;
    return *s == '"' ? s + 1 : NULL;
}

static const char *member_parse(const char *s, Fields *f) {
    char name[32], ignored[TEXT];
    u64 number;
    s = text_parse(s, name, sizeof(name));
    if (!s || *(s = skip_space(s)) != ':') return NULL;
    s = skip_space(s + 1);
    if (*s == '"') {
        bool command = !strcmp(name, "command"), file = !strcmp(name, "file");
        return text_parse(s, command ? f->command : file ? f->file : ignored, command ? sizeof(f->command) : TEXT);
    }
    if (!parse_u64(s, &s, &number)) return NULL;
    if (!strcmp(name, "size")) f->size = number, f->has_size = true;
    return s;
}

static bool object_parse(const char *s, Fields *f) {
    s = skip_space(s);
    if (*s++ != '{') return false;
    for (s = skip_space(s); *s != '}'; s = skip_space(s)) {
        if (!(s = member_parse(s, f))) return false;
        s = skip_space(s);
        if (*s == ',') s = skip_space(s + 1);
        else if (*s != '}') return false;
    }
    return !*skip_space(s + 1);
}

static void text_quote(Text *t, const char *s) {
    text_char(t, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') text_char(t, '\\');
        text_char(t, (u8)*s < ' ' ? ' ' : *s);
    }
    text_char(t, '"');
}

/* --- commands ----------------------------------------------------------------------------- */

static void answer(Text *t, bool ok, const char *why) {
    if (ok) {
        text_print(t, "{\"ok\": true}\n");
        return;
    }
    text_print(t, "{\"ok\": false, \"error\": ");
    text_quote(t, why);
    text_print(t, "}\n");
}

static void status_answer(Machine *m, Text *t) {
    text_print(t, "{\"ok\": true, \"state\": \"%s\", \"harts\": %u, \"memory\": %llu, \"balloon\": %llu}\n", machine_is_paused(m) ? "paused" : "running",
               machine_hart_count(m), (unsigned long long)machine_memory(m)->ram_size, (unsigned long long)board_balloon_size(machine_board(m)));
}

static bool command_do(Machine *m, const Fields *f, char *why, size_t why_size) {
    if (!strcmp(f->command, "pause")) return machine_pause(m), true;
    if (!strcmp(f->command, "continue")) return machine_continue(m), true;
    if (!strcmp(f->command, "stop")) return machine_stop(m, PLATFORM_POWEROFF, 0), true;
    if (!strcmp(f->command, "reset")) return machine_stop(m, PLATFORM_REBOOT, 0), true;
    if (!strcmp(f->command, "snapshot")) return f->file[0] ? machine_snapshot(m, f->file, why, why_size) : back_fail(why, why_size, "a file is wanted");
    if (!strcmp(f->command, "balloon"))
        return (f->has_size && board_balloon_want(machine_board(m), f->size)) || back_fail(why, why_size, "a size is wanted, and a machine with a balloon");
    return back_fail(why, why_size, "%s: no such command (status, pause, continue, stop, reset, snapshot, balloon)", f->command);
}

void control_line(Machine *m, const char *line, Text *t) {
    char why[WHY] = "";
    Fields f = {0};
    if (!object_parse(line, &f)) answer(t, false, "a JSON object of texts and numbers is wanted");
    else if (!strcmp(f.command, "status")) status_answer(m, t);
    else answer(t, command_do(m, &f, why, sizeof(why)), why);
}

static void status_tell(Machine *m, Text *t) {
    text_print(t, "%s, %u harts, %llu MiB of memory, of which the guest has given up %llu\n", machine_is_paused(m) ? "paused" : "running", machine_hart_count(m),
               (unsigned long long)(machine_memory(m)->ram_size >> 20), (unsigned long long)(board_balloon_size(machine_board(m)) >> 20));
}

void control_words(Machine *m, const char *line, Text *t) {
    static const char help[] = "status, pause, continue    how it is; stop the harts, let them go on\nreset, quit               start again; end\n"
                               "snapshot FILE, balloon SIZE    write all of the machine to a file; ask the guest to give up memory\n";
    char why[WHY] = "";
    Fields f = {0};
    const char *rest = line + strcspn(line, " ");
    Text word = text_init(f.command, sizeof(f.command)), file = text_init(f.file, sizeof(f.file));
    text_print(&word, "%.*s", (int)(rest - line), line);
    text_print(&file, "%s", skip_space(rest));
    f.has_size = parse_size(f.file, 1, &f.size);
    if (!strcmp(f.command, "quit")) memcpy(f.command, "stop", 5);
    if (!strcmp(f.command, "help")) text_print(t, "%s", help);
    else if (!strcmp(f.command, "status")) status_tell(m, t);
    else if (!command_do(m, &f, why, sizeof(why))) text_print(t, "%s\n", why);
}

/* --- connections -------------------------------------------------------------------------- */

static void client_add(Control *c) {
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    Client *new = back_alloc(sizeof(*new));
    new->fd = fd;
    c->client[c->client_len++] = new;
}

static void client_drop(Control *c, u32 k) {
    close(c->client[k]->fd);
    free(c->client[k]);
    c->client[k] = c->client[--c->client_len];
}

/* Answers the lines that are whole. False: the program does not read its answers, or sent too long a line. */
static bool lines_answer(Control *c, Client *client) {
    char text[TEXT];
    for (char *end; (end = memchr(client->line, '\n', client->len));) {
        Text t = text_init(text, sizeof(text));
        *end = 0;
        control_line(c->machine, client->line, &t);
        if (send(client->fd, text, t.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)t.len) return false;
        client->len -= (u32)(end + 1 - client->line);
        memmove(client->line, end + 1, client->len);
    }
    return client->len < LINE;
}

static bool client_serve(Control *c, Client *client) {
    ssize_t n = recv(client->fd, client->line + client->len, LINE - client->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) return false;
    client->len += (u32)n;
    return lines_answer(c, client);
}

static void *control_run(void *arg) {
    Control *c = arg;
    for (;;) {
        struct pollfd fds[2 + CLIENTS] = {{.fd = c->wake, .events = POLLIN}, {.fd = c->client_len < CLIENTS ? c->listener : -1, .events = POLLIN}};
        u32 count = c->client_len;
        for (u32 k = 0; k < count; k++) fds[2 + k] = (struct pollfd){.fd = c->client[k]->fd, .events = POLLIN};
        if (poll(fds, 2 + count, -1) < 0 && errno != EINTR) break;
        if (fds[0].revents) break;
        for (u32 k = count; k-- > 0;) /* from the last: dropping one moves the last to its place */
            if (fds[2 + k].revents && !client_serve(c, c->client[k])) client_drop(c, k);
        if (fds[1].revents) client_add(c);
    }
    return NULL;
}

/* --- making ------------------------------------------------------------------------------- */

static bool socket_make(Control *c, const char *path, char *why, size_t why_size) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(at.sun_path)) return back_fail(why, why_size, "%s: too long a name for a socket", path);
    strcpy(at.sun_path, path);
    unlink(path);
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool bound = c->listener >= 0 && !bind(c->listener, (struct sockaddr *)&at, sizeof(at));
    umask(before);
    if (!bound || listen(c->listener, CLIENTS)) return back_fail(why, why_size, "%s: %s", path, strerror(errno));
    strcpy(c->path, path);
    return true;
}

Control *control_new(Machine *m, const char *path, char *why, size_t why_size) {
    Control *c = back_alloc(sizeof(*c));
    c->machine = m;
    c->listener = -1;
    c->wake = eventfd(0, EFD_CLOEXEC);
    if (socket_make(c, path, why, why_size) && back_thread(&c->thread, control_run, c)) return c;
    if (c->listener >= 0) close(c->listener);
    close(c->wake);
    free(c);
    return NULL;
}

void control_drop(Control *c) {
    u64 one = 1;
    if (!c) return;
    if (write(c->wake, &one, sizeof(one)) == sizeof(one)) pthread_join(c->thread, NULL);
    while (c->client_len) client_drop(c, 0);
    unlink(c->path);
    close(c->listener);
    close(c->wake);
    free(c);
}

/* --- the other side ----------------------------------------------------------------------- */

static bool talk(const char *path, const char *line, size_t size, char *reply, size_t reply_size) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(at.sun_path)) return false;
    strcpy(at.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = -1;
    reply[0] = 0;
    if (fd < 0) return false;
    if (!connect(fd, (struct sockaddr *)&at, sizeof(at)) && write(fd, line, size) == (ssize_t)size) n = read(fd, reply, reply_size - 1);
    reply[n > 0 ? n : 0] = 0;
    close(fd);
    return n > 0;
}

bool control_ask(const char *path, const char *command, const char *file, char *why, size_t why_size) {
    char line[LINE], reply[TEXT], full[TEXT] = "";
    Text t = text_init(line, sizeof(line));
    /* The machine has another working directory, perhaps. */
    if (file[0] != '/' && !getcwd(full, sizeof(full) / 2)) full[0] = 0;
    Text name = text_init(full + strlen(full), sizeof(full) - strlen(full));
    text_print(&name, file[0] != '/' ? "/%s" : "%s", file);
    text_print(&t, "{\"command\": \"%s\", \"file\": ", command);
    text_quote(&t, full);
    text_print(&t, "}\n");
    if (!talk(path, line, t.len, reply, sizeof(reply))) return back_fail(why, why_size, "%s: no machine answers there", path);
    if (!strncmp(reply, "{\"ok\": true", 11)) return true;
    const char *error = strstr(reply, "\"error\": \"");
    text_parse(error ? error + 9 : reply, why, why_size);
    return false;
}
