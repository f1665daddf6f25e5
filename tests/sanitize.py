"""The fuzzer and the tests of the kernels on a build under ASan and UBSan, in half an hour at most.

python tests/sanitize.py FOLDER, the folder of the build. The first report ends the process that it
is of, so that its finding or its failed test shows it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent

#: Seconds for everything, and the share of the fuzzer.
SECONDS = 1500
FUZZ_SECONDS = 400

#: The tests that walk every kernel over its sizes.
KERNEL_TESTS = (
    *("test_layouts", "test_softmax", "test_cross_entropy", "test_categorical", "test_nll"),
    *("test_focal", "test_pointwise_arrays", "test_segmentation", "test_sequences", "test_mining"),
    *("test_triplets_by_distance", "test_zero_one", "test_storage", "test_hessian"),
    "test_distillation",
)


#: Reads two elements past the end of an array: the sanitizer has to say so.
OVER_READ = """
import numpy as np
import fusedloss as fl
x = np.lib.stride_tricks.as_strided(np.zeros(5, np.float32), (7,), (4,))
fl.mse_loss(x, x)
"""


def library(name: str) -> str:
    """The sanitizer's library, of the compiler that the build was made with."""
    compiler = [x for x in shlex.split(os.environ.get("CC", "cc")) if x != "ccache"]
    return subprocess.check_output([*compiler, f"-print-file-name={name}"], text=True).strip()


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    environment = {
        **os.environ,
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        # OpenMP's and Python's own memory lives as long as the process
        "ASAN_OPTIONS": "detect_leaks=0:strict_init_order=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that ends of small arrays are seen
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(build), str(TESTS)]),
    }
    started = time.monotonic()
    where = "import fusedloss; print(fusedloss.__file__)"
    used = subprocess.check_output([sys.executable, "-c", where], env=environment, text=True)
    assert Path(used.strip()).is_relative_to(build), used
    planted = subprocess.run(
        [sys.executable, "-c", OVER_READ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "heap-buffer-overflow" in planted.stderr, planted.stderr
    fuzz = [sys.executable, "-m", "fuzz", "--seconds", str(FUZZ_SECONDS)]
    failed = subprocess.run(fuzz, env=environment, check=False).returncode != 0
    for name in KERNEL_TESTS:
        left = SECONDS - (time.monotonic() - started)
        if left < 10:
            print(f"{name} and what follows: no time left")
            break
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-x", "-p", "no:cacheprovider"]
        command += ["-m", "not long", str(TESTS / f"{name}.py")]
        try:
            result = subprocess.run(command, env=environment, check=False, timeout=left)
            failed |= result.returncode != 0
        except subprocess.TimeoutExpired:
            print(f"{name}: no time left")
    print("sanitizers: " + ("reports, above" if failed else "0 reports"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
