# Arrays for results, large ones on memory that is already there: what core.pyx includes.

cdef object empty = numpy.empty
cdef object empty_like = numpy.empty_like

cdef enum: MOST_NUMPY_DIMS = 64


cdef class Buffer:
    """Memory that is kept for another array when the last one over it is gone."""

    cdef fl_buffer buffer
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.buffer.memory, self.size, False, flags)

    def __dealloc__(self):
        fl_buffer_give(self.buffer)


cpdef bint is_large(size_t size) except -1:
    """Whether a result of that many bytes gets a buffer."""
    return size >= fl_buffers_from()


cdef object new_buffer(Py_ssize_t size):
    cdef Buffer made = Buffer.__new__(Buffer)
    made.size = size
    made.buffer = fl_buffer_take(<size_t>size)
    if made.buffer.memory == NULL:
        raise MemoryError(f"cannot allocate an array of {size} bytes")
    return made


cdef tuple strides_like(const Py_buffer *view):
    """The strides of an array of like layout without gaps, as numpy.empty_like chooses them."""
    cdef Py_ssize_t[MOST_NUMPY_DIMS] order, strides
    cdef Py_ssize_t d, at, stride = view.itemsize
    for d in range(view.ndim):  # sorted by stride, the greatest first
        at = d
        while at > 0 and abs(view.strides[order[at - 1]]) < abs(view.strides[d]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = d
    for d in range(view.ndim - 1, -1, -1):
        strides[order[d]] = stride
        stride *= view.shape[order[d]]
    return tuple([strides[d] for d in range(view.ndim)])


cdef object like(object x, const Py_buffer *view):
    """A new array of the shape, dtype and layout of one whose buffer is held; its content is undefined."""
    if is_tensor(x):
        return tensor_like(x)
    if not is_large(<size_t>view.len) or view.ndim > MOST_NUMPY_DIMS:
        return empty_like(x)
    buffer = new_buffer(view.len)
    if PyBuffer_IsContiguous(view, b"C"):
        return ndarray(x.shape, x.dtype, buffer)
    if PyBuffer_IsContiguous(view, b"F"):
        return ndarray(x.shape, x.dtype, buffer, 0, None, "F")
    return ndarray(x.shape, x.dtype, buffer, 0, strides_like(view))


def new_like(x):
    """Return a new array of the shape, dtype and layout of a plain array; its content is undefined."""
    cdef Array array
    clear(&array, 1, False)
    try:
        return like(x, &array.view) if take(x, &array) else empty_like(x)
    finally:
        release(&array)


def new_array(tuple shape, dtype):
    """Return a new array in C order; its content is undefined."""
    size = dtype.itemsize
    for n in shape:
        size *= n
    if not is_large(size):
        return empty(shape, dtype)
    return ndarray(shape, dtype, new_buffer(size))


def empty_cache():
    """Give the memory that no array uses back to the system."""
    fl_buffers_empty()


def memory_counts():
    """Return the bytes in use, idle and at most idle, and how often memory was there and was not."""
    return fl_buffers_count()


def keeps_memory():
    """Whether the memory of large arrays is kept for later ones."""
    return fl_buffers_from() < SIZE_MAX


def keep_from(size_t size):
    """Set the bytes from which arrays get a buffer; return those before."""
    before = fl_buffers_from()
    fl_buffers_set_from(size)
    return before
