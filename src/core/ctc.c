/* The plan of connectionist temporal classification: one task for each sequence. */
#include "cpu.h"
#include "dtypes.h"
#include "program.h"
#include "table.h"

/* What a state of a path takes, in elements of a frame. */
#define STATE_WORK 16

static fl_status check_labels(const fl_ctc_args *args, int64_t sequence) {
    const int64_t *labels = args->labels + args->first_labels[sequence];
    for (int64_t k = 0; k < args->target_lengths[sequence]; k++)
        if (labels[k] < 0 || labels[k] >= args->classes || labels[k] == args->blank) return FL_BAD_TARGET;
    return FL_OK;
}

static fl_status check_arguments(const fl_ctc_args *args) {
    const fl_dtype dtype = args->log_probs.dtype, real = fl_compute_dtype(dtype);
    if (!fl_is_real(dtype)) return FL_BAD_DTYPE;
    if (args->grad_output.data && !fl_is_real(args->grad_output.dtype)) return FL_BAD_DTYPE;
    const fl_output *outputs[] = {&args->loss_values, &args->gradient};
    for (int i = 0; i < 2; i++)
        if (outputs[i]->data && outputs[i]->dtype != dtype && outputs[i]->dtype != real) return FL_BAD_DTYPE;
    if (args->frames < 0 || args->sequences < 0) return FL_BAD_ARGUMENT;
    if (args->blank < 0 || args->blank >= args->classes) return FL_BAD_ARGUMENT;
    for (int64_t n = 0; n < args->sequences; n++)
        if (args->input_lengths[n] < 0 || args->input_lengths[n] > args->frames ||
            args->target_lengths[n] < 0)
            return FL_BAD_ARGUMENT;
    for (int64_t n = 0; n < args->sequences; n++)
        if (check_labels(args, n) != FL_OK) return FL_BAD_TARGET;
    return FL_OK;
}

/* The sum of the sequences' weights. */
static double all_weights(const fl_ctc_args *args) {
    if (!args->sample_weight) return (double)args->sequences;
    double sum = 0;
    for (int64_t n = 0; n < args->sequences; n++) sum += args->sample_weight[n];
    return sum;
}

static fl_status combine(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_ctc_args *args = arguments;
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += partials[task].sum;
    args->value = args->reduction == FL_MEAN ? sum / all_weights(args) : sum;
    return FL_OK;
}

fl_status fl_ctc_program(fl_ctc_args *args, fl_program *program) {
    const fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_dtype real = fl_compute_dtype(args->log_probs.dtype);
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels) return FL_BAD_ARGUMENT;

    const int64_t lanes = kernels->lanes, sequences = args->sequences;
    int64_t most = 0, table = 0;
    double work = 0;
    for (int64_t n = 0; n < sequences; n++) {
        const int64_t width = round_up(args->target_lengths[n] + 1, lanes);
        const int64_t states = 2 * width * args->input_lengths[n];
        if (width > most) most = width;
        if (states > table) table = states;
        work += (double)states * STATE_WORK;
    }
    if (!args->gradient.data) table = 0;
    args->plan.scale = args->grad_output_value / (args->reduction == FL_MEAN ? all_weights(args) : 1);
    /* the states, the skips and emissions of labels, the table, a frame and its gradient: ctc.inc */
    const int64_t values[] = {2 * (most + lanes), most + lanes, most, table, args->classes, args->classes};
    *program = (fl_program){.stages = 1, .work = work};
    for (int i = 0; i < 6; i++) program->workspace += (size_t)round_up(values[i] * fl_size_of(real), 64);
    program->stage[0] = (fl_stage){kernels->ctc, sequences, combine};
    return FL_OK;
}
