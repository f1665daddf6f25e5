# Linear layer and cross-entropy: a part of core.pyx.

# "high" means bfloat16x3 where the CPU has tiles; with vectors, float32 is faster.
BFLOAT16_PARTS = {"highest": 0, "high": 0, "medium": 1, "bfloat16x3": 2}


cdef struct LinearArrays:
    Array input, weight, bias, target, class_weight, sample_weight, where, grad_output
    Array input_gradient, weight_gradient, bias_gradient, loss, lse, entropy, accuracy, log_prob
    Array sums, target_cosines


def linear_cross_entropy(call, gradient=False, grad_output=None, out=None, bint bits=False):
    """The value of a `_check.LinearCall`, (value, gradient) or (value, gradients).

    gradient: True for that by the input, or the numbers of the wanted ones.
    bits: uint16 arrays, but for class indices, are the bits of bfloat16.
    """
    cdef LinearArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(LinearArrays) // sizeof(Array), False)
    gradients = _check.LinearGradients(call, gradient, grad_output, out)
    try:
        value = linear_on_arrays(call, gradients, bits, &arrays)
    finally:
        for i in range(sizeof(LinearArrays) // sizeof(Array)):
            release(&each[i])
    return value if gradient is False else (value, gradients.finish())


cdef void hold(
    object x, Array *array, fl_input *to, Py_ssize_t axis, bint bits=False
) except *:
    """Describe an array that `_check` made plain to the kernels; do nothing for None."""
    if x is None:
        return
    if not take_operand(x, array, bits):
        raise SystemError("fusedloss: an array that passed every check was not taken")
    set_input(to, array, axis)


def bends_others(str margin):
    """Whether a margin changes the logits of other classes by the target's angle."""
    return fl_margin_bends_others(fl_margin_kind(margin.encode())) != 0


cdef void set_margin(fl_margin *to, object margin) except *:
    cdef int i
    to.kind = fl_margin_kind(margin.kind.encode())
    if to.kind == 0:
        raise SystemError(f"linear kernel: no margin {margin.kind}")
    for i in range(len(margin.parameters)):
        to.parameters[i] = margin.parameters[i]
    to.scale = margin.scale
    to.annealing = margin.annealing
    to.filter = margin.filter
    to.centers = margin.centers
    to.temperature = margin.temperature
    to.keep_norm = margin.keep_norm
    to.keep_weight_norm = margin.keep_weight_norm
    to.detached = margin.detached


cdef object linear_on_arrays(
    object call, object gradients, bint bits, LinearArrays *arrays
):
    cdef fl_linear_args args
    cdef fl_softmax_args *softmax = &args.softmax
    cdef fl_program program
    cdef Py_ssize_t d, positions
    cdef int status
    memset(&args, 0, sizeof(args))
    is_high = call.precision == "high" and fl_has_tiles()
    positions = call.input.ndim - 1
    hold(call.input, &arrays.input, &args.input, positions, bits)
    hold(call.weight, &arrays.weight, &args.weight, 1, bits)
    hold(call.bias, &arrays.bias, &args.bias, -1, bits)
    hold(call.sample_weight, &arrays.sample_weight, &softmax.sample_weight, -1)
    if call.where is not None:
        hold(call.where.view(uint8), &arrays.where, &softmax.where, -1)
    if call.target.ndim > positions:
        softmax.kind = FL_PROBABILITY_TARGET
        hold(call.target, &arrays.target, &softmax.target, positions, bits)
    else:
        hold(call.target, &arrays.target, &softmax.target, -1)
    if call.class_weight is not None:
        take(call.class_weight, &arrays.class_weight)
        softmax.class_weight = arrays.class_weight.view.buf
    args.features = 1 if call.weight is None else arrays.input.view.shape[positions]
    args.workspace = call.workspace
    args.bfloat16_parts = BFLOAT16_PARTS["bfloat16x3" if is_high else call.precision]
    args.filter_eps = call.filter_eps
    softmax.logits.dtype = args.input.dtype
    softmax.classes = call.input.shape[positions] if call.weight is None else len(call.weight)
    if call.margin is not None:
        set_margin(&args.margin, call.margin)
        softmax.classes //= args.margin.centers
    softmax.ndim = <int32_t>positions
    for d in range(positions):
        softmax.shape[d] = arrays.input.view.shape[d]
    softmax.reduction = REDUCTIONS[call.reduction]
    softmax.ignore_index = call.ignore_index
    softmax.label_smoothing = call.label_smoothing
    if not set_extras(softmax, call.extras):
        raise SystemError("fusedloss: options that passed every check were not taken")
    softmax.grad_output_value = 1
    if type(gradients.grad_output) is float:
        softmax.grad_output_value = gradients.grad_output
    else:
        hold(gradients.grad_output, &arrays.grad_output, &softmax.grad_output, -1)
    hold(gradients.input, &arrays.input_gradient, <fl_input *>&args.input_gradient, positions, bits)
    hold(gradients.weight, &arrays.weight_gradient, <fl_input *>&args.weight_gradient, 1, bits)
    hold(gradients.bias, &arrays.bias_gradient, <fl_input *>&args.bias_gradient, -1, bits)

    value = None
    shape = call.input.shape[:positions]
    if softmax.reduction == FL_NONE:
        value = empty(shape, call.input.dtype if call.loss_dtype is None else call.loss_dtype)
        hold(value, &arrays.loss, <fl_input *>&softmax.loss, -1, bits)
    made = {name: empty(shape, call.compute_dtype) for name in call.extras.outputs}
    hold(made.get("lse"), &arrays.lse, <fl_input *>&softmax.lse, -1)
    hold(made.get("entropy"), &arrays.entropy, <fl_input *>&softmax.entropy, -1)
    hold(made.get("accuracy"), &arrays.accuracy, <fl_input *>&softmax.accuracy, -1)
    hold(made.get("log_prob"), &arrays.log_prob, <fl_input *>&softmax.log_prob, -1)

    if call.shard is not None:
        args.shard.classes = call.shard.classes
        take(call.shard.sums, &arrays.sums)
        if call.shard.given:
            args.shard.sums_of_all = <const fl_row_sums *>arrays.sums.view.buf
        else:
            args.shard.sums = <fl_row_sums *>arrays.sums.view.buf
        if call.shard.target_cosines is not None:
            take(call.shard.target_cosines, &arrays.target_cosines)
            args.shard.target_cosines = <const double *>arrays.target_cosines.view.buf

    status = fl_linear_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, 0 if call.num_threads is None else <int>call.num_threads)
    if status == FL_BAD_TARGET:
        _check.raise_bad_index(
            call.given.get("target", call.target), softmax.classes, softmax.ignore_index,
            call.shift, call.given.get("where"),
        )
    if status != FL_OK:
        raise SystemError(f"linear kernel: {fl_status_name(<fl_status>status).decode()}")
    if value is None:
        value = softmax.value
    return (value, made) if made else value


cdef struct ProductArrays:
    Array input, weight, logits, counts, input_gradient, weight_gradient


def linear_product(
    x, weight, logits, counts=None, input_gradient=None, weight_gradient=None, *,
    bint wanted=False, bint accumulate=False, workspace=0, num_threads=None,
):
    """Write the outputs of a linear layer of inputs (n, features) to `logits`, of (n, classes).

    wanted: these hold the loss's gradient by the outputs instead, and the ones by input and weight
    are written to, or added to, the arrays that are given. Inputs whose `counts` is 0 enter none,
    whatever they hold.
    """
    cdef ProductArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(ProductArrays) // sizeof(Array), False)
    try:
        run_product(
            x, weight, logits, counts, input_gradient, weight_gradient, wanted, accumulate,
            workspace, num_threads, &arrays,
        )
    finally:
        for i in range(sizeof(ProductArrays) // sizeof(Array)):
            release(&each[i])


cdef object run_product(
    object x, object weight, object logits, object counts, object input_gradient,
    object weight_gradient, bint wanted, bint accumulate, object workspace, object num_threads,
    ProductArrays *arrays,
):
    cdef fl_linear_args args
    cdef fl_softmax_args *softmax = &args.softmax
    cdef fl_program program
    cdef int status
    memset(&args, 0, sizeof(args))
    hold(x, &arrays.input, &args.input, 1)
    hold(weight, &arrays.weight, &args.weight, 1)
    hold(counts, &arrays.counts, &softmax.sample_weight, -1)
    hold(logits, &arrays.logits, &args.logits_gradient if wanted else <fl_input *>&args.logits, 1)
    hold(input_gradient, &arrays.input_gradient, <fl_input *>&args.input_gradient, 1)
    hold(weight_gradient, &arrays.weight_gradient, <fl_input *>&args.weight_gradient, 1)
    args.features = arrays.input.view.shape[1]
    args.workspace = workspace
    args.accumulate = accumulate
    softmax.kind = FL_LOGSUMEXP
    softmax.reduction = FL_SUM
    softmax.grad_output_value = 1
    softmax.logits.dtype = args.input.dtype
    softmax.classes = len(weight)
    softmax.ndim = 1
    softmax.shape[0] = arrays.input.view.shape[0]
    status = fl_linear_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, 0 if num_threads is None else <int>num_threads)
    if status != FL_OK:
        raise SystemError(f"linear product: {fl_status_name(<fl_status>status).decode()}")
