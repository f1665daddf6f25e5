"""The examples of README and documentation run, and the README's commands exist."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fusedloss as fl
from conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text() if (REPOSITORY / "README.md").exists() else ""


#: Pages whose code other tests run, in a process group and with Keras' backends, or find in the
#: sources.
ELSEWHERE = {"docs/distributed.md", "docs/keras.md", "docs/new_loss.md"}

#: The README and all other pages that have code in Python.
PAGES = [
    name
    for path in [
        REPOSITORY / "README.md",
        *sorted(REPOSITORY.glob("docs/*.md")),
        *sorted(REPOSITORY.glob("docs/guides/*.md")),
    ]
    if path.exists() and "```python\n" in path.read_text()
    for name in [str(path.relative_to(REPOSITORY))]
    if name not in ELSEWHERE
]


@pytest.mark.parametrize("document", PAGES)
def test_python_blocks_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, one after another, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / document).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, Any] = {"__name__": "example"}
    for number, block in enumerate(blocks):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, f"block {number}", None, 0)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, clear_globs=False)
            names.update(test.globs)
            assert runner.failures == 0
        else:
            exec(compile(block, f"{document}, python block {number}", "exec"), names)


def test_the_chinese_readme_has_the_same_code_and_figures() -> None:
    pattern = re.compile(
        r"^```.*?^```|<!-- measured: begin -->.*<!-- measured: end -->", re.S | re.M
    )
    chinese = (REPOSITORY / "README.zh-CN.md").read_text()
    assert pattern.findall(chinese) == pattern.findall(README)


def test_make_targets_exist() -> None:
    named = set(
        re.findall(
            r"\bmake ([a-z]+)\b",
            " ".join(re.findall(r"`[^`]*`|^    .*$|```.*?```", README, re.DOTALL | re.MULTILINE)),
        )
    )
    assert {"demo", "test"} <= named
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets


def test_links_work_away_from_the_repository() -> None:
    """The README is also the package's description, beside which there are no files."""
    assert re.findall(r"\]\((?!https?:|#|mailto:)[^)]*\)", README) == []


def test_files_that_are_named_exist() -> None:
    named = re.findall(r"`((?:docs|include|examples|tests)/[\w./-]+|[A-Z]+\.md)`", README)
    assert named
    # what `make docs` makes is not there yet
    made = ("docs/_build/",)
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert [name for name in missing if not name.startswith(made)] == []


def wrong_calls() -> dict[str, Callable[[], Any]]:
    """A call for each message of the page on errors, by the message's first words."""
    logits, step = np.zeros((18, 1000)), fl.value_and_grad(fl.cross_entropy)
    target = np.array([*range(17), 1203])
    rows = np.ones((2, 3))
    return {
        "target[17] is": lambda: fl.cross_entropy(logits, target),
        "target has shape": lambda: fl.cross_entropy(logits, target[:, None]),
        "target has dtype": lambda: fl.cross_entropy(logits, target.astype(float)),
        "logits has dtype": lambda: fl.cross_entropy(logits.astype(int), target),
        "probs[0] is": lambda: fl.binary_cross_entropy([1.5], [1.0]),
        "shapes do not": lambda: fl.mse_loss(np.zeros(3), np.zeros(4)),
        "loss is arcface": lambda: fl.grad_and_hess(fl.arcface_loss),
        "logits is a": lambda: fl.cross_entropy(torch.zeros(2, 3), [0, 1]),  # type: ignore[arg-type]
        "loss is <": lambda: fl.value_and_grad(print),  # type: ignore[arg-type]
        "out overlaps": lambda: step(logits[:9], target[:9], out=logits[1:10]),
        "margin is": lambda: fl.arcface_loss(rows, np.ones((4, 3)), [0, 1], margin=28.6),
    }


def test_messages_of_the_page_on_errors() -> None:
    """The table quotes what is raised, word for word; a failed allocation is tested elsewhere."""
    page = (REPOSITORY / "docs/guides/errors.md").read_text()
    quoted = re.findall(r"^\| `([^`]*)`", page, re.MULTILINE)
    calls = wrong_calls()
    assert len(quoted) == len(calls) + 1
    for begin, call in calls.items():
        [message] = [each for each in quoted if each.startswith(begin)]
        pattern = re.escape(message).replace(re.escape("<function ...>"), ".*")
        with pytest.raises((TypeError, ValueError, IndexError), match=pattern):
            call()
