/* SPDX-License-Identifier: Apache-2.0 */
#include "user/warm.h"
int user_warm(const char *cache, const char *root, const char *const *paths) { (void)cache, (void)root, (void)paths; return 1; }
