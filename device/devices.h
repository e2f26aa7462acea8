/* SPDX-License-Identifier: Apache-2.0 */
/* device/devices: the platform devices of boards, all but those that have a header of their own. Each has NAME_new (never NULL),
 * NAME_reset (the state after power-on), NAME_state (all of it, for snapshots), NAME_drop, and NAME_ops: its registers, with what NAME_new gave as `dev`. */
#ifndef DEVICE_DEVICES_H
#define DEVICE_DEVICES_H

#include "back/console.h"
#include "back/state.h"
#include "device/device.h"

/* --- ending the machine: `dev` is the Platform --- */
extern const IoOps syscon_ops;

/* --- 16550 serial port; the console is the caller's --- */
typedef struct Uart Uart;
extern const IoOps uart_ops;
Uart *uart_new(Console *console, Irq irq);
void uart_reset(Uart *u);
void uart_state(Uart *u, State *s);
void uart_drop(Uart *u);

/* --- ACLINT: MSWI at 0, MTIMER at 0x4000, as the older CLINT; a thread of its own waits for the timers --- */
typedef struct Aclint Aclint;
extern const IoOps aclint_ops;
Aclint *aclint_new(const Platform *platform);
void aclint_reset(Aclint *a);
void aclint_state(Aclint *a, State *s);
void aclint_drop(Aclint *a);

/* --- PLIC with contexts M, S per hart; sources 1..PLIC_SOURCES - 1; lines by plic_set --- */
enum { PLIC_SOURCES = 97 };
typedef struct Plic Plic;
extern const IoOps plic_ops;
Plic *plic_new(const Platform *platform);
void plic_set(void *plic, u32 source, bool level);
void plic_reset(Plic *p);
void plic_state(Plic *p, State *s);
void plic_drop(Plic *p);

/* --- goldfish RTC: the host's wall clock, with an alarm --- */
typedef struct Rtc Rtc;
extern const IoOps rtc_ops;
Rtc *rtc_new(const Platform *platform, Irq irq);
void rtc_reset(Rtc *r);
void rtc_state(Rtc *r, State *s);
void rtc_drop(Rtc *r);

/* --- fw_cfg: files for firmware, with DMA --- */
typedef struct FwCfg FwCfg;
extern const IoOps fw_cfg_ops;
FwCfg *fw_cfg_new(Physical *memory);
/* By selector, or by name ("etc/..."); data is copied; a second time replaces. */
void fw_cfg_add(FwCfg *f, u16 selector, const void *data, u32 size);
void fw_cfg_add_file(FwCfg *f, const char *name, const void *data, u32 size);
void fw_cfg_reset(FwCfg *f);
void fw_cfg_state(FwCfg *f, State *s);
void fw_cfg_drop(FwCfg *f);

/* --- parallel flash, Intel command set, two chips of 16 bits side by side --- */
enum { FLASH_SIZE = 32 << 20, FLASH_SECTOR = 256 << 10 };
typedef struct Flash Flash;
extern const IoOps flash_ops;
/* fd < 0: all zeros (64 MiB of ones would be real memory), and not kept; else a file of at most FLASH_SIZE, which writes go to unless `read_only`; the caller's.
 * It lies at `start` of that memory, whose owner is told (code_written) when what might be code changes. */
Flash *flash_new(const Physical *memory, u64 start, int fd, bool read_only);
/* From now on it is not kept. */
void flash_forget_file(Flash *f);
const u8 *flash_bytes(const Flash *f);
void flash_reset(Flash *f);
void flash_state(Flash *f, State *s);
void flash_drop(Flash *f);

#endif
