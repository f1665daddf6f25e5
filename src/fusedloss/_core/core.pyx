# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""Call the kernels on arrays: buffers become pointers, strides and dtype codes.

Every check here is a comparison. When one fails, `fusedloss._check` reports invalid arguments, or
converts valid but unusual ones. `run` has the only parallel loop.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_FillInfo, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.math cimport INFINITY as inf
from libc.stdint cimport SIZE_MAX, int32_t, int64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import os
import sys
import threading

import numpy

from fusedloss import _check

cdef extern from "fusedloss.h" nogil:
    enum: FL_MAX_DIMS, FL_MAX_OPERANDS, FL_ROW_OPERANDS
    enum: FL_MAX_PARAMETERS, FL_MAX_PAIR_PARAMETERS
    enum: FL_MARGIN_PARAMETERS
    ctypedef enum fl_status:
        FL_OK, FL_BAD_ARGUMENT, FL_BAD_DTYPE, FL_BAD_TARGET, FL_BAD_VALUE
    ctypedef enum fl_dtype:
        FL_NO_DTYPE, FL_FLOAT16, FL_BFLOAT16, FL_FLOAT32, FL_FLOAT64
        FL_INT8, FL_INT16, FL_INT32, FL_INT64, FL_UINT8, FL_UINT16, FL_UINT32, FL_UINT64
    ctypedef enum fl_reduction:
        FL_NONE, FL_MEAN, FL_SUM
    ctypedef enum fl_softmax_kind:
        FL_INDEX_TARGET, FL_PROBABILITY_TARGET, FL_LOGSUMEXP, FL_LOG_SOFTMAX, FL_ENTROPY
        FL_TEACHER_DIVERGENCE, FL_TEACHER_TARGET
    ctypedef enum fl_prediction:
        FL_LOGITS, FL_LOG_PROBABILITIES, FL_PROBABILITIES
    const char *fl_status_name(fl_status status)

    ctypedef struct fl_input:
        const void *data
        fl_dtype dtype
        int64_t strides[FL_MAX_DIMS]
        int64_t class_stride

    ctypedef struct fl_output:
        void *data
        fl_dtype dtype
        int64_t strides[FL_MAX_DIMS]
        int64_t class_stride

    ctypedef struct fl_softmax_args:
        fl_input logits, target
        const void *class_weight
        fl_input sample_weight, where, grad_output
        int32_t ndim
        int64_t shape[FL_MAX_DIMS]
        int64_t classes
        fl_softmax_kind kind
        fl_prediction prediction
        fl_reduction reduction
        int32_t mean_of_positions
        int64_t ignore_index
        double label_smoothing, focusing, temperature, softcap, z_loss, entropy_bonus
        double grad_output_value
        fl_output loss, gradient, hessian, lse, entropy, accuracy, log_prob
        double value

    ctypedef struct fl_pointwise_args:
        int32_t loss
        fl_input operands[FL_MAX_OPERANDS]
        fl_input weight, where, grad_output
        int32_t ndim
        int64_t shape[FL_MAX_DIMS]
        double parameters[FL_MAX_PARAMETERS]
        fl_reduction reduction
        int32_t weighted_mean, check_first
        double divisor, grad_output_value
        fl_output loss_values
        fl_output gradients[FL_MAX_OPERANDS]
        fl_output hessian
        double value

    ctypedef struct fl_rowwise_args:
        int32_t loss
        fl_input operands[FL_ROW_OPERANDS]
        fl_input target
        const void *class_weight
        fl_input sample_weight, where, grad_output
        int32_t ndim
        int64_t shape[FL_MAX_DIMS]
        int64_t classes
        double parameters[FL_MAX_PARAMETERS]
        int32_t label_rows
        fl_reduction reduction
        double grad_output_value
        fl_output loss_values
        fl_output gradients[FL_ROW_OPERANDS]
        double value

    ctypedef struct fl_margin:
        int32_t kind
        double parameters[FL_MARGIN_PARAMETERS]
        double scale, annealing, filter, temperature
        int64_t centers
        int32_t keep_norm, keep_weight_norm, detached

    ctypedef struct fl_row_sums:
        double max

    ctypedef struct fl_shard:
        int64_t classes
        fl_row_sums *sums
        const fl_row_sums *sums_of_all
        const double *target_cosines

    ctypedef struct fl_linear_args:
        fl_input input, weight, bias
        int64_t features
        size_t workspace
        int32_t bfloat16_parts
        fl_margin margin
        fl_shard shard
        double filter_eps
        fl_input logits_gradient
        int32_t accumulate
        fl_softmax_args softmax
        fl_output input_gradient, weight_gradient, bias_gradient, logits

    ctypedef enum fl_distance:
        FL_DOT_PRODUCT, FL_COSINE_DISTANCE, FL_EUCLIDEAN, FL_SQUARED_EUCLIDEAN, FL_LP, FL_SNR

    ctypedef struct fl_pair_list:
        const int64_t *starts
        const int32_t *at

    ctypedef struct fl_pairwise_args:
        int32_t loss
        fl_input embeddings, reference, labels, reference_labels
        fl_input sample_weight, loss_weight, anchor_parameters, where, grad_output
        fl_pair_list positive, negative
        int64_t rows, columns, features, longest
        size_t workspace
        double parameters[FL_MAX_PAIR_PARAMETERS]
        fl_distance distance
        double p, power
        int32_t opposite, normalize
        fl_reduction reduction
        int32_t nonzero, any_counts
        double grad_output_value
        fl_output loss_values, gradient, reference_gradient
        double value
        double slopes[FL_MAX_PAIR_PARAMETERS]
        double *anchor_slopes
    ctypedef enum fl_activation:
        pass
    ctypedef struct fl_segmentation_args:
        fl_input logits, target
        int32_t soft_target
        fl_input sample_weight
        const double *class_weight
        const double *slopes
        double entropy_slope
        int32_t ndim
        int64_t shape[FL_MAX_DIMS]
        int64_t classes
        fl_activation activation
        int64_t ignore_index
        int32_t skips_labels, entropy
        double label_smoothing
        int32_t hinge, together
        int64_t first_class
        double *sums
        double *losses
        fl_output errors, weights, gradient

    ctypedef struct fl_ctc_args:
        fl_input log_probs
        const int64_t *labels
        const int64_t *first_labels
        const int64_t *input_lengths
        const int64_t *target_lengths
        const double *sample_weight
        fl_input grad_output
        int64_t frames, sequences, classes
        int64_t blank
        int32_t zero_infinity
        fl_reduction reduction
        double grad_output_value
        fl_output loss_values, gradient
        double value

    ctypedef struct fl_partial:
        fl_status status
        int (*stops)() noexcept nogil

    ctypedef fl_status (*fl_task)(const void *, int64_t, void *, fl_partial *) noexcept nogil
    ctypedef fl_status (*fl_combine)(void *, const fl_partial *, int64_t) noexcept nogil

    ctypedef struct fl_stage:
        fl_task task
        int64_t tasks
        fl_combine combine

    ctypedef struct fl_program:
        int32_t stages
        fl_stage stage[8]
        size_t workspace, shared
        char **shared_at
        double work

    fl_status fl_softmax_program(fl_softmax_args *args, fl_program *program)
    int32_t fl_pointwise_loss(const char *name)
    fl_status fl_pointwise_program(fl_pointwise_args *args, fl_program *program)
    int32_t fl_rowwise_loss(const char *name)
    fl_status fl_rowwise_program(fl_rowwise_args *args, fl_program *program)
    fl_status fl_linear_program(fl_linear_args *args, fl_program *program)
    int32_t fl_pairwise_loss(const char *name)
    int32_t fl_margin_kind(const char *name)
    int32_t fl_margin_bends_others(int32_t kind)
    fl_status fl_pairwise_program(fl_pairwise_args *args, fl_program *program)
    int32_t fl_next_stage(const fl_program *program, void *args, int32_t stage)
    fl_status fl_segmentation_program(fl_segmentation_args *args, fl_program *program)
    fl_status fl_lovasz_program(fl_segmentation_args *args, fl_program *program)
    fl_status fl_ctc_program(fl_ctc_args *args, fl_program *program)
    fl_status fl_run(const fl_program *program, void *args, void *workspace)
    size_t fl_workspace_size(const fl_program *program)
    const char *fl_isa_name(int index)
    bint fl_isa_available(int index)
    int fl_isa_current()
    fl_status fl_isa_select(int index)

cdef extern from "cpu.h" nogil:
    void fl_cpu_init()
    const char *fl_cpu_features()
    bint fl_has_tiles()

cdef extern from "memory.h" nogil:
    void *fl_allocate(size_t size)

cdef extern from "buffers.h" nogil:
    ctypedef struct fl_buffer:
        void *memory
        size_t size
    ctypedef struct fl_buffer_counts:
        size_t in_use, idle, limit
        int64_t reused, made
    void fl_buffers_init()
    size_t fl_buffers_from()
    void fl_buffers_set_from(size_t size)
    fl_buffer fl_buffer_take(size_t size)
    void fl_buffer_give(fl_buffer buffer)
    void fl_buffers_empty()
    fl_buffer_counts fl_buffers_count()

cdef extern from "recording.h" nogil:
    ctypedef enum fl_family:
        FL_SOFTMAX, FL_POINTWISE, FL_ROWWISE, FL_LINEAR, FL_PAIRWISE
    ctypedef struct fl_recording:
        void *args
        size_t size
        int threads, calls
    fl_recording *fl_recorder()
    void fl_recorder_set(fl_recording *recording)
    size_t fl_args_size(fl_family family)
    const size_t *fl_args_pointers(fl_family family)
    int64_t fl_recording_version()

cdef extern from "xla.h" nogil:
    void *fl_xla_handler(void *call_frame)
    int fl_xla_version()

cdef extern from "threads.h" nogil:
    void fl_threads_init()
    const char *fl_threads_problem()
    void fl_threads_set(int n)
    int fl_threads_push(int n)
    int fl_threads_get()
    const char *fl_threads_source()
    int fl_threads_enter(int requested, double work, int64_t tasks)
    void fl_threads_leave()
    int fl_openmp_version()

cdef extern from "job.h" nogil:
    int fl_job_stops() noexcept
    void fl_job_polls_from_now() noexcept

cdef extern from "engine.h" nogil:
    ctypedef void (*fl_body)(void *, int64_t, int) noexcept nogil
    ctypedef int (*fl_poll)() noexcept nogil
    ctypedef struct fl_engine_counts:
        int64_t serial, pool, retreats, tasks, tasks_by_others
    int fl_parallel(int64_t tasks, int threads, fl_body body, void *context, fl_poll poll)
    fl_engine_counts fl_engine_count()
    unsigned fl_engine_forks()
    void fl_engine_init()

cdef extern from *:
    """
    #if defined(__clang__)
    #define FL_COMPILER "Clang " __clang_version__
    #elif defined(__GNUC__)
    #define FL_COMPILER "GCC " __VERSION__
    #else
    #define FL_COMPILER "unknown"
    #endif
    """
    const char *FL_COMPILER

cdef extern from *:
    """
    static int raise_what_is_set(void) { return -1; }
    """
    int raise_what_is_set() except -1
    int PyErr_CheckSignals()
    void PyErr_SetString(object kind, const char *message)
    unsigned long PyThread_get_thread_ident()

# The only thread that runs signal handlers. In a forked child it is the thread that forked.
cdef unsigned long main_thread = threading.main_thread().ident


def _forked():
    global main_thread
    main_thread = threading.main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


# ---- The parallel loop ------------------------------------------------------------------------

ctypedef struct Stage:
    const fl_stage *stage
    const void *args
    char *workspace
    size_t workspace_size
    fl_partial *partials
    int (*stops)() noexcept nogil


cdef void run_task(void *context, int64_t task, int participant) noexcept nogil:
    """Run one task in the workspace of its thread."""
    cdef Stage *each = <Stage *>context
    each.partials[task].stops = each.stops
    each.partials[task].status = each.stage.task(
        each.args, task, each.workspace + <size_t>participant * each.workspace_size,
        &each.partials[task],
    )


# Returned by `run_stages`, besides the codes of fl_status, if a signal handler raised.
cdef int INTERRUPTED = -1


cdef int run_stages(const fl_program *program, void *args, int threads, char *workspace,
                    fl_poll poll) noexcept nogil:
    """Run the stages in order; threads share the tasks of each stage."""
    cdef char *shared = workspace + <size_t>threads * program.workspace
    cdef Stage each
    cdef int status
    cdef int32_t s = 0
    each.args, each.workspace, each.workspace_size = args, workspace, program.workspace
    each.partials = <fl_partial *>(shared + program.shared)
    each.stops = NULL
    if poll != NULL:
        each.stops = fl_job_stops
    if program.shared:
        program.shared_at[0] = shared
    while s < program.stages:
        each.stage = &program.stage[s]
        if fl_parallel(each.stage.tasks, threads, run_task, &each, poll):
            return INTERRUPTED
        status = each.stage.combine(args, each.partials, each.stage.tasks)
        if status != FL_OK:
            return status
        s = fl_next_stage(program, args, s)
    return FL_OK


cdef int check_signals() noexcept with gil:
    """Run the handlers of pending signals; return 1, with the exception set, if one raised."""
    cdef unsigned forks = fl_engine_forks()
    if PyErr_CheckSignals() != 0:
        return 1
    if fl_engine_forks() != forks:
        PyErr_SetString(RuntimeError, "a signal handler forked during a call: no result in the child")
        return 1
    return 0


# Smaller calls keep the GIL: releasing and taking it again would cost as much as the call.
cdef double GIL_WORK = 8192

# Larger calls may take so long that a user presses Ctrl-C.
cdef double SIGNAL_WORK = 1000000


cdef int run(const fl_program *program, void *args, int requested) except -1:
    """Run a program on as many threads as its work justifies; return its status."""
    cdef fl_recording *recording = fl_recorder()
    cdef int threads, status
    cdef int64_t tasks = 0
    cdef int32_t s
    cdef size_t size
    cdef char *workspace
    cdef fl_poll poll = NULL
    if recording != NULL:
        memcpy(recording.args, args, recording.size)
        recording.threads = requested
        recording.calls += 1
        return FL_OK
    for s in range(program.stages):
        tasks = max(tasks, program.stage[s].tasks)
    threads = fl_threads_enter(requested, program.work, tasks)
    size = fl_workspace_size(program) + <size_t>(threads - 1) * program.workspace
    workspace = <char *>fl_allocate(size)
    if workspace == NULL:
        fl_threads_leave()
        raise MemoryError(f"cannot allocate a workspace of {size} bytes")
    if program.work > SIGNAL_WORK and PyThread_get_thread_ident() == main_thread:
        poll = check_signals
        fl_job_polls_from_now()
    if program.work > GIL_WORK:
        with nogil:
            status = run_stages(program, args, threads, workspace, poll)
    else:
        status = run_stages(program, args, threads, workspace, poll)
    fl_threads_leave()
    free(workspace)
    if status == INTERRUPTED:
        raise_what_is_set()
    return status


# ---- Arrays -----------------------------------------------------------------------------------

cdef object ndarray = numpy.ndarray
cdef object uint8 = numpy.uint8
cdef object uint16 = numpy.uint16
cdef object bool_dtype = numpy.dtype(bool)
cdef object float32 = numpy.float32
cdef object float64 = numpy.float64


# A first character of a format that means native byte order.
cdef char NATIVE_ORDER = ord("<") if sys.byteorder == "little" else ord(">")


cdef fl_dtype dtype_of(const Py_buffer *view) noexcept:
    """The dtype code of a buffer in native byte order; FL_NO_DTYPE for any other."""
    cdef const char *letter = view.format
    if letter[0] in (b"@", b"=") or letter[0] == NATIVE_ORDER:
        letter += 1
    if letter[0] == 0 or letter[1] != 0:
        return FL_NO_DTYPE
    if letter[0] == b"e":
        return FL_FLOAT16
    if letter[0] == b"f":
        return FL_FLOAT32
    if letter[0] == b"d":
        return FL_FLOAT64
    if letter[0] in (b"b", b"h", b"i", b"l", b"q"):
        if view.itemsize == 8:
            return FL_INT64
        return FL_INT32 if view.itemsize == 4 else FL_INT16 if view.itemsize == 2 else FL_INT8
    if letter[0] in (b"B", b"H", b"I", b"L", b"Q"):
        if view.itemsize == 8:
            return FL_UINT64
        return FL_UINT32 if view.itemsize == 4 else FL_UINT16 if view.itemsize == 2 else FL_UINT8
    return FL_NO_DTYPE


cdef struct Array:
    Py_buffer view
    bint held
    bint tensors  # `take` takes them: only the torch front hands tensors on
    fl_dtype dtype
    Py_ssize_t shape[FL_MAX_DIMS]  # of a tensor, and the view's strides
    Py_ssize_t strides[FL_MAX_DIMS]


include "tensors.pxi"


cdef bint is_bfloat16(object x) noexcept:
    try:
        return x.dtype.name == "bfloat16"
    except Exception:
        return False


cdef void clear(Array *each, size_t count, bint tensors) noexcept:
    """Reset arrays to hold nothing; `tensors`: whether they may hold tensors too."""
    cdef size_t i
    for i in range(count):
        each[i].held = False
        each[i].tensors = tensors


cdef bint take(object x, Array *array) noexcept:
    """Hold the buffer of a plain, aligned ndarray of native dtype, or a tensor's memory.

    False if it is anything else.
    """
    cdef Py_ssize_t d
    if type(x) is not ndarray:
        return array.tensors and is_tensor(x) and take_tensor(x, array)
    try:
        PyObject_GetBuffer(x, &array.view, PyBUF_STRIDES | PyBUF_FORMAT)
        array.dtype = dtype_of(&array.view)
    except Exception:
        if not is_bfloat16(x):
            return False
        # A dtype from outside NumPy exports no buffer; its bits do.
        try:
            PyObject_GetBuffer(x.view(uint16), &array.view, PyBUF_STRIDES | PyBUF_FORMAT)
        except Exception:
            return False
        array.dtype = FL_BFLOAT16
    array.held = True
    if array.dtype != FL_NO_DTYPE and array.view.len == 0:
        return True  # nothing of it is read
    if array.dtype == FL_NO_DTYPE or <uintptr_t>array.view.buf % <size_t>array.view.itemsize:
        return False
    for d in range(array.view.ndim):
        if array.view.strides[d] % array.view.itemsize:
            return False
    return True


cdef bint take_real(object x, Array *array, bint bits) noexcept:
    """`take` of a float dtype; bits says that uint16 is the bits of bfloat16."""
    if not take(x, array):
        return False
    if bits and array.dtype == FL_UINT16:
        array.dtype = FL_BFLOAT16
    return is_real(array.dtype)


cdef bint take_operand(object x, Array *array, bint bits) noexcept:
    """`take` of numbers of any dtype; bits says that uint16 is the bits of bfloat16."""
    if not take(x, array):
        return False
    if bits and array.dtype == FL_UINT16:
        array.dtype = FL_BFLOAT16
    return True


cdef bint take_mask(object x, Array *array) noexcept:
    """`take` of an array or a tensor of bools."""
    try:
        if type(x) is ndarray:
            return x.dtype == bool_dtype and take(x.view(uint8), array)
        return is_tensor(x) and x.dtype is tensor_bool and take(x.view(tensor_uint8), array)
    except Exception:
        return False


cdef bint is_real(fl_dtype dtype) noexcept:
    return FL_FLOAT16 <= dtype <= FL_FLOAT64


cdef void release(Array *array) noexcept:
    if array.held:
        PyBuffer_Release(&array.view)
        array.held = False


cdef bint same_shape(const Py_buffer *a, const Py_buffer *b) noexcept:
    cdef Py_ssize_t d
    if a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.shape[d] != b.shape[d]:
            return False
    return True


cdef bint same_strides(const Py_buffer *a, const Py_buffer *b) noexcept:
    cdef Py_ssize_t d
    for d in range(a.ndim):
        if a.strides[d] != b.strides[d] and a.shape[d] > 1:
            return False
    return True


cdef bint shape_without(const Py_buffer *small, const Py_buffer *large, Py_ssize_t axis) noexcept:
    """True if removing one axis of large gives the shape of small."""
    cdef Py_ssize_t d
    if small.ndim != large.ndim - 1:
        return False
    for d in range(small.ndim):
        if small.shape[d] != large.shape[d + (d >= axis)]:
            return False
    return True


cdef void extent(const Py_buffer *view, uintptr_t *first, uintptr_t *end) noexcept:
    """The range of addresses that holds a buffer's elements."""
    cdef Py_ssize_t d, reach
    first[0] = <uintptr_t>view.buf
    end[0] = first[0] + <uintptr_t>view.itemsize
    for d in range(view.ndim):
        if view.shape[d] == 0:
            end[0] = first[0]
            return
        reach = view.strides[d] * (view.shape[d] - 1)
        if reach < 0:
            first[0] += <uintptr_t>reach
        else:
            end[0] += <uintptr_t>reach


cdef bint apart(const Py_buffer *a, const Py_buffer *b) noexcept:
    """True if the address ranges of two buffers do not overlap."""
    cdef uintptr_t a_first, a_end, b_first, b_end
    extent(a, &a_first, &a_end)
    extent(b, &b_first, &b_end)
    return a_end <= b_first or b_end <= a_first


cdef bint overlaps_itself(const Py_buffer *view) noexcept:
    """True if elements may share memory: a stride is less than the span of smaller ones."""
    cdef Py_ssize_t d, e, reach, stride, other
    for d in range(view.ndim):
        if view.shape[d] == 0:
            return False
    for d in range(view.ndim):
        stride = view.strides[d] if view.strides[d] >= 0 else -view.strides[d]
        reach = view.itemsize
        for e in range(view.ndim):
            other = view.strides[e] if view.strides[e] >= 0 else -view.strides[e]
            if e != d and view.shape[e] > 1 and (other < stride or (other == stride and e < d)):
                reach += other * (view.shape[e] - 1)
        if view.shape[d] > 1 and stride < reach:
            return True
    return False


include "buffers.pxi"


cdef void set_input(fl_input *to, const Array *array, Py_ssize_t axis) noexcept:
    """Describe an array to the kernels; axis, the class axis, is -1 if it has none.

    Of more dimensions than they take only the first are described.
    """
    cdef Py_ssize_t d, at = 0
    to.data = array.view.buf
    to.dtype = array.dtype
    for d in range(array.view.ndim):
        if d == axis:
            to.class_stride = array.view.strides[d] // array.view.itemsize
        elif at < FL_MAX_DIMS:
            to.strides[at] = array.view.strides[d] // array.view.itemsize
            at += 1


cdef void set_output(fl_output *to, const Array *array, Py_ssize_t axis) noexcept:
    set_input(<fl_input *>to, array, axis)


cdef bint keeps_apart(
    const Array *operands, const Array *gradients, Py_ssize_t number, const Array *others,
    Py_ssize_t count, Py_ssize_t k,
) noexcept:
    """True if the gradient of operand k overlaps no other array; it may be operand k itself.

    There are `number` operands, and `count` others.
    """
    cdef const Array *g = &gradients[k]
    cdef const Array *other
    cdef Py_ssize_t i
    for i in range(number):
        other = &operands[i]
        if other.held and not apart(&g.view, &other.view) and not (
            i == k and g.view.buf == other.view.buf and g.dtype == other.dtype
            and same_strides(&g.view, &other.view)
        ):
            return False
        other = &gradients[i]
        if i != k and other.held and not apart(&g.view, &other.view):
            return False
    for i in range(count):
        if others[i].held and not apart(&g.view, &others[i].view):
            return False
    return True


cdef bint is_derivative(fl_dtype dtype, fl_dtype of, bint with_hessian) noexcept:
    """Whether kernels write derivatives of that dtype: the prediction's, or what they compute in.

    Beside a Hessian float32 it is for float64, too.
    """
    return dtype == of or dtype == FL_FLOAT32 and (with_hessian or of != FL_FLOAT64)


cdef object take_hessian(
    object out, object of, Array *array, const Array *prediction, const Array *each, size_t count,
    fl_output *output, Py_ssize_t axis, bint bits,
):
    """The array of the Hessian, described to the kernels; None if it is not so.

    It is new if `out` is None, and may not overlap any of `each`.
    """
    cdef size_t i
    if out is None:
        out = like(of, &prediction.view)
        if not take_real(out, array, bits):
            return None
    else:
        if not take_real(out, array, bits) or array.view.readonly:
            return None
        if not is_derivative(array.dtype, prediction.dtype, True):
            return None
        if not same_shape(&array.view, &prediction.view) or overlaps_itself(&array.view):
            return None
        for i in range(count):
            if each[i].held and &each[i] != array and not apart(&array.view, &each[i].view):
                return None
    set_output(output, array, axis)
    return out


cdef list take_gradients(
    object gradient, object out, tuple of, const Array *operands, Array *gradients,
    const Array *others, Py_ssize_t count, fl_output *outputs, Py_ssize_t axis, bint bits,
    bint with_hessian=False,
):
    """Describe the arrays of the wanted gradients to the kernels; None if one is not plain.

    gradient: True for that by the first operand, else a tuple of operands' numbers, and then out is
    a tuple, too; it may not overlap the operands, nor the `count` other arrays.
    """
    cdef const Array *x = &operands[0]
    cdef Array *g
    cdef bint single = gradient is True
    cdef tuple wanted = (0,) if single else gradient
    cdef list made = [out] if single else [None] * len(wanted) if out is None else list(out)
    cdef Py_ssize_t i, k
    for i in range(len(wanted)):
        k = wanted[i]
        g = &gradients[k]
        if not same_shape(&operands[k].view, &x.view):
            return None
        if made[i] is None:
            if k and operands[k].dtype != x.dtype:
                return None
            made[i] = like(of[k], &operands[k].view)
            if not take_real(made[i], g, bits):
                return None
        else:
            if not take_real(made[i], g, bits) or g.view.readonly:
                return None
            if not is_derivative(g.dtype, x.dtype, with_hessian):
                return None
            if not same_shape(&g.view, &x.view) or overlaps_itself(&g.view):
                return None
            if not keeps_apart(operands, gradients, len(of), others, count, k):
                return None
        set_output(&outputs[k], g, axis)
    return made


cdef inline int64_t as_int64(object x, bint *ok) noexcept:
    if type(x) is not int:
        ok[0] = False
        return 0
    try:
        return x
    except OverflowError:
        ok[0] = False
        return 0


cdef inline Py_ssize_t as_axis(object axis, Py_ssize_t ndim, bint *ok) noexcept:
    """The class axis, counted from 0: the second by default, or the only one."""
    cdef int64_t position
    if axis is None:
        position = 1 if ndim > 1 else 0
    else:
        position = as_int64(axis, ok)
        if position < 0:
            position += ndim
    ok[0] = ok[0] and 0 <= position < ndim
    return position if ok[0] else 0


cdef bint take_class_weight(
    object weight, Array *array, fl_dtype real, Py_ssize_t classes
) noexcept:
    """`take` of contiguous weights of the compute type, one per class."""
    if not take(weight, array) or array.dtype != real or array.view.ndim != 1:
        return False
    return array.view.shape[0] == classes and array.view.strides[0] == array.view.itemsize


# ---- Losses -----------------------------------------------------------------------------------

cdef dict REDUCTIONS = {"none": FL_NONE, "mean": FL_MEAN, "sum": FL_SUM}
cdef dict LOSS_NUMBERS = {}


cdef int32_t loss_number(str name, int32_t (*number_of)(const char *) noexcept nogil) except -1:
    """Return the number by which the kernels of a family know a loss. Names are unique."""
    number = LOSS_NUMBERS.get(name)
    if number is None:
        number = number_of(name.encode())
        if number < 0:
            raise SystemError(f"no loss {name!r}")
        LOSS_NUMBERS[name] = number
    return number



include "records.pxi"
include "softmax.pxi"
include "pointwise.pxi"
include "rowwise.pxi"
include "linear.pxi"
include "pairwise.pxi"
include "segmentation.pxi"
include "ctc.pxi"
include "recording.pxi"
include "calls.pxi"


# ---- The machine ------------------------------------------------------------------------------

def isa_names():
    """Return the instruction sets compiled in, best first."""
    names = []
    while fl_isa_name(<int>len(names)) != NULL:
        names.append(fl_isa_name(<int>len(names)).decode())
    return names


def isa_available(name):
    """Return True if this machine has the named instruction set."""
    return name in isa_names() and fl_isa_available(<int>isa_names().index(name))


def current_isa():
    """Return the name of the instruction set in use."""
    return fl_isa_name(fl_isa_current()).decode()


def select_isa(name):
    """Use the named instruction set from now on."""
    names = isa_names()
    if name not in names or fl_isa_select(<int>names.index(name)) != FL_OK:
        choices = ", ".join(repr(n) for n in names if isa_available(n))
        raise ValueError(f"instruction set {name!r} is not available here; choose from {choices}")


def isa_source():
    """Return what chose the instruction set at import."""
    wanted = os.environ.get("FUSEDLOSS_ISA")
    return "FUSEDLOSS_ISA" if wanted and isa_available(wanted) else "best available"


def cpu_features():
    """Return the CPU features found, separated by spaces."""
    return fl_cpu_features().decode()


def compiler():
    """Return the name and version of the compiler."""
    return FL_COMPILER.decode()


def openmp_version():
    """Return the version of OpenMP compiled against, as its date; 0 for a serial build."""
    return fl_openmp_version()


def set_num_threads(int n):
    """Set the number of threads of the process; 0 restores the default."""
    fl_threads_set(n)


def get_num_threads():
    """Return the number of threads that a call made here may use."""
    return fl_threads_get()


def push_num_threads(int n):
    """Set the number of threads for this thread; return the previous number, 0 if none."""
    return fl_threads_push(n)


def num_threads_source():
    """Return what decided the number of threads."""
    return fl_threads_source().decode()


def engine_counts():
    """Return counts for this process: loops, loops that the caller ran alone, and tasks."""
    cdef fl_engine_counts counts = fl_engine_count()
    return {
        "serial": counts.serial, "pool": counts.pool, "retreats": counts.retreats,
        "tasks": counts.tasks,
        "tasks_by_others": counts.tasks_by_others,
    }


cdef list start():
    """Choose instruction set and threads; return the errors in environment variables."""
    problems = []
    fl_cpu_init()
    if fl_isa_current() < 0:
        raise ImportError(f"fusedloss: this CPU runs none of {', '.join(isa_names())}")
    fl_threads_init()
    fl_engine_init()
    if fl_threads_problem() != NULL:
        problems.append(fl_threads_problem().decode(errors="replace"))
    keep = os.environ.get("FUSEDLOSS_CACHE") or "1"
    if keep not in ("0", "1"):
        problems.append(f"FUSEDLOSS_CACHE is {keep!r}: expected 0 or 1")
    fl_buffers_init()
    if keep == "0":
        fl_buffers_set_from(SIZE_MAX)
    name = os.environ.get("FUSEDLOSS_ISA")
    if name:
        try:
            select_isa(name)
        except ValueError as error:
            problems.append(f"FUSEDLOSS_ISA: {error}")
    return problems


ENVIRONMENT_PROBLEMS = start()

