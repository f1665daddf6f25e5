# The losses of rows: what core.pyx includes for them.

# The roles of operands after the first.
cdef int VALUES = _check.VALUES
cdef int INDICES = _check.INDICES
cdef int INDICES_OR_ROWS = _check.INDICES_OR_ROWS
cdef int LABELS = _check.LABELS


cdef struct RowwiseArrays:
    Array operands[FL_ROW_OPERANDS]
    Array weight, sample_weight, where, grad_output
    Array gradients[FL_ROW_OPERANDS]
    Array loss


def rowwise(RowwiseCall call, gradient=False, grad_output=None, out=None):
    """Return the value of a call, or (value, gradient).

    gradient: whether the one by the first operand is wanted, or a tuple of operands' numbers: then
    `out` and the gradients are tuples, too.
    """
    result = rowwise_held(call, gradient, grad_output, out, False)
    if result is None:
        return _check.rowwise(rowwise_plain, call, gradient, grad_output, out)
    return result


def rowwise_plain(
    RowwiseCall call, gradient=False, grad_output=None, out=None, bint bits=False
):
    """`rowwise` on plain arrays of matching shapes; None if an argument is not.

    bits: the call is of another library's arrays: uint16, but for class indices, are the bits of
    bfloat16, and None stands for a class index out of range, too.
    """
    return rowwise_held(call, gradient, grad_output, out, bits)


cdef object rowwise_held(
    RowwiseCall call, object gradient, object grad_output, object out, bint bits
):
    cdef RowwiseArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(RowwiseArrays) // sizeof(Array), bits)
    try:
        return rowwise_on_arrays(call, gradient, grad_output, out, bits, &arrays)
    finally:
        for i in range(sizeof(RowwiseArrays) // sizeof(Array)):
            release(&each[i])


cdef bint set_row_operand(
    fl_rowwise_args *args, Py_ssize_t k, int role, object x, Array *array, const Py_buffer *view,
    Py_ssize_t axis, bint bits,
) noexcept:
    """Describe operand k to the kernels; False if its dtype or shape does not suit its role."""
    cdef bint whole
    if not take(x, array):
        return False
    whole = same_shape(&array.view, view)
    if role == LABELS or role == INDICES or (role == INDICES_OR_ROWS and not whole):
        if array.dtype < FL_INT8:
            return False
        if role == LABELS:
            args.label_rows = True
            set_input(&args.operands[k], array, axis)
            return whole
        set_input(&args.target, array, -1)
        return shape_without(&array.view, view, axis)
    if bits and array.dtype == FL_UINT16:
        array.dtype = FL_BFLOAT16
    if role == VALUES:
        set_input(&args.operands[k], array, -1)
        return shape_without(&array.view, view, axis)
    set_input(&args.operands[k], array, axis)
    return whole and (role != INDICES_OR_ROWS or is_real(array.dtype))


cdef object rowwise_on_arrays(
    RowwiseCall call, object gradient, object grad_output, object out, bint bits,
    RowwiseArrays *arrays,
):
    cdef fl_rowwise_args args
    cdef fl_program program
    cdef Array *x = &arrays.operands[0]
    cdef Py_ssize_t d, at, k, ndim, class_axis
    cdef int64_t threads = 0
    cdef bint ok = True
    cdef int status
    cdef fl_dtype real
    cdef tuple operands = operands_of(call.operands)

    memset(&args, 0, sizeof(args))
    args.loss = loss_number(call.name, fl_rowwise_loss)
    if not take_real(operands[0], x, bits):
        return None
    ndim = x.view.ndim
    class_axis = as_axis(call.axis, ndim, &ok)
    if call.num_threads is not None:
        threads = as_int64(call.num_threads, &ok)
        ok = ok and 0 < threads < 1 << 20
    mode = REDUCTIONS.get(call.reduction) if type(call.reduction) is str else None
    if not ok or mode is None or ndim > FL_MAX_DIMS:
        return None
    args.reduction = mode
    args.classes = x.view.shape[class_axis]
    if args.classes == 0:
        return None
    at = 0
    for d in range(ndim):
        if d != class_axis:
            args.shape[at] = x.view.shape[d]
            at += 1
    args.ndim = <int32_t>at
    set_input(&args.operands[0], x, class_axis)
    for k in range(1, len(operands)):
        if not set_row_operand(
            &args, k, call.roles[k - 1], operands[k], &arrays.operands[k], &x.view, class_axis, bits
        ):
            return None
    real = FL_FLOAT64 if x.dtype == FL_FLOAT64 else FL_FLOAT32
    if call.weight is not None:
        if not take_class_weight(call.weight, &arrays.weight, real, args.classes):
            return None
        args.class_weight = arrays.weight.view.buf
    if call.sample_weight is not None:
        if not take_real(call.sample_weight, &arrays.sample_weight, bits):
            return None
        if not shape_without(&arrays.sample_weight.view, &x.view, class_axis):
            return None
        set_input(&args.sample_weight, &arrays.sample_weight, -1)
    if call.where is not None:
        if not take_mask(call.where, &arrays.where):
            return None
        if not shape_without(&arrays.where.view, &x.view, class_axis):
            return None
        set_input(&args.where, &arrays.where, -1)
    for k in range(len(call.parameters)):
        args.parameters[k] = call.parameters[k]

    args.grad_output_value = 1
    if grad_output is not None:
        if type(grad_output) is float:
            args.grad_output_value = grad_output
        elif args.reduction != FL_NONE or not take_real(grad_output, &arrays.grad_output, bits):
            return None
        elif not shape_without(&arrays.grad_output.view, &x.view, class_axis):
            return None
        else:
            set_input(&args.grad_output, &arrays.grad_output, -1)

    gradients = None
    if gradient:
        gradients = take_gradients(
            gradient, out, operands, arrays.operands, arrays.gradients, &arrays.weight, 4,
            args.gradients, class_axis, bits,
        )
        if gradients is None:
            return None
    elif out is not None:
        return None
    value = None
    if args.reduction == FL_NONE:
        positions = tuple([args.shape[d] for d in range(at)])
        value = new_output(
            &args.loss_values, &arrays.loss, operands[0], positions, call.wide, bits
        )

    status = fl_rowwise_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, <int>threads)
    if status == FL_BAD_TARGET:
        if bits:
            return None
        _check.raise_bad_class(
            operands[1], args.classes, args.label_rows, call.where, class_axis
        )
    if status != FL_OK:
        raise SystemError(f"rowwise kernel: {fl_status_name(<fl_status>status).decode()}")
    if value is None:
        value = args.value
    if gradients is None:
        return value
    return value, gradients[0] if gradient is True else tuple(gradients)
