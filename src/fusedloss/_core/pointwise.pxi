# The pointwise losses: what core.pyx includes for them.

cdef struct PointwiseArrays:
    Array operands[FL_MAX_OPERANDS]
    Array weight, where, grad_output
    Array gradients[FL_MAX_OPERANDS]
    Array hessian, loss


def pointwise(
    PointwiseCall call, gradient=False, grad_output=None, out=None, bint hessian=False
):
    """Return the value of a call, (value, gradient) or (gradient, hessian).

    gradient: whether the one by the first operand is wanted, or a tuple of operands' numbers: then
    `out` and the gradients are tuples, too. With a Hessian `out` is its pair (gradient, hessian).
    """
    cdef tuple operands = operands_of(call.operands)
    result = None
    for x in operands:
        if x is None:
            break
    else:
        result = pointwise_held(call, operands, gradient, grad_output, out, hessian, False, 0)
    if result is None:
        return _check.pointwise(pointwise_plain, call, gradient, grad_output, out, hessian)
    return result


def pointwise_plain(
    PointwiseCall call, gradient=False, grad_output=None, out=None, bint hessian=False,
    bint bits=False, int whole=0,
):
    """`pointwise` on plain arrays that broadcast to the first; None if an argument does not.

    An operand that is None is one of ones.

    bits: the call is of another library's arrays: its uint16 are the bits of bfloat16, its `out` is
    new memory that may be written in vain, and None stands for a value outside of the domain, too.
    whole: of operands and weight, all of one dtype, so many have to have the first one's shape.
    """
    return pointwise_held(
        call, operands_of(call.operands), gradient, grad_output, out, hessian, bits, whole
    )


cdef object pointwise_held(
    PointwiseCall call, tuple operands, object gradient, object grad_output, object out,
    bint hessian, bint bits, int whole,
):
    cdef PointwiseArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(PointwiseArrays) // sizeof(Array), bits)
    try:
        return pointwise_on_arrays(
            call, operands, gradient, grad_output, out, hessian, bits, whole, &arrays
        )
    finally:
        for i in range(sizeof(PointwiseArrays) // sizeof(Array)):
            release(&each[i])


cdef bint broadcasts(fl_input *to, const Array *array, const Py_buffer *view) noexcept:
    """Describe an array broadcast to the shape of another; False if it does not broadcast."""
    cdef Py_ssize_t d, at, missing = view.ndim - array.view.ndim
    if missing < 0:
        return False
    to.data = array.view.buf
    to.dtype = array.dtype
    for d in range(array.view.ndim):
        at = d + missing
        if array.view.shape[d] == view.shape[at]:
            to.strides[at] = array.view.strides[d] // array.view.itemsize
        elif array.view.shape[d] != 1:
            return False
    return True


cdef object pointwise_on_arrays(
    PointwiseCall call, tuple operands, object gradient, object grad_output, object out,
    bint hessian, bint bits, int whole, PointwiseArrays *arrays,
):
    cdef fl_pointwise_args args
    cdef fl_program program
    cdef Array *x = &arrays.operands[0]
    cdef Array *other
    cdef Py_ssize_t d, k, ndim
    cdef int64_t threads = 0
    cdef bint ok = True
    cdef int status

    memset(&args, 0, sizeof(args))
    args.loss = loss_number(call.name, fl_pointwise_loss)
    if not take_real(operands[0], x, bits):
        return None
    ndim = x.view.ndim
    if ndim > FL_MAX_DIMS:
        return None
    args.ndim = <int32_t>ndim
    for d in range(ndim):
        args.shape[d] = x.view.shape[d]
    set_input(&args.operands[0], x, -1)
    for k in range(1, len(operands)):
        if operands[k] is None:
            continue
        if not take_operand(operands[k], &arrays.operands[k], bits):
            return None
        if not broadcasts(&args.operands[k], &arrays.operands[k], &x.view):
            return None
    if call.weight is not None:
        if not take_operand(call.weight, &arrays.weight, bits):
            return None
        if not broadcasts(&args.weight, &arrays.weight, &x.view):
            return None
    if call.where is not None:
        if not take_mask(call.where, &arrays.where):
            return None
        if not broadcasts(&args.where, &arrays.where, &x.view):
            return None
    for k in range(1, len(operands) + 1 if whole else 0):
        other = &arrays.weight if k == len(operands) else &arrays.operands[k]
        if not other.held:
            if k < whole and k < len(operands):
                return None
        elif other.dtype != x.dtype or (k < whole and not same_shape(&other.view, &x.view)):
            return None
    if call.num_threads is not None:
        threads = as_int64(call.num_threads, &ok)
        ok = ok and 0 < threads < 1 << 20
    mode = REDUCTIONS.get(call.reduction) if type(call.reduction) is str else None
    if not ok or mode is None:
        return None
    args.reduction = FL_NONE if hessian else mode  # whose value nobody wants
    args.divisor = call.divisor
    args.weighted_mean = call.weighted_mean
    for k in range(len(call.parameters)):
        args.parameters[k] = call.parameters[k]

    args.grad_output_value = 1
    if grad_output is not None:
        if type(grad_output) is float:
            args.grad_output_value = grad_output
        elif args.reduction != FL_NONE or not take_real(grad_output, &arrays.grad_output, bits):
            return None
        elif not same_shape(&arrays.grad_output.view, &x.view):
            return None
        else:
            set_input(&args.grad_output, &arrays.grad_output, -1)

    gradients = hessian_out = None
    if hessian and out is not None:
        out, hessian_out = out
    if gradient:
        gradients = take_gradients(
            gradient, out, operands, arrays.operands, arrays.gradients, &arrays.weight, 3,
            args.gradients, -1, bits, hessian,
        )
        if gradients is None:
            return None
        args.check_first = not bits and out is not None and call.name in _check.DOMAINS
    elif out is not None:
        return None

    value = curvature = None
    if hessian:
        curvature = take_hessian(
            hessian_out, operands[0], &arrays.hessian, x, <Array *>arrays,
            sizeof(PointwiseArrays) // sizeof(Array), &args.hessian, -1, bits,
        )
        if curvature is None:
            return None
    elif args.reduction == FL_NONE:
        value = like(operands[0], &x.view)
        take_real(value, &arrays.loss, bits)
        set_output(&args.loss_values, &arrays.loss, -1)

    status = fl_pointwise_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, <int>threads)
    if status == FL_BAD_VALUE and bits:
        return None
    if status == FL_BAD_VALUE:
        _check.raise_bad_value(call, operands)
    if status != FL_OK:
        raise SystemError(f"pointwise kernel: {fl_status_name(<fl_status>status).decode()}")
    if value is None:
        value = args.value
    if gradients is None:
        return value
    made = gradients[0] if gradient is True else tuple(gradients)
    return (made, curvature) if hessian else (value, made)
