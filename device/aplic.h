/* SPDX-License-Identifier: Apache-2.0 */
/* device/aplic: the advanced PLIC in MSI mode: wires in, messages to the IMSICs out. Two domains: the root (M) and its child (S). [aia 4] */
#ifndef DEVICE_APLIC_H
#define DEVICE_APLIC_H

#include "device/imsic.h"

enum { APLIC_SOURCES = 97 /* 1..96 */ };
typedef struct Aplic Aplic;
extern const IoOps aplic_ops;

Aplic *aplic_new(Imsic *imsic, u32 harts);
/* The `dev` of aplic_ops of the domain that sends to M-level or S-level files. */
void *aplic_domain_io(Aplic *a, ImsicFile domain);
void aplic_set(void *aplic, u32 source, bool level);
void aplic_reset(Aplic *a);
/* What firmware in M-mode does, for a machine that has none: every source is the child's. */
void aplic_delegate_all(Aplic *a);
void aplic_state(Aplic *a, State *s);
void aplic_drop(Aplic *a);

#endif
