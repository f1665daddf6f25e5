#include "cgroup.h"

#ifdef __linux__

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* The integers that the file folder/name starts with, `wanted` of them. */
static bool read_integers(const char *folder, const char *name, int wanted, long long *first,
                          long long *second) {
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    const int found = fscanf(file, "%lld %lld", first, second);
    fclose(file);
    return found >= wanted;
}

/* The quota of one cgroup in whole CPUs, rounded up; 0: none. */
static long long cpus_of(const char *folder) {
    long long quota, period, ignored;
    const bool limited = /* version 2 writes "max", version 1 a quota of -1, where there is no limit */
        read_integers(folder, "cpu.max", 2, &quota, &period) ||
        (read_integers(folder, "cpu.cfs_quota_us", 1, &quota, &ignored) &&
         read_integers(folder, "cpu.cfs_period_us", 1, &period, &ignored));
    if (!limited || quota <= 0 || period <= 0 || quota / period >= INT_MAX) return 0;
    return quota / period + (quota % period != 0);
}

/* The bytes that one cgroup may hold; 0: no limit. */
static long long memory_of(const char *folder) {
    long long bytes, ignored;
    const bool limited = /* version 2 writes "max", version 1 a number near 2^63, where there is no limit */
        read_integers(folder, "memory.max", 1, &bytes, &ignored) ||
        read_integers(folder, "memory.limit_in_bytes", 1, &bytes, &ignored);
    return limited && bytes > 0 && bytes < LLONG_MAX / 2 ? bytes : 0;
}

typedef long long limit_of(const char *folder);

/* The lesser of two limits; 0: none. */
static long long lesser(long long a, long long b) {
    if (a <= 0 || b <= 0) return a > b ? a : b;
    return a < b ? a : b;
}

/*
 * The least limit from the cgroup `path` up to the root of the hierarchy mounted at `mount`: a
 * limit holds for all below. In a container the path is often the host's, and only the root
 * exists. 0: none.
 */
static long long hierarchy_limit(const char *mount, const char *path, limit_of *limit) {
    char folder[PATH_BYTES];
    const int length = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (length < 0 || length >= (int)sizeof folder) return 0;
    long long least = 0;
    for (;;) {
        least = lesser(least, limit(folder));
        char *slash = strrchr(folder + strlen(mount), '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

/* Whether `name` is one of the comma-separated `names`. */
static bool is_listed(const char *name, const char *names) {
    const size_t length = strlen(name);
    for (const char *item = names; item; item = strchr(item, ',')) {
        if (*item == ',') item++;
        if (strncmp(item, name, length) == 0 && (item[length] == ',' || item[length] == '\0')) return true;
    }
    return false;
}

/* The least limit of this process's cgroups with a controller; 0: none. */
static long long own_limit(const char *controller, limit_of *limit) {
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return 0;
    long long least = 0;
    char line[PATH_BYTES];
    while (fgets(line, sizeof line, file)) { /* hierarchy:controllers:path */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(++controllers, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        char mounts[2][288];
        if (*controllers == '\0') { /* version 2, alone or beside version 1 */
            strcpy(mounts[0], "/sys/fs/cgroup");
            strcpy(mounts[1], "/sys/fs/cgroup/unified");
        } else if (is_listed(controller, controllers)) { /* version 1 */
            snprintf(mounts[0], sizeof mounts[0], "/sys/fs/cgroup/%.256s", controllers);
            snprintf(mounts[1], sizeof mounts[1], "/sys/fs/cgroup/%.256s", controller);
        } else {
            continue;
        }
        for (int i = 0; i < 2; i++) least = lesser(least, hierarchy_limit(mounts[i], path, limit));
    }
    fclose(file);
    return least;
}

int fl_cgroup_cpus(void) { return (int)own_limit("cpu", cpus_of); }

long long fl_cgroup_memory(void) { return own_limit("memory", memory_of); }

#else

int fl_cgroup_cpus(void) { return 0; }

long long fl_cgroup_memory(void) { return 0; }

#endif
