/* The softmax family's plan: which kernel walks the logits, in which tasks, and what is combined. */
#include "softmax.h"
#include "cpu.h"
#include "dtypes.h"
#include "layout.h"
#include "program.h"
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
/* What a class takes of a tile of one vector. Strided logits of so many classes that such a tile is larger
 * than this, or than that where the positions do not fill a vector, are walked row by row instead. */
#define COLUMN_BYTES 192
#define MOST_TILE_BYTES ((int64_t)64 << 20)
#define TILE_OF_FEW_BYTES ((int64_t)1 << 20)
/* Both logits of a position, its gradient and its exponentials. */
#define TEACHER_ROWS 4

static int absent_or(const void *data, fl_dtype dtype, fl_dtype one, fl_dtype other) {
    return !data || dtype == one || dtype == other;
}

static int has_teacher(const fl_softmax_args *args) {
    return args->kind == FL_TEACHER_DIVERGENCE || args->kind == FL_TEACHER_TARGET;
}

static int wants_outputs(const fl_softmax_args *args) {
    return args->lse.data || args->entropy.data || args->accuracy.data || args->log_prob.data;
}

static fl_status check_dtypes(const fl_softmax_args *args) {
    const fl_dtype logits = args->logits.dtype;
    if (!fl_is_real(logits)) return FL_BAD_DTYPE;
    const fl_dtype real = fl_compute_dtype(logits);
    if (args->kind == FL_INDEX_TARGET && !fl_is_index(args->target.dtype)) return FL_BAD_DTYPE;
    const int has_reals = args->kind == FL_PROBABILITY_TARGET || has_teacher(args);
    if (has_reals && !fl_is_real(args->target.dtype)) return FL_BAD_DTYPE;
    if (args->sample_weight.data && !fl_is_real(args->sample_weight.dtype)) return FL_BAD_DTYPE;
    if (args->where.data && args->where.dtype != FL_UINT8) return FL_BAD_DTYPE;
    if (args->grad_output.data && !fl_is_real(args->grad_output.dtype)) return FL_BAD_DTYPE;
    /* Boosters want float32 derivatives of float64 predictions. */
    const fl_dtype other = args->hessian.data ? FL_FLOAT32 : real;
    const int fits = absent_or(args->loss.data, args->loss.dtype, logits, real) &&
                     absent_or(args->gradient.data, args->gradient.dtype, logits, other) &&
                     absent_or(args->hessian.data, args->hessian.dtype, logits, other) &&
                     absent_or(args->lse.data, args->lse.dtype, real, real) &&
                     absent_or(args->entropy.data, args->entropy.dtype, real, real) &&
                     absent_or(args->accuracy.data, args->accuracy.dtype, real, real) &&
                     absent_or(args->log_prob.data, args->log_prob.dtype, real, real);
    return fits ? FL_OK : FL_BAD_DTYPE;
}

static fl_status check_options(const fl_softmax_args *args) {
    const int has_target = args->kind == FL_INDEX_TARGET || args->kind == FL_PROBABILITY_TARGET;
    const int transforms = args->softcap != 0 || args->temperature != 0;
    if (!(args->label_smoothing >= 0 && args->label_smoothing <= 1)) return FL_BAD_ARGUMENT;
    if (!(args->softcap >= 0) || !(args->temperature >= 0) || !(args->z_loss >= 0)) return FL_BAD_ARGUMENT;
    if (!(args->focusing >= 0)) return FL_BAD_ARGUMENT;
    if (args->focusing != 0 && args->prediction != FL_PROBABILITIES &&
        (args->kind != FL_INDEX_TARGET || args->label_smoothing != 0))
        return FL_BAD_ARGUMENT;
    if (args->hessian.data && (!has_target || !args->gradient.data || args->temperature != 0))
        return FL_BAD_ARGUMENT;
    if (args->log_prob.data && args->kind != FL_INDEX_TARGET) return FL_BAD_ARGUMENT;
    if (args->where.data && !has_target && args->kind != FL_ENTROPY) return FL_BAD_ARGUMENT;
    if (!(args->entropy_bonus - args->entropy_bonus == 0)) return FL_BAD_ARGUMENT;
    if (args->entropy_bonus != 0 && !has_target) return FL_BAD_ARGUMENT;
    if (has_teacher(args) && (args->class_weight || args->label_smoothing != 0 || args->softcap != 0 ||
                              args->z_loss != 0 || wants_outputs(args)))
        return FL_BAD_ARGUMENT;
    if (args->prediction == FL_LOGITS) return FL_OK;
    if (!has_target || transforms || args->z_loss != 0 || args->entropy_bonus != 0) return FL_BAD_ARGUMENT;
    if (args->hessian.data || wants_outputs(args)) return FL_BAD_ARGUMENT;
    if (args->prediction == FL_PROBABILITIES) return FL_OK;
    const int plain = args->label_smoothing == 0 && args->focusing == 0;
    return args->kind == FL_INDEX_TARGET && plain ? FL_OK : FL_BAD_ARGUMENT;
}

fl_status fl_softmax_check(const fl_softmax_args *args) {
    if (args->classes < 1 || args->ndim < 0 || args->ndim > FL_MAX_DIMS) return FL_BAD_ARGUMENT;
    for (int32_t d = 0; d < args->ndim; d++)
        if (args->shape[d] < 0) return FL_BAD_ARGUMENT;
    const fl_status status = check_dtypes(args);
    return status == FL_OK ? check_options(args) : status;
}

void fl_softmax_scale(fl_softmax_args *args, double weight, double counts) {
    const int means = args->reduction == FL_MEAN;
    const double z_divisor = means ? counts : 1;
    const double divisor = !means ? 1 : args->mean_of_positions ? counts : weight;
    const double grad_output =
        args->temperature != 0 ? args->grad_output_value / args->temperature : args->grad_output_value;
    args->plan.divisor = divisor;
    args->plan.z_divisor = z_divisor;
    /* The mean of nothing is nan, and its gradient zero. */
    args->plan.scale = divisor == 0 ? 0 : grad_output / divisor;
    args->plan.z_ratio = z_divisor == 0 ? 0 : divisor / z_divisor;
}

fl_status fl_softmax_combine_check(fl_softmax_args *args, const fl_partial *partials, int64_t tasks) {
    double weight = 0, counts = 0;
    for (int64_t task = 0; task < tasks; task++) {
        if (partials[task].status != FL_OK) return partials[task].status;
        weight += partials[task].weight;
        counts += partials[task].counts;
    }
    fl_softmax_scale(args, weight, counts);
    return FL_OK;
}

static fl_status combine_check(void *args, const fl_partial *partials, int64_t tasks) {
    return fl_softmax_combine_check(args, partials, tasks);
}

static fl_status combine_run(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_softmax_args *args = arguments;
    double sum = 0, z_sum = 0;
    for (int64_t task = 0; task < tasks; task++) {
        if (partials[task].status != FL_OK) return partials[task].status;
        sum += partials[task].sum;
        z_sum += partials[task].z_sum;
    }
    args->value = sum / args->plan.divisor;
    if (args->z_loss != 0 || args->plan.entropy) args->value += z_sum / args->plan.z_divisor;
    return FL_OK;
}

/* Tiles of positions, and the workspace that softmax_columns takes: one or two tiles of logits, and one each
 * for targets, exponentials or pulls, for the softcap and for the Hessian; with a teacher a few rows. */
static void plan_columns(fl_softmax_args *args, int64_t lanes, int64_t size, fl_program *program) {
    const int64_t fitting = TILE_BYTES / (args->classes * size) / lanes * lanes;
    const int64_t tile = fitting < lanes ? lanes : fitting > FL_MOST_TILE ? FL_MOST_TILE : fitting;
    const int second = args->kind == FL_PROBABILITY_TARGET || args->kind == FL_LOG_SOFTMAX ||
                       has_teacher(args) || args->plan.pulls;
    const int tiles = 1 + args->plan.stream + second + (args->softcap != 0) + (args->hessian.data != NULL) +
                      args->plan.entropy;
    args->plan.tile = tile;
    args->plan.keep = 1;
    const int64_t lines = (tile * size / 64 | 1) + 2; /* of 64 bytes: softmax_columns' pitch */
    const int64_t rows = has_teacher(args) ? TEACHER_ROWS * round_up(args->classes * size, 64) : 0;
    program->workspace = (size_t)(lines * 64 * args->classes * tiles + rows);
}

/* Batches of rows, and the workspace that softmax_rows takes: the exponentials, with a softcap its tanh, and
 * the block maxima of two batches, and three blocks. */
static void plan_rows(fl_softmax_args *args, int64_t lanes, int64_t size, fl_program *program) {
    const int64_t row = round_up(args->classes, 64) * size, blocks = row / ROW_BLOCK_BYTES + 1;
    const int64_t fitting = BATCH_BYTES / row, batch = fitting < 1 ? 1 : fitting > lanes ? lanes : fitting;
    args->plan.tile = batch;
    args->plan.keep = args->gradient.data && !args->hessian.data && args->classes * size <= KEEP_BYTES;
    const int64_t exponentials = args->plan.keep ? batch * row : ROW_BLOCK_BYTES;
    const int64_t kept = (1 + (args->softcap != 0)) * exponentials;
    program->workspace = (size_t)(kept + round_up(2 * batch * blocks * size, 64) + 3 * ROW_BLOCK_BYTES);
}

/* The strides of the arrays that are there. */
static int present_strides(fl_softmax_args *args, int64_t *strides[]) {
    int n = 0;
    strides[n++] = args->logits.strides;
    if (args->target.data) strides[n++] = args->target.strides;
    if (args->sample_weight.data) strides[n++] = args->sample_weight.strides;
    if (args->where.data) strides[n++] = args->where.strides;
    if (args->grad_output.data) strides[n++] = args->grad_output.strides;
    fl_output *outputs[] = {&args->loss,    &args->gradient, &args->hessian, &args->lse,
                            &args->entropy, &args->accuracy, &args->log_prob};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        if (outputs[i]->data) strides[n++] = outputs[i]->strides;
    return n;
}

fl_status fl_softmax_program(fl_softmax_args *args, fl_program *program) {
    if (!args->logits.data) return FL_BAD_ARGUMENT;
    fl_status status = fl_softmax_check(args);
    if (status != FL_OK) return status;
    const fl_kernels *kernels = fl_kernels_for(fl_compute_dtype(args->logits.dtype));
    if (!kernels) return FL_BAD_ARGUMENT;
    const int64_t size = args->logits.dtype == FL_FLOAT64 ? 8 : 4, classes = args->classes;

    int64_t *strides[12];
    fl_merge_dimensions(&args->ndim, args->shape, strides, present_strides(args, strides));
    int64_t positions = 1;
    for (int32_t d = 0; d < args->ndim; d++) positions *= args->shape[d];

    const int reads_one = args->prediction == FL_LOG_PROBABILITIES;
    const int64_t vector_bytes = COLUMN_BYTES * classes;
    const int fits = vector_bytes <= (positions < kernels->lanes ? TILE_OF_FEW_BYTES : MOST_TILE_BYTES);
    const int columns = classes <= SHORT_ROW || args->prediction == FL_PROBABILITIES || has_teacher(args) ||
                        (args->logits.class_stride != 1 && fits);
    const int64_t gradient_size = fl_size_of(args->gradient.dtype);
    args->plan.positions = positions;
    args->plan.entropy = args->entropy_bonus != 0 || args->kind == FL_ENTROPY;
    args->plan.pulls = args->prediction == FL_PROBABILITIES && args->focusing != 0 &&
                       (args->kind == FL_PROBABILITY_TARGET || args->label_smoothing != 0);
    args->plan.terms =
        args->z_loss != 0 || args->hessian.data || args->lse.data || args->entropy.data || args->plan.entropy;
    args->plan.extras = args->plan.terms || wants_outputs(args);
    args->plan.stream = args->gradient.data && positions * classes * gradient_size >= STREAM_BYTES &&
                        args->gradient.data != args->logits.data;
    fl_softmax_scale(args, (double)positions, (double)positions);

    if (reads_one) {
        args->plan.tile = kernels->lanes;
        program->workspace = ROW_BLOCK_BYTES;
    } else if (columns) {
        plan_columns(args, kernels->lanes, size, program);
    } else {
        plan_rows(args, kernels->lanes, size, program);
    }

    int64_t per_task = ceil_divide(TASK_ELEMENTS, classes);
    if (per_task < ceil_divide(positions, MOST_TASKS)) per_task = ceil_divide(positions, MOST_TASKS);
    per_task = round_up(per_task, args->plan.tile);
    args->plan.positions_per_task = per_task;
    args->plan.positions_per_check = FL_CHECK_POSITIONS;
    const int64_t tasks = ceil_divide(positions, per_task),
                  checks = ceil_divide(positions, FL_CHECK_POSITIONS);

    *program = (fl_program){.workspace = program->workspace, .work = (double)positions * (double)classes};
    const int weighs = args->sample_weight.data || args->where.data;
    if (args->kind == FL_INDEX_TARGET || (weighs && args->reduction == FL_MEAN))
        program->stage[program->stages++] = (fl_stage){kernels->softmax_check, checks, combine_check};
    const fl_task task = reads_one ? kernels->nll_positions
                         : columns ? kernels->softmax_columns
                                   : kernels->softmax_rows;
    program->stage[program->stages++] = (fl_stage){task, tasks, combine_run};
    return FL_OK;
}
