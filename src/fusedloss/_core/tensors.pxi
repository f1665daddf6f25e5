# Tensors of torch as arrays: what core.pyx includes for them.
#
# torch exports DLPack's table of C functions, one of which describes a tensor in tens of
# nanoseconds. The structs are declared here by their layout, so that nothing of torch is needed to
# build. Where there is no such table, a tensor's memory comes as an ndarray.

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "Python.h":
    void PyErr_Clear()

cdef extern from *:
    """
    typedef struct {
        void *data;
        int32_t device_type, device_id, ndim;
        uint8_t code, bits;
        uint16_t lanes;
        int64_t *shape, *strides; /* strides count elements */
        uint64_t byte_offset;
    } fl_dl_tensor;

    typedef struct fl_dl_exchange {
        uint32_t major, minor;
        struct fl_dl_exchange *previous;
        int (*allocate)(void), (*own)(void), (*give)(void);
        int (*describe)(void *object, fl_dl_tensor *to);
        int (*stream)(void);
    } fl_dl_exchange;
    """
    ctypedef struct fl_dl_tensor:
        void *data
        int32_t device_type, device_id, ndim
        uint8_t code, bits
        uint16_t lanes
        int64_t *shape
        int64_t *strides
        uint64_t byte_offset

    ctypedef struct fl_dl_exchange:
        uint32_t major
        int (*describe)(void *object, fl_dl_tensor *to)

cdef enum:
    DL_CPU = 1
    DL_INT = 0
    DL_UINT = 1
    DL_FLOAT = 2
    DL_BFLOAT = 4

cdef const fl_dl_exchange *exchange = NULL
cdef object tensor_type = None
cdef object parameter_type = None
cdef object tensor_empty = None
cdef object tensor_empty_like = None
cdef object tensor_float32 = None
cdef object tensor_float64 = None
cdef dict numbers = {}  # by dtype: a tensor of one number, for new ones to be like

# What is left to Python.
cdef object tensor_as_array = None  # bfloat16 as its bits
cdef object tensor_of_array = None
cdef object tensor_of_number = None
cdef object tensor_large_like = None
cdef object tensor_bool = None
cdef object tensor_uint8 = None


def use_exchange(table):
    """Read tensors by a capsule of DLPack's C functions from now on, or as arrays.

    Return whether the functions are used: where there are none, or of another version, they are not.
    """
    global exchange
    exchange = NULL
    if table is not None and PyCapsule_IsValid(table, "dlpack_exchange_api"):
        exchange = <const fl_dl_exchange *>PyCapsule_GetPointer(table, "dlpack_exchange_api")
        if exchange.major != 1:
            exchange = NULL
    return exchange != NULL


def use_tensors(torch, as_array, of_array, of_number, large_like):
    """Take torch's tensors and parameters from now on, and nothing that is derived from them."""
    global tensor_type, parameter_type, tensor_empty, tensor_empty_like, tensor_float32
    global tensor_float64, tensor_as_array, tensor_of_array, tensor_of_number, tensor_large_like
    global tensor_bool, tensor_uint8
    tensor_type, parameter_type = torch.Tensor, torch.nn.Parameter
    tensor_empty, tensor_empty_like = torch.empty, torch.empty_like
    tensor_float32, tensor_float64 = torch.float32, torch.float64
    tensor_bool, tensor_uint8 = torch.bool, torch.uint8
    tensor_as_array, tensor_of_array = as_array, of_array
    tensor_of_number, tensor_large_like = of_number, large_like
    for dtype in (tensor_float32, tensor_float64):
        numbers[dtype] = torch.empty((), dtype=dtype, device="cpu")


cdef inline bint is_tensor(object x) noexcept:
    return type(x) is tensor_type or type(x) is parameter_type


cdef fl_dtype dtype_of_tensor(const fl_dl_tensor *tensor) noexcept:
    """The dtype code of a tensor's elements; FL_NO_DTYPE for bool, uint16 and what is no number.

    Elsewhere in the torch front uint16 are the bits of bfloat16.
    """
    if tensor.lanes != 1:
        return FL_NO_DTYPE
    if tensor.code == DL_FLOAT:
        if tensor.bits == 64:
            return FL_FLOAT64
        return FL_FLOAT32 if tensor.bits == 32 else FL_FLOAT16 if tensor.bits == 16 else FL_NO_DTYPE
    if tensor.code == DL_BFLOAT:
        return FL_BFLOAT16 if tensor.bits == 16 else FL_NO_DTYPE
    if tensor.code == DL_INT:
        if tensor.bits == 64:
            return FL_INT64
        if tensor.bits == 32:
            return FL_INT32
        return FL_INT16 if tensor.bits == 16 else FL_INT8 if tensor.bits == 8 else FL_NO_DTYPE
    if tensor.code == DL_UINT:
        if tensor.bits == 64:
            return FL_UINT64
        return FL_UINT32 if tensor.bits == 32 else FL_UINT8 if tensor.bits == 8 else FL_NO_DTYPE
    return FL_NO_DTYPE


cdef bint take_tensor(object x, Array *array) noexcept:
    """`take` of a tensor in this machine's memory. What is copied here outlives changes of it."""
    cdef fl_dl_tensor tensor
    cdef Py_buffer *view = &array.view
    cdef Py_ssize_t d
    try:
        # A negative view holds the numbers with the other sign, and DLPack does not say so.
        if x.is_neg():
            return False
        if exchange == NULL:
            return take_array_of_tensor(x, array)
    except Exception:
        return False
    if exchange.describe(<void *>x, &tensor) != 0:
        PyErr_Clear()
        return False
    array.dtype = dtype_of_tensor(&tensor)
    if tensor.device_type != DL_CPU or tensor.ndim > FL_MAX_DIMS or array.dtype == FL_NO_DTYPE:
        return False
    memset(view, 0, sizeof(Py_buffer))
    view.itemsize = tensor.bits // 8
    view.ndim = tensor.ndim
    view.readonly = False
    view.len = view.itemsize
    view.shape = array.shape
    view.strides = array.strides
    for d in range(tensor.ndim):
        array.shape[d] = tensor.shape[d]
        array.strides[d] = tensor.strides[d] * view.itemsize
        view.len *= tensor.shape[d]
    if tensor.data == NULL and view.len:
        return False  # a tensor of zeros, say, that has no memory
    view.buf = <char *>tensor.data + tensor.byte_offset if tensor.data else <char *>array
    array.held = True
    return <uintptr_t>view.buf % <size_t>view.itemsize == 0


cdef bint take_array_of_tensor(object x, Array *array) except -1:
    bfloat16 = x.element_size() == 2 and x.is_floating_point()
    if not take(tensor_as_array(x), array):
        return False
    if bfloat16 and array.dtype == FL_UINT16:
        array.dtype = FL_BFLOAT16
    return True


cdef object new_values(object like, tuple shape, bint wide):
    """Make an array or a tensor, as `like` is, of its dtype or of the one it is computed in."""
    dtype = like.dtype
    if is_tensor(like):
        if wide:
            dtype = tensor_float64 if dtype is tensor_float64 else tensor_float32
        return tensor_empty(shape, dtype=dtype)
    if wide:
        dtype = float64 if dtype == float64 else float32
    return empty(shape, dtype)


cdef object tensor_like(object x):
    """Make a tensor of the shape, dtype and layout of another."""
    return tensor_large_like(x) if is_large(x.nbytes) else tensor_empty_like(x)


cdef object number_of(object x):
    """Read a tensor of one number; RuntimeError where it is none."""
    cdef fl_dl_tensor tensor
    if exchange != NULL and is_tensor(x) and not x.is_neg():
        if exchange.describe(<void *>x, &tensor) != 0:
            PyErr_Clear()
        elif tensor.device_type == DL_CPU and tensor.ndim == 0 and tensor.data != NULL:
            if tensor.code == DL_FLOAT and tensor.bits == 32:
                return (<float *>(<char *>tensor.data + tensor.byte_offset))[0]
            if tensor.code == DL_FLOAT and tensor.bits == 64:
                return (<double *>(<char *>tensor.data + tensor.byte_offset))[0]
    return x.item()


cdef object new_number(double value, object dtype):
    """Make a tensor of one number."""
    cdef fl_dl_tensor described
    kind = numbers.get(dtype) if exchange != NULL else None
    if kind is None:
        return tensor_of_number(value, dtype)
    made = tensor_empty_like(kind)
    if exchange.describe(<void *>made, &described) != 0:
        PyErr_Clear()
        return tensor_of_number(value, dtype)
    if described.bits == 64:
        (<double *>described.data)[0] = value
    else:
        (<float *>described.data)[0] = <float>value
    return made
