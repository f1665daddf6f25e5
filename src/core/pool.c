/*
 * Threads of this library's own.
 *
 * A caller shows its job in a slot, takes tasks itself, and returns when the tasks that were taken
 * are done: it never waits for a worker that has not begun. A worker that comes late finds nothing
 * left; it may still look at the job then, so a job lies in static memory, in a slot that is not
 * used again before every worker that registered there has left.
 *
 * A worker without work spins for SPIN_SECONDS, then sleeps: the next matrix product of another
 * library finds the cores free.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* syscall, sched_getcpu, pthread_setname_np */
#endif

#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__unix__) || defined(__APPLE__)

#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#endif

/* How long a worker looks for the next job, and a caller for the end of the last tasks, awake. */
static const double SPIN_SECONDS = 25e-6;

/* Between two polls of a caller that waits for its workers. */
enum { POLL_NANOSECONDS = 100 * 1000 * 1000 };

/* How long no thread is asked for after the system refused one. */
static const double REFUSED_SECONDS = 1;

/* A bit each in a word. */
enum { SLOTS = 64 };

/* Of a slot's state; below them is the number of workers registered. */
#define OPEN (1u << 31)
#define RESERVED (1u << 30)

typedef struct slot {
    _Alignas(64) atomic_uint state;
    atomic_uint arrived;           /* workers that asked for a number */
    _Alignas(64) atomic_uint done; /* blocks that workers have run */
    atomic_uint waiting;           /* whether the caller sleeps until `done` changes */
    fl_job job;
} slot;

static slot slots[SLOTS];
static _Alignas(64) _Atomic uint64_t wanting; /* the slots whose jobs want more workers, a bit each */
static _Alignas(64) atomic_uint bell;         /* changes when sleepers are woken */
static atomic_int sleeping, spinning;
static atomic_int workers;
static atomic_int caller_cpu = -1; /* where the last caller was */
static atomic_uint generation;     /* changes in the child of a fork */

static size_t stack_bytes;                                  /* of a worker; 0: the system's default */
static pthread_mutex_t growing = PTHREAD_MUTEX_INITIALIZER; /* held while threads are created */
static double refused_until;

/* ---- Sleeping until a word changes ---- */

#if defined(__linux__) && !defined(FL_NO_FUTEX)

/* For so many nanoseconds at most; 0: for ever. */
static void wait_while(atomic_uint *word, unsigned value, long most) {
    const struct timespec time = {0, most};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, most ? &time : NULL, NULL, 0);
}

static void wake(atomic_uint *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void forget_sleepers(void) {}

#else

static pthread_mutex_t sleep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void wait_while(atomic_uint *word, unsigned value, long most) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += most;
    if (end.tv_nsec >= 1000000000) end.tv_sec++, end.tv_nsec -= 1000000000;
    pthread_mutex_lock(&sleep_mutex);
    for (int is_late = 0; atomic_load(word) == value && !is_late;)
        is_late = most ? pthread_cond_timedwait(&changed, &sleep_mutex, &end) != 0
                       : pthread_cond_wait(&changed, &sleep_mutex) != 0;
    pthread_mutex_unlock(&sleep_mutex);
}

static void wake(atomic_uint *word, int count) {
    (void)word, (void)count; /* sleepers of all words share a condition; each looks at its own */
    pthread_mutex_lock(&sleep_mutex);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&sleep_mutex);
}

static void forget_sleepers(void) {
    sleep_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}

#endif

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void pause_a_little(void) {
    for (int i = 0; i < 16; i++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb");
#endif
    }
}

/* ---- Workers ---- */

static void close_door(int s) { atomic_fetch_and(&wanting, ~((uint64_t)1 << s)); }

/* Help the job of a slot, if it is there and has room. */
static void visit(int s) {
    slot *each = &slots[s];
    /* From here on the slot is not used for another job. */
    if (atomic_fetch_add(&each->state, 1) & OPEN) {
        const unsigned number = atomic_fetch_add(&each->arrived, 1) + 1, room = (unsigned)each->job.threads;
        if (number + 1 >= room) close_door(s);
        if (number < room) {
            int64_t dropped = 0;
            int stopped = 0;
            const int64_t taken = fl_job_take(&each->job, (int)number, NULL, &dropped, &stopped);
            close_door(s);
            if (taken > 0) {
                atomic_fetch_add(&each->done, (unsigned)taken);
                if (atomic_load(&each->waiting)) wake(&each->done, 1);
            }
        }
    }
    atomic_fetch_sub(&each->state, 1);
}

/*
 * Leave the core of the caller. Where the cores share no cache that the system knows of (virtual
 * machines), it wakes a thread on the core of whoever wakes it, and leaves it there.
 */
static void leave_core_of_caller(void) {
#ifdef __linux__
    static _Thread_local cpu_set_t allowed; /* when the thread was made */
    static _Thread_local bool known;
    if (!known) {
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) CPU_ZERO(&allowed);
        known = true;
    }
    const int cpu = sched_getcpu();
    if (cpu < 0 || cpu >= CPU_SETSIZE || cpu != atomic_load(&caller_cpu)) return;
    cpu_set_t others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) > 0) sched_setaffinity(0, sizeof others, &others);
#endif
}

/* A slot that wants workers; waits for one, awake and then asleep. */
static int next_slot(void) {
    for (;;) {
        const unsigned rung = atomic_load(&bell);
        uint64_t set = atomic_load(&wanting);
        if (!set) {
            atomic_fetch_add(&spinning, 1);
            const double end = seconds() + SPIN_SECONDS;
            do {
                pause_a_little();
                set = atomic_load(&wanting);
            } while (!set && seconds() < end);
            atomic_fetch_sub(&spinning, 1);
        }
        if (set) {
            leave_core_of_caller();
            return __builtin_ctzll(set);
        }
        /* A caller shows its job first and counts the sleepers then: one of the two sees the other. */
        atomic_fetch_add(&sleeping, 1);
        if (!atomic_load(&wanting)) wait_while(&bell, rung, 0);
        atomic_fetch_sub(&sleeping, 1);
        leave_core_of_caller();
    }
}

static void *work(void *unused) {
    (void)unused;
    for (;;) visit(next_slot());
    return NULL;
}

/* Have so many workers, or as many as the system gives. */
static void grow(int wanted) {
    if (atomic_load_explicit(&workers, memory_order_relaxed) >= wanted) return;
    if (pthread_mutex_trylock(&growing) != 0) return; /* another caller is at it */
    if (seconds() >= refused_until) {
        pthread_attr_t attributes;
        sigset_t all_signals, before; /* signals are for the program's threads */
        sigfillset(&all_signals);
        bool refused = pthread_attr_init(&attributes) != 0;
        if (!refused) {
            pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
            if (stack_bytes > 0) pthread_attr_setstacksize(&attributes, stack_bytes);
            pthread_sigmask(SIG_SETMASK, &all_signals, &before);
            while (!refused && atomic_load(&workers) < wanted) {
                pthread_t thread;
                refused = pthread_create(&thread, &attributes, work, NULL) != 0;
                if (refused) break;
                atomic_fetch_add(&workers, 1);
#ifdef __linux__
                pthread_setname_np(thread, "fusedloss"); /* here: seen from the first call on */
#endif
            }
            pthread_sigmask(SIG_SETMASK, &before, NULL);
            pthread_attr_destroy(&attributes);
        }
        if (refused) refused_until = seconds() + REFUSED_SECONDS;
    }
    pthread_mutex_unlock(&growing);
}

int fl_pool_size(void) { return atomic_load(&workers); }

/* OMP_STACKSIZE, or libgomp's older name for it: a number with a unit of B, K (if none), M or G. */
void fl_pool_init(void) {
    const char *text = getenv("OMP_STACKSIZE");
    if (!text) text = getenv("GOMP_STACKSIZE");
    if (!text) return;
    char *unit;
    errno = 0;
    const unsigned long long number = strtoull(text, &unit, 10);
    if (unit == text || errno != 0) return;
    unit += strspn(unit, " \t");
    int shift = 10;
    if (*unit == 'b' || *unit == 'B') shift = 0;
    if (*unit == 'm' || *unit == 'M') shift = 20;
    if (*unit == 'g' || *unit == 'G') shift = 30;
    if (number <= SIZE_MAX >> shift) stack_bytes = (size_t)number << shift;
}

void fl_pool_forget(void) {
    atomic_fetch_add(&generation, 1);
    atomic_store(&workers, 0);
    atomic_store(&sleeping, 0);
    atomic_store(&spinning, 0);
    atomic_store(&wanting, 0);
    for (int s = 0; s < SLOTS; s++) atomic_store(&slots[s].state, 0);
    growing = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    refused_until = 0;
    forget_sleepers();
}

/* ---- Callers ---- */

/* A slot that nobody looks at any more; -1 where there is none. */
static int reserve(void) {
    for (int s = 0; s < SLOTS; s++) {
        unsigned nobody = 0;
        if (atomic_load_explicit(&slots[s].state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&slots[s].state, &nobody, RESERVED))
            return s;
    }
    return -1;
}

/* Let the workers know of the job in a slot, and wake as many as are missing. */
static void show(int s, int wanted) {
#ifdef __linux__
    atomic_store_explicit(&caller_cpu, sched_getcpu(), memory_order_relaxed);
#endif
    atomic_fetch_xor(&slots[s].state, OPEN | RESERVED);
    atomic_fetch_or(&wanting, (uint64_t)1 << s);
    const int asleep = atomic_load(&sleeping), missing = wanted - atomic_load(&spinning);
    if (missing > 0 && asleep > 0) {
        atomic_fetch_add(&bell, 1);
        wake(&bell, missing);
    }
}

/* Wait until workers have run so many blocks. Asleep the caller leaves its core to them, but for its poll;
 * where that forked, the child does not wait, since it has no workers. */
static void wait_for(slot *each, unsigned blocks, fl_poll poll, unsigned born) {
    if (atomic_load(&each->done) == blocks) return;
    const double end = seconds() + SPIN_SECONDS;
    do {
        pause_a_little();
        if (atomic_load(&each->done) == blocks) return;
    } while (seconds() < end);
    atomic_store(&each->waiting, 1);
    for (unsigned done; (done = atomic_load(&each->done)) != blocks;) {
        wait_while(&each->done, done, poll ? POLL_NANOSECONDS : 0);
        if (poll && !atomic_load(&each->job.stopped) && atomic_load(&each->done) == done)
            fl_job_poll(&each->job, poll);
        if (atomic_load_explicit(&generation, memory_order_relaxed) != born) return;
    }
}

bool fl_pool_run(int64_t tasks, int threads, fl_body body, void *context, fl_poll poll, fl_outcome *outcome) {
    const int error = errno;
    grow(threads - 1);
    const int s = atomic_load_explicit(&workers, memory_order_relaxed) > 0 ? reserve() : -1;
    if (s < 0) {
        errno = error;
        return false;
    }
    slot *each = &slots[s];
    atomic_store_explicit(&each->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&each->done, 0, memory_order_relaxed);
    atomic_store_explicit(&each->waiting, 0, memory_order_relaxed);
    fl_job_fill(&each->job, tasks, threads, body, context);
    const int64_t blocks = fl_job_blocks(&each->job);
    const unsigned born = atomic_load_explicit(&generation, memory_order_relaxed);
    show(s, threads - 1 < blocks - 1 ? threads - 1 : (int)(blocks - 1));

    int64_t dropped = 0;
    int stopped = 0;
    const int64_t taken = fl_job_take(&each->job, 0, poll, &dropped, &stopped);
    *outcome = (fl_outcome){blocks - dropped, blocks - dropped - taken, stopped != 0};
    if (atomic_load_explicit(&generation, memory_order_relaxed) == born) {
        close_door(s);
        wait_for(each, (unsigned)outcome->by_others, poll, born);
        if (atomic_load_explicit(&each->job.stopped, memory_order_relaxed)) outcome->stopped = true;
    }
    if (atomic_load_explicit(&generation, memory_order_relaxed) == born)
        atomic_fetch_and(&each->state, ~OPEN);
    else
        outcome->stopped = true; /* poll forked, and the workers with their tasks are in the parent */
    errno = error;
    return true;
}

#else

bool fl_pool_run(int64_t tasks, int threads, fl_body body, void *context, fl_poll poll, fl_outcome *outcome) {
    (void)tasks, (void)threads, (void)body, (void)context, (void)poll, (void)outcome;
    return false;
}
int fl_pool_size(void) { return 0; }
void fl_pool_init(void) {}
void fl_pool_forget(void) {}

#endif
