/* SPDX-License-Identifier: Apache-2.0 */
/* profile: where indirect jumps and calls go. Quick code leaves the last target of each of its sites in its cpu (Vcpu.targets), which
 * costs it a store; who samples that from time to time sees how often which one is met. Taken are a few samples before a region is
 * made, some rounds of its loop apart.
 *
 * Sites share places, and programs change: what is said here is a guess.
 */
#ifndef ENGINE_PROFILE_H
#define ENGINE_PROFILE_H

#include "engine/region.h"
#include "ir/vcpu.h"

typedef struct ProfilePlace {
    u64 target[REGION_TARGETS];
    u8 seen[REGION_TARGETS]; /* samples; 0: the place is free */
    u8 total;                /* those of other targets included */
} ProfilePlace;

enum { PROFILE_HEADS = 256 };

typedef struct Profile {
    ProfilePlace places[VCPU_SITES];
    u8 samples[PROFILE_HEADS]; /* since the last region of that head, or of another one that shares the place */
} Profile;

/* Takes a sample of that cpu. */
void profile_sample(Profile *p, const Vcpu *cpu);
/* After so many rounds of the loop at `head` another sample is wanted; 0: there are enough for now. */
u32 profile_wait(Profile *p, u64 head);
/* As RegionSource.targets. */
u32 profile_targets(const Profile *p, u64 site, RegionTarget out[REGION_TARGETS]);

#endif
