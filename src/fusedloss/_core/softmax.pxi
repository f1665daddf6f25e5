# The softmax family: what core.pyx includes for it.

cdef double MOST_GAMMA = _check.MOST_GAMMA
cdef double MOST_SCALE = _check.MOST_SCALES["float32"]

CROSS_ENTROPY = -1  # an index or a probability target, as its shape says
INDEX_TARGET = <int>FL_INDEX_TARGET
PROBABILITY_TARGET = <int>FL_PROBABILITY_TARGET
LOGSUMEXP = <int>FL_LOGSUMEXP
LOG_SOFTMAX = <int>FL_LOG_SOFTMAX
ENTROPY = <int>FL_ENTROPY
TEACHER_DIVERGENCE = <int>FL_TEACHER_DIVERGENCE
TEACHER_TARGET = <int>FL_TEACHER_TARGET

LOGITS = <int>FL_LOGITS
LOG_PROBABILITIES = <int>FL_LOG_PROBABILITIES
PROBABILITIES = <int>FL_PROBABILITIES


def softmax(
    SoftmaxCall call, bint gradient=False, grad_output=None, out=None, bint hessian=False
):
    """Return the value of a call, (value, gradient) or (gradient, hessian).

    With a Hessian `out` is a pair, too.
    """
    result = softmax_held(call, gradient, grad_output, out, hessian, False)
    if result is None:
        return _check.softmax(softmax_plain, call, gradient, grad_output, out, hessian)
    return result


cdef struct SoftmaxArrays:
    Array logits, target, weight, sample_weight, where, grad_output
    Array gradient, hessian, loss, lse, entropy, accuracy, log_prob


def softmax_plain(
    SoftmaxCall call, bint gradient=False, grad_output=None, out=None, bint hessian=False,
    bint bits=False,
):
    """`softmax` on plain, valid arrays; None if an argument is not.

    bits: the call is of another library's arrays: uint16, but for class indices, are the bits of
    bfloat16, and None stands for a class index out of range, too.
    """
    return softmax_held(call, gradient, grad_output, out, hessian, bits)


cdef object softmax_held(
    SoftmaxCall call, bint gradient, object grad_output, object out, bint hessian, bint bits
):
    cdef SoftmaxArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(SoftmaxArrays) // sizeof(Array), bits)
    try:
        return softmax_on_arrays(call, gradient, grad_output, out, hessian, bits, &arrays)
    finally:
        for i in range(sizeof(SoftmaxArrays) // sizeof(Array)):
            release(&each[i])


cdef bint set_extras(fl_softmax_args *args, object extras) except -1:
    """Read the options of an `Extras`; return False if one is invalid."""
    if not (
        type(extras.gamma) is float and type(extras.temperature) is float
        and type(extras.z_loss) is float and type(extras.entropy_bonus) is float
        and (extras.softcap is None or type(extras.softcap) is float)
    ):
        return False
    args.prediction = extras.prediction
    args.mean_of_positions = extras.mean_of_positions
    args.focusing = extras.gamma
    args.temperature = extras.temperature
    args.z_loss = extras.z_loss
    args.entropy_bonus = extras.entropy_bonus
    if not (0 <= args.focusing <= MOST_GAMMA and 0 <= args.z_loss < inf):
        return False
    if not -inf < args.entropy_bonus < inf:
        return False
    if not 0 < args.temperature < inf:
        return False
    if args.temperature == 1:
        args.temperature = 0  # none: logits are read in place
    if extras.softcap is not None:
        args.softcap = extras.softcap
        if not 0 < args.softcap < inf:
            return False
    return True


cdef bint scales_are_floats(const fl_softmax_args *args) noexcept:
    """True if temperature and softcap, where given, and their inverses are finite in float32."""
    cdef double temperature = args.temperature or 1, softcap = args.softcap or 1
    return (
        1 / MOST_SCALE <= temperature <= MOST_SCALE and 1 / MOST_SCALE <= softcap <= MOST_SCALE
    )


cdef object new_output(
    fl_output *output, Array *array, object like, tuple shape, bint wide, bint bits
):
    """Make an array of one value per position for the kernels to fill: see `new_values`."""
    made = new_values(like, shape, wide)
    take_real(made, array, bits)
    set_output(output, array, -1)
    return made


cdef object softmax_on_arrays(
    SoftmaxCall call, bint gradient, object grad_output, object out, bint hessian, bint bits,
    SoftmaxArrays *arrays,
):
    cdef fl_softmax_args args
    cdef fl_program program
    cdef Array *z = &arrays.logits
    cdef Array *t = &arrays.target
    cdef Array *w = &arrays.weight
    cdef Array *s = &arrays.sample_weight
    cdef Array *m = &arrays.where
    cdef Array *g = &arrays.grad_output
    cdef Array *grad = &arrays.gradient
    cdef Py_ssize_t d, at, ndim, class_axis
    cdef int64_t threads = 0
    cdef bint ok = True, per_position
    cdef int status
    cdef fl_dtype real
    cdef tuple positions
    cdef object logits = call.logits, target = call.target, extras = call.extras
    cdef int kind = call.kind

    memset(&args, 0, sizeof(args))
    if not take_real(logits, z, bits):
        return None
    ndim = z.view.ndim
    class_axis = as_axis(call.axis, ndim, &ok)
    if not ok or ndim > FL_MAX_DIMS:
        return None
    args.classes = z.view.shape[class_axis]
    args.ignore_index = as_int64(call.ignore_index, &ok)
    if call.num_threads is not None:
        threads = as_int64(call.num_threads, &ok)
        ok = ok and 0 < threads < 1 << 20
    mode = REDUCTIONS.get(call.reduction) if type(call.reduction) is str else None
    if not ok or mode is None or type(call.label_smoothing) is not float or args.classes == 0:
        return None
    args.reduction = mode
    args.label_smoothing = call.label_smoothing
    if not 0 <= args.label_smoothing <= 1:
        return None
    if extras is not None and not set_extras(&args, extras):
        return None
    if z.dtype != FL_FLOAT64 and not scales_are_floats(&args):
        return None

    if target is not None:
        if not take(target, t):
            return None
        if kind < 0 and same_shape(&t.view, &z.view):
            kind = FL_PROBABILITY_TARGET
        if kind in (FL_PROBABILITY_TARGET, FL_TEACHER_DIVERGENCE, FL_TEACHER_TARGET):
            if bits and t.dtype == FL_UINT16:
                t.dtype = FL_BFLOAT16
            if not is_real(t.dtype) or not same_shape(&t.view, &z.view):
                return None
            set_input(&args.target, t, class_axis)
        else:
            kind = FL_INDEX_TARGET
            if t.dtype < FL_INT8 or not shape_without(&t.view, &z.view, class_axis):
                return None
            set_input(&args.target, t, -1)
    elif kind != FL_LOGSUMEXP and kind != FL_LOG_SOFTMAX and kind != FL_ENTROPY:
        return None
    args.kind = <fl_softmax_kind>kind
    per_position = args.reduction == FL_NONE and kind != FL_LOG_SOFTMAX

    real = FL_FLOAT64 if z.dtype == FL_FLOAT64 else FL_FLOAT32
    if call.weight is not None:
        if not take_class_weight(call.weight, w, real, args.classes):
            return None
        args.class_weight = w.view.buf
    if call.sample_weight is not None:
        if not take_real(call.sample_weight, s, bits):
            return None
        if not shape_without(&s.view, &z.view, class_axis):
            return None
        set_input(&args.sample_weight, s, -1)
    if call.where is not None:
        if not take_mask(call.where, m) or not shape_without(&m.view, &z.view, class_axis):
            return None
        set_input(&args.where, m, -1)

    args.grad_output_value = 1
    if grad_output is not None:
        if type(grad_output) is float:
            args.grad_output_value = grad_output
        elif not per_position or not take_real(grad_output, g, bits):
            return None
        elif not shape_without(&g.view, &z.view, class_axis):
            return None
        else:
            set_input(&args.grad_output, g, -1)

    hessian_out = None
    if hessian and out is not None:
        out, hessian_out = out
    if gradient or hessian:
        if out is None:
            out = like(logits, &z.view)
            if not take_real(out, grad, bits):
                return None
        else:
            if not take_real(out, grad, bits) or grad.view.readonly:
                return None
            if not is_derivative(grad.dtype, z.dtype, hessian):
                return None
            if not same_shape(&grad.view, &z.view) or overlaps_itself(&grad.view):
                return None
            if not apart(&grad.view, &z.view) and not (
                grad.view.buf == z.view.buf and grad.dtype == z.dtype
                and same_strides(&grad.view, &z.view)
            ):
                return None
            if t.held and not apart(&grad.view, &t.view):
                return None
            if w.held and not apart(&grad.view, &w.view):
                return None
            if s.held and not apart(&grad.view, &s.view):
                return None
            if m.held and not apart(&grad.view, &m.view):
                return None
            if g.held and not apart(&grad.view, &g.view):
                return None
        set_output(&args.gradient, grad, class_axis)
    elif out is not None:
        return None

    at = 0
    for d in range(ndim):
        if d != class_axis:
            args.shape[at] = z.view.shape[d]
            at += 1
    args.ndim = <int32_t>at
    set_input(&args.logits, z, class_axis)

    value = curvature = made = None
    if hessian:
        curvature = take_hessian(
            hessian_out, logits, &arrays.hessian, z, <Array *>arrays,
            sizeof(SoftmaxArrays) // sizeof(Array), &args.hessian, class_axis, bits,
        )
        if curvature is None:
            return None
    if per_position or (extras is not None and extras.outputs):
        positions = tuple([args.shape[d] for d in range(at)])
        if per_position:
            wide = extras is not None and extras.wide
            value = new_output(&args.loss, &arrays.loss, logits, positions, wide, bits)
        if extras is not None and extras.outputs:
            made = dict.fromkeys(extras.outputs)
            if "lse" in made:
                made["lse"] = new_output(
                    &args.lse, &arrays.lse, logits, positions, True, False
                )
            if "entropy" in made:
                made["entropy"] = new_output(
                    &args.entropy, &arrays.entropy, logits, positions, True, False
                )
            if "accuracy" in made:
                made["accuracy"] = new_output(
                    &args.accuracy, &arrays.accuracy, logits, positions, True, False
                )
            if "log_prob" in made:
                if args.kind != FL_INDEX_TARGET:
                    return None
                made["log_prob"] = new_output(
                    &args.log_prob, &arrays.log_prob, logits, positions, True, False
                )

    status = fl_softmax_program(&args, &program)
    if status == FL_OK:
        status = run(&program, &args, <int>threads)
    if status == FL_BAD_TARGET and bits:
        return None
    if status == FL_BAD_TARGET:
        _check.raise_bad_index(target, args.classes, args.ignore_index, 0, call.where)
    if status != FL_OK:
        raise SystemError(f"softmax kernel: {fl_status_name(<fl_status>status).decode()}")
    if hessian:
        return out, curvature
    if value is None:
        value = args.value
    if made is not None:
        value = value, made
    return (value, out) if gradient else value
