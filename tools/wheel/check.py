"""Check that this machine's wheel works where it is installed: `python check.py FOLDER REBUILT`.

FOLDER has the wheel, REBUILT another build of it, which has to be the same to the last byte.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).parent
PYPROJECT = HERE.parents[1] / "pyproject.toml"

#: What would reach into the environments from the one that `make` was called in.
FOREIGN = ("FUSEDLOSS_", "OMP_", "GOMP_", "MKL_", "LD_", "PYTHON")


def pinned(package: str) -> str:
    """Return the requirement of the package that the tests pin."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    requirements: list[str] = project["optional-dependencies"]["test"]
    return next(item for item in requirements if item.startswith(f"{package}=="))


def check_rebuilt(wheel: Path, rebuilt: Path) -> None:
    """Check that two builds, from different folders, gave the same file."""
    first, second = (path.read_bytes() for path in (wheel, rebuilt / wheel.name))
    assert first == second, f"{wheel} and {rebuilt / wheel.name} differ"
    print(f"rebuilt  the same wheel, sha256 {hashlib.sha256(first).hexdigest()}", flush=True)


def check_installed(wheel: Path) -> None:
    """Install the wheel in a new environment and use it, without torch and with it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")

        def run(*arguments: str | Path) -> None:
            subprocess.run([python, "-I", *arguments], env=clean, check=True)

        pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "install", wheel)
        run(HERE / "smoke.py", "fusedloss")
        run(*pip, "install", pinned("torch"))
        run(HERE / "smoke.py", "fusedloss", "torch")
        run(HERE / "smoke.py", "torch", "fusedloss")


def main(folder: Path, rebuilt: Path) -> None:
    """Check the one wheel in the folder."""
    (wheel,) = folder.glob("*.whl")
    check_rebuilt(wheel, rebuilt)
    check_installed(wheel)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
