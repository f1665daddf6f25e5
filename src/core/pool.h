/* Threads of this library's own: they help a caller that never waits for one that has not begun. */
#ifndef FUSEDLOSS_POOL_H
#define FUSEDLOSS_POOL_H

#include "job.h"

#include <stdbool.h>

/* What became of a job. */
typedef struct fl_outcome {
    int64_t blocks, by_others; /* run, and run by other threads than the caller */
    bool stopped;              /* poll asked to stop */
} fl_outcome;

/*
 * Run tasks on the calling thread and on those threads of the pool, at most threads - 1, that come
 * in time. Returns false, with nothing run, where too many callers are inside already.
 */
bool fl_pool_run(int64_t tasks, int threads, fl_body body, void *context, fl_poll poll, fl_outcome *outcome);

/* How many threads there are now. */
int fl_pool_size(void);

/* Once, when the library is loaded: reads the size of the threads' stacks from the environment. */
void fl_pool_init(void);

/* In the child of a fork, where the threads are gone. */
void fl_pool_forget(void);

#endif
