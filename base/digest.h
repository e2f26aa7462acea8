/* SPDX-License-Identifier: Apache-2.0 */
/* base/digest: 128-bit digests of contents, for naming and checking files. Fast (several bytes per cycle), keyed, well mixed; not made to
 * resist somebody who may choose both the key and the data. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/base.h"

typedef struct Digest {
    u64 lo, hi;
} Digest;

static inline bool digest_same(Digest a, Digest b) { return a.lo == b.lo && a.hi == b.hi; }
/* Of `size` bytes under a key, for example the digest of what comes before. */
Digest digest_bytes(Digest key, const void *data, size_t size);
static inline Digest digest_u64(Digest key, u64 v) { return digest_bytes(key, &v, 8); }

#endif
