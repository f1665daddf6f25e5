/* What the families that end in a softmax share: the checks of its options, and its scale. */
#ifndef FUSEDLOSS_SOFTMAX_H
#define FUSEDLOSS_SOFTMAX_H

#include "fusedloss.h"

/* Class indices that one task checks: worth waking a thread for. */
#define FL_CHECK_POSITIONS 16384

/* Whether sizes, dtypes and options fit together. */
fl_status fl_softmax_check(const fl_softmax_args *args);

/* Set what losses and gradients are scaled by: a mean divides losses by `weight`, or by `counts` where it
 * counts positions, and z_losses by `counts`. */
void fl_softmax_scale(fl_softmax_args *args, double weight, double counts);

/* After the stage that checks class indices and sums weights: set the scale, or say what is wrong. */
fl_status fl_softmax_combine_check(fl_softmax_args *args, const fl_partial *partials, int64_t tasks);

#endif
