"""Memory of large results: taken again, never shown stale, bounded, on threads and in forks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fusedloss as fl
from fusedloss import _core

MIB = 1 << 20

#: Arrays of 1 MiB or more, in every layout that an array has.
LAYOUTS: dict[str, Callable[[Any], np.ndarray[Any, Any]]] = {
    "C order": lambda t: np.zeros((1024, 1024), t),
    "one dimension": lambda t: np.zeros(1 << 20, t),
    "Fortran order": lambda t: np.zeros((1024, 1024), t, order="F"),
    "permuted": lambda t: np.zeros((64, 128, 128), t).transpose(1, 0, 2),
    "classes last": lambda t: np.zeros((4, 64, 64, 64), t).transpose(0, 3, 1, 2),
    "every other row": lambda t: np.zeros((2048, 1024), t)[::2],
    "every other column": lambda t: np.zeros((1024, 2048), t)[:, ::2],
    "part of a permuted array": lambda t: np.zeros((128, 64, 256), t).transpose(1, 2, 0)[:, 2:],
    "backwards": lambda t: np.zeros((1024, 1024), t)[::-1, ::-1],
    "dimensions of one": lambda t: np.zeros((1, 1024, 1, 1024), t).transpose(3, 2, 1, 0),
    "broadcast": lambda t: np.broadcast_to(np.zeros((1024, 1), t), (1024, 1024)),
    "broadcast rows": lambda t: np.broadcast_to(np.zeros((1, 1024), t), (1024, 1024)),
}


@pytest.fixture
def empty_cache() -> Iterator[None]:
    """Start, and leave, with no idle buffer."""
    gc.collect()
    fl.empty_cache()
    yield
    fl.empty_cache()


@pytest.fixture
def buffers_for_all() -> Iterator[None]:
    """Buffers for results of any size."""
    before = _core.keep_from(1)
    yield
    _core.keep_from(before)


def memory() -> dict[str, int]:
    return fl.show_config(mode="dicts")["memory"]


def child(program: str, **environment: str) -> str:
    """Run a program in a process of its own; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16], ids=lambda t: np.dtype(t).name
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_that_of_empty_like(layout: str, dtype: Any) -> None:
    given = LAYOUTS[layout](dtype)
    made, expected = _core.new_like(given), np.empty_like(given)
    assert (made.shape, made.dtype, made.strides) == (
        expected.shape,
        expected.dtype,
        expected.strides,
    )
    assert made.base is not None
    assert made.flags.writeable
    assert made.flags.aligned
    assert not made.flags.owndata
    made[...] = 1
    assert (made == 1).all()


def test_smaller_results_are_arrays_of_numpy() -> None:
    at, below = (_core.new_array((n,), np.dtype("u1")) for n in (MIB, MIB - 1))
    assert not at.flags.owndata
    assert below.flags.owndata
    assert below.base is None


def test_resize_says_who_owns_the_memory() -> None:
    made = _core.new_array((MIB,), np.dtype("u1"))
    with pytest.raises(ValueError, match="does not own its data"):
        made.resize(2 * MIB)
    assert np.resize(made, 2 * MIB).shape == (2 * MIB,)


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize(("then", "taken"), [(400, True), (321, True), (319, False), (401, False)])
def test_results_of_like_size_share_memory(then: int, taken: bool) -> None:
    made = _core.new_array((400 * MIB // 64,), np.dtype("u1"))
    address = made.ctypes.data
    assert memory()["idle"] == 0
    view = made[5:]
    del made
    assert memory()["idle"] == 0, "a view is left"
    del view
    assert memory()["idle"] == 400 * MIB // 64
    after = _core.new_array((then * MIB // 64,), np.dtype("u1"))
    assert (after.ctypes.data == address) is taken


@pytest.mark.usefixtures("empty_cache")
def test_old_gradient_and_new_take_turns() -> None:
    z, y = np.zeros((512, 1024), np.float32), np.zeros(512, np.int64)
    grad = fl.value_and_grad(fl.cross_entropy)
    made = memory()["made"]
    for _ in range(5):
        _, gradient = grad(z, y)
    assert gradient.base is not None
    assert memory()["made"] - made == 2


@pytest.mark.usefixtures("empty_cache")
def test_never_more_than_was_in_use_at_once(rng: np.random.Generator) -> None:
    # In a child: what was in use earlier counts.
    child(
        """
import random
import numpy as np, fusedloss as fl
from fusedloss import _core
random.seed(0)
held, most = [], 0
for step in range(2000):
    if held and random.random() < 0.5:
        held.pop(random.randrange(len(held)))
    else:
        held.append(_core.new_array((random.randrange(1 << 20, 1 << 24),), np.dtype("u1")))
    now = _core.memory_counts()
    most = max(most, now["in_use"])
    assert now["in_use"] + now["idle"] <= most, now
    assert now["idle"] <= now["limit"]
    assert sum(x.nbytes for x in held) <= now["in_use"] <= 1.3 * sum(x.nbytes for x in held)
assert now["reused"] > 100
held.clear()
fl.empty_cache()
assert _core.memory_counts()["in_use"] == _core.memory_counts()["idle"] == 0
"""
    )


def test_switched_off() -> None:
    program = """
import numpy as np, fusedloss as fl
_, g = fl.value_and_grad(fl.cross_entropy)(np.zeros((512, 1024), "f4"), np.zeros(512, int))
print(g.flags.owndata, fl.show_config(mode="dicts")["memory"])
"""
    off = "{'kept': False, 'in_use': 0, 'idle': 0,"
    assert child(program, FUSEDLOSS_CACHE="0").startswith(f"True {off}")
    assert child(program, FUSEDLOSS_CACHE="").startswith("False {'kept': True, ")
    with pytest.raises(AssertionError, match=r"FUSEDLOSS_CACHE is 'none': expected 0 or 1"):
        child(program, FUSEDLOSS_CACHE="none")


def test_failed_allocations_take_idle_memory() -> None:
    child(
        """
import resource
import numpy as np, fusedloss as fl
from fusedloss import _core
vg = fl.value_and_grad(fl.cross_entropy, argnums=0)
vg(np.zeros((600, 1000), "f4"), np.zeros(600, int))
kept = _core.new_array((400 << 20,), np.dtype("u1"))
del kept
assert _core.memory_counts()["idle"] >= 400 << 20
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20),) * 2)
large = _core.new_array((300 << 20,), np.dtype("u1"))
assert _core.memory_counts()["idle"] == 0
try:
    _core.new_array((400 << 20,), np.dtype("u1"))
except MemoryError as error:
    assert "cannot allocate an array of 419430400 bytes" in str(error)
else:
    raise AssertionError
before = _core.memory_counts()["in_use"]
del large
assert _core.memory_counts()["in_use"] < before
"""
    )


# ---- Threads, forks, the end -------------------------------------------------------------------


def test_each_thread_has_memory_of_its_own() -> None:
    failures, passed_on = [], [None] * 8

    def work(number: int) -> None:
        for i in range(200):
            made = _core.new_array((MIB + 4096 * (i % 7),), np.dtype("u1"))
            made[:] = number
            earlier = passed_on[(number + i) % 8]
            if earlier is not None and len(np.unique(earlier[::4096])) > 1:
                failures.append(number)
            if not (made == number).all():
                failures.append(number)
            passed_on[number] = made  # the one before it dies here, or on the thread that reads it

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_arrays_that_die_last() -> None:
    child(
        """
import atexit, threading, time
import numpy as np
from fusedloss import _core
new = lambda: _core.new_array((1 << 21,), np.dtype("u1"))
kept = new()
cycle = [new()]; cycle.append(cycle)
_core.kept = new()
local = threading.local()
def run():
    local.kept = new()
    while True: new()
for _ in range(3): threading.Thread(target=run, daemon=True).start()
time.sleep(0.1)
atexit.register(lambda: (new(), kept[0]))
"""
    )


FORKS = """
import os, sys, threading, time
import numpy as np
from fusedloss import _core
new = lambda fill: (lambda x: (x.fill(fill), x)[1])(_core.new_array((1 << 21,), np.dtype("u1")))
kept, idle = new(1), new(2)
del idle
stop = False
def busy():
    while not stop: new(3)
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
for i in range(200):
    pid = os.fork()
    if pid == 0:
        assert _core.memory_counts()["idle"] == 0
        assert (kept == 1).all()
        kept.fill(4)
        for _ in range(3): assert (new(5) == 5).all()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, i
    assert (kept == 1).all()
stop = True
for thread in threads: thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forks_while_others_hold_the_lock() -> None:
    child(FORKS)
