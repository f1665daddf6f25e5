/* Simplifying the position dimensions that several arrays are indexed by. */
#ifndef FUSEDLOSS_LAYOUT_H
#define FUSEDLOSS_LAYOUT_H

#include "fusedloss.h"

/*
 * Reorder the dimensions by falling stride of strides[0], drop those of extent 1 and merge neighbours
 * that every array walks as one. Leaves ndim >= 1. Changes ndim, shape and each strides[i] in place.
 */
void fl_merge_dimensions(int32_t *ndim, int64_t *shape, int64_t *const *strides, int arrays);

#endif
