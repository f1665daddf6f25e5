/* Which of the compiled-in instruction sets runs: what this machine offers, and the one choice. */
#ifndef FUSEDLOSS_CPU_H
#define FUSEDLOSS_CPU_H

#include "fusedloss.h"

typedef struct fl_kernels fl_kernels; /* table.h */

/*
 * Detect the CPU, choose the best instruction set unless one was chosen, and write the text of
 * fl_cpu_features. Call it once, when the library is loaded; the fl_isa functions and
 * fl_kernels_for work without it.
 */
void fl_cpu_init(void);

/* The features found that matter to the kernels, space-separated; "" before fl_cpu_init. */
const char *fl_cpu_features(void);

/*
 * The kernels of the instruction set in use for FL_FLOAT32 or FL_FLOAT64; NULL for a dtype that
 * nothing is computed in, and where this CPU runs no instruction set compiled in.
 */
const fl_kernels *fl_kernels_for(fl_dtype compute_type);

/* Whether the instruction set in use has tiles: its kernels multiply pairs of bfloat16 by them if told to. */
int fl_has_tiles(void);

#endif
