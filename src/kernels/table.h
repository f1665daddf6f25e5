/* The one symbol that each compiled variant exports: its table of tasks. */
#ifndef FUSEDLOSS_TABLE_H
#define FUSEDLOSS_TABLE_H

#include "fusedloss.h"

/* What softmax_rows works on at a time, and what it keeps of a row's blocks. */
#define ROW_BLOCK_BYTES 8192

/* The elements that the pointwise losses work on at a time, and the arrays of them that they keep. */
#define FL_POINTS 1024
#define FL_POINT_BUFFERS 12

/* The rows of values that the losses of rows keep. */
#define FL_ROW_BUFFERS 8

/* The most positions of a tile of softmax_columns. */
#define FL_MOST_TILE 512

/* What a group of anchors adds to a loss of pairs, by the kind of its losses. */
typedef struct fl_pair_totals {
    double loss[2], losses[2], nonzero[2]; /* their sum, their number, and of those above 0 */
    double positives, negatives;           /* pairs */
    double slopes[FL_MAX_PAIR_PARAMETERS];
    int32_t has_part; /* its part of the references' gradient is not nothing */
} fl_pair_totals;

/* What of a margin-softmax head is not a function of the target's angle alone: see margin.inc. */
typedef enum fl_margin_traits {
    OF_ANGLE = 0,
    OF_NORM = 1,
    BENDS_OTHERS = 2,
} fl_margin_traits;

/* What a loss of pairs has to know before the derivatives of a row can be computed. */
typedef enum fl_pair_statistics {
    NO_STATISTICS,
    LOSS_COUNTS,    /* each kind of losses has a mean of its own */
    ROW_STATISTICS, /* a value of each anchor, which is also a reference */
    COLUMN_SUMS,    /* the log-sum-exp of the similarities of each reference */
    HISTOGRAMS,     /* ROW_STATISTICS, and with them histograms of positive and of negative pairs */
    PAIR_MEANS,     /* LOSS_COUNTS, and the mean value of each kind of pairs with the derivatives by it */
} fl_pair_statistics;

/* The most bins of a histogram, and what one takes. */
#define FL_MOST_BINS 256
#define FL_HISTOGRAM (FL_MOST_BINS + 2)

/* The arrays that a row of pairs takes, each as long as a row. */
#define FL_PAIR_BUFFERS 13

typedef struct fl_kernels {
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
    int64_t linear_sums_bytes, linear_terms_bytes,
        margin_terms_bytes;                     /* what they take for a panel of positions */
    const char *(*margin_name)(int32_t number); /* of each margin; NULL past the last */
    fl_margin_traits (*margin_traits)(int32_t number);
    const char *(*pairwise_name)(int32_t loss);              /* of each loss of pairs; NULL past the last */
    fl_pair_statistics (*pairwise_statistics)(int32_t loss); /* what it needs */
    fl_task pairwise_pack;                                   /* embeddings are normalized and packed */
    fl_task pairwise_walk;                                   /* one group's anchors */
    fl_task pairwise_columns;                                /* groups' column sums are added up */
    fl_task pairwise_finish;                                 /* groups' gradients are added up */
    fl_task segmentation_sums;
    fl_task segmentation_gradient;
    fl_task lovasz_errors;                 /* of some pixels */
    fl_task lovasz_of_class;               /* the loss of one class, of an image or of all */
    int64_t sort_bytes, sort_counts_bytes; /* what that sorts a pixel in, and what it counts in */
    fl_task ctc;                           /* one sequence */
} fl_kernels;

#endif
