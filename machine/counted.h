/* SPDX-License-Identifier: Apache-2.0 */
/* machine/counted: machines whose hart is counted, so that what they did can be recorded, and done again to the instruction.
 *
 * A count is the number of instructions that the one hart has begun (Vcpu.budget). Time is made of it: an instruction takes a nanosecond, a pause
 * some more, and a wfi as long as it was recorded to. Between instructions of its own choice (a slice's end, a timer's time) the hart lets in the outside through a gate (back/gate.h),
 * on whose other side the threads of back ends wait. Devices work on the hart's own thread, as part of the instruction that made them (virt_threads); so a disk
 * needs no record, if it is the same disk. What may be different another time is recorded with its count: what consoles take in, what the
 * devices that look at the host (network, 9p, random numbers, vsock) do with their queues, seeds, and how long the hart slept.
 *
 * A replay takes all that from the record. Puppets stand for the devices (device/virtio/puppet.c): no network, no folder, no socket is opened. Disks are never
 * written: neither by a recording, since its replay wants them as they were, nor by a replay.
 *
 * docs/why/record-replay.md says why. Functions are the hart's thread's, or for before it runs.
 */
#ifndef MACHINE_COUNTED_H
#define MACHINE_COUNTED_H

#include "back/console.h"
#include "device/timer.h"
#include "device/virtio/devices.h"

typedef struct Counted Counted;
typedef struct Hart Hart;
typedef struct Machine Machine;

/* One of the two is a file's name. NULL: why. */
Counted *counted_new(Machine *m, const char *record, const char *replay, char *why, size_t why_size);
void counted_drop(Counted *c);
/* What the recorded machine had for MachineConfig.options, in memory of its own; any text. NULL: why. */
char *counted_options(const char *replay, char *why, size_t why_size);
bool counted_replays(const Counted *c);

/* --- for the machine --- */
u64 counted_ns(void *counted);   /* guest time */
u64 counted_wall(void *counted); /* nanoseconds since 1970 */
Timers *counted_timers(Counted *c);
/* All is built: what it is, as text, must be what it was. False: why. */
bool counted_begin(Counted *c, Hart *h, const char *identity, const char *options, char *why, size_t why_size);
/* The machine has ended, with this exit status; a replay is told that of the record. False: the record says more, or cannot be written. */
bool counted_end(Counted *c, int *status, char *why, size_t why_size);

/* --- for the board --- */
Gate *counted_gate(Counted *c);
/* Random bytes that the machine sees. */
void counted_seed(Counted *c, void *to, size_t size);
/* Before console_attach; `who`: a number of its own. */
enum { COUNTED_CONSOLES = 2 };
void counted_console(Counted *c, u32 who, Console *console);
/* A device whose doings are the outside's. Recording: it is told of. */
void counted_device(Counted *c, u32 who, Virtio *v);
/* Replaying: what stands for it. NULL: there was none like it. */
VirtioPuppet *counted_puppet(Counted *c, u32 who, u32 id, Physical *memory);

/* --- for the hart --- */
u64 counted_count(const Counted *c); /* instructions begun, with the one under way */
/* The hart begins, ends to run: has the gate meanwhile. */
void counted_enter(Counted *c);
void counted_leave(Counted *c);
/* Between two instructions: lets in what is to come in now, and sees to it that the hart comes back in time. */
void counted_look(Counted *c);
/* A pause, or what else lets time pass in a loop. */
void counted_pause(Counted *c);
/* In a wfi: until something happens. `seen`: Hart.wake before the last look at what might have. */
void counted_idle(Counted *c, u32 seen);
/* Likewise of a hart that has stopped itself. */
void counted_stand(Counted *c, u32 seen);

#endif
