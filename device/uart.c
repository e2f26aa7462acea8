/* SPDX-License-Identifier: Apache-2.0 */
/* A 16550A serial port. Bytes go out at once, so the transmitter is always empty; bytes that came in wait in the console until there
 * is room in the FIFO. Line speed, parity and so on are kept and mean nothing. [PC16550D data sheet, 8] */
#include "back/back.h"
#include "device/devices.h"

enum { RBR = 0, IER = 1, IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { IER_RECEIVED = 1, IER_SENT = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_SENT = 2, IIR_RECEIVED = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_FIFO = 0xc0 };
enum { LCR_DLAB = 0x80, LCR_BREAK = 0x40, MCR_LOOP = 0x10, FCR_ENABLE = 1, FCR_CLEAR_RX = 2 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_EMPTY = 0x60, MSR_CONNECTED = 0xb0 /* DCD, DSR, CTS */ };
enum { FIFO = 16 };

struct Uart {
    pthread_mutex_t lock;
    Console *console;
    Irq irq;
    u8 ier, lcr, mcr, scr, fcr, divisor[2];
    bool sent;      /* the transmitter became empty, and nobody has seen it */
    bool overrun;
    u8 fifo[FIFO];
    u32 head, len;  /* ring of received bytes */
};

static u32 fifo_size(const Uart *u) { return u->fcr & FCR_ENABLE ? FIFO : 1; }

static void fifo_push(Uart *u, u8 byte) {
    if (u->len < fifo_size(u)) u->fifo[(u->head + u->len++) % FIFO] = byte;
    else u->overrun = true;
}

/* Takes from the console what fits. Not while looped back: then the line is cut. */
static void fifo_fill(Uart *u) {
    u8 byte;
    while (!(u->mcr & MCR_LOOP) && u->len < fifo_size(u) && console_read(u->console, &byte, 1)) fifo_push(u, byte);
}

/* The reason with the highest priority. A FIFO below its trigger level counts as timed out at once: time means nothing here. */
static u8 reason_get(const Uart *u) {
    static const u8 trigger[4] = {1, 4, 8, 14};
    if ((u->ier & IER_LINE) && u->overrun) return IIR_LINE;
    if ((u->ier & IER_RECEIVED) && u->len) return !(u->fcr & FCR_ENABLE) || u->len >= trigger[u->fcr >> 6] ? IIR_RECEIVED : IIR_TIMEOUT;
    if ((u->ier & IER_SENT) && u->sent) return IIR_SENT;
    return IIR_NONE;
}

static void irq_update(Uart *u) { irq_set(&u->irq, reason_get(u) != IIR_NONE); }

static u8 received_read(Uart *u) {
    if (!u->len) return 0;
    u8 byte = u->fifo[u->head];
    u->head = (u->head + 1) % FIFO;
    u->len--;
    fifo_fill(u);
    return byte;
}

static u8 reason_read(Uart *u) {
    u8 reason = reason_get(u);
    if (reason == IIR_SENT) u->sent = false;
    return reason | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static u8 line_read(Uart *u) {
    u8 status = LSR_EMPTY | (u->len ? LSR_READY : 0) | (u->overrun ? LSR_OVERRUN : 0);
    u->overrun = false;
    return status;
}

/* Looped back, the modem's inputs are our own outputs. */
static u8 modem_read(const Uart *u) {
    if (!(u->mcr & MCR_LOOP)) return MSR_CONNECTED;
    return (u8)((u->mcr & 12) << 4 | (u->mcr & 2) << 3 | (u->mcr & 1) << 5);
}

static u8 register_read(Uart *u, u64 offset) {
    switch (offset) {
    case RBR: return u->lcr & LCR_DLAB ? u->divisor[0] : received_read(u);
    case IER: return u->lcr & LCR_DLAB ? u->divisor[1] : u->ier;
    case IIR: return reason_read(u);
    case LCR: return u->lcr;
    case MCR: return u->mcr;
    case LSR: return line_read(u);
    case MSR: return modem_read(u);
    case SCR: return u->scr;
    }
    return 0;
}

static void byte_send(Uart *u, u8 byte) {
    if (u->mcr & MCR_LOOP) fifo_push(u, byte);
    else console_write(u->console, &byte, 1);
    u->sent = true;
}

static void fifo_control(Uart *u, u8 value) {
    if (((value ^ u->fcr) & FCR_ENABLE) || (value & FCR_CLEAR_RX)) u->len = 0;
    u->fcr = value & (0xc0 | FCR_ENABLE);
    fifo_fill(u);
}

static void register_write(Uart *u, u64 offset, u8 value) {
    bool latch = u->lcr & LCR_DLAB;
    switch (offset) {
    case RBR:
        if (latch) u->divisor[0] = value;
        else byte_send(u, value);
        break;
    case IER:
        if (latch) u->divisor[1] = value;
        else if (value & ~u->ier & IER_SENT) u->sent = true; /* it is empty, and says so once more */
        if (!latch) u->ier = value & 15;
        break;
    case IIR: fifo_control(u, value); break;
    case LCR: u->lcr = value; break;
    case MCR:
        u->mcr = value & 31;
        fifo_fill(u);
        break;
    case SCR: u->scr = value; break;
    }
}

static u64 uart_read(void *dev, u64 offset, unsigned size) {
    Uart *u = dev;
    pthread_mutex_lock(&u->lock);
    u8 value = register_read(u, offset);
    irq_update(u);
    pthread_mutex_unlock(&u->lock);
    return value;
}

static void uart_write(void *dev, u64 offset, unsigned size, u64 value) {
    Uart *u = dev;
    pthread_mutex_lock(&u->lock);
    register_write(u, offset, (u8)value);
    irq_update(u);
    pthread_mutex_unlock(&u->lock);
}

const IoOps uart_ops = {uart_read, uart_write, 1 | 2 | 4};

static void uart_ready(void *ctx) {
    Uart *u = ctx;
    pthread_mutex_lock(&u->lock);
    fifo_fill(u);
    irq_update(u);
    pthread_mutex_unlock(&u->lock);
}

Uart *uart_new(Console *console, Irq irq) {
    Uart *u = back_alloc(sizeof(*u));
    pthread_mutex_init(&u->lock, NULL);
    u->console = console;
    u->irq = irq;
    console_attach(console, &(ConsoleUser){u, uart_ready});
    return u;
}

void uart_reset(Uart *u) {
    pthread_mutex_lock(&u->lock);
    u->ier = u->lcr = u->mcr = u->scr = u->fcr = 0;
    u->divisor[0] = u->divisor[1] = 0;
    u->len = 0;
    u->sent = u->overrun = false;
    fifo_fill(u);
    irq_update(u);
    pthread_mutex_unlock(&u->lock);
}

void uart_state(Uart *u, State *s) {
    pthread_mutex_lock(&u->lock);
    u8 *bytes[] = {&u->ier, &u->lcr, &u->mcr, &u->scr, &u->fcr, &u->divisor[0], &u->divisor[1]};
    for (u32 k = 0; k < ARRAY_LEN(bytes); k++) state_u8(s, bytes[k]);
    state_bool(s, &u->sent);
    state_bool(s, &u->overrun);
    state_bytes(s, u->fifo, FIFO);
    state_below(s, &u->head, FIFO);
    state_below(s, &u->len, FIFO + 1);
    irq_update(u);
    pthread_mutex_unlock(&u->lock);
}

void uart_drop(Uart *u) {
    pthread_mutex_destroy(&u->lock);
    free(u);
}
