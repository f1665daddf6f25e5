/*
 * The kernels of one variant: compiled once per row of setup.py's table (instruction set x real
 * type). Everything is static but the table at the end.
 */
#include "simd.h"
#include "table.h"

#include "vmath.inc"

#include "storage.inc"

#include "streaming.inc"

#include "arrays.inc"

#include "tiles.inc"

#include "softmax.inc"

#include "softmax_rows.inc"

#include "nll.inc"

#include "pointwise.inc"

#include "rowwise.inc"

#include "softmax_columns.inc"

#include "gemm.inc"

#include "margin.inc"

#include "linear.inc"

#include "pairwise.inc"

#include "segmentation.inc"

#include "ctc.inc"

extern const fl_kernels FL_TABLE;

__attribute__((visibility("default"))) const fl_kernels FL_TABLE = {
    .lanes = LANES,
    .softmax_check = softmax_check,
    .softmax_rows = softmax_rows,
    .softmax_columns = softmax_columns,
    .nll_positions = nll_positions,
    .pointwise_name = pointwise_name,
    .pointwise_weights = pointwise_weights,
    .pointwise_check = pointwise_check,
    .pointwise = pointwise,
    .rowwise_name = rowwise_name,
    .rowwise_check = rowwise_check,
    .rowwise = rowwise,
    .real = REAL_DTYPE,
    .panel = PANEL,
    .has_pairs = HAS_PAIRS,
    .linear_check = linear_check,
    .linear_pack = linear_pack,
    .linear_logits = linear_logits,
    .linear_finish = linear_finish,
    .linear_gradient = linear_gradient,
    .linear_input = linear_input,
    .linear_sums_bytes = sizeof(row_sums),
    .linear_terms_bytes = sizeof(row_terms),
    .margin_terms_bytes = sizeof(margin_terms),
    .margin_name = margin_name,
    .margin_traits = margin_traits,
    .pairwise_name = pairwise_name,
    .pairwise_statistics = pairwise_statistics,
    .pairwise_pack = pairwise_pack,
    .pairwise_walk = pairwise_walk,
    .pairwise_columns = pairwise_columns,
    .pairwise_finish = pairwise_finish,
    .segmentation_sums = segmentation_sums,
    .segmentation_gradient = segmentation_gradient,
    .lovasz_errors = lovasz_errors,
    .lovasz_of_class = lovasz_of_class,
    .sort_bytes = 2 * sizeof(sort_item),
    .sort_counts_bytes = SORT_PASSES * DIGITS * sizeof(int64_t),
    .ctc = ctc,
};
