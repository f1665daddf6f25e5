"""The threads below the calls: races, refusals, arithmetic modes, Ctrl-C, and who ran what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import REPOSITORY, c_compiler

CORE = REPOSITORY / "src" / "core"

posix = pytest.mark.skipif(os.name != "posix", reason="threads of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="preloads a library")


# ---- The pool in C -----------------------------------------------------------------------------


def build_driver(folder: Path, *flags: str) -> Path:
    """The pool's driver, without OpenMP."""
    program = folder / "pool_driver"
    names = ("engine", "job", "openmp", "pool", "threads", "cgroup")
    sources = [str(CORE / f"{name}.c") for name in names]
    subprocess.run(
        [
            *(*c_compiler(), "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", *flags),
            *(f"-I{CORE}", f"-I{REPOSITORY / 'include'}", str(REPOSITORY / "tests/pool_driver.c")),
            *(*sources, "-o", str(program), "-lm", "-pthread", "-ldl"),
        ],
        check=True,
        timeout=120,
    )
    return program


def run_driver(program: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": "exitcode=66"}
    return subprocess.run(
        [str(program)], env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@posix
@pytest.mark.parametrize("flags", [(), ("-DFL_NO_FUTEX",)], ids=["futex", "condition"])
def test_no_race(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Four callers under ThreadSanitizer: each task once, in its caller's rounding mode."""
    result = run_driver(build_driver(tmp_path, "-fsanitize=thread", *flags))
    assert result.returncode == 0, result.stdout + result.stderr[:4000]
    assert result.stdout == "faults 0 workers 6\n"


@posix
def test_a_planted_race_is_reported(tmp_path: Path) -> None:
    result = run_driver(build_driver(tmp_path, "-fsanitize=thread", "-DPLANTED_RACE"))
    assert result.returncode == 66
    assert "data race" in result.stderr


# ---- Threads refused ---------------------------------------------------------------------------

REFUSED = """
import os, numpy as np, fusedloss as fl
logits = np.random.default_rng(0).normal(size=(3000, 300)).astype("float32")
grad = fl.value_and_grad(fl.cross_entropy)
results = set()
for num_threads in (1, 22, 22):
    value, gradient = grad(logits, np.arange(3000) % 300, num_threads=num_threads)
    results.add((value, gradient.tobytes()))
assert len(results) == 1
folder = "/proc/self/task"
print([open(f"{folder}/{task}/comm").read() for task in os.listdir(folder)].count("fusedloss\\n"))
"""


@linux
def test_refused_threads(tmp_path: Path, run_python: Callable[..., str]) -> None:
    """The system refuses the n-th thread, for n = 1 to 21: fewer threads, and no exit."""
    library = tmp_path / "refuse.so"
    source = str(REPOSITORY / "tests" / "refuse_threads.c")
    subprocess.run(
        [*c_compiler(), "-shared", "-fPIC", "-O1", source, "-o", str(library), "-ldl"],
        check=True,
        timeout=60,
    )
    for allowed in range(21):
        output = run_python(
            REFUSED,
            LD_PRELOAD=str(library),
            OPENBLAS_NUM_THREADS="1",
            FUSEDLOSS_TEST_THREADS=str(allowed),
        )
        assert int(output) == allowed


FILLED = """
import os, pathlib, resource, signal, threading, time
import numpy as np
import fusedloss as fl

logits = np.random.default_rng(0).normal(size=(3000, 300)).astype("float32")
grad = fl.value_and_grad(fl.cross_entropy)

def result(num_threads):
    value, gradient = grad(logits, np.arange(3000) % 300, num_threads=num_threads)
    return value, gradient.tobytes()

def workers():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    return sum([(task / "comm").read_text() == "fusedloss\\n" for task in tasks])

def threads_of_user():
    count = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.getuid():
                count += len(os.listdir(process / "task"))
        except OSError:
            pass  # it has ended
    return count

expected = result(1)
if os.getuid() == 0:  # whom no limit holds back
    os.setresuid(54321, 54321, 54321)
limit = threads_of_user() + 20
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
ready, is_ready = os.pipe()
neighbour = os.fork()
if neighbour == 0:
    signal.alarm(60)
    while True:
        try:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            break
    os.write(is_ready, b"!")
    time.sleep(60)
    os._exit(0)
os.read(ready, 1)
assert result(4) == expected
refused = workers()
os.kill(neighbour, signal.SIGKILL)
os.waitpid(neighbour, 0)
for _ in range(100):  # the system is asked again after a second
    assert result(4) == expected
    if workers():
        break
    time.sleep(0.1)
print(refused, workers())
"""


@linux
def test_threads_refused_since_another_process_has_them(run_python: Callable[..., str]) -> None:
    """A process of the same user fills the limit: one thread does, until there is room again."""
    assert run_python(FILLED, OPENBLAS_NUM_THREADS="1").split() == ["0", "3"]


# ---- Modes of arithmetic -----------------------------------------------------------------------

MODES = """
import ctypes, numpy as np, fusedloss as fl
libm = ctypes.CDLL("libm.so.6")
logits = np.random.default_rng(0).normal(size=(3000, 300)).astype("float32")
target = np.zeros(3000, int)
tiny = logits * np.float32(1e-36)  # mse's gradients are subnormal
ce, mse = fl.value_and_grad(fl.cross_entropy), fl.value_and_grad(fl.mse_loss)
ce(logits, target, num_threads=7)  # the pool is made in the usual mode

def results(mode):
    found = set()
    for num_threads in (1, 2, 7, 7, 7):
        value, gradient = ce(logits, target, num_threads=num_threads)
        small = mse(tiny, np.zeros_like(tiny), num_threads=num_threads)[1]
        found.add((value, gradient.tobytes(), small.tobytes()))
    assert len(found) == 1, mode
    return found.pop()

usual = results("nearest")
for rounding in (0x400, 0x800, 0xC00):
    before = libm.fegetround()
    libm.fesetround(rounding)
    directed = results(hex(rounding))
    assert libm.fegetround() == rounding
    libm.fesetround(before)
    assert directed != usual
environment = (ctypes.c_uint32 * 8)()  # glibc's fenv_t; its last word is MXCSR
libm.fegetenv(environment)
environment[7] |= 0x8040  # flush to zero, denormals are zero
libm.fesetenv(environment)
flushed = results("flush to zero")
environment[7] &= ~0x8040
libm.fesetenv(environment)
assert results("nearest again") == usual
assert flushed != usual
print("equal")
"""


@linux
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="bits of x86-64's MXCSR")
def test_same_bits_in_modes_set_after_the_pool(run_python: Callable[..., str]) -> None:
    assert run_python(MODES).strip() == "equal"


# ---- Who ran what ------------------------------------------------------------------------------

SHARE = """
import numpy as np, fusedloss as fl
from fusedloss import _core
logits = np.zeros((2048, 8000), "float32")
out = np.empty_like(logits)
grad = fl.value_and_grad(fl.cross_entropy)
a = np.ones((512, 512), "float32")
shares = []
for _ in range(20):
    a @ a
    before = _core.engine_counts()
    grad(logits, np.zeros(2048, int), out=out, num_threads=2)
    after = _core.engine_counts()
    shares.append((after["tasks_by_others"] - before["tasks_by_others"])
                  / (after["tasks"] - before["tasks"]))
print(max(shares))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a second core")
def test_another_thread_helps_after_a_product(run_python: Callable[..., str]) -> None:
    """With the best of 20 calls, since other programs may keep the second core."""
    assert float(run_python(SHARE)) > 0.35


INSIDE = """
import ctypes, sys
import numpy as np, fusedloss as fl
from fusedloss import _core
library = ctypes.CDLL(sys.argv[1])
logits, target = np.zeros((3000, 300), "float32"), np.zeros(3000, int)

def loops_on_several_threads(run):
    before = _core.engine_counts()["pool"]
    run()
    return _core.engine_counts()["pool"] - before

def call():
    fl.cross_entropy(logits, target, num_threads=2)

outside = loops_on_several_threads(call)
callback = ctypes.CFUNCTYPE(None)(call)
print(outside, loops_on_several_threads(lambda: library.inside(callback)))
"""

REGION = """
void inside(void (*call)(void)) {
#pragma omp parallel num_threads(2)
    {
#pragma omp master
        call();
    }
}
"""


@posix
def test_a_call_inside_a_region_of_openmp_has_one_thread(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """The region's threads have the cores already."""
    source, library = tmp_path / "region.c", tmp_path / "region.so"
    source.write_text(REGION)
    flags = ("-shared", "-fPIC", "-O1", "-fopenmp", str(source), "-o", str(library))
    built = subprocess.run([*c_compiler(), *flags], capture_output=True, check=False)
    if built.returncode != 0:
        pytest.skip("the compiler has no OpenMP")
    assert run_python(INSIDE, str(library)).split() == ["1", "0"]


# ---- Signals -----------------------------------------------------------------------------------

BLOCKED = """
import os, numpy as np, fusedloss as fl
fl.cross_entropy(np.zeros((2000, 1000)), np.zeros(2000, int), num_threads=4)
masks = []
for task in os.listdir("/proc/self/task"):
    lines = open(f"/proc/self/task/{task}/status").read().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    if fields["Name"].strip() == "fusedloss":
        masks.append(int(fields["SigBlk"], 16))
print(len(masks), all(mask >> signal & 1 for mask in masks for signal in (0, 1, 9, 11, 13, 14)))
"""


@linux
def test_signals_are_for_the_threads_of_the_program(run_python: Callable[..., str]) -> None:
    """Workers block them: SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGALRM and SIGTERM among them."""
    assert run_python(BLOCKED).split() == ["3", "True"]


FORK_IN_HANDLER = """
import os, signal, warnings
import numpy as np
import fusedloss as fl
warnings.simplefilter("ignore", DeprecationWarning)  # fork of a process with threads: the subject
x = np.broadcast_to(np.float32(0.5), (1_500_000, 1000))
y = np.broadcast_to(np.int64(1), (1_500_000,))
child = None

def handler(*_):
    global child
    child = os.fork()

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    fl.cross_entropy(x, y, num_threads=2)
    outcome = "a result"
except RuntimeError as error:
    outcome = str(error)
if child == 0:
    signal.alarm(20)
    small = fl.cross_entropy(np.zeros((3000, 100)), np.zeros(3000, int), num_threads=2)
    os._exit(0 if "forked" in outcome and abs(small - np.log(100)) < 1e-9 else 1)
print(outcome, os.waitpid(child, 0)[1])
"""


@posix
def test_fork_in_a_signal_handler(run_python: Callable[..., str]) -> None:
    """The child, whose tasks are with workers of the parent, has an error, and goes on."""
    assert run_python(FORK_IN_HANDLER).split() == ["a", "result", "0"]


# ---- Ctrl-C ------------------------------------------------------------------------------------

#: Calls of seconds, by the family of kernels that runs them: one number, as large as it takes.
LONG_CALLS = {
    "softmax": "fl.cross_entropy(z(3_000_000, 1000), y(3_000_000))",
    "pointwise": "fl.gamma_loss(z(4_000_000_000), z(4_000_000_000))",
    "rowwise": "fl.sparsemax_loss(z(1_000_000, 1000), y(1_000_000))",
    "linear": "fl.linear_cross_entropy(z(32_768, 512), z(20_000, 512), y(32_768))",
    # hundreds of jobs, each shorter than the time between two polls
    "chunks": "fl.linear_cross_entropy(z(99_999, 512), z(9000, 512), y(99_999), workspace=1 << 22)",
    "pairs": "fl.circle_loss(z(65_536, 64), y(65_536))",
    "images": "fl.dice_loss(z(16, 100, 2000, 2000), y(16, 2000, 2000))",
    # tasks that take longer than all of that: one sequence, and heads of ten million classes
    "ctc": "fl.ctc_loss(z(100_000, 1, 50), y(1, 20_000), y(1) * 100_000, y(1) * 20_000)",
    "ctc gradient": "grad(fl.ctc_loss)(z(12_000, 1, 50), y(1, 4000), y(1) * 12_000, y(1) * 4000)",
    "classes": "fl.linear_cross_entropy(z(512, 256), z(10_000_000, 256), y(512))",
    "classes gradient": "grad(fl.linear_cross_entropy)(z(512, 256), z(10_000_000, 256), y(512))",
    "head": "fl.arcface_loss(z(512, 256), z(10_000_000, 256), y(512))",
}

INTERRUPT = """
import os, signal, sys, threading, time
import numpy as np
import fusedloss as fl

def z(*shape):
    return np.broadcast_to(np.float32(0.5), shape)

def y(*shape):
    return np.broadcast_to(np.int64(1), shape)

def grad(function):
    return fl.value_and_grad(function, argnums=0)

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
fl.set_num_threads(int(sys.argv[2]))
call = compile(sys.argv[1], "call", "eval")

def interrupt():
    global sent
    time.sleep(0.3)
    sent = time.process_time()
    os.kill(os.getpid(), signal.SIGINT)

thread = threading.Thread(target=interrupt)
thread.start()
calls = 0
try:
    while True:
        eval(call)
        calls += 1
except KeyboardInterrupt:
    print((time.process_time() - sent) / int(sys.argv[2]), calls)
thread.join()
assert abs(fl.cross_entropy(np.zeros((3000, 100)), np.zeros(3000, int)) - np.log(100)) < 1e-9
"""


@posix
@pytest.mark.parametrize("family", LONG_CALLS)
def test_interrupt(family: str, run_python: Callable[..., str]) -> None:
    """In the first call, within half a second of a thread's time: that, others do not lengthen."""
    for num_threads in ("1", "2"):
        seconds, calls = run_python(INTERRUPT, LONG_CALLS[family], num_threads).split()
        assert float(seconds) < 0.5
        assert calls == "0"
