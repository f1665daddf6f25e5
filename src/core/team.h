/* The workers of the shared OpenMP runtime that serve the calling thread, torch's operations included. */
#ifndef FUSEDLOSS_TEAM_H
#define FUSEDLOSS_TEAM_H

#include "job.h"

#include <stdbool.h>

/*
 * How many threads, at most `wanted`, a region of the calling thread would start on at once and
 * without a thread being created: its workers are known, and spin at this moment, because an
 * operation of this thread has just used them. 1 where they sleep or are not known.
 */
int fl_team_awake(int wanted);

/* Run a job as a region of so many threads, as fl_team_awake gave; arguments as fl_job_take's. */
int64_t fl_team_run(fl_job *job, int threads, fl_poll poll, int64_t *dropped, int *stopped);

/* Whether the calling thread is inside a parallel region of this runtime. */
bool fl_team_inside(void);

/* Once, when the library is loaded; false where forking cannot be made safe. */
bool fl_team_init(void);

/* Around a fork. */
void fl_team_before_fork(void);
void fl_team_forget(void);

#endif
