# The losses of images: what core.pyx includes for them.

cdef struct SegmentationArrays:
    Array logits, target, slopes, output


def segmentation_sums(logits, target, int64_t ignore_index, num_threads, bint bits=False):
    """Return an array with a row of sums for each image: of 3 for each class, and of 2.

    The arrays are plain; None where one is not. IndexError for a class index out of range.
    """
    return segmentation(logits, target, ignore_index, num_threads, None, 0, None, bits)


def segmentation_gradient(
    logits, target, int64_t ignore_index, num_threads, slopes, double entropy_slope, out,
    bint bits=False,
):
    """Write the gradient of a loss whose derivatives are (slopes, entropy_slope) to out; return it.

    slopes: contiguous float64 of shape (images, classes, 2).
    """
    return segmentation(
        logits, target, ignore_index, num_threads, slopes, entropy_slope, out, bits
    )


cdef object segmentation(
    object logits, object target, int64_t ignore_index, object num_threads, object slopes,
    double entropy_slope, object out, bint bits,
):
    cdef SegmentationArrays arrays
    cdef Array *each = <Array *>&arrays
    cdef size_t i
    clear(each, sizeof(SegmentationArrays) // sizeof(Array), False)
    try:
        return segmentation_on_arrays(
            logits, target, ignore_index, num_threads, slopes, entropy_slope, out, bits, &arrays
        )
    finally:
        for i in range(sizeof(SegmentationArrays) // sizeof(Array)):
            release(&each[i])


cdef object segmentation_on_arrays(
    object logits, object target, int64_t ignore_index, object num_threads, object slopes,
    double entropy_slope, object out, bint bits, SegmentationArrays *arrays,
):
    cdef fl_segmentation_args args
    cdef fl_program program
    cdef const Py_buffer *z = &arrays.logits.view
    cdef Py_ssize_t d
    cdef int status
    cdef int64_t threads = 0 if num_threads is None else num_threads

    memset(&args, 0, sizeof(args))
    if not take_real(logits, &arrays.logits, bits) or not 2 < z.ndim <= FL_MAX_DIMS:
        return None
    if not take(target, &arrays.target):
        return None
    args.soft_target = same_shape(&arrays.target.view, z)
    if args.soft_target and bits and arrays.target.dtype == FL_UINT16:
        arrays.target.dtype = FL_BFLOAT16
    elif not args.soft_target and not shape_without(&arrays.target.view, z, 1):
        return None
    set_input(&args.logits, &arrays.logits, 1)
    set_input(&args.target, &arrays.target, 1 if args.soft_target else -1)
    args.ignore_index = ignore_index
    args.ndim = <int32_t>z.ndim - 1
    args.shape[0] = z.shape[0]
    for d in range(2, z.ndim):
        args.shape[d - 1] = z.shape[d]
    args.classes = z.shape[1]
    if slopes is not None:
        if not take(slopes, &arrays.slopes) or not take_real(out, &arrays.output, bits):
            return None
        if not same_shape(&arrays.output.view, z):
            return None
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
    if status != FL_OK:
        return None
    status = run(&program, &args, <int>threads)
    if status == FL_BAD_TARGET:
        _check.raise_bad_index(target, args.classes, ignore_index)
    if status != FL_OK:
        raise SystemError(f"segmentation kernel: {fl_status_name(<fl_status>status).decode()}")
    return made if slopes is not None else made[: args.shape[0]]
