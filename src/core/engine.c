/*
 * The policy: which threads run a loop.
 *
 *   one thread       where fl_threads_enter says so;
 *   own threads      otherwise. Whoever keeps the other cores, the caller takes the tasks itself
 *                    and waits for nobody who has not begun: at worst it runs all of them (pool.c).
 *
 * docs/performance.md has the figures of each.
 */
#include "engine.h"

#include "openmp.h"
#include "pool.h"
#include "threads.h"

#include <stddef.h>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

static _Atomic int64_t serial_loops, pool_loops, retreats, shared_tasks, tasks_by_others;
static atomic_uint forks;

static void add(_Atomic int64_t *count, int64_t n) {
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static void count_shared(const fl_outcome *outcome) {
    add(&pool_loops, 1);
    if (outcome->by_others == 0) add(&retreats, 1);
    add(&shared_tasks, outcome->blocks);
    add(&tasks_by_others, outcome->by_others);
}

static int run_alone(int64_t tasks, fl_body body, void *context, fl_poll poll) {
    if (!poll) {
        for (int64_t task = 0; task < tasks; task++) body(context, task, 0);
        return 0;
    }
    fl_job job;
    fl_job_fill(&job, tasks, 1, body, context);
    int64_t dropped = 0;
    int stopped = 0;
    fl_job_take(&job, 0, poll, &dropped, &stopped);
    return stopped;
}

int fl_parallel(int64_t tasks, int threads, fl_body body, void *context, fl_poll poll) {
    if (threads > tasks) threads = (int)tasks;
    fl_outcome outcome;
    if (threads > 1 && fl_pool_run(tasks, threads, body, context, poll, &outcome)) {
        count_shared(&outcome);
        return outcome.stopped;
    }
    add(&serial_loops, 1);
    return run_alone(tasks, body, context, poll);
}

fl_engine_counts fl_engine_count(void) {
    return (fl_engine_counts){
        .serial = atomic_load(&serial_loops),
        .pool = atomic_load(&pool_loops),
        .retreats = atomic_load(&retreats),
        .tasks = atomic_load(&shared_tasks),
        .tasks_by_others = atomic_load(&tasks_by_others),
    };
}

unsigned fl_engine_forks(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

/* The other threads are gone: workers, callers inside, and whoever held a lock. */
static void after_fork_in_child(void) {
    atomic_fetch_add(&forks, 1);
    fl_threads_forget();
    fl_pool_forget();
}

void fl_engine_init(void) {
    static bool done;
    if (done) return;
    fl_pool_init();
#if defined(__unix__) || defined(__APPLE__)
    done = pthread_atfork(fl_openmp_before_fork, NULL, after_fork_in_child) == 0;
#endif
}
