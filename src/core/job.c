/* Taking tasks: the one loop that every thread runs, whichever engine it belongs to. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime */
#endif

#include "job.h"

#include <stddef.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

/* Blocks of a job: with more tasks than these a block is several. */
enum { MOST_BLOCKS = 4096 };

/* Seconds between two polls: half a second is promised, and a task may take a tenth. */
static const double POLL_SECONDS = 0.1;

/* ---- Rounding mode, flush-to-zero and denormals-are-zero of the calling thread ---- */

#if defined(__x86_64__) || defined(__SSE__)
static unsigned float_mode(void) { return _mm_getcsr(); }
static void set_float_mode(unsigned mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
static unsigned float_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (unsigned)mode;
}
static void set_float_mode(unsigned mode) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode)); }
#else
#include <fenv.h>
static unsigned float_mode(void) { return (unsigned)fegetround(); }
static void set_float_mode(unsigned mode) { fesetround((int)mode); }
#endif

/* ---- Taking tasks ---- */

void fl_job_fill(fl_job *job, int64_t tasks, int threads, fl_body body, void *context) {
    job->tasks = tasks;
    job->block = (tasks + MOST_BLOCKS - 1) / MOST_BLOCKS;
    if (job->block < 1) job->block = 1;
    job->body = body;
    job->context = context;
    job->float_mode = float_mode();
    job->threads = threads;
    atomic_store_explicit(&job->stopped, 0, memory_order_relaxed);
    const int64_t blocks = fl_job_blocks(job);
    job->ranges = threads < FL_RANGES ? threads : FL_RANGES;
    for (int r = 0; r < job->ranges; r++) {
        atomic_store_explicit(&job->range[r].next, blocks * r / job->ranges, memory_order_relaxed);
        job->range[r].end = blocks * (r + 1) / job->ranges;
    }
}

int64_t fl_job_blocks(const fl_job *job) { return (job->tasks + job->block - 1) / job->block; }

/* Take all that is left, so that nobody else does; returns how many blocks that were. */
static int64_t drop_rest(fl_job *job) {
    int64_t dropped = 0;
    for (int r = 0; r < job->ranges; r++) {
        const int64_t end = job->range[r].end, next = atomic_exchange(&job->range[r].next, end);
        if (next < end) dropped += end - next;
    }
    return dropped;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int fl_job_poll(fl_job *job, fl_poll poll) {
    if (poll && poll()) atomic_store_explicit(&job->stopped, 1, memory_order_relaxed);
    return atomic_load_explicit(&job->stopped, memory_order_relaxed);
}

/* What the thread is at: a handler of signals, run by a poll, may make a call of its own. */
typedef struct taking {
    fl_job *job;
    fl_poll poll;
} taking;

static _Thread_local taking at;

/* Time of the last poll, kept across jobs: a call may run thousands of short ones. */
static _Thread_local double asked;

void fl_job_polls_from_now(void) { asked = seconds(); }

int fl_job_stops(void) {
    if (!at.job) return 0;
    if (!at.poll || seconds() - asked < POLL_SECONDS)
        return atomic_load_explicit(&at.job->stopped, memory_order_relaxed);
    const int stops = fl_job_poll(at.job, at.poll);
    asked = seconds();
    return stops;
}

int64_t fl_job_take(fl_job *job, int participant, fl_poll poll, int64_t *dropped, int *stopped) {
    const unsigned mode = float_mode();
    set_float_mode(job->float_mode);
    const taking before = at;
    at = (taking){job, poll};
    int64_t taken = 0;
    for (int turn = 0; turn < job->ranges; turn++) {
        /* First the range that a static schedule would give: its data may be in this core's cache. */
        fl_range *range = &job->range[(participant + turn) % job->ranges];
        int64_t block;
        while ((block = atomic_fetch_add_explicit(&range->next, 1, memory_order_relaxed)) < range->end) {
            const int64_t first = block * job->block, left = job->tasks - first;
            const int64_t end = first + (left < job->block ? left : job->block);
            taken++;
            for (int64_t task = first; task < end; task++) job->body(job->context, task, participant);
            if (poll && fl_job_stops()) {
                *stopped = 1;
                *dropped = drop_rest(job);
                break;
            }
        }
    }
    at = before;
    set_float_mode(mode);
    return taken;
}
