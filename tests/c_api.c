/*
 * A plain C program over fusedloss.h: cross-entropy of two rows of three classes, every kind of
 * call against values worked out by hand, and where a caller may lay the workspace. Prints one OK line per
 * check; exits 1 at the first that fails. It runs every check for each instruction set of the machine.
 *
 * The rows are (0, log 2, log 5) and (log 3, 0, 0), so that their softmax is (1, 2, 5) / 8 and
 * (3, 1, 1) / 5.
 */
#include "fusedloss.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2, CLASSES = 3, SIZE = ROWS * CLASSES };

static const double probability[SIZE] = {1.0 / 8, 2.0 / 8, 5.0 / 8, 3.0 / 5, 1.0 / 5, 1.0 / 5};

static void check(int ok, const char *isa, const char *what) {
    printf("%s %s: %s\n", ok ? "OK" : "FAILED", isa, what);
    if (!ok) exit(1);
}

/* Four units in the last place of a float32 of about 1. */
static int close_to(double a, double b) { return fabs(a - b) <= 5e-7; }

/* Lay out and run a call, its workspace and not a byte more from the heap. */
static fl_status run(fl_softmax_args *args) {
    fl_program program;
    fl_status status = fl_softmax_program(args, &program);
    if (status != FL_OK) return status;
    size_t size = (fl_workspace_size(&program) + 63) / 64 * 64;
    void *workspace = aligned_alloc(64, size ? size : 64);
    if (workspace == NULL) exit(2);
    status = fl_run(&program, args, workspace);
    free(workspace);
    return status;
}

static void fill(float *a, int n, float value) {
    for (int i = 0; i < n; i++) a[i] = value;
}

static fl_softmax_args float_call(const float *logits, float *gradient) {
    fl_softmax_args args = {0};
    args.logits = (fl_input){logits, FL_FLOAT32, {CLASSES}, 1};
    args.ndim = 1;
    args.shape[0] = ROWS;
    args.classes = CLASSES;
    args.ignore_index = -100;
    args.grad_output_value = 1.0;
    if (gradient) args.gradient = (fl_output){gradient, FL_FLOAT32, {CLASSES}, 1};
    return args;
}

static void index_mean(const char *isa, const float *logits) {
    const int64_t labels[ROWS] = {2, 0};
    float gradient[SIZE + 1];
    fill(gradient, SIZE + 1, 9);
    fl_softmax_args args = float_call(logits, gradient);
    args.target = (fl_input){labels, FL_INT64, {1}};
    args.kind = FL_INDEX_TARGET;
    args.reduction = FL_MEAN;
    check(run(&args) == FL_OK, isa, "index target, mean: status");
    check(close_to(args.value, (log(8.0 / 5) + log(5.0 / 3)) / 2), isa, "index target, mean: value");
    int ok = 1;
    for (int i = 0; i < SIZE; i++) {
        double one = i == 2 || i == 3;
        ok &= close_to(gradient[i], (probability[i] - one) / ROWS);
    }
    check(ok, isa, "index target, mean: gradient");
    check(gradient[SIZE] == 9, isa, "index target, mean: nothing past the end");
}

static void index_none(const char *isa, const float *logits) {
    const uint8_t labels[ROWS] = {1, 255};
    float loss[ROWS], gradient[SIZE];
    const float grad_output[ROWS] = {-2, 3};
    fl_softmax_args args = float_call(logits, gradient);
    args.target = (fl_input){labels, FL_UINT8, {1}};
    args.kind = FL_INDEX_TARGET;
    args.reduction = FL_NONE;
    args.ignore_index = 255;
    args.grad_output = (fl_input){grad_output, FL_FLOAT32, {1}};
    args.loss = (fl_output){loss, FL_FLOAT32, {1}};
    check(run(&args) == FL_OK, isa, "index target, none: status");
    check(close_to(loss[0], log(4)) && loss[1] == 0, isa, "index target, none: losses");
    int ok = 1;
    for (int i = 0; i < SIZE; i++) {
        double expected = i < CLASSES ? -2 * (probability[i] - (i == 1)) : 0;
        ok &= close_to(gradient[i], expected);
    }
    check(ok, isa, "index target, none: gradient");
}

static void probabilities_in_double(const char *isa) {
    const double logits[SIZE] = {0, log(2), log(5), log(3), 0, 0};
    const double target[SIZE] = {0.5, 0.5, 0, 0, 0.25, 0.75};
    const double weight[CLASSES] = {1, 2, 4};
    double gradient[SIZE];
    fl_softmax_args args = {0};
    args.logits = (fl_input){logits, FL_FLOAT64, {CLASSES}, 1};
    args.target = (fl_input){target, FL_FLOAT64, {CLASSES}, 1};
    args.class_weight = weight;
    args.ndim = 1;
    args.shape[0] = ROWS;
    args.classes = CLASSES;
    args.kind = FL_PROBABILITY_TARGET;
    args.reduction = FL_SUM;
    args.grad_output_value = 1.0;
    args.gradient = (fl_output){gradient, FL_FLOAT64, {CLASSES}, 1};
    check(run(&args) == FL_OK, isa, "probability target, sum: status");
    double first = 0.5 * log(8) + 1 * log(4), second = 0.5 * log(5) + 3 * log(5);
    /* some ten roundings of doubles of about 10 */
    check(fabs(args.value - (first + second)) < 1e-14 * 10, isa, "probability target, sum: value");
    int ok = 1;
    for (int i = 0; i < SIZE; i++) {
        double total = i < CLASSES ? 1.5 : 3.5;
        double expected = total * probability[i] - weight[i % CLASSES] * target[i];
        ok &= fabs(gradient[i] - expected) < 1e-15 * 10;
    }
    check(ok, isa, "probability target, sum: gradient");
}

static void smoothing_without_gradient(const char *isa, const float *logits) {
    const int16_t labels[ROWS] = {0, 1};
    fl_softmax_args args = float_call(logits, NULL);
    args.target = (fl_input){labels, FL_INT16, {1}};
    args.kind = FL_INDEX_TARGET;
    args.reduction = FL_SUM;
    args.label_smoothing = 0.3;
    check(run(&args) == FL_OK, isa, "label smoothing, value alone: status");
    double all = log(8) + log(4) + log(8.0 / 5) + log(5.0 / 3) + 2 * log(5);
    double expected = 0.7 * (log(8) + log(5)) + 0.1 * all;
    check(fabs(args.value - expected) < 2e-6, isa, "label smoothing, value alone: value");
}

/* The focal loss of probabilities, by indices and by distributions that are the same. */
static void focal_of_probabilities(const char *isa) {
    const float p[SIZE] = {1, 2, 5, 3, 1, 1}, one_hot[SIZE] = {0, 1, 0, 1, 0, 0};
    const int64_t labels[ROWS] = {1, 0};
    float gradients[2][SIZE];
    /* p_y of 1/4 and 3/5, squares of the rest */
    const double expected = 9.0 / 16 * log(4) + 4.0 / 25 * log(5.0 / 3);
    for (int by_index = 0; by_index < 2; by_index++) {
        fl_softmax_args args = float_call(p, gradients[by_index]);
        args.target =
            by_index ? (fl_input){labels, FL_INT64, {1}} : (fl_input){one_hot, FL_FLOAT32, {CLASSES}, 1};
        args.kind = by_index ? FL_INDEX_TARGET : FL_PROBABILITY_TARGET;
        args.prediction = FL_PROBABILITIES;
        args.reduction = FL_SUM;
        args.focusing = 2;
        check(run(&args) == FL_OK, isa, "focal of probabilities: status");
        check(close_to(args.value, expected), isa, "focal of probabilities: value");
    }
    int ok = 1;
    for (int i = 0; i < SIZE; i++) ok &= close_to(gradients[0][i], gradients[1][i]);
    check(ok, isa, "focal of probabilities: the same gradient");
}

static void log_sum_exp(const char *isa, const float *logits) {
    float value[ROWS], gradient[SIZE];
    fl_softmax_args args = float_call(logits, gradient);
    args.kind = FL_LOGSUMEXP;
    args.reduction = FL_NONE;
    args.loss = (fl_output){value, FL_FLOAT32, {1}};
    check(run(&args) == FL_OK, isa, "log-sum-exp: status");
    check(close_to(value[0], log(8)) && close_to(value[1], log(5)), isa, "log-sum-exp: values");
    int ok = 1;
    for (int i = 0; i < SIZE; i++) ok &= close_to(gradient[i], probability[i]);
    check(ok, isa, "log-sum-exp: the gradient is the softmax");
}

/* The class axis first in memory, as in (C, d) with d positions; the gradient in place. */
static void strided_in_place(const char *isa, const float *logits) {
    const int32_t labels[ROWS] = {2, 0};
    float memory[SIZE];
    for (int row = 0; row < ROWS; row++)
        for (int c = 0; c < CLASSES; c++) memory[c * ROWS + row] = logits[row * CLASSES + c];
    fl_softmax_args args = float_call(memory, memory);
    args.logits = (fl_input){memory, FL_FLOAT32, {1}, ROWS};
    args.gradient = (fl_output){memory, FL_FLOAT32, {1}, ROWS};
    args.target = (fl_input){labels, FL_INT32, {1}};
    args.kind = FL_INDEX_TARGET;
    args.reduction = FL_SUM;
    check(run(&args) == FL_OK, isa, "strided, in place: status");
    int ok = close_to(args.value, log(8.0 / 5) + log(5.0 / 3));
    for (int i = 0; i < SIZE; i++) {
        double one = i == 2 || i == 3;
        ok &= close_to(memory[i % CLASSES * ROWS + i / CLASSES], probability[i] - one);
    }
    check(ok, isa, "strided, in place: value and gradient");
}

static void bad_target_writes_nothing(const char *isa, const float *logits) {
    const int64_t bad[] = {CLASSES, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int64_t labels[ROWS] = {0, bad[i]};
        float loss[ROWS], gradient[SIZE];
        fill(loss, ROWS, 9);
        fill(gradient, SIZE, 9);
        fl_softmax_args args = float_call(logits, gradient);
        args.target = (fl_input){labels, FL_INT64, {1}};
        args.kind = FL_INDEX_TARGET;
        args.reduction = FL_NONE;
        args.loss = (fl_output){loss, FL_FLOAT32, {1}};
        check(run(&args) == FL_BAD_TARGET, isa, "bad target: status");
        int ok = 1;
        for (int k = 0; k < ROWS; k++) ok &= loss[k] == 9;
        for (int k = 0; k < SIZE; k++) ok &= gradient[k] == 9;
        check(ok, isa, "bad target: outputs untouched");
    }
}

static void bad_arguments(const char *isa, const float *logits) {
    const int64_t labels[ROWS] = {0, 0};
    fl_program program;
    fl_softmax_args good = float_call(logits, NULL), args;
    good.target = (fl_input){labels, FL_INT64, {1}};
    args = good;
    args.classes = 0;
    check(fl_softmax_program(&args, &program) == FL_BAD_ARGUMENT, isa, "no classes");
    args = good;
    args.ndim = FL_MAX_DIMS + 1;
    check(fl_softmax_program(&args, &program) == FL_BAD_ARGUMENT, isa, "too many dimensions");
    args = good;
    args.shape[0] = -1;
    check(fl_softmax_program(&args, &program) == FL_BAD_ARGUMENT, isa, "a negative size");
    args = good;
    args.label_smoothing = 1.5;
    check(fl_softmax_program(&args, &program) == FL_BAD_ARGUMENT, isa, "too much smoothing");
    args = good;
    args.focusing = 2;
    args.label_smoothing = 0.1;
    check(fl_softmax_program(&args, &program) == FL_BAD_ARGUMENT, isa, "focal of logits, smoothed");
    args.prediction = FL_PROBABILITIES;
    check(fl_softmax_program(&args, &program) == FL_OK, isa, "focal of probabilities, smoothed");
    args = good;
    args.focusing = 2;
    args.prediction = FL_LOG_PROBABILITIES;
    check(fl_softmax_program(&args, &program) == FL_BAD_ARGUMENT, isa, "focal of log-probabilities");
    args = good;
    args.logits.dtype = FL_INT32;
    check(fl_softmax_program(&args, &program) == FL_BAD_DTYPE, isa, "integer logits");
    args = good;
    args.target.dtype = FL_FLOAT32;
    check(fl_softmax_program(&args, &program) == FL_BAD_DTYPE, isa, "a float class index");
}

/*
 * Blocks of float32 work wait in the workspace for their place in a narrower output. The workspace is laid
 * where the output would go on if its elements were as wide: no block may be taken for written.
 */
static void workspace_behind_output(const char *isa) {
    enum { ELEMENTS = 22400, WORKSPACE = 1 << 20 };
    static uint16_t prediction[ELEMENTS];
    static float target[ELEMENTS];
    uint16_t *memory = aligned_alloc(64, ELEMENTS * sizeof(float) + WORKSPACE);
    if (memory == NULL) exit(2);
    for (int i = 0; i < ELEMENTS; i++) {
        prediction[i] = 0x4200; /* 3 */
        memory[i] = 0x7e00;     /* NaN */
    }
    fl_pointwise_args args = {0};
    args.loss = fl_pointwise_loss("mse_loss");
    args.operands[0] = (fl_input){prediction, FL_FLOAT16, {1}};
    args.operands[1] = (fl_input){target, FL_FLOAT32, {1}};
    args.ndim = 1;
    args.shape[0] = ELEMENTS;
    args.reduction = FL_SUM;
    args.grad_output_value = 1.0;
    args.gradients[0] = (fl_output){memory, FL_FLOAT16, {1}};
    fl_program program;
    check(fl_pointwise_program(&args, &program) == FL_OK, isa, "narrow gradient: program");
    check(fl_workspace_size(&program) <= WORKSPACE, isa, "narrow gradient: workspace");
    /* Every multiple of a block of 1024 elements that is behind the output. */
    for (int blocks = ELEMENTS / 2048 + 1; blocks <= ELEMENTS / 1024; blocks++) {
        check(fl_run(&program, &args, (float *)memory + 1024 * blocks) == FL_OK, isa,
              "narrow gradient: status");
        int written = 1;
        for (int i = 0; i < ELEMENTS; i++) written &= memory[i] == 0x4600; /* 6 */
        check(written, isa, "narrow gradient: every block is written");
        for (int i = 0; i < ELEMENTS; i++) memory[i] = 0x7e00;
    }
    free(memory);
}

int main(void) {
    const float logits[SIZE] = {0, (float)log(2), (float)log(5), (float)log(3), 0, 0};
    int checked = 0;
    for (int index = 0; fl_isa_name(index) != NULL; index++) {
        if (!fl_isa_available(index)) continue;
        const char *isa = fl_isa_name(index);
        check(fl_isa_select(index) == FL_OK && fl_isa_current() == index, isa, "selected");
        index_mean(isa, logits);
        index_none(isa, logits);
        probabilities_in_double(isa);
        smoothing_without_gradient(isa, logits);
        focal_of_probabilities(isa);
        log_sum_exp(isa, logits);
        strided_in_place(isa, logits);
        bad_target_writes_nothing(isa, logits);
        bad_arguments(isa, logits);
        workspace_behind_output(isa);
        checked++;
    }
    check(checked > 0, "any", "an instruction set is available");
    check(fl_isa_select(1000) == FL_BAD_ARGUMENT, "any", "an instruction set that is not there");
    for (int status = FL_OK; status <= FL_BAD_TARGET; status++)
        check(strlen(fl_status_name((fl_status)status)) > 0, "any", "a status has a name");
    return 0;
}
