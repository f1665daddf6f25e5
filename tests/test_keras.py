"""The Keras front: a table of loss x backend x (eager, fit, save), and Keras' rules.

Keras has one backend in a process, so each gets a process of its own, in which `keras_cells.py`
checks all cells. `make check` runs them all, `make test` those of torch, of NumPy, and under JAX a
cell of each kind that compiles no model: JAX compiles every operation of every shape, which takes a
minute for all, and test_jax.py has the losses. TensorFlow is slow to import.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from keras_cases import BY_FORMULA, LAYERS, OF_KERAS, OWN, RULES, cells

HERE = Path(__file__).parent

#: What `make test` runs of a backend. Rules that call many losses compile as many programs.
SHORT: dict[str, tuple[str, ...]] = {
    "jax": (
        "worked",
        *("eager-CategoricalHinge", "eager-MeanSquaredError"),
        *("own_eager-FocalLoss", "own_eager-TripletLoss", "layer_eager-ArcFace"),
        *(
            f"rule-{name}"
            for name in RULES
            if name not in ("functions", "no_warnings", "sixteen_bits")
        ),
    ),
    "numpy": ("",),
    "torch": ("",),
}


@cache
def faults(backend: str, kinds: tuple[str, ...] = ()) -> dict[str, str]:
    """What went wrong in each cell of some kinds, or of all."""
    done = subprocess.run(
        [sys.executable, str(HERE / "keras_cells.py"), *kinds],
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = {line["cell"]: line["fault"] for line in lines}
    if done.returncode:
        found["rest"] = done.stderr
    return found


def check(found: dict[str, str], cell: str) -> None:
    assert cell in found, f"the process ended before: {found.get('rest')}"
    assert not found[cell], found[cell]


@pytest.mark.parametrize(
    ("backend", "cell"),
    [(b, cell) for b, kinds in SHORT.items() for cell in cells(b) if cell.startswith(kinds)],
)
def test_cell(backend: str, cell: str) -> None:
    check(faults(backend, SHORT[backend]), cell)


@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "cell"),
    [
        *(("jax", cell) for cell in cells("jax") if not cell.startswith(SHORT["jax"])),
        *(("tensorflow", cell) for cell in cells("tensorflow")),
    ],
)
def test_other_cell(backend: str, cell: str) -> None:
    pytest.importorskip(backend)
    check(faults(backend), cell)


def run(code: str, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


PAGE = HERE.parent / "docs" / "keras.md"


@pytest.mark.skipif(not PAGE.exists(), reason="this copy has no documentation")
def test_page_has_every_name_and_its_examples_run(tmp_path: Path) -> None:
    """The table of names is that of Keras, and says of each whether a kernel computes it."""
    page = PAGE.read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `\w+` \| (\w+)", page, re.MULTILINE))
    assert set(rows) == set(OF_KERAS)
    assert {name for name, by in rows.items() if by != "kernel"} == BY_FORMULA
    functions = re.findall(r"^\| `\w+` \| `(\w+)`", page, re.MULTILINE)
    assert all(f"`{name}`" in page for name in (*OWN, *LAYERS))
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    of_functions = (
        f"import os\nos.chdir({str(tmp_path)!r})\nfrom fusedloss.keras import losses\n"
        + (f"for name in {functions}: getattr(losses, name)\n")
    )
    done = run(of_functions + "\n".join(blocks), KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr


def test_import_is_lazy() -> None:
    """Neither the package nor the front imports Keras before a loss or layer is looked at."""
    code = (
        "import sys, fusedloss, fusedloss.keras\n"
        "assert not {'keras', 'torch', 'jax', 'tensorflow'} & set(sys.modules)\n"
        "from fusedloss.keras import losses\n"
        "assert 'keras' in sys.modules and 'torch' not in sys.modules\n"
    )
    done = run(code, KERAS_BACKEND="numpy")
    assert done.returncode == 0, done.stderr
