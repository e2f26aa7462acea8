/* SPDX-License-Identifier: Apache-2.0 */
/* machine/board: the `virt` board: everything of the machine but the harts.
 *
 * The memory map, the wiring of interrupts and the device tree come from one table (board.c) and are those of QEMU's machine of this
 * name. board_new builds it from a BoardConfig; board_load puts programs and the device tree into memory and says where harts
 * start; from then on harts call physical_io on board_physical(), and the board calls the Platform. board_drop, with all
 * harts stopped, flushes the disks and ends the I/O threads.
 */
#ifndef MACHINE_BOARD_H
#define MACHINE_BOARD_H

#include "back/console.h"
#include "back/state.h"
#include "device/device.h"
#include "device/imsic.h"

typedef struct Board Board;

enum { BOARD_RAM = 0x80000000u, BOARD_HARTS_MAX = 512, BOARD_DEVICES_MAX = 24 /* disks, nets, shares and so on together */ };

/* What the device tree says of a hart; all harts are alike. Strings live as long as the board. */
typedef struct BoardCpu {
    const char *isa;               /* riscv,isa: "rv64imafdc_zicsr_..." */
    const char *isa_base;          /* riscv,isa-base: "rv64i" */
    const char *const *extensions; /* riscv,isa-extensions, NULL-terminated; NULL: not told */
    const char *mmu;               /* "riscv,sv57"; NULL: none */
    u32 cbom_size, cboz_size, cbop_size; /* block sizes in bytes; 0: no such extension */
} BoardCpu;

/* Where a virtio device sits. */
typedef enum BoardBus { BOARD_PCI, BOARD_MMIO } BoardBus;

typedef struct BoardDisk {
    const char *path;
    const char *format;  /* "raw", "qcow2"; NULL: found by looking */
    const char *serial;  /* up to 20 characters; NULL: none */
    bool read_only;
    bool snapshot;       /* writes are kept in memory and lost at the end */
    u32 queues;          /* 0: one per hart, at most 8 */
    BoardBus bus;
} BoardDisk;

typedef struct BoardNet {
    const char *spec; /* back/net.h: "user,hostfwd=tcp::2222-:22", "tap,ifname=tap0", "socket,connect=PATH", "none" */
    const char *mac;  /* "52:54:00:12:34:56"; NULL: made from the index */
    BoardBus bus;
} BoardNet;

typedef struct BoardShare {
    const char *path, *tag;
    bool read_only;
    BoardBus bus;
} BoardShare;

/* The interrupt architecture, as QEMU names it. */
typedef enum BoardAia { BOARD_AIA_NONE /* a PLIC */, BOARD_AIA_APLIC, BOARD_AIA_IMSIC /* with an APLIC for wires */ } BoardAia;
extern const char *const board_aia_names[]; /* NULL-terminated */

typedef struct BoardConfig {
    u32 harts;
    u64 memory; /* bytes, page aligned */
    BoardCpu cpu;
    BoardAia aia;
    const char *serial;  /* back/console.h: "stdio", "file:PATH", "pty", "null"; NULL: "null" */
    const char *console; /* likewise for a virtio console; NULL: there is none */
    const BoardDisk *disks;
    u32 disk_len;
    const BoardNet *nets;
    u32 net_len;
    const BoardShare *shares;
    u32 share_len;
    bool no_rng, no_balloon;
    bool packed;          /* packed rings are offered by all virtio devices */
    u32 vsock_cid;        /* 0: no vsock */
    const char *vsock;    /* path of the host's socket: back/vsock.h */
    struct Counted *counted; /* NULL: neither recorded nor replayed */
    const char *flash[2]; /* images of up to 32 MiB; NULL: erased */
    bool flash_kept;      /* these files stay as they are: what is written to flash is kept in memory only */
} BoardConfig;

/* What board_load puts into memory; paths, NULL: none. */
typedef struct BoardImages {
    const char *firmware; /* M-mode, raw or ELF, to the start of RAM; NULL: the machine has an SBI of its own */
    const char *kernel;   /* Image (raw, gzip, zboot) or ELF */
    const char *initrd;
    const char *append;   /* kernel's command line */
    bool bare;            /* no firmware and no SBI of the machine: kernel or flash starts in M-mode */
    bool reserve_sbi;     /* the first 2 MiB of RAM are not told to the kernel as free */
} BoardImages;

typedef struct BoardStart {
    u64 pc;      /* of every hart that starts; a0 = hart id, a1 = fdt, a2 = info */
    u64 fdt;
    u64 info;    /* firmware's fw_dynamic information; 0: none */
    bool machine_mode; /* pc is firmware and runs in M-mode; else S-mode */
} BoardStart;

/* NULL: `why` (of at least 256 bytes) says why in one sentence. */
Board *board_new(const BoardConfig *config, const Platform *platform, char *why, size_t why_size);
void board_drop(Board *b);
Physical *board_physical(Board *b);
Imsic *board_imsic(Board *b); /* NULL: there is none */
/* Also after a reset: everything is loaded anew. False: why. */
bool board_load(Board *b, const BoardImages *images, BoardStart *start, char *why, size_t why_size);
/* Puts every device in its state after power-on. All harts are stopped. */
void board_reset(Board *b);
/* The device tree as a blob in the board's memory. */
const void *board_fdt(Board *b, u32 *size);
/* For snapshots, with all harts stopped: nothing moves between the two. */
void board_pause(Board *b);
void board_continue(Board *b);
/* Of a paused board: every device's state; the same functions load it. */
void board_state(Board *b, State *s);
/* What the board is made of and its disks contain, as lines; disks are flushed before. False: why it cannot be told. */
bool board_identity(Board *b, Text *out, char *why, size_t why_size);
/* Memory that the guest is asked to give up, in bytes (false: there is no balloon), and what it has given up. */
bool board_balloon_want(Board *b, u64 size);
u64 board_balloon_size(Board *b);
/* The serial port's back end: for escapes (console_on_escape), and the pty's name. */
Console *board_serial(Board *b);
/* That of the consoles which is on stdio: where escapes are typed; NULL: none is. */
Console *board_stdio(Board *b);
/* For a built-in SBI's console: a byte to and from the serial port's back end; -1: none there. */
void board_console_put(Board *b, u8 byte);
int board_console_get(Board *b);

#endif
