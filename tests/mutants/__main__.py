"""python -m mutants [--only N ...]: build the copy, run the tests of every fault, say who lives.

The same tests run without a fault first: unless they pass, a failure shows nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import math
import os
import shlex
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

#: The copy, tests and all: some of them compile parts of the sources that they lie beside.
SOURCE = BUILD / "source"

#: Of a hundred faults.
NOTICED_AT_LEAST = 95

#: A child is stopped by its fault if it takes as many times as long as without one, and a minute.
TIMES_AS_LONG = 4

#: What is said of a fault: whether tests have noticed it.
WORDS = {True: "noticed", False: "LIVES", None: "UNKNOWN"}

#: Seconds between two looks at a child.
LOOK = 0.05

SWITCH = "FUSEDLOSS_MUTANT"

#: The switch in C; every program that is made of these sources has it, and reads it as it starts.
DECLARATION = f"""\
#ifndef FL_MUTANT
#define FL_MUTANT
__attribute__((weak, visibility("default"))) int fl_mutant;
extern char *getenv(const char *);
extern int atoi(const char *);
__attribute__((constructor, unused)) static void fl_choose_mutant(void) {{
    const char *number = getenv("{SWITCH}");
    if (number) fl_mutant = atoi(number);
}}
#endif
"""

#: What Cython is told of the switch, and where.
CYTHON_HEADER = 'cdef extern from "fusedloss.h" nogil:\n'
CYTHON_DECLARATION = CYTHON_HEADER + "    int fl_mutant\n"


def planted(text: str, fault: Fault, number: int) -> str:
    """The text with the fault behind its switch."""
    count = text.count(fault.text)
    if count != 1:
        raise SystemExit(f"fault {number}: {count} times in {fault.file}: {fault.text}")
    right, faulty = fault.right, fault.faulty
    if fault.file.endswith((".py", ".pyx", ".pxi")):
        wanted = f'__import__("os").environ.get("{SWITCH}") == "{number}"'
        if not fault.file.endswith(".py"):
            wanted = f"fl_mutant == {number}"
        switched = f"(({faulty}) if {wanted} else ({right}))"
    elif right in ("+=", "-=", "*="):
        raise SystemExit(f"fault {number}: mark a whole statement, not its operator")
    elif right.endswith(";"):
        switched = f"{{ if (fl_mutant == {number}) {{ {faulty} }} else {{ {right} }} }}"
    else:
        switched = f"(fl_mutant == {number} ? ({faulty}) : ({right}))"
    at = text.index(fault.text) + fault.snippet.index("«")
    return text[:at] + switched + text[at + len(right) :]


def build() -> None:
    """A copy of the sources with every fault, and its extension."""
    source = SOURCE
    for name in ("src", "include"):
        target = source / name
        for file in list(target.rglob("*")):
            if file.is_file() and not (REPOSITORY / name / file.relative_to(target)).exists():
                file.unlink()
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
            if file.name == "fusedloss.h" or (faults and file.suffix == ".c"):
                text = DECLARATION.encode() + text
            if file.name == "core.pyx":
                text = text.replace(CYTHON_HEADER.encode(), CYTHON_DECLARATION.encode())
            to = target / file.relative_to(REPOSITORY / name)
            to.parent.mkdir(parents=True, exist_ok=True)
            if not to.exists() or to.read_bytes() != text:
                to.write_bytes(text)
    shutil.rmtree(source / "tests", ignore_errors=True)
    shutil.copytree(REPOSITORY / "tests", source / "tests")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPOSITORY / name, source / name)
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(BUILD / "temp")]
    command += ["--build-lib", str(BUILD / "lib")]
    subprocess.run(command, cwd=source, check=True)


def outcome(number: int, tests: str, most: float) -> tuple[int | None, float]:
    """The status of tests in a child in which the fault is switched on, and how long they took.

    None if they took more than so many seconds.
    """
    import fusedloss

    words = shlex.split(tests)
    tests_of_copy = Path(__file__).resolve().parent.parent
    files = [x if not x.endswith(".py") else str(tests_of_copy / x) for x in words]
    child = os.fork()
    if child == 0:
        os.environ[SWITCH] = str(number)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        folder = Path(fusedloss.__file__).parent
        extension = next(x for x in folder.glob("_core*") if x.name.endswith((".abi3.so", suffix)))
        ctypes.c_int.in_dll(ctypes.CDLL(str(extension)), "fl_mutant").value = number
        import pytest

        if number:  # without a fault there is nothing to print, unless something is wrong
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
        os._exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not long", *files]))
    looks = 0  # counted, so that no time goes by while all of this is stopped
    while looks * LOOK < most:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), looks * LOOK
        time.sleep(LOOK)
        looks += 1
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, most


@functools.cache
def seconds_without(tests: str) -> float | None:
    """How long tests take without a fault; None unless they pass."""
    code, seconds = outcome(0, tests, math.inf)
    if code:
        print(f"    without a fault: pytest {tests}: status {code}", flush=True)
        return None
    print(f"    passes without a fault in {seconds:.0f} s: {tests}", flush=True)
    return seconds


def noticed(number: int, tests: str) -> bool | None:
    """Whether tests that pass without the fault fail, crash or hang with it, file by file.

    None if nothing is known: some of them do not pass without it either, and the others do with it.
    """
    unknown = False
    for part in [tests] if " -k " in tests else tests.split():
        seconds = seconds_without(part)
        if seconds is None:
            unknown = True
            continue
        code, _ = outcome(number, part, TIMES_AS_LONG * seconds + 60)
        if code is not None and code > 1:
            raise SystemExit(f"fault {number}: pytest {part}: status {code}")
        if code != 0:
            return True
    return None if unknown else False


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants")
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--built", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.built:
        from fusedloss import _core

        os.environ["FUSEDLOSS_COMPILED_ISAS"] = _core.current_isa()  # one is quickly compiled
        build()
        # the copy's table: what is edited meanwhile has other numbers
        path = os.pathsep.join([str(BUILD / "lib"), str(SOURCE / "tests")])
        arguments = [sys.executable, "-m", "mutants", "--built", str(BUILD), *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONPATH": path})
    import ml_dtypes  # noqa: F401 (imported once, for all children)
    import numpy as np  # noqa: F401
    import pytest  # noqa: F401
    import torch  # noqa: F401

    import fusedloss

    assert Path(fusedloss.__file__).is_relative_to(options.built), fusedloss.__file__
    chosen = options.only or range(1, len(FAULTS) + 1)
    started, alive, unknown = time.monotonic(), [], []
    for number in chosen:
        fault = FAULTS[number - 1]
        seen = noticed(number, fault.tests)
        print(
            f"{number:3} {WORDS[seen]:7} {fault.file}: {fault.right} -> {fault.faulty}",
            flush=True,
        )
        if seen is None:
            unknown.append(number)
        elif not seen:
            alive.append(number)
    count = len(list(chosen))
    found = count - len(alive) - len(unknown)
    print(
        f"{found} of {count} noticed in {time.monotonic() - started:.0f} s; alive: {alive}; "
        f"unknown, since tests fail without a fault: {unknown}"
    )
    return int(100 * found < NOTICED_AT_LEAST * count)


if __name__ == "__main__":
    sys.exit(main())
