"""How fusedloss runs in this process: its threads, its instruction set, its configuration."""

from __future__ import annotations

import os
import platform
import re
import threading
from typing import Any, Literal, overload

import numpy as np

from fusedloss import _check, _core

__all__ = [
    "empty_cache",
    "get_include",
    "get_num_threads",
    "set_num_threads",
    "show_config",
    "threads",
]

#: The name of an OpenMP runtime's file: GCC's, LLVM's or Intel's, with the hash of a wheel's copy.
_OPENMP_RUNTIME = re.compile(r"/lib(gomp|omp|iomp5)(-\w+)?\.so[^/]*$")


def _thread_count(n: Any) -> int:
    number = _check.num_threads(n)
    if number is None:  # a call's "as elsewhere", which means nothing here
        raise TypeError("num_threads is None: expected an integer")
    return number


def set_num_threads(n: int) -> None:
    """Set the number of threads for the whole process.

    It counts for every call that does not name its own ``num_threads`` and is not inside a
    `threads` block, and wins over the environment variables.

    Parameters
    ----------
    n : int
        The number of threads, at least 1; not limited to the number of cores.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is not positive.

    See Also
    --------
    threads : The same for a block of code.

    Notes
    -----
    Results do not depend on the number of threads, to the last bit. It is an upper bound: a call
    runs on fewer where it is too small to gain, where it has fewer independent parts, inside
    another OpenMP parallel region, beside as many other callers as there are cores, where the
    system refuses to create threads, and where other programs or libraries keep the cores: a call
    never waits for a thread that has not begun.

    Examples
    --------
    >>> import fusedloss as fl
    >>> before = fl.get_num_threads()
    >>> fl.set_num_threads(3)
    >>> fl.get_num_threads()
    3
    >>> fl.set_num_threads(before)
    """
    _core.set_num_threads(_thread_count(n))


def get_num_threads() -> int:
    """Return the number of threads that a call from here may use.

    Decided by the first of these that is set:

    1. the innermost `threads` block around the call,
    2. `set_num_threads`,
    3. the environment variable ``FUSEDLOSS_NUM_THREADS``,
    4. the environment variable ``OMP_NUM_THREADS``,
    5. the cores that the process may use: its CPU affinity, or its cgroup's CPU quota rounded up
       if that is less (so a container limited to two CPUs gets two threads).

    The environment, the affinity and the quota are read once, at import.

    Returns
    -------
    int
        The number of threads, at least 1.

    Examples
    --------
    >>> import fusedloss as fl
    >>> with fl.threads(2):
    ...     fl.get_num_threads()
    2
    """
    return _core.get_num_threads()


class _Stack(threading.local):
    """What to go back to, one value for each time that this thread entered."""

    def __init__(self) -> None:
        self.values: list[int] = []


class threads:
    """Set the number of threads for a block of code, in the calling thread only.

    Blocks nest, and the end of a block restores what was before it, after an exception too. One
    object may be entered again, inside itself and from several threads at once.

    Parameters
    ----------
    n : int
        The number of threads, at least 1; not limited to the number of cores.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is not positive.

    See Also
    --------
    set_num_threads : The same for the whole process; says when fewer threads are used.

    Notes
    -----
    The block belongs to the Python thread, not to an asyncio task: an ``await`` inside it lets
    other tasks of that thread run with its number of threads.

    Examples
    --------
    >>> import fusedloss as fl
    >>> with fl.threads(1):
    ...     with fl.threads(4):
    ...         inner = fl.get_num_threads()
    ...     outer = fl.get_num_threads()
    >>> inner, outer
    (4, 1)
    """

    def __init__(self, n: int) -> None:
        self._n = _thread_count(n)
        self._before = _Stack()

    def __enter__(self) -> None:
        """Set the number of threads."""
        self._before.values.append(_core.push_num_threads(self._n))

    def __exit__(self, *exception: object) -> None:
        """Restore the number of threads."""
        _core.push_num_threads(self._before.values.pop())


def empty_cache() -> None:
    """Give the memory that is kept for later results back to the system.

    Gradients, Hessians and other results of 4 MiB or more are arrays, or tensors, on buffers of
    this package. When the last array on a buffer is gone, the buffer is kept for the next result of
    a like size: fresh memory costs as much as computing what goes into it.

    See Also
    --------
    show_config : Says how many bytes are in use, and how many are idle.

    Notes
    -----
    Buffers in use and idle are together never more than were in use at once, and the idle ones at
    most an eighth of the memory that the process may have (its control group's limit, or the
    machine's memory). On Linux the system takes huge pages of idle ones when it needs them, from
    buffers of 16 MiB or more. A forked child begins with none. With ``FUSEDLOSS_CACHE=0`` in the
    environment at import, no memory is kept, and every array is NumPy's own.

    An array on a buffer has a ``base``, and its flag ``owndata`` is False, so that its method
    ``resize`` raises ValueError; `numpy.resize`, which copies, works. The storage of a tensor on a
    buffer cannot be resized.

    Examples
    --------
    >>> import fusedloss as fl
    >>> fl.empty_cache()
    >>> fl.show_config(mode="dicts")["memory"]["idle"]
    0
    """
    _core.empty_cache()


def get_include() -> str:
    """Return the directory of the C header ``fusedloss.h``.

    Returns
    -------
    str
        The directory, for a compiler's ``-I`` option.

    Examples
    --------
    >>> import os
    >>> import fusedloss as fl
    >>> os.path.basename(fl.get_include())
    'include'
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...


@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...


def show_config(mode: str = "stdout") -> dict[str, dict[str, Any]] | None:
    """Show what fusedloss was built with, what it found on this machine and what it uses.

    Worth attaching to a bug report.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        Print a plain text report, or return the same as a dict.

    Returns
    -------
    dict or None
        For "dicts", a dict of strings, numbers and lists for each section. ``versions``: of
        fusedloss, Python and NumPy, and the compiler of the kernels. ``instruction_sets``: those
        compiled in, those that this machine runs, the one in use and what chose it. ``cpu``: the
        features found. ``threads``: what `get_num_threads` returns, and what decided it; how many
        loops were too small for several threads, how many ran on the package's own, how many of
        these the caller ran alone since no other thread came in time, and the share of their
        tasks that other threads ran.
        ``memory``: whether the memory of large results is kept (`empty_cache`); the bytes in use,
        idle, and at most idle; how many results found memory that was there, and how many did not.
        ``openmp``: the version compiled against, and the runtime libraries loaded in this process
        (the names of other platforms' files than Linux's are not known); more than one means that
        some package brought its own.

    Raises
    ------
    ValueError
        If `mode` is anything else.

    Examples
    --------
    >>> import fusedloss as fl
    >>> with fl.threads(2):
    ...     fl.show_config(mode="dicts")["threads"]["number"]
    2
    >>> fl.show_config()  # doctest: +ELLIPSIS
    versions
      fusedloss   ...
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode is {mode!r}: expected 'stdout' or 'dicts'")
    config = _configuration()
    if mode == "dicts":
        return config
    width = 2 + max(len(key) for entries in config.values() for key in entries)
    for section, entries in config.items():
        print(section.replace("_", " "))
        for key, value in entries.items():
            text = (", ".join(value) or "none") if isinstance(value, list) else str(value)
            print(f"  {key.replace('_', ' '):{width}}{text}")
    return None


def _configuration() -> dict[str, dict[str, Any]]:
    from importlib.metadata import version  # slow to import

    names = _core.isa_names()
    openmp = _core.openmp_version()
    return {
        "versions": {
            "fusedloss": version("fusedloss"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "compiler": _core.compiler(),
        },
        "instruction_sets": {
            "compiled_in": names,
            "available": [name for name in names if _core.isa_available(name)],
            "in_use": _core.current_isa(),
            "decided_by": _core.isa_source(),
        },
        "cpu": {"features": _core.cpu_features().split()},
        "threads": {
            "number": _core.get_num_threads(),
            "decided_by": _core.num_threads_source(),
            **_engine(),
        },
        "memory": {"kept": _core.keeps_memory(), **_core.memory_counts()},
        "openmp": {
            "version": str(openmp) if openmp else "none",
            "runtimes": _openmp_runtimes(),
        },
    }


def _engine() -> dict[str, Any]:
    """Say which threads ran loops, and how often."""
    counts = _core.engine_counts()
    return {
        "loops_on_the_caller": counts["serial"],
        "loops_on_own_threads": counts["pool"],
        "retreats_to_the_caller": counts["retreats"],
        "share_of_other_threads": round(counts["tasks_by_others"] / max(counts["tasks"], 1), 2),
    }


def _openmp_runtimes() -> list[str]:
    """Find the OpenMP runtime libraries that this process has mapped; empty where unknown."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.rstrip("\n").split(maxsplit=5)[-1] for line in maps}
    except OSError:
        return []
    return sorted(path for path in paths if _OPENMP_RUNTIME.search(path))
