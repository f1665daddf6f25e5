/* The plan of losses of images: the tasks that walk their pixels, and the sums that are combined. */
#include "cpu.h"
#include "dtypes.h"
#include "layout.h"
#include "program.h"
#include "table.h"

/* A tile of pixels takes up to so many bytes, but at least one vector of them. */
#define TILE_BYTES (32 * 1024)

static fl_status check_arguments(const fl_segmentation_args *args) {
    const fl_dtype logits = args->logits.dtype, target = args->target.dtype;
    if (!fl_is_real(logits)) return FL_BAD_DTYPE;
    if (!fl_is_index(target) && !(args->soft_target && fl_is_real(target))) return FL_BAD_DTYPE;
    if (args->sample_weight.data && !fl_is_real(args->sample_weight.dtype)) return FL_BAD_DTYPE;
    if (args->classes < 1 || args->ndim < 2 || args->ndim > FL_MAX_DIMS) return FL_BAD_ARGUMENT;
    if (args->activation < FL_OF_SOFTMAX || args->activation > FL_GIVEN) return FL_BAD_ARGUMENT;
    for (int32_t d = 0; d < args->ndim; d++)
        if (args->shape[d] < 0) return FL_BAD_ARGUMENT;
    return FL_OK;
}

/* An image's row is the sum of its tasks' rows, none of which lies before it. */
static fl_status combine_sums(void *arguments, const fl_partial *partials, int64_t tasks) {
    fl_segmentation_args *args = arguments;
    const int64_t values = 3 * args->classes + 2, each = args->plan.tasks_per_image;
    for (int64_t task = 0; task < tasks; task++) {
        double *to = args->sums + task / each * values;
        const double *from = args->sums + task * values;
        for (int64_t v = 0; v < values; v++) to[v] = task % each == 0 ? from[v] : to[v] + from[v];
    }
    return fl_first_fault(partials, tasks);
}

static fl_status report(void *args, const fl_partial *partials, int64_t tasks) {
    (void)args;
    return fl_first_fault(partials, tasks);
}

/* Merge the dimensions of pixels, but not those with the images'. */
static void merge_pixels(fl_segmentation_args *args) {
    int64_t *strides[6] = {args->logits.strides + 1, args->target.strides + 1};
    int32_t ndim = args->ndim - 1;
    int arrays = 2;
    if (args->sample_weight.data) strides[arrays++] = args->sample_weight.strides + 1;
    if (args->gradient.data) strides[arrays++] = args->gradient.strides + 1;
    if (args->errors.data) strides[arrays++] = args->errors.strides + 1;
    if (args->weights.data) strides[arrays++] = args->weights.strides + 1;
    fl_merge_dimensions(&ndim, args->shape + 1, strides, arrays);
    args->ndim = ndim + 1;
}

/* The plan of a walk through all pixels, as the first of one stage. */
static fl_status plan_walk(fl_segmentation_args *args, const fl_kernels *kernels, fl_program *program) {
    merge_pixels(args);
    const int64_t classes = args->classes, images = args->shape[0], size = fl_size_of(kernels->real);
    int64_t pixels = 1;
    for (int32_t d = 1; d < args->ndim; d++) pixels *= args->shape[d];
    const int64_t lanes = kernels->lanes, fitting = TILE_BYTES / (classes * size) / lanes * lanes;
    args->plan.tile = fitting < lanes ? lanes : fitting > FL_MOST_TILE ? FL_MOST_TILE : fitting;
    args->plan.pixels = pixels;
    const int64_t shared = ceil_divide(images * pixels, MOST_TASKS);
    const int64_t least = ceil_divide(TASK_ELEMENTS, classes);
    args->plan.pixels_per_task = round_up(shared < least ? least : shared, args->plan.tile);
    args->plan.tasks_per_image = pixels == 0 ? 1 : ceil_divide(pixels, args->plan.pixels_per_task);

    const int64_t lines = (args->plan.tile * size / 64 | 1) + 2; /* of 64 bytes: tile_pitch */
    const int64_t tiles = (1 + (args->soft_target != 0)) * classes + 3;
    const int64_t of_classes = 2 * round_up(classes * size, 64) + round_up(3 * classes * lanes * size, 64);
    *program = (fl_program){
        .stages = 1,
        .workspace = (size_t)(lines * 64 * tiles + of_classes),
        .work = (double)images * (double)pixels * (double)classes,
    };
    program->stage[0].tasks = images * args->plan.tasks_per_image;
    return FL_OK;
}

fl_status fl_segmentation_program(fl_segmentation_args *args, fl_program *program) {
    fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_dtype real = fl_compute_dtype(args->logits.dtype), gradient = args->gradient.dtype;
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels) return FL_BAD_ARGUMENT;
    if (args->gradient.data && gradient != args->logits.dtype && gradient != real) return FL_BAD_DTYPE;
    if (args->gradient.data && !args->slopes) return FL_BAD_ARGUMENT;
    status = plan_walk(args, kernels, program);
    program->stage[0].task =
        args->gradient.data ? kernels->segmentation_gradient : kernels->segmentation_sums;
    program->stage[0].combine = args->gradient.data ? report : combine_sums;
    return status;
}

fl_status fl_lovasz_program(fl_segmentation_args *args, fl_program *program) {
    fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_dtype real = fl_compute_dtype(args->logits.dtype);
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels || !args->losses || !args->errors.data) return FL_BAD_ARGUMENT;
    if (args->sample_weight.data && !args->weights.data) return FL_BAD_ARGUMENT;
    if (args->errors.dtype != real || (args->weights.data && args->weights.dtype != real))
        return FL_BAD_DTYPE;
    status = plan_walk(args, kernels, program);
    if (status != FL_OK) return status;
    const int64_t images = args->shape[0], groups = args->together ? 1 : images;
    const int64_t sorted = args->together ? images * args->plan.pixels : args->plan.pixels;
    if (sorted > UINT32_MAX) return FL_BAD_ARGUMENT;
    const int64_t bytes = kernels->sort_counts_bytes + sorted * kernels->sort_bytes;
    if (program->workspace < (size_t)bytes) program->workspace = (size_t)round_up(bytes, 64);
    program->stages = 2;
    program->stage[0].task = kernels->lovasz_errors;
    program->stage[0].combine = report;
    program->stage[1] = (fl_stage){kernels->lovasz_of_class, groups * args->classes, report};
    return FL_OK;
}
