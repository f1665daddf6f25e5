/* The plan of linear layer and cross-entropy: chunks of positions, blocks of classes, and what fits where. */
#include "cpu.h"
#include "dtypes.h"
#include "program.h"
#include "softmax.h"
#include "table.h"

#include <string.h>

/* What a call may use unless it says otherwise. */
#define WORKSPACE_BYTES ((int64_t)64 << 20)
/* The threads whose own workspaces are counted in: the plan does not depend on how many there are. */
#define THREADS 4
/* The packed weights of a block of classes: they share L2 with a panel of the other factor. */
#define BLOCK_BYTES (384 * 1024)
/* With fewer rows to a chunk than these the weights and their gradient, read and written for each chunk, take
 * more time than computing logits again. */
#define FEWEST_ROWS 64
/* Ranges of classes that are worked on independently: as many threads have something to do. */
#define MOST_SPLITS 16

static int64_t at_most(int64_t a, int64_t most) { return a < most ? a : most; }

static int64_t at_least(int64_t a, int64_t least) { return a > least ? a : least; }

static int fits(const void *data, fl_dtype dtype, fl_dtype expected) { return !data || dtype == expected; }

int32_t fl_margin_kind(const char *name) {
    const fl_kernels *kernels = fl_kernels_for(FL_FLOAT32);
    return kernels ? fl_number_of(kernels->margin_name, name) + 1 : 0;
}

static int32_t traits_of(int32_t kind) {
    const fl_kernels *kernels = fl_kernels_for(FL_FLOAT32);
    const int is_known = kernels && kind > 0 && kernels->margin_name(kind - 1);
    return is_known ? kernels->margin_traits(kind - 1) : OF_ANGLE;
}

int32_t fl_margin_bends_others(int32_t kind) { return (traits_of(kind) & BENDS_OTHERS) != 0; }

/* The options of a margin-softmax head fit together. */
static int margin_fits(const fl_linear_args *args) {
    const fl_margin *margin = &args->margin;
    const fl_softmax_args *softmax = &args->softmax;
    if (margin->kind == 0) return 1;
    const fl_kernels *kernels = fl_kernels_for(FL_FLOAT32);
    if (margin->kind < 0 || !kernels || !kernels->margin_name(margin->kind - 1)) return 0;
    if (softmax->kind != FL_INDEX_TARGET) return 0;
    if (args->bias.data || args->bias_gradient.data || softmax->softcap != 0 || softmax->accuracy.data)
        return 0;
    const int bends = margin->filter != 0 || fl_margin_bends_others(margin->kind);
    const int keeps = margin->keep_norm || margin->keep_weight_norm;
    const int of_norms = keeps || (traits_of(margin->kind) & OF_NORM);
    if (!args->weight.data && (of_norms || margin->centers > 1)) return 0;
    if (bends && (keeps || margin->centers > 1)) return 0;
    if (margin->temperature != 0 && keeps) return 0;
    return margin->scale > 0 && margin->annealing >= 0 && margin->temperature >= 0;
}

/* What is asked of a shard fits together. */
static int shard_fits(const fl_linear_args *args) {
    const fl_shard *shard = &args->shard;
    const fl_softmax_args *softmax = &args->softmax;
    const int has_gradient =
        args->input_gradient.data || args->weight_gradient.data || args->bias_gradient.data;
    const int needs_cosines = fl_margin_bends_others(args->margin.kind);
    if (shard->classes == 0) return !shard->sums && !shard->sums_of_all && !shard->target_cosines;
    if (!args->weight.data || needs_cosines != (shard->target_cosines != NULL)) return 0;
    if (shard->classes < softmax->classes || !shard->sums == !shard->sums_of_all) return 0;
    if (softmax->kind != FL_INDEX_TARGET || softmax->reduction == FL_MEAN) return 0;
    if (softmax->entropy.data || softmax->accuracy.data) return 0;
    return !(shard->sums && (has_gradient || softmax->loss.data || softmax->lse.data));
}

/* Whether products are asked for, instead of a loss. */
static int is_product(const fl_linear_args *args) { return args->logits.data || args->logits_gradient.data; }

/* The arguments of products fit together. */
static fl_status check_product(const fl_linear_args *args) {
    const fl_softmax_args *softmax = &args->softmax;
    const fl_output *input = &args->input_gradient, *weight = &args->weight_gradient;
    const fl_dtype real = fl_compute_dtype(args->input.dtype);
    const int has_gradient = input->data || weight->data;
    if (!args->logits.data == !args->logits_gradient.data || !args->logits.data != has_gradient)
        return FL_BAD_ARGUMENT;
    if (args->margin.kind != 0 || args->shard.classes != 0 || args->bias_gradient.data || !args->weight.data)
        return FL_BAD_ARGUMENT;
    if (softmax->kind != FL_LOGSUMEXP || softmax->reduction == FL_MEAN || args->filter_eps != 0)
        return FL_BAD_ARGUMENT;
    if (weight->data && weight->class_stride != 1) return FL_BAD_ARGUMENT;
    if (!fl_is_real(args->logits.data ? args->logits.dtype : args->logits_gradient.dtype))
        return FL_BAD_DTYPE;
    const int of_inputs = fits(input->data, input->dtype, args->input.dtype) && !args->accumulate;
    if (!of_inputs && !fits(input->data, input->dtype, real)) return FL_BAD_DTYPE;
    return fits(weight->data, weight->dtype, real) ? FL_OK : FL_BAD_DTYPE;
}

static fl_status check_arguments(const fl_linear_args *args) {
    const fl_softmax_args *softmax = &args->softmax;
    const fl_dtype dtype = args->input.dtype;
    const int has_target =
        is_product(args) || softmax->kind == FL_INDEX_TARGET || softmax->kind == FL_PROBABILITY_TARGET;
    if (!args->input.data || args->features < 1 || !(args->filter_eps >= 0)) return FL_BAD_ARGUMENT;
    if (args->bfloat16_parts < 0 || args->bfloat16_parts > 2) return FL_BAD_ARGUMENT;
    if (!args->weight.data && (args->margin.kind == 0 || args->weight_gradient.data)) return FL_BAD_ARGUMENT;
    if (!has_target || softmax->prediction != FL_LOGITS || softmax->gradient.data || softmax->hessian.data ||
        softmax->temperature != 0 || softmax->entropy_bonus != 0)
        return FL_BAD_ARGUMENT;
    if (softmax->logits.dtype != dtype || !fits(args->weight.data, args->weight.dtype, dtype) ||
        !fits(args->bias.data, args->bias.dtype, dtype))
        return FL_BAD_DTYPE;
    if (is_product(args)) {
        const fl_status status = check_product(args);
        return status == FL_OK ? fl_softmax_check(softmax) : status;
    }
    if (!fits(args->input_gradient.data, args->input_gradient.dtype, dtype) ||
        !fits(args->weight_gradient.data, args->weight_gradient.dtype, dtype) ||
        !fits(args->bias_gradient.data, args->bias_gradient.dtype, dtype))
        return FL_BAD_DTYPE;
    return margin_fits(args) && shard_fits(args) ? fl_softmax_check(softmax) : FL_BAD_ARGUMENT;
}

/* ---- What is done at the end of a stage, and which comes next ---- */

static fl_status combine_check(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_linear_args *args = arguments;
    return fl_softmax_combine_check(&args->softmax, partials, tasks);
}

static fl_status combine_nothing(void *arguments, const fl_partial *partials, int64_t tasks) {
    (void)arguments, (void)partials, (void)tasks;
    return FL_OK;
}

static fl_status combine_finish(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_linear_args *args = arguments;
    fl_softmax_args *softmax = &args->softmax;
    for (int64_t task = 0; task < tasks; task++) {
        args->plan.sum += partials[task].sum;
        args->plan.z_sum += partials[task].z_sum;
    }
    softmax->value = args->plan.sum / softmax->plan.divisor;
    if (softmax->z_loss != 0) softmax->value += args->plan.z_sum / softmax->plan.z_divisor;
    return FL_OK;
}

/*
 * All stages but the check are run for one chunk after another. So are those of a second pass, which come
 * last, once for every group of classes.
 */
static int32_t next_stage(void *arguments, int32_t stage) {
    fl_linear_args *args = arguments;
    const int32_t second = args->plan.second_stage, end = args->plan.stages;
    if (stage + 1 != second && stage + 1 != end) return stage + 1;
    if (++args->plan.chunk < args->plan.chunks) return args->plan.second ? second : args->plan.first_stage;
    if (second == end) return end;
    args->plan.group_start = args->plan.second ? args->plan.group_end : 0;
    args->plan.group_end = at_most(args->plan.group_start + args->plan.group, args->plan.columns);
    args->plan.split = args->plan.second_split;
    args->plan.second = 1;
    args->plan.chunk = 0;
    return args->plan.group_start < args->plan.columns ? second : end;
}

/* ---- The plan ---- */

static void add_stage(fl_program *program, fl_task task, int64_t tasks,
                      fl_status (*combine)(void *, const fl_partial *, int64_t)) {
    program->stage[program->stages++] = (fl_stage){task, tasks, combine};
}

/* The next `bytes` of the shared memory. */
static int64_t place(fl_program *program, int64_t bytes) {
    const int64_t at = (int64_t)program->shared;
    program->shared += (size_t)round_up(bytes, 64);
    return at;
}

/* Blocks and splits of classes. */
static void plan_classes(fl_linear_args *args, int64_t unit, int64_t size) {
    const int64_t classes = args->plan.columns;
    const int64_t fitting = BLOCK_BYTES / (args->plan.padded_features * size) / unit * unit;
    const int64_t fair = round_up(ceil_divide(classes, MOST_SPLITS), unit);
    const int64_t block = at_least(at_most(fitting, fair), unit);
    const int64_t blocks = ceil_divide(classes, block);
    args->plan.block = block;
    args->plan.split = ceil_divide(blocks, at_most(blocks, MOST_SPLITS)) * block;
    args->plan.splits = ceil_divide(classes, args->plan.split);
}

/* What has to fit into the workspace, in bytes. */
typedef struct demand {
    int64_t fixed, thread; /* whatever the number of rows; for each thread */
    int64_t row, kept_row; /* for each row of a chunk, and if its logits are kept */
} demand;

static int64_t fitting_rows(int64_t bytes, int64_t row, int64_t panel) {
    const int64_t rows = at_most(bytes / row, FL_MOST_TILE) / panel * panel;
    return at_least(rows, panel);
}

/* Whether a logit that is small enough says that its gradient is negligible, and nothing else needs it. */
static int filters_logits(const fl_linear_args *args) {
    return args->filter_eps != 0 && args->margin.kind == 0 && !args->shard.sums_of_all &&
           args->softmax.kind == FL_INDEX_TARGET && args->softmax.label_smoothing == 0 &&
           !args->bias_gradient.data;
}

static int64_t maxima_bytes(const fl_linear_args *args, int64_t rows, int64_t panel) {
    return args->plan.padded_classes / panel * rows * (int64_t)sizeof(uint16_t);
}

/* Chunks of rows and groups of classes that fit the workspace, and whether logits are kept. */
static void plan_chunks(fl_linear_args *args, const fl_kernels *kernels, int64_t size, const demand *needs) {
    const int64_t panel = kernels->panel, unit = panel * args->plan.centers;
    const int64_t positions = args->softmax.plan.positions;
    const int64_t classes = args->plan.padded_classes, class_bytes = args->plan.padded_features * size;
    const fl_output *weight = &args->weight_gradient;
    int64_t limit = (args->workspace ? (int64_t)args->workspace : WORKSPACE_BYTES) - needs->fixed;
    const int64_t accumulated = weight->data && !args->plan.direct ? classes * class_bytes : 0;

    int64_t rows = fitting_rows(limit, needs->kept_row, panel);
    if (rows < positions) rows = fitting_rows(limit - accumulated, needs->kept_row, panel);
    const int few = rows < positions && rows < FEWEST_ROWS && needs->kept_row > needs->row;
    args->plan.recompute = few || args->shard.sums_of_all || is_product(args);
    args->plan.group = classes;
    if (args->plan.recompute) {
        const int64_t maxima = maxima_bytes(args, positions + panel, panel);
        args->plan.maxima = filters_logits(args) && size == sizeof(float) && maxima < limit / 2;
        if (args->plan.maxima) limit -= maxima;
        /* Those of the input's gradient over groups of classes. */
        const int64_t sums = accumulated ? (positions + panel) * class_bytes : 0;
        const int second =
            !is_product(args) && args->input_gradient.data && (weight->data || args->bias_gradient.data);
        args->plan.input_second = second && sums < limit / 4;
        const int64_t free = args->plan.input_second ? limit - sums : limit;
        rows = fitting_rows(accumulated ? free / 2 : free, needs->row, panel);
        const int64_t left = free - rows * needs->row;
        if (accumulated > left) args->plan.group = at_least(left / class_bytes / unit * unit, unit);
    }
    args->plan.chunks = at_least(ceil_divide(positions, rows), 1);
    args->plan.rows = at_least(round_up(ceil_divide(positions, args->plan.chunks), panel), panel);
    const int64_t split = round_up(ceil_divide(args->plan.group, args->plan.splits), unit);
    args->plan.second_split = split;
}

/* Where everything goes. */
static void plan_memory(fl_linear_args *args, const fl_kernels *kernels, int64_t size, fl_program *program) {
    const int64_t panel = kernels->panel, splits = args->plan.splits, block = args->plan.block;
    const int64_t classes = args->plan.padded_classes, features = args->plan.padded_features;
    const fl_output *weight = &args->weight_gradient;
    const int has_input = args->input_gradient.data != NULL, has_bias = args->bias_gradient.data != NULL;
    const int has_gradient = has_input || has_bias || weight->data;
    args->plan.direct = weight->data && weight->class_stride == 1 && weight->dtype == kernels->real;

    const int has_margin = args->margin.kind != 0;
    const int64_t margin_bytes = has_margin * kernels->margin_terms_bytes;
    const int64_t terms_bytes = kernels->linear_terms_bytes + margin_bytes;

    /* Weights, dense coefficients, logits of a panel, accumulated gradients of the weights; what heads make
     * of logits, and a row. */
    const int64_t parts = args->plan.parts, second = parts == 2 ? block * features : 0;
    const int64_t pairs = parts * (2 * block * panel + features + 2 * panel) + second;
    const int64_t of_margin = has_margin * (block * panel + features);
    const int64_t thread =
        (2 * block * features + 2 * block * panel + pairs + of_margin) * size + ROW_BLOCK_BYTES;
    const int64_t row = (1 + (weight->data != NULL) + has_input * splits) * features * size +
                        ceil_divide(terms_bytes + splits * kernels->linear_sums_bytes, panel);
    const demand needs = {
        .fixed = (has_bias + has_margin) * classes * size + THREADS * thread,
        .row = row + THREADS * (1 + parts) * block * size,
        .kept_row = row + (has_gradient * classes + THREADS * parts * block) * size,
    };
    plan_chunks(args, kernels, size, &needs);

    const int64_t rows = args->plan.rows, again = args->plan.recompute;
    const int64_t panels = (again ? args->plan.chunks : 1) * (rows / panel);
    const int64_t accumulated = weight->data && !args->plan.direct && args->plan.chunks > 1;
    const int64_t activity = (args->filter_eps != 0) * (rows * block / panel + (block + rows) * size + 128);
    program->workspace = (size_t)round_up(thread + activity + (again + parts) * rows * block * size, 64);
    args->plan.terms_at = place(program, panels * kernels->linear_terms_bytes);
    args->plan.margin_at = place(program, panels * margin_bytes);
    args->plan.norms_at = place(program, has_margin * classes * size);
    args->plan.sums_at = place(program, splits * (rows / panel) * kernels->linear_sums_bytes);
    args->plan.transposed_at = place(program, rows * features * size);
    args->plan.input_at = place(program, weight->data ? rows * features * size : 0);
    args->plan.partial_at = place(program, has_input * splits * rows * features * size);
    args->plan.logits_at = place(program, has_gradient && !again ? rows * classes * size : 0);
    args->plan.bias_at = place(program, has_bias * classes * size);
    const int grouped = args->plan.input_second && args->plan.group < classes;
    args->plan.input_sums_at = place(program, grouped ? args->plan.chunks * rows * features * size : 0);
    args->plan.maxima_at =
        place(program, args->plan.maxima * maxima_bytes(args, args->plan.chunks * rows, panel));
    args->plan.accumulated_at = place(program, accumulated * args->plan.group * features * size);
}

fl_status fl_linear_program(fl_linear_args *args, fl_program *program) {
    fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    fl_softmax_args *softmax = &args->softmax;
    const fl_dtype real = fl_compute_dtype(args->input.dtype);
    const int64_t size = fl_size_of(real);
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels) return FL_BAD_ARGUMENT;

    int64_t positions = 1;
    for (int32_t d = 0; d < softmax->ndim; d++) positions *= softmax->shape[d];
    if (softmax->ndim == 0) softmax->shape[softmax->ndim++] = 1;
    softmax->plan.positions = positions;
    softmax->plan.positions_per_check = FL_CHECK_POSITIONS;
    softmax->plan.entropy = 0;
    softmax->plan.terms = softmax->z_loss != 0 || softmax->lse.data || softmax->entropy.data;
    softmax->plan.extras = softmax->plan.terms || softmax->accuracy.data || softmax->log_prob.data;
    fl_softmax_scale(softmax, (double)positions, (double)positions);

    const int64_t centers = at_least(args->margin.centers, 1), columns = softmax->classes * centers;
    memset(&args->plan, 0, sizeof(args->plan));
    *program = (fl_program){
        .next = next_stage,
        .shared_at = &args->plan.shared,
        .work = (double)positions * (double)columns * (double)args->features,
    };
    args->plan.centers = centers;
    args->plan.columns = args->plan.group_end = columns;
    const int64_t parts =
        args->input.dtype == FL_FLOAT32 ? args->bfloat16_parts : args->input.dtype == FL_BFLOAT16;
    args->plan.parts = kernels->has_pairs && args->weight.data ? (int32_t)parts : 0;
    args->plan.pairs = args->plan.parts > 0;
    args->plan.tiles = args->plan.pairs && fl_has_tiles();
    args->plan.padded_classes = round_up(columns, kernels->panel);
    args->plan.padded_features = round_up(args->features, kernels->panel);
    plan_classes(args, kernels->panel * centers, size);
    plan_memory(args, kernels, size, program);

    const int64_t panels = args->plan.rows / kernels->panel, splits = args->plan.splits;
    const int64_t checks = ceil_divide(positions, FL_CHECK_POSITIONS);
    const int of_input = args->input_gradient.data != NULL;
    const int of_layer = args->weight_gradient.data || args->bias_gradient.data;
    const int has_check =
        softmax->kind == FL_INDEX_TARGET ||
        ((softmax->sample_weight.data || softmax->where.data) && softmax->reduction == FL_MEAN);
    if (has_check && !args->shard.classes) add_stage(program, kernels->linear_check, checks, combine_check);
    args->plan.first_stage = program->stages;
    add_stage(program, kernels->linear_pack, panels, combine_nothing);
    if (is_product(args)) {
        const fl_task task = args->logits.data ? kernels->linear_logits : kernels->linear_gradient;
        add_stage(program, task, splits, combine_nothing);
        if (of_input) add_stage(program, kernels->linear_input, panels, combine_nothing);
        args->plan.second_stage = args->plan.stages = program->stages;
        return FL_OK;
    }
    if (!args->shard.sums_of_all) add_stage(program, kernels->linear_logits, splits, combine_nothing);
    add_stage(program, kernels->linear_finish, panels, combine_finish);
    const int32_t input_second = args->plan.input_second;
    if ((of_input && !input_second) || (of_layer && !args->plan.recompute))
        add_stage(program, kernels->linear_gradient, splits, combine_nothing);
    if (of_input && !input_second && args->weight.data)
        add_stage(program, kernels->linear_input, panels, combine_nothing);
    args->plan.second_stage = program->stages;
    if (of_layer && args->plan.recompute) {
        add_stage(program, kernels->linear_pack, panels, combine_nothing);
        add_stage(program, kernels->linear_gradient, splits, combine_nothing);
        if (input_second) add_stage(program, kernels->linear_input, panels, combine_nothing);
    }
    args->plan.stages = program->stages;
    return FL_OK;
}
