/*
 * fusedloss: loss functions and their gradients in one pass, on the CPU.
 *
 * From simple to advanced:
 *   1. fl_status, fl_dtype            codes that every call shares
 *   2. fl_input, fl_output            an array: pointer, dtype, strides in elements
 *   3. fl_softmax_args                one softmax-family call: inputs, sizes, options, outputs
 *   4. fl_pointwise_args              one call of a loss that is computed element by element
 *   5. fl_rowwise_args                one call of a loss that is computed row by row
 *   6. fl_linear_args                 cross-entropy of logits that are a linear layer's and are never held
 *   7. fl_pairwise_args               one call of a loss of pairs of embeddings
 *   8. fl_segmentation_args           sums over images' pixels, and gradients of what is made of them
 *   9. fl_ctc_args                    connectionist temporal classification of sequences
 *  10. fl_program, fl_run             the call as stages of independent tasks; run them on one thread
 *  11. instruction sets and threads   which kernels run, and on how many threads
 *
 * A minimal call (8 rows, 10 classes, mean cross-entropy and its gradient):
 *
 *     fl_softmax_args args = {0};
 *     args.logits   = (fl_input){logits, FL_FLOAT32, {10}, 1};
 *     args.target   = (fl_input){labels, FL_INT64, {1}};
 *     args.ndim     = 1;
 *     args.shape[0] = 8;
 *     args.classes  = 10;
 *     args.kind = FL_INDEX_TARGET;
 *     args.reduction = FL_MEAN;
 *     args.ignore_index = -100;
 *     args.grad_output_value = 1.0;
 *     args.gradient = (fl_output){gradient, FL_FLOAT32, {10}, 1};
 *
 *     fl_program program;
 *     fl_status status = fl_softmax_program(&args, &program);
 *     ... allocate fl_workspace_size(&program) bytes, aligned to 64 ...
 *     status = fl_run(&program, &args, workspace);
 *     ... args.value is the loss, gradient is filled ...
 *
 * No function here allocates, starts a thread or keeps state between calls,
 * but for the choice of the instruction set (section 11).
 */
#ifndef FUSEDLOSS_H
#define FUSEDLOSS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Codes ---------------------------------------------------------------------------- */

typedef enum fl_status {
    FL_OK = 0,
    FL_BAD_ARGUMENT, /* a size, option or combination that the entry point does not take */
    FL_BAD_DTYPE,    /* a dtype that this argument does not take */
    FL_BAD_TARGET,   /* a class index outside [0, classes) that is not ignore_index; nothing was written */
    FL_BAD_VALUE,    /* a value outside of the loss's domain; nothing was written if check_first was set */
} fl_status;

/* A static English name for a status, for messages. */
const char *fl_status_name(fl_status status);

typedef enum fl_dtype {
    FL_NO_DTYPE = 0,
    FL_FLOAT16,
    FL_BFLOAT16,
    FL_FLOAT32,
    FL_FLOAT64,
    FL_INT8,
    FL_INT16,
    FL_INT32,
    FL_INT64,
    FL_UINT8,
    FL_UINT16,
    FL_UINT32,
    FL_UINT64,
} fl_dtype;

typedef enum fl_reduction { FL_NONE = 0, FL_MEAN, FL_SUM } fl_reduction;

/* ---- 2. Arrays --------------------------------------------------------------------------- */

#define FL_MAX_DIMS 8

/*
 * An array indexed by (position, class). A position has ndim coordinates, whose extents are in
 * the argument struct's shape[]; strides are signed, in elements; zero broadcasts. An array
 * without a class axis leaves class_stride 0. data must be aligned to its element.
 */
typedef struct fl_input {
    const void *data; /* NULL: absent */
    fl_dtype dtype;
    int64_t strides[FL_MAX_DIMS];
    int64_t class_stride;
} fl_input;

typedef struct fl_output {
    void *data; /* NULL: not wanted */
    fl_dtype dtype;
    int64_t strides[FL_MAX_DIMS];
    int64_t class_stride;
} fl_output;

/* ---- 3. The softmax family --------------------------------------------------------------- */

typedef enum fl_softmax_kind {
    FL_INDEX_TARGET = 0,   /* cross-entropy against one class index per position */
    FL_PROBABILITY_TARGET, /* cross-entropy against a distribution per position */
    FL_LOGSUMEXP,          /* value: log-sum-exp; its gradient is the softmax */
    FL_LOG_SOFTMAX,        /* no value; "gradient" receives log_softmax(logits) */
    FL_ENTROPY,            /* value: the entropy of the softmax */
    FL_TEACHER_DIVERGENCE, /* from a teacher's softmax, the target being its logits */
    FL_TEACHER_TARGET,     /* cross-entropy against a teacher's softmax */
} fl_softmax_kind;

/* What the array called logits holds; anything but logits takes a target. */
typedef enum fl_prediction {
    FL_LOGITS = 0,
    FL_LOG_PROBABILITIES, /* index targets only; used as they are: loss = w_y (-z_y) */
    FL_PROBABILITIES,     /* divided by their sum, then clipped to [1e-7, 1 - 1e-7] */
} fl_prediction;

/*
 * With p = softmax(s(z) / T) over the classes, s(z) = softcap tanh(z / softcap), T = temperature,
 * e = label_smoothing, w = class_weight, v = sample_weight (each ones if absent):
 *   index target y:        loss = (1-e) w_y (1 - p_y)^focusing (-log p_y) + e/C sum_c w_c (-log p_c)
 *   probability target t:  loss = sum_c w_c ((1-e) t_c + e/C) (-log p_c)
 *   of FL_PROBABILITIES, each -log p_c here is (1 - p_c)^focusing (-log p_c)
 *   log-sum-exp:           loss = log sum_c exp z_c
 *   entropy:               loss = sum_c p_c (-log p_c)
 *   teacher's logits t:    loss = sum_c q_c (log q_c - log p_c), q = softmax(t / T), or without the log q_c;
 *                          no other options, and positions side by side in the vector lanes: for few or
 *                          strided classes (the row loss "distillation_loss" is for many, contiguous ones)
 * and each loss becomes v (loss + z_loss lse^2 - entropy_bonus sum_c p_c (-log p_c)), lse = log sum_c
 * exp(s(z_c) / T).
 * FL_MEAN divides by the sum of v w_y over the positions not ignored (index targets) or the sum of v
 * (probability targets, z_loss, entropies and mean_of_positions). gradient = d sum(grad_output * reduced
 * loss) / d logits. The gradient may be the very memory of the logits (equal strides and dtype); no other
 * overlap is allowed. lse, entropy, accuracy and log_prob are 0 where the position is ignored; accuracy is 1
 * where the target class (of a distribution: its first maximum) is the first maximum of the logits, else 0;
 * log_prob is log p_y, of index targets only.
 */
typedef struct fl_softmax_args {
    /* inputs */
    fl_input logits;          /* float64, computed in double; float16, bfloat16, float32: in float */
    fl_input target;          /* any integer dtype, or probabilities of any float dtype */
    const void *class_weight; /* classes contiguous values of the compute type, or NULL: ones */
    fl_input sample_weight;   /* any float dtype, one value per position */
    fl_input where;           /* FL_UINT8, one value per position: where it is 0 the position is ignored,
                                 whatever the other arrays hold; absent: no position is */
    fl_input grad_output;     /* FL_NONE only: any float dtype, one value per position */
    /* sizes */
    int32_t ndim;
    int64_t shape[FL_MAX_DIMS];
    int64_t classes;
    /* options; zero is the default of each */
    fl_softmax_kind kind;
    fl_prediction prediction;
    fl_reduction reduction;
    int32_t mean_of_positions; /* FL_MEAN counts positions, not class weights */
    int64_t ignore_index;
    double label_smoothing;
    double focusing;    /* focal loss: gamma; of logits, by index targets without label_smoothing */
    double temperature; /* 0 stands for 1 */
    double softcap;     /* 0: none */
    double z_loss;
    double entropy_bonus;     /* of logits only */
    double grad_output_value; /* multiplies the gradient and the Hessian */
    /* outputs */
    fl_output loss;     /* FL_NONE: one value per position, of the logits' dtype or the compute type */
    fl_output gradient; /* of the logits' dtype or the compute type */
    fl_output
        hessian; /* its diagonal, of index and probability targets only; with it, either may be float32 */
    fl_output lse, entropy, accuracy, log_prob; /* of the compute type, one value per position */
    double value;                               /* FL_MEAN, FL_SUM: the reduced loss, unrounded */
    /* set by fl_softmax_program and its stages; not for the caller */
    struct {
        double divisor;   /* what the mean divides by; 1 otherwise */
        double scale;     /* grad_output_value / divisor */
        double z_divisor; /* what the mean divides z_loss by */
        double z_ratio;   /* divisor / z_divisor */
        int32_t extras;   /* more is wanted than the loss and its gradient, or z_loss in them; */
        int32_t terms;    /* and it is more than accuracy and log_prob */
        int32_t entropy;  /* the entropy is a part of the loss */
        int32_t pulls;    /* the focal loss of probabilities has a gradient of its own in each class */
        int64_t positions;
        int64_t positions_per_task;
        int64_t positions_per_check;
        int64_t tile;   /* positions that are worked on together */
        int32_t keep;   /* their exponentials stay in the workspace */
        int32_t stream; /* the gradient is stored past the caches */
    } plan;
} fl_softmax_args;

/* ---- 4. Pointwise losses ----------------------------------------------------------------- */

#define FL_MAX_OPERANDS 4
#define FL_MAX_PARAMETERS 4

/*
 * A loss of one element from each operand: the prediction, the target, and with some losses a third and a
 * fourth. Every operand may be broadcast, by strides of zero, and so may the weight, which multiplies the
 * loss. FL_MEAN divides by the number of elements that are not left out or, for a weighted_mean, by the sum
 * of their weights.
 * gradients[k] = d sum(grad_output * reduced loss) / d operands[k]. A gradient may be the very memory of its
 * operand (equal strides and dtype); no other overlap is allowed.
 */
typedef struct fl_pointwise_args {
    /* inputs */
    int32_t loss;                       /* by fl_pointwise_loss */
    fl_input operands[FL_MAX_OPERANDS]; /* the first: any float dtype, which decides how the loss is computed;
                                           the others: any dtype. An absent third or fourth stands for ones */
    fl_input weight;                    /* any dtype; absent: ones */
    fl_input where;                     /* FL_UINT8: elements where it is 0 are left out, whatever the other
                                           arrays hold; absent: none is */
    fl_input grad_output;               /* FL_NONE only: any float dtype */
    /* sizes */
    int32_t ndim;
    int64_t shape[FL_MAX_DIMS];
    /* options */
    double parameters[FL_MAX_PARAMETERS]; /* of the loss, in its order */
    fl_reduction reduction;
    int32_t weighted_mean;
    int32_t check_first;      /* validate every value before any output is written */
    double divisor;           /* FL_SUM: what the sum is divided by; 0 stands for 1 */
    double grad_output_value; /* multiplies the gradients and the Hessian */
    /* outputs, of the prediction's dtype or the compute type */
    fl_output loss_values; /* FL_NONE */
    fl_output gradients[FL_MAX_OPERANDS];
    fl_output hessian; /* by the prediction, its diagonal; with it, either may be float32 */
    double value;      /* FL_MEAN, FL_SUM: the reduced loss, unrounded */
    /* set by fl_pointwise_program and its stages; not for the caller */
    struct {
        double divisor;
        double scale; /* grad_output_value / divisor */
        int64_t points;
        int64_t points_per_task;
        int32_t stream; /* gradients are stored past the caches */
    } plan;
} fl_pointwise_args;

/* The number of the loss of a name ("huber_loss"); -1 if there is none. */
int32_t fl_pointwise_loss(const char *name);

/* ---- 5. Losses of rows ------------------------------------------------------------------- */

#define FL_ROW_OPERANDS 3

/*
 * A loss of one row from each operand: the values along the class axis, be they classes or features. FL_MEAN
 * divides by the number of rows or the sum of their weights. gradients[k] = d sum(grad_output * reduced
 * loss) / d operands[k]. A gradient may be the very memory of its operand (equal strides and dtype); no other
 * overlap is allowed.
 */
typedef struct fl_rowwise_args {
    /* inputs */
    int32_t loss;                       /* by fl_rowwise_loss */
    fl_input operands[FL_ROW_OPERANDS]; /* the first: any float dtype, which decides how the loss is computed;
                                           the others: any dtype, class_stride 0 for one value per row */
    fl_input target;          /* any integer dtype: a class index per row, operands[1] being absent */
    const void *class_weight; /* classes contiguous values of the compute type, or NULL: ones */
    fl_input sample_weight;   /* any float dtype, one value per row; absent: ones */
    fl_input where;           /* FL_UINT8, one value per row: rows where it is 0 are left out, whatever the
                                 other arrays hold; absent: none is */
    fl_input grad_output;     /* FL_NONE only: any float dtype, one value per row */
    /* sizes */
    int32_t ndim;
    int64_t shape[FL_MAX_DIMS];
    int64_t classes;
    /* options */
    double parameters[FL_MAX_PARAMETERS]; /* of the loss, in its order */
    int32_t label_rows;                   /* operands[1] are class indices, those of a row ended by -1 */
    fl_reduction reduction;
    double grad_output_value; /* multiplies the gradients */
    /* outputs, of the prediction's dtype or the compute type */
    fl_output loss_values; /* FL_NONE: one value per row */
    fl_output gradients[FL_ROW_OPERANDS];
    double value; /* FL_MEAN, FL_SUM: the reduced loss, unrounded */
    /* set by fl_rowwise_program and its stages; not for the caller */
    struct {
        double divisor;
        double scale; /* grad_output_value / divisor */
        int64_t rows;
        int64_t rows_per_task;
        int32_t stream; /* gradients are stored past the caches */
    } plan;
} fl_rowwise_args;

/* The number of the loss of a name ("triplet_margin_loss"); -1 if there is none. */
int32_t fl_rowwise_loss(const char *name);

/* ---- 6. Linear layer and cross-entropy --------------------------------------------------- */

#define FL_MARGIN_PARAMETERS 5

/*
 * A margin-softmax head: logits are scale cos(theta), of the angle between input and weights, that of the
 * target scale psi(cos theta). Each class has `centers` successive rows of weights. The best of them counts,
 * or at a temperature t sum_k c_k softmax_k(c / t) of their cosines c.
 * Without weights the input holds the cosines, by position and class, and features are 1.
 */
typedef struct fl_margin {
    int32_t kind; /* by fl_margin_kind; 0: no margin, logits are the linear layer's */
    double parameters[FL_MARGIN_PARAMETERS];
    double scale;
    double annealing;                    /* l: psi is blended with cos as (l cos + psi) / (1 + l) */
    double filter;                       /* logits of other classes with a larger cosine are 0; 0: none are */
    int64_t centers;                     /* 0 stands for 1 */
    double temperature;                  /* of the centers; 0: the best one */
    int32_t keep_norm, keep_weight_norm; /* logits have the norm as a factor */
    int32_t detached;                    /* gradients take psi's slope for 1 */
} fl_margin;

/* The kind of the margin of a name ("arcface"); 0 if there is none. Rows of src/kernels/margin.inc say what
 * their parameters are. */
int32_t fl_margin_kind(const char *name);

/* Whether a margin changes the logits of other classes by the target's angle: its shards need
 * target_cosines. */
int32_t fl_margin_bends_others(int32_t kind);

/* What the softmax of one position takes of its logits z; m is their maximum, or 0 if that is -inf. */
typedef struct fl_row_sums {
    double max;
    double others;       /* sum of exp(z_c - m) over the classes but the target's */
    double target_logit, /* of the target's class, and 0 where another shard has it */
        target_weight;
    double dense, dense_logits; /* under label smoothing: sums of w_c and of w_c (z_c - m) */
} fl_row_sums;

/*
 * The classes at hand are a shard: targets from softmax.classes on are classes of other shards, and are not
 * checked. Means are the caller's, who knows their divisors. Index targets only, without entropy and
 * accuracy.
 */
typedef struct fl_shard {
    int64_t classes;                /* of all shards; 0: there is but one */
    fl_row_sums *sums;              /* output, one per position: nothing else is computed then */
    const fl_row_sums *sums_of_all; /* input: sums over all shards, of one maximum */
    const double *target_cosines;   /* input of margins that bend others: of the classes of all shards */
} fl_shard;

/*
 * The loss of logits_c = sum_d input_d weight_cd + bias_c with all that fl_softmax_args says but
 * temperature, predictions other than logits, and the Hessian. Of `softmax`, the logits are absent but for
 * their dtype, that of the input, and so is the gradient: in its place are those of the linear layer.
 * The logits exist in blocks, never as a whole.
 *
 * Classes may be shared out, each caller having the weights of some: a first call gives the sums of its
 * shard, the callers combine theirs, and a second call takes those of all shards for the loss and the
 * gradients by its own weights; what it has of the input's gradient is to be added up. See fl_shard.
 *
 * For other losses of a linear layer only its products are computed, for some positions at a time: with
 * `logits`, these are written and nothing else is done; with `logits_gradient`, the gradients by input and
 * weight are those of a loss with that gradient. softmax.kind is FL_LOGSUMEXP then, the reduction no mean,
 * and positions of sample weight 0 are ignored. There is no margin, no shard and no gradient by the bias.
 */
typedef struct fl_linear_args {
    /* inputs: float16, bfloat16, float32 (computed in float) or float64 (in double), of one dtype */
    fl_input input;  /* by position; class_stride is that of the features */
    fl_input weight; /* strides[0]: from one class to the next; class_stride: that of the features */
    fl_input bias;   /* strides[0]: from one class to the next */
    /* sizes */
    int64_t features;
    size_t workspace;       /* about so many bytes may be used; 0 stands for 64 MiB */
    int32_t bfloat16_parts; /* of float32 factors, where the CPU multiplies bfloat16; 0: they are float32, 1:
                               they are rounded, 2: sums of two, each product being three */
    fl_margin margin;       /* without bias, softcap and accuracy, on index targets */
    fl_shard shard;
    double filter_eps;        /* what a logit's gradient must exceed, relative to its position's factor, to be
                                 sure to enter those of input and weight; 0: all do */
    fl_input logits_gradient; /* by position and class, of any float dtype: its products are wanted */
    int32_t accumulate;       /* its products are added to what the gradients hold */
    fl_softmax_args softmax;
    /* outputs of the inputs' dtype; no overlap with anything is allowed. Products of logits_gradient may have
     * the type that they are computed in; those by the weights must, and a class_stride of 1. */
    fl_output input_gradient, weight_gradient, bias_gradient;
    fl_output logits; /* by position and class, of any float dtype */
    /* set by fl_linear_program and its stages; not for the caller */
    struct {
        char *shared;                   /* memory of all tasks; below, places in it, in bytes */
        int64_t rows;                   /* positions that are worked on together: a chunk */
        int64_t chunks, chunk;          /* how many, and the one at hand */
        int64_t block;                  /* classes whose weights a task packs at a time */
        int64_t splits;                 /* ranges of classes that are worked on independently, */
        int64_t split;                  /* of how many classes, */
        int64_t second_split;           /* and in the second pass */
        int64_t group;                  /* classes whose weights' gradients are accumulated together, */
        int64_t group_start, group_end; /* and those at hand */
        int64_t centers, columns;       /* of a class, of all; blocks, splits and groups are of columns */
        int64_t padded_classes, padded_features;
        int64_t margin_at, norms_at;
        int64_t terms_at, sums_at, input_at, transposed_at, logits_at, partial_at, accumulated_at, bias_at,
            input_sums_at, maxima_at;
        int32_t maxima;       /* the largest logits of classes tell which need not be computed again */
        int32_t pairs;        /* factors are pairs of bfloat16, */
        int32_t tiles;        /* multiplied by tiles, */
        int32_t parts;        /* and have so many parts */
        int32_t direct;       /* the weights' gradient is accumulated in place */
        int32_t recompute;    /* logits are computed again instead of kept, */
        int32_t second;       /* for gradients now, */
        int32_t input_second; /* that by the input among them */
        int32_t first_stage, second_stage, stages; /* of both passes, of the second, and the end */
        double sum, z_sum;
    } plan;
} fl_linear_args;

/* ---- 7. Losses of pairs of embeddings ---------------------------------------------------- */

#define FL_MAX_PAIR_PARAMETERS 5

/* What a loss is given of two embeddings a and b. */
typedef enum fl_distance {
    FL_DOT_PRODUCT = 0,
    FL_COSINE_DISTANCE, /* 1 - a b */
    FL_EUCLIDEAN,
    FL_SQUARED_EUCLIDEAN,
    FL_LP,  /* (sum |a - b|^p)^(power/p) */
    FL_SNR, /* var(a - b) / var(a), which is not that of b and a; 0 where var(a - b) is */
} fl_distance;

/* The pairs of each anchor, one after another: each with a reference, which may come more than once. */
typedef struct fl_pair_list {
    const int64_t *starts; /* where each anchor's pairs are, and at last the end of all */
    const int32_t *at;     /* the references */
} fl_pair_list;

/*
 * Every anchor, a row of the embeddings, makes pairs with all references: positive ones with those of its
 * own label, negative ones with the others; or those that are listed. A loss is a function of one anchor's
 * pairs, whose matrix is never held. Derivatives at distance 0 are 0, and those of FL_SNR where var(a) is.
 *
 * A mask of pairs is for references without labels, where an anchor's positive pair is that of its number. An
 * anchor whose positive pair is masked has no loss and no part in a mean. Embeddings in no loss may hold
 * anything.
 *
 * gradient = d sum(grad_output * reduced loss) / d embeddings.
 */
typedef struct fl_pairwise_args {
    /* inputs; strides[0] leads from one row to the next, class_stride from one feature to the next */
    int32_t loss;                    /* by fl_pairwise_loss */
    fl_input embeddings;             /* float16, bfloat16, float32: computed in float; float64: in double */
    fl_input reference;              /* of the same dtype. Absent: the embeddings, none paired with itself */
    fl_input labels;                 /* of the anchors: any integer dtype. Absent: their numbers */
    fl_input reference_labels;       /* with a reference. Absent: their numbers */
    fl_input sample_weight;          /* of the anchors: any float dtype */
    fl_input loss_weight;            /* of the anchors, too, but no part of the divisor of a mean */
    fl_input anchor_parameters;      /* of the anchors, any float dtype: in the place of parameters[1] */
    fl_input where;                  /* uint8, rows x references: pairs where it is 0 do not count */
    fl_input grad_output;            /* FL_NONE only: any float dtype */
    fl_pair_list positive, negative; /* absent: all pairs, by their labels */
    /* sizes */
    int64_t rows, columns, features; /* columns: the number of references */
    int64_t longest;                 /* the most pairs of an anchor in a list */
    size_t workspace;                /* about so many bytes may be used; 0 stands for 64 MiB */
    /* options */
    double parameters[FL_MAX_PAIR_PARAMETERS]; /* of the loss, in its order */
    fl_distance distance;
    double p, power;   /* of FL_LP: at least 1, and positive */
    int32_t opposite;  /* distances have their sign changed, for losses of similarities */
    int32_t normalize; /* embeddings are divided by max(norm, 1e-12) first; FL_LP: their p-norm */
    fl_reduction reduction;
    int32_t nonzero;    /* FL_MEAN counts only losses above 0 */
    int32_t any_counts; /* with where: an anchor without its positive pair has a loss of the others */
    double grad_output_value;
    /* outputs; no overlap with anything is allowed */
    fl_output loss_values;                  /* FL_NONE: the sum of each anchor's losses */
    fl_output gradient, reference_gradient; /* of the embeddings' dtype */
    double value;                           /* FL_MEAN, FL_SUM: the reduced loss, unrounded */
    double slopes[FL_MAX_PAIR_PARAMETERS];  /* derivatives by the parameters that are learnable */
    double *anchor_slopes;                  /* rows: by each anchor's parameter. Absent: not wanted */
    /* set by fl_pairwise_program and its stages; not for the caller */
    struct {
        char *shared; /* memory of all tasks; below, places in it, in bytes */
        int64_t anchors_at, transposed_anchors_at, references_at, transposed_references_at;
        int64_t labels_at, reference_labels_at, squares_at, reference_squares_at;
        int64_t inverses_at, reference_inverses_at, left_out_at, references_left_out_at;
        int64_t means_at, reference_means_at;
        int64_t anchor_gradient_at, parts_at, column_sums_at, statistics_at, totals_at;
        int64_t histograms_at, slopes_at, pairs_at;
        int64_t padded_rows, padded_columns, padded_features;
        int64_t longest;        /* values of a row */
        int64_t groups;         /* of anchors that are worked on independently, */
        int64_t rows_per_group; /* so many each, */
        int64_t block;          /* so many at a time */
        int32_t gradients;      /* some are wanted */
        int32_t kept;           /* all pairs are, */
        int32_t known;          /* and their values are there already */
        int32_t finished;       /* panels whose gradients are made at once */
        int32_t counted;        /* each kind of losses is divided by a number found first */
        int32_t gathering;      /* the stage at hand gathers statistics: the first, the second */
        double factors[2];      /* of the derivatives of each kind of losses, before the sums are known */
        double means[2];        /* of the values of each kind of pairs, */
        double by_means[2];     /* and what each of those pairs adds to the derivatives through them */
        double scale;           /* of the gradients, once they are */
        double constant;        /* what the loss is besides the anchors' losses */
    } plan;
} fl_pairwise_args;

/* The number of the loss of a name ("triplet_all"); -1 if there is none. */
int32_t fl_pairwise_loss(const char *name);

/* ---- 8. Losses of images ------------------------------------------------------------------ */

/* What p is made of. */
typedef enum fl_activation {
    FL_OF_SOFTMAX = 0, /* the softmax of the logits over the classes */
    FL_OF_SIGMOID,     /* of each logit its sigmoid: labels do not exclude each other */
    FL_GIVEN,          /* the logits are p */
} fl_activation;

/*
 * What overlap losses are made of. t are the labels, those of a class index being one-hot, v the sample
 * weights (ones if absent), w = class_weight (the same), s = label_smoothing. Pixels of the index
 * ignore_index do not count; where skips_labels is set neither do labels that equal it, with the softmax
 * pixels whose first label does. without a gradient   sums, of each image n, for each class c at sums[n][3c]:
 *                        sum v p_c t_c, sum v p_c (1 - t_c), sum v (1 - p_c) t_c;
 *                        at sums[n][3 classes] the sum of v times the pixels' cross-entropies, with the
 * softmax sum_c w_c ((1 - s) t_c + s / classes) (-log p_c); with sigmoids, if entropy is set, sum_c w_c (q_c
 * (-log p_c) + (1 - q_c) (-log(1 - p_c))), q = (1 - s) t + s / 2; and what their mean is divided by: the sum
 * of v w of the indices' classes, of v for other labels, or of v sum_c w_c with sigmoids with a gradient that
 * of a loss whose derivative by p_c is v (slopes[n][2c] + slopes[n][2c + 1] t_c), and by the sum of
 * cross-entropies entropy_slope Class indices are validated where sums are wanted.
 *
 * fl_lovasz_program computes Lovasz extensions of the Jaccard loss instead, of labels 0 and 1: losses, and in
 * `errors` their derivatives by p_c, or 2 where a label does not count. Of a hinge the error is 1 - z or 1 +
 * z, and the derivative that by z.
 */
typedef struct fl_segmentation_args {
    /* inputs */
    fl_input logits;        /* any float dtype, which decides how the sums are computed */
    fl_input target;        /* any integer dtype, or labels of any dtype with a class axis */
    int32_t soft_target;    /* it is the latter */
    fl_input sample_weight; /* any float dtype, one for each pixel; NULL: ones */
    const double *class_weight;
    const double *slopes;
    double entropy_slope;
    /* sizes */
    int32_t ndim; /* of positions: the images, then their pixels */
    int64_t shape[FL_MAX_DIMS];
    int64_t classes;
    /* options */
    fl_activation activation;
    int64_t ignore_index;
    int32_t skips_labels;
    int32_t entropy;
    double label_smoothing;
    int32_t hinge, together; /* Lovasz: errors of a hinge; all images are sorted as one */
    int64_t first_class;     /* Lovasz: classes before it have no loss */
    /* outputs */
    double *sums;       /* room for 3 classes + 2 values for each of the stage's tasks, by the time it runs */
    double *losses;     /* Lovasz: of each image, or of all, for each class: loss, weight of its pixels */
    fl_output errors;   /* Lovasz: of the compute type, (classes, images, pixels) without gaps */
    fl_output weights;  /* Lovasz, with sample weights: of the compute type, (images, pixels) without gaps */
    fl_output gradient; /* of the logits' dtype or the compute type; it may be the logits' memory */
    /* set by fl_segmentation_program; not for the caller */
    struct {
        int64_t pixels; /* of an image */
        int64_t pixels_per_task;
        int64_t tasks_per_image;
        int64_t tile; /* pixels that are worked on together */
    } plan;
} fl_segmentation_args;

/* ---- 9. Losses of sequences --------------------------------------------------------------- */

/*
 * Connectionist temporal classification: minus the logarithm of the probability that a sequence's frames
 * spell its labels, once repetitions are merged and blanks dropped. gradient = d sum(grad_output * reduced
 * loss) / d x, the log-probabilities being log_softmax(x).
 */
typedef struct fl_ctc_args {
    /* inputs */
    fl_input log_probs;          /* any float dtype; strides of frames, then of sequences */
    const int64_t *labels;       /* of all sequences, each in [0, classes) and not the blank */
    const int64_t *first_labels; /* where in it each sequence's labels begin */
    const int64_t *input_lengths, *target_lengths; /* frames and labels of each sequence */
    const double *sample_weight;                   /* of each sequence; NULL: ones */
    fl_input grad_output;                          /* FL_NONE only: any float dtype */
    /* sizes */
    int64_t frames, sequences, classes;
    /* options */
    int64_t blank;
    int32_t zero_infinity;  /* infinite losses, and their gradients, are 0 */
    fl_reduction reduction; /* FL_MEAN divides losses by the numbers of labels, then by the sum of weights */
    double grad_output_value;
    /* outputs, of the log-probabilities' dtype or the compute type */
    fl_output loss_values; /* FL_NONE: one per sequence */
    fl_output gradient;    /* strides as above; it may be the log-probabilities' memory */
    double value;          /* FL_MEAN, FL_SUM: the reduced loss, unrounded */
    /* set by fl_ctc_program; not for the caller */
    struct {
        double scale;
    } plan;
} fl_ctc_args;

/* ---- 10. Programs: stages of independent tasks ------------------------------------------- */

/* What one task hands to the end of its stage, where tasks are combined in their order. */
typedef struct fl_partial {
    double sum, z_sum;     /* of losses, of z_loss's part of them */
    double weight, counts; /* of class weights, of sample weights alone */
    fl_status status;
    /* Set by the caller; NULL: never. A task of more than a tenth of a second asks it now and then, and
     * returns where it says so (not 0): what the call writes is then unspecified. */
    int (*stops)(void);
} fl_partial;

/* One single-threaded task. Tasks of a stage are independent and write disjoint memory. */
typedef fl_status (*fl_task)(const void *args, int64_t task, void *workspace, fl_partial *partial);

typedef struct fl_stage {
    fl_task task;
    int64_t tasks;
    fl_status (*combine)(void *args, const fl_partial *partials, int64_t tasks);
} fl_stage;

#define FL_MAX_STAGES 8

/*
 * A call as stages run one after another. The tasks do not depend on the number of threads, so
 * neither do the results' bits. A caller with threads of its own runs the tasks of a stage in any
 * order, each thread with a workspace of its own, then calls combine. Where shared is not 0, the
 * address of so many bytes, aligned to 64, goes to *shared_at before the first stage.
 */
typedef struct fl_program {
    int32_t stages;
    fl_stage stage[FL_MAX_STAGES];
    int32_t (*next)(void *args, int32_t stage); /* the stage after one; NULL: they run in order */
    size_t workspace;                           /* bytes per thread, a multiple of 64 */
    size_t shared;                              /* bytes that the tasks of all threads share */
    char **shared_at;
    double work; /* elements touched: a hint for the number of threads */
} fl_program;

/* The stage that follows one; the number of stages after the last. */
int32_t fl_next_stage(const fl_program *program, void *args, int32_t stage);

/* Check the arguments and lay out the call. Writes to *args (plan, merged dimensions) and *program. */
fl_status fl_softmax_program(fl_softmax_args *args, fl_program *program);

fl_status fl_pointwise_program(fl_pointwise_args *args, fl_program *program);

fl_status fl_rowwise_program(fl_rowwise_args *args, fl_program *program);

fl_status fl_linear_program(fl_linear_args *args, fl_program *program);
fl_status fl_pairwise_program(fl_pairwise_args *args, fl_program *program);
fl_status fl_segmentation_program(fl_segmentation_args *args, fl_program *program);
fl_status fl_lovasz_program(fl_segmentation_args *args, fl_program *program);
fl_status fl_ctc_program(fl_ctc_args *args, fl_program *program);

/* Bytes that fl_run needs: one thread's workspace, the partials and what is shared. */
size_t fl_workspace_size(const fl_program *program);

/* Run every stage on the calling thread. workspace: fl_workspace_size bytes, aligned to 64. */
fl_status fl_run(const fl_program *program, void *args, void *workspace);

/* ---- 11. Instruction sets and threads ------------------------------------------------------ */

/* The instruction sets compiled in, best first; NULL past the end. */
const char *fl_isa_name(int index);

/* Whether this CPU and operating system run the instruction set of that index. */
int fl_isa_available(int index);

/* The index of the instruction set in use. */
int fl_isa_current(void);

/* Use that instruction set from now on; FL_BAD_ARGUMENT where it is not available. */
fl_status fl_isa_select(int index);

#ifdef __cplusplus
}
#endif

#endif
