/* SPDX-License-Identifier: Apache-2.0 */
/* user/busy: a program that runs is not written to (ETXTBSY).
 *
 * The host's kernel executes Isomer and only maps the guest's program, so it lets everybody write to it. Every Isomer therefore
 * has a read lock on one byte far behind the program's end, and asks for such a lock before its guest opens an executable for writing.
 * It is a lock of the open file (F_OFD_SETLK), which lives as long as the program is mapped: through fork, across users
 * and namespaces, and no dead process leaves one behind. Programs of the host's do not look at it.
 */
#ifndef USER_BUSY_H
#define USER_BUSY_H

#include "base/base.h"

/* The process is going to run the program that is open as fd, and to map it from there. */
void busy_mark(int fd);

/* What Linux says to one who wants to write to the file: -ETXTBSY if some guest runs it, unless he may not write to it anyway;
 * 0: go on. dirfd, path and `follow` (symbolic links) as for fstatat(2); path may be the guest's. */
i64 busy_error(int dirfd, u64 path, bool follow);

#endif
