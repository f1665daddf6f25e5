/*
 * fusedloss: loss functions and their gradients in one pass, on the CPU.
 *
 * From simple to advanced:
 *   1. fl_status, fl_dtype            codes that every call shares
 *   2. fl_input, fl_output            an array: pointer, dtype, strides in elements
 *   3. fl_softmax_args                one softmax-family call: inputs, sizes, options, outputs
 *   4. fl_program, fl_run             the call as stages of independent tasks; run them on one thread
 *   5. instruction sets and threads   which kernels run, and on how many threads
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
 * but for the choice of the instruction set (section 5).
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
} fl_status;

/* A static English name for a status, for messages. */
const char *fl_status_name(fl_status status);

typedef enum fl_dtype {
    FL_NO_DTYPE = 0,
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
} fl_softmax_kind;

/*
 * With p = softmax(z) over the classes, e = label_smoothing, w = class_weight (ones if absent):
 *   index target y:        loss = (1-e) w_y (-log p_y) + e/C sum_c w_c (-log p_c)
 *   probability target t:  loss = sum_c w_c ((1-e) t_c + e/C) (-log p_c)
 *   log-sum-exp:           loss = log sum_c exp z_c
 * FL_MEAN divides by the sum of w_y over the positions not ignored (index targets), else by the
 * number of positions. gradient = d sum(grad_output * reduced loss) / d logits.
 * The gradient may be the very memory of the logits (equal strides); no other overlap is allowed.
 */
typedef struct fl_softmax_args {
    /* inputs */
    fl_input logits;          /* float32 or float64: fixes the compute type */
    fl_input target;          /* any integer dtype, or float32/float64 probabilities */
    const void *class_weight; /* classes contiguous values of the compute type, or NULL: ones */
    fl_input grad_output;     /* FL_NONE only: one value of the compute type per position */
    /* sizes */
    int32_t ndim;
    int64_t shape[FL_MAX_DIMS];
    int64_t classes;
    /* options */
    fl_softmax_kind kind;
    fl_reduction reduction;
    int64_t ignore_index;
    double label_smoothing;
    double grad_output_value; /* multiplies the gradient */
    /* outputs */
    fl_output loss;     /* FL_NONE: one value of the compute type per position */
    fl_output gradient; /* of the logits' dtype */
    double value;       /* FL_MEAN, FL_SUM: the reduced loss, unrounded */
    /* set by fl_softmax_program and its stages; not for the caller */
    struct {
        double divisor; /* what the mean divides by; 1 otherwise */
        double scale;   /* grad_output_value / divisor */
        int64_t positions;
        int64_t positions_per_task;
        int64_t positions_per_check;
        int64_t tile;   /* positions that are worked on together */
        int32_t keep;   /* their exponentials stay in the workspace */
        int32_t stream; /* the gradient is stored past the caches */
    } plan;
} fl_softmax_args;

/* ---- 4. Programs: stages of independent tasks -------------------------------------------- */

/* What one task hands to the end of its stage, where tasks are combined in their order. */
typedef struct fl_partial {
    double sum;
    double weight;
    fl_status status;
} fl_partial;

/* One single-threaded task. Tasks of a stage are independent and write disjoint memory. */
typedef fl_status (*fl_task)(const void *args, int64_t task, void *workspace, fl_partial *partial);

typedef struct fl_stage {
    fl_task task;
    int64_t tasks;
    fl_status (*combine)(void *args, const fl_partial *partials, int64_t tasks);
} fl_stage;

#define FL_MAX_STAGES 4

/*
 * A call as stages run one after another. The tasks do not depend on the number of threads, so
 * neither do the results' bits. A caller with threads of its own runs the tasks of a stage in any
 * order, each thread with a workspace of its own, then calls combine.
 */
typedef struct fl_program {
    int32_t stages;
    fl_stage stage[FL_MAX_STAGES];
    size_t workspace; /* bytes per thread, a multiple of 64 */
    double work;      /* elements touched: a hint for the number of threads */
} fl_program;

/* Check the arguments and lay out the call. Writes to *args (plan, merged dimensions) and *program. */
fl_status fl_softmax_program(fl_softmax_args *args, fl_program *program);

/* Bytes that fl_run needs: one thread's workspace and the partials. */
size_t fl_workspace_size(const fl_program *program);

/* Run every stage on the calling thread. workspace: fl_workspace_size bytes, aligned to 64. */
fl_status fl_run(const fl_program *program, void *args, void *workspace);

/* ---- 5. Instruction sets and threads ------------------------------------------------------ */

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
