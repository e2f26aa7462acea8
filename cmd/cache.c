/* SPDX-License-Identifier: Apache-2.0 */
/* isomer cache: where the persistent translation cache lies, what is in it, emptying and filling it. */
#include "cmd/cache.h"
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

static void usage(FILE *to) {
    fprintf(to, "usage: isomer cache [--cache FOLDER] [-L ROOT] status|clear|warm FILE|FOLDER...\n\n"
                "Translations of programs and libraries are kept in a folder, so that the next process that runs the same files finds\n"
                "them: ISOMER_CACHE if set (off: none), else isomer in XDG_CACHE_HOME, else ~/.cache/isomer.\n\n"
                "  status    where it is, and how much is in it\n"
                "  clear     empty it\n"
                "  warm      translate programs and libraries ahead of time; a program brings its interpreter and its libraries,\n"
                "            looked up below ROOT; of a folder, all that it holds\n");
}

static int complain(const char *what, const char *why) {
    fprintf(stderr, "isomer: cache: %s: %s\n", what, why);
    return 1;
}

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

typedef struct CacheArgs {
    const char *folder, *root;
    int first; /* of the words */
} CacheArgs;

static bool parse(CacheArgs *a, int argc, char **argv) {
    a->folder = cache_folder(getenv("ISOMER_CACHE"));
    int i = 1;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (!strcmp(argv[i], "--cache") || !strcmp(argv[i], "-cache")) a->folder = cache_folder(argv[i + 1]);
        else if (!strcmp(argv[i], "-L")) a->root = argv[i + 1];
        else return false;
    }
    a->first = i;
    return i < argc;
}

int cmd_cache(int argc, char **argv) {
    CacheArgs a = {0};
    if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) return usage(stdout), 0;
    if (!parse(&a, argc, argv)) return usage(stderr), 2;
    if (!a.folder) return complain("off", "no folder: set ISOMER_CACHE, XDG_CACHE_HOME or HOME");
    static Store store;
    const char *word = argv[a.first], *why = store_open(&store, a.folder, 0);
    if (why) return complain(a.folder, why);
    if (!strcmp(word, "status")) return status(&store);
    if (!strcmp(word, "clear")) return clear(&store);
    if (strcmp(word, "warm") != 0) return usage(stderr), 2;
    if (a.first + 1 == argc) return complain("warm", "name a program, a library or a folder");
    store_sleep(&store);
    return user_warm(a.folder, a.root, (const char *const *)&argv[a.first + 1]);
}
