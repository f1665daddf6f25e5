/*
 * The shared OpenMP runtime, where its workers are awake.
 *
 * After an operation of torch, libgomp's workers spin for some milliseconds, each on a core: a
 * region starts on them at once, while a thread of our own would have to take the core from one of
 * them. At any other time a region waits until each of its workers has begun, which takes as long
 * as the threads of other libraries keep the cores. So a region is run only on workers that spin.
 *
 * Three habits of libgomp shape this file:
 *   - it ends the process when a thread cannot be created, so no region asks for more threads than
 *     the runtime's pool of the calling thread has;
 *   - it keeps one pool of workers per calling thread, and says of none how large it is;
 *   - a forked child, where the workers are gone, waits for them for ever.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif

#include "team.h"

#include <stddef.h>

#if defined(_OPENMP) && defined(__linux__)

#include <dirent.h>
#include <errno.h>
#include <link.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Regions have no more threads than this. */
enum { MOST_THREADS = 256 };

/*
 * What is known of the runtime's pool for one calling thread, its owner. The owner and each worker
 * hold one membership, which the exit of the thread gives up: so the count stays true when other
 * users of the runtime (torch, say) shrink the pool. The last member frees the record, since
 * workers may outlive their owner.
 */
typedef struct team {
    atomic_int members;
    int threads; /* of the last region that enrolled the workers */
    clockid_t clocks[MOST_THREADS];
} team;

static pthread_key_t membership; /* the team that a thread is a member of */
static bool usable;
static _Thread_local bool lost;          /* the workers stayed behind in the parent of a fork */
static _Thread_local bool lost_in_child; /* what the fork under way does to it */

/* ---- Members ---- */

static void give_up_membership(void *left) {
    team *t = left;
    if (atomic_fetch_sub(&t->members, 1) == 1) free(t);
}

/* The calling thread is the thread of that number in a region of the team's owner. */
static void join_team(team *t, int number) {
    team *before = pthread_getspecific(membership);
    if (before == t || pthread_setspecific(membership, t) != 0) return;
    pthread_getcpuclockid(pthread_self(), &t->clocks[number]);
    atomic_fetch_add(&t->members, 1);
    if (before) give_up_membership(before);
}

/* The team that the calling thread owns; NULL out of memory. Never asked from inside a region. */
static team *own_team(void) {
    team *t = pthread_getspecific(membership);
    if (t) return t;
    t = calloc(1, sizeof *t);
    if (!t) return NULL;
    atomic_init(&t->members, 1);
    t->threads = 1;
    if (pthread_setspecific(membership, t) == 0) return t;
    free(t);
    return NULL;
}

/* ---- Workers that others had the runtime create ---- */

/*
 * A worker of libgomp sleeps on a word of its pool, and the owner's thread-local data of libgomp
 * points to the pool: so the workers that sleep close behind such a pointer are the owner's.
 */
enum { POOL_BYTES = 256 };

typedef struct runtime_data {
    uintptr_t inside; /* an address of the runtime */
    const uintptr_t *words;
    size_t count;
} runtime_data;

static int find_runtime(struct dl_phdr_info *object, size_t size, void *data) {
    runtime_data *found = data;
    bool is_runtime = false;
    size_t bytes = 0;
    if (size < offsetof(struct dl_phdr_info, dlpi_tls_data) + sizeof(void *)) return 1;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        const uintptr_t start = object->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && found->inside - start < header->p_memsz) is_runtime = true;
        if (header->p_type == PT_TLS) bytes = header->p_memsz;
    }
    if (!is_runtime) return 0;
    found->words = object->dlpi_tls_data;
    found->count = found->words ? bytes / sizeof(uintptr_t) : 0;
    return 1;
}

/* What the thread of that id sleeps on; 0 if it does not. *running: whether it is on a core, or waits for
 * one. */
static uintptr_t sleeps_on(const char *id, bool *running) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%.16s/syscall", id);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    const char *line = fgets(text, sizeof text, file);
    fclose(file);
    long call;
    unsigned long address;
    if (!line) return 0;
    if (strncmp(line, "running", 7) == 0) *running = true;
    return sscanf(line, "%ld 0x%lx", &call, &address) == 2 && call == SYS_futex ? address : 0;
}

/* How many workers of the calling thread sleep. *running: whether any other thread is awake. */
static int sleeping_workers(bool *running) {
    runtime_data data = {.inside = (uintptr_t)&omp_get_level};
    dl_iterate_phdr(find_runtime, &data);
    DIR *folder = data.count ? opendir("/proc/self/task") : NULL;
    if (!folder) return 0;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.' || atol(entry->d_name) == syscall(SYS_gettid)) continue;
        const uintptr_t word = sleeps_on(entry->d_name, running);
        bool mine = false;
        for (size_t i = 0; word && i < data.count && !mine; i++)
            mine = data.words[i] != 0 && word - data.words[i] < POOL_BYTES;
        count += mine;
    }
    closedir(folder);
    return count;
}

/* Seconds from one look for workers to the next, of one thread: doubled each time. */
static const double FIRST_PAUSE = 0.05, LONGEST_PAUSE = 60;
/* Workers that spin fall asleep within this time. */
static const struct timespec UNTIL_ASLEEP = {0, 5000000};

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Now and then, look for workers that are not members yet, and enrol them in a region. */
static void enrol(team *t) {
    static _Thread_local double look_at, pause;
    if (seconds() < look_at) return;
    bool running = false;
    int workers = sleeping_workers(&running);
    if (workers == 0 && running && atomic_load(&t->members) == 1) {
        nanosleep(&UNTIL_ASLEEP, NULL);
        workers = sleeping_workers(&running);
    }
    pause = pause == 0 ? FIRST_PAUSE : pause < LONGEST_PAUSE ? 2 * pause : pause;
    look_at = seconds() + pause;
    int threads = workers + 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads <= t->threads && threads <= atomic_load(&t->members)) return;
    if (threads == 1 || omp_get_dynamic() || threads > omp_get_thread_limit()) return;
#pragma omp parallel num_threads(threads)
    join_team(t, omp_get_thread_num());
    t->threads = threads;
}

/* ---- Workers awake ---- */

/* Whether the thread of that clock is on a core: the time that it has spent there grows. */
static bool is_running(clockid_t clock) {
    struct timespec first, second;
    if (clock_gettime(clock, &first) != 0 || clock_gettime(clock, &second) != 0) return false;
    return first.tv_nsec != second.tv_nsec || first.tv_sec != second.tv_sec;
}

int fl_team_awake(int wanted) {
    /* Inside any region, even of one thread, the runtime would not use its pool. */
    if (!usable || lost || omp_get_level() > 0) return 1;
    const int error = errno;
    team *t = own_team();
    if (!t) return 1;
    enrol(t);
    int threads = atomic_load(&t->members);
    if (threads > t->threads) threads = t->threads;
    if (threads > wanted) threads = wanted;
    /* Workers fall asleep together; a few tell. */
    for (int step = (threads + 2) / 4 + 1, i = threads - 1; i > 0; i -= step)
        if (!is_running(t->clocks[i])) threads = 1;
    errno = error;
    return threads < 1 ? 1 : threads;
}

int64_t fl_team_run(fl_job *job, int threads, fl_poll poll, int64_t *dropped, int *stopped) {
    int64_t taken = 0;
#pragma omp parallel num_threads(threads)
    {
        const int number = omp_get_thread_num();
        int64_t of_others = 0;
        int by_others = 0;
        if (number == 0)
            taken = fl_job_take(job, 0, poll, dropped, stopped);
        else
            fl_job_take(job, number, NULL, &of_others, &by_others);
    }
    team *t = pthread_getspecific(membership);
    if (t) t->threads = threads; /* libgomp lets go of the workers beyond */
    return taken;
}

bool fl_team_inside(void) { return omp_get_level() > 0; }

/* ---- Forking ---- */

/* Both may be absent: the first came with GCC 9, the second tells LLVM's runtime from GCC's. */
extern int pause_resources(int kind) __asm__("omp_pause_resource_all") __attribute__((weak));
extern void llvm_fork_call(void) __asm__("__kmpc_fork_call") __attribute__((weak));

/*
 * Before a fork, end the workers of the forking thread, the only thread that lives on in the
 * child; both processes then make new ones when torch needs them. For libgomp, "all" resources are
 * this thread's pool alone, torch's regions included, so threads that are inside a region at this
 * moment are not touched; it refuses inside a region of this thread. LLVM's runtime has fork
 * handlers of its own, and pausing it would end the teams of all threads.
 *
 * Without the pause (too old a runtime, a fork from inside a region) the child runs no regions on
 * the thread it was born with.
 *
 * This takes no lock: LLVM's handler runs before this one and holds locks.
 */
void fl_team_before_fork(void) {
    const int hard = 2; /* omp_pause_hard; omp.h has it since GCC 9 */
    lost_in_child =
        omp_get_level() > 0 || (!llvm_fork_call && (!pause_resources || pause_resources(hard) != 0));
}

void fl_team_forget(void) {
    team *t = pthread_getspecific(membership);
    if (t) {
        atomic_store(&t->members, 1);
        t->threads = 1;
    }
    if (lost_in_child) lost = true;
}

bool fl_team_init(void) {
    if (!usable) usable = pthread_key_create(&membership, give_up_membership) == 0;
    return usable;
}

#else

int fl_team_awake(int wanted) {
    (void)wanted;
    return 1;
}
int64_t fl_team_run(fl_job *job, int threads, fl_poll poll, int64_t *dropped, int *stopped) {
    (void)threads;
    return fl_job_take(job, 0, poll, dropped, stopped);
}
bool fl_team_inside(void) { return false; }
bool fl_team_init(void) { return false; }
void fl_team_before_fork(void) {}
void fl_team_forget(void) {}

#endif
