/* Kernel calls apart from their memory: what XLA, which has the memory, runs. */
#include "recording.h"

#include "engine.h"
#include "memory.h"
#include "threads.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local fl_recording *recorder;

fl_recording *fl_recorder(void) { return recorder; }
void fl_recorder_set(fl_recording *recording) { recorder = recording; }

/* ---- What is known of each family ---- */

#define AT(type, field) offsetof(fl_##type##_args, field)
#define THREE(type, field) AT(type, field[0].data), AT(type, field[1].data), AT(type, field[2].data)

static const size_t softmax_pointers[] = {
    AT(softmax, logits.data),   AT(softmax, target.data),
    AT(softmax, class_weight),  AT(softmax, sample_weight.data),
    AT(softmax, where.data),    AT(softmax, grad_output.data),
    AT(softmax, loss.data),     AT(softmax, gradient.data),
    AT(softmax, hessian.data),  AT(softmax, lse.data),
    AT(softmax, entropy.data),  AT(softmax, accuracy.data),
    AT(softmax, log_prob.data), SIZE_MAX,
};
static const size_t pointwise_pointers[] = {
    THREE(pointwise, operands),      AT(pointwise, operands[3].data),
    AT(pointwise, weight.data),      AT(pointwise, where.data),
    AT(pointwise, grad_output.data), AT(pointwise, loss_values.data),
    THREE(pointwise, gradients),     AT(pointwise, gradients[3].data),
    AT(pointwise, hessian.data),     SIZE_MAX,
};
static const size_t rowwise_pointers[] = {
    THREE(rowwise, operands),        AT(rowwise, target.data),  AT(rowwise, class_weight),
    AT(rowwise, sample_weight.data), AT(rowwise, where.data),   AT(rowwise, grad_output.data),
    AT(rowwise, loss_values.data),   THREE(rowwise, gradients), SIZE_MAX,
};
static const size_t linear_pointers[] = {
    AT(linear, input.data),
    AT(linear, weight.data),
    AT(linear, bias.data),
    AT(linear, shard.sums),
    AT(linear, shard.sums_of_all),
    AT(linear, shard.target_cosines),
    AT(linear, softmax.target.data),
    AT(linear, softmax.class_weight),
    AT(linear, softmax.sample_weight.data),
    AT(linear, softmax.where.data),
    AT(linear, softmax.grad_output.data),
    AT(linear, softmax.loss.data),
    AT(linear, softmax.lse.data),
    AT(linear, softmax.entropy.data),
    AT(linear, softmax.accuracy.data),
    AT(linear, softmax.log_prob.data),
    AT(linear, input_gradient.data),
    AT(linear, weight_gradient.data),
    AT(linear, bias_gradient.data),
    AT(linear, logits.data),
    AT(linear, logits_gradient.data),
    SIZE_MAX,
};
static const size_t pairwise_pointers[] = {
    AT(pairwise, embeddings.data),
    AT(pairwise, reference.data),
    AT(pairwise, labels.data),
    AT(pairwise, reference_labels.data),
    AT(pairwise, sample_weight.data),
    AT(pairwise, loss_weight.data),
    AT(pairwise, anchor_parameters.data),
    AT(pairwise, where.data),
    AT(pairwise, grad_output.data),
    AT(pairwise, positive.starts),
    AT(pairwise, positive.at),
    AT(pairwise, negative.starts),
    AT(pairwise, negative.at),
    AT(pairwise, loss_values.data),
    AT(pairwise, gradient.data),
    AT(pairwise, reference_gradient.data),
    AT(pairwise, anchor_slopes),
    SIZE_MAX,
};

static const struct {
    size_t size, value;
    const size_t *pointers;
} families[FL_FAMILIES] = {
    [FL_SOFTMAX] = {sizeof(fl_softmax_args), AT(softmax, value), softmax_pointers},
    [FL_POINTWISE] = {sizeof(fl_pointwise_args), AT(pointwise, value), pointwise_pointers},
    [FL_ROWWISE] = {sizeof(fl_rowwise_args), AT(rowwise, value), rowwise_pointers},
    [FL_LINEAR] = {sizeof(fl_linear_args), AT(linear, softmax.value), linear_pointers},
    [FL_PAIRWISE] = {sizeof(fl_pairwise_args), AT(pairwise, value), pairwise_pointers},
};

size_t fl_args_size(fl_family family) { return families[family].size; }
size_t fl_args_value(fl_family family) { return families[family].value; }
const size_t *fl_args_pointers(fl_family family) { return families[family].pointers; }

int64_t fl_recording_version(void) {
    int64_t version = 1; /* of the words around the structs, in xla.c */
    for (int f = 0; f < FL_FAMILIES; f++) {
        version = version * 1000003 + (int64_t)families[f].size;
        for (const size_t *at = families[f].pointers; *at != SIZE_MAX; at++)
            version = (int64_t)((uint64_t)version * 31 + *at);
    }
    return version;
}

static fl_status program_of(fl_family family, void *args, fl_program *program) {
    switch (family) {
    case FL_SOFTMAX: return fl_softmax_program(args, program);
    case FL_POINTWISE: return fl_pointwise_program(args, program);
    case FL_ROWWISE: return fl_rowwise_program(args, program);
    case FL_LINEAR: return fl_linear_program(args, program);
    case FL_PAIRWISE: return fl_pairwise_program(args, program);
    case FL_FAMILIES: break;
    }
    return FL_BAD_ARGUMENT;
}

/* ---- Running a program on the package's threads ---- */

typedef struct stage_run {
    const fl_stage *stage;
    const void *args;
    char *workspace;
    size_t workspace_size;
    fl_partial *partials;
} stage_run;

static void run_task(void *context, int64_t task, int participant) {
    const stage_run *each = context;
    each->partials[task].stops = NULL;
    each->partials[task].status =
        each->stage->task(each->args, task, each->workspace + (size_t)participant * each->workspace_size,
                          &each->partials[task]);
}

static fl_status run_stages(const fl_program *program, void *args, int threads, char *workspace) {
    char *shared = workspace + (size_t)threads * program->workspace;
    stage_run each = {.args = args, .workspace = workspace, .workspace_size = program->workspace};
    each.partials = (fl_partial *)(shared + program->shared);
    if (program->shared) *program->shared_at = shared;
    for (int32_t s = 0; s < program->stages; s = fl_next_stage(program, args, s)) {
        each.stage = &program->stage[s];
        fl_parallel(each.stage->tasks, threads, run_task, &each, NULL);
        const fl_status status = each.stage->combine(args, each.partials, each.stage->tasks);
        if (status != FL_OK) return status;
    }
    return FL_OK;
}

static fl_status run_once(fl_family family, void *args, int requested, int *no_memory) {
    fl_program program;
    fl_status status = program_of(family, args, &program);
    if (status != FL_OK) return status;
    int64_t tasks = 0;
    for (int32_t s = 0; s < program.stages; s++)
        if (program.stage[s].tasks > tasks) tasks = program.stage[s].tasks;
    const int threads = fl_threads_enter(requested, program.work, tasks);
    char *workspace = fl_allocate(fl_workspace_size(&program) + (size_t)(threads - 1) * program.workspace);
    *no_memory = !workspace;
    if (workspace) status = run_stages(&program, args, threads, workspace);
    fl_threads_leave();
    free(workspace);
    return status;
}

/* ---- Class indices out of range ---- */

/* Positions and their class indices, of whichever family. */
typedef struct labelled {
    fl_input *target;
    const fl_input *where; /* positions where it is 0 have none that counts */
    int32_t ndim;
    const int64_t *shape;
    int64_t classes, width; /* width: indices of a position */
    int64_t stand_in;       /* what takes the place of an index out of range */
    int has_ignored;        /* an index equal to stand_in is in range */
} labelled;

static int64_t index_at(const fl_input *input, int64_t at) {
    switch (input->dtype) {
    case FL_INT8: return ((const int8_t *)input->data)[at];
    case FL_INT16: return ((const int16_t *)input->data)[at];
    case FL_INT32: return ((const int32_t *)input->data)[at];
    case FL_INT64: return ((const int64_t *)input->data)[at];
    case FL_UINT8: return ((const uint8_t *)input->data)[at];
    case FL_UINT16: return ((const uint16_t *)input->data)[at];
    case FL_UINT32: return ((const uint32_t *)input->data)[at];
    case FL_UINT64: {
        const uint64_t x = ((const uint64_t *)input->data)[at];
        return x > INT64_MAX ? INT64_MAX : (int64_t)x;
    }
    default: return -1;
    }
}

/* The next position in the order of memory; returns the offset that its strides lead to. */
static int64_t offset_of(int64_t position, int32_t ndim, const int64_t *shape, const int64_t *strides) {
    int64_t offset = 0;
    for (int32_t d = ndim - 1; d >= 0; d--) {
        offset += position % shape[d] * strides[d];
        position /= shape[d];
    }
    return offset;
}

static void set_nan(const fl_output *output, int64_t at) {
    switch (output->dtype) {
    case FL_FLOAT16: ((uint16_t *)output->data)[at] = 0x7e00; break;
    case FL_BFLOAT16: ((uint16_t *)output->data)[at] = 0x7fc0; break;
    case FL_FLOAT32: ((float *)output->data)[at] = __builtin_nanf(""); break;
    case FL_FLOAT64: ((double *)output->data)[at] = __builtin_nan(""); break;
    default: break;
    }
}

/* NaN in an output of every bad position, and of its classes. bad NULL: of all. */
static void spoil(const fl_output *output, int32_t ndim, const int64_t *shape, int64_t classes,
                  const char *bad) {
    if (!output->data) return;
    int64_t positions = 1;
    for (int32_t d = 0; d < ndim; d++) positions *= shape[d];
    for (int64_t i = 0; i < positions; i++) {
        if (bad && !bad[i]) continue;
        const int64_t at = offset_of(i, ndim, shape, output->strides);
        for (int64_t c = 0; c < classes; c++) set_nan(output, at + c * output->class_stride);
    }
}

static int find_labels(fl_family family, void *args, labelled *found) {
    if (family == FL_SOFTMAX || family == FL_LINEAR) {
        fl_softmax_args *softmax = family == FL_SOFTMAX ? args : &((fl_linear_args *)args)->softmax;
        *found = (labelled){.target = &softmax->target,
                            .where = &softmax->where,
                            .ndim = softmax->ndim,
                            .shape = softmax->shape,
                            .classes = softmax->classes,
                            .width = 1,
                            .stand_in = softmax->ignore_index,
                            .has_ignored = 1};
        return 1;
    }
    if (family == FL_ROWWISE) {
        fl_rowwise_args *rows = args;
        *found = (labelled){.target = &rows->target,
                            .where = &rows->where,
                            .ndim = rows->ndim,
                            .shape = rows->shape,
                            .classes = rows->classes,
                            .width = 1};
        if (rows->label_rows) {
            found->target = &rows->operands[1];
            found->width = rows->classes;
            found->stand_in = -1;
        }
        return 1;
    }
    return 0;
}

/* Copy class indices, those of bad positions replaced; bad[i] says which these are. */
static void copy_labels(const labelled *of, int64_t positions, int64_t *labels, char *bad) {
    for (int64_t i = 0; i < positions; i++) {
        const int64_t at = offset_of(i, of->ndim, of->shape, of->target->strides);
        int64_t *own = labels + i * of->width;
        bad[i] = 0;
        for (int64_t k = 0; k < of->width; k++) {
            const int64_t label = own[k] = index_at(of->target, at + k * of->target->class_stride);
            if (of->width > 1 && label == -1) {
                for (; k < of->width; k++) own[k] = -1;
                break;
            }
            if (of->has_ignored && label == of->stand_in) continue;
            if (label < 0 || label >= of->classes) bad[i] = 1;
        }
        const uint8_t *where = of->where->data;
        if (where && !where[offset_of(i, of->ndim, of->shape, of->where->strides)]) bad[i] = 0;
        if (bad[i])
            for (int64_t k = 0; k < of->width; k++) own[k] = of->stand_in;
    }
}

/* Run a call some of whose class indices are out of range. */
static fl_status run_others(fl_family family, void *args, int requested, int *no_memory) {
    labelled of;
    if (!find_labels(family, args, &of)) return FL_BAD_TARGET;
    const int32_t ndim = of.ndim;
    int64_t positions = 1, shape[FL_MAX_DIMS];
    for (int32_t d = 0; d < ndim; d++) positions *= shape[d] = of.shape[d];
    int64_t *labels = malloc((size_t)(positions * of.width) * sizeof *labels);
    char *bad = malloc((size_t)positions);
    fl_status status = FL_OK;
    *no_memory = !labels || !bad;
    if (!*no_memory) {
        copy_labels(&of, positions, labels, bad);
        int64_t stride = of.width;
        for (int32_t d = ndim - 1; d >= 0; d--) {
            of.target->strides[d] = stride;
            stride *= shape[d];
        }
        of.target->data = labels;
        of.target->dtype = FL_INT64;
        if (of.width > 1) of.target->class_stride = 1;
        char *copy = malloc(fl_args_size(family)); /* as the outputs were described */
        *no_memory = !copy;
        if (copy) {
            memcpy(copy, args, fl_args_size(family));
            status = run_once(family, args, requested, no_memory);
        }
        if (copy && status == FL_OK && !*no_memory) {
            if (family == FL_ROWWISE) {
                const fl_rowwise_args *rows = (const fl_rowwise_args *)copy;
                spoil(&rows->loss_values, ndim, shape, 1, bad);
                spoil(&rows->gradients[0], ndim, shape, of.classes, bad);
            } else {
                const fl_linear_args *linear = family == FL_LINEAR ? (const fl_linear_args *)copy : NULL;
                const fl_softmax_args *softmax = linear ? &linear->softmax : (const fl_softmax_args *)copy;
                spoil(&softmax->loss, ndim, shape, 1, bad);
                spoil(&softmax->lse, ndim, shape, 1, bad);
                spoil(&softmax->entropy, ndim, shape, 1, bad);
                spoil(&softmax->accuracy, ndim, shape, 1, bad);
                spoil(&softmax->log_prob, ndim, shape, 1, bad);
                if (!linear) {
                    spoil(&softmax->gradient, ndim, shape, of.classes, bad);
                } else {
                    /* a row of NaN has a part in every class's gradient */
                    const int64_t centers = linear->margin.centers ? linear->margin.centers : 1;
                    const int64_t columns = softmax->classes * centers;
                    spoil(&linear->input_gradient, ndim, shape,
                          linear->weight.data ? linear->features : columns, bad);
                    spoil(&linear->weight_gradient, 1, &columns, linear->features, NULL);
                    spoil(&linear->bias_gradient, 1, &columns, 1, NULL);
                }
            }
            *(double *)((char *)args + families[family].value) = __builtin_nan("");
        }
        free(copy);
    }
    free(labels);
    free(bad);
    return status;
}

int fl_run_call(fl_family family, void *args, int requested) {
    int no_memory = 0;
    _Alignas(64) char copy[4096]; /* a program merges the dimensions of its arguments */
    _Static_assert(sizeof(fl_linear_args) <= sizeof copy && sizeof(fl_pairwise_args) <= sizeof copy,
                   "room for every family");
    memcpy(copy, args, families[family].size);
    fl_status status = run_once(family, args, requested, &no_memory);
    if (status == FL_BAD_TARGET && !no_memory) {
        memcpy(args, copy, families[family].size);
        status = run_others(family, args, requested, &no_memory);
    }
    return no_memory ? FL_NO_MEMORY : (int)status;
}
