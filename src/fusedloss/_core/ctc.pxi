# Connectionist temporal classification: what core.pyx includes for it.

cdef struct CTCArrays:
    Array log_probs, labels, first_labels, input_lengths, target_lengths, grad_output
    Array sample_weight, gradient, loss


def ctc(call, grad_output=1.0, gradient=None):
    """Return the value of a `_check.CTCCall`; write the gradient to a plain array, if given."""
    cdef CTCArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(CTCArrays) // sizeof(Array), False)
    try:
        return ctc_on_arrays(call, grad_output, gradient, &arrays)
    finally:
        for i in range(sizeof(CTCArrays) // sizeof(Array)):
            release(&each[i])


cdef const void *held(object x, Array *array) except? NULL:
    """Return the address of a plain array's first element."""
    if not take(x, array):
        raise SystemError("fusedloss: an array that passed every check was not taken")
    return array.view.buf


cdef object ctc_on_arrays(object call, object grad_output, object gradient, CTCArrays *arrays):
    cdef fl_ctc_args args
    memset(&args, 0, sizeof(args))
    held(call.log_probs, &arrays.log_probs)
    args.labels = <const int64_t *>held(call.labels, &arrays.labels)
    args.first_labels = <const int64_t *>held(call.first_labels, &arrays.first_labels)
    args.input_lengths = <const int64_t *>held(call.input_lengths, &arrays.input_lengths)
    args.target_lengths = <const int64_t *>held(call.target_lengths, &arrays.target_lengths)
    if call.sample_weight is not None:
        args.sample_weight = <const double *>held(call.sample_weight, &arrays.sample_weight)
    args.blank = call.blank
    args.zero_infinity = call.zero_infinity
    args.reduction = REDUCTIONS[call.reduction]
    args.grad_output_value = 1
    if type(grad_output) is float:
        args.grad_output_value = grad_output
    else:
        held(grad_output, &arrays.grad_output)
        set_input(&args.grad_output, &arrays.grad_output, -1)
    if gradient is not None:
        held(gradient, &arrays.gradient)
        set_output(&args.gradient, &arrays.gradient, 2)
    return run_ctc(&args, arrays, call.log_probs, 0 if call.num_threads is None else call.num_threads)


cdef object run_ctc(fl_ctc_args *args, CTCArrays *arrays, object log_probs, int threads):
    """Run a call whose log-probabilities are held, and whose losses, if wanted, are yet to be made."""
    cdef const Py_buffer *frames = &arrays.log_probs.view
    cdef fl_program program
    cdef int status
    set_input(&args.log_probs, &arrays.log_probs, 2)
    args.frames, args.sequences, args.classes = frames.shape[0], frames.shape[1], frames.shape[2]
    value = None
    if args.reduction == FL_NONE:
        value = new_output(
            &args.loss_values, &arrays.loss, log_probs, (args.sequences,), False, arrays.loss.tensors
        )
    status = fl_ctc_program(args, &program)
    if status == FL_OK:
        status = run(&program, args, threads)
    if status != FL_OK:
        raise SystemError(f"CTC kernel: {fl_status_name(<fl_status>status).decode()}")
    return args.value if value is None else value


def ctc_plain(
    log_probs, targets, tuple input_lengths, tuple target_lengths, int64_t blank,
    bint zero_infinity, reduction, int num_threads, bint gradient=False, grad_output=None, out=None,
):
    """Return the value of tensors with everything in order; None where something is not.

    The gradient goes to `out`.
    """
    cdef CTCArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef int64_t *numbers = NULL
    cdef size_t i, count
    clear(each, sizeof(CTCArrays) // sizeof(Array), True)
    try:
        if not take(targets, &arrays.labels):
            return None
        count = 3 * len(input_lengths) + arrays.labels.view.len // arrays.labels.view.itemsize
        numbers = <int64_t *>fl_allocate((count + 1) * sizeof(int64_t))
        if numbers == NULL:
            raise MemoryError(f"cannot allocate {count} numbers")
        return ctc_on_tensors(
            log_probs, input_lengths, target_lengths, blank, zero_infinity, reduction,
            num_threads, gradient, grad_output, out, numbers, &arrays,
        )
    finally:
        free(numbers)
        for i in range(sizeof(CTCArrays) // sizeof(Array)):
            release(&each[i])


cdef object ctc_on_tensors(
    object log_probs, tuple input_lengths, tuple target_lengths, int64_t blank, bint zero_infinity,
    object reduction, int threads, bint gradient, object grad_output, object out, int64_t *numbers,
    CTCArrays *arrays,
):
    cdef fl_ctc_args args
    cdef Array *x = &arrays.log_probs
    cdef Array *g = &arrays.gradient
    cdef Py_ssize_t n, sequences = len(input_lengths)
    cdef bint ok = True
    mode = REDUCTIONS.get(reduction) if type(reduction) is str else None
    if mode is None or not take_real(log_probs, x, True) or x.view.ndim != 3 or x.view.len == 0:
        return None
    if x.view.shape[1] != sequences or len(target_lengths) != sequences:
        return None
    if not 0 <= blank < x.view.shape[2]:
        return None
    memset(&args, 0, sizeof(args))
    args.reduction = mode
    args.blank = blank
    args.zero_infinity = zero_infinity
    # What is checked stays so, whatever another thread does to the tensors.
    args.input_lengths = numbers
    args.target_lengths = numbers + sequences
    args.first_labels = numbers + 2 * sequences
    args.labels = numbers + 3 * sequences
    for n in range(sequences):
        numbers[n] = as_int64(input_lengths[n], &ok)
        numbers[sequences + n] = as_int64(target_lengths[n], &ok)
        if not ok or not 0 <= numbers[n] <= x.view.shape[0]:
            return None
    if not copy_labels(&arrays.labels, numbers, sequences, x.view.shape[2], blank):
        return None
    args.grad_output_value = 1
    if type(grad_output) is float:
        args.grad_output_value = grad_output
    elif grad_output is not None:
        if args.reduction != FL_NONE or not take_real(grad_output, &arrays.grad_output, True):
            return None
        if arrays.grad_output.view.ndim != 1 or arrays.grad_output.view.shape[0] != sequences:
            return None
        set_input(&args.grad_output, &arrays.grad_output, -1)
    if gradient:
        if not take_real(out, g, True) or g.dtype != x.dtype or not same_shape(&g.view, &x.view):
            return None
        set_output(&args.gradient, g, 2)
    return run_ctc(&args, arrays, log_probs, threads)


cdef bint copy_labels(
    const Array *targets, int64_t *numbers, Py_ssize_t sequences, int64_t classes, int64_t blank,
) noexcept:
    """Copy the labels of all sequences, one after the other; False if one is no class or the blank.

    `numbers` has lengths of inputs, those of targets, and room for the first labels and the labels.
    """
    cdef const Py_buffer *view = &targets.view
    cdef bint padded = view.ndim == 2
    cdef int64_t *lengths = numbers + sequences
    cdef int64_t *label = numbers + 3 * sequences
    cdef int64_t at = 0, k
    cdef Py_ssize_t n
    cdef const char *from_
    if targets.dtype != FL_INT64 and targets.dtype != FL_INT32:
        return False
    if padded:
        if view.shape[0] != sequences:
            return False
    elif view.ndim != 1:
        return False
    for n in range(sequences):
        if not 0 <= lengths[n] <= (view.shape[1] if padded else view.shape[0] - at):
            return False
        numbers[2 * sequences + n] = at
        for k in range(lengths[n]):
            if padded:
                from_ = <const char *>view.buf + n * view.strides[0] + k * view.strides[1]
            else:
                from_ = <const char *>view.buf + at * view.strides[0]
            label[at] = (<const int64_t *>from_)[0] if view.itemsize == 8 else (<const int32_t *>from_)[0]
            if not 0 <= label[at] < classes or label[at] == blank:
                return False
            at += 1
    return padded or at == view.shape[0]
