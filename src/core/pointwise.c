/* The pointwise losses' plan: the tasks that walk the elements, and what is combined. */
#include "cpu.h"
#include "dtypes.h"
#include "layout.h"
#include "program.h"
#include "table.h"

int32_t fl_pointwise_loss(const char *name) {
    const fl_kernels *kernels = fl_kernels_for(FL_FLOAT32);
    return kernels ? fl_number_of(kernels->pointwise_name, name) : -1;
}

static fl_status check_arguments(const fl_pointwise_args *args) {
    const fl_dtype prediction = args->operands[0].dtype, real = fl_compute_dtype(prediction);
    if (!fl_is_real(prediction)) return FL_BAD_DTYPE;
    if (args->grad_output.data && !fl_is_real(args->grad_output.dtype)) return FL_BAD_DTYPE;
    if (args->where.data && args->where.dtype != FL_UINT8) return FL_BAD_DTYPE;
    const fl_output *outputs[] = {&args->loss_values,  &args->gradients[0], &args->gradients[1],
                                  &args->gradients[2], &args->gradients[3], &args->hessian};
    for (int i = 0; i < 6; i++) {
        /* Boosters want float32 derivatives of float64 predictions. */
        const fl_dtype other = i > 0 && args->hessian.data ? FL_FLOAT32 : real;
        if (outputs[i]->data && outputs[i]->dtype != prediction && outputs[i]->dtype != other)
            return FL_BAD_DTYPE;
    }
    if (!args->operands[0].data || !args->operands[1].data) return FL_BAD_ARGUMENT;
    if (args->ndim < 0 || args->ndim > FL_MAX_DIMS || args->divisor < 0) return FL_BAD_ARGUMENT;
    for (int32_t d = 0; d < args->ndim; d++)
        if (args->shape[d] < 0) return FL_BAD_ARGUMENT;
    return FL_OK;
}

static void set_divisor(fl_pointwise_args *args, double divisor) {
    args->plan.divisor = divisor;
    /* The mean of nothing is nan, and its gradient zero. */
    args->plan.scale = divisor == 0 ? 0 : args->grad_output_value / divisor;
}

static fl_status combine_check(void *args, const fl_partial *partials, int64_t tasks) {
    (void)args;
    return fl_first_fault(partials, tasks);
}

static fl_status combine_weights(void *args, const fl_partial *partials, int64_t tasks) {
    double weight = 0;
    for (int64_t task = 0; task < tasks; task++) weight += partials[task].weight;
    set_divisor(args, weight);
    return FL_OK;
}

static fl_status combine_run(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_pointwise_args *args = arguments;
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += partials[task].sum;
    args->value = sum / args->plan.divisor;
    return fl_first_fault(partials, tasks);
}

/* The strides of the arrays that are there. */
static int present_strides(fl_pointwise_args *args, int64_t *strides[]) {
    int n = 0;
    fl_input *inputs[] = {&args->operands[0], &args->operands[1], &args->operands[2], &args->operands[3],
                          &args->weight,      &args->where,       &args->grad_output};
    fl_output *outputs[] = {&args->loss_values,  &args->gradients[0], &args->gradients[1],
                            &args->gradients[2], &args->gradients[3], &args->hessian};
    for (int i = 0; i < 7; i++)
        if (inputs[i]->data) strides[n++] = inputs[i]->strides;
    for (int i = 0; i < 6; i++)
        if (outputs[i]->data) strides[n++] = outputs[i]->strides;
    return n;
}

fl_status fl_pointwise_program(fl_pointwise_args *args, fl_program *program) {
    const fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_kernels *kernels = fl_kernels_for(fl_compute_dtype(args->operands[0].dtype));
    if (!kernels || args->loss < 0 || !kernels->pointwise_name(args->loss)) return FL_BAD_ARGUMENT;

    int64_t *strides[13];
    fl_merge_dimensions(&args->ndim, args->shape, strides, present_strides(args, strides));
    int64_t points = 1, gradient_bytes = 0;
    for (int32_t d = 0; d < args->ndim; d++) points *= args->shape[d];
    int in_place = 0;
    for (int k = 0; k < FL_MAX_OPERANDS; k++) {
        if (!args->gradients[k].data) continue;
        gradient_bytes += points * fl_size_of(args->gradients[k].dtype);
        in_place |= args->gradients[k].data == args->operands[k].data;
    }
    args->plan.points = points;
    args->plan.stream = gradient_bytes >= STREAM_BYTES && !in_place;
    const int64_t shared = ceil_divide(points, MOST_TASKS);
    args->plan.points_per_task = round_up(shared < TASK_ELEMENTS ? TASK_ELEMENTS : shared, FL_POINTS);
    const int64_t tasks = ceil_divide(points, args->plan.points_per_task);
    set_divisor(args, args->reduction == FL_MEAN ? (double)points : args->divisor == 0 ? 1 : args->divisor);

    *program = (fl_program){
        .workspace =
            (size_t)(FL_POINT_BUFFERS * FL_POINTS * fl_size_of(fl_compute_dtype(args->operands[0].dtype))),
        .work = (double)points,
    };
    if (args->check_first)
        program->stage[program->stages++] = (fl_stage){kernels->pointwise_check, tasks, combine_check};
    const int weighs = (args->weighted_mean && args->weight.data) || args->where.data;
    if (weighs && args->reduction == FL_MEAN)
        program->stage[program->stages++] = (fl_stage){kernels->pointwise_weights, tasks, combine_weights};
    program->stage[program->stages++] = (fl_stage){kernels->pointwise, tasks, combine_run};
    return FL_OK;
}
