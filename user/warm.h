/* SPDX-License-Identifier: Apache-2.0 */
/* user/warm: fills the persistent translation cache ahead of time: finds the code of files and translates it, without running any. */
#ifndef USER_WARM_H
#define USER_WARM_H

/* `paths`: NULL-terminated; programs (with their interpreter and libraries, looked up below `root`, which may be NULL), libraries, folders. Prints
 * what cannot be done on fd 2. Returns 0 if all of it could. */
int user_warm(const char *cache, const char *root, const char *const *paths);

#endif
