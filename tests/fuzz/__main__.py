"""python -m fuzz [--seed N] [--seconds N | --calls N]: random calls, in child processes.

A child that crashes or hangs is a finding like any other; the next one goes on behind it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.known import KNOWN

TESTS = Path(__file__).resolve().parent.parent

#: Longer than any call takes, with all its checks, also on a busy machine.
HANGS_AFTER = 120


@dataclass
class Report:
    """What came of a run."""

    calls: int = 0
    answered: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[str] = field(default_factory=list)
    known: int = 0


class Watch:
    """Kills a process that has not been alive for too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.last = time.monotonic()
        self.stopped = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def alive(self) -> None:
        self.last = time.monotonic()

    def stop(self) -> None:
        self.stopped.set()

    def _run(self) -> None:
        while not self.stopped.wait(5):
            if time.monotonic() - self.last > HANGS_AFTER:
                self.process.kill()


def child(seed: int, first: int, calls: int, seconds: float) -> None:
    """Make calls, and write a line of JSON before and after each."""
    from fuzz.calls import Wrong, check, snippet
    from fuzz.draws import call_of

    def say(**what: Any) -> None:
        print(json.dumps(what), flush=True)

    warnings.simplefilter("ignore", UserWarning)  # torch's, of deprecated arguments
    warnings.simplefilter("ignore", RuntimeWarning)  # of drawing; calls turn them into errors
    end = time.monotonic() + seconds
    for index in range(first, first + calls):
        if time.monotonic() > end:
            break
        say(index=index)
        call = call_of(seed, index)
        program = snippet(call)
        try:
            answered = check(call)
            say(name=f"{call.front}.{call.name}", answered=answered)
        except Wrong as wrong:
            say(name=f"{call.front}.{call.name}", answered=True, wrong=str(wrong), program=program)
    say(done=True)


def run(seed: int, calls: int = 10**9, seconds: float = 1e9, most: int = 20) -> Report:
    """Make calls of a seed, in as many children as it takes."""
    report, first, end = Report(), 0, time.monotonic() + seconds
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *_python_path()])}
    while first < calls and time.monotonic() < end and len(report.findings) < most:
        arguments = [str(seed), str(first), str(calls - first), str(end - time.monotonic())]
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when it goes)
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz", "--child", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        index, done = first, False
        assert process.stdout is not None
        watch = Watch(process)
        for line in process.stdout:
            watch.alive()
            said = json.loads(line)
            index = said.get("index", index)
            done = done or "done" in said
            if "name" in said:
                report.calls += 1
                report.answered[said["name"]] += said["answered"]
            if "wrong" in said and any(re.search(known, said["wrong"]) for known in KNOWN):
                report.known += 1
            elif "wrong" in said:
                report.findings.append(_finding(seed, index, said["wrong"], said["program"]))
                if len(report.findings) >= most:
                    process.kill()
                    break
        code = process.wait()
        watch.stop()
        errors.seek(0)
        if not done and len(report.findings) < most:
            report.calls += 1
            name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            report.findings.append(
                _finding(seed, index, f"{name}\n{errors.read()[-4000:]}", _program(seed, index))
            )
        first = index + 1
        if done or len(report.findings) >= most:
            break
    return report


def _python_path() -> list[str]:
    return [x for x in os.environ.get("PYTHONPATH", "").split(os.pathsep) if x]


def _program(seed: int, index: int) -> str:
    from fuzz.calls import snippet
    from fuzz.draws import call_of

    return snippet(call_of(seed, index))


def _finding(seed: int, index: int, wrong: str, program: str) -> str:
    return f"call {index} of seed {seed}: {wrong}\n\n{program}\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--calls", type=int, default=10**9)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        seed, first, calls, seconds = options.child
        child(int(seed), int(first), int(calls), float(seconds))
        return 0
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    started = time.monotonic()
    report = run(seed, options.calls, options.seconds)
    for finding in report.findings:
        print(finding)
    answered = sum(report.answered.values())
    print(
        f"{report.calls} calls of {len(report.answered)} functions, {answered} answered, "
        f"{len(report.findings)} wrong, {report.known} known to be, "
        f"in {time.monotonic() - started:.0f} s"
    )
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
