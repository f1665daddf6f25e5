/* The one symbol that each compiled variant exports: its table of tasks. */
#ifndef FUSEDLOSS_TABLE_H
#define FUSEDLOSS_TABLE_H

#include "fusedloss.h"

/* What softmax_rows works on at a time, and what it keeps of a row's blocks. */
#define ROW_BLOCK_BYTES 8192

/* The elements that the pointwise losses work on at a time, and the arrays of them that they keep. */
#define FL_POINTS 1024
#define FL_POINT_BUFFERS 10

/* The rows of values that the losses of rows keep. */
#define FL_ROW_BUFFERS 8

/* The most positions of a tile of softmax_columns. */
#define FL_MOST_TILE 512

typedef struct fl_kernels {
    const char *isa;                             /* the instruction set's public name */
    int lanes;                                   /* values of the compute type per vector */
    fl_task softmax_check;                       /* index targets are validated, weights summed */
    fl_task softmax_rows;                        /* classes in the vector lanes, one position at a time */
    fl_task softmax_columns;                     /* positions in the vector lanes */
    fl_task nll_positions;                       /* log-probabilities: one position at a time */
    const char *(*pointwise_name)(int32_t loss); /* of each pointwise loss; NULL past the last */
    fl_task pointwise_weights;                   /* weights are summed */
    fl_task pointwise_check;                     /* operands are validated */
    fl_task pointwise;
    const char *(*rowwise_name)(int32_t loss); /* of each loss of rows; NULL past the last */
    fl_task rowwise_check;                     /* class indices are validated, weights summed */
    fl_task rowwise;
    fl_dtype real;        /* the compute type */
    int64_t panel;        /* the columns of a panel of packed matrices */
    int32_t has_pairs;    /* whether pairs of bfloat16 are multiplied */
    fl_task linear_check; /* as softmax_check */
    fl_task linear_pack, linear_logits, linear_finish, linear_gradient, linear_input; /* see linear.inc */
    int64_t linear_sums_bytes, linear_terms_bytes; /* what they take for a panel of positions */
} fl_kernels;

#endif
