/* The parallel loop: which threads run the tasks of a stage. The policy is in engine.c alone. */
#ifndef FUSEDLOSS_ENGINE_H
#define FUSEDLOSS_ENGINE_H

#include "job.h"

/*
 * Run body(context, task, participant) for every task from 0 to tasks - 1, each once, on at most
 * `threads` threads, participants 0 to threads - 1; the calling thread is participant 0. Returns
 * when all are done. poll, which may be NULL, is asked between tasks of the calling thread; where
 * it asks to stop, the tasks not begun are left out, and the result is 1. Else 0.
 */
int fl_parallel(int64_t tasks, int threads, fl_body body, void *context, fl_poll poll);

/* What has run the loops of this process since it began. A forked child counts on. */
typedef struct fl_engine_counts {
    int64_t serial, pool;           /* loops run on the caller alone, and with own threads */
    int64_t retreats;               /* of the latter: those where no thread came in time */
    int64_t tasks, tasks_by_others; /* of the loops on several threads */
} fl_engine_counts;

fl_engine_counts fl_engine_count(void);

/* How many times this process is a forked child's: changes in the child. */
unsigned fl_engine_forks(void);

/* Once, when the library is loaded. */
void fl_engine_init(void);

#endif
