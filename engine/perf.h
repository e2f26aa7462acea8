/* SPDX-License-Identifier: Apache-2.0 */
/* What perf(1) wants to know of generated code: a map of names (/tmp/perf-PID.map) and a jitdump (/tmp/jit-PID.dump: the
 * code's bytes too, for `perf inject --jit`; format: jitdump-specification.txt of perf's documentation). */
#ifndef ENGINE_PERF_H
#define ENGINE_PERF_H

#include "base/base.h"

/* No descriptor is kept: the guest may close any, and use its number again. */
typedef struct Perf {
    bool map, dump; /* wanted, and possible */
    void *marker;   /* mapping of the dump by which perf finds it */
    u64 index;      /* of the next record */
} Perf;

enum { PERF_NAME = 256 };
static inline bool perf_wanted(const Perf *p) { return p->map || p->dump; }
/* Makes the files that are asked for; in the child of a fork, too. A file that cannot be made is done without. */
void perf_begin(Perf *p, bool map, bool dump);
/* `size` bytes of code, executed at `code`, are the translation of the guest code that `name` says. */
void perf_note(Perf *p, const char *name, const void *code, u32 size, u64 now_ns);

#endif
