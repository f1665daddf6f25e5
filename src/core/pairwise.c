/* The plan of losses of pairs: groups and blocks of anchors, and what fits where. */
#include "cpu.h"
#include "dtypes.h"
#include "program.h"
#include "table.h"

#include <math.h>
#include <string.h>

/* What a call may use unless it says otherwise. */
#define WORKSPACE_BYTES ((int64_t)64 << 20)
/* A block's similarities share L2 with the factors of the products. */
#define BLOCK_BYTES (1 << 20)
#define MOST_BLOCK_ROWS 128
/* So many rows take their gradients from kept pairs at once. */
#define MOST_FINISHED_ROWS 96
/* Groups of anchors are worked on independently: as many threads have something to do. */
#define MOST_GROUPS 16

static int64_t clamp(int64_t a, int64_t least, int64_t most) {
    return a < least ? least : a > most ? most : a;
}

int32_t fl_pairwise_loss(const char *name) {
    const fl_kernels *kernels = fl_kernels_for(FL_FLOAT32);
    return kernels ? fl_number_of(kernels->pairwise_name, name) : -1;
}

static int is_absent_or(const void *data, fl_dtype dtype, fl_dtype expected) {
    return !data || dtype == expected;
}

static fl_status check_arguments(const fl_pairwise_args *args) {
    const fl_dtype dtype = args->embeddings.dtype;
    if (!fl_is_real(dtype) || !is_absent_or(args->reference.data, args->reference.dtype, dtype) ||
        !is_absent_or(args->gradient.data, args->gradient.dtype, dtype) ||
        !is_absent_or(args->reference_gradient.data, args->reference_gradient.dtype, dtype) ||
        !is_absent_or(args->loss_values.data, args->loss_values.dtype, dtype))
        return FL_BAD_DTYPE;
    if ((args->labels.data && !fl_is_index(args->labels.dtype)) ||
        (args->reference_labels.data && !fl_is_index(args->reference_labels.dtype)) ||
        (args->sample_weight.data && !fl_is_real(args->sample_weight.dtype)) ||
        (args->loss_weight.data && !fl_is_real(args->loss_weight.dtype)) ||
        (args->anchor_parameters.data && !fl_is_real(args->anchor_parameters.dtype)) ||
        (args->grad_output.data && !fl_is_real(args->grad_output.dtype)))
        return FL_BAD_DTYPE;
    if (args->distance == FL_LP && !(args->p >= 1 && args->power > 0)) return FL_BAD_ARGUMENT;
    if (args->rows < 0 || args->columns < 0 || args->features < 1 || args->columns > INT32_MAX)
        return FL_BAD_ARGUMENT;
    if (!args->reference.data && args->rows != args->columns) return FL_BAD_ARGUMENT;
    if (!args->positive.starts != !args->negative.starts) return FL_BAD_ARGUMENT;
    if (!args->where.data) return FL_OK;
    if (args->where.dtype != FL_UINT8) return FL_BAD_DTYPE;
    if (!args->reference.data || args->labels.data || args->positive.starts || args->columns < args->rows)
        return FL_BAD_ARGUMENT;
    return FL_OK;
}

/* ---- What is done at the end of a stage ---- */

static fl_status combine_nothing(void *args, const fl_partial *partials, int64_t tasks) {
    (void)args, (void)partials, (void)tasks;
    return FL_OK;
}

static fl_pair_totals totals_of_all(const fl_pairwise_args *args) {
    const fl_pair_totals *groups = (const fl_pair_totals *)(args->plan.shared + args->plan.totals_at);
    fl_pair_totals all = {0};
    for (int64_t group = 0; group < args->plan.groups; group++) {
        for (int i = 0; i < 2; i++) {
            all.loss[i] += groups[group].loss[i];
            all.losses[i] += groups[group].losses[i];
            all.nonzero[i] += groups[group].nonzero[i];
        }
        for (int i = 0; i < FL_MAX_PAIR_PARAMETERS; i++) all.slopes[i] += groups[group].slopes[i];
    }
    return all;
}

static double divisor_of(const fl_pairwise_args *args, const fl_pair_totals *totals, int kind) {
    if (args->reduction != FL_MEAN) return 1;
    return args->nonzero ? totals->nonzero[kind] : totals->losses[kind];
}

/* The mean of no losses is 0. */
static double inverse_or_0(double divisor) { return divisor == 0 ? 0 : 1 / divisor; }

static fl_status combine_statistics(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pairwise_args *args = arguments;
    const fl_pair_totals totals = totals_of_all(args);
    (void)partials, (void)tasks;
    args->plan.gathering = 0;
    args->plan.known = args->plan.kept;
    if (args->plan.counted)
        for (int kind = 0; kind < 2; kind++)
            args->plan.factors[kind] = inverse_or_0(divisor_of(args, &totals, kind));
    return FL_OK;
}

static fl_status combine_first(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pairwise_args *args = arguments;
    (void)partials, (void)tasks;
    args->plan.gathering = 2;
    args->plan.known = args->plan.kept;
    return FL_OK;
}

static fl_status combine_means(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pairwise_args *args = arguments;
    const fl_pair_totals totals = totals_of_all(args);
    for (int kind = 0; kind < 2; kind++) {
        args->plan.by_means[kind] = inverse_or_0(totals.losses[kind]);
        args->plan.means[kind] = totals.loss[kind] * args->plan.by_means[kind];
    }
    return combine_first(arguments, partials, tasks);
}

static fl_status combine_by_means(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pairwise_args *args = arguments;
    const fl_pair_totals totals = totals_of_all(args);
    const fl_status status = combine_statistics(arguments, partials, tasks);
    for (int kind = 0; kind < 2; kind++)
        args->plan.by_means[kind] *= args->plan.factors[kind] * totals.slopes[kind];
    return status;
}

/* sum_b N_b P_b of the shares of negatives at a node and of positives up to it, and its derivatives. */
static fl_status combine_histograms(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pairwise_args *args = arguments;
    const double *histograms = (const double *)(args->plan.shared + args->plan.histograms_at);
    double *slopes = (double *)(args->plan.shared + args->plan.slopes_at);
    double shares[2][FL_HISTOGRAM] = {{0}}, totals[2] = {0}, below = 0, above = 0;
    (void)partials, (void)tasks;
    args->plan.gathering = 0;
    for (int kind = 0; kind < 2; kind++)
        for (int b = 0; b < FL_HISTOGRAM; b++) {
            for (int64_t group = 0; group < args->plan.groups; group++)
                shares[kind][b] += histograms[(2 * group + kind) * FL_HISTOGRAM + b];
            totals[kind] += shares[kind][b];
        }
    const double scales[2] = {inverse_or_0(totals[0]), inverse_or_0(totals[1])};
    /* From a similarity to its place among the nodes. */
    const double rate = args->parameters[0] / 2;
    for (int b = 0; b < FL_HISTOGRAM; b++) {
        below += shares[0][b] * scales[0];
        args->plan.constant += below * shares[1][b] * scales[1];
        slopes[FL_HISTOGRAM + b] = below * scales[1] * rate;
    }
    for (int b = FL_HISTOGRAM - 1; b >= 0; b--) {
        above += shares[1][b] * scales[1];
        slopes[b] = above * scales[0] * rate;
    }
    return FL_OK;
}

static fl_status combine_walk(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pairwise_args *args = arguments;
    const fl_pair_totals totals = totals_of_all(args);
    (void)partials, (void)tasks;
    args->value = args->plan.constant;
    for (int kind = 0; kind < 2; kind++) {
        const double divisor = divisor_of(args, &totals, args->plan.counted ? kind : 0);
        if (divisor != 0 || isnan(totals.loss[kind])) args->value += totals.loss[kind] / divisor;
    }
    args->plan.scale = args->grad_output_value;
    if (!args->plan.counted) args->plan.scale *= inverse_or_0(divisor_of(args, &totals, 0));
    for (int i = 0; i < FL_MAX_PAIR_PARAMETERS; i++) args->slopes[i] = args->plan.scale * totals.slopes[i];
    for (int64_t i = 0; args->anchor_slopes && i < args->rows; i++)
        args->anchor_slopes[i] *= args->plan.scale;
    return FL_OK;
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

/* Groups of anchors: each keeps a gradient of all references, together no more than half of the workspace.
 * In the other half all pairs are kept, if they fit. */
static void plan_groups(fl_pairwise_args *args, int64_t panel, int64_t size) {
    const int64_t limit = args->workspace ? (int64_t)args->workspace : WORKSPACE_BYTES;
    const int64_t columns = args->plan.padded_columns, part = columns * args->plan.padded_features * size;
    const int64_t fitting = part ? limit / 2 / part : MOST_GROUPS, panels = args->plan.padded_rows / panel;
    const int64_t groups = clamp(fitting, 1, MOST_GROUPS);
    args->plan.rows_per_group = clamp(ceil_divide(panels, groups), 1, panels + 1) * panel;
    args->plan.groups = ceil_divide(args->rows, args->plan.rows_per_group);
    const int64_t rows = columns ? BLOCK_BYTES / (columns * size) : MOST_BLOCK_ROWS;
    args->plan.block =
        clamp(clamp(rows, panel, MOST_BLOCK_ROWS) / panel * panel, panel, args->plan.rows_per_group);
    const int is_used_again = args->plan.gradients || args->plan.gathering;
    const int64_t pairs = args->plan.padded_rows * columns * size;
    args->plan.kept = is_used_again && args->distance != FL_LP && pairs <= limit / 2;
    const int64_t sides = panels + (args->reference.data ? columns / panel : 0);
    args->plan.finished = args->plan.kept ? clamp(sides / MOST_GROUPS, 1, MOST_FINISHED_ROWS / panel) : 1;
}

static void plan_memory(fl_pairwise_args *args, int64_t panel, int64_t size, int references_wanted,
                        fl_program *program) {
    const int64_t rows = args->plan.padded_rows, columns = args->plan.padded_columns;
    const int64_t features = args->plan.padded_features, groups = args->plan.groups;
    const int64_t longer = rows > columns ? rows : columns, finished = args->plan.finished * panel;
    const int has_reference = args->reference.data != NULL;
    args->plan.anchors_at = place(program, rows * features * size);
    args->plan.transposed_anchors_at = place(program, rows * args->features * size);
    args->plan.labels_at = place(program, 2 * rows * size);
    args->plan.squares_at = place(program, rows * size);
    args->plan.inverses_at = place(program, rows * size);
    args->plan.means_at = place(program, (args->distance == FL_SNR) * rows * size);
    if (has_reference) {
        args->plan.references_at = place(program, columns * features * size);
        args->plan.transposed_references_at = place(program, columns * args->features * size);
        args->plan.reference_labels_at = place(program, 2 * columns * size);
        args->plan.reference_squares_at = place(program, columns * size);
        args->plan.reference_inverses_at = place(program, columns * size);
        args->plan.reference_means_at = place(program, (args->distance == FL_SNR) * columns * size);
    }
    args->plan.left_out_at = place(program, args->where.data ? rows : 0);
    args->plan.references_left_out_at = place(program, args->where.data ? columns : 0);
    args->plan.anchor_gradient_at = place(program, args->plan.gradients ? rows * features * size : 0);
    args->plan.parts_at = place(program, references_wanted ? groups * columns * features * size : 0);
    args->plan.column_sums_at = place(program, references_wanted ? groups * columns * size : 0);
    args->plan.statistics_at = place(program, (longer + 2 * groups * columns) * size);
    args->plan.histograms_at = place(program, 2 * groups * FL_HISTOGRAM * (int64_t)sizeof(double));
    args->plan.slopes_at = place(program, 2 * FL_HISTOGRAM * (int64_t)sizeof(double));
    args->plan.totals_at = place(program, groups * (int64_t)sizeof(fl_pair_totals));
    args->plan.pairs_at = place(program, args->plan.kept * rows * columns * size);
    const int64_t of_block = args->plan.kept ? 0 : round_up(args->plan.block * columns * size, 64);
    const int64_t of_rows = FL_PAIR_BUFFERS * round_up((args->plan.longest + 16) * size, 64);
    const int64_t of_walk = of_block + of_rows, of_pack = panel * features * size;
    const int64_t of_finish =
        (args->plan.gradients ? finished * (features + args->plan.kept * columns) : 0) * size + of_pack + 192;
    program->workspace = (size_t)(of_walk > of_finish ? of_walk : of_finish);
}

fl_status fl_pairwise_program(fl_pairwise_args *args, fl_program *program) {
    const fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_dtype real = fl_compute_dtype(args->embeddings.dtype);
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels || args->loss < 0 || !kernels->pairwise_name(args->loss)) return FL_BAD_ARGUMENT;
    const fl_pair_statistics statistics = kernels->pairwise_statistics(args->loss);
    const int has_reference = args->reference.data != NULL;
    const int references_wanted =
        (has_reference ? args->reference_gradient.data : args->gradient.data) != NULL;

    memset(&args->plan, 0, sizeof(args->plan));
    *program = (fl_program){
        .shared_at = &args->plan.shared,
        .work = (double)args->rows * (double)args->columns * (double)args->features,
    };
    args->plan.padded_rows = round_up(args->rows, kernels->panel);
    args->plan.padded_columns = round_up(args->columns, kernels->panel);
    args->plan.padded_features = round_up(args->features, kernels->panel);
    args->plan.longest =
        round_up(args->longest > args->columns ? args->longest : args->columns, kernels->panel);
    args->plan.gradients = args->gradient.data || args->reference_gradient.data;
    const int has_two_means = statistics == LOSS_COUNTS || statistics == PAIR_MEANS;
    args->plan.counted = has_two_means && args->reduction == FL_MEAN;
    args->plan.factors[0] = args->plan.factors[1] = 1;
    args->plan.gathering = args->plan.counted || statistics > LOSS_COUNTS;
    plan_groups(args, kernels->panel, fl_size_of(real));
    plan_memory(args, kernels->panel, fl_size_of(real), references_wanted, program);

    const int64_t groups = args->plan.groups, of_references = args->plan.padded_columns / kernels->panel;
    const int64_t of_anchors = args->plan.padded_rows / kernels->panel, finished = args->plan.finished;
    const int64_t sides = of_anchors + (has_reference ? of_references : 0);
    const int64_t finishes =
        ceil_divide(of_anchors, finished) + (has_reference ? ceil_divide(of_references, finished) : 0);
    add_stage(program, kernels->pairwise_pack, sides, combine_nothing);
    if (args->plan.gathering)
        add_stage(program, kernels->pairwise_walk, groups,
                  statistics == HISTOGRAMS   ? combine_first
                  : statistics == PAIR_MEANS ? combine_means
                                             : combine_statistics);
    if (statistics == HISTOGRAMS) add_stage(program, kernels->pairwise_walk, groups, combine_histograms);
    if (statistics == PAIR_MEANS) add_stage(program, kernels->pairwise_walk, groups, combine_by_means);
    if (statistics == COLUMN_SUMS && groups)
        add_stage(program, kernels->pairwise_columns, of_references, combine_nothing);
    add_stage(program, kernels->pairwise_walk, groups, combine_walk);
    if (args->plan.gradients) add_stage(program, kernels->pairwise_finish, finishes, combine_nothing);
    return FL_OK;
}
