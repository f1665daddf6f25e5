# Connectionist temporal classification: what core.pyx includes for it.

cdef struct CTCArrays:
    Array log_probs, labels, first_labels, input_lengths, target_lengths, grad_output
    Array gradient, loss


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
    cdef fl_program program
    cdef const Py_buffer *frames = &arrays.log_probs.view
    cdef int status
    memset(&args, 0, sizeof(args))
    held(call.log_probs, &arrays.log_probs)
    set_input(&args.log_probs, &arrays.log_probs, 2)
    args.labels = <const int64_t *>held(call.labels, &arrays.labels)
    args.first_labels = <const int64_t *>held(call.first_labels, &arrays.first_labels)
    args.input_lengths = <const int64_t *>held(call.input_lengths, &arrays.input_lengths)
    args.target_lengths = <const int64_t *>held(call.target_lengths, &arrays.target_lengths)
    args.frames, args.sequences, args.classes = frames.shape[0], frames.shape[1], frames.shape[2]
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
    value = None
    if args.reduction == FL_NONE:
        value = new_output(
            &args.loss_values, &arrays.loss, call.log_probs, (args.sequences,), False, False
        )
    status = fl_ctc_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, 0 if call.num_threads is None else <int>call.num_threads)
    if status != FL_OK:
        raise SystemError(f"CTC kernel: {fl_status_name(<fl_status>status).decode()}")
    return args.value if value is None else value
