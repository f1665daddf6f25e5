# Kernel calls as bytes, for XLA to run: a part of _core.pyx.

cdef extern from "Python.h":
    object PyCapsule_New(void *pointer, const char *name, void *destructor)


def record(kernel, tuple arguments):
    """Call a kernel's function without running the kernel.

    Returns what the function returns, the number of the kernel's family, the threads asked for, the bytes of
    its argument struct, and the addresses that its pointers to arrays have there, by their offsets. None
    where what the function does is not one call of such a kernel.
    """
    cdef int number = -1
    cdef fl_recording recording
    cdef fl_recording *before = fl_recorder()
    cdef const size_t *at
    cdef char *args
    for number, own in enumerate((softmax, pointwise, rowwise, linear_cross_entropy, pairwise)):
        if kernel is own:
            break
    else:
        return None
    recording.size = fl_args_size(<fl_family>number)
    recording.calls = recording.threads = 0
    buffer = bytearray(recording.size)
    args = buffer
    recording.args = args
    fl_recorder_set(&recording)
    try:
        result = kernel(*arguments)
    finally:
        fl_recorder_set(before)
    if recording.calls != 1:
        return None
    pointers = {}
    at = fl_args_pointers(<fl_family>number)
    while at[0] != SIZE_MAX:
        pointers[at[0]] = (<uintptr_t *>(args + at[0]))[0]
        (<uintptr_t *>(args + at[0]))[0] = 0  # the same call has the same bytes
        at += 1
    return result, number, recording.threads, bytes(buffer), pointers


def recording_version():
    """Return a number that changes with the argument structs."""
    return fl_recording_version()


def xla_handler():
    """Return the handler of XLA's typed custom calls, and the version of the interface it reads."""
    cdef int version = fl_xla_version()
    return PyCapsule_New(<void *>fl_xla_handler, NULL, NULL), (version // 1000, version % 1000)
