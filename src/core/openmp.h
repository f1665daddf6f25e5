/* The OpenMP runtime of torch and others, on which this library opens no regions. */
#ifndef FUSEDLOSS_OPENMP_H
#define FUSEDLOSS_OPENMP_H

#include <stdbool.h>

/* Whether the calling thread is inside a parallel region: the other cores are busy with its siblings. */
bool fl_openmp_inside(void);

/* Before a fork: leaves a runtime that can be used in the child, too. */
void fl_openmp_before_fork(void);

#endif
