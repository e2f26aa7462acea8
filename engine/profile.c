/* SPDX-License-Identifier: Apache-2.0 */
/* See profile.h. A place knows up to REGION_TARGETS targets; one more takes the place of the rarest, which loses a sample each time, so that
 * what is frequent stays (after Misra and Gries, "Finding repeated elements"). */
#include "engine/profile.h"

enum { SAMPLES = 16, OLD = 64 /* samples of a place, from where on they are worth half */, WAIT = 512 /* backward branches, weighted, about */ };

static void grow_old(ProfilePlace *p) {
    for (u32 k = 0; k < REGION_TARGETS; k++) p->seen[k] /= 2;
    p->total /= 2;
}

static void note(ProfilePlace *p, u64 target) {
    u32 least = 0;
    if (p->total++ == OLD) grow_old(p);
    for (u32 k = 0; k < REGION_TARGETS; k++) {
        if (p->seen[k] && p->target[k] == target) {
            p->seen[k]++;
            return;
        }
        if (p->seen[k] < p->seen[least]) least = k;
    }
    if (p->seen[least] && --p->seen[least]) return;
    p->target[least] = target;
    p->seen[least] = 1;
}

void profile_sample(Profile *p, const Vcpu *cpu) {
    for (u32 k = 0; k < VCPU_SITES; k++)
        if (cpu->targets[k]) note(&p->places[k], cpu->targets[k]);
}

/* Not always the same distance: programs have rhythms. */
u32 profile_wait(Profile *p, u64 head) {
    u8 *samples = &p->samples[hash_u64(head) % PROFILE_HEADS];
    if (*samples == SAMPLES) *samples = 0;
    else ++*samples;
    return *samples ? WAIT + (u32)hash_u64(head + *samples) % WAIT : 0;
}

u32 profile_targets(const Profile *p, u64 site, RegionTarget out[REGION_TARGETS]) {
    const ProfilePlace *at = &p->places[vcpu_site_of(site)];
    u32 count = 0;
    for (u32 k = 0; k < REGION_TARGETS; k++) {
        if (!at->seen[k]) continue;
        RegionTarget t = {at->target[k], at->seen[k] * REGION_ALWAYS / at->total};
        u32 to = count++;
        for (; to && out[to - 1].share < t.share; to--) out[to] = out[to - 1];
        out[to] = t;
    }
    return count;
}
