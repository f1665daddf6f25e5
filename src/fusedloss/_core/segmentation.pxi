# The losses of images: what core.pyx includes for them.

cdef struct SegmentationArrays:
    Array logits, target, sample_weight, class_weight, slopes, output, errors, weights


def segmentation_sums(call, bint entropy):
    """Return an array with a row of sums for each image: of 3 for each class, and of 2.

    call: `_lower.segmentation.PixelCall`. IndexError for a class index out of range.
    """
    return segmentation(call, entropy, None, 0, None, None)


def segmentation_gradient(call, slopes, double entropy_slope, out):
    """Write the gradient of a loss whose derivatives are (slopes, entropy_slope) to out; return it.

    slopes: contiguous float64 of shape (images, classes, 2).
    """
    return segmentation(call, entropy_slope != 0, slopes, entropy_slope, out, None)


def lovasz(call, bint hinge, bint together, int64_t first_class):
    """Return the Lovasz extensions, (groups, classes, 2), and their derivatives, like the logits.

    The former are losses and the weights of the classes' pixels. None for a label that is neither
    0 nor 1; IndexError for a class index out of range.
    """
    return segmentation(call, False, None, 0, None, (hinge, together, first_class))


cdef object segmentation(
    object call, bint entropy, object slopes, double entropy_slope, object out, object lovasz,
):
    cdef SegmentationArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(SegmentationArrays) // sizeof(Array), False)
    try:
        return segmentation_on_arrays(call, entropy, slopes, entropy_slope, out, lovasz, &arrays)
    finally:
        for i in range(sizeof(SegmentationArrays) // sizeof(Array)):
            release(&each[i])


cdef bint take_pixels(object call, SegmentationArrays *arrays, fl_segmentation_args *args):
    """Describe a call's arrays and options; False if it has some that the kernels do not take."""
    cdef const Py_buffer *z = &arrays.logits.view
    cdef Py_ssize_t d
    if not take_real(call.logits, &arrays.logits, False) or not 2 < z.ndim <= FL_MAX_DIMS:
        return False
    if not take(call.target, &arrays.target):
        return False
    args.soft_target = same_shape(&arrays.target.view, z)
    if not args.soft_target and not shape_without(&arrays.target.view, z, 1):
        return False
    set_input(&args.logits, &arrays.logits, 1)
    set_input(&args.target, &arrays.target, 1 if args.soft_target else -1)
    if call.sample_weight is not None:
        if not take_real(call.sample_weight, &arrays.sample_weight, False):
            return False
        if not shape_without(&arrays.sample_weight.view, z, 1):
            return False
        set_input(&args.sample_weight, &arrays.sample_weight, -1)
    if call.class_weight is not None:
        if not take(call.class_weight, &arrays.class_weight):
            return False
        args.class_weight = <const double *>arrays.class_weight.view.buf
    args.activation = <fl_activation><int>call.activation
    args.ignore_index = call.ignore_index
    args.skips_labels = call.skips
    args.label_smoothing = call.label_smoothing
    args.ndim = <int32_t>z.ndim - 1
    args.shape[0] = z.shape[0]
    for d in range(2, z.ndim):
        args.shape[d - 1] = z.shape[d]
    args.classes = z.shape[1]
    return True


cdef object segmentation_on_arrays(
    object call, bint entropy, object slopes, double entropy_slope, object out, object lovasz,
    SegmentationArrays *arrays,
):
    cdef fl_segmentation_args args
    cdef fl_program program
    cdef int status
    cdef int64_t threads = 0 if call.num_threads is None else call.num_threads

    memset(&args, 0, sizeof(args))
    if not take_pixels(call, arrays, &args):
        raise SystemError("fusedloss: arguments that passed every check were not taken")
    args.entropy = entropy
    if lovasz is not None:
        made = lovasz_places(call, lovasz, arrays, &args)
        status = fl_lovasz_program(&args, &program)
    elif slopes is not None:
        if (
            not take(slopes, &arrays.slopes) or not take_real(out, &arrays.output, False)
            or not same_shape(&arrays.output.view, &arrays.logits.view)
        ):
            raise SystemError("fusedloss: a place that passed every check was not taken")
        args.slopes = <const double *>arrays.slopes.view.buf
        args.entropy_slope = entropy_slope
        set_output(&args.gradient, &arrays.output, 1)
        status = fl_segmentation_program(&args, &program)
        made = out
    else:
        status = fl_segmentation_program(&args, &program)
        if status == FL_OK:
            made = empty((program.stage[0].tasks, 3 * args.classes + 2), float64)
            take(made, &arrays.output)
            args.sums = <double *>arrays.output.view.buf
    if status == FL_OK:
        status = run(&program, &args, <int>threads)
    if status == FL_BAD_TARGET:
        if args.soft_target:
            return None
        _check.raise_bad_index(call.target, args.classes, args.ignore_index)
    if status != FL_OK:
        raise SystemError(f"segmentation kernel: {fl_status_name(<fl_status>status).decode()}")
    return made if slopes is not None or lovasz is not None else made[: args.shape[0]]


cdef tuple lovasz_places(
    object call, object lovasz, SegmentationArrays *arrays, fl_segmentation_args *args
):
    """Make the results of a Lovasz extension, and what the errors are sorted in."""
    args.hinge, args.together, args.first_class = lovasz
    z = call.logits
    wide = numpy.dtype(float64 if z.dtype == float64 else float32)
    lead = z.shape[1], z.shape[0], *z.shape[2:]
    losses = empty((1 if args.together else z.shape[0], z.shape[1], 2), float64)
    slopes = new_array(lead, wide).swapaxes(0, 1)
    take(losses, &arrays.output)
    take(slopes, &arrays.errors)
    args.losses = <double *>arrays.output.view.buf
    set_output(&args.errors, &arrays.errors, 1)
    if call.sample_weight is not None:
        take(empty(lead[1:], wide), &arrays.weights)
        set_output(&args.weights, &arrays.weights, -1)
    return losses, slopes
