"""Labels and lengths that another thread changes during a call: never outside memory.

What such a call returns has no meaning; the process must survive it. The calls are large enough to
give up the GIL; a process runs a part of the losses.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calls import FUNCTIONS, arrays_of, valid

#: Integer arrays of each loss, by name.
CHANGED = {
    name: [k for k, x in arrays_of(name).items() if getattr(x, "dtype", np.dtype("f")).kind in "iu"]
    for name in FUNCTIONS
    if hasattr(FUNCTIONS[name], "__fusedloss__")
}

SECONDS = 0.2
PARTS = 4

SCRIPT = """
import sys, threading, time
import numpy as np
import fusedloss as fl
from calls import ERRORS, FUNCTIONS, run
from test_changed_labels import large

seconds = float(sys.argv[1])
sys.setswitchinterval(1e-5)

def flip(integers, good, going):
    while going:
        for huge in (2**62, -(2**62), 10**7):
            for x in integers:
                x[..., ::3] = huge
            for x, y in zip(integers, good):
                x[...] = y

for name in sys.argv[2:]:
    print(name, flush=True)
    arguments = large(name)
    integers = [
        x for x in arguments.values() if isinstance(x, np.ndarray) and x.dtype.kind in "iu"
    ]
    going = [True]
    thread = threading.Thread(target=flip, args=(integers, [x.copy() for x in integers], going))
    thread.start()
    end, calls = time.monotonic() + seconds, 0
    while time.monotonic() < end or calls < 3:
        try:
            run(name, arguments)
        except ERRORS:
            pass
        calls += 1
    going.clear()
    thread.join()
"""


def large(name: str) -> dict[str, object]:
    """Return a valid call of many rows."""
    arguments: dict[str, object] = {}
    of_pairs = "embeddings" in arrays_of(name) and "weight" not in arrays_of(name)
    times = 20 if of_pairs or name == "manifold_loss" else 2000  # which hold matrices of rows
    if name == "ctc_loss":
        rows = 64
        return {
            "log_probs": np.full((400, rows, 20), -3.0, "float32"),
            "targets": np.ones((rows, 150), np.int64) + np.arange(150) % 19,
            "input_lengths": np.full(rows, 400),
            "target_lengths": np.full(rows, 150),
        }
    rows = 6
    for key, x in valid(name).items():
        repeats = isinstance(x, np.ndarray) and x.ndim > 0 and len(x) == rows
        arguments[key] = np.concatenate([x] * times) if repeats else x
    return arguments


LOSSES = [name for name, arrays in CHANGED.items() if arrays]


@pytest.mark.parametrize("part", range(PARTS))
def test_the_process_survives(part: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(SECONDS), *LOSSES[part::PARTS]],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = result.stdout.split()
    assert result.returncode == 0, f"{result.returncode} in {said[-1:]}\n{result.stderr[-2000:]}"
    assert said == LOSSES[part::PARTS]


def test_the_table_has_losses_of_every_family() -> None:
    assert {
        *("cross_entropy", "nll_loss", "multi_margin_loss", "multilabel_margin_loss", "ctc_loss"),
        *("linear_cross_entropy", "arcface_loss", "dice_loss", "triplet_loss", "focal_loss"),
    } <= {*LOSSES}
