"""Threads change nothing but the time: same bits, any caller, after a fork, beside torch."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fusedloss as fl
from cases import Case, Options

#: Each has several hundred thousand elements: enough for a call to open a parallel region.
CASES = (
    Case((4099, 257)),
    Case((100_003, 10), Options(weight=True, ignore="default", label_smoothing=0.1)),
    Case((2, 400_001), Options(weight=True)),
    Case((300_001, 3), Options("probability", label_smoothing=0.1), target_dtype="float64"),
    Case((1021, 1000), Options("probability", weight=True), target_dtype="float32"),
    Case((2, 21, 127, 129), Options(weight=True, ignore="class"), target_dtype="uint8"),
    Case((3, 150, 1501), Options(label_smoothing=0.1), target_dtype="int32"),
)


def digest(case: Case, dtype: str, num_threads: int | None) -> str:
    """The raw bytes of every result of a case."""
    logits, target, options = case.build(dtype)
    grad = fl.value_and_grad(fl.cross_entropy)
    summary = hashlib.sha256()
    for reduction in ("none", "mean", "sum"):
        value, gradient = grad(
            logits, target, reduction=reduction, num_threads=num_threads, **options
        )
        summary.update(np.asarray(value).tobytes())
        summary.update(gradient.tobytes())
        alone = fl.cross_entropy(
            logits, target, reduction=reduction, num_threads=num_threads, **options
        )
        summary.update(np.asarray(alone).tobytes())
    return summary.hexdigest()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bits_for_any_number_of_threads(case: Case, dtype: str) -> None:
    digests = {digest(case, dtype, num_threads) for num_threads in (1, 2, 3, 7, 7)}
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize(("shape", "axis"), [((5001, 100), 1), ((100, 5001), 0)], ids=str)
def test_helpers_same_bits(
    name: str, shape: tuple[int, int], axis: int, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=shape).astype("float32")
    grad = fl.value_and_grad(getattr(fl, name))
    results = set()
    for num_threads in (1, 2, 3, 7):
        value, gradient = grad(logits, axis=axis, num_threads=num_threads)
        results.add((value.tobytes(), gradient.tobytes()))
    assert len(results) == 1


def test_same_bits_by_every_way_to_set_threads() -> None:
    before = fl.get_num_threads()
    expected = digest(CASES[0], "float32", 1)
    try:
        for count in (1, 2, 7):
            fl.set_num_threads(count)
            assert digest(CASES[0], "float32", None) == expected
    finally:
        fl.set_num_threads(before)
    with fl.threads(3):
        assert digest(CASES[0], "float32", None) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_really_run(run_python: Callable[..., str]) -> None:
    """A large call with 7 threads starts 6 helpers; a small one starts none."""
    script = """
import os, numpy as np, fusedloss as fl
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
fl.cross_entropy(np.zeros((64, 10)), np.zeros(64, int), num_threads=7)
small = count() - before
fl.cross_entropy(np.zeros((2000, 1000)), np.zeros(2000, int), num_threads=7)
print(small, count() - before)
"""
    assert run_python(script).split() == ["0", "6"]


# ---- How many ----------------------------------------------------------------------------------

NUM_THREADS = "import fusedloss as fl; print(fl.get_num_threads())"


def test_set_and_get() -> None:
    before = fl.get_num_threads()
    try:
        for count in (1, 3, 1000):  # as given, not capped at the cores
            fl.set_num_threads(count)
            assert fl.get_num_threads() == count
    finally:
        fl.set_num_threads(before)


def test_threads_restores_what_was() -> None:
    before = fl.get_num_threads()
    with fl.threads(5):
        assert fl.get_num_threads() == 5
        with fl.threads(2):
            assert fl.get_num_threads() == 2
        assert fl.get_num_threads() == 5
        with pytest.raises(KeyError), fl.threads(3):
            raise KeyError
        assert fl.get_num_threads() == 5
    assert fl.get_num_threads() == before


@pytest.mark.parametrize(
    ("own", "openmp", "expected"),
    [("3", "5", 3), (None, "5", 5), ("3", None, 3), ("64", "1", 64), (None, "4,2", 4)],
)
def test_environment(
    run_python: Callable[..., str], own: str | None, openmp: str | None, expected: int
) -> None:
    output = run_python(NUM_THREADS, FUSEDLOSS_NUM_THREADS=own, OMP_NUM_THREADS=openmp)
    assert int(output) == expected


def test_set_num_threads_wins_over_the_environment(run_python: Callable[..., str]) -> None:
    script = "import fusedloss as fl; fl.set_num_threads(2); print(fl.get_num_threads())"
    assert int(run_python(script, FUSEDLOSS_NUM_THREADS="3", OMP_NUM_THREADS="5")) == 2


@pytest.mark.parametrize("nonsense", ["0", "-2", "", "many", "2x"])
def test_nonsense_of_openmp_is_ignored(run_python: Callable[..., str], nonsense: str) -> None:
    default = run_python(NUM_THREADS, FUSEDLOSS_NUM_THREADS=None, OMP_NUM_THREADS=None)
    assert run_python(NUM_THREADS, FUSEDLOSS_NUM_THREADS=None, OMP_NUM_THREADS=nonsense) == default


@pytest.mark.parametrize("nonsense", ["0", "-2", "many", "3x", "3,2"])
def test_nonsense_of_our_own_is_an_error(run_python: Callable[..., str], nonsense: str) -> None:
    script = "try: import fusedloss\nexcept ValueError as error: print(error)"
    output = run_python(script, FUSEDLOSS_NUM_THREADS=nonsense, OMP_NUM_THREADS="5")
    assert f"FUSEDLOSS_NUM_THREADS is '{nonsense}'" in output


@pytest.mark.skipif(not hasattr(__import__("os"), "sched_setaffinity"), reason="no affinity here")
def test_default_follows_the_affinity(run_python: Callable[..., str]) -> None:
    script = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})\n{NUM_THREADS}"
    assert int(run_python(script, FUSEDLOSS_NUM_THREADS=None, OMP_NUM_THREADS=None)) == 1


# ---- Callers in parallel -----------------------------------------------------------------------


def test_eight_python_threads_at_once() -> None:
    """Each with inputs of its own, many calls each, all with the bits of a lone call."""
    cases = [
        Case((977 + i, 257), Options(weight=bool(i % 2)), target_dtype="int64") for i in range(8)
    ]
    expected = [digest(case, "float32", 1) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            futures = [pool.submit(digest, case, "float32", 2) for case in cases]
            assert [future.result() for future in futures] == expected


def test_many_small_calls_from_many_threads(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(64, 10)).astype("float32")
    grad = fl.value_and_grad(fl.cross_entropy)
    expected = [grad(logits + i, np.full(64, i)) for i in range(8)]

    def work(i: int) -> bool:
        results = [grad(logits + i, np.full(64, i)) for _ in range(500)]
        value, gradient = expected[i]
        return all(v == value and np.array_equal(g, gradient) for v, g in results)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


# ---- Fork --------------------------------------------------------------------------------------

FORK = """
import os, signal, sys, warnings
import numpy as np
warnings.simplefilter("ignore", DeprecationWarning)  # fork of a process with threads: the subject
order = sys.argv[1].split("+")
for name in order:
    if name == "torch":
        import torch
        torch.set_num_threads(2)
    else:
        import fusedloss as fl

logits = np.random.default_rng(0).normal(size=(3000, 200)).astype("float32")
target = np.arange(3000) % 200
grad = fl.value_and_grad(fl.cross_entropy)

def work():
    if "torch" in order:
        z = torch.ones(500_000)
        assert float((z * 2 + 1).sum()) == 1_500_000
    value, gradient = grad(logits, target, num_threads=3)
    return value, gradient.tobytes()

expected = work()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a hanging child dies
        right = work() == expected and work() == expected
        made = len(os.listdir("/proc/self/task")) - 1 if sys.platform == "linux" else 2
        os._exit(0 if right and made >= 2 else 1)
    assert os.waitpid(child, 0)[1] == 0, "the child hung or was wrong"
    assert work() == expected
print("survived")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
@pytest.mark.parametrize("order", ["fusedloss", "fusedloss+torch", "torch+fusedloss"])
def test_fork_after_parallel_calls(run_python: Callable[..., str], order: str) -> None:
    """The child computes in parallel, whoever loaded the OpenMP runtime, torch used too."""
    if "torch" in order:
        pytest.importorskip("torch")
    assert run_python(FORK, order).strip() == "survived"


# ---- Beside torch ------------------------------------------------------------------------------

BESIDE_TORCH = """
import sys
import numpy as np
for name in sys.argv[1].split("+"):
    __import__(name)
import fusedloss as fl, hashlib, torch
torch.ones(500_000).add(1).sum()
logits = np.random.default_rng(0).normal(size=(3000, 200)).astype("float32")
value, gradient = fl.value_and_grad(fl.cross_entropy)(logits, np.arange(3000) % 200, num_threads=3)
with open("/proc/self/maps") as maps:
    files = {line.split()[-1] for line in maps if "/" in line}
runtimes = {file for file in files if any(name in file for name in ("gomp", "libomp", "iomp"))}
print(len(runtimes), hashlib.sha256(np.float64(value).tobytes() + gradient.tobytes()).hexdigest())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_openmp_runtime_beside_torch(run_python: Callable[..., str]) -> None:
    """In both import orders, with the same bits."""
    pytest.importorskip("torch")
    outputs = {run_python(BESIDE_TORCH, order) for order in ("fusedloss+torch", "torch+fusedloss")}
    assert len(outputs) == 1
    assert outputs.pop().split()[0] == "1"


# ---- The rest of the process -------------------------------------------------------------------


def test_floating_point_environment_is_untouched(run_python: Callable[..., str]) -> None:
    """Subnormals survive the import and a call; no NumPy warning is left behind."""
    script = """
import warnings
import numpy as np
warnings.simplefilter("error")
tiny = np.full(8, 1e-310), np.full(8, 1e-40, "float32")
import fusedloss as fl
logits = np.full((300, 1000), -1e4)
logits[:, 0] = 1e4
logits[1] = np.nan
fl.value_and_grad(fl.cross_entropy)(logits, np.zeros(300, int), num_threads=2)
fl.cross_entropy(logits.astype("float32"), np.zeros(300, int))
assert np.all(tiny[0] * 0.5 > 0) and np.all(tiny[1] * np.float32(0.5) > 0)
np.add(1.0, np.ones(100))
print("clean")
"""
    assert run_python(script).strip() == "clean"
