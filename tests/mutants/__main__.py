"""python -m mutants [--only N ...]: build the copy, run the tests of every fault, say who lives."""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from mutants.table import FAULTS, Fault

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUILD = REPOSITORY / "build" / "mutants"

#: Of a hundred faults.
NOTICED_AT_LEAST = 95

#: A child that takes longer has been stopped by its fault.
SECONDS = 120

SWITCH = "FUSEDLOSS_MUTANT"

DEFINITION = """\
__attribute__((visibility("default"))) int fl_mutant = 0;
"""


def planted(text: str, fault: Fault, number: int) -> str:
    """The text with the fault behind its switch."""
    count = text.count(fault.text)
    if count != 1:
        raise SystemExit(f"fault {number}: {count} times in {fault.file}: {fault.text}")
    right, faulty = fault.right, fault.faulty
    if fault.file.endswith(".py"):
        wanted = f'__import__("os").environ.get("{SWITCH}") == "{number}"'
        switched = f"(({faulty}) if {wanted} else ({right}))"
    elif right in ("+=", "-=", "*="):
        raise SystemExit(f"fault {number}: mark a whole statement, not its operator")
    elif right.endswith(";"):
        switched = f"if (fl_mutant == {number}) {{ {faulty} }} else {{ {right} }}"
    else:
        switched = f"(fl_mutant == {number} ? ({faulty}) : ({right}))"
    at = text.index(fault.text) + fault.snippet.index("«")
    return text[:at] + switched + text[at + len(right) :]


def build() -> None:
    """A copy of the sources with every fault, and its extension."""
    source = BUILD / "source"
    for name in ("src", "include"):
        target = source / name
        for file in sorted((REPOSITORY / name).rglob("*")):
            if not file.is_file() or file.suffix in (".so", ".pyc") or file.name == "core.c":
                continue
            text = file.read_bytes()
            relative = str(file.relative_to(REPOSITORY / "src")) if name == "src" else ""
            faults = [(n, f) for n, f in enumerate(FAULTS, 1) if f.file == relative]
            # from the end of the file on, so that one fault does not move another's snippet
            for n, fault in faults:
                planted(text.decode(), fault, n)
            for n, fault in sorted(faults, key=lambda x: -text.decode().index(x[1].text)):
                text = planted(text.decode(), fault, n).encode()
            if file.name == "fusedloss.h":
                text += b"\nextern const int fl_mutant;\n"
            to = target / file.relative_to(REPOSITORY / name)
            to.parent.mkdir(parents=True, exist_ok=True)
            if not to.exists() or to.read_bytes() != text:
                to.write_bytes(text)
    (source / "src/core/mutant.c").write_text(DEFINITION)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, source / name)
    from fusedloss import _core

    environment = {**os.environ, "FUSEDLOSS_COMPILED_ISAS": _core.current_isa()}
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(BUILD / "temp")]
    command += ["--build-lib", str(BUILD / "lib")]
    subprocess.run(command, cwd=source, env=environment, check=True)


def noticed(number: int, tests: str) -> bool:
    """Whether tests fail, or crash, in a child in which the fault is switched on."""
    import fusedloss

    files = [x if not x.endswith(".py") else str(REPOSITORY / "tests" / x) for x in tests.split()]
    child = os.fork()
    if child == 0:
        os.environ[SWITCH] = str(number)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        folder = Path(fusedloss.__file__).parent
        extension = next(x for x in folder.glob("_core*") if x.name.endswith((".abi3.so", suffix)))
        ctypes.c_int.in_dll(ctypes.CDLL(str(extension)), "fl_mutant").value = number
        import pytest

        nothing = os.open(os.devnull, os.O_WRONLY)
        if number:
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
        os._exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not long", *files]))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            if code > 1:
                raise SystemExit(f"fault {number}: pytest {tests}: status {code}")
            return code != 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants")
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--built", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.built:
        build()
        path = os.pathsep.join([str(BUILD / "lib"), str(REPOSITORY / "tests")])
        arguments = [sys.executable, "-m", "mutants", "--built", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONPATH": path})
    import ml_dtypes  # noqa: F401 (imported once, for all children)
    import numpy as np  # noqa: F401
    import pytest  # noqa: F401
    import torch  # noqa: F401

    import fusedloss

    assert Path(fusedloss.__file__).is_relative_to(BUILD), fusedloss.__file__
    chosen = options.only or range(1, len(FAULTS) + 1)
    started, alive = time.monotonic(), []
    for number in chosen:
        fault = FAULTS[number - 1]
        seen = noticed(number, fault.tests)
        print(
            f"{number:3} {'noticed' if seen else 'LIVES  '} {fault.file}: "
            f"{fault.right} -> {fault.faulty}",
            flush=True,
        )
        if not seen:
            alive.append(number)
    count = len(list(chosen))
    print(
        f"{count - len(alive)} of {count} noticed in {time.monotonic() - started:.0f} s; "
        f"alive: {alive}"
    )
    return int(100 * (count - len(alive)) < NOTICED_AT_LEAST * count)


if __name__ == "__main__":
    sys.exit(main())
