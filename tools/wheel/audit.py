"""Audit the distributions in a folder, of any platform: `python audit.py FOLDER`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

SOURCES = Path(__file__).parents[2] / "src"

#: What a wheel has beside the package's Python files.
REQUIRED = (
    r"fusedloss/_core\.[\w-]+\.so",
    r"fusedloss/libgomp\.so\.1",
    r"fusedloss/include/fusedloss\.h",
    r"fusedloss-[^/]+\.dist-info/licenses/LICENSE",
    r"fusedloss-[^/]+\.dist-info/licenses/LICENSE\.libgomp",
    r"fusedloss-[^/]+\.dist-info/sboms/libgomp\.cdx\.json",
    *(rf"fusedloss-[^/]+\.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")),
    *(rf"fusedloss-[^/]+\.dist-info/{name}\.txt" for name in ("entry_points", "top_level")),
)

#: The newest interface of libgomp that torch's copy has, which is manylinux_2_28's. Where torch
#: is imported first, the loader finds that copy, and refuses an extension that asks for more.
NEWEST_INTERFACE = (5, 0)


def run(*command: str | Path) -> str:
    """Run a command and return what it prints; its failure, with what it printed, is ours."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def audit_contents(wheel: Path) -> None:
    """Check that every file that has to be there is, and no other: no C or Cython, no tests."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    python = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.glob("fusedloss/**/*")
        if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    }
    missing = python - names
    assert not missing, f"{wheel.name}: lacks {missing}"
    others = names - python
    for pattern in REQUIRED:
        found = {name for name in others if re.fullmatch(pattern, name)}
        assert len(found) == 1, f"{wheel.name}: {pattern} matches {found}"
        others -= found
    assert not others, f"{wheel.name}: unexpected files {others}"


def audit_libraries(wheel: Path) -> None:
    """Check the platform tag against the symbols, and that no library is missing."""
    report = json.loads(run("auditwheel", "show", "--json", wheel))
    assert not report["external_libs"], f"{wheel.name}: needs {report['external_libs']}"
    tags = wheel.stem.rsplit("-", 1)[1].split(".")
    assert report["overall_tag"] in tags, f"{wheel.name}: the symbols say {report['overall_tag']}"
    for version in report["versioned_symbols"].get("libgomp.so.1", ()):
        number = tuple(map(int, re.findall(r"\d+", version)))
        assert number <= NEWEST_INTERFACE, f"{wheel.name}: needs {version}, too new for torch's"


def audit(folder: Path) -> None:
    """Audit every wheel and the source distribution in the folder."""
    wheels = sorted(folder.glob("*.whl"))
    sources = sorted(folder.glob("*.tar.gz"))
    assert wheels, f"no wheel in {folder}"
    assert len(sources) == 1, f"{len(sources)} source distributions in {folder}"
    for wheel in wheels:
        audit_contents(wheel)
        audit_libraries(wheel)
        run("check-wheel-contents", wheel)
        if "-abi3-" in wheel.name:
            run("abi3audit", "--strict", wheel)
    run("twine", "check", "--strict", *wheels, *sources)
    for path in [*sources, *wheels]:
        print(f"audited  {path}, {path.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    audit(Path(sys.argv[1]))
