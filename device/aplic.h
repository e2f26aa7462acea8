/* SPDX-License-Identifier: Apache-2.0 */
/* device/aplic: the advanced PLIC: wires in; messages to the IMSICs out, or interrupts of harts where there are none. Two domains: the root (M) and its child (S). [aia 4] */
#ifndef DEVICE_APLIC_H
#define DEVICE_APLIC_H

#include "device/imsic.h"

enum { APLIC_SOURCES = 97 /* 1..96 */ };
typedef struct Aplic Aplic;
extern const IoOps aplic_ops;

/* imsic: NULL: interrupts are delivered directly. */
Aplic *aplic_new(Imsic *imsic, const Platform *platform);
/* The `dev` of aplic_ops of the domain of M-level or S-level. */
void *aplic_domain_io(Aplic *a, ImsicFile domain);
void aplic_set(void *aplic, u32 source, bool level);
void aplic_reset(Aplic *a);
/* What firmware in M-mode does, for a machine that has none: every source is the child's. */
void aplic_delegate_all(Aplic *a);
void aplic_state(Aplic *a, State *s);
void aplic_drop(Aplic *a);

#endif
