#include "layout.h"

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

static void copy_dimension(int64_t *shape, int64_t *const *strides, int arrays, int32_t to, int32_t from) {
    shape[to] = shape[from];
    for (int i = 0; i < arrays; i++) strides[i][to] = strides[i][from];
}

static void swap_dimensions(int64_t *shape, int64_t *const *strides, int arrays, int32_t a, int32_t b) {
    int64_t extent = shape[a];
    shape[a] = shape[b];
    shape[b] = extent;
    for (int i = 0; i < arrays; i++) {
        int64_t stride = strides[i][a];
        strides[i][a] = strides[i][b];
        strides[i][b] = stride;
    }
}

void fl_merge_dimensions(int32_t *ndim, int64_t *shape, int64_t *const *strides, int arrays) {
    int32_t n = 0;
    for (int32_t d = 0; d < *ndim; d++)
        if (shape[d] != 1) copy_dimension(shape, strides, arrays, n++, d);

    /* Insertion sort: stable, and at most FL_MAX_DIMS long. */
    for (int32_t d = 1; d < n; d++)
        for (int32_t e = d; e > 0 && magnitude(strides[0][e]) > magnitude(strides[0][e - 1]); e--)
            swap_dimensions(shape, strides, arrays, e, e - 1);

    int32_t merged = 0;
    for (int32_t d = 1; d < n; d++) {
        int one_walk = 1;
        for (int i = 0; i < arrays; i++) one_walk &= strides[i][merged] == strides[i][d] * shape[d];
        if (one_walk) {
            int64_t extent = shape[merged];
            copy_dimension(shape, strides, arrays, merged, d);
            shape[merged] *= extent;
        } else {
            copy_dimension(shape, strides, arrays, ++merged, d);
        }
    }
    if (n == 0) {
        shape[0] = 1;
        for (int i = 0; i < arrays; i++) strides[i][0] = 0;
    }
    *ndim = n == 0 ? 1 : merged + 1;
}
