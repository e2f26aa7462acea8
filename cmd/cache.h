/* SPDX-License-Identifier: Apache-2.0 */
/* isomer cache: the persistent translation cache from the outside. See cache.c. */
#ifndef CMD_CACHE_H
#define CMD_CACHE_H

/* Absolute path of the cache's folder: `choice` if given (NULL if that is "off" or cannot be), else isomer/ in XDG_CACHE_HOME, else in
 * .cache of HOME; NULL if there is neither. Does not make it, but makes .cache in a home of one's own. */
const char *cache_folder(const char *choice);
/* argv[0] is "cache". Returns the exit status. */
int cmd_cache(int argc, char **argv);

#endif
