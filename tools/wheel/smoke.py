"""Use the installed fusedloss beside torch: `python smoke.py fusedloss [torch]`.

The packages are imported in the order given. With torch among them, the two have to share one
OpenMP runtime, the first one's, and with it one pool of threads; and each has to keep working, in
forked children too.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = sys.argv[1:]
for package in PACKAGES:
    importlib.import_module(package)

import numpy as np  # noqa: E402

import fusedloss as fl  # noqa: E402

THREADS = 4
ROWS, CLASSES = 512, 1000  # enough work for fusedloss and torch to call their threads

rng = np.random.default_rng(0)
LOGITS = rng.standard_normal((ROWS, CLASSES), dtype=np.float32)
TARGET = rng.integers(CLASSES, size=ROWS)


def fused(threads: int) -> tuple[float, np.ndarray]:
    """Compute loss and gradient with fusedloss."""
    return fl.value_and_grad(fl.cross_entropy)(LOGITS, TARGET, num_threads=threads)


def torch_too(threads: int) -> tuple[float, np.ndarray]:
    """Compute the same with torch alone."""
    import torch

    torch.set_num_threads(threads)
    logits = torch.from_numpy(LOGITS).requires_grad_()
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(TARGET))
    loss.backward()
    assert torch.get_num_threads() == threads
    assert logits.grad is not None
    return loss.item(), logits.grad.numpy()


COMPUTE: dict[str, Callable[[int], tuple[float, np.ndarray]]] = {
    "fusedloss": fused,
    "torch": torch_too,
}


def formula() -> tuple[float, np.ndarray]:
    """Compute the same in float64, as in a textbook."""
    logits = LOGITS.astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.arange(ROWS)
    grad = np.exp(log_probs)
    grad[rows, TARGET] -= 1
    return float(-log_probs[rows, TARGET].mean()), grad / ROWS


def threads_alive() -> int:
    """Count the threads of this process."""
    return len(os.listdir("/proc/self/task"))


def openmp_runtimes() -> list[Path]:
    """List the OpenMP runtimes that this process has mapped, under whatever name."""
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    return [Path(path) for path in paths if re.search(r"/lib(gomp|i?omp)[^/]*\.so[^/]*$", path)]


def check_results() -> None:
    """Check loss and gradient against the formula, and that threads do not change their bits."""
    loss, grad = formula()
    for package in PACKAGES:
        actual_loss, actual_grad = COMPUTE[package](THREADS)
        # float32 resolves 6e-8; its exponentials and sums are good to a few units of that
        np.testing.assert_allclose(actual_loss, loss, rtol=1e-6)
        np.testing.assert_allclose(actual_grad, grad, rtol=1e-5, atol=1e-9)
    digests = {(value, grad.tobytes()) for value, grad in map(fused, (1, 2, 3, 7))}
    assert len(digests) == 1, "fusedloss's result depends on the number of threads"


def check_threads() -> None:
    """Check that the threads asked for are there, and that the packages share them."""
    first, *others = (COMPUTE[package] for package in PACKAGES)
    for package in PACKAGES:
        COMPUTE[package](1)  # what each starts beside its pool, it starts now
    if "torch" in PACKAGES:
        import torch

        torch.set_num_threads(THREADS)
    before = threads_alive()
    for threads in (2, THREADS):
        first(threads)
        assert threads_alive() == before + threads - 1, f"{threads} threads asked for"
    for other in others:
        other(THREADS)
        assert threads_alive() == before + THREADS - 1, "a second pool of threads"


def check_runtime() -> str:
    """Check that there is one runtime: the first package's own, not the system's; name it."""
    runtimes = openmp_runtimes()
    assert len(runtimes) == 1, f"these OpenMP runtimes are loaded: {runtimes}"
    runtime = runtimes[0]
    folder = Path(importlib.import_module(PACKAGES[0]).__file__ or "").parent
    assert runtime.is_relative_to(folder), f"{runtime} is not in {folder}"
    assert fl.show_config("dicts")["openmp"]["runtimes"] == [str(runtime)]
    return str(runtime.relative_to(folder.parent))


def in_child(work: Callable[[], Any]) -> None:
    """Do the work in a forked child, which has a minute for it."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            work()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"a forked child ended with {status}"


def check_fork() -> None:
    """Check that children of a process that has a pool can have their own."""
    value, grad = fused(THREADS)

    def compute() -> None:
        for package in PACKAGES:
            COMPUTE[package](THREADS)
        child_value, child_grad = fused(THREADS)
        assert child_value == value
        assert child_grad.tobytes() == grad.tobytes()

    for _ in range(20):
        in_child(compute)
        fused(THREADS)


check_threads()
check_results()
check_fork()
assert Path(fl.get_include(), "fusedloss.h").is_file()
print(f"used     import {', '.join(PACKAGES)}: one OpenMP runtime, {check_runtime()}")
