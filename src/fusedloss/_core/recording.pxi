# Kernel calls as bytes, for XLA to run: a part of _core.pyx.

cdef extern from "Python.h":
    object PyCapsule_New(void *pointer, const char *name, void *destructor)


def record(function, tuple arguments, int family):
    """Call a function that calls a kernel of a family once, without running the kernel.

    Returns what the function returns, the threads asked for, the bytes of the kernel's argument struct, and
    the addresses that its pointers to arrays have there, by their offsets. None where the function makes
    another number of calls.
    """
    cdef fl_recording recording
    cdef fl_recording *before = fl_recorder()
    cdef const size_t *at
    cdef char *args
    recording.size = fl_args_size(<fl_family>family)
    recording.calls = recording.threads = 0
    buffer = bytearray(recording.size)
    args = buffer
    recording.args = args
    fl_recorder_set(&recording)
    try:
        result = function(*arguments)
    finally:
        fl_recorder_set(before)
    if recording.calls != 1:
        return None
    pointers = {}
    at = fl_args_pointers(<fl_family>family)
    while at[0] != SIZE_MAX:
        pointers[at[0]] = (<uintptr_t *>(args + at[0]))[0]
        (<uintptr_t *>(args + at[0]))[0] = 0  # the same call has the same bytes
        at += 1
    return result, recording.threads, bytes(buffer), pointers


def recording_version():
    """Return a number that changes with the argument structs."""
    return fl_recording_version()


def xla_handler():
    """Return the handler of XLA's typed custom calls, and the version of the interface it reads."""
    cdef int version = fl_xla_version()
    return PyCapsule_New(<void *>fl_xla_handler, NULL, NULL), (version // 1000, version % 1000)
