/* The softmax family's plan: which kernel walks the logits, in which tasks, and what is combined. */
#include "cpu.h"
#include "layout.h"
#include "table.h"

/* Every constant below is measured; docs/performance.md says how. */

/* Rows of up to so many classes go side by side in the vector lanes. */
#define SHORT_ROW 128
/* A row's exponentials stay in the workspace up to so many bytes: they share L2 with the logits. */
#define KEEP_BYTES (1024 * 1024)
/* Rows are walked in batches whose exponentials take up to so many bytes. */
#define BATCH_BYTES (64 * 1024)
/* A tile of positions takes up to so many bytes, but at least one vector of them. */
#define TILE_BYTES (64 * 1024)
/* Gradients from so many bytes on are stored past the caches. */
#define STREAM_BYTES (8 * 1024 * 1024)
/* Class indices that one task checks: worth waking a thread for. */
#define CHECK_POSITIONS 16384
/* A task's least number of elements, and the largest number of tasks. */
#define TASK_ELEMENTS 16384
#define MOST_TASKS 128

static int is_index_dtype(fl_dtype dtype) { return dtype >= FL_INT8 && dtype <= FL_UINT64; }
static int is_real_dtype(fl_dtype dtype) { return dtype == FL_FLOAT32 || dtype == FL_FLOAT64; }

static fl_status check_arguments(const fl_softmax_args *args) {
    if (!args->logits.data && args->classes) return FL_BAD_ARGUMENT;
    if (!is_real_dtype(args->logits.dtype)) return FL_BAD_DTYPE;
    if (args->classes < 1 || args->ndim < 0 || args->ndim > FL_MAX_DIMS) return FL_BAD_ARGUMENT;
    for (int32_t d = 0; d < args->ndim; d++)
        if (args->shape[d] < 0) return FL_BAD_ARGUMENT;
    if (!(args->label_smoothing >= 0 && args->label_smoothing <= 1)) return FL_BAD_ARGUMENT;
    if (args->kind == FL_INDEX_TARGET && !is_index_dtype(args->target.dtype)) return FL_BAD_DTYPE;
    if (args->kind == FL_PROBABILITY_TARGET && !is_real_dtype(args->target.dtype)) return FL_BAD_DTYPE;
    if (args->gradient.data && args->gradient.dtype != args->logits.dtype) return FL_BAD_DTYPE;
    if (args->grad_output.data && args->grad_output.dtype != args->logits.dtype) return FL_BAD_DTYPE;
    if (args->loss.data && args->loss.dtype != args->logits.dtype) return FL_BAD_DTYPE;
    return FL_OK;
}

static void set_scale(fl_softmax_args *args, double divisor) {
    args->plan.divisor = divisor;
    /* The mean of nothing is nan, and its gradient zero. */
    args->plan.scale = divisor == 0 ? 0 : args->grad_output_value / divisor;
}

static fl_status combine_check(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_softmax_args *args = arguments;
    double weight = 0;
    for (int64_t task = 0; task < tasks; task++) {
        if (partials[task].status != FL_OK) return partials[task].status;
        weight += partials[task].weight;
    }
    set_scale(args, args->reduction == FL_MEAN ? weight : 1);
    return FL_OK;
}

static fl_status combine_run(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_softmax_args *args = arguments;
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) {
        if (partials[task].status != FL_OK) return partials[task].status;
        sum += partials[task].sum;
    }
    args->value = sum / args->plan.divisor;
    return FL_OK;
}

static int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t round_up(int64_t a, int64_t to) { return ceil_divide(a, to) * to; }

/* Tiles of positions, and the workspace that softmax_columns takes: one or two tiles, and one for targets or
 * exponentials. */
static void plan_columns(fl_softmax_args *args, int64_t lanes, int64_t size, fl_program *program) {
    const int64_t fitting = TILE_BYTES / (args->classes * size) / lanes * lanes;
    const int64_t tile = fitting < lanes ? lanes : fitting > FL_MOST_TILE ? FL_MOST_TILE : fitting;
    const int second = args->kind == FL_PROBABILITY_TARGET || args->kind == FL_LOG_SOFTMAX;
    args->plan.tile = tile;
    args->plan.keep = 1;
    const int64_t lines = (tile * size / 64 | 1) + 2; /* of 64 bytes: softmax_columns' pitch */
    program->workspace = (size_t)(lines * 64 * args->classes * (1 + args->plan.stream + second));
}

/* Batches of rows, and the workspace that softmax_rows takes: the exponentials and block maxima of two
 * batches, and three blocks. */
static void plan_rows(fl_softmax_args *args, int64_t lanes, int64_t size, fl_program *program) {
    const int64_t row = round_up(args->classes, 64) * size, blocks = row / ROW_BLOCK_BYTES + 1;
    const int64_t fitting = BATCH_BYTES / row, batch = fitting < 1 ? 1 : fitting > lanes ? lanes : fitting;
    args->plan.tile = batch;
    args->plan.keep = args->gradient.data && args->classes * size <= KEEP_BYTES;
    const int64_t exponentials = args->plan.keep ? 2 * batch * row : ROW_BLOCK_BYTES;
    program->workspace =
        (size_t)(exponentials + round_up(2 * batch * blocks * size, 64) + 3 * ROW_BLOCK_BYTES);
}

fl_status fl_softmax_program(fl_softmax_args *args, fl_program *program) {
    fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_kernels *kernels = fl_kernels_for(args->logits.dtype);
    if (!kernels) return FL_BAD_ARGUMENT;
    const int64_t size = args->logits.dtype == FL_FLOAT64 ? 8 : 4, classes = args->classes;

    int64_t *strides[] = {args->logits.strides, args->target.strides, args->grad_output.strides,
                          args->loss.strides, args->gradient.strides};
    fl_merge_dimensions(&args->ndim, args->shape, strides, 5);
    int64_t positions = 1;
    for (int32_t d = 0; d < args->ndim; d++) positions *= args->shape[d];

    const int columns = classes <= SHORT_ROW || args->logits.class_stride != 1;
    const int64_t bytes = positions * classes * size;
    args->plan.positions = positions;
    args->plan.stream =
        args->gradient.data && bytes >= STREAM_BYTES && args->gradient.data != args->logits.data;
    set_scale(args, args->reduction == FL_MEAN ? (double)positions : 1);

    if (columns)
        plan_columns(args, kernels->lanes, size, program);
    else
        plan_rows(args, kernels->lanes, size, program);

    int64_t per_task = ceil_divide(TASK_ELEMENTS, classes);
    if (per_task < ceil_divide(positions, MOST_TASKS)) per_task = ceil_divide(positions, MOST_TASKS);
    per_task = round_up(per_task, args->plan.tile);
    args->plan.positions_per_task = per_task;
    args->plan.positions_per_check = CHECK_POSITIONS;
    const int64_t tasks = ceil_divide(positions, per_task), checks = ceil_divide(positions, CHECK_POSITIONS);

    program->work = (double)positions * (double)classes;
    program->stages = 0;
    if (args->kind == FL_INDEX_TARGET)
        program->stage[program->stages++] = (fl_stage){kernels->softmax_check, checks, combine_check};
    program->stage[program->stages++] =
        (fl_stage){columns ? kernels->softmax_columns : kernels->softmax_rows, tasks, combine_run};
    return FL_OK;
}
