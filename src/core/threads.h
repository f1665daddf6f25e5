/* How many threads a parallel loop is offered. */
#ifndef FUSEDLOSS_THREADS_H
#define FUSEDLOSS_THREADS_H

#include <stdint.h>

/*
 * Read the environment and the machine. Call it when the library is loaded and on one thread;
 * calling it again reads the environment again.
 */
void fl_threads_init(void);

/* What the last fl_threads_init objected to, for the user to read; NULL if nothing. */
const char *fl_threads_problem(void);

/* The number for the whole process; 0 returns to the default. */
void fl_threads_set(int n);

/*
 * The number for calls from this thread, over fl_threads_set; 0 for none. Returns the one before,
 * for the caller to push back.
 */
int fl_threads_push(int n);

/*
 * What a call from this thread is offered, always positive, by the first of: fl_threads_push,
 * fl_threads_set, FUSEDLOSS_NUM_THREADS, OMP_NUM_THREADS, the cores that this process may use (its
 * CPU affinity or its cgroup's quota, whichever is less).
 */
int fl_threads_get(void);

/* Which of these decided: "threads()", "set_num_threads", ..., "CPU affinity", "cgroup quota". */
const char *fl_threads_source(void);

/*
 * How many threads, at least 1, to run a parallel loop of `tasks` tasks on that touches `work`
 * elements. `requested` is the number that the call asked for, 0 for none. Results do not depend
 * on the answer, so it is 1 wherever more would not pay. Counts the calling
 * thread as inside until it calls fl_threads_leave, which it must, on the same thread.
 */
int fl_threads_enter(int requested, double work, int64_t tasks);
void fl_threads_leave(void);

/* In the child of a fork: the other callers are gone. */
void fl_threads_forget(void);

/* The OpenMP version that this was compiled for, as _OPENMP gives it (yyyymm); 0: serial. */
int fl_openmp_version(void);

#endif
