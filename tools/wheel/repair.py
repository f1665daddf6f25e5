"""Make a wheel that this machine built fit for others: `python repair.py WHEEL FOLDER`.

The OpenMP runtime goes beside the extension under its own name, libgomp.so.1. auditwheel, left to
itself, would add it under a name made up from its hash, which the loader takes for a different
library than the libgomp.so.1 that torch brings along: two pools of threads in one process. With
the plain name, whichever package loads first brings the runtime for both. Then auditwheel, which
leaves alone what it finds in the wheel, gives it the platform tag that its symbols allow.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from whichprovides import whichprovides

RUNTIME = "libgomp.so.1"
RUNTIME_LICENSE = "GPL-3.0-or-later WITH GCC-exception-3.1"
NOTICE = Path(__file__).with_name("LICENSE.libgomp")


def run(*command: str | Path) -> None:
    """Run a command without its chatter; its failure is ours."""
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def loaded_runtime() -> Path:
    """Return the file that this system's loader takes for the runtime."""
    ctypes.CDLL(RUNTIME)
    maps = Path("/proc/self/maps").read_text()
    return Path(next(line.split()[-1] for line in maps.splitlines() if RUNTIME in line))


def add_runtime(extension: Path, runtime: Path) -> None:
    """Put the runtime beside the extension, and have the extension look for it there."""
    # The debug information names the temporary folder of the build, and the build id is its hash.
    run("strip", "--strip-debug", "--remove-section=.note.gnu.build-id", extension)
    run("patchelf", "--set-rpath", "$ORIGIN", extension)
    bundled = extension.with_name(RUNTIME)
    shutil.copyfile(runtime, bundled)
    bundled.chmod(0o755)


def add_license(metadata: Path) -> None:
    """State the runtime's license beside the package's, as PEP 639 has it, and add its text."""
    shutil.copyfile(NOTICE, metadata.parent / "licenses" / NOTICE.name)
    text = metadata.read_text()
    for field, addition in (
        ("License-Expression: BSD-3-Clause", f" AND {RUNTIME_LICENSE}"),
        ("License-File: LICENSE", f"\nLicense-File: {NOTICE.name}"),
    ):
        assert f"\n{field}\n" in text, f"no line '{field}' in the wheel's METADATA"
        text = text.replace(f"\n{field}\n", f"\n{field}{addition}\n", 1)
    metadata.write_text(text)


def add_bill_of_materials(dist_info: Path, runtime: Path) -> None:
    """Name the package that the runtime comes from, as PEP 770 has it."""
    component = {
        "type": "library",
        "name": "libgomp",
        "licenses": [{"expression": RUNTIME_LICENSE}],
    }
    package = whichprovides([str(runtime)]).get(str(runtime))
    if package is not None:
        component |= {
            "name": package.package_name,
            "version": package.package_version,
            "purl": package.purl,
        }
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [component]}
    folder = dist_info / "sboms"
    folder.mkdir()
    (folder / "libgomp.cdx.json").write_text(json.dumps(bill, indent=2) + "\n")


def repair(wheel: Path, folder: Path) -> None:
    """Write the repaired wheel to the folder."""
    runtime = loaded_runtime()
    with tempfile.TemporaryDirectory() as temporary:
        run(sys.executable, "-m", "wheel", "unpack", "--dest", temporary, wheel)
        (tree,) = Path(temporary).iterdir()
        (extension,) = tree.glob("fusedloss/_core.*.so")
        (dist_info,) = tree.glob("*.dist-info")
        add_runtime(extension, runtime)
        add_license(dist_info / "METADATA")
        add_bill_of_materials(dist_info, runtime)
        run(sys.executable, "-m", "wheel", "pack", "--dest-dir", temporary, tree)
        run("auditwheel", "repair", "--wheel-dir", folder, Path(temporary) / wheel.name)


if __name__ == "__main__":
    repair(Path(sys.argv[1]), Path(sys.argv[2]))
