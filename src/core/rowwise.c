/* The plan of the losses of rows: the tasks that walk them, and what is combined. */
#include "cpu.h"
#include "dtypes.h"
#include "layout.h"
#include "program.h"
#include "table.h"

/* Rows of fewer values are not worth storing past the caches. */
#define STREAM_CLASSES 256
/* Rows of labels are read as reals: a float holds every index below this. */
#define MOST_LABELS (1 << 24)

int32_t fl_rowwise_loss(const char *name) {
    const fl_kernels *kernels = fl_kernels_for(FL_FLOAT32);
    return kernels ? fl_number_of(kernels->rowwise_name, name) : -1;
}

static fl_status check_arguments(const fl_rowwise_args *args) {
    const fl_dtype prediction = args->operands[0].dtype, real = fl_compute_dtype(prediction);
    if (!fl_is_real(prediction)) return FL_BAD_DTYPE;
    if (args->grad_output.data && !fl_is_real(args->grad_output.dtype)) return FL_BAD_DTYPE;
    if (args->sample_weight.data && !fl_is_real(args->sample_weight.dtype)) return FL_BAD_DTYPE;
    if (args->where.data && args->where.dtype != FL_UINT8) return FL_BAD_DTYPE;
    if (args->target.data && !fl_is_index(args->target.dtype)) return FL_BAD_DTYPE;
    if (args->label_rows && !fl_is_index(args->operands[1].dtype)) return FL_BAD_DTYPE;
    const fl_output *outputs[] = {&args->loss_values, &args->gradients[0], &args->gradients[1],
                                  &args->gradients[2]};
    for (int i = 0; i < 4; i++)
        if (outputs[i]->data && outputs[i]->dtype != prediction && outputs[i]->dtype != real)
            return FL_BAD_DTYPE;
    if (!args->operands[0].data || !args->operands[1].data == !args->target.data) return FL_BAD_ARGUMENT;
    if (args->classes < 1 || args->ndim < 0 || args->ndim > FL_MAX_DIMS) return FL_BAD_ARGUMENT;
    if (args->label_rows && args->classes > MOST_LABELS) return FL_BAD_ARGUMENT;
    for (int32_t d = 0; d < args->ndim; d++)
        if (args->shape[d] < 0) return FL_BAD_ARGUMENT;
    return FL_OK;
}

static void set_divisor(fl_rowwise_args *args, double divisor) {
    args->plan.divisor = divisor;
    /* The mean of nothing is nan, and its gradient zero. */
    args->plan.scale = divisor == 0 ? 0 : args->grad_output_value / divisor;
}

static fl_status combine_check(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_rowwise_args *args = arguments;
    double weight = 0;
    for (int64_t task = 0; task < tasks; task++) weight += partials[task].weight;
    if (args->reduction == FL_MEAN) set_divisor(args, weight);
    return fl_first_fault(partials, tasks);
}

static fl_status combine_run(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_rowwise_args *args = arguments;
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += partials[task].sum;
    args->value = sum / args->plan.divisor;
    return fl_first_fault(partials, tasks);
}

/* The strides of the arrays that are there. */
static int present_strides(fl_rowwise_args *args, int64_t *strides[]) {
    int n = 0;
    fl_input *inputs[] = {&args->operands[0],   &args->operands[1], &args->operands[2], &args->target,
                          &args->sample_weight, &args->where,       &args->grad_output};
    fl_output *outputs[] = {&args->loss_values, &args->gradients[0], &args->gradients[1],
                            &args->gradients[2]};
    for (int i = 0; i < 7; i++)
        if (inputs[i]->data) strides[n++] = inputs[i]->strides;
    for (int i = 0; i < 4; i++)
        if (outputs[i]->data) strides[n++] = outputs[i]->strides;
    return n;
}

fl_status fl_rowwise_program(fl_rowwise_args *args, fl_program *program) {
    const fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_dtype real = fl_compute_dtype(args->operands[0].dtype);
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels || !kernels->rowwise_name(args->loss)) return FL_BAD_ARGUMENT;

    int64_t *strides[11];
    fl_merge_dimensions(&args->ndim, args->shape, strides, present_strides(args, strides));
    const int64_t classes = args->classes;
    int64_t rows = 1, gradient_bytes = 0;
    for (int32_t d = 0; d < args->ndim; d++) rows *= args->shape[d];
    int in_place = 0;
    for (int k = 0; k < FL_ROW_OPERANDS; k++) {
        if (!args->gradients[k].data) continue;
        gradient_bytes += rows * classes * fl_size_of(args->gradients[k].dtype);
        in_place |= args->gradients[k].data == args->operands[k].data;
    }
    args->plan.rows = rows;
    args->plan.stream = gradient_bytes >= STREAM_BYTES && classes >= STREAM_CLASSES && !in_place;
    const int64_t shared = ceil_divide(rows, MOST_TASKS), least = ceil_divide(TASK_ELEMENTS, classes);
    args->plan.rows_per_task = shared < least ? least : shared;
    const int64_t tasks = ceil_divide(rows, args->plan.rows_per_task);
    set_divisor(args, args->reduction == FL_MEAN ? (double)rows : 1);

    *program = (fl_program){
        .workspace = (size_t)(FL_ROW_BUFFERS * round_up(classes * fl_size_of(real), 64)),
        .work = (double)rows * (double)classes,
    };
    const int weighs = args->sample_weight.data || args->where.data;
    if (args->target.data || args->label_rows || (weighs && args->reduction == FL_MEAN))
        program->stage[program->stages++] = (fl_stage){kernels->rowwise_check, tasks, combine_check};
    program->stage[program->stages++] = (fl_stage){kernels->rowwise, tasks, combine_run};
    return FL_OK;
}
