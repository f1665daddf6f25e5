/* The tasks of one stage, while threads take them: what every engine works on. */
#ifndef FUSEDLOSS_JOB_H
#define FUSEDLOSS_JOB_H

#include <stdatomic.h>
#include <stdint.h>

/* One task, on a thread that is the participant of that number: less than the job's number of threads. */
typedef void (*fl_body)(void *context, int64_t task, int participant);

/* Asked now and then between tasks of the caller: not 0 where the caller wants to stop. */
typedef int (*fl_poll)(void);

/* Participants begin in ranges of their own, as many as this at most. */
#define FL_RANGES 16

/* A range of blocks of tasks, of which participants take one after another. Alone in its cache line. */
typedef struct fl_range {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
} fl_range;

typedef struct fl_job {
    /* written before the job is shown to other threads, and read by them */
    int64_t tasks, block; /* block: tasks taken at a time */
    fl_body body;
    void *context;
    unsigned float_mode; /* the caller's: fl_float_mode */
    int threads, ranges;
    atomic_int stopped; /* set once by whoever polled: what is running may end early */
    fl_range range[FL_RANGES];
} fl_job;

/* Describe tasks for so many threads. The calling thread's floating-point mode is theirs. */
void fl_job_fill(fl_job *job, int64_t tasks, int threads, fl_body body, void *context);

/*
 * Take blocks of tasks and run them until none is left, in the job's floating-point mode. Returns
 * the number of blocks taken. *stopped: set where poll, which may be NULL, asked to stop; then no
 * block that nobody has taken is run, and *dropped is their number.
 */
int64_t fl_job_take(fl_job *job, int participant, fl_poll poll, int64_t *dropped, int *stopped);

/* Start a call's poll clock: its jobs poll POLL_SECONDS from now at the earliest. */
void fl_job_polls_from_now(void);

/* Asked by a task that takes long: whether to end early. The thread that polls does so. */
int fl_job_stops(void);

/* Ask a poll, unless it is NULL, and tell all who run the job's tasks; not 0 where they are to stop. */
int fl_job_poll(fl_job *job, fl_poll poll);

/* The number of blocks. */
int64_t fl_job_blocks(const fl_job *job);

#endif
