/* What the plans of several families share. */
#ifndef FUSEDLOSS_PROGRAM_H
#define FUSEDLOSS_PROGRAM_H

#include "fusedloss.h"

/* Gradients from so many bytes on are stored past the caches. */
#define STREAM_BYTES (8 * 1024 * 1024)
/* A task's least number of elements, and the largest number of tasks. */
#define TASK_ELEMENTS 16384
#define MOST_TASKS 128

/* The number of a name among those of a table, which NULL ends; -1 if it is not there. */
int32_t fl_number_of(const char *(*name_of)(int32_t), const char *name);

/* What the first task that failed reports. */
fl_status fl_first_fault(const fl_partial *partials, int64_t tasks);

static inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

static inline int64_t round_up(int64_t a, int64_t to) { return ceil_divide(a, to) * to; }

#endif
