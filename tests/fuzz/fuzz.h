/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz targets. Each is one function over bytes that must neither crash nor abort. Built with libFuzzer by
 * `./dev fuzz`; in other builds main.c feeds it random bytes, so that each test run tries it a little.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "base/base.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* In every build, not only where ASSERT is on. */
#define FUZZ_CHECK(x, text) ((x) ? (void)0 : base_bug(__FILE__, __LINE__, text))

#endif
