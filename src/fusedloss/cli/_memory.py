"""Peak memory of a call beyond its inputs and gradients, measured in a child process.

Linux keeps a high-water mark of resident memory per process (VmHWM) and resets it on request, so
the child warms up, resets the mark, calls, and reads it. The more portable ru_maxrss will not do:
it inherits the parent's peak and never falls.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

from fusedloss.cli._contenders import OUT, VALUE_AND_GRADIENT, WITH_TORCH, Mode, Problem, Work
from fusedloss.cli._output import optional_import

# Below 16 MB the extra memory is lost in how the system counts pages.
MEASURED_FROM = 16_000_000
# Logits, copies, gradients and what torch keeps beside them, in sizes of the logits.
ARRAYS = 8


def measure_extra_memory(
    name: str, work: Sequence[tuple[Work, Mode]], num_threads: int
) -> list[int | None]:
    """Bytes that one contender takes for each piece of work; None where they cannot be had."""
    if not work:
        return []
    request = {
        "name": name,
        "work": [[[one.shape, one.dtype], mode] for one, mode in work],
        "num_threads": num_threads,
    }
    child = subprocess.run(
        [sys.executable, "-m", "fusedloss.cli._memory"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        return [None] * len(work)
    answer: list[int | None] = json.loads(child.stdout)
    return answer


def available_memory() -> int | None:
    """Bytes that this machine has free for use; None where it does not say."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":") for line in file)
    except OSError:
        return None
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def fits(work: Work) -> bool:
    """Whether this machine has the memory for all contenders, as far as it says."""
    space = available_memory()
    return space is None or work.bytes * ARRAYS < space


def _measure(problem: Problem, name: str, mode: Mode) -> int:
    """Bytes of one call, in this process."""
    peak = peak_of(problem.contender(name, mode))
    returned = problem.work.bytes if mode == VALUE_AND_GRADIENT and name != OUT else 0
    return max(0, peak - returned)


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that this process takes for a call at most, after one to warm up."""
    call()
    gc.collect()
    _return_free_memory()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _return_free_memory() -> None:
    """Hand what the warm-up freed back to the system, or the call would take it unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(field: str) -> int:
    """Read a size in bytes from /proc/self/status."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def main() -> None:
    """Answer one request from standard input."""
    request = json.load(sys.stdin)
    name, num_threads = request["name"], request["num_threads"]
    torch = optional_import("torch") if name in WITH_TORCH else None
    answer = []
    for work, modes in groupby(request["work"], key=itemgetter(0)):
        shape, dtype = work
        problem = Problem(Work(tuple(shape), dtype), num_threads, torch)
        answer += [_measure(problem, name, mode) for _, mode in modes]
        del problem  # free the memory before the next takes its own
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
