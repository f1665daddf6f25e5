/* The plan of losses of images: the tasks that walk their pixels, and the sums that are combined. */
#include "cpu.h"
#include "dtypes.h"
#include "layout.h"
#include "program.h"
#include "table.h"

/* A tile of pixels takes up to so many bytes, but at least one vector of them. */
#define TILE_BYTES (32 * 1024)

static fl_status check_arguments(const fl_segmentation_args *args) {
    const fl_dtype logits = args->logits.dtype, gradient = args->gradient.dtype;
    if (!fl_is_real(logits)) return FL_BAD_DTYPE;
    if (!(args->soft_target ? fl_is_real(args->target.dtype) : fl_is_index(args->target.dtype)))
        return FL_BAD_DTYPE;
    if (args->gradient.data && gradient != logits && gradient != fl_compute_dtype(logits))
        return FL_BAD_DTYPE;
    if (args->gradient.data && !args->slopes) return FL_BAD_ARGUMENT;
    if (args->classes < 1 || args->ndim < 2 || args->ndim > FL_MAX_DIMS) return FL_BAD_ARGUMENT;
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

static fl_status combine_gradient(void *args, const fl_partial *partials, int64_t tasks) {
    (void)args;
    return fl_first_fault(partials, tasks);
}

/* Merge the dimensions of pixels, but not those with the images'. */
static void merge_pixels(fl_segmentation_args *args) {
    int64_t *strides[3] = {args->logits.strides + 1, args->target.strides + 1, args->gradient.strides + 1};
    int32_t ndim = args->ndim - 1;
    fl_merge_dimensions(&ndim, args->shape + 1, strides, args->gradient.data ? 3 : 2);
    args->ndim = ndim + 1;
}

fl_status fl_segmentation_program(fl_segmentation_args *args, fl_program *program) {
    const fl_status status = check_arguments(args);
    if (status != FL_OK) return status;
    const fl_dtype real = fl_compute_dtype(args->logits.dtype);
    const fl_kernels *kernels = fl_kernels_for(real);
    if (!kernels) return FL_BAD_ARGUMENT;

    merge_pixels(args);
    const int64_t classes = args->classes, images = args->shape[0], size = fl_size_of(real);
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
    const int64_t tiles = (1 + (args->soft_target != 0)) * classes + 2;
    *program = (fl_program){
        .stages = 1,
        .workspace = (size_t)(lines * 64 * tiles + round_up(3 * classes * lanes * size, 64)),
        .work = (double)images * (double)pixels * (double)classes,
    };
    program->stage[0] = args->gradient.data ? (fl_stage){kernels->segmentation_gradient, 0, combine_gradient}
                                            : (fl_stage){kernels->segmentation_sums, 0, combine_sums};
    program->stage[0].tasks = images * args->plan.tasks_per_image;
    return FL_OK;
}
