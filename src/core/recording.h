/* A kernel call as bytes: recorded once, run later on any memory of the same shapes. */
#ifndef FUSEDLOSS_RECORDING_H
#define FUSEDLOSS_RECORDING_H

#include "fusedloss.h"

/* The families whose calls are one program; recorded calls hold the numbers. */
typedef enum fl_family {
    FL_SOFTMAX = 0,
    FL_POINTWISE,
    FL_ROWWISE,
    FL_LINEAR,
    FL_PAIRWISE,
    FL_FAMILIES,
} fl_family;

/* Where a call puts its arguments instead of running its program. */
typedef struct fl_recording {
    void *args;  /* room for fl_args_size bytes of its family */
    size_t size; /* that many */
    int threads; /* that the call asked for; 0: none */
    int calls;   /* how many have been recorded, each over the one before */
} fl_recording;

/* The recording of the calls from this thread; NULL: they run. */
fl_recording *fl_recorder(void);
void fl_recorder_set(fl_recording *recording);

/* The bytes of a family's argument struct. */
size_t fl_args_size(fl_family family);

/* The offsets of a family's pointers to arrays in its argument struct, ended by SIZE_MAX. */
const size_t *fl_args_pointers(fl_family family);

/* The offset of the reduced loss in a family's argument struct. */
size_t fl_args_value(fl_family family);

/* Changes with the argument structs: a recorded call is for the same number alone. */
int64_t fl_recording_version(void);

/* What fl_run_call returns where there is no memory for the workspace. */
#define FL_NO_MEMORY (-1)

/* Lay out and run a call on its threads; its status. Positions of class indices out of range become NaN, in
 * losses and gradients. `requested`: the number of threads, 0 for the usual one. */
int fl_run_call(fl_family family, void *args, int requested);

#endif
