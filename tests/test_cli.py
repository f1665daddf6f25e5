"""The command line as its users run it: a process of its own, with and without the extras."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusedloss
from conftest import REPOSITORY
from fusedloss import __main__, _core
from fusedloss.cli._contenders import FRONT, OUT, TORCH, VALUE_AND_GRADIENT, Problem, Work
from fusedloss.cli._families import FAMILIES, Timed, find_losses, losses_of
from fusedloss.cli._measuring import NAMES
from fusedloss.cli.demo import PARTS

PNG = b"\x89PNG\r\n\x1a\n"

#: Runs the command line with the modules that its first argument names hidden.
HIDING = """
import sys
sys.modules.update(dict.fromkeys(filter(None, sys.argv.pop(1).split(","))))
from fusedloss.__main__ import main
sys.exit(main())
"""


def run(
    *arguments: str,
    cwd: Path,
    hide: str = "",
    status: int | None = 0,
    timeout: float = 120,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run `fusedloss` with these arguments; it must exit with this status, or with any for None."""
    result = subprocess.run(
        [sys.executable, "-c", HIDING, hide, *arguments],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert status in (None, result.returncode), result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def run_on_terminal(*arguments: str, cwd: Path, **variables: str) -> str:
    """Run `fusedloss` with a terminal of 100 columns as its output; return what it shows."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "fusedloss", *arguments],
        cwd=cwd,
        env={name: value for name, value in environment.items() if value},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux says EIO once the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode()


def test_module_and_script_are_the_same(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fusedloss", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == f"fusedloss {fusedloss.__version__}"
    (script,) = entry_points(group="console_scripts", name="fusedloss")
    assert script.load() is __main__.main


def test_import_leaves_the_command_line_alone(tmp_path: Path) -> None:
    code = """
import sys, fusedloss
print([name for name in ("fusedloss.cli", "argparse", "rich", "matplotlib", "torch")
       if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


# ---- Arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [(), ("info",), ("bench",), ("demo",)],
)
def test_help(command: tuple[str, ...], tmp_path: Path) -> None:
    shown = run(*command, "--help", cwd=tmp_path).stdout
    assert shown.startswith("usage: fusedloss")
    if not command:
        for example in ("fusedloss info", "fusedloss bench --shape", "fusedloss demo"):
            assert example in shown
    if command == ("demo",):
        for name, part in PARTS.items():
            assert re.search(rf"^  {name} +{re.escape(part.summary)}$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["train"], "invalid choice: 'train'"),
        (["info", "--fast"], "unrecognized arguments: --fast"),
        (["bench", "--shape", "5"], "--shape: two numbers or more are needed"),
        (["bench", "--shape", "5", "x"], "'x' is not a whole number above 0"),
        (["bench", "--shape", "5", "0"], "'0' is not a whole number above 0"),
        (["bench", "--shape", "5", "5", "--full"], "not allowed with argument --shape"),
        (["bench", "--threads", "0"], "'0' is not a whole number above 0"),
        (["bench", "--seconds", "0"], "'0' is not a number of seconds above 0"),
        (["bench", "--seconds", "nan"], "'nan' is not a number of seconds above 0"),
        (["bench", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["bench", "--json", "times.txt"], "'times.txt' does not end in .json"),
        (["bench", "--csv", "times.txt"], "'times.txt' does not end in .csv"),
        (["bench", "--png", "times.txt"], "'times.txt' does not end in .png"),
        (["bench", "--json", "no/times.json"], "'no' is not a folder"),
        (["bench", "--family", "trees"], "invalid choice: 'trees'"),
        (["bench", "--family", "pairs", "--full"], "not allowed with argument --family"),
        (["bench", "--compare", "old.json"], "expected 2 arguments"),
        (["bench", "--slower", "0.9"], "'0.9' is not a number from 1 up"),
        (["bench", "--curve", "times.json"], "'times.json' does not end in .png"),
        (["demo", "digit"], "'digit' is none of digits, embeddings, language, boosting"),
        (["demo", "digits", "--effort", "0"], "'0' is not a number above 0, up to 1"),
        (["demo", "--effort", "much"], "'much' is not a number above 0, up to 1"),
        (["demo", "--seed", "-1"], "'-1' is not a whole number"),
        (["demo", "--output", os.devnull], "'" + os.devnull + "' is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run(*arguments, cwd=tmp_path, status=2)
    assert result.stderr.startswith("usage: fusedloss")
    assert message in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def commands_of(page: str) -> list[list[str]]:
    """The words of every command line in a page's blocks of shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("python -m ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fusedloss ")]


@pytest.mark.parametrize(
    "document", ["README.md", "docs/guides/command_line.md", "docs/performance.md"]
)
def test_commands_of_the_documentation_are_taken(document: str) -> None:
    page = REPOSITORY / document
    if not page.exists():
        pytest.skip("the documentation is not here")
    commands = commands_of(page.read_text())
    assert commands
    for words in commands:
        __main__.make_parser().parse_args(words)


def test_tables_of_the_documentation_are_whole() -> None:
    page = REPOSITORY / "docs/guides/command_line.md"
    if not page.exists():
        pytest.skip("the documentation is not here")
    first = re.findall(r"^\| (\w+) \|", page.read_text(), re.MULTILINE)
    assert first == ["family", *NAMES, "part", *PARTS]


# ---- info -------------------------------------------------------------------------------------


def test_info_tells_what_is_used_and_why(tmp_path: Path) -> None:
    lowest = next(name for name in reversed(_core.isa_names()) if _core.isa_available(name))
    result = run("info", cwd=tmp_path, FUSEDLOSS_ISA=lowest, FUSEDLOSS_NUM_THREADS="3")
    shown = result.stdout
    config = fusedloss.show_config(mode="dicts")
    for section in config:
        assert section.replace("_", " ") in shown
    for word in (fusedloss.__version__, *_core.isa_names(), "FUSEDLOSS_ISA"):
        assert word in shown
    assert re.search(r"\b3\b.*FUSEDLOSS_NUM_THREADS|FUSEDLOSS_NUM_THREADS.*\b3\b", shown, re.DOTALL)


def test_info_as_json(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "fusedloss", "info", "--json"],
        cwd=tmp_path,
        env={**os.environ, "FUSEDLOSS_NUM_THREADS": "several"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    report = json.loads(shown)
    sections = list(fusedloss.show_config(mode="dicts"))
    assert list(report) == ["problems", *sections, "packages"]
    assert [type(each) for each in report["problems"]] == [str]
    assert "FUSEDLOSS_NUM_THREADS" in report["problems"][0]
    assert report["versions"]["fusedloss"] == fusedloss.__version__
    assert report["instruction_sets"]["in_use"] in report["instruction_sets"]["available"]
    assert isinstance(report["threads"]["number"], int)
    assert report["packages"]["scikit-learn"] == version("scikit-learn")
    assert all(each is None or isinstance(each, str) for each in report["packages"].values())


@pytest.mark.parametrize("module", [True, False])
def test_info_says_which_variable_is_wrong(tmp_path: Path, module: bool) -> None:
    """Other commands fail with the same words."""
    wrong = {"FUSEDLOSS_ISA": "avx9000", "FUSEDLOSS_NUM_THREADS": "several"}
    script = shutil.which("fusedloss", path=sysconfig.get_path("scripts"))
    if not module and script is None:
        pytest.skip("there is no script in this environment")
    start = [sys.executable, "-m", "fusedloss"] if module else [str(script)]
    results = [
        subprocess.run(
            [*start, command],
            cwd=tmp_path,
            env={**os.environ, **wrong},
            capture_output=True,
            text=True,
            check=False,
        )
        for command in ("info", "bench")
    ]
    assert [result.returncode for result in results] == [0, 1], results
    for words in wrong.items():
        for word in words:
            assert word in results[0].stdout
            assert word in results[1].stderr
    assert "instruction sets" in results[0].stdout
    assert "best available" in results[0].stdout


def test_info_is_the_same_text_in_a_pipe_with_and_without_rich(tmp_path: Path) -> None:
    with_rich = run("info", cwd=tmp_path)
    without = run("info", cwd=tmp_path, hide="rich,matplotlib")
    assert with_rich.stdout.isascii()
    assert "\x1b" not in with_rich.stdout
    # what is installed is part of the report; the layout does not depend on it
    hidden = re.compile(r".*\b(rich|matplotlib)\b.*")
    assert hidden.sub("", with_rich.stdout) == hidden.sub("", without.stdout)
    assert with_rich.stderr == without.stderr == ""


def test_terminal_shows_colours_unless_told_otherwise(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    assert colour.search(run_on_terminal("info", cwd=tmp_path, NO_COLOR=""))
    assert not colour.search(run_on_terminal("info", cwd=tmp_path, NO_COLOR="1"))


def test_reader_may_leave_early(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fusedloss", "info"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert complaint == b""


# ---- bench ------------------------------------------------------------------------------------


def contenders(path: Path) -> dict[tuple[tuple[int, ...], str, str, str], dict[str, Any]]:
    """The results of a JSON file by shape, dtype, mode and contender."""
    results = json.loads(path.read_text())["results"]
    return {(tuple(r["shape"]), r["dtype"], r["mode"], r["contender"]): r for r in results}


def test_bench(tmp_path: Path) -> None:
    arguments = ["--shape", "8", "5", "--shape", "2", "3", "4", "--threads", "1"]
    files = ["--json", "times.json", "--png", "times.png", "--curve", "curve.png"]
    result = run("bench", *arguments, *files, "--seconds", "0.1", cwd=tmp_path)
    assert result.stderr == ""
    assert "8 x 5 float32, 160 B" in result.stdout
    assert "2 x 3 x 4 float32" in result.stdout
    assert "in copies" in result.stdout
    for picture in ("times.png", "curve.png"):
        assert (tmp_path / picture).read_bytes().startswith(PNG)
        assert f"written: {picture}" in result.stdout

    report = json.loads((tmp_path / "times.json").read_text())
    assert report["threads"] == 1
    assert report["version"] == fusedloss.__version__
    measured = contenders(tmp_path / "times.json")
    for shape in ((8, 5), (2, 3, 4)):
        both = measured[shape, "float32", "value + gradient", "fusedloss, out="]
        assert both["relative_to_fusedloss"] == 1
        for contender in ("fusedloss", "NumPy"):
            for mode in ("value + gradient", "forward"):
                assert measured[shape, "float32", mode, contender]["seconds"] > 0
        assert measured[shape, "float32", "forward", "copy"]["in_yardsticks"] == 1


def test_bench_of_several_dtypes(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    dtypes = ("float16", "bfloat16", "float64")
    arguments = [word for dtype in dtypes for word in ("--dtype", dtype)]
    files = ["--json", "times.json", "--png", "times.png", "--curve", "curve.png"]
    run("bench", "--shape", "8", "5", *arguments, *files, "--seconds", "0.1", cwd=tmp_path)
    measured = contenders(tmp_path / "times.json")
    assert {dtype for _, dtype, _, _ in measured} == set(dtypes)
    for dtype in dtypes:
        for contender in ("fusedloss, out=", "fusedloss", "NumPy", "copy"):
            assert measured[(8, 5), dtype, "value + gradient", contender]["seconds"] > 0


@pytest.mark.long
def test_bench_with_every_peer(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    arguments = ("--shape", "8", "5", "--peers", "--seconds", "0.1", "--json", "times.json")
    shown = run("bench", *arguments, cwd=tmp_path).stdout
    measured = contenders(tmp_path / "times.json")
    named = {contender for _, _, mode, contender in measured if mode == "value + gradient"}
    expected = {"fusedloss, out=", "fusedloss", "fusedloss.torch", "NumPy", "torch eager", "copy"}
    compiled = set() if "torch.compile left out" in shown else {"torch.compile"}
    assert named == expected | compiled | {"JAX jit"}


@pytest.mark.long
def test_bench_without_a_compiler(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = run(
        *("bench", "--shape", "8", "5", "--peers", "--seconds", "0.1"),
        cwd=tmp_path,
        hide="jax",
        CXX="/nonexistent/c++",
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "inductor"),
    )
    assert "torch.compile left out" in result.stdout
    assert "JAX is not installed; for JAX's times beside: pip install" in result.stdout
    assert "torch eager" in result.stdout


def test_bench_without_the_extras(tmp_path: Path) -> None:
    arguments = ("bench", "--shape", "8", "5", "--dtype", "float64", "--peers", "--seconds", "0.1")
    result = run(*arguments, cwd=tmp_path, hide="rich,matplotlib,torch,jax")
    assert "8 x 5 float64, 320 B" in result.stdout
    assert "NumPy's copyto, on one thread" in result.stdout
    assert "torch is not installed; for torch's times beside: pip install 'fusedloss[torch]'" in (
        result.stdout
    )
    assert "JAX is not installed; for JAX's times beside: pip install jax optax" in result.stdout
    for peer in ("torch eager", "torch.compile", "JAX jit"):
        assert peer not in result.stdout
    assert result.stderr == ""


def test_bench_of_bfloat16_needs_ml_dtypes(tmp_path: Path) -> None:
    arguments = ("bench", "--shape", "8", "5", "--dtype", "bfloat16")
    result = run(*arguments, cwd=tmp_path, hide="ml_dtypes", status=1)
    assert "ml_dtypes is not installed" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--png", "--curve"])
def test_bench_cannot_plot_without_matplotlib(option: str, tmp_path: Path) -> None:
    arguments = ("bench", "--shape", "8", "5", option, "times.png")
    result = run(*arguments, cwd=tmp_path, hide="matplotlib", status=1)
    assert "pip install 'fusedloss[cli]'" in result.stderr
    assert result.stdout == ""  # said before anything is measured


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the free memory is not known")
def test_bench_refuses_what_does_not_fit(tmp_path: Path) -> None:
    result = run("bench", "--shape", "100000000", "1000000", cwd=tmp_path, status=1)
    assert "100000000 x 1000000 left out: it takes 3200000 GB of memory" in result.stderr


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark here")
def test_bench_measures_memory(tmp_path: Path) -> None:
    """A plain NumPy forward call keeps one array of the logits' size; fusedloss keeps none."""
    arguments = ("--shape", "1000", "5000", "--seconds", "0.1")
    run("bench", *arguments, "--json", "memory.json", cwd=tmp_path, hide="torch")
    measured = contenders(tmp_path / "memory.json")
    extra = {(mode, name): r["extra_bytes"] for (_, _, mode, name), r in measured.items()}
    logits = 1000 * 5000 * 4
    assert 0.9 * logits < extra["forward", "NumPy"] < 1.5 * logits
    assert extra["forward", "fusedloss"] < 0.1 * logits
    assert extra["value + gradient", "fusedloss"] < 0.1 * logits


# ---- bench, by family -------------------------------------------------------------------------

LOSSES = {one.computation.name: one for family in FAMILIES for one in losses_of(family, "float32")}


def test_every_loss_is_of_one_family() -> None:
    named = [one.computation.name for family in FAMILIES for one in losses_of(family, "float32")]
    assert sorted(named) == sorted(find_losses())
    unlisted = {name for name in fusedloss.__all__ if name.endswith(("_loss", "_div"))} - {*named}
    assert unlisted == {"zero_one_loss"}  # which has no gradient


@pytest.mark.filterwarnings("ignore:reduction")  # torch's, on the mean of kl_div
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_contenders_compute_the_same(loss: Timed) -> None:
    """What is timed side by side: a loss, its torch front, and torch's operations alone."""
    torch = pytest.importorskip("torch")
    first, *others = loss.work.shape
    smallest = 4 if first == 4 else 16  # images have few labels; the pairs need some of a class
    size = (smallest, *(8 if each > 200 else each for each in others))
    if loss.work.elements > 10**6 and len(size) == 2:  # rows that are distributions
        size = (smallest, others[0])
    problem = Problem(Work(size), 1, torch, loss.computation)
    values = [
        float(problem.contender(name, VALUE_AND_GRADIENT)()[0]) for name in (OUT, FRONT, TORCH)
    ]
    # Sums of up to a million terms, which torch rounds to float32 on its way.
    np.testing.assert_allclose(values[1:], values[0], rtol=1e-4)
    problem.contender(loss.computation.yardstick, VALUE_AND_GRADIENT)()


def test_bench_of_families(tmp_path: Path) -> None:
    arguments = ("--family", "boxes", "--family", "preference", "--seconds", "0.01")
    files = ("--json", "times.json", "--csv", "times.csv", "--png", "times.png")
    result = run("bench", *arguments, "--threads", "1", *files, cwd=tmp_path)
    assert result.stderr == ""
    for line in ("boxes, float32", "preference, float32", "  copy: the prediction copied into"):
        assert f"\n{line}" in result.stdout
    for loss in ("complete_box_iou_loss", "dpo_loss"):
        assert re.search(rf"^  {loss} +\d+ x \d+ +\S+ [mu]s +\S+ +\S+ +\S+$", result.stdout, re.M)
    assert (tmp_path / "times.png").read_bytes().startswith(PNG)
    results = json.loads((tmp_path / "times.json").read_text())["results"]
    named = {each["loss"] for each in results}
    assert named == {
        one.computation.name for f in ("boxes", "preference") for one in losses_of(f, "float32")
    }
    with (tmp_path / "times.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["seconds"]) for row in rows] == [each["seconds"] for each in results]
    assert {row["threads"] for row in rows} == {"1"}
    assert {row["contender"] for row in rows} >= {"fusedloss, out=", "copy"}


def test_bench_of_a_family_without_torch(tmp_path: Path) -> None:
    arguments = ("--family", "linear", "--seconds", "0.01", "--dtype", "float64")
    result = run("bench", *arguments, cwd=tmp_path, hide="torch")
    assert "torch is not installed" in result.stdout
    assert re.search(r"^  linear_cross_entropy +\S+ x \S+ +\S+ \S+ +\S+$", result.stdout, re.M)
    assert "  product: the matrix products of a layer" in result.stdout


def test_bench_in_company(tmp_path: Path) -> None:
    arguments = ("--family", "company", "--seconds", "0.01", "--json", "times.json")
    result = run("bench", *arguments, cwd=tmp_path, hide="xgboost,lightgbm")
    assert "an XGBoost round left out: xgboost is not installed" in result.stdout
    assert "  one thread: the same call on one thread" in result.stdout
    results = json.loads((tmp_path / "times.json").read_text())["results"]
    assert ["cross_entropy after a NumPy product", "one thread"] in [
        [each["loss"], each["yardstick"]] for each in results
    ]


@pytest.mark.long
def test_bench_of_all_families(tmp_path: Path) -> None:
    arguments = ("--family", "all", "--seconds", "0.001", "--json", "times.json")
    # scikit-learn, too: its SciPy looks into a torch that is hidden
    run("bench", *arguments, cwd=tmp_path, hide="torch,sklearn")
    results = json.loads((tmp_path / "times.json").read_text())["results"]
    assert tuple(dict.fromkeys(each["family"] for each in results)) == NAMES
    assert {each["loss"] for each in results} >= find_losses().keys()


def write_times(path: Path, **times: float) -> None:
    """A file of --json in which each loss takes so many copies."""
    common = {
        **{"family": "pointwise", "shape": [8, 5], "dtype": "float32", "mode": "value + gradient"},
        **{"contender": "fusedloss", "seconds": 1.0, "spread": 0.0, "yardstick": "copy"},
        **{"relative_to_fusedloss": 1.0, "extra_bytes": None},
    }
    results = [common | {"loss": loss, "in_yardsticks": time} for loss, time in times.items()]
    results += [each | {"contender": "torch eager", "in_yardsticks": 9.0} for each in results]
    path.write_text(json.dumps({"threads": len(times), "results": results}))


def test_bench_compares_two_files(tmp_path: Path) -> None:
    write_times(tmp_path / "old.json", l1_loss=2.0, mse_loss=2.0, huber_loss=4.0)
    write_times(tmp_path / "new.json", l1_loss=2.4, mse_loss=3.0, gamma_loss=1.0, huber_loss=2.0)
    compare = ("bench", "--compare", "old.json", "new.json")
    result = run(*compare, cwd=tmp_path, status=1)
    rows = re.findall(r"^  (\w+), 8 x 5 float32, value \+ gradient.* (\S+)$", result.stdout, re.M)
    assert rows == [("mse_loss", "1.50"), ("l1_loss", "1.20"), ("huber_loss", "0.50")]
    assert "threads: 3, then 4" in result.stdout
    assert "1 rows are in one of the files alone" in result.stdout
    assert "1 of 3 rows became slower by a factor above 1.25: exit status 1" in result.stdout
    result = run(*compare, "--slower", "1.5", cwd=tmp_path)
    assert "0 of 3 rows became slower by a factor above 1.5: exit status 0" in result.stdout


def test_bench_compares_what_it_wrote(tmp_path: Path) -> None:
    arguments = ("--shape", "8", "5", "--seconds", "0.05", "--json", "times.json")
    run("bench", *arguments, cwd=tmp_path, hide="torch")
    result = run("bench", "--compare", "times.json", "times.json", cwd=tmp_path)
    assert "0 of 3 rows became slower" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "other.json cannot be read: No such file or directory"),
        ("{", "other.json is no file of 'fusedloss bench --json'"),
        ('{"results": [{"shape": [1]}]}', "other.json is no file of 'fusedloss bench --json'"),
        ('{"results": []}', "the two files have no work of fusedloss in common"),
    ],
)
def test_bench_compares_nothing_else(text: str | None, message: str, tmp_path: Path) -> None:
    write_times(tmp_path / "old.json", l1_loss=2.0)
    if text is not None:
        (tmp_path / "other.json").write_text(text)
    result = run("bench", "--compare", "old.json", "other.json", cwd=tmp_path, status=1)
    assert message in result.stderr
    assert result.stdout == ""


# ---- demo -------------------------------------------------------------------------------------

#: The share of the usual training with which a part keeps its promise, in seconds.
EFFORTS = {
    "digits": 0.5,
    "embeddings": 0.5,
    "boosting": 0.2,
    "quantiles": 0.25,
    "segmentation": 0.4,
}


def figures(text: str, what: str) -> tuple[float, float]:
    """The figures of a line of the summary: of fusedloss, and of what it is beside."""
    found = re.search(rf" {re.escape(what)} +([\d.e+-]+)\D.*?([\d.e+-]+)[^\d\n]*$", text, re.M)
    assert found is not None, text
    return float(found[1]), float(found[2])


def check_page(folder: Path, parts: tuple[str, ...]) -> None:
    """Check that the page shows these parts, and that all that it needs is in its folder."""
    page = (folder / "index.html").read_text("utf-8")
    assert re.findall(r'<h2 id="(\w+)">', page) == list(parts)
    assert '<meta name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page
    pictures = re.findall(r'<img src="([\w-]+\.png)" alt="[^"]+">', page)
    assert pictures
    assert {path.name for path in folder.iterdir()} == {"index.html", *pictures}
    for name in pictures:
        assert (folder / name).read_bytes().startswith(PNG)
    captions = re.findall(r"<figcaption><b>[^<]+\.</b> ([^<]+\.)</figcaption>", page)
    assert len(captions) == len(pictures)


@pytest.mark.parametrize("part", [part for part in PARTS if part != "language"])
def test_demo_keeps_its_promises(part: str, tmp_path: Path) -> None:
    """Each part with less training than usual, which is enough."""
    for module in PARTS[part].packages:
        pytest.importorskip(module)
    result = run("demo", part, "--effort", str(EFFORTS[part]), cwd=tmp_path)
    assert result.stderr == ""
    assert result.stdout.startswith(f"{part}: {PARTS[part].summary}\n")
    assert re.search(rf"^  {part} ", result.stdout, re.M)
    check_page(tmp_path / "fusedloss-demo", (part,))


@pytest.mark.parametrize("part", ["digits", "embeddings", "language", "segmentation"])
def test_demo_says_which_promise_does_not_hold(part: str, tmp_path: Path) -> None:
    """After a step; quantiles are fitted to the end, and focal loss is ahead from the start."""
    words = {
        "digits": r"held-out accuracy 0\.\d+ is below 0\.96 after 1 epoch",
        "embeddings": r"softmax: recall@1 0\.\d+ is below 0\.95 after 1 epoch",
        "language": r"held-out loss \S+ is not 1 below .* after 1 step",
        "segmentation": r"Dice \S+ by Dice loss is not above 0\.3 .* after 1 step",
    }
    result = run("demo", part, "--effort", "0.005", cwd=tmp_path, status=1)
    assert re.search(rf"^fusedloss: {part}: {words[part]}$", result.stderr, re.M)
    check_page(tmp_path / "fusedloss-demo", (part,))
    page = (tmp_path / "fusedloss-demo" / "index.html").read_text("utf-8")
    assert re.search(rf'<p class="bad">{words[part]}</p>', page)


def test_demo_of_some_parts_is_in_the_order_of_the_tour(tmp_path: Path) -> None:
    options = ("--effort", "0.25", "--seed", "3", "--output", "tour")
    result = run("demo", "quantiles", "digits", *options, cwd=tmp_path, status=None)
    assert result.stdout.index("digits:") < result.stdout.index("quantiles:")
    assert "The tour, seed 3" in result.stdout
    check_page(tmp_path / "tour", ("digits", "quantiles"))
    page = (tmp_path / "tour" / "index.html").read_text("utf-8")
    assert "fusedloss demo quantiles digits --seed 3 --effort 0.25" in page


def test_demo_repeats_what_a_seed_gives(tmp_path: Path) -> None:
    runs = [
        run("demo", "embeddings", "--effort", "0.02", "--seed", seed, cwd=tmp_path, status=1)
        for seed in ("1", "1", "2")
    ]
    tables = [each.stdout.split("seed", 1)[1][2:] for each in runs]
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux alone")
def test_demo_of_all_parts(tmp_path: Path) -> None:
    """The language model, too: what it learns, and what holding its logits would take."""
    for part in PARTS.values():
        for module in part.packages:
            pytest.importorskip(module)
    text = run("demo", cwd=tmp_path, timeout=1200).stdout
    loss, by_frequencies = figures(text, "held-out loss, nats per token")
    assert loss < by_frequencies - 1
    fused, held = figures(text, "last layer at 4096 positions, MiB")
    assert held >= 4096 * 32768 * 4 // 2**20
    assert fused <= 66
    check_page(tmp_path / "fusedloss-demo", tuple(PARTS))


def test_demo_without_matplotlib(tmp_path: Path) -> None:
    result = run("demo", "digits", cwd=tmp_path, hide="rich,matplotlib")
    assert "matplotlib is not installed; for the pictures: pip install 'fusedloss[demo]'" in (
        result.stdout
    )
    assert "held-out accuracy" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_demo_leaves_out_the_parts_that_lack_a_package(tmp_path: Path) -> None:
    parts = ("digits", "boosting")
    result = run("demo", *parts, cwd=tmp_path, hide="lightgbm", status=1)
    assert result.stderr == (
        "fusedloss: lightgbm is not installed; for the part 'boosting': "
        "pip install 'fusedloss[demo]'\n"
    )
    check_page(tmp_path / "fusedloss-demo", ("digits",))
    result = run("demo", *parts, cwd=tmp_path, hide="sklearn", status=1)
    assert "scikit-learn is not installed; for the part 'digits'" in result.stderr
    assert result.stdout == ""


def test_demo_writes_over_no_page_but_its_own(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>Home</h1>")
    result = run("demo", "digits", "--output", ".", cwd=tmp_path, status=1)
    assert "index.html is not of a demo: name another --output" in result.stderr
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_demo_shows_progress_on_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    shown = run_on_terminal("demo", "quantiles", "--effort", "0.25", cwd=tmp_path)
    assert re.search(r"quantiles.*100%", shown)
