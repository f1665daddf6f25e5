/* The number of threads that a call is offered, and the callers that are inside. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif

#include "threads.h"
#include "cgroup.h"

#include "openmp.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#define HAVE_POSIX 1
#include <unistd.h>
#else
#define HAVE_POSIX 0
#endif
#ifdef __linux__
#include <sched.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

/* Elements touched below which waking threads costs more than they save. */
static const double PARALLEL_WORK = 32768;

/* More than any machine has cores: asking for millions must not exhaust the system's threads. */
enum { THREADS_AT_MOST = 4096 };

/* ---- The cores that this process may use ---- */

/* The CPUs that the system lets this process run on. */
static int affinity_cpus(void) {
#ifdef __linux__
    /* The kernel refuses a set smaller than its own, whose size is not known beforehand. */
    for (int size = 1024; size <= 1 << 20; size *= 2) {
        cpu_set_t *set = CPU_ALLOC(size);
        if (!set) break;
        const size_t bytes = CPU_ALLOC_SIZE(size);
        const int cpus = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (cpus > 0) return cpus;
    }
#endif
#if HAVE_POSIX && defined(_SC_NPROCESSORS_ONLN)
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (online > 0 && online <= INT_MAX) return (int)online;
#endif
#ifdef _OPENMP
    return omp_get_num_procs();
#else
    return 1;
#endif
}

/* ---- The number offered ---- */

static atomic_int cores = 1;
static atomic_int default_threads = 1;
static _Atomic(const char *) default_source = "CPU affinity";
static atomic_int process_threads;        /* fl_threads_set; 0: none */
static _Thread_local int thread_override; /* fl_threads_push; 0: none */
static char problem[160];                 /* "": none */

/* The positive integer that the text starts with, and in *rest what follows it and blanks; else 0. */
static int positive_integer(const char *text, const char **rest) {
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (end == text || errno != 0 || value < 1 || value > INT_MAX) return 0;
    *rest = end + strspn(end, " \t\r\n");
    return (int)value;
}

/* FUSEDLOSS_NUM_THREADS; 0 where unset, empty or wrong, and if wrong, the problem is put in words. */
static int own_variable(void) {
    problem[0] = '\0';
    const char *text = getenv("FUSEDLOSS_NUM_THREADS");
    const char *rest;
    if (!text || *text == '\0') return 0;
    const int threads = positive_integer(text, &rest);
    if (threads > 0 && *rest == '\0') return threads;
    snprintf(problem, sizeof problem, "FUSEDLOSS_NUM_THREADS is '%.80s': expected a positive integer", text);
    for (char *c = problem; *c; c++) /* whatever the environment holds, the message is plain ASCII */
        if (*c < ' ' || *c > '~') *c = '?';
    return 0;
}

/* OMP_NUM_THREADS, of whose list of nesting levels the first counts; 0 where unset or wrong. */
static int openmp_variable(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    const char *rest;
    const int threads = text ? positive_integer(text, &rest) : 0;
    return threads > 0 && (*rest == '\0' || *rest == ',') ? threads : 0;
}

static void read_defaults(void) {
    const int cpus = affinity_cpus(), quota = fl_cgroup_cpus();
    const bool quota_decides = quota > 0 && quota < cpus;
    int threads = quota_decides ? quota : cpus;
    const char *source = quota_decides ? "cgroup quota" : "CPU affinity";
    atomic_store(&cores, threads);
    const int own = own_variable(), openmp = openmp_variable();
    if (own > 0) {
        threads = own;
        source = "FUSEDLOSS_NUM_THREADS";
    } else if (openmp > 0) {
        threads = openmp;
        source = "OMP_NUM_THREADS";
    }
    atomic_store(&default_threads, threads);
    atomic_store(&default_source, source);
}

const char *fl_threads_problem(void) { return problem[0] ? problem : NULL; }

void fl_threads_set(int n) { atomic_store(&process_threads, n > 0 ? n : 0); }

int fl_threads_push(int n) {
    const int before = thread_override;
    thread_override = n > 0 ? n : 0;
    return before;
}

int fl_threads_get(void) {
    if (thread_override > 0) return thread_override;
    const int threads = atomic_load_explicit(&process_threads, memory_order_relaxed);
    return threads > 0 ? threads : atomic_load_explicit(&default_threads, memory_order_relaxed);
}

const char *fl_threads_source(void) {
    if (thread_override > 0) return "threads()";
    return atomic_load(&process_threads) > 0 ? "set_num_threads" : atomic_load(&default_source);
}

/* ---- The callers inside ---- */

static atomic_int callers;
static _Thread_local int depth; /* how often this thread has entered; it is one caller all the same */

static void count_in(void) {
    if (depth++ == 0) atomic_fetch_add_explicit(&callers, 1, memory_order_relaxed);
}

void fl_threads_leave(void) {
    /* Depth is 0 in a child forked from between enter and leave, where the count began anew. */
    if (depth > 0 && --depth == 0) atomic_fetch_sub_explicit(&callers, 1, memory_order_relaxed);
}

/* ---- What the loops call ---- */

void fl_threads_init(void) { read_defaults(); }

void fl_threads_forget(void) {
    depth = 0;
    atomic_store(&callers, 0);
}

int fl_threads_enter(int requested, double work, int64_t tasks) {
    count_in();
    int threads = requested > 0 ? requested : fl_threads_get();
    if (threads > THREADS_AT_MOST) threads = THREADS_AT_MOST;
    if (threads > tasks) threads = (int)tasks;
    if (threads <= 1 || !(work >= PARALLEL_WORK)) return 1;
    /* With a caller for each core, more threads only take turns. */
    if (atomic_load_explicit(&callers, memory_order_relaxed) >
        atomic_load_explicit(&cores, memory_order_relaxed))
        return 1;
    return fl_openmp_inside() ? 1 : threads;
}

int fl_openmp_version(void) {
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}
