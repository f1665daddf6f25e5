/*
 * The thread policy: the number of threads, and the guards around OpenMP.
 *
 * Two habits of GCC's runtime, libgomp, shape the second half of this file:
 *   - it ends the process when a thread cannot be created, so that must never happen to it;
 *   - it keeps one pool of worker threads per calling thread, and a forked child, where the
 *     workers are gone, waits for them for ever.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, syscall */
#endif

#include "threads.h"
#include "cgroup.h"

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
#include <sys/syscall.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#if HAVE_POSIX
#include <pthread.h>
#include <signal.h>
#include <time.h>
#endif
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

/* ---- The threads that can be had ---- */

#if defined(_OPENMP) && HAVE_POSIX

/*
 * What is known of the runtime's pool for one calling thread, its owner. The owner and each
 * worker hold one membership, which the exit of the thread gives up: so the count stays true when
 * other users of the same runtime (torch, say) shrink the pool behind our back. What it cannot
 * see is a worker that they let go a moment ago and that has not exited yet. The last member
 * frees the record, since workers may outlive their owner.
 */
typedef struct pool {
    atomic_int members;
    int team; /* the last team that the owner was given here: libgomp lets go of the workers beyond */
} pool;

static pthread_key_t membership; /* the pool that a thread is a member of */
static bool membership_made;
static _Thread_local bool pool_lost;          /* the workers stayed behind in the parent of a fork */
static _Thread_local bool pool_lost_in_child; /* what the fork under way does to it */

/* Held while threads are created, so that two callers' probes do not see the same room. */
static pthread_mutex_t growing = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* where the threads of a probe wait */

static size_t stack_bytes; /* of the runtime's workers; 0: the system's default */

static void give_up_membership(void *left) {
    pool *p = left;
    if (atomic_fetch_sub(&p->members, 1) == 1) free(p);
}

static void join_pool(pool *p) {
    pool *before = pthread_getspecific(membership);
    if (before == p || pthread_setspecific(membership, p) != 0) return;
    atomic_fetch_add(&p->members, 1);
    if (before) give_up_membership(before); /* LLVM's runtime moves workers between callers */
}

/* The pool that the calling thread owns; NULL out of memory. Never asked from inside a region. */
static pool *own_pool(void) {
    pool *p = pthread_getspecific(membership);
    if (p) return p;
    p = malloc(sizeof *p);
    if (!p) return NULL;
    atomic_init(&p->members, 1);
    p->team = 1;
    if (pthread_setspecific(membership, p) == 0) return p;
    free(p);
    return NULL;
}

/* A thread of the probe: notes its id and waits at the gate. */
static void *wait_at_gate(void *id) {
#ifdef __linux__
    *(long *)id = syscall(SYS_gettid);
#else
    (void)id;
#endif
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return NULL;
}

/*
 * Wait until the system has forgotten a joined thread. Joining returns when the thread stops using
 * its stack, a moment before it stops counting against the limits on threads.
 */
static bool is_gone(long id) {
#ifdef __linux__
    for (int attempt = 0; attempt < 10000; attempt++) {
        if (syscall(SYS_tgkill, (long)getpid(), id, 0L) != 0 && errno == ESRCH) return true;
        if (attempt < 10) {
            sched_yield();
        } else {
            nanosleep(&(struct timespec){0, 50000}, NULL);
        }
    }
    return false;
#else
    (void)id;
    return true;
#endif
}

/*
 * Whether `count` more threads, and the memory that the runtime allocates beside them, can be had
 * at once: create them, hold them, and let them go. Called with `growing` held.
 */
static bool can_create(int count) {
    static pthread_t threads[THREADS_AT_MOST];
    static long ids[THREADS_AT_MOST];
    void *memory = malloc(16384 + (size_t)count * 1024);
    pthread_attr_t attributes;
    if (!memory || pthread_attr_init(&attributes) != 0) {
        free(memory);
        return false;
    }
    if (stack_bytes > 0) pthread_attr_setstacksize(&attributes, stack_bytes);
    sigset_t all_signals, before; /* no signal handler shall run on a thread of the probe */
    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    int created = 0;
    pthread_mutex_lock(&gate);
    while (created < count &&
           pthread_create(&threads[created], &attributes, wait_at_gate, &ids[created]) == 0)
        created++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < created; i++) pthread_join(threads[i], NULL);
    bool gone = true;
    for (int i = 0; i < created && gone; i++) gone = is_gone(ids[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    free(memory);
    return created == count && gone;
}

/* Have the runtime create its workers now, while `growing` is held, and count them. */
static void grow(pool *p, int threads) {
#pragma omp parallel num_threads(threads)
    join_pool(p);
}

/* At most `wanted` threads, such that a region of that many needs no thread to be created. */
static int obtainable(int wanted) {
    /* Inside any region, even of one thread, the runtime would not use its pool. */
    if (!membership_made || pool_lost || omp_get_level() > 0) return 1;
    if (wanted > omp_get_thread_limit()) wanted = omp_get_thread_limit();
    pool *p = own_pool();
    if (!p) return 1;
    const int members = atomic_load(&p->members);
    const int ready = members < p->team ? members : p->team;
    if (wanted > ready) {
        pthread_mutex_lock(&growing);
        if (can_create(wanted - ready)) {
            grow(p, wanted);
            const int grown = atomic_load(&p->members); /* fewer under OMP_DYNAMIC */
            if (wanted > grown) wanted = grown;
        } else {
            wanted = ready;
        }
        pthread_mutex_unlock(&growing);
    }
    if (wanted > 1) p->team = wanted;
    return wanted;
}

/* ---- Forking ---- */

/* Both may be absent: the first came with GCC 9, the second tells LLVM's runtime from GCC's. */
#ifdef __ELF__
extern int pause_resources(int kind) __asm__("omp_pause_resource_all") __attribute__((weak));
extern void llvm_fork_call(void) __asm__("__kmpc_fork_call") __attribute__((weak));
#else
static int (*const pause_resources)(int) = NULL;
static void (*const llvm_fork_call)(void) = NULL;
#endif

/*
 * Before a fork, end the workers of the forking thread, the only thread that lives on in the
 * child; both processes then make new ones when they need them. For libgomp, "all" resources are
 * this thread's pool alone, torch's regions included, so threads that are inside a region at this
 * moment are not touched; it refuses inside a region of this thread. LLVM's runtime has fork
 * handlers of its own, and pausing it would end the teams of all threads.
 *
 * Without the pause (too old a runtime, a fork from inside a region) the child runs serially on
 * the thread it was born with.
 *
 * This takes no lock: LLVM's handler runs before this one and holds locks that a thread which is
 * just growing its pool waits for.
 */
static void before_fork(void) {
    const int hard = 2; /* omp_pause_hard; omp.h has it since GCC 9 */
    pool_lost_in_child =
        omp_get_level() > 0 || (!llvm_fork_call && (!pause_resources || pause_resources(hard) != 0));
}

/* The other threads are gone: the workers, the callers inside, and whoever held a lock. */
static void after_fork_in_child(void) {
    pool *p = pthread_getspecific(membership);
    if (p) {
        atomic_store(&p->members, 1);
        p->team = 1;
    }
    if (pool_lost_in_child) pool_lost = true;
    depth = 0;
    atomic_store(&callers, 0);
    growing = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    gate = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

/* OMP_STACKSIZE, or libgomp's older name for it: a number with a unit of B, K (if none), M or G. */
static size_t worker_stack_bytes(void) {
    const char *text = getenv("OMP_STACKSIZE");
    if (!text) text = getenv("GOMP_STACKSIZE");
    if (!text) return 0;
    char *unit;
    errno = 0;
    const unsigned long long number = strtoull(text, &unit, 10);
    if (unit == text || errno != 0) return 0;
    unit += strspn(unit, " \t");
    int shift = 10;
    if (*unit == 'b' || *unit == 'B') shift = 0;
    if (*unit == 'm' || *unit == 'M') shift = 20;
    if (*unit == 'g' || *unit == 'G') shift = 30;
    return number <= SIZE_MAX >> shift ? (size_t)number << shift : 0;
}

static void prepare_pools(void) {
    stack_bytes = worker_stack_bytes();
    if (membership_made) return;
    if (pthread_key_create(&membership, give_up_membership) != 0) return;
    /* Where forking cannot be made safe, threads are not used at all. */
    membership_made = pthread_atfork(before_fork, NULL, after_fork_in_child) == 0;
    if (!membership_made) pthread_key_delete(membership);
}

#else

static int obtainable(int wanted) {
#ifdef _OPENMP
    return omp_get_level() > 0 ? 1 : wanted;
#else
    (void)wanted;
    return 1;
#endif
}

static void prepare_pools(void) {}

#endif

/* ---- What the loops call ---- */

void fl_threads_init(void) {
    read_defaults();
    prepare_pools();
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
    const int error = errno;
    threads = obtainable(threads);
    errno = error;
    return threads;
}

int fl_openmp_version(void) {
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}
