/* What dtypes are: floats, indices, their sizes, and what they are computed in. */
#ifndef FUSEDLOSS_DTYPES_H
#define FUSEDLOSS_DTYPES_H

#include "fusedloss.h"

static inline int fl_is_index(fl_dtype dtype) { return dtype >= FL_INT8 && dtype <= FL_UINT64; }
static inline int fl_is_real(fl_dtype dtype) { return dtype >= FL_FLOAT16 && dtype <= FL_FLOAT64; }

static inline fl_dtype fl_compute_dtype(fl_dtype dtype) {
    return dtype == FL_FLOAT64 ? FL_FLOAT64 : FL_FLOAT32;
}

/* Bytes of a value of a float dtype. */
static inline int64_t fl_size_of(fl_dtype dtype) {
    return dtype == FL_FLOAT64 ? 8 : dtype == FL_FLOAT32 ? 4 : 2;
}

#endif
