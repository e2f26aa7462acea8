/* SPDX-License-Identifier: Apache-2.0 */
/* device/imsic: the incoming MSI controller of every hart: one interrupt file for M and one for S. [aia 3]
 *
 * Devices write an identity to a file's page (seteipnum); harts see the file by the CSRs mtopei, stopei and, by *iselect 0x70..0xff,
 * *ireg, which the privileged CPU hands to imsic_top, imsic_read and imsic_write. Every function takes the lock of one file only.
 */
#ifndef DEVICE_IMSIC_H
#define DEVICE_IMSIC_H

#include "back/state.h"
#include "device/device.h"

typedef struct Imsic Imsic;
typedef enum ImsicFile { IMSIC_M, IMSIC_S } ImsicFile;

enum { IMSIC_IDS = 255 /* identities are 1..IMSIC_IDS */ };

Imsic *imsic_new(const Platform *platform);
void imsic_reset(Imsic *im);
void imsic_state(Imsic *im, State *s);
void imsic_drop(Imsic *im);
/* One page per hart from offset 0: `dev` of these ops is what imsic_file_io gives. */
extern const IoOps imsic_ops;
void *imsic_file_io(Imsic *im, ImsicFile file);
/* The write of an MSI to a file. Identities out of range are ignored. */
void imsic_send(Imsic *im, u32 hart, ImsicFile file, u32 identity);

/* *topei: the highest pending and enabled identity, twice (bits 26:16 and 10:0), 0: none. `claim`: it is no longer pending (a write of the CSR). */
u32 imsic_top(Imsic *im, u32 hart, ImsicFile file, bool claim);
/* Indirect registers 0x70..0xff; false: there is none such (illegal instruction). Odd eip and eie do not exist with 64 bits. */
bool imsic_read(Imsic *im, u32 hart, ImsicFile file, u32 select, u64 *value);
bool imsic_write(Imsic *im, u32 hart, ImsicFile file, u32 select, u64 value);

#endif
