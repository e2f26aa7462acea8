/* SPDX-License-Identifier: Apache-2.0 */
/* isomer cache: where the persistent translation cache lies, what is in it, emptying and filling it. */
#include "cmd/cache.h"
#include "cmd/cli.h"
#include "engine/store.h"
#include "user/warm.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- where -------------------------------------------------------------------------------------------- */

static const char *join(const char *dir, const char *name) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return NULL;
    return strdup(path);
}

static const char *chosen_folder(const char *choice) {
    if (!*choice || !strcmp(choice, "off")) return NULL;
    char cwd[PATH_MAX];
    if (choice[0] == '/') return choice;
    return getcwd(cwd, sizeof cwd) ? join(cwd, choice) : NULL;
}

static const char *home_cache(void) {
    const char *home = getenv("HOME");
    struct stat st;
    if (!home || home[0] != '/' || stat(home, &st) < 0 || st.st_uid != geteuid()) return NULL;
    const char *cache = join(home, ".cache");
    if (cache) mkdir(cache, 0700);
    return cache;
}

const char *cache_folder(const char *choice) {
    if (choice) return chosen_folder(choice);
    const char *base = getenv("XDG_CACHE_HOME");
    if (!base || base[0] != '/') base = home_cache();
    return base ? join(base, "isomer") : NULL;
}

/* --- the command ---------------------------------------------------------------------------------------- */

typedef struct CacheArgs {
    const char *folder, *root;
} CacheArgs;

static bool set_folder(void *ctx, const char *arg) { return ((CacheArgs *)ctx)->folder = cache_folder(arg), true; }
static bool set_root(void *ctx, const char *arg) { return ((CacheArgs *)ctx)->root = arg, true; }

static const CliOption options[] = {
    {"cache", "FOLDER", set_folder, "another folder"},
    {"L", "ROOT", set_root, "where programs' interpreters and libraries are looked up (warm)"},
};

static const Cli cli = {
    .name = "isomer cache",
    .usage = "usage: isomer cache status|clear [OPTIONS]\n"
             "       isomer cache warm [OPTIONS] FILE|FOLDER...\n",
    .about = "Translations of programs and libraries are kept in a folder, so that the next process that runs the same files finds\n"
             "them: ISOMER_CACHE if set (off: none), else isomer in XDG_CACHE_HOME, else ~/.cache/isomer.\n\n"
             "status prints where it is, and how much is in it; clear empties it; warm translates programs and libraries ahead of time: a program brings its\n"
             "interpreter and its libraries, looked up below ROOT; of a folder, all that it holds.\n",
    .options = options,
    .len = ARRAY_LEN(options),
};

/* How long a number of bytes reads best. */
static void print_size(u64 bytes) {
    if (bytes < MIB(1)) printf("%lu KiB", bytes >> 10);
    else printf("%lu.%lu MiB", bytes >> 20, (bytes & (MIB(1) - 1)) * 10 >> 20);
}

static int status(Store *s) {
    StoreUse use = store_use(s);
    printf("folder: %s\nimages: %lu\nsize: ", s->path, use.images);
    print_size(use.bytes);
    printf("\n");
    return 0;
}

static int clear(Store *s) {
    printf("%lu images removed\n", store_evict(s, 0));
    return 0;
}

/* `files`: what to warm. */
static int command(const CacheArgs *a, const char *verb, const char *const *files) {
    static Store store;
    bool warm = !strcmp(verb, "warm");
    if (!warm && strcmp(verb, "status") != 0 && strcmp(verb, "clear") != 0) return cli_usage(stderr, &cli), 2;
    if (!a->folder) return cli_refuse(&cli, "off", "no folder: set ISOMER_CACHE, XDG_CACHE_HOME or HOME"), 1;
    const char *why = store_open(&store, a->folder, 0);
    if (why) return cli_refuse(&cli, a->folder, why), 1;
    if (!warm) return strcmp(verb, "clear") == 0 ? clear(&store) : status(&store);
    if (!*files) return cli_refuse(&cli, "warm", "name a program, a library or a folder"), 1;
    store_sleep(&store);
    return user_warm(a->folder, a->root, files);
}

/* Options stand before the verb or behind it. */
int cmd_cache(int argc, char **argv) {
    CacheArgs a = {.folder = cache_folder(getenv("ISOMER_CACHE"))};
    int first = cli_parse(&cli, &a, argc, argv);
    int more = first >= 0 && first < argc ? cli_parse(&cli, &a, argc - first, argv + first) : first;
    if (first < 0 || more < 0) return first == CLI_DONE || more == CLI_DONE ? 0 : 2;
    return first == argc ? (cli_usage(stderr, &cli), 2) : command(&a, argv[first], (const char *const *)argv + first + more);
}
