# The losses of pairs of embeddings: what core.pyx includes for them.

DOT_PRODUCT = FL_DOT_PRODUCT
COSINE_DISTANCE = FL_COSINE_DISTANCE
EUCLIDEAN = FL_EUCLIDEAN
SQUARED_EUCLIDEAN = FL_SQUARED_EUCLIDEAN
LP = FL_LP
SNR = FL_SNR


cdef struct PairwiseArrays:
    Array embeddings, reference, labels, reference_labels, sample_weight, loss_weight, where
    Array grad_output, gradient, reference_gradient, loss
    Array anchor_parameters, anchor_slopes
    Array positive_starts, positive_at, negative_starts, negative_at


def pairwise(call, gradient=False, grad_output=None, out=None):
    """Return the value of a `PairCall`, or (value, gradient).

    gradient: whether the one by the first argument is wanted, or a tuple of arguments' numbers:
    then `out` and the gradients are tuples, too.
    """
    cdef PairwiseArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(PairwiseArrays) // sizeof(Array), False)
    plan = call.plan(gradient, grad_output, out)
    try:
        value, slopes = pairwise_on_arrays(call, plan, &arrays)
    finally:
        for i in range(sizeof(PairwiseArrays) // sizeof(Array)):
            release(&each[i])
    return value if gradient is False else (value, plan.finish(slopes))


cdef void hold_rows(object x, Array *array, fl_input *to) except *:
    """Describe a plain array of rows to the kernels; do nothing for None."""
    if x is None:
        return
    if not take(x, array):
        raise SystemError("fusedloss: an array that passed every check was not taken")
    set_input(to, array, 1)


cdef void hold_list(object pairs, Array *starts, Array *at, fl_pair_list *to) except *:
    """Describe a `PairList` to the kernels; do nothing for None."""
    cdef fl_input held
    if pairs is None:
        return
    hold_rows(pairs.starts, starts, &held)
    to.starts = <const int64_t *>held.data
    hold_rows(pairs.at, at, &held)
    to.at = <const int32_t *>held.data


cdef object pairwise_on_arrays(object call, object plan, PairwiseArrays *arrays):
    cdef fl_pairwise_args args
    cdef fl_program program
    cdef fl_input slopes_of_anchors
    cdef int status
    cdef Py_ssize_t i
    memset(&args, 0, sizeof(args))
    memset(&slopes_of_anchors, 0, sizeof(slopes_of_anchors))
    args.loss = fl_pairwise_loss(call.loss.encode())
    hold_rows(call.embeddings, &arrays.embeddings, &args.embeddings)
    hold_rows(call.reference, &arrays.reference, &args.reference)
    hold_rows(call.labels, &arrays.labels, &args.labels)
    hold_rows(call.reference_labels, &arrays.reference_labels, &args.reference_labels)
    hold_rows(call.sample_weight, &arrays.sample_weight, &args.sample_weight)
    hold_rows(call.loss_weight, &arrays.loss_weight, &args.loss_weight)
    hold_rows(call.anchor_parameters, &arrays.anchor_parameters, &args.anchor_parameters)
    if call.where is not None:
        hold_rows(call.where.view(uint8), &arrays.where, &args.where)
    hold_list(call.positives, &arrays.positive_starts, &arrays.positive_at, &args.positive)
    hold_list(call.negatives, &arrays.negative_starts, &arrays.negative_at, &args.negative)
    args.longest = call.longest
    args.workspace = call.workspace
    hold_rows(plan.gradient, &arrays.gradient, <fl_input *>&args.gradient)
    hold_rows(plan.reference_gradient, &arrays.reference_gradient,
              <fl_input *>&args.reference_gradient)
    hold_rows(plan.anchor_slopes, &arrays.anchor_slopes, &slopes_of_anchors)
    args.anchor_slopes = <double *>slopes_of_anchors.data
    args.rows = arrays.embeddings.view.shape[0]
    args.features = arrays.embeddings.view.shape[1]
    args.columns = args.rows if call.reference is None else arrays.reference.view.shape[0]
    for i in range(len(call.parameters)):
        args.parameters[i] = call.parameters[i]
    args.distance = <fl_distance><int>call.distance
    args.p = call.p
    args.power = call.power
    args.opposite = call.opposite
    args.normalize = call.normalize
    args.reduction = REDUCTIONS[call.reduction]
    args.nonzero = call.nonzero
    args.any_counts = call.any_counts
    args.grad_output_value = 1
    if type(plan.grad_output) is float:
        args.grad_output_value = plan.grad_output
    else:
        hold_rows(plan.grad_output, &arrays.grad_output, &args.grad_output)
    value = None
    if args.reduction == FL_NONE:
        value = empty(args.rows, call.embeddings.dtype)
        hold_rows(value, &arrays.loss, <fl_input *>&args.loss_values)
    status = fl_pairwise_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, 0 if call.num_threads is None else <int>call.num_threads)
    if status != FL_OK:
        raise SystemError(f"pairwise kernel: {fl_status_name(<fl_status>status).decode()}")
    slopes = tuple([args.slopes[i] for i in range(FL_MAX_PAIR_PARAMETERS)])
    return args.value if value is None else value, slopes
